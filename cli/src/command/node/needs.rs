//! The images that a node can't do without: the sandbox image, without which no pod starts; those of static pods,
//! which are the control plane; those of the network; and what its operator names. They become exceptions by
//! digest, so that turning the check on leaves no node without pods. One whose digest is not known is told.

use std::fs;
use std::path::{Path, PathBuf};

use hardsign_core::artifact::Digest;
use hardsign_core::artifact::reference::{Reference, RepositoryName, TagOrDigest};
use hardsign_core::config::exceptions::{Exception, When};
use hardsign_core::config::formats::yaml;
use hardsign_core::config::read_named;
use hardsign_core::text::WithCauses;
use hardsign_plugin::text::io_text;
use serde_json::Value;

use super::containerd::Configuration;
use super::crictl::{self, Image};
use super::settings::Settings;
use crate::args::node::Places;
use crate::failure::Failure;

/// The exceptions of a node, and what could not be found out.
#[derive(Default)]
pub(super) struct Needs {
    pub(super) exceptions: Vec<Exception>,
    /// An image that is needed and whose digest nobody knows, and why it is needed or not known.
    pub(super) unknown: Vec<Unknown>,
}

/// Finds out what this node needs beside what `settings` except.
///
/// # Errors
/// The node can't be asked, a directory that was named can't be read, or an image that was named is not here.
pub(super) async fn find(
    places: &Places,
    named: &[String],
    configuration: &Configuration,
    settings: &Settings,
) -> Result<Needs, Failure> {
    let unasked = |why| {
        failed(why).hint(
            "--crictl and --runtime-endpoint say how to ask the node; --no-exceptions installs without asking, and a node whose own images are not signed then starts no pod",
        )
    };
    let images = crictl::images(places).await.map_err(unasked)?;
    let mut needs = Needs::default();
    needs.add_sandbox(configuration, &images);
    for image in images.iter().filter(|image| image.pinned) {
        let why = "pinned: containerd keeps it on the node";
        needs.add(&[image.name()], why, &images);
    }
    let pods = static_images(places)
        .map_err(|why| failed(why).hint("--manifests names the directories of static pods"))?;
    for (file, image) in pods {
        let why = format!("static pod: {}", file.display());
        needs.add(&[&image], &why, &images);
    }
    let network = crictl::network(places).await.map_err(unasked)?;
    for needed in &network.needed {
        let [reference, name] = &needed.references;
        needs.add(&[reference, name], &needed.why, &images);
    }
    let is_told = !named.is_empty() || settings.exceptions.iter().next().is_some();
    if !network.has_run && !is_told {
        let why = "no container has run on this node yet";
        needs
            .unknown
            .push(Unknown::new("an image of the network", why, NAME_IT));
    }
    needs.add_named(named, &images)?;
    Ok(needs)
}

fn failed(why: String) -> Failure {
    Failure::failed(format!(
        "failed to find the images that this node needs: {why}"
    ))
}

/// An image that is needed, and whose digest is not known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unknown {
    /// Its name, or what it is.
    pub(super) image: String,
    /// Why it is needed, and why more is not known.
    pub(super) why: String,
    /// What makes it known.
    pub(super) fix: &'static str,
}

impl Unknown {
    fn new(image: &str, why: &str, fix: &'static str) -> Self {
        Self {
            image: image.to_owned(),
            why: why.to_owned(),
            fix,
        }
    }
}

const PULL_IT: &str = "pull it, or name it by digest with --exception <image>@<digest>";
const NAME_IT: &str = "name it by digest with --exception <image>@<digest>, or start a pod first";
const NAME_CONTAINERD: &str = "name containerd's executable with --containerd";

impl Needs {
    /// Adds the sandbox image. containerd's default depends on its version, which its configuration file does not
    /// tell.
    fn add_sandbox(&mut self, configuration: &Configuration, images: &[Image]) {
        match configuration.sandbox() {
            Some(sandbox) => self.add(&[sandbox], "sandbox image: every pod needs it", images),
            None => {
                let source = &configuration.source;
                let why = format!("every pod needs it, and {source} does not name it");
                let unknown = Unknown::new("the sandbox image", &why, NAME_CONTAINERD);
                self.unknown.push(unknown);
            }
        }
    }

    /// Adds what was named. What is named by digest is the image of that repository that is needed by tag.
    fn add_named(&mut self, named: &[String], images: &[Image]) -> Result<(), Failure> {
        for name in named {
            if !self.add_known(&[name], "named to node install", images) {
                return Err(Failure::failed(format!(
                    "--exception {name}: it is not on this node, so its digest is not known"
                ))
                .hint("name it by digest: <image>@<digest>"));
            }
            self.unknown
                .retain(|needed| !stands_for(name, &needed.image));
        }
        Ok(())
    }

    /// Adds an image under every name that it has on the node, or else to those that are not known. One that was
    /// imported has no digest there; if it is pinned, it is never pulled.
    fn add(&mut self, references: &[&str], why: &str, images: &[Image]) {
        let is_kept = |reference: &&str| {
            let full = full_name(reference);
            images
                .iter()
                .any(|i| i.pinned && (i.is(&full) || i.is(reference)))
        };
        if self.add_known(references, why, images) || references.iter().any(is_kept) {
            return;
        }
        let name = references.iter().rev().find(|r| !r.is_empty());
        let name = name.copied().unwrap_or_default();
        if !self.unknown.iter().any(|known| known.image == name) {
            self.unknown.push(Unknown::new(name, why, PULL_IT));
        }
    }

    /// Adds an image under every name that it has on the node. Whether its digest is known.
    fn add_known(&mut self, references: &[&str], why: &str, images: &[Image]) -> bool {
        let mut found = Vec::new();
        for reference in references.iter().filter(|reference| !reference.is_empty()) {
            let full = full_name(reference);
            // By digest it need not be on the node.
            found.extend(by_digest(&full));
            let fitting = images.iter().filter(|i| i.is(&full) || i.is(reference));
            let digests = fitting.flat_map(|image| &image.repo_digests);
            found.extend(digests.filter_map(|digest| by_digest(digest)));
        }
        let is_known = !found.is_empty();
        for (repository, digest) in found {
            let known = |e: &Exception| e.repository == repository && e.digest == digest;
            if !self.exceptions.iter().any(known) {
                self.exceptions.push(Exception {
                    repository,
                    digest,
                    when: When::Always,
                    reason: why.to_owned(),
                });
            }
        }
        is_known
    }
}

/// Whether an image that is named by digest is the one that is needed by tag: of the same repository, and of the
/// same tag where one is named too.
fn stands_for(named: &str, needed: &str) -> bool {
    let Some((name, _digest)) = named.split_once('@') else {
        return false;
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.contains(':') {
        true => full_name(name) == full_name(needed),
        false => untagged(&full_name(name)) == untagged(&full_name(needed)),
    }
}

/// A full name without its tag.
fn untagged(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(name, _tag)| name)
}

/// The repository and digest of a reference that has one.
fn by_digest(reference: &str) -> Option<(RepositoryName, Digest)> {
    let reference: Reference = reference.parse().ok()?;
    match reference.target {
        TagOrDigest::Digest(digest) => Some((reference.repository, digest)),
        TagOrDigest::Tag(_) => None,
    }
}

/// A reference as containerd writes it: `busybox` is `docker.io/library/busybox:latest`.
fn full_name(reference: &str) -> String {
    let first = reference.split('/').next().unwrap_or_default();
    let is_registry = first.contains(['.', ':']) || first == "localhost";
    let named = match reference.split_once('/') {
        Some(_) if is_registry => reference.to_owned(),
        Some(_) => format!("docker.io/{reference}"),
        None => format!("docker.io/library/{reference}"),
    };
    let last = named.rsplit('/').next().unwrap_or_default();
    match last.contains([':', '@']) {
        true => named,
        false => format!("{named}:latest"),
    }
}

/// The images of static pods, each with the file that names it. A directory that was named must be there.
fn static_images(places: &Places) -> Result<Vec<(PathBuf, String)>, String> {
    let mut found = Vec::new();
    let are_named = !places.manifests.is_empty();
    for directory in manifests(places) {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !are_named => continue,
            Err(error) => return Err(format!("{}: {}", directory.display(), io_text(&error))),
        };
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort();
        // As the kubelet: what begins with a point is no manifest.
        let hidden = |file: &Path| {
            let name = file.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with('.')
        };
        for file in files.into_iter().filter(|f| f.is_file() && !hidden(f)) {
            let images = read_pods(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            found.extend(images.into_iter().map(|image| (file.clone(), image)));
        }
    }
    Ok(found)
}

/// The directories of static pods: those that were named, else the usual one and the kubelet's own.
fn manifests(places: &Places) -> Vec<PathBuf> {
    if !places.manifests.is_empty() {
        return places.manifests.clone();
    }
    let mut directories = vec![PathBuf::from(MANIFESTS)];
    let own = read_named(Path::new(KUBELET), MAX_FILE).ok();
    let own = own.and_then(|bytes| String::from_utf8(bytes).ok());
    let own = own.and_then(|text| yaml::document(&text).ok());
    if let Some(Value::String(path)) = own.as_ref().and_then(|own| own.get("staticPodPath")) {
        directories.push(path.into());
    }
    directories.dedup();
    directories
}

fn read_pods(file: &Path) -> Result<Vec<String>, String> {
    let bytes = read_named(file, MAX_FILE).map_err(|error| WithCauses(&error).to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let pods = yaml::documents(&text).map_err(|error| error.to_string())?;
    Ok(pods.iter().flat_map(images_of).collect())
}

/// Every image that a pod names.
fn images_of(pod: &Value) -> Vec<String> {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let lists = [
        "initContainers",
        "containers",
        "ephemeralContainers",
        "volumes",
    ];
    let lists = lists.iter().filter_map(|name| spec.get(name)?.as_array());
    let images = lists.flatten().filter_map(|item| match item.get("image")? {
        Value::String(image) => Some(image.clone()),
        // An image volume.
        volume => Some(volume.get("reference")?.as_str()?.to_owned()),
    });
    images.collect()
}

/// Where kubeadm puts static pods.
const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// The kubelet's configuration.
const KUBELET: &str = "/var/lib/kubelet/config.yaml";
/// Largest manifest, in bytes.
const MAX_FILE: u64 = 10 << 20;

#[cfg(test)]
mod tests {
    use super::super::containerd::tests::configuration;
    use super::*;

    #[test]
    fn names_as_containerd_writes_them() {
        for (short, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("flannel/flannel:v1", "docker.io/flannel/flannel:v1"),
            ("localhost:5000/a", "localhost:5000/a:latest"),
            ("localhost/a:v1", "localhost/a:v1"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("r.example/a@sha256:00", "r.example/a@sha256:00"),
        ] {
            assert_eq!(full_name(short), full);
        }
    }

    #[test]
    fn every_image_of_a_pod() {
        let pod = "spec:\n  initContainers: [{image: a}]\n  containers:\n  - image: b\n  - {name: c}\n  volumes:\n  \
                   - image: {reference: d}\n  - hostPath: {path: /}\n";
        assert_eq!(images_of(&yaml::document(pod).unwrap()), ["a", "b", "d"]);
        assert!(images_of(&Value::Null).is_empty());
    }

    #[test]
    fn an_image_is_excepted_by_digest_or_not_at_all() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let images: Vec<Image> = serde_json::from_value(serde_json::json!([{
            "id": "sha256:1",
            "repoTags": ["registry.k8s.io/pause:3.10", "mirror.example/pause:3.10"],
            "repoDigests": [format!("registry.k8s.io/pause@{digest}"), format!("mirror.example/pause@{digest}")],
        }]))
        .unwrap();
        let mut needs = Needs::default();
        needs.add(&["registry.k8s.io/pause:3.10"], "sandbox", &images);
        needs.add(&["sha256:1", ""], "again", &images);
        needs.add(&["", "gone:v1"], "network", &images);
        needs.add(&[&format!("r.example/x@{digest}")], "pod", &images);
        let imported: Vec<Image> = serde_json::from_value(serde_json::json!([
            {"id": "sha256:2", "repoTags": ["r.example/kept:v1"], "pinned": true},
        ]))
        .unwrap();
        needs.add(&["r.example/kept:v1"], "sandbox", &imported);
        let names: Vec<_> = needs
            .exceptions
            .iter()
            .map(|e| e.repository.to_string())
            .collect();
        assert_eq!(
            names,
            [
                "registry.k8s.io/pause",
                "mirror.example/pause",
                "r.example/x"
            ]
        );
        assert_eq!(needs.unknown, [Unknown::new("gone:v1", "network", PULL_IT)]);
    }

    /// What is to be done depends on what is not known.
    #[test]
    fn the_sandbox_image_is_known_by_containerd_alone() {
        let mut needs = Needs::default();
        needs.add_sandbox(&configuration(""), &[]);
        needs.add(&["gone:v1"], "network", &[]);
        let fixes: Vec<_> = needs.unknown.iter().map(|unknown| unknown.fix).collect();
        assert_eq!(fixes, [NAME_CONTAINERD, PULL_IT]);
    }

    /// What is named by digest is known; nothing else of the repository's is, where a tag is named.
    #[test]
    fn what_is_named_by_digest_stands_for_what_is_needed_by_tag() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (named, needed, expected) in [
            ("registry.k8s.io/pause", "registry.k8s.io/pause:3.10", true),
            (
                "registry.k8s.io/pause:3.10",
                "registry.k8s.io/pause:3.10",
                true,
            ),
            (
                "registry.k8s.io/pause:3.9",
                "registry.k8s.io/pause:3.10",
                false,
            ),
            ("registry.k8s.io/pause", "mirror.example/pause:3.10", false),
            ("localhost:5000/pause", "localhost:5000/pause:3.10", true),
            ("docker.io/library/a", "a", true),
            ("registry.k8s.io/pause", "the sandbox image", false),
        ] {
            let mut needs = Needs::default();
            needs.add(&[needed], "needed", &[]);
            assert_eq!(needs.unknown.len(), 1, "{needed}");
            let named = format!("{named}@{digest}");
            needs.add_named(std::slice::from_ref(&named), &[]).unwrap();
            assert_eq!(needs.unknown.is_empty(), expected, "{named} {needed}");
        }
        let told = Needs::default().add_named(&["r.example/a:v1".to_owned()], &[]);
        let told = told.unwrap_err().messages.join("; ");
        assert!(
            told.contains("--exception r.example/a:v1: it is not on this node"),
            "{told}"
        );
    }
}
