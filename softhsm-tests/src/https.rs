//! An HTTPS server of this process, for downloads that no honest server gives.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::peers::installed;
use crate::peers::registry::{CERTIFICATE, KEY, make_certificate};

/// What is answered to a request for a path.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Status 200.
    Body(Vec<u8>),
    /// Another status, without a body.
    Status(&'static str),
    /// Status 302.
    Redirect(String),
    /// Zeros without end.
    Endless,
    /// A byte now and then, without end.
    Drip,
    /// Half of a body, then the end of the connection.
    CutOff(Vec<u8>),
}

/// The server; its threads end with the process.
#[derive(Debug)]
pub struct Https {
    home: TempDir,
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Https {
    /// Serves `answers` by path.
    pub fn start(answers: BTreeMap<String, Answer>) -> Self {
        let home = tempfile::tempdir().unwrap();
        make_certificate(&installed("openssl"), home.path());
        let certificate = CertificateDer::from_pem_file(home.path().join(CERTIFICATE)).unwrap();
        let key = PrivateKeyDer::from_pem_file(home.path().join(KEY)).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let (answers, heard) = (answers.clone(), Arc::clone(&heard));
                thread::spawn(move || {
                    serve(StreamOwned::new(connection, stream), &answers, &heard)
                });
            }
        });
        Self { home, port, asked }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    /// The certificate to trust, as a PEM file.
    pub fn certificate(&self) -> PathBuf {
        self.home.path().join(CERTIFICATE)
    }

    /// The paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers one request. A client that goes away ends it.
fn serve(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    answers: &BTreeMap<String, Answer>,
    asked: &Mutex<Vec<String>>,
) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_exact(&mut byte).is_err() {
            return;
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    asked.lock().unwrap().push(path.clone());
    let missing = Answer::Status("404 Not Found");
    let sent = respond(&mut stream, answers.get(&path).unwrap_or(&missing));
    if sent.is_ok() {
        stream.conn.send_close_notify();
        stream.flush().ok();
    }
}

fn respond(
    stream: &mut StreamOwned<ServerConnection, TcpStream>,
    answer: &Answer,
) -> std::io::Result<()> {
    let head = |status: &str, rest: &str| {
        format!("HTTP/1.1 {status}\r\nConnection: close\r\n{rest}\r\n").into_bytes()
    };
    let length = |body: &[u8]| format!("Content-Length: {}\r\n", body.len());
    match answer {
        Answer::Body(body) => {
            stream.write_all(&head("200 OK", &length(body)))?;
            stream.write_all(body)
        }
        Answer::Status(status) => stream.write_all(&head(status, "Content-Length: 0\r\n")),
        Answer::Redirect(to) => stream.write_all(&head(
            "302 Found",
            &format!("Location: {to}\r\nContent-Length: 0\r\n"),
        )),
        Answer::Endless => {
            stream.write_all(&head("200 OK", ""))?;
            let zeros = vec![0; 1 << 16];
            loop {
                stream.write_all(&zeros)?;
            }
        }
        Answer::Drip => {
            stream.write_all(&head("200 OK", ""))?;
            loop {
                stream.write_all(b"x")?;
                stream.flush()?;
                thread::sleep(Duration::from_millis(20));
            }
        }
        Answer::CutOff(body) => {
            stream.write_all(&head("200 OK", &length(body)))?;
            stream.write_all(&body[..body.len() / 2])?;
            stream.flush()?;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
    }
}
