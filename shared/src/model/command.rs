//! Commands: requests to change a conversation, on their way from a gateway to the partition's worker, and the replies.

use serde::{Deserialize, Serialize};

use super::content::{Content, Slug, TempId};
use super::conversation::ConversationKind;
use super::error::Rejection;
use super::timestamp::Timestamp;
use super::trace::{self, TraceContext};
use crate::id::{CommandId, ConversationId, MessageId, NodeId, Seq, UserId};

/// One entry of an ingress stream.
///
/// Delivery to the worker is at least once; each command takes effect at most once, because its id is remembered with what it
/// changed. Order is that of the stream, which for one gateway is the order in which it accepted the commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandEnvelope {
    /// Which command. Two envelopes with one id are one command.
    pub id: CommandId,
    /// The gateway that waits for the reply.
    pub node: NodeId,
    /// The conversation to change; it decides the partition.
    pub conversation: ConversationId,
    /// Who asks.
    pub actor: UserId,
    /// What is asked.
    pub command: Command,
    /// The trace that it belongs to, if it is traced.
    #[serde(
        default,
        deserialize_with = "trace::one",
        skip_serializing_if = "Option::is_none"
    )]
    pub trace: Option<TraceContext>,
}

/// A request to change a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command {
    /// Make the conversation, with the actor as its owner. Making a direct one that exists answers with it.
    CreateConversation {
        /// Direct or group.
        kind: ConversationKind,
        /// A group's name.
        name: Option<String>,
        /// The others. Exactly one for a direct conversation.
        participants: Vec<UserId>,
    },
    /// Store a message.
    SendMessage {
        /// What is said.
        content: Content,
        /// What kind of content.
        message_type: String,
        /// The message it answers.
        reply_to: Option<MessageId>,
        /// The client's own id for it.
        temp_id: Option<TempId>,
    },
    /// Replace one's own message's text.
    EditMessage {
        /// Which.
        message: MessageId,
        /// The new text.
        content: Content,
    },
    /// Make a message a tombstone: one's own, or anybody's for a moderator.
    DeleteMessage {
        /// Which.
        message: MessageId,
    },
    /// Raise the actor's read marker.
    MarkRead {
        /// Up to this message, or to the newest.
        up_to: Option<MessageId>,
    },
    /// Add members. Those who are members already stay as they are.
    AddMembers {
        /// Whom.
        users: Vec<UserId>,
    },
    /// Take a member out.
    RemoveMember {
        /// Whom.
        user: UserId,
    },
    /// Make a public room, whose slug has been taken for it.
    CreateRoom {
        /// Its name in addresses and events.
        slug: Slug,
        /// Its name.
        name: String,
        /// What it is for.
        description: Option<String>,
        /// The most people who may be present; none: no limit.
        max_users: Option<i32>,
    },
    /// Change a room: what is named here, as it is to be.
    UpdateRoom {
        /// Its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// What it is for; an inner none takes it away.
        #[serde(default, with = "given", skip_serializing_if = "Option::is_none")]
        description: Option<Option<String>>,
        /// The most people who may be present; an inner none takes the limit away.
        #[serde(default, with = "given", skip_serializing_if = "Option::is_none")]
        max_users: Option<Option<i32>>,
    },
    /// End a room.
    DeleteRoom,
    /// Go. The last owner's leaving passes ownership on to the longest-standing admin, else member.
    Leave,
}

impl Command {
    /// The command's name, for logs and metric labels.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateConversation { .. } => "create_conversation",
            Self::SendMessage { .. } => "send_message",
            Self::EditMessage { .. } => "edit_message",
            Self::DeleteMessage { .. } => "delete_message",
            Self::MarkRead { .. } => "mark_read",
            Self::AddMembers { .. } => "add_members",
            Self::RemoveMember { .. } => "remove_member",
            Self::CreateRoom { .. } => "create_room",
            Self::UpdateRoom { .. } => "update_room",
            Self::DeleteRoom => "delete_room",
            Self::Leave => "leave",
        }
    }
}

/// A value that may be given or not, and if given, may be none: null is another thing than nothing.
mod given {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(
        clippy::ref_option,
        clippy::option_option,
        reason = "serde passes a reference to the field; three states are what this is for"
    )]
    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<Option<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        value
            .as_ref()
            .and_then(Option::as_ref)
            .serialize(serializer)
    }

    #[expect(clippy::option_option, reason = "three states are what this is for")]
    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Option<T>>, D::Error> {
        Option::<T>::deserialize(deserializer).map(Some)
    }
}

/// What a worker answers, after the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The command it answers.
    pub id: CommandId,
    /// What came of it.
    pub outcome: Result<Outcome, Rejection>,
}

/// What a command did. A repeated command gets the outcome of its first run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum Outcome {
    /// The conversation is there.
    Created {
        /// False where a direct conversation existed before.
        fresh: bool,
    },
    /// The message is stored.
    Stored {
        /// Its number.
        message: MessageId,
        /// Its place.
        seq: Seq,
        /// When.
        at: Timestamp,
    },
    /// The change is made (or had been made already).
    Done,
    /// The read marker stands where asked or beyond.
    Read {
        /// How many messages the actor has not read now.
        unread: i64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(trace: Option<TraceContext>) -> CommandEnvelope {
        CommandEnvelope {
            id: CommandId::generate(),
            node: NodeId::generate(),
            conversation: ConversationId::generate(),
            actor: UserId::generate(),
            command: Command::SendMessage {
                content: Content::parse("hé \"quoted\" 😀").unwrap(),
                message_type: "text".into(),
                reply_to: Some(MessageId(7)),
                temp_id: Some(TempId::parse("t").unwrap()),
            },
            trace,
        }
    }

    #[test]
    fn an_envelope_survives_its_journey() {
        for trace in [None, TraceContext::new(3, 4)] {
            let envelope = envelope(trace);
            let text = serde_json::to_string(&envelope).unwrap();
            assert_eq!(text.contains("trace"), trace.is_some());
            assert_eq!(
                serde_json::from_str::<CommandEnvelope>(&text).unwrap(),
                envelope
            );
        }
    }

    #[test]
    fn a_trace_that_cannot_be_read_costs_no_command() {
        let plain = envelope(None);
        for odd in ["7", "null", "\"00-nonsense-01\"", "{\"a\":[]}"] {
            let text = serde_json::to_string(&plain).unwrap();
            let text = format!("{},\"trace\":{odd}}}", text.strip_suffix('}').unwrap());
            let read: CommandEnvelope = serde_json::from_str(&text).unwrap();
            assert_eq!(read, plain);
        }
    }

    #[test]
    fn a_reply_survives_its_journey() {
        for outcome in [
            Ok(Outcome::Done),
            Ok(Outcome::Read { unread: 3 }),
            Err(Rejection::not_found("message")),
        ] {
            let reply = Reply {
                id: CommandId::generate(),
                outcome,
            };
            let text = serde_json::to_string(&reply).unwrap();
            assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), reply);
        }
    }
}
