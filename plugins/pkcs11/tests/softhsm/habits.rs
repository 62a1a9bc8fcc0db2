//! Modules that do less than the standard, and devices that go away, played by `habits.c` in front
//! of SoftHSM. What can be signed is signed, and openssl verifies it; what can't is said by name.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::plugin::{KINDS, Plugin, Session, bytes, texts};
use softhsm_tests::run;
use softhsm_tests::token::PIN;

/// A token with one key behind the module with habits.
struct Habits {
    token: Plugin,
    kind: usize,
}

impl Habits {
    /// The certificates stand in `chain.pem` and in the token.
    fn new(kind: usize) -> Self {
        let token = Plugin::new();
        token.ready(KINDS[kind].0, "01", &[]);
        let (leaf, ca) = (token.file("01.pem"), token.file("ca.pem"));
        crate::plugin::write(&token.file("chain.pem"), &[&leaf, &ca]);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/softhsm/habits.c");
        run(token
            .tool("cc")
            .args(["-shared", "-fPIC", "-o", "habits.so", source, "-ldl"]));
        Self { token, kind }
    }

    fn uri(&self) -> String {
        let module = self.token.file("habits.so");
        self.token
            .uri_at(&module.display().to_string(), "K01", "pin")
    }

    fn uri_with_file(&self) -> String {
        let chain = self.token.file("chain.pem");
        format!("{}&cert-chain={}", self.uri(), chain.display())
    }

    fn environment(&self, plugin: &mut Command, environment: &[(&str, &str)]) {
        fs::remove_file(self.token.file("logins")).unwrap_or(());
        plugin
            .env("HABIT_LOG", self.token.file("logins"))
            .env("HABIT_PIN", PIN)
            .envs(environment.iter().copied());
    }

    /// A session that was asked to open.
    fn session(&self, uri: &str, environment: &[(&str, &str)]) -> Session {
        let mut plugin = self.token.plugin("session");
        self.environment(&mut plugin, environment);
        let mut session = Session::start(plugin);
        session.open(uri);
        session
    }

    /// A letter for each login.
    fn logins(&self) -> String {
        fs::read_to_string(self.token.file("logins")).unwrap_or_default()
    }

    fn sign(&self, session: &mut Session, id: u64) {
        session.sign(id, &self.token.digest(self.kind), KINDS[self.kind].2);
    }

    /// Opens and signs twice; openssl verifies both.
    fn signs(&self, uri: &str, environment: &[(&str, &str)]) {
        let mut session = self.session(uri, environment);
        let opened = session.receive();
        assert!(opened["response"].is_object(), "{environment:?}: {opened}");
        let leaf = bytes(&opened["response"]["certificateChain"][0]);
        for id in 2..4 {
            self.sign(&mut session, id);
            let answer = session.receive();
            assert!(answer["response"].is_object(), "{environment:?}: {answer}");
            let signature = bytes(&answer["response"]["signature"]);
            self.token.verify(self.kind, &leaf, &signature);
        }
        assert_eq!(session.end(), (Some(0), String::new()), "{environment:?}");
    }

    /// Opening or the first signature fails: message and hint.
    fn fails(&self, uri: &str, environment: &[(&str, &str)]) -> (String, String) {
        let mut session = self.session(uri, environment);
        let mut answer = session.receive();
        if answer["response"].is_object() {
            self.sign(&mut session, 2);
            answer = session.receive();
        }
        assert!(answer["error"].is_object(), "{environment:?}: {answer}");
        assert_eq!(session.end().0, Some(0), "{environment:?}");
        texts(&answer["error"])
    }
}

/// The answer to a request, past the notices before it.
fn answer(session: &mut Session) -> (Value, Vec<String>) {
    let mut notices = Vec::new();
    loop {
        let line = session.receive();
        match line["event"].as_str() {
            Some("notice") => notices.push(line["message"].as_str().unwrap().to_owned()),
            Some(_) => {}
            None => return (line, notices),
        }
    }
}

/// C_Sign is called once for a signature, into a buffer that is large enough for all.
#[test]
fn no_question_for_the_length() {
    for kind in [1, 2, 3, 5] {
        let habits = Habits::new(kind);
        for habit in ["no-length", "length-ends"] {
            habits.signs(&habits.uri(), &[("HABITS", habit)]);
        }
    }
    let habits = Habits::new(3);
    let uri = habits.token.uri_at(&crate::plugin::SPY, "K01", "pin");
    habits.signs(&uri, &[]);
    assert_eq!(habits.token.calls("C_Sign"), 2);
}

/// What C_GetMechanismInfo does not tell is tried; what it tells wrongly too.
#[test]
fn no_word_on_mechanisms() {
    let habits = Habits::new(1);
    for (words, code) in [
        ("no-info", "54"),
        ("no-info", "5"),
        ("no-info", "6"),
        ("null-info", "0"),
        ("empty-info", "0"),
        ("no-info,no-pss", "54"),
        ("empty-info,no-pss", "0"),
        ("no-pss", "0"),
    ] {
        habits.signs(&habits.uri(), &[("HABITS", words), ("HABIT_CODE", code)]);
    }
    let (message, _) = habits.fails(&habits.uri(), &[("HABITS", "no-pss,no-raw")]);
    assert!(
        message.contains("can't sign with RSA-3072 keys"),
        "{message}"
    );
    // CKR_MECHANISM_INVALID is a clear no.
    let invalid = [("HABITS", "no-info"), ("HABIT_CODE", "70")];
    let (message, _) = habits.fails(&habits.uri(), &invalid);
    assert!(
        message.contains("no mechanism CKM_RSA_PKCS_PSS"),
        "{message}"
    );
}

/// A module that can't look for certificates: none, where a file gives the chain; else an error that
/// says both.
#[test]
fn no_search_for_certificates() {
    let habits = Habits::new(3);
    for words in ["no-certificates", "certificates-end"] {
        for code in ["13", "12", "6", "54", "7"] {
            let environment = [("HABITS", words), ("HABIT_CODE", code)];
            habits.signs(&habits.uri_with_file(), &environment);
            let (message, hint) = habits.fails(&habits.uri(), &environment);
            assert!(message.contains("no certificate for the key"), "{message}");
            assert!(message.contains("C_FindObjects"), "{message}");
            assert!(hint.contains("cert-chain"), "{hint}");
        }
    }
    // Searched for by the class alone, they are there.
    habits.signs(&habits.uri(), &[("HABITS", "no-type-search")]);
}

/// NUL bytes and blanks end texts alike, those of the token and those of objects.
#[test]
fn padded_texts() {
    let habits = Habits::new(3);
    for words in [
        "nul-token",
        "nul-label",
        "blank-label",
        "no-label-search",
        "nul-token,nul-label",
    ] {
        habits.signs(&habits.uri(), &[("HABITS", words)]);
        // A label that was written with its padding means the same.
        for padding in ["%00", "%20%20"] {
            let uri = habits.uri().replace("K01", &format!("K01{padding}"));
            habits.signs(&uri, &[("HABITS", words)]);
        }
    }
    let wrong = habits.uri().replace("K01", "K0");
    let (message, hint) = habits.fails(&wrong, &[("HABITS", "nul-label")]);
    assert!(message.contains("no private key \"K0\""), "{message}");
    assert!(hint.contains("keys seen: \"K01\" (id 01)"), "{hint}");
    // Public keys and certificates of keys without an id are found by padded labels as well.
    let (message, _) = habits.fails(
        &habits.uri().replace("token=T", "token=U"),
        &[("HABITS", "nul-token")],
    );
    assert!(message.contains("no token \"U\""), "{message}");
}

/// A public point in any wrapping; where it can't be read, the certificate's key.
#[test]
fn points_and_numbers_that_cannot_be_read() {
    for kind in [3, 5] {
        let habits = Habits::new(kind);
        for words in ["point-bits", "point-bare", "point-short"] {
            habits.signs(&habits.uri(), &[("HABITS", words)]);
            let only_file = format!("{words},no-certificates");
            habits.signs(&habits.uri_with_file(), &[("HABITS", &only_file)]);
        }
        for code in ["12", "11", "6", "54"] {
            let hidden = [("HABITS", "point-hidden"), ("HABIT_CODE", code)];
            habits.signs(&habits.uri(), &hidden);
        }
        habits.signs(&habits.uri(), &[("HABITS", "no-type")]);
        let (message, hint) = habits.fails(
            &habits.uri(),
            &[
                ("HABITS", "point-hidden,no-certificates"),
                ("HABIT_CODE", "12"),
            ],
        );
        assert!(message.contains("public half of key \"K01\""), "{message}");
        assert!(hint.contains("cert-chain"), "{hint}");
    }
    let habits = Habits::new(0);
    habits.signs(
        &habits.uri(),
        &[("HABITS", "no-modulus"), ("HABIT_CODE", "12")],
    );
    habits.signs(&habits.uri(), &[("HABITS", "no-type")]);
}

/// ENV-35: a device with a salt of its own choice signs through CKM_RSA_X_509, or the salt is named.
#[test]
fn env_35_salt_of_the_devices_choice() {
    for (kind, salts, wanted) in [
        (0, ["222", "20", "0"], 32),
        (1, ["334", "32", "0"], 48),
        (2, ["446", "20", "0"], 64),
    ] {
        let habits = Habits::new(kind);
        for salt in salts {
            habits.signs(&habits.uri(), &[("HABITS", "salt"), ("HABIT_SALT", salt)]);
            let environment = [
                ("HABITS", "salt,no-raw,no-info"),
                ("HABIT_SALT", salt),
                ("HABIT_CODE", "54"),
            ];
            let (message, _) = habits.fails(&habits.uri(), &environment);
            assert!(
                message.contains(&format!("salt of {salt} bytes"))
                    && message.contains(&format!("need {wanted}")),
                "{message}"
            );
        }
    }
}

/// ENV-37: ECDSA signatures in DER become r‖s.
#[test]
fn env_37_signatures_in_der() {
    for kind in [3, 4, 5] {
        let habits = Habits::new(kind);
        habits.signs(&habits.uri(), &[("HABITS", "der")]);
    }
}

/// A key that wants a login at each use and does not say so: found out at the first signature.
#[test]
fn logins_at_each_use_that_are_not_announced() {
    for kind in [0, 3] {
        let habits = Habits::new(kind);
        for words in ["login-each-use", "login-each-use,keeps-operation"] {
            habits.signs(&habits.uri(), &[("HABITS", words)]);
            assert_eq!(habits.logins(), "pPP", "{words}");
        }
    }
}

/// A PIN that is refused there is sent once, however many signatures follow.
#[test]
fn a_wrong_pin_that_was_not_asked_for_is_sent_once() {
    let habits = Habits::new(3);
    let environment = [("HABITS", "login-each-use"), ("HABIT_PIN", "000000")];
    let mut session = habits.session(&habits.uri(), &environment);
    assert!(session.receive()["response"].is_object());
    for id in 2..12 {
        habits.sign(&mut session, id);
    }
    for _ in 2..12 {
        let answer = session.receive();
        assert_eq!(answer["error"]["errorCode"], "ACCESS_DENIED", "{answer}");
        let (message, _) = texts(&answer["error"]);
        assert!(message.contains("refused the PIN"), "{message}");
    }
    assert_eq!(session.end().0, Some(0));
    assert_eq!(habits.logins(), "pP");
}

/// A token without such a login: one reopening, and the error of the token.
#[test]
fn a_key_that_never_signs() {
    let habits = Habits::new(3);
    let environment = [("HABITS", "login-each-use,no-context-login")];
    let (message, _) = habits.fails(&habits.uri(), &environment);
    assert!(
        message.contains("C_Sign gave CKR_USER_NOT_LOGGED_IN"),
        "{message}"
    );
    assert_eq!(habits.logins(), "pPpP");
}

/// A device that goes away and comes back: one login for each outage, whatever it said, and every
/// signature is made.
#[test]
fn devices_that_come_back() {
    let habits = Habits::new(3);
    for (code, away, restart) in [
        ("32", "0", false),
        ("b3", "0", false),
        ("b0", "300", false),
        ("30", "600", false),
        ("e0", "600", false),
        ("5", "0", false),
        ("190", "0", true),
        ("32", "600", true),
    ] {
        let mut environment = vec![
            ("HABIT_LOST", "2,4"),
            ("HABIT_CODE", code),
            ("HABIT_AWAY", away),
        ];
        if restart {
            environment.push(("HABIT_RESTART", "1"));
        }
        let mut session = habits.session(&habits.uri(), &environment);
        let opened = session.receive();
        let leaf = bytes(&opened["response"]["certificateChain"][0]);
        for id in 2..7 {
            habits.sign(&mut session, id);
            let (answer, notices) = answer(&mut session);
            assert!(answer["response"].is_object(), "{environment:?}: {answer}");
            let signature = bytes(&answer["response"]["signature"]);
            habits.token.verify(3, &leaf, &signature);
            let waits = notices
                .iter()
                .any(|notice| notice.contains("waiting for it"));
            assert!(waits || notices.is_empty(), "{notices:?}");
        }
        assert_eq!(session.end(), (Some(0), String::new()));
        assert_eq!(habits.logins(), "ppp", "{environment:?}");
    }
}

/// Eight signatures under way when the device goes: one login for all of them.
#[test]
fn an_outage_of_many_signatures_is_one_login() {
    let habits = Habits::new(3);
    let environment = [
        ("HABIT_LOST", "20"),
        ("HABIT_CODE", "32"),
        ("HABIT_AWAY", "400"),
    ];
    let mut session = habits.session(&habits.uri(), &environment);
    let opened = session.receive();
    let leaf = bytes(&opened["response"]["certificateChain"][0]);
    for id in 2..62 {
        habits.sign(&mut session, id);
    }
    for _ in 2..62 {
        let (answer, _) = answer(&mut session);
        assert!(answer["response"].is_object(), "{answer}");
        let signature = bytes(&answer["response"]["signature"]);
        habits.token.verify(3, &leaf, &signature);
    }
    assert_eq!(session.end(), (Some(0), String::new()));
    assert_eq!(habits.logins(), "pp");
}

/// A device that fails again before it has signed is not asked a third time; the error is the
/// token's, and comes soon.
#[test]
fn an_outage_after_an_outage_is_the_last() {
    let habits = Habits::new(3);
    let environment = [("HABIT_LOST", "1,2,3,4,5,6,7,8"), ("HABIT_CODE", "32")];
    let began = Instant::now();
    let mut session = habits.session(&habits.uri(), &environment);
    assert!(session.receive()["response"].is_object());
    habits.sign(&mut session, 2);
    let (failed, _) = answer(&mut session);
    let (message, hint) = texts(&failed["error"]);
    assert!(
        message.contains("C_Sign gave CKR_DEVICE_REMOVED"),
        "{message}"
    );
    assert!(hint.contains("plugged in"), "{hint}");
    assert_eq!(session.end().0, Some(0));
    assert_eq!(habits.logins(), "pp");
    assert!(began.elapsed() < Duration::from_secs(20));
}

/// A device that stays away: an error within the request's time, and at once for all that follow.
#[test]
fn devices_that_stay_away() {
    let habits = Habits::new(3);
    let environment = [
        ("HABIT_LOST", "1"),
        ("HABIT_CODE", "32"),
        ("HABIT_AWAY", "600000"),
    ];
    let mut session = habits.session(&habits.uri(), &environment);
    assert!(session.receive()["response"].is_object());
    let began = Instant::now();
    for id in 2..5 {
        habits.sign(&mut session, id);
    }
    for _ in 2..5 {
        let (failed, _) = answer(&mut session);
        let (message, hint) = texts(&failed["error"]);
        assert!(message.contains("token \"T\" went away"), "{message}");
        assert!(message.contains("CKR_DEVICE_REMOVED"), "{message}");
        assert!(hint.contains("plugged in"), "{hint}");
    }
    assert!(began.elapsed() < Duration::from_secs(50));
    assert_eq!(session.end().0, Some(0));
    assert_eq!(habits.logins(), "p");
}

/// A one-shot command has no outage to live through: it says what the token said.
#[test]
fn one_signature_is_not_worth_a_reopening() {
    let habits = Habits::new(3);
    let mut plugin = habits.token.plugin("sign-digest");
    habits.environment(&mut plugin, &[("HABIT_LOST", "1"), ("HABIT_CODE", "32")]);
    let request = serde_json::json!({
        "contractVersion": "1.0", "keyId": habits.uri(), "keySpec": "EC-256",
        "hashAlgorithm": "SHA-256", "digest": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
    });
    let mut child = plugin.spawn().unwrap();
    use std::io::Write as _;
    let mut input = child.stdin.take().unwrap();
    input.write_all(request.to_string().as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("C_Sign gave CKR_DEVICE_REMOVED"), "{error}");
    assert_eq!(habits.logins(), "p");
}

/// Each slot that can't be read is told with its code.
#[test]
fn slots_that_cannot_be_read() {
    let habits = Habits::new(3);
    for (code, name) in [
        ("e1", "CKR_TOKEN_NOT_RECOGNIZED"),
        ("30", "CKR_DEVICE_ERROR"),
        ("80000007", "0x80000007"),
    ] {
        let environment = [("HABITS", "bad-slot"), ("HABIT_CODE", code)];
        let (message, hint) = habits.fails(&habits.uri(), &environment);
        assert!(message.contains("no token \"T\""), "{message}");
        let told = format!("C_GetTokenInfo gave {name}");
        assert!(hint.contains("slots that can't be used: slot "), "{hint}");
        assert!(hint.contains(&told), "{hint}");
        assert!(hint.contains("its token is not initialized"), "{hint}");
    }
}

/// A PIN pad takes no PIN: the message says so, whatever the module calls it.
#[test]
fn pins_for_a_pin_pad() {
    let habits = Habits::new(3);
    for code in ["a0", "7", "a1", "a2"] {
        let environment = [("HABITS", "pad"), ("HABIT_CODE", code)];
        let (message, hint) = habits.fails(&habits.uri(), &environment);
        assert!(message.contains("token \"T\" refused the PIN"), "{message}");
        assert!(hint.contains("leave pin-source out"), "{hint}");
        assert_eq!(habits.logins(), "p", "sent once");
    }
    // As the hint says.
    let uri = habits.uri().replace("&pin-source=", "&x=");
    let mut session = habits.session(&uri, &[("HABITS", "pad")]);
    let (opened, notices) = answer(&mut session);
    assert!(opened["response"].is_object(), "{opened}");
    assert!(notices[0].contains("at the device"), "{notices:?}");
    assert_eq!(session.end().0, Some(0));
}

/// A library in this process that has initialized the module already is no error.
#[test]
fn modules_that_are_initialized_already() {
    let habits = Habits::new(3);
    habits.signs(&habits.uri(), &[("HABITS", "initialized")]);
}

/// No advice that was followed already.
#[test]
fn keys_that_nothing_tells_apart() {
    let token = Plugin::new();
    token.ready("EC:prime256v1", "01", &[]);
    token.generate("EC:prime256v1", "01", &[]);
    let uri = token.uri("K01");
    let next = |uri: &str| {
        let (message, hint) = texts(&token.sign(uri, 3, &serde_json::json!({})).unwrap_err());
        assert!(message.contains("more than one private key"), "{message}");
        hint
    };
    for uri in [
        uri.clone(),
        uri.replace("object=K01", "id=%01"),
        uri.replace("object=K01", "object=K01;id=%01"),
        uri.replace(";object=K01", ""),
    ] {
        let hint = next(&uri);
        assert!(hint.contains("nothing tells these keys apart"), "{hint}");
        assert!(!hint.contains("add "), "{hint}");
    }
    // Another label under the same id, and another id under the same label.
    run(token.pkcs11_tool().args([
        "--keypairgen",
        "--key-type",
        "EC:prime256v1",
        "--id",
        "02",
        "--label",
        "K02",
    ]));
    assert_eq!(next(&uri.replace(";object=K01", "")), "add id= to the URI");
}
