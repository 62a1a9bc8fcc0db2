//! Slots, algorithms and policies of the PIV application (NIST SP 800-73-4, SP 800-78-4, and
//! Yubico's additions).

use std::fmt;
use std::str::FromStr;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::PublicKey;

use crate::tlv;

/// A slot that holds a key for signing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Slot(u8);

/// Not one of the slots.
#[derive(Debug, thiserror::Error)]
#[error("there is no PIV slot {text:?} for signing keys")]
pub(crate) struct NoSuchSlot {
    pub(crate) text: String,
}

impl Slot {
    /// All slots, the four of the standard first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [0x9a, 0x9c, 0x9d, 0x9e]
            .into_iter()
            .chain(0x82..=0x95)
            .map(Self)
    }

    /// The key reference.
    pub(crate) const fn reference(self) -> u8 {
        self.0
    }

    /// The data object with the slot's certificate (SP 800-73-4, part 1, table 3).
    pub(crate) const fn certificate_object(self) -> [u8; 3] {
        let last = match self.0 {
            0x9a => 0x05,
            0x9c => 0x0a,
            0x9d => 0x0b,
            0x9e => 0x01,
            retired => retired.wrapping_sub(0x82).wrapping_add(0x0d),
        };
        [0x5f, 0xc1, last]
    }

    /// The PIN policy of keys that were made without saying one.
    pub(crate) const fn default_pin_policy(self) -> PinPolicy {
        match self.0 {
            0x9c => PinPolicy::Always,
            0x9e => PinPolicy::Never,
            _ => PinPolicy::Once,
        }
    }
}

impl FromStr for Slot {
    type Err = NoSuchSlot;

    /// Two hexadecimal digits, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, NoSuchSlot> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let number = match digits.len() {
            2 if !digits.starts_with('+') => u8::from_str_radix(digits, 16).ok(),
            _ => None,
        };
        number
            .and_then(|number| Self::all().find(|slot| slot.0 == number))
            .ok_or_else(|| NoSuchSlot {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

/// Kind and size of a key, as the card numbers them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Algorithm {
    Rsa1024,
    Rsa2048,
    Rsa3072,
    Rsa4096,
    P256,
    P384,
    Ed25519,
    X25519,
    Other(u8),
}

impl From<u8> for Algorithm {
    fn from(number: u8) -> Self {
        match number {
            0x06 => Self::Rsa1024,
            0x07 => Self::Rsa2048,
            0x05 => Self::Rsa3072,
            0x16 => Self::Rsa4096,
            0x11 => Self::P256,
            0x14 => Self::P384,
            0xe0 => Self::Ed25519,
            0xe1 => Self::X25519,
            other => Self::Other(other),
        }
    }
}

impl Algorithm {
    /// The algorithm of a key spec; `None` for what PIV does not have.
    pub(crate) const fn of(key_spec: KeySpec) -> Option<Self> {
        Some(match key_spec {
            KeySpec::Rsa2048 => Self::Rsa2048,
            KeySpec::Rsa3072 => Self::Rsa3072,
            KeySpec::Rsa4096 => Self::Rsa4096,
            KeySpec::Ec256 => Self::P256,
            KeySpec::Ec384 => Self::P384,
            _ => return None,
        })
    }

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Rsa1024 => 0x06,
            Self::Rsa2048 => 0x07,
            Self::Rsa3072 => 0x05,
            Self::Rsa4096 => 0x16,
            Self::P256 => 0x11,
            Self::P384 => 0x14,
            Self::Ed25519 => 0xe0,
            Self::X25519 => 0xe1,
            Self::Other(number) => number,
        }
    }

    /// The public key in the card's template: 81 and 82 for RSA, 86 for a point.
    pub(crate) fn public_key(self, template: &[u8]) -> Option<PublicKey> {
        let parameters: &[u8] = match self {
            Self::P256 => &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
            Self::P384 => &[0x06, 5, 0x2b, 0x81, 0x04, 0, 0x22],
            Self::Rsa1024 | Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => {
                let (modulus, exponent) = (tlv::find(template, 0x81)?, tlv::find(template, 0x82)?);
                return Some(PublicKey::rsa(modulus, exponent));
            }
            _ => return None,
        };
        PublicKey::ec(parameters, tlv::find(template, 0x86)?).ok()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa1024 => f.write_str("RSA with 1024 bits"),
            Self::Rsa2048 => f.write_str("RSA with 2048 bits"),
            Self::Rsa3072 => f.write_str("RSA with 3072 bits"),
            Self::Rsa4096 => f.write_str("RSA with 4096 bits"),
            Self::P256 => f.write_str("EC on P-256"),
            Self::P384 => f.write_str("EC on P-384"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::X25519 => f.write_str("X25519"),
            Self::Other(number) => write!(f, "algorithm {number:02x}"),
        }
    }
}

/// When the card wants the PIN.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PinPolicy {
    Never,
    /// Once in a session.
    Once,
    /// Directly before each signature.
    Always,
}

impl PinPolicy {
    pub(crate) const fn read(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Never,
            // 4 and 5: the same with a fingerprint, for which the PIN can stand in.
            2 | 4 => Self::Once,
            3 | 5 => Self::Always,
            _ => return None,
        })
    }
}

/// When the card wants a touch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TouchPolicy {
    Never,
    Always,
    /// Not again within 15 seconds.
    Cached,
    /// The card doesn't say.
    Unknown,
}

impl TouchPolicy {
    pub(crate) const fn read(number: u8) -> Self {
        match number {
            1 => Self::Never,
            2 => Self::Always,
            3 => Self::Cached,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_by_name() {
        assert_eq!("9c".parse::<Slot>().unwrap(), Slot(0x9c));
        assert_eq!("0x9C".parse::<Slot>().unwrap(), Slot(0x9c));
        assert_eq!(
            "95".parse::<Slot>().unwrap().certificate_object(),
            [0x5f, 0xc1, 0x20]
        );
        assert_eq!(
            "82".parse::<Slot>().unwrap().certificate_object(),
            [0x5f, 0xc1, 0x0d]
        );
        for bad in ["", "9", "9b", "f9", "81", "96", "009c", "+9", "9c ", "sign"] {
            assert!(bad.parse::<Slot>().is_err(), "{bad:?}");
        }
        assert_eq!(Slot::all().count(), 24);
    }

    #[test]
    fn numbers_round_trip() {
        for number in 0..=0xff {
            assert_eq!(Algorithm::from(number).number(), number);
        }
    }
}
