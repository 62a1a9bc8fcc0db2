//! How `hardsign` gets at registries: credentials and where they come from, TLS and plain HTTP,
//! what must not leak on the way, and how many requests it takes.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hardsign_test_support::program;
use serde_json::json;
use softhsm_tests::binaries;
use softhsm_tests::pair::without_signers;
use softhsm_tests::peers::framework;
use softhsm_tests::peers::registry::{Builder, Registry, Request, in_a_row};
use softhsm_tests::workbench::{Ran, Workbench};

/// A machine with a test key that is trusted, and nothing of the developer's.
fn bench() -> Workbench {
    let mut bench = Workbench::new();
    bench.set("DOCKER_CONFIG", bench.path().join("docker"));
    bench.set("XDG_RUNTIME_DIR", bench.path().join("run"));
    bench.hardsign_ok(["cert", "generate-test", "--default", "test.example"]);
    bench.policy(&json!({
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:test.example"],
        "trustedIdentities": ["*"],
    }));
    bench
}

/// The machine with another environment.
fn with(bench: &Workbench, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let mut command = bench.command(&binaries().join("hardsign"), arguments);
    bench.run(command.envs(variables.iter().copied()))
}

fn refused(ran: &Ran, code: i32, part: &str) {
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(code), ""),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains(part), "no {part:?} in {}", ran.stderr);
}

fn verified(ran: &Ran, reference: &str) {
    let text = format!("Successfully verified signature for {reference}\n");
    assert_eq!(
        (
            ran.code,
            without_signers(&ran.stdout).as_str(),
            ran.stderr.as_str()
        ),
        (Some(0), text.as_str(), "")
    );
}

/// Docker's configuration with a credential for `registry`.
fn auths(registry: &Registry, password: &str) -> String {
    let (user, _) = registry.credentials().unwrap();
    let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
    json!({"auths": {registry.host(): {"auth": auth}}}).to_string()
}

/// REG-04, REG-06, REG-07, CFG-22, CFG-24, CFG-27: every way to give credentials.
fn credentials(registry: &Builder, missing: &str) {
    let registry = registry.start();
    let bench = bench();
    let image = registry.push("team/demo:v1", b"hello");
    let (user, password) = registry.credentials().unwrap();
    for command in ["sign", "verify", "list", "inspect"] {
        let anonymous = bench.hardsign([command, &image]);
        refused(&anonymous, 3, missing);
        assert!(
            anonymous.stderr.contains("\nHint: "),
            "{}",
            anonymous.stderr
        );
        let wrong = bench.hardsign([command, "-u", user, "-p", "wrong", &image]);
        refused(&wrong, 3, "unauthorized");
    }
    bench.hardsign_ok(["sign", "-u", user, "-p", password, &image]);
    verified(
        &bench.hardsign(["verify", "--username", user, "--password", password, &image]),
        &image,
    );
    let variables = [("NOTATION_USERNAME", user), ("NOTATION_PASSWORD", password)];
    verified(&with(&bench, &variables, &["verify", &image]), &image);
    // The flag comes before the variable.
    let flag = with(&bench, &variables, &["verify", "-p", "wrong", &image]);
    refused(&flag, 3, "unauthorized");

    let docker = bench.path().join("docker/config.json");
    fs::create_dir_all(docker.parent().unwrap()).unwrap();
    fs::write(&docker, auths(&registry, password)).unwrap();
    verified(&bench.hardsign(["verify", &image]), &image);
    let flag = bench.hardsign(["verify", "-u", user, "-p", "wrong", &image]);
    refused(&flag, 3, "unauthorized");
    // A mounted secret is a link.
    let secret = bench.path().join("secret.json");
    fs::rename(&docker, &secret).unwrap();
    symlink(&secret, &docker).unwrap();
    verified(&bench.hardsign(["verify", &image]), &image);
    // Notation's own file comes first.
    let own = bench.config().join("config.json");
    fs::write(&own, auths(&registry, "wrong")).unwrap();
    refused(&bench.hardsign(["verify", &image]), 3, "unauthorized");
    fs::write(&own, auths(&registry, password)).unwrap();
    fs::remove_file(&docker).unwrap();
    verified(&bench.hardsign(["verify", &image]), &image);
}

#[test]
fn credentials_for_basic_authentication() {
    credentials(
        &Registry::ggcr().basic_auth(),
        "credential required for basic auth",
    );
}

#[test]
fn credentials_for_docker_registry() {
    credentials(
        &Registry::docker().basic_auth(),
        "credential required for basic auth",
    );
}

#[test]
fn credentials_for_tokens() {
    credentials(&Registry::ggcr().token_auth(), "unauthorized");
}

/// REG-13, REG-04: reading asks for tokens that read; a password alone is a refresh token.
/// REG-09: every request says who asks.
#[test]
fn reg_13_tokens_are_asked_for_with_the_least_scope() {
    let registry = Registry::ggcr().token_auth().start();
    let bench = bench();
    let image = registry.push("team/demo:v1", b"hello");
    let (user, password) = registry.credentials().unwrap();
    let scopes = |arguments: &[&str]| {
        let before = registry.requests().len();
        bench.hardsign_ok(arguments.iter().chain([&image.as_str()]));
        let requests = registry.requests().split_off(before);
        assert!(
            requests
                .iter()
                .all(|r| r.user_agent.starts_with("notation/")),
            "{requests:?}"
        );
        let tokens: Vec<_> = requests
            .into_iter()
            .filter(|r| r.path == "/token")
            .collect();
        assert_eq!(tokens.len(), 1, "one token serves them all: {tokens:?}");
        (tokens[0].method.clone(), tokens[0].query.clone())
    };
    let (method, query) = scopes(&["sign", "-u", user, "-p", password]);
    assert_eq!(method, "GET");
    assert!(
        query.contains("scope=repository%3Ateam%2Fdemo%3Apull%2Cpush"),
        "{query}"
    );
    for command in ["verify", "list", "inspect"] {
        let (_, query) = scopes(&[command, "-u", user, "-p", password]);
        assert!(
            query.ends_with("scope=repository%3Ateam%2Fdemo%3Apull"),
            "{query}"
        );
    }
    let (method, _) = scopes(&["verify", "-p", password]);
    assert_eq!(method, "POST");
}

/// REG-02, REG-03, REG-10, CFG-30: certificates are always checked, against the system's roots and
/// those that the user names; there is no way from HTTPS to HTTP.
#[test]
fn reg_02_certificates_are_checked() {
    let registry = Registry::ggcr().tls().start();
    let bench = bench();
    let image = registry.push("demo:v1", b"hello");
    let file = registry.ca_file().unwrap();
    let ca = file.display().to_string();
    let unknown = bench.hardsign(["sign", &image]);
    refused(&unknown, 3, "invalid peer certificate");
    assert!(
        unknown.stderr.contains("\nHint: ") && unknown.stderr.contains("--ca-file"),
        "{}",
        unknown.stderr
    );
    bench.hardsign_ok(["sign", "--ca-file", &ca, &image]);
    verified(
        &with(&bench, &[("SSL_CERT_FILE", &ca)], &["verify", &image]),
        &image,
    );
    let directory = bench.path().join("certificates");
    fs::create_dir(&directory).unwrap();
    symlink(&file, directory.join("registry.pem")).unwrap();
    let linked = directory.join("registry.pem").display().to_string();
    verified(
        &bench.hardsign(["verify", "--ca-file", &linked, &image]),
        &image,
    );
    let directory = directory.display().to_string();
    verified(
        &with(&bench, &[("SSL_CERT_DIR", &directory)], &["verify", &image]),
        &image,
    );

    let text = bench.path().join("a.txt").display().to_string();
    fs::write(&text, "hello").unwrap();
    refused(
        &bench.hardsign(["verify", "--ca-file", &text, &image]),
        1,
        "holds no certificate",
    );
    refused(
        &bench.hardsign(["verify", "--ca-file", "nosuch.pem", &image]),
        1,
        "open nosuch.pem: no such file or directory",
    );
    let plain = bench.hardsign(["verify", "--ca-file", &ca, "--insecure-registry", &image]);
    refused(&plain, 1, "response status code 400");
    assert!(
        plain.stderr.contains("\nHint: plain HTTP"),
        "{}",
        plain.stderr
    );
}

/// REG-01, REG-03: plain HTTP where it is asked for, and at `localhost` with a port.
#[test]
fn reg_01_plain_http_is_asked_for() {
    let registry = Registry::ggcr().start();
    let bench = bench();
    let local = registry.push("demo:v1", b"hello");
    let image = local.replace("localhost", "127.0.0.1");
    let host = registry.host().replace("localhost", "127.0.0.1");
    bench.hardsign_ok(["sign", &local]);
    let before = registry.requests().len();
    let refusal = bench.hardsign(["verify", &image]);
    refused(&refusal, 3, "https://127.0.0.1");
    assert!(
        refusal.stderr.contains("\nHint: ") && refusal.stderr.contains("--insecure-registry"),
        "{}",
        refusal.stderr
    );
    assert_eq!(
        registry.requests().len(),
        before,
        "nothing was asked by plain HTTP"
    );
    for flag in ["--insecure-registry", "--plain-http"] {
        verified(&bench.hardsign(["verify", flag, &image]), &image);
    }
    let config = bench.config().join("config.json");
    fs::write(&config, json!({"insecureRegistries": [host]}).to_string()).unwrap();
    verified(&bench.hardsign(["verify", &image]), &image);
    // It needs no root certificates, as in a small container.
    let none = [("SSL_CERT_FILE", "/dev/null"), ("SSL_CERT_DIR", "/nowhere")];
    verified(&with(&bench, &none, &["verify", &image]), &image);
}

/// A plugin that writes its environment to a file and then is the real one.
fn telling_plugin(bench: &Workbench) -> PathBuf {
    let log = bench.path().join("environment");
    let script = bench.path().join("wrapper");
    let text = format!(
        "#!/bin/sh\nenv >> {}\nexec {} \"$@\"\n",
        log.display(),
        // Its capabilities follow from its own name.
        bench.path().join("notation-framework").display()
    );
    fs::copy(
        framework::executable(),
        bench.path().join("notation-framework"),
    )
    .unwrap();
    program::write(&script, &text);
    bench.install_plugin("framework", &script);
    log
}

/// PLG-10, CFG-27, LOG-03 to LOG-05: neither a plugin's environment nor the debug log holds
/// credentials, tokens or plugin settings.
#[test]
fn credentials_leak_neither_to_plugins_nor_into_the_log() {
    for registry in [Registry::ggcr().basic_auth(), Registry::ggcr().token_auth()] {
        let registry = registry.start();
        let bench = bench();
        let (log, image) = (telling_plugin(&bench), registry.push("demo:v1", b"hello"));
        let (user, password) = registry.credentials().unwrap();
        let keys = format!("dir={}", bench.path().join("hunter2").display());
        let variables = [("NOTATION_USERNAME", user), ("NOTATION_PASSWORD", password)];
        let sign = [
            "sign",
            "-d",
            "--plugin",
            "framework",
            "--id",
            "k",
            "--plugin-config",
            &keys,
            &image,
        ];
        let signed = with(&bench, &variables, &sign);
        assert_eq!(signed.code, Some(0), "{}", signed.stderr);
        let environment = fs::read_to_string(log).unwrap();
        assert!(environment.contains("PATH="), "{environment}");
        // The plugin's key is not trusted here, which is told only after all requests.
        let verified = bench.hardsign(["verify", "-d", "-u", user, "-p", password, &image]);
        assert_eq!(verified.code, Some(1), "{}", verified.stderr);
        let basic = BASE64_STANDARD.encode(format!("{user}:{password}"));
        for (place, text) in [
            ("environment", &environment),
            ("sign -d", &signed.stderr),
            ("verify -d", &verified.stderr),
        ] {
            for secret in [password, "NOTATION_PASSWORD", "NOTATION_USERNAME", &basic] {
                assert!(!text.contains(secret), "{secret} in {place}: {text}");
            }
        }
        for text in [&signed.stderr, &verified.stderr] {
            assert!(
                text.contains("> Request: \"HEAD\" \"http://localhost:"),
                "{text}"
            );
            let mut secrets = text
                .lines()
                .filter(|line| line.contains("\"Authorization\""));
            assert!(secrets.clone().count() > 2, "{text}");
            assert!(
                secrets.all(|line| line == "   \"Authorization\": \"*****\""),
                "{text}"
            );
        }
        assert!(
            !signed.stderr.contains("hunter2"),
            "a setting in {}",
            signed.stderr
        );
    }
}

/// Verifying by digest takes three requests one after another; signing two while the plugin gets ready, and four
/// with the signature, one of them the upload's start; `notation` takes five and eight.
#[test]
fn few_requests_in_a_row() {
    let registry = Registry::ggcr().latency(Duration::from_millis(150)).start();
    let bench = bench();
    for signatures in 1..=3 {
        let image = registry.push(&format!("demo-{signatures}:v1"), b"hello");
        let row = |arguments: &[&str]| {
            let before = registry.requests().len();
            bench.hardsign_ok(arguments.iter().chain([&image.as_str()]));
            let requests = registry.requests().split_off(before);
            (in_a_row(&requests), requests)
        };
        for format in ["jws", "cose", "jws"].iter().take(signatures) {
            let (_, requests) = row(&["sign", "--signature-format", format]);
            let upload = requests.iter().find(|r| r.method == "POST").unwrap();
            let is_ahead = |r: &Request| r.time.0 < upload.time.0;
            let (ahead, after): (Vec<_>, Vec<_>) = requests.iter().cloned().partition(is_ahead);
            let asks = |r: &&Request| r.method == "HEAD" || r.path.contains("/referrers/");
            assert_eq!(ahead.iter().filter(asks).count(), 2, "{requests:#?}");
            let counts = (in_a_row(&ahead), in_a_row(&after));
            assert_eq!(counts, (2, 4), "{requests:#?}");
        }
        let (count, requests) = row(&["verify"]);
        assert!(count <= 3, "verify: {count} in {requests:#?}");
        let (count, requests) = row(&["list"]);
        assert!(count <= 2, "list: {count} in {requests:#?}");
    }
}

/// OCI-27: the tag schema without asking the API, where the user says so.
#[test]
fn oci_27_force_referrers_tag() {
    let registry = Registry::ggcr().start();
    let bench = bench();
    let image = registry.push("demo:v1", b"hello");
    bench.hardsign_ok(["sign", "--force-referrers-tag", &image]);
    let requests = registry.requests();
    let tag = format!(
        "/v2/demo/manifests/{}",
        image.split_once('@').unwrap().1.replace(':', "-")
    );
    assert!(
        requests.iter().any(|r| r.method == "PUT" && r.path == tag),
        "{requests:#?}"
    );
    let layout = bench.hardsign(["sign", "--force-referrers-tag", "--oci-layout", "a:b"]);
    // CLI-24.
    refused(
        &layout,
        2,
        "if any flags in the group [oci-layout force-referrers-tag] are set none of the others can be; [force-referrers-tag oci-layout] were all set\n",
    );
}
