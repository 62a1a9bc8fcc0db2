//! The commands against a virtual card, without PC/SC between.

use virtual_yubikey::keys::Private;
use virtual_yubikey::{Config, VirtualYubiKey, keys};

use super::*;

impl Wire for VirtualYubiKey {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, pcsc::Error> {
        Ok(Self::transmit(self, command))
    }
}

fn slot(text: &str) -> Slot {
    text.parse().unwrap()
}

fn card(version: Version) -> VirtualYubiKey {
    let config = Config {
        version,
        short_answers: true,
        ..Config::default()
    };
    let mut card = VirtualYubiKey::new(config);
    card.set_secrets("864213", "97531864");
    card
}

fn open(card: &mut VirtualYubiKey) -> (Piv<'_>, Identity) {
    Piv::select(card).unwrap().unwrap()
}

/// Firmware that tells by metadata, by attestation, and by the OTP application.
const VERSIONS: [Version; 4] = [[5, 7, 1], [5, 4, 3], [5, 2, 7], [4, 3, 5]];

#[test]
fn cards_say_who_they_are() {
    for version in VERSIONS {
        let mut card = card(version);
        let (_, identity) = open(&mut card);
        let serial = Some(12345678);
        assert_eq!(identity, Identity { version, serial });
    }
}

#[test]
fn tries_are_read_without_spending_one() {
    for version in VERSIONS {
        let mut card = card(version);
        card.set_pin_tries(2);
        let (mut piv, _) = open(&mut card);
        assert_eq!(piv.pin().unwrap().tries, 2);
        assert_eq!(piv.verify(b"000000").unwrap(), Verified::Wrong { tries: 1 });
        assert_eq!(piv.pin().unwrap().tries, 1);
        assert_eq!(piv.verify(b"000000").unwrap(), Verified::Blocked);
        let state = piv.pin().unwrap();
        let told = (version >= [5, 3, 0]).then_some(false);
        assert_eq!((state.tries, state.is_factory), (0, told));
        assert_eq!(piv.verify(b"864213").unwrap(), Verified::Blocked);
        assert_eq!(card.counters.verify, 3);
    }
}

#[test]
fn a_key_that_the_card_made_is_known_on_all_firmware() {
    for version in VERSIONS {
        let mut card = card(version);
        card.put_key(0x9c, Private::generate(keys::P384).unwrap(), 2, 3, true);
        let spki = card.public_key(0x9c).unwrap();
        let (mut piv, _) = open(&mut card);
        let key = piv.key(slot("9c")).unwrap().unwrap();
        assert_eq!(key.algorithm, Algorithm::P384);
        assert_eq!((key.pin, key.touch), (PinPolicy::Once, TouchPolicy::Cached));
        assert_eq!(key.public.unwrap().to_spki_der().unwrap(), spki);
        assert!(piv.key(slot("9a")).unwrap().is_none());
    }
}

/// Long commands and answers in pieces: 512 bytes both ways.
#[test]
fn rsa_4096_in_pieces() {
    let mut card = card([5, 7, 1]);
    card.put_key(0x9c, Private::generate(keys::RSA4096).unwrap(), 1, 1, true);
    let (mut piv, _) = open(&mut card);
    let key = piv.key(slot("9c")).unwrap().unwrap();
    assert_eq!(key.algorithm, Algorithm::Rsa4096);
    assert!(key.public.is_some());
    let signature = piv.sign(slot("9c"), key.algorithm, &[1; 512]).unwrap();
    assert_eq!(signature.len(), 512);
}

#[test]
fn certificates_plain_compressed_and_none() {
    use std::io::Write as _;

    let mut card = card([5, 7, 1]);
    card.put_key(0x9a, Private::generate(keys::P256).unwrap(), 1, 1, true);
    let der = {
        let (mut piv, _) = open(&mut card);
        piv.attest(slot("9a")).unwrap().unwrap()
    };
    card.put_certificate(0x9a, Some(&der));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&der).unwrap();
    let object = [
        tlv(0x70, &gzip.finish().unwrap()),
        tlv(0x71, &[1]),
        tlv(0xfe, &[]),
    ];
    card.put_object(&slot("9c").certificate_object(), &object.concat());
    card.put_object(&[0x5f, 0xc1, 0x0b], &[0x70, 0]);
    let (mut piv, _) = open(&mut card);
    assert_eq!(piv.certificate(slot("9a")).unwrap(), Some(der.clone()));
    assert_eq!(piv.certificate(slot("9c")).unwrap(), Some(der));
    assert_eq!(piv.certificate(slot("9d")).unwrap(), None);
    assert_eq!(piv.certificate(slot("9e")).unwrap(), None);
}

/// A card that breaks the rules is refused, and never waited for.
#[test]
fn malformed_answers() {
    struct Rude(Vec<u8>);
    impl Wire for Rude {
        fn transmit(&mut self, _: &[u8]) -> Result<Vec<u8>, pcsc::Error> {
            Ok(self.0.clone())
        }
    }
    let endless = [&[7; 200][..], &[0x61, 0xff]].concat();
    for answer in [&[][..], &[0x90], &[0x61, 0xff], &endless] {
        let malformed = CardError::Malformed { command: "X" };
        let sent = exchange(&mut Rude(answer.to_vec()), "X", [0; 4], &[]);
        assert_eq!(sent, Err(malformed), "{answer:02x?}");
    }
    let refused = exchange(&mut Rude(vec![0x6d, 0]), "X", [0; 4], &[1; 600]);
    assert_eq!(refused.unwrap_err().status(), Some(0x6d00));
}

/// Every kind of management key; a wrong one is told from a failure.
#[test]
fn management_keys() {
    for (version, number, length) in [
        ([5, 7, 1], 0x0a, 24),
        ([5, 7, 1], 0x0c, 32),
        ([5, 4, 3], 0x08, 16),
        ([5, 4, 3], 0x03, 24),
        ([5, 2, 7], 0x03, 24),
    ] {
        let mut card = card(version);
        let key: Vec<u8> = (1..=length).collect();
        card.set_management_key(number, &key);
        card.store_management_key();
        let (mut piv, _) = open(&mut card);
        let state = piv.management().unwrap();
        assert_eq!(state.cipher.key_len(), key.len());
        assert!(state.is_stored);
        assert_ne!(state.is_factory, Some(true));
        // Without the PIN nobody reads it.
        assert!(piv.stored_management_key().is_err());
        assert_eq!(piv.verify(b"864213").unwrap(), Verified::Right);
        assert_eq!(piv.stored_management_key().unwrap().unwrap()[..], key);
        assert!(!piv.authenticate(state.cipher, &vec![9; key.len()]).unwrap());
        assert!(piv.generate(slot("9a"), Algorithm::P256, 0, 0).is_err());
        assert!(piv.authenticate(state.cipher, &key).unwrap());
        let public = piv.generate(slot("9a"), Algorithm::P256, 3, 2).unwrap();
        let made = piv.key(slot("9a")).unwrap().unwrap();
        assert_eq!(
            (made.pin, made.touch),
            (PinPolicy::Always, TouchPolicy::Always)
        );
        assert_eq!(
            (made.public, made.origin),
            (Some(public), Some("made on the device"))
        );
    }
    let mut fresh = card([5, 7, 1]);
    let (mut piv, _) = open(&mut fresh);
    let state = piv.management().unwrap();
    assert_eq!((state.is_factory, state.is_stored), (Some(true), false));
}
