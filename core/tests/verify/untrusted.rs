//! Nobody is asked about the revocation of a chain that isn't trusted: a stranger's certificate would
//! choose whom this machine asks, inside its network too.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hardsign_core::envelope::Format;
use hardsign_core::policy::Check;
use hardsign_core::revocation::{Checked, Checker, Inquiry, Status};
use hardsign_core::verify::Step;
use hardsign_test_support::{Builder, Key, Pki};

use crate::world::{Shelf, World, artifact, level, sign, verdict};

/// Counts how often it is asked, and says what it is told to say.
struct Asked {
    times: AtomicUsize,
    status: Status,
}

struct Counted<'a>(&'a Asked);

#[async_trait]
impl Checker for Counted<'_> {
    async fn check(&self, inquiry: Inquiry<'_>) -> Vec<Checked> {
        self.0.times.fetch_add(1, Ordering::Relaxed);
        vec![self.0.status.clone().into(); inquiry.certificates.len()]
    }
}

const NOT_CHECKED: &str = "not checked: untrusted certificate chain";

/// The verdict, the reason that is given for revocation, and how often was asked.
async fn verified_by(
    format: Format,
    trusted: bool,
    identity: &str,
    verification: &str,
) -> (String, Vec<String>, usize) {
    let pki = Pki::new();
    let leaf = Builder::leaf("signer", Key::P256.spki)
        .ocsp("http://169.254.169.254/latest/meta-data")
        .crl("http://10.0.0.1/internal.crl");
    let chain = pki.chain(&pki.issue(leaf, &Key::P256));
    let other = Builder::ca("Other", &Key::P384).self_signed(&Key::P384);
    let statement = level(verification).replace("\"*\"", identity);
    let world = World::new()
        .trust("ca:t", if trusted { &pki.root } else { &other })
        .statement(&statement);
    let asked = Asked {
        times: AtomicUsize::new(0),
        status: Status::Good,
    };
    let mut shelf = Shelf::default();
    let envelope = sign(format, &artifact(), &chain, &Key::P256);
    shelf.add(format, &envelope, None);
    let asked = &asked;
    let result = world
        .verify_by(&world.verifier().with_revocation(Counted(asked)), &shelf)
        .await;
    let told = world
        .events()
        .into_iter()
        .filter(|event| event.starts_with("revocation validation failed"))
        .collect();
    (verdict(result), told, asked.times.load(Ordering::Relaxed))
}

const ANY: &str = "\"*\"";
const OTHER_SIGNER: &str = "\"x509.subject:C=US,ST=WA,O=Other\"";

/// REV-01: with authenticity merely logged, an untrusted chain and an unknown signer cause no request.
#[tokio::test]
async fn strangers_choose_no_addresses() {
    for format in [Format::Jws, Format::Cose] {
        for (trusted, identity) in [(false, ANY), (false, OTHER_SIGNER), (true, OTHER_SIGNER)] {
            for verification in [
                r#""level":"audit""#,
                r#""level":"strict","override":{"authenticity":"log","revocation":"log"}"#,
                r#""level":"permissive","override":{"authenticity":"log"}"#,
            ] {
                let (verdict, told, asked) =
                    verified_by(format, trusted, identity, verification).await;
                assert_eq!(asked, 0, "{verification}");
                assert_eq!(verdict, "logged authenticity revocation", "{verification}");
                assert_eq!(told.len(), 1, "{told:?}");
                assert!(told[0].ends_with(NOT_CHECKED), "{told:?}");
            }
            // What could not be checked does not pass where it is enforced, and is not missed
            // where it is skipped.
            let enforced =
                r#""level":"permissive","override":{"authenticity":"log","revocation":"enforce"}"#;
            let (verdict, _, asked) = verified_by(format, trusted, identity, enforced).await;
            let refused = format!("refused by {}", Step::Policy(Check::Revocation).name());
            assert_eq!((verdict, asked), (refused, 0));
            let skipped = r#""level":"audit","override":{"revocation":"skip"}"#;
            let (verdict, told, asked) = verified_by(format, trusted, identity, skipped).await;
            assert_eq!((verdict.as_str(), asked), ("logged authenticity", 0));
            assert!(told.is_empty());
        }
    }
}

/// REV-01: about a trusted chain somebody is asked, at every level that checks revocation.
#[tokio::test]
async fn trusted_chains_are_asked_about() {
    for verification in [
        r#""level":"strict""#,
        r#""level":"permissive""#,
        r#""level":"audit""#,
    ] {
        let (verdict, told, asked) = verified_by(Format::Jws, true, ANY, verification).await;
        assert_eq!((verdict.as_str(), asked), ("ok", 1));
        assert!(told.is_empty());
    }
    for verification in [r#""level":"strict""#, r#""level":"permissive""#] {
        let (verdict, _, asked) = verified_by(Format::Jws, false, ANY, verification).await;
        assert_eq!((verdict.as_str(), asked), ("refused by authenticity", 0));
    }
}
