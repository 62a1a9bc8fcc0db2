//! Sessions, good ones and others.

use std::io::BufRead;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Manners, answers, error_metadata, faults, key, say};

/// Serves a session on stdin and stdout.
pub(super) fn serve() -> ExitCode {
    let mut manners = Manners::default();
    let mut signed = 0;
    let (mut opened, mut failed) = (false, false);
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else {
            return ExitCode::FAILURE;
        };
        let message: Value = serde_json::from_str(&line).unwrap_or_default();
        let request = &message["request"];
        let told = Manners::of(request);
        let any_opens = told.fault == "any-line-opens" && !opened;
        let opening = message["command"] == "open" || any_opens;
        if opening {
            manners = told;
            manners.note("session");
            manners.note(&format!("pid {}", std::process::id()));
        }
        if let Some(code) = refused_command(&message, opening, &manners, &mut failed) {
            refuse_line(&message["id"], code);
            continue;
        }
        opened = true;
        let stage = if opening { "open" } else { "sign" };
        manners.note(stage);
        let is_due = opening || signed >= manners.after;
        let fault = if is_due { manners.at(stage) } else { "" };
        let digest = answers::bytes(&request["digest"]).unwrap_or_default();
        let objection = (!opening && digest.len() != key::DIGEST).then_some("VALIDATION_ERROR");
        if let Some(code) = objection.or_else(|| refusal(fault)) {
            refuse_line(&message["id"], code);
            continue;
        }
        if let Some(code) = faults::commit(fault) {
            return code;
        }
        let answer = if opening {
            answers::open(&manners, fault)
        } else {
            signed += 1;
            json!({"signature": answers::sign(fault, &digest)})
        };
        misbehave(fault, &message["id"]);
        answer_line(fault, &message["id"], &answer);
    }
    manners.note("end");
    if manners.fault == "deaf" {
        faults::hang();
    }
    ExitCode::SUCCESS
}

/// What a well-behaved plugin refuses whatever the key: another contract, after that everything, and commands that
/// it does not have in a session.
fn refused_command(
    message: &Value,
    opening: bool,
    manners: &Manners,
    failed: &mut bool,
) -> Option<&'static str> {
    let any_opens = manners.fault == "any-line-opens";
    if opening && !any_opens && message["request"]["contractVersion"] != "1.0" {
        *failed = manners.fault != "forgets-failures";
        return Some("UNSUPPORTED_CONTRACT_VERSION");
    }
    if *failed {
        return Some("UNSUPPORTED_CONTRACT_VERSION");
    }
    let is_known = opening || message["command"] == "sign-digest";
    (!is_known && manners.fault != "any-line-signs").then_some("VALIDATION_ERROR")
}

fn refuse_line(id: &Value, code: &str) {
    say_line(&json!({"id": id, "error": {"errorCode": code,
        "errorMessage": "no", "errorMetadata": error_metadata("ask again")}}));
}

/// Refusals are answers in a session.
fn refusal(fault: &str) -> Option<&'static str> {
    match fault {
        "refuse" => Some("ERROR"),
        "denied" => Some("ACCESS_DENIED"),
        "throttled" => Some("THROTTLED"),
        "timeout" | "late-timeout" => Some("TIMEOUT"),
        _ => None,
    }
}

/// What comes before the answer.
fn misbehave(fault: &str, id: &Value) {
    match fault {
        "garbage-line" => say(b"loading module...\n"),
        "blank-line" => say(b"\n"),
        "long-line" => {
            for _ in 0..100 {
                say(&vec![b' '; 1 << 20]);
            }
        }
        "notices" => {
            for _ in 0..11 {
                notice(id);
            }
        }
        "notices-forever" => loop {
            notice(&Value::Null);
        },
        "notice-unknown" => notice(&json!(9999)),
        "events-forever" => loop {
            say_line(&json!({"event": "song"}));
        },
        "prompting-forever" => {
            say_line(&json!({"event": "prompting"}));
            faults::hang();
        }
        "prompting-twice" => {
            say_line(&json!({"event": "prompting"}));
            say_line(&json!({"event": "prompting"}));
        }
        "prompted-alone" => say_line(&json!({"event": "prompted"})),
        "touch" => notice(id),
        "close-stdin" => {
            faults::close_stdin();
            faults::hang();
        }
        "close-stdin-late" => faults::close_stdin(),
        _ => {}
    }
}

fn notice(id: &Value) {
    say_line(&json!({"event": "notice", "id": id, "message": "Touch the key", "waitSeconds": 15}));
}

fn answer_line(fault: &str, id: &Value, answer: &Value) {
    let line = match fault {
        "unknown-id" => json!({"id": 9999, "response": answer}),
        "no-id" => json!({"response": answer}),
        "wrong-shape" => json!({"id": id, "response": {"keySpec": "EC-256"}}),
        "no-signature" => json!({"id": id, "response": {}}),
        _ => json!({"id": id, "response": answer}),
    };
    let text = faults::mangle(fault, &line.to_string());
    say(text.as_bytes());
    if fault == "half" {
        std::process::exit(0);
    }
    say(b"\n");
    match fault {
        "answer-twice" => say_line(&line),
        "close-stdin-late" => faults::hang(),
        _ => {}
    }
}

fn say_line(line: &Value) {
    say(format!("{line}\n").as_bytes());
}
