//! What a rejected signature says, beside what it was held against: so that people see both, expected and
//! actual. Nothing is decided by it.

use jiff::Timestamp;

use super::authentic_timestamp::need;
use super::authenticity::store_type;
use super::content::Target;
use super::judge::Grounds;
use super::{Need, Step};
use crate::artifact::Descriptor;
use crate::envelope::Signature;
use crate::policy::Check;
use crate::trust::StoreType;
use crate::x509::Certificate;

/// A signature that is intact and yet not accepted, and what it was held against. Texts of the signature
/// are cut after 512 characters.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Compared {
    /// The certificate of the key that signed.
    pub signer: Holder,
    /// The end of its chain.
    pub root: Holder,
    /// When the signer says it signed; nobody vouches for that under `notary.x509`.
    pub signing_time: Timestamp,
    /// When the signature expires.
    pub expiry: Option<Timestamp>,
    /// The time of the verification.
    pub now: Timestamp,
    /// The statement.
    pub statement: String,
    /// The stores in which the chain was looked up, and for timestamps those of authorities.
    pub stores: Vec<String>,
    /// The identities that the statement trusts, as written.
    pub identities: Vec<String>,
    /// Where the check that failed compares two values: those that differ.
    pub differences: Vec<Difference>,
}

/// A certificate, in short.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Holder {
    /// Its subject.
    pub subject: String,
    /// SHA-256 of its DER, in hex.
    pub sha256: String,
}

/// A value that is not the one that was expected.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// What has the value: `mediaType`, `digest`, `size`, or the name of the user metadata.
    pub name: String,
    /// Whether that is user metadata.
    pub is_metadata: bool,
    /// What was asked for, or found in the registry or file; none where that is not known.
    pub expected: Option<String>,
    /// What the signature says; none where it says nothing.
    pub actual: Option<String>,
}

impl Compared {
    /// What there is to compare where a signature was refused at `step`.
    pub(super) fn new(
        step: Step,
        signature: &Signature,
        target: &Target<'_>,
        grounds: &Grounds<'_>,
    ) -> Self {
        let chain = signature.chain();
        let attributes = signature.attributes();
        let certificates = chain.certificates();
        let leaf = chain.leaf();
        let signed = &signature.payload().target;
        let rules = grounds.rules;
        let of_timestamp = step == Step::Policy(Check::AuthenticTimestamp)
            && need(certificates, rules, grounds.now) == Need::Token;
        let stores = match of_timestamp {
            true => StoreType::Tsa,
            false => store_type(attributes.signing_scheme),
        };
        Self {
            signer: Holder::of(leaf),
            root: Holder::of(certificates.last().unwrap_or(leaf)),
            signing_time: attributes.signing_time,
            expiry: attributes.expiry,
            now: grounds.now,
            statement: grounds.statement.to_owned(),
            stores: rules.stores_of(stores).map(ToString::to_string).collect(),
            identities: rules
                .identities()
                .items()
                .iter()
                .map(|identity| identity.text().to_owned())
                .collect(),
            differences: match step {
                Step::Content => target.differences(signed, signature.algorithm().hash()),
                Step::UserMetadata => grounds
                    .user_metadata
                    .iter()
                    .filter(|(name, value)| signed.annotations.get(*name) != Some(value))
                    .map(|(name, value)| Difference {
                        name: name.clone(),
                        is_metadata: true,
                        expected: Some(value.clone()),
                        actual: signed.annotations.get(name).map(|text| cut(text)),
                    })
                    .collect(),
                _ => Vec::new(),
            },
        }
    }
}

impl Holder {
    /// The same of any certificate.
    pub fn of(certificate: &Certificate) -> Self {
        Self {
            subject: cut(&certificate.subject().to_string()),
            sha256: certificate.thumbprint_hex(),
        }
    }
}

impl Target<'_> {
    /// The members in which the payload differs.
    fn differences(
        &self,
        signed: &Descriptor,
        hash: crate::algorithm::HashAlgorithm,
    ) -> Vec<Difference> {
        let (media_type, digest, size) = match self {
            Self::Artifact(artifact) => (
                Some(artifact.media_type.clone()),
                Some(artifact.digest.to_string()),
                Some(artifact.size.to_string()),
            ),
            Self::Blob {
                digests,
                media_type,
            } => (
                media_type.map(str::to_owned),
                digests.get(hash).map(ToString::to_string),
                Some(digests.size().to_string()),
            ),
        };
        let members = [
            ("mediaType", media_type, signed.media_type.clone()),
            ("digest", digest, signed.digest.to_string()),
            ("size", size, signed.size.to_string()),
        ];
        let differs = |(name, expected, actual): (&str, Option<String>, String)| {
            // A file has no media type unless one is asked for.
            let asked = expected.is_some() || name == "digest";
            (asked && expected.as_deref() != Some(&actual)).then(|| Difference {
                name: name.to_owned(),
                is_metadata: false,
                expected,
                actual: Some(cut(&actual)),
            })
        };
        members.into_iter().filter_map(differs).collect()
    }
}

/// What is kept of a text that a stranger wrote.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// In characters.
const MAX_TEXT: usize = 512;
