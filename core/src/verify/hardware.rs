//! Evidence of hardware: the key of a signature was made in a device of a known maker and can't leave it
//! (SEC-30).
//!
//! The evidence is unsigned, so it counts only where it proves itself: its certificates lead to a root of
//! a maker that the rule believes, and its statement is about the leaf's key. Whatever is missing,
//! mangled or about another key is a failure; there is no other way to satisfy the rule.

use jiff::Timestamp;

use crate::attestation::{
    AttestationError, Attested, EvidenceError, Firmware, PinPolicy, TouchPolicy,
};
use crate::crypto::PublicKey;
use crate::envelope::{CarriedEvidence, CarriedFault};
use crate::policy::hardsign::HardwareRule;

/// Why a signature does not satisfy a rule on hardware.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HardwareError {
    /// The signature carries nothing.
    #[error("the signature carries no evidence that its key lives in hardware")]
    NoEvidence,
    /// What it carries is not in a form that is known.
    #[error("the evidence of hardware that the signature carries can't be read")]
    Header(#[source] CarriedFault),
    /// What it carries are no certificates.
    #[error("the evidence of hardware that the signature carries can't be read")]
    Evidence(#[source] EvidenceError),
    /// It proves nothing for this key.
    #[error("nothing proves that the key of the signature lives in hardware")]
    Unproven(#[source] Box<AttestationError>),
    /// Proven, and the key is used in another way than demanded.
    #[error("the PIN policy of the key is {found}, which the rule on hardware does not allow")]
    PinPolicy {
        /// What the device states.
        found: PinPolicy,
    },
    /// Proven, and the key is used in another way than demanded.
    #[error("the touch policy of the key is {found}, which the rule on hardware does not allow")]
    TouchPolicy {
        /// What the device states.
        found: TouchPolicy,
    },
    /// Proven, and made by older firmware than demanded.
    #[error(
        "the key was made by firmware {found}, and the rule on hardware demands at least {least}"
    )]
    Firmware {
        /// What the device states.
        found: Firmware,
        /// What is demanded.
        least: Firmware,
    },
    /// Proven, and of a device that the rule does not list.
    #[error(
        "the key lives in the device with the serial number {serial}, which the rule on hardware does not list"
    )]
    Serial {
        /// What the device states.
        serial: u32,
    },
    /// Proven, and of a device that does not tell which one it is.
    #[error(
        "the key lives in a device that states no serial number, and the rule on hardware lists serial numbers"
    )]
    NoSerial,
}

/// Judges what an envelope carries by a rule: proof for `key`, the leaf's, or the reason why not. `now`
/// is when the evidence's certificates must be valid.
///
/// # Errors
/// [`HardwareError`].
pub fn hardware(
    rule: &HardwareRule,
    carried: Option<&Result<CarriedEvidence, CarriedFault>>,
    key: &PublicKey,
    now: Timestamp,
) -> Result<Attested, HardwareError> {
    let carried = carried.ok_or(HardwareError::NoEvidence)?;
    let carried = carried
        .as_ref()
        .map_err(|fault| HardwareError::Header(fault.clone()))?;
    let evidence = carried.evidence().map_err(HardwareError::Evidence)?;
    let attested = evidence
        .prove(key, rule.roots(), now)
        .map_err(|error| HardwareError::Unproven(Box::new(error)))?;
    let device = attested.device();
    let pin = &rule.pin_policies;
    if pin
        .as_ref()
        .is_some_and(|list| !list.contains(&device.pin_policy))
    {
        return Err(HardwareError::PinPolicy {
            found: device.pin_policy,
        });
    }
    let touch = &rule.touch_policies;
    if touch
        .as_ref()
        .is_some_and(|list| !list.contains(&device.touch_policy))
    {
        return Err(HardwareError::TouchPolicy {
            found: device.touch_policy,
        });
    }
    if let Some(least) = rule.least_firmware
        && device.firmware < least
    {
        return Err(HardwareError::Firmware {
            found: device.firmware,
            least,
        });
    }
    if let Some(serials) = &rule.serials {
        let serial = device.serial.ok_or(HardwareError::NoSerial)?;
        if !serials.contains(&serial) {
            return Err(HardwareError::Serial { serial });
        }
    }
    Ok(attested)
}
