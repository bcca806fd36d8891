//! What must be known before a batch can be decided.

use std::collections::{HashMap, HashSet};

use confab_shared::id::MessageId;
use confab_shared::model::command::Command;
use confab_shared::model::conversation::MemberRole;
use confab_shared::postgres::batch::{Details, Found, MAX_RELISTED, Wanted};

use super::{Bounds, Request};

/// What to look up first.
pub fn wanted(requests: &[Request<'_>]) -> Wanted {
    let mut wanted = Wanted::default();
    let mut pairs = HashSet::with_capacity(requests.len());
    let mut messages = HashSet::new();
    for request in requests {
        let conversation = request.conversation();
        pairs.insert((conversation, request.actor()));
        match &request.envelope.command {
            Command::SendMessage { reply_to, .. } => {
                wanted.sends.push((conversation, request.id()));
                messages.extend(*reply_to);
                continue;
            }
            Command::MarkRead {
                up_to: Some(message),
            } => {
                messages.insert(*message);
                continue;
            }
            Command::CreateConversation {
                participants: users,
                ..
            }
            | Command::AddMembers { users } => {
                pairs.extend(users.iter().map(|user| (conversation, *user)));
            }
            Command::RemoveMember { user } => {
                pairs.insert((conversation, *user));
            }
            Command::EditMessage { message, .. } | Command::DeleteMessage { message } => {
                messages.insert(*message);
            }
            Command::MarkRead { up_to: None }
            | Command::CreateRoom { .. }
            | Command::UpdateRoom { .. }
            | Command::DeleteRoom
            | Command::Leave => {}
        }
        wanted.commands.push((conversation, request.id()));
    }
    wanted.pairs = pairs.into_iter().collect();
    wanted.messages = messages.into_iter().collect();
    wanted
}

/// What to look up then, if anything.
pub fn details(bounds: Bounds, requests: &[Request<'_>], found: &Found) -> Details {
    let mut rosters = HashSet::new();
    let mut markers = HashSet::new();
    let mut rooms = HashSet::new();
    let mut sizes = HashSet::new();
    // Most batches are sends alone: these maps are made for the others only.
    let mut pairs = None;
    let mut ordinals = None;
    for request in requests {
        let key = (request.conversation(), request.actor());
        let pairs: &HashMap<_, _> = match &request.envelope.command {
            Command::Leave | Command::RemoveMember { .. } | Command::MarkRead { .. } => pairs
                .get_or_insert_with(|| {
                    found
                        .pairs
                        .iter()
                        .map(|row| ((row.conversation, row.user_id), row))
                        .collect()
                }),
            Command::CreateConversation { .. }
            | Command::SendMessage { .. }
            | Command::EditMessage { .. }
            | Command::DeleteMessage { .. }
            | Command::CreateRoom { .. } => continue,
            Command::AddMembers { .. } => {
                sizes.insert(request.conversation());
                continue;
            }
            Command::UpdateRoom { .. } | Command::DeleteRoom => {
                rooms.insert(request.conversation());
                continue;
            }
        };
        let Some(row) = pairs.get(&key) else { continue };
        match &request.envelope.command {
            // An owner who goes may need an heir. Nobody else becomes an owner but by that, so those who are now suffice.
            Command::Leave | Command::RemoveMember { .. }
                if row.role == Some(MemberRole::Owner) =>
            {
                rosters.insert(request.conversation());
            }
            // The marker will stand at where it is now, at one of the messages named in this batch, or beyond all that exist.
            Command::MarkRead { up_to } => {
                let Some(read_count) = row.read_count else {
                    continue;
                };
                let ordinals: &HashMap<MessageId, i64> = ordinals.get_or_insert_with(|| {
                    found
                        .messages
                        .iter()
                        .map(|row| (row.id, row.ordinal))
                        .collect()
                });
                let named = up_to
                    .and_then(|message| ordinals.get(&message).copied())
                    .unwrap_or(0);
                markers.insert((request.conversation(), read_count));
                markers.insert((request.conversation(), read_count.max(named)));
            }
            _ => {}
        }
    }
    Details {
        rosters: rosters.into_iter().collect(),
        markers: markers.into_iter().collect(),
        rooms: rooms.into_iter().collect(),
        sizes: sizes.into_iter().collect(),
        largest: bounds.max_members.max(MAX_RELISTED + 1),
    }
}
