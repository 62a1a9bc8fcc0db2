//! CBOR as COSE headers need it: a strict reader and a deterministic writer (RFC 8949).
//!
//! The reader exists because the usual decoders hide what must be refused: indefinite lengths and
//! duplicate keys (COSE-13). It yields [`ciborium::Value`], with map keys limited to integers and
//! text. The writer sorts maps by the bytes of their encoded keys (COSE-12).

use ciborium::Value;

use super::CborError;

/// Deepest nesting of arrays, maps and tags.
const MAX_DEPTH: usize = 32;

/// Most items in one document.
const MAX_ITEMS: usize = super::signature::MAX_VALUES;

/// Reads one item with nothing after it.
pub(super) fn read(bytes: &[u8]) -> Result<Value, CborError> {
    let mut reader = Reader {
        rest: bytes,
        items: 0,
    };
    let value = reader.item(0)?;
    if reader.rest.is_empty() {
        Ok(value)
    } else {
        Err(CborError::TrailingData)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    items: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], CborError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(CborError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(taken)
    }

    fn argument(&mut self, info: u8) -> Result<u64, CborError> {
        let length = match info {
            0..=23 => return Ok(u64::from(info)),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            31 => return Err(CborError::IndefiniteLength),
            _ => return Err(CborError::Unsupported),
        };
        let bytes = self.take(length)?;
        Ok(bytes.iter().fold(0, |n, b| (n << 8) | u64::from(*b)))
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], CborError> {
        let length = usize::try_from(length).map_err(|_| CborError::UnexpectedEnd)?;
        self.take(length)
    }

    fn item(&mut self, depth: usize) -> Result<Value, CborError> {
        self.items = self.items.saturating_add(1);
        if self.items > MAX_ITEMS {
            return Err(CborError::TooManyItems);
        }
        if depth > MAX_DEPTH {
            return Err(CborError::TooDeep);
        }
        let depth = depth.saturating_add(1);
        let [initial] = *self.take(1)? else {
            return Err(CborError::UnexpectedEnd);
        };
        let (major, info) = (initial >> 5, initial & 0x1f);
        if major == 7 {
            return self.simple(info);
        }
        let argument = self.argument(info)?;
        Ok(match major {
            0 => Value::Integer(argument.into()),
            1 => {
                let value = -1 - i128::from(argument);
                Value::Integer(value.try_into().map_err(|_| CborError::Unsupported)?)
            }
            2 => Value::Bytes(self.bytes(argument)?.to_vec()),
            3 => {
                let text = std::str::from_utf8(self.bytes(argument)?);
                Value::Text(text.map_err(|_| CborError::Utf8)?.to_owned())
            }
            4 => self.array(argument, depth)?,
            5 => self.map(argument, depth)?,
            _ => Value::Tag(argument, Box::new(self.item(depth)?)),
        })
    }

    fn simple(&mut self, info: u8) -> Result<Value, CborError> {
        Ok(match info {
            20 => Value::Bool(false),
            21 => Value::Bool(true),
            22 => Value::Null,
            25..=27 => {
                let bits = self.argument(info)?;
                Value::Float(match info {
                    25 => half(bits),
                    26 => f64::from(f32::from_bits(u32::try_from(bits).unwrap_or_default())),
                    _ => f64::from_bits(bits),
                })
            }
            31 => return Err(CborError::IndefiniteLength),
            _ => return Err(CborError::Unsupported),
        })
    }

    fn array(&mut self, length: u64, depth: usize) -> Result<Value, CborError> {
        // Grows as items are read: a length that lies allocates nothing.
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(self.item(depth)?);
        }
        Ok(Value::Array(items))
    }

    fn map(&mut self, length: u64, depth: usize) -> Result<Value, CborError> {
        let mut members: Vec<(Value, Value)> = Vec::new();
        let mut keys = std::collections::HashSet::new();
        for _ in 0..length {
            let key = self.item(depth)?;
            let fresh = match &key {
                Value::Integer(label) => keys.insert(MapKey::Integer((*label).into())),
                Value::Text(label) => keys.insert(MapKey::Text(label.clone())),
                _ => return Err(CborError::KeyType),
            };
            if !fresh {
                return Err(CborError::DuplicateKey);
            }
            members.push((key, self.item(depth)?));
        }
        Ok(Value::Map(members))
    }
}

#[derive(Eq, Hash, PartialEq)]
enum MapKey {
    Integer(i128),
    Text(String),
}

/// A half-precision float (RFC 8949, appendix D).
fn half(bits: u64) -> f64 {
    let exponent = i32::try_from((bits >> 10) & 0x1f).unwrap_or_default();
    let mantissa = f64::from(u32::try_from(bits & 0x3ff).unwrap_or_default());
    let value = match exponent {
        0 => mantissa * 2_f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (mantissa + 1024.0) * 2_f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { value } else { -value }
}

/// The shortest encoding, maps sorted.
pub(super) fn write(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, value);
    out
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Integer(number) => {
            let number = i128::from(*number);
            let (major, argument) = if number < 0 {
                (1, -1 - number)
            } else {
                (0, number)
            };
            head(out, major, u64::try_from(argument).unwrap_or_default());
        }
        Value::Bytes(bytes) => {
            head(out, 2, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
        Value::Text(text) => {
            head(out, 3, length(text.len()));
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(items) => {
            head(out, 4, length(items.len()));
            for item in items {
                put(out, item);
            }
        }
        Value::Map(members) => {
            head(out, 5, length(members.len()));
            let mut members: Vec<_> = members.iter().map(|(k, v)| (write(k), v)).collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            for (key, value) in members {
                out.extend_from_slice(&key);
                put(out, value);
            }
        }
        Value::Tag(tag, content) => {
            head(out, 6, *tag);
            put(out, content);
        }
        Value::Bool(false) => out.push(0xf4),
        Value::Bool(true) => out.push(0xf5),
        Value::Float(number) => {
            out.push(0xfb);
            out.extend_from_slice(&number.to_bits().to_be_bytes());
        }
        // Null, and whatever ciborium may add: nothing else is ever written.
        _ => out.push(0xf6),
    }
}

fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major | bytes[7]),
        24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
