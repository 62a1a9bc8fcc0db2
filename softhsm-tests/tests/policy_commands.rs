//! `policy`, and the help of command groups. Each faulty policy is refused in the words of the real
//! `notation` 1.3.2; where the requirements follow notation 2 the text stands here in full.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};
use softhsm_tests::pair::{Pair, failed, is_unanswered, with_input};
use softhsm_tests::workbench::{Ran, Workbench};
use softhsm_tests::{binaries, run};

fn statement(change: impl FnOnce(&mut Value)) -> Value {
    let mut statement = json!({
        "name": "p",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:s"],
        "trustedIdentities": ["*"],
    });
    change(&mut statement);
    statement
}

fn document(statements: &[Value]) -> Value {
    json!({"version": "1.0", "trustPolicies": statements})
}

/// Policies with one fault each.
fn faulty() -> Vec<Value> {
    let one = |change: fn(&mut Value)| document(&[statement(change)]);
    let other = statement(|s| {
        s["name"] = json!("q");
        s["registryScopes"] = json!(["a.b/c"]);
    });
    vec![
        json!({"trustPolicies": [statement(|_| ())]}),
        json!({"version": "2.0", "trustPolicies": [statement(|_| ())]}),
        document(&[]),
        document(&[
            statement(|_| ()),
            statement(|s| s["registryScopes"] = json!(["a.b/c"])),
        ]),
        document(&[
            other.clone(),
            statement(|s| s["registryScopes"] = json!(["a.b/c"])),
        ]),
        document(&[statement(|_| ()), {
            let mut s = other;
            s["registryScopes"] = json!(["*"]);
            s
        }]),
        one(|s| s["name"] = json!("")),
        one(|s| s["registryScopes"] = json!([])),
        one(|s| s["registryScopes"] = json!(["*", "a.b/c"])),
        one(|s| s["registryScopes"] = json!(["nope"])),
        one(|s| s["registryScopes"] = json!(["https://a.b/c"])),
        one(|s| s["registryScopes"] = json!(["a.b/c:v1"])),
        one(|s| s["trustStores"] = json!([])),
        one(|s| s["trustStores"] = json!(["s"])),
        one(|s| s["trustStores"] = json!(["nosuch:s"])),
        one(|s| s["trustStores"] = json!(["ca:a/b"])),
        one(|s| s["trustedIdentities"] = json!([])),
        one(|s| s["trustedIdentities"] = json!(["nonsense"])),
        one(|s| s["trustedIdentities"] = json!([""])),
        one(|s| s["trustedIdentities"] = json!(["*", "x509.subject: C=US, ST=WA, O=a"])),
        one(|s| s["trustedIdentities"] = json!(["x509.subject: C=US, ST=WA"])),
        one(|s| s["trustedIdentities"] = json!(["x509.subject: CN=a"])),
        one(|s| s["trustedIdentities"] = json!(["x509.subject:"])),
        one(|s| s["signatureVerification"] = json!({})),
        one(|s| s["signatureVerification"] = json!({"level": "x"})),
        one(|s| s["signatureVerification"] = json!({"level": "skip"})),
        one(|s| s["signatureVerification"]["override"] = json!({"integrity": "log"})),
        one(|s| s["signatureVerification"]["override"] = json!({"nosuch": "log"})),
        one(|s| s["signatureVerification"]["override"] = json!({"expiry": "nope"})),
        one(|s| s["signatureVerification"]["override"] = json!({"authenticTimestamp": "skip"})),
        one(|s| s["signatureVerification"]["verifyTimestamp"] = json!("sometimes")),
    ]
}

/// CLI-85, TP-06 to TP-40: each fault in the words of the reference. 1.3.2 knows one kind of policy
/// and so leaves out "OCI".
#[test]
fn cli_85_faulty_policies_are_refused_as_notation_does() {
    let pair = Pair::new();
    let adapt = |text: &str| {
        text.replace("OCI trust policy configuration", "trust policy")
            .replace("oci trust polic", "trust polic")
    };
    for policy in faulty() {
        pair.file("policy.json", policy.to_string().as_bytes());
        pair.alike("policy import --force policy.json", "", adapt);
        assert!(!pair.hardsign.config().join("trustpolicy.oci.json").exists());
    }
    pair.file(
        "policy.json",
        document(&[statement(|_| ())]).to_string().as_bytes(),
    );
    pair.all_alike("policy show extra");
}

/// CLI-84 to CLI-90, CFG-31: importing and showing, text for text.
#[test]
fn policy_commands_answer_as_notation_2() {
    let bench = Workbench::new();
    let hardsign = binaries().join("hardsign");
    let here = |line: &str, input: &str| with_input(&bench, &hardsign, line.split(' '), input);
    let done = "Successfully imported OCI trust policy configuration to <here>/config/trustpolicy.oci.json.\n";
    let question =
        "The OCI trust policy configuration already exists, do you want to overwrite it? [y/N] ";
    let is = |ran: &Ran, stdout: &str, stderr: &str| {
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
            (Some(0), stdout, stderr)
        );
    };

    failed(
        &here("policy show", ""),
        "Error: failed to show OCI trust policy as it does not exist.\nYou can import one using `hardsign policy import <path-to-policy.json>`\n",
    );
    for (line, count) in [("policy import", 0), ("policy import a b", 2)] {
        failed(
            &here(line, ""),
            &format!(
                "Error: requires 1 argument but received {count}.\nUsage: hardsign policy import <path-to-policy.json>\nPlease specify a trust policy file location as the argument\n"
            ),
        );
    }
    failed(
        &here("policy import nosuch.json", ""),
        "Error: failed to read OCI trust policy configuration: open nosuch.json: no such file or directory\n",
    );
    fs::write(bench.path().join("brace.json"), "{\n  \"version\" 1\n}").unwrap();
    let malformed = here("policy import brace.json", "");
    assert_eq!(malformed.code, Some(1));
    assert!(
        malformed
            .stderr
            .starts_with("Error: failed to parse OCI trust policy configuration: "),
        "{}",
        malformed.stderr
    );

    let text = format!("\t{}\n\n", document(&[statement(|_| ())]));
    let path = bench.config().join("trustpolicy.oci.json");
    let old = bench.config().join("trustpolicy.json");
    fs::write(bench.path().join("good.json"), &text).unwrap();
    fs::write(&old, &text).unwrap();
    is(
        &here("policy show", ""),
        &text,
        "Warning: old trust policy `trustpolicy.json` is deprecated; please update the trust policy configuration via `hardsign policy import`.\n",
    );
    let asked = here("policy import good.json", "");
    is_unanswered(&asked, question, "trustpolicy.json was not replaced");
    is(
        &here("policy import good.json", "n\n"),
        &format!("{question}Operation cancelled.\n"),
        "",
    );
    assert!(!path.exists());
    let deleted = "Deleted old trust policy configuration trustpolicy.json.\n";
    is(
        &here("policy import good.json", "y\n"),
        &format!("{question}{deleted}{done}"),
        "",
    );
    assert!(!old.exists());
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    let mode = run(Command::new("stat").args(["-c", "%a"]).arg(&path));
    assert_eq!(mode.stdout, b"600\n");
    is(&here("policy show", ""), &text, "");
    is(
        &here("policy import --force good.json", ""),
        done,
        "Warning: existing OCI trust policy configuration will be overwritten\n",
    );
    failed(
        &here("policy show extra", ""),
        "Error: accepts 0 arg(s), received 1\n",
    );

    // CLI-87: what is no JSON is replaced without a question, and a copy kept.
    fs::write(&path, "{").unwrap();
    let invalid = here("policy show", "");
    assert_eq!((invalid.code, invalid.stdout.as_str()), (Some(1), "{"));
    assert!(
        invalid.stderr.starts_with("Existing OCI trust policy configuration is invalid, you may update or create a new one via `hardsign policy import <path-to-policy.json>`. See https://"),
        "{}",
        invalid.stderr
    );
    is(&here("policy import good.json", ""), done, "");
    let backup = bench.config().join("trustpolicy.oci.json.bak");
    assert_eq!(fs::read_to_string(backup).unwrap(), "{");
}

/// CLI-04, CLI-19: a group without a command prints its help. One that is unknown is a mistake, which
/// the reference answers with the help and exit code 0.
#[test]
fn cli_04_groups_print_their_help() {
    let bench = Workbench::new();
    for group in [
        "key",
        "certificate",
        "cert",
        "policy",
        "blob",
        "blob policy",
    ] {
        let words = || group.split(' ');
        let help = bench.hardsign_ok(words().chain(["--help"]));
        let ran = bench.hardsign_ok(words());
        assert_eq!(
            (ran.stdout.as_str(), ran.stderr.as_str()),
            (help.stdout.as_str(), ""),
            "{group}"
        );
        let whole = group
            .replace("cert", "certificate")
            .replace("certificateificate", "certificate");
        let ran = bench.hardsign(words().chain(["nosuch"]));
        let text = format!(
            "Error: unknown command \"nosuch\" for \"hardsign {whole}\"\nRun 'hardsign {whole} --help' for usage.\n"
        );
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), text.as_str()));
        assert!(help.stdout.contains("Usage: "), "{}", help.stdout);
    }
    failed(
        &bench.hardsign(["nosuch"]),
        "Error: unknown command \"nosuch\" for \"hardsign\"\nRun 'hardsign --help' for usage.\n",
    );
}

/// TP-04: a policy file that its user may not read is named, with what the system said. Root may read anything, so
/// that another user asks then.
#[test]
fn tp_04_a_file_that_may_not_be_read() {
    let home = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap();
    let program = home.path().join("hardsign");
    run(Command::new("cp")
        .arg(binaries().join("hardsign"))
        .arg(&program));
    let policy = home.path().join("trustpolicy.oci.json");
    fs::write(&policy, document(&faulty()[..0]).to_string()).unwrap();
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            let mut setpriv = Command::new("setpriv");
            setpriv.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
            setpriv.arg(&program);
            setpriv
        }
        false => Command::new(&program),
    };
    command
        .args(["policy", "explain", "registry.example.com/app"])
        .env("NOTATION_CONFIG", home.path())
        .env("HOME", home.path())
        .current_dir("/");
    let ran = command.output().unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    let path = policy.display();
    assert_eq!(
        said,
        format!(
            "Error: unable to read trust policy due to file permissions, please verify the permissions of {path}\nHint: open {path}: permission denied\n"
        )
    );
}
