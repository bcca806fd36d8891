//! Operations describe themselves: what a handler takes and what it answers is read off its signature.
//!
//! A route's description cannot differ from what the route does, because there is no second place where it is said: parameters and
//! bodies come from the [`Part`]s that the handler extracts, successes from the [`Answer`] that it returns, refusals from both.
//! Only what a handler decides inside (who may, what is taken) is said where the route is [made](super::api).

use std::future::Future;

use confab_shared::model::error::ErrorCode;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{
    Operation as Described, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Ref, Schema, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{RefOr, Required};

use super::error::{ErrorJson, status};
use super::form::{Form, Property};

/// The name of the one way to say who asks.
pub(super) const TOKEN: &str = "token";

/// What is known of an operation so far.
pub(super) struct Draft {
    operation: Described,
    /// The path's variable parts that nothing has been said of yet.
    segments: Vec<String>,
    schemas: Vec<(String, RefOr<Schema>)>,
    /// Whether whoever asks too often is refused.
    is_limited: bool,
}

/// Something that a handler takes from a request.
pub(super) trait Part {
    /// Adds what it takes, and what is refused if that is wrong.
    fn describe(draft: &mut Draft);
}

/// Something that a handler answers.
pub(super) trait Answer {
    /// Adds what it looks like.
    fn describe(draft: &mut Draft);
}

/// A handler whose parts and answer can be described.
pub(super) trait Operation<Parts> {
    /// Adds all of them.
    fn describe(draft: &mut Draft);
}

macro_rules! operation {
    ($($part:ident)*) => {
        impl<F, Fut, A, $($part),*> Operation<($($part,)*)> for F
        where
            F: Fn($($part),*) -> Fut,
            Fut: Future<Output = A>,
            A: Answer,
            $($part: Part,)*
        {
            fn describe(draft: &mut Draft) {
                $($part::describe(draft);)*
                A::describe(draft);
            }
        }
    };
}

operation!();
operation!(P1);
operation!(P1 P2);
operation!(P1 P2 P3);
operation!(P1 P2 P3 P4);
operation!(P1 P2 P3 P4 P5);

impl Draft {
    /// Nothing yet, of an operation at this path.
    pub(super) fn new(path: &str) -> Self {
        let segments = path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        Self {
            operation: OperationBuilder::new().build(),
            segments: segments.map(str::to_owned).collect(),
            schemas: Vec::new(),
            is_limited: false,
        }
    }

    /// What has become of it, and the schemas that it refers to.
    pub(super) fn finish(mut self) -> (Described, Vec<(String, RefOr<Schema>)>) {
        if self.is_limited {
            self.say_limits();
        }
        debug_assert!(
            self.segments.is_empty(),
            "a path has parts that no handler reads: {:?}",
            self.segments
        );
        (self.operation, self.schemas)
    }

    /// It asks for a token, or it answers without one, too.
    pub(super) fn token(&mut self, is_required: bool) {
        let mut ways = vec![SecurityRequirement::new(TOKEN, Vec::<String>::new())];
        if !is_required {
            ways.push(SecurityRequirement::default());
        }
        self.operation.security = Some(ways);
        self.refuses(
            ErrorCode::Unauthorized,
            "No token, or one that is not valid (any more).",
        );
    }

    /// Whoever asks too often is refused.
    pub(super) fn limited(&mut self) {
        self.is_limited = true;
        self.refuses(
            ErrorCode::RateLimited,
            "Too many requests; `details` says when to try again.",
        );
        self.with_header("429", "Retry-After", "In how many seconds to try again.");
    }

    /// Answers to those who are let through say how they stand, and so does the refusal.
    fn say_limits(&mut self) {
        let statuses = self.operation.responses.responses.keys();
        let statuses: Vec<String> = statuses
            .filter(|status| status.starts_with('2') || *status == "429")
            .cloned()
            .collect();
        for status in statuses {
            for (name, about) in [
                (
                    "RateLimit-Limit",
                    "How many requests may come at once, by the limit that is nearest.",
                ),
                ("RateLimit-Remaining", "How many of them are left."),
                (
                    "RateLimit-Reset",
                    "In how many seconds all of them are free again.",
                ),
            ] {
                self.with_header(&status, name, about);
            }
        }
    }

    /// It reads a variable part of its path.
    pub(super) fn segment(&mut self, about: &str, schema: impl Into<Schema>) {
        if self.segments.is_empty() {
            return;
        }
        let name = self.segments.remove(0);
        self.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Path)
                .required(Required::True)
                .description(Some(about))
                .schema(Some(schema.into()))
                .build(),
        );
    }

    /// It reads these from its query.
    pub(super) fn query(&mut self, properties: Vec<Property>) {
        for property in properties {
            let parameter = parameter(&property, ParameterIn::Query);
            self.parameter(parameter);
        }
    }

    /// It reads this header.
    pub(super) fn header(&mut self, property: &Property) {
        self.parameter(parameter(property, ParameterIn::Header));
    }

    fn parameter(&mut self, parameter: Parameter) {
        self.operation
            .parameters
            .get_or_insert_default()
            .push(parameter.into());
    }

    /// It reads this form from a JSON body.
    pub(super) fn body<F: Form>(&mut self) {
        self.schemas.push((F::NAME.to_owned(), F::schema().into()));
        let example: Map<String, Value> = F::describe()
            .iter()
            .filter(|property| property.is_required)
            .filter_map(|property| Some((property.name.to_owned(), property.example()?)))
            .collect();
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(F::NAME)))
            .example(Some(Value::Object(example)).filter(|_| has_required::<F>()));
        let body = RequestBodyBuilder::new()
            .required(Some(Required::True))
            .content("application/json", content.build());
        self.operation.request_body = Some(body.build().into());
        self.refuses(
            ErrorCode::ValidationFailed,
            "What is wrong stands in `details`, field by field.",
        );
        self.refuses(ErrorCode::PayloadTooLarge, "The body is too large.");
        self.refuses_status("415", "The body is not JSON by its own account.");
    }

    /// It answers with such an object.
    pub(super) fn answers<T: ToSchema>(&mut self, status: &str, about: &str) {
        let schema = self.reference::<T>();
        self.json(status, about, schema);
    }

    /// It answers with such an object, which has no name of its own.
    pub(super) fn answers_inline<T: ToSchema>(&mut self, status: &str, about: &str) {
        T::schemas(&mut self.schemas);
        self.json(status, about, T::schema());
    }

    /// It answers with an array of such objects.
    pub(super) fn answers_list<T: ToSchema>(&mut self, status: &str, about: &str) {
        let list = ArrayBuilder::new().items(self.reference::<T>()).build();
        self.json(status, about, Schema::from(list).into());
    }

    fn json(&mut self, status: &str, about: &str, schema: RefOr<Schema>) {
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new().description(about);
        self.response(
            status,
            response.content("application/json", content).build(),
        );
    }

    /// It answers with nothing but its status.
    pub(super) fn answers_nothing(&mut self, status: &str, about: &str) {
        self.response(status, Response::new(about));
    }

    /// It answers with something that is no JSON object of ours.
    pub(super) fn answers_content(&mut self, status: &str, about: &str, media_type: &str) {
        let content = ContentBuilder::new()
            .schema(Some(Schema::from(ObjectBuilder::new())))
            .build();
        let response = ResponseBuilder::new().description(about);
        self.response(status, response.content(media_type, content).build());
    }

    /// An answer of this status has this header, maybe.
    pub(super) fn with_header(&mut self, status: &str, name: &str, about: &str) {
        let headers = match self.operation.responses.responses.get_mut(status) {
            Some(RefOr::T(response)) => &mut response.headers,
            _ => return,
        };
        headers.insert(name.to_owned(), text_header(about).into());
    }

    /// It refuses with this code, in this case; several may share a status.
    pub(super) fn refuses(&mut self, code: ErrorCode, about: &str) {
        self.refuses_status(
            status(code).as_str(),
            &format!("`{}`: {about}", code.as_str()),
        );
        match code {
            ErrorCode::Unauthorized => {
                self.with_header(
                    "401",
                    "WWW-Authenticate",
                    "Says that a bearer token is wanted.",
                );
            }
            ErrorCode::Overloaded | ErrorCode::Timeout => {
                self.with_header("503", "Retry-After", "In how many seconds to try again.");
            }
            _ => {}
        }
    }

    fn refuses_status(&mut self, status: &str, about: &str) {
        if let Some(RefOr::T(known)) = self.operation.responses.responses.get_mut(status) {
            if !known.description.contains(about) {
                known.description = format!("{} {about}", known.description);
            }
            return;
        }
        self.answers::<ErrorJson<'static>>(status, about);
    }

    fn response(&mut self, status: &str, mut response: Response) {
        response.headers.insert(
            "X-Request-Id".to_owned(),
            text_header("The request's id: the one it came with, or a new one.").into(),
        );
        let responses = &mut self.operation.responses.responses;
        responses.insert(status.to_owned(), response.into());
    }

    /// A schema by its name.
    fn reference<T: ToSchema>(&mut self) -> RefOr<Schema> {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        Ref::from_schema_name(T::name()).into()
    }
}

/// Whether an example without optional fields says anything.
fn has_required<F: Form>() -> bool {
    F::describe().iter().any(|property| property.is_required)
}

fn parameter(property: &Property, place: ParameterIn) -> Parameter {
    let required = if property.is_required {
        Required::True
    } else {
        Required::False
    };
    ParameterBuilder::new()
        .name(property.name)
        .parameter_in(place)
        .required(required)
        .description(Some(property.about))
        .schema(Some(property.schema.clone()))
        .build()
}

fn text_header(about: &str) -> Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
        .description(Some(about))
        .build()
}
