//! What goes wrong with a token is told by name, with the next step, and touches no PIN count
//! that need not be touched.

use std::fs;

use crate::plugin::{Plugin, SOFTHSM, SPY, bytes, texts};
use serde_json::{Value, json};

/// Signing with a P-256 key fails: message and hint.
fn fails(token: &Plugin, uri: &str, config: &Value) -> (String, String) {
    texts(&token.sign(uri, 3, config).unwrap_err())
}

#[test]
fn module_token_and_key_that_are_not_there() {
    let token = Plugin::new();
    token.ready("EC:prime256v1", "01", &[]);
    let none = json!({});
    let uri = token.uri("K01");

    let (message, hint) = fails(&token, &uri.replace(SOFTHSM, "/no/module.so"), &none);
    assert!(
        message.contains("no PKCS#11 module at \"/no/module.so\""),
        "{message}"
    );
    assert!(hint.contains(SOFTHSM), "{hint}");
    let (message, hint) = fails(&token, "pkcs11:token=T;object=K01", &none);
    assert!(
        message.contains("no PKCS#11 module was named for key \"K01\""),
        "{message}"
    );
    assert!(
        hint.contains("module-path") && hint.contains(SOFTHSM),
        "{hint}"
    );
    let no_module = token.file("pin").display().to_string();
    let (message, _) = fails(&token, &uri.replace(SOFTHSM, &no_module), &none);
    assert!(message.contains("can't be loaded"), "{message}");

    let (message, hint) = fails(&token, &uri.replace("token=T", "token=U"), &none);
    assert!(message.contains("no token \"U\""), "{message}");
    assert!(hint.contains("tokens seen: \"T\" (serial"), "{hint}");

    let (message, hint) = fails(&token, &uri.replace("K01", "K02"), &none);
    assert!(
        message.contains("no private key \"K02\" in token \"T\""),
        "{message}"
    );
    assert!(hint.contains("keys seen: \"K01\" (id 01)"), "{hint}");

    token.init("T");
    let (message, hint) = fails(&token, &uri, &none);
    assert!(message.contains("more than one token"), "{message}");
    assert!(hint.contains("serial="), "{hint}");
}

#[test]
fn keys_that_are_no_use() {
    let token = Plugin::new();
    token.ready("rsa:1024", "01", &[]);
    let (message, hint) = fails(&token, &token.uri("K01"), &json!({}));
    assert!(message.contains("RSA with 1024 bits"), "{message}");
    assert!(hint.contains("2048"), "{hint}");
    token.ready("EC:secp256k1", "02", &[]);
    let (message, _) = fails(&token, &token.uri("K02"), &json!({}));
    assert!(message.contains("EC on curve secp256k1"), "{message}");
    // Two keys that a URI without object means.
    let any = token.uri("K01").replace(";object=K01", "");
    let (message, next) = fails(&token, &any, &json!({}));
    assert!(message.contains("more than one private key"), "{message}");
    assert!(next.contains("id="), "{next}");
}

#[test]
fn certificates_that_do_not_fit() {
    let token = Plugin::new();
    let none = json!({});
    token.generate("EC:prime256v1", "01", &[]);
    token.generate("EC:prime256v1", "02", &[]);
    let uri = token.uri("K01");
    let (message, hint) = fails(&token, &uri, &none);
    assert!(message.contains("no certificate for the key"), "{message}");
    assert!(hint.contains("cert-chain"), "{hint}");

    // Another key's certificate, from a file and from the token under this key's id.
    let other = token.certify("02");
    let (message, _) = fails(&token, &uri, &json!({"cert-chain": other}));
    assert!(
        message.contains("CN=Leaf02") && message.contains("does not match"),
        "{message}"
    );
    token.store_certificate("02.der", "01");
    let (message, _) = fails(&token, &uri, &none);
    assert!(
        message.contains("CN=Leaf02") && message.contains("does not match"),
        "{message}"
    );

    // The right leaf, whose CA is nowhere.
    let leaf = token.certify("01");
    let (message, hint) = fails(&token, &uri, &json!({"cert-chain": leaf}));
    assert!(
        message.contains("incomplete") && message.contains("CN=Root"),
        "{message}"
    );
    // A file was named already: what belongs into it.
    assert!(
        hint.contains("01.pem") && hint.contains("CN=Root"),
        "{hint}"
    );
    assert!(!hint.contains("cert-chain"), "{hint}");
    token.store_certificate("01.der", "01");
    let (message, hint) = fails(&token, &token.uri("K01"), &none);
    assert!(
        !message.is_empty() && hint.contains("cert-chain"),
        "{message}: {hint}"
    );

    let key = token.file("ca.key");
    let (message, _) = fails(&token, &uri, &json!({"cert-chain": key}));
    assert!(message.contains("private key"), "{message}");
    let (message, _) = fails(&token, &uri, &json!({"cert-chain": token.file("none")}));
    assert!(message.contains("can't be read"), "{message}");
    fs::write(token.file("garbage"), "garbage").unwrap();
    let (message, _) = fails(&token, &uri, &json!({"cert-chain": token.file("garbage")}));
    assert!(message.contains("x509: malformed certificate"), "{message}");
}

/// Requests that are wrong in themselves never reach the token.
#[test]
fn wrong_requests_touch_nothing() {
    let token = Plugin::new();
    token.ready("EC:prime256v1", "01", &[]);
    let uri = token.uri_at(&SPY, "K01", "pin");
    for uri in [
        uri.replace("pin-source=", "pin-value="),
        uri.replace("token=T", "token=T;pin-value=12/34"),
        uri.replace("token=T", "token=T;pin-source=env:MY_PIN"),
        uri.replace("?", "?object=K01&"),
        uri.replace("pin-source=file:", "pin-source=|cat "),
        uri.replace("token=T", "token=T;x-mine=1"),
    ] {
        let error = token.sign(&uri, 3, &json!({})).unwrap_err();
        assert_eq!(error["errorCode"], "VALIDATION_ERROR", "{error}");
    }
    // A PIN is refused wherever it stands, with the same advice, and no part of it is told.
    for (uri, config) in [
        (uri.replace("token=T", "token=T;pin-value=12/34"), json!({})),
        (uri.replace("token=T", "token=T;PIN=12/34"), json!({})),
        (
            uri.replace("pin-source=", "pin=12/34&pin-source="),
            json!({}),
        ),
    ] {
        let (message, hint) = fails(&token, &uri, &config);
        assert!(message.contains("pin-value"), "{message}");
        assert!(hint.contains("pin-source=file:"), "{hint}");
        assert!(
            !format!("{message}{hint}").contains("12"),
            "{message} {hint}"
        );
    }
    // A setting that is none, whatever it holds.
    let (message, _) = fails(&token, &uri, &json!({"pin_value": "12/34"}));
    assert!(
        message.contains("has no setting \"pin_value\""),
        "{message}"
    );
    assert!(!message.contains("12"), "{message}");
    assert_eq!(token.calls("C_Initialize"), 0);
    // The key is another than the host believes.
    let error = token.sign(&uri, 0, &json!({})).unwrap_err();
    assert!(
        texts(&error)
            .0
            .contains("is EC-256, the request says RSA-2048")
    );
    // No PIN to be had: no login.
    let (message, _) = fails(&token, &token.uri_at(&SPY, "K01", "none"), &json!({}));
    assert!(message.contains("can't be read"), "{message}");
    assert_eq!(token.calls("C_Login"), 1);
}

/// A request that the session refuses leaves the others alone.
#[test]
fn wrong_digests_in_a_session() {
    let token = Plugin::new();
    let uri = token.ready("EC:secp384r1", "01", &[]);
    // A PIN file for all to read is used, and told of.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(token.file("pin"), mode).unwrap();
    let mut session = token.session();
    session.open(&uri);
    let notice = session.receive();
    assert_eq!(notice["event"], "notice");
    assert!(notice["message"].as_str().unwrap().contains("every user"));
    let leaf = bytes(&session.receive()["response"]["certificateChain"][0]);
    for (digest, hash) in [(vec![1; 47], "SHA-384"), (vec![1; 32], "SHA-256")] {
        session.sign(2, &digest, hash);
        assert_eq!(session.receive()["error"]["errorCode"], "VALIDATION_ERROR");
    }
    session.sign(3, &token.digest(4), "SHA-384");
    let answer = session.receive();
    token.verify(4, &leaf, &bytes(&answer["response"]["signature"]));
    assert_eq!(session.end().0, Some(0));
}
