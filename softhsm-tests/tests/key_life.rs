//! Keys made, requested, certified and imported on the device, with `hardsign` alone; openssl is the judge.
//! What a CA does is in `key_authority.rs`.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests start SoftHSM's tools, openssl and a server for revocation lists"
)]

use std::fs;
use std::path::{Path, PathBuf};

use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::desk::{Desk, SUBJECT};
use softhsm_tests::run;
use softhsm_tests::token::{PIN, module, spy};

const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";
const LEAF: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n";

/// All six kinds of keys: made on the token, never to leave it; the request verifies in openssl, in
/// both ways of RSA; the certificate signs.
#[test]
fn keys_of_every_type() {
    let desk = Desk::new();
    for spec in KeySpec::ALL {
        let name = spec.name();
        let made = desk.create(name, "release", name);
        assert_eq!(made["keySpec"], name);
        assert_eq!(made["token"]["label"], "release");
        let paddings: &[&str] = match spec.is_rsa() {
            true => &["pss", "pkcs1v15"],
            false => &["pss"],
        };
        for padding in paddings {
            let csr = format!("{name}-{padding}.csr");
            let request = desk.json(&[
                "key",
                "request",
                name,
                "--subject",
                SUBJECT,
                "--rsa-padding",
                padding,
                "--out",
                &csr,
            ]);
            let pem = fs::read_to_string(desk.path(&csr)).unwrap();
            assert_eq!(request["pem"], pem);
            let said = desk.openssl(&format!("req -in {csr} -verify -noout -subject -text"));
            assert!(said.contains("verify OK"), "{said}");
            assert!(
                said.contains("C = US, ST = WA, O = Example, CN = release"),
                "{said}"
            );
            assert_eq!(
                said.contains("rsassaPss"),
                spec.is_rsa() && *padding == "pss"
            );
        }
        desk.certify(name, &["--trust", "tests"]);
        desk.trusting("tests");
        let reference = desk.bench.reference(&desk.digest);
        desk.ok(&["sign", "--oci-layout", &reference, "--key", name]);
    }
    desk.ok(&[
        "verify",
        "--oci-layout",
        "--scope",
        "local/test",
        &desk.bench.reference(&desk.digest),
    ]);
    // What the token says, to another program.
    let objects = desk.pkcs11_tool(&["--list-objects", "--type", "privkey"]);
    assert_eq!(
        objects.matches("Private Key Object").count(),
        6,
        "{objects}"
    );
    let locked = "Access:     sensitive, always sensitive, never extractable, local";
    assert_eq!(objects.matches(locked).count(), 6, "{objects}");
    assert_eq!(
        objects.matches("Usage:      sign\n").count(),
        6,
        "{objects}"
    );
    // And to hardsign.
    let shown = desk.json(&["key", "show", "EC-384"]);
    let said = |name: &str| {
        let properties = shown["properties"].as_array().unwrap();
        properties.iter().find(|p| p["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!(
        (said("extractable"), said("sensitive")),
        (json!("no"), json!("yes"))
    );
    assert_eq!(said("made on the token"), json!("yes"));
    assert_eq!(
        shown["certificates"][0]["subject"],
        "CN=release,O=Example,ST=WA,C=US"
    );
    let text = desk.ok(&["key", "show", "EC-384"]).stdout;
    assert!(text.contains("Device: release, serial "), "{text}");
    assert!(text.contains("  never extractable: yes"), "{text}");
}

/// The token refuses the value of a key that was made, seen through the spy module; nobody asks.
#[test]
fn the_value_of_a_key_is_refused() {
    let desk = Desk::new();
    let mut bench = desk.bench;
    bench.set("PKCS11SPY", module());
    bench.set("PKCS11SPY_OUTPUT", bench.path().join("spy.log"));
    let desk = Desk { bench, ..desk };
    let id = desk.id_at(&spy(), "release", "signing");
    for key_type in ["EC-384", "RSA-2048"] {
        let id = id.replace("signing", key_type);
        desk.ok(&[
            "key", "create", key_type, "--plugin", "pkcs11", "--id", &id, "--type", key_type,
        ]);
        desk.certify(key_type, &[]);
    }
    let log = fs::read_to_string(desk.path("spy.log")).unwrap();
    for secret in ["CKA_VALUE  ", "CKA_PRIVATE_EXPONENT", "CKA_PRIME_1"] {
        let asked = log
            .lines()
            .filter(|line| line.contains(secret) && line.contains("[out]"));
        assert_eq!(asked.count(), 0, "{secret} was asked for");
    }
    assert!(log.contains("CKA_EXTRACTABLE"), "{log}");
    let python = format!(
        "import ctypes as c\n\
         m=c.CDLL({:?})\nU=c.c_ulong\n\
         class A(c.Structure): _fields_=[('t',U),('v',c.c_void_p),('n',U)]\n\
         m.C_Initialize(None)\nn=U(8);s=(U*8)();m.C_GetSlotList(c.c_ubyte(1),s,c.byref(n))\n\
         h=U();assert m.C_OpenSession(s[0],U(4),None,None,c.byref(h))==0\n\
         assert m.C_Login(h,U(1),b'{PIN}',U({}))==0\n\
         k=U(3);t=(A*1)(A(0,c.cast(c.byref(k),c.c_void_p),8));assert m.C_FindObjectsInit(h,t,U(1))==0\n\
         o=(U*8)();f=U();m.C_FindObjects(h,o,U(8),c.byref(f));assert f.value==2,f.value\n\
         for i in range(2):\n b=c.create_string_buffer(1024)\n \
         for a in (0x11,0x123,0x124):\n  q=(A*1)(A(a,c.cast(b,c.c_void_p),1024));r=m.C_GetAttributeValue(h,o[i],q,U(1));print(hex(r));assert r in (0x11,0x12),hex(r)\n",
        module().display().to_string(),
        PIN.len()
    );
    let output = run(desk.tool("python3").args(["-c", &python]));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.matches("0x11").count() >= 2, "{said}");
}

/// The keys of a device, with their certificates; nothing is replaced without a word.
#[test]
fn listed_and_never_replaced_by_accident() {
    let desk = Desk::new();
    let id = desk.id("release", "signing");
    let create = [
        "key",
        "create",
        "release",
        "--plugin",
        "pkcs11",
        "--id",
        &id,
        "--type",
        "ec-256",
        "--default",
    ];
    let said = desk.ok(&create).stdout;
    assert!(said.contains("Made EC-256 key release"), "{said}");
    assert!(
        said.contains("It has no certificate yet. Next: `hardsign key certify release"),
        "{said}"
    );
    let said = desk.fails(&["sign", "--oci-layout", &desk.bench.reference(&desk.digest)]);
    assert!(said.contains("no certificate for the key"), "{said}");
    desk.certify("release", &[]);
    let place = desk.id("release", "").replace(";object=", "");
    let list = ["key", "list", "--plugin", "pkcs11", "--id", &place];
    let listed = desk.json(&list);
    assert_eq!(listed["keys"][0]["label"], "signing");
    assert_eq!(
        listed["keys"][0]["certificate"]["subject"],
        "CN=release,O=Example,ST=WA,C=US"
    );
    let text = desk.ok(&list).stdout;
    assert!(text.starts_with("LABEL"), "{text}");
    assert!(
        text.contains("signing") && text.contains("EC-256"),
        "{text}"
    );

    // The name is taken; the key is there.
    let said = desk.fails(&create);
    assert!(
        said.contains("signing key with name \"release\" already exists"),
        "{said}"
    );
    let again = [
        "key", "create", "other", "--plugin", "pkcs11", "--id", &id, "--type", "EC-384",
    ];
    let said = desk.fails(&again);
    assert!(
        said.contains("there is a key already in token \"release\": \"signing\""),
        "{said}"
    );
    assert!(
        said.contains("Hint: ") && said.contains("--force"),
        "{said}"
    );
    assert!(
        said.contains("deletes the old one with its certificates for good"),
        "{said}"
    );
    // A no leaves everything as it was.
    let said = desk.bench.hardsign([&again[..], &["--force"]].concat());
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stdout.contains("permanently deleted"), "{said:?}");
    assert!(said.stderr.contains("no key was made"), "{said:?}");
    assert_eq!(desk.json(&list), listed);
    let replaced = desk.json(&[&again[..], &["--force", "--yes"]].concat());
    assert!(replaced["replaced"].as_str().unwrap().contains("signing"));
    let listed = desk.json(&list);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1);
    assert_eq!(listed["keys"][0]["keySpec"], "EC-384");
    assert_eq!(listed["keys"][0]["certificate"], Value::Null);
    // The old name leads to a key that has no certificate.
    let said = desk.fails(&["key", "export-cert", "other"]);
    assert!(
        said.contains("key other has no certificate, or no complete chain"),
        "{said}"
    );
    assert!(
        said.contains("`hardsign key request other --subject <subject>`"),
        "{said}"
    );
}

/// Certificates that can't be the key's are refused with the reason; nothing is stored.
#[test]
fn certificates_that_do_not_fit() {
    let desk = Desk::new();
    desk.create("key", "release", "EC-384");
    desk.ok(&[
        "key",
        "request",
        "key",
        "--subject",
        SUBJECT,
        "--out",
        "key.csr",
    ]);
    desk.foreign("ca", CA);
    desk.foreign("stranger", CA);
    for (file, extensions, more, part) in [
        ("good.crt", LEAF, "", ""),
        ("ca-cert.crt", CA, "", "is that of a CA"),
        (
            "tls.crt",
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n",
            "",
            "rules for signing",
        ),
        (
            "usage.crt",
            "keyUsage=critical,keyEncipherment\n",
            "",
            "rules for signing",
        ),
        (
            "none.crt",
            "subjectKeyIdentifier=hash\n",
            "",
            "rules for signing",
        ),
        (
            "expired.crt",
            LEAF,
            "-not_before 20200101000000Z -not_after 20210101000000Z",
            "expired at 2021",
        ),
        (
            "future.crt",
            LEAF,
            "-not_before 20400101000000Z -not_after 20410101000000Z",
            "not valid before 2040",
        ),
    ] {
        // Older versions of openssl x509 have no dates.
        if more.is_empty() || desk.can_date() {
            desk.issued("ca", file, extensions, more);
        } else {
            desk.dated("ca", file, extensions, more);
        }
        if part.is_empty() {
            continue;
        }
        let said = desk.fails(&["key", "import-cert", "key", file, "ca.crt"]);
        assert!(said.contains(part), "{file}: {said}");
        assert!(said.contains("Error: key: "), "{said}");
    }
    let said = desk.fails(&["key", "import-cert", "key", "stranger.crt"]);
    assert!(
        said.contains("none of the certificates is that of the key"),
        "{said}"
    );
    assert!(said.contains("Hint: "), "{said}");
    let said = desk.fails(&["key", "import-cert", "key", "good.crt"]);
    assert!(
        said.contains("the chain has a gap") && said.contains("CN=ca"),
        "{said}"
    );
    let said = desk.fails(&["key", "import-cert", "key", "good.crt", "ca.crt", "--ca"]);
    assert!(said.contains("can't be that of a CA"), "{said}");
    let said = desk.fails(&["key", "import-cert", "key", "ca.key"]);
    assert!(said.contains("private key"), "{said}");
    let said = desk.fails(&["key", "import-cert", "key", "absent.crt"]);
    assert!(said.contains("absent.crt"), "{said}");
    let objects = desk.pkcs11_tool(&["--list-objects", "--type", "cert"]);
    assert_eq!(objects.trim(), "", "{objects}");

    // In the wrong order, with one that does not belong: put in order.
    let ran = desk.ok(&[
        "key",
        "import-cert",
        "key",
        "ca.crt",
        "stranger.crt",
        "good.crt",
    ]);
    assert!(
        ran.stdout
            .contains("key: stored 2 certificates beside the key"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("CN=stranger") && ran.stderr.contains("left out"),
        "{ran:?}"
    );
    let chain = desk.ok(&["key", "export-cert", "key"]).stdout;
    let leaf = fs::read_to_string(desk.path("good.crt")).unwrap();
    assert!(chain.starts_with(leaf.trim_end()), "{chain}");
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    // The CA of a team may have a CA certificate.
    desk.create("team", "release", "EC-256");
    desk.ok(&[
        "key",
        "request",
        "team",
        "--subject",
        SUBJECT,
        "--out",
        "key.csr",
        "--force",
    ]);
    desk.issued("ca", "team.crt", CA, "");
    desk.ok(&["key", "import-cert", "team", "team.crt", "ca.crt", "--ca"]);
}

/// What the module says of a key is shown as its word, and proves nothing.
#[test]
fn the_modules_word() {
    let desk = Desk::new();
    desk.create("release", "release", "EC-256");
    let shown = desk.json(&["key", "attest", "release"]);
    assert_eq!(shown["proven"], false);
    assert_eq!(shown["format"], "pkcs11-attributes");
    let said = |name: &str| {
        let statements = shown["statements"].as_array().unwrap();
        statements.iter().find(|s| s["name"] == name).unwrap()["value"].clone()
    };
    for (name, value) in [
        ("made on the token", "yes"),
        ("sensitive", "yes"),
        ("never extractable", "yes"),
        ("made with", "CKM_EC_KEY_PAIR_GEN"),
    ] {
        assert_eq!(said(name), value, "{name}");
    }
    let text = desk.ok(&["key", "attest", "release"]).stdout;
    assert!(
        text.contains("not proven; this is what the key store says"),
        "{text}"
    );
    // A key that came from outside.
    let key = softhsm_tests::keys::key(KeySpec::Ec256);
    let Desk {
        bench,
        token,
        digest,
    } = desk;
    let token = token.with_key_and_chain(&key, "imported", "77");
    let desk = Desk {
        bench,
        token,
        digest,
    };
    let id = desk.id("release", "imported");
    desk.ok(&["key", "add", "imported", "--plugin", "pkcs11", "--id", &id]);
    let text = desk.ok(&["key", "attest", "imported"]).stdout;
    let row = |name: &str, value: &str| {
        text.lines()
            .any(|line| line.trim_start().starts_with(name) && line.ends_with(value))
    };
    assert!(
        row("made on the token", "no") && row("made with", "not told"),
        "{text}"
    );
}

/// The same desk behind the module with habits; its key `odd` is that of `release`.
fn with_habits(desk: Desk) -> (Desk, PathBuf) {
    let habits = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../plugins/pkcs11/tests/softhsm/habits.c"
    );
    run(desk
        .tool("cc")
        .args(["-shared", "-fPIC", "-o", "habits.so", habits, "-ldl"]));
    let module = desk.path("habits.so");
    let id = desk.id_at(&module, "release", "release");
    desk.ok(&["key", "add", "odd", "--plugin", "pkcs11", "--id", &id]);
    (desk, module)
}

/// Sets the habits of the module.
fn behave(desk: &mut Desk, habits: &str, code: &str) {
    desk.bench.set("HABITS", habits);
    desk.bench.set("HABIT_CODE", code);
}

/// A token that holds no certificates: the chain goes to the configuration directory, where signing
/// finds it; once the device holds them, the file is gone.
#[test]
fn a_token_that_holds_no_certificates() {
    let desk = Desk::new();
    desk.create("release", "release", "EC-256");
    let (mut desk, _) = with_habits(desk);
    desk.trusting("odd");
    let digest = desk.digest.clone();
    for (habit, code) in [
        ("no-objects", "31"),
        ("no-objects", "54"),
        ("write-protected", "0"),
    ] {
        behave(&mut desk, habit, code);
        let certify = [
            "key",
            "certify",
            "odd",
            "--subject",
            SUBJECT,
            "--days",
            "10",
            "--trust",
            "odd",
        ];
        let ran = desk.ok(&certify);
        assert!(
            ran.stdout
                .contains("hardsign/chains/odd.pem, since the device holds none"),
            "{ran:?}"
        );
        assert!(
            ran.stderr
                .contains("token \"release\" holds no certificates"),
            "{ran:?}"
        );
        let reference = desk.bench.reference(&digest);
        desk.ok(&["sign", "--oci-layout", &reference, "--key", "odd"]);
        desk.ok(&[
            "verify",
            "--oci-layout",
            "--scope",
            "local/test",
            &reference,
        ]);
        let chain = desk.ok(&["key", "export-cert", "odd"]).stdout;
        assert!(chain.starts_with("-----BEGIN CERTIFICATE"), "{chain}");
    }
    behave(&mut desk, "", "0");
    let kept = desk.bench.config().join("hardsign/chains/odd.pem");
    let kept = kept.display().to_string();
    let ran = desk.ok(&["key", "import-cert", "odd", &kept]);
    assert!(ran.stdout.contains("beside the key"), "{ran:?}");
    assert!(!Path::new(&kept).exists());
}

/// A token that is full, can only be read, or makes keys that could leave it: the reason, no key,
/// no entry in the list. One that knows few attributes makes the key all the same.
#[test]
fn tokens_that_make_no_key() {
    let desk = Desk::new();
    desk.create("release", "release", "EC-256");
    let (mut desk, module) = with_habits(desk);
    let id = desk.id_at(&module, "release", "second");
    let create = [
        "key", "create", "second", "--plugin", "pkcs11", "--id", &id, "--type", "EC-384",
    ];
    for (habit, code, part) in [
        (
            "full",
            "31",
            "has no room for another object: C_GenerateKeyPair gave CKR_DEVICE_MEMORY",
        ),
        (
            "full",
            "5",
            "making a key in token \"release\" failed: C_GenerateKeyPair gave CKR_GENERAL_ERROR",
        ),
        ("full", "70", "can't make EC-384 keys"),
        ("full", "e2", "token \"release\" is write-protected"),
        (
            "write-protected",
            "0",
            "token \"release\" is write-protected",
        ),
        ("exportable", "0", "could be read out"),
    ] {
        behave(&mut desk, habit, code);
        let said = desk.fails(&create);
        assert!(said.contains(part), "{habit}: {said}");
        assert!(!desk.ok(&["key", "list"]).stdout.contains("second"));
        let objects = desk.pkcs11_tool(&["--list-objects"]);
        assert!(!objects.contains("second"), "{objects}");
    }
    let said = desk.fails(&[
        "key",
        "create",
        "nameless",
        "--plugin",
        "pkcs11",
        "--id",
        &id.replace(";object=second", ""),
        "--type",
        "EC-384",
    ]);
    assert!(
        said.contains("the new key has no name") && said.contains("object=NAME"),
        "{said}"
    );
    behave(&mut desk, "picky", "0");
    desk.ok(&create);
}

/// A token pulled out between the key and its certificate: the key is there, without a certificate,
/// and the next command is said.
#[test]
fn a_token_pulled_out_before_the_certificate() {
    let desk = Desk::new();
    desk.create("release", "release", "EC-256");
    let (mut desk, _) = with_habits(desk);
    desk.bench.set("HABIT_LOST", "1");
    desk.bench.set("HABIT_AWAY", "600000");
    behave(&mut desk, "", "32");
    let said = desk.fails(&[
        "key",
        "certify",
        "odd",
        "--subject",
        SUBJECT,
        "--days",
        "10",
    ]);
    assert!(said.contains("token \"release\" went away"), "{said}");
    assert!(said.contains("Hint: "), "{said}");
    let objects = desk.pkcs11_tool(&["--list-objects", "--type", "cert"]);
    assert_eq!(objects.trim(), "", "{objects}");
    let shown = desk.ok(&["key", "show", "release"]).stdout;
    assert!(
        shown.contains("Certificates: none yet. Next: `hardsign key certify release "),
        "{shown}"
    );
    desk.certify("release", &[]);
}

/// Software keys have the same life.
#[test]
fn keys_on_disk() {
    let desk = Desk::new();
    desk.ok(&[
        "key",
        "create",
        "dev",
        "--plugin",
        "local",
        "--id",
        "dev.key",
        "--type",
        "RSA-2048",
        "--default",
    ]);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(desk.path("dev.key")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    desk.certify("dev", &["--trust", "tests"]);
    desk.trusting("tests");
    let reference = desk.bench.reference(&desk.digest);
    desk.ok(&["sign", "--oci-layout", &reference]);
    desk.ok(&[
        "verify",
        "--oci-layout",
        "--scope",
        "local/test",
        &reference,
    ]);
    let place = desk.bench.path().display().to_string();
    let listed = desk.json(&["key", "list", "--plugin", "local", "--id", &place]);
    assert_eq!(listed["keys"][0]["keySpec"], "RSA-2048");
    let said = desk.fails(&[
        "key", "create", "dev2", "--plugin", "local", "--id", "dev.key", "--type", "EC-256",
    ]);
    assert!(
        said.contains("there is a file") && said.contains("--force"),
        "{said}"
    );
    let request = desk.ok(&[
        "key",
        "request",
        "dev",
        "--subject",
        "CN=x",
        "--rsa-padding",
        "pkcs1v15",
    ]);
    assert!(request.stderr.contains("no C, no ST, no O"), "{request:?}");
    assert!(
        request.stderr.contains("trustedIdentities \"*\""),
        "{request:?}"
    );
}
