# shellcheck shell=bash
# One cluster: its layout (how many, which ports), the settings its programs get, its processes in the right order,
# and state.json, through which tests find it. Uses DEV_DIR and what the sibling files define.

# Long, fixed and public on purpose: tokens stay valid from one start to the next. Never for anything but development.
readonly DEV_JWT_SECRET=confab-development-only-secret-do-not-use-this-anywhere-else-0123456789

STATE_FILE=$DEV_DIR/state.json
LAYOUT_FILE=$DEV_DIR/layout
SETTINGS_FILE=$DEV_DIR/settings

# Longest graceful stops: a gateway is gone after 30 s, a worker finishes its batch in 10 s, and the machine may keep both waiting.
readonly GATEWAY_STOP=60 WORKER_STOP=30 SERVICE_STOP=30 READY_LIMIT=180

gateway_port() { echo $((GATEWAY_PORT + $1)); }
gateway_scheme() { if [[ $TLS == no ]]; then echo http; else echo https; fi; }
gateway_internal() { echo $((INTERNAL_PORT + $1)); }
worker_internal() { echo $((INTERNAL_PORT + 100 + $1)); }

internal_port_of() { # NAME
    case $1 in
    gateway-*) gateway_internal "${1#*-}" ;;
    worker-*) worker_internal "${1#*-}" ;;
    esac
}

# `proxy`, when the cluster has one.
proxy_name() { [[ $PROXY == no ]] || echo proxy; }

gateway_names() { local i; for ((i = 0; i < GATEWAYS; i++)); do echo "gateway-$i"; done; }
worker_names() { local i; for ((i = 0; i < WORKERS; i++)); do echo "worker-$i"; done; }

# The environment names that are settings of the programs, as `export` lines. deploy's own names are not among them.
program_settings() {
    local name
    for name in $(compgen -e); do
        case $name in
        CONFAB_DEV_KEEP_URLS) printf 'export %s=%q\n' "$name" "${!name}" ;;
        CONFAB_DEV_* | CONFAB_TEST_* | CONFAB_STATE | CONFAB_ENTRY | CONFAB_TRANSPORTS | CONFAB_CROWD | CONFAB_ECHO) ;;
        DATABASE_URL | REDIS_URL) [[ -z ${CONFAB_DEV_KEEP_URLS:-} ]] || printf 'export %s=%q\n' "$name" "${!name}" ;;
        CONFAB_* | JWT_SECRET | JWT_EXPIRES_IN | CORS_ORIGIN | FRONTEND_URL | THROTTLE_TTL | THROTTLE_LIMIT | \
            FAILPOINTS | OTEL_* | RUST_LOG | RUST_BACKTRACE)
            printf 'export %s=%q\n' "$name" "${!name}"
            ;;
        esac
    done
}

# Kept from the first start, so that a later restart gives a process the same settings from any shell.
save_cluster() {
    printf '%s=%q\n' GATEWAYS "$GATEWAYS" WORKERS "$WORKERS" GATEWAY_PORT "$GATEWAY_PORT" INTERNAL_PORT "$INTERNAL_PORT" \
        POSTGRES_PORT "$POSTGRES_PORT" REDIS_PORT "$REDIS_PORT" REDIS "$REDIS" TLS "$TLS" BIN_DIR "$BIN_DIR" PROXY "$PROXY" PROXY_PORT "$PROXY_PORT" \
        >"$LAYOUT_FILE"
    (umask 077 && program_settings >"$SETTINGS_FILE")
}

load_layout() {
    [[ -s $LAYOUT_FILE ]] || return 1
    # shellcheck source=/dev/null
    source "$LAYOUT_FILE"
}

# What the caller says now goes over what was said at the first start.
load_settings() {
    local now
    now=$(program_settings)
    # shellcheck source=/dev/null
    source "$SETTINGS_FILE"
    eval "$now"
}

# The environment of one program. Only called in a subshell that becomes the program. A DATABASE_URL or REDIS_URL found
# in the caller's shell is most likely another project's: Confab would create its tables and demo users there, so they
# count only when CONFAB_DEV_KEEP_URLS says that they are meant.
program_environment() { # INTERNAL_PORT
    local name
    if [[ -z ${CONFAB_DEV_KEEP_URLS:-} ]]; then unset DATABASE_URL REDIS_URL; fi
    for name in $(compgen -e); do
        case $name in CONFAB_DEV_* | CONFAB_TEST_* | CONFAB_STATE | CONFAB_ENTRY | CONFAB_TRANSPORTS | CONFAB_CROWD | CONFAB_ECHO) unset "$name" ;; esac
    done
    if [[ $TLS == no ]]; then
        export DATABASE_URL=${DATABASE_URL:-$(postgres_url)} REDIS_URL=${REDIS_URL:-$(redis_url)}
        export JWT_SECRET=${JWT_SECRET:-$DEV_JWT_SECRET}
    else
        export_tls_settings
    fi
    export CONFAB_ENVIRONMENT=${CONFAB_ENVIRONMENT:-development} CONFAB_LOG__FORMAT=${CONFAB_LOG__FORMAT:-pretty}
    export CONFAB_HTTP__INTERNAL_LISTEN=127.0.0.1:$1
    export NO_COLOR=1 # what they write goes to a file first
    unset PORT
    # One descriptor per client: the usual soft limit of 1024 is soon reached, the hard one is ours to use.
    ulimit -Sn "$(ulimit -Hn)" 2>/dev/null || :
    cd "$ROOT"
}

exec_gateway() { # INDEX
    program_environment "$(gateway_internal "$1")"
    export PORT CONFAB_HTTP__BIND=${CONFAB_HTTP__BIND:-127.0.0.1}
    # Everybody here has one address, and tries things out by the hundred.
    export THROTTLE_LIMIT=${THROTTLE_LIMIT:-100000}
    local class
    for class in READS QUESTIONS SUBSCRIPTIONS LOGIN LOGIN_ADDRESS REGISTER GUESTS; do
        class=CONFAB_RATE_LIMITS__$class
        export "$class=${!class:-100000/1m}"
    done
    # Off by default elsewhere: a server on the internet does not open its rooms to everybody unasked.
    export CONFAB_AUTH__GUESTS=${CONFAB_AUTH__GUESTS:-true} CONFAB_ROOMS__AUTO_CREATE=${CONFAB_ROOMS__AUTO_CREATE:-true}
    PORT=$(gateway_port "$1")
    exec setsid "$BIN_DIR/confab-gateway"
}

exec_worker() { # INDEX
    program_environment "$(worker_internal "$1")"
    exec setsid "$BIN_DIR/confab-worker" run
}

# A worker's one-shot commands: migrate, seed.
run_worker_command() { # COMMAND OUTPUT
    if ! (
        program_environment "$(worker_internal 0)"
        unset FAILPOINTS
        # The owner's command.
        if [[ $TLS == yes && $1 == migrate ]]; then
            unset "${!CONFAB_DATABASE__@}"
            DATABASE_URL=$(postgres_url)
        fi
        exec "$BIN_DIR/confab-worker" "$1"
    ) </dev/null >"$2" 2>"$LOG_DIR/$1.log"; then
        show_tail "$2" 30
        show_tail "$LOG_DIR/$1.log" 30
        die "confab-worker $1 failed"
    fi
}

program_answers() { # NAME
    curl -sf -o /dev/null --noproxy '*' --max-time 2 "http://127.0.0.1:$(internal_port_of "$1")/readyz"
}

require_program_ports() { # NAME
    local index=${1#*-}
    require_free_port "$(internal_port_of "$1")" "$1 (internal)" CONFAB_DEV_INTERNAL_PORT
    [[ $1 != gateway-* ]] || require_free_port "$(gateway_port "$index")" "$1" CONFAB_DEV_GATEWAY_PORT
}

launch_program() { # NAME
    require_program_ports "$1"
    launch "$1" "exec_${1%-*}" "${1#*-}"
}

# Writes state.json whole and in one step: whoever reads it never sees a half.
write_state() {
    local restart=("$ROOT/deploy/dev" restart)
    [[ $DEV_DIR == "$ROOT/target/dev" ]] || restart=(env "CONFAB_DEV_DIR=$DEV_DIR" "${restart[@]}")
    exec 7>"$DEV_DIR/state.lock"
    flock 7
    (umask 077 && : >"$STATE_FILE.new")
    {
        local name
        for name in $(gateway_names); do
            printf '%s\n' "gateways $(pid_of "$name") ${name#*-} $(gateway_internal "${name#*-}") $(gateway_port "${name#*-}")"
        done
        for name in $(worker_names); do
            printf '%s\n' "workers $(pid_of "$name") ${name#*-} $(worker_internal "${name#*-}")"
        done
        for name in $(redis_names) $(sentinel_names); do
            printf '%s\n' "${name%%-*} $(pid_of "$name") $name - $(redis_port "$name")"
        done
        for name in $(proxy_name); do printf '%s\n' "proxy $(pid_of "$name") - - $PROXY_PORT"; done
    } | jq -Rn \
        --arg redis "$(redis_url "$(redis_credentials)")" --arg redis_scheme "$(redis_scheme)" \
        --arg postgres "$(postgres_url)" --argjson postgres_pid "$(pid_of postgres)" \
        --arg secret "$(program_environment 0 && echo "${JWT_SECRET:-$DEV_JWT_SECRET}")" --arg programs_dir "$BIN_DIR" \
        --arg scheme "$(gateway_scheme)" --arg ca "$([[ $TLS == no ]] || echo "$TLS_DIR/ca.crt")" \
        '[inputs | split(" ")] as $programs | $ARGS.positional as $restart
         | def http: "http://127.0.0.1:" + .;
           def list($kind): [$programs[] | select(.[0] == $kind)];
           def server: {
             pid: (.[1] | tonumber), url: ($redis_scheme + "://127.0.0.1:" + .[4]), restart: ($restart + (.[2] | split("-")))};
         {
           gateways: [list("gateways")[] | {
             pid: (.[1] | tonumber), url: ($scheme + "://127.0.0.1:" + .[4]), internal: (.[3] | http), restart: ($restart + ["gateway", .[2]])}],
           workers: [list("workers")[] | {
             pid: (.[1] | tonumber), internal: (.[3] | http), restart: ($restart + ["worker", .[2]])}],
           redis: ({url: $redis, servers: [list("redis")[] | server], sentinels: [list("sentinel")[] | server]}
             | {pid: .servers[0].pid, restart: .servers[0].restart} + .),
           postgres: {url: $postgres, pid: $postgres_pid, restart: ($restart + ["postgres"])},
           programs: $programs_dir,
           jwtSecret: $secret
         } + (if $ca == "" then {} else {ca: $ca} end) + (list("proxy")[:1] | map({proxy: {
             pid: (.[1] | tonumber), url: (.[4] | http), restart: ($restart + ["proxy"])}}) | add // {})' --args "${restart[@]}" >"$STATE_FILE.new"
    mv "$STATE_FILE.new" "$STATE_FILE"
    exec 7>&-
}

start_cluster() { # SEED(yes|no)
    local name
    rm -f "$STATE_FILE" "$RUN_DIR"/* "$LOG_DIR"/*
    save_cluster
    for name in $(gateway_names) $(worker_names); do require_program_ports "$name"; done
    [[ $PROXY == no ]] || require_free_port "$PROXY_PORT" 'the proxy' CONFAB_DEV_PROXY_PORT

    [[ $TLS == no ]] || make_certificates
    step "starting PostgreSQL and Redis"
    start_postgres
    start_redis
    wait_ready postgres "$READY_LIMIT" postgres_answers
    create_database
    run_worker_command migrate "$LOG_DIR/migrate.out"
    [[ $TLS == no ]] || create_app_role
    if [[ $1 == yes ]]; then run_worker_command seed "$DEV_DIR/seed.txt"; else rm -f "$DEV_DIR/seed.txt"; fi

    step "starting $GATEWAYS gateways and $WORKERS workers"
    for name in $(worker_names) $(gateway_names); do launch_program "$name"; done
    for name in $(worker_names) $(gateway_names); do wait_ready "$name" "$READY_LIMIT" program_answers "$name"; done
    if [[ $PROXY == yes ]]; then
        start_proxy
        wait_ready proxy "$READY_LIMIT" proxy_answers
    fi
    write_state
}

# From the outside in: who takes work stops first, who holds the truth stops last.
stop_cluster() {
    local gateways=() workers=() redis=() sentinels=() name
    for name in $(known_processes); do
        case $name in
        gateway-*) gateways+=("$name") ;;
        worker-*) workers+=("$name") ;;
        redis*) redis+=("$name") ;;
        sentinel-*) sentinels+=("$name") ;;
        esac
    done
    # Nobody new comes in, and who is inside is let go by the gateways.
    stop_processes TERM "$SERVICE_STOP" proxy
    stop_processes TERM "$GATEWAY_STOP" "${gateways[@]}"
    stop_processes TERM "$WORKER_STOP" "${workers[@]}"
    HURRY='' # the next two are quick, and a killed PostgreSQL must recover at its next start
    # All at once, or those who remain would take over from each other. Nothing in there is worth more than a moment.
    stop_processes TERM "$SERVICE_STOP" "${sentinels[@]}" "${redis[@]}"
    # PostgreSQL's fast shutdown: it ends the sessions and closes its files cleanly.
    stop_processes INT "$SERVICE_STOP" postgres
    rm -f "$RUN_DIR"/* "$STATE_FILE" "$STATE_FILE.new"
}

restart_process() { # NAME
    case $1 in
    redis* | sentinel-*) restart_redis "$1" ;;
    postgres)
        stop_processes INT "$SERVICE_STOP" postgres
        start_postgres
        wait_ready postgres "$READY_LIMIT" postgres_answers
        ;;
    proxy)
        stop_processes TERM "$SERVICE_STOP" proxy
        start_proxy
        wait_ready proxy "$READY_LIMIT" proxy_answers
        ;;
    gateway-*)
        stop_processes TERM "$GATEWAY_STOP" "$1"
        launch_program "$1"
        wait_ready "$1" "$READY_LIMIT" program_answers "$1"
        ;;
    worker-*)
        stop_processes TERM "$WORKER_STOP" "$1"
        launch_program "$1"
        wait_ready "$1" "$READY_LIMIT" program_answers "$1"
        ;;
    esac
    write_state
}
