//! What is to be said in a room, until new messages have their numbers.

use std::sync::Arc;

use confab_shared::id::{ConversationId, MessageId};
use confab_shared::model::account::Profile;
use confab_shared::model::event::{Event, Fact, RoomBatch};
use confab_shared::model::message::Message;
use confab_shared::postgres::batch::{Changes, NewMessage};

/// An event whose message may not have its number yet.
#[derive(Debug)]
pub(super) enum Draft {
    Event(Event),
    Sent {
        index: usize,
        sender: Arc<Profile>,
        temp_id: Option<Arc<str>>,
    },
}

/// A room's events, to be finished once new messages have their numbers.
#[derive(Debug)]
pub(super) struct RoomDraft {
    pub(super) conversation: ConversationId,
    pub(super) events: Vec<Draft>,
}

impl RoomDraft {
    pub(super) fn finish(self, changes: &Changes, ids: &[MessageId]) -> RoomBatch {
        let finish = |draft| match draft {
            Draft::Event(event) => event,
            Draft::Sent {
                index,
                sender,
                temp_id,
            } => {
                let new: &NewMessage = &changes.sent[index];
                let message = Message {
                    id: ids[index],
                    conversation: new.conversation,
                    seq: new.seq,
                    change_seq: new.seq,
                    ordinal: new.ordinal,
                    sender,
                    message_type: Arc::clone(&new.message_type),
                    content: Arc::clone(&new.content),
                    reply_to: new.reply_to,
                    created_at: changes.at,
                    edited_at: None,
                    deleted_at: None,
                };
                Event {
                    seq: Some(new.seq),
                    at: changes.at,
                    fact: Fact::MessageStored { message, temp_id },
                }
            }
        };
        RoomBatch {
            conversation: self.conversation,
            events: self.events.into_iter().map(finish).collect(),
            traces: Vec::new(),
        }
    }
}
