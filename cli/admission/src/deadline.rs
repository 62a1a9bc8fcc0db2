//! How long the API server waits, and when to answer.

use std::time::Duration;

/// When to answer a request with this query, by its `timeout`: a little before the API server gives up, so that
/// people read our reason and not `context deadline exceeded`.
pub(crate) fn of_query(query: Option<&str>, otherwise: Duration) -> Duration {
    let pairs = query.unwrap_or_default().split('&');
    let mut values = pairs.filter_map(|pair| pair.strip_prefix("timeout="));
    let granted = values.next().and_then(parse).unwrap_or(otherwise);
    let granted = granted.min(LONGEST);
    granted.saturating_sub((granted / 5).clamp(LEAST_RESERVE, MOST_RESERVE))
}

/// A duration as Go writes it, of one or more parts: `10s`, `1m30s`, `1.5s`, `500ms`.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() || rest.len() > 32 {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let (unit, tail) = tail.split_at(
            tail.find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len()),
        );
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = tail;
    }
    (!total.is_zero()).then_some(total)
}

/// The longest that Kubernetes lets a webhook take.
const LONGEST: Duration = Duration::from_secs(30);
/// Time for the answer to travel: at least, and at most.
const LEAST_RESERVE: Duration = Duration::from_millis(100);
const MOST_RESERVE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_comes_before_the_end() {
        let otherwise = Duration::from_secs(10);
        for (query, millis) in [
            (None, 9500),
            (Some("timeout=10s"), 9500),
            (Some("timeout=3s"), 2500),
            (Some("timeout=1s"), 800),
            (Some("timeout=200ms"), 100),
            (Some("a=b&timeout=1.5s"), 1200),
            (Some("timeout=1m"), 29_500),
            (Some("timeout="), 9500),
            (Some("timeout=-1s"), 9500),
            (Some("timeout=10"), 9500),
            (Some("timeout=9e300s"), 9500),
            (Some("timeout=0s"), 9500),
        ] {
            assert_eq!(
                of_query(query, otherwise),
                Duration::from_millis(millis),
                "{query:?}"
            );
        }
    }
}
