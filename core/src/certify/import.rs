//! Certificates from a CA, checked before a key gets them.

use jiff::Timestamp;

use super::{CertifyError, Issuer, RsaPadding, SigningKey};
use crate::x509::{Certificate, Chain, ChainError, CodeSigning, MAX_CHAIN_LEN};

/// Certificates that go with a key, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Arranged {
    /// Leaf to root.
    pub chain: Vec<Certificate>,
    /// Subjects of certificates that have no place in it.
    pub left_out: Vec<String>,
}

/// Why certificates can't go with a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// None is the key's.
    #[error("none of the certificates is that of the key: {}", subjects.join("; "))]
    OtherKey {
        /// Their subjects.
        subjects: Vec<String>,
    },
    /// The chain ends before a root.
    #[error(
        "the chain has a gap: {subject:?} was issued by {issuer:?}, whose certificate is not there"
    )]
    Gap {
        /// The last certificate that was found.
        subject: String,
        /// The one that is missing.
        issuer: String,
    },
    /// The chain goes on too long.
    #[error("the chain has more than {MAX_CHAIN_LEN} certificates")]
    TooLong,
    /// Past its end.
    #[error("certificate {subject:?} expired at {not_after}")]
    Expired {
        /// Its subject.
        subject: String,
        /// Its end.
        not_after: Timestamp,
    },
    /// Before its begin.
    #[error("certificate {subject:?} is not valid before {not_before}")]
    NotYetValid {
        /// Its subject.
        subject: String,
        /// Its begin.
        not_before: Timestamp,
    },
    /// A CA's certificate for a key that is to sign.
    #[error("certificate {subject:?} is that of a CA; a key with it can sign no artifact")]
    IsCa {
        /// Its subject.
        subject: String,
    },
    /// No CA's certificate for a key of a CA.
    #[error("certificate {subject:?} can't be that of a CA: {why}")]
    NotCa {
        /// Its subject.
        subject: String,
        /// Which rule the certificate breaks.
        why: CertifyError,
    },
    /// A rule of the Notary Project is broken.
    #[error("the certificates do not meet the rules for signing")]
    Rules(#[from] ChainError),
}

/// Puts certificates in order for the key of `spki` and checks that they can be used with it now:
/// by a key that signs artifacts, or with `ca` by the key of a CA.
///
/// # Errors
/// [`ImportError`].
pub fn arrange(
    spki: &[u8],
    certificates: &[Certificate],
    ca: bool,
    now: Timestamp,
) -> Result<Arranged, ImportError> {
    let subject = |certificate: &Certificate| certificate.subject().to_string();
    let own = certificates.iter().filter(|c| c.spki_der() == spki);
    // Of several the one that is valid, and of these the latest.
    let leaf = own.max_by_key(|c| (c.is_valid_at(now), c.not_before()));
    let leaf = leaf.ok_or_else(|| ImportError::OtherKey {
        subjects: certificates.iter().map(subject).collect(),
    })?;
    let mut chain = vec![leaf.clone()];
    while let Some(last) = chain.last().filter(|last| !last.is_self_signed()) {
        if chain.len() >= MAX_CHAIN_LEN {
            return Err(ImportError::TooLong);
        }
        let issuer = certificates
            .iter()
            .find(|c| !chain.contains(c) && last.check_issued_by(c).is_ok());
        let issuer = issuer.ok_or_else(|| ImportError::Gap {
            subject: subject(last),
            issuer: last.issuer().to_string(),
        })?;
        chain.push(issuer.clone());
    }
    for certificate in &chain {
        if certificate.not_after() < now {
            return Err(ImportError::Expired {
                subject: subject(certificate),
                not_after: certificate.not_after(),
            });
        }
        if certificate.not_before() > now {
            return Err(ImportError::NotYetValid {
                subject: subject(certificate),
                not_before: certificate.not_before(),
            });
        }
    }
    match (leaf.is_ca(), ca) {
        (true, false) => {
            return Err(ImportError::IsCa {
                subject: subject(leaf),
            });
        }
        (_, true) => {
            SigningKey::new(spki, RsaPadding::Pss)
                .and_then(|key| Issuer::new(key, leaf.der()))
                .map_err(|why| ImportError::NotCa {
                    subject: subject(leaf),
                    why,
                })?;
        }
        (false, false) => drop(Chain::<CodeSigning>::prove(chain.clone())?),
    }
    let left_out = certificates.iter().filter(|c| !chain.contains(c));
    Ok(Arranged {
        left_out: left_out.map(subject).collect(),
        chain,
    })
}
