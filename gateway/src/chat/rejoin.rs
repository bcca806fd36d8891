//! Joining the rooms again that a client was in before it went away.

use std::collections::HashMap;

use confab_shared::id::{ConversationId, Seq};
use confab_shared::postgres::memberships;
use confab_shared::postgres::memberships::Place;

use super::arrival::Arrival;
use super::recover::RecoverError;
use crate::dialect::Called;
use crate::hub::socket::SocketRef;
use crate::hub::{HubClosed, JoinOutcome, Joining};
use crate::node::Node;
use crate::recovery::{Adopted, EnteredRoom, Refusal};

/// How often a membership is read again because memberships changed meanwhile.
const JOIN_ATTEMPTS: usize = 8;

/// A room of the socket's as it stands now.
pub(super) struct Standing {
    /// Which.
    pub(super) conversation: ConversationId,
    /// How the socket entered it.
    pub(super) entered: EnteredRoom,
    /// Whether the socket listens to it without having entered it.
    pub(super) followed: bool,
    /// How the user stands to it.
    pub(super) place: Place,
    /// Where the hub's room stood when the socket joined it; none if the user is no longer a member.
    pub(super) joined_at: Option<Seq>,
}

/// Joins the rooms again that the socket is still in.
pub(super) async fn rejoin(
    node: &Node,
    arrival: &mut Arrival,
    adopted: &Adopted,
) -> Result<Vec<Standing>, RecoverError> {
    let socket = arrival.socket().clone();
    let mut wanted: HashMap<ConversationId, (EnteredRoom, bool)> = adopted
        .record
        .rooms
        .iter()
        .map(|(room, entered)| (*room, (*entered, false)))
        .collect();
    let sight = socket.dialect().sight();
    if sight.is_wide() {
        socket.begin_following();
        let (user, most) = (socket.user(), node.config.sockets.max_followed);
        let own = memberships::of_user(&node.database, user, sight.only(), most);
        for (room, _, floor) in own.await? {
            let called = Called::ById;
            let entered = EnteredRoom { floor, called };
            wanted.entry(room).or_insert((entered, true));
        }
    }
    let rooms: Vec<ConversationId> = wanted.keys().copied().collect();
    let places = memberships::places(&node.database, socket.user(), &rooms).await?;
    let mut joining = Vec::with_capacity(places.len());
    for place in places {
        let Some((entered, followed)) = wanted.remove(&place.conversation) else {
            continue;
        };
        // Added again since: it was put out in between, and did not join again.
        let is_in = place.joined_seq.is_some_and(|seq| seq <= entered.floor);
        let outcome = if is_in {
            arrival.enter(place.conversation);
            if followed {
                socket.follow(place.conversation);
            }
            let wish = wish(&socket, entered.called, place.last_seq);
            Some(node.hub.begin_join(place.conversation, wish).await)
        } else {
            None
        };
        joining.push((place, entered, followed, outcome));
    }
    let mut standings = Vec::with_capacity(joining.len());
    for (place, entered, followed, outcome) in joining {
        let conversation = place.conversation;
        let joined_at = match outcome {
            None => None,
            Some(outcome) => {
                let outcome = outcome.await.map_err(|_| HubClosed)?;
                settle(node, &socket, conversation, entered.called, outcome).await?
            }
        };
        standings.push(Standing {
            conversation,
            entered,
            followed,
            place,
            joined_at,
        });
    }
    Ok(standings)
}

fn wish(socket: &SocketRef, called: Called, as_of: Seq) -> Joining {
    Joining {
        socket: socket.clone(),
        called,
        as_of,
        backlog: None,
    }
}

/// Waits out a room's joining, though memberships may have to be looked at again. Events after the change that it answers with are held
/// back for the socket; none if the user is no longer a member.
async fn settle(
    node: &Node,
    socket: &SocketRef,
    conversation: ConversationId,
    called: Called,
    mut outcome: JoinOutcome,
) -> Result<Option<Seq>, RecoverError> {
    for _ in 0..JOIN_ATTEMPTS {
        match outcome {
            // It may have come to follow a new conversation by itself meanwhile: what it was shown of that is held back, too.
            JoinOutcome::Joined(seq) | JoinOutcome::AlreadyIn(seq) => return Ok(Some(seq)),
            JoinOutcome::Recheck => {}
        }
        let access = memberships::access(&node.database, conversation, socket.user()).await?;
        let Some(access) = access else {
            return Ok(None);
        };
        let again = wish(socket, called, access.last_seq);
        outcome = node.hub.join(conversation, again).await?;
    }
    // Memberships change faster than they are read.
    Err(Refusal::Unsettled.into())
}
