//! From the signer's certificate up to a trusted root, by the certificates that the token carries.
//!
//! Certificates of a token have no order, and a cross-signed one can lead to several roots, so
//! paths are tried until one keeps every rule of the timestamping profile. The number of signature
//! checks is bounded.

use jiff::Timestamp;

use super::error::TokenError;
use crate::x509::{Certificate, Chain, MAX_CHAIN_LEN, Name, Timestamping};

/// Most signatures of certificates checked while looking for one path.
const MAX_CHECKS: u32 = 64;

/// Looks for a chain from `leaf` to one of `roots`, every certificate valid at `time`.
pub(super) fn find(
    leaf: &Certificate,
    carried: &[Certificate],
    roots: &[Certificate],
    time: Timestamp,
) -> Result<Chain<Timestamping>, TokenError> {
    let mut search = Search {
        carried,
        roots,
        time,
        checks: 0,
        fault: None,
        wanted: None,
    };
    match search.extend(&mut vec![leaf.clone()]) {
        Some(chain) => Ok(chain),
        None if search.checks > MAX_CHECKS => Err(TokenError::Paths),
        None => Err(search.fault.unwrap_or_else(|| TokenError::Untrusted {
            subject: leaf.subject().clone(),
            wanted: search.wanted,
        })),
    }
}

struct Search<'a> {
    carried: &'a [Certificate],
    roots: &'a [Certificate],
    time: Timestamp,
    checks: u32,
    /// What was wrong with the first path that led to a root.
    fault: Option<TokenError>,
    /// The issuer at which the first path ended that led to no root.
    wanted: Option<Name>,
}

impl Search<'_> {
    /// Tries every way on from `path`, those that end at once first.
    fn extend(&mut self, path: &mut Vec<Certificate>) -> Option<Chain<Timestamping>> {
        let last = path.last()?.clone();
        if self.roots.contains(&last) {
            return self.prove(path);
        }
        if path.len() >= MAX_CHAIN_LEN {
            return None;
        }
        let mut issued = false;
        for candidate in self.roots.iter().chain(self.carried) {
            if candidate.subject() != last.issuer() || path.contains(candidate) {
                continue;
            }
            self.checks = self.checks.saturating_add(1);
            if self.checks > MAX_CHECKS {
                return None;
            }
            if last.check_issued_by(candidate).is_err() {
                continue;
            }
            issued = true;
            path.push(candidate.clone());
            let found = self.extend(path);
            path.pop();
            if found.is_some() {
                return found;
            }
        }
        if !issued && !last.is_self_issued() {
            self.wanted.get_or_insert_with(|| last.issuer().clone());
        }
        None
    }

    fn prove(&mut self, path: &[Certificate]) -> Option<Chain<Timestamping>> {
        let chain = Chain::prove(path.to_vec()).map_err(|source| TokenError::Chain { source });
        let judged = chain.and_then(|chain: Chain<Timestamping>| {
            let valid = chain.check_validity_at(self.time);
            valid.map_err(|source| TokenError::NotValidAt { source })?;
            Ok(chain)
        });
        match judged {
            Ok(chain) => Some(chain),
            Err(fault) => {
                self.fault.get_or_insert(fault);
                None
            }
        }
    }
}
