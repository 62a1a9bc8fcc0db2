//! The plugin against SoftHSM: signatures that openssl accepts, and every fault with its reason.

use std::fs;

use hardsign_plugin::chain::{self, PublicKey};

use crate::plugin::{KINDS, Plugin, SOFTHSM, SPY, bytes, texts};
use serde_json::{Value, json};
use softhsm_tests::token::PIN;

/// All six kinds of keys, one-shot and in a session: PLG-27, ENV-32, ENV-35, ENV-37.
fn signs(kind: usize) {
    let token = Plugin::new();
    let (key_type, spec, hash, _) = KINDS[kind];
    let uri = token.ready(key_type, "01", &[]);
    let described = token.describe(&uri).unwrap();
    let public = bytes(&described["publicKey"]);
    assert_eq!(
        described,
        json!({
            "keyId": uri, "keySpec": spec, "publicKey": described["publicKey"],
            "certificateChain": described["certificateChain"],
        })
    );

    let signed = token.sign(&uri, kind, &json!({})).unwrap();
    assert_eq!(signed["keyId"], *uri);
    let chain = signed["certificateChain"].as_array().unwrap();
    let leaf = bytes(&chain[0]);
    assert_eq!(leaf, fs::read(token.file("01.der")).unwrap());
    assert_eq!(bytes(&chain[1]), fs::read(token.file("ca.der")).unwrap());
    assert_eq!(chain.len(), 2);
    assert_eq!(described["certificateChain"], signed["certificateChain"]);
    let of_leaf = chain::public_key(&leaf).unwrap();
    assert_eq!(PublicKey::from_spki_der(&public).unwrap(), of_leaf);
    token.verify(kind, &leaf, &bytes(&signed["signature"]));

    let mut session = token.session();
    session.open(&uri);
    let opened = session.receive();
    assert_eq!(opened["response"]["keySpec"], spec, "{opened}");
    assert_eq!(
        opened["response"]["certificateChain"],
        signed["certificateChain"]
    );
    assert_eq!(opened["response"]["interaction"], "none");
    assert_eq!(opened["response"]["maxInFlight"], 8 + 8);
    assert_eq!(opened["response"]["publicKey"], described["publicKey"]);
    assert_eq!(opened["response"]["token"]["label"], "T");
    let digest = token.digest(kind);
    for id in 2..10 {
        session.sign(id, &digest, hash);
    }
    let mut ids = Vec::new();
    for _ in 2..10 {
        let answer = session.receive();
        token.verify(kind, &leaf, &bytes(&answer["response"]["signature"]));
        ids.push(answer["id"].as_u64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, (2..10).collect::<Vec<_>>());
    assert_eq!(session.end(), (Some(0), String::new()));
}

#[test]
fn signs_rsa_2048() {
    signs(0);
}

#[test]
fn signs_rsa_3072() {
    signs(1);
}

#[test]
fn signs_rsa_4096() {
    signs(2);
}

#[test]
fn signs_p256() {
    signs(3);
}

#[test]
fn signs_p384() {
    signs(4);
}

#[test]
fn signs_p521() {
    signs(5);
}

/// One module load, one login, one key look-up for a hundred signatures; logged out at the end.
#[test]
fn a_session_logs_in_once() {
    let token = Plugin::new();
    token.ready("EC:prime256v1", "01", &[]);
    let mut session = token.session();
    session.open(&token.uri_at(&SPY, "K01", "pin"));
    assert!(session.receive()["response"].is_object());
    let looked_up = token.calls("C_FindObjectsInit");
    for id in 2..102 {
        session.sign(id, &[7; 32], "SHA-256");
        assert!(session.receive()["response"]["signature"].is_string());
    }
    assert_eq!(session.end().0, Some(0));
    for function in ["C_Initialize", "C_Login", "C_Logout", "C_Finalize"] {
        assert_eq!(token.calls(function), 1, "{function}");
    }
    assert_eq!(token.calls("C_SignInit"), 100);
    assert_eq!(token.calls("C_FindObjectsInit"), looked_up);
    assert_eq!(token.calls("C_OpenSession"), token.calls("C_CloseSession"));
    let log = fs::read_to_string(token.file("spy.log")).unwrap();
    for secret in ["CKA_PRIVATE_EXPONENT", "CKA_PRIME_1"] {
        assert!(!log.contains(secret), "{secret} was asked for");
    }
}

/// A hundred requests with a wrong PIN are one login attempt.
#[test]
fn a_wrong_pin_is_tried_once() {
    let token = Plugin::new();
    token.ready("EC:prime256v1", "01", &[]);
    token.write_pin("wrong", "000000");
    let mut session = token.session();
    session.open(&token.uri_at(&SPY, "K01", "wrong"));
    for id in 2..102 {
        session.sign(id, &[7; 32], "SHA-256");
    }
    for _ in 1..102 {
        let answer = session.receive();
        assert_eq!(answer["error"]["errorCode"], "ACCESS_DENIED");
        let (message, hint) = texts(&answer["error"]);
        assert!(message.contains("token \"T\" refused the PIN"), "{message}");
        // The cause is told, once.
        assert_eq!(message.matches("CKR_PIN_INCORRECT").count(), 1, "{message}");
        assert!(hint.contains("check the PIN"), "{hint}");
        assert!(!answer.to_string().contains("000000"));
    }
    assert_eq!(session.end().0, Some(0));
    assert_eq!(token.calls("C_Login"), 1);
    assert_eq!(token.calls("C_Finalize"), 1);
}

/// A key that is seen without login is described without one.
#[test]
fn describing_needs_no_login() {
    let token = Plugin::new();
    token.ready("rsa:2048", "01", &[]);
    let uri = format!(
        "pkcs11:token=T;id=%01?module-path={}&pin-source=file:/none",
        *SPY
    );
    assert_eq!(token.describe(&uri).unwrap()["keySpec"], "RSA-2048");
    assert_eq!(token.calls("C_Login"), 0);
}

/// CKA_ALWAYS_AUTHENTICATE: a login before each signature, one at a time; the next request may wait.
#[test]
fn keys_that_want_a_login_each_time() {
    let token = Plugin::new();
    for (kind, key_type) in [(0, "rsa:2048"), (3, "EC:prime256v1")] {
        let id = format!("0{kind}");
        token.ready(key_type, &id, &["--always-auth"]);
        let mut session = token.session();
        session.open(&token.uri_at(&SPY, &format!("K{id}"), "pin"));
        let opened = session.receive();
        assert_eq!(opened["response"]["maxInFlight"], 1 + 1, "{opened}");
        let leaf = bytes(&opened["response"]["certificateChain"][0]);
        let before = token.calls("C_Login");
        for id in 2..5 {
            session.sign(id, &token.digest(kind), "SHA-256");
            let answer = session.receive();
            assert!(answer["response"].is_object(), "{answer}");
            token.verify(kind, &leaf, &bytes(&answer["response"]["signature"]));
        }
        assert_eq!(token.calls("C_Login"), before + 3);
        assert_eq!(session.end().0, Some(0));
    }
}

/// ENV-35: a token without CKM_RSA_PKCS_PSS signs a block that is encoded here.
#[test]
fn tokens_without_pss() {
    let token = Plugin::with_conf("slots.mechanisms = -CKM_RSA_PKCS_PSS\n");
    for kind in [0, 1] {
        let (key_type, ..) = KINDS[kind];
        let id = format!("0{kind}");
        token.ready(key_type, &id, &[]);
        let uri = token.uri_at(&SPY, &format!("K{id}"), "pin");
        let signed = token.sign(&uri, kind, &json!({})).unwrap();
        let leaf = bytes(&signed["certificateChain"][0]);
        token.verify(kind, &leaf, &bytes(&signed["signature"]));
    }
    let log = fs::read_to_string(token.file("spy.log")).unwrap();
    assert!(log.contains("CKM_RSA_X_509"), "PSS was not missing");
}

/// Keys by plugin config, by label and by id; certificates from a file.
#[test]
fn plugin_config_and_certificate_file() {
    let token = Plugin::new();
    token.generate("EC:prime256v1", "01", &[]);
    let leaf = token.certify("01");
    crate::plugin::write(&token.file("chain.pem"), &[&leaf, &token.file("ca.pem")]);
    let config = json!({
        "module-path": SOFTHSM, "token-label": "T",
        "pin-source": format!("file:{}", token.file("pin").display()),
        "cert-chain": token.file("chain.pem"),
    });
    for key_id in ["K01", "id=01", "pkcs11:id=%01"] {
        let signed = token.sign(key_id, 3, &config).unwrap();
        let leaf = bytes(&signed["certificateChain"][0]);
        token.verify(3, &leaf, &bytes(&signed["signature"]));
    }
    // The leaf from the token, the CA from the file.
    token.store_certificate("01.der", "01");
    let mut config = config;
    config["cert-chain"] = json!(token.file("ca.pem"));
    let signed = token.sign("K01", 3, &config).unwrap();
    assert_eq!(signed["certificateChain"].as_array().unwrap().len(), 2);
}

/// PIN sources: environment, and a descriptor in a session only.
#[test]
fn pins_from_the_environment() {
    let token = Plugin::new();
    token.ready("EC:prime256v1", "01", &[]);
    let uri = format!("pkcs11:token=T;object=K01?module-path={SOFTHSM}&pin-source=env:MY_PIN");
    let mut plugin = token.plugin("session");
    plugin.env("MY_PIN", PIN);
    let mut session = crate::plugin::Session::start(plugin);
    session.open(&uri);
    assert!(session.receive()["response"].is_object());
    assert_eq!(session.end().0, Some(0));

    let (message, hint) = texts(&token.sign(&uri, 3, &json!({})).unwrap_err());
    assert!(
        message.contains("MY_PIN") && hint.contains("MY_PIN"),
        "{message} {hint}"
    );
    let uri = uri.replace("env:MY_PIN", "fd:7");
    let (message, _) = texts(&token.sign(&uri, 3, &json!({})).unwrap_err());
    assert!(message.contains("session only"), "{message}");
}

#[test]
fn list_keys() {
    let token = Plugin::new();
    token.init("Other");
    token.generate("EC:prime256v1", "01", &[]);
    token.generate("rsa:1024", "02", &[]);
    let list = |key_id: &str| {
        let request = json!({
            "contractVersion": "1.0", "keyId": key_id, "pluginConfig": {"module-path": SOFTHSM},
        });
        let answer = token.call("list-keys", &request).unwrap();
        let mut keys = answer["keys"].as_array().unwrap().clone();
        keys.sort_by_key(|key| key["keyId"].to_string());
        keys
    };
    let pin = token.file("pin");
    let with_login = list(&format!("pkcs11:token=T?pin-source=file:{}", pin.display()));
    for keys in [list(""), with_login] {
        assert_eq!(keys.len(), 2);
        let uri = keys[0]["keyId"].as_str().unwrap();
        assert!(uri.starts_with("pkcs11:token=T;serial="), "{uri}");
        assert!(
            uri.ends_with(&format!(";object=K01;id=%01?module-path={SOFTHSM}")),
            "{uri}"
        );
        assert_eq!(keys[0]["keySpec"], "EC-256");
        assert_eq!(keys[1]["keySpec"], Value::Null);
        let description = keys[1]["description"].as_str().unwrap();
        assert!(description.contains("RSA with 1024 bits"), "{description}");
    }
}
