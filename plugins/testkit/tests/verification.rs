//! Signatures that name a verification plugin, through the whole of verification.

#![expect(
    clippy::unwrap_used,
    reason = "tests: a failure to set up is a failed test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use hardsign_core::algorithm::HashAlgorithm;
use hardsign_core::artifact::{Descriptor, Digest, Kind};
use hardsign_core::blob::DEFAULT_MEDIA_TYPE;
use hardsign_core::crypto;
use hardsign_core::dirs::Dirs;
use hardsign_core::envelope::Format;
use hardsign_core::plugin::{
    Finder, Host, Origin, PluginFile, PluginKey, PluginName, PluginSigner,
};
use hardsign_core::sign::{SignOptions, sign_blob};
use hardsign_core::text::WithCauses;
use hardsign_core::trust::Loader;
use hardsign_core::verify::{Blob, BlobSignature, Options, Outcome, Policy, Verifier};
use hardsign_plugin_testkit::rude::ROOT;

const RUDE: &str = env!("CARGO_BIN_EXE_notation-rude");
const FILE: &[u8] = b"a file";
const PLUGIN: &str = "attribute:io.cncf.notary.verificationPlugin";
const MIN_VERSION: &str = "attribute:io.cncf.notary.verificationPluginMinVersion";
const CUSTOM: &str = "attribute:com.example.attribute";
const IDENTITY: &str = "SIGNATURE_VERIFIER.TRUSTED_IDENTITY";
const REVOCATION: &str = "SIGNATURE_VERIFIER.REVOCATION_CHECK";
const BOTH: &str = "SIGNATURE_VERIFIER.TRUSTED_IDENTITY,SIGNATURE_VERIFIER.REVOCATION_CHECK";

fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// An envelope over the file with these attributes, made by the rude plugin.
async fn envelope(attributes: &[(&str, &str)]) -> Vec<u8> {
    let mut config = settings(attributes);
    config.insert(
        "capabilities".into(),
        "SIGNATURE_GENERATOR.ENVELOPE_FOR_BLOB".into(),
    );
    let file = PluginFile {
        name: PluginName::new("rude").unwrap(),
        path: RUDE.into(),
        origin: Origin::User,
    };
    let finder = Finder::with_box(&Dirs::below(Path::new("/none")), Vec::new());
    let signer = PluginSigner::open(
        &Host::new(finder),
        PluginKey::new(file, "k", config),
        Kind::Blob,
    )
    .await
    .unwrap();
    let digest = crypto::hash(HashAlgorithm::Sha256, FILE);
    let target = Descriptor {
        media_type: DEFAULT_MEDIA_TYPE.into(),
        digest: Digest::from_bytes(HashAlgorithm::Sha256, digest).unwrap(),
        size: u64::try_from(FILE.len()).unwrap(),
        annotations: BTreeMap::new(),
    };
    let options = SignOptions::new(Format::Jws, "2026-01-01T00:00:00Z".parse().unwrap());
    let signature = sign_blob(&signer, &target, &options).await.unwrap();
    signature.bytes().to_vec()
}

/// A configuration with a policy, a trust store and, if it is installed, the plugin.
struct Place {
    _root: tempfile::TempDir,
    dirs: Dirs,
    log: PathBuf,
}

impl Place {
    fn new(trusts: bool, installed: bool, level: &str) -> Self {
        // Beside the executable, so that a hard link can put it into the plugin directory.
        let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let dirs = Dirs::below(root.path());
        let store = dirs.trust_stores().join("ca/rude");
        fs::create_dir_all(&store).unwrap();
        let other = include_bytes!("../keys/other.der");
        fs::write(store.join("root"), if trusts { ROOT } else { other }).unwrap();
        if installed {
            let directory = dirs.plugins().join("rude");
            fs::create_dir_all(&directory).unwrap();
            fs::hard_link(RUDE, directory.join("notation-rude")).unwrap();
        }
        let policy = format!(
            r#"{{"version":"1.0","trustPolicies":[{{"name":"p","signatureVerification":{level},
                "trustStores":["ca:rude"],"trustedIdentities":["x509.subject: C=US, ST=WA, O=Hardsign test kit"],"globalPolicy":true}}]}}"#
        );
        fs::write(dirs.blob_policy(), policy).unwrap();
        Self {
            log: root.path().join("log"),
            dirs,
            _root: root,
        }
    }

    /// Verifies and returns what the user is told.
    async fn verify(&self, envelope: &[u8], plugin: &[(&str, &str)]) -> Result<(), String> {
        let mut config = settings(plugin);
        config.insert("log".into(), self.log.display().to_string());
        let host = Host::new(Finder::with_box(&self.dirs, Vec::new()));
        let verifier = Verifier::new(Loader::new(self.dirs.trust_stores())).with_extension(host);
        let policy = Policy::from_file(&self.dirs.blob_policy()).unwrap();
        let blob = Blob {
            reference: "file",
            reader: FILE,
            media_type: None,
        };
        let format = Format::Jws;
        let signatures = [BlobSignature { format, envelope }];
        let options = Options::new("2027-01-01T00:00:00Z".parse().unwrap())
            .max_signatures(NonZeroUsize::new(1).unwrap())
            .plugin_config(&config);
        match verifier
            .verify_blob(&policy, None, blob, &signatures, options)
            .await
        {
            Ok(Outcome::Verified(_)) => Ok(()),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(WithCauses(&error).to_string()),
        }
    }

    fn done(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

const STRICT: &str = r#"{"level":"strict"}"#;

/// VER-35 to VER-38, PLG-40 to PLG-45: a plugin that is installed, new enough and content.
#[tokio::test]
async fn ver_38_a_plugin_verifies() {
    let place = Place::new(true, true, STRICT);
    let attributes = [(PLUGIN, "rude"), (MIN_VERSION, "1.2.0"), (CUSTOM, "v")];
    let envelope = envelope(&attributes).await;
    for capabilities in [BOTH, IDENTITY, REVOCATION] {
        let plugin = [("capabilities", capabilities)];
        assert_eq!(place.verify(&envelope, &plugin).await, Ok(()));
    }
    let done = place.done();
    assert!(done.contains(&"verify-signature".to_owned()));
    // PLG-10: it has the user's environment; its service's credentials may be there.
    for name in ["env PATH", "env CARGO_PKG_NAME"] {
        assert!(done.contains(&name.to_owned()), "{name}: {done:?}");
    }
}

/// VER-35 to VER-41, PLG-46: what fails, and how it is told.
#[tokio::test]
async fn ver_40_failures_are_told() {
    let place = Place::new(true, true, STRICT);
    let plain = envelope(&[(PLUGIN, "rude"), (CUSTOM, "v")]).await;
    for (setting, expected) in [
        (
            ("fault", "identity-fails"),
            "trusted identify verification by plugin \"rude\" failed with reason \"it ",
        ),
        (
            ("fault", "revocation-fails"),
            "revocation check by verification plugin \"rude\" failed with reason \"it ",
        ),
        (
            ("fault", "missing-result"),
            "verification plugin \"rude\" failed to verify \"SIGNATURE_VERIFIER.TRUSTED_IDENTITY\"",
        ),
        (
            ("fault", "unprocessed"),
            "extended critical attribute \"com.example.attribute\" was not processed by the verification plugin \"rude\" (all extended critical attributes must be processed by the verification plugin)",
        ),
        (
            ("capabilities", "SIGNATURE_GENERATOR.RAW"),
            "digital signature requires plugin \"rude\" with signature verification capabilities (\"SIGNATURE_VERIFIER.TRUSTED_IDENTITY\" and/or \"SIGNATURE_VERIFIER.REVOCATION_CHECK\") installed",
        ),
        (
            ("version", "one"),
            "plugin rude has pluginVersion one which is not in valid semver format",
        ),
    ] {
        let plugin = [("capabilities", BOTH), setting];
        let error = place.verify(&plain, &plugin).await.unwrap_err();
        assert!(error.contains(expected), "{setting:?}: {error}");
        assert!(!error.contains('\u{1b}'), "{setting:?}: {error}");
    }
    for fault in ["crash", "exit", "refuse", "empty", "array", "flood-stdout"] {
        let plugin = [
            ("capabilities", BOTH),
            ("fault", fault),
            ("at", "verify-signature"),
        ];
        let error = place.verify(&plain, &plugin).await.unwrap_err();
        assert!(
            error.contains("failed to verify with plugin rude: "),
            "{fault}: {error}"
        );
    }
    // More than was asked for is passed over.
    let surplus = [("capabilities", BOTH), ("fault", "surplus-result")];
    assert_eq!(place.verify(&plain, &surplus).await, Ok(()));
    let newer = envelope(&[(PLUGIN, "rude"), (MIN_VERSION, "1.2.4")]).await;
    let error = place
        .verify(&newer, &[("capabilities", BOTH)])
        .await
        .unwrap_err();
    assert!(
        error.contains("found plugin rude with version 1.2.3 but signature verification needs plugin version greater than or equal to 1.2.4"),
        "{error}"
    );
}

/// VER-35: not installed.
#[tokio::test]
async fn ver_35_not_installed() {
    let place = Place::new(true, false, STRICT);
    let envelope = envelope(&[(PLUGIN, "rude")]).await;
    let error = place.verify(&envelope, &[]).await.unwrap_err();
    assert!(
        error.contains("error while locating the verification plugin \"rude\", make sure the plugin is installed successfully before verifying the signature. error: plugin executable file is either not found or inaccessible: stat "),
        "{error}"
    );
}

/// SEC-24, DIF-42, PLG-04: nothing is started for a chain that no store trusts, nor by a name that
/// leads out of the plugin directory.
#[tokio::test]
async fn sec_24_nothing_runs_for_an_untrusted_chain() {
    let place = Place::new(false, true, STRICT);
    let named = envelope(&[(PLUGIN, "rude")]).await;
    place
        .verify(&named, &[("capabilities", BOTH)])
        .await
        .unwrap_err();
    assert!(place.done().is_empty(), "{:?}", place.done());
    // Also where the level lets an untrusted chain pass.
    let place = Place::new(false, true, r#"{"level":"audit"}"#);
    place
        .verify(&named, &[("capabilities", BOTH)])
        .await
        .unwrap_err();
    assert!(place.done().is_empty(), "{:?}", place.done());
    let place = Place::new(true, true, STRICT);
    for name in ["../rude", "rude/../rude", "/bin/true", ".."] {
        let envelope = envelope(&[(PLUGIN, name)]).await;
        place
            .verify(&envelope, &[("capabilities", BOTH)])
            .await
            .unwrap_err();
    }
    assert!(place.done().is_empty(), "{:?}", place.done());
}

/// VER-42: a plugin that has nothing to do leaves critical attributes unprocessed.
#[tokio::test]
async fn ver_42_nothing_to_do_is_no_yes() {
    let skip = r#"{"level":"strict","override":{"revocation":"skip"}}"#;
    let place = Place::new(true, true, skip);
    let custom = envelope(&[(PLUGIN, "rude"), (CUSTOM, "v")]).await;
    let plugin = [("capabilities", REVOCATION)];
    let error = place.verify(&custom, &plugin).await.unwrap_err();
    assert!(error.contains("was not processed"), "{error}");
    let plain = envelope(&[(PLUGIN, "rude")]).await;
    assert_eq!(place.verify(&plain, &plugin).await, Ok(()));
    assert!(!place.done().contains(&"verify-signature".to_owned()));
}
