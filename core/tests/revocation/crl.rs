//! CRLs and deltas (REV-33 to REV-46).

use hardsign_core::algorithm::HashAlgorithm;
use hardsign_core::revocation::crl::{Bundle, Crl, CrlError, MAX_CRL_LEN};
use hardsign_core::revocation::{OutOfScope, Reasons, distribution_points};
use hardsign_core::x509::Certificate;
use hardsign_test_support::asn1::{integer, named_bits, sequence, tlv};
use hardsign_test_support::certificate::{self, BASIC_CONSTRAINTS, KEY_USAGE};
use hardsign_test_support::key::X509Scheme;
use hardsign_test_support::revocation::{
    CRL_DISTRIBUTION_POINTS, CRL_NUMBER, Crl as Draft, DELTA_CRL_INDICATOR, FRESHEST_CRL,
    REASON_CODE, ago, distribution_points as points, invalidity_date, issuing_distribution_point,
    point_name, reason_code,
};
use hardsign_test_support::{Builder, Issued, Key, Pki, Told};
use jiff::Timestamp;

use crate::{SERIAL, leaf, parsed};

const URL: &str = "http://crl.test/base";

/// A leaf that names a CRL.
fn listed(pki: &Pki) -> Certificate {
    parsed(&leaf(pki, |leaf| leaf.crl(URL)))
}

/// What base and delta say of a certificate, in one word.
fn verdict(pki: &Pki, base: &[u8], delta: Option<&[u8]>, certificate: &Certificate) -> String {
    judge(&pki.ca, base, delta, certificate, None)
}

fn judge(
    issuer: &Issued,
    base: &[u8],
    delta: Option<&[u8]>,
    certificate: &Certificate,
    signed: Option<Timestamp>,
) -> String {
    let issuer = parsed(issuer);
    let judged = || -> Result<bool, CrlError> {
        let mut bundle = Bundle::prove(Crl::parse(base.to_vec())?, &issuer)?;
        if let Some(delta) = delta {
            bundle.add_delta(Crl::parse(delta.to_vec())?, &issuer)?;
        }
        let points = distribution_points(certificate)?;
        let verdict = bundle.judge(certificate, &points[0], signed, certificate::now())?;
        assert_eq!(verdict.reasons, Reasons::ALL);
        Ok(verdict.revoked)
    };
    match judged() {
        Ok(true) => "revoked".to_owned(),
        Ok(false) => "good".to_owned(),
        // Without what the DER decoder met.
        Err(error @ CrlError::Malformed { .. }) => error.to_string(),
        Err(error) => error.told(),
    }
}

/// REV-44: the serial number decides; among many, and next to others that look like it.
#[test]
fn a_certificate_is_revoked_by_its_serial_number() {
    let pki = Pki::new();
    let certificate = listed(&pki);
    let others: [&[u8]; 5] = [
        &[2, 1, 0x11],
        &[2, 2, 0x11, 0x22],
        &[2, 4, 0x11, 0x22, 0x33, 0x44],
        &[2, 3, 0x11, 0x22, 0x34],
        &[2, 4, 0x91, 0x11, 0x22, 0x33],
    ];
    let draft = others
        .iter()
        .fold(Draft::of(&pki.ca), |crl, serial| crl.lists(serial, Some(1)));
    assert_eq!(
        verdict(&pki, &draft.sign(&pki.ca), None, &certificate),
        "good"
    );
    for serial in [SERIAL, &[2, 4, 0, 0x11, 0x22, 0x33]] {
        let listed = draft.clone().lists(serial, None).lists(others[0], None);
        assert_eq!(
            verdict(&pki, &listed.sign(&pki.ca), None, &certificate),
            "revoked"
        );
    }
    // Without any entry, version and number too.
    let bare = Draft::of(&pki.ca).change(|crl| {
        crl.version = Vec::new();
        crl.extensions.clear();
    });
    assert_eq!(
        verdict(&pki, &bare.sign(&pki.ca), None, &certificate),
        "good"
    );
    let v1 = bare.lists(SERIAL, None);
    assert_eq!(
        verdict(&pki, &v1.sign(&pki.ca), None, &certificate),
        "revoked"
    );
}

/// REV-44: every reason revokes; a hold can be taken back, and the latest date decides.
#[test]
fn reasons_and_holds() {
    let pki = Pki::new();
    let certificate = listed(&pki);
    for reason in [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11] {
        let crl = Draft::of(&pki.ca).lists(SERIAL, Some(reason));
        assert_eq!(
            verdict(&pki, &crl.sign(&pki.ca), None, &certificate),
            "revoked",
            "{reason}"
        );
    }
    let entries = |list: &[(u8, i64)]| {
        list.iter().fold(Draft::of(&pki.ca), |crl, (reason, date)| {
            crl.entry(SERIAL, ago(*date), &[reason_code(*reason)])
        })
    };
    for (list, expected) in [
        (&[(8, 50)][..], "good"),
        (&[(6, 50), (8, 40)], "good"),
        (&[(8, 40), (6, 50)], "good"),
        (&[(6, 40), (8, 50)], "revoked"),
        // At the same time, the hold stays.
        (&[(6, 40), (8, 40)], "revoked"),
        (&[(6, 50), (8, 40), (1, 60)], "revoked"),
    ] {
        let crl = entries(list).sign(&pki.ca);
        assert_eq!(
            verdict(&pki, &crl, None, &certificate),
            expected,
            "{list:?}"
        );
    }
}

/// REV-44, DIF-33: a signature that a signing authority dates before the key became invalid stays
/// good. A timestamp is not looked at here (REV-45, DIF-34): there is no argument for it.
#[test]
fn invalidity_dates() {
    let pki = Pki::new();
    let certificate = listed(&pki);
    let date = ago(1000);
    let dated = |reason| [reason_code(reason), invalidity_date(date)];
    for (signed, expected) in [
        (None, "revoked"),
        (Some(ago(1001)), "good"),
        (Some(ago(1000)), "revoked"),
        (Some(ago(999)), "revoked"),
    ] {
        for reason in [1, 6] {
            let crl = Draft::of(&pki.ca).entry(SERIAL, ago(10), &dated(reason));
            let crl = crl.sign(&pki.ca);
            assert_eq!(judge(&pki.ca, &crl, None, &certificate, signed), expected);
        }
    }
    // One entry that counts is enough.
    let crl = Draft::of(&pki.ca)
        .entry(SERIAL, ago(10), &dated(1))
        .lists(SERIAL, Some(1));
    let crl = crl.sign(&pki.ca);
    assert_eq!(
        judge(&pki.ca, &crl, None, &certificate, Some(ago(1001))),
        "revoked"
    );
}

/// REV-33 to REV-35: signed by the issuer, which may sign CRLs, with a strong algorithm.
#[test]
fn signatures_and_issuers() {
    let pki = Pki::new();
    let certificate = listed(&pki);
    let good = Draft::of(&pki.ca);
    let name = "CN=Issuing CA,O=Hardsign Tests,ST=WA,C=US";

    let stranger = Builder::ca("Issuing CA", &Key::P521).self_signed(&Key::P521);
    assert_eq!(
        verdict(&pki, &good.sign(&stranger), None, &certificate),
        format!("CRL is not signed by CA \"{name}\": crypto/ecdsa: verification error")
    );
    let mut forged = good.sign(&pki.ca);
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(
        verdict(&pki, &forged, None, &certificate),
        format!("CRL is not signed by CA \"{name}\": crypto/ecdsa: verification error")
    );
    // The same key under another name: a genuine CRL of a renamed CA.
    let renamed = good
        .clone()
        .change(|crl| crl.issuer = certificate::subject("Old CA"));
    assert_eq!(
        verdict(&pki, &renamed.sign(&pki.ca), None, &certificate),
        format!(
            "the CRL is issued by \"CN=Old CA,O=Hardsign Tests,ST=WA,C=US\", not by CA \"{name}\""
        )
    );
    let other_algorithm = good
        .clone()
        .change(|crl| crl.outer_algorithm = Some(sequence(&[&[6, 1, 42]])));
    assert_eq!(
        verdict(&pki, &other_algorithm.sign(&pki.ca), None, &certificate),
        "x509: malformed crl"
    );

    let ca = Builder::ca("Issuing CA", &Key::P256_B)
        .with(KEY_USAGE, true, named_bits(1 << 5))
        .issue(&pki.root, &Key::P256_B);
    assert_eq!(
        judge(&ca, &good.sign(&ca), None, &certificate, None),
        format!("CRL is not signed by CA \"{name}\": its key usage has no bit for CRLSign")
    );

    let rsa = Builder::ca("Issuing CA", &Key::RSA_2048).self_signed(&Key::RSA_2048);
    for (hash, expected) in [
        (Some(HashAlgorithm::Sha256), "good"),
        (Some(HashAlgorithm::Sha512), "good"),
        (None, "insecure signature algorithm 1.2.840.113549.1.1.5"),
    ] {
        let crl = good.clone().change(|crl| match hash {
            Some(hash) => crl.scheme = X509Scheme::Pss(hash),
            // sha1WithRSAEncryption
            None => {
                crl.algorithm = Some(sequence(&[
                    &hardsign_test_support::asn1::oid("1.2.840.113549.1.1.5"),
                    &[5, 0],
                ]))
            }
        });
        let got = judge(&rsa, &crl.sign(&rsa), None, &certificate, None);
        assert!(got.ends_with(expected), "{got}");
    }
}

/// REV-36, REV-37, DIF-20: expiry. What is revoked for good stays revoked.
#[test]
fn expiry() {
    let pki = Pki::new();
    let certificate = listed(&pki);
    let at = |next: Option<Timestamp>| Draft::of(&pki.ca).change(|crl| crl.next_update = next);
    let expired = "expired CRL. Current time 2026-01-02 03:04:05 +0000 UTC is after CRL NextUpdate 2026-01-02 03:04:04 +0000 UTC";
    for (next, plain, revoked, held) in [
        (Some(ago(0)), "good", "revoked", "revoked"),
        (Some(ago(1)), expired, "revoked", expired),
        (
            None,
            "CRL NextUpdate is not set",
            "CRL NextUpdate is not set",
            "CRL NextUpdate is not set",
        ),
    ] {
        let crl = at(next);
        let said = |crl: Draft| verdict(&pki, &crl.sign(&pki.ca), None, &certificate);
        assert_eq!(said(crl.clone()), plain);
        assert_eq!(said(crl.clone().lists(SERIAL, Some(1))), revoked);
        assert_eq!(said(crl.lists(SERIAL, Some(6))), held);
    }
}

/// REV-36: critical extensions that nobody understands, of the CRL and of any of its entries.
#[test]
fn critical_extensions() {
    let pki = Pki::new();
    let certificate = listed(&pki);
    let said = |crl: Draft| verdict(&pki, &crl.sign(&pki.ca), None, &certificate);
    let refused = |oid| format!("unsupported critical extension found in CRL: {oid}");
    let crl = Draft::of(&pki.ca);
    assert_eq!(said(crl.clone().with("1.2.3.4", false, vec![5, 0])), "good");
    assert_eq!(
        said(crl.clone().with("1.2.3.4", true, vec![5, 0])),
        refused("1.2.3.4")
    );
    // certificateIssuer belongs to indirect CRLs. It stands in another's entry, and spoils all.
    let issuer = ("2.5.29.29", true, sequence(&[]));
    let other = crl.clone().entry(&[2, 1, 9], ago(10), &[issuer]);
    assert_eq!(said(other), refused("2.5.29.29"));
    let unknown = ("1.2.3.4", false, vec![5, 0]);
    let harmless = crl.clone().entry(&[2, 1, 9], ago(10), &[unknown]);
    assert_eq!(said(harmless), "good");
    // What is understood may be critical.
    let critical = (REASON_CODE, true, vec![10, 1, 8]);
    assert_eq!(said(crl.entry(SERIAL, ago(10), &[critical])), "good");
}

/// REV-38, SEC-25: a CRL of another scope hides nothing.
#[test]
fn scope() {
    let pki = Pki::new();
    let certificate = listed(&pki);
    let (yes, no) = ([0xff], [0]);
    let flag = |number: u8, value: &[u8]| tlv(0x80 | number, value);
    for (fields, expected) in [
        (vec![], "good"),
        (vec![point_name(URL)], "good"),
        (
            vec![point_name("http://crl.test/other")],
            "the CRL is that of another distribution point",
        ),
        // nameRelativeToCRLIssuer
        (
            vec![tlv(0xa0, &tlv(0xa1, &[]))],
            "the CRL is that of another distribution point",
        ),
        (vec![flag(1, &yes)], "good"),
        (vec![flag(2, &yes)], "the CRL holds CA certificates only"),
        (vec![flag(2, &no)], "good"),
        (vec![flag(4, &yes)], "indirect CRLs are not supported"),
        (
            vec![flag(5, &yes)],
            "the CRL holds attribute certificates only",
        ),
        (vec![flag(1, &[1])], "x509: malformed crl"),
    ] {
        let fields: Vec<_> = fields.iter().map(Vec::as_slice).collect();
        let (oid, critical, value) = issuing_distribution_point(&fields);
        let crl = Draft::of(&pki.ca).with(oid, critical, value).sign(&pki.ca);
        assert_eq!(
            verdict(&pki, &crl, None, &certificate),
            expected,
            "{fields:?}"
        );
        // It is evaluated before anything else, so that what it lists does not count either.
        let (oid, _, value) = issuing_distribution_point(&fields);
        let crl = Draft::of(&pki.ca).with(oid, false, value);
        let listed = verdict(
            &pki,
            &crl.lists(SERIAL, None).sign(&pki.ca),
            None,
            &certificate,
        );
        assert_eq!(listed, expected.replace("good", "revoked"));
    }
    // A CA's own certificate, in the CRL of its issuer.
    let ca = Builder::ca("Sub CA", &Key::P521)
        .with(
            BASIC_CONSTRAINTS,
            true,
            certificate::basic_constraints(true, Some(0)),
        )
        .crl(URL)
        .issue(&pki.ca, &Key::P521);
    for (field, expected) in [
        (flag(1, &yes), "the CRL holds end-entity certificates only"),
        (flag(2, &yes), "good"),
    ] {
        let (oid, critical, value) = issuing_distribution_point(&[&field]);
        let crl = Draft::of(&pki.ca).with(oid, critical, value).sign(&pki.ca);
        assert_eq!(verdict(&pki, &crl, None, &parsed(&ca)), expected);
    }
}

/// REV-38: a CRL for some reasons says so, and so does the certificate that names it.
#[test]
fn reasons_that_are_covered() {
    let pki = Pki::new();
    let issuer = parsed(&pki.ca);
    let reasons = |bits: u16| [&[0x80 | 1][..], &named_bits(bits)[1..]].concat();
    let only = |bits: u16| [&[0x80 | 3][..], &named_bits(bits)[1..]].concat();
    let covered = |named: Option<u16>, scope: Option<u16>| {
        let value = points(&[(&[URL], named.map(reasons))]);
        let certificate = parsed(&leaf(&pki, |l| {
            l.with(CRL_DISTRIBUTION_POINTS, false, value)
        }));
        let mut crl = Draft::of(&pki.ca);
        if let Some(bits) = scope {
            let (oid, critical, value) = issuing_distribution_point(&[&only(bits)]);
            crl = crl.with(oid, critical, value);
        }
        let bundle = Bundle::prove(Crl::parse(crl.sign(&pki.ca)).unwrap(), &issuer).unwrap();
        let point = &distribution_points(&certificate).unwrap()[0];
        let verdict = bundle.judge(&certificate, point, None, certificate::now());
        verdict.unwrap().reasons
    };
    let (compromise, rest) = (0b10, 0b1_1111_1100);
    assert_eq!(covered(None, None), Reasons::ALL);
    let some = covered(Some(compromise), None);
    assert_eq!(covered(None, Some(compromise)), some);
    assert_eq!(covered(Some(compromise | 4), Some(compromise)), some);
    assert_ne!(some, Reasons::ALL);
    assert_eq!(covered(Some(compromise), Some(rest)), Reasons::NONE);
    assert_eq!(some.or(covered(Some(rest), None)), Reasons::ALL);
}

/// REV-39, SEC-25: a genuine delta is no base.
#[test]
fn a_delta_is_no_base() {
    let pki = Pki::new();
    let certificate = listed(&pki);
    let delta = Draft::delta_of(&pki.ca);
    assert_eq!(
        verdict(&pki, &delta.sign(&pki.ca), None, &certificate),
        "a delta CRL was found in place of a base CRL"
    );
}

/// REV-40 to REV-42: what a delta must be, and what it changes.
#[test]
fn deltas() {
    let pki = Pki::new();
    let certificate = listed(&pki);
    let freshest = points(&[(&["http://crl.test/delta"], None)]);
    let base = Draft::of(&pki.ca).with(FRESHEST_CRL, false, freshest);
    let delta = Draft::delta_of(&pki.ca);
    let said = |base: &Draft, delta: &Draft| {
        let (base, delta) = (base.sign(&pki.ca), delta.sign(&pki.ca));
        verdict(&pki, &base, Some(&delta), &certificate)
    };
    assert_eq!(said(&base, &delta), "good");
    assert_eq!(
        verdict(&pki, &base.sign(&pki.ca), None, &certificate),
        "the base CRL has a delta CRL, which is missing"
    );
    assert_eq!(
        said(&base, &delta.clone().lists(SERIAL, Some(1))),
        "revoked"
    );
    let held = base.clone().entry(SERIAL, ago(50), &[reason_code(6)]);
    let released = delta.clone().entry(SERIAL, ago(40), &[reason_code(8)]);
    assert_eq!(said(&held, &delta), "revoked");
    assert_eq!(said(&held, &released), "good");
    assert_eq!(
        said(&base.clone().lists(SERIAL, Some(1)), &released),
        "revoked"
    );

    for (delta, expected) in [
        (
            delta.clone().with(CRL_NUMBER, false, integer(5)),
            "delta CRL number 5 is not greater than the base CRL number 5",
        ),
        (
            delta.clone().with(CRL_NUMBER, false, integer(4)),
            "delta CRL number 4 is not greater than the base CRL number 5",
        ),
        (
            delta.clone().with(DELTA_CRL_INDICATOR, true, integer(6)),
            "delta CRL indicator 6 is not less than or equal to the base CRL number 5",
        ),
        (
            delta.clone().without(DELTA_CRL_INDICATOR),
            "delta CRL indicator extension is not found",
        ),
        (
            delta.clone().without(CRL_NUMBER),
            "a CRL that is used with a delta CRL must have a number",
        ),
        (
            delta.clone().change(|crl| crl.next_update = None),
            "CRL NextUpdate is not set",
        ),
        (
            delta.clone().change(|crl| crl.next_update = Some(ago(1))),
            "expired CRL. Current time 2026-01-02 03:04:05 +0000 UTC is after CRL NextUpdate 2026-01-02 03:04:04 +0000 UTC",
        ),
        (
            delta.clone().with("1.2.3.4", true, vec![5, 0]),
            "unsupported critical extension found in CRL: 1.2.3.4",
        ),
        (
            {
                let (oid, critical, value) = issuing_distribution_point(&[&[0x81, 1, 0xff]]);
                delta.clone().with(oid, critical, value)
            },
            "the delta CRL has another scope than the base CRL",
        ),
    ] {
        assert_eq!(said(&base, &delta), expected);
    }
    assert_eq!(
        said(&base.clone().without(CRL_NUMBER), &delta),
        "a CRL that is used with a delta CRL must have a number"
    );
    // An older base is enough, and numbers are compared as numbers.
    let long = |n: &[u8]| tlv(2, n);
    let newer = delta
        .clone()
        .with(DELTA_CRL_INDICATOR, true, integer(1))
        .with(CRL_NUMBER, false, long(&[0, 0x80]));
    assert_eq!(
        said(&base.clone().with(CRL_NUMBER, false, long(&[0x7f])), &newer),
        "good"
    );
    let forged = {
        let mut bytes = delta.sign(&pki.ca);
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    assert!(
        verdict(&pki, &base.sign(&pki.ca), Some(&forged), &certificate)
            .ends_with("crypto/ecdsa: verification error")
    );
}

/// REV-43: a delta that only the certificate names.
#[test]
fn freshest_in_the_certificate() {
    let pki = Pki::new();
    let value = points(&[(&["http://crl.test/delta"], None)]);
    let certificate = leaf(&pki, |leaf| leaf.crl(URL).with(FRESHEST_CRL, false, value));
    let base = Draft::of(&pki.ca).sign(&pki.ca);
    assert_eq!(
        verdict(&pki, &base, None, &parsed(&certificate)),
        "freshest CRL from certificate extension is not supported"
    );
}

/// REV-31, REV-46: what is no CRL, and what a CRL says beside its entries.
#[test]
fn reading() {
    let pki = Pki::new();
    let good = Draft::of(&pki.ca);
    let der = good.sign(&pki.ca);
    let pem = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
    for bad in [
        Vec::new(),
        pem.as_bytes().to_vec(),
        [&der[..], &[0]].concat(),
        der[..der.len() - 1].to_vec(),
        good.clone()
            .change(|crl| crl.version = integer(2))
            .sign(&pki.ca),
        good.clone()
            .change(|crl| crl.version = Vec::new())
            .sign(&pki.ca),
        good.clone()
            .with(CRL_NUMBER, false, tlv(2, &[0x80]))
            .sign(&pki.ca),
        good.clone()
            .with(CRL_NUMBER, false, tlv(2, &[1; 22]))
            .sign(&pki.ca),
        // Far more of what is read before the signature than anybody needs.
        good.clone()
            .with("1.2.3.4", false, vec![0; 64 << 10])
            .sign(&pki.ca),
        good.clone()
            .change(|crl| crl.issuer = named_by(64 << 10))
            .sign(&pki.ca),
    ] {
        assert!(matches!(
            Crl::parse(bad),
            Err(CrlError::Malformed { .. } | CrlError::Wrapped { .. })
        ));
    }
    let large = Crl::parse(vec![0; MAX_CRL_LEN + 1]).unwrap_err();
    assert_eq!(large.to_string(), "CRL size exceeds the limit: 33554432");

    let next = hardsign_test_support::asn1::time(ago(5));
    let crl = good.with("1.3.6.1.4.1.311.21.4", false, next).sign(&pki.ca);
    let crl = Crl::parse(crl).unwrap();
    assert_eq!(crl.next_publish(), Some(ago(5)));
    assert_eq!(crl.next_update(), Some(ago(-7 * 24 * 3600)));
    assert!(crl.freshest_urls().is_empty());
}

/// A name with a common name of so many characters.
fn named_by(length: usize) -> Vec<u8> {
    let text = tlv(0x0c, &vec![b'x'; length]);
    sequence(&[&tlv(0x31, &sequence(&[&[6, 3, 0x55, 4, 3], &text]))])
}

/// SEC-14: what a stranger is called does not fill the terminal.
#[test]
fn long_names_are_cut_off() {
    let pki = Pki::new();
    let crl = Draft::of(&pki.ca).change(|crl| crl.issuer = named_by(60_000));
    let said = verdict(&pki, &crl.sign(&pki.ca), None, &listed(&pki));
    assert!(said.starts_with("the CRL is issued by \"CN=xxx"), "{said}");
    assert!(said.contains("xxx...\", not by CA"), "{said}");
    assert!(said.len() < 1500, "{}", said.len());
}

/// A list that breaks off, or whose entries are none, is refused when it is looked into.
#[test]
fn malformed_entries() {
    let pki = Pki::new();
    let certificate = listed(&pki);
    let date = hardsign_test_support::asn1::time(ago(5));
    for bad in [
        vec![0x30, 5, 2, 1, 7],
        sequence(&[&[2, 1, 7]]),
        sequence(&[SERIAL, &[5, 0]]),
        sequence(&[SERIAL, &date, &[5, 0]]),
        sequence(&[SERIAL, &date, &sequence(&[&sequence(&[&[6, 1, 42]])])]),
        sequence(&[SERIAL, &date, &sequence(&[]), &[5, 0]]),
        vec![5, 0],
    ] {
        let crl = Draft::of(&pki.ca).change(|crl| crl.entries = vec![bad.clone()]);
        let said = verdict(&pki, &crl.sign(&pki.ca), None, &certificate);
        assert!(
            ["x509: malformed crl entry", "x509: malformed crl"].contains(&said.as_str()),
            "{bad:?}: {said}"
        );
    }
    let twice = [reason_code(8), reason_code(8)];
    let crl = Draft::of(&pki.ca)
        .entry(SERIAL, ago(5), &twice)
        .sign(&pki.ca);
    assert_eq!(
        verdict(&pki, &crl, None, &certificate),
        "x509: malformed crl entry"
    );
}

/// The reasons that make a CRL say nothing are told apart.
#[test]
fn scope_errors_have_their_kind() {
    let error = CrlError::from(OutOfScope::Indirect);
    assert_eq!(error, CrlError::Scope(OutOfScope::Indirect));
}

/// REV-31: what a server sends in place of DER is called by its name.
#[test]
fn rev_31_other_answers_are_named() {
    for (answer, what) in [
        (
            &b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"[..],
            "PEM text",
        ),
        (b"<!DOCTYPE html><html>log in</html>", "a web page (HTML)"),
        (b"", "empty"),
        (b"\r\n", "empty"),
        (b"{\"error\":\"x\"}", "JSON"),
        (b"\xef\xbb\xbf-----BEGIN X509 CRL-----", "byte order mark"),
    ] {
        let error = Crl::parse(answer.to_vec()).unwrap_err().told();
        assert!(error.starts_with("x509: malformed crl"), "{error}");
        assert!(error.contains(what), "{error}");
    }
}
