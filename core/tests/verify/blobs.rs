//! Files: selection, several signatures, and the swap matrix of blobs (CVE-2022-36056).

use std::io::{self, Read};

use hardsign_core::artifact::Descriptor;
use hardsign_core::blob;
use hardsign_core::envelope::Format;
use hardsign_core::event::Event;
use hardsign_core::verify::{Blob, BlobSignature, Outcome, VerifyError};
use hardsign_plugin::algorithm::HashAlgorithm;
use hardsign_test_support::{Key, Pki, Told};

use crate::world::{World, level, sign, signer, verified};

fn policy(statements: &[&str]) -> String {
    format!(
        r#"{{"version":"1.0","trustPolicies":[{}]}}"#,
        statements.join(",")
    )
}

fn global(verification: &str) -> String {
    format!(
        r#"{{"name":"n","globalPolicy":true,{}}}"#,
        level(verification)
    )
}

fn strict_world(pki: &Pki) -> World {
    let world = World::new().trust("ca:t", &pki.root);
    let path = world.dirs.blob_policy();
    let text = policy(&[&global(r#""level":"strict""#)]);
    world.file(&path, &text)
}

fn describe(bytes: &[u8], hash: HashAlgorithm) -> Descriptor {
    blob::describe(bytes, hash, "text/plain").unwrap()
}

async fn verify(
    world: &World,
    statement: Option<&str>,
    bytes: impl Read + Send + 'static,
    media_type: Option<&str>,
    signatures: &[(Format, &[u8])],
) -> Result<Outcome, VerifyError> {
    let signatures: Vec<_> = signatures
        .iter()
        .map(|(format, envelope)| BlobSignature {
            format: *format,
            envelope,
        })
        .collect();
    let blob = Blob {
        reference: "file.txt",
        reader: bytes,
        media_type,
    };
    world
        .verifier()
        .verify_blob(
            &world.blob_policy(),
            statement,
            blob,
            &signatures,
            world.options(&|event: &Event<'_>| world.note(event)),
        )
        .await
}

/// BLOB-09, CVE-2022-36056: two files, two signers, two media types, two formats. A signature is
/// good for its own file and for nothing else, whatever is swapped.
#[tokio::test]
async fn swap_matrix() {
    let pki = Pki::new();
    let world = strict_world(&pki);
    let files = [&b"one"[..], b"two"];
    let keys = [&Key::P256, &Key::P384];
    let chains = [
        pki.chain(&signer(&pki, "alice", keys[0])),
        pki.chain(&signer(&pki, "bob", keys[1])),
    ];
    let mismatch = "integrity check failed. signature does not match the given blob";
    for format in Format::ALL {
        for (signed, file) in files.iter().enumerate() {
            for (who, key) in keys.iter().enumerate() {
                let hash = key.spec.unwrap().hash();
                let target = describe(file, hash);
                let envelope = sign(format, &target, &chains[who], key);
                for (given, bytes) in files.iter().enumerate() {
                    for media_type in [None, Some("text/plain"), Some("text/html")] {
                        let signatures = [(format, &envelope[..])];
                        let result = verify(&world, None, *bytes, media_type, &signatures).await;
                        if given == signed && media_type != Some("text/html") {
                            assert_eq!(verified(result).target().digest, target.digest);
                        } else {
                            assert_eq!(result.unwrap_err().told(), mismatch);
                        }
                    }
                }
                let other = match format {
                    Format::Jws => Format::Cose,
                    Format::Cose => Format::Jws,
                };
                let signatures = [(other, &envelope[..])];
                let error = verify(&world, None, *file, None, &signatures).await;
                let error = error.unwrap_err().told();
                assert!(
                    error.starts_with("unable to parse the digital signature, error : "),
                    "VER-11: {error}"
                );
            }
        }
    }
}

/// ENV-12: a digest by another hash than the key's is compared by that hash, never taken as equal.
#[tokio::test]
async fn digest_of_another_hash() {
    let pki = Pki::new();
    let world = strict_world(&pki);
    let chain = pki.chain(&signer(&pki, "alice", &Key::P256));
    for hash in HashAlgorithm::ALL {
        let envelope = sign(Format::Jws, &describe(b"one", hash), &chain, &Key::P256);
        let signatures = [(Format::Jws, &envelope[..])];
        assert!(
            verify(&world, None, &b"two"[..], None, &signatures)
                .await
                .is_err()
        );
        let mut longer = describe(b"one", hash);
        longer.size += 1;
        let envelope = sign(Format::Jws, &longer, &chain, &Key::P256);
        let signatures = [(Format::Jws, &envelope[..])];
        assert!(
            verify(&world, None, &b"one"[..], None, &signatures)
                .await
                .is_err()
        );
    }
}

/// BLOB-12, DIF-40, VER-04: skip succeeds, and the file is not read.
#[tokio::test]
async fn skip_reads_nothing() {
    struct Untouchable;
    impl Read for Untouchable {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("the file was read")
        }
    }
    let world = World::new();
    let path = world.dirs.blob_policy();
    let skip = r#"{"name":"s","signatureVerification":{"level":"skip"}}"#;
    let world = world.file(&path, &policy(&[skip]));
    let result = verify(&world, Some("s"), Untouchable, None, &[]).await;
    let Ok(Outcome::Skipped(skipped)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(
        (skipped.reference.as_str(), skipped.statement.as_str()),
        ("file.txt", "s")
    );
}

/// TP-45, BLOB-03: selection and media type come before any signature.
#[tokio::test]
async fn selection_and_media_type() {
    let pki = Pki::new();
    let world = strict_world(&pki);
    let chain = pki.chain(&signer(&pki, "alice", &Key::P256));
    let target = describe(b"one", HashAlgorithm::Sha256);
    let envelope = sign(Format::Jws, &target, &chain, &Key::P256);
    let signatures = [(Format::Jws, &envelope[..])];
    for (statement, media_type, expected) in [
        (
            Some("x"),
            None,
            "no applicable blob trust policy with name \"x\"",
        ),
        (Some(" "), None, "policy name cannot be empty"),
        (
            None,
            Some("a b"),
            "invalid content media-type \"a b\": mime: expected slash after first token",
        ),
    ] {
        let result = verify(&world, statement, &b"one"[..], media_type, &signatures).await;
        assert_eq!(result.unwrap_err().told(), expected);
    }
    verified(verify(&world, Some("n"), &b"one"[..], None, &signatures).await);
    let error = verify(&world, None, &b"one"[..], None, &[])
        .await
        .unwrap_err();
    assert_eq!(error.told(), "no signature was given for file.txt");
}

/// CLI-97: the cause of a single signature's failure is the error; of several, each is kept. One
/// good is enough, and a file that can't be read is no mismatch.
#[tokio::test]
async fn several_signatures_of_a_file() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let pki = Pki::new();
    let world = strict_world(&pki);
    let chain = pki.chain(&signer(&pki, "alice", &Key::P256));
    let sign = |bytes| {
        sign(
            Format::Jws,
            &describe(bytes, HashAlgorithm::Sha256),
            &chain,
            &Key::P256,
        )
    };
    let (good, bad) = (sign(b"one"), sign(b"two"));
    let (good, bad) = ((Format::Jws, &good[..]), (Format::Jws, &bad[..]));
    let outcome = verified(verify(&world, None, &b"one"[..], None, &[bad, good]).await);
    assert_eq!(outcome.attempts().len(), 1);
    let error = verify(&world, None, &b"one"[..], None, &[bad, bad])
        .await
        .unwrap_err();
    assert_eq!(error.attempts().len(), 2);
    let error = verify(&world, None, Broken, None, &[good])
        .await
        .unwrap_err();
    assert_eq!(error.told(), "failed to read file.txt: broken");
}
