//! The way of finished spans to a collector: a bounded queue, and a task that sends what is in it, in batches.
//!
//! Nobody waits for it. What does not fit into the queue, or is not taken in time, is lost and counted; that is logged once a minute
//! at the most, however much it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::{mpsc, oneshot};

/// How often it is logged that spans are lost, at the most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What sending is bounded by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How long sending a batch may take, repetitions included.
    pub(super) timeout: Duration,
    /// How long a span waits for others.
    pub(super) interval: Duration,
    /// How many spans may wait.
    pub(super) queue: usize,
    /// How many are sent together at the most.
    pub(super) batch: usize,
}

/// Where finished spans go. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Outlet {
    spans: mpsc::Sender<SpanData>,
    flushes: mpsc::Sender<oneshot::Sender<()>>,
    lost: Arc<AtomicU64>,
}

/// Starts sending spans to this address. The error is a message.
pub(super) fn start(url: &str, limits: Limits, resource: &Resource) -> Result<Outlet, String> {
    let mut exporter = OtlpExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .with_timeout(limits.timeout)
        .build()
        .map_err(|error| error.to_string())?;
    exporter.set_resource(resource);
    let (outlet, sender) = outlet(exporter, limits);
    tokio::spawn(sender.run());
    Ok(outlet)
}

fn outlet<E: SpanExporter>(exporter: E, limits: Limits) -> (Outlet, Sender<E>) {
    let (spans, waiting) = mpsc::channel(limits.queue);
    let (flushes, asked) = mpsc::channel(1);
    let outlet = Outlet {
        spans,
        flushes,
        lost: Arc::default(),
    };
    let sender = Sender {
        exporter,
        limits,
        waiting,
        asked,
        lost: outlet.lost.clone(),
        complained: None,
        lost_before: 0,
    };
    (outlet, sender)
}

impl Outlet {
    /// How many spans were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until what waits now is sent, or for so long.
    pub(super) async fn flush(&self, limit: Duration) {
        let (done, flushed) = oneshot::channel();
        let flush = async {
            if self.flushes.send(done).await.is_ok() {
                // An error says that the sender has ended: nothing waits any more.
                let _ = flushed.await;
            }
        };
        if tokio::time::timeout(limit, flush).await.is_err() {
            tracing::warn!("the last spans were not sent in time");
        }
    }
}

impl SpanProcessor for Outlet {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends what waits.
struct Sender<E> {
    exporter: E,
    limits: Limits,
    waiting: mpsc::Receiver<SpanData>,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    lost: Arc<AtomicU64>,
    complained: Option<Instant>,
    /// How many were lost when that was last logged.
    lost_before: u64,
}

impl<E: SpanExporter> Sender<E> {
    /// Ends when no more spans can come. Inputs: spans, the wish that all of them be sent now, and the clock.
    async fn run(mut self) {
        loop {
            let mut batch = Vec::new();
            let flushed = match self.gather(&mut batch).await {
                Gathered::Batch => None,
                Gathered::Flush(done) => Some(done),
                Gathered::End => return,
            };
            let mut waiting = self.waiting.len();
            self.send(batch).await;
            if let Some(done) = flushed {
                while waiting > 0 {
                    let mut batch = Vec::new();
                    let limit = self.limits.batch.min(waiting);
                    waiting -= self.waiting.recv_many(&mut batch, limit).await.max(1);
                    self.send(batch).await;
                }
                // Whoever asked may have given up.
                let _ = done.send(());
            }
        }
    }

    /// Waits for a span, and for a while for others.
    async fn gather(&mut self, batch: &mut Vec<SpanData>) -> Gathered {
        tokio::select! {
            count = self.waiting.recv_many(batch, self.limits.batch) => if count == 0 {
                return Gathered::End;
            },
            Some(done) = self.asked.recv() => return Gathered::Flush(done),
        }
        let late = tokio::time::sleep(self.limits.interval);
        tokio::pin!(late);
        while batch.len() < self.limits.batch {
            let room = self.limits.batch - batch.len();
            tokio::select! {
                count = self.waiting.recv_many(batch, room) => if count == 0 {
                    break;
                },
                Some(done) = self.asked.recv() => return Gathered::Flush(done),
                () = &mut late => break,
            }
        }
        Gathered::Batch
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len();
        let mut failure = None;
        if count > 0 {
            let sending = self.exporter.export(batch);
            let sent = tokio::time::timeout(self.limits.timeout, sending).await;
            failure = match sent {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("no answer in time".to_owned()),
            };
        }
        if failure.is_some() {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
        self.complain(failure.as_deref());
    }

    fn complain(&mut self, failure: Option<&str>) {
        let total = self.lost.load(Ordering::Relaxed);
        let is_due = self
            .complained
            .is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY);
        if total == self.lost_before || !is_due {
            return;
        }
        let reason = failure.unwrap_or("more of them than can be sent");
        tracing::warn!(spans = total - self.lost_before, reason, "spans were lost");
        self.lost_before = total;
        self.complained = Some(Instant::now());
    }
}

/// An outlet that leads nowhere, and what comes out of it.
#[cfg(test)]
pub(super) fn held() -> (Outlet, mpsc::Receiver<SpanData>) {
    let (spans, waiting) = mpsc::channel(1_024);
    let (flushes, _) = mpsc::channel(1);
    let outlet = Outlet {
        spans,
        flushes,
        lost: Arc::default(),
    };
    (outlet, waiting)
}

/// Why gathering ended.
enum Gathered {
    /// There is enough, or it was waited for long enough.
    Batch,
    /// Everything is to be sent now.
    Flush(oneshot::Sender<()>),
    /// No more spans can come.
    End,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry_sdk::error::OTelSdkError;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use opentelemetry::trace::{Tracer, TracerProvider};

    use super::*;

    /// Takes batches as a collector would, or hangs, or refuses them.
    #[derive(Debug, Clone, Default)]
    struct Collector {
        batches: Arc<Mutex<Vec<usize>>>,
        hangs: bool,
        refuses: bool,
    }

    impl SpanExporter for Collector {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            if self.refuses {
                return Err(OTelSdkError::InternalFailure("503".to_owned()));
            }
            self.batches.lock().unwrap().push(batch.len());
            Ok(())
        }
    }

    const LIMITS: Limits = Limits {
        timeout: Duration::from_millis(500),
        interval: Duration::from_millis(200),
        queue: 8,
        batch: 4,
    };

    fn start(collector: &Collector) -> (Outlet, impl Fn(usize)) {
        let (outlet, sender) = outlet(collector.clone(), LIMITS);
        tokio::spawn(sender.run());
        let provider = SdkTracerProvider::builder()
            .with_span_processor(outlet.clone())
            .build();
        let tracer = provider.tracer("test");
        let make = move |count| {
            for _ in 0..count {
                drop(tracer.start("span"));
            }
        };
        (outlet, make)
    }

    async fn until(what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(30), "never: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn spans_are_sent_together_and_none_waits_for_long() {
        let collector = Collector::default();
        let (outlet, make) = start(&collector);
        make(6);
        until("both batches are sent", || {
            collector.batches.lock().unwrap().len() >= 2
        })
        .await;
        assert_eq!(*collector.batches.lock().unwrap(), [4, 2]);
        assert_eq!(outlet.lost(), 0);
    }

    #[tokio::test]
    async fn a_flush_sends_all_there_is() {
        let collector = Collector::default();
        let (outlet, make) = start(&collector);
        make(1);
        tokio::task::yield_now().await;
        make(6);
        outlet.flush(Duration::from_secs(5)).await;
        assert_eq!(collector.batches.lock().unwrap().iter().sum::<usize>(), 7);
    }

    #[tokio::test]
    async fn what_nobody_takes_is_lost_and_counted_and_nobody_waits() {
        let collector = Collector {
            hangs: true,
            ..Collector::default()
        };
        let (outlet, make) = start(&collector);
        make(4);
        while outlet.spans.capacity() < LIMITS.queue {
            tokio::task::yield_now().await;
        }
        // Four are being sent, eight wait.
        make(20);
        assert_eq!(outlet.lost(), 12);
        outlet.flush(Duration::from_millis(100)).await;
        assert!(outlet.lost() < 24, "it waited until none was left to send");
        until("all are lost", || outlet.lost() == 24).await;
        let refusing = Collector {
            refuses: true,
            ..Collector::default()
        };
        let (outlet, make) = start(&refusing);
        make(4);
        until("what is refused is lost", || outlet.lost() == 4).await;
    }
}
