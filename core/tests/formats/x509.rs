//! Certificates and chains.

use hardsign_core::algorithm::{HashAlgorithm, KeySpec};
use hardsign_core::x509::{
    Certificate, Chain, ChainError, CodeSigning, NotIssued, RuleError, Timestamping,
};
use hardsign_test_support::asn1::{attribute, named_bits, oid, rdn, sequence, tlv};
use hardsign_test_support::certificate::{
    BASIC_CONSTRAINTS, CERT_AND_CRL_SIGN, CODE_SIGNING, DIGITAL_SIGNATURE, EXT_KEY_USAGE,
    KEY_USAGE, TIME_STAMPING, basic_constraints, purposes, subject,
};
use hardsign_test_support::key::{REFUSED_SPKI, X509Scheme};
use hardsign_test_support::{Builder, Issued, Key, Pki, Told};

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

/// ENV-28, X509-02: leaf, CA, root; every kind of leaf key; every signature scheme.
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
        Err(ChainError::Rule {
            rule: RuleError::LeafIsCa,
            ..
        })
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
        assert!(matches!(
            with_ca(bad),
            Err(ChainError::Rule {
                rule: RuleError::NotCa,
                ..
            })
        ));
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
        assert!(matches!(
            bad,
            Err(ChainError::Rule {
                rule: RuleError::PathTooLong { .. },
                ..
            })
        ));
    }
}

/// X509-07: keyUsage of a CA.
#[test]
fn x509_07_ca_key_usage() {
    assert!(matches!(
        with_ca(ca().without(KEY_USAGE)),
        Err(ChainError::Rule {
            rule: RuleError::KeyUsageAbsent,
            ..
        })
    ));
    let crl_only = ca().with(KEY_USAGE, true, named_bits(1 << 6));
    assert!(matches!(
        with_ca(crl_only),
        Err(ChainError::Rule {
            rule: RuleError::KeyUsageMissing { .. },
            ..
        })
    ));
    let not_critical = || ca().with(KEY_USAGE, false, named_bits(CERT_AND_CRL_SIGN));
    assert!(matches!(
        with_ca(not_critical()),
        Err(ChainError::Rule {
            rule: RuleError::KeyUsageNotCritical,
            ..
        })
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
    assert!(matches!(
        with_leaf(is_ca),
        Err(ChainError::Rule {
            rule: RuleError::LeafIsCa,
            ..
        })
    ));
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
        Err(ChainError::Rule {
            rule: RuleError::KeyUsageNotCritical,
            ..
        })
    ));
    assert!(matches!(
        with_leaf(leaf().without(KEY_USAGE)),
        Err(ChainError::Rule {
            rule: RuleError::KeyUsageAbsent,
            ..
        })
    ));
    for bits in [0, 1 << 1] {
        assert!(matches!(
            with_leaf(usage(true, bits)),
            Err(ChainError::Rule {
                rule: RuleError::KeyUsageMissing { .. },
                ..
            })
        ));
    }
    for bit in 2..=8 {
        let verdict = with_leaf(usage(true, 1 | 1 << bit));
        assert!(
            matches!(
                verdict,
                Err(ChainError::Rule {
                    rule: RuleError::KeyUsageForbidden { .. },
                    ..
                })
            ),
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
            matches!(
                verdict,
                Err(ChainError::Rule {
                    rule: RuleError::PurposeForbidden { .. },
                    ..
                })
            ),
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
    let error = verdict(tsa().without(EXT_KEY_USAGE)).unwrap_err().told();
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
            matches!(
                error,
                ChainError::Rule {
                    rule: RuleError::PurposeNotExact { .. },
                    ..
                }
            ),
            "{list:?}"
        );
    }
    let not_critical = tsa().with(EXT_KEY_USAGE, false, purposes(&[TIME_STAMPING]));
    assert!(matches!(
        verdict(not_critical),
        Err(ChainError::Rule {
            rule: RuleError::PurposeNotCritical,
            ..
        })
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
        assert!(
            matches!(
                verdict,
                Err(ChainError::Rule {
                    rule: RuleError::LeafKey { .. },
                    ..
                })
            ),
            "{name}"
        );
        let tsa = pki.issue(Builder::timestamping_leaf("TSA", spki), &Key::P384);
        let verdict = prove_timestamping(&[&tsa, &pki.ca, &pki.root]);
        assert!(
            matches!(
                verdict,
                Err(ChainError::Rule {
                    rule: RuleError::LeafKey { .. },
                    ..
                })
            ),
            "{name}"
        );
    }
}

/// X509-15, DIF-04: SHA-1 and MD5 are refused wherever they stand, a self-signed single included.
#[test]
fn x509_15_sha1_is_refused() {
    let sha1 = sequence(&[&oid("1.2.840.113549.1.1.5"), &tlv(5, &[])]);
    let single = Builder::leaf("Leaf", Key::RSA_2048.spki)
        .change(|b| b.algorithm = Some(sha1))
        .self_signed(&Key::RSA_2048);
    let error = prove(&[&single]).unwrap_err().told();
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
        error.unwrap_err().told(),
        "certificate with subject \"CN=Leaf,O=Hardsign Tests,ST=WA,C=US\" was invalid at signing time of 2027-02-03 04:05:06 +0000 UTC. Certificate is valid from [2026-01-01 00:00:00 +0000 UTC] to [2026-12-31 23:59:59 +0000 UTC]"
    );
    let outliving =
        with_leaf(leaf().valid("2020-01-01T00:00:00Z", "2090-01-01T00:00:00Z")).unwrap();
    let error = outliving.check_validity_at("2060-01-01T00:00:00Z".parse().unwrap());
    assert!(error.unwrap_err().told().contains("Issuing CA"));
}

/// ENV-42: a chain longer than anyone needs.
#[test]
fn env_42_chain_length() {
    let pki = Pki::new();
    let root = parse(&pki.root.der);
    let verdict = Chain::<CodeSigning>::prove(vec![root; 17]);
    assert_eq!(verdict, Err(ChainError::TooLong { length: 17 }));
}
