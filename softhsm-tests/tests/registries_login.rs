//! `hardsign login` and `logout`, credentials on their way, and registries that can't be reached.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use hardsign_test_support::program;
use hardsign_test_support::terminal::Terminal;
use serde_json::json;
use softhsm_tests::binaries;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::workbench::Workbench;

/// A user with a test key `acme`, which the store `ca:acme` trusts.
fn bench() -> Workbench {
    let bench = Workbench::new();
    bench.hardsign_ok(["cert", "generate-test", "acme"]);
    bench
}

/// A policy file of one strict statement for everything.
fn policy(bench: &Workbench) -> String {
    let policy = json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "all",
            "registryScopes": ["*"],
            "signatureVerification": {"level": "strict"},
            "trustStores": ["ca:acme"],
            "trustedIdentities": ["*"],
        }],
    });
    let path = bench.path().join("policy.json");
    fs::write(&path, policy.to_string()).unwrap();
    path.display().to_string()
}

/// CFG-22 to CFG-25, CLI-59 to CLI-62, REG-07, SEC-20: a login with a credential helper serves every
/// later command; without a helper there is a way; no secret is ever printed.
#[test]
fn login_and_logout() {
    let registry = Registry::docker().basic_auth().start();
    let reference = registry.push("demo:v1", b"content");
    let (user, password) = registry.credentials().unwrap();
    let host = registry.host();
    let mut bench = bench();
    fs::create_dir(bench.path().join("empty")).unwrap();
    bench.set("PATH", bench.path().join("empty"));
    let file = bench.path().join("password");
    let login = |bench: &Workbench, secret: &str| {
        fs::write(&file, format!("{secret}\n")).unwrap();
        let arguments = ["login", "-d", "-u", user, "--password-stdin", &host];
        let mut command = bench.command(&binaries().join("hardsign"), arguments);
        let ran = bench.run(command.stdin(fs::File::open(&file).unwrap()));
        assert!(
            !format!("{}{}", ran.stdout, ran.stderr).contains(secret),
            "{}",
            ran.stderr
        );
        ran
    };
    let anonymous = bench.hardsign(["list", &reference]);
    assert_eq!(anonymous.code, Some(3));
    assert!(
        anonymous
            .stderr
            .contains("credential required for basic auth"),
        "{}",
        anonymous.stderr
    );
    assert!(
        anonymous
            .stderr
            .contains("Hint: log in with `hardsign login <registry>`"),
        "{}",
        anonymous.stderr
    );
    let wrong = login(&bench, "no such secret");
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(3), ""));
    assert!(
        wrong
            .stderr
            .contains(&format!("Error: failed to log in to {host}: ")),
        "{}",
        wrong.stderr
    );
    assert!(wrong.stderr.contains("unauthorized"), "{}", wrong.stderr);
    // A headless machine.
    let headless = login(&bench, password);
    assert_eq!((headless.code, headless.stdout.as_str()), (Some(1), ""));
    let said = format!(
        "Error: failed to log in to {host}: the credential could not be saved because a credentials store is required"
    );
    assert!(headless.stderr.contains(&said), "{}", headless.stderr);
    assert!(
        headless.stderr.contains("NOTATION_USERNAME"),
        "{}",
        headless.stderr
    );
    let mut command = bench.command(&binaries().join("hardsign"), ["list", &reference]);
    command
        .env("NOTATION_USERNAME", user)
        .env("NOTATION_PASSWORD", password);
    assert_eq!(bench.run(&mut command).code, Some(0));
    // With a helper.
    let helper = bench.path().join("empty/docker-credential-test");
    let kept = bench.path().join("kept");
    let script = format!(
        "#!/bin/sh\ncase $1 in\nget) test -f {0} && /bin/cat {0} || {{ echo credentials not found in native keychain; exit 1; }};;\nstore) /bin/cat > {0};;\nerase) /bin/rm -f {0};;\nesac\n",
        kept.display()
    );
    program::write(&helper, &script);
    fs::write(
        bench.config().join("config.json"),
        r#"{"credsStore":"test"}"#,
    )
    .unwrap();
    let done = login(&bench, password);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (Some(0), "Login Succeeded\n"),
        "{}",
        done.stderr
    );
    bench.hardsign_ok(["sign", "--key", "acme", &reference]);
    bench.hardsign_ok(["list", &reference]);
    let out = bench.hardsign_ok(["logout", &host]);
    assert_eq!(out.stdout, "Logout Succeeded\n");
    assert_eq!(bench.hardsign(["list", &reference]).code, Some(3));
    assert!(
        bench
            .hardsign(["login"])
            .stderr
            .starts_with("Error: no hostname specified\n")
    );
    let empty = bench.hardsign(["login", "-u", user, &host]);
    assert!(
        empty.stderr.contains("password required"),
        "{}",
        empty.stderr
    );
}

/// CLI-60: a terminal is asked for user name and password, shows no password, and echoes again
/// afterwards.
#[test]
fn login_asks_on_a_terminal_without_echo() {
    use rustix::termios::{LocalModes, tcgetattr};
    let registry = Registry::docker().basic_auth().start();
    let (user, password) = registry.credentials().unwrap();
    let bench = Workbench::new();
    let terminal = Terminal::new(80);
    terminal.watch();
    let screen = terminal.open();
    let echoes = || {
        let modes = tcgetattr(&screen).unwrap().local_modes;
        modes.contains(LocalModes::ECHO)
    };
    let host = registry.host();
    let mut command = bench.command(&binaries().join("hardsign"), ["login", &host]);
    let mut child = command
        .env("PATH", "")
        .stdin(terminal.open())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut told = String::new();
    let mut wait_for = |question: &str| {
        let mut byte = [0];
        while !told.ends_with(question) {
            stdout.read_exact(&mut byte).unwrap();
            told.push(char::from(byte[0]));
        }
    };
    wait_for("Username: ");
    terminal.types(&format!("{user}\n"));
    wait_for("Password: ");
    assert!(!echoes());
    terminal.types(&format!("{password}\n"));
    wait_for("\n");
    let output = child.wait_with_output().unwrap();
    // The registry accepts it, and there is nowhere to keep it.
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("a credentials store is required"),
        "{stderr}"
    );
    assert!(echoes());
    writeln!(&screen, "END").unwrap();
    let shown = terminal.wait_for("END", |shown| shown.ends_with("END\r\n"));
    assert!(
        shown.contains(user) && !shown.contains(password),
        "{shown:?}"
    );
    assert_eq!(told, "Username: Password: \n");
}

/// CFG-26: the same credential in plain text is used and stays where it is.
#[test]
fn login_with_what_stands_in_plain_text() {
    let registry = Registry::docker().basic_auth().start();
    let (user, password) = registry.credentials().unwrap();
    let mut bench = Workbench::new();
    fs::create_dir(bench.path().join("empty")).unwrap();
    bench.set("PATH", bench.path().join("empty"));
    let auths = json!({"auths": {registry.host(): {"auth": "cGVlcjpjb3JyZWN0IGhvcnNl"}}});
    let file = bench.config().join("config.json");
    fs::write(&file, auths.to_string()).unwrap();
    let ran = bench.hardsign_ok(["login", "-u", user, "-p", password, &registry.host()]);
    assert_eq!(
        ran.stdout,
        "Authenticated with existing credentials\nLogin Succeeded\n"
    );
    assert!(
        ran.stderr
            .starts_with("Warning: The credentials store is not set up."),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), auths.to_string());
}

/// REG-05: one credential is not sent to two registries.
#[test]
fn one_credential_is_not_sent_to_two_registries() {
    let bench = Workbench::new();
    let ran = bench.hardsign([
        "copy",
        "-u",
        "a",
        "-p",
        "b",
        "localhost:1/a:v1",
        "localhost:2/a",
    ]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("--from-username"), "{}", ran.stderr);
}

/// CLI-03, SEC-23: what can't be reached has an exit code and a hint of its own.
#[test]
fn a_dead_registry_is_told_apart() {
    let bench = bench();
    let policy = policy(&bench);
    let reference = format!("localhost:1/a@sha256:{}", "0".repeat(64));
    for arguments in [
        vec!["sign", "--key", "acme", &reference],
        vec!["verify", "--policy", &policy, &reference],
        vec!["list", &reference],
        vec!["copy", &reference, "localhost:2/b"],
    ] {
        let ran = bench.hardsign(&arguments);
        assert_eq!(ran.code, Some(3), "{arguments:?} {}", ran.stderr);
        assert!(ran.stderr.contains("onnection refused"), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("\nHint: check the registry's name"),
            "{}",
            ran.stderr
        );
    }
}
