//! OCI layouts with artifacts to sign.

use std::fs;
use std::path::{Path, PathBuf};

use hex::encode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// An OCI layout directory.
pub struct Layout {
    path: PathBuf,
}

impl Layout {
    /// Makes an empty layout.
    pub fn new(path: &Path) -> Self {
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let layout = Self {
            path: path.to_owned(),
        };
        layout.write_index(&json!({"schemaVersion": 2, "manifests": []}));
        layout
    }

    /// Adds an artifact with this text as its only layer under `tag`; returns its digest.
    pub fn add(&self, tag: &str, text: &str) -> String {
        let (layer, layer_size) = self.blob(text.as_bytes());
        let (config, config_size) = self.blob(b"{}");
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": "text/plain",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": config_size},
            "layers": [{"mediaType": "text/plain", "digest": layer, "size": layer_size}],
        });
        let (digest, size) = self.blob(manifest.to_string().as_bytes());
        let mut index = self.index();
        index["manifests"].as_array_mut().unwrap().push(json!({
            "mediaType": MANIFEST,
            "digest": digest,
            "size": size,
            "annotations": {"org.opencontainers.image.ref.name": tag},
        }));
        self.write_index(&index);
        digest
    }

    /// Adds an index of artifacts that the layout holds, each for a platform or none, under `tag`;
    /// returns its digest. An artifact with that digest is listed as what it is.
    pub fn add_index(&self, tag: &str, members: &[(&str, Option<&str>)]) -> String {
        let members: Vec<_> = members
            .iter()
            .map(|(digest, platform)| {
                let content = fs::read(self.blob_path(digest)).unwrap();
                let parsed: Value = serde_json::from_slice(&content).unwrap();
                let mut member = json!({
                    "mediaType": parsed["mediaType"],
                    "digest": digest,
                    "size": content.len(),
                });
                if let Some((os, architecture)) = platform.and_then(|p| p.split_once('/')) {
                    member["platform"] = json!({"os": os, "architecture": architecture});
                }
                member
            })
            .collect();
        let content = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": members});
        let (digest, size) = self.blob(content.to_string().as_bytes());
        let mut index = self.index();
        index["manifests"].as_array_mut().unwrap().push(json!({
            "mediaType": INDEX,
            "digest": digest,
            "size": size,
            "annotations": {"org.opencontainers.image.ref.name": tag},
        }));
        self.write_index(&index);
        digest
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a blob.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.path.join("blobs").join(digest.replace(':', "/"))
    }

    pub fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path.join("index.json")).unwrap()).unwrap()
    }

    /// Every file of the layout with its content, to see that nothing changed.
    pub fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut directories = vec![self.path.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if !path
                    .file_name()
                    .unwrap()
                    .to_string_lossy()
                    .ends_with(".lock")
                {
                    files.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        files.sort();
        files
    }

    fn blob(&self, content: &[u8]) -> (String, usize) {
        let digest = format!("sha256:{}", encode(Sha256::digest(content)));
        fs::write(self.blob_path(&digest), content).unwrap();
        (digest, content.len())
    }

    fn write_index(&self, index: &Value) {
        fs::write(self.path.join("index.json"), index.to_string()).unwrap();
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
