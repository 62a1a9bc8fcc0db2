//! Certificates and chains.

use hardsign_core::algorithm::{HashAlgorithm, KeySpec};
use hardsign_core::x509::{
    Certificate, CertificateError, Chain, ChainError, CodeSigning, FileError, NotIssued,
    Timestamping,
};
use hardsign_test_support::asn1::{self, attribute, named_bits, oid, rdn, sequence, tlv};
use hardsign_test_support::certificate::{
    BASIC_CONSTRAINTS, CERT_AND_CRL_SIGN, CODE_SIGNING, DIGITAL_SIGNATURE, EXT_KEY_USAGE,
    KEY_USAGE, TIME_STAMPING, basic_constraints, purposes, subject,
};
use hardsign_test_support::key::{REFUSED_SPKI, X509Scheme};
use hardsign_test_support::{Builder, Issued, Key, Pki};

fn parse(der: &[u8]) -> Certificate {
    Certificate::from_der(der).unwrap()
}

fn prove(ders: &[&Issued]) -> Result<Chain<CodeSigning>, ChainError> {
    Chain::prove(ders.iter().map(|issued| parse(&issued.der)).collect())
}

fn prove_timestamping(ders: &[&Issued]) -> Result<Chain<Timestamping>, ChainError> {
    Chain::prove(ders.iter().map(|issued| parse(&issued.der)).collect())
}

fn leaf() -> Builder {
    Builder::leaf("Leaf", Key::P384.spki)
}

/// The verdict on a leaf under a good CA.
fn with_leaf(leaf: Builder) -> Result<Chain<CodeSigning>, ChainError> {
    let pki = Pki::new();
    let leaf = pki.issue(leaf, &Key::P384);
    prove(&[&leaf, &pki.ca, &pki.root])
}

/// The verdict on an intermediate between a good leaf and a good root.
fn with_ca(ca: Builder) -> Result<Chain<CodeSigning>, ChainError> {
    let pki = Pki::new();
    let ca = ca.issue(&pki.root, &Key::P256_B);
    let leaf = leaf().issue(&ca, &Key::P384);
    prove(&[&leaf, &ca, &pki.root])
}

fn ca() -> Builder {
    Builder::ca("CA", &Key::P256_B)
}

/// X509-02: leaf, CA, root; every kind of leaf key; every signature scheme.
#[test]
fn x509_02_good_chains() {
    let pki = Pki::new();
    for spec in KeySpec::ALL {
        let leaf = pki.signer(spec);
        let chain = prove(&[&leaf, &pki.ca, &pki.root]).unwrap();
        assert_eq!(chain.leaf().key_spec(), Some(spec));
        assert_eq!(chain.root().der(), pki.root.der);
        assert_eq!(chain.certificates().len(), 3);
    }
    for (key, scheme) in [
        (Key::RSA_2048, X509Scheme::Usual),
        (Key::RSA_3072, X509Scheme::Pss(HashAlgorithm::Sha384)),
        (Key::P384_B, X509Scheme::Usual),
        (Key::P521, X509Scheme::Usual),
        // X509-16: Ed25519 CAs stay accepted.
        (Key::ED25519, X509Scheme::Usual),
    ] {
        let root = Builder::ca("Root", &key).change(|b| b.scheme = scheme);
        let root = root.self_signed(&key);
        let leaf = leaf()
            .change(|b| b.scheme = scheme)
            .issue(&root, &Key::P384);
        prove(&[&leaf, &root]).unwrap();
    }
}

/// X509-02: the wrong order, a gap, an unrelated or a repeated certificate.
#[test]
fn x509_02_order_and_issuance() {
    let pki = Pki::new();
    let leaf = pki.signer(KeySpec::Ec384);
    let stranger = Builder::ca("Stranger", &Key::P384_B).self_signed(&Key::P384_B);
    for wrong in [
        vec![&leaf, &pki.root, &pki.ca],
        vec![&pki.root, &pki.ca, &leaf],
        vec![&leaf, &pki.root],
        vec![&leaf, &pki.ca, &pki.ca, &pki.root],
        vec![&leaf, &leaf, &pki.ca, &pki.root],
        vec![&leaf, &stranger],
        vec![&leaf, &pki.ca, &pki.root, &stranger],
        vec![&leaf, &pki.ca, &stranger, &pki.root],
    ] {
        assert!(prove(&wrong).is_err());
    }
    assert_eq!(prove(&[]), Err(ChainError::Empty));

    // The right name with another key, and the right key with another name.
    let impostor = Builder::ca("Issuing CA", &Key::P384_B).issue(&pki.root, &Key::P384_B);
    assert!(matches!(
        prove(&[&leaf, &impostor, &pki.root]),
        Err(ChainError::NotIssuedByNext {
            source: NotIssued::Signature(_),
            ..
        })
    ));
    let renamed = Builder::ca("Issuing CA 2", &Key::P256_B).issue(&pki.root, &Key::P256_B);
    assert!(matches!(
        prove(&[&leaf, &renamed, &pki.root]),
        Err(ChainError::NotIssuedByNext {
            source: NotIssued::Name { .. },
            ..
        })
    ));
    let bad = pki.issue(self::leaf().change(|b| b.bad_signature = true), &Key::P384);
    assert!(prove(&[&bad, &pki.ca, &pki.root]).is_err());
}

/// X509-29: names compare byte for byte: another string type or another case is another name.
#[test]
fn x509_29_names_are_not_folded() {
    let pki = Pki::new();
    let name = |cn: &str, tag: u8| {
        tlv(
            0x30,
            &[
                rdn(&[(attribute("C"), 0x0c, b"US")]),
                rdn(&[(attribute("ST"), 0x0c, b"WA")]),
                rdn(&[(attribute("O"), 0x0c, b"Hardsign Tests")]),
                rdn(&[(attribute("CN"), tag, cn.as_bytes())]),
            ]
            .concat(),
        )
    };
    for (issuer, good) in [
        (name("Issuing CA", 0x0c), true),
        (name("Issuing CA", 0x13), false),
        (name("issuing ca", 0x0c), false),
        (name("Issuing  CA", 0x0c), false),
    ] {
        let leaf = pki.issue(leaf().change(|b| b.issuer = Some(issuer)), &Key::P384);
        assert_eq!(prove(&[&leaf, &pki.ca, &pki.root]).is_ok(), good);
    }
}

/// X509-03: the last is self-signed, no other is.
#[test]
fn x509_03_root_is_self_signed() {
    let pki = Pki::new();
    let leaf = pki.signer(KeySpec::Ec384);
    assert!(matches!(
        prove(&[&leaf, &pki.ca]),
        Err(ChainError::RootNotSelfSigned { .. })
    ));
    assert!(matches!(
        prove(&[&leaf, &pki.ca, &pki.root, &pki.root]),
        Err(ChainError::UnexpectedSelfSigned { .. })
    ));
    let lonely = self::leaf().self_signed(&Key::P384);
    assert!(matches!(
        prove(&[&lonely, &pki.root]),
        Err(ChainError::UnexpectedSelfSigned { .. })
    ));
    // Self-issued but signed with another key is not self-signed.
    let fake = ca()
        .named(pki.root.subject.clone())
        .issue(&pki.root, &Key::P256_B);
    let below = self::leaf().issue(&fake, &Key::P384);
    assert!(matches!(
        prove(&[&below, &fake]),
        Err(ChainError::RootNotSelfSigned { .. })
    ));
}

/// X509-04: a chain of one.
#[test]
fn x509_04_single_certificate() {
    assert!(prove(&[&leaf().self_signed(&Key::P384)]).is_ok());
    let pki = Pki::new();
    let issued = pki.signer(KeySpec::Ec384);
    assert!(matches!(
        prove(&[&issued]),
        Err(ChainError::SingleNotSelfSigned { .. })
    ));
    assert!(matches!(
        prove(&[&pki.root]),
        Err(ChainError::LeafIsCa { .. })
    ));
    let renamed = leaf()
        .change(|b| b.issuer = Some(subject("Other")))
        .self_signed(&Key::P384);
    assert!(matches!(
        prove(&[&renamed]),
        Err(ChainError::SingleNotSelfSigned { .. })
    ));
    let bad = leaf()
        .change(|b| b.bad_signature = true)
        .self_signed(&Key::P384);
    assert!(matches!(
        prove(&[&bad]),
        Err(ChainError::SingleNotSelfSigned { .. })
    ));
}

/// X509-05, DIF-05: basicConstraints of a CA.
#[test]
fn x509_05_ca_basic_constraints() {
    assert!(with_ca(ca()).is_ok());
    for bad in [
        ca().without(BASIC_CONSTRAINTS),
        ca().with(BASIC_CONSTRAINTS, true, basic_constraints(false, None)),
        ca().with(BASIC_CONSTRAINTS, false, basic_constraints(true, None)),
    ] {
        assert!(matches!(with_ca(bad), Err(ChainError::NotCa { .. })));
    }
}

/// X509-06: pathLenConstraint counts the CAs below, self-issued ones included.
#[test]
fn x509_06_path_length() {
    let chain_of = |root_len, upper_len, lower_len| {
        let bc = |len| basic_constraints(true, len);
        let root = Builder::ca("Root", &Key::P256).with(BASIC_CONSTRAINTS, true, bc(root_len));
        let root = root.self_signed(&Key::P256);
        let upper = Builder::ca("CA", &Key::P256_B).with(BASIC_CONSTRAINTS, true, bc(upper_len));
        let upper = upper.issue(&root, &Key::P256_B);
        // Self-issued: same name, another key.
        let lower = Builder::ca("CA", &Key::P384_B).with(BASIC_CONSTRAINTS, true, bc(lower_len));
        let lower = lower.issue(&upper, &Key::P384_B);
        let leaf = leaf().issue(&lower, &Key::P384);
        prove(&[&leaf, &lower, &upper, &root])
    };
    assert!(chain_of(None, None, None).is_ok());
    assert!(chain_of(Some(2), Some(1), Some(0)).is_ok());
    assert!(chain_of(Some(300), Some(70_000), Some(0)).is_ok());
    for bad in [chain_of(Some(1), None, None), chain_of(None, Some(0), None)] {
        assert!(matches!(bad, Err(ChainError::PathTooLong { .. })));
    }
}

/// X509-07: keyUsage of a CA.
#[test]
fn x509_07_ca_key_usage() {
    assert!(matches!(
        with_ca(ca().without(KEY_USAGE)),
        Err(ChainError::KeyUsageAbsent { .. })
    ));
    let crl_only = ca().with(KEY_USAGE, true, named_bits(1 << 6));
    assert!(matches!(
        with_ca(crl_only),
        Err(ChainError::KeyUsageMissing { .. })
    ));
    let not_critical = || ca().with(KEY_USAGE, false, named_bits(CERT_AND_CRL_SIGN));
    assert!(matches!(
        with_ca(not_critical()),
        Err(ChainError::KeyUsageNotCritical { .. })
    ));

    let pki = Pki::new();
    let ca = not_critical().issue(&pki.root, &Key::P256_B);
    let tsa = Builder::timestamping_leaf("TSA", Key::P384.spki)
        .with(KEY_USAGE, false, named_bits(DIGITAL_SIGNATURE))
        .issue(&ca, &Key::P384);
    assert!(prove_timestamping(&[&tsa, &ca, &pki.root]).is_ok());
}

/// X509-08: a leaf is no CA.
#[test]
fn x509_08_leaf_is_no_ca() {
    let not_ca = leaf().with(BASIC_CONSTRAINTS, true, basic_constraints(false, None));
    assert!(with_leaf(not_ca).is_ok());
    let explicit_false = leaf().with(BASIC_CONSTRAINTS, true, sequence(&[&tlv(1, &[0])]));
    assert!(with_leaf(explicit_false).is_ok());
    let is_ca = leaf().with(BASIC_CONSTRAINTS, true, basic_constraints(true, None));
    assert!(matches!(with_leaf(is_ca), Err(ChainError::LeafIsCa { .. })));
}

/// X509-09: keyUsage of a leaf.
#[test]
fn x509_09_leaf_key_usage() {
    let usage = |critical, bits| leaf().with(KEY_USAGE, critical, named_bits(bits));
    assert!(with_leaf(usage(true, 1)).is_ok());
    // nonRepudiation is allowed.
    assert!(with_leaf(usage(true, 1 | 1 << 1)).is_ok());
    assert!(matches!(
        with_leaf(usage(false, 1)),
        Err(ChainError::KeyUsageNotCritical { .. })
    ));
    assert!(matches!(
        with_leaf(leaf().without(KEY_USAGE)),
        Err(ChainError::KeyUsageAbsent { .. })
    ));
    for bits in [0, 1 << 1] {
        assert!(matches!(
            with_leaf(usage(true, bits)),
            Err(ChainError::KeyUsageMissing { .. })
        ));
    }
    for bit in 2..=8 {
        let verdict = with_leaf(usage(true, 1 | 1 << bit));
        assert!(
            matches!(verdict, Err(ChainError::KeyUsageForbidden { .. })),
            "bit {bit}"
        );
    }
}

/// X509-10, X509-11, X509-12, DIF-03, DIF-17: extKeyUsage of a code-signing leaf.
#[test]
fn x509_10_leaf_purposes() {
    let with = |list: &[&str]| with_leaf(leaf().with(EXT_KEY_USAGE, true, purposes(list)));
    assert!(with_leaf(leaf().without(EXT_KEY_USAGE)).is_ok());
    assert!(with(&[CODE_SIGNING]).is_ok());
    // X509-12: unknown purposes alone.
    assert!(with(&["1.3.6.1.4.1.311.10.3.13"]).is_ok());
    for excluded in [
        "2.5.29.37.0",
        "1.3.6.1.5.5.7.3.1",
        "1.3.6.1.5.5.7.3.2",
        "1.3.6.1.5.5.7.3.4",
        TIME_STAMPING,
        "1.3.6.1.5.5.7.3.9",
    ] {
        let verdict = with(&[CODE_SIGNING, excluded]);
        assert!(
            matches!(verdict, Err(ChainError::PurposeForbidden { .. })),
            "{excluded}"
        );
    }
}

/// X509-13: extKeyUsage of a timestamping leaf.
#[test]
fn x509_13_timestamping_purpose() {
    let pki = Pki::new();
    let verdict = |leaf: Builder| {
        let leaf = pki.issue(leaf, &Key::P384);
        prove_timestamping(&[&leaf, &pki.ca, &pki.root])
    };
    let tsa = || Builder::timestamping_leaf("TSA", Key::P384.spki);
    assert!(verdict(tsa()).is_ok());
    let error = verdict(tsa().without(EXT_KEY_USAGE))
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("must have and only have Timestamping as extended key usage"),
        "{error}"
    );
    for list in [
        vec![CODE_SIGNING],
        vec![TIME_STAMPING, CODE_SIGNING],
        vec![TIME_STAMPING, "1.2.3.4"],
        vec![TIME_STAMPING, TIME_STAMPING],
    ] {
        let error = verdict(tsa().with(EXT_KEY_USAGE, true, purposes(&list))).unwrap_err();
        assert!(
            matches!(error, ChainError::PurposeNotExact { .. }),
            "{list:?}"
        );
    }
    let not_critical = tsa().with(EXT_KEY_USAGE, false, purposes(&[TIME_STAMPING]));
    assert!(matches!(
        verdict(not_critical),
        Err(ChainError::PurposeNotCritical { .. })
    ));
    // A code-signing chain is no timestamping chain, and the other way round.
    assert!(verdict(leaf()).is_err());
    assert!(with_leaf(tsa()).is_err());
}

/// X509-14, DIF-18: the leaf's key, in both profiles.
#[test]
fn x509_14_leaf_key() {
    let pki = Pki::new();
    let keys = REFUSED_SPKI
        .into_iter()
        .chain([("ed25519", Key::ED25519.spki)]);
    for (name, spki) in keys {
        let leaf = pki.issue(Builder::leaf("Leaf", spki), &Key::P384);
        let verdict = prove(&[&leaf, &pki.ca, &pki.root]);
        assert!(matches!(verdict, Err(ChainError::LeafKey { .. })), "{name}");
        let tsa = pki.issue(Builder::timestamping_leaf("TSA", spki), &Key::P384);
        let verdict = prove_timestamping(&[&tsa, &pki.ca, &pki.root]);
        assert!(matches!(verdict, Err(ChainError::LeafKey { .. })), "{name}");
    }
}

/// X509-15, DIF-04: SHA-1 and MD5 are refused wherever they stand, a self-signed single included.
#[test]
fn x509_15_sha1_is_refused() {
    let sha1 = sequence(&[&oid("1.2.840.113549.1.1.5"), &tlv(5, &[])]);
    let single = Builder::leaf("Leaf", Key::RSA_2048.spki)
        .change(|b| b.algorithm = Some(sha1))
        .self_signed(&Key::RSA_2048);
    let error = prove(&[&single]).unwrap_err().to_string();
    assert!(error.contains("insecure signature algorithm"), "{error}");
}

/// X509-17: other extensions are ignored, critical, unknown and name constraints included.
#[test]
fn x509_17_other_extensions_are_ignored() {
    let constraints = sequence(&[&tlv(0xa1, &sequence(&[&tlv(0x82, b"example.com")]))]);
    assert!(with_ca(ca().with("2.5.29.30", true, constraints)).is_ok());
    assert!(with_leaf(leaf().with("1.2.3.4.5", true, tlv(4, b"x"))).is_ok());
    let policies = sequence(&[&sequence(&[&oid("1.2.3")])]);
    assert!(with_leaf(leaf().with("2.5.29.32", true, policies)).is_ok());
}

/// X509-18, X509-20: proving looks at no clock; validity need not nest.
#[test]
fn x509_18_validity_is_not_nested() {
    let long = leaf().valid("2001-01-01T00:00:00Z", "2090-01-01T00:00:00Z");
    assert!(with_leaf(long).is_ok());
    let over = leaf().valid("2001-01-01T00:00:00Z", "2002-01-01T00:00:00Z");
    assert!(with_leaf(over).is_ok());
}

/// X509-19: bounds are inclusive; the text is the reference's.
#[test]
fn x509_19_validity_at_signing_time() {
    let chain = with_leaf(leaf().valid("2026-01-01T00:00:00Z", "2026-12-31T23:59:59Z")).unwrap();
    for (time, good) in [
        ("2025-12-31T23:59:59Z", false),
        ("2026-01-01T00:00:00Z", true),
        ("2026-12-31T23:59:59Z", true),
        ("2026-12-31T23:59:59.5Z", false),
        ("2027-01-01T00:00:00Z", false),
        // The leaf is judged, and so is everyone above it.
        ("2019-12-31T23:59:59Z", false),
    ] {
        assert_eq!(
            chain.check_validity_at(time.parse().unwrap()).is_ok(),
            good,
            "{time}"
        );
    }
    let error = chain.check_validity_at("2027-02-03T04:05:06Z".parse().unwrap());
    assert_eq!(
        error.unwrap_err().to_string(),
        "certificate with subject \"CN=Leaf,O=Hardsign Tests,ST=WA,C=US\" was invalid at signing time of 2027-02-03 04:05:06 +0000 UTC. Certificate is valid from [2026-01-01 00:00:00 +0000 UTC] to [2026-12-31 23:59:59 +0000 UTC]"
    );
    let outliving =
        with_leaf(leaf().valid("2020-01-01T00:00:00Z", "2090-01-01T00:00:00Z")).unwrap();
    let error = outliving.check_validity_at("2060-01-01T00:00:00Z".parse().unwrap());
    assert!(error.unwrap_err().to_string().contains("Issuing CA"));
}

/// ENV-42: a chain longer than anyone needs.
#[test]
fn env_42_chain_length() {
    let pki = Pki::new();
    let root = parse(&pki.root.der);
    let verdict = Chain::<CodeSigning>::prove(vec![root; 17]);
    assert_eq!(verdict, Err(ChainError::TooLong { length: 17 }));
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
        assert!(error.to_string().contains("private key"), "{error}");
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
        let error = Certificate::parse_file(&bad).unwrap_err().to_string();
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
    let mut forever = leaf().self_signed(&Key::P384).der;
    let at = forever
        .windows(13)
        .rposition(|w| w == b"491231235959Z")
        .unwrap();
    forever.splice(at - 2..at + 13, tlv(0x18, b"99991231235959Z"));
    // Lengths of validity, tbs and the whole grow by two.
    let certificate = Certificate::from_der(&regrown(&forever)).unwrap();
    assert_eq!(certificate.not_after(), jiff::Timestamp::MAX);
}

/// Mends the lengths of the three sequences around a validity that grew by two bytes.
fn regrown(der: &[u8]) -> Vec<u8> {
    let mut der = der.to_vec();
    let validity = der
        .windows(4)
        .position(|w| w == [0x30, 0x1e, 0x17, 0x0d])
        .unwrap();
    der[validity + 1] += 2;
    for at in [2, 6] {
        let length = u16::from_be_bytes([der[at], der[at + 1]]) + 2;
        der[at..at + 2].copy_from_slice(&length.to_be_bytes());
    }
    der
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
