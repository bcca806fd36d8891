//! A batch of commands: what it needs to know, and the one statement that makes it a fact.
//!
//! Reading happens outside of any transaction. That is sound because a partition has one writer: whoever holds its epoch. The
//! statement that writes checks the epochs and the conversations' `last_seq` first, and does nothing when either has moved.

mod load;
mod prune;
mod rows;
mod store;

pub use load::{
    Details, Found, FoundDetails, MemberRow, MessageRow, OutcomeRow, PairRow, RoomRow, SendRow,
    Wanted, load, load_details,
};
pub use prune::prune_applied;
pub use rows::{
    AppliedCommand, ChangedConversation, ChangedInfo, ChangedMember, ChangedMessage, Changes,
    NewConversation, NewMessage,
};
pub use store::{MAX_RELISTED, Stored, store};
