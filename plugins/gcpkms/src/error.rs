//! What the service's answers mean for the user.

use std::time::Duration;

use google_cloud_gax::error::rpc::Code;
use hardsign_plugin::Error;
use hardsign_plugin_kms::{Failure, Skew, brief, innermost, untrusted};

use crate::SERVICE;
use crate::credentials::reason;

/// The longest pause that the service may ask for.
const MAX_PAUSE: u64 = 30;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// What was being done, for instance `signing with projects/…`.
    pub(crate) what: &'a str,
    /// The permission and a role that has it.
    pub(crate) permission: &'a str,
}

/// An answer that is no success, or none at all.
pub(crate) fn failed(asked: Asked<'_>, error: &google_cloud_gax::error::Error) -> Failure {
    let header = |name| error.http_headers()?.get(name)?.to_str().ok();
    let after = header("retry-after").and_then(|text| text.parse().ok());
    let after = after.map(|seconds: u64| Duration::from_secs(seconds.min(MAX_PAUSE)));
    let skew = Skew::of(header("date"));
    if let Some(status) = error.status() {
        return answered(asked, status.code, &status.message, skew).after(after);
    }
    if let Some(number) = error.http_status_code() {
        return answered(asked, code(number), &format!("status {number}"), skew).after(after);
    }
    if error.is_authentication() {
        return Failure::lasting(
            Error::access_denied(format!(
                "{SERVICE}, {}: the credentials failed: {}",
                asked.what,
                reason(error)
            ))
            .with_hint("check the credentials, and that the machine's clock is right"),
        );
    }
    let why = innermost(error);
    if error.is_deserialization() || error.is_serialization() || error.is_binding() {
        return Failure::lasting(
            Error::other(format!(
                "{SERVICE}, {}: an answer that can't be read: {why}",
                asked.what
            ))
            .with_hint("check the setting endpoint and the proxy settings"),
        );
    }
    let message = format!(
        "{SERVICE}, {}: the service can't be reached: {why}",
        asked.what
    );
    if why.contains("certificate") {
        return Failure::lasting(Error::other(message).with_hint(untrusted(
            &why,
            "the certificate of the service or of a proxy is not trusted: set SSL_CERT_FILE to its CA",
        )));
    }
    Failure::unreached(
        Error::timeout(message).with_hint("check the network, the endpoint and the proxy settings"),
    )
}

fn answered(asked: Asked<'_>, code: Code, said: &str, skew: Option<Skew>) -> Failure {
    let said = match brief(said) {
        said if said.is_empty() => code.name().to_owned(),
        said => said,
    };
    let message = format!("{SERVICE}, {}: {said}", asked.what);
    match code {
        Code::NotFound => Failure::missing(Error::validation(message).with_hint(
            "check project, location, key ring, key and version; `gcloud kms keys list` shows what is there",
        )),
        Code::PermissionDenied => Failure::lasting(Error::access_denied(message).with_hint(format!(
            "the caller needs {}; what is not there is answered the same",
            asked.permission
        ))),
        Code::Unauthenticated => Failure::lasting(Error::access_denied(message).with_hint(match skew {
            // The token of a service account's key begins and ends by it.
            Some(skew) => skew.to_string(),
            None => "the credentials are wrong or have expired: log in again, and check that the machine's clock is right".to_owned(),
        })),
        Code::FailedPrecondition if said.contains("DESTROY_SCHEDULED") => {
            Failure::lasting(Error::validation(message).with_hint(
                "have the version back with `gcloud kms keys versions restore` until it is destroyed, or name no version, so that the newest enabled one is taken",
            ))
        }
        Code::FailedPrecondition => Failure::lasting(Error::validation(message).with_hint(
            "enable the version, or name no version, so that the newest enabled one is taken",
        )),
        Code::AlreadyExists => {
            Failure::lasting(Error::validation(message).with_hint("choose another name"))
        }
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => {
            Failure::lasting(Error::validation(message).with_hint("check the key id and the location"))
        }
        Code::ResourceExhausted => Failure::passing(
            Error::throttled(message).with_hint("set the plugin config rate=N, or try later"),
        ),
        Code::Unavailable | Code::Internal | Code::DeadlineExceeded | Code::Aborted => {
            Failure::passing(Error::other(message).with_hint("the service has a problem: try later"))
        }
        _ => Failure::lasting(Error::other(message)),
    }
}

/// The code for an answer that does not say it.
fn code(http: u16) -> Code {
    match http {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        429 => Code::ResourceExhausted,
        500..=599 => Code::Unavailable,
        _ => Code::Unknown,
    }
}
