//! Which namespaces a session has joined, and what each packet means given that (socket.io-protocol v5).

use std::borrow::Cow;

use confab_gateway_protocol::json::{Args, Json};
use confab_gateway_protocol::socketio::{Body, Packet};

/// The most namespaces one session may have joined at a time.
const MAX_NAMESPACES: usize = 8;

/// A packet that may not come here: the session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A packet for a namespace that the session has not joined.
    #[error("packet for a namespace not joined")]
    NotJoined,
    /// A second CONNECT to the same namespace.
    #[error("namespace joined twice")]
    JoinedTwice,
    /// More namespaces than a session may join.
    #[error("too many namespaces")]
    TooMany,
    /// A packet that only servers send.
    #[error("a server's packet")]
    ServerPacket,
}

/// What a packet asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'p, 'a> {
    /// Join a namespace.
    Connect {
        /// Which.
        namespace: &'a str,
        /// The credentials object, if there is one.
        auth: Option<Json<'a>>,
    },
    /// An event for the socket at this place.
    Event {
        /// The socket's place.
        slot: usize,
        /// The event's name.
        name: &'p Cow<'a, str>,
        /// Its arguments.
        args: Args<'a>,
        /// The id of the acknowledgement that the client wants.
        ack_id: Option<u64>,
    },
    /// The client's acknowledgement of an event of ours.
    Ack {
        /// The socket's place.
        slot: usize,
        /// Which event.
        id: u64,
        /// Its arguments.
        args: Args<'a>,
    },
    /// Leave the namespace. The session stays open.
    Disconnect {
        /// The socket's place.
        slot: usize,
    },
}

/// The sockets of one session: one per namespace joined, with the application's state for each.
#[derive(Debug)]
pub struct Namespaces<S> {
    joined: Vec<(Box<str>, S)>,
    ever_joined: bool,
}

impl<S> Default for Namespaces<S> {
    fn default() -> Self {
        Self {
            joined: Vec::new(),
            ever_joined: false,
        }
    }
}

impl<S> Namespaces<S> {
    /// What a packet asks for.
    pub fn classify<'p, 'a>(&self, packet: &'p Packet<'a>) -> Result<Action<'p, 'a>, Violation> {
        let slot = self
            .joined
            .iter()
            .position(|(namespace, _)| **namespace == *packet.namespace);
        match (&packet.body, slot) {
            (Body::ConnectError(_), _) => Err(Violation::ServerPacket),
            (Body::Connect(_), Some(_)) => Err(Violation::JoinedTwice),
            (Body::Connect(_), None) if self.joined.len() >= MAX_NAMESPACES => {
                Err(Violation::TooMany)
            }
            (Body::Connect(auth), None) => Ok(Action::Connect {
                namespace: packet.namespace,
                auth: *auth,
            }),
            (Body::Disconnect | Body::Event(_) | Body::Ack(_), None) => Err(Violation::NotJoined),
            (Body::Disconnect, Some(slot)) => Ok(Action::Disconnect { slot }),
            (Body::Event(event), Some(slot)) => Ok(Action::Event {
                slot,
                name: &event.name,
                args: event.args,
                ack_id: event.ack_id,
            }),
            (Body::Ack(ack), Some(slot)) => Ok(Action::Ack {
                slot,
                id: ack.id,
                args: ack.args,
            }),
        }
    }

    /// The application accepted the socket.
    pub fn join(&mut self, namespace: &str, socket: S) {
        self.ever_joined = true;
        self.joined.push((namespace.into(), socket));
    }

    /// Takes the socket at a place out.
    pub fn leave(&mut self, slot: usize) -> S {
        self.joined.swap_remove(slot).1
    }

    /// The socket at a place, as [`classify`](Self::classify) named it.
    pub fn socket(&mut self, slot: usize) -> &mut S {
        &mut self.joined[slot].1
    }

    /// Takes all sockets out: the session is over.
    pub fn drain(&mut self) -> impl Iterator<Item = S> {
        self.joined.drain(..).map(|(_, socket)| socket)
    }

    /// Whether the session ever joined a namespace.
    pub fn ever_joined(&self) -> bool {
        self.ever_joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use confab_gateway_protocol::socketio::decode;

    fn joined(namespaces: &[&str]) -> Namespaces<usize> {
        let mut all = Namespaces::default();
        for (index, namespace) in namespaces.iter().enumerate() {
            all.join(namespace, index);
        }
        all
    }

    fn violation(all: &Namespaces<usize>, text: &str) -> Option<Violation> {
        all.classify(&decode(text, 10).unwrap()).err()
    }

    #[test]
    fn packets_reach_the_socket_of_their_namespace() {
        let mut all = joined(&["/", "/chat"]);
        let packet = decode("2/chat,7[\"hi\",1]", 10).unwrap();
        let Ok(Action::Event {
            slot,
            name,
            args,
            ack_id,
        }) = all.classify(&packet)
        else {
            panic!("no event")
        };
        assert_eq!(
            (*all.socket(slot), name.as_ref(), args.as_str(), ack_id),
            (1, "hi", "1", Some(7))
        );
    }

    #[test]
    fn what_has_no_place_ends_the_session() {
        let all = joined(&["/"]);
        assert_eq!(
            violation(&all, "2/chat,[\"hi\"]"),
            Some(Violation::NotJoined)
        );
        assert_eq!(violation(&all, "1/chat,"), Some(Violation::NotJoined));
        assert_eq!(violation(&all, "0"), Some(Violation::JoinedTwice));
        assert_eq!(
            violation(&all, "4{\"message\":\"x\"}"),
            Some(Violation::ServerPacket)
        );
        assert_eq!(violation(&all, "0/chat,"), None);
        let many: Vec<String> = (0..MAX_NAMESPACES).map(|n| format!("/n{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(
            violation(&joined(&many), "0/one-more,"),
            Some(Violation::TooMany)
        );
    }

    #[test]
    fn leaving_one_namespace_leaves_the_other() {
        let mut all = joined(&["/", "/chat"]);
        let Ok(Action::Disconnect { slot }) = all.classify(&decode("1", 10).unwrap()) else {
            panic!("no disconnect")
        };
        assert_eq!(all.leave(slot), 0);
        assert!(violation(&all, "2[\"hi\"]").is_some());
        assert!(violation(&all, "2/chat,[\"hi\"]").is_none());
        assert!(all.ever_joined());
    }
}
