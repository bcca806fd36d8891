//! Spans, and what is made below them.

use std::borrow::Cow;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use opentelemetry::trace::{Span as _, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::Span as SdkSpan;

use super::{Kind, Maker, remote};
use crate::model::trace::TraceContext;

/// A span that is being recorded, or nothing. It ends when it is dropped.
#[derive(Debug, Default)]
#[must_use = "a span ends when it is dropped"]
pub struct Span(Option<Box<Recorded>>);

#[derive(Debug)]
struct Recorded {
    span: SdkSpan,
    maker: Arc<Maker>,
}

/// A span of this process by its name: others can be made below it, wherever it is itself.
#[derive(Debug, Clone)]
pub struct Parent {
    context: TraceContext,
    maker: Arc<Maker>,
}

impl Parent {
    /// A span below it.
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: Kind) -> Span {
        self.maker.below(self.context, false, name.into(), kind)
    }

    /// What travels with whatever belongs below it.
    pub fn context(&self) -> TraceContext {
        self.context
    }
}

impl Span {
    /// Whether anything is recorded.
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// What travels with whatever belongs below it.
    pub fn context(&self) -> Option<TraceContext> {
        let context = self.0.as_ref()?.span.span_context();
        let trace = u128::from_be_bytes(context.trace_id().to_bytes());
        let span = u64::from_be_bytes(context.span_id().to_bytes());
        TraceContext::new(trace, span)
    }

    /// Its name, to make others below it where it is not at hand.
    pub fn parent(&self) -> Option<Parent> {
        let recorded = self.0.as_ref()?;
        Some(Parent {
            context: self.context()?,
            maker: recorded.maker.clone(),
        })
    }

    /// A span below it. Where this is none, that is none.
    pub fn child(&self, name: impl Into<Cow<'static, str>>, kind: Kind) -> Span {
        match (&self.0, self.context()) {
            (Some(recorded), Some(context)) => {
                recorded.maker.below(context, false, name.into(), kind)
            }
            _ => Self::default(),
        }
    }

    fn recorded(&mut self) -> Option<&mut SdkSpan> {
        self.0.as_mut().map(|recorded| &mut recorded.span)
    }

    /// Says more of it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = self.recorded() {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Says more of it, which takes something to be said.
    pub fn describe<const N: usize>(
        &mut self,
        attributes: impl FnOnce() -> [(&'static str, Value); N],
    ) {
        if let Some(span) = self.recorded() {
            for (key, value) in attributes() {
                span.set_attribute(KeyValue::new(key, value));
            }
        }
    }

    /// It is about a message in Redis: what is done with it (`send`, `process`), on its way where (`ingress`, `room`, `node`).
    pub fn messaging(&mut self, operation: &'static str, destination: &'static str) {
        self.describe(|| {
            [
                ("messaging.system", "redis".into()),
                ("messaging.operation.name", operation.into()),
                ("messaging.operation.type", operation.into()),
                ("messaging.destination.name", destination.into()),
            ]
        });
    }

    /// It has another name, now that more is known.
    pub fn rename(&mut self, name: impl Into<Cow<'static, str>>) {
        if let Some(span) = self.recorded() {
            span.update_name(name);
        }
    }

    /// Something has happened within it.
    pub fn event(&mut self, name: &'static str) {
        if let Some(span) = self.recorded() {
            span.add_event(name, Vec::new());
        }
    }

    /// Another trace's span has to do with it.
    pub fn link(&mut self, context: Option<TraceContext>) {
        if let (Some(span), Some(context)) = (self.recorded(), context) {
            span.add_link(remote(context, false), Vec::new());
        }
    }

    /// It failed.
    pub fn fail(&mut self, reason: impl Display) {
        if let Some(span) = self.recorded() {
            span.set_status(Status::error(reason.to_string()));
        }
    }

    /// Lasts as long as something that may fail.
    pub async fn around<T, E: Display>(
        mut self,
        done: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let result = done.await;
        if let Err(error) = &result {
            self.fail(error);
        }
        result
    }
}

impl Maker {
    /// Records a span.
    pub(super) fn record(self: &Arc<Self>, span: SdkSpan) -> Span {
        Span(Some(Box::new(Recorded {
            span,
            maker: self.clone(),
        })))
    }
}

tokio::task_local! {
    static CURRENT: Parent;
}

/// Does something on behalf of what is traced, so that [`current`] says so.
pub async fn scope<F: Future + Unpin>(parent: Option<Parent>, done: F) -> F::Output {
    match parent {
        Some(parent) => CURRENT.scope(parent, done).await,
        None => done.await,
    }
}

/// On whose behalf this is done, if that is traced.
pub fn current() -> Option<Parent> {
    CURRENT.try_with(Parent::clone).ok()
}
