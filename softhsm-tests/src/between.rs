//! A fake between a client and a service: it passes requests on, counts them, and answers in the service's
//! place, late, by halves or not at all where a test wants that of it. Plain HTTP on the loopback interface.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was asked: the operation of AWS's JSON protocol (`Sign`), else `METHOD /path`.
    pub what: String,
    /// How many requests of this kind there have been, this one included.
    pub number: usize,
    pub head: String,
    pub body: Vec<u8>,
    pub came: Instant,
}

impl Seen {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// What becomes of a request.
pub enum Fate {
    /// The service answers.
    Pass,
    /// The same after a while.
    After(Duration, Box<Fate>),
    /// This answers: status, further headers, body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The service's answer, its JSON changed.
    Change(Box<dyn FnOnce(&mut Value)>),
    /// The service's answer to this body in place of the client's, its JSON changed.
    Redirect(String, Box<dyn FnOnce(&mut Value)>),
    /// Half of the service's answer, then the end of the connection.
    Cut,
    /// No answer, ever.
    Silence,
}

/// An error as AWS KMS answers it.
pub fn aws_error(status: u16, code: &str, message: &str) -> Fate {
    let body = serde_json::json!({"__type": code, "message": message});
    let kind = ("content-type", "application/x-amz-json-1.1".to_owned());
    Fate::Answer(status, vec![kind], body.to_string())
}

type Rule = Box<dyn Fn(&Seen) -> Fate + Send>;

struct Shared {
    upstream: u16,
    seen: Mutex<(Vec<Seen>, BTreeMap<String, usize>)>,
    rule: Mutex<Rule>,
}

/// The fake, in front of a service on a port of this machine.
pub struct Between {
    port: u16,
    shared: Arc<Shared>,
}

impl Between {
    /// Passes everything on.
    pub fn new(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream,
            seen: Mutex::default(),
            rule: Mutex::new(Box::new(|_| Fate::Pass)),
        });
        let here = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&here);
                // A client that goes away ends its thread.
                thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { port, shared }
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on, requests fare like this; what was counted is forgotten.
    pub fn rule(&self, rule: impl Fn(&Seen) -> Fate + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
        *self.shared.seen.lock().unwrap() = Default::default();
    }

    /// The requests since the last rule.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().0.clone()
    }

    /// How many requests of each kind there were since the last rule.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.shared.seen.lock().unwrap().1.clone()
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    while let Some((head, body)) = read_message(&mut client)? {
        let seen = note(shared, head, body);
        let mut fate = (shared.rule.lock().unwrap())(&seen);
        while let Fate::After(pause, then) = fate {
            thread::sleep(pause);
            fate = *then;
        }
        let pass = || pass_on(shared.upstream, &seen.head, &seen.body);
        let whole = match fate {
            Fate::Pass | Fate::After(..) => pass()?,
            Fate::Answer(status, headers, body) => answer(status, &headers, body.as_bytes()),
            Fate::Change(change) => changed(&pass()?, change)?,
            Fate::Redirect(body, change) => {
                let body = body.into_bytes();
                changed(&pass_on(shared.upstream, &seen.head, &body)?, change)?
            }
            Fate::Cut => {
                let whole = pass()?;
                let half = whole.len() - split(&whole).1.len() / 2;
                return client.write_all(&whole[..half]);
            }
            Fate::Silence => {
                // Until the client loses patience.
                let mut rest = [0];
                return client.read(&mut rest).map(drop);
            }
        };
        client.write_all(&whole)?;
    }
    Ok(())
}

fn note(shared: &Shared, head: String, body: Vec<u8>) -> Seen {
    let operation = header(&head, "x-amz-target").and_then(|target| target.rsplit('.').next());
    let line: Vec<&str> = head.split(' ').take(2).collect();
    let what = operation.map_or_else(|| line.join(" "), str::to_owned);
    let mut all = shared.seen.lock().unwrap();
    let number = all.1.entry(what.clone()).or_default();
    *number += 1;
    let seen = Seen {
        number: *number,
        what,
        head,
        body,
        came: Instant::now(),
    };
    all.0.push(seen.clone());
    seen
}

/// Asks the service over a connection of its own; the answer as the client gets it.
fn pass_on(upstream: u16, head: &str, body: &[u8]) -> std::io::Result<Vec<u8>> {
    let is_head = head.starts_with("HEAD ");
    let mut service = TcpStream::connect(("127.0.0.1", upstream))?;
    let length = format!("content-length: {}", body.len());
    let head = format!(
        "{}\r\n{length}\r\nconnection: close\r\n\r\n",
        without_frame(head)
    );
    // In one piece: of two the second would wait for the service's acknowledgement of the first.
    service.write_all(&[head.as_bytes(), body].concat())?;
    let mut whole = Vec::new();
    service.read_to_end(&mut whole)?;
    let (head, body) = split(&whole);
    let body = match header(&head, "transfer-encoding") {
        Some(_) => unchunked(&body),
        None => body,
    };
    // To HEAD, that of what GET would have.
    let length = header(&head, "content-length").filter(|_| is_head);
    let length = length.map_or_else(|| body.len().to_string(), str::to_owned);
    let frame = format!("content-length: {length}");
    let head = format!("{}\r\n{frame}\r\n\r\n", without_frame(&head));
    Ok([head.into_bytes(), body].concat())
}

/// A head without the lines that frame its body.
fn without_frame(head: &str) -> String {
    let frame = ["connection:", "transfer-encoding:", "content-length:"];
    let lines = head.lines().filter(|line| {
        let line = line.to_ascii_lowercase();
        !frame.iter().any(|name| line.starts_with(name))
    });
    lines.collect::<Vec<_>>().join("\r\n")
}

/// An answer, its JSON changed.
fn changed(whole: &[u8], change: Box<dyn FnOnce(&mut Value)>) -> std::io::Result<Vec<u8>> {
    let (head, body) = split(whole);
    let mut json: Value = serde_json::from_slice(&body)?;
    change(&mut json);
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    let kind = header(&head, "content-type").unwrap_or_default().to_owned();
    let headers = [("content-type", kind)];
    Ok(answer(
        status.unwrap_or(500),
        &headers,
        json.to_string().as_bytes(),
    ))
}

fn answer(status: u16, headers: &[(&'static str, String)], body: &[u8]) -> Vec<u8> {
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!(
        "HTTP/1.1 {status} Status\r\n{lines}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// One HTTP message with its length in the head; `None` at the end of the connection.
fn read_message(stream: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = header(&head, "content-length").and_then(|text| text.parse().ok());
            let whole = end + 4 + length.unwrap_or(0);
            while bytes.len() < whole {
                match stream.read(&mut part)? {
                    0 => return Ok(None),
                    read => bytes.extend(&part[..read]),
                }
            }
            return Ok(Some((head, bytes[end + 4..whole].to_vec())));
        }
        match stream.read(&mut part)? {
            0 => return Ok(None),
            read => bytes.extend(&part[..read]),
        }
    }
}

/// Head and body.
fn split(whole: &[u8]) -> (String, Vec<u8>) {
    let end = whole.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or(whole.len());
    let body = whole.get(end + 4..).unwrap_or_default();
    (
        String::from_utf8_lossy(&whole[..end]).into_owned(),
        body.to_vec(),
    )
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        whole.extend(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
    whole
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

impl Drop for Between {
    /// What the rule holds, a server for instance, ends with it.
    fn drop(&mut self) {
        if let Ok(mut rule) = self.shared.rule.lock() {
            *rule = Box::new(|_| Fate::Pass);
        }
    }
}
