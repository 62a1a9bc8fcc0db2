//! `sign --metadata-file`: the digests that `docker buildx build` or `bake` wrote.
//!
//! ```json
//! {"containerimage.digest":"sha256:…","image.name":"registry.example.com/app:v1,registry.example.com/app:latest"}
//! ```
//!
//! `bake` writes one such object for each target, by the target's name. A tag may have moved since the
//! build; the digest says what was built.

use std::fs::File;
use std::io::Read as _;

use hardsign_core::config::formats::json;
use hardsign_core::text::WithCauses;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// How such a file comes about.
const WRITE: &str = "create it with `docker buildx build --push --metadata-file FILE`";

/// The largest file.
const MAX_FILE: u64 = 16 << 20;

/// What a file names.
#[derive(Debug, Default)]
pub(super) struct Build {
    /// `<repository>@<digest>` of each image that was pushed, each once, in the order of the file.
    pub(super) references: Vec<String>,
    /// The targets of a bake that have no digest, and so no image that could be signed.
    pub(super) without_image: Vec<String>,
}

/// What members of docker's own begin with; any other is the name of a target.
const OWN: &str = "buildx.";

/// # Errors
/// The file can't be read, is something else, or names no image that was pushed.
pub(super) fn references(path: &str) -> Result<Build, Failure> {
    let build = read(path)?;
    let mut references = Vec::new();
    let mut without_image = Vec::new();
    if is_result(&build) {
        add(path, None, &build, &mut references)?;
    } else {
        for (target, result) in &build {
            match result.as_object() {
                Some(result) if is_result(result) => {
                    add(path, Some(target), result, &mut references)?;
                }
                Some(_) if !target.starts_with(OWN) => without_image.push(target.clone()),
                _ => {}
            }
        }
    }
    if references.is_empty() {
        return Err(Failure::failed(format!(
            "metadata file {path} has no image: no member containerimage.digest in it"
        ))
        .hint(WRITE));
    }
    Ok(Build {
        references,
        without_image,
    })
}

fn read(path: &str) -> Result<Map<String, Value>, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::failed(format!("failed to read metadata file {path}: {why}")).hint(WRITE)
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failed(&WithCauses(&error)))?;
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&WithCauses(&error)))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(failed(&format!("it is larger than {MAX_FILE} bytes")));
    }
    json::from_slice(&bytes).map_err(|error| failed(&WithCauses(&error)))
}

fn is_result(build: &Map<String, Value>) -> bool {
    build.contains_key("containerimage.digest")
}

/// Adds the repositories of one result.
fn add(
    path: &str,
    target: Option<&str>,
    result: &Map<String, Value>,
    references: &mut Vec<String>,
) -> Result<(), Failure> {
    let place = match target {
        Some(target) => format!("metadata file {path}, target {target:?}"),
        None => format!("metadata file {path}"),
    };
    let text = |member| result.get(member).and_then(Value::as_str);
    let digest = text("containerimage.digest").unwrap_or_default();
    let names = text("image.name").unwrap_or_default();
    if digest.is_empty() {
        return Err(
            Failure::failed(format!("{place}: containerimage.digest is not a string")).hint(WRITE),
        );
    }
    let mut found = false;
    for name in names.split(',').map(str::trim) {
        if name.is_empty() {
            continue;
        }
        found = true;
        let reference = format!("{}@{digest}", repository(name));
        if !references.contains(&reference) {
            references.push(reference);
        }
    }
    if !found {
        return Err(Failure::failed(format!(
            "{place}: image.name is missing, so the image's repository is unknown"
        ))
        .hint("name the image with --tag, and push it with --push"));
    }
    Ok(())
}

/// A name without its tag and digest.
fn repository(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or_default();
    let last = name.rfind('/').map_or(0, |at| at + 1);
    match name.get(last..).and_then(|last| last.find(':')) {
        // A registry alone is no repository, so a colon after the last slash starts a tag.
        Some(colon) => name.get(..last + colon).unwrap_or(name),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<String>, String> {
        build(text).map(|build| build.references)
    }

    fn build(text: &str) -> Result<Build, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metadata.json");
        std::fs::write(&path, text).unwrap();
        references(path.to_str().unwrap()).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn a_build_with_two_tags_is_one_image() {
        let text = r#"{"buildx.build.ref":"x","containerimage.digest":"sha256:aa",
            "image.name":"localhost:5000/app:v1,localhost:5000/app:latest,localhost:5000/other"}"#;
        assert_eq!(
            of(text).unwrap(),
            [
                "localhost:5000/app@sha256:aa",
                "localhost:5000/other@sha256:aa"
            ]
        );
    }

    #[test]
    fn a_bake_has_one_image_for_each_target() {
        let text = r#"{"buildx.build.warnings":[],
            "web":{"containerimage.digest":"sha256:aa","image.name":"r.example.com/web:1"},
            "db":{"containerimage.digest":"sha256:bb","image.name":"r.example.com/db:1"}}"#;
        assert_eq!(
            of(text).unwrap(),
            ["r.example.com/web@sha256:aa", "r.example.com/db@sha256:bb"]
        );
    }

    /// Whoever wanted all targets signed learns of one that was not pushed.
    #[test]
    fn a_target_without_an_image_is_named() {
        let text = r#"{"buildx.build.warnings":[],"buildx.build.provenance":{"x":1},
            "web":{"containerimage.digest":"sha256:aa","image.name":"r.example.com/web:1"},
            "docs":{"buildx.build.ref":"y"}}"#;
        let build = build(text).unwrap();
        assert_eq!(build.references, ["r.example.com/web@sha256:aa"]);
        assert_eq!(build.without_image, ["docs"]);
    }

    #[test]
    fn what_names_no_pushed_image_is_an_error() {
        for (text, why) in [
            ("{}", "no image"),
            ("[]", "failed to read"),
            ("not json", "failed to read"),
            (r#"{"web":{"buildx.build.ref":"x"}}"#, "no image"),
            (
                r#"{"containerimage.digest":"sha256:aa"}"#,
                "image.name is missing",
            ),
            (
                r#"{"containerimage.digest":7,"image.name":"a"}"#,
                "is not a string",
            ),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
            let hinted = error.contains("--metadata-file FILE") || error.contains("--tag");
            assert!(hinted, "{text}: {error}");
        }
        let absent = references("/nowhere/m.json").unwrap_err();
        assert!(format!("{absent:?}").contains("--metadata-file FILE"));
    }
}
