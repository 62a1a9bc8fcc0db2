//! Keys made, requested, certified, renewed, revoked and imported on the device, with `hardsign`
//! alone; openssl and the real `notation` are the judges.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test, as the tests themselves do"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests start SoftHSM's tools, openssl and a server for revocation lists"
)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use hardsign_plugin::algorithm::KeySpec;
use serde_json::{Value, json};
use softhsm_tests::peers::registry::Registry;
use softhsm_tests::run;
use softhsm_tests::scene::{Scene, Tool};
use softhsm_tests::token::{PIN, Token, module};
use softhsm_tests::workbench::{Ran, Workbench};

const SUBJECT: &str = "C=US,ST=WA,O=Example,CN=release";

/// A machine with tokens of its own.
struct Desk {
    bench: Workbench,
    token: Token,
    /// An artifact of the layout.
    digest: String,
}

impl Desk {
    fn new() -> Self {
        let token = Token::new("release");
        let bench = Workbench::with_token(&token);
        let digest = bench.layout.add("v1", "an application");
        Self {
            bench,
            token,
            digest,
        }
    }

    /// Another token of the same SoftHSM.
    fn add_token(&self, label: &str) {
        run(self.tool("softhsm2-util").args([
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            "5678",
        ]));
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.bench.path())
            .env("SOFTHSM2_CONF", self.token.configuration());
        command
    }

    fn id(&self, token: &str, label: &str) -> String {
        self.id_at(&module(), token, label)
    }

    fn id_at(&self, module: &Path, token: &str, label: &str) -> String {
        format!(
            "pkcs11:token={token};object={label}?module-path={}&pin-source=file:{}",
            module.display(),
            self.token.path().join("pin").display()
        )
    }

    fn ok(&self, arguments: &[&str]) -> Ran {
        self.bench.hardsign_ok(arguments)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.ok(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Fails with exit code 1 or 3: what it says.
    fn fails(&self, arguments: &[&str]) -> String {
        let ran = self.bench.hardsign(arguments);
        assert!(matches!(ran.code, Some(1 | 3)), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("Error: "), "{}", ran.stderr);
        ran.stderr
    }

    fn create(&self, name: &str, token: &str, key_type: &str) -> Value {
        let id = self.id(token, name);
        self.json(&[
            "key", "create", name, "--plugin", "pkcs11", "--id", &id, "--type", key_type,
        ])
    }

    fn certify(&self, name: &str, more: &[&str]) -> Value {
        let fixed = ["key", "certify", name, "--subject", SUBJECT, "--days", "30"];
        self.json(&[&fixed, more].concat())
    }

    /// A policy that trusts this store, and one signer by name.
    fn trusting(&self, store: &str) {
        self.bench.policy(&json!({
            "name": "tests",
            "registryScopes": ["local/test"],
            "signatureVerification": {"level": "strict"},
            "trustStores": [format!("ca:{store}")],
            "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Example, CN=release"],
        }));
    }

    fn path(&self, file: &str) -> PathBuf {
        self.bench.path().join(file)
    }

    fn openssl(&self, arguments: &str) -> String {
        let output = run(self.tool("openssl").args(arguments.split(' ')));
        let (out, err) = (output.stdout, output.stderr);
        String::from_utf8_lossy(&[out, err].concat()).into_owned()
    }

    fn pkcs11_tool(&self, arguments: &[&str]) -> String {
        let mut tool = self.tool("pkcs11-tool");
        tool.arg("--module").arg(module());
        tool.args(["--token-label", "release", "--login", "--pin", PIN]);
        let output = run(tool.args(arguments));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A key and a certificate that openssl makes, with these lines as extensions.
    fn foreign(&self, name: &str, extensions: &str) {
        fs::write(self.path("ext"), extensions).unwrap();
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout {name}.key -out {name}.csr -subj /C=US/ST=WA/O=E/CN={name}"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -signkey {name}.key -days 2 -extfile ext -out {name}.crt"
        ));
    }

    /// A certificate for the request `key.csr`, issued by `ca`.
    fn issued(&self, ca: &str, file: &str, extensions: &str, more: &str) {
        fs::write(self.path("ext"), extensions).unwrap();
        let more = if more.is_empty() { "-days 2" } else { more };
        self.openssl(&format!(
            "x509 -req -in key.csr -CA {ca}.crt -CAkey {ca}.key -set_serial 77 -extfile ext -out {file} {more}"
        ));
    }
}

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
    let spy = Path::new("/usr/lib/x86_64-linux-gnu/pkcs11-spy.so");
    let mut bench = desk.bench;
    bench.set("PKCS11SPY", module());
    bench.set("PKCS11SPY_OUTPUT", bench.path().join("spy.log"));
    let desk = Desk { bench, ..desk };
    let id = desk.id_at(spy, "release", "signing");
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
    assert!(said.stdout.contains("deleted for good"), "{said:?}");
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
    assert!(said.contains("key other has no certificate"), "{said}");
    assert!(said.contains("`hardsign key request other`"), "{said}");
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

impl Desk {
    /// Whether `openssl x509` takes dates.
    fn can_date(&self) -> bool {
        let help = self
            .tool("openssl")
            .args(["x509", "-help"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).contains("-not_before")
    }

    /// [`Self::issued`] with dates, by `openssl ca`.
    fn dated(&self, ca: &str, file: &str, extensions: &str, dates: &str) {
        fs::write(self.path("ext"), extensions).unwrap();
        fs::write(self.path("index.txt"), "").unwrap();
        let configuration = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\nnew_certs_dir=.\n\
             rand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncountryName=optional\n\
             stateOrProvinceName=optional\norganizationName=optional\ncommonName=supplied\n";
        fs::write(self.path("ca.cnf"), configuration).unwrap();
        let dates = dates
            .replace("-not_before", "-startdate")
            .replace("-not_after", "-enddate");
        self.openssl(&format!(
            "ca -batch -notext -config ca.cnf -cert {ca}.crt -keyfile {ca}.key -in key.csr -extfile ext {dates} -out {file}"
        ));
    }
}

/// Serves a directory over HTTP; ends with the value.
struct Server(Child, u16);

impl Server {
    fn start(directory: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
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
    assert!(said.contains("is revoked already"), "{said}");
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
    assert!(ran.stderr.contains("it ends with its issuer"), "{ran:?}");
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
        renewed.stdout.contains("are verified as before"),
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
        "release is what it was, and so are its signatures: they are verified as before.",
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
        shown.contains("Certificates: none yet; `hardsign key certify release`"),
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
