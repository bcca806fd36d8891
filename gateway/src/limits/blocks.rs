//! Who was refused just now: for a moment nobody asks Redis again.
//!
//! A client that goes on as fast as it can would otherwise have every node ask as fast as it can, and fill a queue that all share. What is
//! remembered is believed for a second at the most, so a Redis that forgot, or an operator who forgave, is soon believed instead.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{Question, Refusal, Standing};

/// For how long a refusal is believed without asking again.
const BELIEVED: Duration = Duration::from_secs(1);
/// How many are remembered. What does not fit is asked for each time.
const CAPACITY: usize = 65_536;

/// What was refused, and until when it will be.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// Whether there may be any: mostly there are none, and nobody has to look.
    any: AtomicBool,
    known: Mutex<HashMap<Question, Block>>,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    believed_until: Instant,
    until: Instant,
    standing: Standing,
}

impl Blocks {
    /// The answer to a question, if it is known without asking.
    pub(super) fn refusal(&self, question: &Question, now: Instant) -> Option<Refusal> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let mut known = self.known.lock();
        let block = *known.get(question)?;
        if now < block.believed_until {
            return Some(Refusal::Limited {
                standing: block.standing,
                retry_after: block.until - now,
            });
        }
        known.remove(question);
        self.any.store(!known.is_empty(), Ordering::Relaxed);
        None
    }

    /// Something was refused.
    pub(super) fn note(
        &self,
        question: &Question,
        standing: Standing,
        retry_after: Duration,
        now: Instant,
    ) {
        let mut known = self.known.lock();
        if known.len() >= CAPACITY {
            known.retain(|_, block| now < block.believed_until);
        }
        if known.len() < CAPACITY {
            let block = Block {
                believed_until: now + retry_after.min(BELIEVED),
                until: now + retry_after,
                standing,
            };
            known.insert(question.clone(), block);
            self.any.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::{Class, Subject};
    use super::*;

    const STANDING: Standing = Standing {
        most: 5,
        remaining: 0,
        reset: Duration::from_secs(60),
    };

    fn question(number: u32) -> Question {
        Question {
            class: Class::Messages,
            subject: Subject::Address(IpAddr::V4(Ipv4Addr::from_bits(number))),
        }
    }

    #[test]
    fn a_refusal_is_believed_for_a_moment() {
        let (blocks, now) = (Blocks::default(), Instant::now());
        let at = |millis| {
            let now = now + Duration::from_millis(millis);
            match blocks.refusal(&question(1), now)? {
                Refusal::Limited { retry_after, .. } => Some(retry_after.as_millis()),
                Refusal::Overloaded => None,
            }
        };
        assert_eq!(at(0), None);
        blocks.note(&question(1), STANDING, Duration::from_secs(10), now);
        assert_eq!([at(0), at(999)], [Some(10_000), Some(9_001)]);
        assert!(blocks.refusal(&question(2), now).is_none());
        assert_eq!([at(1_000), at(0)], [None, None], "it is asked again");
        blocks.note(&question(1), STANDING, Duration::from_millis(5), now);
        assert_eq!([at(4), at(5)], [Some(1), None]);
        assert!(!blocks.any.load(Ordering::Relaxed));
    }

    #[test]
    fn the_table_is_bounded() {
        let (blocks, now) = (Blocks::default(), Instant::now());
        let most = u32::try_from(CAPACITY).unwrap();
        for number in 0..most + 10 {
            blocks.note(&question(number), STANDING, BELIEVED, now);
        }
        assert_eq!(blocks.known.lock().len(), CAPACITY);
        assert!(blocks.refusal(&question(most), now).is_none());
        blocks.note(&question(most), STANDING, BELIEVED, now + BELIEVED);
        assert_eq!(blocks.known.lock().len(), 1);
    }
}
