//! Vectors of certificate chains, leaf first, in PEM.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_plugin::algorithm::KeySpec;

use super::{Case, bad, good};
use crate::asn1::{named_bits, oid, sequence, tlv};
use crate::certificate::{
    BASIC_CONSTRAINTS, CERT_AND_CRL_SIGN, CODE_SIGNING, DIGITAL_SIGNATURE, EXT_KEY_USAGE,
    KEY_USAGE, TIME_STAMPING, basic_constraints, purposes, subject,
};
use crate::key::REFUSED_SPKI;
use crate::{Builder, Issued, Key, Pki};

fn pem(chain: &[&Issued]) -> Vec<u8> {
    let mut out = String::new();
    for issued in chain {
        out.push_str("-----BEGIN CERTIFICATE-----\n");
        let text = STANDARD.encode(&issued.der);
        for line in text.as_bytes().chunks(64) {
            out.push_str(std::str::from_utf8(line).unwrap());
            out.push('\n');
        }
        out.push_str("-----END CERTIFICATE-----\n");
    }
    out.into_bytes()
}

fn leaf() -> Builder {
    Builder::leaf("Leaf", Key::P384.spki)
}

fn tsa() -> Builder {
    Builder::timestamping_leaf("TSA", Key::P384.spki)
}

fn ca() -> Builder {
    Builder::ca("CA", &Key::P256_B)
}

fn with_leaf(leaf: Builder) -> Vec<u8> {
    let pki = Pki::new();
    let leaf = pki.issue(leaf, &Key::P384);
    pem(&[&leaf, &pki.ca, &pki.root])
}

fn with_ca(ca: Builder, leaf: Builder) -> Vec<u8> {
    let pki = Pki::new();
    let ca = ca.issue(&pki.root, &Key::P256_B);
    let leaf = leaf.issue(&ca, &Key::P384);
    pem(&[&leaf, &ca, &pki.root])
}

pub(super) fn code_signing() -> Vec<Case> {
    let mut cases = order();
    cases.extend(cas());
    cases.extend(leaves());
    cases
}

fn order() -> Vec<Case> {
    let pki = Pki::new();
    let leaf = pki.signer(KeySpec::Ec384);
    let alone = self::leaf().self_signed(&Key::P384);
    let impostor = Builder::ca("Issuing CA", &Key::P384_B).issue(&pki.root, &Key::P384_B);
    let renamed = Builder::ca("Issuing CA 2", &Key::P256_B).issue(&pki.root, &Key::P256_B);
    let bad_signature = pki.issue(self::leaf().change(|b| b.bad_signature = true), &Key::P384);
    let other_issuer = self::leaf().change(|b| b.issuer = Some(subject("Other")));
    let other_issuer = other_issuer.self_signed(&Key::P384);
    let sha1 = sequence(&[&oid("1.2.840.113549.1.1.5"), &tlv(5, &[])]);
    let sha1 = Builder::leaf("Leaf", Key::RSA_2048.spki)
        .change(|b| b.algorithm = Some(sha1))
        .self_signed(&Key::RSA_2048);
    let ed25519 = Builder::ca("Root", &Key::ED25519).self_signed(&Key::ED25519);
    let below_ed25519 = self::leaf().issue(&ed25519, &Key::P384);
    vec![
        good(
            "good-leaf-ca-root",
            "X509-02",
            pem(&[&leaf, &pki.ca, &pki.root]),
        ),
        good("good-single", "X509-04", pem(&[&alone])),
        good(
            "good-ed25519-ca",
            "X509-16",
            pem(&[&below_ed25519, &ed25519]),
        ),
        bad(
            "wrong-order",
            "X509-02",
            "NotIssuedByNext",
            pem(&[&leaf, &pki.root, &pki.ca]),
        ),
        bad(
            "no-root",
            "X509-03",
            "RootNotSelfSigned",
            pem(&[&leaf, &pki.ca]),
        ),
        bad(
            "no-intermediate",
            "X509-02",
            "NotIssuedByNext",
            pem(&[&leaf, &pki.root]),
        ),
        bad(
            "root-twice",
            "X509-03",
            "UnexpectedSelfSigned",
            pem(&[&leaf, &pki.ca, &pki.root, &pki.root]),
        ),
        bad(
            "issuer-with-another-key",
            "X509-02",
            "NotIssuedByNext",
            pem(&[&leaf, &impostor, &pki.root]),
        ),
        bad(
            "issuer-with-another-name",
            "X509-02",
            "NotIssuedByNext",
            pem(&[&leaf, &renamed, &pki.root]),
        ),
        bad(
            "leaf-signature-wrong",
            "X509-02",
            "NotIssuedByNext",
            pem(&[&bad_signature, &pki.ca, &pki.root]),
        ),
        bad(
            "self-signed-leaf-under-root",
            "X509-03",
            "UnexpectedSelfSigned",
            pem(&[&alone, &pki.root]),
        ),
        bad(
            "single-not-self-signed",
            "X509-04",
            "SingleNotSelfSigned",
            pem(&[&leaf]),
        ),
        bad(
            "single-with-another-issuer",
            "X509-04",
            "SingleNotSelfSigned",
            pem(&[&other_issuer]),
        ),
        bad("single-is-a-ca", "X509-04", "LeafIsCa", pem(&[&pki.root])),
        bad(
            "single-says-sha-1",
            "X509-15",
            "SingleNotSelfSigned",
            pem(&[&sha1]),
        ),
    ]
}

fn cas() -> Vec<Case> {
    let path_len = |len| ca().with(BASIC_CONSTRAINTS, true, basic_constraints(true, Some(len)));
    let short_root = {
        let root = Builder::ca("Root", &Key::P256);
        let root = root.with(BASIC_CONSTRAINTS, true, basic_constraints(true, Some(0)));
        let root = root.self_signed(&Key::P256);
        let ca = ca().issue(&root, &Key::P256_B);
        let leaf = leaf().issue(&ca, &Key::P384);
        pem(&[&leaf, &ca, &root])
    };
    let constraints = sequence(&[&tlv(0xa1, &sequence(&[&tlv(0x82, b"example.com")]))]);
    vec![
        bad(
            "ca-without-basic-constraints",
            "X509-05",
            "NotCa",
            with_ca(ca().without(BASIC_CONSTRAINTS), leaf()),
        ),
        bad(
            "ca-basic-constraints-false",
            "X509-05",
            "NotCa",
            with_ca(
                ca().with(BASIC_CONSTRAINTS, true, basic_constraints(false, None)),
                leaf(),
            ),
        ),
        bad(
            "ca-basic-constraints-not-critical",
            "DIF-05",
            "NotCa",
            with_ca(
                ca().with(BASIC_CONSTRAINTS, false, basic_constraints(true, None)),
                leaf(),
            ),
        ),
        good(
            "ca-path-length-0-above-leaf",
            "X509-06",
            with_ca(path_len(0), leaf()),
        ),
        bad(
            "root-path-length-0-above-ca",
            "X509-06",
            "PathTooLong",
            short_root,
        ),
        bad(
            "ca-without-key-usage",
            "X509-07",
            "KeyUsageAbsent",
            with_ca(ca().without(KEY_USAGE), leaf()),
        ),
        bad(
            "ca-key-usage-not-critical",
            "X509-07",
            "KeyUsageNotCritical",
            with_ca(
                ca().with(KEY_USAGE, false, named_bits(CERT_AND_CRL_SIGN)),
                leaf(),
            ),
        ),
        bad(
            "ca-without-cert-sign",
            "X509-07",
            "KeyUsageMissing",
            with_ca(ca().with(KEY_USAGE, true, named_bits(1 << 6)), leaf()),
        ),
        good(
            "ca-with-name-constraints",
            "X509-17",
            with_ca(ca().with("2.5.29.30", true, constraints), leaf()),
        ),
    ]
}

fn leaves() -> Vec<Case> {
    let usage = |critical, bits| with_leaf(leaf().with(KEY_USAGE, critical, named_bits(bits)));
    let purpose = |list: &[&str]| with_leaf(leaf().with(EXT_KEY_USAGE, false, purposes(list)));
    let forbidden = |name, bit: u16| {
        bad(
            name,
            "X509-09",
            "KeyUsageForbidden",
            usage(true, 1 | 1 << bit),
        )
    };
    let excluded = |name, requirement, dotted| {
        bad(
            name,
            requirement,
            "PurposeForbidden",
            purpose(&[CODE_SIGNING, dotted]),
        )
    };
    let mut cases = vec![
        bad(
            "leaf-is-a-ca",
            "X509-08",
            "LeafIsCa",
            with_leaf(leaf().with(BASIC_CONSTRAINTS, true, basic_constraints(true, None))),
        ),
        good(
            "leaf-basic-constraints-false",
            "X509-08",
            with_leaf(leaf().with(BASIC_CONSTRAINTS, true, basic_constraints(false, None))),
        ),
        bad(
            "leaf-without-key-usage",
            "X509-09",
            "KeyUsageAbsent",
            with_leaf(leaf().without(KEY_USAGE)),
        ),
        bad(
            "leaf-key-usage-not-critical",
            "X509-09",
            "KeyUsageNotCritical",
            usage(false, DIGITAL_SIGNATURE),
        ),
        bad(
            "leaf-without-digital-signature",
            "X509-09",
            "KeyUsageMissing",
            usage(true, 1 << 1),
        ),
        good(
            "leaf-with-non-repudiation",
            "X509-09",
            usage(true, 1 | 1 << 1),
        ),
        forbidden("leaf-with-key-encipherment", 2),
        forbidden("leaf-with-data-encipherment", 3),
        forbidden("leaf-with-key-agreement", 4),
        forbidden("leaf-with-cert-sign", 5),
        forbidden("leaf-with-crl-sign", 6),
        forbidden("leaf-with-encipher-only", 7),
        forbidden("leaf-with-decipher-only", 8),
        good(
            "leaf-without-extended-key-usage",
            "X509-10",
            with_leaf(leaf().without(EXT_KEY_USAGE)),
        ),
        good(
            "leaf-for-unknown-purpose",
            "X509-12",
            purpose(&["1.3.6.1.4.1.311.10.3.13"]),
        ),
        excluded("leaf-for-any-purpose", "DIF-03", "2.5.29.37.0"),
        excluded(
            "leaf-for-server-authentication",
            "X509-10",
            "1.3.6.1.5.5.7.3.1",
        ),
        excluded(
            "leaf-for-client-authentication",
            "X509-10",
            "1.3.6.1.5.5.7.3.2",
        ),
        excluded("leaf-for-email-protection", "X509-10", "1.3.6.1.5.5.7.3.4"),
        excluded("leaf-for-timestamping", "X509-10", TIME_STAMPING),
        excluded("leaf-for-ocsp-signing", "X509-11", "1.3.6.1.5.5.7.3.9"),
        good(
            "leaf-with-unknown-critical-extension",
            "X509-17",
            with_leaf(leaf().with("1.2.3.4.5", true, tlv(4, b"x"))),
        ),
        good(
            "leaf-outliving-its-ca",
            "X509-18",
            with_leaf(leaf().valid("2001-01-01T00:00:00Z", "2090-01-01T00:00:00Z")),
        ),
    ];
    let names = [
        "leaf-key-rsa-1024",
        "leaf-key-rsa-2040",
        "leaf-key-rsa-2047",
        "leaf-key-rsa-8192",
        "leaf-key-p-224",
        "leaf-key-secp256k1",
        "leaf-key-brainpool",
    ];
    for (name, (_, spki)) in names.into_iter().zip(REFUSED_SPKI) {
        let chain = with_leaf(Builder::leaf("Leaf", spki));
        cases.push(bad(name, "X509-14", "LeafKey", chain));
    }
    let chain = with_leaf(Builder::leaf("Leaf", Key::ED25519.spki));
    cases.push(bad("leaf-key-ed25519", "X509-14", "LeafKey", chain));
    cases
}

pub(super) fn timestamping() -> Vec<Case> {
    let purpose =
        |critical, list: &[&str]| with_leaf(tsa().with(EXT_KEY_USAGE, critical, purposes(list)));
    vec![
        good("good-tsa-ca-root", "X509-13", with_leaf(tsa())),
        bad(
            "no-purpose",
            "X509-13",
            "PurposeNotExact",
            with_leaf(tsa().without(EXT_KEY_USAGE)),
        ),
        bad(
            "code-signing",
            "X509-13",
            "PurposeNotExact",
            with_leaf(leaf()),
        ),
        bad(
            "timestamping-and-code-signing",
            "X509-13",
            "PurposeNotExact",
            purpose(true, &[TIME_STAMPING, CODE_SIGNING]),
        ),
        bad(
            "timestamping-and-unknown",
            "X509-13",
            "PurposeNotExact",
            purpose(true, &[TIME_STAMPING, "1.2.3.4"]),
        ),
        bad(
            "purpose-not-critical",
            "X509-13",
            "PurposeNotCritical",
            purpose(false, &[TIME_STAMPING]),
        ),
        good(
            "key-usage-not-critical",
            "X509-09",
            with_leaf(tsa().with(KEY_USAGE, false, named_bits(DIGITAL_SIGNATURE))),
        ),
        good(
            "ca-key-usage-not-critical",
            "X509-07",
            with_ca(
                ca().with(KEY_USAGE, false, named_bits(CERT_AND_CRL_SIGN)),
                tsa(),
            ),
        ),
        bad(
            "key-rsa-1024",
            "X509-14",
            "LeafKey",
            with_leaf(Builder::timestamping_leaf("TSA", REFUSED_SPKI[0].1)),
        ),
    ]
}
