//! As much of HTTP/1.1 as the client needs, and some that it should not get.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Query.
    pub query: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Body,
}

/// A body, good or bad.
#[derive(Debug)]
pub enum Body {
    /// These bytes.
    Whole(Vec<u8>),
    /// Zeros without end, announced or not.
    Endless {
        /// `Content-Length`.
        announced: Option<u64>,
    },
    /// One byte at a time, with a pause after each.
    Drip(Vec<u8>, Duration),
    /// Fewer bytes than announced, then the end.
    Truncated {
        /// The bytes.
        bytes: Vec<u8>,
        /// `Content-Length`.
        announced: usize,
    },
    /// Nothing at all, not even a status.
    Hang(Duration),
}

impl Request {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, v)| v.as_str())
    }
}

impl Response {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self::bytes(status, Vec::new())
    }

    /// An answer with these bytes.
    pub fn bytes(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Whole(body),
        }
    }

    /// An answer with JSON.
    pub fn json(status: u16, body: &str) -> Self {
        Self::bytes(status, body.as_bytes().to_vec()).header("content-type", "application/json")
    }

    /// The answer with a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The answer with another body.
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

/// Reads a request; `None` at the end of the connection.
pub(super) fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    let mut byte = [0_u8; 1];
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > MAX_HEAD || stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?, first.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Vec::new(),
    };
    let length = request.header("content-length");
    let length: usize = length.and_then(|l| l.parse().ok()).unwrap_or(0);
    request.body = vec![0; length];
    stream.read_exact(&mut request.body).ok()?;
    Some(request)
}

/// Writes an answer; whether the connection can be used again.
pub(super) fn write(stream: &mut TcpStream, request: &Request, response: Response) -> bool {
    if let Body::Hang(time) = response.body {
        thread::sleep(time);
        return false;
    }
    let mut head = format!("HTTP/1.1 {} Fake\r\n", response.status);
    for (name, value) in &response.headers {
        let _infallible = write!(head, "{name}: {value}\r\n");
    }
    let announced = match &response.body {
        Body::Whole(bytes) | Body::Drip(bytes, _) => Some(u64::try_from(bytes.len()).unwrap_or(0)),
        Body::Truncated { announced, .. } => u64::try_from(*announced).ok(),
        Body::Endless { announced } => *announced,
        Body::Hang(_) => None,
    };
    let own = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-length");
    match announced {
        Some(length) if !response.headers.iter().any(own) => {
            let _infallible = write!(head, "content-length: {length}\r\n");
        }
        _ => {}
    }
    head.push_str("\r\n");
    if stream.write_all(head.as_bytes()).is_err() {
        return false;
    }
    if request.method == "HEAD" {
        return true;
    }
    match response.body {
        Body::Whole(bytes) => stream.write_all(&bytes).is_ok(),
        Body::Truncated { bytes, .. } => {
            drop(stream.write_all(&bytes));
            false
        }
        Body::Drip(bytes, pause) => bytes.iter().all(|byte| {
            thread::sleep(pause);
            stream.write_all(&[*byte]).is_ok()
        }),
        Body::Endless { .. } => {
            let zeros = vec![0_u8; 64 * 1024];
            while stream.write_all(&zeros).is_ok() {}
            false
        }
        Body::Hang(_) => false,
    }
}

/// Standard base64.
pub(super) fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            if i > chunk.len() {
                out.push('=');
            } else {
                let index = usize::try_from(bits >> (18 - 6 * i) & 63).unwrap_or(0);
                out.push(char::from(ALPHABET[index]));
            }
        }
    }
    out
}
