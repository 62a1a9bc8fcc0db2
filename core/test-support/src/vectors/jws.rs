//! Vectors of JWS envelopes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hardsign_plugin::algorithm::KeySpec;

use super::{Case, bad, good};
use crate::jws::{Jws, Object, header, payload, protected, protected_by_authority};
use crate::key::Salt;
use crate::{Builder, Key, Pki};

const KEY: Key = Key::P256;
const EXPIRY: &str = "io.cncf.notary.expiry";
const SCHEME: &str = "io.cncf.notary.signingScheme";
const TIME: &str = "io.cncf.notary.signingTime";
const WITH_EXPIRY: &str = "[\"io.cncf.notary.signingScheme\",\"io.cncf.notary.expiry\"]";

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

    fn jws(&self) -> Jws {
        self.signed(&protected(&KEY).to_json(), &payload())
    }

    fn signed(&self, protected: &str, payload: &str) -> Jws {
        Jws::sign(protected, payload.as_bytes(), header(&self.chain), &KEY)
    }

    /// A valid signature over another protected header.
    fn protected(&self, change: impl FnOnce(Object) -> Object) -> Vec<u8> {
        let header = change(protected(&KEY));
        self.signed(&header.to_json(), &payload()).to_bytes()
    }

    /// A valid signature over another payload.
    fn payload(&self, payload: &str) -> Vec<u8> {
        self.signed(&protected(&KEY).to_json(), payload).to_bytes()
    }

    /// Another unprotected header.
    fn header(&self, change: impl FnOnce(Object) -> Object) -> Vec<u8> {
        let mut jws = self.jws();
        jws.header = change(jws.header);
        jws.to_bytes()
    }

    /// Anything else.
    fn change(&self, change: impl FnOnce(&mut Jws)) -> Vec<u8> {
        let mut jws = self.jws();
        change(&mut jws);
        jws.to_bytes()
    }
}

pub(super) fn cases() -> Vec<Case> {
    let make = Maker::new();
    let mut cases = keys();
    cases.extend(forms(&make));
    cases.extend(protected_headers(&make));
    cases.extend(signatures(&make));
    cases.extend(payloads(&make));
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
            let chain = pki.chain(&pki.signer(spec));
            let protected = protected(&key).to_json();
            let jws = Jws::sign(&protected, payload().as_bytes(), header(&chain), &key);
            good(name, "ENV-32", jws.to_bytes())
        })
        .collect()
}

fn forms(make: &Maker) -> Vec<Case> {
    let jws = make.jws();
    let compact = format!("{}.{}.{}", jws.protected, jws.payload, jws.signature);
    let object = jws.to_object();
    let text = |object: Object| object.to_json().into_bytes();
    vec![
        bad(
            "compact-serialization",
            "JWS-01",
            "Json",
            compact.into_bytes(),
        ),
        bad(
            "extra-member-signatures",
            "JWS-02",
            "Member",
            text(object.clone().and("signatures", "[]")),
        ),
        bad(
            "member-twice",
            "JWS-25",
            "Json",
            text(object.clone().and("payload", "\"e30\"")),
        ),
        bad(
            "member-in-other-case",
            "JWS-25",
            "Member",
            text(object.clone().and("Payload", "\"e30\"")),
        ),
        bad(
            "no-payload",
            "JWS-01",
            "Member",
            text(object.clone().without("payload")),
        ),
        bad(
            "trailing-bytes",
            "JWS-22",
            "Json",
            [make.jws().to_bytes(), b"{}".to_vec()].concat(),
        ),
        good(
            "white-space-around",
            "JWS-22",
            [b" ".to_vec(), make.jws().to_bytes(), b"\n".to_vec()].concat(),
        ),
        bad(
            "payload-padded",
            "JWS-14",
            "Member",
            make.change(|j| j.payload.push('=')),
        ),
        bad(
            "payload-with-line-break",
            "JWS-14",
            "Member",
            make.change(|j| j.payload.insert_str(8, "\\n")),
        ),
        bad(
            "signature-with-stray-bits",
            "JWS-14",
            "Member",
            make.change(|j| {
                let last = j.signature.pop().unwrap();
                j.signature
                    .push(char::from(u8::try_from(last).unwrap() + 1));
            }),
        ),
        bad(
            "no-certificates",
            "JWS-16",
            "CertificateChainMissing",
            make.header(|h| h.without("x5c")),
        ),
        bad(
            "certificates-empty",
            "JWS-16",
            "CertificateChainMissing",
            make.header(|h| h.with("x5c", "[]")),
        ),
        bad(
            "leaf-is-no-certificate",
            "JWS-16",
            "MalformedLeaf",
            make.header(|h| h.with("x5c", "[\"AAEC\"]")),
        ),
        bad(
            "chain-without-root",
            "X509-03",
            "Chain",
            make.header(|_| header(&make.chain[..2])),
        ),
        bad(
            "chain-in-wrong-order",
            "X509-02",
            "Chain",
            make.header(|_| {
                header(&[
                    make.chain[0].clone(),
                    make.chain[2].clone(),
                    make.chain[1].clone(),
                ])
            }),
        ),
        good(
            "unknown-unprotected-header",
            "JWS-24",
            make.header(|h| h.with("kid", "\"x\"")),
        ),
        good(
            "timestamp-header-of-the-closing-example",
            "JWS-05",
            make.header(|h| h.with("io.cncf.notary.timestamp", "\"AAEC\"")),
        ),
        bad(
            "timestamp-not-base64",
            "JWS-17",
            "Member",
            make.header(|h| h.with("io.cncf.notary.timestampSignature", "\"A\"")),
        ),
        bad(
            "signing-agent-is-a-number",
            "JWS-23",
            "Member",
            make.header(|h| h.with("io.cncf.notary.signingAgent", "7")),
        ),
    ]
}

fn protected_headers(make: &Maker) -> Vec<Case> {
    let with = |name: &str, json: &str| make.protected(|h| h.with(name, json));
    let without = |name: &str| make.protected(|h| h.without(name));
    let crit = |json: &str| with("crit", json);
    let expiring = |json: &str| make.protected(|h| h.with(EXPIRY, json).with("crit", WITH_EXPIRY));
    let authority = |header: Object| make.signed(&header.to_json(), &payload()).to_bytes();
    let by_authority = protected_by_authority(&KEY);
    let ours = "\"io.cncf.notary.signingScheme\"";
    vec![
        bad(
            "alg-none",
            "JWS-08",
            "UnsupportedJwsAlgorithm",
            with("alg", "\"none\""),
        ),
        bad(
            "alg-hs256",
            "JWS-08",
            "UnsupportedJwsAlgorithm",
            with("alg", "\"HS256\""),
        ),
        bad(
            "alg-rs256",
            "JWS-08",
            "UnsupportedJwsAlgorithm",
            with("alg", "\"RS256\""),
        ),
        bad(
            "alg-of-another-key",
            "ENV-33",
            "AlgorithmMismatch",
            with("alg", "\"ES384\""),
        ),
        bad(
            "cty-other",
            "ENV-03",
            "UnsupportedContentType",
            with("cty", "\"text/plain\""),
        ),
        bad(
            "cty-absent",
            "ENV-03",
            "UnsupportedContentType",
            without("cty"),
        ),
        bad("crit-absent", "JWS-09", "CritMissing", without("crit")),
        bad("crit-empty", "JWS-09", "CritMissing", crit("[]")),
        bad(
            "crit-without-signing-scheme",
            "JWS-09",
            "NotMarkedCritical",
            make.protected(|h| h.with("x", "1").with("crit", "[\"x\"]")),
        ),
        bad(
            "crit-without-expiry",
            "JWS-09",
            "NotMarkedCritical",
            with(EXPIRY, "\"2027-01-01T00:00:00Z\""),
        ),
        bad(
            "crit-names-absent-header",
            "JWS-11",
            "CriticalNotPresent",
            crit(&format!("[{ours},\"x\"]")),
        ),
        bad(
            "crit-names-alg",
            "JWS-11",
            "CriticalNotPresent",
            crit(&format!("[{ours},\"alg\"]")),
        ),
        bad(
            "crit-names-signing-time",
            "JWS-12",
            "CriticalNotPresent",
            crit(&format!("[{ours},\"{TIME}\"]")),
        ),
        bad(
            "crit-names-twice",
            "JWS-12",
            "CriticalRepeated",
            crit(&format!("[{ours},{ours}]")),
        ),
        bad(
            "crit-b64",
            "JWS-13",
            "UnsupportedCritical",
            make.protected(|h| {
                h.with("b64", "false")
                    .with("crit", &format!("[{ours},\"b64\"]"))
            }),
        ),
        bad(
            "scheme-unknown",
            "JWS-21",
            "UnsupportedJwsScheme",
            with(SCHEME, "\"notary.x\""),
        ),
        bad(
            "scheme-absent",
            "JWS-21",
            "UnsupportedJwsScheme",
            without(SCHEME),
        ),
        bad(
            "signing-time-absent",
            "ENV-22",
            "SigningTimeMissing",
            without(TIME),
        ),
        bad(
            "signing-time-zero",
            "ENV-22",
            "SigningTimeMissing",
            with(TIME, "\"0001-01-01T00:00:00Z\""),
        ),
        bad(
            "signing-time-lower-case-z",
            "JWS-18",
            "ProtectedShape",
            with(TIME, "\"2026-01-02T03:04:05z\""),
        ),
        bad(
            "signing-time-without-offset",
            "JWS-18",
            "ProtectedShape",
            with(TIME, "\"2026-01-02T03:04:05\""),
        ),
        bad(
            "signing-time-is-a-number",
            "JWS-18",
            "ProtectedShape",
            with(TIME, "1767323045"),
        ),
        good(
            "signing-time-with-offset",
            "ENV-24",
            with(TIME, "\"2026-01-02T12:04:05.5+09:00\""),
        ),
        good("expiry", "ENV-21", expiring("\"2026-01-02T03:04:06Z\"")),
        bad(
            "expiry-at-signing-time",
            "ENV-21",
            "ExpiryNotAfterSigningTime",
            expiring("\"2026-01-02T03:04:05Z\""),
        ),
        bad(
            "expiry-null",
            "JWS-20",
            "ProtectedShape",
            with(EXPIRY, "null"),
        ),
        bad(
            "expiry-zero",
            "JWS-20",
            "NotMarkedCritical",
            with(EXPIRY, "\"0001-01-01T00:00:00Z\""),
        ),
        good(
            "signing-authority",
            "ENV-19",
            authority(by_authority.clone()),
        ),
        bad(
            "signing-authority-with-signing-time",
            "JWS-19",
            "TimeOfOtherScheme",
            authority(by_authority.clone().with(TIME, "\"2026-01-02T03:04:05Z\"")),
        ),
        bad(
            "signing-authority-time-not-critical",
            "JWS-09",
            "NotMarkedCritical",
            authority(by_authority.clone().with("crit", &format!("[{ours}]"))),
        ),
        bad(
            "x509-with-authentic-time",
            "JWS-19",
            "TimeOfOtherScheme",
            with(
                "io.cncf.notary.authenticSigningTime",
                "\"2026-01-02T03:04:05Z\"",
            ),
        ),
        bad(
            "protected-member-twice",
            "JWS-25",
            "ProtectedJson",
            make.protected(|h| h.and("cty", "\"x\"")),
        ),
        bad(
            "protected-member-in-other-case",
            "JWS-25",
            "ProtectedShape",
            make.protected(|h| h.and("CTY", "\"x\"")),
        ),
        bad(
            "protected-trailing-bytes",
            "JWS-22",
            "ProtectedJson",
            make.signed(&format!("{}x", protected(&KEY).to_json()), &payload())
                .to_bytes(),
        ),
        good(
            "extended-attribute",
            "JWS-26",
            with("x", "{\"n\":9007199254740993}"),
        ),
        good(
            "extended-attribute-critical",
            "ENV-25",
            make.protected(|h| h.with("x", "1").with("crit", &format!("[{ours},\"x\"]"))),
        ),
    ]
}

fn signatures(make: &Maker) -> Vec<Case> {
    let resign = |sign: fn(&Key, &[u8]) -> Vec<u8>, key: Key| {
        let pki = Pki::new();
        let chain = pki.chain(&pki.issue(Builder::leaf("Leaf", key.spki), &key));
        let text = protected(&key).to_json();
        let mut jws = Jws::sign(&text, payload().as_bytes(), header(&chain), &key);
        let input = format!("{}.{}", jws.protected, jws.payload);
        jws.signature = URL_SAFE_NO_PAD.encode(sign(&key, input.as_bytes()));
        jws.to_bytes()
    };
    vec![
        bad(
            "signature-empty",
            "JWS-28",
            "JwsSignatureMissing",
            make.change(|j| j.signature.clear()),
        ),
        bad(
            "signature-of-another-payload",
            "JWS-15",
            "Signature",
            make.change(|j| j.signature = make.signed(&protected(&KEY).to_json(), "{}").signature),
        ),
        bad(
            "signature-by-another-key",
            "JWS-27",
            "Signature",
            make.change(|j| {
                let input = format!("{}.{}", j.protected, j.payload);
                j.signature = URL_SAFE_NO_PAD.encode(Key::P256_B.sign(input.as_bytes()));
            }),
        ),
        bad(
            "ecdsa-in-der",
            "ENV-37",
            "Signature",
            resign(|key, m| key.sign_ecdsa_der(m), KEY),
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
            "pss-salt-longest",
            "ENV-36",
            "Signature",
            resign(|key, m| key.sign_with_salt(m, Salt::Longest), Key::RSA_2048),
        ),
        bad(
            "rsa-pkcs1",
            "JWS-08",
            "Signature",
            resign(Key::sign_pkcs1, Key::RSA_2048),
        ),
    ]
}

fn payloads(make: &Maker) -> Vec<Case> {
    let digest = "0123456789abcdef".repeat(4);
    let target = |members: &str| {
        make.payload(&format!(
            "{{\"targetArtifact\":{{\"mediaType\":\"m\",\"digest\":\"sha256:{digest}\",{members}}}}}"
        ))
    };
    vec![
        bad("payload-empty", "ENV-04", "Payload", make.payload("")),
        bad(
            "payload-without-target",
            "ENV-04",
            "Payload",
            make.payload("{}"),
        ),
        bad(
            "payload-size-negative",
            "ENV-04",
            "Payload",
            target("\"size\":-1"),
        ),
        bad(
            "payload-member-twice",
            "ENV-16",
            "Payload",
            target("\"size\":1,\"size\":2"),
        ),
        bad(
            "payload-member-in-other-case",
            "ENV-16",
            "Payload",
            target("\"size\":1,\"Size\":2"),
        ),
        good(
            "payload-unknown-member",
            "ENV-16",
            target("\"size\":1,\"new\":[]"),
        ),
        good(
            "payload-size-above-2-to-the-53",
            "ENV-10",
            target("\"size\":9007199254740993"),
        ),
        good(
            "payload-with-artifact-type",
            "DIF-30",
            target("\"size\":1,\"artifactType\":\"a\""),
        ),
    ]
}
