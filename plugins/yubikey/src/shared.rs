//! What the requests of one process share: a card is taken once, and its PIN is tried once.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hardsign_plugin::secret::Secret;
use hardsign_plugin::{Context, Error};

use crate::error::YubiKeyError;
use crate::reader::{self, Connection, Held};

/// The cards of this process.
#[derive(Default)]
pub(crate) struct Shared {
    cards: Mutex<Vec<Arc<Card>>>,
}

/// A card that is held, and what came of the PIN.
pub(crate) struct Card {
    connection: Connection,
    login: Mutex<Option<Login>>,
}

/// The PIN that was right, or why there is none. A failure stays one.
pub(crate) type Login = Result<Arc<Secret>, Error>;

/// What is left of a login once nobody needs the PIN any more.
fn without_pin(login: &Login) -> Login {
    let forgotten = || Arc::new(Secret::new(Vec::new()));
    login.as_ref().map(|_| forgotten()).map_err(Clone::clone)
}

impl Deref for Card {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Card {
    /// The login, if one was tried. Held, nobody else tries one meanwhile.
    pub(crate) fn login(&self) -> MutexGuard<'_, Option<Login>> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Zeroes the PIN: the card stays logged in, and nothing will want it again.
    pub(crate) fn forget_pin(&self) {
        let mut login = self.login();
        *login = login.as_ref().map(without_pin);
    }
}

impl Shared {
    /// The card with that serial number, or the only one; taken if it is not yet.
    pub(crate) fn card(
        &self,
        serial: Option<u32>,
        context: &Context<'_>,
    ) -> Result<Arc<Card>, YubiKeyError> {
        let mut cards = self.cards();
        let serial = match serial {
            None if !cards.is_empty() => match &reader::all(&held(&cards))?[..] {
                [only] => only.serial,
                many => {
                    let seen = many.iter().map(|identity| reader::name(*identity));
                    return Err(YubiKeyError::Many {
                        seen: seen.collect(),
                    });
                }
            },
            serial => serial,
        };
        let known = cards
            .iter()
            .find(|card| serial.is_none() || card.identity().serial == serial);
        if let Some(card) = known {
            return Ok(Arc::clone(card));
        }
        let card = Arc::new(Card {
            connection: Connection::open(serial, held(&cards), context)?,
            login: Mutex::new(None),
        });
        cards.push(Arc::clone(&card));
        Ok(card)
    }

    /// The cards that this process holds: they answer nobody else.
    pub(crate) fn held(&self) -> Vec<Held> {
        held(&self.cards())
    }

    fn cards(&self) -> MutexGuard<'_, Vec<Arc<Card>>> {
        self.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn held(cards: &[Arc<Card>]) -> Vec<Held> {
    cards.iter().map(|card| card.connection.held()).collect()
}
