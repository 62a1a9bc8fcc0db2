//! What the debug log shows of each request and answer (LOG-03 to LOG-05): no body, and nothing
//! secret.

use std::fmt;
use std::sync::Arc;

use reqwest::Url;
use reqwest::header::HeaderMap;

use crate::artifact::Quoted;

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

/// Somebody who is told of each request and answer, and of each credential helper, one message
/// each.
#[derive(Clone)]
pub struct Trace(Arc<dyn Fn(&str) + Send + Sync>);

impl Trace {
    /// Hands every message to `sink`.
    pub fn new(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Tells something that is neither.
    pub(crate) fn tell(&self, message: &str) {
        (self.0)(message);
    }

    pub(super) fn request(&self, id: u64, request: &reqwest::Request) {
        (self.0)(&format!(
            "Request #{id}\n> Request: {} {}\n> Request headers:\n{}\n\n\n",
            Quoted(request.method().as_str()),
            Quoted(&address(request.url())),
            headers(request.headers())
        ));
    }

    pub(super) fn response(
        &self,
        id: u64,
        url: &Url,
        result: &Result<reqwest::Response, reqwest::Error>,
    ) {
        match result {
            Ok(response) => (self.0)(&format!(
                "Response #{id}\n< Response status: {}\n< Response headers:\n{}\n\n\n",
                Quoted(&response.status().to_string()),
                headers(response.headers())
            )),
            // The error itself reaches the user with its causes.
            Err(_) => (self.0)(&format!(
                "No response obtained for request #{id} {}",
                Quoted(&address(url))
            )),
        }
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trace")
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

fn headers(headers: &HeaderMap) -> String {
    if headers.is_empty() {
        return "   Empty header".to_owned();
    }
    let lines: Vec<String> = headers
        .keys()
        .map(|name| {
            let value = if SECRET_HEADERS.contains(&name.as_str()) {
                HIDDEN.to_owned()
            } else {
                let values = headers.get_all(name).iter();
                let texts: Vec<_> = values
                    .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
                    .collect();
                match (name.as_str(), texts.join(", ")) {
                    ("location", text) => without_query(&text),
                    (_, text) => text,
                }
            };
            format!(
                "   {}: {}",
                Quoted(&canonical(name.as_str())),
                Quoted(&value)
            )
        })
        .collect();
    lines.join("\n")
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
        let text = headers(&map);
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
