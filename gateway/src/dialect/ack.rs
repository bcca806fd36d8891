//! Acknowledgements: what a client gets for an event that asked for one.
//!
//! Owns their two forms, which all dialects share: `{success: true, …}` and `{success: false, error}`. Must never know an event.

use confab_shared::id::MessageId;
use confab_shared::model::content::TempId;
use confab_shared::model::error::{ErrorCode, Rejection};
use serde::Serialize;

use super::Frames;
use super::numbers::as_string;

#[derive(Serialize)]
struct Success<T> {
    success: bool,
    #[serde(flatten)]
    more: T,
}

#[derive(Serialize)]
struct Done {}

#[derive(Serialize)]
struct Failure<'a> {
    success: bool,
    error: ErrorBody<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    code: ErrorCode,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// What is said of a stored message where ids are strings.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stored<'a> {
    #[serde(serialize_with = "as_string")]
    message_id: MessageId,
    #[serde(skip_serializing_if = "Option::is_none")]
    temp_id: Option<&'a str>,
}

impl<'a> Stored<'a> {
    pub(super) fn new(message_id: MessageId, temp_id: Option<&'a TempId>) -> Self {
        Self {
            message_id,
            temp_id: temp_id.map(TempId::as_str),
        }
    }
}

/// It is done, and there is no more to say.
pub(super) fn done(frames: &mut Frames, ack_id: Option<u64>) {
    success(frames, ack_id, || Done {});
}

/// It is done, and this came of it: an object, whose fields stand beside `success`. It is made only if somebody asked.
pub(super) fn success<T: Serialize>(
    frames: &mut Frames,
    ack_id: Option<u64>,
    more: impl FnOnce() -> T,
) {
    if let Some(id) = ack_id {
        let (success, more) = (true, more());
        frames.ack(id, &Success { success, more });
    }
}

/// It was refused.
pub(super) fn failure(frames: &mut Frames, ack_id: Option<u64>, rejection: &Rejection) {
    if let Some(id) = ack_id {
        let error = ErrorBody {
            code: rejection.code,
            message: &rejection.message,
            retry_after_ms: rejection.retry_after_ms,
        };
        let success = false;
        frames.ack(id, &Failure { success, error });
    }
}
