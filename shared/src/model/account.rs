//! Accounts, as others see them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::UserId;

/// A user as it is shown beside what they say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Who.
    pub id: UserId,
    /// The unique handle.
    pub username: Arc<str>,
    /// The name to display.
    pub name: Arc<str>,
    /// Where the picture is, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<Arc<str>>,
    /// What the account may do.
    #[serde(default, skip_serializing_if = "AccountRole::is_user")]
    pub account: AccountRole,
}

/// What a user may do beyond their own memberships.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum AccountRole {
    /// An ordinary account.
    #[default]
    User,
    /// May clean up and moderate.
    Admin,
    /// No credentials; public rooms only.
    Guest,
}

impl AccountRole {
    /// Whether it is an ordinary account.
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference to the field"
    )]
    fn is_user(&self) -> bool {
        *self == Self::User
    }

    /// The role's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
            Self::Guest => "guest",
        }
    }
}
