//! The table of routes: where each is, what it is for, and what it refuses beyond what its handler's signature says.

use confab_shared::model::error::ErrorCode::{
    Conflict, Forbidden, NotFound, Unauthorized, ValidationFailed,
};

use super::api::{Api, about};
use super::{auth, chats, conversations, docs, health, messages, rooms, system, users};

/// Why a part of a history is not found.
const NO_PLACE: &str = "`before` or `after` names no message of this conversation.";

/// Why somebody cannot be added.
const CROWDED: &str = "A group would have more members than it may.";

/// All routes.
pub(super) fn all(has_guests: bool) -> Api {
    let api = Api::new(has_guests);
    documents(health_checks(room_routes(chat_routes(
        conversation_routes(message_routes(account_routes(api))),
    ))))
}

fn account_routes(api: Api) -> Api {
    api.section(
        "Accounts",
        "Registering, tokens, and what one is to others.",
    )
    .post(
        "/auth/register",
        about("Make an account").refuses(Conflict, "The e-mail address or the username is taken."),
        auth::register,
    )
    .post(
        "/auth/login",
        about("Get a token").refuses(
            Unauthorized,
            "The e-mail address or the password is wrong; which one is not said.",
        ),
        auth::login,
    )
    .post(
        "/auth/logout",
        about("End this token, and the sockets that came with it"),
        auth::logout,
    )
    .get("/auth/me", about("Who one is"), users::me)
    .put(
        "/auth/profile",
        about("Change what one is to others").refuses(Conflict, "The username is taken."),
        users::update,
    )
    .put(
        "/auth/change-password",
        about("Change the password, and end all other tokens")
            .refuses(ValidationFailed, "The current password is wrong."),
        auth::change_password,
    )
    .put(
        "/auth/online-status",
        about("Be seen as online, or not"),
        users::set_online_status,
    )
    .get("/users/search", about("Find people"), users::search)
}

fn message_routes(api: Api) -> Api {
    api.section("Messages", "Saying, changing and reading.")
        .post(
            "/messages",
            about("Send a message").refuses(
                NotFound,
                "There is no such conversation or message, for whoever asks.",
            ),
            messages::send,
        )
        .get(
            "/messages/conversation/{id}",
            about("Read a conversation's history").refuses(NotFound, NO_PLACE),
            messages::list,
        )
        .put(
            "/messages/mark-as-read",
            about("Mark messages as read").refuses(
                NotFound,
                "There is no such conversation or message, for whoever asks.",
            ),
            messages::mark_as_read,
        )
        .put(
            "/messages/{id}",
            about("Change one's own message").refuses(Forbidden, "It is somebody else's."),
            messages::edit,
        )
        .delete(
            "/messages/{id}",
            about("Delete a message, which leaves a tombstone")
                .refuses(Forbidden, "It is not one's own to delete."),
            messages::delete,
        )
}

fn conversation_routes(api: Api) -> Api {
    api.section("Conversations", "Between two people, or in a group.")
        .post(
            "/conversations",
            about("Begin a conversation")
                .refuses(NotFound, "One of the participants does not exist.")
                .refuses(Conflict, CROWDED),
            conversations::create,
        )
        .get(
            "/conversations",
            about("List one's conversations, latest activity first"),
            conversations::list,
        )
        .get(
            "/conversations/{id}",
            about("Show a conversation"),
            conversations::show,
        )
}

fn chat_routes(api: Api) -> Api {
    const FIXED: &str = "The members of a direct conversation are fixed.";
    const NO_MEMBERS: &str = "A room has no members.";
    const NOT_A_MODERATOR: &str = "It takes the owner or an admin.";
    api.section(
        "Chats",
        "Conversations and messages in the words of the `conversations` socket events.",
    )
    .post(
        "/chats/conversations",
        about("Begin a conversation")
            .refuses(NotFound, "One of the participants does not exist.")
            .refuses(Conflict, CROWDED),
        chats::create,
    )
    .get(
        "/chats/conversations",
        about("List one's conversations, latest activity first"),
        chats::list,
    )
    .get(
        "/chats/conversations/{id}",
        about("Show a conversation"),
        chats::show,
    )
    .get(
        "/chats/conversations/{id}/messages",
        about("Read a conversation's history").refuses(NotFound, NO_PLACE),
        chats::messages,
    )
    .post(
        "/chats/conversations/{id}/read",
        about("Mark all of it as read"),
        chats::read,
    )
    .post(
        "/chats/conversations/{id}/participants",
        about("Add members")
            .refuses(Forbidden, NOT_A_MODERATOR)
            .refuses(Forbidden, FIXED)
            .refuses(Conflict, NO_MEMBERS)
            .refuses(Conflict, CROWDED),
        chats::add_participants,
    )
    .delete(
        "/chats/conversations/{id}/participants/{user}",
        about("Remove a member")
            .refuses(Forbidden, NOT_A_MODERATOR)
            .refuses(Forbidden, FIXED)
            .refuses(Conflict, NO_MEMBERS),
        chats::remove_participant,
    )
    .post(
        "/chats/conversations/{id}/leave",
        about("Leave")
            .refuses(Forbidden, FIXED)
            .refuses(Conflict, NO_MEMBERS),
        chats::leave,
    )
    .delete(
        "/chats/messages/{id}",
        about("Delete a message, which leaves a tombstone")
            .refuses(Forbidden, "It is not one's own to delete."),
        chats::delete_message,
    )
}

fn room_routes(api: Api) -> Api {
    const NOT_THE_MAKER: &str = "It takes the one who made it, or an admin.";
    api.section(
        "Rooms",
        "Public rooms. They have no members: whoever is there takes part.",
    )
    .get(
        "/api/rooms",
        about("List the rooms, latest activity first"),
        rooms::list,
    )
    .post(
        "/api/rooms",
        about("Make a room").refuses(
            Conflict,
            "No slug could be made of this name that is not taken.",
        ),
        rooms::create,
    )
    .get("/api/rooms/{id}", about("Show a room"), rooms::show)
    .put(
        "/api/rooms/{id}",
        about("Change a room").refuses(Forbidden, NOT_THE_MAKER),
        rooms::update,
    )
    .delete(
        "/api/rooms/{id}",
        about("End a room")
            .refuses(Forbidden, NOT_THE_MAKER)
            .refuses(Conflict, "`public` and `lobby` always exist."),
        rooms::delete,
    )
    .get(
        "/api/rooms/{id}/users",
        about("Who is present in a room"),
        rooms::present,
    )
    .get(
        "/api/rooms/system/stats",
        about("How the deployment does"),
        system::stats,
    )
    .post(
        "/api/rooms/system/cleanup",
        about("Tidy up").refuses(Forbidden, "It takes an admin."),
        system::cleanup,
    )
}

fn health_checks(api: Api) -> Api {
    api.section(
        "Health",
        "For monitors. Load balancers ask the internal listener.",
    )
    .get("/health", about("How this gateway is"), health::all)
    .get("/health/db", about("How PostgreSQL is"), health::database)
}

fn documents(api: Api) -> Api {
    api.section("Documents", "What this is, for people and programs.")
        .get(
            "/api",
            about("This document to read and try out"),
            docs::index,
        )
        .get("/api/openapi.json", about("This document"), docs::openapi)
        .get(
            "/api/asyncapi.json",
            about("The socket events"),
            docs::asyncapi,
        )
        .get(
            "/api/docs/{file}",
            about("What the page needs"),
            docs::asset,
        )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn document(has_guests: bool) -> Value {
        serde_json::to_value(all(has_guests).finish().1).unwrap()
    }

    /// Every operation, with its name.
    fn operations(document: &Value) -> Vec<(String, &Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        paths
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().iter();
                methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
            })
            .collect()
    }

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(target)) = fields.get("$ref") {
                    found.insert(target.rsplit('/').next().unwrap().to_owned());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_operation_has_a_name_of_its_own_and_says_how_it_fails() {
        let document = document(true);
        let operations = operations(&document);
        let names: BTreeSet<_> = operations
            .iter()
            .map(|(_, operation)| operation["operationId"].as_str().unwrap())
            .collect();
        assert_eq!(names.len(), operations.len());
        let error = json!({"$ref": "#/components/schemas/Error"});
        for (name, operation) in operations {
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.keys().any(|status| status.starts_with('2')),
                "{name}"
            );
            for (status, response) in responses {
                if status.starts_with(['4', '5']) && !name.starts_with("get /health") {
                    let schema = &response["content"]["application/json"]["schema"];
                    assert_eq!(*schema, error, "{name} {status}");
                }
            }
            if !operation["security"].is_null() {
                assert!(responses.contains_key("401"), "{name}");
            }
        }
    }

    #[test]
    fn whoever_asks_too_often_may_read_that_he_does() {
        let document = document(true);
        for (name, operation) in operations(&document) {
            let responses = operation["responses"].as_object().unwrap();
            let is_open = [
                "get /health",
                "get /api/openapi",
                "get /api/asyncapi",
                "get /api/docs",
            ]
            .iter()
            .any(|open| name.starts_with(open))
                || name == "get /api";
            assert_eq!(responses.contains_key("429"), !is_open, "{name}");
            for (status, response) in responses {
                let says = |header: &str| !response["headers"][header].is_null();
                let tells = !is_open && (status.starts_with('2') || status == "429");
                for header in ["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"] {
                    assert_eq!(says(header), tells, "{name} {status}");
                }
                assert_eq!(
                    says("Retry-After"),
                    matches!(&**status, "429" | "503") && !name.starts_with("get /health"),
                    "{name} {status}"
                );
            }
        }
    }

    #[test]
    fn what_is_referred_to_is_there_and_nothing_else() {
        let document = document(true);
        let mut referred = BTreeSet::new();
        references(&document, &mut referred);
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let there: BTreeSet<String> = schemas.keys().cloned().collect();
        assert_eq!(referred, there);
    }

    #[test]
    fn rooms_are_readable_without_a_token_where_there_are_guests() {
        for (has_guests, ways) in [
            (true, json!([{"token": []}, {}])),
            (false, json!([{"token": []}])),
        ] {
            let document = document(has_guests);
            assert_eq!(document["paths"]["/api/rooms"]["get"]["security"], ways);
            assert_eq!(
                document["paths"]["/api/rooms"]["post"]["security"],
                json!([{"token": []}])
            );
        }
    }
}
