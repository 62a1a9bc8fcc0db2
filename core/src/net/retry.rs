//! When a request is repeated, and after how long (REG-11; RFC 9110 §9.2.2, §10.2.3).

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode};

use super::{HttpAnswer, Limits, NetError, Request, shown};

/// First wait; doubled with each repetition.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The wait before the request is sent again; `None` where the result stands.
///
/// A method that changes nothing when repeated is sent again after 408, 429, any 5xx but 501 and
/// 505, and after a connection that broke. Others are sent again only where the status says that
/// the request was turned away unread (429, 503).
pub(super) fn decide(
    request: &Request,
    result: &Result<HttpAnswer, NetError>,
    repeats: u32,
    elapsed: Duration,
    limits: &Limits,
) -> Result<Option<Duration>, NetError> {
    let idempotent = matches!(
        request.method,
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE
    );
    let asked = match result {
        Ok(answer) if worth_it(answer.status, idempotent) => retry_after(&answer.headers),
        Ok(_) => return Ok(None),
        Err(NetError::Transport { cause, .. }) if idempotent && !cause.is_connect() => None,
        Err(_) => return Ok(None),
    };
    if repeats >= limits.repeats {
        return Ok(None);
    }
    let backoff = FIRST_WAIT.saturating_mul(1 << repeats.min(10));
    let wait = asked.unwrap_or(backoff).saturating_add(jitter(backoff / 2));
    if elapsed.saturating_add(wait) <= limits.repeat_total {
        return Ok(Some(wait));
    }
    match (result, asked) {
        (Ok(answer), Some(asked)) => Err(NetError::Wait {
            url: shown(&answer.url),
            status: answer.status,
            wait: asked,
        }),
        _ => Ok(None),
    }
}

fn worth_it(status: StatusCode, idempotent: bool) -> bool {
    match status.as_u16() {
        429 | 503 => true,
        408 | 500 | 502 | 504 => idempotent,
        _ => false,
    }
}

/// `Retry-After`, in seconds or as a date, which is compared with the server's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = date(text)?;
    let now = date(headers.get(DATE)?.to_str().ok()?)?;
    let seconds = then.as_second().saturating_sub(now.as_second()).max(0);
    Some(Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn date(text: &str) -> Option<jiff::Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text.trim())
        .ok()
}

/// A random part of `most`, so that many who wait do not come back together.
pub(crate) fn jitter(most: Duration) -> Duration {
    // The standard library seeds each hasher with random keys; nothing here is secret.
    let random = RandomState::new().hash_one(0_u8) >> 32;
    let nanos = most.as_nanos().saturating_mul(u128::from(random)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Result<HttpAnswer, NetError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(
                name.parse::<reqwest::header::HeaderName>().unwrap(),
                value.parse().unwrap(),
            );
        }
        Ok(HttpAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            url: "http://localhost/a".parse().unwrap(),
            body: Vec::new(),
        })
    }

    fn request(method: Method) -> Request {
        Request::new(method, "http://localhost/a".parse().unwrap())
    }

    fn wait(
        method: Method,
        result: &Result<HttpAnswer, NetError>,
        repeats: u32,
    ) -> Option<Duration> {
        let limits = Limits::default();
        decide(&request(method), result, repeats, Duration::ZERO, &limits).unwrap()
    }

    #[test]
    fn what_is_repeated() {
        // REG-11
        for (status, get, post) in [
            (200, false, false),
            (401, false, false),
            (404, false, false),
            (408, true, false),
            (429, true, true),
            (500, true, false),
            (501, false, false),
            (503, true, true),
        ] {
            let result = answer(status, &[]);
            assert_eq!(wait(Method::GET, &result, 0).is_some(), get, "{status}");
            assert_eq!(wait(Method::POST, &result, 0).is_some(), post, "{status}");
            assert_eq!(wait(Method::GET, &result, 4), None, "{status}");
        }
    }

    #[test]
    fn waits_as_long_as_asked_and_no_longer_than_granted() {
        // REG-11
        let seconds = answer(429, &[("retry-after", "7")]);
        let asked = wait(Method::GET, &seconds, 0).unwrap();
        assert!(asked >= Duration::from_secs(7) && asked < Duration::from_secs(8));
        let date = answer(
            503,
            &[
                ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
                ("retry-after", "Sun, 06 Nov 1994 08:49:40 GMT"),
            ],
        );
        assert_eq!(wait(Method::PUT, &date, 0).unwrap().as_secs(), 3);
        let long = answer(429, &[("retry-after", "3600")]);
        let error = decide(
            &request(Method::GET),
            &long,
            0,
            Duration::ZERO,
            &Limits::default(),
        );
        assert!(matches!(error, Err(NetError::Wait { wait, .. }) if wait.as_secs() == 3600));
    }

    #[test]
    fn jitter_stays_below_its_bound() {
        for _ in 0..100 {
            assert!(jitter(Duration::from_secs(1)) < Duration::from_secs(1));
        }
        assert_eq!(jitter(Duration::ZERO), Duration::ZERO);
    }
}
