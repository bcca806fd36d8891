//! A session whose client has connected: what each of its frames asks for.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use confab_gateway_protocol::stomp::{Command, Frame, Version};
use confab_shared::model::error::{ErrorCode, Rejection};

use super::transactions::{Committed, Kept, TransactionLimits, Transactions};
use super::{Destinations, Framing, Source, Subscription, Topic, Violation};

/// The longest id of a subscription: it is kept for as long as that lives, and goes out with everything that is shown to it. Clients' have some
/// ten characters.
const MAX_ID: usize = 256;
/// How often a session may be shown the same. Each subscription is addressed by itself, so it costs everybody who is to be shown it, too.
const MOST_ALIKE: usize = 4;

/// What a session may have at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Subscriptions.
    pub subscriptions: usize,
    /// What waits for a transaction's end.
    pub transactions: TransactionLimits,
}

/// What a frame asks for. Its receipt comes when that is done.
#[derive(Debug)]
pub enum Action<'f> {
    /// To be shown what happens somewhere.
    Subscribe {
        /// Where.
        topic: Topic<'f>,
        /// How it is shown.
        subscription: Arc<Subscription>,
    },
    /// To be shown there what is refused.
    SubscribeErrors(Arc<Subscription>),
    /// Not to be shown it any more.
    Unsubscribe(Box<str>),
    /// Not to be shown any more what is refused.
    UnsubscribeErrors,
    /// That a message be taken, which has this name behind the application's prefix.
    Send(&'f str),
    /// That it be kept, if it could be taken. [`Connected::keep`] or [`Connected::spoil`] is next.
    Keep(&'f str),
    /// That these be taken now, in this order.
    Commit(Vec<Kept>),
    /// Nothing more than what is done already.
    Nothing,
    /// That the session end.
    Disconnect,
    /// Something that cannot be, for this reason.
    Refuse(Rejection),
}

/// The second phase of a session.
#[derive(Debug)]
pub struct Connected {
    version: Version,
    framing: Framing,
    limits: Limits,
    /// By their ids. A subscription is there for as long as something is shown to it: of those that are refused, or end by themselves,
    /// the ids are free again.
    subscriptions: HashMap<Box<str>, Entry>,
    transactions: Transactions,
}

#[derive(Debug)]
struct Entry {
    subscription: Weak<Subscription>,
    shows: Shows,
}

/// What a subscription shows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shows {
    /// What happens in the room of this name.
    Room(Box<str>),
    DirectMessages,
    Notifications,
    Errors,
}

impl From<Source<'_>> for Shows {
    fn from(source: Source<'_>) -> Self {
        match source {
            Source::Topic(Topic::Room(name)) => Self::Room(name.into()),
            Source::Topic(Topic::DirectMessages) => Self::DirectMessages,
            Source::Topic(Topic::Notifications) => Self::Notifications,
            Source::Errors => Self::Errors,
        }
    }
}

impl Connected {
    /// A session that speaks this version.
    pub fn new(version: Version, framing: Framing, limits: Limits) -> Self {
        Self {
            version,
            framing,
            limits,
            subscriptions: HashMap::new(),
            transactions: Transactions::default(),
        }
    }

    /// How many subscriptions there are.
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// Takes a frame. An error is the end: nothing may follow it.
    pub fn take<'f>(
        &mut self,
        frame: &'f Frame,
        destinations: &Destinations,
    ) -> Result<Action<'f>, Violation> {
        match frame.command {
            Command::Connect | Command::Stomp => Err(Violation::ConnectedTwice),
            Command::Send => self.send(frame, destinations),
            Command::Subscribe => self.subscribe(frame, destinations),
            Command::Unsubscribe => self.unsubscribe(frame),
            Command::Ack | Command::Nack => self.acknowledge(frame),
            Command::Begin => {
                let name = required(frame, "transaction")?;
                self.transactions.begin(name, self.limits.transactions)?;
                Ok(Action::Nothing)
            }
            Command::Commit => {
                let name = required(frame, "transaction")?;
                Ok(match self.transactions.commit(name)? {
                    Committed::All(messages) => Action::Commit(messages),
                    Committed::Nothing => Action::Refuse(Rejection::new(
                        ErrorCode::Conflict,
                        "a message of this transaction was refused, so none is sent",
                    )),
                })
            }
            Command::Abort => {
                self.transactions.abort(required(frame, "transaction")?)?;
                Ok(Action::Nothing)
            }
            Command::Disconnect => Ok(Action::Disconnect),
        }
    }

    /// Keeps a SEND for its transaction's end.
    pub fn keep(&mut self, frame: &Frame) -> Result<(), Violation> {
        let kept = Kept {
            destination: required(frame, "destination")?.into(),
            receipt: frame.header("receipt").map(Into::into),
            body: frame.body.as_ref().into(),
        };
        let name = required(frame, "transaction")?;
        self.transactions.keep(name, kept, self.limits.transactions)
    }

    /// A SEND was refused: its transaction comes to nothing.
    pub fn spoil(&mut self, frame: &Frame) {
        if let Some(name) = frame.header("transaction") {
            self.transactions.spoil(name);
        }
    }

    fn send<'f>(
        &mut self,
        frame: &'f Frame,
        destinations: &Destinations,
    ) -> Result<Action<'f>, Violation> {
        let destination = required(frame, "destination")?;
        let transaction = frame.header("transaction");
        if let Some(name) = transaction {
            self.transactions.check(name)?;
        }
        Ok(match (destinations.message(destination), transaction) {
            (Some(name), None) => Action::Send(name),
            (Some(name), Some(_)) => Action::Keep(name),
            (None, _) => {
                self.spoil(frame);
                Action::Refuse(Rejection::invalid(
                    "messages cannot be sent to this destination",
                ))
            }
        })
    }

    fn subscribe<'f>(
        &mut self,
        frame: &'f Frame,
        destinations: &Destinations,
    ) -> Result<Action<'f>, Violation> {
        let destination = required(frame, "destination")?;
        let id = match (frame.header("id"), self.version) {
            (Some(id), _) => id,
            (None, Version::V1_0) => destination,
            (None, Version::V1_1 | Version::V1_2) => return Err(missing(frame, "id")),
        };
        if id.len() > MAX_ID {
            return Err(Violation::IdTooLong);
        }
        let acknowledges = match frame.header("ack") {
            None | Some("auto") => false,
            Some("client" | "client-individual") => true,
            Some(_) => return Err(Violation::AckMode),
        };
        if self.subscription(id).is_some() {
            return Err(Violation::SubscriptionTaken);
        }
        let Some(source) = destinations.source(destination) else {
            let rejection = Rejection::new(ErrorCode::NotFound, "there is no such destination");
            return Ok(Action::Refuse(rejection));
        };
        let shows = Shows::from(source);
        if !self.has_room_for(&shows) {
            let rejection = Rejection::new(ErrorCode::Conflict, "too many subscriptions");
            return Ok(Action::Refuse(rejection));
        }
        let subscription = if acknowledges {
            Subscription::acknowledged(id, destination, self.version, self.framing)
        } else {
            Subscription::new(id, destination, self.version, self.framing)
        };
        let entry = Entry {
            subscription: Arc::downgrade(&subscription),
            shows,
        };
        self.subscriptions.insert(id.into(), entry);
        Ok(match source {
            Source::Topic(topic) => Action::Subscribe {
                topic,
                subscription,
            },
            Source::Errors => Action::SubscribeErrors(subscription),
        })
    }

    fn unsubscribe<'f>(&mut self, frame: &'f Frame) -> Result<Action<'f>, Violation> {
        let named = match (frame.header("id"), self.version) {
            (Some(id), _) => Some(id.into()),
            (None, Version::V1_0) => self.subscribed_to(
                frame
                    .header("destination")
                    .ok_or_else(|| missing(frame, "id or destination"))?,
            ),
            (None, Version::V1_1 | Version::V1_2) => return Err(missing(frame, "id")),
        };
        let entry = named.and_then(|id: Box<str>| self.subscriptions.remove_entry(&id));
        Ok(match entry {
            // Whoever has been refused does not have to know.
            None => Action::Nothing,
            Some((_, entry)) if entry.shows == Shows::Errors => {
                match entry.subscription.upgrade() {
                    Some(_) => Action::UnsubscribeErrors,
                    // Another one has taken its place.
                    None => Action::Nothing,
                }
            }
            Some((id, _)) => Action::Unsubscribe(id),
        })
    }

    /// Messages are not sent again, so an acknowledgement changes nothing. It must be well-formed all the same.
    fn acknowledge<'f>(&self, frame: &'f Frame) -> Result<Action<'f>, Violation> {
        if self.version == Version::V1_0 && frame.command == Command::Nack {
            return Err(Violation::NoNack);
        }
        let needed: &[&'static str] = match self.version {
            Version::V1_0 => &["message-id"],
            Version::V1_1 => &["message-id", "subscription"],
            Version::V1_2 => &["id"],
        };
        for header in needed {
            required(frame, header)?;
        }
        if let Some(name) = frame.header("transaction") {
            self.transactions.check(name)?;
        }
        Ok(Action::Nothing)
    }

    /// A subscription by its id, if something is shown to it.
    fn subscription(&self, id: &str) -> Option<Arc<Subscription>> {
        self.subscriptions.get(id)?.subscription.upgrade()
    }

    /// The id of a subscription to this destination.
    fn subscribed_to(&self, destination: &str) -> Option<Box<str>> {
        if self.subscription(destination).is_some() {
            return Some(destination.into());
        }
        self.subscriptions.iter().find_map(|(id, entry)| {
            let subscription = entry.subscription.upgrade()?;
            (subscription.destination() == destination).then(|| id.clone())
        })
    }

    /// Whether there may be one more subscription to this. Those that have ended are forgotten only when room is needed.
    fn has_room_for(&mut self, shows: &Shows) -> bool {
        if self.subscriptions.len() >= self.limits.subscriptions {
            self.subscriptions
                .retain(|_, entry| entry.subscription.strong_count() > 0);
        }
        let alike = self
            .subscriptions
            .values()
            .filter(|entry| entry.shows == *shows && entry.subscription.strong_count() > 0);
        self.subscriptions.len() < self.limits.subscriptions && alike.count() < MOST_ALIKE
    }
}

fn required<'f>(frame: &'f Frame, header: &'static str) -> Result<&'f str, Violation> {
    frame.header(header).ok_or_else(|| missing(frame, header))
}

fn missing(frame: &Frame, header: &'static str) -> Violation {
    Violation::Missing {
        command: frame.command.as_str(),
        header,
    }
}
