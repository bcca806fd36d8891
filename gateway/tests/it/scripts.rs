//! Scripts that a server does not know: one that began anew, or a replica that was promoted.

use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface, LuaInterface};
use fred::types::InfoKind;
use fred::types::scripts::Script;

use crate::registry::Redis;

async fn ran(redis: &Client, script: &Script) {
    let answer: Vec<String> = scripts::run(script, redis, "confab:{0}:key", vec!["argument"])
        .await
        .unwrap();
    assert_eq!(answer, ["confab:{0}:key", "argument"]);
}

#[tokio::test]
async fn a_script_is_told_to_the_server_that_is_to_run_it_and_no_other() {
    let (_server, redis) = Redis::start().await;
    let script = Script::from_lua("return { KEYS[1], ARGV[1] }");
    ran(&redis, &script).await;
    redis.script_flush(false).await.unwrap();
    ran(&redis, &script).await;
    ran(&redis, &script).await;
    let counted: String = redis.info(Some(InfoKind::CommandStats)).await.unwrap();
    let calls = |command: &str| {
        let found = counted
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        found.map_or(0, |line| {
            line.split(',').next().unwrap().parse::<u64>().unwrap()
        })
    };
    // By its name each time; by its text when it was unknown. To load it is what every server of a cluster would be asked for.
    assert_eq!(
        (calls("evalsha"), calls("eval"), calls("script|load")),
        (3, 2, 0)
    );
}

#[tokio::test]
async fn a_script_that_fails_is_not_run_again() {
    let (_server, redis) = Redis::start().await;
    let script =
        Script::from_lua("redis.call('INCR', KEYS[1]); return redis.error_reply('ERR no')");
    for expected in 1..=2 {
        let failed =
            scripts::run::<i64, _, _>(&script, &redis, "confab:{0}:key", Vec::<String>::new());
        assert_eq!(failed.await.unwrap_err().details(), "ERR no");
        let counted: i64 = redis.get("confab:{0}:key").await.unwrap();
        assert_eq!(counted, expected);
    }
}
