//! The few things that the API server is asked: labels of a namespace, and secrets with registry credentials.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hardsign_core::artifact::reference::RepositoryName;
use hardsign_core::config::{ConfigFile, read_named};
use hardsign_core::crypto;
use hardsign_core::http::{Client, ClientOptions, HeaderValue, Method, Request, StatusCode, Url};
use hardsign_core::oci::auth::{Credential, credentials};
use hardsign_core::text::WithCauses;
use serde::Deserialize;

use crate::recent::Recent;

/// How the API server is reached.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Its address, `https://10.0.0.1:443`.
    pub url: String,
    /// A PEM file of the CAs that its certificate comes from.
    pub ca_file: PathBuf,
    /// A file with the token of our service account; read for each request, since it is exchanged.
    pub token_file: PathBuf,
}

/// The API server.
pub(crate) struct Cluster {
    api: Arc<Api>,
    labels: Recent<Labels>,
}

struct Api {
    client: Client,
    base: Url,
    token_file: PathBuf,
}

pub(crate) type Labels = BTreeMap<String, String>;

/// A credential of the pod, and what tells it from others.
#[derive(Clone, Debug)]
pub(crate) struct PullSecret {
    pub(crate) credential: Credential,
    /// Of namespace, name and content.
    pub(crate) key: String,
}

#[derive(Deserialize)]
struct Namespace {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    labels: Labels,
}

#[derive(Deserialize)]
struct Secret {
    #[serde(default)]
    data: BTreeMap<String, String>,
}

impl Cluster {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// The address, the CA file or the token file can't be used.
    pub(crate) fn new(options: ClusterOptions) -> Result<Self, String> {
        let url = options.url.trim_end_matches('/');
        let base: Url = url
            .parse()
            .map_err(|error| format!("{url} is no address of an API server: {error}"))?;
        if base.scheme() != "https" {
            return Err(format!(
                "{url} is no address of an API server: it must begin with https://"
            ));
        }
        let ca = read_named(&options.ca_file, MAX_FILE)
            .map_err(|error| WithCauses(&error).to_string())?;
        let mut client = ClientOptions::default();
        client.extra_roots.push(ca);
        client.limits.connect = Duration::from_secs(2);
        client.limits.total = Duration::from_secs(4);
        client.limits.repeats = 1;
        client.limits.repeat_total = Duration::from_secs(5);
        let client = Client::new(&client).map_err(|error| WithCauses(&error).to_string())?;
        read_token(&options.token_file)?;
        Ok(Self {
            api: Arc::new(Api {
                client,
                base,
                token_file: options.token_file,
            }),
            labels: Recent::new(FRESH),
        })
    }

    /// The labels of a namespace, as they were a few seconds ago at most; none where the API server does not say by then.
    ///
    /// # Errors
    /// They are not known, and why.
    pub(crate) async fn labels(
        &self,
        namespace: &str,
        deadline: tokio::time::Instant,
    ) -> Option<Result<Labels, String>> {
        let ask = || {
            let (api, namespace) = (Arc::clone(&self.api), namespace.to_owned());
            async move { api.labels(&namespace).await }
        };
        let (_, labels) = self.labels.get(namespace, deadline, ask).await?;
        Some(labels)
    }

    /// The credential for a repository that the pod's secrets have, found as the kubelet finds it; none where the namespace does
    /// not let us read them.
    ///
    /// # Errors
    /// The API server can't be asked, or a secret is malformed.
    pub(crate) async fn pull_secret(
        &self,
        namespace: &str,
        names: &[String],
        repository: &RepositoryName,
    ) -> Result<Option<PullSecret>, String> {
        for name in names.iter().take(MAX_SECRETS) {
            let path = ["namespaces", namespace, "secrets", name];
            let Some(body) = self.api.get(&path).await? else {
                continue;
            };
            let fault = |what: String| format!("the secret {namespace}/{name}: {what}");
            // The parser's own text would show what stands there.
            let secret: Secret = serde_json::from_slice(&body)
                .map_err(|_| fault("the API server's answer is not understood".to_owned()))?;
            let Some(config) = docker_config(&secret).map_err(fault)? else {
                continue;
            };
            let path = Path::new(".dockerconfigjson");
            let parsed = ConfigFile::parse(&config)
                .map_err(|error| fault(WithCauses(&error).to_string()))?;
            let found = credentials::for_image(path, &parsed, &repository.to_string());
            if let Some(credential) =
                found.map_err(|error| fault(WithCauses(&error).to_string()))?
            {
                let whole = [namespace.as_bytes(), &[0], name.as_bytes(), &[0], &config].concat();
                let key = hex::encode(crypto::sha256(&whole));
                return Ok(Some(PullSecret { credential, key }));
            }
        }
        Ok(None)
    }
}

impl Api {
    async fn labels(&self, namespace: &str) -> Result<Labels, String> {
        let body = self.get(&["namespaces", namespace]).await?;
        let body = body.ok_or_else(|| format!("the namespace {namespace} can't be read: it is missing, or the Role of this server does not permit it"))?;
        let found: Namespace = serde_json::from_slice(&body).map_err(|error| {
            format!(
                "the API server's answer about namespace {namespace} is not understood: {error}"
            )
        })?;
        Ok(found.metadata.labels)
    }

    /// The object at a path; none where it is not there or must not be read.
    async fn get(&self, path: &[&str]) -> Result<Option<Vec<u8>>, String> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(["api", "v1"]).extend(path);
        }
        let mut request = Request::new(Method::GET, url);
        request.authorization = Some(read_token(&self.token_file)?);
        let answer = self.client.exchange(&request, MAX_ANSWER).await;
        let answer = answer
            .map_err(|error| format!("the API server can't be asked: {}", WithCauses(&error)))?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer.body)),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(None),
            status => Err(format!(
                "the API server answered {} with status {status}",
                request.url.path()
            )),
        }
    }
}

fn docker_config(secret: &Secret) -> Result<Option<Vec<u8>>, String> {
    use base64::Engine as _;
    let (data, old) = match (
        secret.data.get(".dockerconfigjson"),
        secret.data.get(".dockercfg"),
    ) {
        (Some(data), _) => (data, false),
        (None, Some(data)) => (data, true),
        (None, None) => return Ok(None),
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(data);
    let bytes = bytes.map_err(|_| "its data is no base64".to_owned())?;
    // The older form is what stands under "auths" in the newer.
    Ok(Some(match old {
        true => [b"{\"auths\":".as_slice(), &bytes, b"}"].concat(),
        false => bytes,
    }))
}

fn read_token(path: &Path) -> Result<HeaderValue, String> {
    let token = read_named(path, MAX_FILE).map_err(|error| WithCauses(&error).to_string())?;
    let token = String::from_utf8_lossy(&token);
    let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
    let mut value = value.map_err(|_| format!("{} holds no token", path.display()))?;
    value.set_sensitive(true);
    Ok(value)
}

const MAX_FILE: u64 = 1 << 20;
/// Longest answer of the API server that is read; a Secret has at most 1 MiB.
const MAX_ANSWER: u64 = 3 << 20;
/// How long the labels of a namespace are kept.
const FRESH: Duration = Duration::from_secs(5);
/// Most secrets of a pod that are read.
const MAX_SECRETS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_secrets_are_read() {
        // {"auths":{"a.example":{"auth":"dTpw"}}} and what stands under "auths".
        for (member, data) in [
            (
                ".dockerconfigjson",
                "eyJhdXRocyI6eyJhLmV4YW1wbGUiOnsiYXV0aCI6ImRUcHcifX19",
            ),
            (".dockercfg", "eyJhLmV4YW1wbGUiOnsiYXV0aCI6ImRUcHcifX0="),
        ] {
            let secret: Secret =
                serde_json::from_str(&format!(r#"{{"data":{{"{member}":"{data}"}}}}"#)).unwrap();
            let config = ConfigFile::parse(&docker_config(&secret).unwrap().unwrap()).unwrap();
            let found = credentials::for_image(Path::new("x"), &config, "a.example/app")
                .unwrap()
                .unwrap();
            assert!(matches!(found, Credential::Password { username, .. } if username == "u"));
        }
        let other: Secret = serde_json::from_str(r#"{"data":{"password":"eA=="}}"#).unwrap();
        assert_eq!(docker_config(&other).unwrap(), None);
    }

    #[test]
    fn unusable_options_are_told() {
        let options = |url: &str| ClusterOptions {
            url: url.to_owned(),
            ca_file: "/no/such/file".into(),
            token_file: "/no/such/file".into(),
        };
        for (url, told) in [
            ("http://a.example", "https://"),
            ("x", "no address"),
            ("https://a.example", "/no/such/file"),
        ] {
            let error = Cluster::new(options(url)).err().unwrap();
            assert!(error.contains(told), "{error}");
        }
    }
}
