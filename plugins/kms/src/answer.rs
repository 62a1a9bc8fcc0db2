//! What a service may answer: a public key that the Notary Project rules allow, and signatures of
//! the right form.

use der::Document;
use hardsign_plugin::Error;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::{Certificate, PublicKey};
use hardsign_plugin::ecdsa;
use hardsign_plugin::proto::CertificateSummary;

/// The key spec of a service's public key.
///
/// # Errors
/// A key that the Notary Project rules don't allow, with what to create instead.
// ENV-32
pub fn key_spec(key_name: &str, public: &PublicKey) -> Result<KeySpec, Error> {
    public
        .key_spec()
        .ok_or_else(|| refuse_key(key_name, &public.describe()))
}

/// Reads a public key in PEM (RFC 7468 §13).
///
/// # Errors
/// It is none; `service` is who gave it.
pub fn public_key_pem(service: &str, pem: &str) -> Result<PublicKey, Error> {
    let wrong = || Error::other(format!("{service} gave a public key that can't be read"));
    let (label, document) = Document::from_pem(pem.trim()).map_err(|_| wrong())?;
    if label != "PUBLIC KEY" {
        return Err(wrong());
    }
    Ok(PublicKey::from_spki_der(document.as_bytes())?)
}

/// What a list says of a certificate in DER; `None` if it can't be read.
pub fn summary(der: &[u8]) -> Option<CertificateSummary> {
    let certificate = Certificate::from_der(der).ok()?;
    Some(CertificateSummary {
        subject: certificate.subject().to_string(),
        not_after: certificate.not_after().to_string(),
    })
}

/// The error for a key that can't make Notary Project signatures.
pub fn refuse_key(key_name: &str, kind: &str) -> Error {
    Error::validation(format!(
        "{key_name} can't make Notary Project signatures: it is {kind}"
    ))
    .with_hint(
        "create a signing key with RSA of 2048, 3072 or 4096 bits, or on P-256, P-384 or P-521",
    )
}

/// Why an answer is no signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NotSigned {
    /// An ECDSA signature that is not what ECDSA makes on this curve.
    Ecdsa,
    /// A signature of another length.
    Length {
        /// In bytes.
        is: usize,
        /// In bytes.
        should_be: usize,
    },
}

impl NotSigned {
    /// The error for the user.
    pub fn into_error(self, service: &str) -> Error {
        let what = match self {
            Self::Ecdsa => {
                "a signature that is not an ECDSA signature on the key's curve".to_owned()
            }
            Self::Length { is, should_be } => {
                format!("a signature of {is} bytes where the key makes {should_be}")
            }
        };
        Error::other(format!("{service} answered with {what}"))
            .with_hint("the answer was not used; if it comes again, report it to the service")
    }
}

/// Checks the form of a signature and gives it as the Notary Project has it: RSASSA-PSS as it is,
/// ECDSA as r‖s. `der` says whether the service writes ECDSA in DER (RFC 3279 §2.2.3).
///
/// # Errors
/// [`NotSigned`] if it is none.
// ENV-37
pub fn check_signature(spec: KeySpec, signature: &[u8], der: bool) -> Result<Vec<u8>, NotSigned> {
    let should_be = spec.signature_len();
    let raw = if der && !spec.is_rsa() {
        ecdsa::from_der(spec, signature).ok_or(NotSigned::Ecdsa)?
    } else {
        signature.to_vec()
    };
    if raw.len() != should_be {
        return Err(NotSigned::Length {
            is: raw.len(),
            should_be,
        });
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_37_ecdsa_becomes_fixed_length() {
        let der = [0x30, 6, 2, 1, 1, 2, 1, 2];
        let raw = check_signature(KeySpec::Ec256, &der, true).unwrap();
        assert_eq!((raw.len(), raw[31], raw[63]), (64, 1, 2));
        assert_eq!(check_signature(KeySpec::Ec256, &raw, false).unwrap(), raw);
    }

    #[test]
    fn answers_of_another_form_are_refused() {
        assert_eq!(
            check_signature(KeySpec::Ec384, b"junk", true),
            Err(NotSigned::Ecdsa)
        );
        let short = check_signature(KeySpec::Rsa2048, &[0; 255], false).unwrap_err();
        assert_eq!(
            short,
            NotSigned::Length {
                is: 255,
                should_be: 256
            }
        );
        let error = short.into_error("AWS KMS");
        assert!(error.to_string().contains("255 bytes"), "{error}");
    }
}
