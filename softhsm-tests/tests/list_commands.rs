//! `key` and `certificate`: the same command line under `hardsign` and under the real `notation`
//! 1.3.2 gives the same output, error and outcome. Where the requirements follow notation 2 or
//! differ for another reason, the expected text stands here in full.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::path::Path;
use std::thread;

use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::pair::{Pair, failed, with_input};
use softhsm_tests::workbench::Workbench;
use softhsm_tests::{binaries, keys, run};

/// CLI-05 to CLI-08, CLI-12, CLI-15, CLI-64 to CLI-68, DIF-38, CFG-17, CFG-18: good and bad calls in a row.
#[test]
fn key_commands_answer_as_notation() {
    let pair = Pair::new();
    pair.all_alike(
        "key list
        key ls
        key add
        key add a b
        key add hw
        key add --plugin framework hw
        key add --id k1 hw
        key add --plugin '' --id k hw
        key add --plugin framework --id '' hw
        key add --plugin nosuch --id k1 hw
        key add --plugin framework --id k1 --plugin-config dir=/x --plugin-config a=b=c hw
        key add --plugin framework --id k1 hw
        key add --plugin framework --id k1 ''
        key add --plugin framework --id k2 --plugin-config bad hw2
        key add --plugin framework --id k2 --plugin-config =x hw2
        key add --plugin framework --id k2 --plugin-config d= hw2
        key add --plugin framework --id k2 --plugin-config a=1 --plugin-config a=2 hw2
        key add --plugin framework --id k3 --default hw3
        key add --plugin=framework --id=k3 --default=false hw4
        key add --plugin framework --id k3 --default=maybe hw5
        key add --plugin framework --id
        key add --nosuch
        key add -x
        key list
        key list --nosuch
        key update
        key update --default nosuch
        key update --default ''
        key update --default hw
        key set --default hw2
        key list
        key delete
        key delete nosuch
        key delete hw nosuch
        key delete hw hw
        key list
        key delete hw3 hw2
        key delete hw
        key list
        key delete hw4
        key list",
    );
    // CLI-66: an update of nothing is told, whatever the key.
    for name in ["hw", "nosuch"] {
        let ran = pair.hardsign.hardsign(["key", "update", name]);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    }
    let lists = [&pair.hardsign, &pair.notation]
        .map(|bench| fs::read_to_string(bench.config().join("signingkeys.json")).unwrap());
    assert_eq!(lists[0], lists[1]);
}

/// CFG-11, CFG-14, CFG-17: what is wrong with a key list is told in the same words.
#[test]
fn malformed_key_lists_are_refused_as_notation_does() {
    let pair = Pair::new();
    let key = |name: &str| json!({"name": name, "id": "k", "pluginName": "framework"});
    for list in [
        json!({"keys": [key("")]}),
        json!({"keys": [key("a"), key("a")]}),
        json!({"default": "", "keys": [key("a")]}),
        json!({"default": "b", "keys": [key("a")]}),
        json!({"default": "a"}),
        json!({}),
        json!({"keys": null}),
        json!({"default": "a", "keys": [key("a")]}),
    ] {
        pair.file("config/signingkeys.json", list.to_string().as_bytes());
        pair.all_alike("key list\nkey delete nosuch");
    }
    // CFG-14, told when the key is used.
    pair.file(
        "config/signingkeys.json",
        br#"{"default": "a", "keys": [{"name": "a"}]}"#,
    );
    pair.all_alike("key list");
    // 1.3.2 was released with a gap where notation 2 has the address.
    pair.alike("sign localhost:1/demo:v1", "", |text| {
        text.replace(
            "[DOC_PLACEHOLDER]",
            "https://notaryproject.dev/docs/user-guides/how-to/notation-config-file/",
        )
    });
    pair.file("config/signingkeys.json", b"{}");
    pair.all_alike("sign localhost:1/demo:v1\nsign --key nosuch localhost:1/demo:v1");
    for bench in [&pair.hardsign, &pair.notation] {
        let list = bench.config().join("signingkeys.json");
        fs::remove_file(&list).unwrap();
        fs::create_dir(&list).unwrap();
    }
    pair.all_alike("key list");
}

/// CFG-16: twenty processes add a key each at the same time, and none is lost.
#[test]
fn cfg_16_twenty_writers_lose_nothing() {
    let bench = Workbench::new();
    bench.hardsign_ok(["key", "list"]);
    for number in [2, 20] {
        thread::scope(|scope| {
            for key in 0..number {
                let bench = &bench;
                scope.spawn(move || {
                    let name = format!("key-{number}-{key}");
                    bench.hardsign_ok(["key", "add", "--plugin", "local", "--id", "/k", &name]);
                });
            }
        });
    }
    let list = fs::read(bench.config().join("signingkeys.json")).unwrap();
    let list: Value = serde_json::from_slice(&list).unwrap();
    let mut names: Vec<_> = list["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    let mut expected: Vec<_> = [2, 20]
        .into_iter()
        .flat_map(|number| (0..number).map(move |key| format!("key-{number}-{key}")))
        .collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

/// Certificates of one CA in every form that the commands meet.
fn certificates(pair: &Pair) {
    let bench = &pair.hardsign;
    run(&mut bench.command(
        Path::new("openssl"),
        [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/C=CH/O=Test \"quoted\", Ltd/CN=ca",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-addext",
            "keyUsage=critical,keyCertSign",
        ],
    ));
    run(&mut bench.command(
        Path::new("openssl"),
        ["x509", "-in", "ca.pem", "-outform", "DER", "-out", "ca.der"],
    ));
    let read = |name| fs::read(bench.path().join(name)).unwrap();
    let (pem, der) = (read("ca.pem"), read("ca.der"));
    pair.file("ca.pem", &pem);
    pair.file("ca.der", &der);
    pair.file("two.pem", &[pem.as_slice(), &pem].concat());
    pair.file("a.txt", b"hello\n");
    pair.file("empty", b"");
    for bench in [&pair.hardsign, &pair.notation] {
        fs::create_dir(bench.path().join("dir")).unwrap();
        std::os::unix::fs::symlink("ca.pem", bench.path().join("link.pem")).unwrap();
    }
}

/// CLI-13, CLI-69, CLI-70, CLI-72 to CLI-76: good and bad calls in a row.
#[test]
fn certificate_commands_answer_as_notation() {
    let pair = Pair::new();
    certificates(&pair);
    // A file that is no certificate is called what it is, where the reference stops at malformed.
    let cause = |text: &str| text.replace(": neither PEM nor DER", "");
    pair.all_alike_but(
        "cert list
        cert add
        cert add ca.pem
        cert add --type ca ca.pem
        cert add --store s ca.pem
        cert add --type '' --store s ca.pem
        cert add --type nosuch --store s ca.pem
        cert add --type CA --store s ca.pem
        cert add --type ca --store a/b ca.pem
        cert add --type ca --store '' ca.pem
        cert add --type ca --store s nosuch.crt
        cert add --type ca --store s a.txt
        cert add --type ca --store s empty
        cert add --type ca --store s dir
        cert list
        cert add --type ca --store s ca.pem
        certificate add --type ca --store s ca.pem
        cert add -t ca -s s2 ca.der nosuch link.pem a.txt
        cert add -t tsa -s t ca.pem
        cert add -t signingAuthority -s sa two.pem
        cert list
        cert ls -t ca
        cert ls -s s2
        cert ls -t ca -s s2
        cert ls -t ca -s nosuch
        cert show
        cert show a b
        cert show ca.pem
        cert show -t ca ca.pem
        cert show -t ca -s s ca.pem
        cert show -t ca -s s2 ca.der
        cert show -t signingAuthority -s sa two.pem
        cert show -t ca -s s nosuch.pem
        cert show -t ca -s nosuch ca.pem
        cert show -t nosuch -s s ca.pem
        cert show -t ca -s a/b ca.pem
        cert show -t ca -s s ''
        cert delete
        cert delete ca.pem
        cert delete -t ca -s s
        cert delete -t ca -s s --all ca.pem
        cert delete -t ca -s s ca.pem
        cert delete -t ca -s s ca.pem <<< n\\n
        cert delete -t ca -s s ca.pem <<< maybe\\n
        cert delete -t ca -s s nosuch.pem <<< y\\n
        cert delete -t ca -s nosuch ca.pem -y
        cert delete -t nosuch -s nosuch ca.pem -y
        cert delete -t ca -s nosuch --all -y
        cert delete -t ca -s a/b ca.pem -y
        cert delete -t ca -s s2 --all
        cert delete -t ca -s s2 --all <<< n\\n
        cert list
        cert delete -t ca -s s2 -a <<< y
        cert delete --type signingAuthority --store sa --all --yes
        cert list
        cert generate-test
        cert generate-test ''
        cert generate-test a/b
        cert generate-test \u{fc}.example
        cert generate-test *.example.com
        cert generate-test --bits x small",
        cause,
    );
    // CLI-72: a type that does not exist is no list without certificates.
    let ran = pair.hardsign.hardsign(["cert", "ls", "-t", "nosuch"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    assert!(ran.stderr.contains("nosuch"), "{}", ran.stderr);
}

/// CLI-75, CLI-77: the texts of notation 2, which name store and type; the last file takes the store
/// with it. CLI-78: a file argument is a name.
#[test]
fn cli_75_certificate_files_are_deleted_one_by_one() {
    let pair = Pair::new();
    certificates(&pair);
    let bench = &pair.hardsign;
    bench.hardsign_ok(["cert", "add", "-t", "ca", "-s", "s", "ca.pem", "ca.der"]);
    let store = bench.config().join("truststore/x509/ca/s");
    let outside = bench.hardsign(["cert", "delete", "-y", "-t", "ca", "-s", "s", "../s/ca.pem"]);
    failed(
        &outside,
        "Error: failed to delete the certificate file: certificate file name \"../s/ca.pem\" must be a plain file name, not a path\n",
    );
    let [asked, _] = pair.both("cert delete -t ca -s s ca.pem", "YES\n");
    assert_eq!(
        (asked.code, asked.stdout.as_str(), asked.stderr.as_str()),
        (
            Some(0),
            "Are you sure you want to delete \"ca.pem\" in \"s\" of type \"ca\"? [y/N] Successfully deleted ca.pem from trust store s of type ca\n",
            ""
        )
    );
    assert!(store.is_dir());
    let last = bench.hardsign_ok(["cert", "delete", "-y", "-t", "ca", "-s", "s", "ca.der"]);
    assert_eq!(
        last.stdout,
        "Successfully deleted ca.der from trust store s of type ca\n"
    );
    assert!(!store.exists());
}

/// CLI-71, CLI-70: a private key in a certificate file, and a leaf that no store can use.
#[test]
fn cli_71_useless_certificates_are_told_of() {
    let pair = Pair::new();
    certificates(&pair);
    let bench = &pair.hardsign;
    let key = fs::read(bench.path().join("ca.key")).unwrap();
    fs::write(bench.path().join("key.pem"), key).unwrap();
    let refused = bench.hardsign(["cert", "add", "-t", "ca", "-s", "s", "key.pem"]);
    assert!(
        refused.stderr.contains("contains a private key"),
        "{}",
        refused.stderr
    );
    let leaf = keys::key(KeySpec::Ec256).leaf;
    let leaf = leaf.display().to_string();
    let added = bench.hardsign_ok(["cert", "add", "-t", "ca", "-s", "s", &leaf]);
    assert!(
        added.stderr.starts_with(&format!("Warning: {leaf}: certificate with subject \"CN=EC-256,O=Hardsign Tests,ST=WA,C=US\" is not a CA certificate")),
        "{}",
        added.stderr
    );
}

/// CLI-79, CLI-80: nothing is overwritten; sizes that no signature may have are refused.
#[test]
fn cli_79_generate_test_refuses_what_it_cannot_make() {
    let bench = Workbench::new();
    bench.hardsign_ok(["cert", "generate-test", "a.example"]);
    let key = bench.config().join("localkeys/a.example.key");
    let before = fs::read(&key).unwrap();
    let again = bench.hardsign(["cert", "generate-test", "a.example"]);
    assert_eq!(again.code, Some(1));
    assert_eq!(again.stdout, "generating RSA Key with 2048 bits\n");
    assert_eq!(
        again.stderr,
        format!(
            "Error: failed to write key file: open {}: file exists\nHint: remove the earlier test key with `hardsign certificate cleanup-test a.example`\n",
            key.display()
        )
    );
    assert_eq!(fs::read(&key).unwrap(), before);
    for bits in ["1024", "2047", "0"] {
        let refused = bench.hardsign(["cert", "generate-test", "--bits", bits, "b.example"]);
        failed(
            &refused,
            &format!("Error: RSA keys have 2048, 3072 or 4096 bits, not {bits}\n"),
        );
    }
    assert!(!bench.config().join("localkeys/b.example.key").exists());
}

/// CLI-82, CLI-83, CLI-13: the question, a no, and the faults.
#[test]
fn cli_82_cleanup_test_asks() {
    let bench = Workbench::new();
    bench.hardsign_ok(["cert", "generate-test", "--default", "a.example"]);
    let hardsign = binaries().join("hardsign");
    let question = "The test key a.example and its corresponding certificate will be cleaned up with the following changes:
- Delete certificate a.example.crt from trust store a.example of type ca
- Remove key a.example from the key list
- Delete key file: <here>/config/localkeys/a.example.key
- Delete certificate file: <here>/config/localkeys/a.example.crt

Are you sure you want to continue? [y/N] ";
    let ended = "Error: test key a.example was not cleaned up: standard input ended before the question was answered\nHint: --yes agrees without a question\n";
    for (input, code, answer, error) in [
        ("", 1, "\n", ended),
        ("no\n", 0, "Operation cancelled.\n", ""),
    ] {
        let asked = with_input(
            &bench,
            &hardsign,
            ["cert", "cleanup-test", "a.example"],
            input,
        );
        assert_eq!(
            (asked.code, asked.stdout, asked.stderr.as_str()),
            (Some(code), format!("{question}{answer}"), error)
        );
    }
    assert!(bench.config().join("localkeys/a.example.key").exists());
    failed(
        &bench.hardsign(["cert", "cleanup-test"]),
        "Error: missing certificate common name\n",
    );
    failed(
        &bench.hardsign(["cert", "cleanup-test", "a/b"]),
        "Error: certificate common name must follow [a-zA-Z0-9_.-]+ format\n",
    );
    let key = bench.config().join("localkeys/a.example.key");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    let stuck = bench.hardsign(["cert", "cleanup-test", "-y", "a.example"]);
    assert_eq!(
        (stuck.code, stuck.stderr),
        (
            Some(1),
            format!(
                "Error: failed to delete key file {}: is a directory\n",
                key.display()
            )
        )
    );
}

/// CLI-06, CLI-22, CLI-24, CLI-28, CLI-29, CLI-34, OCI-16: what is wrong with a call of
/// `sign`, `verify`, `list` or `inspect` is told in the same words, before any registry is asked.
#[test]
fn faulty_calls_are_refused_as_notation_does() {
    let pair = Pair::new();
    pair.file(
        "config/trustpolicy.json",
        br#"{"version": "1.0", "trustPolicies": [{"name": "a",
        "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:a"], "trustedIdentities": ["*"]}]}"#,
    );
    let adapt = |text: &str| text.replace("use `hardsign ", "use `notation ");
    for line in ["sign", "verify", "list", "inspect"] {
        pair.alike(line, "", adapt);
    }
    pair.all_alike(
        "sign localhost:1/demo:v1
        sign --key nosuch localhost:1/demo:v1
        sign --plugin framework localhost:1/demo:v1
        sign --id x localhost:1/demo:v1
        sign --key a --id x --plugin framework localhost:1/demo:v1
        sign --nosuch localhost:1/demo:v1
        sign -x localhost:1/demo:v1
        sign -e 1 localhost:1/demo:v1
        sign -e 1d localhost:1/demo:v1
        sign -e 1h2x3m localhost:1/demo:v1
        sign -e x localhost:1/demo:v1
        sign --expiry '' localhost:1/demo:v1
        sign localhost:1/demo:v1 --expiry
        sign --insecure-registry=maybe localhost:1/demo:v1
        verify --max-signatures 0 localhost:1/demo:v1
        verify --max-signatures -1 localhost:1/demo:v1
        verify --max-signatures x localhost:1/demo:v1
        verify demo:v1
        verify localhost:1/demo
        list demo
        list localhost:1/demo
        list localhost:1/demo@sha256:12
        list localhost:1/DEMO:v1
        list localhost:1/demo:
        list localhost:1/demo@
        list ''
        list :v1
        list localhost:1
        inspect demo
        inspect localhost:1/demo",
    );
    // With a key, so that the key is not what is told of first.
    for bench in [&pair.hardsign, &pair.notation] {
        bench.hardsign_ok(["cert", "generate-test", "--default", "a"]);
    }
    pair.all_alike(
        "sign demo:v1
        sign localhost:1/demo
        sign localhost:1/demo@sha256:12
        sign --signature-format xml localhost:1/demo:v1
        sign --signature-format JWS localhost:1/demo:v1
        sign -m ab localhost:1/demo:v1
        sign -m =b localhost:1/demo:v1
        sign -m a= localhost:1/demo:v1
        sign --plugin-config a localhost:1/demo:v1",
    );
}
