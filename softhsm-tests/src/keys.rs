//! Test keys and certificates, made by the `openssl` program, once per test process and key spec.
//!
//! Every leaf is `C=US, ST=WA, O=Hardsign Tests, CN=<key spec>`, issued by an intermediate CA below
//! a root, all good from 2020 to tomorrow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use hardsign_plugin::algorithm::KeySpec;
use tempfile::TempDir;

use crate::run;

/// A software key that tests import into tokens, and its certificates, all as files.
#[derive(Clone, Debug)]
pub struct TestKey {
    /// The private key, PKCS#8 PEM.
    pub key: PathBuf,
    /// The leaf certificate, DER.
    pub leaf: PathBuf,
    /// Leaf, intermediate CA and root, PEM, in this order.
    pub chain: PathBuf,
}

/// What `openssl ca` works by.
const CA: &str = "\
[ca]
default_ca = d
[d]
database = index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
preserve = yes
policy = p
[p]
countryName = optional
stateOrProvinceName = optional
organizationName = optional
commonName = supplied
";

struct Authority {
    directory: TempDir,
    keys: Mutex<Vec<(String, TestKey)>>,
}

/// The root certificate of all test keys, PEM.
pub fn root() -> PathBuf {
    authority().directory.path().join("root.crt")
}

/// The intermediate CA certificate, DER.
pub fn intermediate() -> PathBuf {
    authority().directory.path().join("int.der")
}

/// The root certificate, DER.
pub fn root_der() -> PathBuf {
    authority().directory.path().join("root.der")
}

/// The key of this spec that all tests of the process share.
pub fn key(spec: KeySpec) -> TestKey {
    named(spec, spec.name())
}

/// A key of its own, whose certificate has `name` as common name.
pub fn named(spec: KeySpec, name: &str) -> TestKey {
    with_extensions(spec, name, "")
}

/// As [`named`], with further lines in the certificate's extension section.
pub fn with_extensions(spec: KeySpec, name: &str, extensions: &str) -> TestKey {
    let authority = authority();
    let mut keys = authority.keys.lock().unwrap();
    if let Some((_, key)) = keys.iter().find(|(known, _)| known == name) {
        return key.clone();
    }
    let key = make(authority.directory.path(), spec, name, extensions);
    keys.push((name.to_owned(), key.clone()));
    key
}

/// A chain for a key of which only the public half is here (PEM): leaf, intermediate CA and root,
/// PEM. The leaf is valid from now to tomorrow.
pub fn certify(public: &str, name: &str) -> PathBuf {
    let at = authority().directory.path();
    let _turn = authority().keys.lock().unwrap();
    let file = |extension: &str| at.join(format!("{name}.{extension}"));
    std::fs::write(file("pub"), public).unwrap();
    std::fs::write(
        file("ext"),
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n",
    )
    .unwrap();
    run(Command::new("openssl")
        .current_dir(at)
        .args("x509 -new -CA int.crt -CAkey int.key -days 1 -sha256".split(' '))
        .args(["-force_pubkey", &format!("{name}.pub")])
        .args([
            "-extfile",
            &format!("{name}.ext"),
            "-out",
            &format!("{name}.crt"),
        ])
        .args(["-subj", &format!("/C=US/ST=WA/O=Hardsign Tests/CN={name}")]));
    let pem = |name: &str| std::fs::read_to_string(at.join(name)).unwrap();
    let chain = file("chain.pem");
    let all = [
        format!("{name}.crt"),
        "int.crt".to_owned(),
        "root.crt".to_owned(),
    ];
    std::fs::write(&chain, all.iter().map(|name| pem(name)).collect::<String>()).unwrap();
    chain
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let extensions =
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";
        for (file, content) in [
            ("ca.cnf", CA),
            ("ca.ext", extensions),
            ("index.txt", ""),
            ("index.txt.attr", "unique_subject = no\n"),
        ] {
            std::fs::write(at.join(file), content).unwrap();
        }
        genpkey(at, KeySpec::Ec256, "root.key");
        genpkey(at, KeySpec::Ec256, "int.key");
        request(at, "root", "Hardsign Tests Root");
        issue(at, "-selfsign -keyfile root.key", "root", "ca");
        request(at, "int", "Hardsign Tests CA");
        issue(at, "-cert root.crt -keyfile root.key", "int", "ca");
        for name in ["root", "int"] {
            openssl(
                at,
                &format!("x509 -in {name}.crt -outform DER -out {name}.der"),
            );
        }
        Authority {
            directory,
            keys: Mutex::default(),
        }
    })
}

fn make(at: &Path, spec: KeySpec, name: &str, extensions: &str) -> TestKey {
    let file: String = name
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect();
    genpkey(at, spec, &format!("{file}.key"));
    request(at, &file, name);
    std::fs::write(
        at.join(format!("{file}.ext")),
        format!("keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n{extensions}"),
    )
    .unwrap();
    issue(at, "-cert int.crt -keyfile int.key", &file, &file);
    openssl(
        at,
        &format!("x509 -in {file}.crt -outform DER -out {file}.der"),
    );
    let chain = at.join(format!("{file}.chain.pem"));
    let pem = |name: &str| std::fs::read_to_string(at.join(name)).unwrap();
    std::fs::write(
        &chain,
        format!(
            "{}{}{}",
            pem(&format!("{file}.crt")),
            pem("int.crt"),
            pem("root.crt")
        ),
    )
    .unwrap();
    TestKey {
        key: at.join(format!("{file}.key")),
        leaf: at.join(format!("{file}.der")),
        chain,
    }
}

/// Has `<name>.csr` certified as `<name>.crt`. The begin of the validity lies far enough back for
/// a timestamp that is not exact to the second.
fn issue(at: &Path, issuer: &str, name: &str, extensions: &str) {
    openssl(
        at,
        &format!(
            "ca -batch -notext -config ca.cnf {issuer} -in {name}.csr -extfile {extensions}.ext -startdate 20200101000000Z -days 1 -out {name}.crt"
        ),
    );
}

pub(crate) fn genpkey(at: &Path, spec: KeySpec, file: &str) {
    let kind = match spec {
        KeySpec::Rsa2048 => "RSA -pkeyopt rsa_keygen_bits:2048",
        KeySpec::Rsa3072 => "RSA -pkeyopt rsa_keygen_bits:3072",
        KeySpec::Rsa4096 => "RSA -pkeyopt rsa_keygen_bits:4096",
        KeySpec::Ec256 => "EC -pkeyopt ec_paramgen_curve:P-256",
        KeySpec::Ec384 => "EC -pkeyopt ec_paramgen_curve:P-384",
        KeySpec::Ec521 => "EC -pkeyopt ec_paramgen_curve:P-521",
    };
    openssl(at, &format!("genpkey -algorithm {kind} -out {file}"));
}

fn request(at: &Path, file: &str, common_name: &str) {
    run(Command::new("openssl")
        .current_dir(at)
        .args(["req", "-new", "-key"])
        .args([
            &format!("{file}.key"),
            "-out",
            &format!("{file}.csr"),
            "-subj",
            &format!("/C=US/ST=WA/O=Hardsign Tests/CN={common_name}"),
        ]));
}

pub(crate) fn openssl(at: &Path, arguments: &str) {
    run(Command::new("openssl")
        .current_dir(at)
        .args(arguments.split(' ')));
}
