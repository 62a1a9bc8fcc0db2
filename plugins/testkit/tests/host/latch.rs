//! One run makes one try at a token and waits once for a service, whatever is asked of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hardsign_core::artifact::Kind;
use hardsign_core::plugin::{Clocks, PluginError, PluginErrorKind, PluginSigner, RawSigner};
use hardsign_core::sign::Signer as _;
use hardsign_core::text::WithCauses;
use hardsign_plugin::proto::{PluginConfig, VerifySignatureRequest};
use serde_json::json;

use crate::stage::{DIGEST, HASTY, ONE_SHOT, PATIENT, SESSION, Stage, draft, rude};

/// Where each way of signing opens a key.
const OPENING: [(&str, &str); 3] = [
    (SESSION, "open"),
    (DIGEST, "describe-key"),
    (ONE_SHOT, "describe-key"),
];

async fn open(
    stage: &Stage,
    id: &str,
    settings: &[(&str, &str)],
) -> Result<RawSigner, PluginError> {
    let mut key = stage.key(settings);
    key.id = id.to_owned();
    PluginSigner::open(&stage.host, key, Kind::Blob)
        .await?
        .raw()
}

/// After `ACCESS_DENIED` no further key of the plugin is opened, on any way, whatever its name; for
/// a new run it is.
#[tokio::test]
async fn one_try_for_all_keys_of_a_plugin() {
    for (capabilities, at) in OPENING {
        let stage = Stage::new(PATIENT);
        let settings = [
            ("fault", "denied"),
            ("at", at),
            ("capabilities", capabilities),
        ];
        let first = open(&stage, "a", &settings).await.unwrap_err();
        assert!(
            matches!(first.kind, PluginErrorKind::Refused { .. }),
            "{first:?}"
        );
        for id in ["b", "a", "pkcs11:token=foo;object=c", "pkcs11:serial=9"] {
            let error = open(&stage, id, &settings).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "not tried: plugin rude was denied access before in this run",
                "{capabilities} {id}"
            );
            assert_eq!(error.code().map(|code| code.name()), Some("ACCESS_DENIED"));
            assert!(error.hint().is_some());
        }
        // Other settings may lead to the same token.
        let more = [settings.as_slice(), &[("other", "x")]].concat();
        open(&stage, "b", &more).await.unwrap_err();
        assert_eq!(stage.count(at), 1, "{capabilities}");
        // Who the plugin is may be asked.
        stage
            .host
            .run(rude())
            .metadata(&PluginConfig::new())
            .await
            .unwrap();
        let next = Stage::new(PATIENT);
        open(&next, "b", &settings).await.unwrap_err();
        assert_eq!(next.count(at), 1);
    }
}

/// A key is opened all the same where its token is known to be another.
#[tokio::test]
async fn a_token_that_is_known_to_be_another() {
    for (capabilities, at) in OPENING {
        let stage = Stage::new(PATIENT);
        let settings = [
            ("fault", "denied"),
            ("at", at),
            ("capabilities", capabilities),
            ("token-label", "bar"),
            ("token-serial", "12ab"),
        ];
        open(&stage, "k", &settings).await.unwrap_err();
        for (id, opened) in [
            ("b", 1),
            ("pkcs11:token=bar;object=k", 1),
            ("pkcs11:serial=12ab", 1),
            ("pkcs11:slot-id=1", 1),
        ] {
            let error = open(&stage, id, &settings).await.unwrap_err();
            let not_tried = "not tried: plugin rude was denied access to token \"bar\" (serial 12ab) before in this run";
            assert_eq!(error.to_string(), not_tried, "{capabilities} {id}");
            assert_eq!(stage.count(at), opened, "{capabilities} {id}");
        }
        // This one is on another token; the key that comes after it there is not tried either.
        let elsewhere: Vec<_> = settings[..3]
            .iter()
            .copied()
            .chain([("token-label", "foo")])
            .collect();
        for _ in 0..2 {
            open(&stage, "pkcs11:token=foo;object=k", &elsewhere)
                .await
                .unwrap_err();
            assert_eq!(stage.count(at), 2, "{capabilities}");
        }
        let good = [("capabilities", capabilities), ("token-label", "baz")];
        let signer = open(&stage, "pkcs11:token=baz;object=k", &good)
            .await
            .unwrap();
        signer.close().await;
    }
}

/// Keys that are opened at once make one try as well.
#[tokio::test]
async fn one_try_for_keys_opened_at_once() {
    for (capabilities, at) in OPENING {
        let stage = Arc::new(Stage::new(PATIENT));
        let opening: Vec<_> = (0..8)
            .map(|number| {
                let stage = Arc::clone(&stage);
                tokio::spawn(async move {
                    let settings = [
                        ("fault", "denied"),
                        ("at", at),
                        ("capabilities", capabilities),
                    ];
                    open(&stage, &format!("k{number}"), &settings)
                        .await
                        .unwrap_err();
                })
            })
            .collect();
        for one in opening {
            one.await.unwrap();
        }
        assert_eq!(stage.count(at), 1, "{capabilities}");
    }
}

/// A refusal when something is signed counts for other keys of the plugin, and the other way round.
#[tokio::test]
async fn one_try_when_signing() {
    for (capabilities, command) in [
        (SESSION, "sign"),
        (DIGEST, "sign-digest"),
        (ONE_SHOT, "generate-signature"),
    ] {
        let stage = Stage::new(PATIENT);
        let settings = [("fault", "denied"), ("capabilities", capabilities)];
        let first = open(&stage, "a", &settings).await.unwrap();
        let second = open(&stage, "b", &settings).await.unwrap();
        let draft = draft();
        first.sign(draft.to_be_signed()).await.unwrap_err();
        if capabilities != SESSION {
            // A session that is open has logged in already.
            let error = second.sign(draft.to_be_signed()).await.unwrap_err();
            let error = WithCauses(&error).to_string();
            assert!(error.starts_with("not tried: "), "{error}");
        }
        let third = open(&stage, "c", &settings).await.unwrap_err();
        assert!(
            matches!(third.kind, PluginErrorKind::NotTried { .. }),
            "{third:?}"
        );
        assert_eq!(stage.count(command), 1, "{capabilities}");
        first.close().await;
        second.close().await;
    }
}

/// PLG-11: one run waits once for a key store that never answers, whichever of its keys is opened;
/// other settings may lead to another one.
#[tokio::test]
async fn plg_11_one_wait_for_a_key_store() {
    for (capabilities, at) in OPENING {
        let stage = Stage::new(HASTY);
        let settings = [
            ("fault", "hang"),
            ("at", at),
            ("capabilities", capabilities),
        ];
        open(&stage, "a", &settings).await.unwrap_err();
        let begun = Instant::now();
        for id in ["a", "b", "c"] {
            let error = open(&stage, id, &settings).await.unwrap_err();
            let command = at;
            assert_eq!(
                error.to_string(),
                format!(
                    "not asked again: plugin rude did not answer {command} within 1.5 seconds before in this run"
                ),
            );
        }
        // Three waits would be three times as long.
        assert!(begun.elapsed() < 3 * HASTY.request, "{:?}", begun.elapsed());
        assert_eq!(stage.count(at), 1, "{capabilities}");
        let other = [("capabilities", capabilities), ("address", "elsewhere")];
        open(&stage, "a", &other).await.unwrap().close().await;
    }
    let hasty = Clocks {
        metadata: Duration::from_millis(1500),
        ..PATIENT
    };
    let stage = Stage::new(hasty);
    for _ in 0..3 {
        stage
            .open(&[("fault", "hang"), ("at", "get-plugin-metadata")])
            .await
            .unwrap_err();
    }
    assert_eq!(stage.count("get-plugin-metadata"), 1);
}

/// PLG-11: a batch of verifications waits once for the service behind a verification plugin, also
/// where the plugin itself lost its patience; a quick TIMEOUT is asked again.
#[tokio::test]
async fn plg_11_one_wait_for_a_verification_service() {
    let of = |request| Clocks { request, ..PATIENT };
    // "late-timeout" comes after more than a sixth of this.
    let short = of(Duration::from_millis(1800));
    // A quick answer has two seconds here, on a busy machine too.
    let long = of(Duration::from_secs(12));
    for (fault, clocks, asked) in [
        ("hang", short, 1),
        ("late-timeout", short, 1),
        ("timeout", long, 5),
        ("refuse", long, 5),
        ("denied", long, 5),
    ] {
        let stage = Stage::new(clocks);
        let config = json!({
            "fault": fault, "at": "verify-signature", "log": stage.log(),
        });
        let request: VerifySignatureRequest = serde_json::from_value(json!({
            "contractVersion": "1.0",
            "signature": {
                "criticalAttributes": {
                    "contentType": "application/vnd.cncf.notary.payload.v1+json",
                    "signingScheme": "notary.x509",
                    "expiry": "0001-01-01T00:00:00Z",
                },
                "unprocessedAttributes": [],
                "certificateChain": [],
            },
            "trustPolicy": {
                "trustedIdentities": ["*"],
                "signatureVerification": ["SIGNATURE_VERIFIER.REVOCATION_CHECK"],
            },
            "pluginConfig": config,
        }))
        .unwrap();
        let plugin = stage.host.run_for_signature(rude());
        for _ in 0..5 {
            plugin.verify_signature(&request).await.unwrap_err();
        }
        assert_eq!(stage.count("verify-signature"), asked, "{fault}");
        let again = stage.host.run_for_signature(rude());
        let error = again.verify_signature(&request).await.unwrap_err();
        assert_eq!(
            matches!(error.kind, PluginErrorKind::Silent(_)),
            asked == 1,
            "{fault}: {error}"
        );
    }
}
