//! The checker against a server: what is asked, in which order, how often, and what that says.

use std::sync::Mutex;
use std::time::Duration;

use hardsign_core::event::Event;
use hardsign_core::revocation::{
    Checked, Checker as _, Inquiry, Online, OnlineOptions, Status, conclude,
};
use hardsign_core::x509::{Chain, CodeSigning, Timestamping};
use hardsign_test_support::certificate::{self, EXT_KEY_USAGE, purposes};
use hardsign_test_support::registry::{Body, Response};
use hardsign_test_support::revocation::{
    CRL_DISTRIBUTION_POINTS, Crl, FRESHEST_CRL, OCSP_SIGNING, Ocsp, Publisher, Single, ago,
    distribution_points,
};
use hardsign_test_support::{Builder, Issued, Key, Pki, Told};
use jiff::Timestamp;
use tempfile::TempDir;

use crate::{SERIAL, leaf, parsed};

/// A PKI, a server, a checker, and what it tells.
struct Scene {
    pki: Pki,
    server: Publisher,
    cache: TempDir,
    told: Mutex<Vec<String>>,
}

impl Scene {
    fn new() -> Self {
        Self {
            pki: Pki::new(),
            server: Publisher::start(),
            cache: tempfile::tempdir().unwrap(),
            told: Mutex::default(),
        }
    }

    fn online(&self) -> Online {
        let mut options = OnlineOptions::default();
        options.ocsp_timeout = Duration::from_millis(1500);
        options.crl_timeout = Duration::from_millis(1500);
        Online::new(options)
    }

    fn with_cache(&self) -> Online {
        let mut options = OnlineOptions::default();
        options.cache = Some(self.cache.path().join("crl"));
        Online::new(options)
    }

    /// A leaf that names a responder and a CRL of this scene.
    fn leaf(&self, ocsp: Option<&str>, crl: Option<&str>) -> Issued {
        leaf(&self.pki, |mut leaf| {
            if let Some(path) = ocsp {
                leaf = leaf.ocsp(&self.server.url(path));
            }
            if let Some(path) = crl {
                leaf = leaf.crl(&self.server.url(path));
            }
            leaf
        })
    }

    fn chain(&self, leaf: &Issued) -> Chain<CodeSigning> {
        let chain = [leaf, &self.pki.ca, &self.pki.root].map(parsed);
        Chain::prove(chain.to_vec()).unwrap()
    }

    async fn check(&self, online: &Online, leaf: &Issued) -> Vec<Checked> {
        self.check_at(online, leaf, None, certificate::now()).await
    }

    async fn check_at(
        &self,
        online: &Online,
        leaf: &Issued,
        signed: Option<Timestamp>,
        now: Timestamp,
    ) -> Vec<Checked> {
        let observer = |event: &Event<'_>| self.tell(event);
        online
            .check(Inquiry::about(&self.chain(leaf), signed, now, &observer))
            .await
    }

    fn tell(&self, event: &Event<'_>) {
        let text = event.to_string().replace(&self.server.url(""), "S");
        let line = format!("{:?}: {text}", event.severity());
        self.told.lock().unwrap().push(line);
    }

    /// The leaf's status by a new checker without a cache.
    async fn status(&self, leaf: &Issued) -> &'static str {
        self.check(&self.online(), leaf).await[0].status.name()
    }

    /// What was told since the last time.
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    fn asked(&self) -> Vec<String> {
        let asked = self.server.requests();
        self.server.clear();
        asked
    }

    fn good(&self) -> Vec<u8> {
        Ocsp::of(&[Single::good(SERIAL, &self.pki.ca)], &self.pki.ca).sign(&self.pki.ca)
    }

    fn revoked(&self) -> Vec<u8> {
        let single = Single::good(SERIAL, &self.pki.ca).revoked(Some(1));
        Ocsp::of(&[single], &self.pki.ca).sign(&self.pki.ca)
    }

    fn unknown(&self) -> Vec<u8> {
        let single = Single::good(SERIAL, &self.pki.ca).unknown();
        Ocsp::of(&[single], &self.pki.ca).sign(&self.pki.ca)
    }

    fn crl(&self) -> Crl {
        Crl::of(&self.pki.ca)
    }

    fn serve_crl(&self, path: &str, crl: &Crl) {
        self.server.serve(path, &crl.sign(&self.pki.ca));
    }

    /// The file of the cache for an address.
    fn cached(&self, path: &str) -> std::path::PathBuf {
        let name = hardsign_core::crypto::sha256(self.server.url(path).as_bytes());
        self.cache.path().join("crl").join(hex::encode(name))
    }
}

/// Makes an answer.
type Page = Box<dyn Fn() -> Response + Send + Sync>;

const LEAF: &str = "\"CN=Leaf,O=Hardsign Tests,ST=WA,C=US\"";

/// REV-14, REV-31: what the specification grants a server, and what the checker waits in all.
#[test]
fn times_granted() {
    let options = OnlineOptions::default();
    let seconds = [options.ocsp_timeout, options.crl_timeout, options.total];
    assert_eq!(seconds.map(|time| time.as_secs()), [2, 5, 30]);
}

/// REV-08: a checker takes chains only that are proven under the rules of their purpose, so a chain
/// for another purpose never gets there.
#[test]
fn chains_are_proven_for_their_purpose() {
    let pki = Pki::new();
    let key = &Key::P384;
    let authority = pki.issue(Builder::timestamping_leaf("TSA", key.spki), key);
    let signer = leaf(&pki, |leaf| leaf);
    let list = |leaf: &Issued| [leaf, &pki.ca, &pki.root].map(parsed).to_vec();
    assert!(Chain::<CodeSigning>::prove(list(&signer)).is_ok());
    assert!(Chain::<CodeSigning>::prove(list(&authority)).is_err());
    assert!(Chain::<Timestamping>::prove(list(&authority)).is_ok());
    assert!(Chain::<Timestamping>::prove(list(&signer)).is_err());
}

/// REV-01, REV-02, REV-06: without an address nothing is asked, and it is told; the root never is.
#[tokio::test]
async fn nothing_to_ask() {
    let mut scene = Scene::new();
    scene.pki.root = Builder::ca("Root", &Key::P256)
        .crl(&scene.server.url("/root"))
        .ocsp(&scene.server.url("/root"))
        .self_signed(&Key::P256);
    scene.pki.ca = Builder::ca("Issuing CA", &Key::P256_B).issue(&scene.pki.root, &Key::P256_B);
    let checked = scene.check(&scene.online(), &scene.leaf(None, None)).await;
    let names: Vec<_> = checked.iter().map(|c| c.status.name()).collect();
    assert_eq!(names, ["notRevocable"; 3]);
    assert_eq!(scene.asked(), [""; 0]);
    let ca = "\"CN=Issuing CA,O=Hardsign Tests,ST=WA,C=US\"";
    assert_eq!(
        scene.told(),
        [
            format!(
                "Warn: Certificate #2 in the chain with subject {ca} neither has an OCSP nor a CRL revocation method."
            ),
            format!(
                "Warn: Certificate #1 in the chain with subject {LEAF} neither has an OCSP nor a CRL revocation method."
            ),
        ]
    );
}

/// REV-03, REV-16, REV-19: OCSP first, and alone where it knows.
#[tokio::test]
async fn ocsp_decides() {
    let scene = Scene::new();
    let leaf = scene.leaf(Some("/ocsp"), Some("/crl"));
    scene.serve_crl("/crl", &scene.crl());
    scene.server.serve("/ocsp", &scene.good());
    let checked = scene.check(&scene.online(), &leaf).await;
    assert_eq!(checked[0].status.name(), "good");
    assert_eq!(
        checked[0].source.as_ref().unwrap().url,
        scene.server.url("/ocsp")
    );
    assert_eq!(scene.asked(), ["GET /ocsp"]);
    scene.server.serve("/ocsp", &scene.revoked());
    scene.told();
    let checked = scene.check(&scene.online(), &leaf).await;
    assert_eq!(scene.asked(), ["GET /ocsp"]);
    // REV-05, REV-06
    assert!(scene.told().contains(&format!(
        "Error: Certificate #1 in chain with subject {LEAF} encountered an error for revocation method OCSP at URL \"S/ocsp\": certificate is revoked via OCSP"
    )));
    let error = conclude(scene.chain(&leaf).certificates(), &checked).unwrap_err();
    assert_eq!(
        error.told(),
        format!("signing certificate with subject {LEAF} is revoked")
    );
}

/// REV-16: what does not fit into an address goes by POST.
#[tokio::test]
async fn long_requests_are_posted() {
    let scene = Scene::new();
    let serial = [&[2, 120][..], &[1; 120]].concat();
    let long = leaf(&scene.pki, |leaf| {
        leaf.ocsp(&scene.server.url("/ocsp"))
            .change(|leaf| leaf.serial = serial.clone())
    });
    let response = Ocsp::of(&[Single::good(&serial, &scene.pki.ca)], &scene.pki.ca);
    scene.server.serve("/ocsp", &response.sign(&scene.pki.ca));
    assert_eq!(scene.status(&long).await, "good");
    assert_eq!(scene.asked(), ["POST /ocsp"]);
}

/// REV-03, REV-04, REV-05, REV-14, REV-18, REV-19: whatever keeps a responder from knowing, the CRL is asked then.
#[tokio::test]
async fn fallback_to_crl() {
    let scene = Scene::new();
    let leaf = scene.leaf(Some("/ocsp"), Some("/crl"));
    scene.serve_crl("/crl", &scene.crl());
    let stranger = Builder::ca("Issuing CA", &Key::P521).self_signed(&Key::P521);
    let forged = Ocsp::of(&[Single::good(SERIAL, &scene.pki.ca)], &stranger).sign(&stranger);
    let cases: [(&str, Page); 8] = [
        ("certificate has unknown status via OCSP", {
            let unknown = scene.unknown();
            Box::new(move || Response::bytes(200, unknown.clone()))
        }),
        (
            "failed to retrieve OCSP: response had status code 500",
            Box::new(|| Response::status(500)),
        ),
        (
            "failed to retrieve OCSP: response had status code 404",
            Box::new(|| Response::status(404)),
        ),
        // Not even a good answer counts with another status (REV-18).
        ("failed to retrieve OCSP: response had status code 203", {
            let good = scene.good();
            Box::new(move || Response::bytes(203, good.clone()))
        }),
        (
            "OCSP try later",
            Box::new(|| Response::bytes(200, vec![0x30, 3, 10, 1, 3])),
        ),
        (
            "the OCSP response is not signed by the certificate's issuer or a responder that it authorized",
            Box::new(move || Response::bytes(200, forged.clone())),
        ),
        (
            "exceeded timeout threshold of 1.50 seconds for OCSP check",
            Box::new(|| Response::status(200).body(Body::Hang(Duration::from_secs(5)))),
        ),
        (
            "the answer has more than 20480 bytes",
            Box::new(|| Response::status(200).body(Body::Endless { announced: None })),
        ),
    ];
    for (why, page) in cases {
        scene.server.answer("/ocsp", page);
        scene.told();
        assert_eq!(scene.status(&leaf).await, "good", "{why}");
        assert_eq!(scene.asked(), ["GET /ocsp", "GET /crl"], "{why}");
        let told = scene.told();
        assert!(
            told.contains(&format!("Warn: OCSP check failed with unknown error and fallback to CRL check for certificate #1 in chain with subject {LEAF}")),
            "{told:?}"
        );
        let attempt = format!(
            "Debug: Certificate #1 in chain with subject {LEAF} encountered an error for revocation method OCSP at URL \"S/ocsp\": "
        );
        assert!(
            told.iter()
                .any(|line| line.starts_with(&attempt) && line.contains(why)),
            "{told:?}"
        );
    }
    // And without a CRL, it stays unknown, with the reason.
    let leaf = scene.leaf(Some("/ocsp"), None);
    scene.server.serve("/ocsp", &scene.unknown());
    let checked = scene.check(&scene.online(), &leaf).await;
    let error = conclude(scene.chain(&leaf).certificates(), &checked).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("signing certificate with subject {LEAF} revocation status is unknown")
    );
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        format!(
            "OCSP at {}: certificate has unknown status via OCSP",
            scene.server.url("/ocsp")
        )
    );
    assert!(!scene.told().iter().any(|line| line.contains("fallback")));
}

/// REV-19: errors go on to the next responder, and the first answer ends it, "unknown" too.
#[tokio::test]
async fn several_responders() {
    let scene = Scene::new();
    let access = |path: &str| {
        hardsign_test_support::asn1::sequence(&[
            &hardsign_test_support::asn1::oid("1.3.6.1.5.5.7.48.1"),
            &hardsign_test_support::asn1::tlv(0x86, path.as_bytes()),
        ])
    };
    let named = |urls: &[String]| {
        let accesses: Vec<_> = urls.iter().flat_map(|url| access(url)).collect();
        let value = hardsign_test_support::asn1::tlv(0x30, &accesses);
        leaf(&scene.pki, |l| l.with("1.3.6.1.5.5.7.1.1", false, value))
    };
    let url = |path| scene.server.url(path);
    let two = named(&[url("/a"), url("/b")]);
    scene.server.serve("/b", &scene.good());
    assert_eq!(scene.status(&two).await, "good");
    assert_eq!(scene.asked(), ["GET /a", "GET /b"]);
    scene.server.serve("/a", &scene.unknown());
    assert_eq!(scene.status(&two).await, "unknown");
    assert_eq!(scene.asked(), ["GET /a"]);
    // REV-13: only http, of whatever case; others are passed over.
    let secure = named(&[
        "https://ocsp.test/".to_owned(),
        url("/b").replace("http", "HTTP"),
    ]);
    assert_eq!(scene.status(&secure).await, "good");
    assert!(
        scene
            .told()
            .iter()
            .any(|line| line.ends_with("OCSPServer protocol https is not supported"))
    );
    // REV-12: no more than eight.
    scene.asked();
    let many: Vec<_> = (0..20).map(|_| url("/none")).collect();
    assert_eq!(scene.status(&named(&many)).await, "unknown");
    assert_eq!(scene.asked().len(), 8);
}

/// REV-28, DIF-08: the responder's own certificate is looked up in a CRL, once, and never by OCSP.
#[tokio::test]
async fn responders_are_checked() {
    let scene = Scene::new();
    let key = &Key::P256;
    let serial = [2, 1, 0x55];
    let responder = Builder::leaf("Responder", key.spki)
        .with(EXT_KEY_USAGE, false, purposes(&[OCSP_SIGNING]))
        .change(|b| b.serial = serial.to_vec())
        .crl(&scene.server.url("/responders"))
        .ocsp(&scene.server.url("/loop"));
    let responder = scene.pki.issue(responder, key);
    let good = Single::good(SERIAL, &scene.pki.ca);
    let response = Ocsp::of(&[good], &responder)
        .carrying(&responder)
        .sign(&responder);
    scene.server.serve("/ocsp", &response);
    let leaf = scene.leaf(Some("/ocsp"), None);

    scene.serve_crl("/responders", &scene.crl());
    assert_eq!(scene.status(&leaf).await, "good");
    assert_eq!(scene.asked(), ["GET /ocsp", "GET /responders"]);
    scene.serve_crl("/responders", &scene.crl().lists(&serial, Some(1)));
    assert_eq!(scene.status(&leaf).await, "unknown");
    assert!(scene.told().iter().any(|l| l.contains("the certificate of the OCSP responder, \"CN=Responder,O=Hardsign Tests,ST=WA,C=US\", is revoked")));
    scene.server.answer("/responders", || Response::status(503));
    assert_eq!(scene.status(&leaf).await, "unknown");
    assert!(
        scene
            .told()
            .iter()
            .any(|l| l.contains("the revocation status of the OCSP responder's certificate"))
    );
}

/// REV-09: every certificate is checked, and all at once; the one nearest to the leaf is reported.
#[tokio::test]
async fn the_whole_chain_is_checked() {
    let mut scene = Scene::new();
    let ca = Builder::ca("Issuing CA", &Key::P256_B)
        .change(|b| b.serial = vec![2, 1, 7])
        .crl(&scene.server.url("/ca"));
    scene.pki.ca = ca.issue(&scene.pki.root, &Key::P256_B);
    let leaf = scene.leaf(None, Some("/crl"));
    let root = Crl::of(&scene.pki.root).lists(&[2, 1, 7], None);
    scene.server.serve("/ca", &root.sign(&scene.pki.root));
    scene.serve_crl("/crl", &scene.crl());
    let checked = scene.check(&scene.online(), &leaf).await;
    let names: Vec<_> = checked.iter().map(|c| c.status.name()).collect();
    assert_eq!(names, ["good", "revoked", "notRevocable"]);
    scene.serve_crl("/crl", &scene.crl().lists(SERIAL, None));
    scene.asked();
    let checked = scene.check(&scene.online(), &leaf).await;
    let error = conclude(scene.chain(&leaf).certificates(), &checked).unwrap_err();
    assert_eq!(
        error.told(),
        format!("signing certificate with subject {LEAF} is revoked")
    );
    let mut asked = scene.asked();
    asked.sort();
    assert_eq!(asked, ["GET /ca", "GET /crl"]);
}

/// REV-32, DIF-19: each distribution point, through any of its addresses.
#[tokio::test]
async fn distribution_points_and_addresses() {
    let scene = Scene::new();
    scene.serve_crl("/a", &scene.crl());
    scene.serve_crl("/b", &scene.crl());
    scene.serve_crl("/listed", &scene.crl().lists(SERIAL, Some(4)));
    let url = |path| scene.server.url(path);
    let (a, b, listed, none) = (url("/a"), url("/b"), url("/listed"), url("/none"));
    let ldap = "ldap://h.test/cn=a".to_owned();
    let compromise = || Some(vec![0x81, 2, 6, 0x40]);
    let rest = || Some(vec![0x81, 3, 7, 0x3f, 0x80]);
    let point = |urls: &[&String], reasons| {
        (
            urls.iter().map(|u| (*u).clone()).collect::<Vec<_>>(),
            reasons,
        )
    };
    for (points, expected, asked) in [
        (vec![point(&[&a], None)], "good", &["/a"][..]),
        (
            vec![point(&[&none, &a, &b], None)],
            "good",
            &["/none", "/a"],
        ),
        (vec![point(&[&ldap, &a], None)], "good", &["/a"]),
        (vec![point(&[&ldap], None)], "unknown", &[]),
        (
            vec![point(&[&a], None), point(&[&b], None)],
            "good",
            &["/a", "/b"],
        ),
        (
            vec![point(&[&a], None), point(&[&none], None)],
            "unknown",
            &["/a", "/none"],
        ),
        // Revoked somewhere is revoked, whatever else can't be had.
        (
            vec![point(&[&none], None), point(&[&listed], None)],
            "revoked",
            &["/none", "/listed"],
        ),
        (
            vec![point(&[&a], None), point(&[&listed], None)],
            "revoked",
            &["/a", "/listed"],
        ),
        // REV-38: some reasons are not all of them.
        (vec![point(&[&a], compromise())], "unknown", &["/a"]),
        (
            vec![point(&[&a], compromise()), point(&[&b], rest())],
            "good",
            &["/a", "/b"],
        ),
    ] {
        let borrowed: Vec<Vec<&str>> = points
            .iter()
            .map(|(urls, _): &(Vec<String>, _)| urls.iter().map(String::as_str).collect())
            .collect();
        let value: Vec<_> = borrowed
            .iter()
            .zip(&points)
            .map(|(urls, (_, reasons))| (urls.as_slice(), reasons.clone()))
            .collect();
        let value = distribution_points(&value);
        let leaf = leaf(&scene.pki, |l| {
            l.with(CRL_DISTRIBUTION_POINTS, false, value)
        });
        assert_eq!(scene.status(&leaf).await, expected, "{points:?}");
        let expected: Vec<_> = asked.iter().map(|path| format!("GET {path}")).collect();
        assert_eq!(scene.asked(), expected, "{points:?}");
    }
    assert!(scene.told().iter().any(|line| {
        line.ends_with("unsupported scheme: ldap. Only supports CRL URL in HTTP protocol")
    }));
    // REV-12: more places than anybody needs.
    let many: Vec<(&[&str], _)> = (0..17).map(|_| (&["http://h.test/"][..], None)).collect();
    let value = distribution_points(&many);
    let leaf = leaf(&scene.pki, |l| {
        l.with(CRL_DISTRIBUTION_POINTS, false, value)
    });
    assert_eq!(scene.status(&leaf).await, "unknown");
    assert_eq!(scene.asked(), [""; 0]);
}

/// REV-31, SEC-14: what servers of CRLs may not do.
#[tokio::test]
async fn downloads_are_bounded() {
    let scene = Scene::new();
    let leaf = scene.leaf(None, Some("/crl"));
    let crl = scene.crl().sign(&scene.pki.ca);
    let pem = b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n".to_vec();
    let cases: [(&str, Page); 6] = [
        (
            "failed to download with status code: 404",
            Box::new(|| Response::status(404)),
        ),
        ("failed to download with status code: 202", {
            let crl = crl.clone();
            Box::new(move || Response::bytes(202, crl.clone()))
        }),
        (
            "x509: malformed crl",
            Box::new(move || Response::bytes(200, pem.clone())),
        ),
        (
            "the answer has more than 33554431 bytes",
            Box::new(|| {
                Response::status(200).body(Body::Endless {
                    announced: Some(32 << 20),
                })
            }),
        ),
        (
            "exceeded timeout threshold of 1.50 seconds for CRL download",
            Box::new(move || {
                let pause = Duration::from_millis(100);
                Response::status(200).body(Body::Drip(crl.clone(), pause))
            }),
        ),
        (
            "ftp://h.test/crl is not an address to fetch from",
            Box::new(|| Response::status(302).header("location", "ftp://h.test/crl")),
        ),
    ];
    for (why, page) in cases {
        scene.server.answer("/crl", page);
        scene.told();
        assert_eq!(scene.status(&leaf).await, "unknown", "{why}");
        let told = scene.told();
        assert!(
            told.iter()
                .any(|line| line.starts_with("Error: ") && line.contains(why)),
            "{why}: {told:?}"
        );
        // REV-11: nothing is tried again behind the policy's back.
        assert_eq!(scene.asked(), ["GET /crl"], "{why}");
    }
}

/// REV-12: redirects are followed, but neither without end nor to other schemes.
#[tokio::test]
async fn redirects() {
    let scene = Scene::new();
    let leaf = scene.leaf(None, Some("/old"));
    scene.serve_crl("/crl", &scene.crl());
    let target = scene.server.url("/crl");
    scene.server.answer("/old", move || {
        Response::status(302).header("location", &target)
    });
    assert_eq!(scene.status(&leaf).await, "good");
    assert_eq!(scene.asked(), ["GET /old", "GET /crl"]);
    let itself = scene.server.url("/old");
    scene.server.answer("/old", move || {
        Response::status(302).header("location", &itself)
    });
    assert_eq!(scene.status(&leaf).await, "unknown");
    assert_eq!(scene.asked().len(), 6);
    for elsewhere in ["file:///etc/passwd", "ldap://h.test/", "ftp://h.test/"] {
        scene.server.answer("/old", move || {
            Response::status(302).header("location", elsewhere)
        });
        assert_eq!(scene.status(&leaf).await, "unknown", "{elsewhere}");
        assert_eq!(scene.asked(), ["GET /old"]);
    }
}

/// REV-12: one limit for the whole step; a certificate that is known by then stays known.
#[tokio::test]
async fn the_whole_step_is_limited() {
    let mut scene = Scene::new();
    let ca = Builder::ca("Issuing CA", &Key::P256_B)
        .change(|b| b.serial = vec![2, 1, 7])
        .crl(&scene.server.url("/ca"));
    scene.pki.ca = ca.issue(&scene.pki.root, &Key::P256_B);
    let leaf = scene.leaf(None, Some("/slow"));
    scene
        .server
        .body("/slow", || Body::Hang(Duration::from_secs(5)));
    let root = Crl::of(&scene.pki.root).lists(&[2, 1, 7], None);
    scene.server.serve("/ca", &root.sign(&scene.pki.root));
    let mut options = OnlineOptions::default();
    options.total = Duration::from_secs(1);
    let checked = scene.check(&Online::new(options), &leaf).await;
    assert_eq!(checked[1].status.name(), "revoked");
    let Status::Unknown(why) = &checked[0].status else {
        panic!("{checked:?}");
    };
    assert_eq!(why.to_string(), "no answer within 1 seconds");
}

/// REV-40: the delta's addresses are tried in order; without a delta nothing is known. The base is
/// proven before anybody follows what it says.
#[tokio::test]
async fn deltas_are_followed() {
    let scene = Scene::new();
    let leaf = scene.leaf(None, Some("/crl"));
    let urls = ["/none", "/forged", "/delta"].map(|path| scene.server.url(path));
    let urls = urls.each_ref().map(String::as_str);
    let freshest = distribution_points(&[(&urls[..2], None), (&urls[2..], None)]);
    let base = scene.crl().with(FRESHEST_CRL, false, freshest);
    scene.serve_crl("/crl", &base);
    let stranger = Builder::ca("Issuing CA", &Key::P521).self_signed(&Key::P521);
    let delta = Crl::delta_of(&scene.pki.ca);
    scene.server.serve("/forged", &delta.sign(&stranger));
    assert_eq!(scene.status(&leaf).await, "unknown");
    assert_eq!(
        scene.asked(),
        ["GET /crl", "GET /none", "GET /forged", "GET /delta"]
    );
    assert!(scene.told().iter().any(|line| line.contains(
        "failed to get the delta CRL from S/delta: failed to download with status code: 404"
    )));
    scene.serve_crl("/delta", &delta);
    assert_eq!(scene.status(&leaf).await, "good");
    // An expired one is not the last that is tried.
    let expired = delta.clone().change(|crl| crl.next_update = Some(ago(1)));
    scene.serve_crl("/none", &expired);
    assert_eq!(scene.status(&leaf).await, "good");
    scene.serve_crl("/none", &expired.lists(SERIAL, Some(1)));
    scene.server.answer("/delta", || Response::status(404));
    assert_eq!(scene.status(&leaf).await, "revoked");
    scene.serve_crl("/delta", &delta.lists(SERIAL, Some(1)));
    assert_eq!(scene.status(&leaf).await, "revoked");
    scene.asked();
    scene.server.serve("/crl", &base.sign(&stranger));
    assert_eq!(scene.status(&leaf).await, "unknown");
    assert_eq!(scene.asked(), ["GET /crl"]);
}

mod batch;
mod cache;
