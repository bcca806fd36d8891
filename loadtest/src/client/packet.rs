//! Engine.IO v4 and Socket.IO v5 packets, told apart without parsing their JSON.

/// A packet from the server, in place.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The namespace accepted us; its JSON carries the socket's id.
    Connected(&'a [u8]),
    /// The namespace refused us, and says why in JSON.
    Refused(&'a [u8]),
    /// The server ended our socket, not the session.
    Disconnected,
    /// Something happened.
    Event {
        /// The event's name.
        name: &'a [u8],
        /// The rest of the JSON array, after the name.
        body: &'a [u8],
    },
    /// An answer to what we asked with this id.
    Ack {
        /// The id that we gave.
        id: u32,
        /// The JSON array.
        body: &'a [u8],
    },
    /// The Engine.IO handshake, or nothing of interest.
    Other,
}

/// Reads one text message of the Engine.IO layer. Its pings and its close are dealt with below.
pub(super) fn parse<'a>(message: &'a [u8], namespace: &str) -> Result<Packet<'a>, &'static str> {
    let (kind, rest) = match message {
        [b'0' | b'6', ..] => return Ok(Packet::Other),
        [b'4', kind, rest @ ..] => (*kind, rest),
        _ => return Err("an unknown Engine.IO packet"),
    };
    let rest = match rest.strip_prefix(namespace.as_bytes()) {
        Some(rest) => rest.strip_prefix(b",").unwrap_or(rest),
        None => return Err("a packet of another namespace"),
    };
    match kind {
        b'0' => Ok(Packet::Connected(rest)),
        b'1' => Ok(Packet::Disconnected),
        b'2' => event(rest).ok_or("an event without a name"),
        b'3' => ack(rest).ok_or("an acknowledgement without an id"),
        b'4' => Ok(Packet::Refused(rest)),
        _ => Err("an unexpected Socket.IO packet"),
    }
}

fn event(rest: &[u8]) -> Option<Packet<'_>> {
    let rest = rest.strip_prefix(b"[\"")?;
    let end = memchr::memchr(b'"', rest)?;
    Some(Packet::Event {
        name: &rest[..end],
        body: &rest[end + 1..],
    })
}

fn ack(rest: &[u8]) -> Option<Packet<'_>> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let id = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    Some(Packet::Ack {
        id,
        body: &rest[digits..],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_apart() {
        let read = |text: &'static str| parse(text.as_bytes(), "/chat").unwrap();
        assert_eq!(
            read("40/chat,{\"sid\":\"x\"}"),
            Packet::Connected(b"{\"sid\":\"x\"}")
        );
        assert_eq!(
            read("44/chat,{\"message\":\"no\"}"),
            Packet::Refused(b"{\"message\":\"no\"}")
        );
        assert_eq!(read("41/chat,"), Packet::Disconnected);
        assert_eq!(read("41/chat"), Packet::Disconnected);
        assert_eq!(
            read("42/chat,[\"newMessage\",{}]"),
            Packet::Event {
                name: b"newMessage",
                body: b",{}]"
            }
        );
        assert_eq!(
            read("43/chat,17[{}]"),
            Packet::Ack {
                id: 17,
                body: b"[{}]"
            }
        );
        assert_eq!(read("0{\"sid\":\"x\"}"), Packet::Other);
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        for bad in [
            "",
            "9",
            "42[\"a\"]",
            "42/other,[\"a\"]",
            "43/chat,[]",
            "42/chat,{}",
            "45/chat,1-[]",
        ] {
            assert!(parse(bad.as_bytes(), "/chat").is_err(), "{bad}");
        }
    }
}
