use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;

use hardsign_test_support::Told;

use super::*;
use crate::oci::Repository as _;
use crate::oci::manifest::{EMPTY_MEDIA_TYPE, OCI_INDEX, OCI_MANIFEST, describe};

/// A layout in a temporary directory with one artifact, tagged `v1`.
struct Fixture {
    directory: tempfile::TempDir,
    artifact: Descriptor,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let artifact = put(path, OCI_MANIFEST, r#"{"schemaVersion":2,"layers":[]}"#);
        let fixture = Self {
            directory,
            artifact,
        };
        fixture.index(&[entry(
            &fixture.artifact,
            r#","annotations":{"org.opencontainers.image.ref.name":"v1"}"#,
        )]);
        fixture
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn index(&self, entries: &[String]) {
        let text = format!(
            r#"{{"schemaVersion":2,"x":{{"kept":1}},"manifests":[{}]}}"#,
            entries.join(",")
        );
        fs::write(self.path().join("index.json"), text).unwrap();
    }

    fn tagged(&self) -> String {
        entry(
            &self.artifact,
            r#","annotations":{"org.opencontainers.image.ref.name":"v1"}"#,
        )
    }

    fn layout(&self) -> Layout {
        Layout::open(self.path()).unwrap()
    }

    /// A manifest about the artifact, stored but not in the index.
    fn referrer(&self, members: &str) -> Descriptor {
        let subject = entry(&self.artifact, "");
        put(
            self.path(),
            OCI_MANIFEST,
            &format!(r#"{{"schemaVersion":2,{members},"subject":{subject}}}"#),
        )
    }

    fn read_index(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.path().join("index.json")).unwrap()).unwrap()
    }
}

fn put(root: &Path, media_type: &str, content: &str) -> Descriptor {
    let descriptor = describe(media_type, content.as_bytes());
    fs::write(files::blob_path(root, &descriptor.digest), content).unwrap();
    descriptor
}

fn entry(descriptor: &Descriptor, more: &str) -> String {
    format!(
        r#"{{"mediaType":"{}","digest":"{}","size":{}{more}}}"#,
        descriptor.media_type, descriptor.digest, descriptor.size
    )
}

fn tag(text: &str) -> TagOrDigest {
    TagOrDigest::Tag(text.to_owned())
}

fn created(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(
        "org.opencontainers.image.created".to_owned(),
        text.to_owned(),
    )])
}

/// More manifests than are read together, in the order of the index.
#[tokio::test]
async fn oci_38_many_referrers_keep_their_order() {
    let fixture = Fixture::new();
    let attached: Vec<_> = (0..2500)
        .map(|number| {
            let members = format!(r#""artifactType":"x/{number}","layers":[]"#);
            fixture.referrer(&members)
        })
        .collect();
    let entries = attached.iter().map(|attached| entry(attached, ""));
    let entries: Vec<_> = std::iter::once(fixture.tagged()).chain(entries).collect();
    fixture.index(&entries);
    let layout = fixture.layout();
    let listing = layout.list_referrers(&fixture.artifact, None, 5000);
    let listing = listing.await.unwrap();
    let listed = listing.entries.iter();
    let listed: Vec<_> = listed
        .map(|entry| (entry.descriptor.digest.clone(), entry.artifact_type.clone()))
        .collect();
    let expected = attached.iter().zip(0..);
    let expected: Vec<_> = expected
        .map(|(attached, number): (_, u32)| (attached.digest.clone(), Some(format!("x/{number}"))))
        .collect();
    assert_eq!(listed, expected);
}

/// A signature's manifest was read, and compared with its digest, to list it. It is not read again; the envelope is read
/// and compared each time.
#[tokio::test]
async fn a_listed_signature_is_read_once() {
    let fixture = Fixture::new();
    let layout = fixture.layout();
    let artifact = fixture.artifact.clone();
    let pushed = layout.push_signature(&artifact, Format::Cose, b"one", created("2026"));
    let manifest = pushed.await.unwrap().manifest;
    let listing = layout.list_signatures(&artifact, 10).await.unwrap();
    let blob = files::blob_path(fixture.path(), &manifest.digest);
    fs::remove_file(&blob).unwrap();
    let fetched = layout
        .fetch_signature(&listing.signatures[0])
        .await
        .unwrap();
    assert_eq!(
        (fetched.format, &*fetched.envelope),
        (Format::Cose, &b"one"[..])
    );
    assert_eq!(fetched.subject.as_ref(), Some(&artifact));
    assert_eq!(fetched.manifest, listing.signatures[0]);
    // Another size is another thing, whatever its digest.
    let other = Descriptor {
        size: 1,
        ..manifest
    };
    assert!(layout.fetch_signature(&other).await.is_err());
    let envelope = describe("application/cose", b"one");
    fs::write(files::blob_path(fixture.path(), &envelope.digest), b"two").unwrap();
    let error = layout
        .fetch_signature(&listing.signatures[0])
        .await
        .unwrap_err();
    assert!(
        matches!(error, OciError::DigestMismatch { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn signs_and_lists() {
    // OCI-21, OCI-32, OCI-37, REQ-03, REQ-04
    let fixture = Fixture::new();
    let layout = fixture.layout();
    let artifact = layout.resolve(&tag("v1")).await.unwrap();
    assert_eq!(artifact, fixture.artifact);
    let mut pushed = Vec::new();
    for (format, envelope) in [(Format::Jws, b"one".as_slice()), (Format::Cose, b"two")] {
        let done = layout
            .push_signature(&artifact, format, envelope, created("2026"))
            .await
            .unwrap();
        pushed.push(done.manifest);
    }
    // The same signature once more is no second signature.
    layout
        .push_signature(&artifact, Format::Jws, b"one", created("2026"))
        .await
        .unwrap();
    let listing = layout.list_signatures(&artifact, 10).await.unwrap();
    let digests = |list: &[Descriptor]| list.iter().map(|d| d.digest.clone()).collect::<Vec<_>>();
    assert_eq!(digests(&listing.signatures), digests(&pushed));
    assert_eq!(listing.signatures[0].annotations, created("2026"));
    assert!(!listing.truncated && listing.warnings.is_empty());
    let fetched = layout
        .fetch_signature(&listing.signatures[1])
        .await
        .unwrap();
    assert_eq!(
        (fetched.format, fetched.envelope.as_slice()),
        (Format::Cose, b"two".as_slice())
    );
    assert_eq!(fetched.subject, Some(artifact));

    let index = fixture.read_index();
    assert_eq!(index["x"]["kept"], 1);
    assert_eq!(
        index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"],
        "v1"
    );
    assert_eq!(
        index["manifests"][1]["artifactType"],
        SIGNATURE_ARTIFACT_TYPE
    );
    assert_eq!(index["manifests"].as_array().unwrap().len(), 3);
    // Nothing is left half made.
    assert_eq!(
        fs::read_dir(fixture.path().join("ingest")).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn limit_cuts_the_listing() {
    // OCI-32, SEC-15
    let fixture = Fixture::new();
    let layout = fixture.layout();
    for envelope in [b"one", b"two"] {
        layout
            .push_signature(&fixture.artifact, Format::Jws, envelope, BTreeMap::new())
            .await
            .unwrap();
    }
    let listing = layout.list_signatures(&fixture.artifact, 1).await.unwrap();
    assert_eq!((listing.signatures.len(), listing.truncated), (1, true));
    let listing = layout.list_signatures(&fixture.artifact, 2).await.unwrap();
    assert_eq!((listing.signatures.len(), listing.truncated), (2, false));
}

#[tokio::test]
async fn reads_what_the_index_leads_to() {
    // OCI-10, OCI-12, OCI-38: nested indexes, both forms, and a warning for the contradiction.
    let fixture = Fixture::new();
    let legacy = fixture.referrer(&format!(
        r#""config":{}"#,
        entry(&describe(SIGNATURE_ARTIFACT_TYPE, b"{}"), "")
    ));
    let wrong = fixture.referrer(&format!(
        r#""artifactType":"{SIGNATURE_ARTIFACT_TYPE}","config":{}"#,
        entry(&describe("application/x", b"{}"), "")
    ));
    let other = fixture.referrer(&format!(
        r#""artifactType":"application/sbom","config":{}"#,
        entry(&describe(EMPTY_MEDIA_TYPE, b"{}"), "")
    ));
    let missing = describe(OCI_MANIFEST, b"not here");
    let children = [&legacy, &wrong, &other, &missing].map(|d| entry(d, ""));
    let nested = put(
        fixture.path(),
        OCI_INDEX,
        &format!(
            r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
            children.join(",")
        ),
    );
    fixture.index(&[fixture.tagged(), entry(&nested, "")]);
    let listing = fixture
        .layout()
        .list_signatures(&fixture.artifact, 10)
        .await
        .unwrap();
    assert_eq!(listing.signatures, [legacy]);
    assert_eq!(
        listing
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [format!(
            "not a valid Notary Project signature with artifactType \"{SIGNATURE_ARTIFACT_TYPE}\", but config.mediaType is \"application/x\""
        )]
    );
}

#[tokio::test]
async fn one_bad_referrer_does_not_hide_a_good_one() {
    // VER-28, DIF-43
    let fixture = Fixture::new();
    let config = entry(&describe(SIGNATURE_ARTIFACT_TYPE, b"{}"), "");
    let good = fixture.referrer(&format!(r#""config":{config}"#));
    let broken = put(fixture.path(), OCI_MANIFEST, "{");
    let damaged = fixture.referrer(r#""x":1"#);
    fs::write(files::blob_path(fixture.path(), &damaged.digest), "changed").unwrap();
    let huge = Descriptor {
        size: MAX_MANIFEST + 1,
        ..describe(OCI_MANIFEST, b"huge")
    };
    fixture.index(&[
        r#"{"digest":"nonsense"}"#.to_owned(),
        fixture.tagged(),
        entry(&broken, ""),
        entry(&damaged, ""),
        entry(&huge, ""),
        entry(&good, ""),
    ]);
    let listing = fixture
        .layout()
        .list_signatures(&fixture.artifact, 10)
        .await
        .unwrap();
    assert_eq!(listing.signatures, [good]);
    assert_eq!(listing.warnings.len(), 4);
}

#[tokio::test]
async fn subject_must_be_the_same_content() {
    // OCI-38: a referrer with the right digest and another size is no referrer.
    let fixture = Fixture::new();
    let config = entry(&describe(SIGNATURE_ARTIFACT_TYPE, b"{}"), "");
    let subject = Descriptor {
        size: 1,
        ..fixture.artifact.clone()
    };
    let text = format!(r#"{{"config":{config},"subject":{}}}"#, entry(&subject, ""));
    let referrer = put(fixture.path(), OCI_MANIFEST, &text);
    fixture.index(&[fixture.tagged(), entry(&referrer, "")]);
    let listing = fixture
        .layout()
        .list_signatures(&fixture.artifact, 10)
        .await
        .unwrap();
    assert!(listing.signatures.is_empty());
}

#[tokio::test]
async fn changed_content_is_refused() {
    // OCI-14, SEC-02, SEC-16
    let fixture = Fixture::new();
    let layout = fixture.layout();
    let pushed = layout
        .push_signature(&fixture.artifact, Format::Jws, b"one", BTreeMap::new())
        .await
        .unwrap();
    let envelope = describe("application/jose+json", b"one");
    let blob = files::blob_path(fixture.path(), &envelope.digest);
    fs::write(&blob, b"eno").unwrap();
    assert!(matches!(
        layout.fetch_signature(&pushed.manifest).await,
        Err(OciError::DigestMismatch { .. })
    ));
    fs::write(&blob, b"longer").unwrap();
    assert!(matches!(
        layout.fetch_signature(&pushed.manifest).await,
        Err(OciError::SizeMismatch { .. })
    ));
    let artifact = files::blob_path(fixture.path(), &fixture.artifact.digest);
    fs::write(artifact, "{}").unwrap();
    assert!(layout.resolve(&tag("v1")).await.is_err());
}

#[tokio::test]
async fn sizes_are_bounded_before_reading() {
    // OCI-13
    let fixture = Fixture::new();
    let layout = fixture.layout();
    let manifest = Descriptor {
        size: MAX_MANIFEST + 1,
        ..fixture.artifact.clone()
    };
    assert_eq!(
        layout.fetch_signature(&manifest).await.unwrap_err().told(),
        "signature manifest too large: 4194305 bytes"
    );
    let config = entry(&describe(SIGNATURE_ARTIFACT_TYPE, b"{}"), "");
    let layer = |media_type: &str, size: u64| {
        entry(
            &Descriptor {
                size,
                ..describe(media_type, b"x")
            },
            "",
        )
    };
    for (layers, error) in [
        (
            layer("application/cose", 32 * 1024 * 1024 + 1),
            "signature blob too large: 33554433 bytes",
        ),
        (
            [layer("application/cose", 1), layer("application/cose", 1)].join(","),
            "signature manifest requries exactly one signature envelope blob, got 2",
        ),
        (
            String::new(),
            "signature manifest requries exactly one signature envelope blob, got 0",
        ),
        // VER-30
        (
            layer("application/pgp", 1),
            "signature envelope format with media type \"application/pgp\" is not supported",
        ),
    ] {
        let manifest = fixture.referrer(&format!(r#""config":{config},"layers":[{layers}]"#));
        assert_eq!(
            layout.fetch_signature(&manifest).await.unwrap_err().told(),
            error
        );
    }
}

#[tokio::test]
async fn resolving() {
    // OCI-36, OCI-38
    let fixture = Fixture::new();
    let layout = fixture.layout();
    let digest = TagOrDigest::Digest(fixture.artifact.digest.clone());
    assert_eq!(layout.resolve(&digest).await.unwrap(), fixture.artifact);
    assert_eq!(
        layout.resolve(&tag("v2")).await.unwrap_err().told(),
        format!("{}:v2: not found", layout.name())
    );
    // Held by the layout, though the index does not lead there.
    let unlisted = put(fixture.path(), OCI_INDEX, r#"{"manifests":[]}"#);
    let digest = TagOrDigest::Digest(unlisted.digest.clone());
    assert_eq!(layout.resolve(&digest).await.unwrap(), unlisted);
    let text = put(fixture.path(), "text/plain", "hello");
    assert!(
        layout
            .resolve(&TagOrDigest::Digest(text.digest))
            .await
            .is_err()
    );
    // A tag that stands at two artifacts names neither.
    let second = entry(
        &unlisted,
        r#","annotations":{"org.opencontainers.image.ref.name":"v1"}"#,
    );
    fixture.index(&[fixture.tagged(), second]);
    assert!(layout.resolve(&tag("v1")).await.is_err());
}

#[test]
fn not_a_layout() {
    // OCI-35
    let directory = tempfile::tempdir().unwrap();
    let text = |path: &Path| Layout::open(path).unwrap_err().told();
    assert_eq!(
        text(&directory.path().join("none")),
        "failed to resolve user input reference: input path is not a dir"
    );
    assert!(text(directory.path()).ends_with("it has no oci-layout file"));
    fs::write(
        directory.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"2.0"}"#,
    )
    .unwrap();
    assert!(text(directory.path()).ends_with("unsupported version \"2.0\""));
}

#[tokio::test]
async fn links_are_read_and_never_written_through() {
    // SEC-10
    let fixture = Fixture::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let blob = files::blob_path(fixture.path(), &fixture.artifact.digest);
    let moved = elsewhere.path().join("artifact");
    fs::rename(&blob, &moved).unwrap();
    symlink(&moved, &blob).unwrap();
    let layout = fixture.layout();
    layout.resolve(&tag("v1")).await.unwrap();
    // A link in place of a directory that is written to.
    symlink(elsewhere.path(), fixture.path().join("ingest")).unwrap();
    let push = || layout.push_signature(&fixture.artifact, Format::Jws, b"one", BTreeMap::new());
    assert!(matches!(
        push().await,
        Err(OciError::Layout(LayoutError::Link { .. }))
    ));
    fs::remove_file(fixture.path().join("ingest")).unwrap();
    // A link in place of the index.
    let index = fixture.path().join("index.json");
    fs::rename(&index, elsewhere.path().join("index.json")).unwrap();
    symlink(elsewhere.path().join("index.json"), &index).unwrap();
    assert!(matches!(
        push().await,
        Err(OciError::Layout(LayoutError::Link { .. }))
    ));
    assert!(
        fixture
            .layout()
            .list_signatures(&fixture.artifact, 1)
            .await
            .unwrap()
            .signatures
            .is_empty()
    );
}

#[tokio::test]
async fn pipes_and_directories_are_not_read() {
    // SEC-14: a pipe would be waited for without end.
    let fixture = Fixture::new();
    let blob = files::blob_path(fixture.path(), &fixture.artifact.digest);
    fs::remove_file(&blob).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &blob,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(matches!(
        fixture.layout().resolve(&tag("v1")).await,
        Err(OciError::Layout(LayoutError::NotAFile { .. }))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_lose_nothing() {
    // OCI-28: four writers that know nothing of each other, as four processes would be, and in
    // each eight signatures at once.
    let fixture = Fixture::new();
    let mut tasks = Vec::new();
    for writer in 0..4 {
        let layout = fixture.layout();
        for n in 0..8 {
            let (layout, artifact) = (layout.clone(), fixture.artifact.clone());
            tasks.push(tokio::spawn(async move {
                let envelope = format!("{writer}-{n}");
                layout
                    .push_signature(&artifact, Format::Jws, envelope.as_bytes(), BTreeMap::new())
                    .await
                    .unwrap();
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    let listing = fixture
        .layout()
        .list_signatures(&fixture.artifact, 100)
        .await
        .unwrap();
    assert_eq!(listing.signatures.len(), 32);
}

/// A writer that shares nothing with others, as one in another process.
fn writer(fixture: &Fixture, lock_wait: Duration) -> Arc<Writer> {
    let path = fixture.path().to_owned();
    Writer::new(path.clone(), Arc::new(Current::new(path)), lock_wait)
}

#[tokio::test]
async fn a_held_lock_is_an_error_in_the_end() {
    let fixture = Fixture::new();
    let _held = checkpoint::lock(fixture.path(), Duration::ZERO).unwrap();
    let writer = writer(&fixture, Duration::ZERO);
    let change = Change::Remove(fixture.artifact.digest.clone());
    assert!(matches!(
        writer.begin().commit(change, Vec::new()).await,
        Err(LayoutError::Locked { .. })
    ));
}

#[tokio::test]
async fn removing_and_tagging() {
    let fixture = Fixture::new();
    let writer = writer(&fixture, LOCK_WAIT);
    let second = put(fixture.path(), OCI_INDEX, r#"{"manifests":[]}"#);
    let change = Change::Add {
        entry: Entry::new(second.clone()),
        tag: Some("v1".to_owned()),
    };
    writer.begin().commit(change, Vec::new()).await.unwrap();
    let layout = fixture.layout();
    let inner = &layout.inner;
    assert_eq!(inner.tagged("v1").unwrap(), Some(second.clone()));
    assert!(inner.manifest(&fixture.artifact.digest).unwrap().is_some());
    let change = Change::Remove(second.digest.clone());
    writer.begin().commit(change, Vec::new()).await.unwrap();
    assert_eq!(inner.tagged("v1").unwrap(), None);
    assert!(inner.manifest(&second.digest).unwrap().is_none());
}

#[tokio::test]
async fn deletes_signatures_and_nothing_else() {
    let fixture = Fixture::new();
    let layout = fixture.layout();
    let push = |envelope: &'static [u8]| {
        layout.push_signature(&fixture.artifact, Format::Jws, envelope, BTreeMap::new())
    };
    let (one, two) = (push(b"one").await.unwrap(), push(b"two").await.unwrap());
    layout
        .delete_signature(&fixture.artifact, &one.manifest.digest)
        .await
        .unwrap();
    let listing = layout.list_signatures(&fixture.artifact, 9).await.unwrap();
    assert_eq!(listing.signatures, [two.manifest]);
    assert!(matches!(
        layout
            .delete_signature(&fixture.artifact, &one.manifest.digest)
            .await,
        Err(OciError::NotFound { .. })
    ));
    assert!(matches!(
        layout
            .delete_signature(&fixture.artifact, &fixture.artifact.digest)
            .await,
        Err(OciError::NotASignature { .. })
    ));
    layout.resolve(&tag("v1")).await.unwrap();
}

#[tokio::test]
async fn attached_artifacts_are_listed_by_type() {
    let fixture = Fixture::new();
    let empty = entry(&describe(EMPTY_MEDIA_TYPE, b"{}"), "");
    let sbom = fixture.referrer(&format!(
        r#""artifactType":"application/sbom","config":{empty}"#
    ));
    let scan = fixture.referrer(&format!(
        r#""config":{}"#,
        entry(&describe("application/scan", b"{}"), "")
    ));
    fixture.index(&[fixture.tagged(), entry(&sbom, ""), entry(&scan, "")]);
    let layout = fixture.layout();
    for (artifact_type, limit, expected, truncated) in [
        (None, 9, vec![&sbom, &scan], false),
        (None, 1, vec![&sbom], true),
        (Some("application/scan"), 9, vec![&scan], false),
        (Some("application/x"), 9, vec![], false),
    ] {
        let found = layout
            .list_referrers(&fixture.artifact, artifact_type, limit)
            .await
            .unwrap();
        let descriptors: Vec<_> = found.entries.iter().map(|e| &e.descriptor).collect();
        assert_eq!((descriptors, found.truncated), (expected, truncated));
    }
}

#[tokio::test]
async fn the_reference_s_layout_is_read() {
    // OCI-38: twelve signatures, written by the reference.
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/layout");
    let Ok(layout) = Layout::open(&vectors) else {
        panic!("the vectors are missing at {}", vectors.display());
    };
    let artifact = layout.resolve(&tag("v1")).await.unwrap();
    let listing = layout.list_signatures(&artifact, 100).await.unwrap();
    assert_eq!((listing.signatures.len(), listing.warnings.len()), (12, 0));
    for signature in &listing.signatures {
        let fetched = layout.fetch_signature(signature).await.unwrap();
        assert!(!fetched.envelope.is_empty());
    }
}

#[tokio::test]
async fn one_signature_waits_for_nobody_and_many_are_written_together() {
    let fixture = Fixture::new();
    let many: Vec<String> = (0..40)
        .map(|n: u32| entry(&describe(OCI_MANIFEST, &n.to_be_bytes()), ""))
        .chain([fixture.tagged()])
        .collect();
    fixture.index(&many);
    let layout = fixture.layout();
    let push = |envelope: String| {
        let (layout, artifact) = (layout.clone(), fixture.artifact.clone());
        tokio::spawn(async move {
            let bytes = envelope.as_bytes();
            let pushed = layout.push_signature(&artifact, Format::Jws, bytes, BTreeMap::new());
            pushed.await.unwrap();
        })
    };
    let listed = || fixture.read_index()["manifests"].as_array().unwrap().len();
    // Alone: it is there when it is reported.
    push("alone".to_owned()).await.unwrap();
    assert_eq!(listed(), 42);
    // While other work is announced than its own, it waits for company.
    let announced: Vec<_> = (0..20).map(|_| layout.announce()).collect();
    let before = fs::metadata(fixture.path().join("index.json")).unwrap();
    let since = std::time::Instant::now();
    let first = push("first".to_owned());
    tokio::time::sleep(Duration::from_millis(200)).await;
    // On a machine that is too busy for that, the second passes first.
    let second = || since.elapsed() > Duration::from_millis(900);
    assert!(second() || !first.is_finished() && listed() == 42);
    // A quarter of the index is enough.
    let others: Vec<_> = (0..11).map(|n| push(n.to_string())).collect();
    first.await.unwrap();
    assert!(second() || listed() >= 42 + 11);
    let after = fs::metadata(fixture.path().join("index.json")).unwrap();
    assert_ne!(before.modified().unwrap(), after.modified().unwrap());
    // Nothing more is to come.
    drop(announced);
    for other in others {
        other.await.unwrap();
    }
    assert_eq!(listed(), 42 + 12);
    // What is announced and does not come is waited for a second.
    let _announced = [layout.announce(), layout.announce()];
    push("late".to_owned()).await.unwrap();
    assert_eq!(listed(), 42 + 13);
}

#[tokio::test]
async fn what_others_write_is_seen_and_kept() {
    // OCI-28, OCI-37: also where they write in place, and the file keeps its length.
    let fixture = Fixture::new();
    let layout = fixture.layout();
    let push = async |envelope: &[u8]| {
        let pushed =
            layout.push_signature(&fixture.artifact, Format::Jws, envelope, BTreeMap::new());
        pushed.await.unwrap()
    };
    push(b"one").await;
    layout.resolve(&tag("v1")).await.unwrap();
    let path = fixture.path().join("index.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("\"v1\"", "\"w1\"")
            .replace("\"kept\":1", "\"kept\":2"),
    )
    .unwrap();
    push(b"two").await;
    assert!(layout.resolve(&tag("v1")).await.is_err());
    layout.resolve(&tag("w1")).await.unwrap();
    assert_eq!(fixture.read_index()["x"]["kept"], 2);
    let listing = layout.list_signatures(&fixture.artifact, 9).await.unwrap();
    assert_eq!(listing.signatures.len(), 2);
    // Another writer's signature is seen by the one that wrote before.
    let other = fixture.layout();
    let third = other.push_signature(&fixture.artifact, Format::Jws, b"three", BTreeMap::new());
    third.await.unwrap();
    let listing = layout.list_signatures(&fixture.artifact, 9).await.unwrap();
    assert_eq!(listing.signatures.len(), 3);
}

#[tokio::test]
async fn content_that_a_crash_left_is_completed() {
    // OCI-37: nothing leads to it until the index does, and what is damaged is written anew.
    let fixture = Fixture::new();
    let layout = fixture.layout();
    let envelope = describe("application/jose+json", b"one");
    fs::write(files::blob_path(fixture.path(), &envelope.digest), b"").unwrap();
    let subject = fixture.artifact.clone();
    let stored = layout
        .run(move |inner| inner.store_signature(&subject, Format::Jws, b"one", BTreeMap::new()));
    let stored = stored.await.unwrap();
    let listing = layout.list_signatures(&fixture.artifact, 9).await.unwrap();
    assert!(listing.signatures.is_empty() && listing.warnings.is_empty());
    let again = layout
        .push_signature(&fixture.artifact, Format::Jws, b"one", BTreeMap::new())
        .await
        .unwrap();
    assert_eq!(again.manifest, stored.manifest);
    let fetched = layout.fetch_signature(&again.manifest).await.unwrap();
    assert_eq!(fetched.envelope, b"one");
}

#[tokio::test]
async fn an_index_too_large_to_be_read_is_not_written() {
    let fixture = Fixture::new();
    let filler = "x".repeat(usize::try_from(index::MAX_INDEX).unwrap() - 300);
    let text = format!(r#"{{"x":"{filler}","manifests":[{}]}}"#, fixture.tagged());
    fs::write(fixture.path().join("index.json"), &text).unwrap();
    let layout = fixture.layout();
    let push = |n: u8| {
        let (layout, artifact) = (layout.clone(), fixture.artifact.clone());
        tokio::spawn(async move {
            let envelope = [n];
            let pushed = layout.push_signature(&artifact, Format::Jws, &envelope, created("2026"));
            pushed.await.unwrap_err().told()
        })
    };
    // Each of those that wait together is told.
    for refused in [push(1), push(2), push(3)] {
        assert!(refused.await.unwrap().ends_with("more than 33554432 bytes"));
    }
    assert_eq!(
        fs::read_to_string(fixture.path().join("index.json")).unwrap(),
        text
    );
    layout.resolve(&tag("v1")).await.unwrap();
    assert_eq!(
        fs::read_dir(fixture.path().join("ingest")).unwrap().count(),
        0
    );
}

/// Where there is no room for another signature, that is told before one is made; those that are under way count.
#[tokio::test]
async fn a_full_layout_is_told_before_anything_is_signed() {
    let fixture = Fixture::new();
    let filled = |left: usize| {
        let tagged = fixture.tagged();
        let around = r#"{"x":"","manifests":[]}"#.len() + tagged.len();
        let filler = usize::try_from(index::MAX_INDEX).unwrap() - around - left;
        let text = format!(r#"{{"x":"{}","manifests":[{tagged}]}}"#, "x".repeat(filler));
        fs::write(fixture.path().join("index.json"), text).unwrap();
    };
    filled(600);
    let layout = fixture.layout();
    layout.resolve(&tag("v1")).await.unwrap();
    layout.check_room().unwrap();
    let announced = [layout.announce().unwrap(), layout.announce().unwrap()];
    let told = layout.check_room().unwrap_err().told();
    assert!(told.ends_with("more than 33554432 bytes"), "{told}");
    drop(announced);
    layout.check_room().unwrap();
    // An entry is no longer than it is taken for.
    layout
        .push_signature(&fixture.artifact, Format::Jws, b"one", created("2026"))
        .await
        .unwrap();
    layout.check_room().unwrap_err();
    // So many manifests are never read.
    let entries: Vec<_> = (0..100_000)
        .map(|n| {
            let digest = describe("a", n.to_string().as_bytes()).digest;
            format!(r#"{{"mediaType":"application/x","digest":"{digest}","size":1}}"#)
        })
        .collect();
    fixture.index(&[vec![fixture.tagged()], entries].concat());
    let layout = fixture.layout();
    layout.resolve(&tag("v1")).await.unwrap();
    let told = layout.check_room().unwrap_err().told();
    assert!(told.contains("100000 manifests"), "{told}");
}

/// A copy of many attached artifacts rewrites the index when a quarter of it is new: the entries
/// written grow with their number, not with its square, and all are there in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_lists_many_attached_artifacts_together() {
    use crate::oci::copy::{CopyOptions, copy};
    for count in [1_usize, 40, 1000] {
        let fixture = Fixture::new();
        let attached = (0..count).map(|n| {
            fixture.referrer(&format!(
                r#""artifactType":"text/plain","annotations":{{"n":"{n}"}},"layers":[]"#
            ))
        });
        let entries: Vec<_> = attached.map(|found| entry(&found, "")).collect();
        fixture.index(&[vec![fixture.tagged()], entries].concat());
        let directory = tempfile::tempdir().unwrap();
        let to = Layout::open_or_create(directory.path().join("new")).unwrap();
        let options = CopyOptions::default();
        let began = std::time::Instant::now();
        let copied = copy(&fixture.layout(), &tag("v1"), &to, Some("v1"), &options).await;
        assert_eq!(copied.unwrap().referrers.len(), count);
        let written = to.inner.current.written.load(Ordering::Relaxed);
        // What comes within a second that passes is written, too.
        let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
        let most = (count + 1) * (6 + seconds);
        assert!(written > count && written <= most, "{written} of {most}");
        // In the file, as another process reads it.
        let again = Layout::open(to.path()).unwrap();
        let listed = again.list_referrers(&fixture.artifact, None, count).await;
        assert_eq!(listed.unwrap().entries.len(), count);
        assert_eq!(again.resolve(&tag("v1")).await.unwrap(), fixture.artifact);
    }
}

/// A command may do one thing after the other, each in a runtime of its own.
#[test]
fn a_layout_outlives_a_runtime() {
    let fixture = Fixture::new();
    let layout = fixture.layout();
    for n in 0..5_u8 {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let began = std::time::Instant::now();
        let envelope = [n];
        runtime
            .block_on(layout.push_signature(
                &fixture.artifact,
                Format::Jws,
                &envelope,
                BTreeMap::new(),
            ))
            .unwrap();
        runtime.shutdown_background();
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    assert_eq!(
        fixture.read_index()["manifests"].as_array().unwrap().len(),
        6
    );
}
