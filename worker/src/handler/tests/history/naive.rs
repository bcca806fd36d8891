//! One conversation that counts on its fingers.

use std::collections::HashMap;

use confab_shared::id::{MessageId, UserId};
use confab_shared::model::command::Command;
use confab_shared::model::conversation::{ConversationKind, MemberRole};
use confab_shared::model::error::ErrorCode;

use super::{ADMIN, GUEST, USERS};
use crate::handler::tests::database::{Info, user};

/// One conversation, as a person with pencil and paper would keep it.
#[derive(Debug, Default)]
pub(super) struct Naive {
    kind: Option<ConversationKind>,
    /// Whose room it is.
    creator: Option<UserId>,
    pub(super) info: Info,
    pub(super) ended: bool,
    /// Present members in the order they joined, each with a role and the messages it has not read.
    pub(super) members: Vec<(UserId, MemberRole, Vec<MessageId>)>,
    messages: HashMap<MessageId, (UserId, bool)>,
    pub(super) changes: i64,
}

impl Naive {
    fn role(&self, who: UserId) -> Option<MemberRole> {
        self.members
            .iter()
            .find(|(member, ..)| *member == who)
            .map(|(_, role, _)| *role)
    }

    fn unread(&mut self, who: UserId) -> &mut Vec<MessageId> {
        &mut self
            .members
            .iter_mut()
            .find(|(member, ..)| *member == who)
            .unwrap()
            .2
    }

    /// Does what the command asks, or says why not. `sent` is the number that a sent message got.
    pub(super) fn apply(
        &mut self,
        actor: UserId,
        command: &Command,
        sent: Option<MessageId>,
    ) -> Result<Option<usize>, ErrorCode> {
        if self.ended {
            return Err(ErrorCode::NotFound);
        }
        match command {
            Command::CreateConversation { participants, .. } => self.create(actor, participants),
            Command::CreateRoom { .. } => self.create_room(actor),
            _ if self.kind == Some(ConversationKind::Room) => {
                self.apply_in_room(actor, command, sent)
            }
            _ => self.apply_in_group(actor, command, sent),
        }
    }

    fn apply_in_group(
        &mut self,
        actor: UserId,
        command: &Command,
        sent: Option<MessageId>,
    ) -> Result<Option<usize>, ErrorCode> {
        let role = self.role(actor).ok_or(ErrorCode::NotFound)?;
        match command {
            Command::CreateConversation { .. } | Command::CreateRoom { .. } => unreachable!(),
            Command::UpdateRoom { .. } | Command::DeleteRoom => return Err(ErrorCode::NotFound),
            Command::SendMessage { reply_to, .. } => {
                let id = self.send(actor, *reply_to, sent)?;
                for (member, _, unread) in &mut self.members {
                    if *member == actor {
                        unread.clear();
                    } else {
                        unread.push(id);
                    }
                }
            }
            Command::EditMessage { message, .. } => self.edit(actor, *message)?,
            Command::DeleteMessage { message } => {
                self.delete(actor, *message, role.moderates())?;
                for (_, _, unread) in &mut self.members {
                    unread.retain(|id| id != message);
                }
            }
            Command::MarkRead { up_to } => {
                if let Some(message) = up_to {
                    self.messages.get(message).ok_or(ErrorCode::NotFound)?;
                }
                let last = up_to.unwrap_or(MessageId(i64::MAX));
                self.unread(actor).retain(|id| *id > last);
                return Ok(Some(self.unread(actor).len()));
            }
            Command::AddMembers { users } => {
                if !role.moderates() {
                    return Err(ErrorCode::Forbidden);
                }
                if users.iter().any(|new| *new >= user(USERS)) {
                    return Err(ErrorCode::NotFound);
                }
                let before = self.members.len();
                self.join(users);
                self.changes += i64::from(self.members.len() > before);
            }
            Command::RemoveMember { user } if *user == actor => self.depart(actor),
            Command::RemoveMember { user } => {
                if !role.moderates() {
                    return Err(ErrorCode::Forbidden);
                }
                let target = self.role(*user).ok_or(ErrorCode::NotFound)?;
                if target == MemberRole::Owner && role != MemberRole::Owner {
                    return Err(ErrorCode::Forbidden);
                }
                self.depart(*user);
            }
            Command::Leave => self.depart(actor),
        }
        Ok(None)
    }

    fn create(
        &mut self,
        actor: UserId,
        participants: &[UserId],
    ) -> Result<Option<usize>, ErrorCode> {
        if actor == user(u128::from(GUEST)) {
            return Err(ErrorCode::Forbidden);
        }
        if actor >= user(USERS) || participants.iter().any(|other| *other >= user(USERS)) {
            return Err(ErrorCode::NotFound);
        }
        if self.kind.is_some() {
            return Err(ErrorCode::Conflict);
        }
        self.kind = Some(ConversationKind::Group);
        self.members.push((actor, MemberRole::Owner, Vec::new()));
        self.join(participants);
        self.changes = 1;
        Ok(None)
    }

    fn create_room(&mut self, actor: UserId) -> Result<Option<usize>, ErrorCode> {
        if !known(actor) {
            return Err(ErrorCode::NotFound);
        }
        match self.kind {
            Some(ConversationKind::Room) => Ok(None),
            Some(_) => Err(ErrorCode::Conflict),
            None => {
                self.kind = Some(ConversationKind::Room);
                self.creator = Some(actor);
                self.info = (Some("room".to_owned()), None, None);
                self.changes = 1;
                Ok(None)
            }
        }
    }

    fn apply_in_room(
        &mut self,
        actor: UserId,
        command: &Command,
        sent: Option<MessageId>,
    ) -> Result<Option<usize>, ErrorCode> {
        if !known(actor) {
            return Err(ErrorCode::NotFound);
        }
        let moderates = self.creator == Some(actor) || actor == user(u128::from(ADMIN));
        match command {
            Command::CreateConversation { .. } | Command::CreateRoom { .. } => unreachable!(),
            Command::SendMessage { reply_to, .. } => {
                self.send(actor, *reply_to, sent)?;
            }
            Command::EditMessage { message, .. } => self.edit(actor, *message)?,
            Command::DeleteMessage { message } => self.delete(actor, *message, moderates)?,
            Command::MarkRead { up_to } => {
                if let Some(message) = up_to {
                    self.messages.get(message).ok_or(ErrorCode::NotFound)?;
                }
                return Ok(Some(0));
            }
            Command::AddMembers { .. } | Command::RemoveMember { .. } | Command::Leave => {
                return Err(ErrorCode::Conflict);
            }
            Command::UpdateRoom { .. } | Command::DeleteRoom if !moderates => {
                return Err(ErrorCode::Forbidden);
            }
            Command::UpdateRoom {
                name,
                description,
                max_users,
            } => {
                let before = self.info.clone();
                if let Some(name) = name {
                    self.info.0 = Some(name.clone());
                }
                if let Some(description) = description {
                    self.info.1.clone_from(description);
                }
                if let Some(max_users) = max_users {
                    self.info.2 = *max_users;
                }
                self.changes += i64::from(self.info != before);
            }
            Command::DeleteRoom => {
                self.ended = true;
                self.changes += 1;
            }
        }
        Ok(None)
    }

    fn send(
        &mut self,
        actor: UserId,
        reply_to: Option<MessageId>,
        sent: Option<MessageId>,
    ) -> Result<MessageId, ErrorCode> {
        if let Some(answered) = reply_to {
            self.messages.get(&answered).ok_or(ErrorCode::NotFound)?;
        }
        let id = sent.unwrap();
        self.messages.insert(id, (actor, false));
        self.changes += 1;
        Ok(id)
    }

    fn edit(&mut self, actor: UserId, message: MessageId) -> Result<(), ErrorCode> {
        match self.messages.get(&message) {
            Some((sender, false)) if *sender == actor => {
                self.changes += 1;
                Ok(())
            }
            Some((_, false)) => Err(ErrorCode::Forbidden),
            _ => Err(ErrorCode::NotFound),
        }
    }

    fn delete(
        &mut self,
        actor: UserId,
        message: MessageId,
        moderates: bool,
    ) -> Result<(), ErrorCode> {
        let (sender, deleted) = self.messages.get_mut(&message).ok_or(ErrorCode::NotFound)?;
        if *sender != actor && !moderates {
            return Err(ErrorCode::Forbidden);
        }
        self.changes += i64::from(!*deleted);
        *deleted = true;
        Ok(())
    }

    /// Who joins together is ranked by id, as rows with one `joined_seq` are.
    fn join(&mut self, users: &[UserId]) {
        let mut users = users.to_vec();
        users.sort_unstable();
        for new in users {
            if self.role(new).is_none() {
                self.members.push((new, MemberRole::Member, Vec::new()));
            }
        }
    }

    fn depart(&mut self, who: UserId) {
        self.changes += 1;
        let owned = self.role(who) == Some(MemberRole::Owner);
        self.members.retain(|(member, ..)| *member != who);
        if owned && let Some((_, role, _)) = self.members.first_mut() {
            *role = MemberRole::Owner;
        }
    }
}

/// Whether there is such an account or guest.
fn known(who: UserId) -> bool {
    who < user(USERS) || who == user(u128::from(GUEST))
}
