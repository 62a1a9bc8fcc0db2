//! A user moves in with a configuration directory of the real `notation`: nothing that was not asked
//! for is written, and what is written is replaced whole, with the modes that it should have.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::path::{Path, PathBuf};

use softhsm_tests::binaries;
use softhsm_tests::tree::{Tree, changes, tree};
use softhsm_tests::workbench::{Ran, Workbench};

const POLICY: &str = r#"{"version": "1.0", "trustPolicies": [{
    "name": "all", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
    "trustStores": ["ca:test.example"], "trustedIdentities": ["*"]
}]}"#;

const BLOB_POLICY: &str = r#"{"version": "1.0", "trustPolicies": [{
    "name": "all", "globalPolicy": true, "signatureVerification": {"level": "strict"},
    "trustStores": ["ca:test.example"], "trustedIdentities": ["*"]
}]}"#;

/// A machine with every file that there may be, each formatted as no program of ours would, and
/// open to everybody.
fn bench() -> (Workbench, String) {
    let bench = Workbench::new();
    bench.hardsign_ok(["cert", "generate-test", "--default", "test.example"]);
    let reference = bench.reference(&bench.layout.add("v1", "content"));
    bench.hardsign_ok(["sign", "--oci-layout", &reference]);
    fs::write(bench.path().join("file"), "content").unwrap();
    bench.hardsign_ok(["blob", "sign", "file"]);
    let config = bench.config();
    let keys = fs::read_to_string(config.join("signingkeys.json")).unwrap();
    let keys = format!("\n\n{}\t", keys.replace("    ", "\t"));
    for (name, content) in [
        ("signingkeys.json", keys.as_str()),
        (
            "config.json",
            "{\"unknown\" : [ 1 ],\r\n\"insecureRegistries\":[] , \"auths\":{\"localhost:1\":{\"auth\":\"YTpi\"}} }\n\n",
        ),
        ("trustpolicy.json", POLICY),
        ("trustpolicy.blob.json", BLOB_POLICY),
        ("policy.json", POLICY),
    ] {
        fs::write(config.join(name), content).unwrap();
    }
    (bench, reference)
}

/// The tree below the machine's directory, without the cache, which is there to be written.
fn state(bench: &Workbench) -> Tree {
    let mut tree = tree(bench.path());
    tree.retain(|path, _| !path.starts_with("cache"));
    tree
}

/// CFG-08, CFG-15, TP-03: no command that only reads, and none that fails, writes anything: each
/// file of the machine has the bytes and the mode that it had.
#[test]
fn what_only_reads_writes_nothing() {
    let (bench, reference) = bench();
    let before = state(&bench);
    let scope = ["--oci-layout", "--scope", "local/test", &reference];
    let lines = [
        "version",
        "",
        "--help",
        "doctor",
        "completion bash",
        "__complete -- sign --key ''",
        "key list",
        "key list -o json",
        "cert list",
        "cert list -o json",
        "cert show -t ca -s test.example test.example.crt",
        "policy show",
        "policy explain registry.example.com/app",
        "blob policy show",
        "blob policy explain",
        "plugin list --all",
        "blob verify -s file.jws.sig file",
        "blob inspect file.jws.sig",
        "blob inspect -o json file.jws.sig",
    ];
    let failing = [
        "key add test.example --plugin local --id /k",
        "key add --plugin nosuch --id k new",
        "key set --default nosuch",
        "key delete nosuch",
        "cert add -t ca -s new nosuch.crt",
        "cert add -t ca -s test.example config/localkeys/test.example.crt",
        "cert delete -y -t ca -s test.example nosuch.crt",
        "cert delete -t ca -s test.example test.example.crt",
        "cert generate-test test.example",
        "policy import nosuch.json",
        "policy import file",
        "policy import config/policy.json",
        "blob policy import file",
        "blob sign nosuch",
        "blob sign --key nosuch file",
        "blob sign file",
        "blob verify -s file.jws.sig config/config.json",
        "login -u a -p b localhost:1",
        "sign localhost:1/demo:v1",
        "verify localhost:1/demo:v1",
        "list localhost:1/demo:v1",
        "inspect localhost:1/demo:v1",
    ];
    let same = |words: Vec<&str>, ran: &Ran| {
        let changed = changes(&before, &state(&bench));
        assert!(
            changed.is_empty(),
            "{words:?} changed {:?}\n{}{}",
            changed.keys(),
            ran.stdout,
            ran.stderr
        );
    };
    for line in lines {
        let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let ran = bench.hardsign(&words);
        assert_eq!(ran.code, Some(0), "{line}: {}", ran.stderr);
        same(words, &ran);
    }
    for line in failing {
        let words: Vec<_> = line.split(' ').collect();
        // A question without an answer is a no.
        let ran = bench.hardsign(&words);
        assert!(
            ran.code != Some(0) || ran.stdout.contains("[y/N]"),
            "{line}: {}",
            ran.stdout
        );
        same(words, &ran);
    }
    for verb in [
        vec!["verify"],
        vec!["list"],
        vec!["inspect"],
        vec!["verify", "-o", "json"],
    ] {
        let flags = if verb[0] == "verify" {
            &scope[..]
        } else {
            &["--oci-layout", &reference]
        };
        let words = [&verb[..], flags].concat();
        let ran = bench.hardsign(&words);
        assert_eq!(ran.code, Some(0), "{words:?}: {}", ran.stderr);
        same(words, &ran);
    }
}

/// CFG-15, CFG-16, CFG-31, BLOB-02, BLOB-05, CLI-70, CLI-84: each file that a command replaces is a
/// new file, so that who reads the old one never sees half of the new; and whatever the umask,
/// secrets and policies are the user's alone.
#[test]
fn what_is_written_is_replaced_whole_and_private() {
    let (bench, _) = bench();
    let config = bench.config();
    for (file, line) in [
        ("signingkeys.json", "key add --plugin local --id /k added"),
        ("signingkeys.json", "key set --default added"),
        ("signingkeys.json", "key delete added"),
        ("config.json", "logout localhost:1"),
        (
            "trustpolicy.oci.json",
            "policy import --force config/policy.json",
        ),
        (
            "trustpolicy.oci.json",
            "policy import --force config/policy.json",
        ),
        (
            "trustpolicy.blob.json",
            "blob policy import --force config/trustpolicy.blob.json",
        ),
        (
            "trustpolicy.blob.json",
            "blob policy init --force --name a --trust-store ca:test.example --trusted-identity *",
        ),
        (
            "truststore/x509/ca/new/test.example.crt",
            "cert add -t ca -s new config/localkeys/test.example.crt",
        ),
        ("localkeys/other.key", "cert generate-test other"),
        (
            "../file.jws.sig",
            "blob sign --key test.example --force file",
        ),
    ] {
        let path = config.join(file);
        let (kept, before) = (bench.path().join("kept"), fs::read(&path).ok());
        fs::remove_file(&kept).ok();
        if before.is_some() {
            fs::hard_link(&path, &kept).unwrap();
        }
        let ran = open_to_all(&bench, line);
        assert_eq!(ran.code, Some(0), "{line}: {}", ran.stderr);
        // The link still leads to what was there, so the file was not written in place.
        assert_eq!(fs::read(&kept).ok(), before, "{line}");
        assert_eq!(mode(&path), 0o600, "{line}");
        let left: Vec<_> = tree(&config)
            .into_keys()
            .filter(|path| path.to_string_lossy().contains("tmp"))
            .collect();
        assert_eq!(left, Vec::<PathBuf>::new(), "{line}");
    }
    for directory in [
        "localkeys",
        "truststore/x509/ca/new",
        "truststore/x509/ca/other",
    ] {
        assert_eq!(mode(&config.join(directory)), 0o700, "{directory}");
    }
    assert_eq!(mode(&config.join("localkeys/other.crt")), 0o644);
}

/// `hardsign` under a umask that takes nothing away.
fn open_to_all(bench: &Workbench, line: &str) -> Ran {
    let line = line.replace('*', "'*'");
    let script = format!(
        "umask 000; exec {} {line}",
        binaries().join("hardsign").display()
    );
    bench.run(&mut bench.command(Path::new("sh"), ["-c", &script]))
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
