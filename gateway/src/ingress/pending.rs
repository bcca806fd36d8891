//! The commands of one partition that wait for their answer, in the order in which they were accepted.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use bytes::Bytes;
use confab_shared::id::CommandId;
use confab_shared::model::command::Outcome;
use confab_shared::model::error::Rejection;
use confab_shared::telemetry::Span;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What to do with a command's answer. Must not block.
pub(super) type Completion = Box<dyn FnOnce(Result<Outcome, Rejection>) + Send>;

/// There is no room for another command; its completion comes back.
pub(super) struct Refused(pub Completion);

/// A bounded, ordered table of commands that wait.
pub(super) struct Pending {
    table: Mutex<Table>,
    limit: usize,
    changed: Notify,
}

#[derive(Default)]
struct Table {
    next: u64,
    by_order: BTreeMap<u64, Waiting>,
    by_id: HashMap<CommandId, u64>,
    /// Every command before this place is in the stream, as far as is known.
    appended_before: u64,
    /// Every command before this place was in the stream at some time: it was accepted, and is not shed.
    accepted_before: u64,
    /// How often everything was to be added again. An append that began before does not count.
    generation: u64,
}

struct Waiting {
    id: CommandId,
    payload: Bytes,
    deadline: Instant,
    completions: Vec<Completion>,
    /// Its way into the stream, if that is traced.
    span: Span,
}

/// Commands to append next, in order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Their encoded envelopes.
    pub payloads: Vec<Bytes>,
    /// Whether they were accepted before: then they are not shed.
    pub accepted: bool,
    first: u64,
    last: u64,
    places: Vec<u64>,
    /// Those among them that are traced.
    traced: Vec<u64>,
    generation: u64,
}

impl Pending {
    /// An empty table that holds `limit` commands at the most.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            table: Mutex::default(),
            limit,
            changed: Notify::new(),
        }
    }

    /// Adds a command at the end. One that waits already is not added twice: both get its answer.
    pub(super) fn insert(
        &self,
        id: CommandId,
        payload: Bytes,
        deadline: Instant,
        span: Span,
        done: Completion,
    ) -> Result<(), Refused> {
        let mut table = self.table.lock();
        let table = &mut *table;
        if let Some(waiting) = table
            .by_id
            .get(&id)
            .and_then(|place| table.by_order.get_mut(place))
        {
            waiting.completions.push(done);
            return Ok(());
        }
        if table.by_order.len() >= self.limit {
            return Err(Refused(done));
        }
        let place = table.next;
        table.next += 1;
        table.by_id.insert(id, place);
        table.by_order.insert(
            place,
            Waiting {
                id,
                payload,
                deadline,
                completions: vec![done],
                span,
            },
        );
        self.changed.notify_one();
        Ok(())
    }

    /// Answers a command. False if it does not wait here.
    pub(super) fn complete(&self, id: CommandId, outcome: &Result<Outcome, Rejection>) -> bool {
        let waiting = self.table.lock().take(id);
        let Some(waiting) = waiting else { return false };
        for done in waiting.completions {
            done(outcome.clone());
        }
        true
    }

    /// Everything that waits is to be appended again.
    pub(super) fn readd(&self) {
        let mut table = self.table.lock();
        table.appended_before = 0;
        table.generation += 1;
        self.changed.notify_one();
    }

    /// Waits until [`next_batch`](Self::next_batch) may have something.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The next commands to append, at most `limit`: either all accepted before, or none.
    pub(super) fn next_batch(&self, limit: usize) -> Option<Batch> {
        let table = self.table.lock();
        let mut waiting = table.by_order.range(table.appended_before..).peekable();
        let first = *waiting.peek()?.0;
        let accepted = first < table.accepted_before;
        let mut batch = Batch {
            accepted,
            first,
            last: first,
            generation: table.generation,
            ..Batch::default()
        };
        for (place, waiting) in waiting.take(limit) {
            if (*place < table.accepted_before) != accepted {
                break;
            }
            batch.last = *place;
            batch.places.push(*place);
            if waiting.span.is_recorded() {
                batch.traced.push(*place);
            }
            batch.payloads.push(waiting.payload.clone());
        }
        Some(batch)
    }

    /// The first `count` commands of a batch are in the stream; the others did not fit and are refused.
    pub(super) fn appended(&self, batch: &Batch, count: usize, refusal: &Rejection) {
        let (mut refused, mut appended) = (Vec::new(), Vec::new());
        {
            let mut table = self.table.lock();
            let table = &mut *table;
            for place in &batch.places[count.min(batch.places.len())..] {
                if let Some(waiting) = table.by_order.remove(place) {
                    table.by_id.remove(&waiting.id);
                    refused.push(waiting);
                }
            }
            for place in &batch.traced {
                if let Some(waiting) = table.by_order.get_mut(place) {
                    appended.push(std::mem::take(&mut waiting.span));
                }
            }
            table.accepted_before = table.accepted_before.max(batch.last + 1);
            // If all was to be added again meanwhile, this append proves nothing.
            if table.generation == batch.generation && table.appended_before <= batch.first {
                table.appended_before = batch.last + 1;
            }
        }
        // Spans end, and completions run, where nobody waits for the table.
        drop(appended);
        for done in refused.into_iter().flat_map(|waiting| waiting.completions) {
            done(Err(refusal.clone()));
        }
    }

    /// It is not known whether a batch is in the stream: it is appended again, after whatever else may have been lost, and not
    /// shed, since it may have been accepted.
    pub(super) fn doubtful(&self, batch: &Batch) {
        let mut table = self.table.lock();
        table.accepted_before = table.accepted_before.max(batch.last + 1);
        table.appended_before = 0;
        table.generation += 1;
    }

    /// Refuses what has waited too long.
    pub(super) fn expire(&self, now: Instant, refusal: &Rejection) -> usize {
        let mut expired = Vec::new();
        {
            let mut table = self.table.lock();
            // Deadlines are in order of acceptance.
            while let Some(first) = table.by_order.first_entry() {
                if first.get().deadline > now {
                    break;
                }
                let waiting = first.remove();
                table.by_id.remove(&waiting.id);
                expired.push(waiting);
            }
        }
        let count = expired.len();
        for done in expired.into_iter().flat_map(|waiting| waiting.completions) {
            done(Err(refusal.clone()));
        }
        count
    }

    /// How many commands wait.
    pub(super) fn len(&self) -> usize {
        self.table.lock().by_order.len()
    }
}

impl Table {
    fn take(&mut self, id: CommandId) -> Option<Waiting> {
        let place = self.by_id.remove(&id)?;
        self.by_order.remove(&place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use confab_shared::model::error::ErrorCode;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::Duration;

    type Answers = Arc<Mutex<Vec<(CommandId, Result<Outcome, Rejection>)>>>;

    fn insert(pending: &Pending, answers: &Answers, id: CommandId, deadline: Instant) -> bool {
        let answers = answers.clone();
        let done: Completion = Box::new(move |outcome| answers.lock().push((id, outcome)));
        pending
            .insert(id, id.to_string().into(), deadline, Span::default(), done)
            .is_ok()
    }

    fn texts(batch: &Batch) -> Vec<String> {
        batch
            .payloads
            .iter()
            .map(|payload| String::from_utf8_lossy(payload).into_owned())
            .collect()
    }

    fn overloaded() -> Rejection {
        Rejection::new(ErrorCode::Overloaded, "full")
    }

    #[test]
    fn a_repeated_command_is_appended_once_and_answered_twice() {
        let (pending, answers) = (Pending::new(8), Answers::default());
        let id = CommandId::generate();
        assert!(insert(&pending, &answers, id, Instant::now()));
        assert!(insert(&pending, &answers, id, Instant::now()));
        assert_eq!(pending.next_batch(10).unwrap().payloads.len(), 1);
        assert!(pending.complete(id, &Ok(Outcome::Done)));
        assert_eq!(answers.lock().len(), 2);
        assert!(!pending.complete(id, &Ok(Outcome::Done)));
    }

    #[test]
    fn a_full_table_refuses_and_what_did_not_fit_the_stream_is_refused_by_name() {
        let (pending, answers) = (Pending::new(2), Answers::default());
        let ids: Vec<CommandId> = (0..3).map(|_| CommandId::generate()).collect();
        assert!(insert(&pending, &answers, ids[0], Instant::now()));
        assert!(insert(&pending, &answers, ids[1], Instant::now()));
        assert!(!insert(&pending, &answers, ids[2], Instant::now()));
        let batch = pending.next_batch(10).unwrap();
        pending.appended(&batch, 1, &overloaded());
        assert_eq!(*answers.lock(), [(ids[1], Err(overloaded()))]);
        assert!(pending.next_batch(10).is_none());
    }

    #[test]
    fn an_append_that_began_before_a_loss_does_not_count() {
        let (pending, answers) = (Pending::new(8), Answers::default());
        let id = CommandId::generate();
        insert(&pending, &answers, id, Instant::now());
        let batch = pending.next_batch(10).unwrap();
        pending.readd();
        pending.appended(&batch, 1, &overloaded());
        let again = pending.next_batch(10).unwrap();
        assert_eq!(texts(&again), [id.to_string()]);
        assert!(again.accepted, "what was accepted once is not shed");
    }

    #[test]
    fn what_may_have_been_accepted_is_not_shed() {
        let (pending, answers) = (Pending::new(8), Answers::default());
        insert(&pending, &answers, CommandId::generate(), Instant::now());
        let batch = pending.next_batch(10).unwrap();
        assert!(!batch.accepted);
        pending.doubtful(&batch);
        assert!(pending.next_batch(10).unwrap().accepted);
    }

    #[test]
    fn what_waited_too_long_is_refused_in_order() {
        let (pending, answers) = (Pending::new(8), Answers::default());
        let now = Instant::now();
        let (early, late) = (CommandId::generate(), CommandId::generate());
        insert(&pending, &answers, early, now);
        insert(&pending, &answers, late, now + Duration::from_secs(9));
        assert_eq!(pending.expire(now, &overloaded()), 1);
        assert_eq!(answers.lock()[0].0, early);
        assert_eq!(pending.len(), 1);
    }

    proptest! {
        /// Whatever is inserted, appended, lost and answered, in any order: the stream after its last loss holds the
        /// commands that still wait in the order in which they were accepted, and each command is answered exactly once.
        #[test]
        fn order_survives_losses(steps in prop::collection::vec(0_u8..6, 1..120), limit in 1_usize..5) {
            let (pending, answers) = (Pending::new(1_000), Answers::default());
            let (mut accepted, mut stream): (Vec<CommandId>, Vec<String>) = (Vec::new(), Vec::new());
            let mut answered = 0;
            for step in steps {
                match step {
                    0 | 1 => {
                        let id = CommandId::generate();
                        insert(&pending, &answers, id, Instant::now());
                        accepted.push(id);
                    }
                    2 => if let Some(batch) = pending.next_batch(limit) {
                        stream.extend(texts(&batch));
                        pending.appended(&batch, batch.payloads.len(), &overloaded());
                    },
                    3 => {
                        stream.clear();
                        pending.readd();
                    }
                    // An answer is lost: the batch is in the stream, or is not.
                    4 => if let Some(batch) = pending.next_batch(limit) {
                        if accepted.len() % 2 == 0 {
                            stream.extend(texts(&batch));
                        }
                        pending.doubtful(&batch);
                    },
                    _ => if let Some(first) = stream.first().cloned() {
                        stream.remove(0);
                        if pending.complete(first.parse().unwrap(), &Ok(Outcome::Done)) {
                            answered += 1;
                        }
                    },
                }
            }
            while let Some(batch) = pending.next_batch(limit) {
                stream.extend(texts(&batch));
                pending.appended(&batch, batch.payloads.len(), &overloaded());
            }
            let done: Vec<CommandId> = answers.lock().iter().map(|(id, _)| *id).collect();
            prop_assert_eq!(done.len(), answered);
            let waiting: Vec<String> =
                accepted.iter().filter(|id| !done.contains(id)).map(ToString::to_string).collect();
            // Of what is in the stream more than once, the first counts: workers know the others by their ids.
            let mut streamed: Vec<String> = Vec::new();
            for id in stream {
                if waiting.contains(&id) && !streamed.contains(&id) {
                    streamed.push(id);
                }
            }
            prop_assert_eq!(streamed, waiting);
        }
    }
}
