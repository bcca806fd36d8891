//! What clients ask over REST: the history that they missed, and what they have not read.

use std::io;

use confab_shared::id::{ConversationId, MessageId};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::http::Endpoint;
use crate::setup::Population;
use crate::truth::ShownUnread;

/// The contract's largest page.
const PAGE: usize = 100;
/// How many members ask at once.
const PARALLEL: usize = 8;

#[derive(Deserialize)]
struct Page {
    messages: Vec<Message>,
    #[serde(rename = "nextCursor")]
    next: Option<String>,
    #[serde(rename = "hasMore")]
    more: bool,
}

#[derive(Deserialize)]
struct Message {
    id: String,
    seq: u32,
}

/// Reads a conversation's history, newest first, back to `covered`: ids and `seq`s.
pub async fn history(
    endpoint: &Endpoint,
    token: &str,
    conversation: &str,
    covered: i64,
) -> Result<Vec<(i64, u32)>, io::Error> {
    let mut found: Vec<(i64, u32)> = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/messages/conversation/{conversation}?limit={PAGE}{cursor}");
        let page: Page = endpoint
            .call("GET", &path, Some(token), None)
            .await?
            .json()?;
        for message in page.messages {
            let id: MessageId = message.id.parse().map_err(io::Error::other)?;
            found.push((id.0, message.seq));
        }
        let reached = found
            .last()
            .is_some_and(|(_, seq)| i64::from(*seq) <= covered);
        match page.next {
            Some(next) if page.more && !reached => cursor = format!("&before={next}"),
            _ => return Ok(found),
        }
    }
}

#[derive(Deserialize)]
struct Listed {
    #[serde(alias = "_id")]
    id: ConversationId,
    #[serde(rename = "unreadCount")]
    unread: i64,
}

/// Asks every member what it has not read, of all gateways in turn. The population's members have few conversations, so
/// the first page of the list holds them all.
pub async fn unread(
    endpoints: &[Endpoint],
    population: &Population,
) -> Result<Vec<ShownUnread>, io::Error> {
    let mut shown = Vec::new();
    let mut tasks = JoinSet::new();
    let mut waiting = (0..).zip(&population.users);
    loop {
        while tasks.len() < PARALLEL {
            let Some((client, user)) = waiting.next() else {
                break;
            };
            let endpoint = endpoints
                .iter()
                .cycle()
                .nth(crate::index::at(client) % endpoints.len());
            let Some(endpoint) = endpoint.cloned() else {
                break;
            };
            let token = user.token.clone();
            tasks.spawn(async move {
                let path = format!("/conversations?limit={PAGE}");
                let answer = endpoint.call("GET", &path, Some(&token), None).await?;
                Ok::<_, io::Error>((client, answer.json::<Vec<Listed>>()?))
            });
        }
        let Some(done) = tasks.join_next().await else {
            return Ok(shown);
        };
        let (client, list) = done.map_err(io::Error::other)??;
        shown.extend(list.into_iter().map(|listed| ShownUnread {
            client,
            conversation: listed.id,
            unread: listed.unread,
        }));
    }
}
