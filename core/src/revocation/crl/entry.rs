//! The entries of a CRL, read in place (RFC 5280 §5.3, REV-36, REV-44).

use der::asn1::ObjectIdentifier;
use der::{Reader as _, SliceReader};
use jiff::Timestamp;

use super::CrlError;
use crate::revocation::asn1::{
    self, BOOLEAN, ENUMERATED, INTEGER, INVALIDITY_DATE, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE,
    element, generalized_time, shortest,
};
use crate::x509::time;

/// The entries of a serial number in the content of `revokedCertificates`. Every entry is read,
/// since one critical extension that is not understood spoils them all (RFC 5280 §5.3).
pub(super) fn entries_of(mut rest: &[u8], serial: &[u8]) -> Result<Vec<Entry>, CrlError> {
    let serial = shortest(serial);
    let mut found = Vec::new();
    while !rest.is_empty() {
        let mut entry = take(&mut rest, SEQUENCE)?;
        let listed = shortest(take(&mut entry, INTEGER)?) == serial;
        let date = element(&mut entry).ok_or(CrlError::Entry)?;
        let extensions = if entry.is_empty() {
            entry
        } else {
            take(&mut entry, SEQUENCE)?
        };
        if !entry.is_empty() {
            return Err(CrlError::Entry);
        }
        let read = EntryExtensions::read(extensions, listed)?;
        if listed {
            found.push(Entry {
                date: element_time(date)?,
                reason: read.reason,
                invalidity_date: read.invalidity_date,
            });
            if found.len() > MAX_ENTRIES_OF_ONE {
                return Err(CrlError::Entry);
            }
        }
    }
    Ok(found)
}

/// An entry about the certificate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    date: Timestamp,
    reason: Option<u8>,
    invalidity_date: Option<Timestamp>,
}

impl Entry {
    /// When the certificate was revoked.
    pub(super) fn date(&self) -> Timestamp {
        self.date
    }

    /// Whether it can be taken back.
    pub(super) fn is_temporary(&self) -> bool {
        matches!(self.reason, Some(CERTIFICATE_HOLD | REMOVE_FROM_CRL))
    }

    /// Whether the key became invalid after the signature was made.
    pub(super) fn is_later_than(&self, authentic_signing_time: Option<Timestamp>) -> bool {
        let times = authentic_signing_time.zip(self.invalidity_date);
        times.is_some_and(|(signed, invalid)| signed < invalid)
    }
}

/// Whether the latest of the entries that can be taken back is a hold (REV-44).
pub(super) fn is_held(entries: &[Entry]) -> bool {
    let mut latest: Option<&Entry> = None;
    for entry in entries.iter().filter(|entry| entry.is_temporary()) {
        if latest.is_none_or(|latest| latest.date < entry.date) {
            latest = Some(entry);
        }
    }
    latest.is_some_and(|entry| entry.reason == Some(CERTIFICATE_HOLD))
}

#[derive(Default)]
struct EntryExtensions {
    reason: Option<u8>,
    invalidity_date: Option<Timestamp>,
}

impl EntryExtensions {
    /// Walks over the extensions of an entry; values are read for the entry that counts.
    fn read(mut list: &[u8], listed: bool) -> Result<Self, CrlError> {
        let mut read = Self::default();
        while !list.is_empty() {
            let mut extension = take(&mut list, SEQUENCE)?;
            let oid = take(&mut extension, OBJECT_IDENTIFIER)?;
            let mut next = element(&mut extension).ok_or(CrlError::Entry)?;
            let critical = next.tag == BOOLEAN && next.value == [0xff];
            if next.tag == BOOLEAN {
                next = element(&mut extension).ok_or(CrlError::Entry)?;
            }
            if next.tag != OCTET_STRING || !extension.is_empty() {
                return Err(CrlError::Entry);
            }
            let known = oid == REASON_CODE.as_bytes() || oid == INVALIDITY_DATE.as_bytes();
            if critical && !known {
                let oid = ObjectIdentifier::from_bytes(oid).map_err(|_| CrlError::Entry)?;
                return Err(CrlError::Critical { oid });
            }
            if !listed {
                continue;
            }
            let twice = if oid == REASON_CODE.as_bytes() {
                let mut value = next.value;
                match (take(&mut value, ENUMERATED)?, value) {
                    ([reason], []) => read.reason.replace(*reason).is_some(),
                    _ => return Err(CrlError::Entry),
                }
            } else if oid == INVALIDITY_DATE.as_bytes() {
                let date = generalized_time(next.value).map_err(|_| CrlError::Entry)?;
                read.invalidity_date.replace(date).is_some()
            } else {
                false
            };
            if twice {
                return Err(CrlError::Entry);
            }
        }
        Ok(read)
    }
}

fn take<'a>(input: &mut &'a [u8], tag: u8) -> Result<&'a [u8], CrlError> {
    match element(input) {
        Some(element) if element.tag == tag => Ok(element.value),
        _ => Err(CrlError::Entry),
    }
}

fn element_time(element: asn1::Element<'_>) -> Result<Timestamp, CrlError> {
    // A time is short, so its length is one byte.
    let length = u8::try_from(element.value.len()).ok().filter(|l| *l < 0x80);
    let bytes = [
        &[element.tag, length.ok_or(CrlError::Entry)?],
        element.value,
    ]
    .concat();
    let read = || -> der::Result<Timestamp> {
        let mut reader = SliceReader::new(&bytes)?;
        let value = time(&mut reader)?;
        reader.finish(value)
    };
    read().map_err(|_| CrlError::Entry)
}

/// Most entries that one certificate can have in one CRL.
const MAX_ENTRIES_OF_ONE: usize = 64;
/// CRLReason certificateHold and removeFromCRL (RFC 5280 §5.3.1).
const CERTIFICATE_HOLD: u8 = 6;
const REMOVE_FROM_CRL: u8 = 8;
const REASON_CODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
