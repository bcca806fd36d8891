use axum::response::IntoResponse;
use confab_shared::id::UserId;
use serde_json::json;

use super::super::rule::{AVATAR, EMAIL, KIND, NAME, USER_ID, USERNAME};
use super::*;

form! {
    /// A form of every kind of slot.
    Everything {
        /// The address.
        "email" email: String = Required(EMAIL),
        /// The handle.
        "username" username: String = Required(USERNAME),
        /// The name.
        "displayName" display_name: Option<String> = Optional(NAME),
        /// The kind.
        "kind" kind: Option<confab_shared::model::conversation::ConversationKind> = Optional(KIND),
        /// The picture.
        "avatar" avatar: Option<Option<String>> = Change(AVATAR),
        /// The people.
        "ids" ids: Vec<UserId> = Several(USER_ID, 1..=2),
    }
}

fn read(value: &Value) -> Result<Everything, ApiError> {
    Everything::read(Given::new(value.as_object().unwrap().clone()))
}

#[test]
fn everything_wrong_is_said_at_once() {
    let refused =
        read(&json!({"email": 7, "displayName": "", "ids": ["x"], "other": {}})).unwrap_err();
    let body: Value = serde_json::from_slice(&refused.body("r")).unwrap();
    let named: Vec<_> = body["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|detail| &detail["field"])
        .collect();
    assert_eq!(named, ["email", "username", "displayName", "ids"]);
    assert_eq!(refused.into_response().status(), 400);
}

#[test]
fn what_is_right_is_handed_out() {
    let user = UserId::generate();
    let given = json!({"email": "A@b.cd", "username": "ann", "displayName": null, "ids": [user]});
    let form = read(&given).unwrap();
    assert_eq!(
        (form.email.as_str(), form.username.as_str()),
        ("a@b.cd", "ann")
    );
    assert_eq!(
        (form.display_name, form.kind, form.avatar),
        (None, None, None)
    );
    assert_eq!(form.ids, [user]);
    for ids in [json!([]), json!([user, user, user]), json!("x"), json!([7])] {
        assert!(read(&json!({"email": "a@b.cd", "username": "ann", "ids": ids})).is_err());
    }
    let removal = json!({"email": "a@b.cd", "username": "ann", "avatar": null, "ids": [user]});
    assert_eq!(read(&removal).unwrap().avatar, Some(None));
}

#[test]
fn a_form_is_described_as_it_is_read() {
    let described = serde_json::to_value(Everything::schema()).unwrap();
    assert_eq!(described["required"], json!(["email", "username", "ids"]));
    assert_eq!(
        described["properties"]["displayName"]["type"],
        json!(["string", "null"])
    );
    assert_eq!(
        described["properties"]["kind"]["enum"],
        json!(["direct", "group", null])
    );
    assert_eq!(described["properties"]["ids"]["maxItems"], 2);
    assert_eq!(
        described["properties"]["email"]["description"],
        "The address."
    );
}
