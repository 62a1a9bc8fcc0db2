//! Where the user's credentials are: the reference's `config.json`, Docker's, a platform's helper,
//! Podman's `auth.json` (CFG-22 to CFG-24).
//!
//! Plain-text entries are read and never written (CFG-24).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::helper::{Helper, HelperError};
use super::{Credential, Secret};
use crate::config::{ConfigError, ConfigFile};
use crate::net::Trace;

/// Server address under which Docker Hub's credential is kept (REG-08).
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// User name that marks a refresh token (CFG-23).
const TOKEN_USER: &str = "<token>";

/// The files and directories in which credentials are looked for.
#[derive(Clone, Debug, Default)]
pub struct CredentialPlaces {
    /// The reference's `config.json`.
    pub notation: PathBuf,
    /// Docker's `config.json`.
    pub docker: Option<PathBuf>,
    /// Podman's `auth.json` files, the first to be asked first.
    pub podman: Vec<PathBuf>,
    /// Directories in which `docker-credential-<name>` is looked for.
    pub search_path: Vec<PathBuf>,
}

/// The user's credentials.
#[derive(Clone, Debug)]
pub struct CredentialStore {
    places: CredentialPlaces,
    trace: Option<Trace>,
}

/// Why a credential could not be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// A configuration file.
    #[error("{}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ConfigError,
    },
    /// A credential helper.
    #[error("credential helper docker-credential-{name}")]
    Helper {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: HelperError,
    },
    /// An entry of `auths` that cannot be read.
    #[error("{}: the entry for {server} under \"auths\" is malformed", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The registry.
        server: String,
    },
    /// There is no helper that could keep a credential (CFG-24).
    #[error("no credential helper is configured or installed, and plain text is never written")]
    NoHelper,
}

/// The one place that is used for a server.
enum Chosen {
    Helper(String),
    File(PathBuf, Box<ConfigFile>),
    Nothing,
}

impl CredentialStore {
    /// A store over these places; nothing is read yet.
    pub fn new(places: CredentialPlaces) -> Self {
        Self {
            places,
            trace: None,
        }
    }

    /// The same, and `trace` is told when a credential helper runs (LOG-07).
    pub fn with_trace(self, trace: Option<Trace>) -> Self {
        Self { trace, ..self }
    }

    /// The credential for a registry, as the user writes the registry.
    ///
    /// # Errors
    /// [`CredentialError`]; no credential is no error.
    pub async fn get(&self, registry: &str) -> Result<Option<Credential>, CredentialError> {
        let server = server_key(registry);
        let found = match self.choose(server)? {
            Chosen::Helper(name) => {
                let helper = self.helper(&name);
                helper
                    .get(server)
                    .await
                    .map_err(|source| CredentialError::Helper { name, source })?
            }
            Chosen::File(path, config) => from_file(&path, &config, server)?,
            Chosen::Nothing => None,
        };
        match found {
            Some(credential) => Ok(Some(credential)),
            None => self.podmans(server).await,
        }
    }

    /// Keeps a credential, in a helper only.
    ///
    /// # Errors
    /// [`CredentialError::NoHelper`] where only a file could hold it.
    pub async fn put(
        &self,
        registry: &str,
        credential: &Credential,
    ) -> Result<(), CredentialError> {
        let server = server_key(registry);
        let Chosen::Helper(name) = self.choose(server)? else {
            return Err(CredentialError::NoHelper);
        };
        let (username, secret) = match credential {
            Credential::Password { username, password } => (username.as_str(), password),
            Credential::RefreshToken(token) => (TOKEN_USER, token),
            Credential::AccessToken(_) => return Err(CredentialError::NoHelper),
        };
        self.helper(&name)
            .store(server, username, secret)
            .await
            .map_err(|source| CredentialError::Helper { name, source })
    }

    /// Forgets the credential for a registry.
    ///
    /// # Errors
    /// [`CredentialError`]; having none is no error.
    pub async fn erase(&self, registry: &str) -> Result<(), CredentialError> {
        let server = server_key(registry);
        match self.choose(server)? {
            Chosen::Helper(name) => self
                .helper(&name)
                .erase(server)
                .await
                .map_err(|source| CredentialError::Helper { name, source }),
            Chosen::File(path, _) => ConfigFile::remove_auth(&path, server)
                .map(drop)
                .map_err(|source| CredentialError::Config { path, source }),
            Chosen::Nothing => Ok(()),
        }
    }

    /// The order of CFG-22: the first file that says anything about credentials, else the
    /// platform's helper.
    fn choose(&self, server: &str) -> Result<Chosen, CredentialError> {
        let files = std::iter::once(&self.places.notation).chain(&self.places.docker);
        for path in files {
            // Docker's file is often kept elsewhere and linked to.
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let config = load(&path)?;
            if !config.configures_credentials() {
                continue;
            }
            let helper = config
                .credential_helper(server)
                .filter(|h| !h.is_empty())
                .or_else(|| config.credentials_store());
            return Ok(match helper {
                Some(name) => Chosen::Helper(name.to_owned()),
                None => Chosen::File(path, Box::new(config)),
            });
        }
        let helpers = platform_helpers();
        let found = helpers.iter().find(|n| self.helper(n).is_installed());
        Ok(found.map_or(Chosen::Nothing, |name| Chosen::Helper((*name).to_owned())))
    }

    fn helper(&self, name: &str) -> Helper {
        Helper::new(name, &self.places.search_path, self.trace.clone())
    }

    /// Podman's files, whose keys may name a part of a registry.
    async fn podmans(&self, server: &str) -> Result<Option<Credential>, CredentialError> {
        for path in &self.places.podman {
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let config = load(&path)?;
            let server = if server == DOCKER_HUB {
                "docker.io"
            } else {
                server
            };
            if let Some(name) = config.credential_helper(server) {
                let helper = self.helper(name);
                return helper.get(server).await.map_err(|source| {
                    let name = name.to_owned();
                    CredentialError::Helper { name, source }
                });
            }
            if let Some(found) = from_file(&path, &config, server)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn load(path: &Path) -> Result<ConfigFile, CredentialError> {
    ConfigFile::load_from(path).map_err(|source| CredentialError::Config {
        path: path.to_owned(),
        source,
    })
}

/// The address under which a registry's credential is kept (REG-08).
pub fn server_key(registry: &str) -> &str {
    match registry {
        "docker.io" | "registry-1.docker.io" | "index.docker.io" => DOCKER_HUB,
        other => other,
    }
}

/// Helpers that a platform brings, in order of preference.
fn platform_helpers() -> &'static [&'static str] {
    if cfg!(target_os = "macos") {
        &["osxkeychain"]
    } else if cfg!(windows) {
        &["wincred"]
    } else {
        &["pass", "secretservice"]
    }
}

/// `{"auth":"<base64 of user:password>"}`, or the parts by name.
#[derive(Default, Deserialize)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

fn from_file(
    path: &Path,
    config: &ConfigFile,
    server: &str,
) -> Result<Option<Credential>, CredentialError> {
    let auths: BTreeMap<&str, &Value> = config.auths().collect();
    let exact = auths.get(server);
    let entry = exact.or_else(|| {
        // Older entries have a scheme and a path.
        let same = |key: &&str| host_of(key) == host_of(server);
        auths.iter().find(|(key, _)| same(key)).map(|(_, v)| v)
    });
    let Some(entry) = entry else {
        return Ok(None);
    };
    parse_entry(entry).ok_or_else(|| CredentialError::Entry {
        path: path.to_owned(),
        server: server.to_owned(),
    })
}

/// `None` where the entry is malformed, `Some(None)` where it is empty, as entries are whose
/// secret is in a helper.
fn parse_entry(entry: &Value) -> Option<Option<Credential>> {
    let entry = AuthEntry::deserialize(entry).ok()?;
    let text = |value: Option<String>| value.filter(|v| !v.is_empty());
    if let Some(token) = text(entry.identitytoken) {
        return Some(Some(Credential::RefreshToken(Secret::new(token))));
    }
    if let Some(token) = text(entry.registrytoken) {
        return Some(Some(Credential::AccessToken(Secret::new(token))));
    }
    let (username, password) = match text(entry.auth) {
        Some(auth) => {
            let bytes = zeroize::Zeroizing::new(STANDARD.decode(auth.trim()).ok()?);
            let text = std::str::from_utf8(&bytes).ok()?;
            let (username, password) = text.split_once(':')?;
            // Docker once padded with NUL bytes.
            (
                username.to_owned(),
                Secret::new(password.trim_end_matches('\0')),
            )
        }
        None => (
            entry.username.unwrap_or_default(),
            Secret::new(entry.password.unwrap_or_default()),
        ),
    };
    if username.is_empty() && password.expose().is_empty() {
        return Some(None);
    }
    Some(Some(Credential::Password { username, password }))
}

/// A server address without scheme and path.
fn host_of(address: &str) -> &str {
    let rest = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))
        .unwrap_or(address);
    rest.split('/').next().unwrap_or(rest)
}

/// A credential as a helper returns it.
pub(super) fn from_helper(username: String, secret: Secret) -> Credential {
    if username == TOKEN_USER {
        Credential::RefreshToken(secret)
    } else {
        Credential::Password {
            username,
            password: secret,
        }
    }
}

#[cfg(test)]
mod tests;
