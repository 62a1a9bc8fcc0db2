//! Keys in slots: made, imported, moved, used.

use super::*;

impl VirtualYubiKey {
    pub(super) fn key_slot(p2: u8) -> Result<u8, Sw> {
        match p2 {
            0x9a | 0x9c | 0x9d | 0x9e | 0xf9 | 0x82..=0x95 => Ok(p2),
            _ => Err(BAD_SLOT),
        }
    }

    pub(super) fn supported(&self, alg: u8) -> bool {
        match alg {
            keys::RSA1024 | keys::RSA2048 | keys::P256 | keys::P384 => true,
            keys::RSA3072 | keys::RSA4096 | keys::ED25519 => self.at_least([5, 7, 0]),
            _ => false,
        }
    }

    /// PIN and touch policy tags AA/AB with the slot's defaults.
    pub(super) fn policies(slot: u8, tlvs: &[(u32, &[u8])]) -> Result<(u8, u8), Sw> {
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

    pub(super) fn generate(&mut self, p2: u8, data: &[u8]) -> Reply {
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

    pub(super) fn import(&mut self, alg: u8, p2: u8, data: &[u8]) -> Reply {
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

    pub(super) fn move_key(&mut self, to: u8, from: u8) -> Reply {
        if !self.mgm_ok {
            return Err(SECURITY);
        }
        let k = self.slots.remove(&from).ok_or(REF_NOT_FOUND)?;
        if to != 0xff {
            self.slots.insert(Self::key_slot(to)?, k);
        }
        Ok(vec![])
    }

    pub(super) fn general_authenticate(&mut self, alg: u8, slot: u8, data: &[u8]) -> Reply {
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
}
