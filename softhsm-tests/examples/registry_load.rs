//! The rate of a registry itself: the requests of so many signatures, or of so many verifications, sent by as many connections as
//! are said, with nothing done in between. What it prints is the seconds that took.
//!
//! `registry_load sign|tag|verify PORT CONNECTIONS COUNT REPOSITORY < DIGESTS`: `sign` where the registry has the referrers
//! API; `tag` where each signature costs an index under the artifact's tag as well; the digests of the artifacts come from
//! standard input, a line each, and are taken in turn.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement: it prints, and ends where it fails"
)]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SIGNATURE: &str = "application/vnd.cncf.notary.signature";
const BYTES: &str = "application/octet-stream";
/// The empty configuration, which is there.
const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words[at].parse::<usize>().unwrap();
    let (what, port, connections, count) =
        (words[0].clone(), words[1].clone(), number(2), number(3));
    let digests: Vec<String> = std::io::stdin().lines().map(Result::unwrap).collect();
    let (digests, next) = (Arc::new(digests), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let (digests, next, what) = (Arc::clone(&digests), Arc::clone(&next), what.clone());
            let mut connection = Connection::new(&port, &words[4]);
            thread::spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let artifact = &digests[number % digests.len()];
                    match what.as_str() {
                        "verify" => connection.verify(artifact),
                        what => connection.sign(artifact, number, what == "tag"),
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    println!("{}", began.elapsed().as_secs_f64());
}

/// A connection that is kept.
struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
    repository: String,
}

struct Answer {
    status: u16,
    location: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Connection {
    fn new(port: &str, repository: &str) -> Self {
        let host = format!("127.0.0.1:{port}");
        let stream = TcpStream::connect(&host).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
            repository: format!("/v2/{repository}"),
            host,
        }
    }

    /// What `hardsign sign` asks for one artifact.
    fn sign(&mut self, artifact: &str, number: usize, by_tag: bool) {
        self.read(&format!("manifests/{artifact}"));
        // As large as an envelope is, and no two are the same.
        let seed = format!("{}-{number}-{}", self.host, std::process::id());
        let envelope = hex::encode(Sha256::digest(&seed)).repeat(35);
        let layer = self.upload(envelope.as_bytes());
        // A registry that copies its lists copies these as well.
        let annotations = json!({
            "io.cncf.notary.x509chain.thumbprint#S256":
                format!("[{:?}]", hex::encode(Sha256::digest(EMPTY))),
            "org.opencontainers.image.created": "2026-11-29T00:00:00Z",
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": SIGNATURE,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": EMPTY, "size": 2},
            "layers": [{"mediaType": "application/jose+json", "digest": layer, "size": envelope.len()}],
            "subject": {"mediaType": MANIFEST, "digest": artifact, "size": 1},
            "annotations": annotations,
        });
        let manifest = manifest.to_string();
        let digest = digest(manifest.as_bytes());
        self.put(&digest, MANIFEST, &manifest);
        if by_tag {
            let tag = artifact.replace(':', "-");
            let listed = self.ask("GET", &format!("manifests/{tag}"), INDEX, b"");
            let mut listed = match listed.status {
                200 => listed.json()["manifests"].as_array().unwrap().clone(),
                _ => Vec::new(),
            };
            listed.push(json!({
                "mediaType": MANIFEST, "digest": digest, "size": manifest.len(),
                "annotations": annotations, "artifactType": SIGNATURE,
            }));
            let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed});
            self.put(&tag, INDEX, &index.to_string());
        }
    }

    /// What `hardsign verify` asks for one artifact.
    fn verify(&mut self, artifact: &str) {
        self.good("HEAD", &format!("manifests/{artifact}"), MANIFEST, b"");
        let listed = self.read(&format!("referrers/{artifact}"));
        let signature = listed["manifests"][0]["digest"]
            .as_str()
            .unwrap()
            .to_owned();
        let signature = self.read(&format!("manifests/{signature}"));
        let envelope = signature["layers"][0]["digest"]
            .as_str()
            .unwrap()
            .to_owned();
        self.good("GET", &format!("blobs/{envelope}"), BYTES, b"");
    }

    fn read(&mut self, path: &str) -> Value {
        let kinds = format!("{MANIFEST}, {INDEX}");
        self.good("GET", path, &kinds, b"").json()
    }

    fn put(&mut self, name: &str, kind: &str, manifest: &str) {
        self.good(
            "PUT",
            &format!("manifests/{name}"),
            kind,
            manifest.as_bytes(),
        );
    }

    /// Stores a blob; its digest.
    fn upload(&mut self, content: &[u8]) -> String {
        let digest = digest(content);
        let begun = self.good("POST", "blobs/uploads/", BYTES, b"");
        let here = format!("http://{}", self.host);
        let place = begun
            .location
            .strip_prefix(&here)
            .unwrap_or(&begun.location);
        let and = if place.contains('?') { '&' } else { '?' };
        self.good(
            "PUT",
            &format!("{place}{and}digest={digest}"),
            BYTES,
            content,
        );
        digest
    }

    fn good(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let answer = self.ask(method, path, kind, body);
        assert!(answer.status < 300, "{method} {path}: {}", answer.status);
        answer
    }

    /// One exchange; a path that begins with a slash is one of the registry.
    fn ask(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Answer {
        let path = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("{}/{path}", self.repository),
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        match method {
            "GET" | "HEAD" => write!(head, "Accept: {kind}\r\n\r\n").unwrap(),
            _ => {
                let length = body.len();
                write!(
                    head,
                    "Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
                )
                .unwrap();
            }
        }
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        self.stream.get_mut().write_all(&request).unwrap();
        self.answer(method)
    }

    fn answer(&mut self, method: &str) -> Answer {
        let line = self.line();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        let (mut length, mut chunked, mut location) = (0, false, String::new());
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "transfer-encoding" => chunked = value == "chunked",
                "location" => location = value.to_owned(),
                _ => {}
            }
        }
        let mut body = Vec::new();
        if method != "HEAD" && status != 204 {
            match chunked {
                true => while self.chunk(&mut body) {},
                false => self.bytes(length, &mut body),
            }
        }
        Answer {
            status,
            location,
            body,
        }
    }

    /// One piece of a body; false for the last one, which is empty.
    fn chunk(&mut self, body: &mut Vec<u8>) -> bool {
        let length = usize::from_str_radix(&self.line(), 16).unwrap();
        self.bytes(length, body);
        self.line();
        length > 0
    }

    fn bytes(&mut self, length: usize, body: &mut Vec<u8>) {
        let length = u64::try_from(length).unwrap();
        let taken = self.stream.by_ref().take(length).read_to_end(body).unwrap();
        assert_eq!(u64::try_from(taken).unwrap(), length);
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "the registry hung up: {line:?}");
        line.trim_end().to_owned()
    }
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(content)))
}
