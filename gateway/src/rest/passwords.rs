//! The hashing of passwords, kept off the async threads and within bounds.
//!
//! Each takes a core for tens of milliseconds and 19 MiB: so many run at a time as the settings say, some more may wait, and
//! the rest are sent away.

use std::sync::Arc;

use confab_shared::auth::{hash_password, verify_password};
use confab_shared::model::error::ErrorCode;
use tokio::sync::Semaphore;

use super::error::ApiError;

/// The hash of a password that nobody has, made as all others are: what is compared with when there is nothing to compare with.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$Y29uZmFiLWRlY295LXNsdA$EExX5fzTwTN+hNUhYsI5G+QdTY5Gl/M1Pi6L3iml6fM";

/// How many may be under way or waiting, for each that may run.
const PLACES_PER_RUNNER: usize = 64;

/// Hashes and checks passwords.
pub(super) struct Passwords {
    runners: Arc<Semaphore>,
    places: Semaphore,
}

impl Passwords {
    /// So many at a time.
    pub(super) fn new(concurrency: usize) -> Self {
        let concurrency = concurrency.clamp(1, Semaphore::MAX_PERMITS / PLACES_PER_RUNNER);
        Self {
            runners: Arc::new(Semaphore::new(concurrency)),
            places: Semaphore::new(concurrency * PLACES_PER_RUNNER),
        }
    }

    /// The hash of a new password.
    pub(super) async fn hash(&self, password: String) -> Result<String, ApiError> {
        let hash = self.run(move || hash_password(&password)).await?;
        hash.map_err(|error| {
            ApiError::internal(&format!("a password could not be hashed: {error}"))
        })
    }

    /// Whether a password matches a hash. Without a hash it does not, after the same work: how long an answer takes must not tell
    /// whether there is an account.
    pub(super) async fn matches(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, ApiError> {
        self.run(move || {
            let matches = verify_password(&password, hash.as_deref().unwrap_or(DECOY));
            matches && hash.is_some()
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let overloaded = || {
            ApiError::new(
                ErrorCode::Overloaded,
                "too many logins at the moment; try again",
            )
        };
        let place = self.places.try_acquire().map_err(|_| overloaded())?;
        let runner = self
            .runners
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| overloaded())?;
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work();
            // The work goes on when whoever asked is gone, so the permit belongs to it.
            drop(runner);
            outcome
        });
        let outcome = done
            .await
            .map_err(|error| ApiError::internal(&format!("a password task: {error}")));
        drop(place);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;

    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let passwords = Passwords::new(1);
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(
            passwords
                .matches("correct horse".to_owned(), Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .matches("wrong horse".to_owned(), Some(hash))
                .await
                .unwrap()
        );
        assert!(
            !passwords
                .matches("correct horse".to_owned(), None)
                .await
                .unwrap()
        );
    }

    #[test]
    fn the_decoy_is_made_as_all_others_are() {
        let parameters = |hash: &str| {
            let parts: Vec<&str> = hash.split('$').collect();
            (parts[..4].join("$"), parts[4].len(), parts[5].len())
        };
        let hash = hash_password("correct horse").unwrap();
        assert_eq!(parameters(DECOY), parameters(&hash));
    }

    /// What this thread has computed so far, in nanoseconds of CPU: whatever else runs here does not count.
    fn worked() -> f64 {
        let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        times.split(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn an_unknown_email_takes_as_much_work_as_a_wrong_password() {
        let hash = hash_password("correct horse").unwrap();
        let work = |hash: &str| {
            let before = worked();
            assert!(!verify_password("wrong horse", hash));
            worked() - before
        };
        let (mut known, mut unknown) = (f64::MAX, f64::MAX);
        for _ in 0..5 {
            known = known.min(work(&hash));
            unknown = unknown.min(work(DECOY));
        }
        let ratio = unknown / known;
        assert!((0.8..1.25).contains(&ratio), "{unknown} and {known} ns");
    }

    #[tokio::test]
    async fn a_crowd_is_sent_away() {
        let passwords = Passwords::new(1);
        let _taken = passwords.places.try_acquire_many(64).unwrap();
        let refused = passwords.run(|| ()).await.unwrap_err();
        assert_eq!(refused.into_response().status(), 503);
    }
}
