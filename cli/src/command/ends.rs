//! From where to where an artifact is copied: two places, each with its own way to its registry.

use std::path::PathBuf;
use std::sync::Arc;

use hardsign_core::artifact::Descriptor;
use hardsign_core::artifact::reference::{
    LayoutReference, Reference, ReferenceError, RepositoryName, TagOrDigest,
};
use hardsign_core::dirs::Dirs;
use hardsign_core::oci::layout::Layout;
use hardsign_core::oci::registry::Access;
use hardsign_core::oci::{OciError, Repository};

use super::Context;
use super::repository::{self, Target};
use crate::args::Registry as RegistryFlags;
use crate::args::copy::Ends as Typed;
use crate::failure::Failure;

/// Both ends as they were named; nothing is opened yet.
pub(super) struct Ends {
    source: Named,
    destination: Named,
    from: RegistryFlags,
    to: RegistryFlags,
}

/// A reference of either kind, read and not yet opened.
enum Named {
    Layout(PathBuf, Option<TagOrDigest>),
    Registry(RepositoryName, Option<TagOrDigest>),
}

impl Named {
    fn target(&self) -> Option<&TagOrDigest> {
        match self {
            Self::Layout(_, target) | Self::Registry(_, target) => target.as_ref(),
        }
    }

    fn registry(&self, flags: &RegistryFlags) -> Option<&str> {
        match self {
            Self::Layout(..) => None,
            Self::Registry(name, _) => Some(repository::registry_name(name, flags)),
        }
    }
}

impl Ends {
    /// One credential is not sent to two registries: it belongs to one of them (REG-05).
    pub(super) fn new(typed: &Typed) -> Result<Self, Failure> {
        let source = full(&typed.source, typed.from_layout)?;
        let destination = open_ended(&typed.destination, typed.to_layout)?;
        let (mut from, mut to) = (typed.registry.clone(), typed.registry.clone());
        let registries = (
            source.registry(&typed.registry),
            destination.registry(&typed.registry),
        );
        if let (Some(one), Some(other)) = registries
            && one != other
            && typed.from.is_none()
            && typed.to.is_none()
            && typed.registry.has_credential()
        {
            return Err(repository::two_registries(one, other).hint(
                "give --from-username and --from-password, or --to-username and --to-password",
            ));
        }
        if let Some(own) = &typed.from {
            (from.username, from.password) = own.clone();
        }
        if let Some(own) = &typed.to {
            (to.username, to.password) = own.clone();
        }
        Ok(Self {
            source,
            destination,
            from,
            to,
        })
    }

    /// Where the artifact is.
    pub(super) fn source(&self, dirs: &Dirs, context: &Context) -> Result<Target, Failure> {
        let place: Arc<dyn Repository> = match &self.source {
            Named::Layout(path, _) => Arc::new(Layout::open(path).map_err(OciError::from)?),
            Named::Registry(name, _) => {
                let connector = repository::connector(&self.from, dirs, context)?;
                Arc::new(connector.repository(name.clone(), Access::Read)?)
            }
        };
        let target = self.source.target().cloned();
        Ok(Target {
            place,
            target: target.ok_or_else(|| Failure::failed("the source needs a tag or digest"))?,
        })
    }

    /// The flags by which other commands reach the source.
    pub(super) fn source_words(&self) -> Vec<String> {
        let oci_layout = matches!(self.source, Named::Layout(..));
        let from = RegistryFlags {
            oci_layout,
            ..self.from.clone()
        };
        from.words()
    }

    /// Where it goes; a layout is made now if there is none.
    pub(super) fn destination(
        &self,
        dirs: &Dirs,
        context: &Context,
    ) -> Result<Arc<dyn Repository>, Failure> {
        Ok(match &self.destination {
            Named::Layout(path, _) => {
                Arc::new(Layout::open_or_create(path).map_err(OciError::from)?)
            }
            Named::Registry(name, _) => {
                let connector = repository::connector(&self.to, dirs, context)?;
                Arc::new(connector.repository(name.clone(), Access::Write)?)
            }
        })
    }

    /// The layout that the destination is to be, where there is none yet.
    pub(super) fn is_new_layout(&self) -> bool {
        matches!(&self.destination, Named::Layout(path, _) if !path.join("oci-layout").exists())
    }

    /// The tag that the artifact gets at the destination: the one given, else that of the source.
    /// A digest given there must be the artifact's.
    pub(super) fn tag(&self, artifact: &Descriptor) -> Result<Option<String>, OciError> {
        match (self.destination.target(), self.source.target()) {
            (Some(TagOrDigest::Digest(given)), _) if *given != artifact.digest => {
                Err(OciError::UserDigest {
                    given: given.clone(),
                    resolved: artifact.digest.clone(),
                })
            }
            (Some(TagOrDigest::Tag(tag)), _) | (None, Some(TagOrDigest::Tag(tag))) => {
                Ok(Some(tag.clone()))
            }
            _ => Ok(None),
        }
    }
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
