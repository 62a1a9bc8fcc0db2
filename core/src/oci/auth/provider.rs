//! The kubelet's credential providers: programs that know credentials for images, such as those of the
//! clouds' registries, which the kubelet runs before it pulls.
//!
//! Implements the exec protocol `credentialprovider.kubelet.k8s.io` (v1, v1beta1, v1alpha1) and the
//! file that lists the programs, `CredentialProviderConfig` of `kubelet.config.k8s.io` (KEP-2133), in
//! JSON or YAML, a file or a directory of files. Images are matched as the kubelet does, and answers
//! are kept as long as they say and for what they say.
//!
//! A provider is a program of the node's own configuration and runs with the rights of this process. Its
//! answer is bounded in size and time, and what is secret in it is zeroed.

mod config;
pub(super) mod matching;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use super::child::{Child, ProgramError};
use super::{Credential, CredentialError, CredentialSource, CredentialStore, Secret};
use crate::artifact::Quoted;
use crate::budget::{self, Lock, Party};
use crate::config::FileError;
use crate::json::{self, JsonError, go};
use config::Provider;

/// How long a provider may take, as with the kubelet.
const MAX_TIME: Duration = Duration::from_secs(60);
/// Most answers that are kept of one provider.
const MAX_KEPT: usize = 1024;

/// The providers of a node, and what they answered.
#[derive(Debug)]
pub struct CredentialProviders {
    providers: Vec<Running>,
    directory: PathBuf,
}

#[derive(Debug)]
struct Running {
    provider: Provider,
    /// Held while it runs, so that what several ask for is asked once.
    kept: Lock<Kept>,
}

#[derive(Default)]
struct Kept(HashMap<String, (Instant, Arc<Answered>)>);

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(REDACTED)")
    }
}

/// What a provider knows: for each pattern of images a user name and a password.
type Answered = Vec<(String, Login)>;

/// Why there is no credential of a provider.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// The list of providers can't be read.
    #[error("failed to read the list of credential providers")]
    File(#[source] FileError),
    /// The list of providers is malformed.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The program did not do its work.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The program's answer is not what it should be.
    #[error("the answer of {} is no CredentialProviderResponse: {reason}", program.display())]
    Answer {
        /// The program.
        program: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The provider works for pods alone.
    #[error("{name} needs the token of a pod's service account, and a node's verifier has no pod")]
    ServiceAccount {
        /// The provider.
        name: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    kind: &'a str,
    api_version: &'a str,
    image: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    kind: String,
    api_version: String,
    cache_key_type: String,
    #[serde(default)]
    cache_duration: Option<String>,
    #[serde(default)]
    auth: Option<HashMap<String, Login>>,
}

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    username: String,
    #[serde(default, deserialize_with = "secret")]
    password: Zeroizing<String>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    Option::<String>::deserialize(deserializer)
        .map(|text| Zeroizing::new(text.unwrap_or_default()))
        // The parser's own text would show the value.
        .map_err(|_| serde::de::Error::custom("the password is no string"))
}

impl CredentialProviders {
    /// Reads the list of providers: a file, or a directory of files, and the directory that holds
    /// the programs. Nothing is run.
    ///
    /// # Errors
    /// [`ProviderError::File`], [`ProviderError::Config`].
    pub fn load(list: &Path, directory: &Path) -> Result<Self, ProviderError> {
        let providers = config::load(list)?.into_iter();
        Ok(Self {
            providers: providers
                .map(|provider| Running {
                    provider,
                    kept: Lock::default(),
                })
                .collect(),
            directory: directory.to_owned(),
        })
    }

    /// The programs that the list names, whether they are there or not.
    pub fn programs(&self) -> Vec<PathBuf> {
        let names = self.providers.iter().map(|r| &r.provider.name);
        names.map(|name| self.directory.join(name)).collect()
    }

    /// The credential for an image, `<registry>/<repository>`: of the first provider that has one.
    ///
    /// # Errors
    /// [`ProviderError`] where none has one, and one of them failed.
    pub async fn credential(&self, image: &str) -> Result<Option<Credential>, ProviderError> {
        let mut first = None;
        for running in &self.providers {
            if !running.provider.is_for(image) {
                continue;
            }
            match running.answer(&self.directory, image).await {
                Ok(answered) => {
                    if let Some(found) = chosen(&answered, image) {
                        return Ok(Some(found));
                    }
                }
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map_or(Ok(None), Err)
    }
}

/// Of what a provider answered, what is for the image: the most particular pattern, as the kubelet
/// has it.
fn chosen(answered: &Answered, image: &str) -> Option<Credential> {
    let keys: Vec<&str> = answered.iter().map(|(key, _)| key.as_str()).collect();
    let at = matching::best(&keys, image)?;
    let (_, login) = answered.get(at)?;
    let known = !login.username.is_empty() || !login.password.is_empty();
    known.then(|| Credential::Password {
        username: login.username.clone(),
        password: Secret(login.password.clone()),
    })
}

impl Running {
    async fn answer(&self, directory: &Path, image: &str) -> Result<Arc<Answered>, ProviderError> {
        if self.provider.needs_service_account {
            return Err(ProviderError::ServiceAccount {
                name: self.provider.name.clone(),
            });
        }
        let registry = image.split('/').next().unwrap_or(image);
        let mut kept = self.kept.lock().await;
        let now = Instant::now();
        let known = [image, registry, GLOBAL].into_iter().find_map(|key| {
            let (until, answered) = kept.0.get(key)?;
            (*until > now).then(|| Arc::clone(answered))
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let program = directory.join(&self.provider.name);
        let response = self.kept.lead(self.ask(&program, image)).await?;
        let key = match response.cache_key_type.as_str() {
            "Image" => image,
            "Registry" => registry,
            "Global" => GLOBAL,
            other => {
                let reason = format!("cacheKeyType is {}", Quoted(other));
                return Err(ProviderError::Answer { program, reason });
            }
        };
        let time = match &response.cache_duration {
            None => self.provider.default_cache_duration,
            Some(text) => match go::duration(text) {
                Some(time) => time,
                None => {
                    let reason = format!("cacheDuration is {}", Quoted(text));
                    return Err(ProviderError::Answer { program, reason });
                }
            },
        };
        let answered: Answered = response.auth.unwrap_or_default().into_iter().collect();
        let answered = Arc::new(answered);
        if kept.0.len() >= MAX_KEPT {
            kept.0.clear();
        }
        if let Some(until) = now.checked_add(time).filter(|_| !time.is_zero()) {
            let entry = (until, Arc::clone(&answered));
            kept.0.insert(key.to_owned(), entry);
        }
        Ok(answered)
    }

    async fn ask(&self, program: &Path, image: &str) -> Result<Response, ProviderError> {
        let provider = &self.provider;
        let api_version = provider.api_version.as_str();
        let malformed = |reason: String| ProviderError::Answer {
            program: program.to_owned(),
            reason,
        };
        let question = serde_json::to_vec(&Request {
            kind: "CredentialProviderRequest",
            api_version,
            image,
        });
        let question = question.map_err(|error| malformed(error.to_string()))?;
        let child = Child {
            program,
            arguments: &provider.arguments,
            environment: &provider.environment,
            detached: true,
        };
        let _waiting = budget::waiting(|| Party::CredentialHelper(provider.name.clone()));
        let ended = child.run(&question, MAX_TIME).await?;
        if !ended.status.success() {
            let (program, message) = (program.to_owned(), ended.message(&ended.complaint));
            return Err(ProgramError::Failed { program, message }.into());
        }
        let response: Response = json::from_slice(&ended.output).map_err(|error| {
            // Its text can show what was read; this does not.
            malformed(match error {
                JsonError::Data(error) => {
                    let (line, column) = (error.line(), error.column());
                    format!("malformed at line {line}, column {column}")
                }
                JsonError::DuplicateName { .. } => "a name in it occurs twice".to_owned(),
                _ => "it is not JSON".to_owned(),
            })
        })?;
        if response.kind != "CredentialProviderResponse" || response.api_version != api_version {
            return Err(malformed(format!(
                "it is of kind {} and version {}, not of {api_version}",
                Quoted(&response.kind),
                Quoted(&response.api_version)
            )));
        }
        Ok(response)
    }
}

/// Under which an answer for all images is kept; no image has that name.
const GLOBAL: &str = "<global>";

/// Credentials for one repository of a node: of the kubelet's credential providers, then of files and
/// helpers. Whoever asks is told what is known for its own name, so that a mirror never gets what is
/// for the registry that it stands in for.
#[derive(Debug)]
pub struct ImageCredentials {
    /// The providers, if there are any.
    pub providers: Option<Arc<CredentialProviders>>,
    /// Files and helpers.
    pub store: Arc<CredentialStore>,
    /// The repository inside the registry.
    pub repository: String,
}

#[async_trait]
impl CredentialSource for ImageCredentials {
    async fn credential(&self, registry: &str) -> Result<Option<Credential>, CredentialError> {
        let mut failed = None;
        if let Some(providers) = &self.providers {
            let image = format!("{registry}/{}", self.repository);
            match providers.credential(&image).await {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        match (self.store.get(registry).await, failed) {
            (Ok(Some(found)), _) => Ok(Some(found)),
            (_, Some(error)) => Err(CredentialError::Provider(Box::new(error))),
            (found, None) => found,
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
