//! `policy`, and the help of command groups. Each faulty policy is refused in the words of the real
//! `notation` 1.3.2; where the requirements follow notation 2 the text stands here in full.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

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

/// Policies with a fault outside of the statements or between them, and the text at whose last occurrence it
/// stands.
fn faulty_documents() -> Vec<(Value, &'static str)> {
    let other = statement(|s| {
        s["name"] = json!("q");
        s["registryScopes"] = json!(["a.b/c"]);
    });
    vec![
        (
            json!({"trustPolicies": [statement(|_| ())]}),
            r#"{"trustPolicies""#,
        ),
        (
            json!({"version": "2.0", "trustPolicies": [statement(|_| ())]}),
            r#""2.0""#,
        ),
        (document(&[]), r#"[]"#),
        (
            document(&[
                statement(|_| ()),
                statement(|s| s["registryScopes"] = json!(["a.b/c"])),
            ]),
            r#""p","registryScopes":["a.b/c"]"#,
        ),
        (
            document(&[
                other.clone(),
                statement(|s| s["registryScopes"] = json!(["a.b/c"])),
            ]),
            r#""a.b/c"],"signature"#,
        ),
        (
            document(&[statement(|_| ()), {
                let mut s = other;
                s["registryScopes"] = json!(["*"]);
                s
            }]),
            r#""*"],"signature"#,
        ),
    ]
}

/// The same with a fault in the one statement.
fn faulty_statements() -> Vec<(Value, &'static str)> {
    let one = |change: fn(&mut Value), at| (document(&[statement(change)]), at);
    vec![
        one(|s| s["name"] = json!(""), r#"{"name":"""#),
        one(|s| s["registryScopes"] = json!([]), r#"[],"signature"#),
        one(
            |s| s["registryScopes"] = json!(["*", "a.b/c"]),
            r#"["*","a.b/c"]"#,
        ),
        one(|s| s["registryScopes"] = json!(["nope"]), r#""nope""#),
        one(
            |s| s["registryScopes"] = json!(["https://a.b/c"]),
            r#""https://a.b/c""#,
        ),
        one(
            |s| s["registryScopes"] = json!(["a.b/c:v1"]),
            r#""a.b/c:v1""#,
        ),
        one(|s| s["trustStores"] = json!([]), r#"{"name":"p""#),
        one(|s| s["trustStores"] = json!(["s"]), r#"["s"]"#),
        one(
            |s| s["trustStores"] = json!(["nosuch:s"]),
            r#"["nosuch:s"]"#,
        ),
        one(|s| s["trustStores"] = json!(["ca:a/b"]), r#"["ca:a/b"]"#),
        one(|s| s["trustedIdentities"] = json!([]), r#"{"name":"p""#),
        one(
            |s| s["trustedIdentities"] = json!(["nonsense"]),
            r#"["nonsense"]"#,
        ),
        one(|s| s["trustedIdentities"] = json!([""]), r#"[""]"#),
        one(
            |s| s["trustedIdentities"] = json!(["*", "x509.subject: C=US, ST=WA, O=a"]),
            r#"["*","x509"#,
        ),
        one(
            |s| s["trustedIdentities"] = json!(["x509.subject: C=US, ST=WA"]),
            r#"["x509.subject: C=US, ST=WA"]"#,
        ),
        one(
            |s| s["trustedIdentities"] = json!(["x509.subject: CN=a"]),
            r#"["x509.subject: CN=a"]"#,
        ),
        one(
            |s| s["trustedIdentities"] = json!(["x509.subject:"]),
            r#"["x509.subject:"]"#,
        ),
        one(
            |s| s["signatureVerification"] = json!({}),
            r#"{},"trustStores""#,
        ),
        one(
            |s| s["signatureVerification"] = json!({"level": "x"}),
            r#"{"level":"x"}"#,
        ),
        one(
            |s| s["signatureVerification"] = json!({"level": "skip"}),
            r#"{"name":"p""#,
        ),
        one(
            |s| s["signatureVerification"]["override"] = json!({"integrity": "log"}),
            r#"{"level":"strict","override""#,
        ),
        one(
            |s| s["signatureVerification"]["override"] = json!({"nosuch": "log"}),
            r#"{"level":"strict","override""#,
        ),
        one(
            |s| s["signatureVerification"]["override"] = json!({"expiry": "nope"}),
            r#"{"level":"strict","override""#,
        ),
        one(
            |s| s["signatureVerification"]["override"] = json!({"authenticTimestamp": "skip"}),
            r#"{"level":"strict","override""#,
        ),
        one(
            |s| s["signatureVerification"]["verifyTimestamp"] = json!("sometimes"),
            r#"{"level":"strict","verify"#,
        ),
    ]
}

/// CLI-85, TP-06 to TP-40: each fault in the words of the reference, and below them its place. 1.3.2 knows one
/// kind of policy and so leaves out "OCI".
#[test]
fn cli_85_faulty_policies_are_refused_as_notation_does() {
    let pair = Pair::new();
    let adapt = |text: &str| {
        text.replace("OCI trust policy configuration", "trust policy")
            .replace("oci trust polic", "trust polic")
    };
    for (policy, at) in faulty_documents().into_iter().chain(faulty_statements()) {
        let text = policy.to_string();
        pair.file("policy.json", text.as_bytes());
        pair.alike("policy import --force policy.json", "", adapt);
        let ran = pair.hardsign.hardsign(["policy", "import", "policy.json"]);
        let column = text.rfind(at).unwrap() + 1;
        let place = format!("policy.json:1:{column}\n");
        assert!(ran.stderr.ends_with(&place), "{place}{}", ran.stderr);
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

/// A command that asks, and waits for the answer.
struct Asking {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Asking {
    fn start(bench: &Workbench, line: &str) -> Self {
        let mut command = bench.command(&binaries().join("hardsign"), line.split(' '));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut shown = Vec::new();
        while !shown.ends_with(b"[y/N] ") {
            let mut byte = [0];
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{line}: no question");
            shown.extend(byte);
        }
        Self {
            child,
            stdin,
            stdout,
        }
    }

    fn answer(mut self, text: &str) -> Ran {
        self.stdin.write_all(text.as_bytes()).unwrap();
        drop(self.stdin);
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        let output = self.child.wait_with_output().unwrap();
        Ran {
            code: output.status.code(),
            stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A machine with signers of these names, whose certificates nothing trusts yet.
fn with_signers(names: &[&str]) -> Workbench {
    let bench = Workbench::new();
    for name in names {
        bench.hardsign_ok(["certificate", "generate-test", name]);
    }
    fs::remove_dir_all(bench.config().join("truststore")).unwrap();
    bench
}

fn add(name: &str) -> String {
    format!("policy add-signer {name} --cert config/localkeys/{name}.crt --scope local/app")
}

/// What another command changed while a question waited is neither lost nor undone: the answer was to
/// something else.
#[test]
fn an_answer_to_a_policy_that_changed_changes_nothing() {
    let bench = with_signers(&["build", "security", "qa"]);
    let policy = bench.config().join("trustpolicy.oci.json");
    let rules = bench.config().join("policy.hardsign.json");
    let store = |name: &str| bench.config().join("truststore/x509/ca").join(name);
    let now = || (fs::read(&policy).ok(), fs::read(&rules).ok());
    let hardsign = |line: &str| bench.hardsign_ok(line.split(' '));
    let is_refused = |asking: Asking| {
        let before = now();
        let ran = asking.answer("y\n");
        assert_eq!(ran.code, Some(1), "{}", ran.stdout);
        let told = "was changed by another command meanwhile\nHint: nothing was written";
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
        assert_eq!(now(), before);
    };
    // Somebody else comes, the first of all.
    let asking = Asking::start(&bench, &add("security"));
    hardsign(&format!("{} --required --yes", add("build")));
    is_refused(asking);
    assert!(!store("security").exists());
    // The rules alone change.
    let asking = Asking::start(&bench, &add("security"));
    let text = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, format!("{text}\n")).unwrap();
    is_refused(asking);
    assert!(!store("security").exists());
    hardsign(&format!("{} --required --yes", add("security")));
    // Somebody is removed, and does not come back with a third one, nor when another one is removed.
    for line in [&*add("qa"), "policy remove-signer build"] {
        let asking = Asking::start(&bench, line);
        hardsign("policy remove-signer security --yes");
        is_refused(asking);
        let policy = fs::read_to_string(&policy).unwrap();
        assert!(!policy.contains("security"), "{policy}");
        hardsign(&format!("{} --required --yes", add("security")));
    }
    // A file that is to be replaced.
    fs::copy(&policy, bench.path().join("mine.json")).unwrap();
    fs::copy(&rules, bench.path().join("rules.json")).unwrap();
    for file in ["mine.json", "rules.json"] {
        let asking = Asking::start(&bench, &format!("policy import {file}"));
        hardsign(&format!("{} --required --yes", add("qa")));
        is_refused(asking);
        hardsign("policy remove-signer qa --yes");
    }
    // Without a change in between, the answer counts.
    let ran = Asking::start(&bench, &add("qa")).answer("y\n");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

/// Commands that change a policy at once: who was told that a signer is trusted finds it in the policy, and
/// nobody else is in it.
#[test]
fn changes_at_once_are_not_lost() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let bench = with_signers(&names);
    let ended: Vec<Ran> = thread::scope(|scope| {
        let add = |name: &'static str| {
            let line = format!("{} --yes", add(name));
            let bench = &bench;
            scope.spawn(move || bench.hardsign(line.split(' ')))
        };
        let running: Vec<_> = names.map(add).into_iter().collect();
        running.into_iter().map(|ran| ran.join().unwrap()).collect()
    });
    let policy = fs::read_to_string(bench.config().join("trustpolicy.oci.json")).unwrap();
    for (name, ran) in names.iter().zip(&ended) {
        let is_there = policy.contains(&format!("CN={name},"));
        assert_eq!(
            ran.code == Some(0),
            is_there,
            "{name}: {}{policy}",
            ran.stderr
        );
        let told = ran
            .stderr
            .contains("was changed by another command meanwhile");
        assert!(is_there || told, "{}", ran.stderr);
    }
    assert!(ended.iter().any(|ran| ran.code == Some(0)));
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
    fs::write(&policy, document(&[]).to_string()).unwrap();
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
