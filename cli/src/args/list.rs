//! `hardsign list`: flags and their rules (CLI-43 to CLI-45).

use super::deadline::READING;
use super::flags::{self, Reader};
use super::{ArgMatches, Command, Deadline, Output, Registry, Usage};

const EXAMPLES: &str = "\
Examples:
  List the signatures of an artifact:
    hardsign list registry.example.com/app@sha256:<digest>

  List them for an artifact in an OCI layout, as JSON:
    hardsign list --oci-layout ./layout:v1 --output json";

/// `hardsign list`.
#[derive(Debug)]
pub(crate) struct ListArgs {
    pub(crate) reference: String,
    pub(crate) max_signatures: usize,
    pub(crate) output: Output,
    pub(crate) registry: Registry,
    pub(crate) deadline: Deadline,
}

pub(super) fn definition() -> Command {
    flags::verb("list", "List the signatures of an artifact", EXAMPLES)
        .visible_alias("ls")
        .arg(flags::max_signatures())
        .args(flags::registry())
        .arg(flags::oci_layout())
        .arg(flags::allow_referrers_api())
        .arg(flags::deadline())
        .arg(flags::output())
        .arg(flags::positional(
            "reference",
            "The artifact: <registry>/<repository>@<digest>",
        ))
}

impl ListArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let reference = reader.one("list", program)?;
        Ok(Self {
            reference,
            max_signatures: reader.max_signatures()?.get(),
            output: reader.output()?,
            registry: Registry::read(&reader)?,
            deadline: reader.deadline(READING)?,
        })
    }
}
