//! A policy, trust stores and a repository of the test's own.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hardsign_core::artifact::{Descriptor, Digest};
use hardsign_core::crypto;
use hardsign_core::dirs::Dirs;
use hardsign_core::envelope::Format;
use hardsign_core::event::{Event, Observer};
use hardsign_core::oci::{FetchedSignature, Listing, OciError, SignatureSource, Warning};
use hardsign_core::policy::{blob, oci};
use hardsign_core::trust::Loader;
use hardsign_core::verify::{
    AttemptFailure, Options, Outcome, Policy, Rejected, Verified, Verifier, VerifyError,
};
use hardsign_plugin::algorithm::HashAlgorithm;
use hardsign_test_support::{Builder, Issued, Key, Pki, certificate, cose, jws};
use jiff::Timestamp;

/// The repository of every test.
pub(crate) const REPOSITORY: &str = "registry.test/app";

/// A descriptor of these bytes.
pub(crate) fn descriptor(bytes: &[u8]) -> Descriptor {
    let hash = crypto::hash(HashAlgorithm::Sha256, bytes);
    Descriptor {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        digest: Digest::from_bytes(HashAlgorithm::Sha256, hash).unwrap(),
        size: u64::try_from(bytes.len()).unwrap(),
        annotations: BTreeMap::new(),
    }
}

/// The artifact that most tests sign.
pub(crate) fn artifact() -> Descriptor {
    descriptor(b"the artifact")
}

/// The payload for a descriptor.
pub(crate) fn payload(target: &Descriptor) -> String {
    let annotations = if target.annotations.is_empty() {
        String::new()
    } else {
        let pairs: Vec<_> = target
            .annotations
            .iter()
            .map(|(k, v)| format!("\"{k}\":\"{v}\""))
            .collect();
        format!(",\"annotations\":{{{}}}", pairs.join(","))
    };
    format!(
        "{{\"targetArtifact\":{{\"mediaType\":\"{}\",\"digest\":\"{}\",\"size\":{}{annotations}}}}}",
        target.media_type, target.digest, target.size
    )
}

/// Signs a payload under `notary.x509`; `protect` changes the protected header.
pub(crate) fn sign_with(
    payload: &str,
    chain: &[Vec<u8>],
    key: &Key,
    protect: impl FnOnce(jws::Object) -> jws::Object,
) -> Vec<u8> {
    let protected = protect(jws::protected(key)).to_json();
    jws::Jws::sign(&protected, payload.as_bytes(), jws::header(chain), key).to_bytes()
}

/// Signs an artifact in one of the formats.
pub(crate) fn sign(format: Format, target: &Descriptor, chain: &[Vec<u8>], key: &Key) -> Vec<u8> {
    let payload = payload(target);
    match format {
        Format::Jws => sign_with(&payload, chain, key, |p| p),
        Format::Cose => {
            let protected = cose::protected(key).to_cbor();
            let unprotected = cose::unprotected(chain);
            cose::Cose::sign(&protected, payload.as_bytes(), &unprotected, key).to_bytes()
        }
    }
}

/// A code-signing certificate of this name for a key.
pub(crate) fn signer(pki: &Pki, name: &str, key: &Key) -> Issued {
    pki.issue(Builder::leaf(name, key.spki), key)
}

/// Configuration on disk, and what the user asks for.
pub(crate) struct World {
    _root: tempfile::TempDir,
    pub(crate) dirs: Dirs,
    pub(crate) now: Timestamp,
    pub(crate) limit: usize,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) plugin_config: BTreeMap<String, String>,
    events: Mutex<Vec<String>>,
}

impl World {
    /// Empty directories, and the clock at [`certificate::now`].
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let dirs = Dirs::below(root.path());
        fs::create_dir_all(&dirs.config).unwrap();
        Self {
            _root: root,
            dirs,
            now: certificate::now(),
            limit: 100,
            metadata: BTreeMap::new(),
            plugin_config: BTreeMap::new(),
            events: Mutex::new(Vec::new()),
        }
    }

    /// Puts a certificate into a store, `ca:name`.
    pub(crate) fn trust(self, store: &str, certificate: &Issued) -> Self {
        let (store_type, name) = store.split_once(':').unwrap();
        let directory = self.dirs.trust_stores().join(store_type).join(name);
        fs::create_dir_all(&directory).unwrap();
        let count = fs::read_dir(&directory).unwrap().count();
        fs::write(directory.join(count.to_string()), &certificate.der).unwrap();
        self
    }

    /// Writes a policy file.
    pub(crate) fn file(self, path: &Path, text: &str) -> Self {
        fs::write(path, text).unwrap();
        self
    }

    /// Writes the policy for artifacts, with one statement for [`REPOSITORY`].
    pub(crate) fn statement(self, rest: &str) -> Self {
        let path = self.dirs.oci_policy();
        self.file(&path, &document(rest))
    }

    pub(crate) fn policy(&self) -> Policy<oci::Document> {
        Policy::load(&self.dirs).unwrap()
    }

    pub(crate) fn blob_policy(&self) -> Policy<blob::Document> {
        Policy::load(&self.dirs).unwrap()
    }

    pub(crate) fn verifier(&self) -> Verifier<'static> {
        Verifier::new(Loader::new(self.dirs.trust_stores()))
    }

    /// Verifies [`artifact`] on a shelf.
    pub(crate) async fn verify(&self, shelf: &Shelf) -> Result<Outcome, VerifyError> {
        self.verify_by(&self.verifier(), shelf).await
    }

    pub(crate) async fn verify_by(
        &self,
        verifier: &Verifier<'_>,
        shelf: &Shelf,
    ) -> Result<Outcome, VerifyError> {
        let observer = |event: &Event<'_>| self.note(event);
        verifier
            .verify_artifact(
                &self.policy(),
                shelf,
                REPOSITORY,
                &artifact(),
                self.options(&observer),
            )
            .await
    }

    pub(crate) fn options<'a>(&'a self, observer: &'a dyn Observer) -> Options<'a> {
        Options::new(self.now)
            .max_signatures(NonZeroUsize::new(self.limit).unwrap())
            .user_metadata(&self.metadata)
            .plugin_config(&self.plugin_config)
            .observer(observer)
    }

    pub(crate) fn note(&self, event: &Event<'_>) {
        self.events.lock().unwrap().push(event.to_string());
    }

    /// What was observed so far.
    pub(crate) fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }
}

/// A policy with one statement, `n`, for [`REPOSITORY`].
pub(crate) fn document(rest: &str) -> String {
    format!(
        r#"{{"version":"1.0","trustPolicies":[{{"name":"n","registryScopes":["{REPOSITORY}"],{rest}}}]}}"#
    )
}

/// The rest of a statement that trusts `ca:t` and anybody whom it vouches for.
pub(crate) fn level(verification: &str) -> String {
    format!(
        r#""signatureVerification":{{{verification}}},"trustStores":["ca:t"],"trustedIdentities":["*"]"#
    )
}

/// Strict, except that a certificate may name revocation addresses.
pub(crate) fn strict() -> String {
    level(r#""level":"strict""#)
}

/// A repository in memory.
#[derive(Default)]
pub(crate) struct Shelf {
    entries: Vec<Entry>,
    pub(crate) truncated: bool,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) fetched: Mutex<Vec<Digest>>,
    in_flight: AtomicUsize,
    pub(crate) most_in_flight: AtomicUsize,
    pub(crate) listed: AtomicUsize,
}

struct Entry {
    manifest: Descriptor,
    content: Content,
}

enum Content {
    Signature(Format, Vec<u8>),
    /// In no format of signatures, by its media type.
    Foreign(String),
    Broken,
}

impl Shelf {
    /// Signatures in JWS, in this order.
    pub(crate) fn of(signatures: &[Vec<u8>]) -> Self {
        let mut shelf = Self::default();
        for signature in signatures {
            shelf.add(Format::Jws, signature, None);
        }
        shelf
    }

    /// Adds a signature, perhaps with the annotation that names its chain.
    pub(crate) fn add(&mut self, format: Format, envelope: &[u8], chain: Option<&[Vec<u8>]>) {
        let mut manifest = descriptor(&self.entries.len().to_be_bytes());
        if let Some(chain) = chain {
            let thumbprints: Vec<_> = chain
                .iter()
                .map(|der| format!("\"{}\"", hex::encode_upper(crypto::sha256(der))))
                .collect();
            manifest.annotations.insert(
                "io.cncf.notary.x509chain.thumbprint#S256".to_owned(),
                format!("[{}]", thumbprints.join(",")),
            );
        }
        self.entries.push(Entry {
            manifest,
            content: Content::Signature(format, envelope.to_vec()),
        });
    }

    /// Adds a signature that can't be fetched.
    pub(crate) fn add_broken(&mut self) {
        let manifest = descriptor(&self.entries.len().to_be_bytes());
        self.entries.push(Entry {
            manifest,
            content: Content::Broken,
        });
    }

    /// Adds what is in no format of signatures.
    pub(crate) fn add_foreign(&mut self, media_type: &str) {
        let manifest = descriptor(&self.entries.len().to_be_bytes());
        self.entries.push(Entry {
            manifest,
            content: Content::Foreign(media_type.to_owned()),
        });
    }

    /// The digest of the nth manifest.
    pub(crate) fn digest(&self, n: usize) -> Digest {
        self.entries[n].manifest.digest.clone()
    }

    /// Positions of the signatures that were fetched, in the order of the requests.
    pub(crate) fn order(&self) -> Vec<usize> {
        let position = |digest: &Digest| {
            let found = |e: &Entry| e.manifest.digest == *digest;
            self.entries.iter().position(found).unwrap()
        };
        self.fetched.lock().unwrap().iter().map(position).collect()
    }
}

#[async_trait]
impl SignatureSource for Shelf {
    fn name(&self) -> String {
        REPOSITORY.to_owned()
    }

    async fn list_signatures(&self, _: &Descriptor, limit: usize) -> Result<Listing, OciError> {
        self.listed.fetch_add(1, Ordering::SeqCst);
        let mut listing = Listing::default();
        let manifests = self.entries.iter().map(|e| e.manifest.clone());
        listing.signatures = manifests.take(limit).collect();
        listing.truncated = self.truncated || self.entries.len() > limit;
        listing.warnings.clone_from(&self.warnings);
        Ok(listing)
    }

    async fn fetch_signature(&self, manifest: &Descriptor) -> Result<FetchedSignature, OciError> {
        self.fetched.lock().unwrap().push(manifest.digest.clone());
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_flight.fetch_max(now, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        let found = self.entries.iter().find(|e| e.manifest == *manifest);
        match &found.unwrap().content {
            Content::Signature(format, envelope) => Ok(FetchedSignature::new(
                *format,
                envelope.clone(),
                manifest.clone(),
            )),
            Content::Foreign(media_type) => Err(OciError::EnvelopeFormat {
                media_type: media_type.clone(),
            }),
            Content::Broken => Err(OciError::LayerCount { count: 2 }),
        }
    }
}

/// The success of an outcome.
pub(crate) fn verified(result: Result<Outcome, VerifyError>) -> Verified {
    match result {
        Ok(Outcome::Verified(verified)) => verified,
        other => panic!("{other:?}"),
    }
}

/// Why the only signature was refused.
pub(crate) fn rejected(result: Result<Outcome, VerifyError>) -> Rejected {
    match result {
        Err(VerifyError::AllFailed { attempts, .. }) if attempts.len() == 1 => {
            match attempts.into_iter().next().unwrap().failure {
                AttemptFailure::Rejected(rejected) => rejected,
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

/// The verdict in one line: `ok`, `ok, logged: …` or `<step>: <why>`.
pub(crate) fn verdict(result: Result<Outcome, VerifyError>) -> String {
    match result {
        Ok(Outcome::Skipped(_)) => "skipped".to_owned(),
        Ok(Outcome::Verified(verified)) => {
            let report = verified.signatures()[0].signature.report();
            let logged: Vec<_> = report.logged().map(|l| l.check.name()).collect();
            if logged.is_empty() {
                "ok".to_owned()
            } else {
                format!("logged {}", logged.join(" "))
            }
        }
        Err(error) => format!("refused by {}", rejected(Err(error)).step().name()),
    }
}
