//! Single certificates: files, names, what DER forbids.

use hardsign_core::x509::{Certificate, CertificateError, Chain, CodeSigning, FileError};
use hardsign_test_support::asn1::{self, attribute, oid, rdn, sequence, tlv};
use hardsign_test_support::{Builder, Key, Pki, Told};

fn parse(der: &[u8]) -> Certificate {
    Certificate::from_der(der).unwrap()
}

fn leaf() -> Builder {
    Builder::leaf("Leaf", Key::P384.spki)
}

/// X509-21: PEM and DER, one or several, with text around.
#[test]
fn x509_21_certificate_files() {
    let pki = Pki::new();
    let (a, b) = (&pki.ca.der, &pki.root.der);
    let both = vec![parse(a), parse(b)];
    assert_eq!(
        Certificate::parse_file(&[a.clone(), b.clone()].concat()).unwrap(),
        both
    );
    let pem = |label: &str, der: &[u8]| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            lines.join("\n")
        )
    };
    let file = format!(
        "subject=x\n{}issuer=y\n{}garbage\n",
        pem("CERTIFICATE", a),
        pem("X509 CERTIFICATE", b)
    );
    assert_eq!(Certificate::parse_file(file.as_bytes()).unwrap(), both);
    let windows = file.replace('\n', "\r\n");
    assert_eq!(Certificate::parse_file(windows.as_bytes()).unwrap(), both);
    assert_eq!(Certificate::parse_file(b"").unwrap(), []);

    // X509-22: other labels; a private key is named as one.
    for label in ["PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        let file = [pem("CERTIFICATE", a), pem(label, b)].concat();
        let error = Certificate::parse_file(file.as_bytes()).unwrap_err();
        assert!(matches!(error, FileError::PrivateKey { .. }));
        assert!(error.told().contains("private key"), "{error}");
    }
    let error = Certificate::parse_file(pem("PUBLIC KEY", a).as_bytes()).unwrap_err();
    assert!(matches!(error, FileError::UnexpectedLabel { .. }));

    // X509-23: the text for what does not parse.
    for bad in [
        b"not a certificate".to_vec(),
        a[..a.len() - 1].to_vec(),
        [a.as_slice(), b"\0"].concat(),
        pem("CERTIFICATE", b"x").into_bytes(),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n".to_vec(),
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n".to_vec(),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END X-----\n".to_vec(),
    ] {
        let error = Certificate::parse_file(&bad).unwrap_err().told();
        assert!(error.starts_with("x509: malformed certificate"), "{error}");
    }
    let huge = vec![0; 5 * 1024 * 1024];
    assert!(matches!(
        Certificate::parse_file(&huge),
        Err(FileError::TooLarge { .. })
    ));
}

/// X509-24: SHA-256 over the DER, lower-case hex.
#[test]
fn x509_24_thumbprint() {
    let der = Pki::new().root.der;
    let expected = hex::encode(hardsign_core::crypto::sha256(&der));
    assert_eq!(parse(&der).thumbprint_hex(), expected);
}

fn shown(name: Vec<u8>) -> String {
    let issued = leaf().named(name).self_signed(&Key::P384);
    parse(&issued.der).subject().to_string()
}

fn named(attributes: &[(&str, &str)]) -> Vec<u8> {
    let attributes: Vec<_> = attributes.iter().map(|(t, v)| (attribute(t), *v)).collect();
    asn1::name(&attributes)
}

/// X509-25: one order, whatever the certificate has.
#[test]
fn x509_25_order_of_names() {
    let all = [
        ("C", "US"),
        ("O", "Notary"),
        ("POSTALCODE", "98101"),
        ("CN", "e2e"),
        ("L", "Seattle"),
        ("OU", "Dev"),
        ("STREET", "1st"),
        ("SERIALNUMBER", "7"),
        ("ST", "WA"),
    ];
    assert_eq!(
        shown(named(&all)),
        "SERIALNUMBER=7,CN=e2e,OU=Dev,O=Notary,POSTALCODE=98101,STREET=1st,L=Seattle,ST=WA,C=US"
    );
    assert_eq!(shown(named(&[])), "");
}

/// X509-26: repeated values, the last CN and SERIALNUMBER, types without a name.
#[test]
fn x509_26_repeated_and_unknown_types() {
    assert_eq!(
        shown(named(&[("OU", "a"), ("CN", "x"), ("OU", "b"), ("CN", "y")])),
        "CN=y,OU=a+OU=b"
    );
    assert_eq!(shown(named(&[("CN", "x"), ("CN", "")])), "");
    let with_mail = tlv(
        0x30,
        &[
            rdn(&[(attribute("EMAIL"), 0x16, b"a@b")]),
            rdn(&[(attribute("C"), 0x13, b"US")]),
            rdn(&[(attribute("DC"), 0x16, b"com")]),
        ]
        .concat(),
    );
    // IA5String that PrintableString can hold is shown as such, else as UTF8String.
    assert_eq!(
        shown(with_mail),
        "C=US,0.9.2342.19200300.100.1.25=#1303636f6d,1.2.840.113549.1.9.1=#0c03614062"
    );
    let multi_valued = tlv(
        0x30,
        &rdn(&[(attribute("C"), 0x13, b"US"), (attribute("O"), 0x0c, b"x")]),
    );
    assert_eq!(shown(multi_valued), "O=x,C=US");
}

/// X509-27: escapes.
#[test]
fn x509_27_escapes() {
    for (value, text) in [
        (",+\"\\<>;", "CN=\\,\\+\\\"\\\\\\<\\>\\;"),
        ("#a#", "CN=\\#a#"),
        (" a b ", "CN=\\ a b\\ "),
        (" ", "CN=\\ "),
        ("  ", "CN=\\ \\ "),
        ("é=", "CN=é="),
    ] {
        assert_eq!(shown(named(&[("CN", value)])), text);
    }
}

/// The string types of names, and what is none.
#[test]
fn string_types_of_names() {
    let one = |tag: u8, value: &[u8]| {
        let name = tlv(0x30, &rdn(&[(attribute("CN"), tag, value)]));
        let issued = leaf().named(name).self_signed(&Key::P384);
        Certificate::from_der(&issued.der).map(|c| c.subject().to_string())
    };
    assert_eq!(one(0x14, b"\xe9").unwrap(), "CN=é");
    assert_eq!(one(0x1e, b"\0A\0\xe9").unwrap(), "CN=Aé");
    assert_eq!(one(0x1e, b"\0A\0\0").unwrap(), "CN=A");
    assert_eq!(one(0x12, b"1 2").unwrap(), "CN=1 2");
    assert_eq!(one(0x13, b"a*&b").unwrap(), "CN=a*&b");
    for (tag, bad) in [
        (0x13, &b"a@b"[..]),
        (0x16, b"\xe9"),
        (0x0c, b"\xff"),
        (0x12, b"1a"),
        (0x1e, b"\0"),
        (0x1e, b"\xd8\0"),
        (0x1e, b"\xff\xff"),
        (0x04, b"octets"),
        (0x02, b"\x01"),
    ] {
        assert!(one(tag, bad).is_err(), "{tag:x} {bad:?}");
    }
}

/// What DER and RFC 5280 forbid.
#[test]
fn malformed_certificates() {
    let der = Pki::new().root.der;
    assert!(Certificate::from_der(&[der.as_slice(), &[0]].concat()).is_err());
    for length in 0..der.len() {
        assert!(Certificate::from_der(&der[..length]).is_err());
    }
    let bad: [fn(&mut Builder); 8] = [
        |b| b.version = 3,
        |b| b.version = 1,
        |b| b.serial = tlv(4, b"x"),
        |b| b.outer_algorithm = Some(sequence(&[&oid("1.2.840.10045.4.3.2")])),
        |b| b.extensions.push(b.extensions[0].clone()),
        |b| b.extensions[0].2 = vec![0x03, 0x01],
        |b| b.extensions[1].2 = sequence(&[]),
        |b| {
            b.extensions
                .push(("2.5.29.31".to_owned(), false, b"\x30\x05".to_vec()))
        },
    ];
    for (i, change) in bad.into_iter().enumerate() {
        let issued = leaf().change(change).self_signed(&Key::P384);
        let error = Certificate::from_der(&issued.der).unwrap_err();
        assert!(
            matches!(error, CertificateError::Malformed { .. }),
            "change {i}"
        );
    }
    let padded = leaf()
        .with("1.2.3", false, vec![0; 70_000])
        .self_signed(&Key::P384);
    assert!(matches!(
        Certificate::from_der(&padded.der),
        Err(CertificateError::TooLarge { .. })
    ));
}

/// Times up to the end of the year 9999, which RFC 5280 uses for "no expiration".
#[test]
fn times_of_every_century() {
    let valid = |from: &str, to: &str| {
        let certificate = parse(&leaf().valid(from, to).self_signed(&Key::P384).der);
        (
            certificate.not_before().to_string(),
            certificate.not_after().to_string(),
        )
    };
    let (from, to) = ("1969-12-31T23:59:59Z", "2050-01-01T00:00:00Z");
    assert_eq!(valid(from, to), (from.to_owned(), to.to_owned()));
    let forever = leaf().change(|b| b.not_after = jiff::Timestamp::MAX);
    let certificate = parse(&forever.self_signed(&Key::P384).der);
    assert_eq!(certificate.not_after(), jiff::Timestamp::MAX);
    // It is shown as it stands there.
    assert_eq!(
        certificate.not_after_utc().to_string(),
        "9999-12-31T23:59:59"
    );
    let read = hardsign_plugin::chain::Certificate::from_der(certificate.der()).unwrap();
    assert_eq!(read.not_after().to_string(), "9999-12-31T23:59:59Z");
    let chain = Chain::<CodeSigning>::prove(vec![certificate]).unwrap();
    let early = "1960-01-01T00:00:00Z".parse().unwrap();
    let error = chain.check_validity_at(early).unwrap_err().told();
    assert!(
        error.ends_with("to [9999-12-31 23:59:59 +0000 UTC]"),
        "{error}"
    );
}

#[test]
fn addresses_are_read() {
    let leaf = leaf()
        .ocsp("http://ocsp.test/")
        .crl("http://crl.test/ca.crl");
    let certificate = parse(&leaf.self_signed(&Key::P384).der);
    assert_eq!(certificate.ocsp_urls(), ["http://ocsp.test/"]);
    assert_eq!(certificate.crl_urls(), ["http://crl.test/ca.crl"]);
    let bare = parse(&self::leaf().self_signed(&Key::P384).der);
    assert!(bare.ocsp_urls().is_empty() && bare.crl_urls().is_empty());
}
