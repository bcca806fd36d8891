//! The two listeners: inherited from whoever started the gateway, or else bound as the settings say.
//!
//! An inherited socket is shared: other gateways accept on it, and it stays open when this one ends. So it is never shut down, only let go of.

use anyhow::Context;
use confab_shared::lifecycle::InheritedSockets;
use tokio::net::TcpListener;

use crate::config::HttpConfig;

/// What inherited sockets are called: the clients' first, then that of peers and operators.
pub const NAMES: [&str; 2] = ["public", "internal"];

/// Where connections come from.
#[derive(Debug)]
pub struct Listeners {
    /// Clients'.
    pub public: TcpListener,
    /// Other gateways' and operators'.
    pub internal: TcpListener,
}

impl Listeners {
    /// Opens what is not inherited.
    pub async fn open(
        config: &HttpConfig,
        mut inherited: InheritedSockets,
    ) -> anyhow::Result<Self> {
        let [public, internal] = NAMES.map(|name| inherited.take(name));
        let address = format!("{}:{}", config.bind, config.port);
        Ok(Self {
            public: listen(public, &address, "http.port").await?,
            internal: listen(internal, &config.internal_listen, "http.internal_listen").await?,
        })
    }
}

async fn listen(
    inherited: Option<std::net::TcpListener>,
    address: &str,
    key: &str,
) -> anyhow::Result<TcpListener> {
    match inherited {
        Some(socket) => TcpListener::from_std(socket)
            .with_context(|| format!("the inherited socket in place of {key}")),
        None => TcpListener::bind(address)
            .await
            .with_context(|| format!("{key}: cannot listen on {address}")),
    }
}
