//! What one signature costs the processor, part by part: `scripts/bench --parts`. Whole commands are
//! measured by `scripts/bench`.

#![allow(missing_docs, reason = "what the macros of criterion make")]
#![allow(clippy::unwrap_used, reason = "a panic is how a bench fails")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use hardsign_core::algorithm::KeySpec;
use hardsign_core::artifact::Descriptor;
use hardsign_core::envelope::{Draft, DraftAttributes, Envelope, Format, Payload, Signed};
use hardsign_core::oci::layout::Layout;
use hardsign_core::oci::manifest::{
    EMPTY_MEDIA_TYPE, OCI_MANIFEST, SIGNATURE_ARTIFACT_TYPE, describe,
};
use hardsign_core::oci::{SignatureSource as _, SignatureStore as _};
use hardsign_core::policy::oci::Document;
use hardsign_core::x509::{Certificate, Chain, CodeSigning};
use hardsign_test_support::certificate::now;
use hardsign_test_support::{Key, Pki};

const SPECS: [KeySpec; 3] = [KeySpec::Ec256, KeySpec::Ec384, KeySpec::Rsa3072];

fn draft(format: Format, spec: KeySpec) -> Draft {
    let payload = Payload::new(describe(OCI_MANIFEST, b"{}"));
    let attributes = DraftAttributes {
        signing_time: now(),
        expiry: None,
    };
    Draft::new(format, &payload, &attributes, spec).unwrap()
}

fn signed(draft: &Draft, pki: &Pki, spec: KeySpec) -> Signed {
    Signed {
        signature: Key::of(spec).sign(draft.to_be_signed().bytes()),
        certificate_chain: pki.chain(&pki.signer(spec)).into(),
        signing_agent: "hardsign/0.1.0 local/1.0".to_owned(),
    }
}

/// Envelopes made, and read and verified, each with its chain proven.
fn envelope(c: &mut Criterion) {
    let pki = Pki::new();
    let mut group = c.benchmark_group("envelope");
    for format in Format::ALL {
        for spec in SPECS {
            let draft = draft(format, spec);
            let signed = signed(&draft, &pki, spec);
            let bytes = draft.assemble(signed.clone()).unwrap().bytes().to_vec();
            let id = format!("{}, {spec}", format.name());
            group.bench_function(BenchmarkId::new("assemble", &id), |b| {
                let fresh = || signed.clone();
                let assemble = |signed| draft.assemble(signed).unwrap();
                b.iter_batched(fresh, assemble, BatchSize::SmallInput);
            });
            group.bench_function(BenchmarkId::new("verify", &id), |b| {
                b.iter(|| {
                    let envelope = Envelope::parse(format, black_box(&bytes)).unwrap();
                    envelope.verify_integrity().unwrap()
                });
            });
        }
    }
    group.finish();
}

/// Certificates read, and a chain of three proven.
fn chain(c: &mut Criterion) {
    let pki = Pki::new();
    let mut group = c.benchmark_group("chain");
    for spec in SPECS {
        let ders = pki.chain(&pki.signer(spec));
        group.bench_function(BenchmarkId::new("prove", spec), |b| {
            b.iter(|| {
                let read = |der: &Vec<u8>| Certificate::from_der(black_box(der)).unwrap();
                Chain::<CodeSigning>::prove(ders.iter().map(read).collect()).unwrap()
            });
        });
    }
    group.finish();
}

/// Trust policies read, and the statement for a repository found.
fn policy(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy");
    for count in [1, 100, 1000] {
        let statements: Vec<String> = (0..count)
            .map(|n| {
                format!(
                    r#"{{"name":"s{n}","registryScopes":["registry.example.com/team/app-{n}"],"signatureVerification":{{"level":"strict"}},"trustStores":["ca:team"],"trustedIdentities":["x509.subject: C=US, ST=WA, O=Example, CN=Team {n}"]}}"#
                )
            })
            .collect();
        let text = format!(
            r#"{{"version":"1.0","trustPolicies":[{}]}}"#,
            statements.join(",")
        );
        group.bench_function(BenchmarkId::new("parse", count), |b| {
            b.iter(|| Document::parse(black_box(text.as_bytes())).unwrap());
        });
        let document = Document::parse(text.as_bytes()).unwrap();
        let wanted = format!("registry.example.com/team/app-{}", count - 1);
        group.bench_function(BenchmarkId::new("find", count), |b| {
            b.iter(|| {
                document
                    .statement_for_repository(black_box(&wanted), String::new)
                    .unwrap()
                    .name()
                    .len()
            });
        });
    }
    group.finish();
}

/// A layout whose index names that many artifacts, each signed once.
fn layout(path: &Path, count: usize) -> Descriptor {
    let put = |content: &str| {
        let descriptor = describe(OCI_MANIFEST, content.as_bytes());
        let name = descriptor.digest.hex();
        std::fs::write(path.join("blobs/sha256").join(name), content).unwrap();
        descriptor
    };
    let entry = |descriptor: &Descriptor| {
        format!(
            r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":{}}}"#,
            descriptor.digest, descriptor.size
        )
    };
    std::fs::create_dir_all(path.join("blobs/sha256")).unwrap();
    std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let empty = describe(EMPTY_MEDIA_TYPE, b"{}");
    let mut entries = Vec::new();
    let mut last = describe(OCI_MANIFEST, b"");
    for n in 0..count {
        last = put(&format!(
            r#"{{"schemaVersion":2,"layers":[],"annotations":{{"n":"{n}"}}}}"#
        ));
        let signature = put(&format!(
            r#"{{"schemaVersion":2,"artifactType":"{SIGNATURE_ARTIFACT_TYPE}","config":{{"mediaType":"{EMPTY_MEDIA_TYPE}","digest":"{}","size":2}},"layers":[],"subject":{}}}"#,
            empty.digest,
            entry(&last)
        ));
        entries.extend([entry(&last), entry(&signature)]);
    }
    let text = format!(
        r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
        entries.join(",")
    );
    std::fs::write(path.join("index.json"), text).unwrap();
    last
}

/// Layouts opened and one artifact's signatures listed; one signature added.
fn index(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut group = c.benchmark_group("index");
    group.sample_size(10);
    for count in [10, 1000] {
        let directory = tempfile::tempdir().unwrap();
        let artifact = layout(directory.path(), count);
        group.bench_function(BenchmarkId::new("open and list", count), |b| {
            b.iter(|| {
                let layout = Layout::open(directory.path()).unwrap();
                let listing = runtime.block_on(layout.list_signatures(&artifact, 10));
                assert_eq!(listing.unwrap().signatures.len(), 1);
            });
        });
        let layout = Layout::open(directory.path()).unwrap();
        let mut number = 0_u64;
        group.bench_function(BenchmarkId::new("add one", count), |b| {
            b.iter(|| {
                number += 1;
                let envelope = number.to_be_bytes();
                let annotations = BTreeMap::new();
                let push = layout.push_signature(&artifact, Format::Jws, &envelope, annotations);
                runtime.block_on(push).unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, envelope, chain, policy, index);
criterion_main!(benches);
