# shellcheck shell=bash
# shellcheck disable=SC2034 # NEEDS and ON_CLUSTER are read by deploy/test
# Each crate's tests against real services (the test targets named "it").

ON_CLUSTER[services]=1

stage_services() {
    say_seed
    CONFAB_TEST_STATE=$TEST_DIR/state.json with_cluster \
        bounded 2400 cargo test --workspace --exclude "$PURE" --locked --no-fail-fast "${FEATURES[@]}" --test it -- --include-ignored
}
