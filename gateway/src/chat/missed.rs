//! What a client missed that comes back, as far as it is not its rooms' alone.

use std::collections::BTreeMap;

use confab_shared::id::{ConversationId, Seq, UserId};
use confab_shared::model::event::{Event, Fact, UserNotice};
use confab_shared::model::position::Position;
use confab_shared::postgres::conversations;

use super::recover::RecoverError;
use crate::hub::socket::SocketRef;
use crate::node::Node;
use crate::recovery::Adopted;
use crate::recovery::replay::{Missed, NoticePart, Step, last_words, untold};

/// Cuts what came after the user's own removal, or the room's end. The change that it was, if there was one.
pub(super) fn until_removal(missed: &mut Vec<(Position, Event)>, user: UserId) -> Option<Seq> {
    let index = missed.iter().position(|(_, event)| match &event.fact {
        Fact::MemberRemoved { user: removed, .. } => *removed == user,
        Fact::RoomDeleted { .. } => true,
        _ => false,
    })?;
    missed.truncate(index + 1);
    missed[index].1.seq
}

/// What the user's notices come to for the socket.
pub(super) async fn notices(
    node: &Node,
    socket: &SocketRef,
    adopted: &Adopted,
    history: &[(Position, UserNotice)],
    removals: &BTreeMap<ConversationId, Seq>,
) -> Result<NoticePart, RecoverError> {
    let user = socket.user();
    let home = node.hub.orders().of_user(user);
    let mut part = NoticePart {
        told: last_words(history),
        ..NoticePart::default()
    };
    for (position, notice) in untold(&adopted.since, home, history) {
        match notice {
            UserNotice::Joined { conversation, seq } => {
                // Unless the last word about it is that very one already.
                let last = part
                    .missed
                    .iter()
                    .rev()
                    .find_map(|(_, missed)| match missed {
                        Missed::Joined(view) if view.id == *conversation => Some(true),
                        Missed::Removed(removed, _) if removed == conversation => Some(false),
                        Missed::Joined(_) | Missed::Removed(..) | Missed::Event(..) => None,
                    });
                if last == Some(true) {
                    continue;
                }
                let view = conversations::view(&node.database, *conversation, user).await?;
                if let Some(mut view) = view {
                    node.presence.note_online(&mut view.participants).await;
                    if socket.sees(view.kind) {
                        part.followed.insert(*conversation, *seq);
                    }
                    part.missed.push((position, Missed::Joined(Box::new(view))));
                }
            }
            UserNotice::Removed { conversation, .. } => {
                // Where it had joined the room, the room says so.
                let told = adopted.record.rooms.contains_key(conversation);
                let own = notice.removal(user).filter(|_| !told);
                if let Some((conversation, event)) = own
                    && !removals.contains_key(&conversation)
                {
                    part.missed
                        .push((position, Missed::Removed(conversation, event)));
                }
            }
        }
    }
    Ok(part)
}

/// Notes how far conversations with members have reached a user by what it is shown now: the last of another's messages in each.
pub(super) async fn reached(
    node: &Node,
    steps: &[Step],
    user: UserId,
    has_members: impl Fn(ConversationId) -> bool,
) {
    let mut reached = BTreeMap::new();
    for step in steps {
        if let Missed::Event(conversation, event) = &step.missed
            && let Fact::MessageStored { message, .. } = &event.fact
            && message.sender.id != user
            && has_members(*conversation)
        {
            reached.insert(*conversation, message.ordinal);
        }
    }
    if !reached.is_empty() {
        node.hub.reached(reached.into_iter().collect()).await;
    }
}
