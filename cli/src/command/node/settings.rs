//! `node.hardsign.json` in the configuration directory: how a node's images are verified.
//!
//! ```json
//! {
//!   "version": "1.0",
//!   "deadline": "8s",
//!   "registryHosts": ["/etc/containerd/certs.d"],
//!   "credentialProviders": {"config": "/etc/kubernetes/providers.yaml", "binDir": "/usr/libexec/providers"},
//!   "exceptions": [{"repository": "registry.k8s.io/pause", "digest": "sha256:…", "when": "always", "reason": "sandbox image"}]
//! }
//! ```
//!
//! Without the file, everything has its default and nothing is excepted. One that can't be read
//! refuses every image.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hardsign_core::config::exceptions::Exceptions;
use hardsign_core::config::formats::json::{self, go};
use hardsign_core::config::{read_named, write_atomic};
use hardsign_core::dirs::Dirs;
use hardsign_core::text::WithCauses;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// What a node is set to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::command) struct Settings {
    version: String,
    /// Time for one verdict, shorter than containerd's `per_verifier_timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<String>,
    /// containerd's `config_path`: directories with `<host>/hosts.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry_hosts: Option<Vec<PathBuf>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::command) credential_providers: Option<ProviderPlaces>,
    #[serde(default)]
    pub(in crate::command) exceptions: Exceptions,
}

/// The kubelet's `--image-credential-provider-config` and `--image-credential-provider-bin-dir`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::command) struct ProviderPlaces {
    pub(in crate::command) config: PathBuf,
    pub(in crate::command) bin_dir: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: VERSION.to_owned(),
            deadline: None,
            registry_hosts: None,
            credential_providers: None,
            exceptions: Exceptions::default(),
        }
    }
}

impl Settings {
    /// Reads the file, if there is one.
    pub(in crate::command) fn load(dirs: &Dirs) -> Result<Self, Failure> {
        let path = dirs.node_settings();
        let bytes = match read_named(&path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(Self::default()),
            Err(error) => return Err(Failure::error(error)),
        };
        Self::parse(&bytes).map_err(|reason| {
            Failure::failed(format!("malformed {}: {reason}", path.display()))
                .hint("fix the file, or remove it and write a new one with `hardsign node install`")
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let settings: Self =
            json::from_slice(bytes).map_err(|error| WithCauses(&error).to_string())?;
        if settings.version != VERSION {
            return Err(format!("version {:?} is not known", settings.version));
        }
        let deadline = settings.deadline.as_deref().unwrap_or(DEADLINE);
        match go::duration(deadline) {
            Some(time) if !time.is_zero() && time <= MAX_DEADLINE => {}
            _ => return Err(format!("deadline {deadline:?} is not between 1ms and 10m")),
        }
        if let Some(path) = settings.paths().find(|path| !path.is_absolute()) {
            return Err(format!("{} is not an absolute path", path.display()));
        }
        Ok(settings)
    }

    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let providers = self.credential_providers.iter();
        let places = providers.flat_map(|p| [&p.config, &p.bin_dir]);
        places.chain(self.registry_hosts.iter().flatten())
    }

    /// Writes the file, readable for all: nothing in it is secret.
    pub(in crate::command) fn save(&self, dirs: &Dirs) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(self).map_err(Failure::error)?;
        text.push('\n');
        write_atomic(&dirs.node_settings(), text.as_bytes(), 0o644).map_err(Failure::error)
    }

    pub(in crate::command) fn deadline(&self) -> Duration {
        let text = self.deadline.as_deref().unwrap_or(DEADLINE);
        go::duration(text).unwrap_or(SAFE)
    }

    /// Sets the time for a verdict to what is safe with containerd's timeout: a fifth is left for its end.
    pub(in crate::command) fn fit_into(&mut self, timeout: Duration) {
        let fits = timeout.as_millis().saturating_mul(4) / 5;
        self.deadline = Some(match fits % 1000 {
            0 => format!("{}s", fits / 1000),
            _ => format!("{fits}ms"),
        });
    }

    pub(in crate::command) fn registry_hosts(&self) -> Vec<PathBuf> {
        let set = self.registry_hosts.clone();
        set.unwrap_or_else(|| HOSTS.iter().map(PathBuf::from).collect())
    }

    pub(in crate::command) fn set_registry_hosts(&mut self, directories: Vec<PathBuf>) {
        self.registry_hosts = Some(directories);
    }

    /// Whether somebody said where the kubelet's providers are.
    pub(in crate::command) fn set_providers(&mut self, config: &Path, bin_dir: &Path) {
        self.credential_providers = Some(ProviderPlaces {
            config: config.to_owned(),
            bin_dir: bin_dir.to_owned(),
        });
    }
}

/// The version of the file.
const VERSION: &str = "1.0";
/// containerd gives 10 seconds where nothing is said.
const DEADLINE: &str = "8s";
const SAFE: Duration = Duration::from_secs(8);
/// Longest time for one verdict.
const MAX_DEADLINE: Duration = Duration::from_secs(600);
/// Where containerd's configurations of registries usually are.
const HOSTS: [&str; 2] = ["/etc/containerd/certs.d", "/etc/docker/certs.d"];
/// Largest file, in bytes.
const MAX_FILE: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut settings = Settings::default();
        settings.fit_into(Duration::from_secs(5));
        settings.set_registry_hosts(vec!["/certs.d".into()]);
        settings.set_providers(Path::new("/p.yaml"), Path::new("/bin"));
        let text = serde_json::to_string(&settings).unwrap();
        let read = Settings::parse(text.as_bytes()).unwrap();
        assert_eq!(read, settings);
        assert_eq!(read.deadline(), Duration::from_secs(4));
        assert_eq!(Settings::default().deadline(), Duration::from_secs(8));
        let least = Settings::parse(br#"{"version": "1.0"}"#).unwrap();
        assert_eq!(least, Settings::default());
    }

    /// What is misspelt, or can't be meant, refuses every image.
    #[test]
    fn what_is_not_understood_is_an_error() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"version": "2.0"}"#,
            r#"{"version": "1.0", "exception": []}"#,
            r#"{"version": "1.0", "deadline": "0s"}"#,
            r#"{"version": "1.0", "deadline": "soon"}"#,
            r#"{"version": "1.0", "deadline": "24h"}"#,
            r#"{"version": "1.0", "registryHosts": ["certs.d"]}"#,
            r#"{"version": "1.0", "credentialProviders": {"config": "/c"}}"#,
            r#"{"version": "1.0", "credentialProviders": {"config": "/c", "binDir": "b"}}"#,
            r#"{"version": "1.0", "exceptions": [{"repository": "r.example/x", "when": "always", "reason": ""}]}"#,
            r#"{"version": "1.0", "version": "1.0"}"#,
        ] {
            assert!(Settings::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
