//! Signatures that are there already, so that a batch that was broken off is finished and nothing is
//! signed twice.
//!
//! What counts is that the same signer would make the same once more: whatever a trust policy says
//! of it, and though another signature of the artifact may be better.

use super::{SignError, SignOptions, with_metadata};
use crate::artifact::Descriptor;
use crate::envelope::{Envelope, Format, Payload, Signature};
use crate::oci::{OciError, SignatureSource};
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

/// The signatures of an artifact that say the same as one with `options` would, whoever made them.
///
/// # Errors
/// [`SignError::Lookup`] where the signatures can't be listed or fetched, since one of them may be
/// the one; what can be read and is damaged is none. [`SignError`] for metadata that can't be signed.
pub async fn existing(
    repository: &dyn SignatureSource,
    artifact: &Descriptor,
    options: &SignOptions,
) -> Result<Vec<Existing>, SignError> {
    let wanted = Payload::new(with_metadata(artifact, &options.user_metadata)?);
    let listing = repository
        .list_signatures(artifact, MAX_SIGNATURES)
        .await
        .map_err(SignError::Lookup)?;
    let mut found = Vec::new();
    for manifest in listing.signatures {
        let fetched = match repository.fetch_signature(&manifest).await {
            Ok(fetched) => fetched,
            Err(error) if error.is_about_content() || is_no_signature(&error) => continue,
            Err(error) => return Err(SignError::Lookup(error)),
        };
        let leaf = leaf_of(fetched.format, &fetched.envelope, &wanted, options);
        found.extend(leaf.map(|leaf| Existing { manifest, leaf }));
    }
    Ok(found)
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

/// Something that is listed among signatures and is none.
fn is_no_signature(error: &OciError) -> bool {
    matches!(
        error,
        OciError::LayerCount { .. }
            | OciError::EnvelopeFormat { .. }
            | OciError::NotASignature { .. }
    )
}
