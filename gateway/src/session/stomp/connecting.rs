//! A session that has said nothing yet: only CONNECT may come.

use confab_gateway_protocol::stomp::{Command, Frame, HeartBeat, Intervals, Version};

use super::Violation;

/// The first phase of a session.
#[derive(Debug, Clone, Copy)]
pub struct Connecting {
    /// How often the server would send something, and how often it would have the client do so.
    pub offered: HeartBeat,
}

/// What a CONNECT says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'f> {
    /// The version that both speak.
    pub version: Version,
    /// What the client says to prove who it is.
    pub token: Option<&'f str>,
    /// When something must be heard from each side.
    pub beats: Intervals,
}

impl Connecting {
    /// Takes the first frame.
    pub fn take<'f>(&self, frame: &'f Frame) -> Result<Hello<'f>, Violation> {
        if !matches!(frame.command, Command::Connect | Command::Stomp) {
            return Err(Violation::NotConnected(frame.command.as_str()));
        }
        let version =
            Version::negotiate(frame.header("accept-version")).ok_or(Violation::NoCommonVersion)?;
        let wanted = match frame.header("heart-beat") {
            Some(text) => HeartBeat::parse(text).map_err(|_| Violation::HeartBeat)?,
            None => HeartBeat::default(),
        };
        Ok(Hello {
            version,
            token: token(frame),
            beats: HeartBeat::negotiate(wanted, self.offered),
        })
    }
}

/// The token of a CONNECT: as HTTP has it, in a header of its own, or where STOMP has passwords.
fn token(frame: &Frame) -> Option<&str> {
    let authorization = ["Authorization", "authorization"]
        .iter()
        .find_map(|name| frame.header(name))
        .and_then(bearer);
    let plain = || {
        ["token", "passcode"]
            .iter()
            .filter_map(|name| frame.header(name))
            .map(str::trim)
            .find(|token| !token.is_empty())
    };
    authorization.or_else(plain)
}

/// The token in an `Authorization`.
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
