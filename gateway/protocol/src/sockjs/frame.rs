//! The frames a server writes.
//!
//! Owns the letters and the escapes: some browsers' transports lose or change certain characters, so these travel as `\u`.

use std::str;

use bytes::{BufMut, BytesMut};

use crate::json::write_number;

/// The first frame of a session.
pub const OPEN: &[u8] = b"o";

/// What is sent to show that one is there.
pub const HEART_BEAT: &[u8] = b"h";

/// Appends a frame with one message. SockJS carries text: what is not UTF-8 becomes U+FFFD.
pub fn message(out: &mut BytesMut, piece: &[u8]) {
    out.put_slice(b"a[");
    string(out, piece);
    out.put_u8(b']');
}

/// Appends a session's last frame.
pub fn close(out: &mut BytesMut, code: u16, reason: &str) {
    out.put_slice(b"c[");
    write_number(out, code.into());
    out.put_u8(b',');
    string(out, reason.as_bytes());
    out.put_u8(b']');
}

/// Appends a JSON string, quotes included.
fn string(out: &mut BytesMut, piece: &[u8]) {
    // A message is a STOMP frame around JSON, in which about every tenth character is escaped.
    out.reserve(piece.len() + piece.len() / 4 + 2);
    out.put_u8(b'"');
    match str::from_utf8(piece) {
        Ok(text) => escape(out, text),
        Err(_) => {
            for chunk in piece.utf8_chunks() {
                escape(out, chunk.valid());
                if !chunk.invalid().is_empty() {
                    put_unicode(out, char::REPLACEMENT_CHARACTER);
                }
            }
        }
    }
    out.put_u8(b'"');
}

/// What has to be done about a byte, by its value.
static CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    let mut control = 0;
    while control < 0x20 {
        classes[control] = Class::Special;
        control += 1;
    }
    classes[b'"' as usize] = Class::Special;
    classes[b'\\' as usize] = Class::Special;
    classes[0xe2] = Class::Lead;
    classes[0xef] = Class::Lead;
    classes
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It is written as it is.
    Plain,
    /// It is escaped.
    Special,
    /// It begins a character of three bytes, which may have to be escaped.
    Lead,
}

fn escape(out: &mut BytesMut, text: &str) {
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match CLASSES[usize::from(byte)] {
            Class::Plain => at += 1,
            Class::Special => {
                out.put_slice(&bytes[plain_from..at]);
                put_special(out, byte);
                at += 1;
                plain_from = at;
            }
            Class::Lead => {
                let character = text[at..].chars().next().unwrap_or_default();
                if is_escaped(character) {
                    out.put_slice(&bytes[plain_from..at]);
                    put_unicode(out, character);
                    plain_from = at + character.len_utf8();
                }
                at += character.len_utf8();
            }
        }
    }
    out.put_slice(&bytes[plain_from..]);
}

/// Those beyond ASCII that the protocol has a server escape: some end lines in JavaScript, some are lost on the way. The
/// surrogates that it names as well are no characters here.
fn is_escaped(character: char) -> bool {
    matches!(
        character,
        '\u{200c}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff0}'..='\u{ffff}'
    )
}

fn put_special(out: &mut BytesMut, byte: u8) {
    match byte {
        b'"' => out.put_slice(b"\\\""),
        b'\\' => out.put_slice(b"\\\\"),
        b'\n' => out.put_slice(b"\\n"),
        b'\r' => out.put_slice(b"\\r"),
        b'\t' => out.put_slice(b"\\t"),
        control => put_unicode(out, char::from(control)),
    }
}

/// Writes a character of the basic plane by its number.
fn put_unicode(out: &mut BytesMut, character: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let number = u32::from(character);
    out.put_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.put_u8(HEX[(number >> shift & 0xf) as usize]);
    }
}
