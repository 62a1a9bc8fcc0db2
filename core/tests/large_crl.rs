//! A CRL of a million entries, in a process of its own: what it takes to judge, fetch, store and
//! read it again. The figures are printed; `docs/performance.md` records a run. No test depends on
//! time, one on memory: no tree of the entries is built.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that prints figures"
)]

use std::fs;
use std::time::{Duration, Instant};

use hardsign_core::event::Listener;
use hardsign_core::revocation::crl::{Bundle, Crl};
use hardsign_core::revocation::{
    Checker as _, Inquiry, Online, OnlineOptions, distribution_points,
};
use hardsign_core::x509::{Certificate, Chain, CodeSigning};
use hardsign_test_support::asn1::{sequence, time, tlv};
use hardsign_test_support::certificate;
use hardsign_test_support::revocation::{Crl as Draft, Publisher, ago};
use hardsign_test_support::{Builder, Key, Pki};

const ENTRIES: u32 = 1_000_000;

/// Most memory that this process has had resident, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let value = work();
    let peak = peak() >> 20;
    println!(
        "{what}: {} ms, at most {peak} MiB resident",
        started.elapsed().as_millis()
    );
    value
}

fn draft(pki: &Pki) -> Draft {
    let date = time(ago(9));
    let mut entries = Vec::new();
    for number in 0..ENTRIES {
        // Serial numbers of 14 bytes; the leaf's, with 3, is not among them.
        let serial = [&[7; 10][..], &number.to_be_bytes()].concat();
        entries.extend(sequence(&[&tlv(2, &serial), &date]));
    }
    Draft::of(&pki.ca).change(|crl| crl.entries = vec![entries])
}

/// REV-31, SEC-14, and the demand to look entries up where they stand.
#[test]
fn a_million_entries() {
    let pki = Pki::new();
    let server = Publisher::start();
    let leaf = Builder::leaf("Leaf", Key::P384.spki).crl(&server.url("/crl"));
    let leaf = pki.issue(leaf, &Key::P384);
    let der = draft(&pki).sign(&pki.ca);
    println!(
        "{ENTRIES} entries, {:.1} MiB",
        der.len() as f64 / 1024.0 / 1024.0
    );
    server.serve("/crl", &der);
    let parsed = |der: &[u8]| Certificate::from_der(der).unwrap();
    let (certificate, issuer) = (parsed(&leaf.der), parsed(&pki.ca.der));
    let now = certificate::now();

    let before = peak();
    let bundle = timed("parsed and proven", || {
        Bundle::prove(Crl::parse(der).unwrap(), &issuer).unwrap()
    });
    let point = &distribution_points(&certificate).unwrap()[0];
    let verdict = timed("looked up", || {
        bundle.judge(&certificate, point, None, now).unwrap()
    });
    assert!(!verdict.revoked);
    let growth = peak().saturating_sub(before);
    assert!(growth < 40 << 20, "{growth}");
    drop(bundle);

    let chain = [&leaf.der, &pki.ca.der, &pki.root.der].map(|der| parsed(der));
    let chain = Chain::<CodeSigning>::prove(chain.to_vec()).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let check = |online: &Online| {
        let checked =
            runtime.block_on(online.check(Inquiry::about(&chain, None, now, &Listener::NOBODY)));
        checked[0].status.name()
    };
    let online = || {
        let mut options = OnlineOptions::default();
        options.cache = Some(cache.path().to_owned());
        // Builds without optimisation on busy machines are slow.
        options.crl_timeout = Duration::from_secs(60);
        options.total = Duration::from_secs(120);
        Online::new(options)
    };
    let first = online();
    assert_eq!(
        timed("downloaded, judged, stored", || check(&first)),
        "good"
    );
    let second = online();
    assert_eq!(
        timed("read from the cache, judged", || check(&second)),
        "good"
    );
    assert_eq!(server.requests(), ["GET /crl"]);
}
