//! What a transaction's messages do: none is on its way before all may be.
//!
//! First each has its room and the right to write there, there is place for all of them among what waits to be confirmed, and the user may
//! say so many now: else none is sent, and the COMMIT is refused, once. Then all of them are submitted, in their order. What a worker, or the
//! stream to it, refuses after that is refused by itself, without a receipt for the COMMIT: somebody who is removed in between has only
//! sent what was stored before. A conversation with somebody that was made for one of the messages stays.
//!
//! A transaction in which somebody enters or leaves a room is gone through step by step, each with an answer of its own: nobody can be
//! taken back out of a room unseen.

use std::collections::HashSet;

use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::command::Command;
use confab_shared::model::error::{ErrorCode, Rejection, RequestError};

use super::super::Chat;
use super::super::answer::{Answer, rejection};
use super::super::commands::message;
use super::super::inside::Place;
use super::super::socket::in_time;
use super::client::StompClient;
use super::places::Named;
use crate::dialect::{self, Dialect, Intent};
use crate::limits::Class;
use crate::transport::application::StompMessage;
use crate::transport::stomp::Reply;

/// Where a message goes.
enum Way {
    /// To a conversation that is there.
    Into(ConversationId),
    /// To somebody.
    To(UserId),
}

/// A message that may be sent.
struct Ready<W> {
    way: W,
    command: Command,
    answer: Answer,
}

impl Chat {
    /// Sends all of these messages, or none.
    pub(super) async fn fulfil_all(
        &self,
        client: &mut StompClient,
        messages: Vec<(StompMessage<'_>, Reply)>,
    ) -> Result<(), Rejection> {
        let steps = messages.into_iter().map(|(message, reply)| {
            let intent = dialect::stomp::intent(message.destination, message.body)?;
            Ok((intent, reply))
        });
        let steps: Vec<(Intent, Reply)> = steps.collect::<Result<_, Rejection>>()?;
        let is_said = |intent: &Intent| matches!(intent, Intent::Say { .. } | Intent::SayTo { .. });
        if !steps.iter().all(|(intent, _)| is_said(intent)) {
            for (intent, reply) in steps {
                if reply.link().link().queue().closing().is_some() {
                    break;
                }
                self.fulfil(client, intent, reply).await;
            }
            return Ok(());
        }
        let ready = in_time(self.node.reply_timeout(), self.prepare(client, steps)).await;
        let ready = ready.map_err(|error| rejection(&error))?;
        if let Some(user) = client.user_mut() {
            for one in ready {
                user.say(Place::Found(one.way), one.command, one.answer);
            }
        }
        Ok(())
    }

    /// Has everything ready that messages need to be sent: what could be in the way of any of them is looked at for all.
    async fn prepare(
        &self,
        client: &mut StompClient,
        steps: Vec<(Intent, Reply)>,
    ) -> Result<Vec<Ready<ConversationId>>, RequestError> {
        let most = self.node.config.sockets.max_in_flight;
        let mut may_write = HashSet::new();
        let mut found = Vec::with_capacity(steps.len());
        for (intent, reply) in steps {
            let (way, command, named) = self.way(client, intent, &mut may_write).await?;
            let Some(user) = client.user() else {
                return Err(not_inside().into());
            };
            let mut answer = Answer::to_frame(&self.node.traces, user.socket.clone(), reply);
            answer.names(named);
            if !answer.count(most) {
                let message = "too many unconfirmed requests on this socket";
                return Err(Rejection::new(ErrorCode::Overloaded, message).into());
            }
            found.push(Ready {
                way,
                command,
                answer,
            });
        }
        self.count_messages(client, found.len()).await?;
        let mut ready = Vec::with_capacity(found.len());
        for one in found {
            let way = match (one.way, client.user_mut()) {
                (Way::Into(conversation), _) => conversation,
                (Way::To(receiver), Some(user)) => user.open(receiver).await?,
                (Way::To(_), None) => return Err(not_inside().into()),
            };
            ready.push(Ready {
                way,
                command: one.command,
                answer: one.answer,
            });
        }
        Ok(ready)
    }

    /// Where a message goes, if its author may write there; where that is known already, nobody is asked. And the room as it was named.
    async fn way(
        &self,
        client: &mut StompClient,
        intent: Intent,
        may_write: &mut HashSet<ConversationId>,
    ) -> Result<(Way, Command, Option<Named>), RequestError> {
        match intent {
            Intent::Say {
                room,
                content,
                temp_id,
                inside,
            } => {
                if client.user().is_none() {
                    return Err(not_inside().into());
                }
                let (room, named) = self.place(client, room).await?;
                let Some(user) = client.user() else {
                    return Err(not_inside().into());
                };
                let conversation = user.resolve(&room).await?;
                if may_write.insert(conversation) {
                    if let Err(error) = user.access(conversation).await {
                        if let Some(named) = named {
                            named.refused(error.rejection().code);
                        }
                        return Err(error);
                    }
                    if (inside || user.is_guest()) && !user.kept.is_in(conversation) {
                        return Err(not_inside().into());
                    }
                }
                Ok((Way::Into(conversation), message(content, temp_id), named))
            }
            Intent::SayTo {
                receiver,
                content,
                temp_id,
            } => {
                client.account()?.pair_with(receiver)?;
                Ok((Way::To(receiver), message(content, temp_id), None))
            }
            Intent::Enter { .. }
            | Intent::Exit(_)
            | Intent::Type { .. }
            | Intent::Create { .. }
            | Intent::Change { .. }
            | Intent::CreateRoom { .. }
            | Intent::History { .. }
            | Intent::WhoIsOnline
            | Intent::Appear { .. }
            | Intent::LogIn { .. }
            | Intent::LogOut => Err(Rejection::invalid("not a message").into()),
        }
    }

    /// Counts so many messages at once, or none.
    async fn count_messages(&self, client: &StompClient, count: usize) -> Result<(), Rejection> {
        let class = Class::messages(dialect::stomp::SESSION.tier());
        let wanted = u32::try_from(count).unwrap_or(u32::MAX);
        if let Some(most) = self.node.limits.most(class).filter(|most| wanted > *most) {
            // It would not be so later, either.
            let message = format!("a transaction may have {most} messages at the most");
            return Err(Rejection::invalid(message));
        }
        let asked = self
            .node
            .limits
            .ask_for(class, client.subject(), wanted)
            .await;
        asked.map(|_| ()).map_err(|refusal| refusal.rejection())
    }
}

fn not_inside() -> Rejection {
    Rejection::new(ErrorCode::Forbidden, "join the room first")
}
