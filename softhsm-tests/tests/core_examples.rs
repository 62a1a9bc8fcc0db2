//! The examples of `hardsign-core`, run as their users would: against files, a registry, and the command that they must agree with.
//! They are built by `cargo build --workspace --examples`, as `scripts/test` does.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::workbench::{Ran, Workbench};
use softhsm_tests::{binaries, run};

/// An example, in the environment of a user.
fn example(bench: &Workbench, name: &str, arguments: &[&str]) -> Ran {
    let program = binaries().join("examples").join(name);
    bench.run(bench.command(&program, arguments).current_dir(bench.path()))
}

/// A P-256 key and its certificate: `key.pk8`, `chain.pem`.
fn key(home: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        run(command.current_dir(home).args(arguments.split(' ')));
    };
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /C=US/ST=WA/O=Example/CN=own \
         -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
         -addext extendedKeyUsage=codeSigning -keyout key.pem -out chain.pem",
    );
    openssl("pkcs8 -topk8 -nocrypt -outform DER -in key.pem -out key.pk8");
}

#[test]
fn own_signer_and_verify_bytes() {
    let bench = Workbench::new();
    key(bench.path());
    fs::write(bench.path().join("hello.txt"), "hello").unwrap();
    let arguments = ["key.pk8", "chain.pem", "hello.txt"];
    let signed = example(&bench, "own_signer", &arguments);
    assert_eq!(
        (signed.code, signed.stdout.as_str(), signed.stderr.as_str()),
        (Some(0), "signature written to hello.txt.jws.sig\n", "")
    );

    let arguments = ["hello.txt", "hello.txt.jws.sig", "chain.pem"];
    let verified = example(&bench, "verify_bytes", &arguments);
    assert_eq!(
        (verified.code, verified.stdout.as_str()),
        (Some(0), "signed by CN=own,O=Example,ST=WA,C=US\n"),
        "{}",
        verified.stderr
    );

    // The command accepts the signature too.
    bench.trust_store("own", &bench.path().join("chain.pem"));
    let policy = json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": "own",
            "globalPolicy": true,
            "signatureVerification": {"level": "strict", "override": {"revocation": "skip"}},
            "trustStores": ["ca:own"],
            "trustedIdentities": ["*"],
        }],
    });
    fs::write(
        bench.config().join("trustpolicy.blob.json"),
        policy.to_string(),
    )
    .unwrap();
    let path = |name: &str| bench.path().join(name).display().to_string();
    bench.hardsign_ok([
        "blob",
        "verify",
        "--signature",
        &path("hello.txt.jws.sig"),
        &path("hello.txt"),
    ]);

    fs::write(bench.path().join("hello.txt"), "hullo").unwrap();
    let changed = example(&bench, "verify_bytes", &arguments);
    let refusal = "integrity check failed. signature does not match the given blob\n";
    assert_eq!(
        (
            changed.code,
            changed.stdout.as_str(),
            changed.stderr.as_str()
        ),
        (Some(1), "", refusal)
    );

    for (name, arguments) in [
        ("verify_bytes", &["hello.txt"][..]),
        ("own_signer", &[]),
        ("verify_image", &[]),
    ] {
        let wrong = example(&bench, name, arguments);
        assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(1), ""));
        assert!(wrong.stderr.starts_with("usage: "), "{}", wrong.stderr);
    }
}

#[test]
fn verify_image_says_what_hardsign_verify_says() {
    let bench = Workbench::new();
    let registry = Registry::olareg().start();
    let image = registry.push("app:v1", b"an application");
    let (repository, _) = image.split_once('@').unwrap();
    bench.hardsign_ok(["certificate", "generate-test", "--default", "example"]);
    bench.policy(&json!({
        "name": "images",
        "registryScopes": [repository],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:example"],
        "trustedIdentities": ["*"],
    }));

    let unsigned = example(&bench, "verify_image", &[&image]);
    assert_eq!((unsigned.code, unsigned.stdout.as_str()), (Some(1), ""));
    assert!(unsigned.stderr.contains(&image), "{}", unsigned.stderr);

    bench.hardsign_ok(["sign", &image]);
    let verified = example(&bench, "verify_image", &[&image]);
    let signer = "signed by CN=example,O=Notary,L=Seattle,ST=WA,C=US";
    assert_eq!(
        (verified.code, verified.stdout),
        (Some(0), format!("{signer}\n{image}\n")),
        "{}",
        verified.stderr
    );
    bench.hardsign_ok(["verify", &image]);

    bench.policy(&json!({
        "name": "images",
        "registryScopes": [repository],
        "signatureVerification": {"level": "skip"},
    }));
    let skipped = example(&bench, "verify_image", &[&image]);
    let said = format!("not verified: the policy says to skip {repository}\n");
    assert_eq!((skipped.code, skipped.stdout), (Some(1), said));
}
