# shellcheck shell=bash
# shellcheck disable=SC2034 # NEEDS, ON_CLUSTER and BESIDE are read by deploy/test
# TLS everywhere, with the least rights: what clients do (a part of the Node suite, over https and wss), that nobody needed more rights
# than the documented ones, that no secret was logged, and that whoever is not to be believed is not.

ON_CLUSTER[tls]=1
NEEDS[tls]='node openssl'
BESIDE[tls]=900

# Every dialect's sockets, polls and upgrades; REST; STOMP over WebSockets and SockJS.
readonly OVER_TLS=(connecting sending stomp-guide)

operator_says() { # ARGUMENT…
    local tls=$CONFAB_DEV_DIR/tls
    REDISCLI_AUTH=$(<"$tls/operator.password") redis-cli -p "$CONFAB_DEV_REDIS_PORT" --user operator --no-auth-warning \
        --tls --cacert "$tls/ca.crt" --cert "$tls/confab.crt" --key "$tls/confab.key" "$@"
}

# Redis keeps the last that it has forbidden; PostgreSQL's refusals are logged.
rights_sufficed() {
    local forbidden
    forbidden=$(operator_says acl log) || return
    if [[ -n $forbidden ]]; then
        say "Redis has forbidden:" "$forbidden"
        return 1
    fi
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
    said=$(env "${settings[@]}" "$@" timeout 20 "$CONFAB_DEV_BIN_DIR/confab-gateway" 2>&1) || code=$?
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
    local tls=$CONFAB_DEV_DIR/tls counted='^confab_gateway_tls_handshake_errors_total\{reason="refused_by_client"\} [1-9]'
    if openssl s_client -connect "127.0.0.1:$CONFAB_DEV_GATEWAY_PORT" -CAfile "$tls/stranger.crt" -verify_return_error </dev/null &>/dev/null; then
        say "a stranger's authority has signed the gateway's certificate"
        return 1
    fi
    curl -sf --noproxy '*' "http://127.0.0.1:$CONFAB_DEV_INTERNAL_PORT/metrics" | grep -E "$counted" || {
        say "the metrics do not have $counted"
        return 1
    }
}

try_tls() {
    NODE_EXTRA_CA_CERTS=$CONFAB_DEV_DIR/tls/ca.crt CONFAB_ENTRY=direct CONFAB_TRANSPORTS=polling,websocket run_suite "${OVER_TLS[@]}" &&
        curl -sf --noproxy '*' "http://127.0.0.1:$CONFAB_DEV_PROXY_PORT/health" >/dev/null &&
        rights_sufficed && doubt_is_counted && nobody_else_is_believed && no_secret_logged
}

beside_tls() {
    install_suite && deploy/dev clean && bounded 180 deploy/dev --detach --gateways 2 --workers 2 --tls --proxy && with_cluster try_tls
}
