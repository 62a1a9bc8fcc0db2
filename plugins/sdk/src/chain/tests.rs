//! Certificates in `tests/chain`: Root issued Issuing, Issuing issued Leaf (RSA-2048); Self has
//! Leaf's key; Lookalike has Issuing's name, its own key, and signed itself.

use std::time::{Duration, SystemTime};

use der::Encode as _;
use der::asn1::ObjectIdentifier;

use super::*;
use crate::Error;
use crate::algorithm::KeySpec;

/// A time at which all of them are valid: 2027-01-15.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/chain/{name}.pem", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

fn certificate(name: &str) -> Vec<u8> {
    parse_file(&file(name)).unwrap().remove(0)
}

fn certificates<const N: usize>(names: [&str; N]) -> Vec<Vec<u8>> {
    names.into_iter().map(certificate).collect()
}

fn leaf_key() -> PublicKey {
    public_key(&certificate("leaf")).unwrap()
}

#[test]
fn loose_certificates_become_a_chain() {
    let expected = certificates(["leaf", "int", "root"]);
    for pool in [
        ["root", "leaf", "int", "lookalike"],
        ["lookalike", "int", "root", "leaf"],
        ["leaf", "leaf", "int", "root"],
    ] {
        let chain = choose(&leaf_key(), &certificates(pool), now())
            .unwrap()
            .chain;
        assert_eq!(chain, expected, "{pool:?}");
    }
}

#[test]
fn what_does_not_parse_is_skipped() {
    let mut pool = certificates(["root", "leaf", "int"]);
    pool.insert(0, b"no certificate".to_vec());
    assert_eq!(choose(&leaf_key(), &pool, now()).unwrap().chain.len(), 3);
}

#[test]
fn a_self_signed_certificate_is_a_chain_of_one() {
    let pool = certificates(["root", "self", "int"]);
    assert_eq!(
        choose(&leaf_key(), &pool, now()).unwrap().chain,
        certificates(["self"])
    );
}

#[test]
fn gaps_are_named() {
    let gap = |pool: &[Vec<u8>]| choose(&leaf_key(), pool, now()).unwrap_err();
    let error = gap(&certificates(["leaf", "int"]));
    assert!(
        matches!(&error, ChainError::NoIssuer { subject, issuer, .. }
            if subject.contains("CN=Issuing") && issuer.contains("CN=Root")),
        "{error}"
    );
    // The right name with the wrong key is not the issuer.
    let error = gap(&certificates(["leaf", "lookalike"]));
    assert!(
        matches!(&error, ChainError::NoIssuer { subject, issuer, .. }
            if subject.contains("CN=Leaf") && issuer.contains("CN=Issuing")),
        "{error}"
    );
    assert!(Error::from(error).hint().unwrap().contains("CN=Issuing"));
    assert!(matches!(gap(&[]), ChainError::NoCertificate));
    let error = gap(&certificates(["root", "int"]));
    assert!(
        matches!(&error, ChainError::NoMatch { subjects, .. } if subjects.len() == 2),
        "{error}"
    );
}

#[test]
fn many_lookalikes_end() {
    let mut pool = certificates(["leaf"]);
    pool.extend(std::iter::repeat_n(certificate("int"), 500));
    assert!(matches!(
        choose(&leaf_key(), &pool, now()).unwrap_err(),
        ChainError::NoIssuer { .. }
    ));
}

/// X509-21: PEM with text around, one or several; DER, one or several.
#[test]
fn x509_21_files() {
    let (leaf, int) = (certificate("leaf"), certificate("int"));
    let both = vec![leaf.clone(), int.clone()];
    let text = [
        b"a comment\n".to_vec(),
        file("leaf"),
        b"\nissuer: x\n".to_vec(),
        file("int"),
    ];
    assert_eq!(parse_file(&text.concat()).unwrap(), both);
    assert_eq!(parse_file(&[leaf.clone(), int].concat()).unwrap(), both);
    let crlf = String::from_utf8(file("leaf"))
        .unwrap()
        .replace('\n', "\r\n");
    assert_eq!(parse_file(crlf.as_bytes()).unwrap(), [leaf]);
}

/// X509-22, X509-23: what is no certificate is refused, a private key by name.
#[test]
fn x509_22_files_that_are_refused() {
    let refused = |text: &[u8]| parse_file(text).unwrap_err().to_string();
    let block = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        let mut text = file("leaf");
        text.extend(block(label).bytes());
        let error = refused(&text);
        assert!(
            error.contains("private key") && error.contains(label),
            "{error}"
        );
    }
    assert!(refused(block("CERTIFICATE REQUEST").as_bytes()).contains("not a certificate"));
    for garbage in [
        &b"garbage"[..],
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 0],
    ] {
        assert!(refused(garbage).starts_with("x509: malformed certificate"));
    }
    assert!(refused(b"").contains("no certificate"));
    assert!(refused(block("CERTIFICATE").as_bytes()).starts_with("x509: malformed"));
    let cut = file("leaf");
    assert!(refused(&cut[..cut.len() / 2]).contains("PEM block 1"));
    assert!(refused(block("CERTIFICATE").repeat(201).as_bytes()).contains("more than 200"));
}

#[test]
fn public_keys_compare_however_encoded() {
    let rsa = leaf_key();
    assert_eq!(rsa.key_spec(), Some(KeySpec::Rsa2048));
    let again = PublicKey::from_spki_der(&rsa.to_spki_der().unwrap()).unwrap();
    assert_eq!(again, rsa);
    assert!(matches(&rsa, &certificate("self")));
    assert!(!matches(&rsa, &certificate("int")));
    assert!(!matches(&rsa, b"garbage"));
    assert_eq!(
        PublicKey::rsa(&[0, 1, 2], &[0, 3]),
        PublicKey::rsa(&[1, 2], &[3])
    );

    let ec = public_key(&certificate("root")).unwrap();
    assert_eq!(ec.key_spec(), Some(KeySpec::Ec256));
    let again = PublicKey::from_spki_der(&ec.to_spki_der().unwrap()).unwrap();
    assert_eq!(again, ec);
    assert!(is_ca(&certificate("root")) && !is_ca(&certificate("leaf")));
}

/// ENV-32, ENV-34: exact sizes and named curves only.
#[test]
fn env_34_sizes_are_exact() {
    let rsa = |first: u8, length: usize| {
        let mut modulus = vec![first];
        modulus.resize(length, 1);
        PublicKey::rsa(&modulus, &[1, 0, 1]).key_spec()
    };
    assert_eq!(rsa(0x80, 256), Some(KeySpec::Rsa2048));
    assert_eq!(rsa(0x7f, 256), None);
    assert_eq!(rsa(0x01, 257), None);
    assert_eq!(rsa(0xff, 384), Some(KeySpec::Rsa3072));
    assert_eq!(rsa(0xff, 512), Some(KeySpec::Rsa4096));
    assert_eq!(rsa(0xff, 128), None);
    assert_eq!(PublicKey::rsa(&[], &[]).key_spec(), None);

    const P_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
    const P_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
    const P_521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
    let ec = |curve: ObjectIdentifier, length: usize| {
        let mut point = vec![4];
        point.resize(length, 1);
        PublicKey::ec(&curve.to_der().unwrap(), &point)
            .unwrap()
            .key_spec()
    };
    assert_eq!(ec(P_384, 97), Some(KeySpec::Ec384));
    assert_eq!(ec(P_521, 133), Some(KeySpec::Ec521));
    assert_eq!(ec(P_256, 97), None);
    assert_eq!(ec(ObjectIdentifier::new_unwrap("1.3.132.0.10"), 65), None);
    assert!(PublicKey::ec(b"\x30\x00", &[4]).is_err());
}

/// SEC-10: what is loaded is a regular file of bounded size, and each fault names it.
#[test]
fn a_certificate_file_is_regular_and_bounded() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("c.pem");
    let fault = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let error = Error::from(load(&path).unwrap_err()).to_string();
        assert!(error.contains(&format!("{path:?}")), "{error}");
        error
    };
    assert!(fault(b"").contains("there is no certificate in it"));
    assert!(fault(b"secret").contains("neither PEM nor DER"));
    assert!(fault(&vec![b'\n'; MAX_FILE_LEN + 1]).contains("larger than 4194304 bytes"));
    std::fs::write(&path, file("leaf")).unwrap();
    assert_eq!(load(&path).unwrap(), [certificate("leaf")]);
    let missing = load(&place.path().join("none")).unwrap_err();
    assert!(matches!(missing, LoadError::Open { .. }));
    let error = load(place.path()).unwrap_err();
    assert!(matches!(error, LoadError::NotAFile { .. }));
}
