//! Why a client that comes back begins anew.

/// Why a socket cannot be recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is known of the former socket, or it was another user's, or what the client says of it makes no sense.
    #[error("the former socket is unknown")]
    Unknown,
    /// Redis does not have all that was announced since any more.
    #[error("what was announced since is not all kept")]
    Forgotten,
    /// More was missed than is made up for.
    #[error("too much was missed")]
    TooMuch,
    /// It cannot be told what the client had been shown.
    #[error("it is not certain what the client had been shown")]
    Uncertain,
    /// Memberships change, or rooms lag behind, for too long.
    #[error("what the client missed did not come to rest")]
    Unsettled,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Unknown,
        Self::Forgotten,
        Self::TooMuch,
        Self::Uncertain,
        Self::Unsettled,
    ];

    /// What it is counted as.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Forgotten => "forgotten",
            Self::TooMuch => "too_much",
            Self::Uncertain => "uncertain",
            Self::Unsettled => "unsettled",
        }
    }
}
