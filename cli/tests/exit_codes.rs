//! Each exit code of docs/exit-codes.md where it is hard to tell apart: a registry that fails in the
//! middle of the work, and verdicts that could not be had (CLI-01, CLI-03).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hardsign_test_support::registry::{Behaviour, FakeRegistry, Request, Response};

mod support;

use support::Machine;

/// What fails, by its number in a [`Faulty`]; the first one is nothing.
type Fault = fn(&Request) -> bool;

/// A registry with the vectors' artifact, in which one kind of request can be made to fail.
struct Faulty {
    machine: Machine,
    registry: FakeRegistry,
    failing: Arc<AtomicUsize>,
}

const FAULTS: [Fault; 5] = [
    |_| false,
    |r| r.method == "GET" && r.path.contains("/blobs/"),
    |r| r.method == "GET" && r.path.contains("/referrers/"),
    |r| r.method == "PUT" && r.path.contains("/manifests/"),
    |r| r.method == "POST" && r.path.contains("/blobs/uploads"),
];
const ENVELOPES: usize = 1;
const LISTING: usize = 2;
const MANIFESTS: usize = 3;
const UPLOADS: usize = 4;

impl Faulty {
    fn new(status: u16) -> Self {
        let failing = Arc::new(AtomicUsize::new(0));
        let fault = Arc::clone(&failing);
        let registry = FakeRegistry::start(Behaviour {
            intercept: Some(Box::new(move |request| {
                let fails = FAULTS[fault.load(Ordering::Relaxed)](request);
                fails.then(|| Response::status(status))
            })),
            ..Behaviour::default()
        });
        let machine = Machine::new();
        let name = registry.name();
        machine.shell(&format!(
            "hardsign copy --from-oci-layout layout:v1 {name}/app; hardsign certificate generate-test --default demo"
        ));
        Self {
            machine,
            registry,
            failing,
        }
    }

    /// Exit code and everything printed, `REGISTRY` being the registry's name.
    fn run(&self, fault: usize, line: &str) -> (Option<i32>, String) {
        self.failing.store(fault, Ordering::Relaxed);
        let ran = self
            .machine
            .shell(&line.replace("REGISTRY", &self.registry.name()));
        (ran.status.code(), String::from_utf8(ran.stdout).unwrap())
    }
}

/// CLI-03: signatures that are listed and can't be fetched have no verdict; that is not a no.
#[test]
fn cli_03_a_registry_fails_during_verification() {
    for (status, code) in [(403, 3), (404, 1)] {
        let faulty = Faulty::new(status);
        let verify = "hardsign verify REGISTRY/app:v1";
        assert_eq!(faulty.run(0, verify).0, Some(0));
        let (found, text) = faulty.run(ENVELOPES, verify);
        assert_eq!(found, Some(code), "{status}: {text}");
        assert!(
            text.contains("Error: signature verification failed for all the signatures"),
            "{text}"
        );
        let hint = "this user is not allowed";
        assert_eq!(text.contains(hint), code == 3, "{text}");
    }
    let faulty = Faulty::new(403);
    let (code, text) = faulty.run(LISTING, "hardsign verify REGISTRY/app:v1");
    assert_eq!(code, Some(3), "{text}");
}

/// CLI-03: what is not trusted stays a plain no, beside signatures that can't be fetched or not.
#[test]
fn cli_03_a_no_is_exit_code_1() {
    let faulty = Faulty::new(403);
    faulty
        .machine
        .shell("sed -i 's/OU=Release/OU=Other/' config/trustpolicy.oci.json");
    let (code, text) = faulty.run(0, "hardsign verify REGISTRY/app:v1");
    assert_eq!(code, Some(1), "{text}");
}

/// OCI-26, CLI-03: the push fails, in the manifest or in the upload before it.
#[test]
fn oci_26_a_registry_fails_at_the_push() {
    for (status, code) in [(403, 3), (401, 3), (400, 1)] {
        let faulty = Faulty::new(status);
        for fault in [MANIFESTS, UPLOADS] {
            let (found, text) = faulty.run(fault, "hardsign sign REGISTRY/app:v1");
            assert_eq!(found, Some(code), "{status}: {text}");
            assert!(
                text.contains("\nError: failed to push signature to registry with error: "),
                "{text}"
            );
            assert!(!text.contains("Successfully signed"), "{text}");
        }
        let (found, text) = faulty.run(0, "hardsign sign REGISTRY/app:v1");
        assert_eq!(found, Some(0), "{text}");
    }
}

/// OCI-19: a tag is resolved once, whatever it points to later; everything after uses the digest.
#[test]
fn oci_19_a_tag_is_resolved_once() {
    let faulty = Faulty::new(403);
    for line in [
        "hardsign verify REGISTRY/app:v1",
        "hardsign sign REGISTRY/app:v1",
        "hardsign list REGISTRY/app:v1",
        "hardsign inspect REGISTRY/app:v1",
    ] {
        faulty.registry.clear_log();
        let (code, text) = faulty.run(0, line);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.starts_with("Warning: Always "), "{text}");
        let asked = faulty.registry.requests();
        let by_tag = asked.iter().filter(|r| r.ends_with("/manifests/v1"));
        assert_eq!(by_tag.count(), 1, "{line}: {asked:#?}");
    }
}
