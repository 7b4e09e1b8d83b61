//! `GET /metrics`: what this server does, for Prometheus (the `OpenMetrics` text format).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::BearerSecret;
use hallpass_core::{CacheStatus, Node, TaskStatus, Timestamp};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::pending_ends::Status;
use super::site::Site;

/// How long the registry of nodes may take.
const PATIENCE: Duration = Duration::from_secs(2);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is asked, and the secret of whoever may ask.
#[derive(Debug, Clone)]
pub(super) struct Metrics {
    pub(super) site: Arc<Site>,
    pub(super) ends: Arc<Status>,
    pub(super) secret: BearerSecret,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Task {
    task: &'static str,
}

/// Numbers alone: nothing secret, nothing about a user. With cached validation one reading of the registry of nodes.
pub(super) async fn show(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    if !metrics.secret.admits(&headers) {
        return BearerSecret::refusal();
    }
    let sessions = metrics.site.web.sessions();
    let now = sessions.now();
    let mut page = Page(Registry::with_prefix("hallpass"));
    let background = sessions.background_status();
    let tasks = [
        ("last_seen", Some(background.last_seen)),
        ("sweep", Some(background.sweep)),
        ("session_ends", Some(metrics.ends.read())),
        ("follow", background.follow),
    ];
    page.tasks(tasks.iter().filter_map(|(name, status)| Some((*name, (*status)?))));
    if let Some(cache) = sessions.cache_status() {
        let followed = background.follow.and_then(|follow| follow.last_success);
        page.cache(&cache, followed, now);
        match tokio::time::timeout(PATIENCE, sessions.nodes()).await {
            Ok(Ok(nodes)) => page.nodes(&nodes),
            // Left out: a number that is not known is none.
            Ok(Err(error)) => tracing::warn!(target: "hallpass", %error, "the registry of nodes could not be read"),
            Err(_) => tracing::warn!(target: "hallpass", "the registry of nodes could not be read in time"),
        }
    }
    metrics.site.provider_counts.register(&mut page.0);
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &page.0).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let mut response = text.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

struct Page(Registry);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    fn seconds(&mut self, name: &str, help: &str, value: Duration) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value.as_secs_f64());
        self.0.register_with_unit(name, help, Unit::Seconds, gauge);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }

    fn tasks(&mut self, tasks: impl Iterator<Item = (&'static str, TaskStatus)>) {
        let failures = Family::<Task, Counter>::default();
        let last = Family::<Task, Gauge<f64, AtomicU64>>::default();
        for (name, status) in tasks {
            failures.get_or_create(&Task { task: name }).inc_by(status.failures);
            if let Some(at) = status.last_success {
                last.get_or_create(&Task { task: name }).set(unix_seconds(at));
            }
        }
        self.0.register("background_failures", "Turns of a background task that failed", failures);
        self.0.register("background_last_success_timestamp_seconds", "When a background task last succeeded", last);
    }

    fn cache(&mut self, cache: &CacheStatus, followed: Option<Timestamp>, now: Timestamp) {
        self.seconds("lease", "How long this server may answer from memory after it asked the log", cache.lease);
        self.seconds("lease_left", "How much longer it may; 0 while each check reads the store", cache.lease_left);
        if let Some(position) = cache.position {
            self.gauge("log_position", "The position in the revocation log that it has reached", position as f64);
        }
        if let Some(at) = followed {
            self.seconds("log_age", "How long ago it had last read the log to its end", now.since(at));
        }
        self.counter("log_applied", "Entries of the log that it has applied", cache.applied);
        self.gauge("cache_sessions", "Sessions in memory", cache.entries as f64);
        self.gauge("cache_bytes", "Their bytes, about", cache.bytes as f64);
        self.counter("cache_hits", "Checks answered from memory", cache.hits);
        self.counter("cache_misses", "Checks that read the store although there is a cache", cache.misses);
        self.counter("cache_fenced", "Readings that came too late to be kept", cache.fenced);
        self.counter("cache_flushes", "How often everything in memory was forgotten", cache.flushes);
        self.counter("hints", "Hints of other servers that had it read the log at once", cache.hints);
        if let Some(at) = cache.last_hint {
            self.gauge("last_hint_timestamp_seconds", "When the last hint came", unix_seconds(at));
        }
    }

    fn nodes(&mut self, nodes: &[Node]) {
        self.gauge("nodes", "Servers that may answer from memory", nodes.len() as f64);
        if let Some(least) = nodes.iter().map(|node| node.reached).min() {
            let help = "The least position in the log that any of them has told of";
            self.gauge("nodes_log_position_min", help, least as f64);
        }
    }
}

fn unix_seconds(at: Timestamp) -> f64 {
    at.as_millis() as f64 / 1_000.0
}
