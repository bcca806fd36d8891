//! Users, conversations and sends are named by their index within a run, kept in 32 bits: logs are long.

/// An index as a place in a list.
pub(crate) fn at(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}
