//! `hardsign delete`: deletes signatures of an artifact by digest, and nothing that is none.

use hardsign_core::artifact::Digest;
use hardsign_core::budget::{Phase, during};
use hardsign_core::oci::OciError;
use hardsign_core::oci::registry::Access;
use serde_json::json;

use super::repository::Opener;
use super::{Context, Unanswered};
use crate::args::Output;
use crate::args::delete::DeleteArgs;
use crate::failure::Failure;
use crate::output::{json, one_line};

pub(super) fn run(args: DeleteArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let console = &context.console;
    let target =
        Opener::new(&args.registry, Access::Write, &dirs, context)?.open(&args.reference)?;
    let find = async {
        let artifact = target.resolve("delete", context);
        let artifact = during(Phase::Resolving, artifact).await?;
        let listing = target
            .place
            .list_signatures(&artifact, MAX_SIGNATURES)
            .await?;
        Ok::<_, Failure>((artifact, listing))
    };
    let budget = args.deadline.budget();
    let (artifact, listing) = context.wait(budget.run(Phase::Listing, find))?;
    let reference = format!("{}@{}", target.place.name(), artifact.digest);
    // All or nothing: what is not a signature of this artifact stops before the first deletion.
    for signature in &args.signatures {
        if !listing.signatures.iter().any(|s| s.digest == *signature) {
            return Err(Failure::failed(format!(
                "{} has no signature {signature}",
                one_line(&reference)
            ))
            .hint("`hardsign list <reference>` lists the digests of an artifact's signatures"));
        }
    }
    let question = match args.signatures.as_slice() {
        [one] => format!(
            "Are you sure you want to delete the signature {one} of {}?",
            one_line(&reference)
        ),
        several => format!(
            "Are you sure you want to delete {} signatures of {}?",
            several.len(),
            one_line(&reference)
        ),
    };
    let unanswered = Unanswered::new("no signature was deleted", "--yes");
    if !context.confirm(&question, args.yes, &unanswered)? {
        return Ok(());
    }
    let mut deleted: Vec<&Digest> = Vec::new();
    let mut failed = Vec::new();
    for signature in &args.signatures {
        if deleted.contains(&signature) {
            continue;
        }
        let delete = target.place.delete_signature(&artifact, signature);
        let budget = args.deadline.budget();
        let delete = budget.run(Phase::Deleting, delete);
        let result = context.wait(async { Ok::<_, Failure>(delete.await) })?;
        match result {
            Ok(warnings) => {
                for warning in warnings {
                    console.warning(warning);
                }
                deleted.push(signature);
                if args.output == Output::Text {
                    console.line(format_args!(
                        "Successfully deleted signature {}@{signature}",
                        one_line(&target.place.name())
                    ))?;
                }
            }
            Err(error) => failed.push(refused(error, signature)),
        }
    }
    if args.output == Output::Json {
        console.json(&json!({
            "reference": reference,
            "artifact": json::descriptor(&artifact),
            "deleted": deleted,
        }))?;
    }
    Failure::all(failed).map_or(Ok(()), Err)
}

fn refused(error: OciError, signature: &Digest) -> Failure {
    let unsupported = crate::failure::registry::status(&error) == Some(405);
    let failure = Failure::from(error).about(&format!("failed to delete signature {signature}"));
    if unsupported {
        failure.hint("the registry does not allow deletion: ask its operator")
    } else {
        failure
    }
}

/// Most signatures of one artifact that are looked through.
const MAX_SIGNATURES: usize = 10_000;
