//! The server: connections, TLS, limits, the routes, and its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hardsign_core::oci::OciError;
use hardsign_core::text::{WithCauses, escaped};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::cluster::{Cluster, ClusterOptions};
use crate::deadline;
use crate::engine::{Engine, EngineOptions};
use crate::handler::Service;
use crate::metrics::{Answered, Endpoint, Metrics};
use crate::provider::ProviderRequest;
use crate::review::{self, Review};
use crate::rooms::{Room, Rooms};
use crate::seats::{Seat, Seats};
use crate::snapshot::{Current, SnapshotError};
use crate::tls::Serving;

/// How to serve.
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The serving certificate with its chain (PEM); read anew when it changes.
    pub certificate: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
    /// The directory of the policy, a mounted ConfigMap for example.
    pub policy: PathBuf,
    /// How images are verified.
    pub engine: EngineOptions,
    /// How the API server is reached, where that is needed.
    pub cluster: Option<ClusterOptions>,
    /// How long whoever asks waits, where the request does not say.
    pub timeout: Duration,
    /// How long requests are still taken after the end was asked for.
    pub drain: Duration,
    /// Takes each line of the log, and must not wait; whether it has taken it.
    pub log: Arc<Log>,
}

/// Takes lines of the log.
pub type Log = dyn Fn(&Value) -> bool + Send + Sync;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The policy can't be used.
    #[error(transparent)]
    Policy(#[from] SnapshotError),
    /// The serving certificate can't be used.
    #[error("the serving certificate: {0}")]
    Certificate(String),
    /// The API server can't be reached as it was said.
    #[error("the API server: {0}")]
    Cluster(String),
    /// Registries can't be reached.
    #[error(transparent)]
    Registries(#[from] OciError),
    /// The address can't be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

/// What connections share.
struct Shared {
    service: Service,
    ending: AtomicBool,
    seats: Seats,
    /// For bodies that are long.
    rooms: Rooms,
    timeout: Duration,
    handshakes: Mutex<Failures>,
}

/// Failures of which not each is told.
#[derive(Default)]
struct Failures {
    told: Option<Instant>,
    /// Since then.
    count: u64,
}

impl Failures {
    /// Counts one; how many there were since the last line of the log, if it is time for another.
    fn one_more(&mut self) -> Option<u64> {
        self.count = self.count.saturating_add(1);
        if self.told.is_some_and(|told| told.elapsed() < SELDOM) {
            return None;
        }
        self.told = Some(Instant::now());
        Some(std::mem::take(&mut self.count))
    }
}

type Body = Full<Bytes>;

/// Serves until `end` is ready, and then until what was begun is answered. `started` is told the address once
/// requests are taken.
///
/// # Errors
/// [`ServeError`]: nothing was served.
pub async fn serve(
    options: Options,
    started: impl FnOnce(SocketAddr),
    end: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let metrics = Arc::new(Metrics::default());
    let now = options.engine.now;
    let note = {
        let (log, metrics) = (Arc::clone(&options.log), Arc::clone(&metrics));
        move |event: &str, detail: Value| {
            let line = json!({"time": now().to_string(), "event": event, "detail": detail});
            metrics.logged(log(&line));
        }
    };
    let (counted, told) = (Arc::clone(&metrics), note.clone());
    let policies = Current::new(&options.policy, move |loaded| {
        counted.policy(loaded.is_ok());
        match loaded {
            Ok(snapshot) => told("policy-loaded", json!(snapshot.version)),
            Err(error) => told("policy-unusable", json!(WithCauses(error).to_string())),
        }
    })?;
    let told = note.clone();
    let serving = Serving::new(&options.certificate, &options.key, move |read| match read {
        Ok(()) => told("certificate-loaded", Value::Null),
        Err(fault) => told("certificate-unusable", json!(fault)),
    });
    let config = serving
        .and_then(Serving::config)
        .map_err(ServeError::Certificate)?;
    let cluster = options
        .cluster
        .map(Cluster::new)
        .transpose()
        .map_err(ServeError::Cluster)?;
    let listener = listen(options.listen).await?;
    let address = listener.local_addr().unwrap_or(options.listen);
    let shared = Arc::new(Shared {
        service: Service {
            policies,
            engine: Engine::new(options.engine)?,
            cluster,
            metrics,
            log: options.log,
            now,
        },
        ending: AtomicBool::new(false),
        seats: Seats::new(CONNECTIONS),
        rooms: Rooms::new(BODIES),
        timeout: options.timeout,
        handshakes: Mutex::default(),
    });
    note("listening", json!(address.to_string()));
    started(address);
    accept(
        listener,
        TlsAcceptor::from(Arc::new(config)),
        &shared,
        options.drain,
        end,
    )
    .await;
    note("ended", Value::Null);
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    shared: &Arc<Shared>,
    drain: Duration,
    end: impl Future<Output = ()>,
) {
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let ending = async {
        end.await;
        // The endpoint is taken out of the service while the signal comes: those who don't know yet are answered.
        shared.ending.store(true, Ordering::SeqCst);
        sleep(drain).await;
    };
    let mut ending = std::pin::pin!(ending);
    loop {
        while connections.try_join_next().is_some() {}
        let next = async { (shared.seats.free().await, listener.accept().await) };
        let (free, accepted) = tokio::select! {
            biased;
            () = &mut ending => break,
            accepted = next => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let seat = shared.seats.sit(free);
                let (tls, shared, stopped) = (tls.clone(), Arc::clone(shared), stopped.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = connection(stream, from, tls, &shared, &seat, stopped) => {}
                        () = seat.wanted() => {
                            let closed = &shared.service.metrics.connections_closed;
                            closed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            // Out of descriptors, say: those that are open will be closed.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    stop.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    let _late = timeout(FAREWELL, all).await;
}

/// Serves one connection until it ends or is idle for too long.
async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    tls: TlsAcceptor,
    shared: &Arc<Shared>,
    seat: &Seat,
    mut stopped: watch::Receiver<bool>,
) {
    let _whole_packets = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return no_handshake(shared, from, &error.to_string()),
        Err(_) => return no_handshake(shared, from, "it took too long"),
    };
    let (begun, mut has_begun) = watch::channel(false);
    let service = service_fn(|request| {
        begun.send_replace(true);
        let shared = Arc::clone(shared);
        async move { Ok::<_, Infallible>(route(request, &shared, seat).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(MAX_HEADERS)
        .keep_alive(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let silent = async {
        if timeout(FIRST_REQUEST, has_begun.wait_for(|begun| *begun))
            .await
            .is_ok()
        {
            std::future::pending::<()>().await;
        }
    };
    let mut silent = std::pin::pin!(silent);
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = &mut silent => return,
        _stopped = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ended = connection.await;
}

/// Counts a failed handshake, and writes a line of the log where there was none lately.
fn no_handshake(shared: &Shared, from: SocketAddr, why: &str) {
    let service = &shared.service;
    let counter = &service.metrics.handshakes_failed;
    counter.fetch_add(1, Ordering::Relaxed);
    let mut failures = shared
        .handshakes
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let count = failures.one_more();
    drop(failures);
    if let Some(count) = count {
        service.write(&json!({
            "time": (service.now)().to_string(), "event": "tls-failed", "from": from.to_string(),
            "error": review::cut(escaped(why), MAX_TOLD), "count": count,
        }));
    }
}

async fn route(request: Request<Incoming>, shared: &Shared, seat: &Seat) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let answer = match (request.method().clone(), path.as_str()) {
        (Method::GET, "/healthz") => text(StatusCode::OK, "ok\n".to_owned()),
        (Method::GET, "/readyz") => match shared.ending.load(Ordering::SeqCst) {
            false => text(StatusCode::OK, "ok\n".to_owned()),
            true => text(StatusCode::SERVICE_UNAVAILABLE, "ending\n".to_owned()),
        },
        (Method::GET, "/metrics") => metrics(shared),
        (Method::POST, "/validate") => asked(request, shared, seat, Endpoint::Validate).await,
        (Method::POST, "/mutate") => asked(request, shared, seat, Endpoint::Mutate).await,
        (Method::POST, "/verify") => asked(request, shared, seat, Endpoint::Verify).await,
        (_, "/healthz" | "/readyz" | "/metrics" | "/validate" | "/mutate" | "/verify") => text(
            StatusCode::METHOD_NOT_ALLOWED,
            "this method is not answered here\n".to_owned(),
        ),
        _ => text(StatusCode::NOT_FOUND, "there is nothing here\n".to_owned()),
    };
    match shared.ending.load(Ordering::SeqCst) {
        true => closing(answer),
        false => answer,
    }
}

fn metrics(shared: &Shared) -> Response<Body> {
    let Service {
        policies,
        engine,
        metrics,
        ..
    } = &shared.service;
    let body = metrics.text(
        &policies.get().version,
        [
            engine.cache.len(),
            engine.cache.under_way(),
            shared.seats.taken(),
        ],
    );
    let mut answer = text(StatusCode::OK, body);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// Reads the body of a question and answers it.
async fn asked(
    request: Request<Incoming>,
    shared: &Shared,
    seat: &Seat,
    endpoint: Endpoint,
) -> Response<Body> {
    let begun = Instant::now();
    let granted = deadline::of_query(request.uri().query(), shared.timeout);
    let (body, mut room) = match body(request, shared, granted).await {
        Ok(read) => read,
        Err((status, why)) => return malformed(shared, endpoint, status, &why, begun.elapsed()),
    };
    let _busy = seat.busy();
    let left = granted.saturating_sub(begun.elapsed());
    let service = &shared.service;
    let malformed = |why: &str| {
        let status = StatusCode::BAD_REQUEST;
        malformed(shared, endpoint, status, why, begun.elapsed())
    };
    let mut shrink = |size| {
        if let Some(room) = &mut room {
            room.shrink(size);
        }
    };
    if let Endpoint::Verify = endpoint {
        let parsed = ProviderRequest::parse(&body);
        drop(body);
        let asked = match parsed {
            Ok(asked) => asked,
            Err(why) => return malformed(&why),
        };
        shrink(asked.size());
        return json_answer(&service.provide(asked, left).await);
    }
    let parsed = Review::parse(&body);
    drop(body);
    let question = match parsed {
        Ok(question) => question,
        Err(why) => return malformed(&why),
    };
    shrink(question.size());
    let uid = question.uid.clone();
    let response = match endpoint {
        Endpoint::Mutate => service.mutate(question, left).await,
        _ => service.validate(question, left).await,
    };
    json_answer(&review::Answer::to(&uid, response))
}

/// The whole body, and the room that it takes.
async fn body(
    request: Request<Incoming>,
    shared: &Shared,
    granted: Duration,
) -> Result<(Bytes, Option<Room>), (StatusCode, String)> {
    let read = timeout(granted, read_body(request.into_body(), &shared.rooms)).await;
    read.unwrap_or(Err(Unread::Late)).map_err(|why| match why {
        Unread::TooLong => (
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request has more than {MAX_BODY} bytes"),
        ),
        Unread::Broken(error) => (
            StatusCode::BAD_REQUEST,
            format!("the request can't be read: {error}"),
        ),
        Unread::Late => (
            StatusCode::REQUEST_TIMEOUT,
            "the request did not come in time".to_owned(),
        ),
    })
}

/// Why there is no body.
enum Unread {
    TooLong,
    Broken(hyper::Error),
    Late,
}

/// A body. Some of what is too much is read and dropped, since who is still writing when the
/// connection is closed does not see the answer. What is more than a small body waits until there is room for all of it, so that
/// memory is bounded whoever sends.
async fn read_body(mut body: Incoming, rooms: &Rooms) -> Result<(Bytes, Option<Room>), Unread> {
    let hint = body.size_hint().exact();
    let told = hint.map(|hint| usize::try_from(hint).unwrap_or(usize::MAX));
    let (mut kept, mut seen) = (Vec::new(), 0_usize);
    let mut room: Option<Room> = None;
    while let Some(data) = piece(&mut body, room.as_ref()).await? {
        seen = seen.saturating_add(data.len());
        if seen > MAX_DISCARDED {
            break;
        }
        if told.unwrap_or(seen).max(seen) > MAX_BODY {
            (kept, room) = (Vec::new(), None);
            continue;
        }
        if room.is_none() && seen > SMALL {
            let length = told.unwrap_or(MAX_BODY).max(seen);
            room = Some(rooms.take(length).await);
            kept.reserve_exact(length.saturating_sub(kept.len()));
        }
        kept.extend_from_slice(&data);
        room.iter().for_each(|room| room.filled(seen));
    }
    if told.unwrap_or(seen).max(seen) > MAX_BODY {
        return Err(Unread::TooLong);
    }
    room.iter().for_each(Room::complete);
    Ok((kept.into(), room))
}

/// The next piece of a body; none at its end.
async fn piece(body: &mut Incoming, room: Option<&Room>) -> Result<Option<Bytes>, Unread> {
    let wanted = async {
        match room {
            Some(room) => room.wanted().await,
            None => std::future::pending().await,
        }
    };
    let frame = tokio::select! {
        biased;
        frame = body.frame() => frame,
        () = wanted => return Err(Unread::Late),
        () = sleep(PAUSE) => return Err(Unread::Late),
    };
    let frame = frame.transpose().map_err(Unread::Broken)?;
    // What is no data are trailers, which say nothing.
    Ok(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

fn malformed(
    shared: &Shared,
    endpoint: Endpoint,
    status: StatusCode,
    why: &str,
    took: Duration,
) -> Response<Body> {
    let why = review::cut(escaped(why), MAX_TOLD);
    let service = &shared.service;
    service
        .metrics
        .answered(endpoint, Answered::Malformed, took);
    service.write(&json!({
        "time": (service.now)().to_string(), "event": "malformed", "status": status.as_u16(), "error": why,
    }));
    // What is left of the request is not read.
    closing(text(status, format!("{why}\n")))
}

fn json_answer(answer: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(answer) {
        Ok(body) => {
            let mut response = Response::new(Full::new(body.into()));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn closing(mut answer: Response<Body>) -> Response<Body> {
    answer
        .headers_mut()
        .insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Longest time without a byte of a body.
const PAUSE: Duration = Duration::from_secs(5);
/// Most connections at a time.
const CONNECTIONS: usize = 1000;
/// Time for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Time between lines of the log on failed handshakes.
const SELDOM: Duration = Duration::from_secs(10);
/// Time until the first request of a connection has come.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Time between requests, and for the headers of each: longer than the 90 seconds after which the API server closes
/// a connection that it does not use, so that it never writes to one that we are closing.
const IDLE: Duration = Duration::from_secs(120);
/// Longest headers.
const MAX_HEADERS: usize = 32 << 10;
/// Longest body: the API server takes objects of 3 MiB, and a review of an update has two.
const MAX_BODY: usize = 7 << 20;
/// What is read of a longer one.
const MAX_DISCARDED: usize = 32 << 20;
/// Longest body that takes no room.
const SMALL: usize = 64 << 10;
/// Bytes of all others together.
const BODIES: usize = 56 << 20;
/// Time for what was begun, at the end: as long as a webhook may take.
const FAREWELL: Duration = Duration::from_secs(30);
/// Longest fault that is told.
const MAX_TOLD: usize = 1000;
