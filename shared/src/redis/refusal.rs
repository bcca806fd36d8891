//! What is said, and done, when there is no connection to Redis.
//!
//! One that is away is waited for; one that answers and does not want us, or whom we do not believe, will not change its mind by being
//! asked again: at start that is an error. Later it is one only for the log, since whoever changed it may be about to change us, too.
//!
//! A client that has stopped to try is another matter: all that it is asked for would fail from then on, and nobody would come to know.
//! The process ends with it.

use std::time::{Duration, Instant};

use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, EventInterface};
use fred::types::ConnectHandle;
use fred::types::config::Server;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinError;

use crate::lifecycle::give_up;

/// How often the same trouble is logged.
const REMINDER: Duration = Duration::from_secs(60);

/// Connects a client for the first time. From then on the process lives no longer than the client's task.
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
    let mut connection = client.connect();
    tokio::select! {
        connected = client.wait_for_connect() => connected?,
        error = refused => {
            connection.abort();
            return Err(error);
        }
        ended = &mut connection => {
            let reason = why(ended).unwrap_or_else(|| "it was told to quit".to_owned());
            return Err(Error::new(ErrorKind::Unknown, format!("the connection's task ended: {reason}")));
        }
    }
    tokio::spawn(outlive(connection));
    Ok(())
}

/// Waits for the end of a client's task, which connects again for as long as it is not told to quit.
async fn outlive(connection: ConnectHandle) {
    if let Some(reason) = why(connection.await) {
        give_up("connection to Redis", &reason);
    }
}

/// Why a client's task ended, unless somebody wanted it to.
fn why(ended: Result<Result<(), Error>, JoinError>) -> Option<String> {
    match ended {
        Ok(Ok(())) => None,
        Ok(Err(error)) => (!error.is_canceled()).then(|| error.to_string()),
        Err(error) => (!error.is_cancelled()).then(|| error.to_string()),
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

    #[tokio::test]
    async fn only_an_end_that_nobody_wanted_has_a_reason() {
        let quit = Error::new(ErrorKind::Canceled, "Canceled.");
        assert_eq!(why(Ok(Ok(()))), None);
        assert_eq!(why(Ok(Err(quit))), None);
        let aborted = tokio::spawn(std::future::pending::<Result<(), Error>>());
        aborted.abort();
        assert_eq!(why(aborted.await), None);
        let gave_up = why(Ok(Err(Error::new(ErrorKind::Config, "no such service"))));
        assert!(gave_up.unwrap().contains("no such service"));
        let broke = tokio::spawn(async { panic!("an invariant of the library's") });
        assert!(why(broke.await).is_some());
    }

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
