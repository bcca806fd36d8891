//! The fields of a request, read one by one, so that everything that is wrong with them is said in one answer.

use std::str::FromStr;

use confab_shared::model::error::Rejection;
use serde_json::{Map, Value};

use super::error::{ApiError, FieldError};

/// What was given, and what has been found wrong with it so far. Fields that nobody asks for are ignored.
#[derive(Debug)]
pub(super) struct Fields {
    given: Map<String, Value>,
    wrong: Vec<FieldError>,
}

/// A field that was read. It has no value if it was wrong; [`Fields::finish`] tells.
#[derive(Debug)]
pub(super) struct Field<T>(Option<T>);

impl Fields {
    /// The fields of a JSON object, or of a query as texts.
    pub(super) fn new(given: Map<String, Value>) -> Self {
        Self {
            given,
            wrong: Vec::new(),
        }
    }

    /// A text that has to be there.
    pub(super) fn text<T>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Rejection>,
    ) -> Field<T> {
        match self.given.get(field) {
            None | Some(Value::Null) => self.fail(field, format!("{field} is required")),
            Some(value) => {
                let read = read_text(field, value).and_then(parse);
                self.keep(field, read)
            }
        }
    }

    /// A text that may be missing or null.
    pub(super) fn optional_text<T>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Rejection>,
    ) -> Field<Option<T>> {
        match self.given.get(field) {
            None | Some(Value::Null) => Field(Some(None)),
            Some(value) => {
                let read = read_text(field, value).and_then(parse).map(Some);
                self.keep(field, read)
            }
        }
    }

    /// A list of texts that has to be there.
    pub(super) fn texts<T>(
        &mut self,
        field: &'static str,
        parse: impl Fn(&str) -> Result<T, Rejection>,
    ) -> Field<Vec<T>> {
        match self.given.get(field) {
            None | Some(Value::Null) => self.fail(field, format!("{field} is required")),
            Some(value) => {
                let read = read_texts(field, value, parse);
                self.keep(field, read)
            }
        }
    }

    /// A list of texts that may be missing or null.
    pub(super) fn optional_texts<T>(
        &mut self,
        field: &'static str,
        parse: impl Fn(&str) -> Result<T, Rejection>,
    ) -> Field<Option<Vec<T>>> {
        match self.given.get(field) {
            None | Some(Value::Null) => Field(Some(None)),
            Some(value) => {
                let read = read_texts(field, value, parse).map(Some);
                self.keep(field, read)
            }
        }
    }

    /// The values of these fields, if nothing was wrong.
    pub(super) fn finish<F: Values>(self, fields: F) -> Result<F::Plain, ApiError> {
        match fields.plain() {
            Some(values) if self.wrong.is_empty() => Ok(values),
            _ => Err(ApiError::fields(self.wrong)),
        }
    }

    fn keep<T>(&mut self, field: &'static str, read: Result<T, Rejection>) -> Field<T> {
        match read {
            Ok(value) => Field(Some(value)),
            Err(rejection) => self.fail(field, rejection.message),
        }
    }

    fn fail<T>(&mut self, field: &'static str, message: String) -> Field<T> {
        self.wrong.push(FieldError { field, message });
        Field(None)
    }
}

fn read_text<'a>(field: &str, value: &'a Value) -> Result<&'a str, Rejection> {
    value
        .as_str()
        .ok_or_else(|| Rejection::invalid(format!("{field} must be a string")))
}

fn read_texts<T>(
    field: &str,
    value: &Value,
    parse: impl Fn(&str) -> Result<T, Rejection>,
) -> Result<Vec<T>, Rejection> {
    let wrong = || Rejection::invalid(format!("{field} must be an array of strings"));
    let texts = value.as_array().ok_or_else(wrong)?;
    texts
        .iter()
        .map(|text| parse(text.as_str().ok_or_else(wrong)?))
        .collect()
}

/// Reads an id in a field.
pub(super) fn id<T: FromStr>(field: &'static str) -> impl Fn(&str) -> Result<T, Rejection> {
    move |text| {
        text.parse()
            .map_err(|_| Rejection::invalid(format!("{field} must be an id")))
    }
}

/// Fields that are read together.
pub(super) trait Values {
    /// Their values.
    type Plain;

    /// Their values, if all have one.
    fn plain(self) -> Option<Self::Plain>;
}

macro_rules! values {
    ($($name:ident)+) => {
        impl<$($name),+> Values for ($(Field<$name>,)+) {
            type Plain = ($($name,)+);

            #[allow(non_snake_case, reason = "one letter names the type and the value")]
            fn plain(self) -> Option<Self::Plain> {
                let ($($name,)+) = self;
                Some(($($name.0?,)+))
            }
        }
    };
}

values!(A);
values!(A B);
values!(A B C);
values!(A B C D);
values!(A B C D E);

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use confab_shared::id::UserId;
    use confab_shared::model::content::{parse_email, parse_name, parse_username};
    use serde_json::json;

    use super::*;

    fn fields(value: &Value) -> Fields {
        Fields::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let mut given = fields(&json!({"email": 7, "name": "", "ids": ["x"], "other": {}}));
        let email = given.text("email", parse_email);
        let username = given.text("username", parse_username);
        let name = given.optional_text("name", |text| parse_name("name", text));
        let ids = given.texts("ids", id::<UserId>("ids"));
        let refused = given.finish((email, username, name, ids)).unwrap_err();
        let body: Value = serde_json::from_slice(&refused.body("r")).unwrap();
        let named: Vec<_> = body["details"]
            .as_array()
            .unwrap()
            .iter()
            .map(|detail| &detail["field"])
            .collect();
        assert_eq!(named, ["email", "username", "name", "ids"]);
        assert_eq!(refused.into_response().status(), 400);
    }

    #[test]
    fn what_is_right_is_handed_out() {
        let user = UserId::generate();
        let mut given =
            fields(&json!({"email": "A@b.cd", "name": null, "ids": [user.to_string()]}));
        let email = given.text("email", parse_email);
        let name = given.optional_text("name", |text| parse_name("name", text));
        let ids = given.texts("ids", id::<UserId>("ids"));
        let more = given.optional_texts("more", id::<UserId>("more"));
        let read = given.finish((email, name, ids, more)).unwrap();
        assert_eq!(read, ("a@b.cd".to_owned(), None, vec![user], None));
    }
}
