//! Listening sockets that were open before this process: systemd's `LISTEN_FDS`.
//!
//! A socket that somebody else holds outlives us: while one process is replaced, connections wait in the kernel for the next one, or
//! go to another process that accepts on the same socket.

use std::env;
use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// Why what was inherited is of no use.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    /// Not as many names as sockets.
    #[error("LISTEN_FDNAMES names {names} of {sockets} inherited sockets")]
    Names {
        /// How many names there are.
        names: usize,
        /// How many sockets.
        sockets: usize,
    },
    /// Something that is no listening TCP socket.
    #[error("inherited socket {name:?}: {source}")]
    Socket {
        /// What it is called.
        name: String,
        /// What is wrong with it.
        source: io::Error,
    },
    /// Several of one name.
    #[error("two inherited sockets are called {0:?}; one is accepted on")]
    Twice(String),
    /// One that nobody asked for: clients would wait for ever in its backlog.
    #[error("nobody accepts on the inherited socket {name:?}; it must be called one of: {known}")]
    Unknown {
        /// What it is called.
        name: String,
        /// What would be accepted on.
        known: String,
    },
}

/// The listening sockets that this process was started with.
#[derive(Debug, Default)]
pub struct InheritedSockets(Vec<(String, TcpListener)>);

impl InheritedSockets {
    /// Takes them from the environment, which says nothing of them any more afterwards. They are called as `LISTEN_FDNAMES` says, or, without
    /// it, by `known` in that order. Call before there are other threads.
    pub fn from_environment(known: &[&str]) -> Result<Self, InheritedError> {
        let names = env::var("LISTEN_FDNAMES").ok();
        let mut inherited = ListenFd::from_env();
        let count = inherited.len();
        let mut sockets = Vec::with_capacity(count);
        for (index, name) in name_them(names.as_deref(), count, known)?
            .into_iter()
            .enumerate()
        {
            let fault = |source| InheritedError::Socket {
                name: name.clone(),
                source,
            };
            if let Some(socket) = inherited.take_tcp_listener(index).map_err(fault)? {
                // Several processes may be woken for one connection; those that find it gone must not wait for the next in the kernel.
                socket.set_nonblocking(true).map_err(fault)?;
                sockets.push((name, socket));
            }
        }
        Ok(Self(sockets))
    }

    /// The socket of this name, if there is one.
    pub fn take(&mut self, name: &str) -> Option<TcpListener> {
        let index = self.0.iter().position(|(found, _)| found == name)?;
        Some(self.0.swap_remove(index).1)
    }
}

/// A name for each socket; all of them known, and none twice.
fn name_them(
    names: Option<&str>,
    count: usize,
    known: &[&str],
) -> Result<Vec<String>, InheritedError> {
    let names: Vec<&str> = match names {
        _ if count == 0 => Vec::new(),
        Some(names) => names.split(':').collect(),
        None => known.iter().copied().take(count).collect(),
    };
    if names.len() != count {
        return Err(InheritedError::Names {
            names: names.len(),
            sockets: count,
        });
    }
    for (index, name) in names.iter().enumerate() {
        if !known.contains(name) {
            return Err(InheritedError::Unknown {
                name: (*name).to_owned(),
                known: known.join(", "),
            });
        }
        if names[..index].contains(name) {
            return Err(InheritedError::Twice((*name).to_owned()));
        }
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 2] = ["public", "internal"];

    fn names(names: Option<&str>, count: usize) -> Result<Vec<String>, String> {
        name_them(names, count, &KNOWN).map_err(|error| error.to_string())
    }

    #[test]
    fn sockets_are_called_as_the_environment_says_or_by_their_place() {
        assert_eq!(names(None, 1).unwrap(), ["public"]);
        assert_eq!(names(None, 2).unwrap(), ["public", "internal"]);
        assert_eq!(
            names(Some("internal:public"), 2).unwrap(),
            ["internal", "public"]
        );
        // What a shell was left with says nothing of a process without sockets.
        assert!(names(Some("confab.socket"), 0).unwrap().is_empty());
    }

    #[test]
    fn a_socket_that_nobody_would_accept_on_is_no_secret() {
        let wrong = names(Some("confab-gateway.socket"), 1).unwrap_err();
        assert!(
            wrong.contains("confab-gateway.socket") && wrong.contains("public, internal"),
            "{wrong}"
        );
        assert!(names(Some("public:public"), 2).is_err());
        assert!(names(Some("public"), 2).is_err());
        assert!(names(None, 3).is_err());
    }
}
