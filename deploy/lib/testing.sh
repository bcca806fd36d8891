# shellcheck shell=bash
# What the stages of deploy/test have in common: bounded commands, the test's clusters, environments for Python tools.

# Runs a command within a bound, as a process group of its own that also ends when this script is interrupted.
bounded() { # SECONDS COMMAND…
    local code=0
    timeout --kill-after=10 "$@" </dev/null &
    BOUNDED=$!
    wait "$BOUNDED" || code=$?
    BOUNDED=
    ((code != 124)) || say "ended: not done within $1 s"
    return "$code"
}

start_cluster() {
    deploy/dev clean && bounded 180 deploy/dev --detach --gateways 3 --workers 2 --proxy
}

# A suite has not passed when a process died of it, whatever its own verdict; what it kills it must restart.
with_cluster() { # COMMAND…
    if "$@" && deploy/dev status >"$CONFAB_DEV_DIR/status.txt"; then return 0; fi
    deploy/dev status || :
    local log
    for log in "$CONFAB_DEV_DIR"/log/{gateway-*,worker-*,proxy,redis*,sentinel-*,postgres}.log; do show_tail "$log" 40; done
    return 1
}

stop_test_cluster() { # stop | clean
    [[ -e $CONFAB_DEV_DIR/layout ]] || return 0
    deploy/dev "$1" || say "the test cluster could not be stopped: CONFAB_DEV_DIR=$CONFAB_DEV_DIR deploy/dev stop"
}

# An environment for a Python tool, target/NAME, made once and kept; another version of what it needs replaces it.
ensure_venv() { # NAME REQUIREMENTS
    local venv=$ROOT/target/$1
    if [[ -x $venv/bin/pip ]] && cmp -s "$2" "$venv/installed.txt"; then return 0; fi
    rm -rf "$venv"
    bounded 60 python3 -m venv "$venv" || return
    if ! bounded 300 "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$2"; then
        say "$1 could not be installed: is the Python Package Index within reach (or PIP_INDEX_URL set)?"
        return 1
    fi
    cp "$2" "$venv/installed.txt"
}

# What the Node suite needs, once: it must not be taken away from under a stage that runs beside.
install_suite() {
    (
        flock 7
        cmp -s gateway/e2e/package-lock.json gateway/e2e/node_modules/.installed.json ||
            { bounded 300 npm --prefix gateway/e2e ci --no-audit --no-fund && cp gateway/e2e/package-lock.json gateway/e2e/node_modules/.installed.json; }
    ) 7>>"$ROOT/target/suite.lock"
}

run_suite() { # ARGUMENT…
    CONFAB_STATE=$CONFAB_DEV_DIR/state.json CONFAB_ECHO=$(absolute "${CARGO_TARGET_DIR:-target}")/debug/examples/echo \
        bounded 900 npm --prefix gateway/e2e test -- "$@"
}
