//! /api/rooms: public rooms, in source 000's words.

use std::sync::Arc;

use axum::extract::State;
use confab_shared::id::{ConversationId, UserId};
use confab_shared::model::account::Profile;
use confab_shared::model::command::Command;
use confab_shared::model::timestamp::Timestamp;
use confab_shared::postgres::rooms::{self, Room};
use confab_shared::postgres::users;
use serde::Serialize;
use utoipa::ToSchema;

use super::Rest;
use super::answer::{Created, Listing, NoContent, Shown, shapes};
use super::error::ApiError;
use super::extract::{Caller, JsonBody, QueryFields, Reader, Segments};
use super::form::{Change, Optional, Required, form};
use super::page::{ListQuery, limit_or_default};
use super::rule;
use super::shape::PublicUserJson;
use crate::dialect::RoomName;
use crate::limits::Class;
use crate::rooms::{NewRoom, create as create_room, resolve};

form! {
    /// A room that somebody asks for.
    RoomCreation {
        /// Its name. Names may repeat; the slug that is made of it does not.
        "name" name: String = Required(rule::NAME),
        /// What it is for.
        "description" description: Option<Option<String>> = Optional(rule::DESCRIPTION),
        /// The most people who may be present at a time; no limit if it is not said.
        "maxUsers" max_users: Option<i32> = Optional(rule::MAX_USERS),
    }
}

form! {
    /// What is to be different about a room; what is missing stays as it is.
    RoomUpdate {
        /// Its name. The slug stays.
        "name" name: Option<String> = Optional(rule::NAME),
        /// What it is for; null takes it away.
        "description" description: Option<Option<Option<String>>> = Change(rule::DESCRIPTION),
        /// The most people who may be present at a time; null takes the limit away.
        "maxUsers" max_users: Option<Option<i32>> = Change(rule::MAX_USERS),
    }
}

form! {
    /// Which part of the list of those present, by username.
    PresentQuery {
        /// Where the page begins, as the `Link` of the one before says.
        "cursor" cursor: Option<(String, UserId)> = Optional(rule::PRESENT_CURSOR),
        /// How many entries; 50 if it is not said, at most 100.
        "limit" limit: Option<u32> = Optional(rule::LIMIT),
    }
}

/// A public room.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Room)]
pub(super) struct RoomJson<'a> {
    #[schema(value_type = String, format = Uuid)]
    id: ConversationId,
    /// Its name in addresses and events.
    #[schema(example = "public")]
    slug: &'a str,
    #[schema(example = "Public")]
    name: &'a str,
    #[schema(required)]
    description: Option<&'a str>,
    /// The most people who may be present at a time.
    #[schema(required)]
    max_users: Option<i32>,
    /// How many are present.
    user_count: u64,
    #[schema(value_type = String, format = Uuid)]
    created_by: UserId,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When something was last said in it.
    #[schema(value_type = String, format = DateTime)]
    last_activity: Timestamp,
}

shapes!(RoomJson);

impl<'a> RoomJson<'a> {
    fn new(room: &'a Room, user_count: u64) -> Self {
        Self {
            id: room.id,
            slug: &room.slug,
            name: &room.name,
            description: room.description.as_deref(),
            max_users: room.max_users,
            user_count,
            created_by: room.created_by,
            created_at: room.created_at,
            last_activity: room.updated_at,
        }
    }
}

/// GET /api/rooms
pub(super) async fn list(
    State(rest): State<Arc<Rest>>,
    _reader: Reader,
    QueryFields(query): QueryFields<ListQuery>,
) -> Result<Listing<RoomJson<'static>>, ApiError> {
    let limit = limit_or_default(query.limit);
    let (found, next) = rooms::list(rest.database(), query.cursor, limit).await?;
    let ids: Vec<ConversationId> = found.iter().map(|room| room.id).collect();
    let counts = rest.node.presence.counts(&ids).await?;
    let shown: Vec<RoomJson<'_>> = found
        .iter()
        .zip(counts)
        .map(|(room, count)| RoomJson::new(room, count))
        .collect();
    let next = next.map(|next| format!("/api/rooms?cursor={next}&limit={limit}"));
    Ok(Listing::of(&shown, next))
}

/// POST /api/rooms
pub(super) async fn create(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    JsonBody(form): JsonBody<RoomCreation>,
) -> Result<Created<RoomJson<'static>>, ApiError> {
    caller.count(&rest, Class::RoomsRoomOperations).await?;
    let room = NewRoom {
        name: form.name,
        description: form.description.flatten(),
        max_users: form.max_users,
    };
    let id = create_room(&rest.node, caller.id(), room).await?;
    let made = find(&rest, id).await?;
    let count = rest.node.presence.count(id).await?;
    Ok(Created::of(&RoomJson::new(&made, count)))
}

/// GET /api/rooms/{id}
pub(super) async fn show(
    State(rest): State<Arc<Rest>>,
    _reader: Reader,
    Segments(name): Segments<RoomName>,
) -> Result<Shown<RoomJson<'static>>, ApiError> {
    let found = named(&rest, &name).await?;
    let count = rest.node.presence.count(found.id).await?;
    Ok(Shown::of(&RoomJson::new(&found, count)))
}

/// PUT /api/rooms/{id}
pub(super) async fn update(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(name): Segments<RoomName>,
    JsonBody(form): JsonBody<RoomUpdate>,
) -> Result<Shown<RoomJson<'static>>, ApiError> {
    caller.count(&rest, Class::RoomsRoomOperations).await?;
    let room = named(&rest, &name).await?;
    let command = Command::UpdateRoom {
        name: form.name,
        // A blank description is none.
        description: form.description.map(Option::flatten),
        max_users: form.max_users,
    };
    rest.change(room.id, caller.id(), command).await?;
    let changed = find(&rest, room.id).await?;
    let count = rest.node.presence.count(room.id).await?;
    Ok(Shown::of(&RoomJson::new(&changed, count)))
}

/// DELETE /api/rooms/{id}
pub(super) async fn delete(
    State(rest): State<Arc<Rest>>,
    caller: Caller,
    Segments(name): Segments<RoomName>,
) -> Result<NoContent, ApiError> {
    caller.count(&rest, Class::RoomsRoomOperations).await?;
    let room = named(&rest, &name).await?;
    rest.change(room.id, caller.id(), Command::DeleteRoom)
        .await?;
    if let Err(error) = rooms::free_slug(rest.database(), room.id).await {
        // The room has ended all the same; whoever takes the slug next takes it over, and cleaning up frees it as well.
        tracing::warn!(%error, room = %room.id, "a slug was not given free");
    }
    Ok(NoContent)
}

/// GET /api/rooms/{id}/users
pub(super) async fn present(
    State(rest): State<Arc<Rest>>,
    _reader: Reader,
    Segments(name): Segments<RoomName>,
    QueryFields(query): QueryFields<PresentQuery>,
) -> Result<Listing<PublicUserJson<'static>>, ApiError> {
    let room = named(&rest, &name).await?;
    let present = rest.node.presence.present(room.id).await?;
    let limit = limit_or_default(query.limit);
    let (page, is_last) = part(&present, query.cursor.as_ref(), limit);
    let ids: Vec<UserId> = page.iter().map(|profile| profile.id).collect();
    let accounts = users::find_all(rest.database(), &ids).await?;
    let shown: Vec<PublicUserJson<'_>> = ids
        .iter()
        .filter_map(|id| accounts.iter().find(|account| account.id == *id))
        .map(|account| PublicUserJson::new(account, !account.appears_offline))
        .collect();
    let next = page.last().filter(|_| !is_last).map(|last| {
        let (id, username) = (last.id, &last.username);
        format!(
            "/api/rooms/{}/users?cursor={id}_{username}&limit={limit}",
            room.id
        )
    });
    Ok(Listing::of(&shown, next))
}

/// The part of a list in order of username and id that comes after a place, and whether nothing comes after it.
fn part<'a>(
    present: &'a [Profile],
    after: Option<&(String, UserId)>,
    limit: u32,
) -> (&'a [Profile], bool) {
    let begin = after.map_or(0, |(username, id)| {
        present.partition_point(|one| (&*one.username, one.id) <= (username.as_str(), *id))
    });
    let rest = &present[begin..];
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX).min(rest.len());
    (&rest[..wanted], wanted == rest.len())
}

async fn find(rest: &Rest, id: ConversationId) -> Result<Room, ApiError> {
    let found = rooms::find(rest.database(), id).await?;
    found.ok_or_else(|| ApiError::not_found("room"))
}

async fn named(rest: &Rest, name: &RoomName) -> Result<Room, ApiError> {
    match resolve(&rest.node, name).await? {
        Some(id) => find(rest, id).await,
        None => Err(ApiError::not_found("room")),
    }
}

#[cfg(test)]
mod tests {
    use confab_shared::model::account::AccountRole;

    use super::*;

    #[test]
    fn those_present_come_in_pages() {
        let profile = |username: &str, id| Profile {
            id: UserId(uuid::Uuid::from_u128(id)),
            username: username.into(),
            name: username.into(),
            avatar: None,
            account: AccountRole::User,
        };
        let present = [
            profile("ann", 1),
            profile("ben", 2),
            profile("ben", 3),
            profile("cid", 4),
        ];
        let names = |after: Option<(&str, u128)>, limit| {
            let after =
                after.map(|(name, id)| (name.to_owned(), UserId(uuid::Uuid::from_u128(id))));
            let (page, is_last) = part(&present, after.as_ref(), limit);
            (
                page.iter()
                    .map(|one| one.id.0.as_u128())
                    .collect::<Vec<_>>(),
                is_last,
            )
        };
        assert_eq!(names(None, 2), (vec![1, 2], false));
        assert_eq!(names(Some(("ben", 2)), 2), (vec![3, 4], true));
        assert_eq!(names(Some(("bea", 9)), 1), (vec![2], false));
        assert_eq!(names(Some(("cid", 4)), 1), (vec![], true));
    }
}
