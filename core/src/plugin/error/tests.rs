//! The texts of errors, of which the reference has some too, and what follows from an error.

use std::process::ExitStatus;

use hardsign_plugin::algorithm::SignatureAlgorithm;
use hardsign_plugin::proto::Metadata;
use hardsign_test_support::Told;

use super::PluginErrorKind as Kind;
use super::*;
use crate::json;

fn name() -> PluginName {
    PluginName::new("x").unwrap()
}

/// As told, with its causes, of the plugin x at the command `sign-digest`.
fn told(kind: impl Into<Kind>) -> String {
    kind.into().at(&name(), "sign-digest").told()
}

fn denied() -> io::Error {
    io::Error::from(io::ErrorKind::PermissionDenied)
}

fn answer(text: &str) -> Box<ErrorResponse> {
    Box::new(json::from_slice(text.as_bytes()).unwrap())
}

fn seconds() -> Duration {
    Duration::from_millis(1500)
}

/// PLG-03, PLG-04, PLG-05, PLG-06, PLG-07, PLG-11, PLG-18, PLG-22, PLG-31, PLG-34, BLOB-13: the texts,
/// each layer once.
#[test]
fn plg_07_texts() {
    let path = PathBuf::from("/p/x");
    let end = ProcessEnd {
        status: None,
        stderr: vec!["no".to_owned(), "more".to_owned()],
    };
    for (kind, text) in [
        (
            Kind::InvalidName("../x".into()),
            "plugin name \"../x\" is invalid: it must match [A-Za-z0-9_.-]+ and not be . or ..",
        ),
        (
            Kind::NotFound {
                path: path.clone(),
                source: denied(),
                nearest: None,
            },
            "plugin executable file is either not found or inaccessible: stat /p/x: permission denied",
        ),
        (
            Kind::NotRegular(path.clone()),
            "plugin executable file is not a regular file",
        ),
        (
            Kind::NotInTheBox,
            "the plugin x that comes with hardsign is not installed beside it",
        ),
        (
            Kind::List {
                directory: "/p".into(),
                reason: denied(),
            },
            "failed to list plugin: permission denied.\nPlease ensure that the current user has permission to access the plugin directory: /p",
        ),
        (
            Kind::Changed {
                path: path.clone(),
                pinned: "aa".into(),
                found: "bb".into(),
            },
            "plugin x was changed since it was pinned: its SHA-256 is bb, not aa",
        ),
        (
            Kind::Start {
                path,
                source: denied(),
            },
            "failed to start /p/x for the sign-digest command: permission denied",
        ),
        (
            Kind::Pipe(denied()),
            "lost the connection to plugin x during sign-digest: permission denied",
        ),
        (Kind::Failed(end.clone()), "no\nmore"),
        (Kind::EmptyRefusal, "incomplete json"),
        (
            Kind::TooMuchOutput {
                stream: "stdout",
                limit: 7,
            },
            "plugin x wrote more than 7 bytes to stdout during sign-digest",
        ),
        (
            Kind::Clock(seconds()),
            "plugin x did not answer sign-digest within 1.5 seconds",
        ),
        (
            Kind::Interrupted,
            "interrupted during sign-digest of plugin x",
        ),
        (
            Kind::Silent(seconds()),
            "not asked again: plugin x did not answer sign-digest within 1.5 seconds before in this run",
        ),
        (
            Kind::Metadata(MetadataFault::Url),
            "metadata validation failed for plugin x: empty url",
        ),
        (
            Kind::CannotSign,
            "plugin does not have signing capabilities",
        ),
        (
            Kind::CannotSignBlobs,
            "the plugin \"x\" lacks the signature generator capability required for blob signing",
        ),
        (Kind::Lacks("list keys"), "plugin x can't list keys"),
        (Kind::Closed, "the session with plugin x is closed"),
        (
            Kind::Session {
                broken: Arc::new(SessionError::Ended),
                end: SessionEnd(end),
            },
            "plugin x: it ended its session before every request was answered; it said:\nno\nmore",
        ),
        (
            Kind::Envelope(Box::new(Kind::Interrupted.at(&name(), "generate-envelope"))),
            "plugin failed to sign with following error: interrupted during generate-envelope of plugin x",
        ),
        (
            Kind::Signing(Box::new(Kind::CannotSign.of(&name()))),
            "failed to sign with the plugin x: plugin does not have signing capabilities",
        ),
    ] {
        assert_eq!(told(kind), text);
    }
    let malformed = told(Kind::Malformed(
        json::from_slice::<Metadata>(b"{").unwrap_err(),
    ));
    let start = "failed to unmarshal the response of sign-digest command for plugin x: ";
    assert!(malformed.starts_with(start), "{malformed}");
}

/// PLG-20, PLG-24, PLG-25, PLG-28, PLG-30, PLG-34: the texts for answers that can't be used.
#[test]
fn plg_24_texts_of_answers() {
    let (answered, asked) = ("a".to_owned(), "b".to_owned());
    for (fault, text) in [
        (
            AnswerFault::WrongName {
                answered: "y\u{1b}".into(),
                file: "notation-x".into(),
            },
            "plugin executable file name must be \"notation-y\\u{1b}\" instead of \"notation-x\"",
        ),
        (
            AnswerFault::WrongPublicKey("can't be read"),
            "plugin x answered sign-digest with a public key that can't be read",
        ),
        (
            AnswerFault::WrongKey {
                answer: "describeKey",
                answered: answered.clone(),
                asked: asked.clone(),
            },
            "keyID in describeKey response \"a\" does not match request \"b\"",
        ),
        (
            AnswerFault::UnknownKeySpec {
                key: "k".into(),
                answered: "RSA-1024".into(),
            },
            "unknown key spec",
        ),
        (
            AnswerFault::WrongAlgorithm {
                answer: "generateSignature",
                answered: "none".into(),
                expected: SignatureAlgorithm::EcdsaSha256,
            },
            "signing algorithm in generateSignature response \"none\" does not match key spec, which requires ECDSA-SHA-256",
        ),
        (
            AnswerFault::SignatureLength {
                length: 63,
                key: KeySpec::Ec256,
            },
            "generated signature failed verification: signature is invalid. Error: crypto/ecdsa: verification error: it has 63 bytes instead of 64",
        ),
        (
            AnswerFault::ChainTooLarge {
                count: 33,
                bytes: 9,
            },
            "plugin x returned a certificate chain of 33 certificates and 9 bytes, which is more than hardsign reads",
        ),
        (
            AnswerFault::Certificates(Box::new(
                crate::envelope::EnvelopeError::CertificateChainMissing,
            )),
            "plugin x opened the key with certificates that can't be used: certificate chain is not present",
        ),
        (
            AnswerFault::KeyChanged,
            "plugin x was started again and answered with another key or certificate chain",
        ),
        (
            AnswerFault::WrongEnvelopeType { answered, asked },
            "signatureEnvelopeType in generateEnvelope response \"a\" does not match request \"b\"",
        ),
    ] {
        assert_eq!(told(fault), text);
    }
}

/// PLG-09: what a plugin said is found below what was being done, and so is its hint.
#[test]
fn plg_09_refusals_are_found_below() {
    let said =
        r#"{"errorCode":"ACCESS_DENIED","errorMessage":"no\u001b","errorMetadata":{"hint":"try"}}"#;
    let refused = Kind::Refused {
        key: None,
        error: answer(said),
    };
    let error = Kind::Envelope(Box::new(refused.at(&name(), "generate-envelope"))).of(&name());
    let error = Kind::Signing(Box::new(error)).of(&name());
    assert_eq!(error.code(), Some(&ErrorCode::AccessDenied));
    assert_eq!(error.hint().as_deref(), Some("try"));
    assert_eq!(
        error.told(),
        "failed to sign with the plugin x: plugin failed to sign with following error: no\\u{1b}"
    );
    let none = told(Kind::Refused {
        key: None,
        error: answer("{}"),
    });
    assert_eq!(none, "the plugin gave no reason");
}

/// What the loader says of a library that is missing, whichever way the plugin was started.
#[cfg(unix)]
#[test]
fn missing_libraries_are_named() {
    use std::os::unix::process::ExitStatusExt as _;

    let end = |code: i32, said: &str| ProcessEnd {
        status: Some(ExitStatus::from_raw(code << 8)),
        stderr: vec![said.to_owned()],
    };
    let loader = "/p/notation-x: error while loading shared libraries: libpcsclite.so.1: cannot open shared object file: No such file or directory";
    let failed = Kind::Failed(end(127, loader)).at(&name(), "get-plugin-metadata");
    let session = Kind::Session {
        broken: Arc::new(SessionError::Interrupted),
        end: SessionEnd(end(127, loader)),
    }
    .of(&name());
    for error in [failed, session] {
        assert!(error.hint().unwrap().contains("libpcsclite1 on Debian"));
    }
    let other = loader.replace("libpcsclite.so.1", "libfoo.so.2");
    let hint = end(127, &other).missing_library().unwrap();
    assert_eq!(
        hint,
        "install the library libfoo.so.2, which the plugin needs"
    );
    assert_eq!(end(1, loader).missing_library(), None);
    assert_eq!(end(127, "not found").missing_library(), None);
}
