//! Clocks: validity of chains, timestamps, signing authorities.

use hardsign_core::envelope::Format;
use hardsign_test_support::{Builder, Issued, Key, Pki, Told, jws};
use jiff::{Span, Timestamp};

use crate::world::{
    Shelf, World, artifact, level, payload, rejected, sign, signer, strict, verdict, verified,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A root, a CA and a leaf, each with a validity of its own, the leaf outliving its CA.
fn chain() -> (Issued, Vec<Vec<u8>>) {
    let root = Builder::ca("Root", &Key::P256)
        .valid("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z")
        .self_signed(&Key::P256);
    let ca = Builder::ca("CA", &Key::P256_B)
        .valid("2021-01-01T00:00:00Z", "2026-06-01T00:00:00Z")
        .issue(&root, &Key::P256_B);
    let leaf = Builder::leaf("leaf", Key::P256.spki)
        .valid("2022-01-01T00:00:00Z", "2028-01-01T00:00:00Z")
        .issue(&ca, &Key::P256);
    let chain = vec![leaf.der, ca.der, root.der.clone()];
    (root, chain)
}

/// VER-16, TSA-28, CVE-2026-24122: the clock swept over every boundary of the chain. All certificates are
/// judged at the same instant, bounds included.
#[tokio::test]
async fn clock_swept_over_the_chain() {
    let (root, chain) = chain();
    let shelf = Shelf::of(&[sign(Format::Jws, &artifact(), &chain, &Key::P256)]);
    let mut world = World::new().trust("ca:t", &root).statement(&strict());
    let (first, last) = (at("2022-01-01T00:00:00Z"), at("2026-06-01T00:00:00Z"));
    for boundary in [
        "2020-01-01T00:00:00Z",
        "2021-01-01T00:00:00Z",
        "2022-01-01T00:00:00Z",
        "2026-06-01T00:00:00Z",
        "2028-01-01T00:00:00Z",
        "2030-01-01T00:00:00Z",
    ] {
        for seconds in [-1, 0, 1] {
            world.now = at(boundary)
                .checked_add(Span::new().seconds(seconds))
                .unwrap();
            let expected = if world.now >= first && world.now <= last {
                "ok"
            } else {
                "refused by authenticTimestamp"
            };
            assert_eq!(
                verdict(world.verify(&shelf).await),
                expected,
                "{}",
                world.now
            );
        }
    }
    world.now = at("2027-01-01T00:00:00Z");
    assert_eq!(
        rejected(world.verify(&shelf).await).told(),
        "verification time is after certificate \"CN=CA,O=Hardsign Tests,ST=WA,C=US\" validity period, it was expired at \"Mon, 01 Jun 2026 00:00:00 +0000\""
    );
    world.now = at("2021-06-01T00:00:00Z");
    assert_eq!(
        rejected(world.verify(&shelf).await).told(),
        "verification time is before certificate \"CN=leaf,O=Hardsign Tests,ST=WA,C=US\" validity period, it will be valid from \"Sat, 01 Jan 2022 00:00:00 +0000\""
    );
}

/// TSA-26, TSA-29, TSA-30, TSA-34: when a timestamp is needed; then there must be one.
#[tokio::test]
async fn timestamps_needed_and_not() {
    let (root, chain) = chain();
    let key = &Key::P256;
    let plain = sign(Format::Jws, &artifact(), &chain, key);
    let stamped = jws::Jws::sign(
        &jws::protected(key).to_json(),
        payload(&artifact()).as_bytes(),
        jws::header(&chain).with("io.cncf.notary.timestampSignature", "\"AAAA\""),
        key,
    )
    .to_bytes();
    let missing = "no timestamp countersignature was found in the signature envelope";
    let unchecked = "failed to verify the timestamp countersignature: cms: syntax error: ";
    let (valid, expired) = ("2026-01-02T00:00:00Z", "2026-06-01T00:00:01Z");
    let past = "verification time is after certificate";
    for (tsa, option, now, signature, expected) in [
        (false, "", valid, &plain, ""),
        (false, "always", valid, &plain, ""),
        (false, "", valid, &stamped, ""),
        (false, "", expired, &stamped, past),
        (true, "", valid, &plain, missing),
        (true, "always", valid, &plain, missing),
        (true, "always", valid, &stamped, unchecked),
        (true, "afterCertExpiry", valid, &plain, ""),
        (true, "afterCertExpiry", valid, &stamped, ""),
        (true, "afterCertExpiry", expired, &plain, missing),
        (true, "afterCertExpiry", expired, &stamped, unchecked),
    ] {
        let option = if option.is_empty() {
            String::new()
        } else {
            format!(r#","verifyTimestamp":"{option}""#)
        };
        let mut rest = level(&format!(r#""level":"strict"{option}"#));
        if tsa {
            rest = rest.replace(r#"["ca:t"]"#, r#"["ca:t","tsa:none"]"#);
        }
        let mut world = World::new().trust("ca:t", &root).statement(&rest);
        world.now = at(now);
        let result = world
            .verify(&Shelf::of(std::slice::from_ref(signature)))
            .await;
        if expected.is_empty() {
            verified(result);
        } else {
            let error = rejected(result).told();
            assert!(error.starts_with(expected), "{option} {now}: {error}");
        }
        let said = |text: &str| world.events().iter().any(|e| e.contains(text));
        assert_eq!(said("no tsa trust store is configured"), !tsa);
        assert_eq!(
            said("signing cert chain unexpired"),
            option.contains("after") && now == valid
        );
        assert_eq!(
            said("Performing timestamp verification..."),
            tsa && !(option.contains("after") && now == valid)
        );
    }
}

/// TST-02, SEC-07: each scheme has its own stores; a `ca:` store does not vouch for a signing
/// authority, nor the other way round.
#[tokio::test]
async fn schemes_have_stores_of_their_own() {
    let pki = Pki::new();
    let key = &Key::P256;
    let chain = pki.chain(&signer(&pki, "signer", key));
    let authority = jws::Jws::sign(
        &jws::protected_by_authority(key).to_json(),
        payload(&artifact()).as_bytes(),
        jws::header(&chain),
        key,
    )
    .to_bytes();
    let plain = sign(Format::Jws, &artifact(), &chain, key);
    for (store, signature, good) in [
        ("ca:t", &plain, true),
        ("signingAuthority:t", &plain, false),
        ("ca:t", &authority, false),
        ("signingAuthority:t", &authority, true),
        ("tsa:t", &plain, false),
        ("tsa:t", &authority, false),
    ] {
        let rest = strict().replace("ca:t", store);
        let world = World::new().trust(store, &pki.root).statement(&rest);
        let result = world
            .verify(&Shelf::of(std::slice::from_ref(signature)))
            .await;
        if good {
            verified(result);
        } else {
            assert_eq!(
                rejected(result).told(),
                "no trusted certificates are found to verify authenticity",
                "{store}"
            );
        }
    }
}

/// TSA-36, ENV-19: under a signing authority the chain is judged at its time, not at ours.
#[tokio::test]
async fn authentic_signing_time_judges_the_chain() {
    let (root, chain) = chain();
    let key = &Key::P256;
    let rest = strict().replace("ca:t", "signingAuthority:t");
    let mut world = World::new()
        .trust("signingAuthority:t", &root)
        .statement(&rest);
    // Long after every certificate has expired.
    world.now = at("2040-01-01T00:00:00Z");
    for (time, good) in [
        ("2021-12-31T23:59:59Z", false),
        ("2022-01-01T00:00:00Z", true),
        ("2026-06-01T00:00:00Z", true),
        ("2026-06-01T00:00:01Z", false),
    ] {
        let protected = jws::protected_by_authority(key).with(
            "io.cncf.notary.authenticSigningTime",
            &format!("\"{time}\""),
        );
        let envelope = jws::Jws::sign(
            &protected.to_json(),
            payload(&artifact()).as_bytes(),
            jws::header(&chain),
            key,
        )
        .to_bytes();
        let result = world.verify(&Shelf::of(&[envelope])).await;
        if good {
            verified(result);
        } else {
            let error = rejected(result).told();
            assert!(
                error.contains("was not valid when the digital signature was produced at \""),
                "{time}: {error}"
            );
        }
    }
}

/// VER-15: the instant of expiry, through the whole of verification.
#[tokio::test]
async fn expiry_boundary() {
    let pki = Pki::new();
    let key = &Key::P256;
    let chain = pki.chain(&signer(&pki, "signer", key));
    let envelope = crate::world::sign_with(&payload(&artifact()), &chain, key, |protected| {
        protected
            .with(
                "crit",
                "[\"io.cncf.notary.signingScheme\",\"io.cncf.notary.expiry\"]",
            )
            .with("io.cncf.notary.expiry", "\"2026-02-01T00:00:00Z\"")
    });
    let shelf = Shelf::of(&[envelope]);
    let mut world = World::new().trust("ca:t", &pki.root).statement(&strict());
    for (now, expected) in [
        ("2026-01-31T23:59:59Z", "ok"),
        ("2026-02-01T00:00:00Z", "refused by expiry"),
        ("2026-02-01T00:00:01Z", "refused by expiry"),
    ] {
        world.now = at(now);
        assert_eq!(verdict(world.verify(&shelf).await), expected, "{now}");
    }
}
