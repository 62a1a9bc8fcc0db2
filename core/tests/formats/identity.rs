//! Trusted identities and their match.

use hardsign_core::x509::Certificate;
use hardsign_core::x509::identity::{
    DistinguishedName, IdentityError, IdentityMismatch, NameError, TrustedIdentities,
    TrustedIdentity,
};
use hardsign_test_support::asn1::{self, attribute, rdn, tlv};
use hardsign_test_support::{Builder, Key, Told};

fn fault(items: &[&str]) -> String {
    TrustedIdentities::parse(items).unwrap_err().told()
}

/// TP-22: the texts, each after `trust policy statement "<name>" `.
#[test]
fn tp_22_items() {
    let dn = "x509.subject:C=US,ST=WA,O=x";
    assert_eq!(
        fault(&["*", dn]),
        "uses a wildcard trusted identity '*', a wildcard identity cannot be used in conjunction with other values"
    );
    assert_eq!(fault(&[""]), "has an empty trusted identity");
    assert_eq!(
        fault(&["x509.subject"]),
        "has trusted identity \"x509.subject\" missing separator"
    );
    assert_eq!(
        fault(&["x509.subject:"]),
        "has trusted identity \"x509.subject:\" without an identity value"
    );
    assert_eq!(
        fault(&["x509.subject:C=US,ST=WA"]),
        "has trusted identity \"x509.subject:C=US,ST=WA\" with invalid identity value: distinguished name (DN) \"C=US,ST=WA\" has no mandatory RDN attribute for \"O\", it must contain 'C', 'ST' or 'S', and 'O' RDN attributes at a minimum"
    );
    assert!(TrustedIdentities::parse(&["*"]).is_ok());
    assert!(TrustedIdentities::parse(&[dn]).is_ok());
    assert!(TrustedIdentities::parse::<&str>(&[]).unwrap().is_empty());
}

/// TP-23: other prefixes pass; alone they match nothing.
#[test]
fn tp_23_other_prefixes() {
    let identities = TrustedIdentities::parse(&["other.kind:x", "x:"]).unwrap();
    assert!(matches!(
        identities.items()[0],
        TrustedIdentity::Other { .. }
    ));
    let error = identities
        .check(&certificate(&[("C", "US")]), "p")
        .unwrap_err();
    assert_eq!(
        error.told(),
        "no x509 trusted identities are configured in the trust policy \"p\""
    );
}

/// TP-24: a subset of another, in either order, and the same twice.
#[test]
fn tp_24_overlap() {
    let small = "x509.subject:C=US,ST=WA,O=x";
    let large = "x509.subject:CN=y,C=US,S=WA,O=x";
    let text =
        format!("has overlapping x509 trustedIdentities, \"{small}\" overlaps with \"{large}\"");
    assert_eq!(fault(&[small, large]), text);
    assert_eq!(fault(&[large, small]), text);
    assert!(TrustedIdentities::parse(&[small, small]).is_err());
    let apart = [
        "x509.subject:CN=y,C=US,ST=WA,O=x",
        "x509.subject:CN=z,C=US,ST=WA,O=x",
    ];
    assert!(TrustedIdentities::parse(&apart).is_ok());
}

fn name(text: &str) -> Result<DistinguishedName, NameError> {
    text.parse()
}

/// TP-25: separators, spaces, escapes.
#[test]
fn tp_25_grammar() {
    let plain = name("C=US,ST=WA,O=a b").unwrap();
    for same in [
        "O=a b;C=US;ST=WA",
        " C = US , ST = WA , O = a b ",
        "C=US,ST=WA,O=\\61 b",
        "C=US,ST=WA,O=a\\ b",
        "\\43=US,ST=WA,O=a b",
    ] {
        assert_eq!(name(same), Ok(plain.clone()), "{same}");
    }
    assert_ne!(name("C=US,ST=WA,O=\"a b\""), Ok(plain.clone()));
    assert_ne!(name("C=US,ST=WA,O=a b\\ "), Ok(plain));
    assert_eq!(name("C=US,ST=WA,O=x\\C3\\A9"), name("C=US,ST=WA,O=xé"));
    for bad in [
        "C=US,ST=WA,O",
        "C=US,,ST=WA,O=x",
        "C=US,ST=WA,O=x,",
        "C=US,ST=WA,O=x\\",
        "C=US,ST=WA,O=x\\g1",
        "C=US,ST=WA,O=x\\1",
        "US",
        "=US,C=US,ST=WA,O=x",
    ] {
        let error = name(bad).unwrap_err();
        assert!(matches!(error, NameError::Syntax { .. }), "{bad}: {error}");
        let text = error.told();
        assert!(
            text.starts_with(&format!(
                "parsing distinguished name (DN) \"{}\" failed with err: ",
                bad.replace('\\', "\\\\")
            )),
            "{text}"
        );
        assert!(text.ends_with(". A valid DN must contain 'C', 'ST' or 'S', and 'O' RDN attributes at a minimum, and follow RFC 4514 standard"), "{text}");
    }
}

/// TP-26.
#[test]
fn tp_26_hex_values() {
    assert_eq!(
        name("C=US,ST=WA,O=#0c0178").unwrap_err().told(),
        "unsupported distinguished name (DN) \"C=US,ST=WA,O=#0c0178\": notation does not support x509.subject identities containing \"=#\""
    );
}

/// TP-27.
#[test]
fn tp_27_multi_valued_and_repeated() {
    assert_eq!(
        name("C=US,ST=WA,O=x+OU=y").unwrap_err().told(),
        "distinguished name (DN) \"C=US,ST=WA,O=x+OU=y\" has multi-valued RDN attributes, remove multi-valued RDN attributes as they are not supported"
    );
    assert_eq!(
        name("C=US,ST=WA,S=WA,O=x").unwrap_err().told(),
        "distinguished name (DN) \"C=US,ST=WA,S=WA,O=x\" has duplicate RDN attribute for \"ST\", DN can only have unique RDN attributes"
    );
}

/// TP-28, TP-29: S is ST; types are case-sensitive short names; the three are mandatory; `<dn>`
/// keeps a leading space.
#[test]
fn tp_29_mandatory_attributes() {
    assert_eq!(name("C=US,S=WA,O=x"), name("C=US,ST=WA,O=x"));
    for (text, missing) in [
        ("ST=WA,O=x", "C"),
        ("C=US,O=x", "ST"),
        ("c=US,ST=WA,O=x", "C"),
        ("2.5.4.6=US,ST=WA,O=x", "C"),
        ("", "C"),
        ("C=,ST=WA,O=x", "C"),
    ] {
        let error = name(text).unwrap_err();
        assert!(
            matches!(error, NameError::MissingAttribute { attribute, .. } if attribute == missing),
            "{text}: {error}"
        );
    }
    assert!(
        name(" CN=e2e,C=US")
            .unwrap_err()
            .told()
            .contains("(DN) \" CN=e2e,")
    );
}

/// TP-32: no empty values.
#[test]
fn tp_32_empty_values() {
    for text in ["C=US,ST=WA,O=x,CN=", "CN= ,C=US,ST=WA,O=x"] {
        assert!(
            matches!(name(text), Err(NameError::EmptyValue { .. })),
            "{text}"
        );
    }
}

fn certificate(attributes: &[(&str, &str)]) -> Certificate {
    let attributes: Vec<_> = attributes.iter().map(|(t, v)| (attribute(t), *v)).collect();
    with_subject(asn1::name(&attributes))
}

fn with_subject(subject: Vec<u8>) -> Certificate {
    let builder = Builder::leaf("", Key::P256.spki).named(subject);
    Certificate::from_der(&builder.self_signed(&Key::P256).der).unwrap()
}

fn check(identity: &str, leaf: &Certificate) -> Result<(), IdentityMismatch> {
    let parsed: TrustedIdentity = identity.parse().unwrap();
    let verdict = TrustedIdentities::parse(&[identity])
        .unwrap()
        .check(leaf, "p");
    assert_eq!(parsed.matches(leaf), verdict.is_ok());
    verdict
}

const USUAL: [(&str, &str); 4] = [("C", "US"), ("ST", "WA"), ("O", "x"), ("CN", "y")];

/// TP-28, TP-30, TP-34: a subset, exact and case-sensitive.
#[test]
fn tp_30_match() {
    let leaf = certificate(&USUAL);
    for identity in [
        "*",
        "x509.subject:C=US,ST=WA,O=x",
        "x509.subject:O=x,S=WA,C=US",
        "x509.subject:CN=y,O=x,ST=WA,C=US",
        "x509.subject: CN = \\79 , O=x, ST=WA, C=US",
    ] {
        assert_eq!(check(identity, &leaf), Ok(()), "{identity}");
    }
    for identity in [
        "x509.subject:C=US,ST=WA,O=X",
        "x509.subject:C=us,ST=WA,O=x",
        "x509.subject:C=US,ST=WA,O=x,CN=z",
        "x509.subject:C=US,ST=WA,O=x,cn=y",
        "x509.subject:C=US,ST=WA,O=x,L=Seattle",
        "x509.subject:C=US,ST=WA,O=x,2.5.4.3=y",
    ] {
        let error = check(identity, &leaf).unwrap_err();
        assert_eq!(
            error.told(),
            format!(
                "signing certificate from the digital signature does not match the X.509 trusted identities [\"{identity}\"] defined in the trust policy \"p\""
            )
        );
    }
    // Any of several is enough.
    let two =
        TrustedIdentities::parse(&["x509.subject:C=DE,ST=BE,O=x", "x509.subject:C=US,ST=WA,O=x"]);
    assert!(two.unwrap().check(&leaf, "p").is_ok());
}

/// TP-31, DIF-21: subjects that only `*` matches.
#[test]
fn tp_31_unusual_subjects() {
    let identity = "x509.subject:C=US,ST=WA,O=x";
    let utf8 = |t: &str, v: &str| rdn(&[(attribute(t), 0x0c, v.as_bytes())]);
    let base = || [utf8("C", "US"), utf8("ST", "WA"), utf8("O", "x")].concat();
    let subject = |more: &[Vec<u8>]| with_subject(tlv(0x30, &[base(), more.concat()].concat()));
    assert_eq!(check(identity, &subject(&[])), Ok(()));
    for unusual in [
        subject(&[utf8("OU", "a"), utf8("OU", "b")]),
        subject(&[utf8("O", "y")]),
        subject(&[utf8("O", "x")]),
        subject(&[utf8("EMAIL", "a@b")]),
        subject(&[utf8("DC", "com")]),
        subject(&[utf8("CN", "a=#b")]),
        certificate(&[("C", "US"), ("O", "x")]),
        certificate(&[("C", "US"), ("ST", "WA")]),
        certificate(&[("ST", "WA"), ("O", "x")]),
        certificate(&[("C", "US"), ("ST", "WA"), ("O", "")]),
    ] {
        let error = check(identity, &unusual).unwrap_err();
        assert!(matches!(error, IdentityMismatch::Subject { .. }), "{error}");
        let text = error.told();
        let start =
            "error while parsing the certificate subject from the digital signature. error : \"";
        assert!(text.starts_with(start), "{text}");
        assert_eq!(check("*", &unusual), Ok(()));
    }
    // Of several CN the last counts, in the text and in the match.
    let two_names = subject(&[utf8("CN", "first"), utf8("CN", "last")]);
    assert_eq!(
        check("x509.subject:C=US,ST=WA,O=x,CN=last", &two_names),
        Ok(())
    );
    assert!(check("x509.subject:C=US,ST=WA,O=x,CN=first", &two_names).is_err());
    // An attribute in a multi-valued RDN of the certificate is an attribute.
    let joined = tlv(
        0x30,
        &rdn(&[
            (attribute("C"), 0x0c, b"US"),
            (attribute("ST"), 0x0c, b"WA"),
            (attribute("O"), 0x0c, b"x"),
        ]),
    );
    assert_eq!(check(identity, &with_subject(joined)), Ok(()));
}

/// TP-33: values that look like more than they are.
#[test]
fn tp_33_values_cannot_pose_as_attributes() {
    let posing = certificate(&[("C", "US"), ("ST", "WA"), ("O", "y"), ("CN", "z,O=x")]);
    assert!(check("x509.subject:C=US,ST=WA,O=x", &posing).is_err());
    assert_eq!(
        check("x509.subject:C=US,ST=WA,O=y,CN=z\\,O=x", &posing),
        Ok(())
    );
    for odd in [
        ",", "+", "\"", "\\", "<", ">", ";", "#", " ", "  ", " a ", "a\\ ", "=", "é", "a\u{0}b",
        "\n", "\\2c",
    ] {
        let leaf = certificate(&[("C", "US"), ("ST", "WA"), ("O", odd)]);
        // The text of a subject, used as an identity, matches that subject (its round trip).
        let identity = format!("x509.subject:{}", leaf.subject());
        assert_eq!(check(&identity, &leaf), Ok(()), "{odd:?}");
        let other = certificate(&[("C", "US"), ("ST", "WA"), ("O", "other")]);
        assert!(check(&identity, &other).is_err());
    }
    // A byte that no UTF-8 text has matches nothing, not even its replacement character.
    let replaced = certificate(&[("C", "US"), ("ST", "WA"), ("O", "\u{fffd}")]);
    assert!(check("x509.subject:C=US,ST=WA,O=\\ff", &replaced).is_err());
}

/// ENV-42: an identity longer than anyone needs.
#[test]
fn identities_are_bounded() {
    let long = format!("x509.subject:C=US,ST=WA,O={}", "x".repeat(70_000));
    let error = TrustedIdentities::parse(&[long]).unwrap_err();
    assert!(matches!(
        error,
        IdentityError::InvalidValue {
            fault: NameError::TooLong { .. },
            ..
        }
    ));
}

/// TP-31: each cause in words, with what the user can do.
#[test]
fn tp_31_the_cause_is_named() {
    let one = |oid: &str, value: &str| {
        let pair = asn1::sequence(&[&asn1::oid(oid), &tlv(0x0c, value.as_bytes())]);
        tlv(0x31, &pair)
    };
    let usual = || {
        [
            one("2.5.4.6", "US"),
            one("2.5.4.8", "WA"),
            one("2.5.4.10", "x"),
        ]
        .concat()
    };
    let told = |name: Vec<u8>| {
        let leaf = with_subject(tlv(0x30, &name));
        let error = check("x509.subject:C=US,ST=WA,O=x", &leaf)
            .unwrap_err()
            .told();
        assert!(error.contains("trustedIdentities entry *"), "{error}");
        assert!(!error.contains("notation"), "{error}");
        error
    };
    for (oid, name) in [
        ("0.9.2342.19200300.100.1.1", "UID"),
        ("0.9.2342.19200300.100.1.25", "DC"),
        ("1.2.840.113549.1.9.1", "emailAddress"),
        ("2.5.4.15", "businessCategory"),
        ("2.5.4.97", "organizationIdentifier"),
        ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
        ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
        ("1.2.3.4", "1.2.3.4"),
    ] {
        let error = told([usual(), one(oid, "v")].concat());
        assert!(
            error.contains(&format!("the attribute {name}")) && error.contains(oid),
            "{error}"
        );
    }
    let error = told([usual(), one("2.5.4.11", "a"), one("2.5.4.11", "b")].concat());
    assert!(error.contains("several OU attributes"), "{error}");
    let error = told([one("2.5.4.6", "US"), one("2.5.4.10", "x")].concat());
    assert!(error.contains("no ST attribute"), "{error}");
    let error = told([usual(), one("2.5.4.3", "a=#b")].concat());
    assert!(error.contains("hexadecimal"), "{error}");
}
