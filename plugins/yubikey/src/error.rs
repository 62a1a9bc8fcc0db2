//! What can go wrong between this plugin and a YubiKey, with the user's next step.

use hardsign_plugin::Error;
use hardsign_plugin::error::ErrorCode;

use crate::piv::CardError;
use crate::slot::{Algorithm, Slot};

/// Why a key can't be used.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum YubiKeyError {
    #[error("the smart card service does not answer")]
    NoService(#[source] pcsc::Error),
    #[error("no YubiKey was found")]
    None,
    #[error("YubiKey {serial} was not found")]
    NotThisOne { serial: u32, seen: Vec<String> },
    #[error("there is more than one YubiKey: {}", seen.join(", "))]
    Many { seen: Vec<String> },
    #[error("another program is using the YubiKey")]
    Busy,
    #[error("the YubiKey can't be reached")]
    Reader(#[source] pcsc::Error),
    #[error("the YubiKey can't be opened")]
    Opening(#[source] CardError),
    #[error("the connection to the YubiKey ended")]
    Gone,
    #[error("{doing} {card} failed")]
    Card {
        doing: &'static str,
        card: String,
        source: CardError,
    },
    #[error("{card} was pulled out, or is no longer reached")]
    PulledOut { card: String, source: pcsc::Error },
    #[error("slot {slot} of {card} holds no key")]
    EmptySlot {
        slot: Slot,
        card: String,
        seen: Vec<String>,
        /// Below firmware 5.3 a key without certificate may not be seen.
        is_certain: bool,
    },
    #[error("the key in slot {slot} of {card} can't be used: it is {algorithm}{}", reason(*algorithm))]
    Unusable {
        slot: Slot,
        card: String,
        algorithm: Algorithm,
    },
    #[error("{card} does not tell the public key of slot {slot}")]
    NoPublicKey { slot: Slot, card: String },
    #[error("the PIN of {card} is blocked")]
    PinBlocked { card: String },
    #[error("{card} allows one more try of the PIN before it blocks; that try is not made here")]
    LastTry { card: String },
    #[error("{card} refused the PIN: {}", left(*tries))]
    WrongPin { card: String, tries: u8 },
    #[error("the PIN of {card} has {length} bytes; a PIN has 6 to 8, so this one was not tried")]
    PinLength { card: String, length: usize },
    #[error("{card} still has the {what} it came with, which everybody knows")]
    Factory { card: String, what: &'static str },
    #[error("PIN, PUK and management key of {card} are its own already")]
    SetUp { card: String },
    #[error("{card} did not take the new {what}")]
    NotTaken { card: String, what: &'static str },
    #[error("the new {what} {fault}; nothing was changed")]
    BadSecret {
        what: &'static str,
        fault: &'static str,
    },
    #[error("there is no terminal to show the new PUK of {card} at")]
    NowhereToShow { card: String },
    #[error("{card} keeps something else where its management key would go (printed information)")]
    InUse { card: String },
    #[error("{card} was not touched in time")]
    NotTouched { card: String },
    #[error("{card} has forgotten the PIN")]
    PinForgotten { card: String },
    #[error("{card} made a signature that does not verify with the public key of slot {slot}")]
    WrongSignature { slot: Slot, card: String },
    #[error("certificate {subject:?} in {place} does not match the key in slot {slot} of {card}")]
    Mismatch {
        subject: String,
        place: String,
        slot: Slot,
        card: String,
    },
}

fn reason(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Ed25519 | Algorithm::X25519 => ", which the Notary Project does not have",
        Algorithm::Rsa1024 => ", which is too short",
        _ => "",
    }
}

fn left(tries: u8) -> String {
    match tries {
        1 => "1 try is left".to_owned(),
        tries => format!("{tries} tries are left"),
    }
}

impl YubiKeyError {
    /// A command of the card that failed.
    pub(crate) fn card(doing: &'static str, card: String, source: CardError) -> Self {
        match source {
            CardError::Lost(source) => Self::PulledOut { card, source },
            source => Self::Card {
                doing,
                card,
                source,
            },
        }
    }
}

impl From<YubiKeyError> for Error {
    fn from(error: YubiKeyError) -> Self {
        let answer = Self::from_error(code(&error), &error);
        match hint(&error) {
            Some(hint) => answer.with_hint(hint),
            None => answer,
        }
    }
}

fn code(error: &YubiKeyError) -> ErrorCode {
    match error {
        YubiKeyError::PinBlocked { .. }
        | YubiKeyError::LastTry { .. }
        | YubiKeyError::WrongPin { .. }
        | YubiKeyError::PinLength { .. }
        | YubiKeyError::PinForgotten { .. }
        | YubiKeyError::Factory { .. } => ErrorCode::AccessDenied,
        YubiKeyError::NotTouched { .. } => ErrorCode::Timeout,
        YubiKeyError::SetUp { .. }
        | YubiKeyError::NotTaken { .. }
        | YubiKeyError::BadSecret { .. }
        | YubiKeyError::NowhereToShow { .. }
        | YubiKeyError::InUse { .. }
        | YubiKeyError::NotThisOne { .. }
        | YubiKeyError::Many { .. }
        | YubiKeyError::EmptySlot { .. }
        | YubiKeyError::Unusable { .. }
        | YubiKeyError::Mismatch { .. } => ErrorCode::ValidationError,
        _ => ErrorCode::Error,
    }
}

fn hint(error: &YubiKeyError) -> Option<String> {
    let text = match error {
        YubiKeyError::NoService(_) if cfg!(target_os = "linux") => {
            "install and start pcscd: apt install pcscd, then systemctl enable --now pcscd.socket"
        }
        YubiKeyError::NoService(_) if cfg!(windows) => {
            "start the service \"Smart Card\" (SCardSvr)"
        }
        YubiKeyError::NoService(_) => "plug in the YubiKey and try again",
        YubiKeyError::Reader(pcsc::Error::SecurityViolation) => {
            "pcscd does not let this user reach it; polkit's rule for \
             org.debian.pcsc-lite.access_pcsc decides"
        }
        YubiKeyError::None => {
            "plug it in; if it is, check that its CCID interface is on (ykman config usb --list), \
             and that pcscd can reach it (a container or virtual machine must be given the device)"
        }
        YubiKeyError::NotThisOne { seen, .. } if seen.is_empty() => "plug it in",
        YubiKeyError::NotThisOne { seen, .. } => {
            return Some(format!("found: {}", seen.join(", ")));
        }
        YubiKeyError::Many { .. } => {
            "name one by the number printed on it: yubikey:serial=NUMBER;slot=9c"
        }
        YubiKeyError::Busy => "end the other program; if it is GnuPG: gpgconf --kill scdaemon",
        YubiKeyError::PulledOut { .. } => {
            "plug it in and run the command again; signatures that were made are kept"
        }
        YubiKeyError::EmptySlot {
            seen, is_certain, ..
        } => {
            return Some(match (seen.is_empty(), is_certain) {
                (false, _) => format!("slots with keys: {}", seen.join(", ")),
                (true, true) => "the YubiKey holds no keys for signing".to_owned(),
                (true, false) => "an imported key is seen by its certificate only: store that in \
                                  the slot"
                    .to_owned(),
            });
        }
        YubiKeyError::Unusable { .. } => {
            "use an RSA key with 2048, 3072 or 4096 bits, or an EC key on P-256 or P-384"
        }
        YubiKeyError::NoPublicKey { .. } => "store the key's certificate in the slot",
        YubiKeyError::PinBlocked { .. } => "unblock it with the PUK: ykman piv access unblock-pin",
        YubiKeyError::LastTry { .. } => {
            "use the right PIN once with Yubico's tool, which sets the count back: \
             ykman piv access change-pin"
        }
        YubiKeyError::WrongPin { tries: 1, .. } => {
            "no further try is made here; check the PIN with Yubico's tool: \
             ykman piv access change-pin"
        }
        YubiKeyError::WrongPin { .. } => "check the PIN and its source",
        YubiKeyError::Factory { what, .. } => match *what {
            "PUK" => "set it up: hardsign token setup (or: ykman piv access change-puk)",
            "management key" => {
                "set it up: hardsign token setup (or: ykman piv access change-management-key --generate --protect)"
            }
            _ => "set it up: hardsign token setup (or: ykman piv access change-pin)",
        },
        YubiKeyError::SetUp { .. } => {
            "nothing needs to be done; change them with Yubico's tool: ykman piv access"
        }
        YubiKeyError::NotTaken { .. } => {
            "choose another with 6 to 8 letters or digits, no row of equal ones or of neighbours"
        }
        YubiKeyError::BadSecret { .. } => "choose another with 6 to 8 letters or digits",
        YubiKeyError::NowhereToShow { .. } => {
            "run it in a terminal, or name a PUK: puk-source=env:NAME or file:/path"
        }
        YubiKeyError::InUse { .. } => {
            "name the management key with management-key=env:NAME or file:/path when it is needed"
        }
        YubiKeyError::NotTouched { .. } => {
            "touch it when it blinks, within 15 seconds; then run the command again"
        }
        YubiKeyError::PinForgotten { .. } => {
            "another program may have reset it; run the command again"
        }
        YubiKeyError::Mismatch { .. } => {
            "store the certificate that was issued for this key, or name its file with cert-chain"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pin_failures_are_never_retried() {
        let card = || "YubiKey 1".to_owned();
        for error in [
            YubiKeyError::WrongPin {
                card: card(),
                tries: 2,
            },
            YubiKeyError::LastTry { card: card() },
            YubiKeyError::PinBlocked { card: card() },
            YubiKeyError::Factory {
                card: card(),
                what: "PIN",
            },
        ] {
            let error = Error::from(error);
            assert_eq!(error.code(), &ErrorCode::AccessDenied);
            assert!(error.hint().is_some());
        }
    }
}
