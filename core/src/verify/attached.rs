//! Artifacts of a repository, with the attached artifacts that a verification demands: an SBOM, a scan result, signed like the artifact
//! itself, or by signers that the rule names.
//!
//! An attached artifact counts when its own manifest, compared with its digest, says that it is of
//! the type and attached to this very artifact, and when it satisfies the same statement by its
//! own signatures; where the rule names signers, they take the place of those of the statement.
//! What a list says about it decides nothing: a signature that is right but belongs to something of another
//! kind does not help (CVE-2022-35929), and one bad attached artifact never hides a good one.

use std::collections::BTreeMap;

use super::options::Options;
use super::outcome::{
    Accepted, Attached, AttachedFault, Outcome, PassedOver, Verified, VerifyError,
};
use super::verifier::{Search, Verifier};
use crate::artifact::Descriptor;
use crate::budget::{self, Phase, during};
use crate::oci::manifest::{Entry, Manifest};
use crate::oci::{OciError, SignatureSource};
use crate::policy::hardsign::AttachedRule;
use crate::policy::{Policy, oci};

/// Most artifacts of one type attached to one artifact that are looked at.
const MAX_CANDIDATES: usize = 100;

impl Verifier<'_> {
    /// Verifies one artifact of a repository.
    ///
    /// `artifact` is what the reference was resolved to; `scope` is the repository by which the
    /// statement is chosen: the artifact's own, or what the user gives for a layout. A
    /// signature that fails or can't be read never hides a good one.
    ///
    /// # Errors
    /// [`VerifyError`]. There is no success but the value.
    // OCI-39, VER-24, VER-28, DIF-45
    pub async fn verify_artifact(
        &self,
        policy: &Policy<oci::Document>,
        repository: &dyn SignatureSource,
        scope: &str,
        artifact: &Descriptor,
        options: Options<'_>,
    ) -> Result<Outcome, VerifyError> {
        self.verify_with_attached(policy, repository, scope, artifact, &[], options)
            .await
    }

    /// As [`Self::verify_artifact`], and demands attached artifacts beside those that the policy
    /// demands. The user metadata is not asked of them.
    ///
    /// # Errors
    /// [`VerifyError`]; [`VerifyError::AttachedUnderSkip`] where the policy verifies nothing.
    pub async fn verify_with_attached(
        &self,
        policy: &Policy<oci::Document>,
        repository: &dyn SignatureSource,
        scope: &str,
        artifact: &Descriptor,
        demanded: &[AttachedRule],
        options: Options<'_>,
    ) -> Result<Outcome, VerifyError> {
        let verify = self.with_attached(policy, repository, scope, artifact, demanded, options);
        options.budget.run(Phase::Verifying, verify).await
    }

    async fn with_attached(
        &self,
        policy: &Policy<oci::Document>,
        repository: &dyn SignatureSource,
        scope: &str,
        artifact: &Descriptor,
        demanded: &[AttachedRule],
        options: Options<'_>,
    ) -> Result<Outcome, VerifyError> {
        let statement = policy
            .document()
            .statement_for_repository(scope, || format!("{scope}@{}", artifact.digest))?;
        let rules = policy.rules(statement.name());
        let rules: Vec<_> = rules
            .iter()
            .flat_map(|rules| &rules.attached)
            .chain(demanded)
            .collect();
        // A signer of both is looked for among all signatures, not only the first good one.
        let all = rules.iter().any(|rule| rule.same_signer());
        let search = Search {
            policy,
            statement,
            repository,
            scope,
            signers: None,
            options,
        };
        let outcome = self.verify_one(&search, artifact, all).await?;
        let mut verified = match outcome {
            Outcome::Verified(verified) => verified,
            Outcome::Skipped(skipped) if rules.is_empty() => return Ok(Outcome::Skipped(skipped)),
            Outcome::Skipped(skipped) => {
                return Err(VerifyError::AttachedUnderSkip {
                    reference: skipped.reference,
                    statement: skipped.statement,
                });
            }
        };
        let nothing = BTreeMap::new();
        let search = Search {
            options: Options {
                user_metadata: &nothing,
                ..options
            },
            ..search
        };
        let mut attached = Vec::new();
        for rule in rules {
            attached.push(search.find(self, &verified, artifact, rule).await?);
        }
        verified.attached = attached;
        Ok(Outcome::Verified(verified))
    }
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
