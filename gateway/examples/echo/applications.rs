//! What gives messages back: over Engine.IO alone, and over Socket.IO.

use std::sync::Arc;

use bytes::Bytes;
use confab_gateway::session::DisconnectReason;
use confab_gateway::transport::application::{
    Application, ConnectError, Connected, EngineHandler, Handshake, Incoming, Link,
};
use confab_gateway::transport::endpoint::random_id;
use confab_gateway_protocol::json::{Args, Json};
use confab_gateway_protocol::{engineio, socketio, websocket};

/// Gives Engine.IO messages back.
pub(crate) struct EngineEcho;

impl EngineHandler for EngineEcho {
    type Session = Link;

    fn open(&self, _: Arc<Handshake>, link: Link) -> Link {
        link
    }

    async fn text(&self, link: &mut Link, text: &str) -> Result<(), DisconnectReason> {
        let frame = websocket::text_frame(|out| {
            engineio::begin_message(out);
            out.extend_from_slice(text.as_bytes());
        });
        link.push(frame.into_wire());
        Ok(())
    }

    async fn binary(&self, link: &mut Link, bytes: Bytes) -> Result<(), DisconnectReason> {
        link.push(websocket::binary_frame(|out| out.extend_from_slice(&bytes)).into_wire());
        Ok(())
    }

    fn has_begun(&self, _: &Link) -> bool {
        true
    }

    async fn closed(&self, _: Link, _: DisconnectReason) {}
}

/// Gives Socket.IO events back.
pub(crate) struct SocketEcho;

/// A socket of the echo application.
pub(crate) struct EchoSocket {
    namespace: String,
    auth: String,
    link: Link,
}

impl EchoSocket {
    fn send(&self, write: impl FnOnce(&mut bytes::BytesMut), attachments: &[Bytes]) {
        let frame = websocket::text_frame(|out| {
            engineio::begin_message(out);
            write(out);
        });
        self.link.push(frame.into_wire());
        for attachment in attachments {
            let frame = websocket::binary_frame(|out| out.extend_from_slice(attachment));
            self.link.push(frame.into_wire());
        }
    }

    fn emit(&self, name: &str, args: Args<'_>, attachments: &[Bytes]) {
        let namespace = &self.namespace;
        self.send(
            |out| {
                let event = match attachments.len() {
                    0 => socketio::event(out, namespace, None, name),
                    count => socketio::binary_event(out, namespace, None, name, count),
                };
                event.args(args).finish();
            },
            attachments,
        );
    }

    fn ack(&self, id: u64, args: Args<'_>, attachments: &[Bytes]) {
        self.send(
            |out| {
                let ack = match attachments.len() {
                    0 => socketio::ack(out, &self.namespace, id),
                    count => socketio::binary_ack(out, &self.namespace, id, count),
                };
                ack.args(args).finish();
            },
            attachments,
        );
    }
}

impl Application for SocketEcho {
    type Socket = EchoSocket;

    async fn connect(
        &self,
        _: &Arc<Handshake>,
        namespace: &str,
        auth: Option<Json<'_>>,
        link: &Link,
    ) -> Result<Option<Connected<EchoSocket>>, ConnectError> {
        let known = matches!(namespace, "/" | "/custom");
        Ok(known.then(|| Connected {
            socket: EchoSocket {
                namespace: namespace.to_owned(),
                auth: auth.map_or("{}", Json::as_str).to_owned(),
                link: link.clone(),
            },
            sid: random_id(),
            pid: None,
        }))
    }

    async fn connected(&self, socket: &mut EchoSocket) {
        let auth = format!("[{}]", socket.auth);
        if let Some(args) = Json::check(&auth).ok().and_then(Json::elements) {
            socket.emit("auth", args, &[]);
        }
    }

    async fn event(&self, socket: &mut EchoSocket, event: Incoming<'_>) {
        match (event.name, event.ack_id) {
            ("message", _) => socket.emit("message-back", event.args, event.attachments),
            ("message-with-ack", Some(id)) => socket.ack(id, event.args, event.attachments),
            _ => {}
        }
    }

    async fn disconnected(&self, _: EchoSocket, _: DisconnectReason) {}
}
