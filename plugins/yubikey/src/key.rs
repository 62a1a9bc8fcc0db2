//! A key of a card, opened: found, logged in, with its certificate chain.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Digest, SHA256, SHA384, SHA512};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin::proto::Interaction;
use hardsign_plugin::secret::{PinSource, Secret};
use hardsign_plugin::{Context, Error, Key, KeyRequest, Purpose, ecdsa, pss};

use crate::certificates::Wanted;
use crate::config::Config;
use crate::error::YubiKeyError;
use crate::piv::{CardError, Piv, SlotKey, Verified, status};
use crate::reader::Connection;
use crate::slot::{Algorithm, PinPolicy, Slot, TouchPolicy};

/// How long the card waits for a touch.
const TOUCH: Duration = Duration::from_secs(15);

/// The shortest time after which a silent card is taken to wait for a touch.
const SILENCE: Duration = Duration::from_millis(300);

/// Signatures that may wait for the card where nothing is asked of the user.
const QUEUE: u32 = 8;

/// An open key.
pub(crate) struct CardKey {
    found: Found,
    /// Absent if the key was opened only to be described.
    chain: Option<Vec<Vec<u8>>>,
    /// The PIN, for a key that wants it before each signature.
    pin: Option<Arc<Secret>>,
    /// A failure after which nothing is sent to the card any more.
    failure: Mutex<Option<Error>>,
}

/// A key that was found in its slot.
struct Found {
    connection: Connection,
    slot: Slot,
    key_spec: KeySpec,
    algorithm: Algorithm,
    public: PublicKey,
    pin_policy: PinPolicy,
    touch: TouchPolicy,
}

impl CardKey {
    pub(crate) fn open(request: &KeyRequest<'_>, context: &Context<'_>) -> Result<Self, Error> {
        let config = Config::read(request.key_id, request.config)?;
        let found = Found::find(&config, context)?;
        let mut key = Self {
            found,
            chain: None,
            pin: None,
            failure: Mutex::new(None),
        };
        if request.purpose == Purpose::Sign {
            let wanted = Wanted {
                connection: &key.found.connection,
                slot: key.found.slot,
                public: &key.found.public,
                file: config.cert_chain.as_deref(),
            };
            // The chain first: without one, no PIN is asked for.
            key.chain = Some(wanted.chain()?);
            key.pin = key.found.log_in(config.pin_source.as_ref(), context)?;
        }
        Ok(key)
    }
}

impl Found {
    fn find(config: &Config, context: &Context<'_>) -> Result<Self, Error> {
        let slot = config.slot()?;
        let connection = Connection::open(config.serial, context)?;
        let card = connection.name();
        let failed = |source| YubiKeyError::card("looking at the key of", card.clone(), source);
        let key = connection.run(move |piv| piv.key(slot))?.map_err(failed)?;
        let Some(key) = key else {
            let seen = connection.run(slots_with_keys)?.map_err(failed)?;
            return Err(YubiKeyError::EmptySlot {
                slot,
                seen,
                is_certain: connection.identity().version >= [5, 3, 0],
                card,
            }
            .into());
        };
        Ok(Self::usable(connection, slot, key)?)
    }

    fn usable(connection: Connection, slot: Slot, key: SlotKey) -> Result<Self, YubiKeyError> {
        let card = connection.name();
        let algorithm = key.algorithm;
        let unusable = |card| YubiKeyError::Unusable {
            slot,
            card,
            algorithm,
        };
        if matches!(
            algorithm,
            Algorithm::Rsa1024 | Algorithm::Ed25519 | Algorithm::X25519 | Algorithm::Other(_)
        ) {
            return Err(unusable(card));
        }
        let Some(public) = key.public else {
            return Err(YubiKeyError::NoPublicKey { slot, card });
        };
        let key_spec = public.key_spec();
        let Some(key_spec) = key_spec.filter(|spec| Algorithm::of(*spec) == Some(algorithm)) else {
            return Err(unusable(card));
        };
        Ok(Self {
            connection,
            slot,
            key_spec,
            algorithm,
            public,
            pin_policy: key.pin,
            touch: key.touch,
        })
    }

    /// Gets the PIN and tries it, once. Gives it back if it will be needed again.
    fn log_in(
        &self,
        source: Option<&PinSource>,
        context: &Context<'_>,
    ) -> Result<Option<Arc<Secret>>, Error> {
        if self.pin_policy == PinPolicy::Never {
            return Ok(None);
        }
        let card = self.connection.name();
        let tries = self.check_secrets(context)?;
        let question = format!("PIN of {card} ({tries} tries left)");
        let pin = context.pin(source.unwrap_or(&PinSource::Prompt), &question)?;
        let length = pin.expose().len();
        if !(6..=8).contains(&length) {
            return Err(YubiKeyError::PinLength { card, length }.into());
        }
        let pin = Arc::new(pin);
        let tried = Arc::clone(&pin);
        let outcome = self.connection.run(move |piv| piv.verify(tried.expose()))?;
        let outcome =
            outcome.map_err(|source| YubiKeyError::card("login to", card.clone(), source))?;
        self.accept(outcome)?;
        Ok(Some(pin).filter(|_| self.pin_policy == PinPolicy::Always))
    }

    /// Refuses PINs that are blocked, about to be, or known to everybody; gives the tries left.
    fn check_secrets(&self, context: &Context<'_>) -> Result<u8, YubiKeyError> {
        let card = self.connection.name();
        let failed = |source| YubiKeyError::card("reading the state of", card.clone(), source);
        let states = self.connection.run(|piv| Ok((piv.pin()?, piv.puk()?)))?;
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
                "{card} can't tell whether its PIN and PUK are still those it came with (123456 and \
                 12345678)"
            );
            context.notice(&warning, None);
        }
        Ok(pin.tries)
    }

    fn accept(&self, outcome: Verified) -> Result<(), YubiKeyError> {
        let card = self.connection.name();
        match outcome {
            Verified::Right => Ok(()),
            Verified::Wrong { tries } => Err(YubiKeyError::WrongPin { card, tries }),
            Verified::Blocked => Err(YubiKeyError::PinBlocked { card }),
        }
    }

    /// What the card signs: the digest itself for elliptic curves, an encoded block for RSA.
    fn input(&self, digest: &[u8]) -> Result<Vec<u8>, Error> {
        if !self.key_spec.is_rsa() {
            return Ok(digest.to_vec());
        }
        let mut salt = vec![0; digest.len()];
        aws_lc_rs::rand::fill(&mut salt)
            .map_err(|_| Error::other("this machine gives no random numbers"))?;
        let hash = self.key_spec.hash();
        pss::encode(hash, self.key_spec.signature_len(), digest, &salt)
            .ok_or_else(|| Error::other("the digest can't be encoded for this key"))
    }

    /// The signature as the contract wants it, if it is one of this key over this digest.
    fn checked(&self, digest: &[u8], answer: Vec<u8>) -> Result<Vec<u8>, YubiKeyError> {
        let wrong = || YubiKeyError::WrongSignature {
            slot: self.slot,
            card: self.connection.name(),
        };
        let signature = match self.key_spec.is_rsa() {
            true => answer,
            false => ecdsa::from_der(self.key_spec, &answer).ok_or_else(wrong)?,
        };
        let (algorithm, hash) = verification(self.key_spec).ok_or_else(wrong)?;
        let digest = Digest::import_less_safe(digest, hash).map_err(|_| wrong())?;
        let public = self.public.to_spki_der().map_err(|_| wrong())?;
        UnparsedPublicKey::new(algorithm, public)
            .verify_digest(&digest, &signature)
            .map_err(|_| wrong())?;
        Ok(signature)
    }

    /// How long the card may be silent before it is taken to wait for a touch: twice what a
    /// signature of that kind usually takes.
    fn patience(&self) -> Duration {
        let usual = match self.key_spec {
            KeySpec::Ec256 => 70,
            KeySpec::Ec384 => 150,
            KeySpec::Rsa2048 => 180,
            KeySpec::Rsa3072 => 500,
            _ => 1000,
        };
        SILENCE.max(Duration::from_millis(usual).saturating_mul(2))
    }
}

/// How a signature of that kind of key is checked.
fn verification(
    key_spec: KeySpec,
) -> Option<(
    &'static dyn VerificationAlgorithm,
    &'static aws_lc_rs::digest::Algorithm,
)> {
    let algorithm: &'static dyn VerificationAlgorithm = match key_spec {
        KeySpec::Rsa2048 => &RSA_PSS_2048_8192_SHA256,
        KeySpec::Rsa3072 => &RSA_PSS_2048_8192_SHA384,
        KeySpec::Rsa4096 => &RSA_PSS_2048_8192_SHA512,
        KeySpec::Ec256 => &ECDSA_P256_SHA256_FIXED,
        KeySpec::Ec384 => &ECDSA_P384_SHA384_FIXED,
        _ => return None,
    };
    let hash = match key_spec.hash() {
        HashAlgorithm::Sha256 => &SHA256,
        HashAlgorithm::Sha384 => &SHA384,
        HashAlgorithm::Sha512 => &SHA512,
    };
    Some((algorithm, hash))
}

/// Slots that hold keys, for messages.
fn slots_with_keys(piv: &mut Piv<'_>) -> Result<Vec<String>, CardError> {
    let mut seen = Vec::new();
    for slot in Slot::all() {
        if let Some(key) = piv.key(slot)? {
            seen.push(format!("{slot} ({})", key.algorithm));
        }
    }
    Ok(seen)
}

/// How an attempt to sign ended.
enum Signed {
    Signature(Vec<u8>),
    /// The PIN that was right when the key was opened was not taken.
    Pin(Verified),
}

impl Key for CardKey {
    fn key_spec(&self) -> KeySpec {
        self.found.key_spec
    }

    fn public_key(&self) -> Result<Vec<u8>, Error> {
        Ok(self.found.public.to_spki_der()?)
    }

    /// None where the key was not opened to sign: certificates were not looked for.
    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.chain.clone().unwrap_or_default())
    }

    fn sign_digest(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        if let Some(failure) = &*self.failure() {
            return Err(failure.clone());
        }
        let answer = match self.ask(digest, context) {
            Ok(answer) => answer,
            Err(error) => {
                let is_final = !matches!(error, YubiKeyError::NotTouched { .. });
                let error = Error::from(error);
                if is_final {
                    *self.failure() = Some(error.clone());
                }
                return Err(error);
            }
        };
        Ok(self.found.checked(digest, answer)?)
    }

    fn max_in_flight(&self) -> u32 {
        match (self.found.touch, &self.pin) {
            // The next digest is there when the card has done with this one, also while the host
            // still stores signatures.
            (TouchPolicy::Never, None) => QUEUE,
            _ => 1,
        }
    }

    fn interaction(&self) -> Interaction {
        match self.found.touch {
            TouchPolicy::Always => Interaction::Touch,
            _ => Interaction::None,
        }
    }
}

impl CardKey {
    fn failure(&self) -> MutexGuard<'_, Option<Error>> {
        // What a panic left behind is a failure like any other.
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the card sign; tells the user when it is time to touch it.
    fn ask(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, YubiKeyError> {
        let found = &self.found;
        let card = found.connection.name();
        let (slot, algorithm) = (found.slot, found.algorithm);
        let input = found.input(digest).map_err(|error| YubiKeyError::Input {
            reason: error.to_string(),
        })?;
        let pin = self.pin.clone();
        let touch = || context.notice(&format!("Touch {card}"), Some(TOUCH));
        let mut told = found.touch == TouchPolicy::Always;
        if told {
            touch();
        }
        let start = Instant::now();
        let pending = found.connection.start(move |piv| {
            if let Some(pin) = pin {
                match piv.verify(pin.expose())? {
                    Verified::Right => {}
                    other => return Ok(Signed::Pin(other)),
                }
            }
            piv.sign(slot, algorithm, &input).map(Signed::Signature)
        });
        let outcome = match found.touch {
            TouchPolicy::Cached | TouchPolicy::Unknown => {
                match pending.wait_for(found.patience()) {
                    Ok(outcome) => outcome,
                    Err(()) => {
                        touch();
                        told = true;
                        pending.wait()
                    }
                }
            }
            TouchPolicy::Never | TouchPolicy::Always => pending.wait(),
        };
        match outcome.ok_or(YubiKeyError::Gone)? {
            Ok(Signed::Signature(signature)) => Ok(signature),
            Ok(Signed::Pin(outcome)) => {
                found.accept(outcome)?;
                Err(YubiKeyError::Gone)
            }
            Err(error) if error.status() == Some(status::SECURITY) => match told {
                true if start.elapsed() >= SILENCE => Err(YubiKeyError::NotTouched { card }),
                _ => Err(YubiKeyError::PinForgotten { card }),
            },
            Err(source) => Err(YubiKeyError::card("signing with", card, source)),
        }
    }
}
