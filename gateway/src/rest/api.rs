//! Routes and their description, made together: a route that is not in the document cannot be made.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use confab_shared::model::error::ErrorCode;
use utoipa::openapi::info::{InfoBuilder, LicenseBuilder};
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::Tag;
use utoipa::openapi::{Components, OpenApi, OpenApiBuilder};

use super::Rest;
use super::describe::{Draft, Operation, TOKEN};

/// What holds for all routes.
const ABOUT: &str = "Confab's REST interface. Errors have one shape everywhere, that of the schema `Error`. Unknown fields are ignored; an unknown route \
is `404`, a wrong method `405` with `Allow`. Every answer has an `X-Request-Id`: the request's own if it had one of 1 to 128 visible ASCII \
characters. Who asks too often gets `429`, and the answers' `RateLimit-*` say how one stands. The socket events are described at `/api/asyncapi.json`.";

/// Routes, and the document that describes them.
pub(super) struct Api {
    router: Router<Arc<Rest>>,
    document: OpenApi,
    tag: &'static str,
    has_guests: bool,
}

/// What a handler's signature does not say of a route.
pub(super) struct About {
    summary: &'static str,
    refusals: Vec<(ErrorCode, &'static str)>,
}

/// What a route is for, in a few words.
pub(super) fn about(summary: &'static str) -> About {
    About {
        summary,
        refusals: Vec::new(),
    }
}

impl About {
    /// It refuses in this case.
    pub(super) fn refuses(mut self, code: ErrorCode, when: &'static str) -> Self {
        self.refusals.push((code, when));
        self
    }
}

impl Api {
    /// No routes yet. Where there are guests, routes that may be read without a token say so.
    pub(super) fn new(has_guests: bool) -> Self {
        let license = LicenseBuilder::new()
            .name("MIT")
            .identifier(Some("MIT"))
            .build();
        let info = InfoBuilder::new()
            .title("Confab")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(ABOUT))
            .license(Some(license))
            .build();
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "What registering and logging in hand out as `accessToken`.",
            ))
            .build();
        let mut components = Components::new();
        components.add_security_scheme(TOKEN, SecurityScheme::Http(token));
        let document = OpenApiBuilder::new()
            .info(info)
            .components(Some(components))
            .tags(Some(Vec::<Tag>::new()))
            .build();
        Self {
            router: Router::new(),
            document,
            tag: "",
            has_guests,
        }
    }

    /// The routes from here on belong together.
    pub(super) fn section(mut self, tag: &'static str, description: &'static str) -> Self {
        let mut section = Tag::new(tag);
        section.description = Some(description.to_owned());
        self.document.tags.get_or_insert_default().push(section);
        self.tag = tag;
        self
    }

    /// Adds a GET route.
    pub(super) fn get<H, T, P>(self, path: &'static str, about: About, handler: H) -> Self
    where
        H: Handler<T, Arc<Rest>> + Operation<P>,
        T: 'static,
    {
        self.route(HttpMethod::Get, MethodFilter::GET, path, about, handler)
    }

    /// Adds a POST route.
    pub(super) fn post<H, T, P>(self, path: &'static str, about: About, handler: H) -> Self
    where
        H: Handler<T, Arc<Rest>> + Operation<P>,
        T: 'static,
    {
        self.route(HttpMethod::Post, MethodFilter::POST, path, about, handler)
    }

    /// Adds a PUT route.
    pub(super) fn put<H, T, P>(self, path: &'static str, about: About, handler: H) -> Self
    where
        H: Handler<T, Arc<Rest>> + Operation<P>,
        T: 'static,
    {
        self.route(HttpMethod::Put, MethodFilter::PUT, path, about, handler)
    }

    /// Adds a DELETE route.
    pub(super) fn delete<H, T, P>(self, path: &'static str, about: About, handler: H) -> Self
    where
        H: Handler<T, Arc<Rest>> + Operation<P>,
        T: 'static,
    {
        self.route(
            HttpMethod::Delete,
            MethodFilter::DELETE,
            path,
            about,
            handler,
        )
    }

    fn route<H, T, P>(
        mut self,
        method: HttpMethod,
        filter: MethodFilter,
        path: &'static str,
        about: About,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<Rest>> + Operation<P>,
        T: 'static,
    {
        let mut draft = Draft::new(path);
        H::describe(&mut draft);
        for (code, when) in about.refusals {
            draft.refuses(code, when);
        }
        let (mut operation, schemas) = draft.finish();
        operation.summary = Some(about.summary.to_owned());
        operation.tags = Some(vec![self.tag.to_owned()]);
        operation.operation_id = Some(operation_id(std::any::type_name::<H>()));
        if let (false, Some(ways)) = (self.has_guests, &mut operation.security) {
            ways.retain(|way| *way != SecurityRequirement::default());
        }
        self.document
            .paths
            .add_path_operation(path, vec![method], operation);
        let components = self.document.components.get_or_insert_default();
        components.schemas.extend(schemas);
        self.router = self.router.route(path, on(filter, handler));
        self
    }

    /// The routes and what they are.
    pub(super) fn finish(self) -> (Router<Arc<Rest>>, OpenApi) {
        (self.router, self.document)
    }
}

/// A name for an operation: its handler's, with the module that it is in.
fn operation_id(handler: &str) -> String {
    let mut parts = handler.rsplit("::");
    let name = parts.next().unwrap_or_default();
    let module = parts.next().unwrap_or_default();
    format!("{module}_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_called_as_their_handlers() {
        assert_eq!(
            operation_id("confab_gateway::rest::auth::login"),
            "auth_login"
        );
    }
}
