# shellcheck shell=bash
# Work that goes on aside of a stage, or of many: begun, and waited for where its outcome counts.
# EARLY[NAME] says that a stage has some that takes long and needs no other stage, such as building a tool: early_NAME, which is begun first, with
# little priority. Doing it twice must be harmless.
# shellcheck disable=SC2154 # EARLY, WANTED and TEST_DIR are deploy/test's

declare -A ASIDE_PIDS=()

begin_aside() { # NAME COMMAND…
    (
        trap interrupted INT TERM HUP
        "${@:2}"
    ) >"$TEST_DIR/aside-$1.log" 2>&1 &
    ASIDE_PIDS[$1]=$!
}

# Waits for it, and shows what it said if it failed.
await_aside() { # NAME
    [[ -n ${ASIDE_PIDS[$1]:-} ]] || return 0
    local verdict=0
    wait "${ASIDE_PIDS[$1]}" || verdict=1
    unset "ASIDE_PIDS[$1]"
    ((verdict == 0)) || cat "$TEST_DIR/aside-$1.log"
    return "$verdict"
}

stop_aside() {
    local pid
    for pid in "${ASIDE_PIDS[@]}"; do { kill "$pid" && wait "$pid"; } 2>/dev/null || :; done
}

begin_early() {
    local stage
    for stage in "${!EARLY[@]}"; do
        [[ -n ${WANTED[$stage]:-} ]] || continue
        begin_aside "$stage" unhurried "early_$stage"
    done
}

unhurried() { # COMMAND…
    renice -n 10 -p "$BASHPID" >/dev/null
    "$@"
}
