//! Descriptors that the user opened for a plugin: `hardsign sign … 7<pin` with the PIN source
//! `fd:7`.
//!
//! What must hold: such a descriptor reaches the process of the session, which reads the PIN, and no
//! other child. What is in it is never read here.

use std::collections::BTreeSet;
use std::sync::Arc;

use hardsign_plugin::host::Withheld;
use hardsign_plugin::pkcs11_uri;
use hardsign_plugin::proto::PluginConfig;
use hardsign_plugin::secret::PinSource;

/// Keeps the descriptors that the key's name and settings speak of from every child to come. One
/// that isn't open is passed over: the plugin says so when it looks for it.
pub(super) fn withhold(id: &str, config: &PluginConfig) -> Arc<[Withheld]> {
    named(id, config)
        .into_iter()
        .filter_map(|number| Withheld::new(number).ok())
        .collect()
}

/// The numbers: `fd:N` as a setting, whatever its name, or as `pin-source` in a PKCS#11 URI (RFC 7512).
pub(super) fn named(id: &str, config: &PluginConfig) -> BTreeSet<i32> {
    config
        .values()
        .cloned()
        .chain(pkcs11_uri::pin_sources(id))
        .filter_map(|source| match source.parse() {
            Ok(PinSource::Descriptor(number)) => Some(number),
            _ => None,
        })
        .take(MOST)
        .collect()
}

/// Descriptors for one key; real ones have one.
const MOST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_named_by_settings_and_uris() {
        let config = |value: &str| PluginConfig::from([("pin-source".into(), value.into())]);
        let none = PluginConfig::new();
        let seven = BTreeSet::from([7]);
        assert_eq!(named("k", &config("fd:7")), seven);
        for id in [
            "pkcs11:token=T?pin-source=fd:7",
            "pkcs11:token=T?module-path=/m.so&pin-source=fd%3a7",
        ] {
            assert_eq!(named(id, &none), seven, "{id}");
        }
        assert_eq!(
            named("pkcs11:token=T?pin-source=fd:7", &config("fd:8")),
            BTreeSet::from([7, 8])
        );
        for (id, setting) in [
            ("fd:7", "fd:2"),
            ("pkcs11:object=fd:7", "fd:-1"),
            ("x?y=fd:7", "7"),
            ("", "env:FD"),
        ] {
            assert!(named(id, &config(setting)).is_empty(), "{id} {setting}");
        }
    }
}
