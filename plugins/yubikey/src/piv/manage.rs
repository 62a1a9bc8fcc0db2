//! What needs the management key: making keys and storing certificates.

use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, EncryptingKey, UnboundCipherKey};
use des::TdesEde3;
use des::cipher::{BlockEncrypt as _, KeyInit as _};
use hardsign_plugin::chain::PublicKey;
use zeroize::Zeroizing;

use super::{Answer, CardError, GENERAL_AUTHENTICATE, GET_DATA, GET_METADATA, Piv, status};
use crate::slot::{Algorithm, Slot};
use crate::tlv::{self, tlv};

const GENERATE: u8 = 0x47;
const PUT_DATA: u8 = 0xdb;
const SET_MANAGEMENT_KEY: u8 = 0xff;

/// The key reference of the management key.
const MANAGEMENT: u8 = 0x9b;

/// Where ykman says how the management key is kept ("admin data").
const ADMIN_DATA: [u8; 3] = [0x5f, 0xff, 0x00];

/// Printed information, which can be read with the PIN alone: ykman keeps the management key there.
const PRINTED: [u8; 3] = [0x5f, 0xc1, 0x09];

/// Bit of the flags in the admin data: the management key is kept under the PIN.
const STORED: u8 = 2;

/// The management key that every YubiKey comes with.
pub(crate) const FACTORY: [u8; 24] = [
    1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8,
];

/// Kind of management key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cipher {
    TripleDes,
    Aes128,
    Aes192,
    Aes256,
}

impl Cipher {
    const fn read(number: u8) -> Option<Self> {
        Some(match number {
            0x03 => Self::TripleDes,
            0x08 => Self::Aes128,
            0x0a => Self::Aes192,
            0x0c => Self::Aes256,
            _ => return None,
        })
    }

    const fn number(self) -> u8 {
        match self {
            Self::TripleDes => 0x03,
            Self::Aes128 => 0x08,
            Self::Aes192 => 0x0a,
            Self::Aes256 => 0x0c,
        }
    }

    /// Bytes of a key.
    pub(crate) const fn key_len(self) -> usize {
        match self {
            Self::TripleDes | Self::Aes192 => 24,
            Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }

    /// Encrypts one block; `None` if block or key have another length.
    fn encrypt(self, key: &[u8], block: &[u8]) -> Option<Vec<u8>> {
        let mut block = block.to_vec();
        let aes = match self {
            Self::TripleDes => {
                let only: &mut [u8; 8] = block.as_mut_slice().try_into().ok()?;
                TdesEde3::new_from_slice(key)
                    .ok()?
                    .encrypt_block(only.into());
                return Some(block);
            }
            Self::Aes128 => &AES_128,
            Self::Aes192 => &AES_192,
            Self::Aes256 => &AES_256,
        };
        if block.len() != 16 {
            return None;
        }
        let key = UnboundCipherKey::new(aes, key).ok()?;
        EncryptingKey::ecb(key).ok()?.encrypt(&mut block).ok()?;
        Some(block)
    }
}

/// Whether these bytes are the management key that every YubiKey comes with.
pub(crate) fn is_factory(key: &[u8]) -> bool {
    key == FACTORY
}

/// What the card says of its management key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Management {
    pub(crate) cipher: Cipher,
    /// Whether it is the factory's; `None` below firmware 5.3.
    pub(crate) is_factory: Option<bool>,
    /// Whether it is kept on the card under the PIN.
    pub(crate) is_stored: bool,
}

impl Piv<'_> {
    /// State of the management key.
    pub(crate) fn management(&mut self) -> Answer<Management> {
        let admin = self.object(ADMIN_DATA)?;
        let flags = admin.as_deref().and_then(|admin| tlv::find(admin, 0x80));
        let flags = flags.and_then(|flags| tlv::find(flags, 0x81));
        let is_stored = matches!(flags, Some([flags]) if flags & STORED != 0);
        if !self.has_metadata() {
            return Ok(Management {
                cipher: Cipher::TripleDes,
                is_factory: None,
                is_stored,
            });
        }
        let command = "GET METADATA";
        let answer = self.command(command, [0, GET_METADATA, 0, MANAGEMENT], &[])?;
        let cipher = match tlv::find(&answer, 1) {
            Some([number]) => Cipher::read(*number),
            _ => None,
        };
        Ok(Management {
            cipher: cipher.ok_or(CardError::Malformed { command })?,
            is_factory: tlv::find(&answer, 5).map(|flag| flag == [1]),
            is_stored,
        })
    }

    /// The management key that is kept under the PIN, which must have been verified.
    pub(crate) fn stored_management_key(&mut self) -> Answer<Option<Zeroizing<Vec<u8>>>> {
        let printed = self.object(PRINTED)?.map(Zeroizing::new);
        let key = printed
            .as_deref()
            .and_then(|printed| tlv::find(printed, 0x88));
        let key = key.and_then(|key| tlv::find(key, 0x89));
        Ok(key.map(|key| Zeroizing::new(key.to_vec())))
    }

    /// Whether another program keeps something of its own where the management key goes. The PIN must
    /// have been verified.
    pub(crate) fn printed_is_in_use(&mut self) -> Answer<bool> {
        let printed = self.object(PRINTED)?.map(Zeroizing::new);
        Ok(printed
            .is_some_and(|printed| !printed.is_empty() && tlv::find(&printed, 0x88).is_none()))
    }

    /// Gives the card another management key, which it keeps under the PIN as ykman has it keep it. The
    /// old one must have been shown.
    ///
    /// The new key is on the card, and said to be, before it counts: at no time does a key count that
    /// nobody has.
    pub(crate) fn replace_management_key(&mut self, cipher: Cipher, key: &[u8]) -> Answer<()> {
        let kept = Zeroizing::new(tlv(0x88, &Zeroizing::new(tlv(0x89, key))));
        self.put_object(PRINTED, &kept)?;
        let admin = self.object(ADMIN_DATA)?.unwrap_or_default();
        self.put_object(ADMIN_DATA, &with_stored_key(&admin))?;
        let mut data = Zeroizing::new(Vec::with_capacity(key.len().saturating_add(3)));
        let length = u8::try_from(key.len()).map_err(|_| CardError::Malformed {
            command: "SET MANAGEMENT KEY",
        })?;
        data.extend([cipher.number(), MANAGEMENT, length]);
        data.extend_from_slice(key);
        // 0xff: no touch.
        let header = [0, SET_MANAGEMENT_KEY, 0xff, 0xff];
        self.command("SET MANAGEMENT KEY", header, &data)?;
        Ok(())
    }

    /// Writes the content of a data object.
    fn put_object(&mut self, object: [u8; 3], content: &[u8]) -> Answer<()> {
        let data = [tlv(0x5c, &object), tlv(0x53, content)].concat();
        let data = Zeroizing::new(data);
        self.command("PUT DATA", [0, PUT_DATA, 0x3f, 0xff], &data)?;
        Ok(())
    }

    /// Shows the card that we know the management key; `false`: it is another one.
    pub(crate) fn authenticate(&mut self, cipher: Cipher, key: &[u8]) -> Answer<bool> {
        let command = "GENERAL AUTHENTICATE";
        let malformed = CardError::Malformed { command };
        let header = [0, GENERAL_AUTHENTICATE, cipher.number(), MANAGEMENT];
        let asked = self.command(command, header, &tlv(0x7c, &tlv(0x81, &[])))?;
        let challenge = tlv::find(&asked, 0x7c).and_then(|found| tlv::find(found, 0x81));
        let response = cipher.encrypt(key, challenge.ok_or(malformed)?);
        let template = tlv(0x7c, &tlv(0x82, &response.ok_or(malformed)?));
        match self.command(command, header, &template) {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(status::SECURITY) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a key; 0 leaves a policy to the slot's default.
    pub(crate) fn generate(
        &mut self,
        slot: Slot,
        algorithm: Algorithm,
        pin: u8,
        touch: u8,
    ) -> Answer<PublicKey> {
        let command = "GENERATE ASYMMETRIC KEY PAIR";
        let mut template = tlv(0x80, &[algorithm.number()]);
        for (tag, policy) in [(0xaa, pin), (0xab, touch)] {
            if policy != 0 {
                tlv::push(&mut template, tag, &[policy]);
            }
        }
        let header = [0, GENERATE, 0, slot.reference()];
        let answer = self.command(command, header, &tlv(0xac, &template))?;
        tlv::find(&answer, 0x7f49)
            .and_then(|template| algorithm.public_key(template))
            .ok_or(CardError::Malformed { command })
    }

    /// Stores the certificate of a slot, or removes it.
    pub(crate) fn put_certificate(&mut self, slot: Slot, der: Option<&[u8]>) -> Answer<()> {
        let content = match der {
            Some(der) => [tlv(0x70, der), tlv(0x71, &[0]), tlv(0xfe, &[])].concat(),
            None => Vec::new(),
        };
        self.put_object(slot.certificate_object(), &content)
    }

    /// The content of a data object.
    fn object(&mut self, object: [u8; 3]) -> Answer<Option<Vec<u8>>> {
        let command = "GET DATA";
        let answer = match self.command(command, [0, GET_DATA, 0x3f, 0xff], &tlv(0x5c, &object)) {
            Err(error) if error.status() == Some(status::NOT_FOUND) => return Ok(None),
            other => Zeroizing::new(other?),
        };
        let content = tlv::find(&answer, 0x53).ok_or(CardError::Malformed { command })?;
        Ok(Some(content.to_vec()))
    }
}

/// The admin data, saying that the management key is kept on the card. What else it says stays, but for
/// the salt of a key that was derived from the PIN.
fn with_stored_key(admin: &[u8]) -> Vec<u8> {
    let old = tlv::find(admin, 0x80).unwrap_or_default();
    let flags = match tlv::find(old, 0x81) {
        Some([flags]) => *flags,
        _ => 0,
    };
    let mut content = tlv(0x81, &[flags | STORED]);
    if let Some(changed) = tlv::find(old, 0x83) {
        tlv::push(&mut content, 0x83, changed);
    }
    tlv(0x80, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_data_keeps_what_others_wrote() {
        assert_eq!(with_stored_key(&[]), [0x80, 3, 0x81, 1, 2]);
        // PUK blocked, a salt, and when the PIN was changed.
        let old = [0x80, 13, 0x81, 1, 1, 0x82, 2, 7, 7, 0x83, 4, 1, 2, 3, 4];
        let new = [0x80, 9, 0x81, 1, 3, 0x83, 4, 1, 2, 3, 4];
        assert_eq!(with_stored_key(&old), new);
    }
}
