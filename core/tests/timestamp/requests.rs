//! Requests and answers (TSA-03, TSA-04, TSA-06, TSA-07, TSA-12, TSA-15).

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use hardsign_core::algorithm::HashAlgorithm;
use hardsign_core::timestamp::{InfoError, Request, ResponseError, TimestampAnswer, TokenError};
use hardsign_test_support::asn1::tlv;
use hardsign_test_support::token::{self as parts, Authority, response};
use hardsign_test_support::{Key, Told};

use super::{MESSAGE, roots};

/// The nonce of a request, after a look at all the rest of it.
fn nonce(request: &Request, hash: HashAlgorithm) -> Vec<u8> {
    let der = request.to_der();
    let outer = AnyRef::from_der(&der).unwrap();
    assert_eq!(outer.tag(), Tag::Sequence);
    let mut reader = SliceReader::new(outer.value()).unwrap();
    assert_eq!(u8::decode(&mut reader).unwrap(), 1, "version");
    let digest = reader
        .sequence(|imprint| {
            imprint.sequence(|algorithm| {
                let oid = ObjectIdentifier::decode(algorithm)?;
                assert!(
                    parts::hash_identifier(hash).ends_with(&[oid.as_bytes(), &[5, 0]].concat())
                );
                assert!(AnyRef::decode(algorithm)?.is_null(), "parameters NULL");
                Ok(())
            })?;
            Ok(AnyRef::decode(imprint)?.value().to_vec())
        })
        .unwrap();
    assert_eq!(digest, parts::hash(hash, MESSAGE));
    let nonce = AnyRef::decode(&mut reader).unwrap();
    assert_eq!(nonce.tag(), Tag::Integer);
    assert!(bool::decode(&mut reader).unwrap(), "certReq");
    // No policy, no extensions.
    reader.finish(nonce.value().to_vec()).unwrap()
}

/// A request, and a token that answers it.
fn asked(authority: &Authority) -> (Request, parts::Token) {
    let request = Request::new(HashAlgorithm::Sha256, MESSAGE).unwrap();
    let mut token = authority.token(MESSAGE);
    token.nonce = Some(nonce(&request, HashAlgorithm::Sha256));
    (request, token)
}

fn answer(change: impl FnOnce(&mut parts::Token)) -> Result<TimestampAnswer, ResponseError> {
    let authority = Authority::new(&Key::P256);
    let (request, mut token) = asked(&authority);
    change(&mut token);
    let response = response(0, &[], None, &token.build());
    request.accept(&response, MESSAGE, &roots(&authority))
}

/// TSA-03, TSA-04, TSA-02: every field; the nonce is positive, long, and another each time.
#[test]
fn requests() {
    let mut nonces = Vec::new();
    for hash in HashAlgorithm::ALL {
        for _ in 0..8 {
            let nonce = nonce(&Request::new(hash, MESSAGE).unwrap(), hash);
            assert_eq!(nonce.len(), 20);
            assert!((0x40..0x80).contains(&nonce[0]));
            nonces.push(nonce);
        }
    }
    let count = nonces.len();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), count);
}

/// TSA-07: granted, with or without modifications; TSA-12: the token as it was sent.
#[test]
fn granted() {
    // PKCS#1 v1.5 signs the same way each time.
    let authority = Authority::new(&Key::RSA_2048);
    let (request, mut token) = asked(&authority);
    let der = token.build();
    for status in [0, 1] {
        let response = response(status, &["granted"], None, &der);
        let answer = request
            .accept(&response, MESSAGE, &roots(&authority))
            .unwrap();
        assert_eq!(answer.token, der);
        assert_eq!(answer.verified.chain().leaf().der(), authority.signer.der);
    }
    // BER is kept as the DER that it stands for (TSA-17).
    token.ber = true;
    let response = response(0, &[], None, &token.build());
    let answer = request
        .accept(&response, MESSAGE, &roots(&authority))
        .unwrap();
    assert_eq!(answer.token, der);
}

/// TSA-07: everything else is no.
#[test]
fn refused() {
    let authority = Authority::new(&Key::P256);
    let (request, token) = asked(&authority);
    let token = token.build();
    let error = |response: &[u8]| {
        request
            .accept(response, MESSAGE, &roots(&authority))
            .unwrap_err()
            .told()
    };
    assert_eq!(
        error(&response(
            2,
            &["not \u{1b}[1m today"],
            Some(0b0010_0000),
            &[]
        )),
        "the timestamping authority refused the request: rejection (badRequest: transaction not permitted or supported): \"not \\x1b[1m today\""
    );
    for status in [2, 3, 4, 5, 6, 200] {
        let text = error(&response(status, &[], None, &token));
        assert!(
            text.starts_with("the timestamping authority refused"),
            "{status}: {text}"
        );
    }
    assert_eq!(
        error(&response(0, &[], None, &[])),
        ResponseError::NoToken.to_string()
    );
    for bytes in [&b""[..], b"<html>", &tlv(0x30, &[]), &[0x30, 0x80]] {
        let text = error(bytes);
        assert!(
            text.starts_with("invalid timestamping response: "),
            "{text}"
        );
    }
}

/// TSA-04, TSA-07, SEC-19: nonce and imprint are those of the request.
#[test]
fn answers_to_another_request() {
    assert!(answer(|_| {}).is_ok());
    assert_eq!(
        answer(|t| t.nonce = None).unwrap_err(),
        ResponseError::Nonce
    );
    let changed = |t: &mut parts::Token| t.nonce.as_mut().unwrap()[19] ^= 1;
    assert_eq!(answer(changed).unwrap_err(), ResponseError::Nonce);
    let shorter = |t: &mut parts::Token| t.nonce.as_mut().unwrap().truncate(19);
    assert_eq!(answer(shorter).unwrap_err(), ResponseError::Nonce);
    let mismatch = ResponseError::Token(TokenError::Info {
        source: InfoError::Mismatch,
    });
    assert_eq!(answer(|t| t.imprint[0] ^= 1).unwrap_err(), mismatch);
    // Over the right message, but not under the hash that was asked for.
    let other_hash = |t: &mut parts::Token| {
        t.imprint_algorithm = parts::hash_identifier(HashAlgorithm::Sha512);
        t.imprint = parts::hash(HashAlgorithm::Sha512, MESSAGE);
    };
    assert_eq!(
        answer(other_hash).unwrap_err(),
        ResponseError::HashAlgorithm
    );
}

/// TSA-15: parameters that are absent are as good as NULL.
#[test]
fn imprint_without_parameters() {
    let bare = |t: &mut parts::Token| {
        t.imprint_algorithm = parts::bare_hash_identifier(HashAlgorithm::Sha256);
    };
    assert!(answer(bare).is_ok());
}
