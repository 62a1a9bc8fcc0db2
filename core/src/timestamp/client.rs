//! The way to a timestamping authority and back: RFC 3161 over HTTP (§3.4). It carries bytes and
//! decides nothing; one client serves a batch over connections that stay open.

use std::time::Duration;

use super::request::Request;
use crate::artifact::Quoted;
use crate::event::Listener;
use crate::net::{self, ClientOptions, HeaderValue, Method, NetError, StatusCode, Url};

/// Time for a request and its answer, repetitions included (TSA-05).
const TIMEOUT: Duration = Duration::from_secs(15);

/// Most bytes of an answer: less than 1 MiB (TSA-06).
const MAX_RESPONSE: u64 = 1024 * 1024 - 1;

const QUERY: &str = "application/timestamp-query";
const REPLY: &str = "application/timestamp-reply";

/// A client of one timestamping authority. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: net::Client,
    url: Url,
    /// The URL as it was typed, without what may be secret in it.
    shown: String,
}

/// Why there is no answer of the authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Not an http or https URL with a host, or one with a user name.
    // TSA-05
    #[error(
        "{} is not the http or https URL of a timestamping authority",
        Quoted(url)
    )]
    Url {
        /// What was given, less what may be secret.
        url: String,
    },
    /// No client can be made.
    #[error(transparent)]
    Setup(NetError),
    /// The exchange failed.
    // TSA-09
    #[error("Post {}: {}", Quoted(url), cause.reason())]
    Net {
        /// The authority.
        url: String,
        /// Why. Not a source: the text holds what it says.
        cause: NetError,
    },
    /// The exchange took too long.
    // TSA-05
    #[error("Post {}: no complete answer within {} seconds", Quoted(url), TIMEOUT.as_secs())]
    Timeout {
        /// The authority.
        url: String,
    },
    /// A status other than 200.
    // TSA-06
    #[error(
        "Post {}: the timestamping authority answered with status {status}",
        Quoted(url)
    )]
    Status {
        /// The authority.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// Another content type than RFC 3161 gives answers.
    // TSA-06
    #[error(
        "Post {}: the answer has the content type {} in place of {REPLY}",
        Quoted(url),
        Quoted(found)
    )]
    ContentType {
        /// The authority.
        url: String,
        /// The type, empty for none.
        found: String,
    },
}

impl Client {
    /// A client of the authority at `url`.
    ///
    /// # Errors
    /// [`ClientError::Url`], [`ClientError::Setup`].
    // TSA-05
    pub fn new(url: &str, listener: Listener) -> Result<Self, ClientError> {
        let typed = url;
        let url = parse_url(typed).ok_or_else(|| ClientError::Url {
            url: without_secrets(typed),
        })?;
        let mut options = ClientOptions {
            listener,
            ..ClientOptions::default()
        };
        let limits = &mut options.limits;
        // `ask` has a clock of its own, which is the one to run out.
        limits.connect = TIMEOUT * 2;
        limits.idle = TIMEOUT * 2;
        limits.total = TIMEOUT * 2;
        limits.repeat_total = TIMEOUT;
        // Time is not granted by size.
        limits.min_rate = u64::MAX;
        Ok(Self {
            http: net::Client::new(&options).map_err(ClientError::Setup)?,
            url,
            shown: without_secrets(typed),
        })
    }

    /// The authority, as it may be shown.
    pub fn url(&self) -> &str {
        &self.shown
    }

    /// Sends a request; the answer's content is not looked at.
    ///
    /// # Errors
    /// [`ClientError`].
    // TSA-05, TSA-06
    pub async fn ask(&self, request: &Request) -> Result<Vec<u8>, ClientError> {
        let url = || self.shown.clone();
        let post = net::Request::new(Method::POST, self.url.clone())
            .header(net::CONTENT_TYPE, HeaderValue::from_static(QUERY))
            .header(net::ACCEPT, HeaderValue::from_static(REPLY))
            .body(request.to_der());
        let exchange = self.http.exchange(&post, MAX_RESPONSE);
        let answer = match tokio::time::timeout(TIMEOUT, exchange).await {
            Err(_) => return Err(ClientError::Timeout { url: url() }),
            Ok(Err(cause)) => return Err(ClientError::Net { url: url(), cause }),
            Ok(Ok(answer)) => answer,
        };
        if answer.status != StatusCode::OK {
            let status = answer.status;
            return Err(ClientError::Status { url: url(), status });
        }
        let found = answer.headers.get(net::CONTENT_TYPE);
        if !found.is_some_and(is_reply) {
            let found = found.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            return Err(ClientError::ContentType {
                url: url(),
                found: found.unwrap_or_default(),
            });
        }
        Ok(answer.body)
    }
}

/// Whether a `Content-Type` is that of an answer, in any case and with any parameters, which add
/// nothing to a binary type (RFC 9110 §8.3.1).
fn is_reply(value: &HeaderValue) -> bool {
    let value = value.to_str().unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case(REPLY)
}

fn parse_url(typed: &str) -> Option<Url> {
    let url = Url::parse(typed).ok()?;
    let good = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none();
    good.then_some(url)
}

/// A URL as typed, less its query, its fragment, and all before an `@`.
fn without_secrets(typed: &str) -> String {
    let end = typed.find(['?', '#']).unwrap_or(typed.len());
    let shown = typed.get(..end).unwrap_or_default();
    match shown.rsplit_once('@') {
        None => shown.to_owned(),
        Some((_, host)) => format!("…@{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TSA-06: the media type decides; parameters and case say nothing.
    #[test]
    fn tsa_06_content_types() {
        for (value, good) in [
            ("application/timestamp-reply", true),
            ("application/timestamp-reply;charset=UTF-8", true),
            ("application/timestamp-reply ; charset=utf-8; x=y", true),
            ("Application/Timestamp-Reply", true),
            ("application/timestamp-reply2", false),
            ("application/timestamp-query", false),
            ("text/html; application/timestamp-reply", false),
            ("application/octet-stream", false),
            ("", false),
        ] {
            assert_eq!(is_reply(&HeaderValue::from_static(value)), good, "{value}");
        }
    }

    /// TSA-05: the scheme and the host; nothing secret is shown.
    #[test]
    fn urls() {
        for good in [
            "http://localhost.test",
            "https://tsa.example.com:8443/tsr?key=x",
        ] {
            assert!(Client::new(good, Listener::NOBODY).is_ok(), "{good}");
        }
        for (bad, shown) in [
            ("dummy", "dummy"),
            ("", ""),
            ("ftp://tsa.example.com", "ftp://tsa.example.com"),
            (
                "https://user:secret@tsa.example.com/a?b",
                "…@tsa.example.com/a",
            ),
        ] {
            let error = Client::new(bad, Listener::NOBODY).err();
            let Some(ClientError::Url { url }) = error else {
                panic!("{bad}: {error:?}");
            };
            assert_eq!(url, shown);
        }
        let client = Client::new("http://localhost.test?secret#x", Listener::NOBODY).unwrap();
        assert_eq!(client.url(), "http://localhost.test");
    }
}
