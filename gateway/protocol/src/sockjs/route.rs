//! The addresses below an endpoint.

/// The longest name of a server or session. Clients' have 3 and 8 characters; what is kept by such names has to have an
/// end somewhere.
const MAX_NAME: usize = 128;

/// What an address below an endpoint stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// The endpoint itself, which greets whoever looks.
    Greeting,
    /// What a client asks before all else.
    Info,
    /// The page through which some browsers reach another origin.
    Iframe,
    /// A WebSocket without SockJS.
    RawWebSocket,
    /// A session.
    Session {
        /// What the client made up so that load balancers can tell servers apart.
        server: &'a str,
        /// What the client calls its session.
        session: &'a str,
        /// By which of its addresses.
        transport: Transport,
    },
}

/// A session's way of sending or receiving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Both ways over a WebSocket.
    WebSocket,
    /// Receiving by a request for each frame.
    Xhr,
    /// Sending, beside the ones that only receive.
    XhrSend,
    /// Receiving by a response with many frames.
    XhrStreaming,
    /// Receiving as an event source.
    EventSource,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::WebSocket,
        Self::Xhr,
        Self::XhrSend,
        Self::XhrStreaming,
        Self::EventSource,
    ];

    /// Its name in an address.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Xhr => "xhr",
            Self::XhrSend => "xhr_send",
            Self::XhrStreaming => "xhr_streaming",
            Self::EventSource => "eventsource",
        }
    }
}

impl<'a> Route<'a> {
    /// Reads what follows an endpoint's prefix in a path. `None`: there is nothing there. One slash at the end makes no
    /// difference.
    pub fn parse(path: &'a str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let Some(path) = path.strip_prefix('/') else {
            return path.is_empty().then_some(Self::Greeting);
        };
        match path {
            "info" => return Some(Self::Info),
            "websocket" => return Some(Self::RawWebSocket),
            page if is_iframe(page) => return Some(Self::Iframe),
            _ => {}
        }
        let (server, path) = path.split_once('/')?;
        let (session, transport) = path.split_once('/')?;
        let transport = Transport::ALL
            .into_iter()
            .find(|known| known.as_str() == transport)?;
        (is_name(server) && is_name(session)).then_some(Self::Session {
            server,
            session,
            transport,
        })
    }
}

/// `iframe.html`, or with a version in it by which browsers keep it.
fn is_iframe(page: &str) -> bool {
    let version = page
        .strip_prefix("iframe")
        .and_then(|rest| rest.strip_suffix(".html"));
    version.is_some_and(|version| {
        version
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'-' | b'.' | b'_'))
    })
}

/// Names have no dots, so that nobody takes a part of an address for a file.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.contains('.')
}
