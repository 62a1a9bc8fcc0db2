//! `promote`: verified, copied with all that is attached, signed, tagged. Broken off at each step, it leaves
//! nothing that looks finished, and the same command again ends it.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hardsign_plugin::algorithm::KeySpec;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use softhsm_tests::between::{Between, Fate, Seen};
use softhsm_tests::binaries;
use softhsm_tests::keys;
use softhsm_tests::peers::Oras;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::scene::Scene;
use softhsm_tests::token::Token;
use softhsm_tests::workbench::{Ran, Workbench};

const SBOM: &str = "application/spdx+json";

/// A vendor's registry with a signed artifact that has a signed SBOM, which the policy trusts; and a
/// token with the user's own key.
struct Vendor {
    scene: Scene,
    token: Token,
    reference: String,
}

impl Vendor {
    fn new() -> Self {
        let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "signing", "01");
        let scene = Scene::with(&Registry::olareg(), Workbench::with_token(&token));
        let bench = &scene.bench;
        bench.hardsign_ok(["cert", "generate-test", "vendor"]);
        scene.policy_for("vendor");
        let reference = scene.push("vendor/app:v1", "an application");
        bench.hardsign_ok(["sign", "--key", "vendor", &reference]);
        fs::write(bench.path().join("sbom.json"), "{}").unwrap();
        bench.hardsign_ok([
            "attach",
            "--key",
            "vendor",
            "--type",
            SBOM,
            "sbom.json",
            &reference,
        ]);
        Self {
            scene,
            token,
            reference,
        }
    }

    fn digest(&self) -> &str {
        self.reference.split_once('@').unwrap().1
    }

    /// Promotes to a repository with the key of the token.
    fn promote(&self, to: &str, pin: &str, more: &[&str]) -> Ran {
        let file = self.token.file("typed");
        fs::write(&file, pin).unwrap();
        let id = self.token.uri_with_pin_file("signing", &file);
        let by_tag = self
            .reference
            .replace(&format!("@{}", self.digest()), ":v1");
        let mut words = vec!["promote", "-o", "json", "--plugin", "pkcs11", "--id", &id];
        words.extend(["--with-attached", SBOM, "--same-signer"]);
        words.extend(more);
        words.extend([by_tag.as_str(), to]);
        self.scene.bench.hardsign(words)
    }
}

fn json_of(ran: &Ran) -> Value {
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The PIN of the token's user.
fn pin(token: &Token) -> String {
    fs::read_to_string(token.file("pin")).unwrap()
}

/// What is attached to an artifact: how many signatures, how many others.
fn attached(oras: &Oras, registry: &Registry, reference: &str) -> (usize, usize) {
    let mut command = oras.command(["discover", "--format", "json"]);
    command.args(registry.oras_flags()).arg(reference);
    let found = softhsm_tests::peers::succeed(&mut command);
    let found: Value = serde_json::from_str(&found).unwrap();
    let all = found["manifests"].as_array().unwrap();
    let signatures = all
        .iter()
        .filter(|f| f["artifactType"] == "application/vnd.cncf.notary.signature")
        .count();
    (signatures, all.len() - signatures)
}

fn refuses(of: &'static str) -> impl Fn(&Seen) -> bool + Send + 'static {
    move |seen: &Seen| {
        let body = String::from_utf8_lossy(&seen.body).into_owned();
        let manifest = seen.what.starts_with("PUT ") && seen.what.contains("/manifests/");
        match of {
            "blobs" => seen.what.starts_with("POST "),
            "attached" => manifest && body.contains(SBOM),
            "tag" => manifest && seen.what.ends_with("/manifests/v1"),
            _ => unreachable!(),
        }
    }
}

/// REQ-04 to REQ-06: broken off at each step, and run again to the end.
#[test]
fn a_promotion_is_taken_up_where_it_was_broken_off() {
    let (vendor, target, oras) = (Vendor::new(), Registry::docker().start(), Oras::new());
    let between = Between::new(port_of(&target));
    let host = between.address().replace("http://127.0.0.1", "localhost");
    let to = format!("{host}/own/app");
    let there = target.reference(&format!("own/app@{}", vendor.digest()));
    let pin = pin(&vendor.token);
    let sent = || -> Vec<String> {
        let seen = between.seen().into_iter().map(|seen| seen.what);
        seen.filter(|what| what.starts_with("PUT ") || what.starts_with("POST "))
            .collect()
    };
    let fails = |ran: &Ran, told: &str| {
        assert_ne!(ran.code, Some(0), "{}", ran.stdout);
        assert_eq!(ran.stdout, "");
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    };
    // The verification is refused: the key is not even opened.
    let policy = vendor.scene.config_file("trustpolicy.json");
    let strange = vendor.scene.bench.path().join("strange.json");
    fs::write(&strange, policy.replace("ca:vendor", "ca:nobody")).unwrap();
    let strange = strange.display().to_string();
    fails(
        &vendor.promote(&to, "wrong", &["--policy", &strange]),
        "nobody",
    );
    let demand = ["--with-attached", "application/sarif+json"];
    fails(&vendor.promote(&to, "wrong", &demand), "nothing was copied");
    // The signer refuses.
    fails(&vendor.promote(&to, "99999999", &[]), "PIN");
    assert_eq!(sent(), Vec::<String>::new());
    // The copy fails at its first content, and at what is attached; the signature; the tag.
    let own = keys_thumbprint(&vendor);
    for (step, told) in [
        ("blobs", "the copy is not complete"),
        ("attached", "the copy is not complete"),
        (
            "own",
            "the copy is complete, but neither signed by you nor tagged",
        ),
        ("tag", "the copy is complete and signed, but not tagged"),
    ] {
        let own = own.clone();
        between.rule(move |seen| {
            let refused = match step {
                "own" => {
                    let body = String::from_utf8_lossy(&seen.body);
                    seen.what.starts_with("PUT ")
                        && seen.what.contains("/manifests/")
                        && body.contains("notary.signature")
                        && body.contains(&own)
                        && body.contains("\"subject\"")
                }
                step => refuses(step)(seen),
            };
            match refused {
                true => {
                    let kind = ("content-type", "application/json".to_owned());
                    Fate::Answer(403, vec![kind], r#"{"errors":[{"code":"DENIED"}]}"#.into())
                }
                false => Fate::Pass,
            }
        });
        fails(&vendor.promote(&to, &pin, &[]), told);
        // Nobody who goes by the tag finds anything yet.
        let tagged = oras
            .command(["manifest", "fetch", &target.reference("own/app:v1")])
            .output()
            .unwrap();
        assert!(!tagged.status.success(), "{step}");
    }
    between.rule(|_| Fate::Pass);
    let done = json_of(&vendor.promote(&to, &pin, &[]));
    // What the last one stored is there: it only lacked the tag.
    assert_eq!(done["alreadySigned"], true);
    assert_eq!(
        done["sent"],
        json!({"manifests": 0, "blobs": 0, "bytes": 0})
    );
    assert_eq!(attached(&oras, &target, &there), (2, 1));
    let again = json_of(&vendor.promote(&to, &pin, &[]));
    assert_eq!(again["alreadySigned"], true);
    assert_eq!(again["signature"], done["signature"]);
    assert_eq!(
        again["sent"],
        json!({"manifests": 0, "blobs": 0, "bytes": 0})
    );
    assert_eq!(attached(&oras, &target, &there), (2, 1));
    let tagged = oras.run([
        "manifest",
        "fetch",
        "--descriptor",
        &target.reference("own/app:v1"),
    ]);
    assert!(tagged.contains(vendor.digest()), "{tagged}");
    // Both signers' signatures hold at the new place, for the reference as well.
    vendor.scene.both_verify(&there);
    let root = keys::root();
    vendor.scene.bench.trust_store("own", &root);
    vendor.scene.policy_for("own");
    vendor.scene.both_verify(&there);
    // The same key in another format is another signature.
    vendor.scene.policy_for("vendor");
    let cose = ["--signature-format", "cose"];
    let cose = json_of(&vendor.promote(&to, &pin, &cose));
    assert_eq!(cose["alreadySigned"], false);
    assert_eq!(attached(&oras, &target, &there), (3, 1));
}

/// Promotes, and ends the command with `signal` while its request number `number` through `between` has no
/// answer. Whether it was cut off, as it is not where it can do without the answer; `None` where there was no such
/// request, so that the promotion is done.
fn cut_off(mut command: Command, between: &Between, number: usize, signal: Signal) -> Option<bool> {
    let (count, (tell, told)) = (AtomicUsize::new(0), mpsc::channel());
    between.rule(
        move |_| match count.fetch_add(1, Ordering::SeqCst) + 1 == number {
            true => {
                tell.send(()).ok();
                Fate::Silence
            }
            false => Fate::Pass,
        },
    );
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    let ended = loop {
        if told.recv_timeout(Duration::from_millis(10)).is_ok() {
            break None;
        }
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        assert!(
            start.elapsed() < PATIENCE,
            "request {number}: neither held nor done"
        );
    };
    if let Some(status) = ended {
        assert_eq!(status.code(), Some(0), "request {number}");
        return None;
    }
    kill_process(Pid::from_child(&child), signal).unwrap();
    let status = child.wait().unwrap();
    match signal {
        Signal::KILL => assert_eq!(status.code(), None, "request {number}"),
        _ => assert!(
            matches!(status.code(), Some(0 | 1)),
            "request {number}: {status}"
        ),
    }
    Some(!status.success())
}

/// REQ-04 to REQ-06: interrupted and killed by turns at each request to the destination, it leaves nothing at the tag,
/// and the same command ends it.
#[test]
fn a_promotion_that_is_interrupted_is_run_again() {
    let (vendor, target, oras) = (Vendor::new(), Registry::olareg().start(), Oras::new());
    let bench = &vendor.scene.bench;
    bench.hardsign_ok(["cert", "generate-test", "own"]);
    let between = Between::new(port_of(&target));
    let host = between.address().replace("http://127.0.0.1", "localhost");
    let by_tag = vendor
        .reference
        .replace(&format!("@{}", vendor.digest()), ":v1");
    for number in 1.. {
        let signal = by_turns(number);
        let name = format!("own/app-{number}");
        let to = format!("{host}/{name}");
        let words = ["promote", "-o", "json", "--key", "own", &by_tag, &to];
        let command = bench.command(&binaries().join("hardsign"), words);
        let Some(is_cut) = cut_off(command, &between, number, signal) else {
            // Login, copy, signature and tag.
            assert!(number > 10, "{number} requests");
            break;
        };
        let tag = target.reference(&format!("{name}:v1"));
        let fetched = oras.command(["manifest", "fetch", &tag]).output().unwrap();
        assert_eq!(
            fetched.status.success(),
            !is_cut,
            "request {number}: the tag"
        );
        between.rule(|_| Fate::Pass);
        json_of(&bench.hardsign(words));
        let there = target.reference(&format!("{name}@{}", vendor.digest()));
        assert_eq!(attached(&oras, &target, &there), (2, 1), "request {number}");
        let tagged = oras.run(["manifest", "fetch", "--descriptor", &tag]);
        assert!(tagged.contains(vendor.digest()), "{tagged}");
    }
}

/// REQ-06, REQ-07: the same into a layout, at each request to the source.
#[test]
fn a_promotion_into_a_layout_that_is_interrupted_is_run_again() {
    let vendor = Vendor::new();
    let bench = &vendor.scene.bench;
    bench.hardsign_ok(["cert", "generate-test", "own"]);
    let between = Between::new(port_of(&vendor.scene.registry));
    let host = between.address().replace("http://127.0.0.1", "localhost");
    let from = format!("{host}/vendor/app:v1");
    for number in 1.. {
        let signal = by_turns(number);
        let layout = bench.path().join(format!("taken-{number}"));
        let to = layout.display().to_string();
        let there = format!("{to}@{}", vendor.digest());
        let words = ["promote", "-o", "json", "--key", "own"];
        let words = [&words[..], &["--to-oci-layout", &from, &to]].concat();
        let command = bench.command(&binaries().join("hardsign"), &words);
        let Some(is_cut) = cut_off(command, &between, number, signal) else {
            assert!(number > 5, "{number} requests");
            break;
        };
        let index = fs::read_to_string(layout.join("index.json")).unwrap_or_default();
        assert_eq!(
            index.contains("ref.name"),
            !is_cut,
            "request {number}: {index}"
        );
        between.rule(|_| Fate::Pass);
        json_of(&bench.hardsign(&words));
        let index = fs::read_to_string(layout.join("index.json")).unwrap();
        assert!(index.contains(r#""v1""#), "request {number}: {index}");
        vendor.scene.policy_for("own");
        let scope = ["--oci-layout", "--scope", "own.example/app"];
        let verify = ["verify", "--max-signatures", "3", &there];
        bench.hardsign_ok(verify.iter().chain(&scope));
        vendor.scene.policy_for("vendor");
        let list = ["list", "--oci-layout", "-o", "json", &there];
        let listed = json_of(&bench.hardsign(list));
        assert_eq!(listed["signatures"].as_array().unwrap().len(), 2);
    }
}

/// Ctrl-C, which is waited on for three seconds, at one of four requests, SIGKILL at those between.
fn by_turns(number: usize) -> Signal {
    match number % 4 {
        1 => Signal::INT,
        _ => Signal::KILL,
    }
}

fn port_of(registry: &Registry) -> u16 {
    registry.host().rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Longer than anything here takes, on a machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_secs(120);

/// SHA-256 of the certificate of the user's own key, as a signature's manifest has it.
fn keys_thumbprint(vendor: &Vendor) -> String {
    let der = fs::read(&keys::key(KeySpec::Ec256).leaf).unwrap();
    let mut command = vendor.token.tool("sha256sum");
    let file = vendor.token.file("leaf.der");
    fs::write(&file, der).unwrap();
    let output = softhsm_tests::run(command.arg(&file));
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

/// REG-05: two registries, each with a password of its own, which the other never gets.
#[test]
fn two_registries_with_credentials_of_their_own() {
    let (source, target) = (
        Registry::docker().tls().basic_auth().start(),
        Registry::ggcr().token_auth().start(),
    );
    let reference = source.push("vendor/app:v1", b"content");
    let digest = reference.split_once('@').unwrap().1;
    let scene = Scene::new(&Registry::olareg());
    let bench = &scene.bench;
    for name in ["vendor", "own"] {
        bench.hardsign_ok(["cert", "generate-test", name]);
    }
    scene.policy_for("vendor");
    let ca = source.ca_file().unwrap().display().to_string();
    let (user, password) = source.credentials().unwrap();
    let login = ["-u", user, "-p", password, "--ca-file", &ca];
    let sign = ["sign", "--key", "vendor", &reference];
    bench.hardsign_ok(sign.iter().chain(&login));
    let by_tag = reference.replace(&format!("@{digest}"), ":v1");
    let to = target.reference("own/app");
    let promote = [
        "promote",
        "--key",
        "own",
        "-o",
        "json",
        "--ca-file",
        &ca,
        &by_tag,
        &to,
    ];
    // One password for two registries, and none.
    let both = bench.hardsign(promote.iter().chain(&["-u", user, "-p", password]));
    assert_eq!(both.code, Some(2), "{}", both.stderr);
    assert_eq!(bench.hardsign(promote).code, Some(3));
    let from = ["--from-username", user, "--from-password", password];
    assert_eq!(bench.hardsign(promote.iter().chain(&from)).code, Some(3));
    let (user, password) = target.credentials().unwrap();
    let to_flags = ["--to-username", user, "--to-password", password];
    let flags = || from.iter().chain(&to_flags);
    let done = json_of(&bench.hardsign(promote.iter().chain(flags())));
    assert_eq!(done["alreadySigned"], false);
    assert_eq!(done["tag"], "v1");
    assert_eq!(
        done["verified"]["signatures"][0]["signer"]["subject"],
        "CN=vendor,O=Notary,L=Seattle,ST=WA,C=US"
    );
    scene.policy_for("own");
    let there = format!("{to}@{digest}");
    bench.hardsign_ok(["verify", "-u", user, "-p", password, &there]);
}

/// REQ-06, REQ-07: out of a layout under the statement for a scope, and into one that is made; a
/// verification that fails makes none.
#[test]
fn layouts_on_either_side() {
    let mut bench = Workbench::new();
    bench.set("NOTATION_EXPERIMENTAL", "1");
    for name in ["vendor", "own"] {
        bench.hardsign_ok(["cert", "generate-test", name]);
    }
    let statement = |store: &str| {
        json!({
            "name": "vendor",
            "registryScopes": ["vendor.example.com/app"],
            "signatureVerification": {"level": "strict"},
            "trustStores": [format!("ca:{store}")],
            "trustedIdentities": ["*"],
        })
    };
    bench.policy(&statement("vendor"));
    let digest = bench.layout.add("v1", "content");
    let from = bench.reference(&digest);
    let to = bench.path().join("taken");
    let to_text = to.display().to_string();
    let promote = [
        "promote",
        "-o",
        "json",
        "--key",
        "own",
        "--from-oci-layout",
        "--to-oci-layout",
        "--scope",
        "vendor.example.com/app",
        &from,
        &to_text,
    ];
    let refused = bench.hardsign(promote);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(!to.exists());
    bench.hardsign_ok(["sign", "--oci-layout", "--key", "vendor", &from]);
    let mut wrong = promote.to_vec();
    wrong[4] = "nosuch";
    assert_eq!(bench.hardsign(&wrong).code, Some(1));
    assert!(!to.exists());
    let done = json_of(&bench.hardsign(promote));
    assert_eq!(
        (&done["alreadySigned"], &done["tag"]),
        (&json!(false), &json!(null))
    );
    let again = json_of(&bench.hardsign(promote));
    assert_eq!(again["alreadySigned"], true);
    assert_eq!(again["signature"], done["signature"]);
    let there = format!("{to_text}@{digest}");
    for store in ["vendor", "own"] {
        bench.policy(&statement(store));
        bench.hardsign_ok([
            "verify",
            "--oci-layout",
            "--scope",
            "vendor.example.com/app",
            &there,
        ]);
    }
    // One's own signature that is at the source already comes with the copy.
    bench.policy(&statement("vendor"));
    let onward = bench.path().join("onward").display().to_string();
    let mut further = promote.to_vec();
    further[9] = &there;
    further[10] = &onward;
    let done = json_of(&bench.hardsign(&further));
    assert_eq!(done["alreadySigned"], true);
    let listed = bench.hardsign_ok([
        "list",
        "--oci-layout",
        "-o",
        "json",
        &format!("{onward}@{digest}"),
    ]);
    assert_eq!(json_of(&listed)["signatures"].as_array().unwrap().len(), 2);
}
