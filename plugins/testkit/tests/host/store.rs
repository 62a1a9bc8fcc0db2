//! The key store behind a plugin, through one process; and a key store that is far away.

use std::collections::BTreeMap;
use std::fs;

use hardsign_core::algorithm::KeySpec;
use hardsign_core::artifact::Kind;
use hardsign_core::crypto::{PublicKey, sha256};
use hardsign_core::plugin::{
    KeyStore, NewKey, Origin, PluginErrorKind, PluginFile, PluginKey, PluginName, PluginSigner,
    UnopenedSigner,
};
use hardsign_plugin::Purpose;
use hardsign_plugin::proto::{Capability, SignatureScheme};
use hardsign_plugin_testkit::rude::{LEAF, ROOT};

use crate::stage::{PATIENT, Stage, rude};

const TOY: &str = env!("CARGO_BIN_EXE_notation-toy");

fn toy(origin: Origin) -> PluginFile {
    PluginFile {
        name: PluginName::new("toy").unwrap(),
        path: TOY.into(),
        origin,
    }
}

fn settings(stage: &Stage) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("latency".to_owned(), "1".to_owned()),
        ("log".to_owned(), stage.log().display().to_string()),
    ])
}

fn new_key(key_id: &str) -> NewKey {
    NewKey {
        key_id: key_id.to_owned(),
        key_spec: KeySpec::Ec256,
        overwrite: false,
        beside: false,
        confirmed: false,
        pin_policy: None,
        touch_policy: None,
    }
}

/// What was done, and by how many processes.
fn done(stage: &Stage) -> (Vec<String>, usize) {
    let log = fs::read_to_string(stage.log()).unwrap_or_default();
    let lines: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let mut processes: Vec<_> = lines.iter().map(|(process, _)| *process).collect();
    processes.sort_unstable();
    processes.dedup();
    let done = lines.iter().map(|(_, what)| (*what).to_owned()).collect();
    (done, processes.len())
}

/// A key is listed, made, certified with, given its certificates, described and attested: in one
/// process, which for a plugin of the box is the one that told its metadata.
#[tokio::test]
async fn one_process_for_the_life_of_a_key() {
    for origin in [Origin::User, Origin::Box] {
        let stage = Stage::new(PATIENT);
        let store = KeyStore::open(&stage.host, toy(origin), "bear", settings(&stage))
            .await
            .unwrap();
        assert!(store.has(&Capability::Keys));
        let listed = store.list_keys("").await.unwrap();
        assert_eq!(listed.keys[0].label.as_deref(), Some("bear"));
        let made = store.create_key(&new_key("bear")).await.unwrap();
        assert_eq!(made.key_id, "bear");
        let key = store
            .open_key("bear", settings(&stage), Purpose::Certify)
            .await
            .unwrap();
        assert_eq!(key.public_key.as_ref(), Some(&made.public_key.0));
        assert_eq!(key.certificate_chain, Vec::<Vec<u8>>::new());
        assert_eq!(
            key.token.as_ref().unwrap().label.as_deref(),
            Some("toy box")
        );
        let digest = sha256(b"a certificate request");
        let signature = key.sign_digest(&digest, None).await.unwrap();
        PublicKey::from_spki_der(&made.public_key.0)
            .unwrap()
            .verify_digest(&digest, &signature)
            .unwrap();
        let scheme = Some(SignatureScheme::RsassaPkcs1V15);
        let error = key.sign_digest(&digest, scheme).await.unwrap_err();
        assert!(
            error.to_string().contains("not opened for signatures"),
            "{error}"
        );
        let chain = [LEAF.to_vec(), ROOT.to_vec()];
        let imported = store.import_certificates("bear", &chain, false).await;
        assert_eq!(imported.unwrap().stored, 2);
        let described = store.describe_key("bear").await.unwrap();
        assert_eq!(described.properties[0].name, "extractable");
        let evidence = store.attest_key("bear").await.unwrap();
        assert_eq!(evidence.format, "toy");
        store.close().await;
        let (done, processes) = done(&stage);
        assert_eq!(
            done,
            [
                "list-keys",
                "create-key",
                "open",
                "sign-digest",
                "import-certificates",
                "attest-key"
            ]
        );
        assert_eq!(processes, 1);
        let started = stage.events.lock().unwrap().join("\n");
        let expected = if origin == Origin::Box { 1 } else { 2 };
        assert_eq!(started.matches("started").count(), expected, "{started}");
    }
}

/// Evidence of a signer's key is asked for before the key is opened, in the process that then signs; a
/// plugin that gives none, or can't add any, is known by that.
#[tokio::test]
async fn evidence_comes_before_the_key() {
    for origin in [Origin::User, Origin::Box] {
        let stage = Stage::new(PATIENT);
        let key = PluginKey::new(toy(origin), "bear", settings(&stage));
        let unopened = UnopenedSigner::connect(&stage.host, key, Kind::Blob)
            .await
            .unwrap();
        assert!(unopened.gives_evidence() && !unopened.makes_envelopes());
        let evidence = unopened.evidence().await.unwrap();
        assert_eq!(evidence.format, "toy");
        let signer = unopened.open().await.unwrap().raw().unwrap();
        let digest = sha256(b"x");
        signer.sign_bytes(b"x", &digest).await.unwrap();
        signer.close().await;
        let expected = ["attest-key", "open", "sign-digest"].map(str::to_owned);
        assert_eq!(done(&stage), (expected.to_vec(), 1));
        // Without the key being opened.
        let stage = Stage::new(PATIENT);
        let key = PluginKey::new(toy(origin), "bear", settings(&stage));
        let unopened = UnopenedSigner::connect(&stage.host, key, Kind::Blob)
            .await
            .unwrap();
        unopened.evidence().await.unwrap();
        unopened.close().await;
        assert_eq!(done(&stage), (vec!["attest-key".to_owned()], 1));
    }
    let stage = Stage::new(PATIENT);
    let key = PluginKey::new(rude(), "good", BTreeMap::new());
    let unopened = UnopenedSigner::connect(&stage.host, key, Kind::Blob)
        .await
        .unwrap();
    assert!(!unopened.gives_evidence());
    let error = unopened.evidence().await.unwrap_err();
    assert!(matches!(error.kind, PluginErrorKind::Lacks(_)), "{error}");
}

/// What the user has to agree to is a question; agreed to, it is done.
#[tokio::test]
async fn a_question_is_not_an_answer() {
    let stage = Stage::new(PATIENT);
    let store = KeyStore::open(&stage.host, toy(Origin::Box), "", settings(&stage))
        .await
        .unwrap();
    let mut key = new_key("taken");
    let error = store.create_key(&key).await.unwrap_err();
    assert_eq!(error.question().as_deref(), Some("Replace the key taken?"));
    (key.overwrite, key.confirmed) = (true, true);
    let made = store.create_key(&key).await.unwrap();
    assert_eq!(made.replaced.as_deref(), Some("the key taken"));
    store.close().await;
}

/// After `ACCESS_DENIED` the key store is asked nothing more, and the error names the token.
#[tokio::test]
async fn a_denial_is_final() {
    let stage = Stage::new(PATIENT);
    let store = KeyStore::open(&stage.host, toy(Origin::Box), "", settings(&stage))
        .await
        .unwrap();
    let error = store.create_key(&new_key("denied")).await.unwrap_err();
    assert_eq!(error.token().unwrap().serial.as_deref(), Some("1"));
    for _ in 0..3 {
        for error in [
            store.list_keys("").await.map(drop).unwrap_err(),
            store
                .open_key("bear", settings(&stage), Purpose::Certify)
                .await
                .map(drop)
                .unwrap_err(),
        ] {
            assert_eq!(
                error.to_string(),
                "not tried: plugin toy was denied access to token \"toy box\" (serial 1) before in this run"
            );
        }
    }
    store.close().await;
    assert_eq!(done(&stage).0, ["create-key"]);
}

/// A plugin without the capability is not asked; one without sessions is started for each command.
#[tokio::test]
async fn what_a_plugin_can_not_do() {
    let stage = Stage::new(PATIENT);
    let config = BTreeMap::from([("log".to_owned(), stage.log().display().to_string())]);
    let store = KeyStore::open(&stage.host, rude(), "", config)
        .await
        .unwrap();
    let error = store.list_keys("").await.unwrap_err();
    assert_eq!(error.to_string(), "plugin rude can't list keys");
    assert!(matches!(error.kind, PluginErrorKind::Lacks(_)));
    store.close().await;
    assert_eq!(stage.count("session"), 0);
}

/// A setting that the plugin doesn't know is told with the one that was meant, and nothing is done.
#[tokio::test]
async fn unknown_settings() {
    let stage = Stage::new(PATIENT);
    let mut wrong = settings(&stage);
    wrong.insert("in_flight".to_owned(), "7".to_owned());
    for origin in [Origin::User, Origin::Box] {
        let errors = [
            KeyStore::open(&stage.host, toy(origin), "", wrong.clone())
                .await
                .map(drop),
            PluginSigner::open(
                &stage.host,
                PluginKey::new(toy(origin), "bear", wrong.clone()),
                Kind::Blob,
            )
            .await
            .map(drop),
        ];
        for error in errors {
            let error = error.unwrap_err();
            assert_eq!(error.to_string(), "plugin toy has no setting \"in_flight\"");
            assert_eq!(error.hint().as_deref(), Some("did you mean in-flight?"));
        }
    }
    assert_eq!(done(&stage).0, Vec::<String>::new());
}

/// Two hundred signatures under way in one process, each of which takes its time.
#[tokio::test]
async fn a_key_store_that_is_far_away() {
    let stage = Stage::new(PATIENT);
    let key = PluginKey::new(toy(Origin::Box), "bear", settings(&stage));
    let signer = PluginSigner::open(&stage.host, key, Kind::Blob)
        .await
        .unwrap()
        .raw()
        .unwrap();
    assert_eq!(signer.max_in_flight(), 200 + 8);
    let digest = sha256(b"x");
    let key = PublicKey::from_spki_der(&public_key()).unwrap();
    let signing = (0..400).map(|_| signer.sign_bytes(b"x", &digest));
    for signed in futures_util::future::join_all(signing).await {
        key.verify_digest(&digest, &signed.unwrap().0).unwrap();
    }
    signer.close().await;
    let (done, processes) = done(&stage);
    assert_eq!(done.len(), 401);
    assert_eq!(processes, 1);
}

/// The public key of the toy's key.
fn public_key() -> Vec<u8> {
    let key = hardsign_plugin::chain::public_key(LEAF).unwrap();
    key.to_spki_der().unwrap()
}
