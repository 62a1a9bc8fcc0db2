//! Writing envelopes: byte for byte what is expected, and nothing at all where anything is wrong.

use ciborium::Value;
use hardsign_core::algorithm::KeySpec;
use hardsign_core::artifact::Descriptor;
use hardsign_core::crypto;
use hardsign_core::envelope::{
    Draft, DraftAttributes, Envelope, EnvelopeError, Format, Payload, Signature, Signed,
    SigningScheme,
};
use hardsign_core::oci::OciError;
use hardsign_test_support::certificate::now;
use hardsign_test_support::cose::{Map, epoch, sig_structure, to_cbor};
use hardsign_test_support::{Builder, Key, Pki, Told};

fn payload(format: Format) -> Payload {
    let digest = "0123456789abcdef".repeat(4);
    let annotations = match format {
        Format::Jws => [("z", "é<&>\u{2028}"), ("a", "\"1\"")].as_slice(),
        Format::Cose => &[],
    };
    Payload::new(Descriptor {
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        digest: format!("sha256:{digest}").parse().unwrap(),
        size: 528,
        annotations: annotations
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
    })
}

fn attributes() -> DraftAttributes {
    DraftAttributes {
        signing_time: now(),
        expiry: None,
    }
}

fn draft(format: Format, spec: KeySpec) -> Draft {
    Draft::new(format, &payload(format), &attributes(), spec).unwrap()
}

fn sign(draft: &Draft, key: &Key, chain: Vec<Vec<u8>>) -> Result<Signature, EnvelopeError> {
    draft.assemble(Signed {
        signature: key.sign(draft.to_be_signed().bytes()),
        certificate_chain: chain.into(),
        signing_agent: "hardsign/0.1.0 local/1.0".to_owned(),
    })
}

/// ENV-02: media types and names.
#[test]
fn env_02_formats() {
    for (format, media_type, name) in [
        (Format::Jws, "application/jose+json", "jws"),
        (Format::Cose, "application/cose", "cose"),
    ] {
        assert_eq!(format.media_type(), media_type);
        assert_eq!(Format::from_media_type(media_type), Some(format));
        assert_eq!(name.parse(), Ok(format));
        assert_eq!(format.name(), name);
    }
    assert_eq!(Format::from_media_type("application/jwt"), None);
    assert_eq!(Format::from_media_type("application/JOSE+json"), None);
    assert!("JWS".parse::<Format>().is_err());
    let media_type = "application/jwt".to_owned();
    assert_eq!(
        OciError::EnvelopeFormat { media_type }.to_string(),
        "signature envelope format with media type \"application/jwt\" is not supported"
    );
}

/// ENV-01, ENV-32, ENV-39, ENV-43: every key in both formats; the digest is fixed beforehand.
#[test]
fn env_43_every_key_and_format() {
    let pki = Pki::new();
    for format in Format::ALL {
        for spec in KeySpec::ALL {
            let draft = draft(format, spec);
            let message = draft.to_be_signed();
            assert_eq!(message.hash(), spec.hash());
            assert_eq!(message.digest(), crypto::hash(spec.hash(), message.bytes()));
            let chain = pki.chain(&pki.signer(spec));
            let signature = sign(&draft, &Key::of(spec), chain).unwrap();
            assert_eq!(signature.algorithm(), spec.signature_algorithm());
            assert_eq!(signature.attributes().signing_scheme, SigningScheme::X509);
            assert_eq!(signature.attributes().signing_time, now());
            assert_eq!(signature.payload(), &payload(format));
            let agent = signature.unsigned().signing_agent.as_deref();
            assert_eq!(agent, Some("hardsign/0.1.0 local/1.0"));
            let again = Envelope::parse(format, signature.bytes()).unwrap();
            assert_eq!(again.verify_integrity().unwrap().bytes(), signature.bytes());
        }
    }
}

/// ENV-05, ENV-07, ENV-09, ENV-24, JWS-03, JWS-04, JWS-06, JWS-07, JWS-10, JWS-15: the bytes of a
/// JWS. JWS-29: what is signed is itself base64url text.
#[test]
fn jws_03_bytes() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let attributes = DraftAttributes {
        signing_time: "2026-01-02T03:04:05.9Z".parse().unwrap(),
        expiry: Some("2026-01-03T03:04:05.2Z".parse().unwrap()),
    };
    let draft = Draft::new(
        Format::Jws,
        &payload(Format::Jws),
        &attributes,
        KeySpec::Ec256,
    )
    .unwrap();
    let text = String::from_utf8(draft.to_be_signed().bytes().to_vec()).unwrap();
    let (protected, signed_payload) = text.split_once('.').unwrap();
    let decode = |text| String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    assert_eq!(
        decode(protected),
        "{\"alg\":\"ES256\",\"crit\":[\"io.cncf.notary.signingScheme\",\"io.cncf.notary.expiry\"],\"cty\":\"application/vnd.cncf.notary.payload.v1+json\",\"io.cncf.notary.expiry\":\"2026-01-03T03:04:05Z\",\"io.cncf.notary.signingScheme\":\"notary.x509\",\"io.cncf.notary.signingTime\":\"2026-01-02T03:04:05Z\"}"
    );
    let digest = "0123456789abcdef".repeat(4);
    assert_eq!(
        decode(signed_payload),
        format!(
            "{{\"targetArtifact\":{{\"annotations\":{{\"a\":\"\\\"1\\\"\",\"z\":\"é\\u003c\\u0026\\u003e\\u2028\"}},\"digest\":\"sha256:{digest}\",\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"size\":528}}}}"
        )
    );
    let pki = Pki::new();
    let chain = pki.chain(&pki.signer(KeySpec::Ec256));
    let signed = Signed {
        signature: Key::P256.sign(draft.to_be_signed().bytes()),
        certificate_chain: chain.clone().into(),
        signing_agent: "a/1".to_owned(),
    };
    let expected = |header: &str| {
        let signature = URL_SAFE_NO_PAD.encode(&signed.signature);
        format!(
            "{{\"payload\":\"{signed_payload}\",\"protected\":\"{protected}\",\"header\":{{{header}}},\"signature\":\"{signature}\"}}"
        )
    };
    let x5c: Vec<String> = chain
        .iter()
        .map(|der| format!("\"{}\"", STANDARD.encode(der)))
        .collect();
    let x5c = format!("\"x5c\":[{}]", x5c.join(","));
    let agent = "\"io.cncf.notary.signingAgent\":\"a/1\"";
    let signature = draft.assemble(signed.clone()).unwrap();
    let text = |signature: &Signature| String::from_utf8(signature.bytes().to_vec()).unwrap();
    assert_eq!(text(&signature), expected(&format!("{x5c},{agent}")));
    let stamped = draft
        .assemble_with(signed.clone(), Some(vec![0xff, 0xfe]))
        .unwrap();
    let token = "\"io.cncf.notary.timestampSignature\":\"//4=\"";
    assert_eq!(text(&stamped), expected(&format!("{token},{x5c},{agent}")));
    let silent = Signed {
        signing_agent: String::new(),
        ..signed.clone()
    };
    assert_eq!(text(&draft.assemble(silent).unwrap()), expected(&x5c));
}

/// ENV-06, COSE-03, COSE-09, COSE-10, COSE-12, COSE-16, COSE-21: the bytes of a COSE envelope.
#[test]
fn cose_12_bytes() {
    let attributes = DraftAttributes {
        signing_time: now(),
        expiry: Some("2026-01-03T03:04:05Z".parse().unwrap()),
    };
    let draft = Draft::new(
        Format::Cose,
        &payload(Format::Cose),
        &attributes,
        KeySpec::Ec384,
    )
    .unwrap();
    let digest = "0123456789abcdef".repeat(4);
    let signed_payload = format!(
        "{{\"targetArtifact\":{{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:{digest}\",\"size\":528}}}}"
    );
    let protected = Map::default()
        .with(1, -35)
        .with(
            2,
            ["io.cncf.notary.signingScheme", "io.cncf.notary.expiry"]
                .map(Value::from)
                .to_vec(),
        )
        .with(3, "application/vnd.cncf.notary.payload.v1+json")
        .with("io.cncf.notary.expiry", epoch(1_767_409_445))
        .with("io.cncf.notary.signingTime", epoch(1_767_323_045))
        .with("io.cncf.notary.signingScheme", "notary.x509")
        .to_cbor();
    assert_eq!(
        draft.to_be_signed().bytes(),
        sig_structure(&protected, signed_payload.as_bytes())
    );

    let key = Key::P384;
    let single = Builder::leaf("Alone", key.spki).self_signed(&key);
    let signature = key.sign(draft.to_be_signed().bytes());
    let signed = Signed {
        signature: signature.clone(),
        certificate_chain: vec![single.der.clone()].into(),
        signing_agent: "a/1".to_owned(),
    };
    let assembled = draft.assemble_with(signed, Some(vec![7])).unwrap();
    let unprotected = Map::default()
        .with(33, vec![Value::Bytes(single.der)])
        .with("io.cncf.notary.signingAgent", "a/1")
        .with("io.cncf.notary.timestampSignature", Value::Bytes(vec![7]));
    let expected = to_cbor(&Value::Tag(
        18,
        Box::new(Value::Array(vec![
            Value::Bytes(protected),
            Value::Map(unprotected.0),
            Value::Bytes(signed_payload.into_bytes()),
            Value::Bytes(signature),
        ])),
    ));
    assert_eq!(assembled.bytes(), expected);
    assert_eq!(expected[..2], [0xd2, 0x84]);
}

/// COSE-14, COSE-21: an independent implementation of COSE reads what we write and computes the
/// same bytes to be signed.
#[test]
fn cose_21_another_implementation_agrees() {
    use coset::TaggedCborSerializable as _;
    let pki = Pki::new();
    let draft = draft(Format::Cose, KeySpec::Ec256);
    let signature = sign(&draft, &Key::P256, pki.chain(&pki.signer(KeySpec::Ec256))).unwrap();
    let message = coset::CoseSign1::from_tagged_slice(signature.bytes()).unwrap();
    assert_eq!(message.tbs_data(&[]), draft.to_be_signed().bytes());
    assert_eq!(message.signature, signature.signature_bytes());
    assert_eq!(message.payload.as_deref(), Some(signature.payload_bytes()));
    let algorithm = coset::RegisteredLabelWithPrivate::Assigned(coset::iana::Algorithm::ES256);
    assert_eq!(message.protected.header.alg, Some(algorithm));
    assert_eq!(message.to_tagged_vec().unwrap(), signature.bytes());
}

/// ENV-21, ENV-22, ENV-23: times of a draft.
#[test]
fn env_23_times() {
    let with = |signing_time: &str, expiry: &str| {
        let attributes = DraftAttributes {
            signing_time: signing_time.parse().unwrap(),
            expiry: Some(expiry.parse().unwrap()),
        };
        Draft::new(
            Format::Jws,
            &payload(Format::Jws),
            &attributes,
            KeySpec::Ec256,
        )
    };
    assert!(with("2026-01-02T03:04:05Z", "2026-01-02T03:04:06Z").is_ok());
    for (time, expiry) in [
        ("2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.9Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05Z", "2025-01-02T03:04:05Z"),
    ] {
        assert!(matches!(
            with(time, expiry),
            Err(EnvelopeError::ExpiryNotAfterSigningTime)
        ));
    }
    assert!(matches!(
        with("0001-01-01T00:00:00Z", "2026-01-02T03:04:05Z"),
        Err(EnvelopeError::SigningTimeMissing)
    ));
}

/// ENV-10: sizes are exact, and those that the payload cannot hold are refused.
#[test]
fn env_10_sizes() {
    let with = |size| {
        let mut payload = payload(Format::Jws);
        payload.target.size = size;
        let draft = Draft::new(Format::Jws, &payload, &attributes(), KeySpec::Ec256);
        draft.map(|_| {
            Payload::parse(&payload.to_json(Format::Jws))
                .unwrap()
                .target
                .size
        })
    };
    let largest = u64::try_from(i64::MAX).unwrap();
    assert_eq!(with(largest).unwrap(), largest);
    assert!(matches!(
        with(largest + 1),
        Err(EnvelopeError::SizeOutOfRange { .. })
    ));
}

/// PLG-30: a chain that breaks a rule is told of before the signature, which can't verify with the
/// key of what stands in the leaf's place. Roots of every kind stand first here, and other things.
#[test]
fn plg_30_the_chain_is_told_of_before_the_signature() {
    let told = |chain: Vec<Vec<u8>>| {
        Format::ALL.map(|format| {
            let draft = draft(format, KeySpec::Ec256);
            sign(&draft, &Key::P256, chain.clone()).unwrap_err().told()
        })
    };
    let chain_first = "generated signature failed verification: certificate-chain is invalid, ";
    for spec in KeySpec::ALL {
        let root = Builder::ca("Root", &Key::of(spec)).self_signed(&Key::of(spec));
        let leaf = Builder::leaf("Leaf", Key::P256.spki).issue(&root, &Key::P256);
        for error in told(vec![root.der.clone(), leaf.der]) {
            assert!(error.starts_with(chain_first), "{spec}: {error}");
            assert!(error.contains("self-signed"), "{spec}: {error}");
        }
    }
    // An intermediate first; a chain upside down; a leaf of another issuer, before its own.
    let pki = Pki::new();
    let leaf = pki.signer(KeySpec::Ec256);
    let mut upside_down = pki.chain(&leaf);
    upside_down.reverse();
    let strange = Builder::ca("Strange", &Key::P384).self_signed(&Key::P384);
    let strange = Builder::leaf("Leaf", Key::P384.spki).issue(&strange, &Key::P384);
    for chain in [
        vec![pki.ca.der.clone(), leaf.der.clone(), pki.root.der.clone()],
        upside_down,
        vec![strange.der, pki.ca.der.clone(), pki.root.der.clone()],
    ] {
        for error in told(chain) {
            assert!(error.starts_with(chain_first), "{error}");
        }
    }
    // With a good chain of another key it is the signature that is told of.
    for error in told(pki.chain(&pki.signer(KeySpec::Ec384))) {
        assert!(
            error.contains("signature is invalid. Error: crypto/"),
            "{error}"
        );
    }
}

/// ENV-39, X509-19: whatever is wrong with the answer, there is no signature.
#[test]
fn env_39_nothing_is_kept_of_a_bad_answer() {
    let pki = Pki::new();
    let chain = pki.chain(&pki.signer(KeySpec::Ec256));
    let late =
        Builder::leaf("Late", Key::P256.spki).valid("2026-01-02T03:04:06Z", "2027-01-01T00:00:00Z");
    let late = pki.chain(&pki.issue(late, &Key::P256));
    let past =
        Builder::leaf("Past", Key::P256.spki).valid("2025-01-01T00:00:00Z", "2026-01-02T03:04:04Z");
    let past = pki.chain(&pki.issue(past, &Key::P256));
    let ca_leaf = pki.chain(&pki.issue(Builder::ca("CA", &Key::P256), &Key::P256));
    let p384 = pki.chain(&pki.signer(KeySpec::Ec384));
    for format in Format::ALL {
        let draft = draft(format, KeySpec::Ec256);
        let message = draft.to_be_signed().bytes().to_vec();
        let good = Key::P256.sign(&message);
        assert!(sign(&draft, &Key::P256, chain.clone()).is_ok());
        let mut flipped = good.clone();
        flipped[0] ^= 1;
        for (signature, chain, text) in [
            (
                flipped,
                &chain,
                "signature is invalid. Error: crypto/ecdsa: verification error",
            ),
            (Key::P256_B.sign(&message), &chain, "signature is invalid."),
            (
                Key::P256.sign(b"something else"),
                &chain,
                "signature is invalid.",
            ),
            (
                Key::P256.sign_ecdsa_der(&message),
                &chain,
                "signature is invalid.",
            ),
            (Vec::new(), &chain, "signature missing"),
            (
                good.clone(),
                &Vec::new(),
                "certificate chain is not present",
            ),
            (
                good.clone(),
                &chain[..1].to_vec(),
                "certificate-chain is invalid, ",
            ),
            (
                good.clone(),
                &chain[..2].to_vec(),
                "certificate-chain is invalid, ",
            ),
            (
                good.clone(),
                &vec![b"x".to_vec()],
                "malformed leaf certificate",
            ),
            (
                good.clone(),
                &late,
                "certificate-chain is invalid, certificate with subject",
            ),
            (
                good.clone(),
                &past,
                "certificate-chain is invalid, certificate with subject",
            ),
            (good.clone(), &ca_leaf, "certificate-chain is invalid, "),
            (
                Key::P384.sign(&message),
                &p384,
                "mismatch between signature algorithm",
            ),
        ] {
            let error = draft
                .assemble(Signed {
                    signature,
                    certificate_chain: chain.clone().into(),
                    signing_agent: String::new(),
                })
                .unwrap_err();
            let start = format!("generated signature failed verification: {text}");
            assert!(error.told().starts_with(&start), "{error} is not {start}");
        }
    }
}
