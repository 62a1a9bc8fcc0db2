//! Making keys and storing certificates: `create-key`, `import-certificates`.

use std::time::Duration;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain;
use hardsign_plugin::proto::{
    CreateKeyRequest, CreateKeyResponse, ImportCertificatesRequest, ImportCertificatesResponse,
    PinPolicy, TouchPolicy,
};
use hardsign_plugin::secret::{PinSource, Secret};
use hardsign_plugin::{Context, Error};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::error::YubiKeyError;
use crate::login;
use crate::piv::manage::{Cipher, is_factory};
use crate::piv::{CardError, Piv, Version};
use crate::reader::{Connection, token};
use crate::shared::{Card, Shared};
use crate::slot::{Algorithm, Slot};

/// How long a card may take to make an RSA key.
const MAKING: Duration = Duration::from_secs(120);

/// The largest data object (YubiKey 5: 3,052 bytes), less what stands around a certificate.
const MAX_CERTIFICATE: usize = 3_030;

/// Makes a key in a slot.
pub(crate) fn create_key(
    request: &CreateKeyRequest,
    shared: &Shared,
    context: &Context<'_>,
) -> Result<CreateKeyResponse, Error> {
    let config = Config::read(&request.key_id, &request.plugin_config)?;
    let slot = config.slot()?;
    let connection = shared.card(config.serial, context)?;
    if request.beside {
        return Err(which_slot(&connection)?);
    }
    let identity = connection.identity();
    let algorithm = makeable(request.key_spec, identity.version)?;
    let pin = pin_policy(request.pin_policy.as_ref())?;
    let touch = touch_policy(request.touch_policy.as_ref(), identity.version)?;
    let replaced = in_the_way(&connection, slot)?;
    if let (Some(what), false) = (&replaced, request.overwrite) {
        return Err(Error::validation(format!(
            "slot {slot} of {} holds {what}",
            connection.name()
        ))
        .with_hint(
            "choose another slot, or overwrite it: the key in it is then lost for ever, and nothing new \
             can be signed with it",
        ));
    }
    let doing = "making a key on";
    authenticate(&connection, &config, context)?;
    if request.key_spec.is_rsa() {
        let message = format!(
            "{} makes an RSA key, which can take a minute",
            connection.name()
        );
        context.notice(&message, Some(MAKING));
    }
    let has_certificate = replaced.is_some();
    let public = act(&connection, doing, move |piv| {
        let public = piv.generate(slot, algorithm, pin, touch)?;
        if has_certificate {
            // It was the old key's.
            piv.put_certificate(slot, None)?;
        }
        Ok(public)
    })?;
    let serial = identity.serial.map(|serial| format!("serial={serial};"));
    Ok(CreateKeyResponse {
        key_id: format!(
            "yubikey:{}slot={slot}{}",
            serial.unwrap_or_default(),
            config.in_key_id
        ),
        key_spec: request.key_spec,
        public_key: public.to_spki_der()?.into(),
        token: Some(token(identity)),
        replaced,
    })
}

/// Stores the certificate of a slot's key. Those above it are the host's to keep.
pub(crate) fn import_certificates(
    request: &ImportCertificatesRequest,
    shared: &Shared,
    context: &Context<'_>,
) -> Result<ImportCertificatesResponse, Error> {
    let config = Config::read(&request.key_id, &request.plugin_config)?;
    let slot = config.slot()?;
    let Some(leaf) = request.certificate_chain.first().map(|leaf| leaf.0.clone()) else {
        return Err(Error::validation("there is no certificate to store"));
    };
    let connection = shared.card(config.serial, context)?;
    let card = connection.name();
    let doing = "reading a slot of";
    let (key, old) = act(&connection, doing, move |piv| {
        Ok((piv.key(slot)?, piv.certificate(slot)?))
    })?;
    // Below firmware 5.3 an imported key without certificate is not seen.
    if let Some(public) = key.and_then(|key| key.public)
        && !chain::matches(&public, &leaf)
        && (old.is_none() || connection.identity().version >= [5, 3, 0])
    {
        return Err(YubiKeyError::Mismatch {
            subject: chain::subject(&leaf).unwrap_or_default(),
            place: "the file".to_owned(),
            slot,
            card,
        }
        .into());
    }
    let replaced = match old {
        Some(old) if old == leaf => {
            return Ok(ImportCertificatesResponse {
                stored: 1,
                replaced: None,
            });
        }
        Some(old) => {
            let subject = chain::subject(&old).unwrap_or_else(|| "something else".to_owned());
            Some(format!("the certificate of {subject:?}"))
        }
        None => None,
    };
    if let (Some(what), false) = (&replaced, request.overwrite) {
        return Err(
            Error::validation(format!("slot {slot} of {card} holds {what}"))
                .with_hint("overwrite it, if it is no longer needed"),
        );
    }
    if leaf.len() > MAX_CERTIFICATE {
        // The host keeps it.
        return Ok(ImportCertificatesResponse::default());
    }
    authenticate(&connection, &config, context)?;
    let written = leaf.clone();
    let stored = act(&connection, "storing a certificate on", move |piv| {
        piv.put_certificate(slot, Some(&written))?;
        piv.certificate(slot)
    })?;
    if stored != Some(leaf) {
        return Err(Error::other(format!(
            "{card} did not store the certificate as it was given"
        )));
    }
    Ok(ImportCertificatesResponse {
        stored: 1,
        replaced,
    })
}

/// The algorithm, if cards of that firmware make such keys well.
fn makeable(key_spec: KeySpec, version: Version) -> Result<Algorithm, Error> {
    let refuse = |why: &str| {
        Err(
            Error::validation(format!("a YubiKey can't make an {key_spec} key: {why}"))
                .with_hint("choose EC-256 or EC-384"),
        )
    };
    let [major, minor, patch] = version;
    match Algorithm::of(key_spec) {
        None => refuse("its longest curve is P-384"),
        Some(Algorithm::Rsa3072 | Algorithm::Rsa4096) if version < [5, 7, 0] => refuse(&format!(
            "RSA with more than 2048 bits needs firmware 5.7, and this is {major}.{minor}.{patch}"
        )),
        Some(_) if key_spec.is_rsa() && ([4, 2, 0]..=[4, 3, 4]).contains(&version) => refuse(
            "RSA keys that this firmware makes can be computed from their public halves (ROCA, YSA-2017-01)",
        ),
        Some(algorithm) => Ok(algorithm),
    }
}

fn pin_policy(policy: Option<&PinPolicy>) -> Result<u8, Error> {
    Ok(match policy {
        None => 0,
        Some(PinPolicy::Never) => 1,
        Some(PinPolicy::Once) => 2,
        Some(PinPolicy::Always) => 3,
        Some(other) => {
            return Err(no_policy(
                "PIN",
                &other.to_string(),
                "never, once or always",
            ));
        }
    })
}

fn touch_policy(policy: Option<&TouchPolicy>, version: Version) -> Result<u8, Error> {
    Ok(match policy {
        None => 0,
        Some(TouchPolicy::Never) => 1,
        Some(TouchPolicy::Always) => 2,
        Some(TouchPolicy::Cached) if version < [4, 3, 0] => {
            return Err(Error::validation(
                "the touch policy cached needs firmware 4.3 or later",
            ));
        }
        Some(TouchPolicy::Cached) => 3,
        Some(other) => {
            return Err(no_policy(
                "touch",
                &other.to_string(),
                "never, always or cached",
            ));
        }
    })
}

fn no_policy(kind: &str, name: &str, known: &str) -> Error {
    Error::validation(format!("unknown {kind} policy {name:?}"))
        .with_hint(format!("choose {known}"))
}

/// A slot is the user's choice: those that are free.
fn which_slot(card: &Card) -> Result<Error, Error> {
    let free = act(card, "looking for a free slot of", |piv| {
        let mut free = Vec::new();
        for slot in Slot::all() {
            if piv.key(slot)?.is_none() && piv.certificate(slot)?.is_none() {
                free.push(slot.to_string());
            }
        }
        Ok(free)
    })?;
    let error = Error::validation(format!(
        "a key of {} needs a slot of its own, and none was named",
        card.name()
    ));
    Ok(match free.first() {
        Some(first) => error.with_hint(format!(
            "name one with --id, for instance yubikey:slot={first}; free are {}",
            free.join(", ")
        )),
        None => {
            error.with_hint("every slot is in use; name the one that is to be replaced with --id")
        }
    })
}

/// What a slot holds that a new key would replace.
fn in_the_way(connection: &Connection, slot: Slot) -> Result<Option<String>, Error> {
    let (key, certificate) = act(connection, "reading a slot of", move |piv| {
        Ok((piv.key(slot)?, piv.certificate(slot)?))
    })?;
    let subject = certificate.as_deref().map(chain::subject);
    let subject = subject.map(|subject| subject.unwrap_or_else(|| "unreadable".to_owned()));
    Ok(match (key, subject) {
        (Some(key), Some(subject)) => Some(format!(
            "a key ({}) with the certificate of {subject:?}",
            key.algorithm
        )),
        (Some(key), None) => Some(format!("a key ({})", key.algorithm)),
        (None, Some(subject)) => Some(format!("the certificate of {subject:?}")),
        (None, None) => None,
    })
}

/// Shows the card the management key: the one that was named, or the one it keeps under the PIN.
fn authenticate(connection: &Card, config: &Config, context: &Context<'_>) -> Result<(), Error> {
    let card = connection.name();
    let management = act(connection, "reading the state of", |piv| piv.management())?;
    let factory = || YubiKeyError::Factory {
        card: card.clone(),
        what: "management key",
    };
    if management.is_factory == Some(true) {
        return Err(factory().into());
    }
    let key = match &config.management_key {
        Some(source) => named(source, &card, context)?,
        None if management.is_stored => {
            login::log_in(connection, config.pin_source.as_ref(), context)?;
            let doing = "reading the management key of";
            let stored = act(connection, doing, |piv| piv.stored_management_key())?;
            stored.ok_or_else(|| {
                Error::other(format!(
                    "{card} says that it keeps its management key, and does not"
                ))
                .with_hint("name it with management-key=env:NAME or file:/path")
            })?
        }
        None => {
            return Err(Error::access_denied(format!(
                "the management key of {card} is needed and was not named"
            ))
            .with_hint(
                "name it with management-key=env:NAME or file:/path; `hardsign token setup` with that \
                 setting has the YubiKey keep another one under the PIN (as ykman piv access \
                 change-management-key --generate --protect does)",
            ));
        }
    };
    if is_factory(&key) {
        return Err(factory().into());
    }
    show_key(connection, management.cipher, key)
}

/// The management key that the user named.
pub(crate) fn named(
    source: &PinSource,
    card: &str,
    context: &Context<'_>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let question = format!("Management key of {card}, hexadecimal");
    unhex(&context.pin(source, &question)?)
}

/// Shows the card this management key.
pub(crate) fn show_key(
    connection: &Connection,
    cipher: Cipher,
    key: Zeroizing<Vec<u8>>,
) -> Result<(), Error> {
    let card = connection.name();
    if key.len() != cipher.key_len() {
        return Err(Error::validation(format!(
            "the management key has {} bytes, that of {card} has {}",
            key.len(),
            cipher.key_len()
        )));
    }
    let is_right = act(connection, "login to", move |piv| {
        piv.authenticate(cipher, &key)
    })?;
    if !is_right {
        return Err(
            Error::access_denied(format!("{card} refused the management key"))
                .with_hint("check the management key and its source"),
        );
    }
    Ok(())
}

/// Does something with the card.
pub(crate) fn act<T: Send + 'static>(
    connection: &Connection,
    doing: &'static str,
    act: impl FnOnce(&mut Piv<'_>) -> Result<T, CardError> + Send + 'static,
) -> Result<T, YubiKeyError> {
    let failed = |source| YubiKeyError::card(doing, connection.name(), source);
    connection.run(act)?.map_err(failed)
}

/// A management key is written as hexadecimal digits.
fn unhex(text: &Secret) -> Result<Zeroizing<Vec<u8>>, Error> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.expose().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from((digit(high)? << 4) | digit(low)?).ok(),
        _ => None,
    });
    let mut key = Zeroizing::new(Vec::with_capacity(32));
    for byte in pairs {
        let wrong = || Error::validation("the management key is not written as hexadecimal digits");
        key.push(byte.ok_or_else(wrong)?);
    }
    Ok(key)
}

/// The source of a management key: nobody types one.
pub(crate) fn source(text: &str) -> Result<PinSource, Error> {
    match text.parse::<PinSource>()? {
        source if source.asks_a_person() => Err(Error::validation(
            "management-key must be env:NAME, file:/path or fd:N",
        )),
        source => Ok(source),
    }
}
