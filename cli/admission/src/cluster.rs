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
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

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

/// What the pull secrets of a pod hold.
#[derive(Default)]
pub(crate) struct PullSecrets {
    /// Each with the name by which people know it.
    files: Vec<(PathBuf, ConfigFile)>,
    /// Of namespace, names and contents.
    key: String,
}

/// Credentials of a pod for one image, and what tells them from others.
#[derive(Clone, Debug)]
pub(crate) struct PullSecret {
    /// In the order in which they are tried; there is one at least.
    pub(crate) credentials: Vec<Credential>,
    /// Of namespace, names and contents.
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
    data: SecretData,
}

/// The two members in which credentials for registries stand, in base64.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SecretData {
    #[serde(rename = ".dockerconfigjson", deserialize_with = "zeroizing")]
    config: Option<Zeroizing<String>>,
    #[serde(rename = ".dockercfg", deserialize_with = "zeroizing")]
    auths: Option<Zeroizing<String>>,
}

fn zeroizing<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Zeroizing<String>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(Zeroizing::new))
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

    /// The secrets of a pod, without those that the namespace does not let us read.
    ///
    /// # Errors
    /// The API server can't be asked, or a secret is malformed.
    pub(crate) async fn pull_secrets(
        &self,
        namespace: &str,
        names: &[String],
    ) -> Result<PullSecrets, String> {
        let mut found = Vec::new();
        for name in names.iter().take(MAX_SECRETS) {
            if let Some(body) = self
                .api
                .get(&["namespaces", namespace, "secrets", name])
                .await?
            {
                found.push((name.as_str(), body));
            }
        }
        PullSecrets::read(namespace, &found)
    }
}

impl PullSecrets {
    /// Reads secrets as the API server answers them.
    fn read(namespace: &str, secrets: &[(&str, Zeroizing<Vec<u8>>)]) -> Result<Self, String> {
        let (mut files, mut hashed) = (Vec::new(), namespace.as_bytes().to_vec());
        for (name, body) in secrets {
            let place = format!("the secret {namespace}/{name}");
            let fault = |what: String| format!("{place}: {what}");
            // The parser's own text would show what stands there.
            let secret: Secret = serde_json::from_slice(body)
                .map_err(|_| fault("the API server's answer is not understood".to_owned()))?;
            let Some(config) = docker_config(&secret).map_err(fault)? else {
                continue;
            };
            let parsed = ConfigFile::parse(&config)
                .map_err(|error| fault(WithCauses(&error).to_string()))?;
            hashed.push(0);
            hashed.extend_from_slice(name.as_bytes());
            hashed.push(0);
            hashed.extend_from_slice(&crypto::sha256(&config));
            files.push((PathBuf::from(place), parsed));
        }
        let key = hex::encode(crypto::sha256(&hashed));
        Ok(Self { files, key })
    }

    /// The credentials for a repository as the kubelet finds them; none where there are none.
    ///
    /// # Errors
    /// An entry is malformed.
    pub(crate) fn for_image(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<PullSecret>, String> {
        let found = credentials::for_image(&self.files, &repository.to_string());
        let mut found = found.map_err(|error| WithCauses(&error).to_string())?;
        found.truncate(MAX_TRIED);
        Ok((!found.is_empty()).then(|| PullSecret {
            credentials: found,
            key: self.key.clone(),
        }))
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
    async fn get(&self, path: &[&str]) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
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
            StatusCode::OK => Ok(Some(Zeroizing::new(answer.body))),
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(None),
            status => Err(format!(
                "the API server answered {} with status {status}",
                request.url.path()
            )),
        }
    }
}

fn docker_config(secret: &Secret) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    use base64::Engine as _;
    let (data, old) = match (&secret.data.config, &secret.data.auths) {
        (Some(data), _) => (data, false),
        (None, Some(data)) => (data, true),
        (None, None) => return Ok(None),
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(data.as_bytes());
    let bytes = Zeroizing::new(bytes.map_err(|_| "its data is no base64".to_owned())?);
    // The older form is what stands under "auths" in the newer.
    Ok(Some(match old {
        true => Zeroizing::new([b"{\"auths\":".as_slice(), &bytes, b"}"].concat()),
        false => bytes,
    }))
}

fn read_token(path: &Path) -> Result<HeaderValue, String> {
    let token = read_named(path, MAX_FILE).map_err(|error| WithCauses(&error).to_string())?;
    let token = Zeroizing::new(token);
    let fault = || format!("{} holds no token", path.display());
    let token = std::str::from_utf8(&token).map_err(|_| fault())?;
    let token = Zeroizing::new(["Bearer ", token.trim()].concat());
    let mut value = HeaderValue::from_str(&token).map_err(|_| fault())?;
    value.set_sensitive(true);
    Ok(value)
}

const MAX_FILE: u64 = 1 << 20;
/// Longest answer of the API server that is read; a Secret has at most 1 MiB.
const MAX_ANSWER: u64 = 3 << 20;
/// How long the labels of a namespace are kept.
const FRESH: Duration = Duration::from_secs(5);
/// Most secrets of a pod that are read.
pub(crate) const MAX_SECRETS: usize = 10;
/// Most credentials that are tried for an image.
const MAX_TRIED: usize = 10;

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn answer(member: &str, config: &str) -> Zeroizing<Vec<u8>> {
        let data = STANDARD.encode(config);
        format!(r#"{{"data":{{"{member}":"{data}","password":"eA=="}}}}"#)
            .into_bytes()
            .into()
    }

    fn names(secrets: &PullSecrets, repository: &str) -> Vec<String> {
        let repository = RepositoryName::new("a.example", repository).unwrap();
        let found = secrets.for_image(&repository).unwrap();
        let name = |credential| match credential {
            Credential::Password { username, .. } => username,
            other => panic!("{other:?}"),
        };
        let found = found.map(|found| found.credentials).unwrap_or_default();
        found.into_iter().map(name).collect()
    }

    #[test]
    fn both_forms_of_secrets_are_read() {
        // A user's name and password, u:p.
        let auths = r#"{"a.example":{"auth":"dTpw"}}"#;
        for (member, config) in [
            (".dockerconfigjson", format!(r#"{{"auths":{auths}}}"#)),
            (".dockercfg", auths.to_owned()),
        ] {
            let secrets = PullSecrets::read("n", &[("s", answer(member, &config))]).unwrap();
            assert_eq!(names(&secrets, "app"), ["u"]);
        }
        let other = PullSecrets::read("n", &[("s", answer("token", "x"))]).unwrap();
        assert!(names(&other, "app").is_empty());
    }

    /// The entries of all secrets count, the most particular first.
    #[test]
    fn secrets_are_taken_together() {
        let of = |server: &str, user: &str| {
            let auth = STANDARD.encode(format!("{user}:p"));
            let config = format!(r#"{{"auths":{{"{server}":{{"auth":"{auth}"}}}}}}"#);
            answer(".dockerconfigjson", &config)
        };
        let all = [
            ("s", of("a.example", "registry")),
            ("t", of("a.example/team", "team")),
            ("u", of("b.example", "other")),
        ];
        let secrets = PullSecrets::read("n", &all).unwrap();
        assert_eq!(names(&secrets, "team/app"), ["team", "registry"]);
        assert_eq!(names(&secrets, "app"), ["registry"]);
        // Whoever has others has a verdict of its own.
        let fewer = PullSecrets::read("n", &all[..2]).unwrap();
        let elsewhere = PullSecrets::read("m", &all).unwrap();
        assert!(secrets.key != fewer.key && secrets.key != elsewhere.key);
    }

    /// SEC-20: a secret that was encoded twice, or is none at all, is not told.
    #[test]
    fn sec_20_a_malformed_secret_is_told_without_its_text() {
        let login = STANDARD.encode("u:secret");
        for (member, config) in [
            (".dockerconfigjson", format!("\"{login}\"")),
            (".dockerconfigjson", format!(r#"{{"auths":"{login}"}}"#)),
            (".dockercfg", format!("\"{login}\"")),
        ] {
            let read = PullSecrets::read("n", &[("s", answer(member, &config))]);
            let error = read.err().unwrap();
            assert!(error.starts_with("the secret n/s: "), "{error}");
            assert!(!error.contains(&login), "{error}");
        }
        let body = format!(r#"{{"data":"{login}"}}"#).into_bytes();
        let error = PullSecrets::read("n", &[("s", body.into())]).err().unwrap();
        assert!(!error.contains(&login), "{error}");
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
