//! Keys that a CA on a token certifies, renews and revokes, with `hardsign` alone; openssl and the real
//! `notation` are the judges.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests start SoftHSM's tools, openssl and a server for revocation lists"
)]

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use softhsm_tests::desk::{Desk, SUBJECT};
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::ports::free_port;
use softhsm_tests::scene::{Scene, Tool};

/// Serves a directory over HTTP; ends with the value.
struct Server(Child, u16);

impl Server {
    fn start(directory: &Path) -> Self {
        let port = free_port();
        let child = Command::new("python3")
            .args([
                "-m",
                "http.server",
                "--bind",
                "127.0.0.1",
                &port.to_string(),
            ])
            .current_dir(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..100 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            sleep(Duration::from_millis(100));
        }
        Self(child, port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A CA of two levels on two tokens: the chain verifies here, in notation and in openssl; what the
/// CA revokes fails here and in notation.
#[test]
fn a_ca_on_a_token_of_its_own() {
    let desk = Desk::new();
    desk.add_token("vault");
    let www = tempfile::tempdir().unwrap();
    let server = Server::start(www.path());
    let url = format!("http://127.0.0.1:{}/root.crl", server.1);
    desk.create("root", "vault", "EC-384");
    desk.create("release", "release", "EC-256");
    desk.create("second", "release", "RSA-2048");
    let ca = desk.json(&[
        "key",
        "certify",
        "root",
        "--subject",
        "C=US,ST=WA,O=Example,CN=Example CA",
        "--days",
        "100",
        "--ca",
        "--trust",
        "example",
    ]);
    assert!(
        ca["trusted"].as_str().unwrap().contains("/ca/example/"),
        "{ca}"
    );
    let leaf = desk.certify(
        "release",
        &["--issuer", "root", "--crl-url", &url, "--out", "chain.pem"],
    );
    let other = desk.certify("second", &["--issuer", "root", "--crl-url", &url]);
    assert_ne!(leaf["serialNumber"], other["serialNumber"]);
    // openssl: leaf against the root.
    let chain = fs::read_to_string(desk.path("chain.pem")).unwrap();
    let (first, rest) = chain.split_at(chain.find("-----END CERTIFICATE-----\n").unwrap() + 26);
    fs::write(desk.path("leaf.pem"), first).unwrap();
    fs::write(desk.path("root.pem"), rest).unwrap();
    let said = desk.openssl("verify -x509_strict -CAfile root.pem leaf.pem");
    assert!(said.contains("leaf.pem: OK"), "{said}");

    let publish = || {
        let made = desk.json(&["key", "crl", "root", "--out", "root.crl", "--force"]);
        fs::copy(desk.path("root.crl"), www.path().join("root.crl")).unwrap();
        made
    };
    let first = publish();
    assert_eq!(
        (first["number"].clone(), first["entries"].clone()),
        (json!(1), json!(0))
    );
    assert_eq!(first["urls"], json!([url]));
    let said = desk.openssl("crl -inform DER -in root.crl -CAfile root.pem -noout -crlnumber");
    assert!(said.contains("verify OK"), "{said}");

    let Desk {
        bench,
        token,
        digest,
    } = desk;
    let scene = Scene::with(&Registry::olareg(), bench);
    scene.policy_for("example");
    let artifact = scene.push("app:v1", "an application");
    scene.ok(Tool::Hardsign, ["sign", "--key", "release", &artifact]);
    let unaffected = scene.push("other:v1", "another application");
    scene.ok(Tool::Hardsign, ["sign", "--key", "second", &unaffected]);
    for tool in [Tool::Hardsign, Tool::Notation] {
        scene.ok(tool, ["verify", &artifact]);
    }

    let revoked = scene.bench.hardsign([
        "key",
        "crl",
        "root",
        "--revoke",
        leaf["serialNumber"].as_str().unwrap(),
        "--reason",
        "keyCompromise",
        "--out",
        "root.crl",
        "--force",
    ]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    assert!(revoked.stdout.contains("1 revoked"), "{revoked:?}");
    assert!(
        revoked.stdout.contains(&format!("Publish it at {url}")),
        "{revoked:?}"
    );
    fs::copy(
        scene.bench.path().join("root.crl"),
        www.path().join("root.crl"),
    )
    .unwrap();
    fs::remove_dir_all(scene.bench.path().join("cache")).unwrap_or(());
    for tool in [Tool::Hardsign, Tool::Notation] {
        let refused = scene.run(tool, ["verify", &artifact]);
        assert_eq!(refused.code, Some(1), "{tool:?}: {refused:?}");
        scene.ok(tool, ["verify", &unaffected]);
    }
    // Twice, unknown, and no number.
    let desk = Desk {
        bench: scene.bench,
        token,
        digest,
    };
    let serial = leaf["serialNumber"].as_str().unwrap();
    let said = desk.fails(&["key", "crl", "root", "--revoke", serial]);
    assert!(said.contains("is already revoked"), "{said}");
    let said = desk.fails(&["key", "crl", "root", "--revoke", "0123"]);
    assert!(
        said.contains("has issued no certificate") && said.contains(serial),
        "{said}"
    );
    let said = desk.fails(&["key", "crl", "root", "--revoke", "x"]);
    assert!(said.contains("is not a serial number"), "{said}");
    // A key that is no CA's issues nothing, and no list.
    let said = desk.fails(&["key", "crl", "second"]);
    assert!(said.contains("can't issue certificates"), "{said}");
    let said = desk.fails(&[
        "key",
        "certify",
        "second",
        "--subject",
        SUBJECT,
        "--days",
        "1",
        "--issuer",
        "release",
    ]);
    assert!(said.contains("can't issue certificates"), "{said}");
}

/// Three levels, and a request of somebody else; path lengths hold, and no certificate outlives its
/// issuer.
#[test]
fn path_lengths_and_requests_of_others() {
    let desk = Desk::new();
    for name in ["root", "middle", "leaf"] {
        desk.create(name, "release", "EC-256");
    }
    let ca = |name: &str, more: &[&str]| {
        let subject = format!("C=US,ST=WA,O=Example,CN={name}");
        let fixed = [
            "key",
            "certify",
            name,
            "--subject",
            &subject,
            "--days",
            "100",
            "--ca",
        ];
        desk.bench.hardsign([&fixed[..], more].concat())
    };
    assert_eq!(ca("root", &[]).code, Some(0));
    let refused = ca("middle", &["--issuer", "root"]);
    assert!(
        refused.stderr.contains("own path length is 0"),
        "{refused:?}"
    );
    assert_eq!(ca("root", &["--path-length", "1"]).code, Some(0));
    let second = ca("middle", &["--issuer", "root"]);
    assert_eq!(second.code, Some(0), "{second:?}");
    let ran = desk.bench.hardsign([
        "key",
        "certify",
        "leaf",
        "--subject",
        SUBJECT,
        "--days",
        "900",
        "--issuer",
        "middle",
        "--trust",
        "x",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("it expires with its issuer"), "{ran:?}");
    let chain = desk.ok(&["key", "export-cert", "leaf"]).stdout;
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 3);

    desk.openssl("req -new -newkey rsa:2048 -nodes -keyout o.key -out o.csr -subj /C=US/ST=WA/O=Example/CN=build");
    let made = desk.json(&[
        "key",
        "certify",
        "--request",
        "o.csr",
        "--days",
        "5",
        "--issuer",
        "middle",
        "--out",
        "o.pem",
    ]);
    assert_eq!(made["subject"], "CN=build,O=Example,ST=WA,C=US");
    assert_eq!(made["onDevice"], Value::Null);
    let said =
        desk.openssl("x509 -in o.pem -noout -ext basicConstraints,keyUsage,extendedKeyUsage");
    assert!(
        said.contains("Digital Signature") && said.contains("Code Signing"),
        "{said}"
    );
    let mut bad = fs::read_to_string(desk.path("o.csr")).unwrap();
    bad = bad.replace("REQUEST", "THING");
    fs::write(desk.path("bad.csr"), bad).unwrap();
    let said = desk.fails(&[
        "key",
        "certify",
        "--request",
        "bad.csr",
        "--days",
        "5",
        "--issuer",
        "middle",
    ]);
    assert!(said.contains("bad.csr"), "{said}");
}

/// A renewed certificate for the same key: old signatures verify, new ones have the new one.
#[test]
fn renewed_before_it_ends() {
    let desk = Desk::new();
    desk.create("release", "release", "EC-384");
    let first = desk.certify("release", &["--trust", "tests"]);
    desk.trusting("tests");
    let reference = desk.bench.reference(&desk.digest);
    desk.ok(&["sign", "--oci-layout", &reference, "--key", "release"]);
    sleep(Duration::from_millis(1100));
    let renewed = desk.ok(&[
        "key", "renew", "release", "--days", "60", "--trust", "tests",
    ]);
    assert!(
        renewed
            .stdout
            .contains("with the earlier certificate still verify"),
        "{renewed:?}"
    );
    let shown = desk.json(&["key", "show", "release"]);
    let serial = &shown["certificates"][0]["serialNumber"];
    assert_ne!(*serial, first["serialNumber"]);
    desk.ok(&[
        "verify",
        "--oci-layout",
        "--scope",
        "local/test",
        &reference,
    ]);
    desk.ok(&["sign", "--oci-layout", &reference, "--key", "release"]);
    desk.ok(&[
        "verify",
        "--oci-layout",
        "--scope",
        "local/test",
        &reference,
    ]);
    let request = desk.ok(&["key", "renew", "release", "--csr"]).stdout;
    assert!(
        request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"),
        "{request}"
    );
}

/// Renewals within one second: the newest signs, whatever the order in which the token lists them. So
/// does a key that is certified again.
#[test]
fn renewed_within_a_second() {
    let desk = Desk::new();
    desk.create("release", "release", "EC-256");
    desk.certify("release", &["--trust", "tests"]);
    desk.trusting("tests");
    for number in 0..4 {
        let made = match number {
            3 => desk.certify("release", &["--trust", "tests"]),
            _ => desk.json(&[
                "key", "renew", "release", "--days", "60", "--trust", "tests",
            ]),
        };
        let serial = made["serialNumber"].as_str().unwrap();
        let shown = desk.json(&["key", "show", "release"]);
        assert_eq!(shown["certificates"][0]["serialNumber"], serial, "{number}");
        let reference = desk
            .bench
            .reference(&desk.bench.layout.add(&format!("r{number}"), "artifact"));
        let ran = desk.ok(&["sign", "--oci-layout", &reference, "--key", "release"]);
        let taken = ran.stderr.lines().find(|line| line.contains("taken is"));
        assert!(taken.is_some_and(|line| line.contains(serial)), "{ran:?}");
    }
}

/// `--new-key`: another key beside the old one, under names of their own, certified on the same terms;
/// the old key and its signatures stay what they are.
#[test]
fn renewed_with_a_new_key() {
    let desk = Desk::new();
    desk.add_token("vault");
    desk.create("root", "vault", "EC-384");
    let subject = "C=US,ST=WA,O=Example,CN=Example CA";
    desk.ok(&[
        "key",
        "certify",
        "root",
        "--subject",
        subject,
        "--days",
        "100",
        "--ca",
        "--trust",
        "example",
    ]);
    desk.create("release", "release", "EC-256");
    let old = desk.certify("release", &["--issuer", "root"]);
    desk.trusting("example");
    let reference = desk.bench.reference(&desk.digest);
    desk.ok(&["sign", "--oci-layout", &reference, "--key", "release"]);
    let verify = [
        "verify",
        "--oci-layout",
        "--scope",
        "local/test",
        &reference,
    ];

    // Whatever keeps it from being certified is found before there is a key.
    let said = desk.fails(&["key", "renew", "release", "--new-key", "--days", "30"]);
    assert!(
        said.contains("was issued by") && said.contains("--issuer"),
        "{said}"
    );
    let listed = |token: &str| {
        let place = desk.id(token, "").replace(";object=", "");
        desk.json(&["key", "list", "--plugin", "pkcs11", "--id", &place])["keys"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(listed("release"), 1);

    let renew = [
        "key",
        "renew",
        "release",
        "--new-key",
        "--days",
        "60",
        "--issuer",
        "root",
    ];
    let ran = desk.ok(&renew);
    for part in [
        "Made a new key release-2 beside release",
        "release is unchanged, and its signatures still verify.",
        "Sign with --key release-2 from now on.",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {ran:?}");
    }
    assert_eq!(listed("release"), 2);
    let [first, second] = ["release", "release-2"].map(|name| desk.json(&["key", "show", name]));
    assert_eq!(
        first["certificates"][0]["serialNumber"],
        old["serialNumber"]
    );
    assert_eq!(second["keySpec"], "EC-256");
    assert_eq!(
        second["certificates"][0]["subject"],
        first["certificates"][0]["subject"]
    );
    let keys = ["release", "release-2"].map(|name| {
        let pem = desk.ok(&["key", "export-cert", name]).stdout;
        fs::write(desk.path("leaf.pem"), pem).unwrap();
        desk.openssl("x509 -in leaf.pem -noout -pubkey")
    });
    assert_ne!(keys[0], keys[1]);
    for name in ["release-2", "release"] {
        desk.ok(&["sign", "--oci-layout", &reference, "--key", name]);
        desk.ok(&verify);
    }

    // Again, with a name and a type, as the default; and a request for an outside CA.
    let more = ["--as", "next", "--type", "RSA-2048", "--default", "--yes"];
    let made = desk.json(&[&renew[..], &more].concat());
    assert_eq!(made["name"], "next");
    assert_eq!(desk.json(&["key", "show", "next"])["keySpec"], "RSA-2048");
    let said = desk.fails(&[&renew[..], &["--as", "next"]].concat());
    assert!(said.contains("already exists"), "{said}");
    let request = [
        "key",
        "renew",
        "next",
        "--new-key",
        "--csr",
        "--out",
        "next.csr",
    ];
    let ran = desk.ok(&request);
    assert!(
        ran.stdout
            .contains("Sign with next until next-2 has its certificate"),
        "{ran:?}"
    );
    let said = desk.openssl("req -in next.csr -verify -noout -subject");
    assert!(
        said.contains("verify OK") && said.contains("CN = release"),
        "{said}"
    );
    let shown = desk.ok(&["key", "show", "next-2"]).stdout;
    assert!(shown.contains("Certificates: none yet"), "{shown}");
    let ran = desk
        .bench
        .hardsign(["key", "renew", "next", "--csr", "--type", "EC-256"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("--type needs --new-key"), "{ran:?}");
}
