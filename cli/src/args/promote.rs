//! `hardsign promote`: flags and their rules.

use std::num::NonZeroUsize;

use hardsign_core::policy::hardsign::AttachedRule;

use super::copy::Ends;
use super::flags::{self, Reader};
use super::sign::{Signing, signing_flags};
use super::verify::{attached, attached_flags};
use super::{ArgMatches, BTreeMap, Command, Usage};

const EXAMPLES: &str = "\
Examples:
  Accept a vendor's image: verify it, copy it with its attachments, and sign it:
    hardsign promote --key release vendor.example.com/app:v1 \\
      registry.example.com/vendor/app

  Require an SBOM that the vendor signed as well:
    hardsign promote --key release --with-attached application/spdx+json \\
      --same-signer vendor.example.com/app@sha256:<digest> \\
      registry.example.com/vendor/app:v1

  Promote from staging to production, each with its own login:
    hardsign promote --key production --from-username ci \\
      --from-password \"$STAGING\" --to-username ci --to-password \"$PRODUCTION\" \\
      staging.example.com/app:v1 production.example.com/app

  Promote from an OCI layout, with the trust policy statement for a scope:
    hardsign promote --key release --from-oci-layout \\
      --scope vendor.example.com/app ./layout:v1 registry.example.com/vendor/app";

/// `hardsign promote`.
#[derive(Debug)]
pub(crate) struct PromoteArgs {
    pub(crate) ends: Ends,
    /// The repository whose statement holds, in place of the source's.
    pub(crate) scope: Option<String>,
    /// `--with-attached`, each with `--same-signer`.
    pub(crate) attached: Vec<AttachedRule>,
    /// `--require-hardware`.
    pub(crate) require_hardware: bool,
    /// `--policy`.
    pub(crate) policy_file: Option<String>,
    pub(crate) max_signatures: NonZeroUsize,
    /// `--verify-plugin-config`, for a verification plugin that the source's signature names.
    pub(crate) plugin_config: BTreeMap<String, String>,
    /// `--verify-user-metadata`, which the source's signature must have.
    pub(crate) user_metadata: BTreeMap<String, String>,
    pub(crate) signing: Signing,
}

pub(super) fn definition() -> Command {
    let about = "Verify artifacts, copy them and sign the copies";
    let command = flags::verb("promote", about, EXAMPLES)
        .args(Ends::flags())
        .arg(flags::value(
            "scope",
            "SCOPE",
            "Registry scope that selects the trust policy statement (with --from-oci-layout)",
        ))
        .args(attached_flags())
        .arg(flags::require_hardware())
        .arg(flags::policy())
        .arg(flags::max_signatures())
        .arg(flags::list(
            "verify-plugin-config",
            "KEY=VALUE",
            "Setting to pass to the verification plugin (repeatable)",
        ))
        .arg(flags::list(
            "verify-user-metadata",
            "KEY=VALUE",
            "Metadata that must be in the payload of the verified signature (repeatable)",
        ));
    signing_flags(command)
        .mut_arg("output", |output| {
            output.help("Output format: text or json")
        })
        .args(flags::registry())
        .arg(flags::switch(
            "force-referrers-tag",
            "List attachments in the referrers tag schema instead of the referrers API",
        ))
        .arg(Ends::positional())
}

impl PromoteArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        let reader = Reader(matches);
        let ends = Ends::read(&reader, "promote")?;
        reader.together(&["from-oci-layout", "scope"])?;
        Ok(Self {
            ends,
            scope: reader.text("scope"),
            attached: attached(&reader)?,
            require_hardware: reader.switch("require-hardware")?,
            policy_file: reader.text("policy"),
            max_signatures: reader.max_signatures()?,
            plugin_config: reader.pairs("verify-plugin-config")?,
            user_metadata: reader.pairs("verify-user-metadata")?,
            signing: Signing {
                output: reader.output()?,
                ..Signing::read(&reader)?
            },
        })
    }
}
