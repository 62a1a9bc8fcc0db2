//! `hardsign copy`: an artifact with all that is attached to it, between registries and layouts
//! (REQ-05, REQ-06).

use hardsign_core::artifact::reference::{
    LayoutReference, Reference, ReferenceError, RepositoryName, TagOrDigest,
};
use hardsign_core::budget::{Phase, during};
use hardsign_core::dirs::Dirs;
use hardsign_core::oci::copy::{Copied, CopyOptions, copy};
use hardsign_core::oci::layout::Layout;
use hardsign_core::oci::manifest::SIGNATURE_ARTIFACT_TYPE;
use hardsign_core::oci::registry::Access;
use hardsign_core::oci::{AnyRepository, OciError, Repository as _, SignatureSource as _};
use serde_json::json;

use super::Context;
use super::repository::{self, Target};
use crate::args::Output;
use crate::args::Registry as RegistryFlags;
use crate::args::copy::CopyArgs;
use crate::failure::Failure;
use crate::output::one_line;

/// Where to copy to.
struct Destination {
    place: AnyRepository,
    /// The tag, or the digest that the artifact must have. Nothing means the source's tag.
    target: Option<TagOrDigest>,
}

pub(super) fn run(args: &CopyArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let (source, destination) = ends(args, &dirs, context)?;
    let mut options = CopyOptions::default();
    options.referrers = args.referrers;
    let progress = context.console.spinner("copying");
    // How much there is to copy is not known, so that without a deadline the rate alone is bounded.
    let budget = args.deadline.given();
    let (copied, tag) = context.wait(budget.run(Phase::Copying, async {
        let resolve = source.place.resolve(&source.target);
        let artifact = during(Phase::Resolving, resolve).await?;
        let tag = match (&destination.target, &source.target) {
            (Some(TagOrDigest::Digest(given)), _) if *given != artifact.digest => {
                return Err(OciError::UserDigest {
                    given: given.clone(),
                    resolved: artifact.digest,
                }
                .into());
            }
            (Some(TagOrDigest::Tag(tag)), _) | (None, TagOrDigest::Tag(tag)) => Some(tag.clone()),
            _ => None,
        };
        // By digest from here on: the tag may move while the copy is under way (OCI-19).
        let by_digest = TagOrDigest::Digest(artifact.digest);
        let copied = copy(
            &source.place,
            &by_digest,
            &destination.place,
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
    let reference = |place: &AnyRepository| format!("{}@{}", place.name(), copied.artifact.digest);
    let (from, to) = (reference(&source.place), reference(&destination.place));
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
    let (signatures, others): (Vec<_>, Vec<_>) = copied
        .referrers
        .iter()
        .partition(|entry| entry.artifact_type.as_deref() == Some(SIGNATURE_ARTIFACT_TYPE));
    Ok(console.line(format_args!(
        "{} signatures, {} other attached artifacts; sent {} manifests and {} bytes, {} pieces were there already",
        signatures.len(),
        others.len(),
        copied.manifests,
        copied.bytes,
        copied.present
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
    let referrers: Vec<_> = copied
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
        .collect();
    Ok(context.console.json(&json!({
        "source": from,
        "reference": to,
        "tag": tag,
        "artifact": {"mediaType": artifact.media_type, "digest": artifact.digest, "size": artifact.size},
        "referrers": referrers,
        "sent": {"manifests": copied.manifests, "blobs": copied.blobs, "bytes": copied.bytes},
        "present": copied.present,
        "leftOut": copied.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))?)
}

/// A reference of either kind, read and not yet opened.
enum Named {
    Layout(std::path::PathBuf, Option<TagOrDigest>),
    Registry(RepositoryName, Option<TagOrDigest>),
}

impl Named {
    fn registry(&self, flags: &RegistryFlags) -> Option<&str> {
        match self {
            Self::Layout(..) => None,
            Self::Registry(name, _) => Some(repository::registry_name(name, flags)),
        }
    }
}

/// The two ends, each with its own way to its registry. One credential is not sent to two
/// registries: it belongs to one of them (REG-05).
fn ends(args: &CopyArgs, dirs: &Dirs, context: &Context) -> Result<(Target, Destination), Failure> {
    let source = full(&args.source, args.from_layout)?;
    let destination = open_ended(&args.destination, args.to_layout)?;
    let (mut from, mut to) = (args.registry.clone(), args.registry.clone());
    let registries = (
        source.registry(&args.registry),
        destination.registry(&args.registry),
    );
    if let (Some(one), Some(other)) = registries
        && one != other
        && args.from.is_none()
        && args.to.is_none()
        && args.registry.has_credential()
    {
        return Err(repository::two_registries(one, other)
            .hint("give --from-username and --from-password, or --to-username and --to-password"));
    }
    if let Some(own) = &args.from {
        (from.username, from.password) = own.clone();
    }
    if let Some(own) = &args.to {
        (to.username, to.password) = own.clone();
    }
    let source = match source {
        Named::Layout(path, target) => (Layout::open(path).map_err(OciError::from)?.into(), target),
        Named::Registry(name, target) => {
            let connector = repository::connector(&from, dirs, context)?;
            (connector.repository(name, Access::Read)?.into(), target)
        }
    };
    let source = Target {
        place: source.0,
        target: source
            .1
            .ok_or_else(|| Failure::failed("the source needs a tag or digest"))?,
    };
    let (place, target) = match destination {
        Named::Layout(path, target) => {
            let layout = Layout::open_or_create(path).map_err(OciError::from)?;
            (layout.into(), target)
        }
        Named::Registry(name, target) => {
            let connector = repository::connector(&to, dirs, context)?;
            (connector.repository(name, Access::Write)?.into(), target)
        }
    };
    Ok((source, Destination { place, target }))
}

/// A reference that names one artifact.
fn full(text: &str, layout: bool) -> Result<Named, Failure> {
    if layout {
        let LayoutReference { path, target } = repository::layout_reference(text)?;
        return Ok(Named::Layout(path, Some(target)));
    }
    let Reference { repository, target } = text
        .parse()
        .map_err(|error: ReferenceError| Failure::error(error))?;
    Ok(Named::Registry(repository, Some(target)))
}

/// A reference that may stop at the repository or directory.
fn open_ended(text: &str, layout: bool) -> Result<Named, Failure> {
    let name = text.rsplit('/').next().unwrap_or(text);
    // Directories may have an @ in their names; a digest has a colon.
    if name.contains(':') || !layout && name.contains('@') {
        return full(text, layout);
    }
    if layout {
        return Ok(Named::Layout(text.into(), None));
    }
    let repository = text
        .parse()
        .map_err(|error: ReferenceError| Failure::error(error))?;
    Ok(Named::Registry(repository, None))
}
