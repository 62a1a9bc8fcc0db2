//! The images and containers of this node, as `crictl` lists them.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::containerd::find;
use super::run;
use crate::args::node::Places;

/// An image on the node.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::command) struct Image {
    id: String,
    #[serde(default)]
    pub(in crate::command) repo_tags: Vec<String>,
    /// `<repository>@<digest>`, the digest that the name led to.
    #[serde(default)]
    pub(in crate::command) repo_digests: Vec<String>,
    #[serde(default)]
    pub(in crate::command) pinned: bool,
}

impl Image {
    /// Whether it is what a pod names: by tag, by digest, or by the identity it has on the node.
    pub(in crate::command) fn is(&self, reference: &str) -> bool {
        let mut names = self.repo_tags.iter().chain(&self.repo_digests);
        self.id == reference || names.any(|name| name == reference)
    }

    /// What it is called.
    pub(in crate::command) fn name(&self) -> &str {
        let mut names = self.repo_tags.iter().chain(&self.repo_digests);
        names.next().unwrap_or(&self.id)
    }
}

#[derive(Deserialize)]
struct Images {
    #[serde(default)]
    images: Vec<Image>,
}

#[derive(Deserialize)]
struct Containers {
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    id: String,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
struct Inspected {
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    image_ref: String,
    #[serde(default)]
    image: Spec,
    #[serde(default)]
    mounts: Vec<Mount>,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    image: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    #[serde(default)]
    host_path: String,
}

/// An image that runs in a container which the node's network needs, and what tells so.
pub(in crate::command) struct Needed {
    pub(in crate::command) references: [String; 2],
    pub(in crate::command) why: String,
}

/// What the network of a node needs.
pub(in crate::command) struct Network {
    pub(in crate::command) needed: Vec<Needed>,
    /// Whether any container ran here, without which there is nothing to see.
    pub(in crate::command) has_run: bool,
}

/// All images of the node.
pub(in crate::command) async fn images(places: &Places) -> Result<Vec<Image>, String> {
    let list: Images = ask(places, &["images", "-o", "json"]).await?;
    Ok(list.images)
}

/// The images of the network: of containers that put the CNI's plugins or configuration in place, running or
/// ended, and of kube-proxy.
pub(in crate::command) async fn network(places: &Places) -> Result<Network, String> {
    let list: Containers = ask(places, &["ps", "-a", "-o", "json"]).await?;
    let mut needed = Vec::new();
    for container in list.containers.iter().take(MAX_CONTAINERS) {
        let id = container.id.as_str();
        // One that ended in the meantime needs nothing.
        let Ok(Inspected { status }) = ask(places, &["inspect", "-o", "json", id]).await else {
            continue;
        };
        let name = &container.metadata.name;
        let mount = status.mounts.iter().find(|mount| is_cni(&mount.host_path));
        let why = match mount {
            Some(mount) => format!("network: container {name} mounts {}", mount.host_path),
            None if name == "kube-proxy" => "network: kube-proxy".to_owned(),
            None => continue,
        };
        needed.push(Needed {
            references: [status.image_ref, status.image.image],
            why,
        });
    }
    Ok(Network {
        needed,
        has_run: !list.containers.is_empty(),
    })
}

/// Whether a path of the host is the CNI's: `/etc/cni/net.d`, `/opt/cni/bin`, `/var/lib/…/etc/cni`.
fn is_cni(path: &str) -> bool {
    path.split('/').any(|part| part == "cni")
}

async fn ask<T: DeserializeOwned>(places: &Places, what: &[&str]) -> Result<T, String> {
    let program = program(places).ok_or("crictl is not in PATH")?;
    let endpoint = places.runtime_endpoint.as_str();
    let mut arguments = vec!["--runtime-endpoint", endpoint, "--image-endpoint", endpoint];
    arguments.extend(what);
    let text = run::output(&program, &arguments).await?;
    serde_json::from_str(&text).map_err(|error| {
        format!(
            "failed to read the output of {}: {error}",
            program.display()
        )
    })
}

fn program(places: &Places) -> Option<PathBuf> {
    places.crictl.clone().or_else(|| find("crictl"))
}

/// Most containers that are looked into.
const MAX_CONTAINERS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cni_is_known_by_its_directories() {
        for (path, expected) in [
            ("/etc/cni/net.d", true),
            ("/opt/cni/bin", true),
            ("/var/lib/rancher/k3s/agent/etc/cni", true),
            ("/var/lib/cni-data", false),
            ("/etc/kubernetes", false),
            ("", false),
        ] {
            assert_eq!(is_cni(path), expected, "{path}");
        }
    }
}
