# shellcheck shell=bash
# shellcheck disable=SC2034 # NEEDS and ON_CLUSTER are read by deploy/test
# The Dockerfile, deploy/compose.yaml and k8s/, as far as they can be checked without an engine or a cluster (deploy/manifests).

ON_CLUSTER[manifests]=1
NEEDS[manifests]='venv nginx'

readonly KUSTOMIZE=v5.7.1

# kubectl brings kustomize along; where it is not, Go makes one, once.
find_kustomize() {
    CONFAB_KUSTOMIZE='kubectl kustomize'
    if ! command -v kubectl >/dev/null; then
        local place=$ROOT/target/kustomize
        CONFAB_KUSTOMIZE="$place/kustomize build"
        if [[ ! -x $place/kustomize ]]; then
            if ! command -v go >/dev/null; then
                not_possible "neither kubectl nor Go, which could make a kustomize, is installed"
                return
            fi
            GOBIN=$place fetch 900 go install "sigs.k8s.io/kustomize/kustomize/v5@$KUSTOMIZE" || return
        fi
    fi
    export CONFAB_KUSTOMIZE
}

run_manifests() {
    bounded 900 env PYTHONDONTWRITEBYTECODE=1 "$ROOT/target/manifests/bin/python" "$ROOT/deploy/manifests/check.py" \
        --programs "$TEST_DIR/bin" --state "$TEST_DIR/state.json"
}

# Breaks one thing after another, and expects the checks to notice.
prove_manifests() {
    bounded 400 env PYTHONDONTWRITEBYTECODE=1 "$ROOT/target/manifests/bin/python" "$ROOT/deploy/manifests/prove.py" --programs "$TEST_DIR/bin"
}

stage_manifests() {
    find_kustomize && ensure_venv manifests "$ROOT/deploy/manifests/requirements.txt" && with_cluster run_manifests && prove_manifests
}
