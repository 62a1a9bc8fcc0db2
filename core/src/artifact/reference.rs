//! The text by which a user names an artifact: in a registry
//! (`<registry>/<repository>:<tag>` or `@<digest>`) or in an OCI layout
//! directory (`<path>:<tag>` or `<path>@<digest>`).
//!
//! The grammar of names and tags is that of the OCI distribution specification ("Pulling
//! manifests"), with the wider repository names of Docker. No default registry and no default tag
//! is ever added. Nothing is looked up here.

// Requirements: REQ-07, OCI-15 and OCI-16, OCI-34.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::quote::Quoted;
use super::{Digest, DigestError};
use crate::algorithm::HashAlgorithm;

mod registry;

pub use registry::{api_host, is_registry, normal_registry, over_https, registry_of_address};

/// What a reference points at inside a repository or layout.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum TagOrDigest {
    /// A name that can be moved.
    Tag(String),
    /// The content itself.
    Digest(Digest),
}

/// `<registry>[:<port>]/<repository>`: where artifacts are, without naming one. However the registry
/// was spelt, equal values name the same one.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RepositoryName {
    registry: String,
    repository: String,
}

/// An artifact in a registry.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Reference {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag or digest in it.
    pub target: TagOrDigest,
}

/// An artifact in an OCI layout directory.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LayoutReference {
    /// The directory, as the user wrote it.
    pub path: PathBuf,
    /// The tag or digest in it.
    pub target: TagOrDigest,
}

/// A text that names no artifact in a registry.
// OCI-16
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{}: invalid reference: {fault}. Expecting <registry>/<repository>:<tag> or <registry>/<repository>@<digest>",
    Quoted(reference)
)]
#[non_exhaustive]
pub struct ReferenceError {
    /// What the user wrote.
    pub reference: String,
    /// What is wrong with it.
    pub fault: ReferenceFault,
}

/// A text that names no artifact in an OCI layout.
// OCI-34
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{}: invalid reference: {fault}. Expecting <file_path>:<tag> or <file_path>@<digest>",
    Quoted(reference)
)]
#[non_exhaustive]
pub struct LayoutReferenceError {
    /// What the user wrote.
    pub reference: String,
    /// What is wrong with it.
    pub fault: ReferenceFault,
}

/// The fault in a reference.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceFault {
    /// No slash between a registry and a repository.
    #[error("missing registry or repository")]
    MissingRepository,
    /// Not `<host>[:<port>]`.
    #[error("invalid registry {}", Quoted(.0))]
    Registry(String),
    /// Not a repository name.
    #[error("invalid repository {}", Quoted(.0))]
    Repository(String),
    /// Not a tag.
    #[error("invalid tag {}", Quoted(.0))]
    Tag(String),
    /// Not a digest.
    #[error("invalid digest {}: {error}", Quoted(digest))]
    Digest {
        /// What stands after the `@`.
        digest: String,
        /// Why it is none.
        error: DigestError,
    },
    /// A repository alone.
    #[error("no tag or digest")]
    NoTarget,
    /// A layout's path alone.
    #[error("missing tag or digest")]
    MissingTarget,
    /// A tag or digest without a layout's path.
    #[error("missing oci-layout file path")]
    MissingPath,
}

impl RepositoryName {
    /// Checks both parts.
    ///
    /// # Errors
    /// The first part that does not follow the grammar.
    pub fn new(registry: &str, repository: &str) -> Result<Self, ReferenceFault> {
        let Some(normal) = normal_registry(registry) else {
            return Err(ReferenceFault::Registry(registry.to_owned()));
        };
        if !is_repository(repository) {
            return Err(ReferenceFault::Repository(repository.to_owned()));
        }
        Ok(Self {
            registry: normal,
            repository: repository.to_owned(),
        })
    }

    /// `<host>[:<port>]` in its one form ([`normal_registry`]).
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository inside the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// `<host>[:<port>]` to connect to: Docker Hub's API is not at the name that users write.
    // REG-08
    pub fn api_host(&self) -> &str {
        api_host(&self.registry)
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)
    }
}

impl FromStr for RepositoryName {
    type Err = ReferenceError;

    /// Reads `<registry>/<repository>` without tag and digest.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let parse = || {
            let (registry, repository) = text
                .split_once('/')
                .ok_or(ReferenceFault::MissingRepository)?;
            Self::new(registry, repository)
        };
        parse().map_err(|fault| ReferenceError {
            reference: text.to_owned(),
            fault,
        })
    }
}

impl Reference {
    fn parse(text: &str) -> Result<Self, ReferenceFault> {
        let (registry, path) = text
            .split_once('/')
            .ok_or(ReferenceFault::MissingRepository)?;
        // `name:tag@digest` means the digest; the tag is dropped unread.
        let (repository, digest, tag) = match path.split_once('@') {
            Some((name, digest)) => {
                let repository = name.split_once(':').map_or(name, |(name, _)| name);
                (repository, Some(digest), None)
            }
            None => match path.split_once(':') {
                Some((name, tag)) => (name, None, Some(tag)),
                None => (path, None, None),
            },
        };
        let repository = RepositoryName::new(registry, repository)?;
        let target = match (
            digest.filter(|d| !d.is_empty()),
            tag.filter(|t| !t.is_empty()),
        ) {
            (Some(digest), _) => TagOrDigest::Digest(parse_digest(digest)?),
            (None, Some(tag)) if is_tag(tag) => TagOrDigest::Tag(tag.to_owned()),
            (None, Some(tag)) => return Err(ReferenceFault::Tag(tag.to_owned())),
            (None, None) => return Err(ReferenceFault::NoTarget),
        };
        Ok(Self { repository, target })
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text).map_err(|fault| ReferenceError {
            reference: text.to_owned(),
            fault,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.repository, Suffix(&self.target))
    }
}

impl LayoutReference {
    /// Reads a reference where directories can be looked at. A text that ends in a digest or in a
    /// colon and a name can be taken apart in several ways, since names may have colons in them too:
    /// some tools write a whole `registry/repository:tag` there. Of these the one whose directory
    /// is there is meant; the text's own last colon comes first.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn find(
        text: &str,
        is_directory: impl Fn(&Path) -> bool,
    ) -> Result<Self, LayoutReferenceError> {
        let read: Self = text.parse()?;
        if is_directory(&read.path) {
            return Ok(read);
        }
        let (whole, digest) = match &read.target {
            TagOrDigest::Digest(_) => (text.rsplit_once('@').map_or(text, |(path, _)| path), true),
            TagOrDigest::Tag(_) => (text, false),
        };
        let colons = whole.rmatch_indices(':').map(|(at, _)| at);
        let other = colons.take(MAX_COLONS).find_map(|at| {
            let (path, name) = (whole.get(..at)?, whole.get(at.saturating_add(1)..)?);
            let usable = !path.is_empty() && !name.is_empty() && is_directory(Path::new(path));
            usable.then_some((path, name))
        });
        Ok(match other {
            None => read,
            Some((path, name)) => Self {
                path: path.into(),
                // `name@digest` means the digest, as in a registry.
                target: match digest {
                    true => read.target,
                    false => TagOrDigest::Tag(name.to_owned()),
                },
            },
        })
    }

    fn parse(text: &str) -> Result<Self, ReferenceFault> {
        let split_digest = text
            .rsplit_once('@')
            .filter(|(_, rest)| meant_as_digest(rest));
        let (path, target, is_digest) = match split_digest {
            Some((path, digest)) => (path, digest, true),
            None => match text.rsplit_once(':') {
                Some((path, rest)) if !is_drive(path, rest) => (path, rest, false),
                _ => return Err(ReferenceFault::MissingTarget),
            },
        };
        if path.is_empty() {
            return Err(ReferenceFault::MissingPath);
        }
        if target.is_empty() {
            return Err(ReferenceFault::MissingTarget);
        }
        let target = if is_digest {
            TagOrDigest::Digest(parse_digest(target)?)
        } else {
            TagOrDigest::Tag(target.to_owned())
        };
        Ok(Self {
            path: Path::new(path).to_owned(),
            target,
        })
    }
}

/// Whether what follows an `@` in a layout's reference is a digest, right or wrong, and not the rest
/// of a path: `job@2/layout:v1` has none.
fn meant_as_digest(text: &str) -> bool {
    if text.contains('/') || text.contains('\\') {
        return false;
    }
    match text.split_once(':') {
        // Neither a digest nor a tag: `layout@v1`.
        None => true,
        Some((algorithm, hex)) => {
            let known = ["sha", "md5", "blake"];
            let hashes = known.iter().any(|name| algorithm.starts_with(name));
            let is_hex = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
            let ours = HashAlgorithm::ALL.iter().any(|a| a.oci_name() == algorithm);
            ours || hashes && is_hex
        }
    }
}

/// Colons at which a layout's reference is taken apart, at most.
const MAX_COLONS: usize = 8;

impl FromStr for LayoutReference {
    type Err = LayoutReferenceError;

    fn from_str(text: &str) -> Result<Self, LayoutReferenceError> {
        Self::parse(text).map_err(|fault| LayoutReferenceError {
            reference: text.to_owned(),
            fault,
        })
    }
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path.display(), Suffix(&self.target))
    }
}

impl fmt::Display for TagOrDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

struct Suffix<'a>(&'a TagOrDigest);

impl fmt::Display for Suffix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            TagOrDigest::Tag(tag) => write!(f, ":{tag}"),
            TagOrDigest::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

fn parse_digest(text: &str) -> Result<Digest, ReferenceFault> {
    text.parse().map_err(|error| ReferenceFault::Digest {
        digest: text.to_owned(),
        error,
    })
}

/// Whether the only colon is that of a Windows drive, as in `C:\layout`.
fn is_drive(before: &str, after: &str) -> bool {
    before.len() == 1 && before.bytes().all(|b| b.is_ascii_alphabetic()) && after.starts_with('\\')
}

/// Whether `text` is a repository name: components of lower-case letters and digits, separated
/// inside by `.`, `_`, `__` or dashes, and from each other by `/`.
fn is_repository(text: &str) -> bool {
    text.len() <= 4096 && text.split('/').all(is_component)
}

fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(|b| word(*b));
    if !ends(bytes.first()) || !ends(bytes.last()) {
        return false;
    }
    text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|b| b == b'-'))
}

/// Whether `text` is a tag: a word character, then at most 127 word characters, dots and dashes.
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    fn digest() -> String {
        format!("sha256:{}", "0a".repeat(32))
    }

    #[test]
    fn registry_references() {
        // OCI-15
        for (text, registry, repository, target) in [
            (
                "localhost:5000/net-monitor:v1",
                "localhost:5000",
                "net-monitor",
                "v1",
            ),
            ("registry.example/a/b__c/d-.e", "", "", ""),
            (
                "registry.example/a/b__c/d--e:V_1.2-x",
                "registry.example",
                "a/b__c/d--e",
                "V_1.2-x",
            ),
            ("[::1]:5000/a:1", "[::1]:5000", "a", "1"),
            ("127.0.0.1/a:1", "127.0.0.1", "a", "1"),
        ] {
            let parsed = text.parse::<Reference>();
            if registry.is_empty() {
                assert!(parsed.is_err(), "{text}");
                continue;
            }
            let parsed = parsed.unwrap();
            assert_eq!(parsed.repository.registry(), registry);
            assert_eq!(parsed.repository.repository(), repository);
            assert_eq!(parsed.target, TagOrDigest::Tag(target.to_owned()));
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn digest_wins_over_tag() {
        // OCI-15
        let parsed: Reference = format!("r.io/a:not valid!@{}", digest()).parse().unwrap();
        assert_eq!(parsed.to_string(), format!("r.io/a@{}", digest()));
    }

    #[test]
    fn reference_errors_are_exact() {
        // OCI-16, REQ-07: nothing is completed with a default registry or tag.
        let expecting =
            "Expecting <registry>/<repository>:<tag> or <registry>/<repository>@<digest>";
        for (text, why) in [
            ("net-monitor:v1", "missing registry or repository"),
            ("/a:1", "invalid registry \"\""),
            ("user@host/a:1", "invalid registry \"user@host\""),
            ("h:99999/a:1", "invalid registry \"h:99999\""),
            ("h%41/a:1", "invalid registry \"h%41\""),
            ("r.io/A:1", "invalid repository \"A\""),
            ("r.io/a//b:1", "invalid repository \"a//b\""),
            ("r.io/../b:1", "invalid repository \"../b\""),
            ("r.io/a___b:1", "invalid repository \"a___b\""),
            ("r.io/a:-1", "invalid tag \"-1\""),
            ("r.io/a:b\"c", "invalid tag \"b\\\"c\""),
            ("r.io/a", "no tag or digest"),
            ("r.io/a@", "no tag or digest"),
            (
                "r.io/a@sha256:00",
                "invalid digest \"sha256:00\": invalid checksum digest length",
            ),
            (
                "r.io/a@md5:00",
                "invalid digest \"md5:00\": unsupported digest algorithm",
            ),
            (
                "r.io/a@v1",
                "invalid digest \"v1\": invalid checksum digest format",
            ),
        ] {
            assert_eq!(
                text.parse::<Reference>().unwrap_err().told(),
                format!("{}: invalid reference: {why}. {expecting}", Quoted(text))
            );
        }
    }

    #[test]
    fn docker_hub_has_another_host() {
        // REG-08
        let name: RepositoryName = "docker.io/library/alpine".parse().unwrap();
        assert_eq!(name.api_host(), "registry-1.docker.io");
        assert_eq!(name.to_string(), "docker.io/library/alpine");
    }

    #[test]
    fn layout_references() {
        // OCI-34
        for (text, path, target) in [
            ("dir/layout:v1".to_owned(), "dir/layout", "v1".to_owned()),
            (r"C:\layout:v1".to_owned(), r"C:\layout", "v1".to_owned()),
            (format!("a@b:c@{}", digest()), "a@b:c", digest()),
            // What CI systems call directories.
            ("job@2/img:v1".to_owned(), "job@2/img", "v1".to_owned()),
            ("job@2:v1".to_owned(), "job@2", "v1".to_owned()),
            ("job@2:20".to_owned(), "job@2", "20".to_owned()),
            ("a@sha.d:beef.1".to_owned(), "a@sha.d", "beef.1".to_owned()),
            (r"C:\a@b\c:v1".to_owned(), r"C:\a@b\c", "v1".to_owned()),
            (format!("job@2/img@{}", digest()), "job@2/img", digest()),
            (format!("@@{}", digest()), "@", digest()),
        ] {
            let parsed: LayoutReference = text.parse().unwrap();
            assert_eq!(parsed.path, Path::new(path));
            assert_eq!(parsed.target.to_string(), target);
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn layout_reference_errors_are_exact() {
        // OCI-34
        let expecting = "Expecting <file_path>:<tag> or <file_path>@<digest>";
        for (text, why) in [
            ("layout", "missing tag or digest"),
            (r"C:\layout", "missing tag or digest"),
            ("layout:", "missing tag or digest"),
            ("layout@", "missing tag or digest"),
            (":v1", "missing oci-layout file path"),
            (
                "layout@v1",
                "invalid digest \"v1\": invalid checksum digest format",
            ),
            (
                "layout@sha256:00",
                "invalid digest \"sha256:00\": invalid checksum digest length",
            ),
            (
                "layout@md5:00",
                "invalid digest \"md5:00\": unsupported digest algorithm",
            ),
            ("job@2/layout", "missing tag or digest"),
        ] {
            assert_eq!(
                text.parse::<LayoutReference>().unwrap_err().told(),
                format!("{}: invalid reference: {why}. {expecting}", Quoted(text))
            );
        }
    }

    /// OCI-36: whole references as names, as skopeo writes them.
    #[test]
    fn oci_36_names_with_colons() {
        let there = ["full", "a:b", "full:x", "d@1"];
        let is_directory = |path: &Path| there.iter().any(|name| Path::new(name) == path);
        let find = |text: &str| LayoutReference::find(text, is_directory);
        let digest = digest();
        for (text, path, target) in [
            ("full:v1", "full", "v1"),
            ("a:b:v1", "a:b", "v1"),
            ("full:x:v1", "full:x", "v1"),
            (
                "full:docker.io/library/alpine:3.18",
                "full",
                "docker.io/library/alpine:3.18",
            ),
            ("full:localhost:5000/a:v1", "full", "localhost:5000/a:v1"),
            ("d@1:r.io/a:v1", "d@1", "r.io/a:v1"),
            (&format!("full:r.io/a:v1@{digest}"), "full", &digest),
            (&format!("full@{digest}"), "full", &digest),
            // Nothing is there: the last colon, for the error's text.
            ("none:r.io/a:v1", "none:r.io/a", "v1"),
        ] {
            let found = find(text).unwrap();
            assert_eq!(found.path, Path::new(path), "{text}");
            assert_eq!(found.target.to_string(), target, "{text}");
        }
        assert!(find("full").is_err());
    }

    proptest::proptest! {
        // SEC-33: no text makes the parsers panic, and what they accept they write the same.
        #[test]
        fn any_text(text in "[a-z0-9:/@._\\[\\] -]{0,40}|\\PC{0,20}") {
            if let Ok(reference) = text.parse::<Reference>() {
                let again = reference.to_string().parse::<Reference>();
                proptest::prop_assert_eq!(again, Ok(reference));
            }
            if let Ok(reference) = text.parse::<LayoutReference>() {
                proptest::prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
