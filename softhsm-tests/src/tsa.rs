//! A timestamping authority: `openssl` behind a small HTTP server that can be told to misbehave.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

pub use authority::{Authority, Builder};

mod authority;

/// What the server does with a query.
#[derive(Clone)]
pub enum Manner {
    /// Answers it.
    Good,
    /// Answers a query with another digest.
    OtherDigest,
    /// Answers a query with another nonce.
    OtherNonce,
    /// Has another authority sign the same content.
    SignedBy(Arc<Authority>),
    /// Answers in BER.
    Ber,
    /// Answers with this status, and a good token.
    Status(&'static str),
    /// Answers with this content type, and a good token.
    ContentType(&'static str),
    /// Answers with these bytes.
    Bytes(Vec<u8>),
    /// Reads, and never answers.
    Silent,
}

/// A running server; it ends with the process.
pub struct Tsa {
    /// Where it listens.
    pub url: String,
    shared: Arc<Shared>,
}

/// A server that has one CRL, or none; it ends with the process.
pub struct CrlServer {
    /// Where the CRL is.
    pub url: String,
    crl: Arc<Mutex<Vec<u8>>>,
}

struct Shared {
    authority: Arc<Authority>,
    manner: Mutex<Manner>,
    connections: AtomicUsize,
    queries: AtomicUsize,
}

impl Tsa {
    /// Starts a server for an authority.
    pub fn start(authority: &Arc<Authority>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/tsr", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            authority: Arc::clone(authority),
            manner: Mutex::new(Manner::Good),
            connections: AtomicUsize::new(0),
            queries: AtomicUsize::new(0),
        });
        let inner = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&inner);
                shared.connections.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || shared.serve(&stream.unwrap()));
            }
        });
        Self { url, shared }
    }

    /// Changes what it does from now on.
    pub fn be(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Queries so far.
    pub fn queries(&self) -> usize {
        self.shared.queries.load(Ordering::SeqCst)
    }
}

impl CrlServer {
    /// Starts a server without a CRL.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/crl", listener.local_addr().unwrap());
        let crl = Arc::new(Mutex::new(Vec::new()));
        let inner = Arc::clone(&crl);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(&stream);
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                    line.clear();
                }
                let crl = inner.lock().unwrap().clone();
                let status = if crl.is_empty() {
                    "404 Not Found"
                } else {
                    "200 OK"
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    crl.len()
                );
                // Who asked may be gone.
                stream.write_all(&[head.as_bytes(), &crl].concat()).ok();
            }
        });
        Self { url, crl }
    }

    /// Publishes a CRL.
    pub fn publish(&self, crl: Vec<u8>) {
        *self.crl.lock().unwrap() = crl;
    }
}

impl Shared {
    /// Serves one connection until the client closes it.
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(query) = query(&mut reader) {
            self.queries.fetch_add(1, Ordering::SeqCst);
            let manner = self.manner.lock().unwrap().clone();
            let (mut status, mut content_type) = ("200 OK", "application/timestamp-reply");
            let body = match manner {
                Manner::Good => self.authority.reply(&query),
                Manner::OtherDigest => self.authority.reply(&changed(&query, DIGEST_AT)),
                Manner::OtherNonce => self.authority.reply(&changed(&query, query.len() - 4)),
                Manner::SignedBy(by) => self.authority.reply_by(&query, &by, false),
                Manner::Ber => self.authority.reply_by(&query, &self.authority, true),
                Manner::Status(other) => {
                    status = other;
                    self.authority.reply(&query)
                }
                Manner::ContentType(other) => {
                    content_type = other;
                    self.authority.reply(&query)
                }
                Manner::Bytes(bytes) => bytes,
                Manner::Silent => {
                    // Until the client gives up.
                    reader.read_to_end(&mut Vec::new()).ok();
                    return;
                }
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let mut stream = stream;
            if stream
                .write_all(&[head.as_bytes(), &body].concat())
                .is_err()
            {
                return;
            }
        }
    }
}

/// The next query of a connection, which must be a right one (TSA-05).
fn query(reader: &mut BufReader<&TcpStream>) -> Option<Vec<u8>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    assert_eq!(lines[0], "POST /tsr HTTP/1.1");
    let header = |name: &str| {
        let found = lines.iter().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        });
        found.unwrap_or_else(|| panic!("{name} is missing: {lines:?}"))
    };
    assert_eq!(header("content-type"), "application/timestamp-query");
    let mut query = vec![0; header("content-length").parse().unwrap()];
    reader.read_exact(&mut query).ok()?;
    Some(query)
}

/// The query with the last bit of one byte changed.
fn changed(query: &[u8], at: usize) -> Vec<u8> {
    let mut query = query.to_vec();
    query[at] ^= 1;
    query
}

/// Where the digest of a query begins: after two headers, version, algorithm and its own header.
const DIGEST_AT: usize = 2 + 3 + 2 + 15 + 2;
