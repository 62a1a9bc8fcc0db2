//! Timestamps through the whole of verification: real tokens over real signatures.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hardsign_core::envelope::Format;
use hardsign_core::revocation::{self, Checked, Checker, Inquiry, Status};
use hardsign_core::x509::{Chain, Timestamping};
use hardsign_test_support::asn1::{integer, sequence};
use hardsign_test_support::token::{Authority, Token};
use hardsign_test_support::{Builder, Issued, Key, Told, cose, jws};

use crate::world::{Shelf, World, artifact, level, payload, rejected, verdict, verified};

/// A root, and the chain of a leaf that was valid from 2022 to 2025.
fn signer() -> (Issued, Vec<Vec<u8>>) {
    let root = Builder::ca("Root", &Key::P256).self_signed(&Key::P256);
    let leaf = Builder::leaf("leaf", Key::P256.spki)
        .valid("2022-01-01T00:00:00Z", "2025-01-01T00:00:00Z")
        .issue(&root, &Key::P256);
    (root.clone(), vec![leaf.der, root.der])
}

/// An envelope over the artifact with a token that `stamp` makes for its primitive signature.
fn stamped(format: Format, chain: &[Vec<u8>], stamp: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let key = &Key::P256;
    let (name, payload) = ("io.cncf.notary.timestampSignature", payload(&artifact()));
    match format {
        Format::Jws => {
            let protected = jws::protected(key)
                .with("io.cncf.notary.signingTime", "\"2024-06-01T00:00:00Z\"")
                .to_json();
            let header = jws::header(chain);
            let mut envelope = jws::Jws::sign(&protected, payload.as_bytes(), header, key);
            let token = stamp(&URL_SAFE_NO_PAD.decode(&envelope.signature).unwrap());
            let token = format!("\"{}\"", STANDARD.encode(token));
            envelope.header = envelope.header.with(name, &token);
            envelope.to_bytes()
        }
        Format::Cose => {
            let protected = cose::protected(key).to_cbor();
            let header = cose::unprotected(chain);
            let plain = cose::Cose::sign(&protected, payload.as_bytes(), &header, key);
            let token = ciborium::Value::Bytes(stamp(&plain.signature));
            let unprotected = header.with(name, token).to_cbor();
            cose::Cose {
                unprotected,
                ..plain
            }
            .to_bytes()
        }
    }
}

fn at(mut token: Token, time: &str, accuracy: u32) -> Token {
    token.gen_time = time.as_bytes().to_vec();
    token.accuracy = sequence(&[&integer(accuracy)]);
    token
}

/// Now is 2026, a year after the leaf expired; `ca:t` trusts the signer, `tsa:t` the authority.
fn world(root: &Issued, authority: &Authority, verification: &str) -> World {
    let rest = level(verification).replace(r#"["ca:t"]"#, r#"["ca:t","tsa:t"]"#);
    World::new()
        .trust("ca:t", root)
        .trust("tsa:t", &authority.root)
        .statement(&rest)
}

/// TSA-26, TSA-29, TSA-30, TSA-31, TSA-37: an expired chain with a timestamp from its lifetime, in
/// both formats, and what each fault of the token says.
#[tokio::test]
async fn expired_chains_with_timestamps() {
    let (root, chain) = signer();
    let authority = Authority::new(&Key::P256);
    for when in ["always", "afterCertExpiry"] {
        let verification = format!(r#""level":"strict","verifyTimestamp":"{when}""#);
        let world = world(&root, &authority, &verification);
        for format in Format::ALL {
            let good = |m: &[u8]| at(authority.token(m), "20240601000000Z", 1).build();
            let mut shelf = Shelf::default();
            shelf.add(format, &stamped(format, &chain, good), None);
            let verified = verified(world.verify(&shelf).await);
            assert!(
                verified.signatures()[0]
                    .signature
                    .report()
                    .authentic_timestamp
                    .is_passed()
            );
            let events = world.events();
            for text in [
                "Performing timestamp verification...",
                "Timestamp verification: Success",
            ] {
                assert!(events.iter().any(|e| e == text), "{text}");
            }
        }
    }
    let world = world(&root, &authority, r#""level":"strict""#);
    let subject = "\"CN=leaf,O=Hardsign Tests,ST=WA,C=US\"";
    let verify = "failed to verify the timestamp countersignature: ";
    let before = format!(
        "timestamp can be before certificate {subject} validity period, it will be valid from \"Sat, 01 Jan 2022 00:00:00 +0000\""
    );
    let after = format!(
        "timestamp can be after certificate {subject} validity period, it was expired at \"Wed, 01 Jan 2025 00:00:00 +0000\""
    );
    let of = |token: Token| move |_: &[u8]| token.build();
    type Stamp<'a> = Box<dyn FnOnce(&[u8]) -> Vec<u8> + 'a>;
    let time = |time: &'static str, accuracy| -> Stamp<'_> {
        let authority = &authority;
        Box::new(move |m| at(authority.token(m), time, accuracy).build())
    };
    let cases: Vec<(Stamp<'_>, String)> = vec![
        // Bounds included, on both sides (TSA-31).
        (time("20220101000001Z", 1), String::new()),
        (time("20241231235959Z", 1), String::new()),
        (time("20220101000000Z", 1), before),
        (time("20250101000000Z", 1), after.clone()),
        (time("20241231235959.5Z", 1), after.clone()),
        (time("20260101000000Z", 1), after),
        (
            Box::new(of(at(authority.token(b"another"), "20240601000000Z", 1))),
            format!("{verify}invalid TSTInfo: mismatched message"),
        ),
        (
            Box::new(|_: &[u8]| b"invalid".to_vec()),
            format!("{verify}cms: syntax error: invalid signed data: "),
        ),
    ];
    for (stamp, expected) in cases {
        let envelope = stamped(Format::Jws, &chain, stamp);
        let result = world.verify(&Shelf::of(&[envelope])).await;
        if expected.is_empty() {
            verified(result);
        } else {
            let error = rejected(result).told();
            assert!(error.starts_with(&expected), "{error}\n{expected}");
        }
    }
}

/// TSA-33: only the roots of the statement's `tsa` stores; a `ca` store, the token's own root or a
/// store that can't be used are none.
#[tokio::test]
async fn authorities_outside_the_stores() {
    let (root, chain) = signer();
    let authority = Authority::new(&Key::P256);
    let envelope = stamped(Format::Jws, &chain, |m| {
        let mut token = at(authority.token(m), "20240601000000Z", 1);
        token.certificates.push(authority.root.der.clone());
        token.build()
    });
    let shelf = Shelf::of(&[envelope]);
    let statement = |stores: &str| level(r#""level":"strict""#).replace(r#"["ca:t"]"#, stores);
    let untrusted = "failed to verify the timestamp countersignature: the certificate chain of the timestamping authority \"CN=TSA,O=Hardsign Tests,ST=WA,C=US\" ends in no trusted root";
    let other = Builder::ca("TSA Root", &Key::P521).self_signed(&Key::P521);
    for (stores, expected) in [
        (r#"["ca:t","tsa:good"]"#, ""),
        (r#"["ca:t","tsa:other","tsa:good"]"#, ""),
        (r#"["ca:t","tsa:other"]"#, untrusted),
        (
            r#"["ca:t","tsa:nosuch"]"#,
            "failed to load tsa trust store: the trust store \"nosuch\" of type \"tsa\" does not exist",
        ),
        (
            r#"["ca:t","tsa:good","tsa:nosuch"]"#,
            "failed to load tsa trust store: the trust store \"nosuch\" of type \"tsa\" does not exist",
        ),
    ] {
        let world = World::new()
            .trust("ca:t", &root)
            .trust("ca:t", &authority.root)
            .trust("tsa:good", &authority.root)
            .trust("tsa:other", &other)
            .statement(&statement(stores));
        let result = world.verify(&shelf).await;
        if expected.is_empty() {
            verified(result);
        } else {
            assert_eq!(rejected(result).told(), expected, "{stores}");
        }
    }
}

/// A stand-in for OCSP and CRLs that gives every certificate of a timestamping chain this status,
/// and calls those of signing chains good.
struct Statuses(fn() -> Status);

#[async_trait]
impl Checker for Statuses {
    async fn check(&self, inquiry: Inquiry<'_>) -> Vec<Checked> {
        let of_authority = Chain::<Timestamping>::prove(inquiry.certificates.to_vec()).is_ok();
        let status = || {
            if of_authority {
                (self.0)()
            } else {
                Status::Good
            }
        };
        inquiry
            .certificates
            .iter()
            .map(|_| status().into())
            .collect()
    }
}

fn unknown() -> Status {
    Status::Unknown(revocation::Unknown::NoAnswer { attempts: vec![] })
}

/// TSA-32, REV-10, VER-06, CVE-2024-56138: the authority's chain is checked whatever the action for
/// revocation is, and what then happens is the action for authenticTimestamp. The checker is a
/// stand-in.
#[tokio::test]
async fn revoked_authorities() {
    let (root, chain) = signer();
    let authority = Authority::new(&Key::P256);
    let good = |m: &[u8]| at(authority.token(m), "20240601000000Z", 1).build();
    let shelf = Shelf::of(&[stamped(Format::Jws, &chain, good)]);
    let refused = "refused by authenticTimestamp";
    let logged = "logged authenticTimestamp";
    for (verification, expected) in [
        (r#""level":"strict""#, refused),
        (
            r#""level":"strict","override":{"revocation":"skip"}"#,
            refused,
        ),
        (
            r#""level":"strict","override":{"revocation":"log"}"#,
            refused,
        ),
        (r#""level":"permissive""#, logged),
        (
            r#""level":"permissive","override":{"revocation":"skip"}"#,
            logged,
        ),
        (
            r#""level":"audit","override":{"authenticTimestamp":"enforce"}"#,
            refused,
        ),
        (
            r#""level":"strict","override":{"authenticTimestamp":"log"}"#,
            logged,
        ),
    ] {
        let world = world(&root, &authority, verification);
        let by = |status| world.verifier().with_revocation(Statuses(status));
        assert_eq!(
            verdict(world.verify_by(&by(|| Status::Good), &shelf).await),
            "ok"
        );
        for status in [|| Status::Revoked, || unknown()] {
            let result = world.verify_by(&by(status), &shelf).await;
            assert_eq!(verdict(result), expected, "{verification}");
        }
    }
    let world = world(&root, &authority, r#""level":"strict""#);
    let text = async |status| {
        let verifier = world.verifier().with_revocation(Statuses(status));
        rejected(world.verify_by(&verifier, &shelf).await).told()
    };
    let subject = "timestamping certificate with subject \"CN=TSA,O=Hardsign Tests,ST=WA,C=US\"";
    assert_eq!(
        text(|| Status::Revoked).await,
        format!("{subject} is revoked")
    );
    assert_eq!(
        text(unknown).await,
        format!("{subject} revocation status is unknown")
    );
}
