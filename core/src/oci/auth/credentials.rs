//! Where the user's credentials are: the reference's `config.json`, Docker's, a platform's helper,
//! Podman's `auth.json`.
//!
//! Plain-text entries are read and never written.

// Requirements: CFG-22 to CFG-24, CFG-24.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use zeroize::Zeroizing;

use super::helper::{Helper, HelperError, TOKEN_USER};
use super::provider::{ProviderError, matching};
use super::{Credential, Secret};
use crate::artifact::reference::{is_registry, registry_of_address};
use crate::config::{ConfigError, ConfigFile};
use crate::event::Listener;
use crate::json::go::is_named;

/// Server address under which Docker Hub's credential is kept (REG-08).
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

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
    listener: Listener,
    /// Helpers get no standard error: something that they leave running would keep it open.
    detached: bool,
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
        /// What is wrong with the configuration file.
        #[source]
        source: ConfigError,
    },
    /// A credential helper.
    #[error("credential helper docker-credential-{name}")]
    Helper {
        /// Its name.
        name: String,
        /// How the helper failed.
        #[source]
        source: HelperError,
    },
    /// A credential provider of the kubelet's.
    #[error("credential provider")]
    Provider(#[source] Box<ProviderError>),
    /// An entry of `auths` that cannot be read.
    #[error("{}: the entry for {server} under \"auths\" is malformed", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The registry.
        server: String,
    },
    /// There is no helper that could keep a credential.
    // CFG-24
    #[error("no credential helper is configured or installed, and plain text is never written")]
    NoHelper,
}

/// What became of a credential that was to be forgotten.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Erased {
    /// Whether there was one.
    pub was_stored: bool,
    /// Podman's file that has one for the registry too; it is not changed.
    pub left_in: Option<PathBuf>,
}

/// The one place that is used for a server.
enum Chosen {
    /// A helper, and the file that names it.
    Helper(String, Option<PathBuf>),
    File(PathBuf, Box<ConfigFile>),
    Nothing,
}

impl CredentialStore {
    /// A store over these places; nothing is read yet.
    pub fn new(places: CredentialPlaces) -> Self {
        Self {
            places,
            listener: Listener::NOBODY,
            detached: false,
        }
    }

    /// The same, and `listener` hears when a credential helper runs.
    // LOG-07
    pub fn with_listener(self, listener: Listener) -> Self {
        Self { listener, ..self }
    }

    /// The same, and helpers do not get this process's standard error, which would stay open as long as
    /// anything that they leave running.
    pub fn detached(self) -> Self {
        Self {
            detached: true,
            ..self
        }
    }

    /// The credential for a registry. It is found under any spelling of its name.
    ///
    /// # Errors
    /// [`CredentialError`]; no credential is no error.
    pub async fn get(&self, registry: &str) -> Result<Option<Credential>, CredentialError> {
        let server = &server_key(registry);
        let found = match self.choose(server)? {
            Chosen::Helper(name, _) => self.ask(&name, server).await?,
            Chosen::File(path, config) => in_file(&path, &config, server)?,
            Chosen::Nothing => None,
        };
        match found {
            Some(credential) => Ok(Some(credential)),
            None => Ok(self
                .podmans(server)
                .await?
                .map(|(credential, _)| credential)),
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
        let server = &server_key(registry);
        let Chosen::Helper(name, _) = self.choose(server)? else {
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
    pub async fn erase(&self, registry: &str) -> Result<Erased, CredentialError> {
        let server = &server_key(registry);
        let mut was_stored = false;
        let file = match self.choose(server)? {
            Chosen::Helper(name, file) => {
                let failed = |source| CredentialError::Helper {
                    name: name.clone(),
                    source,
                };
                let found = self.helper(&name).get(server).await.map_err(failed)?;
                was_stored = found.is_some();
                self.helper(&name).erase(server).await.map_err(failed)?;
                if let Some(key) = with_https_port(server)
                    && let Ok(Some(_)) = self.helper(&name).get(&key).await
                {
                    was_stored = true;
                    self.helper(&name).erase(&key).await.map_err(failed)?;
                }
                file
            }
            Chosen::File(path, _) => Some(path),
            Chosen::Nothing => None,
        };
        // A file that names a helper may hold an older entry in plain text. One that need not be
        // changed may be somewhere that can't be written.
        if let Some(path) = file
            && let stored = load(&path)?
            && stored.has_auth(server)
        {
            let had = in_file(&path, &stored, server).map_or(true, |found| found.is_some());
            ConfigFile::remove_auth(&path, server)
                .map_err(|source| CredentialError::Config { path, source })?;
            was_stored |= had;
        }
        let left_in = self.podmans(server).await.ok().flatten();
        Ok(Erased {
            was_stored,
            left_in: left_in.map(|(_, path)| path),
        })
    }

    /// What a helper has for a server.
    async fn ask(&self, name: &str, server: &str) -> Result<Option<Credential>, CredentialError> {
        let found = self.helper(name).get(server).await;
        let found = found.map_err(|source| CredentialError::Helper {
            name: name.to_owned(),
            source,
        })?;
        match (found, with_https_port(server)) {
            // What it says of an address that nobody may ever have given it is of no interest.
            (None, Some(key)) => Ok(self.helper(name).get(&key).await.unwrap_or(None)),
            (found, _) => Ok(found),
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
                .or_else(|| config.credentials_store());
            return Ok(match helper {
                Some(name) => Chosen::Helper(name.to_owned(), Some(path)),
                None => Chosen::File(path, Box::new(config)),
            });
        }
        let helpers = platform_helpers();
        let found = helpers.iter().find(|n| self.helper(n).is_installed());
        Ok(found.map_or(Chosen::Nothing, |name| {
            Chosen::Helper((*name).to_owned(), None)
        }))
    }

    fn helper(&self, name: &str) -> Helper {
        let listener = self.listener.clone();
        Helper::new(name, &self.places.search_path, listener, self.detached)
    }

    /// What is in Podman's files, whose keys may name a part of a registry, and in which of them.
    async fn podmans(
        &self,
        server: &str,
    ) -> Result<Option<(Credential, PathBuf)>, CredentialError> {
        for path in &self.places.podman {
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let config = load(&path)?;
            let server = if server == DOCKER_HUB {
                "docker.io"
            } else {
                server
            };
            let found = match config.credential_helper(server) {
                Some(name) => return Ok(self.ask(name, server).await?.map(|found| (found, path))),
                None => in_file(&path, &config, server)?,
            };
            if let Some(found) = found {
                return Ok(Some((found, path)));
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

/// The address under which a registry's credential is kept: its name in its one form.
// REG-08
pub fn server_key(registry: &str) -> String {
    match registry_of_address(registry).as_deref() {
        Some("docker.io") => DOCKER_HUB.to_owned(),
        Some(name) => name.to_owned(),
        None => registry.to_owned(),
    }
}

/// The other address under which a helper may have a server's credential: some tools keep it under
/// what was typed at the login, with the port of HTTPS if that was typed. None where the server's
/// name has a port already, nor for Docker Hub.
fn with_https_port(server: &str) -> Option<String> {
    Some(format!("{server}:443")).filter(|key| is_registry(key))
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

/// The credential that a configuration file holds for a server; `None` where it holds none.
///
/// # Errors
/// [`CredentialError::Entry`] where its entry is malformed.
pub fn in_file(
    path: &Path,
    config: &ConfigFile,
    server: &str,
) -> Result<Option<Credential>, CredentialError> {
    let auths: BTreeMap<&str, &Value> = config.auths().collect();
    let exact = auths.get(server);
    let entry = exact.or_else(|| {
        // Older entries have a scheme and a path, and people type names as they like.
        let wanted = registry_of_address(server)?;
        let same = |key: &&str| registry_of_address(key).as_ref() == Some(&wanted);
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

/// The credentials that configuration files hold for a repository, `<registry>/<path>`, in the order in which the kubelet tries those of a
/// pod's secrets: the entries of all files are taken together; an entry may name a path below a registry, or registries by globs,
/// and the most particular comes first, of equal ones that of the first file.
///
/// # Errors
/// [`CredentialError::Entry`] where an entry for the repository is malformed.
pub fn for_image(
    files: &[(PathBuf, ConfigFile)],
    repository: &str,
) -> Result<Vec<Credential>, CredentialError> {
    let entries = files.iter().flat_map(|(path, file)| {
        file.auths()
            .map(move |(server, entry)| (path, server, entry))
    });
    let entries: Vec<_> = entries.collect();
    let servers: Vec<&str> = entries.iter().map(|(_, server, _)| *server).collect();
    let mut found = Vec::new();
    for at in matching::ranked(&servers, repository) {
        let Some((path, server, entry)) = entries.get(at) else {
            continue;
        };
        let credential = parse_entry(entry).ok_or_else(|| CredentialError::Entry {
            path: (*path).clone(),
            server: (*server).to_owned(),
        })?;
        found.extend(credential);
    }
    Ok(found)
}

/// `{"auth":"<base64 of user:password>"}`, or the parts by name, in any case. `None` where the entry
/// is malformed, `Some(None)` where it is empty, as entries are whose secret is in a helper.
fn parse_entry(entry: &Value) -> Option<Option<Credential>> {
    let members = match entry {
        Value::Null => return Some(None),
        Value::Object(members) => members,
        _ => return None,
    };
    // The last of several counts, and null is nothing.
    let text = |field: &str| {
        let mut named = members.iter().filter(|(name, _)| is_named(name, field));
        match named.next_back().map(|(_, value)| value) {
            None | Some(Value::Null) => Some(None),
            Some(Value::String(text)) => Some(Some(text.as_str()).filter(|t| !t.is_empty())),
            Some(_) => None,
        }
    };
    let (auth, username, password) = (text("auth")?, text("username")?, text("password")?);
    if let Some(token) = text("identitytoken")? {
        return Some(Some(Credential::RefreshToken(Secret::new(token))));
    }
    if let Some(token) = text("registrytoken")? {
        return Some(Some(Credential::AccessToken(Secret::new(token))));
    }
    let (username, password) = match auth {
        Some(auth) => decode_auth(auth)?,
        None => (
            username.unwrap_or_default().to_owned(),
            Secret::new(password.unwrap_or_default()),
        ),
    };
    if username.is_empty() && password.expose().is_empty() {
        return Some(None);
    }
    Some(Some(Credential::Password { username, password }))
}

/// User name and password out of base64, in which line ends count for nothing.
fn decode_auth(auth: &str) -> Option<(String, Secret)> {
    let auth: Zeroizing<String> = Zeroizing::new(
        auth.trim()
            .chars()
            .filter(|c| !matches!(c, '\r' | '\n'))
            .collect(),
    );
    let bytes = Zeroizing::new(AUTH.decode(auth.as_bytes()).ok()?);
    let text = std::str::from_utf8(&bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    // Docker once padded with NUL bytes.
    let password = Secret::new(password.trim_end_matches('\0'));
    Some((username.to_owned(), password))
}

/// Base64 as Go decodes it: bits left over at the end may be anything.
const AUTH: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests;
