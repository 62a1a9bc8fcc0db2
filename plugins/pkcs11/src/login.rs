//! Logging in: with a PIN that the user gave, once.
//!
//! No PIN is tried when the token says that the next failure locks it, none that came from
//! nowhere, and none a second time.

use cryptoki::error::RvError;
use cryptoki::session::{Session, UserType};
use cryptoki::types::RawAuthPin;
use hardsign_plugin::secret::{PinSource, Secret};
use hardsign_plugin::{Context, Error};

use crate::error::{Call, Pkcs11Error};
use crate::module::{Module, Token};

/// How the user proves themselves.
#[derive(Debug)]
pub(crate) enum Proof {
    /// With this PIN.
    Pin(Secret),
    /// At the device: PIN pad, fingerprint.
    AtTheDevice,
}

/// Refuses to try where a failure would lock the token.
pub(crate) fn check_tries(module: &Module, token: &Token) -> Result<(), Pkcs11Error> {
    let name = token.name();
    let info = module
        .token_info(token.slot)
        .map_err(|source| Pkcs11Error::Token {
            doing: "reading the state of",
            token: name.clone(),
            source,
        })?;
    if info.user_pin_locked() {
        return Err(Pkcs11Error::PinLocked { token: name });
    }
    if info.user_pin_final_try() {
        return Err(Pkcs11Error::FinalTry { token: name });
    }
    if !info.user_pin_initialized() && !info.protected_authentication_path() {
        return Err(Pkcs11Error::PinNotSet { token: name });
    }
    Ok(())
}

/// Gets the PIN: from its source, at the device if it has its own way and no source was named,
/// else from the terminal.
pub(crate) fn proof(
    token: &Token,
    source: Option<&PinSource>,
    context: &Context<'_>,
) -> Result<Proof, Error> {
    let source = match source {
        Some(source) => source,
        None if token.info.protected_authentication_path() => return Ok(Proof::AtTheDevice),
        None => &PinSource::Prompt,
    };
    let question = format!("PIN of {}", token.name());
    Ok(Proof::Pin(context.pin(source, &question)?))
}

/// One login attempt.
pub(crate) fn prove(
    module: &Module,
    token: &Token,
    session: &Session,
    user: UserType,
    proof: &Proof,
    context: &Context<'_>,
) -> Result<(), Pkcs11Error> {
    let result = match proof {
        Proof::Pin(pin) => {
            let pin = RawAuthPin::new(Box::new(pin.expose().to_vec()));
            session.login_with_raw(user, &pin)
        }
        Proof::AtTheDevice => context.while_asking(|| {
            context.notice(
                &format!("Enter the PIN of {} at the device", token.name()),
                None,
            );
            session.login(user, None)
        }),
    };
    let Err(error) = result else {
        return Ok(());
    };
    let source = Call(error);
    let name = token.name();
    let by_pin = matches!(proof, Proof::Pin(_));
    let at_the_device = token.info.protected_authentication_path();
    match source.value() {
        Some(RvError::UserAlreadyLoggedIn) => Ok(()),
        Some(RvError::PinLocked) => Err(Pkcs11Error::PinLocked { token: name }),
        Some(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange) => {
            let low = module.token_info(token.slot).is_ok_and(|info| {
                info.user_pin_count_low() || info.user_pin_final_try() || info.user_pin_locked()
            });
            Err(Pkcs11Error::WrongPin {
                token: name,
                low,
                at_the_device: by_pin && at_the_device,
                source,
            })
        }
        // What a PIN pad says to a PIN that comes from elsewhere.
        Some(RvError::ArgumentsBad) if by_pin && at_the_device => Err(Pkcs11Error::WrongPin {
            token: name,
            low: false,
            at_the_device,
            source,
        }),
        _ => Err(Pkcs11Error::Login {
            token: name,
            source,
        }),
    }
}
