//! Public rooms, as sockets and REST make and find them.
//!
//! Owns how a room gets its slug: it is taken first, then the room is made under it by the worker, like every change. Must never know
//! who asks in which words.

use confab_shared::id::{CommandId, ConversationId, UserId};
use confab_shared::model::command::Command;
use confab_shared::model::content::Slug;
use confab_shared::model::error::{ErrorCode, Rejection, RequestError};
use confab_shared::postgres::rooms;

use crate::dialect::RoomName;
use crate::node::Node;

/// How many numbers are tried behind a name that is taken, before a random one.
const NUMBERS: u32 = 20;

/// A room that somebody asks for.
#[derive(Debug, Clone)]
pub struct NewRoom {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The most people who may be present; none: no limit.
    pub max_users: Option<i32>,
}

/// Makes a room, with the slug that its name suggests, or that with a number behind it.
pub async fn create(
    node: &Node,
    creator: UserId,
    room: NewRoom,
) -> Result<ConversationId, RequestError> {
    let id = ConversationId::generate();
    let wish = Slug::of_name(&room.name);
    let numbered = (2..=NUMBERS).map(|number| wish.numbered(number));
    // The id's last bits are random; whoever makes so many rooms of one name is better served by that than by counting on.
    let random = wish.numbered(u32::try_from(id.0.as_u64_pair().1 & 0x7fff_ffff).unwrap_or(0));
    for slug in std::iter::once(wish.clone())
        .chain(numbered)
        .chain([random])
    {
        if rooms::take_slug(&node.database, &slug, id).await? == id {
            make(node, creator, id, slug, room).await?;
            return Ok(id);
        }
    }
    let message = "no free slug for this name; try another";
    Err(Rejection::new(ErrorCode::Conflict, message).into())
}

/// The room of this slug, which is made if there is none.
pub async fn create_by_slug(
    node: &Node,
    creator: UserId,
    slug: &Slug,
) -> Result<ConversationId, RequestError> {
    let id = rooms::take_slug(&node.database, slug, ConversationId::generate()).await?;
    let room = NewRoom {
        name: slug.to_string(),
        description: None,
        max_users: None,
    };
    // Of two that ask at once, the second finds it made: that is answered like the first.
    make(node, creator, id, slug.clone(), room).await?;
    Ok(id)
}

async fn make(
    node: &Node,
    creator: UserId,
    id: ConversationId,
    slug: Slug,
    room: NewRoom,
) -> Result<(), Rejection> {
    let NewRoom {
        name,
        description,
        max_users,
    } = room;
    let command = Command::CreateRoom {
        slug,
        name,
        description,
        max_users,
    };
    let made = node
        .ingress
        .request(CommandId::generate(), id, creator, command);
    made.await.map(|_| ())
}

/// The conversation that a client names, if there is one. Says nothing about who may see it.
pub async fn resolve(node: &Node, room: &RoomName) -> Result<Option<ConversationId>, sqlx::Error> {
    match room {
        RoomName::Id(id) => Ok(Some(*id)),
        RoomName::Slug(slug) => rooms::by_slug(&node.database, slug).await,
    }
}
