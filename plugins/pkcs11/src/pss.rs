//! Which salt a token has taken for an RSASSA-PSS signature.

use hardsign_plugin::algorithm::HashAlgorithm;
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin::pss::salt_of_encoded;
use num_bigint::BigUint;

/// The length of the salt of a signature (RFC 8017 §9.1.2, with any length of salt).
///
/// `None` if it is no RSASSA-PSS signature of this digest by this key, with this hash.
pub(crate) fn salt_length(
    key: &PublicKey,
    hash: HashAlgorithm,
    digest: &[u8],
    signature: &[u8],
) -> Option<usize> {
    let (modulus, exponent) = key.rsa_numbers()?;
    // The public operation: the exponent of every token is short, so that this takes little time.
    if exponent.len() > 8 || signature.len() != modulus.len() {
        return None;
    }
    let number = BigUint::from_bytes_be(signature).modpow(
        &BigUint::from_bytes_be(exponent),
        &BigUint::from_bytes_be(modulus),
    );
    let encoded = number.to_bytes_be();
    let zeros = modulus.len().checked_sub(encoded.len())?;
    let encoded = [vec![0; zeros], encoded].concat();
    salt_of_encoded(hash, digest, &encoded)
}
