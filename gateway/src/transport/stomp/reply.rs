//! Answers that are given later: a SEND's receipt says that its message is stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use confab_shared::model::error::Rejection;
use tokio::sync::Notify;

use super::link::StompLink;

/// What is owed to a client for one of its frames. Dropped unused, nothing is said: the node is going away, and the client will ask
/// another one.
#[derive(Debug)]
pub struct Reply {
    debt: Debt,
    destination: Box<str>,
    receipt: Option<Box<str>>,
    /// The COMMIT that it is a part of.
    commit: Option<Arc<Commit>>,
}

/// A COMMIT that asked for a receipt, which it gets when all of its messages are done.
#[derive(Debug)]
pub(super) struct Commit {
    receipt: Box<str>,
    left: AtomicUsize,
}

impl Commit {
    /// The receipt is due after so many replies.
    pub(super) fn new(receipt: &str, messages: usize) -> Arc<Self> {
        Arc::new(Self {
            receipt: receipt.into(),
            left: AtomicUsize::new(messages),
        })
    }
}

impl Reply {
    /// An answer to a frame about `destination` that may have asked for a receipt.
    pub fn new(link: &Arc<StompLink>, destination: &str, receipt: Option<&str>) -> Self {
        Self {
            debt: Debt::new(link),
            destination: destination.into(),
            receipt: receipt.map(Into::into),
            commit: None,
        }
    }

    /// The same as a part of a COMMIT.
    pub(super) fn within(self, commit: Option<Arc<Commit>>) -> Self {
        Self { commit, ..self }
    }

    /// The way back to the client.
    pub fn link(&self) -> &Arc<StompLink> {
        &self.debt.0
    }

    /// It is done: the client gets its receipt, if it asked for one.
    pub fn done(self) {
        let link = self.link();
        if let Some(receipt) = &self.receipt {
            link.receipt(receipt);
        }
        if let Some(commit) = &self.commit
            && commit.left.fetch_sub(1, Ordering::AcqRel) == 1
        {
            link.receipt(&commit.receipt);
        }
    }

    /// It is refused. There is no receipt, nor one for the COMMIT that it is a part of.
    pub fn refuse(self, rejection: &Rejection) {
        self.link()
            .refuse(rejection, &self.destination, self.receipt.as_deref());
    }
}

/// How many replies of a session are not given yet.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    count: AtomicUsize,
    none_left: Notify,
}

impl Unanswered {
    /// Resolves when everything that was asked is answered. There is one who waits.
    pub(super) async fn none(&self) {
        while self.count.load(Ordering::Acquire) > 0 {
            self.none_left.notified().await;
        }
    }
}

/// One that is counted there.
#[derive(Debug)]
struct Debt(Arc<StompLink>);

impl Debt {
    fn new(link: &Arc<StompLink>) -> Self {
        link.unanswered().count.fetch_add(1, Ordering::Relaxed);
        Self(link.clone())
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        let unanswered = self.0.unanswered();
        if unanswered.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Remembered where nobody waits yet, so that whoever has just looked is woken all the same.
            unanswered.none_left.notify_one();
        }
    }
}
