//! STOMP's vectors: what clients write, in each version.

use confab_gateway_protocol::stomp::{Command, DecodeError, Decoder, Frame, Item, Limits, Version};

pub(crate) const LIMITS: Limits = Limits {
    max_frame: 1024,
    max_headers: 8,
    max_header: 64,
};

pub(crate) const VERSIONS: [Version; 3] = [Version::V1_0, Version::V1_1, Version::V1_2];

/// Everything in a stream, and the error that ends it, if one does.
pub(crate) fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    version: Version,
    limits: Limits,
) -> (Vec<Item>, Option<DecodeError>) {
    let mut decoder = Decoder::new(limits);
    decoder.set_version(version);
    let mut items = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => {
                    decoder.push(b"\n");
                    assert_eq!((decoder.next(), decoder.kept()), (Ok(None), 0));
                    return (items, Some(error));
                }
            }
        }
        // A first line, which is longer than all commands, is refused for that.
        assert!(
            decoder.kept() <= limits.max_frame.max(17),
            "more kept than a frame has"
        );
    }
    (items, None)
}

pub(crate) fn frame(command: Command, headers: &[(&str, &str)], body: &[u8]) -> Frame {
    let headers = headers.iter().copied().collect();
    Frame::new(command, headers, body.to_vec().into())
}

fn frames(stream: &str, version: Version) -> Vec<Frame> {
    let (items, error) = decode([stream.as_bytes()], version, LIMITS);
    assert_eq!(error, None, "{stream:?}");
    let frames = items.into_iter().filter_map(|item| match item {
        Item::Frame(frame) => Some(frame),
        Item::HeartBeat => None,
    });
    frames.collect()
}

pub(crate) fn refused(stream: impl AsRef<[u8]>, version: Version) -> DecodeError {
    let stream = stream.as_ref();
    let (items, error) = decode([stream], version, LIMITS);
    assert_eq!(items, [], "{}", stream.escape_ascii());
    error.unwrap_or_else(|| panic!("{} was taken", stream.escape_ascii()))
}

/// What is written, the command, the headers, the body.
type Vector = (
    &'static str,
    Command,
    &'static [(&'static str, &'static str)],
    &'static str,
);

/// The specifications' examples.
static SPECIFIED: [Vector; 12] = [
    (
        "CONNECT\naccept-version:1.0,1.1,2.0\nhost:stomp.github.org\n\n\0",
        Command::Connect,
        &[
            ("accept-version", "1.0,1.1,2.0"),
            ("host", "stomp.github.org"),
        ],
        "",
    ),
    (
        "STOMP\naccept-version:1.1\nhost:stomp.github.org\n\n\0",
        Command::Stomp,
        &[("accept-version", "1.1"), ("host", "stomp.github.org")],
        "",
    ),
    (
        "SEND\ndestination:/queue/a\ncontent-type:text/plain\n\nhello queue a\n\0",
        Command::Send,
        &[("destination", "/queue/a"), ("content-type", "text/plain")],
        "hello queue a\n",
    ),
    (
        "SUBSCRIBE\nid:0\ndestination:/queue/foo\nack:client\n\n\0",
        Command::Subscribe,
        &[
            ("id", "0"),
            ("destination", "/queue/foo"),
            ("ack", "client"),
        ],
        "",
    ),
    (
        "UNSUBSCRIBE\nid:0\n\n\0",
        Command::Unsubscribe,
        &[("id", "0")],
        "",
    ),
    (
        "ACK\nid:12345\ntransaction:tx1\n\n\0",
        Command::Ack,
        &[("id", "12345"), ("transaction", "tx1")],
        "",
    ),
    (
        "ACK\nsubscription:0\nmessage-id:007\ntransaction:tx1\n\n\0",
        Command::Ack,
        &[
            ("subscription", "0"),
            ("message-id", "007"),
            ("transaction", "tx1"),
        ],
        "",
    ),
    (
        "NACK\nid:12345\n\n\0",
        Command::Nack,
        &[("id", "12345")],
        "",
    ),
    (
        "BEGIN\ntransaction:tx1\n\n\0",
        Command::Begin,
        &[("transaction", "tx1")],
        "",
    ),
    (
        "COMMIT\ntransaction:tx1\n\n\0",
        Command::Commit,
        &[("transaction", "tx1")],
        "",
    ),
    (
        "ABORT\ntransaction:tx1\n\n\0",
        Command::Abort,
        &[("transaction", "tx1")],
        "",
    ),
    (
        "DISCONNECT\nreceipt:77\n\n\0",
        Command::Disconnect,
        &[("receipt", "77")],
        "",
    ),
];

#[test]
fn frames_as_the_specifications_show_them() {
    for (text, command, headers, body) in SPECIFIED {
        let expected = [frame(command, headers, body.as_bytes())];
        // Line ends of 1.2, which clients write in every version.
        let (head, rest) = text.split_once("\n\n").unwrap();
        let with_cr = format!("{}\r\n\r\n{rest}", head.replace('\n', "\r\n"));
        for version in VERSIONS {
            for text in [text, &with_cr] {
                assert_eq!(frames(text, version), expected, "{text:?} in {version}");
            }
        }
    }
    // One after the other they are a stream, with and without ends of lines between them.
    let all = SPECIFIED.map(|(_, command, headers, body)| frame(command, headers, body.as_bytes()));
    for between in ["", "\n", "\r\n", "\n\n\r\n"] {
        let stream: String = SPECIFIED
            .iter()
            .flat_map(|(text, ..)| [*text, between])
            .collect();
        assert_eq!(frames(&stream, Version::V1_2), all);
    }
}

#[test]
fn the_version_decides_from_the_next_frame_on() {
    let mut decoder = Decoder::new(LIMITS);
    decoder.push(
        b"CONNECT\naccept-version:1.2\nlogin: a\\nb\n\n\0SEND\ndestination: /a\\cb\n\n\0SEND\nx:",
    );
    let Ok(Some(Item::Frame(connect))) = decoder.next() else {
        panic!("no frame")
    };
    assert_eq!(
        connect.header("login"),
        Some(" a\\nb"),
        "neither trimmed nor unescaped"
    );
    decoder.set_version(Version::V1_2);
    let Ok(Some(Item::Frame(send))) = decoder.next() else {
        panic!("no frame")
    };
    assert_eq!(send.header("destination"), Some(" /a:b"));
    assert_eq!(decoder.next(), Ok(None));
    decoder.set_version(Version::V1_0);
    decoder.push(b" \\n\n\n\0SEND\nx: \\n\n\n\0");
    for expected in [" \n", "\\n"] {
        let Ok(Some(Item::Frame(send))) = decoder.next() else {
            panic!("no frame")
        };
        assert_eq!(send.header("x"), Some(expected));
    }
}

#[test]
fn spaces_are_taken_away_in_1_0_alone() {
    let connect = "CONNECT\nlogin: <username>\npasscode:<passcode>\n\n\0";
    let read = &frames(connect, Version::V1_0)[0];
    assert_eq!(read.header("login"), Some("<username>"));
    assert_eq!(read.header("passcode"), Some("<passcode>"));
    assert_eq!(
        frames("SEND\n destination:\t/a b \n\n\0", Version::V1_0),
        [frame(Command::Send, &[(" destination", "/a b")], b"")]
    );
    for version in [Version::V1_1, Version::V1_2] {
        assert_eq!(
            frames("SEND\n destination :\t/a \n\n\0", version),
            [frame(Command::Send, &[(" destination ", "\t/a ")], b"")]
        );
        // CONNECT tells by itself which version's client wrote it.
        assert_eq!(frames(connect, version)[0], *read);
    }
    assert_eq!(
        frames("SEND\na: \t \nb:\n\n\0", Version::V1_0),
        [frame(Command::Send, &[("a", ""), ("b", "")], b"")]
    );
}

#[test]
fn escapes_are_those_of_the_version() {
    let value = |escaped: &str, version| {
        let stream = format!("SEND\nna\\\\me:{escaped}\n\n\0");
        match decode([stream.as_bytes()], version, LIMITS) {
            (items, None) => match &items[..] {
                [Item::Frame(frame)] => {
                    let name = if version == Version::V1_0 {
                        "na\\\\me"
                    } else {
                        "na\\me"
                    };
                    Ok(frame.header(name).unwrap().to_owned())
                }
                other => panic!("{other:?}"),
            },
            (_, Some(error)) => Err(error),
        }
    };
    let all = r"\n\c\\\\n:é";
    assert_eq!(value(all, Version::V1_0).as_deref(), Ok(all));
    assert_eq!(value(all, Version::V1_1).as_deref(), Ok("\n:\\\\n:é"));
    assert_eq!(value(all, Version::V1_2).as_deref(), Ok("\n:\\\\n:é"));
    assert_eq!(value(r"\r", Version::V1_2).as_deref(), Ok("\r"));
    let undefined = |character| Err(DecodeError::UndefinedEscape(character));
    assert_eq!(value(r"\r", Version::V1_1), undefined('r'));
    for version in [Version::V1_1, Version::V1_2] {
        assert_eq!(value(r"\t", version), undefined('t'));
        assert_eq!(value(r"\N", version), undefined('N'));
        assert_eq!(value(r"\é", version), undefined('é'));
        assert_eq!(value(r"x\", version), Err(DecodeError::UnfinishedEscape));
    }
    assert_eq!(
        DecodeError::UndefinedEscape('t').to_string(),
        r#"undefined escape "\t" in a header"#
    );
}

#[test]
fn carriage_returns_end_lines_only_before_their_end() {
    let lone = "SEND\na:b\rc\n\n\0";
    assert_eq!(
        frames(lone, Version::V1_1),
        [frame(Command::Send, &[("a", "b\rc")], b"")]
    );
    assert_eq!(
        refused(lone, Version::V1_2),
        DecodeError::StrayCarriageReturn
    );
    assert_eq!(
        refused("SEND\na:b\r\r\n\n\0", Version::V1_2),
        DecodeError::StrayCarriageReturn
    );
    assert_eq!(
        refused("\rSEND\n\n\0", Version::V1_2),
        DecodeError::UnknownCommand("\rSEND".to_owned())
    );
}

#[test]
fn the_first_of_repeated_headers_counts() {
    let read = &frames("SEND\nfoo:World\nfoo:Hello\n\n\0", Version::V1_2)[0];
    assert_eq!(read.header("foo"), Some("World"));
    assert_eq!(
        read.headers().iter().collect::<Vec<_>>(),
        [("foo", "World"), ("foo", "Hello")]
    );
    assert_eq!((read.headers().len(), read.header("Foo")), (2, None));
    let lengths = "SEND\ncontent-length:1\ncontent-length:x\n\na\0";
    assert_eq!(frames(lengths, Version::V1_2)[0].body, &b"a"[..]);
}

#[test]
fn bodies_end_where_they_are_said_to() {
    let body = |stream: &str| frames(stream, Version::V1_2)[0].body.clone();
    assert_eq!(body("SEND\n\n\0"), &b""[..]);
    assert_eq!(body("SEND\n\n\r\n\0"), &b"\r\n"[..]);
    assert_eq!(body("SEND\ncontent-length:5\n\na\0b\0c\0"), &b"a\0b\0c"[..]);
    assert_eq!(body("SEND\ncontent-length:002\n\né\0"), "é".as_bytes());
    let (items, error) = decode([&b"SEND\n\n\xff\xfe\0"[..]], Version::V1_2, LIMITS);
    assert_eq!(error, None);
    assert_eq!(
        items,
        [Item::Frame(frame(Command::Send, &[], b"\xff\xfe"))],
        "a body need not be text"
    );
    for (stream, error) in [
        ("SEND\ncontent-length:1\n\nab\0", DecodeError::MissingNul),
        ("SEND\ncontent-length:0\n\na\0", DecodeError::MissingNul),
        (
            "SEND\ncontent-length:\n\n\0",
            DecodeError::MalformedContentLength,
        ),
        (
            "SEND\ncontent-length:-1\n\n\0",
            DecodeError::MalformedContentLength,
        ),
        (
            "SEND\ncontent-length:+1\n\na\0",
            DecodeError::MalformedContentLength,
        ),
        (
            "SEND\ncontent-length: 1\n\na\0",
            DecodeError::MalformedContentLength,
        ),
    ] {
        assert_eq!(refused(stream, Version::V1_2), error, "{stream:?}");
    }
}

#[test]
fn only_send_has_a_body() {
    for command in Command::ALL {
        let counted = format!("{command}\naccept-version:1.2\ncontent-length:1\n\na\0");
        let until_nul = format!("{command}\naccept-version:1.2\n\na\0");
        let none = format!("{command}\naccept-version:1.2\ncontent-length:0\n\n\0");
        for version in [Version::V1_1, Version::V1_2] {
            assert_eq!(frames(&none, version)[0].body, &b""[..]);
            for stream in [&counted, &until_nul] {
                if command == Command::Send {
                    assert_eq!(frames(stream, version)[0].body, &b"a"[..]);
                } else {
                    assert_eq!(
                        refused(stream, version),
                        DecodeError::UnexpectedBody(command)
                    );
                }
            }
        }
        // 1.0 says nothing of the kind.
        let old = format!("{command}\n\na\0");
        assert_eq!(frames(&old, Version::V1_0)[0].body, &b"a"[..]);
    }
    assert_eq!(
        DecodeError::UnexpectedBody(Command::Subscribe).to_string(),
        "a SUBSCRIBE frame has no body"
    );
}

#[test]
fn ends_of_lines_between_frames_are_heart_beats() {
    let (items, error) = decode(
        [&b"\n\r"[..], b"\n", b"SEND\n\n\0\n", b"\r"],
        Version::V1_2,
        LIMITS,
    );
    assert_eq!(error, None);
    let send = Item::Frame(frame(Command::Send, &[], b""));
    assert_eq!(
        items,
        [Item::HeartBeat, Item::HeartBeat, send, Item::HeartBeat]
    );
}
