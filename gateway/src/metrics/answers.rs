//! What is counted when a command is answered.

use std::time::Duration;

use confab_shared::model::command::Outcome;
use confab_shared::model::error::{ErrorCode, Rejection};

use super::Metrics;

/// What becomes of commands. The objective for sends is about those that did not have to be refused: what failed was not acknowledged,
/// however quickly that was said.
pub(super) const OUTCOMES: [&str; 3] = ["ok", "refused", "failed"];

impl Metrics {
    /// A command was answered, after so long.
    pub fn answered(&self, command: &str, after: Duration, outcome: &Result<Outcome, Rejection>) {
        self.commands_pending.dec();
        let (code, kind) = match outcome {
            Ok(_) => ("ok", "ok"),
            Err(rejection) => (rejection.code.as_str(), kind(rejection.code)),
        };
        self.command_seconds
            .with_label_values(&[command, kind])
            .observe(after.as_secs_f64());
        self.command_answers_total.with_label_values(&[code]).inc();
    }
}

fn kind(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::Overloaded | ErrorCode::Timeout | ErrorCode::Internal => "failed",
        ErrorCode::Unauthorized
        | ErrorCode::Forbidden
        | ErrorCode::NotFound
        | ErrorCode::ValidationFailed
        | ErrorCode::PayloadTooLarge
        | ErrorCode::RateLimited
        | ErrorCode::Conflict => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_acknowledged_counts_as_acknowledged() {
        let metrics = Metrics::new().unwrap();
        let answers = [
            Ok(Outcome::Done),
            Err(ErrorCode::Overloaded),
            Err(ErrorCode::Timeout),
            Err(ErrorCode::Internal),
            Err(ErrorCode::Forbidden),
        ];
        for answer in answers {
            metrics.commands_pending.inc();
            let outcome = answer.map_err(|code| Rejection::new(code, "no"));
            metrics.answered("send_message", Duration::from_micros(10), &outcome);
        }
        let counted = OUTCOMES.map(|outcome| {
            let seconds = &metrics.command_seconds;
            seconds
                .with_label_values(&["send_message", outcome])
                .get_sample_count()
        });
        assert_eq!(counted, [1, 1, 3]);
        assert_eq!(metrics.commands_pending.get(), 0);
    }
}
