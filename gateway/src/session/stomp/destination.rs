//! What destinations name. Pure words: whether there is such a room is not known here.

use thiserror::Error;

/// What a SUBSCRIBE asks chat for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic<'a> {
    /// What happens in a room, by the name that the destination has for it.
    Room(&'a str),
    /// The user's direct messages.
    DirectMessages,
    /// How much the user has not read.
    Notifications,
}

/// What a SUBSCRIBE asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// Something that happens in chat.
    Topic(Topic<'a>),
    /// What is refused to the client itself. That needs nobody's leave.
    Errors,
}

/// How destinations begin: `/app`, `/topic` and `/user`, say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destinations {
    /// Where messages are sent to.
    pub application: Prefixes,
    /// Where rooms are.
    pub topics: Prefixes,
    /// Where a user's own queues are.
    pub user: Prefixes,
}

/// What some destinations begin with: any of these, and a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefixes(Box<[Box<str>]>);

/// Prefixes that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadPrefix {
    /// Not of the form of a prefix.
    #[error("{0:?} is no prefix such as /app")]
    Malformed(String),
    /// There must be one.
    #[error("at least one prefix is needed")]
    None,
}

impl Prefixes {
    /// Reads a comma-separated list.
    pub fn parse(list: &str) -> Result<Self, BadPrefix> {
        let prefixes = list
            .split(',')
            .map(str::trim)
            .filter(|prefix| !prefix.is_empty())
            .map(|prefix| {
                let is_one = prefix.len() > 1 && prefix.starts_with('/') && !prefix.ends_with('/');
                is_one
                    .then(|| prefix.into())
                    .ok_or_else(|| BadPrefix::Malformed(prefix.into()))
            })
            .collect::<Result<Box<[Box<str>]>, _>>()?;
        if prefixes.is_empty() {
            return Err(BadPrefix::None);
        }
        Ok(Self(prefixes))
    }

    /// What follows one of them, and a slash, in the destination.
    fn behind<'a>(&self, destination: &'a str) -> Option<&'a str> {
        self.0
            .iter()
            .find_map(|prefix| destination.strip_prefix(&**prefix)?.strip_prefix('/'))
    }
}

impl Destinations {
    /// What a SUBSCRIBE to it asks for; none if there is nothing of that name.
    pub fn source<'a>(&self, destination: &'a str) -> Option<Source<'a>> {
        if let Some(rest) = self.topics.behind(destination) {
            let room = rest.strip_prefix("room/").unwrap_or(rest);
            let is_name = !room.is_empty() && !room.contains('/');
            return is_name.then_some(Source::Topic(Topic::Room(room)));
        }
        match self.user.behind(destination)? {
            "queue/messages" => Some(Source::Topic(Topic::DirectMessages)),
            "queue/notifications" => Some(Source::Topic(Topic::Notifications)),
            "queue/errors" => Some(Source::Errors),
            _ => None,
        }
    }

    /// What a SEND to it is called by chat: the destination behind the application's prefix. None if it is not for chat.
    pub fn message<'a>(&self, destination: &'a str) -> Option<&'a str> {
        self.application.behind(destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destinations() -> Destinations {
        let prefixes = |list| Prefixes::parse(list).unwrap();
        Destinations {
            application: prefixes("/app, /pub"),
            topics: prefixes("/topic,/sub"),
            user: prefixes("/user"),
        }
    }

    #[test]
    fn a_room_has_two_destinations_under_each_prefix() {
        let destinations = destinations();
        let room = |name| Some(Source::Topic(Topic::Room(name)));
        assert_eq!(destinations.source("/topic/public"), room("public"));
        assert_eq!(destinations.source("/topic/room/general"), room("general"));
        assert_eq!(destinations.source("/sub/room/general"), room("general"));
        assert_eq!(destinations.source("/sub/x"), room("x"));
        assert_eq!(
            destinations.source("/topic/room"),
            room("room"),
            "it is a name like any other"
        );
        for nothing in [
            "",
            "/",
            "/topic",
            "/topic/",
            "/topic/room/",
            "/topic/a/b",
            "/topic/room/a/b",
            "/topics/a",
            "topic/a",
            "/queue/a",
            "/app/chat.sendMessage",
        ] {
            assert_eq!(destinations.source(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn users_have_three_queues() {
        let destinations = destinations();
        assert_eq!(
            destinations.source("/user/queue/messages"),
            Some(Source::Topic(Topic::DirectMessages))
        );
        assert_eq!(
            destinations.source("/user/queue/notifications"),
            Some(Source::Topic(Topic::Notifications))
        );
        assert_eq!(
            destinations.source("/user/queue/errors"),
            Some(Source::Errors)
        );
        assert_eq!(destinations.source("/user/alice/queue/messages"), None);
        assert_eq!(destinations.source("/user/queue/other"), None);
    }

    #[test]
    fn messages_go_to_the_application_alone() {
        let destinations = destinations();
        assert_eq!(
            destinations.message("/app/chat.sendMessage"),
            Some("chat.sendMessage")
        );
        assert_eq!(
            destinations.message("/pub/chat/general/addUser"),
            Some("chat/general/addUser")
        );
        assert_eq!(destinations.message("/topic/public"), None);
        assert_eq!(destinations.message("/application/x"), None);
    }

    #[test]
    fn prefixes_that_could_not_be_told_apart_are_refused() {
        for bad in ["app", "/", "/app/", ""] {
            assert!(Prefixes::parse(bad).is_err(), "{bad}");
        }
        assert!(Prefixes::parse("/a/b").is_ok());
    }
}
