//! /conversations: making, listing and showing, in source 001's words; and what /chats shares with it.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::command::{Command, Outcome};
use confab_shared::model::content::MAX_PARTICIPANTS;
use confab_shared::model::conversation::ConversationKind;
use confab_shared::postgres::conversations::{self, Listed};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AnyOfBuilder, Schema};

use super::Rest;
use super::answer::{Listing, Made, Shown};
use super::error::ApiError;
use super::extract::{Caller, JsonBody, QueryFields, Segments};
use super::form::{Optional, Property, Several, form, object};
use super::page::{ListQuery, limit_or_default};
use super::rule;
use super::shape::ConversationJson;
use crate::limits::Class;

form! {
    /// A conversation that somebody asks for.
    NewConversation {
        /// The others. A direct conversation has exactly one.
        "participantIds" participants: Vec<UserId> = Several(rule::USER_ID, 1..=MAX_PARTICIPANTS),
        /// A group's name.
        "name" name: Option<String> = Optional(rule::NAME),
        /// `direct` where it is not said, one other is named, and no name is given; else `group`.
        "type" kind: Option<ConversationKind> = Optional(rule::KIND),
    }
    schema = either_direct_or_not
}

/// That a direct conversation has one other participant is more than can be said field by field.
fn either_direct_or_not(properties: &[Property]) -> Schema {
    let [mut direct, mut other] = [object(properties).build(), object(properties).build()];
    direct.required.push("type".to_owned());
    for (name, schema) in &mut direct.properties {
        match schema {
            RefOr::T(Schema::Array(array)) if name == "participantIds" => array.max_items = Some(1),
            RefOr::T(Schema::Object(kind)) if name == "type" => {
                kind.enum_values = Some(vec![Value::from("direct")]);
            }
            _ => {}
        }
    }
    if let Some(RefOr::T(Schema::Object(kind))) = other.properties.get_mut("type") {
        kind.enum_values = Some(vec![Value::from("group"), Value::Null]);
    }
    AnyOfBuilder::new().item(direct).item(other).into()
}

/// POST /conversations
pub(super) async fn create(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    JsonBody(form): JsonBody<NewConversation>,
) -> Result<Made<ConversationJson<'static>>, ApiError> {
    let (is_new, made) = make(&rest, &caller, form).await?;
    Ok(Made::of(is_new, &ConversationJson::from(&made)))
}

/// GET /conversations
pub(super) async fn list(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    QueryFields(query): QueryFields<ListQuery>,
) -> Result<Listing<ConversationJson<'static>>, ApiError> {
    let (listed, next) = page(&rest, caller.id(), "/conversations", query).await?;
    let shown: Vec<ConversationJson<'_>> = listed.iter().map(ConversationJson::from).collect();
    Ok(Listing::of(&shown, next))
}

/// GET /conversations/{id}
pub(super) async fn show(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(id): Segments<ConversationId>,
) -> Result<Shown<ConversationJson<'static>>, ApiError> {
    let found = find(&rest, id, caller.id()).await?;
    Ok(Shown::of(&ConversationJson::from(&found)))
}

/// A conversation, for a present member; to anybody else it does not exist.
pub(super) async fn find(
    rest: &Rest,
    id: ConversationId,
    viewer: UserId,
) -> Result<Listed, ApiError> {
    let found = conversations::find(rest.database(), id, viewer).await?;
    let mut found = found.ok_or_else(|| ApiError::not_found("conversation"))?;
    let people = &mut found.view.participants;
    rest.node.presence.note_online(people).await;
    Ok(found)
}

/// Makes a conversation, if it is new. A direct one that existed is answered as it is.
pub(super) async fn make(
    rest: &Rest,
    caller: &Caller,
    form: NewConversation,
) -> Result<(bool, Listed), ApiError> {
    let actor = caller.id();
    let Plan {
        id,
        kind,
        name,
        participants,
    } = Plan::of(actor, form)?;
    caller.count(rest, Class::RoomOperations).await?;
    let command = Command::CreateConversation {
        kind,
        name,
        participants,
    };
    let outcome = rest.change(id, actor, command).await?;
    let is_new = !matches!(outcome, Outcome::Created { fresh: false });
    Ok((is_new, find(rest, id, actor).await?))
}

/// Reads a page of somebody's conversations, and where the next one is, as asked for on this route.
pub(super) async fn page(
    rest: &Rest,
    viewer: UserId,
    route: &str,
    query: ListQuery,
) -> Result<(Vec<Listed>, Option<String>), ApiError> {
    let limit = limit_or_default(query.limit);
    let (mut listed, next) =
        conversations::list(rest.database(), viewer, query.cursor, limit).await?;
    let people = listed.iter_mut().flat_map(|one| &mut one.view.participants);
    rest.node.presence.note_online(people).await;
    let next = next.map(|next| format!("{route}?cursor={next}&limit={limit}"));
    Ok((listed, next))
}

/// What has to be made of a request.
#[derive(Debug)]
struct Plan {
    id: ConversationId,
    kind: ConversationKind,
    name: Option<String>,
    participants: Vec<UserId>,
}

impl Plan {
    /// By the request's form. Whether the participants exist is for the worker to find out.
    fn of(actor: UserId, form: NewConversation) -> Result<Self, ApiError> {
        let participants = others(actor, form.participants);
        let kind = form
            .kind
            .unwrap_or(if participants.len() <= 1 && form.name.is_none() {
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
                (ConversationId::generate(), form.name)
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
    use serde_json::json;

    use super::super::form::{Form, Given};
    use super::*;

    fn read(actor: UserId, body: &Value) -> Result<Plan, u16> {
        NewConversation::read(Given::new(body.as_object().unwrap().clone()))
            .and_then(|form| Plan::of(actor, form))
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
