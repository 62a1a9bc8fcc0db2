//! Which images an object runs, and which of them are new.
//!
//! Containers, init containers and ephemeral containers, and volumes that are images: the kubelet pulls all of
//! them. References are read as the container runtimes read them, with `docker.io` and `latest` where
//! nothing is said; a digest, where there is one, is what counts, and the tag beside it nothing.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use hardsign_core::artifact::Digest;
use hardsign_core::artifact::reference::{RepositoryName, is_tag};

use crate::bounded::{List, MAX_PLACES};
use crate::cluster::MAX_SECRETS;
use crate::review::{Container, Label, Object, Reference, Spec, Volume};

/// Most different images of one object that are looked at.
pub const MAX_IMAGES: usize = 500;

/// An image of an object, and where it stands there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// As it is written.
    pub image: String,
    /// For people: `container app`, or the first of several places.
    pub place: String,
    /// All of its places.
    pub pointers: Vec<Pointer>,
}

/// A JSON pointer (RFC 6901) to an image, in the object of the review.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pointer {
    /// To the specification of the pod.
    spec: &'static str,
    /// The member of it that is a list.
    list: &'static str,
    at: usize,
    /// In the element of the list.
    rest: &'static str,
}

/// What of an object is judged.
#[derive(Debug)]
pub(crate) enum Subject {
    /// Nothing: none is made or changed, or no image of it is new.
    Nothing,
    /// There is no pod in it, as far as is known.
    NoPod,
    /// There is more than is looked at, and what.
    TooMuch(String),
    /// Images, each once.
    Images {
        images: Vec<Found>,
        /// The names of the pod's pull secrets.
        secrets: Vec<String>,
    },
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
                (written, tag.strip_prefix(':'))
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

    /// The image as it is named to others: by its digest if it has one, else by its tag.
    pub fn reference(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{}@{digest}", self.repository),
            (None, Some(tag)) => format!("{}:{tag}", self.repository),
            (None, None) => self.repository.to_string(),
        }
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

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            spec,
            list,
            at,
            rest,
        } = self;
        write!(f, "{spec}/{list}/{at}/{rest}")
    }
}

impl Found {
    /// What it takes while it is judged, in bytes: more or less.
    pub(crate) fn size(&self) -> usize {
        let pointers = self.pointers.len().saturating_mul(size_of::<Pointer>());
        let texts = self.image.len().saturating_add(self.place.len());
        JUDGED.saturating_add(pointers).saturating_add(texts)
    }
}

impl Subject {
    /// What of an object is judged, where `old` is what stood in its place before.
    pub(crate) fn of(object: &Object, old: Option<&Object>, is_pod: bool) -> Self {
        let Some((spec, pointer)) = pod_spec(object, is_pod) else {
            return Self::NoPod;
        };
        let images = match images(spec, pointer) {
            Ok(images) => images,
            Err(what) => return Self::TooMuch(what),
        };
        let old = old.and_then(|old| {
            let (spec, pointer) = pod_spec(old, is_pod)?;
            self::images(spec, pointer).ok()
        });
        let images = changed(images, &old.unwrap_or_default());
        if images.len() > MAX_IMAGES {
            return Self::TooMuch(format!("it has more than {MAX_IMAGES} different images"));
        }
        let secrets = spec.image_pull_secrets.iter().flat_map(|all| &all.elements);
        let names = secrets.filter_map(|(_, secret)| secret.name.as_ref()?.whole());
        match images.is_empty() {
            true => Self::Nothing,
            false => Self::Images {
                images,
                secrets: names.take(MAX_SECRETS).map(str::to_owned).collect(),
            },
        }
    }
}

/// The images of a pod, each once, in the order in which they stand there.
///
/// # Errors
/// There is more than is looked at.
fn images(spec: &Spec, pointer: &'static str) -> Result<Vec<Found>, String> {
    let mut all = Gathered::default();
    for (what, member, list) in [
        ("container", "containers", &spec.containers),
        ("init container", "initContainers", &spec.init_containers),
        (
            "ephemeral container",
            "ephemeralContainers",
            &spec.ephemeral_containers,
        ),
    ] {
        all.add(what, [pointer, member, "image"], list.as_ref())?;
    }
    let path = [pointer, "volumes", "image/reference"];
    all.add("image volume", path, spec.volumes.as_ref())?;
    Ok(all.found)
}

/// What a list has that may name an image.
trait Standing {
    fn name(&self) -> Option<&Label>;
    fn image(&self) -> Option<&Reference>;
}

impl Standing for Container {
    fn name(&self) -> Option<&Label> {
        self.name.as_ref()
    }

    fn image(&self) -> Option<&Reference> {
        self.image.as_ref()
    }
}

impl Standing for Volume {
    fn name(&self) -> Option<&Label> {
        self.name.as_ref()
    }

    fn image(&self) -> Option<&Reference> {
        self.image.as_ref()?.reference.as_ref()
    }
}

#[derive(Default)]
struct Gathered {
    found: Vec<Found>,
    /// Where in `found` an image is.
    known: HashMap<String, usize>,
    places: usize,
}

impl Gathered {
    fn add<T: Standing>(
        &mut self,
        what: &str,
        [spec, list, rest]: [&'static str; 3],
        all: Option<&List<T>>,
    ) -> Result<(), String> {
        let too_many = || format!("it has more than {MAX_PLACES} images");
        for (at, element) in all.iter().flat_map(|all| &all.elements) {
            let name = match element.name() {
                Some(name) => name.whole().ok_or_else(|| {
                    format!(
                        "the name of {what} {at} has more than {} bytes",
                        Label::MOST
                    )
                })?,
                None => "",
            };
            let place = match name {
                "" => format!("{what} {at}"),
                name => format!("{what} {name}"),
            };
            let Some(image) = element.image() else {
                continue;
            };
            let image = image.whole().ok_or_else(|| {
                format!(
                    "the image of {place} has more than {} bytes",
                    Reference::MOST
                )
            })?;
            self.places += 1;
            if self.places > MAX_PLACES {
                return Err(too_many());
            }
            let pointer = Pointer {
                spec,
                list,
                at: *at,
                rest,
            };
            self.stands(image, place, pointer);
        }
        match all.is_some_and(|all| all.more) {
            true => Err(too_many()),
            false => Ok(()),
        }
    }

    fn stands(&mut self, image: &str, place: String, pointer: Pointer) {
        let known = self.known.get(image).and_then(|at| self.found.get_mut(*at));
        match known {
            Some(found) => {
                if found.place.len() < MAX_PLACE {
                    found.place.push_str(", ");
                    found.place.push_str(&place);
                }
                found.pointers.push(pointer);
            }
            None => {
                self.known.insert(image.to_owned(), self.found.len());
                self.found.push(Found {
                    image: image.to_owned(),
                    place,
                    pointers: vec![pointer],
                });
            }
        }
    }
}

/// The specification of the pod that an object is or that is made from it, and where it stands.
fn pod_spec(object: &Object, is_pod: bool) -> Option<(&Spec, &'static str)> {
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
fn changed(new: Vec<Found>, old: &[Found]) -> Vec<Found> {
    let old: BTreeSet<&str> = old.iter().map(|found| found.image.as_str()).collect();
    let is_new = |found: &Found| !old.contains(found.image.as_str());
    new.into_iter().filter(is_new).collect()
}

/// What the judging of an image takes beside its texts, in bytes.
pub(crate) const JUDGED: usize = 4096;
/// Longest list of the places of one image.
const MAX_PLACE: usize = 200;

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
            assert_eq!(image.reference(), format!("a.example/b@{DIGEST}"));
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
            "a.example/b::v1",
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

    fn found(object: &Object, is_pod: bool) -> Option<Vec<Found>> {
        match Subject::of(object, None, is_pod) {
            Subject::Images { images, .. } => Some(images),
            Subject::Nothing => Some(Vec::new()),
            Subject::NoPod => None,
            Subject::TooMuch(what) => panic!("{what}"),
        }
    }

    #[test]
    fn every_image_of_a_pod_is_found() {
        let pod = object(
            r#"{"spec":{"containers":[{"name":"app","image":"a"},{"name":"none"}],"initContainers":[{"name":"i","image":"b"}],
            "ephemeralContainers":[{"name":"debug","image":"c"}],
            "volumes":[{"name":"m","image":{"reference":"d"}},{"name":"n","emptyDir":{}}]}}"#,
        );
        let found = found(&pod, true).unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|f| {
                (
                    f.image.as_str(),
                    f.place.as_str(),
                    f.pointers[0].to_string(),
                )
            })
            .collect();
        let seen: Vec<_> = seen.iter().map(|(a, b, c)| (*a, *b, c.as_str())).collect();
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
            let found = found(&object(&json), false).unwrap();
            let at = found[0].pointers[0].to_string();
            assert_eq!(at, format!("{pointer}/containers/0/image"));
            assert_eq!(found[0].place, "container 0");
        }
        assert_eq!(found(&object(r#"{"spec":{"replicas":1}}"#), false), None);
        // A workload that also has the lists of a pod hides nothing by them.
        let both = object(&format!(
            r#"{{"spec":{{"containers":[],"template":{inner}}}}}"#
        ));
        assert_eq!(found(&both, false).unwrap().len(), 1);
    }

    #[test]
    fn only_what_is_new_is_asked_about() {
        let found = |image: &str| Found {
            image: image.to_owned(),
            place: String::new(),
            pointers: Vec::new(),
        };
        let new = changed(vec![found("a"), found("b")], &[found("a"), found("c")]);
        assert_eq!(new, [found("b")]);
    }

    #[test]
    fn an_image_in_several_places_is_one() {
        let pod = object(
            r#"{"spec":{"containers":[{"name":"x","image":"a"},{"name":"y","image":"b"}],"initContainers":[{"image":"a"}]}}"#,
        );
        let found = found(&pod, true).unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|f| (f.image.as_str(), f.place.as_str(), f.pointers.len()))
            .collect();
        assert_eq!(
            seen,
            [
                ("a", "container x, init container 0", 2),
                ("b", "container y", 1)
            ]
        );
    }
}
