//! A certificate or a file that is refused says why: the cause, the field or extension, the byte;
//! and what it is in place of certificates.

use base64::Engine as _;
use hardsign_core::x509::{Certificate, CertificateError, FileError, Flaw};
use hardsign_plugin::chain::Wrapping;
use hardsign_test_support::asn1::{attribute, oid, rdn, sequence, tlv};
use hardsign_test_support::{Builder, Key, Pki, Told};

fn leaf() -> Builder {
    Builder::leaf("Leaf", Key::P384.spki)
}

fn refused(builder: Builder) -> CertificateError {
    let issued = builder.self_signed(&Key::P384);
    let error = Certificate::from_der(&issued.der).unwrap_err();
    if let CertificateError::Malformed { at, .. } = &error {
        assert!(*at < issued.der.len(), "{error}");
    }
    error
}

/// X509-23: every refusal begins as scripts expect and names place and cause.
#[test]
fn x509_23_cause_and_place() {
    let extension = |dotted: &str, value: &[u8]| leaf().with(dotted, true, value.to_vec());
    let named = |type_: &str, tag: u8, value: &[u8]| {
        leaf().named(tlv(0x30, &rdn(&[(attribute(type_), tag, value)])))
    };
    for (builder, field, cause) in [
        (
            named("CN", 0x13, b"build@bar"),
            "issuer, attribute CN",
            "PrintableString can't hold '@'",
        ),
        (
            named("O", 0x13, "Größe".as_bytes()),
            "issuer, attribute O",
            "can't hold 'ö'",
        ),
        (
            named("C", 0x12, b"1a"),
            "attribute C",
            "NumericString can't hold 'a'",
        ),
        (
            named("CN", 0x16, "é".as_bytes()),
            "attribute CN",
            "IA5String can't hold 'é'",
        ),
        (
            named("CN", 0x0c, b"\xff"),
            "attribute CN",
            "the bytes are no UTF8String",
        ),
        (
            named("CN", 0x1e, b"\0"),
            "attribute CN",
            "the bytes are no BMPString",
        ),
        (
            named("CN", 0x1c, b"\0\0\0A"),
            "attribute CN",
            "type UniversalString",
        ),
        (
            named("CN", 0x1b, b"A"),
            "attribute CN",
            "type GeneralString",
        ),
        (named("CN", 0x02, b"\x01"), "attribute CN", "type INTEGER"),
        (
            named("DC", 0x13, b"@"),
            "attribute 0.9.2342.19200300.100.1.25",
            "can't hold '@'",
        ),
        (
            leaf().change(|b| b.extensions.push(b.extensions[1].clone())),
            "extension extKeyUsage",
            "occurs twice",
        ),
        (
            leaf().change(|b| {
                b.extensions.push(("1.2.3.4".to_owned(), false, vec![]));
                b.extensions.push(("1.2.3.4".to_owned(), true, vec![5, 0]));
            }),
            "extension 1.2.3.4",
            "occurs twice",
        ),
        (
            extension("2.5.29.19", b"\x30\x03\x02\x01"),
            "extension basicConstraints",
            "incomplete",
        ),
        (
            extension("2.5.29.15", b"\x04\x01\x80"),
            "extension keyUsage",
            "BIT STRING",
        ),
        (
            extension("2.5.29.37", b"\x30\x00"),
            "extension extKeyUsage",
            "SEQUENCE",
        ),
        (
            extension("2.5.29.31", b"\x30\x05"),
            "extension cRLDistributionPoints",
            "incomplete",
        ),
        (
            extension("1.3.6.1.5.5.7.1.1", b"\x05\x00"),
            "extension authorityInfoAccess",
            "SEQUENCE",
        ),
        (leaf().change(|b| b.version = 3), "version", "no version 4"),
        (
            leaf().change(|b| b.version = 1),
            "extensions",
            "version 2 has no extensions",
        ),
        (
            leaf().change(|b| b.serial = tlv(4, b"x")),
            "serialNumber",
            "expected INTEGER",
        ),
        (
            leaf().change(|b| {
                b.outer_algorithm = Some(sequence(&[&oid("1.2.840.10045.4.3.2")]));
            }),
            "signature,",
            "differ",
        ),
        (
            leaf().change(|b| {
                b.extensions
                    .extend((0..64).map(|n| (format!("1.2.3.{n}"), false, vec![])));
            }),
            "extensions",
            "more than 64",
        ),
    ] {
        let error = refused(builder).to_string();
        assert!(
            error.starts_with("x509: malformed certificate: "),
            "{error}"
        );
        for text in [field, cause, ", at byte "] {
            assert!(error.contains(text), "{text:?} is not in {error}");
        }
    }
}

/// The byte is that of the fault in the whole certificate.
#[test]
fn x509_23_the_byte_is_counted_from_the_start() {
    let name = tlv(0x30, &rdn(&[(attribute("CN"), 0x13, b"a@b")]));
    let issued = leaf().named(name).self_signed(&Key::P384);
    let value = issued
        .der
        .windows(5)
        .position(|w| w == b"\x13\x03a@b")
        .unwrap();
    match Certificate::from_der(&issued.der).unwrap_err() {
        CertificateError::Malformed { at, flaw, .. } => {
            assert_eq!(at, value);
            assert!(matches!(*flaw, Flaw::Character { character: '@', .. }));
        }
        error => panic!("{error}"),
    }
    let root = Pki::new().root.der;
    for (from, to, field) in [("20", "2x", "notBefore"), ("49", "4x", "notAfter")] {
        let mut der = root.clone();
        let from = [b"\x17\x0d", from.as_bytes()].concat();
        let at = der.windows(from.len()).position(|w| w == from).unwrap();
        der[at + 2..at + 4].copy_from_slice(to.as_bytes());
        let error = Certificate::from_der(&der).unwrap_err().told();
        let place = format!("{field}, at byte {at}: ");
        assert!(
            error.contains(&place) && error.contains("UTCTime"),
            "{error}"
        );
    }
    let longer = [root.as_slice(), b"\r\n"].concat();
    let error = Certificate::from_der(&longer).unwrap_err().told();
    assert!(
        error.contains(&format!("at byte {}: 2 bytes follow", root.len())),
        "{error}"
    );
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n").into_bytes()
}

/// X509-21, X509-22: files in other wrappings are named, with the command that converts.
#[test]
fn x509_22_other_wrappings() {
    let der = Pki::new().root.der;
    let signed_data = sequence(&[&oid("1.2.840.113549.1.7.2"), &tlv(0xa0, &tlv(0x30, &der))]);
    let pfx = sequence(&[&tlv(2, &[3]), &sequence(&[&oid("1.2.840.113549.1.7.1")])]);
    let pkcs8 = sequence(&[&tlv(2, &[0]), &sequence(&[&oid("1.2.3")]), &tlv(4, b"key")]);
    let sec1 = sequence(&[&tlv(2, &[1]), &tlv(4, b"key")]);
    let name = sequence(&[]);
    let request = sequence(&[
        &sequence(&[&tlv(2, &[0]), &name, &name, &tlv(0xa0, &[])]),
        &name,
    ]);
    let crl = sequence(&[
        &sequence(&[&tlv(2, &[1]), &name, &name, &tlv(0x17, b"x")]),
        &name,
    ]);
    let base64 = base64::engine::general_purpose::STANDARD.encode(&der);
    let utf16: Vec<u8> = [0xfeff]
        .into_iter()
        .chain(
            String::from_utf8(pem("CERTIFICATE", &der))
                .unwrap()
                .encode_utf16(),
        )
        .flat_map(u16::to_le_bytes)
        .collect();
    for (file, what, command) in [
        (
            signed_data.clone(),
            "PKCS #7 bundle in DER",
            "openssl pkcs7 -inform DER -print_certs",
        ),
        (
            pem("PKCS7", &signed_data),
            "PKCS #7 bundle in PEM",
            "openssl pkcs7 -print_certs",
        ),
        (
            pem("CMS", &signed_data),
            "PKCS #7",
            "openssl pkcs7 -print_certs",
        ),
        (pfx, "PKCS #12", "openssl pkcs12 -nokeys"),
        (pkcs8, "private key", "keep the key elsewhere"),
        (sec1, "private key", "keep the key elsewhere"),
        (
            pem("EC PRIVATE KEY", b"x"),
            "private key",
            "keep the key elsewhere",
        ),
        (request, "certificate request", "name the certificate"),
        (
            pem("CERTIFICATE REQUEST", b"x"),
            "CERTIFICATE REQUEST",
            "only CERTIFICATE",
        ),
        (crl, "certificate revocation list", "certificate of the CA"),
        (
            base64.clone().into_bytes(),
            "base64 without",
            "openssl base64 -d",
        ),
        (utf16, "UTF-16", "iconv -f UTF-16"),
        (
            b"<!DOCTYPE html><html>".to_vec(),
            "web page (HTML)",
            "get the file again",
        ),
        (
            b"\n <html>".to_vec(),
            "web page (HTML)",
            "get the file again",
        ),
        (b"{\"certificate\":1}".to_vec(), "JSON", "PEM or DER"),
        (
            b"garbage".to_vec(),
            "neither PEM nor DER",
            "x509: malformed certificate",
        ),
    ] {
        let error = Certificate::parse_file(&file).unwrap_err().told();
        assert!(error.contains(what) && error.contains(command), "{error}");
        // A plugin that answers with such a thing is told as well.
        assert!(Certificate::from_der(&file).is_err());
    }
    let error = Certificate::from_der(&pem("CERTIFICATE", &der)).unwrap_err();
    assert_eq!(error, CertificateError::Wrapped(Wrapping::Pem));
    assert!(error.told().contains("PEM text"), "{error}");
    // A byte order mark before PEM loses no certificate.
    let marked = [b"\xef\xbb\xbf".as_slice(), &pem("CERTIFICATE", &der)].concat();
    assert_eq!(Certificate::parse_file(&marked).unwrap().len(), 1);
}

/// The certificate of a file that is at fault is numbered, and a damaged block says how.
#[test]
fn x509_21_which_certificate_of_a_file() {
    let good = pem("CERTIFICATE", &Pki::new().root.der);
    let file = |second: &[u8]| Certificate::parse_file(&[&good, second].concat()).unwrap_err();
    let error = file(&pem("CERTIFICATE", b"\x30\x00"));
    assert!(matches!(error, FileError::Certificate { number: 2, .. }));
    assert!(
        error.told().ends_with("(certificate 2 of the file)"),
        "{error}"
    );
    for (bad, why) in [
        (&b"-----BEGIN CERTIFICATE-----\nAAAA\n"[..], "no END line"),
        (
            b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            "not base64",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END X-----\n",
            "does not fit",
        ),
    ] {
        let error = file(bad).to_string();
        assert!(
            error.contains("PEM block 2") && error.contains(why),
            "{error}"
        );
    }
}
