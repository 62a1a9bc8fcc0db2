//! What the service's answers mean for the user.

use std::time::Duration;

use azure_core::error::ErrorKind;
use azure_core::http::RawResponse;
use azure_core::http::headers::HeaderName;
use hardsign_plugin::Error;
use hardsign_plugin_kms::{Failure, Skew, brief, caused_by, innermost, untrusted};
use serde_json::Value;

use crate::SERVICE;
use crate::credential::Refused;

/// The longest pause that the service may ask for.
const MAX_PAUSE: u64 = 30;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// What was being done, for instance `signing with https://…`.
    pub(crate) what: &'a str,
    /// What the caller must be allowed, and a role that allows it.
    pub(crate) permission: &'a str,
}

/// An answer that is no success, or none at all.
pub(crate) fn failed(asked: Asked<'_>, error: &azure_core::Error) -> Failure {
    if let Some(Refused(error)) = caused_by::<Refused>(error) {
        return Failure::lasting(error.clone());
    }
    if let ErrorKind::HttpResponse {
        status,
        raw_response,
        ..
    } = error.kind()
    {
        let raw = raw_response.as_deref();
        return answered(asked, u16::from(*status), raw).after(raw.and_then(retry_after));
    }
    let why = innermost(error);
    let message = |what: &str| format!("{SERVICE}, {}: {what}: {why}", asked.what);
    match error.kind() {
        ErrorKind::DataConversion => Failure::lasting(
            Error::other(message("an answer that can't be read"))
                .with_hint("check the vault's address and the proxy settings"),
        ),
        ErrorKind::Connection | ErrorKind::Io if why.contains("certificate") => Failure::lasting(
            Error::other(message("the service can't be reached")).with_hint(untrusted(
                &why,
                "the certificate of the service or of a proxy is not trusted: set SSL_CERT_FILE to its CA",
            )),
        ),
        ErrorKind::Connection | ErrorKind::Io => Failure::unreached(
            Error::timeout(message("the service can't be reached"))
                .with_hint("check the vault's name, the network and the proxy settings"),
        ),
        _ => Failure::lasting(
            Error::other(message("failed")).with_hint("check the vault's address"),
        ),
    }
}

fn answered(asked: Asked<'_>, status: u16, raw: Option<&RawResponse>) -> Failure {
    let (code, said) = raw.map(said).unwrap_or_default();
    let said = match (said.as_str(), code.as_str()) {
        ("", "") => format!("status {status}"),
        ("", code) => code.to_owned(),
        (said, _) => said.to_owned(),
    };
    let message = format!("{SERVICE}, {}: {said}", asked.what);
    match (status, code.as_str()) {
        (403, "KeyDisabled" | "Disabled") => Failure::lasting(
            Error::validation(message).with_hint("enable the key, or name another version"),
        ),
        (403, "KeyExpired" | "KeyNotYetValid") => Failure::lasting(
            Error::validation(message)
                .with_hint("the key may not be used at this time: name another version, or make a new one"),
        ),
        (401, _) => Failure::lasting(Error::access_denied(message).with_hint(
            match raw.and_then(|raw| Skew::of(header(raw, "date"))) {
                // By a clock that is behind a token is good for longer than it is.
                Some(skew) => skew.to_string(),
                None => "the token is of another tenant or has expired: check AZURE_TENANT_ID, or log in again".to_owned(),
            },
        )),
        (403, "ForbiddenByFirewall" | "ForbiddenByConnection") => Failure::lasting(
            Error::access_denied(message)
                .with_hint("the vault's network rules don't let this machine in"),
        ),
        (403, _) => Failure::lasting(
            Error::access_denied(message).with_hint(format!("the caller needs {}", asked.permission)),
        ),
        (404, _) => Failure::missing(Error::validation(message).with_hint(
            "check the vault, the key and its version; `az keyvault key list` shows what is there, and a deleted key may be recovered",
        )),
        (409, _) => Failure::lasting(Error::validation(message).with_hint(
            "a key of this name may be deleted but not purged: recover it, or choose another name",
        )),
        (400 | 405 | 422, _) => {
            Failure::lasting(Error::validation(message).with_hint("check the key's type and its permitted operations"))
        }
        (408 | 429, _) => Failure::passing(
            Error::throttled(message).with_hint("set the plugin config rate=N, or try later"),
        ),
        (500..=599, _) => {
            Failure::passing(Error::other(message).with_hint("the service has a problem: try later"))
        }
        _ => Failure::lasting(Error::other(message)),
    }
}

/// `{"error":{"code":"Forbidden","message":"…","innererror":{"code":"KeyDisabled"}}}`: the inner code and
/// the message.
fn said(raw: &RawResponse) -> (String, String) {
    let body: Value = serde_json::from_slice(raw.body()).unwrap_or_default();
    let error = &body["error"];
    let text = |value: &Value| brief(value.as_str().unwrap_or_default());
    let code = match &error["innererror"]["code"] {
        Value::String(code) => brief(code),
        _ => text(&error["code"]),
    };
    (code, text(&error["message"]))
}

fn retry_after(raw: &RawResponse) -> Option<Duration> {
    let seconds: u64 = header(raw, "retry-after")?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(MAX_PAUSE)))
}

fn header<'a>(raw: &'a RawResponse, name: &'static str) -> Option<&'a str> {
    raw.headers()
        .get_optional_str(&HeaderName::from_static(name))
}
