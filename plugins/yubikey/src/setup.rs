//! `set-up-token`: a PIN, a PUK and a management key that nobody else knows, for a YubiKey as it comes
//! out of the box.
//!
//! What is still the factory's is changed and nothing else, so that a run that broke off is finished by
//! another one. All that the user has to give is got before anything is changed. No secret goes through
//! the host: a PUK that is made here is shown on the terminal.

use std::sync::Arc;

use hardsign_plugin::proto::{SetUpTokenRequest, SetUpTokenResponse};
use hardsign_plugin::secret::{PinSource, Secret};
use hardsign_plugin::{Context, Error};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::error::YubiKeyError;
use crate::login;
use crate::manage::{act, named, show_key};
use crate::piv::manage::{FACTORY, Management, is_factory};
use crate::piv::{CardError, Reference, Verified, status};
use crate::reader::{name, token};
use crate::shared::{Card, Shared};

const FACTORY_PIN: &[u8] = b"123456";
const FACTORY_PUK: &[u8] = b"12345678";

/// Tries of a PIN that nobody has got wrong.
const ALL_TRIES: u8 = 3;

/// Digits of a PUK that is made here.
const PUK_LEN: usize = 8;

pub(crate) fn set_up_token(
    request: &SetUpTokenRequest,
    shared: &Shared,
    context: &Context<'_>,
) -> Result<SetUpTokenResponse, Error> {
    let config = Config::read(&request.key_id, &request.plugin_config)?;
    let card = shared.card(config.serial, context)?;
    let state = State::read(&card)?;
    if state.is_guess && !request.confirmed {
        return Err(Error::needs_confirmation(format!(
            "{} can't tell whether PIN, PUK and management key are those it came with; to try them costs one try \
             of each that was changed. Try them?",
            card.name()
        )));
    }
    let setup = Setup {
        card: &card,
        config: &config,
        state,
        context,
    };
    setup.run()
}

/// What the card says of its secrets.
struct State {
    /// The PIN is to be changed.
    pin_is_old: bool,
    puk_is_old: bool,
    management: Management,
    /// The management key is the factory's.
    management_is_old: bool,
    /// The card does not tell; what it came with has to be tried.
    is_guess: bool,
}

impl State {
    fn read(card: &Card) -> Result<Self, YubiKeyError> {
        let (pin, puk, management) = act(card, "reading the state of", |piv| {
            Ok((piv.pin()?, piv.puk()?, piv.management()?))
        })?;
        if pin.tries == 0 {
            return Err(YubiKeyError::PinBlocked { card: card.name() });
        }
        let is_guess = pin.is_factory.is_none();
        let management_is_old = match management.is_factory {
            Some(is_factory) => is_factory,
            // A management key has no count of tries.
            None => act(card, "login to", move |piv| {
                piv.authenticate(management.cipher, &FACTORY)
            })?,
        };
        Ok(Self {
            pin_is_old: pin.is_factory.unwrap_or(pin.tries >= ALL_TRIES),
            puk_is_old: match puk {
                Some(puk) => puk.is_factory == Some(true) && puk.tries > 0,
                None => true,
            },
            management,
            management_is_old,
            is_guess,
        })
    }
}

struct Setup<'a> {
    card: &'a Card,
    config: &'a Config,
    state: State,
    context: &'a Context<'a>,
}

impl Setup<'_> {
    fn run(self) -> Result<SetUpTokenResponse, Error> {
        let state = &self.state;
        // One that is the user's own is replaced where it was named.
        let management = state.management_is_old || self.config.management_key.is_some();
        if !state.pin_is_old && !state.puk_is_old && !management {
            return Err(YubiKeyError::SetUp {
                card: self.card.name(),
            }
            .into());
        }
        let old_management = match (management, &self.config.management_key) {
            (true, Some(source)) if !state.management_is_old => {
                Some(named(source, &self.card.name(), self.context)?)
            }
            _ => None,
        };
        if old_management.as_ref().is_some_and(|key| is_factory(key)) {
            return Err(YubiKeyError::BadSecret {
                what: "management key",
                fault: "is the one that every YubiKey comes with",
            }
            .into());
        }
        let pin = state.pin_is_old.then(|| self.new_pin()).transpose()?;
        let puk = state
            .puk_is_old
            .then(|| self.new_puk(pin.as_ref()))
            .transpose()?;
        let mut done = Done::default();
        if let Some(puk) = puk {
            let changed = self.change(Reference::Puk, FACTORY_PUK, &puk)?;
            done.note("PUK", changed);
        } else {
            done.note("PUK", false);
        }
        let changed = match &pin {
            Some(pin) => self.change(Reference::Pin, FACTORY_PIN, pin)?,
            None => false,
        };
        done.note("PIN", changed);
        if let Some(pin) = pin.filter(|_| changed) {
            login::tell_of_swap(&pin, self.context);
            self.take(Arc::new(pin))?;
        }
        if management {
            self.change_management_key(old_management)?;
        }
        done.note("management key", management);
        Ok(SetUpTokenResponse {
            token: Some(token(self.card.identity())),
            changed: done.changed,
            unchanged: done.unchanged,
        })
    }

    fn new_pin(&self) -> Result<Secret, Error> {
        let source = self
            .config
            .pin_source
            .as_ref()
            .unwrap_or(&PinSource::Prompt);
        let question = format!("New PIN of {}, 6 to 8 letters or digits", self.card.name());
        let pin = self.context.new_pin(source, &question)?;
        check("PIN", &pin, FACTORY_PIN)?;
        Ok(pin)
    }

    /// The PUK of the user's choice, or a random one that was shown.
    fn new_puk(&self, pin: Option<&Secret>) -> Result<Secret, Error> {
        let card = self.card.name();
        let Some(source) = &self.config.puk_source else {
            if !self.context.has_terminal() {
                return Err(YubiKeyError::NowhereToShow { card }.into());
            }
            let puk = random_puk()?;
            let what = format!(
                "The new PUK of {card}, which unblocks it after wrong PINs (keep it in a safe place; it is not shown again)"
            );
            self.context.show_secret(&what, &puk)?;
            return Ok(puk);
        };
        let question = format!("New PUK of {card}, 6 to 8 letters or digits");
        let puk = self.context.new_pin(source, &question)?;
        check("PUK", &puk, FACTORY_PUK)?;
        if pin.is_some_and(|pin| pin.expose() == puk.expose()) {
            let fault = "is the same as the new PIN";
            return Err(YubiKeyError::BadSecret { what: "PUK", fault }.into());
        }
        Ok(puk)
    }

    /// Changes a secret that is the factory's; `false`: it was none, which cost a try.
    fn change(&self, which: Reference, old: &'static [u8], new: &Secret) -> Result<bool, Error> {
        let what = match which {
            Reference::Pin => "PIN",
            Reference::Puk => "PUK",
        };
        let card = self.card.name();
        let value = Zeroizing::new(new.expose().to_vec());
        let changed = act(self.card, "changing PIN or PUK of", move |piv| {
            match piv.change(which, old, &value) {
                Err(error) if is_refusal(&error) => Ok(None),
                other => other.map(Some),
            }
        })?;
        match changed {
            Some(Verified::Right) => Ok(true),
            Some(Verified::Wrong { .. } | Verified::Blocked) if self.state.is_guess => Ok(false),
            Some(outcome) => {
                login::accept(self.card, outcome)?;
                Ok(false)
            }
            None => Err(YubiKeyError::NotTaken { card, what }.into()),
        }
    }

    /// Logs in with the new PIN.
    fn take(&self, pin: Arc<Secret>) -> Result<(), Error> {
        let tried = Arc::clone(&pin);
        let outcome = act(self.card, "login to", move |piv| piv.verify(tried.expose()))?;
        login::accept(self.card, outcome)?;
        *self.card.login() = Some(Ok(pin));
        Ok(())
    }

    /// A random management key that the card keeps under the PIN. `old` is the one that counts, if it is
    /// not the factory's.
    fn change_management_key(&self, old: Option<Zeroizing<Vec<u8>>>) -> Result<(), Error> {
        let cipher = self.state.management.cipher;
        let old = old.unwrap_or_else(|| Zeroizing::new(FACTORY.to_vec()));
        // The PIN shows what is in the place, and afterwards that the key can be read there.
        login::log_in(self.card, self.config.pin_source.as_ref(), self.context)?;
        if act(self.card, "reading", |piv| piv.printed_is_in_use())? {
            return Err(YubiKeyError::InUse {
                card: self.card.name(),
            }
            .into());
        }
        show_key(self.card, cipher, old)?;
        let mut key = Zeroizing::new(vec![0; cipher.key_len()]);
        random(&mut key)?;
        act(self.card, "changing the management key of", move |piv| {
            piv.replace_management_key(cipher, &key)
        })?;
        let stored = act(self.card, "reading the management key of", |piv| {
            piv.stored_management_key()
        })?;
        let lost = || {
            Error::other(format!(
                "{} does not give back the management key that it was to keep",
                name(self.card.identity())
            ))
        };
        show_key(self.card, cipher, stored.ok_or_else(lost)?)
    }
}

/// What was changed and what was not.
#[derive(Default)]
struct Done {
    changed: Vec<String>,
    unchanged: Vec<String>,
}

impl Done {
    fn note(&mut self, what: &str, changed: bool) {
        let list = match changed {
            true => &mut self.changed,
            false => &mut self.unchanged,
        };
        list.push(what.to_owned());
    }
}

/// Whether the card does not want the new value, as against the old one.
fn is_refusal(error: &CardError) -> bool {
    matches!(
        error.status(),
        Some(status::CONDITIONS | status::WRONG_DATA)
    )
}

/// Refuses what can't be a PIN or PUK, and what everybody knows.
fn check(what: &'static str, secret: &Secret, factory: &[u8]) -> Result<(), YubiKeyError> {
    let bad = |fault| Err(YubiKeyError::BadSecret { what, fault });
    match secret.expose() {
        bytes if !login::LENGTHS.contains(&bytes.len()) => bad("does not have 6 to 8 bytes"),
        bytes if bytes == factory || bytes == FACTORY_PIN || bytes == FACTORY_PUK => {
            bad("is one that YubiKeys come with")
        }
        _ => Ok(()),
    }
}

/// Eight random digits.
fn random_puk() -> Result<Secret, Error> {
    let mut digits = Zeroizing::new(Vec::with_capacity(PUK_LEN));
    while digits.len() < PUK_LEN {
        let mut byte = Zeroizing::new([0]);
        random(byte.as_mut_slice())?;
        // 250 to 255 would make some digits more likely than others.
        if let [byte @ ..250] = *byte {
            digits.push(b'0'.wrapping_add(byte % 10));
        }
        if *digits == FACTORY_PUK {
            digits.clear();
        }
    }
    Ok(Secret::new(digits.to_vec()))
}

fn random(bytes: &mut [u8]) -> Result<(), Error> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| Error::other("this machine gives no random numbers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puks_are_digits() {
        for _ in 0..200 {
            let puk = random_puk().unwrap();
            assert_eq!(puk.expose().len(), 8);
            assert!(puk.expose().iter().all(u8::is_ascii_digit));
        }
    }

    #[test]
    fn what_everybody_knows_is_no_pin() {
        for bad in ["12345", "123456789", "123456", "12345678"] {
            let secret = Secret::new(bad.as_bytes().to_vec());
            assert!(check("PIN", &secret, FACTORY_PIN).is_err(), "{bad}");
        }
        let good = Secret::new(b"864213".to_vec());
        assert!(check("PIN", &good, FACTORY_PIN).is_ok());
    }
}
