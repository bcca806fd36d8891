# shellcheck shell=bash
# The cluster's processes: start one, tell whether it lives, stop it within a bound.
# Uses RUN_DIR and LOG_DIR; must never know what a gateway or a database is.
#
# A process is remembered in RUN_DIR/<name> as "pid start-time boot", not as a bare pid, so that after a crash of the
# machine or much later a stranger with the same pid is neither taken for ours nor signalled.

# Prints "start-time boot" of a living process. A zombie is dead: in a container nobody may ever collect it.
fingerprint() { # PID
    local stat boot fields
    { read -r stat <"/proc/$1/stat" && read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || return 1
    # The second field, the command's name, is in parentheses and may hold anything: count after it.
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] || return 1
    printf '%s %s\n' "${fields[19]}" "$boot"
}

pid_of() { # NAME
    local pid rest
    read -r pid rest 2>/dev/null <"$RUN_DIR/$1" || return 1
    printf '%s\n' "$pid"
}

is_running() { # NAME
    local pid print
    read -r pid print 2>/dev/null <"$RUN_DIR/$1" || return 1
    [[ $(fingerprint "$pid") == "$print" ]]
}

# The names of all processes ever started in this cluster and not yet forgotten.
known_processes() {
    local file
    for file in "$RUN_DIR"/*; do
        # Locks and half-written files have a dot in their names.
        if [[ -f $file && ${file##*/} != *.* ]]; then printf '%s\n' "${file##*/}"; fi
    done
}

any_running() {
    local name
    for name in $(known_processes); do
        is_running "$name" && return 0
    done
    return 1
}

# The next program gets standard input, output and error and nothing else: a lock must not outlive its script, and
# whoever reads a pipe of ours to its end must not wait for a server.
close_descriptors() {
    local path fd
    for path in "/proc/$BASHPID/fd"/*; do
        fd=${path##*/}
        if ((fd > 2)); then eval "exec $fd>&-"; fi
    done
}

# Runs a function that ends in `exec setsid …` as a process of its own session. The function's subshell becomes the
# program, so the recorded pid is the program's.
launch() { # NAME FUNCTION [ARGUMENT…]
    local name=$1 pid
    shift
    (
        trap - EXIT INT TERM HUP
        close_descriptors
        "$@"
    ) </dev/null >>"$LOG_DIR/$name.log" 2>&1 &
    pid=$!
    disown "$pid" # else the shell would announce its death in its own words
    printf '%s %s\n' "$pid" "$(fingerprint "$pid" || echo gone)" >"$RUN_DIR/$name.new"
    mv "$RUN_DIR/$name.new" "$RUN_DIR/$name"
}

# Waits until a check passes. Fails at once, with the log, when the process dies first.
wait_ready() { # NAME SECONDS CHECK [ARGUMENT…]
    local name=$1 limit=$2 deadline=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ! is_running "$name"; then
            show_tail "$LOG_DIR/$name.log" 30
            die "$name died while starting"
        fi
        if ((SECONDS >= deadline)); then
            show_tail "$LOG_DIR/$name.log" 30
            die "$name was not ready within $limit s"
        fi
        pause 0.05
    done
    # The check may have been answered by an older owner of the port.
    if ! is_running "$name"; then
        show_tail "$LOG_DIR/$name.log" 30
        die "$name died while starting"
    fi
}

# A suspended process keeps its SIGTERM until it is continued.
send_signal() { # NAME SIGNAL
    local pid
    is_running "$1" || return 0
    pid=$(pid_of "$1")
    kill -s "$2" "$pid" 2>/dev/null || return 0
    kill -s CONT "$pid" 2>/dev/null || :
}

wait_gone() { # NAME SECONDS
    local deadline=$((SECONDS + $2))
    while is_running "$1"; do
        if ((SECONDS >= deadline)) || [[ -n ${HURRY:-} ]]; then return 1; fi
        pause 0.05
    done
}

# Asks all the named processes at once, waits for them together, and insists when the bound is over.
stop_processes() { # SIGNAL SECONDS NAME…
    local signal=$1 deadline=$((SECONDS + $2)) name
    shift 2
    for name in "$@"; do send_signal "$name" "$signal"; done
    for name in "$@"; do
        if ! wait_gone "$name" $((deadline > SECONDS ? deadline - SECONDS : 0)); then
            say "$name did not stop in time: killing it"
            send_signal "$name" KILL
            HURRY='' wait_gone "$name" 10 || die "$name (pid $(pid_of "$name")) cannot be killed"
        fi
    done
}
