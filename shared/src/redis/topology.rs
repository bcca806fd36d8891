//! What kind of deployment Redis is, and whether the one that is there is the one that the settings name.

use std::time::Duration;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::ClientLike;
use fred::types::config::{Config, Server, ServerConfig};
use fred::types::{Builder, InfoKind};

use super::RedisConfig;
use super::keyspace::Keyspace;

/// The lowest version that has sharded channels.
const FLOOR: u32 = 7;

/// How many Redis servers there are, and who says which one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// One.
    Single,
    /// One at a time: Sentinels say which.
    Sentinel,
    /// Several, each with a part of the keys.
    Cluster,
}

impl Topology {
    fn of(server: &ServerConfig) -> Self {
        match server {
            ServerConfig::Centralized { .. } => Self::Single,
            ServerConfig::Sentinel { .. } => Self::Sentinel,
            ServerConfig::Clustered { .. } => Self::Cluster,
        }
    }

    /// What a server says of itself that a URL of this kind names.
    fn mode(self) -> &'static str {
        match self {
            Self::Single => "standalone",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }

    /// How such a URL begins, but for the `s` of one with TLS.
    fn scheme(self) -> &'static str {
        match self {
            Self::Single => "redis://",
            Self::Sentinel => "redis-sentinel://",
            Self::Cluster => "redis-cluster://",
        }
    }

    fn of_mode(mode: &str) -> Option<Self> {
        [Self::Single, Self::Sentinel, Self::Cluster]
            .into_iter()
            .find(|topology| topology.mode() == mode)
    }
}

/// Why Redis cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum Unsuitable {
    /// The URL is none, or who is there does not want us.
    #[error("redis.url: {0}")]
    Url(#[from] Error),
    /// It is of another kind than the URL says.
    #[error("redis.url: {server} is {found}, so the URL has to begin with {wanted}")]
    Kind {
        /// Which server.
        server: String,
        /// What it says it is.
        found: String,
        /// What the URL has to be.
        wanted: &'static str,
    },
    /// It lacks what is needed.
    #[error("redis.url: {server} is Redis {version}, and {FLOOR}.0 or newer is needed")]
    Version {
        /// Which server.
        server: String,
        /// Its version.
        version: String,
    },
}

impl RedisConfig {
    /// What kind of deployment the URL names.
    pub fn topology(&self) -> Result<Topology, Error> {
        Ok(Topology::of(&self.client()?.server))
    }

    /// The names of keys and channels there.
    pub fn keyspace(&self, partitions: u16) -> Result<Keyspace, Error> {
        let keyspace = Keyspace::new(partitions);
        Ok(match self.topology()? {
            Topology::Cluster => keyspace.on_cluster(),
            Topology::Single | Topology::Sentinel => keyspace,
        })
    }
}

/// Looks at the first server of the URL that answers: whether it is of the kind that the URL says, since a client of another kind would
/// never connect. Servers that are away are waited for elsewhere, like any connection.
pub async fn examine(config: &RedisConfig) -> Result<(), Unsuitable> {
    let redis = config.client()?;
    for server in redis.server.hosts() {
        let limit = Duration::from_millis(config.connect_timeout_ms);
        match tokio::time::timeout(limit, ask(&redis, &server)).await {
            Ok(Ok(info)) => {
                return judge_kind(&server.to_string(), Topology::of(&redis.server), &info);
            }
            Ok(Err(error)) => tracing::debug!(%error, %server, "not examined"),
            Err(_) => tracing::debug!(%server, "not examined: no answer"),
        }
    }
    Ok(())
}

/// Looks at the servers that a connected client talks to: whether they have what is needed, and keep what they are given. They are not
/// those of the URL: Sentinels keep nothing, and a cluster's servers need not be of one version.
pub async fn examine_servers(client: &Client) -> Result<(), Unsuitable> {
    let expected = match Topology::of(&client.client_config().server) {
        // It is they who are Sentinels; who keeps the data is a server like any other.
        Topology::Sentinel => Topology::Single,
        expected => expected,
    };
    for server in client.active_connections() {
        match client
            .with_cluster_node(&server)
            .info::<String>(None::<InfoKind>)
            .await
        {
            Ok(info) => {
                // It may have been away when the URL's servers were looked at.
                judge_kind(&server.to_string(), expected, &info)?;
                judge_server(&server.to_string(), &info)?;
            }
            Err(error) => tracing::debug!(%error, %server, "not examined"),
        }
    }
    Ok(())
}

/// What a server says of itself, over a connection of its own that expects nothing.
async fn ask(redis: &Config, server: &Server) -> Result<String, Error> {
    let (username, password) = match &redis.server {
        ServerConfig::Sentinel {
            username, password, ..
        } => (username.clone(), password.clone()),
        ServerConfig::Centralized { .. } | ServerConfig::Clustered { .. } => {
            (redis.username.clone(), redis.password.clone())
        }
    };
    let alone = Config {
        server: ServerConfig::Centralized {
            server: server.clone(),
        },
        username,
        password,
        database: None,
        fail_fast: true,
        ..redis.clone()
    };
    let client = Builder::from_config(alone).build()?;
    client.init().await?;
    let info: String = client.info(None::<InfoKind>).await?;
    client.quit().await?;
    Ok(info)
}

/// A field of what a server says of itself.
fn field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn judge_kind(server: &str, expected: Topology, info: &str) -> Result<(), Unsuitable> {
    let mode = field(info, "redis_mode").unwrap_or_default();
    // Others that speak Redis' protocol may say something else, or nothing: they are taken at the URL's word.
    match Topology::of_mode(mode) {
        Some(found) if found != expected => Err(Unsuitable::Kind {
            server: server.to_owned(),
            found: mode.to_owned(),
            wanted: found.scheme(),
        }),
        _ => Ok(()),
    }
}

fn judge_server(server: &str, info: &str) -> Result<(), Unsuitable> {
    let version = field(info, "redis_version").unwrap_or_default();
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major.is_some_and(|major: u32| major < FLOOR) {
        return Err(Unsuitable::Version {
            server: server.to_owned(),
            version: version.to_owned(),
        });
    }
    let policy = field(info, "maxmemory_policy").unwrap_or("noeviction");
    let is_limited = field(info, "maxmemory").is_some_and(|limit| limit != "0");
    if is_limited && policy != "noeviction" {
        tracing::warn!(
            server,
            policy,
            "Redis may throw away what Confab keeps there: set maxmemory-policy noeviction"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_what_redis_is() {
        let cases = [
            ("redis://cache:6379", Topology::Single),
            ("redis-cluster://a:1?node=b:2&node=c:3", Topology::Cluster),
            (
                "redis-sentinel://a:1?node=b:2&sentinelServiceName=confab",
                Topology::Sentinel,
            ),
        ];
        for (url, topology) in cases {
            let config = RedisConfig::at(url);
            assert_eq!(config.topology().unwrap(), topology, "{url}");
            let clustered = config.keyspace(16).unwrap().is_clustered();
            assert_eq!(clustered, topology == Topology::Cluster);
        }
        assert!(RedisConfig::at("redis-sentinel://a:1").topology().is_err());
    }

    #[test]
    fn another_kind_of_redis_is_named() {
        let judge = |expected, mode: &str| {
            let info = format!("# Server\r\nredis_version:7.0.15\r\nredis_mode:{mode}\r\n");
            judge_kind("a:1", expected, &info)
        };
        assert!(judge(Topology::Single, "standalone").is_ok());
        assert!(judge(Topology::Cluster, "cluster").is_ok());
        assert!(judge(Topology::Sentinel, "sentinel").is_ok());
        assert!(judge(Topology::Single, "").is_ok(), "not Redis' own server");
        let wrong = judge(Topology::Single, "cluster").unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "redis.url: a:1 is cluster, so the URL has to begin with redis-cluster://"
        );
        let wrong = judge(Topology::Cluster, "standalone").unwrap_err();
        assert!(wrong.to_string().ends_with("begin with redis://"));
    }

    #[test]
    fn an_old_redis_is_named() {
        let judge = |version: &str| {
            let info = format!("# Server\r\nredis_version:{version}\r\nmaxmemory:0\r\n");
            judge_server("a:1", &info)
        };
        assert!(judge("7.0.15").is_ok());
        assert!(judge("8.2.1").is_ok());
        let old = judge("6.2.14").unwrap_err();
        assert_eq!(
            old.to_string(),
            "redis.url: a:1 is Redis 6.2.14, and 7.0 or newer is needed"
        );
    }
}
