//! The card: APDU parsing, chaining, PIV and Yubico commands.

use std::collections::{HashMap, VecDeque};
use std::thread::sleep;
use std::time::{Duration, Instant};

use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, EncryptingKey, UnboundCipherKey};
use des::cipher::{BlockEncrypt as _, KeyInit as _};

use crate::der::{all, bitstring, oid, seq, take, tlv, uint};
use crate::keys::{self, Private};

mod management;
mod objects;
mod pins;
mod slots;

use objects::{certificate, common_name};

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
