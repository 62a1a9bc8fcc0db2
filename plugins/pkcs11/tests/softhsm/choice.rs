//! Several certificates for one key: the one that can sign is taken, and the user hears of the others
//! (X509-08 to X509-10).

use std::fs;

use serde_json::Value;

use crate::plugin::{Plugin, Session, bytes, texts};
use softhsm_tests::run;

const SIGNING: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning\n";

impl Plugin {
    /// A further certificate for the key of `public`, issued by `ca`, under the key's id.
    fn further(&self, name: &str, ca: &str, days: &str, extensions: &str) {
        fs::write(self.file("ext"), extensions).unwrap();
        let (pem, der) = (format!("{name}.pem"), format!("{name}.der"));
        run(self.tool("openssl").args([
            "x509",
            "-new",
            "-force_pubkey",
            "01.pub",
            "-subj",
            &format!("/C=US/O=Test/CN={name}"),
            "-CA",
            &format!("{ca}.pem"),
            "-CAkey",
            &format!("{ca}.key"),
            "-days",
            days,
            "-extfile",
            "ext",
            "-out",
            &pem,
        ]));
        run(self
            .tool("openssl")
            .args(["x509", "-in", &pem, "-outform", "DER", "-out", &der]));
        self.store_certificate(&der, "01");
    }

    /// Another root, which may be in the token or not.
    fn other_root(&self) {
        run(self.tool("openssl").args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "other.key",
            "-out",
            "other.pem",
            "-subj",
            "/C=US/O=Test/CN=Attestation",
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
            "-days",
            "9",
        ]));
    }
}

/// A token whose key has only certificates that the test adds.
fn token() -> Plugin {
    let token = Plugin::new();
    token.generate("EC:prime256v1", "01", &[]);
    token.certify("01");
    run(token
        .tool("openssl")
        .args(["x509", "-in", "ca.pem", "-outform", "DER", "-out", "ca.der"]));
    token.store_certificate("ca.der", "99");
    token.other_root();
    token
}

/// Opens the key: the answer, and what the user was told before it.
fn open(token: &Plugin) -> (Session, Value, Vec<String>) {
    let mut session = token.session();
    session.open(&token.uri("K01"));
    let mut told = Vec::new();
    loop {
        let line = session.receive();
        match line["message"].as_str() {
            Some(message) => told.push(message.to_owned()),
            None => return (session, line, told),
        }
    }
}

/// Whatever stands beside it, and however much younger it is: the right one signs, each other is told
/// of with its reason.
#[test]
fn x509_09_the_one_that_can_sign() {
    let wrong = [
        (
            "attestation",
            "other",
            "300",
            "subjectKeyIdentifier=hash\n",
            "key usage",
        ),
        (
            "server",
            "ca",
            "300",
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n",
            "server",
        ),
        (
            "authority",
            "ca",
            "300",
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n",
            "",
        ),
        (
            "encryption",
            "ca",
            "300",
            "keyUsage=critical,keyEncipherment\n",
            "",
        ),
        ("stray", "other", "300", SIGNING, "incomplete"),
    ];
    let mut first = token();
    let every = token();
    every.further("right", "ca", "30", SIGNING);
    for (name, ca, days, extensions, why) in wrong {
        first = token();
        first.further("right", "ca", "30", SIGNING);
        for token in [&first, &every] {
            token.further(name, ca, days, extensions);
        }
        let (mut session, opened, told) = open(&first);
        let leaf = bytes(&opened["response"]["certificateChain"][0]);
        assert_eq!(
            leaf,
            fs::read(first.file("right.der")).unwrap(),
            "{name}: {opened}"
        );
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains("several certificates; taken is") && told[0].contains("CN=right"),
            "{told:?}"
        );
        assert!(told[1].contains(name) && told[1].contains(why), "{told:?}");
        session.sign(2, &first.digest(3), "SHA-256");
        let answer = session.receive();
        first.verify(3, &leaf, &bytes(&answer["response"]["signature"]));
        assert_eq!(session.end().0, Some(0));
    }
    drop(first);
    let (session, opened, told) = open(&every);
    let leaf = bytes(&opened["response"]["certificateChain"][0]);
    assert_eq!(leaf, fs::read(every.file("right.der")).unwrap());
    assert_eq!(told.len(), 1 + wrong.len(), "{told:?}");
    assert_eq!(session.end().0, Some(0));
}

/// Of several that can sign the latest; where there is one only, nobody is told anything.
#[test]
fn the_latest_of_several() {
    let token = token();
    token.further("old", "ca", "30", SIGNING);
    let (session, opened, told) = open(&token);
    assert!(
        opened["response"].is_object() && told.is_empty(),
        "{told:?}"
    );
    assert_eq!(session.end().0, Some(0));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    token.further("renewed", "ca", "30", SIGNING);
    let (session, opened, told) = open(&token);
    let leaf = bytes(&opened["response"]["certificateChain"][0]);
    assert_eq!(leaf, fs::read(token.file("renewed.der")).unwrap());
    assert!(
        told[1].contains("CN=old") && told[1].contains("became valid later"),
        "{told:?}"
    );
    assert_eq!(session.end().0, Some(0));
}

/// X509-10: a certificate without extended key usage may sign, but one for code signing comes first,
/// however old it is: an attestation certificate may meet every rule.
#[test]
fn x509_10_one_for_code_signing_comes_first() {
    let token = token();
    token.further("right", "ca", "30", SIGNING);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    token.further("bare", "ca", "300", "keyUsage=critical,digitalSignature\n");
    let (session, opened, told) = open(&token);
    let leaf = bytes(&opened["response"]["certificateChain"][0]);
    assert_eq!(leaf, fs::read(token.file("right.der")).unwrap());
    assert!(told[1].contains("does not name code signing"), "{told:?}");
    assert_eq!(session.end().0, Some(0));
}

/// None of several can sign: each with its reason, in one error.
#[test]
fn none_that_can_sign() {
    let token = token();
    token.further(
        "server",
        "ca",
        "9",
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n",
    );
    token.further("stray", "other", "9", SIGNING);
    let (session, opened, _) = open(&token);
    let (message, _) = texts(&opened["error"]);
    assert!(
        message.contains("none of the 2 certificates of the key can sign"),
        "{message}"
    );
    assert!(
        message.contains("CN=server") && message.contains("CN=stray"),
        "{message}"
    );
    assert_eq!(session.end().0, Some(0));
}
