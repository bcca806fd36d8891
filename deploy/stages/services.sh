# shellcheck shell=bash
# shellcheck disable=SC2034 # NEEDS and ON_CLUSTER are read by deploy/test
# Each crate's tests against real services (the test targets named "it").

ON_CLUSTER[services]=1

# Most of what they do is waiting: twice as many at a time as there are processors.
stage_services() {
    local at_once
    at_once=$((2 * $(nproc)))
    say_seed
    CONFAB_TEST_STATE=$TEST_DIR/state.json with_cluster \
        bounded 2400 cargo test --workspace --exclude "$PURE" --locked --no-fail-fast "${FEATURES[@]}" --test it -- --include-ignored --test-threads "$at_once"
}
