//! One signature as `inspect` and `blob inspect` show it: a tree or JSON (CLI-46 to CLI-58).
//!
//! Nothing shown here is verified; what the signature does not cover stands under
//! `unsigned attributes` (SEC-30).

use std::collections::HashSet;
use std::error::Error;

use hardsign_core::artifact::Digest;
use hardsign_core::attestation::{AttestationError, Device, Evidence};
use hardsign_core::config::formats::json::go::is_named;
use hardsign_core::envelope::{
    AttributeValue, CarriedEvidence, CarriedFault, Content, ExtendedAttribute, Format,
    PAYLOAD_CONTENT_TYPE,
};
use hardsign_core::text::WithCauses;
use hardsign_core::timestamp::{Range, Token, TokenError};
use hardsign_core::x509::Certificate;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::tree::Node;
use super::{device, rfc3339};

/// Adds the signature below `parent`, as a node named `name`.
pub(crate) fn tree(parent: &mut Node, name: &str, format: Format, content: &Content) {
    let node = parent.add(name);
    fill(node, format, content);
}

/// The signature as a tree of its own, with `name` as its root.
pub(crate) fn root(name: &str, format: Format, content: &Content) -> Node {
    let mut node = Node::new(name);
    fill(&mut node, format, content);
    node
}

fn fill(node: &mut Node, format: Format, content: &Content) {
    node.pair("signature algorithm", content.algorithm);
    node.pair("signature envelope type", format.media_type());
    let attributes = &content.attributes;
    let signed = node.add("signed attributes");
    signed.pair("content type", PAYLOAD_CONTENT_TYPE);
    signed.pair("signing scheme", attributes.signing_scheme);
    signed.pair("signing time", ansi_c(attributes.signing_time));
    if let Some(expiry) = attributes.expiry {
        signed.pair("expiry", ansi_c(expiry));
    }
    let (own, posing): (Vec<_>, Vec<_>) = all_extended(content)
        .into_iter()
        .partition(|(key, _)| !is_standard(key) && !looks_standard(key));
    for (key, value) in own {
        signed.pair(&key, value);
    }
    if !posing.is_empty() {
        // Under a name that a standard attribute has, or could have.
        let node = signed.add("extended attributes");
        for (key, value) in posing {
            node.pair(&key, value);
        }
    }
    let user = node.add("user defined attributes");
    if content.payload.target.annotations.is_empty() {
        user.add("(empty)");
    }
    for (key, value) in &content.payload.target.annotations {
        user.pair(key, value);
    }
    let unsigned = node.add("unsigned attributes");
    if let Some(agent) = &content.unsigned.signing_agent {
        unsigned.pair("signing agent", agent);
    }
    if let Some(token) = &content.unsigned.timestamp_token {
        let node = unsigned.add("timestamp signature");
        match timestamp(token, content) {
            Ok((range, token)) => {
                node.pair("timestamp", range.written(ansi_c));
                certificate_nodes(node, token.danger_certificates());
            }
            Err(error) => node.pair("error", unreadable(&error)),
        }
    }
    if let Some(carried) = &content.unsigned.attestation {
        let node = unsigned.add("hardware attestation");
        match claimed(carried) {
            Ok((device, evidence)) => {
                let is_about = is_about_leaf(&evidence, content);
                node.pair("about the signing key", if is_about { "yes" } else { "no" });
                for (name, value) in device::rows(&device) {
                    node.pair(name, value);
                }
                certificate_nodes(node, evidence.certificates());
            }
            Err(error) => node.pair("error", error),
        }
    }
    certificate_nodes(node, content.chain.certificates());
    let artifact = node.add("signed artifact");
    artifact.pair("media type", &content.payload.target.media_type);
    artifact.pair("digest", &content.payload.target.digest);
    artifact.pair("size", content.payload.target.size);
}

/// What a device states in the evidence that a signature carries, and the evidence. Nobody vouches for
/// either here.
fn claimed(carried: &Result<CarriedEvidence, CarriedFault>) -> Result<(Device, Evidence), String> {
    let failed = |error: &(dyn Error + 'static)| {
        format!("failed to read hardware attestation: {}", WithCauses(error))
    };
    let carried = carried.as_ref().map_err(|fault| failed(fault))?;
    let evidence = carried.evidence().map_err(|error| failed(&error))?;
    let device = evidence.danger_claims();
    let device = device.map_err(|fault| failed(&AttestationError::Statement(fault)))?;
    Ok((device, evidence))
}

fn is_about_leaf(evidence: &Evidence, content: &Content) -> bool {
    let key = content.chain.leaf().public_key();
    key.is_ok_and(|key| evidence.is_about(key))
}

fn certificate_nodes<'c>(node: &mut Node, certificates: impl IntoIterator<Item = &'c Certificate>) {
    let node = node.add("certificates");
    for certificate in certificates {
        let one = node.add(format!(
            "SHA256 fingerprint: {}",
            certificate.thumbprint_hex()
        ));
        one.pair("issued to", certificate.subject());
        one.pair("issued by", certificate.issuer());
        one.pair(
            "expiry",
            certificate.not_after_utc().strftime(ANSI_C).to_string(),
        );
    }
}

/// The time that a token claims for this signature, and the token itself (TSA-38).
fn timestamp(token: &[u8], content: &Content) -> Result<(Range, Token), TokenError> {
    let token = Token::parse(token)?;
    Ok((token.danger_range(&content.signature_bytes)?, token))
}

fn unreadable(error: &TokenError) -> String {
    let causes = WithCauses(error);
    format!("failed to parse timestamp countersignature: {causes}")
}

/// The signature as JSON, members in the reference's order (CLI-52, CLI-53).
pub(crate) fn json(digest: Option<&Digest>, format: Format, content: &Content) -> Value {
    let target = &content.payload.target;
    let mut signature = Map::new();
    if let Some(digest) = digest {
        signature.insert("digest".to_owned(), json!(digest));
    }
    let extended = all_extended(content);
    let members = [
        ("signatureAlgorithm", json!(content.algorithm)),
        ("signatureEnvelopeType", json!(format.media_type())),
        ("signedAttributes", signed_attributes(content, &extended)),
        (
            "userDefinedAttributes",
            if target.annotations.is_empty() {
                Value::Null
            } else {
                json!(target.annotations)
            },
        ),
        ("unsignedAttributes", unsigned_attributes(content)),
        ("certificates", certificates(content.chain.certificates())),
        (
            "signedArtifact",
            json!({"mediaType": target.media_type, "digest": target.digest, "size": target.size}),
        ),
    ];
    for (name, value) in members {
        signature.insert(name.to_owned(), value);
        if name == "signedAttributes" && !extended.is_empty() {
            let all = extended
                .iter()
                .map(|(key, value)| (key.clone(), json!(value)));
            signature.insert("extendedAttributes".to_owned(), all.collect());
        }
    }
    Value::Object(signature)
}

/// The standard attributes, and of the extended ones those that can't be taken for one of them.
fn signed_attributes(content: &Content, extended: &[(String, String)]) -> Value {
    let attributes = &content.attributes;
    let mut members = vec![
        ("contentType".to_owned(), json!(PAYLOAD_CONTENT_TYPE)),
        (
            "signingScheme".to_owned(),
            json!(attributes.signing_scheme.to_string()),
        ),
        (
            "signingTime".to_owned(),
            json!(attributes.signing_time.to_string()),
        ),
    ];
    if let Some(expiry) = attributes.expiry {
        members.push(("expiry".to_owned(), json!(expiry.to_string())));
    }
    let own = extended.iter().filter(|(key, _)| !is_standard(key));
    members.extend(own.map(|(key, value)| (key.clone(), json!(value))));
    members.sort_by(|a, b| a.0.cmp(&b.0));
    Value::Object(members.into_iter().collect())
}

fn unsigned_attributes(content: &Content) -> Value {
    let mut members = Map::new();
    if let Some(agent) = &content.unsigned.signing_agent {
        members.insert("signingAgent".to_owned(), json!(agent));
    }
    if let Some(token) = &content.unsigned.timestamp_token {
        let timestamp = match timestamp(token, content) {
            Ok((range, token)) => json!({
                "timestamp": range.to_string(),
                "certificates": certificates(token.danger_certificates()),
            }),
            Err(error) => json!({"error": unreadable(&error)}),
        };
        members.insert("timestampSignature".to_owned(), timestamp);
    }
    if let Some(carried) = &content.unsigned.attestation {
        let attestation = match claimed(carried) {
            Ok((device, evidence)) => {
                let mut shown = Map::new();
                let is_about = is_about_leaf(&evidence, content);
                shown.insert("aboutSigningKey".to_owned(), json!(is_about));
                shown.extend(device::stated(&device));
                let above = evidence.certificates().map(certificate).collect();
                shown.insert("certificates".to_owned(), above);
                Value::Object(shown)
            }
            Err(error) => json!({"error": error}),
        };
        members.insert("attestation".to_owned(), attestation);
    }
    Value::Object(members)
}

fn certificates(certificates: &[Certificate]) -> Value {
    certificates.iter().map(certificate).collect()
}

fn certificate(certificate: &Certificate) -> Value {
    json!({
        "SHA256Fingerprint": certificate.thumbprint_hex(),
        "issuedTo": certificate.subject().to_string(),
        "issuedBy": certificate.issuer().to_string(),
        "expiry": rfc3339(certificate.not_after_utc()),
    })
}

/// Names and values of the extended attributes, in the signature's order. Where two have one text,
/// a number and a string in COSE, the later ones are told apart.
fn all_extended(content: &Content) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut taken = HashSet::new();
    for attribute in &content.attributes.extended {
        let (name, value) = extended(attribute);
        let mut key = name.clone();
        let mut number = 1;
        while !taken.insert(key.clone()) {
            number += 1;
            key = format!("{name} ({number})");
        }
        all.push((key, value));
    }
    all
}

/// Whether a reader could take an attribute of that name for a standard one: many compare names
/// without regard to case, and a signature without an expiry must not seem to have one.
fn is_standard(key: &str) -> bool {
    STANDARD.iter().any(|name| is_named(key.trim(), name))
}

/// Whether a line that begins with this name looks like that of a standard attribute.
fn looks_standard(key: &str) -> bool {
    let key = key.trim().to_lowercase();
    let labels = ["content type", "expiry", "signing scheme", "signing time"];
    labels.iter().any(|label| key.starts_with(label))
}

/// The standard attributes under `signedAttributes`.
const STANDARD: [&str; 4] = ["contentType", "expiry", "signingScheme", "signingTime"];

fn extended(attribute: &ExtendedAttribute) -> (String, String) {
    let value = match &attribute.value {
        AttributeValue::Json(hardsign_core::envelope::JsonValue::String(text)) => text.clone(),
        other => other
            .to_json()
            .map_or_else(|| format!("{other:?}"), |value| value.to_json()),
    };
    (attribute.key.to_string(), value)
}

/// `Tue Jan  7 08:42:43 2025` (CLI-50).
fn ansi_c(time: Timestamp) -> String {
    time.strftime(ANSI_C).to_string()
}

const ANSI_C: &str = "%a %b %e %H:%M:%S %Y";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cli_50_day_is_padded_with_a_space() {
        let time: Timestamp = "2025-01-07T08:42:43Z".parse().unwrap();
        assert_eq!(ansi_c(time), "Tue Jan  7 08:42:43 2025");
    }
}
