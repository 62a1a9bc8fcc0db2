//! What is in the memory of `hardsign` while it signs: no PIN, from whichever source, and no private
//! key. Read as whoever runs the tests, from `/proc`, which root may do to everyone.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]
#![allow(clippy::disallowed_methods, reason = "a test starts processes")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use softhsm_tests::process::{holds, memory};
use softhsm_tests::token::{Token, module};
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, run};

/// Found nowhere else.
const SECRET_PIN: &str = "pin-Zq7-unlikely-93";

/// Waits until somebody asks the authority for a timestamp, which it never gives.
fn asked(authority: &TcpListener) -> std::net::TcpStream {
    authority.accept().unwrap().0
}

/// A run that has signed and waits for its timestamp, so that its memory can be looked at.
fn look(command: &mut Command, authority: &TcpListener, typed: Option<&str>) -> Vec<u8> {
    let mut child: Child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    if let Some(typed) = typed {
        // The terminal throws away what is typed before the prompt.
        let (mut shown, mut byte) = (Vec::new(), [0]);
        while !shown.ends_with(b"PIN of token \"release\": ") {
            child
                .stdout
                .as_mut()
                .unwrap()
                .read_exact(&mut byte)
                .unwrap();
            shown.push(byte[0]);
        }
        child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(typed.as_bytes())
            .unwrap();
    }
    let held = asked(authority);
    let process = hardsign_below(child.id());
    let memory = memory(process, &(0..0));
    drop(held);
    child.kill().unwrap();
    child.wait().unwrap();
    memory
}

/// The process itself, or the `hardsign` that it has started.
fn hardsign_below(process: u32) -> u32 {
    let name =
        |process: u32| fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    let mut found = process;
    while name(found).trim() != "hardsign" {
        let children = fs::read_to_string(format!("/proc/{found}/task/{found}/children")).unwrap();
        found = children.split_whitespace().next().unwrap().parse().unwrap();
    }
    found
}

struct Place {
    bench: Workbench,
    token: Token,
    authority: TcpListener,
    reference: String,
}

impl Place {
    fn new() -> Self {
        let token = Token::new("release");
        let bench = Workbench::with_token(&token);
        let mut change = Command::new("pkcs11-tool");
        change
            .env("SOFTHSM2_CONF", token.configuration())
            .arg("--module")
            .arg(module());
        change.args([
            "--token-label",
            "release",
            "--login",
            "--pin",
            "1234",
            "--change-pin",
        ]);
        run(change.args(["--new-pin", SECRET_PIN]));
        let pin = token.path().join("pin");
        fs::write(&pin, SECRET_PIN).unwrap();
        let id = format!(
            "pkcs11:token=release;object=k?module-path={}&pin-source=file:{}",
            module().display(),
            pin.display()
        );
        bench.hardsign_ok([
            "key",
            "create",
            "k",
            "--plugin",
            "pkcs11",
            "--id",
            &id,
            "--type",
            "EC-256",
            "--default",
        ]);
        let root = [
            "key",
            "certify",
            "k",
            "--days",
            "9",
            "--subject",
            "C=US,ST=WA,O=E,CN=k",
            "--out",
            "root.crt",
        ];
        bench.hardsign_ok(root);
        let digest = bench.layout.add("v1", "an application");
        Self {
            reference: bench.reference(&digest),
            authority: TcpListener::bind("127.0.0.1:0").unwrap(),
            bench,
            token,
        }
    }

    /// `hardsign sign` with this source of the PIN.
    fn words(&self, source: &str) -> Vec<String> {
        let id = format!(
            "pkcs11:token=release;object=k?module-path={}&pin-source={source}",
            module().display()
        );
        let url = format!("http://{}/", self.authority.local_addr().unwrap());
        [
            "sign",
            "--oci-layout",
            &self.reference,
            "--plugin",
            "pkcs11",
            "--id",
            &id,
            "--timestamp-url",
            &url,
            "--timestamp-root-cert",
            "root.crt",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn check(&self, memory: &[u8], source: &str) {
        // It is the memory of this run.
        assert!(holds(memory, b"pin-source="), "{source}");
        assert!(
            !holds(memory, SECRET_PIN.as_bytes()),
            "the PIN from {source} is in memory"
        );
    }
}

#[test]
fn no_pin_is_in_memory() {
    let place = Place::new();
    let hardsign = binaries().join("hardsign");
    let pin = place.token.path().join("pin");
    let file = format!("file:{}", pin.display());
    let mut command = place.bench.command(&hardsign, place.words(&file));
    place.check(&look(&mut command, &place.authority, None), "file:");

    let words = place.words("fd:7");
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let line = format!(
        "exec {} {} 7<{}",
        hardsign.display(),
        quoted.join(" "),
        pin.display()
    );
    let mut command = place.bench.command(Path::new("sh"), ["-c", &line]);
    place.check(&look(&mut command, &place.authority, None), "fd:");

    let words = place.words("prompt");
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("exec {} {}", hardsign.display(), quoted.join(" "));
    let arguments = ["--quiet", "--flush", "--command", &line, "/dev/null"];
    let mut command = place.bench.command(Path::new("script"), arguments);
    let typed = format!("{SECRET_PIN}\n");
    place.check(
        &look(&mut command, &place.authority, Some(&typed)),
        "prompt",
    );
}

/// A key on disk is read by its plugin alone.
#[test]
fn no_private_key_is_in_memory() {
    let place = Place::new();
    place.bench.hardsign_ok([
        "key", "create", "soft", "--plugin", "local", "--id", "soft.key", "--type", "EC-384",
    ]);
    place.bench.hardsign_ok([
        "key",
        "certify",
        "soft",
        "--days",
        "9",
        "--subject",
        "C=US,ST=WA,O=E,CN=soft",
    ]);
    let text = fs::read_to_string(place.bench.path().join("soft.key")).unwrap();
    // The private half; what follows is the public one, which stands in certificates too.
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.len() == 64)
        .take(2)
        .collect();
    let mut dump = Command::new("openssl");
    dump.current_dir(place.bench.path());
    let der = run(dump.args(["pkey", "-in", "soft.key", "-outform", "DER"])).stdout;
    // The private scalar: 48 bytes behind its header.
    let at = der.windows(2).position(|part| part == [4, 48]).unwrap() + 2;
    let secret = &der[at..at + 48];
    let url = format!("http://{}/", place.authority.local_addr().unwrap());
    let mut command = place.bench.command(
        &binaries().join("hardsign"),
        [
            "sign",
            "--oci-layout",
            &place.reference,
            "--key",
            "soft",
            "--timestamp-url",
            &url,
            "--timestamp-root-cert",
            "root.crt",
        ],
    );
    let memory = look(&mut command, &place.authority, None);
    assert!(holds(&memory, b"soft.key"));
    assert!(!holds(&memory, secret), "the private key is in memory");
    for line in lines {
        assert!(
            !holds(&memory, line.as_bytes()),
            "the key file is in memory"
        );
    }
}
