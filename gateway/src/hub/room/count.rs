//! How much a member has not read, and what the room's changes make of that.

use confab_shared::id::{Seq, UserId};
use confab_shared::model::message::{Message, MessageStatus};

/// How much a member has not read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) unread: i64,
    /// Everything up to this ordinal is read.
    pub(super) read_count: i64,
    /// The change up to which this was read from PostgreSQL, if the room has not come so far yet.
    pub(super) seq: Seq,
    /// The ordinal of the last message that it includes, as it was read from PostgreSQL.
    pub(super) messages: i64,
}

/// What a change does to counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Somebody said something.
    Stored { by: UserId, ordinal: i64 },
    /// A message of this ordinal was taken back.
    Deleted { ordinal: i64 },
    /// Somebody has read up to this ordinal; `all`: there was no more.
    Read {
        user: UserId,
        read_count: i64,
        all: bool,
    },
    /// Something that has to be looked up.
    Unclear,
}

/// What a change makes of a count, unless that was read after it.
pub(super) fn apply(count: &mut Option<Known>, user: UserId, seq: Seq, step: Step) {
    let Some(known) = count.as_mut().filter(|known| known.seq < seq) else {
        return;
    };
    match step {
        // Who speaks has read everything.
        Step::Stored { by, ordinal } if by == user => {
            (known.unread, known.read_count) = (0, ordinal);
        }
        Step::Stored { .. } => known.unread += 1,
        Step::Deleted { ordinal } if ordinal > known.read_count => known.unread -= 1,
        Step::Deleted { .. } => {}
        Step::Read { user: reader, .. } if reader != user => {}
        Step::Read {
            read_count,
            all: true,
            ..
        } => (known.unread, known.read_count) = (0, read_count),
        Step::Read { all: false, .. } | Step::Unclear => *count = None,
    }
}

/// How far the last message has come, for a member who is just told of it.
pub(super) fn status(last: &Message, user: UserId, known: Known) -> MessageStatus {
    if last.sender.id == user {
        MessageStatus::Sent
    } else if last.ordinal <= known.read_count {
        MessageStatus::Read
    } else {
        MessageStatus::Delivered
    }
}
