//! JWS envelopes: what is read and what is not.

use hardsign_core::envelope::{Envelope, EnvelopeError, Format, Signature, SigningScheme};
use hardsign_test_support::jws::{Jws, Object, header, payload, protected, protected_by_authority};
use hardsign_test_support::{Builder, Key, Pki, Told};

const KEY: Key = Key::P256;

fn chain() -> Vec<Vec<u8>> {
    let pki = Pki::new();
    let leaf = pki.issue(Builder::leaf("Leaf", KEY.spki), &KEY);
    pki.chain(&leaf)
}

fn verify(bytes: &[u8]) -> Result<Signature, EnvelopeError> {
    Envelope::parse(Format::Jws, bytes)?.verify_integrity()
}

fn jws() -> Jws {
    Jws::sign(
        &protected(&KEY).to_json(),
        payload().as_bytes(),
        header(&chain()),
        &KEY,
    )
}

/// A valid signature over any protected header.
fn with_protected(protected: &Object) -> Result<Signature, EnvelopeError> {
    with_protected_text(&protected.to_json())
}

fn with_protected_text(protected: &str) -> Result<Signature, EnvelopeError> {
    let jws = Jws::sign(protected, payload().as_bytes(), header(&chain()), &KEY);
    verify(&jws.to_bytes())
}

fn with_header(change: impl FnOnce(Object) -> Object) -> Result<Signature, EnvelopeError> {
    let mut jws = jws();
    jws.header = change(jws.header);
    verify(&jws.to_bytes())
}

fn text(result: Result<Signature, EnvelopeError>) -> String {
    result.unwrap_err().told()
}

#[test]
fn a_good_envelope_is_read() {
    let signature = verify(&jws().to_bytes()).unwrap();
    assert_eq!(signature.format(), Format::Jws);
    assert_eq!(signature.bytes(), jws_bytes_of(&signature));
    assert_eq!(signature.payload().target.size, 528);
    assert_eq!(signature.payload_bytes(), payload().as_bytes());
    let attributes = signature.attributes();
    assert_eq!(attributes.signing_time.to_string(), "2026-01-02T03:04:05Z");
    assert_eq!(attributes.authentic_signing_time(), None);
    assert_eq!(
        signature.unsigned().signing_agent.as_deref(),
        Some("hardsign-tests/1.0")
    );
    assert_eq!(signature.unsigned().timestamp_token, None);
    assert_eq!(signature.signature_bytes().len(), 64);
}

fn jws_bytes_of(signature: &Signature) -> &[u8] {
    assert!(signature.bytes().starts_with(b"{\"payload\":"));
    signature.bytes()
}

/// JWS-01, JWS-02, DIF-02: exactly the four members of the flattened form.
#[test]
fn jws_01_flattened_form_only() {
    let good = jws();
    let compact = format!("{}.{}.{}", good.protected, good.payload, good.signature);
    assert!(verify(compact.as_bytes()).is_err());
    let general = format!(
        "{{\"payload\":\"{}\",\"signatures\":[{{\"protected\":\"{}\",\"header\":{},\"signature\":\"{}\"}}]}}",
        good.payload,
        good.protected,
        good.header.to_json(),
        good.signature
    );
    assert!(verify(general.as_bytes()).is_err());
    let object = good.to_object();
    assert!(verify(object.to_json().as_bytes()).is_ok());
    for extra in ["signatures", "x", "PAYLOAD", "Header"] {
        let bytes = object.clone().and(extra, "[]").to_json();
        assert!(verify(bytes.as_bytes()).is_err(), "{extra}");
    }
    for member in ["payload", "protected", "header", "signature"] {
        assert!(verify(object.clone().without(member).to_json().as_bytes()).is_err());
        assert!(verify(object.clone().with(member, "null").to_json().as_bytes()).is_err());
        assert!(verify(object.clone().with(member, "7").to_json().as_bytes()).is_err());
    }
    assert!(verify(b"[]").is_err());
}

/// DIF-22, ENV-29, ENV-30, JWS-04, JWS-05, JWS-17, JWS-23, JWS-24: the unprotected header.
#[test]
fn jws_04_unprotected_header() {
    let token = with_header(|h| h.with("io.cncf.notary.timestampSignature", "\"AAEC\"")).unwrap();
    assert_eq!(
        token.unsigned().timestamp_token.as_deref(),
        Some(&[0, 1, 2][..])
    );
    // JWS-05: the name in the specification's closing example is not the name.
    let other_name = with_header(|h| h.with("io.cncf.notary.timestamp", "\"AAEC\"")).unwrap();
    assert_eq!(other_name.unsigned().timestamp_token, None);
    // JWS-24: unknown members are ignored.
    assert!(with_header(|h| h.with("kid", "{\"a\":1}")).is_ok());
    let no_agent = with_header(|h| h.without("io.cncf.notary.signingAgent")).unwrap();
    assert_eq!(no_agent.unsigned().signing_agent, None);
    // ENV-30: an opaque text.
    for agent in ["", "  ", "no/version/at/all", "\u{1b}[31m"] {
        let json = format!("{agent:?}").replace("\\u{1b}", "\\u001b");
        let signature = with_header(|h| h.with("io.cncf.notary.signingAgent", &json)).unwrap();
        assert_eq!(signature.unsigned().signing_agent.as_deref(), Some(agent));
    }
    for (name, value) in [
        ("io.cncf.notary.timestampSignature", "\"AAE\""),
        ("io.cncf.notary.timestampSignature", "\"__8=\""),
        ("io.cncf.notary.timestampSignature", "\"\""),
        ("io.cncf.notary.timestampSignature", "null"),
        ("io.cncf.notary.signingAgent", "7"),
        ("io.cncf.notary.signingAgent", "null"),
        ("x5c", "\"AAEC\""),
        ("x5c", "[7]"),
        ("X5C", "[]"),
        ("io.cncf.notary.SigningAgent", "\"x\""),
    ] {
        assert!(
            with_header(|h| h.with(name, value)).is_err(),
            "{name} {value}"
        );
    }
}

/// JWS-16: the chain.
#[test]
fn jws_16_certificate_chain() {
    let text_of = |change: fn(Object) -> Object| text(with_header(change));
    assert_eq!(
        text_of(|h| h.without("x5c")),
        "certificate chain is not present"
    );
    assert_eq!(
        text_of(|h| h.with("x5c", "[]")),
        "certificate chain is not present"
    );
    assert_eq!(
        text_of(|h| h.with("x5c", "[\"AAEC\"]")),
        "malformed leaf certificate: x509: malformed certificate: Certificate, at byte 0: unknown/unsupported ASN.1 DER tag: 0x00"
    );
    // The length of an ECDSA signature varies, so that a chain now and then has no padding at all.
    let chain = std::iter::repeat_with(chain)
        .find(|chain| header(chain).to_json().contains("=\""))
        .unwrap();
    let unpadded = header(&chain).to_json().replace("=\"", "\"");
    assert!(unpadded != header(&chain).to_json());
    let mut jws = jws();
    jws.header = Object(vec![("x5c".to_owned(), unpadded)]);
    assert!(verify(&jws.to_bytes()).is_err());
    // JWS-28, X509-01: rules broken above the leaf are integrity failures.
    let broken = text(with_header(|_| header(&chain[..2])));
    assert!(
        broken.starts_with("certificate-chain is invalid, "),
        "{broken}"
    );
    let garbage = [chain[0].clone(), b"x".to_vec()];
    let broken = text(with_header(|_| header(&garbage)));
    assert!(
        broken.starts_with("certificate-chain is invalid, x509: malformed certificate"),
        "{broken}"
    );
    let many = vec![chain[0].clone(); 17];
    assert!(text(with_header(|_| header(&many))).contains("more than 16"));
}

/// ENV-33, JWS-08, SEC-05: the key decides; `alg` must say the same.
#[test]
fn jws_08_algorithm() {
    for alg in ["none", "HS256", "RS256", "es256", "ES256K", "EdDSA", ""] {
        let verdict = with_protected(&protected(&KEY).with("alg", &format!("\"{alg}\"")));
        assert_eq!(
            text(verdict),
            format!("signature algorithm \"{alg}\" is not supported")
        );
    }
    assert!(with_protected(&protected(&KEY).without("alg")).is_err());
    assert!(with_protected(&protected(&KEY).with("alg", "7")).is_err());
    for alg in ["ES384", "ES512", "PS256"] {
        let verdict = with_protected(&protected(&KEY).with("alg", &format!("\"{alg}\"")));
        assert!(
            matches!(verdict, Err(EnvelopeError::AlgorithmMismatch { .. })),
            "{alg}"
        );
    }
    let verdict = with_protected(&protected(&KEY).with("alg", "\"ES384\""));
    assert_eq!(
        text(verdict),
        "mismatch between signature algorithm derived from signing certificate (ECDSA-SHA-256) and signing algorithm specified (ECDSA-SHA-384s)"
    );
}

/// ENV-03: the content type.
#[test]
fn env_03_content_type() {
    let verdict = with_protected(&protected(&KEY).with("cty", "\"text/plain\""));
    assert_eq!(
        text(verdict),
        "payload content type \"text/plain\" not supported"
    );
    assert!(with_protected(&protected(&KEY).without("cty")).is_err());
    assert!(with_protected(&protected(&KEY).with("cty", "7")).is_err());
    let upper = "\"application/vnd.cncf.notary.payload.V1+json\"";
    assert!(with_protected(&protected(&KEY).with("cty", upper)).is_err());
}

/// JWS-09, JWS-11, JWS-12, JWS-13, JWS-23: `crit`.
#[test]
fn jws_09_critical_headers() {
    let crit = |value: &str| with_protected(&protected(&KEY).with("crit", value));
    assert_eq!(
        text(with_protected(&protected(&KEY).without("crit"))),
        "missing \"crit\" header"
    );
    assert_eq!(text(crit("[]")), "missing \"crit\" header");
    for wrong in ["null", "\"io.cncf.notary.signingScheme\"", "[7]", "{}"] {
        assert!(crit(wrong).is_err(), "{wrong}");
    }
    let ours = "\"io.cncf.notary.signingScheme\"";
    for (name, present) in [
        ("x", false),
        ("alg", true),
        ("cty", true),
        ("crit", true),
        ("io.cncf.notary.signingTime", true),
        ("io.cncf.notary.expiry", false),
        ("io.cncf.notary.authenticSigningTime", false),
    ] {
        let verdict = crit(&format!("[{ours},\"{name}\"]"));
        assert_eq!(
            text(verdict),
            format!("\"{name}\" header is marked critical but not present"),
            "present: {present}"
        );
    }
    assert!(matches!(
        crit(&format!("[{ours},{ours}]")),
        Err(EnvelopeError::CriticalRepeated { .. })
    ));
    // JWS-13: RFC 7797 is not supported.
    for value in ["true", "false"] {
        let b64 = protected(&KEY)
            .with("b64", value)
            .with("crit", &format!("[{ours},\"b64\"]"));
        assert!(matches!(
            with_protected(&b64),
            Err(EnvelopeError::UnsupportedCritical { .. })
        ));
    }
    // DIF-35: the order has no meaning.
    for order in [format!("[{ours},\"x\"]"), format!("[\"x\",{ours}]")] {
        assert!(with_protected(&protected(&KEY).with("x", "1").with("crit", &order)).is_ok());
    }
    let other = protected(&KEY).with("x", "1").with("crit", "[\"x\"]");
    assert_eq!(
        text(with_protected(&other)),
        "these required headers are not marked as critical: [io.cncf.notary.signingScheme]"
    );
    let expiring = protected(&KEY).with("io.cncf.notary.expiry", "\"2027-01-01T00:00:00Z\"");
    assert_eq!(
        text(with_protected(&expiring)),
        "these required headers are not marked as critical: [io.cncf.notary.expiry]"
    );
    let authority = protected_by_authority(&KEY);
    let verdict = with_protected(&authority.with("crit", &format!("[{ours}]")));
    assert_eq!(
        text(verdict),
        "these required headers are not marked as critical: [io.cncf.notary.authenticSigningTime]"
    );
}

/// ENV-17, JWS-21: the scheme.
#[test]
fn jws_21_signing_scheme() {
    for scheme in ["notary.x509.", "Notary.x509", ""] {
        let header = protected(&KEY).with("io.cncf.notary.signingScheme", &format!("\"{scheme}\""));
        assert_eq!(
            text(with_protected(&header)),
            format!("unsupported SigningScheme: `{scheme}`")
        );
    }
    let absent = protected(&KEY).without("io.cncf.notary.signingScheme");
    assert!(with_protected(&absent).is_err());
}

/// ENV-18 to ENV-22, ENV-40, JWS-19: times and schemes.
#[test]
fn jws_19_time_belongs_to_scheme() {
    let authority = with_protected(&protected_by_authority(&KEY)).unwrap();
    let attributes = authority.attributes();
    assert_eq!(attributes.signing_scheme, SigningScheme::SigningAuthority);
    assert_eq!(
        attributes.authentic_signing_time().unwrap().to_string(),
        "2026-01-02T03:04:05Z"
    );
    let time = "\"2026-01-02T03:04:05Z\"";
    assert_eq!(
        text(with_protected(
            &protected(&KEY).with("io.cncf.notary.authenticSigningTime", time)
        )),
        "\"io.cncf.notary.authenticSigningTime\" header must not be present for notary.x509 signing scheme"
    );
    assert_eq!(
        text(with_protected(
            &protected_by_authority(&KEY).with("io.cncf.notary.signingTime", time)
        )),
        "\"io.cncf.notary.signingTime\" header must not be present for notary.x509.signingAuthority signing scheme"
    );
    let missing = protected_by_authority(&KEY).without("io.cncf.notary.authenticSigningTime");
    assert!(matches!(
        with_protected(&missing),
        Err(EnvelopeError::AuthenticSigningTimeMissing { .. })
    ));
    let missing = protected(&KEY).without("io.cncf.notary.signingTime");
    assert_eq!(text(with_protected(&missing)), "signing-time not present");
    let zero = protected(&KEY).with("io.cncf.notary.signingTime", "\"0001-01-01T00:00:00Z\"");
    assert_eq!(text(with_protected(&zero)), "signing-time not present");
}

/// ENV-21, JWS-20: expiry.
#[test]
fn env_21_expiry() {
    let expiring = |value: &str| {
        with_protected(&protected(&KEY).with("io.cncf.notary.expiry", value).with(
            "crit",
            "[\"io.cncf.notary.signingScheme\",\"io.cncf.notary.expiry\"]",
        ))
    };
    let good = expiring("\"2026-01-02T03:04:06Z\"").unwrap();
    assert_eq!(
        good.attributes().expiry.unwrap().to_string(),
        "2026-01-02T03:04:06Z"
    );
    for early in ["\"2026-01-02T03:04:05Z\"", "\"2026-01-02T03:04:04Z\""] {
        assert_eq!(
            text(expiring(early)),
            "expiry cannot be equal or before the signing time"
        );
    }
    // JWS-20: neither null nor the zero time means "none", critical or not.
    for sentinel in ["null", "\"0001-01-01T00:00:00Z\"", "7", "\"\""] {
        assert!(expiring(sentinel).is_err(), "{sentinel}");
        let unlisted = protected(&KEY).with("io.cncf.notary.expiry", sentinel);
        assert!(with_protected(&unlisted).is_err(), "{sentinel}");
    }
}

/// JWS-18, ENV-24: RFC 3339, nothing looser.
#[test]
fn jws_18_times() {
    let at = |time: &str| {
        let header = protected(&KEY).with("io.cncf.notary.signingTime", &format!("\"{time}\""));
        with_protected(&header).map(|s| s.attributes().signing_time.to_string())
    };
    for (time, utc) in [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T12:04:05+09:00", "2026-01-02T03:04:05Z"),
        ("2026-01-01T21:34:05-05:30", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.25Z", "2026-01-02T03:04:05.25Z"),
        (
            "2026-01-02T03:04:05.1234567891Z",
            "2026-01-02T03:04:05.123456789Z",
        ),
        ("2024-02-29T00:00:00+00:00", "2024-02-29T00:00:00Z"),
        ("0001-01-01T00:00:01Z", "0001-01-01T00:00:01Z"),
    ] {
        assert_eq!(at(time).unwrap(), utc, "{time}");
    }
    for bad in [
        "2026-01-02t03:04:05Z",
        "2026-01-02T03:04:05z",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T24:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-02T03:04:05",
        "2026-01-02T03:04Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T3:04:05Z",
        "26-01-02T03:04:05Z",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05+09:60",
        "2026-01-02T03:04:05+0900",
        "2026-01-02T03:04:05+9:00",
        "2026-01-02T03:04:05Z ",
        "+2026-01-02T03:04:05Z",
        "9999-12-31T23:59:59Z",
        "",
    ] {
        assert!(at(bad).is_err(), "{bad}");
    }
    let number = protected(&KEY).with("io.cncf.notary.signingTime", "1767323045");
    assert!(with_protected(&number).is_err());
}

/// JWS-14, JWS-15: base64url without padding, and the bytes as they stand are what is signed.
#[test]
fn jws_14_base64url() {
    let good = jws();
    // Signed anew over the damaged text, so that only its encoding is at fault.
    let resigned = |protected: &str, payload: &str| {
        use base64::Engine as _;
        let signature = KEY.sign(format!("{protected}.{payload}").as_bytes());
        let mut jws = good.clone();
        jws.protected = protected.to_owned();
        jws.payload = payload.to_owned();
        jws.signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature);
        verify(&jws.to_bytes())
    };
    let (protected, payload) = (good.protected.as_str(), good.payload.as_str());
    assert!(resigned(protected, payload).is_ok());
    for damage in ["=", "==", " ", "\\n", "\\r\\n", "+", "!"] {
        assert!(
            resigned(&format!("{protected}{damage}"), payload).is_err(),
            "{damage:?}"
        );
        assert!(
            resigned(protected, &format!("{payload}{damage}")).is_err(),
            "{damage:?}"
        );
        let (start, end) = payload.split_at(8);
        assert!(
            resigned(protected, &format!("{start}{damage}{end}")).is_err(),
            "{damage:?}"
        );
        let mut jws = good.clone();
        jws.signature = format!("{}{damage}", jws.signature);
        assert!(verify(&jws.to_bytes()).is_err(), "{damage:?}");
    }
    // Stray bits in the last character: 64 bytes end in a character with four of them unused.
    let mut jws = good.clone();
    let last = jws.signature.pop().unwrap();
    let next = char::from(u8::try_from(last).unwrap() + 1);
    jws.signature.push(next);
    assert!(verify(&jws.to_bytes()).is_err());
    // An escape in the JSON is another spelling of the same text.
    let bytes = good.to_object().to_json().replacen(
        &format!("\"payload\":\"{}", &payload[..1]),
        &format!("\"payload\":\"\\u{:04x}", payload.as_bytes()[0]),
        1,
    );
    assert!(verify(bytes.as_bytes()).is_ok());
}

/// JWS-27, JWS-28: texts of failed signatures.
#[test]
fn jws_27_texts() {
    let mut bad = jws();
    bad.payload = bad.payload.replacen('e', "f", 1);
    assert_eq!(
        text(verify(&bad.to_bytes())),
        "signature is invalid. Error: crypto/ecdsa: verification error"
    );
    let pki = Pki::new();
    let leaf = pki.issue(Builder::leaf("Leaf", Key::RSA_2048.spki), &Key::RSA_2048);
    let mut rsa = Jws::sign(
        &protected(&Key::RSA_2048).to_json(),
        payload().as_bytes(),
        header(&pki.chain(&leaf)),
        &Key::RSA_2048,
    );
    assert!(verify(&rsa.to_bytes()).is_ok());
    rsa.signature = rsa.signature.chars().rev().collect();
    let error = text(verify(&rsa.to_bytes()));
    assert!(
        error == "signature is invalid. Error: crypto/rsa: verification error"
            || error.contains("base64url"),
        "{error}"
    );
    let mut none = jws();
    none.signature.clear();
    assert_eq!(
        text(verify(&none.to_bytes())),
        "signature missing in jws-json envelope"
    );
    let mut garbled = jws();
    garbled.protected = "AA".to_owned();
    let error = text(verify(&garbled.to_bytes()));
    assert!(
        error.starts_with("jws envelope protected header can't be decoded: "),
        "{error}"
    );
}

/// JWS-22: nothing after the JSON texts but white space.
#[test]
fn jws_22_trailing_bytes() {
    let bytes = jws().to_bytes();
    let with = |tail: &[u8]| verify(&[bytes.as_slice(), tail].concat());
    assert!(with(b" \r\n\t").is_ok());
    for tail in [&b"{}"[..], b"x", b"\0", b","] {
        assert!(with(tail).is_err());
    }
    let header = protected(&KEY).to_json();
    assert!(with_protected_text(&format!(" {header}\n")).is_ok());
    assert!(with_protected_text(&format!("{header}{{}}")).is_err());
    assert!(with_protected_text(&format!("{header}x")).is_err());
    assert!(with_protected_text("[]").is_err());
}

/// JWS-25, ENV-16, SEC-26: no name twice, no case variants.
#[test]
fn jws_25_duplicates_and_case() {
    let cty = "\"application/vnd.cncf.notary.payload.v1+json\"";
    assert!(with_protected(&protected(&KEY).and("cty", cty)).is_err());
    for variant in [
        "CTY",
        "Alg",
        "IO.cncf.notary.signingScheme",
        "io.cncf.notary.\u{17f}igningScheme",
        "Crit",
    ] {
        assert!(
            with_protected(&protected(&KEY).and(variant, cty)).is_err(),
            "{variant}"
        );
    }
    let twice = jws().to_object().and("payload", "\"e30\"").to_json();
    assert!(verify(twice.as_bytes()).is_err());
    assert!(with_header(|h| h.and("x5c", "[]")).is_err());
}

/// ENV-42: size, nesting, number of headers.
#[test]
fn env_42_bounds() {
    let huge = vec![b' '; 32 * 1024 * 1024 + 1];
    assert!(matches!(verify(&huge), Err(EnvelopeError::TooLarge { .. })));
    let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
    assert!(with_protected(&protected(&KEY).with("x", &deep)).is_err());
    let many =
        |header: Object, more: usize| (0..more).fold(header, |h, i| h.and(&format!("x{i}"), "1"));
    assert!(with_protected(&many(protected(&KEY), 120)).is_ok());
    let refused = |verdict| matches!(verdict, Err(EnvelopeError::TooManyHeaders));
    assert!(refused(with_protected(&many(protected(&KEY), 130))));
    assert!(refused(with_header(|h| many(h, 130))));
    let names: Vec<String> = (0..130).map(|i| format!("\"{i}\"")).collect();
    let crit = format!("[{}]", names.join(","));
    assert!(refused(with_protected(
        &protected(&KEY).with("crit", &crit)
    )));
    // Errors stay short, whatever the envelope holds.
    let long = format!("\"{}\"", "x".repeat(100_000));
    for name in ["alg", "cty", "io.cncf.notary.signingScheme"] {
        assert!(
            text(with_protected(&protected(&KEY).with(name, &long))).len() < 1000,
            "{name}"
        );
    }
}

/// The unsigned content is there for display, under a name that says so.
#[test]
fn unverified_content_is_for_display() {
    let mut bad = jws();
    bad.signature = jws().signature.replacen(char::is_alphanumeric, "A", 3);
    assert!(verify(&bad.to_bytes()).is_err());
    let envelope = Envelope::parse(Format::Jws, &bad.to_bytes()).unwrap();
    let unverified = envelope.danger_unverified().unwrap();
    assert_eq!(unverified.danger_content().payload.target.size, 528);
}

/// ENV-42: what makes work without end is counted while it is read, in the envelope and in each of
/// its parts; a second is many times what it may take.
#[test]
fn env_42_values_are_counted_while_they_are_read() {
    let start = std::time::Instant::now();
    let many = |n: usize| {
        let members: Vec<String> = (0..n).map(|i| format!("\"k{i}\":\"v\"")).collect();
        members.join(",")
    };
    let annotated = |n: usize| {
        let payload = payload();
        let end = payload.rfind("}}").unwrap();
        format!("{},\"annotations\":{{{}}}}}}}", &payload[..end], many(n))
    };
    let signed = |protected: &str, payload: &str| {
        Jws::sign(protected, payload.as_bytes(), header(&chain()), &KEY).to_bytes()
    };
    let usual = protected(&KEY).to_json();
    // As many as nobody needs, and still read.
    assert!(verify(&signed(&usual, &annotated(5_000))).is_ok());
    for bytes in [
        signed(&usual, &annotated(900_000)),
        signed(&format!("{{\"x\":{{{}}}}}", many(300_000)), &payload()),
        signed(
            &format!("{{\"crit\":[{}0]}}", "0,".repeat(1_000_000)),
            &payload(),
        ),
        format!("{{\"header\":{{{}}}}}", many(300_000)).into_bytes(),
        format!(
            "{{\"header\":{{\"x5c\":[{}\"\"]}}}}",
            "\"\",".repeat(1_000_000)
        )
        .into_bytes(),
        format!("[{}0]", "0,".repeat(8_000_000)).into_bytes(),
    ] {
        let error = verify(&bytes).unwrap_err().told();
        assert!(error.contains("more than 10000 values"), "{error}");
    }
    // More certificates than a chain has are not decoded.
    let long = vec!["\"MAA=\""; 17].join(",");
    let error = with_header(|header| header.with("x5c", &format!("[{long}]"))).unwrap_err();
    assert!(matches!(error, EnvelopeError::Chain { .. }), "{error}");
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}
