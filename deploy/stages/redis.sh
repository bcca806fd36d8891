# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # NEEDS, ON_CLUSTER and BESIDE are arrays of deploy/test
# Redis of more than one server: a Redis Cluster, then one behind Sentinels. Against each, what clients do (a part of the Node suite), and
# one of its servers killed, then emptied, under load.

ON_CLUSTER[redis]=1
NEEDS[redis]=node
BESIDE[redis]=700

# Each is a way in which what is kept in Redis is used.
readonly ON_ANY_REDIS=(cross-dialect order presence badges typing recovery rate-limits stomp-guide)

try_replicated() { # ARGUMENT…
    CONFAB_TRANSPORTS=websocket CONFAB_ENTRY=node run_suite "${ON_ANY_REDIS[@]}" &&
        CONFAB_TEST_STATE=$CONFAB_DEV_DIR/state.json \
            bounded 300 cargo test --workspace --locked "${FEATURES[@]}" --test faults -- --include-ignored replicated_ "$@"
}

try_redis() { # KIND ARGUMENT…
    say "Redis: $1"
    deploy/dev clean && bounded 180 deploy/dev --detach --gateways 2 --workers 2 --redis "$1" && with_cluster try_replicated "${@:2}"
}

beside_redis() {
    # All servers have one clock here, and clients of a test say much in a moment: with any slack some would rightly have to begin anew.
    export CONFAB_RECOVERY__CLUSTER_SLACK_MS=0
    install_suite && try_redis cluster && try_redis sentinel --skip replicated_slots_moved
}
