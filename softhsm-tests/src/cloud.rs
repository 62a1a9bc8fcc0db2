//! What the tests of plugins for key management services share: a key as the command line names it, a
//! bench of a client of the service, and what signing with a key must lead to.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use serde_json::Value;

use crate::peers::registry::Registry;
use crate::scene::{Scene, Tool};
use crate::workbench::{Ran, Workbench};
use crate::{binaries, keys, run};

/// A key of a service, as the command line names it.
#[derive(Clone, Debug)]
pub struct CloudKey {
    pub plugin: &'static str,
    pub id: String,
    pub config: Vec<String>,
}

impl CloudKey {
    pub fn new(plugin: &'static str, id: impl Into<String>) -> Self {
        Self {
            plugin,
            id: id.into(),
            config: Vec::new(),
        }
    }

    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.config.push(format!("{name}={value}"));
        self
    }

    /// `--plugin … --id … --plugin-config …`
    pub fn flags(&self) -> Vec<&str> {
        let mut flags = vec!["--plugin", self.plugin, "--id", &self.id];
        for setting in &self.config {
            flags.extend(["--plugin-config", setting]);
        }
        flags
    }
}

/// A bench whose environment is that of a client of the service, and which trusts the test root.
pub fn bench(environment: &[(&'static str, String)]) -> Workbench {
    let mut bench = Workbench::new();
    // No files and no metadata server of the machine that the tests run on.
    let home = bench.path().display().to_string();
    for (name, value) in [
        ("HOME", home.as_str()),
        ("NO_PROXY", "localhost"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ] {
        bench.set(name, value);
    }
    for (name, value) in environment {
        bench.set(*name, value);
    }
    bench.trust(&keys::root(), "strict");
    bench
}

pub fn sign(bench: &Workbench, key: &CloudKey, references: &[&str]) -> Ran {
    let layout = ["--oci-layout"];
    let all = ["sign"].into_iter().chain(key.flags()).chain(layout);
    bench.hardsign(all.chain(references.iter().copied()))
}

pub fn verify(bench: &Workbench, reference: &str) -> Ran {
    bench.hardsign(["verify", "--oci-layout", reference, "--scope", "local/test"])
}

/// A new artifact in the bench's layout.
pub fn artifact(bench: &Workbench, name: &str) -> String {
    let digest = bench.layout.add(name, name);
    bench.reference(&digest)
}

/// Signs an artifact of its own in both formats, and verifies it.
pub fn signs_and_verifies(bench: &Workbench, key: &CloudKey, name: &str) {
    for format in ["jws", "cose"] {
        let reference = artifact(bench, &format!("{name}-{format}"));
        let flags = ["sign", "--signature-format", format];
        let all = flags.into_iter().chain(key.flags());
        let signed = bench.hardsign(all.chain(["--oci-layout", &reference]));
        assert_eq!(signed.code, Some(0), "{key:?} {format}: {}", signed.stderr);
        let verified = verify(bench, &reference);
        assert_eq!(
            verified.code,
            Some(0),
            "{key:?} {format}: {}",
            verified.stderr
        );
    }
}

/// Signing fails with an error and a hint that have these words, and stores nothing.
pub fn refused(bench: &Workbench, key: &CloudKey, name: &str, error: &str, hint: &str) -> String {
    let reference = artifact(bench, name);
    let before = bench.layout.snapshot();
    let ran = sign(bench, key, &[&reference]);
    let text = ran.stderr;
    assert_ne!(ran.code, Some(0), "{key:?}: {}", ran.stdout);
    // Before it, only what the plugin tells while it tries again.
    let (told, end) = text.split_at(text.find("Error: ").unwrap_or(text.len()));
    let notice = |line: &str| line.ends_with("trying again");
    assert!(told.lines().all(notice), "{key:?}: {text}");
    let (said, hinted) = end.split_once("Hint: ").unwrap_or((end, ""));
    assert!(said.contains(error), "{key:?}: {text}");
    assert!(hinted.contains(hint), "{key:?}: {text}");
    assert_eq!(bench.layout.snapshot(), before, "{key:?}");
    text
}

/// The plugin meets every rule of the contract.
pub fn conforms(bench: &Workbench, key: &CloudKey) {
    let plugin = binaries().join(format!("notation-{}", key.plugin));
    let mut arguments = vec![
        plugin.display().to_string(),
        "--id".to_owned(),
        key.id.clone(),
    ];
    for setting in &key.config {
        arguments.extend(["--config".to_owned(), setting.clone()]);
    }
    let suite = binaries().join("hardsign-plugin-test");
    let output = run(&mut bench.command(&suite, &arguments));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains(" met, 0 broken, "), "{report}");
}

/// openssl verifies the JWS signature of an artifact over the bytes that it covers: RSASSA-PSS with a salt
/// as long as the digest, or ECDSA. `public` is the key's public half, PEM.
pub fn openssl_verifies(bench: &Workbench, reference: &str, spec: KeySpec, public: &str) {
    let digest = reference.rsplit('@').next().unwrap();
    let decode = |part: &Value| URL_SAFE_NO_PAD.decode(part.as_str()?).ok();
    let envelope = bench.layout.snapshot().into_iter().find_map(|(_, bytes)| {
        let envelope: Value = serde_json::from_slice(&bytes).ok()?;
        let payload = decode(&envelope["payload"])?;
        let payload = String::from_utf8(payload).ok()?;
        payload.contains(digest).then_some(envelope)
    });
    let envelope = envelope.expect("a JWS envelope over the artifact");
    let [protected, payload] =
        ["protected", "payload"].map(|part| envelope[part].as_str().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let message = file("message", format!("{protected}.{payload}").as_bytes());
    let raw = decode(&envelope["signature"]).unwrap();
    let signature = match spec.is_rsa() {
        true => raw,
        false => ecdsa_der(&raw),
    };
    let hash = match spec.hash() {
        HashAlgorithm::Sha256 => "-sha256",
        HashAlgorithm::Sha384 => "-sha384",
        HashAlgorithm::Sha512 => "-sha512",
    };
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", hash, "-verify"]);
    openssl.arg(file("public", public.as_bytes()));
    if spec.is_rsa() {
        openssl.args("-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest".split(' '));
    }
    openssl.arg("-signature").arg(file("signature", &signature));
    run(openssl.arg(message));
}

/// r‖s as RFC 3279 §2.2.3 writes it.
fn ecdsa_der(raw: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let mut number = bytes[zeros..].to_vec();
        if number.first().is_none_or(|first| first & 0x80 != 0) {
            number.insert(0, 0);
        }
        tagged(2, number)
    };
    let (r, s) = raw.split_at(raw.len() / 2);
    tagged(0x30, [integer(r), integer(s)].concat())
}

fn tagged(tag: u8, content: Vec<u8>) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    let mut all = vec![tag];
    if length >= 0x80 {
        all.push(0x81);
    }
    all.push(length);
    all.extend(content);
    all
}

/// `hardsign` and the real `notation` sign through the plugin, and each verifies what the other
/// signed.
pub fn both_tools_sign_and_verify(bench: Workbench, keys: &[(&str, &CloudKey)]) {
    let (_, first) = keys.first().unwrap();
    let plugin = binaries().join(format!("notation-{}", first.plugin));
    bench.install_plugin(first.plugin, &plugin);
    let scene = Scene::with(&Registry::ggcr(), bench);
    scene.policy_for("tests");
    for (name, key) in keys {
        for (tool, format) in [
            (Tool::Hardsign, "jws"),
            (Tool::Hardsign, "cose"),
            (Tool::Notation, "jws"),
        ] {
            let tag = format!("{name}-{tool:?}:{format}").to_lowercase();
            let reference = scene.push(&tag, &tag);
            let flags = ["sign", "--signature-format", format];
            let all = flags.into_iter().chain(key.flags());
            scene.ok(tool, all.chain([reference.as_str()]));
            scene.both_verify(&reference);
        }
    }
}
