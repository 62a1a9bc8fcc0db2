use super::*;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

#[test]
fn what_is_shown_of_a_url() {
    // SEC-20: signed addresses of content hold secrets in their query.
    assert_eq!(
        shown(&url("https://u:p@h.example/a?signature=x#y")),
        "https://h.example/a"
    );
}

#[test]
fn this_machine_is_known() {
    // REG-10: as in Go, no proxy is used for it.
    for (text, expected) in [
        ("http://localhost:1/", true),
        ("http://127.0.0.2/", true),
        ("http://[::1]:1/", true),
        ("http://localhost.example/", false),
        ("http://10.0.0.1/", false),
    ] {
        assert_eq!(is_loopback(&url(text)), expected, "{text}");
    }
}

#[test]
fn only_web_addresses_are_fetched() {
    for (text, good) in [
        ("https://h.example/", true),
        ("http://h.example/", true),
        ("file:///etc/passwd", false),
        ("https://u@h.example/", false),
        ("data:text/plain,x", false),
    ] {
        assert_eq!(check_url(&url(text)).is_ok(), good, "{text}");
    }
}

/// The system's root certificates, which take longer to read than a request over plain HTTP does,
/// are read for the first connection over TLS.
#[tokio::test]
async fn plain_http_reads_no_root_certificates() {
    use std::io::{Read as _, Write as _};
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let _read = stream.read(&mut [0; 4096]).unwrap();
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .unwrap();
    });
    let mut options = ClientOptions::default();
    options.limits.repeats = 0;
    let client = Client::new(&options).unwrap();
    let request = Request::new(Method::GET, url(&format!("http://{address}/")));
    let answer = client.exchange(&request, 16).await.unwrap();
    answering.join().unwrap();
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert!(client.inner.direct.plain.get().is_some());
    assert!(client.inner.direct.tls.get().is_none());

    let refused = Request::new(Method::GET, url(&format!("https://{address}/")));
    client.exchange(&refused, 16).await.unwrap_err();
    assert!(client.inner.direct.tls.get().is_some());
}
