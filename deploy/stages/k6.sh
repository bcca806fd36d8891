# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # NEEDS, ON_CLUSTER and EARLY are read by deploy/test
# The load tests of loadtest/k6: those that take seconds are run, the others must be valid; and they must notice broken promises.

ON_CLUSTER[k6]=1
NEEDS[k6]=node
EARLY[k6]=1

readonly K6_VERSION=v1.8.1 K6=$ROOT/target/k6/k6 K6_SCRIPTS=$ROOT/loadtest/k6

have_k6() { [[ -x $K6 && $("$K6" version) == "k6 $K6_VERSION "* ]]; }

# A Go module, some minutes to build for the first time.
early_k6() {
    if have_k6 || ! command -v go >/dev/null; then return 0; fi
    bounded 1200 env GOBIN="${K6%/*}" GOFLAGS= go install "go.k6.io/k6@$K6_VERSION" && have_k6
}

# The command of a run, in COMMAND. k6 would else tell its makers of it, and listen on a port that another k6 has.
k6_command() { # DIRECTORY-OF-RESULTS SCRIPT [NAME=VALUE…]
    local results=$1 script=$2
    shift 2
    mkdir -p "$results"
    COMMAND=(env -u BASE_URL RESULTS="$results" K6_NO_USAGE_REPORT=true "$@" "$K6" run --quiet --address= "$K6_SCRIPTS/$script")
}

k6_run() {
    k6_command "$@"
    bounded 120 "${COMMAND[@]}"
}

# What a run found, by its JSON.
found() { # DIRECTORY-OF-RESULTS SCRIPT CONDITION-OF-JQ
    jq -e --argjson zero '{"values":{"count":0}}' "def count(name): (.metrics[name] // \$zero).values.count; $3" "$1/$2.json" >/dev/null && return
    say "$2: this does not hold of its results in $1/$2.json: $3"
    return 1
}

k6_valid() {
    local script
    for script in "$K6_SCRIPTS"/*.js; do
        K6_NO_USAGE_REPORT=true "$K6" inspect --execution-requirements "$script" >/dev/null || return
    done
}

# Each fault is to be found under its own name, and the run is to fail for it (k6's exit status is then 99). In a process of its own,
# which takes those that it started with it.
k6_notices() ( # URL
    trap 'kill $(jobs -p) 2>/dev/null || :; wait' EXIT
    trap 'exit 130' INT TERM HUP
    declare verdict=0 code fault port
    declare -A wanted=([lose]=lost [repeat]=duplicated [swap]=out_of_order [forget]=lost) runs=()
    : >"$TEST_DIR/k6/liar"
    timeout 150 node "$K6_SCRIPTS/check/liar.mjs" "$1" "${!wanted[@]}" >"$TEST_DIR/k6/liar" &
    liar=$!
    until (($(wc -l <"$TEST_DIR/k6/liar") == ${#wanted[@]})) || ! kill -0 "$liar" 2>/dev/null; do pause 0.1; done
    while read -r fault port; do
        k6_command "$TEST_DIR/k6/$fault" load.js BASE_URL="http://127.0.0.1:$port" \
            USERS=6 MEMBERS=3 RATE=20 POST_RATE=5 VISIT_RATE=0 DURATION=3s RAMP=1s SETTLE=2s
        timeout 120 "${COMMAND[@]}" </dev/null >"$TEST_DIR/k6/$fault.log" 2>&1 &
        runs[$fault]=$!
    done <"$TEST_DIR/k6/liar"
    for fault in "${!wanted[@]}"; do
        code=0
        wait "${runs[$fault]:-}" || code=$?
        if ((code != 99)) || ! found "$TEST_DIR/k6/$fault" load "count(\"${wanted[$fault]}\") > 0"; then
            say "a gateway that would $fault messages was not noticed (exit status $code)"
            show_tail "$TEST_DIR/k6/$fault.log" 60
            verdict=1
        fi
    done
    ((verdict)) || say "lost, repeated, swapped and forgotten messages are noticed"
    exit "$verdict"
)

k6_measures() { # URLS
    local results=$TEST_DIR/k6
    k6_run "$results" smoke.js BASE_URL="$1" DURATION=8s RAMP=2s &&
        found "$results" smoke '.passed and count("messages_acked") > 0 and count("messages_acked") == count("messages_sent")' &&
        found "$results" smoke 'count("messages_delivered") > count("messages_acked") and count("lost") == 0 and count("duplicated") == 0' &&
        k6_run "$results" rest.js BASE_URL="$1" RATE=20 WRITE_RATE=5 DURATION=4s REST_P99_MS=10000 &&
        found "$results" rest '.passed and count("messages_acked") > 0 and count("lost") == 0 and count("duplicated") == 0'
}

run_k6() {
    local urls verdict=0
    mapfile -t urls < <(jq -r '.gateways[].url' "$TEST_DIR/state.json")
    rm -rf "$TEST_DIR/k6" && mkdir -p "$TEST_DIR/k6" &&
        bounded 60 "$K6" run --quiet --address= "$K6_SCRIPTS/check/self.js" && k6_valid || return
    begin_aside k6-notices in_background k6_notices "${urls[0]}"
    k6_measures "$(IFS=, && echo "${urls[*]}")" || verdict=1
    await_aside k6-notices || verdict=1
    ((verdict)) || cat "$TEST_DIR/aside-k6-notices.log"
    return "$verdict"
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

stage_k6() {
    await_aside k6 || return
    if ! have_k6; then
        say "not run: k6 $K6_VERSION is built with Go, and there is no Go here"
        return 0
    fi
    with_cluster run_k6
}
