//! Verification of whole artifacts and files: which signatures are tried, in which order, and when
//! it is enough (VER-24 to VER-31). The checks themselves are in [`super::judge()`].

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use super::content::Target;
use super::extension::{Extension, ExtensionRequest, NoPlugins};
use super::integrity::{IntegrityError, integrity};
use super::judge::{Case, Grounds, Question, Reply, VerifiedSignature};
use super::options::Options;
use super::outcome::{
    Accepted, Attempt, AttemptFailure, Outcome, SignatureName, Skipped, Verified, VerifyError,
};
use super::report::Rejected;
use super::window::Window;
use crate::artifact::Descriptor;
use crate::blob::{Digests, check_media_type, read_apart};
use crate::budget::{self, Phase, during};
use crate::envelope::{Format, ProvenChains, Signature};
use crate::event::{Event, Observer};
use crate::json;
use crate::oci::{FetchedSignature, OciError, SignatureSource};
use crate::policy::hardsign::{HardwareRule, Signer, Signers, Tally};
use crate::policy::{Level, Policy, PolicyFile, Rules, Verification, blob, oci};
#[cfg(not(feature = "revocation-online"))]
use crate::revocation::Offline;
use crate::revocation::{Checker, Inquiry};
#[cfg(feature = "revocation-online")]
use crate::revocation::{Online, OnlineOptions};
use crate::trust::{LoadedStores, StoreType, TrustStore, TrustStores};
use crate::x509::Certificate;

/// Verifies artifacts and files. One verifier serves a whole batch, also at once: trust stores are
/// read once and looked at for changes between artifacts; a signer's chain is proven
/// once. It needs a Tokio runtime.
///
/// ```
/// # use hardsign_test_support::{Key, Pki, certificate, jws};
/// # use hardsign_core::algorithm::KeySpec;
/// use hardsign_core::envelope::Format;
/// use hardsign_core::policy::blob::Document;
/// use hardsign_core::trust::{LoadedStores, StoreRef, TrustStore};
/// use hardsign_core::verify::{Blob, BlobSignature, Options, Outcome, Policy, Verifier};
/// use hardsign_core::x509::Certificate;
///
/// # let pki = Pki::new();
/// # let (root, chain) = (pki.root.der.clone(), pki.chain(&pki.signer(KeySpec::Ec256)));
/// # let file = hardsign_core::blob::describe(&b"hello"[..], KeySpec::Ec256.hash(), "text/plain")?;
/// # let payload = format!(r#"{{"targetArtifact":{{"mediaType":"text/plain","digest":"{}","size":5}}}}"#, file.digest);
/// # let key = Key::of(KeySpec::Ec256);
/// # let protected = jws::protected(&key).to_json();
/// # let envelope = jws::Jws::sign(&protected, payload.as_bytes(), jws::header(&chain), &key).to_bytes();
/// # let now = certificate::now();
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let policy = Policy::<Document>::from_bytes(
///     "mine",
///     br#"{"version": "1.0", "trustPolicies": [{
///         "name": "mine", "globalPolicy": true, "signatureVerification": {"level": "strict"},
///         "trustStores": ["ca:mine"], "trustedIdentities": ["*"]
///     }]}"#,
/// )?;
/// let store = TrustStore::new(StoreRef::parse("ca:mine")?, Certificate::parse_file(&root)?)?;
/// let verifier = Verifier::new(LoadedStores::default().with(store));
///
/// let file = Blob { reference: "hello.txt", reader: &b"hello"[..], media_type: None };
/// let signature = BlobSignature { format: Format::Jws, envelope: &envelope };
/// match verifier.verify_blob(&policy, None, file, &[signature], Options::new(now)).await? {
///     Outcome::Verified(verified) => {
///         for signer in verified.signers() {
///             println!("signed by {}", signer.subject());
///         }
/// #       assert_eq!(verified.signers().count(), 1);
///     }
///     Outcome::Skipped(_) => println!("the policy verifies nothing here"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
// TST-16, SEC-32
pub struct Verifier<'v> {
    stores: Box<dyn TrustStores + 'v>,
    extension: Box<dyn Extension + 'v>,
    revocation: Box<dyn Checker + 'v>,
    proven: ProvenChains,
}

/// One signature of a file, as it was read.
#[derive(Clone, Copy, Debug)]
pub struct BlobSignature<'a> {
    /// The format, by the file's name.
    pub format: Format,
    /// The envelope.
    pub envelope: &'a [u8],
}

/// A file to verify.
#[derive(Debug)]
pub struct Blob<'a, F> {
    /// The file, as the user knows it.
    pub reference: &'a str,
    /// Its bytes; read to the end at most once.
    pub reader: F,
    /// The media type that the signature must give it.
    // BLOB-09
    pub media_type: Option<&'a str>,
}

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

/// How many signatures are fetched at once, where the first may well not be the good one.
const FETCHES: usize = 4;

impl<'v> Verifier<'v> {
    /// A verifier with these trust stores, without verification plugins, that checks revocation
    /// without a CRL cache on disk. Without the feature `revocation-online` it asks nobody about revocation, as
    /// [`Offline`](crate::revocation::Offline) does.
    pub fn new(stores: impl TrustStores + 'v) -> Self {
        #[cfg(feature = "revocation-online")]
        let checker = Online::new(OnlineOptions::default());
        #[cfg(not(feature = "revocation-online"))]
        let checker = Offline;
        Self {
            stores: Box::new(stores),
            extension: Box::new(NoPlugins),
            revocation: Box::new(checker),
            proven: ProvenChains::default(),
        }
    }

    /// The same with verification plugins.
    #[must_use]
    pub fn with_extension(self, extension: impl Extension + 'v) -> Self {
        Self {
            extension: Box::new(extension),
            ..self
        }
    }

    /// The same with another way to check revocation.
    #[must_use]
    pub fn with_revocation(self, revocation: impl Checker + 'v) -> Self {
        Self {
            revocation: Box::new(revocation),
            ..self
        }
    }

    /// Verifies one artifact of the scope by its own signatures under its statement; with `all`, every
    /// signature is tried.
    pub(super) async fn verify_one(
        &self,
        search: &Search<'_>,
        artifact: &Descriptor,
        all: bool,
    ) -> Result<Outcome, VerifyError> {
        let Search {
            policy,
            statement,
            repository,
            scope,
            signers,
            options,
        } = *search;
        let shown = format!("{}@{}", repository.name(), artifact.digest);
        let reference = format!("{scope}@{}", artifact.digest);
        options.observer.observe(&Event::CheckLevel {
            reference: &reference,
        });
        tell_statement(statement.name(), statement.verification(), options);
        let Verification::Verify(rules) = statement.verification() else {
            return skipped(shown, statement.name(), policy.source(), options);
        };
        let limit = options.max_signatures.get();
        let list = repository.list_signatures(artifact, limit);
        let listing = during(Phase::Listing, list)
            .await
            .map_err(|source| VerifyError::List {
                reference: shown.clone(),
                source: Box::new(source),
            })?;
        for warning in &listing.warnings {
            options.observer.observe(&Event::ListedInPart {
                warning: format_args!("{warning}"),
            });
        }
        let truncated = listing.truncated || listing.signatures.len() > limit;
        let mut candidates = listing.signatures;
        candidates.truncate(limit);
        if candidates.is_empty() {
            return Err(VerifyError::NoSignature { reference: shown });
        }
        let own = policy.rules(statement.name());
        let demanded = signers.or(own.and_then(|own| own.signers.as_ref()));
        let rules = match signers {
            Some(signers) => &rules.for_signers(signers),
            None => rules,
        };
        let begin = self.begin(rules, repository, &mut candidates, options.observer);
        let (stores, mut only, promising) = begin.await;

        let grounds = Grounds::of_several(statement.name(), rules, own, &stores, options);
        let mut gathered = Gathered::new(demanded, grounds.hardware, truncated);
        let mut queue = candidates.iter();
        let mut window = Window::new();
        let one_is_enough = demanded.is_none() && !all && !options.all_signatures;
        // The others are fetched where one that names a trusted certificate turns out not to be good.
        let mut at_once = match promising && one_is_enough {
            true => 1,
            false => FETCHES,
        };
        loop {
            while window.len() < at_once
                && let Some(manifest) = queue.next()
            {
                let fetched = only.take();
                let fetch = repository.fetch_signature(manifest);
                window.push(async move {
                    match fetched {
                        Some(fetched) => (manifest, fetched),
                        None => (manifest, during(Phase::Fetching, fetch).await),
                    }
                });
            }
            let Some((manifest, fetched)) = window.next().await else {
                break;
            };
            budget::check()?;
            let tried = self.try_artifact(&grounds, &reference, artifact, manifest, fetched);
            let tried = tried.await;
            if gathered.add(tried) && !all && !options.all_signatures {
                break;
            }
            at_once = FETCHES;
        }
        gathered.conclude(shown, statement.name(), rules.level(), policy.source())
    }

    /// Verifies a file against the signatures that the user names. The file is read on a thread that
    /// may block. `statement` is the policy statement's name, or none for the global one.
    ///
    /// # Errors
    /// [`VerifyError`]. There is no success but the value.
    // TP-45, DIF-45
    pub async fn verify_blob<F: Read + Send + 'static>(
        &self,
        policy: &Policy<blob::Document>,
        statement: Option<&str>,
        blob: Blob<'_, F>,
        signatures: &[BlobSignature<'_>],
        options: Options<'_>,
    ) -> Result<Outcome, VerifyError> {
        let verify = self.blob(policy, statement, blob, signatures, options);
        options.budget.run(Phase::Verifying, verify).await
    }

    async fn blob<F: Read + Send + 'static>(
        &self,
        policy: &Policy<blob::Document>,
        statement: Option<&str>,
        blob: Blob<'_, F>,
        signatures: &[BlobSignature<'_>],
        options: Options<'_>,
    ) -> Result<Outcome, VerifyError> {
        let reference = blob.reference.to_owned();
        if let Some(media_type) = blob.media_type {
            check_media_type(media_type)?;
        }
        let statement = policy.document().statement_for(statement)?;
        tell_statement(statement.name(), statement.verification(), options);
        let Verification::Verify(rules) = statement.verification() else {
            return skipped(reference, statement.name(), policy.source(), options);
        };
        let limit = options.max_signatures.get();
        let tried = signatures.get(..limit).unwrap_or(signatures);
        // The signatures say which hashes are needed; then one pass over the file for all.
        let mut intact = Vec::new();
        for BlobSignature { format, envelope } in tried {
            budget::check()?;
            let integrity = integrity_apart(*format, envelope.to_vec(), &self.proven).await;
            intact.push((*format, integrity));
        }
        let digests = digests(
            blob.reader,
            intact.iter().filter_map(|(_, s)| s.as_ref().ok()),
            &reference,
        );
        let digests = digests.await.map_err(|source| VerifyError::ReadBlob {
            reference: reference.clone(),
            source,
        })?;
        let stores = self.load(rules, options.observer).await;
        let own = policy.rules(statement.name());
        let demanded = own.and_then(|own| own.signers.as_ref());
        let grounds = Grounds::of_several(statement.name(), rules, own, &stores, options);
        let truncated = tried.len() < signatures.len();
        let mut gathered = Gathered::new(demanded, grounds.hardware, truncated);
        for (position, (format, integrity)) in intact.into_iter().enumerate() {
            budget::check()?;
            options.observer.observe(&Event::VerifyBlobSignature {
                media_type: format.media_type(),
            });
            let target = Target::Blob {
                digests: &digests,
                media_type: blob.media_type,
            };
            let tried = match self.judge(&grounds, integrity, target).await {
                Ok(signature) => Ok(Accepted {
                    manifest: None,
                    signature,
                }),
                Err(rejected) => Err(Attempt {
                    signature: SignatureName::Position(position),
                    failure: rejected.into(),
                }),
            };
            if gathered.add(tried) && !options.all_signatures {
                break;
            }
        }
        if tried.is_empty() {
            return Err(VerifyError::NoSignatureGiven { reference });
        }
        gathered
            .conclude(reference, statement.name(), rules.level(), policy.source())
            .map_err(VerifyError::of_single)
    }

    /// Reads the stores of the statement, which say which of several signatures comes first; the only one is fetched while they
    /// are read. The stores, that one, and whether the first names a trusted certificate.
    async fn begin(
        &self,
        rules: &Rules,
        repository: &dyn SignatureSource,
        candidates: &mut [Descriptor],
        observer: &dyn Observer,
    ) -> (
        LoadedStores,
        Option<Result<FetchedSignature, OciError>>,
        bool,
    ) {
        let load = self.load(rules, observer);
        if let [only] = candidates {
            let fetch = during(Phase::Fetching, repository.fetch_signature(only));
            let (stores, fetched) = tokio::join!(load, fetch);
            return (stores, Some(fetched), true);
        }
        let stores = load.await;
        let promising = order(candidates, &stores);
        (stores, None, promising)
    }

    /// The stores of the statement. One that can't be used is a failure only where it is looked
    /// into.
    async fn load(&self, rules: &Rules, observer: &dyn Observer) -> LoadedStores {
        let mut stores = LoadedStores::default();
        for store in rules.stores() {
            let loaded = self.stores.load(store).await;
            for warning in &loaded.warnings {
                observer.observe(&Event::TrustStore {
                    warning: format_args!("{warning}"),
                });
            }
            stores.insert(store.clone(), loaded.store);
        }
        stores
    }

    /// Judges a signature, and asks what has to be asked on the way.
    async fn judge(
        &self,
        grounds: &Grounds<'_>,
        integrity: Result<Signature, IntegrityError>,
        target: Target<'_>,
    ) -> Result<VerifiedSignature, Rejected> {
        let mut case = Case::new(grounds, integrity, target);
        loop {
            let answer = match case.next() {
                Err(verdict) => return *verdict,
                Ok(question) => self.ask(grounds, question).await,
            };
            case.answer(answer);
        }
    }

    async fn ask(&self, grounds: &Grounds<'_>, question: Question<'_>) -> Reply {
        match question {
            Question::Plugin(named) => {
                let described = self.extension.describe(&named.name, grounds.plugin_config);
                Reply::Plugin(during(Phase::VerificationPlugin, described).await)
            }
            Question::Authority(verified) => {
                let inquiry = Inquiry::about(verified.chain(), None, grounds.now, grounds.observer);
                let checked = self.revocation.check(inquiry);
                Reply::Revocation(during(Phase::Revocation, checked).await)
            }
            Question::Signer(signature) => {
                let authentic = signature.attributes().authentic_signing_time();
                let chain = signature.chain();
                let inquiry = Inquiry::about(chain, authentic, grounds.now, grounds.observer);
                let checked = self.revocation.check(inquiry);
                Reply::Revocation(during(Phase::Revocation, checked).await)
            }
            Question::Decision {
                plugin,
                signature,
                errand,
            } => {
                let request = ExtensionRequest {
                    signature,
                    identities: &errand.identities,
                    checks: &errand.checks,
                    config: grounds.plugin_config,
                };
                let decided = self.extension.verify(&plugin.name, request);
                Reply::Decision(during(Phase::VerificationPlugin, decided).await)
            }
        }
    }

    /// Verifies one fetched signature of an artifact.
    async fn try_artifact(
        &self,
        grounds: &Grounds<'_>,
        reference: &str,
        artifact: &Descriptor,
        manifest: &Descriptor,
        fetched: Result<FetchedSignature, OciError>,
    ) -> Result<Accepted, Attempt> {
        let digest = &manifest.digest;
        let failure = match fetched {
            Err(error) => {
                grounds.observer.observe(&Event::SignatureUnreadable {
                    digest,
                    error: &error,
                });
                match error {
                    OciError::EnvelopeFormat { .. } => AttemptFailure::Foreign(error),
                    error => AttemptFailure::Unreadable(error),
                }
            }
            Ok(fetched) => {
                grounds.observer.observe(&Event::VerifySignature {
                    artifact: &artifact.digest,
                    reference,
                    media_type: fetched.format.media_type(),
                });
                let integrity =
                    integrity_apart(fetched.format, fetched.envelope, &self.proven).await;
                match self
                    .judge(grounds, integrity, Target::Artifact(artifact))
                    .await
                {
                    Ok(signature) => {
                        grounds.observer.observe(&Event::SignatureAccepted {
                            artifact: &artifact.digest,
                            digest,
                        });
                        return Ok(Accepted {
                            manifest: Some(digest.clone()),
                            signature,
                        });
                    }
                    Err(rejected) => {
                        grounds.observer.observe(&Event::SignatureFailed {
                            digest,
                            error: &rejected,
                        });
                        AttemptFailure::Rejected(rejected)
                    }
                }
            }
        };
        Err(Attempt {
            signature: SignatureName::Manifest(digest.clone()),
            failure,
        })
    }
}

impl fmt::Debug for Verifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// What came of the signatures tried so far.
struct Gathered<'a> {
    /// Who must have signed.
    demanded: Option<&'a Signers>,
    /// In what kind of hardware the keys had to live.
    hardware: Option<&'a Arc<HardwareRule>>,
    /// Whether there are more signatures than may be tried.
    truncated: bool,
    accepted: Vec<Accepted>,
    attempts: Vec<Attempt>,
    tally: Option<Tally>,
}

impl<'a> Gathered<'a> {
    fn new(
        demanded: Option<&'a Signers>,
        hardware: Option<&'a Arc<HardwareRule>>,
        truncated: bool,
    ) -> Self {
        Self {
            demanded,
            hardware,
            truncated,
            accepted: Vec::new(),
            attempts: Vec::new(),
            tally: None,
        }
    }

    /// Notes a signature; true once no other is needed.
    fn add(&mut self, tried: Result<Accepted, Attempt>) -> bool {
        match tried {
            Ok(accepted) => self.accepted.push(accepted),
            Err(attempt) => {
                self.attempts.push(attempt);
                return false;
            }
        }
        let Some(demanded) = self.demanded else {
            return true;
        };
        let tally = demanded.tally(&self.signers());
        let enough = tally.is_enough();
        self.tally = Some(tally);
        enough
    }

    /// Those whose signatures are authentic: one that a lenient statement merely lets pass is
    /// nobody's (VER-31).
    fn signers(&self) -> Vec<Signer> {
        let authentic = |a: &&Accepted| a.signature.report().authenticity.is_passed();
        let accepted = self.accepted.iter().filter(authentic);
        accepted
            .map(|accepted| Signer {
                leaf: accepted.signature.signature().chain().leaf().clone(),
                trusted_by: accepted
                    .signature
                    .anchors()
                    .iter()
                    .map(|anchor| anchor.store.clone())
                    .collect(),
            })
            .collect()
    }

    /// The verdict: the only place that makes a [`Verified`].
    fn conclude(
        self,
        reference: String,
        statement: &str,
        level: Level,
        policy: &PolicyFile,
    ) -> Result<Outcome, VerifyError> {
        let attempts = self.attempts;
        let Some(first) = self.accepted.first() else {
            return Err(if self.truncated {
                VerifyError::LimitReached {
                    reference,
                    limit: attempts.len(),
                    attempts: attempts.into(),
                }
            } else {
                VerifyError::AllFailed {
                    reference,
                    attempts: attempts.into(),
                }
            });
        };
        let target = first.signature.signature().payload().target.clone();
        let tally = match (self.demanded, self.tally) {
            (None, _) => None,
            (Some(_), Some(tally)) if tally.is_enough() => Some(tally),
            (Some(demanded), tally) => {
                return Err(VerifyError::Signers {
                    reference,
                    statement: statement.to_owned(),
                    tally: Box::new(tally.unwrap_or_else(|| demanded.tally(&[]))),
                    truncated: self.truncated,
                    attempts: attempts.into(),
                });
            }
        };
        Ok(Outcome::Verified(Verified {
            reference,
            target,
            statement: statement.to_owned(),
            level,
            policy: policy.clone(),
            signatures: self.accepted,
            attempts,
            truncated: self.truncated,
            hardware: self.hardware.cloned(),
            tally: tally.map(Box::new),
            attached: Vec::new(),
        }))
    }
}

/// Whether an envelope is intact. A large one is looked at on a thread of its own, so that a deadline
/// need not wait for the end of that.
async fn integrity_apart(
    format: Format,
    envelope: Vec<u8>,
    proven: &ProvenChains,
) -> Result<Signature, IntegrityError> {
    if envelope.len() < LARGE {
        return integrity(format, &envelope, proven);
    }
    let proven = proven.clone();
    budget::apart(move || integrity(format, &envelope, &proven)).await
}

/// Envelopes from this size on take longer than a moment. Real ones have a few thousand bytes.
const LARGE: usize = 256 << 10;

fn tell_statement(name: &str, demands: &Verification, options: Options<'_>) {
    let stated = Stated { name, demands };
    options.observer.observe(&Event::Statement {
        statement: format_args!("{stated}"),
    });
}

/// A statement in the form that Go gives to values for `%+v`, which the reference logs (LOG-06).
struct Stated<'a> {
    name: &'a str,
    demands: &'a Verification,
}

impl fmt::Display for Stated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, demands) = (self.name, self.demands);
        write!(f, "{{Name:{name} VerificationLevel:{}", demands.level())?;
        if let Some(rules) = demands.rules() {
            let identities = rules.identities().items();
            let list = |items: Vec<String>| items.join(" ");
            write!(
                f,
                " VerifyTimestamp:{} TrustStores:[{}] TrustedIdentities:[{}]",
                rules.verify_timestamp(),
                list(rules.stores().iter().map(ToString::to_string).collect()),
                list(identities.iter().map(ToString::to_string).collect()),
            )?;
        }
        f.write_str("}")
    }
}

/// The policy's leave not to verify (VER-04, BLOB-12), unless more is demanded for this run.
fn skipped(
    reference: String,
    statement: &str,
    policy: &PolicyFile,
    options: Options<'_>,
) -> Result<Outcome, VerifyError> {
    let statement = statement.to_owned();
    if options.hardware.is_some() {
        return Err(VerifyError::HardwareUnderSkip {
            reference,
            statement,
        });
    }
    options.observer.observe(&Event::Skipping);
    Ok(Outcome::Skipped(Skipped {
        reference,
        statement,
        policy: policy.clone(),
    }))
}

/// Puts the signatures first whose annotation names a trusted certificate. The annotation is
/// unsigned, so it decides the order, and how many are fetched at once, and nothing else (VER-29, DIF-14). Whether there is
/// one.
fn order(candidates: &mut [Descriptor], stores: &LoadedStores) -> bool {
    let trusted: BTreeSet<_> = stores
        .usable()
        .filter(|store| store.store().store_type != StoreType::Tsa)
        .flat_map(TrustStore::certificates)
        .map(Certificate::thumbprint_hex)
        .collect();
    let mut promising = false;
    candidates.sort_by_cached_key(|candidate| {
        let named = thumbprints(candidate);
        let trusted = named.iter().any(|thumbprint| trusted.contains(thumbprint));
        promising |= trusted;
        !trusted
    });
    promising
}

/// The thumbprints in a manifest's annotation, in lower case (DIF-31).
fn thumbprints(manifest: &Descriptor) -> Vec<String> {
    let text = manifest.annotations.get(THUMBPRINTS);
    let parsed = text.and_then(|text| json::parse(text.as_bytes(), THUMBPRINT_LIMITS).ok());
    let items = parsed.as_ref().and_then(json::Value::as_array);
    items
        .unwrap_or_default()
        .iter()
        .filter_map(|item| item.as_str().map(str::to_ascii_lowercase))
        .collect()
}

/// Reads a file once, for the hashes of these signatures. Without any, nothing is read.
async fn digests<'s>(
    reader: impl Read + Send + 'static,
    signatures: impl Iterator<Item = &'s Signature>,
    name: &str,
) -> io::Result<Digests> {
    let hashes: BTreeSet<_> = signatures.map(|s| s.algorithm().hash()).collect();
    if hashes.is_empty() {
        return Digests::of(io::empty(), &[]);
    }
    let hashes: Vec<_> = hashes.into_iter().collect();
    let read = read_apart(reader, name, move |file| Digests::of(file, &hashes));
    during(Phase::Reading, read).await
}

/// Annotation of a signature's manifest with its chain's thumbprints (OCI-05).
const THUMBPRINTS: &str = "io.cncf.notary.x509chain.thumbprint#S256";

const THUMBPRINT_LIMITS: json::Limits = json::Limits {
    bytes: 64 << 10,
    depth: 2,
    values: 256,
};
