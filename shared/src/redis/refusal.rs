//! What is said, and done, when there is no connection to Redis.
//!
//! One that is away is waited for; one that answers and does not want us, or whom we do not believe, will not change its mind by being
//! asked again: at start that is an error. Later it is one only for the log, since whoever changed it may be about to change us, too.

use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::config::Server;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// How often the same trouble is logged.
const REMINDER: Duration = Duration::from_secs(60);

/// Connects a client for the first time.
pub async fn begin(client: &Client) -> Result<(), Error> {
    let mut errors = client.error_rx();
    let refused = async {
        loop {
            match errors.recv().await {
                Ok((error, _)) if is_refusal(&error) => return error,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    tokio::spawn(tell(client.error_rx()));
    let connection = client.connect();
    tokio::select! {
        connected = client.wait_for_connect() => connected,
        error = refused => {
            connection.abort();
            Err(error)
        }
    }
}

/// Whether it will be the same the next time.
fn is_refusal(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Auth | ErrorKind::Config | ErrorKind::Tls => true,
        // A handshake's failure comes as one of reading, which has otherwise no opinion of what is read.
        ErrorKind::IO => error.details().contains("InvalidData"),
        _ => false,
    }
}

/// Logs a client's lost and failed connections, for as long as it lives.
async fn tell(mut errors: Receiver<(Error, Option<Server>)>) {
    let mut last: Option<(String, Instant)> = None;
    loop {
        let error = match errors.recv().await {
            Ok((error, _)) => error,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let is_news = last
            .as_ref()
            .is_none_or(|(details, said)| details != error.details() || said.elapsed() >= REMINDER);
        if is_news {
            tracing::warn!(%error, "no connection to Redis; trying again");
            last = Some((error.details().to_owned(), Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_away_has_not_refused() {
        let error = |kind, details: &str| Error::new(kind, details.to_owned());
        for away in [
            error(ErrorKind::IO, "Os { code: 111, kind: ConnectionRefused }"),
            error(ErrorKind::Timeout, "Request timed out."),
            error(ErrorKind::Unknown, "LOADING"),
        ] {
            assert!(!is_refusal(&away), "{away}");
        }
        for refused in [
            error(ErrorKind::Auth, "WRONGPASS"),
            error(
                ErrorKind::IO,
                "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }",
            ),
        ] {
            assert!(is_refusal(&refused), "{refused}");
        }
    }
}
