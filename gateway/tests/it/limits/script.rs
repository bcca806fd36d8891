//! The script, held against a model that keeps lists where the script calculates.
//!
//! The script asks Redis for the time, in one line. Here that line reads it from the last argument instead, so that hours pass in a
//! moment; everything else is what runs in production.

use confab_shared::redis::scripts::LIMIT;
use fred::clients::Client;
use fred::interfaces::{HashesInterface, KeysInterface, LuaInterface};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::registry::Redis;

const CLOCK: &str = "local time = redis.call('TIME')";
const SECOND: u64 = 1_000_000;
/// When the tests begin, by the clock of Redis.
const BEGIN: u64 = 1_700_000_000 * SECOND;

/// What a limit is told of itself, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Figures {
    most: u64,
    interval: u64,
    block: u64,
    longest: u64,
    memory: u64,
}

/// What is answered: whether it may be, whether a block begins; and how long to wait and how many blocks in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    verdict: u64,
    left: u64,
    wait: u64,
    strikes: u64,
}

/// Lists of what happened.
#[derive(Debug, Default)]
struct Model {
    /// When each that was taken is free again, in order.
    taken: Vec<u64>,
    /// When the blocks in a row ended.
    blocks: Vec<u64>,
}

impl Model {
    fn ask(&mut self, figures: &Figures, wanted: u64, now: u64) -> Answer {
        self.taken.retain(|free| *free > now);
        if self
            .blocks
            .last()
            .is_some_and(|end| end + figures.memory <= now)
        {
            self.blocks.clear();
        }
        if let Some(end) = self.blocks.last().filter(|end| **end > now) {
            return self.answer(1, 0, end - now);
        }
        let wanted = wanted.min(figures.most);
        let left = figures.most - self.taken.len() as u64;
        if wanted <= left {
            for _ in 0..wanted {
                let last = self.taken.last().copied().unwrap_or(now);
                self.taken.push(last.max(now) + figures.interval);
            }
            return self.answer(0, left - wanted, 0);
        }
        // Those that are missing are free again when this one is.
        let missing = usize::try_from(wanted - left).unwrap();
        let wait = self.taken[missing - 1] - now;
        if figures.block == 0 {
            return self.answer(1, 0, wait);
        }
        let mut block = figures.block;
        for _ in 0..self.blocks.len() {
            block = (block * 2).min(figures.longest);
        }
        block = block.min(figures.longest);
        if wait > 2 * block {
            block = wait;
        } else if wait > block {
            for free in &mut self.taken {
                *free -= wait - block;
            }
        }
        self.blocks.push(now + block);
        self.answer(2, 0, block)
    }

    fn answer(&self, verdict: u64, left: u64, wait: u64) -> Answer {
        Answer {
            verdict,
            left,
            wait: wait.div_ceil(1_000),
            strikes: self.blocks.len() as u64,
        }
    }
}

/// The script with a clock of ours. Redis' own goes on meanwhile, so what is to be forgotten is kept: for how long it would have been is
/// answered as well.
fn script() -> String {
    assert_eq!(LIMIT.matches(CLOCK).count(), 1);
    assert_eq!(LIMIT.matches("TIME").count(), 1, "no other clock");
    let script = LIMIT.replace(CLOCK, "local time = { ARGV[#ARGV - 1], ARGV[#ARGV] }");
    format!(
        "local function limit()\n{script}\nend\nlocal answer = limit()[1]\nlocal kept = redis.call('PTTL', KEYS[1])\n\
         redis.call('PERSIST', KEYS[1])\nreturn {{ answer, tostring(kept) }}"
    )
}

async fn ask(redis: &Client, key: &str, figures: &Figures, wanted: u64, now: u64) -> Answer {
    let arguments = [
        figures.block,
        figures.longest,
        figures.memory,
        figures.most,
        figures.interval,
        wanted,
        now / SECOND,
        now % SECOND,
    ];
    let arguments: Vec<String> = arguments.iter().map(u64::to_string).collect();
    let answers: Vec<String> = redis.eval(script(), key, arguments).await.unwrap();
    let [answer, kept] = &answers[..] else {
        panic!("{answers:?}")
    };
    let numbers: Vec<u64> = answer
        .split(' ')
        .map(|number| number.parse().unwrap())
        .collect();
    let [verdict, left, reset, wait, strikes] = numbers[..] else {
        panic!("{answer}")
    };
    assert!(reset * 1_000 <= figures.most * figures.interval + 1_000);
    assert!(kept != "-1" || verdict == 1, "nothing is kept for ever");
    Answer {
        verdict,
        left,
        wait,
        strikes,
    }
}

/// None is shorter than a second: what Redis lets go in real time must not be gone before its time here.
fn figures() -> impl Strategy<Value = Figures> {
    let interval = prop_oneof![SECOND..20 * SECOND, Just(12 * SECOND)];
    let block = prop_oneof![1 => Just(0), 4 => SECOND..30 * SECOND, 2 => Just(10 * SECOND)];
    (1..40_u64, interval, block, 1..40_u64, 0..700_u64).prop_map(
        |(most, interval, block, times, memory)| Figures {
            most,
            interval,
            block,
            longest: block * times,
            memory: memory * SECOND,
        },
    )
}

/// From one question to the next: most come at once, some after a while, and some when they were told to.
#[derive(Debug, Clone, Copy)]
enum Pause {
    None,
    Some(u64),
    AsTold { late: u64 },
}

fn pause() -> impl Strategy<Value = Pause> {
    prop_oneof![
        4 => Just(Pause::None),
        2 => (0..1_000_u64).prop_map(Pause::Some),
        2 => (0..30 * SECOND).prop_map(Pause::Some),
        1 => (0..2_000 * SECOND).prop_map(Pause::Some),
        2 => (0..2_u64).prop_map(|late| Pause::AsTold { late }),
    ]
}

fn questions() -> impl Strategy<Value = Vec<(Pause, u64)>> {
    let wanted = prop_oneof![6 => Just(1_u64), 1 => 1..50_u64];
    proptest::collection::vec((pause(), wanted), 1..80)
}

#[test]
fn the_script_decides_as_the_model_does() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_server, redis) = runtime.block_on(Redis::start());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(200));
    let held = runner.run(&(figures(), questions()), |(figures, questions)| {
        let run = Uuid::new_v4();
        let (key, mut model, mut now, mut told) =
            (format!("limit:{run}"), Model::default(), BEGIN, 0);
        for (pause, wanted) in questions {
            now += match pause {
                Pause::None => 0,
                Pause::Some(time) => time,
                Pause::AsTold { late } => told + late,
            };
            let expected = model.ask(&figures, wanted, now);
            let actual = runtime.block_on(ask(&redis, &key, &figures, wanted, now));
            prop_assert_eq!(actual, expected);
            if matches!(pause, Pause::AsTold { .. }) && wanted == 1 && told > 0 {
                prop_assert!(
                    actual.verdict == 0,
                    "who comes back when he is told to is let through"
                );
            }
            // To the microsecond, where the answer rounds it up.
            told = if wanted == 1 { actual.wait * 1_000 } else { 0 };
        }
        Ok(())
    });
    held.unwrap();
}

#[tokio::test]
async fn a_minute_has_its_figure_and_who_waits_as_told_is_let_through() {
    let (_server, redis) = Redis::start().await;
    // 5 a minute, as in `rooms`: one comes back every 12 seconds, and the first block has 10.
    let figures = Figures {
        most: 5,
        interval: 12 * SECOND,
        block: 10 * SECOND,
        longest: 900 * SECOND,
        memory: 600 * SECOND,
    };
    let at = |seconds: u64| ask(&redis, "limit", &figures, 1, BEGIN + seconds * SECOND);
    for left in (0..5).rev() {
        let answer = at(0).await;
        assert_eq!((answer.verdict, answer.left), (0, left));
    }
    let refused = at(0).await;
    assert_eq!((refused.verdict, refused.wait), (2, 10_000));
    assert_eq!(at(10).await.verdict, 0);
    let refused = at(10).await;
    assert_eq!((refused.verdict, refused.wait), (2, 20_000));
}

#[tokio::test]
async fn blocks_grow_are_bounded_and_forgotten() {
    let (_server, redis) = Redis::start().await;
    let figures = Figures {
        most: 1,
        interval: SECOND,
        block: 10 * SECOND,
        longest: 900 * SECOND,
        memory: 600 * SECOND,
    };
    let ask = |now: u64| ask(&redis, "limit", &figures, 1, now);
    let mut now = BEGIN;
    for expected in [10, 20, 40, 80, 160, 320, 640, 900, 900] {
        assert_eq!(ask(now).await.verdict, 0);
        let refused = ask(now).await;
        assert_eq!((refused.verdict, refused.wait), (2, expected * 1_000));
        // While it is blocked nothing gets worse.
        let again = ask(now + SECOND).await;
        assert_eq!((again.verdict, again.wait), (1, (expected - 1) * 1_000));
        now += expected * SECOND;
    }
    now += 600 * SECOND;
    assert_eq!(ask(now).await.strikes, 0);
    assert_eq!(ask(now).await.wait, 10_000);
}

#[tokio::test]
async fn a_clock_that_is_set_back_blocks_nobody_for_longer() {
    let (_server, redis) = Redis::start().await;
    let figures = Figures {
        most: 2,
        interval: SECOND,
        block: 10 * SECOND,
        longest: 40 * SECOND,
        memory: 60 * SECOND,
    };
    for _ in 0..3 {
        ask(&redis, "limit", &figures, 1, BEGIN).await;
    }
    let earlier = ask(&redis, "limit", &figures, 1, BEGIN - 3_600 * SECOND).await;
    assert_eq!((earlier.verdict, earlier.wait), (1, 40_000));
    redis
        .set::<(), _, _>("limit", "nonsense", None, None, false)
        .await
        .unwrap();
    assert_eq!(ask(&redis, "limit", &figures, 1, BEGIN).await.verdict, 0);
    redis.del::<(), _>("limit").await.unwrap();
    redis
        .hset::<(), _, _>("limit", ("another", "type"))
        .await
        .unwrap();
    assert_eq!(ask(&redis, "limit", &figures, 1, BEGIN).await.left, 1);
    assert_eq!(ask(&redis, "limit", &figures, 1, BEGIN).await.left, 0);
}
