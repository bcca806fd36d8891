//! What gateways say to each other, and what is handed on of what was heard.

use confab_shared::id::{NodeId, UserId};
use confab_shared::model::event::{UserNotice, UserSignal};
use confab_shared::model::position::Position;
use confab_shared::model::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use uuid::Uuid;

/// What whoever shows notices is given to do.
#[derive(Debug)]
pub enum NoticeItem {
    /// Show this user this; the position is where it was announced, if it was.
    Show(UserId, Option<Position>, UserNotice),
    /// Something that was said to this user once.
    Signal(UserId, UserSignal),
    /// Find out which tokens of those who are connected are no longer good.
    CheckTokens,
    /// Say when everything before this is done.
    Flush(oneshot::Sender<()>),
}

/// What one gateway says to another, on that node's channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayMessage {
    /// The client of this socket, by its private id, has come back to `node`: end what is left of it, and say so.
    Fence {
        /// The socket's private id.
        pid: String,
        /// Where its client is now.
        node: NodeId,
        /// What is to end is from before this turn of its record; all that there is, if a gateway says it that names none.
        #[serde(default = "latest")]
        turn: u64,
        /// Which of that node's askings this is.
        ticket: Uuid,
    },
    /// That socket has ended.
    Fenced {
        /// Which asking is answered.
        ticket: Uuid,
    },
}

fn latest() -> u64 {
    u64::MAX
}

/// That the contacts of a user are to see it otherwise: said to each node that has some of them.
///
/// It may come twice, late, or not at all: a later position is the truth, and what was lost is made up for by showing everything anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// Whose.
    pub user: UserId,
    /// What it is.
    pub is_online: bool,
    /// Since when.
    pub at: Timestamp,
    /// When it was found to be so, in microseconds of Redis's clock.
    pub position: u64,
    /// Who is to be told.
    pub to: Vec<UserId>,
}

/// What one gateway says to another of the users that concern it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statuses {
    /// The changes.
    pub statuses: Vec<StatusChange>,
}
