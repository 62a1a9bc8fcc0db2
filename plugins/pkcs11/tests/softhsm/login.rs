//! Logins: tokens that are about to lock, PIN pads, tokens that need none, and people at a
//! terminal. Token states that SoftHSM does not have come from a module that changes them on the
//! way (`shim.c`).

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use hardsign_test_support::program;
use serde_json::{Value, json};

use crate::plugin::{Plugin, Session, bytes, texts};
use softhsm_tests::run;
use softhsm_tests::token::PIN;

const FINAL_TRY: &str = "20000";
const LOCKED: &str = "40000";
const PIN_PAD: &str = "100";
const LOGIN_REQUIRED: &str = "4";

/// A token with a P-256 key behind the shim.
struct Shimmed(Plugin);

impl Shimmed {
    fn new() -> Self {
        Self::with_key(&[])
    }

    /// The key has what `more` says to pkcs11-tool.
    fn with_key(more: &[&str]) -> Self {
        let token = Plugin::new();
        token.ready("EC:prime256v1", "01", more);
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/softhsm/shim.c");
        run(token
            .tool("cc")
            .args(["-shared", "-fPIC", "-o", "shim.so", source, "-ldl"]));
        Self(token)
    }

    /// The key's URI, without a PIN source.
    fn uri(&self) -> String {
        let module = self.0.file("shim.so");
        format!("pkcs11:token=T;object=K01?module-path={}", module.display())
    }

    fn uri_with_pin(&self) -> String {
        let pin = self.0.file("pin");
        format!("{}&pin-source=file:{}", self.uri(), pin.display())
    }

    fn session(&self, environment: &[(&str, &str)]) -> Session {
        let mut plugin = self.0.plugin("session");
        plugin
            .env("SHIM_LOGINS", self.0.file("logins"))
            .env("SHIM_PIN", PIN)
            .envs(environment.iter().copied());
        Session::start(plugin)
    }

    fn logins(&self) -> String {
        fs::read_to_string(self.0.file("logins")).unwrap_or_default()
    }
}

/// No PIN is tried where the next failure would lock the token, or where it is locked.
#[test]
fn the_last_try_is_never_used() {
    let token = Shimmed::new();
    for (flags, text, next) in [
        (
            FINAL_TRY,
            "one more try",
            "log in once with the right PIN in another tool",
        ),
        (LOCKED, "is locked", "unblock"),
    ] {
        let mut session = token.session(&[("SHIM_SET", flags)]);
        session.open(&token.uri_with_pin());
        session.sign(2, &[7; 32], "SHA-256");
        for _ in 0..2 {
            let answer = session.receive();
            assert_eq!(answer["error"]["errorCode"], "ACCESS_DENIED", "{answer}");
            let (message, hint) = texts(&answer["error"]);
            assert!(message.contains(text), "{message}");
            assert!(hint.contains(next), "{hint}");
        }
        assert_eq!(session.end().0, Some(0));
    }
    assert_eq!(token.logins(), "");
}

/// A PIN pad: the plugin asks nobody itself, and says that the user is being asked.
#[test]
fn pin_pads() {
    let token = Shimmed::new();
    let mut session = token.session(&[("SHIM_SET", PIN_PAD)]);
    session.open(&token.uri());
    assert_eq!(session.receive()["event"], "prompting");
    let notice = session.receive();
    assert_eq!(
        notice["message"],
        "Enter the PIN of token \"T\" at the device"
    );
    assert_eq!(session.receive()["event"], "prompted");
    let opened = session.receive();
    let leaf = bytes(&opened["response"]["certificateChain"][0]);
    session.sign(2, &token.0.digest(3), "SHA-256");
    let answer = session.receive();
    token
        .0
        .verify(3, &leaf, &bytes(&answer["response"]["signature"]));
    assert_eq!(session.end().0, Some(0));
    assert_eq!(token.logins(), "n");
    // A PIN source that was named is used all the same.
    let mut session = token.session(&[("SHIM_SET", PIN_PAD)]);
    session.open(&token.uri_with_pin());
    assert!(session.receive()["response"].is_object());
    assert_eq!(token.logins(), "np");
}

/// CKA_ALWAYS_AUTHENTICATE: a PIN that the token refuses at the use of the key is sent once, however
/// many signatures follow.
#[test]
fn a_wrong_pin_at_the_use_of_a_key_is_sent_once() {
    let token = Shimmed::with_key(&["--always-auth"]);
    let mut session = token.session(&[("SHIM_CONTEXT_PIN", "000000")]);
    session.open(&token.uri_with_pin());
    assert!(session.receive()["response"].is_object());
    for id in 2..12 {
        session.sign(id, &[7; 32], "SHA-256");
    }
    for _ in 2..12 {
        let answer = session.receive();
        assert_eq!(answer["error"]["errorCode"], "ACCESS_DENIED", "{answer}");
        let (message, _) = texts(&answer["error"]);
        assert!(message.contains("token \"T\" refused the PIN"), "{message}");
    }
    assert_eq!(session.end().0, Some(0));
    // One to open the key, one to use it.
    assert_eq!(token.logins(), "pP");
}

/// A PIN pad for a key that wants a login at each use: the user is asked each time, and the host
/// is told beforehand that it will be so.
#[test]
fn pin_pads_at_each_use_of_a_key() {
    let token = Shimmed::with_key(&["--always-auth"]);
    let mut session = token.session(&[("SHIM_SET", PIN_PAD)]);
    session.open(&token.uri());
    let asked = |session: &mut Session| {
        assert_eq!(session.receive()["event"], "prompting");
        assert_eq!(session.receive()["event"], "notice");
        assert_eq!(session.receive()["event"], "prompted");
    };
    asked(&mut session);
    let opened = session.receive();
    assert_eq!(opened["response"]["interaction"], "pin", "{opened}");
    assert_eq!(opened["response"]["maxInFlight"], 1, "{opened}");
    let leaf = bytes(&opened["response"]["certificateChain"][0]);
    for id in 2..4 {
        session.sign(id, &token.0.digest(3), "SHA-256");
        asked(&mut session);
        let answer = session.receive();
        token
            .0
            .verify(3, &leaf, &bytes(&answer["response"]["signature"]));
    }
    assert_eq!(session.end().0, Some(0));
    assert_eq!(token.logins(), "nNN");
}

/// `user:password`, as cloud HSMs have it, is a PIN like any other: sent whole, as it stands.
#[test]
fn pins_of_user_and_password() {
    let pin = "crypto_user:Pa55:w0rd with more";
    let token = Plugin::new();
    let uri = token.ready("EC:prime256v1", "01", &[]);
    run(token.pkcs11_tool().args(["--change-pin", "--new-pin", pin]));
    token.write_pin("pin", pin);
    let signed = token.sign(&uri, 3, &json!({})).unwrap();
    let leaf = bytes(&signed["certificateChain"][0]);
    token.verify(3, &leaf, &bytes(&signed["signature"]));
    let mut plugin = token.plugin("session");
    plugin.env("HSM_PIN", pin);
    let mut session = Session::start(plugin);
    session.open(&uri.replace("file:", "env:HSM_PIN&x="));
    assert!(session.receive()["response"].is_object());
    assert_eq!(session.end().0, Some(0));
}

#[test]
fn tokens_that_need_no_login() {
    let token = Shimmed::new();
    let open = [("SHIM_CLEAR", LOGIN_REQUIRED), ("SHIM_AUTO", "1")];
    let mut session = token.session(&open);
    session.open(&token.uri());
    assert!(session.receive()["response"].is_object());
    session.sign(2, &[7; 32], "SHA-256");
    assert!(session.receive()["response"].is_object());
    assert_eq!(session.end().0, Some(0));
    assert_eq!(token.logins(), "");
}

/// Sessions in parallel where the token allows, one where it doesn't.
#[test]
fn sessions_as_the_token_allows() {
    let token = Shimmed::new();
    // As many requests wait for each session as there are sessions.
    for (environment, most) in [
        (&[("SHIM_SESSIONS", "1")][..], 1 + 1),
        (&[("SHIM_SESSIONS", "3")], 3 + 3),
        (&[("SHIM_NO_LOCK", "1")], 1 + 1),
        (&[], 8 + 8),
    ] {
        let mut session = token.session(environment);
        session.open(&token.uri_with_pin());
        let opened = session.receive();
        assert_eq!(opened["response"]["maxInFlight"], most, "{opened}");
        for id in 2..20 {
            session.sign(id, &[7; 32], "SHA-256");
        }
        for _ in 2..20 {
            assert!(session.receive()["response"].is_object());
        }
        assert_eq!(session.end().0, Some(0));
    }
}

/// A terminal with a shell in it that runs `script.sh`.
struct Terminal {
    child: Child,
    seen: String,
}

impl Terminal {
    fn start(token: &Plugin, script: &str) -> Self {
        let plugin = env!("CARGO_BIN_EXE_notation-pkcs11");
        let script = script.replace("PLUGIN", &format!("{plugin} sign-digest <request"));
        fs::write(token.file("script.sh"), script).unwrap();
        let request = json!({
            "contractVersion": "1.0", "keyId": token.uri("K01").replace("&pin-source=file:", "&x="),
            "keySpec": "EC-256", "hashAlgorithm": "SHA-256",
            "digest": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
        });
        fs::write(token.file("request"), request.to_string()).unwrap();
        let mut terminal = token.tool("script");
        terminal.args([
            "--quiet",
            "--flush",
            "--command",
            "sh script.sh",
            "/dev/null",
        ]);
        Self::run(&mut terminal)
    }

    fn run(terminal: &mut Command) -> Self {
        let child = terminal
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self {
            child,
            seen: String::new(),
        }
    }

    /// Reads until the screen ends with this text.
    fn wait_for(&mut self, text: &str) {
        let output = self.child.stdout.as_mut().unwrap();
        let mut byte = [0];
        while !self.seen.ends_with(text) {
            output.read_exact(&mut byte).unwrap();
            self.seen.push(char::from(byte[0]));
        }
    }

    fn type_in(&mut self, text: &str) {
        let keyboard = self.child.stdin.as_mut().unwrap();
        keyboard.write_all(text.as_bytes()).unwrap();
        keyboard.flush().unwrap();
    }
}

fn read(token: &Plugin, name: &str) -> Value {
    serde_json::from_slice(&fs::read(token.file(name)).unwrap()).unwrap()
}

/// All three streams are taken, yet the user is asked, and what they type is not shown.
#[test]
fn a_pin_typed_at_the_terminal() {
    let token = Plugin::new();
    token.ready("EC:prime256v1", "01", &[]);
    let mut terminal =
        Terminal::start(&token, "PLUGIN >out 2>err\necho done $?; stty -a; echo .\n");
    terminal.wait_for("PIN of token \"T\": ");
    terminal.type_in(&format!("{PIN}\n"));
    terminal.wait_for("done 0");
    terminal.wait_for("\n.");
    assert!(!terminal.seen.contains(PIN), "{}", terminal.seen);
    assert!(terminal.seen.contains(" echo "), "{}", terminal.seen);
    assert!(read(&token, "out")["signature"].is_string());
}

/// Interrupted at the prompt: no login, an error that says so, and the terminal as it was.
#[test]
fn an_interrupt_at_the_prompt() {
    let token = Plugin::new();
    token.ready("EC:prime256v1", "01", &[]);
    let script = "trap : INT\nPLUGIN >out 2>err\necho done $?; stty -a; echo .\n";
    let mut terminal = Terminal::start(&token, script);
    terminal.wait_for("PIN of token \"T\": ");
    terminal.type_in("12\u{3}");
    terminal.wait_for("done 1");
    terminal.wait_for("\n.");
    assert!(terminal.seen.contains(" echo "), "{}", terminal.seen);
    let error = read(&token, "err");
    assert_eq!(error["errorCode"], "ACCESS_DENIED");
    assert!(texts(&error).0.contains("cancelled"), "{error}");
}

/// The host goes away while the user is asked: the plugin ends, and the terminal is as it was.
#[test]
fn a_host_that_ends_at_the_prompt() {
    let token = Plugin::new();
    token.ready("EC:prime256v1", "01", &[]);
    let plugin = env!("CARGO_BIN_EXE_notation-pkcs11");
    let uri = token.uri("K01").replace("&pin-source=file:", "&x=");
    let open =
        json!({"id": 1, "command": "open", "request": {"contractVersion": "1.0", "keyId": uri}});
    fs::write(token.file("open"), format!("{open}\n")).unwrap();
    // The reader of the pipe waits for a line from the keyboard, then the pipe ends.
    let script = format!(
        "mkfifo go\n(cat open; cat go) | {plugin} session >out 2>err &\n\
         wait $!\necho done $?; stty -a; echo .\n"
    );
    let mut terminal = Terminal::start(&token, &script);
    terminal.wait_for("PIN of token \"T\": ");
    fs::write(token.file("go"), "").unwrap();
    terminal.wait_for("done 0");
    terminal.wait_for("\n.");
    assert!(terminal.seen.contains(" echo "), "{}", terminal.seen);
    let out = fs::read_to_string(token.file("out")).unwrap();
    let lines: Vec<Value> = out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines[0]["event"], "prompting");
    assert_eq!(lines[1]["event"], "prompted");
    assert_eq!(lines[2]["error"]["errorCode"], "ACCESS_DENIED");
}

/// A PIN from a program that speaks Assuan.
#[test]
fn a_pin_from_pinentry() {
    let token = Plugin::new();
    token.ready("EC:prime256v1", "01", &[]);
    let script = format!(
        "#!/bin/sh\necho OK\nwhile read -r line; do\n  echo \"$line\" >>asked\n  \
         case $line in GETPIN) echo 'D {PIN}';; esac\n  echo OK\ndone\n"
    );
    fs::create_dir(token.file("bin")).unwrap();
    program::write(&token.file("bin/pinentry"), &script);
    let path = format!("{}:/usr/bin:/bin", token.file("bin").display());
    let mut plugin = token.plugin("session");
    plugin.env("PATH", path);
    let mut session = Session::start(plugin);
    let uri = token.uri("K01").replace("file:", "pinentry&x=");
    session.open(&uri);
    assert_eq!(session.receive()["event"], "prompting");
    assert_eq!(session.receive()["event"], "prompted");
    assert!(session.receive()["response"].is_object());
    assert_eq!(session.end().0, Some(0));
    let asked = fs::read_to_string(token.file("asked")).unwrap();
    assert!(asked.contains("SETDESC PIN of token \"T\""), "{asked}");
}

/// A descriptor that the host hands down, read once; `7<pin` is how a shell does it.
#[test]
fn a_pin_from_a_descriptor() {
    let token = Plugin::new();
    let uri = token.ready("EC:prime256v1", "01", &[]);
    let uri = uri.replace("file:", "fd:7&x=");
    let mut plugin = token.tool("sh");
    plugin
        .args([
            "-c",
            "exec \"$0\" session 7<pin",
            env!("CARGO_BIN_EXE_notation-pkcs11"),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut session = Session::start(plugin);
    session.open(&uri);
    let opened = session.receive();
    assert!(opened["response"].is_object(), "{opened}");
    assert_eq!(session.end().0, Some(0));
    // Not inherited: an error, and no login.
    let mut session = token.session();
    session.open(&uri);
    let (message, _) = texts(&session.receive()["error"]);
    assert!(message.contains("descriptor 7"), "{message}");
    assert_eq!(session.end().0, Some(0));
}

/// The interrupt is the host's to deal with: the session goes on until stdin ends.
#[test]
fn an_interrupt_while_the_host_lives() {
    let token = Plugin::new();
    let uri = token.ready("EC:prime256v1", "01", &[]);
    let mut session = token.session();
    session.open(&uri);
    assert!(session.receive()["response"].is_object());
    let process = session.process().to_string();
    run(token.tool("kill").args(["-INT", &process]));
    session.sign(2, &[7; 32], "SHA-256");
    assert!(session.receive()["response"].is_object());
    assert_eq!(session.end().0, Some(0));
}
