//! Connection state recovery, as `socket.io-client` does its part: what it remembers, sends and concludes.

use serde::{Deserialize, Serialize};

/// What a namespace answers when it is joined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Welcome {
    /// The socket's id.
    pub sid: String,
    /// Its private id, by which it may be recovered; none where the server does not recover.
    #[serde(default)]
    pub pid: Option<String>,
}

impl Welcome {
    pub(super) fn read(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }
}

/// What a client remembers from one connection to the next.
#[derive(Debug, Clone, Default)]
pub struct Recovery {
    pid: Option<String>,
    /// The last offset, in JSON: it is sent as it came. Like `socket.io-client`'s it outlives the private id that it came under.
    offset: Vec<u8>,
}

#[derive(Serialize)]
struct Credentials<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<&'a serde_json::value::RawValue>,
    token: &'a str,
}

impl Recovery {
    /// The namespace was joined: says whether that recovered the session from before.
    pub fn welcomed(&mut self, welcome: &Welcome) -> bool {
        let recovered = welcome.pid.is_some() && welcome.pid == self.pid;
        self.pid.clone_from(&welcome.pid);
        recovered
    }

    /// An event has come, whose arguments end with `body`: what follows its name.
    pub fn saw(&mut self, name: &[u8], body: &[u8]) {
        if self.pid.is_none() {
            return;
        }
        if body == b"]" {
            // An event without arguments ends in a string, too: its name.
            self.offset.clear();
            self.offset.push(b'"');
            self.offset.extend_from_slice(name);
            self.offset.push(b'"');
        } else if let Some(last) = last_string(body) {
            self.offset.clear();
            self.offset.extend_from_slice(last);
        }
    }

    /// What a namespace is joined with.
    pub(super) fn credentials(&self, token: &str) -> Option<Vec<u8>> {
        let offset = match &self.pid {
            Some(_) if !self.offset.is_empty() => Some(serde_json::from_slice(&self.offset).ok()?),
            _ => None,
        };
        serde_json::to_vec(&Credentials {
            pid: self.pid.as_deref(),
            offset,
            token,
        })
        .ok()
    }
}

/// The string that a JSON array ends with, as it is written. A quotation mark within a string is escaped, so the last one that
/// is not begins it.
fn last_string(array: &[u8]) -> Option<&[u8]> {
    let (closing, mut before) = array.strip_suffix(b"]").map(|rest| (rest.len(), rest))?;
    before = before.strip_suffix(b"\"")?;
    loop {
        let quote = memchr::memrchr(b'"', before)?;
        let escapes = before[..quote]
            .iter()
            .rev()
            .take_while(|byte| **byte == b'\\');
        if escapes.count() % 2 == 0 {
            return Some(&array[quote..closing]);
        }
        before = &before[..quote];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(events: &[(&str, &str)]) -> String {
        let mut recovery = Recovery::default();
        let welcome = Welcome::read(br#"{"sid":"s","pid":"p"}"#).unwrap();
        assert!(!recovery.welcomed(&welcome));
        for (name, body) in events {
            recovery.saw(name.as_bytes(), body.as_bytes());
        }
        String::from_utf8(recovery.credentials("t").unwrap()).unwrap()
    }

    #[test]
    fn any_event_that_ends_in_a_string_has_an_offset() {
        for (events, sent) in [
            (&[][..], r#"{"pid":"p","token":"t"}"#),
            (&[("e", r#",{"a":"b"}]"#)], r#"{"pid":"p","token":"t"}"#),
            (&[("e", r#",["b"]]"#)], r#"{"pid":"p","token":"t"}"#),
            (
                &[("e", r#",1,"17-0"]"#)],
                r#"{"pid":"p","offset":"17-0","token":"t"}"#,
            ),
            (
                &[("e", r#",1,"1"]"#), ("e", ",2]")],
                r#"{"pid":"p","offset":"1","token":"t"}"#,
            ),
            (
                &[("e", r#",1,"1"]"#), ("e", r#","2"]"#)],
                r#"{"pid":"p","offset":"2","token":"t"}"#,
            ),
            (&[("e", "]")], r#"{"pid":"p","offset":"e","token":"t"}"#),
            (
                &[("e", r#","a\",\"b"]"#)],
                r#"{"pid":"p","offset":"a\",\"b","token":"t"}"#,
            ),
            (
                &[("e", r#","x","\\"]"#)],
                r#"{"pid":"p","offset":"\\","token":"t"}"#,
            ),
        ] {
            assert_eq!(after(events), sent);
        }
    }

    #[test]
    fn who_has_no_private_id_remembers_nothing_and_recovers_nothing() {
        let mut recovery = Recovery::default();
        recovery.saw(b"e", br#","1"]"#);
        let alone = Welcome::read(br#"{"sid":"s"}"#).unwrap();
        assert!(!recovery.welcomed(&alone));
        assert!(!recovery.welcomed(&alone));
        assert_eq!(recovery.credentials("t").unwrap(), br#"{"token":"t"}"#);
    }

    #[test]
    fn recovered_means_the_same_private_id() {
        let mut recovery = Recovery::default();
        let first = Welcome::read(br#"{"sid":"s","pid":"p"}"#).unwrap();
        let second = Welcome::read(br#"{"sid":"s2","pid":"p2"}"#).unwrap();
        assert!(!recovery.welcomed(&first));
        assert!(recovery.welcomed(&first));
        assert!(!recovery.welcomed(&second));
        assert!(recovery.welcomed(&second));
    }
}
