//! `hardsign inspect`: flags and their rules (CLI-46).

use super::deadline::READING;
use super::flags::{self, Reader};
use super::{ArgMatches, Command, Deadline, Output, Registry, Usage};

const EXAMPLES: &str = "\
Examples:
  Show every signature of an artifact:
    hardsign inspect registry.example.com/app@sha256:<digest>

  Show those of an artifact in an OCI layout:
    hardsign inspect --oci-layout ./layout:v1

  Print JSON:
    hardsign inspect --output json registry.example.com/app@sha256:<digest>";

/// `hardsign inspect`.
#[derive(Debug)]
pub(crate) struct InspectArgs {
    pub(crate) reference: String,
    pub(crate) max_signatures: usize,
    pub(crate) output: Output,
    pub(crate) registry: Registry,
    pub(crate) deadline: Deadline,
}

pub(super) fn definition() -> Command {
    flags::verb(
        "inspect",
        "Show the signatures of an artifact without verifying them",
        EXAMPLES,
    )
    .arg(
        flags::value(
            "output",
            "FORMAT",
            "Output format: tree or json [default: tree]",
        )
        .short('o'),
    )
    .arg(flags::max_signatures())
    .args(flags::registry())
    .arg(flags::oci_layout())
    .arg(flags::deadline())
    .arg(flags::allow_referrers_api())
    .arg(flags::positional(
        "reference",
        "The artifact: <registry>/<repository>@<digest>",
    ))
}

impl InspectArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let reference = reader.one("inspect", program)?;
        Ok(Self {
            reference,
            output: reader.tree_or_json()?,
            max_signatures: reader.max_signatures()?.get(),
            registry: Registry::read(&reader)?,
            deadline: reader.deadline(READING)?,
        })
    }
}
