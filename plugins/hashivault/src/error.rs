//! What the server's answers mean for the user.

use hardsign_plugin::Error;
use hardsign_plugin_kms::{Failure, Skew, innermost, untrusted};
use reqwest::StatusCode;
use serde_json::Value;

use crate::SERVICE;

/// How a deleted key is had back.
pub(crate) const RESTORE: &str =
    "have it restored (`bao write -f transit/keys/NAME/soft-delete-restore`), or use another key";

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// What was being done, for instance `signing with key "k"`.
    pub(crate) what: &'a str,
    /// What a policy has to allow, for instance `update on transit/sign/k`.
    pub(crate) capability: &'a str,
}

/// An answer that is no success; `skew` is what its date says of this machine's clock.
pub(crate) fn answered(
    asked: Asked<'_>,
    status: StatusCode,
    body: &Value,
    skew: Option<Skew>,
) -> Failure {
    let said = said(body);
    let number = status.as_u16();
    let message = match said.as_str() {
        "" => format!("{SERVICE}, {}: status {number}", asked.what),
        said => format!("{SERVICE}, {}: {said}", asked.what),
    };
    match number {
        300..=399 => Failure::lasting(Error::other(message).with_hint(
            "the server sends requests elsewhere: set VAULT_ADDR to the active node, since a token is not sent after a redirect",
        )),
        400 | 401 | 403 if asked.what.starts_with("login") => {
            let hint = match skew {
                _ if !is_of_time(&said) => "check the role, the secret, and where the login method is mounted (login-mount); a secret id may have been used up".to_owned(),
                Some(skew) => format!("{skew}; a JWT is good for a few minutes only: get a new one just before signing"),
                None => "the JWT has expired or is not valid yet: get a new one just before signing; if it is new, the clocks of its issuer and of the server differ".to_owned(),
            };
            Failure::lasting(Error::access_denied(message).with_hint(hint))
        }
        400 => Failure::lasting(Error::validation(message).with_hint(
            "check the key, its version and the mount: it may have been changed meanwhile",
        )),
        401 | 403 => Failure::lasting(Error::access_denied(message).with_hint(format!(
            "the token may have expired, or its policy does not allow {}",
            asked.capability
        ))),
        404 => Failure::missing(Error::validation(message).with_hint(
            "check the name of the key, the mount and the namespace; `vault list transit/keys` shows what is there",
        )),
        429 => Failure::passing(throttled(message)).undone(),
        412 | 472 | 473 | 408 => Failure::passing(throttled(message)),
        503 if said.contains("sealed") => Failure::lasting(
            Error::other(message).with_hint("the server is sealed: its operators have to unseal it"),
        ),
        500 => failed(&said, message),
        501..=599 => {
            Failure::passing(Error::other(message).with_hint("the server has a problem: try later"))
        }
        _ => Failure::lasting(Error::other(message)),
    }
}

/// The status 500: the server answers it for its own failures, which pass, and for requests that it can't do, which are
/// for ever the same.
fn failed(said: &str, message: String) -> Failure {
    if said.contains("soft-deleted") {
        return Failure::lasting(Error::validation(message).with_hint(RESTORE));
    }
    if said.contains("does not match the selected key version") {
        return Failure::lasting(Error::validation(message).with_hint(
            "the first certificate has to be that of this version of the key: name another version, or another certificate",
        ));
    }
    let passes = said.is_empty() || PASSING.iter().any(|words| said.contains(words));
    match passes {
        true => {
            Failure::passing(Error::other(message).with_hint("the server has a problem: try later"))
        }
        false => Failure::once_more(Error::other(message).with_hint(
            "the server has a problem, or can't do this: its operators find the reason in its log",
        )),
    }
}

/// What the server says of failures of its own: of its store, of its cluster, or of its patience.
const PASSING: [&str; 8] = [
    "internal error",
    "local node not active",
    "no active",
    "leader",
    "storage",
    "deadline exceeded",
    "context canceled",
    "timeout",
];

fn throttled(message: String) -> Error {
    Error::throttled(message).with_hint("set the plugin config rate=N, or try later")
}

/// Whether a token was refused for the time of its claims (RFC 7519 §4.1.4 to §4.1.6).
fn is_of_time(said: &str) -> bool {
    [
        "(exp)",
        "(nbf)",
        "(iat)",
        "token is expired",
        "not yet valid",
    ]
    .iter()
    .any(|word| said.contains(word))
}

/// The server can't be reached, or broke off.
pub(crate) fn unreachable(asked: Asked<'_>, error: &reqwest::Error) -> Failure {
    let text = innermost(error);
    let message = format!(
        "{SERVICE}, {}: the server can't be reached: {text}",
        asked.what
    );
    if text.contains("certificate") {
        return Failure::lasting(Error::other(message).with_hint(untrusted(
            &text,
            "set VAULT_CACERT or the plugin config ca-cert to the CA of the server's certificate",
        )));
    }
    let failure = Failure::unreached(
        Error::timeout(message).with_hint("check VAULT_ADDR, the network and the proxy settings"),
    );
    match error.is_connect() {
        true => failure.undone(),
        false => failure,
    }
}

/// `{"errors":["…","…"]}`
fn said(body: &Value) -> String {
    let errors = body.get("errors").and_then(Value::as_array);
    let lines = errors.into_iter().flatten().filter_map(Value::as_str);
    let text = lines.collect::<Vec<_>>().join("; ");
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(500)
        .collect()
}

#[cfg(test)]
mod tests {
    use hardsign_plugin::Context;
    use hardsign_plugin::error::ErrorCode;
    use hardsign_plugin_kms::Pace;
    use serde_json::json;

    use super::*;

    const ASKED: Asked<'_> = Asked {
        what: "signing with key \"k\"",
        capability: "update on transit/sign/k",
    };

    /// How often a request is sent that is always answered so, and the error.
    fn tries(status: u16, said: &str) -> (u32, Error) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        Context::for_tests(|context| {
            let mut tries = 0;
            let pace = Pace::new(SERVICE, None);
            let asked = pace.ask(context, || {
                tries += 1;
                let status = StatusCode::from_u16(status).unwrap();
                let body = json!({"errors": [said]});
                std::future::ready(Err::<(), _>(answered(ASKED, status, &body, None)))
            });
            let error = runtime.block_on(asked).unwrap_err();
            (tries, error)
        })
    }

    /// What passes is waited for; what the server refuses with the same status is told.
    #[test]
    fn a_refusal_is_no_outage() {
        for (status, said) in [
            (500, ""),
            (500, "1 error occurred: * internal error"),
            (
                500,
                "local node not active but active cluster node not found",
            ),
            (500, "context deadline exceeded"),
            (502, ""),
            (429, "request rejected by rate limit quota"),
        ] {
            let (tries, _) = tries(status, said);
            assert!(tries > 5, "{status} {said}: {tries}");
        }
        let mismatch = "1 error occurred: * leaf certificate public key does not match the selected key version";
        for (said, code, most, hint) in [
            (
                mismatch,
                ErrorCode::ValidationError,
                1,
                "another certificate",
            ),
            (
                "key \"k\" is soft-deleted",
                ErrorCode::ValidationError,
                1,
                "restore",
            ),
            ("no such thing can be done", ErrorCode::Error, 3, "log"),
        ] {
            let (tries, error) = tries(500, said);
            assert_eq!(tries, most, "{said}");
            assert_eq!(error.code(), &code, "{said}");
            assert!(error.hint().unwrap().contains(hint), "{error:?}");
        }
    }
}
