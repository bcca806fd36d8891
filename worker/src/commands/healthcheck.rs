//! `healthcheck`: asks the running worker of this host how it is, for images without a shell or curl.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// Whoever asks this often has the next answer soon.
const PATIENCE: Duration = Duration::from_secs(2);
/// A status line is shorter.
const HEAD_BYTES: usize = 64;

/// What to ask.
#[derive(Debug, clap::Args)]
pub struct Question {
    /// Ask whether it does its work, rather than whether it lives
    #[arg(long)]
    ready: bool,
}

/// Asks at `listening`, which is `http.internal_listen`. An answer other than 200, or none, is an error.
pub fn run(listening: &str, question: &Question) -> anyhow::Result<()> {
    ask(listening, question, PATIENCE)
}

fn ask(listening: &str, question: &Question, patience: Duration) -> anyhow::Result<()> {
    let path = if question.ready { "/readyz" } else { "/livez" };
    let address = listening
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next())
        .with_context(|| format!("http.internal_listen: {listening} is no address"))?;
    let line = status_line(reachable(address), path, patience)
        .with_context(|| format!("{path} at {listening} does not answer"))?;
    let line = line.trim();
    ensure!(
        line.split(' ').nth(1) == Some("200"),
        "{path} at {listening} answers {line:?}"
    );
    Ok(())
}

/// Who listens on every address is found on the loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let loopback = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => [127, 0, 0, 1].into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(loopback, address.port())
}

/// The first line of the answer. One exchange of fixed text needs no runtime and no client.
fn status_line(address: SocketAddr, path: &str, patience: Duration) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut head, mut length) = ([0; HEAD_BYTES], 0);
    // One read may bring less than the line.
    while length < head.len() && !head[..length].contains(&b'\n') {
        match stream.read(&mut head[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let line = head[..length]
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answered(answer: &'static str) -> anyhow::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let slow = Duration::from_secs(60);
        let result = ask(&address, &Question { ready: true }, slow);
        assert!(
            server
                .join()
                .unwrap()
                .starts_with("GET /readyz HTTP/1.1\r\n")
        );
        result
    }

    #[test]
    fn only_200_is_health() {
        answered("HTTP/1.1 200 OK\r\n\r\nready\n").unwrap();
        for bad in [
            "HTTP/1.1 503 Service Unavailable\r\n\r\n",
            "HTTP/1.1 2000 \r\n",
            "",
            "200",
        ] {
            answered(bad).unwrap_err();
        }
    }

    #[test]
    fn nobody_there_is_no_health() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let refused = run(&address, &Question { ready: false }).unwrap_err();
        assert!(refused.to_string().contains("/livez"), "{refused}");
        run("nowhere", &Question { ready: false }).unwrap_err();
    }

    #[test]
    fn a_wildcard_is_asked_on_the_loopback() {
        for (listening, asked) in [
            ("0.0.0.0:9100", "127.0.0.1:9100"),
            ("[::]:9100", "[::1]:9100"),
            ("10.0.0.1:9100", "10.0.0.1:9100"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()).to_string(), asked);
        }
    }
}
