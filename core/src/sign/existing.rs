//! Signatures that are there already, so that a batch that was broken off is finished and nothing is
//! signed twice.
//!
//! What counts is that the same signer would make the same once more: whatever a trust policy says
//! of it, and though another signature of the artifact may be better.

use super::{SignError, SignOptions, with_metadata};
use crate::artifact::Descriptor;
use crate::budget::Lock;
use crate::envelope::{Envelope, Format, Payload, Signature};
use crate::oci::{Listing, SignatureSource, Warning};
use crate::timestamp::Token;

/// Most signatures of an artifact that are looked at.
const MAX_SIGNATURES: usize = 1000;

/// A stored signature that says the same as a new one would.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Existing {
    /// The signature's manifest.
    pub manifest: Descriptor,
    /// SHA-256 of the signing certificate.
    pub leaf: [u8; 32],
}

/// What was found of an artifact's signatures that say the same.
#[derive(Clone, Debug, Default)]
pub struct Present {
    signatures: Vec<Existing>,
    unseen: Option<Unseen>,
}

/// Why there may be a signature that was not seen.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unseen {
    /// There are more than are looked at.
    #[error("the artifact has more than {limit} signatures, and it is none of the first {limit}")]
    Truncated {
        /// So many are looked at.
        limit: usize,
    },
    /// A part of the list can't be read.
    #[error("the list of the artifact's signatures can't be read as a whole: {warning}")]
    Unreadable {
        /// What is wrong with it.
        warning: Warning,
    },
}

/// The certificate of a signer that tells it with its signatures alone, learnt from the first one of a run.
#[derive(Debug, Default)]
pub struct LearntLeaf(Lock<Option<[u8; 32]>>);

/// What came of a wish for a signature.
#[derive(Clone, Debug)]
pub enum Unless<F, M> {
    /// It was there.
    There(F),
    /// It was made.
    Made(M),
}

impl Present {
    /// The signature by the certificate with that SHA-256.
    ///
    /// # Errors
    /// [`SignError::Unseen`] where it was not seen and may be there.
    pub fn find(&self, leaf: [u8; 32]) -> Result<Option<&Existing>, SignError> {
        let found = self.signatures.iter().find(|found| found.leaf == leaf);
        match (found, &self.unseen) {
            (None, Some(unseen)) => Err(unseen.clone().into()),
            (found, _) => Ok(found),
        }
    }

    /// Whether there is nothing that could be the one, whoever signs.
    pub fn is_empty(&self) -> bool {
        self.signatures.is_empty() && self.unseen.is_none()
    }

    /// The signatures here, and those of another place.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.signatures.extend(other.signatures);
        self.unseen = self.unseen.or(other.unseen);
        self
    }
}

impl LearntLeaf {
    /// Makes a signature, unless `find` finds one by the same certificate: the one with the SHA-256 `told`, if the signer
    /// tells it, else the one that was learnt. Where `find` could find any (`may_be_there`) and the certificate is not known
    /// yet, one signature is made to learn it, and while that is made the others wait: of all that this value sees,
    /// no more than one is made in vain.
    ///
    /// # Errors
    /// Those of `find` and `make`.
    pub async fn make_unless_there<F, M, E>(
        &self,
        told: Option<[u8; 32]>,
        may_be_there: bool,
        find: impl Fn([u8; 32]) -> Result<Option<F>, E>,
        make: impl Future<Output = Result<M, E>>,
        leaf: impl Fn(&M) -> [u8; 32],
    ) -> Result<Unless<F, M>, E> {
        if !may_be_there {
            return make.await.map(Unless::Made);
        }
        let mut learning = None;
        let known = match told {
            Some(told) => Some(told),
            None => {
                let learnt = self.0.lock().await;
                let known = *learnt;
                learning = known.is_none().then_some(learnt);
                known
            }
        };
        if let Some(known) = known
            && let Some(found) = find(known)?
        {
            return Ok(Unless::There(found));
        }
        let made = match &mut learning {
            Some(learnt) => {
                let made = self.0.lead(make).await?;
                **learnt = Some(leaf(&made));
                made
            }
            None => make.await?,
        };
        drop(learning);
        // A signer without sessions may have renewed its certificate meanwhile.
        Ok(match find(leaf(&made))? {
            Some(found) => Unless::There(found),
            None => Unless::Made(made),
        })
    }
}

/// The signatures of an artifact that say the same as one with `options` would, whoever made them.
///
/// # Errors
/// [`SignError::Lookup`] where the signatures can't be listed or fetched, since one of them may be
/// the one; what can be read and is damaged is none. [`SignError`] for metadata that can't be signed.
pub async fn existing(
    repository: &dyn SignatureSource,
    artifact: &Descriptor,
    options: &SignOptions,
) -> Result<Present, SignError> {
    let wanted = Payload::new(with_metadata(artifact, &options.user_metadata)?);
    let listing = repository
        .list_signatures(artifact, MAX_SIGNATURES)
        .await
        .map_err(SignError::Lookup)?;
    let mut found = Present {
        unseen: unseen(&listing),
        ..Present::default()
    };
    for manifest in listing.signatures {
        let fetched = match repository.fetch_signature(&manifest).await {
            Ok(fetched) => fetched,
            Err(error) if error.is_about_content() => continue,
            Err(error) => return Err(SignError::Lookup(error)),
        };
        let leaf = leaf_of(fetched.format, &fetched.envelope, &wanted, options);
        let existing = leaf.map(|leaf| Existing { manifest, leaf });
        found.signatures.extend(existing);
    }
    Ok(found)
}

/// What of a list was not seen, if anything.
fn unseen(listing: &Listing) -> Option<Unseen> {
    let unreadable = |warning: &&Warning| matches!(warning, Warning::Unreadable { .. });
    let unreadable = listing.warnings.iter().find(unreadable);
    let unreadable = unreadable
        .cloned()
        .map(|warning| Unseen::Unreadable { warning });
    let truncated = listing.truncated.then_some(Unseen::Truncated {
        limit: MAX_SIGNATURES,
    });
    unreadable.or(truncated)
}

/// Whether the bytes of an envelope are a signature of `target` that makes one with `options` by the
/// certificate with that SHA-256 needless.
///
/// # Errors
/// [`SignError`] for metadata that can't be signed.
pub fn makes_needless(
    format: Format,
    envelope: &[u8],
    target: &Descriptor,
    options: &SignOptions,
    leaf: [u8; 32],
) -> Result<bool, SignError> {
    let wanted = Payload::new(with_metadata(target, &options.user_metadata)?);
    Ok(leaf_of(format, envelope, &wanted, options) == Some(leaf))
}

/// SHA-256 of the certificate whose intact, unexpired signature has the payload and the format that
/// are wanted, and carries what is asked for.
fn leaf_of(
    format: Format,
    envelope: &[u8],
    wanted: &Payload,
    options: &SignOptions,
) -> Option<[u8; 32]> {
    if format != options.format {
        return None;
    }
    let signature = Envelope::parse(format, envelope)
        .and_then(|envelope| envelope.verify_integrity_among(&options.proven))
        .ok()?;
    let payload = signature.payload();
    let same = payload.unknown.is_empty() && payload.target == wanted.target;
    let expiry = signature.attributes().expiry;
    let unexpired = expiry.is_none_or(|expiry| expiry > options.now);
    let carries = has_timestamp(&signature, options) && has_evidence(&signature, options);
    (same && unexpired && carries).then(|| signature.chain().leaf().thumbprint())
}

fn has_timestamp(signature: &Signature, options: &SignOptions) -> bool {
    if options.timestamp.is_none() {
        return true;
    }
    let token = signature.unsigned().timestamp_token.as_deref();
    token
        .and_then(|token| Token::parse(token).ok())
        .is_some_and(|token| token.check_intact(signature.signature_bytes()).is_ok())
}

fn has_evidence(signature: &Signature, options: &SignOptions) -> bool {
    let Some(evidence) = &options.evidence else {
        return true;
    };
    // A device makes other evidence each time it is asked: what counts is that it proves the same.
    let Some(Ok(carried)) = &signature.unsigned().attestation else {
        return false;
    };
    let leaf = signature.chain().leaf();
    evidence.proves_again(carried, leaf, options.now)
}
