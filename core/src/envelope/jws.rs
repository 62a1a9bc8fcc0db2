//! The JWS envelope: flattened JSON serialization of RFC 7515 (JWS-01 to JWS-29).
//!
//! ```json
//! {"payload":"<base64url>","protected":"<base64url>","header":{"x5c":["<base64>"],
//!  "io.cncf.notary.signingAgent":"…"},"signature":"<base64url>"}
//! ```
//! with the protected header
//! ```json
//! {"alg":"PS256","crit":["io.cncf.notary.signingScheme"],
//!  "cty":"application/vnd.cncf.notary.payload.v1+json",
//!  "io.cncf.notary.signingScheme":"notary.x509",
//!  "io.cncf.notary.signingTime":"2026-01-02T03:04:05Z"}
//! ```
//! Compact and general serialization, RFC 7797 payloads and unknown members are not read.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::attributes::header;
use super::draft::Unprotected;
use super::error::clip;
use super::signature::{JSON_LIMITS, Parts, Protected, RawProtected, check_chain_len, check_count};
use super::{
    ATTESTATION, AttributeKey, AttributeValue, CarriedEvidence, EnvelopeError, ExtendedAttribute,
    PAYLOAD_CONTENT_TYPE, SignedAttributes, SigningScheme, UnsignedAttributes,
};
use crate::algorithm::SignatureAlgorithm;
use crate::json::{self, Value};

/// Reads the outer form: members, base64, JSON of the protected header.
pub(super) fn parse(bytes: &[u8]) -> Result<Parts, EnvelopeError> {
    let envelope =
        json::parse(bytes, JSON_LIMITS).map_err(|source| EnvelopeError::Json { source })?;
    let members = envelope.as_object().ok_or(EnvelopeError::Shape {
        fault: "not a JSON object",
    })?;
    if let Some((name, _)) = members.iter().find(|(n, _)| !MEMBERS.contains(&n.as_str())) {
        return Err(EnvelopeError::Member {
            name: clip(name),
            fault: "is not a member of the flattened JWS JSON serialization",
        });
    }
    if envelope.get(HEADER).is_none() {
        // What the reference says of an envelope without one.
        return Err(EnvelopeError::CertificateChainMissing);
    }
    let protected_text = text(&envelope, PROTECTED)?;
    let payload_text = text(&envelope, PAYLOAD)?;
    let payload = base64url(payload_text, PAYLOAD)?;
    let signature = base64url(text(&envelope, SIGNATURE)?, SIGNATURE)?;
    if signature.is_empty() {
        return Err(EnvelopeError::JwsSignatureMissing);
    }
    let protected =
        URL_SAFE_NO_PAD
            .decode(protected_text)
            .map_err(|_| EnvelopeError::ProtectedShape {
                fault: "not base64url without padding".to_owned(),
            })?;
    let protected = json::parse(&protected, JSON_LIMITS)
        .map_err(|source| EnvelopeError::ProtectedJson { source })?;
    let (certificates, unsigned) = unprotected(&envelope)?;
    Ok(Parts {
        protected: RawProtected::Jws(protected),
        payload,
        signed: format!("{protected_text}.{payload_text}").into_bytes(),
        signature,
        certificates,
        unsigned,
    })
}

fn text<'a>(envelope: &'a Value, name: &'static str) -> Result<&'a str, EnvelopeError> {
    let fault = "must be a string";
    envelope
        .get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| EnvelopeError::Member {
            name: name.to_owned(),
            fault,
        })
}

/// JWS-14: no padding, no line breaks, no stray bits.
fn base64url(text: &str, name: &'static str) -> Result<Vec<u8>, EnvelopeError> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| EnvelopeError::Member {
            name: name.to_owned(),
            fault: "is not base64url without padding",
        })
}

/// The unprotected header: chain and unsigned attributes. Unknown members are ignored (JWS-24).
fn unprotected(envelope: &Value) -> Result<(Vec<Vec<u8>>, UnsignedAttributes), EnvelopeError> {
    let member = |name: &str, fault: &'static str| EnvelopeError::Member {
        name: clip(name),
        fault,
    };
    let header = envelope.get(HEADER);
    let members = header
        .and_then(Value::as_object)
        .ok_or_else(|| member(HEADER, "must be an object"))?;
    check_count(members.len())?;
    let known = [X5C, header::TIMESTAMP_SIGNATURE, header::SIGNING_AGENT];
    let mut certificates = Vec::new();
    let mut unsigned = UnsignedAttributes::default();
    for (name, value) in members {
        if json::is_case_variant(name, &known) {
            return Err(member(name, "differs from a known header only in case"));
        }
        match name.as_str() {
            X5C => {
                let items = value
                    .as_array()
                    .ok_or_else(|| member(X5C, "must be an array"))?;
                check_chain_len(items.len())?;
                for item in items {
                    certificates.push(base64_standard(item, X5C)?);
                }
            }
            header::TIMESTAMP_SIGNATURE => {
                let token = base64_standard(value, header::TIMESTAMP_SIGNATURE)?;
                if token.is_empty() {
                    return Err(member(header::TIMESTAMP_SIGNATURE, "is empty"));
                }
                unsigned.timestamp_token = Some(token);
            }
            header::SIGNING_AGENT => {
                let agent = value.as_str();
                let agent =
                    agent.ok_or_else(|| member(header::SIGNING_AGENT, "must be a string"))?;
                unsigned.signing_agent = Some(agent.to_owned());
            }
            ATTESTATION => unsigned.attestation = Some(CarriedEvidence::from_json(value)),
            _ => {}
        }
    }
    Ok((certificates, unsigned))
}

/// Standard base64 with padding (JWS-16, JWS-17).
fn base64_standard(value: &Value, name: &str) -> Result<Vec<u8>, EnvelopeError> {
    value
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or_else(|| EnvelopeError::Member {
            name: name.to_owned(),
            fault: "is not standard base64 with padding",
        })
}

/// Reads the meaning of a protected header.
pub(super) fn interpret(protected: &Value) -> Result<Protected, EnvelopeError> {
    let members = protected
        .as_object()
        .ok_or_else(|| fault("not an object"))?;
    check_count(members.len())?;
    for (name, _) in members {
        if json::is_case_variant(name, &PROTECTED_NAMES) {
            return Err(fault(format!(
                "{name:?} differs from a known header only in case"
            )));
        }
    }
    let signing_scheme = scheme(protected)?;
    let signing_time = signing_time(protected, signing_scheme)?;
    let expiry = time(protected, header::EXPIRY)?;
    let critical = critical(protected, signing_scheme, expiry.is_some())?;
    let algorithm = optional_text(protected, ALG)?.unwrap_or_default();
    let algorithm = SignatureAlgorithm::from_jws_name(algorithm).ok_or_else(|| {
        EnvelopeError::UnsupportedJwsAlgorithm {
            algorithm: clip(algorithm),
        }
    })?;
    let extended = members
        .iter()
        .filter(|(name, _)| !PROTECTED_NAMES.contains(&name.as_str()))
        .map(|(name, value)| ExtendedAttribute {
            key: AttributeKey::Text(name.clone()),
            value: AttributeValue::Json(value.clone()),
            critical: critical.contains(&name.as_str()),
        })
        .collect();
    Ok(Protected {
        algorithm,
        content_type: optional_text(protected, CTY)?
            .unwrap_or_default()
            .to_owned(),
        attributes: SignedAttributes {
            signing_scheme,
            signing_time,
            expiry,
            extended,
        },
    })
}

fn fault(fault: impl Into<String>) -> EnvelopeError {
    EnvelopeError::ProtectedShape {
        fault: fault.into(),
    }
}

fn optional_text<'a>(protected: &'a Value, name: &str) -> Result<Option<&'a str>, EnvelopeError> {
    match protected.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(fault(format!("{name:?} must be a string"))),
    }
}

fn scheme(protected: &Value) -> Result<SigningScheme, EnvelopeError> {
    let name = optional_text(protected, header::SIGNING_SCHEME)?.unwrap_or_default();
    SigningScheme::from_name(name)
        .ok_or_else(|| EnvelopeError::UnsupportedJwsScheme { scheme: clip(name) })
}

/// JWS-19: each scheme has its own time, and only that.
fn signing_time(protected: &Value, scheme: SigningScheme) -> Result<Timestamp, EnvelopeError> {
    let (own, other) = match scheme {
        SigningScheme::X509 => (header::SIGNING_TIME, header::AUTHENTIC_SIGNING_TIME),
        SigningScheme::SigningAuthority => (header::AUTHENTIC_SIGNING_TIME, header::SIGNING_TIME),
    };
    if protected.get(other).is_some() {
        return Err(EnvelopeError::TimeOfOtherScheme {
            name: other,
            scheme: scheme.name(),
        });
    }
    match (time(protected, own)?, scheme) {
        (Some(time), _) => Ok(time),
        (None, SigningScheme::X509) => Err(EnvelopeError::SigningTimeMissing),
        (None, SigningScheme::SigningAuthority) => {
            Err(EnvelopeError::AuthenticSigningTimeMissing {
                name: own,
                scheme: scheme.name(),
            })
        }
    }
}

fn time(protected: &Value, name: &str) -> Result<Option<Timestamp>, EnvelopeError> {
    match optional_text(protected, name)? {
        None => Ok(None),
        Some(text) => match rfc3339(text) {
            Some(time) => Ok(Some(time)),
            None => Err(fault(format!("{name:?} is not an RFC 3339 time"))),
        },
    }
}

/// The names in `crit`, after every rule about them (JWS-09, JWS-11 to JWS-13).
fn critical(
    protected: &Value,
    scheme: SigningScheme,
    has_expiry: bool,
) -> Result<Vec<&str>, EnvelopeError> {
    let names: Vec<&str> = match protected.get(CRIT) {
        None => return Err(EnvelopeError::CritMissing),
        Some(value) => value
            .as_array()
            .and_then(|items| items.iter().map(Value::as_str).collect())
            .ok_or_else(|| fault("\"crit\" must be an array of strings"))?,
    };
    if names.is_empty() {
        return Err(EnvelopeError::CritMissing);
    }
    check_count(names.len())?;
    for (i, name) in names.iter().enumerate() {
        let name = *name;
        if names.iter().take(i).any(|earlier| *earlier == name) {
            return Err(EnvelopeError::CriticalRepeated { name: clip(name) });
        }
        let never_critical = [ALG, CTY, CRIT, header::SIGNING_TIME].contains(&name);
        if never_critical || protected.get(name).is_none() {
            return Err(EnvelopeError::CriticalNotPresent { name: clip(name) });
        }
        if name == B64 {
            return Err(EnvelopeError::UnsupportedCritical { name: clip(name) });
        }
    }
    require_critical(scheme, has_expiry, |name| names.contains(&name))?;
    Ok(names)
}

/// The headers that must be critical (JWS-09, COSE-06).
pub(super) fn require_critical(
    scheme: SigningScheme,
    has_expiry: bool,
    listed: impl Fn(&str) -> bool,
) -> Result<(), EnvelopeError> {
    let authority = scheme == SigningScheme::SigningAuthority;
    let names: Vec<String> = [
        (true, header::SIGNING_SCHEME),
        (authority, header::AUTHENTIC_SIGNING_TIME),
        (has_expiry, header::EXPIRY),
    ]
    .into_iter()
    .filter(|(required, name)| *required && !listed(name))
    .map(|(_, name)| name.to_owned())
    .collect();
    if names.is_empty() {
        Ok(())
    } else {
        Err(EnvelopeError::NotMarkedCritical { names })
    }
}

/// JWS-18: `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±HH:MM)`, nothing looser.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shape = b"0000-00-00T00:00:00";
    let matches_shape = bytes.len() > shape.len()
        && shape.iter().zip(bytes).all(|(s, b)| match s {
            b'0' => b.is_ascii_digit(),
            _ => s == b,
        });
    if !matches_shape {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i16>().ok();
    let small = |at: usize| i8::try_from(number(at, at.checked_add(2)?)?).ok();
    let mut rest = text.get(shape.len()..)?;
    let mut nanoseconds = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = fraction.split_at_checked(length)?;
        if digits.is_empty() {
            return None;
        }
        let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
        nanoseconds = nine.parse().ok()?;
        rest = after;
    }
    let civil = DateTime::new(
        number(0, 4)?,
        small(5)?,
        small(8)?,
        small(11)?,
        small(14)?,
        small(17)?,
        nanoseconds,
    )
    .ok()?;
    TimeZone::UTC
        .to_timestamp(civil)
        .ok()?
        .checked_sub(offset(rest)?)
        .ok()
}

fn offset(text: &str) -> Option<SignedDuration> {
    if text == "Z" {
        return Some(SignedDuration::ZERO);
    }
    let [sign, h1, h2, b':', m1, m2] = *text.as_bytes() else {
        return None;
    };
    let two = |a: u8, b: u8| {
        let digits = a.is_ascii_digit() && b.is_ascii_digit();
        digits.then(|| i64::from(a - b'0') * 10 + i64::from(b - b'0'))
    };
    let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = SignedDuration::from_secs(hours * 3600 + minutes * 60);
    match sign {
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

/// What is signed: the base64url texts that will stand in the envelope.
pub(super) struct Encoded {
    protected: String,
    payload: String,
}

impl Encoded {
    pub(super) fn new(
        algorithm: SignatureAlgorithm,
        attributes: &SignedAttributes,
        payload: &[u8],
    ) -> Self {
        let protected = protected_json(algorithm, attributes);
        Self {
            protected: URL_SAFE_NO_PAD.encode(protected),
            payload: URL_SAFE_NO_PAD.encode(payload),
        }
    }

    /// The JWS Signing Input (JWS-15).
    pub(super) fn to_be_signed(&self) -> Vec<u8> {
        format!("{}.{}", self.protected, self.payload).into_bytes()
    }

    /// The envelope, in the order of the reference (JWS-03, JWS-04).
    pub(super) fn assemble(&self, unprotected: Unprotected<'_>) -> Vec<u8> {
        let Unprotected { signed, token, .. } = unprotected;
        let mut header = Vec::new();
        if let Some(token) = token {
            let token = Value::String(STANDARD.encode(token));
            header.push((header::TIMESTAMP_SIGNATURE.to_owned(), token));
        }
        let certificates = signed.certificate_chain.ders().iter();
        let certificates = certificates.map(|der| Value::String(STANDARD.encode(der)));
        header.push((X5C.to_owned(), Value::Array(certificates.collect())));
        if !signed.signing_agent.is_empty() {
            let agent = Value::String(signed.signing_agent.clone());
            header.push((header::SIGNING_AGENT.to_owned(), agent));
        }
        if let Some(evidence) = unprotected.attestation {
            header.push((ATTESTATION.to_owned(), evidence.to_json()));
        }
        let signature = URL_SAFE_NO_PAD.encode(&signed.signature);
        let envelope = Value::Object(vec![
            (PAYLOAD.to_owned(), Value::String(self.payload.clone())),
            (PROTECTED.to_owned(), Value::String(self.protected.clone())),
            (HEADER.to_owned(), Value::Object(header)),
            (SIGNATURE.to_owned(), Value::String(signature)),
        ]);
        envelope.to_json().into_bytes()
    }
}

/// Compact, keys sorted bytewise (JWS-07), `crit` in the order of the reference (JWS-10), times
/// in UTC without fraction (ENV-24).
fn protected_json(algorithm: SignatureAlgorithm, attributes: &SignedAttributes) -> String {
    let string = |text: &str| Value::String(text.to_owned());
    let mut crit = vec![string(header::SIGNING_SCHEME)];
    let time_name = match attributes.signing_scheme {
        SigningScheme::X509 => header::SIGNING_TIME,
        SigningScheme::SigningAuthority => {
            crit.push(string(header::AUTHENTIC_SIGNING_TIME));
            header::AUTHENTIC_SIGNING_TIME
        }
    };
    let mut members = vec![
        (ALG, string(algorithm.jws_name())),
        (CTY, string(PAYLOAD_CONTENT_TYPE)),
        (
            header::SIGNING_SCHEME,
            string(attributes.signing_scheme.name()),
        ),
        (time_name, string(&attributes.signing_time.to_string())),
    ];
    if let Some(expiry) = attributes.expiry {
        crit.push(string(header::EXPIRY));
        members.push((header::EXPIRY, string(&expiry.to_string())));
    }
    members.push((CRIT, Value::Array(crit)));
    members.sort_by_key(|(name, _)| *name);
    let members = members.into_iter().map(|(n, v)| (n.to_owned(), v));
    Value::Object(members.collect()).to_json()
}

const PAYLOAD: &str = "payload";
const PROTECTED: &str = "protected";
const HEADER: &str = "header";
const SIGNATURE: &str = "signature";
const MEMBERS: [&str; 4] = [PAYLOAD, PROTECTED, HEADER, SIGNATURE];
const X5C: &str = "x5c";
const ALG: &str = "alg";
const CTY: &str = "cty";
const CRIT: &str = "crit";
const B64: &str = "b64";
const PROTECTED_NAMES: [&str; 7] = [
    ALG,
    CTY,
    CRIT,
    header::SIGNING_SCHEME,
    header::SIGNING_TIME,
    header::AUTHENTIC_SIGNING_TIME,
    header::EXPIRY,
];
