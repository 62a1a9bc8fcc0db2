//! A CA made of the `openssl` program: `openssl ca` keeps its index and makes its CRLs, `openssl
//! ocsp` answers from the same index.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::run;

/// A root CA in a directory of its own.
pub struct Authority {
    directory: TempDir,
}

/// A running responder; it ends with the value.
pub struct Responder {
    child: Child,
    port: u16,
}

impl Authority {
    /// A root with the common name `name`.
    pub fn new(name: &str) -> Self {
        let authority = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        for (file, content) in [
            ("index.txt", ""),
            ("index.txt.attr", "unique_subject = no\n"),
            ("serial", "1000\n"),
            ("crlnumber", "05\n"),
            ("ca.cnf", CONFIGURATION),
            (
                "ca.ext",
                "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n",
            ),
        ] {
            fs::write(authority.path().join(file), content).unwrap();
        }
        authority.request("ca", name);
        authority
            .openssl("x509 -req -in ca.csr -signkey ca.key -days 2 -extfile ca.ext -out ca.crt");
        authority
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The root certificate, PEM.
    pub fn root(&self) -> PathBuf {
        self.path().join("ca.crt")
    }

    /// Issues `<file>.crt` with key `<file>.key` and chain `<file>.chain.pem`; `extensions` are
    /// lines of an openssl configuration.
    pub fn issue(&self, file: &str, extensions: &str) {
        self.request(file, file);
        fs::write(self.path().join(format!("{file}.ext")), extensions).unwrap();
        self.openssl(&format!(
            "ca -config ca.cnf -batch -notext -in {file}.csr -extfile {file}.ext -out {file}.crt"
        ));
        let pem = |name: &str| fs::read_to_string(self.path().join(name)).unwrap();
        let chain = format!("{}{}", pem(&format!("{file}.crt")), pem("ca.crt"));
        fs::write(self.path().join(format!("{file}.chain.pem")), chain).unwrap();
    }

    /// Revokes a certificate.
    pub fn revoke(&self, file: &str, reason: &str) {
        self.openssl(&format!(
            "ca -config ca.cnf -revoke {file}.crt -crl_reason {reason}"
        ));
    }

    /// Makes a CRL of the index as it is; `extensions` are lines of the section of its extensions.
    pub fn crl(&self, extensions: &str, arguments: &str) -> Vec<u8> {
        let configuration = format!("{CONFIGURATION}\n[crl]\n{extensions}\n");
        fs::write(self.path().join("crl.cnf"), configuration).unwrap();
        self.openssl(&format!(
            "ca -config crl.cnf -gencrl -crlexts crl -out crl.pem {arguments}"
        ));
        self.openssl("crl -in crl.pem -outform DER -out crl.der");
        fs::read(self.path().join("crl.der")).unwrap()
    }

    /// Forgets what was issued to `name`.
    pub fn forget(&self, name: &str) {
        let index = self.path().join("index.txt");
        let lines = fs::read_to_string(&index).unwrap();
        let name = format!("/CN={name}");
        let others: Vec<_> = lines
            .lines()
            .filter(|line| !line.ends_with(&name))
            .collect();
        let new = self.path().join("index.new");
        fs::write(&new, others.join("\n") + "\n").unwrap();
        fs::rename(new, index).unwrap();
    }

    /// Starts a responder that signs with this certificate of the CA, on a free port. What is
    /// issued and revoked later, it sees after [`Responder::refresh`].
    pub fn responder(&self, signer: &str) -> Responder {
        let signer = [
            "-rsigner",
            &format!("{signer}.crt"),
            "-rkey",
            &format!("{signer}.key"),
        ]
        .map(str::to_owned);
        let mut child = Command::new("openssl")
            .current_dir(self.path())
            .args("ocsp -port 0 -index index.txt -CA ca.crt -nmin 60 -ignore_err".split(' '))
            .args(signer)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.split(' ').nth(1).unwrap();
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        Responder { child, port }
    }

    /// The DER of the request that openssl makes for a certificate.
    pub fn request_of(&self, file: &str) -> Vec<u8> {
        self.openssl(&format!(
            "ocsp -issuer ca.crt -cert {file}.crt -no_nonce -reqout request.der"
        ));
        fs::read(self.path().join("request.der")).unwrap()
    }

    fn request(&self, file: &str, name: &str) {
        self.openssl(&format!(
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {file}.key"
        ));
        run(Command::new("openssl")
            .current_dir(self.path())
            .args(["req", "-new", "-key", &format!("{file}.key")])
            .args(["-out", &format!("{file}.csr"), "-subj"])
            .arg(format!("/C=US/ST=WA/O=Hardsign Tests/CN={name}")));
    }

    fn openssl(&self, arguments: &str) {
        run(Command::new("openssl")
            .current_dir(self.path())
            .args(arguments.split(' ').filter(|word| !word.is_empty())));
    }
}

impl Responder {
    /// Its address.
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Has it read the index again: openssl looks for changes after each connection, so the next
    /// one would still be answered from the old index.
    pub fn refresh(&self) {
        let mut stream = TcpStream::connect(("localhost", self.port)).unwrap();
        stream.write_all(b"GET /MAA= HTTP/1.0\r\n\r\n").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        // Gone already is gone.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

const CONFIGURATION: &str = "\
[ca]
default_ca = this
[this]
dir = .
database = index.txt
new_certs_dir = .
serial = serial
crlnumber = crlnumber
certificate = ca.crt
private_key = ca.key
default_md = sha256
default_days = 1
default_crl_days = 1
policy = any
email_in_dn = no
[any]
countryName = optional
stateOrProvinceName = optional
organizationName = optional
commonName = supplied
";
