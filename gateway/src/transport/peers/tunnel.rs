//! Joins a client's connection to one of its session's owner: the session's WebSocket, when its upgrade came to another node.
//!
//! The session stays where it is. Its state could be moved only while nothing happens to it, on two nodes and in Redis at once;
//! carrying bytes costs little and cannot go wrong half way. An idle tunnel has no buffers: memory for what has arrived is
//! taken when it arrives and given back when it is written.

use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use prometheus::IntGauge;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::forward::{uri, whole};
use super::{CONNECT, Hop, Leaving, PassOnError, SILENCE};
use crate::transport::connection::{take_over, tend};
use crate::transport::endpoint::ConnectionGuard;
use crate::transport::sid::SessionKey;
use crate::transport::stream::{ReadHalf, Stream, WriteHalf};

/// How much is read at a time.
const CHUNK: usize = 16 * 1024;
/// How long the other side may take to end when one has.
const FAREWELL: Duration = Duration::from_secs(2);
/// The largest refusal that is passed back.
const MAX_REFUSAL: usize = 64 * 1024;

/// The tunnels through this node.
pub(super) struct Tunnels {
    leaving: Leaving,
    /// How long what was read may wait to be written before the receiver counts as stuck.
    stuck: Duration,
    tasks: TaskTracker,
    open: IntGauge,
}

impl Tunnels {
    pub(super) fn new(
        leaving: Leaving,
        stuck: Duration,
        tasks: TaskTracker,
        open: IntGauge,
    ) -> Self {
        Self {
            leaving,
            stuck,
            tasks,
            open,
        }
    }

    /// Asks the owner for the upgrade, and opens the tunnel if it consents.
    pub(super) async fn open(
        &self,
        session: SessionKey,
        owner: &Authority,
        mut request: Request<Incoming>,
        client: IpAddr,
        guard: ConnectionGuard,
    ) -> Result<Response<Full<Bytes>>, PassOnError> {
        let upgrade = hyper::upgrade::on(&mut request);
        let response = timeout(SILENCE, self.ask(owner, request, client))
            .await
            .unwrap_or(Err(PassOnError::OwnerSilent))?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            let refusal = Limited::new(body, MAX_REFUSAL).collect();
            let Ok(Ok(refusal)) = timeout(SILENCE, refusal).await else {
                return Err(PassOnError::OwnerSilent);
            };
            return Ok(whole(head, refusal.to_bytes()));
        }
        let answer = Response::from_parts(head.clone(), Full::default());
        let owner = hyper::upgrade::on(Response::from_parts(head, body));
        let (leaving, stuck, open) = (self.leaving.clone(), self.stuck, self.open.clone());
        self.tasks.spawn(async move {
            open.inc();
            if let Err(error) = carry(upgrade, owner, stuck, leaving.turn(session)).await {
                tracing::debug!(%error, "a tunnel broke");
            }
            open.dec();
            drop(guard);
        });
        Ok(answer)
    }

    async fn ask(
        &self,
        owner: &Authority,
        request: Request<Incoming>,
        client: IpAddr,
    ) -> Result<Response<Incoming>, PassOnError> {
        let stream = timeout(CONNECT, TcpStream::connect(owner.as_str()))
            .await
            .map_err(silent)?
            .map_err(silent)?;
        tend(&stream, self.stuck).map_err(silent)?;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(16 * 1024)
            .handshake(TokioIo::new(Stream::from(stream)))
            .await
            .map_err(silent)?;
        self.tasks.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a tunnel's connection ended");
            }
        });
        let (head, _) = request.into_parts();
        let mut asking = Request::new(Empty::<Bytes>::new());
        *asking.headers_mut() = Hop::of_upgrade(client, &head.headers);
        // HTTP/1 names the host apart from the target.
        if let Ok(host) = owner.as_str().try_into() {
            asking.headers_mut().insert(http::header::HOST, host);
        }
        let target = uri(owner, head.uri.into_parts().path_and_query);
        *asking.uri_mut() = target
            .into_parts()
            .path_and_query
            .map_or_else(Default::default, Into::into);
        sender.send_request(asking).await.map_err(silent)
    }
}

fn silent(error: impl std::fmt::Display) -> PassOnError {
    tracing::debug!(%error, "a peer does not answer");
    PassOnError::OwnerSilent
}

/// Carries bytes both ways until one side ends or it is time to leave; then the other side has a moment to end, too.
async fn carry(
    client: OnUpgrade,
    owner: OnUpgrade,
    stuck: Duration,
    leaving: impl Future<Output = ()>,
) -> io::Result<()> {
    let (client, owner) = tokio::try_join!(client, owner).map_err(io::Error::other)?;
    let (Some((client, from_client)), Some((owner, from_owner))) =
        (take_over(client), take_over(owner))
    else {
        return Ok(());
    };
    let (mut client_read, mut client_write) = client.into_split();
    let (mut owner_read, mut owner_write) = owner.into_split();
    // The owner learns that its client is gone, or about to be, by the end of the stream; what it says to that still passes.
    let up = async {
        tokio::select! {
            ended = copy(&mut client_read, &mut owner_write, from_client, stuck) => ended?,
            () = leaving => {}
        }
        owner_write.shutdown().await
    };
    let down = async {
        copy(&mut owner_read, &mut client_write, from_owner, stuck).await?;
        client_write.shutdown().await
    };
    let (mut up, mut down) = (pin!(up), pin!(down));
    let ended = tokio::select! {
        ended = &mut up => {
            ended?;
            timeout(FAREWELL, down).await
        }
        ended = &mut down => {
            ended?;
            timeout(FAREWELL, up).await
        }
    };
    // A side that does not end by itself is ended here.
    ended.unwrap_or(Ok(()))
}

/// Copies until the end. `first` was read before.
async fn copy(
    from: &mut ReadHalf,
    to: &mut WriteHalf,
    first: Bytes,
    stuck: Duration,
) -> io::Result<()> {
    timeout(stuck, write(to, &first)).await??;
    drop(first);
    loop {
        let chunk = next_chunk(from).await?;
        if chunk.is_empty() {
            return Ok(());
        }
        timeout(stuck, write(to, &chunk)).await??;
    }
}

/// What comes next, or nothing at the end. While it does not come it has no memory.
async fn next_chunk(from: &mut ReadHalf) -> io::Result<Vec<u8>> {
    poll_fn(|cx| {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = pin!(from.read_buf(&mut chunk)).poll(cx);
        read.map_ok(|_| chunk)
    })
    .await
}

async fn write(to: &mut WriteHalf, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    // Under TLS the end of it may not have gone out.
    to.flush().await
}
