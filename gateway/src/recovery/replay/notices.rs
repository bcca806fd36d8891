//! What a user's notices come to for a client that comes back: which of them it has not been told, and what follows from that.

use std::collections::{BTreeMap, HashMap};

use confab_shared::id::{ConversationId, Partition, Seq};
use confab_shared::model::event::UserNotice;
use confab_shared::model::position::Position;

use super::Missed;
use crate::hub::offset::Offset;

/// What a user's notices come to for one client.
#[derive(Debug, Default)]
pub struct NoticePart {
    /// What is to be shown of them, each at the position where it was announced.
    pub missed: Vec<(Position, Missed)>,
    /// The last change of the user's membership of which there is a notice, by conversation. Each was told before, or is now, or is told by
    /// a later one.
    pub told: HashMap<ConversationId, Seq>,
    /// The conversations that the socket came to follow so late that they have no part of their own, and by which change.
    pub followed: BTreeMap<ConversationId, Seq>,
}

/// Those of a user's notices that a client has not been told, of what its history holds. One that is said again, because a command was
/// redelivered, is none of them.
pub fn untold<'a>(
    since: &'a Offset,
    home: Partition,
    history: &'a [(Position, UserNotice)],
) -> impl Iterator<Item = (Position, &'a UserNotice)> {
    history
        .iter()
        .enumerate()
        .filter_map(move |(index, (position, notice))| {
            let is_repeated = history[..index]
                .iter()
                .any(|(_, earlier)| earlier == notice);
            (!is_repeated && !since.has_told((home, *position))).then_some((*position, notice))
        })
}

/// Where a client is to be gone on from. What was said in a conversation before it was shown that the user is in it had not been shown
/// either, if the socket was to follow it from then on.
pub fn behind_joinings(
    since: &Offset,
    home: Partition,
    history: &[(Position, UserNotice)],
    follows: impl Fn(ConversationId) -> bool,
) -> Offset {
    let mut behind = since.clone();
    for (_, notice) in untold(since, home, history) {
        if let UserNotice::Joined { conversation, seq } = notice
            && follows(*conversation)
            && behind.exception(*conversation).is_none()
        {
            behind.rooms.push((*conversation, *seq));
        }
    }
    behind
}

/// The last change of the user's membership in each conversation, as a history of notices has it.
pub fn last_words(history: &[(Position, UserNotice)]) -> HashMap<ConversationId, Seq> {
    let mut last: HashMap<ConversationId, Seq> = HashMap::new();
    for (_, notice) in history {
        let (UserNotice::Joined { conversation, seq }
        | UserNotice::Removed {
            conversation, seq, ..
        }) = notice;
        let known = last.entry(*conversation).or_default();
        *known = (*known).max(*seq);
    }
    last
}
