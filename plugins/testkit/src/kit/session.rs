//! Rules of sessions (`HARDSIGN.SESSION`).

use std::collections::BTreeMap;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::{self, PublicKey};
use hardsign_plugin::proto::{
    Base64, CONTRACT_VERSION, Capability, DescribeKeyRequest, DescribeKeyResponse, ErrorCode,
    ErrorResponse, Interaction, ListKeysRequest, ListKeysResponse, Metadata, OPEN, OpenRequest,
    OpenResponse, Purpose, SIGN_DIGEST, SessionEvent, SessionLine, SessionRequest,
    SessionSignRequest, SessionSignResponse,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::certificates::{Chain, digest};
use super::process::{Exchange, Session};
use super::signing::{Key, same_key, same_spec, to_value};
use super::{Report, Subject};

/// What the plugin said, and what it was asked last.
pub(super) struct Talk {
    session: Session,
    next_id: u64,
    asked: String,
    said: String,
    notices: BTreeMap<Option<u64>, u32>,
    prompting: bool,
}

/// A key that is open.
struct Opened {
    key_spec: KeySpec,
    answer: OpenResponse,
}

pub(super) type Answer = Result<Value, ErrorResponse>;

pub(super) fn check(
    subject: &Subject,
    metadata: &Metadata,
    key_id: &str,
    key: Option<&Key>,
    report: &mut Report,
) {
    let Some(described) = check_key(subject, key_id, key, report) else {
        return;
    };
    describe(subject, metadata, key_id, described, report);
    latch(subject, key_id, described, report);
    if metadata.capabilities.contains(&Capability::Keys) {
        key_store(subject, report);
    }
}

/// A session of its own.
pub(super) fn start(subject: &Subject, report: &mut Report) -> Option<Talk> {
    match Session::start(subject) {
        Ok(session) => Some(Talk {
            session,
            next_id: 1,
            asked: String::new(),
            said: String::new(),
            notices: BTreeMap::new(),
            prompting: false,
        }),
        Err(why) => {
            report.must::<()>("PLG-51", "a session starts", &Exchange::default(), Err(why));
            None
        }
    }
}

pub(super) fn open_request(
    subject: &Subject,
    key_id: Option<&str>,
    purpose: Purpose,
) -> OpenRequest {
    OpenRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: key_id.map(str::to_owned),
        plugin_config: subject.config.clone(),
        purpose,
    }
}

/// A session that is opened to look at a key. Before and after that it is asked other things, in the middle of
/// which there is always a digest: whoever does not look at the command signs it.
fn describe(
    subject: &Subject,
    metadata: &Metadata,
    key_id: &str,
    key_spec: KeySpec,
    report: &mut Report,
) {
    let Some(mut talk) = start(subject, report) else {
        return;
    };
    who_it_is(
        subject,
        metadata,
        "get-plugin-metadata before open is answered as by itself, or refused",
        &mut talk,
        report,
    );
    let answer = talk.ask(
        OPEN,
        &[&open_request(subject, Some(key_id), Purpose::Describe)],
    );
    let opened = report.must(
        "PLG-51",
        "a session can be opened to describe the key, which is of the same kind",
        &talk.exchange(),
        answer.and_then(|mut answers| {
            let opened: OpenResponse = granted(answers.pop())?;
            (opened.key_spec == Some(key_spec))
                .then_some(())
                .ok_or_else(|| "it is another".into())
        }),
    );
    if opened.is_none() {
        return;
    }
    who_it_is(
        subject,
        metadata,
        "get-plugin-metadata in a session is answered as by itself, or refused",
        &mut talk,
        report,
    );
    let describe = DescribeKeyRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: key_id.into(),
        plugin_config: subject.config.clone(),
    };
    let answer = talk.ask("describe-key", &[&with_digest(&describe, key_spec)]);
    report.must(
        "PLG-51",
        "describe-key in a session is answered as by itself, or refused",
        &talk.exchange(),
        answer.and_then(|mut answers| match answers.pop() {
            Some(Err(_)) => Ok(()),
            answer => {
                let told: DescribeKeyResponse = granted(answer)?;
                same_key(&told.key_id, key_id)?;
                (told.key_spec == key_spec)
                    .then_some(())
                    .ok_or_else(|| "the key is another".into())
            }
        }),
    );
    let answer = talk.ask("no-such-command", &[&with_digest(&describe, key_spec)]);
    report.must(
        "PLG-51",
        "an unknown command in a session is refused",
        &talk.exchange(),
        answer.and_then(|mut answers| match answers.pop() {
            Some(Err(_)) => Ok(()),
            _ => Err("it was answered".into()),
        }),
    );
    end(talk, report);
}

/// `get-plugin-metadata` within a session.
fn who_it_is(
    subject: &Subject,
    metadata: &Metadata,
    rule: &'static str,
    talk: &mut Talk,
    report: &mut Report,
) {
    let request = json!({"pluginConfig": subject.config});
    let answer = talk.ask("get-plugin-metadata", &[&request]);
    report.must(
        "PLG-51",
        rule,
        &talk.exchange(),
        answer.and_then(|mut answers| match answers.pop() {
            Some(Err(_)) => Ok(()),
            answer => {
                let told: Metadata = granted(answer)?;
                (told.name == metadata.name && told.capabilities == metadata.capabilities)
                    .then_some(())
                    .ok_or_else(|| "it says something else".into())
            }
        }),
    );
}

/// A request with the members of one for a signature, which readers of another command ignore.
fn with_digest<T: Serialize>(request: &T, key_spec: KeySpec) -> Value {
    let mut request = to_value(request);
    let signing = to_value(&sign_request(key_spec, b"not to be signed"));
    if let (Value::Object(request), Value::Object(signing)) = (&mut request, signing) {
        request.extend(signing);
    }
    request
}

/// After an `open` that failed nothing is tried again. It is one that no plugin can do, of another contract,
/// so that it costs nothing.
fn latch(subject: &Subject, key_id: &str, key_spec: KeySpec, report: &mut Report) {
    let Some(mut talk) = start(subject, report) else {
        return;
    };
    let open = open_request(subject, Some(key_id), Purpose::Describe);
    let mut foreign = to_value(&open);
    foreign["contractVersion"] = json!("9.9");
    let answer = talk.ask(OPEN, &[&foreign]);
    let refused = report.should(
        "PLG-09",
        "open of an unknown contract version is refused with UNSUPPORTED_CONTRACT_VERSION",
        &talk.exchange(),
        answer.and_then(|mut answers| match answers.pop() {
            Some(Err(refusal))
                if refusal.error_code == Some(ErrorCode::UnsupportedContractVersion) =>
            {
                Ok(refusal)
            }
            Some(Err(_)) => Err("the code is another one".into()),
            _ => Err("it was opened".into()),
        }),
    );
    let Some(first) = refused else {
        return;
    };
    let requests = [
        (
            "after an open that failed, sign-digest is answered with the same error",
            SIGN_DIGEST,
            to_value(&sign_request(key_spec, b"not to be signed")),
        ),
        (
            "after an open that failed, another one is answered with the same error",
            OPEN,
            to_value(&open),
        ),
    ];
    for (rule, command, request) in requests {
        let answer = talk.ask(command, &[&request]);
        report.must(
            "PLG-51",
            rule,
            &talk.exchange(),
            answer.and_then(|mut answers| match answers.pop() {
                Some(Err(again))
                    if again.error_code == first.error_code
                        && again.error_message == first.error_message =>
                {
                    Ok(())
                }
                Some(Err(_)) => Err("the error is another one".into()),
                _ => Err("it was done".into()),
            }),
        );
    }
    end(talk, report);
}

/// A session without a key, for `HARDSIGN.KEYS`.
fn key_store(subject: &Subject, report: &mut Report) {
    let Some(mut talk) = start(subject, report) else {
        return;
    };
    let answer = talk.ask(OPEN, &[&open_request(subject, None, Purpose::Sign)]);
    let opened = report.must(
        "PLG-51",
        "a session opens without a key, for the key store",
        &talk.exchange(),
        answer.and_then(|mut answers| granted::<OpenResponse>(answers.pop())),
    );
    if opened.is_none() {
        return;
    }
    let request = ListKeysRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: String::new(),
        plugin_config: subject.config.clone(),
    };
    let answer = talk.ask("list-keys", &[&request]);
    report.must(
        "PLG-51",
        "list-keys in a session is answered as by itself, or refused",
        &talk.exchange(),
        answer.and_then(|mut answers| match answers.pop() {
            Some(Err(_)) => Ok(()),
            answer => granted::<ListKeysResponse>(answer).map(drop),
        }),
    );
    end(talk, report);
}

/// Signatures with the key, as many at once as it allows; its kind.
fn check_key(
    subject: &Subject,
    key_id: &str,
    key: Option<&Key>,
    report: &mut Report,
) -> Option<KeySpec> {
    let mut talk = start(subject, report)?;
    let (opened, chain) = open(subject, key_id, key, &mut talk, report)?;
    sign_at_once(&opened, &chain, &mut talk, report)?;
    refusals(&opened, &chain, &mut talk, report);
    end(talk, report);
    Some(opened.key_spec)
}

pub(super) fn end(talk: Talk, report: &mut Report) {
    let exchange = talk.exchange();
    report.must(
        "PLG-51",
        "the end of stdin ends the session with exit code 0, and nothing more is said",
        &exchange,
        talk.session.end(),
    );
}

fn open(
    subject: &Subject,
    key_id: &str,
    key: Option<&Key>,
    talk: &mut Talk,
    report: &mut Report,
) -> Option<(Opened, Chain)> {
    let answer = talk.ask(OPEN, &[&open_request(subject, Some(key_id), Purpose::Sign)]);
    let (opened, key_spec): (OpenResponse, KeySpec) = report.must(
        "PLG-51",
        "open answers with keyId, keySpec, certificateChain, maxInFlight and interaction",
        &talk.exchange(),
        answer.and_then(|mut answers| {
            let opened: OpenResponse = granted(answers.pop())?;
            let key_spec = opened.key_spec.ok_or("keySpec is missing")?;
            Ok((opened, key_spec))
        }),
    )?;
    let exchange = talk.exchange();
    report.must(
        "PLG-24",
        "open repeats the keyId",
        &exchange,
        same_key(opened.key_id.as_deref().unwrap_or_default(), key_id),
    );
    report.must(
        "PLG-51",
        "maxInFlight is at least 1, and interaction is one of none, pin and touch",
        &exchange,
        match (&opened.max_in_flight, &opened.interaction) {
            (0, _) => Err("maxInFlight is 0".into()),
            (_, Interaction::Unknown(name)) => Err(format!("interaction is {name:?}")),
            _ => Ok(()),
        },
    )?;
    let chain = report.must(
        "PLG-30",
        "certificateChain is a chain, leaf to root, of a key of the kind that was described",
        &exchange,
        Chain::read(&opened.certificate_chain).and_then(|chain| {
            same_spec(&chain, key_spec)?;
            chain.check_validity(subject.now)?;
            Ok(chain)
        }),
    )?;
    if let Some(Base64(der)) = &opened.public_key {
        let leaf = opened.certificate_chain.first();
        let of_leaf = leaf.and_then(|Base64(leaf)| chain::public_key(leaf).ok());
        report.must(
            "PLG-51",
            "publicKey, where it is given, is that of the first certificate",
            &exchange,
            match (PublicKey::from_spki_der(der), of_leaf) {
                (Ok(told), Some(of_leaf)) if told == of_leaf => Ok(()),
                (Ok(_), _) => Err("it is another".into()),
                (Err(error), _) => Err(format!("it can't be read: {error}")),
            },
        );
    }
    if let Some(key) = key {
        let same = key_spec == key.key_spec
            && key
                .chain
                .as_ref()
                .is_none_or(|chain| *chain == opened.certificate_chain);
        report.must(
            "PLG-51",
            "key and chain are those of the one-shot commands",
            &exchange,
            same.then_some(()).ok_or_else(|| "they are not".into()),
        );
    }
    Some((
        Opened {
            key_spec,
            answer: opened,
        },
        chain,
    ))
}

/// As many requests as allowed at once; answers may come in any order.
fn sign_at_once(
    opened: &Opened,
    chain: &Chain,
    talk: &mut Talk,
    report: &mut Report,
) -> Option<()> {
    let count = opened.answer.max_in_flight.clamp(1, 16);
    let messages: Vec<_> = (0..count).map(|n| format!("message {n}")).collect();
    let requests: Vec<_> = messages
        .iter()
        .map(|message| sign_request(opened.key_spec, message.as_bytes()))
        .collect();
    let requests: Vec<_> = requests.iter().collect();
    let answers = talk.ask(SIGN_DIGEST, &requests);
    let answers = report.must(
        "PLG-51",
        "every line is an answer to a request under way, or an event that is allowed there",
        &talk.exchange(),
        answers,
    )?;
    let signed = messages
        .iter()
        .zip(answers)
        .try_for_each(|(message, answer)| {
            let answer: SessionSignResponse = granted(Some(answer))?;
            chain.verify(message.as_bytes(), &answer.signature.0)
        });
    report.must(
        "PLG-30",
        "as many requests as maxInFlight allows are each answered with their signature",
        &talk.exchange(),
        signed,
    )
}

/// A request that can't be done is refused, and the session goes on.
fn refusals(opened: &Opened, chain: &Chain, talk: &mut Talk, report: &mut Report) {
    let mut short = to_value(&sign_request(opened.key_spec, b"x"));
    short["digest"] = json!("AAAA");
    let answer = talk.ask(SIGN_DIGEST, &[&short]);
    let refused = report.should(
        "PLG-51",
        "a digest of another length is refused with an error answer",
        &talk.exchange(),
        answer.and_then(|mut answers| match answers.pop() {
            Some(Err(_)) => Ok(()),
            _ => Err("it was signed".into()),
        }),
    );
    if refused.is_none() {
        return;
    }
    let answer = talk.ask(
        SIGN_DIGEST,
        &[&sign_request(opened.key_spec, b"after that")],
    );
    report.must(
        "PLG-51",
        "after a refusal the session goes on",
        &talk.exchange(),
        answer.and_then(|mut answers| {
            let answer: SessionSignResponse = granted(answers.pop())?;
            chain.verify(b"after that", &answer.signature.0)
        }),
    );
}

fn sign_request(key_spec: KeySpec, message: &[u8]) -> SessionSignRequest {
    let hash = key_spec.hash();
    SessionSignRequest {
        digest: Base64(digest(hash, message)),
        hash_algorithm: hash,
        signature_scheme: None,
    }
}

pub(super) fn granted<T: serde::de::DeserializeOwned>(answer: Option<Answer>) -> Result<T, String> {
    match answer {
        Some(Ok(value)) => serde_json::from_value(value)
            .map_err(|error| format!("it is not as the protocol asks: {error}")),
        Some(Err(refusal)) => Err(format!(
            "it refused: {}",
            refusal.error_message.unwrap_or_default()
        )),
        None => Err("there is no answer".into()),
    }
}

impl Talk {
    /// Sends requests at once and returns their answers in the order of the requests.
    pub(super) fn ask<T: Serialize>(
        &mut self,
        command: &str,
        requests: &[&T],
    ) -> Result<Vec<Answer>, String> {
        self.asked.clear();
        self.said.clear();
        let first = self.next_id;
        for request in requests {
            let line = SessionRequest {
                id: self.next_id,
                command: command.into(),
                request: to_value(request),
            };
            self.next_id = self.next_id.saturating_add(1);
            self.asked.push_str(&to_value(&line).to_string());
            self.asked.push('\n');
        }
        let last = self.next_id;
        self.session.send(&self.asked)?;
        let mut answers = BTreeMap::new();
        while answers.len() < requests.len() {
            let line = self.session.line()?;
            self.said.push_str(&line);
            self.said.push('\n');
            let line: SessionLine = serde_json::from_str(&line)
                .map_err(|error| format!("{line:?} is no message of a session: {error}"))?;
            let (id, answer) = match line {
                SessionLine::Response { id, response } => (id, Ok(response)),
                SessionLine::Error { id, error } => (id, Err(error)),
                SessionLine::Event(event) => {
                    self.event(&event, first..last)?;
                    continue;
                }
            };
            if !(first..last).contains(&id) || answers.insert(id, answer).is_some() {
                return Err(format!("it answered request {id}, which is not under way"));
            }
        }
        Ok(answers.into_values().collect())
    }

    fn event(
        &mut self,
        event: &SessionEvent,
        under_way: std::ops::Range<u64>,
    ) -> Result<(), String> {
        match event {
            SessionEvent::Notice { id, message, .. } => {
                if id.is_some_and(|id| !under_way.contains(&id)) {
                    return Err("it sent a notice about a request that is not under way".into());
                }
                if message.chars().count() > 200 {
                    return Err("it sent a notice of more than 200 characters".into());
                }
                let count = self.notices.entry(*id).or_default();
                *count = count.saturating_add(1);
                if *count > 10 {
                    return Err("it sent more than ten notices for one request".into());
                }
            }
            SessionEvent::Prompting if !self.prompting => self.prompting = true,
            SessionEvent::Prompted if self.prompting => self.prompting = false,
            SessionEvent::Prompting | SessionEvent::Prompted => {
                return Err(format!("it sent {} out of turn", event.name()));
            }
            other => return Err(format!("the event {:?} is unknown", other.name())),
        }
        Ok(())
    }

    pub(super) fn exchange(&self) -> Exchange {
        Exchange::of_session(&self.asked, &self.said)
    }
}
