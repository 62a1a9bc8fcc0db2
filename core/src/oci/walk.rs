//! Everything that an index lists, and the one artifact of an index that is for a platform.
//!
//! Signing an index signs only the index; whoever wants more walks it first.

// Requirements: OCI-20.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use super::content::parsed_manifest;
use super::manifest::{self, Platform};
use super::{OciError, Repository};
use crate::artifact::{Descriptor, Digest, Quoted};

/// Most manifests that are visited.
pub const MAX_MANIFESTS: usize = 10_000;

/// A platform as a user writes it: `os/arch[/variant][:os.version]`, for example `linux/arm64/v8`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlatformSelector {
    os: String,
    architecture: String,
    variant: Option<String>,
    os_version: Option<String>,
}

/// A text that names no platform.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{} is not a platform. Expecting os/arch, os/arch/variant or os/arch/variant:os.version", Quoted(.0))]
pub struct PlatformError(pub String);

impl FromStr for PlatformSelector {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let fail = || PlatformError(text.to_owned());
        let (name, version) = match text.split_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let mut parts = name.split('/');
        let mut part = || parts.next();
        let (os, architecture, variant) = (part(), part(), part());
        let good = |p: Option<&str>| p.filter(|p| !p.is_empty()).map(str::to_owned);
        let selector = Self {
            os: good(os).ok_or_else(fail)?,
            architecture: good(architecture).ok_or_else(fail)?,
            variant: good(variant),
            os_version: good(version),
        };
        if part().is_some() || variant == Some("") || version == Some("") {
            return Err(fail());
        }
        Ok(selector)
    }
}

impl fmt::Display for PlatformSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        match &self.os_version {
            Some(version) => write!(f, ":{version}"),
            None => Ok(()),
        }
    }
}

impl PlatformSelector {
    /// Whether a platform is the one meant: what the user left out may be anything.
    pub fn matches(&self, platform: &Platform) -> bool {
        let same =
            |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        self.os == platform.os
            && self.architecture == platform.architecture
            && same(&self.variant, &platform.variant)
            && same(&self.os_version, &platform.os_version)
    }
}

/// The artifact for a platform in an index, nested indexes included, read and compared with what
/// the index says of it.
///
/// # Errors
/// [`OciError::NotAnIndex`], [`OciError::Child`], [`OciError::NoPlatform`] with the platforms that there are, and
/// [`OciError::AmbiguousPlatform`] where several fit and none is the one named exactly.
// OCI-14
pub async fn select_platform(
    repository: &dyn Repository,
    index: &Descriptor,
    platform: &PlatformSelector,
) -> Result<Descriptor, OciError> {
    if !manifest::is_index(&index.media_type) {
        return Err(OciError::NotAnIndex {
            digest: index.digest.clone(),
        });
    }
    let mut fitting: Vec<Fitting> = Vec::new();
    let mut available = Vec::new();
    let mut seen = HashSet::from([index.digest.clone()]);
    let mut queue = vec![(index.clone(), None)];
    while let Some((next, parent)) = queue.pop() {
        check_count(&seen)?;
        let read = parsed_manifest(repository, &next).await;
        let (parsed, _) = read.map_err(|error| match &parent {
            Some(parent) => of_child(parent, &next.digest, error),
            None => error,
        })?;
        for entry in parsed.manifests {
            if !seen.insert(entry.descriptor.digest.clone()) {
                continue;
            }
            match entry.platform {
                Some(found) if platform.matches(&found) => fitting.push(Fitting {
                    artifact: entry.descriptor,
                    platform: found,
                    index: next.digest.clone(),
                }),
                Some(found) => available.push(shown(&found)),
                None if manifest::is_index(&entry.descriptor.media_type) => {
                    queue.push((entry.descriptor, Some(next.digest.clone())));
                }
                None => {}
            }
        }
    }
    let exact = |f: &&Fitting| f.platform.variant == platform.variant;
    let chosen = match fitting.as_slice() {
        [] => {
            return Err(OciError::NoPlatform {
                wanted: platform.to_string(),
                available,
            });
        }
        [only] => only,
        several => {
            let mut exact = several.iter().filter(exact);
            match (exact.next(), exact.next()) {
                (Some(one), None) => one,
                _ => {
                    return Err(OciError::AmbiguousPlatform {
                        wanted: platform.to_string(),
                        available: several.iter().map(|f| shown(&f.platform)).collect(),
                    });
                }
            }
        }
    };
    let artifact = Descriptor {
        annotations: Default::default(),
        ..chosen.artifact.clone()
    };
    read_child(repository, &chosen.index, &artifact).await?;
    Ok(artifact)
}

/// An artifact that is for the platform.
struct Fitting {
    artifact: Descriptor,
    platform: Platform,
    index: Digest,
}

/// An artifact that an index leads to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Walked {
    /// The artifact, as the index describes it. Only an index among them has been fetched.
    pub artifact: Descriptor,
    /// The index that lists it; none for the one that the walk began with.
    pub index: Option<Digest>,
    /// Why it can't be used, where that is known already.
    pub fault: Option<OciError>,
}

impl Walked {
    /// The artifact, after its manifest was fetched and compared with what the index says of it:
    /// what is signed or verified must have been read, and not be the index's word.
    ///
    /// # Errors
    /// [`OciError::Child`], which names the index and the artifact.
    // OCI-14
    pub async fn read(self, repository: &dyn Repository) -> Result<Descriptor, OciError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if let Some(index) = self.index {
            read_child(repository, &index, &self.artifact).await?;
        }
        Ok(self.artifact)
    }
}

async fn read_child(
    repository: &dyn Repository,
    index: &Digest,
    child: &Descriptor,
) -> Result<(), OciError> {
    let read = repository.read_child(child).await;
    read.map_err(|source| of_child(index, &child.digest, source))
}

fn of_child(index: &Digest, child: &Digest, source: OciError) -> OciError {
    OciError::Child {
        index: index.clone(),
        child: child.clone(),
        source: Box::new(source),
    }
}

/// An artifact and, where it is an index, all that it lists, nested indexes too: each once, the
/// index before what it lists. Of what an index lists, [`Walked::read`] finds out whether it is
/// there and what it is said to be.
///
/// # Errors
/// Those of fetching the index itself, those of a registry that does not answer, and
/// [`OciError::TooManyManifests`].
pub async fn walk(repository: &dyn Repository, root: &Descriptor) -> Result<Vec<Walked>, OciError> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut stack = vec![(root.clone(), None)];
    while let Some((mut next, index)) = stack.pop() {
        if !seen.insert(next.digest.clone()) {
            continue;
        }
        check_count(&seen)?;
        next.annotations.clear();
        let mut fault = None;
        if manifest::is_index(&next.media_type) {
            match (parsed_manifest(repository, &next).await, &index) {
                (Ok((parsed, _)), _) => {
                    let here = &next.digest;
                    let listed = parsed.manifests.into_iter().rev();
                    stack.extend(listed.map(|e| (e.descriptor, Some(here.clone()))));
                }
                // One that is wrong is told of in its turn, and keeps none of the others back.
                (Err(error), Some(index)) if error.is_about_content() => {
                    fault = Some(of_child(index, &next.digest, error));
                }
                (Err(error), _) => return Err(error),
            }
        }
        found.push(Walked {
            artifact: next,
            index,
            fault,
        });
    }
    Ok(found)
}

fn check_count<T>(seen: &HashSet<T>) -> Result<(), OciError> {
    if seen.len() > MAX_MANIFESTS {
        return Err(OciError::TooManyManifests {
            limit: MAX_MANIFESTS,
        });
    }
    Ok(())
}

fn shown(platform: &Platform) -> String {
    let variant = platform.variant.as_ref();
    let variant = variant.map(|v| format!("/{v}")).unwrap_or_default();
    format!("{}/{}{variant}", platform.os, platform.architecture)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        Platform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: None,
        }
    }

    #[test]
    fn selectors() {
        for (text, good) in [
            ("linux/arm64", true),
            ("linux/arm64/v8", true),
            ("windows/amd64:10.0.1", true),
            ("linux", false),
            ("linux/", false),
            ("/arm64", false),
            ("linux/arm64/", false),
            ("linux/arm64/v8/x", false),
            ("linux/arm64:", false),
            ("", false),
        ] {
            let parsed = text.parse::<PlatformSelector>();
            assert_eq!(parsed.is_ok(), good, "{text}");
            if let Ok(parsed) = parsed {
                assert_eq!(parsed.to_string(), text);
            }
        }
    }

    #[test]
    fn what_is_left_out_may_be_anything() {
        let selector: PlatformSelector = "linux/arm64".parse().unwrap();
        assert!(selector.matches(&platform("linux", "arm64", Some("v8"))));
        assert!(!selector.matches(&platform("linux", "amd64", None)));
        let selector: PlatformSelector = "linux/arm64/v8".parse().unwrap();
        assert!(!selector.matches(&platform("linux", "arm64", None)));
    }
}
