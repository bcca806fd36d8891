# shellcheck shell=bash
# The programs, with failpoints, and the examples.

# The programs are set aside: building a crate's tests may write those of the target directory again. The examples are
# servers that tests start from there, and `cargo test` builds them only when it is not told what to build.
stage_build() {
    bounded 3600 cargo build --workspace --locked "${FEATURES[@]}" --bin confab-gateway --bin confab-worker --examples &&
        mkdir -p "$TEST_DIR/bin" &&
        cp "${CARGO_TARGET_DIR:-target}"/debug/confab-{gateway,worker} "$TEST_DIR/bin/"
}
