//! A registry in this process, over plain HTTP on a port of its own: it counts what is asked, and
//! can be told to be old, slow, crowded or hostile.
//!
//! It is made for tests of a client: it checks what a client sends (digests, order, permissions)
//! and stores everything in memory. It is not a registry for anybody's content.

mod http;
mod store;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use http::{Body, Request, Response};
use store::Store;

/// Answers a request in place of the registry, if it likes.
pub type Intercept = Box<dyn Fn(&Request) -> Option<Response> + Send + Sync>;

/// How the registry behaves.
pub struct Behaviour {
    /// Whether it has the referrers API.
    pub referrers_api: bool,
    /// Whether manifests can be deleted.
    pub delete: bool,
    /// How tags that look like digests are read.
    pub digest_tags: DigestTags,
    /// Referrers in one page of a list.
    pub page_size: usize,
    /// How it wants to be asked.
    pub auth: Auth,
    /// How long a manifest under a tag takes to be stored, once it has arrived.
    pub write_delay: Duration,
    /// Answer only when nothing has been asked for this long, to count requests in a row.
    pub rounds: Option<Duration>,
    /// Says otherwise.
    pub intercept: Option<Intercept>,
}

/// What a tag `sha256-<hex>` is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DigestTags {
    /// A tag.
    Tags,
    /// The digest, as long as it is not written as a tag.
    DigestsUntilWritten,
    /// The digest, always.
    Digests,
}

/// Who may ask.
#[derive(Clone, Debug)]
pub enum Auth {
    /// Everybody.
    Open,
    /// Who knows the password.
    Basic {
        /// User name and password, with a colon between.
        pair: String,
    },
    /// Who has a token of the token service at `/token` here.
    Bearer {
        /// User name and password for a token, with a colon between; none for anonymous tokens.
        pair: Option<String>,
        /// Address of the token service, if it is another.
        realm: Option<String>,
    },
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Query.
    pub query: String,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// Size of the body in bytes.
    pub size: usize,
    /// Status of the answer.
    pub status: u16,
}

/// The registry. It ends with the value.
pub struct FakeRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    behaviour: Behaviour,
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    store: Store,
    log: Vec<Logged>,
    rounds: usize,
    counted_from: usize,
    last_arrival: Option<Instant>,
    tokens: usize,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            referrers_api: true,
            delete: true,
            digest_tags: DigestTags::Tags,
            page_size: 1000,
            auth: Auth::Open,
            write_delay: Duration::ZERO,
            rounds: None,
            intercept: None,
        }
    }
}

impl FakeRegistry {
    /// Starts a registry.
    ///
    /// # Panics
    /// Where no port can be had.
    pub fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            behaviour,
            stopped: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stopped.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&serving)) else {
                    continue;
                };
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// `localhost:<port>`, as a user writes it.
    pub fn name(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// `http://localhost:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.name())
    }

    /// What was asked so far.
    pub fn log(&self) -> Vec<Logged> {
        self.shared.state().log.clone()
    }

    /// What was asked so far, one `METHOD path` a line, the repository's name left out.
    pub fn requests(&self) -> Vec<String> {
        let log = self.log();
        log.iter()
            .map(|l| format!("{} {}", l.method, l.path))
            .collect()
    }

    /// Forgets what was asked.
    pub fn clear_log(&self) {
        let mut state = self.shared.state();
        state.log.clear();
        state.counted_from = state.rounds;
    }

    /// Requests in a row: how often the client waited for an answer before it asked again. Needs
    /// [`Behaviour::rounds`].
    pub fn rounds(&self) -> usize {
        let state = self.shared.state();
        state.rounds - state.counted_from
    }

    /// Tokens given out.
    pub fn tokens(&self) -> usize {
        self.shared.state().tokens
    }

    /// Stores a manifest, and returns its digest.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        kind: &str,
        bytes: &[u8],
    ) -> String {
        self.shared
            .state()
            .store
            .put_manifest(repository, tag, kind, bytes)
    }

    /// Stores content, and returns its digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        self.shared.state().store.put_blob(repository, bytes)
    }

    /// A manifest by tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Vec<u8>> {
        let state = self.shared.state();
        state
            .store
            .manifest(repository, reference)
            .map(|m| m.bytes.clone())
    }

    /// How many manifests a repository holds.
    pub fn manifest_count(&self, repository: &str) -> usize {
        self.shared.state().store.manifest_count(repository)
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener up.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of the round, which is one for all that wait in it.
    fn wait_for_round(&self) {
        let Some(quiet) = self.behaviour.rounds else {
            return;
        };
        let round = {
            let mut state = self.state();
            state.last_arrival = Some(Instant::now());
            state.rounds
        };
        loop {
            thread::sleep(Duration::from_millis(5));
            let mut state = self.state();
            let over = state.last_arrival.is_none_or(|at| at.elapsed() >= quiet);
            if state.rounds == round && over {
                state.rounds += 1;
            }
            if state.rounds != round {
                return;
            }
        }
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    drop(stream.set_nodelay(true));
    while let Some(request) = http::read(&mut stream) {
        shared.wait_for_round();
        let intercepted = shared.behaviour.intercept.as_ref();
        let response = intercepted
            .and_then(|intercept| intercept(&request))
            .unwrap_or_else(|| answer(shared, &request));
        shared.state().log.push(Logged {
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            authorization: request.header("authorization").map(str::to_owned),
            user_agent: request.header("user-agent").map(str::to_owned),
            size: request.body.len(),
            status: response.status,
        });
        if !http::write(&mut stream, &request, response) {
            return;
        }
    }
}

fn answer(shared: &Shared, request: &Request) -> Response {
    if request.path == "/token" {
        return token(shared, request);
    }
    if let Some(refusal) = refuse(shared, request) {
        return refusal;
    }
    let is_tag_write = request.method == "PUT"
        && request
            .path
            .rsplit_once("/manifests/")
            .is_some_and(|(_, tag)| !tag.contains(':'));
    if is_tag_write {
        thread::sleep(shared.behaviour.write_delay);
    }
    shared.state().store.answer(&shared.behaviour, request)
}

fn token(shared: &Shared, request: &Request) -> Response {
    let Auth::Bearer { pair, .. } = &shared.behaviour.auth else {
        return Response::status(404);
    };
    let refreshed = request.method == "POST"
        && String::from_utf8_lossy(&request.body).contains("refresh_token=good");
    let anonymous = pair.is_none();
    if !anonymous && !refreshed && !has_password(request, pair.as_deref()) {
        return Response::status(401);
    }
    shared.state().tokens += 1;
    let text = format!(r#"{{"token":"t {}","expires_in":60}}"#, request.query).replace(' ', "-");
    Response::json(200, &text)
}

fn refuse(shared: &Shared, request: &Request) -> Option<Response> {
    let (good, challenge) = match &shared.behaviour.auth {
        Auth::Open => return None,
        Auth::Basic { pair } => (
            has_password(request, Some(pair)),
            "Basic realm=\"fake\"".to_owned(),
        ),
        Auth::Bearer { realm, .. } => {
            let host = request.header("host").unwrap_or_default();
            let realm = realm.clone();
            let realm = realm.unwrap_or_else(|| format!("http://{host}/token"));
            let given = request.header("authorization");
            // A token for pulling does not push.
            let writes = !matches!(request.method.as_str(), "GET" | "HEAD");
            let token = given.and_then(|g| g.strip_prefix("Bearer t-"));
            let good = token.is_some_and(|t| !writes || t.contains("push"));
            (
                good,
                format!("Bearer realm=\"{realm}\",service=\"fake\",scope=\"\""),
            )
        }
    };
    (!good).then(|| {
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        Response::json(401, body).header("www-authenticate", &challenge)
    })
}

fn has_password(request: &Request, pair: Option<&str>) -> bool {
    let given = request.header("authorization");
    let given = given.and_then(|g| g.strip_prefix("Basic "));
    given == pair.map(http::base64).as_deref()
}
