//! Choosing the certificate of a key: what plugins do with the loose certificates of a token, by
//! the rules by which the host proves a chain.

use std::time::{Duration, SystemTime};

use hardsign_core::x509::{Certificate, Chain, CodeSigning};
use hardsign_plugin::chain::{self, ChainError, Choice, PublicKey, RuleError, WhyNot, choose};
use hardsign_test_support::asn1::{integer, named_bits, oid, sequence, tlv};
use hardsign_test_support::certificate::{
    BASIC_CONSTRAINTS, CODE_SIGNING, EXT_KEY_USAGE, KEY_USAGE, TIME_STAMPING, basic_constraints,
    now, purposes, subject,
};
use hardsign_test_support::key::REFUSED_SPKI;
use hardsign_test_support::{Builder, Issued, Key, Pki, Told};

fn clock() -> SystemTime {
    let seconds = u64::try_from(now().as_second()).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn key() -> PublicKey {
    PublicKey::from_spki_der(Key::P384.spki).unwrap()
}

fn leaf() -> Builder {
    Builder::leaf("Leaf", Key::P384.spki)
}

fn ders(certificates: &[&Issued]) -> Vec<Vec<u8>> {
    certificates.iter().map(|c| c.der.clone()).collect()
}

fn is_rule(why: &WhyNot, text: &str) -> bool {
    match why {
        WhyNot::Rule(rule) => rule.to_string().contains(text),
        _ => false,
    }
}

/// What is said of a certificate that is not taken.
type Expected = Box<dyn Fn(&WhyNot) -> bool>;

fn chosen(certificates: &[&Issued]) -> Choice {
    choose(&key(), &ders(certificates), clock()).unwrap()
}

/// What would be signed with can be verified.
fn assert_proven(choice: &Choice) {
    let chain = choice
        .chain
        .iter()
        .map(|der| Certificate::from_der(der).unwrap());
    Chain::<CodeSigning>::prove(chain.collect())
        .unwrap()
        .check_validity_at(now())
        .unwrap();
}

/// Of several certificates for one key the one that can sign is taken, in whatever order they
/// come and however new the others are; each of those says why not.
#[test]
fn x509_08_only_a_certificate_that_can_sign_is_taken() {
    let pki = Pki::new();
    let good = leaf()
        .valid("2021-01-01T00:00:00Z", "2040-01-01T00:00:00Z")
        .issue(&pki.ca, &Key::P384);
    let newer = || leaf().valid("2025-01-01T00:00:00Z", "2041-01-01T00:00:00Z");
    let stranger = Builder::ca("PIV Attestation", &Key::P256_B).self_signed(&Key::P256_B);
    let tls = |list: &[&str]| newer().with(EXT_KEY_USAGE, false, purposes(list));
    let others: Vec<(Builder, Expected)> = vec![
        (
            tls(&["1.3.6.1.5.5.7.3.1"]),
            Box::new(|w| is_rule(w, "ServerAuth")),
        ),
        (
            tls(&["1.3.6.1.5.5.7.3.2"]),
            Box::new(|w| is_rule(w, "ClientAuth")),
        ),
        (
            tls(&[CODE_SIGNING, "1.3.6.1.5.5.7.3.4"]),
            Box::new(|w| is_rule(w, "EmailProtection")),
        ),
        (
            tls(&[TIME_STAMPING]),
            Box::new(|w| is_rule(w, "Timestamping")),
        ),
        (tls(&["2.5.29.37.0"]), Box::new(|w| is_rule(w, "Any"))),
        (
            newer().without(KEY_USAGE),
            Box::new(|w| is_rule(w, "must be present")),
        ),
        (
            newer().with(KEY_USAGE, false, named_bits(1)),
            Box::new(|w| is_rule(w, "critical")),
        ),
        (
            newer().with(KEY_USAGE, true, named_bits(1 << 4)),
            Box::new(|w| is_rule(w, "digital signature")),
        ),
        (
            newer().with(BASIC_CONSTRAINTS, true, basic_constraints(true, None)),
            Box::new(|w| matches!(w, WhyNot::Rule(RuleError::LeafIsCa))),
        ),
        (
            leaf().valid("2026-06-01T00:00:00Z", "2041-01-01T00:00:00Z"),
            Box::new(|w| matches!(w, WhyNot::NotYetValid(_))),
        ),
        (
            leaf().valid("2022-01-01T00:00:00Z", "2025-12-31T00:00:00Z"),
            Box::new(|w| matches!(w, WhyNot::Expired(_))),
        ),
        (
            newer().change(|b| b.issuer = Some(subject("Absent CA"))),
            Box::new(|w| matches!(w, WhyNot::NoIssuer { issuer, .. } if issuer.contains("Absent"))),
        ),
        (
            leaf().valid("2020-06-01T00:00:00Z", "2041-01-01T00:00:00Z"),
            Box::new(|w| matches!(w, WhyNot::Older)),
        ),
    ];
    for (at, (other, expected)) in others.into_iter().enumerate() {
        let other = other.issue(&pki.ca, &Key::P384);
        for pool in [
            [&good, &other, &pki.ca, &pki.root, &stranger],
            [&other, &stranger, &pki.root, &pki.ca, &good],
        ] {
            let choice = chosen(&pool);
            assert_eq!(choice.chain, pki.chain(&good), "other {at}");
            assert_proven(&choice);
            let [passed] = choice.passed_over.as_slice() else {
                panic!("other {at}: {choice:?}");
            };
            assert!(expected(&passed.why), "other {at}: {passed:?}");
            assert!(passed.certificate.contains("Leaf"), "{passed:?}");
            assert!(choice.leaf.contains("2021-01-01T00:00:00Z"), "{choice:?}");
        }
    }
}

/// A certificate under a CA that can't stand in a chain is not taken: an attestation certificate,
/// whose issuer is at hand, is one.
#[test]
fn x509_05_the_whole_chain_must_be_fit() {
    let pki = Pki::new();
    let good = pki.issue(leaf(), &Key::P384);
    let newer = || leaf().valid("2025-01-01T00:00:00Z", "2041-01-01T00:00:00Z");
    for (other_ca, text) in [
        (
            Builder::ca("Other", &Key::P256_B).without(KEY_USAGE),
            "key usage extension must be present",
        ),
        (
            Builder::ca("Other", &Key::P256_B).without(BASIC_CONSTRAINTS),
            "ca field in basic constraints",
        ),
        (
            Builder::ca("Other", &Key::P256_B)
                .valid("2020-01-01T00:00:00Z", "2025-06-01T00:00:00Z"),
            "expired at 2025-06-01T00:00:00Z",
        ),
    ] {
        let other_ca = other_ca.self_signed(&Key::P256_B);
        let other = newer().issue(&other_ca, &Key::P384);
        let choice = chosen(&[&other, &other_ca, &good, &pki.ca, &pki.root]);
        assert_eq!(choice.chain, pki.chain(&good));
        let why = choice.passed_over[0].why.to_string();
        assert!(why.contains("Other") && why.contains(text), "{why}");
    }
    // A CA that was renewed: the way leads over the one that is valid.
    let old = Builder::ca("Issuing CA", &Key::P256_B)
        .valid("2025-01-01T00:00:00Z", "2025-06-01T00:00:00Z")
        .issue(&pki.root, &Key::P256_B);
    let choice = chosen(&[&good, &old, &pki.ca, &pki.root]);
    assert_eq!(choice.chain, pki.chain(&good));
    assert!(choice.passed_over.is_empty());
}

/// Where none of several is fit, each is named with its reason; one alone is left to the host.
#[test]
fn none_that_fits() {
    let pki = Pki::new();
    let expired = leaf()
        .valid("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z")
        .issue(&pki.ca, &Key::P384);
    let tls = leaf()
        .with(EXT_KEY_USAGE, false, purposes(&["1.3.6.1.5.5.7.3.1"]))
        .issue(&pki.ca, &Key::P384);
    let pool = ders(&[&expired, &tls, &pki.ca, &pki.root]);
    let error = choose(&key(), &pool, clock()).unwrap_err().told();
    for text in [
        "none of the 2",
        "expired at 2021-01-01T00:00:00Z",
        "ServerAuth",
    ] {
        assert!(error.contains(text), "{error}");
    }
    let choice = chosen(&[&expired, &pki.ca, &pki.root]);
    assert_eq!(choice.chain, pki.chain(&expired));
    // The same certificate twice is no choice.
    assert!(
        chosen(&[&expired, &expired, &pki.ca, &pki.root])
            .passed_over
            .is_empty()
    );
}

/// A gap names what is wanted, and what comes near it: a name in another encoding, another key.
#[test]
fn x509_29_gaps_name_what_comes_near() {
    let pki = Pki::new();
    let printable = |name: &[u8]| {
        let mut name = name.to_vec();
        let at = name.windows(2).rposition(|w| w == [0x0c, 10]).unwrap();
        name[at] = 0x13;
        name
    };
    let reencoded = leaf()
        .change(|b| b.issuer = Some(printable(&pki.ca.subject)))
        .issue(&pki.ca, &Key::P384);
    let gap = |pool: &[&Issued]| choose(&key(), &ders(pool), clock()).unwrap_err().told();
    let error = gap(&[&reencoded, &pki.ca, &pki.root]);
    assert!(
        error.contains("CN is a PrintableString in the one and a UTF8String in the other"),
        "{error}"
    );
    let other_key = leaf()
        .with("2.5.29.35", false, sequence(&[&tlv(0x80, b"wanted")]))
        .issue(&pki.ca, &Key::P384);
    let ca = Builder::ca("Issuing CA", &Key::P256_B)
        .with("2.5.29.14", false, tlv(4, b"offered"))
        .issue(&pki.root, &Key::P256_B);
    let error = gap(&[&other_key, &ca, &pki.root]);
    assert!(error.contains("for another key"), "{error}");
    let unrelated = Builder::leaf("Other", Key::P256.spki).issue(&pki.ca, &Key::P256);
    let mut pool = ders(&[&unrelated, &pki.root]);
    pool.push(b"\x30\x03\x02\x01\x00".to_vec());
    let error = choose(&key(), &pool, clock()).unwrap_err();
    assert!(matches!(error, ChainError::NoMatch { at_hand: 2, .. }));
    assert!(error.told().contains("can't be read: x509"), "{error}");
}

/// Serial numbers of any length are read by plugins as by the host, so that what can be verified
/// can be signed with.
#[test]
fn serial_numbers_of_any_length() {
    let pki = Pki::new();
    for length in [1, 8, 20, 21, 25, 64, 200] {
        for first in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut serial = vec![first];
            serial.resize(length, 0x91);
            let certificate = pki.issue(leaf().change(|b| b.serial = tlv(2, &serial)), &Key::P384);
            let choice = chosen(&[&certificate, &pki.ca, &pki.root]);
            assert_proven(&choice);
            let read = chain::Certificate::from_der(&certificate.der).unwrap();
            assert_eq!(read.serial(), serial);
        }
    }
}

/// X509-14: keys outside the profile are called by their names.
#[test]
fn x509_14_keys_outside_the_profile_are_named() {
    let described = |spki: &[u8]| PublicKey::from_spki_der(spki).unwrap().describe();
    for (name, text) in [
        ("rsa1024", "RSA with 1024 bits"),
        ("rsa2047", "RSA with 2047 bits"),
        ("rsa8192", "RSA with 8192 bits"),
        ("p224", "EC on curve P-224"),
        ("secp256k1", "EC on curve secp256k1"),
        ("brainpoolP256r1", "EC on curve brainpoolP256r1"),
    ] {
        let spki = REFUSED_SPKI
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap()
            .1;
        assert_eq!(described(spki), text);
        let error = Builder::leaf("Leaf", spki).issue(&Pki::new().ca, &Key::P384);
        let error = chain::Certificate::from_der(&error.der)
            .unwrap()
            .check_leaf(chain::Profile::CodeSigning)
            .unwrap_err();
        assert!(error.told().contains(text), "{error}");
    }
    assert_eq!(described(Key::ED25519.spki), "Ed25519");
    let bits = |bytes: &[u8]| tlv(3, &[&[0], bytes].concat());
    let of = |algorithm: &str, parameters: &[u8], key: &[u8]| {
        sequence(&[&sequence(&[&oid(algorithm), parameters]), &bits(key)])
    };
    let explicit = sequence(&[&integer(1)]);
    for (spki, text) in [
        (
            of("1.2.840.10045.2.1", &explicit, &[4; 65]),
            "explicit parameters",
        ),
        (
            of("1.2.840.10045.2.1", &oid("1.2.840.10045.3.1.7"), &[2; 33]),
            "compressed",
        ),
        (of("1.2.840.113549.1.1.10", &[], b"x"), "RSASSA-PSS"),
        (of("1.2.840.10040.4.1", &[], b"x"), "DSA"),
        (of("1.3.101.113", &[], b"x"), "Ed448"),
        (of("1.2.3.4", &[], b"x"), "1.2.3.4"),
    ] {
        let what = described(&spki);
        assert!(what.contains(text), "{what}");
    }
}
