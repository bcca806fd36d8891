//! What is done with a client's frames, one after the other.

use confab_gateway_protocol::stomp::{DecodeError, Frame, Item, ServerCommand};
use confab_shared::model::error::Rejection;

use super::reply::Commit;
use super::{Client, Phase, Reply, Stomp, StompLink, StompSession};
use crate::session::DisconnectReason;
use crate::session::stomp::connecting::bearer;
use crate::session::stomp::transactions::Kept;
use crate::session::stomp::{Action, Connected, Connecting, Violation};
use crate::transport::application::{ConnectError, Handshake, StompApplication, StompMessage};
use crate::transport::endpoint::random_id;

/// After how many frames of one message others have their turn.
const TURN: usize = 64;

/// What CONNECTED calls the server.
const SERVER: &str = concat!("Confab/", env!("CARGO_PKG_VERSION"));

impl<A: StompApplication> Stomp<A> {
    /// Takes a piece of the byte stream. An error ends the session.
    pub(super) async fn take(
        &self,
        session: &mut StompSession<A::Client>,
        piece: &[u8],
    ) -> Result<(), DisconnectReason> {
        session.decoder.push(piece);
        for turn in 1_usize.. {
            // What one frame has ended, those behind it do not go on with.
            if let Some(reason) = session.link.queue().closing() {
                return Err(reason);
            }
            match session.decoder.next() {
                Ok(None) => break,
                Ok(Some(Item::HeartBeat)) => {}
                Ok(Some(Item::Frame(frame))) => self.frame(session, &frame).await?,
                Err(error) => {
                    tracing::debug!(%error, "session closed");
                    return Err(session.fail(&error.to_string(), None, reason_of(&error)));
                }
            }
            if turn % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn frame(
        &self,
        session: &mut StompSession<A::Client>,
        frame: &Frame,
    ) -> Result<(), DisconnectReason> {
        let done = match &mut session.phase {
            Phase::Connected(client) => self.ask(client, frame).await,
            // Boxed: what happens once must not make the session larger for as long as it lives.
            Phase::Connecting { .. } => Box::pin(self.connect(session, frame)).await,
            Phase::Over => Err(Stop::Because(DisconnectReason::ProtocolViolation)),
        };
        done.map_err(|stop| match stop {
            Stop::Because(reason) => reason,
            Stop::Violation(violation) => {
                tracing::debug!(%violation, "session closed");
                let receipt = frame.header("receipt").map(|id| ("receipt-id", id));
                let more = match violation {
                    Violation::NoCommonVersion => Some(("version", "1.0,1.1,1.2")),
                    _ => receipt,
                };
                let reason = DisconnectReason::ProtocolViolation;
                session.fail(&violation.to_string(), more, reason)
            }
        })
    }

    async fn connect(
        &self,
        session: &mut StompSession<A::Client>,
        frame: &Frame,
    ) -> Result<(), Stop> {
        let connecting = Connecting {
            offered: self.rules.heart_beat,
        };
        let hello = connecting.take(frame)?;
        // Whatever comes of it, there is one CONNECT.
        let Phase::Connecting { handshake, agreed } =
            std::mem::replace(&mut session.phase, Phase::Over)
        else {
            return Err(Violation::ConnectedTwice.into());
        };
        let link = StompLink::new(session.link.clone(), session.framing, hello.version);
        let elsewhere = || token_of(&handshake);
        let token = hello.token.map(str::to_owned).or_else(elsewhere);
        let connected = self
            .application
            .connect(&handshake, token.as_deref(), &link)
            .await;
        let (own, name) = match connected {
            Ok(connected) => connected,
            Err(ConnectError::Refused { message, .. }) => {
                let reason = DisconnectReason::Unauthenticated;
                return Err(Stop::Because(session.fail(&message, None, reason)));
            }
            Err(ConnectError::Unavailable) => {
                return Err(Stop::Because(DisconnectReason::Unavailable));
            }
        };
        self.metrics
            .stomp_sessions_total
            .with_label_values(&[hello.version.as_str()])
            .inc();
        let (id, heart_beat) = (random_id(), self.rules.heart_beat.to_string());
        let mut headers = vec![
            ("version", hello.version.as_str()),
            ("heart-beat", &heart_beat),
            ("session", &id),
            ("server", SERVER),
        ];
        headers.extend(name.as_deref().map(|name| ("user-name", name)));
        link.frame(ServerCommand::Connected, &headers, b"");
        session.decoder.set_version(hello.version);
        // Without an answer: the session is ending, and its clocks with it.
        let _ending = agreed.send(hello.beats);
        let state = Connected::new(hello.version, session.framing, self.rules.session);
        let client = Box::new(Client { own, link, state });
        // Put in its place first: from here on it is told if it is gone.
        session.phase = Phase::Connected(client);
        if let Phase::Connected(client) = &mut session.phase {
            self.application.connected(&mut client.own).await;
        }
        Ok(())
    }

    async fn ask(&self, client: &mut Client<A::Client>, frame: &Frame) -> Result<(), Stop> {
        let Client { own, link, state } = client;
        let receipt = frame.header("receipt");
        let destination = frame.header("destination").unwrap_or_default();
        let application = &self.application;
        match state.take(frame, &self.rules.destinations)? {
            Action::Send(name) => {
                let message = StompMessage {
                    destination: name,
                    body: &frame.body,
                };
                let reply = Reply::new(link, destination, receipt);
                application.send(own, message, reply).await;
                return Ok(());
            }
            Action::Subscribe {
                topic,
                subscription,
            } => {
                let reply = Reply::new(link, destination, receipt);
                application.subscribe(own, topic, subscription, reply).await;
                return Ok(());
            }
            Action::Keep(name) => {
                let message = StompMessage {
                    destination: name,
                    body: &frame.body,
                };
                // Its receipt comes when it is stored.
                match application.check(&message) {
                    Ok(()) => state.keep(frame)?,
                    Err(rejection) => {
                        state.spoil(frame);
                        link.refuse(&rejection, destination, receipt);
                    }
                }
                return Ok(());
            }
            Action::Commit(messages) => {
                // Boxed: a session has room for it only while it waits.
                Box::pin(self.commit(client, &messages, receipt)).await;
                return Ok(());
            }
            Action::Refuse(rejection) => {
                link.refuse(&rejection, destination, receipt);
                return Ok(());
            }
            Action::Disconnect => {
                // Their receipts would come too late after this one's.
                let answered = link.unanswered().none();
                if tokio::time::timeout(self.rules.last_answers, answered)
                    .await
                    .is_err()
                {
                    tracing::debug!("a client leaves with answers still to come");
                }
                if let Some(receipt) = receipt {
                    link.receipt(receipt);
                }
                return Err(Stop::Because(DisconnectReason::ClientClosed));
            }
            Action::SubscribeErrors(subscription) => link.set_errors(Some(subscription)),
            Action::UnsubscribeErrors => link.set_errors(None),
            Action::Unsubscribe(id) => application.unsubscribe(own, &id).await,
            Action::Nothing => {}
        }
        if let Some(receipt) = receipt {
            link.receipt(receipt);
        }
        Ok(())
    }

    /// Takes the messages of a transaction, or none of them. Its receipt comes when all are stored.
    async fn commit(
        &self,
        client: &mut Client<A::Client>,
        messages: &[Kept],
        receipt: Option<&str>,
    ) {
        let Client { own, link, .. } = client;
        if messages.is_empty() {
            if let Some(receipt) = receipt {
                link.receipt(receipt);
            }
            return;
        }
        let commit = receipt.map(|receipt| Commit::new(receipt, messages.len()));
        let taken = messages.iter().map(|kept| {
            let destination = self.rules.destinations.message(&kept.destination);
            let message = StompMessage {
                destination: destination.ok_or_else(|| Rejection::invalid("not a destination"))?,
                body: &kept.body,
            };
            let reply = Reply::new(link, &kept.destination, kept.receipt.as_deref());
            Ok((message, reply.within(commit.clone())))
        });
        let done = match taken.collect() {
            Ok(taken) => self.application.commit(own, taken).await,
            Err(rejection) => Err(rejection),
        };
        if let Err(rejection) = done {
            link.refuse(&rejection, "", receipt);
        }
    }
}

/// Why no more frames are taken.
enum Stop {
    /// It is said what is wrong.
    Violation(Violation),
    /// It is not, or has been.
    Because(DisconnectReason),
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

fn reason_of(error: &DecodeError) -> DisconnectReason {
    match error {
        DecodeError::FrameTooLarge { .. }
        | DecodeError::HeaderTooLarge { .. }
        | DecodeError::TooManyHeaders { .. } => DisconnectReason::PayloadTooLarge,
        _ => DisconnectReason::ProtocolViolation,
    }
}

/// The token that came with the request that opened the connection. Browsers can put it only into the address.
fn token_of(handshake: &Handshake) -> Option<String> {
    let header = handshake.authorization().and_then(bearer);
    let parameter = || {
        ["access_token", "token"]
            .iter()
            .filter_map(|name| handshake.query(name))
            .find(|token| !token.is_empty())
    };
    header.map(str::to_owned).or_else(parameter)
}
