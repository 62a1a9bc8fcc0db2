//! Attached artifacts that the user or hardsign's own policy demands (CVE-2022-35929).

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;
use hardsign_core::artifact::{Descriptor, Digest};
use hardsign_core::envelope::Format;
use hardsign_core::event::Event;
use hardsign_core::oci::content::Place;
use hardsign_core::oci::layout::Layout;
use hardsign_core::oci::{
    FetchedSignature, Listing, OciError, Referrers, Repository as _, SignatureSource,
    SignatureStore as _,
};
use hardsign_core::policy::hardsign::AttachedRule;
use hardsign_core::verify::{AttachedFault, Outcome, Verified, VerifyError};
use hardsign_test_support::{Builder, Issued, Key, Pki, Told};

use crate::world::{REPOSITORY, World, descriptor, level, sign, signer, strict, verified};

const SBOM: &str = "application/spdx+json";
const SCAN: &str = "application/vnd.example.scan+json";

/// A layout whose list says that everything attached is of one type, as a hostile registry's may.
struct Liar<'a> {
    layout: &'a Layout,
    says: Option<&'a str>,
}

#[async_trait]
impl SignatureSource for Liar<'_> {
    fn name(&self) -> String {
        REPOSITORY.to_owned()
    }

    async fn list_signatures(&self, of: &Descriptor, limit: usize) -> Result<Listing, OciError> {
        self.layout.list_signatures(of, limit).await
    }

    async fn fetch_signature(&self, manifest: &Descriptor) -> Result<FetchedSignature, OciError> {
        self.layout.fetch_signature(manifest).await
    }

    async fn list_referrers(
        &self,
        subject: &Descriptor,
        artifact_type: Option<&str>,
        limit: usize,
    ) -> Result<Referrers, OciError> {
        let Some(says) = self.says else {
            return self
                .layout
                .list_referrers(subject, artifact_type, limit)
                .await;
        };
        let mut all = self.layout.list_referrers(subject, None, limit).await?;
        for entry in &mut all.entries {
            entry.artifact_type = Some(says.to_owned());
        }
        Ok(all)
    }

    async fn fetch_manifest(&self, wanted: &Descriptor) -> Result<Vec<u8>, OciError> {
        self.layout.fetch_manifest(wanted).await
    }
}

/// An artifact with what is attached to it.
struct Shop {
    world: World,
    pki: Pki,
    layout: Layout,
    app: Descriptor,
}

impl Shop {
    /// The artifact is in the layout and not signed yet.
    async fn new(rest: &str) -> Self {
        let pki = Pki::new();
        let world = World::new().trust("ca:t", &pki.root).statement(rest);
        let path = world.dirs.config.join("layout");
        let layout = Layout::open_or_create(path).unwrap();
        let app = store(&layout, "application/vnd.example.app", None).await;
        Self {
            world,
            pki,
            layout,
            app,
        }
    }

    /// Attaches something of a type, and perhaps signs it.
    async fn attach(&self, artifact_type: &str, by: Option<&Issued>) -> Descriptor {
        let attached = store(&self.layout, artifact_type, Some(&self.app)).await;
        if let Some(by) = by {
            self.sign(&attached, by).await;
        }
        attached
    }

    async fn sign(&self, target: &Descriptor, by: &Issued) {
        let envelope = sign(Format::Jws, target, &self.pki.chain(by), &by.key);
        self.layout
            .push_signature(target, Format::Jws, &envelope, BTreeMap::new())
            .await
            .unwrap();
    }

    fn rules(&self, attached: &str) {
        std::fs::write(
            self.world.dirs.hardsign_policy(),
            format!(r#"{{"version":"1.0","oci":{{"n":{{"attached":[{attached}]}}}}}}"#),
        )
        .unwrap();
    }

    async fn verify(&self, demanded: &[AttachedRule]) -> Result<Outcome, VerifyError> {
        self.verify_at(None, demanded).await
    }

    async fn verify_at(
        &self,
        says: Option<&str>,
        demanded: &[AttachedRule],
    ) -> Result<Outcome, VerifyError> {
        let observer = |event: &Event<'_>| self.world.note(event);
        let repository = Liar {
            layout: &self.layout,
            says,
        };
        self.world
            .verifier()
            .verify_with_attached(
                &self.world.policy(),
                &repository,
                REPOSITORY,
                &self.app,
                demanded,
                self.world.options(&observer),
            )
            .await
    }
}

/// Stores a manifest without content.
async fn store(layout: &Layout, artifact_type: &str, subject: Option<&Descriptor>) -> Descriptor {
    let subject_member = subject.map(|s| {
        format!(
            r#","subject":{{"mediaType":"{}","digest":"{}","size":{}}}"#,
            s.media_type, s.digest, s.size
        )
    });
    let bytes = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"{artifact_type}","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}},"layers":[]{}}}"#,
        subject_member.unwrap_or_default()
    );
    let stored = descriptor(bytes.as_bytes());
    let nothing = BTreeMap::new();
    let place = match subject {
        Some(subject) => Place::Referrer {
            subject: &subject.digest,
            artifact_type: Some(artifact_type),
            annotations: &nothing,
        },
        None => Place::Artifact(Some("v1")),
    };
    layout
        .store_manifest(&stored, bytes.into_bytes(), place)
        .await
        .unwrap();
    stored
}

fn sbom(same_signer: bool) -> [AttachedRule; 1] {
    [AttachedRule::new(SBOM, same_signer).unwrap()]
}

fn digests(verified: &Verified) -> Vec<Digest> {
    let attached = verified.attached().iter();
    attached.map(|a| a.digest.clone()).collect()
}

/// Why the first attached artifact that was looked at does not count.
fn fault(result: Result<Outcome, VerifyError>) -> AttachedFault {
    match result {
        Err(VerifyError::Attached {
            mut passed_over, ..
        }) => passed_over.remove(0).fault,
        other => panic!("{other:?}"),
    }
}

/// A signed SBOM satisfies the demand, by flag and by policy; its digest and those of its signatures
/// are in the result (SEC-31).
#[tokio::test]
async fn a_signed_attached_artifact_is_found() {
    let shop = Shop::new(&strict()).await;
    let alice = signer(&shop.pki, "alice", &Key::P256);
    shop.sign(&shop.app, &alice).await;
    let unsigned = shop.attach(SCAN, None).await;
    let found = shop.attach(SBOM, Some(&alice)).await;
    let outcome = verified(shop.verify(&sbom(false)).await);
    assert_eq!(digests(&outcome), std::slice::from_ref(&found.digest));
    assert_eq!(outcome.attached()[0].verified.target().digest, found.digest);
    assert!(
        outcome.attached()[0].verified.signatures()[0]
            .manifest
            .is_some()
    );
    shop.rules(&format!(r#"{{"type":"{SBOM}","sameSigner":true}}"#));
    let outcome = verified(shop.verify(&[]).await);
    assert_eq!(digests(&outcome), [found.digest]);
    // The policy's demand and the user's are both made.
    let scan = [AttachedRule::new(SCAN, false).unwrap()];
    assert!(matches!(
        fault(shop.verify(&scan).await),
        AttachedFault::NotVerified(error) if matches!(*error, VerifyError::NoSignature { .. })
    ));
    shop.sign(&unsigned, &alice).await;
    assert_eq!(verified(shop.verify(&scan).await).attached().len(), 2);
}

/// None, or none that is signed by somebody trusted: not verified, whatever the artifact's own
/// signatures are. The signature on the artifact itself never stands in for it.
#[tokio::test]
async fn nothing_else_stands_in_for_it() {
    let shop = Shop::new(&strict()).await;
    let alice = signer(&shop.pki, "alice", &Key::P256);
    shop.sign(&shop.app, &alice).await;
    assert!(matches!(
        shop.verify(&sbom(false)).await,
        Err(VerifyError::Attached { passed_over, .. }) if passed_over.is_empty()
    ));
    let attached = shop.attach(SBOM, None).await;
    assert!(matches!(
        fault(shop.verify(&sbom(false)).await),
        AttachedFault::NotVerified(_)
    ));
    // A signature of the artifact, listed for the SBOM.
    let envelope = sign(Format::Jws, &shop.app, &shop.pki.chain(&alice), &alice.key);
    shop.layout
        .push_signature(&attached, Format::Jws, &envelope, BTreeMap::new())
        .await
        .unwrap();
    assert!(matches!(
        fault(shop.verify(&sbom(false)).await),
        AttachedFault::NotVerified(_)
    ));
    // A signer of the same name below a root that nobody trusts.
    let root = Builder::ca("Root", &Key::P384).self_signed(&Key::P384);
    let leaf = Builder::leaf("alice", Key::P256_B.spki).issue(&root, &Key::P256_B);
    let forged = sign(Format::Jws, &attached, &[leaf.der, root.der], &Key::P256_B);
    shop.layout
        .push_signature(&attached, Format::Jws, &forged, BTreeMap::new())
        .await
        .unwrap();
    assert!(matches!(
        fault(shop.verify(&sbom(false)).await),
        AttachedFault::NotVerified(_)
    ));
    // One good one is enough, and the bad one hides nothing.
    let good = store_second(&shop, &alice).await;
    let outcome = verified(shop.verify(&sbom(false)).await);
    assert_eq!(digests(&outcome), [good.digest]);
}

/// A second SBOM, with another configuration than the first.
async fn store_second(shop: &Shop, by: &Issued) -> Descriptor {
    let stored = store_of(shop, SBOM).await;
    shop.sign(&stored, by).await;
    stored
}

/// An attached artifact whose type is its configuration's.
async fn store_of(shop: &Shop, artifact_type: &str) -> Descriptor {
    let bytes = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"{artifact_type}","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}},"layers":[],"subject":{{"mediaType":"{}","digest":"{}","size":{}}}}}"#,
        shop.app.media_type, shop.app.digest, shop.app.size
    );
    let stored = descriptor(bytes.as_bytes());
    let nothing = BTreeMap::new();
    let place = Place::Referrer {
        subject: &shop.app.digest,
        artifact_type: Some(artifact_type),
        annotations: &nothing,
    };
    let layout = &shop.layout;
    layout
        .store_manifest(&stored, bytes.into_bytes(), place)
        .await
        .unwrap();
    stored
}

/// CVE-2022-35929: the right signature on the wrong kind. The type is the manifest's own, and a
/// list that says otherwise changes nothing.
#[tokio::test]
async fn a_signed_artifact_of_another_type_does_not_count() {
    let shop = Shop::new(&strict()).await;
    let alice = signer(&shop.pki, "alice", &Key::P256);
    shop.sign(&shop.app, &alice).await;
    shop.attach(SCAN, Some(&alice)).await;
    assert!(matches!(
        shop.verify(&sbom(false)).await,
        Err(VerifyError::Attached { .. })
    ));
    let Err(VerifyError::Attached { passed_over, .. }) =
        shop.verify_at(Some(SBOM), &sbom(false)).await
    else {
        panic!("a scan result stood in for an SBOM");
    };
    // The scan result and the signature itself, both listed as SBOMs.
    assert_eq!(passed_over.len(), 2);
    assert!(
        passed_over
            .iter()
            .all(|p| matches!(p.fault, AttachedFault::OtherType { .. }))
    );
}

/// An SBOM of another artifact, properly signed, is not this artifact's.
#[tokio::test]
async fn what_is_attached_elsewhere_does_not_count() {
    let mut shop = Shop::new(&strict()).await;
    let alice = signer(&shop.pki, "alice", &Key::P256);
    shop.attach(SBOM, Some(&alice)).await;
    shop.app = store(&shop.layout, "application/vnd.example.other", None).await;
    shop.sign(&shop.app, &alice).await;
    assert!(matches!(
        shop.verify(&sbom(false)).await,
        Err(VerifyError::Attached { passed_over, .. }) if passed_over.is_empty()
    ));
}

/// `sameSigner`: somebody else whom the statement trusts is not enough; one of several signers of
/// the artifact is, whichever was found first.
#[tokio::test]
async fn the_same_signer_is_the_same_identity() {
    let shop = Shop::new(&strict()).await;
    let alice = signer(&shop.pki, "alice", &Key::P256);
    let bob = signer(&shop.pki, "bob", &Key::P384);
    shop.sign(&shop.app, &alice).await;
    let attached = shop.attach(SBOM, Some(&bob)).await;
    assert_eq!(
        verified(shop.verify(&sbom(false)).await).attached().len(),
        1
    );
    assert!(matches!(
        fault(shop.verify(&sbom(true)).await),
        AttachedFault::OtherSigner
    ));
    // Alice with a new key is alice still.
    let renewed = shop
        .pki
        .issue(Builder::leaf("alice", Key::P521.spki), &Key::P521);
    shop.sign(&attached, &renewed).await;
    let outcome = verified(shop.verify(&sbom(true)).await);
    assert!(outcome.attached()[0].same_signer);
    assert_eq!(outcome.attached()[0].verified.signatures().len(), 2);
}

/// Signers of what is attached: a scanner of its own, whom the statement trusts with nothing else. The
/// statement's signers don't count for the scan, its number of signers isn't asked of it, and the
/// scanner's signature on the artifact is worth nothing.
#[tokio::test]
async fn attached_artifacts_may_have_signers_of_their_own() {
    let root = Builder::ca("Scanning", &Key::P384).self_signed(&Key::P384);
    let scanner = Builder::leaf("scanner", Key::P256_B.spki).issue(&root, &Key::P384);
    let chain = [scanner.der.clone(), root.der.clone()];
    let mut shop = Shop::new(&strict()).await;
    shop.world = shop.world.trust("ca:scan", &root);
    let alice = signer(&shop.pki, "alice", &Key::P256);
    let bob = signer(&shop.pki, "bob", &Key::P384);
    let by_scanner = async |target: &Descriptor| {
        let envelope = sign(Format::Jws, target, &chain, &Key::P256_B);
        let layout = &shop.layout;
        layout
            .push_signature(target, Format::Jws, &envelope, BTreeMap::new())
            .await
            .unwrap();
    };
    let party = |name: &str, store: &str| {
        format!(
            r#"{{"name":"{name}","trustedIdentities":["x509.subject: C=US, ST=WA, O=Hardsign Tests, CN={name}"],"trustStores":["{store}"]}}"#
        )
    };
    let rules = format!(
        r#"{{"version":"1.0","oci":{{"n":{{"signers":{{"atLeast":2,"of":[{},{}]}},"attached":[{{"type":"{SCAN}","signers":{{"atLeast":1,"of":[{}]}}}}]}}}}}}"#,
        party("alice", "ca:t"),
        party("bob", "ca:t"),
        party("scanner", "ca:scan")
    );
    std::fs::write(shop.world.dirs.hardsign_policy(), rules).unwrap();

    // The scanner alone can't sign the artifact.
    by_scanner(&shop.app).await;
    assert!(matches!(
        shop.verify(&[]).await,
        Err(VerifyError::AllFailed { .. })
    ));
    shop.sign(&shop.app, &alice).await;
    shop.sign(&shop.app, &bob).await;

    // The artifact's signers, both of them, can't sign the scan.
    let scan = shop.attach(SCAN, Some(&alice)).await;
    shop.sign(&scan, &bob).await;
    let error = shop.verify(&[]).await.unwrap_err();
    assert!(
        error
            .told()
            .contains("is signed by the signers that the rule on it names")
    );
    assert!(matches!(fault(Err(error)), AttachedFault::NotVerified(_)));

    by_scanner(&scan).await;
    let outcome = verified(shop.verify(&[]).await);
    assert_eq!(digests(&outcome), [scan.digest]);
    let tally = outcome.attached()[0].verified.tally().unwrap();
    assert_eq!(
        (tally.at_least, tally.signed.as_slice()),
        (1, &["scanner".to_owned()][..])
    );

    // Without a store of its own the scanner is below the statement's.
    let scanner_of_ours = signer(&shop.pki, "scanner", &Key::P521);
    let other = store_of(&shop, SCAN).await;
    shop.sign(&other, &scanner_of_ours).await;
    shop.rules(&format!(
        r#"{{"type":"{SCAN}","signers":{{"atLeast":1,"of":[{}]}}}}"#,
        party("scanner", "ca:t")
    ));
    let outcome = verified(shop.verify(&[]).await);
    assert_eq!(digests(&outcome), [other.digest]);
}

/// A statement that verifies nothing can't be asked for attached artifacts; rules that could never
/// be enforced are refused.
#[tokio::test]
async fn demands_that_cannot_be_enforced_fail() {
    let shop = Shop::new(r#""signatureVerification":{"level":"skip"}"#).await;
    assert!(matches!(shop.verify(&[]).await, Ok(Outcome::Skipped(_))));
    assert!(matches!(
        shop.verify(&sbom(false)).await,
        Err(VerifyError::AttachedUnderSkip { .. })
    ));
    for (rules, text) in [
        (
            r#""oci":{"n":{"attached":[]}}"#,
            "\"attached\" names no type",
        ),
        (
            r#""oci":{"n":{"attached":[{"type":"sbom"}]}}"#,
            "is not an artifact type",
        ),
        (
            r#""oci":{"n":{"attached":[{"type":"application/vnd.cncf.notary.signature"}]}}"#,
            "is the type of signatures",
        ),
        (
            r#""oci":{"n":{"attached":[{"type":"a/b"},{"type":"a/b","sameSigner":true}]}}"#,
            "more than once",
        ),
        (
            r#""oci":{"n":{"attached":[{"type":"a/b","samesigner":true}]}}"#,
            "must be written",
        ),
        (
            r#""oci":{"n":{"attached":[{"type":"a/b","sameSigner":"yes"}]}}"#,
            "sameSigner",
        ),
        (r#""oci":{"n":{"attached":{"type":"a/b"}}}"#, "attached"),
        (
            r#""oci":{"n":{"attached":[{"type":"a/b","sameSigner":true,"signers":{"atLeast":1,"of":[{"name":"s","trustStores":["ca:t"]}]}}]}}"#,
            "has both \"sameSigner\" and \"signers\"",
        ),
        (
            r#""oci":{"n":{"attached":[{"type":"a/b","signers":{"atLeast":2,"of":[{"name":"s","trustStores":["ca:t"]}]}}]}}"#,
            "\"attached\" of type \"a/b\": \"signers.atLeast\" must be between 1 and",
        ),
        (
            r#""oci":{"n":{"attached":[{"type":"a/b","signers":{"atLeast":1,"of":[{"name":"s","trustStores":["tsa:t"]}]}}]}}"#,
            "which is not for signers",
        ),
        (
            r#""oci":{"n":{"attached":[{"type":"a/b","signers":null}]}}"#,
            "attached[0].signers",
        ),
        (
            r#""blob":{"n":{"attached":[{"type":"a/b"}]}}"#,
            "not for files",
        ),
    ] {
        let world = World::new().statement(&level(r#""level":"strict""#));
        let path: &Path = &world.dirs.hardsign_policy();
        std::fs::write(path, format!(r#"{{"version":"1.0",{rules}}}"#)).unwrap();
        let error = hardsign_core::verify::Policy::<hardsign_core::policy::oci::Document>::load(
            &world.dirs,
        )
        .unwrap_err();
        let message = error.told();
        assert!(message.contains(text), "{rules}: {message}");
    }
}
