//! The two listeners: inherited from whoever started the gateway, or else bound as the settings say.
//!
//! An inherited socket is shared: other gateways accept on it, and it stays open when this one ends. So it is never shut down, only let go of. One
//! of the gateway's own listens only when it is ready for clients: what waited meanwhile would be lost to the gateways that are.

use std::io;
use std::net::SocketAddr;

use anyhow::Context;
use confab_shared::lifecycle::InheritedSockets;
use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::config::HttpConfig;

/// What inherited sockets are called: the clients' first, then that of peers and operators.
pub const NAMES: [&str; 2] = ["public", "internal"];

/// How many connections may wait to be accepted, as far as the system lets them: a node's death brings many at once.
const BACKLOG: u32 = 4_096;

/// Where connections come from.
#[derive(Debug)]
pub struct Listeners {
    /// Clients'.
    pub public: Public,
    /// Other gateways' and operators'.
    pub internal: TcpListener,
}

/// The clients' socket.
#[derive(Debug)]
pub enum Public {
    /// It listens already: whoever starts gateways sees to it.
    Inherited(TcpListener),
    /// It has its address, and refuses connections.
    Bound(TcpSocket),
}

impl Public {
    /// Lets clients connect.
    pub fn listen(self) -> io::Result<TcpListener> {
        match self {
            Self::Inherited(listener) => Ok(listener),
            Self::Bound(socket) => socket.listen(BACKLOG),
        }
    }
}

impl Listeners {
    /// Opens what is not inherited.
    pub async fn open(
        config: &HttpConfig,
        mut inherited: InheritedSockets,
    ) -> anyhow::Result<Self> {
        let [public, internal] = NAMES.map(|name| inherited.take(name));
        let address = format!("{}:{}", config.bind, config.port);
        let public = match public {
            Some(socket) => Public::Inherited(take_over(socket, "http.port")?),
            None => Public::Bound(
                bind(&address)
                    .await
                    .with_context(|| format!("http.port: cannot listen on {address}"))?,
            ),
        };
        let (key, address) = ("http.internal_listen", &config.internal_listen);
        let internal = match internal {
            Some(socket) => take_over(socket, key)?,
            None => TcpListener::bind(address)
                .await
                .with_context(|| format!("{key}: cannot listen on {address}"))?,
        };
        Ok(Self { public, internal })
    }
}

fn take_over(socket: std::net::TcpListener, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::from_std(socket).with_context(|| format!("the inherited socket in place of {key}"))
}

/// Takes the first of a name's addresses that can be had. An address on which somebody listens cannot.
async fn bind(address: &str) -> io::Result<TcpSocket> {
    let mut refused = None;
    for address in lookup_host(address).await? {
        match bind_to(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::other("no such address")))
}

fn bind_to(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Or connections of a former process that are being closed would keep it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
