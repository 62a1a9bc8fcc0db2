//! A rejected signature: who signed it, what was expected and what was found instead, and the command that
//! comes next.

use hardsign_core::policy::Check;
use hardsign_core::revocation::{Checked, Status};
use hardsign_core::verify::{
    AuthenticityError, Compared, Rejected, RevocationFailure, Step, TimestampFailure,
};
use serde_json::{Map, Value, json};

use super::Asked;
use crate::output::json;
use crate::output::signer::holder;

/// Name and value of each thing, the cause's first.
pub(super) fn rows(rejected: &Rejected) -> Vec<(&'static str, String)> {
    let Some(compared) = rejected.compared() else {
        return Vec::new();
    };
    let mut rows = cause(rejected, compared);
    rows.push(("signer", compared.signer.subject.clone()));
    rows.push(("SHA-256", compared.signer.sha256.clone()));
    rows.push(("signed", compared.signing_time.to_string()));
    rows
}

/// The same for one of several: what was expected and what was found, and the signer where that is not the
/// same.
pub(super) fn in_short(rejected: &Rejected) -> Vec<(&'static str, String)> {
    let Some(compared) = rejected.compared() else {
        return Vec::new();
    };
    let mut rows = cause(rejected, compared);
    if Kind::of(rejected) != Kind::Identity {
        rows.push(("signer", compared.signer.subject.clone()));
    }
    rows
}

/// Why it is not accepted: what was expected, and what was found.
fn cause(rejected: &Rejected, compared: &Compared) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    for difference in &compared.differences {
        let said = |value: &Option<String>| match value {
            Some(value) if difference.is_metadata => format!("{}={value}", difference.name),
            Some(value) => format!("{} {value}", in_words(&difference.name)),
            None => format!("no {}", in_words(&difference.name)),
        };
        rows.push(("expected", said(&difference.expected)));
        rows.push(("actual", said(&difference.actual)));
    }
    let now = || compared.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    match Kind::of(rejected) {
        Kind::Identity => {
            rows.push(("expected", compared.identities.join("; or ")));
            rows.push(("actual", compared.signer.subject.clone()));
        }
        Kind::Untrusted => {
            rows.push((
                "expected",
                in_stores("a certificate of its chain", compared),
            ));
            rows.push(("actual", format!("root {}", compared.root.subject)));
            rows.push(("SHA-256", compared.root.sha256.clone()));
        }
        Kind::Expired => {
            if let Some(expiry) = compared.expiry {
                rows.push(("expired", expiry.to_string()));
                rows.push(("now", now()));
            }
        }
        Kind::NoTimestamp => {
            let what = "a timestamp by an authority whose root is";
            rows.push(("expected", in_stores(what, compared)));
            rows.push(("actual", "no timestamp".to_owned()));
        }
        Kind::Untimed => rows.push(("now", now())),
        Kind::Revoked => rows.extend(revoked_by(rejected)),
        Kind::Other => {}
    }
    rows
}

/// What is known of the certificate that is revoked.
fn revoked(rejected: &Rejected) -> Option<&Checked> {
    let mut checked = rejected.report().certificates.iter();
    checked.find(|checked| matches!(checked.status, Status::Revoked))
}

/// Who says that a certificate is revoked.
fn revoked_by(rejected: &Rejected) -> Option<(&'static str, String)> {
    let revoked = revoked(rejected)?;
    let source = revoked.source.as_ref()?;
    let since = revoked.revoked_at.map(|at| format!("at {at}, "));
    let since = since.unwrap_or_default();
    let by = format!("{} of {}", source.method.name(), source.url);
    Some(("revoked", format!("{since}as {by} says")))
}

fn in_stores(what: &str, compared: &Compared) -> String {
    match compared.stores.as_slice() {
        [] => format!(
            "{what} in a trust store, but statement {:?} names none of the type",
            compared.statement
        ),
        stores => format!("{what} in trust store {}", stores.join(" or ")),
    }
}

fn in_words(name: &str) -> &str {
    match name {
        "mediaType" => "media type",
        other => other,
    }
}

/// What a script gets to know beside `signature` and `error`.
pub(super) fn members(rejected: &Rejected) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("check".to_owned(), rejected.step().name().into());
    let Some(compared) = rejected.compared() else {
        return members;
    };
    let (expected, actual) = both(rejected, compared);
    let all = [
        ("expected", expected),
        ("actual", actual),
        ("signer", holder(&compared.signer)),
        ("signingTime", compared.signing_time.to_string().into()),
    ];
    members.extend(all.map(|(name, value)| (name.to_owned(), value)));
    members
}

fn both(rejected: &Rejected, compared: &Compared) -> (Value, Value) {
    match Kind::of(rejected) {
        Kind::Identity => (
            json!({"trustedIdentities": compared.identities}),
            json!({"subject": compared.signer.subject}),
        ),
        Kind::Untrusted => (
            json!({"trustStores": compared.stores}),
            json!({"root": holder(&compared.root)}),
        ),
        Kind::Expired => (
            json!({"validAt": compared.now.to_string()}),
            json!({"expiry": compared.expiry.map(|expiry| expiry.to_string())}),
        ),
        Kind::NoTimestamp => (
            json!({"validAt": compared.now.to_string(), "trustStores": compared.stores}),
            Value::Null,
        ),
        Kind::Untimed => (json!({"validAt": compared.now.to_string()}), Value::Null),
        Kind::Revoked => (
            json!({"status": Status::Good.name()}),
            revoked(rejected).map_or(Value::Null, json::checked),
        ),
        Kind::Other if compared.differences.is_empty() => (Value::Null, Value::Null),
        _ => (
            of_differences(compared, |difference| &difference.expected),
            of_differences(compared, |difference| &difference.actual),
        ),
    }
}

fn of_differences(
    compared: &Compared,
    side: fn(&hardsign_core::verify::Difference) -> &Option<String>,
) -> Value {
    let (mut members, mut metadata) = (Map::new(), Map::new());
    for difference in &compared.differences {
        let value = match side(difference) {
            Some(size) if difference.name == "size" && !difference.is_metadata => {
                size.parse::<u64>().map_or(Value::Null, Value::from)
            }
            value => json!(value),
        };
        match difference.is_metadata {
            true => metadata.insert(difference.name.clone(), value),
            false => members.insert(difference.name.clone(), value),
        };
    }
    if !metadata.is_empty() {
        members.insert("userMetadata".to_owned(), Value::Object(metadata));
    }
    Value::Object(members)
}

/// What to do about it: the next command, as it can be typed.
pub(super) fn next(
    rejected: &Rejected,
    asked: &Asked<'_>,
    reference: &str,
    file: Option<&str>,
    several: bool,
) -> Option<String> {
    let compared = rejected.compared()?;
    let inspect = asked.inspect(reference, file);
    Some(match (Kind::of(rejected), rejected.step()) {
        (kind @ (Kind::Identity | Kind::Untrusted), _) => {
            let trust = match asked.policy() {
                Some(policy) => in_file(kind, compared, policy),
                None => format!(
                    "`{}` shows it, asks, and trusts it",
                    asked.add_signer(compared, reference, file, several)
                ),
            };
            format!("if this signer is to be trusted, {trust}; `{inspect}` shows the signature")
        }
        (Kind::Expired, _) => format!(
            "`{}` signs it anew; --expiry says for how long",
            asked.sign(reference, file)
        ),
        (Kind::NoTimestamp, _) => format!(
            "`{} --timestamp-url URL --timestamp-root-cert FILE` signs it anew with a timestamp",
            asked.sign(reference, file)
        ),
        (Kind::Revoked, _) => format!(
            "have it signed by somebody whose certificate is good; `{inspect}` shows the signature"
        ),
        (_, Step::Content | Step::UserMetadata) => {
            format!("`{inspect}` shows what was signed")
        }
        _ => format!("`{inspect}` shows the signature"),
    })
}

/// What to write into a policy for one run, so that it trusts the signer.
fn in_file(kind: Kind, compared: &Compared, policy: &str) -> String {
    let what = match kind {
        Kind::Untrusted => format!(
            "a trust store with the root \"{}\" to trustStores",
            compared.root.subject
        ),
        _ => format!(
            "\"x509.subject: {}\" to trustedIdentities",
            compared.signer.subject
        ),
    };
    format!(
        "add {what} of the statement {:?} in {policy}",
        compared.statement
    )
}

/// Why it is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Identity,
    Untrusted,
    Expired,
    Untimed,
    NoTimestamp,
    Revoked,
    Other,
}

impl Kind {
    fn of(rejected: &Rejected) -> Self {
        let report = rejected.report();
        match rejected.step() {
            Step::Policy(Check::Authenticity) => match report.authenticity.error() {
                Some(AuthenticityError::Untrusted(_)) => Self::Untrusted,
                Some(AuthenticityError::Identity(_)) => Self::Identity,
                _ => Self::Other,
            },
            Step::Policy(Check::Expiry) => Self::Expired,
            Step::Policy(Check::AuthenticTimestamp) => match report.authentic_timestamp.error() {
                Some(TimestampFailure::NoToken) => Self::NoTimestamp,
                _ => Self::Untimed,
            },
            Step::Policy(Check::Revocation) => match report.revocation.error() {
                Some(RevocationFailure::Chain(_)) => Self::Revoked,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}
