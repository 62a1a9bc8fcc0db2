//! The vectors made by the reference tool, through the whole of verification.

#![allow(clippy::unwrap_used, reason = "a panic is how a test helper fails")]

mod provider;

use hardsign_test_support::Told;
use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use hardsign_core::artifact::reference::TagOrDigest;
use hardsign_core::blob::{self, DEFAULT_MEDIA_TYPE};
use hardsign_core::envelope::Format;
use hardsign_core::event::{Listener, Observer};
use hardsign_core::oci::layout::Layout;
use hardsign_core::oci::{Repository as _, SignatureSource as _};
use hardsign_core::trust::Loader;
use hardsign_core::verify::{
    AttemptFailure, Blob, BlobSignature, Options, Outcome, Policy, Verifier, VerifyError,
};
use jiff::Timestamp;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/reference")
}

/// A directory of trust stores with the vectors' root in `ca:vectors`.
fn stores() -> (tempfile::TempDir, Verifier<'static>) {
    let root = tempfile::tempdir().unwrap();
    let store = root.path().join("ca/vectors");
    fs::create_dir_all(&store).unwrap();
    fs::copy(vectors().join("certificates/root.crt"), store.join("root")).unwrap();
    let verifier = Verifier::new(Loader::new(root.path().to_owned()));
    (root, verifier)
}

/// A moment at which the vectors' certificates are valid and the expired signatures expired.
fn now() -> Timestamp {
    "2027-01-01T00:00:00Z".parse().unwrap()
}

struct Asked {
    metadata: BTreeMap<String, String>,
    plugin_config: BTreeMap<String, String>,
}

impl Asked {
    fn new(metadata: &[(&str, &str)]) -> Self {
        let pair = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        Self {
            metadata: metadata.iter().map(pair).collect(),
            plugin_config: BTreeMap::new(),
        }
    }

    fn options<'a>(&'a self, observer: &'a dyn Observer) -> Options<'a> {
        Options::new(now())
            .user_metadata(&self.metadata)
            .plugin_config(&self.plugin_config)
            .observer(observer)
    }
}

async fn verify_blob(
    directory: &str,
    file: &[u8],
    media_type: Option<&str>,
    metadata: &[(&str, &str)],
) -> Result<Outcome, VerifyError> {
    let (_root, verifier) = stores();
    let policy = Policy::from_file(&vectors().join("trustpolicy.blob.json")).unwrap();
    let directory = vectors().join("blob").join(directory);
    let signature = fs::read_dir(directory)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let format = blob::signature_format(&signature).unwrap();
    let envelope = fs::read(signature).unwrap();
    let blob = Blob {
        reference: "artifact.bin",
        reader: Cursor::new(file.to_vec()),
        media_type,
    };
    let signatures = [BlobSignature {
        format,
        envelope: &envelope,
    }];
    let asked = Asked::new(metadata);
    verifier
        .verify_blob(
            &policy,
            None,
            blob,
            &signatures,
            asked.options(&Listener::NOBODY),
        )
        .await
}

fn artifact() -> Vec<u8> {
    fs::read(vectors().join("blob/artifact.bin")).unwrap()
}

/// BLOB-09, BLOB-10, ENV-12, VER-33, REQ-02: every key and format of the reference verifies, with its
/// metadata; the expired ones fail with the text of VER-15 (SEC-09).
#[tokio::test]
async fn reference_blob_signatures() {
    let mut seen = 0;
    for entry in fs::read_dir(vectors().join("blob")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if !entry.path().is_dir() {
            continue;
        }
        seen += 1;
        let metadata = [("build", "17"), ("note", "a <b> & \"c\" é")];
        let expired = name.ends_with("-expired");
        let metadata = if expired { &[][..] } else { &metadata };
        let result = verify_blob(&name, &artifact(), Some(DEFAULT_MEDIA_TYPE), metadata).await;
        if expired {
            let error = result.unwrap_err().told();
            assert!(
                error.starts_with("digital signature has expired on \""),
                "{name}: {error}"
            );
            continue;
        }
        let Ok(Outcome::Verified(verified)) = result else {
            panic!("{name}: {result:?}");
        };
        assert_eq!(verified.statement(), "vectors");
        assert_eq!(verified.target().annotations.len(), 2);
        let [accepted] = verified.signatures() else {
            panic!("{verified:?}");
        };
        let anchors = accepted.signature.anchors();
        assert_eq!(anchors[0].store.to_string(), "ca:vectors");
    }
    assert_eq!(seen, 14);
}

/// BLOB-09, CVE-2022-36056: the same signature, another file, media type or metadata.
#[tokio::test]
async fn reference_blob_signatures_of_something_else() {
    let mismatch = "integrity check failed. signature does not match the given blob";
    let mut longer = artifact();
    longer.push(0);
    let mut flipped = artifact();
    flipped[0] ^= 1;
    for name in ["p256-jws", "p384-cose", "rsa4096-jws"] {
        for other in [&longer[..], &flipped, b""] {
            let error = verify_blob(name, other, None, &[]).await.unwrap_err();
            assert_eq!(error.told(), mismatch);
        }
        let other_type = verify_blob(name, &artifact(), Some("text/plain"), &[]).await;
        assert_eq!(other_type.unwrap_err().told(), mismatch);
        let other_metadata = verify_blob(name, &artifact(), None, &[("build", "18")]).await;
        assert_eq!(
            other_metadata.unwrap_err().told(),
            "unable to find specified metadata in the signature"
        );
        let no_type = verify_blob(name, &artifact(), Some("a b"), &[]).await;
        assert_eq!(
            no_type.unwrap_err().told(),
            "invalid content media-type \"a b\": mime: expected slash after first token"
        );
    }
}

/// VER-24, VER-37, REQ-10: the reference's layout, with twelve signatures of all algorithms.
#[tokio::test]
async fn reference_layout() {
    let (_root, verifier) = stores();
    let policy = Policy::from_file(&vectors().join("trustpolicy.oci.json")).unwrap();
    let layout = Layout::open(vectors().join("layout")).unwrap();
    let artifact = layout
        .resolve(&TagOrDigest::Tag("v1".to_owned()))
        .await
        .unwrap();
    let asked = Asked::new(&[]);
    let outcome = verifier
        .verify_artifact(
            &policy,
            &layout,
            "local/x",
            &artifact,
            asked.options(&Listener::NOBODY),
        )
        .await;
    let Ok(Outcome::Verified(verified)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(verified.signatures().len(), 1);
    assert_eq!(verified.target().digest, artifact.digest);
    assert_eq!(verified.attempts().len(), 0);
    // Each of the twelve on its own.
    let listing = layout.list_signatures(&artifact, 100).await.unwrap();
    assert_eq!(listing.signatures.len(), 12);
    let blobs = Policy::from_file(&vectors().join("trustpolicy.blob.json")).unwrap();
    for manifest in &listing.signatures {
        let fetched = layout.fetch_signature(manifest).await.unwrap();
        assert!(Format::ALL.contains(&fetched.format));
        // An artifact's signature is none of a file that merely has other bytes.
        let signatures = [BlobSignature {
            format: fetched.format,
            envelope: &fetched.envelope,
        }];
        let blob = Blob {
            reference: "x",
            reader: &b"x"[..],
            media_type: None,
        };
        let error = verifier
            .verify_blob(
                &blobs,
                None,
                blob,
                &signatures,
                asked.options(&Listener::NOBODY),
            )
            .await
            .unwrap_err();
        assert_eq!(
            error.told(),
            "integrity check failed. signature does not match the given blob"
        );
    }
    // And all of them refused for another artifact.
    let mut other = artifact.clone();
    other.size += 1;
    let error = verifier
        .verify_artifact(
            &policy,
            &layout,
            "local/x",
            &other,
            asked.options(&Listener::NOBODY),
        )
        .await
        .unwrap_err();
    for attempt in error.attempts() {
        let AttemptFailure::Rejected(rejected) = &attempt.failure else {
            panic!("{attempt:?}");
        };
        assert_eq!(rejected.to_string(), "content descriptor mismatch");
    }
}
