//! Storage, trust, revocation and a signer of somebody else's: what another program implements for itself, by public items alone.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hardsign_core::algorithm::{HashAlgorithm, KeySpec};
use hardsign_core::artifact::{Descriptor, Digest};
use hardsign_core::crypto;
use hardsign_core::envelope::{Format, Signed, ToBeSigned};
use hardsign_core::oci::{
    FetchedSignature, Listing, OciError, Pushed, SignatureSource, SignatureStore,
};
use hardsign_core::policy::{Policy, oci};
use hardsign_core::revocation::{
    Attempt, Checked, Checker, Inquiry, Method, RevocationServer, ServerError, Status, Unknown,
};
use hardsign_core::sign::{SignError, SignOptions, Signer, SignerError, sign_artifact};
use hardsign_core::trust::{LoadedStore, StoreRef, TrustError, TrustStore, TrustStores};
use hardsign_core::verify::{AttemptFailure, Options, Outcome, Verified, Verifier, VerifyError};
use hardsign_core::x509::Certificate;
use hardsign_test_support::{Issued, Key, Pki, certificate};

/// What went wrong in a program of somebody else's.
#[derive(Debug)]
struct Mishap(&'static str);

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Mishap {}

/// The digest of what is signed, the format, the manifest and the envelope of a signature.
type Row = (Digest, Format, Descriptor, Vec<u8>);

/// A database of signatures, by the digest of what is signed.
#[derive(Default)]
struct Database {
    rows: Mutex<Vec<Row>>,
    down: bool,
}

impl Database {
    fn reach(&self) -> Result<(), OciError> {
        match self.down {
            true => Err(OciError::Other(Box::new(Mishap("the database is down")))),
            false => Ok(()),
        }
    }
}

fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    let hash = crypto::hash(HashAlgorithm::Sha256, bytes);
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::from_bytes(HashAlgorithm::Sha256, hash).unwrap(),
        size: bytes.len() as u64,
        annotations: BTreeMap::new(),
    }
}

#[async_trait]
impl SignatureStore for Database {
    async fn push_signature(
        &self,
        subject: &Descriptor,
        format: Format,
        envelope: &[u8],
        _annotations: BTreeMap<String, String>,
    ) -> Result<Pushed, OciError> {
        self.reach()?;
        let row = describe(format.media_type(), envelope);
        self.rows.lock().unwrap().push((
            subject.digest.clone(),
            format,
            row.clone(),
            envelope.to_vec(),
        ));
        Ok(Pushed::new(row))
    }
}

#[async_trait]
impl SignatureSource for Database {
    fn name(&self) -> String {
        "database.example/app".to_owned()
    }

    async fn list_signatures(
        &self,
        subject: &Descriptor,
        limit: usize,
    ) -> Result<Listing, OciError> {
        self.reach()?;
        let rows = self.rows.lock().unwrap();
        let of_subject = rows.iter().filter(|row| row.0 == subject.digest);
        let mut listing = Listing::new(of_subject.map(|row| row.2.clone()).collect());
        listing.truncated = listing.signatures.len() > limit;
        listing.signatures.truncate(limit);
        Ok(listing)
    }

    async fn fetch_signature(&self, manifest: &Descriptor) -> Result<FetchedSignature, OciError> {
        self.reach()?;
        let rows = self.rows.lock().unwrap();
        let row = rows.iter().find(|row| row.2.digest == manifest.digest);
        let (_, format, descriptor, envelope) = row.ok_or_else(|| OciError::NotFound {
            reference: manifest.digest.to_string(),
        })?;
        Ok(FetchedSignature::new(
            *format,
            envelope.clone(),
            descriptor.clone(),
        ))
    }
}

/// Trusted certificates that come from a service.
struct Service(Result<Vec<Certificate>, &'static str>);

#[async_trait]
impl TrustStores for Service {
    async fn load(&self, store: &StoreRef) -> LoadedStore {
        let loaded = match &self.0 {
            Ok(certificates) => TrustStore::new(store.clone(), certificates.clone()),
            Err(why) => Err(TrustError::Access {
                store: store.clone(),
                source: io::Error::other(Mishap(why)),
            }),
        };
        LoadedStore::new(loaded.map(Arc::new).map_err(Arc::new))
    }
}

/// Revocation by a list of serial numbers, and what was asked.
#[derive(Default)]
struct Serials {
    revoked: BTreeSet<Vec<u8>>,
    asked: Mutex<Vec<usize>>,
}

#[async_trait]
impl Checker for Serials {
    async fn check(&self, inquiry: Inquiry<'_>) -> Vec<Checked> {
        self.asked.lock().unwrap().push(inquiry.certificates.len());
        let status = |one: &Certificate| match self.revoked.contains(one.serial()) {
            true => Status::Revoked,
            false => Status::Good,
        };
        let statuses = inquiry.certificates.iter().map(status);
        statuses.map(Checked::from).collect()
    }
}

/// A key in somebody's device.
struct Device {
    chain: Vec<Vec<u8>>,
    unplugged: bool,
}

#[async_trait]
impl Signer for Device {
    async fn key_spec(&self) -> Result<KeySpec, SignerError> {
        Ok(KeySpec::Ec256)
    }

    async fn sign(&self, message: &ToBeSigned) -> Result<Signed, SignerError> {
        if self.unplugged {
            return Err(SignerError::new(Mishap("the device is unplugged")));
        }
        Ok(Signed {
            signature: Key::of(KeySpec::Ec256).sign(message.bytes()),
            certificate_chain: self.chain.clone().into(),
            signing_agent: "outside/1.0".to_owned(),
        })
    }
}

const POLICY: &[u8] = br#"{
  "version": "1.0",
  "trustPolicies": [{
    "name": "outside",
    "registryScopes": ["database.example/app"],
    "signatureVerification": { "level": "strict" },
    "trustStores": ["ca:service"],
    "trustedIdentities": ["*"]
  }]
}"#;

struct World {
    pki: Pki,
    leaf: Issued,
    database: Database,
    artifact: Descriptor,
}

impl World {
    fn new() -> Self {
        let pki = Pki::new();
        Self {
            leaf: pki.signer(KeySpec::Ec256),
            pki,
            database: Database::default(),
            artifact: describe("application/vnd.oci.image.manifest.v1+json", b"an image"),
        }
    }

    async fn sign(&self, unplugged: bool) -> Result<(), SignError> {
        let device = Device {
            chain: self.pki.chain(&self.leaf),
            unplugged,
        };
        let options = SignOptions::new(Format::Cose, certificate::now());
        sign_artifact(&device, &self.database, &self.artifact, &options)
            .await
            .map(drop)
    }

    fn trusted(&self) -> Service {
        Service(Ok(vec![Certificate::from_der(&self.pki.root.der).unwrap()]))
    }

    async fn verify(&self, service: Service, checker: impl Checker) -> Result<Verified, String> {
        let policy = Policy::<oci::Document>::from_bytes("policy", POLICY).unwrap();
        let verifier = Verifier::new(service).with_revocation(checker);
        let outcome = verifier
            .verify_artifact(
                &policy,
                &self.database,
                "database.example/app",
                &self.artifact,
                Options::new(certificate::now()),
            )
            .await;
        match outcome {
            Ok(Outcome::Verified(verified)) => Ok(verified),
            Ok(Outcome::Skipped(_)) => Err("skipped".to_owned()),
            Err(error) => Err(causes(&error)),
        }
    }
}

/// An error and its causes, those of the signatures tried in vain included.
fn causes(error: &VerifyError) -> String {
    let mut text = hardsign_core::text::WithCauses(error).to_string();
    if let VerifyError::AllFailed { attempts, .. } = error {
        for attempt in attempts {
            if let AttemptFailure::Rejected(rejected) = &attempt.failure {
                text += &format!("; {}", hardsign_core::text::WithCauses(rejected));
            }
        }
    }
    text
}

#[tokio::test]
async fn what_an_outside_signer_signs_into_an_outside_store_verifies_from_there() {
    let world = World::new();
    world.sign(false).await.unwrap();
    let serials = Arc::new(Serials::default());
    let verified = world
        .verify(world.trusted(), Arc::clone(&serials))
        .await
        .unwrap();
    assert_eq!(verified.target().digest, world.artifact.digest);
    let signature = verified.signatures()[0].signature.signature();
    assert_eq!(
        signature.chain().leaf().subject().common_name(),
        Some("Signer EC-256")
    );
    assert_eq!(signature.format(), Format::Cose);
    assert_eq!(*serials.asked.lock().unwrap(), [3]);
}

#[tokio::test]
async fn a_certificate_on_an_outside_list_is_revoked() {
    let world = World::new();
    world.sign(false).await.unwrap();
    let leaf = Certificate::from_der(&world.leaf.der).unwrap();
    let serials = Arc::new(Serials {
        revoked: [leaf.serial().to_vec()].into(),
        ..Serials::default()
    });
    let refused = world
        .verify(world.trusted(), Arc::clone(&serials))
        .await
        .unwrap_err();
    assert!(refused.contains("revoked"), "{refused}");
}

#[tokio::test]
async fn what_fails_outside_is_told_in_its_own_words_and_is_never_a_yes() {
    let mut world = World::new();
    let unplugged = world.sign(true).await.unwrap_err();
    assert!(
        hardsign_core::text::WithCauses(&unplugged)
            .to_string()
            .contains("the device is unplugged")
    );
    assert_eq!(world.database.rows.lock().unwrap().len(), 0);

    world.sign(false).await.unwrap();
    let serials = Arc::new(Serials::default());
    let unreachable = Service(Err("the service does not answer"));
    let refused = world
        .verify(unreachable, Arc::clone(&serials))
        .await
        .unwrap_err();
    assert!(refused.contains("the service does not answer"), "{refused}");

    let nothing = world
        .verify(Service(Ok(Vec::new())), Arc::clone(&serials))
        .await;
    assert!(nothing.is_err());

    world.database.down = true;
    let refused = world
        .verify(world.trusted(), Arc::clone(&serials))
        .await
        .unwrap_err();
    assert!(refused.contains("the database is down"), "{refused}");
}

#[tokio::test]
async fn a_checker_that_says_too_little_is_no_yes() {
    /// Answers for the leaf alone.
    struct Lazy;

    #[async_trait]
    impl Checker for Lazy {
        async fn check(&self, _: Inquiry<'_>) -> Vec<Checked> {
            vec![Status::Good.into()]
        }
    }

    let world = World::new();
    world.sign(false).await.unwrap();
    let refused = world.verify(world.trusted(), Lazy).await.unwrap_err();
    assert!(refused.contains("is unknown"), "{refused}");
}

/// An outside checker says in its own words why nothing is known, and whose answer counts where something is.
#[tokio::test]
async fn a_checker_that_could_not_find_out_says_why() {
    /// Knows nothing about the leaf, for this reason.
    struct Blind(Unknown);

    #[async_trait]
    impl Checker for Blind {
        async fn check(&self, inquiry: Inquiry<'_>) -> Vec<Checked> {
            let server = RevocationServer::new(Method::Crl, "https://mirror.example/list");
            let rest = inquiry.certificates.iter().skip(1);
            let good = rest.map(|_| Checked::from(Status::Good).by(server.clone()));
            let leaf = Checked::from(Status::Unknown(self.0.clone()));
            std::iter::once(leaf).chain(good).collect()
        }
    }

    let world = World::new();
    world.sign(false).await.unwrap();
    let attempt = Attempt::new(
        RevocationServer::new(Method::Ocsp, "https://mirror.example/ocsp"),
        ServerError::other(Mishap("the mirror is being rebuilt")),
    );
    for (reason, told) in [
        (
            Unknown::other(Mishap("the list has not been copied yet")),
            "revocation status is unknown: the list has not been copied yet",
        ),
        (
            Unknown::NoAnswer {
                attempts: vec![attempt],
            },
            "OCSP at https://mirror.example/ocsp: the mirror is being rebuilt",
        ),
    ] {
        let refused = world.verify(world.trusted(), Blind(reason)).await;
        let refused = refused.unwrap_err();
        assert!(refused.contains(told), "{refused}");
    }
    let revoked = Checked::from(Status::Revoked).since(certificate::now());
    assert_eq!(revoked.revoked_at, Some(certificate::now()));
}
