//! From a key id and plugin config to a card, a slot and a PIN source.
//!
//! The key id is `yubikey:serial=12345678;slot=9c` or a slot alone (`9c`). Plugin config fills what
//! it leaves open; a setting that is given both ways must be the same.

use std::path::PathBuf;

use hardsign_plugin::pkcs11_uri::is_pin;
use hardsign_plugin::proto::{PluginConfig, Setting};
use hardsign_plugin::secret::PinSource;
use hardsign_plugin::{Error, settings};

use crate::manage;
use crate::slot::Slot;

/// The settings, for metadata.
pub(crate) fn settings() -> [Setting; 6] {
    [
        Setting::new("serial", "the YubiKey, by the number printed on it"),
        Setting::new("slot", "the slot: 9a, 9c, 9d, 9e, 82 to 95"),
        Setting::new(
            "pin-source",
            "where the PIN comes from: env:NAME, file:/path, fd:N, pinentry or prompt",
        ),
        Setting::path(
            "cert-chain",
            "PEM file with the key's certificate and those above it, or only the latter",
        ),
        Setting::new(
            "management-key",
            "where the management key comes from, to make keys: env:NAME or file:/path",
        ),
        Setting::new(
            "puk-source",
            "where the new PUK comes from when the YubiKey is set up: env:NAME, file:/path, fd:N, pinentry or prompt",
        ),
    ]
}

/// The scheme with its colon.
const SCHEME: &str = "yubikey:";

/// Which card and key, and how to log in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// The card; `None` if the user did not say, so that there must be only one.
    pub(crate) serial: Option<u32>,
    /// The slot; `None` if the user did not say.
    pub(crate) slot: Option<Slot>,
    /// Where the PIN comes from; `None` if the user did not say.
    pub(crate) pin_source: Option<PinSource>,
    /// A file with certificates.
    pub(crate) cert_chain: Option<PathBuf>,
    /// Where the management key comes from; `None` if the card keeps it under the PIN.
    pub(crate) management_key: Option<PinSource>,
    /// Where a new PUK comes from; `None` for one that is made here.
    pub(crate) puk_source: Option<PinSource>,
    /// The settings that the key id itself holds, as `;name=value`.
    pub(crate) in_key_id: String,
}

/// The settings as texts.
#[derive(Default)]
struct Texts {
    serial: Option<String>,
    slot: Option<String>,
    pin_source: Option<String>,
    cert_chain: Option<String>,
    management_key: Option<String>,
    puk_source: Option<String>,
}

impl Config {
    /// Reads key id and config; an empty key id leaves everything to the config.
    pub(crate) fn read(key_id: &str, config: &PluginConfig) -> Result<Self, Error> {
        let mut texts = parse(key_id)?;
        let in_key_id = [
            ("pin-source", &texts.pin_source),
            ("management-key", &texts.management_key),
        ]
        .into_iter()
        .filter_map(|(name, text)| Some(format!(";{name}={}", text.as_deref()?)))
        .collect();
        for (name, place) in [
            ("serial", &mut texts.serial),
            ("slot", &mut texts.slot),
            ("pin-source", &mut texts.pin_source),
            ("cert-chain", &mut texts.cert_chain),
            ("management-key", &mut texts.management_key),
            ("puk-source", &mut texts.puk_source),
        ] {
            *place = settings::either(config, name, place.as_deref())?;
        }
        if config.keys().any(|name| is_pin(name)) {
            return Err(pin_value());
        }
        Ok(Self {
            serial: texts.serial.as_deref().map(serial).transpose()?,
            slot: texts.slot.as_deref().map(slot).transpose()?,
            pin_source: texts.pin_source.as_deref().map(str::parse).transpose()?,
            cert_chain: texts
                .cert_chain
                .as_deref()
                .map(|text| settings::absolute_path("cert-chain", text))
                .transpose()?,
            management_key: texts
                .management_key
                .as_deref()
                .map(manage::source)
                .transpose()?,
            puk_source: texts.puk_source.as_deref().map(str::parse).transpose()?,
            in_key_id,
        })
    }

    /// The slot, which must have been named.
    pub(crate) fn slot(&self) -> Result<Slot, Error> {
        self.slot.ok_or_else(|| {
            Error::validation("the key id names no slot")
                .with_hint("name one: yubikey:slot=9c is the slot for signatures")
        })
    }
}

fn parse(key_id: &str) -> Result<Texts, Error> {
    let mut texts = Texts::default();
    let scheme = key_id.get(..SCHEME.len());
    if !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME)) {
        texts.slot = Some(key_id.to_owned()).filter(|slot| !slot.is_empty());
        return Ok(texts);
    }
    let rest = key_id.get(SCHEME.len()..).unwrap_or_default();
    // step's form has its options behind a question mark, as RFC 7512 has.
    for part in rest.split([';', '?', '&']).filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let place = match name {
            "serial" => &mut texts.serial,
            "slot" | "slot-id" => &mut texts.slot,
            "pin-source" => &mut texts.pin_source,
            "cert-chain" => &mut texts.cert_chain,
            "management-key" => &mut texts.management_key,
            "puk-source" => &mut texts.puk_source,
            name if is_pin(name) => return Err(pin_value()),
            _ => {
                return Err(Error::validation(format!(
                    "key id of a YubiKey has an unknown part {name:?}"
                ))
                .with_hint("write it as yubikey:serial=12345678;slot=9c"));
            }
        };
        if place.is_some() {
            return Err(Error::validation(format!(
                "key id of a YubiKey names {name:?} twice"
            )));
        }
        if value.is_empty() {
            return Err(Error::validation(format!(
                "key id of a YubiKey has no value for {name:?}"
            )));
        }
        *place = Some(value.to_owned());
    }
    Ok(texts)
}

/// The value is not shown.
fn pin_value() -> Error {
    Error::validation(
        "a PIN in a key's name or configuration ends up in files, process lists and logs",
    )
    .with_hint("take it out, change that PIN, and use pin-source=file:/path, env:NAME or pinentry")
}

fn serial(text: &str) -> Result<u32, Error> {
    let number = Some(text).filter(|text| !text.starts_with('+'));
    number.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::validation(format!("{text:?} is not the serial number of a YubiKey"))
            .with_hint("it is the decimal number printed on the YubiKey")
    })
}

fn slot(text: &str) -> Result<Slot, Error> {
    text.parse().map_err(|error: crate::slot::NoSuchSlot| {
        Error::validation(error.to_string())
            .with_hint("slots are 9a, 9c (signatures), 9d, 9e and 82 to 95")
    })
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
    fn ways_to_name_a_key() {
        for (id, config) in [
            ("yubikey:serial=123;slot=9a", &[][..]),
            ("yubikey:slot-id=9a;serial=123", &[]),
            ("YubiKey:slot-id=9A?serial=123", &[]),
            ("9a", &[("serial", "123")]),
            ("yubikey:", &[("serial", "123"), ("slot", "0x9a")]),
            ("yubikey:slot=9a", &[("serial", "123"), ("slot", "9a")]),
        ] {
            let config = read(id, config).unwrap();
            assert_eq!(config.serial, Some(123), "{id}");
            assert_eq!(config.slot().unwrap(), "9a".parse().unwrap(), "{id}");
        }
        assert!(
            read("yubikey:serial=1", &[])
                .unwrap()
                .slot()
                .unwrap_err()
                .hint()
                .is_some()
        );
        let config = read("9c", &[("pin-source", "env:PIN"), ("cert-chain", "/c.pem")]).unwrap();
        assert_eq!(
            config.pin_source,
            Some(PinSource::Environment("PIN".into()))
        );
        assert_eq!(config.cert_chain, Some("/c.pem".into()));
    }

    #[test]
    fn what_names_no_key() {
        for id in [
            "yubikey:slot=9b",
            "yubikey:slot=f9",
            "yubikey:slot=",
            "yubikey:slot",
            "yubikey:slot=9c;slot-id=9a",
            "yubikey:serial=+1",
            "yubikey:serial=99999999999",
            "yubikey:colour=blue",
            "signing",
        ] {
            assert!(read(id, &[]).is_err(), "{id}");
        }
        assert!(read("9c", &[("slot", "9a")]).is_err());
        assert!(read("9c", &[("cert-chain", "c.pem")]).is_err());
        assert!(read("9c", &[("pin-source", "|cat /pin")]).is_err());
    }

    #[test]
    fn a_pin_is_refused_and_not_shown() {
        for (id, config) in [
            ("yubikey:slot=9c;pin-value=864213", &[][..]),
            ("yubikey:slot=9c?pin-value=864213", &[]),
            ("9c", &[("pin", "864213")]),
        ] {
            let error = read(id, config).unwrap_err();
            assert!(error.hint().is_some());
            assert!(!format!("{error:?}").contains("864213"));
        }
    }
}
