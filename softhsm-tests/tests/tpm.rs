//! A TPM as a token: tpm2-pkcs11 over the software TPM `swtpm`. Made, certified, signed and verified, with
//! what the module's own tools leave to the user beforehand.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use softhsm_tests::peers::{self, registry::Registry};
use softhsm_tests::ports::free_ports;
use softhsm_tests::reader::Reader;
use softhsm_tests::run;
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::token::library;
use softhsm_tests::workbench::{Ran, Workbench};
use tempfile::TempDir;

const PIN: &str = "1234";

/// The module of the TPM.
fn module() -> String {
    library("libtpm2_pkcs11.so.1").display().to_string()
}

/// A TPM of its own, with a token in it; ends when dropped.
struct Tpm {
    directory: TempDir,
    child: Child,
    port: u16,
}

impl Tpm {
    /// With a token.
    fn start() -> Self {
        let tpm = Self::new();
        for arguments in [
            &[
                "--init-token",
                "--slot",
                "1",
                "--label",
                "tpm",
                "--so-pin",
                "5678",
            ][..],
            &[
                "--init-pin",
                "--slot",
                "1",
                "--login",
                "--login-type",
                "so",
                "--so-pin",
                "5678",
                "--new-pin",
                PIN,
            ],
        ] {
            let mut tool = Command::new("pkcs11-tool");
            tool.args(["--module", &module()]).args(arguments);
            run(tool.envs(tpm.variables()));
        }
        tpm
    }

    /// Without one.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["state", "store"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let pin = directory.path().join("pin");
        fs::write(&pin, PIN).unwrap();
        fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
        // The next one is that of its control channel, where its clients look for it.
        let port = free_ports(2);
        let state = format!("dir={}", directory.path().join("state").display());
        let child = Command::new(peers::installed("swtpm"))
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &state])
            .args(["--server", &format!("type=tcp,port={port}")])
            .args(["--ctrl", &format!("type=tcp,port={}", port + 1)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let tpm = Self {
            directory,
            child,
            port,
        };
        for _ in 0..100 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        tpm
    }

    fn variables(&self) -> [(&'static str, String); 3] {
        let address = format!("swtpm:host=127.0.0.1,port={}", self.port);
        [
            ("TPM2_PKCS11_TCTI", address.clone()),
            ("TPM2TOOLS_TCTI", address),
            ("TPM2_PKCS11_STORE", self.path("store")),
        ]
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn bench(&self) -> Workbench {
        let mut bench = Workbench::new();
        for (name, value) in self.variables() {
            bench.set(name, value);
        }
        bench
    }

    fn id(&self, label: &str) -> String {
        let pin = self.path("pin");
        format!(
            "pkcs11:token=tpm;object={label}?module-path={}&pin-source=file:{pin}",
            module()
        )
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn json(bench: &Workbench, arguments: &[&str]) -> Value {
    let ran = bench.hardsign_ok([arguments, &["--output", "json"]].concat());
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Made in the TPM, for signing only and never to leave it; requested, certified, signed with; both tools
/// verify.
#[test]
fn keys_in_a_tpm() {
    let tpm = Tpm::start();
    let bench = tpm.bench();
    let subject = "C=US,ST=WA,O=Example,CN=release";
    let (name, key_type) = ("ec", "EC-256");
    let id = tpm.id(name);
    let create = [
        "key", "create", name, "--plugin", "pkcs11", "--id", &id, "--type", key_type,
    ];
    let made = json(&bench, &create);
    assert_eq!(made["keySpec"], key_type);
    let shown = json(&bench, &["key", "attest", name]);
    assert_eq!(shown["proven"], false);
    let said = |what: &str| {
        let statements = shown["statements"].as_array().unwrap();
        let said = statements.iter().find(|said| said["name"] == what);
        said.unwrap_or_else(|| panic!("{what}: {shown}"))["value"].clone()
    };
    for what in ["made on the token", "sensitive", "never extractable"] {
        assert_eq!(said(what), "yes", "{what}: {shown}");
    }
    assert_eq!(said("extractable"), "no");
    let csr = format!("{name}.csr");
    bench.hardsign_ok(["key", "request", name, "--subject", subject, "--out", &csr]);
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-verify", "-noout", "-in", &csr]);
    let said = run(openssl.current_dir(bench.path()));
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.contains("verify OK"), "{said}");
    bench.hardsign_ok([
        "key",
        "certify",
        name,
        "--subject",
        subject,
        "--days",
        "9",
        "--trust",
        "tpm",
    ]);
    let scene = Scene::with(&Registry::ggcr(), bench);
    scene.policy_for("tpm");
    let reference = scene.push("app", "an application");
    scene.ok(Tool::Hardsign, ["sign", "--key", "ec", &reference]);
    scene.both_verify(&reference);
    // What it can't do at all, or not with keys for signing alone, is named.
    for (key_type, part) in [
        ("RSA-4096", "can't make RSA-4096 keys"),
        (
            "RSA-2048",
            "can't sign with an RSA-2048 key that is for signing alone",
        ),
    ] {
        let id = tpm.id("other");
        let Ran { code, stderr, .. } = scene.bench.hardsign([
            "key", "create", "other", "--plugin", "pkcs11", "--id", &id, "--type", key_type,
        ]);
        assert!(matches!(code, Some(1 | 3)), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
        assert!(stderr.contains("\nHint: "), "{stderr}");
    }
}

/// The page about tokens: a token made with `pkcs11-tool`, and what hardsign does with it. The module stands where
/// Debian has it; the PINs, which `pkcs11-tool` asks for, are given; the TPM is another one.
#[test]
fn the_commands_of_the_page() {
    let tpm = Tpm::new();
    let mut reader = Reader::new();
    reader.environment = tpm.variables().to_vec();
    reader.replace("apt install", "true");
    reader.replace("export TPM2_PKCS11_TCTI=device:/dev/tpmrm0", "true");
    reader.replace("--init-token", "--init-token --so-pin 5678");
    reader.replace("--init-pin", "--init-pin --so-pin 5678 --new-pin 1234");
    let pin = format!("module-path=$module&pin-source=file:{}", tpm.path("pin"));
    reader.replace("module-path=$module", pin);
    reader.walk("docs/tokens.md", "", &[], &|block| block.heading == "TPM");
}
