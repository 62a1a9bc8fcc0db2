//! What a YubiKey states of itself and a key, in extensions of its own.
//!
//! ```text
//! 1.3.6.1.4.1.41482.3.3   firmware, three bare bytes
//! 1.3.6.1.4.1.41482.3.7   serial number, INTEGER; absent before firmware 5
//! 1.3.6.1.4.1.41482.3.8   PIN policy and touch policy, two bare bytes
//! 1.3.6.1.4.1.41482.3.9   form factor, a bare byte
//! 1.3.6.1.4.1.41482.3.10  FIPS, in the certificate of the attestation key alone
//! 1.3.6.1.4.1.41482.3.11  CSPN, likewise
//! ```
//!
//! The slot stands in the subject: `CN=YubiKey PIV Attestation 9c`.

use std::fmt;
use std::str::FromStr;

use der::Decode as _;
use der::asn1::{ObjectIdentifier, UintRef};

use crate::artifact::Quoted;
use crate::x509::Certificate;

/// What a device stated.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Device {
    /// The firmware that made the key.
    pub firmware: Firmware,
    /// The number printed on the device; devices before firmware 5 don't state it.
    pub serial: Option<u32>,
    /// The slot, two hexadecimal digits.
    pub slot: String,
    /// When the device wants the PIN.
    pub pin_policy: PinPolicy,
    /// When the device wants a touch.
    pub touch_policy: TouchPolicy,
    /// What the device looks like; devices before firmware 5 don't state it.
    pub form_factor: Option<FormFactor>,
    /// Whether the device is one of the FIPS series.
    pub fips: bool,
    /// Whether the device is one of the CSPN series.
    pub cspn: bool,
}

/// A version of the firmware; ordered.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Firmware([u8; 3]);

/// When a device wants the PIN before it signs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PinPolicy {
    /// Never.
    Never,
    /// Once a session.
    Once,
    /// For each signature.
    Always,
    /// A value that is not known here.
    Unknown(u8),
}

/// When a device wants a touch before it signs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TouchPolicy {
    /// Never.
    Never,
    /// For each signature.
    Always,
    /// Not again for 15 seconds.
    Cached,
    /// A value that is not known here.
    Unknown(u8),
}

/// What a device looks like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FormFactor(u8);

/// A text that names no version, PIN policy or touch policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{} is not {expected}", Quoted(text))]
#[non_exhaustive]
pub struct UnknownName {
    /// The text.
    pub text: String,
    /// What it should have been.
    pub expected: &'static str,
}

/// Why a certificate is no statement on a key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StatementFault {
    /// Its subject names no slot.
    #[error("its subject names no slot")]
    Slot,
    /// It is a CA's.
    #[error("it is a CA certificate")]
    Ca,
    /// An extension that each statement has is not there.
    #[error("it states no {what}")]
    Missing {
        /// What is missing.
        what: &'static str,
    },
    /// An extension that can't be read.
    #[error("its {what} can't be read")]
    Malformed {
        /// What can't be read.
        what: &'static str,
    },
}

impl Device {
    /// Reads a statement. Proves nothing.
    pub(super) fn read(statement: &Certificate) -> Result<Self, StatementFault> {
        if statement.is_ca() {
            return Err(StatementFault::Ca);
        }
        let name = statement.subject().common_name().unwrap_or_default();
        let slot = name.strip_prefix(SUBJECT).ok_or(StatementFault::Slot)?;
        if slot.len() != 2 || !slot.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(StatementFault::Slot);
        }
        let [major, minor, patch] = *bytes(statement, FIRMWARE, "firmware")?;
        let [pin, touch] = *bytes(statement, POLICIES, "PIN and touch policy")?;
        let form_factor = match statement.extension(FORM_FACTOR) {
            None => None,
            Some(_) => {
                let [form] = *bytes(statement, FORM_FACTOR, "form factor")?;
                Some(FormFactor(form))
            }
        };
        Ok(Self {
            firmware: Firmware([major, minor, patch]),
            serial: serial(statement)?,
            slot: slot.to_ascii_lowercase(),
            pin_policy: PinPolicy::read(pin),
            touch_policy: TouchPolicy::read(touch),
            form_factor,
            fips: false,
            cspn: false,
        })
    }

    /// Reads what the certificate of the attestation key alone says: the series.
    pub(super) fn read_series(&mut self, attestation_key: Option<&Certificate>) {
        let has = |oid| attestation_key.is_some_and(|key| key.extension(oid).is_some());
        self.fips = has(FIPS);
        self.cspn = has(CSPN);
    }
}

fn bytes<'c, const N: usize>(
    statement: &'c Certificate,
    oid: ObjectIdentifier,
    what: &'static str,
) -> Result<&'c [u8; N], StatementFault> {
    let extension = statement.extension(oid);
    let value = extension.ok_or(StatementFault::Missing { what })?;
    value
        .value
        .as_slice()
        .try_into()
        .map_err(|_| StatementFault::Malformed { what })
}

fn serial(statement: &Certificate) -> Result<Option<u32>, StatementFault> {
    let malformed = StatementFault::Malformed {
        what: "serial number",
    };
    let Some(extension) = statement.extension(SERIAL) else {
        return Ok(None);
    };
    let number = UintRef::from_der(&extension.value).map_err(|_| malformed.clone())?;
    let digits = number.as_bytes();
    let zeros = 4_usize.checked_sub(digits.len()).ok_or(malformed)?;
    let mut serial = [0; 4];
    for (place, digit) in serial.iter_mut().skip(zeros).zip(digits) {
        *place = *digit;
    }
    Ok(Some(u32::from_be_bytes(serial)))
}

impl Firmware {
    /// A version.
    pub const fn new(major: u8, minor: u8, patch: u8) -> Self {
        Self([major, minor, patch])
    }

    /// Whether its RSA keys can be computed from their public halves: 4.2.0 to 4.3.4 (YSA-2017-01).
    pub fn has_roca(self) -> bool {
        (Self::new(4, 2, 0)..=Self::new(4, 3, 4)).contains(&self)
    }
}

impl FromStr for Firmware {
    type Err = UnknownName;

    /// `5.7.4`, or `5.7` for `5.7.0`.
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let number = |part: &str| {
            let is_plain = part.bytes().all(|byte| byte.is_ascii_digit());
            let is_plain = is_plain && (part == "0" || !part.starts_with('0'));
            part.parse().ok().filter(|_| is_plain)
        };
        let numbers: Option<Vec<u8>> = text.split('.').map(number).collect();
        match numbers.as_deref() {
            Some([major, minor]) => Ok(Self([*major, *minor, 0])),
            Some([major, minor, patch]) => Ok(Self([*major, *minor, *patch])),
            _ => Err(UnknownName {
                text: text.to_owned(),
                expected: "a version of firmware, for instance \"5.7\" or \"5.7.4\"",
            }),
        }
    }
}

impl FromStr for PinPolicy {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let known = [Self::Never, Self::Once, Self::Always];
        let found = known.into_iter().find(|policy| policy.to_string() == text);
        found.ok_or_else(|| UnknownName {
            text: text.to_owned(),
            expected: "a PIN policy: \"never\", \"once\" or \"always\"",
        })
    }
}

impl FromStr for TouchPolicy {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let known = [Self::Never, Self::Always, Self::Cached];
        let found = known.into_iter().find(|policy| policy.to_string() == text);
        found.ok_or_else(|| UnknownName {
            text: text.to_owned(),
            expected: "a touch policy: \"never\", \"cached\" or \"always\"",
        })
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, patch]) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl PinPolicy {
    const fn read(number: u8) -> Self {
        match number {
            1 => Self::Never,
            // 4 and 5: the same, where a fingerprint can stand in for the PIN.
            2 | 4 => Self::Once,
            3 | 5 => Self::Always,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for PinPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Once => f.write_str("once"),
            Self::Always => f.write_str("always"),
            Self::Unknown(number) => write!(f, "unknown ({number})"),
        }
    }
}

impl TouchPolicy {
    const fn read(number: u8) -> Self {
        match number {
            1 => Self::Never,
            2 => Self::Always,
            3 => Self::Cached,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for TouchPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Always => f.write_str("always"),
            Self::Cached => f.write_str("cached"),
            Self::Unknown(number) => write!(f, "unknown ({number})"),
        }
    }
}

impl fmt::Display for FormFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The two highest bits say FIPS and security key.
        match self.0 & 0x3f {
            1 => f.write_str("USB-A keychain"),
            2 => f.write_str("USB-A nano"),
            3 => f.write_str("USB-C keychain"),
            4 => f.write_str("USB-C nano"),
            5 => f.write_str("USB-C and Lightning"),
            6 => f.write_str("USB-A with fingerprint"),
            7 => f.write_str("USB-C with fingerprint"),
            other => write!(f, "unknown ({other})"),
        }
    }
}

const SUBJECT: &str = "YubiKey PIV Attestation ";
const FIRMWARE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.3");
const SERIAL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.7");
const POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.8");
const FORM_FACTOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.9");
const FIPS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.10");
const CSPN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.41482.3.11");
