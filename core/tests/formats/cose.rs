//! COSE envelopes: what is read and what is not.

use ciborium::Value;
use hardsign_core::envelope::{
    AttributeKey, CborError, Envelope, EnvelopeError, Format, Signature, SigningScheme,
};
use hardsign_test_support::cose::{
    Cose, Map, epoch, protected, protected_by_authority, sig_structure, to_cbor, unprotected,
};
use hardsign_test_support::jws::payload;
use hardsign_test_support::{Builder, Key, Pki, Told};

const KEY: Key = Key::P256;
const SCHEME: &str = "io.cncf.notary.signingScheme";
const TIME: &str = "io.cncf.notary.signingTime";
const AUTHENTIC: &str = "io.cncf.notary.authenticSigningTime";
const EXPIRY: &str = "io.cncf.notary.expiry";
const TOKEN: &str = "io.cncf.notary.timestampSignature";
const AGENT: &str = "io.cncf.notary.signingAgent";

fn chain() -> Vec<Vec<u8>> {
    let pki = Pki::new();
    let leaf = pki.issue(Builder::leaf("Leaf", KEY.spki), &KEY);
    pki.chain(&leaf)
}

fn verify(bytes: &[u8]) -> Result<Signature, EnvelopeError> {
    Envelope::parse(Format::Cose, bytes)?.verify_integrity()
}

fn cose() -> Cose {
    let header = protected(&KEY).to_cbor();
    Cose::sign(&header, payload().as_bytes(), &unprotected(&chain()), &KEY)
}

/// A valid signature over any protected header.
fn with_protected(protected: &Map) -> Result<Signature, EnvelopeError> {
    with_protected_bytes(&protected.to_cbor())
}

fn with_protected_bytes(protected: &[u8]) -> Result<Signature, EnvelopeError> {
    let cose = Cose::sign(
        protected,
        payload().as_bytes(),
        &unprotected(&chain()),
        &KEY,
    );
    verify(&cose.to_bytes())
}

fn with_unprotected(unprotected: &Map) -> Result<Signature, EnvelopeError> {
    let mut cose = cose();
    cose.unprotected = unprotected.to_cbor();
    verify(&cose.to_bytes())
}

fn text(result: Result<Signature, EnvelopeError>) -> String {
    result.unwrap_err().told()
}

fn texts(labels: &[&str]) -> Vec<Value> {
    labels.iter().map(|l| Value::from(*l)).collect()
}

#[test]
fn a_good_envelope_is_read() {
    let bytes = cose().to_bytes();
    let signature = verify(&bytes).unwrap();
    assert_eq!(signature.format(), Format::Cose);
    assert_eq!(signature.bytes(), bytes);
    assert_eq!(signature.payload_bytes(), payload().as_bytes());
    assert_eq!(
        signature.attributes().signing_time.to_string(),
        "2026-01-02T03:04:05Z"
    );
    assert_eq!(
        signature.unsigned().signing_agent.as_deref(),
        Some("hardsign-tests/1.0")
    );
    assert_eq!(signature.signature_bytes().len(), 64);
}

/// COSE-01: tag 18 and an array of four, nothing before or after.
#[test]
fn cose_01_tagged_only() {
    let good = cose().to_bytes();
    let (tag, body) = good.split_at(1);
    assert_eq!(tag, [0xd2]);
    let wrong = [
        body.to_vec(),
        [&[0xd9, 0xd9, 0xf7], good.as_slice()].concat(),
        [&[0xd3], body].concat(),
        [&[0xd8, 0x12], body].concat(),
        [&[0xd2, 0xd2], body].concat(),
        [good.as_slice(), &[0]].concat(),
        [good.as_slice(), &[0xf6]].concat(),
        [&[0xd2, 0x83], &body[1..]].concat(),
        [&[0xd2, 0x85], &body[1..], &[0xf6]].concat(),
        [&[0xd2, 0x98, 0x04], &body[1..]].concat(),
        [&[0xd2, 0x9f], &body[1..], &[0xff]].concat(),
        Vec::new(),
        vec![0xd2],
        vec![0xd2, 0x84],
    ];
    for bytes in wrong {
        assert!(
            verify(&bytes).is_err(),
            "{:02x?}",
            &bytes[..bytes.len().min(4)]
        );
    }
    for length in 0..good.len() {
        assert!(verify(&good[..length]).is_err());
    }
}

/// The four parts as any CBOR.
fn parts(protected: &Value, unprotected: &Value, payload: &Value, signature: &Value) -> Vec<u8> {
    let mut out = vec![0xd2, 0x84];
    for part in [protected, unprotected, payload, signature] {
        out.extend(to_cbor(part));
    }
    out
}

/// COSE-02, COSE-03: types of the four parts.
#[test]
fn cose_02_types_of_parts() {
    let good = cose();
    let protected = Value::Bytes(good.protected.clone());
    let header = Value::Map(unprotected(&chain()).0);
    let payload = Value::Bytes(good.payload.clone());
    let signature = Value::Bytes(good.signature.clone());
    assert!(verify(&parts(&protected, &header, &payload, &signature)).is_ok());
    let null = Value::Null;
    let map = Value::Map(self::protected(&KEY).0);
    assert!(verify(&parts(&map, &header, &payload, &signature)).is_err());
    assert!(verify(&parts(&null, &header, &payload, &signature)).is_err());
    assert!(verify(&parts(&protected, &null, &payload, &signature)).is_err());
    assert!(verify(&parts(&protected, &header, &null, &signature)).is_err());
    assert!(verify(&parts(&protected, &header, &Value::from("x"), &signature)).is_err());
    assert!(verify(&parts(&protected, &header, &payload, &null)).is_err());
    // COSE-22.
    let empty = Value::Bytes(Vec::new());
    let verdict = verify(&parts(&protected, &header, &payload, &empty));
    assert_eq!(text(verdict), "signature missing in COSE envelope");
    assert!(verify(&parts(&empty, &header, &payload, &signature)).is_err());
    assert!(matches!(
        verify(&Cose::sign(&good.protected, b"", &unprotected(&chain()), &KEY).to_bytes()),
        Err(EnvelopeError::Payload { .. })
    ));
    let array = Value::Bytes(to_cbor(&Value::Array(Vec::new())));
    assert!(verify(&parts(&array, &header, &payload, &signature)).is_err());
}

/// ENV-33, COSE-04: the algorithm.
#[test]
fn cose_04_algorithm() {
    for id in [-8, -257, 0, 5, -47] {
        let verdict = with_protected(&protected(&KEY).with(1, id));
        assert_eq!(
            text(verdict),
            format!("signature algorithm not supported: {id}")
        );
    }
    assert!(with_protected(&protected(&KEY).with(1, "ES256")).is_err());
    assert!(with_protected(&protected(&KEY).without(1)).is_err());
    for id in [-35, -36, -37] {
        let verdict = with_protected(&protected(&KEY).with(1, id));
        assert!(
            matches!(verdict, Err(EnvelopeError::AlgorithmMismatch { .. })),
            "{id}"
        );
    }
}

/// ENV-03, COSE-05: the content type.
#[test]
fn cose_05_content_type() {
    assert_eq!(
        text(with_protected(&protected(&KEY).without(3))),
        "missing content type"
    );
    assert_eq!(
        text(with_protected(&protected(&KEY).with(3, 50))),
        "content type should be of 'tstr' type"
    );
    assert_eq!(
        text(with_protected(&protected(&KEY).with(3, "text/plain"))),
        "payload content type \"text/plain\" not supported"
    );
}

/// COSE-06, COSE-07, COSE-08, COSE-20: `crit`.
#[test]
fn cose_06_critical_labels() {
    let crit = |labels: Vec<Value>| with_protected(&protected(&KEY).with(2, labels));
    assert_eq!(
        text(with_protected(&protected(&KEY).without(2))),
        "missing \"crit\" header"
    );
    assert!(crit(Vec::new()).is_err());
    assert!(with_protected(&protected(&KEY).with(2, SCHEME)).is_err());
    assert!(crit(vec![Value::from(SCHEME), Value::Bytes(vec![1])]).is_err());
    assert!(matches!(
        crit(texts(&[SCHEME, SCHEME])),
        Err(EnvelopeError::CriticalRepeated { .. })
    ));
    assert!(matches!(
        crit(texts(&[SCHEME, "x"])),
        Err(EnvelopeError::CriticalNotPresent { .. })
    ));
    assert!(matches!(
        crit(texts(&[SCHEME, EXPIRY])),
        Err(EnvelopeError::CriticalNotPresent { .. })
    ));
    for label in (0..=8).chain([34, 100, -1]) {
        let header = protected(&KEY)
            .with(
                label,
                protected(&KEY)
                    .0
                    .iter()
                    .find(|(l, _)| *l == Value::from(label))
                    .map_or(Value::from(0), |(_, v)| v.clone()),
            )
            .with(2, vec![Value::from(SCHEME), Value::from(label)]);
        assert!(
            matches!(
                with_protected(&header),
                Err(EnvelopeError::UnsupportedCritical { .. })
            ),
            "{label}"
        );
    }
    let required = |header: &Map, missing: &str| {
        assert_eq!(
            text(with_protected(header)),
            format!("these required headers are not marked as critical: [{missing}]")
        );
    };
    let x = protected(&KEY).with("x", 1).with(2, texts(&["x"]));
    required(&x, SCHEME);
    required(&protected(&KEY).with(EXPIRY, epoch(1_800_000_000)), EXPIRY);
    required(
        &protected_by_authority(&KEY).with(2, texts(&[SCHEME])),
        AUTHENTIC,
    );
}

/// COSE-10, COSE-11, COSE-22, ENV-20, ENV-21, ENV-22: times.
#[test]
fn cose_10_times() {
    let at = |value: Value| {
        with_protected(&protected(&KEY).with(TIME, value))
            .map(|s| s.attributes().signing_time.to_string())
    };
    let tagged = |tag, value: Value| Value::Tag(tag, Box::new(value));
    assert_eq!(at(epoch(0)).unwrap(), "1970-01-01T00:00:00Z");
    assert_eq!(at(epoch(-1)).unwrap(), "1969-12-31T23:59:59Z");
    assert_eq!(
        at(tagged(1, Value::Float(1.5))).unwrap(),
        "1970-01-01T00:00:01.5Z"
    );
    let text_of = |value| at(value).unwrap_err().told();
    assert_eq!(
        text_of(tagged(0, Value::from("2026-01-02T03:04:05Z"))),
        "invalid signingTime: only Tag `1` Datetime CBOR object is supported"
    );
    assert_eq!(
        text_of(Value::from(1_767_323_045)),
        format!("invalid signingTime: header \"{TIME}\" time value does not have a tag")
    );
    for bad in [
        Value::Float(f64::NAN),
        Value::Float(f64::INFINITY),
        Value::Float(f64::NEG_INFINITY),
        Value::Float(1e300),
        Value::from(u64::MAX),
        Value::from(i64::MIN),
        Value::from(253_402_300_800_i64),
        Value::from("0"),
        Value::Null,
        Value::Tag(2, Box::new(Value::Bytes(vec![1]))),
    ] {
        assert!(at(tagged(1, bad.clone())).is_err(), "{bad:?}");
    }
    assert_eq!(text_of(epoch(-62_135_596_800)), "signing-time not present");
    assert_eq!(
        text(with_protected(&protected(&KEY).without(TIME))),
        format!("invalid signingTime: protected header \"{TIME}\" is missing")
    );
    let expiring = |value: Value| {
        with_protected(
            &protected(&KEY)
                .with(EXPIRY, value)
                .with(2, texts(&[SCHEME, EXPIRY])),
        )
    };
    assert!(
        expiring(epoch(1_767_323_046))
            .unwrap()
            .attributes()
            .expiry
            .is_some()
    );
    assert_eq!(
        text(expiring(epoch(1_767_323_045))),
        "expiry cannot be equal or before the signing time"
    );
    assert!(text(expiring(Value::from(0))).starts_with("invalid expiry: "));
    assert!(text(expiring(Value::Null)).starts_with("invalid expiry: "));
}

/// ENV-17, ENV-19, ENV-20: schemes and their times; the reference ignores the other scheme's.
#[test]
fn env_20_scheme_and_time() {
    let authority = with_protected(&protected_by_authority(&KEY)).unwrap();
    assert_eq!(
        authority.attributes().signing_scheme,
        SigningScheme::SigningAuthority
    );
    assert!(authority.attributes().authentic_signing_time().is_some());
    let scheme = |value: Value| text(with_protected(&protected(&KEY).with(SCHEME, value)));
    assert_eq!(scheme(Value::from("x")), "unsupported signingScheme: x");
    assert_eq!(scheme(Value::from(7)), "invalid signingScheme");
    for header in [
        protected(&KEY).with(AUTHENTIC, epoch(1)),
        protected_by_authority(&KEY).with(TIME, epoch(1)),
    ] {
        assert!(matches!(
            with_protected(&header),
            Err(EnvelopeError::TimeOfOtherScheme { .. })
        ));
    }
}

/// COSE-13: indefinite lengths and duplicate keys, in both headers and at any depth.
#[test]
fn cose_13_strict_cbor() {
    let good = protected(&KEY).to_cbor();
    let members = &good[1..];
    let indefinite = [&[0xbf], members, &[0xff]].concat();
    let reason = |verdict: Result<Signature, EnvelopeError>| match verdict {
        Err(EnvelopeError::Cbor { source }) => source,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        reason(with_protected_bytes(&indefinite)),
        CborError::IndefiniteLength
    );
    let inner = |value: &[u8]| {
        let head = 0xa0 | (protected(&KEY).0.len() + 1) as u8;
        reason(with_protected_bytes(
            &[&[head], members, &[0x61, b'x'], value].concat(),
        ))
    };
    for (value, why) in [
        (&[0x9f, 0xff][..], CborError::IndefiniteLength),
        (&[0x5f, 0x41, 0x00, 0xff], CborError::IndefiniteLength),
        (&[0x7f, 0x61, 0x61, 0xff], CborError::IndefiniteLength),
        (&[0xa2, 0x01, 0x02, 0x01, 0x03], CborError::DuplicateKey),
        (
            &[0xa2, 0x01, 0x02, 0x18, 0x01, 0x03],
            CborError::DuplicateKey,
        ),
        (
            &[0xa2, 0x61, 0x61, 0x02, 0x78, 0x01, 0x61, 0x03],
            CborError::DuplicateKey,
        ),
        (&[0xa1, 0x41, 0x00, 0x00], CborError::KeyType),
        (&[0x61, 0xff], CborError::Utf8),
        (&[0xf7], CborError::Unsupported),
        (&[0xf8, 0x20], CborError::Unsupported),
        (&[0x1c], CborError::Unsupported),
        (&[0xff], CborError::IndefiniteLength),
        (&[0x01, 0x01], CborError::TrailingData),
        (
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            CborError::UnexpectedEnd,
        ),
        (
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            CborError::UnexpectedEnd,
        ),
        (&[0x82, 0x01], CborError::UnexpectedEnd),
        (&[0x19, 0x01], CborError::UnexpectedEnd),
        (&[], CborError::UnexpectedEnd),
    ] {
        assert_eq!(inner(value), why, "{value:02x?}");
    }
    let twice = protected(&KEY).and(1, -7);
    assert_eq!(reason(with_protected(&twice)), CborError::DuplicateKey);
    let twice = unprotected(&chain()).and(AGENT, "x");
    assert_eq!(reason(with_unprotected(&twice)), CborError::DuplicateKey);
    // ENV-42.
    let deep = [vec![0x81; 40], vec![0]].concat();
    assert_eq!(inner(&deep), CborError::TooDeep);
    let long = [&[0x9a, 0, 2, 0, 0][..], &[0; 0x2_0000]].concat();
    assert_eq!(inner(&long), CborError::TooManyItems);
}

/// COSE-14: the signature covers the protected bytes as received, whatever their encoding.
#[test]
fn cose_14_protected_bytes_as_received() {
    // Another order, and an integer longer than needed.
    let mut members = protected(&KEY).0;
    members.reverse();
    let reversed = Map(members).to_cbor();
    assert_ne!(reversed, protected(&KEY).to_cbor());
    assert!(with_protected_bytes(&reversed).is_ok());
    let good = protected(&KEY).to_cbor();
    assert_eq!(good[1], 1);
    let long_label = [&good[..1], &[0x18, 0x01], &good[2..]].concat();
    assert!(with_protected_bytes(&long_label).is_ok());
    // The same header in another encoding under the first signature is refused.
    let mut swapped = cose();
    swapped.protected = long_label;
    assert!(matches!(
        verify(&swapped.to_bytes()),
        Err(EnvelopeError::Signature { .. })
    ));
    // External data is empty: a signature with some does not verify.
    let mut aad = cose();
    let mut structure = sig_structure(&aad.protected, &aad.payload);
    let at = structure
        .windows(2)
        .rposition(|w| w == [0x40, 0x58])
        .unwrap();
    structure.splice(at..=at, [0x41, 0x00]);
    aad.signature = KEY.sign(&structure);
    assert!(matches!(
        verify(&aad.to_bytes()),
        Err(EnvelopeError::Signature { .. })
    ));
}

/// COSE-15 to COSE-19, DIF-16: the unprotected header.
#[test]
fn cose_15_unprotected_header() {
    let good = || unprotected(&chain());
    let missing = "certificate chain is not present";
    assert_eq!(text(with_unprotected(&good().without(33))), missing);
    assert_eq!(
        text(with_unprotected(&good().with(33, Vec::<Value>::new()))),
        missing
    );
    assert_eq!(text(with_unprotected(&good().with(33, 7))), missing);
    assert_eq!(
        text(with_unprotected(&good().with(33, vec![Value::from(7)]))),
        "COSE envelope malformed leaf certificate"
    );
    assert_eq!(
        text(with_unprotected(
            &good().with(33, vec![Value::Bytes(vec![0])])
        )),
        "malformed leaf certificate: x509: malformed certificate: Certificate, at byte 0: unknown/unsupported ASN.1 DER tag: 0x00"
    );
    let mixed = vec![Value::Bytes(chain()[0].clone()), Value::from("x")];
    assert_eq!(text(with_unprotected(&good().with(33, mixed))), missing);

    let token = with_unprotected(&good().with(TOKEN, Value::Bytes(vec![1, 2]))).unwrap();
    assert_eq!(
        token.unsigned().timestamp_token.as_deref(),
        Some(&[1, 2][..])
    );
    // COSE-19: a mangled token is an error, a mangled agent is nothing.
    for bad in [Value::from("x"), Value::Null, Value::Bytes(Vec::new())] {
        assert!(with_unprotected(&good().with(TOKEN, bad)).is_err());
    }
    let agent = with_unprotected(&good().with(AGENT, 7)).unwrap();
    assert_eq!(agent.unsigned().signing_agent, None);
    assert!(with_unprotected(&good().with("x", 1).with(4, Value::Bytes(vec![1]))).is_ok());
    // RFC 9052 §3: no label in both headers, no `crit` outside the protected one.
    assert!(with_unprotected(&good().with(SCHEME, "notary.x509")).is_err());
    assert!(with_unprotected(&good().with(1, -7)).is_err());
    assert!(with_unprotected(&good().with(2, texts(&[SCHEME]))).is_err());
}

/// COSE-16, COSE-17: a single bstr, and the chain in the protected header.
#[test]
fn cose_17_where_the_chain_stands() {
    let single = Builder::leaf("Alone", KEY.spki).self_signed(&KEY);
    let header = protected(&KEY).to_cbor();
    let bare = Map::default().with(33, Value::Bytes(single.der));
    let cose = Cose::sign(&header, payload().as_bytes(), &bare, &KEY);
    assert!(verify(&cose.to_bytes()).is_ok());

    let outside = unprotected(&chain());
    let (_, array) = outside.0[0].clone();
    let inside = protected(&KEY).with(33, array.clone()).to_cbor();
    let verdict =
        |header: &Map| verify(&Cose::sign(&inside, payload().as_bytes(), header, &KEY).to_bytes());
    let signature = verdict(&Map::default()).unwrap();
    assert!(signature.attributes().extended.is_empty());
    assert!(verdict(&outside).is_ok());
    let pki = Pki::new();
    let other = pki.issue(Builder::leaf("Leaf", KEY.spki).ocsp("http://x"), &KEY);
    assert!(matches!(
        verdict(&unprotected(&pki.chain(&other))),
        Err(EnvelopeError::ConflictingChains)
    ));
}

/// COSE-20: extended attributes.
#[test]
fn cose_20_extended_attributes() {
    let header = protected(&KEY)
        .with("a", Value::Bytes(vec![1]))
        .with("b", Value::Map(vec![(Value::from("k"), Value::from(1))]))
        .with(-70_000, "x")
        .with(2, texts(&[SCHEME, "a"]));
    let signature = with_protected(&header).unwrap();
    let attributes = &signature.attributes().extended;
    let keys: Vec<_> = attributes
        .iter()
        .map(|a| (a.key.to_string(), a.critical))
        .collect();
    assert_eq!(
        keys,
        [
            ("a".to_owned(), true),
            ("b".to_owned(), false),
            ("-70000".to_owned(), false)
        ]
    );
    assert_eq!(attributes[0].value.to_json().unwrap().to_json(), "\"AQ==\"");
    assert_eq!(
        attributes[1].value.to_json().unwrap().to_json(),
        "{\"k\":1}"
    );
    assert_eq!(attributes[2].key, AttributeKey::Integer(-70_000));
    let critical: Vec<_> = signature.attributes().critical_for_plugin().collect();
    assert_eq!(critical.len(), 1);
}

/// COSE-23: the text of a failed signature.
#[test]
fn cose_23_text() {
    let mut bad = cose();
    bad.payload[5] ^= 1;
    assert_eq!(
        text(verify(&bad.to_bytes())),
        "signature is invalid. Error: crypto/ecdsa: verification error"
    );
}

/// ENV-42: size, number of headers.
#[test]
fn env_42_bounds() {
    let many = |header: Map, more: i32| (100..100 + more).fold(header, |h, i| h.and(i, 1));
    assert!(with_protected(&many(protected(&KEY), 120)).is_ok());
    let refused = |verdict| matches!(verdict, Err(EnvelopeError::TooManyHeaders));
    assert!(refused(with_protected(&many(protected(&KEY), 130))));
    assert!(refused(with_unprotected(&many(unprotected(&chain()), 130))));
    let labels: Vec<Value> = (0..130).map(|i| Value::from(i.to_string())).collect();
    assert!(refused(with_protected(&protected(&KEY).with(2, labels))));

    let huge = [&[0xd2, 0x84][..], &vec![0; 32 * 1024 * 1024]].concat();
    assert!(matches!(verify(&huge), Err(EnvelopeError::TooLarge { .. })));
}
