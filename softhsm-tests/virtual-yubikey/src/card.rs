//! The card: APDU parsing, chaining, PIV and Yubico commands.

use std::collections::{HashMap, VecDeque};
use std::thread::sleep;
use std::time::{Duration, Instant};

use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, EncryptingKey, UnboundCipherKey};
use des::cipher::{BlockEncrypt as _, KeyInit as _};

use crate::der::{all, bitstring, oid, seq, take, tlv, uint};
use crate::keys::{self, Private};

/// ATR of a YubiKey 5 (T=1).
pub const ATR: &[u8] = &[
    0x3b, 0xfd, 0x13, 0x00, 0x00, 0x81, 0x31, 0xfe, 0x15, 0x80, 0x73, 0xc0, 0x21, 0xc0, 0x57, 0x59,
    0x75, 0x62, 0x69, 0x4b, 0x65, 0x79, 0x40,
];
const PIV_AID: &[u8] = &[0xa0, 0, 0, 3, 8];
const MGMT_AID: &[u8] = &[0xa0, 0, 0, 5, 0x27, 0x47, 0x11, 0x17];
const OTP_AID: &[u8] = &[0xa0, 0, 0, 5, 0x27, 0x20, 1];
const DEFAULT_MGM: [u8; 24] = [
    1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8,
];

type Sw = u16;
const OK: Sw = 0x9000;
const WRONG_LENGTH: Sw = 0x6700;
const SECURITY: Sw = 0x6982;
const BLOCKED: Sw = 0x6983;
const CONDITIONS: Sw = 0x6985;
const BAD_DATA: Sw = 0x6a80;
const NOT_FOUND: Sw = 0x6a82;
const BAD_P1P2: Sw = 0x6a86;
const REF_NOT_FOUND: Sw = 0x6a88;
const BAD_SLOT: Sw = 0x6b00;
const BAD_INS: Sw = 0x6d00;
type Reply = Result<Vec<u8>, Sw>;

/// What happens when the card waits for a touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The user touches at once.
    Given,
    /// The user touches after that time.
    After(Duration),
    /// Nobody touches: the command waits that long, then fails with 6982.
    Timeout(Duration),
}

/// What kind of card it is, and how it behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Firmware. Below 5.7 there are no RSA keys of 3072 and 4096 bits, below 5.3 no metadata, below
    /// 5.0 no serial number in the PIV application.
    pub version: [u8; 3],
    pub serial: u32,
    pub touch: Touch,
    /// Policy ALWAYS: the PIN must be verified by the command right before (else: since the last use).
    pub strict_always: bool,
    /// How long a signature takes.
    pub latency: Duration,
    /// Sends long answers in pieces of 256 bytes (61xx), as over T=0 and in short APDUs.
    pub short_answers: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: [5, 7, 1],
            serial: 12345678,
            touch: Touch::Given,
            strict_always: true,
            latency: Duration::ZERO,
            short_answers: false,
        }
    }
}

/// What reached the card since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// SELECT of any application.
    pub select: u32,
    /// VERIFY with a PIN.
    pub verify: u32,
    /// GENERAL AUTHENTICATE with a key of a slot that gave a signature.
    pub signatures: u32,
    /// GENERAL AUTHENTICATE that waited for a touch, and nobody touched.
    pub untouched: u32,
    /// GENERATE ASYMMETRIC KEY PAIR that made a key.
    pub generated: u32,
    /// ATTEST of a key that was made here.
    pub attested: u32,
    /// Commands of any kind.
    pub commands: u32,
}

struct Secret {
    value: [u8; 8],
    default: [u8; 8],
    total: u8,
    left: u8,
}

impl Secret {
    fn new(s: &[u8]) -> Self {
        let value = padded(s);
        Self {
            value,
            default: value,
            total: 3,
            left: 3,
        }
    }
    fn check(&mut self, v: &[u8]) -> Result<(), Sw> {
        if self.left == 0 {
            return Err(BLOCKED);
        }
        if v == self.value {
            self.left = self.total;
            return Ok(());
        }
        self.left -= 1;
        if self.left == 0 {
            Err(BLOCKED)
        } else {
            Err(0x63c0 | u16::from(self.left))
        }
    }
    fn set(&mut self, v: &[u8]) {
        self.value.copy_from_slice(v);
        self.left = self.total;
    }
}

struct Slot {
    alg: u8,
    key: Private,
    pin: u8,
    touch: u8,
    generated: bool,
}

struct Mgm {
    alg: u8,
    key: Vec<u8>,
    touch: u8,
}

impl Mgm {
    fn block(&self) -> usize {
        if self.alg == 3 { 8 } else { 16 }
    }
    fn encrypt(&self, data: &[u8]) -> Option<Vec<u8>> {
        let mut block = data.to_vec();
        let aes = match self.alg {
            3 => {
                let cipher = des::TdesEde3::new_from_slice(&self.key).ok()?;
                let block: &mut [u8; 8] = block.as_mut_slice().try_into().ok()?;
                cipher.encrypt_block(block.into());
                return Some(block.to_vec());
            }
            8 => &AES_128,
            0x0a => &AES_192,
            0x0c => &AES_256,
            _ => return None,
        };
        let key = UnboundCipherKey::new(aes, &self.key).ok()?;
        EncryptingKey::ecb(key).ok()?.encrypt(&mut block).ok()?;
        Some(block)
    }
    fn key_len(alg: u8) -> Option<usize> {
        Some(match alg {
            3 | 0x0a => 24,
            8 => 16,
            0x0c => 32,
            _ => return None,
        })
    }
}

#[derive(PartialEq, Clone, Copy)]
enum App {
    None,
    Piv,
    Mgmt,
    Otp,
}

pub struct VirtualYubiKey {
    pub config: Config,
    pin: Secret,
    puk: Secret,
    mgm: Mgm,
    slots: HashMap<u8, Slot>,
    objects: HashMap<Vec<u8>, Vec<u8>>,
    // volatile
    app: App,
    pin_ok: bool,
    pin_fresh: bool,
    mgm_ok: bool,
    witness: Option<Vec<u8>>,
    challenge: Option<Vec<u8>>,
    chain: Vec<u8>,
    out: VecDeque<u8>,
    last_touch: Option<Instant>,
    /// Status words to answer to the next commands with this INS instead of running them.
    pub faults: VecDeque<(u8, Sw)>,
    pub counters: Counters,
    /// From when to when each signature took.
    pub spans: Vec<(Instant, Instant)>,
}

struct Apdu<'a> {
    cla: u8,
    ins: u8,
    p1: u8,
    p2: u8,
    data: &'a [u8],
    /// Bytes wanted at most.
    le: usize,
}

fn parse(m: &[u8]) -> Option<Apdu<'_>> {
    let (h, body) = m.split_at_checked(4)?;
    // a missing Le (case 3) gets data all the same, as from a YubiKey
    let short = |b: &[u8]| match b {
        [] | [0] => Some(256),
        [n] => Some(usize::from(*n)),
        _ => None,
    };
    let (data, le): (&[u8], usize) = match body {
        [] | [_] => (&[], short(body)?),
        [0, _, _] => (&[], 65536),
        [0, a, b, rest @ ..] => {
            let n = usize::from(*a) << 8 | usize::from(*b);
            (rest.get(..n)?, 65536)
        }
        [n, rest @ ..] => {
            let (d, le) = rest.split_at_checked(usize::from(*n))?;
            (d, short(le)?)
        }
    };
    Some(Apdu {
        cla: h[0],
        ins: h[1],
        p1: h[2],
        p2: h[3],
        data,
        le,
    })
}

impl VirtualYubiKey {
    pub fn new(config: Config) -> Self {
        let alg = if config.version >= [5, 7, 0] { 0x0a } else { 3 };
        let attestation = Private::generate(keys::P256).unwrap();
        let mut card = Self {
            config,
            pin: Secret::new(b"123456"),
            puk: Secret::new(b"12345678"),
            mgm: Mgm {
                alg,
                key: DEFAULT_MGM.to_vec(),
                touch: 1,
            },
            slots: HashMap::new(),
            objects: HashMap::new(),
            app: App::None,
            pin_ok: false,
            pin_fresh: false,
            mgm_ok: false,
            witness: None,
            challenge: None,
            chain: vec![],
            out: VecDeque::new(),
            last_touch: None,
            faults: VecDeque::new(),
            counters: Counters::default(),
            spans: Vec::new(),
        };
        // the attestation slot: key and certificate (survive RESET)
        let name = "Virtual YubiKey PIV Attestation";
        let spki = attestation.spki();
        let cert = certificate(&attestation, &common_name(name), name, &spki, &[]).unwrap();
        card.set_attestation(attestation, &cert);
        card
    }

    /// Puts another key and certificate into the attestation slot F9, as a maker does.
    pub fn set_attestation(&mut self, key: Private, certificate: &[u8]) {
        self.objects
            .insert(vec![0x5f, 0xff, 0x01], wrap_cert(certificate));
        self.put_key(0xf9, key, 1, 1, true);
    }

    /// Puts a key into a slot. Policies: PIN 1 never, 2 once, 3 always; touch 1 never, 2 always, 3
    /// cached.
    pub fn put_key(&mut self, slot: u8, key: Private, pin: u8, touch: u8, generated: bool) {
        let alg = key.alg();
        self.slots.insert(
            slot,
            Slot {
                alg,
                key,
                pin,
                touch,
                generated,
            },
        );
    }

    /// The public key of a slot, as `SubjectPublicKeyInfo`.
    pub fn public_key(&self, slot: u8) -> Option<Vec<u8>> {
        Some(self.slots.get(&slot)?.key.spki())
    }

    /// Stores a certificate for a slot, or loses it.
    pub fn put_certificate(&mut self, slot: u8, der: Option<&[u8]>) {
        let object = certificate_object(slot);
        match der {
            Some(der) => self.objects.insert(object, wrap_cert(der)),
            None => self.objects.remove(&object),
        };
    }

    /// Stores the content of a data object, as PUT DATA would.
    pub fn put_object(&mut self, id: &[u8], content: &[u8]) {
        self.objects.insert(id.to_vec(), content.to_vec());
    }

    /// Sets PIN and PUK, with three tries each.
    pub fn set_secrets(&mut self, pin: &str, puk: &str) {
        for (secret, text) in [(&mut self.pin, pin), (&mut self.puk, puk)] {
            secret.set(&padded(text.as_bytes()));
        }
    }

    /// Sets the management key: 3 for 3DES, 8, 0a and 0c for AES.
    pub fn set_management_key(&mut self, alg: u8, key: &[u8]) {
        assert_eq!(Mgm::key_len(alg), Some(key.len()));
        self.mgm = Mgm {
            alg,
            key: key.to_vec(),
            touch: 1,
        };
    }

    /// Keeps the management key under the PIN, as ykman does.
    pub fn store_management_key(&mut self) {
        let key = tlv(0x88, &tlv(0x89, &self.mgm.key));
        self.put_object(&[0x5f, 0xc1, 0x09], &key);
        self.put_object(&[0x5f, 0xff, 0x00], &tlv(0x80, &tlv(0x81, &[2])));
    }

    /// Tries that are left for the PIN.
    pub fn set_pin_tries(&mut self, left: u8) {
        self.pin.left = left;
    }

    /// Tries that are left for the PIN.
    pub fn pin_tries(&self) -> u8 {
        self.pin.left
    }

    /// Loses everything a power cycle loses.
    pub fn reset_card(&mut self) {
        self.app = App::None;
        self.logout();
        self.chain.clear();
        self.out.clear();
    }

    fn logout(&mut self) {
        self.pin_ok = false;
        self.pin_fresh = false;
        self.mgm_ok = false;
        self.witness = None;
        self.challenge = None;
    }

    fn at_least(&self, v: [u8; 3]) -> bool {
        self.config.version >= v
    }

    /// One APDU in, one response (data and status) out.
    pub fn transmit(&mut self, m: &[u8]) -> Vec<u8> {
        let Some(a) = parse(m) else {
            return WRONG_LENGTH.to_be_bytes().to_vec();
        };
        self.counters.commands += 1;
        if a.ins == 0xc0 && self.app != App::None {
            return self.flush(a.le);
        }
        self.out.clear();
        if a.cla & 0x10 != 0 {
            self.chain.extend_from_slice(a.data);
            return OK.to_be_bytes().to_vec();
        }
        let mut data = std::mem::take(&mut self.chain);
        data.extend_from_slice(a.data);
        let forced = match self.faults.front() {
            Some(&(ins, sw)) if ins == a.ins => {
                self.faults.pop_front();
                Some(sw)
            }
            _ => None,
        };
        let r = match forced {
            Some(sw) => Err(sw),
            None => self.command(a.ins, a.p1, a.p2, &data),
        };
        if self.config.strict_always && !matches!(a.ins, 0x20 | 0x24) {
            self.pin_fresh = false;
        }
        match r {
            Err(sw) => sw.to_be_bytes().to_vec(),
            Ok(v) => {
                self.out = v.into();
                self.flush(a.le)
            }
        }
    }

    fn flush(&mut self, max: usize) -> Vec<u8> {
        let max = if self.config.short_answers {
            max.min(256)
        } else {
            max
        };
        let n = self.out.len().min(max);
        let mut r: Vec<u8> = self.out.drain(..n).collect();
        let sw = match self.out.len() {
            0 => OK,
            n => 0x6100 | n.min(0xff) as u16,
        };
        r.extend(sw.to_be_bytes());
        r
    }

    fn command(&mut self, ins: u8, p1: u8, p2: u8, data: &[u8]) -> Reply {
        if ins == 0xa4 {
            return self.select(p1, data);
        }
        match self.app {
            App::None => return Err(BAD_INS),
            App::Mgmt => return self.management(ins, p1),
            App::Otp => {
                return match (ins, p1) {
                    (1, 0x10) => Ok(self.config.serial.to_be_bytes().to_vec()),
                    _ => Err(BAD_INS),
                };
            }
            App::Piv => (),
        }
        match ins {
            0x20 => self.verify(p1, p2, data),
            0x24 => self.change_reference(p2, data),
            0x2c => self.reset_retry(p2, data),
            0x47 => self.generate(p2, data),
            0x87 => self.general_authenticate(p1, p2, data),
            0xcb => self.get_data(data),
            0xdb => self.put_data(data),
            0xf6 if self.at_least([5, 7, 0]) => self.move_key(p1, p2),
            0xf7 if self.at_least([5, 3, 0]) => self.metadata(p2),
            0xf8 if self.at_least([5, 0, 0]) => Ok(self.config.serial.to_be_bytes().to_vec()),
            0xf9 if self.at_least([4, 3, 0]) => self.attest(p1),
            0xfa => self.set_retries(p1, p2),
            0xfb => self.reset_piv(),
            0xfd => Ok(self.config.version.to_vec()),
            0xfe => self.import(p1, p2, data),
            0xff => self.set_mgm(p1, p2, data),
            _ => Err(BAD_INS),
        }
    }

    fn select(&mut self, p1: u8, aid: &[u8]) -> Reply {
        self.counters.select += 1;
        if p1 != 4 {
            return Err(BAD_P1P2);
        }
        let (app, reply) = if aid.starts_with(PIV_AID) {
            let apt = [
                tlv(0x4f, &[0, 0, 0x10, 0, 1, 0]),
                tlv(0x79, &tlv(0x4f, PIV_AID)),
            ]
            .concat();
            (App::Piv, tlv(0x61, &apt))
        } else if aid.starts_with(MGMT_AID) {
            let [a, b, c] = self.config.version;
            (
                App::Mgmt,
                format!("Virtual mgr - FW version {a}.{b}.{c}").into_bytes(),
            )
        } else if aid.starts_with(OTP_AID) {
            (App::Otp, self.config.version.to_vec())
        } else {
            return Err(NOT_FOUND);
        };
        self.logout();
        self.app = app;
        Ok(reply)
    }

    fn management(&mut self, ins: u8, page: u8) -> Reply {
        if ins != 0x1d || page != 0 {
            return Err(if ins == 0x1d { BAD_P1P2 } else { BAD_INS });
        }
        let info = [
            tlv(0x01, &[0x10]), // USB supported: PIV
            tlv(0x02, &self.config.serial.to_be_bytes()),
            tlv(0x03, &[0x10]), // USB enabled: PIV
            tlv(0x04, &[1]),    // USB-A keychain
            tlv(0x05, &self.config.version),
            tlv(0x0a, &[0]), // not locked
        ]
        .concat();
        Ok([&[info.len() as u8][..], &info].concat())
    }

    fn verify(&mut self, p1: u8, p2: u8, data: &[u8]) -> Reply {
        match (p1, p2, data.len()) {
            (0xff, 0x80, 0) => {
                self.pin_ok = false;
                self.pin_fresh = false;
                Ok(vec![])
            }
            (0, 0x80, 0) if self.pin_ok => Ok(vec![]),
            (0, 0x80, 0) if self.pin.left == 0 => Err(BLOCKED),
            (0, 0x80, 0) => Err(0x63c0 | u16::from(self.pin.left.min(15))),
            (0, 0x80, 8) => {
                self.counters.verify += 1;
                self.pin_ok = false;
                self.pin_fresh = false;
                self.pin.check(data)?;
                self.pin_ok = true;
                self.pin_fresh = true;
                Ok(vec![])
            }
            (0, 0x80, _) => Err(BAD_DATA),
            (0, _, _) => Err(REF_NOT_FOUND),
            _ => Err(BAD_P1P2),
        }
    }

    fn change_reference(&mut self, p2: u8, data: &[u8]) -> Reply {
        let (old, new) = data
            .split_at_checked(8)
            .filter(|(_, n)| n.len() == 8)
            .ok_or(BAD_DATA)?;
        let s = match p2 {
            0x80 => &mut self.pin,
            0x81 => &mut self.puk,
            _ => return Err(REF_NOT_FOUND),
        };
        s.check(old)?;
        if new.iter().take_while(|b| **b != 0xff).count() < 6 {
            return Err(BAD_DATA);
        }
        s.set(new);
        if p2 == 0x80 {
            self.pin_ok = true;
            self.pin_fresh = true;
        }
        Ok(vec![])
    }

    fn reset_retry(&mut self, p2: u8, data: &[u8]) -> Reply {
        if p2 != 0x80 {
            return Err(REF_NOT_FOUND);
        }
        let (puk, pin) = data
            .split_at_checked(8)
            .filter(|(_, n)| n.len() == 8)
            .ok_or(BAD_DATA)?;
        self.puk.check(puk)?;
        self.pin.set(pin);
        Ok(vec![])
    }

    fn set_retries(&mut self, pin: u8, puk: u8) -> Reply {
        if !self.mgm_ok || !self.pin_ok {
            return Err(SECURITY);
        }
        for (s, n) in [(&mut self.pin, pin), (&mut self.puk, puk)] {
            s.total = n;
            s.set(&s.default.clone());
        }
        Ok(vec![])
    }

    fn reset_piv(&mut self) -> Reply {
        if self.pin.left != 0 || self.puk.left != 0 {
            return Err(CONDITIONS);
        }
        let mut new = Self::new(self.config.clone());
        new.app = App::Piv;
        new.faults = std::mem::take(&mut self.faults);
        new.counters = self.counters;
        new.slots
            .insert(0xf9, self.slots.remove(&0xf9).ok_or(BAD_DATA)?);
        let att = vec![0x5f, 0xff, 1];
        if let Some(c) = self.objects.remove(&att) {
            new.objects.insert(att, c);
        }
        *self = new;
        Ok(vec![])
    }

    fn key_slot(p2: u8) -> Result<u8, Sw> {
        match p2 {
            0x9a | 0x9c | 0x9d | 0x9e | 0xf9 | 0x82..=0x95 => Ok(p2),
            _ => Err(BAD_SLOT),
        }
    }

    fn supported(&self, alg: u8) -> bool {
        match alg {
            keys::RSA1024 | keys::RSA2048 | keys::P256 | keys::P384 => true,
            keys::RSA3072 | keys::RSA4096 | keys::ED25519 => self.at_least([5, 7, 0]),
            _ => false,
        }
    }

    /// PIN and touch policy tags AA/AB with the slot's defaults.
    fn policies(slot: u8, tlvs: &[(u32, &[u8])]) -> Result<(u8, u8), Sw> {
        let get = |t| {
            tlvs.iter()
                .find(|(tag, _)| *tag == t)
                .and_then(|(_, v)| v.first().copied())
                .unwrap_or(0)
        };
        let pin = match (get(0xaa), slot) {
            (0, 0x9c) => 3,
            (0, 0x9e) => 1,
            (0, _) => 2,
            (n @ 1..=3, _) => n,
            _ => return Err(BAD_DATA),
        };
        let touch = match get(0xab) {
            0 => 1,
            n @ 1..=3 => n,
            _ => return Err(BAD_DATA),
        };
        Ok((pin, touch))
    }

    fn generate(&mut self, p2: u8, data: &[u8]) -> Reply {
        let slot = Self::key_slot(p2)?;
        if !self.mgm_ok {
            return Err(SECURITY);
        }
        let (0xac, inner, _) = take(data).ok_or(BAD_DATA)? else {
            return Err(BAD_DATA);
        };
        let tlvs = all(inner).ok_or(BAD_DATA)?;
        let Some((_, &[alg])) = tlvs.iter().find(|(t, _)| *t == 0x80).copied() else {
            return Err(BAD_DATA);
        };
        if !self.supported(alg) {
            return Err(BAD_DATA);
        }
        let (pin, touch) = Self::policies(slot, &tlvs)?;
        let key = Private::generate(alg).ok_or(BAD_DATA)?;
        self.counters.generated += 1;
        let reply = tlv(0x7f49, &key.public_template());
        self.slots.insert(
            slot,
            Slot {
                alg,
                key,
                pin,
                touch,
                generated: true,
            },
        );
        Ok(reply)
    }

    fn import(&mut self, alg: u8, p2: u8, data: &[u8]) -> Reply {
        let slot = Self::key_slot(p2)?;
        if !self.mgm_ok {
            return Err(SECURITY);
        }
        let tlvs = all(data).ok_or(BAD_DATA)?;
        if !self.supported(alg) {
            return Err(BAD_DATA);
        }
        let (pin, touch) = Self::policies(slot, &tlvs)?;
        let key = Private::import(alg, &tlvs).ok_or(BAD_DATA)?;
        self.slots.insert(
            slot,
            Slot {
                alg,
                key,
                pin,
                touch,
                generated: false,
            },
        );
        Ok(vec![])
    }

    fn move_key(&mut self, to: u8, from: u8) -> Reply {
        if !self.mgm_ok {
            return Err(SECURITY);
        }
        let k = self.slots.remove(&from).ok_or(REF_NOT_FOUND)?;
        if to != 0xff {
            self.slots.insert(Self::key_slot(to)?, k);
        }
        Ok(vec![])
    }

    fn general_authenticate(&mut self, alg: u8, slot: u8, data: &[u8]) -> Reply {
        let (0x7c, inner, _) = take(data).ok_or(BAD_DATA)? else {
            return Err(BAD_DATA);
        };
        let tlvs = all(inner).ok_or(BAD_DATA)?;
        let get = |t| tlvs.iter().find(|(tag, _)| *tag == t).map(|(_, v)| *v);
        if slot == 0x9b {
            return self.authenticate_management(alg, get(0x80), get(0x81), get(0x82));
        }
        let s = self.slots.get(&slot).ok_or(BAD_DATA)?;
        if s.alg != alg {
            return Err(BAD_DATA);
        }
        match s.pin {
            2 if !self.pin_ok => return Err(SECURITY),
            3 if !self.pin_fresh => return Err(SECURITY),
            _ => (),
        }
        let cached = s.touch == 3
            && self
                .last_touch
                .is_some_and(|touched| touched.elapsed() < TOUCH_CACHED);
        if s.touch != 1 && !cached {
            match self.config.touch {
                Touch::Given => {}
                Touch::After(wait) => sleep(wait),
                Touch::Timeout(wait) => {
                    self.counters.untouched += 1;
                    sleep(wait);
                    return Err(SECURITY);
                }
            }
            self.last_touch = Some(Instant::now());
        }
        self.pin_fresh = false;
        let start = Instant::now();
        let signature = get(0x81).and_then(|challenge| s.key.challenge(challenge));
        let signature = signature.ok_or(BAD_DATA)?;
        sleep(self.config.latency);
        self.counters.signatures += 1;
        self.spans.push((start, Instant::now()));
        Ok(tlv(0x7c, &tlv(0x82, &signature)))
    }

    fn authenticate_management(
        &mut self,
        alg: u8,
        witness: Option<&[u8]>,
        challenge: Option<&[u8]>,
        response: Option<&[u8]>,
    ) -> Reply {
        if alg != self.mgm.alg && !(alg == 0 && self.mgm.alg == 3) {
            return Err(BAD_DATA);
        }
        let mut random = vec![0; self.mgm.block()];
        aws_lc_rs::rand::fill(&mut random).unwrap();
        let wrap = |t, v: &[u8]| tlv(0x7c, &tlv(t, v));
        match (witness, challenge, response) {
            (Some([]), None, None) => {
                let e = self.mgm.encrypt(&random).ok_or(BAD_DATA)?;
                self.witness = Some(random);
                Ok(wrap(0x80, &e))
            }
            (Some(w), Some(c), _) => {
                let expected = self.witness.take().ok_or(BAD_DATA)?;
                if w != expected {
                    return Err(SECURITY);
                }
                let r = self.mgm.encrypt(c).ok_or(BAD_DATA)?;
                self.mgm_ok = true;
                Ok(wrap(0x82, &r))
            }
            (None, Some([]), _) => {
                let reply = wrap(0x81, &random);
                self.challenge = Some(random);
                Ok(reply)
            }
            (None, None, Some(r)) => {
                let c = self.challenge.take().ok_or(BAD_DATA)?;
                if self.mgm.encrypt(&c).as_deref() != Some(r) {
                    return Err(SECURITY);
                }
                self.mgm_ok = true;
                Ok(vec![])
            }
            _ => Err(BAD_DATA),
        }
    }

    fn set_mgm(&mut self, p1: u8, p2: u8, data: &[u8]) -> Reply {
        if !self.mgm_ok {
            return Err(SECURITY);
        }
        let (0xff, [alg, 0x9b, n, key @ ..]) = (p1, data) else {
            return Err(BAD_DATA);
        };
        if usize::from(*n) != key.len() || Mgm::key_len(*alg) != Some(key.len()) {
            return Err(BAD_DATA);
        }
        if *alg != 3 && !self.at_least([5, 4, 0]) {
            return Err(BAD_DATA);
        }
        let touch = match p2 {
            0xff => 1,
            0xfe => 2,
            0xfd => 3,
            _ => return Err(BAD_P1P2),
        };
        self.mgm = Mgm {
            alg: *alg,
            key: key.to_vec(),
            touch,
        };
        Ok(vec![])
    }

    fn get_data(&mut self, data: &[u8]) -> Reply {
        let (0x5c, id, _) = take(data).ok_or(BAD_DATA)? else {
            return Err(BAD_DATA);
        };
        if id == [0x7e] {
            let d = [
                tlv(0x4f, &[0xa0, 0, 0, 3, 8, 0, 0, 0x10, 0, 1, 0]),
                tlv(0x5f2f, &[0x40, 0]),
            ]
            .concat();
            return Ok(tlv(0x7e, &d));
        }
        // printed information, fingerprints, facial image, iris: with PIN only
        if matches!(id, [0x5f, 0xc1, 0x09 | 0x03 | 0x08 | 0x21]) && !self.pin_ok {
            return Err(SECURITY);
        }
        let v = self.objects.get(id).ok_or(NOT_FOUND)?;
        Ok(tlv(0x53, v))
    }

    fn put_data(&mut self, data: &[u8]) -> Reply {
        if !self.mgm_ok {
            return Err(SECURITY);
        }
        let (0x5c, id, rest) = take(data).ok_or(BAD_DATA)? else {
            return Err(BAD_DATA);
        };
        let (0x53, v, _) = take(rest).ok_or(BAD_DATA)? else {
            return Err(BAD_DATA);
        };
        if v.is_empty() {
            self.objects.remove(id);
        } else {
            self.objects.insert(id.to_vec(), v.to_vec());
        }
        Ok(vec![])
    }

    fn metadata(&self, slot: u8) -> Reply {
        let secret = |s: &Secret| {
            [
                tlv(1, &[0xff]),
                tlv(5, &[u8::from(s.value == s.default)]),
                tlv(6, &[s.total, s.left]),
            ]
            .concat()
        };
        Ok(match slot {
            0x80 => secret(&self.pin),
            0x81 => secret(&self.puk),
            0x9b => [
                tlv(1, &[self.mgm.alg]),
                tlv(2, &[0, self.mgm.touch]),
                tlv(5, &[u8::from(self.mgm.key == DEFAULT_MGM)]),
            ]
            .concat(),
            _ => {
                let s = self.slots.get(&slot).ok_or(REF_NOT_FOUND)?;
                [
                    tlv(1, &[s.alg]),
                    tlv(2, &[s.pin, s.touch]),
                    tlv(3, &[if s.generated { 1 } else { 2 }]),
                    tlv(4, &s.key.public_template()),
                ]
                .concat()
            }
        })
    }

    fn attest(&mut self, slot: u8) -> Reply {
        let s = self
            .slots
            .get(&Self::key_slot(slot)?)
            .ok_or(REF_NOT_FOUND)?;
        if !s.generated {
            return Err(BAD_DATA);
        }
        self.counters.attested += 1;
        let yubico = [1, 3, 6, 1, 4, 1, 41482, 3];
        let ext = |n: u32, v: &[u8]| seq(&[&oid(&[&yubico[..], &[n]].concat()), &tlv(4, v)]);
        let mut exts = ext(3, &self.config.version);
        if self.at_least([5, 0, 0]) {
            exts.extend(ext(7, &uint(&self.config.serial.to_be_bytes())));
        }
        exts.extend(ext(8, &[s.pin, s.touch]));
        if self.at_least([5, 0, 0]) {
            exts.extend(ext(9, &[1]));
        }
        let name = format!("YubiKey PIV Attestation {slot:02x}");
        let maker = &self.slots.get(&0xf9).ok_or(REF_NOT_FOUND)?.key;
        // The issuer is the subject of the certificate in F9.
        let issuer = self
            .objects
            .get(&[0x5f, 0xff, 0x01][..])
            .and_then(|f9| subject(f9));
        let issuer = issuer.ok_or(REF_NOT_FOUND)?;
        certificate(maker, &issuer, &name, &s.key.spki(), &exts).ok_or(BAD_DATA)
    }
}

/// A certificate; `issuer` is a whole Name, `extensions` the content of the list, a CA's if empty.
fn certificate(
    signer: &Private,
    issuer: &[u8],
    subject: &str,
    spki: &[u8],
    extensions: &[u8],
) -> Option<Vec<u8>> {
    // The algorithm stands inside what is signed: sign twice, keep the first one's algorithm.
    let (alg, _) = signer.sign_certificate(&[])?;
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).ok()?;
    serial[0] = 1;
    let validity = seq(&[&tlv(0x17, b"160314000000Z"), &tlv(0x18, b"20520417000000Z")]);
    let ca = seq(&[
        &oid(&[2, 5, 29, 19]),
        &tlv(1, &[0xff]),
        &tlv(4, &seq(&[&tlv(1, &[0xff]), &uint(&[0])])),
    ]);
    let extensions = if extensions.is_empty() {
        &ca
    } else {
        extensions
    };
    let tbs = seq(&[
        &tlv(0xa0, &uint(&[2])),
        &uint(&serial),
        &alg,
        issuer,
        &validity,
        &common_name(subject),
        spki,
        &tlv(0xa3, &seq(&[extensions])),
    ]);
    let (alg, signature) = signer.sign_certificate(&tbs)?;
    Some(seq(&[&tbs, &alg, &bitstring(&signature)]))
}

fn common_name(name: &str) -> Vec<u8> {
    let attribute = seq(&[&oid(&[2, 5, 4, 3]), &tlv(0x0c, name.as_bytes())]);
    seq(&[&tlv(0x31, &attribute)])
}

/// The subject of the certificate in a certificate object.
fn subject(object: &[u8]) -> Option<Vec<u8>> {
    let (0x70, certificate, _) = take(object)? else {
        return None;
    };
    let (_, certificate, _) = take(certificate)?;
    let (_, tbs, _) = take(certificate)?;
    let (_, subject) = *all(tbs)?.get(5)?;
    Some(seq(&[subject]))
}

/// The data object that holds the certificate of a slot (NIST SP 800-73-4, part 1, table 3).
pub fn certificate_object(slot: u8) -> Vec<u8> {
    let last = match slot {
        0x9a => 0x05,
        0x9c => 0x0a,
        0x9d => 0x0b,
        0x9e => 0x01,
        0x82..=0x95 => slot - 0x82 + 0x0d,
        _ => return vec![0x5f, 0xff, 0x01],
    };
    vec![0x5f, 0xc1, last]
}

fn padded(secret: &[u8]) -> [u8; 8] {
    let mut value = [0xff; 8];
    value[..secret.len()].copy_from_slice(secret);
    value
}

/// How long a touch counts under the policy "cached".
const TOUCH_CACHED: Duration = Duration::from_secs(15);

fn wrap_cert(der: &[u8]) -> Vec<u8> {
    [tlv(0x70, der), tlv(0x71, &[0]), tlv(0xfe, &[])].concat()
}
