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
    UnopenedSigner,
};
use hardsign_core::text::WithCauses;
use hardsign_core::trust::Loader;
use hardsign_core::x509::Certificate;
use hardsign_plugin::pkcs11_uri;
use hardsign_plugin::proto::Capability;
use jiff::Timestamp;

use super::certificates::{self, Statements};
use super::{Findings, SAID, Status};
use crate::command::key::device::chain_file;
use crate::failure::plugin;

/// What keys are looked at with.
pub(super) struct Looking<'a> {
    pub(super) host: &'a Host,
    pub(super) dirs: &'a Dirs,
    /// Whether keys are opened.
    pub(super) open: bool,
    pub(super) statements: &'a Statements,
    pub(super) loader: &'a Loader,
    pub(super) now: Timestamp,
}

pub(super) async fn look(with: &Looking<'_>, findings: &mut Findings) {
    let dirs = with.dirs;
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
            "add one with `hardsign key add <name> --plugin <plugin> --id <key-id>`, or sign with `hardsign sign --plugin <plugin> --id <key-id> <reference>`",
        );
    } else if keys.default_name().is_none() {
        findings.warn(
            "signing keys",
            "there is no default, so `hardsign sign` needs --key",
            "choose one with `hardsign key update --default <name>`",
        );
    }
    for entry in keys.entries() {
        let subject = subject_of(&entry.name);
        match entry.location() {
            Ok(KeyLocation::Files { key, .. }) => exposed(&subject, "private key", key, findings),
            Ok(KeyLocation::Plugin { .. }) => pin_source(&subject, entry, findings),
            Err(_) => {}
        }
        match key(with, entry).await {
            Ok(known) => {
                let chain = known.chain.or_else(|| kept_chain(dirs, entry));
                let is_default = keys.default_name() == Some(entry.name.as_str());
                of_chain(
                    &entry.name,
                    is_default,
                    known.message,
                    chain,
                    with,
                    findings,
                );
            }
            Err(Trouble {
                message,
                fix,
                tried: true,
            }) => findings.fail(subject, message, &fix),
            Err(Trouble { message, fix, .. }) => findings.warn(subject, message, &fix),
        }
    }
}

/// What findings about the key of this name are said of.
pub(super) fn subject_of(name: &str) -> String {
    format!("signing key {name}")
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

/// What is known of a key.
struct Known {
    message: String,
    /// Its certificates, leaf first, where it was opened.
    chain: Option<Vec<Certificate>>,
}

/// Tells of a key that is there, and of its chain: it is `ok` only where the chain is.
fn of_chain(
    name: &str,
    is_default: bool,
    message: String,
    chain: Option<Vec<Certificate>>,
    with: &Looking<'_>,
    findings: &mut Findings,
) {
    let subject = subject_of(name);
    let Some(chain) = chain else {
        return findings.ok(subject, message);
    };
    let (statements, loader, now) = (with.statements, with.loader, with.now);
    let (found, good) = certificates::of_key(name, is_default, chain, statements, loader, now);
    let fails = found.iter().any(|finding| finding.status == Status::Error);
    findings.0.extend(found);
    if !fails {
        let good = good.map_or_else(String::new, |good| format!("; {good}"));
        findings.ok(subject, format!("{message}{good}"));
    }
}

/// The certificate file of a key that was not opened, where one is named or kept.
fn kept_chain(dirs: &Dirs, entry: &KeyEntry) -> Option<Vec<Certificate>> {
    let path = match entry.location() {
        Ok(KeyLocation::Files { certificate, .. }) => Path::new(certificate).to_owned(),
        _ => match chain_file(&entry.plugin_config) {
            Some(named) => named.to_owned(),
            None => dirs.chain(&entry.name)?,
        },
    };
    let bytes = hardsign_core::config::read_named(&path, MAX_CHAIN).ok()?;
    let chain = Certificate::parse_file(&bytes).ok()?;
    (!chain.is_empty()).then_some(chain)
}

/// What is known of a key, or what is wrong with it.
async fn key(with: &Looking<'_>, entry: &KeyEntry) -> Result<Known, Trouble> {
    let (host, dirs) = (with.host, with.dirs);
    let unopened = |message: &str| Known {
        message: message.to_owned(),
        chain: None,
    };
    let remove = format!(
        "remove it from the list with `hardsign key delete {}`",
        entry.name
    );
    let location = entry.location();
    let location =
        location.map_err(|error| Trouble::new(WithCauses(&error).to_string(), remove.as_str()))?;
    if let KeyLocation::Files { key, certificate } = location {
        for path in [key, certificate] {
            if let Err(error) = File::open(path) {
                let fix = match error.kind() {
                    io::ErrorKind::PermissionDenied => format!("make {path} readable for you"),
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
    if with.open {
        let signer = UnopenedSigner::connect(host, resolved, Kind::Blob).await;
        let signer = signer.map_err(told)?.look().await.map_err(told)?;
        let known = Known {
            message: opened(&signer),
            chain: chain_of(&signer),
        };
        signer.close().await;
        return Ok(known);
    }
    if let KeyLocation::Files { .. } = location {
        return Ok(unopened(
            "its files are readable; --open-keys opens the key",
        ));
    }
    Ok(unopened(
        match visible(host, entry).await.map_err(told)? {
            None => "its plugin is installed; --open-keys opens the key",
            Some(true) => "its token is connected, and the key is on it",
            Some(false) => "its token is connected; --open-keys logs in and opens the key",
        },
    ))
}

/// The certificates that a session named when it was opened, as far as they can be read: what can't
/// breaks the chain, and is told of as that.
fn chain_of(signer: &PluginSigner) -> Option<Vec<Certificate>> {
    let PluginSigner::Raw(signer) = signer else {
        return None;
    };
    let chain = signer.chain();
    let read = chain
        .ders()
        .iter()
        .map_while(|der| Certificate::from_der(der).ok());
    let read: Vec<_> = read.collect();
    (!chain.ders().is_empty()).then_some(read)
}

/// What is known of a key once its plugin was asked for it. Only a session opens it.
fn opened(signer: &PluginSigner) -> String {
    match (signer, signer.key_spec()) {
        (PluginSigner::Raw(signer), Ok(spec)) if signer.is_open() => format!("{spec}, opened"),
        (_, Ok(spec)) => format!("{spec}, according to its plugin; it is used only when signing"),
        (_, Err(_)) => {
            "its plugin is installed and makes whole signatures; the key is used only when signing"
                .to_owned()
        }
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
            format!("its PIN file can't be read: {path}: {}", WithCauses(&error)),
            "write the PIN to that file, readable only by you, or use another PIN source",
        );
    } else {
        exposed(subject, "PIN file", path, findings);
    }
}

/// A secret that others may read.
fn exposed(subject: &str, what: &str, path: &str, findings: &mut Findings) {
    if fs::metadata(path).is_ok_and(|found| others_may_read(&found)) {
        findings.warn(
            subject,
            format!("others can read the {what}, {path}"),
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

/// Largest file of certificates, in bytes.
const MAX_CHAIN: u64 = 1 << 20;
