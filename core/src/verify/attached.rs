//! Attached artifacts that a verification demands: an SBOM, a scan result, signed like the artifact
//! itself, or by signers that the rule names.
//!
//! An attached artifact counts when its own manifest, compared with its digest, says that it is of
//! the type and attached to this very artifact, and when it satisfies the same statement by its
//! own signatures; where the rule names signers, they take the place of those of the statement. What a list says about it decides nothing: a signature that is right but belongs
//! to something of another kind does not help (CVE-2022-35929), and one bad attached artifact never
//! hides a good one.

use super::outcome::{Accepted, Attached, AttachedFault, PassedOver, Verified, VerifyError};
use super::{Options, Outcome, Policy, Verifier};
use crate::artifact::Descriptor;
use crate::budget::{self, Phase, during};
use crate::oci::manifest::{Entry, Manifest};
use crate::oci::{OciError, SignatureSource};
use crate::policy::hardsign::{AttachedRule, Signers};
use crate::policy::oci;

/// Most artifacts of one type attached to one artifact that are looked at.
const MAX_CANDIDATES: usize = 100;

/// What an artifact, and what is attached to it, is verified by.
pub(super) struct Search<'a> {
    pub(super) policy: &'a Policy<oci::Document>,
    /// That of the artifact, which what is attached has to satisfy as well.
    pub(super) statement: &'a oci::Statement,
    pub(super) repository: &'a dyn SignatureSource,
    pub(super) scope: &'a str,
    /// Who must have signed, in place of those of the statement.
    pub(super) signers: Option<&'a Signers>,
    pub(super) options: Options<'a>,
}

impl Search<'_> {
    /// Finds an attached artifact that satisfies the rule.
    pub(super) async fn find(
        &self,
        verifier: &Verifier<'_>,
        main: &Verified,
        subject: &Descriptor,
        rule: &AttachedRule,
    ) -> Result<Attached, VerifyError> {
        let list =
            self.repository
                .list_referrers(subject, Some(rule.artifact_type()), MAX_CANDIDATES);
        let listed = during(Phase::ListingAttached, list)
            .await
            .map_err(|source| VerifyError::ListAttached {
                reference: main.reference.clone(),
                source: Box::new(source),
            })?;
        let mut passed_over = Vec::new();
        for entry in &listed.entries {
            match self.check(verifier, main, subject, rule, entry).await {
                Ok(verified) => {
                    return Ok(Attached {
                        artifact_type: rule.artifact_type().to_owned(),
                        same_signer: rule.same_signer(),
                        digest: entry.descriptor.digest.clone(),
                        verified: Box::new(verified),
                        passed_over,
                    });
                }
                Err(fault) => passed_over.push(PassedOver {
                    digest: entry.descriptor.digest.clone(),
                    fault,
                }),
            }
            // One that was not looked at to its end is no bad one.
            budget::check()?;
        }
        Err(VerifyError::Attached {
            reference: main.reference.clone(),
            artifact_type: rule.artifact_type().to_owned(),
            same_signer: rule.same_signer(),
            own_signers: rule.signers().is_some(),
            passed_over,
            truncated: listed.truncated,
        })
    }

    async fn check(
        &self,
        verifier: &Verifier<'_>,
        main: &Verified,
        subject: &Descriptor,
        rule: &AttachedRule,
        entry: &Entry,
    ) -> Result<Verified, AttachedFault> {
        let attached = Descriptor {
            annotations: Default::default(),
            ..entry.descriptor.clone()
        };
        let bytes = self.repository.fetch_manifest(&attached).await?;
        let manifest =
            Manifest::parse(&attached.media_type, &bytes).map_err(|source| OciError::Manifest {
                digest: attached.digest.clone(),
                source,
            })?;
        let refers = manifest.subject.as_ref();
        if refers.is_none_or(|s| !s.descriptor.same_content(subject)) {
            return Err(OciError::NotAReferrer {
                digest: attached.digest,
                subject: subject.digest.clone(),
            }
            .into());
        }
        let found = manifest.listed_artifact_type().unwrap_or_default();
        if found != rule.artifact_type() {
            return Err(AttachedFault::OtherType {
                found: found.to_owned(),
            });
        }
        let search = Search {
            signers: rule.signers(),
            ..*self
        };
        let outcome = verifier
            .verify_one(&search, &attached, rule.same_signer())
            .await
            .map_err(|error| AttachedFault::NotVerified(Box::new(error)))?;
        let Outcome::Verified(verified) = outcome else {
            return Err(AttachedFault::Skipped);
        };
        let same = |theirs: &Accepted| main.signatures.iter().any(|ours| is_same(ours, theirs));
        if rule.same_signer() && !verified.signatures.iter().any(same) {
            return Err(AttachedFault::OtherSigner);
        }
        Ok(verified)
    }
}

/// Whether two signatures are of one signer: both authentic, and made by one key, or by one subject
/// below one trust anchor.
fn is_same(ours: &Accepted, theirs: &Accepted) -> bool {
    let authentic = |a: &Accepted| a.signature.report().authenticity.is_passed();
    if !authentic(ours) || !authentic(theirs) {
        return false;
    }
    let (our_leaf, their_leaf) = (
        ours.signature.signature().chain().leaf(),
        theirs.signature.signature().chain().leaf(),
    );
    let anchors = ours.signature.anchors();
    let one_anchor = theirs.signature.anchors().iter().any(|theirs| {
        anchors
            .iter()
            .any(|ours| ours.certificate == theirs.certificate)
    });
    our_leaf.spki_der() == their_leaf.spki_der()
        || one_anchor && our_leaf.subject().der() == their_leaf.subject().der()
}
