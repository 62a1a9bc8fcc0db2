//! Timestamping chains: a CA that was made for something else can't make a timestamping authority
//! (RFC 5280 §4.2.1.10, §4.2.1.12, §6.1).

use hardsign_core::x509::{Certificate, Chain, ChainError, ConstraintError, Timestamping};
use hardsign_test_support::asn1::{attribute, name, oid, rdn, sequence, tlv};
use hardsign_test_support::certificate::{
    BASIC_CONSTRAINTS, CODE_SIGNING, EXT_KEY_USAGE, KEY_USAGE, TIME_STAMPING, basic_constraints,
    purposes,
};
use hardsign_test_support::{Builder, Issued, Key};

const ANY: &str = "2.5.29.37.0";
const NAME_CONSTRAINTS: &str = "2.5.29.30";
const SUBJECT_ALT_NAME: &str = "2.5.29.17";

/// Root, upper, lower, leaf: each as it is changed.
struct Chained {
    root: Builder,
    upper: Builder,
    lower: Builder,
    leaf: Builder,
}

fn chained() -> Chained {
    Chained {
        root: Builder::ca("Root", &Key::P256),
        upper: Builder::ca("Upper", &Key::P256_B),
        lower: Builder::ca("Lower", &Key::P384_B),
        leaf: Builder::timestamping_leaf("TSA", Key::P384.spki),
    }
}

impl Chained {
    /// Changes the certificate at a place: 0 is the leaf, 3 the root.
    fn at(mut self, place: usize, change: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = match place {
            0 => &mut self.leaf,
            1 => &mut self.lower,
            2 => &mut self.upper,
            _ => &mut self.root,
        };
        *builder = change(builder.clone());
        self
    }

    fn prove(self) -> Result<(), ChainError> {
        let root = self.root.self_signed(&Key::P256);
        let upper = self.upper.issue(&root, &Key::P256_B);
        let lower = self.lower.issue(&upper, &Key::P384_B);
        let leaf = self.leaf.issue(&lower, &Key::P384);
        let parse = |issued: &Issued| Certificate::from_der(&issued.der).unwrap();
        let chain = [&leaf, &lower, &upper, &root].map(parse).to_vec();
        Chain::<Timestamping>::prove(chain).map(drop)
    }

    fn refusal(self) -> ConstraintError {
        match self.prove() {
            Err(ChainError::Constraint { source, .. }) => source,
            other => panic!("{other:?}"),
        }
    }
}

/// Purposes of CAs nest, at any depth and whether critical or not.
#[test]
fn x509_13_purposes_of_cas_nest() {
    assert!(chained().prove().is_ok());
    for place in 1..=3 {
        let with = |list: &[&str], critical| {
            let value = purposes(list);
            chained().at(place, |ca| ca.with(EXT_KEY_USAGE, critical, value))
        };
        for critical in [true, false] {
            for good in [
                &[TIME_STAMPING][..],
                &[CODE_SIGNING, TIME_STAMPING],
                &[ANY],
                &[CODE_SIGNING, ANY],
            ] {
                assert!(with(good, critical).prove().is_ok(), "{place} {good:?}");
            }
            for bad in [
                &[CODE_SIGNING][..],
                &["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"],
                &["1.3.6.1.5.5.7.3.9"],
                &["1.2.3.4"],
            ] {
                assert_eq!(with(bad, critical).refusal(), ConstraintError::Purposes);
            }
        }
    }
}

/// A critical extension that isn't understood is refused wherever it stands; policies may be.
#[test]
fn x509_13_unknown_critical_extensions() {
    let policies = sequence(&[&sequence(&[&oid("1.2.3")])]);
    for place in 0..=3 {
        for unknown in [
            "1.2.3.4.5",
            "2.5.29.36",
            "2.5.29.33",
            "2.5.29.54",
            "2.5.29.46",
        ] {
            let with = |critical| chained().at(place, |b| b.with(unknown, critical, tlv(5, &[])));
            assert!(
                matches!(with(true).refusal(), ConstraintError::UnknownCritical { oid } if oid.to_string() == unknown)
            );
            assert!(with(false).prove().is_ok());
        }
        let known = chained().at(place, |b| b.with("2.5.29.32", true, policies.clone()));
        assert!(known.prove().is_ok());
    }
}

/// `permitted` and `excluded` subtrees of one GeneralName each.
fn constraints(permitted: &[&[u8]], excluded: &[&[u8]]) -> Vec<u8> {
    let list = |tag, bases: &[&[u8]]| {
        let subtrees: Vec<Vec<u8>> = bases.iter().map(|base| sequence(&[base])).collect();
        if bases.is_empty() {
            Vec::new()
        } else {
            tlv(tag, &subtrees.concat())
        }
    };
    sequence(&[&list(0xa0, permitted), &list(0xa1, excluded)])
}

/// Constraints on directory names are refused on every CA, permitted or excluded, critical or not.
#[test]
fn name_constraints_on_directory_names() {
    let other = tlv(0xa4, &name(&[(attribute("C"), "DE")]));
    let own = tlv(0xa4, &name(&[(attribute("C"), "US")]));
    for place in 1..=3 {
        for base in [&other, &own] {
            for value in [constraints(&[base], &[]), constraints(&[], &[base])] {
                for critical in [true, false] {
                    let chain = chained().at(place, |ca| {
                        ca.with(NAME_CONSTRAINTS, critical, value.clone())
                    });
                    let refusal = chain.refusal();
                    assert!(
                        matches!(
                            refusal,
                            ConstraintError::Names {
                                kind: "directory names",
                                ..
                            }
                        ),
                        "{refusal}"
                    );
                }
            }
        }
    }
}

/// Constraints on other names bite where a certificate below has such a name, and nowhere else.
#[test]
fn name_constraints_on_other_names() {
    let dns: &[u8] = &tlv(0x82, b"example.com");
    let mail: &[u8] = &tlv(0x81, b"example.com");
    let uri: &[u8] = &tlv(0x86, b".example.com");
    let ip: &[u8] = &tlv(0x87, &[10, 0, 0, 0, 255, 0, 0, 0]);
    let alternative = |name: &[u8]| sequence(&[name]);
    for place in 1..=3 {
        for (base, has) in [
            (dns, dns),
            (mail, mail),
            (uri, uri),
            (ip, &tlv(0x87, &[10, 0, 0, 1])[..]),
        ] {
            for value in [constraints(&[base], &[]), constraints(&[], &[base])] {
                let constrained = || {
                    let value = value.clone();
                    chained().at(place, |ca| ca.with(NAME_CONSTRAINTS, true, value))
                };
                assert!(constrained().prove().is_ok());
                for below in 0..place {
                    let chain = constrained()
                        .at(below, |b| b.with(SUBJECT_ALT_NAME, false, alternative(has)));
                    assert!(matches!(chain.refusal(), ConstraintError::Names { .. }));
                }
                // Above the constraint it means nothing.
                let above =
                    constrained().at(3, |b| b.with(SUBJECT_ALT_NAME, false, alternative(has)));
                assert!(above.prove().is_ok());
            }
        }
        let with_mail = tlv(
            0x30,
            &[
                rdn(&[(attribute("C"), 0x13, b"US")]),
                rdn(&[(attribute("EMAIL"), 0x16, b"a@example.org")]),
            ]
            .concat(),
        );
        let chain = chained()
            .at(place, |ca| {
                ca.with(NAME_CONSTRAINTS, true, constraints(&[mail], &[]))
            })
            .at(0, |leaf| leaf.named(with_mail));
        assert!(matches!(chain.refusal(), ConstraintError::Names { .. }));
    }
    for malformed in [
        tlv(5, &[]),
        sequence(&[&tlv(0xa0, &[0x30])]),
        sequence(&[&tlv(0xa0, &sequence(&[&tlv(2, &[1])]))]),
        sequence(&[&tlv(0xa2, &[])]),
    ] {
        let chain = chained().at(2, |ca| ca.with(NAME_CONSTRAINTS, false, malformed));
        assert!(matches!(chain.refusal(), ConstraintError::Malformed { .. }));
    }
}

/// X509-06, X509-07: path length and certificate signing count in timestamping chains too.
#[test]
fn x509_07_cas_of_timestamping_chains() {
    for place in 1..=3 {
        let without = |extension: &'static str| chained().at(place, |ca| ca.without(extension));
        assert!(without(KEY_USAGE).prove().is_err());
        assert!(without(BASIC_CONSTRAINTS).prove().is_err());
        let digital_signature = tlv(3, &[7, 0x80]);
        let signer = chained().at(place, |ca| ca.with(KEY_USAGE, true, digital_signature));
        assert!(matches!(signer.prove(), Err(ChainError::Rule { .. })));
        let length = |n| {
            let value = basic_constraints(true, Some(n));
            chained().at(place, |ca| ca.with(BASIC_CONSTRAINTS, true, value))
        };
        let below = u32::try_from(place).unwrap() - 1;
        assert!(length(below).prove().is_ok());
        if below > 0 {
            assert!(matches!(
                length(below - 1).prove(),
                Err(ChainError::Rule { .. })
            ));
        }
    }
    let v1 = chained().at(2, |ca| {
        ca.change(|b| {
            b.version = 0;
            b.extensions.clear();
        })
    });
    assert!(v1.prove().is_err());
}
