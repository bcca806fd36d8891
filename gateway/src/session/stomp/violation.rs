//! What ends a STOMP session: frames that the protocol does not allow.

use thiserror::Error;

/// A frame that may not be. Its text is for the ERROR that answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Violation {
    /// A frame before CONNECT.
    #[error("{0} before CONNECT")]
    NotConnected(&'static str),
    /// A second CONNECT.
    #[error("already connected")]
    ConnectedTwice,
    /// The client speaks no version that is spoken here.
    #[error("no common version: supported are 1.0, 1.1 and 1.2")]
    NoCommonVersion,
    /// A `heart-beat` header that says nothing.
    #[error("heart-beat must be two numbers of milliseconds, such as 10000,10000")]
    HeartBeat,
    /// A header that this command needs in this version.
    #[error("{command} without the header {header}")]
    Missing {
        /// The command.
        command: &'static str,
        /// The header.
        header: &'static str,
    },
    /// NACK, in 1.0.
    #[error("there is no NACK in STOMP 1.0")]
    NoNack,
    /// An acknowledgement mode that there is not.
    #[error("ack must be auto, client or client-individual")]
    AckMode,
    /// A subscription with an id that another one has.
    #[error("there is a subscription with this id")]
    SubscriptionTaken,
    /// A subscription's id that is longer than any client's.
    #[error("the id is too long")]
    IdTooLong,
    /// A BEGIN for a transaction that has begun.
    #[error("there is a transaction with this name")]
    TransactionTaken,
    /// A transaction that has not begun, or has ended.
    #[error("there is no such transaction")]
    TransactionUnknown,
    /// More transactions than a session may have at a time.
    #[error("too many transactions")]
    TooManyTransactions,
    /// More in transactions than a session may have waiting.
    #[error("the transactions hold too much")]
    TransactionsTooLarge,
}
