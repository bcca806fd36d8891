//! Server → client: events and badges to the rests of MESSAGEs.

use bytes::Bytes;
use confab_shared::id::UserId;
use confab_shared::model::account::Profile;
use confab_shared::model::conversation::{ConversationKind, ConversationView};
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::message::Message;

use super::rest::{Id, Rests};
use super::shape::{Body, CreatedJson, Kind, More, ParticipantJson, UnreadJson};
use crate::dialect::{Audience, Badge, Scene, Shown};

/// Events of a conversation for one audience.
pub(super) fn events(scene: Scene<'_>, events: &[Shown<'_>], audience: Audience) -> Bytes {
    let mut rests = Rests::default();
    let room_id = scene.room_id();
    for shown in events {
        write(&mut rests, scene, &room_id, shown.event, audience);
    }
    rests.finish()
}

/// The same, of direct conversations alone.
pub(super) fn direct_messages(scene: Scene<'_>, shown: &[Shown<'_>], audience: Audience) -> Bytes {
    match scene.subject.kind {
        ConversationKind::Direct => events(scene, shown, audience),
        ConversationKind::Group | ConversationKind::Room => Bytes::new(),
    }
}

/// That members were removed, and nothing else.
pub(super) fn removals(scene: Scene<'_>, shown: &[Shown<'_>]) -> Bytes {
    let mut rests = Rests::default();
    let room_id = scene.room_id();
    for Shown { event, .. } in shown {
        if matches!(event.fact, Fact::MemberRemoved { .. }) {
            write(&mut rests, scene, &room_id, event, Audience::Others);
        }
    }
    rests.finish()
}

fn write(rests: &mut Rests, scene: Scene<'_>, room_id: &str, event: &Event, audience: Audience) {
    let writer = Writer {
        scene,
        room_id,
        event,
    };
    let change = |what, user| match event.seq {
        Some(seq) => Id::Change(scene.subject.id, seq),
        None => Id::Passing(what, user, event.at),
    };
    match &event.fact {
        // Its members learn of it by their notifications; a hint has no words; and who types says so in passing: clients that know no type
        // but those of the guide would show it as a message.
        Fact::ConversationCreated { .. } | Fact::Advanced | Fact::Typing { .. } => {}
        Fact::Entered { user, present } => {
            writer.presence(rests, (Kind::Join, "join"), user, *present);
        }
        Fact::Exited { user, present } => {
            writer.presence(rests, (Kind::Leave, "leave"), user, *present);
        }
        Fact::MessageStored { message, temp_id } => {
            let own = audience == Audience::Sender(message.sender.id);
            let temp_id = temp_id.as_deref().filter(|_| own);
            let body = writer.message(Kind::Chat, message, temp_id);
            rests.add(Id::Message(message.id), &body);
        }
        Fact::MessageEdited { message } => {
            let body = writer.message(Kind::Edit, message, None);
            rests.add(change("edit", message.sender.id), &body);
        }
        Fact::MessageDeleted { message, by } => {
            let more = More::Deleted { deleted_by: *by };
            let body = writer.body(Kind::Delete, Id::Message(*message), Some(*by), more);
            rests.add(change("delete", *by), &body);
        }
        Fact::MessagesRead { user, message, .. } => {
            let more = More::Read {
                read_by: *user,
                message_id: *message,
            };
            writer.add(rests, Kind::Read, change("read", *user), Some(*user), more);
        }
        Fact::MembersAdded { members } => {
            let first = members.first().map_or(UserId::SYSTEM, |one| one.profile.id);
            let participants = members.iter().map(ParticipantJson::from).collect();
            let more = More::Added { participants };
            let id = change("added", first);
            writer.add(rests, Kind::ParticipantsAdded, id, None, more);
        }
        Fact::MemberRemoved { user, by } => {
            let more = More::Removed {
                user_id: *user,
                removed_by: *by,
            };
            let id = change("removed", *user);
            writer.add(rests, Kind::ParticipantRemoved, id, Some(*by), more);
        }
        Fact::RoomUpdated {
            by,
            name,
            description,
            max_users,
        } => {
            let more = More::Updated {
                name,
                description: description.as_deref(),
                max_users: *max_users,
                updated_by: *by,
            };
            let id = change("updated", *by);
            writer.add(rests, Kind::RoomUpdated, id, Some(*by), more);
        }
        Fact::RoomDeleted { by } => {
            let more = More::Deleted { deleted_by: *by };
            let id = change("ended", *by);
            writer.add(rests, Kind::RoomDeleted, id, Some(*by), more);
        }
    }
}

/// What an event's bodies have in common.
#[derive(Clone, Copy)]
struct Writer<'a> {
    scene: Scene<'a>,
    room_id: &'a str,
    event: &'a Event,
}

impl<'a> Writer<'a> {
    /// Events name nobody but by ids: of two people both names are known, of more none.
    fn name(self, user: UserId) -> &'a str {
        let pair = self.scene.subject.pair.iter().flatten();
        let mut named = pair.filter(|one| one.id == user);
        named.next().map_or("", |one| &one.username)
    }

    fn body(self, kind: Kind, id: Id, by: Option<UserId>, more: More<'a>) -> Body<'a> {
        Body {
            kind,
            content: "",
            sender: by.map_or("", |by| self.name(by)),
            room_id: self.room_id,
            id,
            timestamp: self.event.at,
            more,
        }
    }

    fn add(self, rests: &mut Rests, kind: Kind, id: Id, by: Option<UserId>, more: More<'a>) {
        rests.add(id, &self.body(kind, id, by, more));
    }

    fn message(self, kind: Kind, message: &'a Message, temp_id: Option<&'a str>) -> Body<'a> {
        let receiver = self.scene.subject.other(message.sender.id);
        let more = More::of_message(message, receiver, temp_id);
        Body {
            content: message.shown_content(),
            sender: &message.sender.username,
            timestamp: message.created_at,
            ..self.body(kind, Id::Message(message.id), None, more)
        }
    }

    fn presence(
        self,
        rests: &mut Rests,
        (kind, what): (Kind, &'static str),
        user: &'a Profile,
        present: u64,
    ) {
        let more = More::Presence {
            sender_id: user.id,
            active_users: present,
        };
        let id = Id::Passing(what, user.id, self.event.at);
        let body = Body {
            sender: &user.username,
            ..self.body(kind, id, None, more)
        };
        rests.add(id, &body);
    }
}

/// A conversation that the user has become a member of.
pub(super) fn joined(view: &ConversationView) -> Bytes {
    let mut rests = Rests::default();
    let id = Id::Change(view.id, view.last_seq);
    rests.add(id, &CreatedJson::from(view));
    rests.finish()
}

/// How much the user has not read.
pub(super) fn unread(badge: Badge<'_>) -> Bytes {
    let mut rests = Rests::default();
    let id = Id::Badge(badge.conversation, badge.at, badge.unread);
    rests.add(id, &UnreadJson::from(badge));
    rests.finish()
}
