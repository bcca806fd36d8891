# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # NEEDS, ON_CLUSTER and BESIDE are arrays of deploy/test
# Redis of more than one server: a Redis Cluster, then one behind Sentinels. Against each, what clients do (a part of the Node suite), and
# one of its servers killed, then emptied, under load. And what the programs find out about its servers.

ON_CLUSTER[redis]=1
NEEDS[redis]=node
BESIDE[redis]=700

# Each is a way in which what is kept in Redis is used.
readonly ON_ANY_REDIS=(cross-dialect order presence badges typing recovery rate-limits stomp-guide)

# The programs look at the servers that keep the data, whichever the URL names: at a cluster's last primary, at the one behind Sentinels.
eviction_is_told_of() {
    local server servers primary='' wrong='maxmemory-policy allkeys-lru maxmemory 1gb' right='maxmemory-policy noeviction maxmemory 0'
    servers=$(jq -r '.redis.servers[].url' "$CONFAB_DEV_DIR/state.json") || return
    for server in $servers; do
        if redis-cli -u "$server" role | head -n 1 | grep -q master; then primary=$server; fi
    done
    # shellcheck disable=SC2086 # several arguments
    redis-cli -u "$primary" config set $wrong >/dev/null && deploy/dev restart worker 1 && redis-cli -u "$primary" config set $right >/dev/null || return
    if ! grep -F 'set maxmemory-policy noeviction' "$CONFAB_DEV_DIR/log/worker-1.log" | grep -F "${primary#redis://}"; then
        say "nothing is said of $primary throwing away what it is given"
        return 1
    fi
}

try_replicated() { # ARGUMENT…
    eviction_is_told_of && CONFAB_TRANSPORTS=websocket CONFAB_ENTRY=node run_suite "${ON_ANY_REDIS[@]}" &&
        CONFAB_TEST_STATE=$CONFAB_DEV_DIR/state.json \
            bounded 1200 cargo test --workspace --locked "${FEATURES[@]}" --test faults -- --include-ignored replicated_ "$@"
}

try_redis() { # KIND ARGUMENT…
    say "Redis: $1"
    deploy/dev clean && bounded 900 deploy/dev --detach --gateways 2 --workers 2 --redis "$1" && with_cluster try_replicated "${@:2}"
}

apart_redis() {
    install_suite && try_redis cluster && try_redis sentinel --skip replicated_slots_moved
}
