//! SockJS' vectors: frames, what clients send, addresses and documents.

use bytes::{Bytes, BytesMut};
use confab_gateway_protocol::sockjs::{
    EVENT_PRELUDE, GREETING, HEART_BEAT, Merger, MessagesError, NotMerged, OPEN, Route, Transport,
    close, event, frame_messages, iframe, info, line, message, messages, streaming_prelude,
};

pub(crate) fn written(write: impl FnOnce(&mut BytesMut)) -> String {
    let mut out = BytesMut::new();
    write(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn frames_as_the_protocol_shows_them() {
    assert_eq!((OPEN, HEART_BEAT), (&b"o"[..], &b"h"[..]));
    assert_eq!(
        written(|out| close(out, 3000, "Go away!")),
        r#"c[3000,"Go away!"]"#
    );
    assert_eq!(
        written(|out| close(out, 2010, "Another connection still open")),
        r#"c[2010,"Another connection still open"]"#
    );
    for (piece, frame) in [
        ("message", r#"a["message"]"#),
        ("", r#"a[""]"#),
        (
            "CONNECTED\nversion:1.2\n\n\0",
            r#"a["CONNECTED\nversion:1.2\n\n\u0000"]"#,
        ),
        ("\t\r\x08\x1f\"\\/", r#"a["\t\r\u0008\u001f\"\\/"]"#),
        ("é∈😀", r#"a["é∈😀"]"#),
    ] {
        assert_eq!(written(|out| message(out, piece.as_bytes())), frame);
    }
}

/// The characters that the protocol's tests call killers, each range with its neighbours.
#[test]
fn what_browsers_lose_is_escaped() {
    let ranges = [
        ('\u{200c}', '\u{200f}'),
        ('\u{2028}', '\u{202f}'),
        ('\u{2060}', '\u{206f}'),
        ('\u{fff0}', '\u{ffff}'),
        ('\0', '\u{1f}'),
    ];
    for character in '\0'..=char::MAX {
        let is_killer = ranges
            .iter()
            .any(|&(first, last)| (first..=last).contains(&character));
        let quoted = written(|out| message(out, character.encode_utf8(&mut [0; 4]).as_bytes()));
        let is_escaped = quoted.contains('\\');
        assert_eq!(
            is_escaped,
            is_killer || matches!(character, '"' | '\\'),
            "{character:?}: {quoted}"
        );
    }
    assert_eq!(
        written(|out| message(out, "a\u{2028}\u{fffd}b".as_bytes())),
        r#"a["a\u2028\ufffdb"]"#
    );
    assert_eq!(
        written(|out| message(out, b"a\xff\xe2\x80b")),
        r#"a["a\ufffd\ufffdb"]"#
    );
}

#[test]
fn responses_have_frames_in_their_own_dress() {
    assert_eq!(written(|out| line(out, b"a[\"x\"]")), "a[\"x\"]\n");
    assert_eq!(written(|out| event(out, OPEN)), "data: o\r\n\r\n");
    let percents = written(|out| event(out, br#"a["100% %41"]"#));
    assert_eq!(percents, "data: a[\"100%25 %2541\"]\r\n\r\n");
    assert_eq!(EVENT_PRELUDE, b"\r\n");
    let prelude = written(streaming_prelude);
    assert_eq!(prelude, format!("{}\n", "h".repeat(2048)));
}

#[test]
fn frames_of_messages_are_merged() {
    let mut merger = Merger::new(20);
    assert!(merger.is_empty());
    assert_eq!(merger.push(OPEN), Err(NotMerged::NoMessages));
    assert_eq!(merger.push(br#"c[3000,"x"]"#), Err(NotMerged::NoMessages));
    assert_eq!(merger.push(br#"a["1]"]"#), Ok(()));
    assert_eq!(merger.push(br#"a["23","4"]"#), Ok(()));
    assert_eq!(merger.push(br#"a["56"]"#), Err(NotMerged::Full));
    assert_eq!(merger.push(br#"a[""]"#), Ok(()));
    assert_eq!(merger.push(br#"a[""]"#), Err(NotMerged::Full));
    assert_eq!(
        merger.finish(),
        Some(Bytes::from_static(br#"a["1]","23","4",""]"#))
    );
    assert_eq!(Merger::new(20).finish(), None);
    let mut small = Merger::new(0);
    assert_eq!(small.push(br#"a["however large"]"#), Ok(()));
    assert_eq!(
        small.finish(),
        Some(Bytes::from_static(br#"a["however large"]"#))
    );
}

#[test]
fn clients_send_arrays_of_strings() {
    let posted = |payload: &str| {
        messages(payload.as_bytes()).map(|all| all.map(String::from).collect::<Vec<_>>())
    };
    let framed = |payload: &str| {
        frame_messages(payload.as_bytes()).map(|all| all.map(String::from).collect::<Vec<_>>())
    };
    for (payload, said) in [
        (r#"["x"]"#, &["x"][..]),
        (r#" [ "a" , "b,]" ] "#, &["a", "b,]"]),
        ("[]", &[]),
        (r#"["SEND\n\nhi\u0000","\n"]"#, &["SEND\n\nhi\0", "\n"]),
        (
            r#"["\"\\\/\b\f\r\t\u00E9\ud83d\ude00é"]"#,
            &["\"\\/\u{8}\u{c}\r\té😀é"],
        ),
        // Halves of pairs, as JavaScript's strings may have them.
        (
            r#"["\ud83d","\ude00x","\ud83d\ud83d\ude00","\ud83d\u0041","\ud83dA"]"#,
            &[
                "\u{fffd}",
                "\u{fffd}x",
                "\u{fffd}😀",
                "\u{fffd}A",
                "\u{fffd}A",
            ],
        ),
    ] {
        assert_eq!(posted(payload).unwrap(), said, "{payload}");
        assert_eq!(framed(payload).unwrap(), said, "{payload}");
    }
    assert_eq!(
        framed(r#" "one, \n" "#).as_deref(),
        Ok(&["one, \n".to_owned()][..])
    );
    assert_eq!(posted(r#""one""#), Err(MessagesError::Broken));
    for broken in [
        r#"["x"#,
        "[x]",
        r#"["x",1]"#,
        "[null]",
        r#"[["x"]]"#,
        "{}",
        "1",
        " ",
        "[\"\n\"]",
        r#"["\x"]"#,
        r#"["\u12"]"#,
    ] {
        assert_eq!(posted(broken), Err(MessagesError::Broken), "{broken}");
        assert_eq!(framed(broken), Err(MessagesError::Broken), "{broken}");
    }
    assert!(matches!(
        messages(b"[\"\xff\"]"),
        Err(MessagesError::Broken)
    ));
    assert_eq!(posted(""), Err(MessagesError::Empty));
    assert_eq!(framed(""), Err(MessagesError::Empty));
    assert_eq!(MessagesError::Empty.to_string(), "Payload expected.");
    assert_eq!(MessagesError::Broken.to_string(), "Broken JSON encoding.");
}

#[test]
fn addresses_below_an_endpoint() {
    for transport in Transport::ALL {
        for end in ["", "/"] {
            let path = format!("/000/abc_d-1/{}{end}", transport.as_str());
            let route = Route::Session {
                server: "000",
                session: "abc_d-1",
                transport,
            };
            assert_eq!(Route::parse(&path), Some(route));
        }
    }
    for (path, route) in [
        ("", Route::Greeting),
        ("/", Route::Greeting),
        ("/info", Route::Info),
        ("/info/", Route::Info),
        ("/websocket", Route::RawWebSocket),
        ("/iframe.html", Route::Iframe),
        ("/iframe-a.html", Route::Iframe),
        ("/iframe0.1.2-dirty.2144.html", Route::Iframe),
    ] {
        assert_eq!(Route::parse(path), Some(route), "{path}");
    }
    let long = format!("/000/{}/xhr", "x".repeat(129));
    for path in [
        // The protocol's own.
        "//",
        "///",
        "/a",
        "/a.html",
        "/iframe",
        "/iframe.htm",
        "/iframe.HTML",
        "/IFRAME.HTML",
        "/IFRAME",
        "/iframe.xml",
        "/iframe-/.html",
        "//xhr",
        "/a./a/xhr",
        "/a/a./xhr",
        "/./././xhr",
        "/./a/xhr",
        "/a/b/xhr//",
        "//a/xhr",
        "/a//xhr",
        "///xhr",
        "/abc/xhr",
        "/a/b/c/xhr",
        // Others.
        "info",
        "/a/b/",
        "/a/b",
        "/a/b/jsonp",
        "/a/b/htmlfile",
        "/a/b/XHR",
        "/a/b/xhr_",
        "/websocket//",
        &long,
    ] {
        assert_eq!(Route::parse(path), None, "{path}");
    }
}

#[test]
fn documents_of_an_endpoint() {
    assert_eq!(GREETING, "Welcome to SockJS!\n");
    assert_eq!(
        info(true, None, 4_294_967_295),
        r#"{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":4294967295}"#
    );
    assert_eq!(
        info(false, Some("https://chat.example/\"ws"), 0),
        r#"{"websocket":false,"origins":["*:*"],"cookie_needed":false,"entropy":0,"base_url":"https://chat.example/\"ws"}"#
    );
    let page = iframe("https://cdn.example/sockjs.js?a&b\"><script>");
    let page = std::str::from_utf8(&page).unwrap();
    assert!(page.contains(
        "<script src=\"https://cdn.example/sockjs.js?a&amp;b&quot;&gt;&lt;script&gt;\"></script>"
    ));
    assert!(page.contains("_sockjs_onload = function(){SockJS.bootstrap_iframe();};"));
    assert!(page.starts_with("<!DOCTYPE html>\n") && page.ends_with("</html>"));
}
