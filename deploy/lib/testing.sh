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

# So that an interruption is not kept waiting.
in_background() { # COMMAND…
    local code=0
    "$@" &
    BOUNDED=$!
    wait "$BOUNDED" || code=$?
    BOUNDED=
    return "$code"
}

# A stage that this machine lacks something for says so and returns what this does: it has not failed, and has not passed either.
readonly NOT_POSSIBLE=77
not_possible() { # WHAT
    say "not run: $1"
    return "$NOT_POSSIBLE"
}

# Tests that try what chance gives them try something else each time; what they begin with is said, so that it can be had again.
say_seed() {
    export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
    say "PROPTEST_RNG_SEED=$PROPTEST_RNG_SEED"
}

# What comes from a network, up to three times: it may fail for a moment.
fetch() { # SECONDS COMMAND…
    local try
    for try in 1 2 3; do
        if bounded "$@"; then return 0; fi
        ((try == 3)) || pause $((try * 5))
    done
    return 1
}

start_cluster() {
    deploy/dev clean && bounded 900 deploy/dev --detach --gateways 3 --workers 2 --proxy
}

# Whether all processes are ready, or soon are: after a suite one may not have caught up with it yet. None comes back that died.
is_well() {
    local status=$CONFAB_DEV_DIR/status.txt deadline=$((SECONDS + 60))
    until deploy/dev status >"$status"; do
        if grep -q ' dead ' "$status" || ((SECONDS >= deadline)); then return 1; fi
        pause 1
    done
}

# A suite has not passed when a process died of it, whatever its own verdict; what it kills it must restart.
with_cluster() { # COMMAND…
    if "$@" && is_well; then return 0; fi
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
    bounded 900 python3 -m venv "$venv" || return
    if ! fetch 900 "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$2"; then
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
            { fetch 900 npm --prefix gateway/e2e ci --no-audit --no-fund && cp gateway/e2e/package-lock.json gateway/e2e/node_modules/.installed.json; }
    ) 7>>"$ROOT/target/suite.lock"
}

# All bounds only end what hangs: none is near what it takes on a slow machine.
run_suite() { # ARGUMENT…
    CONFAB_STATE=$CONFAB_DEV_DIR/state.json CONFAB_ECHO=$(absolute "${CARGO_TARGET_DIR:-target}")/debug/examples/echo \
        bounded 3600 npm --prefix gateway/e2e test -- "$@"
}
