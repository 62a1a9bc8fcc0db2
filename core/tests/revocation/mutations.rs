//! Mutations of CRLs and OCSP responses: none changes an answer, and what a hostile CA signs makes
//! nothing panic (SEC-33).

use std::collections::BTreeSet;

use hardsign_core::revocation::crl::{Bundle, Crl};
use hardsign_core::revocation::distribution_points;
use hardsign_core::revocation::ocsp::{self, OcspStatus};
use hardsign_test_support::asn1::integer;
use hardsign_test_support::certificate;
use hardsign_test_support::revocation::{
    Crl as CrlDraft, FRESHEST_CRL, Ocsp, Single, ago, distribution_points as points,
    invalidity_date, issuing_distribution_point, point_name, reason_code,
};
use hardsign_test_support::{Key, Pki, certificate::Builder};

use crate::{SERIAL, leaf, parsed};

const URL: &str = "http://crl.test/base";
const MUTANTS: u64 = 10_000;

/// A fast generator of numbers that need no secrecy (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let next = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16;
        usize::try_from(next % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(2) {
            let at = self.below(bytes.len());
            let end = bytes.len().min(at + 1 + self.below(12));
            match self.below(5) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = u8::try_from(self.below(256)).unwrap(),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let copy = bytes[at..end].to_vec();
                    bytes.splice(at..at, copy);
                }
                _ => bytes.truncate(at.max(1)),
            }
            if bytes.is_empty() {
                bytes.push(0x30);
            }
        }
    }
}

fn crl(pki: &Pki, listed: bool) -> CrlDraft {
    let (oid, critical, value) = issuing_distribution_point(&[&point_name(URL)]);
    let draft = CrlDraft::of(&pki.ca)
        .with(oid, critical, value)
        .with(FRESHEST_CRL, false, points(&[]))
        .lists(&integer(9), Some(4));
    if listed {
        draft.entry(SERIAL, ago(9), &[reason_code(1), invalidity_date(ago(10))])
    } else {
        draft
    }
}

/// SEC-33: no mutant of a CRL says anything else than the CRL, signed by itself or by its CA.
#[test]
fn mutants_of_crls() {
    let pki = Pki::new();
    let issuer = parsed(&pki.ca);
    let certificate = parsed(&leaf(&pki, |leaf| leaf.crl(URL)));
    let point = &distribution_points(&certificate).unwrap()[0];
    let said = |bytes: Vec<u8>| -> Option<bool> {
        let crl = Crl::parse(bytes).ok()?;
        // Read without its signature too.
        drop(crl.danger_lists(certificate.serial()));
        let bundle = Bundle::prove(crl, &issuer).ok()?;
        let verdict = bundle.judge(&certificate, point, None, certificate::now());
        Some(verdict.ok()?.revoked)
    };
    let mut signed = BTreeSet::new();
    for number in 1..=MUTANTS {
        let mut random = Random(number);
        let listed = number % 2 == 0;
        let draft = crl(&pki, listed);
        let mut bytes = draft.sign(&pki.ca);
        random.mutate(&mut bytes);
        let got = said(bytes);
        assert!(got.is_none_or(|revoked| revoked == listed), "{number}");
        let mut tbs = draft.tbs(&pki.ca);
        random.mutate(&mut tbs);
        signed.insert(said(draft.seal(&tbs, &pki.ca)));
    }
    // Where the CA signs the mutant, it can say anything: all of it was reached.
    assert_eq!(signed, [None, Some(false), Some(true)].into());
}

/// SEC-33: no mutant of a response says anything else than the response.
#[test]
fn mutants_of_responses() {
    let pki = Pki::new();
    let issuer = parsed(&pki.ca);
    let certificate = parsed(&leaf(&pki, |leaf| leaf));
    let responder = pki.issue(
        Builder::leaf("Responder", Key::P256.spki).with(
            certificate::EXT_KEY_USAGE,
            false,
            certificate::purposes(&["1.3.6.1.5.5.7.3.9"]),
        ),
        &Key::P256,
    );
    let said = |bytes: &[u8]| {
        drop(ocsp::danger_parse(bytes));
        ocsp::judge(bytes, &certificate, &issuer, None, certificate::now())
            .ok()
            .map(|answer| answer.status == OcspStatus::Revoked)
    };
    let mut signed = BTreeSet::new();
    for number in 1..=MUTANTS {
        let mut random = Random(number);
        let revoked = number % 2 == 0;
        let single = Single::good(SERIAL, &pki.ca);
        let single = if revoked {
            single
                .revoked(Some(1))
                .change(|s| s.extensions = vec![invalidity_date(ago(9))])
        } else {
            single
        };
        let draft = Ocsp::of(&[single], &responder).carrying(&responder);
        let mut bytes = draft.sign(&responder);
        random.mutate(&mut bytes);
        assert!(said(&bytes).is_none_or(|got| got == revoked), "{number}");
        let mut data = draft.data();
        random.mutate(&mut data);
        signed.insert(said(&draft.seal(&data, &responder)));
    }
    assert_eq!(signed, [None, Some(false), Some(true)].into());
}
