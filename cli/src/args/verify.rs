//! `hardsign verify`: flags and their rules (CLI-33 to CLI-42).

use std::num::NonZeroUsize;

use hardsign_core::policy::hardsign::AttachedRule;

use super::batch::{self, Batch};
use super::deadline::READING;
use super::flags::{self, Reader};
use super::{Arg, ArgMatches, BTreeMap, Command, Deadline, Output, Registry, Selection, Usage};

const EXAMPLES: &str = "\
Examples:
  Verify an artifact under the trust policy:
    hardsign verify registry.example.com/app@sha256:<digest>

  Verify, and require signed metadata:
    hardsign verify -m build=17 registry.example.com/app@sha256:<digest>

  Verify the artifacts listed in a file, and print a line of JSON for each:
    hardsign verify --from-file references.txt --output jsonl

  Verify an index and everything it lists:
    hardsign verify --recursive registry.example.com/app@sha256:<digest>

  Verify, and require an attached SBOM by the same signer:
    hardsign verify --with-attached application/spdx+json --same-signer \\
      registry.example.com/app@sha256:<digest>

  Verify, and require proof that the signing key is in hardware:
    hardsign verify --require-hardware registry.example.com/app@sha256:<digest>

  Verify an artifact in an OCI layout with the policy statement for a scope:
    hardsign verify --oci-layout ./layout:v1 --scope local/app";

/// `hardsign verify`.
#[derive(Debug)]
pub(crate) struct VerifyArgs {
    /// References as typed; `-` stands for those listed on standard input.
    pub(crate) references: Vec<String>,
    pub(crate) selection: Selection,
    pub(crate) batch: Batch,
    pub(crate) max_signatures: NonZeroUsize,
    pub(crate) plugin_config: BTreeMap<String, String>,
    pub(crate) user_metadata: BTreeMap<String, String>,
    pub(crate) scope: Option<String>,
    /// `--with-attached`, each with `--same-signer`.
    pub(crate) attached: Vec<AttachedRule>,
    /// `--require-hardware`.
    pub(crate) require_hardware: bool,
    /// `--policy`.
    pub(crate) policy_file: Option<String>,
    pub(crate) output: Output,
    pub(crate) registry: Registry,
    pub(crate) deadline: Deadline,
}

pub(super) fn definition() -> Command {
    flags::verb("verify", "Verify artifacts", EXAMPLES)
        .arg(flags::max_signatures())
        .arg(flags::plugin_config("Setting to pass to the verification plugin (repeatable)"))
        .arg(flags::user_metadata("Metadata that must be in the signed payload (repeatable)"))
        .args(flags::registry())
        .arg(flags::oci_layout())
        .arg(flags::allow_referrers_api())
        .args(flags::selection())
        .args(batch::batch(
            "Also verify the artifacts listed in this file (- for standard input), one reference or JSON object per line",
        ))
        .arg(flags::value(
            "scope",
            "SCOPE",
            "Registry scope that selects the trust policy statement (with --oci-layout)",
        ))
        .args(attached_flags())
        .arg(flags::require_hardware())
        .arg(flags::deadline())
        .arg(flags::policy())
        .arg(batch::output())
        .arg(flags::positional(
            "reference...",
            "Artifacts: <registry>/<repository>@<digest>; - reads them from standard input",
        ))
}

/// The flags that demand attached artifacts.
pub(super) fn attached_flags() -> [Arg; 2] {
    [
        flags::list(
            "with-attached",
            "TYPE",
            "Require a signed attachment of this artifact type (repeatable)",
        ),
        flags::switch(
            "same-signer",
            "Require attached artifacts to share a signer with the artifact",
        ),
    ]
}

/// What [`attached_flags`] demand.
pub(super) fn attached(reader: &Reader<'_>) -> Result<Vec<AttachedRule>, Usage> {
    let same_signer = reader.switch("same-signer")?;
    let attached = reader
        .all("with-attached")
        .iter()
        .map(|text| {
            AttachedRule::new(text, same_signer).map_err(|error| {
                Usage::new(format!(
                    "invalid argument {text:?} for \"--with-attached\" flag: {error}"
                ))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if same_signer && attached.is_empty() {
        return Err(Usage::new("--same-signer needs --with-attached".to_owned()));
    }
    Ok(attached)
}

impl VerifyArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches, program: &str) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let references = reader.all("positional");
        let batch = Batch::read(&reader)?;
        if references.is_empty() && batch.from_file.is_none() {
            return Err(flags::missing_reference("verify", program));
        }
        batch.check_input(&references)?;
        reader.together(&["oci-layout", "scope"])?;
        let attached = attached(&reader)?;
        Ok(Self {
            references,
            selection: reader.selection()?,
            batch,
            max_signatures: reader.max_signatures()?,
            plugin_config: reader.pairs("plugin-config")?,
            user_metadata: reader.pairs("user-metadata")?,
            scope: reader.text("scope"),
            attached,
            require_hardware: reader.switch("require-hardware")?,
            policy_file: reader.text("policy"),
            output: batch::read_output(&reader)?,
            registry: Registry::read(&reader)?,
            deadline: reader.deadline(READING)?,
        })
    }
}
