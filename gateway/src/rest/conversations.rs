//! /conversations: making, listing and showing, in source 001's words; and what /chats shares with it.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::LINK;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::{MAX_PARTICIPANTS, parse_name};
use confab_shared::model::conversation::ConversationKind;
use confab_shared::model::error::Rejection;
use confab_shared::postgres::conversations::{self, ListCursor, Listed};

use super::Rest;
use super::error::ApiError;
use super::extract::{
    Caller, JsonBody, QueryFields, Segments, limit_or_default, parse_limit, path_id,
};
use super::fields::{Fields, id};
use super::shape::ConversationJson;

/// POST /conversations
pub(super) async fn create(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let (status, made) = make(&rest, caller.id(), body).await?;
    Ok((status, Json(ConversationJson::from(&made))).into_response())
}

/// GET /conversations
pub(super) async fn list(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    QueryFields(query): QueryFields,
) -> Result<Response, ApiError> {
    let page = page(&rest, caller.id(), "/conversations", query).await?;
    let shown: Vec<ConversationJson<'_>> = page.listed.iter().map(ConversationJson::from).collect();
    Ok((page.link, Json(shown)).into_response())
}

/// GET /conversations/{id}
pub(super) async fn show(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<String>,
) -> Result<Response, ApiError> {
    let found = find(&rest, path_id("conversation", &id)?, caller.id()).await?;
    Ok(Json(ConversationJson::from(&found)).into_response())
}

/// A conversation, for a present member; to anybody else it does not exist.
pub(super) async fn find(
    rest: &Rest,
    id: ConversationId,
    viewer: UserId,
) -> Result<Listed, ApiError> {
    let found = conversations::find(rest.database(), id, viewer).await?;
    found.ok_or_else(|| ApiError::not_found("conversation"))
}

/// Makes a conversation. A direct one that existed is answered as it is, with 200.
pub(super) async fn make(
    rest: &Rest,
    actor: UserId,
    body: Fields,
) -> Result<(StatusCode, Listed), ApiError> {
    let NewConversation {
        id,
        kind,
        name,
        participants,
    } = NewConversation::read(actor, body)?;
    let command = Command::CreateConversation {
        kind,
        name,
        participants,
    };
    let status = match rest.change(id, actor, command).await? {
        Outcome::Created { fresh: false } => StatusCode::OK,
        _ => StatusCode::CREATED,
    };
    Ok((status, find(rest, id, actor).await?))
}

/// A page of a list, with the way to the next one.
pub(super) struct ListPage {
    pub(super) listed: Vec<Listed>,
    pub(super) link: Option<[(axum::http::HeaderName, HeaderValue); 1]>,
}

/// Reads a page of somebody's conversations, as asked for on this route.
pub(super) async fn page(
    rest: &Rest,
    viewer: UserId,
    route: &str,
    mut query: Fields,
) -> Result<ListPage, ApiError> {
    let limit = query.optional_text("limit", parse_limit);
    let cursor = query.optional_text("cursor", |text| {
        text.parse::<ListCursor>()
            .map_err(|malformed| Rejection::invalid(malformed.to_string()))
    });
    let (limit, cursor) = query.finish((limit, cursor))?;
    let limit = limit_or_default(limit);
    let (listed, next) = conversations::list(rest.database(), viewer, cursor, limit).await?;
    let link = next.map(|next| format!("<{route}?cursor={next}&limit={limit}>; rel=\"next\""));
    // Digits, hyphens and an underscore: a cursor is always fit for a header.
    let link = link
        .and_then(|link| HeaderValue::try_from(link).ok())
        .map(|link| [(LINK, link)]);
    Ok(ListPage { listed, link })
}

/// A conversation that somebody asks for.
#[derive(Debug)]
struct NewConversation {
    id: ConversationId,
    kind: ConversationKind,
    name: Option<String>,
    participants: Vec<UserId>,
}

impl NewConversation {
    /// Reads a request by its form. Whether the participants exist is for the worker to find out.
    fn read(actor: UserId, mut body: Fields) -> Result<Self, ApiError> {
        let participants = body.texts("participantIds", id::<UserId>("participantIds"));
        let name = body.optional_text("name", |text| parse_name("name", text));
        let kind = body.optional_text("type", |text| match text {
            "direct" => Ok(ConversationKind::Direct),
            "group" => Ok(ConversationKind::Group),
            _ => Err(Rejection::invalid("type must be direct or group")),
        });
        let (participants, name, kind) = body.finish((participants, name, kind))?;
        check_count("participantIds", &participants)?;
        let participants = others(actor, participants);
        let kind = kind.unwrap_or(if participants.len() <= 1 && name.is_none() {
            ConversationKind::Direct
        } else {
            ConversationKind::Group
        });
        let (id, name) = match (kind, &participants[..]) {
            (ConversationKind::Direct, [other]) => (ConversationId::direct(actor, *other), None),
            (ConversationKind::Direct, _) => {
                let expected = "a direct conversation has exactly one other participant";
                return Err(ApiError::field("participantIds", expected));
            }
            (ConversationKind::Group | ConversationKind::Room, _) => {
                (ConversationId::generate(), name)
            }
        };
        Ok(Self {
            id,
            kind,
            name,
            participants,
        })
    }
}

/// Checks how many people a request names.
pub(super) fn check_count(field: &'static str, named: &[UserId]) -> Result<(), ApiError> {
    if (1..=MAX_PARTICIPANTS).contains(&named.len()) {
        Ok(())
    } else {
        Err(ApiError::field(
            field,
            format!("{field} must have 1 to {MAX_PARTICIPANTS} ids"),
        ))
    }
}

/// The people named, each once and without whoever names them.
fn others(actor: UserId, named: Vec<UserId>) -> Vec<UserId> {
    let mut seen = HashSet::from([actor]);
    named
        .into_iter()
        .filter(|user| seen.insert(*user))
        .collect()
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use serde_json::{Value, json};

    use super::*;

    fn read(actor: UserId, body: &Value) -> Result<NewConversation, u16> {
        NewConversation::read(actor, Fields::new(body.as_object().unwrap().clone()))
            .map_err(|error| error.into_response().status().as_u16())
    }

    #[test]
    fn a_direct_conversation_has_the_pairs_id_and_no_name() {
        let (ann, ben) = (UserId::generate(), UserId::generate());
        for body in [
            json!({"participantIds": [ben]}),
            json!({"participantIds": [ann, ben, ben], "type": "direct", "name": "ignored"}),
        ] {
            let made = read(ann, &body).unwrap();
            assert_eq!(
                (made.kind, made.name, made.id),
                (
                    ConversationKind::Direct,
                    None,
                    ConversationId::direct(ann, ben)
                )
            );
            assert_eq!(made.participants, [ben]);
        }
    }

    #[test]
    fn several_or_a_name_make_a_group() {
        let (ann, ben, cid) = (UserId::generate(), UserId::generate(), UserId::generate());
        for body in [
            json!({"participantIds": [ben, cid, ben]}),
            json!({"participantIds": [ben], "name": " us "}),
            json!({"participantIds": [ben], "type": "group", "name": null}),
        ] {
            assert_eq!(
                read(ann, &body).unwrap().kind,
                ConversationKind::Group,
                "{body}"
            );
        }
        assert_eq!(
            read(ann, &json!({"participantIds": [ben], "name": " us "}))
                .unwrap()
                .name
                .as_deref(),
            Some("us")
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let (ann, ben, cid) = (UserId::generate(), UserId::generate(), UserId::generate());
        let many: Vec<UserId> = (0..=MAX_PARTICIPANTS).map(|_| UserId::generate()).collect();
        for body in [
            json!({}),
            json!({"participantIds": []}),
            json!({"participantIds": [], "type": "group"}),
            json!({"participantIds": [ann]}),
            json!({"participantIds": [ann], "type": "direct"}),
            json!({"participantIds": [ben, cid], "type": "direct"}),
            json!({"participantIds": [ben], "type": "room"}),
            json!({"participantIds": many, "type": "group"}),
            json!({"participantIds": [ben], "name": "x".repeat(101)}),
        ] {
            assert_eq!(read(ann, &body).unwrap_err(), 400, "{body}");
        }
    }
}
