//! DER by hand: tag, length, value.

use der::asn1::ObjectIdentifier;
use jiff::Timestamp;

/// One element.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(u8::try_from(length).unwrap());
    } else {
        let bytes = length.to_be_bytes();
        let bytes: Vec<u8> = bytes.into_iter().skip_while(|b| *b == 0).collect();
        out.push(0x80 | u8::try_from(bytes.len()).unwrap());
        out.extend(bytes);
    }
    out.extend_from_slice(content);
    out
}

/// `SEQUENCE` of the parts.
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// `OBJECT IDENTIFIER` in dotted form.
pub fn oid(dotted: &str) -> Vec<u8> {
    tlv(6, ObjectIdentifier::new(dotted).unwrap().as_bytes())
}

/// `INTEGER` that is not negative.
pub fn integer(value: u32) -> Vec<u8> {
    let mut bytes: Vec<u8> = value
        .to_be_bytes()
        .into_iter()
        .skip_while(|b| *b == 0)
        .collect();
    if bytes.first().is_none_or(|b| *b >= 0x80) {
        bytes.insert(0, 0);
    }
    tlv(2, &bytes)
}

/// `BIT STRING` of whole bytes.
pub fn bit_string(bytes: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], bytes].concat())
}

/// `BIT STRING` of named bits, trailing zeros removed; bit 0 of `bits` is the first.
pub fn named_bits(bits: u16) -> Vec<u8> {
    let bytes = bits.reverse_bits().to_be_bytes();
    if bits == 0 {
        return tlv(3, &[0]);
    }
    let used = 16 - usize::try_from(bits.leading_zeros()).unwrap();
    let length = used.div_ceil(8);
    let unused = u8::try_from(length * 8 - used).unwrap();
    tlv(3, &[&[unused], &bytes[..length]].concat())
}

/// `UTCTime` until 2049, `GeneralizedTime` from 2050 (RFC 5280 §4.1.2.5).
pub fn time(time: Timestamp) -> Vec<u8> {
    // RFC 5280 §4.1.2.5: "no well-defined expiration", a day more than a `Timestamp` can hold.
    if time == Timestamp::MAX {
        return tlv(0x18, b"99991231235959Z");
    }
    let year = time.strftime("%Y").to_string();
    if year.as_str() < "2050" {
        tlv(0x17, time.strftime("%y%m%d%H%M%SZ").to_string().as_bytes())
    } else {
        tlv(0x18, time.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
    }
}

/// A `Name` of single-valued RDNs with UTF8String values.
pub fn name(attributes: &[(&str, &str)]) -> Vec<u8> {
    let rdns: Vec<Vec<u8>> = attributes
        .iter()
        .map(|(dotted, value)| rdn(&[(dotted, 0x0c, value.as_bytes())]))
        .collect();
    tlv(0x30, &rdns.concat())
}

/// One RDN of any attributes: type, tag of the value, bytes of the value.
pub fn rdn(attributes: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let pairs: Vec<Vec<u8>> = attributes
        .iter()
        .map(|(dotted, tag, value)| sequence(&[&oid(dotted), &tlv(*tag, value)]))
        .collect();
    tlv(0x31, &pairs.concat())
}

/// The attribute type behind a short name.
pub fn attribute(short_name: &str) -> &'static str {
    match short_name {
        "CN" => "2.5.4.3",
        "SERIALNUMBER" => "2.5.4.5",
        "C" => "2.5.4.6",
        "L" => "2.5.4.7",
        "ST" => "2.5.4.8",
        "STREET" => "2.5.4.9",
        "O" => "2.5.4.10",
        "OU" => "2.5.4.11",
        "POSTALCODE" => "2.5.4.17",
        "DC" => "0.9.2342.19200300.100.1.25",
        "EMAIL" => "1.2.840.113549.1.9.1",
        other => panic!("no short name {other}"),
    }
}
