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
        412 | 429 | 472 | 473 | 408 => {
            Failure::passing(Error::throttled(message).with_hint("set the plugin config rate=N, or try later"))
        }
        503 if said.contains("sealed") => Failure::lasting(
            Error::other(message).with_hint("the server is sealed: its operators have to unseal it"),
        ),
        // The server's own status for it, for ever the same.
        500 if said.contains("soft-deleted") => {
            Failure::lasting(Error::validation(message).with_hint(RESTORE))
        }
        500..=599 => {
            Failure::passing(Error::other(message).with_hint("the server has a problem: try later"))
        }
        _ => Failure::lasting(Error::other(message)),
    }
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
    Failure::unreached(
        Error::timeout(message).with_hint("check VAULT_ADDR, the network and the proxy settings"),
    )
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
