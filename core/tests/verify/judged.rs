//! One signature judged by what is at hand, without a runtime, a file or a clock; and parts of other makes
//! in the place of ours, chosen at run time.

use std::sync::Arc;

use async_trait::async_trait;
use hardsign_core::algorithm::KeySpec;
use hardsign_core::artifact::Descriptor;
use hardsign_core::envelope::{Format, Signature, Signed, ToBeSigned};
use hardsign_core::oci::{
    FetchedSignature, Listing, OciError, Pushed, SignatureSource, SignatureStore,
};
use hardsign_core::policy::{Verification, oci};
use hardsign_core::revocation::{Checked, Checker, Inquiry, Status};
use hardsign_core::sign::{
    SignError, SignOptions, Signer, SignerError, TimestampError, sign_artifact,
};
use hardsign_core::trust::{LoadedStores, StoreRef, TrustStore};
use hardsign_core::verify::{
    Answers, Described, ExtensionAnswer, Grounds, Options, Outcome, PluginCheck, Policy, Rejected,
    Target, VerifiedSignature, Verifier, VerifyError, judge,
};
use hardsign_core::x509::Certificate;
use hardsign_test_support::{Builder, Issued, Key, Pki, Told, certificate};

use crate::world::{
    REPOSITORY, Shelf, World, artifact, descriptor, document, level, payload, sign, sign_with,
    signer, strict, verdict,
};

/// The store `ca:t` with one certificate.
fn trusting(root: &Issued) -> LoadedStores {
    let certificate = Certificate::parse_file(&root.der).unwrap();
    let store = StoreRef::parse("ca:t").unwrap();
    LoadedStores::default().with(TrustStore::new(store, certificate).unwrap())
}

/// The policy with one statement, from its bytes.
fn policy(rest: &str) -> Policy<oci::Document> {
    Policy::from_bytes("memory", document(rest).as_bytes()).unwrap()
}

fn judged(
    rest: &str,
    stores: &LoadedStores,
    format: Format,
    envelope: &[u8],
    answers: Answers,
) -> Result<VerifiedSignature, Rejected> {
    let policy = policy(rest);
    let scope = || REPOSITORY.to_owned();
    let statement = policy
        .document()
        .statement_for_repository(REPOSITORY, scope)
        .unwrap();
    let Verification::Verify(rules) = statement.verification() else {
        panic!("the level is skip");
    };
    let grounds = Grounds::new(
        statement.name(),
        rules,
        policy.rules(statement.name()),
        stores,
        Options::new(certificate::now()),
    )
    .unwrap();
    let artifact = artifact();
    judge(
        format,
        envelope,
        Target::Artifact(&artifact),
        &grounds,
        answers,
    )
}

fn said(result: Result<VerifiedSignature, Rejected>) -> String {
    match result {
        Ok(signature) => {
            let logged: Vec<_> = signature
                .report()
                .logged()
                .map(|l| l.check.name())
                .collect();
            match logged.is_empty() {
                true => "ok".to_owned(),
                false => format!("logged {}", logged.join(" ")),
            }
        }
        Err(rejected) => format!("refused by {}", rejected.step().name()),
    }
}

fn all(status: &Status) -> Vec<Checked> {
    vec![status.clone().into(); 3]
}

/// Says the same about every certificate.
struct Always(Status);

#[async_trait]
impl Checker for Always {
    async fn check(&self, inquiry: Inquiry<'_>) -> Vec<Checked> {
        vec![self.0.clone().into(); inquiry.certificates.len()]
    }
}

/// What a policy asks beyond one signature is not passed over by who has only one.
#[test]
fn rules_about_more_than_one_signature_are_refused() {
    let plain = document(&strict());
    let party = r#"{"name":"t","trustStores":["ca:t"]}"#;
    for (rules, refused) in [
        (
            format!(r#"{{"signers":{{"atLeast":1,"of":[{party}]}}}}"#),
            Some("signers"),
        ),
        (
            r#"{"attached":[{"type":"application/x"}]}"#.to_owned(),
            Some("attached"),
        ),
        (r#"{"hardware":{}}"#.to_owned(), None),
    ] {
        let rules = format!(r#""hardsign":{{"version":"1.0","oci":{{"n":{rules}}}}}"#);
        let text = plain.replacen('{', &format!("{{{rules},"), 1);
        let policy = Policy::<oci::Document>::from_bytes("memory", text.as_bytes()).unwrap();
        let scope = || REPOSITORY.to_owned();
        let statement = policy
            .document()
            .statement_for_repository(REPOSITORY, scope)
            .unwrap();
        let Verification::Verify(rules) = statement.verification() else {
            panic!("the level is skip");
        };
        let (own, stores) = (policy.rules("n"), LoadedStores::default());
        let options = Options::new(certificate::now());
        let grounds = Grounds::new("n", rules, own, &stores, options);
        assert_eq!(grounds.err().map(|error| error.rule), refused);
    }
}

/// The function and the verifier say the same of every combination of level, format, status and fault: they
/// are one. Outside of a runtime the function needs nothing but its arguments.
#[test]
fn the_function_and_the_verifier_agree() {
    let pki = Pki::new();
    let other = Builder::ca("Other", &Key::P384).self_signed(&Key::P384);
    let leaf = Builder::leaf("signer", Key::P256.spki).ocsp("http://ocsp.test");
    let chain = pki.chain(&pki.issue(leaf, &Key::P256));
    let statuses = [Status::Good, Status::Revoked];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut verdicts = std::collections::BTreeSet::new();
    for format in Format::ALL {
        let good = sign(format, &artifact(), &chain, &Key::P256);
        let of_other = sign(format, &descriptor(b"other"), &chain, &Key::P256);
        let wrong_key = sign(format, &artifact(), &chain, &Key::P256_B);
        for envelope in [good, of_other, wrong_key, b"none".to_vec()] {
            for root in [&pki.root, &other] {
                for name in ["strict", "permissive", "audit"] {
                    for status in &statuses {
                        let rest = level(&format!(r#""level":"{name}""#));
                        let mut answers = Answers::default();
                        answers.signer = all(status);
                        let stores = trusting(root);
                        let said = said(judged(&rest, &stores, format, &envelope, answers));
                        let world = World::new().trust("ca:t", root).statement(&rest);
                        let mut shelf = Shelf::default();
                        shelf.add(format, &envelope, None);
                        let by = world.verifier().with_revocation(Always(status.clone()));
                        let verified = runtime.block_on(world.verify_by(&by, &shelf));
                        assert_eq!(said, verdict(verified), "{format:?} {name} {status:?}");
                        verdicts.insert(said);
                    }
                }
            }
        }
    }
    let expected = [
        "logged authenticity revocation",
        "logged revocation",
        "ok",
        "refused by authenticity",
        "refused by content",
        "refused by integrity",
        "refused by revocation",
    ];
    assert_eq!(verdicts, expected.map(str::to_owned).into());
}

/// SEC-08, REV-06: what was not answered, or not for each certificate, is not known.
#[test]
fn rev_06_what_is_not_answered_is_not_known() {
    let pki = Pki::new();
    let leaf = Builder::leaf("signer", Key::P256.spki).ocsp("http://ocsp.test");
    let chain = pki.chain(&pki.issue(leaf, &Key::P256));
    let envelope = sign(Format::Jws, &artifact(), &chain, &Key::P256);
    let stores = trusting(&pki.root);
    for answered in 0..3 {
        let mut answers = Answers::default();
        answers.signer = vec![Status::Good.into(); answered];
        let strict = level(r#""level":"strict""#);
        let refused = judged(&strict, &stores, Format::Jws, &envelope, answers).unwrap_err();
        assert!(refused.told().ends_with("status is unknown: no answer"));
    }
    let audit = level(r#""level":"audit""#);
    let logged = judged(&audit, &stores, Format::Jws, &envelope, Answers::default());
    assert_eq!(said(logged), "logged revocation");
    // A store that is not at hand trusts nobody.
    let none = LoadedStores::default();
    let strict = level(r#""level":"strict""#);
    let refused = judged(&strict, &none, Format::Jws, &envelope, Answers::default());
    let told = refused.unwrap_err().told();
    assert_eq!(told, "the trust store \"t\" of type \"ca\" does not exist");
}

/// VER-35 to VER-39: a verification plugin's part is an answer like any other; without one, what names a
/// plugin fails.
#[test]
fn ver_35_plugins_are_answers() {
    const NAME: &str = "io.cncf.notary.verificationPlugin";
    let pki = Pki::new();
    let key = &Key::P256;
    let chain = pki.chain(&signer(&pki, "signer", key));
    let envelope = sign_with(&payload(&artifact()), &chain, key, |protected| {
        let crit = format!(r#"["io.cncf.notary.signingScheme","{NAME}"]"#);
        protected.with("crit", &crit).with(NAME, "\"p\"")
    });
    let stores = trusting(&pki.root);
    let both = [PluginCheck::TrustedIdentity, PluginCheck::RevocationCheck];
    let plugin = |version: &str, decided: Result<(), String>| {
        let results = both.map(|check| (check, decided.clone()));
        let answer = ExtensionAnswer::new(Default::default(), results.into());
        let mut answers = Answers::default();
        answers.plugin = Some((Described::new(version, both.to_vec()), answer));
        answers
    };
    let strict = level(r#""level":"strict""#);
    let by = |answers| said(judged(&strict, &stores, Format::Jws, &envelope, answers));
    assert_eq!(by(plugin("1.0.0", Ok(()))), "ok");
    assert_eq!(by(plugin("one", Ok(()))), "refused by extension");
    assert_eq!(
        by(plugin("1.0.0", Err("no".to_owned()))),
        "refused by authenticity"
    );
    assert_eq!(by(Answers::default()), "refused by extension");
}

/// A shelf of another make: it keeps what it is given, or fails with an error of its own.
#[derive(Default)]
struct Drawer {
    signatures: std::sync::Mutex<Vec<(Format, Vec<u8>)>>,
    jams: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the drawer is jammed")]
struct Jammed;

impl Drawer {
    fn manifest(&self, number: usize) -> Descriptor {
        descriptor(&number.to_be_bytes())
    }
}

#[async_trait]
impl SignatureSource for Drawer {
    fn name(&self) -> String {
        REPOSITORY.to_owned()
    }

    async fn list_signatures(&self, _: &Descriptor, _: usize) -> Result<Listing, OciError> {
        if self.jams {
            return Err(OciError::Other(Box::new(Jammed)));
        }
        let count = self.signatures.lock().unwrap().len();
        Ok(Listing::new((0..count).map(|n| self.manifest(n)).collect()))
    }

    async fn fetch_signature(&self, manifest: &Descriptor) -> Result<FetchedSignature, OciError> {
        let signatures = self.signatures.lock().unwrap();
        let found = (0..signatures.len()).find(|n| self.manifest(*n) == *manifest);
        let (format, envelope) = signatures[found.unwrap()].clone();
        Ok(FetchedSignature::new(format, envelope, manifest.clone()))
    }
}

#[async_trait]
impl SignatureStore for Drawer {
    async fn push_signature(
        &self,
        _: &Descriptor,
        format: Format,
        envelope: &[u8],
        _: std::collections::BTreeMap<String, String>,
    ) -> Result<Pushed, OciError> {
        if self.jams {
            return Err(OciError::Other(Box::new(Jammed)));
        }
        let mut signatures = self.signatures.lock().unwrap();
        signatures.push((format, envelope.to_vec()));
        Ok(Pushed::new(self.manifest(signatures.len() - 1)))
    }
}

/// A key of another make.
struct OwnKey(Vec<Vec<u8>>);

#[async_trait]
impl Signer for OwnKey {
    async fn key_spec(&self) -> Result<KeySpec, SignerError> {
        Ok(KeySpec::Ec256)
    }

    async fn sign(&self, message: &ToBeSigned) -> Result<Signed, SignerError> {
        Ok(Signed {
            signature: Key::P256.sign(message.bytes()),
            certificate_chain: self.0.clone().into(),
            signing_agent: "own/1".to_owned(),
        })
    }
}

/// A timestamping authority of another make, which is out of order.
#[derive(Debug)]
struct NoTime;

impl hardsign_core::sign::Countersigner for NoTime {
    fn countersign<'a>(
        &'a self,
        _: &'a Signature,
        _: jiff::Timestamp,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Vec<u8>, TimestampError>> + Send + 'a>> {
        Box::pin(async { Err(TimestampError::Other(Box::new(Jammed))) })
    }
}

/// Signer, store, source, checker and trust stores are chosen at run time, and need no file and nothing of
/// ours; their own errors come back as causes.
#[tokio::test]
async fn parts_of_other_makes() {
    let pki = Pki::new();
    let chain = pki.chain(&signer(&pki, "signer", &Key::P256));
    let key: Box<dyn Signer> = Box::new(OwnKey(chain));
    let options = SignOptions::new(Format::Cose, certificate::now());
    let drawer = Drawer::default();
    let store: &dyn SignatureStore = &drawer;
    sign_artifact(&key, store, &artifact(), &options)
        .await
        .unwrap();

    let checker: Arc<dyn Checker> = Arc::new(Always(Status::Good));
    let verifier = Verifier::new(trusting(&pki.root)).with_revocation(checker);
    let policy = policy(&level(r#""level":"strict""#));
    let verify = async |source: &dyn SignatureSource| {
        let options = Options::new(certificate::now());
        verifier
            .verify_artifact(&policy, source, REPOSITORY, &artifact(), options)
            .await
    };
    let outcome = verify(&drawer).await.unwrap();
    assert!(matches!(outcome, Outcome::Verified(_)), "{outcome:?}");

    let jammed = Drawer {
        jams: true,
        ..Drawer::default()
    };
    let error = verify(&jammed).await.unwrap_err();
    assert!(matches!(error, VerifyError::List { .. }), "{error:?}");
    assert!(
        error.told().ends_with(": the drawer is jammed"),
        "{}",
        error.told()
    );
    let error = sign_artifact(&key, &jammed, &artifact(), &options).await;
    let error = error.unwrap_err();
    assert!(matches!(error, SignError::Push(_)), "{error:?}");
    let late = options.timestamp(Some(Arc::new(NoTime)));
    let error = sign_artifact(&key, &drawer, &artifact(), &late)
        .await
        .unwrap_err();
    assert_eq!(error.told(), "timestamp: the drawer is jammed");
    assert_eq!(drawer.signatures.lock().unwrap().len(), 1);
}

/// A policy in memory has no files beside it, and says so; rules in it hold.
#[test]
fn policies_from_bytes() {
    let rules = |rules: &str| {
        let text = document(&level(r#""level":"strict""#));
        let text = text.strip_suffix('}').unwrap();
        let text = format!(r#"{text},"hardsign":{rules}}}"#);
        Policy::<oci::Document>::from_bytes("memory", text.as_bytes())
    };
    let attached = r#"{"version":"1.0","oci":{"n":{"attached":[{"type":"text/x"}]}}}"#;
    match rules(attached) {
        Ok(policy) => {
            assert_eq!(policy.rules("n").unwrap().attached.len(), 1);
            assert_eq!(policy.source().path.display().to_string(), "memory");
        }
        Err(error) => panic!("{}", error.told()),
    }
    let unknown = r#"{"version":"1.0","oci":{"m":{"attached":[{"type":"text/x"}]}}}"#;
    assert!(rules(unknown).is_err());
    let error = Policy::<oci::Document>::from_bytes("memory", b"{").unwrap_err();
    assert!(!error.told().is_empty());
}
