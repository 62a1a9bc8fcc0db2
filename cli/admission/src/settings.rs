//! `admission.hardsign.json`, which stands beside the trust policy: what happens to an object whose images are not
//! accepted, for which namespaces that differs, and which images are excepted for a while.
//!
//! A member that is unknown is an error: a misspelt exception or mode must not pass for one that was
//! never written.

use std::collections::BTreeMap;

use hardsign_core::artifact::reference::RepositoryName;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::images::Image;

/// The file's name.
pub const FILE: &str = "admission.hardsign.json";
/// Its longest length, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// What happens to an object with an image that is not accepted; the strictest first.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused.
    #[default]
    Enforce,
    /// It is admitted, with a warning to whoever made it.
    Warn,
    /// It is admitted; log, metrics and the audit log tell.
    Audit,
}

/// What happens to workloads (Deployments, Jobs, ...), from which pods are made later; the strictest last.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
pub enum Workloads {
    /// They are not looked at: their pods are.
    Ignore,
    /// Whoever makes them is warned.
    #[default]
    Warn,
    /// The mode holds for them as for pods.
    Refuse,
}

/// What of an image for several platforms must be signed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Platforms {
    /// The index, which names all the rest by digest.
    #[default]
    Index,
    /// And each image that it lists.
    All,
}

/// The settings.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    version: String,
    /// For pods, and by [`Self::workloads`] for others.
    #[serde(default)]
    pub mode: Mode,
    /// For what pods are made from.
    #[serde(default)]
    pub workloads: Workloads,
    /// What of an index must be signed.
    #[serde(default)]
    pub platforms: Platforms,
    /// Whether the pod's `imagePullSecrets` are read, in namespaces whose Role permits that.
    #[serde(default)]
    pub pull_secrets: bool,
    /// What differs in some namespaces; the first that fits counts.
    #[serde(default)]
    pub namespaces: Vec<Override>,
    /// Images that are admitted though they are not accepted.
    #[serde(default)]
    pub exceptions: Vec<Exception>,
}

/// What differs in namespaces with these labels.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Override {
    /// All of these labels must be there.
    pub match_labels: BTreeMap<String, String>,
    /// The mode there.
    pub mode: Option<Mode>,
    /// What happens to workloads there.
    pub workloads: Option<Workloads>,
    /// The policy there: a directory below `policies`.
    pub policy: Option<String>,
}

/// Images that are admitted until a day, and who answers for that.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exception {
    /// Repositories, repositories below a path (`registry.example.com/team/*`), or single images by tag or digest.
    pub images: Vec<String>,
    /// The namespaces; all where there are none.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Whoever answers for it, by a name or address that others know.
    pub owner: String,
    /// Why they are excepted, for whoever reads the warning or the log; may be empty.
    #[serde(default)]
    pub reason: String,
    /// The last day (`2026-12-31`, UTC), or a point in time (RFC 3339).
    pub until: String,
    #[serde(skip)]
    ends: Timestamp,
    #[serde(skip)]
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
enum Pattern {
    /// `<registry>/<path>/*`
    Below(String),
    Repository(RepositoryName),
    /// A tag or digest of a repository.
    One(Box<Image>),
}

/// What holds in one namespace.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Effective {
    /// For pods.
    pub mode: Mode,
    /// For workloads.
    pub workloads: Workloads,
    /// The directory below `policies`; none for the policy that all others have.
    pub policy: Option<String>,
}

/// What the exceptions say of an image.
#[derive(Debug)]
pub enum Excepted<'a> {
    /// One holds.
    Holds(&'a Exception),
    /// There was one, which has ended.
    Ended(&'a Exception),
    /// There is none.
    No,
}

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut settings: Self =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if settings.version != "1.0" {
            return Err(format!(
                "version {:?} is not supported, \"1.0\" is",
                settings.version
            ));
        }
        for (at, found) in settings.namespaces.iter().enumerate() {
            let fault = |what: &str| Err(format!("namespaces[{at}]: {what}"));
            if found.match_labels.is_empty() {
                return fault("matchLabels is empty, and would fit every namespace");
            }
            if found.mode.is_none() && found.workloads.is_none() && found.policy.is_none() {
                return fault("it changes nothing: set mode, workloads or policy");
            }
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let name = found.policy.as_deref();
            if name.is_some_and(|name| {
                name.is_empty() || name.starts_with('.') || !name.chars().all(plain)
            }) {
                return fault("policy is no name of a directory below policies");
            }
        }
        for (at, exception) in settings.exceptions.iter_mut().enumerate() {
            let read = exception.read();
            read.map_err(|error| format!("exceptions[{at}]: {error}"))?;
        }
        Ok(settings)
    }

    /// Whether the labels of a namespace have to be known.
    pub fn needs_labels(&self) -> bool {
        !self.namespaces.is_empty()
    }

    /// What holds in a namespace with these labels.
    pub fn of(&self, labels: &BTreeMap<String, String>) -> Effective {
        let fits = |found: &&Override| {
            let mut wanted = found.match_labels.iter();
            wanted.all(|(name, value)| labels.get(name) == Some(value))
        };
        let found = self.namespaces.iter().find(fits);
        Effective {
            mode: found.and_then(|found| found.mode).unwrap_or(self.mode),
            workloads: found
                .and_then(|found| found.workloads)
                .unwrap_or(self.workloads),
            policy: found.and_then(|found| found.policy.clone()),
        }
    }

    /// What holds in a namespace of which nothing is known: of each setting the strictest that there is.
    pub fn strictest(&self) -> Effective {
        let modes = self.namespaces.iter().filter_map(|found| found.mode);
        let workloads = self.namespaces.iter().filter_map(|found| found.workloads);
        Effective {
            mode: modes.fold(self.mode, Ord::min),
            workloads: workloads.fold(self.workloads, Ord::max),
            policy: None,
        }
    }

    /// Whether an image is excepted in a namespace.
    pub fn exception(&self, image: &Image, namespace: &str, now: Timestamp) -> Excepted<'_> {
        let mut ended = Excepted::No;
        for exception in &self.exceptions {
            if !exception.concerns(image, namespace) {
                continue;
            }
            if now < exception.ends {
                return Excepted::Holds(exception);
            }
            ended = Excepted::Ended(exception);
        }
        ended
    }
}

impl Effective {
    /// The mode for a pod, or for what pods are made from; none where that is not looked at.
    pub fn mode_of(&self, is_pod: bool) -> Option<Mode> {
        match (is_pod, self.workloads) {
            (true, _) | (false, Workloads::Refuse) => Some(self.mode),
            (false, Workloads::Ignore) => None,
            (false, Workloads::Warn) => Some(self.mode.max(Mode::Warn)),
        }
    }
}

impl Exception {
    fn read(&mut self) -> Result<(), String> {
        if self.owner.trim().is_empty() {
            return Err("owner is empty: somebody must answer for it".to_owned());
        }
        if self.images.is_empty() {
            return Err("images is empty".to_owned());
        }
        self.ends = ends(&self.until)?;
        self.patterns = self
            .images
            .iter()
            .map(|text| Pattern::parse(text))
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    fn concerns(&self, image: &Image, namespace: &str) -> bool {
        let here =
            self.namespaces.is_empty() || self.namespaces.iter().any(|name| name == namespace);
        here && self.patterns.iter().any(|pattern| pattern.fits(image))
    }
}

/// The end of the last day, or the point in time.
fn ends(text: &str) -> Result<Timestamp, String> {
    if let Ok(point) = text.parse::<Timestamp>() {
        return Ok(point);
    }
    let day = text
        .parse::<Date>()
        .ok()
        .filter(|_| text.len() == "2026-12-31".len());
    let next = day.and_then(|day| day.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok());
    let next = next.ok_or_else(|| {
        format!("until {text:?} is neither a day, as 2026-12-31, nor a time of RFC 3339")
    })?;
    Ok(next.timestamp())
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let fault = |why: &str| format!("image {text:?}: {why}");
        if let Some(prefix) = text.strip_suffix("/*") {
            // The same reading of names as images have; a path of two parts stands in no directory that is not written.
            let image = Image::parse(&format!("{prefix}/x/x")).map_err(|error| fault(&error))?;
            let whole = image.repository.to_string();
            let path = whole.strip_suffix("x/x").unwrap_or(&whole);
            return Ok(Self::Below(path.to_owned()));
        }
        if text.contains('*') {
            return Err(fault("* may stand at the end alone, after a slash"));
        }
        let image = Image::parse(text).map_err(|error| fault(&error))?;
        Ok(
            match image.digest.is_some() || text.len() > image.written.len() {
                true => Self::One(Box::new(image)),
                false => Self::Repository(image.repository),
            },
        )
    }

    fn fits(&self, image: &Image) -> bool {
        match self {
            Self::Below(path) => image.repository.to_string().starts_with(path),
            Self::Repository(repository) => *repository == image.repository,
            Self::One(one) => {
                let same = match &one.digest {
                    Some(digest) => image.digest.as_ref() == Some(digest),
                    // What a tag points at is unknown once a digest stands beside it.
                    None => image.digest.is_none() && image.tag == one.tag,
                };
                same && one.repository == image.repository
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rest: &str) -> Result<Settings, String> {
        Settings::parse(format!(r#"{{"version":"1.0"{rest}}}"#).as_bytes())
    }

    #[test]
    fn the_defaults_enforce() {
        let settings = settings("").unwrap();
        let found = settings.of(&BTreeMap::new());
        assert_eq!(
            found,
            Effective {
                mode: Mode::Enforce,
                workloads: Workloads::Warn,
                policy: None
            }
        );
        assert!(!settings.pull_secrets && settings.platforms == Platforms::Index);
    }

    #[test]
    fn mistakes_are_errors() {
        for (rest, told) in [
            (r#","mod":"warn""#, "unknown field `mod`"),
            (r#","mode":"off""#, "unknown variant `off`"),
            (r#","mode":"warn","mode":"audit""#, "duplicate field"),
            (
                r#","namespaces":[{"matchLabels":{},"mode":"warn"}]"#,
                "namespaces[0]: matchLabels is empty",
            ),
            (
                r#","namespaces":[{"matchLabels":{"a":"b"}}]"#,
                "changes nothing",
            ),
            (
                r#","namespaces":[{"matchLabels":{"a":"b"},"policy":"../x"}]"#,
                "no name of a directory",
            ),
            (
                r#","exceptions":[{"images":["a.example/b"],"until":"2026-12-31"}]"#,
                "missing field `owner`",
            ),
            (
                r#","exceptions":[{"images":["a.example/b"],"owner":"x"}]"#,
                "missing field `until`",
            ),
            (
                r#","exceptions":[{"images":["a.example/b"],"owner":" ","until":"2026-12-31"}]"#,
                "owner is empty",
            ),
            (
                r#","exceptions":[{"images":[],"owner":"x","until":"2026-12-31"}]"#,
                "images is empty",
            ),
            (
                r#","exceptions":[{"images":["a.example/b"],"owner":"x","until":"soon"}]"#,
                "neither a day",
            ),
            (
                r#","exceptions":[{"images":["a.example/*b"],"owner":"x","until":"2026-12-31"}]"#,
                "* may stand at the end",
            ),
            (
                r#","exceptions":[{"images":["*"],"owner":"x","until":"2026-12-31"}]"#,
                "* may stand at the end",
            ),
        ] {
            let error = settings(rest).unwrap_err();
            assert!(error.contains(told), "{rest}: {error}");
        }
        assert!(Settings::parse(b"{}").unwrap_err().contains("version"));
    }

    #[test]
    fn the_first_namespace_that_fits_counts() {
        let settings = settings(
            r#","namespaces":[{"matchLabels":{"team":"a","tier":"dev"},"mode":"audit"},{"matchLabels":{"team":"a"},"mode":"warn","policy":"a"}]"#,
        )
        .unwrap();
        let of = |labels: &[(&str, &str)]| {
            let labels = labels
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect();
            settings.of(&labels)
        };
        assert_eq!(of(&[("team", "a"), ("tier", "dev")]).mode, Mode::Audit);
        assert_eq!(of(&[("team", "a")]).policy.as_deref(), Some("a"));
        assert_eq!(of(&[("team", "b")]).mode, Mode::Enforce);
    }

    #[test]
    fn workloads_have_a_mode_of_their_own() {
        let of = |settings: &str| {
            let found = self::settings(settings).unwrap().strictest();
            (found.mode_of(true), found.mode_of(false))
        };
        let some = |namespace: &str| {
            format!(
                r#","mode":"warn","workloads":"ignore","namespaces":[{{"matchLabels":{{"a":"b"}},{namespace}}}]"#
            )
        };
        for (settings, pod, workload) in [
            (String::new(), Mode::Enforce, Some(Mode::Warn)),
            (
                r#","mode":"audit""#.to_owned(),
                Mode::Audit,
                Some(Mode::Audit),
            ),
            (
                r#","workloads":"refuse""#.to_owned(),
                Mode::Enforce,
                Some(Mode::Enforce),
            ),
            // Of what differs in namespaces the strictest.
            (some(r#""mode":"audit""#), Mode::Warn, None),
            (some(r#""mode":"enforce""#), Mode::Enforce, None),
            (
                some(r#""mode":"enforce","workloads":"warn""#),
                Mode::Enforce,
                Some(Mode::Warn),
            ),
            (
                some(r#""workloads":"refuse""#),
                Mode::Warn,
                Some(Mode::Warn),
            ),
        ] {
            assert_eq!(of(&settings), (Some(pod), workload), "{settings}");
        }
    }

    #[test]
    fn patterns_are_read_as_images_are() {
        for (pattern, image, fits) in [
            ("docker.io/*", "nginx", true),
            ("docker.io/*", "docker.io/team/app:v1", true),
            ("index.docker.io/*", "team/app", true),
            ("docker.io/*", "quay.io/nginx", false),
            ("docker.io/library/*", "nginx", true),
            ("docker.io/library/*", "team/app", false),
            ("team/*", "docker.io/team/app", true),
            ("team/*", "docker.io/other/app", false),
            ("localhost:5000/*", "localhost:5000/app", true),
            ("localhost:5000/*", "localhost:5000/deep/app", true),
            ("localhost:5000/*", "localhost:5001/app", false),
            ("a.example/x/*", "a.example/x/x/x", true),
            ("nginx", "docker.io/library/nginx:v1", true),
        ] {
            let found = Pattern::parse(pattern).unwrap();
            let image = Image::parse(image).unwrap();
            assert_eq!(found.fits(&image), fits, "{pattern} {}", image.reference());
        }
        for pattern in ["a.example/b::v1", "a.example/b:v1/*", "/*", "a.example//*"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn exceptions_end() {
        let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let settings = settings(&format!(
            r#","exceptions":[{{"images":["a.example/old/*","a.example/one","a.example/two:v1","a.example/three@{digest}"],"namespaces":["n"],"owner":"ops","until":"2026-12-31"}}]"#
        ))
        .unwrap();
        let asked = |image: &str, namespace: &str, now: &str| {
            let image = Image::parse(image).unwrap();
            match settings.exception(&image, namespace, now.parse().unwrap()) {
                Excepted::Holds(_) => "holds",
                Excepted::Ended(_) => "ended",
                Excepted::No => "no",
            }
        };
        let before = "2026-12-31T23:59:59Z";
        let after = "2027-01-01T00:00:00Z";
        for (image, found) in [
            ("a.example/old/app:v1", "holds"),
            ("a.example/old/deep/app", "holds"),
            ("a.example/older/app", "no"),
            ("a.example/one:v9", "holds"),
            ("a.example/two:v1", "holds"),
            ("a.example/two:v2", "no"),
            ("b.example/one", "no"),
        ] {
            assert_eq!(asked(image, "n", before), found, "{image}");
        }
        assert_eq!(
            asked(&format!("a.example/three@{digest}"), "n", before),
            "holds"
        );
        // The tag beside a digest proves nothing.
        assert_eq!(
            asked(&format!("a.example/two:v1@{digest}"), "n", before),
            "no"
        );
        assert_eq!(asked("a.example/one", "other", before), "no");
        assert_eq!(asked("a.example/one", "n", after), "ended");
    }
}
