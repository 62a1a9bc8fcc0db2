//! The COSE envelope: COSE_Sign1_Tagged of RFC 9052 (COSE-01 to COSE-24).
//!
//! ```text
//! COSE_Sign1_Tagged = #6.18([
//!     protected: bstr .cbor {
//!         1 => int, 2 => [+ label], 3 => tstr,
//!         "io.cncf.notary.signingScheme" => tstr,
//!         ("io.cncf.notary.signingTime" // "io.cncf.notary.authenticSigningTime") => #6.1(int),
//!         ? "io.cncf.notary.expiry" => #6.1(int), * label => any },
//!     unprotected: {
//!         33 => [+ bstr], ? "io.cncf.notary.timestampSignature" => bstr,
//!         ? "io.cncf.notary.signingAgent" => tstr, ? "io.hardsign.attestation" => any },
//!     payload: bstr,
//!     signature: bstr ])
//! ```
//! Detached payloads, COSE_Sign and untagged messages are not read. The signature covers the
//! protected bytes as received, never an encoding made here (COSE-14).

use ciborium::Value;
use jiff::{SignedDuration, Timestamp};

use super::attributes::header;
use super::draft::Unprotected;
use super::error::clip;
use super::jws::require_critical;
use super::signature::{Parts, Protected, RawProtected, check_count};
use super::{
    ATTESTATION, AttributeKey, AttributeValue, CarriedEvidence, EnvelopeError, ExtendedAttribute,
    PAYLOAD_CONTENT_TYPE, SignedAttributes, SigningScheme, UnsignedAttributes, cbor,
};
use crate::algorithm::SignatureAlgorithm;

type Map = Vec<(Value, Value)>;

/// Reads the outer form: tag, array, headers as maps, chain and unsigned attributes.
pub(super) fn parse(bytes: &[u8]) -> Result<Parts, EnvelopeError> {
    if !bytes.starts_with(&PREFIX) {
        return Err(shape("not a COSE_Sign1_Tagged message"));
    }
    let body = bytes.get(1..).unwrap_or_default();
    let items = cbor::read(body).map_err(|source| EnvelopeError::Cbor { source })?;
    let [protected, unprotected, payload, signature] = array_of_four(items)?;
    let Value::Bytes(protected_bytes) = protected else {
        return Err(shape("the protected header is not a byte string"));
    };
    let Value::Map(unprotected) = unprotected else {
        return Err(shape("the unprotected header is not a map"));
    };
    let Value::Bytes(payload) = payload else {
        return Err(shape("the payload is not a byte string"));
    };
    let Value::Bytes(signature) = signature else {
        return Err(shape("the signature is not a byte string"));
    };
    if signature.is_empty() {
        return Err(EnvelopeError::CoseSignatureMissing);
    }
    let protected =
        cbor::read(&protected_bytes).map_err(|source| EnvelopeError::Cbor { source })?;
    let Value::Map(protected) = protected else {
        return Err(shape("the protected header does not hold a map"));
    };
    check_count(protected.len())?;
    check_count(unprotected.len())?;
    check_labels(&protected, &unprotected)?;
    let certificates = certificates(&protected, &unprotected)?;
    Ok(Parts {
        signed: sig_structure(&protected_bytes, &payload),
        protected: RawProtected::Cose(protected),
        payload,
        signature,
        certificates,
        unsigned: unsigned(&unprotected)?,
    })
}

fn shape(fault: &'static str) -> EnvelopeError {
    EnvelopeError::Shape { fault }
}

fn member(name: impl ToString, fault: &'static str) -> EnvelopeError {
    EnvelopeError::Member {
        name: name.to_string(),
        fault,
    }
}

fn array_of_four(items: Value) -> Result<[Value; 4], EnvelopeError> {
    match items {
        Value::Array(items) => {
            <[Value; 4]>::try_from(items).map_err(|_| shape("not an array of four"))
        }
        _ => Err(shape("not an array of four")),
    }
}

/// No label in both headers, except the chain (RFC 9052 §3); `crit` only protected.
fn check_labels(protected: &Map, unprotected: &Map) -> Result<(), EnvelopeError> {
    for (label, _) in unprotected {
        let shared = find(protected, label).is_some() && *label != Value::from(X5CHAIN);
        if shared || *label == Value::from(CRIT) {
            return Err(member(
                label_text(label),
                "must not stand in the unprotected header",
            ));
        }
    }
    Ok(())
}

/// COSE-16, COSE-17: `x5chain` from either header; where both have one, they must be the same.
fn certificates(protected: &Map, unprotected: &Map) -> Result<Vec<Vec<u8>>, EnvelopeError> {
    let label = Value::from(X5CHAIN);
    match (find(unprotected, &label), find(protected, &label)) {
        (None, None) => Ok(Vec::new()),
        (Some(chain), None) | (None, Some(chain)) => x5chain(chain),
        (Some(one), Some(other)) => {
            let (one, other) = (x5chain(one)?, x5chain(other)?);
            if one == other {
                Ok(one)
            } else {
                Err(EnvelopeError::ConflictingChains)
            }
        }
    }
}

fn x5chain(chain: &Value) -> Result<Vec<Vec<u8>>, EnvelopeError> {
    let items = match chain {
        Value::Bytes(single) => return Ok(vec![single.clone()]),
        Value::Array(items) => items,
        _ => return Err(EnvelopeError::CertificateChainMissing),
    };
    let mut certificates = Vec::new();
    for item in items {
        match item {
            Value::Bytes(der) => certificates.push(der.clone()),
            _ if certificates.is_empty() => return Err(EnvelopeError::CoseMalformedLeaf),
            _ => return Err(EnvelopeError::CertificateChainMissing),
        }
    }
    Ok(certificates)
}

/// COSE-19: a token of the wrong type is an error, a signing agent of the wrong type is ignored.
fn unsigned(unprotected: &Map) -> Result<UnsignedAttributes, EnvelopeError> {
    let timestamp_token = match find_text(unprotected, header::TIMESTAMP_SIGNATURE) {
        None => None,
        Some(Value::Bytes(token)) if !token.is_empty() => Some(token.clone()),
        Some(_) => {
            let fault = "must be a byte string that is not empty";
            return Err(member(header::TIMESTAMP_SIGNATURE, fault));
        }
    };
    let signing_agent = find_text(unprotected, header::SIGNING_AGENT)
        .and_then(Value::as_text)
        .map(str::to_owned);
    Ok(UnsignedAttributes {
        signing_agent,
        timestamp_token,
        attestation: find_text(unprotected, ATTESTATION).map(CarriedEvidence::from_cbor),
    })
}

/// Reads the meaning of a protected header.
pub(super) fn interpret(protected: &Map) -> Result<Protected, EnvelopeError> {
    let scheme = match find_text(protected, header::SIGNING_SCHEME) {
        Some(Value::Text(name)) => SigningScheme::from_name(name)
            .ok_or_else(|| EnvelopeError::UnsupportedCoseScheme { scheme: clip(name) })?,
        _ => return Err(EnvelopeError::InvalidCoseScheme),
    };
    let critical = critical(protected, scheme)?;
    let algorithm = algorithm(protected)?;
    let content_type = match find(protected, &Value::from(CONTENT_TYPE)) {
        None => return Err(EnvelopeError::ContentTypeMissing),
        Some(Value::Text(text)) => text.clone(),
        Some(_) => return Err(EnvelopeError::ContentTypeNotText),
    };
    let signing_time = signing_time(protected, scheme)?;
    let expiry =
        time(protected, header::EXPIRY).map_err(|fault| EnvelopeError::InvalidExpiry { fault })?;
    Ok(Protected {
        algorithm,
        content_type,
        attributes: SignedAttributes {
            signing_scheme: scheme,
            signing_time,
            expiry,
            extended: extended(protected, critical),
        },
    })
}

fn algorithm(protected: &Map) -> Result<SignatureAlgorithm, EnvelopeError> {
    let value = find(protected, &Value::from(ALG));
    value
        .and_then(Value::as_integer)
        .and_then(|id| i64::try_from(id).ok())
        .and_then(SignatureAlgorithm::from_cose_id)
        .ok_or_else(|| EnvelopeError::UnsupportedCoseAlgorithm {
            algorithm: value.map_or_else(String::new, label_text),
        })
}

/// The labels in `crit`, after every rule about them (COSE-06 to COSE-08).
fn critical(protected: &Map, scheme: SigningScheme) -> Result<&[Value], EnvelopeError> {
    let labels = match find(protected, &Value::from(CRIT)) {
        Some(Value::Array(labels)) if !labels.is_empty() => labels,
        None => return Err(EnvelopeError::CritMissing),
        Some(_) => return Err(member(CRIT, "must be an array of labels, not empty")),
    };
    check_count(labels.len())?;
    for (i, label) in labels.iter().enumerate() {
        let name = label_text(label);
        if labels.iter().take(i).any(|earlier| earlier == label) {
            return Err(EnvelopeError::CriticalRepeated { name });
        }
        match label {
            // Every integer label: the registered ones must not be listed, and of the others
            // none is understood by anybody (COSE-07, COSE-08, COSE-20).
            Value::Integer(_) => return Err(EnvelopeError::UnsupportedCritical { name }),
            Value::Text(_) => {}
            _ => return Err(member(CRIT, "must hold integer and text labels only")),
        }
        if find(protected, label).is_none() {
            return Err(EnvelopeError::CriticalNotPresent { name });
        }
    }
    let has_expiry = find_text(protected, header::EXPIRY).is_some();
    require_critical(scheme, has_expiry, |name| {
        labels.iter().any(|label| label.as_text() == Some(name))
    })?;
    Ok(labels)
}

/// ENV-20: each scheme has its own time, and only that.
fn signing_time(protected: &Map, scheme: SigningScheme) -> Result<Timestamp, EnvelopeError> {
    let (own, other) = match scheme {
        SigningScheme::X509 => (header::SIGNING_TIME, header::AUTHENTIC_SIGNING_TIME),
        SigningScheme::SigningAuthority => (header::AUTHENTIC_SIGNING_TIME, header::SIGNING_TIME),
    };
    if find_text(protected, other).is_some() {
        return Err(EnvelopeError::TimeOfOtherScheme {
            name: other,
            scheme: scheme.name(),
        });
    }
    let time = time(protected, own).map_err(|fault| EnvelopeError::InvalidSigningTime { fault })?;
    time.ok_or_else(|| EnvelopeError::InvalidSigningTime {
        fault: format!("protected header {own:?} is missing"),
    })
}

/// COSE-10, COSE-11: tag 1 over an integer or a finite float that a [`Timestamp`] can hold.
fn time(protected: &Map, name: &str) -> Result<Option<Timestamp>, String> {
    let content = match find_text(protected, name) {
        None => return Ok(None),
        Some(Value::Tag(1, content)) => content.as_ref(),
        Some(Value::Tag(..)) => {
            return Err("only Tag `1` Datetime CBOR object is supported".to_owned());
        }
        Some(_) => return Err(format!("header {name:?} time value does not have a tag")),
    };
    let time = match content {
        Value::Integer(seconds) => i64::try_from(*seconds)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok()),
        Value::Float(seconds) => SignedDuration::try_from_secs_f64(*seconds)
            .ok()
            .and_then(|duration| Timestamp::from_duration(duration).ok()),
        _ => return Err("invalid timeValue type".to_owned()),
    };
    match time {
        Some(time) => Ok(Some(time)),
        None => Err(format!("header {name:?} time value is out of range")),
    }
}

/// COSE-20: every protected label that the specification does not define.
fn extended(protected: &Map, critical: &[Value]) -> Vec<ExtendedAttribute> {
    let mut extended = Vec::new();
    for (label, value) in protected {
        let key = match label {
            Value::Text(name) if DEFINED_NAMES.contains(&name.as_str()) => continue,
            Value::Text(name) => AttributeKey::Text(name.clone()),
            Value::Integer(number) => match i128::from(*number) {
                ALG_LABEL | CRIT_LABEL | CONTENT_TYPE_LABEL | X5CHAIN_LABEL => continue,
                number => AttributeKey::Integer(number),
            },
            // The reader allows no other keys.
            _ => continue,
        };
        extended.push(ExtendedAttribute {
            key,
            value: AttributeValue::Cbor(value.clone()),
            critical: critical.contains(label),
        });
    }
    extended
}

fn find<'a>(map: &'a Map, label: &Value) -> Option<&'a Value> {
    map.iter().find(|(l, _)| l == label).map(|(_, value)| value)
}

fn find_text<'a>(map: &'a Map, name: &str) -> Option<&'a Value> {
    map.iter()
        .find(|(label, _)| label.as_text() == Some(name))
        .map(|(_, value)| value)
}

fn label_text(label: &Value) -> String {
    match label {
        Value::Integer(number) => i128::from(*number).to_string(),
        Value::Text(text) => clip(text),
        other => clip(&format!("{other:?}")),
    }
}

/// `Sig_structure = ["Signature1", protected, external_aad = h'', payload]` (COSE-14)
fn sig_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    cbor::write(&Value::Array(vec![
        Value::from("Signature1"),
        Value::Bytes(protected.to_vec()),
        Value::Bytes(Vec::new()),
        Value::Bytes(payload.to_vec()),
    ]))
}

/// What is signed: the protected bytes and the payload that will stand in the envelope.
pub(super) struct Encoded {
    protected: Vec<u8>,
    payload: Vec<u8>,
}

impl Encoded {
    pub(super) fn new(
        algorithm: SignatureAlgorithm,
        attributes: &SignedAttributes,
        payload: &[u8],
    ) -> Self {
        Self {
            protected: cbor::write(&protected_map(algorithm, attributes)),
            payload: payload.to_vec(),
        }
    }

    /// The Sig_structure (COSE-21).
    pub(super) fn to_be_signed(&self) -> Vec<u8> {
        sig_structure(&self.protected, &self.payload)
    }

    /// The envelope, in deterministic encoding (COSE-12, COSE-16).
    pub(super) fn assemble(&self, unprotected: Unprotected<'_>) -> Vec<u8> {
        let Unprotected {
            signed,
            token,
            attestation,
        } = unprotected;
        let certificates = signed.certificate_chain.ders().iter();
        let certificates = certificates.map(|der| Value::Bytes(der.clone())).collect();
        let mut unprotected = vec![(Value::from(X5CHAIN), Value::Array(certificates))];
        if let Some(token) = token {
            let token = Value::Bytes(token.to_vec());
            unprotected.push((Value::from(header::TIMESTAMP_SIGNATURE), token));
        }
        if !signed.signing_agent.is_empty() {
            let agent = Value::from(signed.signing_agent.as_str());
            unprotected.push((Value::from(header::SIGNING_AGENT), agent));
        }
        if let Some(evidence) = attestation {
            unprotected.push((Value::from(ATTESTATION), evidence.to_cbor()));
        }
        cbor::write(&Value::Tag(
            18,
            Box::new(Value::Array(vec![
                Value::Bytes(self.protected.clone()),
                Value::Map(unprotected),
                Value::Bytes(self.payload.clone()),
                Value::Bytes(signed.signature.clone()),
            ])),
        ))
    }
}

/// `crit` in the order of the reference (COSE-09); the writer sorts the map.
fn protected_map(algorithm: SignatureAlgorithm, attributes: &SignedAttributes) -> Value {
    let epoch = |time: Timestamp| Value::Tag(1, Box::new(Value::from(time.as_second())));
    let mut crit = vec![Value::from(header::SIGNING_SCHEME)];
    let time_label = match attributes.signing_scheme {
        SigningScheme::X509 => header::SIGNING_TIME,
        SigningScheme::SigningAuthority => {
            crit.push(Value::from(header::AUTHENTIC_SIGNING_TIME));
            header::AUTHENTIC_SIGNING_TIME
        }
    };
    let mut members = vec![
        (Value::from(ALG), Value::from(algorithm.cose_id())),
        (Value::from(CONTENT_TYPE), Value::from(PAYLOAD_CONTENT_TYPE)),
        (
            Value::from(header::SIGNING_SCHEME),
            Value::from(attributes.signing_scheme.name()),
        ),
        (Value::from(time_label), epoch(attributes.signing_time)),
    ];
    if let Some(expiry) = attributes.expiry {
        crit.push(Value::from(header::EXPIRY));
        members.push((Value::from(header::EXPIRY), epoch(expiry)));
    }
    members.push((Value::from(CRIT), Value::Array(crit)));
    Value::Map(members)
}

/// Tag 18, array of four (COSE-01).
const PREFIX: [u8; 2] = [0xd2, 0x84];
const ALG: i32 = 1;
const CRIT: i32 = 2;
const CONTENT_TYPE: i32 = 3;
const X5CHAIN: i32 = 33;
const ALG_LABEL: i128 = 1;
const CRIT_LABEL: i128 = 2;
const CONTENT_TYPE_LABEL: i128 = 3;
const X5CHAIN_LABEL: i128 = 33;
const DEFINED_NAMES: [&str; 4] = [
    header::SIGNING_SCHEME,
    header::SIGNING_TIME,
    header::AUTHENTIC_SIGNING_TIME,
    header::EXPIRY,
];
