//! What is noted in a socket's record as it happens: the rooms that it enters and leaves, and what it speaks.
//!
//! Nobody writes to a record that is another node's by now. What may not have been written, or may be yet, the [keeper](super::keeper) sees to.

use confab_shared::id::ConversationId;
use fred::error::Error;

use super::{Adopted, ClaimLost, EnteredRoom, Kept, Record, Recovery};

/// Why something is not noted.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// Redis did not answer.
    #[error(transparent)]
    Redis(#[from] Error),
    /// The record is another node's; the socket ends.
    #[error(transparent)]
    Lost(#[from] ClaimLost),
}

impl Recovery {
    /// A socket has entered a room. To be waited for before the client is told: what it was told has to
    /// survive this node.
    pub async fn joined(
        &self,
        kept: &Kept,
        conversation: ConversationId,
        entered: EnteredRoom,
    ) -> Result<(), NoteError> {
        kept.about_to_note(conversation, entered);
        self.note_room(kept, conversation, entered).await
    }

    /// A socket is in a room that it wants to enter. The same, unless it was noted before: whoever asked then may not have waited for it.
    pub async fn was_in(&self, kept: &Kept, conversation: ConversationId) -> Result<(), NoteError> {
        match kept.unnoted(conversation) {
            Some(entered) => self.note_room(kept, conversation, entered).await,
            None => Ok(()),
        }
    }

    async fn note_room(
        &self,
        kept: &Kept,
        conversation: ConversationId,
        entered: EnteredRoom,
    ) -> Result<(), NoteError> {
        let field = Record::room_field(conversation);
        self.note(kept, field, Some(entered.to_string())).await?;
        kept.noted(conversation);
        Ok(())
    }

    /// A socket has left a room.
    pub async fn left(&self, kept: &Kept, conversation: ConversationId) -> Result<(), NoteError> {
        kept.rooms.lock().remove(&conversation);
        self.note(kept, Record::room_field(conversation), None)
            .await
    }

    /// A socket's dialect is settled.
    pub async fn speaks(&self, kept: &Kept, dialect: &str) -> Result<(), NoteError> {
        self.note(kept, "dialect".to_owned(), Some(dialect.to_owned()))
            .await
    }

    /// What a field of a record says from now on; none: there is no such field any more. A record that is not there is written anew
    /// with whatever is known by then.
    async fn note(
        &self,
        kept: &Kept,
        field: String,
        value: Option<String>,
    ) -> Result<(), NoteError> {
        if kept.pid.is_empty() {
            return Ok(());
        }
        let mut arguments = vec![self.time_to_live().to_string(), field];
        arguments.extend(value);
        let noting = kept.begin_noting();
        let noted = self.on_record::<String>(&self.shared.note, kept, arguments);
        let is_taken = noted.await? == "taken";
        noting.done();
        if is_taken {
            self.lose(kept);
            return Err(ClaimLost.into());
        }
        Ok(())
    }

    /// Takes out of an adopted record what the socket has left: rooms that it is in no more, and the nodes that had it before.
    pub async fn settle(&self, adopted: &Adopted, kept: &Kept) {
        let record = &adopted.record;
        let left: Vec<String> = {
            let rooms = kept.rooms.lock();
            let left = record.rooms.keys();
            left.filter(|room| !rooms.contains_key(room))
                .map(|room| Record::room_field(*room))
                .collect()
        };
        if left.is_empty() && record.nodes().all(|node| node == self.shared.node) {
            return;
        }
        let noting = kept.begin_noting();
        let settled = self.on_record::<i64>(&self.shared.settle, kept, left);
        match settled.await {
            Ok(_) => noting.done(),
            // Memberships are looked at again whenever the socket is recovered, and nodes that have nothing of it say so.
            Err(error) => {
                tracing::debug!(%error, "rooms or nodes that a socket has left are still in its record");
            }
        }
    }
}
