//! Which gateway each request of a client goes to.
//!
//! Without sticky sessions every request of a session may reach another gateway; a route says so request by request, so that a
//! test can do what a load balancer does, or its worst, without one.

use std::ops::Range;
use std::sync::Arc;

use super::ClientError;
use crate::http::Endpoint;

/// How a client carries its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// By a WebSocket from the first byte.
    WebSocket,
    /// By HTTP requests, one after the other, to the end.
    Polling,
    /// By HTTP requests until a WebSocket has taken over.
    Upgraded,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::WebSocket, Self::Polling, Self::Upgraded];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Polling => "polling",
            Self::Upgraded => "upgraded",
        }
    }
}

/// The addresses of a client's requests: where it begins, and where it goes on.
#[derive(Debug, Clone)]
pub struct Route {
    addresses: Arc<[Endpoint]>,
    handshake: usize,
    /// Where requests go that carry something, and the upgrade.
    carrying: Range<usize>,
    /// Where requests go that wait for something.
    waiting: Range<usize>,
}

/// Which of a session's requests go to another gateway than its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassedOn {
    /// All but the first.
    All,
    /// Those that carry something, and the upgrade.
    Carrying,
    /// Those that wait for something.
    Waiting,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Carry,
    Wait,
}

impl Route {
    /// Everything to one address: a gateway, or a proxy that does the choosing.
    pub fn direct(address: Endpoint) -> Self {
        Self {
            addresses: [address].into(),
            handshake: 0,
            carrying: 0..1,
            waiting: 0..1,
        }
    }

    /// Begins at one of the addresses; each request after that goes to the one after the last.
    pub fn round_robin(addresses: Arc<[Endpoint]>, first: usize) -> Result<Self, ClientError> {
        let count = addresses.len();
        if count == 0 {
            return Err(ClientError::Protocol("a route without addresses"));
        }
        Ok(Self {
            addresses,
            handshake: first % count,
            carrying: 0..count,
            waiting: 0..count,
        })
    }

    /// Begins at one address and goes on at another: the worst that a load balancer can do.
    pub fn passed_on(owner: Endpoint, other: Endpoint, what: PassedOn) -> Self {
        let side = |passed_on: bool| if passed_on { 1..2 } else { 0..1 };
        Self {
            addresses: [owner, other].into(),
            handshake: 0,
            carrying: side(what != PassedOn::Waiting),
            waiting: side(what != PassedOn::Carrying),
        }
    }

    /// Where the session begins.
    pub fn handshake(&self) -> &Endpoint {
        &self.addresses[self.handshake]
    }

    pub(super) fn addresses(&self) -> &Arc<[Endpoint]> {
        &self.addresses
    }

    pub(super) fn first(&self) -> usize {
        self.handshake
    }

    /// The address that a request goes to when the last one went to another.
    pub(super) fn after(&self, last: usize, purpose: Purpose) -> usize {
        let choices = match purpose {
            Purpose::Carry => &self.carrying,
            Purpose::Wait => &self.waiting,
        };
        let next = last + 1;
        if choices.contains(&next) {
            next
        } else {
            choices.start
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(count: u16) -> Vec<Endpoint> {
        (0..count)
            .map(|port| Endpoint::parse(&format!("http://127.0.0.1:{}", 4000 + port)).unwrap())
            .collect()
    }

    /// The handshake, and then requests of both kinds in turns.
    fn visits(route: &Route) -> Vec<usize> {
        let mut at = route.first();
        let mut visited = vec![at];
        for purpose in [Purpose::Wait, Purpose::Carry, Purpose::Wait, Purpose::Carry] {
            at = route.after(at, purpose);
            visited.push(at);
        }
        visited
    }

    #[test]
    fn each_request_goes_where_the_route_says() {
        let three: Arc<[Endpoint]> = endpoints(3).into();
        let around = Route::round_robin(Arc::clone(&three), 4).unwrap();
        assert_eq!(visits(&around), [1, 2, 0, 1, 2]);
        assert_eq!(visits(&Route::direct(three[0].clone())), [0; 5]);
        for (what, visited) in [
            (PassedOn::All, [0, 1, 1, 1, 1]),
            (PassedOn::Carrying, [0, 0, 1, 0, 1]),
            (PassedOn::Waiting, [0, 1, 0, 1, 0]),
        ] {
            let route = Route::passed_on(three[0].clone(), three[1].clone(), what);
            assert_eq!(visits(&route), visited, "{what:?}");
        }
        assert!(Route::round_robin(Vec::new().into(), 0).is_err());
    }
}
