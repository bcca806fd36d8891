//! Why a request is not answered as it wished, and what its client is told.

use confab_gateway_protocol::engineio::HandshakeError;
use http::StatusCode;

use crate::transport::admission::NotAdmitted;
use crate::transport::answer::{self, Answer};
use crate::transport::peers::PassOnError;
use crate::transport::polling::Unanswered;

/// Why a request is not answered as it wished.
pub(super) enum Refusal {
    /// In the protocol's own words.
    Protocol(HandshakeError),
    /// By HTTP's own means.
    Http(StatusCode),
    /// Its address or the node has too many.
    NotAdmitted(NotAdmitted),
}

impl Refusal {
    pub(super) fn into_answer(self) -> Answer {
        match self {
            Self::Protocol(error) => answer::refused(error),
            Self::Http(status) => answer::failed(status),
            Self::NotAdmitted(refused) => refused.response(),
        }
    }
}

impl From<HandshakeError> for Refusal {
    fn from(error: HandshakeError) -> Self {
        Self::Protocol(error)
    }
}

impl From<NotAdmitted> for Refusal {
    fn from(refused: NotAdmitted) -> Self {
        Self::NotAdmitted(refused)
    }
}

impl From<PassOnError> for Refusal {
    fn from(error: PassOnError) -> Self {
        match error {
            // A session on a node that is gone or silent is lost to its client, which comes back at once and recovers.
            PassOnError::OwnerUnknown | PassOnError::OwnerSilent => {
                HandshakeError::SessionUnknown.into()
            }
            PassOnError::Directory(_) => Self::Http(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

impl From<Unanswered> for Refusal {
    fn from(why: Unanswered) -> Self {
        match why {
            Unanswered::Gone => HandshakeError::SessionUnknown.into(),
            Unanswered::BadRequest => HandshakeError::BadRequest.into(),
            Unanswered::TooLarge => Self::Http(StatusCode::PAYLOAD_TOO_LARGE),
            Unanswered::TimedOut => Self::Http(StatusCode::REQUEST_TIMEOUT),
        }
    }
}
