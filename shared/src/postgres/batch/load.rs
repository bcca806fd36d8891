//! What a batch needs to know before it can be decided.

use sqlx::PgConnection;

use crate::id::{CommandId, ConversationId, MessageId, Seq, UserId};
use crate::model::account::AccountRole;
use crate::model::conversation::{ConversationKind, MemberRole};
use crate::model::timestamp::Timestamp;

/// What a batch asks for first. No entry needs to be there twice.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Who does what where, and to whom: conversation, membership and account of each pair are looked up.
    pub pairs: Vec<(ConversationId, UserId)>,
    /// Sends that may have been stored before.
    pub sends: Vec<(ConversationId, CommandId)>,
    /// Other commands that may have taken effect before.
    pub commands: Vec<(ConversationId, CommandId)>,
    /// Messages that are edited, deleted, read or answered.
    pub messages: Vec<MessageId>,
}

/// What there is of it.
#[derive(Debug, Default)]
pub struct Found {
    /// One row for every pair asked for.
    pub pairs: Vec<PairRow>,
    /// The sends that were stored before.
    pub sends: Vec<SendRow>,
    /// The commands that took effect before.
    pub outcomes: Vec<OutcomeRow>,
    /// The messages that exist.
    pub messages: Vec<MessageRow>,
}

/// What a batch asks for once it knows the rest.
#[derive(Debug, Default)]
pub struct Details {
    /// Conversations whose present members are all needed.
    pub rosters: Vec<ConversationId>,
    /// Read markers, of which it must be known how many deleted messages lie beyond.
    pub markers: Vec<(ConversationId, i64)>,
    /// Rooms that are changed, of which it must be known what they are now.
    pub rooms: Vec<ConversationId>,
    /// Conversations that members are added to, of which it must be known how many they have.
    pub sizes: Vec<ConversationId>,
    /// Up to where that is counted.
    pub largest: i64,
}

/// What there is of it.
#[derive(Debug, Default)]
pub struct FoundDetails {
    /// The present members.
    pub members: Vec<MemberRow>,
    /// For each marker with any: how many deleted messages lie beyond it.
    pub deleted: Vec<(ConversationId, i64, i64)>,
    /// What each of the rooms is.
    pub rooms: Vec<RoomRow>,
    /// How many present members each of the conversations has, or the number up to which they are counted.
    pub sizes: Vec<(ConversationId, i64)>,
}

/// What a room is beside its messages.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct RoomRow {
    /// Which.
    pub id: ConversationId,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The most people who may be present; none: no limit.
    pub max_users: Option<i32>,
}

/// A conversation and a user, with what is known of each and of the user's membership.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct PairRow {
    /// The conversation asked for.
    pub conversation: ConversationId,
    /// The user asked for.
    pub user_id: UserId,
    /// Of what kind the conversation is; none: there is no such conversation.
    pub kind: Option<ConversationKind>,
    /// Its last durable change.
    pub last_seq: Option<Seq>,
    /// How many messages were ever stored in it.
    pub message_count: Option<i64>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When it ended, if it is a room that has.
    pub ended_at: Option<Timestamp>,
    /// The user's handle; none: there is no such user.
    pub username: Option<String>,
    /// The user's name.
    pub name: Option<String>,
    /// The user's picture.
    pub avatar: Option<String>,
    /// What the user may do.
    pub account_role: Option<AccountRole>,
    /// The membership's role; none: the user has never been a member.
    pub role: Option<MemberRole>,
    /// See [`MemberRow::read_count`].
    pub read_count: Option<i64>,
    /// See [`MemberRow::read_seq`].
    pub read_seq: Option<Seq>,
    /// See [`MemberRow::read_message_id`].
    pub read_message_id: Option<MessageId>,
    /// See [`MemberRow::read_at`].
    pub read_at: Option<Timestamp>,
    /// See [`MemberRow::change_seq`].
    pub change_seq: Option<Seq>,
    /// See [`MemberRow::joined_seq`].
    pub joined_seq: Option<Seq>,
    /// See [`MemberRow::joined_at`].
    pub joined_at: Option<Timestamp>,
    /// See [`MemberRow::left_at`].
    pub left_at: Option<Timestamp>,
    /// See [`MemberRow::removed_by`].
    pub removed_by: Option<UserId>,
}

impl PairRow {
    /// The membership, if the user is or ever was a member.
    pub fn membership(&self) -> Option<MemberRow> {
        Some(MemberRow {
            conversation: self.conversation,
            user_id: self.user_id,
            role: self.role?,
            read_count: self.read_count?,
            read_seq: self.read_seq?,
            read_message_id: self.read_message_id,
            read_at: self.read_at,
            change_seq: self.change_seq?,
            joined_seq: self.joined_seq?,
            joined_at: self.joined_at?,
            left_at: self.left_at,
            removed_by: self.removed_by,
        })
    }
}

/// A membership, present or past.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct MemberRow {
    /// Where.
    #[sqlx(rename = "conversation_id")]
    pub conversation: ConversationId,
    /// Who.
    pub user_id: UserId,
    /// As what.
    pub role: MemberRole,
    /// Everything up to this ordinal is read.
    pub read_count: i64,
    /// The change that last raised `read_count` by a reading.
    pub read_seq: Seq,
    /// The message that was read then; none where the whole conversation was.
    pub read_message_id: Option<MessageId>,
    /// When that was.
    pub read_at: Option<Timestamp>,
    /// The change that last added or removed the member or gave it another role.
    pub change_seq: Seq,
    /// The change that last added it.
    pub joined_seq: Seq,
    /// When that was.
    pub joined_at: Timestamp,
    /// When it left; none: it is there.
    pub left_at: Option<Timestamp>,
    /// Who removed it: itself, if it left.
    pub removed_by: Option<UserId>,
}

/// A send that was stored before.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct SendRow {
    /// Where.
    #[sqlx(rename = "conversation_id")]
    pub conversation: ConversationId,
    /// By which command.
    pub command_id: CommandId,
    /// As which message.
    pub id: MessageId,
    /// Its place.
    pub seq: Seq,
    /// When.
    pub created_at: Timestamp,
}

/// A command other than a send that took effect before.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct OutcomeRow {
    /// Where.
    #[sqlx(rename = "conversation_id")]
    pub conversation: ConversationId,
    /// Which.
    pub command_id: CommandId,
    /// What was answered then, as JSON.
    pub outcome: String,
}

/// A message, as far as a later command may need it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct MessageRow {
    /// Its number.
    pub id: MessageId,
    /// Where it was said.
    #[sqlx(rename = "conversation_id")]
    pub conversation: ConversationId,
    /// Its place.
    pub seq: Seq,
    /// Its rank among the conversation's messages.
    pub ordinal: i64,
    /// Who said it.
    pub sender_id: UserId,
    /// What kind of content.
    #[sqlx(rename = "type")]
    pub message_type: String,
    /// What was said.
    pub content: String,
    /// The message it answers.
    pub reply_to: Option<MessageId>,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub edited_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

/// Looks up what a batch asks for first: one query for what every command needs, and one for each other thing asked for.
pub async fn load(connection: &mut PgConnection, wanted: &Wanted) -> Result<Found, sqlx::Error> {
    let mut found = Found::default();
    let (conversations, users) = columns(&wanted.pairs);
    found.pairs = sqlx::query_as(
        "SELECT w.conversation, w.user_id, c.kind, c.last_seq, c.message_count, c.created_by, c.deleted_at AS ended_at,
                u.username, u.name, u.avatar, u.role AS account_role,
                m.role, m.read_count, m.read_seq, m.read_message_id, m.read_at, m.change_seq, m.joined_seq,
                m.joined_at, m.left_at, m.removed_by
         FROM unnest($1::uuid[], $2::uuid[]) AS w (conversation, user_id)
         LEFT JOIN conversations c ON c.id = w.conversation
         LEFT JOIN memberships m ON m.conversation_id = w.conversation AND m.user_id = w.user_id
         LEFT JOIN users u ON u.id = w.user_id",
    )
    .bind(conversations)
    .bind(users)
    .fetch_all(&mut *connection)
    .await?;
    if !wanted.sends.is_empty() {
        let (conversations, commands) = columns(&wanted.sends);
        found.sends = sqlx::query_as(
            "SELECT m.conversation_id, m.command_id, m.id, m.seq, m.created_at
             FROM unnest($1::uuid[], $2::uuid[]) AS w (conversation, command)
             JOIN messages m ON m.conversation_id = w.conversation AND m.command_id = w.command",
        )
        .bind(conversations)
        .bind(commands)
        .fetch_all(&mut *connection)
        .await?;
    }
    if !wanted.commands.is_empty() {
        let (conversations, commands) = columns(&wanted.commands);
        found.outcomes = sqlx::query_as(
            "SELECT a.conversation_id, a.command_id, a.outcome
             FROM unnest($1::uuid[], $2::uuid[]) AS w (conversation, command)
             JOIN applied_commands a ON a.conversation_id = w.conversation AND a.command_id = w.command",
        )
        .bind(conversations)
        .bind(commands)
        .fetch_all(&mut *connection)
        .await?;
    }
    if !wanted.messages.is_empty() {
        found.messages = sqlx::query_as(
            "SELECT id, conversation_id, seq, ordinal, sender_id, type, content, reply_to, created_at, edited_at, deleted_at
             FROM messages WHERE id = ANY($1)",
        )
        .bind(&wanted.messages)
        .fetch_all(&mut *connection)
        .await?;
    }
    Ok(found)
}

/// Looks up what a batch asks for once it knows the rest. Nothing asked for costs nothing.
pub async fn load_details(
    connection: &mut PgConnection,
    wanted: &Details,
) -> Result<FoundDetails, sqlx::Error> {
    let mut found = FoundDetails::default();
    if !wanted.rosters.is_empty() {
        found.members = sqlx::query_as(
            "SELECT conversation_id, user_id, role, read_count, read_seq, read_message_id, read_at, change_seq, joined_seq,
                    joined_at, left_at, removed_by
             FROM memberships WHERE conversation_id = ANY($1) AND left_at IS NULL",
        )
        .bind(&wanted.rosters)
        .fetch_all(&mut *connection)
        .await?;
    }
    if !wanted.markers.is_empty() {
        let (conversations, markers) = columns(&wanted.markers);
        found.deleted = sqlx::query_as(
            "SELECT w.conversation, w.marker, beyond.deleted
             FROM unnest($1::uuid[], $2::bigint[]) AS w (conversation, marker)
             CROSS JOIN LATERAL (
                 SELECT count(*) AS deleted FROM messages m
                 WHERE m.conversation_id = w.conversation AND m.ordinal > w.marker AND m.deleted_at IS NOT NULL
             ) AS beyond
             WHERE beyond.deleted > 0",
        )
        .bind(conversations)
        .bind(markers)
        .fetch_all(&mut *connection)
        .await?;
    }
    if !wanted.rooms.is_empty() {
        found.rooms = sqlx::query_as(
            "SELECT id, name, description, max_users FROM conversations WHERE id = ANY($1) AND kind = 'room'",
        )
        .bind(&wanted.rooms)
        .fetch_all(&mut *connection)
        .await?;
    }
    if !wanted.sizes.is_empty() {
        // In words by which PostgreSQL does not recognise the condition of `memberships_listed`: see `store`.
        found.sizes = sqlx::query_as(
            "SELECT w.conversation, present.members
             FROM unnest($1::uuid[]) AS w (conversation)
             CROSS JOIN LATERAL (
                 SELECT count(*) AS members FROM (
                     SELECT 1 FROM memberships m
                     WHERE m.conversation_id = w.conversation AND COALESCE(m.left_at, 'infinity') = 'infinity' LIMIT $2
                 ) AS counted
             ) AS present",
        )
        .bind(&wanted.sizes)
        .bind(wanted.largest)
        .fetch_all(&mut *connection)
        .await?;
    }
    Ok(found)
}

/// Pairs as the two arrays that `unnest` makes pairs of again.
fn columns<A: Copy, B: Copy>(pairs: &[(A, B)]) -> (Vec<A>, Vec<B>) {
    pairs.iter().copied().unzip()
}
