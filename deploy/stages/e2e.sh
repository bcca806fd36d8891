# shellcheck shell=bash
# shellcheck disable=SC2034 # NEEDS and ON_CLUSTER are read by deploy/test
# The Node suite with the real clients.

ON_CLUSTER[e2e]=1
NEEDS[e2e]=node

run_e2e() {
    bounded 300 npm --prefix gateway/e2e ci --no-audit --no-fund && bounded 900 npm --prefix gateway/e2e test
}

stage_e2e() {
    CONFAB_STATE=$TEST_DIR/state.json CONFAB_ECHO=$(absolute "${CARGO_TARGET_DIR:-target}")/debug/examples/echo with_cluster run_e2e
}
