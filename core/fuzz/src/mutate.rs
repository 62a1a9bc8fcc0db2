//! Mutations of envelopes whose leaf has the test key P-256: one part is changed and the whole is
//! signed anew, so that the change gets past the signature check. Anything else is changed as it is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value as Cbor;
use hardsign_test_support::Key;
use hardsign_test_support::cose::{Cose, Map, sig_structure, to_cbor};
use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Map as Object, Value};

/// Which part is changed.
enum Part {
    Protected,
    Payload,
    Unprotected,
}

/// `None`: the envelope as it is.
fn part(seed: u32) -> Option<Part> {
    match seed % 8 {
        0..=3 => Some(Part::Protected),
        4 => Some(Part::Payload),
        5 | 6 => Some(Part::Unprotected),
        _ => None,
    }
}

/// Changes a JWS envelope of `size` bytes in `data`; gives the new size.
pub fn jws(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let made = part(seed).and_then(|part| another_jws(&data[..size], &part));
    put(data, size, max_size, made)
}

/// Changes a COSE envelope of `size` bytes in `data`; gives the new size.
pub fn cose(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let made = part(seed).and_then(|part| another_cose(&data[..size], &part));
    put(data, size, max_size, made)
}

fn put(data: &mut [u8], size: usize, max_size: usize, made: Option<Vec<u8>>) -> usize {
    match made {
        Some(made) if made.len() <= max_size.min(data.len()) => {
            data[..made.len()].copy_from_slice(&made);
            made.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
}

/// Room for what a mutation adds.
const ROOM: usize = 256;

fn changed(bytes: &[u8]) -> Vec<u8> {
    let mut buffer = bytes.to_vec();
    buffer.resize(bytes.len() + ROOM, 0);
    let length = buffer.len();
    let size = fuzzer_mutate(&mut buffer, bytes.len(), length);
    buffer.truncate(size);
    buffer
}

fn another_jws(bytes: &[u8], part: &Part) -> Option<Vec<u8>> {
    let envelope: Object<String, Value> = serde_json::from_slice(bytes).ok()?;
    let text = |name| envelope.get(name).and_then(Value::as_str);
    let decoded = |name| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let (mut protected, mut payload) = (decoded("protected")?, decoded("payload")?);
    let mut header = envelope.get("header")?.as_object()?.clone();
    let chain = header.remove("x5c")?;
    let mut header = serde_json::to_vec(&header).ok()?;
    match part {
        Part::Protected => protected = changed(&protected),
        Part::Payload => payload = changed(&payload),
        Part::Unprotected => header = changed(&header),
    }
    let protected = URL_SAFE_NO_PAD.encode(protected);
    let payload = URL_SAFE_NO_PAD.encode(payload);
    let signature = Key::P256.sign(format!("{protected}.{payload}").as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(signature);
    // The chain goes in front of whatever the unprotected header has become.
    let rest = header.strip_prefix(b"{")?;
    let comma = if rest == b"}" { "" } else { "," };
    let mut made = format!("{{\"header\":{{\"x5c\":{chain}{comma}").into_bytes();
    made.extend_from_slice(rest);
    made.extend_from_slice(
        format!(",\"payload\":\"{payload}\",\"protected\":\"{protected}\",\"signature\":\"{signature}\"}}")
            .as_bytes(),
    );
    Some(made)
}

/// The label of the certificate chain.
const X5CHAIN: i64 = 33;

fn another_cose(bytes: &[u8], part: &Part) -> Option<Vec<u8>> {
    let Cbor::Tag(18, message) = ciborium::from_reader(bytes).ok()? else {
        return None;
    };
    let Cbor::Array(items) = *message else {
        return None;
    };
    let [Cbor::Bytes(mut protected), Cbor::Map(header), Cbor::Bytes(mut payload), _] =
        <[Cbor; 4]>::try_from(items).ok()?
    else {
        return None;
    };
    let (chain, rest): (Vec<_>, Vec<_>) = header
        .into_iter()
        .partition(|(label, _)| *label == Cbor::from(X5CHAIN));
    let mut unprotected = Map(rest).to_cbor();
    match part {
        Part::Protected => protected = changed(&protected),
        Part::Payload => payload = changed(&payload),
        Part::Unprotected => unprotected = changed(&unprotected),
    }
    // The chain goes behind whatever the unprotected header has become: one member more.
    let count = unprotected.first_mut().filter(|count| (0xa0..0xb7).contains(*count))?;
    *count += u8::try_from(chain.len()).ok()?;
    for (label, value) in &chain {
        unprotected.extend(to_cbor(label));
        unprotected.extend(to_cbor(value));
    }
    let made = Cose {
        signature: Key::P256.sign(&sig_structure(&protected, &payload)),
        protected,
        unprotected,
        payload,
    };
    Some(made.to_bytes())
}
