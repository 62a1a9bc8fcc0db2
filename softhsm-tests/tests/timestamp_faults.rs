//! Timestamping authorities that can't be reached, answer something else, or can't be trusted: each
//! fault is told, and nothing is stored.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs, and a failure of their helpers is a failed test"
)]

use std::fs;
use std::sync::Arc;

use hardsign_plugin::algorithm::KeySpec;
use softhsm_tests::keys;
use softhsm_tests::pair::Pair;
use softhsm_tests::peers::framework;
use softhsm_tests::ports::free_port;
use softhsm_tests::token::Token;
use softhsm_tests::tsa::{Authority, Builder, Manner, Tsa};
use softhsm_tests::workbench::{Ran, Workbench};

/// A machine with a key in a token, and one authority.
struct Bench {
    bench: Workbench,
    authority: Arc<Authority>,
    tsa: Tsa,
    uri: String,
    _token: Token,
}

impl Bench {
    fn new(authority: Builder) -> Self {
        let token = Token::new("T").with_key_and_chain(&keys::key(KeySpec::Ec256), "k", "01");
        let bench = Workbench::with_token(&token);
        fs::write(bench.path().join("file"), "hello").unwrap();
        let authority = Arc::new(authority.build());
        Self {
            tsa: Tsa::start(&authority),
            uri: token.uri("k"),
            authority,
            bench,
            _token: token,
        }
    }

    fn sign(&self, url: &str, root: &str) -> Ran {
        let key = [
            "blob", "sign", "--plugin", "pkcs11", "--id", &self.uri, "file",
        ];
        let tsa = ["--timestamp-url", url, "--timestamp-root-cert", root];
        self.bench.hardsign(key.iter().chain(&tsa))
    }

    /// Signs with the bench's own authority.
    fn stamp(&self) -> Ran {
        self.sign(&self.tsa.url, &self.authority.root().display().to_string())
    }

    fn is_stored(&self) -> bool {
        self.bench.path().join("file.jws.sig").exists()
    }

    /// Demands that nothing was stored, and this error.
    fn refuses(&self, ran: &Ran, code: i32, error: &str) {
        let text = &ran.stderr;
        assert!(
            text.starts_with(&format!("Error: {error}")),
            "{text}\n{error}"
        );
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{text}");
        assert!(!self.is_stored(), "{error}");
        let hint = text.lines().last().unwrap();
        assert!(
            code == 2 || hint.starts_with("Hint: nothing was stored"),
            "{text}"
        );
    }
}

/// TSA-01, TSA-05, TSA-06, TSA-09: the network and HTTP.
#[test]
fn tsa_06_answers_that_are_none() {
    let bench = Bench::new(Builder::new(KeySpec::Ec256));
    let root = bench.authority.root().display().to_string();
    let url = bench.tsa.url.clone();
    let post = format!("timestamp: Post \"{url}\": ");
    let huge = vec![0x30; 1024 * 1024];
    for (manner, error) in [
        (
            Manner::Status("500 Oops"),
            "the timestamping authority answered with status 500",
        ),
        (
            Manner::Status("404 Not Found"),
            "the timestamping authority answered with status 404",
        ),
        (
            Manner::Status("201 Created"),
            "the timestamping authority answered with status 201",
        ),
        (
            Manner::ContentType("application/timestamp-query; charset=utf-8"),
            "the answer has the content type \"application/timestamp-query; charset=utf-8\" in place of application/timestamp-reply",
        ),
        (
            Manner::ContentType("text/html"),
            "the answer has the content type \"text/html\"",
        ),
        (
            Manner::Bytes(huge),
            "the answer has more than 1048575 bytes",
        ),
    ] {
        bench.tsa.be(manner);
        bench.refuses(&bench.stamp(), 3, &format!("{post}{error}"));
    }
    // Nobody listens.
    let free = format!("127.0.0.1:{}", free_port());
    let ran = bench.sign(&format!("http://{free}"), &root);
    bench.refuses(
        &ran,
        3,
        &format!("timestamp: Post \"http://{free}\": connection refused"),
    );
    // The reference's own text begins so, up to the address.
    let ran = bench.sign("http://localhost.test", &root);
    bench.refuses(&ran, 3, "timestamp: Post \"http://localhost.test\": ");
    for url in ["dummy", "ftp://tsa.example.com/"] {
        let error = format!("{url:?} is not the http or https URL of a timestamping authority");
        bench.refuses(&bench.sign(url, &root), 2, &error);
    }
    bench.tsa.be(Manner::Good);
    assert_eq!(bench.stamp().code, Some(0));
    assert!(bench.is_stored());
}

/// TSA-05: an authority that never answers is waited for a while, not for ever.
#[test]
fn tsa_05_a_silent_authority() {
    let bench = Bench::new(Builder::new(KeySpec::Ec256));
    bench.tsa.be(Manner::Silent);
    let error = format!(
        "timestamp: Post \"{}\": no complete answer within 15 seconds",
        bench.tsa.url
    );
    bench.refuses(&bench.stamp(), 3, &error);
}

/// TSA-04, TSA-07, TSA-08, TSA-30: answers that are well-formed and wrong.
#[test]
fn tsa_07_answers_that_are_wrong() {
    let bench = Bench::new(Builder::new(KeySpec::Ec256));
    let rejection = [0x30, 3 + 2 + 4, 0x30, 3 + 4, 2, 1, 2, 3, 2, 5, 0x20];
    let other = Arc::new(Builder::new(KeySpec::Ec256).build());
    let code = Builder::new(KeySpec::Ec256).extensions("extendedKeyUsage = codeSigning\n");
    let loose = Builder::new(KeySpec::Ec256).extensions("extendedKeyUsage = timeStamping\n");
    let page = Manner::Bytes(b"<html>no</html>".to_vec());
    for (manner, error) in [
        (Manner::OtherDigest, "invalid TSTInfo: mismatched message"),
        (
            Manner::OtherNonce,
            "invalid timestamping response: its nonce is not the one of the request",
        ),
        (
            Manner::SignedBy(other),
            "the certificate chain of the timestamping authority \"CN=TSA\" ends in no trusted root",
        ),
        (
            Manner::SignedBy(Arc::new(code.build())),
            "the certificate chain of the timestamping authority",
        ),
        (
            Manner::SignedBy(Arc::new(loose.build())),
            "the certificate chain of the timestamping authority",
        ),
        (
            Manner::Bytes(rejection.to_vec()),
            "the timestamping authority refused the request: rejection (badRequest: transaction not permitted or supported)",
        ),
        (Manner::Bytes(Vec::new()), "invalid timestamping response: "),
        (page, "invalid timestamping response: "),
    ] {
        bench.tsa.be(manner);
        bench.refuses(&bench.stamp(), 1, &format!("timestamp: {error}"));
    }
}

/// TSA-08, X509-13: certificates that are no timestamping authority's, under the right root.
#[test]
fn tsa_08_certificates_of_another_kind() {
    let subject = "invalid timestamping certificate chain: timestamp signing certificate with subject \"CN=TSA\" must have";
    for (extensions, error) in [
        (
            "extendedKeyUsage = critical,codeSigning\n",
            format!("{subject} and only have Timestamping as extended key usage"),
        ),
        (
            "extendedKeyUsage = critical,timeStamping,codeSigning\n",
            format!("{subject} and only have Timestamping as extended key usage"),
        ),
        (
            "extendedKeyUsage = timeStamping\n",
            format!("{subject} extended key usage extension marked as critical"),
        ),
    ] {
        let by = Arc::new(
            Builder::new(KeySpec::Rsa2048)
                .extensions(extensions)
                .build(),
        );
        let bench = Bench::new(Builder::new(KeySpec::Rsa2048));
        bench.tsa.be(Manner::SignedBy(Arc::clone(&by)));
        let ran = bench.sign(&bench.tsa.url, &by.root().display().to_string());
        bench.refuses(&ran, 1, &format!("timestamp: {error}"));
    }
    // Expired, or not valid yet.
    for (from, to) in [
        ("20200101000000Z", "20250101000000Z"),
        ("20480101000000Z", "20490101000000Z"),
    ] {
        let by = Arc::new(Builder::new(KeySpec::Ec256).valid(from, to).build());
        let bench = Bench::new(Builder::new(KeySpec::Ec256));
        bench.tsa.be(Manner::SignedBy(Arc::clone(&by)));
        let ran = bench.sign(&bench.tsa.url, &by.root().display().to_string());
        bench.refuses(&ran, 1, "timestamp: invalid timestamping certificate chain: certificate with subject \"CN=TSA\" was invalid at");
    }
}

/// CLI-24, CLI-25, TSA-10, TSA-11: faults of the flags and of the root's file are told in
/// `notation`'s words.
#[test]
fn tsa_11_faults_of_the_command_line_are_notations() {
    let pair = Pair::new();
    for bench in [&pair.hardsign, &pair.notation] {
        bench.hardsign_ok(["cert", "generate-test", "--default", "demo"]);
    }
    let root = fs::read(keys::root()).unwrap();
    pair.file("root.crt", &root);
    pair.file("two.crt", &[root.clone(), root].concat());
    pair.file("empty.crt", b"");
    pair.file("nonsense.crt", b"no certificate");
    pair.all_alike(
        "sign --timestamp-url http://localhost:1 a@b
         sign --timestamp-root-cert root.crt a@b
         sign --timestamp-url '' --timestamp-root-cert root.crt a@b
         sign --timestamp-url dummy --timestamp-root-cert '' a@b
         sign --timestamp-url '' --timestamp-root-cert '' a@b
         sign --timestamp-url http://localhost:1 --key x --id y --plugin z a@b
         sign --timestamp-url http://localhost:1 --timestamp-root-cert empty.crt localhost:1/a:b
         sign --timestamp-url http://localhost:1 --timestamp-root-cert two.crt localhost:1/a:b
         sign --timestamp-url http://localhost:1 --timestamp-root-cert nosuch.crt localhost:1/a:b
         sign --timestamp-url http://localhost:1 --timestamp-root-cert empty.crt nonsense
         sign --key nosuch --timestamp-url http://localhost:1 --timestamp-root-cert empty.crt nonsense",
    );
    // X509-23: the same beginning, then what it is.
    pair.alike(
        "sign --timestamp-url http://localhost:1 --timestamp-root-cert nonsense.crt localhost:1/a:b",
        "",
        |text| text.replace(": neither PEM nor DER", ""),
    );
}

/// CLI-32, TSA-09: in a batch each failure names its artifact; an authority that can't be reached
/// ends it, since every further signature would be made in vain.
#[test]
fn cli_32_batches_name_what_has_no_timestamp() {
    let bench = Bench::new(Builder::new(KeySpec::Ec256));
    let root = bench.authority.root().display().to_string();
    let files = ["a", "b", "c", "d", "e", "f"];
    for file in files {
        fs::write(bench.bench.path().join(file), file).unwrap();
    }
    let batch = |url: &str| {
        let key = ["blob", "sign", "--plugin", "pkcs11", "--id", &bench.uri];
        let tsa = ["--timestamp-url", url, "--timestamp-root-cert", &root];
        bench.bench.hardsign(key.iter().chain(&tsa).chain(&files))
    };
    bench.tsa.be(Manner::OtherNonce);
    let ran = batch(&bench.tsa.url);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    for file in files {
        let error = format!("Error: {file}: timestamp: invalid timestamping response: its nonce");
        assert!(ran.stderr.contains(&error), "{}", ran.stderr);
    }
    let ran = batch("http://localhost:1");
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let error = "Error: a: timestamp: Post \"http://localhost:1\": connection refused";
    assert_eq!(
        ran.stderr.matches("timestamp: ").count(),
        1,
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.starts_with(error), "{}", ran.stderr);
    for file in files {
        assert!(!bench.bench.path().join(format!("{file}.jws.sig")).exists());
    }
}

/// PLG-39, DIF-48: a plugin that makes whole envelopes makes its own timestamps; to ask for one
/// beside is refused before anything is asked of plugin, key or authority.
#[test]
fn plg_39_plugins_that_make_envelopes() {
    let plugin = framework::executable();
    let bench = Bench::new(Builder::new(KeySpec::Ec256));
    let name = "framework-envelope";
    bench.bench.install_plugin(name, &plugin);
    let root = bench.authority.root().display().to_string();
    let digest = bench.bench.layout.add("v1", "hello");
    let reference = bench.bench.reference(&digest);
    let tsa = [
        "--timestamp-url",
        &bench.tsa.url,
        "--timestamp-root-cert",
        &root,
    ];
    let ran = bench.bench.hardsign(
        [
            "sign",
            "--plugin",
            name,
            "--id",
            "k",
            "--oci-layout",
            &reference,
        ]
        .iter()
        .chain(&tsa),
    );
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(1), ""),
        "{}",
        ran.stderr
    );
    assert_eq!(
        ran.stderr,
        "Error: timestamp: the plugin makes whole envelopes, to which no timestamp can be added\nHint: let the plugin make timestamps, as its documentation says, or leave --timestamp-url and --timestamp-root-cert out\n"
    );
    assert_eq!(bench.tsa.queries(), 0);
}
