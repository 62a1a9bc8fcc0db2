//! The project's own vectors: every file of an area has its verdict in the manifest beside it, and
//! that is the verdict here.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use hardsign_core::config::formats::json::{self, Limits, Value};
use hardsign_core::envelope::{Envelope, Format};
use hardsign_core::x509::{Certificate, Chain, ChainError, CodeSigning, Profile, Timestamping};

/// The arm of an error enum, without its fields.
fn kind(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    let end = text
        .find(|c: char| !c.is_alphanumeric())
        .unwrap_or(text.len());
    text[..end].to_owned()
}

/// Runs `verdict` on each file of an area; it answers with the kind of error.
fn check(area: &str, verdict: impl Fn(&[u8]) -> Result<(), String>) {
    let directory: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/vectors", area]
        .iter()
        .collect();
    let mut files: BTreeSet<String> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(files.remove("manifest.json"));
    let manifest = fs::read(directory.join("manifest.json")).unwrap();
    let manifest = json::parse(&manifest, Limits::default()).unwrap();
    for entry in manifest.as_array().unwrap() {
        let member = |name| entry.get(name).and_then(Value::as_str);
        let file = member("file").unwrap();
        assert!(files.remove(file), "{area}/{file} is listed, and once");
        let expected = match member("verdict") {
            Some("good") => Ok(()),
            _ => Err(member("error").unwrap().to_owned()),
        };
        let bytes = fs::read(directory.join(file)).unwrap();
        let requirement = member("requirement").unwrap();
        assert_eq!(verdict(&bytes), expected, "{area}/{file}: {requirement}");
    }
    assert!(files.is_empty(), "{area}: not in the manifest: {files:?}");
}

fn envelope(format: Format, bytes: &[u8]) -> Result<(), String> {
    let verdict = Envelope::parse(format, bytes).and_then(Envelope::verify_integrity);
    verdict.map(drop).map_err(|error| kind(&error))
}

#[test]
fn jws_vectors() {
    check("jws", |bytes| envelope(Format::Jws, bytes));
}

#[test]
fn cose_vectors() {
    check("cose", |bytes| envelope(Format::Cose, bytes));
}

fn chain<P: Profile>(bytes: &[u8]) -> Result<(), String> {
    let chain = Certificate::parse_file(bytes).map_err(|error| kind(&error))?;
    let verdict = Chain::<P>::prove(chain);
    verdict.map(drop).map_err(|error| match error {
        ChainError::Rule { rule, .. } => kind(&rule),
        ChainError::Constraint { source, .. } => kind(&source),
        error => kind(&error),
    })
}

#[test]
fn code_signing_vectors() {
    check("code-signing", chain::<CodeSigning>);
}

#[test]
fn timestamping_vectors() {
    check("timestamping", chain::<Timestamping>);
}

/// X509-15, X509-16, DIF-04: real signatures with SHA-1, MD5 and short keys.
#[test]
fn openssl_vectors() {
    check("openssl", chain::<CodeSigning>);
}
