//! `hardsign inspect` (CLI-46 to CLI-58): shows signatures without verifying trust.

use std::ops::ControlFlow;

use hardsign_core::artifact::Descriptor;
use hardsign_core::batch;
use hardsign_core::budget::{self, Phase, during};
use hardsign_core::envelope::{Envelope, EnvelopeError, Format, Unverified};
use hardsign_core::oci::registry::Access;
use hardsign_core::oci::{FetchedSignature, OciError};
use hardsign_core::text::WithCauses;
use serde_json::json;

use super::Context;
use super::repository::Opener;
use crate::args::Output;
use crate::args::inspect::InspectArgs;
use crate::failure::Failure;
use crate::output::signature;
use crate::output::tree::Node;

/// A signature that can be shown, or why not.
enum Inspected {
    Shown(Descriptor, Format, Box<Unverified>),
    Unfetchable(Descriptor, OciError),
    Unreadable(Descriptor, EnvelopeError),
}

pub(super) fn run(args: InspectArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let target =
        Opener::new(&args.registry, Access::Read, &dirs, context)?.open(&args.reference)?;
    let console = &context.console;
    let budget = args.deadline.budget();
    context.wait_for_one(budget.run(Phase::Fetching, async {
        let artifact = during(Phase::Resolving, target.resolve("inspect", context)).await?;
        let list = target.place.list_signatures(&artifact, args.max_signatures);
        let listing = during(Phase::Listing, list).await?;
        for warning in &listing.warnings {
            console.warning(warning);
        }
        let mut shown = Vec::new();
        let mut skipped = false;
        let fetch = async |manifest: Descriptor| match target.place.fetch_signature(&manifest).await {
            Ok(fetched) => parse(manifest, &fetched),
            Err(error) => Inspected::Unfetchable(manifest, error),
        };
        batch::in_order(listing.signatures, IN_FLIGHT, fetch, |inspected| {
            match inspected {
                Inspected::Shown(manifest, format, content) => shown.push((manifest, format, content)),
                Inspected::Unfetchable(manifest, error) => {
                    skipped = true;
                    console.warning(format_args!(
                        "unable to fetch signature {} due to error: {}",
                        manifest.digest,
                        WithCauses(&error)
                    ));
                }
                Inspected::Unreadable(manifest, error) => {
                    skipped = true;
                    console.warning(format_args!(
                        "Skipping signature {} because of error: {}",
                        manifest.digest,
                        WithCauses(&error)
                    ));
                }
            }
            ControlFlow::Continue(())
        })
        .await;
        budget::check()?;
        let reference = format!("{}@{}", target.place.name(), artifact.digest);
        match args.output {
            Output::Json => console.json(&json!({
                "mediaType": artifact.media_type,
                "signatures": shown
                    .iter()
                    .map(|(m, format, s)| signature::json(Some(&m.digest), *format, s.danger_content()))
                    .collect::<Vec<_>>(),
            }))?,
            Output::Text if shown.is_empty() => {
                console.line(format_args!("{reference} has no associated signature"))?;
            }
            Output::Text => {
                console.line("Inspecting all signatures for signed artifact")?;
                let mut root = Node::new(&reference);
                let signatures = root.add("application/vnd.cncf.notary.signature");
                for (manifest, format, content) in &shown {
                    let name = manifest.digest.to_string();
                    signature::tree(signatures, &name, *format, content.danger_content());
                }
                console.bytes(root.render().as_bytes())?;
            }
        }
        if listing.truncated {
            console.warning(format_args!(
                "exceeded configured limit of max signatures {} to examine",
                args.max_signatures
            ));
        }
        if skipped {
            return Err(Failure::failed("at least one signature was skipped and not displayed"));
        }
        Ok(())
    }))
}

fn parse(manifest: Descriptor, fetched: &FetchedSignature) -> Inspected {
    let parsed =
        Envelope::parse(fetched.format, &fetched.envelope).and_then(Envelope::danger_unverified);
    match parsed {
        Ok(content) => Inspected::Shown(manifest, fetched.format, Box::new(content)),
        Err(error) => Inspected::Unreadable(manifest, error),
    }
}

/// Signatures fetched at a time.
const IN_FLIGHT: usize = 4;
