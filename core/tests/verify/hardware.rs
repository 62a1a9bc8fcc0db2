//! The rule on hardware: a signature counts only with evidence that proves itself for the leaf's key
//! (SEC-30, REQ-13).

use std::num::NonZeroUsize;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value as Cbor;
use hardsign_core::attestation::AttestationError;
use hardsign_core::envelope::{
    ATTESTATION, CarriedEvidence, CarriedFault, Envelope, Format, MAX_ATTESTATION_LEN,
};
use hardsign_core::event::Event;
use hardsign_core::policy::hardsign::HardwareRule;
use hardsign_core::policy::{blob, oci};
use hardsign_core::verify::{
    Blob, BlobSignature, HardwareError, Outcome, Policy, Step, VerifyError, hardware,
};
use hardsign_core::x509::Certificate;
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use hardsign_test_support::device::{Maker, POLICIES, SERIAL, attestation_key, statement};
use hardsign_test_support::{Builder, Issued, Key, Pki, Told, asn1, certificate, cose, jws};
use jiff::Timestamp;

mod files;
mod hostile;

use crate::world::{
    Shelf, World, artifact, level, payload, rejected, sign, signer, strict, verdict, verified,
};

/// A statement that trusts the PKI, with this rule; the maker's root is in the file `maker.der`.
fn world_of(pki: &Pki, maker: &Maker, rule: &str, rest: &str) -> World {
    let world = World::new().trust("ca:t", &pki.root).statement(rest);
    std::fs::write(world.dirs.config.join("maker.der"), &maker.root.der).unwrap();
    let path = world.dirs.hardsign_policy();
    world.file(&path, &rules(rule))
}

fn rules(rule: &str) -> String {
    format!(r#"{{"version":"1.0","oci":{{"n":{{"hardware":{rule}}}}}}}"#)
}

fn world(pki: &Pki, maker: &Maker) -> World {
    world_of(pki, maker, MAKER, &strict())
}

const MAKER: &str = r#"{"roots":["file:maker.der"]}"#;

/// The header's value, as another tool would write it.
fn header(version: &str, format: &str, certificates: &[Vec<u8>]) -> String {
    let certificates: Vec<_> = certificates
        .iter()
        .map(|der| format!("\"{}\"", STANDARD.encode(der)))
        .collect();
    format!(
        r#"{{"version":{version},"format":"{format}","certificates":[{}]}}"#,
        certificates.join(",")
    )
}

fn map(version: u8, format: &str, certificates: Vec<Cbor>) -> Cbor {
    Cbor::Map(vec![
        ("version".into(), version.into()),
        ("format".into(), format.into()),
        ("certificates".into(), Cbor::Array(certificates)),
    ])
}

/// The artifact signed in JWS, with that JSON in the header.
fn jws_with(chain: &[Vec<u8>], key: &Key, value: &str) -> Vec<u8> {
    let payload = payload(&artifact());
    let header = jws::header(chain).with(ATTESTATION, value);
    jws::Jws::sign(
        &jws::protected(key).to_json(),
        payload.as_bytes(),
        header,
        key,
    )
    .to_bytes()
}

fn cose_with(chain: &[Vec<u8>], key: &Key, value: Cbor) -> Vec<u8> {
    let payload = payload(&artifact());
    let unprotected = cose::unprotected(chain).with(ATTESTATION, value);
    let protected = cose::protected(key).to_cbor();
    cose::Cose::sign(&protected, payload.as_bytes(), &unprotected, key).to_bytes()
}

/// The artifact signed in a format, with this evidence.
fn signed(format: Format, chain: &[Vec<u8>], key: &Key, evidence: &[Vec<u8>]) -> Vec<u8> {
    match format {
        Format::Jws => jws_with(chain, key, &header("1", "yubico-piv", evidence)),
        Format::Cose => {
            let certificates = evidence.iter().cloned().map(Cbor::Bytes).collect();
            cose_with(chain, key, map(1, "yubico-piv", certificates))
        }
    }
}

fn shelf(format: Format, envelope: &[u8]) -> Shelf {
    let mut shelf = Shelf::default();
    shelf.add(format, envelope, None);
    shelf
}

/// Why the rule refused the only signature.
fn refused(result: Result<Outcome, VerifyError>) -> HardwareError {
    let rejected = rejected(result);
    assert_eq!(rejected.step(), Step::Hardware);
    assert!(rejected.report().attested.is_none());
    rejected.report().hardware.error().unwrap().clone()
}

fn unproven(result: Result<Outcome, VerifyError>) -> AttestationError {
    match refused(result) {
        HardwareError::Unproven(error) => *error,
        other => panic!("{other:?}"),
    }
}

/// The signer of most tests, on P-384, and its chain.
fn signer_of(pki: &Pki) -> (Issued, Vec<Vec<u8>>) {
    let leaf = signer(pki, "signer", &Key::P384);
    let chain = pki.chain(&leaf);
    (leaf, chain)
}

/// Two and four levels, in both formats: accepted, and told what was proven. Stripped: refused here, and
/// good without the rule.
#[tokio::test]
async fn good_evidence_and_none() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let (_, chain) = signer_of(&pki);
    let world = world(&pki, &maker);
    let plain = World::new().trust("ca:t", &pki.root).statement(&strict());
    for format in Format::ALL {
        for evidence in [maker.evidence(&Key::P384), maker.long_evidence(&Key::P384)] {
            let envelope = signed(format, &chain, &Key::P384, &evidence);
            let accepted = verified(world.verify(&shelf(format, &envelope)).await);
            assert!(accepted.hardware().is_some());
            let report = accepted.signatures()[0].signature.report();
            let attested = report.attested.as_ref().unwrap();
            assert_eq!(attested.device().serial, Some(0x0102_0304));
            assert_eq!(attested.chain().len(), evidence.len() + 1);
            // Evidence that nobody demands changes nothing.
            let accepted = verified(plain.verify(&shelf(format, &envelope)).await);
            assert!(accepted.hardware().is_none());
            let report = accepted.signatures()[0].signature.report();
            assert!(report.attested.is_none());
        }
        let stripped = sign(format, &artifact(), &chain, &Key::P384);
        let result = world.verify(&shelf(format, &stripped)).await;
        assert_eq!(refused(result), HardwareError::NoEvidence);
        assert_eq!(verdict(plain.verify(&shelf(format, &stripped)).await), "ok");
    }
}

/// Evidence of another key, of nobody, out of date, of a pair that does not belong together, or made by
/// the key itself; each is named.
#[tokio::test]
async fn evidence_that_proves_nothing() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let (leaf, chain) = signer_of(&pki);
    let key = &Key::P384;
    let foreign = Maker::with_root(Builder::ca("Maker Root", &Key::P521).self_signed(&Key::P521));
    let other_device = {
        let f9 = attestation_key(Some(0)).change(|f9| f9.spki = Key::RSA_2048.spki.to_vec());
        f9.issue(&maker.root, &Key::RSA_2048)
    };
    let until = |builder: Builder| builder.valid("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z");
    let old_f9 = until(attestation_key(Some(0))).issue(&maker.root, &Key::P256_B);
    let old = until(statement([5, 7, 4], key)).issue(&maker.f9, key);
    // A key of the device states something of the signer's.
    let made = maker.statement(&Key::P521);
    let forged = statement([5, 7, 4], key).issue(&made, key);
    let own = statement([5, 7, 4], key).self_signed(key);
    let good = maker.statement(key);
    let cases = [
        ("another key", maker.evidence(&Key::P521)),
        (
            "the leaf itself",
            vec![leaf.der.clone(), maker.f9.der.clone()],
        ),
        (
            "the attestation key",
            vec![maker.f9.der.clone(), good.der.clone()],
        ),
        ("a foreign maker", foreign.evidence(key)),
        ("a foreign root beside", {
            let mut evidence = foreign.evidence(key);
            evidence.push(foreign.root.der.clone());
            evidence
        }),
        ("a crossed pair", vec![good.der.clone(), other_device.der]),
        ("the statement alone", vec![good.der.clone()]),
        ("an old statement", vec![old.der, maker.f9.der.clone()]),
        ("an old attestation key", vec![good.der.clone(), old_f9.der]),
        (
            "made by a key of the device",
            vec![forged.der, made.der, maker.f9.der.clone()],
        ),
        (
            "made by the key itself",
            vec![own.der, maker.f9.der.clone()],
        ),
    ];
    let world = world(&pki, &maker);
    for (case, evidence) in cases {
        for format in Format::ALL {
            let envelope = signed(format, &chain, key, &evidence);
            let error = unproven(world.verify(&shelf(format, &envelope)).await);
            let expected = match case {
                "another key" => matches!(error, AttestationError::OtherKey),
                "the leaf itself" | "the attestation key" => {
                    matches!(error, AttestationError::Statement(_))
                }
                "an old statement" | "an old attestation key" => {
                    matches!(error, AttestationError::NotValidAt { .. })
                }
                _ => matches!(error, AttestationError::Untrusted { .. }),
            };
            assert!(expected, "{case}: {error:?}");
        }
    }
    // A maker whose root has run out.
    let root = until(Builder::ca("Maker Root", &Key::P256)).self_signed(&Key::P256);
    let expired = Maker::with_root(root);
    let world = self::world(&pki, &expired);
    let envelope = signed(Format::Jws, &chain, key, &expired.evidence(key));
    let error = unproven(world.verify(&shelf(Format::Jws, &envelope)).await);
    assert!(
        matches!(error, AttestationError::NotValidAt { .. }),
        "{error:?}"
    );
}

/// Yubico's own evidence in a header, by the rule that names nobody else: good for its key at its time;
/// not for another key, crossed, or under Yubico's root for U2F.
#[test]
fn genuine_samples() {
    let sample = |name: &str| {
        let path = format!(
            "{}/tests/vectors/attestation/{name}.pem",
            env!("CARGO_MANIFEST_DIR")
        );
        let pem = std::fs::read(path).unwrap();
        Certificate::parse_file(&pem).unwrap().remove(0)
    };
    let pairs = [
        ("attestation-validator-9c", "attestation-validator-f9"),
        ("piv-go-5-valid-9a", "piv-go-5-valid-f9"),
        ("piv-go-4-2018-u2f-root-9a", "piv-go-4-2018-u2f-root-f9"),
    ]
    .map(|(statement, f9)| (sample(statement), sample(f9)));
    let pki = Pki::new();
    let (_, chain) = signer_of(&pki);
    let carried = |format, statement: &Certificate, f9: &Certificate| {
        let evidence = [statement.der().to_vec(), f9.der().to_vec()];
        let envelope = signed(format, &chain, &Key::P384, &evidence);
        let parsed = Envelope::parse(format, &envelope).unwrap();
        let signature = parsed.verify_integrity().unwrap();
        signature.unsigned().attestation.clone()
    };
    let rule = HardwareRule::of_the_box();
    // Of another maker's rule, Yubico's devices are none.
    let foreign = world_of(&pki, &Maker::new(), MAKER, &strict()).policy();
    let foreign = foreign.rules("n").unwrap().hardware.clone().unwrap();
    let (statement, f9) = &pairs[0];
    let genuine = carried(Format::Jws, statement, f9);
    let key = statement.public_key().unwrap();
    assert!(hardware(&rule, genuine.as_ref(), key, certificate::now()).is_ok());
    let judged = hardware(&foreign, genuine.as_ref(), key, certificate::now());
    assert!(matches!(judged, Err(HardwareError::Unproven(_))));
    for format in Format::ALL {
        for (a, (statement, _)) in pairs.iter().enumerate() {
            let key = statement.public_key().unwrap();
            for (b, (_, f9)) in pairs.iter().enumerate() {
                let carried = carried(format, statement, f9);
                let judged = hardware(&rule, carried.as_ref(), key, certificate::now());
                match (a, b) {
                    (0 | 1, _) if a == b => {
                        let serial = judged.unwrap().device().serial;
                        assert_eq!(serial, Some([15_422_467, 15_732_500][a]));
                        let other = pairs[1 - a].0.public_key().unwrap();
                        let other = hardware(&rule, carried.as_ref(), other, certificate::now());
                        let expected = Box::new(AttestationError::OtherKey);
                        assert_eq!(other, Err(HardwareError::Unproven(expected)));
                    }
                    (2, 2) => {
                        let expected = Box::new(AttestationError::U2fRoot);
                        assert_eq!(judged, Err(HardwareError::Unproven(expected)));
                    }
                    _ => assert!(matches!(
                        judged,
                        Err(HardwareError::Unproven(error))
                            if matches!(*error, AttestationError::Untrusted { .. })
                    )),
                }
            }
        }
    }
}

/// What the rule says of the device, each member by itself and at its edge.
#[tokio::test]
async fn what_the_rule_limits() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let (_, chain) = signer_of(&pki);
    let key = &Key::P384;
    let device = |change: fn(Builder) -> Builder| {
        let statement = change(statement([5, 4, 3], key)).issue(&maker.f9, key);
        signed(
            Format::Jws,
            &chain,
            key,
            &[statement.der, maker.f9.der.clone()],
        )
    };
    let plain = || device(|s| s);
    let never = || device(|s| s.with(POLICIES, false, vec![1, 1]));
    let unknown = || device(|s| s.with(POLICIES, false, vec![9, 9]));
    let no_serial = || device(|s| s.without(SERIAL));
    let pin = "the PIN policy of the key is ";
    let touch = "the touch policy of the key is ";
    let not_allowed = ", which the rule on hardware does not allow";
    for (rule, envelope, expected) in [
        ("", never(), String::new()),
        ("", unknown(), String::new()),
        (r#","pinPolicy":["once","always"]"#, plain(), String::new()),
        (r#","pinPolicy":["once"]"#, plain(), format!("{pin}always{not_allowed}")),
        (r#","pinPolicy":["once","always"]"#, never(), format!("{pin}never{not_allowed}")),
        (
            r#","pinPolicy":["never","once","always"]"#,
            unknown(),
            format!("{pin}unknown (9){not_allowed}"),
        ),
        (r#","touchPolicy":["cached","always"]"#, plain(), String::new()),
        (r#","touchPolicy":["cached"]"#, plain(), format!("{touch}always{not_allowed}")),
        (r#","touchPolicy":["always"]"#, never(), format!("{touch}never{not_allowed}")),
        (
            r#","touchPolicy":["never","cached","always"]"#,
            unknown(),
            format!("{touch}unknown (9){not_allowed}"),
        ),
        (r#","leastFirmware":"5.4.3""#, plain(), String::new()),
        (r#","leastFirmware":"5.4""#, plain(), String::new()),
        (
            r#","leastFirmware":"5.4.4""#,
            plain(),
            "the key was made by firmware 5.4.3, and the rule on hardware demands at least 5.4.4".to_owned(),
        ),
        (
            r#","leastFirmware":"5.7""#,
            plain(),
            "the key was made by firmware 5.4.3, and the rule on hardware demands at least 5.7.0".to_owned(),
        ),
        (r#","serials":[1,16909060]"#, plain(), String::new()),
        (
            r#","serials":[1,16909061]"#,
            plain(),
            "the key lives in the device with the serial number 16909060, which the rule on hardware does not list".to_owned(),
        ),
        (
            r#","serials":[16909060]"#,
            no_serial(),
            "the key lives in a device that states no serial number, and the rule on hardware lists serial numbers".to_owned(),
        ),
        ("", no_serial(), String::new()),
    ] {
        let rule = format!(r#"{{"roots":["yubico","file:maker.der"]{rule}}}"#);
        let world = world_of(&pki, &maker, &rule, &strict());
        let result = world.verify(&shelf(Format::Jws, &envelope)).await;
        if expected.is_empty() {
            assert_eq!(verdict(result), "ok", "{rule}");
        } else {
            assert_eq!(refused(result).to_string(), expected, "{rule}");
        }
    }
}

/// RSA keys with ROCA are refused under every rule; the same firmware's elliptic curves are not.
#[tokio::test]
async fn weak_keys() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let world = world(&pki, &maker);
    for (firmware, key, is_good) in [
        ([4, 3, 4], Key::RSA_2048, false),
        ([4, 2, 0], Key::RSA_2048, false),
        ([4, 3, 5], Key::RSA_2048, true),
        ([4, 3, 4], Key::P384, true),
    ] {
        let leaf = signer(&pki, "signer", &key);
        let statement = statement(firmware, &key).without(SERIAL);
        let evidence = [statement.issue(&maker.f9, &key).der, maker.f9.der.clone()];
        let envelope = signed(Format::Jws, &pki.chain(&leaf), &key, &evidence);
        let result = world.verify(&shelf(Format::Jws, &envelope)).await;
        if is_good {
            verified(result);
        } else {
            assert!(matches!(unproven(result), AttestationError::Roca { .. }));
        }
    }
}

/// No level weakens the rule. What a lenient level lets pass still needs evidence of its own key.
#[tokio::test]
async fn at_every_level() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let (_, chain) = signer_of(&pki);
    let stranger = Pki {
        ca: pki.ca.clone(),
        root: Builder::ca("Other", &Key::P384).self_signed(&Key::P384),
    };
    let good = signed(Format::Jws, &chain, &Key::P384, &maker.evidence(&Key::P384));
    let stripped = sign(Format::Jws, &artifact(), &chain, &Key::P384);
    for name in ["strict", "permissive", "audit"] {
        let rest = level(&format!(r#""level":"{name}""#));
        let world = world_of(&pki, &maker, MAKER, &rest);
        assert_eq!(
            verdict(world.verify(&shelf(Format::Jws, &good)).await),
            "ok"
        );
        let result = world.verify(&shelf(Format::Jws, &stripped)).await;
        assert_eq!(refused(result), HardwareError::NoEvidence, "{name}");
        // Trusted by nobody.
        let world = world_of(&stranger, &maker, MAKER, &rest);
        let result = world.verify(&shelf(Format::Jws, &good)).await;
        let expected = match name {
            "audit" => "logged authenticity revocation",
            _ => "refused by authenticity",
        };
        assert_eq!(verdict(result), expected, "{name}");
        let result = verdict(world.verify(&shelf(Format::Jws, &stripped)).await);
        assert_ne!(result, "ok");
        assert!(result.starts_with("refused"), "{name}: {result}");
    }
}

/// One bad signature hides no good one; of several parties each needs evidence.
#[tokio::test]
async fn among_several() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let (_, chain) = signer_of(&pki);
    let good = signed(Format::Jws, &chain, &Key::P384, &maker.evidence(&Key::P384));
    let stripped = sign(Format::Jws, &artifact(), &chain, &Key::P384);
    let world = world(&pki, &maker);
    let shelf = Shelf::of(&[stripped, good.clone()]);
    let accepted = verified(world.verify(&shelf).await);
    assert_eq!(
        (accepted.signatures().len(), accepted.attempts().len()),
        (1, 1)
    );

    let bob = signer(&pki, "bob", &Key::P521);
    let party = |name: &str| {
        format!(
            r#"{{"name":"{name}","trustedIdentities":["x509.subject: C=US, ST=WA, O=Hardsign Tests, CN={name}"]}}"#
        )
    };
    let both = format!(
        r#"{{"version":"1.0","oci":{{"n":{{"hardware":{MAKER},"signers":{{"atLeast":2,"of":[{},{}]}}}}}}}}"#,
        party("signer"),
        party("bob")
    );
    let path = world.dirs.hardsign_policy();
    let world = world.file(&path, &both);
    let bob_chain = pki.chain(&bob);
    let without = sign(Format::Jws, &artifact(), &bob_chain, &Key::P521);
    let result = world.verify(&Shelf::of(&[good.clone(), without])).await;
    match result {
        Err(VerifyError::Signers { tally, .. }) => assert_eq!(tally.missing, ["bob"]),
        other => panic!("{other:?}"),
    }
    let with = signed(
        Format::Jws,
        &bob_chain,
        &Key::P521,
        &maker.evidence(&Key::P521),
    );
    verified(world.verify(&Shelf::of(&[good, with])).await);
}

/// Demanded for one run: by the makers of the box, unless the policy has a rule of its own; and never met
/// by a statement that verifies nothing.
#[tokio::test]
async fn for_one_run() {
    let (pki, maker) = (Pki::new(), Maker::new());
    let (_, chain) = signer_of(&pki);
    let good = signed(Format::Jws, &chain, &Key::P384, &maker.evidence(&Key::P384));
    let rule = Arc::new(HardwareRule::of_the_box());
    let verify = async |world: &World| {
        let observer = |event: &Event<'_>| world.note(event);
        let mut options = world.options(&observer);
        options.hardware = Some(&rule);
        let policy: Policy<oci::Document> = Policy::load(&world.dirs).unwrap();
        let shelf = shelf(Format::Jws, &good);
        world
            .verifier()
            .verify_artifact(
                &policy,
                &shelf,
                crate::world::REPOSITORY,
                &artifact(),
                options,
            )
            .await
    };
    let plain = World::new().trust("ca:t", &pki.root).statement(&strict());
    assert!(matches!(
        unproven(verify(&plain).await),
        AttestationError::Untrusted { .. }
    ));
    verified(verify(&world(&pki, &maker)).await);
    let skip = World::new().statement(r#""signatureVerification":{"level":"skip"}"#);
    assert!(matches!(
        verify(&skip).await,
        Err(VerifyError::HardwareUnderSkip { .. })
    ));
}
