//! Whose a token is, and that it was nobody's.

use std::sync::Arc;

use confab_shared::auth::Claims;
use confab_shared::model::account::Profile;
use confab_shared::postgres::tokens;

use super::{Chat, unauthorized};
use crate::transport::application::ConnectError;

impl Chat {
    /// What a token says, if it is ours and not over.
    pub(super) fn verify(&self, token: &str) -> Result<Claims, ConnectError> {
        self.node.tokens.verify(token).map_err(|error| {
            tracing::debug!(%error, "a socket was refused");
            self.not_believed(error.as_str());
            unauthorized()
        })
    }

    fn not_believed(&self, reason: &str) {
        let failures = &self.node.metrics.auth_failures_total;
        failures.with_label_values(&["socket", reason]).inc();
    }

    /// The token's bearer. The account must still be there, and the token good. To be asked when signals are listened for: a token that
    /// ends later ends the socket.
    pub(super) async fn bearer(&self, claims: &Claims) -> Result<Arc<Profile>, ConnectError> {
        let bearer = tokens::bearer(&self.node.database, claims);
        match self
            .node
            .metrics
            .postgres
            .time("authenticate", bearer)
            .await
        {
            Ok(Some(account)) => Ok(Arc::new(account.into())),
            Ok(None) => {
                self.not_believed("revoked");
                Err(unauthorized())
            }
            Err(error) => {
                tracing::warn!(%error, "a socket could not be authenticated");
                Err(ConnectError::Unavailable)
            }
        }
    }
}
