//! What a plugin refused, or left unanswered, in this run, so that it is not asked again.
//!
//! One run makes one try of a PIN at a token, whatever the command and however many keys it opens:
//! after `ACCESS_DENIED` no further key of that plugin is opened, unless its token is known to be
//! another. And one run waits once for a service that never answers.
//!
//! What must hold: keys of one plugin are opened one after the other, since what comes of one
//! decides on the next.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hardsign_plugin::pkcs11_uri::path_value;
use hardsign_plugin::proto::{Command, ErrorCode, ErrorResponse, PluginConfig, Token};
use serde_json::Value;

use super::error::{PluginError, PluginErrorKind, plain};
use super::{PluginFile, PluginName};

/// The latches of a run; clones of a host share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Latches(Arc<Mutex<BTreeMap<PathBuf, Arc<Latch>>>>);

/// What is known of one plugin.
#[derive(Debug, Default)]
pub(super) struct Latch {
    turn: tokio::sync::Mutex<()>,
    denied: Mutex<Vec<Denial>>,
    silent: Mutex<Vec<Silence>>,
}

/// A refusal with `ACCESS_DENIED`.
#[derive(Clone, Debug)]
struct Denial {
    token: Token,
    refusal: ErrorResponse,
}

/// A request that was not answered in time, under these settings: others may lead elsewhere.
#[derive(Clone, Debug)]
struct Silence {
    config: PluginConfig,
    command: String,
    after: Duration,
}

/// A request, as far as the latch looks at it.
#[derive(Clone, Debug)]
pub(super) struct About {
    command: String,
    key_id: String,
    config: PluginConfig,
}

impl Latches {
    /// The latch of the plugin at `file`.
    pub(super) fn of(&self, file: &PluginFile) -> Arc<Latch> {
        let mut latches = lock(&self.0);
        Arc::clone(latches.entry(file.path.clone()).or_default())
    }
}

impl Latch {
    /// Waits until no other key of the plugin is being opened, for a request that may open one.
    pub(super) async fn turn(&self, about: &About) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        match about.may_open_a_key() {
            true => Some(self.turn.lock().await),
            false => None,
        }
    }

    /// Whether the plugin may be asked.
    pub(super) fn check(&self, plugin: &PluginName, about: &About) -> Result<(), PluginError> {
        let silent = lock(&self.silent);
        if let Some(silence) = silent.iter().find(|one| one.config == about.config) {
            return Err(PluginErrorKind::Silent(silence.after).at(plugin, &silence.command));
        }
        let denied = lock(&self.denied);
        let same = |denial: &&Denial| !about.is_elsewhere(&denial.token);
        match denied.iter().find(same) {
            Some(denial) if about.may_open_a_key() => Err(PluginErrorKind::NotTried {
                token: Box::new(denial.token.clone()),
                error: Box::new(denial.refusal.clone()),
            }
            .of(plugin)),
            _ => Ok(()),
        }
    }

    /// Remembers a refusal, if it is one that is final.
    pub(super) fn note_refusal(&self, about: &About, refusal: &ErrorResponse) {
        if about.may_open_a_key() && refusal.error_code == Some(ErrorCode::AccessDenied) {
            lock(&self.denied).push(Denial {
                token: refusal.token().unwrap_or_default(),
                refusal: refusal.clone(),
            });
        }
    }

    /// Remembers that no answer came in time.
    pub(super) fn note_silence(&self, about: &About, after: Duration) {
        lock(&self.silent).push(Silence {
            config: about.config.clone(),
            command: about.command.clone(),
            after,
        });
    }
}

impl About {
    /// A request of a one-shot command or of a session.
    pub(super) fn new(command: &str, request: &Value) -> Self {
        let config = request.get("pluginConfig").cloned().unwrap_or_default();
        let key_id = request.get("keyId").and_then(Value::as_str);
        Self {
            command: command.to_owned(),
            key_id: key_id.unwrap_or_default().to_owned(),
            config: serde_json::from_value(config).unwrap_or_default(),
        }
    }

    /// A request about a key.
    pub(super) fn key(command: &str, key_id: &str, config: &PluginConfig) -> Self {
        Self {
            command: command.to_owned(),
            key_id: key_id.to_owned(),
            config: config.clone(),
        }
    }

    /// Whether a PIN could be tried on the way.
    fn may_open_a_key(&self) -> bool {
        ![Command::GetPluginMetadata, Command::VerifySignature]
            .iter()
            .any(|command| command.name() == self.command)
    }

    /// Whether the key can't be on this token, since it names another label or serial number.
    ///
    /// Looked at are the attributes of URIs such as `pkcs11:token=T;serial=7?…` (RFC 7512) and
    /// `yubikey:serial=7`, and settings. What names neither may be anywhere.
    fn is_elsewhere(&self, token: &Token) -> bool {
        let differs = |named: Option<String>,
                       known: &Option<String>,
                       same: fn(&str, &str) -> bool| {
            match (named.as_deref().map(plain), known.as_deref().map(plain)) {
                (Some(named), Some(known)) if !named.is_empty() && !known.is_empty() => {
                    !same(named, known)
                }
                _ => false,
            }
        };
        let setting = |name: &str| self.config.get(name).cloned();
        let label = path_value(&self.key_id, "token").or_else(|| setting("token-label"));
        let serial = path_value(&self.key_id, "serial").or_else(|| setting("serial"));
        differs(label, &token.label, |a, b| a == b)
            || differs(serial, &token.serial, |a, b| {
                let number = |text: &str| text.trim_start_matches('0').to_ascii_lowercase();
                number(a) == number(b)
            })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::error::to_token;

    fn about(id: &str, settings: &[(&str, &str)]) -> About {
        let config = settings.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        About::key("open", id, &config.collect())
    }

    fn token(label: &str, serial: &str) -> Token {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Token {
            label: text(label),
            serial: text(serial),
            ..Token::default()
        }
    }

    /// A token is known to be another only by a label or serial number that both sides have.
    #[test]
    fn tokens_that_are_known_to_differ() {
        let bar = token("bar", "0012aB");
        for elsewhere in [
            "pkcs11:token=foo;object=k",
            "pkcs11:object=k;token=foo?pin-source=env:P",
            "pkcs11:serial=77",
            "pkcs11:token=bar;serial=77",
            "pkcs11:token=Bar",
            "pkcs11:token=b%61z",
            "yubikey:slot-id=9c;serial=12",
        ] {
            assert!(about(elsewhere, &[]).is_elsewhere(&bar), "{elsewhere}");
        }
        for perhaps_here in [
            "",
            "k",
            "id=01",
            "token=foo",
            "pkcs11:object=k",
            "pkcs11:slot-id=3;object=k",
            "pkcs11:token=bar;object=k",
            "pkcs11:token=b%61r%20%20",
            "pkcs11:token=;object=k",
            "pkcs11:token=foo;token=bar",
            "pkcs11:serial=12AB",
            "pkcs11:object=k?token=foo",
            "pkcs11:object=k?module-path=/m.so;serial=1",
            "yubikey:slot-id=9c;serial=0012ab",
            "awskms:///alias/x",
        ] {
            assert!(
                !about(perhaps_here, &[]).is_elsewhere(&bar),
                "{perhaps_here}"
            );
        }
        assert!(about("k", &[("token-label", "foo")]).is_elsewhere(&bar));
        assert!(!about("k", &[("token-label", "bar ")]).is_elsewhere(&bar));
        // A token that the plugin did not name may be any.
        for id in ["pkcs11:token=foo", "pkcs11:serial=77"] {
            assert!(!about(id, &[]).is_elsewhere(&Token::default()), "{id}");
        }
        assert!(!about("pkcs11:token=foo", &[]).is_elsewhere(&token("", "77")));
        assert!(about("pkcs11:serial=78", &[]).is_elsewhere(&token("", "77")));
    }

    #[test]
    fn tokens_are_named() {
        assert_eq!(
            to_token(&token("a\u{1b}b ", "7")),
            " to token \"a\\u{1b}b\" (serial 7)"
        );
        assert_eq!(to_token(&token("a", "")), " to token \"a\"");
        assert_eq!(to_token(&token("", "7")), " to the token with serial 7");
        assert_eq!(to_token(&token("", "")), "");
    }
}
