//! Counting signers (VER-31).

use std::fmt;

use super::{Party, Signers};
use crate::text::plural;
use crate::trust::StoreRef;
use crate::x509::Certificate;

/// Who made one accepted signature.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The signing certificate.
    pub leaf: Certificate,
    /// The statement's stores that trust its chain.
    pub trusted_by: Vec<StoreRef>,
}

/// Which parties have signed.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Tally {
    /// How many must have signed.
    pub at_least: usize,
    /// The parties that have.
    pub signed: Vec<String>,
    /// The parties that have not.
    pub missing: Vec<String>,
}

impl Tally {
    /// Whether enough parties have signed.
    pub fn is_enough(&self) -> bool {
        self.signed.len() >= self.at_least
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| {
            if names.is_empty() {
                "none".to_owned()
            } else {
                super::super::QuotedList(names).to_string()
            }
        };
        write!(
            f,
            "{} of at least {}, signed: {}, not signed: {}",
            self.signed.len(),
            plural(self.at_least, "signer"),
            list(&self.signed),
            list(&self.missing)
        )
    }
}

impl Signers {
    /// Counts the parties that have signed.
    ///
    /// A signature counts for the first party of the list that includes its signer. One signer
    /// counts once and one party counts once: signatures belong to one signer when their leaves
    /// have the same subject or the same key, however many certificates, manifests or envelopes
    /// there are.
    pub fn tally(&self, signers: &[Signer]) -> Tally {
        let groups = groups(signers);
        let mut edges = vec![Vec::new(); signers.len()];
        for (signer, group) in signers.iter().zip(&groups) {
            let includes = |p: &Party| p.includes(&signer.leaf, &signer.trusted_by);
            if let Some(party) = self.parties.iter().position(includes)
                && let Some(parties) = edges.get_mut(*group)
                && !parties.contains(&party)
            {
                parties.push(party);
            }
        }
        let mut matched = vec![None; self.parties.len()];
        for group in 0..edges.len() {
            let mut tried = vec![false; self.parties.len()];
            assign(group, &edges, &mut matched, &mut tried);
        }
        let mut tally = Tally {
            at_least: self.at_least,
            signed: Vec::new(),
            missing: Vec::new(),
        };
        for (party, group) in self.parties.iter().zip(matched) {
            let list = match group {
                Some(_) => &mut tally.signed,
                None => &mut tally.missing,
            };
            list.push(party.name.clone());
        }
        tally
    }
}

/// For each signer, the position of the first of those that are the same one.
fn groups(signers: &[Signer]) -> Vec<usize> {
    let same = |a: &Signer, b: &Signer| {
        // Case is folded, so that a careless CA can't turn one name into two.
        let subject = |s: &Signer| s.leaf.subject().to_string().to_lowercase();
        subject(a) == subject(b) || a.leaf.spki_der() == b.leaf.spki_der()
    };
    let mut groups: Vec<usize> = (0..signers.len()).collect();
    for (i, a) in signers.iter().enumerate() {
        for (j, b) in signers.iter().enumerate().take(i) {
            let (Some(&mine), Some(&theirs)) = (groups.get(i), groups.get(j)) else {
                continue;
            };
            if mine != theirs && same(a, b) {
                let (low, high) = (mine.min(theirs), mine.max(theirs));
                for group in groups.iter_mut().filter(|g| **g == high) {
                    *group = low;
                }
            }
        }
    }
    groups
}

/// Finds a party for a group of signatures, moving others where that frees one: the largest number
/// of parties, each by a signer of its own.
fn assign(
    group: usize,
    edges: &[Vec<usize>],
    matched: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for &party in edges.get(group).into_iter().flatten() {
        if tried.get(party).copied().unwrap_or(true) {
            continue;
        }
        if let Some(flag) = tried.get_mut(party) {
            *flag = true;
        }
        let free = match matched.get(party).copied().flatten() {
            None => true,
            Some(holder) => assign(holder, edges, matched, tried),
        };
        if free {
            if let Some(slot) = matched.get_mut(party) {
                *slot = Some(group);
            }
            return true;
        }
    }
    false
}
