//! Places where fault tests make the process die.

/// Dies here if a test asked for it (feature `failpoints`, `FAILPOINTS=worker::after_commit=50*off->return`).
#[cfg_attr(
    not(feature = "failpoints"),
    expect(unused_variables, reason = "compiled out")
)]
pub(super) fn reach(name: &'static str) {
    fail::fail_point!(name, |_| die(name));
}

#[cfg(feature = "failpoints")]
fn die(name: &'static str) {
    tracing::error!(name, "failpoint reached: aborting");
    std::process::abort();
}
