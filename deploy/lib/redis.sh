# shellcheck shell=bash
# The private Redis of one cluster: one server, a Redis Cluster (three primaries and a replica for each), or a primary and a replica that
# three Sentinels watch. Uses DEV_DIR, REDIS_PORT and REDIS, which of these it is; must never touch a server that is not the cluster's.
#
# Servers are redis (alone) or redis-N, on REDIS_PORT + N; Sentinels are sentinel-N, 10 above; a cluster's servers talk to each other 20 above.

REDIS_DIR=$DEV_DIR/redis
# By which name Sentinels know the primary.
readonly SENTINEL_SERVICE=confab

redis_names() {
    case $REDIS in
    single) echo redis ;;
    cluster) printf 'redis-%s\n' 0 1 2 3 4 5 ;;
    sentinel) printf 'redis-%s\n' 0 1 ;;
    esac
}

sentinel_names() { [[ $REDIS != sentinel ]] || printf 'sentinel-%s\n' 0 1 2; }

redis_port() { # NAME
    case $1 in
    redis) echo "$REDIS_PORT" ;;
    redis-*) echo $((REDIS_PORT + ${1#*-})) ;;
    sentinel-*) echo $((REDIS_PORT + 10 + ${1#*-})) ;;
    esac
}

# What the programs are given as REDIS_URL; others may need the credentials in it.
redis_url() { # [USER:PASSWORD@]
    local scheme name nodes=
    scheme=$(redis_scheme)
    case $REDIS in
    single) printf '%s://%s127.0.0.1:%s\n' "$scheme" "${1:-}" "$REDIS_PORT" ;;
    cluster)
        for name in redis-{1..5}; do nodes+="&node=127.0.0.1:$(redis_port "$name")"; done
        printf '%s-cluster://%s127.0.0.1:%s?%s\n' "$scheme" "${1:-}" "$REDIS_PORT" "${nodes#&}"
        ;;
    sentinel)
        for name in sentinel-1 sentinel-2; do nodes+="&node=127.0.0.1:$(redis_port "$name")"; done
        printf '%s-sentinel://%s127.0.0.1:%s?%s&sentinelServiceName=%s\n' "$scheme" "${1:-}" "$(redis_port sentinel-0)" "${nodes#&}" "$SENTINEL_SERVICE"
        ;;
    esac
}

redis_scheme() { if [[ $TLS == no ]]; then echo redis; else echo rediss; fi; }

redis_cli() { # NAME ARGUMENT…
    if [[ $TLS == yes ]]; then
        redis_tls_cli "$@"
    else
        redis-cli -h 127.0.0.1 -p "$(redis_port "$1")" "${@:2}"
    fi
}

redis_ask() { # NAME COMMAND…
    redis_cli "$@" 2>/dev/null
}

# Redis keeps nothing on disk: Confab's promises must hold when it comes back empty. Where others take over they do so soon, for that is
# what is tried here; but not because a busy machine stood still for a moment.
write_redis_conf() { # NAME
    local port listener
    port=$(redis_port "$1")
    listener="port $port"
    [[ $TLS == no ]] || listener=$(redis_tls_conf "$1")
    mkdir -p "$REDIS_DIR/$1"
    (umask 077 && cat >"$REDIS_DIR/$1/redis.conf") <<CONF
bind 127.0.0.1
$listener
dir $REDIS_DIR/$1
daemonize no
logfile ""
save ""
appendonly no
maxmemory-policy noeviction
# A gateway that is suspended for a moment should find its subscription again, not a closed connection.
client-output-buffer-limit pubsub 256mb 128mb 60
repl-diskless-sync-delay 0
CONF
    [[ $REDIS != cluster ]] || cat >>"$REDIS_DIR/$1/redis.conf" <<CONF
cluster-enabled yes
cluster-config-file nodes.conf
cluster-port $((port + 20))
cluster-node-timeout 3000
cluster-replica-validity-factor 0
cluster-allow-replica-migration no
CONF
}

write_sentinel_conf() { # NAME
    local listener
    listener="port $(redis_port "$1")"
    [[ $TLS == no ]] || listener=$(sentinel_tls_conf "$1")
    mkdir -p "$REDIS_DIR/$1"
    (umask 077 && cat >"$REDIS_DIR/$1/sentinel.conf") <<CONF
bind 127.0.0.1
$listener
dir $REDIS_DIR/$1
daemonize no
logfile ""
sentinel monitor $SENTINEL_SERVICE 127.0.0.1 $(redis_port redis-0) 2
sentinel down-after-milliseconds $SENTINEL_SERVICE 3000
sentinel failover-timeout $SENTINEL_SERVICE 5000
CONF
    [[ $TLS == no ]] || sentinel_tls_users >>"$REDIS_DIR/$1/sentinel.conf"
}

# Whom the Sentinels hold for the primary, by its port; the first server, before there are any.
sentinel_primary() {
    local name port
    for name in $(sentinel_names); do
        port=$(redis_ask "$name" sentinel get-master-addr-by-name "$SENTINEL_SERVICE" | tail -n 1)
        if [[ $port =~ ^[0-9]+$ ]]; then
            echo "$port"
            return
        fi
    done
    redis_port redis-0
}

exec_redis() { # NAME [ARGUMENT…]
    cd "$REDIS_DIR/$1"
    exec setsid redis-server "$REDIS_DIR/$1/redis.conf" "${@:2}"
}

exec_sentinel() { # NAME
    cd "$REDIS_DIR/$1"
    exec setsid redis-server "$REDIS_DIR/$1/sentinel.conf" --sentinel
}

# Starts one server or Sentinel, for the first time or again.
start_redis_process() { # NAME
    local file=$REDIS_DIR/$1/redis.conf arguments=() primary
    require_free_port "$(redis_port "$1")" "$1" CONFAB_DEV_REDIS_PORT
    if [[ $1 == sentinel-* ]]; then
        # It writes down there what it knows, and has to find that again.
        [[ -e $REDIS_DIR/$1/sentinel.conf ]] || write_sentinel_conf "$1"
        launch "$1" exec_sentinel "$1"
        return
    fi
    [[ -e $file ]] || write_redis_conf "$1"
    if [[ $REDIS == sentinel ]]; then
        primary=$(sentinel_primary)
        # One that was taken for dead follows whoever took its place, and does not offer itself empty.
        [[ $primary == "$(redis_port "$1")" ]] || arguments=(--replicaof 127.0.0.1 "$primary")
    fi
    launch "$1" exec_redis "$1" "${arguments[@]}"
}

redis_answers() { # NAME
    [[ $(redis_ask "$1" ping) == PONG ]] || return 1
    # Before the cluster is made, none of its servers can be well.
    if [[ $REDIS == cluster && -e $REDIS_DIR/joined ]]; then
        redis_ask "$1" cluster info | grep -q '^cluster_state:ok'
    fi
}

redis_is_replicated() { # NAME
    redis_ask "$1" info replication | grep -Eq '^(role:master|master_link_status:up)'
}

cluster_is_whole() {
    local name
    for name in $(redis_names); do
        redis_answers "$name" && redis_is_replicated "$name" || return 1
    done
    (($(redis_ask redis-0 cluster nodes | grep -c ' slave\|,slave') == 3))
}

sentinels_agree() {
    local name
    for name in $(sentinel_names); do
        [[ $(redis_ask "$name" sentinel ckquorum "$SENTINEL_SERVICE") == 'OK 3 '* ]] || return 1
        # It looks for replicas every ten seconds, so this one may take as long.
        redis_ask "$name" sentinel replicas "$SENTINEL_SERVICE" | grep -q 127.0.0.1 || return 1
    done
}

# All of them, from nothing: Redis keeps nothing from one start to the next.
start_redis() {
    rm -rf "$REDIS_DIR"
    local name addresses=()
    for name in $(redis_names); do start_redis_process "$name"; done
    for name in $(redis_names); do wait_ready "$name" "$READY_LIMIT" redis_answers "$name"; done
    if [[ $REDIS == sentinel ]]; then
        wait_ready redis-1 "$READY_LIMIT" redis_is_replicated redis-1
        for name in $(sentinel_names); do start_redis_process "$name"; done
        for name in $(sentinel_names); do wait_ready "$name" "$READY_LIMIT" redis_answers "$name"; done
        wait_ready sentinel-0 "$READY_LIMIT" sentinels_agree
    elif [[ $REDIS == cluster ]]; then
        for name in $(redis_names); do addresses+=("127.0.0.1:$(redis_port "$name")"); done
        redis_cli redis-0 --cluster create "${addresses[@]}" --cluster-replicas 1 --cluster-yes >"$LOG_DIR/redis-cluster.log" 2>&1 ||
            { show_tail "$LOG_DIR/redis-cluster.log" 30 && die "the Redis Cluster could not be made"; }
        : >"$REDIS_DIR/joined"
        wait_ready redis-0 "$READY_LIMIT" cluster_is_whole
    fi
}

restart_redis() { # NAME
    stop_processes TERM "$SERVICE_STOP" "$1"
    start_redis_process "$1"
    wait_ready "$1" "$READY_LIMIT" redis_answers "$1"
    [[ $1 == sentinel-* ]] || wait_ready "$1" "$READY_LIMIT" redis_is_replicated "$1"
}
