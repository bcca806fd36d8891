//! Open files: every connection is one, and what a process may open unasked (1024, often) is soon used up.
//!
//! Owns the process's limit. Images have no shell that could raise it first, and Kubernetes has no word for it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Those that are no client's: listeners, stores, other gateways, the runtime's own.
const OTHERS: u64 = 256;

/// Raises the limit as far as this process may, and says so if that is too little for `connections`.
pub fn raise(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            ..limit
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, limit = ?limit.current, "the limit of open files cannot be raised");
        }
    }
    let wanted = (connections as u64).saturating_add(OTHERS);
    if let Some(limit) = getrlimit(Resource::Nofile)
        .current
        .filter(|limit| *limit < wanted)
    {
        tracing::warn!(
            limit,
            wanted,
            "fewer files may be open than http.max_connections needs; further connections will wait"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_raised_is() {
        let limit = getrlimit(Resource::Nofile);
        let lowered = Rlimit {
            current: limit.maximum.map(|maximum| maximum / 2),
            ..limit
        };
        setrlimit(Resource::Nofile, lowered).unwrap();
        raise(usize::MAX);
        let raised = getrlimit(Resource::Nofile);
        assert_eq!(raised.current, limit.maximum);
        assert_eq!(raised.maximum, limit.maximum, "the hard limit stays");
    }
}
