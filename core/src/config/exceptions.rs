//! Images that are let in though no signature of theirs was verified: what a node, or a cluster, can't live
//! without.
//!
//! ```json
//! {"repository": "registry.k8s.io/pause", "digest": "sha256:…", "when": "always", "reason": "sandbox image"}
//! ```
//!
//! An exception is for one image: one content of one repository. A tag can't be excepted, since whoever
//! can move it would decide what runs.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::artifact::Digest;
use crate::artifact::reference::RepositoryName;

/// An image that is let in.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// `<registry>/<repository>`, as the image is named when it is pulled.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub repository: RepositoryName,
    /// The digest that its name leads to: that of the index, where there is one.
    pub digest: Digest,
    /// When it is let in.
    pub when: When,
    /// Why, for whoever reads the file.
    pub reason: String,
}

/// When an exception counts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Always: nothing is verified.
    Always,
    /// Where the registry can't be reached; else it is verified.
    Unreachable,
}

/// The exceptions of a file.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Exceptions(Vec<Exception>);

impl Exceptions {
    /// The exception for an image, if there is one; of several the one that asks for less.
    pub fn find(&self, repository: &RepositoryName, digest: &Digest) -> Option<&Exception> {
        let fits = |e: &&Exception| e.repository == *repository && e.digest == *digest;
        let mut fitting = self.0.iter().filter(fits);
        let first = fitting.next()?;
        let always = fitting.find(|e| e.when == When::Always);
        Some(match first.when {
            When::Always => first,
            When::Unreachable => always.unwrap_or(first),
        })
    }

    /// Adds one, unless the image is excepted in the same way already. Whether it was added.
    pub fn add(&mut self, exception: Exception) -> bool {
        let known = self.find(&exception.repository, &exception.digest);
        if known.is_some_and(|k| k.when == exception.when || k.when == When::Always) {
            return false;
        }
        self.0.push(exception);
        true
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Exception> {
        self.0.iter()
    }
}

fn as_text<S: Serializer>(name: &RepositoryName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RepositoryName, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(repository: &str, byte: &str, when: &str) -> String {
        let digest = format!("sha256:{}", byte.repeat(32));
        format!(
            r#"{{"repository":"{repository}","digest":"{digest}","when":"{when}","reason":"r"}}"#
        )
    }

    fn read(texts: &[String]) -> Result<Exceptions, serde_json::Error> {
        serde_json::from_str(&format!("[{}]", texts.join(",")))
    }

    /// One content of one repository: no other content, no other repository.
    #[test]
    fn an_exception_is_for_one_image() {
        let exceptions = read(&[
            exception("r.example/pause", "0a", "always"),
            exception("r.example/app", "0b", "unreachable"),
            exception("r.example/app", "0b", "always"),
        ])
        .unwrap();
        let find = |repository: &str, byte: &str| {
            let digest = format!("sha256:{}", byte.repeat(32)).parse().unwrap();
            let found = exceptions.find(&repository.parse().unwrap(), &digest);
            found.map(|found| found.when)
        };
        assert_eq!(find("r.example/pause", "0a"), Some(When::Always));
        assert_eq!(find("R.example/pause", "0a"), Some(When::Always));
        assert_eq!(find("r.example/app", "0b"), Some(When::Always));
        assert_eq!(find("r.example/pause", "0b"), None);
        assert_eq!(find("r.example/other", "0a"), None);
        assert_eq!(find("s.example/pause", "0a"), None);
        assert_eq!(find("r.example/pause/x", "0a"), None);
    }

    #[test]
    fn what_is_half_said_is_refused() {
        for text in [
            exception("pause", "0a", "always"),
            exception("r.example/pause:3", "0a", "always"),
            exception("r.example/pause", "xx", "always"),
            exception("r.example/pause", "0a", "sometimes"),
            r#"{"repository":"r.example/pause","when":"always","reason":""}"#.to_owned(),
            exception("r.example/pause", "0a", "always").replace("reason", "because"),
        ] {
            assert!(read(std::slice::from_ref(&text)).is_err(), "{text}");
        }
    }
}
