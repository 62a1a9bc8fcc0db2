//! The commands of the PIV application (NIST SP 800-73-4, part 2) and of Yubico's extensions, as
//! far as signing needs them: one APDU each, short ones, chained in both directions.

use std::io::Read as _;

use flate2::read::GzDecoder;
use hardsign_plugin::chain::{self, PublicKey};
use zeroize::Zeroizing;

use crate::attestation;
use crate::slot::{Algorithm, PinPolicy, Slot, TouchPolicy};
use crate::tlv::{self, tlv};

/// The longest answer; data objects hold 3 KiB.
const MAX_ANSWER: usize = 16 << 10;

/// Data of one short APDU.
const MAX_DATA: usize = 255;

const PIV: [u8; 5] = [0xa0, 0x00, 0x00, 0x03, 0x08];
const OTP: [u8; 7] = [0xa0, 0x00, 0x00, 0x05, 0x27, 0x20, 0x01];

const SELECT: u8 = 0xa4;
const VERIFY: u8 = 0x20;
const CHANGE_REFERENCE: u8 = 0x24;
const GENERAL_AUTHENTICATE: u8 = 0x87;
const GET_RESPONSE: u8 = 0xc0;
const GET_DATA: u8 = 0xcb;
const GET_METADATA: u8 = 0xf7;
const GET_SERIAL: u8 = 0xf8;
const ATTEST: u8 = 0xf9;
const GET_VERSION: u8 = 0xfd;

/// Key references that are not slots.
const PIN: u8 = 0x80;
const PUK: u8 = 0x81;

/// The way to a card: a command in, the answer with its status word out.
pub(crate) trait Wire {
    /// Sends one APDU.
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, pcsc::Error>;
}

/// The data object with the certificate of the attestation key (slot F9).
const ATTESTATION_CERTIFICATE: [u8; 3] = [0x5f, 0xff, 0x01];

pub(crate) mod manage;

/// Why a command gave nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum CardError {
    /// The command did not reach the card, or its answer did not come back.
    #[error("{0}")]
    Lost(pcsc::Error),
    /// The card refused.
    #[error("the card answered {command} with status {status:04x}")]
    Status { command: &'static str, status: u16 },
    /// The answer is not what the command gives.
    #[error("the card gave a malformed answer to {command}")]
    Malformed { command: &'static str },
}

impl CardError {
    /// The status word, if the card refused.
    pub(crate) const fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// SP 800-73-4, part 2, table 2, and what Yubico uses.
pub(crate) mod status {
    pub(crate) const SECURITY: u16 = 0x6982;
    pub(crate) const BLOCKED: u16 = 0x6983;
    pub(crate) const CONDITIONS: u16 = 0x6985;
    pub(crate) const WRONG_DATA: u16 = 0x6a80;
    pub(crate) const NOT_FOUND: u16 = 0x6a82;
    pub(crate) const NO_SUCH_KEY: u16 = 0x6a88;
}

type Answer<T> = Result<T, CardError>;

/// Firmware version.
pub(crate) type Version = [u8; 3];

/// A card with the PIV application selected.
pub(crate) struct Piv<'w> {
    wire: &'w mut dyn Wire,
    version: Version,
}

/// What the card says of the PIN or PUK.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct SecretState {
    /// Tries before it is blocked.
    pub(crate) tries: u8,
    /// Whether it is the factory's; `None` below firmware 5.3.
    pub(crate) is_factory: Option<bool>,
}

/// Which secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reference {
    Pin,
    Puk,
}

/// How a VERIFY ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verified {
    Right,
    Wrong { tries: u8 },
    Blocked,
}

/// What is known of the key in a slot.
#[derive(Clone, Debug)]
pub(crate) struct SlotKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) public: Option<PublicKey>,
    pub(crate) pin: PinPolicy,
    pub(crate) touch: TouchPolicy,
    /// Where the key was made, if the card tells.
    pub(crate) origin: Option<&'static str>,
}

/// Who a card is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    pub(crate) version: Version,
    /// Absent where the card does not tell.
    pub(crate) serial: Option<u32>,
}

impl<'w> Piv<'w> {
    /// Selects the application and asks the card who it is. `None`: not a YubiKey.
    pub(crate) fn select(wire: &'w mut dyn Wire) -> Answer<Option<(Self, Identity)>> {
        if !select(wire, &PIV)? {
            return Ok(None);
        }
        let Ok(version) = exchange(wire, "GET VERSION", [0, GET_VERSION, 0, 0], &[]) else {
            return Ok(None);
        };
        let Ok(version) = Version::try_from(&version[..]) else {
            return Ok(None);
        };
        let serial = if version >= [5, 0, 0] {
            exchange(wire, "GET SERIAL", [0, GET_SERIAL, 0, 0], &[]).ok()
        } else if select(wire, &OTP)? {
            // Below 5.0 only the OTP application tells.
            let serial = exchange(wire, "GET SERIAL", [0, 1, 0x10, 0], &[]).ok();
            if !select(wire, &PIV)? {
                return Ok(None);
            }
            serial
        } else if select(wire, &PIV)? {
            None
        } else {
            return Ok(None);
        };
        let serial = serial.and_then(|serial| serial.try_into().ok());
        let identity = Identity {
            version,
            serial: serial.map(u32::from_be_bytes),
        };
        Ok(Some((Self { wire, version }, identity)))
    }

    /// State of the PIN, without disturbing anything.
    pub(crate) fn pin(&mut self) -> Answer<SecretState> {
        if let Some(state) = self.secret(PIN)? {
            return Ok(state);
        }
        // Below 5.3: a VERIFY without a PIN tells the tries (SP 800-73-4, part 2, §3.2.1).
        let asked = self.command("VERIFY", [0, VERIFY, 0, PIN], &[]);
        let tries = match asked.map_err(|error| (error.status(), error)) {
            Err((Some(status), _)) if status & 0xfff0 == 0x63c0 => tries(status),
            Err((Some(status::BLOCKED), _)) => 0,
            Err((_, error)) => return Err(error),
            Ok(_) => return Err(CardError::Malformed { command: "VERIFY" }),
        };
        Ok(SecretState {
            tries,
            is_factory: None,
        })
    }

    /// State of the PUK; `None` below firmware 5.3.
    pub(crate) fn puk(&mut self) -> Answer<Option<SecretState>> {
        self.secret(PUK)
    }

    fn secret(&mut self, reference: u8) -> Answer<Option<SecretState>> {
        if !self.has_metadata() {
            return Ok(None);
        }
        let command = "GET METADATA";
        let answer = self.command(command, [0, GET_METADATA, 0, reference], &[])?;
        match (tlv::find(&answer, 5), tlv::find(&answer, 6)) {
            (Some([is_factory]), Some([_, tries])) => Ok(Some(SecretState {
                tries: *tries,
                is_factory: Some(*is_factory == 1),
            })),
            _ => Err(CardError::Malformed { command }),
        }
    }

    /// One attempt at the PIN, which has at most eight bytes.
    pub(crate) fn verify(&mut self, pin: &[u8]) -> Answer<Verified> {
        let padded = padded(pin);
        verdict(self.command("VERIFY", [0, VERIFY, 0, PIN], padded.as_slice()))
    }

    /// Gives the PIN or PUK another value; one attempt at the old one. Both have at most eight bytes.
    pub(crate) fn change(&mut self, what: Reference, old: &[u8], new: &[u8]) -> Answer<Verified> {
        let reference = match what {
            Reference::Pin => PIN,
            Reference::Puk => PUK,
        };
        let (old, new) = (padded(old), padded(new));
        let mut data = Zeroizing::new([0_u8; 16]);
        for (place, byte) in data.iter_mut().zip(old.iter().chain(new.iter())) {
            *place = *byte;
        }
        let header = [0, CHANGE_REFERENCE, 0, reference];
        verdict(self.command("CHANGE REFERENCE DATA", header, data.as_slice()))
    }

    /// The key of a slot; `None` if there is none, or if a card below 5.3 tells nothing of it.
    pub(crate) fn key(&mut self, slot: Slot) -> Answer<Option<SlotKey>> {
        if self.has_metadata() {
            return self.key_metadata(slot);
        }
        // Older cards tell of a key they made by attesting it, of others by their certificate alone.
        if let Some(statement) = self.attest(slot)? {
            let policies = attestation::policies(&statement);
            let (pin, touch) = policies.unwrap_or((0, 0));
            let key = key_of_certificate(&statement, slot, pin, touch);
            return Ok(key.map(|key| SlotKey {
                origin: Some("made on the device"),
                ..key
            }));
        }
        let certificate = self.certificate(slot)?;
        Ok(certificate.and_then(|der| key_of_certificate(&der, slot, 0, 0)))
    }

    fn key_metadata(&mut self, slot: Slot) -> Answer<Option<SlotKey>> {
        let command = "GET METADATA";
        let answer = self.command(command, [0, GET_METADATA, 0, slot.reference()], &[]);
        let answer = match answer {
            Err(error)
                if matches!(
                    error.status(),
                    Some(status::NO_SUCH_KEY | status::NOT_FOUND)
                ) =>
            {
                return Ok(None);
            }
            other => other?,
        };
        let (Some(&[algorithm]), Some(&[pin, touch])) =
            (tlv::find(&answer, 1), tlv::find(&answer, 2))
        else {
            return Err(CardError::Malformed { command });
        };
        let algorithm = Algorithm::from(algorithm);
        let public = tlv::find(&answer, 4).and_then(|template| algorithm.public_key(template));
        Ok(Some(SlotKey {
            algorithm,
            public,
            pin: PinPolicy::read(pin).unwrap_or(slot.default_pin_policy()),
            touch: TouchPolicy::read(touch),
            origin: match tlv::find(&answer, 3) {
                Some([1]) => Some("made on the device"),
                Some([2]) => Some("imported"),
                _ => None,
            },
        }))
    }

    /// The certificate that stands in a slot, in DER.
    pub(crate) fn certificate(&mut self, slot: Slot) -> Answer<Option<Vec<u8>>> {
        self.certificate_object(slot.certificate_object())
    }

    /// The certificate of the key that the card's statements are signed with, in DER.
    pub(crate) fn attestation_certificate(&mut self) -> Answer<Option<Vec<u8>>> {
        self.certificate_object(ATTESTATION_CERTIFICATE)
    }

    fn certificate_object(&mut self, object: [u8; 3]) -> Answer<Option<Vec<u8>>> {
        let command = "GET DATA";
        let wanted = tlv(0x5c, &object);
        let answer = match self.command(command, [0, GET_DATA, 0x3f, 0xff], &wanted) {
            Err(error) if error.status() == Some(status::NOT_FOUND) => return Ok(None),
            other => other?,
        };
        let malformed = CardError::Malformed { command };
        let object = tlv::find(&answer, 0x53).ok_or(malformed)?;
        // An object that was emptied is as good as none.
        let Some(certificate) = tlv::find(object, 0x70).filter(|der| !der.is_empty()) else {
            return Ok(None);
        };
        match tlv::find(object, 0x71) {
            Some([info]) if info & 1 == 1 => inflate(certificate).map(Some).ok_or(malformed),
            _ => Ok(Some(certificate.to_vec())),
        }
    }

    /// The card's statement on a key that it made: a certificate in DER. `None` for a key that was
    /// imported, an empty slot, and cards that can't attest.
    pub(crate) fn attest(&mut self, slot: Slot) -> Answer<Option<Vec<u8>>> {
        match self.command("ATTEST", [0, ATTEST, slot.reference(), 0], &[]) {
            Ok(statement) => Ok(Some(statement)),
            Err(CardError::Status { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Signs: `input` is a digest for an elliptic curve, a whole encoded block for RSA. Gives the
    /// number of RSA, or the DER of ECDSA.
    pub(crate) fn sign(
        &mut self,
        slot: Slot,
        algorithm: Algorithm,
        input: &[u8],
    ) -> Answer<Vec<u8>> {
        let command = "GENERAL AUTHENTICATE";
        let template = [tlv(0x82, &[]), tlv(0x81, input)].concat();
        let header = [
            0,
            GENERAL_AUTHENTICATE,
            algorithm.number(),
            slot.reference(),
        ];
        let answer = self.command(command, header, &tlv(0x7c, &template))?;
        let signature = tlv::find(&answer, 0x7c).and_then(|found| tlv::find(found, 0x82));
        signature
            .map(<[u8]>::to_vec)
            .ok_or(CardError::Malformed { command })
    }

    fn has_metadata(&self) -> bool {
        self.version >= [5, 3, 0]
    }

    fn command(&mut self, name: &'static str, header: [u8; 4], data: &[u8]) -> Answer<Vec<u8>> {
        exchange(self.wire, name, header, data)
    }
}

/// A PIN or PUK, filled up.
fn padded(secret: &[u8]) -> Zeroizing<[u8; 8]> {
    let mut padded = Zeroizing::new([0xff_u8; 8]);
    for (place, byte) in padded.iter_mut().zip(secret) {
        *place = *byte;
    }
    padded
}

/// How an attempt at a PIN or PUK ended.
fn verdict(answer: Answer<Vec<u8>>) -> Answer<Verified> {
    match answer {
        Ok(_) => Ok(Verified::Right),
        Err(error) => match error.status() {
            Some(status::BLOCKED) => Ok(Verified::Blocked),
            Some(status) if status & 0xfff0 == 0x63c0 => Ok(match tries(status) {
                0 => Verified::Blocked,
                tries => Verified::Wrong { tries },
            }),
            _ => Err(error),
        },
    }
}

/// The tries in 63Cx.
fn tries(status: u16) -> u8 {
    let [_, low] = status.to_be_bytes();
    low & 0x0f
}

fn key_of_certificate(der: &[u8], slot: Slot, pin: u8, touch: u8) -> Option<SlotKey> {
    let public = chain::public_key(der).ok()?;
    let algorithm = public.key_spec().and_then(Algorithm::of)?;
    Some(SlotKey {
        algorithm,
        public: Some(public),
        pin: PinPolicy::read(pin).unwrap_or(slot.default_pin_policy()),
        touch: TouchPolicy::read(touch),
        origin: None,
    })
}

/// Selects an application; `false` if the card does not have it.
fn select(wire: &mut dyn Wire, application: &[u8]) -> Answer<bool> {
    match exchange(wire, "SELECT", [0, SELECT, 4, 0], application) {
        Ok(_) => Ok(true),
        Err(CardError::Status { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends a command, in pieces if it is long, and collects the answer, which may come in pieces.
fn exchange(
    wire: &mut dyn Wire,
    command: &'static str,
    [class, instruction, p1, p2]: [u8; 4],
    data: &[u8],
) -> Answer<Vec<u8>> {
    let mut pieces = data.chunks(MAX_DATA).peekable();
    let mut next = pieces.next().unwrap_or_default();
    let mut answer = loop {
        let class = if pieces.peek().is_some() {
            class | 0x10
        } else {
            class
        };
        // Holds the PIN once.
        let mut apdu = Zeroizing::new(Vec::with_capacity(MAX_DATA.saturating_add(6)));
        apdu.extend([class, instruction, p1, p2]);
        if let (Ok(length @ 1..), piece) = (u8::try_from(next.len()), next) {
            apdu.push(length);
            apdu.extend_from_slice(piece);
        }
        let last = pieces.peek().is_none();
        if last && !matches!(instruction, VERIFY | CHANGE_REFERENCE) {
            apdu.push(0);
        }
        let answer = wire.transmit(&apdu).map_err(CardError::Lost)?;
        match pieces.next() {
            None => break answer,
            Some(piece) if answer == [0x90, 0] => next = piece,
            Some(_) => return Err(refused(command, &answer)),
        }
    };
    let mut collected = Vec::new();
    loop {
        let Some((data, [high, low])) = answer.split_last_chunk::<2>() else {
            return Err(CardError::Malformed { command });
        };
        collected.extend_from_slice(data);
        if collected.len() > MAX_ANSWER {
            return Err(CardError::Malformed { command });
        }
        match (*high, *low) {
            (0x90, 0) => return Ok(collected),
            // More is there only if something came.
            (0x61, more) if !data.is_empty() || collected.is_empty() => {
                let apdu = [0, GET_RESPONSE, 0, 0, more];
                answer = wire.transmit(&apdu).map_err(CardError::Lost)?;
                if answer.len() <= 2 && answer.first() == Some(&0x61) {
                    return Err(CardError::Malformed { command });
                }
            }
            _ => return Err(refused(command, &answer)),
        }
    }
}

fn refused(command: &'static str, answer: &[u8]) -> CardError {
    match answer.last_chunk() {
        Some(status) => CardError::Status {
            command,
            status: u16::from_be_bytes(*status),
        },
        None => CardError::Malformed { command },
    }
}

/// A certificate that was stored compressed.
fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut der = Vec::new();
    let limit = u64::try_from(MAX_ANSWER).ok()?;
    GzDecoder::new(bytes)
        .take(limit)
        .read_to_end(&mut der)
        .ok()?;
    Some(der)
}

#[cfg(test)]
mod tests;
