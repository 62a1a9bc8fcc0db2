//! Genuine samples under Yubico's roots, and chains of CAs made here that break one rule each.

use hardsign_test_support::asn1;
use hardsign_test_support::certificate::{self, Builder, Issued, basic_constraints};
use hardsign_test_support::device::{
    FIRMWARE, Maker, POLICIES, SERIAL, attestation_key, common_name, statement,
};
use hardsign_test_support::{Key, Told, certificate as support};

use super::*;

const SAMPLES: [(&str, &[u8], &[u8]); 3] = [
    (
        "5.2.7",
        include_bytes!("../../tests/vectors/attestation/attestation-validator-9c.pem"),
        include_bytes!("../../tests/vectors/attestation/attestation-validator-f9.pem"),
    ),
    (
        "5.4.3",
        include_bytes!("../../tests/vectors/attestation/piv-go-5-valid-9a.pem"),
        include_bytes!("../../tests/vectors/attestation/piv-go-5-valid-f9.pem"),
    ),
    (
        "4.3.7",
        include_bytes!("../../tests/vectors/attestation/piv-go-4-2018-u2f-root-9a.pem"),
        include_bytes!("../../tests/vectors/attestation/piv-go-4-2018-u2f-root-f9.pem"),
    ),
];

/// The root of 263751 as it was before 2018, whose path length rules out what it certified.
const OLD_ROOT: &[u8] = include_bytes!(
    "../../tests/vectors/attestation/yubico-piv-root-ca-serial-263751-before-2018.pem"
);

fn one(pem: &[u8]) -> Certificate {
    Certificate::parse_file(pem).unwrap().remove(0)
}

fn evidence(certificates: &[&Certificate]) -> Evidence {
    let ders: Vec<_> = certificates
        .iter()
        .map(|certificate| certificate.der())
        .collect();
    Evidence::from_certificates(&ders).unwrap()
}

/// The evidence proves the key that it is about.
fn prove(evidence: &Evidence, roots: &Roots) -> Result<Attested, AttestationError> {
    let key = evidence.statement().public_key().unwrap().clone();
    evidence.prove(&key, roots, support::now())
}

#[test]
fn genuine_samples() {
    let roots = Roots::in_the_box();
    let described = SAMPLES.map(|(firmware, statement, f9)| {
        let evidence = evidence(&[&one(statement), &one(f9)]);
        match prove(&evidence, &roots) {
            Ok(attested) => {
                let Device {
                    firmware: stated,
                    serial,
                    slot,
                    pin_policy,
                    touch_policy,
                    form_factor,
                    ..
                } = attested.device();
                assert_eq!(stated.to_string(), firmware);
                assert!(attested.leaks_to_equipment());
                assert_eq!(attested.chain().len(), 3);
                let form = form_factor.unwrap();
                format!(
                    "{slot} {} PIN {pin_policy} touch {touch_policy} {form}",
                    serial.unwrap()
                )
            }
            Err(error) => error.told(),
        }
    });
    assert_eq!(
        described[0],
        "9c 15422467 PIN always touch never USB-C keychain"
    );
    assert_eq!(described[1], "9a 15732500 PIN once touch never USB-C nano");
    assert!(described[2].contains("root for U2F"), "{}", described[2]);
}

/// Statement and attestation key of two devices, a wrong root, a statement alone.
#[test]
fn samples_that_prove_nothing() {
    let roots = Roots::in_the_box();
    let pairs = SAMPLES.map(|(_, statement, f9)| (one(statement), one(f9)));
    for (a, (statement, _)) in pairs.iter().enumerate() {
        for (b, (_, f9)) in pairs.iter().enumerate() {
            let proven = prove(&evidence(&[statement, f9]), &roots);
            assert_eq!(proven.is_ok(), a == b && a < 2, "{a} {b}");
        }
        let alone = prove(&evidence(&[statement]), &roots);
        assert!(matches!(alone, Err(AttestationError::Untrusted { .. })));
    }
    let (statement, f9) = &pairs[0];
    let genuine = evidence(&[statement, f9]);
    let old = Roots::of(vec![one(OLD_ROOT)]);
    assert!(matches!(
        prove(&genuine, &old),
        Err(AttestationError::Untrusted { .. })
    ));
    let mut both = old.clone();
    both.roots.extend(roots.roots.iter().cloned());
    assert!(prove(&genuine, &both).is_ok());
    let other = pairs[1].0.public_key().unwrap();
    let proven = genuine.prove(other, &roots, support::now());
    assert_eq!(proven, Err(AttestationError::OtherKey));
    let late = "2060-01-01T00:00:00Z".parse().unwrap();
    let proven = genuine.prove(statement.public_key().unwrap(), &roots, late);
    assert_eq!(proven, Err(AttestationError::NotValidAt { time: late }));
    // The attestation key's own certificate is no statement.
    let swapped = prove(&evidence(&[f9, statement]), &roots);
    assert_eq!(
        swapped,
        Err(AttestationError::Statement(StatementFault::Ca))
    );
}

/// The chains in the box verify up to their root: B2's algorithm has no NULL, and the root is good
/// to the end of the year 9999.
#[test]
fn the_box() {
    let roots = Roots::in_the_box();
    assert_eq!(
        (
            roots.roots.len(),
            roots.between.len(),
            roots.unbelieved.len()
        ),
        (2, 5, 1)
    );
    let thumbprints = [
        "63ece914e54dd87915f34033c85af4c0696ba1512f8add66ced738331207b546",
        "62760c6a6ef91679f454c8902b80fd009825b3f25da90f1fbace2ec6586cd5a8",
    ];
    for (root, thumbprint) in roots.roots.iter().zip(thumbprints) {
        assert!(root.is_root_ca());
        assert_eq!(root.thumbprint_hex(), thumbprint);
    }
    let far = "9999-12-30T00:00:00Z".parse().unwrap();
    for certificate in &roots.between {
        let search = &mut Search {
            roots: &roots.roots,
            between: roots.between.iter().collect(),
            time: Some(far),
            any_critical: false,
            budget: BUDGET,
        };
        assert!(
            search.extend(&[certificate]).is_some(),
            "{}",
            certificate.subject()
        );
    }
}

fn proves(
    maker: &Maker,
    statement: &Issued,
    between: &[&Issued],
) -> Result<Attested, AttestationError> {
    let certificates: Vec<_> = [statement]
        .iter()
        .chain(between)
        .map(|i| parsed(i))
        .collect();
    let certificates: Vec<_> = certificates.iter().collect();
    prove(
        &evidence(&certificates),
        &Roots::of(vec![parsed(&maker.root)]),
    )
}

fn parsed(issued: &Issued) -> Certificate {
    Certificate::from_der(&issued.der).unwrap()
}

fn ec() -> Key {
    Key::of(KeySpec::Ec384)
}

#[test]
fn two_and_four_levels() {
    let maker = Maker::new();
    let good = statement([5, 7, 4], &ec()).issue(&maker.f9, &ec());
    let attested = proves(&maker, &good, &[&maker.f9]).unwrap();
    assert!(!attested.leaks_to_equipment());
    assert_eq!(attested.device().serial, Some(0x0102_0304));
    assert_eq!(attested.device().pin_policy, PinPolicy::Always);
    assert_eq!(attested.device().touch_policy, TouchPolicy::Always);
    // Root, two CAs, the device, in any order; then with path lengths that leave no room.
    let ca = |name: &str, key: &Key, path| {
        let constraints = basic_constraints(true, Some(path));
        Builder::ca(name, key).with(certificate::BASIC_CONSTRAINTS, true, constraints)
    };
    for (paths, is_good) in [([2, 1], true), ([1, 1], false), ([2, 0], false)] {
        let key = Key::of(KeySpec::Rsa2048);
        let upper = ca("Upper", &key, paths[0]).issue(&maker.root, &key);
        let lower = ca("Lower", &Key::of(KeySpec::Ec521), paths[1]);
        let lower = lower.issue(&upper, &Key::of(KeySpec::Ec521));
        let f9 = attestation_key(Some(0)).issue(&lower, &Key::P256_B);
        let statement = statement([5, 7, 4], &ec()).issue(&f9, &ec());
        for order in [[&f9, &lower, &upper], [&upper, &f9, &lower]] {
            let proven = proves(&maker, &statement, &order);
            assert_eq!(proven.is_ok(), is_good, "{paths:?}");
        }
        let gap = proves(&maker, &statement, &[&f9, &upper]);
        assert!(matches!(gap, Err(AttestationError::Untrusted { .. })));
    }
}

/// A key that a device made can't state anything of other keys.
#[test]
fn a_self_made_statement() {
    let maker = Maker::new();
    let made = statement([5, 7, 4], &ec()).issue(&maker.f9, &ec());
    let key = Key::of(KeySpec::Ec256);
    let forged = statement([5, 7, 4], &key).issue(&made, &key);
    let proven = proves(&maker, &forged, &[&made, &maker.f9]);
    assert!(matches!(proven, Err(AttestationError::Untrusted { .. })));
    // A maker of one's own, and an attestation key that is no CA.
    let own = Maker::new();
    let other = Builder::ca("Maker Root", &ec()).self_signed(&ec());
    let f9 = attestation_key(Some(0)).issue(&other, &Key::P256_B);
    let forged = statement([5, 7, 4], &key).issue(&f9, &key);
    assert!(proves(&own, &forged, &[&f9, &other]).is_err());
    let f9 = attestation_key(None).without(certificate::BASIC_CONSTRAINTS);
    let f9 = f9.issue(&maker.root, &Key::P256_B);
    let forged = statement([5, 7, 4], &key).issue(&f9, &key);
    assert!(proves(&maker, &forged, &[&f9]).is_err());
}

#[test]
fn roots_and_statements_out_of_date() {
    let maker = Maker::new();
    let until = |builder: Builder| builder.valid("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z");
    let old = until(statement([5, 7, 4], &ec())).issue(&maker.f9, &ec());
    let proven = proves(&maker, &old, &[&maker.f9]);
    assert!(matches!(proven, Err(AttestationError::NotValidAt { .. })));
    let root = until(Builder::ca("Maker Root", &Key::P256)).self_signed(&Key::P256);
    let expired = Maker {
        f9: attestation_key(Some(0)).issue(&root, &Key::P256_B),
        root,
    };
    let good = statement([5, 7, 4], &ec()).issue(&expired.f9, &ec());
    let proven = proves(&expired, &good, &[&expired.f9]);
    assert!(matches!(proven, Err(AttestationError::NotValidAt { .. })));
}

/// RSA keys of firmware 4.2.0 to 4.3.4 are refused, whatever else is right.
#[test]
fn roca() {
    let maker = Maker::new();
    let rsa = Key::of(KeySpec::Rsa2048);
    for (firmware, key, is_refused) in [
        ([4, 1, 9], &rsa, false),
        ([4, 2, 0], &rsa, true),
        ([4, 3, 4], &rsa, true),
        ([4, 3, 5], &rsa, false),
        ([4, 3, 4], &ec(), false),
    ] {
        let statement = statement(firmware, key).without(SERIAL);
        let statement = statement.issue(&maker.f9, key);
        let proven = proves(&maker, &statement, &[&maker.f9]);
        let roca = matches!(proven, Err(AttestationError::Roca { .. }));
        assert_eq!(
            (roca, proven.is_ok()),
            (is_refused, !is_refused),
            "{firmware:?}"
        );
    }
}

#[test]
fn what_is_no_statement() {
    let maker = Maker::new();
    let fault = |builder: Builder| {
        let issued = builder.issue(&maker.f9, &ec());
        match proves(&maker, &issued, &[&maker.f9]) {
            Err(AttestationError::Statement(fault)) => fault.told(),
            other => panic!("{other:?}"),
        }
    };
    let good = || statement([5, 7, 4], &ec());
    assert_eq!(fault(good().without(FIRMWARE)), "it states no firmware");
    assert_eq!(
        fault(good().without(POLICIES)),
        "it states no PIN and touch policy"
    );
    for (oid, value) in [
        (FIRMWARE, vec![5, 7]),
        (POLICIES, vec![1, 1, 1]),
        (SERIAL, vec![2, 5, 1, 2, 3, 4, 5]),
        (SERIAL, vec![2, 1, 0x80]),
        ("1.3.6.1.4.1.41482.3.9", vec![]),
    ] {
        let fault = fault(good().with(oid, false, value));
        assert!(fault.ends_with("can't be read"), "{fault}");
    }
    for name in [
        "YubiKey PIV Attestation",
        "YubiKey PIV Attestation 9",
        "YubiKey PIV Attestation 9c9c",
        "YubiKey PIV Attestation zz",
        "9c",
    ] {
        assert_eq!(
            fault(good().named(common_name(name))),
            "its subject names no slot"
        );
    }
}

/// Who may stand between statement and root: a CA by that name, for certificates, at that depth, that
/// says nothing which isn't understood.
#[test]
fn what_may_issue() {
    let maker = Maker::new();
    let proven_by = |f9: Builder| {
        let f9 = f9.issue(&maker.root, &Key::P256_B);
        // Whatever F9 is called, the statement names the maker's.
        let statement = statement([5, 7, 4], &ec()).issue(&maker.f9, &ec());
        proves(&maker, &statement, &[&f9])
    };
    let f9 = || attestation_key(Some(0));
    let usage = |bits| asn1::named_bits(bits);
    assert!(proven_by(f9()).is_ok());
    assert!(proven_by(f9().with(certificate::KEY_USAGE, true, usage(1 << 5))).is_ok());
    let any_other = "1.3.6.1.4.1.41482.9.9";
    assert!(proven_by(f9().with(any_other, false, vec![5, 0])).is_ok());
    let untrusted = [
        (
            "another name",
            f9().named(common_name("Other PIV Attestation")),
        ),
        (
            "no CA",
            f9().with(
                certificate::BASIC_CONSTRAINTS,
                true,
                basic_constraints(false, None),
            ),
        ),
        (
            "not for certificates",
            f9().with(certificate::KEY_USAGE, true, usage(1)),
        ),
        (
            "another signature",
            f9().change(|f9| f9.bad_signature = true),
        ),
    ];
    for (case, f9) in untrusted {
        match proven_by(f9) {
            Err(AttestationError::Untrusted { issuer }) => {
                let named = match case {
                    "another signature" | "no CA" | "not for certificates" => "CN=Maker Root,",
                    _ => "CN=Maker PIV Attestation",
                };
                assert!(issuer.to_string().starts_with(named), "{case}: {issuer}");
            }
            other => panic!("{case}: {other:?}"),
        }
    }
    // In the statement, between, and in the root.
    for oid in [
        any_other,
        "2.5.29.30",
        "2.5.29.36",
        certificate::EXT_KEY_USAGE,
    ] {
        let critical = |builder: Builder| {
            builder.with(
                oid,
                true,
                certificate::purposes(&[certificate::CODE_SIGNING]),
            )
        };
        let root = critical(Builder::ca("Maker Root", &Key::P256)).self_signed(&Key::P256);
        let other = Maker::with_root(root);
        let by_root = proves(&other, &other.statement(&ec()), &[&other.f9]);
        let stated = critical(statement([5, 7, 4], &ec())).issue(&maker.f9, &ec());
        let by_statement = proves(&maker, &stated, &[&maker.f9]);
        for proven in [by_root, by_statement, proven_by(critical(f9()))] {
            match proven {
                Err(AttestationError::UnknownCritical { oid: found, .. }) => {
                    assert_eq!(found.to_string(), oid);
                }
                other => panic!("{oid}: {other:?}"),
            }
        }
    }
}

/// A way of six certificates below the root is the longest, and each signature check is counted.
#[test]
fn long_ways() {
    let maker = Maker::new();
    let ca = |name: &str| Builder::ca(name, &Key::P384);
    let proven_by = |cas: usize| {
        let mut above = maker.root.clone();
        let mut all = Vec::new();
        for number in 0..cas {
            above = ca(&format!("CA {number}")).issue(&above, &Key::P384);
            all.push(above.clone());
        }
        let f9 = attestation_key(Some(0)).issue(&above, &Key::P256_B);
        all.push(f9.clone());
        let statement = statement([5, 7, 4], &ec()).issue(&f9, &ec());
        let all: Vec<_> = all.iter().collect();
        proves(&maker, &statement, &all).is_ok()
    };
    assert_eq!([0, 1, 4, 5].map(proven_by), [true, true, true, false]);
    let statement = parsed(&maker.statement(&ec()));
    let (f9, root) = (parsed(&maker.f9), parsed(&maker.root));
    // The statement by F9, F9 by the root.
    for (budget, is_found) in [(0, false), (1, false), (2, true)] {
        let mut search = Search {
            roots: std::slice::from_ref(&root),
            between: vec![&f9],
            time: None,
            any_critical: false,
            budget,
        };
        assert_eq!(search.extend(&[&statement]).is_some(), is_found, "{budget}");
    }
}

/// Firmware, policies and the warning for keys that equipment gets at, at their edges.
#[test]
fn what_is_stated() {
    let maker = Maker::new();
    let rsa = Key::of(KeySpec::Rsa2048);
    for (firmware, key, leaks) in [
        ([5, 4, 3], ec(), true),
        ([5, 6, 255], ec(), true),
        ([5, 7, 0], ec(), false),
        ([5, 4, 3], rsa, false),
    ] {
        let statement = statement(firmware, &key).issue(&maker.f9, &key);
        let attested = proves(&maker, &statement, &[&maker.f9]).unwrap();
        assert_eq!(attested.leaks_to_equipment(), leaks, "{firmware:?}");
        assert!(attested.is_of(parsed(&statement).public_key().unwrap()));
        assert!(!attested.is_of(parsed(&maker.f9).public_key().unwrap()));
        assert_eq!(
            attested.below_root(),
            [parsed(&statement), parsed(&maker.f9)]
        );
    }
    for (byte, text) in [
        (1, "never"),
        (2, "once"),
        (3, "always"),
        (4, "once"),
        (5, "always"),
    ] {
        let statement = statement([5, 7, 4], &ec()).with(POLICIES, false, vec![byte, 3]);
        let statement = statement.issue(&maker.f9, &ec());
        let device = proves(&maker, &statement, &[&maker.f9]).unwrap();
        assert_eq!(device.device().pin_policy.to_string(), text);
        assert_eq!(device.device().touch_policy, TouchPolicy::Cached);
        assert_eq!(text.parse(), Ok(device.device().pin_policy));
    }
    for (text, firmware) in [
        ("5.0", Firmware::new(5, 0, 0)),
        ("5.7.0", Firmware::new(5, 7, 0)),
        ("0.10.255", Firmware::new(0, 10, 255)),
    ] {
        assert_eq!(text.parse(), Ok(firmware));
    }
}

/// Only the certificate that was proven says FIPS.
#[test]
fn fips_is_proven_too() {
    let maker = Maker::new();
    let fips = "1.3.6.1.4.1.41482.3.10";
    let good = statement([5, 4, 3], &ec()).issue(&maker.f9, &ec());
    let key = Key::of(KeySpec::Ec521);
    let decoy = attestation_key(Some(0))
        .with(fips, false, vec![1])
        .self_signed(&key);
    let attested = proves(&maker, &good, &[&decoy, &maker.f9]).unwrap();
    assert!(!attested.device().fips);
    let f9 = attestation_key(Some(0)).with(fips, false, vec![1]);
    let f9 = f9.issue(&maker.root, &Key::P256_B);
    assert!(proves(&maker, &good, &[&f9]).unwrap().device().fips);
}

/// The search ends, however many certificates claim to have issued each other.
#[test]
fn evidence_is_bounded() {
    let maker = Maker::new();
    let good = statement([5, 7, 4], &ec()).issue(&maker.f9, &ec());
    let none: [&[u8]; 0] = [];
    assert_eq!(
        Evidence::from_certificates(&none),
        Err(EvidenceError::Empty)
    );
    let many = vec![&good.der; MAX_CERTIFICATES + 1];
    let many = Evidence::from_certificates(&many);
    assert_eq!(many, Err(EvidenceError::TooMany { certificates: 9 }));
    let broken = Evidence::from_certificates(&[&good.der[..], &[0x30]]);
    assert!(matches!(
        broken,
        Err(EvidenceError::Certificate { number: 2, .. })
    ));
    let circle: Vec<Issued> = (0..7)
        .map(|serial| {
            let name = common_name("Maker PIV Attestation");
            let builder = Builder::ca("", &Key::P256_B).named(name.clone());
            let builder = builder.change(|builder| builder.serial = vec![2, 1, serial]);
            builder.self_signed(&Key::P256_B)
        })
        .collect();
    let circle: Vec<&Issued> = circle.iter().collect();
    let proven = proves(&maker, &good, &circle);
    assert!(matches!(proven, Err(AttestationError::Untrusted { .. })));
}
