//! The chain of a key out of loose certificates: which leaf, and the way up to a root.

use std::time::SystemTime;

use super::{
    Certificate, CertificateError, ChainError, MAX_CHAIN, Profile, PublicKey, RuleError, Time,
};

/// Steps of the search for a chain; far more than any honest set of certificates needs.
const BUDGET: usize = 10_000;

/// The chain that was chosen for a key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Choice {
    /// DER, leaf to root.
    pub chain: Vec<Vec<u8>>,
    /// The leaf, for messages: subject, serial number, validity.
    pub leaf: String,
    /// The other certificates of the key, in the order in which they were given.
    pub passed_over: Vec<PassedOver>,
}

/// A certificate of the key that was not taken.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PassedOver {
    /// The certificate, for messages: subject, serial number, validity.
    pub certificate: String,
    /// What keeps it from signing.
    pub why: WhyNot,
}

/// Why a certificate of the key can't sign, or is not the one to take.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WhyNot {
    /// It breaks a rule for signing certificates.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Its validity begins later.
    #[error("it is not valid before {0}")]
    NotYetValid(Time),
    /// Its validity is over.
    #[error("it expired at {0}")]
    Expired(Time),
    /// A certificate above it is missing.
    #[error(
        "its chain is incomplete: the certificate of {issuer:?} is not at hand{}",
        near.as_ref().map(|near| format!(": {near}")).unwrap_or_default()
    )]
    NoIssuer {
        /// The subject of the missing certificate.
        issuer: String,
        /// A certificate at hand that seems to be the issuer's, and why it is not.
        near: Option<String>,
    },
    /// A CA certificate above it breaks a rule, or is not valid.
    #[error("its chain can't be used: CA certificate {ca:?}: {why}")]
    Ca {
        /// The CA's subject.
        ca: String,
        /// What is wrong with it.
        why: Box<WhyNot>,
    },
    /// Another that can sign became valid later, or at the same time and ends later.
    #[error("the one that was taken became valid later, or ends later")]
    Older,
    /// Another says that it is for code signing, and this one does not.
    #[error("it does not name code signing as its purpose, and the one that was taken does")]
    NoPurpose,
}

/// Chooses the chain of a key out of certificates in DER, in any order, among others.
///
/// Of the certificates with the key's public key, those are fit that are valid at `now`, meet the
/// rules for signing certificates and have a complete chain up to a
/// self-issued certificate of CAs that are valid and meet theirs; of these, those that name code
/// signing as their purpose come first, then the one that became valid last, then the one that ends last.
/// Where the key has one certificate only, there is nothing to choose: its chain is
/// given whatever it is worth, and the host says what is wrong with it.
///
/// # Errors
/// No certificate is the key's; none of several is fit; or the only one has no complete chain.
// X509-08 to X509-14
pub fn choose(
    key: &PublicKey,
    certificates: &[Vec<u8>],
    now: SystemTime,
) -> Result<Choice, ChainError> {
    let now = Time::from_system(now);
    let mut pool: Vec<Parsed> = Vec::new();
    let mut unreadable: Option<CertificateError> = None;
    for der in certificates {
        match Certificate::from_der(der) {
            Ok(certificate) if pool.iter().any(|known| known.certificate == certificate) => {}
            Ok(certificate) => pool.push(Parsed::new(certificate)),
            Err(error) => {
                unreadable.get_or_insert(error);
            }
        }
    }
    let is_keys = |(_, parsed): &(usize, &Parsed)| parsed.key.as_ref() == Some(key);
    let leaves: Vec<usize> = pool
        .iter()
        .enumerate()
        .filter(is_keys)
        .map(|(at, _)| at)
        .collect();
    let verdicts: Vec<(usize, Result<Vec<usize>, WhyNot>)> = leaves
        .iter()
        .map(|leaf| (*leaf, fit(&pool, *leaf, now)))
        .collect();
    let validity = |at: usize| {
        let certificate = &pool.get(at)?.certificate;
        Some((certificate.not_before(), certificate.not_after()))
    };
    let best = verdicts
        .iter()
        .filter_map(|(leaf, verdict)| Some((*leaf, verdict.as_ref().ok()?)))
        .max_by_key(|(leaf, _)| {
            let named = is_for_code_signing(&pool, *leaf);
            (named, validity(*leaf), std::cmp::Reverse(*leaf))
        });
    let (leaf, chain) = match (best, leaves.as_slice()) {
        (Some((leaf, chain)), _) => (leaf, chain.clone()),
        (None, [only]) => (*only, Search::new(&pool, None).run(*only).map_err(gap)?),
        (None, []) => return Err(none(&pool, unreadable)),
        (None, _) => {
            return Err(ChainError::NoneFits {
                certificates: passed_over(&pool, &verdicts, None),
            });
        }
    };
    let der = |at: &usize| Some(pool.get(*at)?.certificate.der().to_vec());
    Ok(Choice {
        chain: chain.iter().filter_map(der).collect(),
        leaf: pool.get(leaf).map(Parsed::describe).unwrap_or_default(),
        passed_over: passed_over(&pool, &verdicts, Some(leaf)),
    })
}

/// Why there is no certificate for the key.
fn none(pool: &[Parsed], unreadable: Option<CertificateError>) -> ChainError {
    match (pool, unreadable) {
        ([], Some(error)) => ChainError::Malformed(error),
        ([], None) => ChainError::NoCertificate,
        (pool, unreadable) => ChainError::NoMatch {
            subjects: pool.iter().take(5).map(Parsed::subject).collect(),
            at_hand: pool.len(),
            unreadable,
        },
    }
}

fn passed_over(
    pool: &[Parsed],
    verdicts: &[(usize, Result<Vec<usize>, WhyNot>)],
    taken: Option<usize>,
) -> Vec<PassedOver> {
    verdicts
        .iter()
        .filter(|(leaf, _)| Some(*leaf) != taken)
        .map(|(leaf, verdict)| PassedOver {
            certificate: pool.get(*leaf).map(Parsed::describe).unwrap_or_default(),
            why: match verdict {
                Ok(_)
                    if taken.is_some_and(|taken| {
                        is_for_code_signing(pool, taken) && !is_for_code_signing(pool, *leaf)
                    }) =>
                {
                    WhyNot::NoPurpose
                }
                Ok(_) => WhyNot::Older,
                Err(why) => why.clone(),
            },
        })
        .collect()
}

/// Whether the extended key usage names code signing. A certificate without may sign (X509-10), and
/// may as well be a device's own: an attestation for instance.
fn is_for_code_signing(pool: &[Parsed], at: usize) -> bool {
    let purposes = pool
        .get(at)
        .and_then(|parsed| parsed.certificate.extended_key_usage());
    purposes.is_some_and(|purposes| purposes.contains(&CODE_SIGNING))
}

const CODE_SIGNING: der::asn1::ObjectIdentifier =
    der::asn1::ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");

/// The chain of a leaf that can sign now.
fn fit(pool: &[Parsed], leaf: usize, now: Time) -> Result<Vec<usize>, WhyNot> {
    let incomplete = || WhyNot::NoIssuer {
        issuer: String::new(),
        near: None,
    };
    let parsed = pool.get(leaf).ok_or_else(incomplete)?;
    parsed.certificate.check_leaf(Profile::CodeSigning)?;
    parsed.valid_at(now)?;
    if let Ok(chain) = Search::new(pool, Some(now)).run(leaf) {
        return Ok(chain);
    }
    // Without the rules for CAs there may be a chain, of which one then says what is wrong.
    let chain = Search::new(pool, None)
        .run(leaf)
        .map_err(|gap| WhyNot::NoIssuer {
            issuer: gap.issuer,
            near: gap.near,
        })?;
    for (below, at) in chain.iter().skip(1).enumerate() {
        let ca = pool.get(*at).ok_or_else(incomplete)?;
        ca.usable(below, now).map_err(|why| WhyNot::Ca {
            ca: ca.subject(),
            why: Box::new(why),
        })?;
    }
    Ok(chain)
}

fn gap(gap: Gap) -> ChainError {
    ChainError::NoIssuer {
        subject: gap.subject,
        issuer: gap.issuer,
        near: gap.near,
    }
}

/// A certificate with its key in comparable form.
struct Parsed {
    certificate: Certificate,
    key: Option<PublicKey>,
}

impl Parsed {
    fn new(certificate: Certificate) -> Self {
        Self {
            key: certificate.public_key().ok(),
            certificate,
        }
    }

    fn subject(&self) -> String {
        self.certificate.subject().to_string()
    }

    fn describe(&self) -> String {
        let certificate = &self.certificate;
        let serial: String = certificate
            .serial()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!(
            "{:?} (serial number {serial}, issued by {:?}, valid {} to {})",
            certificate.subject().to_string(),
            certificate.issuer().to_string(),
            certificate.not_before(),
            certificate.not_after()
        )
    }

    fn valid_at(&self, now: Time) -> Result<(), WhyNot> {
        let certificate = &self.certificate;
        if now < certificate.not_before() {
            return Err(WhyNot::NotYetValid(certificate.not_before()));
        }
        if now > certificate.not_after() {
            return Err(WhyNot::Expired(certificate.not_after()));
        }
        Ok(())
    }

    /// Whether it may stand in a chain as a CA above `below` others.
    fn usable(&self, below: usize, now: Time) -> Result<(), WhyNot> {
        self.certificate.check_ca(below, Profile::CodeSigning)?;
        self.valid_at(now)
    }

    /// Whether names and key identifiers allow `issuer` to have issued this certificate.
    fn may_be_issued_by(&self, issuer: &Self) -> bool {
        let (child, parent) = (&self.certificate, &issuer.certificate);
        if child.issuer() != parent.subject() {
            return false;
        }
        match (child.authority_key_id(), parent.subject_key_id()) {
            (Some(wanted), Some(offered)) => wanted == offered,
            _ => true,
        }
    }
}

/// Where a chain ends before a root.
struct Gap {
    subject: String,
    issuer: String,
    near: Option<String>,
}

/// A search for a way from a leaf to a self-issued certificate.
struct Search<'a> {
    pool: &'a [Parsed],
    /// With a time, only CA certificates that are valid then and meet the rules are taken.
    now: Option<Time>,
    budget: usize,
    /// The longest way that was found, for the error.
    deepest: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(pool: &'a [Parsed], now: Option<Time>) -> Self {
        Self {
            pool,
            now,
            budget: BUDGET,
            deepest: Vec::new(),
        }
    }

    fn run(mut self, leaf: usize) -> Result<Vec<usize>, Gap> {
        self.deepest = vec![leaf];
        let mut chain = vec![leaf];
        if self.extend(&mut chain) {
            return Ok(chain);
        }
        let last = self.deepest.last().and_then(|at| self.pool.get(*at));
        Err(Gap {
            subject: last.map(Parsed::subject).unwrap_or_default(),
            issuer: last
                .map(|parsed| parsed.certificate.issuer().to_string())
                .unwrap_or_default(),
            near: last.and_then(|last| self.near(last)),
        })
    }

    /// A certificate that seems to be the issuer's of `child`, and why it is not.
    fn near(&self, child: &Parsed) -> Option<String> {
        let wanted = child.certificate.issuer();
        self.pool.iter().find_map(|parent| {
            let found = parent.certificate.subject();
            if wanted == found && !child.may_be_issued_by(parent) {
                let text = "one with this name is, but for another key: its subject key identifier is not the one that is asked for";
                return Some(text.to_owned());
            }
            let difference = wanted.difference(found)?;
            Some(format!("one with a name that reads alike is, but {difference}"))
        })
    }

    /// Extends the chain to a root; leaves it as it was if there is none.
    fn extend(&mut self, chain: &mut Vec<usize>) -> bool {
        let Some(last) = chain.last().and_then(|at| self.pool.get(*at)) else {
            return false;
        };
        if last.certificate.is_self_issued() {
            return true;
        }
        if chain.len() > self.deepest.len() {
            self.deepest.clone_from(chain);
        }
        if chain.len() >= MAX_CHAIN || self.budget == 0 {
            return false;
        }
        self.budget = self.budget.saturating_sub(1);
        for at in self.candidates(last, chain) {
            chain.push(at);
            if self.extend(chain) {
                return true;
            }
            chain.pop();
        }
        false
    }

    /// Possible issuers: roots first, then those that became valid last.
    fn candidates(&self, child: &Parsed, chain: &[usize]) -> Vec<usize> {
        let below = chain.len().saturating_sub(1);
        let usable = |parent: &Parsed| self.now.is_none_or(|now| parent.usable(below, now).is_ok());
        let mut found: Vec<(usize, &Parsed)> = self
            .pool
            .iter()
            .enumerate()
            .filter(|(at, parent)| {
                !chain.contains(at) && child.may_be_issued_by(parent) && usable(parent)
            })
            .collect();
        found.sort_by_key(|(at, parent)| {
            let newest_first = std::cmp::Reverse(parent.certificate.not_before());
            (!parent.certificate.is_self_issued(), newest_first, *at)
        });
        found.into_iter().map(|(at, _)| at).collect()
    }
}
