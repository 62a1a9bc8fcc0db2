//! Every signature that the reference tool made is intact here, and its content is what was asked
//! for.

use std::fs;
use std::path::{Path, PathBuf};

use hardsign_core::algorithm::KeySpec;
use hardsign_core::envelope::{Envelope, Format, SigningScheme};
use hardsign_core::x509::Certificate;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/reference")
}

fn blob_signatures() -> Vec<(String, Format, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(vectors().join("blob")).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_type().unwrap().is_dir() {
            continue;
        }
        let name = entry.file_name().into_string().unwrap();
        let format = if name.contains("cose") {
            Format::Cose
        } else {
            Format::Jws
        };
        let file = format!("artifact.bin.{}.sig", format.name());
        found.push((name, format, fs::read(entry.path().join(file)).unwrap()));
    }
    found
}

/// ENV-32, JWS-15, COSE-14: all six keys in both formats, and the expired ones, are intact.
#[test]
fn blob_signatures_are_intact() {
    let artifact = fs::read(vectors().join("blob/artifact.bin")).unwrap();
    let signatures = blob_signatures();
    assert_eq!(signatures.len(), 14);
    for (name, format, bytes) in signatures {
        let signature = Envelope::parse(format, &bytes)
            .unwrap_or_else(|e| panic!("{name}: {e}"))
            .verify_integrity()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let key = name.split('-').next().unwrap();
        let spec = signature.chain().leaf().key_spec().unwrap();
        let expected = match key {
            "rsa2048" => KeySpec::Rsa2048,
            "rsa3072" => KeySpec::Rsa3072,
            "rsa4096" => KeySpec::Rsa4096,
            "p256" => KeySpec::Ec256,
            "p384" => KeySpec::Ec384,
            _ => KeySpec::Ec521,
        };
        assert_eq!(spec, expected, "{name}");
        let target = &signature.payload().target;
        assert_eq!(target.size, u64::try_from(artifact.len()).unwrap());
        assert_eq!(target.digest.algorithm(), spec.hash());
        assert_eq!(
            target.digest.as_bytes(),
            hardsign_core::crypto::hash(spec.hash(), &artifact)
        );
        if !name.ends_with("expired") {
            assert_eq!(target.annotations["build"], "17");
            assert_eq!(target.annotations["note"], "a <b> & \"c\" é");
        }
        // ENV-06, ENV-07, ENV-09: our writer makes the same payload bytes.
        assert_eq!(
            signature.payload().to_json(format),
            signature.payload_bytes(),
            "{name}"
        );
        let attributes = signature.attributes();
        assert_eq!(attributes.signing_scheme, SigningScheme::X509);
        assert_eq!(attributes.expiry.is_some(), name.ends_with("expired"));
        assert!(attributes.extended.is_empty());
        assert!(
            signature
                .unsigned()
                .signing_agent
                .as_deref()
                .unwrap()
                .starts_with("notation-go/")
        );
        assert_eq!(signature.chain().certificates().len(), 3);
    }
}

#[test]
fn layout_signatures_are_intact() {
    let mut intact = 0;
    for entry in fs::read_dir(vectors().join("layout/blobs/sha256")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let format = if bytes.starts_with(&[0xd2]) {
            Format::Cose
        } else {
            Format::Jws
        };
        if let Ok(envelope) = Envelope::parse(format, &bytes) {
            let signature = envelope.verify_integrity().unwrap();
            assert_eq!(
                signature.payload().to_json(format),
                signature.payload_bytes()
            );
            intact += 1;
        }
    }
    assert_eq!(intact, 12);
}

/// X509-21: the chains that the vectors carry parse from their files.
#[test]
fn certificate_files_are_read() {
    let file = |name: &str| fs::read(vectors().join("certificates").join(name)).unwrap();
    let root = Certificate::parse_file(&file("root.crt")).unwrap();
    assert!(root[0].is_root_ca());
    let chain = Certificate::parse_file(&file("p384.chain.pem")).unwrap();
    assert_eq!(chain.last(), root.first());
    assert_eq!(chain[0].key_spec(), Some(KeySpec::Ec384));
}
