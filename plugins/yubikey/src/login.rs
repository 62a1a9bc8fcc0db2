//! The PIN: asked for once, tried once, and only if that can't block the card. Where it may be wanted
//! again it is kept, in memory that is never written to swap.

use std::sync::Arc;

use hardsign_plugin::secret::{PinSource, Secret};
use hardsign_plugin::{Context, Error};

use crate::error::YubiKeyError;
use crate::piv::Verified;
use crate::reader::{Connection, token};
use crate::shared::Card;

/// Gets the PIN and tries it, unless that was done; gives it back, for keys that want it again. An error
/// names the card, so that a host knows where not to try again.
pub(crate) fn log_in(
    card: &Card,
    source: Option<&PinSource>,
    context: &Context<'_>,
) -> Result<Arc<Secret>, Error> {
    let mut login = card.login();
    if let Some(outcome) = &*login {
        return outcome.clone();
    }
    let tried = try_pin(card, source, context);
    let outcome = tried.map_err(|error| error.of_token(&token(card.identity())));
    *login = Some(outcome.clone());
    outcome
}

fn try_pin(
    connection: &Connection,
    source: Option<&PinSource>,
    context: &Context<'_>,
) -> Result<Arc<Secret>, Error> {
    let card = connection.name();
    let tries = check_secrets(connection, context)?;
    let question = format!("PIN of {card} ({tries} tries left)");
    let pin = context.pin(source.unwrap_or(&PinSource::Prompt), &question)?;
    let length = pin.expose().len();
    if !LENGTHS.contains(&length) {
        return Err(YubiKeyError::PinLength { card, length }.into());
    }
    tell_of_swap(&pin, context);
    let pin = Arc::new(pin);
    let tried = Arc::clone(&pin);
    let outcome = connection.run(move |piv| piv.verify(tried.expose()))?;
    let outcome = outcome.map_err(|source| YubiKeyError::card("login to", card, source))?;
    accept(connection, outcome)?;
    Ok(pin)
}

/// Bytes of a PIN or PUK.
pub(crate) const LENGTHS: std::ops::RangeInclusive<usize> = 6..=8;

/// Warns where the PIN can't be kept out of swap.
pub(crate) fn tell_of_swap(pin: &Secret, context: &Context<'_>) {
    if !pin.is_locked() {
        context.notice(
            "the memory that holds the PIN can't be locked, so it may be written to swap; ulimit -l shows the limit",
            None,
        );
    }
}

/// Refuses PINs that are blocked, about to be, or known to everybody; gives the tries left.
fn check_secrets(connection: &Connection, context: &Context<'_>) -> Result<u8, YubiKeyError> {
    let card = connection.name();
    let failed = |source| YubiKeyError::card("reading the state of", card.clone(), source);
    let states = connection.run(|piv| Ok((piv.pin()?, piv.puk()?)))?;
    let (pin, puk) = states.map_err(failed)?;
    if pin.tries == 0 {
        return Err(YubiKeyError::PinBlocked { card });
    }
    if pin.is_factory == Some(true) {
        return Err(YubiKeyError::Factory { card, what: "PIN" });
    }
    if puk.is_some_and(|puk| puk.is_factory == Some(true)) {
        return Err(YubiKeyError::Factory { card, what: "PUK" });
    }
    if pin.tries == 1 {
        return Err(YubiKeyError::LastTry { card });
    }
    if pin.is_factory.is_none() {
        let warning = format!(
            "{card} can't tell whether its PIN and PUK are still those it came with (123456 and 12345678)"
        );
        context.notice(&warning, None);
    }
    Ok(pin.tries)
}

/// What follows from a VERIFY.
pub(crate) fn accept(connection: &Connection, outcome: Verified) -> Result<(), YubiKeyError> {
    let card = connection.name();
    match outcome {
        Verified::Right => Ok(()),
        Verified::Wrong { tries } => Err(YubiKeyError::WrongPin { card, tries }),
        Verified::Blocked => Err(YubiKeyError::PinBlocked { card }),
    }
}
