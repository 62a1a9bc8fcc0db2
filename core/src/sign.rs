//! Signing an artifact or a file: payload, draft, signature from elsewhere, envelope, store.
//!
//! Implements "Signing Steps" of the Notary Project signing workflow. The private key is behind
//! [`Signer`]; this module sees digests go out and signatures come back, and stores nothing that
//! did not verify. Where a timestamp is asked for, a signature without one is not stored
//! either.
//!
//! What must hold: an envelope leaves this module only after [`Draft::assemble`] (or the parsing of
//! a plugin's envelope) verified it over the bytes that are stored.

// Requirements: ENV-39, TSA-01.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::algorithm::KeySpec;
use crate::artifact::{Descriptor, Kind};
use crate::budget::{Budget, Overspent, Phase, during};
use crate::envelope::{
    Draft, DraftAttributes, Envelope, EnvelopeError, Format, PAYLOAD_CONTENT_TYPE, Payload,
    ProvenChains, Signature, Signed, SigningScheme, ToBeSigned,
};
use crate::oci::{OciError, Pushed, SignatureStore};
use crate::text::plural;
use crate::timestamp::{OutsideValidity, Token, TokenError};
use crate::x509::Name;

#[cfg(feature = "timestamp-client")]
pub use authority::TimestampAuthority;
pub use evidence::{ProveError, ProvenEvidence};
pub use existing::{Existing, LearntLeaf, Present, Unless, Unseen, existing, makes_needless};
pub use timestamp::{Countersigner, TimestampError};

#[cfg(feature = "timestamp-client")]
mod authority;
mod evidence;
mod existing;
mod timestamp;

/// A key that signs digests, wherever it lives.
///
/// Implemented by the plugin host; a test implements it in ten lines. What it answers is checked before anything is made of it.
///
/// ```
/// use hardsign_core::algorithm::KeySpec;
/// use hardsign_core::async_trait;
/// use hardsign_core::blob;
/// use hardsign_core::envelope::{Format, Signed, ToBeSigned};
/// use hardsign_core::sign::{SignOptions, Signer, SignerError, sign_blob};
///
/// /// A service that is asked for signatures, and has a bad day.
/// struct Service;
///
/// #[async_trait]
/// impl Signer for Service {
///     async fn key_spec(&self) -> Result<KeySpec, SignerError> {
///         Ok(KeySpec::Ec256)
///     }
///
///     async fn sign(&self, message: &ToBeSigned) -> Result<Signed, SignerError> {
///         assert_eq!(message.digest().len(), 32);
///         Ok(Signed {
///             signature: vec![0; 64],
///             certificate_chain: vec![b"no certificate".to_vec()].into(),
///             signing_agent: "example/1.0".into(),
///         })
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let file = blob::describe(&b"hello"[..], KeySpec::Ec256.hash(), "text/plain")?;
/// let options = SignOptions::new(Format::Cose, "2026-06-01T00:00:00Z".parse()?);
/// assert!(sign_blob(&Service, &file, &options).await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait Signer: Send + Sync {
    /// Type and size of the key, which decide algorithm and hash. Asked once per batch.
    async fn key_spec(&self) -> Result<KeySpec, SignerError>;

    /// Signs `message` and returns signature and certificate chain, neither of them checked.
    async fn sign(&self, message: &ToBeSigned) -> Result<Signed, SignerError>;

    /// How many signatures may be asked for at once.
    fn max_in_flight(&self) -> usize {
        1
    }
}

/// What gives out whole envelopes and never a bare signature (`SIGNATURE_GENERATOR.ENVELOPE`).
#[async_trait]
pub trait EnvelopeSigner: Send + Sync {
    /// Makes an envelope; nothing in it is checked.
    async fn envelope(
        &self,
        request: &EnvelopeRequest<'_>,
    ) -> Result<GeneratedEnvelope, SignerError>;
}

/// What [`sign_artifact`] and [`sign_blob`] sign with: any [`Signer`], or an [`EnvelopeSigner`] in
/// [`WholeEnvelopes`].
#[async_trait]
pub trait MakeSignature: Send + Sync {
    /// Signs a descriptor of this kind. The signature was verified; with it come annotations for its
    /// manifest.
    async fn make(
        &self,
        target: &Descriptor,
        options: &SignOptions,
        kind: Kind,
    ) -> Result<(Signature, BTreeMap<String, String>), SignError>;
}

/// An [`EnvelopeSigner`] to sign with.
#[derive(Clone, Copy, Debug)]
pub struct WholeEnvelopes<E>(pub E);

/// What an envelope-generating signer is given.
// PLG-32
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EnvelopeRequest<'a> {
    /// The payload, as JSON.
    pub payload: &'a [u8],
    /// Its content type.
    pub payload_type: &'static str,
    /// The envelope wanted.
    pub format: Format,
    /// Time from signing to expiry, if any.
    pub expiry: Option<Duration>,
    /// What is signed.
    // BLOB-13
    pub kind: Kind,
}

/// What an envelope-generating signer answers, unchecked.
// PLG-33
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GeneratedEnvelope {
    /// The envelope's bytes.
    pub bytes: Vec<u8>,
    /// Annotations for the signature manifest.
    // OCI-07
    pub annotations: BTreeMap<String, String>,
}

impl GeneratedEnvelope {
    /// An envelope without annotations.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            annotations: BTreeMap::new(),
        }
    }
}

/// Why a signer did not sign. The cause is the signer's own error, kept whole.
pub struct SignerError(Box<dyn StdError + Send + Sync>);

/// What to do about a signer whose signature, chain or envelope was refused for this reason.
pub fn advice_on_refused(cause: &EnvelopeError) -> &'static str {
    match cause {
        EnvelopeError::Signature { .. } => {
            "nothing was stored; the signature is not one by the key of the signing certificate: check that the key id and the certificate chain belong together, and if they do, report it to the plugin's publisher"
        }
        EnvelopeError::CertificateChainMissing
        | EnvelopeError::MalformedLeaf { .. }
        | EnvelopeError::CoseMalformedLeaf
        | EnvelopeError::Certificate { .. }
        | EnvelopeError::Chain { .. }
        | EnvelopeError::NotValidAtSigningTime { .. }
        | EnvelopeError::UnsupportedKey
        | EnvelopeError::KeySpecMismatch { .. } => {
            "nothing was stored; check that the key's certificate chain is complete, currently valid, meant for code signing, and issued for this key"
        }
        _ => {
            "nothing was stored; the plugin's answer is not a valid signature envelope: report it to the plugin's publisher"
        }
    }
}

/// What is asked for when signing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignOptions {
    /// The envelope format.
    pub format: Format,
    /// Time from signing to expiry, whole seconds, if any.
    // ENV-23
    pub expiry: Option<Duration>,
    /// User metadata: annotations of the signed payload.
    // ENV-13
    pub user_metadata: BTreeMap<String, String>,
    /// Who countersigns each signature with a timestamp, if anybody.
    // TSA-01
    pub timestamp: Option<Arc<dyn Countersigner>>,
    /// Evidence of where the signer's key lives, which each signature is to carry.
    pub evidence: Option<Arc<ProvenEvidence>>,
    /// The time of signing.
    pub now: Timestamp,
    /// What signing one artifact or file may spend, storing included.
    pub budget: Budget,
    /// Chains of signatures that were there already; clones of the options share them.
    proven: ProvenChains,
}

/// An artifact that has been signed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignedArtifact {
    /// The artifact.
    pub artifact: Descriptor,
    /// The signature's manifest, as stored.
    pub pushed: Pushed,
}

/// Why an artifact or file was not signed; nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// User metadata under the prefix that the Notary Project keeps for itself.
    // ENV-13
    #[error("error adding user metadata: metadata key {key} has reserved prefix io.cncf.notary")]
    ReservedMetadata {
        /// The key as given.
        key: String,
    },
    /// User metadata that the artifact has as an annotation already.
    // ENV-14
    #[error(
        "error adding user metadata: metadata key {key} is already present in the target artifact"
    )]
    MetadataPresent {
        /// The key as given.
        key: String,
    },
    /// The signing time and the expiry do not fit in a timestamp.
    #[error("expiry lies beyond the year 9999")]
    ExpiryRange,
    /// The signer failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The to-be-signed bytes could not be built, or what came back does not verify.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A timestamp was asked for and there is none that holds.
    // TSA-01, TSA-09
    #[error("timestamp")]
    Timestamp(#[from] TimestampError),
    /// An envelope plugin makes its own timestamps.
    // PLG-39
    #[error("timestamp: the plugin makes whole envelopes, to which no timestamp can be added")]
    TimestampUnsupported,
    /// Evidence was asked for, and an envelope plugin makes envelopes without it.
    #[error("the plugin makes whole envelopes, to which no evidence can be added")]
    EvidenceUnsupported,
    /// The evidence to be carried is about another key than the one that signed.
    #[error("the evidence is about another key than that of the certificate {signer}")]
    EvidenceOfOtherKey {
        /// Subject of the signing certificate.
        signer: Name,
    },
    /// The timestamp in a plugin's envelope is not over its signature, or not signed.
    // PLG-37
    #[error("the timestamp in the plugin's envelope can't be relied on")]
    GeneratedTimestamp(#[source] TokenError),
    /// The timestamp in a plugin's envelope does not show that the chain was valid.
    // PLG-37
    #[error("the timestamp in the plugin's envelope can't be relied on")]
    GeneratedTimestampOutside(#[source] OutsideValidity),
    /// An envelope plugin signed something else.
    // PLG-36
    #[error("during signing descriptor subject has changed from {requested} to {signed}")]
    SubjectChanged {
        /// What was to be signed.
        requested: String,
        /// What was signed.
        signed: String,
    },
    /// An envelope plugin added members to the payload.
    // PLG-36
    #[error(
        "during signing, following unknown attributes were added to subject descriptor: {added:?}"
    )]
    UnknownAttributes {
        /// Their names.
        added: Vec<String>,
    },
    /// An envelope plugin left the expiry out or changed it.
    // PLG-38
    #[error("the plugin's envelope does not have the requested expiry of {} after signing", plural(requested.as_secs(), "second"))]
    ExpiryChanged {
        /// What was asked for.
        requested: Duration,
    },
    /// An envelope plugin returned an annotation under the reserved prefix.
    // OCI-08
    #[error("the plugin returned the annotation {key:?}, whose prefix io.cncf.notary is reserved")]
    ReservedAnnotation {
        /// The annotation's name.
        key: String,
    },
    /// Whether there is a signature already can't be seen.
    #[error("failed to look for a signature that is there already")]
    Lookup(#[source] OciError),
    /// There may be a signature that was not seen.
    #[error("failed to look for a signature that is there already")]
    Unseen(#[from] Unseen),
    /// The signature was not stored.
    // OCI-26
    #[error("failed to push signature to registry with error")]
    Push(#[source] OciError),
    /// What it may spend is used up. Nothing was stored, unless [`Overspent::unsettled`] names it.
    #[error(transparent)]
    Budget(#[from] Overspent),
}

impl SignOptions {
    /// A signature of this format, with nothing that was not asked for, and without limits.
    pub fn new(format: Format, now: Timestamp) -> Self {
        Self {
            format,
            expiry: None,
            user_metadata: BTreeMap::new(),
            timestamp: None,
            evidence: None,
            now,
            budget: Budget::default(),
            proven: ProvenChains::default(),
        }
    }

    /// The same in another format.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// The same with another time from signing to expiry, or none.
    #[must_use]
    pub fn expiry(self, expiry: Option<Duration>) -> Self {
        Self { expiry, ..self }
    }

    /// The same with other user metadata.
    #[must_use]
    pub fn user_metadata(self, user_metadata: BTreeMap<String, String>) -> Self {
        Self {
            user_metadata,
            ..self
        }
    }

    /// The same, countersigned by this authority or by none.
    #[must_use]
    pub fn timestamp(self, timestamp: Option<Arc<dyn Countersigner>>) -> Self {
        Self { timestamp, ..self }
    }

    /// The same with this evidence, or none.
    #[must_use]
    pub fn evidence(self, evidence: Option<Arc<ProvenEvidence>>) -> Self {
        Self { evidence, ..self }
    }

    /// The same at another time.
    #[must_use]
    pub fn now(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }

    /// The same with what it may spend.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }
}

impl SignError {
    /// Whether the fault is in what the signer answered: a chain, a signature or an envelope that
    /// was not stored.
    pub fn is_of_the_answer(&self) -> bool {
        matches!(
            self,
            Self::Envelope(EnvelopeError::GeneratedInvalid { .. })
                | Self::GeneratedTimestamp(_)
                | Self::GeneratedTimestampOutside(_)
                | Self::SubjectChanged { .. }
                | Self::UnknownAttributes { .. }
                | Self::ExpiryChanged { .. }
                | Self::ReservedAnnotation { .. }
        )
    }
}

impl SignerError {
    /// Wraps a signer's own error.
    pub fn new(error: impl StdError + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }

    /// The signer's own error, where it is an `E`.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
    }

    /// The signer's own error itself, where it is an `E`.
    ///
    /// # Errors
    /// It is none; this is given back.
    pub fn downcast<E: StdError + 'static>(self) -> Result<E, Self> {
        self.0.downcast().map(|error| *error).map_err(Self)
    }
}

impl fmt::Debug for SignerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for SignerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl StdError for SignerError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// A signature of an artifact that is made and not yet stored.
#[derive(Debug)]
#[must_use = "nobody finds a signature that is not stored"]
pub struct Made {
    artifact: Descriptor,
    format: Format,
    envelope: Vec<u8>,
    annotations: BTreeMap<String, String>,
    leaf: [u8; 32],
}

/// Signs `artifact`, as `repository` resolved it, and stores the signature beside it.
///
/// # Errors
/// [`SignError`]; nothing is stored then, but for blobs that nothing refers to where the push
/// itself failed.
pub async fn sign_artifact(
    signer: &dyn MakeSignature,
    repository: &dyn SignatureStore,
    artifact: &Descriptor,
    options: &SignOptions,
) -> Result<SignedArtifact, SignError> {
    let sign = async {
        repository.check_room().map_err(SignError::Push)?;
        let made = make_signature(signer, artifact, options).await?;
        made.store(repository).await
    };
    options.budget.run(Phase::Signing, sign).await
}

/// Signs `artifact`; the signature is to be stored with [`Made::store`]. The budget is the caller's
/// to run.
///
/// # Errors
/// [`SignError`], but for [`SignError::Push`].
pub async fn make_signature(
    signer: &dyn MakeSignature,
    artifact: &Descriptor,
    options: &SignOptions,
) -> Result<Made, SignError> {
    let (signature, annotations) = signer.make(artifact, options, Kind::Oci).await?;
    Ok(Made {
        artifact: artifact.clone(),
        format: options.format,
        annotations: manifest_annotations(&signature, annotations)?,
        leaf: signature.chain().leaf().thumbprint(),
        envelope: signature.bytes().to_vec(),
    })
}

impl Made {
    /// SHA-256 of the signing certificate.
    pub fn leaf_thumbprint(&self) -> [u8; 32] {
        self.leaf
    }

    /// Stores the signature beside the artifact.
    ///
    /// # Errors
    /// [`SignError::Push`], [`SignError::Budget`].
    pub async fn store(self, repository: &dyn SignatureStore) -> Result<SignedArtifact, SignError> {
        let push = repository.push_signature(
            &self.artifact,
            self.format,
            &self.envelope,
            self.annotations,
        );
        let pushed = during(Phase::Storing, push).await;
        let pushed = pushed.map_err(|error| match error {
            OciError::Budget(overspent) => SignError::Budget(overspent),
            error => SignError::Push(error),
        })?;
        Ok(SignedArtifact {
            artifact: self.artifact,
            pushed,
        })
    }
}

/// Signs the descriptor of a file; the envelope of what is returned is the signature file.
///
/// # Errors
/// [`SignError`].
// BLOB-02
pub async fn sign_blob(
    signer: &dyn MakeSignature,
    blob: &Descriptor,
    options: &SignOptions,
) -> Result<Signature, SignError> {
    let sign = async {
        let made = signer.make(blob, options, Kind::Blob).await;
        made.map(|(signature, _)| signature)
    };
    options.budget.run(Phase::Signing, sign).await
}

#[async_trait]
impl<S: Signer> MakeSignature for S {
    async fn make(
        &self,
        target: &Descriptor,
        options: &SignOptions,
        _: Kind,
    ) -> Result<(Signature, BTreeMap<String, String>), SignError> {
        let payload = Payload::new(with_metadata(target, &options.user_metadata)?);
        let attributes = DraftAttributes {
            signing_time: options.now,
            expiry: expiry(options)?,
        };
        let key_spec = self.key_spec().await?;
        let mut draft = Draft::new(options.format, &payload, &attributes, key_spec)?;
        if let Some(evidence) = &options.evidence {
            draft = draft.with_attestation(evidence.carried().clone());
        }
        let signed = self.sign(draft.to_be_signed()).await?;
        // Nothing is shown to a timestamping authority that would not be stored.
        let mut signature = draft.assemble(signed)?;
        if let Some(evidence) = &options.evidence {
            let leaf = signature.chain().leaf();
            if !evidence.is_of(leaf) {
                return Err(SignError::EvidenceOfOtherKey {
                    signer: leaf.subject().clone(),
                });
            }
        }
        if let Some(countersigner) = &options.timestamp {
            let token = countersigner.countersign(&signature, options.now);
            let token = during(Phase::Timestamping, token).await?;
            signature = draft.stamp(&signature, &token)?;
        }
        Ok((signature, BTreeMap::new()))
    }
}

#[async_trait]
impl<E: EnvelopeSigner> MakeSignature for WholeEnvelopes<E> {
    async fn make(
        &self,
        target: &Descriptor,
        options: &SignOptions,
        kind: Kind,
    ) -> Result<(Signature, BTreeMap<String, String>), SignError> {
        if options.timestamp.is_some() {
            return Err(SignError::TimestampUnsupported);
        }
        if options.evidence.is_some() {
            return Err(SignError::EvidenceUnsupported);
        }
        let payload = Payload::new(with_metadata(target, &options.user_metadata)?);
        let request = EnvelopeRequest {
            payload: &payload.to_json(options.format),
            payload_type: PAYLOAD_CONTENT_TYPE,
            format: options.format,
            expiry: options.expiry,
            kind,
        };
        let generated = self.0.envelope(&request).await?;
        let signature = check_generated(&generated.bytes, &payload, options)?;
        Ok((signature, generated.annotations))
    }
}

#[async_trait]
impl Signer for Box<dyn Signer> {
    async fn key_spec(&self) -> Result<KeySpec, SignerError> {
        (**self).key_spec().await
    }

    async fn sign(&self, message: &ToBeSigned) -> Result<Signed, SignerError> {
        (**self).sign(message).await
    }

    fn max_in_flight(&self) -> usize {
        (**self).max_in_flight()
    }
}

#[async_trait]
impl<E: EnvelopeSigner> EnvelopeSigner for &E {
    async fn envelope(
        &self,
        request: &EnvelopeRequest<'_>,
    ) -> Result<GeneratedEnvelope, SignerError> {
        (**self).envelope(request).await
    }
}

/// The descriptor to sign: what the reference keeps of it (ENV-05), and the user metadata.
fn with_metadata(
    target: &Descriptor,
    metadata: &BTreeMap<String, String>,
) -> Result<Descriptor, SignError> {
    let mut descriptor = target.clone();
    for (key, value) in metadata {
        if key.starts_with(RESERVED_PREFIX) {
            return Err(SignError::ReservedMetadata { key: key.clone() });
        }
        if descriptor
            .annotations
            .insert(key.clone(), value.clone())
            .is_some()
        {
            return Err(SignError::MetadataPresent { key: key.clone() });
        }
    }
    Ok(descriptor)
}

fn expiry(options: &SignOptions) -> Result<Option<Timestamp>, SignError> {
    let Some(duration) = options.expiry else {
        return Ok(None);
    };
    options
        .now
        .checked_add(duration)
        .map(Some)
        .map_err(|_| SignError::ExpiryRange)
}

/// Checks an envelope that a plugin made (PLG-35 to PLG-38): it verifies, signs the same artifact
/// with the requested annotations, has the requested expiry, and a timestamp only if that holds.
/// The envelope is stored as it is (TSA-13).
fn check_generated(
    bytes: &[u8],
    requested: &Payload,
    options: &SignOptions,
) -> Result<Signature, SignError> {
    let signature = Envelope::parse(options.format, bytes)
        .and_then(Envelope::verify_made)
        .and_then(|signature| {
            let time = signature.attributes().signing_time;
            match signature.chain().check_validity_at(time) {
                Ok(()) => Ok(signature),
                Err(source) => Err(EnvelopeError::NotValidAtSigningTime { source }),
            }
        })
        .map_err(|source| EnvelopeError::GeneratedInvalid {
            source: Box::new(source),
        })?;
    let signed = signature.payload();
    if !signed.unknown.is_empty() {
        // The reference names members without the path to them.
        let name = |path: &String| path.rsplit('.').next().unwrap_or(path).to_owned();
        return Err(SignError::UnknownAttributes {
            added: signed.unknown.iter().map(name).collect(),
        });
    }
    let kept = requested
        .target
        .annotations
        .iter()
        .all(|(key, value)| signed.target.annotations.get(key) == Some(value));
    if !kept || !signed.target.same_content(&requested.target) {
        return Err(SignError::SubjectChanged {
            requested: describe(&requested.target),
            signed: describe(&signed.target),
        });
    }
    check_generated_timestamp(&signature)?;
    if let Some(requested) = options.expiry {
        let attributes = signature.attributes();
        let expected = attributes.signing_time.checked_add(requested).ok();
        if expected.is_none() || attributes.expiry != expected {
            return Err(SignError::ExpiryChanged { requested });
        }
    }
    Ok(signature)
}

/// PLG-37, DIF-10: whose timestamp it may be is the verifier's to say.
fn check_generated_timestamp(signature: &Signature) -> Result<(), SignError> {
    let scheme = signature.attributes().signing_scheme;
    let (SigningScheme::X509, Some(token)) = (scheme, &signature.unsigned().timestamp_token) else {
        return Ok(());
    };
    let range = Token::parse(token)
        .and_then(|token| token.check_intact(signature.signature_bytes()))
        .map_err(SignError::GeneratedTimestamp)?;
    range
        .check_inside(signature.chain().certificates())
        .map_err(SignError::GeneratedTimestampOutside)
}

fn describe(descriptor: &Descriptor) -> String {
    format!(
        "{{{} {} {} {:?}}}",
        descriptor.media_type, descriptor.digest, descriptor.size, descriptor.annotations
    )
}

/// The annotations of the signature manifest (OCI-05 to OCI-08).
fn manifest_annotations(
    signature: &Signature,
    from_plugin: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, SignError> {
    let mut annotations = from_plugin;
    if let Some(key) = annotations
        .keys()
        .find(|k| k.starts_with(RESERVED_PREFIX) && *k != THUMBPRINTS)
    {
        return Err(SignError::ReservedAnnotation { key: key.clone() });
    }
    let thumbprints: Vec<String> = signature
        .chain()
        .certificates()
        .iter()
        .map(|certificate| format!("\"{}\"", certificate.thumbprint_hex()))
        .collect();
    annotations.insert(
        THUMBPRINTS.to_owned(),
        format!("[{}]", thumbprints.join(",")),
    );
    annotations.insert(
        CREATED.to_owned(),
        signature.attributes().signing_time.to_string(),
    );
    Ok(annotations)
}

/// Annotation with the SHA-256 thumbprints of the signing chain, leaf first, as a JSON array.
// OCI-05
pub const THUMBPRINTS: &str = "io.cncf.notary.x509chain.thumbprint#S256";

/// Annotation with the time of signing.
// OCI-06
pub const CREATED: &str = "org.opencontainers.image.created";

const RESERVED_PREFIX: &str = "io.cncf.notary";
