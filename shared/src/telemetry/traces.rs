//! Traces: what becomes of something that a client asked for, from its gateway through the stream and the worker to every gateway that
//! shows it.
//!
//! Whether something is traced is decided once, where it begins, and travels with it as a [`TraceContext`]; whatever is not traced has
//! none, makes no span, and costs a look at an option. Spans go to a collector over OTLP, or are dropped; nobody ever waits for that.

mod config;
mod span;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::trace::{
    Link, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use uuid::Uuid;

pub use config::TracesConfig;
pub use span::{Parent, Span, current, scope};

use super::export::{self, Outlet};
use crate::config::ConfigError;
use crate::model::trace::{TraceContext, TraceParent};

/// What a span is to those around it.
pub type Kind = SpanKind;

/// The most links of a span: more than a batch has commands.
const MAX_LINKS: u32 = 4_096;
/// What a counter is multiplied by to step through all numbers without a pattern (2⁶⁴ divided by the golden ratio).
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

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
pub struct Traces(Option<Arc<Maker>>);

/// Makes the spans.
#[derive(Debug)]
struct Maker {
    tracer: SdkTracer,
    outlet: Outlet,
    sample_ratio: f64,
    trusts_parents: bool,
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
        Ok(Self::sending(outlet, resource, config))
    }

    fn sending(outlet: Outlet, resource: Resource, config: &TracesConfig) -> Self {
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            // What is to be recorded is decided here, before there is a span.
            .with_sampler(Sampler::AlwaysOn)
            .with_max_links_per_span(MAX_LINKS)
            .with_span_processor(outlet.clone())
            .build();
        Self(Some(Arc::new(Maker {
            tracer: provider.tracer("confab"),
            outlet,
            sample_ratio: config.sample_ratio,
            trusts_parents: config.trust_parent,
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
            Some(maker) if maker.is_chosen() => maker.span(name.into(), kind, &Context::new()),
            Some(_) | None => Span::default(),
        }
    }

    /// The first span here of something that may have begun elsewhere: if who says so is trusted, it is recorded if it was there. Else it
    /// begins here, and where it comes from is a link: strangers do not decide what is recorded, nor in which trace.
    pub fn continued(
        &self,
        parent: Option<TraceParent>,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
    ) -> Span {
        let Some(maker) = &self.0 else {
            return Span::default();
        };
        match parent {
            Some(TraceParent::Recorded(context)) if maker.trusts_parents => {
                self.after(Some(context), name, kind)
            }
            Some(TraceParent::Unrecorded) if maker.trusts_parents => Span::default(),
            Some(TraceParent::Recorded(context)) if maker.is_chosen() => {
                self.linked([context], name, kind)
            }
            Some(TraceParent::Recorded(_)) => Span::default(),
            Some(TraceParent::Unrecorded) | None => self.root(name, kind),
        }
    }

    /// A span below one of another process. Where that is none, this is none.
    pub fn after(
        &self,
        context: Option<TraceContext>,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
    ) -> Span {
        match (&self.0, context) {
            (Some(maker), Some(context)) => maker.below(context, true, name.into(), kind),
            _ => Span::default(),
        }
    }

    /// The span of something that is done for several at once, each in a trace of its own. Where there are none, this is none.
    pub fn linked(
        &self,
        contexts: impl IntoIterator<Item = TraceContext>,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
    ) -> Span {
        let Some(maker) = &self.0 else {
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
        maker.build(builder, &Context::new())
    }

    /// How many spans were made but not received, because there were too many or nobody took them.
    pub fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |maker| maker.outlet.lost())
    }

    /// Waits until the spans that are finished now are sent, or for so long.
    pub async fn flush(&self, limit: Duration) {
        if let Some(maker) = &self.0 {
            maker.outlet.flush(limit).await;
        }
    }
}

impl Maker {
    fn is_chosen(&self) -> bool {
        let mut number = self.dice.fetch_add(STRIDE, Ordering::Relaxed);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((number ^ (number >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(top) < self.sample_ratio * (f64::from(u32::MAX) + 1.0)
    }

    fn below(
        self: &Arc<Self>,
        context: TraceContext,
        is_remote: bool,
        name: Cow<'static, str>,
        kind: Kind,
    ) -> Span {
        let parent = Context::new().with_remote_span_context(remote(context, is_remote));
        self.span(name, kind, &parent)
    }

    fn span(self: &Arc<Self>, name: Cow<'static, str>, kind: Kind, parent: &Context) -> Span {
        self.build(SpanBuilder::from_name(name).with_kind(kind), parent)
    }

    fn build(self: &Arc<Self>, builder: SpanBuilder, parent: &Context) -> Span {
        self.record(self.tracer.build_with_context(builder, parent))
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

#[cfg(test)]
mod tests;
