//! Rules: what a single value has to look like.
//!
//! A rule is how a value is read and how it is described, as one thing: what the document says is what is checked. Owns the form of
//! every field, parameter and path segment; must never know which of them a route wants.

use std::str::FromStr;

use confab_shared::id::{ConversationId, MessageId, UserId};
use confab_shared::model::content::{
    Content, MAX_AVATAR_BYTES, MAX_CONTENT_CHARS, MAX_DESCRIPTION_CHARS, MAX_EMAIL_BYTES,
    MAX_NAME_CHARS, MAX_ROOM_USERS, MAX_TEMP_ID_BYTES, TempId, parse_avatar, parse_description,
    parse_email, parse_message_type, parse_name, parse_username,
};
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::Rejection;
use confab_shared::postgres::conversations::ListCursor;
use confab_shared::postgres::users::SearchCursor;
use serde_json::Value;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{KnownFormat, SchemaFormat};

use crate::dialect::RoomName;

/// The most entries of one page.
const MAX_LIMIT: u32 = 100;
/// The shortest password, in characters.
const MIN_PASSWORD_CHARS: usize = 8;
/// The longest password, in characters.
const MAX_PASSWORD_CHARS: usize = 128;

/// What a value has to look like.
pub(super) struct Rule<T> {
    read: fn(&'static str, &Value) -> Result<T, Rejection>,
    describe: fn() -> ObjectBuilder,
}

impl<T> Rule<T> {
    /// Reads the value of a field, which is named in what is said if it is wrong.
    pub(super) fn read(&self, field: &'static str, value: &Value) -> Result<T, Rejection> {
        (self.read)(field, value)
    }

    /// The JSON Schema of what [`read`](Self::read) accepts.
    pub(super) fn describe(&self) -> ObjectBuilder {
        (self.describe)()
    }
}

/// An e-mail address.
pub(super) const EMAIL: Rule<String> = Rule {
    read: |field, value| parse_email(short(field, value, MAX_EMAIL_BYTES)?),
    describe: || {
        string("user@example.com")
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Email)))
            .max_length(Some(MAX_EMAIL_BYTES))
    },
};

/// A handle.
pub(super) const USERNAME: Rule<String> = Rule {
    read: |field, value| parse_username(text(field, value)?),
    describe: || string("johndoe").pattern(Some("^[A-Za-z0-9_.-]{3,32}$")),
};

/// A password that is to be.
pub(super) const NEW_PASSWORD: Rule<String> = Rule {
    read: |field, value| {
        let text = text(field, value)?;
        if (MIN_PASSWORD_CHARS..=MAX_PASSWORD_CHARS).contains(&text.chars().count()) {
            return Ok(text.to_owned());
        }
        Err(Rejection::invalid(format!(
            "{field} must have {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters"
        )))
    },
    describe: || {
        password()
            .min_length(Some(MIN_PASSWORD_CHARS))
            .max_length(Some(MAX_PASSWORD_CHARS))
    },
};

/// A password that is compared.
pub(super) const PASSWORD: Rule<String> = Rule {
    read: |field, value| text(field, value).map(str::to_owned),
    describe: password,
};

/// The name to display, of somebody or something.
pub(super) const NAME: Rule<String> = Rule {
    read: |field, value| parse_name(field, short(field, value, MAX_NAME_CHARS)?),
    describe: || {
        string("John Doe")
            .max_length(Some(MAX_NAME_CHARS))
            .pattern(Some(
                r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
            ))
    },
};

/// Where a picture is.
pub(super) const AVATAR: Rule<String> = Rule {
    read: |field, value| parse_avatar(text(field, value)?),
    describe: || {
        string("https://example.com/avatar.png")
            .max_length(Some(MAX_AVATAR_BYTES))
            .pattern(Some(r"^https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+$"))
    },
};

/// What a message says.
pub(super) const CONTENT: Rule<Content> = Rule {
    read: |field, value| Content::parse(text(field, value)?),
    describe: || {
        string("Hello!")
            .max_length(Some(MAX_CONTENT_CHARS))
            .pattern(Some(r"^[^\x00]*[^\s\x00][^\x00]*$"))
    },
};

/// What kind of message it is.
pub(super) const MESSAGE_TYPE: Rule<String> = Rule {
    read: |field, value| parse_message_type(text(field, value)?),
    describe: || string("text").pattern(Some("^[a-z0-9_-]{1,32}$")),
};

/// What a room is for.
pub(super) const DESCRIPTION: Rule<Option<String>> = Rule {
    read: |field, value| parse_description(short(field, value, MAX_DESCRIPTION_CHARS)?),
    describe: || {
        string("Where we talk")
            .max_length(Some(MAX_DESCRIPTION_CHARS))
            .pattern(Some(r"^[^\x00]*$"))
    },
};

/// The most people who may be present in a room.
pub(super) const MAX_USERS: Rule<i32> = Rule {
    read: |field, value| {
        // JSON does not tell 5 from 5.0, and neither does JSON Schema.
        let number = value.as_f64().filter(|number| {
            number.fract() == 0.0 && (1.0..=f64::from(MAX_ROOM_USERS)).contains(number)
        });
        number.map(whole).ok_or_else(|| {
            Rejection::invalid(format!(
                "{field} must be a whole number from 1 to {MAX_ROOM_USERS}"
            ))
        })
    },
    describe: || {
        integer(50)
            .minimum(Some(1))
            .maximum(Some(f64::from(MAX_ROOM_USERS)))
    },
};

/// Yes or no.
pub(super) const BOOLEAN: Rule<bool> = Rule {
    read: |field, value| {
        value
            .as_bool()
            .ok_or_else(|| Rejection::invalid(format!("{field} must be true or false")))
    },
    describe: || {
        ObjectBuilder::new()
            .schema_type(Type::Boolean)
            .examples([Value::from(true)])
    },
};

/// A user's id.
pub(super) const USER_ID: Rule<UserId> = Rule {
    read: id,
    describe: uuid,
};

/// A conversation's id.
pub(super) const CONVERSATION_ID: Rule<ConversationId> = Rule {
    read: id,
    describe: uuid,
};

/// A message's id.
pub(super) const MESSAGE_ID: Rule<MessageId> = Rule {
    read: id,
    describe: || string("1").pattern(Some("^[1-9][0-9]{0,17}$")),
};

/// What a request can make, besides rooms.
pub(super) const KIND: Rule<ConversationKind> = Rule {
    read: |field, value| match text(field, value)? {
        "direct" => Ok(ConversationKind::Direct),
        "group" => Ok(ConversationKind::Group),
        _ => Err(Rejection::invalid(format!(
            "{field} must be direct or group"
        ))),
    },
    describe: || string("group").enum_values(Some(["direct", "group"])),
};

/// How many entries a page is to have, in a query.
pub(super) const LIMIT: Rule<u32> = Rule {
    read: |field, value| positive(field, value).map(|number| number.min(MAX_LIMIT)),
    describe: || integer(20).minimum(Some(1)),
};

/// Which page, counted from 1, in a query.
pub(super) const PAGE: Rule<u32> = Rule {
    read: positive,
    describe: || integer(1).minimum(Some(1)),
};

/// Where a list goes on.
pub(super) const LIST_CURSOR: Rule<ListCursor> = Rule {
    read: cursor,
    describe: || {
        string("1760443200120_01900000-0000-7000-8000-000000000003").pattern(Some(
            "^[0-9]{1,13}_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        ))
    },
};

/// Where a search goes on.
pub(super) const SEARCH_CURSOR: Rule<SearchCursor> = Rule {
    read: cursor,
    describe: || {
        string("u_john").pattern(Some(
            "^(u_[a-z0-9_.-]{3,32}|e_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$",
        ))
    },
};

/// What a name or an address that is searched for begins with.
pub(super) const PREFIX: Rule<String> = Rule {
    read: |field, value| {
        let prefix = short(field, value, MAX_EMAIL_BYTES)?.trim();
        if prefix.is_empty() || prefix.contains('\0') {
            return Err(Rejection::invalid(format!(
                "{field} must have 1 to {MAX_EMAIL_BYTES} characters"
            )));
        }
        Ok(prefix.to_owned())
    },
    describe: || {
        string("john")
            .max_length(Some(MAX_EMAIL_BYTES))
            .pattern(Some(r"^[^\x00]*[^\s\x00][^\x00]*$"))
    },
};

/// A room by its id or its slug. An id in small letters has the form of a slug, too.
pub(super) const ROOM_NAME: Rule<RoomName> = Rule {
    read: |field, value| RoomName::parse(text(field, value)?),
    describe: || string("public").pattern(Some("^[a-z0-9][a-z0-9_-]{0,63}$")),
};

/// Where a list of those present goes on: behind this name and id.
pub(super) const PRESENT_CURSOR: Rule<(String, UserId)> = Rule {
    read: |field, value| {
        let text = text(field, value)?;
        let malformed = || Rejection::invalid(format!("{field} is not a place in this list"));
        let (user, name) = text.split_once('_').ok_or_else(malformed)?;
        let user = user.parse().map_err(|_| malformed())?;
        Ok((parse_username(name).map_err(|_| malformed())?, user))
    },
    describe: || {
        string("01900000-0000-7000-8000-000000000004_johndoe").pattern(Some(
            "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}_[A-Za-z0-9_.-]{3,32}$",
        ))
    },
};

/// What makes a request repeatable.
pub(super) const IDEMPOTENCY_KEY: Rule<TempId> = Rule {
    read: |field, value| {
        let expected =
            format!("{field} must have 1 to {MAX_TEMP_ID_BYTES} visible ASCII characters");
        let text = text(field, value)?;
        // Spaces may stand within it: what surrounds a header's value is not part of it.
        let visible = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !visible || text.trim().len() != text.len() {
            return Err(Rejection::invalid(expected));
        }
        TempId::parse(text).map_err(|_| Rejection::invalid(expected))
    },
    describe: || {
        string("5f0c8a52").pattern(Some(format!(
            "^[!-~]([ -~]{{0,{}}}[!-~])?$",
            MAX_TEMP_ID_BYTES - 2
        )))
    },
};

/// A text of so many characters at the most, as it was sent: what JSON Schema can say. It is trimmed afterwards.
fn short<'a>(field: &str, value: &'a Value, most: usize) -> Result<&'a str, Rejection> {
    let text = text(field, value)?;
    if text.len() > most && text.chars().count() > most {
        return Err(Rejection::invalid(format!(
            "{field} must have at most {most} characters"
        )));
    }
    Ok(text)
}

fn text<'a>(field: &str, value: &'a Value) -> Result<&'a str, Rejection> {
    value
        .as_str()
        .ok_or_else(|| Rejection::invalid(format!("{field} must be a string")))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "it is whole and within the bounds of a room"
)]
fn whole(number: f64) -> i32 {
    number as i32
}

fn id<T: FromStr>(field: &'static str, value: &Value) -> Result<T, Rejection> {
    text(field, value)?
        .parse()
        .map_err(|_| Rejection::invalid(format!("{field} must be an id")))
}

fn cursor<T: FromStr>(field: &'static str, value: &Value) -> Result<T, Rejection> {
    text(field, value)?
        .parse()
        .map_err(|_| Rejection::invalid(format!("{field} is not a place in this list")))
}

/// A positive whole number in plain digits. One that is too large for us is as large as we can say.
fn positive(field: &'static str, value: &Value) -> Result<u32, Rejection> {
    let text = text(field, value)?;
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(0) => {}
        Ok(number) if digits => return Ok(number),
        Err(_) if digits => return Ok(u32::MAX),
        _ => {}
    }
    Err(Rejection::invalid(format!(
        "{field} must be a positive whole number"
    )))
}

fn string(example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .examples([Value::from(example)])
}

fn integer(example: i32) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .examples([Value::from(example)])
}

fn password() -> ObjectBuilder {
    string("securepassword").format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
}

fn uuid() -> ObjectBuilder {
    string("01900000-0000-7000-8000-000000000002")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)))
}

#[cfg(test)]
mod tests;
