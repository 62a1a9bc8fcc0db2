//! The plugin host of hardsign against a plugin that misbehaves: every fault is bounded and told.

#![expect(
    clippy::unwrap_used,
    reason = "tests: a failure to set up is a failed test"
)]

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hardsign_core::artifact::{Descriptor, Digest};
use hardsign_core::dirs::Dirs;
use hardsign_core::envelope::{Draft, DraftAttributes, Format, Payload, Signature};
use hardsign_core::plugin::{
    Clocks, Event, Finder, Host, Interrupt, Origin, PluginError, PluginFile, PluginKey, PluginName,
    PluginSigner, Route, SessionError,
};
use hardsign_core::sign::Signer as _;

const RUDE: &str = env!("CARGO_BIN_EXE_notation-rude");

/// Long clocks, since the machine may be busy; what ends early ends by the fault itself.
const PATIENT: Clocks = Clocks {
    metadata: Duration::from_secs(60),
    request: Duration::from_secs(60),
    person: Duration::from_secs(60),
    farewell: Duration::from_secs(5),
    drain: Duration::from_millis(200),
    backoff: Duration::from_millis(1),
};

/// For faults that only a clock ends.
const HASTY: Clocks = Clocks {
    request: Duration::from_millis(1500),
    person: Duration::from_millis(1500),
    farewell: Duration::from_millis(300),
    ..PATIENT
};

const ONE_SHOT: &str = "SIGNATURE_GENERATOR.RAW";
const DIGEST: &str = "SIGNATURE_GENERATOR.RAW,HARDSIGN.DIGEST";
const SESSION: &str = "SIGNATURE_GENERATOR.RAW,HARDSIGN.DIGEST,HARDSIGN.SESSION";

struct Stage {
    root: tempfile::TempDir,
    host: Host,
    events: Arc<Mutex<Vec<String>>>,
    interrupt: Interrupt,
}

impl Stage {
    fn new(clocks: Clocks) -> Self {
        let root = tempfile::tempdir().unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let interrupt = Interrupt::new();
        let host = Host::new(Finder::with_box(&Dirs::below(root.path()), Vec::new()))
            .with_clocks(clocks)
            .with_interrupt(interrupt.clone())
            .with_observer(Arc::new(move |event: &Event<'_>| {
                heard.lock().unwrap().push(event.to_string());
            }));
        Self {
            root,
            host,
            events,
            interrupt,
        }
    }

    fn log(&self) -> PathBuf {
        self.root.path().join("log")
    }

    /// What the plugin did, in order.
    fn done(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.lines()
            .filter(|line| !line.starts_with("env "))
            .map(str::to_owned)
            .collect()
    }

    /// The names of the variables that the plugin saw.
    fn environment(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap();
        log.lines()
            .filter_map(|line| line.strip_prefix("env "))
            .map(str::to_owned)
            .collect()
    }

    fn count(&self, what: &str) -> usize {
        self.done().iter().filter(|done| *done == what).count()
    }

    fn key(&self, settings: &[(&str, &str)]) -> PluginKey {
        let mut config: BTreeMap<String, String> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        config.insert("log".into(), self.log().display().to_string());
        PluginKey::new(rude(), "throw-away", config)
    }

    async fn open(&self, settings: &[(&str, &str)]) -> Result<PluginSigner, PluginError> {
        PluginSigner::open(&self.host, self.key(settings)).await
    }

    /// Opens, signs once and assembles.
    async fn sign(&self, settings: &[(&str, &str)]) -> Result<Signature, String> {
        let signer = self.open(settings).await.map_err(|e| told(&e))?;
        let result = sign(&signer).await;
        signer.close().await;
        result
    }
}

fn rude() -> PluginFile {
    PluginFile {
        name: PluginName::new("rude").unwrap(),
        path: RUDE.into(),
        origin: Origin::User,
    }
}

fn draft() -> Draft {
    let target = Descriptor {
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        digest: format!("sha256:{}", "ab".repeat(32))
            .parse::<Digest>()
            .unwrap(),
        size: 7,
        annotations: BTreeMap::new(),
    };
    let attributes = DraftAttributes {
        signing_time: "2026-01-01T00:00:00Z".parse().unwrap(),
        expiry: None,
    };
    Draft::new(
        Format::Jws,
        &Payload::new(target),
        &attributes,
        hardsign_core::algorithm::KeySpec::Ec256,
    )
    .unwrap()
}

async fn sign(signer: &PluginSigner) -> Result<Signature, String> {
    let draft = draft();
    let signed = signer
        .sign(draft.to_be_signed())
        .await
        .map_err(|e| told(&e))?;
    draft.assemble(signed).map_err(|e| told(&e))
}

/// An error and its causes.
fn told(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text} <- {inner}");
        cause = inner.source();
    }
    text
}

/// Each fault on one way of signing, with a part of what the user is told.
async fn check(capabilities: &str, clocks: Clocks, faults: &[(&str, &str)]) {
    for (fault, expected) in faults {
        let (fault, at) = fault.split_once('@').unwrap_or((fault, ""));
        let stage = Stage::new(clocks);
        let mut settings = vec![("fault", fault), ("capabilities", capabilities)];
        if !at.is_empty() {
            settings.push(("at", at));
        }
        if fault == "no-capabilities" || fault == "no-signing" {
            settings.remove(1);
        }
        let Err(error) = stage.sign(&settings).await else {
            panic!("{fault}@{at}: signed");
        };
        assert!(error.contains(expected), "{fault}@{at}: {error}");
        assert!(!error.contains('\u{1b}'), "{fault}@{at}: {error}");
    }
}

/// The well-behaved plugin signs for real on all three ways, and nobody has to be trusted for it:
/// the envelope verifies. ENV-31: the signing agent.
#[tokio::test]
async fn plg_26_all_ways_sign() {
    for (capabilities, route) in [
        (ONE_SHOT, Route::GenerateSignature),
        (DIGEST, Route::SignDigest),
        (SESSION, Route::Session),
    ] {
        let stage = Stage::new(PATIENT);
        let signer = stage.open(&[("capabilities", capabilities)]).await.unwrap();
        assert_eq!(signer.route(), route);
        let signature = sign(&signer).await.unwrap();
        let agent = signature
            .unsigned()
            .signing_agent
            .clone()
            .unwrap_or_default();
        assert!(agent.starts_with("hardsign/"), "{agent}");
        assert!(agent.ends_with(" rude/1.2.3"), "{agent}");
        signer.close().await;
        let done = stage.done().join(" ");
        let expected = match route {
            Route::Session => "get-plugin-metadata session open sign end",
            Route::SignDigest => "get-plugin-metadata describe-key sign-digest",
            _ => "get-plugin-metadata describe-key generate-signature",
        };
        assert_eq!(done, expected);
    }
}

/// PLG-18 to PLG-20, PLG-22: metadata that breaks the contract, with the reference's texts.
#[tokio::test]
async fn plg_18_metadata() {
    let invalid = "metadata validation failed for plugin rude: ";
    let faults = [
        ("empty-name", format!("{invalid}empty name")),
        ("empty-description", format!("{invalid}empty description")),
        ("empty-version", format!("{invalid}empty version")),
        ("empty-url", format!("{invalid}empty url")),
        ("no-capabilities", format!("{invalid}empty capabilities")),
        (
            "no-contract",
            format!("{invalid}supported contract versions not specified"),
        ),
        (
            "wrong-contract",
            format!(
                "{invalid}contract version \"1.0\" is not in the list of the plugin supported versions [1.1 2.0]"
            ),
        ),
        (
            "wrong-name",
            "plugin executable file name must be \"notation-polite\" instead of \"notation-rude\""
                .into(),
        ),
        (
            "no-signing",
            "plugin does not have signing capabilities".into(),
        ),
    ];
    let faults: Vec<_> = faults.iter().map(|(f, text)| (*f, text.as_str())).collect();
    check(ONE_SHOT, PATIENT, &faults).await;
}

/// PLG-05 to PLG-08: what a one-shot process can do wrong, at each stage.
#[tokio::test]
async fn plg_06_one_shot_processes() {
    for stage in ["get-plugin-metadata", "describe-key", "generate-signature"] {
        let at = |fault: &str| format!("{fault}@{stage}");
        let unmarshal =
            format!("failed to unmarshal the response of {stage} command for plugin rude");
        let faults = [
            (at("crash"), "signal: aborted".to_owned()),
            (at("exit"), "exit status 4".into()),
            (
                at("exit-text"),
                "first line\n\\u{1b}[31mlibrary not found: /usr/lib/none.so".into(),
            ),
            (at("exit-empty-json"), "incomplete json".into()),
            (at("refuse"), "the key store is closed".into()),
            (at("denied"), "wrong PIN".into()),
            (at("empty"), unmarshal.clone()),
            (at("garbage"), unmarshal.clone()),
            (at("half"), unmarshal.clone()),
            (at("array"), unmarshal.clone()),
            (at("trailing"), unmarshal.clone()),
            (at("duplicate"), unmarshal.clone()),
            (at("deep"), unmarshal),
            (
                at("flood-stdout"),
                format!("plugin rude wrote more than 67108863 bytes to stdout during {stage}"),
            ),
        ];
        let faults: Vec<_> = faults
            .iter()
            .map(|(f, t)| (f.as_str(), t.as_str()))
            .collect();
        check(ONE_SHOT, PATIENT, &faults).await;
    }
    check(
        ONE_SHOT,
        PATIENT,
        &[(
            "flood-stderr",
            "plugin rude wrote more than 67108863 bytes to stderr",
        )],
    )
    .await;
}

/// PLG-24, PLG-25, PLG-28 to PLG-30, DIF-06, DIF-32: answers that are not for this key.
#[tokio::test]
async fn plg_28_answers_are_checked() {
    for (capabilities, label) in [(ONE_SHOT, "generateSignature"), (DIGEST, "signDigest")] {
        let faults = [
            (
                "wrong-key-id",
                format!(
                    "keyID in {label} response \"another\" does not match request \"throw-away\""
                ),
            ),
            (
                "wrong-key-id@describe-key",
                "keyID in describeKey response \"another\" does not match request \"throw-away\""
                    .into(),
            ),
            ("unknown-key-spec", "unknown key spec".into()),
            ("wrong-algorithm", "which requires ECDSA-SHA-256".into()),
            (
                "unknown-algorithm",
                "\"HMAC-MD5\" does not match key spec".into(),
            ),
            (
                "short-signature",
                "returned a signature of 63 bytes instead of 64".into(),
            ),
            ("no-signature", "returned a signature of 0 bytes".into()),
            ("bad-base64", "failed to unmarshal the response".into()),
            (
                "long-chain",
                "a certificate chain of 1000 certificates".into(),
            ),
        ];
        let faults: Vec<_> = faults.iter().map(|(f, text)| (*f, text.as_str())).collect();
        check(capabilities, PATIENT, &faults).await;
    }
}

/// PLG-30, ENV-39: the signature and the chain are proved before anything leaves.
#[tokio::test]
async fn plg_30_signature_and_chain_are_proved() {
    for capabilities in [ONE_SHOT, DIGEST] {
        for fault in CHAIN_FAULTS {
            let stage = Stage::new(PATIENT);
            let settings = [("fault", *fault), ("capabilities", capabilities)];
            let error = stage.sign(&settings).await.unwrap_err();
            assert!(
                error.starts_with("generated signature failed verification: "),
                "{fault}: {error}"
            );
        }
    }
    for fault in CHAIN_FAULTS {
        let stage = Stage::new(PATIENT);
        let at = match *fault {
            "other-key" | "changed-digest" => "sign",
            _ => "open",
        };
        let settings = [("fault", *fault), ("at", at)];
        let error = stage.sign(&settings).await.unwrap_err();
        assert!(
            error.starts_with("generated signature failed verification: "),
            "{fault}: {error}"
        );
    }
}

const CHAIN_FAULTS: &[&str] = &[
    "other-key",
    "changed-digest",
    "no-chain",
    "other-chain",
    "leaf-only",
    "reversed-chain",
    "expired-chain",
    "garbage-chain",
];

/// Faults within a session.
#[tokio::test]
async fn sessions_that_break() {
    let faults = [
        (
            "crash",
            "ended its session before every request was answered (signal: aborted)",
        ),
        (
            "crash@open",
            "ended its session before every request was answered (signal: aborted)",
        ),
        (
            "exit-text",
            "(exit status 3); it said:\nfirst line\n\\u{1b}[31mlibrary not found",
        ),
        ("exit@open", "(exit status 4)"),
        ("die", "ended its session before every request was answered"),
        (
            "die@open",
            "ended its session before every request was answered",
        ),
        ("half", "of an unfinished line"),
        (
            "garbage",
            "a line that is no message of a session: \"signed, with pleasure\"",
        ),
        (
            "garbage-line",
            "a line that is no message of a session: \"loading module...\"",
        ),
        ("blank-line", "a line that is no message of a session: \"\""),
        (
            "long-line",
            "its session is unreadable: more than 1048576 bytes in one message",
        ),
        (
            "flood-stdout",
            "its session is unreadable: more than 1048576 bytes in one message",
        ),
        ("deep", "a line that is no message"),
        ("duplicate", "a line that is no message"),
        ("array", "a line that is no message"),
        ("empty", "a line that is no message"),
        ("no-id", "a line that is no message"),
        (
            "unknown-id",
            "answered request 9999, which is not under way",
        ),
        (
            "wrong-shape",
            "answered sign-digest with something else than the protocol's answer",
        ),
        (
            "no-signature",
            "answered sign-digest with something else than the protocol's answer",
        ),
        (
            "bad-base64",
            "answered sign-digest with something else than the protocol's answer",
        ),
        ("short-signature", "a signature of 63 bytes instead of 64"),
        ("notices", "more than 10 notices for one request"),
        ("notices-forever", "more than 10 notices for one request"),
        ("notice-unknown", "a notice about request 9999"),
        (
            "events-forever",
            "more than 4096 events between two answers",
        ),
        ("prompting-twice", "sent prompting out of turn"),
        ("prompted-alone", "sent prompted out of turn"),
        ("none-in-flight", "allows no request under way"),
        (
            "wrong-key-id@open",
            "keyID in session open response \"another\"",
        ),
        ("unknown-key-spec@open", "unknown key spec"),
        (
            "long-chain@open",
            "a certificate chain of 1000 certificates",
        ),
        ("refuse", "no"),
        ("refuse@open", "no"),
    ];
    check(SESSION, PATIENT, &faults).await;
}

/// PLG-11: what only a clock ends.
#[tokio::test]
async fn plg_11_clocks() {
    check(
        ONE_SHOT,
        HASTY,
        &[
            (
                "hang",
                "plugin rude did not answer generate-signature within 1.5 seconds",
            ),
            (
                "close-stdout",
                "plugin rude did not answer generate-signature within 1.5 seconds",
            ),
        ],
    )
    .await;
    check(
        SESSION,
        HASTY,
        &[
            ("hang", "it did not answer sign-digest within 1.5 seconds"),
            ("hang@open", "it did not answer open within 1.5 seconds"),
            (
                "flood-stderr",
                "it did not answer sign-digest within 1.5 seconds",
            ),
            (
                "prompting-forever",
                "it waited for a person for more than 1.5 seconds",
            ),
            (
                "close-stdout",
                "ended its session before every request was answered",
            ),
        ],
    )
    .await;
    let hasty = Clocks {
        metadata: Duration::from_millis(1500),
        ..PATIENT
    };
    let at_once = [(
        "hang@get-plugin-metadata",
        "did not answer get-plugin-metadata",
    )];
    check(SESSION, hasty, &at_once).await;
}

/// A grandchild that keeps the pipes is not waited for: it would take a minute.
#[cfg(unix)]
#[tokio::test]
async fn plg_11_a_grandchild_keeps_the_pipes() {
    for capabilities in [ONE_SHOT, SESSION] {
        let stage = Stage::new(PATIENT);
        let settings = [("fault", "grandchild"), ("capabilities", capabilities)];
        let signed = tokio::time::timeout(Duration::from_secs(30), stage.sign(&settings));
        signed.await.unwrap().unwrap();
    }
}

/// What a plugin may do is no fault.
#[tokio::test]
async fn harmless_oddities() {
    for capabilities in [ONE_SHOT, DIGEST, SESSION] {
        for fault in ["noise", "slow"] {
            let stage = Stage::new(PATIENT);
            let settings = [("fault", fault), ("capabilities", capabilities)];
            stage.sign(&settings).await.unwrap();
        }
    }
    let stage = Stage::new(PATIENT);
    stage.sign(&[("fault", "touch")]).await.unwrap();
    let events = stage.events.lock().unwrap().clone();
    assert!(
        events.contains(&"Plugin rude: notice: Touch the key".to_owned()),
        "{events:?}"
    );
}

/// A hundred signatures: one process for metadata, one session.
#[tokio::test]
async fn one_session_for_a_batch() {
    let stage = Stage::new(PATIENT);
    let signer = Arc::new(stage.open(&[]).await.unwrap());
    let signatures: Vec<_> = (0..100)
        .map(|_| {
            let signer = Arc::clone(&signer);
            tokio::spawn(async move { sign(&signer).await })
        })
        .collect();
    for signature in signatures {
        signature.await.unwrap().unwrap();
    }
    signer.close().await;
    assert_eq!(stage.count("get-plugin-metadata"), 1);
    assert_eq!(stage.count("session"), 1);
    assert_eq!(stage.count("open"), 1);
    assert_eq!(stage.count("sign"), 100);
    assert_eq!(stage.count("end"), 1);
    // After it was closed nothing is started again.
    assert!(sign(&signer).await.unwrap_err().contains("is closed"));
    assert_eq!(stage.count("session"), 1);
}

/// After `ACCESS_DENIED` nothing is asked again, on any way: the next attempt could lock the token.
#[tokio::test]
async fn access_denied_is_final() {
    let counts = [
        (ONE_SHOT, "generate-signature"),
        (DIGEST, "sign-digest"),
        (SESSION, "sign"),
    ];
    for (capabilities, command) in counts {
        let stage = Stage::new(PATIENT);
        let settings = [("fault", "denied"), ("capabilities", capabilities)];
        let signer = stage.open(&settings).await.unwrap();
        for _ in 0..5 {
            let error = sign(&signer).await.unwrap_err();
            assert!(error == "wrong PIN" || error == "no", "{error}");
        }
        assert_eq!(stage.count(command), 1, "{capabilities}");
    }
}

/// With the session's login refused there is one attempt, and no other way is tried.
#[tokio::test]
async fn no_fallback_when_opening_is_refused() {
    let stage = Stage::new(PATIENT);
    let error = stage
        .open(&[("fault", "denied"), ("at", "open")])
        .await
        .unwrap_err();
    assert_eq!(error.code().map(|code| code.name()), Some("ACCESS_DENIED"));
    assert_eq!(error.hint().as_deref(), Some("ask again"));
    assert_eq!(
        stage.done().join(" "),
        "get-plugin-metadata session open end"
    );
}

/// A session that dies before it signed is not started again; one that had signed is, once.
#[tokio::test]
async fn a_dead_session_is_started_again_once() {
    let stage = Stage::new(PATIENT);
    let signer = stage.open(&[("fault", "die")]).await.unwrap();
    sign(&signer).await.unwrap_err();
    assert_eq!(stage.count("session"), 1);

    let stage = Stage::new(PATIENT);
    let settings = [("fault", "crash"), ("after", "3")];
    let signer = stage.open(&settings).await.unwrap();
    for _ in 0..6 {
        sign(&signer).await.unwrap();
    }
    let error = sign(&signer).await.unwrap_err();
    assert!(error.contains("signal: aborted"), "{error}");
    sign(&signer).await.unwrap_err();
    assert_eq!(stage.count("session"), 2);
}

/// What hangs or breaks the protocol is not started again, though it had signed.
#[tokio::test]
async fn a_broken_session_is_not_started_again() {
    let stage = Stage::new(PATIENT);
    let settings = [("fault", "garbage-line"), ("after", "1")];
    let signer = stage.open(&settings).await.unwrap();
    sign(&signer).await.unwrap();
    sign(&signer).await.unwrap_err();
    sign(&signer).await.unwrap_err();
    assert_eq!(stage.count("session"), 1);
}

/// PLG-09: a foreign plugin's throttling is waited out; our own plugins do that themselves.
#[tokio::test]
async fn plg_09_throttling() {
    for fault in ["throttled", "timeout"] {
        let stage = Stage::new(PATIENT);
        let settings = [("fault", fault), ("capabilities", ONE_SHOT)];
        stage.sign(&settings).await.unwrap_err();
        assert_eq!(stage.count("generate-signature"), 3);
        let stage = Stage::new(PATIENT);
        let settings = [("fault", fault), ("capabilities", DIGEST)];
        stage.sign(&settings).await.unwrap_err();
        assert_eq!(stage.count("sign-digest"), 1);
    }
    // Other refusals are not repeated.
    let stage = Stage::new(PATIENT);
    let settings = [("fault", "refuse"), ("capabilities", ONE_SHOT)];
    stage.sign(&settings).await.unwrap_err();
    assert_eq!(stage.count("generate-signature"), 1);
}

/// PLG-31: once the plugin has said who it is, errors for artifacts name it.
#[tokio::test]
async fn plg_31_errors_for_artifacts() {
    let stage = Stage::new(PATIENT);
    for (fault, at, expected) in [
        ("refuse", "get-plugin-metadata", "the key store is closed"),
        (
            "refuse",
            "describe-key",
            "failed to sign with the plugin rude: the key store is closed",
        ),
    ] {
        let key = stage.key(&[("fault", fault), ("at", at), ("capabilities", ONE_SHOT)]);
        let error = PluginSigner::open_for_artifacts(&stage.host, key)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.hint().as_deref(), Some("ask it for something else"));
    }
    let key = stage.key(&[("fault", "refuse"), ("capabilities", ONE_SHOT)]);
    let signer = PluginSigner::open_for_artifacts(&stage.host, key)
        .await
        .unwrap();
    assert!(
        sign(&signer)
            .await
            .unwrap_err()
            .starts_with("failed to sign with the plugin rude: the key store is closed")
    );
}

/// PLG-12: the debug lines, with settings' values hidden.
#[tokio::test]
async fn plg_12_debug_lines() {
    for capabilities in [ONE_SHOT, SESSION] {
        let stage = Stage::new(PATIENT);
        let settings = [("capabilities", capabilities), ("password", "hush")];
        stage.sign(&settings).await.unwrap();
        let lines = stage.events.lock().unwrap().join("\n");
        for part in [
            "Plugin get-plugin-metadata request: {\"pluginConfig\":{",
            "\"password\":\"*****\"",
            "Plugin get-plugin-metadata response: {",
        ] {
            assert!(lines.contains(part), "{lines}");
        }
        assert!(!lines.contains("hush"), "{lines}");
        let route = if capabilities == SESSION {
            "session"
        } else {
            "generate-signature"
        };
        assert!(
            lines.contains(&format!("signing through {route}")),
            "{lines}"
        );
        assert!(lines.contains(RUDE), "{lines}");
    }
}

/// Ctrl-C: stdin is closed, and the plugin is gone when the call returns.
#[tokio::test]
async fn interrupted() {
    for (capabilities, what) in [(ONE_SHOT, "generate-signature"), (SESSION, "sign")] {
        let stage = Stage::new(Clocks {
            farewell: Duration::from_millis(300),
            ..PATIENT
        });
        let settings = [("fault", "hang"), ("capabilities", capabilities)];
        let signer = stage.open(&settings).await.unwrap();
        let draft = draft();
        let signing = signer.sign(draft.to_be_signed());
        let interrupting = async {
            while stage.count(what) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stage.interrupt.raise();
        };
        let (signed, ()) = tokio::join!(signing, interrupting);
        let error = signed.unwrap_err();
        let error = error.downcast_ref::<PluginError>().unwrap();
        assert!(error.is_interrupted(), "{error:?}");
        // Nothing is started any more.
        let before = stage.done().len();
        sign(&signer).await.unwrap_err();
        assert_eq!(stage.done().len(), before);
    }
}

/// A plugin that ignores the end of its stdin is killed after the farewell.
#[tokio::test]
async fn deaf_plugins_are_killed() {
    let stage = Stage::new(HASTY);
    let signer = stage.open(&[("fault", "deaf")]).await.unwrap();
    sign(&signer).await.unwrap();
    signer.close().await;
    assert_eq!(stage.count("end"), 1);
}

/// PLG-10, SEC-20: registry credentials don't reach a plugin. The test starts itself with them set.
#[cfg(target_os = "linux")]
#[expect(
    clippy::disallowed_methods,
    reason = "reads a variable to know that it is the child, and starts itself as one"
)]
#[tokio::test]
async fn plg_10_environment() {
    const CHILD: &str = "HARDSIGN_TEST_ENVIRONMENT";
    if std::env::var_os(CHILD).is_some() {
        let stage = Stage::new(PATIENT);
        let metadata = stage.host.run(rude());
        let config = BTreeMap::from([("log".into(), stage.log().display().to_string())]);
        metadata.metadata(&config).await.unwrap();
        let full = stage.environment();
        fs::remove_file(stage.log()).unwrap();
        let minimal = stage.host.run_for_signature(rude());
        minimal.metadata(&config).await.unwrap();
        let minimal = stage.environment();
        for seen in [&full, &minimal] {
            assert!(seen.contains(&"PATH".to_owned()), "{seen:?}");
            for secret in ["NOTATION_USERNAME", "NOTATION_PASSWORD"] {
                assert!(!seen.contains(&secret.to_owned()), "{seen:?}");
            }
        }
        let own = CHILD.to_owned();
        assert!(full.contains(&own) && !minimal.contains(&own));
        return;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "plg_10_environment"])
        .env(CHILD, "1")
        .env("NOTATION_USERNAME", "u")
        .env("NOTATION_PASSWORD", "p")
        .status()
        .unwrap();
    assert!(status.success());
}

/// PLI-17: a file that is no executable.
#[tokio::test]
async fn not_an_executable() {
    let stage = Stage::new(PATIENT);
    let path = stage.root.path().join("notation-rude");
    fs::write(&path, "not a program").unwrap();
    let file = PluginFile { path, ..rude() };
    let plugin = stage.host.run(file);
    let error = plugin.metadata(&BTreeMap::new()).await.unwrap_err();
    assert!(matches!(error, PluginError::Start { .. }), "{error:?}");
    assert!(
        error
            .hint()
            .unwrap()
            .starts_with("Please ensure that the plugin executable file is compatible with ")
    );
    assert!(Path::new(RUDE).exists());
}

/// A killed plugin: the error carries how it ended and what it said last.
#[tokio::test]
async fn the_last_words_are_kept() {
    let stage = Stage::new(PATIENT);
    let signer = stage.open(&[("fault", "exit-text")]).await.unwrap();
    let draft = draft();
    let error = signer.sign(draft.to_be_signed()).await.unwrap_err();
    let Some(PluginError::Session { source, end, .. }) = error.downcast_ref() else {
        panic!("{error:?}");
    };
    assert!(matches!(**source, SessionError::Ended));
    assert_eq!(end.0.status.and_then(|status| status.code()), Some(3));
    assert_eq!(
        end.0.stderr,
        [
            "first line",
            "\\u{1b}[31mlibrary not found: /usr/lib/none.so"
        ]
    );
}
