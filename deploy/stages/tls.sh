# shellcheck shell=bash
# shellcheck disable=SC2034 # NEEDS and ON_CLUSTER are read by deploy/test
# TLS everywhere, with the least rights: what clients do (a part of the Node suite, over https and wss), that nobody needed more rights
# than the documented ones, that no secret was logged, and that whoever is not to be believed is not. Then the same rights on a Redis
# Cluster and behind Sentinels, where other commands are needed.

ON_CLUSTER[tls]=1
NEEDS[tls]='node openssl'

# Every dialect's sockets, polls and upgrades; REST; STOMP over WebSockets and SockJS.
readonly OVER_TLS=(connecting sending stomp-guide)

operator_says() { # PORT ARGUMENT…
    local tls=$CONFAB_DEV_DIR/tls
    REDISCLI_AUTH=$(<"$tls/operator.password") redis-cli -p "$1" --user operator --no-auth-warning \
        --tls --cacert "$tls/ca.crt" --cert "$tls/confab.crt" --key "$tls/confab.key" "${@:2}"
}

# Redis keeps the last that it has forbidden; PostgreSQL's refusals are logged.
rights_sufficed() {
    local server servers forbidden
    servers=$(jq -r '.redis.servers[].url' "$CONFAB_DEV_DIR/state.json") || return
    for server in $servers; do
        forbidden=$(operator_says "${server##*:}" acl log) || return
        if [[ -n $forbidden ]]; then
            say "$server has forbidden:" "$forbidden"
            return 1
        fi
    done
    if grep -h 'permission denied' "$CONFAB_DEV_DIR"/log/*.log; then
        say "PostgreSQL has forbidden that"
        return 1
    fi
}

no_secret_logged() {
    local file
    for file in "$CONFAB_DEV_DIR"/tls/*.{password,secret} "$CONFAB_DEV_DIR/postgres.password"; do
        if grep -qF -f "$file" "$CONFAB_DEV_DIR"/log/*.log; then
            say "what ${file##*/} has is in a log"
            return 1
        fi
    done
}

# A gateway with the cluster's settings but for those given must not start, and must say why.
is_refused() { # PATTERN VARIABLE=VALUE…
    local tls=$CONFAB_DEV_DIR/tls pattern=$1 name said code=0
    shift
    local settings=(
        "DATABASE_URL=postgres://confab_app@127.0.0.1:$CONFAB_DEV_POSTGRES_PORT/confab" "REDIS_URL=rediss://127.0.0.1:$CONFAB_DEV_REDIS_PORT"
        "JWT_SECRET_FILE=$tls/jwt.secret" "CONFAB_DATABASE__PASSWORD_FILE=$tls/app.password"
        CONFAB_REDIS__USERNAME=confab "CONFAB_REDIS__PASSWORD_FILE=$tls/redis.password"
        "PORT=$((CONFAB_DEV_GATEWAY_PORT + 90))" "CONFAB_HTTP__INTERNAL_LISTEN=127.0.0.1:$((CONFAB_DEV_INTERNAL_PORT + 90))"
        "CONFAB_HTTP__TLS__CERT_FILE=$tls/gateway.crt" "CONFAB_HTTP__TLS__KEY_FILE=$tls/gateway.key"
    )
    for name in DATABASE REDIS; do
        settings+=("CONFAB_${name}__TLS_CA_FILE=$tls/ca.crt" "CONFAB_${name}__TLS_CERT_FILE=$tls/confab.crt" "CONFAB_${name}__TLS_KEY_FILE=$tls/confab.key")
    done
    said=$(env "${settings[@]}" "$@" timeout 60 "$CONFAB_DEV_BIN_DIR/confab-gateway" 2>&1) || code=$?
    if ((code == 0 || code == 124)) || ! grep -qE -- "$pattern" <<<"$said"; then
        say "with $*: expected a refusal that says $pattern, found exit code $code and:" "$said"
        return 1
    fi
}

nobody_else_is_believed() {
    local tls=$CONFAB_DEV_DIR/tls
    is_refused 'Redis: .*UnknownIssuer' "CONFAB_REDIS__TLS_CA_FILE=$tls/stranger.crt" &&
        is_refused 'Redis: .*CertificateRequired' CONFAB_REDIS__TLS_CERT_FILE= CONFAB_REDIS__TLS_KEY_FILE= &&
        is_refused 'Redis: .*WRONGPASS' "CONFAB_REDIS__PASSWORD_FILE=$tls/app.password" &&
        is_refused 'database: .*UnknownIssuer' "CONFAB_DATABASE__TLS_CA_FILE=$tls/stranger.crt" &&
        is_refused 'database: .*client certificate' CONFAB_DATABASE__TLS_CERT_FILE= CONFAB_DATABASE__TLS_KEY_FILE= &&
        is_refused 'database: .*password' "CONFAB_DATABASE__PASSWORD_FILE=$tls/redis.password" &&
        is_refused 'http.tls.key_file: ' "CONFAB_HTTP__TLS__KEY_FILE=$tls/confab.key" &&
        is_refused 'database.tls_mode: ' CONFAB_DATABASE__TLS_MODE=sometimes &&
        is_refused 'auth.jwt_secret_file: ' "JWT_SECRET_FILE=$tls/nothing"
}

# A client that does not believe the gateway goes, and is counted.
doubt_is_counted() {
    local tls=$CONFAB_DEV_DIR/tls deadline=$((SECONDS + 30)) counted='^confab_gateway_tls_handshake_errors_total\{reason="refused_by_client"\} [1-9]'
    if timeout 60 openssl s_client -connect "127.0.0.1:$CONFAB_DEV_GATEWAY_PORT" -CAfile "$tls/stranger.crt" -verify_return_error </dev/null &>/dev/null; then
        say "a stranger's authority has signed the gateway's certificate"
        return 1
    fi
    until curl -sf --noproxy '*' "http://127.0.0.1:$CONFAB_DEV_INTERNAL_PORT/metrics" | grep -E "$counted"; do
        if ((SECONDS >= deadline)); then
            say "the metrics do not have $counted"
            return 1
        fi
        pause 0.5
    done
}

try_tls() {
    NODE_EXTRA_CA_CERTS=$CONFAB_DEV_DIR/tls/ca.crt CONFAB_ENTRY=direct CONFAB_TRANSPORTS=polling,websocket run_suite "${OVER_TLS[@]}" &&
        curl -sf --noproxy '*' "http://127.0.0.1:$CONFAB_DEV_PROXY_PORT/health" >/dev/null &&
        rights_sufficed && doubt_is_counted && nobody_else_is_believed && no_secret_logged
}

# That the programs are ready means that they have connected, and taken their leases.
try_tls_cluster() {
    say "Redis: cluster"
    NODE_EXTRA_CA_CERTS=$CONFAB_DEV_DIR/tls/ca.crt CONFAB_ENTRY=direct CONFAB_TRANSPORTS=websocket run_suite sending &&
        rights_sufficed && no_secret_logged
}

try_tls_sentinel() {
    say "Redis: sentinel"
    rights_sufficed && no_secret_logged
}

start_tls() { # ARGUMENT…
    deploy/dev clean && bounded 900 deploy/dev --detach --gateways 2 --tls "$@"
}

apart_tls() {
    install_suite && start_tls --workers 2 --proxy && with_cluster try_tls &&
        start_tls --workers 1 --no-seed --redis cluster && with_cluster try_tls_cluster &&
        start_tls --workers 1 --no-seed --redis sentinel && with_cluster try_tls_sentinel
}

# In its turn: what runs beside the others takes as long as they do without it.
stage_tls() { in_background run_apart tls 900; }
