//! What the plugin can do wrong with a single signature, and what the user is told.

use std::time::Duration;

use hardsign_core::artifact::Kind;
use hardsign_core::plugin::{Clocks, UnopenedSigner};
use hardsign_core::text::WithCauses;

use crate::stage::{DIGEST, HASTY, ONE_SHOT, PATIENT, SESSION, Stage, sign};

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
        (ONE_SHOT, "generate-signature"),
        (DIGEST, "sign-digest"),
        (SESSION, "session"),
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
            "session" => "get-plugin-metadata session open sign end",
            "sign-digest" => "get-plugin-metadata describe-key sign-digest",
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
            ("short-signature", "it has 63 bytes instead of 64".into()),
            ("no-signature", "it has 0 bytes instead of 64".into()),
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
        // Validity depends on when is signed, and the plugin does not say its public key.
        let told = match *fault {
            "other-chain" | "expired-chain" => GENERATED,
            _ if at == "open" => UNFIT,
            _ => GENERATED,
        };
        assert!(error.starts_with(told), "{fault}: {error}");
    }
}

/// PLG-30: what a session says of its certificates is proven before a signature is asked for, which
/// could cost a touch.
#[tokio::test]
async fn plg_30_certificates_are_proven_before_anything_is_signed() {
    let of_the_key = "plugin rude answered session open with a public key that ";
    for (fault, told, part) in [
        ("no-chain", UNFIT, "certificate chain is not present"),
        ("leaf-only", UNFIT, "certificate-chain is invalid"),
        ("reversed-chain", UNFIT, "certificate-chain is invalid"),
        ("garbage-chain", UNFIT, ""),
        (
            "wrong-key-spec",
            UNFIT,
            "mismatch between signature algorithm",
        ),
        (
            "other-public-key",
            of_the_key,
            "is not that of its certificate",
        ),
        ("garbage-public-key", of_the_key, "can't be read"),
    ] {
        let stage = Stage::new(PATIENT);
        let error = stage.open(&[("fault", fault), ("at", "open")]).await;
        let error = WithCauses(&error.unwrap_err()).to_string();
        assert!(error.starts_with(told), "{fault}: {error}");
        assert!(error.contains(part), "{fault}: {error}");
        assert_eq!(stage.count("sign"), 0, "{fault}");
        assert_eq!(stage.done().last().map(String::as_str), Some("end"));
    }
    // Who only looks is told what there is.
    let stage = Stage::new(PATIENT);
    let key = stage.key(&[("fault", "leaf-only"), ("at", "open")]);
    let unopened = UnopenedSigner::connect(&stage.host, key, Kind::Blob).await;
    let looked = unopened.unwrap().look().await.unwrap().raw().unwrap();
    assert_eq!(looked.chain().ders().len(), 1);
    looked.close().await;
}

const GENERATED: &str = "generated signature failed verification: ";

const UNFIT: &str = "plugin rude opened the key with certificates that can't be used: ";

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

/// PLG-30: a root in the leaf's place makes algorithm and length of the signature look wrong; the
/// chain is what is told of, on every way.
#[tokio::test]
async fn plg_30_a_root_in_the_leafs_place() {
    for capabilities in [ONE_SHOT, DIGEST, SESSION] {
        let told = match capabilities {
            SESSION => UNFIT,
            _ => GENERATED,
        };
        for fault in ["root-described", "root-claimed"] {
            let stage = Stage::new(PATIENT);
            let settings = [("fault", fault), ("capabilities", capabilities)];
            let error = stage.sign(&settings).await.unwrap_err();
            assert!(error.starts_with(told), "{capabilities} {fault}: {error}");
            for part in ["certificate-chain is invalid, ", "self-signed"] {
                assert!(error.contains(part), "{capabilities} {fault}: {error}");
            }
        }
    }
}

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
            "a line that is not a session message: \"signed, with pleasure\"",
        ),
        (
            "garbage-line",
            "a line that is not a session message: \"loading module...\"",
        ),
        ("blank-line", "a line that is not a session message: \"\""),
        (
            "long-line",
            "its session is unreadable: more than 1048576 bytes in one message",
        ),
        (
            "flood-stdout",
            "its session is unreadable: more than 1048576 bytes in one message",
        ),
        ("deep", "a line that is not a session message"),
        ("duplicate", "a line that is not a session message"),
        ("array", "a line that is not a session message"),
        ("empty", "a line that is not a session message"),
        ("no-id", "a line that is not a session message"),
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
        ("short-signature", "it has 63 bytes instead of 64"),
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
