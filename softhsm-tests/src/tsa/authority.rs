//! Certificates of a timestamping authority, made by `openssl ca`, and tokens, made by `openssl ts`
//! and `openssl cms`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use tempfile::TempDir;

use crate::keys::openssl;
use crate::run;

/// What `openssl ca` works by.
const CA: &str = "\
[ca]
default_ca = d
[d]
dir = .
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = .
default_md = sha256
policy = p
[p]
commonName = supplied
[ca_ext]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
";

/// A timestamping authority: a root, and one signer below it.
pub struct Authority {
    directory: TempDir,
    count: AtomicUsize,
    digest: HashAlgorithm,
    /// Lines of the section that `openssl ts` reads.
    settings: String,
}

/// How an [`Authority`] is made.
pub struct Builder {
    spec: KeySpec,
    digest: HashAlgorithm,
    extensions: String,
    validity: (String, String),
    settings: String,
}

impl Builder {
    /// A good authority with a key of that spec.
    pub fn new(spec: KeySpec) -> Self {
        let long = ("20200101000000Z".to_owned(), "20491231235959Z".to_owned());
        Self {
            spec,
            digest: spec.hash(),
            extensions: "extendedKeyUsage = critical,timeStamping\n".to_owned(),
            validity: long,
            settings: String::new(),
        }
    }

    /// The hash that it signs with.
    #[must_use]
    pub fn digest(mut self, digest: HashAlgorithm) -> Self {
        self.digest = digest;
        self
    }

    /// In place of the extended key usage of a timestamping authority.
    #[must_use]
    pub fn extensions(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.extensions);
        self
    }

    /// Validity of the signer's certificate, `YYYYMMDDhhmmssZ`.
    #[must_use]
    pub fn valid(mut self, from: &str, to: &str) -> Self {
        self.validity = (from.to_owned(), to.to_owned());
        self
    }

    /// Lines for `openssl ts`: accuracy, policy.
    #[must_use]
    pub fn settings(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.settings);
        self
    }

    /// Makes root and signer.
    pub fn build(self) -> Authority {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let signer = format!(
            "[signer_ext]\nkeyUsage = critical,digitalSignature\n{}",
            self.extensions
        );
        fs::write(at.join("ca.cnf"), format!("{CA}{signer}")).unwrap();
        fs::write(at.join("index.txt"), "").unwrap();
        fs::write(at.join("serial"), "1000").unwrap();
        fs::write(at.join("crlnumber"), "01").unwrap();
        crate::keys::genpkey(at, KeySpec::Rsa2048, "root.key");
        crate::keys::genpkey(at, self.spec, "signer.key");
        run(Command::new("openssl").current_dir(at).args([
            "req",
            "-x509",
            "-new",
            "-key",
            "root.key",
            "-subj",
            "/CN=TSA Root",
            "-config",
            "ca.cnf",
            "-extensions",
            "ca_ext",
            "-days",
            "3650",
            "-out",
            "root.crt",
        ]));
        run(Command::new("openssl").current_dir(at).args([
            "req",
            "-new",
            "-key",
            "signer.key",
            "-subj",
            "/CN=TSA",
            "-out",
            "signer.csr",
        ]));
        let (from, to) = &self.validity;
        let made = format!(
            "ca -batch -notext -config ca.cnf -cert root.crt -keyfile root.key -in signer.csr -extensions signer_ext -startdate {from} -enddate {to} -out signer.crt"
        );
        openssl(at, &made);
        Authority {
            directory,
            count: AtomicUsize::new(0),
            digest: self.digest,
            settings: self.settings,
        }
    }
}

impl Authority {
    /// The root certificate, PEM.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root.crt")
    }

    /// The signer's certificate, PEM.
    pub fn signer(&self) -> PathBuf {
        self.directory.path().join("signer.crt")
    }

    /// The signer's key, PEM.
    pub fn key(&self) -> PathBuf {
        self.directory.path().join("signer.key")
    }

    /// Signer and root, PEM, in this order.
    pub fn chain(&self) -> PathBuf {
        let path = self.directory.path().join("chain.crt");
        let read = |path| fs::read_to_string(path).unwrap();
        fs::write(&path, read(self.signer()) + &read(self.root())).unwrap();
        path
    }

    /// Revokes the signer's certificate.
    pub fn revoke(&self) {
        let revoke = "ca -config ca.cnf -cert root.crt -keyfile root.key -revoke signer.crt";
        openssl(self.directory.path(), revoke);
    }

    /// A new CRL of the root, DER.
    pub fn crl(&self) -> Vec<u8> {
        let at = self.directory.path();
        openssl(
            at,
            "ca -config ca.cnf -cert root.crt -keyfile root.key -gencrl -crldays 1 -out crl.pem",
        );
        openssl(at, "crl -in crl.pem -outform DER -out crl.der");
        fs::read(at.join("crl.der")).unwrap()
    }

    /// A directory for one answer.
    fn workplace(&self) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let at = self.directory.path().join(number.to_string());
        fs::create_dir(&at).unwrap();
        let digest = self.digest.oci_name();
        let settings = &self.settings;
        let configuration = format!(
            "[tsa]\ndefault_tsa = t\n[t]\nserial = serial\nsigner_digest = {digest}\ndefault_policy = 1.2.3.4.1\ndigests = sha256, sha384, sha512\ness_cert_id_alg = sha256\n{settings}"
        );
        fs::write(at.join("ts.cnf"), configuration).unwrap();
        at
    }

    /// The answer to a query, by `openssl ts -reply`.
    pub fn reply(&self, query: &[u8]) -> Vec<u8> {
        let at = self.workplace();
        self.openssl_ts(&at, query, &[]);
        fs::read(at.join("out")).unwrap()
    }

    /// An answer whose token `by` signs with `openssl cms`, which asks nothing of the certificate;
    /// with `open_lengths` in BER.
    pub fn reply_by(&self, query: &[u8], by: &Self, open_lengths: bool) -> Vec<u8> {
        let at = self.workplace();
        self.openssl_ts(&at, query, &["-token_out"]);
        openssl(
            &at,
            "cms -verify -noverify -inform DER -in out -out content -binary",
        );
        let stream = if open_lengths { "-stream " } else { "" };
        let [signer, key] = ["signer.crt", "signer.key"].map(|name| by.directory.path().join(name));
        openssl(
            &at,
            &format!(
                "cms -sign -binary -nodetach {stream}-econtent_type 1.2.840.113549.1.9.16.1.4 -cades -md {} -signer {} -inkey {} -in content -outform DER -out token",
                by.digest.oci_name(),
                signer.display(),
                key.display()
            ),
        );
        let token = fs::read(at.join("token")).unwrap();
        let content = [&[0x30, 3, 2, 1, 0][..], &token].concat();
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[0x30, 0x82], &length[..], &content].concat()
    }

    fn openssl_ts(&self, at: &Path, query: &[u8], more: &[&str]) {
        fs::write(at.join("query"), query).unwrap();
        run(Command::new("openssl")
            .current_dir(at)
            .args(["ts", "-reply", "-config", "ts.cnf", "-queryfile", "query"])
            .args(["-signer", "../signer.crt", "-inkey", "../signer.key"])
            .args(more)
            .args(["-out", "out"]));
    }
}
