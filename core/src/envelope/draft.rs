//! Writing an envelope: prepare, sign elsewhere, assemble.
//!
//! The bytes to be signed and their digest are fixed before anybody is asked to sign (ENV-43).
//! Whatever comes back is verified, assembled and parsed again; a fault leaves nothing behind
//! (ENV-39). A chain is proven once for all signatures that are made with it.

use jiff::Timestamp;

use super::signature::check_times;
use super::{
    CarriedEvidence, Envelope, EnvelopeError, Format, Payload, Signature, SignedAttributes,
    SignerChain, SigningScheme, cose, jws,
};
use crate::algorithm::{HashAlgorithm, KeySpec};
use crate::crypto;

/// An envelope that lacks only the signature and the certificates.
pub struct Draft {
    format: Format,
    key_spec: KeySpec,
    signing_time: Timestamp,
    encoded: Encoded,
    to_be_signed: ToBeSigned,
    attestation: Option<CarriedEvidence>,
}

/// What stands in an envelope beside that which was signed.
#[derive(Clone, Copy)]
pub(super) struct Unprotected<'a> {
    pub(super) signed: &'a Signed,
    /// DER of an RFC 3161 token.
    pub(super) token: Option<&'a [u8]>,
    pub(super) attestation: Option<&'a CarriedEvidence>,
}

/// What the signer decides about a signature. The scheme is always `notary.x509`.
// ENV-40
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DraftAttributes {
    /// Signing time; fractions of a second are cut off.
    // ENV-23
    pub signing_time: Timestamp,
    /// When the signature expires; fractions of a second are cut off.
    // ENV-23
    pub expiry: Option<Timestamp>,
}

/// The bytes to be signed and their digest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToBeSigned {
    bytes: Vec<u8>,
    digest: Vec<u8>,
    key_spec: KeySpec,
}

/// A signer's answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signed {
    /// The primitive signature: RSASSA-PSS, or r‖s.
    pub signature: Vec<u8>,
    /// The certificates, leaf first, root last.
    pub certificate_chain: SignerChain,
    /// The signing agent to write; empty for none.
    // ENV-31
    pub signing_agent: String,
}

enum Encoded {
    Jws(jws::Encoded),
    Cose(cose::Encoded),
}

impl Draft {
    /// Prepares an envelope for a key of `key_spec`, which decides algorithm and hash.
    ///
    /// # Errors
    /// An expiry that is not later than the signing time, the zero time as signing time,
    /// or a size beyond the payload's int64.
    // ENV-32, ENV-21, ENV-22
    pub fn new(
        format: Format,
        payload: &Payload,
        attributes: &DraftAttributes,
        key_spec: KeySpec,
    ) -> Result<Self, EnvelopeError> {
        let size = payload.target.size;
        if i64::try_from(size).is_err() {
            return Err(EnvelopeError::SizeOutOfRange { size });
        }
        let attributes = SignedAttributes {
            signing_scheme: SigningScheme::X509,
            signing_time: whole_seconds(attributes.signing_time),
            expiry: attributes.expiry.map(whole_seconds),
            extended: Vec::new(),
        };
        check_times(&attributes)?;
        let algorithm = key_spec.signature_algorithm();
        let payload = payload.to_json(format);
        let (encoded, bytes) = match format {
            Format::Jws => {
                let encoded = jws::Encoded::new(algorithm, &attributes, &payload);
                let bytes = encoded.to_be_signed();
                (Encoded::Jws(encoded), bytes)
            }
            Format::Cose => {
                let encoded = cose::Encoded::new(algorithm, &attributes, &payload);
                let bytes = encoded.to_be_signed();
                (Encoded::Cose(encoded), bytes)
            }
        };
        Ok(Self {
            format,
            key_spec,
            signing_time: attributes.signing_time,
            encoded,
            to_be_signed: ToBeSigned {
                digest: crypto::hash(key_spec.hash(), &bytes),
                bytes,
                key_spec,
            },
            attestation: None,
        })
    }

    /// The same with evidence that the envelope is to carry. Whether it is about the signer's key
    /// is not looked at here.
    #[must_use]
    pub fn with_attestation(self, evidence: CarriedEvidence) -> Self {
        Self {
            attestation: Some(evidence),
            ..self
        }
    }

    /// What a signer must sign.
    pub fn to_be_signed(&self) -> &ToBeSigned {
        &self.to_be_signed
    }

    /// The format of the envelope.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Proves the chain, unless that was done for an earlier signature with it; verifies the signature,
    /// once; and puts the envelope together, which is read again. Every certificate must be
    /// valid at the signing time.
    ///
    /// # Errors
    /// [`EnvelopeError::GeneratedInvalid`] around the cause; there is no partial result. A chain is
    /// told of before a signature: a root that stands where the leaf belongs explains the signature,
    /// and not the other way round.
    // ENV-39
    pub fn assemble(&self, signed: Signed) -> Result<Signature, EnvelopeError> {
        self.make(&signed).map_err(generated)
    }

    /// [`Draft::assemble`], and then [`Draft::stamp`] where there is a token.
    ///
    /// # Errors
    /// As [`Draft::assemble`].
    pub fn assemble_with(
        &self,
        signed: Signed,
        timestamp_token: Option<Vec<u8>>,
    ) -> Result<Signature, EnvelopeError> {
        let signature = self.assemble(signed)?;
        match timestamp_token {
            Some(token) => self.stamp(&signature, &token),
            None => Ok(signature),
        }
    }

    /// The same signature with an RFC 3161 token over it. The signature is not verified again; the
    /// token itself is not looked at here.
    ///
    /// # Errors
    /// [`EnvelopeError::GeneratedInvalid`], also for a signature that another draft made.
    pub fn stamp(
        &self,
        signature: &Signature,
        timestamp_token: &[u8],
    ) -> Result<Signature, EnvelopeError> {
        let chain = signature.chain();
        let ders = chain.certificates().iter().map(|c| c.der().to_vec());
        let signed = Signed {
            signature: signature.signature_bytes().to_vec(),
            certificate_chain: ders.collect::<Vec<_>>().into(),
            signing_agent: signature
                .unsigned()
                .signing_agent
                .clone()
                .unwrap_or_default(),
        };
        if !signature.is_over(self.format, &self.to_be_signed.bytes) {
            return Err(generated(EnvelopeError::DraftChanged));
        }
        self.encode(&signed, Some(timestamp_token))
            .and_then(|envelope| envelope.into_made(chain.clone()))
            .map_err(generated)
    }

    fn make(&self, signed: &Signed) -> Result<Signature, EnvelopeError> {
        let chain = signed.certificate_chain.prove()?;
        let leaf = chain.leaf();
        let derived = leaf.key_spec().ok_or(EnvelopeError::UnsupportedKey)?;
        let envelope = self.encode(signed, None)?;
        let of_another_key;
        let digest = if derived == self.key_spec {
            &self.to_be_signed.digest
        } else {
            of_another_key = crypto::hash(derived.hash(), &self.to_be_signed.bytes);
            &of_another_key
        };
        leaf.public_key()
            .map_err(|_| EnvelopeError::UnsupportedKey)?
            .verify_digest(digest, &signed.signature)
            .map_err(|source| EnvelopeError::Signature { source })?;
        if derived != self.key_spec {
            return Err(EnvelopeError::AlgorithmMismatch {
                derived: derived.signature_algorithm(),
                specified: self.key_spec.signature_algorithm(),
            });
        }
        chain
            .check_validity_at(self.signing_time)
            .map_err(|source| EnvelopeError::NotValidAtSigningTime { source })?;
        envelope.into_made(chain.clone())
    }

    /// The envelope, read again: it is made of what was verified.
    fn encode(&self, signed: &Signed, token: Option<&[u8]>) -> Result<Envelope, EnvelopeError> {
        let unprotected = Unprotected {
            signed,
            token,
            attestation: self.attestation.as_ref(),
        };
        let bytes = match &self.encoded {
            Encoded::Jws(encoded) => encoded.assemble(unprotected),
            Encoded::Cose(encoded) => encoded.assemble(unprotected),
        };
        let envelope = Envelope::parse(self.format, &bytes)?;
        if envelope.is_made_of(self.to_be_signed.bytes(), unprotected) {
            Ok(envelope)
        } else {
            Err(EnvelopeError::DraftChanged)
        }
    }
}

fn generated(source: EnvelopeError) -> EnvelopeError {
    EnvelopeError::GeneratedInvalid {
        source: Box::new(source),
    }
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft")
            .field("format", &self.format)
            .field("key_spec", &self.key_spec)
            .finish_non_exhaustive()
    }
}

impl ToBeSigned {
    /// The bytes: the JWS Signing Input or the COSE Sig_structure.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their digest under [`ToBeSigned::hash`].
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// The hash that the key decides.
    pub fn hash(&self) -> HashAlgorithm {
        self.key_spec.hash()
    }

    /// The key that must sign.
    pub fn key_spec(&self) -> KeySpec {
        self.key_spec
    }
}

/// Cut towards the past, so that no time moves later than it was.
fn whole_seconds(time: Timestamp) -> Timestamp {
    let fraction = i64::from(time.subsec_nanosecond());
    let seconds = if fraction < 0 {
        time.as_second().saturating_sub(1)
    } else {
        time.as_second()
    };
    Timestamp::from_second(seconds).unwrap_or(time)
}

#[cfg(test)]
pub(in crate::envelope) mod tests {
    use std::collections::BTreeMap;

    use hardsign_test_support::{Key, Pki, Told, certificate};

    use super::*;
    use crate::artifact::Descriptor;
    use crate::crypto::VERIFIED;
    use crate::x509::PROVEN;

    pub(in crate::envelope) fn draft(format: Format, number: u64) -> Draft {
        let payload = Payload::new(Descriptor {
            media_type: "a/b".to_owned(),
            digest: format!("sha256:{}", "ab".repeat(32)).parse().unwrap(),
            size: number,
            annotations: BTreeMap::new(),
        });
        let attributes = DraftAttributes {
            signing_time: certificate::now(),
            expiry: None,
        };
        Draft::new(format, &payload, &attributes, KeySpec::Ec256).unwrap()
    }

    /// ENV-39: a thousand signatures with one chain, each with a timestamp: the chain is proven once,
    /// and each signature verified once.
    #[test]
    fn env_39_proven_once() {
        let pki = Pki::new();
        let chain = SignerChain::from(pki.chain(&pki.signer(KeySpec::Ec256)));
        VERIFIED.set(0);
        PROVEN.set(0);
        for number in 0..1000 {
            let draft = draft(Format::ALL[usize::from(number % 2 == 0)], number);
            let signed = Signed {
                signature: Key::P256.sign(draft.to_be_signed().bytes()),
                certificate_chain: chain.clone(),
                signing_agent: "a/1".to_owned(),
            };
            let signature = draft.assemble(signed).unwrap();
            let stamped = draft.stamp(&signature, b"token").unwrap();
            let token = stamped.unsigned().timestamp_token.as_deref();
            assert_eq!(token, Some(&b"token"[..]));
            assert_eq!(stamped.payload(), signature.payload());
        }
        assert_eq!((PROVEN.get(), VERIFIED.get()), (1, 1000));
    }

    /// A signature that another draft made is not stamped, and what it says is not taken over.
    #[test]
    fn another_draft_s_signature_is_not_stamped() {
        let pki = Pki::new();
        for format in Format::ALL {
            let (one, other) = (draft(format, 1), draft(format, 2));
            let signature = one
                .assemble(Signed {
                    signature: Key::P256.sign(one.to_be_signed().bytes()),
                    certificate_chain: pki.chain(&pki.signer(KeySpec::Ec256)).into(),
                    signing_agent: String::new(),
                })
                .unwrap();
            let error = other.stamp(&signature, b"token").unwrap_err();
            assert!(matches!(
                error,
                EnvelopeError::GeneratedInvalid { source } if matches!(*source, EnvelopeError::DraftChanged)
            ));
        }
    }

    /// A chain is told of before a signature: whatever was signed, a root first or a root of another
    /// size is named as such.
    #[test]
    fn a_bad_chain_explains_a_bad_signature() {
        let pki = Pki::new();
        let good = pki.chain(&pki.signer(KeySpec::Ec256));
        let draft = draft(Format::Jws, 1);
        let refused = |chain: Vec<Vec<u8>>, signature: Vec<u8>| {
            let error = draft.assemble(Signed {
                signature,
                certificate_chain: chain.into(),
                signing_agent: String::new(),
            });
            error.unwrap_err().told()
        };
        let mut reversed = good.clone();
        reversed.reverse();
        for signature in [vec![7; 64], vec![7; 384], Vec::new()] {
            for (chain, part) in [
                (reversed.clone(), "certificate-chain is invalid"),
                (good[..1].to_vec(), "certificate-chain is invalid"),
                (Vec::new(), "certificate chain is not present"),
            ] {
                let text = refused(chain, signature.clone());
                assert!(text.contains(part), "{text}");
            }
        }
    }
}
