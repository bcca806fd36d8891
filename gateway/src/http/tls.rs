//! TLS of the public listener: certificates that may change under way, and the handshake.
//!
//! Only HTTP/1.1 is offered. A WebSocket needs a connection of its own, which HTTP/2 could only give it by RFC 8441, in a stream that
//! shares its flow control and its fate with others; and limits and time-outs here are those of connections.
//!
//! Must never know what is spoken inside, or whether anybody ends TLS before this node.

use std::io;
use std::sync::Arc;

use confab_shared::config::ConfigError;
use confab_shared::tls::good_until;
use parking_lot::{Mutex, RwLock};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

use crate::config::TlsConfig;
use crate::metrics::TlsMetrics;

/// What the listener shows to clients, and expects of them. Connections keep what they began with.
pub struct Certificates {
    config: TlsConfig,
    /// What `current` is made of.
    files: Mutex<Files>,
    current: RwLock<Arc<ServerConfig>>,
}

/// TLS at a listener.
pub struct Tls {
    certificates: Certificates,
    metrics: TlsMetrics,
}

/// The files' contents.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Certificates {
    /// Reads the files, if there are any in the settings.
    pub fn load(config: &TlsConfig) -> Result<Option<Self>, ConfigError> {
        if !config.is_on() {
            return Ok(None);
        }
        let files = read(config)?;
        let current = server_config(config, &files)?;
        Ok(Some(Self {
            config: config.clone(),
            files: Mutex::new(files),
            current: RwLock::new(current),
        }))
    }

    /// Whether there was something new. A file that is just being replaced does not fit the others yet, and is looked at again.
    fn reload(&self) -> Result<bool, ConfigError> {
        let files = read(&self.config)?;
        if *self.files.lock() == files {
            return Ok(false);
        }
        *self.current.write() = server_config(&self.config, &files)?;
        *self.files.lock() = files;
        Ok(true)
    }
}

impl Tls {
    /// TLS with these certificates, which is told of in these metrics.
    pub fn new(certificates: Certificates, metrics: TlsMetrics) -> Self {
        let tls = Self {
            certificates,
            metrics,
        };
        tls.tell_end();
        tls
    }

    /// Says until when the certificate is good.
    fn tell_end(&self) {
        let files = self.certificates.files.lock();
        let setting = self.certificates.config.certificate();
        let end = setting
            .certificates(&files.certificate)
            .map(|chain| good_until(&chain));
        match end {
            Ok(Some(end)) => self.metrics.certificate_expiry_timestamp_seconds.set(end),
            // What cannot be read is not to look as if it were over.
            Ok(None) | Err(_) => self.metrics.certificate_expiry_timestamp_seconds.set(0),
        }
    }

    /// Looks at the files now and then, for ever. When they have changed and are in order, they hold for the connections to come.
    pub async fn keep_fresh(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.certificates.config.reload()).await;
            let again = self.clone();
            let reload = move || again.certificates.reload();
            let reloaded = tokio::task::spawn_blocking(reload).await;
            let is_refused = !matches!(reloaded, Ok(Ok(_)));
            match reloaded {
                Ok(Ok(true)) => {
                    self.tell_end();
                    tracing::info!("the listener's certificates were renewed");
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the listener's new certificates are not used");
                }
                Err(error) => tracing::error!(%error, "the listener's certificates were not read"),
            }
            self.metrics.certificate_refused.set(is_refused.into());
        }
    }

    /// Shakes hands with a client until `deadline` at the latest. What comes to nothing is counted.
    pub(super) async fn handshake(
        &self,
        stream: TcpStream,
        deadline: Instant,
    ) -> Option<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.certificates.current.read().clone());
        let reason = match timeout_at(deadline, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a handshake failed");
                reason(&error)
            }
            Err(_) => "timeout",
        };
        self.metrics
            .handshake_errors_total
            .with_label_values(&[reason])
            .inc();
        None
    }
}

/// A handshake's failure, in a few words.
fn reason(error: &io::Error) -> &'static str {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        // It went without a word, as those do that only see whether the port is open.
        None => "left",
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            "client_certificate"
        }
        // It does not believe us, mostly.
        Some(rustls::Error::AlertReceived(_)) => "refused_by_client",
        Some(rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol) => {
            "incompatible"
        }
        Some(_) => "malformed",
    }
}

fn read(config: &TlsConfig) -> Result<Files, ConfigError> {
    let client_ca = config.client_ca();
    Ok(Files {
        certificate: config.certificate().read()?,
        key: config.key().read()?,
        client_ca: if client_ca.is_none() {
            None
        } else {
            Some(client_ca.read()?)
        },
    })
}

fn server_config(config: &TlsConfig, files: &Files) -> Result<Arc<ServerConfig>, ConfigError> {
    let chain = config.certificate().certificates(&files.certificate)?;
    let key = config.key().private_key(&files.key)?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| config.certificate().unfit(error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(content) => {
            let roots = config.client_ca().roots(content)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .map_err(|error| config.client_ca().unfit(error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut server = builder
        .with_single_cert(chain, key)
        .map_err(|error| config.key().unfit(error))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A client that comes back has its session with it, under a key of this process: nothing has to be kept for those who do not.
    server.ticketer = ring::Ticketer::new().map_err(|error| config.key().unfit(error))?;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 1;
    Ok(Arc::new(server))
}
