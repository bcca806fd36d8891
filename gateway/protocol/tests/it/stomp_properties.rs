//! STOMP's properties.

use bytes::BytesMut;
use confab_gateway_protocol::stomp::{Command, Frame, Item, Limits, ServerCommand, Version};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::stomp_read::{VERSIONS, decode, frame};
use crate::stomp_write::written;
use crate::strategies::regex;

const NO_LIMITS: Limits = Limits {
    max_frame: usize::MAX,
    max_headers: usize::MAX,
    max_header: usize::MAX,
};

fn version() -> impl Strategy<Value = Version> {
    proptest::sample::select(VERSIONS.to_vec())
}

/// Escapes the long way round: the rules of the specifications one after the other.
fn escaped(text: &str, version: Version) -> String {
    let escaped = match version {
        Version::V1_0 => return text.to_owned(),
        Version::V1_1 => text.replace('\\', "\\\\"),
        Version::V1_2 => text.replace('\\', "\\\\").replace('\r', "\\r"),
    };
    escaped.replace('\n', "\\n").replace(':', "\\c")
}

fn unescaped(text: &str, version: Version) -> String {
    if version == Version::V1_0 {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(character) = chars.next() {
        out.push(match character {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('c') => ':',
                Some('\\') => '\\',
                Some('r') if version == Version::V1_2 => '\r',
                other => panic!("{other:?}"),
            },
            plain => plain,
        });
    }
    out
}

/// A header that the version can say.
fn said(text: &str, version: Version, is_name: bool) -> String {
    let text = text.replace('\0', "");
    match version {
        Version::V1_0 => {
            let unsayable = |c| matches!(c, '\r' | '\n') || (is_name && c == ':');
            let text = text.replace(unsayable, "");
            if is_name {
                text
            } else {
                text.trim_ascii().to_owned()
            }
        }
        // Before the end of a line it is taken for a part of that.
        Version::V1_1 => text.trim_end_matches('\r').to_owned(),
        Version::V1_2 => text,
    }
}

fn header_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), regex("[a-z:\\\\\r\n ]{0,6}")]
}

/// A client's frame that its version can say, and how it is written.
fn client_frame(version: Version) -> impl Strategy<Value = (Frame, Vec<u8>)> {
    let command = proptest::sample::select(Command::ALL.to_vec());
    let headers = vec((header_text(), header_text()), 0..5);
    let body = prop_oneof![Just(Vec::new()), any::<Vec<u8>>(), vec(0..3_u8, 0..5)];
    (command, headers, body, any::<bool>(), any::<bool>()).prop_map(
        move |(command, headers, body, is_counted, has_cr)| {
            // A frame that begins a session is read as 1.0 has it if it does not say which versions its client knows.
            let version = if command.begins_session() {
                Version::V1_0
            } else {
                version
            };
            let mut body = if command == Command::Send {
                body
            } else {
                Vec::new()
            };
            let mut headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| (said(name, version, true), said(value, version, false)))
                .filter(|(name, _)| !name.is_empty() && name != "content-length")
                .collect();
            if is_counted {
                headers.push(("content-length".to_owned(), body.len().to_string()));
            } else {
                body.retain(|&byte| byte != 0);
            }
            let end = if has_cr { "\r\n" } else { "\n" };
            let mut wire = format!("{command}{end}").into_bytes();
            for (name, value) in &headers {
                let (name, value) = (escaped(name, version), escaped(value, version));
                wire.extend_from_slice(format!("{name}:{value}{end}").as_bytes());
            }
            wire.extend_from_slice(end.as_bytes());
            wire.extend_from_slice(&body);
            wire.push(0);
            let headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            (frame(command, &headers, &body), wire)
        },
    )
}

fn client_stream() -> impl Strategy<Value = (Version, Vec<Item>, Vec<u8>)> {
    version().prop_flat_map(|version| {
        let item = prop_oneof![
            4 => client_frame(version).prop_map(|(frame, wire)| (Item::Frame(frame), wire)),
            1 => Just((Item::HeartBeat, b"\n".to_vec())),
            1 => Just((Item::HeartBeat, b"\r\n".to_vec())),
        ];
        vec(item, 0..5).prop_map(move |parts| {
            let (items, wires): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            (version, items, wires.concat())
        })
    })
}

/// Bytes that are often enough nearly a frame.
fn nearly_frame() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"SEND",
        b"CONNECT",
        b"SUBSCRIBE",
        b"\n",
        b"\n",
        b"\n\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"\n\n\0",
        b"destination:/topic/public",
        b"accept-version:1.2",
        b"content-length:0",
        b"content-length:3",
        b"content-length:300",
        b"a:b",
        b":",
        b"\\n",
        b"\\",
    ];
    let part = prop_oneof![
        8 => proptest::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(part, 0..16).prop_map(|parts| parts.concat())
}

/// Cuts a stream at these places.
fn cut<'a>(stream: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<_> = at.iter().map(|at| at.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2)
        .map(|ends| &stream[ends[0]..ends[1]])
        .collect()
}

/// Reads a server's frame by the letter of the specifications: command, headers, body.
fn read_server_frame(wire: &[u8], version: Version) -> (String, Vec<(String, String)>, Vec<u8>) {
    let end = wire.windows(2).position(|pair| pair == b"\n\n").unwrap();
    let head = std::str::from_utf8(&wire[..end]).unwrap();
    let (body, nul) = wire[end + 2..].split_at(wire.len() - end - 3);
    assert_eq!(nul, b"\0");
    let mut lines = head.split('\n');
    let command = lines.next().unwrap().to_owned();
    let version = match &*command {
        "CONNECTED" => Version::V1_0,
        _ => version,
    };
    let mut headers: Vec<_> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (unescaped(name, version), unescaped(value, version)))
        .collect();
    let length = headers.pop().unwrap();
    assert_eq!(
        length,
        ("content-length".to_owned(), body.len().to_string())
    );
    (command, headers, body.to_vec())
}

proptest! {
    #![proptest_config(crate::strategies::config())]

    #[test]
    fn client_frames_are_read((version, items, wire) in client_stream()) {
        prop_assert_eq!(decode([&wire[..]], version, NO_LIMITS), (items.clone(), None));
        // A stream of bytes: cut between any two of them.
        prop_assert_eq!(decode(wire.chunks(1), version, NO_LIMITS), (items, None));
    }

    #[test]
    fn it_is_no_matter_where_messages_end(
        (version, _, frames) in client_stream(), nearly in nearly_frame(),
        max_frame in 0..160_usize, max_headers in 0..4_usize, max_header in 0..40_usize,
        at in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let limits = Limits { max_frame, max_headers, max_header };
        for stream in [&frames[..], &nearly, &[&frames[..], &nearly].concat()] {
            for limits in [limits, NO_LIMITS] {
                let whole = decode([stream], version, limits);
                prop_assert_eq!(&decode(cut(stream, &at), version, limits), &whole);
                prop_assert_eq!(&decode(stream.chunks(1), version, limits), &whole);
            }
        }
    }

    #[test]
    fn limits_are_kept(
        nearly in vec(nearly_frame(), 0..4), max_frame in 0..160_usize, max_headers in 0..4_usize, max_header in 0..40_usize,
    ) {
        let limits = Limits { max_frame, max_headers, max_header };
        // `decode` itself checks what is kept between the pieces.
        let (items, _) = decode(nearly.iter().map(Vec::as_slice), Version::V1_2, limits);
        for item in items {
            let Item::Frame(frame) = item else { continue };
            let size: usize = frame.headers().iter().map(|(name, value)| name.len() + value.len() + 2).sum();
            prop_assert!(frame.command.as_str().len() + size + frame.body.len() + 3 <= max_frame);
            prop_assert!(frame.headers().len() <= max_headers);
            for (name, value) in frame.headers().iter() {
                prop_assert!(name.len() + value.len() < max_header);
            }
        }
    }

    #[test]
    fn errors_are_fit_for_a_frame(nearly in nearly_frame(), bytes: Vec<u8>, version in version()) {
        for stream in [nearly, bytes] {
            let (_, error) = decode([&stream[..]], version, NO_LIMITS);
            let message = error.map(|error| error.to_string()).unwrap_or_default();
            prop_assert!(!message.contains(['\n', '\r', '\0']), "{message:?}");
            prop_assert!(message.len() < 200, "{message:?}");
        }
    }

    #[test]
    fn server_frames_are_read_back(
        version in version(), command in 0..4_usize,
        headers in vec((regex("[a-z\\-]{1,8}"), header_text()), 0..5), body: Vec<u8>,
    ) {
        let command = [
            ServerCommand::Connected, ServerCommand::Message, ServerCommand::Receipt, ServerCommand::Error,
        ][command];
        let sent: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let wire = written(version, command, &sent, &body);
        let unescapable: &[char] = match (command, version) {
            (ServerCommand::Connected, _) | (_, Version::V1_0) => &['\0', '\r', '\n'],
            _ => &['\0'],
        };
        let expected: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.replace(unescapable, " ")))
            .collect();
        prop_assert_eq!(read_server_frame(&wire, version), (command.to_string(), expected, body));
    }

    #[test]
    fn what_a_client_said_comes_back_to_it(version in version(), id in header_text(), destination in header_text()) {
        let (id, destination) = (said(&id, version, false), said(&destination, version, false));
        let mut head = BytesMut::new();
        confab_gateway_protocol::stomp::message_head(&mut head, version, &id, &destination);
        // Read as if a client had written it, by our own decoder.
        let mut wire = head.to_vec();
        wire.splice(..b"MESSAGE".len(), *b"SUBSCRIBE");
        wire.extend_from_slice(b"\n\0");
        let headers = [("subscription", &*id), ("destination", &*destination)];
        prop_assert_eq!(
            decode([&wire[..]], version, NO_LIMITS),
            (vec![Item::Frame(frame(Command::Subscribe, &headers, b""))], None)
        );
    }
}
