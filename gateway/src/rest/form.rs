//! Forms: the fields of a body or of a query, each with its rule, in one table that is both read and described.
//!
//! Everything that is wrong with a request is said in one answer. Fields that nobody asks for are ignored.

use std::ops::RangeInclusive;

use confab_shared::model::error::Rejection;
use serde_json::{Map, Value};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};

use super::error::{ApiError, FieldError};
use super::rule::Rule;

/// What was given, and what has been found wrong with it so far.
#[derive(Debug)]
pub(super) struct Given {
    fields: Map<String, Value>,
    wrong: Vec<FieldError>,
}

impl Given {
    /// The fields of a JSON object, or of a query as texts.
    pub(super) fn new(fields: Map<String, Value>) -> Self {
        Self {
            fields,
            wrong: Vec::new(),
        }
    }

    /// Reads one field. It has no value if it is wrong; [`refusal`](Self::refusal) tells.
    pub(super) fn take<S: Slot>(&mut self, field: &'static str, slot: &S) -> Option<S::Value> {
        match slot.read(field, self.fields.get(field)) {
            Ok(value) => Some(value),
            Err(rejection) => {
                let message = rejection.message;
                self.wrong.push(FieldError { field, message });
                None
            }
        }
    }

    /// What is wrong with the fields that were read.
    pub(super) fn refusal(self) -> ApiError {
        ApiError::fields(self.wrong)
    }
}

/// The fields that a request has to have, or may.
pub(super) trait Form: Sized {
    /// Its name in the document.
    const NAME: &'static str;

    /// Reads the fields.
    fn read(given: Given) -> Result<Self, ApiError>;

    /// Describes the fields.
    fn describe() -> Vec<Property>;

    /// The form as a whole, where more can be said of it than of its fields.
    fn schema() -> Schema {
        object(&Self::describe()).into()
    }
}

/// A field, described.
pub(super) struct Property {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) is_required: bool,
    pub(super) takes_null: bool,
    pub(super) schema: Schema,
}

impl Property {
    /// A value that it may have.
    pub(super) fn example(&self) -> Option<Value> {
        match &self.schema {
            Schema::Object(object) => object.examples.first().cloned(),
            Schema::Array(array) => array.examples.first().cloned(),
            _ => None,
        }
    }
}

/// How a field is filled in.
pub(super) trait Slot {
    /// What comes of it.
    type Value;
    /// Whether it has to be.
    const IS_REQUIRED: bool;
    /// Whether it may be null.
    const TAKES_NULL: bool = !Self::IS_REQUIRED;

    /// Reads what is there.
    fn read(&self, field: &'static str, given: Option<&Value>) -> Result<Self::Value, Rejection>;

    /// What a value that is there looks like.
    fn describe(&self) -> Schema;
}

/// It has to be there.
pub(super) struct Required<T>(pub(super) Rule<T>);

/// It may be missing or null.
pub(super) struct Optional<T>(pub(super) Rule<T>);

/// It may be missing; null takes away what was there.
pub(super) struct Change<T>(pub(super) Rule<T>);

/// A list that has to be there, with so many entries.
pub(super) struct Several<T>(pub(super) Rule<T>, pub(super) RangeInclusive<usize>);

/// A list that may be missing or null.
pub(super) struct OptionalSeveral<T>(pub(super) Rule<T>, pub(super) RangeInclusive<usize>);

impl<T> Slot for Required<T> {
    type Value = T;
    const IS_REQUIRED: bool = true;

    fn read(&self, field: &'static str, given: Option<&Value>) -> Result<T, Rejection> {
        self.0.read(field, required(field, given)?)
    }

    fn describe(&self) -> Schema {
        self.0.describe().into()
    }
}

impl<T> Slot for Optional<T> {
    type Value = Option<T>;
    const IS_REQUIRED: bool = false;

    fn read(&self, field: &'static str, given: Option<&Value>) -> Result<Option<T>, Rejection> {
        optional(given)
            .map(|value| self.0.read(field, value))
            .transpose()
    }

    fn describe(&self) -> Schema {
        self.0.describe().into()
    }
}

impl<T> Slot for Change<T> {
    type Value = Option<Option<T>>;
    const IS_REQUIRED: bool = false;

    fn read(&self, field: &'static str, given: Option<&Value>) -> Result<Self::Value, Rejection> {
        match given {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => self.0.read(field, value).map(|value| Some(Some(value))),
        }
    }

    fn describe(&self) -> Schema {
        self.0.describe().into()
    }
}

impl<T> Slot for Several<T> {
    type Value = Vec<T>;
    const IS_REQUIRED: bool = true;

    fn read(&self, field: &'static str, given: Option<&Value>) -> Result<Vec<T>, Rejection> {
        entries(&self.0, &self.1, field, required(field, given)?)
    }

    fn describe(&self) -> Schema {
        array(&self.0, &self.1)
    }
}

impl<T> Slot for OptionalSeveral<T> {
    type Value = Option<Vec<T>>;
    const IS_REQUIRED: bool = false;

    fn read(&self, field: &'static str, given: Option<&Value>) -> Result<Self::Value, Rejection> {
        optional(given)
            .map(|value| entries(&self.0, &self.1, field, value))
            .transpose()
    }

    fn describe(&self) -> Schema {
        array(&self.0, &self.1)
    }
}

fn optional(given: Option<&Value>) -> Option<&Value> {
    given.filter(|value| !value.is_null())
}

fn required<'a>(field: &str, given: Option<&'a Value>) -> Result<&'a Value, Rejection> {
    optional(given).ok_or_else(|| Rejection::invalid(format!("{field} is required")))
}

fn entries<T>(
    rule: &Rule<T>,
    count: &RangeInclusive<usize>,
    field: &'static str,
    value: &Value,
) -> Result<Vec<T>, Rejection> {
    let listed = value
        .as_array()
        .ok_or_else(|| Rejection::invalid(format!("{field} must be an array")))?;
    if !count.contains(&listed.len()) {
        let (least, most) = (count.start(), count.end());
        return Err(Rejection::invalid(format!(
            "{field} must have {least} to {most} entries"
        )));
    }
    listed.iter().map(|entry| rule.read(field, entry)).collect()
}

fn array<T>(rule: &Rule<T>, count: &RangeInclusive<usize>) -> Schema {
    let entry = rule.describe().build();
    let example = Value::Array(entry.examples.iter().take(1).cloned().collect());
    ArrayBuilder::new()
        .items(entry)
        .min_items(Some(*count.start()).filter(|least| *least > 0))
        .max_items(Some(*count.end()))
        .examples([example])
        .into()
}

/// An object with these properties.
pub(super) fn object(properties: &[Property]) -> ObjectBuilder {
    properties.iter().fold(
        ObjectBuilder::new().schema_type(Type::Object),
        |object, property| {
            let mut schema = property.schema.clone();
            say(&mut schema, property.about);
            if property.takes_null {
                allow_null(&mut schema);
            }
            let object = object.property(property.name, schema);
            if property.is_required {
                object.required(property.name)
            } else {
                object
            }
        },
    )
}

fn say(schema: &mut Schema, about: &str) {
    let about = Some(about.to_owned());
    match schema {
        Schema::Object(object) => object.description = about,
        Schema::Array(array) => array.description = about,
        _ => {}
    }
}

fn allow_null(schema: &mut Schema) {
    let schema_type = match schema {
        Schema::Object(object) => {
            if let Some(values) = &mut object.enum_values {
                values.push(Value::Null);
            }
            &mut object.schema_type
        }
        Schema::Array(array) => &mut array.schema_type,
        _ => return,
    };
    if let SchemaType::Type(plain) = schema_type {
        *schema_type = SchemaType::Array(vec![plain.clone(), Type::Null]);
    }
}

/// Declares a form: a struct, what is read into it and how that is described.
///
/// Each line has the name that clients use, the field, and the slot that fills it. A last line `schema = function` replaces the
/// description of the whole.
macro_rules! form {
    (
        $(#[doc = $doc:literal])+
        $form:ident {
            $($(#[doc = $about:literal])+ $name:literal $field:ident: $type:ty = $slot:expr,)+
        }
        $(schema = $schema:expr)?
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub(super) struct $form {
            $($(#[doc = $about])+ pub(super) $field: $type,)+
        }

        impl $crate::rest::form::Form for $form {
            const NAME: &'static str = stringify!($form);

            fn read(
                mut given: $crate::rest::form::Given,
            ) -> Result<Self, $crate::rest::error::ApiError> {
                // All are read before any is missed.
                $(let $field = given.take($name, &$slot);)+
                match ($($field,)+) {
                    ($(Some($field),)+) => Ok(Self { $($field,)+ }),
                    _ => Err(given.refusal()),
                }
            }

            fn describe() -> Vec<$crate::rest::form::Property> {
                vec![$($crate::rest::form::property(
                    $name,
                    concat!($($about),+).trim_ascii_start(),
                    &$slot,
                ),)+]
            }

            $(fn schema() -> utoipa::openapi::schema::Schema {
                $schema(&Self::describe())
            })?
        }
    };
}
pub(super) use form;

/// A field as its slot describes it.
pub(super) fn property<S: Slot>(name: &'static str, about: &'static str, slot: &S) -> Property {
    Property {
        name,
        about,
        is_required: S::IS_REQUIRED,
        takes_null: S::TAKES_NULL,
        schema: slot.describe(),
    }
}

#[cfg(test)]
mod tests;
