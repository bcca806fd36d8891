//! The leases and the registration, in Redis.

use std::time::Duration;

use confab_shared::id::Partition;
use confab_shared::redis::keyspace::Keyspace;
use confab_shared::redis::{Retries, begin, builder, scripts};
use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::KeysInterface;
use fred::types::scripts::Script;
use fred::types::{Expiration, SetOptions};

use crate::consumer::Context;

/// How many calls that end without an answer fit into a lease's term, so that all leases can be renewed in time whatever becomes of some:
/// there are renewals, then what is taken, the last of which may have just begun; and some time has to be left.
const SILENCES: u32 = 4;

/// The leases and the registration in Redis.
pub(super) struct Leases {
    client: Client,
    pub(super) worker: String,
    ttl: Duration,
    /// How long a call takes at the most.
    limit: Duration,
    register: Script,
    renew: Script,
    release: Script,
}

impl Leases {
    pub(super) async fn connect(context: &Context) -> Result<Self, Error> {
        let (config, ttl) = (&context.config.redis, context.config.worker.lease());
        let limit = config.command_timeout().min(ttl / SILENCES);
        let mut builder = builder(config, Retries::None)?;
        // The client's own limit and not one around its calls: what was given up must not be sent when Redis is back.
        builder.with_performance_config(|performance| performance.default_command_timeout = limit);
        let client = builder.build()?;
        begin(&client).await?;
        Ok(Self {
            client,
            worker: context.id.to_string(),
            ttl,
            limit,
            register: scripts::worker_register(),
            renew: scripts::lease_renew(),
            release: scripts::lease_release(),
        })
    }

    /// The connection.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// How long a call takes at the most.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    fn ttl_ms(&self) -> i64 {
        i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX)
    }

    /// Says that this worker lives, and learns who else does.
    pub(super) async fn register(&self) -> Result<Vec<String>, Error> {
        let arguments = vec![self.worker.clone(), self.ttl_ms().to_string()];
        scripts::run(&self.register, &self.client, Keyspace::workers(), arguments).await
    }

    pub(super) async fn unregister(&self) -> Result<(), Error> {
        let arguments = vec![self.worker.clone(), "0".to_owned()];
        let _live: Vec<String> =
            scripts::run(&self.register, &self.client, Keyspace::workers(), arguments).await?;
        Ok(())
    }

    /// Takes a lease if nobody has it, or if it was taken for us already and nobody heard of it.
    pub(super) async fn acquire(&self, partition: Partition) -> Result<bool, Error> {
        let expiration = Some(Expiration::PX(self.ttl_ms()));
        let former: Option<String> = self
            .client
            .set(
                Keyspace::lease(partition),
                self.worker.as_str(),
                expiration,
                Some(SetOptions::NX),
                true,
            )
            .await?;
        match former {
            None => Ok(true),
            Some(owner) if owner == self.worker => self.renew(partition).await,
            Some(_) => Ok(false),
        }
    }

    /// Extends a lease. False: it is not ours.
    pub(super) async fn renew(&self, partition: Partition) -> Result<bool, Error> {
        let arguments = vec![self.worker.clone(), self.ttl_ms().to_string()];
        let renewed: i64 = scripts::run(
            &self.renew,
            &self.client,
            Keyspace::lease(partition),
            arguments,
        )
        .await?;
        Ok(renewed == 1)
    }

    pub(super) async fn release(&self, partition: Partition) -> Result<(), Error> {
        let _released: i64 = scripts::run(
            &self.release,
            &self.client,
            Keyspace::lease(partition),
            vec![self.worker.clone()],
        )
        .await?;
        Ok(())
    }
}
