//! From loose certificates to a chain, leaf to root, for a key whose public half is known.
//!
//! Tokens hold certificates in no order, among others that have nothing to do with the key. This
//! module orders by names and key identifiers (RFC 5280 §4.1.2.4, §4.2.1.1) and proves nothing:
//! the host checks the chain rules and every signature. Needs the feature `chain`.

use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, SubjectKeyIdentifier};

use crate::Error;
use crate::secret::printable;

pub use public_key::PublicKey;

mod pem;
mod public_key;

/// The most certificates in a chain.
pub const MAX_CHAIN: usize = 10;

/// The most certificates in a file.
pub const MAX_CERTIFICATES: usize = 200;

/// Steps of the search for a chain; far more than any honest set of certificates needs.
const BUDGET: usize = 10_000;

/// Certificates that can't be read or don't make a chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Neither PEM nor DER.
    #[error("x509: malformed certificate")]
    Malformed(#[source] der::Error),
    /// A PEM block that does not decode.
    #[error("x509: malformed certificate: PEM block {block} is damaged")]
    Pem {
        /// Number of the block, from 1.
        block: usize,
    },
    /// A file without certificates.
    #[error("there is no certificate in it")]
    Empty,
    /// More than [`MAX_CERTIFICATES`].
    #[error("there are more than {MAX_CERTIFICATES} certificates in it")]
    TooMany,
    /// A private key where certificates belong.
    #[error(
        "there is a private key in it ({label}); a certificate file must hold certificates only"
    )]
    PrivateKey {
        /// Label of the PEM block.
        label: String,
    },
    /// Another kind of PEM block.
    #[error("PEM block {label:?} is not a certificate")]
    Label {
        /// Label of the PEM block.
        label: String,
    },
    /// No certificate at all to look at.
    #[error("there is no certificate for the key")]
    NoCertificate,
    /// No certificate is the key's.
    #[error("no certificate matches the public key of the key ({} at hand: {})", subjects.len(), subjects.join("; "))]
    NoMatch {
        /// Subjects of the certificates that were looked at, the first few.
        subjects: Vec<String>,
    },
    /// The chain ends before a root.
    #[error(
        "certificate chain is incomplete: {subject:?} was issued by {issuer:?}, whose certificate is not at hand"
    )]
    NoIssuer {
        /// The last certificate that was found.
        subject: String,
        /// Its issuer.
        issuer: String,
    },
    /// A public key that is not encoded as it should be.
    #[error("public key is malformed")]
    PublicKey(#[source] der::Error),
}

impl From<ChainError> for Error {
    fn from(error: ChainError) -> Self {
        let hint = match &error {
            ChainError::NoIssuer { issuer, .. } => Some(format!(
                "add the certificate of {issuer:?}, and those above it up to the root"
            )),
            ChainError::NoMatch { .. } | ChainError::NoCertificate => {
                Some("name a certificate file for this key, leaf first".to_owned())
            }
            _ => None,
        };
        let answer = Self::from_error(crate::error::ErrorCode::ValidationError, &error);
        match hint {
            Some(hint) => answer.with_hint(hint),
            None => answer,
        }
    }
}

/// Reads a certificate file: PEM blocks, or certificates in DER one after the other.
///
/// Gives DER in the order of the file. PEM labels other than `CERTIFICATE` and `X509
/// CERTIFICATE` are refused, a private key with a message that says so (X509-21, X509-22).
///
/// # Errors
/// What is wrong with the file; its name is the caller's to add.
pub fn parse_file(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ChainError> {
    let certificates = match pem::blocks(bytes)? {
        Some(blocks) => blocks
            .into_iter()
            .map(|block| match block.label.as_str() {
                "CERTIFICATE" | "X509 CERTIFICATE" => Ok(block.bytes),
                label if label.contains("PRIVATE KEY") => {
                    Err(ChainError::PrivateKey { label: block.label })
                }
                _ => Err(ChainError::Label { label: block.label }),
            })
            .collect::<Result<Vec<_>, _>>()?,
        None => split_der(bytes)?,
    };
    if certificates.is_empty() {
        return Err(ChainError::Empty);
    }
    for der in &certificates {
        Certificate::from_der(der).map_err(ChainError::Malformed)?;
    }
    Ok(certificates)
}

fn split_der(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ChainError> {
    let mut reader = SliceReader::new(bytes).map_err(ChainError::Malformed)?;
    let mut certificates = Vec::new();
    while !reader.is_finished() {
        if certificates.len() == MAX_CERTIFICATES {
            return Err(ChainError::TooMany);
        }
        let der = reader.tlv_bytes().map_err(ChainError::Malformed)?;
        certificates.push(der.to_vec());
    }
    Ok(certificates)
}

/// Orders certificates into the chain of a key, leaf to root.
///
/// The leaf is the certificate with the key's public key; of several, the one that became valid
/// last. Certificates that don't belong are left out, and those that don't parse are skipped.
///
/// # Errors
/// No certificate matches the key, or the way to a self-issued root has a gap.
pub fn order(key: &PublicKey, certificates: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, ChainError> {
    let pool: Vec<Parsed> = certificates
        .iter()
        .filter_map(|der| Parsed::new(der))
        .collect();
    if pool.is_empty() {
        return Err(ChainError::NoCertificate);
    }
    let leaf = pool
        .iter()
        .enumerate()
        .filter(|(_, certificate)| certificate.key.as_ref() == Some(key))
        .max_by_key(|(at, certificate)| (certificate.not_before(), usize::MAX - at));
    let Some((leaf, _)) = leaf else {
        let subjects = pool.iter().take(5).map(Parsed::subject).collect();
        return Err(ChainError::NoMatch { subjects });
    };
    let mut search = Search {
        pool: &pool,
        budget: BUDGET,
        deepest: vec![leaf],
    };
    let mut chain = vec![leaf];
    if !search.extend(&mut chain) {
        return Err(search.gap());
    }
    let found = chain.iter().filter_map(|at| pool.get(*at));
    Ok(found.map(|certificate| certificate.der.clone()).collect())
}

/// Whether a certificate in DER carries this public key; `false` also if it does not parse.
pub fn matches(key: &PublicKey, der: &[u8]) -> bool {
    Parsed::new(der).is_some_and(|certificate| certificate.key.as_ref() == Some(key))
}

/// Whether a certificate in DER is a CA's; `false` also if it does not parse.
pub fn is_ca(der: &[u8]) -> bool {
    Certificate::from_der(der).is_ok_and(|certificate| {
        let constraints = certificate.tbs_certificate.get::<BasicConstraints>();
        matches!(
            constraints,
            Ok(Some((_, BasicConstraints { ca: true, .. })))
        )
    })
}

/// The public key of a certificate in DER.
///
/// # Errors
/// The certificate does not parse.
pub fn public_key(der: &[u8]) -> Result<PublicKey, ChainError> {
    let certificate = Certificate::from_der(der).map_err(ChainError::Malformed)?;
    key_of(&certificate)
}

/// The subject of a certificate in DER, for messages.
pub fn subject(der: &[u8]) -> Option<String> {
    Parsed::new(der).map(|certificate| certificate.subject())
}

fn key_of(certificate: &Certificate) -> Result<PublicKey, ChainError> {
    let spki = &certificate.tbs_certificate.subject_public_key_info;
    let der = spki.to_der().map_err(ChainError::PublicKey)?;
    PublicKey::from_spki_der(&der)
}

/// A certificate with what ordering needs.
struct Parsed {
    der: Vec<u8>,
    certificate: Certificate,
    key: Option<PublicKey>,
}

impl Parsed {
    fn new(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        Some(Self {
            der: der.to_vec(),
            key: key_of(&certificate).ok(),
            certificate,
        })
    }

    fn subject(&self) -> String {
        printable(&self.certificate.tbs_certificate.subject.to_string())
    }

    fn issuer(&self) -> String {
        printable(&self.certificate.tbs_certificate.issuer.to_string())
    }

    fn not_before(&self) -> std::time::Duration {
        let validity = &self.certificate.tbs_certificate.validity;
        validity.not_before.to_unix_duration()
    }

    fn is_self_issued(&self) -> bool {
        let tbs = &self.certificate.tbs_certificate;
        tbs.subject == tbs.issuer
    }

    /// Whether names and key identifiers allow `issuer` to have issued this certificate.
    fn may_be_issued_by(&self, issuer: &Self) -> bool {
        let (child, parent) = (
            &self.certificate.tbs_certificate,
            &issuer.certificate.tbs_certificate,
        );
        if child.issuer != parent.subject {
            return false;
        }
        let wanted = child.get::<AuthorityKeyIdentifier>().ok().flatten();
        let offered = parent.get::<SubjectKeyIdentifier>().ok().flatten();
        match (wanted.and_then(|(_, id)| id.key_identifier), offered) {
            (Some(wanted), Some((_, offered))) => wanted == offered.0,
            _ => true,
        }
    }
}

/// A search for a way from the leaf to a self-issued certificate.
struct Search<'a> {
    pool: &'a [Parsed],
    budget: usize,
    /// The longest way that was found, for the error.
    deepest: Vec<usize>,
}

impl Search<'_> {
    /// Extends the chain to a root; leaves it as it was if there is none.
    fn extend(&mut self, chain: &mut Vec<usize>) -> bool {
        let Some(last) = chain.last().and_then(|at| self.pool.get(*at)) else {
            return false;
        };
        if last.is_self_issued() {
            return true;
        }
        if chain.len() > self.deepest.len() {
            self.deepest.clone_from(chain);
        }
        if chain.len() >= MAX_CHAIN || self.budget == 0 {
            return false;
        }
        self.budget = self.budget.saturating_sub(1);
        for at in self.candidates(last, chain) {
            chain.push(at);
            if self.extend(chain) {
                return true;
            }
            chain.pop();
        }
        false
    }

    /// Possible issuers: roots first, then those that became valid last.
    fn candidates(&self, child: &Parsed, chain: &[usize]) -> Vec<usize> {
        let mut found: Vec<(usize, &Parsed)> = self
            .pool
            .iter()
            .enumerate()
            .filter(|(at, parent)| !chain.contains(at) && child.may_be_issued_by(parent))
            .collect();
        found.sort_by_key(|(at, parent)| {
            let newest_first = std::cmp::Reverse(parent.not_before());
            (!parent.is_self_issued(), newest_first, *at)
        });
        found.into_iter().map(|(at, _)| at).collect()
    }

    fn gap(&self) -> ChainError {
        let last = self.deepest.last().and_then(|at| self.pool.get(*at));
        ChainError::NoIssuer {
            subject: last.map(Parsed::subject).unwrap_or_default(),
            issuer: last.map(Parsed::issuer).unwrap_or_default(),
        }
    }
}

/// The names of the algorithms and curves that matter here.
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

#[cfg(test)]
mod tests;
