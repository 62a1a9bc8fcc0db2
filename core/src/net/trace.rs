//! What the debug log shows of each request and answer (LOG-03 to LOG-05): no body, and nothing
//! secret.

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName};

use crate::event::{Event, Listener, Observer as _};

/// What stands for a secret (LOG-04).
const HIDDEN: &str = "*****";
/// Headers whose value is secret.
const SECRET_HEADERS: [&str; 4] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
];
/// Members of a query that are known to hold no secret; all others are hidden.
const OPEN_MEMBERS: [&str; 9] = [
    "account",
    "artifactType",
    "digest",
    "from",
    "last",
    "mount",
    "n",
    "scope",
    "service",
];

/// Tells of a request.
pub(super) fn request(listener: &Listener, id: u64, request: &reqwest::Request) {
    if !listener.wants_messages() {
        return;
    }
    listener.observe(&Event::HttpRequest {
        id,
        method: request.method().as_str(),
        url: &address(request.url()),
        headers: &headers(request.headers()),
    });
}

/// Tells of an answer, or that there is none.
pub(super) fn response(
    listener: &Listener,
    id: u64,
    url: &Url,
    result: &Result<reqwest::Response, reqwest::Error>,
) {
    if !listener.wants_messages() {
        return;
    }
    match result {
        Ok(response) => listener.observe(&Event::HttpResponse {
            id,
            status: &response.status().to_string(),
            headers: &headers(response.headers()),
        }),
        Err(_) => listener.observe(&Event::HttpUnanswered {
            id,
            url: &address(url),
        }),
    }
}

fn address(url: &Url) -> String {
    let mut shown = url.clone();
    if url.query().is_some() {
        let pairs = url.query_pairs().map(|(name, value)| {
            let open = OPEN_MEMBERS.contains(&&*name);
            let value = if open {
                value.into_owned()
            } else {
                HIDDEN.to_owned()
            };
            (name.into_owned(), value)
        });
        let pairs: Vec<(String, String)> = pairs.collect();
        shown.query_pairs_mut().clear().extend_pairs(pairs);
    }
    shown.to_string()
}

fn headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = |name: &HeaderName| {
        let sensitive = headers.get_all(name).iter().any(|v| v.is_sensitive());
        if sensitive || SECRET_HEADERS.contains(&name.as_str()) {
            return HIDDEN.to_owned();
        }
        let values = headers.get_all(name).iter();
        let texts: Vec<_> = values
            .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
            .collect();
        match (name.as_str(), texts.join(", ")) {
            ("location", text) => without_query(&text),
            (_, text) => text,
        }
    };
    let pair = |name: &HeaderName| (canonical(name.as_str()), shown(name));
    headers.keys().map(pair).collect()
}

/// An address, relative or not; what stands in its query may be a signature.
fn without_query(text: &str) -> String {
    match text.split_once('?') {
        Some((address, _)) => format!("{address}?{HIDDEN}"),
        None => text.to_owned(),
    }
}

/// `content-type` as `Content-Type`.
fn canonical(name: &str) -> String {
    let parts: Vec<String> = name
        .split('-')
        .map(|part| {
            let mut chars = part.chars();
            let first = chars.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(chars).collect()
        })
        .collect();
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_04_secrets_are_hidden() {
        // LOG-03, LOG-05: a redirect's target is an address with a signature in its query.
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Basic hunter2"),
            ("location", "https://cdn.example/?sig=hunter2"),
            ("set-cookie", "a=hunter2"),
            ("content-type", "application/ocsp-response"),
        ] {
            map.append(name, value.parse().unwrap());
        }
        let event = Event::HttpResponse {
            id: 0,
            status: "200 OK",
            headers: &headers(&map),
        };
        let text = event.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("   \"Content-Type\": \"application/ocsp-response\""));
        assert!(text.contains("   \"Authorization\": \"*****\""));
        assert!(text.contains("   \"Location\": \"https://cdn.example/?*****\""));
        let url = "https://h.example/v2/?artifactType=a&token=hunter2";
        assert_eq!(
            address(&url.parse().unwrap()),
            "https://h.example/v2/?artifactType=a&token=*****"
        );
    }
}
