//! Envelopes that a plugin makes (`generate-envelope`), as the host and `sign` take them.

#![expect(
    clippy::unwrap_used,
    reason = "tests: a failure to set up is a failed test"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use hardsign_core::artifact::{Descriptor, Digest, Kind};
use hardsign_core::dirs::Dirs;
use hardsign_core::envelope::{Format, Signature};
use hardsign_core::plugin::{
    Finder, Host, Origin, PluginFile, PluginKey, PluginName, PluginSigner,
};
use hardsign_core::sign::{SignError, SignOptions, sign_blob};
use hardsign_core::text::WithCauses;

const FOR_BLOB: &str = "SIGNATURE_GENERATOR.ENVELOPE,SIGNATURE_GENERATOR.ENVELOPE_FOR_BLOB";

async fn open(fault: &str, capabilities: &str) -> PluginSigner {
    let root = tempfile::tempdir().unwrap();
    let host = Host::new(Finder::with_box(&Dirs::below(root.path()), Vec::new()));
    let file = PluginFile {
        name: PluginName::new("rude").unwrap(),
        path: env!("CARGO_BIN_EXE_notation-rude").into(),
        origin: Origin::User,
    };
    let config = [("fault", fault), ("capabilities", capabilities)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    PluginSigner::open(&host, PluginKey::new(file, "k", config.into()), Kind::Blob)
        .await
        .unwrap()
}

async fn sign(fault: &str, format: Format) -> Result<Signature, SignError> {
    let signer = open(fault, FOR_BLOB).await;
    assert_eq!(signer.route(), "generate-envelope");
    let target = Descriptor {
        media_type: "application/octet-stream".into(),
        digest: format!("sha256:{}", "ab".repeat(32))
            .parse::<Digest>()
            .unwrap(),
        size: 7,
        annotations: BTreeMap::new(),
    };
    let options = SignOptions::new(format, "2026-01-01T00:00:00Z".parse().unwrap())
        .expiry(Some(Duration::from_secs(3600)))
        .user_metadata(BTreeMap::from([("k".to_owned(), "v".to_owned())]));
    sign_blob(&signer, &target, &options).await
}

/// PLG-32, PLG-33: a good envelope is taken, with an annotation that the plugin added (PLG-36).
#[tokio::test]
async fn plg_32_good_envelopes() {
    for fault in ["", "extra-annotation"] {
        let signature = sign(fault, Format::Jws).await.unwrap();
        let annotations = &signature.payload().target.annotations;
        assert_eq!(annotations["k"], "v");
        assert_eq!(annotations.contains_key("extra"), !fault.is_empty());
    }
}

/// PLG-34 to PLG-36, PLG-38: what the plugin may not do.
#[tokio::test]
async fn plg_35_envelopes_are_checked() {
    let generated = "generated signature failed verification: ";
    for (fault, expected) in [
        (
            "wrong-envelope-type",
            "signatureEnvelopeType in generateEnvelope response \"application/cose\" does not match request \"application/jose+json\"",
        ),
        (
            "refuse",
            "plugin failed to sign with following error: the key store is closed",
        ),
        (
            "exit",
            "plugin failed to sign with following error: exit status 4",
        ),
        ("garbage-envelope", generated),
        ("other-key", generated),
        ("changed-digest", generated),
        ("no-chain", generated),
        ("other-chain", generated),
        ("leaf-only", generated),
        ("expired-chain", generated),
        (
            "other-subject",
            "during signing descriptor subject has changed from ",
        ),
        (
            "drop-annotation",
            "during signing descriptor subject has changed from ",
        ),
        (
            "change-annotation",
            "during signing descriptor subject has changed from ",
        ),
        (
            "unknown-member",
            "during signing, following unknown attributes were added to subject descriptor: [\"surprise\"]",
        ),
        ("no-expiry", "does not have the requested expiry"),
        ("wrong-expiry", "does not have the requested expiry"),
    ] {
        let Err(error) = sign(fault, Format::Jws).await else {
            panic!("{fault}: signed");
        };
        let error = WithCauses(&error).to_string();
        assert!(error.contains(expected), "{fault}: {error}");
    }
    // Asked for COSE, it makes a JWS and calls it COSE.
    assert!(sign("", Format::Cose).await.is_err());
}

/// BLOB-13: envelopes for files need a capability of their own.
#[tokio::test]
async fn blob_13_envelope_plugins() {
    let signer = open("", "SIGNATURE_GENERATOR.ENVELOPE").await;
    let target = Descriptor {
        media_type: "application/octet-stream".into(),
        digest: format!("sha256:{}", "ab".repeat(32))
            .parse::<Digest>()
            .unwrap(),
        size: 7,
        annotations: BTreeMap::new(),
    };
    let options = SignOptions::new(Format::Jws, "2026-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(
        sign_blob(&signer, &target, &options)
            .await
            .unwrap_err()
            .to_string(),
        "the plugin \"rude\" lacks the signature generator capability required for blob signing"
    );
}
