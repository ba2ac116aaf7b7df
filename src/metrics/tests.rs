//! What is told is what Prometheus reads, and no more series than can be counted beforehand.

use super::*;
use crate::credit::{Basis, Unit, Usage, Work};

/// The value of the series that starts with `name`.
fn value(metrics: &Metrics, series: &str) -> Option<String> {
    let text = metrics.encode();
    let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    lines.find(|(name, _)| *name == series).map(|(_, value)| value.to_owned())
}

/// Metrics to which everything was told once or more.
fn told() -> Metrics {
    let metrics = Metrics::new();
    metrics.answered("metered", "chat", Some(StatusCode::CREATED));
    metrics.answered("metered", "chat", Some(StatusCode::OK));
    metrics.refused("exhausted");
    let usage = Usage::NOTHING.with(Unit::Input, 12);
    let work = Work { basis: Basis::Reported, usage };
    metrics.charged("2.5".parse().unwrap(), Some(&work));
    metrics.hold_ended(HoldOutcome::Settled);
    metrics.ledger_answered("hold", LedgerResult::Refused, Duration::from_micros(80));
    metrics.upstream_failed("connect");
    let journaled = Counts { waiting: 4, refused: 1, allowed: "2.5".parse().unwrap() };
    metrics.ledger(true, 7, journaled);
    metrics.unheld_call(Unheld::Allowed);
    metrics.directory_lookup(CacheLookup::Miss);
    metrics.ended("metered", Duration::from_secs(2));
    metrics.unknown_route(&Method::PUT, "/v1/dreams/d_1");
    metrics
}

#[test]
fn what_was_told_is_what_is_shown() {
    let metrics = told();
    for (series, expected) in [
        (r#"creditgate_requests_total{class="metered",operation="chat",status="2xx"}"#, "2"),
        (r#"creditgate_refusals_total{reason="exhausted"}"#, "1"),
        ("creditgate_charged_microcredits_total", "2500000"),
        (r#"creditgate_holds_total{outcome="settled"}"#, "1"),
        (r#"creditgate_ledger_operations_total{operation="hold",result="refused"}"#, "1"),
        (r#"creditgate_ledger_seconds_bucket{le="0.0001",operation="hold"}"#, "1"),
        (r#"creditgate_ledger_seconds_bucket{le="0.00005",operation="hold"}"#, "0"),
        (r#"creditgate_upstream_failures_total{kind="connect"}"#, "1"),
        ("creditgate_ledger_up", "1"),
        ("creditgate_settlements_waiting", "7"),
        ("creditgate_journal_waiting", "4"),
        ("creditgate_journal_refused", "1"),
        ("creditgate_unheld_microcredits", "2500000"),
        (r#"creditgate_unheld_calls_total{result="allowed"}"#, "1"),
        (r#"creditgate_directory_lookups_total{result="miss"}"#, "1"),
        (r#"creditgate_request_seconds_sum{class="metered"}"#, "2.0"),
        (r#"creditgate_unknown_routes_total{method="PUT",route="/v1/dreams/{id}"}"#, "1"),
    ] {
        assert_eq!(
            value(&metrics, series).as_deref(),
            Some(expected),
            "{series}\n{}",
            metrics.encode()
        );
    }
}

#[test]
fn what_is_open_closes_with_its_guard() {
    let metrics = Metrics::new();
    let first = metrics.stream_opened();
    let second = metrics.stream_opened();
    assert_eq!(value(&metrics, "creditgate_streams_open").as_deref(), Some("2"));
    drop(first);
    assert_eq!(value(&metrics, "creditgate_streams_open").as_deref(), Some("1"));
    drop(second);
    assert_eq!(value(&metrics, "creditgate_streams_open").as_deref(), Some("0"));
}

#[test]
fn every_metric_has_a_sentence_of_help() {
    let text = told().encode();
    let types = text.lines().filter(|line| line.starts_with("# TYPE")).count();
    let help: Vec<_> = text.lines().filter(|line| line.starts_with("# HELP")).collect();
    assert_eq!(help.len(), types);
    assert!(types > 15, "{text}");
    for line in help {
        assert!(line.ends_with('.') && !line.ends_with(".."), "{line}");
    }
}

#[test]
fn metrics_are_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&Metrics::new());
}

#[test]
fn unknown_routes_are_bounded() {
    let metrics = Metrics::new();
    for first in 'a'..='z' {
        for second in 'a'..='z' {
            metrics.unknown_route(&Method::POST, &format!("/{first}/{second}"));
        }
    }
    let text = metrics.encode();
    let series = text.lines().filter(|line| line.starts_with("creditgate_unknown_routes_total"));
    assert_eq!(series.count(), 101);
    let other = r#"creditgate_unknown_routes_total{method="POST",route="other"}"#;
    assert_eq!(value(&metrics, other).as_deref(), Some("576"));
}
