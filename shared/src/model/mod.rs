//! The domain, in the terms every part of Confab uses.
//!
//! A [`Command`](command::Command) asks for a change; an [`Event`](event::Event) is a committed fact. Both travel through
//! Redis as JSON. Nothing here knows how a client spells any of it.

pub mod account;
pub mod command;
pub mod content;
pub mod conversation;
pub mod error;
pub mod event;
pub mod message;
pub mod position;
pub mod timestamp;
pub mod trace;
