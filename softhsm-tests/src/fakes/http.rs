//! An HTTP server of this process: a thread for each connection, connections stay open.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// The longest request.
const MAX_BODY: usize = 1 << 20;

/// A request that was read whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    /// The host of the connection that a proxy was asked for, or none.
    pub(super) host: String,
    /// Without the query.
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A parameter of the query, percent-decoded.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self
            .query
            .split('&')
            .filter_map(|part| part.split_once('='));
        let mut found = pairs.filter(|(known, _)| decoded(known) == name);
        found.next().map(|(_, value)| decoded(value))
    }
}

/// A percent-decoded part of a URL or form.
pub(super) fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    whole: Whole,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Whole {
    Yes,
    /// Half of it is sent.
    Cut,
    /// Nothing is sent.
    Never,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("Content-Type", "application/json".to_owned())],
            body: body.to_string().into_bytes(),
            whole: Whole::Yes,
        }
    }

    pub(super) fn text(body: &str) -> Self {
        Self {
            status: 200,
            headers: vec![("Content-Type", "text/plain".to_owned())],
            body: body.as_bytes().to_vec(),
            whole: Whole::Yes,
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn cut(mut self) -> Self {
        self.whole = Whole::Cut;
        self
    }

    pub(super) fn never() -> Self {
        let mut reply = Self::json(200, &Value::Null);
        reply.whole = Whole::Never;
        reply
    }

    pub(super) fn junk() -> Self {
        let mut reply = Self::json(200, &Value::Null);
        reply.body = b"<html>please log in</html>".to_vec();
        reply
    }
}

/// What answers requests.
pub(super) type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// Serves on a free port of the loopback interface until the process ends; the port.
pub(super) fn serve(handler: Arc<Handler>) -> u16 {
    listen(move |stream| {
        connection(&mut BufReader::new(stream), "", handler.as_ref());
    })
}

/// The same as a proxy that itself is every host it is asked for: `CONNECT`, then TLS; a request to a host
/// without TLS (RFC 9112 §3.2.2) is answered as it is.
pub(super) fn serve_as_proxy(config: Arc<ServerConfig>, handler: Arc<Handler>) -> u16 {
    listen(move |mut stream| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > MAX_BODY || stream.read_exact(&mut byte).is_err() {
                return;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut words = head.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return;
        };
        if method != "CONNECT" {
            return absolute(&mut stream, &head, handler.as_ref());
        }
        let host = target.split(':').next().unwrap_or_default().to_owned();
        if stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").is_err() {
            return;
        }
        let Ok(session) = ServerConnection::new(Arc::clone(&config)) else {
            return;
        };
        let mut stream = BufReader::new(StreamOwned::new(session, stream));
        connection(&mut stream, &host, handler.as_ref());
    })
}

/// Answers a request without a body whose target names the host, and no other on its connection.
fn absolute(stream: &mut TcpStream, head: &str, handler: &Handler) {
    let Some(mut request) = read(&mut head.as_bytes()) else {
        return;
    };
    let target = request.path.strip_prefix("http://").unwrap_or_default();
    let (host, path) = target.split_once('/').unwrap_or((target, ""));
    let (host, path) = (host.to_owned(), format!("/{path}"));
    (request.host, request.path) = (host, path);
    let reply = handler(&request).with("Connection", "close");
    // A client that went away needs no answer.
    write(stream, &reply);
}

fn listen(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            stream.set_nodelay(true).ok();
            thread::spawn(move || answer(stream));
        }
    });
    port
}

/// Answers the requests of a connection. A client that goes away ends it.
fn connection<S: Read + Write>(stream: &mut BufReader<S>, host: &str, handler: &Handler) {
    while let Some(mut request) = read(stream) {
        request.host = host.to_owned();
        let reply = handler(&request);
        if write(stream.get_mut(), &reply).is_none() {
            if reply.whole == Whole::Never {
                // Until the client has had enough.
                stream.read_exact(&mut [0]).ok();
            }
            return;
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut request = Request {
        method,
        path: decoded(path),
        query: query.to_owned(),
        ..Request::default()
    };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        let header = (name.to_ascii_lowercase(), value.trim().to_owned());
        request.headers.push(header);
    }
    let length = request.header("content-length");
    let length: usize = length.map_or(Some(0), |length| length.parse().ok())?;
    assert!(length <= MAX_BODY, "a request of {length} bytes");
    request.body = vec![0; length];
    stream.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// `None` if the connection is over.
fn write(stream: &mut impl Write, reply: &Reply) -> Option<()> {
    if reply.whole == Whole::Never {
        return None;
    }
    let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", reply.body.len()));
    let mut all = head.into_bytes();
    let body = match reply.whole {
        Whole::Cut => &reply.body[..reply.body.len() / 2],
        _ => &reply.body,
    };
    all.extend_from_slice(body);
    stream.write_all(&all).ok()?;
    stream.flush().ok()?;
    (reply.whole == Whole::Yes).then_some(())
}
