# shellcheck shell=bash
# Unit, property and documentation tests: what needs no service.

stage_unit() {
    bounded 1200 cargo test --workspace --locked --no-fail-fast "${FEATURES[@]}" --lib --bins &&
        bounded 600 cargo test --locked -p "$PURE" --test '*' &&
        bounded 300 cargo test --workspace --locked "${FEATURES[@]}" --doc
}
