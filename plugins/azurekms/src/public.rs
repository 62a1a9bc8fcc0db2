//! A public key from the JSON of the service (RFC 7517, RFC 7518 §6).

use azure_security_keyvault_keys::models::{CurveName, JsonWebKey, KeyType};
use hardsign_plugin::Error;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin_kms::{key_spec, refuse_key};

use crate::SERVICE;

/// The public key, and the key spec that the Notary Project rules have for it (ENV-32).
pub(crate) fn public_key(name: &str, key: &JsonWebKey) -> Result<(PublicKey, KeySpec), Error> {
    let missing = || Error::other(format!("{SERVICE} gave no public key for {name}"));
    let public = match &key.kty {
        Some(KeyType::Rsa | KeyType::RsaHsm) => {
            let modulus = key.n.as_deref().ok_or_else(missing)?;
            PublicKey::rsa(modulus, key.e.as_deref().ok_or_else(missing)?)
        }
        Some(KeyType::Ec | KeyType::EcHsm) => {
            let (parameters, length): (_, usize) = match &key.crv {
                Some(CurveName::P256) => (P256, 32),
                Some(CurveName::P384) => (P384, 48),
                Some(CurveName::P521) => (P521, 66),
                Some(other) => return Err(refuse_key(name, &format!("EC on curve {other}"))),
                None => return Err(missing()),
            };
            let mut point = vec![4];
            for coordinate in [&key.x, &key.y] {
                let number = coordinate.as_deref().ok_or_else(missing)?;
                // Some leave leading zeros out, which RFC 7518 §6.2.1.2 forbids.
                let short = length.checked_sub(number.len()).ok_or_else(missing)?;
                point.extend(std::iter::repeat_n(0, short));
                point.extend_from_slice(number);
            }
            PublicKey::ec(parameters, &point)?
        }
        Some(other) => return Err(refuse_key(name, &format!("of type {other}"))),
        None => return Err(missing()),
    };
    let spec = key_spec(name, &public)?;
    Ok((public, spec))
}

/// id-prime256v1, secp384r1 and secp521r1 in DER (RFC 5480 §2.1.1.1).
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];
const P521: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x23];

#[cfg(test)]
mod tests {
    use super::*;

    fn ec(curve: CurveName, length: usize) -> JsonWebKey {
        JsonWebKey {
            kty: Some(KeyType::EcHsm),
            crv: Some(curve),
            x: Some(vec![1; length]),
            y: Some(vec![2; length]),
            ..JsonWebKey::default()
        }
    }

    /// ENV-32
    #[test]
    fn env_32_key_types() {
        for (curve, length, spec) in [
            (CurveName::P256, 32, KeySpec::Ec256),
            (CurveName::P384, 48, KeySpec::Ec384),
            (CurveName::P521, 66, KeySpec::Ec521),
        ] {
            assert_eq!(public_key("k", &ec(curve.clone(), length)).unwrap().1, spec);
            assert_eq!(
                public_key("k", &ec(curve.clone(), length - 1)).unwrap().1,
                spec
            );
            assert!(public_key("k", &ec(curve, length + 1)).is_err());
        }
        let mut rsa = JsonWebKey {
            kty: Some(KeyType::RsaHsm),
            n: Some(vec![0xff; 384]),
            e: Some(vec![1, 0, 1]),
            ..JsonWebKey::default()
        };
        assert_eq!(public_key("k", &rsa).unwrap().1, KeySpec::Rsa3072);
        rsa.n = Some(vec![0x7f; 256]);
        let error = public_key("k", &rsa).unwrap_err();
        assert!(error.to_string().contains("2047 bits"), "{error}");
        for (key, what) in [
            (ec(CurveName::P256K, 32), "P-256K"),
            (
                JsonWebKey {
                    kty: Some(KeyType::OctHsm),
                    ..JsonWebKey::default()
                },
                "oct-HSM",
            ),
            (JsonWebKey::default(), "no public key"),
        ] {
            let error = public_key("k", &key).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
