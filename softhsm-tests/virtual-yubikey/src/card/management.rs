//! The management key: who has it may change the card.

use super::*;

impl VirtualYubiKey {
    pub(super) fn authenticate_management(
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

    pub(super) fn set_mgm(&mut self, p1: u8, p2: u8, data: &[u8]) -> Reply {
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
}
