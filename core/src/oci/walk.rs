//! Everything that an index lists, and the one artifact of an index that is for a platform.
//!
//! Signing an index signs only the index (OCI-20); whoever wants more walks it first.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use super::OciError;
use super::manifest::{self, Platform};
use super::storage::{Storage, parsed_manifest};
use crate::artifact::{Descriptor, Quoted};

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

/// The artifact for a platform in an index, nested indexes included.
///
/// # Errors
/// [`OciError::NotAnIndex`], [`OciError::NoPlatform`] with the platforms that there are, and
/// [`OciError::AmbiguousPlatform`] where several fit and none is the one named exactly.
pub async fn select_platform(
    storage: &impl Storage,
    index: &Descriptor,
    platform: &PlatformSelector,
) -> Result<Descriptor, OciError> {
    if !manifest::is_index(&index.media_type) {
        return Err(OciError::NotAnIndex {
            digest: index.digest.clone(),
        });
    }
    let mut fitting: Vec<(Descriptor, Platform)> = Vec::new();
    let mut available = Vec::new();
    let mut seen = HashSet::from([index.digest.clone()]);
    let mut queue = vec![index.clone()];
    while let Some(next) = queue.pop() {
        check_count(&seen)?;
        let (parsed, _) = parsed_manifest(storage, &next).await?;
        for entry in parsed.manifests {
            if !seen.insert(entry.descriptor.digest.clone()) {
                continue;
            }
            match entry.platform {
                Some(found) if platform.matches(&found) => fitting.push((entry.descriptor, found)),
                Some(found) => available.push(shown(&found)),
                None if manifest::is_index(&entry.descriptor.media_type) => {
                    queue.push(entry.descriptor);
                }
                None => {}
            }
        }
    }
    let exact = |(_, p): &&(Descriptor, Platform)| p.variant == platform.variant;
    let chosen = match fitting.as_slice() {
        [] => {
            return Err(OciError::NoPlatform {
                wanted: platform.to_string(),
                available,
            });
        }
        [(only, _)] => only,
        several => {
            let mut exact = several.iter().filter(exact);
            match (exact.next(), exact.next()) {
                (Some((one, _)), None) => one,
                _ => {
                    return Err(OciError::AmbiguousPlatform {
                        wanted: platform.to_string(),
                        available: several.iter().map(|(_, p)| shown(p)).collect(),
                    });
                }
            }
        }
    };
    Ok(Descriptor {
        annotations: Default::default(),
        ..chosen.clone()
    })
}

/// An artifact and, where it is an index, all that it lists, nested indexes too: each once, the
/// index before what it lists.
///
/// # Errors
/// Those of fetching, and [`OciError::TooManyManifests`].
pub async fn walk(storage: &impl Storage, root: &Descriptor) -> Result<Vec<Descriptor>, OciError> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut stack = vec![root.clone()];
    while let Some(mut next) = stack.pop() {
        if !seen.insert(next.digest.clone()) {
            continue;
        }
        check_count(&seen)?;
        next.annotations.clear();
        if manifest::is_index(&next.media_type) {
            let (parsed, _) = parsed_manifest(storage, &next).await?;
            stack.extend(parsed.manifests.into_iter().rev().map(|e| e.descriptor));
        }
        found.push(next);
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
