//! `hardsign copy`: an artifact with all that is attached to it, between registries and layouts
//! (REQ-05, REQ-06).

use hardsign_core::artifact::reference::TagOrDigest;
use hardsign_core::budget::{Phase, during};
use hardsign_core::oci::Repository;
use hardsign_core::oci::copy::{Copied, CopyOptions, copy};
use hardsign_core::oci::manifest::SIGNATURE_ARTIFACT_TYPE;

use hardsign_plugin::text::plural;
use serde_json::{Value, json};

use super::Context;
use super::ends::Ends;
use crate::args::Output;
use crate::args::copy::CopyArgs;
use crate::failure::Failure;
use crate::output::{json, one_line};

pub(super) fn run(args: &CopyArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let ends = Ends::new(&args.ends)?;
    let source = ends.source(&dirs, context)?;
    let destination = ends.destination(&dirs, context)?;
    let mut options = CopyOptions::default();
    options.referrers = args.referrers;
    let progress = context.console.spinner("copying");
    // How much there is to copy is not known, so that without a deadline the rate alone is bounded.
    let budget = args.deadline.given();
    let (copied, tag) = context.wait(budget.run(Phase::Copying, async {
        let resolve = source.place.resolve(&source.target);
        let artifact = during(Phase::Resolving, resolve).await?;
        let tag = ends.tag(&artifact)?;
        // By digest from here on: the tag may move while the copy is under way (OCI-19).
        let by_digest = TagOrDigest::Digest(artifact.digest);
        let copied = copy(
            &*source.place,
            &by_digest,
            &*destination,
            tag.as_deref(),
            &options,
        )
        .await?;
        Ok::<_, Failure>((copied, tag))
    }))?;
    drop(progress);
    for warning in &copied.warnings {
        context.console.warning(warning);
    }
    let reference = |place: &dyn Repository| format!("{}@{}", place.name(), copied.artifact.digest);
    let (from, to) = (reference(&*source.place), reference(&*destination));
    match args.output {
        Output::Text => text(&copied, &from, &to, tag.as_deref(), context),
        Output::Json => document(&copied, &from, &to, tag.as_deref(), context),
    }
}

fn text(
    copied: &Copied,
    from: &str,
    to: &str,
    tag: Option<&str>,
    context: &Context,
) -> Result<(), Failure> {
    let console = &context.console;
    console.line(format_args!(
        "Successfully copied {} to {}",
        one_line(from),
        one_line(to)
    ))?;
    if let Some(tag) = tag {
        console.line(format_args!("Tagged {tag}"))?;
    }
    count(copied, context)
}

/// How much was copied.
pub(super) fn count(copied: &Copied, context: &Context) -> Result<(), Failure> {
    let (signatures, others): (Vec<_>, Vec<_>) = copied
        .referrers
        .iter()
        .partition(|entry| entry.artifact_type.as_deref() == Some(SIGNATURE_ARTIFACT_TYPE));
    Ok(context.console.line(format_args!(
        "{}, {}; sent {} and {}; {} already there",
        plural(signatures.len(), "signature"),
        plural(others.len(), "other attached artifact"),
        plural(copied.manifests, "manifest"),
        plural(copied.bytes, "byte"),
        plural(copied.present, "piece")
    ))?)
}

fn document(
    copied: &Copied,
    from: &str,
    to: &str,
    tag: Option<&str>,
    context: &Context,
) -> Result<(), Failure> {
    let artifact = &copied.artifact;
    Ok(context.console.json(&json!({
        "source": from,
        "reference": to,
        "tag": tag,
        "artifact": json::descriptor(artifact),
        "referrers": referrers(copied),
        "sent": sent(copied),
        "present": copied.present,
        "leftOut": left_out(copied),
    }))?)
}

/// The signatures and other attached artifacts that came along.
pub(super) fn referrers(copied: &Copied) -> Vec<Value> {
    copied
        .referrers
        .iter()
        .map(|entry| {
            json!({
                "mediaType": entry.descriptor.media_type,
                "digest": entry.descriptor.digest,
                "size": entry.descriptor.size,
                "artifactType": entry.artifact_type,
            })
        })
        .collect()
}

pub(super) fn sent(copied: &Copied) -> Value {
    json!({"manifests": copied.manifests, "blobs": copied.blobs, "bytes": copied.bytes})
}

pub(super) fn left_out(copied: &Copied) -> Vec<String> {
    copied.warnings.iter().map(ToString::to_string).collect()
}
