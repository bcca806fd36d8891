//! What the dialects' tests share: everything that can happen and be asked for, as fixtures, and golden files to hold it against.
//!
//! A dialect's `golden/` has one file per direction; a line is a case. Where an event is added or its shape changes on purpose, run
//! the tests with `CONFAB_GOLDEN=write` and read the difference.

mod fixtures;
mod views;

pub(super) mod any;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use confab_gateway_protocol::json::Json;
use confab_gateway_protocol::socketio::{Body, decode};
use confab_shared::model::error::Rejection;
use confab_shared::model::message::MessageStatus;
use serde_json::Value;

use super::{
    Audience, Badge, ContactStatus, ContactsOnline, Dialect, Intent, Namespace, Scene, Shown,
};
pub(super) use fixtures::*;
pub(super) use views::views;

/// The offset that fixtures carry.
pub(super) const OFFSET: &str = "1735787043500000-1";

fn golden_path(dialect: &dyn Dialect, name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("src/dialect")
        .join(dialect.id())
        .join("golden")
        .join(name)
}

/// What a dialect's golden file of this name says.
pub(super) fn read_golden(dialect: &dyn Dialect, name: &str) -> String {
    std::fs::read_to_string(golden_path(dialect, name)).unwrap_or_default()
}

/// Holds what came against what is written down.
pub(super) fn golden(dialect: &dyn Dialect, name: &str, actual: &str) {
    if std::env::var_os("CONFAB_GOLDEN").is_some_and(|mode| mode == "write") {
        std::fs::write(golden_path(dialect, name), actual).unwrap();
    }
    let expected = read_golden(dialect, name);
    for (expected, actual) in expected.lines().zip(actual.lines()) {
        assert_eq!(expected, actual, "{} {name}", dialect.id());
    }
    let dialect = dialect.id();
    assert_eq!(
        expected, actual,
        "{dialect} {name}: another number of lines"
    );
}

/// The payloads of concatenated server frames.
pub(super) fn texts(mut frames: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let [_, length, ..] = frames {
        let (header, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes([frames[2], frames[3]]))),
            127 => panic!("no event here is that long"),
            short => (2, usize::from(*short)),
        };
        texts.push(String::from_utf8(frames[header..header + length].to_vec()).unwrap());
        frames = &frames[header + length..];
    }
    texts
}

fn lines(into: &mut String, label: &str, frames: &[u8]) {
    for text in texts(frames) {
        writeln!(into, "{label}: {text}").unwrap();
    }
}

/// How a dialect shows everything that can happen in these places.
pub(super) fn server_to_client(dialect: &dyn Dialect, scenes: &[(&str, Scene<'_>)]) {
    let mut actual = String::new();
    for (place, scene) in scenes {
        for (label, fact) in facts() {
            let event = happened(fact);
            let event = [Shown {
                event: &event,
                offset: Some(OFFSET),
            }];
            let others = dialect.outbound(*scene, &event, Audience::Others);
            lines(&mut actual, &format!("{place}{label}"), &others);
            let own = dialect.outbound(*scene, &event, Audience::Sender(user(1)));
            if own != others {
                lines(&mut actual, &format!("{place}{label}, to its sender"), &own);
            }
        }
    }
    golden(dialect, "outbound.txt", &actual);
}

/// How a dialect tells one client what came of its own doings.
pub(super) fn server_to_one_client(dialect: &dyn Dialect, event: &str) {
    let mut actual = String::new();
    for (label, view) in views() {
        let frames = dialect.joined(Namespace::Root, &view, Some(OFFSET));
        lines(&mut actual, label, &frames);
    }
    for (label, view) in views() {
        let badge = Badge {
            conversation: view.id,
            unread: view.unread_count,
            last: view.last_message.as_ref(),
            status: MessageStatus::Delivered,
            at: at(6),
        };
        lines(
            &mut actual,
            &format!("unread, {label}"),
            &dialect.unread(Namespace::Root, badge),
        );
    }
    for (label, ack, confirmation) in Confirmed::new().all() {
        let frames = dialect.confirmed(Namespace::Root, ack, confirmation);
        lines(&mut actual, label, &frames);
    }
    let (online, absent) = ([user(2), user(3)], [(user(4), at(0))]);
    for (label, online, absent) in [
        ("contacts", &online[..], &[][..]),
        ("contacts after a loss", &online[..1], &absent[..]),
        ("contacts, nobody there", &[], &[]),
    ] {
        let contacts = ContactsOnline {
            online,
            absent,
            at: at(4),
        };
        lines(
            &mut actual,
            label,
            &dialect.contacts(Namespace::Chat, contacts),
        );
    }
    for (label, is_online) in [("came online", true), ("went offline", false)] {
        let status = ContactStatus {
            user: user(2),
            is_online,
            at: at(5),
        };
        lines(
            &mut actual,
            label,
            &dialect.contact(Namespace::Chat, status),
        );
    }
    let acked = dialect.rejected(Namespace::Chat, Some(6), event, &refusal());
    lines(&mut actual, "rejected", &acked);
    let unasked = dialect.rejected(Namespace::Chat, None, event, &refusal());
    lines(&mut actual, "rejected, no ack", &unasked);
    let limited = Rejection::rate_limited(Duration::from_secs(10));
    let limited = dialect.rejected(Namespace::Root, Some(7), event, &limited);
    lines(&mut actual, "rejected, too often", &limited);
    golden(dialect, "confirmations.txt", &actual);
}

/// What a dialect makes of what clients send: the cases are a file of their own.
pub(super) fn client_to_server(dialect: &dyn Dialect) {
    let mut actual = String::new();
    let cases = read_golden(dialect, "inbound-cases.txt");
    for case in cases.lines().filter(|line| !line.is_empty()) {
        let packet = decode(case, 10).unwrap();
        let Body::Event(event) = packet.body else {
            panic!("no event: {case}")
        };
        let result = match dialect.inbound(&event.name, event.args) {
            Ok(intent) => format!("{intent:?}"),
            Err(rejection) => rejection.to_string(),
        };
        writeln!(actual, "{case}\n    {result}").unwrap();
    }
    golden(dialect, "inbound.txt", &actual);
}

/// What a dialect makes of an event with these arguments.
pub(super) fn intent(
    dialect: &dyn Dialect,
    event: &str,
    args: &[Value],
) -> Result<Intent, Rejection> {
    let text = Value::from(args).to_string();
    let args = Json::check(&text).unwrap().elements().unwrap();
    dialect.inbound(event, args)
}
