//! Signing keys: their files, their plugins, their PINs' sources, and whether their tokens are there.
//! No PIN is read and none is tried, but with `--open-keys`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use hardsign_core::artifact::Kind;
use hardsign_core::config::{KeyEntry, KeyLocation, SigningKeys};
use hardsign_core::dirs::Dirs;
use hardsign_core::plugin::{
    Host, KeyChoice, KeyStore, Origin, PluginError, PluginErrorKind, PluginKey, PluginSigner,
};
use hardsign_core::text::WithCauses;
use hardsign_core::x509::Certificate;
use hardsign_plugin::pkcs11_uri;
use hardsign_plugin::proto::Capability;
use jiff::Timestamp;

use super::{Findings, SAID, validity};
use crate::failure::plugin;

pub(super) async fn look(
    host: &Host,
    dirs: &Dirs,
    open: bool,
    now: Timestamp,
    findings: &mut Findings,
) {
    let keys = match SigningKeys::load(dirs) {
        Ok(keys) => keys,
        Err(error) => {
            return findings.fail(
                "signing keys",
                WithCauses(&error).to_string(),
                "fix signingkeys.json",
            );
        }
    };
    if keys.entries().is_empty() {
        findings.warn(
            "signing keys",
            "there are none",
            "`hardsign key add` adds one; `hardsign sign --plugin <name> --id <key id>` needs none",
        );
    } else if keys.default_name().is_none() {
        findings.warn(
            "signing keys",
            "none is the default, so `hardsign sign` needs --key",
            "`hardsign key set --default <name>`",
        );
    }
    for entry in keys.entries() {
        let subject = format!("signing key {}", entry.name);
        match entry.location() {
            Ok(KeyLocation::Files { key, certificate }) => {
                exposed(&subject, "private key", key, findings);
                expiring(&subject, certificate, now, findings);
            }
            Ok(KeyLocation::Plugin { .. }) => pin_source(&subject, entry, findings),
            Err(_) => {}
        }
        match key(host, dirs, entry, open).await {
            Ok(message) => findings.ok(subject, message),
            Err(Trouble {
                message,
                fix,
                tried: true,
            }) => findings.fail(subject, message, &fix),
            Err(Trouble { message, fix, .. }) => findings.warn(subject, message, &fix),
        }
    }
}

/// What is wrong with a key, and how to fix it.
struct Trouble {
    message: String,
    fix: String,
    /// Whether the key was looked at: none is where another of its plugin was refused before.
    tried: bool,
}

impl Trouble {
    fn new(message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            fix: fix.into(),
            tried: true,
        }
    }

    /// What a plugin, or the search for one, came to. Only an entry that can't lead to a key is to be
    /// taken off the list; where the plugin says what it misses, that is to be put right.
    fn of_plugin(error: &PluginError, remove: &str) -> Self {
        let said = match error.kind {
            PluginErrorKind::Key(_) => remove,
            _ => SAID,
        };
        Self {
            message: WithCauses(error).to_string(),
            fix: plugin::hint(error).unwrap_or_else(|| said.to_owned()),
            tried: !matches!(
                error.kind,
                PluginErrorKind::NotTried { .. } | PluginErrorKind::Silent(_)
            ),
        }
    }
}

/// What is known of a key, or what is wrong with it.
async fn key(host: &Host, dirs: &Dirs, entry: &KeyEntry, open: bool) -> Result<String, Trouble> {
    let remove = format!("`hardsign key delete {}` takes it off the list", entry.name);
    let location = entry.location();
    let location =
        location.map_err(|error| Trouble::new(WithCauses(&error).to_string(), remove.as_str()))?;
    if let KeyLocation::Files { key, certificate } = location {
        for path in [key, certificate] {
            if let Err(error) = File::open(path) {
                let fix = match error.kind() {
                    io::ErrorKind::PermissionDenied => format!("become the owner of {path}"),
                    _ => remove.clone(),
                };
                return Err(Trouble::new(format!("{path}: {}", WithCauses(&error)), fix));
            }
        }
    }
    let told = |error: PluginError| Trouble::of_plugin(&error, &remove);
    let choice = KeyChoice::Named(&entry.name);
    let resolved = PluginKey::resolve(host.finder(), dirs, choice, &BTreeMap::new());
    let resolved = resolved.map_err(told)?;
    if open {
        let signer = PluginSigner::open(host, resolved, Kind::Blob)
            .await
            .map_err(told)?;
        let known = opened(&signer);
        signer.close().await;
        return Ok(known);
    }
    if let KeyLocation::Files { .. } = location {
        return Ok("its files can be read; they were not opened as a key (--open-keys)".to_owned());
    }
    Ok(match visible(host, entry).await.map_err(told)? {
        None => "its plugin is there; the key itself was not looked for (--open-keys)",
        Some(true) => "its token is there, and the key is on it",
        Some(false) => {
            "its token is there; whether the key is on it shows only with the PIN (--open-keys)"
        }
    }
    .to_owned())
}

/// What is known of a key once its plugin was asked for it. Only a session opens it.
fn opened(signer: &PluginSigner) -> String {
    match (signer, signer.key_spec()) {
        (PluginSigner::Raw(signer), Ok(spec)) if signer.is_open() => format!("{spec}, opened"),
        (_, Ok(spec)) => format!(
            "{spec}, as its plugin describes it; whether it signs shows when something is signed"
        ),
        (_, Err(_)) => "its plugin is there and makes whole signatures by itself; whether its service answers and the key can be used shows when something is signed"
            .to_owned(),
    }
}

/// Whether a key can be seen without a PIN; `None` where its plugin can't tell.
///
/// # Errors
/// What the plugin said, for instance that the token is not there.
async fn visible(host: &Host, entry: &KeyEntry) -> Result<Option<bool>, PluginError> {
    let file = host.finder().find(&entry.plugin_name)?;
    if file.origin != Origin::Box {
        return Ok(None);
    }
    let mut config = entry.plugin_config.clone();
    config.retain(|name, _| !name.starts_with("pin-"));
    let key_id = pkcs11_uri::without_pin(&entry.id);
    let store = KeyStore::open(host, file, &key_id, config).await?;
    let listed = match store.has(&Capability::Keys) {
        true => Some(store.list_keys(&key_id).await),
        false => None,
    };
    store.close().await;
    Ok(listed.transpose()?.map(|listed| !listed.keys.is_empty()))
}

/// The file that a PIN is read from.
fn pin_source(subject: &str, entry: &KeyEntry, findings: &mut Findings) {
    let in_query = pkcs11_uri::pin_sources(&entry.id).next();
    let Some(source) = in_query.or_else(|| entry.plugin_config.get("pin-source").cloned()) else {
        return;
    };
    let path = source.strip_prefix("file:").unwrap_or(&source);
    let path = path.strip_prefix("//localhost").unwrap_or(path);
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') {
        return;
    }
    if let Err(error) = File::open(path) {
        findings.fail(
            subject,
            format!(
                "the file with its PIN can't be read: {path}: {}",
                WithCauses(&error)
            ),
            "write the PIN there, readable by you alone, or name another PIN source",
        );
    } else {
        exposed(subject, "file with its PIN", path, findings);
    }
}

/// A secret that others may read.
fn exposed(subject: &str, what: &str, path: &str, findings: &mut Findings) {
    if fs::metadata(path).is_ok_and(|found| others_may_read(&found)) {
        findings.warn(
            subject,
            format!("others may read the {what}, {path}"),
            &format!("chmod 600 {path}"),
        );
    }
}

#[cfg(unix)]
fn others_may_read(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    found.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn others_may_read(_: &fs::Metadata) -> bool {
    false
}

/// The key's own certificate, which stands first.
fn expiring(subject: &str, path: &str, now: Timestamp, findings: &mut Findings) {
    let chain = hardsign_core::config::read_named(Path::new(path), MAX_CHAIN).ok();
    let chain = chain.and_then(|bytes| Certificate::parse_file(&bytes).ok());
    if let Some(leaf) = chain.as_ref().and_then(|chain| chain.first())
        && let Some((message, _)) = validity(leaf, now)
    {
        findings.warn(
            subject,
            format!("its certificate: {message}"),
            "have the key certified anew",
        );
    }
}

/// Largest file of certificates, in bytes.
const MAX_CHAIN: u64 = 1 << 20;
