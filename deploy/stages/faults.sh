# shellcheck shell=bash
# shellcheck disable=SC2034 # NEEDS, ON_CLUSTER and BESIDE are read by deploy/test
# Kills, suspends and empties what runs, under load, and compares all logs with PostgreSQL.

ON_CLUSTER[faults]=1
BESIDE[faults]=300

run_faults() {
    CONFAB_TEST_STATE=$CONFAB_DEV_DIR/state.json with_cluster \
        bounded 3600 cargo test --workspace --locked "${FEATURES[@]}" --test faults -- --include-ignored --skip replicated_
}

apart_faults() {
    start_cluster && run_faults
}
