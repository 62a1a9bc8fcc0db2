//! Chains that were proven before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::x509::{Chain, CodeSigning};

/// Signers' chains that were proven, by their exact bytes: one that signed many envelopes is read and
/// proven once. Whether a list of certificates is a chain depends on nothing but its bytes; validity in
/// time, revocation and trust are asked anew for each signature. Clones share what they hold, which is
/// bounded.
#[derive(Clone, Debug, Default)]
pub struct ProvenChains(Arc<Mutex<Known>>);

type Known = HashMap<Vec<Vec<u8>>, Chain<CodeSigning>>;

impl ProvenChains {
    /// The chain of these certificates in DER, if it was proven.
    pub(super) fn get(&self, ders: &[Vec<u8>]) -> Option<Chain<CodeSigning>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(ders).cloned()
    }

    /// Keeps a chain; the others are forgotten where there are too many.
    pub(super) fn add(&self, chain: &Chain<CodeSigning>) {
        let certificates = chain.certificates().iter();
        let ders: Vec<_> = certificates.map(|c| c.der().to_vec()).collect();
        if ders.iter().map(Vec::len).sum::<usize>() > LONGEST {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(ders, chain.clone());
    }
}

/// Chains that are kept.
const MOST: usize = 64;
/// Bytes of a chain that is kept; real ones have a few thousand.
const LONGEST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use hardsign_test_support::{Key, Pki};

    use super::*;
    use crate::algorithm::KeySpec;
    use crate::crypto::VERIFIED;
    use crate::envelope::draft::tests::draft;
    use crate::envelope::{Envelope, EnvelopeError, Format, Signature, Signed};
    use crate::x509::PROVEN;

    fn envelope(chain: &[Vec<u8>], number: u64) -> Vec<u8> {
        let draft = draft(Format::Jws, number);
        let signed = Signed {
            signature: Key::P256.sign(draft.to_be_signed().bytes()),
            certificate_chain: chain.to_vec().into(),
            signing_agent: String::new(),
        };
        draft.assemble(signed).unwrap().bytes().to_vec()
    }

    fn read(bytes: &[u8], proven: &ProvenChains) -> Result<Signature, EnvelopeError> {
        Envelope::parse(Format::Jws, bytes)?.verify_integrity_among(proven)
    }

    /// VER-11: many signatures of one signer: the chain is proven once, each signature verified, and one
    /// that is wrong refused all the same.
    #[test]
    fn ver_11_a_chain_is_proven_once_and_every_signature_verified() {
        let pki = Pki::new();
        let chain = pki.chain(&pki.signer(KeySpec::Ec256));
        let envelopes: Vec<_> = (0..100).map(|number| envelope(&chain, number)).collect();
        let proven = ProvenChains::default();
        PROVEN.set(0);
        VERIFIED.set(0);
        for bytes in &envelopes {
            let signature = read(bytes, &proven).unwrap();
            assert_eq!(signature.chain().certificates().len(), chain.len());
            assert_eq!(signature.bytes(), bytes);
        }
        assert_eq!((PROVEN.get(), VERIFIED.get()), (1, 100));
        let text = String::from_utf8(envelopes[7].clone()).unwrap();
        let start = text.find("\"signature\":\"").unwrap() + 13;
        let other = if text.as_bytes()[start + 9] == b'A' {
            "B"
        } else {
            "A"
        };
        let mut forged = text;
        forged.replace_range(start + 9..start + 10, other);
        let error = read(forged.as_bytes(), &proven).unwrap_err();
        assert!(
            matches!(error, EnvelopeError::Signature { .. }),
            "{error:?}"
        );
        assert_eq!(PROVEN.get(), 1);
    }

    /// Chains without end take no memory without end, and none is taken for another.
    #[test]
    fn what_is_kept_is_bounded() {
        let proven = ProvenChains::default();
        for number in 0..2 * MOST {
            let pki = Pki::new();
            let chain = pki.chain(&pki.signer(KeySpec::Ec256));
            let signature = read(&envelope(&chain, 1), &proven).unwrap();
            let ders = signature.chain().certificates().iter();
            assert_eq!(ders.map(|c| c.der().to_vec()).collect::<Vec<_>>(), chain);
            let kept = proven.0.lock().unwrap().len();
            assert!(kept >= 1 && kept <= (number + 1).min(MOST), "{kept}");
        }
    }
}
