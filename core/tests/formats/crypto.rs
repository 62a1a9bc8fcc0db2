//! Primitive signatures.

use hardsign_core::algorithm::{HashAlgorithm, KeySpec};
use hardsign_core::crypto::{self, Hasher, KeyError, PublicKey, SignatureInvalid, SignedDataError};
use hardsign_test_support::Key;
use hardsign_test_support::asn1::{oid, sequence, tlv};
use hardsign_test_support::key::{
    REFUSED_SPKI, Salt, X509Scheme, pss_algorithm, pss_algorithm_with,
};

const MESSAGE: &[u8] = b"message";

fn verify(key: &Key, signature: &[u8]) -> Result<(), SignatureInvalid> {
    let public = PublicKey::from_spki_der(key.spki).unwrap();
    let digest = crypto::hash(key.spec.unwrap().hash(), MESSAGE);
    public.verify_digest(&digest, signature)
}

/// ENV-32, ENV-35, ENV-37: each of the six kinds verifies its own signature and no other.
#[test]
fn env_32_six_kinds_of_keys() {
    for spec in KeySpec::ALL {
        let key = Key::of(spec);
        let public = PublicKey::from_spki_der(key.spki).unwrap();
        assert_eq!(public.key_spec(), Some(spec));
        let mut signature = key.sign(MESSAGE);
        assert_eq!(signature.len(), spec.signature_len());
        assert_eq!(verify(&key, &signature), Ok(()));
        assert!(verify(&Key::other_of(spec), &signature).is_err());
        signature[7] ^= 1;
        assert!(verify(&key, &signature).is_err());
    }
}

/// ENV-32, ENV-34, ENV-38: other sizes, curves and kinds sign nothing.
#[test]
fn env_34_other_keys_are_refused() {
    for (name, spki) in REFUSED_SPKI {
        let key = PublicKey::from_spki_der(spki);
        assert!(!key.is_ok_and(|key| key.key_spec().is_some()), "{name}");
    }
    let ed25519 = PublicKey::from_spki_der(Key::ED25519.spki).unwrap();
    assert_eq!(ed25519.key_spec(), None);
    assert_eq!(
        ed25519.verify_digest(&[0; 32], &[0; 64]),
        Err(SignatureInvalid::UnsupportedKey)
    );
}

/// ENV-36, DIF-36, COSE-23: only a salt as long as the hash.
#[test]
fn env_36_salt_length_is_required() {
    for key in [Key::RSA_2048, Key::RSA_3072, Key::RSA_4096] {
        assert_eq!(
            verify(&key, &key.sign_with_salt(MESSAGE, Salt::Hash)),
            Ok(())
        );
        for salt in [Salt::Empty, Salt::Twenty, Salt::Longest] {
            let signature = key.sign_with_salt(MESSAGE, salt);
            assert_eq!(
                verify(&key, &signature),
                Err(SignatureInvalid::Rsa),
                "{salt:?}"
            );
        }
        assert_eq!(
            verify(&key, &key.sign_pkcs1(MESSAGE)),
            Err(SignatureInvalid::Rsa)
        );
    }
}

/// ENV-37, DIF-32: DER, and r or s shortened or padded, are invalid.
#[test]
fn env_37_ecdsa_is_fixed_length() {
    for key in [Key::P256, Key::P384, Key::P521] {
        let der = key.sign_ecdsa_der(MESSAGE);
        assert_eq!(verify(&key, &der), Err(SignatureInvalid::Ecdsa));
        let signature = key.sign(MESSAGE);
        let (r, s) = signature.split_at(signature.len() / 2);
        for bad in [
            [&[0], r, &[0], s].concat(),
            [r, s, &[0]].concat(),
            [&r[1..], &s[1..]].concat(),
            r.to_vec(),
            Vec::new(),
        ] {
            assert_eq!(verify(&key, &bad), Err(SignatureInvalid::Ecdsa));
        }
    }
}

/// ENV-38: r or s of 0 or not less than the order; high s stays valid.
#[test]
fn env_38_ecdsa_range() {
    let order =
        hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let signature = Key::P256.sign(MESSAGE);
    let (r, s) = signature.split_at(32);
    for bad in [
        [r, &[0; 32]].concat(),
        [&[0; 32], s].concat(),
        [r, &order].concat(),
        [&order, s].concat(),
        [r, &[0xff; 32]].concat(),
        vec![0; 64],
    ] {
        assert_eq!(verify(&Key::P256, &bad), Err(SignatureInvalid::Ecdsa));
    }
    // s and order - s are both valid, whichever of them is high.
    let mut negated = [0; 32];
    let mut borrow = 0;
    for i in (0..32).rev() {
        let difference = i16::from(order[i]) - i16::from(s[i]) - borrow;
        borrow = i16::from(difference < 0);
        negated[i] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    assert_eq!(verify(&Key::P256, &[r, &negated].concat()), Ok(()));
}

/// ENV-38: a point off the curve, compressed or cut, is no key.
#[test]
fn env_38_point_must_be_on_the_curve() {
    let good = Key::P256.spki;
    let mut off = good.to_vec();
    *off.last_mut().unwrap() ^= 1;
    assert_eq!(PublicKey::from_spki_der(&off), Err(KeyError::Malformed));
    let point = &good[good.len() - 65..];
    let algorithm = sequence(&[&oid("1.2.840.10045.2.1"), &oid("1.2.840.10045.3.1.7")]);
    let spki = |point: &[u8]| {
        let bits = hardsign_test_support::asn1::bit_string(point);
        PublicKey::from_spki_der(&sequence(&[&algorithm, &bits]))
    };
    assert!(spki(point).is_ok());
    let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
    assert_eq!(spki(&compressed), Err(KeyError::Malformed));
    assert_eq!(spki(&[0]), Err(KeyError::Malformed));
    assert_eq!(spki(&[]), Err(KeyError::Malformed));
    assert_eq!(
        spki(&[&[4], &[0; 64][..]].concat()),
        Err(KeyError::Malformed)
    );
    assert_eq!(PublicKey::from_spki_der(b""), Err(KeyError::Malformed));
    assert_eq!(
        PublicKey::from_spki_der(&[good, &[0]].concat()),
        Err(KeyError::Malformed)
    );
}

/// A digest or signature of another length than the key decides.
#[test]
fn lengths_are_checked() {
    let public = PublicKey::from_spki_der(Key::P256.spki).unwrap();
    let signature = Key::P256.sign(MESSAGE);
    for length in [0, 31, 33, 48, 64] {
        assert!(public.verify_digest(&vec![0; length], &signature).is_err());
    }
}

/// The signature algorithms of certificates, X509-15 included.
#[test]
fn signed_data_algorithms() {
    use HashAlgorithm::{Sha256, Sha384, Sha512};
    let check = |key: &Key, scheme| {
        let (algorithm, mut signature) = key.sign_x509(MESSAGE, scheme);
        let public = PublicKey::from_spki_der(key.spki).unwrap();
        public
            .verify_signed_data(&algorithm, MESSAGE, &signature)
            .unwrap();
        *signature.last_mut().unwrap() ^= 1;
        assert!(matches!(
            public.verify_signed_data(&algorithm, MESSAGE, &signature),
            Err(SignedDataError::Invalid(_))
        ));
    };
    for key in [Key::P256, Key::P384, Key::P521, Key::ED25519] {
        check(&key, X509Scheme::Usual);
    }
    for hash in [Sha256, Sha384, Sha512] {
        check(&Key::RSA_2048, X509Scheme::Pkcs1(hash));
        check(&Key::RSA_2048, X509Scheme::Pss(hash));
    }
}

/// X509-15: SHA-1 and MD5 by name; RSASSA-PSS parameters that mean SHA-1, mixed hashes or another
/// salt; an algorithm of another kind of key.
#[test]
fn x509_15_weak_and_odd_algorithms() {
    let public = PublicKey::from_spki_der(Key::RSA_2048.spki).unwrap();
    let null = tlv(5, &[]);
    let verify = |algorithm: &[u8]| public.verify_signed_data(algorithm, MESSAGE, &[0; 256]);
    for weak in [
        "1.2.840.113549.1.1.4",
        "1.2.840.113549.1.1.5",
        "1.3.14.3.2.29",
        "1.2.840.10045.4.1",
    ] {
        let error = verify(&sequence(&[&oid(weak), &null])).unwrap_err();
        assert!(
            matches!(error, SignedDataError::InsecureAlgorithm { .. }),
            "{weak}"
        );
    }
    let pss = oid("1.2.840.113549.1.1.10");
    for odd in [
        sequence(&[&pss]),
        sequence(&[&pss, &sequence(&[])]),
        sequence(&[&pss, &null]),
        pss_algorithm_with(HashAlgorithm::Sha256, HashAlgorithm::Sha384, 32),
        pss_algorithm_with(HashAlgorithm::Sha256, HashAlgorithm::Sha256, 20),
        pss_algorithm_with(HashAlgorithm::Sha256, HashAlgorithm::Sha256, 64),
        sequence(&[&oid("1.2.840.113549.1.1.14"), &null]),
    ] {
        let error = verify(&odd).unwrap_err();
        assert!(
            matches!(error, SignedDataError::UnsupportedAlgorithm { .. }),
            "{odd:?}"
        );
    }
    assert!(matches!(
        verify(&pss_algorithm(HashAlgorithm::Sha256)),
        Err(SignedDataError::Invalid(_))
    ));
    assert!(matches!(
        verify(&sequence(&[&oid("1.2.840.10045.4.3.2")])),
        Err(SignedDataError::WrongKey { .. })
    ));
    assert_eq!(verify(b"\x30\x00"), Err(SignedDataError::Malformed));
}

/// X509-16: short RSA keys and other curves verify no certificate.
#[test]
fn x509_16_weak_keys_verify_nothing() {
    let (algorithm, signature) = Key::RSA_2048.sign_x509(MESSAGE, X509Scheme::Usual);
    for (name, spki) in REFUSED_SPKI {
        let verdict = PublicKey::from_spki_der(spki)
            .map(|key| key.verify_signed_data(&algorithm, MESSAGE, &signature));
        match name {
            "rsa1024" | "rsa2040" | "rsa2047" => {
                assert!(
                    matches!(verdict, Ok(Err(SignedDataError::WeakKey { .. }))),
                    "{name}"
                );
            }
            "rsa8192" => {
                assert!(
                    matches!(verdict, Ok(Err(SignedDataError::Invalid(_)))),
                    "{name}"
                );
            }
            _ => assert_eq!(verdict, Err(KeyError::UnsupportedCurve), "{name}"),
        }
    }
}

#[test]
fn hashes_in_pieces_are_the_same() {
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(
        hex::encode(crypto::hash(HashAlgorithm::Sha256, b"abc")),
        expected
    );
    assert_eq!(hex::encode(crypto::sha256(b"abc")), expected);
    for algorithm in HashAlgorithm::ALL {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), crypto::hash(algorithm, b"abc"));
    }
}
