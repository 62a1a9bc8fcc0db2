//! Sessions over a pair of pipes, with a scripted plugin at the other end and a clock that jumps.

use std::sync::Mutex;

use hardsign_test_support::Told as _;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{CONTRACT_VERSION, ErrorCode, PluginConfig, Purpose};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep};

use super::*;
use crate::event::Event;

/// The plugin's end.
struct Fake {
    requests: BufReader<ReadHalf<DuplexStream>>,
    answers: WriteHalf<DuplexStream>,
}

impl Fake {
    /// The next request, or `None` when stdin is closed.
    async fn request(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.requests.read_line(&mut line).await.unwrap() {
            0 => None,
            _ => Some(serde_json::from_str(&line).unwrap()),
        }
    }

    async fn id(&mut self) -> u64 {
        self.request().await.unwrap()["id"].as_u64().unwrap()
    }

    async fn write(&mut self, text: &str) {
        self.answers.write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self, value: Value) {
        self.write(&format!("{value}\n")).await;
    }

    async fn sign(&mut self, id: u64, signature: &[u8]) {
        let signature = Base64(signature.to_vec());
        self.line(json!({"id": id, "response": {"signature": signature}}))
            .await;
    }

    async fn notice(&mut self, id: Option<u64>, message: &str, wait: u32) {
        self.line(json!({"event": "notice", "id": id, "message": message, "waitSeconds": wait}))
            .await;
    }
}

const CLOCKS: SessionClocks = SessionClocks {
    request: Duration::from_secs(60),
    person: Duration::from_secs(300),
    farewell: Duration::from_secs(2),
};

/// What a person hears of.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Notice {
        message: String,
        wait: Option<Duration>,
    },
    Prompting,
    Prompted,
}

type Events = Arc<Mutex<Vec<Told>>>;

struct Stage {
    session: Arc<Session>,
    fake: Fake,
    events: Events,
    interrupt: Interrupt,
}

impl Stage {
    async fn new(max_in_flight: u32) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (reader, writer) = tokio::io::split(ours);
        let (requests, answers) = tokio::io::split(theirs);
        let mut fake = Fake {
            requests: BufReader::new(requests),
            answers,
        };
        let events = Events::default();
        let heard = Arc::clone(&events);
        let interrupt = Interrupt::new();
        let request = request("k");
        let listener = Listener::new(move |event: &Event<'_>| {
            heard.lock().unwrap().push(match *event {
                Event::PluginNotice {
                    plugin: "p",
                    message,
                    wait,
                } => Told::Notice {
                    message: message.to_owned(),
                    wait,
                },
                Event::PluginPrompting { plugin: "p" } => Told::Prompting,
                Event::PluginPrompted { plugin: "p" } => Told::Prompted,
                Event::PluginRequest { .. } | Event::PluginResponse { .. } => return,
                ref other => panic!("{other:?}"),
            });
        });
        let heard = SessionListener {
            plugin: "p".to_owned(),
            listener,
        };
        let opening = opened(reader, writer, &request, CLOCKS, heard, &interrupt);
        let answering = async {
            let asked = fake.request().await.unwrap();
            assert_eq!(
                asked,
                json!({"id": 1, "command": "open",
                    "request": {"contractVersion": "1.0", "keyId": "k"}})
            );
            fake.line(
                json!({"id": 1, "response": {"keyId": "k", "keySpec": "EC-256",
                "certificateChain": ["AQ=="], "maxInFlight": max_in_flight,
                "interaction": "none"}}),
            )
            .await;
        };
        let (opened, ()) = tokio::join!(opening, answering);
        let (session, opened) = opened.unwrap().unwrap();
        assert_eq!(opened.key_spec, Some(KeySpec::Ec256));
        Self {
            session: Arc::new(session),
            fake,
            events,
            interrupt,
        }
    }

    /// Asks for a signature over one byte.
    fn ask(&self, byte: u8) -> JoinHandle<SessionAnswer<Base64>> {
        let session = Arc::clone(&self.session);
        tokio::spawn(async move {
            session
                .sign_digest(&[byte], HashAlgorithm::Sha256, None)
                .await
        })
    }

    /// Asks once, lets the plugin say something wrong, and returns how the session broke.
    async fn breaks(&mut self, answer: impl AsyncFnOnce(&mut Fake, u64)) -> Arc<SessionError> {
        let asked = self.ask(1);
        let id = self.fake.id().await;
        answer(&mut self.fake, id).await;
        let error = asked.await.unwrap().unwrap_err();
        // Later requests get the same error, at once.
        let later = self
            .session
            .sign_digest(&[2], HashAlgorithm::Sha256, None)
            .await;
        assert!(Arc::ptr_eq(&later.unwrap_err(), &error));
        error
    }
}

/// An `open` for a key.
fn request(key_id: &str) -> OpenRequest {
    OpenRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: Some(key_id.into()),
        plugin_config: PluginConfig::new(),
        purpose: Purpose::Sign,
    }
}

fn digest(request: &Value) -> u8 {
    serde_json::from_value::<Base64>(request["request"]["digest"].clone())
        .unwrap()
        .0[0]
}

#[tokio::test(start_paused = true)]
async fn answers_come_in_any_order_to_the_right_request() {
    let mut stage = Stage::new(8).await;
    let asked: Vec<_> = (0..8).map(|byte| stage.ask(byte)).collect();
    let mut requests = Vec::new();
    for _ in 0..8 {
        requests.push(stage.fake.request().await.unwrap());
    }
    for request in requests.iter().rev() {
        let id = request["id"].as_u64().unwrap();
        stage.fake.sign(id, &[digest(request), 7]).await;
    }
    for (byte, asked) in (0..8).zip(asked) {
        assert_eq!(asked.await.unwrap().unwrap().unwrap().0, [byte, 7]);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_max_in_flight() {
    let mut stage = Stage::new(2).await;
    let asked: Vec<_> = (0..5).map(|byte| stage.ask(byte)).collect();
    let mut under_way = Vec::new();
    for _ in 0..2 {
        under_way.push(stage.fake.request().await.unwrap());
    }
    // The third comes only when one of the two is answered.
    let third = tokio::time::timeout(Duration::from_secs(9), stage.fake.request()).await;
    assert!(third.is_err());
    for _ in 0..5 {
        let request = under_way.remove(0);
        stage
            .fake
            .sign(request["id"].as_u64().unwrap(), &[digest(&request)])
            .await;
        if let Ok(Some(next)) =
            tokio::time::timeout(Duration::from_secs(9), stage.fake.request()).await
        {
            under_way.push(next);
            assert!(under_way.len() <= 2);
        }
    }
    for asked in asked {
        asked.await.unwrap().unwrap().unwrap();
    }
}

/// A session that is opened for the key store and then for a key allows what the second answer says, be it
/// more or less than the first.
#[tokio::test(start_paused = true)]
async fn a_second_open_sets_how_many_are_under_way() {
    for (first, then) in [(3, 2), (4, 1), (2, 3), (2, 2)] {
        let mut stage = Stage::new(first).await;
        let session = Arc::clone(&stage.session);
        let opening = tokio::spawn(async move { session.open(&request("l")).await });
        let id = stage.fake.id().await;
        let answer = json!({"keyId": "l", "maxInFlight": then, "interaction": "none"});
        stage.fake.line(json!({"id": id, "response": answer})).await;
        opening.await.unwrap().unwrap().unwrap();
        let asked: Vec<_> = (0..8).map(|byte| stage.ask(byte)).collect();
        let mut under_way = Vec::new();
        for _ in 0..then {
            under_way.push(stage.fake.id().await);
        }
        let more = tokio::time::timeout(Duration::from_secs(9), stage.fake.request()).await;
        assert!(more.is_err(), "{first} and then {then}");
        for _ in 0..asked.len() {
            let id = under_way.remove(0);
            stage.fake.sign(id, &[1]).await;
            let next = tokio::time::timeout(Duration::from_secs(9), stage.fake.id());
            under_way.extend(next.await);
        }
        for asked in asked {
            asked.await.unwrap().unwrap().unwrap();
        }
    }
}

/// A caller that lost its patience does not make room: the plugin is still at work.
#[tokio::test(start_paused = true)]
async fn an_abandoned_request_stays_under_way() {
    let mut stage = Stage::new(1).await;
    let abandoned = stage.ask(1);
    let id = stage.fake.id().await;
    abandoned.abort();
    let second = stage.ask(2);
    let early = tokio::time::timeout(Duration::from_secs(9), stage.fake.request()).await;
    assert!(early.is_err());
    // Its answer is no answer to an unknown request.
    stage.fake.sign(id, &[1]).await;
    let id = stage.fake.id().await;
    stage.fake.sign(id, &[2]).await;
    assert_eq!(second.await.unwrap().unwrap().unwrap().0, [2]);
}

/// Two layers: the plugin said no, and the session goes on.
#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_break_the_session() {
    let mut stage = Stage::new(1).await;
    let asked = stage.ask(1);
    let id = stage.fake.id().await;
    stage
        .fake
        .line(json!({"id": id, "error": {"errorCode": "THROTTLED", "errorMessage": "m"}}))
        .await;
    let refusal = asked.await.unwrap().unwrap().unwrap_err();
    assert_eq!(refusal.error_code, Some(ErrorCode::Throttled));
    let asked = stage.ask(2);
    let id = stage.fake.id().await;
    stage.fake.sign(id, &[2]).await;
    asked.await.unwrap().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn garbage_breaks_the_session() {
    for garbage in [
        "hello\n",
        "\n",
        "{}\n",
        "[1]\n",
        "{\"id\":2}\n",
        "{\"id\":2,\"id\":2,\"response\":{\"signature\":\"AQ==\"}}\n",
        "\u{1b}[2J\n",
    ] {
        let mut stage = Stage::new(1).await;
        let error = stage
            .breaks(async |fake, id| {
                fake.write(garbage).await;
                fake.sign(id, &[1]).await;
            })
            .await;
        assert!(matches!(*error, SessionError::Line { .. }), "{error:?}");
        assert!(!error.told().contains('\u{1b}'));
        assert!(!error.is_death());
    }
}

#[tokio::test(start_paused = true)]
async fn answers_of_the_wrong_shape() {
    for wrong in [
        json!({}),
        json!(7),
        json!({"signature": "-"}),
        json!({"signature": null}),
    ] {
        let mut stage = Stage::new(1).await;
        let error = stage
            .breaks(async |fake, id| fake.line(json!({"id": id, "response": wrong})).await)
            .await;
        assert!(
            matches!(
                *error,
                SessionError::Answer {
                    command: "sign-digest",
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn answers_to_unknown_requests() {
    let mut stage = Stage::new(1).await;
    let error = stage
        .breaks(async |fake, _| fake.sign(99, &[1]).await)
        .await;
    assert!(matches!(*error, SessionError::UnknownId { id: 99 }));
    // Twice is once too often.
    let mut stage = Stage::new(2).await;
    let first = stage.ask(1);
    let id = stage.fake.id().await;
    stage.fake.sign(id, &[1]).await;
    first.await.unwrap().unwrap().unwrap();
    let error = stage
        .breaks(async |fake, _| fake.sign(id, &[1]).await)
        .await;
    assert!(matches!(*error, SessionError::UnknownId { .. }));
}

#[tokio::test(start_paused = true)]
async fn half_a_line_and_a_line_without_end() {
    let mut stage = Stage::new(1).await;
    let asked = stage.ask(1);
    let id = stage.fake.id().await;
    stage.fake.write(&format!("{{\"id\":{id},\"resp")).await;
    stage.fake.answers.shutdown().await.unwrap();
    let Stage { session, fake, .. } = stage;
    drop(fake);
    let error = asked.await.unwrap().unwrap_err();
    assert!(
        matches!(*error, SessionError::Frame(FrameError::Unfinished { .. })),
        "{error:?}"
    );
    assert!(error.is_death());
    assert!(session.error().is_some());

    let mut stage = Stage::new(1).await;
    let asked = stage.ask(1);
    stage.fake.id().await;
    let mut written = 0_usize;
    let flood = vec![b'x'; 1 << 16];
    while stage.fake.answers.write_all(&flood).await.is_ok() {
        written += flood.len();
        assert!(written < 8 << 20, "no limit");
    }
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(
        *error,
        SessionError::Frame(FrameError::TooLong { .. })
    ));
    assert!(!error.is_death());
}

/// Every request under way fails, each with the same error.
#[tokio::test(start_paused = true)]
async fn end_of_stream() {
    let mut stage = Stage::new(4).await;
    let asked: Vec<_> = (0..6).map(|byte| stage.ask(byte)).collect();
    let id = stage.fake.id().await;
    stage.fake.sign(id, &[9]).await;
    for _ in 0..3 {
        stage.fake.request().await;
    }
    drop(stage.fake);
    let mut good = 0;
    for asked in asked {
        match asked.await.unwrap() {
            Ok(answer) => {
                assert_eq!(answer.unwrap().0, [9]);
                good += 1;
            }
            Err(error) => assert!(matches!(*error, SessionError::Ended), "{error:?}"),
        }
    }
    assert_eq!(good, 1);
}

/// PLG-11: each request has its own clock.
#[tokio::test(start_paused = true)]
async fn plg_11_clock() {
    let mut stage = Stage::new(1).await;
    let begun = Instant::now();
    let error = stage.breaks(async |_, _| {}).await;
    assert!(matches!(
        *error,
        SessionError::Clock { command: "sign-digest", after } if after == CLOCKS.request
    ));
    assert_eq!(begun.elapsed(), CLOCKS.request);
    assert!(!error.is_death());
}

/// PLG-11: a notice with the request's id puts its clock back, once.
#[tokio::test(start_paused = true)]
async fn plg_11_notice_puts_the_clock_back_once() {
    let mut stage = Stage::new(1).await;
    let begun = Instant::now();
    let error = stage
        .breaks(async |fake, id| {
            sleep(Duration::from_secs(50)).await;
            fake.notice(Some(id), "Touch\nthe \u{1b}[31mkey", 15).await;
            sleep(Duration::from_secs(50)).await;
            fake.notice(Some(id), "a?pin-value=1234", 15).await;
        })
        .await;
    assert!(matches!(*error, SessionError::Clock { .. }));
    assert_eq!(begun.elapsed(), Duration::from_secs(110));
    // Neither an escape sequence nor a PIN reaches the terminal.
    let wait = Some(Duration::from_secs(15));
    let told = ["Touch\\nthe \\u{1b}[31mkey", "a?pin-value=*****"];
    let told = told.map(|message| Told::Notice {
        message: message.into(),
        wait,
    });
    assert_eq!(*stage.events.lock().unwrap(), told);
    // One that is about no request leaves the clocks alone.
    let mut stage = Stage::new(1).await;
    let begun = Instant::now();
    stage
        .breaks(async |fake, _| {
            sleep(Duration::from_secs(50)).await;
            fake.notice(None, "hello", 0).await;
        })
        .await;
    assert_eq!(begun.elapsed(), CLOCKS.request);
}

/// PLG-11: a person is waited for five minutes at most, whatever the plugin says.
#[tokio::test(start_paused = true)]
async fn plg_11_no_notice_waits_longer_than_five_minutes() {
    let mut stage = Stage::new(1).await;
    let begun = Instant::now();
    let error = stage
        .breaks(async |fake, id| fake.notice(Some(id), "wait", u32::MAX).await)
        .await;
    assert!(matches!(*error, SessionError::Clock { after, .. } if after == CLOCKS.person));
    assert_eq!(begun.elapsed(), CLOCKS.person);
}

#[tokio::test(start_paused = true)]
async fn notices_are_bounded() {
    let mut stage = Stage::new(1).await;
    let error = stage
        .breaks(async |fake, id| {
            for _ in 0..11 {
                fake.notice(Some(id), &"n".repeat(1000), 1).await;
            }
        })
        .await;
    assert!(matches!(*error, SessionError::TooManyNotices { limit: 10 }));
    let lengths: Vec<_> = stage
        .events
        .lock()
        .unwrap()
        .iter()
        .map(|event| match event {
            Told::Notice { message, .. } => message.chars().count(),
            other => panic!("{other:?}"),
        })
        .collect();
    // Two hundred and an ellipsis.
    assert_eq!(lengths, [201; 10]);

    let mut stage = Stage::new(1).await;
    let error = stage
        .breaks(async |fake, _| {
            for _ in 0..11 {
                fake.notice(None, "n", 1).await;
            }
        })
        .await;
    assert!(matches!(*error, SessionError::TooManyNotices { .. }));

    let mut stage = Stage::new(1).await;
    let error = stage
        .breaks(async |fake, _| fake.notice(Some(77), "n", 1).await)
        .await;
    assert!(matches!(*error, SessionError::UnknownNotice { id: 77 }));

    let mut stage = Stage::new(1).await;
    let error = stage
        .breaks(async |fake, _| {
            fake.write(&"{\"event\":\"song\"}\n".repeat(5000)).await;
        })
        .await;
    assert!(matches!(*error, SessionError::TooManyEvents { .. }));
}

/// PLG-11: clocks stand still while the plugin asks on the terminal, those of all requests.
#[tokio::test(start_paused = true)]
async fn plg_11_prompting_pauses_the_clocks() {
    let mut stage = Stage::new(2).await;
    let first = stage.ask(1);
    let id = stage.fake.id().await;
    sleep(Duration::from_secs(50)).await;
    stage.fake.line(json!({"event": "prompting"})).await;
    sleep(Duration::from_secs(100)).await;
    // Sent in the middle of the prompt: its clock starts when the prompt is over.
    let second = stage.ask(2);
    let other = stage.fake.id().await;
    sleep(Duration::from_secs(150)).await;
    stage.fake.line(json!({"event": "prompted"})).await;
    sleep(Duration::from_secs(9)).await;
    stage.fake.sign(id, &[1]).await;
    first.await.unwrap().unwrap().unwrap();
    sleep(Duration::from_secs(50)).await;
    stage.fake.sign(other, &[2]).await;
    second.await.unwrap().unwrap().unwrap();
    assert_eq!(
        *stage.events.lock().unwrap(),
        [Told::Prompting, Told::Prompted]
    );
}

#[tokio::test(start_paused = true)]
async fn plg_11_a_prompt_lasts_five_minutes_at_most() {
    let mut stage = Stage::new(1).await;
    let begun = Instant::now();
    let error = stage
        .breaks(async |fake, _| fake.line(json!({"event": "prompting"})).await)
        .await;
    assert!(matches!(*error, SessionError::Person { .. }));
    assert_eq!(begun.elapsed(), CLOCKS.person);
    // Also in pieces.
    let mut stage = Stage::new(1).await;
    let begun = Instant::now();
    let error = stage
        .breaks(async |fake, _| {
            for _ in 0..3 {
                fake.line(json!({"event": "prompting"})).await;
                sleep(Duration::from_secs(90)).await;
                fake.line(json!({"event": "prompted"})).await;
            }
            fake.line(json!({"event": "prompting"})).await;
        })
        .await;
    assert!(matches!(*error, SessionError::Person { .. }));
    assert_eq!(begun.elapsed(), CLOCKS.person);
    for event in ["prompted", "prompting"] {
        let mut stage = Stage::new(1).await;
        let error = stage
            .breaks(async |fake, _| {
                if event == "prompting" {
                    fake.line(json!({"event": event})).await;
                }
                fake.line(json!({"event": event})).await;
            })
            .await;
        assert!(matches!(*error, SessionError::OutOfTurn { .. }));
    }
}

/// Answers that were on their way when stdin was closed still count.
#[tokio::test(start_paused = true)]
async fn a_plugin_that_stops_reading() {
    let (ours, theirs) = tokio::io::duplex(64);
    let (reader, _keep) = tokio::io::split(theirs);
    drop((reader, _keep));
    let (reader, writer) = tokio::io::split(ours);
    let request = OpenRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: Some("k".into()),
        plugin_config: PluginConfig::new(),
        purpose: Purpose::Sign,
    };
    let opened = opened(
        reader,
        writer,
        &request,
        CLOCKS,
        nobody(),
        &Interrupt::new(),
    )
    .await;
    assert!(opened.unwrap_err().is_death());
}

#[tokio::test(start_paused = true)]
async fn interrupted() {
    let mut stage = Stage::new(1).await;
    let asked = stage.ask(1);
    stage.fake.id().await;
    stage.interrupt.raise();
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(*error, SessionError::Interrupted));
    stage.session.close();
    assert_eq!(stage.fake.request().await, None);
}

/// Dropping the session closes the plugin's stdin.
#[tokio::test(start_paused = true)]
async fn end_of_session() {
    let mut stage = Stage::new(1).await;
    drop(stage.session);
    assert_eq!(stage.fake.request().await, None);
}

#[tokio::test(start_paused = true)]
async fn none_in_flight_is_refused() {
    let (ours, theirs) = tokio::io::duplex(1 << 10);
    let (reader, writer) = tokio::io::split(ours);
    let (requests, mut answers) = tokio::io::split(theirs);
    let request = OpenRequest {
        contract_version: CONTRACT_VERSION.into(),
        key_id: Some("k".into()),
        plugin_config: PluginConfig::new(),
        purpose: Purpose::Sign,
    };
    let heard = nobody();
    let interrupt = Interrupt::new();
    let opening = opened(reader, writer, &request, CLOCKS, heard, &interrupt);
    let answering = async {
        let mut line = String::new();
        BufReader::new(requests).read_line(&mut line).await.unwrap();
        let answer = json!({"id": 1, "response": {"keyId": "k", "keySpec": "EC-256",
            "certificateChain": [], "maxInFlight": 0, "interaction": "none"}});
        let line = format!("{answer}\n");
        answers.write_all(line.as_bytes()).await.unwrap();
    };
    let (opened, ()) = tokio::join!(opening, answering);
    assert!(matches!(*opened.unwrap_err(), SessionError::NoneInFlight));
}
