//! Certificates: self-signed ones, and those that a CA's key issues.

use std::time::Duration;

use der::asn1::{Ia5String, OctetString};
use der::{Decode as _, Encode as _};
use jiff::Timestamp;
use spki::SubjectPublicKeyInfoOwned;
use x509_cert::Certificate;
use x509_cert::certificate::{TbsCertificate, Version};
use x509_cert::ext::pkix::crl::CrlDistributionPoints;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages,
    SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, Extensions};
use x509_cert::name::Name;
use x509_cert::time::Validity;

use super::{CertifyError, Serial, SigningKey, Subject, Unsigned, time, timestamp};
use crate::crypto;

/// id-kp-codeSigning (RFC 5280 §4.2.1.12).
const CODE_SIGNING: der::asn1::ObjectIdentifier =
    der::asn1::ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");

/// How far back a certificate begins, for machines whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// What a certificate shall be.
#[derive(Clone, Debug)]
pub struct NewCertificate {
    /// Whose it is.
    pub subject: Subject,
    /// How long it is valid, from now.
    pub days: u32,
    /// For a CA certificate: how many CAs may stand below it. `None` makes a signing certificate.
    pub ca: Option<u8>,
    /// Where the list of revoked certificates will be found.
    pub crl_url: Option<String>,
    /// When the validity of the key's certificate begins that this one follows: this one begins a second
    /// later at least, since of several the one that became valid last signs.
    pub follows: Option<Timestamp>,
    /// The time of issuing.
    pub now: Timestamp,
}

/// A certificate that lacks its signature, and what it says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issued {
    /// To be signed by the issuer's key.
    pub unsigned: Unsigned,
    /// Its serial number.
    pub serial: Serial,
    /// The begin of its validity.
    pub not_before: Timestamp,
    /// The end of its validity, at most that of the issuer.
    pub not_after: Timestamp,
    /// Whether it ends earlier than was asked for, with its issuer.
    pub cut: bool,
}

/// A CA: its certificate, and the key that belongs to it.
#[derive(Clone, Debug)]
pub struct Issuer {
    key: SigningKey,
    certificate: Certificate,
    subject: String,
    path_length: Option<u8>,
}

/// A certificate that the key issues to itself.
///
/// # Errors
/// [`CertifyError`].
pub fn self_signed(key: &SigningKey, new: &NewCertificate) -> Result<Issued, CertifyError> {
    let parts = Parts {
        issuer: new.subject.name(),
        issuer_key_identifier: None,
        spki: key.spki(),
        not_earlier: None,
        not_later: None,
    };
    build(key, new, &parts)
}

/// A certificate that a CA issues for the key of `spki`.
///
/// # Errors
/// [`CertifyError`]; also where the CA's certificate does not allow it.
pub fn issue(issuer: &Issuer, spki: &[u8], new: &NewCertificate) -> Result<Issued, CertifyError> {
    // Whoever it is for, the key must be one that verification accepts.
    SigningKey::new(spki, super::RsaPadding::Pss)?;
    if let (Some(wanted), Some(allowed)) = (new.ca, issuer.path_length)
        && wanted >= allowed
    {
        return Err(CertifyError::PathLength {
            subject: issuer.subject.clone(),
            allowed,
            wanted,
        });
    }
    let (not_before, not_after) = issuer.validity();
    if new.now < not_before || new.now > not_after {
        return Err(CertifyError::IssuerNotValid {
            subject: issuer.subject.clone(),
            not_before,
            not_after,
        });
    }
    let parts = Parts {
        issuer: &issuer.certificate.tbs_certificate.subject,
        issuer_key_identifier: Some(issuer.key_identifier()?),
        spki,
        not_earlier: Some(not_before),
        not_later: Some(not_after),
    };
    build(&issuer.key, new, &parts)
}

impl Issuer {
    /// A CA by its certificate in DER, which must be that of `key`.
    ///
    /// # Errors
    /// The certificate is malformed, another key's, or none of a CA.
    // X509-03 to X509-06
    pub fn new(key: SigningKey, certificate: &[u8]) -> Result<Self, CertifyError> {
        let certificate =
            Certificate::from_der(certificate).map_err(CertifyError::IssuerCertificate)?;
        let tbs = &certificate.tbs_certificate;
        let subject = Subject::of(&tbs.subject).to_string();
        if tbs.subject_public_key_info.to_der()? != key.spki() {
            return Err(CertifyError::OtherKey { subject });
        }
        let not_ca = |why| CertifyError::NotCa {
            subject: subject.clone(),
            why,
        };
        let constraints = tbs
            .get::<BasicConstraints>()
            .map_err(CertifyError::IssuerCertificate)?;
        let path_length = match constraints {
            Some((_, constraints)) if constraints.ca => constraints.path_len_constraint,
            _ => return Err(not_ca("it is not a CA certificate (basicConstraints)")),
        };
        let usage = tbs
            .get::<KeyUsage>()
            .map_err(CertifyError::IssuerCertificate)?;
        let allows = |bit| {
            usage
                .as_ref()
                .is_some_and(|(_, usage)| usage.0.contains(bit))
        };
        if !allows(KeyUsages::KeyCertSign) {
            return Err(not_ca("its key usage lacks keyCertSign"));
        }
        Ok(Self {
            key,
            path_length,
            subject,
            certificate,
        })
    }

    /// The key.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Its subject, for messages.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// How many CAs may stand below it; `None` for any number.
    pub fn path_length(&self) -> Option<u8> {
        self.path_length
    }

    /// Whether it may sign revocation lists (keyUsage cRLSign).
    pub fn signs_crls(&self) -> bool {
        let usage = self.certificate.tbs_certificate.get::<KeyUsage>();
        matches!(usage, Ok(Some((_, usage))) if usage.0.contains(KeyUsages::CRLSign))
    }

    pub(super) fn name(&self) -> &Name {
        &self.certificate.tbs_certificate.subject
    }

    /// Begin and end of its validity.
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        let validity = &self.certificate.tbs_certificate.validity;
        (
            timestamp(&validity.not_before),
            timestamp(&validity.not_after),
        )
    }

    /// The identifier that its certificate gives its key, or one made of the key.
    pub(super) fn key_identifier(&self) -> Result<Vec<u8>, CertifyError> {
        let tbs = &self.certificate.tbs_certificate;
        let own = tbs
            .get::<SubjectKeyIdentifier>()
            .map_err(CertifyError::IssuerCertificate)?;
        match own {
            Some((_, identifier)) => Ok(identifier.0.as_bytes().to_vec()),
            None => key_identifier(self.key.spki()),
        }
    }
}

/// What a certificate takes from its issuer.
struct Parts<'a> {
    issuer: &'a Name,
    /// Absent in a self-signed certificate.
    issuer_key_identifier: Option<Vec<u8>>,
    spki: &'a [u8],
    not_earlier: Option<Timestamp>,
    not_later: Option<Timestamp>,
}

fn build(
    signer: &SigningKey,
    new: &NewCertificate,
    parts: &Parts<'_>,
) -> Result<Issued, CertifyError> {
    let range = || CertifyError::Validity {
        from: new.now,
        days: new.days,
    };
    let seconds = i64::from(new.days).saturating_mul(86_400);
    let whole = Timestamp::from_second(new.now.as_second()).map_err(|_| range())?;
    let wanted = whole
        .checked_add(jiff::SignedDuration::from_secs(seconds))
        .ok()
        .filter(|end| *end > whole && *end <= last_moment())
        .ok_or_else(range)?;
    let begin = whole.checked_sub(BACKDATED).map_err(|_| range())?;
    let begin = parts.not_earlier.map_or(begin, |limit| begin.max(limit));
    let after = new.follows.and_then(|before| {
        let after = before
            .checked_add(jiff::SignedDuration::from_secs(1))
            .ok()?;
        Some(after.min(whole))
    });
    let not_before = after.map_or(begin, |after| begin.max(after));
    let not_after = parts.not_later.map_or(wanted, |limit| wanted.min(limit));
    let serial = Serial::random()?;
    let tbs = TbsCertificate {
        version: Version::V3,
        serial_number: serial.to_number()?,
        signature: signer.algorithm()?,
        issuer: parts.issuer.clone(),
        validity: Validity {
            not_before: time(not_before)?,
            not_after: time(not_after)?,
        },
        subject: new.subject.name().clone(),
        subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(parts.spki)?,
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(extensions(new, parts)?),
    };
    Ok(Issued {
        unsigned: signer.unsigned(tbs.to_der()?)?,
        serial,
        not_before,
        not_after,
        cut: not_after < wanted,
    })
}

/// The last second of the year 9999, which is what a certificate can say.
fn last_moment() -> Timestamp {
    Timestamp::from_second(253_402_300_799).unwrap_or(Timestamp::MAX)
}

/// basicConstraints and key usage by kind, key identifiers, and where the CRL is (RFC 5280 §4.2.1).
fn extensions(new: &NewCertificate, parts: &Parts<'_>) -> Result<Extensions, CertifyError> {
    let constraints = BasicConstraints {
        ca: new.ca.is_some(),
        path_len_constraint: new.ca,
    };
    let usage = match new.ca {
        Some(_) => KeyUsages::KeyCertSign | KeyUsages::CRLSign,
        None => KeyUsages::DigitalSignature.into(),
    };
    let mut extensions = vec![
        extension(true, &constraints)?,
        extension(true, &KeyUsage(usage))?,
    ];
    if new.ca.is_none() {
        extensions.push(extension(false, &ExtendedKeyUsage(vec![CODE_SIGNING]))?);
    }
    let own = OctetString::new(key_identifier(parts.spki)?)?;
    extensions.push(extension(false, &SubjectKeyIdentifier(own))?);
    if let Some(identifier) = &parts.issuer_key_identifier {
        extensions.push(extension(false, &authority(identifier)?)?);
    }
    if let Some(url) = &new.crl_url {
        extensions.push(extension(false, &distribution_point(url)?)?);
    }
    Ok(extensions)
}

pub(super) fn authority(identifier: &[u8]) -> der::Result<AuthorityKeyIdentifier> {
    Ok(AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(identifier)?),
        authority_cert_issuer: None,
        authority_cert_serial_number: None,
    })
}

/// CRLs are fetched by plain HTTP (RFC 5280 §4.2.1.13): they are signed, and TLS would ask again.
fn distribution_point(url: &str) -> Result<CrlDistributionPoints, CertifyError> {
    let wrong = || CertifyError::CrlUrl { url: url.into() };
    let host = url.strip_prefix("http://").ok_or_else(wrong)?;
    let plain = |c: char| c.is_ascii_graphic();
    if host.is_empty() || host.starts_with('/') || !host.chars().all(plain) || url.len() > 1_000 {
        return Err(wrong());
    }
    let name = GeneralName::UniformResourceIdentifier(Ia5String::new(url)?);
    Ok(CrlDistributionPoints(vec![DistributionPoint {
        distribution_point: Some(DistributionPointName::FullName(vec![name])),
        reasons: None,
        crl_issuer: None,
    }]))
}

pub(super) fn extension<T>(critical: bool, value: &T) -> der::Result<Extension>
where
    T: der::Encode + der::oid::AssociatedOid,
{
    Ok(Extension {
        extn_id: T::OID,
        critical,
        extn_value: OctetString::new(value.to_der()?)?,
    })
}

/// The key's identifier: the first 160 bits of the SHA-256 of its bits (RFC 7093 §2, method 1).
fn key_identifier(spki: &[u8]) -> Result<Vec<u8>, CertifyError> {
    let spki = SubjectPublicKeyInfoOwned::from_der(spki)?;
    let hash = crypto::sha256(spki.subject_public_key.raw_bytes());
    Ok(hash.iter().copied().take(20).collect())
}
