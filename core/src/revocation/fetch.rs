//! Asking OCSP responders and downloading CRLs (REV-12 to REV-18, REV-30, REV-31). Moves bytes and
//! decides nothing about them. A request is sent once: nothing is repeated behind the back of the
//! policy (REV-11).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::crl::MAX_CRL_LEN;
use super::ocsp::MAX_RESPONSE_LEN;
use crate::artifact::Quoted;
use crate::budget::Holdup;
use crate::net::{
    Client, ClientOptions, HeaderName, HeaderValue, Method, NetError, Request, StatusCode, Url,
};

/// Most CRLs that are downloaded and parsed at once, since each may take 32 MiB.
const DOWNLOADS: usize = 8;

/// Shortest base64 text that is sent by POST (REV-16).
const MIN_POST: usize = 255;

/// The client, made when it is first needed.
pub(super) struct Fetcher {
    options: ClientOptions,
    client: OnceLock<Result<Client, Arc<NetError>>>,
    downloads: Semaphore,
    /// Whom those wait for that have a place.
    downloading: Holdup,
    ocsp_timeout: Duration,
    crl_timeout: Duration,
}

/// Why there are no bytes to judge.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// An OCSP address that is not `http`.
    // REV-13
    #[error("OCSPServer protocol {scheme} is not supported")]
    OcspScheme {
        /// What it is.
        scheme: String,
    },
    /// A CRL's address that is not `http`.
    // REV-30
    #[error("unsupported scheme: {scheme}. Only supports CRL URL in HTTP protocol")]
    CrlScheme {
        /// What it is.
        scheme: String,
    },
    /// Not an address.
    #[error("{} is not a URL", Quoted(url))]
    Url {
        /// The text.
        url: String,
    },
    /// The responder is too slow.
    // REV-14
    #[error("exceeded timeout threshold of {:.2} seconds for OCSP check", after.as_secs_f64())]
    OcspTimeout {
        /// The limit.
        after: Duration,
    },
    /// The server is too slow.
    // REV-31
    #[error("exceeded timeout threshold of {:.2} seconds for CRL download", after.as_secs_f64())]
    CrlTimeout {
        /// The limit.
        after: Duration,
    },
    /// The responder has another status than 200.
    // REV-18
    #[error("failed to retrieve OCSP: response had status code {}", status.as_u16())]
    OcspStatus {
        /// The status.
        status: StatusCode,
    },
    /// The server has another status than 200.
    // REV-31
    #[error("failed to download with status code: {}", status.as_u16())]
    CrlStatus {
        /// The status.
        status: StatusCode,
    },
    /// The exchange failed.
    #[error(transparent)]
    Net(#[from] Arc<NetError>),
}

/// A place among the downloads.
pub(super) type Place<'a> = Option<SemaphorePermit<'a>>;

/// What came of one exchange.
enum Reply {
    Body(Vec<u8>),
    Status(StatusCode),
    Timeout,
}

impl Fetcher {
    pub(super) fn new(
        options: ClientOptions,
        ocsp_timeout: Duration,
        crl_timeout: Duration,
    ) -> Self {
        Self {
            // Certificates name the addresses, and servers redirect.
            options: ClientOptions {
                of_others: true,
                ..options
            },
            client: OnceLock::new(),
            downloads: Semaphore::new(DOWNLOADS),
            downloading: Holdup::default(),
            ocsp_timeout,
            crl_timeout,
        }
    }

    /// Sends an OCSP request; the bytes of the answer.
    pub(super) async fn ocsp(&self, server: &str, request: &[u8]) -> Result<Vec<u8>, FetchError> {
        let server = parse(server)?;
        if server.scheme() != "http" {
            return Err(FetchError::OcspScheme {
                scheme: server.scheme().to_owned(),
            });
        }
        let request = match get_url(&server, request) {
            Some(url) => Request::new(Method::GET, url),
            None => Request::new(Method::POST, server)
                .header(CONTENT_TYPE, OCSP_REQUEST)
                .body(request.to_vec()),
        };
        let after = self.ocsp_timeout;
        match self.once(&request, MAX_RESPONSE_LEN, after).await? {
            Reply::Body(body) => Ok(body),
            Reply::Status(status) => Err(FetchError::OcspStatus { status }),
            Reply::Timeout => Err(FetchError::OcspTimeout { after }),
        }
    }

    /// Downloads a CRL; its bytes, and the place among the downloads, to be kept until they are
    /// parsed.
    pub(super) async fn crl(&self, url: &str) -> Result<(Vec<u8>, Place<'_>), FetchError> {
        let url = parse(url)?;
        if url.scheme() != "http" {
            return Err(FetchError::CrlScheme {
                scheme: url.scheme().to_owned(),
            });
        }
        // It is never closed.
        let place = self.downloading.behind(self.downloads.acquire()).await.ok();
        let after = self.crl_timeout;
        let request = Request::new(Method::GET, url);
        let answer = self.once(&request, MAX_CRL_LEN, after);
        match self.downloading.lead(answer).await? {
            Reply::Body(body) => Ok((body, place)),
            Reply::Status(status) => Err(FetchError::CrlStatus { status }),
            Reply::Timeout => Err(FetchError::CrlTimeout { after }),
        }
    }

    fn client(&self) -> Result<&Client, Arc<NetError>> {
        let made = self
            .client
            .get_or_init(|| Client::new(&self.options).map_err(Arc::new));
        made.as_ref().map_err(Arc::clone)
    }

    async fn once(
        &self,
        request: &Request,
        limit: usize,
        time: Duration,
    ) -> Result<Reply, Arc<NetError>> {
        let client = self.client()?;
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let exchange = async {
            let mut answer = client.open(request, limit).await?;
            if answer.status != StatusCode::OK {
                return Ok(Reply::Status(answer.status));
            }
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                body.extend_from_slice(&chunk);
            }
            Ok(Reply::Body(body))
        };
        match tokio::time::timeout(time, exchange).await {
            Ok(result) => result.map_err(|error: NetError| Arc::new(error)),
            Err(_) => Ok(Reply::Timeout),
        }
    }
}

fn parse(url: &str) -> Result<Url, FetchError> {
    url.parse().map_err(|_| FetchError::Url {
        url: url.to_owned(),
    })
}

/// Where to send the request by GET (REV-16, REV-17); none where it is too long.
fn get_url(server: &Url, request: &[u8]) -> Option<Url> {
    let encoded = STANDARD.encode(request);
    let escaped: String = encoded
        .chars()
        .map(|c| match c {
            '+' => "%2B".to_owned(),
            '/' => "%2F".to_owned(),
            '=' => "%3D".to_owned(),
            c => c.to_string(),
        })
        .collect();
    if encoded.len() >= MIN_POST || escaped.len() >= MIN_POST {
        return None;
    }
    let segments = server.path().split('/').filter(|part| !part.is_empty());
    let path: String = segments
        .chain([escaped.as_str()])
        .flat_map(|part| ["/", part])
        .collect();
    let mut url = server.clone();
    url.set_path(&path);
    Some(url)
}

const CONTENT_TYPE: HeaderName = HeaderName::from_static("content-type");
const OCSP_REQUEST: HeaderValue = HeaderValue::from_static("application/ocsp-request");

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use super::*;

    /// REV-16, REV-17: what Go's `url.JoinPath` makes of it.
    #[test]
    fn requests_by_get() {
        // The base64 of these bytes has all three characters that are escaped.
        let request = [0xfb, 0xff, 0xbf, 0x3e];
        for (server, expected) in [
            ("http://h", "http://h/%2B%2F%2B%2FPg%3D%3D"),
            ("http://h/", "http://h/%2B%2F%2B%2FPg%3D%3D"),
            ("HTTP://h/a/b", "http://h/a/b/%2B%2F%2B%2FPg%3D%3D"),
            ("http://h//a//b/", "http://h/a/b/%2B%2F%2B%2FPg%3D%3D"),
            ("http://h/a/../b%20c", "http://h/b%20c/%2B%2F%2B%2FPg%3D%3D"),
            ("http://h/a?q=1", "http://h/a/%2B%2F%2B%2FPg%3D%3D?q=1"),
        ] {
            let url = get_url(&server.parse().unwrap(), &request).unwrap();
            assert_eq!(url.as_str(), expected);
        }
    }

    /// REV-16: 255 characters are one too many, escaped or not.
    #[test]
    fn long_requests_go_by_post() {
        let server: Url = "http://h".parse().unwrap();
        // 254 characters can't come out of base64; 252 and 256 are the next.
        assert!(get_url(&server, &[0; 189]).is_some());
        assert!(get_url(&server, &[0; 190]).is_none());
        // 0xff is "/" throughout, three characters for one.
        assert!(get_url(&server, &[0xff; 63]).is_some());
        assert!(get_url(&server, &[0xff; 66]).is_none());
    }

    /// REV-13, REV-30: no request for other schemes.
    #[tokio::test]
    async fn only_http() {
        let second = Duration::from_secs(1);
        let fetcher = Fetcher::new(ClientOptions::default(), second, second);
        for (url, ocsp, crl) in [
            (
                "https://h.test/",
                "OCSPServer protocol https is not supported",
                "unsupported scheme: https. Only supports CRL URL in HTTP protocol",
            ),
            (
                "ldap://h.test/cn=a?b",
                "OCSPServer protocol ldap is not supported",
                "unsupported scheme: ldap. Only supports CRL URL in HTTP protocol",
            ),
            (
                "nothing",
                "\"nothing\" is not a URL",
                "\"nothing\" is not a URL",
            ),
        ] {
            assert_eq!(fetcher.ocsp(url, b"").await.unwrap_err().told(), ocsp);
            assert_eq!(fetcher.crl(url).await.unwrap_err().told(), crl);
        }
        assert!(fetcher.client.get().is_none());
    }
}
