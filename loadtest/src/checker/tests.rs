//! Good runs pass; each kind of bad run is caught, by its own rule.

mod recovered;
mod run;

use confab_shared::id::UserId;
use confab_shared::model::error::ErrorCode;

use super::{Case, Rule};
use crate::log::{Change, ChangeKind, History, Link, Outcome, Sent, Sight};
use crate::stamp::Stamp;
use crate::truth::StoredMessage;
use run::{MS, Run, link, message};

/// What a run breaks after something was done to it.
fn after(change: impl FnOnce(&mut Run)) -> Vec<Rule> {
    let mut run = Run::good(6);
    run.edit();
    change(&mut run);
    run.broken()
}

#[test]
fn a_good_run_is_clean() {
    assert_eq!(after(|_| {}), []);
    assert_eq!(after(Run::delete), []);
}

#[test]
fn a_lost_acknowledged_message_is_caught() {
    let lost = after(|run| {
        run.stored().messages.pop();
        run.stored().message_count -= 1;
        for log in &mut run.logs {
            log.seen.retain(|seen| seen.message != 105);
        }
    });
    assert!(lost.contains(&Rule::AckedIsStored), "{lost:?}");
}

#[test]
fn a_message_shown_but_not_stored_is_caught() {
    let lost = after(|run| {
        run.stored().messages.pop();
    });
    for rule in [Rule::AckedIsStored, Rule::OnlyStored, Rule::CountExact] {
        assert!(lost.contains(&rule), "{lost:?}");
    }
    assert_eq!(
        after(|run| run.logs[1].seen[0].place = 9),
        [Rule::Complete, Rule::OnlyStored]
    );
}

#[test]
fn a_retry_stored_twice_is_caught() {
    let found = after(|run| {
        let stored = run.stored();
        let again = StoredMessage {
            id: 200,
            seq: 50,
            change_seq: 50,
            ordinal: 7,
            ..stored.messages[5]
        };
        stored.messages.push(again);
        (stored.last_seq, stored.message_count) = (50, 7);
    });
    assert!(found.contains(&Rule::StoredOnce), "{found:?}");
}

#[test]
fn a_row_that_nobody_sent_is_caught() {
    assert!(after(|run| run.stored().messages[3].stamp = None).contains(&Rule::NothingInvented));
    assert!(
        after(|run| run.stored().messages[3].sender = UserId::generate())
            .contains(&Rule::NothingInvented)
    );
}

#[test]
fn a_dropped_delivery_is_caught() {
    assert_eq!(
        after(|run| {
            run.logs[2].seen.remove(2);
        }),
        [Rule::NoGap, Rule::Complete]
    );
    let last = after(|run| run.logs[2].seen.retain(|seen| seen.message != 105));
    assert_eq!(last, [Rule::Complete]);
    let first = after(|run| {
        run.logs[2].seen.remove(1);
    });
    assert_eq!(first, [Rule::NoGap, Rule::Complete]);
}

#[test]
fn a_second_delivery_is_caught() {
    assert_eq!(
        after(|run| run.logs[2].seen.insert(3, message(102, 4))),
        [Rule::DeliveredOnce]
    );
    assert_eq!(
        after(|run| run.logs[2].seen.insert(3, message(100, 2))),
        [Rule::DeliveredOnce]
    );
}

#[test]
fn another_order_is_caught() {
    assert_eq!(
        after(|run| run.logs[2].seen.swap(2, 3)),
        [Rule::DeliveredInOrder]
    );
}

#[test]
fn who_comes_back_must_have_it_all_by_the_history() {
    let back = |run: &mut Run, from: usize, history: &[(i64, u32)]| {
        let log = &mut run.logs[2];
        log.connections[0].closed = Some(20 * MS);
        log.connections.push(Link {
            opened: 30 * MS,
            ..link("new")
        });
        for seen in &mut log.seen[from..] {
            seen.connection = 1;
        }
        log.seen
            .retain(|seen| seen.sight != Sight::Message || !matches!(seen.message, 102 | 103));
        log.histories.push(History {
            conversation: 0,
            connection: 1,
            messages: history.to_vec(),
        });
    };
    assert_eq!(
        after(|run| back(run, 2, &[(103, 5), (102, 4), (101, 3)])),
        []
    );
    assert_eq!(after(|run| back(run, 2, &[(103, 5)])), [Rule::Complete]);
    assert_eq!(
        after(|run| back(run, 2, &[(102, 4), (103, 5)])),
        [Rule::DeliveredInOrder]
    );
    assert_eq!(
        after(|run| back(run, 2, &[(103, 5), (102, 4), (77, 3)])),
        [Rule::OnlyStored]
    );
    // A hole within one connection is a hole, even if a history fills it.
    assert_eq!(
        after(|run| back(run, 5, &[(103, 5), (102, 4)])),
        [Rule::NoGap]
    );
    assert_eq!(
        after(|run| run.logs[2].connections[0].closed = Some(MS)),
        [Rule::Connected]
    );
}

#[test]
fn what_was_never_answered_is_caught_and_what_is_unknown_may_be_either() {
    assert_eq!(
        after(|run| run.logs[1].sends[1].outcome = Outcome::Pending),
        [Rule::Answered]
    );
    assert_eq!(
        after(|run| run.logs[1].sends[1].outcome = Outcome::Unknown),
        []
    );
    let not_stored = Sent {
        conversation: 0,
        at: 999 * MS,
        attempts: 2,
        notices: 0,
        version: 0,
        outcome: Outcome::Unknown,
    };
    assert_eq!(after(|run| run.logs[1].sends.push(not_stored)), []);
    let refused = after(|run| run.logs[1].sends[1].outcome = Outcome::Refused(ErrorCode::Internal));
    assert_eq!(refused, [Rule::NotRefused, Rule::RefusedIsNotStored]);
    assert_eq!(
        after(|run| run.logs[1].sends[1].notices = 2),
        [Rule::NoticedOnce]
    );
}

#[test]
fn a_senders_messages_out_of_order_are_caught() {
    // Both are pipelined: neither was acknowledged when the other was sent.
    let swap = |run: &mut Run| {
        for send in [1, 2] {
            run.logs[0].sends[send].outcome = Outcome::Unknown;
        }
        let log = &mut run.logs[0];
        log.sends[1].outcome = Outcome::Done {
            value: 104,
            at: 800 * MS,
        };
        log.sends[2].outcome = Outcome::Done {
            value: 102,
            at: 800 * MS,
        };
        let (second, third) = (log.sends[1].at, log.sends[2].at);
        let stored = run.stored();
        stored.messages[2].stamp = Some(Stamp {
            client: 0,
            send: 2,
            version: 0,
            at: third,
        });
        stored.messages[4].stamp = Some(Stamp {
            client: 0,
            send: 1,
            version: 0,
            at: second,
        });
    };
    assert!(after(swap).contains(&Rule::SenderOrder));
    let retried = after(|run| {
        swap(run);
        run.logs[0].sends[1].attempts = 2;
    });
    assert!(!retried.contains(&Rule::SenderOrder), "{retried:?}");
}

#[test]
fn what_was_sent_after_an_acknowledgement_must_come_after_it() {
    let found = after(|run| {
        let early = 3 * MS;
        run.logs[1].sends[2].outcome = Outcome::Done {
            value: 105,
            at: early,
        };
        run.logs[1].sends[2].at = 0;
        run.stored().messages[5].stamp.as_mut().unwrap().at = 0;
    });
    assert_eq!(found, [Rule::RealTimeOrder]);
}

#[test]
fn edits_and_deletions_are_followed() {
    let row =
        |run: &mut Run, version| run.stored().messages[0].stamp.as_mut().unwrap().version = version;
    assert_eq!(
        after(|run| row(run, 0)),
        [Rule::ChangeStored, Rule::ChangeShown]
    );
    assert!(after(|run| row(run, 2)).contains(&Rule::NothingInvented));
    assert_eq!(
        after(|run| {
            run.logs[1].seen.pop();
        }),
        [Rule::ChangeShown]
    );
    let twice = after(|run| {
        let last = *run.logs[1].seen.last().unwrap();
        run.logs[1].seen.push(last);
    });
    assert_eq!(twice, [Rule::ChangeShownOnce]);
    let early = after(|run| {
        let edit = run.logs[1].seen.pop().unwrap();
        run.logs[1].seen.insert(0, edit);
    });
    assert_eq!(early, [Rule::ChangeShownInOrder, Rule::ChangeShown]);
    let undead = after(|run| {
        run.delete();
        run.logs[1].seen.swap(7, 8);
    });
    assert_eq!(undead, [Rule::ChangeShownInOrder, Rule::ChangeShown]);
    let unasked = after(|run| {
        run.delete();
        run.logs[0].changes.pop();
    });
    assert_eq!(unasked, [Rule::ChangeStored]);
    assert_eq!(
        after(|run| run.logs[1].seen.retain(|seen| seen.sight != Sight::Read)),
        [Rule::ChangeShown]
    );
}

#[test]
fn counters_are_compared_with_the_rows() {
    assert_eq!(
        after(|run| run.stored().messages[5].ordinal = 9),
        [Rule::OrdinalsDense, Rule::MarkerExact]
    );
    assert_eq!(
        after(|run| run.stored().message_count += 1),
        [Rule::CountExact]
    );
    assert_eq!(
        after(|run| run.stored().last_seq -= 1),
        [Rule::LastSeqCovers]
    );
    assert_eq!(
        after(|run| run.stored().members[2].read_seq = 3),
        [Rule::SeqUnique]
    );
}

#[test]
fn wrong_unread_counts_are_caught() {
    assert_eq!(after(|run| run.shown[0].unread += 1), [Rule::UnreadExact]);
    assert_eq!(
        after(|run| {
            run.shown.pop();
        }),
        [Rule::UnreadExact]
    );
    assert_eq!(
        after(|run| run.stored().members[1].read_count = 5),
        [Rule::MarkerExact]
    );
    assert_eq!(
        after(|run| run.stored().members[2].read_count = 6),
        [Rule::MarkerExact]
    );
    let unknown = after(|run| {
        run.logs[2].changes[0].outcome = Outcome::Unknown;
        run.stored().members[2].read_count = 0;
    });
    assert_eq!(unknown, []);
}

#[test]
fn reading_everything_covers_what_was_acknowledged_before() {
    let read_all = |run: &mut Run, at: u64, marker: i64| {
        let outcome = Outcome::Done {
            value: (),
            at: at + MS,
        };
        let change = Change {
            conversation: 0,
            message: 0,
            kind: ChangeKind::ReadAll,
            at,
            outcome,
        };
        run.logs[2].changes.push(change);
        run.stored().members[2].read_count = marker;
    };
    assert_eq!(after(|run| read_all(run, 900 * MS, 6)), []);
    assert_eq!(after(|run| read_all(run, 900 * MS, 5)), [Rule::MarkerExact]);
}

#[test]
fn evidence_is_kept_for_the_first_few_and_the_rest_is_counted() {
    let mut run = Run::good(40);
    for log in &mut run.logs {
        log.seen.retain(|seen| seen.sight != Sight::Message);
    }
    for sent in &mut run.logs[0].sends {
        sent.outcome = Outcome::Pending;
    }
    let case = Case {
        population: &run.population,
        logs: &run.logs,
        truth: &run.truth,
        shown: &run.shown,
    };
    let report = case.check();
    assert_eq!(report.counts()[&Rule::Answered], 20);
    let kept = report
        .violations()
        .iter()
        .filter(|violation| violation.rule == Rule::Answered)
        .count();
    assert_eq!(kept, 8);
    assert!(report.to_string().contains("and 12 more"), "{report}");
}
