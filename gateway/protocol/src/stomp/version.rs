//! The versions, and how client and server agree on one.

use std::fmt;

/// A version of STOMP. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 1.0, which knows neither escapes nor heart-beats.
    V1_0,
    /// 1.1.
    V1_1,
    /// 1.2.
    V1_2,
}

impl Version {
    /// All of them, the best one first.
    const BEST_FIRST: [Self; 3] = [Self::V1_2, Self::V1_1, Self::V1_0];

    /// Its number, as `accept-version` and `version` have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_1 => "1.1",
            Self::V1_2 => "1.2",
        }
    }

    /// The best version that a CONNECT's `accept-version` names, or `None` if it names none of ours. Who does not send
    /// that header speaks 1.0.
    pub fn negotiate(accept_version: Option<&str>) -> Option<Self> {
        match accept_version {
            None => Some(Self::V1_0),
            Some(numbers) => best(numbers.split(','), Self::as_str),
        }
    }

    /// The token by which WebSocket handshakes name it as a subprotocol.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::V1_0 => "v10.stomp",
            Self::V1_1 => "v11.stomp",
            Self::V1_2 => "v12.stomp",
        }
    }

    /// The version that a subprotocol's token names.
    pub fn of_subprotocol(token: &str) -> Option<Self> {
        best([token], Self::subprotocol)
    }

    /// The best one among the values of a request's `Sec-WebSocket-Protocol` headers, each a list of tokens.
    pub fn best_of_subprotocols<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let tokens = offered.into_iter().flat_map(|list| list.split(','));
        best(tokens, Self::subprotocol)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The best version with one of these names.
fn best<'a>(
    named: impl IntoIterator<Item = &'a str>,
    name: impl Fn(Version) -> &'static str,
) -> Option<Version> {
    named
        .into_iter()
        .filter_map(|named| {
            let named = named.trim();
            Version::BEST_FIRST
                .into_iter()
                .find(|&version| name(version) == named)
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_common_version_is_spoken() {
        let vectors = [
            (None, Some(Version::V1_0)),
            (Some("1.0"), Some(Version::V1_0)),
            (Some("1.0,1.1,1.2"), Some(Version::V1_2)),
            (Some("1.2,1.1,1.0"), Some(Version::V1_2)),
            (Some("1.1, 1.0"), Some(Version::V1_1)),
            (Some("1.1,2.0,"), Some(Version::V1_1)),
            (Some("2.0"), None),
            (Some("1"), None),
            (Some(""), None),
        ];
        for (accept_version, version) in vectors {
            assert_eq!(
                Version::negotiate(accept_version),
                version,
                "{accept_version:?}"
            );
        }
    }

    #[test]
    fn subprotocols_name_versions() {
        for version in Version::BEST_FIRST {
            assert_eq!(
                Version::of_subprotocol(version.subprotocol()),
                Some(version)
            );
        }
        assert_eq!(Version::of_subprotocol("v13.stomp"), None);
        let best = |offered: &[&str]| Version::best_of_subprotocols(offered.iter().copied());
        assert_eq!(
            best(&["v10.stomp, v11.stomp,v12.stomp"]),
            Some(Version::V1_2)
        );
        assert_eq!(
            best(&["chat", "v10.stomp", "v11.stomp"]),
            Some(Version::V1_1)
        );
        assert_eq!(best(&["mqtt,V12.STOMP"]), None);
        assert_eq!(best(&[]), None);
    }
}
