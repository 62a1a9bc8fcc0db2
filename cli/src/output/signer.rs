//! Who signed, and what that rests on: of a signature that was verified, for people and as JSON.

use hardsign_core::envelope::SigningScheme;
use hardsign_core::timestamp;
use hardsign_core::trust::Anchor;
use hardsign_core::verify::{Holder, VerifiedSignature};
use hardsign_core::x509::Certificate;
use serde_json::{Value, json};

use super::device;

/// Name and value of each thing that is known.
pub(crate) fn rows(signature: &VerifiedSignature) -> Vec<(&'static str, String)> {
    let signed = signature.signature();
    let attributes = signed.attributes();
    let leaf = signed.chain().leaf();
    let word = match attributes.signing_scheme {
        SigningScheme::X509 => "by the signer's own clock",
        SigningScheme::SigningAuthority => "by the signing authority's clock",
    };
    let mut rows = vec![
        ("signer", leaf.subject().to_string()),
        ("SHA-256", leaf.thumbprint_hex()),
        ("signed", format!("{}, {word}", attributes.signing_time)),
        ("timestamp", timestamp_in_words(signature)),
    ];
    if let Some(expiry) = attributes.expiry {
        rows.push(("expires", expiry.to_string()));
    }
    rows.push(("trusted", trusted_in_words(signature.anchors())));
    if let Some(attested) = signature.report().attested.as_deref() {
        let stated: Vec<_> = device::rows(attested.device())
            .into_iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        rows.push(("hardware", format!("proven: {}", stated.join(", "))));
    }
    rows
}

/// The same in one line.
pub(crate) fn in_short(signature: &VerifiedSignature) -> String {
    let leaf = signature.signature().chain().leaf();
    format!(
        "signed by {} (SHA-256 {}), {}",
        leaf.subject(),
        leaf.thumbprint_hex(),
        match &signature.report().timestamp {
            Some(verified) => format!("timestamped {}", verified.range().latest),
            None => format!("{}", signature.signature().attributes().signing_time),
        }
    )
}

fn timestamp_in_words(signature: &VerifiedSignature) -> String {
    let is_there = signature.signature().unsigned().timestamp_token.is_some();
    match (&signature.report().timestamp, is_there) {
        (Some(verified), _) => format!(
            "{} by {}",
            verified.range().latest,
            verified.chain().leaf().subject()
        ),
        (None, true) => "there, but not needed under this policy, and not looked at".to_owned(),
        (None, false) => "none".to_owned(),
    }
}

fn trusted_in_words(anchors: &[Anchor]) -> String {
    let Some(first) = anchors.first() else {
        return "by no trust store; the policy only logs that".to_owned();
    };
    let stores: Vec<_> = anchors.iter().map(|a| a.store.to_string()).collect();
    format!(
        "by trust store {} through {}",
        stores.join(" and "),
        first.certificate.subject()
    )
}

/// A certificate in short, as JSON has it everywhere.
pub(crate) fn certificate(certificate: &Certificate) -> Value {
    holder(&Holder::of(certificate))
}

/// The same of one that is kept in short.
pub(crate) fn holder(holder: &Holder) -> Value {
    json!({"subject": holder.subject, "sha256Fingerprint": holder.sha256})
}

/// The timestamp that was verified; null where none was looked at.
pub(crate) fn timestamp(verified: Option<&timestamp::Verified>) -> Value {
    verified.map_or(Value::Null, |verified| {
        json!({
            "earliest": verified.range().earliest.to_string(),
            "latest": verified.range().latest.to_string(),
            "authority": certificate(verified.chain().leaf()),
        })
    })
}

/// The stores that trust the chain, each with the certificate by which it does.
pub(crate) fn trusted_by(anchors: &[Anchor]) -> Vec<Value> {
    let one = |anchor: &Anchor| {
        json!({
            "trustStore": anchor.store.to_string(),
            "certificate": certificate(&anchor.certificate),
        })
    };
    anchors.iter().map(one).collect()
}
