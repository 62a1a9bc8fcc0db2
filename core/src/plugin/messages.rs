//! What the log shows of the messages between host and plugins (PLG-12): requests and answers without the
//! values of `pluginConfig` and without PINs in names of keys, answers otherwise as they came, escaped.

use serde_json::Value;

use super::text::{Lines, REDACTED, escaped, without_pin};
use crate::event::{Event, Listener, Observer as _};
use crate::json;

/// Tells of a request.
pub(super) fn request(listener: &Listener, command: &str, request: &Value) {
    if !listener.wants_messages() {
        return;
    }
    let json = escaped(
        &redacted(request, false).to_string(),
        usize::MAX,
        Lines::Escape,
    );
    listener.observe(&Event::PluginRequest {
        command,
        json: &json,
    });
}

/// Tells of an answer.
pub(super) fn response(listener: &Listener, command: &str, response: &[u8]) {
    if !listener.wants_messages() {
        return;
    }
    let json = escaped(&answered(response), MAX_SHOWN, Lines::Escape);
    listener.observe(&Event::PluginResponse {
        command,
        json: &json,
    });
}

/// An answer as it came, unless there is a secret in it that came from us: a key's name with a PIN, in
/// any of its texts. (What is no JSON is looked at as one text.)
fn answered(response: &[u8]) -> String {
    let text = String::from_utf8_lossy(response);
    match json::from_slice::<Value>(response) {
        Ok(value) => match redacted(&value, true) {
            same if same == value => text.trim().to_owned(),
            redacted => redacted.to_string(),
        },
        Err(_) => without_pin(text.trim()),
    }
}

/// `message` without the values of `pluginConfig`, at any depth, and without PINs in key names
/// (PLG-12, LOG-05); in an answer any text may name a key.
fn redacted(message: &Value, is_answer: bool) -> Value {
    match message {
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
                    (_, value) => redacted(value, is_answer),
                };
                (name.clone(), value)
            })
            .collect(),
        Value::Array(items) => items.iter().map(|item| redacted(item, is_answer)).collect(),
        Value::String(text) if is_answer => Value::from(without_pin(text)),
        other => other.clone(),
    }
}

/// Characters of an answer that are told: 1 Mi.
const MAX_SHOWN: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    /// PLG-12, LOG-05: the lines exist, and neither setting values nor PINs are in them.
    #[test]
    fn plg_12_messages_are_redacted() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let told = Listener::new(move |event: &Event<'_>| {
            kept.lock().unwrap().push(event.to_string());
        });
        request(
            &told,
            "describe-key",
            &json!({"contractVersion": "1.0", "keyId": "pkcs11:pin-value=7;object=k",
                "pluginConfig": {"password": "secret"}}),
        );
        request(
            &told,
            "session",
            &json!({"id": 1, "request": {"pluginConfig": {"a": "secret"}, "digest": "AAAA"}}),
        );
        request(&told, "x", &json!({"pluginConfig": ["secret"]}));
        response(&told, "describe-key", b"{\"keyId\": \"\x1b\"}\n");
        response(&told, "describe-key", b"{\"keyId\": \"k\"} \n");
        response(
            &told,
            "session",
            br#"{"id":1,"response":{"keyId":"pkcs11:pin-value=7;object=k","maxInFlight":1}}"#,
        );
        response(
            &told,
            "session",
            br#"{"id":1,"error":{"errorMessage":"no key k?pin\u002dvalue=7"}}"#,
        );
        response(&told, "x", b"{\"keyId\":\"k?userpin=7&x=y\"");
        response(&told, "x", b"{\"pluginConfig\":{\"a\":\"secret\"}}");
        assert_eq!(
            *lines.lock().unwrap(),
            [
                r#"Plugin describe-key request: {"contractVersion":"1.0","keyId":"pkcs11:pin-value=*****;object=k","pluginConfig":{"password":"*****"}}"#,
                r#"Plugin session request: {"id":1,"request":{"pluginConfig":{"a":"*****"},"digest":"AAAA"}}"#,
                r#"Plugin x request: {"pluginConfig":"*****"}"#,
                r#"Plugin describe-key response: {"keyId": "\u{1b}"}"#,
                r#"Plugin describe-key response: {"keyId": "k"}"#,
                r#"Plugin session response: {"id":1,"response":{"keyId":"pkcs11:pin-value=*****;object=k","maxInFlight":1}}"#,
                r#"Plugin session response: {"id":1,"error":{"errorMessage":"no key k?pin-value=*****"}}"#,
                r#"Plugin x response: {"keyId":"k?userpin=*****&x=y""#,
                r#"Plugin x response: {"pluginConfig":{"a":"*****"}}"#,
            ]
        );
    }
}
