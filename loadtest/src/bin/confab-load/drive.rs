//! One client of a load: when it sends.

use std::sync::Arc;
use std::time::Duration;

use confab_loadtest::client::{ClientError, Connection};
use confab_loadtest::clock;
use confab_loadtest::log::ClientLog;
use confab_loadtest::member::Member;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// When a client sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Never.
    Listen,
    /// Whenever fewer than this many of its messages are unacknowledged.
    Closed { in_flight: usize },
    /// At fixed times, whatever comes back.
    Open { every: Duration },
}

/// What all clients of a load go by.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Nobody sends before.
    pub(crate) begin: Instant,
    /// Nobody sends from then on.
    pub(crate) end: Instant,
    /// Everything has arrived, or never will.
    pub(crate) finish: CancellationToken,
}

/// Runs a connected client until the plan is finished. `phase`, below 1, shifts the times at which it sends, so that clients with
/// fixed times do not all send at once.
pub(crate) async fn drive(
    mut connection: Connection,
    mut member: Member,
    pace: Pace,
    phase: f64,
    plan: Arc<Plan>,
) -> ClientLog {
    if let Err(error) = turn(&mut connection, &mut member, pace, phase, &plan).await {
        eprintln!("a client lost its connection: {error}");
        member.disconnected(clock::now());
    }
    member.into_log()
}

async fn turn(
    connection: &mut Connection,
    member: &mut Member,
    pace: Pace,
    phase: f64,
    plan: &Plan,
) -> Result<(), ClientError> {
    let finish = plan.finish.cancelled();
    tokio::pin!(finish);
    // When to look whether to send although nothing has come.
    let mut next = match pace {
        Pace::Listen => None,
        Pace::Closed { .. } => Some(plan.begin),
        Pace::Open { every } => Some(plan.begin + every.mul_f64(phase)),
    };
    loop {
        let now = clock::now();
        while let Some(packet) = connection.packet()? {
            member.receive(&packet, now);
        }
        match pace {
            Pace::Listen => {}
            Pace::Closed { in_flight } => {
                if member.unanswered() < in_flight && is_open(plan) {
                    next = None;
                    while member.unanswered() < in_flight {
                        member.send(connection, 0, now);
                    }
                }
            }
            Pace::Open { every } => {
                while let Some(due) = next.filter(|due| *due <= Instant::now()) {
                    member.send(connection, 0, clock::now());
                    next = Some(due + every).filter(|due| *due < plan.end);
                }
            }
        }
        connection.flush()?;
        tokio::select! {
            biased;
            came = connection.turn() => came?,
            () = sleep_until(next.unwrap_or(plan.end)), if next.is_some() => {}
            () = &mut finish => return Ok(()),
        }
    }
}

fn is_open(plan: &Plan) -> bool {
    let now = Instant::now();
    plan.begin <= now && now < plan.end
}
