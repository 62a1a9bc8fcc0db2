//! `signingkeys.json`: the names of signing keys and where each key is (CFG-13 to CFG-19).
//!
//! The file holds no secret and no key: an entry names a plugin and the plugin's name for the key,
//! or the two files of a software key, which only the `local` plugin opens (CFG-19).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ConfigError, FileLock, LOCK_PATIENCE, MAX_FILE, pretty, read_json, write_atomic};
use crate::dirs::Dirs;
use crate::text::nearest;

/// The key list.
///
/// ```json
/// {
///     "default": "release",
///     "keys": [
///         { "name": "release", "id": "pkcs11:object=k", "pluginName": "pkcs11" },
///         { "name": "test", "keyPath": "/…/test.key", "certPath": "/…/test.crt" }
///     ]
/// }
/// ```
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct SigningKeys {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    keys: Vec<KeyEntry>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

/// One entry of the key list, as it stands in the file; [`KeyEntry::location`] says what it means.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct KeyEntry {
    /// The name by which users choose the key.
    #[serde(default)]
    pub name: String,
    /// Path of a private key file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key_path: String,
    /// Path of the certificate chain that belongs to it.
    #[serde(default, rename = "certPath", skip_serializing_if = "String::is_empty")]
    pub certificate_path: String,
    /// The plugin's name for the key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The plugin.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plugin_name: String,
    /// What the plugin is told in addition.
    #[serde(
        default,
        deserialize_with = "null_is_empty",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub plugin_config: BTreeMap<String, String>,
    #[serde(flatten)]
    other: serde_json::Map<String, serde_json::Value>,
}

/// Where the key of an entry is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyLocation<'a> {
    /// In a file, which the `local` plugin of the box reads.
    Files {
        /// Path of the private key.
        key: &'a str,
        /// Path of the certificate chain.
        certificate: &'a str,
    },
    /// In whatever the plugin drives.
    Plugin {
        /// The plugin's name.
        plugin: &'a str,
        /// The plugin's name for the key.
        id: &'a str,
        /// What the plugin is told in addition.
        config: &'a BTreeMap<String, String>,
    },
}

impl KeyEntry {
    /// Where the key is; a pair of files is preferred when both kinds of member are there, as in
    /// the reference.
    ///
    /// # Errors
    /// [`ConfigError::UnsupportedKey`] when the entry names neither.
    // CFG-14
    pub fn location(&self) -> Result<KeyLocation<'_>, ConfigError> {
        if !self.key_path.is_empty() || !self.certificate_path.is_empty() {
            Ok(KeyLocation::Files {
                key: &self.key_path,
                certificate: &self.certificate_path,
            })
        } else if !self.id.is_empty() || !self.plugin_name.is_empty() {
            Ok(KeyLocation::Plugin {
                plugin: &self.plugin_name,
                id: &self.id,
                config: &self.plugin_config,
            })
        } else {
            Err(ConfigError::UnsupportedKey)
        }
    }
}

impl SigningKeys {
    /// The key list of the user; empty when there is no file.
    ///
    /// # Errors
    /// If the file can't be read, is no JSON, or breaks a rule of the key list: names are unique and not
    /// blank, and the default is one of them.
    pub fn load(dirs: &Dirs) -> Result<Self, ConfigError> {
        let keys: Self = read_json(&dirs.signing_keys(), FILE)?.unwrap_or_default();
        keys.validate()?;
        Ok(keys)
    }

    /// Reads the list, lets `change` change it and writes it back, all under a lock, so that no
    /// two changes at once lose anything. When `change` fails nothing is written.
    ///
    /// # Errors
    /// Those of `change`, of [`Self::load`], of the rules of the key list, and of writing.
    // CFG-16
    pub fn update<T, E: From<ConfigError>>(
        dirs: &Dirs,
        change: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = dirs.signing_keys();
        let _lock = FileLock::acquire(&path, LOCK_PATIENCE).map_err(ConfigError::from)?;
        let mut keys = Self::load(dirs)?;
        let result = change(&mut keys)?;
        keys.validate()?;
        write_atomic(&path, &keys.to_json()?, 0o600).map_err(ConfigError::from)?;
        Ok(result)
    }

    /// The entries, in the order of the file.
    pub fn entries(&self) -> &[KeyEntry] {
        &self.keys
    }

    /// The name of the default key.
    pub fn default_name(&self) -> Option<&str> {
        self.default.as_deref()
    }

    /// The entry `name`, or the default entry.
    ///
    /// # Errors
    /// [`ConfigError::KeyNotFound`] or [`ConfigError::NoDefaultKey`].
    // CFG-18, CLI-26
    pub fn choose(&self, name: Option<&str>) -> Result<&KeyEntry, ConfigError> {
        match name.or(self.default_name()) {
            Some(name) => self.get(name),
            None => Err(ConfigError::NoDefaultKey),
        }
    }

    /// The entry `name`.
    ///
    /// # Errors
    /// [`ConfigError::KeyNameEmpty`] or [`ConfigError::KeyNotFound`].
    pub fn get(&self, name: &str) -> Result<&KeyEntry, ConfigError> {
        let index = self.position(name)?;
        self.keys.get(index).ok_or_else(|| self.not_found(name))
    }

    /// Adds a key that a plugin holds. Neither plugin nor key is contacted.
    ///
    /// # Errors
    /// If a part is empty or the name is taken.
    // CLI-64
    pub fn add_plugin_key(
        &mut self,
        name: &str,
        plugin: &str,
        id: &str,
        config: BTreeMap<String, String>,
    ) -> Result<(), ConfigError> {
        if name.is_empty() {
            return Err(ConfigError::KeyNameEmpty);
        }
        if id.is_empty() {
            return Err(ConfigError::KeyIdMissing);
        }
        if plugin.is_empty() {
            return Err(ConfigError::PluginNameEmpty);
        }
        self.add(KeyEntry {
            name: name.into(),
            id: id.into(),
            plugin_name: plugin.into(),
            plugin_config: config,
            ..KeyEntry::default()
        })
    }

    /// Adds a key that stands in files, which are not opened.
    ///
    /// # Errors
    /// If the name is empty or taken.
    pub fn add_files(
        &mut self,
        name: &str,
        key_path: &str,
        certificate_path: &str,
    ) -> Result<(), ConfigError> {
        self.add(KeyEntry {
            name: name.into(),
            key_path: key_path.into(),
            certificate_path: certificate_path.into(),
            ..KeyEntry::default()
        })
    }

    fn add(&mut self, entry: KeyEntry) -> Result<(), ConfigError> {
        if entry.name.is_empty() {
            return Err(ConfigError::KeyNameEmpty);
        }
        if self.keys.iter().any(|key| key.name == entry.name) {
            return Err(ConfigError::KeyExists { name: entry.name });
        }
        self.keys.push(entry);
        Ok(())
    }

    /// Makes `name` the default key.
    ///
    /// # Errors
    /// If there is no such key.
    // CLI-66
    pub fn set_default(&mut self, name: &str) -> Result<(), ConfigError> {
        self.position(name)?;
        self.default = Some(name.into());
        Ok(())
    }

    /// Removes the key `name` and says whether it was the default; the default is then unset.
    ///
    /// # Errors
    /// If there is no such key.
    pub fn remove(&mut self, name: &str) -> Result<bool, ConfigError> {
        let index = self.position(name)?;
        self.keys.remove(index);
        Ok(self.default.take_if(|default| default == name).is_some())
    }

    fn position(&self, name: &str) -> Result<usize, ConfigError> {
        if name.is_empty() {
            return Err(ConfigError::KeyNameEmpty);
        }
        self.keys
            .iter()
            .position(|key| key.name == name)
            .ok_or_else(|| self.not_found(name))
    }

    fn not_found(&self, name: &str) -> ConfigError {
        let known: Vec<_> = self.keys.iter().map(|key| key.name.as_str()).collect();
        ConfigError::KeyNotFound {
            name: name.to_owned(),
            nearest: nearest(name, &known).map(str::to_owned),
        }
    }

    /// The rules of CFG-17.
    fn validate(&self) -> Result<(), ConfigError> {
        let mut names = BTreeSet::new();
        for key in &self.keys {
            if key.name.is_empty() {
                return Err(ConfigError::EmptyNameInList);
            }
            if !names.insert(key.name.as_str()) {
                return Err(ConfigError::RepeatedName {
                    name: key.name.clone(),
                });
            }
        }
        match self.default.as_deref() {
            Some("") => Err(ConfigError::EmptyDefault),
            Some(default) if !names.contains(default) => Err(ConfigError::DefaultNotInList {
                name: default.into(),
            }),
            _ => Ok(()),
        }
    }

    /// The bytes of the file: four spaces a level and a newline at the end (CFG-15).
    fn to_json(&self) -> Result<Vec<u8>, ConfigError> {
        let bytes = pretty(self, FILE)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_FILE) {
            Ok(bytes)
        } else {
            Err(ConfigError::ListFull)
        }
    }
}

/// Go writes an empty list as `null`.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

const FILE: &str = "signingkeys.json";

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use std::fs;
    use std::process::{Command, Stdio};
    use std::thread;

    use super::*;

    fn dirs() -> (tempfile::TempDir, Dirs) {
        let root = tempfile::tempdir().unwrap();
        let dirs = Dirs::below(root.path());
        fs::create_dir_all(&dirs.config).unwrap();
        (root, dirs)
    }

    fn load(json: &str) -> Result<SigningKeys, ConfigError> {
        let (_root, dirs) = dirs();
        fs::write(dirs.signing_keys(), json).unwrap();
        SigningKeys::load(&dirs)
    }

    fn add(dirs: &Dirs, name: &str) {
        SigningKeys::update(dirs, |keys| {
            keys.add_plugin_key(name, "pkcs11", "pkcs11:object=k", BTreeMap::new())
        })
        .unwrap();
    }

    /// CFG-13, CFG-15: both kinds of key, byte for byte as the reference writes them.
    #[test]
    fn cfg_15_written_as_the_reference_does() {
        let (_root, dirs) = dirs();
        SigningKeys::update(&dirs, |keys| {
            keys.add_plugin_key(
                "hw",
                "pkcs11",
                "i",
                [("b", "2"), ("a", "1")]
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .into(),
            )?;
            keys.add_files("sw", "/k/sw.key", "/k/sw.crt")?;
            keys.set_default("sw")
        })
        .unwrap();
        let expected = r#"{
    "default": "sw",
    "keys": [
        {
            "name": "hw",
            "id": "i",
            "pluginName": "pkcs11",
            "pluginConfig": {
                "a": "1",
                "b": "2"
            }
        },
        {
            "name": "sw",
            "keyPath": "/k/sw.key",
            "certPath": "/k/sw.crt"
        }
    ]
}
"#;
        assert_eq!(fs::read_to_string(dirs.signing_keys()).unwrap(), expected);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(dirs.signing_keys())
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    /// CFG-14: files are preferred; an entry with neither is refused with the reference's text.
    #[test]
    fn cfg_14_location() {
        let keys = load(
            r#"{"keys":[{"name":"both","keyPath":"k","certPath":"c","id":"i","pluginName":"p"},
                {"name":"neither"},{"name":"plugin","id":"i","pluginName":"p","pluginConfig":null}]}"#,
        )
        .unwrap();
        assert_eq!(
            keys.get("both").unwrap().location().unwrap(),
            KeyLocation::Files {
                key: "k",
                certificate: "c"
            }
        );
        assert_eq!(
            keys.get("plugin").unwrap().location().unwrap(),
            KeyLocation::Plugin {
                plugin: "p",
                id: "i",
                config: &BTreeMap::new()
            }
        );
        assert_eq!(
            keys.get("neither").unwrap().location().unwrap_err().told(),
            "unsupported key, either provide a local key and certificate file paths, or a key name \
             in config.json, check https://notaryproject.dev/docs/user-guides/how-to/\
             notation-config-file/ for details"
        );
    }

    /// CFG-17: the rules on load, with the reference's texts.
    #[test]
    fn cfg_17_rules() {
        for (json, text) in [
            (
                r#"{"keys":[{"id":"i"}]}"#,
                "malformed signingkeys.json: key name cannot be empty",
            ),
            (
                r#"{"keys":[{"name":"a"},{"name":"a"}]}"#,
                "malformed signingkeys.json: multiple keys with name 'a' found",
            ),
            (
                r#"{"default":"","keys":[]}"#,
                "malformed signingkeys.json: default key name cannot be empty",
            ),
            (
                r#"{"default":"b","keys":[{"name":"a"}]}"#,
                "malformed signingkeys.json: default key 'b' not found",
            ),
        ] {
            assert_eq!(load(json).unwrap_err().told(), text);
        }
        assert!(
            load("{")
                .unwrap_err()
                .told()
                .starts_with("malformed signingkeys.json: ")
        );
    }

    /// CFG-17: a change that breaks a rule is not written.
    #[test]
    fn cfg_17_rules_on_save() {
        let (_root, dirs) = dirs();
        add(&dirs, "a");
        let before = fs::read(dirs.signing_keys()).unwrap();
        let broken = SigningKeys::update(&dirs, |keys| {
            keys.default = Some("none".into());
            Ok::<_, ConfigError>(())
        });
        assert!(matches!(broken, Err(ConfigError::DefaultNotInList { .. })));
        assert_eq!(fs::read(dirs.signing_keys()).unwrap(), before);
    }

    /// CFG-18, CLI-64: look-up and its texts.
    #[test]
    fn cfg_18_lookup() {
        let mut keys = SigningKeys::default();
        assert_eq!(
            keys.choose(None).unwrap_err().told(),
            "default signing key not set. Please set default signing key or specify a key name"
        );
        assert_eq!(
            keys.choose(Some("x")).unwrap_err().told(),
            "signing key x not found"
        );
        keys.add_files("x", "k", "c").unwrap();
        keys.set_default("x").unwrap();
        assert_eq!(keys.choose(None).unwrap().name, "x");
        for (result, text) in [
            (
                keys.add_files("x", "k", "c"),
                "signing key with name \"x\" already exists",
            ),
            (
                keys.add_plugin_key("y", "p", "", BTreeMap::new()),
                "missing key id",
            ),
            (
                keys.add_plugin_key("y", "", "i", BTreeMap::new()),
                "plugin name cannot be empty",
            ),
            (
                keys.add_plugin_key("", "p", "i", BTreeMap::new()),
                "key name cannot be empty",
            ),
        ] {
            assert_eq!(result.unwrap_err().told(), text);
        }
        assert!(keys.remove("x").unwrap());
        assert_eq!(keys.default_name(), None);
    }

    /// A directory or link in the place of the file is an error, also for a change (CFG-11).
    #[cfg(unix)]
    #[test]
    fn cfg_11_link_is_refused() {
        let (root, dirs) = dirs();
        let elsewhere = root.path().join("elsewhere");
        fs::write(&elsewhere, r#"{"keys":[]}"#).unwrap();
        std::os::unix::fs::symlink(&elsewhere, dirs.signing_keys()).unwrap();
        let text = format!(
            "\"{}\" is not a regular file (symlinks are not supported)",
            dirs.signing_keys().display()
        );
        assert_eq!(SigningKeys::load(&dirs).unwrap_err().told(), text);
        let changed = SigningKeys::update(&dirs, |keys| keys.add_files("a", "k", "c"));
        assert_eq!(changed.unwrap_err().told(), text);
        assert!(dirs.signing_keys().is_symlink());
    }

    /// Members that we don't know survive, of the list and of a key, and Go's `null` is read.
    #[test]
    fn unknown_members_survive() {
        let (_root, dirs) = dirs();
        fs::write(
            dirs.signing_keys(),
            r#"{"keys":[{"name":"a","id":"i","pluginName":"p","note":{"n":[1,18446744073709551615]}}],"version":7}"#,
        )
        .unwrap();
        add(&dirs, "b");
        let text = fs::read_to_string(dirs.signing_keys()).unwrap();
        assert!(text.contains("\"version\": 7"), "{text}");
        assert!(text.contains("18446744073709551615"), "{text}");
        assert_eq!(load(r#"{"keys":null}"#).unwrap().entries(), []);
    }

    /// CFG-16: many threads at once lose nothing.
    #[test]
    fn cfg_16_threads_lose_nothing() {
        let (_root, dirs) = dirs();
        thread::scope(|scope| {
            for i in 0..16 {
                let dirs = &dirs;
                scope.spawn(move || {
                    for j in 0..4 {
                        add(dirs, &format!("key-{i}-{j}"));
                    }
                });
            }
        });
        assert_eq!(SigningKeys::load(&dirs).unwrap().entries().len(), 64);
    }

    const CHILD: &str = "HARDSIGN_TEST_KEY_ADD";

    /// CFG-16: and many processes lose nothing either. The children are this test executable,
    /// told by a variable to be one.
    #[expect(
        clippy::disallowed_methods,
        reason = "starts itself as concurrent writers and tells them so by a variable"
    )]
    #[test]
    fn cfg_16_processes_lose_nothing() {
        if let Some(child) = std::env::var_os(CHILD) {
            let child = child.into_string().unwrap();
            let (root, name) = child.rsplit_once('=').unwrap();
            for j in 0..4 {
                add(&Dirs::below(root.as_ref()), &format!("{name}-{j}"));
            }
            return;
        }
        let (root, dirs) = dirs();
        let children: Vec<_> = (0..8)
            .map(|i| {
                Command::new(std::env::current_exe().unwrap())
                    .args([
                        "--exact",
                        "config::keys::tests::cfg_16_processes_lose_nothing",
                    ])
                    .env(CHILD, format!("{}=p{i}", root.path().display()))
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(SigningKeys::load(&dirs).unwrap().entries().len(), 32);
    }
}
