//! What a registry can answer that is not what was asked for.

use std::fmt;

use serde::Deserialize;

use crate::artifact::Quoted;
use crate::net::{HttpAnswer, Method, NetError, StatusCode, shown};
use crate::oci::auth::AuthError;
use crate::oci::manifest::ManifestError;

/// Most errors that are shown of one answer.
const MAX_FAULTS: usize = 5;
/// Most characters that are shown of one error's message.
const MAX_MESSAGE: usize = 300;

/// Why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// No answer.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The registry could not be told who we are.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// An answer with a status that was not asked for.
    #[error("{method} {url}: response status code {status}: {faults}")]
    Status {
        /// Method of the request.
        method: Method,
        /// URL of the request, without its query.
        url: String,
        /// The status.
        status: u16,
        /// What the registry says.
        faults: Faults,
    },
    /// Content that was not handed out.
    #[error("GET {url}: response status code {status}")]
    BlobStatus {
        /// URL of the request, without its query.
        url: String,
        /// The status.
        status: u16,
    },
    /// A registry or repository of which no URL can be made.
    #[error("{} is not the address of anything in a registry", Quoted(.0))]
    Address(String),
    /// Credentials were given for one registry, and this is another.
    // REG-05
    #[error(
        "the user name and password that were given are for {first}, and are not sent to {registry}"
    )]
    OtherRegistry {
        /// The registry that they are for.
        first: String,
        /// The other.
        registry: String,
    },
    /// An answer with an unexpected media type.
    #[error("{url}: unexpected Content-Type {}", Quoted(found))]
    MediaType {
        /// URL of the request, without its query.
        url: String,
        /// What was found.
        found: String,
    },
    /// A manifest of another media type than the index or list that names it says.
    #[error(
        "{url}: unexpected Content-Type {}, not {}",
        Quoted(found),
        Quoted(expected)
    )]
    OtherType {
        /// URL of the request, without its query.
        url: String,
        /// What the descriptor says.
        expected: String,
        /// What was found.
        found: String,
    },
    /// An upload that has no address.
    #[error("{url}: the registry accepted an upload and gave no usable Location")]
    Location {
        /// URL of the request, without its query.
        url: String,
    },
    /// An upload that would leave HTTPS.
    #[error("{url}: refusing to upload to {location}, which is not on HTTPS")]
    Downgrade {
        /// URL of the request, without its query.
        url: String,
        /// Where the upload would go.
        location: String,
    },
    /// A list of referrers that continues on another host.
    #[error("{url}: refusing to follow the list of referrers to {next}")]
    Link {
        /// URL of the request, without its query.
        url: String,
        /// Where the list continues.
        next: String,
    },
    /// A list of referrers that is none.
    #[error("{url}: the list of referrers cannot be read")]
    Referrers {
        /// URL of the request, without its query.
        url: String,
        /// What is wrong with the list.
        #[source]
        source: ManifestError,
    },
    /// The index of the tag schema has no room.
    #[error("the referrers index {tag} would have {size} bytes, more than registries store")]
    IndexFull {
        /// The tag.
        tag: String,
        /// Size in bytes.
        size: usize,
    },
    /// Something else stands under the referrers tag.
    #[error(
        "the referrers tag {tag} leads to {found}, not to a list of what is attached to the artifact"
    )]
    TagOccupied {
        /// The tag.
        tag: String,
        /// What stands there.
        found: String,
    },
    /// The registry takes a list under the tag, and goes on to answer with what was there.
    #[error(
        "the registry took a list under the referrers tag {tag} and answers with what was there before"
    )]
    TagUnchanged {
        /// The tag.
        tag: String,
        /// How often it was written.
        attempts: u32,
    },
    /// Other writers replaced the index each time.
    // OCI-28
    #[error("the referrers index {tag} was overwritten by others {attempts} times")]
    Contention {
        /// The tag.
        tag: String,
        /// How often it was written.
        attempts: u32,
    },
}

/// The errors in a registry's answer (distribution specification, "Error Codes"). The texts are
/// the registry's, shortened and escaped.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Faults {
    /// The codes, for example `NAME_UNKNOWN`.
    codes: Vec<String>,
    text: String,
}

#[derive(Deserialize)]
struct Body {
    errors: Vec<Fault>,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
}

impl Faults {
    /// Reads the body of an answer with that status.
    pub fn read(status: u16, body: &[u8]) -> Self {
        let body: Option<Body> = crate::json::from_slice(body).ok();
        let faults = body.map(|b| b.errors).unwrap_or_default();
        if faults.is_empty() {
            let status = StatusCode::from_u16(status).ok();
            let reason = status.and_then(|s| s.canonical_reason());
            let reason = reason.unwrap_or("unknown");
            return Self {
                codes: Vec::new(),
                text: reason.to_lowercase(),
            };
        }
        let texts: Vec<String> = faults.iter().take(MAX_FAULTS).map(text).collect();
        Self {
            text: texts.join("; "),
            codes: faults.into_iter().map(|f| f.code).collect(),
        }
    }

    /// Whether the answer has a list of errors, as none but a registry gives it.
    pub fn is_from_registry(&self) -> bool {
        !self.codes.is_empty()
    }

    /// Whether one of the errors has that code.
    pub fn has(&self, code: &str) -> bool {
        self.codes.iter().any(|c| c == code)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `unauthorized: authentication required`.
fn text(fault: &Fault) -> String {
    let clean = |text: &str| {
        let short: String = text.chars().take(MAX_MESSAGE).collect();
        // Escaped like a quoted text, without the quotes (SEC-29).
        let quoted = Quoted(&short).to_string();
        let inner = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"'));
        inner.unwrap_or_default().replace("\\\"", "\"")
    };
    let code = clean(&fault.code).to_lowercase().replace('_', " ");
    match fault.message.as_deref() {
        Some(message) if !message.is_empty() => format!("{code}: {}", clean(message)),
        _ => code,
    }
}

impl RegistryError {
    /// Whether the registry, or its token service, did not answer or has no answer now (429, 5xx): it has said neither yes nor
    /// no, and another try may end otherwise.
    pub fn is_outage(&self) -> bool {
        let unanswered = |error: &NetError| {
            matches!(
                error,
                NetError::Transport { .. } | NetError::Timeout { .. } | NetError::Wait { .. }
            )
        };
        match self {
            Self::Net(error) | Self::Auth(AuthError::Net { source: error, .. }) => {
                unanswered(error)
            }
            Self::Status { status, .. }
            | Self::BlobStatus { status, .. }
            | Self::Auth(AuthError::Refused { status, .. }) => *status >= 500 || *status == 429,
            _ => false,
        }
    }

    /// The error of an answer with an unexpected status.
    pub(crate) fn status(method: &Method, answer: &HttpAnswer) -> Self {
        Self::Status {
            method: method.clone(),
            url: shown(&answer.url),
            status: answer.status.as_u16(),
            faults: Faults::read(answer.status.as_u16(), &answer.body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(status: u16, body: &str) -> Faults {
        let answer = HttpAnswer::new(
            StatusCode::from_u16(status).unwrap(),
            "http://localhost/v2/".parse().unwrap(),
            body.as_bytes().to_vec(),
        );
        match RegistryError::status(&Method::GET, &answer) {
            RegistryError::Status { faults, .. } => faults,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn an_outage_is_no_refusal() {
        let of = |status: u16| {
            let url = "https://r.example/v2/".to_owned();
            let (registry, realm) = ("r.example".to_owned(), url.clone());
            [
                RegistryError::BlobStatus { url, status },
                RegistryError::Auth(AuthError::Refused {
                    registry,
                    realm,
                    status,
                }),
            ]
        };
        for (status, outage) in [
            (429, true),
            (500, true),
            (503, true),
            (401, false),
            (404, false),
        ] {
            for error in of(status) {
                assert_eq!(error.is_outage(), outage, "{error}");
            }
        }
        let required = AuthError::CredentialRequired {
            registry: "r.example".to_owned(),
        };
        assert!(!RegistryError::Auth(required).is_outage());
    }

    #[test]
    fn faults_are_readable_and_harmless() {
        // REG-07, SEC-29
        for (status, body, text) in [
            (401, "", "unauthorized"),
            (401, "<html>", "unauthorized"),
            (
                401,
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[1]}]}"#,
                "unauthorized: authentication required",
            ),
            (
                404,
                r#"{"errors":[{"code":"NAME_UNKNOWN"},{"code":"A","message":"say \"hi\"\u001b[2J"}]}"#,
                r#"name unknown; a: say "hi"\x1b[2J"#,
            ),
        ] {
            assert_eq!(faults(status, body).to_string(), text);
        }
        let long = format!(
            r#"{{"errors":[{{"code":"A","message":"{}"}}]}}"#,
            "x".repeat(9999)
        );
        assert!(faults(400, &long).to_string().len() < 400);
    }
}
