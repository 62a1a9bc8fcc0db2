//! What the admission server's verdicts rest on: registries with logins and CAs of their own, credentials that are exchanged,
//! verification plugins, images of many platforms, tags that move; and what it does not even ask about.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test: failing is its answer"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hardsign_test_support::program;
use serde_json::{Value, json};
use softhsm_tests::admission::{Client, Server, Stage, review, verdict};
use softhsm_tests::between::{Between, Fate, Seen};
use softhsm_tests::peers::framework;
use softhsm_tests::peers::registry::{CERTIFICATE, KEY, Registry};
use softhsm_tests::ports::free_port;

fn ask(server: &Server, image: &str) -> (bool, String) {
    verdict(
        &server
            .client()
            .post("/validate?timeout=10s", &review(&[image])),
    )
}

/// Asks until the image is admitted; what was told last where it never is.
fn admitted_within(server: &Server, image: &str, time: Duration) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let (allowed, told) = ask(server, image);
        if allowed {
            return Ok(());
        }
        if begun.elapsed() > time {
            return Err(told);
        }
        thread::sleep(Duration::from_millis(300));
    }
}

/// Exchanges a file of a directory as the kubelet does it for a mounted secret.
fn mount(directory: &Path, version: &str, file: &str, content: &str) {
    fs::create_dir_all(directory.join(version)).unwrap();
    fs::write(directory.join(version).join(file), content).unwrap();
    let link = directory.join("..new");
    symlink(version, &link).unwrap();
    fs::rename(link, directory.join("..data")).unwrap();
    if !directory.join(file).exists() {
        symlink(format!("..data/{file}"), directory.join(file)).unwrap();
    }
}

/// A registry over TLS with a certificate that only `--ca-file` knows, and a login: the server's own credentials out of a
/// mounted secret, exchanged while it runs, and out of a credential helper.
#[test]
fn a_private_registry_with_a_login() {
    let registry = Registry::ggcr().tls().basic_auth().start();
    let (user, password) = registry.credentials().unwrap();
    let ca = registry.ca_file().unwrap().display().to_string();
    let host = registry.host();
    let image = registry.push("app:v1", b"private");
    let mut stage = Stage::new(registry);
    stage.bench.hardsign_ok([
        "sign",
        "--key",
        "acme",
        "--ca-file",
        &ca,
        "-u",
        user,
        "-p",
        password,
        &image,
    ]);
    let secret = stage.bench.path().join("registry-secret");
    let auth = |password: &str| STANDARD.encode(format!("{user}:{password}"));
    let config = |password: &str| json!({"auths": {&host: {"auth": auth(password)}}}).to_string();
    mount(&secret, "..1", "config.json", "{}");
    stage.bench.set("DOCKER_CONFIG", &secret);

    let strange = stage.serve(&[]);
    let (allowed, told) = ask(&strange, &image);
    assert!(!allowed && told.contains("ertificate"), "{told}");
    drop(strange);

    let server = stage.serve(&["--ca-file", &ca]);
    let (allowed, told) = ask(&server, &image);
    assert!(!allowed && told.contains("credential required"), "{told}");
    let line = server.events("verdict").pop().unwrap();
    assert_eq!(line["outcome"], "undecided");
    // The secret comes, wrong at first: what a registry did not take is read anew within seconds, and not for each image.
    mount(&secret, "..2", "config.json", &config("wrong"));
    let wrong = admitted_within(&server, &image, Duration::from_secs(7)).unwrap_err();
    assert!(wrong.contains("401"), "{wrong}");
    mount(&secret, "..3", "config.json", &config(password));
    admitted_within(&server, &image, Duration::from_secs(30)).unwrap();
    for secret in [password, &auth(password)] {
        assert!(!server.log().contains(secret));
    }
    drop(server);

    // A helper, as the ones of clouds that ask a workload's identity.
    let helper = stage.bench.path().join("docker-credential-test");
    let answer = json!({"ServerURL": host, "Username": user, "Secret": password});
    program::write(&helper, &format!("#!/bin/sh\necho '{answer}'\n"));
    let path = format!("{}:/usr/bin:/bin", stage.bench.path().display());
    stage.bench.set("PATH", path);
    let helped = json!({"credHelpers": {&host: "test"}}).to_string();
    mount(&secret, "..4", "config.json", &helped);
    let server = stage.serve(&["--ca-file", &ca]);
    assert_eq!(ask(&server, &image), (true, String::new()));
    assert!(!server.log().contains(password));
}

/// VER-35: a signature that names a verification plugin is judged by it in the server too: its yes and its no count, and
/// without it nothing is admitted.
#[test]
fn ver_35_the_named_plugin_judges() {
    const PLUGIN: &str = "framework-envelope-identity-revocation";
    let stage = Stage::new(Registry::ggcr().start());
    stage.bench.install_plugin(PLUGIN, &framework::executable());
    let keys = stage.bench.path().join("keys");
    let settings = [
        format!("dir={}", keys.display()),
        "keySpec=EC-384".to_owned(),
        format!("verificationPlugin={PLUGIN}"),
        "verificationPluginMinVersion=1.0.0".to_owned(),
        "attribute.com.example.stage=qa".to_owned(),
    ];
    let signed = |name: &str| {
        let image = stage.image(name, name);
        let mut sign = vec!["sign", "--plugin", PLUGIN, "--id", "release"];
        for setting in &settings {
            sign.extend(["--plugin-config", setting]);
        }
        sign.push(&image);
        stage.bench.hardsign_ok(sign);
        image
    };
    let (first, second, third) = (signed("app:v1"), signed("app:v2"), signed("app:v3"));
    stage.trust_root(&framework::root(&keys, "release"));
    let server = stage.serve(&[]);
    assert_eq!(ask(&server, &first), (true, String::new()));

    // The same plugin, told to say no.
    let directory = stage.bench.config().join("plugins").join(PLUGIN);
    let installed = directory.join(format!("notation-{PLUGIN}"));
    let real = stage.bench.path().join(format!("notation-{PLUGIN}"));
    fs::rename(&installed, &real).unwrap();
    let no = "'.pluginConfig = {identity: \"fail\", reason: \"as configured\"}'";
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = verify-signature ]; then jq -c {no} | {real} \"$@\"; exit; fi\nexec {real} \"$@\"\n",
        real = real.display()
    );
    let new = directory.join("new");
    fs::write(&new, script).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, &installed).unwrap();
    let (allowed, told) = ask(&server, &second);
    assert!(
        !allowed && told.contains("failed with reason \"as configured\""),
        "{told}"
    );

    fs::remove_dir_all(stage.bench.config().join("plugins")).unwrap();
    let (allowed, told) = ask(&server, &third);
    assert!(!allowed && told.contains(PLUGIN), "{told}");
    // What was found while the plugin was there counts for a while.
    assert!(ask(&server, &first).0);
}

/// An index names all the rest by digest; those who set it have every image that it lists signed as well.
#[test]
fn all_platforms_may_have_to_be_signed() {
    let stage = Stage::new(Registry::ggcr().start());
    let amd64 = stage.signed("app:amd64", "amd64", "acme");
    let arm64 = stage.signed("app:arm64", "arm64", "acme");
    let unsigned = stage.image("app:riscv", "riscv");
    let strange = stage.signed("app:s390x", "s390x", "stranger");
    let whole = stage.index("app:whole", &[&amd64, &arm64]);
    let half = stage.index("app:half", &[&amd64, &unsigned]);
    let odd = stage.index("app:odd", &[&strange, &arm64]);
    let bare = stage.index("app:bare", &[&amd64, &arm64]);
    stage.sign(&[whole.clone(), half.clone(), odd.clone()], "acme");
    let server = stage.serve(&[]);
    for image in [&whole, &half, &odd] {
        assert_eq!(ask(&server, image), (true, String::new()), "{image}");
    }
    assert_ne!(whole, bare, "they differ by an annotation");
    let (allowed, told) = ask(&server, &bare);
    assert!(!allowed && told.contains("no signature"), "{told}");

    stage.settings(&json!({"platforms": "all"}));
    assert_eq!(ask(&server, &whole), (true, String::new()));
    for (index, child, why) in [
        (&half, &unsigned, "no signature is associated"),
        (&odd, &strange, "does not contain any trusted certificate"),
    ] {
        let (allowed, told) = ask(&server, index);
        let digest = child.split_once('@').unwrap().1;
        assert!(
            !allowed && told.contains(digest) && told.contains(why),
            "{told}"
        );
    }
    // A single image is all platforms that it has.
    assert!(ask(&server, &amd64).0);
    let last = server.events("verdict");
    assert!(
        last.iter()
            .filter(|line| line["outcome"] == "refused")
            .all(|line| line["error"].as_str().unwrap().len() > 20)
    );
}

fn mutated(client: &Client, image: &str) -> Option<String> {
    let answer = client.post("/mutate?timeout=10s", &review(&[image])).json();
    let patch = answer["response"]["patch"].as_str()?;
    let patch: Value = serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
    Some(patch[1]["value"].as_str().unwrap().to_owned())
}

/// Pods with the same tag at the same time are one question to the registry, and a tag that has moved is seen a second later.
#[test]
fn a_tag_is_asked_for_once_and_not_for_long() {
    let stage = Stage::new(Registry::ggcr().latency(Duration::from_millis(20)).start());
    let old = stage.signed("app:v1", "old", "acme");
    let tag = format!("{}:v1", old.split_once('@').unwrap().0);
    let server = stage.serve(&[]);
    let client = server.client();
    let begun = Instant::now();
    let before = stage.registry.requests().len();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < 200 {
                    assert_eq!(mutated(&client, &tag).as_deref(), Some(old.as_str()));
                }
            });
        }
    });
    // One a second, however long this machine took.
    let most = begun.elapsed().as_secs() + 1;
    let questions = server.metric("tag_lookups_total{by=\"question\"}");
    assert!(questions <= most, "{questions} in {most} s");
    assert_eq!(server.metric_sum("tag_lookups_total"), 200);
    assert_eq!(server.metric("lookups_total{by=\"verification\"}"), 1);
    let asked = stage.registry.requests();
    let of_tag = asked[before..]
        .iter()
        .filter(|request| request.path.ends_with("/manifests/v1"))
        .count();
    assert!(
        u64::try_from(of_tag).unwrap() <= most,
        "{of_tag} in {most} s"
    );

    let new = stage.signed("app:v1", "new", "acme");
    assert_ne!(old, new);
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(mutated(&client, &tag), Some(new));
    // A tag that is not there yet is asked for again at once.
    let later = tag.replace(":v1", ":v2");
    let (allowed, told) = verdict(&client.post("/mutate?timeout=10s", &review(&[&later])));
    let again = format!("`hardsign verify {later}`");
    assert!(!allowed && told.contains(&again), "{told}");
    let there = stage.signed("app:v2", "there", "acme");
    assert_eq!(mutated(&client, &later), Some(there));
}

/// A listener that counts who connects, and says nothing.
fn counting() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            seen.fetch_add(1, Ordering::SeqCst);
            drop(stream);
        }
    });
    (port, count)
}

/// What the policy decides by itself is asked of nobody: whoever may make pods can't send the server anywhere.
#[test]
fn registries_that_no_statement_names_are_not_asked() {
    let stage = Stage::new(Registry::ggcr().start());
    let good = stage.signed("app:v1", "good", "acme");
    let (port, count) = counting();
    let repository = good.split_once('@').unwrap().0;
    let statement = |name: &str, scope: &str, level: &str| {
        let mut statement = json!({"name": name, "registryScopes": [scope], "signatureVerification": {"level": level}});
        if level != "skip" {
            statement["trustStores"] = json!(["ca:signers"]);
            statement["trustedIdentities"] = json!(["*"]);
        }
        statement
    };
    let skipped = format!("localhost:{port}/skipped");
    let policy = json!({"version": "1.0", "trustPolicies": [
        statement("app", repository, "strict"),
        statement("skipped", &skipped, "skip"),
    ]});
    fs::write(stage.policy().join("trustpolicy.json"), policy.to_string()).unwrap();
    let server = stage.serve(&[]);
    let digest = format!("sha256:{}", "0".repeat(64));
    assert!(ask(&server, &good).0);
    let stranger = format!("localhost:{port}/stranger@{digest}");
    let (allowed, told) = ask(&server, &stranger);
    let again = format!("`hardsign verify {stranger}`");
    assert!(!allowed && told.contains(&again), "{told}");
    let client = server.client();
    let tag = format!("localhost:{port}/stranger:v1");
    let answer = client.post("/mutate", &review(&[&tag])).json();
    assert_eq!(answer["response"]["allowed"], false, "{answer}");
    assert!(ask(&server, &format!("{skipped}@{digest}")).0);
    // Gatekeeper gets back what need not be verified as it is.
    let asked = json!({
        "apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest",
        "request": {"keys": [format!("{skipped}:v1")]},
    });
    let answer = client.post("/verify", &asked.to_string()).json();
    assert_eq!(
        answer["response"]["items"][0],
        json!({"key": format!("{skipped}:v1"), "value": format!("{skipped}:v1"), "error": ""})
    );
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

/// A registry that has enough of us is told as that, and not as a missing signature.
#[test]
fn too_many_requests_are_no_verdict() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(
                b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            ));
        }
    });
    let stage = Stage::new(Registry::ggcr().start());
    let server = stage.serve(&[]);
    let image = format!("localhost:{port}/app@sha256:{}", "0".repeat(64));
    let (allowed, told) = ask(&server, &image);
    assert!(
        !allowed && !told.contains("no signature") && !told.contains("not found"),
        "{told}"
    );
    assert!(
        told.contains("429") || told.contains("no verdict"),
        "{told}"
    );
    assert_eq!(
        server.events("verdict").pop().unwrap()["outcome"],
        "undecided"
    );
}

/// A registry that lists a signature and does not hand it out now is told as that: nothing was refused, and nothing is kept.
#[test]
fn a_signature_that_can_not_be_fetched_now_is_no_refusal() {
    let stage = Stage::new(Registry::ggcr().start());
    let good = stage.signed("app:v1", "good", "acme");
    let (host, path) = good.split_once('/').unwrap();
    let (_, port) = host.split_once(':').unwrap();
    let between = Between::new(port.parse().unwrap());
    let own = between.address().replace("http://127.0.0.1", "localhost");
    let image = format!("{own}/{path}");
    let server = stage.serve(&[]);
    let ask = || {
        let client = server.client();
        verdict(&client.post("/validate?timeout=30s", &review(&[&image])))
    };
    for status in [429, 503] {
        between.rule(move |seen: &Seen| match seen.what.contains("/blobs/") {
            true => Fate::Answer(status, Vec::new(), String::new()),
            false => Fate::Pass,
        });
        // What was not known a moment ago is asked for again soon.
        let begun = Instant::now();
        loop {
            let (allowed, told) = ask();
            assert!(!allowed);
            if told.contains(&status.to_string()) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "{told}");
            thread::sleep(Duration::from_millis(300));
        }
    }
    let lines = server.events("verdict");
    assert!(
        lines.iter().all(|line| line["outcome"] == "undecided"),
        "{lines:?}"
    );
    between.rule(|_| Fate::Pass);
    admitted_within(&server, &image, Duration::from_secs(60)).unwrap();
}

/// More silent connections than there are seats: whoever has a question is answered, since the longest idle one leaves.
#[test]
fn silent_connections_keep_nobody_out() {
    let stage = Stage::new(Registry::ggcr().start());
    let good = stage.signed("app:v1", "good", "acme");
    let server = stage.serve(&[]);
    let client = server.client();
    assert!(ask(&server, &good).0);
    // Some have asked something, and keep their connection; some send half of a body.
    let mut kept: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = client.open().unwrap();
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
            stream
        })
        .collect();
    let mut half = client.open().unwrap();
    half.write_all(
        b"POST /validate?timeout=30s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    )
    .unwrap();
    let connect = |_| TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let mut silent: Vec<TcpStream> = Vec::new();
    // Each has five seconds to begin its handshake: on a busy machine the first may be gone before the last is taken.
    let begun = Instant::now();
    while server.metric("connections_closed_total") == 0 {
        assert!(begun.elapsed() < Duration::from_secs(120));
        silent.clear();
        silent.extend((0..1200).map(connect));
        for _ in 0..5 {
            let (allowed, told) = ask(&server, &good);
            assert!(allowed, "{told}");
        }
    }
    assert!(server.metric("connections") <= 1000);
    // Those were the longest idle.
    let mut rest = Vec::new();
    drop(kept[0].read_to_end(&mut rest));
    drop((silent, kept, half));
}

/// HTTP/2 is not offered, so that a connection has one request at a time; who speaks it unasked is not served.
#[test]
fn http2_is_not_spoken() {
    let stage = Stage::new(Registry::ggcr().start());
    let good = stage.signed("app:v1", "good", "acme");
    let server = stage.serve(&[]);
    let mut stream = server.client().open().unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    assert!(ask(&server, &good).0);
}

/// Starts a server whose log nobody reads, asks it so often, and reads the log then: its lines.
fn log_read_late(stage: &Stage, body: &str, times: usize) -> Vec<String> {
    let port = free_port();
    let at = |name: &str| stage.bench.path().join(name).display().to_string();
    let mut child = stage
        .bench
        .command(
            &softhsm_tests::binaries().join("hardsign"),
            [
                "admission",
                "serve",
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--cert",
                &at(CERTIFICATE),
                "--key",
                &at(KEY),
                "--policy-dir",
                &at("policy"),
                "--drain",
                "1s",
            ],
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::sleep(Duration::from_millis(20));
    }
    let client = Client::new(port, &stage.bench.path().join(CERTIFICATE));
    for _ in 0..times {
        assert!(!verdict(&client.post("/validate?timeout=10s", body)).0);
    }
    let metrics = client.get("/metrics").body;
    let lost = metrics
        .lines()
        .find_map(|line| line.strip_prefix("hardsign_admission_log_lines_lost_total "));
    assert!(lost.unwrap().parse::<u64>().unwrap() > 1000, "{lost:?}");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = lines.find(|line| line.as_ref().unwrap().contains("\"log-lost\""));
    let told: Value = serde_json::from_str(&told.unwrap().unwrap()).unwrap();
    assert!(told["detail"].as_u64().unwrap() > 1000, "{told}");
    softhsm_tests::run(std::process::Command::new("kill").arg(child.id().to_string()));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest.last().unwrap().contains("\"ended\""), "{rest:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    rest
}

/// Nobody reads the log: answers are given all the same, what was lost is counted, and told once somebody reads. What waits is
/// bounded in lines and in bytes.
#[test]
fn a_log_that_nobody_reads_holds_up_nothing() {
    let stage = Stage::new(Registry::ggcr().start());
    // No references at all, so that no registry is asked: 400 lines a review.
    let images = |name: &str| -> String {
        let images: Vec<String> = (0..400).map(|at| format!("{name} {at}")).collect();
        review(&images.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let lines = log_read_late(&stage, &images("no reference"), 60);
    assert!(lines.len() <= 10_010, "{} lines waited", lines.len());
    // Control characters are six times as long in JSON.
    let lines = log_read_late(&stage, &images(&"\u{1}".repeat(900)), 20);
    let bytes: usize = lines.iter().map(String::len).sum();
    assert!(bytes < 10 << 20, "{bytes} bytes waited");
}
