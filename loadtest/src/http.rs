//! As much HTTP/1.1 as a test client needs.
//!
//! Owns addresses, how answers are read, and JSON calls with a connection each. It knows no route.

use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest head that is read.
const MAX_HEAD: usize = 64 << 10;
/// The longest body that is read on a connection that is kept.
const MAX_BODY: usize = 16 << 20;

/// Where a gateway listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
}

impl Endpoint {
    /// Reads `http://host:port`.
    pub fn parse(url: &str) -> Option<Self> {
        let authority = url.strip_prefix("http://")?.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':')?;
        (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| Self {
            authority: authority.to_owned(),
        })
    }

    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Asks for something as JSON and waits for all of the answer.
    pub async fn call(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, io::Error> {
        tokio::time::timeout(PATIENCE, self.exchange(method, path, token, body))
            .await
            .map_err(|_| {
                io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("{method} {path} was not answered"),
                )
            })?
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer, io::Error> {
        let mut stream = TcpStream::connect(self.authority()).await?;
        stream.set_nodelay(true)?;
        let authorization = token
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        let body = body.map(Value::to_string).unwrap_or_default();
        let content_type = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/json\r\n"
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{authorization}{content_type}Content-Length: {}\r\n\r\n{body}",
            self.authority,
            body.len()
        );
        write_all(&mut stream, request.as_bytes()).await?;
        let mut received = Vec::new();
        let head = read_head(&mut stream, &mut received).await?;
        stream.read_to_end(&mut received).await?;
        let body = match head.length {
            Some(length) if received.len() < length => return Err(broken("the answer ends early")),
            Some(length) => {
                received.truncate(length);
                received
            }
            None if head.chunked => {
                unchunk(&received).ok_or_else(|| broken("a malformed chunk"))?
            }
            None => received,
        };
        Ok(Answer {
            status: head.status,
            body,
        })
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    body: Vec<u8>,
}

impl Answer {
    /// The body, if the status is a success and the body what was expected.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, io::Error> {
        if !(200..300).contains(&self.status) {
            return Err(broken(format!(
                "status {}: {}",
                self.status,
                String::from_utf8_lossy(&self.body)
            )));
        }
        serde_json::from_slice(&self.body).map_err(io::Error::from)
    }
}

/// The part of an answer's head that matters here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    length: Option<usize>,
    chunked: bool,
    /// Whether the server closes the connection after this answer.
    closes: bool,
}

/// Reads up to the end of the head; what came behind it is left in `received`.
pub(crate) async fn read_head(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
) -> Result<Head, io::Error> {
    loop {
        if let Some(end) = memchr::memmem::find(received, b"\r\n\r\n") {
            let head = parse_head(&received[..end]).ok_or_else(|| broken("not an HTTP answer"))?;
            received.drain(..end + 4);
            return Ok(head);
        }
        if received.len() > MAX_HEAD {
            return Err(broken("a head without an end"));
        }
        if stream.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// How a request on a kept connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: u16,
    /// Whether the connection is good for another request.
    pub(crate) keeps: bool,
}

/// Reads an answer whose end is told by its head; its body is left in `body`, which must be empty.
pub(crate) async fn read_answer(
    stream: &mut TcpStream,
    body: &mut Vec<u8>,
) -> Result<Status, io::Error> {
    let head = read_head(stream, body).await?;
    loop {
        if let Some(length) = head.length {
            if body.len() == length {
                break;
            }
            if body.len() > length {
                return Err(broken("more than was announced"));
            }
        } else if let Some(whole) = unchunk(body).filter(|_| head.chunked) {
            *body = whole;
            break;
        } else if !head.chunked {
            return Err(broken("a body without an end"));
        }
        if body.len() > MAX_BODY {
            return Err(broken("a body beyond every limit"));
        }
        if stream.read_buf(body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Status {
        code: head.status,
        keeps: !head.closes,
    })
}

/// Writes all of it.
pub(crate) async fn write_all(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), io::Error> {
    stream.write_all(bytes).await
}

fn parse_head(head: &[u8]) -> Option<Head> {
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
    let status = lines
        .next()?
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    let mut parsed = Head {
        status,
        length: None,
        chunked: false,
        closes: false,
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            parsed.length = Some(value.trim().parse().ok()?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            parsed.chunked = value.trim().eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            parsed.closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    Some(parsed)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = memchr::memmem::find(rest, b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        let start = line + 2;
        whole.extend_from_slice(rest.get(start..start.checked_add(size)?)?);
        rest = rest.get(start + size + 2..)?;
    }
}

fn broken(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        assert_eq!(
            Endpoint::parse("http://127.0.0.1:3000/")
                .unwrap()
                .authority(),
            "127.0.0.1:3000"
        );
        for bad in [
            "127.0.0.1:3000",
            "http://",
            "http://host",
            "http://host:x",
            "https://host:1",
        ] {
            assert_eq!(Endpoint::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn heads() {
        let head = parse_head(b"HTTP/1.1 201 Created\r\nContent-length: 12\r\nX: y").unwrap();
        assert_eq!(
            head,
            Head {
                status: 201,
                length: Some(12),
                chunked: false,
                closes: false,
            }
        );
        assert!(
            parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")
                .unwrap()
                .chunked
        );
        assert!(
            parse_head(b"HTTP/1.1 400 Bad Request\r\nconnection: Close")
                .unwrap()
                .closes
        );
        assert_eq!(parse_head(b"ICY 200 OK"), None);
    }

    #[test]
    fn chunks() {
        assert_eq!(
            unchunk(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n").unwrap(),
            b"abcde"
        );
        assert_eq!(unchunk(b"5\r\nabc\r\n"), None);
    }
}
