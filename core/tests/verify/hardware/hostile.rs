//! Headers that are not what they should be, and evidence where none belongs.

use super::*;

/// An algorithm without NULL, as Yubico's "B 2" has it, and a root that is good to the end of the year 9999:
/// neither makes evidence bad.
#[tokio::test]
async fn no_null_and_no_end() {
    let pki = Pki::new();
    let rsa = Key::of(KeySpec::Rsa2048);
    let no_null = asn1::sequence(&[&asn1::oid("1.2.840.113549.1.1.11")]);
    let without_end = |builder: Builder| builder.change(|b| b.not_after = Timestamp::MAX);
    let root = without_end(Builder::ca("Maker Root", &rsa))
        .change(|root| root.algorithm = Some(no_null.clone()))
        .self_signed(&rsa);
    let f9 = without_end(attestation_key(Some(0)))
        .change(|f9| f9.algorithm = Some(no_null))
        .issue(&root, &Key::P256_B);
    let maker = Maker { root, f9 };
    let (_, chain) = signer_of(&pki);
    let world = world(&pki, &maker);
    let envelope = signed(Format::Jws, &chain, &Key::P384, &maker.evidence(&Key::P384));
    let accepted = verified(world.verify(&shelf(Format::Jws, &envelope)).await);
    let report = accepted.signatures()[0].signature.report();
    let root = report.attested.as_ref().unwrap().root().unwrap();
    assert_eq!(root.not_after_utc().to_string(), "9999-12-31T23:59:59");
}

/// A header that can't be read is no evidence, and breaks nothing where none is demanded.
#[tokio::test]
async fn hostile_headers() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let (_, chain) = signer_of(&pki);
    let key = &Key::P384;
    let good = maker.evidence(key);
    let fit = |length: usize| {
        let value = header("1", "yubico-piv", &good);
        let filler = "A".repeat(length - value.len() - 3);
        value.replace("\"]", &format!("\",\"{filler}\"]"))
    };
    let b64 = |der: &[u8]| STANDARD.encode(der);
    let shape = |fault| CarriedFault::Shape { fault };
    let encoding = |number, expected| CarriedFault::Encoding { number, expected };
    let base64 = "standard base64 with padding";
    let list = shape("has no list of certificates");
    let trailing = [good[0].clone(), vec![0]].concat();
    let no_certificate: [(String, CarriedFault); 16] = [
        ("null".to_owned(), shape("is not an object")),
        ("7".to_owned(), shape("is not an object")),
        (format!("\"{}\"", b64(&good[0])), shape("is not an object")),
        (
            format!("[\"{}\"]", b64(&good[0])),
            shape("is not an object"),
        ),
        ("{}".to_owned(), CarriedFault::Version),
        (header("2", "yubico-piv", &good), CarriedFault::Version),
        (header("1.0", "yubico-piv", &good), CarriedFault::Version),
        (header("\"1\"", "yubico-piv", &good), CarriedFault::Version),
        (
            header("1", "yubico-pvi", &good),
            CarriedFault::Format {
                format: "yubico-pvi".to_owned(),
            },
        ),
        (
            header("1", "yubico-piv", &good).replace("format", "kind"),
            shape("has a member that version 1 does not have"),
        ),
        (
            r#"{"version":1,"certificates":[]}"#.to_owned(),
            shape("names no format"),
        ),
        (header("1", "yubico-piv", &[]), shape("has no certificate")),
        (
            r#"{"version":1,"format":"yubico-piv"}"#.to_owned(),
            list.clone(),
        ),
        (
            r#"{"version":1,"format":"yubico-piv","certificates":{"0":""}}"#.to_owned(),
            list,
        ),
        (
            header("1", "yubico-piv", &vec![good[0].clone(); 9]),
            CarriedFault::TooMany { certificates: 9 },
        ),
        (
            fit(MAX_ATTESTATION_LEN + 1),
            CarriedFault::TooLong {
                length: MAX_ATTESTATION_LEN + 1,
            },
        ),
    ];
    let wrong_items = [
        ("7".to_owned(), encoding(2, base64)),
        ("null".to_owned(), encoding(2, base64)),
        ("\"*\"".to_owned(), encoding(2, base64)),
        ("\"AAA\"".to_owned(), encoding(2, base64)),
        ("\"A-_A\"".to_owned(), encoding(2, base64)),
    ];
    let with_item = |item: &str| {
        let first = header("1", "yubico-piv", &good[..1]);
        first.replace("\"]", &format!("\",{item}]"))
    };
    let world = world(&pki, &maker);
    let plain = World::new().trust("ca:t", &pki.root).statement(&strict());
    let items = wrong_items.map(|(item, fault)| (with_item(&item), fault));
    for (value, fault) in no_certificate.into_iter().chain(items) {
        let envelope = jws_with(&chain, key, &value);
        let clipped: String = value.chars().take(80).collect();
        let result = world.verify(&shelf(Format::Jws, &envelope)).await;
        assert_eq!(
            refused(result),
            HardwareError::Header(fault.clone()),
            "{clipped}"
        );
        assert_eq!(
            verdict(plain.verify(&shelf(Format::Jws, &envelope)).await),
            "ok"
        );
        let parsed = Envelope::parse(Format::Jws, &envelope).unwrap();
        let signature = parsed.verify_integrity().unwrap();
        assert_eq!(signature.unsigned().attestation, Some(Err(fault)));
    }
    // Certificates that are none, or followed by something; one more than fits just so.
    let bytes = vec![0x30, 0];
    for evidence in [
        vec![trailing],
        vec![bytes.clone()],
        vec![good[0].clone(), bytes],
        vec![good[0].clone(), Vec::new()],
    ] {
        for format in Format::ALL {
            let envelope = signed(format, &chain, key, &evidence);
            let result = world.verify(&shelf(format, &envelope)).await;
            assert!(matches!(refused(result), HardwareError::Evidence(_)));
            assert_eq!(verdict(plain.verify(&shelf(format, &envelope)).await), "ok");
        }
    }
    let longest = jws_with(&chain, key, &fit(MAX_ATTESTATION_LEN));
    let result = world.verify(&shelf(Format::Jws, &longest)).await;
    // 32 KiB are read; what fills them is no certificate.
    assert!(matches!(
        refused(result),
        HardwareError::Evidence(_) | HardwareError::Header(CarriedFault::Encoding { .. })
    ));
}

/// The same in COSE, as far as CBOR has other ways to be wrong.
#[tokio::test]
async fn hostile_headers_in_cose() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let (_, chain) = signer_of(&pki);
    let key = &Key::P384;
    let good: Vec<_> = maker.evidence(key).into_iter().map(Cbor::Bytes).collect();
    let world = world(&pki, &maker);
    let plain = World::new().trust("ca:t", &pki.root).statement(&strict());
    let encoding = |number| CarriedFault::Encoding {
        number,
        expected: "a byte string",
    };
    let long = vec![Cbor::Bytes(vec![0; MAX_ATTESTATION_LEN])];
    let text = || Cbor::Text("AAAA".to_owned());
    let with_number = |value: Cbor| match value {
        Cbor::Map(mut members) => {
            members.push((7.into(), 7.into()));
            Cbor::Map(members)
        }
        other => other,
    };
    for (value, fault) in [
        (Cbor::Null, "is not a map"),
        (Cbor::Array(good.clone()), "is not a map"),
        (Cbor::Bytes(vec![0x30, 0]), "is not a map"),
        (map(2, "yubico-piv", good.clone()), "has another version"),
        (
            map(1, "yubico", good.clone()),
            "is of the format \"yubico\"",
        ),
        (
            with_number(map(1, "yubico-piv", good.clone())),
            "has a member that version 1",
        ),
        (map(1, "yubico-piv", vec![]), "has no certificate"),
        (
            map(1, "yubico-piv", vec![good[0].clone(); 9]),
            "has 9 certificates, more than 8",
        ),
        (
            map(1, "yubico-piv", vec![good[0].clone(), text()]),
            "certificate 2 is not a byte string",
        ),
        (map(1, "yubico-piv", long), "bytes, more than 32768"),
    ] {
        let envelope = cose_with(&chain, key, value);
        match refused(world.verify(&shelf(Format::Cose, &envelope)).await) {
            HardwareError::Header(found) => assert!(found.to_string().contains(fault), "{found}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(
            verdict(plain.verify(&shelf(Format::Cose, &envelope)).await),
            "ok"
        );
    }
    assert_eq!(
        encoding(1).to_string(),
        "certificate 1 is not a byte string"
    );
}

/// Elsewhere than in the unprotected header, or under another name, it is no evidence.
#[tokio::test]
async fn evidence_elsewhere() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let (_, chain) = signer_of(&pki);
    let key = &Key::P384;
    let value = header("1", "yubico-piv", &maker.evidence(key));
    let world = world(&pki, &maker);
    let payload = payload(&artifact());
    let protected = jws::protected(key).with(ATTESTATION, &value);
    let protected = jws::Jws::sign(
        &protected.to_json(),
        payload.as_bytes(),
        jws::header(&chain),
        key,
    );
    let other_name = |name: &str| {
        let header = jws::header(&chain).with(name, &value);
        jws::Jws::sign(
            &jws::protected(key).to_json(),
            payload.as_bytes(),
            header,
            key,
        )
        .to_bytes()
    };
    for envelope in [
        protected.to_bytes(),
        other_name("io.hardsign.Attestation"),
        other_name("io.hardsign.attestation "),
        other_name("attestation"),
    ] {
        let result = world.verify(&shelf(Format::Jws, &envelope)).await;
        assert_eq!(refused(result), HardwareError::NoEvidence);
    }
}
