//! Traces: what becomes of something that a client asked for, from its gateway through the stream and the worker to every gateway that
//! shows it.
//!
//! Whether something is traced is decided once, where it begins, and travels with it as a [`TraceContext`]; whatever is not traced has
//! none, makes no span, and costs a look at an option. Spans go to a collector over OTLP, or are dropped; nobody ever waits for that.

use std::borrow::Cow;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt,
    TraceFlags, TraceId, TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan};
use serde::Deserialize;
use uuid::Uuid;

use super::export::{self, Outlet};
use crate::config::ConfigError;
use crate::model::trace::{TraceContext, TraceParent};

/// What a span is to those around it.
pub type Kind = SpanKind;

/// Where a collector takes spans, below its address.
const PATH: &str = "/v1/traces";
/// The most links of a span: more than a batch has commands.
const MAX_LINKS: u32 = 4_096;
/// What a counter is multiplied by to step through all numbers without a pattern (2⁶⁴ divided by the golden ratio).
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether and where to spans are sent.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct TracesConfig {
    pub endpoint: String,
    pub sample_ratio: f64,
    pub service_name: String,
    pub timeout_ms: u64,
    pub interval_ms: u64,
    pub queue: usize,
    pub batch: usize,
}

impl TracesConfig {
    /// Checks what a type alone cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(ConfigError::invalid(
                "traces.sample_ratio",
                "must be 0 to 1",
            ));
        }
        for (key, value) in [
            ("traces.timeout_ms", self.timeout_ms),
            ("traces.interval_ms", self.interval_ms),
        ] {
            if !(1..=60_000).contains(&value) {
                return Err(ConfigError::invalid(key, "must be 1 to 60000"));
            }
        }
        if !(1..=1_000_000).contains(&self.queue) {
            return Err(ConfigError::invalid("traces.queue", "must be 1 to 1000000"));
        }
        if !(1..=self.queue).contains(&self.batch) {
            return Err(ConfigError::invalid(
                "traces.batch",
                "must be at least 1, and at most traces.queue",
            ));
        }
        self.url().map(|_| ())
    }

    /// Where to send spans; none: nowhere.
    fn url(&self) -> Result<Option<String>, ConfigError> {
        let endpoint = self.endpoint.trim().trim_end_matches('/');
        if endpoint.is_empty() {
            return Ok(None);
        }
        let invalid = |reason: &str| Err(ConfigError::invalid("traces.endpoint", reason));
        let Some(rest) = endpoint.strip_prefix("http://") else {
            return invalid(
                "must begin with http://: send to a collector on this machine or in this pod, and have it speak TLS to the rest",
            );
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '?' | '#');
        if rest.is_empty() || rest.starts_with('/') || rest.contains(odd) {
            return invalid("must be an address such as http://127.0.0.1:4318");
        }
        Ok(Some(if endpoint.ends_with(PATH) {
            endpoint.to_owned()
        } else {
            format!("{endpoint}{PATH}")
        }))
    }
}

/// Who makes spans.
#[derive(Debug, Clone)]
pub struct Service {
    /// The program.
    pub program: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Which of its processes: the name that its log lines and leases have.
    pub instance: String,
}

/// Spans cannot be sent as the settings have it.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The exporter cannot be made.
    #[error("traces: {0}")]
    Exporter(String),
}

/// Makes spans. Cheap to clone; the default makes none.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    tracer: SdkTracer,
    outlet: Outlet,
    sample_ratio: f64,
    dice: AtomicU64,
}

impl Traces {
    /// Starts sending spans, if there is an endpoint. To be called within a runtime.
    pub fn start(config: &TracesConfig, service: Service) -> Result<Self, TracesError> {
        let Some(url) = config.url()? else {
            return Ok(Self::default());
        };
        let name = match config.service_name.as_str() {
            "" => service.program.to_owned(),
            name => name.to_owned(),
        };
        let resource = Resource::builder()
            .with_service_name(name)
            .with_attributes([
                KeyValue::new("service.namespace", "confab"),
                KeyValue::new("service.version", service.version),
                KeyValue::new("service.instance.id", service.instance),
            ])
            .build();
        let limits = export::Limits {
            timeout: Duration::from_millis(config.timeout_ms),
            interval: Duration::from_millis(config.interval_ms),
            queue: config.queue,
            batch: config.batch,
        };
        let outlet = export::start(&url, limits, &resource).map_err(TracesError::Exporter)?;
        tracing::info!(url, ratio = config.sample_ratio, "sending traces");
        Ok(Self::sending(outlet, resource, config.sample_ratio))
    }

    fn sending(outlet: Outlet, resource: Resource, sample_ratio: f64) -> Self {
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            // What is to be recorded is decided here, before there is a span.
            .with_sampler(Sampler::AlwaysOn)
            .with_max_links_per_span(MAX_LINKS)
            .with_span_processor(outlet.clone())
            .build();
        Self(Some(Arc::new(Inner {
            tracer: provider.tracer("confab"),
            outlet,
            sample_ratio,
            // So that two processes do not choose alike.
            dice: AtomicU64::new(Uuid::new_v4().as_u64_pair().0),
        })))
    }

    /// Whether anything may be traced.
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// The first span of something that begins here; recorded in so many cases as the settings say.
    pub fn root(&self, name: impl Into<Cow<'static, str>>, kind: Kind) -> Span {
        match &self.0 {
            Some(inner) if inner.is_chosen() => inner.span(name.into(), kind, &Context::new()),
            Some(_) | None => Span::default(),
        }
    }

    /// The first span here of something that may have begun elsewhere: then it is recorded if it was there.
    pub fn continued(
        &self,
        parent: Option<TraceParent>,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
    ) -> Span {
        match parent {
            None => self.root(name, kind),
            Some(TraceParent::Recorded(context)) => self.after(Some(context), name, kind),
            Some(TraceParent::Unrecorded) => Span::default(),
        }
    }

    /// A span below one of another process. Where that is none, this is none.
    pub fn after(
        &self,
        context: Option<TraceContext>,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
    ) -> Span {
        self.below(context, true, name.into(), kind)
    }

    /// A span below one of this process. Where that is none, this is none.
    pub fn within(
        &self,
        context: Option<TraceContext>,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
    ) -> Span {
        self.below(context, false, name.into(), kind)
    }

    /// The span of something that is done for several at once, each in a trace of its own. Where there are none, this is none.
    pub fn linked(
        &self,
        contexts: impl IntoIterator<Item = TraceContext>,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
    ) -> Span {
        let Some(inner) = &self.0 else {
            return Span::default();
        };
        let links: Vec<Link> = contexts
            .into_iter()
            .map(|context| Link::with_context(remote(context, true)))
            .collect();
        if links.is_empty() {
            return Span::default();
        }
        let builder = SpanBuilder::from_name(name)
            .with_kind(kind)
            .with_links(links);
        inner.build(builder, &Context::new())
    }

    /// How many spans were made but not received, because there were too many or nobody took them.
    pub fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.outlet.lost())
    }

    /// Waits until the spans that are finished now are sent, or for so long.
    pub async fn flush(&self, limit: Duration) {
        if let Some(inner) = &self.0 {
            inner.outlet.flush(limit).await;
        }
    }

    fn below(
        &self,
        context: Option<TraceContext>,
        is_remote: bool,
        name: Cow<'static, str>,
        kind: Kind,
    ) -> Span {
        match (&self.0, context) {
            (Some(inner), Some(context)) => {
                let parent = Context::new().with_remote_span_context(remote(context, is_remote));
                inner.span(name, kind, &parent)
            }
            _ => Span::default(),
        }
    }
}

impl Inner {
    fn is_chosen(&self) -> bool {
        let mut number = self.dice.fetch_add(STRIDE, Ordering::Relaxed);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((number ^ (number >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(top) < self.sample_ratio * (f64::from(u32::MAX) + 1.0)
    }

    fn span(&self, name: Cow<'static, str>, kind: Kind, parent: &Context) -> Span {
        self.build(SpanBuilder::from_name(name).with_kind(kind), parent)
    }

    fn build(&self, builder: SpanBuilder, parent: &Context) -> Span {
        Span(Some(Box::new(
            self.tracer.build_with_context(builder, parent),
        )))
    }
}

fn remote(context: TraceContext, is_remote: bool) -> SpanContext {
    SpanContext::new(
        TraceId::from(context.trace()),
        SpanId::from(context.span()),
        TraceFlags::SAMPLED,
        is_remote,
        TraceState::NONE,
    )
}

/// A span that is being recorded, or nothing. It ends when it is dropped.
#[derive(Debug, Default)]
#[must_use = "a span ends when it is dropped"]
pub struct Span(Option<Box<SdkSpan>>);

impl Span {
    /// Whether anything is recorded.
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// What travels with whatever belongs below it.
    pub fn context(&self) -> Option<TraceContext> {
        let context = self.0.as_ref()?.span_context();
        let trace = u128::from_be_bytes(context.trace_id().to_bytes());
        let span = u64::from_be_bytes(context.span_id().to_bytes());
        TraceContext::new(trace, span)
    }

    /// Says more of it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Says more of it, which takes something to be said.
    pub fn describe<const N: usize>(
        &mut self,
        attributes: impl FnOnce() -> [(&'static str, Value); N],
    ) {
        if let Some(span) = &mut self.0 {
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
        if let Some(span) = &mut self.0 {
            span.update_name(name);
        }
    }

    /// Something has happened within it.
    pub fn event(&mut self, name: &'static str) {
        if let Some(span) = &mut self.0 {
            span.add_event(name, Vec::new());
        }
    }

    /// Another trace's span has to do with it.
    pub fn link(&mut self, context: Option<TraceContext>) {
        if let (Some(span), Some(context)) = (&mut self.0, context) {
            span.add_link(remote(context, false), Vec::new());
        }
    }

    /// It failed.
    pub fn fail(&mut self, reason: impl Display) {
        if let Some(span) = &mut self.0 {
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

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// Does something on behalf of what is traced, so that [`current`] says so.
pub async fn scope<F: Future + Unpin>(context: Option<TraceContext>, done: F) -> F::Output {
    match context {
        Some(context) => CURRENT.scope(context, done).await,
        None => done.await,
    }
}

/// On whose behalf this is done, if that is traced.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|context| *context).ok()
}

#[cfg(test)]
mod tests;
