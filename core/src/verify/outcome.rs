//! What comes out of verifying an artifact or a file.

use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::judge::VerifiedSignature;
use super::report::Rejected;
use crate::artifact::{Descriptor, Digest, Quoted};
use crate::blob::InvalidMediaType;
use crate::budget::Overspent;
use crate::oci::OciError;
use crate::policy::hardsign::{HardwareRule, Tally};
use crate::policy::{Level, PolicyFile, SelectionError};
use crate::text::WithCauses;
use crate::trust::TrustError;
use crate::x509::Certificate;

/// The answer where there is no error.
#[derive(Debug)]
pub enum Outcome {
    /// Verified.
    Verified(Verified),
    /// Nothing was verified, because the policy says so.
    // VER-04, BLOB-12
    Skipped(Skipped),
}

/// An artifact or file that satisfies its whole policy.
///
/// Only a verification that went all the way makes one, so holding it is the success.
// DIF-45
#[derive(Debug)]
pub struct Verified {
    pub(super) reference: String,
    pub(super) target: Descriptor,
    pub(super) statement: String,
    pub(super) level: Level,
    pub(super) policy: PolicyFile,
    /// Never empty.
    pub(super) signatures: Vec<Accepted>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) truncated: bool,
    pub(super) hardware: Option<Arc<HardwareRule>>,
    pub(super) tally: Option<Box<Tally>>,
    pub(super) attached: Vec<Attached>,
}

/// An attached artifact that was demanded and is good.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attached {
    /// Its type, by its own manifest.
    pub artifact_type: String,
    /// Whether a signer of the artifact itself had to sign it, and did.
    pub same_signer: bool,
    /// Its manifest.
    pub digest: Digest,
    /// Its own verification.
    pub verified: Box<Verified>,
    /// Others of the type that are not good.
    pub passed_over: Vec<PassedOver>,
}

/// An attached artifact that does not count.
#[derive(Debug)]
#[non_exhaustive]
pub struct PassedOver {
    /// Its manifest, as listed.
    pub digest: Digest,
    /// What keeps it from counting.
    pub fault: AttachedFault,
}

/// Why an attached artifact does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachedFault {
    /// It could not be fetched or read, or is attached to something else.
    #[error(transparent)]
    Unreadable(#[from] OciError),
    /// Its manifest says another type than the list.
    #[error("its manifest is of the type {}", Quoted(found))]
    OtherType {
        /// The type.
        found: String,
    },
    /// Its own signatures do not satisfy the statement.
    #[error(transparent)]
    NotVerified(Box<VerifyError>),
    /// The statement verifies nothing.
    #[error("the policy skips its verification")]
    Skipped,
    /// It is signed, but not by a signer of the artifact.
    #[error("none of its signers has signed the artifact itself")]
    OtherSigner,
}

/// A signature that counts.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// The signature's manifest; none for a file.
    pub manifest: Option<Digest>,
    /// The signature and what was found about it.
    pub signature: VerifiedSignature,
}

/// The policy's leave not to verify.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Skipped {
    /// The artifact or file, as the user knows it.
    pub reference: String,
    /// The statement.
    pub statement: String,
    /// The file of the policy.
    pub policy: PolicyFile,
}

/// A signature that was tried in vain.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The signature's manifest, or for a file its position among the signatures given.
    pub signature: SignatureName,
    /// Why it does not count.
    pub failure: AttemptFailure,
}

/// Signatures that were tried in vain, in the order in which they were: the reasons of a [`VerifyError`], and where
/// none counts its [`source`](Error::source). The text names each signature with all that is the matter with it; where there is one alone, its
/// failure is the source in turn.
#[derive(Debug, Default)]
pub struct Attempts(Vec<Attempt>);

/// Which signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SignatureName {
    /// The manifest's digest.
    Manifest(Digest),
    /// The position, from 0, among the signatures given for a file.
    Position(usize),
}

/// Why a signature does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptFailure {
    /// It could not be fetched or read.
    // VER-28, VER-30
    #[error(transparent)]
    Unreadable(#[from] OciError),
    /// It is in no format that signatures have.
    // VER-30
    #[error("integrity validation failed")]
    Foreign(#[source] OciError),
    /// It did not verify.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

/// Why an artifact or file is not verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// No statement applies.
    // TP-41, TP-45
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The signatures could not be listed.
    #[error("unable to list the signatures of {reference}")]
    List {
        /// The artifact.
        reference: String,
        /// What the registry said, or how the request failed.
        #[source]
        source: Box<OciError>,
    },
    /// There is no signature.
    // VER-26, SEC-13
    #[error(
        "no signature is associated with {}, make sure the artifact was signed successfully",
        Quoted(reference)
    )]
    NoSignature {
        /// The artifact.
        reference: String,
    },
    /// No signature verified.
    // VER-27
    #[error("signature verification failed for all the signatures associated with {reference}")]
    AllFailed {
        /// The artifact.
        reference: String,
        /// Every signature that was tried.
        #[source]
        attempts: Attempts,
    },
    /// No signature among the first ones verified, and there are more.
    // VER-25, DIF-44, DIF-52
    #[error(
        "signature evaluation stopped. The configured limit of {limit} signatures to verify per artifact exceeded"
    )]
    LimitReached {
        /// The artifact.
        reference: String,
        /// How many were tried.
        limit: usize,
        /// Every signature that was tried.
        #[source]
        attempts: Attempts,
    },
    /// Signatures verified, but not by enough parties.
    // VER-31
    #[error(
        "{reference} is not signed by enough of the signers that hardsign's own policy demands for statement {}: {tally}",
        Quoted(statement)
    )]
    Signers {
        /// The artifact or file.
        reference: String,
        /// The statement.
        statement: String,
        /// Who signed and who did not.
        tally: Box<Tally>,
        /// Whether there are more signatures than were tried.
        truncated: bool,
        /// Every signature that was tried in vain.
        attempts: Attempts,
    },
    /// What is attached could not be listed.
    #[error("unable to list what is attached to {reference}")]
    ListAttached {
        /// The artifact.
        reference: String,
        /// What the registry said, or how the request failed.
        #[source]
        source: Box<OciError>,
    },
    /// No attached artifact of a type is good.
    #[error(
        "{reference} has no attached artifact of type {} that {}",
        Quoted(artifact_type),
        match (own_signers, same_signer) {
            (true, _) => "is signed by the signers that the rule on it names",
            (false, true) => "satisfies the same statement by a signer of both",
            (false, false) => "satisfies the same statement",
        }
    )]
    Attached {
        /// The artifact.
        reference: String,
        /// The type.
        artifact_type: String,
        /// Whether a signer of the artifact itself had to sign.
        same_signer: bool,
        /// Whether the rule names who had to sign.
        own_signers: bool,
        /// Those that were looked at.
        passed_over: Vec<PassedOver>,
        /// Whether there are more than were looked at.
        truncated: bool,
    },
    /// Attached artifacts are demanded of what the policy does not verify.
    #[error(
        "attached artifacts are demanded of {reference}, but the trust policy statement {} skips signature verification",
        Quoted(statement)
    )]
    AttachedUnderSkip {
        /// The artifact.
        reference: String,
        /// The statement.
        statement: String,
    },
    /// Evidence of hardware is demanded of what the policy does not verify.
    #[error(
        "evidence of hardware is demanded of {reference}, but the trust policy statement {} skips signature verification",
        Quoted(statement)
    )]
    HardwareUnderSkip {
        /// The artifact or file.
        reference: String,
        /// The statement.
        statement: String,
    },
    /// What it may spend is used up: there is no verdict.
    #[error(transparent)]
    Budget(#[from] Overspent),
    /// The one signature of a file did not verify.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// No signature was given for a file.
    #[error("no signature was given for {reference}")]
    NoSignatureGiven {
        /// The file.
        reference: String,
    },
    /// The media type asked for is none.
    // BLOB-03
    #[error(transparent)]
    MediaType(#[from] InvalidMediaType),
    /// The file can't be read.
    #[error("failed to read {reference}")]
    ReadBlob {
        /// The file.
        reference: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

impl fmt::Display for SignatureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(digest) => write!(f, "signature {digest}"),
            Self::Position(position) => {
                write!(f, "signature number {}", position.saturating_add(1))
            }
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.signature.fmt(f)
    }
}

impl Error for Attempt {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.failure)
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [attempt] = self.0.as_slice() {
            return attempt.fmt(f);
        }
        for (number, attempt) in self.0.iter().enumerate() {
            let mark = if number == 0 { "" } else { "; " };
            write!(f, "{mark}{}", WithCauses(attempt))?;
        }
        Ok(())
    }
}

impl Error for Attempts {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self.0.as_slice() {
            [attempt] => attempt.source(),
            _ => None,
        }
    }
}

impl Deref for Attempts {
    type Target = [Attempt];

    fn deref(&self) -> &[Attempt] {
        &self.0
    }
}

impl From<Vec<Attempt>> for Attempts {
    fn from(attempts: Vec<Attempt>) -> Self {
        Self(attempts)
    }
}

impl IntoIterator for Attempts {
    type Item = Attempt;
    type IntoIter = std::vec::IntoIter<Attempt>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Attempts {
    type Item = &'a Attempt;
    type IntoIter = std::slice::Iter<'a, Attempt>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Verified {
    /// The artifact or file, as the user knows it.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// What was verified: consume it by this digest. The annotations are the user
    /// metadata of the first signature.
    // SEC-31, VER-33
    pub fn target(&self) -> &Descriptor {
        &self.target
    }

    /// The statement.
    pub fn statement(&self) -> &str {
        &self.statement
    }

    /// Its base level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The file of the policy.
    pub fn policy(&self) -> &PolicyFile {
        &self.policy
    }

    /// The signatures that verified, in the order in which they were tried; never empty.
    pub fn signatures(&self) -> &[Accepted] {
        &self.signatures
    }

    /// Who signed: the certificate of each signature that counts, each certificate once, in the order in which they were tried. A
    /// signature whose authenticity failed, and that a lenient statement merely lets pass, is nobody's, so that
    /// there may be none.
    ///
    /// These are the signers that were looked for: with [`Options::all_signatures`](super::Options::all_signatures) all of them, unless
    /// there are more signatures than may be tried ([`Verified::is_truncated`]).
    // VER-31
    pub fn signers(&self) -> impl Iterator<Item = &Certificate> {
        let mut seen: Vec<&Certificate> = Vec::new();
        self.signatures
            .iter()
            .filter(|accepted| accepted.signature.report().authenticity.is_passed())
            .map(|accepted| accepted.signature.signature().chain().leaf())
            .filter(move |leaf| {
                let new = !seen.iter().any(|other| other.der() == leaf.der());
                if new {
                    seen.push(leaf);
                }
                new
            })
    }

    /// The signatures that were tried in vain.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Whether there are more signatures than [`Options::max_signatures`](super::Options::max_signatures) lets be tried: what the others
    /// are is not known.
    // VER-25
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The attached artifacts that were demanded, in the order of the demands.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// The rule on hardware that every signature satisfies, where there is one.
    pub fn hardware(&self) -> Option<&HardwareRule> {
        self.hardware.as_deref()
    }

    /// Who signed, where hardsign's own policy asks.
    pub fn tally(&self) -> Option<&Tally> {
        self.tally.as_deref()
    }
}

impl VerifyError {
    /// Whether it is no verdict: something that the verdict may depend on could not be had (a list of signatures, or one of them
    /// from a registry that did not answer), so that another try may end otherwise. Any other error is a refusal.
    pub fn is_undecided(&self) -> bool {
        match self {
            Self::List { .. } | Self::ListAttached { .. } | Self::Budget(_) => true,
            Self::Attached { passed_over, .. } => passed_over.iter().any(|one| match &one.fault {
                AttachedFault::Unreadable(error) => error.is_outage(),
                AttachedFault::NotVerified(error) => error.is_undecided(),
                _ => false,
            }),
            _ => self
                .attempts()
                .iter()
                .any(|attempt| match &attempt.failure {
                    AttemptFailure::Unreadable(error) => error.is_outage(),
                    _ => false,
                }),
        }
    }

    /// The signatures that were tried in vain.
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Self::AllFailed { attempts, .. }
            | Self::LimitReached { attempts, .. }
            | Self::Signers { attempts, .. } => attempts,
            _ => &[],
        }
    }

    /// Where the one signature of a file failed, its own reason instead of "all failed" (CLI-97).
    pub(super) fn of_single(self) -> Self {
        match self {
            Self::AllFailed {
                reference,
                attempts: Attempts(mut attempts),
            } if attempts.len() == 1 => match attempts.pop() {
                Some(Attempt {
                    failure: AttemptFailure::Rejected(rejected),
                    ..
                }) => Self::Rejected(rejected),
                other => Self::AllFailed {
                    reference,
                    attempts: Attempts(other.into_iter().collect()),
                },
            },
            other => other,
        }
    }

    /// The fault of a trust store that made a signature fail, which the user can mend.
    // CLI-41
    pub fn trust_store_fault(&self) -> Option<&TrustError> {
        match self {
            Self::Rejected(rejected) => rejected.trust_store_fault(),
            _ => self
                .attempts()
                .iter()
                .find_map(|attempt| match &attempt.failure {
                    AttemptFailure::Rejected(rejected) => rejected.trust_store_fault(),
                    AttemptFailure::Unreadable(_) | AttemptFailure::Foreign(_) => None,
                }),
        }
    }
}
