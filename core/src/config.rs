//! The user's files: `config.json`, `signingkeys.json` and the trust policy files.
//!
//! Implements the files of the reference so that a directory
//! made by either tool works under both. It reads and writes; what a trust policy means is for
//! `policy`, and what stands in a trust store for `trust`. Files are read only when regular, never
//! through a symbolic link, and always up to a limit; they are replaced whole, under a lock.

// Requirements: CFG-06 to CFG-21, TP-01 to TP-04.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroize as _;

use crate::artifact::reference::registry_of_address;
use crate::dirs::Dirs;
use crate::json::{self, JsonError};

pub mod exceptions;
mod file;
pub mod formats;
mod keys;
pub mod permissions;
mod policy;

pub(crate) use file::sync_directory;
pub use file::{
    FileError, FileLock, create_private_directory, open_regular, read_named, read_regular,
    write_atomic,
};
pub use keys::{KeyEntry, KeyLocation, SigningKeys};
pub use policy::{PolicyFile, PolicyFileError, read_policy};

/// What can be wrong with the user's configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file can't be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is not the JSON that it should be.
    // CFG-12
    #[error("malformed {file}")]
    Malformed {
        /// The name of the file.
        file: &'static str,
        /// What the parser said.
        #[source]
        source: JsonError,
    },
    /// A file can't be written as JSON.
    #[error("failed to write {file}")]
    Serialize {
        /// The name of the file.
        file: &'static str,
        /// What went wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A key without a name stands in the list.
    // CFG-17
    #[error("malformed signingkeys.json: key name cannot be empty")]
    EmptyNameInList,
    /// Two keys of one name stand in the list.
    // CFG-17
    #[error("malformed signingkeys.json: multiple keys with name '{name}' found")]
    RepeatedName {
        /// The name.
        name: String,
    },
    /// The default key's name is empty.
    // CFG-17
    #[error("malformed signingkeys.json: default key name cannot be empty")]
    EmptyDefault,
    /// The default key is not in the list.
    // CFG-17
    #[error("malformed signingkeys.json: default key '{name}' not found")]
    DefaultNotInList {
        /// The name.
        name: String,
    },
    /// The list would be too long to be read again.
    #[error("signingkeys.json is full")]
    ListFull,
    /// A key name must not be empty.
    #[error("key name cannot be empty")]
    KeyNameEmpty,
    /// No key of that name.
    // CFG-18
    #[error("signing key {name} not found")]
    KeyNotFound {
        /// The name.
        name: String,
        /// The key that was probably meant.
        nearest: Option<String>,
    },
    /// No key was chosen and there is no default.
    // CFG-18
    #[error("default signing key not set. Please set default signing key or specify a key name")]
    NoDefaultKey,
    /// The name is taken.
    // CLI-64
    #[error("signing key with name \"{name}\" already exists")]
    KeyExists {
        /// The name.
        name: String,
    },
    /// A plugin's key needs an id.
    // CLI-64
    #[error("missing key id")]
    KeyIdMissing,
    /// A plugin's key needs a plugin.
    // CLI-64
    #[error("plugin name cannot be empty")]
    PluginNameEmpty,
    /// An entry says neither where the files are nor which plugin holds the key.
    // CFG-14
    #[error(
        "unsupported key, either provide a local key and certificate file paths, or a key name in config.json, check https://notaryproject.dev/docs/user-guides/how-to/notation-config-file/ for details"
    )]
    UnsupportedKey,
}

/// `config.json`: registries, credentials and the default signature format.
///
/// ```json
/// {
///     "insecureRegistries": ["registry.example:5000"],
///     "credsStore": "pass",
///     "credHelpers": { "registry.example": "secretservice" },
///     "signatureFormat": "cose"
/// }
/// ```
/// The whole object is kept, so that members of other tools survive a rewrite.
// CFG-08
#[derive(Clone, Default)]
pub struct ConfigFile {
    known: Known,
    whole: Map<String, Value>,
}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There may be passwords in it.
        f.debug_struct("ConfigFile").finish_non_exhaustive()
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        self.known.auths.values_mut().for_each(wipe);
        self.whole.values_mut().for_each(wipe);
    }
}

/// Zeroes all texts of a value.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The members that are read here.
#[derive(Clone, Default)]
struct Known {
    insecure_registries: Vec<String>,
    creds_store: String,
    cred_helpers: BTreeMap<String, Option<String>>,
    signature_format: String,
    auths: BTreeMap<String, Value>,
}

impl Known {
    /// Takes over a member as Go does: a list or text takes the place of an earlier one, a map is
    /// added to it.
    fn take(&mut self, name: &str, value: &Value) -> Result<(), JsonError> {
        if json::go::is_named(name, "insecureRegistries") {
            self.insecure_registries = read(value, "a list of strings as insecureRegistries")?;
        } else if json::go::is_named(name, "credsStore") {
            self.creds_store = read(value, "a string as credsStore")?;
        } else if json::go::is_named(name, "credHelpers") {
            let all: BTreeMap<_, _> = read(value, "an object of strings as credHelpers")?;
            self.cred_helpers.extend(all);
        } else if json::go::is_named(name, "signatureFormat") {
            self.signature_format = read(value, "a string as signatureFormat")?;
        } else if json::go::is_named(name, AUTHS) {
            let all: BTreeMap<_, _> = read(value, "an object as auths")?;
            self.auths.extend(all);
        }
        Ok(())
    }
}

/// A value; Go writes an empty one as `null`. What is wrong with one is told without the value.
fn read<T: serde::de::DeserializeOwned + Default>(
    value: &Value,
    expected: &str,
) -> Result<T, JsonError> {
    match Option::deserialize(value) {
        Ok(value) => Ok(value.unwrap_or_default()),
        Err(error) => Err(json::go::unquoted(error.into(), expected)),
    }
}

impl ConfigFile {
    /// The user's `config.json`; the defaults when there is none.
    ///
    /// # Errors
    /// If it can't be read or is malformed.
    // CFG-11, CFG-12
    pub fn load(dirs: &Dirs) -> Result<Self, ConfigError> {
        Self::load_from(&dirs.config_file())
    }

    /// The file at `path`, which may also be Docker's, read as Go reads it; the defaults
    /// when there is none.
    ///
    /// # Errors
    /// As [`Self::load`].
    // CFG-22
    pub fn load_from(path: &Path) -> Result<Self, ConfigError> {
        match read_regular(path, MAX_FILE) {
            Ok(bytes) => Self::parse(&bytes),
            Err(error) if error.is_not_found() => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// The content of such a file.
    ///
    /// # Errors
    /// If it is malformed.
    // CFG-11, CFG-12
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let malformed = |source| ConfigError::Malformed {
            file: CONFIG_FILE,
            source,
        };
        let members = json::go::members(bytes).map_err(malformed)?;
        let mut file = Self::default();
        for (name, value) in members.0 {
            let taken = file.known.take(&name, &value);
            taken.map_err(malformed)?;
            match (file.whole.get_mut(&name), value) {
                (Some(Value::Object(first)), Value::Object(next)) => first.extend(next),
                (_, value) => drop(file.whole.insert(name, value)),
            }
        }
        Ok(file)
    }

    /// Registries that are spoken to by plain HTTP.
    pub fn insecure_registries(&self) -> &[String] {
        &self.known.insecure_registries
    }

    /// The default of `--signature-format` as written, in lower case; `jws` when there is none.
    /// Whether it is a format is decided where it is used.
    // CFG-09
    pub fn signature_format(&self) -> String {
        match self.known.signature_format.as_str() {
            "" => "jws".to_owned(),
            format => format.to_lowercase(),
        }
    }

    /// The credential helper for all registries.
    pub fn credentials_store(&self) -> Option<&str> {
        Some(self.known.creds_store.as_str()).filter(|s| !s.is_empty())
    }

    /// The credential helper for one registry, however that is spelt there.
    pub fn credential_helper(&self, server: &str) -> Option<&str> {
        let helpers = &self.known.cred_helpers;
        let found = helpers.get(server).or_else(|| {
            let mut others = helpers.iter();
            others.find_map(|(name, helper)| same_registry(name, server).then_some(helper))
        });
        found?.as_deref().filter(|helper| !helper.is_empty())
    }

    /// The credential helpers for single registries: registry and helper.
    pub fn credential_helpers(&self) -> impl Iterator<Item = (&str, &str)> {
        let helpers = self.known.cred_helpers.iter();
        let named = |helper: &&str| !helper.is_empty();
        helpers.filter_map(move |(server, helper)| {
            Some((server.as_str(), helper.as_deref().filter(named)?))
        })
    }

    /// Docker's `auths`: what stands there in plain text for each server.
    // CFG-24
    pub fn auths(&self) -> impl Iterator<Item = (&str, &Value)> {
        let auths = self.known.auths.iter();
        auths.map(|(server, entry)| (server.as_str(), entry))
    }

    /// Whether there is an entry for `server` in plain text, however it is spelt there.
    pub fn has_auth(&self, server: &str) -> bool {
        let mut names = self.auths().map(|(name, _)| name);
        names.any(|name| name == server || same_registry(name, server))
    }

    /// Whether the file says anything about credentials, which decides if it is used.
    // CFG-22
    pub fn configures_credentials(&self) -> bool {
        self.credentials_store().is_some()
            || !self.known.cred_helpers.is_empty()
            || !self.known.auths.is_empty()
    }

    /// Removes the plain-text entries of `server`, however it is spelt there, from the file at
    /// `path` and says whether there was one; everything else in the file stays.
    ///
    /// # Errors
    /// If the file can't be read, is malformed, or can't be written.
    // CFG-08
    pub fn remove_auth(path: &Path, server: &str) -> Result<bool, ConfigError> {
        let _lock = FileLock::acquire(path, LOCK_PATIENCE)?;
        let mut file = Self::load_from(path)?;
        let mut removed = false;
        let members = file.whole.iter_mut();
        for (_, value) in members.filter(|(name, _)| json::go::is_named(name, AUTHS)) {
            if let Value::Object(auths) = value {
                let before = auths.len();
                auths.retain(|name, _| name != server && !same_registry(name, server));
                removed |= auths.len() < before;
            }
        }
        if removed {
            write_atomic(path, &pretty(&file.whole, CONFIG_FILE)?, 0o600)?;
        }
        Ok(removed)
    }
}

/// Whether two addresses, as they stand in files of credentials, name one registry.
fn same_registry(one: &str, other: &str) -> bool {
    let registry = registry_of_address(one);
    registry.is_some() && registry == registry_of_address(other)
}

/// The bytes of `value` as the reference writes its files: four spaces a level and a newline at
/// the end (CFG-15).
fn pretty<T: serde::Serialize>(value: &T, file: &'static str) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value
        .serialize(&mut serializer)
        .map_err(|source| ConfigError::Serialize { file, source })?;
    bytes.push(b'\n');
    Ok(escape_as_go(bytes))
}

/// Escapes what Go's encoder escapes and `serde_json` does not. These characters stand in strings
/// only, so the text may be changed as a whole.
fn escape_as_go(json: Vec<u8>) -> Vec<u8> {
    let escapes = [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ];
    match String::from_utf8(json) {
        Ok(text) => escapes
            .iter()
            .fold(text, |text, (c, escape)| text.replace(*c, escape))
            .into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

/// The JSON file at `path`, or `None` when there is no file.
fn read_json<T: for<'de> Deserialize<'de>>(
    path: &Path,
    file: &'static str,
) -> Result<Option<T>, ConfigError> {
    let bytes = match read_regular(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| ConfigError::Malformed { file, source })
}

const CONFIG_FILE: &str = "config.json";

/// The member for what is kept in plain text.
const AUTHS: &str = "auths";

/// More than any configuration needs: 4 MiB.
const MAX_FILE: u64 = 4 << 20;

/// How long a change waits for other changes; each takes milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use std::fs;

    use super::*;

    fn load(json: &str) -> Result<ConfigFile, ConfigError> {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.json");
        fs::write(&path, json).unwrap();
        ConfigFile::load_from(&path)
    }

    /// CFG-15: the same bytes as the reference, also for `&` in a PKCS#11 URI.
    #[test]
    fn cfg_15_strings_are_escaped_as_go_does() {
        let bytes = pretty(&["a?b=c&d", "<\u{2028}\u{2029}>\u{e9}\"\\\u{7}\n"], "f").unwrap();
        let expected = r#"[
    "a?b=c\u0026d",
    "\u003c\u2028\u2029\u003eé\"\\\u0007\n"
]
"#;
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    /// CFG-08 to CFG-10, DIF-41: the members, read from the directory in effect; the defaults when
    /// there is no file.
    #[test]
    fn cfg_08_members() {
        let file = load(
            r#"{"insecureRegistries":["r:5000"],"credsStore":"pass","credHelpers":{"a":"b"},
                "signatureFormat":"COSE","auths":{"r":{"auth":"x"}},"HttpHeaders":{}}"#,
        )
        .unwrap();
        assert_eq!(file.insecure_registries(), ["r:5000"]);
        assert_eq!(file.credentials_store(), Some("pass"));
        assert_eq!(file.credential_helper("a"), Some("b"));
        assert_eq!(file.credential_helper("z"), None);
        assert_eq!(file.signature_format(), "cose");
        assert_eq!(file.auths().map(|(s, _)| s).collect::<Vec<_>>(), ["r"]);
        assert!(file.configures_credentials());

        let root = tempfile::tempdir().unwrap();
        let dirs = Dirs::below(root.path());
        let none = ConfigFile::load(&dirs).unwrap();
        assert_eq!(none.signature_format(), "jws");
        assert!(none.insecure_registries().is_empty());
        assert!(!none.configures_credentials());
        fs::create_dir_all(&dirs.config).unwrap();
        fs::write(dirs.config_file(), r#"{"signatureFormat":"cose"}"#).unwrap();
        assert_eq!(ConfigFile::load(&dirs).unwrap().signature_format(), "cose");
        // Go writes an empty list as null.
        assert!(
            load(r#"{"insecureRegistries":null}"#)
                .unwrap()
                .insecure_registries()
                .is_empty()
        );
    }

    /// CFG-22: Docker's files are read as Go reads them: names in any case, the last of several.
    #[test]
    fn cfg_22_as_go_reads_it() {
        let file = load(
            r#"{"AUTHS":{"a.io":{"auth":"1"}},"auths":{"b.io":{"auth":"2"},"b.io":{"auth":"3"}},
                "auths":{"c.io":{}},"CredsStore":"x","credsstore":"pass",
                "CREDHELPERS":{"R.io":"one","s.io":null,"s.io":"two"},"insecureregistries":["r"]} trailing"#,
        )
        .unwrap();
        let auths: Vec<_> = file.auths().map(|(server, _)| server).collect();
        assert_eq!(auths, ["a.io", "b.io", "c.io"]);
        assert_eq!(file.auths().nth(1).unwrap().1["auth"], "3");
        assert_eq!(file.credentials_store(), Some("pass"));
        assert_eq!(file.credential_helper("r.io"), Some("one"));
        assert_eq!(file.credential_helper("https://R.IO/v1/"), Some("one"));
        assert_eq!(file.credential_helper("s.io"), Some("two"));
        assert_eq!(file.insecure_registries(), ["r"]);
        for empty in [
            "",
            "\n",
            "null",
            "{}",
            r#"{"auths":null,"credHelpers":null}"#,
        ] {
            assert!(!load(empty).unwrap().configures_credentials(), "{empty:?}");
        }
    }

    /// CFG-08, CLI-62: an entry is found however it is spelt, and no other one goes.
    #[test]
    fn cli_62_entries_are_removed_in_every_spelling() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.json");
        let text = r#"{"auths":{"https://GHCR.io/v2/":{"auth":"x"},"keep.io":{}},"Auths":{"ghcr.io":{},"ghcr.io:5000":{}}}"#;
        fs::write(&path, text).unwrap();
        assert!(ConfigFile::remove_auth(&path, "ghcr.io").unwrap());
        let left: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let expected = serde_json::json!({"auths": {"keep.io": {}}, "Auths": {"ghcr.io:5000": {}}});
        assert_eq!(left, expected);
    }

    /// CFG-12: a malformed file is an error, also where only another member is wanted.
    #[test]
    fn cfg_12_malformed_is_an_error() {
        for json in [
            "{",
            "[]",
            r#"{"insecureRegistries":"r"}"#,
            r#"{"credHelpers":{"a":1}}"#,
        ] {
            let text = load(json).unwrap_err().told();
            assert!(text.starts_with("malformed config.json: "), "{text}");
        }
    }

    /// SEC-20: what is wrong with a file that may hold passwords is told without its text.
    #[test]
    fn sec_20_no_text_of_a_malformed_file_is_told() {
        for (json, expected) in [
            (r#""c2VjcmV0""#, "an object is expected at line 1 column 10"),
            ("77777", "an object is expected at line 1 column 5"),
            (r#"{"auths":"c2VjcmV0"}"#, "an object as auths is expected"),
            (
                r#"{"insecureRegistries":"c2VjcmV0"}"#,
                "a list of strings as insecureRegistries is expected",
            ),
            (
                r#"{"credsStore":77777}"#,
                "a string as credsStore is expected",
            ),
            (
                r#"{"credHelpers":{"r":["c2VjcmV0"]}}"#,
                "an object of strings as credHelpers is expected",
            ),
            (
                r#"{"signatureFormat":77777}"#,
                "a string as signatureFormat is expected",
            ),
        ] {
            let text = load(json).unwrap_err().told();
            assert_eq!(text, format!("malformed config.json: {expected}"));
        }
    }

    /// CFG-08: a rewrite keeps unknown members, their order and their numbers.
    #[test]
    fn cfg_08_unknown_members_survive() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.json");
        fs::write(
            &path,
            r#"{"zeta":18446744073709551615,"auths":{"a":{"auth":"x"},"b":{}},"alpha":{"k":[null,1.5]}}"#,
        )
        .unwrap();
        assert!(!ConfigFile::remove_auth(&path, "none").unwrap());
        assert!(ConfigFile::remove_auth(&path, "a").unwrap());
        let text: String = fs::read_to_string(&path)
            .unwrap()
            .split_whitespace()
            .collect();
        assert_eq!(
            text,
            r#"{"zeta":18446744073709551615,"auths":{"b":{}},"alpha":{"k":[null,1.5]}}"#
        );
    }

    /// CFG-11: a directory in place of the file.
    #[test]
    fn cfg_11_directory_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.json");
        fs::create_dir(&path).unwrap();
        assert_eq!(
            ConfigFile::load_from(&path).unwrap_err().told(),
            format!(
                "\"{}\" is not a regular file (symlinks are not supported)",
                path.display()
            )
        );
    }
}
