//! A bounded HTTP client: for registries, and for everything else that is fetched.
//!
//! Each exchange is bounded in size, in time (a server that drips bytes included), in redirects
//! and in repetitions. Credentials go to the origin (scheme, host and port) they were given for and
//! to no other, whatever a redirect says; a redirect from HTTPS to HTTP is refused. Bodies
//! are never decompressed. TLS is verified against the system's roots, and no option turns that
//! off. What is fetched is not trusted here: callers check digests and signatures.
//!
//! Proxy variables, `SSL_CERT_FILE` and `SSL_CERT_DIR` work as in Go, where requests to
//! this machine itself use no proxy. Whatever fails behind a proxy names it.

// Requirements: REG-05, REG-02, REG-10.

mod clients;
mod pace;
mod proxy;
mod reach;
mod retry;
mod roots;
mod trace;

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
pub(crate) use reqwest::header::{ACCEPT, CONTENT_TYPE};
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub use reqwest::{Method, StatusCode, Url};
use zeroize::Zeroizing;

use pace::Paces;
pub use proxy::Via;
pub(crate) use retry::jitter;

use crate::artifact::Quoted;
use crate::budget::{self, Party, Spending};
use crate::event::Listener;
use crate::text::{io_text, plural};
use clients::{Clients, Roots, Setup, is_tls};
use proxy::{Proxies, Unusable};
use reach::{Reach, came_from_inside};

/// What a client may spend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Time to connect, TLS included.
    pub connect: Duration,
    /// Longest wait for the next bytes.
    pub idle: Duration,
    /// Time for one exchange, beside what [`Self::min_rate`] grants for its bytes.
    pub total: Duration,
    /// Bytes per second below which an exchange is too slow.
    pub min_rate: u64,
    /// Redirects followed in one exchange.
    pub redirects: usize,
    /// Times that a request is repeated.
    // REG-11
    pub repeats: u32,
    /// Time for a request with all its repetitions, waits included.
    pub repeat_total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(60),
            min_rate: 16 * 1024,
            redirects: 5,
            repeats: 4,
            repeat_total: Duration::from_secs(90),
        }
    }
}

/// How to make a [`Client`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// `User-Agent` of every request.
    // REG-09
    pub user_agent: String,
    /// PEM certificates trusted beside the system's roots.
    pub extra_roots: Vec<Vec<u8>>,
    /// What this side shows of itself in TLS, where a server asks.
    pub identity: Option<TlsIdentity>,
    /// What may be spent.
    pub limits: Limits,
    /// Who hears of each request and answer.
    pub listener: Listener,
    /// Whether others choose the addresses: certificates theirs, say. Then no request goes to a
    /// link-local address, nor by a redirect from outside to this machine or its network.
    pub of_others: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        let version = env!("CARGO_PKG_VERSION");
        Self {
            user_agent: format!("notation/{version} hardsign/{version}"),
            extra_roots: Vec::new(),
            identity: None,
            limits: Limits::default(),
            listener: Listener::NOBODY,
            of_others: false,
        }
    }
}

/// A certificate chain and its private key, both in one PEM text. Zeroed when dropped; `Debug` says
/// `REDACTED`.
#[derive(Clone)]
pub struct TlsIdentity(Zeroizing<Vec<u8>>);

impl TlsIdentity {
    /// Takes over a PEM text; it is read when a [`Client`] is made of it.
    pub fn new(pem: Zeroizing<Vec<u8>>) -> Self {
        Self(pem)
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("REDACTED")
    }
}

/// The client. Clones share connections.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    /// For what goes through no proxy.
    direct: Clients,
    /// The same for what must not reach inside.
    outside: Clients,
    /// How far requests may reach that no redirect led to.
    reach: Reach,
    proxies: Proxies,
    setup: Setup,
    limits: Limits,
    round_trips: AtomicU64,
    paces: Paces,
    listener: Listener,
}

/// A request.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers, without credentials.
    pub headers: HeaderMap,
    /// `Authorization`, sent to the origin of `url` only.
    pub authorization: Option<HeaderValue>,
    /// Headers for the origin of `url` alone: they may be secrets.
    pub private: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

/// A whole answer, whatever its status.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpAnswer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Where it came from, after redirects.
    pub url: Url,
    /// Body.
    pub body: Vec<u8>,
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Streaming {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Where it comes from, after redirects.
    pub url: Url,
    response: reqwest::Response,
    left: u64,
    limit: u64,
    deadline: Instant,
    via: Option<Box<Via>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The client could not be made.
    #[error("failed to set up TLS and proxies")]
    Setup(#[source] reqwest::Error),
    /// Not an `http` or `https` URL, or one with a user name in it.
    #[error("{url} is not an address to fetch from")]
    Url {
        /// The URL.
        url: String,
    },
    /// The exchange failed below HTTP.
    #[error("{method} {url}: {}{}", root_cause(.cause), through(.via))]
    Transport {
        /// Method.
        method: Method,
        /// URL without its query.
        url: String,
        /// Why. Not a source: of its causes only the last one tells something, which is in the text.
        cause: reqwest::Error,
        /// The proxy that was used.
        via: Option<Box<Via>>,
    },
    /// A proxy wants to be logged in to.
    #[error(
        "{method} {url}: {via} requires a user name and a password, or rejects those in its URL"
    )]
    ProxyLogin {
        /// Method.
        method: Method,
        /// URL without its query.
        url: String,
        /// The proxy.
        via: Box<Via>,
    },
    /// A variable that should name a proxy does not.
    #[error("{variable}={} is not used as a proxy: {reason}", Quoted(value))]
    ProxyVariable {
        /// The variable.
        variable: &'static str,
        /// Its value, without what may be a login.
        value: String,
        /// Which part of an address it lacks, or what of it is not supported.
        reason: &'static str,
    },
    /// The exchange took too long.
    #[error("{method} {url}: no complete answer within {} seconds{}", after.as_secs(), through(.via))]
    Timeout {
        /// Method.
        method: Method,
        /// URL without its query.
        url: String,
        /// The limit.
        after: Duration,
        /// The proxy that was used.
        via: Option<Box<Via>>,
    },
    /// What the caller may spend in all is used up.
    #[error("{url}: {spending}")]
    Budget {
        /// URL without its query.
        url: String,
        /// What was used up.
        spending: Spending,
    },
    /// The body is larger than is read.
    #[error("{url}: the answer has more than {limit} bytes")]
    TooLarge {
        /// URL without its query.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Redirects without end.
    #[error("{url}: more than {limit} redirects")]
    TooManyRedirects {
        /// URL of the request, without its query.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// An address that others chose and that no request is sent to.
    #[error("{url}: no request is sent there: the address is {reason}")]
    OutOfReach {
        /// The address.
        url: String,
        /// What it is.
        reason: &'static str,
    },
    /// A redirect that is not followed.
    #[error("{from}: refusing the redirect to {to}: {reason}")]
    Redirect {
        /// URL without its query.
        from: String,
        /// Where it leads, without its query.
        to: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// The server asks for a longer wait than is granted.
    #[error("{url}: status {status}; the server asks to wait {}", plural(wait.as_secs(), "second"))]
    Wait {
        /// URL without its query.
        url: String,
        /// Status.
        status: StatusCode,
        /// The wait asked for.
        wait: Duration,
    },
}

impl NetError {
    /// What went wrong, without method and address, for a text that names them in its own way.
    pub fn reason(&self) -> String {
        match self {
            Self::Transport { cause, via, .. } => format!("{}{}", root_cause(cause), through(via)),
            Self::Timeout { after, via, .. } => format!(
                "no complete answer within {} seconds{}",
                after.as_secs(),
                through(via)
            ),
            Self::ProxyLogin { via, .. } => {
                format!("{via} requires a user name and a password, or rejects those in its URL")
            }
            Self::Budget { spending, .. } => spending.to_string(),
            Self::TooLarge { limit, .. } => format!("the answer has more than {limit} bytes"),
            Self::TooManyRedirects { limit, .. } => format!("more than {limit} redirects"),
            Self::OutOfReach { reason, .. } => {
                format!("no request is sent there: the address is {reason}")
            }
            Self::Redirect { to, reason, .. } => format!("refusing the redirect to {to}: {reason}"),
            Self::Wait { status, wait, .. } => format!(
                "status {status}; the server asks to wait {}",
                plural(wait.as_secs(), "second")
            ),
            Self::Setup(_) | Self::Url { .. } | Self::ProxyVariable { .. } => self.to_string(),
        }
    }

    /// The variable that names the proxy that was used, or that should have been.
    pub fn proxy_variable(&self) -> Option<&'static str> {
        match self {
            Self::Transport { via, .. } | Self::Timeout { via, .. } => {
                via.as_ref().map(|via| via.variable)
            }
            Self::ProxyLogin { via, .. } => Some(via.variable),
            Self::ProxyVariable { variable, .. } => Some(variable),
            _ => None,
        }
    }
}

/// Which proxy stood between, for the end of a text.
fn through(via: &Option<Box<Via>>) -> String {
    via.as_ref()
        .map_or_else(String::new, |via| format!(" (through {via})"))
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, shown(&self.url))
    }
}

impl Request {
    /// A request without headers, credentials and body.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            authorization: None,
            private: HeaderMap::new(),
            body: Vec::new(),
        }
    }

    /// The request with a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The request with a body.
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }
}

impl HttpAnswer {
    /// An answer without headers.
    #[cfg(test)]
    pub(crate) fn new(status: StatusCode, url: Url, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            url,
            body,
        }
    }
}

impl Inner {
    /// The client for what goes through no proxy.
    fn direct(&self, reach: Reach, url: &Url) -> reqwest::Result<&reqwest::Client> {
        let clients = match reach {
            Reach::Outside => &self.outside,
            Reach::Anywhere | Reach::NotLinkLocal => &self.direct,
        };
        clients.get(is_tls(url), |roots| self.setup.make(None, reach, roots))
    }
}

impl Client {
    /// Makes a client.
    ///
    /// # Errors
    /// [`NetError::Setup`] where a certificate cannot be read or TLS cannot be set up.
    pub fn new(options: &ClientOptions) -> Result<Self, NetError> {
        let mut roots = Vec::new();
        for pem in &options.extra_roots {
            roots.extend(reqwest::Certificate::from_pem_bundle(pem).map_err(NetError::Setup)?);
        }
        let identity = options.identity.as_ref();
        let identity = identity.map(|identity| reqwest::Identity::from_pem(&identity.0));
        let setup = Setup {
            identity: identity.transpose().map_err(NetError::Setup)?,
            user_agent: options.user_agent.clone(),
            connect: options.limits.connect,
            idle: options.limits.idle,
            roots,
        };
        let proxies = Proxies::from_environment();
        let reach = if options.of_others {
            Reach::NotLinkLocal
        } else {
            Reach::Anywhere
        };
        let direct = Clients::default();
        // Faults of the options are told at once.
        let made = setup.make(None, reach, Roots::Given);
        direct.get(false, |_| made).map_err(NetError::Setup)?;
        Ok(Self {
            inner: Arc::new(Inner {
                direct,
                outside: Clients::default(),
                reach,
                proxies,
                setup,
                limits: options.limits.clone(),
                round_trips: AtomicU64::new(0),
                paces: Paces::default(),
                listener: options.listener.clone(),
            }),
        })
    }

    /// Requests sent so far, redirects and repetitions included.
    pub fn round_trips(&self) -> u64 {
        self.inner.round_trips.load(Ordering::Relaxed)
    }

    /// What this client may spend.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Sends a request and reads the whole answer, of at most `limit` bytes, once it has its turn
    /// among all that are sent to the same server. Where that is harmless, a request that failed on
    /// the way or was turned away for the moment is repeated.
    ///
    /// # Errors
    /// [`NetError`]; no status is an error here.
    pub async fn exchange(&self, request: &Request, limit: u64) -> Result<HttpAnswer, NetError> {
        let pace = self.inner.paces.of(&request.url);
        let waiting = waiting_for(&request.url);
        let turn = pace.turn().await;
        drop(waiting);
        let first = Instant::now();
        let mut started = first;
        let mut repeats = 0;
        let mut answered = pace.answered();
        loop {
            let waiting = waiting_for(&request.url);
            turn.after_pause().await;
            drop(waiting);
            let began = tokio::time::Instant::now();
            let result = self.attempt(request, limit).await;
            turn.note(&result, began);
            let throttled = pace::is_throttled(&result);
            if throttled && pace.answered() != answered && first.elapsed() < MAX_THROTTLED {
                // Others get through, so that this one will as well.
                answered = pace.answered();
                started = Instant::now();
                repeats = 0;
            }
            let limits = self.limits();
            match retry::decide(request, &result, repeats, started.elapsed(), limits)? {
                Some(wait) => {
                    if throttled {
                        pace.pause(wait);
                    }
                    let _waiting = waiting_for(&request.url);
                    tokio::time::sleep(wait).await;
                }
                None => return result,
            }
            repeats = repeats.saturating_add(1);
        }
    }

    async fn attempt(&self, request: &Request, limit: u64) -> Result<HttpAnswer, NetError> {
        self.open(request, limit).await?.read().await
    }

    /// Sends a request once and hands out the body in pieces, of at most `limit` bytes in all.
    ///
    /// # Errors
    /// [`NetError`]; no status is an error here.
    pub async fn open(&self, request: &Request, limit: u64) -> Result<Streaming, NetError> {
        let size = u64::try_from(request.body.len()).unwrap_or(u64::MAX);
        let time = self.time_for(limit.saturating_add(size));
        let deadline = Instant::now() + time;
        let response = within(self, request, deadline, time, self.follow(request)).await??;
        if request.method != Method::HEAD && response.content_length().is_some_and(|n| n > limit) {
            return Err(NetError::TooLarge {
                url: shown(response.url()),
                limit,
            });
        }
        let via = self.via(response.url());
        Ok(Streaming::new(response, limit, deadline, via))
    }

    /// Sends a request whose body is made while it is sent; it is never repeated or redirected.
    ///
    /// # Errors
    /// [`NetError`]; no status is an error here.
    pub(crate) async fn upload(
        &self,
        request: &Request,
        body: reqwest::Body,
        size: u64,
        limit: u64,
    ) -> Result<HttpAnswer, NetError> {
        let time = self.time_for(limit.saturating_add(size));
        let deadline = Instant::now() + time;
        let send = self.send_one(request, &request.url, true, self.inner.reach, body);
        let response = within(self, request, deadline, time, send).await??;
        let via = self.via(response.url());
        Streaming::new(response, limit, deadline, via).read().await
    }

    /// The proxy that requests to a URL go through.
    fn via(&self, url: &Url) -> Option<Box<Via>> {
        let proxy = self.inner.proxies.of(url).ok().flatten();
        proxy.map(|proxy| Box::new(proxy.via().clone()))
    }

    fn time_for(&self, bytes: u64) -> Duration {
        let limits = self.limits();
        let extra = bytes.checked_div(limits.min_rate).unwrap_or(0);
        // A year is as good as endless, and no sum with it overflows.
        let extra = Duration::from_secs(extra.min(365 * 24 * 3600));
        limits.total.saturating_add(extra)
    }

    /// Sends the request, and follows redirects.
    async fn follow(&self, request: &Request) -> Result<reqwest::Response, NetError> {
        let mut url = request.url.clone();
        let mut at_home = true;
        let mut reach = self.inner.reach;
        if let Some(reason) = reach.refuses_host(&url) {
            return Err(NetError::OutOfReach {
                url: shown(&url),
                reason,
            });
        }
        for _ in 0..=self.limits().redirects {
            check_url(&url)?;
            let body = reqwest::Body::from(request.body.clone());
            let response = self.send_one(request, &url, at_home, reach, body).await?;
            if self.inner.reach != Reach::Anywhere {
                // Behind a proxy, the address is the proxy's.
                let proxied = self.inner.proxies.of(&url).map_err(unusable)?.is_some();
                let from = response.remote_addr().filter(|_| !proxied);
                reach = if came_from_inside(&url, from) {
                    Reach::NotLinkLocal
                } else {
                    Reach::Outside
                };
            }
            let Some(next) = redirect(request, &response, reach)? else {
                return Ok(response);
            };
            // Once elsewhere, credentials stay at home even if the way leads back.
            at_home = at_home && next.origin() == request.url.origin();
            url = next;
        }
        Err(NetError::TooManyRedirects {
            url: shown(&request.url),
            limit: self.limits().redirects,
        })
    }

    async fn send_one(
        &self,
        request: &Request,
        url: &Url,
        at_home: bool,
        reach: Reach,
        body: reqwest::Body,
    ) -> Result<reqwest::Response, NetError> {
        let proxy = self.inner.proxies.of(url).map_err(unusable)?;
        let client = match proxy {
            None => self.inner.direct(reach, url),
            Some(proxy) => proxy.client(&self.inner.setup, url),
        };
        let client = client.map_err(NetError::Setup)?;
        budget::request().map_err(|spending| over_budget(url, spending))?;
        let mut builder = client
            .request(request.method.clone(), url.clone())
            .headers(request.headers.clone());
        if at_home {
            builder = builder.headers(request.private.clone());
        }
        if let (true, Some(authorization)) = (at_home, &request.authorization) {
            let mut value = authorization.clone();
            value.set_sensitive(true);
            builder = builder.header(reqwest::header::AUTHORIZATION, value);
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            builder = builder.body(body);
        }
        let id = self.inner.round_trips.fetch_add(1, Ordering::Relaxed);
        let via = proxy.map(|proxy| Box::new(proxy.via().clone()));
        let failed = |cause| transport(request, url, cause, via.clone());
        let built = builder.build().map_err(failed)?;
        trace::request(&self.inner.listener, id, &built);
        let waiting = waiting_for(url);
        let result = client.execute(built).await;
        drop(waiting);
        trace::response(&self.inner.listener, id, url, &result);
        let response = result.map_err(failed)?;
        match via {
            Some(via) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Err(NetError::ProxyLogin {
                    method: request.method.clone(),
                    url: shown(url),
                    via,
                })
            }
            _ => Ok(response),
        }
    }
}

impl Streaming {
    fn new(
        response: reqwest::Response,
        limit: u64,
        deadline: Instant,
        via: Option<Box<Via>>,
    ) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            url: response.url().clone(),
            response,
            left: limit,
            limit,
            deadline,
            via,
        }
    }

    async fn read(mut self) -> Result<HttpAnswer, NetError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(HttpAnswer {
            status: self.status,
            headers: self.headers,
            url: self.url,
            body,
        })
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// [`NetError::TooLarge`], [`NetError::Timeout`], [`NetError::Transport`] (a body that ends
    /// before its announced length among them).
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, NetError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let via = self.via.clone();
        let timeout = |url: &Url, after| NetError::Timeout {
            method: Method::GET,
            url: shown(url),
            after,
            via: via.clone(),
        };
        let waiting = waiting_for(&self.url);
        let chunk = tokio::time::timeout(left, self.response.chunk()).await;
        drop(waiting);
        let chunk = match chunk {
            Err(_) => return Err(timeout(&self.url, left)),
            Ok(Err(error)) if error.is_timeout() => return Err(timeout(&self.url, left)),
            Ok(Err(source)) => {
                return Err(NetError::Transport {
                    method: Method::GET,
                    url: shown(&self.url),
                    cause: source.without_url(),
                    via,
                });
            }
            Ok(Ok(chunk)) => chunk,
        };
        let size = chunk.as_ref().map_or(0, |c| c.len());
        budget::receive(size).map_err(|spending| over_budget(&self.url, spending))?;
        match self
            .left
            .checked_sub(u64::try_from(size).unwrap_or(u64::MAX))
        {
            Some(left) => self.left = left,
            None => {
                return Err(NetError::TooLarge {
                    url: shown(&self.url),
                    limit: self.limit,
                });
            }
        }
        Ok(chunk)
    }
}

/// Notes whom a request waits for: the server, for its turn with it as well.
pub(crate) fn waiting_for(url: &Url) -> budget::Waiting {
    budget::waiting(|| {
        let host = url.host_str().unwrap_or_default();
        Party::Server(match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        })
    })
}

fn over_budget(url: &Url, spending: Spending) -> NetError {
    NetError::Budget {
        url: shown(url),
        spending,
    }
}

/// How long a request that is turned away is sent again because others get through.
const MAX_THROTTLED: Duration = Duration::from_secs(15 * 60);

/// Waits for `work` until the deadline.
async fn within<T>(
    client: &Client,
    request: &Request,
    deadline: Instant,
    time: Duration,
    work: impl Future<Output = T>,
) -> Result<T, NetError> {
    tokio::time::timeout_at(deadline.into(), work)
        .await
        .map_err(|_| NetError::Timeout {
            method: request.method.clone(),
            url: shown(&request.url),
            after: time,
            via: client.via(&request.url),
        })
}

/// Where a redirect leads, if the answer is one and it may be followed.
fn redirect(
    request: &Request,
    response: &reqwest::Response,
    reach: Reach,
) -> Result<Option<Url>, NetError> {
    let status = response.status();
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let from = response.url();
    let Some(location) = response.headers().get(reqwest::header::LOCATION) else {
        return Ok(None);
    };
    let refuse = |to: String, reason| NetError::Redirect {
        from: shown(from),
        to,
        reason,
    };
    let next = location
        .to_str()
        .ok()
        .and_then(|text| from.join(text).ok())
        .ok_or_else(|| refuse("an unreadable address".to_owned(), "it is not a URL"))?;
    if from.scheme() == "https" && next.scheme() != "https" {
        return Err(refuse(shown(&next), "it leaves HTTPS"));
    }
    if let Some(what) = reach.refuses_host(&next) {
        let reason = match what {
            reach::LINK_LOCAL => "its address is link-local",
            _ => "it leads into this machine's network",
        };
        return Err(refuse(shown(&next), reason));
    }
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    if !reads && (next.origin() != from.origin() || !matches!(status.as_u16(), 307 | 308)) {
        return Err(refuse(shown(&next), "it would send content elsewhere"));
    }
    Ok(Some(next))
}

fn check_url(url: &Url) -> Result<(), NetError> {
    let good = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none();
    if good {
        Ok(())
    } else {
        Err(NetError::Url { url: shown(url) })
    }
}

fn transport(
    request: &Request,
    url: &Url,
    source: reqwest::Error,
    via: Option<Box<Via>>,
) -> NetError {
    NetError::Transport {
        method: request.method.clone(),
        url: shown(url),
        cause: source.without_url(),
        via,
    }
}

fn unusable(fault: Unusable) -> NetError {
    NetError::ProxyVariable {
        variable: fault.via.variable,
        value: fault.via.address,
        reason: fault.reason,
    }
}

/// The innermost cause: `connection refused`, `invalid peer certificate: UnknownIssuer`.
fn root_cause(error: &reqwest::Error) -> String {
    let mut last: &dyn Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    let text = match last.downcast_ref() {
        Some(error) => io_text(error),
        None => last.to_string(),
    };
    // What stands in braces is for programmers.
    match text.split_once(" {") {
        Some((what, _)) => what.to_owned(),
        None => text,
    }
}

/// Whether a URL leads to this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => address(host).is_some_and(|address| address.is_loopback()),
        None => false,
    }
}

/// The address that a URL's host is, if it is none by name.
fn address(host: &str) -> Option<IpAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse().ok()
}

/// A URL as it may be shown and logged: without user, query and fragment, which can hold secrets.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Neither can fail for a URL that had them.
    let cleaned = url.set_username("").is_ok() && url.set_password(None).is_ok();
    if cleaned || url.username().is_empty() {
        url.to_string()
    } else {
        "an address with a user name".to_owned()
    }
}

#[cfg(test)]
mod tests;
