//! Work that was stopped because its budget was used up: whose fault that is, and what to do.

use hardsign_core::budget::{Overspent, Party, Phase, Spending, Unsettled};

use super::{Exit, Failure};
use crate::output::own_lines;

impl From<Overspent> for Failure {
    fn from(overspent: Overspent) -> Self {
        let (exit, hint) = classify(&overspent);
        Self {
            hint: hint.as_deref().map(own_lines),
            ..Self::of(exit, &overspent)
        }
    }
}

/// The exit code and a hint: somebody else who was waited for could not be used.
pub(super) fn classify(overspent: &Overspent) -> (Exit, Option<String>) {
    let exit = match overspent.is_of_others() {
        true => Exit::Unreachable,
        false => Exit::Failed,
    };
    let hint = hint(overspent);
    let hint = match overspent.unsettled.as_deref() {
        Some(Unsettled::Storing(_) | Unsettled::Deleting(_)) => {
            format!("`hardsign list <reference>` shows whether it was done\n{hint}")
        }
        _ => hint.to_owned(),
    };
    (exit, Some(hint))
}

fn hint(overspent: &Overspent) -> &'static str {
    let party = overspent.waited.as_ref().map(|(party, _)| party);
    match (overspent.spending, party, overspent.phase) {
        (Spending::Bytes(_) | Spending::Requests(_), _, _) => {
            "check fewer signatures with --max-signatures, or set another limit with --deadline"
        }
        (_, Some(Party::Server(_)), _) => {
            "it is slow or not answering: try again later, or allow more time with --deadline"
        }
        (_, Some(Party::Plugin(_)), _) => {
            "it may be waiting for its device or for a person; allow more time with --deadline"
        }
        (_, Some(Party::CredentialHelper(_)), _) => {
            "it may be waiting for a person; allow more time with --deadline"
        }
        (_, Some(Party::Directory(_)), _) => {
            "another process may be writing to it; allow more time with --deadline"
        }
        (_, Some(Party::File(_)), _) => {
            "it is large, or nobody writes to it; allow more time with --deadline"
        }
        (_, _, Some(Phase::Verifying | Phase::Fetching)) => {
            "allow more time with --deadline, or check fewer signatures with --max-signatures"
        }
        _ => "allow more time with --deadline",
    }
}
