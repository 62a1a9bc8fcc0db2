//! Data objects, what is said of keys, and the evidence that a key was made on the card.

use super::*;

impl VirtualYubiKey {
    pub(super) fn get_data(&mut self, data: &[u8]) -> Reply {
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

    pub(super) fn put_data(&mut self, data: &[u8]) -> Reply {
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

    pub(super) fn metadata(&self, slot: u8) -> Reply {
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

    pub(super) fn attest(&mut self, slot: u8) -> Reply {
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
pub(super) fn certificate(
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

pub(super) fn common_name(name: &str) -> Vec<u8> {
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
