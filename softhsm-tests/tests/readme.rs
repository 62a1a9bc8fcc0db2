//! The lines of the README about a token, run as an ordinary user who has a token and nothing else. The other
//! lines are run by `pages.rs`.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]
#![allow(clippy::disallowed_methods, reason = "a test starts a shell")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use softhsm_tests::peers;
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::{binaries, run};

/// The commands of the first block below a heading, as a script.
fn block(heading: &str) -> String {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let text = fs::read_to_string(readme).unwrap();
    let (_, below) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, block) = below.split_once("\n```console\n").unwrap();
    let (block, _) = block.split_once("\n```\n").unwrap();
    let lines = block
        .lines()
        .map(|line| line.strip_prefix("$ ").unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// From an empty token to a signature that `notation` verifies: one `softhsm2-util`, then hardsign
/// alone, without `SOFTHSM2_CONF`, as a user who is not root.
#[test]
fn from_an_empty_token_to_a_trusted_signature() {
    let registry = Registry::olareg().start();
    let image = registry.push("app:v1", b"an application");
    let home = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap();
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for program in ["hardsign", "notation-pkcs11"] {
        fs::copy(binaries().join(program), bin.join(program)).unwrap();
    }
    fs::copy(peers::program("notation"), bin.join("notation")).unwrap();
    let script = format!(
        "set -eu\ncd\n{}\n\
         # Version 1.3.2 reads its policy under the old name alone.\n\
         cd .config/notation\ncp trustpolicy.oci.json trustpolicy.json\nnotation verify $IMAGE\n",
        block("With a token: SoftHSM")
    );
    assert!(!script.contains("SOFTHSM2_CONF"), "{script}");
    fs::write(home.path().join("script.sh"), &script).unwrap();
    // Whoever runs the tests may be root; the user of the README is not.
    let root = run(Command::new("id").arg("-u")).stdout == b"0\n";
    let mut shell = match root {
        true => {
            run(Command::new("chown").arg("nobody").arg(home.path()));
            let mut setpriv = Command::new("setpriv");
            setpriv.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "sh"]);
            setpriv
        }
        false => Command::new("sh"),
    };
    shell
        .arg(home.path().join("script.sh"))
        .env_clear()
        .env("HOME", home.path())
        .env("IMAGE", &image)
        .env(
            "PATH",
            format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()),
        )
        .current_dir(Path::new("/"));
    let output = run(&mut shell);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        said.matches("Successfully verified signature").count(),
        2,
        "{said}"
    );
    assert!(said.contains("Made EC-384 key release"), "{said}");
}
