//! Mutations of valid envelopes: none makes the verifier panic or grow, and none is accepted that
//! says anything else than the envelope it was made from.
//!
//! A mutant may be accepted where only unsigned bytes changed. Those regions are, in JWS: white
//! space, another spelling of a JSON string, and in `header` the name and value of the signing
//! agent and of the timestamp token (a renamed header is an unknown one, which is ignored); in
//! COSE: the same two entries of the unprotected map, and longer forms of lengths outside the
//! protected header. Whatever is accepted has the same payload, protected header, signature and
//! chain.
//!
//! The same for timestamp tokens: whatever is accepted is by the same authority, from the same time.
//!
//! `HARDSIGN_MUTATIONS` sets the number of mutants (default 20,000); `scripts/fuzz` asks for a
//! million in a build with optimisation.

#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test helper fails with a panic, and says where"
)]

mod provider;

use std::fs;
use std::ops::Range;
use std::path::Path;

use ciborium::Value;
use hardsign_core::envelope::{Envelope, EnvelopeError, Format, Signature};
use hardsign_core::timestamp::Token;
use hardsign_core::x509::Certificate;
use hardsign_test_support::cose::{self, Cose};
use hardsign_test_support::jws::{self, Jws};
use hardsign_test_support::token::Authority;
use hardsign_test_support::{Builder, Key, Pki};

const AGENT: &str = "io.cncf.notary.signingAgent";
const TOKEN: &str = "io.cncf.notary.timestampSignature";

/// A valid envelope and what it says.
struct Seed {
    name: String,
    format: Format,
    bytes: Vec<u8>,
    signature: Signature,
    unsigned: Vec<Range<usize>>,
}

/// A fast generator of numbers that need no secrecy (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    /// A range of at most `longest` bytes inside `length`.
    fn range(&mut self, length: usize, longest: usize) -> Range<usize> {
        let start = self.below(length);
        start..length.min(start + 1 + self.below(longest))
    }
}

fn verify(format: Format, bytes: &[u8]) -> Result<Signature, EnvelopeError> {
    Envelope::parse(format, bytes)?.verify_integrity()
}

impl Seed {
    fn new(name: &str, format: Format, bytes: Vec<u8>) -> Self {
        let signature = verify(format, &bytes).unwrap();
        let unsigned = match format {
            Format::Jws => [AGENT, TOKEN]
                .iter()
                .filter_map(|n| json_entry(&bytes, n))
                .collect(),
            Format::Cose => cbor_entries(&bytes),
        };
        Self {
            name: name.to_owned(),
            format,
            bytes,
            signature,
            unsigned,
        }
    }

    /// Whether an accepted mutant says the same.
    fn says_the_same(&self, mutant: &Signature) -> bool {
        let (ours, theirs) = (self.signature.content(), mutant.content());
        ours.payload_bytes == theirs.payload_bytes
            && ours.payload == theirs.payload
            && ours.attributes == theirs.attributes
            && ours.algorithm == theirs.algorithm
            && ours.signature_bytes == theirs.signature_bytes
            && ours.chain == theirs.chain
    }
}

/// Where `"name":"value"` stands, quotes left out.
fn json_entry(bytes: &[u8], name: &str) -> Option<Range<usize>> {
    let text = std::str::from_utf8(bytes).unwrap();
    let start = text.find(name)?;
    let value = start + name.len() + "\":\"".len();
    Some(start..value + text[value..].find('"')?)
}

/// Where the two unsigned attributes stand: the last entries of the unprotected map.
fn cbor_entries(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut entries = Vec::new();
    for name in [AGENT, TOKEN] {
        let label = cose::to_cbor(&Value::from(name));
        let Some(start) = bytes.windows(label.len()).position(|w| w == label) else {
            continue;
        };
        let mut rest = &bytes[start + label.len()..];
        let before = rest.len();
        let _value: Value = ciborium::from_reader(&mut rest).unwrap();
        entries.push(start..start + label.len() + before - rest.len());
    }
    entries
}

fn seeds() -> Vec<Seed> {
    let pki = Pki::new();
    let key = Key::P256;
    let chain = pki.chain(&pki.issue(Builder::leaf("Leaf", key.spki), &key));
    let header = jws::header(&chain).with(TOKEN, "\"AAECAwQFBgcICQoLDA0ODw==\"");
    let payload = jws::payload();
    let protected = jws::protected(&key).to_json();
    let with_token = Jws::sign(&protected, payload.as_bytes(), header, &key);
    let unprotected = cose::unprotected(&chain).with(TOKEN, Value::Bytes(vec![7; 16]));
    let protected = cose::protected(&key).to_cbor();
    let cose = Cose::sign(&protected, payload.as_bytes(), &unprotected, &key);
    let mut seeds = vec![
        Seed::new("jws with token", Format::Jws, with_token.to_bytes()),
        Seed::new("cose with token", Format::Cose, cose.to_bytes()),
    ];
    let blobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/reference/blob");
    for name in ["p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096"] {
        for format in Format::ALL {
            let case = format!("{name}-{}", format.name());
            let file = format!("artifact.bin.{}.sig", format.name());
            let bytes = fs::read(blobs.join(&case).join(file)).unwrap();
            seeds.push(Seed::new(&case, format, bytes));
        }
    }
    seeds
}

/// One mutant; the position where exactly one byte was replaced.
fn mutate(random: &mut Random, seed: &Seed, other: &Seed) -> (Vec<u8>, Option<usize>) {
    let mut bytes = seed.bytes.clone();
    match random.below(10) {
        0..=2 => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
            return (bytes, Some(at));
        }
        3 => {
            let at = random.below(bytes.len());
            bytes[at] = random.byte();
            return (bytes, Some(at));
        }
        // The regions that are not signed, more often than chance would have it.
        4 => {
            if let Some(region) = seed.unsigned.get(random.below(seed.unsigned.len())) {
                let at = region.start + random.below(region.len());
                bytes[at] = random.byte();
                return (bytes, Some(at));
            }
        }
        _ => {
            for _ in 0..=random.below(3) {
                mutate_range(random, &mut bytes, &other.bytes);
            }
        }
    }
    (bytes, None)
}

fn mutate_range(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let range = random.range(bytes.len(), 24);
    match random.below(6) {
        0 => drop(bytes.drain(range)),
        1 => {
            let inserted: Vec<u8> = (0..range.len()).map(|_| random.byte()).collect();
            bytes.splice(range.start..range.start, inserted);
        }
        2 => {
            let copy = bytes[range.clone()].to_vec();
            bytes.splice(range.start..range.start, copy);
        }
        3 => {
            let from = random.range(other.len(), 400);
            bytes.splice(range, other[from].iter().copied());
        }
        4 => {
            let white = [b' ', b'\n', b'\t', b'\r', b','][random.below(5)];
            bytes.insert(range.start, white);
        }
        _ => bytes.truncate(range.start),
    }
    if bytes.is_empty() {
        bytes.push(random.byte());
    }
}

/// Says which mutant was under way when something panicked.
struct Witness<'a>(u64, &'a str);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("mutant {} of {}", self.0, self.1);
        }
    }
}

/// Resident memory in bytes, where the system tells.
fn resident() -> Option<usize> {
    let pages = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = pages.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

/// ENV-08, JWS-15, COSE-14, CVE-2023-25656.
#[test]
fn no_mutant_says_anything_else() {
    let wanted = wanted();
    let seeds = seeds();
    let (mut accepted, mut changed, mut at_start) = (0_u64, 0_u64, None);
    for number in 0..wanted {
        // Each mutant has a generator of its own, so that it can be made again by its number.
        let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        let seed = &seeds[random.below(seeds.len())];
        let other = &seeds[random.below(seeds.len())];
        let _witness = Witness(number, &seed.name);
        let (bytes, replaced) = mutate(&mut random, seed, other);
        if number == wanted / 10 {
            at_start = resident();
        }
        if bytes == seed.bytes {
            continue;
        }
        changed += 1;
        let Ok(signature) = verify(seed.format, &bytes) else {
            continue;
        };
        accepted += 1;
        assert!(
            seed.says_the_same(&signature),
            "accepted with other content"
        );
        if let Some(at) = replaced {
            let unsigned = seed.unsigned.iter().any(|region| region.contains(&at));
            assert!(
                unsigned,
                "accepted with byte {at} replaced, which is signed"
            );
        }
    }
    println!("{changed} mutants, {accepted} accepted with the same content");
    // The test would prove nothing if everything or nothing were refused.
    assert!(
        accepted > wanted / 1000 && accepted < changed / 4,
        "{accepted} of {changed}"
    );
    if let (Some(start), Some(end)) = (at_start, resident()) {
        let growth = end.saturating_sub(start);
        assert!(growth < 32 << 20, "memory grew by {growth} bytes");
    }
}

/// TSA-17, TSA-22: the same for tokens, in DER and in BER. Mutants that are accepted differ in what
/// nobody signs: lists beside the content, the form of lengths.
#[test]
fn no_mutant_of_a_token_says_anything_else() {
    let message = b"a primitive signature";
    let authorities = [Key::P256, Key::RSA_2048].map(|key| Authority::new(&key));
    let roots = authorities
        .each_ref()
        .map(|a| Certificate::from_der(&a.root.der).unwrap());
    let mut seeds = Vec::new();
    for authority in &authorities {
        for ber in [false, true] {
            let mut token = authority.token(message);
            token.ber = ber;
            let bytes = token.build();
            let range = Token::parse(&bytes)
                .unwrap()
                .verify(message, &roots)
                .unwrap()
                .range();
            seeds.push((bytes, range, authority.signer.der.clone()));
        }
    }
    let (mut accepted, mut changed) = (0_u64, 0_u64);
    let wanted = wanted() / 4;
    for number in 0..wanted {
        let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.next();
        let (seed, ..) = &seeds[random.below(seeds.len())];
        let (other, ..) = &seeds[random.below(seeds.len())];
        let _witness = Witness(number, "token");
        let mut bytes = seed.clone();
        if random.below(2) == 0 {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        } else {
            mutate_range(&mut random, &mut bytes, other);
        }
        if bytes == *seed {
            continue;
        }
        changed += 1;
        let verified = Token::parse(&bytes).and_then(|token| token.verify(message, &roots));
        let Ok(verified) = verified else { continue };
        accepted += 1;
        let known = seeds.iter().any(|(_, range, signer)| {
            (verified.range(), verified.chain().leaf().der()) == (*range, signer)
        });
        assert!(known, "accepted with other content");
    }
    println!("{changed} mutants, {accepted} accepted with the same content");
    assert!(accepted < changed / 4, "{accepted} of {changed}");
}

/// How many mutants are made.
fn wanted() -> u64 {
    #[allow(
        clippy::disallowed_methods,
        reason = "the number of mutants is a setting of these tests alone"
    )]
    let wanted = std::env::var("HARDSIGN_MUTATIONS").ok();
    wanted.map_or(20_000, |n| n.parse().unwrap())
}
