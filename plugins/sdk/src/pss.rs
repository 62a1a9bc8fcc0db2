//! EMSA-PSS (RFC 8017 §9.1), for devices that can only raise a block to the private exponent (the
//! result goes to CKM_RSA_X_509 of PKCS#11, or to GENERAL AUTHENTICATE of PIV), and to see which salt
//! a device has taken.
//!
//! MGF1 and salt length are those of the Notary Project: same hash, salt as long as the hash.

// Requirements: ENV-35.

use crate::algorithm::HashAlgorithm;

/// Encodes a digest for a modulus of `modulus_len` bytes whose top bit is set.
///
/// `None` if digest and salt are not as long as the hash, or don't fit.
pub fn encode(
    hash: HashAlgorithm,
    modulus_len: usize,
    digest: &[u8],
    salt: &[u8],
) -> Option<Vec<u8>> {
    let length = hash.output_len();
    if digest.len() != length || salt.len() != length {
        return None;
    }
    // M' = 8 zero bytes, digest, salt; H = its hash.
    let hashed = self::hash(hash, &[&[0; 8], digest, salt]);
    // DB = zeros, 01, salt; as long as the block without H and the trailer.
    let block_len = modulus_len.checked_sub(length)?.checked_sub(1)?;
    let zeros = block_len.checked_sub(length)?.checked_sub(1)?;
    let mut block = vec![0; zeros];
    block.push(1);
    block.extend_from_slice(salt);
    for (byte, mask) in block.iter_mut().zip(mgf1(hash, &hashed, block_len)) {
        *byte ^= mask;
    }
    // The encoded message is one bit shorter than the modulus.
    *block.first_mut()? &= 0x7f;
    block.extend_from_slice(&hashed);
    block.push(0xbc);
    Some(block)
}

/// The length of the salt in an encoded message (RFC 8017 §9.1.2, with any length of salt).
///
/// `encoded` is as long as the modulus. `None` if it is no encoding of this digest with this hash.
pub fn salt_of_encoded(hash: HashAlgorithm, digest: &[u8], encoded: &[u8]) -> Option<usize> {
    let (trailer, encoded) = encoded.split_last()?;
    let block_len = encoded.len().checked_sub(hash.output_len())?;
    let (masked, hashed) = encoded.split_at_checked(block_len)?;
    let mask = mgf1(hash, hashed, block_len);
    let mut block: Vec<u8> = masked.iter().zip(mask).map(|(a, b)| a ^ b).collect();
    *block.first_mut()? &= 0x7f;
    let zeros = block.iter().take_while(|byte| **byte == 0).count();
    let (one, salt) = block.get(zeros..)?.split_first()?;
    let right = self::hash(hash, &[&[0; 8], digest, salt]) == hashed;
    (*trailer == 0xbc && *one == 1 && right).then_some(salt.len())
}

/// MGF1 (RFC 8017 §B.2.1).
fn mgf1(hash: HashAlgorithm, seed: &[u8], length: usize) -> Vec<u8> {
    let mut mask = Vec::with_capacity(length.saturating_add(64));
    let mut counter = 0_u32;
    while mask.len() < length {
        mask.extend(self::hash(hash, &[seed, &counter.to_be_bytes()]));
        counter = counter.saturating_add(1);
    }
    mask.truncate(length);
    mask
}

fn hash(hash: HashAlgorithm, parts: &[&[u8]]) -> Vec<u8> {
    fn of<D: sha2::Digest>(parts: &[&[u8]]) -> Vec<u8> {
        let mut digest = D::new();
        for part in parts {
            digest.update(part);
        }
        digest.finalize().to_vec()
    }
    match hash {
        HashAlgorithm::Sha256 => of::<sha2::Sha256>(parts),
        HashAlgorithm::Sha384 => of::<sha2::Sha384>(parts),
        HashAlgorithm::Sha512 => of::<sha2::Sha512>(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of an encoded message fit together as RFC 8017 §9.1.2 checks them.
    #[test]
    fn env_35_encoding() {
        for (alg, modulus_len) in [
            (HashAlgorithm::Sha256, 256),
            (HashAlgorithm::Sha384, 384),
            (HashAlgorithm::Sha512, 512),
        ] {
            let length = alg.output_len();
            let (digest, salt) = (vec![7; length], vec![9; length]);
            let encoded = encode(alg, modulus_len, &digest, &salt).unwrap();
            assert_eq!(encoded.len(), modulus_len);
            assert_eq!(encoded[0] & 0x80, 0);
            assert_eq!(encoded[modulus_len - 1], 0xbc);
            let (masked, rest) = encoded.split_at(modulus_len - length - 1);
            let hashed = &rest[..length];
            assert_eq!(hashed, hash(alg, &[&[0; 8], &digest, &salt]));
            let mut block: Vec<u8> = masked
                .iter()
                .zip(mgf1(alg, hashed, masked.len()))
                .map(|(byte, mask)| byte ^ mask)
                .collect();
            block[0] &= 0x7f;
            let (zeros, tail) = block.split_at(masked.len() - length - 1);
            assert!(zeros.iter().all(|byte| *byte == 0));
            assert_eq!((tail[0], &tail[1..]), (1, &salt[..]));
        }
    }

    /// ENV-35: any salt is found again; what was changed is no signature.
    #[test]
    fn env_35_salt_of_any_length() {
        for (alg, modulus_len) in [
            (HashAlgorithm::Sha256, 256),
            (HashAlgorithm::Sha384, 384),
            (HashAlgorithm::Sha512, 512),
        ] {
            let (length, digest) = (alg.output_len(), vec![7; alg.output_len()]);
            let encoded = encode(alg, modulus_len, &digest, &vec![9; length]).unwrap();
            assert_eq!(salt_of_encoded(alg, &digest, &encoded), Some(length));
            for at in [
                0,
                1,
                modulus_len - length - 2,
                modulus_len - 2,
                modulus_len - 1,
            ] {
                let mut changed = encoded.clone();
                changed[at] ^= 1;
                assert_eq!(salt_of_encoded(alg, &digest, &changed), None, "{at}");
            }
            assert_eq!(salt_of_encoded(alg, &vec![8; length], &encoded), None);
            // The longest: no zeros before the 01.
            let longest = modulus_len - length - 2;
            let salt = vec![5; longest];
            let hashed = hash(alg, &[&[0; 8], &digest, &salt]);
            let mut block = [vec![1], salt].concat();
            for (byte, mask) in block.iter_mut().zip(mgf1(alg, &hashed, longest + 1)) {
                *byte ^= mask;
            }
            block[0] &= 0x7f;
            let encoded = [block, hashed, vec![0xbc]].concat();
            assert_eq!(salt_of_encoded(alg, &digest, &encoded), Some(longest));
        }
        for short in [0, 1, 31, 33] {
            assert_eq!(
                salt_of_encoded(HashAlgorithm::Sha256, &[7; 32], &vec![1; short]),
                None
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let alg = HashAlgorithm::Sha256;
        assert!(encode(alg, 256, &[0; 31], &[0; 32]).is_none());
        assert!(encode(alg, 256, &[0; 32], &[0; 31]).is_none());
        assert!(encode(alg, 65, &[0; 32], &[0; 32]).is_none());
        assert!(encode(alg, 66, &[0; 32], &[0; 32]).is_some());
        assert!(encode(alg, 0, &[0; 32], &[0; 32]).is_none());
    }
}
