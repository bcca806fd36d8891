# shellcheck shell=bash
# Unit, property and documentation tests: what needs no service.

stage_unit() {
    say_seed
    bounded 3600 cargo test --workspace --locked --no-fail-fast "${FEATURES[@]}" --lib --bins &&
        bounded 3600 cargo test --locked -p "$PURE" --test '*' &&
        bounded 3600 cargo test --workspace --locked "${FEATURES[@]}" --doc
}
