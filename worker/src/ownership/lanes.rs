//! The lanes, from the outside: started, told what to serve, started again when they fall.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use confab_shared::id::Partition;
use futures_util::FutureExt;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::consumer::{Context, LaneCommand, LaneReport, run_lane};

/// How long a lane that fell waits before it runs again, so that one which always falls does not take a core.
const RESTART_PAUSE: Duration = Duration::from_millis(200);

/// The tasks that process what this worker owns.
pub(super) struct Lanes {
    context: Context,
    reporting: UnboundedSender<LaneReport>,
    commands: Vec<UnboundedSender<LaneCommand>>,
    running: JoinSet<usize>,
}

impl Lanes {
    /// Starts as many as configured. They serve nothing yet.
    pub(super) fn start(context: Context, reporting: UnboundedSender<LaneReport>) -> Self {
        let count = usize::from(context.config.worker.lanes);
        let mut lanes = Self {
            context,
            reporting,
            commands: Vec::with_capacity(count),
            running: JoinSet::new(),
        };
        for index in 0..count {
            let commands = lanes.spawn(index, Duration::ZERO);
            lanes.commands.push(commands);
        }
        lanes
    }

    fn spawn(&mut self, index: usize, pause: Duration) -> UnboundedSender<LaneCommand> {
        let (commands, inbox) = unbounded_channel();
        let lane = AssertUnwindSafe(run_lane(
            self.context.clone(),
            inbox,
            self.reporting.clone(),
        ))
        .catch_unwind();
        self.running.spawn(async move {
            tokio::time::sleep(pause).await;
            match Box::pin(lane).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, lane = index, "a lane cannot run"),
                Err(_) => tracing::error!(
                    lane = index,
                    "a lane panicked; its partitions will be taken over anew"
                ),
            }
            index
        });
        commands
    }

    /// Which lane serves a partition. The same one as long as the process lives.
    pub(super) fn serving(&self, partition: Partition) -> usize {
        usize::from(partition.0) % self.commands.len().max(1)
    }

    /// Tells a partition's lane something.
    pub(super) fn tell(&self, partition: Partition, command: LaneCommand) {
        if let Some(lane) = self.commands.get(self.serving(partition)) {
            // A lane that has just ended is noticed where it is awaited, and its partitions are taken over anew.
            let _ = lane.send(command);
        }
    }

    /// Waits for a lane to end. None: all have ended.
    pub(super) async fn ended(&mut self) -> Option<usize> {
        loop {
            match self.running.join_next().await? {
                Ok(index) => return Some(index),
                Err(error) => tracing::error!(%error, "a lane was lost"),
            }
        }
    }

    /// Starts a lane that ended again. It serves nothing yet.
    pub(super) fn restart(&mut self, index: usize) {
        let commands = self.spawn(index, RESTART_PAUSE);
        if let Some(lane) = self.commands.get_mut(index) {
            *lane = commands;
        }
    }

    /// Lets the lanes end once they have done what they were told.
    pub(super) fn dismiss(&mut self) {
        self.commands.clear();
    }
}
