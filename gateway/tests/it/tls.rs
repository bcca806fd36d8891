//! TLS at a listener, with certificates that `openssl` makes.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use confab_gateway::config::TlsConfig;
use confab_gateway::http::accept::{AcceptConfig, Protocols};
use confab_gateway::http::tls::{Certificates, Tls};
use confab_gateway::metrics::TlsMetrics;
use confab_shared::tls::{ClientFiles, Setting};
use http::Response;
use prometheus::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use uuid::Uuid;

use crate::peers::{accept_config, eventually, serve};
use crate::raw::PATIENCE;

/// An authority and what it has signed, in a directory of its own.
struct Pki {
    dir: PathBuf,
}

impl Pki {
    fn new() -> Self {
        let name = format!("tls-{}", Uuid::new_v4().simple());
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&dir).unwrap();
        let pki = Self { dir };
        pki.openssl(&format!(
            "req -x509 {KEY} -days 1 -subj /CN=authority -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.crt"
        ));
        pki
    }

    /// A certificate for this machine, good for so many days.
    fn issue(&self, name: &str, days: u32) {
        fs::write(self.dir.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        self.openssl(&format!(
            "req {KEY} -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days {days} -extfile names -out {name}.crt"
        ));
    }

    fn openssl(&self, arguments: &str) {
        let done = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(&self.dir)
            .output()
            .expect("openssl is installed");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// A listener with TLS.
struct Server {
    address: SocketAddr,
    metrics: TlsMetrics,
}

impl Server {
    async fn start(config: &TlsConfig) -> Self {
        let metrics = TlsMetrics::register(&Registry::new()).unwrap();
        let certificates = Certificates::load(config).unwrap().unwrap();
        let tls = Arc::new(Tls::new(certificates, metrics.clone()));
        tokio::spawn(tls.clone().keep_fresh());
        let accept = AcceptConfig {
            header_timeout: Duration::from_secs(4),
            tls: Some(tls),
            ..accept_config(Protocols::Http1)
        };
        let address = serve(accept, async |_| Response::new(Body::from("ok"))).await;
        Self { address, metrics }
    }

    /// In how many days the certificate is over, as the metrics have it.
    fn days_left(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let end = self.metrics.certificate_expiry_timestamp_seconds.get();
        let hours = (end - i64::try_from(now.as_secs()).unwrap()) / 3_600;
        (hours + 12) / 24
    }

    async fn is_refused(&self, refused: i64) {
        let gauge = &self.metrics.certificate_refused;
        eventually("certificate_refused", || gauge.get() == refused).await;
    }

    async fn has_counted(&self, reason: &str, times: u64) {
        let counter = self
            .metrics
            .handshake_errors_total
            .with_label_values(&[reason]);
        eventually(reason, || counter.get() == times).await;
    }

    /// A request's answer, or why there is none.
    async fn ask(&self, pki: &Pki, client: Option<(&Pki, &str)>) -> std::io::Result<Answered> {
        let (certificate, key) = client.map_or_else(Default::default, |(pki, name)| {
            (
                pki.path(&format!("{name}.crt")),
                pki.path(&format!("{name}.key")),
            )
        });
        let ca = pki.path("ca.crt");
        let files = ClientFiles {
            ca: Setting::new("ca", &ca),
            certificate: Setting::new("certificate", &certificate),
            key: Setting::new("key", &key),
        };
        let mut config = files.client().unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await?;
        stream.flush().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(Answered { text, stream })
    }
}

struct Answered {
    text: String,
    stream: TlsStream<TcpStream>,
}

impl Answered {
    /// What the server showed.
    fn certificate(&self) -> Vec<u8> {
        self.stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }
}

fn config(pki: &Pki, name: &str) -> TlsConfig {
    TlsConfig {
        cert_file: pki.path(&format!("{name}.crt")),
        key_file: pki.path(&format!("{name}.key")),
        client_ca_file: String::new(),
        reload_seconds: 1,
    }
}

#[tokio::test]
async fn clients_are_served_and_what_comes_to_nothing_is_counted() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    pki.issue("gateway", 1);
    let server = Server::start(&config(&pki, "gateway")).await;
    // They say nothing, and hold up nobody.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let answered = server.ask(&pki, None).await.unwrap();
    assert!(
        answered.text.starts_with("HTTP/1.1 200"),
        "{}",
        answered.text
    );
    let (_, session) = answered.stream.get_ref();
    assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));

    assert!(server.ask(&stranger, None).await.is_err());
    server.has_counted("refused_by_client", 1).await;
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    server.has_counted("malformed", 1).await;
    drop(TcpStream::connect(server.address).await.unwrap());
    server.has_counted("left", 1).await;
    server.has_counted("timeout", 20).await;
    for mut stream in silent {
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0);
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_bad_one_is_not() {
    let pki = Pki::new();
    pki.issue("gateway", 1);
    let server = Server::start(&config(&pki, "gateway")).await;
    let first = server.ask(&pki, None).await.unwrap().certificate();
    // Another key, and for a moment no certificate to it.
    let (certificate, key) = (pki.path("gateway.crt"), pki.path("gateway.key"));
    pki.issue("next", 30);
    assert_eq!(server.days_left(), 1);
    fs::copy(pki.path("next.key"), &key).unwrap();
    server.is_refused(1).await;
    assert_eq!(server.ask(&pki, None).await.unwrap().certificate(), first);
    fs::write(&certificate, "no certificate").unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(
        (server.days_left(), server.metrics.certificate_refused.get()),
        (1, 1)
    );
    assert_eq!(server.ask(&pki, None).await.unwrap().certificate(), first);
    fs::copy(pki.path("next.crt"), &certificate).unwrap();
    let begun = Instant::now();
    while server.ask(&pki, None).await.unwrap().certificate() == first {
        let took = begun.elapsed();
        assert!(took < PATIENCE, "the new certificate was never shown");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.is_refused(0).await;
    assert_eq!(server.days_left(), 30);
}

#[tokio::test]
async fn only_clients_of_the_authority_get_in_if_there_is_one() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    pki.issue("gateway", 1);
    pki.issue("proxy", 1);
    // Good until now.
    pki.issue("expired", 0);
    stranger.issue("unknown", 1);
    let config = TlsConfig {
        client_ca_file: pki.path("ca.crt"),
        ..config(&pki, "gateway")
    };
    let server = Server::start(&config).await;
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    let answered = server.ask(&pki, Some((&pki, "proxy"))).await.unwrap();
    assert!(
        answered.text.starts_with("HTTP/1.1 200"),
        "{}",
        answered.text
    );
    for (times, client) in [
        (1, None),
        (2, Some((&stranger, "unknown"))),
        (3, Some((&pki, "expired"))),
    ] {
        assert!(server.ask(&pki, client).await.is_err(), "{times}");
        server.has_counted("client_certificate", times).await;
    }
}
