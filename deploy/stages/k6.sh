# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # NEEDS, ON_CLUSTER and EARLY are read by deploy/test
# The load tests of loadtest/k6: those that take seconds are run, the others must be valid; and they must notice broken promises.

ON_CLUSTER[k6]=1
NEEDS[k6]=node
EARLY[k6]=1

readonly K6_VERSION=v1.8.1 K6=$ROOT/target/k6/k6 K6_SCRIPTS=$ROOT/loadtest/k6

have_k6() { [[ -x $K6 && $("$K6" version) == "k6 $K6_VERSION "* ]]; }

# A Go that can build it: 1.25, or one since 1.21 that may get itself the newer one.
have_go() {
    local version choice
    command -v go >/dev/null && { read -r version && read -r choice; } < <(cd / && go env GOVERSION GOTOOLCHAIN 2>/dev/null) || return
    [[ $version =~ ^go1\.([0-9]+) ]] || return
    ((BASH_REMATCH[1] >= 25)) || { ((BASH_REMATCH[1] >= 21)) && [[ $choice == *auto ]]; }
}

# A Go module, some minutes to build for the first time.
early_k6() {
    if have_k6 || ! have_go; then return 0; fi
    bounded 3600 env GOBIN="${K6%/*}" GOFLAGS= go install "go.k6.io/k6@$K6_VERSION" && have_k6
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
    bounded 240 "${COMMAND[@]}"
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

# What each fault is to be found by, and the script that is to find it, made small: so each of them runs, too.
readonly -A K6_FAULTS=(
    [lose]='count("lost") > 0' [repeat]='count("duplicated") > 0' [swap]='count("out_of_order") > 0' [forget]='count("lost") > 0'
    [mute]='count("messages_unanswered") > 0' [omit]='count("lost") > 0' [garble]='.metrics.expected.values.rate < 1'
)
readonly -A K6_FINDERS=(
    [lose]='soak.js RATE=20 POST_RATE=5 VISIT_RATE=0 DURATION=3s WINDOWS=2 CHURN=1h'
    [repeat]='stress.js RATE=10 STEPS=2 STEP=2s'
    [swap]='spike.js RATE=10 SPIKE=2 SPIKE_DURATION=1s REST=0s DURATION=1s'
    [forget]='load.js RATE=20 POST_RATE=5 VISIT_RATE=0 DURATION=3s'
    [mute]='load.js RATE=20 POST_RATE=0 VISIT_RATE=1 DURATION=3s ACK_TIMEOUT_MS=3000'
    [omit]='reconnect-storm.js RATE=20 DURATION=4s CYCLES=1'
    [garble]='rest.js RATE=10 WRITE_RATE=2 LOGIN_RATE=0 DURATION=3s'
)

# Each fault is to be found under its own name, and the run is to fail for it (k6's exit status is then 99). In a process of its own,
# which takes those that it started with it.
k6_notices() ( # URL
    trap 'kill $(jobs -p) 2>/dev/null || :; wait' EXIT
    trap 'exit 130' INT TERM HUP
    declare verdict=0 code fault port script
    declare -a told
    declare -A runs=()
    : >"$TEST_DIR/k6/liar"
    timeout 200 node "$K6_SCRIPTS/check/liar.mjs" "$1" "${!K6_FAULTS[@]}" >"$TEST_DIR/k6/liar" &
    liar=$!
    until (($(wc -l <"$TEST_DIR/k6/liar") == ${#K6_FAULTS[@]})) || ! kill -0 "$liar" 2>/dev/null; do pause 0.1; done
    while read -r fault port; do
        read -ra told <<<"${K6_FINDERS[$fault]}"
        [[ ${told[0]} == rest.js ]] || told+=(RAMP=1s SETTLE=2s)
        k6_command "$TEST_DIR/k6/$fault" "${told[@]}" USERS=6 MEMBERS=3 BASE_URL="http://127.0.0.1:$port"
        timeout 150 "${COMMAND[@]}" </dev/null >"$TEST_DIR/k6/$fault.log" 2>&1 &
        runs[$fault]=$!
    done <"$TEST_DIR/k6/liar"
    for fault in "${!K6_FAULTS[@]}"; do
        code=0
        script=${K6_FINDERS[$fault]%%.js *}
        wait "${runs[$fault]:-}" || code=$?
        if ((code != 99)) || ! found "$TEST_DIR/k6/$fault" "$script" "${K6_FAULTS[$fault]}"; then
            say "$script has not noticed a gateway that would $fault messages (exit status $code)"
            show_tail "$TEST_DIR/k6/$fault.log" 60
            verdict=1
        fi
    done
    ((verdict)) || say "lost, repeated, swapped, forgotten, unconfirmed, omitted and garbled messages are noticed"
    exit "$verdict"
)

# The others where nothing is wrong: a script that always fails would notice each of the faults. Small, at the same time, and content with any speed.
readonly -A K6_HONEST=(
    [load]='RATE=20 POST_RATE=5 VISIT_RATE=1 DURATION=4s REST_P99_MS=60000'
    [soak]='RATE=20 POST_RATE=2 VISIT_RATE=1 DURATION=6s WINDOWS=2 CHURN=2s REST_P99_MS=60000'
    [stress]='RATE=10 STEPS=2 STEP=2s'
    [spike]='RATE=10 SPIKE=2 SPIKE_DURATION=2s REST=1s DURATION=2s'
    [reconnect-storm]='RATE=20 DURATION=6s CYCLES=1 RECONNECT_P99_MS=60000'
)

# In a process of its own, which takes those that it started with it.
k6_passes() ( # URLS
    trap 'kill $(jobs -p) 2>/dev/null || :; wait' EXIT
    trap 'exit 130' INT TERM HUP
    declare verdict=0 script results=$TEST_DIR/k6/honest
    declare -a told
    declare -A runs=()
    for script in "${!K6_HONEST[@]}"; do
        read -ra told <<<"${K6_HONEST[$script]}"
        k6_command "$results" "$script.js" BASE_URL="$1" USERS=6 MEMBERS=3 RAMP=1s SETTLE=60s LESS_LOAD_OK=1 ACK_P99_MS=60000 DELIVERY_P99_MS=60000 "${told[@]}"
        timeout 300 "${COMMAND[@]}" </dev/null >"$results/$script.log" 2>&1 &
        runs[$script]=$!
    done
    for script in "${!K6_HONEST[@]}"; do
        if ! wait "${runs[$script]}" || ! found "$results" "$script" '.passed and count("messages_acked") > 0 and count("lost") == 0 and count("duplicated") == 0'; then
            say "$script.js does not pass where nothing is wrong"
            show_tail "$results/$script.log" 60
            verdict=1
        fi
    done
    exit "$verdict"
)

# How often a gateway could not say for too long whether something was still changing, and had its client begin anew.
k6_unsettled() {
    jq -r '.gateways[].internal' "$TEST_DIR/state.json" | while read -r url; do
        curl -sf --noproxy '*' --max-time 60 "$url/metrics" | sed -n 's/^confab_gateway_resumes_total{outcome="unsettled"} //p'
    done | jq -s 'add // 0'
}

# Runs a command; if it fails after gateways were kept waiting like this, who was to be recovered may not have been: again, three times in all.
k6_unless_unsettled() { # COMMAND…
    local try before after
    for try in 1 2 3; do
        before=$(k6_unsettled)
        if "$@"; then return 0; fi
        after=$(k6_unsettled)
        [[ $after != "$before" ]] || return 1
        say "gateways had $((after - before)) clients begin anew for being kept waiting"
    done
    return 1
}

# Whether everything is answered and delivered, however slow this machine is.
k6_measures() { # URLS
    local results=$TEST_DIR/k6
    k6_run "$results" smoke.js BASE_URL="$1" DURATION=8s RAMP=2s ACK_P99_MS=60000 DELIVERY_P99_MS=60000 REST_P99_MS=60000 &&
        found "$results" smoke '.passed and count("messages_acked") > 0 and count("messages_acked") == count("messages_sent")' &&
        found "$results" smoke 'count("messages_delivered") > count("messages_acked") and count("lost") == 0 and count("duplicated") == 0' &&
        k6_run "$results" rest.js BASE_URL="$1" RATE=20 WRITE_RATE=5 DURATION=4s REST_P99_MS=60000 LESS_LOAD_OK=1 &&
        found "$results" rest '.passed and count("messages_acked") > 0 and count("lost") == 0 and count("duplicated") == 0'
}

run_k6() {
    local urls verdict=0
    mapfile -t urls < <(jq -r '.gateways[].url' "$TEST_DIR/state.json")
    rm -rf "$TEST_DIR/k6" && mkdir -p "$TEST_DIR/k6" &&
        bounded 60 "$K6" run --quiet --address= "$K6_SCRIPTS/check/self.js" && k6_valid || return
    begin_aside k6-notices in_background k6_notices "${urls[0]}"
    k6_unless_unsettled k6_measures "$(IFS=, && echo "${urls[*]}")" || verdict=1
    k6_unless_unsettled k6_passes "$(IFS=, && echo "${urls[*]}")" || verdict=1
    await_aside k6-notices || verdict=1
    ((verdict)) || cat "$TEST_DIR/aside-k6-notices.log"
    return "$verdict"
}

stage_k6() {
    # What could not be fetched then may be now.
    await_aside k6 || early_k6 || return
    if ! have_k6; then
        not_possible "k6 $K6_VERSION is built with Go 1.25, and there is none here, nor one that could get it"
        return
    fi
    with_cluster run_k6
}
