//! What several commands print in JSON, in one form: `docs/json.md` lists the names.

use hardsign_core::artifact::Descriptor;
use hardsign_core::revocation::{Checked, Status};
use hardsign_core::text::WithCauses;
use hardsign_plugin::proto::{KeyEntry, Token};
use serde_json::{Value, json};

/// What a registry, a layout or a signature says of content.
pub(crate) fn descriptor(descriptor: &Descriptor) -> Value {
    json!({
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    })
}

/// What an OCSP responder or a CRL says of a certificate.
pub(crate) fn checked(checked: &Checked) -> Value {
    let source = checked.source.as_ref();
    json!({
        "status": checked.status.name(),
        "method": source.map(|source| source.method.name()),
        "url": source.map(|source| source.url.as_str()),
        "revokedAt": checked.revoked_at.map(|at| at.to_string()),
        "error": match &checked.status {
            Status::Unknown(why) => Some(WithCauses(why).to_string()),
            _ => None,
        },
    })
}

/// A device or service, as far as it says what it is.
pub(crate) fn token(token: &Token) -> Value {
    let mut value = json!(token);
    rename(&mut value, "serial", "serialNumber");
    value
}

/// A key of a device.
pub(crate) fn key_entry(key: &KeyEntry) -> Value {
    let mut value = json!(key);
    if let (Some(of), Some(member)) = (&key.token, value.get_mut("token")) {
        *member = token(of);
    }
    value
}

/// The messages of the plugin contract have names of their own.
fn rename(value: &mut Value, from: &str, to: &str) {
    if let Value::Object(members) = value {
        let renamed = std::mem::take(members).into_iter().map(|(name, value)| {
            let name = if name == from { to.to_owned() } else { name };
            (name, value)
        });
        *members = renamed.collect();
    }
}
