# shellcheck shell=bash
# Installs the programs the deploy scripts call, from the distribution's packages, and only those that are missing.
# Must never leave a system service running: Confab's PostgreSQL, Redis and nginx are private processes of the cluster.

POLICY_FILE=/usr/sbin/policy-rc.d
CREATECLUSTER_FILE=/etc/postgresql-common/createcluster.d/zz-confab-dev.conf

as_root() {
    if ((EUID == 0)); then "$@"; else sudo -- "$@"; fi
}

# The directory of the newest PostgreSQL server's programs, or of the version asked for.
postgres_bin_dir() { # [MAJOR]
    local dir found=
    for dir in /usr/lib/postgresql/*/bin; do
        [[ -x $dir/postgres && -x $dir/initdb && -x $dir/psql ]] || continue
        [[ -z ${1:-} || $dir == "/usr/lib/postgresql/$1/bin" ]] || continue
        if [[ -z $found ]] || (($(basename "${dir%/bin}") > $(basename "${found%/bin}"))); then found=$dir; fi
    done
    if [[ -z $found ]] && command -v postgres initdb psql >/dev/null; then
        dir=$(dirname "$(readlink -f "$(command -v postgres)")")
        if [[ -z ${1:-} || $("$dir/postgres" --version) == *" $1."* ]]; then found=$dir; fi
    fi
    [[ -n $found ]] && printf '%s\n' "$found"
}

# Debian keeps nginx where only root's PATH looks.
nginx_program() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nginx; }

have_need() {
    case $1 in
    postgres) postgres_bin_dir >/dev/null ;;
    redis) command -v redis-server >/dev/null && command -v redis-cli >/dev/null ;;
    node) command -v node >/dev/null && command -v npm >/dev/null ;;
    nginx) nginx_program >/dev/null ;;
    # Debian's python3 has the module without what it installs.
    venv) command -v python3 >/dev/null && python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

packages_of() {
    case $1 in
    postgres) echo postgresql ;;
    redis) echo redis-server redis-tools ;;
    node) command -v node >/dev/null && echo npm || echo nodejs npm ;;
    cc) echo build-essential pkg-config ;;
    venv) echo python3-venv ;;
    systemd-analyze) echo systemd ;;
    promtool) echo prometheus ;;
    *) echo "$1" ;;
    esac
}

# Makes sure each need (postgres, redis, node, cc, venv, promtool, or a command of the same name as its package) is met.
ensure_needs() {
    local need found missing=() packages=()
    for need in "$@"; do
        have_need "$need" && continue
        missing+=("$need")
        read -ra found < <(packages_of "$need")
        packages+=("${found[@]}")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null ||
        die "missing: ${missing[*]}; this system has no apt-get, so please install them and start again"
    ((EUID == 0)) || command -v sudo >/dev/null ||
        die "missing: ${missing[*]}; install the packages ${packages[*]} as root and start again"
    step "installing ${packages[*]}"
    apt_install "${packages[@]}"
    for need in "${missing[@]}"; do
        have_need "$need" || die "$need is still missing after installing $(packages_of "$need")"
    done
}

# A subshell, so that its exit trap takes the two guards away again however the installation ends.
apt_install() (
    log=$(mktemp)
    cleanup() {
        [[ -z ${policy_added:-} ]] || as_root rm -f "$POLICY_FILE"
        [[ -z ${createcluster_added:-} ]] || as_root rm -f "$CREATECLUSTER_FILE" # its directory may be the package's
        rm -f "$log"
    }
    trap cleanup EXIT
    trap 'exit 130' INT TERM HUP

    # Debian starts a service as soon as its package is unpacked, and makes a first database cluster.
    if [[ ! -e $POLICY_FILE ]]; then
        policy_added=1
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY_FILE" >/dev/null
        as_root chmod 755 "$POLICY_FILE"
    fi
    if [[ " $* " == *" postgresql "* && ! -e $CREATECLUSTER_FILE ]]; then
        createcluster_added=1
        as_root mkdir -p "${CREATECLUSTER_FILE%/*}"
        echo 'create_main_cluster = false' | as_root tee "$CREATECLUSTER_FILE" >/dev/null
    fi

    apt() {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=900 -o Acquire::Retries=5 "$@" >>"$log" 2>&1 </dev/null
    }
    if ! { apt update && apt install -y --no-install-recommends "$@"; }; then
        show_tail "$log" 30
        die "apt-get could not install $*"
    fi
    # Installed for the programs alone: without this the next boot would start a Redis, nginx or Prometheus of the system's own.
    for package in redis-server nginx prometheus; do
        if [[ " $* " == *" $package "* ]] && command -v systemctl >/dev/null; then
            as_root systemctl disable --quiet "$package.service" >/dev/null 2>&1 ||
                say "note: $package.service could not be disabled; it may start with the machine"
        fi
    done
)

require_redis_version() {
    local version
    version=$(redis-server --version | sed -n 's/.*v=\([0-9]*\)\..*/\1/p')
    [[ -n $version ]] && ((version >= 7)) || die "Redis 7.0 or newer is needed, found: $(redis-server --version)"
}

require_node_version() {
    local version
    version=$(node --version)
    version=${version#v}
    ((${version%%.*} >= 18)) || die "Node 18 or newer is needed, found $version"
}

# What is built says which commit it was built from. It is asked for by the programs' main.rs alone, so another commit costs little.
name_commit() {
    if [[ -z ${CONFAB_COMMIT:-} ]]; then
        CONFAB_COMMIT=$(git -C "$ROOT" describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null) || CONFAB_COMMIT=
    fi
    export CONFAB_COMMIT
}

# rustup installs beside the home directory and only login shells get it into their PATH.
require_cargo() {
    if ! command -v cargo >/dev/null && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
        PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    fi
    command -v cargo >/dev/null ||
        die "cargo is missing; install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml") or newer with rustup and start again"
}
