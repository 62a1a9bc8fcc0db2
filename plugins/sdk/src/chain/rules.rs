//! What a certificate of a chain must look like (X509-05 to X509-14): each rule once, for the
//! host, which proves chains, and for plugins, which choose among certificates.
//!
//! Whether a certificate is issued by the next, and the rules that need the whole chain, are the
//! host's to prove.

use der::asn1::ObjectIdentifier;

use super::Certificate;
use super::extension::{self, KeyUsage};

/// What a chain is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Profile {
    /// It signs artifacts.
    CodeSigning,
    /// It is of an RFC 3161 timestamping authority.
    Timestamping,
}

/// The rule that a certificate breaks.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// A CA certificate without critical basicConstraints that say so.
    // X509-05
    #[error("ca field in basic constraints must be present, critical, and set to true")]
    NotCa,
    /// pathLenConstraint is smaller than the number of CA certificates below.
    // X509-06
    #[error("{below} CA certificates stand below it, its path length constraint allows {allowed}")]
    PathTooLong {
        /// CA certificates between it and the leaf.
        below: usize,
        /// What it allows.
        allowed: u32,
    },
    /// A leaf whose basicConstraints make it a CA.
    // X509-08
    #[error("if the basic constraints extension is present, the ca field must be set to false")]
    LeafIsCa,
    /// No keyUsage.
    // X509-07, X509-09
    #[error("key usage extension must be present")]
    KeyUsageAbsent,
    /// keyUsage is not critical.
    // X509-07, X509-09
    #[error("key usage extension must be marked critical")]
    KeyUsageNotCritical,
    /// keyUsage lacks a bit that it needs.
    // X509-07, X509-09
    #[error("key usage must have the bit for {usage} set")]
    KeyUsageMissing {
        /// The missing usage.
        usage: &'static str,
    },
    /// A leaf's keyUsage has a bit that it must not have.
    // X509-09
    #[error("key usage of a signing certificate must not have the bit for {usage} set")]
    KeyUsageForbidden {
        /// The forbidden usage.
        usage: &'static str,
    },
    /// A leaf for a purpose that excludes signing.
    // X509-10, X509-11
    #[error("extended key usage must not contain {purpose} eku")]
    PurposeForbidden {
        /// The purpose.
        purpose: &'static str,
    },
    /// A timestamping leaf with other purposes, or none.
    // X509-13
    #[error("must have and only have {purpose} as extended key usage")]
    PurposeNotExact {
        /// The one purpose.
        purpose: &'static str,
    },
    /// A timestamping leaf whose extKeyUsage is not critical.
    // X509-13
    #[error("must have extended key usage extension marked as critical")]
    PurposeNotCritical,
    /// A leaf key outside the algorithm table.
    // X509-14
    #[error(
        "a signing key must be RSA of 2048, 3072 or 4096 bits, P-256, P-384 or P-521; this one is {what}"
    )]
    LeafKey {
        /// What kind of key it is.
        what: String,
    },
}

impl Profile {
    /// Whether keyUsage must be critical (X509-07, X509-09).
    fn wants_critical_key_usage(self) -> bool {
        self == Self::CodeSigning
    }
}

impl Certificate {
    /// Checks the rules for the certificate of a signer.
    ///
    /// # Errors
    /// The first rule that is broken.
    // X509-08 to X509-14
    pub fn check_leaf(&self, profile: Profile) -> Result<(), RuleError> {
        if self.is_ca() {
            return Err(RuleError::LeafIsCa);
        }
        let usage = self.usage(profile)?;
        if !usage.allows(KeyUsage::DIGITAL_SIGNATURE) {
            return Err(RuleError::KeyUsageMissing {
                usage: "digital signature",
            });
        }
        if let Some((_, usage)) = FORBIDDEN_TO_LEAF.iter().find(|(bit, _)| usage.allows(*bit)) {
            return Err(RuleError::KeyUsageForbidden { usage });
        }
        self.check_purposes(profile)?;
        let what = match self.public_key() {
            Ok(key) if key.key_spec().is_some() => return Ok(()),
            Ok(key) => key.describe(),
            Err(_) => "malformed".to_owned(),
        };
        Err(RuleError::LeafKey { what })
    }

    /// Checks the rules for the certificate of a CA; `below` counts the CA
    /// certificates between this one and the leaf.
    ///
    /// # Errors
    /// The first rule that is broken.
    // X509-05 to X509-07
    pub fn check_ca(&self, below: usize, profile: Profile) -> Result<(), RuleError> {
        let constraints = self
            .basic_constraints()
            .filter(|b| b.ca && b.critical)
            .ok_or(RuleError::NotCa)?;
        let is_short = |length: &u32| usize::try_from(*length).is_ok_and(|length| length < below);
        if let Some(allowed) = constraints.path_len.filter(is_short) {
            return Err(RuleError::PathTooLong { below, allowed });
        }
        if !self.usage(profile)?.allows(KeyUsage::KEY_CERT_SIGN) {
            return Err(RuleError::KeyUsageMissing {
                usage: "key cert sign",
            });
        }
        Ok(())
    }

    fn usage(&self, profile: Profile) -> Result<KeyUsage, RuleError> {
        let usage = self.key_usage().ok_or(RuleError::KeyUsageAbsent)?;
        if profile.wants_critical_key_usage() && !usage.critical {
            return Err(RuleError::KeyUsageNotCritical);
        }
        Ok(usage)
    }

    fn check_purposes(&self, profile: Profile) -> Result<(), RuleError> {
        let purposes = self.extended_key_usage();
        match profile {
            Profile::CodeSigning => {
                let mut found = purposes.unwrap_or_default().iter().filter_map(|oid| {
                    NO_SIGNER
                        .iter()
                        .find_map(|(no, name)| (no == oid).then_some(*name))
                });
                match found.next() {
                    None => Ok(()),
                    Some(purpose) => Err(RuleError::PurposeForbidden { purpose }),
                }
            }
            Profile::Timestamping => {
                if purposes != Some(&[TIME_STAMPING]) {
                    return Err(RuleError::PurposeNotExact {
                        purpose: TIME_STAMPING_NAME,
                    });
                }
                let extension = self.extension(extension::EXT_KEY_USAGE);
                if !extension.is_some_and(|extension| extension.critical) {
                    return Err(RuleError::PurposeNotCritical);
                }
                Ok(())
            }
        }
    }
}

/// id-kp-timeStamping (RFC 5280 §4.2.1.12).
pub const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");

/// anyExtendedKeyUsage (RFC 5280 §4.2.1.12).
pub const ANY_PURPOSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

const TIME_STAMPING_NAME: &str = "Timestamping";

/// Purposes that a code-signing leaf must not have (X509-10, X509-11), as messages name them.
const NO_SIGNER: [(ObjectIdentifier, &str); 6] = [
    (ANY_PURPOSE, "Any"),
    (
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"),
        "ServerAuth",
    ),
    (
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"),
        "ClientAuth",
    ),
    (
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4"),
        "EmailProtection",
    ),
    (TIME_STAMPING, TIME_STAMPING_NAME),
    (
        ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9"),
        "OCSPSigning",
    ),
];

const FORBIDDEN_TO_LEAF: [(u16, &str); 7] = [
    (KeyUsage::KEY_ENCIPHERMENT, "key encipherment"),
    (KeyUsage::DATA_ENCIPHERMENT, "data encipherment"),
    (KeyUsage::KEY_AGREEMENT, "key agreement"),
    (KeyUsage::KEY_CERT_SIGN, "key cert sign"),
    (KeyUsage::CRL_SIGN, "CRL sign"),
    (KeyUsage::ENCIPHER_ONLY, "encipher only"),
    (KeyUsage::DECIPHER_ONLY, "decipher only"),
];
