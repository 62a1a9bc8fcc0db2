//! `attach`: a file beside an artifact, found and verified by `hardsign`, by the real `oras` and by the
//! real `notation`; nothing half-done where a key, a file or a registry fails.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use serde_json::{Value, json};
use softhsm_tests::between::{Between, Fate};
use softhsm_tests::binaries;
use softhsm_tests::peers::registry::{Builder, Registry};
use softhsm_tests::peers::{Oras, succeed};
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::workbench::{Ran, Workbench};

const SBOM: &str = "application/spdx+json";

/// A machine with the test key `acme`, which everything in the registry is trusted by.
fn scene(registry: &Builder) -> Scene {
    let scene = Scene::new(registry);
    scene
        .bench
        .hardsign_ok(["cert", "generate-test", "--default", "acme"]);
    scene.policy_for("acme");
    fs::write(scene.bench.path().join("sbom.json"), "{\"spdx\": 1}").unwrap();
    scene
}

fn json_of(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn attach(reference: &str) -> [&str; 5] {
    ["attach", "--type", SBOM, "sbom.json", reference]
}

/// What `oras` finds attached to an artifact.
fn discovered(oras: &Oras, reference: &str) -> Vec<Value> {
    let found = oras.run(["discover", "--format", "json", reference]);
    let found: Value = serde_json::from_str(&found).unwrap();
    found["manifests"].as_array().unwrap().clone()
}

/// CVE-2022-35929, REQ-05: with the referrers API and without it, what was attached is found,
/// demanded and pulled; attached again it is the same artifact.
#[test]
fn what_is_attached_is_found_by_all() {
    for registry in [Registry::olareg(), Registry::docker()] {
        let (scene, oras) = (scene(&registry), Oras::new());
        let reference = scene.push("team/app:v1", "content");
        scene.ok(Tool::Hardsign, ["sign", &reference]);
        let demand = [
            "verify",
            "--with-attached",
            SBOM,
            "--same-signer",
            &reference,
        ];
        assert_eq!(scene.run(Tool::Hardsign, demand).code, Some(1));
        let mut words = attach(&reference).to_vec();
        words.extend(["-o", "json", "--annotation", "org.example.build=17"]);
        let made = json_of(&scene.run(Tool::Hardsign, &words));
        assert_eq!(made["reference"], reference);
        scene.ok(Tool::Hardsign, demand);
        // The attached artifact and its signature stand on their own, for the reference too.
        let sbom = made["attached"]["reference"].as_str().unwrap();
        scene.both_verify(sbom);

        let found = discovered(&oras, &reference);
        let found = found.iter().find(|f| f["artifactType"] == SBOM).unwrap();
        assert_eq!(found["digest"], made["attached"]["artifact"]["digest"]);
        assert_eq!(found["annotations"]["org.example.build"], "17");
        let out = scene.bench.path().join("pulled");
        oras.run(["pull", "--output", &out.display().to_string(), sbom]);
        assert_eq!(
            fs::read_to_string(out.join("sbom.json")).unwrap(),
            "{\"spdx\": 1}"
        );

        let again = json_of(&scene.run(Tool::Hardsign, &words));
        assert_eq!(again["attached"], made["attached"]);
        let found = discovered(&oras, &reference);
        assert_eq!(
            found.iter().filter(|f| f["artifactType"] == SBOM).count(),
            1
        );
    }
}

/// What is written is what `oras attach` writes, but for the time, which would make it another
/// artifact each time.
#[test]
fn the_manifest_is_that_of_oras() {
    let (scene, oras) = (scene(&Registry::olareg()), Oras::new());
    let reference = scene.push("app:v1", "content");
    scene.ok(Tool::Hardsign, attach(&reference));
    let mut theirs = oras.command(["attach", "--artifact-type", SBOM, &reference]);
    theirs
        .arg(format!("sbom.json:{SBOM}"))
        .current_dir(scene.bench.path());
    succeed(&mut theirs);
    let manifests: Vec<Value> = discovered(&oras, &reference)
        .iter()
        .filter(|f| f["artifactType"] == SBOM)
        .map(|f| {
            let digest = f["digest"].as_str().unwrap();
            let name = reference.split_once('@').unwrap().0;
            let fetched = oras.run(["manifest", "fetch", &format!("{name}@{digest}")]);
            let mut manifest: Value = serde_json::from_str(&fetched).unwrap();
            // Theirs has nothing else among its annotations.
            let annotations = manifest.get("annotations").and_then(Value::as_object);
            let created = "org.opencontainers.image.created";
            if annotations.is_some_and(|all| all.len() == 1 && all.contains_key(created)) {
                manifest.as_object_mut().unwrap().remove("annotations");
            }
            manifest
        })
        .collect();
    assert_eq!(manifests.len(), 2);
    assert_eq!(manifests[0], manifests[1]);
}

/// REQ-07: in a layout, and from standard input, of which nothing is left on the disk.
#[test]
fn standard_input_is_attached_in_a_layout() {
    let mut bench = Workbench::new();
    bench.set("NOTATION_EXPERIMENTAL", "1");
    bench.hardsign_ok(["cert", "generate-test", "--default", "acme"]);
    let reference = bench.reference(&bench.layout.add("v1", "content"));
    let temporary = bench.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    bench.set("TMPDIR", &temporary);
    // Larger than what is sent in one request.
    let content: Vec<u8> = (0..9 << 20).map(|n: u32| (n % 251) as u8).collect();
    let words = [
        "attach",
        "--oci-layout",
        "--type",
        SBOM,
        "-o",
        "json",
        "-",
        &reference,
    ];
    let mut command = bench.command(&binaries().join("hardsign"), words);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = {
        let content = content.clone();
        thread::spawn(move || input.write_all(&content).unwrap())
    };
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stored = &made["attached"]["content"];
    assert_eq!(stored["title"], Value::Null);
    assert_eq!(stored["size"], content.len());
    let path = bench.layout.blob_path(stored["digest"].as_str().unwrap());
    assert_eq!(fs::read(path).unwrap(), content);
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
    bench.policy(&json!({
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:acme"],
        "trustedIdentities": ["*"],
    }));
    bench.hardsign_ok(["sign", "--oci-layout", &reference]);
    let demand = [
        "verify",
        "--oci-layout",
        "--scope",
        "a.b/c",
        "--with-attached",
        SBOM,
        &reference,
    ];
    bench.hardsign_ok(demand);
}

/// A large file is streamed to a registry that asks for a password.
#[test]
fn large_files_are_streamed() {
    let registry = Registry::docker().tls().basic_auth().start();
    let reference = registry.push("app:v1", b"content");
    let bench = Workbench::new();
    bench.hardsign_ok(["cert", "generate-test", "--default", "acme"]);
    let content = vec![7; 20 << 20];
    fs::write(bench.path().join("sbom.json"), &content).unwrap();
    let (user, password) = registry.credentials().unwrap();
    let ca = registry.ca_file().unwrap().display().to_string();
    let mut words = attach(&reference).to_vec();
    words.extend(["-u", user, "-p", password, "--ca-file", &ca, "-o", "json"]);
    let made = json_of(&bench.hardsign(&words));
    let sbom = made["attached"]["reference"].as_str().unwrap();
    let oras = Oras::new();
    let out = bench.path().join("pulled");
    let mut pull = oras.command(["pull", "--output", &out.display().to_string(), sbom]);
    succeed(pull.args(registry.oras_flags()));
    assert_eq!(fs::read(out.join("sbom.json")).unwrap(), content);
}

/// Where the key, the file or the registry fails, nothing is attached; where the signature alone can't be
/// stored, the error says so and names the command that finishes the work.
#[test]
fn nothing_is_left_half_done() {
    let (scene, oras) = (scene(&Registry::docker()), Oras::new());
    let pushed = scene.push("app:v1", "content");
    let port = scene.registry.host().rsplit_once(':').unwrap().1.parse();
    let between = Between::new(port.unwrap());
    let host = between.address().replace("http://127.0.0.1", "localhost");
    let reference = pushed.replace(&scene.registry.host(), &host);
    let fails = |told: &str| {
        let ran = scene.run(Tool::Hardsign, attach(&reference));
        assert_ne!(ran.code, Some(0), "{}", ran.stdout);
        assert_eq!(ran.stdout, "");
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
        ran.stderr
    };
    // The key fails: nothing is sent.
    let mut words = attach(&reference).to_vec();
    words.extend(["--plugin", "local", "--id", "nosuch"]);
    assert_ne!(scene.run(Tool::Hardsign, &words).code, Some(0));
    let sent = between.seen();
    assert!(!sent.iter().any(|s| s.what.starts_with("P")), "{sent:?}");
    // The file can't be stored, and its manifest is refused.
    let denied = || {
        let kind = ("content-type", "application/json".to_owned());
        Fate::Answer(403, vec![kind], r#"{"errors":[{"code":"DENIED"}]}"#.into())
    };
    between.rule(move |seen| match seen.what.starts_with("POST ") {
        true => denied(),
        false => Fate::Pass,
    });
    fails("Hint: nothing was attached\n");
    between.rule(move |seen| {
        match seen.what.starts_with("PUT ") && seen.what.contains("/manifests/sha256:") {
            true => denied(),
            false => Fate::Pass,
        }
    });
    fails("Hint: nothing was attached\n");
    assert_eq!(discovered(&oras, &pushed), Vec::<Value>::new());
    // The manifest's fate is not known.
    between.rule(move |seen| {
        match seen.what.starts_with("PUT ") && seen.what.contains("/manifests/sha256:") {
            true => Fate::Answer(500, vec![], String::new()),
            false => Fate::Pass,
        }
    });
    fails("the file may be attached already, but it is not signed");
    // The signature alone is refused: the envelope is the third upload, and the file and the empty
    // configuration are there by now.
    between.rule(move |seen| {
        let stored = seen.what.starts_with("PUT ") && seen.what.contains("/manifests/sha256:");
        match stored && String::from_utf8_lossy(&seen.body).contains("notary.signature") {
            true => denied(),
            false => Fate::Pass,
        }
    });
    // What was typed is in the command that it names.
    let file = bench_file(&scene, "it's a CA.pem");
    let typed = [
        "--insecure-registry",
        "--ca-file",
        &file,
        "--signature-format",
        "cose",
    ];
    let told = scene.run(Tool::Hardsign, attach(&reference).iter().chain(&typed));
    let told = told.stderr;
    assert!(told.contains(" is attached, but not signed: "), "{told}");
    let command = told.split("sign it with `hardsign ").nth(1).unwrap();
    let command = command.split('`').next().unwrap();
    let flags = format!(
        "sign --insecure-registry --ca-file '{}' --signature-format cose {host}",
        file.replace('\'', r"'\''")
    );
    assert!(command.starts_with(&flags), "{command}");
    let attached = discovered(&oras, &pushed);
    assert_eq!(attached.len(), 1, "{attached:?}");
    let sbom = command.rsplit(' ').next().unwrap();
    assert!(sbom.ends_with(attached[0]["digest"].as_str().unwrap()));
    // What the error says finishes the work, and so does the same command again.
    between.rule(|_| Fate::Pass);
    let line = format!("{} {command}", binaries().join("hardsign").display());
    let ran = scene
        .bench
        .run(&mut scene.bench.command(Path::new("sh"), ["-c", &line]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    // Directly: what is between tells no sizes.
    scene.both_verify(&sbom.replace(&host, &scene.registry.host()));
    scene.ok(Tool::Hardsign, attach(&reference));
    assert_eq!(discovered(&oras, &pushed).len(), 1);
}

/// A file of that name with certificates in it.
fn bench_file(scene: &Scene, name: &str) -> String {
    let file = scene.bench.path().join(name);
    fs::copy(scene.bench.config().join("localkeys/acme.crt"), &file).unwrap();
    file.display().to_string()
}
