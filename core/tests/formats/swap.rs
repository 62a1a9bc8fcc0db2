//! The swap matrix: each part of one valid signature put into another is refused (CVE-2022-23649).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hardsign_core::algorithm::KeySpec;
use hardsign_core::envelope::{Envelope, EnvelopeError, Format, Signature};
use hardsign_test_support::{Builder, Key, Pki, cose, jws};

/// Parts of one signature, in a form that both formats can be made of.
struct Made {
    key: Key,
    chain: Vec<Vec<u8>>,
    payload: String,
    jws_protected: String,
    cose_protected: Vec<u8>,
}

/// Signatures that differ from the first in one respect each, and in kind of key.
fn made() -> Vec<Made> {
    let pki = Pki::new();
    let make = |key: Key, name: &str, size: u32, time: i64| {
        let chain = pki.chain(&pki.issue(Builder::leaf(name, key.spki), &key));
        let text = jiff::Timestamp::from_second(time).unwrap();
        Made {
            key,
            chain,
            payload: jws::payload().replace("528", &size.to_string()),
            jws_protected: jws::protected(&key)
                .with("io.cncf.notary.signingTime", &format!("\"{text}\""))
                .to_json(),
            cose_protected: cose::protected(&key)
                .with("io.cncf.notary.signingTime", cose::epoch(time))
                .to_cbor(),
        }
    };
    let mut made = vec![
        make(Key::P256, "A", 528, 1_767_323_045),
        make(Key::P256, "A", 529, 1_767_323_045),
        make(Key::P256, "A", 528, 1_767_323_046),
        make(Key::P256_B, "B", 528, 1_767_323_045),
    ];
    for spec in KeySpec::ALL {
        made.push(make(Key::of(spec), "C", 600, 1_767_323_050));
    }
    made
}

fn verify(format: Format, bytes: &[u8]) -> Result<Signature, EnvelopeError> {
    Envelope::parse(format, bytes)?.verify_integrity()
}

/// Protected header, payload, signature and chain of any two signatures. The chain is not signed:
/// another chain for the same key is another road to the same signer, and its certificates are
/// judged as they stand.
#[test]
fn jws_parts_do_not_mix() {
    let made = made();
    let keys = || made.iter().map(|m| m.key.spki);
    let signed: Vec<jws::Jws> = made
        .iter()
        .map(|m| {
            let header = jws::header(&m.chain);
            jws::Jws::sign(&m.jws_protected, m.payload.as_bytes(), header, &m.key)
        })
        .collect();
    let swaps: [fn(&mut jws::Jws, &jws::Jws); 4] = [
        |to, from| to.protected.clone_from(&from.protected),
        |to, from| to.payload.clone_from(&from.payload),
        |to, from| to.signature.clone_from(&from.signature),
        |to, from| to.header = from.header.clone(),
    ];
    for (one, one_key) in signed.iter().zip(keys()) {
        assert!(verify(Format::Jws, &one.to_bytes()).is_ok());
        for (other, other_key) in signed.iter().zip(keys()) {
            for (i, swap) in swaps.iter().enumerate() {
                let mut mixed = one.clone();
                swap(&mut mixed, other);
                let same = mixed == *one || (i == 3 && one_key == other_key);
                assert_eq!(
                    verify(Format::Jws, &mixed.to_bytes()).is_ok(),
                    same,
                    "part {i}"
                );
            }
        }
    }
}

#[test]
fn cose_parts_do_not_mix() {
    let made = made();
    let keys = || made.iter().map(|m| m.key.spki);
    let signed: Vec<cose::Cose> = made
        .iter()
        .map(|m| {
            let header = cose::unprotected(&m.chain);
            cose::Cose::sign(&m.cose_protected, m.payload.as_bytes(), &header, &m.key)
        })
        .collect();
    let swaps: [fn(&mut cose::Cose, &cose::Cose); 4] = [
        |to, from| to.protected.clone_from(&from.protected),
        |to, from| to.payload.clone_from(&from.payload),
        |to, from| to.signature.clone_from(&from.signature),
        |to, from| to.unprotected.clone_from(&from.unprotected),
    ];
    for (one, one_key) in signed.iter().zip(keys()) {
        assert!(verify(Format::Cose, &one.to_bytes()).is_ok());
        for (other, other_key) in signed.iter().zip(keys()) {
            for (i, swap) in swaps.iter().enumerate() {
                let mut mixed = one.clone();
                swap(&mut mixed, other);
                let same = mixed == *one || (i == 3 && one_key == other_key);
                assert_eq!(
                    verify(Format::Cose, &mixed.to_bytes()).is_ok(),
                    same,
                    "part {i}"
                );
            }
        }
    }
}

/// A signature of one format is none of the other, and an envelope is not read as the other.
#[test]
fn formats_do_not_mix() {
    for m in made() {
        let mut as_jws = jws::Jws::sign(
            &m.jws_protected,
            m.payload.as_bytes(),
            jws::header(&m.chain),
            &m.key,
        );
        let mut as_cose = cose::Cose::sign(
            &m.cose_protected,
            m.payload.as_bytes(),
            &cose::unprotected(&m.chain),
            &m.key,
        );
        assert!(verify(Format::Cose, &as_jws.to_bytes()).is_err());
        assert!(verify(Format::Jws, &as_cose.to_bytes()).is_err());
        let jws_signature = URL_SAFE_NO_PAD.decode(&as_jws.signature).unwrap();
        as_jws.signature = URL_SAFE_NO_PAD.encode(&as_cose.signature);
        as_cose.signature = jws_signature;
        assert!(verify(Format::Jws, &as_jws.to_bytes()).is_err());
        assert!(verify(Format::Cose, &as_cose.to_bytes()).is_err());
    }
}

/// Each certificate of a chain replaced by each of another: only the very same chain passes, or
/// one whose leaf has the same key and whose issuer issued it.
#[test]
fn certificates_do_not_mix() {
    let made = made();
    for one in &made {
        for other in &made {
            let mut chain = one.chain.clone();
            chain[0].clone_from(&other.chain[0]);
            let header = jws::Object::default().with(
                "x5c",
                &format!(
                    "[{}]",
                    chain
                        .iter()
                        .map(|der| format!("\"{}\"", STANDARD.encode(der)))
                        .collect::<Vec<_>>()
                        .join(",")
                ),
            );
            let jws = jws::Jws::sign(&one.jws_protected, one.payload.as_bytes(), header, &one.key);
            let verdict = verify(Format::Jws, &jws.to_bytes());
            assert_eq!(verdict.is_ok(), one.key.spki == other.key.spki);
        }
    }
}
