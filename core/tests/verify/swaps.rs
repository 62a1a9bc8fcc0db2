//! Each part of one valid signature put into another: nothing of it is accepted
//! (CVE-2022-23649, CVE-2026-22703).

use hardsign_core::envelope::Format;
use hardsign_test_support::{Key, Pki, cose, jws};

use crate::world::{Shelf, World, artifact, level, payload, sign, signer, verified};

/// Two signers under one trusted root; signatures of the same artifact, so that only the tie
/// between the parts can refuse.
struct Pair {
    pki: Pki,
    chains: [Vec<Vec<u8>>; 2],
    keys: [&'static Key; 2],
}

impl Pair {
    fn new() -> Self {
        let pki = Pki::new();
        let keys = [&Key::P256, &Key::P256_B];
        let chains = [
            pki.chain(&signer(&pki, "alice", keys[0])),
            pki.chain(&signer(&pki, "bob", keys[1])),
        ];
        Self { pki, chains, keys }
    }

    /// Whether an envelope is accepted under the most lenient level there is.
    async fn accepts(&self, format: Format, envelope: &[u8]) -> bool {
        let world = World::new()
            .trust("ca:t", &self.pki.root)
            .statement(&level(r#""level":"audit""#));
        let mut shelf = Shelf::default();
        shelf.add(format, envelope, None);
        world.verify(&shelf).await.is_ok()
    }
}

/// Envelopes of both signers: same artifact, but payload and protected header differ in content
/// that is allowed to differ.
fn jws_pair(pair: &Pair) -> [jws::Jws; 2] {
    [0, 1].map(|i| {
        let key = pair.keys[i];
        let mut target = artifact();
        target.annotations.insert("who".to_owned(), i.to_string());
        let protected = jws::protected(key).with(
            "io.cncf.notary.signingTime",
            &format!("\"2026-01-02T03:04:0{i}Z\""),
        );
        jws::Jws::sign(
            &protected.to_json(),
            payload(&target).as_bytes(),
            jws::header(&pair.chains[i]),
            key,
        )
    })
}

/// ENV-28, JWS: payload, protected header, chain and signature, in every combination.
#[tokio::test]
async fn jws_parts_swapped() {
    let pair = Pair::new();
    let [alice, bob] = jws_pair(&pair);
    for mask in 0_u8..16 {
        let from = |bit: u8| if mask & bit == 0 { &alice } else { &bob };
        let mixed = jws::Jws {
            payload: from(1).payload.clone(),
            protected: from(2).protected.clone(),
            header: from(4).header.clone(),
            signature: from(8).signature.clone(),
        };
        let accepted = pair.accepts(Format::Jws, &mixed.to_bytes()).await;
        assert_eq!(accepted, mask == 0 || mask == 15, "{mask:04b}");
    }
}

/// The same in COSE.
#[tokio::test]
async fn cose_parts_swapped() {
    let pair = Pair::new();
    let [alice, bob] = [0, 1].map(|i| {
        let key = pair.keys[i];
        let mut target = artifact();
        target.annotations.insert("who".to_owned(), i.to_string());
        let time = cose::epoch(1_767_323_045 + i64::try_from(i).unwrap());
        let protected = cose::protected(key).with("io.cncf.notary.signingTime", time);
        cose::Cose::sign(
            &protected.to_cbor(),
            payload(&target).as_bytes(),
            &cose::unprotected(&pair.chains[i]),
            key,
        )
    });
    for mask in 0_u8..16 {
        let from = |bit: u8| if mask & bit == 0 { &alice } else { &bob };
        let mixed = cose::Cose {
            payload: from(1).payload.clone(),
            protected: from(2).protected.clone(),
            unprotected: from(4).unprotected.clone(),
            signature: from(8).signature.clone(),
        };
        let accepted = pair.accepts(Format::Cose, &mixed.to_bytes()).await;
        assert_eq!(accepted, mask == 0 || mask == 15, "{mask:04b}");
    }
}

/// One envelope under the name of the other format.
#[tokio::test]
async fn formats_swapped() {
    let pair = Pair::new();
    for (made, named) in [(Format::Jws, Format::Cose), (Format::Cose, Format::Jws)] {
        let envelope = sign(made, &artifact(), &pair.chains[0], pair.keys[0]);
        assert!(pair.accepts(made, &envelope).await);
        assert!(!pair.accepts(named, &envelope).await);
    }
}

/// X509: links of two chains mixed; a leaf with the other's key.
#[tokio::test]
async fn chains_mixed() {
    let pair = Pair::new();
    let other = Pki {
        ca: hardsign_test_support::Builder::ca("Issuing CA", &Key::P384)
            .issue(&pair.pki.root, &Key::P384),
        root: pair.pki.root.clone(),
    };
    let key = pair.keys[0];
    let mine = &pair.chains[0];
    let theirs = other.chain(&signer(&other, "alice", key));
    for chain in [
        vec![mine[0].clone(), theirs[1].clone(), mine[2].clone()],
        vec![theirs[0].clone(), mine[1].clone(), mine[2].clone()],
        vec![mine[0].clone(), mine[2].clone()],
        vec![mine[0].clone(), mine[1].clone()],
        vec![mine[1].clone(), mine[2].clone()],
        vec![mine[0].clone()],
        vec![mine[2].clone()],
    ] {
        let envelope = sign(Format::Jws, &artifact(), &chain, key);
        assert!(!pair.accepts(Format::Jws, &envelope).await);
    }
    for chain in [mine, &theirs] {
        let envelope = sign(Format::Jws, &artifact(), chain, key);
        assert!(pair.accepts(Format::Jws, &envelope).await);
    }
}

/// VER-31: an envelope whose unsigned part was changed verifies, and is the same signer's.
#[tokio::test]
async fn unsigned_parts_are_no_evidence() {
    let pair = Pair::new();
    let [alice, _] = jws_pair(&pair);
    let changed = jws::Jws {
        header: alice
            .header
            .clone()
            .with("io.cncf.notary.signingAgent", "\"somebody else\""),
        ..alice.clone()
    };
    assert_ne!(alice.to_bytes(), changed.to_bytes());
    let world = World::new()
        .trust("ca:t", &pair.pki.root)
        .statement(&level(r#""level":"strict""#));
    let outcome = verified(world.verify(&Shelf::of(&[changed.to_bytes()])).await);
    let leaf = outcome.signatures()[0].signature.signature().chain().leaf();
    assert_eq!(leaf.der(), pair.chains[0][0]);
}
