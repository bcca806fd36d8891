# shellcheck shell=bash
# The private PostgreSQL of one cluster: where its data is, how it is set up, started and probed.
# Uses DEV_DIR and POSTGRES_PORT; must never touch a server or a data directory that is not the cluster's.

PASSWORD_FILE=$DEV_DIR/postgres.password

# PostgreSQL refuses to run as root; Debian's package brings the user it runs as.
as_postgres() {
    if ((EUID == 0)); then
        setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
    else
        "$@"
    fi
}

# Sets PG_HOME, what the database owns. It is DEV_DIR/postgres, except when the repository lies where the postgres user
# cannot go (root's home, a mode 700 directory): then the data is under /var/tmp and DEV_DIR/postgres is a link to it.
locate_postgres() {
    local link=$DEV_DIR/postgres owner
    if [[ ! -e $link ]] && ! as_postgres test -x "$DEV_DIR"; then
        ln -sfn "/var/tmp/confab-$(printf '%s' "$DEV_DIR" | sha256sum | cut -c1-16)" "$link"
    fi
    PG_HOME=$link
    if [[ -L $link ]]; then PG_HOME=$(readlink "$link"); fi
    PG_DATA=$PG_HOME/data
    if [[ ! -e $PG_HOME ]]; then
        mkdir -m 700 "$PG_HOME"
        if ((EUID == 0)); then chown postgres:postgres "$PG_HOME"; fi
    fi
    # Anyone may write to /var/tmp: what is found there must be a directory, and ours.
    [[ -d $PG_HOME && ! -L $PG_HOME ]] || die "$PG_HOME is not a directory; remove it and start again"
    owner=$(stat -c %U "$PG_HOME")
    [[ $owner == "$(as_postgres id -un)" ]] ||
        die "$PG_HOME belongs to $owner; run as before, or remove it to begin with an empty database"
}

# Creates the data directory at the first start. A half-made one, from an interrupted start, is made anew.
init_postgres() {
    # A database whose password is lost belonged to a clone that was deleted from this same place.
    if [[ -e $PG_DATA && ! -s $PASSWORD_FILE ]]; then
        ! postgres_in_use || die "a PostgreSQL without a cluster still runs on $PG_DATA; stop it first"
        rm -rf "$PG_DATA"
    fi
    [[ ! -e $PG_DATA ]] || return 0
    step "creating a private PostgreSQL in $PG_HOME"
    (umask 077 && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$PASSWORD_FILE")
    rm -rf "$PG_HOME/init"
    # Our password file is not the postgres user's to read, so initdb gets a copy for its time.
    as_postgres sh -c 'umask 077 && cat >"$0"' "$PG_HOME/password" <"$PASSWORD_FILE"
    if ! (cd / && as_postgres "$PG_BIN/initdb" --pgdata="$PG_HOME/init" --username=postgres --auth=scram-sha-256 \
        --pwfile="$PG_HOME/password" --encoding=UTF8 --locale=C.UTF-8) >"$LOG_DIR/initdb.log" 2>&1 </dev/null; then
        show_tail "$LOG_DIR/initdb.log" 30
        die "initdb failed"
    fi
    rm -f "$PG_HOME/password"
    mv "$PG_HOME/init" "$PG_DATA"
}

# Postmaster and backends all stand in the data directory, and nothing else does. Their own user looks, because in a
# container root may not see where another user's process stands.
postgres_in_use() {
    grep -qxF -- "$(realpath "$PG_DATA")" < <(as_postgres readlink /proc/[0-9]*/cwd 2>/dev/null)
}

exec_postgres() {
    cd /
    local command=(setsid) more=()
    [[ $TLS == no ]] || mapfile -t more < <(postgres_tls_flags)
    if ((EUID == 0)); then
        command+=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    fi
    # Durability is on, as in production: what is measured and broken here must mean something. No Unix socket:
    # everything goes over TCP, and a deep directory would make the socket's path too long.
    exec "${command[@]}" "$PG_BIN/postgres" -D "$PG_DATA" \
        -c listen_addresses=127.0.0.1 -c "port=$POSTGRES_PORT" -c unix_socket_directories= \
        -c max_connections=200 -c shared_buffers=256MB -c max_wal_size=2GB \
        -c fsync=on -c synchronous_commit=on -c full_page_writes=on \
        -c timezone=UTC -c log_timezone=UTC -c logging_collector=off -c 'log_line_prefix=%m [%p] ' "${more[@]}"
}

start_postgres() {
    locate_postgres
    # An existing database needs the major version that made it.
    local version=
    [[ ! -e $PG_DATA || ! -s $PASSWORD_FILE ]] || version=$(as_postgres cat "$PG_DATA/PG_VERSION")
    PG_BIN=$(postgres_bin_dir "$version") ||
        die "the data in $PG_HOME is PostgreSQL $version's, which is not installed; 'deploy/dev clean' begins anew"
    init_postgres
    require_free_port "$POSTGRES_PORT" PostgreSQL CONFAB_DEV_POSTGRES_PORT

    # After a kill -9 the backends need a moment to notice that their postmaster is gone, and until then PostgreSQL
    # refuses to start. It also takes a zombie postmaster, left uncollected in a container, for a living one.
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        postgres_in_use || break
        pause 0.05
    done
    ! postgres_in_use || die "another PostgreSQL still runs on $PG_DATA; stop it first"
    rm -f "$PG_DATA/postmaster.pid"
    [[ $TLS == no ]] || give_postgres_certificates
    launch postgres exec_postgres
}

postgres_answers() { "$PG_BIN/pg_isready" -q -h 127.0.0.1 -p "$POSTGRES_PORT"; }

as_superuser() {
    "$PG_BIN/psql" -X -q -v ON_ERROR_STOP=1 -d "$(database_url postgres postgres)"
}

# The programs' own role owns the database and is no superuser, as it would be in production. It may create databases:
# tests make their own.
create_database() {
    local password
    password=$(<"$PASSWORD_FILE")
    as_superuser >>"$LOG_DIR/initdb.log" 2>&1 <<SQL || die "could not create the database, see $LOG_DIR/initdb.log"
SELECT 'CREATE ROLE confab LOGIN CREATEDB PASSWORD ''$password'''
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'confab') \gexec
SELECT 'CREATE DATABASE confab OWNER confab'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'confab') \gexec
SQL
}

database_url() { # USER DATABASE
    local query=
    [[ $TLS == no ]] || query=?$(postgres_tls_query)
    printf 'postgres://%s:%s@127.0.0.1:%s/%s%s\n' "$1" "$(<"$PASSWORD_FILE")" "$POSTGRES_PORT" "$2" "$query"
}

postgres_url() { database_url confab confab; }

# Removes the database, also when it lies outside DEV_DIR.
remove_postgres() {
    local home=$DEV_DIR/postgres
    if [[ -L $home ]]; then home=$(readlink "$home"); fi
    rm -rf "${home:?}" "$DEV_DIR/postgres" "$PASSWORD_FILE"
}
