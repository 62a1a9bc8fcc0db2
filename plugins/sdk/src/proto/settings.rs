//! The settings that a plugin declares in its metadata, so that a misspelt one is an error.

use super::{Metadata, PluginConfig, is_false, message};
use crate::pkcs11_uri::is_pin;
use crate::text::{meant, nearest, spelt};

message! {
    /// A setting that a plugin knows: `{"name":"cert-chain","description":"…","path":true}`.
    #[derive(Eq)]
    pub struct Setting {
        /// The name under `pluginConfig`.
        pub name: String,
        /// What it means, in one line.
        pub description: String,
        /// Whether its value must not be shown or stored in clear.
        #[serde(default, skip_serializing_if = "is_false")]
        pub secret: bool,
        /// Whether its value is the path of a file: the host stores it as an absolute one, since
        /// it is relative to where the user was when it was given.
        #[serde(default, skip_serializing_if = "is_false")]
        pub path: bool,
    }
}

impl Setting {
    /// A setting that may be shown.
    pub fn new(name: &str, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            secret: false,
            path: false,
        }
    }

    /// A setting that names a file.
    pub fn path(name: &str, description: &str) -> Self {
        Self {
            path: true,
            ..Self::new(name, description)
        }
    }

    /// A setting whose value is a secret.
    pub fn secret(name: &str, description: &str) -> Self {
        Self {
            secret: true,
            ..Self::new(name, description)
        }
    }
}

/// A setting that the plugin doesn't know.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("plugin {plugin} has no setting {name:?}")]
#[non_exhaustive]
pub struct UnknownSetting {
    /// The plugin's name.
    pub plugin: String,
    /// The name as given.
    pub name: String,
    /// The setting that was probably meant.
    pub nearest: Option<String>,
    /// All that there are.
    pub known: Vec<String>,
}

impl UnknownSetting {
    /// The user's next step.
    pub fn hint(&self) -> String {
        let is_secret = is_pin(&self.name) || SECRETS.contains(&spelt(&self.name).as_str());
        if is_secret && self.known.iter().any(|known| known == PIN_SOURCE) {
            return format!(
                "a PIN can't be given as a setting; {PIN_SOURCE} says where it comes from, for instance {PIN_SOURCE}=env:NAME"
            );
        }
        match (&self.nearest, self.known.as_slice()) {
            (Some(nearest), _) => meant(nearest),
            (None, []) => "the plugin has no settings".to_owned(),
            (None, known) => format!("its settings are {}", known.join(", ")),
        }
    }
}

impl Metadata {
    /// Checks that each setting is one that the plugin declares. A plugin that declares none takes
    /// what it is given.
    ///
    /// # Errors
    /// The first one that it doesn't know.
    pub fn check_settings(&self, config: &PluginConfig) -> Result<(), UnknownSetting> {
        let Some(settings) = &self.settings else {
            return Ok(());
        };
        let known: Vec<&str> = settings.iter().map(|known| known.name.as_str()).collect();
        let Some(name) = config.keys().find(|name| !known.contains(&name.as_str())) else {
            return Ok(());
        };
        Err(UnknownSetting {
            plugin: self.name.clone(),
            name: name.clone(),
            nearest: nearest(name, &known).map(str::to_owned),
            known: known.into_iter().map(str::to_owned).collect(),
        })
    }

    /// The declaration of a setting.
    pub fn setting(&self, name: &str) -> Option<&Setting> {
        self.settings
            .iter()
            .flatten()
            .find(|known| known.name == name)
    }
}

/// Names under which people give other secrets than PINs, or mean one.
const SECRETS: [&str; 3] = ["puk", "password", "passphrase"];

/// The setting that says where a PIN comes from.
const PIN_SOURCE: &str = "pin-source";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::pinned;

    fn metadata() -> Metadata {
        Metadata::new("m", "d", "1.0.0", "u").with_settings([
            Setting::path("cert-chain", "certificates"),
            Setting::new("token-label", "token"),
            Setting::secret("access-key", "key"),
        ])
    }

    fn check(name: &str) -> Result<(), UnknownSetting> {
        metadata().check_settings(&PluginConfig::from([(name.into(), "v".into())]))
    }

    #[test]
    fn wire_form() {
        pinned(
            &metadata().settings.unwrap(),
            r#"[{"name":"cert-chain","description":"certificates","path":true},{"name":"token-label","description":"token"},{"name":"access-key","description":"key","secret":true}]"#,
        );
    }

    /// Misspellings of all kinds lead to the name that was meant; the value is never told.
    #[test]
    fn a_misspelt_setting_is_named_with_the_nearest() {
        assert_eq!(check("cert-chain"), Ok(()));
        for name in [
            "cert_chain",
            "certchain",
            "Cert-Chain",
            "cert-chian",
            "cert.chain",
            "cert-chains",
            "cert chain",
            "CERT_CHAIN",
        ] {
            let error = check(name).unwrap_err();
            assert_eq!(error.nearest.as_deref(), Some("cert-chain"), "{name}");
            assert_eq!(
                error.to_string(),
                format!("plugin m has no setting {name:?}")
            );
            assert_eq!(error.hint(), "did you mean cert-chain?");
        }
        for name in ["", "x", "pin", "colour"] {
            let error = check(name).unwrap_err();
            assert_eq!(error.nearest, None, "{name}");
            assert_eq!(
                error.hint(),
                "its settings are cert-chain, token-label, access-key"
            );
        }
    }

    /// What is said of a PIN is not that it is unknown, but where it belongs.
    #[test]
    fn a_pin_is_no_setting() {
        let metadata = metadata().with_settings([Setting::new("pin-source", "s")]);
        for name in ["pin", "PIN", "pin_value", "user-pin", "password"] {
            let config = PluginConfig::from([(name.into(), "1234".into())]);
            let error = metadata.check_settings(&config).unwrap_err();
            assert!(error.hint().contains("pin-source=env:NAME"), "{name}");
            assert!(!format!("{error} {error:?}").contains("1234"));
        }
    }

    #[test]
    fn only_plugins_that_declare_settings_refuse() {
        let config = PluginConfig::from([("anything".into(), "v".into())]);
        let silent = Metadata::new("m", "d", "1.0.0", "u");
        assert_eq!(silent.check_settings(&config), Ok(()));
        let none = silent.with_settings([]);
        let error = none.check_settings(&config).unwrap_err();
        assert_eq!(error.hint(), "the plugin has no settings");
    }
}
