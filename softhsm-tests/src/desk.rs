//! A machine with tokens of its own, for tests of the life of keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::run;
use crate::token::{PIN, Token, module};
use crate::workbench::{Ran, Workbench};

/// The subject of most certificates.
pub const SUBJECT: &str = "C=US,ST=WA,O=Example,CN=release";

/// A machine with tokens of its own.
pub struct Desk {
    pub bench: Workbench,
    pub token: Token,
    /// An artifact of the layout.
    pub digest: String,
}

impl Desk {
    pub fn new() -> Self {
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
    pub fn add_token(&self, label: &str) {
        self.token.init(label);
    }

    pub fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.bench.path())
            .env("SOFTHSM2_CONF", self.token.configuration());
        command
    }

    pub fn id(&self, token: &str, label: &str) -> String {
        self.id_at(&module(), token, label)
    }

    pub fn id_at(&self, module: &Path, token: &str, label: &str) -> String {
        format!(
            "pkcs11:token={token};object={label}?module-path={}&pin-source=file:{}",
            module.display(),
            self.token.path().join("pin").display()
        )
    }

    pub fn ok(&self, arguments: &[&str]) -> Ran {
        self.bench.hardsign_ok(arguments)
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.ok(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Fails with exit code 1 or 3: what it says.
    pub fn fails(&self, arguments: &[&str]) -> String {
        let ran = self.bench.hardsign(arguments);
        assert!(matches!(ran.code, Some(1 | 3)), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("Error: "), "{}", ran.stderr);
        ran.stderr
    }

    pub fn create(&self, name: &str, token: &str, key_type: &str) -> Value {
        let id = self.id(token, name);
        self.json(&[
            "key", "create", name, "--plugin", "pkcs11", "--id", &id, "--type", key_type,
        ])
    }

    pub fn certify(&self, name: &str, more: &[&str]) -> Value {
        let fixed = ["key", "certify", name, "--subject", SUBJECT, "--days", "30"];
        self.json(&[&fixed, more].concat())
    }

    /// A policy that trusts this store, and one signer by name.
    pub fn trusting(&self, store: &str) {
        self.bench.policy(&json!({
            "name": "tests",
            "registryScopes": ["local/test"],
            "signatureVerification": {"level": "strict"},
            "trustStores": [format!("ca:{store}")],
            "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Example, CN=release"],
        }));
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.bench.path().join(file)
    }

    pub fn openssl(&self, arguments: &str) -> String {
        let output = run(self.tool("openssl").args(arguments.split(' ')));
        let (out, err) = (output.stdout, output.stderr);
        String::from_utf8_lossy(&[out, err].concat()).into_owned()
    }

    pub fn pkcs11_tool(&self, arguments: &[&str]) -> String {
        let mut tool = self.tool("pkcs11-tool");
        tool.arg("--module").arg(module());
        tool.args(["--token-label", "release", "--login", "--pin", PIN]);
        let output = run(tool.args(arguments));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A key and a certificate that openssl makes, with these lines as extensions.
    pub fn foreign(&self, name: &str, extensions: &str) {
        fs::write(self.path("ext"), extensions).unwrap();
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -nodes -keyout {name}.key -out {name}.csr -subj /C=US/ST=WA/O=E/CN={name}"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -signkey {name}.key -days 2 -extfile ext -out {name}.crt"
        ));
    }

    /// A certificate for the request `key.csr`, issued by `ca`.
    pub fn issued(&self, ca: &str, file: &str, extensions: &str, more: &str) {
        fs::write(self.path("ext"), extensions).unwrap();
        let more = if more.is_empty() { "-days 2" } else { more };
        self.openssl(&format!(
            "x509 -req -in key.csr -CA {ca}.crt -CAkey {ca}.key -set_serial 77 -extfile ext -out {file} {more}"
        ));
    }

    /// Whether `openssl x509` takes dates.
    pub fn can_date(&self) -> bool {
        let help = self
            .tool("openssl")
            .args(["x509", "-help"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).contains("-not_before")
    }

    /// [`Self::issued`] with dates, by `openssl ca`.
    pub fn dated(&self, ca: &str, file: &str, extensions: &str, dates: &str) {
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

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}
