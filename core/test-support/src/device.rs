//! Devices that attest their keys, and makers of them: good ones, and ones that break any rule.

use hardsign_plugin::algorithm::KeySpec;

use crate::asn1;
use crate::certificate::{BASIC_CONSTRAINTS, Builder, Issued, basic_constraints};
use crate::key::Key;

/// Extension with the firmware: three bare bytes.
pub const FIRMWARE: &str = "1.3.6.1.4.1.41482.3.3";
/// Extension with the serial number: an INTEGER.
pub const SERIAL: &str = "1.3.6.1.4.1.41482.3.7";
/// Extension with PIN and touch policy: two bare bytes.
pub const POLICIES: &str = "1.3.6.1.4.1.41482.3.8";

/// A maker: its root, and a device's attestation key (slot F9).
#[derive(Clone, Debug)]
pub struct Maker {
    /// The root.
    pub root: Issued,
    /// The certificate of the attestation key.
    pub f9: Issued,
}

impl Maker {
    /// A root on P-256, and an attestation key that keeps every rule.
    pub fn new() -> Self {
        Self::with_root(Builder::ca("Maker Root", &Key::P256).self_signed(&Key::P256))
    }

    /// The same with that root.
    pub fn with_root(root: Issued) -> Self {
        let f9 = attestation_key(Some(0)).issue(&root, &Key::P256_B);
        Self { root, f9 }
    }

    /// A statement on a key: firmware 5.7.4, serial number 16909060, PIN and touch always.
    pub fn statement(&self, key: &Key) -> Issued {
        statement([5, 7, 4], key).issue(&self.f9, key)
    }

    /// The evidence of a key in DER: statement, attestation key.
    pub fn evidence(&self, key: &Key) -> Vec<Vec<u8>> {
        vec![self.statement(key).der, self.f9.der.clone()]
    }

    /// The same by way of two CAs between root and attestation key: four levels.
    pub fn long_evidence(&self, key: &Key) -> Vec<Vec<u8>> {
        let ca = |name: &str, key: &Key, path| {
            let constraints = basic_constraints(true, Some(path));
            Builder::ca(name, key).with(BASIC_CONSTRAINTS, true, constraints)
        };
        let (rsa, p521) = (Key::of(KeySpec::Rsa2048), Key::of(KeySpec::Ec521));
        let upper = ca("Upper", &rsa, 2).issue(&self.root, &rsa);
        let lower = ca("Lower", &p521, 1).issue(&upper, &p521);
        let f9 = attestation_key(Some(0)).issue(&lower, &Key::P256_B);
        let statement = statement([5, 7, 4], key).issue(&f9, key);
        vec![statement.der, f9.der, lower.der, upper.der]
    }
}

impl Default for Maker {
    fn default() -> Self {
        Self::new()
    }
}

/// A name of one common name.
pub fn common_name(name: &str) -> Vec<u8> {
    asn1::name(&[(asn1::attribute("CN"), name)])
}

/// The certificate of an attestation key, which is [`Key::P256_B`].
pub fn attestation_key(path: Option<u32>) -> Builder {
    Builder::bare(common_name("Maker PIV Attestation"), Key::P256_B.spki).with(
        BASIC_CONSTRAINTS,
        true,
        basic_constraints(true, path),
    )
}

/// A statement on a key in slot 9c: PIN and touch always, serial number 16909060.
pub fn statement(firmware: [u8; 3], key: &Key) -> Builder {
    Builder::bare(common_name("YubiKey PIV Attestation 9c"), key.spki)
        .with(FIRMWARE, false, firmware.to_vec())
        .with(SERIAL, false, vec![2, 4, 0x01, 2, 3, 4])
        .with(POLICIES, false, vec![3, 2])
}
