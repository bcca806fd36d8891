# shellcheck shell=bash
# The cluster under TLS: an authority of its own; certificates that the servers show, and ask of each other; users with the least
# rights; and secrets in files. Uses DEV_DIR, the ports, and what services.sh defines; must never touch the system's authorities.

TLS_DIR=$DEV_DIR/tls

# A certificate of our authority, and its key.
issue_certificate() { # NAME EXTENSIONS
    local name=$1
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" \
        -keyout "$name.key" -out "$name.csr" &&
        openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
            -extfile <(printf '%s\n' "$2") -out "$name.crt" &&
        rm "$name.csr"
}

issue_authority() { # NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=Confab development $1" \
        -addext 'keyUsage=critical,keyCertSign,cRLSign' -keyout "$1.key" -out "$1.crt"
}

# Anew at each start: they are good for two days. `stranger` is an authority that nobody believes.
make_certificates() {
    local name here='subjectAltName=IP:127.0.0.1,DNS:localhost'
    rm -rf "$TLS_DIR"
    mkdir -m 700 "$TLS_DIR"
    if ! (
        umask 077
        cd "$TLS_DIR" || exit
        issue_authority ca && issue_authority stranger || exit
        for name in gateway redis postgres; do
            issue_certificate "$name" "$here"$'\nextendedKeyUsage=serverAuth' || exit
        done
        # Both databases take it for the programs'.
        issue_certificate confab 'extendedKeyUsage=clientAuth' || exit
        for name in {redis,sentinel,operator,app}.password; do od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$name"; done
        printf '%s\n' "${JWT_SECRET:-$DEV_JWT_SECRET}" >jwt.secret
    ) >"$LOG_DIR/tls.log" 2>&1; then
        show_tail "$LOG_DIR/tls.log" 30
        die "openssl made no certificates"
    fi
}

# PostgreSQL reads its key as its own user, and wants nobody else to.
give_postgres_certificates() {
    local file
    rm -rf "$PG_HOME/tls"
    as_postgres mkdir -m 700 "$PG_HOME/tls"
    for file in ca.crt postgres.crt postgres.key; do
        as_postgres sh -c 'umask 077 && cat >"$0"' "$PG_HOME/tls/$file" <"$TLS_DIR/$file"
    done
    as_postgres sh -c 'cat >"$0"' "$PG_HOME/tls/hba.conf" <<<'hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca'
}

postgres_tls_flags() {
    printf -- '-c\n%s\n' ssl=on "ssl_cert_file=$PG_HOME/tls/postgres.crt" "ssl_key_file=$PG_HOME/tls/postgres.key" \
        "ssl_ca_file=$PG_HOME/tls/ca.crt" "hba_file=$PG_HOME/tls/hba.conf" ssl_min_protocol_version=TLSv1.2
}

# What libpq, sqlx and node-postgres all read behind a URL.
postgres_tls_query() {
    printf 'sslmode=verify-full&sslrootcert=%s&sslcert=%s&sslkey=%s' "$TLS_DIR/ca.crt" "$TLS_DIR/confab.crt" "$TLS_DIR/confab.key"
}

# The programs' rights are those of the files that deploy/README.md gives to operators; that is where they are tried.
redis_tls_conf() { # NAME
    redis_tls_listener "$1"
    cat <<CONF
masteruser operator
masterauth $(<"$TLS_DIR/operator.password")
user default off
user operator on >$(<"$TLS_DIR/operator.password") ~* &* +@all
user confab on >$(<"$TLS_DIR/redis.password") $(redis_rule)
CONF
    [[ $REDIS != cluster ]] || echo 'tls-cluster yes'
}

# To each other servers show the certificate that is a client's.
redis_tls_listener() { # NAME
    cat <<CONF
port 0
tls-port $(redis_port "$1")
tls-cert-file $TLS_DIR/redis.crt
tls-key-file $TLS_DIR/redis.key
tls-client-cert-file $TLS_DIR/confab.crt
tls-client-key-file $TLS_DIR/confab.key
tls-ca-cert-file $TLS_DIR/ca.crt
tls-auth-clients yes
tls-replication yes
tls-protocols "TLSv1.2 TLSv1.3"
CONF
}

# Sentinels have a password of their own, also among themselves.
sentinel_tls_conf() { # NAME
    redis_tls_listener "$1"
    printf 'requirepass %s\n' "$(<"$TLS_DIR/sentinel.password")"
}

# As whom they watch over the servers. It stands behind the line that says whom they watch over.
sentinel_tls_users() {
    cat <<CONF
sentinel auth-user $SENTINEL_SERVICE operator
sentinel auth-pass $SENTINEL_SERVICE $(<"$TLS_DIR/operator.password")
sentinel sentinel-pass $(<"$TLS_DIR/sentinel.password")
CONF
}

# The rule, without the comments around it, on one line.
redis_rule() { grep -v '^#' "$ROOT/deploy/redis/confab.acl" | tr -s '\n ' ' '; }

# redis-cli for the cluster's operator.
redis_tls_cli() { # NAME ARGUMENT…
    local user=operator secret=operator
    [[ $1 != sentinel-* ]] || user=default secret=sentinel
    REDISCLI_AUTH=$(<"$TLS_DIR/$secret.password") redis-cli -h 127.0.0.1 -p "$(redis_port "$1")" --user "$user" --no-auth-warning \
        --tls --cacert "$TLS_DIR/ca.crt" --cert "$TLS_DIR/confab.crt" --key "$TLS_DIR/confab.key" "${@:2}"
}

# For those who have nothing but the URL.
redis_credentials() { [[ $TLS == no ]] || printf 'confab:%s@' "$(<"$TLS_DIR/redis.password")"; }

# As the owner of the tables, whom only `migrate` needs to be.
create_app_role() {
    local password
    password=$(<"$TLS_DIR/app.password")
    {
        as_superuser <<SQL
SELECT 'CREATE ROLE confab_app LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'confab_app') \gexec
ALTER ROLE confab_app PASSWORD '$password';
SQL
        "$PG_BIN/psql" -X -q -d "$(postgres_url)" -v app=confab_app -f "$ROOT/deploy/postgres/roles.sql"
    } >>"$LOG_DIR/initdb.log" 2>&1 || die "could not grant the programs' rights, see $LOG_DIR/initdb.log"
}

# Settings of both programs, and nothing that is secret among them.
export_tls_settings() {
    unset JWT_SECRET
    export DATABASE_URL=postgres://confab_app@127.0.0.1:$POSTGRES_PORT/confab REDIS_URL
    REDIS_URL=$(redis_url)
    export CONFAB_DATABASE__PASSWORD_FILE=$TLS_DIR/app.password CONFAB_DATABASE__TLS_MODE=verify-full
    export CONFAB_REDIS__USERNAME=confab CONFAB_REDIS__PASSWORD_FILE=$TLS_DIR/redis.password
    [[ $REDIS != sentinel ]] || export CONFAB_REDIS__SENTINEL_PASSWORD_FILE=$TLS_DIR/sentinel.password
    export CONFAB_AUTH__JWT_SECRET_FILE=$TLS_DIR/jwt.secret
    local section
    for section in DATABASE REDIS; do
        export "CONFAB_${section}__TLS_CA_FILE=$TLS_DIR/ca.crt"
        export "CONFAB_${section}__TLS_CERT_FILE=$TLS_DIR/confab.crt" "CONFAB_${section}__TLS_KEY_FILE=$TLS_DIR/confab.key"
    done
    export CONFAB_HTTP__TLS__CERT_FILE=$TLS_DIR/gateway.crt CONFAB_HTTP__TLS__KEY_FILE=$TLS_DIR/gateway.key
}
