//! Evidence that a key was made in a device and can't leave it: from bytes to a verdict.
//!
//! A YubiKey states of a key that it made, in a certificate that its own attestation key signs, which
//! firmware made it and what PIN and touch policy it has. That key is certified by the maker. So the
//! evidence is a short certificate chain, and the verdict is [`Attested`], which only
//! [`Evidence::prove`] makes: the chain ends in a root of the maker, the statement is about the key in
//! question, and the key is none of those that are known to be weak.
//!
//! The module opens nothing and reads no clock. Evidence is hostile: the number of certificates and
//! of signature checks is bounded.
//!
//! Sources: Yubico's "PIV attestation", RFC 5280 §6.1 for the chain, and Yubico's advisories
//! YSA-2017-01 (ROCA) and YSA-2024-03.

use der::asn1::ObjectIdentifier;
use jiff::Timestamp;

use crate::algorithm::KeySpec;
use crate::crypto::PublicKey;
use crate::x509::{Certificate, CertificateError, KeyUsage, Name};

pub use statement::{
    Device, Firmware, FormFactor, PinPolicy, StatementFault, TouchPolicy, UnknownName,
};

mod statement;

/// Most certificates in one piece of evidence, the statement included.
pub const MAX_CERTIFICATES: usize = 8;

/// Most certificates between a statement and a root; the longest known chain has three.
const MAX_ISSUERS: usize = 5;

/// Signature checks for one piece of evidence.
const BUDGET: usize = 64;

/// What a device gives as evidence: its statement on a key, and the certificates above it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    statement: Certificate,
    issuers: Vec<Certificate>,
}

/// Evidence that can't be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Nothing at all.
    #[error("the evidence holds no certificate")]
    Empty,
    /// More than any device gives.
    #[error("the evidence holds {certificates} certificates, more than {MAX_CERTIFICATES}")]
    TooMany {
        /// How many there are.
        certificates: usize,
    },
    /// A certificate that is none.
    #[error("certificate {number} of the evidence can't be read")]
    Certificate {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        source: CertificateError,
    },
}

/// Roots that are believed, and what is known of the way to them. By default none are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Roots {
    roots: Vec<Certificate>,
    /// Certificates between, which prove nothing by themselves.
    between: Vec<Certificate>,
    /// Roots of the maker that are known and not believed.
    unbelieved: Vec<Certificate>,
}

/// Evidence that proved itself. Only [`Evidence::prove`] makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attested {
    device: Device,
    key: Option<KeySpec>,
    chain: Vec<Certificate>,
}

/// Why evidence proves nothing for a key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    /// The first certificate is no statement of a device on a key.
    #[error("the first certificate of the evidence is not a device's statement on a key")]
    Statement(#[source] StatementFault),
    /// The statement is about another key.
    #[error("the evidence is about another key than that of the certificate")]
    OtherKey,
    /// No way from the statement to a root.
    #[error(
        "the evidence does not lead to a root of the maker that is trusted: {issuer} is not known"
    )]
    Untrusted {
        /// The issuer at which the way ends.
        issuer: Name,
    },
    /// The way leads to Yubico's root for U2F.
    #[error(
        "the evidence leads to Yubico's root for U2F, which certified the attestation keys of some YubiKeys 4 \
         without saying that they may attest keys (basicConstraints); it is not accepted"
    )]
    U2fRoot,
    /// A certificate of the way is not valid at that time.
    #[error("a certificate of the evidence is not valid at {time}")]
    NotValidAt {
        /// The time.
        time: Timestamp,
    },
    /// A certificate of the way says something that must be understood and is not (RFC 5280 §4.2).
    #[error(
        "the certificate {subject} of the evidence has the critical extension {oid}, which is not understood"
    )]
    UnknownCritical {
        /// Its subject.
        subject: Name,
        /// The extension's type.
        oid: ObjectIdentifier,
    },
    /// The key can be computed from its public half.
    #[error(
        "the key is an RSA key that was made by firmware {firmware}, whose RSA keys can be computed from their \
         public halves (ROCA, YSA-2017-01)"
    )]
    Roca {
        /// The firmware.
        firmware: Firmware,
    },
}

impl Evidence {
    /// Reads evidence: certificates in DER, the statement first.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn from_certificates<C: AsRef<[u8]>>(certificates: &[C]) -> Result<Self, EvidenceError> {
        if certificates.len() > MAX_CERTIFICATES {
            return Err(EvidenceError::TooMany {
                certificates: certificates.len(),
            });
        }
        let mut parsed = Vec::with_capacity(certificates.len());
        for (index, der) in certificates.iter().enumerate() {
            let certificate = Certificate::from_der(der.as_ref());
            parsed.push(certificate.map_err(|source| EvidenceError::Certificate {
                number: index.saturating_add(1),
                source,
            })?);
        }
        let mut parsed = parsed.into_iter();
        Ok(Self {
            statement: parsed.next().ok_or(EvidenceError::Empty)?,
            issuers: parsed.collect(),
        })
    }

    /// The device's statement on the key.
    pub fn statement(&self) -> &Certificate {
        &self.statement
    }

    /// All certificates, the statement first.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.statement).chain(&self.issuers)
    }

    /// What the statement says, **which nothing has proven**: for showing what evidence claims. Whether
    /// the device is of a series (FIPS, CSPN) is never among it.
    ///
    /// # Errors
    /// [`StatementFault`].
    pub fn danger_claims(&self) -> Result<Device, StatementFault> {
        Device::read(&self.statement)
    }

    /// Whether the statement is about this key; it may still prove nothing.
    pub fn is_about(&self, key: &PublicKey) -> bool {
        self.statement.public_key() == Ok(key)
    }

    /// Proves that `key` was made in a device of a maker whose root is in `roots`; `now` is when its
    /// certificates must be valid.
    ///
    /// # Errors
    /// [`AttestationError`]: the evidence proves nothing.
    pub fn prove(
        &self,
        key: &PublicKey,
        roots: &Roots,
        now: Timestamp,
    ) -> Result<Attested, AttestationError> {
        let mut device = Device::read(&self.statement).map_err(AttestationError::Statement)?;
        if !self.is_about(key) {
            return Err(AttestationError::OtherKey);
        }
        let chain = self.way(roots, now)?;
        // What only the attestation key's certificate says, of the one that was proven.
        device.read_series(chain.get(1));
        if device.firmware.has_roca() && is_rsa(&self.statement) {
            return Err(AttestationError::Roca {
                firmware: device.firmware,
            });
        }
        Ok(Attested {
            device,
            key: key.key_spec(),
            chain,
        })
    }

    /// The way from the statement to a root.
    fn way(&self, roots: &Roots, now: Timestamp) -> Result<Vec<Certificate>, AttestationError> {
        let mut search = Search {
            roots: &roots.roots,
            between: self.issuers.iter().chain(&roots.between).collect(),
            time: Some(now),
            any_critical: false,
            budget: BUDGET,
        };
        let start = vec![&self.statement];
        if let Some(way) = search.extend(&start) {
            return Ok(way.into_iter().cloned().collect());
        }
        // Why not? None of what follows makes evidence good.
        search.budget = BUDGET;
        search.time = None;
        if search.extend(&start).is_some() {
            return Err(AttestationError::NotValidAt { time: now });
        }
        search.budget = BUDGET;
        search.any_critical = true;
        let way = search.extend(&start).unwrap_or_default();
        let unknown = way
            .iter()
            .find_map(|one| Some((one, unknown_critical(one)?)));
        if let Some((one, oid)) = unknown {
            return Err(AttestationError::UnknownCritical {
                subject: one.subject().clone(),
                oid,
            });
        }
        let by_unbelieved = self.issuers.iter().any(|issuer| {
            self.statement.check_issued_by(issuer).is_ok()
                && roots
                    .unbelieved
                    .iter()
                    .any(|root| issuer.check_issued_by(root).is_ok())
        });
        if by_unbelieved {
            return Err(AttestationError::U2fRoot);
        }
        let issued = |issuer: &&Certificate| self.statement.check_issued_by(issuer).is_ok();
        let last = self.issuers.iter().find(issued).unwrap_or(&self.statement);
        Err(AttestationError::Untrusted {
            issuer: last.issuer().clone(),
        })
    }
}

impl Roots {
    /// Those of Yubico that came with hardsign: for the PIV application up to firmware 5.7.3, and for
    /// all applications from 5.7.4 on, with the certificates between. Yubico's root for U2F is known
    /// and not believed.
    pub fn in_the_box() -> Self {
        let read = |files: &[&[u8]]| {
            let read = files.iter().map(|file| Certificate::parse_file(file));
            // Files of the box that don't parse are no roots; a test reads them all.
            read.flat_map(Result::unwrap_or_default).collect()
        };
        Self {
            roots: read(&[
                include_bytes!("attestation/yubico/yubico-piv-root-ca-serial-263751.pem"),
                include_bytes!("attestation/yubico/yubico-attestation-root-1.pem"),
            ]),
            between: read(&[
                include_bytes!("attestation/yubico/yubico-attestation-intermediate-a-1.pem"),
                include_bytes!("attestation/yubico/yubico-attestation-intermediate-b-1.pem"),
                include_bytes!("attestation/yubico/yubico-piv-attestation-a-1.pem"),
                include_bytes!("attestation/yubico/yubico-piv-attestation-b-1.pem"),
                include_bytes!("attestation/yubico/yubico-piv-attestation-b2-1.pem"),
            ]),
            unbelieved: read(&[include_bytes!(
                "attestation/yubico/yubico-u2f-root-ca-serial-457200631.pem"
            )]),
        }
    }

    /// These and no others.
    pub fn of(roots: Vec<Certificate>) -> Self {
        Self {
            roots,
            ..Self::default()
        }
    }

    /// These, and the roots given.
    #[must_use]
    pub fn and(mut self, roots: impl IntoIterator<Item = Certificate>) -> Self {
        self.roots.extend(roots);
        self
    }

    /// The certificates that are believed.
    pub fn certificates(&self) -> &[Certificate] {
        &self.roots
    }
}

impl Attested {
    /// What the device stated of itself and the key.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The way that was proven: statement, issuers, root.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The way without the root: what somebody needs who has the root.
    pub fn below_root(&self) -> &[Certificate] {
        self.chain.split_last().map_or(&[], |(_, below)| below)
    }

    /// Whether this is about that key.
    pub fn is_of(&self, key: &PublicKey) -> bool {
        let statement = self.chain.first();
        statement.is_some_and(|statement| statement.public_key() == Ok(key))
    }

    /// The root.
    pub fn root(&self) -> Option<&Certificate> {
        self.chain.last()
    }

    /// Whether someone with the device in hand and costly equipment could get at the key: an
    /// elliptic-curve key on firmware before 5.7 (YSA-2024-03).
    pub fn leaks_to_equipment(&self) -> bool {
        let is_ec = self.key.is_some_and(|spec| !spec.is_rsa());
        is_ec && self.device.firmware < Firmware::new(5, 7, 0)
    }
}

/// A search for a way from a statement to a root (RFC 5280 §6.1, as far as devices go).
struct Search<'a> {
    roots: &'a [Certificate],
    between: Vec<&'a Certificate>,
    /// When all must be valid; `None` while the reason of a failure is looked for.
    time: Option<Timestamp>,
    /// Whether critical extensions that are not understood are passed over, likewise.
    any_critical: bool,
    budget: usize,
}

impl<'a> Search<'a> {
    /// Extends a way to a root.
    fn extend(&mut self, way: &[&'a Certificate]) -> Option<Vec<&'a Certificate>> {
        let last = *way.last()?;
        if !self.may_stand(last) {
            return None;
        }
        // Certificates of issuers between the statement and the next one.
        let below = way.len().saturating_sub(1);
        let extended = |next| way.iter().copied().chain([next]).collect::<Vec<_>>();
        for root in self.roots {
            if self.may_stand(root) && may_issue(root, below) && self.issued(last, root) {
                return Some(extended(root));
            }
        }
        if below >= MAX_ISSUERS {
            return None;
        }
        for at in 0..self.between.len() {
            let issuer = *self.between.get(at)?;
            if !way.contains(&issuer) && may_issue(issuer, below) && self.issued(last, issuer) {
                let found = self.extend(&extended(issuer));
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    /// Whether a certificate may stand in a way at all, whatever its place.
    fn may_stand(&self, certificate: &Certificate) -> bool {
        let is_valid = self.time.is_none_or(|time| certificate.is_valid_at(time));
        is_valid && (self.any_critical || unknown_critical(certificate).is_none())
    }

    fn issued(&mut self, child: &Certificate, issuer: &Certificate) -> bool {
        if child.issuer() != issuer.subject() {
            return false;
        }
        let Some(left) = self.budget.checked_sub(1) else {
            return false;
        };
        self.budget = left;
        child.check_signed_by(issuer).is_ok()
    }
}

/// Whether a certificate may issue one that has `below` issuers below it.
fn may_issue(issuer: &Certificate, below: usize) -> bool {
    let Some(constraints) = issuer.basic_constraints() else {
        return false;
    };
    let path = constraints.path_len.map(usize::try_from);
    let usage = issuer.key_usage();
    constraints.ca
        && path.is_none_or(|path| path.is_ok_and(|most| below <= most))
        && usage.is_none_or(|usage| usage.allows(KeyUsage::KEY_CERT_SIGN))
}

/// The first critical extension that is neither basicConstraints nor keyUsage (RFC 5280 §4.2).
fn unknown_critical(certificate: &Certificate) -> Option<ObjectIdentifier> {
    let mut extensions = certificate.extensions().iter();
    let unknown = extensions.find(|e| e.critical && !UNDERSTOOD.contains(&e.oid));
    unknown.map(|extension| extension.oid)
}

/// Whether the key of a certificate is an RSA key, of whatever size.
fn is_rsa(certificate: &Certificate) -> bool {
    spki::SubjectPublicKeyInfoRef::try_from(certificate.spki_der())
        .is_ok_and(|spki| spki.algorithm.oid == RSA_ENCRYPTION)
}

/// rsaEncryption (RFC 8017 §A.1).
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// basicConstraints and keyUsage (RFC 5280 §4.2.1.9, §4.2.1.3).
const UNDERSTOOD: [ObjectIdentifier; 2] = [
    ObjectIdentifier::new_unwrap("2.5.29.19"),
    ObjectIdentifier::new_unwrap("2.5.29.15"),
];

#[cfg(test)]
mod tests;
