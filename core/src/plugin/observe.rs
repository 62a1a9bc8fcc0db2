//! What the host tells about its work: notices for the user, and the debug lines of PLG-12.
//!
//! Nothing here prints. Requests are told without the values of `pluginConfig` and without PINs in
//! key names; answers are told as they came, escaped.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::text::{Lines, REDACTED, escaped, without_pin};

/// Hears what happens between host and plugins. Called on whatever task the work is done, so it
/// must not block for long.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn observe(&self, event: &Event<'_>);

    /// Whether requests and answers are wanted too; otherwise they are not put into text.
    fn wants_messages(&self) -> bool {
        true
    }
}

/// Something that happened between the host and a plugin. All text in it is fit for a terminal.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A plugin process was started.
    Started {
        /// The plugin.
        plugin: &'a str,
        /// The command it was started with.
        command: &'a str,
        /// Which file ran.
        path: &'a Path,
    },
    /// How the host will ask for signatures.
    Route {
        /// The plugin.
        plugin: &'a str,
        /// The way chosen, for instance `session`.
        route: &'a str,
    },
    /// A request, redacted.
    Request {
        /// The command.
        command: &'a str,
        /// The request.
        json: &'a str,
    },
    /// An answer.
    Response {
        /// The command.
        command: &'a str,
        /// The answer.
        json: &'a str,
    },
    /// The plugin has something to tell the user, for instance to touch the key.
    Notice {
        /// The plugin.
        plugin: &'a str,
        /// One line.
        message: &'a str,
        /// How long the plugin will wait for the user.
        wait: Option<Duration>,
    },
    /// The plugin is about to ask on the terminal itself: hold the progress bar.
    Prompting {
        /// The plugin.
        plugin: &'a str,
    },
    /// It has asked.
    Prompted {
        /// The plugin.
        plugin: &'a str,
    },
    /// A request is repeated, or a session that died is started again.
    Again {
        /// The plugin.
        plugin: &'a str,
        /// Why.
        reason: &'a str,
    },
}

/// The debug line (PLG-12).
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started {
                plugin,
                command,
                path,
            } => write!(f, "Plugin {plugin}: started {} {command}", path.display()),
            Self::Route { plugin, route } => write!(f, "Plugin {plugin}: signing through {route}"),
            Self::Request { command, json } => write!(f, "Plugin {command} request: {json}"),
            Self::Response { command, json } => write!(f, "Plugin {command} response: {json}"),
            Self::Notice {
                plugin, message, ..
            } => write!(f, "Plugin {plugin}: notice: {message}"),
            Self::Prompting { plugin } => write!(f, "Plugin {plugin}: asks on the terminal"),
            Self::Prompted { plugin } => write!(f, "Plugin {plugin}: has asked"),
            Self::Again { plugin, reason } => write!(f, "Plugin {plugin}: again: {reason}"),
        }
    }
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for F {
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}

/// The observer in use, shared by all that a host does.
#[derive(Clone)]
pub(super) struct Told(pub(super) Option<Arc<dyn Observer>>);

impl Told {
    pub(super) fn nobody() -> Self {
        Self(None)
    }

    pub(super) fn tell(&self, event: Event<'_>) {
        if let Some(observer) = &self.0 {
            observer.observe(&event);
        }
    }

    fn wants_messages(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|observer| observer.wants_messages())
    }

    pub(super) fn request(&self, command: &str, request: &Value) {
        if !self.wants_messages() {
            return;
        }
        let json = escaped(&redacted(request).to_string(), usize::MAX, Lines::Escape);
        self.tell(Event::Request {
            command,
            json: &json,
        });
    }

    pub(super) fn response(&self, command: &str, response: &[u8]) {
        if !self.wants_messages() {
            return;
        }
        let text = String::from_utf8_lossy(response);
        let json = escaped(text.trim(), MAX_SHOWN, Lines::Escape);
        self.tell(Event::Response {
            command,
            json: &json,
        });
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Told")
    }
}

/// `request` without the values of `pluginConfig`, at any depth, and without PINs in key names
/// (PLG-12, LOG-05).
fn redacted(request: &Value) -> Value {
    match request {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let value = match (name.as_str(), value) {
                    ("pluginConfig", Value::Object(config)) => config
                        .keys()
                        .map(|key| (key.clone(), Value::from(REDACTED)))
                        .collect(),
                    ("pluginConfig", _) => Value::from(REDACTED),
                    ("keyId", Value::String(id)) => Value::from(without_pin(id)),
                    (_, value) => redacted(value),
                };
                (name.clone(), value)
            })
            .collect(),
        Value::Array(items) => items.iter().map(redacted).collect(),
        other => other.clone(),
    }
}

/// Characters of an answer that are told: 1 Mi.
const MAX_SHOWN: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;

    /// PLG-12, LOG-05: the lines exist, and neither setting values nor PINs are in them.
    #[test]
    fn plg_12_requests_are_redacted() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let told = Told(Some(Arc::new(move |event: &Event<'_>| {
            kept.lock().unwrap().push(event.to_string());
        })));
        told.request(
            "describe-key",
            &json!({"contractVersion": "1.0", "keyId": "pkcs11:pin-value=7;object=k",
                "pluginConfig": {"password": "secret"}}),
        );
        told.request(
            "session",
            &json!({"id": 1, "request": {"pluginConfig": {"a": "secret"}, "digest": "AAAA"}}),
        );
        told.request("x", &json!({"pluginConfig": ["secret"]}));
        told.response("describe-key", b"{\"keyId\":\"\x1b\"}\n");
        assert_eq!(
            *lines.lock().unwrap(),
            [
                r#"Plugin describe-key request: {"contractVersion":"1.0","keyId":"pkcs11:pin-value=*****;object=k","pluginConfig":{"password":"*****"}}"#,
                r#"Plugin session request: {"id":1,"request":{"pluginConfig":{"a":"*****"},"digest":"AAAA"}}"#,
                r#"Plugin x request: {"pluginConfig":"*****"}"#,
                r#"Plugin describe-key response: {"keyId":"\u{1b}"}"#,
            ]
        );
    }
}
