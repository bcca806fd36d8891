//! A client whose session is recovered: to it the connection never broke, and the checker takes it at its word.

use crate::checker::{Case, Rule};
use crate::log::{ClientLog, History, Link, Seen, Sight, TOMBSTONE};

use super::run::{MS, Run, link, message};

/// What a run breaks in which client 2 is cut off after three messages and recovered, after something else was done to it. Of
/// what it sees, 0 to 5 are the messages, of which 3 to 5 come after the gap; then come a reading, and an edit of message 100.
fn recovered(change: impl FnOnce(&mut Run)) -> Vec<Rule> {
    let mut run = Run::good(6);
    run.edit();
    cut(&mut run, 3, true);
    change(&mut run);
    run.broken()
}

/// Client 2's connection breaks before what it saw at `from`.
fn cut(run: &mut Run, from: usize, recovered: bool) {
    cut_off(&mut run.logs[2], from, recovered);
}

fn cut_off(log: &mut ClientLog, from: usize, recovered: bool) {
    let before = log.connections.len() - 1;
    log.connections[before].closed = Some(20 * MS);
    let next = if recovered {
        log.connections[before].clone()
    } else {
        link("another")
    };
    log.connections.push(Link {
        gateway: 1,
        opened: 30 * MS,
        closed: None,
        recovered,
        ..next
    });
    for seen in &mut log.seen[from..] {
        seen.connection += 1;
    }
}

#[test]
fn a_recovered_session_that_missed_nothing_is_clean() {
    assert_eq!(recovered(|_| {}), []);
    assert_eq!(recovered(|run| cut(run, 5, true)), []);
    // The gap may lie before everything, and after it.
    assert_eq!(
        recovered(|run| {
            for seen in &mut run.logs[2].seen {
                seen.connection = 1;
            }
        }),
        []
    );
    assert_eq!(
        recovered(|run| {
            for seen in &mut run.logs[2].seen {
                seen.connection = 0;
            }
        }),
        []
    );
}

#[test]
fn a_message_lost_in_a_recovered_gap_is_caught() {
    let found = recovered(|run| {
        run.logs[2].seen.remove(3);
    });
    assert_eq!(found, [Rule::Complete, Rule::RecoveredComplete]);
    // Nothing comes after it that shows the hole.
    let found = recovered(|run| {
        run.logs[2]
            .seen
            .retain(|seen| !(103..=105).contains(&seen.message));
    });
    assert!(found.contains(&Rule::Complete), "{found:?}");
    // A hole elsewhere is an ordinary one.
    let found = recovered(|run| {
        run.logs[2].seen.remove(4);
    });
    assert_eq!(found, [Rule::NoGap, Rule::Complete]);
}

#[test]
fn a_history_does_not_heal_what_a_recovery_lost() {
    let found = recovered(|run| {
        cut(run, 5, false);
        run.logs[2].seen.remove(3);
        run.logs[2].histories.push(History {
            conversation: 0,
            connection: 2,
            messages: vec![(104, 6), (103, 5), (102, 4)],
        });
    });
    assert_eq!(found, [Rule::RecoveredComplete]);
}

#[test]
fn a_message_that_comes_again_after_a_recovered_gap_is_caught() {
    for (message_id, seq) in [(102, 4), (100, 2)] {
        let found = recovered(|run| {
            let mut again = message(message_id, seq);
            again.connection = 1;
            run.logs[2].seen.insert(3, again);
        });
        assert_eq!(found, [Rule::RecoveredOnce]);
    }
    let found = recovered(|run| {
        let again = run.logs[2].seen[4];
        run.logs[2].seen.insert(5, again);
    });
    assert_eq!(found, [Rule::DeliveredOnce]);
}

#[test]
fn what_is_older_than_the_session_is_not_part_of_its_gap() {
    let found = recovered(|run| {
        let old = run.logs[2].seen.remove(0);
        run.logs[2].seen.insert(
            3,
            Seen {
                connection: 1,
                ..old
            },
        );
    });
    assert_eq!(found, [Rule::RecoveredInOrder]);
}

#[test]
fn another_order_after_a_recovered_gap_is_caught() {
    assert_eq!(
        recovered(|run| run.logs[2].seen.swap(3, 4)),
        [Rule::RecoveredInOrder]
    );
}

#[test]
fn an_edit_lost_or_repeated_over_a_recovered_gap_is_caught() {
    assert_eq!(
        recovered(|run| run.logs[2].seen.retain(|seen| seen.sight != Sight::Edited)),
        [Rule::ChangeShown]
    );
    // The reading is client 2's own: another client has to miss it.
    let unread = recovered(|run| {
        cut_off(&mut run.logs[1], 3, true);
        run.logs[1].seen.retain(|seen| seen.sight != Sight::Read);
    });
    assert_eq!(unread, [Rule::ChangeShown]);
    let again = |run: &mut Run, sight: Sight, version: u16| {
        cut(run, run.logs[2].seen.len(), true);
        let mut last = *run.logs[2].seen.last().unwrap();
        (last.connection, last.sight, last.version) = (2, sight, version);
        run.logs[2].seen.push(last);
    };
    assert_eq!(
        recovered(|run| again(run, Sight::Edited, 1)),
        [Rule::RecoveredOnce]
    );
    let twice = recovered(|run| {
        run.delete();
        again(run, Sight::Deleted, TOMBSTONE);
    });
    assert_eq!(twice, [Rule::RecoveredOnce]);
    let late = recovered(|run| {
        run.delete();
        again(run, Sight::Edited, 0);
    });
    assert!(late.contains(&Rule::RecoveredInOrder), "{late:?}");
}

#[test]
fn a_recovered_session_keeps_its_ids_and_shares_them_with_nobody() {
    let ids = |sid: &str, pid: Option<&str>| {
        let (sid, pid) = (sid.to_owned(), pid.map(str::to_owned));
        recovered(|run| {
            let link = &mut run.logs[2].connections[1];
            (link.sid, link.pid) = (sid, pid);
        })
    };
    assert_eq!(ids("sid 2", Some("pid 2")), []);
    assert_eq!(ids("sid 3", Some("pid 2")), [Rule::RecoveredIsTheSame]);
    assert_eq!(ids("sid 2", Some("pid 3")), [Rule::RecoveredIsTheSame]);
    assert_eq!(ids("sid 2", None), [Rule::RecoveredIsTheSame]);
    let first = recovered(|run| run.logs[1].connections[0].recovered = true);
    assert_eq!(first, [Rule::RecoveredIsTheSame]);
    let shared = recovered(|run| run.logs[1].connections[0].sid = "sid 2".into());
    assert_eq!(shared, [Rule::RecoveredIsTheSame]);
}

#[test]
fn who_was_not_recovered_is_held_to_the_ordinary_rules() {
    let apart = |change: fn(&mut Run)| {
        let mut run = Run::good(6);
        run.edit();
        cut(&mut run, 3, false);
        change(&mut run);
        run.broken()
    };
    assert_eq!(apart(|_| {}), []);
    // In a new session a message may come that came in the last one, and one that is missing is missing.
    let again = apart(|run| {
        let mut again = message(102, 4);
        again.connection = 1;
        run.logs[2].seen.insert(3, again);
    });
    assert_eq!(again, []);
    let lost = apart(|run| {
        run.logs[2].seen.remove(3);
    });
    assert_eq!(lost, [Rule::Complete]);
    // An old session's id under the cloak of a new one.
    let same = apart(|run| run.logs[2].connections[1].sid = "sid 2".into());
    assert_eq!(same, [Rule::RecoveredIsTheSame]);
}

#[test]
fn reconnections_are_counted() {
    let mut run = Run::good(6);
    cut(&mut run, 3, true);
    cut(&mut run, 5, false);
    let case = Case {
        population: &run.population,
        logs: &run.logs,
        truth: &run.truth,
        shown: &run.shown,
    };
    let report = case.check();
    let recoveries = report.recoveries();
    assert_eq!((recoveries.recovered(), recoveries.reconnections()), (1, 2));
    assert_eq!(
        recoveries.to_string(),
        "1 of 2 reconnections recovered, polling 1 of 2"
    );
    assert_eq!(
        recoveries.missed(),
        ["client 2 (polling), 10 ms from gateway 1 to gateway 1"]
    );
}
