//! What the registry holds, and its ordinary answers (OCI distribution specification 1.1).

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};

use super::{Behaviour, DigestTags, Request, Response};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[derive(Default)]
pub(super) struct Store {
    blobs: BTreeMap<(String, String), Vec<u8>>,
    manifests: BTreeMap<(String, String), Stored>,
    tags: BTreeMap<(String, String), String>,
    /// Digests of manifests in the order in which they came.
    order: Vec<String>,
    uploads: usize,
}

pub(super) struct Stored {
    kind: String,
    pub(super) bytes: Vec<u8>,
}

impl Store {
    pub(super) fn put_blob(&mut self, repository: &str, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        let key = (repository.to_owned(), digest.clone());
        self.blobs.insert(key, bytes.to_vec());
        digest
    }

    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        kind: &str,
        bytes: &[u8],
    ) -> String {
        let digest = sha256(bytes);
        let stored = Stored {
            kind: kind.to_owned(),
            bytes: bytes.to_vec(),
        };
        let key = (repository.to_owned(), digest.clone());
        if self.manifests.insert(key, stored).is_none() {
            self.order.push(digest.clone());
        }
        if let Some(tag) = tag {
            let key = (repository.to_owned(), tag.to_owned());
            self.tags.insert(key, digest.clone());
        }
        digest
    }

    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<&Stored> {
        let tag = (repository.to_owned(), reference.to_owned());
        let digest = self.tags.get(&tag).map_or(reference, String::as_str);
        self.manifests
            .get(&(repository.to_owned(), digest.to_owned()))
    }

    /// A manifest as the registry answers with it.
    fn read(&self, behaviour: &Behaviour, repository: &str, reference: &str) -> Option<&Stored> {
        let digest = reference.replacen("sha256-", "sha256:", 1);
        match behaviour.digest_tags {
            DigestTags::Tags => self.manifest(repository, reference),
            DigestTags::DigestsUntilWritten => self
                .manifest(repository, reference)
                .or_else(|| self.manifest(repository, &digest)),
            DigestTags::Digests => self.manifest(repository, &digest),
        }
    }

    pub(super) fn manifest_count(&self, repository: &str) -> usize {
        self.manifests
            .keys()
            .filter(|(r, _)| r == repository)
            .count()
    }

    pub(super) fn answer(&mut self, behaviour: &Behaviour, request: &Request) -> Response {
        let Some(path) = request.path.strip_prefix("/v2/") else {
            return Response::status(404);
        };
        if path.is_empty() {
            return Response::json(200, "{}");
        }
        if let Some((repository, rest)) = path.split_once("/blobs/") {
            return self.blob(repository, rest, request);
        }
        if let Some((repository, reference)) = path.split_once("/manifests/") {
            return self.manifests(behaviour, repository, reference, request);
        }
        match path.split_once("/referrers/") {
            Some((repository, subject)) if behaviour.referrers_api => {
                self.referrers(behaviour, repository, subject, request)
            }
            _ => Response::status(404),
        }
    }

    fn blob(&mut self, repository: &str, rest: &str, request: &Request) -> Response {
        match request.method.as_str() {
            "POST" if rest == "uploads/" => {
                self.uploads += 1;
                let place = format!("/v2/{repository}/blobs/uploads/{}?state=a", self.uploads);
                Response::status(202).header("location", &place)
            }
            "PUT" if rest.starts_with("uploads/") => {
                let wanted = parameter(&request.query, "digest").unwrap_or_default();
                if sha256(&request.body) != wanted {
                    return fault(400, "DIGEST_INVALID");
                }
                self.put_blob(repository, &request.body);
                Response::status(201).header("docker-content-digest", &wanted)
            }
            "GET" | "HEAD" => {
                let key = (repository.to_owned(), rest.to_owned());
                match self.blobs.get(&key) {
                    Some(bytes) => Response::bytes(200, bytes.clone())
                        .header("content-type", "application/octet-stream")
                        .header("docker-content-digest", rest),
                    None => fault(404, "BLOB_UNKNOWN"),
                }
            }
            _ => fault(405, "UNSUPPORTED"),
        }
    }

    fn manifests(
        &mut self,
        behaviour: &Behaviour,
        repository: &str,
        reference: &str,
        request: &Request,
    ) -> Response {
        match request.method.as_str() {
            "GET" | "HEAD" => match self.read(behaviour, repository, reference) {
                Some(stored) => Response::bytes(200, stored.bytes.clone())
                    .header("content-type", &stored.kind)
                    .header("docker-content-digest", &sha256(&stored.bytes)),
                None => fault(404, "MANIFEST_UNKNOWN"),
            },
            "PUT" => self.put(behaviour, repository, reference, request),
            "DELETE" if behaviour.delete => {
                let key = (repository.to_owned(), reference.to_owned());
                let gone = self.manifests.remove(&key).is_some();
                self.order.retain(|d| d != reference);
                self.tags
                    .retain(|(r, _), digest| r != repository || digest != reference);
                if gone {
                    Response::status(202)
                } else {
                    fault(404, "MANIFEST_UNKNOWN")
                }
            }
            _ => fault(405, "UNSUPPORTED"),
        }
    }

    /// Refuses a manifest whose content is not there yet, and a digest that is not its own.
    fn put(
        &mut self,
        behaviour: &Behaviour,
        repository: &str,
        reference: &str,
        request: &Request,
    ) -> Response {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let digest = sha256(&request.body);
        let tag = (!reference.contains(':')).then_some(reference);
        if tag.is_none() && reference != digest {
            return fault(400, "DIGEST_INVALID");
        }
        let subject = subject_of(&text);
        for needed in digests_in(&text) {
            let key = (repository.to_owned(), needed.clone());
            let here = self.blobs.contains_key(&key) || self.manifests.contains_key(&key);
            if !here && Some(&needed) != subject.as_ref() {
                return fault(400, "MANIFEST_BLOB_UNKNOWN");
            }
        }
        let kind = request
            .header("content-type")
            .unwrap_or_default()
            .to_owned();
        self.put_manifest(repository, tag, &kind, &request.body);
        let answer = Response::status(201).header("docker-content-digest", &digest);
        match subject {
            Some(subject) if behaviour.referrers_api => answer.header("oci-subject", &subject),
            _ => answer,
        }
    }

    fn referrers(
        &self,
        behaviour: &Behaviour,
        repository: &str,
        subject: &str,
        request: &Request,
    ) -> Response {
        let wanted = parameter(&request.query, "artifactType");
        let start: usize = parameter(&request.query, "start")
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        let mut entries = Vec::new();
        for digest in &self.order {
            let key = (repository.to_owned(), digest.clone());
            let Some(stored) = self.manifests.get(&key) else {
                continue;
            };
            let text = String::from_utf8_lossy(&stored.bytes);
            if subject_of(&text).as_deref() != Some(subject) {
                continue;
            }
            let artifact_type = member(&text, "artifactType").or_else(|| config_type(&text));
            let artifact_type = artifact_type.unwrap_or_default();
            if wanted.as_ref().is_none_or(|w| *w == artifact_type) {
                entries.push(format!(
                    r#"{{"mediaType":"{}","digest":"{digest}","size":{},"artifactType":"{artifact_type}"}}"#,
                    stored.kind,
                    stored.bytes.len()
                ));
            }
        }
        let end = entries.len().min(start.saturating_add(behaviour.page_size));
        let page = entries.get(start..end).unwrap_or_default().join(",");
        let body = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{page}]}}"#);
        let mut answer = Response::bytes(200, body.into_bytes()).header("content-type", INDEX);
        if wanted.is_some() {
            answer = answer.header("oci-filters-applied", "artifactType");
        }
        if end < entries.len() {
            let filter = wanted
                .map(|w| format!("artifactType={w}&"))
                .unwrap_or_default();
            let next = format!("<{}?{filter}start={end}>; rel=\"next\"", request.path);
            answer = answer.header("link", &next);
        }
        answer
    }
}

fn fault(status: u16, code: &str) -> Response {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"said the fake"}}]}}"#);
    Response::json(status, &body)
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    let hex: Vec<String> = hash.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{}", hex.concat())
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let found = query
        .split('&')
        .filter_map(|p| p.split_once('='))
        .find(|(n, _)| *n == name);
    found.map(|(_, v)| {
        v.replace("%3A", ":")
            .replace("%2F", "/")
            .replace("%2B", "+")
    })
}

/// The compact manifests of tests need no parser: the text after `"name":"`.
fn member(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("\"{name}\":\""))?;
    Some(rest.split('"').next()?.to_owned())
}

fn config_type(text: &str) -> Option<String> {
    member(text.split_once("\"config\":")?.1, "mediaType")
}

fn subject_of(text: &str) -> Option<String> {
    member(text.split_once("\"subject\":")?.1, "digest")
}

fn digests_in(text: &str) -> Vec<String> {
    text.split("\"digest\":\"")
        .skip(1)
        .filter_map(|rest| Some(rest.split('"').next()?.to_owned()))
        .collect()
}
