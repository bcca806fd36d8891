# shellcheck shell=bash
# What every deploy script needs first: where the repository is, how to speak, how to fail, how to wait.
# Knows nothing of clusters, packages or stages.

ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly ROOT

say() { printf '%s\n' "$@"; }
step() { printf '==> %s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# A Ctrl-C meant for the script also ends a sleep; that must not count as a failed command.
pause() { sleep "$1" || :; }

# An absolute path for one that may not exist yet, seen from where the caller stands.
absolute() {
    case $1 in
    /*) realpath -m -- "$1" ;;
    *) realpath -m -- "$PWD/$1" ;;
    esac
}

require_number() { # NAME VALUE MIN MAX
    [[ $2 =~ ^[0-9]{1,5}$ ]] && ((10#$2 >= $3 && 10#$2 <= $4)) ||
        die "$1 must be a number from $3 to $4, not '$2'"
}

# Whether something on this machine answers on the port.
port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A port just left by a killed process may answer for a moment longer, hence the second look.
require_free_port() { # PORT WHOSE VARIABLE
    local tries
    for ((tries = 0; tries < 20; tries++)); do
        port_answers "$1" || return 0
        pause 0.1
    done
    die "port $1 for $2 is in use by something else; set $3 to choose another"
}

# The last lines of a log, indented, where a failure is reported.
show_tail() { # FILE LINES
    [[ -s $1 ]] || return 0
    printf -- '--- the end of %s\n' "$1" >&2
    tail -n "$2" -- "$1" | sed 's/^/    /' >&2
}
