# shellcheck shell=bash
# shellcheck disable=SC2034 # NEEDS and ON_CLUSTER are read by deploy/test
# schemathesis with all its checks against the REST document.

ON_CLUSTER[schema]=1
NEEDS[schema]=venv

run_schemathesis() {
    local api
    api=$(jq -r '.gateways[0].url' "$TEST_DIR/state.json")
    # Its hooks and settings are where it stands.
    CONFAB_STATE=$TEST_DIR/state.json bounded 1200 env -C "$ROOT/deploy/schemathesis" PYTHONDONTWRITEBYTECODE=1 \
        "$ROOT/target/schemathesis/bin/schemathesis" --config-file schemathesis.toml run --checks all "$api/api/openapi.json"
}

stage_schema() {
    ensure_venv schemathesis "$ROOT/deploy/schemathesis/requirements.txt" && with_cluster run_schemathesis
}
