//! OCSP requests and responses (REV-15, REV-18 to REV-28).

use hardsign_core::revocation::ocsp::{self, MAX_RESPONSE_LEN, OcspStatus};
use hardsign_core::x509::Certificate;
use hardsign_test_support::asn1::{named_bits, oid, sequence};
use hardsign_test_support::certificate::{self, EXT_KEY_USAGE, KEY_USAGE, purposes};
use hardsign_test_support::key::X509Scheme;
use hardsign_test_support::revocation::{
    OCSP_NOCHECK, OCSP_SIGNING, Ocsp, Single, ago, invalidity_date, ocsp_failure,
};
use hardsign_test_support::{Builder, Issued, Key, Pki};
use jiff::Timestamp;

use crate::{SERIAL, leaf, parsed};

/// A certificate that may sign OCSP responses, as changed.
fn responder(pki: &Pki, change: impl FnOnce(Builder) -> Builder) -> Issued {
    let key = &Key::P256;
    let builder = Builder::leaf("Responder", key.spki)
        .with(EXT_KEY_USAGE, false, purposes(&[OCSP_SIGNING]))
        .with(OCSP_NOCHECK, false, vec![5, 0]);
    pki.issue(change(builder), key)
}

fn good(pki: &Pki) -> Single {
    Single::good(SERIAL, &pki.ca)
}

/// What a response says, in a few words.
fn said(pki: &Pki, response: &[u8], signed: Option<Timestamp>) -> String {
    let certificate = parsed(&leaf(pki, |leaf| leaf));
    let issuer = parsed(&pki.ca);
    match ocsp::judge(response, &certificate, &issuer, signed, certificate::now()) {
        Ok(answer) => match answer.status {
            OcspStatus::Good => "good",
            OcspStatus::Revoked => "revoked",
            OcspStatus::Unknown => "unknown",
        }
        .to_owned(),
        Err(error) => error.to_string(),
    }
}

/// REV-15: the bytes that `openssl ocsp -reqout` writes with `-no_nonce` for the same certificates
/// are checked in the end-to-end tests; here, their shape.
#[test]
fn the_request_names_the_certificate_and_nothing_else() {
    let pki = Pki::new();
    let request = ocsp::request(&parsed(&leaf(&pki, |l| l)), &parsed(&pki.ca)).unwrap();
    let single = good(&pki);
    let id = sequence(&[
        &sequence(&[&oid("1.3.14.3.2.26"), &[5, 0]]),
        &[&[4, 20][..], &single.issuer_name].concat(),
        &[&[4, 20][..], &single.issuer_key].concat(),
        SERIAL,
    ]);
    assert_eq!(
        request,
        sequence(&[&sequence(&[&sequence(&[&sequence(&[&id])])])])
    );
}

/// REV-19, REV-20, REV-26: good, revoked for any reason, unknown; signed by the issuer itself.
#[test]
fn statuses() {
    let pki = Pki::new();
    let sign = |single: Single| Ocsp::of(&[single], &pki.ca).sign(&pki.ca);
    assert_eq!(said(&pki, &sign(good(&pki)), None), "good");
    assert_eq!(said(&pki, &sign(good(&pki).unknown()), None), "unknown");
    for reason in [None, Some(0), Some(1), Some(6), Some(8), Some(10)] {
        assert_eq!(
            said(&pki, &sign(good(&pki).revoked(reason)), None),
            "revoked",
            "{reason:?}"
        );
    }
    // Of several statements about the certificate, the worst counts.
    let both = [good(&pki), good(&pki).revoked(None)];
    assert_eq!(
        said(&pki, &Ocsp::of(&both, &pki.ca).sign(&pki.ca), None),
        "revoked"
    );
    let both = [good(&pki).unknown(), good(&pki)];
    assert_eq!(
        said(&pki, &Ocsp::of(&both, &pki.ca).sign(&pki.ca), None),
        "unknown"
    );
}

/// REV-18: what responders answer instead.
#[test]
fn failures_of_responders() {
    let pki = Pki::new();
    for (status, expected) in [
        (1, "OCSP malformed"),
        (2, "OCSP internal error"),
        (3, "OCSP try later"),
        (4, "malformed OCSP response"),
        (5, "OCSP signature required"),
        (6, "OCSP unauthorized"),
        (7, "malformed OCSP response"),
        (0, "malformed OCSP response"),
    ] {
        assert_eq!(
            said(&pki, &ocsp_failure(status), None),
            expected,
            "{status}"
        );
    }
    let good = Ocsp::of(&[good(&pki)], &pki.ca).sign(&pki.ca);
    for (bad, what) in [
        (Vec::new(), ": it is empty"),
        (b"<html>".to_vec(), ": it is a web page (HTML)"),
        (
            b"-----BEGIN X-----\n-----END X-----".to_vec(),
            ": it is PEM text",
        ),
        (good[..good.len() - 1].to_vec(), ""),
        ([&good[..], &[0]].concat(), ""),
    ] {
        let expected = format!("malformed OCSP response{what}");
        assert_eq!(said(&pki, &bad, None), expected);
    }
    assert_eq!(
        said(&pki, &vec![0x30; MAX_RESPONSE_LEN + 1], None),
        "the OCSP response has more than 20480 bytes"
    );
    let other = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
    let at = good.windows(9).position(|w| w == other).unwrap();
    let mut changed = good.clone();
    changed[at + 8] = 2;
    assert_eq!(
        said(&pki, &changed, None),
        "OCSP response type 1.3.6.1.5.5.7.48.1.2 is not supported"
    );
}

/// REV-20, REV-21, SEC-25: who may sign.
#[test]
fn signers() {
    let pki = Pki::new();
    let by = |signer: &Issued| {
        Ocsp::of(&[good(&pki)], signer)
            .carrying(signer)
            .sign(signer)
    };
    let name = "\"CN=Responder,O=Hardsign Tests,ST=WA,C=US\"";
    let not_signed = "the OCSP response is not signed by the certificate's issuer or a responder that it authorized";
    assert_eq!(said(&pki, &by(&responder(&pki, |b| b)), None), "good");
    // The issuer signs and sends its own certificate along.
    assert_eq!(said(&pki, &by(&pki.ca), None), "good");
    // Some other certificate first.
    let signer = responder(&pki, |b| b);
    let second = Ocsp::of(&[good(&pki)], &signer)
        .carrying(&pki.root)
        .carrying(&signer)
        .sign(&signer);
    assert_eq!(said(&pki, &second, None), "good");

    let cases: [(&str, Issued); 4] = [
        (
            "is not authorized to sign OCSP responses",
            responder(&pki, |b| b.without(EXT_KEY_USAGE)),
        ),
        (
            "is not authorized to sign OCSP responses",
            // The certificate of any user of the CA: the attack that the reference is open to.
            responder(&pki, |b| {
                b.with(
                    EXT_KEY_USAGE,
                    false,
                    purposes(&["1.3.6.1.5.5.7.3.3", "2.5.29.37.0"]),
                )
            }),
        ),
        (
            "may not make digital signatures",
            responder(&pki, |b| b.with(KEY_USAGE, true, named_bits(1 << 1))),
        ),
        (
            "is not valid at this time",
            responder(&pki, |b| {
                b.valid("2020-01-01T00:00:00Z", "2026-01-02T03:04:04Z")
            }),
        ),
    ];
    for (fault, signer) in cases {
        assert_eq!(
            said(&pki, &by(&signer), None),
            format!("the OCSP response is signed by {name}, which {fault}")
        );
    }
    // Another CA's responder, one below the responder's, and one that is not sent along.
    let key = &Key::P256;
    let ocsp = |b: Builder| b.with(EXT_KEY_USAGE, false, purposes(&[OCSP_SIGNING]));
    let stranger = ocsp(Builder::leaf("Responder", key.spki)).issue(&pki.root, key);
    assert_eq!(said(&pki, &by(&stranger), None), not_signed);
    let below = Builder::leaf("Below", Key::P521.spki).issue(&signer, &Key::P521);
    let chain = Ocsp::of(&[good(&pki)], &below)
        .carrying(&below)
        .carrying(&signer)
        .sign(&below);
    assert_eq!(said(&pki, &chain, None), not_signed);
    let absent = Ocsp::of(&[good(&pki)], &signer).sign(&signer);
    assert_eq!(said(&pki, &absent, None), not_signed);
    // Beyond the eighth certificate nobody looks.
    let crowd = (0..8).fold(Ocsp::of(&[good(&pki)], &signer), |o, _| {
        o.carrying(&pki.root)
    });
    assert_eq!(
        said(&pki, &crowd.carrying(&signer).sign(&signer), None),
        not_signed
    );
    // A keyUsage that is absent restricts nothing.
    let free = responder(&pki, |b| b.without(KEY_USAGE));
    assert_eq!(said(&pki, &by(&free), None), "good");
}

/// REV-34: SHA-1 is refused on responses, and on the certificates of responders.
#[test]
fn weak_signatures() {
    let sha1 = || Some(sequence(&[&oid("1.2.840.113549.1.1.5"), &[5, 0]]));
    let mut pki = Pki::new();
    pki.ca = Builder::ca("Issuing CA", &Key::RSA_2048).issue(&pki.root, &Key::RSA_2048);
    let response = Ocsp::of(&[good(&pki)], &pki.ca);
    assert_eq!(said(&pki, &response.sign(&pki.ca), None), "good");
    let weak = response.change(|ocsp| ocsp.algorithm = sha1());
    assert!(said(&pki, &weak.sign(&pki.ca), None).starts_with("the OCSP response is not signed"));
    let weak = responder(&pki, |b| {
        b.change(|b| {
            b.algorithm = sha1();
            b.scheme = X509Scheme::Usual;
        })
    });
    let response = Ocsp::of(&[good(&pki)], &weak).carrying(&weak).sign(&weak);
    assert!(said(&pki, &response, None).starts_with("the OCSP response is not signed"));
}

/// REV-28, DIF-08: a responder without nocheck is to be looked up where it says so.
#[test]
fn responders_that_must_be_checked() {
    let pki = Pki::new();
    let certificate = parsed(&leaf(&pki, |leaf| leaf));
    let issuer = parsed(&pki.ca);
    let to_check = |signer: &Issued| -> Option<Certificate> {
        let response = Ocsp::of(&[good(&pki)], signer)
            .carrying(signer)
            .sign(signer);
        ocsp::judge(&response, &certificate, &issuer, None, certificate::now())
            .unwrap()
            .to_check
    };
    let crl = |b: Builder| b.crl("http://crl.test/");
    assert_eq!(to_check(&responder(&pki, crl)), None);
    assert_eq!(
        to_check(&responder(&pki, |b| b.without(OCSP_NOCHECK))),
        None
    );
    let listed = responder(&pki, |b| crl(b).without(OCSP_NOCHECK));
    assert_eq!(to_check(&listed), Some(parsed(&listed)));
    assert_eq!(to_check(&pki.ca), None);
}

/// REV-22, SEC-25: the whole CertID names the certificate.
#[test]
fn certificate_ids() {
    let pki = Pki::new();
    let said_of = |single: Single| said(&pki, &Ocsp::of(&[single], &pki.ca).sign(&pki.ca), None);
    let other = "the OCSP response is about another certificate";
    // The same serial number under another CA: what the reference takes for ours.
    assert_eq!(said_of(Single::good(SERIAL, &pki.root)), other);
    for change in [
        (|s: &mut Single| s.serial = vec![2, 3, 0x11, 0x22, 0x34]) as fn(&mut Single),
        |s| s.issuer_name[0] ^= 1,
        |s| s.issuer_key[19] ^= 1,
        |s| s.issuer_key.truncate(19),
        |s| s.hash = sequence(&[&oid("2.16.840.1.101.3.4.2.1")]),
    ] {
        assert_eq!(said_of(good(&pki).change(change)), other);
    }
    let bare = good(&pki).change(|s| s.hash = sequence(&[&oid("1.3.14.3.2.26")]));
    assert_eq!(said_of(bare), "good");
    let among = [Single::good(&[2, 1, 1], &pki.ca).revoked(None), good(&pki)];
    assert_eq!(
        said(&pki, &Ocsp::of(&among, &pki.ca).sign(&pki.ca), None),
        "good"
    );
    assert_eq!(
        said(&pki, &Ocsp::of(&[], &pki.ca).sign(&pki.ca), None),
        other
    );
}

/// REV-23, REV-24: too old, too new, never ending.
#[test]
fn times() {
    let pki = Pki::new();
    let said_of = |produced: i64, this: i64, next: Option<i64>| {
        let single = good(&pki).change(|s| {
            s.this_update = ago(this);
            s.next_update = next.map(ago);
        });
        let response = Ocsp::of(&[single], &pki.ca).change(|o| o.produced_at = ago(produced));
        said(&pki, &response.sign(&pki.ca), None)
    };
    let day = 24 * 3600;
    let future = "the OCSP response is not yet valid";
    for (produced, this, next, expected) in [
        (0, 0, Some(0), "good"),
        (60, 60, Some(1), "expired OCSP response"),
        (60, 60, None, "expired OCSP response"),
        (-300, -300, Some(-600), "good"),
        (0, -301, Some(-600), future),
        (-301, 0, Some(-600), future),
        (0, 400 * day, Some(-600), "good"),
        (
            0,
            400 * day + 1,
            Some(-600),
            "the OCSP response is more than 400 days old",
        ),
    ] {
        assert_eq!(said_of(produced, this, next), expected, "{this} {next:?}");
    }
}

/// REV-25, DIF-33: revoked later than a signing authority dates the signature.
#[test]
fn invalidity_dates() {
    let pki = Pki::new();
    for (signed, expected) in [
        (None, "revoked"),
        (Some(ago(1001)), "good"),
        (Some(ago(1000)), "revoked"),
        (Some(ago(999)), "revoked"),
    ] {
        let single = good(&pki)
            .revoked(Some(1))
            .change(|s| s.extensions = vec![invalidity_date(ago(1000))]);
        let response = Ocsp::of(std::slice::from_ref(&single), &pki.ca).sign(&pki.ca);
        assert_eq!(said(&pki, &response, signed), expected);
        let unknown = Ocsp::of(&[single.unknown()], &pki.ca).sign(&pki.ca);
        assert_eq!(said(&pki, &unknown, signed), "unknown");
    }
}

/// REV-27: critical extensions that nobody understands.
#[test]
fn critical_extensions() {
    let pki = Pki::new();
    let response = |critical: bool| {
        let single = good(&pki).change(|s| s.extensions = vec![("1.2.3.4", critical, vec![5, 0])]);
        let inner = Ocsp::of(&[single], &pki.ca).sign(&pki.ca);
        let outer = Ocsp::of(&[good(&pki)], &pki.ca)
            .change(|o| o.extensions = vec![("1.2.3.4", critical, vec![5, 0])])
            .sign(&pki.ca);
        [inner, outer]
    };
    for bytes in response(false) {
        assert_eq!(said(&pki, &bytes, None), "good");
    }
    for bytes in response(true) {
        assert_eq!(
            said(&pki, &bytes, None),
            "unsupported critical extension found in OCSP response: 1.2.3.4"
        );
    }
}
