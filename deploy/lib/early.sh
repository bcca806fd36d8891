# shellcheck shell=bash
# Preparations that take long and need no other stage, such as building a tool: begun first, with little priority, and waited for by
# the stage that they are for. EARLY[NAME] says that a stage has one, early_NAME what it does; doing it twice must be harmless.
# shellcheck disable=SC2154 # EARLY, WANTED and TEST_DIR are deploy/test's

declare -A EARLY_PIDS=()

begin_early() {
    local stage
    for stage in "${!EARLY[@]}"; do
        [[ -n ${WANTED[$stage]:-} ]] || continue
        (
            trap interrupted INT TERM HUP
            renice -n 10 -p "$BASHPID" >/dev/null
            "early_$stage"
        ) >"$TEST_DIR/early-$stage.log" 2>&1 &
        EARLY_PIDS[$stage]=$!
    done
}

# Waits for a stage's preparation, and shows what it said if it failed.
await_early() { # STAGE
    [[ -n ${EARLY_PIDS[$1]:-} ]] || return 0
    local verdict=0
    wait "${EARLY_PIDS[$1]}" || verdict=1
    unset "EARLY_PIDS[$1]"
    ((verdict == 0)) || cat "$TEST_DIR/early-$1.log"
    return "$verdict"
}

stop_early() {
    local pid
    for pid in "${EARLY_PIDS[@]}"; do { kill "$pid" && wait "$pid"; } 2>/dev/null || :; done
}
