//! `hardsign list` (CLI-43 to CLI-45).

use hardsign_core::budget::{Phase, during};
use hardsign_core::oci::registry::Access;
use serde_json::json;

use super::Context;
use super::repository::Opener;
use crate::args::Output;
use crate::args::list::ListArgs;
use crate::failure::Failure;
use crate::output::{json, one_line};

pub(super) fn run(args: ListArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let target =
        Opener::new(&args.registry, Access::Read, &dirs, context)?.open(&args.reference)?;
    let list = async {
        let artifact = target.resolve("list", context);
        let artifact = during(Phase::Resolving, artifact).await?;
        let listing = target
            .place
            .list_signatures(&artifact, args.max_signatures)
            .await?;
        Ok::<_, Failure>((artifact, listing))
    };
    let budget = args.deadline.budget();
    let (artifact, listing) = context.wait_for_one(budget.run(Phase::Listing, list))?;
    let console = &context.console;
    for warning in &listing.warnings {
        console.warning(warning);
    }
    if listing.truncated {
        console.warning(format_args!(
            "exceeded configured limit of max signatures {} to examine",
            args.max_signatures
        ));
    }
    let reference = format!("{}@{}", target.place.name(), artifact.digest);
    if args.output == Output::Json {
        let signatures: Vec<_> = listing.signatures.iter().map(json::descriptor).collect();
        return Ok(console.json(&json!({
            "reference": reference,
            "artifact": json::descriptor(&artifact),
            "signatures": signatures,
            "truncated": listing.truncated,
        }))?);
    }
    let reference = one_line(&reference);
    let Some((last, others)) = listing.signatures.split_last() else {
        return Ok(console.line(format_args!("{reference} has no associated signatures"))?);
    };
    console.line(reference)?;
    console.line("└── application/vnd.cncf.notary.signature")?;
    for signature in others {
        console.line(format_args!("    ├── {}", signature.digest))?;
    }
    Ok(console.line(format_args!("    └── {}", last.digest))?)
}
