//! Revocation lists (RFC 5280 §5).

use der::Encode as _;
use der::asn1::Uint;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use x509_cert::Version;
use x509_cert::crl::{RevokedCert, TbsCertList};
use x509_cert::ext::pkix::crl::{CrlNumber, CrlReason};

use super::certificate::{authority, extension};
use super::{CertifyError, Issuer, Serial, Unsigned, time};

/// A revocation list that is to be made.
#[derive(Clone, Debug)]
pub struct NewCrl {
    /// Grows with each list of this CA.
    pub number: u64,
    /// When it is made.
    pub now: Timestamp,
    /// When the next one is made at the latest.
    pub next_update: Timestamp,
    /// What is revoked.
    pub revoked: Vec<CrlEntry>,
}

/// One revoked certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CrlEntry {
    /// Its serial number.
    pub serial: Serial,
    /// When it was revoked.
    pub at: Timestamp,
    /// The reason code of the CRL (RFC 5280 §5.3.1).
    pub reason: Reason,
}

/// Why a certificate is revoked (RFC 5280 §5.3.1), as far as a CA of a small team has reasons.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Reason {
    /// Not told; the entry has no reason then.
    #[default]
    Unspecified,
    /// Somebody else can use the key.
    KeyCompromise,
    /// There is a new certificate.
    Superseded,
    /// It is not needed any more.
    CessationOfOperation,
}

impl Reason {
    /// All, under the names of RFC 5280.
    pub const ALL: [(&'static str, Self); 4] = [
        ("unspecified", Self::Unspecified),
        ("keyCompromise", Self::KeyCompromise),
        ("superseded", Self::Superseded),
        ("cessationOfOperation", Self::CessationOfOperation),
    ];

    /// The reason of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, reason)| reason)
    }
}

/// A list that the CA's key is to sign.
///
/// # Errors
/// The CA may not sign lists, or something can't be encoded.
pub fn revocation_list(issuer: &Issuer, new: &NewCrl) -> Result<Unsigned, CertifyError> {
    if !issuer.signs_crls() {
        return Err(CertifyError::NotCa {
            subject: issuer.subject().to_owned(),
            why: "its key usage lacks cRLSign",
        });
    }
    let revoked = new.revoked.iter().map(entry);
    let revoked = revoked.collect::<Result<Vec<_>, CertifyError>>()?;
    let number = new.number.to_be_bytes();
    let list = TbsCertList {
        version: Version::V2,
        signature: issuer.key().algorithm()?,
        issuer: issuer.name().clone(),
        this_update: time(new.now)?,
        next_update: Some(time(new.next_update)?),
        // An empty list is left out (RFC 5280 §5.1.2.6).
        revoked_certificates: (!revoked.is_empty()).then_some(revoked),
        crl_extensions: Some(vec![
            extension(false, &authority(&issuer.key_identifier()?)?)?,
            extension(false, &CrlNumber(Uint::new(&number)?))?,
        ]),
    };
    issuer.key().unsigned(list.to_der()?)
}

fn entry(entry: &CrlEntry) -> Result<RevokedCert, CertifyError> {
    let reason = match entry.reason {
        Reason::Unspecified => None,
        Reason::KeyCompromise => Some(CrlReason::KeyCompromise),
        Reason::Superseded => Some(CrlReason::Superseded),
        Reason::CessationOfOperation => Some(CrlReason::CessationOfOperation),
    };
    let reason = match reason {
        Some(reason) => Some(vec![extension(false, &reason)?]),
        None => None,
    };
    Ok(RevokedCert {
        serial_number: entry.serial.to_number()?,
        revocation_date: time(entry.at)?,
        crl_entry_extensions: reason,
    })
}
