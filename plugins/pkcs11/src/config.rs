//! From a key id and plugin config to what to look for.
//!
//! The key id is a PKCS#11 URI, `id=` and hexadecimal digits, or a label. Plugin config fills
//! what the URI leaves open: `module-path`, `token-label`, `pin-source`, `cert-chain`. A setting
//! that is given both ways must be the same.

use std::path::PathBuf;

use hardsign_plugin::pkcs11_uri::{Uri, UriError, is_pin};
use hardsign_plugin::proto::{PluginConfig, Setting};
use hardsign_plugin::secret::PinSource;
use hardsign_plugin::{Error, settings};

/// The settings, for metadata.
pub(crate) fn settings() -> [Setting; 4] {
    [
        Setting::path("module-path", "the PKCS#11 module"),
        Setting::new("token-label", "the token"),
        Setting::new(
            "pin-source",
            "where the PIN comes from: env:NAME, file:/path, fd:N, pinentry or prompt",
        ),
        Setting::path(
            "cert-chain",
            "PEM file with the key's certificate and those above it, or only the latter",
        ),
    ]
}

/// Which module, token and key, and how to log in.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Module, token, slot and key.
    pub(crate) uri: Uri,
    /// What the key id itself says of these.
    pub(crate) in_uri: Uri,
    /// The module's file.
    pub(crate) module: Option<PathBuf>,
    /// Where the PIN comes from; `None` if the user did not say.
    pub(crate) pin_source: Option<PinSource>,
    /// A file with certificates.
    pub(crate) cert_chain: Option<PathBuf>,
}

impl Config {
    /// Reads key id and config; an empty key id names all keys.
    pub(crate) fn read(key_id: &str, config: &PluginConfig) -> Result<Self, Error> {
        let mut uri = match Uri::parse(key_id) {
            Some(uri) => uri.map_err(refuse)?,
            None => plain(key_id)?,
        };
        let in_uri = uri.clone();
        for (name, place) in [
            ("module-path", &mut uri.module_path),
            ("token-label", &mut uri.token),
            ("pin-source", &mut uri.pin_source),
            ("cert-chain", &mut uri.cert_chain),
        ] {
            *place = settings::either(config, name, place.as_deref())?;
        }
        if config.keys().any(|name| is_pin(name)) {
            return Err(refuse(UriError::PinValue));
        }
        let pin_source = uri.pin_source.as_deref().map(str::parse::<PinSource>);
        Ok(Self {
            module: path("module-path", uri.module_path.as_deref())?,
            cert_chain: path("cert-chain", uri.cert_chain.as_deref())?,
            pin_source: pin_source.transpose()?,
            uri,
            in_uri,
        })
    }

    /// The key as the user named it, for messages.
    pub(crate) fn key_name(&self) -> String {
        match (&self.uri.object, &self.uri.id) {
            (Some(label), Some(id)) => format!("key {label:?} with id {}", hex(id)),
            (Some(label), None) => format!("key {label:?}"),
            (None, Some(id)) => format!("key with id {}", hex(id)),
            (None, None) => "key".to_owned(),
        }
    }
}

fn refuse(error: UriError) -> Error {
    let hint = error.hint();
    let error = Error::validation(error.to_string());
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// A key id that is no URI.
fn plain(key_id: &str) -> Result<Uri, Error> {
    let mut uri = Uri::default();
    match key_id.strip_prefix("id=") {
        Some(digits) => uri.id = Some(unhex(digits)?),
        None if key_id.is_empty() => {}
        None => uri.object = Some(key_id.to_owned()),
    }
    Ok(uri)
}

fn unhex(digits: &str) -> Result<Vec<u8>, Error> {
    let wrong = || {
        Error::validation(format!("key id \"id={digits}\" is not hexadecimal"))
            .with_hint("write id=01ab, or name the key by its label or a pkcs11: URI")
    };
    let nibbles: Option<Vec<u32>> = digits.chars().map(|digit| digit.to_digit(16)).collect();
    let nibbles = nibbles
        .filter(|nibbles| !nibbles.is_empty())
        .ok_or_else(wrong)?;
    let pairs = nibbles.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from((high << 4) | low).map_err(|_| wrong()),
        _ => Err(wrong()),
    });
    pairs.collect()
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn path(name: &str, text: Option<&str>) -> Result<Option<PathBuf>, Error> {
    text.map(|text| settings::absolute_path(name, text))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key_id: &str, config: &[(&str, &str)]) -> Result<Config, Error> {
        let config = config
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::read(key_id, &config.collect())
    }

    #[test]
    fn config_fills_what_the_uri_leaves_open() {
        let config = read(
            "pkcs11:object=K?pin-source=env:PIN",
            &[
                ("module-path", "/m.so"),
                ("token-label", "T"),
                ("pin-source", "env:PIN"),
                ("cert-chain", "/c.pem"),
                ("unrelated", "x"),
            ],
        )
        .unwrap();
        assert_eq!(config.module, Some("/m.so".into()));
        assert_eq!(config.uri.token.as_deref(), Some("T"));
        assert_eq!(config.uri.object.as_deref(), Some("K"));
        assert_eq!(
            config.pin_source,
            Some(PinSource::Environment("PIN".into()))
        );
        assert_eq!(config.cert_chain, Some("/c.pem".into()));
    }

    #[test]
    fn keys_by_label_and_by_id() {
        assert_eq!(
            read("My key", &[]).unwrap().uri.object.as_deref(),
            Some("My key")
        );
        assert_eq!(read("id=01Ab", &[]).unwrap().uri.id, Some(vec![1, 0xab]));
        for bad in ["id=", "id=0", "id=0x", "id=+1", "id=0g"] {
            assert!(read(bad, &[]).unwrap_err().hint().is_some(), "{bad}");
        }
    }

    #[test]
    fn contradictions_and_relative_paths_are_refused() {
        let error = read("pkcs11:token=A", &[("token-label", "B")]).unwrap_err();
        assert!(error.to_string().contains("token-label"));
        assert!(read("k", &[("module-path", "m.so")]).is_err());
        assert!(read("k", &[("cert-chain", "c.pem")]).is_err());
        assert!(read("k", &[("pin-source", "|cat /pin")]).is_err());
        for name in ["pin", "pin-value", "PIN", "pin_value", "PinValue"] {
            let error = read("k", &[(name, "1234")]).unwrap_err();
            assert!(!error.to_string().contains("1234"));
        }
    }
}
