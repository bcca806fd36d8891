//! How much members have not read who have not joined the room, and when they are told.
//!
//! Pure. A count is read once, as PostgreSQL has it at a known change, and goes on from there with the room's events, so that no
//! message costs a query. What an event alone does not tell (how much is left after a reading half way) makes a count unknown, and
//! it is read again. Each member is told at once, then once in a while, and always of the last state. Must never know sockets.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use confab_shared::id::{MessageId, Seq, UserId};
use confab_shared::model::event::{Event, Fact};
use confab_shared::model::message::{Message, MessageStatus};

use super::count::{Known, Step, apply, status};
use crate::hub::input::{Counted, Newest};

/// How many changes are remembered while counts are being read. A reading that takes longer than these is done again.
const MOST_LOGGED: usize = 1_024;

/// The members who are told, and what.
#[derive(Debug)]
pub(super) struct Tally {
    /// Nothing is known of most: nothing has happened since they are looked after.
    counts: HashMap<UserId, Option<Box<Count>>>,
    /// The newest message.
    last: Newest,
    /// What happened since the first reading that is under way.
    log: VecDeque<(Seq, Step)>,
    /// Up to where the log has lost something.
    lost: Seq,
    /// The readings that are under way.
    readings: Vec<u64>,
    /// Up to this reading, none tells what the last message is: it was perhaps changed meanwhile.
    unsure: u64,
    /// When somebody is to be told, at the earliest.
    due: Option<Instant>,
    interval: Duration,
}

/// What is known of one member.
#[derive(Debug, Default)]
struct Count {
    known: Option<Known>,
    /// There is something to tell.
    owed: bool,
    /// By which reading it is being read. Another's answer is of no use to it: that was asked when the user was a member before.
    reading: Option<u64>,
    told: Option<Told>,
    told_at: Option<Instant>,
}

/// What a member was told: the count, and the last message with its last change.
type Told = (i64, MessageStatus, Option<(MessageId, Seq)>);

/// What one member is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Who.
    pub(super) user: UserId,
    /// How many messages it has not read.
    pub(super) unread: i64,
    /// How far the last message has come, for it.
    pub(super) status: MessageStatus,
}

/// Counts that have to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Whose.
    pub users: Vec<UserId>,
    /// Whether the last message has to be, too.
    pub last: bool,
}

impl Tally {
    /// Nobody is told anything. One member is told once in `interval` at the most.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            counts: HashMap::new(),
            last: Newest::Unknown,
            log: VecDeque::new(),
            lost: Seq(0),
            readings: Vec::new(),
            unsure: 0,
            due: None,
            interval,
        }
    }

    /// The newest message, as far as it is known.
    pub(super) fn last(&self) -> Option<&Message> {
        self.last.message()
    }

    /// When somebody may be to be told next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// One more member, or one more of its sockets. `owed`: something has happened of which it may not know.
    pub(super) fn begin(&mut self, user: UserId, owed: bool, now: Instant) {
        let count = self.counts.entry(user).or_default();
        if let Some(count) = count {
            // The new one may have missed what the others were told.
            count.told = None;
        }
        if owed {
            let count = count.get_or_insert_default();
            owe(count, self.interval, now, &mut self.due);
        }
    }

    /// That member no more.
    pub(super) fn end(&mut self, user: UserId) {
        self.counts.remove(&user);
        if self.counts.is_empty() {
            // Nobody follows what happens from here on.
            *self = Self::new(self.interval);
        }
    }

    /// Takes a change into account that is being shown.
    pub(super) fn hear(&mut self, event: &Event, now: Instant) {
        let Some(seq) = event.seq else { return };
        if self.counts.is_empty() {
            return;
        }
        match &event.fact {
            Fact::MessageStored { message, .. } => {
                if self
                    .last()
                    .is_none_or(|last| last.ordinal < message.ordinal)
                {
                    self.last = Newest::Is(Box::new(message.clone()));
                }
                let (by, ordinal) = (message.sender.id, message.ordinal);
                self.step(seq, Step::Stored { by, ordinal });
                self.owe_all(now);
            }
            Fact::MessageEdited { message } => {
                let is_last = self.change_last(message.id, seq, |last| *last = message.clone());
                if is_last {
                    self.owe_all(now);
                }
            }
            Fact::MessageDeleted { message, .. } => {
                let is_last = self.change_last(*message, seq, |last| {
                    last.deleted_at = Some(event.at);
                    last.content = "".into();
                    last.change_seq = seq;
                });
                let step = match self.last().filter(|_| is_last) {
                    Some(&Message { ordinal, .. }) => Step::Deleted { ordinal },
                    None => Step::Unclear,
                };
                self.step(seq, step);
                self.owe_all(now);
            }
            Fact::MessagesRead {
                user, read_count, ..
            } => {
                let (user, read_count) = (*user, *read_count);
                // The last message may be a later one than those that there were then: that errs on the safe side.
                let all = self.last().is_some_and(|last| last.ordinal <= read_count);
                let step = Step::Read {
                    user,
                    read_count,
                    all,
                };
                self.step(seq, step);
                self.owe_one(user, now);
            }
            Fact::MembersAdded { members } => {
                // Somebody who had been out without this having been heard, and counts from another place now.
                let users = members.iter().map(|member| member.profile.id);
                let back: Vec<UserId> = users
                    .filter(|user| self.counts.contains_key(user))
                    .collect();
                if !back.is_empty() {
                    self.step(seq, Step::Unclear);
                }
                for user in back {
                    self.owe_one(user, now);
                }
            }
            _ => {}
        }
    }

    /// Changes the last message, if it is this one and not known as it is then already. Where the last one is not known, it may be.
    fn change_last(
        &mut self,
        message: MessageId,
        seq: Seq,
        change: impl FnOnce(&mut Message),
    ) -> bool {
        match &mut self.last {
            Newest::Unknown => {
                self.unsure = self.readings.iter().copied().max().unwrap_or(self.unsure);
                true
            }
            Newest::Is(last) if last.id == message && last.change_seq < seq => {
                change(last);
                true
            }
            Newest::Is(_) | Newest::Nothing => false,
        }
    }

    fn step(&mut self, seq: Seq, step: Step) {
        for (user, count) in &mut self.counts {
            if let Some(count) = count {
                apply(&mut count.known, *user, seq, step);
            }
        }
        if self.readings.is_empty() {
            return;
        }
        if self.log.len() >= MOST_LOGGED
            && let Some((lost, _)) = self.log.pop_front()
        {
            self.lost = lost;
        }
        self.log.push_back((seq, step));
    }

    fn owe_all(&mut self, now: Instant) {
        for count in self.counts.values_mut() {
            let count = count.get_or_insert_default();
            owe(count, self.interval, now, &mut self.due);
        }
    }

    fn owe_one(&mut self, user: UserId, now: Instant) {
        if let Some(count) = self.counts.get_mut(&user) {
            let count = count.get_or_insert_default();
            owe(count, self.interval, now, &mut self.due);
        }
    }

    /// Who is to be told now, and what has to be read before others are. `ticket` names that reading.
    pub(super) fn settle(&mut self, now: Instant, ticket: u64) -> (Vec<Due>, Option<Reading>) {
        if self.due.is_none_or(|due| due > now) {
            return (Vec::new(), None);
        }
        self.due = None;
        let is_known = !matches!(self.last, Newest::Unknown);
        let last = self.last.message();
        let shown = last.map_or(0, |last| last.ordinal);
        let (mut told, mut unknown) = (Vec::new(), Vec::new());
        for (user, count) in &mut self.counts {
            let Some(count) = count
                .as_mut()
                .filter(|count| count.owed && count.reading.is_none())
            else {
                continue;
            };
            let due = count.told_at.map_or(now, |at| at + self.interval);
            if due > now {
                sooner(&mut self.due, due);
                continue;
            }
            let Some(known) = count.known.filter(|_| is_known) else {
                count.reading = Some(ticket);
                unknown.push(*user);
                continue;
            };
            if known.messages > shown {
                // It was read after a message that the room is about to show: until then the count is another moment's than the last message.
                continue;
            }
            let status = last.map_or(MessageStatus::Sent, |last| status(last, *user, known));
            let state = (
                known.unread,
                status,
                last.map(|last| (last.id, last.change_seq)),
            );
            count.owed = false;
            if count.told.replace(state) != Some(state) {
                count.told_at = Some(now);
                told.push(Due {
                    user: *user,
                    unread: known.unread,
                    status,
                });
            }
        }
        let reading = (!unknown.is_empty()).then_some(Reading {
            users: unknown,
            last: !is_known,
        });
        if reading.is_some() {
            self.readings.push(ticket);
        }
        (told, reading)
    }

    /// Counts were read. One that is missing is that of somebody who is no member any more: the room is about to show that, or, if the
    /// user is back by then, that.
    pub(super) fn counted(&mut self, counted: Counted, now: Instant) {
        let Some(index) = self
            .readings
            .iter()
            .position(|ticket| *ticket == counted.ticket)
        else {
            // Asked by a room of this name that was let go meanwhile, or for members who are gone.
            return;
        };
        let place = |last: &Message| (last.ordinal, last.change_seq);
        match (self.last(), &counted.last) {
            (_, Newest::Unknown) | (Some(_), Newest::Nothing) => {}
            (None, _) if counted.ticket <= self.unsure => {}
            (Some(last), Newest::Is(read)) if place(read) <= place(last) => {}
            _ => self.last = counted.last,
        }
        for user in counted.users {
            let Some(Some(count)) = self.counts.get_mut(&user) else {
                continue;
            };
            if count.reading != Some(counted.ticket) {
                continue;
            }
            count.reading = None;
            let Some(read) = counted.counts.get(&user) else {
                // Not again at once.
                count.told_at = Some(now);
                owe(count, self.interval, now, &mut self.due);
                continue;
            };
            count.known = (read.seq >= self.lost).then_some(Known {
                unread: read.unread,
                read_count: read.read_count,
                seq: read.seq,
                messages: read.messages,
            });
            for (seq, step) in &self.log {
                apply(&mut count.known, user, *seq, *step);
            }
            if count.owed {
                owe(count, self.interval, now, &mut self.due);
            }
        }
        self.readings.swap_remove(index);
        if self.readings.is_empty() {
            self.log.clear();
            self.lost = Seq(0);
        }
    }
}

/// There is something to tell a member.
fn owe(count: &mut Count, interval: Duration, now: Instant, due: &mut Option<Instant>) {
    count.owed = true;
    let at = count.told_at.map_or(now, |told| now.max(told + interval));
    sooner(due, at);
}

fn sooner(due: &mut Option<Instant>, at: Instant) {
    *due = Some(due.map_or(at, |due| due.min(at)));
}

#[cfg(test)]
mod tests;
