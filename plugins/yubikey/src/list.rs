//! `list-keys`: the keys of one card or of all, as key ids that can be signed with.

use hardsign_plugin::chain;
use hardsign_plugin::proto::{KeyEntry, ListKeysRequest, ListKeysResponse};
use hardsign_plugin::{Context, Error};

use crate::config::Config;
use crate::error::YubiKeyError;
use crate::piv::{CardError, Identity, Piv, SlotKey};
use crate::reader;
use crate::shared::Shared;
use crate::slot::Slot;

/// A slot with what stands in it.
type Seen = (Slot, SlotKey, Option<Vec<u8>>);

/// Lists what key id and config match. No PIN is needed.
pub(crate) fn list_keys(
    request: &ListKeysRequest,
    shared: &Shared,
    context: &Context<'_>,
) -> Result<ListKeysResponse, Error> {
    let config = Config::read(&request.key_id, &request.plugin_config)?;
    let cards = match config.serial {
        Some(serial) => vec![Some(serial)],
        None => match &reader::all(&shared.held())?[..] {
            [] => return Err(YubiKeyError::None.into()),
            [_] => vec![None],
            many => many.iter().map(|identity| identity.serial).collect(),
        },
    };
    let mut keys = Vec::new();
    for serial in cards {
        let connection = shared.card(serial, context)?;
        let only = config.slot;
        let seen = connection.run(move |piv| look(piv, only))?;
        let failed = |source| YubiKeyError::card("listing the keys of", connection.name(), source);
        let identity = connection.identity();
        keys.extend(
            seen.map_err(failed)?
                .iter()
                .map(|seen| entry(identity, seen)),
        );
    }
    Ok(ListKeysResponse {
        keys,
        ..ListKeysResponse::default()
    })
}

fn look(piv: &mut Piv<'_>, only: Option<Slot>) -> Result<Vec<Seen>, CardError> {
    let mut seen = Vec::new();
    for slot in Slot::all().filter(|slot| only.is_none_or(|only| only == *slot)) {
        if let Some(key) = piv.key(slot)? {
            let certificate = match piv.certificate(slot) {
                Err(CardError::Lost(error)) => return Err(CardError::Lost(error)),
                other => other.unwrap_or_default(),
            };
            seen.push((slot, key, certificate));
        }
    }
    Ok(seen)
}

fn entry(identity: Identity, (slot, key, certificate): &Seen) -> KeyEntry {
    let key_spec = key.public.as_ref().and_then(|public| public.key_spec());
    let serial = identity.serial.map(|serial| format!("serial={serial};"));
    let mut description = format!("slot {slot} of {}", reader::name(identity));
    match certificate.as_deref().map(chain::subject) {
        Some(Some(subject)) => description = format!("{description}: {subject}"),
        Some(None) => description = format!("{description}: its certificate can't be read"),
        None => description = format!("{description}: no certificate"),
    }
    if key_spec.is_none() {
        description = format!("{description}; can't be used, it is {}", key.algorithm);
    }
    KeyEntry {
        key_id: format!("yubikey:{}slot={slot}", serial.unwrap_or_default()),
        key_spec,
        description,
        token: Some(reader::token(identity)),
        ..KeyEntry::default()
    }
}
