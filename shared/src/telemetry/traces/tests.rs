use opentelemetry::Value;
use opentelemetry::trace::Status;
use opentelemetry_sdk::trace::SpanData;
use tokio::sync::mpsc::Receiver;

use super::*;

fn traces(sample_ratio: f64) -> (Traces, Receiver<SpanData>) {
    with_parents(sample_ratio, true)
}

fn with_parents(sample_ratio: f64, trust_parent: bool) -> (Traces, Receiver<SpanData>) {
    let (outlet, spans) = export::held();
    let config = TracesConfig {
        sample_ratio,
        trust_parent,
        ..config("")
    };
    let traces = Traces::sending(outlet, Resource::builder_empty().build(), &config);
    (traces, spans)
}

fn finished(spans: &mut Receiver<SpanData>) -> Vec<SpanData> {
    std::iter::from_fn(|| spans.try_recv().ok()).collect()
}

fn config(endpoint: &str) -> TracesConfig {
    TracesConfig {
        endpoint: endpoint.to_owned(),
        sample_ratio: 0.5,
        trust_parent: false,
        service_name: String::new(),
        timeout_ms: 1_000,
        interval_ms: 1_000,
        queue: 16,
        batch: 8,
    }
}

#[test]
fn about_as_many_are_recorded_as_the_ratio_says() {
    for (ratio, least, most) in [(0.0, 0, 0), (0.1, 50, 160), (1.0, 1_000, 1_000)] {
        let (traces, _spans) = traces(ratio);
        let roots = (0..1_000).map(|_| traces.root("root", Kind::Server));
        let recorded = roots.filter(Span::is_recorded).count();
        assert!((least..=most).contains(&recorded), "{ratio}: {recorded}");
    }
    assert!(!Traces::default().root("root", Kind::Server).is_recorded());
}

#[test]
fn what_was_decided_elsewhere_holds_here() {
    let (never, mut none) = traces(0.0);
    let (always, _spans) = traces(1.0);
    let context = TraceContext::new(7, 8).unwrap();
    let recorded = Some(TraceParent::Recorded(context));
    let span = never.continued(recorded, "request", Kind::Server);
    assert_eq!(span.context().unwrap().trace(), 7);
    drop(span);
    let [span] = &finished(&mut none)[..] else {
        panic!("one span")
    };
    assert_eq!(span.parent_span_id, SpanId::from(8));
    assert!(span.parent_span_is_remote);
    let unrecorded = Some(TraceParent::Unrecorded);
    assert!(
        !always
            .continued(unrecorded, "request", Kind::Server)
            .is_recorded()
    );
    assert!(
        always
            .continued(None, "request", Kind::Server)
            .is_recorded()
    );
}

#[test]
fn what_strangers_decided_is_known_but_decides_nothing() {
    let (never, mut none) = with_parents(0.0, false);
    let (always, mut spans) = with_parents(1.0, false);
    let recorded = Some(TraceParent::Recorded(TraceContext::new(7, 8).unwrap()));
    drop(never.continued(recorded, "request", Kind::Server));
    assert!(finished(&mut none).is_empty());
    for parent in [recorded, Some(TraceParent::Unrecorded), None] {
        drop(always.continued(parent, "request", Kind::Server));
    }
    let spans = finished(&mut spans);
    let [linked, plain, own] = &spans[..] else {
        panic!("three spans")
    };
    for span in [linked, plain, own] {
        assert_eq!(span.parent_span_id, SpanId::INVALID);
        assert_ne!(span.span_context.trace_id(), TraceId::from(7));
    }
    let link = &linked.links.links[0].span_context;
    assert_eq!(
        (link.trace_id(), link.span_id()),
        (TraceId::from(7), SpanId::from(8))
    );
    assert!(link.is_remote());
    assert!(plain.links.links.is_empty() && own.links.links.is_empty());
}

#[test]
fn what_belongs_below_a_span_has_its_trace() {
    let (traces, mut spans) = traces(1.0);
    let root = traces.root("root", Kind::Server);
    let child = root.child("child", Kind::Producer);
    let mut batch = traces.linked(child.context(), "batch", Kind::Consumer);
    batch.describe(|| [("size", Value::from(1))]);
    batch.fail("no");
    drop((child, batch, root));
    let spans = finished(&mut spans);
    let [child, batch, root] = &spans[..] else {
        panic!("three spans")
    };
    assert_eq!(child.parent_span_id, root.span_context.span_id());
    assert!(!child.parent_span_is_remote);
    assert_eq!(child.span_context.trace_id(), root.span_context.trace_id());
    assert_ne!(batch.span_context.trace_id(), root.span_context.trace_id());
    assert_eq!(
        batch.links.links[0].span_context.span_id(),
        child.span_context.span_id()
    );
    assert_eq!(batch.status, Status::error("no"));
    for nothing in [
        traces.after(None, "x", Kind::Consumer),
        Span::default().child("x", Kind::Consumer),
        traces.linked(None, "x", Kind::Consumer),
    ] {
        assert_eq!(nothing.context(), None);
    }
}

#[tokio::test]
async fn on_whose_behalf_something_is_done_is_known_while_it_is_done() {
    let (traces, _spans) = traces(1.0);
    let span = traces.root("root", Kind::Server);
    let whose = async || current().map(|parent| parent.context());
    let asked = scope(span.parent(), Box::pin(whose()));
    assert_eq!(asked.await, span.context());
    assert_eq!(scope(None, Box::pin(whose())).await, None);
    assert_eq!(whose().await, None);
}

#[test]
fn a_collector_has_an_address_that_we_can_speak_to() {
    let url = |endpoint| config(endpoint).url().unwrap();
    assert_eq!(url(""), None);
    for endpoint in [
        "http://127.0.0.1:4318",
        "http://127.0.0.1:4318/",
        "http://127.0.0.1:4318/v1/traces",
    ] {
        assert_eq!(
            url(endpoint).as_deref(),
            Some("http://127.0.0.1:4318/v1/traces")
        );
    }
    assert_eq!(
        url("http://[::1]:9/otlp").as_deref(),
        Some("http://[::1]:9/otlp/v1/traces")
    );
    for endpoint in [
        "https://collector:4318",
        "127.0.0.1:4318",
        "http://",
        "http:///v1/traces",
        "http://user:secret@collector",
        "grpc://collector:4317",
    ] {
        let error = config(endpoint).check().unwrap_err().to_string();
        assert!(error.contains("traces.endpoint"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn settings_that_cannot_work_name_their_key() {
    type Mistake = fn(&mut TracesConfig);
    let wrong: [(&str, Mistake); 6] = [
        ("traces.sample_ratio", |config| config.sample_ratio = 1.1),
        ("traces.sample_ratio", |config| {
            config.sample_ratio = f64::NAN;
        }),
        ("traces.timeout_ms", |config| config.timeout_ms = 0),
        ("traces.interval_ms", |config| config.interval_ms = 60_001),
        ("traces.queue", |config| config.queue = 0),
        ("traces.batch", |config| config.batch = 17),
    ];
    assert!(config("").check().is_ok());
    for (key, break_it) in wrong {
        let mut config = config("");
        break_it(&mut config);
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
