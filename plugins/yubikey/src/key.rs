//! A key of a card, opened: found, logged in, with its certificate chain.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Digest, SHA256, SHA384, SHA512};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin::proto::{Interaction, Property, Purpose, Token};
use hardsign_plugin::secret::{PinSource, Secret};
use hardsign_plugin::{Context, Error, Key, KeyRequest, ecdsa, pss};

use crate::certificates::Wanted;
use crate::config::Config;
use crate::error::YubiKeyError;
use crate::login;
use crate::piv::{CardError, Piv, SlotKey, Verified, status};
use crate::reader::token;
use crate::shared::{Card, Shared};
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
    /// Empty if there is none and the key was not opened to sign.
    chain: Vec<Vec<u8>>,
    /// The PIN, for a key that wants it before each signature.
    pin: Option<Arc<Secret>>,
    /// A failure after which nothing is sent to the card any more.
    failure: Mutex<Option<Error>>,
}

/// A key that was found in its slot.
struct Found {
    connection: Arc<Card>,
    slot: Slot,
    key_spec: KeySpec,
    algorithm: Algorithm,
    public: PublicKey,
    pin_policy: PinPolicy,
    touch: TouchPolicy,
    /// Where the key was made, if the card tells.
    origin: Option<&'static str>,
}

impl CardKey {
    pub(crate) fn open(
        request: &KeyRequest<'_>,
        shared: &Shared,
        context: &Context<'_>,
    ) -> Result<Self, Error> {
        let config = Config::read(request.key_id, request.config)?;
        let found = Found::find(&config, shared, context)?;
        let mut key = Self {
            found,
            chain: Vec::new(),
            pin: None,
            failure: Mutex::new(None),
        };
        let wanted = Wanted {
            connection: &key.found.connection,
            slot: key.found.slot,
            public: &key.found.public,
            file: config.cert_chain.as_deref(),
        };
        // The chain first: without one, no PIN is asked for.
        key.chain = match request.purpose {
            Purpose::Sign => wanted.chain()?,
            Purpose::Describe | Purpose::Certify => wanted.any_chain(),
        };
        if request.purpose != Purpose::Describe {
            key.pin = key.found.log_in(config.pin_source.as_ref(), context)?;
        }
        if request.purpose == Purpose::Sign && key.pin.is_none() {
            // Nothing but signatures will follow.
            key.found.connection.forget_pin();
        }
        Ok(key)
    }
}

impl Found {
    fn find(config: &Config, shared: &Shared, context: &Context<'_>) -> Result<Self, Error> {
        let slot = config.slot()?;
        let connection = shared.card(config.serial, context)?;
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

    fn usable(connection: Arc<Card>, slot: Slot, key: SlotKey) -> Result<Self, YubiKeyError> {
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
            origin: key.origin,
        })
    }

    /// Logs in, if the key wants a PIN. Gives it back if it will be needed again.
    fn log_in(
        &self,
        source: Option<&PinSource>,
        context: &Context<'_>,
    ) -> Result<Option<Arc<Secret>>, Error> {
        if self.pin_policy == PinPolicy::Never {
            return Ok(None);
        }
        let pin = login::log_in(&self.connection, source, context)?;
        Ok(Some(pin).filter(|_| self.pin_policy == PinPolicy::Always))
    }

    /// What the card signs: the digest itself for elliptic curves, an encoded block for RSA.
    fn input(&self, padding: Padding, digest: &[u8]) -> Result<Vec<u8>, Error> {
        if !self.key_spec.is_rsa() {
            return Ok(digest.to_vec());
        }
        if padding == Padding::Pkcs1v15 {
            return pkcs1v15(self.key_spec, digest)
                .ok_or_else(|| Error::other("the digest can't be encoded for this key"));
        }
        let mut salt = vec![0; digest.len()];
        aws_lc_rs::rand::fill(&mut salt)
            .map_err(|_| Error::other("this machine gives no random numbers"))?;
        let hash = self.key_spec.hash();
        pss::encode(hash, self.key_spec.signature_len(), digest, &salt)
            .ok_or_else(|| Error::other("the digest can't be encoded for this key"))
    }

    /// The signature as the contract wants it, if it is one of this key over this digest.
    fn checked(
        &self,
        padding: Padding,
        digest: &[u8],
        answer: Vec<u8>,
    ) -> Result<Vec<u8>, YubiKeyError> {
        let wrong = || YubiKeyError::WrongSignature {
            slot: self.slot,
            card: self.connection.name(),
        };
        let signature = match self.key_spec.is_rsa() {
            true => answer,
            false => ecdsa::from_der(self.key_spec, &answer).ok_or_else(wrong)?,
        };
        let (algorithm, hash) = verification(self.key_spec, padding).ok_or_else(wrong)?;
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
    padding: Padding,
) -> Option<(
    &'static dyn VerificationAlgorithm,
    &'static aws_lc_rs::digest::Algorithm,
)> {
    let algorithm: &'static dyn VerificationAlgorithm = match (key_spec, padding) {
        (KeySpec::Rsa2048, Padding::Pss) => &RSA_PSS_2048_8192_SHA256,
        (KeySpec::Rsa3072, Padding::Pss) => &RSA_PSS_2048_8192_SHA384,
        (KeySpec::Rsa4096, Padding::Pss) => &RSA_PSS_2048_8192_SHA512,
        (KeySpec::Rsa2048, Padding::Pkcs1v15) => &RSA_PKCS1_2048_8192_SHA256,
        (KeySpec::Rsa3072, Padding::Pkcs1v15) => &RSA_PKCS1_2048_8192_SHA384,
        (KeySpec::Rsa4096, Padding::Pkcs1v15) => &RSA_PKCS1_2048_8192_SHA512,
        (KeySpec::Ec256, _) => &ECDSA_P256_SHA256_FIXED,
        (KeySpec::Ec384, _) => &ECDSA_P384_SHA384_FIXED,
        _ => return None,
    };
    let hash = match key_spec.hash() {
        HashAlgorithm::Sha256 => &SHA256,
        HashAlgorithm::Sha384 => &SHA384,
        HashAlgorithm::Sha512 => &SHA512,
    };
    Some((algorithm, hash))
}

/// EMSA-PKCS1-v1_5 (RFC 8017 §9.2).
fn pkcs1v15(key_spec: KeySpec, digest: &[u8]) -> Option<Vec<u8>> {
    // DigestInfo in DER, of which only the last arc of the hash's name and two lengths differ.
    let arc = match key_spec.hash() {
        HashAlgorithm::Sha256 => 1,
        HashAlgorithm::Sha384 => 2,
        HashAlgorithm::Sha512 => 3,
    };
    let length = u8::try_from(digest.len()).ok()?;
    let name = [0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, arc];
    let mut info = vec![0x30, length.checked_add(17)?, 0x30, 13];
    info.extend(name);
    info.extend([0x05, 0, 0x04, length]);
    info.extend_from_slice(digest);
    let filler = key_spec
        .signature_len()
        .checked_sub(info.len())?
        .checked_sub(3)?;
    let mut block = vec![0, 1];
    block.resize(filler.checked_add(2)?, 0xff);
    block.push(0);
    block.extend(info);
    Some(block)
}

/// How an RSA key pads a digest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Padding {
    Pss,
    Pkcs1v15,
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

    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.chain.clone())
    }

    fn properties(&self) -> Vec<Property> {
        let found = &self.found;
        let pin = match found.pin_policy {
            PinPolicy::Never => "never",
            PinPolicy::Once => "once",
            PinPolicy::Always => "always",
        };
        let touch = match found.touch {
            TouchPolicy::Never => "never",
            TouchPolicy::Always => "always",
            TouchPolicy::Cached => "cached",
            TouchPolicy::Unknown => "unknown",
        };
        let [major, minor, patch] = found.connection.identity().version;
        let mut properties = vec![
            Property::new("slot", found.slot.to_string()),
            Property::new("firmware", format!("{major}.{minor}.{patch}")),
            Property::new("PIN policy", pin),
            Property::new("touch policy", touch),
        ];
        if let Some(origin) = found.origin {
            properties.push(Property::new("origin", origin));
        }
        properties
    }

    fn token(&self) -> Option<Token> {
        Some(token(self.found.connection.identity()))
    }

    fn signs_pkcs1v15(&self) -> bool {
        self.found.key_spec.is_rsa()
    }

    fn keeps_one_chain(&self) -> bool {
        true
    }

    fn sign_digest(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        self.sign(Padding::Pss, digest, context)
    }

    fn sign_digest_pkcs1v15(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        self.sign(Padding::Pkcs1v15, digest, context)
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

    fn sign(
        &self,
        padding: Padding,
        digest: &[u8],
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        if let Some(failure) = &*self.failure() {
            return Err(failure.clone());
        }
        let input = self.found.input(padding, digest)?;
        let answer = match self.ask(input, context) {
            Ok(answer) => answer,
            Err(error) => {
                // Nobody who did not touch the card once is waited for again.
                let error = Error::from(error);
                *self.failure() = Some(error.clone());
                return Err(error);
            }
        };
        Ok(self.found.checked(padding, digest, answer)?)
    }

    /// Has the card sign; tells the user when it is time to touch it.
    fn ask(&self, input: Vec<u8>, context: &Context<'_>) -> Result<Vec<u8>, YubiKeyError> {
        let found = &self.found;
        let card = found.connection.name();
        let (slot, algorithm) = (found.slot, found.algorithm);
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
                login::accept(&found.connection, outcome)?;
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
