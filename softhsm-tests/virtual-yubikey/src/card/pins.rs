//! PIN and PUK: tried, changed, unblocked; and the card as it came.

use super::*;

impl VirtualYubiKey {
    pub(super) fn verify(&mut self, p1: u8, p2: u8, data: &[u8]) -> Reply {
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

    pub(super) fn change_reference(&mut self, p2: u8, data: &[u8]) -> Reply {
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

    pub(super) fn reset_retry(&mut self, p2: u8, data: &[u8]) -> Reply {
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

    pub(super) fn set_retries(&mut self, pin: u8, puk: u8) -> Reply {
        if !self.mgm_ok || !self.pin_ok {
            return Err(SECURITY);
        }
        for (s, n) in [(&mut self.pin, pin), (&mut self.puk, puk)] {
            s.total = n;
            s.set(&s.default.clone());
        }
        Ok(vec![])
    }

    pub(super) fn reset_piv(&mut self) -> Reply {
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
}
