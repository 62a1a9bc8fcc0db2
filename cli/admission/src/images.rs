//! Which images an object runs, and which of them are new.
//!
//! Containers, init containers and ephemeral containers, and volumes that are images: the kubelet pulls all of
//! them. References are read as the container runtimes read them, with `docker.io` and `latest` where
//! nothing is said; a digest, where there is one, is what counts, and the tag beside it nothing.

use std::collections::BTreeSet;

use hardsign_core::artifact::Digest;
use hardsign_core::artifact::reference::{RepositoryName, is_tag};

use crate::review::{Object, Spec};

/// Most different images of one object that are looked at.
pub const MAX_IMAGES: usize = 500;

/// Where an image stands in an object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// As it is written.
    pub image: String,
    /// For people: `container app`.
    pub place: String,
    /// A JSON pointer to it (RFC 6901), in the object of the review.
    pub pointer: String,
}

/// An image as a runtime understands it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag; `latest` where neither tag nor digest is written.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<Digest>,
    /// What is written, without tag and digest.
    pub written: String,
}

impl Image {
    /// Reads what stands in an object.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest = digest.parse::<Digest>();
                let digest =
                    digest.map_err(|error| format!("its digest can't be used: {error}"))?;
                (name, Some(digest))
            }
            None => (text, None),
        };
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (written, tag) = match name.get(last..).and_then(|rest| rest.find(':')) {
            Some(colon) => {
                let (written, tag) = name.split_at(last + colon);
                (written, Some(tag.trim_start_matches(':')))
            }
            None => (name, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err("it has no usable tag".to_owned());
        }
        let (registry, repository) = match written.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest.to_owned()),
            _ => (DOCKER_HUB, written.to_owned()),
        };
        let hub = [DOCKER_HUB, "index.docker.io"].contains(&registry);
        let repository = match hub && !repository.contains('/') {
            true => format!("library/{repository}"),
            false => repository,
        };
        let repository = RepositoryName::new(registry, &repository);
        let repository = repository.map_err(|fault| fault.to_string())?;
        let latest = || digest.is_none().then(|| "latest".to_owned());
        Ok(Self {
            repository,
            tag: tag.map(str::to_owned).or_else(latest),
            written: written.to_owned(),
            digest,
        })
    }

    /// The image by a digest, in the words in which it was written.
    pub fn at(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.written)
    }
}

/// Whether the first part of a name is a registry, by the rule of Docker.
fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.chars().any(char::is_uppercase)
}

const DOCKER_HUB: &str = "docker.io";

/// The images of an object, in the order in which they stand there; none where there is no pod in it.
pub(crate) fn images(object: &Object, is_pod: bool) -> Option<Vec<Found>> {
    let (spec, pointer) = pod_spec(object, is_pod)?;
    let mut found = Vec::new();
    let lists = [
        ("container", "containers", &spec.containers),
        ("init container", "initContainers", &spec.init_containers),
        (
            "ephemeral container",
            "ephemeralContainers",
            &spec.ephemeral_containers,
        ),
    ];
    for (what, member, list) in lists {
        for (at, container) in list.iter().flatten().enumerate() {
            if let Some(image) = &container.image {
                found.push(Found {
                    image: image.clone(),
                    place: place(what, container.name.as_deref(), at),
                    pointer: format!("{pointer}/{member}/{at}/image"),
                });
            }
        }
    }
    for (at, volume) in spec.volumes.iter().flatten().enumerate() {
        let image = volume.image.as_ref();
        if let Some(reference) = image.and_then(|image| image.reference.as_ref()) {
            found.push(Found {
                image: reference.clone(),
                place: place("image volume", volume.name.as_deref(), at),
                pointer: format!("{pointer}/volumes/{at}/image/reference"),
            });
        }
    }
    Some(found)
}

/// The specification of the pod that an object is or that is made from it, and where it stands.
pub(crate) fn pod_spec(object: &Object, is_pod: bool) -> Option<(&Spec, &'static str)> {
    let spec = object.spec.as_ref();
    if is_pod {
        return spec.map(|spec| (spec, "/spec"));
    }
    if let Some(template) = spec.and_then(|spec| spec.template.as_deref()) {
        return Some((template.spec.as_ref()?, "/spec/template/spec"));
    }
    if let Some(job) = spec.and_then(|spec| spec.job_template.as_deref()) {
        let template = job.spec.as_ref()?.template.as_deref()?;
        return Some((
            template.spec.as_ref()?,
            "/spec/jobTemplate/spec/template/spec",
        ));
    }
    let template = object.template.as_deref()?;
    Some((template.spec.as_ref()?, "/template/spec"))
}

/// Those of `new` that run nowhere in `old`. An image that the object has already is not asked about again, so that
/// what was admitted can be labelled, scaled and torn down after its signer is trusted no longer.
pub(crate) fn changed(new: Vec<Found>, old: &[Found]) -> Vec<Found> {
    let old: BTreeSet<&str> = old.iter().map(|found| found.image.as_str()).collect();
    let is_new = |found: &Found| !old.contains(found.image.as_str());
    new.into_iter().filter(is_new).collect()
}

fn place(what: &str, name: Option<&str>, at: usize) -> String {
    match name.filter(|name| !name.is_empty()) {
        Some(name) => format!("{what} {name}"),
        None => format!("{what} {at}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn references_are_read_as_runtimes_read_them() {
        for (text, repository, tag) in [
            ("nginx", "docker.io/library/nginx", Some("latest")),
            ("nginx:1.27", "docker.io/library/nginx", Some("1.27")),
            ("team/app", "docker.io/team/app", Some("latest")),
            ("docker.io/nginx", "docker.io/library/nginx", Some("latest")),
            (
                "index.docker.io/nginx",
                "docker.io/library/nginx",
                Some("latest"),
            ),
            ("localhost/app:v1", "localhost/app", Some("v1")),
            ("localhost:5000/app", "localhost:5000/app", Some("latest")),
            (
                "registry.example.com/a/b:v",
                "registry.example.com/a/b",
                Some("v"),
            ),
            ("[::1]:5000/app:v", "[::1]:5000/app", Some("v")),
        ] {
            let image = Image::parse(text).unwrap();
            assert_eq!(image.repository.to_string(), repository, "{text}");
            assert_eq!((image.tag.as_deref(), image.digest), (tag, None), "{text}");
        }
        for text in [
            format!("a.example/b@{DIGEST}"),
            format!("a.example/b:v1@{DIGEST}"),
        ] {
            let image = Image::parse(&text).unwrap();
            assert_eq!(image.digest.clone().unwrap().to_string(), DIGEST);
            assert_eq!(
                image.at(&image.digest.clone().unwrap()),
                format!("a.example/b@{DIGEST}")
            );
        }
    }

    #[test]
    fn what_is_no_reference_is_told() {
        for text in [
            "",
            " nginx",
            "nginx ",
            "a.example/",
            "a.example/b:",
            "a.example/b@",
            "a.example/b@sha256:12",
            "a.example/B",
            "a\nb",
            "a.example/b:v1:v2",
            "a.example/../b",
            "https://a.example/b",
            "a.example/b@sha256:x@sha256:y",
        ] {
            assert!(Image::parse(text).is_err(), "{text:?}");
        }
    }

    fn object(json: &str) -> Object {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_image_of_a_pod_is_found() {
        let pod = object(
            r#"{"spec":{"containers":[{"name":"app","image":"a"},{"name":"none"}],"initContainers":[{"name":"i","image":"b"}],
            "ephemeralContainers":[{"name":"debug","image":"c"}],
            "volumes":[{"name":"m","image":{"reference":"d"}},{"name":"n","emptyDir":{}}]}}"#,
        );
        let found = images(&pod, true).unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|f| (f.image.as_str(), f.place.as_str(), f.pointer.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("a", "container app", "/spec/containers/0/image"),
                ("b", "init container i", "/spec/initContainers/0/image"),
                (
                    "c",
                    "ephemeral container debug",
                    "/spec/ephemeralContainers/0/image"
                ),
                ("d", "image volume m", "/spec/volumes/0/image/reference"),
            ]
        );
    }

    #[test]
    fn templates_are_found_where_they_stand() {
        let inner = r#"{"spec":{"containers":[{"image":"a"}]}}"#;
        for (json, pointer) in [
            (
                format!(r#"{{"spec":{{"template":{inner}}}}}"#),
                "/spec/template/spec",
            ),
            (
                format!(r#"{{"spec":{{"jobTemplate":{{"spec":{{"template":{inner}}}}}}}}}"#),
                "/spec/jobTemplate/spec/template/spec",
            ),
            (format!(r#"{{"template":{inner}}}"#), "/template/spec"),
        ] {
            let found = images(&object(&json), false).unwrap();
            assert_eq!(found[0].pointer, format!("{pointer}/containers/0/image"));
            assert_eq!(found[0].place, "container 0");
        }
        assert_eq!(images(&object(r#"{"spec":{"replicas":1}}"#), false), None);
        // A workload that also has the lists of a pod hides nothing by them.
        let both = object(&format!(
            r#"{{"spec":{{"containers":[],"template":{inner}}}}}"#
        ));
        assert_eq!(images(&both, false).unwrap().len(), 1);
    }

    #[test]
    fn only_what_is_new_is_asked_about() {
        let found = |image: &str| Found {
            image: image.to_owned(),
            place: String::new(),
            pointer: String::new(),
        };
        let new = changed(vec![found("a"), found("b")], &[found("a"), found("c")]);
        assert_eq!(new, [found("b")]);
    }
}
