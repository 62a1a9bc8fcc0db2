//! The file with the root of a TSA (TSA-10, TSA-11).

use hardsign_core::timestamp::root_from_file;
use hardsign_test_support::{Builder, Key, Pki, Told};

/// TSA-10, TSA-11: one certificate, self-signed and self-issued; the texts otherwise.
#[test]
fn root_files() {
    let pki = Pki::new();
    let key = &Key::RSA_2048;
    let rsa_root = Builder::ca("RSA Root", key).self_signed(key);
    let rsa_ca = Builder::ca("RSA CA", &Key::RSA_2048_B).issue(&rsa_root, &Key::RSA_2048_B);
    let mut renamed = Builder::ca("Renamed", key);
    renamed.issuer = Some(rsa_root.subject.clone());
    let renamed = renamed.self_signed(key);
    let read = |bytes: &[u8]| root_from_file(bytes, "a \"b\".pem");
    assert_eq!(read(&pki.root.der).unwrap().der(), pki.root.der);
    let error = |bytes: &[u8]| read(bytes).unwrap_err().told();
    let expecting = "Expecting single x509 root certificate in PEM or DER format from the file";
    assert_eq!(
        error(b""),
        format!("cannot find any certificate from \"a \\\"b\\\".pem\". {expecting}")
    );
    assert_eq!(
        error(&[pki.root.der.clone(), pki.ca.der.clone()].concat()),
        format!("found more than one certificates from \"a \\\"b\\\".pem\". {expecting}")
    );
    assert_eq!(
        error(&rsa_ca.der),
        "failed to check root certificate with error: crypto/rsa: verification error"
    );
    assert_eq!(
        error(&pki.ca.der),
        "failed to check root certificate with error: crypto/ecdsa: verification error"
    );
    assert_eq!(
        error(&renamed.der),
        format!("certificate from \"a \\\"b\\\".pem\" is not a root certificate. {expecting}")
    );
    assert_eq!(
        error(b"no certificate"),
        "x509: malformed certificate: neither PEM nor DER"
    );
}
