//! Many signatures, refusals, processes that die or stay, and what plugins see.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hardsign_core::artifact::Kind;
use hardsign_core::plugin::{
    Clocks, PluginError, PluginErrorKind, PluginFile, PluginSigner, SessionError,
};
use hardsign_core::sign::Signer as _;
use hardsign_core::text::WithCauses;

use crate::stage::{DIGEST, ONE_SHOT, PATIENT, RUDE, SESSION, Stage, draft, rude, sign};

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
        let error = PluginSigner::open(&stage.host, key, Kind::Oci)
            .await
            .unwrap_err();
        assert_eq!(WithCauses(&error).to_string(), expected);
        assert_eq!(error.hint().as_deref(), Some("ask it for something else"));
    }
    let key = stage.key(&[("fault", "refuse"), ("capabilities", ONE_SHOT)]);
    let signer = PluginSigner::open(&stage.host, key, Kind::Oci)
        .await
        .unwrap();
    let PluginSigner::Raw(signer) = signer else {
        panic!("{signer:?}");
    };
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
    // All of it is waited for, and a busy plugin needs some of it to note that its stdin ended.
    let stage = Stage::new(Clocks {
        farewell: Duration::from_secs(3),
        ..PATIENT
    });
    let signer = stage.open(&[("fault", "deaf")]).await.unwrap();
    sign(&signer).await.unwrap();
    signer.close().await;
    assert_eq!(stage.count("end"), 1);
}

/// PLG-10, SEC-20: registry credentials don't reach a plugin, all else does, whether the user or a
/// signature wants it to run. The test starts itself with variables that services' clients read.
#[cfg(target_os = "linux")]
#[expect(
    clippy::disallowed_methods,
    reason = "reads a variable to know that it is the child, and starts itself as one"
)]
#[tokio::test]
async fn plg_10_environment() {
    const CHILD: &str = "HARDSIGN_TEST_ENVIRONMENT";
    const SERVICES: [&str; 8] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "VAULT_TOKEN",
        "NOTATION_CONFIG",
    ];
    if std::env::var_os(CHILD).is_some() {
        let stage = Stage::new(PATIENT);
        let metadata = stage.host.run(rude());
        let config = BTreeMap::from([("log".into(), stage.log().display().to_string())]);
        metadata.metadata(&config).await.unwrap();
        let full = stage.environment();
        fs::remove_file(stage.log()).unwrap();
        let verifying = stage.host.run_for_signature(rude());
        verifying.metadata(&config).await.unwrap();
        assert_eq!(stage.environment(), full);
        for name in SERVICES.iter().chain(&["PATH", CHILD]) {
            assert!(full.contains(&(*name).to_owned()), "{name}: {full:?}");
        }
        for secret in ["NOTATION_USERNAME", "NOTATION_PASSWORD"] {
            assert!(!full.contains(&secret.to_owned()), "{full:?}");
        }
        return;
    }
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "batches::plg_10_environment"])
        .env(CHILD, "1")
        .envs(SERVICES.map(|name| (name, "x")))
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
    assert!(
        matches!(error.kind, PluginErrorKind::Start { .. }),
        "{error:?}"
    );
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
    let Some(PluginError {
        kind: PluginErrorKind::Session { broken, end },
        ..
    }) = error.downcast_ref()
    else {
        panic!("{error:?}");
    };
    assert!(matches!(**broken, SessionError::Ended));
    assert_eq!(end.0.status.and_then(|status| status.code()), Some(3));
    assert_eq!(
        end.0.stderr,
        [
            "first line",
            "\\u{1b}[31mlibrary not found: /usr/lib/none.so"
        ]
    );
}
