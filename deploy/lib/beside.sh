# shellcheck shell=bash
# Stages with clusters of their own, so that nobody else's processes are killed under them: apart_NAME says what such a stage does. Those in BESIDE
# run beside the others, one after the other, since most of what they do is waiting; BESIDE[NAME] is how far their ports are above the others'.
# shellcheck disable=SC2154 # BESIDE, WANTED and STAGES are deploy/test's

beside_dir() { echo "$ROOT/target/test-$1"; }

# In a process of its own.
run_apart() ( # STAGE PORTS-ABOVE-THE-OTHERS'
    declare variable verdict=0
    export CONFAB_DEV_DIR
    CONFAB_DEV_DIR=$(beside_dir "$1")
    for variable in CONFAB_DEV_{GATEWAY,INTERNAL,POSTGRES,REDIS,PROXY}_PORT; do
        export "$variable=$((${!variable} + $2))"
    done
    mkdir -p "$CONFAB_DEV_DIR"
    trap 'stop_test_cluster stop' EXIT
    trap interrupted INT TERM HUP
    "apart_$1" || verdict=1
    trap - EXIT
    stop_test_cluster "$( ((verdict)) && echo stop || echo clean)"
    exit "$verdict"
)

beside_wanted() {
    local stage
    for stage in "${STAGES[@]}"; do
        [[ -z ${BESIDE[$stage]:-} || -z ${WANTED[$stage]:-} ]] || echo "$stage"
    done
}

# Whether there is anything for them to be beside.
others_wanted() {
    local stage
    for stage in "${!ON_CLUSTER[@]}"; do
        [[ -z ${WANTED[$stage]:-} || -n ${BESIDE[$stage]:-} ]] || return 0
    done
    return 1
}

begin_beside() {
    local stages
    mapfile -t stages < <(beside_wanted)
    ((${#stages[@]})) && others_wanted || return 0
    printf '\n=== beside the others, each shown in its turn: %s\n' "${stages[*]}"
    rm -f "${stages[@]/#/"$TEST_DIR/beside-"}"
    (
        trap interrupted INT TERM HUP
        for stage in "${stages[@]}"; do
            begun=$SECONDS verdict=0
            # In the background and waited for, so that an interruption is not kept waiting.
            run_apart "$stage" "${BESIDE[$stage]}" >"$TEST_DIR/$stage.log" 2>&1 &
            BESIDE_PID=$!
            wait "$BESIDE_PID" || verdict=1
            echo "$verdict $((SECONDS - begun))" >"$TEST_DIR/beside-$stage.part"
            mv "$TEST_DIR/beside-$stage.part" "$TEST_DIR/beside-$stage"
        done
    ) &
    BESIDE_PID=$!
}

# Shows what came of a stage that runs beside; one that does not runs now.
stage_beside() { # STAGE
    if [[ -z ${BESIDE_PID:-} ]]; then
        in_background run_apart "$1" "${BESIDE[$1]}"
        return
    fi
    local result=$TEST_DIR/beside-$1 verdict took
    while [[ ! -e $result ]]; do
        if ! kill -0 "$BESIDE_PID" 2>/dev/null && [[ ! -e $result ]]; then
            say "what runs beside ended before $1 was done"
            return 1
        fi
        pause 0.5
    done
    read -r verdict took <"$result"
    cat "$TEST_DIR/$1.log"
    say "$1 took $took s in all"
    return "$verdict"
}

stop_beside() {
    [[ -z ${BESIDE_PID:-} ]] || { kill "$BESIDE_PID" && wait "$BESIDE_PID"; } 2>/dev/null || :
}
