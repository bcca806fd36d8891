//! The Lua scripts, each in its own file with a header that names its keys, arguments and answers.

use fred::types::scripts::Script;

/// Appends commands to an ingress stream if Redis still remembers what the caller put there before.
pub fn ingress_append() -> Script {
    Script::from_lua(include_str!("scripts/ingress_append.lua"))
}
