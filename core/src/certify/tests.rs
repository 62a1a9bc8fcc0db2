//! What is made, read again by the code that verifies.

use hardsign_test_support::Key;
use hardsign_test_support::Told;

use super::*;
use crate::x509::{Certificate, Chain, CodeSigning};

const SUBJECT: &str = "C=US,ST=WA,O=Example,CN=release";

fn now() -> Timestamp {
    "2026-11-28T12:00:00Z".parse().unwrap()
}

fn spki(spec: KeySpec) -> Vec<u8> {
    Key::of(spec).spki.to_vec()
}

fn key(spec: KeySpec) -> SigningKey {
    SigningKey::new(&spki(spec), RsaPadding::Pss).unwrap()
}

fn new(subject: &str, ca: Option<u8>) -> NewCertificate {
    NewCertificate {
        subject: Subject::parse(subject).unwrap(),
        days: 30,
        ca,
        crl_url: None,
        follows: None,
        now: now(),
    }
}

fn finish(unsigned: &Unsigned, spec: KeySpec) -> Vec<u8> {
    assert_eq!(
        unsigned.digest(),
        crypto::hash(unsigned.hash(), unsigned.message())
    );
    let key = Key::of(spec);
    let signature = match unsigned.padding() {
        RsaPadding::Pss => key.sign(unsigned.message()),
        RsaPadding::Pkcs1 => key.sign_pkcs1(unsigned.message()),
    };
    unsigned.assemble(&signature).unwrap()
}

/// X509-08 to X509-14: a self-signed certificate of each kind of key is one that verification takes.
#[test]
fn x509_08_self_signed_certificates() {
    for spec in KeySpec::ALL {
        let issued = self_signed(&key(spec), &new(SUBJECT, None)).unwrap();
        let der = finish(&issued.unsigned, spec);
        let certificate = Certificate::from_der(&der).unwrap();
        assert_eq!(certificate.key_spec(), Some(spec));
        assert_eq!(hex::encode(certificate.serial()), issued.serial.to_string());
        assert!(certificate.is_valid_at(now()));
        assert!(!issued.cut);
        let chain = Chain::<CodeSigning>::prove(vec![certificate]).unwrap();
        assert_eq!(
            chain.leaf().subject().to_string(),
            "CN=release,O=Example,ST=WA,C=US"
        );
    }
}

/// Two levels and three: path lengths, key identifiers, and an end that is never after the issuer's.
#[test]
fn a_ca_of_two_and_of_three_levels() {
    let (root_key, middle_key, leaf_key) = (
        key(KeySpec::Ec384),
        key(KeySpec::Rsa3072),
        key(KeySpec::Ec256),
    );
    let root_name = "C=US,ST=WA,O=Example,CN=root";
    for length in [0, 1] {
        let root = self_signed(&root_key, &new(root_name, Some(length))).unwrap();
        let root = finish(&root.unsigned, KeySpec::Ec384);
        let issuer = Issuer::new(root_key.clone(), &root).unwrap();
        assert_eq!(issuer.path_length(), Some(length));
        let mut wanted = new(SUBJECT, None);
        wanted.days = 400;
        wanted.crl_url = Some("http://ca.example/root.crl".to_owned());
        let leaf = issue(&issuer, leaf_key.spki(), &wanted).unwrap();
        assert!(leaf.cut);
        assert_eq!(leaf.not_after, issuer.validity().1);
        let leaf = finish(&leaf.unsigned, KeySpec::Ec384);
        let parsed = |der: &[u8]| Certificate::from_der(der).unwrap();
        assert_eq!(parsed(&leaf).crl_urls(), ["http://ca.example/root.crl"]);
        Chain::<CodeSigning>::prove(vec![parsed(&leaf), parsed(&root)]).unwrap();

        let middle = issue(
            &issuer,
            middle_key.spki(),
            &new("C=US,ST=WA,O=E,CN=m", Some(0)),
        );
        if length == 0 {
            let error = middle.unwrap_err().told();
            assert!(error.contains("own path length is 0"), "{error}");
            continue;
        }
        let middle = finish(&middle.unwrap().unsigned, KeySpec::Ec384);
        let issuer = Issuer::new(middle_key.clone(), &middle).unwrap();
        let leaf = issue(&issuer, leaf_key.spki(), &new(SUBJECT, None)).unwrap();
        let leaf = finish(&leaf.unsigned, KeySpec::Rsa3072);
        Chain::<CodeSigning>::prove(vec![parsed(&leaf), parsed(&middle), parsed(&root)]).unwrap();
    }
}

/// A certificate issues only if it is the key's, a CA's, and valid.
#[test]
fn who_may_issue() {
    let ca_key = key(KeySpec::Ec256);
    let leaf = self_signed(&ca_key, &new(SUBJECT, None)).unwrap();
    let leaf = finish(&leaf.unsigned, KeySpec::Ec256);
    let error = Issuer::new(ca_key.clone(), &leaf).unwrap_err().told();
    assert!(error.contains("it is not a CA certificate"), "{error}");
    let ca = self_signed(&ca_key, &new(SUBJECT, Some(0))).unwrap();
    let ca = finish(&ca.unsigned, KeySpec::Ec256);
    let error = Issuer::new(key(KeySpec::Ec384), &ca).unwrap_err().told();
    assert!(
        error.contains("not the certificate of the CA's key"),
        "{error}"
    );
    let error = Issuer::new(ca_key.clone(), b"x").unwrap_err().told();
    assert!(error.contains("can't be read"), "{error}");
    let issuer = Issuer::new(ca_key, &ca).unwrap();
    for at in ["2026-11-28T11:00:00Z", "2027-01-28T11:00:00Z"] {
        let late = NewCertificate {
            now: at.parse().unwrap(),
            ..new(SUBJECT, None)
        };
        let error = issue(&issuer, &spki(KeySpec::Ec384), &late).unwrap_err();
        assert!(error.told().contains("is valid from"), "{error}");
    }
}

/// Requests of each kind of key, RSA in both ways, are read again; one changed byte is refused.
#[test]
fn requests() {
    let subject = Subject::parse(SUBJECT).unwrap();
    for spec in KeySpec::ALL {
        for padding in [RsaPadding::Pss, RsaPadding::Pkcs1] {
            let key = match SigningKey::new(&spki(spec), padding) {
                Ok(key) => key,
                Err(error) => {
                    assert!(matches!(error, CertifyError::NotRsa(_)) && !spec.is_rsa());
                    continue;
                }
            };
            let der = finish(&request(&key, &subject).unwrap(), spec);
            let read = CertificateRequest::from_der(&der).unwrap();
            assert_eq!(read.subject(), &subject);
            assert_eq!(read.spki(), key.spki());
            assert_eq!(read.key_spec(), spec);
            let mut changed = der.clone();
            let name = changed
                .windows(7)
                .position(|part| part == b"release")
                .unwrap();
            changed[name] ^= 1;
            assert!(matches!(
                CertificateRequest::from_der(&changed),
                Err(CertifyError::RequestSignature(_))
            ));
            for end in 0..der.len() {
                assert!(CertificateRequest::from_der(&der[..end]).is_err());
            }
        }
    }
}

/// A signature that is not the key's over these bytes makes nothing.
#[test]
fn wrong_signatures() {
    for spec in KeySpec::ALL {
        let issued = self_signed(&key(spec), &new(SUBJECT, None)).unwrap();
        let other = Key::other_of(spec).sign(issued.unsigned.message());
        assert!(matches!(
            issued.unsigned.assemble(&other),
            Err(CertifyError::Signature(_))
        ));
        for length in [0, 1, spec.signature_len() - 1, spec.signature_len() + 1] {
            assert!(matches!(
                issued.unsigned.assemble(&vec![1; length]),
                Err(CertifyError::SignatureForm { .. })
            ));
        }
        assert!(
            issued
                .unsigned
                .assemble(&vec![0; spec.signature_len()])
                .is_err()
        );
    }
}

#[test]
fn what_cannot_be_certified() {
    for days in [0, u32::MAX, 3_000_000] {
        let bad = NewCertificate {
            days,
            ..new(SUBJECT, None)
        };
        let error = self_signed(&key(KeySpec::Ec256), &bad).unwrap_err().told();
        assert!(
            error.contains("can't be written into a certificate"),
            "{error}"
        );
    }
    let long = NewCertificate {
        days: 365 * 30,
        ..new(SUBJECT, None)
    };
    // Beyond 2049, where the form of times changes.
    let der = finish(
        &self_signed(&key(KeySpec::Ec256), &long).unwrap().unsigned,
        KeySpec::Ec256,
    );
    let certificate = Certificate::from_der(&der).unwrap();
    assert!(certificate.is_valid_at("2056-01-01T00:00:00Z".parse().unwrap()));
    for url in [
        "https://a/b",
        "http://",
        "http:///x",
        "ftp://a",
        "http://a b",
        "a",
    ] {
        let bad = NewCertificate {
            crl_url: Some(url.to_owned()),
            ..new(SUBJECT, None)
        };
        let error = self_signed(&key(KeySpec::Ec256), &bad).unwrap_err().told();
        assert!(error.contains("is not an http address"), "{error}");
    }
    assert!(SigningKey::new(b"x", RsaPadding::Pss).is_err());
}

/// REV-20: a list that verification reads: number, times, entries and reasons.
#[test]
fn revocation_lists() {
    use x509_cert::crl::CertificateList;
    let ca_key = key(KeySpec::Ec384);
    let ca = self_signed(&ca_key, &new(SUBJECT, Some(0))).unwrap();
    let ca = finish(&ca.unsigned, KeySpec::Ec384);
    let issuer = Issuer::new(ca_key, &ca).unwrap();
    let entry = |serial: &str, reason| CrlEntry {
        serial: Serial::parse(serial).unwrap(),
        at: now(),
        reason,
    };
    for revoked in [
        vec![],
        vec![
            entry("0102", Reason::KeyCompromise),
            entry("ff", Reason::Unspecified),
        ],
    ] {
        let list = NewCrl {
            number: 300,
            now: now(),
            next_update: "2026-12-28T12:00:00Z".parse().unwrap(),
            revoked: revoked.clone(),
        };
        let der = finish(&revocation_list(&issuer, &list).unwrap(), KeySpec::Ec384);
        let read = CertificateList::from_der(&der).unwrap().tbs_cert_list;
        let entries = read.revoked_certificates.unwrap_or_default();
        let serials: Vec<_> = entries
            .iter()
            .map(|entry| Serial::of(&entry.serial_number))
            .collect();
        let expected: Vec<_> = revoked.iter().map(|entry| entry.serial.clone()).collect();
        assert_eq!(serials, expected);
        if let [first, second] = entries.as_slice() {
            assert!(first.crl_entry_extensions.is_some());
            assert!(second.crl_entry_extensions.is_none());
        }
    }
}

#[test]
fn a_ledger_remembers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.json");
    assert_eq!(Ledger::load(&path).unwrap().crl_number, 0);
    let serial = Serial::parse("0a0b").unwrap();
    let changed: Result<(), LedgerError> = Ledger::update(&path, |ledger| {
        ledger.issued.push(LedgerEntry {
            serial: serial.to_string(),
            subject: SUBJECT.to_owned(),
            not_after: now().to_string(),
            crl_url: Some("http://a/b".to_owned()),
        });
        ledger.revoke(&serial, now(), Reason::Superseded);
        ledger.crl_number = 1;
        Ok(())
    });
    changed.unwrap();
    let ledger = Ledger::load(&path).unwrap();
    assert!(ledger.is_revoked(&serial));
    assert_eq!(ledger.entry(&serial).unwrap().subject, SUBJECT);
    assert_eq!(ledger.crl_urls(), ["http://a/b"]);
    assert_eq!(ledger.crl_entries().unwrap()[0].reason, Reason::Superseded);
    std::fs::write(&path, "{").unwrap();
    let error = Ledger::load(&path).unwrap_err().told();
    assert!(error.contains("is malformed"), "{error}");
}
