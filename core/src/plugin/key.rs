//! From what the user chose to a plugin, its name for the key, and its settings (CLI-26).

use std::path::Path;

use hardsign_plugin::pkcs11_uri::{is_pin, pin_name};
use hardsign_plugin::proto::{Metadata, PluginConfig};

use super::{Finder, PluginError, PluginErrorKind, PluginFile};
use crate::config::{ConfigError, KeyEntry, KeyLocation, SigningKeys};
use crate::dirs::Dirs;

/// How the user chose a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyChoice<'a> {
    /// `--plugin` and `--id`: no entry in the key list.
    OnDemand {
        /// The plugin's name.
        plugin: &'a str,
        /// The plugin's name for the key.
        id: &'a str,
    },
    /// `--key`.
    Named(&'a str),
    /// Neither.
    Default,
}

/// A key and the plugin that holds it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct PluginKey {
    /// The plugin's executable.
    pub plugin: PluginFile,
    /// The plugin's name for the key.
    pub id: String,
    /// The plugin's settings: the key's own, overridden by those of the command line.
    // PLG-16
    pub config: PluginConfig,
    /// The name in the key list, if it was chosen there.
    pub name: Option<String>,
}

impl PluginKey {
    /// A key that a known plugin holds.
    pub fn new(plugin: PluginFile, id: impl Into<String>, config: PluginConfig) -> Self {
        Self {
            plugin,
            id: id.into(),
            config,
            name: None,
        }
    }

    /// Finds the key that the user chose. `config` is `--plugin-config`.
    ///
    /// A key in files goes to the `local` plugin of the box and to no other; the files are not
    /// opened here.
    ///
    /// # Errors
    /// If the key list doesn't say, or the plugin isn't there.
    // CFG-19
    pub fn resolve(
        finder: &Finder,
        dirs: &Dirs,
        choice: KeyChoice<'_>,
        config: &PluginConfig,
    ) -> Result<Self, PluginError> {
        match choice {
            KeyChoice::OnDemand { plugin, id } => {
                if id.is_empty() {
                    return Err(ConfigError::KeyIdMissing.into());
                }
                Ok(Self::new(finder.find(plugin)?, id, config.clone()))
            }
            KeyChoice::Named(name) => {
                let keys = SigningKeys::load(dirs)?;
                Ok(Self::of_entry(finder, keys.choose(Some(name))?, config)?.with_chain_of(dirs))
            }
            KeyChoice::Default => {
                let keys = SigningKeys::load(dirs)?;
                Ok(Self::of_entry(finder, keys.choose(None)?, config)?.with_chain_of(dirs))
            }
        }
    }

    /// The same with the certificates that were kept for the key because its device holds none,
    /// unless a file is named elsewhere.
    fn with_chain_of(mut self, dirs: &Dirs) -> Self {
        let named = self.config.contains_key(CERTIFICATE) || self.id.contains(CERTIFICATE);
        let kept = self.name.as_deref().and_then(|name| dirs.chain(name));
        if let Some(kept) = kept.filter(|kept| !named && kept.is_file())
            && let Some(kept) = kept.to_str()
        {
            self.config.insert(CERTIFICATE.to_owned(), kept.to_owned());
        }
        self
    }

    fn of_entry(
        finder: &Finder,
        entry: &KeyEntry,
        config: &PluginConfig,
    ) -> Result<Self, PluginError> {
        let (plugin, id, own) = match entry.location()? {
            KeyLocation::Files { key, certificate } => {
                let own = PluginConfig::from([(CERTIFICATE.to_owned(), certificate.to_owned())]);
                // The files of the list stand, whatever the command line says.
                return Ok(Self {
                    plugin: finder.local()?,
                    id: key.to_owned(),
                    config: own,
                    name: Some(entry.name.clone()),
                });
            }
            KeyLocation::Plugin { plugin, id, config } => (plugin, id, config),
        };
        let mut merged = own.clone();
        merged.extend(config.clone());
        Ok(Self {
            plugin: finder.find(plugin)?,
            id: id.to_owned(),
            config: merged,
            name: Some(entry.name.clone()),
        })
    }
}

/// The plugin's name for a key as the key list keeps it. For the `local` plugin of the box it is the path of
/// a file, which is relative to where the user is, and made absolute.
pub fn settled_id(plugin: &PluginFile, id: &str) -> String {
    match plugin.is_local_of_the_box() {
        true => absolute(id),
        false => id.to_owned(),
    }
}

/// Settings as the plugin takes them: each one is known to it, and the path of a file (which may be written
/// `file:path`) is absolute, since it is relative to where the user is.
///
/// # Errors
/// [`PluginErrorKind::Setting`] for one that the plugin doesn't know.
pub fn settled(metadata: &Metadata, config: PluginConfig) -> Result<PluginConfig, PluginError> {
    let known = metadata.check_settings(&config);
    known.map_err(|unknown| PluginErrorKind::Setting(Box::new(unknown)))?;
    let placed = |(name, value): (String, String)| {
        let is_path = metadata.setting(&name).is_some_and(|known| known.path);
        let value = match value.strip_prefix(FILE) {
            _ if !is_path => value,
            Some(path) => format!("{FILE}{}", absolute(path)),
            None => absolute(&value),
        };
        (name, value)
    };
    Ok(config.into_iter().map(placed).collect())
}

/// A path as it is from everywhere. What can't be made absolute is left for the plugin to refuse.
fn absolute(path: &str) -> String {
    let made = std::path::absolute(path).ok();
    let made = made.and_then(|path| path.into_os_string().into_string().ok());
    match made {
        Some(made) if !Path::new(path).is_absolute() => made,
        _ => path.to_owned(),
    }
}

/// The settings but for those that are one key's alone: its certificates, and its version.
pub fn of_any_key(mut settings: PluginConfig) -> PluginConfig {
    settings.retain(|name, _| ![CERTIFICATE, "version"].contains(&name.as_str()));
    settings
}

/// What may stand before a path.
const FILE: &str = "file:";

/// What would put a secret in clear into the key list: a PIN in the id, a setting that the plugin calls
/// secret, or one that the plugin does not declare and whose name is a PIN's. Its name is given; its value is
/// not told.
pub fn secret_in_clear(
    metadata: Option<&Metadata>,
    id: &str,
    config: &PluginConfig,
) -> Option<String> {
    let is_secret = |name: &&String| match metadata.and_then(|known| known.setting(name)) {
        Some(declared) => declared.secret,
        None => is_pin(name),
    };
    pin_name(id).or_else(|| config.keys().find(is_secret).cloned())
}

/// The setting of the `local` plugin that names the certificate file; its key id is the key file.
const CERTIFICATE: &str = "cert-chain";

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use std::fs;
    use std::path::PathBuf;

    use hardsign_plugin::proto::Setting;

    use super::*;
    use crate::plugin::{Origin, PluginName};

    fn declaring() -> Metadata {
        Metadata::new("m", "d", "1.0.0", "u").with_settings([
            Setting::path("cert-chain", "certificates"),
            Setting::new("token-label", "token"),
            Setting::secret("access-key", "key"),
        ])
    }

    /// Paths are made absolute where the plugin says that they are paths, and nothing else is touched.
    #[test]
    fn paths_are_relative_to_the_user() {
        let config = PluginConfig::from([
            ("cert-chain".into(), "some/chain.pem".into()),
            ("token-label".into(), "some/label".into()),
        ]);
        let settled = settled(&declaring(), config).unwrap();
        let here = std::path::absolute("some/chain.pem").unwrap();
        assert_eq!(settled["cert-chain"], here.to_str().unwrap());
        assert_eq!(settled["token-label"], "some/label");
        let config = PluginConfig::from([("cert-chain".into(), "file:some/chain.pem".into())]);
        let settled = super::settled(&declaring(), config).unwrap();
        assert_eq!(settled["cert-chain"], format!("file:{}", here.display()));
        for kept in [
            "/etc/chain.pem",
            "/etc/../chain.pem",
            "",
            "file:/etc/chain.pem",
            "file:",
        ] {
            let config = PluginConfig::from([("cert-chain".into(), kept.into())]);
            assert_eq!(
                super::settled(&declaring(), config.clone()).unwrap(),
                config
            );
        }
        let wrong = PluginConfig::from([("cert_chain".into(), "x".into())]);
        let error = super::settled(&declaring(), wrong.clone()).unwrap_err();
        assert_eq!(error.told(), "plugin m has no setting \"cert_chain\"");
        assert_eq!(error.hint().as_deref(), Some("did you mean cert-chain?"));
        // A plugin that declares none takes what it is given.
        let silent = Metadata::new("m", "d", "1.0.0", "u");
        assert_eq!(super::settled(&silent, wrong.clone()).unwrap(), wrong);
    }

    #[test]
    fn secrets_in_clear_are_found_by_name() {
        let found = |id: &str| secret_in_clear(None, id, &PluginConfig::new());
        for name in [
            "pin-value",
            "Pin_Value",
            "pinvalue",
            "user-pin",
            "userpin",
            "pin%2Dvalue",
        ] {
            for id in [
                format!("pkcs11:token=T?module-path=/m.so&{name}=1234"),
                format!("pkcs11:token=T;{name}=1234"),
                format!("other:key?{name}=1234"),
                format!("{name}=1234"),
            ] {
                let name = found(&id).unwrap();
                assert!(is_pin(&name) && !name.contains("1234"), "{id}");
            }
        }
        assert_eq!(found("yubikey:slot=9c;pin=123456").as_deref(), Some("pin"));
        for id in [
            "pkcs11:token=T?pin-source=env:PIN",
            "arn:aws:kms:eu-1:1:key/2",
        ] {
            assert_eq!(found(id), None, "{id}");
        }
        // A plugin that declares no settings may take any.
        for name in ["pin", "PIN", "pin_value", "userpin"] {
            let config = PluginConfig::from([(name.into(), "1234".into())]);
            let silent = Metadata::new("m", "d", "1.0.0", "u");
            for metadata in [None, Some(&silent)] {
                assert_eq!(
                    secret_in_clear(metadata, "k", &config).as_deref(),
                    Some(name)
                );
            }
            let declared = silent.with_settings([Setting::new(name, "no secret")]);
            assert_eq!(secret_in_clear(Some(&declared), "k", &config), None);
        }
        let config = PluginConfig::from([("access-key".into(), "hush".into())]);
        assert_eq!(
            secret_in_clear(Some(&declaring()), "k", &config).as_deref(),
            Some("access-key")
        );
        assert_eq!(secret_in_clear(None, "k", &config), None);
    }

    /// The `local` plugin of the box names keys by files, a plugin of the user's that calls itself so by
    /// whatever it likes.
    #[test]
    fn a_key_s_file_is_relative_to_the_user() {
        let file = |name: &str, origin| PluginFile {
            name: PluginName::new(name).unwrap(),
            path: PathBuf::new(),
            origin,
        };
        let here = std::path::absolute("some/k.key").unwrap();
        let local = file("local", Origin::Box);
        assert_eq!(settled_id(&local, "some/k.key"), here.to_str().unwrap());
        assert_eq!(settled_id(&local, "/k.key"), "/k.key");
        for other in [file("local", Origin::User), file("pkcs11", Origin::Box)] {
            assert_eq!(settled_id(&other, "some/k.key"), "some/k.key");
        }
    }

    struct Place {
        root: tempfile::TempDir,
        dirs: Dirs,
        finder: Finder,
    }

    impl Place {
        /// Plugins `pkcs11` and `local` in the box, and one of the user's that calls itself `local`.
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let dirs = Dirs::below(root.path());
            let boxed = root.path().join("bin");
            for path in [
                boxed.join("notation-local"),
                boxed.join("notation-pkcs11"),
                dirs.plugins().join("local/notation-local"),
            ] {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
            let finder = Finder::with_box(&dirs, vec![boxed]);
            Self { root, dirs, finder }
        }

        fn boxed(&self, name: &str) -> PathBuf {
            self.root.path().join("bin").join(name)
        }

        fn resolve(&self, choice: KeyChoice<'_>) -> Result<PluginKey, PluginError> {
            PluginKey::resolve(&self.finder, &self.dirs, choice, &config(&[("b", "line")]))
        }
    }

    fn config(entries: &[(&str, &str)]) -> PluginConfig {
        let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
        entries.iter().map(owned).collect()
    }

    fn add_plugin_key(dirs: &Dirs) {
        SigningKeys::update(dirs, |keys| {
            let own = config(&[("a", "key"), ("b", "key")]);
            keys.add_plugin_key("hw", "pkcs11", "pkcs11:object=k", own)
        })
        .unwrap();
    }

    /// PLG-16, CLI-26: the command line's settings override the key's; a chosen name comes before
    /// the default.
    #[test]
    fn plg_16_settings_are_merged() {
        let place = Place::new();
        add_plugin_key(&place.dirs);
        let key = place.resolve(KeyChoice::Named("hw")).unwrap();
        assert_eq!(key.plugin.path, place.boxed("notation-pkcs11"));
        assert_eq!(key.id, "pkcs11:object=k");
        assert_eq!(key.config, config(&[("a", "key"), ("b", "line")]));
        assert_eq!(key.name.as_deref(), Some("hw"));
        assert!(matches!(
            place.resolve(KeyChoice::Default),
            Err(PluginError {
                kind: PluginErrorKind::Key(ConfigError::NoDefaultKey),
                ..
            })
        ));
        SigningKeys::update(&place.dirs, |keys| keys.set_default("hw")).unwrap();
        assert_eq!(place.resolve(KeyChoice::Default).unwrap(), key);
        let (plugin, id) = ("pkcs11", "other");
        let key = place.resolve(KeyChoice::OnDemand { plugin, id }).unwrap();
        assert_eq!((key.id.as_str(), key.name), ("other", None));
        assert_eq!(key.config, config(&[("b", "line")]));
    }

    /// CFG-19: files go to the `local` of the box, although the user has a plugin of that name,
    /// and are not opened: these don't exist.
    #[test]
    fn cfg_19_files_go_to_the_local_of_the_box() {
        let place = Place::new();
        SigningKeys::update(&place.dirs, |keys| {
            keys.add_files("sw", "/k/sw.key", "/k/sw.crt")
        })
        .unwrap();
        let key = place.resolve(KeyChoice::Named("sw")).unwrap();
        assert_eq!(key.plugin.path, place.boxed("notation-local"));
        assert_eq!(key.id, "/k/sw.key");
        assert_eq!(key.config, config(&[(CERTIFICATE, "/k/sw.crt")]));
        fs::remove_file(place.boxed("notation-local")).unwrap();
        assert!(matches!(
            place.resolve(KeyChoice::Named("sw")),
            Err(PluginError {
                kind: PluginErrorKind::NotInTheBox,
                ..
            })
        ));
    }

    /// PLG-04: a name in the key list can't lead anywhere else.
    #[test]
    fn plg_04_names_from_the_key_list() {
        let place = Place::new();
        SigningKeys::update(&place.dirs, |keys| {
            keys.add_plugin_key("bad", "../x", "i", PluginConfig::new())
        })
        .unwrap();
        assert!(matches!(
            place.resolve(KeyChoice::Named("bad")),
            Err(PluginError {
                kind: PluginErrorKind::InvalidName(_),
                ..
            })
        ));
    }
}
