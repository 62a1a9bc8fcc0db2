//! From a key id and plugin config to a vault, a key and a version.

use std::fmt;

use hardsign_plugin::{Error, KeyRequest};
use hardsign_plugin_kms::{KeyUri, merged};

/// A right key id, for hints.
const EXAMPLE: &str = "azurekms://VAULT.vault.azure.net/KEY";

/// The key ids of this plugin; `https` is a key's own address.
const SCHEMES: [&str; 2] = ["azurekms", "https"];

/// What a vault's name stands for in the public cloud.
const DOMAIN: &str = "vault.azure.net";

/// As much as a key id and the settings name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    /// The vault's host, in lower case, perhaps with a port.
    pub(crate) host: String,
    pub(crate) key: Option<String>,
    pub(crate) version: Option<String>,
}

/// A key in a vault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct KeyName {
    pub(crate) host: String,
    pub(crate) key: String,
    pub(crate) version: Option<String>,
}

/// What a key id says, before the settings are asked.
#[derive(Default)]
struct Said {
    vault: Option<String>,
    key: Option<String>,
    version: Option<String>,
}

impl Place {
    /// Reads key id and config.
    pub(crate) fn read(request: &KeyRequest<'_>) -> Result<Self, Error> {
        let said = match KeyUri::read(request.key_id, &SCHEMES, EXAMPLE)? {
            Some(uri) if uri.scheme == "https" => Said::of_address(&uri)?,
            Some(uri) => Said::of_uri(&uri)?,
            None => Said::of_path(request.key_id)?,
        };
        let vault = said.vault.map(|vault| host(&vault)).transpose()?;
        let setting = request.setting("vault").map(host).transpose()?;
        let host = match (setting, vault) {
            (Some(setting), Some(id)) if setting != id => {
                return Err(Error::validation(
                    "the key id and the plugin config name different values for vault",
                )
                .with_hint("leave vault out of one of them"));
            }
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => {
                return Err(Error::validation(
                    "neither the key id nor the setting vault says the vault",
                )
                .with_hint(format!("write the key id as {EXAMPLE}")));
            }
        };
        let place = Self {
            host,
            key: said.key,
            version: merged(request, "version", said.version.as_deref())?,
        };
        let dash = |c: char| c.is_ascii_alphanumeric() || c == '-';
        check("key", place.key.as_deref(), dash)?;
        check("version", place.version.as_deref(), |c| {
            c.is_ascii_alphanumeric()
        })?;
        Ok(place)
    }

    /// The vault's address.
    pub(crate) fn address(&self) -> String {
        format!("https://{}/", self.host)
    }

    /// # Errors
    /// The key id names no key.
    pub(crate) fn named(self) -> Result<KeyName, Error> {
        let Some(key) = self.key else {
            return Err(Error::validation("the key id names no key")
                .with_hint(format!("write it as {EXAMPLE}")));
        };
        Ok(KeyName {
            host: self.host,
            key,
            version: self.version,
        })
    }
}

impl Said {
    /// `https://VAULT/keys/NAME[/VERSION]`, or the vault's address alone.
    fn of_address(uri: &KeyUri) -> Result<Self, Error> {
        uri.only(&[])?;
        let mut said = match uri.path.trim_end_matches('/') {
            "" => Self::default(),
            path => {
                let rest = path.strip_prefix("keys/").ok_or_else(|| {
                    Error::validation("the key id is an address, but not that of a key").with_hint(
                        "a key's address is https://VAULT.vault.azure.net/keys/NAME/VERSION",
                    )
                })?;
                Self::of_path(rest)?
            }
        };
        said.vault = Some(uri.host.clone());
        Ok(said)
    }

    /// `azurekms://VAULT/NAME[/VERSION]` or `azurekms:name=NAME;vault=VAULT?version=VERSION`
    fn of_uri(uri: &KeyUri) -> Result<Self, Error> {
        uri.only(&["name", "vault", "version"])?;
        let attribute = |name: &str| uri.attribute(name).map(str::to_owned);
        let mut said = Self::of_path(&uri.path)?;
        said.key = said.key.or_else(|| attribute("name"));
        said.version = said.version.or_else(|| attribute("version"));
        let host = Some(uri.host.clone()).filter(|host| !host.is_empty());
        said.vault = host.or_else(|| attribute("vault"));
        Ok(said)
    }

    /// `NAME[/VERSION]`
    fn of_path(path: &str) -> Result<Self, Error> {
        let path = path.trim_matches('/');
        let (key, version) = match path.split_once('/') {
            Some((key, version)) => (key, Some(version.to_owned())),
            None => (path, None),
        };
        Ok(Self {
            vault: None,
            key: Some(key.to_owned()).filter(|key| !key.is_empty()),
            version,
        })
    }
}

/// A vault's host from its name, its host or its address.
fn host(text: &str) -> Result<String, Error> {
    let wrong = || {
        Error::validation(format!("{text:?} can't be the vault"))
            .with_hint("write its name, or its address: https://NAME.vault.azure.net")
    };
    let bare = text.strip_prefix("https://").unwrap_or(text);
    let bare = bare.trim_end_matches('/').to_ascii_lowercase();
    let (name, port) = bare.split_once(':').unwrap_or((&bare, "443"));
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let labels_fit = name
        .split('.')
        .all(|label| !label.is_empty() && label.len() <= 63 && label.chars().all(legal));
    if !labels_fit || name.len() > 253 || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    if name.contains('.') {
        return Ok(bare);
    }
    if bare.contains(':') {
        return Err(wrong());
    }
    Ok(format!("{name}.{DOMAIN}"))
}

fn check(what: &str, value: Option<&str>, legal: impl Fn(char) -> bool) -> Result<(), Error> {
    match value {
        Some(value) if value.is_empty() || value.len() > 127 || !value.chars().all(legal) => {
            Err(Error::validation(format!("{value:?} can't be the {what}"))
                .with_hint(format!("write the key id as {EXAMPLE}")))
        }
        _ => Ok(()),
    }
}

impl KeyName {
    /// The key's own address, with the version if it is known: the service's `kid`.
    pub(crate) fn address(&self) -> String {
        let KeyName { host, key, version } = self;
        match version {
            Some(version) => format!("https://{host}/keys/{key}/{version}"),
            None => format!("https://{host}/keys/{key}"),
        }
    }

    /// The same key in the version of a `kid`.
    ///
    /// # Errors
    /// It is the `kid` of another key or version.
    pub(crate) fn pinned(&self, kid: &str) -> Result<Self, Error> {
        let other = || {
            Error::other(format!(
                "{} answered for {kid:?} where {self} was asked for",
                crate::SERVICE
            ))
            .with_hint("the answer was not used; if it comes again, report it to the service")
        };
        let rest = kid.strip_prefix("https://").ok_or_else(other)?;
        let (host, path) = rest.split_once("/keys/").ok_or_else(other)?;
        let (key, version) = path.split_once('/').ok_or_else(other)?;
        let is_same = host.eq_ignore_ascii_case(&self.host)
            && key.eq_ignore_ascii_case(&self.key)
            && self.version.as_deref().is_none_or(|known| known == version);
        if !is_same || check("version", Some(version), |c| c.is_ascii_alphanumeric()).is_err() {
            return Err(other());
        }
        Ok(Self {
            version: Some(version.to_owned()),
            ..self.clone()
        })
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address())
    }
}

#[cfg(test)]
mod tests {
    use hardsign_plugin::Purpose;
    use hardsign_plugin::proto::PluginConfig;

    use super::*;

    const VERSION: &str = "0123456789abcdef0123456789abcdef";

    fn read(id: &str, config: &[(&str, &str)]) -> Result<KeyName, Error> {
        let config: PluginConfig = config
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Place::read(&KeyRequest::new(id, &config, Purpose::Sign))?.named()
    }

    #[test]
    fn every_form_that_people_have() {
        let plain = "https://contoso.vault.azure.net/keys/release";
        let pinned = format!("{plain}/{VERSION}");
        for (id, config, address) in [
            (plain.to_owned(), &[][..], plain),
            (format!("{plain}/"), &[], plain),
            (pinned.clone(), &[], pinned.as_str()),
            (
                "HTTPS://Contoso.Vault.Azure.net/keys/release".to_owned(),
                &[],
                plain,
            ),
            (
                "azurekms://contoso.vault.azure.net/release".to_owned(),
                &[],
                plain,
            ),
            (
                format!("azurekms://contoso.vault.azure.net/release/{VERSION}"),
                &[],
                &pinned,
            ),
            ("azurekms:name=release;vault=contoso".to_owned(), &[], plain),
            (
                format!("azurekms:name=release;vault=contoso?version={VERSION}"),
                &[],
                &pinned,
            ),
            (
                format!("azurekms:name=release;vault=contoso;version={VERSION}"),
                &[],
                &pinned,
            ),
            ("release".to_owned(), &[("vault", "contoso")], plain),
            (
                "release".to_owned(),
                &[("vault", "https://contoso.vault.azure.net/")],
                plain,
            ),
            (
                format!("release/{VERSION}"),
                &[("vault", "contoso")],
                &pinned,
            ),
            (
                "release".to_owned(),
                &[("vault", "contoso"), ("version", VERSION)],
                &pinned,
            ),
            (
                "azurekms://team.managedhsm.azure.net/k".to_owned(),
                &[],
                "https://team.managedhsm.azure.net/keys/k",
            ),
            (
                "azurekms:name=k".to_owned(),
                &[("vault", "v.vault.usgovcloudapi.net")],
                "https://v.vault.usgovcloudapi.net/keys/k",
            ),
        ] {
            assert_eq!(read(&id, config).unwrap().address(), address, "{id}");
        }
    }

    #[test]
    fn junk_is_refused() {
        for (id, config, what) in [
            ("awskms:///k", &[][..], "scheme \"awskms\""),
            ("release", &[], "the vault"),
            ("azurekms://contoso.vault.azure.net", &[], "names no key"),
            ("https://contoso.vault.azure.net/", &[], "names no key"),
            (
                "https://contoso.vault.azure.net/secrets/release",
                &[],
                "not that of a key",
            ),
            (
                "https://contoso.vault.azure.net/keys/a/b/c",
                &[],
                "the version",
            ),
            ("azurekms://contoso.vault.azure.net/..", &[], "the key"),
            ("azurekms:name=k;vault=user@evil.example", &[], "the vault"),
            ("azurekms:name=k;vault=a..b", &[], "the vault"),
            ("azurekms:name=k;vault=v;secret=s", &[], "\"secret\""),
            (
                "azurekms:name=k;vault=v",
                &[("vault", "w")],
                "different values for vault",
            ),
            ("k", &[("vault", "http://v.example.com")], "the vault"),
            (
                "http://contoso.vault.azure.net/keys/k",
                &[],
                "scheme \"http\"",
            ),
        ] {
            let error = read(id, config).unwrap_err();
            assert!(error.to_string().contains(what), "{id}: {error}");
            assert!(error.hint().is_some(), "{id}");
        }
    }

    #[test]
    fn an_answer_for_another_key_is_found_out() {
        let key = read("azurekms://contoso.vault.azure.net/release", &[]).unwrap();
        let kid = format!("https://contoso.vault.azure.net/keys/Release/{VERSION}");
        let pinned = key.pinned(&kid).unwrap();
        assert_eq!(pinned.version.as_deref(), Some(VERSION));
        pinned.pinned(&kid).unwrap();
        for other in [
            "https://contoso.vault.azure.net/keys/release/fedcba9876543210fedcba9876543210",
            "https://contoso.vault.azure.net/keys/other/0123456789abcdef0123456789abcdef",
            "https://fabrikam.vault.azure.net/keys/release/0123456789abcdef0123456789abcdef",
            "https://contoso.vault.azure.net/keys/release",
            "https://contoso.vault.azure.net/keys/release/a/b",
            "",
        ] {
            assert!(pinned.pinned(other).is_err(), "{other}");
        }
    }
}
