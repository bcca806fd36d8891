//! Whose sessions are, as Redis has it: a Redis of the test's own, because it is made to lose its memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use confab_gateway::metrics::Metrics;
use confab_gateway::registry::{Claims, RedisClaims, SessionName};
use confab_shared::id::{NodeId, Partition};
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface, SetsInterface};
use fred::types::scripts::Script;

use crate::registry::{Redis, SLOW, keyspace, refused_at_first};

/// An age at which nobody waits for a memory to be complete.
pub(super) const OLD: Duration = Duration::from_secs(60);

/// Names Redis's memory, as if it had begun so long ago.
pub(super) async fn name_memory(redis: &Client, age: Duration) -> Arc<str> {
    let keys = vec![
        keyspace().memory(Partition(0)),
        keyspace().position(Partition(0)),
    ];
    let name: String = scripts::run(&scripts::epoch(), redis, keys, vec!["name"])
        .await
        .unwrap();
    let (began, rest) = name.split_once(':').unwrap();
    let began = began.parse::<u128>().unwrap() - age.as_micros();
    let name = format!("{began}:{rest}");
    let key = keyspace().memory(Partition(0));
    redis
        .set::<(), _, _>(key, &name, None, None, false)
        .await
        .unwrap();
    name.into()
}

/// How often Redis has been given a command.
pub(super) async fn calls(redis: &Client, command: &str) -> u64 {
    let stats: String = scripts::run(
        &Script::from_lua("return redis.call('INFO', 'commandstats')"),
        redis,
        Vec::<String>::new(),
        Vec::<String>::new(),
    )
    .await
    .unwrap();
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

fn both(redis: &Client) -> [(NodeId, RedisClaims); 2] {
    let counted = Metrics::new().unwrap().redis;
    [NodeId::generate(), NodeId::generate()].map(|id| {
        let claims = RedisClaims::new(redis.clone(), keyspace(), id, counted.clone());
        (id, claims.with_patience(SLOW))
    })
}

#[tokio::test]
async fn a_session_is_whose_claim_came_first() {
    let (_server, redis) = Redis::start().await;
    name_memory(&redis, OLD).await;
    let [(one, first), (_, second)] = both(&redis);
    let name = SessionName::of("a session");
    assert_eq!(first.find(name).await.unwrap(), None);
    assert_eq!(first.claim(name).await.unwrap(), one);
    assert_eq!(first.claim(name).await.unwrap(), one);
    assert_eq!(second.claim(name).await.unwrap(), one);
    assert_eq!(second.find(name).await.unwrap(), Some(one));
    let left: i64 = redis.pttl(keyspace().session_claim(name)).await.unwrap();
    assert!((50_000..=60_000).contains(&left), "{left}");
    // It is not the other's to give up.
    second.release(name).await.unwrap();
    assert_eq!(second.find(name).await.unwrap(), Some(one));
    first.release(name).await.unwrap();
    assert_eq!(second.find(name).await.unwrap(), None);
}

#[tokio::test]
async fn claims_are_renewed_and_those_that_were_lost_are_named() {
    let (_server, redis) = Redis::start().await;
    name_memory(&redis, OLD).await;
    let [(_, first), (other, second)] = both(&redis);
    let names: Vec<_> = (0..500)
        .map(|number| SessionName::of(&number.to_string()))
        .collect();
    second.claim(names[7]).await.unwrap();
    let renewed = first.renew(&names).await;
    assert_eq!(renewed.lost, [names[7]]);
    assert!(renewed.error.is_none());
    assert_eq!(first.find(names[7]).await.unwrap(), Some(other));
    let key = keyspace().session_claim(names[8]);
    redis.pexpire::<(), _>(&key, 1_000, None).await.unwrap();
    // One that cannot be renewed leaves nothing unsaid of the others.
    let broken = keyspace().session_claim(names[9]);
    redis.del::<(), _>(&broken).await.unwrap();
    redis.sadd::<(), _, _>(&broken, "x").await.unwrap();
    let renewed = first.renew(&names).await;
    assert_eq!(renewed.lost, [names[7]]);
    assert!(renewed.error.is_some());
    let left: i64 = redis.pttl(&key).await.unwrap();
    assert!(left > 50_000, "{left}");
}

#[tokio::test]
async fn whoever_asks_for_what_is_not_there_costs_little() {
    let (_server, redis) = Redis::start().await;
    name_memory(&redis, OLD).await;
    let [(_, claims), (other, others)] = both(&redis);
    let (began, before) = (Instant::now(), calls(&redis, "evalsha").await);
    for number in 0..200 {
        let name = SessionName::of(&number.to_string());
        assert_eq!(claims.find(name).await.unwrap(), None);
    }
    let most = 3 + u64::try_from(began.elapsed().as_millis()).unwrap() / 100;
    let asked = calls(&redis, "evalsha").await - before;
    assert!(asked <= most, "{asked} of {most}");
    // Another memory is not taken for the one that is known. It is young for no longer than a slow machine may stand still.
    let name = SessionName::of("a session");
    for tries_left in (0..5).rev() {
        redis.flushall::<()>(false).await.unwrap();
        name_memory(&redis, Duration::ZERO).await;
        let (found, claimed) = tokio::join!(claims.find(name), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            others.renew(&[name]).await
        });
        assert!(claimed.error.is_none());
        if found.as_ref().is_ok_and(|found| *found == Some(other)) {
            return;
        }
        assert!(tries_left > 0, "{found:?}");
    }
}

#[tokio::test]
async fn in_a_young_memory_nobody_claims_what_may_be_anothers() {
    let (_server, redis) = Redis::start().await;
    name_memory(&redis, OLD).await;
    let [(one, first), (two, second)] = both(&redis);
    let (old, new) = (SessionName::of("old"), SessionName::of("new"));
    // It is young for no longer than a slow machine may stand still.
    for tries_left in (0..5).rev() {
        redis.flushall::<()>(false).await.unwrap();
        let began = Instant::now();
        name_memory(&redis, Duration::ZERO).await;
        let (claimed, found, fresh, ()) = tokio::join!(
            second.claim(old),
            second.find(old),
            second.claim(new),
            async {
                tokio::time::sleep(Duration::from_millis(700)).await;
                first.renew(&[old]).await;
            }
        );
        assert!(began.elapsed() >= Duration::from_millis(1_900));
        assert_eq!(fresh.unwrap(), two);
        let of_old = (claimed.ok(), found.ok());
        if of_old == (Some(one), Some(Some(one))) {
            break;
        }
        assert!(tries_left > 0, "{of_old:?}");
    }
    // From a memory that nobody names, something can still be had.
    redis.flushall::<()>(false).await.unwrap();
    assert_eq!(second.claim(new).await.unwrap(), two);
}

#[tokio::test]
async fn claims_that_are_refused_an_answer_are_asked_for_again() {
    let (server, redis) = Redis::start().await;
    name_memory(&redis, OLD).await;
    let [(one, claims), _] = both(&server.as_newcomer(&redis).await);
    let name = SessionName::of("a session");
    for is_there in [false, true] {
        // A slow machine may take longer than it is asked again, but not every time.
        for tries_left in (0..5).rev() {
            let (holder, is_prompt) = if is_there {
                refused_at_first(&redis, claims.find(name)).await
            } else {
                let claimed = async { claims.claim(name).await.map(Some) };
                refused_at_first(&redis, claimed).await
            };
            if holder.as_ref().is_ok_and(|holder| *holder == Some(one)) {
                break;
            }
            assert!(!is_prompt && tries_left > 0, "{holder:?}");
        }
    }
}
