//! Reads how much members have not read, for rooms that cannot tell, and writes how far messages have come.
//!
//! What gathers while one question is being answered is asked together with the next.

use std::collections::HashMap;

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::message::Message;
use confab_shared::postgres::unread::{self, Unread};
use tokio::sync::mpsc;

use super::Shared;
use crate::hub::{Counted, Newest};

/// The most members or conversations in one question, but for a single room's.
const BATCH: usize = 1_000;
/// The most rooms in one question.
const ROOMS: usize = 256;

/// A room's wish to know how much these members have not read.
#[derive(Debug)]
pub(super) struct CountRequest {
    pub(super) ticket: u64,
    pub(super) conversation: ConversationId,
    pub(super) users: Vec<UserId>,
    /// Whether the last message is wanted too.
    pub(super) last: bool,
}

/// Answers until nobody asks any more. A room asks for each member once at a time, which bounds what waits.
pub(super) async fn count(shared: Shared, mut requests: mpsc::UnboundedReceiver<CountRequest>) {
    let mut waiting = Vec::with_capacity(ROOMS);
    while requests.recv_many(&mut waiting, ROOMS).await > 0 {
        let mut batch: Vec<CountRequest> = Vec::new();
        let mut members = 0;
        for request in waiting.drain(..) {
            if members > 0 && members + request.users.len() > BATCH {
                answer(&shared, std::mem::take(&mut batch)).await;
                members = 0;
            }
            members += request.users.len();
            batch.push(request);
        }
        answer(&shared, batch).await;
    }
}

async fn answer(shared: &Shared, requests: Vec<CountRequest>) {
    // First the messages: one that is said in between is in the counts, and nobody is told those before the room has shown it.
    let wanted: Vec<ConversationId> = requests
        .iter()
        .filter(|request| request.last)
        .map(|request| request.conversation)
        .collect();
    let mut last: HashMap<ConversationId, Message> = if wanted.is_empty() {
        HashMap::new()
    } else {
        let read = || unread::last_messages(&shared.database, &wanted);
        let found = shared
            .until_answered("unread", "last messages not read", read)
            .await;
        found
            .into_iter()
            .map(|message| (message.conversation, message))
            .collect()
    };
    let pairs: Vec<_> = requests
        .iter()
        .flat_map(|request| {
            let conversation = request.conversation;
            request.users.iter().map(move |user| (conversation, *user))
        })
        .collect();
    shared
        .metrics
        .unread_counts_total
        .inc_by(pairs.len() as u64);
    let read = || unread::counts(&shared.database, &pairs);
    let found = shared
        .until_answered("unread", "unread messages not counted", read)
        .await;
    let mut counts: HashMap<ConversationId, HashMap<UserId, Unread>> = HashMap::new();
    for one in found {
        counts
            .entry(one.conversation)
            .or_default()
            .insert(one.user, one);
    }
    for request in requests {
        let CountRequest {
            ticket,
            conversation,
            users,
            last: wanted,
        } = request;
        let counts = match counts.get(&conversation) {
            Some(counts) => users
                .iter()
                .filter_map(|user| Some((*user, *counts.get(user)?)))
                .collect(),
            None => HashMap::new(),
        };
        let counted = Counted {
            ticket,
            users,
            counts,
            last: if wanted {
                last.remove(&conversation).into()
            } else {
                Newest::Unknown
            },
        };
        shared.hub.counted(conversation, counted).await;
    }
}

/// Writes down how far messages have come until nobody says so any more. The hub says it about once a second.
pub(super) async fn note_delivered(
    shared: Shared,
    mut deliveries: mpsc::UnboundedReceiver<Vec<(ConversationId, i64)>>,
) {
    let mut waiting = Vec::new();
    while deliveries.recv_many(&mut waiting, ROOMS).await > 0 {
        // While PostgreSQL was away, more may have gathered: of each conversation, the furthest.
        let mut furthest: HashMap<ConversationId, i64> = HashMap::new();
        for (conversation, ordinal) in waiting.drain(..).flatten() {
            let known = furthest.entry(conversation).or_default();
            *known = ordinal.max(*known);
        }
        let furthest: Vec<_> = furthest.into_iter().collect();
        for delivered in furthest.chunks(BATCH) {
            let write = || unread::note_delivered(&shared.database, delivered);
            shared
                .until_answered("note_delivered", "deliveries not noted", write)
                .await;
        }
    }
}
