//! Evidence that a signer's signatures are to carry: proven before anything is signed.

use jiff::Timestamp;

use crate::attestation::{AttestationError, Attested, Evidence, Roots};
use crate::envelope::{CarriedEvidence, CarriedFault};
use crate::x509::Certificate;

/// Evidence that proved itself and can be carried. Only [`ProvenEvidence::prove`] makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProvenEvidence {
    attested: Attested,
    carried: CarriedEvidence,
    roots: Roots,
}

/// Why evidence is not carried.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The statement's key can't be read, so no signature is of it.
    #[error("the key that the evidence is about can't be read")]
    Key,
    /// It proves nothing.
    #[error("the evidence proves nothing")]
    Attestation(#[source] Box<AttestationError>),
    /// It doesn't fit.
    #[error("the evidence can't be carried in a signature")]
    Carried(#[source] CarriedFault),
}

impl ProvenEvidence {
    /// Proves evidence for the key that it is about, up to one of the roots. A signature of another
    /// key is refused later ([`super::SignError::EvidenceOfOtherKey`]).
    ///
    /// # Errors
    /// [`ProveError`].
    pub fn prove(evidence: &Evidence, roots: &Roots, now: Timestamp) -> Result<Self, ProveError> {
        let key = evidence.statement().public_key();
        let key = key.map_err(|_| ProveError::Key)?;
        let attested = evidence
            .prove(key, roots, now)
            .map_err(|error| ProveError::Attestation(Box::new(error)))?;
        Ok(Self {
            carried: CarriedEvidence::new(&attested).map_err(ProveError::Carried)?,
            attested,
            roots: roots.clone(),
        })
    }

    /// Whether other evidence, as a signature carries it, is about that certificate's key and proves
    /// itself up to the same roots.
    pub(super) fn proves_again(
        &self,
        carried: &CarriedEvidence,
        leaf: &Certificate,
        now: Timestamp,
    ) -> bool {
        let (Ok(evidence), Ok(key)) = (carried.evidence(), leaf.public_key()) else {
            return false;
        };
        evidence
            .prove(key, &self.roots, now)
            .is_ok_and(|attested| attested.is_of(key))
    }

    /// What was proven.
    pub fn attested(&self) -> &Attested {
        &self.attested
    }

    /// What signatures carry.
    pub(super) fn carried(&self) -> &CarriedEvidence {
        &self.carried
    }

    /// Whether it is about the key of that certificate.
    pub(super) fn is_of(&self, leaf: &Certificate) -> bool {
        leaf.public_key().is_ok_and(|key| self.attested.is_of(key))
    }
}
