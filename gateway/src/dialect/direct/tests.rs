//! Golden files, and what a client meant is what is done. See the bench.

use confab_shared::id::MessageId;
use confab_shared::model::content::{Content, TempId};
use proptest::prelude::*;
use serde_json::json;

use super::Direct;
use super::inbound::MAX_HISTORY;
use crate::dialect::test_bench::{self as bench, Subjects, any};
use crate::dialect::{Intent, Namespace};

#[test]
fn server_to_client() {
    let subjects = Subjects::new();
    let [two, group, _, room] = subjects.scenes(Namespace::Root);
    bench::server_to_client(&Direct, &[two, group, room]);
}

#[test]
fn server_to_one_client() {
    bench::server_to_one_client(&Direct, "send_message");
}

#[test]
fn client_to_server() {
    bench::client_to_server(&Direct);
}

proptest! {
    #[test]
    fn what_is_sent_is_what_was_meant(
        receiver in any::user_id(),
        content in any::content(),
        temp_id in any::temp_id(),
    ) {
        let payload = json!({ "receiverId": receiver, "content": content, "tempId": temp_id });
        let meant = Intent::SayTo {
            receiver,
            content: Content::parse(&content).unwrap(),
            temp_id: temp_id.map(|text| TempId::parse(&text).unwrap()),
        };
        prop_assert_eq!(bench::intent(&Direct, "send_message", &[payload]), Ok(meant));
    }

    #[test]
    fn what_is_asked_for_is_what_was_meant(
        with in any::user_id(),
        before in any::message_id(),
        limit in 1_u64..3_000,
    ) {
        let MessageId(number) = before;
        let meant = Intent::History {
            with,
            before: Some(before),
            limit: u32::try_from(limit).unwrap().min(MAX_HISTORY),
        };
        for before in [json!(number), json!(number.to_string())] {
            let payload = json!({ "otherUserId": with, "before": before, "limit": limit });
            let intent = bench::intent(&Direct, "get_messages", &[payload]);
            prop_assert_eq!(intent, Ok(meant.clone()));
        }
    }
}
