//! SockJS' properties.

use bytes::BytesMut;
use confab_gateway_protocol::sockjs::{
    Merger, MessagesError, Route, close, event, frame_messages, message, messages,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::sockjs::written;
use crate::strategies::{json_array, json_string, json_text, nearly_packet, regex};

/// What a client hears in a frame of messages.
fn heard(frame: &[u8]) -> Vec<String> {
    let json = frame.strip_prefix(b"a").unwrap();
    serde_json::from_slice(json).unwrap()
}

/// Characters on both sides of every boundary.
fn special_text() -> impl Strategy<Value = String> {
    regex(
        "[a%25\"\\\\\x00-\x20\x7f\u{200b}-\u{2010}\u{2027}-\u{2030}\u{205f}-\u{2070}\u{ffef}-\u{10000}]{0,12}",
    )
}

proptest! {
    #![proptest_config(crate::strategies::config())]

    #[test]
    fn messages_are_heard(text in prop_oneof![any::<String>(), special_text()]) {
        let frame = written(|out| message(out, text.as_bytes()));
        prop_assert_eq!(heard(frame.as_bytes()), [text.clone()]);
        let killers = |c: char| matches!(
            c, '\0'..='\x1f' | '\u{200c}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{206f}'
                | '\u{fff0}'..='\u{ffff}'
        );
        prop_assert!(!frame.contains(killers), "{frame}");
        // Our own reader of what clients send takes it as well.
        let read: Vec<_> = messages(&frame.as_bytes()[1..]).unwrap().collect();
        prop_assert_eq!(read, [text.as_str()]);
        // An event's data has one line, and sockjs-client decodes the percent signs in it.
        let event = written(|out| event(out, frame.as_bytes()));
        let data = event.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\r\n\r\n")).unwrap();
        prop_assert_eq!(data.matches('%').count(), data.matches("%25").count());
        prop_assert_eq!(data.replace("%25", "%"), frame);
        let frame = written(|out| close(out, 3000, &text));
        let closed: (u16, String) = serde_json::from_str(&frame[1..]).unwrap();
        prop_assert_eq!(closed, (3000, text));
    }

    #[test]
    fn what_is_no_text_is_replaced(bytes in vec(prop_oneof![any::<u8>(), 0xe0..=0xff_u8, 0x80..=0xbf_u8], 0..24)) {
        let frame = written(|out| message(out, &bytes));
        prop_assert_eq!(heard(frame.as_bytes()), [String::from_utf8_lossy(&bytes)]);
    }

    #[test]
    fn merging_loses_nothing(batches in vec(vec(any::<String>(), 0..3), 0..6), max_bytes in 0..64_usize) {
        let mut merger = Merger::new(max_bytes);
        let mut expected = Vec::new();
        for batch in batches.iter().filter(|batch| !batch.is_empty()) {
            let mut frames = Merger::new(usize::MAX);
            for text in batch {
                let mut frame = BytesMut::new();
                message(&mut frame, text.as_bytes());
                frames.push(&frame).unwrap();
            }
            if merger.push(&frames.finish().unwrap()).is_ok() {
                expected.push(batch.clone());
            }
        }
        let Some(merged) = merger.finish() else {
            prop_assert!(expected.is_empty());
            return Ok(());
        };
        prop_assert_eq!(heard(&merged), expected.concat());
        prop_assert!(merged.len() <= max_bytes || expected.len() == 1);
    }

    #[test]
    fn clients_are_understood_as_serde_does(
        array in prop_oneof![
            json_array(),
            vec(json_string(), 0..4).prop_map(|strings| format!("[{}]", strings.join(" , "))),
        ],
        text in json_text(),
    ) {
        for payload in [&array, &text] {
            let read = messages(payload.as_bytes()).map(Iterator::collect::<Vec<_>>);
            let by_serde = serde_json::from_str::<Vec<String>>(payload);
            match (read, by_serde) {
                (Ok(read), Ok(by_serde)) => prop_assert_eq!(read, by_serde),
                // serde refuses halves of surrogate pairs.
                (Ok(read), Err(_)) => {
                    let has_half = read.iter().any(|text| text.contains(char::REPLACEMENT_CHARACTER));
                    prop_assert!(has_half, "{payload} is taken");
                }
                (Err(_), by_serde) => prop_assert!(by_serde.is_err(), "{payload} is refused"),
            }
            if let Ok(one) = serde_json::from_str::<String>(payload) {
                prop_assert_eq!(frame_messages(payload.as_bytes()).unwrap().collect::<Vec<_>>(), [one]);
            }
        }
    }

    #[test]
    fn clients_may_send_anything(bytes: Vec<u8>, text in nearly_packet()) {
        for payload in [&bytes[..], text.as_bytes()] {
            let sent = [messages(payload), frame_messages(payload)];
            for read in sent {
                match read {
                    Ok(all) => {
                        let all: Vec<_> = all.collect();
                        prop_assert!(all.iter().map(|text| text.len() + 2).sum::<usize>() <= payload.len());
                    }
                    Err(error) => prop_assert_eq!(payload.is_empty(), error == MessagesError::Empty),
                }
            }
        }
    }

    #[test]
    fn sessions_have_names(path in regex("(/[a.]{0,2}){0,3}(/xhr|/websocket|/iframe.html|)/?"), any: String) {
        for path in [&path, &any] {
            if let Some(Route::Session { server, session, transport }) = Route::parse(path) {
                prop_assert!(!server.is_empty() && !session.is_empty());
                prop_assert!(!server.contains(['.', '/']) && !session.contains(['.', '/']));
                let rebuilt = format!("/{server}/{session}/{}", transport.as_str());
                prop_assert_eq!(path.strip_suffix('/').unwrap_or(path), rebuilt);
            }
        }
    }
}
