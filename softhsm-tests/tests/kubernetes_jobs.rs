//! The Jobs of docs/at-scale.md and docs/ci.md: a real API server takes them, and their commands do what the pages say.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test: failing is its answer"
)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use softhsm_tests::binaries;
use softhsm_tests::kubernetes::Kubernetes;
use softhsm_tests::pages;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::workbench::Workbench;

/// The objects of the first block of YAML below a heading, as the API server keeps them.
fn made(kubernetes: &Kubernetes, page: &str, heading: &str) -> Vec<Value> {
    let blocks = pages::blocks(&pages::text(page));
    let block = blocks
        .iter()
        .find(|block| block.heading == heading && block.language == "yaml")
        .unwrap();
    let mut create = Command::new(kubernetes.kubectl().join("kubectl"))
        .args(["create", "--validate=strict", "-o", "json", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = block.lines.join("\n");
    create
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = create.wait_with_output().unwrap();
    assert!(output.status.success(), "{page}");
    serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

/// The Job's command, run as the kubelet would for each index, signs each reference of the list once; and again nothing.
#[test]
fn an_indexed_job_signs_a_list() {
    let kubernetes = Kubernetes::start();
    let objects = made(&kubernetes, "docs/at-scale.md", "Several machines");
    let [job] = <[Value; 1]>::try_from(objects).unwrap();
    assert_eq!(job["spec"]["completionMode"], "Indexed");
    let count = job["spec"]["completions"].as_u64().unwrap();
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["command"], json!(["sh", "-ec"]));

    let (bench, registry) = (Workbench::new(), Registry::olareg().start());
    bench.hardsign_ok(["cert", "generate-test", "release"]);
    let references: Vec<_> = (0..24)
        .map(|at| registry.push(&format!("app-{at}"), at.to_string().as_bytes()))
        .collect();
    let list = bench.path().join("references.txt");
    fs::write(&list, references.join("\n")).unwrap();
    let script = container["args"][0].as_str().unwrap();
    assert!(script.contains(" /lists/references.txt "), "{script}");
    let script = script.replace("/lists/references.txt", list.to_str().unwrap());
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", binaries().display());
    let signed_by = |index: u64| {
        let mut shell = bench.command(Path::new("/bin/sh"), ["-ec", &script]);
        shell
            .env("PATH", &path)
            .env("JOB_COMPLETION_INDEX", index.to_string());
        let ran = bench.run(&mut shell);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let lines = ran.stdout.lines();
        lines
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["outcome"] == "signed")
            .count()
    };
    let signed: Vec<_> = (0..count).map(signed_by).collect();
    assert_eq!(signed.iter().sum::<usize>(), references.len(), "{signed:?}");
    assert!(
        signed.iter().filter(|signed| **signed > 0).count() > 3,
        "{signed:?}"
    );
    assert_eq!((0..count).map(signed_by).sum::<usize>(), 0);
    for reference in &references {
        let listed = bench.hardsign_ok(["list", "-o", "json", reference]).stdout;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(
            listed["signatures"].as_array().unwrap().len(),
            1,
            "{listed}"
        );
    }
}

/// The objects of the page are those that a cluster takes: no member that is none, nothing that a Job may not be.
#[test]
fn a_job_with_vault_is_taken() {
    let kubernetes = Kubernetes::start();
    kubernetes.namespace("ci", &json!({}));
    let objects = made(
        &kubernetes,
        "docs/ci.md",
        "A Kubernetes Job with Vault or OpenBao",
    );
    let kinds: Vec<_> = objects.iter().map(|object| &object["kind"]).collect();
    assert_eq!(kinds, ["ServiceAccount", "ConfigMap", "Job"]);
    let pod = &objects[2]["spec"]["template"]["spec"];
    // What ends with 3, a registry or service out of reach, is tried again.
    let rules = &objects[2]["spec"]["podFailurePolicy"]["rules"];
    assert_eq!(rules[0]["onExitCodes"]["values"], json!([3]));
    assert_eq!(pod["serviceAccountName"], objects[0]["metadata"]["name"]);
}
