//! Signing through an in-memory signer into a layout: what goes into payload, manifest and
//! annotations, and what is refused with nothing stored.

#![allow(
    clippy::unwrap_used,
    reason = "a failure of a test's helper is a failed test"
)]

mod provider;

use std::fs;
use std::future::ready;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use hardsign_core::algorithm::KeySpec;
use hardsign_core::artifact::reference::{RepositoryName, TagOrDigest};
use hardsign_core::artifact::{Descriptor, Digest};
use hardsign_core::attestation::{AttestationError, Evidence, Roots};
use hardsign_core::crypto;
use hardsign_core::envelope::{Envelope, Format, Payload, Signature, Signed, ToBeSigned};
use hardsign_core::oci::layout::Layout;
use hardsign_core::oci::registry::{Access, Connector, ConnectorOptions};
use hardsign_core::oci::{
    FetchedSignature, Listing, OciError, Repository as _, SignatureSource, Warning,
};
use hardsign_core::sign::{
    Countersigner, EnvelopeRequest, EnvelopeSigner, GeneratedEnvelope, LearntLeaf, MakeSignature,
    ProveError, ProvenEvidence, SignError, SignOptions, SignedArtifact, Signer, SignerError,
    TimestampError, Unless, WholeEnvelopes, existing, makes_needless, sign_artifact, sign_blob,
};
use hardsign_core::timestamp::{ResponseError, Token};
use hardsign_core::x509::Certificate;
use hardsign_test_support::asn1::{integer, sequence};
use hardsign_test_support::device::Maker;
use hardsign_test_support::registry::{Behaviour, FakeRegistry};
use hardsign_test_support::token::Authority;
use hardsign_test_support::{Key, Pki, Told, certificate, jws};
use serde_json::{Value, json};

/// Signs with a test key, as a plugin would.
struct InMemory {
    key: Key,
    chain: Vec<Vec<u8>>,
}

/// Answers one whole envelope, as `SIGNATURE_GENERATOR.ENVELOPE` does.
struct Generator(GeneratedEnvelope);

impl InMemory {
    fn new(spec: KeySpec) -> Self {
        let pki = Pki::new();
        let chain = pki.chain(&pki.signer(spec));
        Self {
            key: Key::of(spec),
            chain,
        }
    }

    /// What answers an envelope that this key signed.
    fn with_envelope(
        &self,
        payload: &Value,
        annotations: &[(&str, &str)],
    ) -> WholeEnvelopes<Generator> {
        let protected = jws::protected(&self.key);
        let bytes = jws::Jws::sign(
            &protected.to_json(),
            payload.to_string().as_bytes(),
            jws::header(&self.chain),
            &self.key,
        )
        .to_bytes();
        let annotations = annotations
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let mut generated = GeneratedEnvelope::new(bytes);
        generated.annotations = annotations;
        WholeEnvelopes(Generator(generated))
    }
}

/// Makes tokens in this process, by an authority of the tests: good ones, or none.
#[derive(Debug)]
struct Countersigning {
    authority: Authority,
    works: bool,
}

impl Countersigner for Countersigning {
    fn countersign<'a>(
        &'a self,
        signature: &'a Signature,
        _now: jiff::Timestamp,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, TimestampError>> + Send + 'a>> {
        let token = self.authority.token(signature.signature_bytes()).build();
        let none = || TimestampError::from(ResponseError::NoToken);
        Box::pin(ready(self.works.then_some(token).ok_or_else(none)))
    }
}

fn with_timestamp(works: bool) -> SignOptions {
    let authority = Authority::new(&Key::P256);
    options().timestamp(Some(Arc::new(Countersigning { authority, works })))
}

#[async_trait]
impl Signer for InMemory {
    async fn key_spec(&self) -> Result<KeySpec, SignerError> {
        Ok(self.key.spec.unwrap())
    }

    async fn sign(&self, message: &ToBeSigned) -> Result<Signed, SignerError> {
        Ok(Signed {
            signature: self.key.sign(message.bytes()),
            certificate_chain: self.chain.clone().into(),
            signing_agent: "test/1".to_owned(),
        })
    }
}

#[async_trait]
impl EnvelopeSigner for Generator {
    async fn envelope(&self, _: &EnvelopeRequest<'_>) -> Result<GeneratedEnvelope, SignerError> {
        Ok(self.0.clone())
    }
}

fn options() -> SignOptions {
    SignOptions::new(Format::Jws, certificate::now())
}

fn with_metadata(pairs: &[(&str, &str)]) -> SignOptions {
    let user_metadata = pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    options().user_metadata(user_metadata)
}

/// A layout with one artifact.
struct Bench {
    directory: tempfile::TempDir,
    layout: Layout,
    artifact: Descriptor,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        fs::create_dir_all(at.join("blobs/sha256")).unwrap();
        fs::write(at.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let blob = |bytes: &[u8]| {
            let hash = crypto::hash(KeySpec::Ec256.hash(), bytes);
            let digest = Digest::from_bytes(KeySpec::Ec256.hash(), hash).unwrap();
            fs::write(at.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
            digest
        };
        let config = blob(b"{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "text/plain",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
            "layers": [],
        })
        .to_string();
        let digest = blob(manifest.as_bytes());
        let index = json!({"schemaVersion": 2, "manifests": [
            {"mediaType": MANIFEST, "digest": digest, "size": manifest.len(),
             "annotations": {"org.opencontainers.image.ref.name": "v1"}},
        ]});
        fs::write(at.join("index.json"), index.to_string()).unwrap();
        let layout = Layout::open(at).unwrap();
        let artifact = layout
            .resolve(&TagOrDigest::Tag("v1".to_owned()))
            .await
            .unwrap();
        assert_eq!(artifact.digest, digest);
        Self {
            directory,
            layout,
            artifact,
        }
    }

    async fn sign(
        &self,
        signer: &impl MakeSignature,
        options: &SignOptions,
    ) -> Result<SignedArtifact, SignError> {
        sign_artifact(signer, &self.layout, &self.artifact, options).await
    }

    /// Signs, which must fail and store nothing; returns the error.
    async fn refused(&self, signer: &impl MakeSignature, options: &SignOptions) -> SignError {
        let before = files(self.directory.path());
        let error = self.sign(signer, options).await.unwrap_err();
        assert_eq!(files(self.directory.path()), before);
        error
    }

    fn manifest(&self, signed: &SignedArtifact) -> Value {
        let path = self.directory.path().join("blobs/sha256");
        serde_json::from_slice(&fs::read(path.join(signed.pushed.manifest.digest.hex())).unwrap())
            .unwrap()
    }
}

fn files(at: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(at.join("blobs/sha256"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.push(fs::read_to_string(at.join("index.json")).unwrap());
    names.sort();
    names
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// ENV-11, OCI-01 to OCI-06, DIF-23, DIF-37: the payload has the manifest's own digest; the
/// signature's manifest in a layout has its type in the empty config, subject, thumbprints and the time.
#[tokio::test]
async fn env_11_payload_and_manifest_of_a_signature() {
    let bench = Bench::new().await;
    let signer = InMemory::new(KeySpec::Ec384);
    let signed = bench.sign(&signer, &options()).await.unwrap();
    let manifest = bench.manifest(&signed);
    assert_eq!(manifest["mediaType"], MANIFEST);
    // In layouts notation 1 goes by the configuration's media type (OCI-10).
    assert_eq!(manifest["artifactType"], Value::Null);
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.cncf.notary.signature"
    );
    assert_eq!(manifest["config"]["size"], 2);
    assert_eq!(
        manifest["subject"]["digest"],
        bench.artifact.digest.to_string()
    );
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    let thumbprints: Vec<String> = signer
        .chain
        .iter()
        .map(|der| hex::encode(crypto::hash(KeySpec::Ec256.hash(), der)))
        .collect();
    let annotations = &manifest["annotations"];
    assert_eq!(
        annotations["io.cncf.notary.x509chain.thumbprint#S256"],
        serde_json::to_string(&thumbprints).unwrap()
    );
    let created = annotations["org.opencontainers.image.created"]
        .as_str()
        .unwrap();
    assert_eq!(
        created.parse::<jiff::Timestamp>().unwrap(),
        certificate::now()
    );

    let fetched = bench
        .layout
        .fetch_signature(&signed.pushed.manifest)
        .await
        .unwrap();
    let signature = verified(&fetched.envelope);
    assert_eq!(signature.payload(), &Payload::new(bench.artifact.clone()));
}

fn verified(envelope: &[u8]) -> Signature {
    Envelope::parse(Format::Jws, envelope)
        .and_then(|envelope| envelope.verify_integrity())
        .unwrap()
}

/// ENV-13, ENV-14: metadata becomes annotations of the payload; reserved and repeated keys are
/// refused in the reference's words.
#[tokio::test]
async fn env_13_env_14_user_metadata() {
    let bench = Bench::new().await;
    let signer = InMemory::new(KeySpec::Ec256);
    let signed = bench
        .sign(&signer, &with_metadata(&[("build", "17")]))
        .await
        .unwrap();
    let fetched = bench
        .layout
        .fetch_signature(&signed.pushed.manifest)
        .await
        .unwrap();
    assert_eq!(
        verified(&fetched.envelope).payload().target.annotations["build"],
        "17"
    );

    let reserved = with_metadata(&[("io.cncf.notary.x", "1")]);
    assert_eq!(
        bench.refused(&signer, &reserved).await.to_string(),
        "error adding user metadata: metadata key io.cncf.notary.x has reserved prefix io.cncf.notary"
    );
    let mut annotated = bench.artifact.clone();
    annotated
        .annotations
        .insert("build".to_owned(), "16".to_owned());
    let error = sign_artifact(
        &signer,
        &bench.layout,
        &annotated,
        &with_metadata(&[("build", "17")]),
    )
    .await
    .unwrap_err();
    assert_eq!(
        error.told(),
        "error adding user metadata: metadata key build is already present in the target artifact"
    );
}

/// ENV-39: what does not verify is not stored: a wrong chain, and a chain that is not valid now.
#[tokio::test]
async fn env_39_a_bad_answer_stores_nothing() {
    let bench = Bench::new().await;
    let mut signer = InMemory::new(KeySpec::Ec256);
    signer.key = Key::other_of(KeySpec::Ec256);
    let error = bench.refused(&signer, &options()).await.told();
    assert!(
        error.starts_with("generated signature failed verification: "),
        "{error}"
    );

    let signer = InMemory::new(KeySpec::Ec256);
    let late = options().now(certificate::not_after() + Duration::from_secs(1));
    let error = bench.refused(&signer, &late).await.told();
    assert!(error.contains("was invalid at signing time of"), "{error}");
}

/// BLOB-15: a file's signature is the envelope alone; its payload has the key's digest.
#[tokio::test]
async fn blob_15_a_file_has_no_manifest() {
    let blob =
        hardsign_core::blob::describe(&b"hello"[..], KeySpec::Ec384.hash(), "text/plain").unwrap();
    let signature = sign_blob(&InMemory::new(KeySpec::Ec384), &blob, &options())
        .await
        .unwrap();
    let value: Value = serde_json::from_slice(signature.bytes()).unwrap();
    let members: Vec<_> = value.as_object().unwrap().keys().collect();
    assert_eq!(members, ["payload", "protected", "header", "signature"]);
    assert!(
        signature
            .payload()
            .target
            .digest
            .to_string()
            .starts_with("sha384:")
    );
}

fn target(bench: &Bench) -> Value {
    let artifact = &bench.artifact;
    json!({"mediaType": artifact.media_type, "digest": artifact.digest, "size": artifact.size})
}

/// PLG-35, PLG-36, PLG-38, OCI-07, OCI-08: what an envelope plugin answers is held against what was
/// asked.
#[tokio::test]
async fn plg_36_envelopes_of_plugins_are_checked() {
    let bench = Bench::new().await;
    let signer = || InMemory::new(KeySpec::Ec256);

    let mut annotated = target(&bench);
    annotated["annotations"] = json!({"added": "by the plugin", "build": "17"});
    let good = signer().with_envelope(&json!({"targetArtifact": annotated}), &[("k", "v")]);
    let signed = bench
        .sign(&good, &with_metadata(&[("build", "17")]))
        .await
        .unwrap();
    assert_eq!(bench.manifest(&signed)["annotations"]["k"], "v");

    let mut other = target(&bench);
    other["size"] = json!(1);
    let changed = signer().with_envelope(&json!({"targetArtifact": other}), &[]);
    let error = bench.refused(&changed, &options()).await;
    assert!(matches!(error, SignError::SubjectChanged { .. }), "{error}");

    let plain = signer().with_envelope(&json!({"targetArtifact": target(&bench)}), &[]);
    let error = bench
        .refused(&plain, &with_metadata(&[("build", "17")]))
        .await;
    assert!(matches!(error, SignError::SubjectChanged { .. }), "{error}");

    let mut unknown = target(&bench);
    unknown["urls"] = json!([]);
    let unknown = signer().with_envelope(&json!({"targetArtifact": unknown}), &[]);
    assert_eq!(
        bench.refused(&unknown, &options()).await.to_string(),
        r#"during signing, following unknown attributes were added to subject descriptor: ["urls"]"#
    );

    let expiring = options().expiry(Some(Duration::from_secs(60)));
    let error = bench.refused(&plain, &expiring).await;
    assert!(matches!(error, SignError::ExpiryChanged { .. }), "{error}");

    let payload = json!({"targetArtifact": target(&bench)});
    let reserved = signer().with_envelope(&payload, &[("io.cncf.notary.other", "x")]);
    let error = bench.refused(&reserved, &options()).await;
    assert!(
        matches!(error, SignError::ReservedAnnotation { .. }),
        "{error}"
    );

    let mut broken = signer();
    broken.chain.pop();
    let broken = broken.with_envelope(&payload, &[]);
    let error = bench.refused(&broken, &options()).await.told();
    assert!(
        error.starts_with("generated signature failed verification: "),
        "{error}"
    );
}

/// TSA-01, TSA-02, TSA-12, TSA-14: the token is over the primitive signature and stored as it came,
/// in both formats and for every key.
#[tokio::test]
async fn tsa_12_the_token_is_stored_in_the_envelope() {
    let bench = Bench::new().await;
    for spec in KeySpec::ALL {
        for format in Format::ALL {
            let options = with_timestamp(true).format(format);
            let signer = InMemory::new(spec);
            let signed = sign_blob(&signer, &bench.artifact, &options).await;
            let signature = signed.unwrap();
            let envelope = Envelope::parse(format, signature.bytes()).unwrap();
            let read = envelope.verify_integrity().unwrap();
            let token = read.unsigned().timestamp_token.as_ref().unwrap();
            let token = Token::parse(token).unwrap();
            token.check_intact(read.signature_bytes()).unwrap();
        }
    }
}

/// TSA-01, TSA-09: without the timestamp that was asked for, nothing is stored.
#[tokio::test]
async fn tsa_09_no_timestamp_no_signature() {
    let bench = Bench::new().await;
    let signer = InMemory::new(KeySpec::Ec256);
    let error = bench.refused(&signer, &with_timestamp(false)).await;
    assert_eq!(
        error.told(),
        "timestamp: invalid timestamping response: it carries no token"
    );
    assert!(bench.sign(&signer, &with_timestamp(true)).await.is_ok());
}

/// PLG-39, DIF-48: a timestamp asked for from a plugin that makes whole envelopes is refused.
#[tokio::test]
async fn plg_39_envelope_plugins_get_no_timestamp() {
    let bench = Bench::new().await;
    let payload = json!({"targetArtifact": target(&bench)});
    let signer = InMemory::new(KeySpec::Ec256).with_envelope(&payload, &[]);
    let error = bench.refused(&signer, &with_timestamp(true)).await;
    assert_eq!(
        error.told(),
        "timestamp: the plugin makes whole envelopes, to which no timestamp can be added"
    );
}

/// PLG-37, DIF-10, TSA-13: a timestamp in a plugin's envelope is stored as it is where it is over
/// the signature and from the lifetime of the chain, and refused otherwise.
#[tokio::test]
async fn plg_37_timestamps_of_plugins_are_checked() {
    let bench = Bench::new().await;
    let payload = json!({"targetArtifact": target(&bench)});
    let authority = Authority::new(&Key::P256);
    let signer = || InMemory::new(KeySpec::Rsa2048).with_envelope(&payload, &[]);
    let over = |signer: &mut WholeEnvelopes<Generator>, token: Vec<u8>| {
        let generated = &mut signer.0.0;
        let text = String::from_utf8(generated.bytes.clone()).unwrap();
        let token = base64::engine::general_purpose::STANDARD.encode(token);
        let member = format!("\"header\":{{\"io.cncf.notary.timestampSignature\":\"{token}\",");
        generated.bytes = text.replace("\"header\":{", &member).into_bytes();
    };
    let primitive = |signer: &WholeEnvelopes<Generator>| {
        let bytes = &signer.0.0.bytes;
        let envelope = Envelope::parse(Format::Jws, bytes).unwrap();
        let signature = envelope.verify_integrity().unwrap();
        signature.signature_bytes().to_vec()
    };

    let mut good = signer();
    let token = authority.token(&primitive(&good)).build();
    over(&mut good, token.clone());
    let stored = bench.sign(&good, &options()).await.unwrap();
    let manifest = bench.manifest(&stored);
    let digest = manifest["layers"][0]["digest"].as_str().unwrap();
    let path = digest.replace(':', "/");
    let envelope = fs::read(bench.directory.path().join("blobs").join(path)).unwrap();
    assert_eq!(envelope, good.0.0.bytes);

    let mut other = signer();
    over(&mut other, authority.token(b"another signature").build());
    let mut mangled = signer();
    over(&mut mangled, b"invalid".to_vec());
    let mut outside = signer();
    let mut early = authority.token(&primitive(&outside));
    early.gen_time = b"20200101000000Z".to_vec();
    early.accuracy = sequence(&[&integer(1)]);
    over(&mut outside, early.build());
    for (signer, why) in [
        (other, "invalid TSTInfo: mismatched message"),
        (mangled, "cms: syntax error: "),
        (outside, "timestamp can be before certificate "),
    ] {
        let error = bench.refused(&signer, &options()).await.told();
        let text = format!("the timestamp in the plugin's envelope can't be relied on: {why}");
        assert!(error.starts_with(&text), "{error}");
    }
}

fn proven(maker: &Maker, evidence: &[Vec<u8>]) -> Result<ProvenEvidence, ProveError> {
    let evidence = Evidence::from_certificates(evidence).unwrap();
    let root = Certificate::from_der(&maker.root.der).unwrap();
    ProvenEvidence::prove(&evidence, &Roots::of(vec![root]), certificate::now())
}

/// SEC-30: evidence is carried in both formats, with and without a timestamp, on two and on four levels:
/// what leads from the statement to the root, in that order, and nothing that doesn't.
#[tokio::test]
async fn evidence_is_carried() {
    let maker = Maker::new();
    let key = Key::of(KeySpec::Ec384);
    let signer = InMemory::new(KeySpec::Ec384);
    for timestamp in [None, with_timestamp(true).timestamp] {
        for evidence in [maker.evidence(&key), maker.long_evidence(&key)] {
            // Whatever order a device gives it in, with something beside.
            let mut given = evidence.clone();
            given[1..].reverse();
            given.push(Maker::new().statement(&Key::P521).der);
            let evidence_to_carry = Arc::new(proven(&maker, &given).unwrap());
            for format in Format::ALL {
                let bench = Bench::new().await;
                let options = options()
                    .format(format)
                    .timestamp(timestamp.clone())
                    .evidence(Some(Arc::clone(&evidence_to_carry)));
                let signed = bench.sign(&signer, &options).await.unwrap();
                let fetched = bench.layout.fetch_signature(&signed.pushed.manifest).await;
                let envelope = Envelope::parse(format, &fetched.unwrap().envelope).unwrap();
                let signature = envelope.verify_integrity().unwrap();
                let unsigned = signature.unsigned();
                assert_eq!(unsigned.timestamp_token.is_some(), timestamp.is_some());
                let carried = unsigned.attestation.as_ref().unwrap().as_ref().unwrap();
                assert_eq!(carried.certificates(), evidence);
            }
        }
    }
}

/// Evidence of another key, and an envelope plugin: nothing is stored.
#[tokio::test]
async fn evidence_that_is_not_carried() {
    let maker = Maker::new();
    let bench = Bench::new().await;
    let evidence = maker.evidence(&Key::of(KeySpec::Ec384));
    let options = options().evidence(Some(Arc::new(proven(&maker, &evidence).unwrap())));
    let signer = InMemory::new(KeySpec::Ec256);
    let error = bench.sign(&signer, &options).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the evidence is about another key than that of the certificate CN=Signer EC-256,O=Hardsign Tests,ST=WA,C=US"
    );
    let whole = InMemory::new(KeySpec::Ec384).with_envelope(&json!({}), &[]);
    let error = bench.sign(&whole, &options).await.unwrap_err();
    assert!(matches!(error, SignError::EvidenceUnsupported));
    let signatures = bench
        .layout
        .list_signatures(&bench.artifact, 10)
        .await
        .unwrap();
    assert!(signatures.signatures.is_empty());
}

/// What proves nothing is found before anything is signed; so is what doesn't fit into the header.
#[test]
fn evidence_proves_itself_before_signing() {
    use hardsign_core::envelope::{CarriedFault, MAX_ATTESTATION_LEN};
    use hardsign_test_support::device::{attestation_key, statement};
    let maker = Maker::new();
    let key = Key::of(KeySpec::Ec384);
    let foreign =
        Maker::with_root(hardsign_test_support::Builder::ca("Maker Root", &key).self_signed(&key));
    match proven(&maker, &foreign.evidence(&key)) {
        Err(ProveError::Attestation(error)) => {
            assert!(matches!(*error, AttestationError::Untrusted { .. }));
        }
        other => panic!("{other:?}"),
    }
    // The header's value is JSON with base64 in it, so a third of the certificates is added.
    let of_length = |length: usize| {
        let f9 = attestation_key(Some(0)).with("1.3.6.1.4.1.41482.9.9", false, vec![0; length]);
        let f9 = f9.issue(&maker.root, &Key::P256_B);
        let statement = statement([5, 7, 4], &key).issue(&f9, &key);
        proven(&maker, &[statement.der, f9.der])
    };
    of_length(MAX_ATTESTATION_LEN / 4 * 3 - 1400).unwrap();
    match of_length(MAX_ATTESTATION_LEN / 4 * 3) {
        Err(ProveError::Carried(CarriedFault::TooLong { length })) => {
            assert!((MAX_ATTESTATION_LEN + 1..MAX_ATTESTATION_LEN + 4000).contains(&length));
        }
        other => panic!("{other:?}"),
    }
}

fn hour() -> Duration {
    Duration::from_secs(3600)
}

/// What makes another signature needless: one that is intact, not expired, of the same format, payload and certificate, and
/// carries the timestamp or the evidence that is asked for.
#[tokio::test]
async fn a_signature_that_is_there_makes_another_needless() {
    let bench = Bench::new().await;
    let maker = Maker::new();
    let signer = InMemory::new(KeySpec::Ec256);
    let leaf = Certificate::from_der(&signer.chain[0]).unwrap();
    let evidence = |maker: &Maker| {
        let evidence = maker.evidence(&signer.key);
        Some(Arc::new(proven(maker, &evidence).unwrap()))
    };
    let sign = |options: SignOptions| {
        let (signer, artifact) = (&signer, &bench.artifact);
        async move {
            let signed = sign_blob(signer, artifact, &options).await;
            signed.unwrap().bytes().to_vec()
        }
    };
    let needless = |envelope: &[u8], options: &SignOptions| {
        let leaf = leaf.thumbprint();
        makes_needless(options.format, envelope, &bench.artifact, options, leaf).unwrap()
    };
    let plain = sign(options()).await;
    let stamped = sign(with_timestamp(true)).await;
    let attested = sign(options().evidence(evidence(&maker))).await;
    let expiring = sign(options().expiry(Some(hour()))).await;
    assert!(needless(&plain, &options()));
    // What is not asked for does no harm.
    assert!(needless(&stamped, &options()));
    assert!(needless(&attested, &options()));

    assert!(!needless(&plain, &options().format(Format::Cose)));
    assert!(!needless(&plain, &with_metadata(&[("build", "17")])));
    let other = makes_needless(Format::Jws, &plain, &bench.artifact, &options(), [7; 32]);
    assert!(!other.unwrap());

    let later = |time| options().now(certificate::now() + time);
    assert!(needless(&expiring, &later(hour() / 2)));
    assert!(!needless(&expiring, &later(hour() * 2)));
    assert!(needless(&plain, &later(hour() * 2)));

    assert!(!needless(&plain, &with_timestamp(true)));
    assert!(needless(&stamped, &with_timestamp(true)));
    let with_evidence = options().evidence(evidence(&maker));
    assert!(!needless(&plain, &with_evidence));
    assert!(needless(&attested, &with_evidence));
    // Evidence that proves nothing by the roots of now.
    let key = Key::of(KeySpec::Ec384);
    let root = hardsign_test_support::Builder::ca("Maker Root", &key);
    let foreign = Maker::with_root(root.self_signed(&key));
    let by_others = options().evidence(evidence(&foreign));
    assert!(!needless(&attested, &by_others));

    // A timestamp of another signature, and a signature that is not one of its payload.
    let envelope = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let token = "io.cncf.notary.timestampSignature";
    let mut swapped = envelope(&stamped);
    swapped["header"][token] =
        envelope(&sign(with_timestamp(true).now(certificate::now() + hour() / 60)).await)["header"]
            [token]
            .clone();
    let swapped = swapped.to_string().into_bytes();
    assert!(needless(&swapped, &options()));
    assert!(!needless(&swapped, &with_timestamp(true)));
    let mut damaged = envelope(&plain);
    damaged["signature"] = envelope(&expiring)["signature"].clone();
    assert!(!needless(damaged.to_string().as_bytes(), &options()));
}

/// The same signature is found in a layout and in a registry; that of another signer is not the one.
#[tokio::test]
async fn signatures_are_found_where_they_are_stored() {
    let bench = Bench::new().await;
    let registry = FakeRegistry::start(Behaviour::default());
    let blobs = bench.directory.path().join("blobs/sha256");
    let bytes = fs::read(blobs.join(bench.artifact.digest.hex())).unwrap();
    registry.put_blob("app", b"{}");
    registry.put_manifest("app", None, MANIFEST, &bytes);
    let name = RepositoryName::new(&registry.name(), "app").unwrap();
    let connector = Connector::new(ConnectorOptions::default()).unwrap();
    let remote = connector.repository(name, Access::Write).unwrap();
    let signer = InMemory::new(KeySpec::Ec256);
    let leaf = Certificate::from_der(&signer.chain[0])
        .unwrap()
        .thumbprint();

    let none = existing(&remote, &bench.artifact, &options())
        .await
        .unwrap();
    assert!(none.is_empty());
    let wanted = options();
    let there = sign_artifact(&signer, &remote, &bench.artifact, &wanted).await;
    let there = there.unwrap().pushed.manifest.digest;
    let here = bench.sign(&signer, &options()).await.unwrap();
    let here = here.pushed.manifest.digest;
    for (place, digest) in [
        (&remote as &dyn SignatureSource, there),
        (&bench.layout, here),
    ] {
        let found = existing(place, &bench.artifact, &options()).await.unwrap();
        assert_eq!(found.find(leaf).unwrap().unwrap().manifest.digest, digest);
        assert!(found.find([7; 32]).unwrap().is_none());
        let cose = options().format(Format::Cose);
        let found = existing(place, &bench.artifact, &cose).await.unwrap();
        assert!(found.is_empty());
    }
}

/// Signatures of one artifact, and how their list ends.
struct Listed {
    envelope: Vec<u8>,
    truncated: bool,
    warnings: Vec<Warning>,
}

#[async_trait]
impl SignatureSource for Listed {
    fn name(&self) -> String {
        "listed".to_owned()
    }

    async fn list_signatures(&self, subject: &Descriptor, _: usize) -> Result<Listing, OciError> {
        let mut listing = Listing::new(vec![subject.clone()]);
        listing.truncated = self.truncated;
        listing.warnings.clone_from(&self.warnings);
        Ok(listing)
    }

    async fn fetch_signature(&self, manifest: &Descriptor) -> Result<FetchedSignature, OciError> {
        let (format, envelope) = (Format::Jws, self.envelope.clone());
        Ok(FetchedSignature::new(format, envelope, manifest.clone()))
    }
}

/// A list that was not seen as a whole can't say that a signature is not there: nobody signs twice because of it.
#[tokio::test]
async fn a_list_that_is_cut_off_says_no_no() {
    let bench = Bench::new().await;
    let signer = InMemory::new(KeySpec::Ec256);
    let leaf = Certificate::from_der(&signer.chain[0])
        .unwrap()
        .thumbprint();
    let signed = sign_blob(&signer, &bench.artifact, &options()).await;
    let envelope = signed.unwrap().bytes().to_vec();
    let unreadable = Warning::Unreadable {
        referrer: "in the registry's list".to_owned(),
        reason: "it has no digest".to_owned(),
    };
    let told = "skipped referrer in the registry's list: it has no digest";
    for (truncated, warnings, told) in [
        (true, vec![], "more than 1000 signatures"),
        (false, vec![unreadable], told),
    ] {
        let place = Listed {
            envelope: envelope.clone(),
            truncated,
            warnings,
        };
        let found = existing(&place, &bench.artifact, &options()).await.unwrap();
        // The one that was seen is there, whatever else may be.
        assert!(found.find(leaf).unwrap().is_some());
        let error = found.find([7; 32]).unwrap_err();
        assert!(matches!(error, SignError::Unseen(_)), "{error:?}");
        assert!(error.told().contains(told), "{}", error.told());
        let cose = options().format(Format::Cose);
        let found = existing(&place, &bench.artifact, &cose).await.unwrap();
        assert!(!found.is_empty());
        assert!(found.find(leaf).is_err());
    }
    // What is wrong beside the list hides nothing of it.
    let place = Listed {
        envelope,
        truncated: false,
        warnings: vec![Warning::OutdatedIndex],
    };
    let found = existing(&place, &bench.artifact, &options()).await.unwrap();
    assert!(found.find([7; 32]).unwrap().is_none());
}

/// Of a signer that tells its certificate with its signatures alone, one signature is made to learn it, and none for what
/// is there already, however many want to know at once.
#[tokio::test]
async fn a_certificate_is_learnt_once() {
    let made = AtomicUsize::new(0);
    let learnt = LearntLeaf::default();
    let ask = |there: bool| {
        let make = async {
            tokio::task::yield_now().await;
            made.fetch_add(1, Ordering::SeqCst);
            Ok::<_, SignError>([5; 32])
        };
        let find = move |leaf| Ok((there && leaf == [5; 32]).then_some("there"));
        learnt.make_unless_there(None, true, find, make, |leaf| *leaf)
    };
    let asked = futures_util::future::join_all((0..20).map(|n| ask(n != 7))).await;
    let there = |asked: &Result<Unless<&str, [u8; 32]>, SignError>| {
        matches!(asked, Ok(Unless::There("there")))
    };
    assert_eq!(asked.iter().filter(|asked| there(asked)).count(), 19);
    // One in vain, and the one that was missing.
    assert_eq!(made.load(Ordering::SeqCst), 2);
    // A signer that tells it at once makes none in vain, and what can't be there is made.
    let make = || async { Ok::<_, SignError>([5; 32]) };
    let find = |leaf: [u8; 32]| Ok((leaf == [6; 32]).then_some(()));
    let told = learnt.make_unless_there(
        Some([6; 32]),
        true,
        find,
        std::future::pending::<Result<_, SignError>>(),
        |leaf: &[u8; 32]| *leaf,
    );
    assert!(matches!(told.await, Ok(Unless::There(()))));
    let fresh = learnt.make_unless_there(
        None,
        false,
        |_| -> Result<Option<()>, SignError> { panic!("nothing is there") },
        make(),
        |leaf| *leaf,
    );
    assert!(matches!(fresh.await, Ok(Unless::Made(_))));
}
