//! containerd on a node refuses images without a good signature: the real containerd, `ctr` and, as a kubelet
//! would, `crictl`. What is asserted of a refusal is what the event of the pod shows.
//!
//! Not run here: containers, since the machine that tests has neither runc nor a CNI, so that `crictl ps`
//! and `inspect`, by which `node install` finds the network's images, are answered by a script in one test.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use softhsm_tests::authority::Authority;
use softhsm_tests::node::{Node, push_image};
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::peers::{Oras, framework, program};
use softhsm_tests::workbench::{Ran, Workbench};
use softhsm_tests::{binaries, run};

const PLUGIN: &str = "framework-envelope-identity-revocation";

/// A bench that trusts the key `good`, and has a key `wrong` that nobody trusts.
fn bench() -> Workbench {
    let bench = Workbench::new();
    for name in ["good", "wrong"] {
        bench.hardsign_ok(["certificate", "generate-test", name]);
    }
    policy(&bench, "strict");
    bench
}

fn policy(bench: &Workbench, level: &str) {
    let mut statement = json!({
        "name": "node",
        "registryScopes": ["*"],
        "signatureVerification": {"level": level},
    });
    if level != "skip" {
        statement["trustStores"] = json!(["ca:good"]);
        statement["trustedIdentities"] = json!(["*"]);
    }
    bench.policy(&statement);
}

fn settings(bench: &Workbench, node: &Node, members: &Value) {
    let hosts = node.path().join("certs.d");
    let mut settings = json!({"version": "1.0", "registryHosts": [hosts]});
    for (name, value) in members.as_object().unwrap() {
        settings[name] = value.clone();
    }
    let file = bench.config().join("node.hardsign.json");
    fs::write(file, settings.to_string()).unwrap();
}

fn sign(bench: &Workbench, key: &str, reference: &str) {
    bench.hardsign_ok(["sign", "--key", key, reference]);
}

/// The pull was refused with that reason, in the words of containerd.
fn refused(ran: &Ran, reason: &str) {
    let told = &ran.stderr;
    assert_ne!(ran.code, Some(0), "{}", ran.stdout);
    assert!(
        told.contains("rejected image (exit code") && told.contains(reason),
        "{reason}: {told}"
    );
}

fn allowed(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

/// Signed images come in; unsigned, tampered and wrongly signed ones do not, whoever pulls; and without a policy
/// none does.
#[test]
fn signed_images_come_in_and_no_others() {
    let (bench, registry) = (bench(), Registry::olareg().start());
    let mut node = Node::new();
    settings(&bench, &node, &json!({"deadline": "3s"}));
    node.plain(&registry);
    node.link_verifier();
    node.start(&bench);

    let good = push_image(&registry, "good:v1");
    sign(&bench, "good", &good);
    let wrong = push_image(&registry, "wrong:v1");
    sign(&bench, "wrong", &wrong);
    let unsigned = push_image(&registry, "unsigned:v1");
    let tampered = push_image(&registry, "tampered:v1");
    move_signature(&registry, &good, &tampered);

    let by_tag_and_digest = format!(
        "{}@{}",
        registry.reference("good:v1"),
        good.split_once('@').unwrap().1
    );
    for image in [&registry.reference("good:v1"), &good, &by_tag_and_digest] {
        allowed(&node.pull(image));
    }
    allowed(&node.ctr_pull(&registry.reference("good:v1")));
    assert!(
        node.log().contains("verified under statement"),
        "{}",
        node.log()
    );

    for (image, reason) in [
        (&unsigned, "no signature is associated with"),
        (&wrong, "does not contain any trusted certificate"),
        (&tampered, "content descriptor mismatch"),
    ] {
        let tag = image.split_once('@').unwrap().0.to_owned() + ":v1";
        refused(&node.pull(&tag), reason);
        refused(&node.pull(image), reason);
        refused(&node.ctr_pull(&tag), reason);
    }

    fs::remove_file(bench.config().join("trustpolicy.json")).unwrap();
    refused(&node.pull(&good), "trust policy is not present");
    fs::write(bench.config().join("trustpolicy.json"), "{").unwrap();
    refused(&node.pull(&good), "malformed trust policy");
    policy(&bench, "strict");
    fs::write(bench.config().join("node.hardsign.json"), "{}").unwrap();
    refused(&node.pull(&good), "malformed");
    settings(&bench, &node, &json!({"deadline": "3s"}));
    allowed(&node.pull(&good));
    policy(&bench, "skip");
    allowed(&node.pull(&unsigned));
    assert!(
        node.log()
            .contains("allowed unverified: the trust policy statement")
    );
    assert_eq!(bench.processes().len(), 1, "{:?}", bench.processes());
}

/// A signature that names a verification plugin is judged by it on the node, as `hardsign verify` does; without the
/// plugin it is refused.
#[test]
fn ver_35_the_named_plugin_judges_on_the_node() {
    let (bench, registry) = (bench(), Registry::olareg().start());
    let mut node = Node::new();
    settings(&bench, &node, &json!({"deadline": "5s"}));
    node.plain(&registry);
    node.link_verifier();
    node.start(&bench);

    bench.install_plugin(PLUGIN, &framework::executable());
    let keys = bench.path().join("keys");
    let directory = format!("dir={}", keys.display());
    let named = format!("verificationPlugin={PLUGIN}");
    let image = push_image(&registry, "plugin:v1");
    let mut sign = vec!["sign", "--plugin", PLUGIN, "--id", "release"];
    for setting in [
        directory.as_str(),
        "keySpec=EC-384",
        named.as_str(),
        "verificationPluginMinVersion=1.0.0",
        "attribute.com.example.stage=qa",
    ] {
        sign.extend(["--plugin-config", setting]);
    }
    sign.push(&image);
    bench.hardsign_ok(sign);
    bench.trust_store("good", &framework::root(&keys, "release"));

    allowed(&node.pull(&image));
    fs::remove_dir_all(bench.config().join("plugins").join(PLUGIN)).unwrap();
    refused(&node.pull(&image), PLUGIN);
}

/// Attaches the signature of one image to another.
fn move_signature(registry: &Registry, from: &str, to: &str) {
    let oras = Oras::new();
    let home = tempfile::tempdir().unwrap();
    let (repository, digest) = from.split_once('@').unwrap();
    let host_path = registry.url() + "/v2/" + repository.split_once('/').unwrap().1;
    let get = |path: &str| {
        let url = format!("{host_path}/{path}");
        let accept = "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
        run(Command::new("python3").args([
            "-c",
            "import sys, urllib.request as u; k, v = sys.argv[2].split(': ', 1); \
             sys.stdout.buffer.write(u.urlopen(u.Request(sys.argv[1], headers={k: v})).read())",
            &url,
            accept,
        ]))
        .stdout
    };
    let referrers: Value = serde_json::from_slice(&get(&format!("referrers/{digest}"))).unwrap();
    let manifest = referrers["manifests"][0]["digest"].as_str().unwrap();
    let manifest: Value = serde_json::from_slice(&get(&format!("manifests/{manifest}"))).unwrap();
    let envelope = &manifest["layers"][0];
    let media_type = envelope["mediaType"].as_str().unwrap();
    let bytes = get(&format!("blobs/{}", envelope["digest"].as_str().unwrap()));
    fs::write(home.path().join("envelope"), bytes).unwrap();
    let thumbprint = "io.cncf.notary.x509chain.thumbprint#S256";
    let annotation = manifest["annotations"][thumbprint].as_str().unwrap();
    run(oras
        .command([
            "attach",
            "--artifact-type",
            "application/vnd.cncf.notary.signature",
        ])
        .args(["--annotation", &format!("{thumbprint}={annotation}"), to])
        .arg(format!("envelope:{media_type}"))
        .current_dir(home.path()));
}

/// A registry that is down, or slow, is a refusal with a reason, before containerd's own time is over; an image
/// that the settings except for that comes in.
#[test]
fn a_registry_that_is_down_or_slow_is_a_refusal() {
    let (bench, mirror) = (bench(), Registry::olareg().start());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut node = Node::new();
    settings(&bench, &node, &json!({"deadline": "10s"}));
    node.configure("", "60s");
    node.link_verifier();
    node.start(&bench);
    let image = push_image(&mirror, "app:v1");
    let digest = image.split_once('@').unwrap().1;
    let of = |server: &str| {
        format!(
            "server = \"{server}\"\n[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
            mirror.url()
        )
    };
    let slow = format!("http://{}", silent.local_addr().unwrap());
    for (name, server, reason) in [
        ("down.test", "http://127.0.0.1:1", "onnection refused"),
        (
            "slow.test",
            slow.as_str(),
            "the deadline of 10 seconds passed while listing the signatures: waited",
        ),
    ] {
        node.hosts(name, &of(server));
        let began = Instant::now();
        let ran = node.pull(&format!("{name}/app:v1"));
        refused(&ran, reason);
        // What the reason says is soon, and containerd's own patience has no reason.
        assert!(began.elapsed() < Duration::from_secs(50), "{}", ran.stderr);

        let exception = |when: &str, digest: &str| {
            json!({"deadline": "10s", "exceptions": [{
                "repository": format!("{name}/app"), "digest": digest, "when": when, "reason": "tried",
            }]})
        };
        let other = format!("sha256:{}", "0".repeat(64));
        settings(&bench, &node, &exception("always", &other));
        refused(&node.pull(&format!("{name}/app:v1")), reason);
        settings(&bench, &node, &exception("unreachable", digest));
        allowed(&node.pull(&format!("{name}/app:v1")));
        settings(&bench, &node, &exception("always", digest));
        allowed(&node.pull(&format!("{name}/app@{digest}")));
        settings(&bench, &node, &json!({"deadline": "10s"}));
    }
    // One that can be reached and has no signature is no registry that is down.
    node.plain(&mirror);
    settings(
        &bench,
        &node,
        &json!({"exceptions": [{"repository": image.split_once('@').unwrap().0, "digest": digest, "when": "unreachable", "reason": "tried"}]}),
    );
    refused(&node.pull(&image), "no signature is associated with");
}

/// A private registry: the kubelet's credential provider is asked as the kubelet asks it; without one the
/// refusal says what is missing. Docker's file is the second place.
#[test]
fn a_private_registry_through_a_credential_provider() {
    let (mut bench, registry) = (bench(), Registry::ggcr().basic_auth().start());
    let (user, password) = registry.credentials().unwrap();
    bench.set("NOTATION_USERNAME", user);
    bench.set("NOTATION_PASSWORD", password);
    let image = push_image(&registry, "team/app:v1");
    sign(&bench, "good", &image);
    let mut node = Node::new();
    settings(&bench, &node, &json!({"deadline": "3s"}));
    node.plain(&registry);
    node.link_verifier();
    node.start(&bench);
    let pull = || {
        let login = format!("{user}:{password}");
        node.crictl(&["pull", "--creds", &login, &image])
    };
    refused(&pull(), "credential required for basic auth");

    let asked = node.path().join("asked");
    let answer = json!({
        "kind": "CredentialProviderResponse",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "cacheKeyType": "Registry",
        "auth": {registry.host(): {"username": user, "password": password}},
    });
    node.script(
        "providers/ours",
        // What it leaves running must not hold the pull up.
        &format!("sleep 60 &\ncat >>{}\necho '{answer}'", asked.display()),
    );
    let list = node.path().join("providers.yaml");
    let config = |host: &str| {
        format!(
            "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n- name: ours\n  \
             matchImages: [\"{host}\"]\n  defaultCacheDuration: 1h\n  \
             apiVersion: credentialprovider.kubelet.k8s.io/v1\n"
        )
    };
    fs::write(&list, config(&registry.host())).unwrap();
    settings(
        &bench,
        &node,
        &json!({"deadline": "3s", "credentialProviders": {"config": list, "binDir": node.path().join("providers")}}),
    );
    let began = Instant::now();
    allowed(&pull());
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
    let question: Value = serde_json::from_str(&fs::read_to_string(&asked).unwrap()).unwrap();
    assert_eq!(question["image"], format!("{}/team/app", registry.host()));
    assert_eq!(question["kind"], "CredentialProviderRequest");

    node.script(
        "providers/ours",
        "echo 'the role has no such right' >&2; exit 1",
    );
    refused(&pull(), "the role has no such right");
    fs::write(&list, config("other.example")).unwrap();
    refused(&pull(), "credential required for basic auth");
    let auth = json!({"auths": {registry.host(): {"username": user, "password": password}}});
    fs::write(bench.config().join("config.json"), auth.to_string()).unwrap();
    allowed(&pull());
}

/// Signatures are looked for where containerd pulls from: a mirror with a certificate of a private CA, before the
/// registry itself. It gets no credential that is the registry's.
#[test]
fn a_mirror_with_a_private_ca() {
    let (mut bench, mirror) = (bench(), Registry::ggcr().tls().start());
    bench.set("SSL_CERT_FILE", mirror.ca_file().unwrap());
    let image = push_image(&mirror, "app:v1");
    sign(&bench, "good", &image);
    let unsigned = push_image(&mirror, "unsigned:v1");
    let mut node = Node::new();
    settings(&bench, &node, &json!({"deadline": "40s"}));
    node.hosts(
        "registry.test",
        &format!(
            "server = \"http://127.0.0.1:1\"\n[host.\"{}\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = \"{}\"\n",
            mirror.url(),
            mirror.ca_file().unwrap().display()
        ),
    );
    node.configure("", "60s");
    node.link_verifier();
    node.start(&bench);
    let before = mirror.requests().len();
    allowed(&node.pull("registry.test/app:v1"));
    let requests = mirror.requests();
    let referrers = requests[before..]
        .iter()
        .filter(|r| format!("{r:?}").contains("referrers"));
    assert_eq!(referrers.count(), 1);
    refused(
        &node.pull("registry.test/unsigned:v1"),
        "no signature is associated with",
    );
    assert!(!unsigned.is_empty());

    // Without the certificate it is not trusted, whatever containerd is told.
    node.hosts(
        "registry.test",
        &format!("server = \"{}\"\nskip_verify = true\n", mirror.url()),
    );
    refused(&node.pull("registry.test/app:v1"), "certificate");
}

/// The verifier by itself: it reads what containerd gives, says one line, and leaves nothing running.
#[test]
fn the_verifier_says_one_line_and_leaves_nothing_running() {
    let (bench, registry) = (bench(), Registry::olareg().start());
    let image = push_image(&registry, "app:v1");
    sign(&bench, "good", &image);
    let node = Node::new();
    settings(&bench, &node, &json!({"deadline": "3s"}));
    node.link_verifier();
    let (repository, digest) = image.split_once('@').unwrap();
    let descriptor = descriptor(&registry, &image);
    let ask = |name: &str, digest: &str, input: &str| ask(&bench, &node, name, digest, input);
    let tag = format!("{repository}:v1");
    let (code, line) = ask(&tag, digest, &descriptor);
    assert_eq!(code, Some(0), "{line}");
    assert!(
        line.starts_with("verified under statement \"node\", signed by CN=good"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
    let other = format!("sha256:{}", "1".repeat(64));
    for (name, digest, input, why) in [
        (
            tag.as_str(),
            other.as_str(),
            descriptor.as_str(),
            "the descriptor on standard input is of",
        ),
        (&tag, digest, "", "standard input is not a descriptor"),
        (&tag, digest, "{}", "standard input is not a descriptor"),
        (
            &format!("{repository}@{other}"),
            digest,
            &descriptor,
            "-name names",
        ),
        ("no reference", digest, &descriptor, "-name"),
    ] {
        let (code, line) = ask(name, digest, input);
        assert!(code.is_some_and(|code| code != 0), "{name}: {line}");
        assert!(
            line.contains(why) && line.lines().count() == 1,
            "{name}: {line}"
        );
    }
    // Standard input that never ends: the watchdog ends it, with a reason.
    settings(&bench, &node, &json!({"deadline": "1s"}));
    let mut command = bench.command(
        &node.bin_dir().join("image-verifier"),
        [
            "-name",
            &tag,
            "-digest",
            digest,
            "-stdin-media-type",
            "application/vnd.oci.descriptor.v1+json",
        ],
    );
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let kept = child.stdin.take();
    let began = Instant::now();
    let output = child.wait_with_output().unwrap();
    drop(kept);
    assert_eq!(output.status.code(), Some(1));
    let line = String::from_utf8(output.stdout).unwrap();
    assert!(line.starts_with("no verdict within 1"), "{line}");
    assert!(began.elapsed() < Duration::from_secs(4));
    assert!(bench.processes().is_empty(), "{:?}", bench.processes());
}

/// Asks the verifier as containerd does: its exit code, and what it says.
fn ask(
    bench: &Workbench,
    node: &Node,
    name: &str,
    digest: &str,
    input: &str,
) -> (Option<i32>, String) {
    let flags = [
        "-stdin-media-type",
        "application/vnd.oci.descriptor.v1+json",
    ];
    let mut command = bench.command(
        &node.bin_dir().join("image-verifier"),
        ["-name", name, "-digest", digest].into_iter().chain(flags),
    );
    command.env_remove("HOME").stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), line)
}

/// Servers for revocation that never answer are no registry that can't be reached: an image that is excepted for
/// that alone stays out.
#[test]
fn a_responder_that_never_answers_is_no_registry_that_is_down() {
    let (bench, registry) = (bench(), Registry::olareg().start());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let ca = Authority::new("Node Tests");
    bench.trust_store("good", &ca.root());
    ca.issue(
        "watched",
        &format!(
            "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n\
             authorityInfoAccess=OCSP;URI:{url}/ocsp\ncrlDistributionPoints=URI:{url}/crl\n"
        ),
    );
    let file = |suffix: &str| ca.path().join(format!("watched.{suffix}"));
    let keys = json!({"keys": [
        {"name": "watched", "keyPath": file("key"), "certPath": file("chain.pem")},
    ]});
    fs::write(bench.config().join("signingkeys.json"), keys.to_string()).unwrap();
    let image = push_image(&registry, "app:v1");
    sign(&bench, "watched", &image);
    let node = Node::new();
    node.link_verifier();
    let (repository, digest) = image.split_once('@').unwrap();
    // Longer than the responder is waited for, and shorter than that and the wait for the list.
    settings(
        &bench,
        &node,
        &json!({"deadline": "6s", "exceptions": [{
            "repository": repository, "digest": digest, "when": "unreachable", "reason": "tried",
        }]}),
    );
    let name = format!("{repository}:v1");
    let (code, line) = ask(&bench, &node, &name, digest, &descriptor(&registry, &image));
    assert_ne!(code, Some(0), "{line}");
    assert!(
        line.contains("the deadline of 6 seconds passed while checking revocation"),
        "{line}"
    );
}

/// What containerd would put on standard input.
fn descriptor(registry: &Registry, image: &str) -> String {
    let oras = Oras::new();
    let mut command = oras.command(["manifest", "fetch", "--descriptor"]);
    command.args(registry.oras_flags()).arg(image);
    String::from_utf8(run(&mut command).stdout).unwrap()
}

/// Puts the policy in place by the commands of `docs/node.md`, with the bench's directory for the machine's.
fn put_policy_in_place(bench: &Workbench) {
    let page = softhsm_tests::pages::text("docs/node.md");
    let blocks = softhsm_tests::pages::blocks(&page);
    let block = blocks.iter().find(|block| {
        block.heading == "From no check to all refused" && block.language == "sh" && block.nth == 0
    });
    let commands = block.unwrap().lines.join("\n");
    assert!(
        commands.contains("NOTATION_CONFIG=/etc/notation\n"),
        "{commands}"
    );
    let config = bench.config();
    let commands = commands.replace("/etc/notation", &config.display().to_string());
    fs::remove_file(config.join("trustpolicy.json")).unwrap();
    fs::remove_dir_all(config.join("truststore")).unwrap();
    fs::copy(
        config.join("localkeys/good.crt"),
        bench.path().join("release-ca.crt"),
    )
    .unwrap();
    let policy = json!({"version": "1.0", "trustPolicies": [{
        "name": "node",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:release"],
        "trustedIdentities": ["*"],
    }]});
    fs::write(bench.path().join("trustpolicy.json"), policy.to_string()).unwrap();
    let path = format!("{}:/usr/bin:/bin", binaries().display());
    let mut shell = bench.command(Path::new("/bin/sh"), ["-e", "-c", &commands]);
    allowed(&bench.run(shell.env("PATH", path)));
}

/// `node install` makes the directory, excepts by digest what the node can't live without, and is taken back by
/// `node uninstall`. `doctor node` finds everything well in between, and tells what would be refused.
#[test]
fn installed_looked_at_and_taken_away() {
    let (bench, registry) = (bench(), Registry::olareg().start());
    put_policy_in_place(&bench);
    let pause = push_image(&registry, "pause:3");
    let etcd = push_image(&registry, "etcd:3");
    let signed = push_image(&registry, "app:v1");
    sign(&bench, "good", &signed);
    let unsigned = push_image(&registry, "unsigned:v1");
    let mut node = Node::new();
    settings(&bench, &node, &json!({"deadline": "3s"}));
    node.plain(&registry);
    let sandbox = format!(
        "pinned_images = {{ sandbox = \"{}\" }}",
        registry.reference("pause:3")
    );
    node.configure(&sandbox, "5s");
    fs::remove_dir(node.bin_dir()).unwrap();
    node.start(&bench);
    let bin_dir = node.bin_dir().display().to_string();
    let install = |node: &Node, further: &[&str]| {
        let manifests = node.path().join("manifests").display().to_string();
        let all = [
            "node",
            "install",
            "--bin-dir",
            &bin_dir,
            "--manifests",
            &manifests,
        ];
        let all = [&all[..], &["--timeout", "5s"], further].concat();
        node.hardsign(&bench, &all)
    };

    // A new node: what it needs is not on it, and nothing ran that tells of its network.
    let fresh = install(&node, &[]);
    assert_eq!(fresh.code, Some(1), "{}", fresh.stdout);
    for part in [
        format!(
            "{} is needed, and its digest is not known (sandbox image",
            registry.reference("pause:3")
        ),
        "an image of the network is needed, and its digest is not known".to_owned(),
        "--allow-missing".to_owned(),
    ] {
        assert!(fresh.stderr.contains(&part), "{part}: {}", fresh.stderr);
    }
    assert!(!node.bin_dir().exists());
    let named = install(&node, &["--exception", &pause]);
    allowed(&named);
    assert!(
        named.stdout.contains(&format!("{pause}: named")),
        "{}",
        named.stdout
    );
    refused(&node.pull(&unsigned), "no signature is associated with");
    allowed(&node.pull(&pause));
    allowed(&bench.hardsign(["node", "uninstall", "--yes", "--bin-dir", &bin_dir]));
    settings(&bench, &node, &json!({"deadline": "3s"}));

    for image in [&pause, &etcd, &signed, &unsigned] {
        allowed(&node.pull(image));
    }
    allowed(&node.pull(&registry.reference("etcd:3")));
    allowed(&node.pull(&registry.reference("pause:3")));
    let manifests = node.path().join("manifests");
    fs::write(
        manifests.join("etcd.yaml"),
        format!(
            "kind: Pod\nspec:\n  containers:\n  - image: {}\n",
            registry.reference("etcd:3")
        ),
    )
    .unwrap();

    let before = node.hardsign(&bench, &["doctor", "node"]);
    assert_eq!(before.code, Some(1));
    assert!(
        before
            .stdout
            .contains("does not exist, so every image is accepted"),
        "{}",
        before.stdout
    );

    let installed = install(&node, &["--allow-missing"]);
    assert!(
        installed
            .stderr
            .contains("an image of the network is needed"),
        "{}",
        installed.stderr
    );
    allowed(&installed);
    for part in [
        format!("{pause}: sandbox image"),
        format!("{etcd}: static pod"),
        "per_verifier_timeout = \"5s\"".to_owned(),
    ] {
        assert!(
            installed.stdout.contains(&part),
            "{part}: {}",
            installed.stdout
        );
    }
    let entries: Vec<_> = fs::read_dir(node.bin_dir()).unwrap().flatten().collect();
    assert_eq!(entries.len(), 1);
    let again = install(&node, &[]);
    assert!(
        again.stdout.contains("No exceptions were added"),
        "{}{}",
        again.stdout,
        again.stderr
    );

    refused(&node.pull(&unsigned), "no signature is associated with");
    for image in [&pause, &etcd, &signed] {
        allowed(&node.pull(image));
    }
    let after = node.hardsign(&bench, &["doctor", "node"]);
    assert_eq!(after.code, Some(1), "{}", after.stdout);
    for part in [
        "is this hardsign".to_owned(),
        "asks verifiers".to_owned(),
        format!("ok    image {signed}: verified"),
        format!("ok    image {pause}: excepted"),
        format!("FAIL  image {unsigned}: would be refused"),
    ] {
        assert!(after.stdout.contains(&part), "{part}: {}", after.stdout);
    }
    assert!(after.stderr.contains("1 problem found"), "{}", after.stdout);

    fs::write(node.bin_dir().join("README"), "").unwrap();
    let full = install(&node, &[]);
    assert!(
        full.stderr.contains("contains other files"),
        "{}",
        full.stderr
    );
    fs::remove_file(node.bin_dir().join("README")).unwrap();
    let removed = bench.hardsign(["node", "uninstall", "--yes", "--bin-dir", &bin_dir]);
    allowed(&removed);
    assert!(!node.bin_dir().exists());
    allowed(&node.pull(&unsigned));
}

/// The network's images, from what `crictl` says of containers. A script answers in its place: no container runs
/// here.
#[test]
fn images_of_the_network_with_a_scripted_crictl() {
    let bench = bench();
    let node = Node::new();
    settings(&bench, &node, &json!({"deadline": "3s"}));
    let digest = |n: &str| format!("sha256:{}", n.repeat(64));
    let images = json!({"images": [
        {"id": digest("1"), "repoTags": ["quay.io/cilium/cilium:v1"], "repoDigests": [format!("quay.io/cilium/cilium@{}", digest("a"))]},
        {"id": digest("2"), "repoTags": ["registry.k8s.io/kube-proxy:v1"], "repoDigests": [format!("registry.k8s.io/kube-proxy@{}", digest("b"))]},
        {"id": digest("3"), "repoTags": ["docker.io/library/app:v1"], "repoDigests": [format!("docker.io/library/app@{}", digest("c"))]},
    ]});
    let containers = json!({"containers": [
        {"id": "c1", "metadata": {"name": "cilium-agent"}},
        {"id": "c2", "metadata": {"name": "kube-proxy"}},
        {"id": "c3", "metadata": {"name": "app"}},
    ]});
    let inspect = |id: &str, mount: &str| json!({"status": {"imageRef": id, "image": {"image": id}, "mounts": [{"hostPath": mount}]}});
    let crictl = node.script(
        "crictl",
        &format!(
            "case \"$*\" in *images*) echo '{images}';; *ps*) echo '{containers}';; *c1) echo '{}';; *c2) echo '{}';; *) echo '{}';; esac",
            inspect(&digest("1"), "/opt/cni/bin"),
            inspect(&digest("2"), "/lib/modules"),
            inspect(&digest("3"), "/data"),
        ),
    );
    let containerd = program("containerd").display().to_string();
    let config = node.config().display().to_string();
    let bin_dir = node.bin_dir().display().to_string();
    let crictl = crictl.display().to_string();
    let none = node.path().join("none").display().to_string();
    let mut all = vec![
        "node",
        "install",
        "--runtime-endpoint",
        "unix:///nonexistent/c.sock",
        "--bin-dir",
        &bin_dir,
        "--containerd",
        &containerd,
        "--containerd-config",
        &config,
        "--crictl",
        &crictl,
        "--exception",
        "docker.io/library/app:v1",
        "--manifests",
    ];
    // What is named must be there, and an image that is needed must be known.
    let missing = bench.hardsign([&all[..], &[&none]].concat());
    assert_eq!(missing.code, Some(1), "{}", missing.stdout);
    assert!(
        missing.stderr.contains(&format!("{none}: no such file")),
        "{}",
        missing.stderr
    );
    let manifests = node.path().join("manifests").display().to_string();
    all.push(&manifests);
    let sandbox = bench.hardsign(&all);
    assert_eq!(sandbox.code, Some(1), "{}", sandbox.stdout);
    assert!(
        sandbox.stderr.contains("(sandbox image"),
        "{}",
        sandbox.stderr
    );
    let kept = fs::read_to_string(bench.config().join("node.hardsign.json")).unwrap();
    assert!(!kept.contains("exceptions"), "{kept}");
    all.push("--allow-missing");
    let ran = bench.hardsign(&all);
    allowed(&ran);
    for part in [
        "cilium-agent mounts /opt/cni/bin",
        "network: kube-proxy",
        "named to node install",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    assert!(ran.stderr.contains("(sandbox image"), "{}", ran.stderr);
    let written = fs::read_to_string(bench.config().join("node.hardsign.json")).unwrap();
    let written: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written["exceptions"].as_array().unwrap().len(), 3);
    assert_eq!(written["deadline"], "8s");
}

/// `doctor node` judges as the running containerd would, in its environment: the configuration, credentials and
/// proxies of the shell that it is started from count for nothing, which is told. Without a process it is the
/// environment of the unit, and else an empty one.
#[test]
fn doctor_judges_in_the_environment_of_containerd() {
    let (bench, registry) = (bench(), Registry::olareg().start());
    let signed = push_image(&registry, "app:v1");
    sign(&bench, "good", &signed);
    let mut node = Node::new();
    settings(&bench, &node, &json!({"deadline": "3s"}));
    node.plain(&registry);
    node.link_verifier();
    node.start(&bench);
    allowed(&node.pull(&signed));
    let config = bench.config().display().to_string();
    let shell = bench.path().join("shell");
    fs::create_dir(&shell).unwrap();
    let doctor = |node: &Node, path: &str| {
        let mut all = node.with_places(&bench, &["doctor", "node"]);
        all.retain(|argument| !argument.starts_with("--env"));
        let mut command = bench.command(&binaries().join("hardsign"), all);
        command.env("NOTATION_CONFIG", &shell).env("PATH", path);
        // Whoever followed this would reach nobody.
        command.env("HTTP_PROXY", "http://127.0.0.1:1");
        bench.run(&mut command).stdout
    };
    let own_path = "/usr/bin:/bin";
    let judged = doctor(&node, own_path);
    for part in [
        "judged in the environment of containerd, process ".to_owned(),
        "which has no HOME".to_owned(),
        "NOTATION_CONFIG is not the same there as here".to_owned(),
        "HTTP_PROXY is set here but not there".to_owned(),
        format!("ok    configuration directory {config}"),
        format!("ok    image {signed}: verified"),
    ] {
        assert!(judged.contains(&part), "{part}: {judged}");
    }

    // node install says so where the verifier will look elsewhere.
    let mut install = node.with_places(&bench, &["node", "install", "--no-exceptions"]);
    install.push(format!("--bin-dir={}", node.bin_dir().display()));
    let mut command = bench.command(&binaries().join("hardsign"), install);
    let elsewhere = bench.run(command.env("NOTATION_CONFIG", &shell));
    allowed(&elsewhere);
    assert!(
        elsewhere.stderr.contains("the verifier will not use"),
        "{}",
        elsewhere.stderr
    );
    assert!(shell.join("node.hardsign.json").exists());

    node.stop();
    let file = node.path().join("containerd.env");
    fs::write(&file, "# proxies\nNO_PROXY=\"localhost, 127.0.0.1\"\n").unwrap();
    let shown = format!(
        "LoadState=loaded\nEnvironment=A=1 \"NOTATION_CONFIG={config}\"\nEnvironmentFiles={} (ignore_errors=yes)",
        file.display()
    );
    node.script("systemctl", &format!("echo '{shown}'"));
    let with_script = format!("{}:{own_path}", node.path().display());
    let of_unit = doctor(&node, &with_script);
    for part in [
        "judged in the environment of the unit containerd.service".to_owned(),
        "NO_PROXY is set there but not here".to_owned(),
        format!("ok    configuration directory {config}"),
    ] {
        assert!(of_unit.contains(&part), "{part}: {of_unit}");
    }
    node.script("systemctl", "echo LoadState=not-found; echo Environment=");
    let of_nobody = doctor(&node, &with_script);
    for part in [
        "judged in an environment with nothing but PATH",
        "NOTATION_CONFIG is set here but not there",
        "/etc/notation",
    ] {
        assert!(of_nobody.contains(part), "{part}: {of_nobody}");
    }
}

/// Each way in which the check is off without an error anywhere: the unsigned image really comes in, and
/// `doctor node` says why.
#[test]
fn each_silent_bypass_is_found() {
    let (bench, registry) = (bench(), Registry::olareg().start());
    let unsigned = push_image(&registry, "unsigned:v1");
    let mut node = Node::new();
    settings(&bench, &node, &json!({"deadline": "3s"}));
    node.plain(&registry);
    node.link_verifier();
    let doctor = |node: &Node| node.hardsign(&bench, &["doctor", "node"]).stdout;

    // As containerd itself sees them, without running.
    for setting in [
        "use_local_image_pull = true",
        "disable_snapshot_annotations = false",
        "discard_unpacked_layers = true",
        "image_pull_with_sync_fs = true",
        "max_concurrent_downloads = 5",
    ] {
        node.configure(setting, "5s");
        let found = doctor(&node);
        assert!(
            found.contains(&format!(
                "with {setting}, the CRI pulls images without asking verifiers"
            )),
            "{found}"
        );
    }
    for (table, found) in [
        (
            "mirrors.\"r.test\".endpoint = [\"https://m.test\"]",
            "registry.mirrors",
        ),
        (
            "configs.\"r.test\".auth.username = \"u\"",
            "registry.configs",
        ),
        (
            "auths.\"https://r.test\".username = \"u\"",
            "registry.auths",
        ),
    ] {
        node.configure("", "5s");
        let text = fs::read_to_string(node.config()).unwrap();
        let without_path: Vec<_> = text
            .lines()
            .filter(|l| !l.contains("config_path"))
            .collect();
        fs::write(
            node.config(),
            format!("{}\n{table}\n", without_path.join("\n")),
        )
        .unwrap();
        let told = doctor(&node);
        assert!(
            told.contains(&format!(
                "with {found}, the CRI pulls images without asking"
            )),
            "{found}: {told}"
        );
    }

    // In the flesh.
    node.configure("max_concurrent_downloads = 5", "5s");
    node.start(&bench);
    allowed(&node.pull(&unsigned));
    node.stop();

    node.configure("", "5s");
    let text = fs::read_to_string(node.config()).unwrap();
    let off = text.replace(
        "disabled_plugins = [",
        "disabled_plugins = [\"io.containerd.image-verifier.v1.bindir\", ",
    );
    fs::write(node.config(), off).unwrap();
    assert!(doctor(&node).contains("is in disabled_plugins"));

    node.configure("", "5s");
    // The watchdog ends a verdict 5.2 seconds after its beginning, containerd kills it after 5.
    settings(&bench, &node, &json!({"deadline": "4.9s"}));
    assert!(doctor(&node).contains("a slow one is refused without a reason"));
    settings(&bench, &node, &json!({"deadline": "3s"}));

    for number in 0..10 {
        node.script(&format!("bin/a{number}"), "exit 0");
    }
    let many = doctor(&node);
    for part in [
        "contains 11 files, but containerd runs only the first 10 by name: 1 skipped",
        "image-verifier is one of those skipped",
        "is not hardsign's",
    ] {
        assert!(many.contains(part), "{part}: {many}");
    }
    node.start(&bench);
    allowed(&node.pull(&unsigned));
    node.stop();
    fs::remove_dir_all(node.bin_dir()).unwrap();
    assert!(doctor(&node).contains("does not exist, so every image is accepted"));
    fs::create_dir(node.bin_dir()).unwrap();
    assert!(doctor(&node).contains("is empty, so every image is accepted"));
    node.start(&bench);
    allowed(&node.pull(&unsigned));
    fs::write(node.bin_dir().join("README"), "notes").unwrap();
    assert!(doctor(&node).contains("is not executable, and so blocks every pull"));
    fs::remove_file(node.bin_dir().join("README")).unwrap();

    node.link_verifier();
    fs::remove_file(bench.config().join("trustpolicy.json")).unwrap();
    assert!(doctor(&node).contains("every image is refused: "));
    policy(&bench, "skip");
    assert!(doctor(&node).contains("its level is skip"));
    let old = node.script(
        "old",
        "echo 'containerd github.com/containerd/containerd v1.7.27 x'",
    );
    let environment = format!("NOTATION_CONFIG={}", bench.config().display());
    let old = old.display().to_string();
    let told = bench
        .hardsign([
            "doctor",
            "node",
            "--containerd",
            &old,
            "--env",
            &environment,
        ])
        .stdout;
    assert!(
        told.contains("version 1.7.27 pulls images for pods without asking verifiers"),
        "{told}"
    );
    assert!(Path::new(&binaries().join("hardsign")).is_file());
}
