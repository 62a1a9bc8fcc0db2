//! Evidence of hardware in an envelope's unprotected header, `io.hardsign.attestation`.
//!
//! ```json
//! {"version": 1, "format": "yubico-piv", "certificates": ["<base64 of DER>"]}
//! ```
//! in JWS; in COSE the same map, with byte strings in place of the base64. `docs/attestation.md`
//! specifies it.
//!
//! What must hold: nothing here is signed, so it counts for nothing until [`Evidence::prove`] has
//! proven it for the leaf's key (SEC-30). What can't be read makes no envelope unreadable, since to
//! other readers it is an unknown header; it is kept as the fault that it has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value as Cbor;

use super::cbor;
use super::error::clip;
use crate::artifact::Quoted;
use crate::attestation::{Attested, Evidence, EvidenceError, MAX_CERTIFICATES};
use crate::json;

/// The name of the unprotected header.
pub const ATTESTATION: &str = "io.hardsign.attestation";

/// Longest value of the header, in bytes, as compact JSON or as CBOR.
pub const MAX_ATTESTATION_LEN: usize = 32 * 1024;

/// The evidence of YubiKeys: the statement on the key, and the certificates above it.
pub const YUBICO_PIV: &str = "yubico-piv";

/// The layout that is written and read.
const VERSION: u64 = 1;

/// Evidence as an envelope carries it: bounded, and neither parsed nor proven.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CarriedEvidence {
    /// One to eight certificates in DER, the statement first.
    certificates: Vec<Vec<u8>>,
}

/// Why the header can't be written or read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CarriedFault {
    /// Longer than [`MAX_ATTESTATION_LEN`].
    #[error("it has {length} bytes, more than {MAX_ATTESTATION_LEN}")]
    TooLong {
        /// Length in bytes.
        length: usize,
    },
    /// Not the layout of any version.
    #[error("it {fault}")]
    Shape {
        /// What breaks the layout, as the end of a sentence that begins with "it".
        fault: &'static str,
    },
    /// A layout that is not known here.
    #[error("it has another version than {VERSION}")]
    Version,
    /// A kind of evidence that is not known here.
    #[error("it is of the format {}, which is not known", Quoted(format))]
    Format {
        /// The format.
        format: String,
    },
    /// More certificates than any evidence has.
    #[error("it has {certificates} certificates, more than {MAX_CERTIFICATES}")]
    TooMany {
        /// How many there are.
        certificates: usize,
    },
    /// A certificate in the wrong encoding.
    #[error("certificate {number} is not {expected}")]
    Encoding {
        /// Which one, from 1.
        number: usize,
        /// What it should be.
        expected: &'static str,
    },
}

impl CarriedEvidence {
    /// What proved itself, to be carried: the statement and what leads from it to the root, which
    /// the verifier has.
    ///
    /// # Errors
    /// It is longer than the header may be in both formats.
    pub fn new(attested: &Attested) -> Result<Self, CarriedFault> {
        let ders = attested.below_root().iter();
        let carried = Self::of(ders.map(|one| Some(one.der().to_vec())), "")?;
        // Base64 makes JSON the longer one.
        check_length(carried.to_json().to_json().len())?;
        Ok(carried)
    }

    /// The certificates in DER, the statement first.
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }

    /// The evidence. Nothing of it is proven.
    ///
    /// # Errors
    /// [`EvidenceError`]: a certificate that is none.
    pub fn evidence(&self) -> Result<Evidence, EvidenceError> {
        Evidence::from_certificates(&self.certificates)
    }

    fn of(
        certificates: impl ExactSizeIterator<Item = Option<Vec<u8>>>,
        expected: &'static str,
    ) -> Result<Self, CarriedFault> {
        match certificates.len() {
            0 => {
                let fault = "has no certificate";
                return Err(CarriedFault::Shape { fault });
            }
            1..=MAX_CERTIFICATES => {}
            certificates => return Err(CarriedFault::TooMany { certificates }),
        }
        let decoded = certificates.enumerate().map(|(index, der)| {
            der.ok_or(CarriedFault::Encoding {
                number: index.saturating_add(1),
                expected,
            })
        });
        Ok(Self {
            certificates: decoded.collect::<Result<_, _>>()?,
        })
    }

    /// Reads the header's value in JWS.
    pub(super) fn from_json(value: &json::Value) -> Result<Self, CarriedFault> {
        check_length(value.to_json().len())?;
        let members = value.as_object().ok_or(CarriedFault::Shape {
            fault: "is not an object",
        })?;
        let names = members.iter().map(|(name, _)| Some(name.as_str()));
        let text = |name| value.get(name).and_then(json::Value::as_str);
        let version = value.get("version").and_then(json::Value::as_u64);
        check_kind(version, names, text("format"))?;
        let items = value.get("certificates").and_then(json::Value::as_array);
        let items = items.ok_or(NO_LIST)?.iter();
        let decode = |item: &json::Value| STANDARD.decode(item.as_str()?).ok();
        Self::of(items.map(decode), "standard base64 with padding")
    }

    /// Reads the header's value in COSE.
    pub(super) fn from_cbor(value: &Cbor) -> Result<Self, CarriedFault> {
        check_length(cbor::write(value).len())?;
        let members = value.as_map().ok_or(CarriedFault::Shape {
            fault: "is not a map",
        })?;
        let get = |name: &str| {
            let found = members.iter().find(|(key, _)| key.as_text() == Some(name));
            found.map(|(_, value)| value)
        };
        let version = get("version").and_then(Cbor::as_integer);
        let version = version.and_then(|version| version.try_into().ok());
        let names = members.iter().map(|(key, _)| key.as_text());
        check_kind(version, names, get("format").and_then(Cbor::as_text))?;
        let items = get("certificates").and_then(Cbor::as_array);
        let items = items.ok_or(NO_LIST)?.iter();
        Self::of(items.map(|item| item.as_bytes().cloned()), "a byte string")
    }

    /// The header's value in JWS.
    pub(super) fn to_json(&self) -> json::Value {
        let certificate = |der: &Vec<u8>| json::Value::String(STANDARD.encode(der));
        let certificates = self.certificates.iter().map(certificate).collect();
        let members = [
            ("version", json::Value::Number(VERSION.to_string())),
            ("format", json::Value::String(YUBICO_PIV.to_owned())),
            ("certificates", json::Value::Array(certificates)),
        ];
        json::Value::Object(members.map(|(n, v)| (n.to_owned(), v)).into())
    }

    /// The header's value in COSE; the writer sorts it.
    pub(super) fn to_cbor(&self) -> Cbor {
        let certificates = self.certificates.iter().cloned().map(Cbor::Bytes).collect();
        let members = [
            ("version", Cbor::from(VERSION)),
            ("format", Cbor::from(YUBICO_PIV)),
            ("certificates", Cbor::Array(certificates)),
        ];
        Cbor::Map(members.map(|(n, v)| (Cbor::from(n), v)).into())
    }
}

fn check_length(length: usize) -> Result<(), CarriedFault> {
    if length > MAX_ATTESTATION_LEN {
        return Err(CarriedFault::TooLong { length });
    }
    Ok(())
}

/// The version first: another one may have other members.
fn check_kind<'a>(
    version: Option<u64>,
    mut names: impl Iterator<Item = Option<&'a str>>,
    format: Option<&str>,
) -> Result<(), CarriedFault> {
    if version != Some(VERSION) {
        return Err(CarriedFault::Version);
    }
    let known = ["version", "format", "certificates"];
    if names.any(|name| !name.is_some_and(|name| known.contains(&name))) {
        let fault = "has a member that version 1 does not have";
        return Err(CarriedFault::Shape { fault });
    }
    match format {
        Some(YUBICO_PIV) => Ok(()),
        Some(format) => Err(CarriedFault::Format {
            format: clip(format),
        }),
        None => Err(CarriedFault::Shape {
            fault: "names no format",
        }),
    }
}

const NO_LIST: CarriedFault = CarriedFault::Shape {
    fault: "has no list of certificates",
};
