//! Signed and unsigned attributes, independent of the format ("Signed Attributes", "Unsigned
//! Attributes" of the signature specification).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value as Cbor;
use jiff::Timestamp;

use super::{CarriedEvidence, CarriedFault};
use crate::json;

/// Extended attribute that names the verification plugin.
// ENV-26
pub const VERIFICATION_PLUGIN: &str = "io.cncf.notary.verificationPlugin";

/// Extended attribute with the least version of that plugin.
// ENV-27
pub const VERIFICATION_PLUGIN_MIN_VERSION: &str = "io.cncf.notary.verificationPluginMinVersion";

/// Who vouches for the signing time.
// ENV-17
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SigningScheme {
    /// `notary.x509`: nobody; the signing time is informational.
    X509,
    /// `notary.x509.signingAuthority`: the signing authority; the signing time is authentic.
    SigningAuthority,
}

/// What the signature covers besides the payload.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SignedAttributes {
    /// The signing scheme.
    pub signing_scheme: SigningScheme,
    /// The signing time that the envelope states. Under [`SigningScheme::X509`] it is
    /// informational and untrusted; use [`SignedAttributes::authentic_signing_time`]
    /// for decisions.
    // ENV-18
    pub signing_time: Timestamp,
    /// When the signature expires.
    // ENV-21
    pub expiry: Option<Timestamp>,
    /// Every other protected header, in the order of the envelope.
    pub extended: Vec<ExtendedAttribute>,
}

/// What rides along unsigned: display it as untrusted.
// SEC-30
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnsignedAttributes {
    /// Opaque text about the signing software.
    // ENV-30
    pub signing_agent: Option<String>,
    /// DER of an RFC 3161 TimeStampToken.
    // ENV-29
    pub timestamp_token: Option<Vec<u8>>,
    /// Evidence of where the leaf's key lives, or why what stands there is none. It counts only once
    /// it has proven itself for the leaf's key.
    pub attestation: Option<Result<CarriedEvidence, CarriedFault>>,
}

/// A protected header that the specification does not define.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExtendedAttribute {
    /// Its name or label.
    pub key: AttributeKey,
    /// Its exact value.
    // JWS-26
    pub value: AttributeValue,
    /// Whether `crit` lists it.
    pub critical: bool,
}

/// Name of an extended attribute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AttributeKey {
    /// A JSON name or a CBOR text label.
    Text(String),
    /// A CBOR integer label; never critical, never offered to a plugin.
    // COSE-20
    Integer(i128),
}

/// Value of an extended attribute.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AttributeValue {
    /// From a JWS envelope.
    Json(json::Value),
    /// From a COSE envelope.
    Cbor(Cbor),
}

/// What a signature says about its verification plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct VerificationPlugin {
    /// Name of the plugin. It comes from the signature: check it before building a path.
    pub name: String,
    /// Least version that will do.
    pub min_version: Option<semver::Version>,
}

/// A malformed plugin attribute.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttributeError {
    /// It must be critical.
    // ENV-26
    #[error("{key} is not a critical Extended attribute")]
    NotCritical {
        /// The attribute.
        key: &'static str,
    },
    /// It must be a string.
    // ENV-26
    #[error("{key} from extended attribute is not a string")]
    NotAString {
        /// The attribute.
        key: &'static str,
    },
    /// It must not be blank.
    // ENV-26
    #[error("{key} from extended attribute is an empty string")]
    Empty {
        /// The attribute.
        key: &'static str,
    },
    /// The least version is no SemVer.
    // ENV-27
    #[error("{VERIFICATION_PLUGIN_MIN_VERSION} from extended attribute is not a valid SemVer")]
    NotSemVer {
        /// As written.
        version: String,
    },
}

impl SigningScheme {
    /// The name in envelopes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X509 => "notary.x509",
            Self::SigningAuthority => "notary.x509.signingAuthority",
        }
    }

    /// The scheme of that name, exact case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::X509, Self::SigningAuthority]
            .into_iter()
            .find(|scheme| scheme.name() == name)
    }
}

impl std::fmt::Display for SigningScheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl SignedAttributes {
    /// The signing time where a signing authority vouches for it.
    // ENV-19
    pub fn authentic_signing_time(&self) -> Option<Timestamp> {
        match self.signing_scheme {
            SigningScheme::SigningAuthority => Some(self.signing_time),
            SigningScheme::X509 => None,
        }
    }

    /// The extended attribute of that name.
    pub fn extended(&self, key: &str) -> Option<&ExtendedAttribute> {
        self.extended.iter().find(|a| a.key.as_text() == Some(key))
    }

    /// The verification plugin that the signature asks for. The least version is
    /// read only where a plugin is named.
    ///
    /// # Errors
    /// [`AttributeError`]: verification must fail.
    // ENV-26, ENV-27
    pub fn verification_plugin(&self) -> Result<Option<VerificationPlugin>, AttributeError> {
        let Some(name) = self.critical_text(VERIFICATION_PLUGIN)? else {
            return Ok(None);
        };
        let min_version = match self.critical_text(VERIFICATION_PLUGIN_MIN_VERSION)? {
            None => None,
            Some(text) => {
                Some(
                    semver::Version::parse(text).map_err(|_| AttributeError::NotSemVer {
                        version: text.to_owned(),
                    })?,
                )
            }
        };
        Ok(Some(VerificationPlugin {
            name: name.to_owned(),
            min_version,
        }))
    }

    /// The critical extended attributes other than the two that name the verification plugin.
    /// Unless a verification plugin reports each as processed, verification fails.
    // ENV-25
    pub fn critical_for_plugin(&self) -> impl Iterator<Item = &ExtendedAttribute> {
        self.extended.iter().filter(|a| {
            let names_plugin = a.key.as_text().is_some_and(|key| {
                key == VERIFICATION_PLUGIN || key == VERIFICATION_PLUGIN_MIN_VERSION
            });
            a.critical && !names_plugin
        })
    }

    fn critical_text(&self, key: &'static str) -> Result<Option<&str>, AttributeError> {
        let Some(attribute) = self.extended(key) else {
            return Ok(None);
        };
        if !attribute.critical {
            return Err(AttributeError::NotCritical { key });
        }
        let text = attribute
            .value
            .as_str()
            .ok_or(AttributeError::NotAString { key })?;
        if text.trim().is_empty() {
            return Err(AttributeError::Empty { key });
        }
        Ok(Some(text))
    }
}

impl AttributeKey {
    /// The name, unless it is an integer label.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Integer(_) => None,
        }
    }
}

impl std::fmt::Display for AttributeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(label) => write!(f, "{label}"),
        }
    }
}

impl AttributeValue {
    /// The text of a string value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Json(value) => value.as_str(),
            Self::Cbor(value) => value.as_text(),
        }
    }

    /// The value as JSON, for plugins and for display: byte strings become standard base64, times
    /// and other tags their content. Nothing where JSON cannot hold it.
    pub fn to_json(&self) -> Option<json::Value> {
        match self {
            Self::Json(value) => Some(value.clone()),
            Self::Cbor(value) => cbor_to_json(value),
        }
    }
}

fn cbor_to_json(value: &Cbor) -> Option<json::Value> {
    Some(match value {
        Cbor::Integer(number) => json::Value::Number(i128::from(*number).to_string()),
        Cbor::Bytes(bytes) => json::Value::String(STANDARD.encode(bytes)),
        Cbor::Float(number) if number.is_finite() => json::Value::Number(number.to_string()),
        Cbor::Text(text) => json::Value::String(text.clone()),
        Cbor::Bool(value) => json::Value::Bool(*value),
        Cbor::Null => json::Value::Null,
        Cbor::Tag(_, content) => cbor_to_json(content)?,
        Cbor::Array(items) => {
            json::Value::Array(items.iter().map(cbor_to_json).collect::<Option<_>>()?)
        }
        Cbor::Map(members) => json::Value::Object(
            members
                .iter()
                .map(|(key, value)| Some((key.as_text()?.to_owned(), cbor_to_json(value)?)))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

/// Header names shared by both formats.
pub(super) mod header {
    pub(in crate::envelope) const SIGNING_SCHEME: &str = "io.cncf.notary.signingScheme";
    pub(in crate::envelope) const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
    pub(in crate::envelope) const AUTHENTIC_SIGNING_TIME: &str =
        "io.cncf.notary.authenticSigningTime";
    pub(in crate::envelope) const EXPIRY: &str = "io.cncf.notary.expiry";
    pub(in crate::envelope) const TIMESTAMP_SIGNATURE: &str = "io.cncf.notary.timestampSignature";
    pub(in crate::envelope) const SIGNING_AGENT: &str = "io.cncf.notary.signingAgent";
}
