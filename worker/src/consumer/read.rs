//! Reading a partition's ingress stream, and acknowledging what was processed.

use std::collections::HashMap;

use confab_shared::id::{Partition, WorkerId};
use confab_shared::redis::keyspace::{COMMAND_FIELD, Keyspace, WORKERS};
use confab_shared::redis::scripts;
use fred::clients::Client;
use fred::error::Error;
use fred::types::Value;
use fred::types::scripts::Script;

/// An entry as it stands in the stream.
#[derive(Debug)]
pub(super) struct RawEntry {
    pub(super) id: String,
    pub(super) payload: String,
    /// How often it was handed out, this time included.
    pub(super) deliveries: u64,
}

/// What came of reading.
#[derive(Debug)]
pub(super) enum Reading {
    /// These, oldest first; perhaps none.
    Entries(Vec<RawEntry>),
    /// Nothing is left that was handed out before.
    CaughtUp,
    /// The lease is not ours.
    Lost,
}

/// Reads and acknowledges on one connection. Every read is fenced by the lease.
#[derive(Debug)]
pub(super) struct IngressReader {
    client: Client,
    worker: String,
    read: Script,
    claim: Script,
    ack: Script,
    /// The delivery count from which entries are handed out one by one.
    suspicion: u64,
}

impl IngressReader {
    pub(super) fn new(client: Client, worker: WorkerId, max_deliveries: u64) -> Self {
        Self {
            client,
            worker: worker.to_string(),
            read: scripts::ingress_read(),
            claim: scripts::ingress_claim(),
            ack: scripts::ingress_ack(),
            suspicion: (max_deliveries / 2).max(1),
        }
    }

    /// Reads at most `count` new entries.
    pub(super) async fn read(&self, partition: Partition, count: usize) -> Result<Reading, Error> {
        let arguments = vec![self.worker.clone(), WORKERS.to_owned(), count.to_string()];
        let answer = scripts::run(&self.read, &self.client, keys(partition), arguments).await?;
        parse(answer)
    }

    /// Takes over at most `count` entries that were handed out before, oldest first.
    pub(super) async fn claim(&self, partition: Partition, count: usize) -> Result<Reading, Error> {
        let arguments = vec![
            self.worker.clone(),
            WORKERS.to_owned(),
            count.to_string(),
            self.suspicion.to_string(),
        ];
        let answer = scripts::run(&self.claim, &self.client, keys(partition), arguments).await?;
        parse(answer)
    }

    /// Takes processed entries out of the stream.
    pub(super) async fn ack(&self, partition: Partition, ids: &[&str]) -> Result<(), Error> {
        let mut arguments = Vec::with_capacity(ids.len() + 1);
        arguments.push(WORKERS);
        arguments.extend_from_slice(ids);
        let _acknowledged: i64 = scripts::run(
            &self.ack,
            &self.client,
            Keyspace::ingress(partition),
            arguments,
        )
        .await?;
        Ok(())
    }
}

fn keys(partition: Partition) -> Vec<String> {
    vec![Keyspace::ingress(partition), Keyspace::lease(partition)]
}

/// An array's elements; none of anything else.
fn elements(value: Value) -> Vec<Value> {
    match value {
        Value::Array(elements) => elements,
        _ => Vec::new(),
    }
}

fn parse(answer: Value) -> Result<Reading, Error> {
    let mut answer = elements(answer).into_iter();
    let status = answer.next().and_then(Value::into_string);
    match status.as_deref() {
        Some("lost") => Ok(Reading::Lost),
        Some("done") => Ok(Reading::CaughtUp),
        Some("ok") => {
            let entries = answer.next().map(elements).unwrap_or_default();
            let counts: HashMap<String, u64> = answer
                .next()
                .map(elements)
                .unwrap_or_default()
                .into_iter()
                .filter_map(parse_count)
                .collect();
            Ok(Reading::Entries(
                entries
                    .into_iter()
                    .filter_map(|entry| parse_entry(entry, &counts))
                    .collect(),
            ))
        }
        _ => Err(Error::new(
            fred::error::ErrorKind::Protocol,
            "unexpected answer of an ingress script",
        )),
    }
}

fn parse_count(pair: Value) -> Option<(String, u64)> {
    let mut pair = elements(pair).into_iter();
    Some((pair.next()?.into_string()?, pair.next()?.as_u64()?))
}

/// An entry without the command's field has an empty payload, which no command has: it ends as a dead letter.
fn parse_entry(entry: Value, counts: &HashMap<String, u64>) -> Option<RawEntry> {
    let mut entry = elements(entry).into_iter();
    let id = entry.next()?.into_string()?;
    let mut fields = entry.next().map(elements).unwrap_or_default().into_iter();
    let mut payload = String::new();
    while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
        if field.as_bytes() == Some(COMMAND_FIELD.as_bytes()) {
            // What is not UTF-8 is not JSON: the parser will say so.
            payload = value
                .as_bytes()
                .map(String::from_utf8_lossy)
                .unwrap_or_default()
                .into_owned();
        }
    }
    let deliveries = counts.get(&id).copied().unwrap_or(1);
    Some(RawEntry {
        id,
        payload,
        deliveries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::from(text)
    }

    #[test]
    fn entries_come_with_their_payload_and_count() {
        let entry = |id, payload| {
            Value::Array(vec![text(id), Value::Array(vec![text("c"), text(payload)])])
        };
        let odd = Value::Array(vec![text("3-0"), Value::Array(vec![text("x"), text("y")])]);
        let counts = Value::Array(vec![Value::Array(vec![text("1-0"), Value::Integer(4)])]);
        let answer = Value::Array(vec![
            text("ok"),
            Value::Array(vec![entry("1-0", "{}"), odd]),
            counts,
        ]);
        let Ok(Reading::Entries(entries)) = parse(answer) else {
            panic!("no entries")
        };
        assert_eq!(
            (
                entries[0].id.as_str(),
                entries[0].payload.as_str(),
                entries[0].deliveries
            ),
            ("1-0", "{}", 4)
        );
        assert_eq!(
            (
                entries[1].id.as_str(),
                entries[1].payload.as_str(),
                entries[1].deliveries
            ),
            ("3-0", "", 1)
        );
    }

    #[test]
    fn other_answers_are_told_apart() {
        assert!(matches!(
            parse(Value::Array(vec![text("lost")])),
            Ok(Reading::Lost)
        ));
        assert!(matches!(
            parse(Value::Array(vec![text("done")])),
            Ok(Reading::CaughtUp)
        ));
        assert!(parse(Value::Null).is_err());
    }
}
