//! A client that says exactly what it is told to, and reads frames.

use crate::raw::Raw;

/// A frame of the server's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub command: String,
    /// As they are written.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    /// A frame by its bytes, which must be those of a whole one.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let text = std::str::from_utf8(bytes).unwrap();
        let (head, rest) = text.split_once("\n\n").unwrap();
        let (command, headers) = head.split_once('\n').unwrap_or((head, ""));
        let headers: Vec<_> = headers
            .lines()
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let body = rest.strip_suffix('\0').unwrap().to_owned();
        let received = Self {
            command: command.to_owned(),
            headers,
            body,
        };
        assert_eq!(
            received.header("content-length"),
            received.body.len().to_string(),
            "{received:?}"
        );
        received
    }

    /// The value of a header; empty if there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map_or("", |(_, value)| value)
    }
}

/// A client.
pub(super) struct Client(pub Raw);

impl Client {
    pub(super) fn send(&mut self, text: &str) {
        self.0.send_text(text);
    }

    /// The next frame; heart-beats are passed over.
    #[track_caller]
    pub(super) fn frame(&mut self) -> Received {
        loop {
            let frame = self.0.frame().expect("the connection ended");
            assert_eq!(frame.opcode, 1, "{frame:?}");
            if frame.payload != b"\n" {
                return Received::parse(&frame.payload);
            }
        }
    }

    /// The next frame is a receipt: its id.
    #[track_caller]
    pub(super) fn receipt(&mut self) -> String {
        let frame = self.frame();
        assert_eq!(frame.command, "RECEIPT", "{frame:?}");
        frame.header("receipt-id").to_owned()
    }

    /// The next frame says on the errors' queue that something was refused: its code.
    #[track_caller]
    pub(super) fn refusal(&mut self) -> (String, Received) {
        let frame = self.frame();
        assert_eq!(frame.command, "MESSAGE", "{frame:?}");
        assert_eq!(frame.header("destination"), "/user/queue/errors");
        assert_eq!(frame.header("subscription"), "e");
        assert_eq!(frame.header("content-type"), "application/json");
        let body: serde_json::Value = serde_json::from_str(&frame.body).unwrap();
        (body["code"].as_str().unwrap().to_owned(), frame)
    }

    /// The next frame is an ERROR, then the connection closes with this code: what it says.
    #[track_caller]
    pub(super) fn error(&mut self, code: u16) -> Received {
        let frame = self.frame();
        assert_eq!(frame.command, "ERROR", "{frame:?}");
        // Nothing may follow it.
        let close = self.0.frame().expect("the connection ended unsaid");
        assert_eq!(close.opcode, 8, "{close:?}");
        let said = u16::from_be_bytes([close.payload[0], close.payload[1]]);
        assert_eq!(said, code, "{frame:?}");
        frame
    }

    /// The session is there, and nothing else is on its way.
    #[track_caller]
    pub(super) fn is_well(&mut self) {
        self.send("BEGIN\ntransaction:well\nreceipt:well\n\n\0ABORT\ntransaction:well\n\n\0");
        assert_eq!(self.receipt(), "well");
    }
}
