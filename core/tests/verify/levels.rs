//! Level × fault: what each level lets pass (CVE-2024-23332), and what none does.

use async_trait::async_trait;
use hardsign_core::envelope::Format;
use hardsign_core::revocation::{Checked, Checker, Inquiry, Status};
use hardsign_core::verify::Outcome;
use hardsign_test_support::{Builder, Key, Pki};

use crate::world::{
    REPOSITORY, Shelf, World, artifact, descriptor, level, payload, rejected, sign, sign_with,
    signer, verdict, verified,
};

/// Says the same about every certificate.
struct Always(Status);

#[async_trait]
impl Checker for Always {
    async fn check(&self, inquiry: Inquiry<'_>) -> Vec<Checked> {
        vec![self.0.clone().into(); inquiry.certificates.len()]
    }
}

/// Each level, and how its statement reads.
const LEVELS: [(&str, &str); 5] = [
    ("strict", r#""level":"strict""#),
    ("permissive", r#""level":"permissive""#),
    ("audit", r#""level":"audit""#),
    (
        "no revocation",
        r#""level":"strict","override":{"revocation":"skip"}"#,
    ),
    (
        "reversed",
        r#""level":"permissive","override":{"authenticity":"log","authenticTimestamp":"enforce","expiry":"enforce","revocation":"enforce"}"#,
    ),
];

/// Fault, then the verdict at each of [`LEVELS`].
const TABLE: &[(&str, [&str; 5])] = &[
    ("none", ["ok", "ok", "ok", "ok", "ok"]),
    (
        "untrusted chain",
        [
            "refused by authenticity",
            "refused by authenticity",
            "logged authenticity revocation",
            "refused by authenticity",
            "refused by revocation",
        ],
    ),
    (
        "no such store",
        [
            "refused by authenticity",
            "refused by authenticity",
            "logged authenticity revocation",
            "refused by authenticity",
            "refused by revocation",
        ],
    ),
    (
        "another identity",
        [
            "refused by authenticity",
            "refused by authenticity",
            "logged authenticity revocation",
            "refused by authenticity",
            "refused by revocation",
        ],
    ),
    (
        "expired signature",
        [
            "refused by expiry",
            "logged expiry",
            "logged expiry",
            "refused by expiry",
            "refused by expiry",
        ],
    ),
    (
        "expired certificate",
        [
            "refused by authenticTimestamp",
            "logged authenticTimestamp",
            "logged authenticTimestamp",
            "refused by authenticTimestamp",
            "refused by authenticTimestamp",
        ],
    ),
    (
        "needs a timestamp",
        [
            "refused by authenticTimestamp",
            "logged authenticTimestamp",
            "logged authenticTimestamp",
            "refused by authenticTimestamp",
            "refused by authenticTimestamp",
        ],
    ),
    (
        "revocation unknown",
        [
            "refused by revocation",
            "logged revocation",
            "logged revocation",
            "ok",
            "refused by revocation",
        ],
    ),
    (
        "revoked",
        [
            "refused by revocation",
            "logged revocation",
            "logged revocation",
            "ok",
            "refused by revocation",
        ],
    ),
    (
        "expired and revoked",
        [
            "refused by expiry",
            "logged expiry revocation",
            "logged expiry revocation",
            "refused by expiry",
            "refused by expiry",
        ],
    ),
    ("broken signature", ["refused by integrity"; 5]),
    ("not an envelope", ["refused by integrity"; 5]),
    ("another artifact", ["refused by content"; 5]),
    ("metadata missing", ["refused by userMetadata"; 5]),
    ("critical attribute", ["refused by extension"; 5]),
];

async fn verdict_of(fault: &str, verification: &str) -> String {
    let pki = Pki::new();
    let key = &Key::P256;
    let mut world = World::new();
    let leaf = match fault {
        "revocation unknown" => Builder::leaf("signer", key.spki).ocsp("http://127.0.0.1:9"),
        "expired certificate" => {
            Builder::leaf("signer", key.spki).valid("2020-01-01T00:00:00Z", "2026-02-01T00:00:00Z")
        }
        _ => Builder::leaf("signer", key.spki),
    };
    let chain = pki.chain(&pki.issue(leaf, key));
    let target = match fault {
        "another artifact" => descriptor(b"another"),
        _ => artifact(),
    };
    let mut envelope = sign_with(&payload(&target), &chain, key, |protected| match fault {
        "expired signature" | "expired and revoked" => protected
            .with(
                "crit",
                "[\"io.cncf.notary.signingScheme\",\"io.cncf.notary.expiry\"]",
            )
            .with("io.cncf.notary.expiry", "\"2026-01-03T00:00:00Z\""),
        "critical attribute" => protected
            .with("crit", "[\"io.cncf.notary.signingScheme\",\"x\"]")
            .with("x", "1"),
        _ => protected,
    });
    match fault {
        "broken signature" => {
            let end = envelope.len() - 3;
            envelope[end] = if envelope[end] == b'A' { b'B' } else { b'A' };
        }
        "not an envelope" => envelope = b"{}".to_vec(),
        "expired signature" | "expired certificate" | "expired and revoked" => {
            world.now = "2026-03-01T00:00:00Z".parse().unwrap();
        }
        "metadata missing" => {
            world.metadata.insert("a".to_owned(), "b".to_owned());
        }
        _ => {}
    }
    let mut rest = level(verification);
    match fault {
        "no such store" => rest = rest.replace(r#"["ca:t"]"#, r#"["ca:t","ca:u"]"#),
        "another identity" => {
            rest = rest.replace(r#"["*"]"#, r#"["x509.subject: C=US, ST=WA, O=Other"]"#);
        }
        "needs a timestamp" => rest = rest.replace(r#"["ca:t"]"#, r#"["ca:t","tsa:x"]"#),
        _ => {}
    }
    let trusted = match fault {
        "untrusted chain" => &Builder::ca("Other", &Key::P256_B).self_signed(&Key::P256_B),
        _ => &pki.root,
    };
    let world = world.trust("ca:t", trusted).statement(&rest);
    let shelf = Shelf::of(&[envelope]);
    let status = match fault {
        "revoked" | "expired and revoked" => Status::Revoked,
        "revocation unknown" => return verdict(world.verify(&shelf).await),
        _ => Status::Good,
    };
    let verifier = world.verifier().with_revocation(Always(status));
    verdict(world.verify_by(&verifier, &shelf).await)
}

/// VER-01 to VER-06, SEC-08, SEC-09, DIF-45, CVE-2024-23332: the whole table. A verdict other than
/// a refusal exists only as a value of success.
#[tokio::test]
async fn level_times_fault() {
    let mut wrong = Vec::new();
    for (fault, expected) in TABLE {
        for ((name, verification), expected) in LEVELS.iter().zip(expected) {
            let got = verdict_of(fault, verification).await;
            if got != *expected {
                wrong.push(format!("{name}, {fault}: {got}, not {expected}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// VER-07, VER-08: the texts for a logged and an enforced failure.
#[tokio::test]
async fn failures_are_told() {
    let pki = Pki::new();
    let chain = pki.chain(&signer(&pki, "signer", &Key::P256));
    let shelf = || Shelf::of(&[sign(Format::Jws, &artifact(), &chain, &Key::P256)]);
    let other = Builder::ca("Other", &Key::P256_B).self_signed(&Key::P256_B);
    let why = "the signature's certificate chain does not contain any trusted certificate";

    let world = World::new()
        .trust("ca:t", &other)
        .statement(&level(r#""level":"audit""#));
    let outcome = verified(world.verify(&shelf()).await);
    let report = outcome.signatures()[0].signature.report();
    assert_eq!(
        report.logged().map(|l| l.to_string()).collect::<Vec<_>>(),
        [
            format!("authenticity was set to \"log\" and failed with error: {why}"),
            "revocation was set to \"log\" and failed with error: not checked: untrusted certificate chain"
                .to_owned(),
        ]
    );
    assert!(world.events().contains(&format!(
        "authenticity validation failed with validation action set to \"logged\". Failure reason: {why}"
    )));

    let world = World::new()
        .trust("ca:t", &other)
        .statement(&level(r#""level":"strict""#));
    assert_eq!(rejected(world.verify(&shelf()).await).to_string(), why);
    assert!(world.events().contains(&format!(
        "authenticity validation failed. Failure reason: {why}"
    )));
}

/// VER-23, REV-07: the debug texts, in order.
#[tokio::test]
async fn steps_are_told_in_order() {
    let pki = Pki::new();
    let chain = pki.chain(&signer(&pki, "signer", &Key::P256));
    let world = World::new()
        .trust("ca:t", &pki.root)
        .statement(&level(r#""level":"strict""#));
    let shelf = Shelf::of(&[sign(Format::Jws, &artifact(), &chain, &Key::P256)]);
    verified(world.verify(&shelf).await);
    let digest = artifact().digest;
    let reference = format!("{REPOSITORY}@{digest}");
    let expected = [
        format!("Check verification level against artifact {reference}"),
        "Trust policy configuration: {Name:n VerificationLevel:strict VerifyTimestamp:always TrustStores:[ca:t] TrustedIdentities:[*]}"
            .to_owned(),
        format!(
            "Verify signature against artifact {digest} referenced as {reference} in signature media type application/jose+json"
        ),
        "Validating cert chain".to_owned(),
        "Validating trust identity".to_owned(),
        "Validating expiry".to_owned(),
        "Validating authentic timestamp".to_owned(),
        "Timestamp verification disabled: no tsa trust store is configured in trust policy"
            .to_owned(),
        "Validating revocation".to_owned(),
    ];
    assert_eq!(world.events()[..expected.len()], expected);
    assert!(
        world.events().contains(
            &"No verification impacting errors encountered while checking revocation, status is OK"
                .to_owned()
        )
    );
}

/// VER-04, VER-10: under skip nothing is listed or fetched, and the outcome says so.
#[tokio::test]
async fn skip_does_nothing() {
    let world = World::new().statement(r#""signatureVerification":{"level":"skip"}"#);
    let shelf = Shelf::default();
    let outcome = world.verify(&shelf).await.unwrap();
    let Outcome::Skipped(skipped) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(skipped.statement, "n");
    assert_eq!(
        skipped.reference,
        format!("{REPOSITORY}@{}", artifact().digest)
    );
    assert_eq!(shelf.listed.into_inner(), 0);
}

/// REV-01, REV-02, REV-06, SEC-08: an address in any certificate but the root makes the status unknown,
/// and the reason is told; without addresses nothing is unknown.
#[tokio::test]
async fn revocation_is_never_pretended() {
    let key = &Key::P256;
    let plain = |name: &str| Builder::leaf(name, key.spki);
    let root = Builder::ca("Root", key)
        .crl("http://127.0.0.1:9")
        .self_signed(key);
    for (case, ca, leaf, unknown) in [
        ("none", false, plain("a"), None),
        (
            "OCSP in the leaf",
            false,
            plain("a").ocsp("http://127.0.0.1:9"),
            Some("CN=a,"),
        ),
        (
            "CRL in the leaf",
            false,
            plain("a").crl("http://127.0.0.1:9"),
            Some("CN=a,"),
        ),
        ("CRL in the CA", true, plain("a"), Some("CN=CA,")),
    ] {
        let mut builder = Builder::ca("CA", &Key::P256_B);
        if ca {
            builder = builder.crl("http://127.0.0.1:9");
        }
        let ca = builder.issue(&root, &Key::P256_B);
        let leaf = leaf.issue(&ca, key);
        let chain = [leaf.der.clone(), ca.der.clone(), root.der.clone()];
        let shelf = Shelf::of(&[sign(Format::Jws, &artifact(), &chain, key)]);
        let world = World::new()
            .trust("ca:t", &root)
            .statement(&level(r#""level":"strict""#));
        let result = world.verify(&shelf).await;
        let Some(subject) = unknown else {
            verified(result);
            assert!(
                world
                    .events()
                    .iter()
                    .any(|e| e.ends_with("neither has an OCSP nor a CRL revocation method.")),
                "{case}"
            );
            continue;
        };
        let error = rejected(result).to_string();
        assert!(
            error.starts_with(&format!("signing certificate with subject \"{subject}")),
            "{case}: {error}"
        );
        assert!(
            error.ends_with("revocation status is unknown"),
            "{case}: {error}"
        );
    }
}
