//! Registries and their names, one password for each, and proxies: what a user gets to see, and what
//! is never sent.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]
#![cfg(unix)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};
use std::thread;

use hardsign_test_support::certificate::Pki;
use hardsign_test_support::key::Key;
use hardsign_test_support::registry::{Auth, Behaviour, FakeRegistry};
use hardsign_test_support::{jws, jws::Jws};
use serde_json::{Value, json};

mod support;

use support::Machine;

/// What a command printed.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn run(machine: &Machine, variables: &[(&str, &str)], words: &[&str]) -> Ran {
    let mut command = machine.command("hardsign");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
        .args(words)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
        .into()
}

/// Registries that want user `alice` with password `secret`.
fn registry() -> FakeRegistry {
    FakeRegistry::start(Behaviour {
        auth: Auth::Basic {
            pair: "alice:secret".to_owned(),
        },
        ..Behaviour::default()
    })
}

const LOGIN: [&str; 4] = ["-u", "alice", "-p", "secret"];
const VARIABLES: [(&str, &str); 2] = [
    ("NOTATION_USERNAME", "alice"),
    ("NOTATION_PASSWORD", "secret"),
];

/// Puts the layout's artifact into a registry.
fn artifact(machine: &Machine, registry: &FakeRegistry) -> String {
    let reference = format!("{}/app:v1", registry.name());
    let words = ["copy", "--from-oci-layout", "layout:v1", &reference];
    let ran = run(machine, &[], &[&words[..], &LOGIN].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    registry.clear_log();
    reference
}

/// REG-05: arguments that name a second registry are refused before any request, and both are named.
#[test]
fn reg_05_arguments_at_two_registries() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo");
    let (first, second) = (registry(), registry());
    let (one, other) = (artifact(&machine, &first), artifact(&machine, &second));
    for (variables, login) in [(&[][..], &LOGIN[..]), (&VARIABLES, &[])] {
        for verb in [
            &["sign"][..],
            &["sign", "-o", "json"],
            &["verify"],
            &["sign", "--recursive"],
        ] {
            let words = [verb, login, &[&one, &other]].concat();
            let ran = run(&machine, variables, &words);
            assert_eq!(ran.code, Some(2), "{words:?}: {}", ran.stderr);
            for name in [first.name(), second.name()] {
                assert!(ran.stderr.contains(&name), "{words:?}: {}", ran.stderr);
            }
        }
    }
    assert!(first.log().is_empty() && second.log().is_empty());
    // Without a password of this run each registry has its own login, or none.
    let ran = run(&machine, &[], &["sign", &one, &other]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    // Spellings of one registry are one registry.
    let shouted = one.replace("localhost:", "LOCALHOST:0");
    let words = [&["sign"], &LOGIN[..], &[&one, &shouted]].concat();
    let ran = run(&machine, &[], &words);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

/// REG-05: in a list, what is at a second registry fails, and the others are done.
#[test]
fn reg_05_lines_at_two_registries() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo");
    let (first, second) = (registry(), registry());
    let (one, other) = (artifact(&machine, &first), artifact(&machine, &second));
    let listed = format!("printf '%s\\n' {one} {other} {one} | hardsign sign -u alice -p secret");
    let ran: Ran = machine.shell(&format!("{listed} -")).into();
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let signed = ran.stdout.matches("Successfully signed").count();
    assert_eq!(signed, 2, "{}", ran.stdout);
    let refusal = format!(
        "{other}: the user name and password that were given are for {}, and are not sent to {}",
        first.name(),
        second.name()
    );
    assert!(ran.stdout.contains(&refusal), "{}", ran.stdout);
    assert!(second.log().is_empty());
    // An argument beside the list is refused at once.
    first.clear_log();
    let ran: Ran = machine.shell(&format!("{listed} - {other}")).into();
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    assert!(first.log().is_empty() && second.log().is_empty());
}

/// REG-05: copying between two registries needs to know whose the password is.
#[test]
fn reg_05_copying_between_two_registries() {
    let machine = Machine::new();
    let (first, second) = (registry(), registry());
    let one = artifact(&machine, &first);
    let other = format!("{}/app:v2", second.name());
    for (variables, login) in [(&[][..], &LOGIN[..]), (&VARIABLES, &[])] {
        let ran = run(
            &machine,
            variables,
            &[&["copy"], login, &[&one, &other]].concat(),
        );
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        let both = format!("two registries, {} and {}", first.name(), second.name());
        assert!(ran.stderr.contains(&both), "{}", ran.stderr);
    }
    assert!(first.log().is_empty() && second.log().is_empty());
    let same = one
        .replace("localhost:", "LOCALHOST:00")
        .replace(":v1", ":v2");
    let ran = run(
        &machine,
        &[],
        &[&["copy"], &LOGIN[..], &[&one, &same]].concat(),
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

/// TP-40: however a registry is spelt, the same statement applies.
#[test]
fn tp_40_spellings_have_one_statement() {
    let machine = Machine::new();
    let policy = |scope: &str| {
        let statement = |name: &str, scope: &str, level: &str| {
            let mut statement = json!({
                "name": name, "registryScopes": [scope], "signatureVerification": {"level": level},
            });
            if level != "skip" {
                statement["trustStores"] = json!(["ca:vectors"]);
                statement["trustedIdentities"] = json!(["*"]);
            }
            statement
        };
        let statements = [
            statement("strict", scope, "strict"),
            statement("rest", "*", "skip"),
        ];
        let document = json!({"version": "1.0", "trustPolicies": statements});
        let path = machine.path().join("config/trustpolicy.oci.json");
        fs::write(path, document.to_string()).unwrap();
    };
    for (scope, spellings) in [
        (
            "localhost:5000/app",
            &["LOCALHOST:5000/app", "localhost:05000/app:v1"][..],
        ),
        (
            "Registry.Example/app",
            &["registry.example:443/app", "registry.example./app"],
        ),
        (
            "index.docker.io/library/x",
            &["docker.io/library/x:1", "Registry-1.docker.io/library/x"],
        ),
        (
            "[2001:DB8::0:1]:5000/app",
            &["[2001:db8::1]:5000/app:v1", "[2001:db8:0::1]:05000/app"],
        ),
    ] {
        policy(scope);
        for text in spellings.iter().chain([&scope]) {
            let ran = run(&machine, &[], &["policy", "explain", "-o", "json", text]);
            assert_eq!(ran.code, Some(0), "{text}: {}", ran.stderr);
            let explained: Value = serde_json::from_str(&ran.stdout).unwrap();
            assert_eq!(explained["statement"], "strict", "{text}");
        }
    }
}

/// REG-10: what fails behind a proxy names the variable, and never a login in it.
#[test]
fn reg_10_proxies_are_named() {
    let machine = Machine::new();
    let dead = "127.0.0.1:1";
    let list = |variables: &[(&str, &str)], insecure: bool| {
        let plain = ["list", "--plain-http", "registry.example.invalid/app:v1"];
        let words = if insecure {
            &plain[..]
        } else {
            &["list", plain[2]]
        };
        let ran = run(&machine, variables, words);
        assert_ne!(ran.code, Some(0));
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        ran.stderr
    };
    let login = format!("http://user:hunter2@{dead}");
    let socks = format!("socks5://user:hunter2@{dead}");
    for (variable, value, insecure, shown) in [
        (
            "HTTPS_PROXY",
            &*login,
            false,
            format!("the proxy http://{dead} of HTTPS_PROXY"),
        ),
        (
            "https_proxy",
            &login,
            false,
            format!("the proxy http://{dead} of https_proxy"),
        ),
        (
            "HTTP_PROXY",
            &login,
            true,
            format!("the proxy http://{dead} of HTTP_PROXY"),
        ),
        (
            "HTTPS_PROXY",
            &socks,
            false,
            format!("the proxy socks5://{dead} of HTTPS_PROXY"),
        ),
        (
            "HTTPS_PROXY",
            "http://user:hunter2@proxy host:3128",
            false,
            "HTTPS_PROXY=\"http://*****@proxy host:3128\" is not used as a proxy".to_owned(),
        ),
        (
            "HTTP_PROXY",
            "http://proxy:port",
            true,
            "HTTP_PROXY=\"http://proxy:port\" is not used as a proxy".to_owned(),
        ),
        (
            "HTTPS_PROXY",
            "gopher://proxy:1",
            false,
            "HTTPS_PROXY=\"gopher://proxy:1\" is not used as a proxy".to_owned(),
        ),
    ] {
        let text = list(&[(variable, value)], insecure);
        assert!(text.contains(&shown), "{variable}={value}: {text}");
        assert!(text.contains(&format!("Hint: check {variable}")), "{text}");
        // What is excepted goes by no proxy, whatever its value and in whichever case.
        let excepted = [(variable, value), ("NO_PROXY", "Registry.EXAMPLE.invalid")];
        let text = list(&excepted, insecure);
        assert!(
            !text.contains(variable) || text.contains("HTTPS_PROXY and NO_PROXY are honoured"),
            "{text}"
        );
        assert!(!text.contains(" of HTTP"), "{text}");
    }
    // As in the reference, ALL_PROXY is not read.
    let text = list(&[("ALL_PROXY", &socks)], false);
    assert!(!text.contains("socks5"), "{text}");
}

/// REG-10: a proxy that wants a login is told apart from a registry that does.
#[test]
fn reg_10_proxies_that_want_a_login() {
    let machine = Machine::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut request = [0; 4096];
            let _read = stream.read(&mut request);
            let answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _sent = stream.write_all(answer);
        }
    });
    for (variable, plain) in [("HTTP_PROXY", "--plain-http"), ("HTTPS_PROXY", "--verbose")] {
        let words = ["list", plain, "registry.example.invalid/app:v1"];
        let ran = run(&machine, &[(variable, &address)], &words);
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        let shown = format!("the proxy http://{address} of {variable}");
        assert!(ran.stderr.contains(&shown), "{}", ran.stderr);
    }
}

/// What no line may begin with.
const FORGED: &str = "FORGED\nSuccessfully verified";

/// REG-10: a SOCKS proxy is used as in Go: it is told the registry's name and looks it up itself.
#[test]
fn reg_10_socks_proxies() {
    let machine = Machine::new();
    let registry = FakeRegistry::start(Behaviour::default());
    let reference = format!("{}/app:v1", registry.name());
    let copied = run(
        &machine,
        &[],
        &["copy", "--from-oci-layout", "layout:v1", &reference],
    );
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let target = registry.name();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let target = target.clone();
            thread::spawn(move || socks(stream, &target));
        }
    });
    for scheme in ["socks5", "socks5h"] {
        let proxy = format!("{scheme}://{address}");
        let words = ["list", "--plain-http", "registry.example.invalid/app:v1"];
        let ran = run(&machine, &[("HTTP_PROXY", &proxy)], &words);
        assert_eq!(ran.code, Some(0), "{scheme}: {}", ran.stderr);
    }
}

/// One connection of a SOCKS 5 proxy (RFC 1928) that leads every name to `target`, and no address.
fn socks(mut client: TcpStream, target: &str) {
    let take = |client: &mut TcpStream, count: usize| {
        let mut bytes = vec![0; count];
        client.read_exact(&mut bytes).unwrap();
        bytes
    };
    let methods = take(&mut client, 2)[1];
    take(&mut client, methods.into());
    client.write_all(&[5, 0]).unwrap();
    let head = take(&mut client, 5);
    assert_eq!(head[..4], [5, 1, 0, 3], "a name to connect to");
    let name = take(&mut client, usize::from(head[4]));
    take(&mut client, 2);
    assert_eq!(name, b"registry.example.invalid");
    let mut server = TcpStream::connect(target).unwrap();
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut from, &mut to));
    let _done = std::io::copy(&mut server, &mut client);
}

/// CLI-52, SEC-29: extended attributes never stand where a standard one does, and no line of theirs
/// is one of ours.
#[test]
fn cli_52_extended_attributes_do_not_pose() {
    let machine = Machine::new();
    let pki = Pki::new();
    let leaf = pki.signer(Key::P256.spec.unwrap());
    let names = [
        "expiry",
        "signingTime",
        "SigningScheme",
        "CONTENTTYPE",
        "expiry: Thu Jan  1",
        "Expiry",
        "own",
        "a\nSuccessfully verified b",
    ];
    let value = json!(FORGED).to_string();
    let protected = names
        .iter()
        .fold(jws::protected(&Key::P256), |object, name| {
            let name = json!(name).to_string();
            object.and(name.trim_matches('"'), &value)
        });
    let payload = jws::payload();
    let signature = Jws::sign(
        &protected.to_json(),
        payload.as_bytes(),
        jws::header(&pki.chain(&leaf)),
        &Key::P256,
    );
    fs::write(machine.path().join("own.jws.sig"), signature.to_bytes()).unwrap();
    let ran = run(
        &machine,
        &[],
        &["blob", "inspect", "-o", "json", "own.jws.sig"],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    let (signed, extended) = (&shown["signedAttributes"], &shown["extendedAttributes"]);
    assert_eq!(
        signed["contentType"],
        "application/vnd.cncf.notary.payload.v1+json"
    );
    assert_eq!(signed["signingScheme"], "notary.x509");
    assert_ne!(signed["signingTime"], FORGED);
    for name in names {
        assert_eq!(extended[name], FORGED, "{name}");
    }
    for name in ["expiry", "SigningScheme", "CONTENTTYPE", "Expiry"] {
        assert!(signed.get(name).is_none(), "{name}: {signed}");
    }
    for name in ["own", "a\nSuccessfully verified b"] {
        assert_eq!(signed[name], FORGED, "{name}");
    }
    let ran = run(&machine, &[], &["blob", "inspect", "-d", "own.jws.sig"]);
    let lines: Vec<_> = ran
        .stdout
        .lines()
        .map(|l| l.trim_start_matches(['│', '├', '└', '─', ' ']))
        .collect();
    assert!(
        !lines.iter().any(|line| line.starts_with("Successfully")),
        "{}",
        ran.stdout
    );
    let under = lines
        .iter()
        .position(|line| *line == "extended attributes")
        .unwrap();
    let first = |start: &str| lines.iter().position(|line| line.starts_with(start));
    assert!(
        first("expiry").is_some_and(|at| at > under),
        "{}",
        ran.stdout
    );
    assert!(
        first("own: FORGED").is_some_and(|at| at < under),
        "{}",
        ran.stdout
    );
}

/// SEC-10: who else can change what is trusted or what runs is told, file by file.
#[test]
fn sec_10_files_that_others_may_write() {
    let machine = Machine::new();
    machine.shell("hardsign certificate generate-test --default demo");
    machine.shell("hardsign plugin install --file wabbit/notation-wabbit");
    let verify = [
        "verify",
        "--oci-layout",
        "--scope",
        "registry.example.com/app",
        "layout:v1",
    ];
    let sign = ["sign", "--oci-layout", "layout:v1"];
    let clean = [&verify[..], &sign, &["doctor"]].map(|words| run(&machine, &[], words));
    for ran in clean {
        let text = ran.stdout + &ran.stderr;
        assert!(!text.contains("may write"), "{text}");
    }
    for (file, by_verify, by_sign) in [
        ("config/trustpolicy.oci.json", true, false),
        ("config/truststore/x509/ca/vectors/root.crt", true, false),
        ("config/truststore/x509/ca/vectors", true, false),
        ("config/truststore", true, false),
        ("config/plugins/wabbit/notation-wabbit", true, true),
        ("config/plugins/wabbit", true, true),
        ("config/plugins", true, true),
        ("config/plugins.hardsign.json", true, true),
        ("config/signingkeys.json", false, false),
    ] {
        let path = machine.path().join(file);
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(before.mode() | 0o022)).unwrap();
        let told = |words: &[&str]| {
            let ran = run(&machine, &[], words);
            let line = format!("others may write to {}", path.display());
            (ran.stdout + &ran.stderr).contains(&line)
        };
        assert_eq!(told(&verify), by_verify, "verify, {file}");
        assert_eq!(told(&sign), by_sign, "sign, {file}");
        assert!(told(&["doctor"]), "doctor, {file}");
        fs::set_permissions(&path, before).unwrap();
    }
}
