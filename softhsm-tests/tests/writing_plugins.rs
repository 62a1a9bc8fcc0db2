//! `docs/writing-plugins.md`: the plugins that it quotes are the files, what it says that they
//! answer is what they answer, and they sign under `hardsign` and `notation`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{
    AttestKeyRequest, AttestKeyResponse, CreateKeyRequest, CreateKeyResponse,
    GenerateEnvelopeRequest, GenerateEnvelopeResponse, GenerateTestKeyRequest,
    GenerateTestKeyResponse, ImportCertificatesRequest, ImportCertificatesResponse,
    ListKeysRequest, ListKeysResponse, SessionLine, SetUpTokenRequest, SetUpTokenResponse, Setting,
    VerifySignatureRequest, VerifySignatureResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use softhsm_tests::keys::TestKey;
use softhsm_tests::pages;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::peers::{self, USE_REFERRERS_API};
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys, run};

/// The section that quotes a file, and the file.
const QUOTED: [(&str, &str); 3] = [
    (
        "A plugin in Python",
        "docs/plugins/python/notation-python-example",
    ),
    ("A plugin in Go", "docs/plugins/go/main.go"),
    ("A plugin in Rust", "plugins/sdk/examples/notation-echo.rs"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document() -> String {
    fs::read_to_string(root().join("docs/writing-plugins.md")).unwrap()
}

/// What stands below the heading, up to the next one.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let marks = ["## ", "### "].map(|mark| format!("\n{mark}{heading}\n"));
    let start = marks
        .iter()
        .find_map(|mark| Some(document.find(mark)? + mark.len()));
    let rest = &document[start.unwrap_or_else(|| panic!("no section {heading}"))..];
    rest.find("\n## ")
        .into_iter()
        .chain(rest.find("\n### "))
        .min()
        .map_or(rest, |end| &rest[..end])
}

/// The fenced blocks in this language.
fn blocks<'a>(section: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    section
        .split(&fence)
        .skip(1)
        .map(|block| block.split_once("```").unwrap().0)
        .collect()
}

/// The two plugins outside Rust that can be run here.
fn plugins() -> Vec<(&'static str, PathBuf)> {
    peers::installed("python3");
    vec![
        ("python-example", root().join(QUOTED[0].1)),
        ("go-example", peers::program("notation-go-example")),
    ]
}

/// Document and files agree, and each plugin is short.
#[test]
fn the_quoted_plugins_are_the_files() {
    let document = document();
    for (heading, file) in QUOTED {
        let code = fs::read_to_string(root().join(file)).unwrap();
        assert!(code.lines().count() < 170, "{file} is too long");
        let language = heading.rsplit(' ').next().unwrap().to_lowercase();
        let section = section(&document, heading);
        assert_eq!(blocks(section, &language), [code.as_str()], "{file}");
    }
}

/// A key of this kind, as the document's `/keys/release.key` and `/keys/chain.pem`.
struct Keys(tempfile::TempDir);

impl Keys {
    fn new(key: &TestKey) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::copy(&key.key, directory.path().join("release.key")).unwrap();
        fs::copy(&key.chain, directory.path().join("chain.pem")).unwrap();
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Text of the document about the keys that are here.
    fn here(&self, text: &str) -> String {
        text.replace("/keys", &self.0.path().display().to_string())
    }
}

/// Runs a command of a plugin: exit code, stdout and stderr.
fn ask(plugin: &Path, command: &str, input: &str) -> (bool, String, String) {
    let mut child = Command::new(plugin)
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Demands that an answer is as documented; a text that ends with an ellipsis stands for any that
/// starts the same.
fn same(documented: &Value, answered: &Value) {
    match (documented, answered) {
        (Value::String(wanted), Value::String(got)) => match wanted.strip_suffix('…') {
            Some(start) => assert!(got.starts_with(start), "{got}"),
            None => assert_eq!(wanted, got),
        },
        (Value::Array(wanted), Value::Array(got)) => {
            // Chains are as long as they are.
            if !wanted
                .iter()
                .all(|item| item.as_str().is_some_and(|text| text.ends_with('…')))
            {
                assert_eq!(wanted.len(), got.len(), "{answered}");
            }
            wanted
                .iter()
                .zip(got)
                .for_each(|(wanted, got)| same(wanted, got));
        }
        (Value::Object(wanted), Value::Object(got)) => {
            let names = |object: &serde_json::Map<String, Value>| {
                object
                    .keys()
                    .cloned()
                    .collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(names(wanted), names(got), "{answered}");
            wanted
                .iter()
                .for_each(|(name, wanted)| same(wanted, &got[name]));
        }
        _ => assert_eq!(documented, answered),
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// PLG-17, PLG-18, PLG-23 to PLG-30: each documented request has the documented answer, from both
/// plugins.
#[test]
fn plg_17_documented_commands() {
    let document = document();
    let keys = Keys::new(&keys::key(KeySpec::Ec256));
    for (name, plugin) in plugins() {
        for command in [
            "get-plugin-metadata",
            "describe-key",
            "generate-signature",
            "sign-digest",
        ] {
            let section = section(&document, &format!("`{command}`"));
            let [request, answer] = blocks(section, "json")[..] else {
                panic!("{command}: not one request and one answer");
            };
            let (done, stdout, stderr) = ask(&plugin, command, &keys.here(request));
            assert!(done && stderr.is_empty(), "{name} {command}: {stderr}");
            let answer = keys.here(answer).replace("python-example", name);
            let mut answered = json(&stdout);
            if command == "get-plugin-metadata" && name != "python-example" {
                answered["description"] = json(&answer)["description"].clone();
            }
            same(&json(&answer), &answered);
        }
        let [request, answer, _] = blocks(section(&document, "Errors"), "json")[..] else {
            panic!("the section on errors has other examples");
        };
        let (done, stdout, stderr) = ask(&plugin, "describe-key", &keys.here(request));
        assert!(!done && stdout.is_empty(), "{stdout}");
        same(&json(answer), &json(&stderr));
    }
}

/// PLG-51: the documented session is the one that both plugins hold.
#[test]
fn plg_51_documented_session() {
    let document = document();
    let session = blocks(section(&document, "Sessions"), "text")[0];
    let lines = |mark: &str| {
        let lines = session.lines().filter_map(|line| line.strip_prefix(mark));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let keys = Keys::new(&keys::key(KeySpec::Ec256));
    for (name, plugin) in plugins() {
        let input: String = lines("> ").iter().map(|line| format!("{line}\n")).collect();
        let (done, stdout, stderr) = ask(&plugin, "session", &keys.here(&input));
        assert!(done && stderr.is_empty(), "{name}: {stderr}");
        let in_order = |lines: Vec<Value>| {
            let mut lines = lines;
            lines.sort_by_key(|line| line["id"].as_u64());
            lines
        };
        let documented = in_order(lines("< ").iter().map(|l| json(&keys.here(l))).collect());
        let mut answered = in_order(stdout.lines().map(json).collect());
        if name == "go-example" {
            assert_eq!(answered[0]["response"]["maxInFlight"], 1);
            answered[0]["response"]["maxInFlight"] = 8.into();
        }
        same(&Value::Array(documented), &Value::Array(answered));
    }
}

/// PLG-32, PLG-40, PLG-45: examples of commands that no plugin here has are messages of the
/// protocol.
#[test]
fn plg_32_documented_messages() {
    fn is<T: DeserializeOwned + Serialize>(text: &str) {
        // Shortened base64 is given an end.
        let text = text
            .replace("MII…", "AAAA")
            .replace("MFkw…", "AAAA")
            .replace("eyJwYXlsb2FkIjoi…", "AAAA");
        let message: T = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_value(&message).unwrap(), json(&text));
    }
    let document = document();
    let of = |command: &str| {
        let blocks = blocks(section(&document, &format!("`{command}`")), "json");
        assert_eq!(blocks.len(), 2, "{command}");
        (blocks[0], blocks[1])
    };
    let (request, answer) = of("generate-envelope");
    is::<GenerateEnvelopeRequest>(request);
    is::<GenerateEnvelopeResponse>(answer);
    let (request, answer) = of("verify-signature");
    is::<VerifySignatureRequest>(request);
    is::<VerifySignatureResponse>(answer);
    let (request, answer) = of("list-keys");
    is::<ListKeysRequest>(request);
    is::<ListKeysResponse>(answer);
    let (request, answer) = of("create-key");
    is::<CreateKeyRequest>(request);
    is::<CreateKeyResponse>(answer);
    let (request, answer) = of("import-certificates");
    is::<ImportCertificatesRequest>(request);
    is::<ImportCertificatesResponse>(answer);
    let (request, answer) = of("attest-key");
    is::<AttestKeyRequest>(request);
    is::<AttestKeyResponse>(answer);
    let (request, answer) = of("set-up-token");
    is::<SetUpTokenRequest>(request);
    is::<SetUpTokenResponse>(answer);
    let (request, answer) = of("generate-test-key");
    is::<GenerateTestKeyRequest>(request);
    is::<GenerateTestKeyResponse>(answer);
    let [settings] = blocks(section(&document, "Declared settings"), "json")[..] else {
        panic!("not one example of settings");
    };
    is::<Vec<Setting>>(&json(settings)["settings"].to_string());
    for heading in ["Notices", "Asking the user"] {
        for line in blocks(section(&document, heading), "text")[0].lines() {
            is::<SessionLine>(line.strip_prefix("< ").unwrap());
        }
    }
}

/// Both meet every rule of the contract, for every kind of key.
#[test]
fn the_quoted_plugins_conform() {
    for (name, plugin) in plugins() {
        for spec in KeySpec::ALL {
            let keys = Keys::new(&keys::key(spec));
            let ran = run(Command::new(binaries().join("hardsign-plugin-test"))
                .arg(plugin_named(&keys, name, &plugin))
                .args(["--id", &keys.path("release.key"), "--config"])
                .arg(format!("cert-chain={}", keys.path("chain.pem"))));
            let report = String::from_utf8(ran.stdout).unwrap();
            assert!(
                report.contains(" 0 broken, 0 to be considered, 0 skipped, "),
                "{report}"
            );
        }
    }
}

/// What the document shows of the kit, and of a signature after it, with the plugin in Python and keys of this
/// test.
#[test]
fn the_kit_as_the_document_shows_it() {
    let (page, heading) = ("docs/writing-plugins.md", "Testing a plugin");
    let scene = Scene::new(&Registry::olareg());
    let (name, plugin) = plugins().remove(0);
    scene.bench.install_plugin(name, &plugin);
    let keys = Keys::new(&keys::key(KeySpec::Ec384));
    let file = plugin_named(&keys, name, &plugin);
    let image = scene.push("app:v1", "an application");
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", binaries().display());
    for nth in [0, 2] {
        for step in pages::steps(&pages::block(page, heading, nth)) {
            let line = keys
                .here(&step.command)
                .replace("./notation-mine", &file.display().to_string())
                .replace("--plugin mine", &format!("--plugin {name}"))
                .replace("registry.example.com/app@sha256:…", &image);
            let mut shell = scene.bench.command(Path::new("sh"), ["-c", &line]);
            let output = run(shell.env("PATH", &path));
            let printed = String::from_utf8(output.stdout).unwrap();
            let lines: Vec<_> = printed.lines().collect();
            let shown = step.prints;
            assert!(
                shown.is_empty() || pages::like(&shown, &lines),
                "{line}\n{printed}"
            );
        }
    }
}

/// The plugin under its name, wherever it was built.
fn plugin_named(keys: &Keys, name: &str, plugin: &Path) -> PathBuf {
    let path = keys.0.path().join(format!("notation-{name}"));
    run(Command::new("cp").arg(plugin).arg(&path));
    path
}

/// PLG-51: `hardsign` signs through their sessions, `notation` through their one-shot commands, and
/// each verifies what the other signed.
#[test]
fn plg_51_the_quoted_plugins_sign() {
    let scene = Scene::new(&Registry::olareg());
    scene.bench.trust_store("tests", &keys::root());
    scene.policy_for("tests");
    for (name, plugin) in plugins() {
        scene.bench.install_plugin(name, &plugin);
        for spec in [KeySpec::Rsa2048, KeySpec::Ec521] {
            let keys = Keys::new(&keys::key(spec));
            let chain = format!("cert-chain={}", keys.path("chain.pem"));
            for (tool, format) in [
                (Tool::Hardsign, "jws"),
                (Tool::Hardsign, "cose"),
                (Tool::Notation, "jws"),
                (Tool::Notation, "cose"),
            ] {
                let text = format!("{name} {spec} {tool:?} {format}");
                let reference = scene.push("demo:v1", &text);
                let id = keys.path("release.key");
                let mut arguments = vec!["sign", "--plugin", name, "--id", &id];
                arguments.extend(["--plugin-config", &chain, "--signature-format", format]);
                arguments.extend(match tool {
                    Tool::Hardsign => ["-v"],
                    Tool::Notation => [USE_REFERRERS_API],
                });
                arguments.push(&reference);
                let signed = scene.ok(tool, arguments);
                if tool == Tool::Hardsign {
                    let route = format!("Plugin {name}: signing through session");
                    assert!(signed.stderr.contains(&route), "{}", signed.stderr);
                }
                scene.both_verify(&reference);
            }
        }
    }
}

/// A Python plugin with an encrypted key: the passphrase from the environment, from a file and from
/// a descriptor; a wrong one is refused before anything is signed.
#[test]
fn pins_of_the_python_plugin() {
    let (name, plugin) = plugins()
        .into_iter()
        .find(|(name, _)| *name == "python-example")
        .unwrap();
    let keys = Keys::new(&keys::key(KeySpec::Ec256));
    run(Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", "pass:hush"])
        .args([
            "-in",
            &keys.path("release.key"),
            "-out",
            &keys.path("encrypted.key"),
        ]));
    fs::write(keys.0.path().join("pin"), "hush\n").unwrap();
    let mut bench = Workbench::new();
    bench.set("RELEASE_PIN", "hush");
    bench.set("WRONG_PIN", "loud");
    bench.install_plugin(name, &plugin);
    let reference = bench.reference(&bench.layout.add("v1", "artifact"));
    let sign = |source: &str| {
        let (id, source) = (keys.path("encrypted.key"), format!("pin-source={source}"));
        let chain = format!("cert-chain={}", keys.path("chain.pem"));
        let (hardsign, pin) = (binaries().join("hardsign"), keys.path("pin"));
        let mut words = vec!["-c", "exec 7<\"$0\"; exec \"$@\"", &pin];
        words.extend([
            hardsign.to_str().unwrap(),
            "sign",
            "--plugin",
            name,
            "--id",
            &id,
        ]);
        words.extend(["--plugin-config", &chain, "--plugin-config", &source]);
        words.extend(["--oci-layout", &reference]);
        bench.run(&mut bench.command(Path::new("sh"), words))
    };
    let in_file = format!("file:{}", keys.path("pin"));
    for source in ["env:RELEASE_PIN", &in_file, "fd:7"] {
        let ran = sign(source);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }
    let before = bench.layout.snapshot();
    for (source, told) in [
        ("env:WRONG_PIN", "can't be opened\nHint: check pin-source\n"),
        (
            "|cat pin",
            "no PIN from |cat pin:\nHint: use env:NAME or file:/path\n",
        ),
    ] {
        let ran = sign(source);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(3), ""),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.ends_with(told), "{}", ran.stderr);
        assert!(
            !ran.stderr.contains("hush") && !ran.stderr.contains("loud"),
            "{}",
            ran.stderr
        );
    }
    assert!(bench.layout.snapshot() == before, "something was stored");
}
