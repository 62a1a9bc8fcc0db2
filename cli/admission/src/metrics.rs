//! What Prometheus is told (text format 0.0.4).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cache::By;

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: [[AtomicU64; OUTCOMES.len()]; ENDPOINTS.len()],
    verdicts: [AtomicU64; VERDICTS.len()],
    by: [AtomicU64; BY.len()],
    tags: [AtomicU64; BY.len()],
    buckets: [AtomicU64; BOUNDS.len()],
    answered: AtomicU64,
    micros: AtomicU64,
    policy_loads: [AtomicU64; 2],
    policy_unusable: AtomicU64,
    lines_lost: AtomicU64,
    /// Idle ones, for which there was no seat any more.
    pub(crate) connections_closed: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    /// The API server did not say what was to be known of a namespace or a secret.
    pub(crate) cluster_failures: AtomicU64,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Endpoint {
    Validate,
    Mutate,
    Verify,
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answered {
    Allowed,
    Refused,
    Malformed,
}

/// What was found about an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    Verified,
    Skipped,
    Excepted,
    Refused,
    Undecided,
}

const ENDPOINTS: [&str; 3] = ["validate", "mutate", "verify"];
const OUTCOMES: [&str; 3] = ["allowed", "refused", "malformed"];
const VERDICTS: [&str; 5] = ["verified", "skipped", "excepted", "refused", "undecided"];
const BY: [&str; 3] = ["hit", "coalesced", "verification"];
/// Upper bounds of the histogram, in milliseconds.
const BOUNDS: [u64; 10] = [1, 5, 10, 25, 50, 100, 500, 1000, 3000, 10_000];

impl Found {
    /// Its name in metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        VERDICTS.get(self as usize).copied().unwrap_or_default()
    }

    /// Whether the image may run.
    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Verified | Self::Skipped | Self::Excepted)
    }
}

impl By {
    /// Its name in metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        BY.get(self as usize).copied().unwrap_or_default()
    }
}

impl Metrics {
    pub(crate) fn answered(&self, endpoint: Endpoint, answered: Answered, took: Duration) {
        if let Some(counter) = self
            .requests
            .get(endpoint as usize)
            .and_then(|all| all.get(answered as usize))
        {
            add(counter);
        }
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        for (bucket, _) in self
            .buckets
            .iter()
            .zip(BOUNDS)
            .filter(|(_, bound)| millis < *bound)
        {
            add(bucket);
        }
        add(&self.answered);
        let micros = u64::try_from(took.as_micros()).unwrap_or(0);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn verdict(&self, found: Found, by: Option<By>) {
        self.verdicts.get(found as usize).into_iter().for_each(add);
        by.and_then(|by| self.by.get(by as usize))
            .into_iter()
            .for_each(add);
    }

    /// How it became known what a tag points at.
    pub(crate) fn tag(&self, by: By) {
        self.tags.get(by as usize).into_iter().for_each(add);
    }

    /// Whether a line of the log was taken.
    pub(crate) fn logged(&self, taken: bool) {
        if !taken {
            add(&self.lines_lost);
        }
    }

    pub(crate) fn policy(&self, usable: bool) {
        self.policy_loads
            .get(usize::from(!usable))
            .into_iter()
            .for_each(add);
        self.policy_unusable
            .store(u64::from(!usable), Ordering::Relaxed);
    }

    /// The whole text; with the policy in force, and how many verdicts are kept, verifications under way and connections open.
    pub(crate) fn text(
        &self,
        policy: &str,
        [cached, under_way, connections]: [usize; 3],
    ) -> String {
        let mut out = String::new();
        let mut family = |name: &str, kind: &str, help: &str, lines: Vec<(String, String)>| {
            // Writing to a string can't fail.
            let _infallible = writeln!(
                out,
                "# HELP hardsign_admission_{name} {help}\n# TYPE hardsign_admission_{name} {kind}"
            );
            for (labels, value) in lines {
                let _infallible = writeln!(out, "hardsign_admission_{name}{labels} {value}");
            }
        };
        let one = |value: String| vec![(String::new(), value)];
        family(
            "requests_total",
            "counter",
            "Requests that were answered.",
            self.requests(),
        );
        family(
            "verdicts_total",
            "counter",
            "Images that were judged.",
            labelled("verdict", &VERDICTS, &self.verdicts),
        );
        family(
            "lookups_total",
            "counter",
            "How verdicts were come by.",
            labelled("by", &BY, &self.by),
        );
        family(
            "tag_lookups_total",
            "counter",
            "How it became known what tags point at.",
            labelled("by", &["hit", "coalesced", "question"], &self.tags),
        );
        family(
            "policy_loads_total",
            "counter",
            "Policies that were read.",
            labelled("result", &["loaded", "failed"], &self.policy_loads),
        );
        family(
            "policy_unusable",
            "gauge",
            "1 while the policy on disk can't be used and an older one is in force.",
            one(read(&self.policy_unusable)),
        );
        family(
            "policy_info",
            "gauge",
            "The policy in force.",
            vec![(format!("{{version=\"{policy}\"}}"), "1".to_owned())],
        );
        family(
            "cached_verdicts",
            "gauge",
            "Verdicts that are kept.",
            one(cached.to_string()),
        );
        family(
            "verifications_under_way",
            "gauge",
            "Verifications that run or wait.",
            one(under_way.to_string()),
        );
        family(
            "connections",
            "gauge",
            "Open connections.",
            one(connections.to_string()),
        );
        for (name, help, counter) in [
            (
                "connections_closed_total",
                "Idle connections that made room for others.",
                &self.connections_closed,
            ),
            (
                "tls_failures_total",
                "Connections that ended in the TLS handshake.",
                &self.handshakes_failed,
            ),
            (
                "cluster_failures_total",
                "Questions about namespaces and secrets that the API server did not answer.",
                &self.cluster_failures,
            ),
            (
                "log_lines_lost_total",
                "Lines of the log that nobody took.",
                &self.lines_lost,
            ),
        ] {
            family(name, "counter", help, one(read(counter)));
        }
        family(
            "request_seconds",
            "histogram",
            "Time to answer.",
            self.times(),
        );
        out
    }

    /// Answers by endpoint and outcome.
    fn requests(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        for (endpoint, counters) in ENDPOINTS.iter().zip(&self.requests) {
            for (outcome, counter) in OUTCOMES.iter().zip(counters) {
                lines.push((
                    format!("{{endpoint=\"{endpoint}\",outcome=\"{outcome}\"}}"),
                    read(counter),
                ));
            }
        }
        lines
    }

    /// The histogram of the time that answers took.
    fn times(&self) -> Vec<(String, String)> {
        let mut lines: Vec<_> = BOUNDS
            .iter()
            .zip(&self.buckets)
            .map(|(bound, bucket)| {
                (
                    format!("_bucket{{le=\"{}.{:03}\"}}", bound / 1000, bound % 1000),
                    read(bucket),
                )
            })
            .collect();
        lines.push(("_bucket{le=\"+Inf\"}".to_owned(), read(&self.answered)));
        let micros = self.micros.load(Ordering::Relaxed);
        lines.push((
            "_sum".to_owned(),
            format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000),
        ));
        lines.push(("_count".to_owned(), read(&self.answered)));
        lines
    }
}

fn read(counter: &AtomicU64) -> String {
    counter.load(Ordering::Relaxed).to_string()
}

/// A line for each of some counters, which a label tells apart.
fn labelled(label: &str, names: &[&str], counters: &[AtomicU64]) -> Vec<(String, String)> {
    let lines = names.iter().zip(counters);
    lines
        .map(|(name, counter)| (format!("{{{label}=\"{name}\"}}"), read(counter)))
        .collect()
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_reads_it() {
        let metrics = Metrics::default();
        metrics.answered(
            Endpoint::Validate,
            Answered::Refused,
            Duration::from_millis(7),
        );
        metrics.answered(Endpoint::Mutate, Answered::Allowed, Duration::from_secs(20));
        metrics.verdict(Found::Refused, Some(By::Coalesced));
        metrics.tag(By::Verification);
        metrics.logged(true);
        metrics.logged(false);
        metrics.policy(true);
        metrics.policy(false);
        let text = metrics.text("0123", [4, 5, 6]);
        for line in [
            "hardsign_admission_requests_total{endpoint=\"validate\",outcome=\"refused\"} 1",
            "hardsign_admission_verdicts_total{verdict=\"refused\"} 1",
            "hardsign_admission_lookups_total{by=\"coalesced\"} 1",
            "hardsign_admission_policy_loads_total{result=\"failed\"} 1",
            "hardsign_admission_policy_unusable 1",
            "hardsign_admission_policy_info{version=\"0123\"} 1",
            "hardsign_admission_cached_verdicts 4",
            "hardsign_admission_connections 6",
            "hardsign_admission_log_lines_lost_total 1",
            "hardsign_admission_tag_lookups_total{by=\"question\"} 1",
            "hardsign_admission_request_seconds_bucket{le=\"0.005\"} 0",
            "hardsign_admission_request_seconds_bucket{le=\"0.010\"} 1",
            "hardsign_admission_request_seconds_bucket{le=\"10.000\"} 1",
            "hardsign_admission_request_seconds_bucket{le=\"+Inf\"} 2",
            "hardsign_admission_request_seconds_sum 20.007000",
            "hardsign_admission_request_seconds_count 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
