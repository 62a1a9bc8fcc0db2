//! Vectors of COSE envelopes.

use ciborium::Value;
use hardsign_plugin::algorithm::KeySpec;

use super::{Case, bad, good};
use crate::cose::{
    Cose, Map, epoch, protected, protected_by_authority, sig_structure, unprotected,
};
use crate::jws::payload;
use crate::key::Salt;
use crate::{Builder, Key, Pki};

const KEY: Key = Key::P256;
const EXPIRY: &str = "io.cncf.notary.expiry";
const SCHEME: &str = "io.cncf.notary.signingScheme";
const TIME: &str = "io.cncf.notary.signingTime";
const AUTHENTIC: &str = "io.cncf.notary.authenticSigningTime";
const TOKEN: &str = "io.cncf.notary.timestampSignature";

/// What the envelopes are made of.
struct Maker {
    chain: Vec<Vec<u8>>,
}

impl Maker {
    fn new() -> Self {
        let pki = Pki::new();
        let leaf = pki.issue(Builder::leaf("Leaf", KEY.spki), &KEY);
        Self {
            chain: pki.chain(&leaf),
        }
    }

    /// A valid signature over these protected bytes.
    fn bytes(&self, protected: &[u8], unprotected: &Map) -> Vec<u8> {
        Cose::sign(protected, payload().as_bytes(), unprotected, &KEY).to_bytes()
    }

    fn cose(&self) -> Cose {
        let header = protected(&KEY).to_cbor();
        Cose::sign(
            &header,
            payload().as_bytes(),
            &unprotected(&self.chain),
            &KEY,
        )
    }

    /// A valid signature over another protected header.
    fn protected(&self, change: impl FnOnce(Map) -> Map) -> Vec<u8> {
        let header = change(protected(&KEY)).to_cbor();
        self.bytes(&header, &unprotected(&self.chain))
    }

    /// Another unprotected header.
    fn unprotected(&self, change: impl FnOnce(Map) -> Map) -> Vec<u8> {
        self.bytes(
            &protected(&KEY).to_cbor(),
            &change(unprotected(&self.chain)),
        )
    }

    /// Anything else.
    fn change(&self, change: impl FnOnce(&mut Cose)) -> Vec<u8> {
        let mut cose = self.cose();
        change(&mut cose);
        cose.to_bytes()
    }
}

pub(super) fn cases() -> Vec<Case> {
    let make = Maker::new();
    let mut cases = keys();
    cases.extend(forms(&make));
    cases.extend(protected_headers(&make));
    cases.extend(times(&make));
    cases.extend(unprotected_headers(&make));
    cases.extend(signatures(&make));
    cases
}

fn keys() -> Vec<Case> {
    let pki = Pki::new();
    let names = [
        "good-rsa-2048",
        "good-rsa-3072",
        "good-rsa-4096",
        "good-p-256",
        "good-p-384",
        "good-p-521",
    ];
    names
        .into_iter()
        .zip(KeySpec::ALL)
        .map(|(name, spec)| {
            let key = Key::of(spec);
            let header = unprotected(&pki.chain(&pki.signer(spec)));
            let protected = protected(&key).to_cbor();
            let cose = Cose::sign(&protected, payload().as_bytes(), &header, &key);
            good(name, "ENV-32", cose.to_bytes())
        })
        .collect()
}

fn forms(make: &Maker) -> Vec<Case> {
    let whole = make.cose().to_bytes();
    let body = &whole[1..];
    let nil_payload = {
        let cose = make.cose();
        let mut out = vec![0xd2, 0x84];
        out.extend(crate::cose::to_cbor(&Value::Bytes(cose.protected)));
        out.extend(cose.unprotected);
        out.push(0xf6);
        out.extend(crate::cose::to_cbor(&Value::Bytes(cose.signature)));
        out
    };
    let members = protected(&KEY).to_cbor();
    let indefinite = [&[0xbf], &members[1..], &[0xff]].concat();
    let longer = [&members[..1], &[0x18], &members[1..]].concat();
    let header = unprotected(&make.chain);
    let mut reversed = protected(&KEY);
    reversed.0.reverse();
    vec![
        bad("untagged", "COSE-01", "Shape", body.to_vec()),
        bad(
            "self-described",
            "COSE-01",
            "Shape",
            [&[0xd9, 0xd9, 0xf7], whole.as_slice()].concat(),
        ),
        bad(
            "tag-of-cose-sign",
            "COSE-01",
            "Shape",
            [&[0xd8, 0x62], body].concat(),
        ),
        bad(
            "trailing-bytes",
            "COSE-01",
            "Cbor",
            [whole.as_slice(), &[0]].concat(),
        ),
        bad("payload-nil", "COSE-02", "Shape", nil_payload),
        bad(
            "protected-indefinite-length",
            "COSE-13",
            "Cbor",
            make.bytes(&indefinite, &header),
        ),
        bad(
            "protected-label-twice",
            "COSE-13",
            "Cbor",
            make.protected(|h| h.and(1, -7)),
        ),
        bad(
            "unprotected-label-twice",
            "COSE-13",
            "Cbor",
            make.unprotected(|h| h.and(33, 1)),
        ),
        good(
            "protected-longer-integer",
            "COSE-14",
            make.bytes(&longer, &header),
        ),
        good(
            "protected-in-another-order",
            "COSE-14",
            make.bytes(&reversed.to_cbor(), &header),
        ),
        bad(
            "protected-encoded-anew",
            "COSE-14",
            "Signature",
            make.change(|c| c.protected = longer),
        ),
        bad(
            "protected-empty",
            "COSE-03",
            "Cbor",
            make.bytes(&[], &header),
        ),
    ]
}

fn protected_headers(make: &Maker) -> Vec<Case> {
    let with = |label: Value, value: Value| make.protected(|h| h.with(label, value));
    let crit = |labels: &[Value]| with(Value::from(2), Value::Array(labels.to_vec()));
    let scheme = Value::from(SCHEME);
    vec![
        bad(
            "alg-eddsa",
            "COSE-04",
            "UnsupportedCoseAlgorithm",
            with(1.into(), (-8).into()),
        ),
        bad(
            "alg-of-another-key",
            "ENV-33",
            "AlgorithmMismatch",
            with(1.into(), (-35).into()),
        ),
        bad(
            "content-type-absent",
            "COSE-05",
            "ContentTypeMissing",
            make.protected(|h| h.without(3)),
        ),
        bad(
            "content-type-is-a-number",
            "COSE-05",
            "ContentTypeNotText",
            with(3.into(), 50.into()),
        ),
        bad(
            "content-type-other",
            "ENV-03",
            "UnsupportedContentType",
            with(3.into(), "text/plain".into()),
        ),
        bad(
            "crit-absent",
            "COSE-06",
            "CritMissing",
            make.protected(|h| h.without(2)),
        ),
        bad(
            "crit-without-signing-scheme",
            "COSE-06",
            "NotMarkedCritical",
            make.protected(|h| h.with("x", 1).with(2, vec![Value::from("x")])),
        ),
        bad(
            "crit-without-expiry",
            "COSE-06",
            "NotMarkedCritical",
            with(EXPIRY.into(), epoch(1_800_000_000)),
        ),
        bad(
            "crit-names-alg",
            "COSE-07",
            "UnsupportedCritical",
            crit(&[scheme.clone(), 1.into()]),
        ),
        bad(
            "crit-names-twice",
            "COSE-07",
            "CriticalRepeated",
            crit(&[scheme.clone(), scheme.clone()]),
        ),
        bad(
            "crit-names-unknown-integer",
            "COSE-08",
            "UnsupportedCritical",
            make.protected(|h| {
                h.with(-70_000, 1)
                    .with(2, vec![scheme.clone(), Value::from(-70_000)])
            }),
        ),
        bad(
            "crit-names-absent-label",
            "COSE-06",
            "CriticalNotPresent",
            crit(&[scheme.clone(), "x".into()]),
        ),
        bad(
            "scheme-absent",
            "COSE-22",
            "InvalidCoseScheme",
            make.protected(|h| h.without(SCHEME)),
        ),
        bad(
            "scheme-unknown",
            "COSE-22",
            "UnsupportedCoseScheme",
            with(SCHEME.into(), "notary.x".into()),
        ),
        good(
            "extended-attribute",
            "COSE-20",
            with("x".into(), Value::Bytes(vec![1])),
        ),
        good(
            "extended-attribute-integer-label",
            "COSE-20",
            with((-70_000).into(), 1.into()),
        ),
        good(
            "extended-attribute-critical",
            "ENV-25",
            make.protected(|h| {
                h.with("x", 1)
                    .with(2, vec![scheme.clone(), Value::from("x")])
            }),
        ),
    ]
}

fn times(make: &Maker) -> Vec<Case> {
    let at = |value: Value| make.protected(|h| h.with(TIME, value));
    let tagged = |tag, value: Value| Value::Tag(tag, Box::new(value));
    let expiring = |seconds| {
        let critical = [SCHEME, EXPIRY].map(Value::from).to_vec();
        make.protected(|h| h.with(EXPIRY, epoch(seconds)).with(2, critical))
    };
    let authority = |header: Map| make.bytes(&header.to_cbor(), &unprotected(&make.chain));
    vec![
        bad(
            "signing-time-tag-0",
            "COSE-10",
            "InvalidSigningTime",
            at(tagged(0, "2026-01-02T03:04:05Z".into())),
        ),
        bad(
            "signing-time-untagged",
            "COSE-10",
            "InvalidSigningTime",
            at(1_767_323_045.into()),
        ),
        bad(
            "signing-time-nan",
            "COSE-11",
            "InvalidSigningTime",
            at(tagged(1, f64::NAN.into())),
        ),
        bad(
            "signing-time-infinite",
            "COSE-11",
            "InvalidSigningTime",
            at(tagged(1, f64::INFINITY.into())),
        ),
        bad(
            "signing-time-out-of-range",
            "COSE-11",
            "InvalidSigningTime",
            at(tagged(1, u64::MAX.into())),
        ),
        good(
            "signing-time-float",
            "COSE-11",
            at(tagged(1, 1_767_323_045.5.into())),
        ),
        good("signing-time-negative", "COSE-11", at(epoch(-1))),
        bad(
            "signing-time-absent",
            "COSE-22",
            "InvalidSigningTime",
            make.protected(|h| h.without(TIME)),
        ),
        good("expiry", "ENV-21", expiring(1_767_323_046)),
        bad(
            "expiry-at-signing-time",
            "ENV-21",
            "ExpiryNotAfterSigningTime",
            expiring(1_767_323_045),
        ),
        good(
            "signing-authority",
            "ENV-19",
            authority(protected_by_authority(&KEY)),
        ),
        bad(
            "signing-authority-with-signing-time",
            "ENV-20",
            "TimeOfOtherScheme",
            authority(protected_by_authority(&KEY).with(TIME, epoch(1))),
        ),
        bad(
            "x509-with-authentic-time",
            "ENV-20",
            "TimeOfOtherScheme",
            make.protected(|h| h.with(AUTHENTIC, epoch(1))),
        ),
    ]
}

fn unprotected_headers(make: &Maker) -> Vec<Case> {
    let with = |label: Value, value: Value| make.unprotected(|h| h.with(label, value));
    let chain = || unprotected(&make.chain).0[0].1.clone();
    let single = Builder::leaf("Alone", KEY.spki).self_signed(&KEY);
    let bare = Map::default().with(33, Value::Bytes(single.der));
    let inside = protected(&KEY).with(33, chain()).to_cbor();
    let pki = Pki::new();
    let other = pki.chain(&pki.issue(Builder::leaf("Leaf", KEY.spki), &KEY));
    vec![
        bad(
            "no-certificates",
            "COSE-16",
            "CertificateChainMissing",
            make.unprotected(|h| h.without(33)),
        ),
        bad(
            "leaf-is-no-byte-string",
            "COSE-18",
            "CoseMalformedLeaf",
            with(33.into(), Value::Array(vec![7.into()])),
        ),
        bad(
            "leaf-is-no-certificate",
            "COSE-18",
            "MalformedLeaf",
            with(33.into(), Value::Array(vec![Value::Bytes(vec![0])])),
        ),
        bad(
            "chain-without-root",
            "X509-03",
            "Chain",
            make.unprotected(|_| unprotected(&make.chain[..2])),
        ),
        good(
            "single-certificate-as-byte-string",
            "COSE-17",
            make.bytes(&protected(&KEY).to_cbor(), &bare),
        ),
        good(
            "chain-in-protected-header",
            "COSE-17",
            make.bytes(&inside, &Map::default()),
        ),
        good(
            "chain-in-both-headers",
            "COSE-17",
            make.bytes(&inside, &unprotected(&make.chain)),
        ),
        bad(
            "two-different-chains",
            "COSE-17",
            "ConflictingChains",
            make.bytes(&inside, &unprotected(&other)),
        ),
        bad(
            "timestamp-is-text",
            "COSE-19",
            "Member",
            with(TOKEN.into(), "x".into()),
        ),
        good(
            "signing-agent-is-a-number",
            "COSE-19",
            with("io.cncf.notary.signingAgent".into(), 7.into()),
        ),
        good(
            "unknown-unprotected-label",
            "COSE-15",
            with("x".into(), 1.into()),
        ),
        bad(
            "crit-in-unprotected-header",
            "COSE-06",
            "Member",
            with(2.into(), Value::Array(vec![SCHEME.into()])),
        ),
        bad(
            "alg-in-both-headers",
            "COSE-03",
            "Member",
            with(1.into(), (-7).into()),
        ),
    ]
}

fn signatures(make: &Maker) -> Vec<Case> {
    let resign = |sign: fn(&Key, &[u8]) -> Vec<u8>, key: Key| {
        let pki = Pki::new();
        let chain = pki.chain(&pki.issue(Builder::leaf("Leaf", key.spki), &key));
        let header = protected(&key).to_cbor();
        let mut cose = Cose::sign(&header, payload().as_bytes(), &unprotected(&chain), &key);
        cose.signature = sign(&key, &sig_structure(&header, payload().as_bytes()));
        cose.to_bytes()
    };
    vec![
        bad(
            "signature-empty",
            "COSE-22",
            "CoseSignatureMissing",
            make.change(|c| c.signature.clear()),
        ),
        bad(
            "payload-changed",
            "COSE-14",
            "Signature",
            make.change(|c| c.payload[30] ^= 1),
        ),
        bad(
            "signature-by-another-key",
            "COSE-23",
            "Signature",
            make.change(|c| {
                c.signature = Key::P256_B.sign(&sig_structure(&c.protected, &c.payload));
            }),
        ),
        bad(
            "payload-empty",
            "ENV-04",
            "Payload",
            Cose::sign(
                &protected(&KEY).to_cbor(),
                b"",
                &unprotected(&make.chain),
                &KEY,
            )
            .to_bytes(),
        ),
        bad(
            "ecdsa-in-der",
            "ENV-37",
            "Signature",
            resign(Key::sign_ecdsa_der, KEY),
        ),
        bad(
            "ecdsa-all-zero",
            "ENV-38",
            "Signature",
            resign(|_, _| vec![0; 64], KEY),
        ),
        bad(
            "pss-salt-empty",
            "ENV-36",
            "Signature",
            resign(|key, m| key.sign_with_salt(m, Salt::Empty), Key::RSA_2048),
        ),
        bad(
            "pss-salt-20",
            "ENV-36",
            "Signature",
            resign(|key, m| key.sign_with_salt(m, Salt::Twenty), Key::RSA_2048),
        ),
        bad(
            "rsa-pkcs1",
            "COSE-23",
            "Signature",
            resign(Key::sign_pkcs1, Key::RSA_2048),
        ),
    ]
}
