//! The payload: the descriptor of what is signed ("Payload" of the signature specification).
//!
//! ```json
//! {"targetArtifact":{"mediaType":"…","digest":"sha256:…","size":123,"annotations":{"k":"v"}}}
//! ```
//!
//! Received payloads are opaque bytes until the signature is verified, and are never written anew
//! (ENV-08).

use std::collections::BTreeMap;

use super::Format;
use super::signature::JSON_LIMITS;
use crate::artifact::{Descriptor, Digest, DigestError};
use crate::json::{self, JsonError, Value};

/// The content type of the payload.
// ENV-03
pub const PAYLOAD_CONTENT_TYPE: &str = "application/vnd.cncf.notary.payload.v1+json";

/// What a signature signs.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Payload {
    /// The signed artifact; its annotations are the user metadata.
    pub target: Descriptor,
    /// Members that this version does not know, as paths such as `targetArtifact.x`.
    // ENV-16
    pub unknown: Vec<String>,
}

/// Bytes that are not a payload.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Nothing there.
    #[error("content not present")]
    Empty,
    /// Not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A member is absent.
    #[error("{name:?} is missing")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A member has the wrong type or range.
    #[error("{name:?} is malformed")]
    Malformed {
        /// Its name.
        name: &'static str,
    },
    /// A member that a reader which ignores case would take for another.
    // ENV-16
    #[error("{name:?} differs from a known member only in case")]
    CaseVariant {
        /// Its name.
        name: String,
    },
    /// The digest.
    #[error("\"digest\" is malformed")]
    Digest(#[from] DigestError),
}

impl Payload {
    /// The payload for an artifact. Only media type, digest, size and annotations are signed;
    /// a [`Descriptor`] holds nothing else.
    // ENV-05
    pub fn new(target: Descriptor) -> Self {
        Self {
            target,
            unknown: Vec::new(),
        }
    }

    /// The bytes to sign: compact JSON in the order that the reference writes for the format.
    /// Unknown members are not written.
    // ENV-06, ENV-07, ENV-09
    pub fn to_json(&self, format: Format) -> Vec<u8> {
        let mut media_type = String::from("\"mediaType\":");
        json::write_string(&mut media_type, &self.target.media_type);
        let digest = format!("\"digest\":\"{}\"", self.target.digest);
        let size = format!("\"size\":{}", self.target.size);
        let annotations = annotations_json(&self.target.annotations);
        let members = match format {
            Format::Jws => [annotations, Some(digest), Some(media_type), Some(size)],
            Format::Cose => [Some(media_type), Some(digest), Some(size), annotations],
        };
        let members: Vec<String> = members.into_iter().flatten().collect();
        format!("{{\"targetArtifact\":{{{}}}}}", members.join(",")).into_bytes()
    }

    /// Reads payload bytes. Duplicate names and case variants of known names are refused, unknown
    /// members are reported.
    ///
    /// # Errors
    /// [`PayloadError`].
    // ENV-15, ENV-16
    pub fn parse(bytes: &[u8]) -> Result<Self, PayloadError> {
        if bytes.is_empty() {
            return Err(PayloadError::Empty);
        }
        let value = json::parse(bytes, JSON_LIMITS)?;
        let members = value
            .as_object()
            .ok_or(PayloadError::Malformed { name: "payload" })?;
        let mut unknown = unknown_members(members, &[TARGET], "")?;
        let target = value
            .get(TARGET)
            .ok_or(PayloadError::Missing { name: TARGET })?;
        let members = target
            .as_object()
            .ok_or(PayloadError::Malformed { name: TARGET })?;
        unknown.extend(unknown_members(
            members,
            &TARGET_MEMBERS,
            "targetArtifact.",
        )?);

        if let Some(artifact_type) = target.get("artifactType") {
            // Allowed, and plays no part (DIF-30).
            text(artifact_type, "artifactType")?;
        }
        let size = required(target, "size")?
            .as_u64()
            .filter(|size| i64::try_from(*size).is_ok())
            .ok_or(PayloadError::Malformed { name: "size" })?;
        let target = Descriptor {
            media_type: text(required(target, "mediaType")?, "mediaType")?.to_owned(),
            digest: text(required(target, "digest")?, "digest")?.parse::<Digest>()?,
            size,
            annotations: match target.get("annotations") {
                Some(annotations) => annotations_map(annotations)?,
                None => BTreeMap::new(),
            },
        };
        Ok(Self { target, unknown })
    }
}

const TARGET: &str = "targetArtifact";
const TARGET_MEMBERS: [&str; 5] = ["mediaType", "digest", "size", "annotations", "artifactType"];

fn unknown_members(
    members: &[(String, Value)],
    known: &[&str],
    path: &str,
) -> Result<Vec<String>, PayloadError> {
    let mut unknown = Vec::new();
    for (name, _) in members {
        if json::is_case_variant(name, known) {
            return Err(PayloadError::CaseVariant { name: name.clone() });
        }
        if !known.contains(&name.as_str()) {
            unknown.push(format!("{path}{name}"));
        }
    }
    Ok(unknown)
}

fn required<'a>(target: &'a Value, name: &'static str) -> Result<&'a Value, PayloadError> {
    target.get(name).ok_or(PayloadError::Missing { name })
}

fn text<'a>(value: &'a Value, name: &'static str) -> Result<&'a str, PayloadError> {
    value.as_str().ok_or(PayloadError::Malformed { name })
}

fn annotations_map(value: &Value) -> Result<BTreeMap<String, String>, PayloadError> {
    let malformed = || PayloadError::Malformed {
        name: "annotations",
    };
    value
        .as_object()
        .ok_or_else(malformed)?
        .iter()
        .map(|(key, value)| {
            let value = value.as_str().ok_or_else(malformed)?;
            Ok((key.clone(), value.to_owned()))
        })
        .collect()
}

fn annotations_json(annotations: &BTreeMap<String, String>) -> Option<String> {
    if annotations.is_empty() {
        return None;
    }
    let mut out = String::from("\"annotations\":{");
    for (i, (key, value)) in annotations.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        json::write_string(&mut out, key);
        out.push(':');
        json::write_string(&mut out, value);
    }
    out.push('}');
    Some(out)
}
