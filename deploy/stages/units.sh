# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # NEEDS and ON_CLUSTER are read by deploy/test, which sets TEST_DIR
# systemd: the units are sound and tight, name nothing that does not exist, and work: deploy/roll replaces real ones.

ON_CLUSTER[units]=1
NEEDS[units]='systemd-analyze promtool'

readonly UNITS_DIR=$TEST_DIR/units
# In tenths: systemd calls up to 2.9 OK.
readonly MAX_EXPOSURE=20

wrong() {
    say "units: $*"
    return 1
}

units_installed() {
    local twice
    rm -rf "$UNITS_DIR"
    deploy/systemd/install --destdir "$UNITS_DIR/root" --programs "$TEST_DIR/bin" || return
    printf '# mine\n' >>"$UNITS_DIR/root/etc/confab/gateway.toml"
    twice=$(deploy/systemd/install --destdir "$UNITS_DIR/root" --programs "$TEST_DIR/bin") || return
    [[ $twice == *"kept as they were: $UNITS_DIR/root/etc/confab/gateway.toml"*/worker.toml*/secrets.env* ]] || wrong "install said: $twice" || return
    grep -q '^# mine$' "$UNITS_DIR/root/etc/confab/gateway.toml" || wrong "settings were overwritten" || return
    [[ $(stat -c %a "$UNITS_DIR/root/etc/confab/secrets.env") == 600 ]] || wrong "everybody can read secrets.env" || return
    grep -qE '^JWT_SECRET=[0-9a-f]{96}$' "$UNITS_DIR/root/etc/confab/secrets.env" || wrong "no secret was drawn"
}

# Prometheus and Grafana of the same host: what is installed for them is whole, and README.md names it.
units_monitored() {
    local twice arguments dashboards root=$UNITS_DIR/root
    [[ ! -e $root/etc/prometheus && ! -e $root/etc/grafana ]] || wrong "monitoring was installed unasked" || return
    deploy/systemd/install --monitoring --destdir "$root" --programs "$TEST_DIR/bin" >/dev/null || return
    printf '# mine\n' >>"$root/etc/prometheus/confab.yml"
    twice=$(deploy/systemd/install --monitoring --destdir "$root" --programs "$TEST_DIR/bin") || return
    [[ $twice == *"$root/etc/prometheus/confab.yml"* ]] && grep -q '^# mine$' "$root/etc/prometheus/confab.yml" || wrong "what is scraped was overwritten" || return
    arguments=$(sed -n "s/^ *echo 'ARGS=\"\(.*\)\"' .*/\1/p" deploy/systemd/README.md)
    [[ $arguments =~ --config\.file=([^ ]+) && -f $root${BASH_REMATCH[1]} ]] || wrong "Prometheus would be started with '$arguments'" || return
    promtool check config "$root${BASH_REMATCH[1]}" >"$UNITS_DIR/promtool.txt" 2>&1 && grep -q '[1-9][0-9]* rules found' "$UNITS_DIR/promtool.txt" ||
        wrong "promtool: $(<"$UNITS_DIR/promtool.txt")" || return
    [[ $arguments =~ --web\.listen-address=([^ ]+) ]] && grep -qF "url: http://${BASH_REMATCH[1]}" "$root"/etc/grafana/provisioning/datasources/*.yml ||
        wrong "Grafana would not find the Prometheus that is started with '$arguments'" || return
    [[ $(sed -n 's/^ *\(- \)\?\(name\|uid\|isDefault\): /\2=/p' "$root"/etc/grafana/provisioning/datasources/*.yml | tr '\n' ' ') == 'name=Confab uid=confab isDefault=false ' ]] ||
        wrong "a data source that is there already would be taken over" || return
    dashboards=$(sed -n 's/^ *path: //p' "$root/etc/grafana/provisioning/dashboards/confab.yml")
    jq -e '.panels | length > 0' "$root$dashboards/confab.json" >/dev/null || wrong "Grafana would look for dashboards in $dashboards"
}

# The same units with the programs where they are.
units_sound() {
    local unit said place=$UNITS_DIR/verified
    mkdir -p "$place"
    for unit in "$UNITS_DIR"/root/usr/local/lib/systemd/system/*; do
        sed "s|/usr/local/|$UNITS_DIR/root/usr/local/|g" "$unit" >"$place/${unit##*/}"
    done
    # It warns of what it does not know, and passes.
    said=$(systemd-analyze verify --man=no "$place"/*.{target,socket,service} 2>&1) || wrong "verify: $said" || return
    [[ -z $said ]] || wrong "verify: $said" || return
    for unit in "$place"/*.service; do
        systemd-analyze security --offline=true --no-pager --threshold="$MAX_EXPOSURE" "$unit" >"$UNITS_DIR/security.txt" 2>&1 ||
            wrong "$(tail -n 1 "$UNITS_DIR/security.txt")" || return
        tail -n 1 "$UNITS_DIR/security.txt"
    done
}

# A number of seconds from a unit, or from a program's defaults.
seconds_of() { sed -n "s/^$2 \\?= \\?\\([0-9]*\\).*/\\1/p" "$1" | head -n 1; }

# What a unit would start, with its environment, as a check of the settings.
checked() { # UNIT
    local unit=$1 program arguments environment=()
    read -r program arguments < <(sed -n 's/^ExecStart=//p' "$unit")
    mapfile -t environment < <(sed -n 's/^Environment=//p' "$unit" | sed "s|=/etc/|=$UNITS_DIR/root/etc/|; s|%i|1|")
    mapfile -t -O "${#environment[@]}" environment < <(grep -E '^[A-Z_]+=' "$UNITS_DIR/root/etc/confab/secrets.env")
    program=$UNITS_DIR/root$program
    env -i "${environment[@]}" "$program" "$arguments" --help >/dev/null || wrong "${unit##*/}: no such command: $program $arguments" || return
    env -i "${environment[@]}" "$program" config | sed -n 's/^# not a setting of the [a-z]*: //p'
}

units_name_what_exists() {
    local unit said status=0 units=$UNITS_DIR/root/usr/local/lib/systemd/system
    for unit in confab-gateway@ confab-worker@ confab-migrate; do
        # Stores and names may be away for longer than any number of starts.
        grep -qx 'StartLimitIntervalSec=0' "$units/$unit.service" || wrong "$unit is given up after some starts, and cannot be started by hand then" || return
        said=$(checked "$units/$unit.service" 2>&1) || wrong "$unit: $said" || return
        # Secrets are the same for both programs.
        said=$(grep -v -e 'auth\.jwt_secret$' <<<"$said") || :
        [[ -z $said ]] || wrong "$unit: $said" || return
    done
    env -i CONFAB_DRAIN__LIMIT_SECONDS=soon "$UNITS_DIR/root/usr/local/bin/confab-gateway" config >/dev/null 2>&1 || status=$?
    [[ $status == 78 ]] || wrong "a bad setting ends the program with $status, which the units try again" || return
    (($(seconds_of "$units/confab-gateway@.service" TimeoutStopSec) > $(seconds_of gateway/config.default.toml limit_seconds))) ||
        wrong "gateways are killed while they drain" || return
    (($(seconds_of "$units/confab-worker@.service" TimeoutStopSec) > $(seconds_of worker/config.default.toml drain_seconds))) ||
        wrong "workers are killed while they drain" || return
    (($(seconds_of "$units/confab-worker@.service" WatchdogSec) * 500 > \
        $(seconds_of worker/config.default.toml statement_timeout_ms) + $(seconds_of worker/config.default.toml acquire_timeout_ms) + 2000)) ||
        wrong "the watchdog would end workers that wait for PostgreSQL"
}

# roll's own decisions, against a systemctl that only notes what it is told. Unit 2 of a kind named in FAILS does not come back.
fake_manager() {
    mkdir -p "$UNITS_DIR/fake"
    cat >"$UNITS_DIR/fake/systemctl" <<'SH'
#!/bin/bash
[[ $1 != --user ]] || shift
case $1 in
list-units)
    [[ " $* " == *" --state=active "* ]] || { [[ -z ${FAILED:-} ]] || echo "$FAILED loaded failed failed x"; exit 0; }
    kind=${*: -1}
    for n in 10 1 2; do echo "${kind%%@*}@$n.service loaded active running x"; done ;;
show)
    case $2 in
    *ActiveState) echo active ;;
    *MainPID) cat "$FAKE/pid-${*: -1}" 2>/dev/null || echo 0 ;;
    *Environment) echo "A=b CONFAB_HTTP__INTERNAL_LISTEN=${*: -1}" ;;
    esac ;;
restart)
    echo "${*: -1}" >>"$FAKE/restarted"
    [[ -z ${FAILS:-} || ${*: -1} != *"$FAILS@2.service" ]] || exit 1
    echo 4000000 >"$FAKE/pid-${*: -1}" ;;
esac
SH
    # An instance's address is its name here. LOST is ready until gateway 2 has been restarted.
    cat >"$UNITS_DIR/fake/curl" <<'SH'
#!/bin/bash
[[ -z ${DEAF:-} || ${*: -1} == *"$DEAF"* ]] || exit 22
[[ -z ${NOT_READY:-} || ${*: -1} != *"$NOT_READY"* ]] || exit 22
[[ -z ${LOST:-} || ${*: -1} != *"$LOST"* ]] || ! grep -q gateway@2 "$FAKE/restarted"
SH
    printf '#!/bin/bash\n' >"$UNITS_DIR/fake/journalctl"
    chmod +x "$UNITS_DIR"/fake/*
}

fake_roll() { # EXPECTED_STATUS EXPECTED_RESTARTS [NAME=VALUE…] -- ARGUMENT…
    local expected=$1 restarts=$2 status=0 environment=()
    shift 2
    while [[ $1 != -- ]]; do environment+=("$1") && shift; done
    shift
    rm -f "$UNITS_DIR"/fake/pid-*
    : >"$UNITS_DIR/fake/restarted"
    env PATH="$UNITS_DIR/fake:$PATH" FAKE="$UNITS_DIR/fake" "${environment[@]}" deploy/roll --pause 0 --timeout 60 "$@" >"$UNITS_DIR/roll.txt" 2>&1 || status=$?
    [[ $status == "$expected" ]] || wrong "roll $* (${environment[*]}) left with $status: $(<"$UNITS_DIR/roll.txt")" || return
    [[ $(tr '\n' ' ' 2>/dev/null <"$UNITS_DIR/fake/restarted" | sed 's/confab-//g; s/\.service//g; s/ $//') == "$restarts" ]] ||
        wrong "roll $* restarted: $(<"$UNITS_DIR/fake/restarted")"
}

units_rolled_in_order() {
    local all='gateway@1 gateway@2 gateway@10 worker@1 worker@2 worker@10'
    fake_manager
    fake_roll 0 "$all" -- &&
        fake_roll 0 "migrate $all" -- --all --migrate --user &&
        fake_roll 0 'worker@1 worker@2 worker@10' -- --workers &&
        fake_roll 0 '' -- --dry-run --migrate &&
        fake_roll 1 'gateway@1 gateway@2' FAILS=gateway -- &&
        # One of the others is not ready, so none goes; with --anyway one must be left of its own kind.
        fake_roll 1 '' NOT_READY=worker@10. -- &&
        fake_roll 0 'gateway@1 gateway@2 gateway@10' NOT_READY=worker@10. -- --gateways &&
        fake_roll 1 'gateway@1 gateway@2' LOST=gateway@1. -- &&
        fake_roll 0 "$all" LOST=gateway@1. -- --anyway &&
        fake_roll 1 '' DEAF=gateway@1. -- --anyway &&
        fake_roll 2 '' FAILED=confab-worker@3.service -- &&
        fake_roll 1 '' -- --nonsense &&
        roll_wants_curl
}

# Without it every instance would look as if it were not ready.
roll_wants_curl() {
    local name
    mkdir -p "$UNITS_DIR/few"
    for name in dirname readlink; do ln -sf "$(command -v "$name")" "$UNITS_DIR/few/$name"; done
    if PATH=$UNITS_DIR/few "$BASH" deploy/roll >"$UNITS_DIR/roll.txt" 2>&1 || ! grep -q 'curl is missing' "$UNITS_DIR/roll.txt"; then
        wrong "roll without curl says: $(<"$UNITS_DIR/roll.txt")"
    fi
}

# The real thing: the units as they were installed, with other ports as README.md says they are changed, under a systemd of their own.
units_live() {
    local log status=0 work=$UNITS_DIR/live root=$UNITS_DIR/root
    rm -rf "$work" && mkdir -p "$work/config/systemd/user"
    cp /etc/passwd /etc/group "$root/etc/" && echo 'confab:x:61999:61999::/nonexistent:/usr/sbin/nologin' >>"$root/etc/passwd" &&
        echo 'confab:x:61999:' >>"$root/etc/group" || return
    cp "$root"/usr/local/lib/systemd/system/* "$work/config/systemd/user/" || return
    live_settings "$work/config/systemd/user" >"$root/etc/confab/secrets.env" || return
    bounded 300 deploy/lib/under-systemd "$work" "$root" deploy/lib/live-units "$CONFAB_DEV_GATEWAY_PORT" "$CONFAB_DEV_INTERNAL_PORT" "$work" || status=$?
    if ((status == NOT_POSSIBLE)); then
        UNITS_NOT_STARTED=1
        return 0
    fi
    if ((status != 0)); then
        for log in "$work"/*.log; do show_tail "$log" 30; done
    fi
    return "$status"
}

# Drop-ins in the directory named; secrets on standard output.
live_settings() { # DIRECTORY
    local unit ports=$((CONFAB_DEV_INTERNAL_PORT / 10))
    for unit in confab-gateway.socket confab-gateway@.service confab-worker@.service; do mkdir -p "$1/$unit.d"; done
    # There is no journal.
    for unit in confab-gateway@.service confab-worker@.service; do printf '[Service]\nStandardError=append:%s/%%p-%%i.log\n' "$UNITS_DIR/live" >"$1/$unit.d/log.conf"; done
    printf '[Socket]\nListenStream=\nListenStream=127.0.0.1:%s\n' $((CONFAB_DEV_GATEWAY_PORT + 50)) >"$1/confab-gateway.socket.d/live.conf"
    printf '[Service]\nEnvironment=CONFAB_HTTP__INTERNAL_LISTEN=127.0.0.1:%s%%i\nWatchdogSec=20s\n' $((ports + 5)) >"$1/confab-gateway@.service.d/live.conf"
    printf '[Service]\nEnvironment=CONFAB_HTTP__INTERNAL_LISTEN=127.0.0.1:%s%%i\n' $((ports + 6)) >"$1/confab-worker@.service.d/live.conf"
    printf 'DATABASE_URL=%s\nREDIS_URL=%s\nJWT_SECRET=%s\nCONFAB_DRAIN__SPREAD_SECONDS=2\nCONFAB_RATE_LIMITS__ENABLED=false\n' \
        "$(jq -r .postgres.url "$TEST_DIR/state.json")" "$(jq -r .redis.url "$TEST_DIR/state.json")" "$(jq -r .jwtSecret "$TEST_DIR/state.json")"
}

shell_sound() {
    command -v shellcheck >/dev/null || return 0
    shellcheck -x -P SCRIPTDIR deploy/roll deploy/systemd/install deploy/lib/under-systemd deploy/lib/live-units deploy/stages/units.sh
}

stage_units() {
    UNITS_NOT_STARTED=
    units_installed && units_monitored && units_sound && units_name_what_exists && units_rolled_in_order && shell_sound && with_cluster units_live || return
    [[ -z $UNITS_NOT_STARTED ]] || not_possible "the units were not started; what else is said of them holds"
}
