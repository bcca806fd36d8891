//! What a client's messages do.

use std::pin::pin;
use std::time::Instant;

use confab_shared::model::error::{ErrorCode, Rejection, RequestError};
use confab_shared::telemetry::scope;

use super::super::Chat;
use super::super::anonymous::guest_subject;
use super::super::answer::{Answer, rejection};
use super::super::introduction::refusal;
use super::super::socket::{count_event, in_time};
use super::client::StompClient;
use super::places::Named;
use crate::dialect::{self, Dialect, Intent, RoomName};
use crate::limits::Class;
use crate::transport::stomp::Reply;

impl Chat {
    /// Does what a client asks for.
    pub(super) async fn fulfil(&self, client: &mut StompClient, intent: Intent, reply: Reply) {
        count_event(&self.node, Some(&intent));
        let Some(user) = client.user() else {
            return self.introduce_by_stomp(client, intent, reply).await;
        };
        let mut answer = Answer::to_frame(&self.node.traces, user.socket.clone(), reply);
        let is_guest = user.is_guest();
        let patience = self.node.reply_timeout();
        let intent = match intent {
            Intent::Say {
                room,
                content,
                temp_id,
                inside,
            } => {
                let (room, named) = match in_time(patience, self.place(client, room)).await {
                    Ok(found) => found,
                    Err(error) => return answer.fail(&error),
                };
                answer.names(named);
                Intent::Say {
                    room,
                    content,
                    temp_id,
                    // Those with an account may write wherever they may listen; guests are somebody where they are.
                    inside: inside || is_guest,
                }
            }
            other => other,
        };
        if let Some(user) = client.user_mut() {
            let parent = answer.parent();
            scope(parent, pin!(user.fulfil(intent, answer, patience))).await;
        }
    }

    /// A client that has not said who it is may do so by entering a room.
    async fn introduce_by_stomp(&self, client: &mut StompClient, intent: Intent, reply: Reply) {
        let (room, name) = match intent {
            Intent::Enter { room, guest_name } => (room, guest_name),
            Intent::Say { .. } | Intent::Exit(_) | Intent::Type { .. } => {
                reply.refuse(&Rejection::new(ErrorCode::Forbidden, "join the room first"));
                return;
            }
            Intent::Create { .. }
            | Intent::Change { .. }
            | Intent::CreateRoom { .. }
            | Intent::SayTo { .. }
            | Intent::History { .. }
            | Intent::WhoIsOnline
            | Intent::Appear { .. }
            | Intent::LogIn { .. }
            | Intent::LogOut => {
                reply.refuse(&Rejection::new(ErrorCode::Unauthorized, "log in first"));
                return;
            }
        };
        let patience = self.node.reply_timeout();
        if let Err(rejection) = self.lets_in_a_guest(client.address).await {
            reply.refuse(&rejection);
            return;
        }
        let class = Class::room_operations(dialect::stomp::SESSION.tier());
        let subject = guest_subject(client.address, name.as_deref());
        if let Err(refusal) = self.node.limits.ask(class, subject).await {
            reply.refuse(&refusal.rejection());
            return;
        }
        let (link, address) = (client.link.clone(), client.address);
        let becoming = async {
            let profile = self.guest(&room, name.as_deref()).await?;
            let user = self.become_guest(profile, &link).await;
            user.map_err(|error| refusal(link.link(), error))
        };
        let mut user = match in_time(patience, becoming).await {
            Ok(user) => user,
            Err(error) => {
                reply.refuse(&rejection(&error));
                return;
            }
        };
        self.node.metrics.sockets_introduced_total.inc();
        user.subject = guest_subject(address, Some(&user.profile.username));
        let answer = Answer::to_frame(&self.node.traces, user.socket.clone(), reply);
        let enter = Intent::Enter {
            room,
            guest_name: None,
        };
        user.perform(enter, answer, patience).await;
        client.become_somebody(user);
    }

    /// The room that is meant, by its id, and how it was named if that was not by it. Where it has to be looked for, that is counted.
    pub(super) async fn place(
        &self,
        client: &mut StompClient,
        room: RoomName,
    ) -> Result<(RoomName, Option<Named>), RequestError> {
        let now = Instant::now();
        let RoomName::Slug(slug) = &room else {
            return Ok((room, None));
        };
        let named = Some(client.places.named(slug));
        if let Some(id) = client.places.recall(slug, now) {
            return Ok((RoomName::Id(id), named));
        }
        self.counts_subscription(client).await?;
        let Some(user) = client.user() else {
            return Ok((room, None));
        };
        let id = user.resolve(&room).await?;
        client.places.note(slug.clone(), id, now);
        Ok((RoomName::Id(id), named))
    }
}
