//! `CredentialProviderConfig`: which providers there are, and for which images.
//!
//! ```yaml
//! apiVersion: kubelet.config.k8s.io/v1
//! kind: CredentialProviderConfig
//! providers:
//!   - name: ecr-credential-provider
//!     matchImages: ["*.dkr.ecr.*.amazonaws.com"]
//!     defaultCacheDuration: 12h
//!     apiVersion: credentialprovider.kubelet.k8s.io/v1
//!     args: [get-credentials]
//!     env: [{name: AWS_PROFILE, value: node}]
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{ProviderError, matching};
use crate::artifact::Quoted;
use crate::config::{FileError, read_named};
use crate::json::go;
use crate::yaml;

/// Largest list, in bytes.
const MAX_LIST: u64 = 1024 * 1024;
/// Most files in a directory of lists.
const MAX_FILES: usize = 64;

/// A provider of the list.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: String,
    match_images: Vec<String>,
    pub(super) default_cache_duration: Duration,
    pub(super) api_version: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// It works with the token of a pod's service account only.
    pub(super) needs_service_account: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    kind: String,
    api_version: String,
    #[serde(default)]
    providers: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: String,
    #[serde(default)]
    match_images: Option<Vec<String>>,
    default_cache_duration: String,
    api_version: String,
    #[serde(default)]
    args: Option<Vec<String>>,
    #[serde(default)]
    env: Option<Vec<Variable>>,
    #[serde(default)]
    token_attributes: Option<TokenAttributes>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenAttributes {
    #[serde(default)]
    require_service_account: bool,
}

impl Provider {
    pub(super) fn is_for(&self, image: &str) -> bool {
        let mut patterns = self.match_images.iter();
        patterns.any(|pattern| matching::fits(pattern, image))
    }
}

/// Reads a list, or all the lists in a directory, in the order of their names.
pub(super) fn load(path: &Path) -> Result<Vec<Provider>, ProviderError> {
    let mut providers: Vec<Provider> = Vec::new();
    for file in files(path)? {
        let bytes = read_named(&file, MAX_LIST).map_err(ProviderError::File)?;
        let malformed = |reason: String| ProviderError::Config {
            path: file.clone(),
            reason,
        };
        for provider in parse(&bytes).map_err(&malformed)? {
            if providers.iter().any(|known| known.name == provider.name) {
                let name = Quoted(&provider.name);
                return Err(malformed(format!("provider {name} is named twice")));
            }
            providers.push(provider);
        }
    }
    Ok(providers)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, ProviderError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: std::io::Error| ProviderError::File(FileError::io("read", path)(error));
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let extension = file.extension().and_then(|e| e.to_str());
        if matches!(extension, Some("json" | "yaml" | "yml")) {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(ProviderError::Config {
                path: path.to_owned(),
                reason: format!("more than {MAX_FILES} files"),
            });
        }
    }
    files.sort();
    Ok(files)
}

fn parse(bytes: &[u8]) -> Result<Vec<Provider>, String> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let wrong = |error: &dyn std::fmt::Display| format!("no CredentialProviderConfig: {error}");
    let value = yaml::document(text).map_err(|error| wrong(&error))?;
    let list: List = serde_json::from_value(value).map_err(|error| wrong(&error))?;
    let version = list.api_version.strip_prefix("kubelet.config.k8s.io/");
    if list.kind != "CredentialProviderConfig" || !version.is_some_and(is_version) {
        return Err(format!(
            "no CredentialProviderConfig of kubelet.config.k8s.io/v1, but {} of {}",
            Quoted(&list.kind),
            Quoted(&list.api_version)
        ));
    }
    let providers = list.providers.unwrap_or_default();
    if providers.is_empty() {
        return Err("it names no provider".to_owned());
    }
    providers.into_iter().map(read).collect()
}

fn read(entry: Entry) -> Result<Provider, String> {
    let name = Quoted(&entry.name);
    let is_file_name = !entry.name.is_empty()
        && !matches!(entry.name.as_str(), "." | "..")
        && !entry.name.contains(['/', '\\', ' ', '\0']);
    if !is_file_name {
        return Err(format!(
            "provider {name}: that is not the name of a program"
        ));
    }
    let match_images = entry.match_images.unwrap_or_default();
    if match_images.is_empty() {
        return Err(format!("provider {name}: matchImages is empty"));
    }
    let version = entry.api_version.strip_prefix(PROTOCOL);
    if !version.is_some_and(is_version) {
        return Err(format!(
            "provider {name}: apiVersion {} is not known",
            Quoted(&entry.api_version)
        ));
    }
    let time = go::duration(&entry.default_cache_duration);
    let Some(default_cache_duration) = time else {
        return Err(format!(
            "provider {name}: defaultCacheDuration {} is no duration",
            Quoted(&entry.default_cache_duration)
        ));
    };
    let environment = entry.env.unwrap_or_default().into_iter();
    Ok(Provider {
        match_images,
        default_cache_duration,
        api_version: entry.api_version,
        arguments: entry.args.unwrap_or_default(),
        environment: environment.map(|v| (v.name, v.value)).collect(),
        needs_service_account: entry
            .token_attributes
            .is_some_and(|attributes| attributes.require_service_account),
        name: entry.name,
    })
}

fn is_version(text: &str) -> bool {
    matches!(text, "v1" | "v1beta1" | "v1alpha1")
}

const PROTOCOL: &str = "credentialprovider.kubelet.k8s.io/";

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: ecr
    matchImages:
      - \"*.dkr.ecr.*.amazonaws.com\"
    defaultCacheDuration: 12h
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args: [get-credentials]
    env:
      - name: AWS_PROFILE
        value: node
    tokenAttributes:
      requireServiceAccount: false
      serviceAccountTokenAudience: x
";

    #[test]
    fn yaml_and_json_are_read() {
        let providers = parse(GOOD.as_bytes()).unwrap();
        let provider = providers.first().unwrap();
        assert!(provider.is_for("1.dkr.ecr.eu-west-1.amazonaws.com/app"));
        assert_eq!(provider.arguments, ["get-credentials"]);
        assert_eq!(provider.environment.len(), 1);
        assert_eq!(provider.default_cache_duration.as_secs(), 12 * 3600);
        assert!(!provider.needs_service_account);
        let json = r#"{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"CredentialProviderConfig",
            "providers":[{"name":"p","matchImages":["*.example"],"defaultCacheDuration":"0",
            "apiVersion":"credentialprovider.kubelet.k8s.io/v1beta1",
            "tokenAttributes":{"requireServiceAccount":true}}]}"#;
        let providers = parse(json.as_bytes()).unwrap();
        assert!(providers.first().unwrap().needs_service_account);
    }

    #[test]
    fn what_the_kubelet_refuses_is_refused() {
        for (from, to, why) in [
            ("name: ecr", "name: ../ecr", "not the name of a program"),
            ("name: ecr", "name: \"\"", "not the name of a program"),
            ("12h", "forever", "is no duration"),
            ("12h", "-1s", "is no duration"),
            ("kubelet.k8s.io/v1\n", "kubelet.k8s.io/v9\n", "is not known"),
            (
                "kind: CredentialProviderConfig",
                "kind: Pod",
                "no CredentialProviderConfig",
            ),
            ("      - \"*.dkr.ecr.*.amazonaws.com\"\n", "", "matchImages"),
            ("providers:", "providers: [", "no CredentialProviderConfig"),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{to}: {error}");
        }
    }
}
