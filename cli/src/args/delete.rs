//! `hardsign delete`: flags and their rules.

use std::str::FromStr as _;

use hardsign_core::artifact::Digest;

use super::deadline::READING;
use super::flags::{self, Reader};
use super::{ArgMatches, Command, Deadline, Output, Registry, Usage};

const EXAMPLES: &str = "\
Examples:
  Delete a signature of an artifact; `hardsign list` shows the digests:
    hardsign delete registry.example.com/app@sha256:<digest> \\
      sha256:<signature-digest>

  Delete a signature in an OCI layout without being asked:
    hardsign delete --yes --oci-layout ./layout:v1 sha256:<signature digest>";

/// `hardsign delete`.
#[derive(Debug)]
pub(crate) struct DeleteArgs {
    pub(crate) reference: String,
    /// The signatures' manifests; at least one.
    pub(crate) signatures: Vec<Digest>,
    pub(crate) yes: bool,
    pub(crate) output: Output,
    pub(crate) registry: Registry,
    pub(crate) deadline: Deadline,
}

pub(super) fn definition() -> Command {
    flags::verb("delete", "Delete signatures of an artifact", EXAMPLES)
        .args(flags::registry())
        .arg(flags::oci_layout())
        .arg(flags::yes())
        .arg(flags::deadline())
        .arg(flags::output())
        .arg(flags::positional(
            "reference> <signature_digest...",
            "The artifact, <registry>/<repository>@<digest>, then the digests of its signatures",
        ))
}

impl DeleteArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let mut arguments = reader.all("positional").into_iter();
        let reference = arguments
            .next()
            .ok_or_else(|| Usage::new("missing reference to the artifact".to_owned()))?;
        let signatures = arguments
            .map(|text| {
                Digest::from_str(&text).map_err(|error| Usage::new(format!("{text:?}: {error}")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if signatures.is_empty() {
            return Err(Usage::new(
                "missing digest of the signature to delete".to_owned(),
            ));
        }
        Ok(Self {
            reference,
            signatures,
            yes: reader.switch("yes")?,
            output: reader.output()?,
            registry: Registry::read(&reader)?,
            deadline: reader.deadline(READING)?,
        })
    }
}
