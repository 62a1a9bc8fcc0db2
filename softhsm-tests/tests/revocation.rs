//! Revocation with real parts: certificates and CRLs of `openssl ca`, answers of `openssl ocsp`, and
//! the same servers asked by `hardsign` and by the real `notation` 1.3.2, which share a CRL cache.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

use std::fs;
use std::path::PathBuf;

use hardsign_core::revocation::ocsp;
use hardsign_core::x509::Certificate;
use hardsign_test_support::registry::Body;
use hardsign_test_support::revocation::Publisher;
use serde_json::{Value, json};
use softhsm_tests::authority::{Authority, Responder};
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::workbench::Ran;

const SIGNER: &str = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n";
const RESPONDER: &str = "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=OCSPSigning\nnoCheck=ignored\n";

/// Both tools, a CA that they trust, and a server for its CRLs.
struct Bench {
    scene: Scene,
    ca: Authority,
    server: Publisher,
}

impl Bench {
    fn new() -> Self {
        let scene = Scene::new(&Registry::ggcr());
        let ca = Authority::new("Revocation Tests");
        scene.bench.trust_store("revocation", &ca.root());
        scene.policy_for("revocation");
        Self {
            scene,
            ca,
            server: Publisher::start(),
        }
    }

    /// Issues a certificate with further extensions and signs an artifact with it, by `notation`.
    fn sign(&self, name: &str, extensions: &str) -> String {
        self.ca.issue(name, &format!("{SIGNER}{extensions}"));
        let file = |suffix: &str| self.ca.path().join(format!("{name}.{suffix}"));
        let keys = json!({"default": name, "keys": [
            {"name": name, "keyPath": file("key"), "certPath": file("chain.pem")},
        ]});
        let path = self.scene.bench.config().join("signingkeys.json");
        fs::write(path, keys.to_string()).unwrap();
        let reference = self.scene.push(&format!("{name}:v1"), name);
        self.scene.ok(Tool::Notation, ["sign", &reference]);
        reference
    }

    fn verify(&self, tool: Tool, reference: &str) -> Ran {
        self.scene.run(tool, ["verify", reference, "-d"])
    }

    /// Verifies with both tools, each with an empty cache: whether they accept.
    fn verdicts(&self, reference: &str) -> [(bool, String); 2] {
        Tool::BOTH.map(|tool| {
            fs::remove_dir_all(self.cache()).ok();
            let ran = self.verify(tool, reference);
            assert!(
                matches!(ran.code, Some(0 | 1 | 3)),
                "{tool:?}: {}",
                ran.stderr
            );
            (ran.code == Some(0), ran.stderr)
        })
    }

    /// Both say the same, and each of these texts.
    fn both(&self, reference: &str, accepted: bool, texts: &[&str]) {
        for (tool, (verdict, told)) in Tool::BOTH.iter().zip(self.verdicts(reference)) {
            assert_eq!(verdict, accepted, "{tool:?}: {told}");
            for text in texts {
                assert!(told.contains(text), "{tool:?} does not say {text}: {told}");
            }
        }
    }

    /// The two tools differ: `hardsign` refuses, for this reason.
    fn ours_refuses(&self, reference: &str, why: &str) {
        let [ours, theirs] = self.verdicts(reference);
        assert!(!ours.0 && ours.1.contains(why), "{}", ours.1);
        assert!(theirs.0, "{}", theirs.1);
    }

    fn cache(&self) -> PathBuf {
        self.scene.bench.path().join("cache/crl")
    }

    fn cached(&self) -> usize {
        fs::read_dir(self.cache()).map_or(0, Iterator::count)
    }

    fn crl_point(&self, path: &str) -> String {
        format!("crlDistributionPoints=URI:{}\n", self.server.url(path))
    }

    fn responder(&self, extensions: &str) -> Responder {
        self.ca.issue("responder", extensions);
        self.ca.responder("responder")
    }
}

fn access(responder: &Responder) -> String {
    format!("authorityInfoAccess=OCSP;URI:{}\n", responder.url())
}

fn subject(name: &str) -> String {
    format!("\"CN={name},O=Hardsign Tests,ST=WA,C=US\"")
}

/// REV-05 to REV-07, REV-15, REV-16, REV-19 to REV-21, REV-28: an authorised responder says good,
/// revoked, unknown.
#[test]
fn openssl_answers() {
    let bench = Bench::new();
    let responder = bench.responder(RESPONDER);
    let reference = bench.sign("good", &access(&responder));
    responder.refresh();
    bench.both(
        &reference,
        true,
        &[
            "\"Content-Type\": \"application/ocsp-response\"",
            "No verification impacting errors encountered while checking revocation, status is OK",
        ],
    );
    let json = bench
        .scene
        .ok(Tool::Hardsign, ["verify", "--output", "json", &reference]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        json["verified"][0]["signatures"][0]["revocation"],
        json!([
            {
                "subject": "CN=good,O=Hardsign Tests,ST=WA,C=US",
                "status": "good",
                "method": "OCSP",
                "url": responder.url(),
                "revokedAt": null,
                "error": null,
            },
            {
                "subject": "CN=Revocation Tests,O=Hardsign Tests,ST=WA,C=US",
                "status": "notRevocable",
                "method": null,
                "url": null,
                "revokedAt": null,
                "error": null,
            },
        ])
    );
    bench.ca.revoke("good", "keyCompromise");
    responder.refresh();
    let name = subject("good");
    bench.both(
        &reference,
        false,
        &[
            &format!(
                "Certificate #1 in chain with subject {name} encountered an error for revocation method OCSP at URL \"{}\": certificate is revoked via OCSP",
                responder.url()
            ),
            &format!("signing certificate with subject {name} is revoked"),
        ],
    );
    let told = bench.verify(Tool::Hardsign, &reference).stderr;
    let by = format!("Z, as OCSP of {} says\n", responder.url());
    let line = told
        .lines()
        .find(|line| line.starts_with("    revoked  at 20"));
    let line = line.unwrap_or_else(|| panic!("when and by whom is not told: {told}"));
    assert!(format!("{line}\n").ends_with(&by), "{line}");
    assert!(
        told.contains("\nHint: have it signed by somebody"),
        "{told}"
    );
    // JSON has the same.
    let ran = bench
        .scene
        .run(Tool::Hardsign, ["verify", "--output", "json", &reference]);
    let json: Value = serde_json::from_str(&ran.stdout).unwrap();
    let refused = &json["failed"][0]["notAccepted"][0];
    assert_eq!(refused["expected"], json!({"status": "good"}));
    let mut actual = refused["actual"].clone();
    let since = actual["revokedAt"].take();
    assert!(
        line.contains(&format!("revoked  at {},", since.as_str().unwrap())),
        "{line}"
    );
    assert_eq!(
        actual,
        json!({
            "status": "revoked",
            "method": "OCSP",
            "url": responder.url(),
            "revokedAt": null,
            "error": null,
        })
    );
    let reference = bench.sign("held", &access(&responder));
    bench.ca.revoke("held", "certificateHold");
    responder.refresh();
    bench.both(&reference, false, &["is revoked"]);

    // Out of the index, out of mind.
    let reference = bench.sign("unknown", &access(&responder));
    bench.ca.forget("unknown");
    responder.refresh();
    bench.both(
        &reference,
        false,
        &[
            "certificate has unknown status via OCSP",
            &format!(
                "signing certificate with subject {} revocation status is unknown",
                subject("unknown")
            ),
        ],
    );
}

/// REV-15: our request is the one that openssl makes.
#[test]
fn the_request_is_that_of_openssl() {
    let ca = Authority::new("Requests");
    ca.issue("leaf", SIGNER);
    let certificate = |file: &str| {
        let pem = fs::read(ca.path().join(file)).unwrap();
        Certificate::parse_file(&pem).unwrap().remove(0)
    };
    let ours = ocsp::request(&certificate("leaf.crt"), &certificate("ca.crt")).unwrap();
    assert_eq!(ours, ca.request_of("leaf"));
}

/// REV-20, REV-21, SEC-25: any certificate of the CA signs answers that `notation` believes.
#[test]
fn openssl_answers_with_a_certificate_that_is_not_for_it() {
    let bench = Bench::new();
    let responder = bench.responder(SIGNER);
    let reference = bench.sign("good", &access(&responder));
    responder.refresh();
    bench.ours_refuses(&reference, "is not authorized to sign OCSP responses");
    // Another CA's.
    let other = Authority::new("Others");
    other.issue("responder", RESPONDER);
    for file in ["responder.crt", "responder.key"] {
        fs::copy(other.path().join(file), bench.ca.path().join(file)).unwrap();
    }
    let stranger = bench.ca.responder("responder");
    let reference = bench.sign("stranger", &access(&stranger));
    stranger.refresh();
    bench.both(&reference, false, &["revocation status is unknown"]);
}

/// REV-03, REV-04, REV-30, REV-33, REV-36: CRLs of openssl, alone and where the responder is gone.
#[test]
fn crls_of_openssl() {
    let bench = Bench::new();
    let gone = bench.responder(RESPONDER);
    let extensions = format!("{}{}", access(&gone), bench.crl_point("/crl"));
    drop(gone);
    let reference = bench.sign("fallback", &extensions);
    bench.server.serve("/crl", &bench.ca.crl("", ""));
    let fallback = format!(
        "OCSP check failed with unknown error and fallback to CRL check for certificate #1 in chain with subject {}",
        subject("fallback")
    );
    let url = bench.server.url("/crl");
    bench.both(
        &reference,
        true,
        &[
            &fallback,
            &format!("Retrieving crl bundle from file cache with key \"{url}\" ..."),
            &format!("CRL file cache miss. Key \"{url}\" does not exist"),
            &format!("\"GET\" \"{url}\""),
            &format!("Storing crl bundle to file cache with key \"{url}\" ..."),
        ],
    );
    let alone = bench.sign("alone", &bench.crl_point("/crl"));
    bench.both(&alone, true, &[]);
    for name in ["fallback", "alone"] {
        bench.ca.revoke(name, "superseded");
    }
    bench.server.serve("/crl", &bench.ca.crl("", ""));
    bench.both(&reference, false, &[&fallback, "is revoked"]);
    bench.both(
        &alone,
        false,
        &[&format!(
            "signing certificate with subject {} is revoked",
            subject("alone")
        )],
    );

    let other = bench.sign("other", &bench.crl_point("/crl"));
    bench.both(&other, true, &[]);
    bench.server.serve(
        "/crl",
        &bench.ca.crl(
            "",
            "-crl_lastupdate 20200101000000Z -crl_nextupdate 20200102000000Z",
        ),
    );
    bench.both(
        &other,
        false,
        &["expired CRL. ", "revocation status is unknown"],
    );
    // REV-37: what an expired CRL lists is revoked, and neither tool accepts it.
    let [ours, theirs] = bench.verdicts(&alone);
    assert!(!ours.0 && ours.1.contains("is revoked"), "{}", ours.1);
    assert!(
        !theirs.0 && theirs.1.contains("status is unknown"),
        "{}",
        theirs.1
    );
    for body in [b"no CRL".to_vec(), Authority::new("Others").crl("", "")] {
        bench.server.serve("/crl", &body);
        bench.both(&other, false, &["revocation status is unknown"]);
    }
    bench
        .server
        .body("/crl", || Body::Endless { announced: None });
    bench.both(&other, false, &["revocation status is unknown"]);
}

/// REV-38, REV-39, DIF-49: scope and deltas by openssl; where the reference is laxer.
#[test]
fn scopes_and_deltas_of_openssl() {
    let bench = Bench::new();
    let reference = bench.sign("leaf", &bench.crl_point("/crl"));
    let url = bench.server.url("/crl");
    let scope =
        |lines: &str| format!("issuingDistributionPoint=critical,@scope\n[scope]\n{lines}\n");
    let publish = |extensions: &str| bench.server.serve("/crl", &bench.ca.crl(extensions, ""));
    publish(&scope(&format!("fullname=URI:{url}\nonlyuser=TRUE")));
    bench.both(&reference, true, &[]);
    publish(&scope("fullname=URI:http://crl.test/other"));
    bench.ours_refuses(&reference, "the CRL is that of another distribution point");
    publish(&scope("onlyCA=TRUE"));
    bench.ours_refuses(&reference, "the CRL holds CA certificates only");

    // A delta, in the place of a base and in its own.
    let delta = format!("freshestCRL=URI:{}", bench.server.url("/delta"));
    publish(&delta);
    let base_number = u8::from_str_radix(
        fs::read_to_string(bench.ca.path().join("crlnumber"))
            .unwrap()
            .trim(),
        16,
    );
    // The file has the number of the next one.
    let indicator = format!(
        "2.5.29.27=critical,DER:02:01:{:02x}",
        base_number.unwrap() - 1
    );
    bench.server.serve("/delta", &bench.ca.crl(&indicator, ""));
    bench.both(&reference, true, &[]);
    assert_eq!(bench.cached(), 1);
    let base = bench.ca.crl(&delta, "");
    bench.server.serve("/crl", &base);
    bench.both(
        &reference,
        false,
        &[
            "delta CRL number",
            "is not greater than the base CRL number",
        ],
    );
    bench.ca.revoke("leaf", "keyCompromise");
    bench.server.serve("/delta", &bench.ca.crl(&indicator, ""));
    bench.both(&reference, false, &["is revoked"]);
    bench.server.serve("/crl", &bench.ca.crl(&indicator, ""));
    let [ours, _] = bench.verdicts(&reference);
    assert!(
        ours.1
            .contains("a delta CRL was found in place of a base CRL"),
        "{}",
        ours.1
    );
}

/// REV-47 to REV-49: each tool uses the CRLs that the other stored, with delta and without; nothing
/// is asked then.
#[test]
fn the_cache_is_shared() {
    let bench = Bench::new();
    let reference = bench.sign("leaf", &bench.crl_point("/crl"));
    let delta = format!("freshestCRL=URI:{}", bench.server.url("/delta"));
    for with_delta in [false, true] {
        if with_delta {
            bench.server.serve("/crl", &bench.ca.crl(&delta, ""));
            let indicator = "2.5.29.27=critical,DER:02:01:01";
            bench.server.serve("/delta", &bench.ca.crl(indicator, ""));
        } else {
            bench.server.serve("/crl", &bench.ca.crl("", ""));
        }
        for [writer, reader] in [Tool::BOTH, [Tool::Notation, Tool::Hardsign]] {
            fs::remove_dir_all(bench.cache()).ok();
            let wrote = bench.verify(writer, &reference);
            assert_eq!(wrote.code, Some(0), "{writer:?}: {}", wrote.stderr);
            assert_eq!(bench.cached(), 1);
            bench.server.clear();
            let read = bench.verify(reader, &reference);
            assert_eq!(read.code, Some(0), "{reader:?}: {}", read.stderr);
            assert_eq!(bench.server.requests(), [""; 0], "{reader:?}");
            assert!(!read.stderr.contains("Warning"), "{}", read.stderr);
        }
    }
}

/// REV-51, SEC-03: a forged CRL in the cache, as `notation` stores it, is fetched anew.
#[test]
fn a_forged_crl_does_not_stay() {
    let bench = Bench::new();
    let reference = bench.sign("leaf", &bench.crl_point("/crl"));
    bench
        .server
        .serve("/crl", &Authority::new("Others").crl("", ""));
    assert_ne!(bench.verify(Tool::Notation, &reference).code, Some(0));
    assert_eq!(bench.cached(), 1);
    bench.server.serve("/crl", &bench.ca.crl("", ""));
    let theirs = bench.verify(Tool::Notation, &reference);
    assert_eq!(theirs.code, Some(1), "{}", theirs.stderr);
    let ours = bench.verify(Tool::Hardsign, &reference);
    assert_eq!(ours.code, Some(0), "{}", ours.stderr);
    // And is good for both from then on.
    assert_eq!(bench.verify(Tool::Notation, &reference).code, Some(0));
}

/// REV-50: a cache that can't be used is a warning, the same for both tools.
#[test]
fn a_broken_cache_is_a_warning() {
    let bench = Bench::new();
    let reference = bench.sign("leaf", &bench.crl_point("/crl"));
    bench.server.serve("/crl", &bench.ca.crl("", ""));
    for tool in Tool::BOTH {
        fs::remove_dir_all(bench.cache()).ok();
        bench.scene.ok(tool, ["verify", &reference]);
        // A directory in the place of the file: unreadable even for root.
        let file = fs::read_dir(bench.cache())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        fs::remove_file(&file).unwrap();
        fs::create_dir_all(file.join("in the way")).unwrap();
        let ran = bench.scene.ok(tool, ["verify", &reference]);
        assert_eq!(
            ran.stderr,
            "Warning: CRL cache error discarded. Enable debug log through '-d' for error details.\n",
            "{tool:?}"
        );
        fs::remove_dir_all(bench.cache()).unwrap();
        fs::write(bench.cache(), "a file").unwrap();
        let ran = bench.scene.ok(tool, ["verify", &reference]);
        assert!(
            ran.stderr
                .starts_with("Warning: failed to create crl file cache: "),
            "{tool:?}: {}",
            ran.stderr
        );
        fs::remove_file(bench.cache()).unwrap();
    }
}

/// REV-10, REV-11, VER-05, SEC-08: what a policy makes of it: refused, warned about, not even asked.
#[test]
fn the_policy_decides() {
    let bench = Bench::new();
    let reference = bench.sign("leaf", &bench.crl_point("/crl"));
    bench.server.serve("/crl", &bench.ca.crl("", ""));
    bench.ca.revoke("leaf", "keyCompromise");
    bench.server.serve("/crl", &bench.ca.crl("", ""));
    let policy = |verification: Value| {
        bench.scene.bench.policy(&json!({
            "name": "revocation",
            "registryScopes": ["*"],
            "signatureVerification": verification,
            "trustStores": ["ca:revocation"],
            "trustedIdentities": ["*"],
        }));
    };
    bench.both(&reference, false, &["is revoked"]);
    policy(json!({"level": "permissive"}));
    for tool in Tool::BOTH {
        let ran = bench.scene.ok(tool, ["verify", &reference]);
        assert_eq!(
            ran.stderr,
            format!(
                "Warning: revocation was set to \"log\" and failed with error: signing certificate with subject {} is revoked\n",
                subject("leaf")
            ),
            "{tool:?}"
        );
    }
    fs::remove_dir_all(bench.cache()).unwrap();
    policy(json!({"level": "strict", "override": {"revocation": "skip"}}));
    bench.server.clear();
    for tool in Tool::BOTH {
        let ran = bench.scene.ok(tool, ["verify", &reference]);
        assert_eq!(ran.stderr, "", "{tool:?}");
    }
    assert_eq!(bench.server.requests(), [""; 0]);
}
