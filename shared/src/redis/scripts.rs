//! The Lua scripts, each in its own file with a header that names its keys, arguments and answers.

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::LuaInterface;
use fred::types::scripts::Script;
use fred::types::{FromValue, MultipleKeys, MultipleValues};

/// Runs a script by its name. A server that does not know it is sent the text, and knows it from then on.
///
/// That concerns the server alone that has the keys. The library's own way tells every server of a cluster, and sends nothing else to any
/// of them until all have answered.
pub async fn run<R, K, V>(
    script: &Script,
    redis: &Client,
    keys: K,
    arguments: V,
) -> Result<R, Error>
where
    R: FromValue,
    K: Into<MultipleKeys> + Send,
    V: TryInto<MultipleValues> + Send,
    V::Error: Into<Error> + Send,
{
    let keys = keys.into();
    let arguments = arguments.try_into().map_err(Into::into)?;
    let known = redis.evalsha(script.sha1().clone(), keys.clone(), arguments.clone());
    match (known.await, script.lua()) {
        (Err(error), Some(text)) if error.details().starts_with("NOSCRIPT") => {
            redis.eval(text.clone(), keys, arguments).await
        }
        (answer, _) => answer,
    }
}

/// Appends commands to an ingress stream if Redis still remembers what the caller put there before.
pub fn ingress_append() -> Script {
    Script::from_lua(include_str!("scripts/ingress_append.lua"))
}

/// Renews a worker's registration and answers who is alive.
pub fn worker_register() -> Script {
    Script::from_lua(include_str!("scripts/worker_register.lua"))
}

/// Renews a gateway's registration and answers who is alive: the same as a worker's.
pub fn gateway_register() -> Script {
    worker_register()
}

/// Says how many are registered.
pub fn registered() -> Script {
    Script::from_lua(include_str!("scripts/registered.lua"))
}

/// Extends a partition's lease, if it is still its holder's.
pub fn lease_renew() -> Script {
    Script::from_lua(include_str!("scripts/lease_renew.lua"))
}

/// Gives up a partition's lease, or a session's claim, if it is still its holder's.
pub fn lease_release() -> Script {
    Script::from_lua(include_str!("scripts/lease_release.lua"))
}

/// Reads new commands of a partition for the worker that holds its lease.
pub fn ingress_read() -> Script {
    Script::from_lua(include_str!("scripts/ingress_read.lua"))
}

/// Takes over the commands of a partition that were read but never acknowledged.
pub fn ingress_claim() -> Script {
    Script::from_lua(include_str!("scripts/ingress_claim.lua"))
}

/// Takes processed commands off the pending list and out of the stream.
pub fn ingress_ack() -> Script {
    Script::from_lua(include_str!("scripts/ingress_ack.lua"))
}

/// Says how much of a partition is left to do.
pub fn ingress_depth() -> Script {
    Script::from_lua(include_str!("scripts/ingress_depth.lua"))
}

/// Announces one batch's events: histories and room channels.
pub fn fan_out() -> Script {
    Script::from_lua(include_str!("scripts/fan_out.lua"))
}

/// Appends notices to users' histories and publishes them.
pub fn notify() -> Script {
    Script::from_lua(include_str!("scripts/notify.lua"))
}

/// What Redis's memory is called.
pub fn epoch() -> Script {
    Script::from_lua(include_str!("scripts/epoch.lua"))
}

/// How long Redis has had its memory.
pub fn epoch_age() -> Script {
    Script::from_lua(include_str!("scripts/epoch_age.lua"))
}

/// Says whose a session is whose client named it itself, and makes it the caller's if it is nobody's.
pub fn session_claim() -> Script {
    Script::from_lua(include_str!("scripts/session_claim.lua"))
}

/// Hands a socket's record to another node.
pub fn session_adopt() -> Script {
    Script::from_lua(include_str!("scripts/session_adopt.lua"))
}

/// Gives a socket's record up, if it is still the caller's.
pub fn session_release() -> Script {
    Script::from_lua(include_str!("scripts/session_release.lua"))
}

/// Notes that nothing is left of a socket on the nodes that had it before.
pub fn session_settle() -> Script {
    Script::from_lua(include_str!("scripts/session_settle.lua"))
}

/// Notes something in a socket's record, or strikes it out, if the record is still the caller's.
pub fn session_note() -> Script {
    Script::from_lua(include_str!("scripts/session_note.lua"))
}

/// Keeps a socket's record from lapsing, if it is still the caller's.
pub fn session_refresh() -> Script {
    Script::from_lua(include_str!("scripts/session_refresh.lua"))
}

/// Writes a socket's record anew, whole, if it is not another node's by now.
pub fn session_rewrite() -> Script {
    Script::from_lua(include_str!("scripts/session_rewrite.lua"))
}

/// Publishes the present position on a channel.
pub fn tick() -> Script {
    Script::from_lua(include_str!("scripts/tick.lua"))
}

/// Notes that somebody is in a public room on a node, and announces who was nowhere in it.
pub fn room_enter() -> Script {
    Script::from_lua(include_str!("scripts/room_enter.lua"))
}

/// Notes that somebody, or everybody, is in a public room on a node no more, and announces who is nowhere in it now.
pub fn room_exit() -> Script {
    Script::from_lua(include_str!("scripts/room_exit.lua"))
}

/// Asks whether somebody may do something now, and counts it if so.
pub fn limit() -> Script {
    Script::from_lua(LIMIT)
}

/// [`limit`]'s text, for those who hold it against a model: its clock is one line.
pub const LIMIT: &str = include_str!("scripts/limit.lua");
/// Renews the lease of a stay, and answers whose have lapsed.
pub fn presence_beat() -> Script {
    Script::from_lua(include_str!("scripts/presence_beat.lua"))
}

/// Notes that users are connected.
pub fn presence_put() -> Script {
    Script::from_lua(include_str!("scripts/presence_put.lua"))
}

/// Notes that users are connected no more.
pub fn presence_take() -> Script {
    Script::from_lua(include_str!("scripts/presence_take.lua"))
}

/// Takes out some of the users of a stay that is over.
pub fn presence_reap() -> Script {
    Script::from_lua(include_str!("scripts/presence_reap.lua"))
}

/// Reads what is to be said of users.
pub fn presence_read() -> Script {
    Script::from_lua(include_str!("scripts/presence_read.lua"))
}

/// Notes that it was said.
pub fn presence_said() -> Script {
    Script::from_lua(include_str!("scripts/presence_said.lua"))
}

/// Takes over what others should have said long ago.
pub fn presence_owed() -> Script {
    Script::from_lua(include_str!("scripts/presence_owed.lua"))
}

/// Notes that a user wants to be seen otherwise.
pub fn presence_appear() -> Script {
    Script::from_lua(include_str!("scripts/presence_appear.lua"))
}

/// Reads by which stays users are connected.
pub fn presence_look() -> Script {
    Script::from_lua(include_str!("scripts/presence_look.lua"))
}
