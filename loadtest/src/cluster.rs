//! The cluster under load, as its state file describes it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::http::Endpoint;

/// What `deploy/dev` and `deploy/test` write down about a running cluster.
#[derive(Debug, Clone, Deserialize)]
pub struct Cluster {
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// The workers.
    pub workers: Vec<Worker>,
    /// Redis, of one server or of several.
    pub redis: Redis,
    /// The one PostgreSQL; the process is its postmaster.
    pub postgres: Service,
    /// The directory that the gateways and workers were started from.
    #[serde(default)]
    pub programs: PathBuf,
    /// What tokens are signed with; else `JWT_SECRET` of the environment.
    #[serde(rename = "jwtSecret")]
    secret: Option<String>,
}

/// A gateway process.
#[derive(Debug, Clone, Deserialize)]
pub struct Gateway {
    /// Its process.
    pub pid: u32,
    /// Where clients reach it.
    pub url: String,
    /// Where it tells its metrics.
    pub internal: String,
    /// The command that starts it again.
    pub restart: Vec<String>,
}

/// A worker process.
#[derive(Debug, Clone, Deserialize)]
pub struct Worker {
    /// Its process.
    pub pid: u32,
    /// The command that starts it again.
    pub restart: Vec<String>,
}

/// Redis, as the programs see it, and its servers.
#[derive(Debug, Clone, Deserialize)]
pub struct Redis {
    /// Where it is reached.
    pub url: String,
    /// The first server's process.
    pub pid: u32,
    /// The command that starts that again.
    pub restart: Vec<String>,
    /// All servers, primaries and replicas.
    pub servers: Vec<Service>,
    /// Those who watch over them.
    pub sentinels: Vec<Service>,
}

/// PostgreSQL, or one of Redis' servers.
#[derive(Debug, Clone, Deserialize)]
pub struct Service {
    /// Where it is reached.
    pub url: String,
    /// Its process.
    pub pid: u32,
    /// The command that starts it again.
    pub restart: Vec<String>,
}

/// Why a cluster is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The state file cannot be read.
    #[error("{path}: {source} (is a cluster running? `deploy/dev --detach` starts one)")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The state file does not say what it should.
    #[error("{path}: {reason}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Nobody says what tokens are signed with.
    #[error("neither jwtSecret in the state file nor JWT_SECRET in the environment")]
    NoSecret,
}

impl Cluster {
    /// Reads a state file.
    pub fn load(path: &Path) -> Result<Self, ClusterError> {
        let text = std::fs::read(path).map_err(|source| ClusterError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let malformed = |reason: String| ClusterError::Malformed {
            path: path.to_owned(),
            reason,
        };
        let cluster: Self =
            serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
        if cluster.gateways.is_empty() {
            return Err(malformed("it names no gateway".into()));
        }
        if let Some(bad) = cluster
            .gateways
            .iter()
            .find(|gateway| Endpoint::parse(&gateway.url).is_none())
        {
            return Err(malformed(format!("{} is not http://host:port", bad.url)));
        }
        Ok(cluster)
    }

    /// Where the gateways listen, in order.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.gateways
            .iter()
            .filter_map(|gateway| Endpoint::parse(&gateway.url))
            .collect()
    }

    /// What tokens are signed with.
    pub fn secret(&self) -> Result<String, ClusterError> {
        self.secret
            .clone()
            .or_else(|| std::env::var("JWT_SECRET").ok())
            .ok_or(ClusterError::NoSecret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_file_is_read() {
        let program = |more: &str| {
            format!(r#"{{"pid":1,"internal":"http://127.0.0.1:4000","restart":["x"]{more}}}"#)
        };
        let service = r#"{"url":"redis://127.0.0.1:1","pid":2,"restart":["y","redis"]}"#;
        let redis = service.replace('}', &format!(r#","servers":[{service}],"sentinels":[]}}"#));
        let text = format!(
            r#"{{"gateways":[{}],"workers":[{}],"redis":{redis},"postgres":{service},"jwtSecret":"s"}}"#,
            program(r#","url":"http://127.0.0.1:3000""#),
            program(""),
        );
        let path = std::env::temp_dir().join(format!("confab-state-{}.json", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let cluster = Cluster::load(&path);
        std::fs::remove_file(&path).unwrap();
        let cluster = cluster.unwrap();
        assert_eq!(cluster.endpoints()[0].authority(), "127.0.0.1:3000");
        assert_eq!(cluster.secret().unwrap(), "s");
        assert!(matches!(
            Cluster::load(&path),
            Err(ClusterError::Unreadable { .. })
        ));
    }
}
