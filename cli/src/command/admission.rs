//! `hardsign admission serve`: from flags and environment to the server of `hardsign-admission`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use hardsign_admission::{ClusterOptions, EngineOptions, Log, Options, ServeError, serve};
use hardsign_core::config::ConfigFile;
use hardsign_core::dirs::Dirs;
use hardsign_core::oci::auth::Credentials;
use hardsign_core::oci::registry::ConnectorOptions;
use hardsign_plugin::text::io_text;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::{Context, many, repository};
use crate::args::admission::ServeArgs;
use crate::failure::{Exit, Failure};
use crate::output::Console;

pub(super) fn run(args: ServeArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let (log, written) = log_writer(Arc::clone(&context.console))?;
    let options = Options {
        listen: args.listen,
        certificate: args.certificate.clone(),
        key: args.key.clone(),
        policy: args.policy.clone().unwrap_or_else(|| dirs.config.clone()),
        engine: EngineOptions {
            registries: registries(&args, &dirs, context)?,
            plugins: dirs,
            max_age: args.max_age,
            cache_entries: VERDICTS,
            now,
        },
        cluster: match args.cluster {
            Some([url, ca, token]) => Some(ClusterOptions {
                url,
                ca_file: ca.into(),
                token_file: token.into(),
            }),
            None => own_cluster(),
        },
        timeout: args.timeout,
        drain: args.drain,
        log,
    };
    let runtime = Builder::new_multi_thread()
        .worker_threads(many::cores())
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::failed(format!("failed to start the runtime: {}", io_text(&error)))
        })?;
    let served = runtime.block_on(async {
        let heard = |kind| {
            signal(kind).map_err(|error| {
                Failure::failed(format!("failed to listen for signals: {}", io_text(&error)))
            })
        };
        let (mut terminated, mut interrupted) = (
            heard(SignalKind::terminate())?,
            heard(SignalKind::interrupt())?,
        );
        let end = async move {
            tokio::select! {
                _signal = terminated.recv() => {}
                _signal = interrupted.recv() => {}
            }
        };
        let console = &context.console;
        let started =
            |address: SocketAddr| console.log("info", format_args!("listening on {address}"));
        serve(options, started, end).await.map_err(failure)
    });
    // With the runtime goes what writes to the log; who does not take its end is not waited for.
    runtime.shutdown_timeout(LOG_END);
    let _late = written.recv_timeout(LOG_END);
    served
}

/// What takes lines of the log, and says at its end that all are written. They are written by a thread of their own, since where
/// nobody takes them answers still have to be given; what there is no room for is counted, and the count
/// written as soon as a line can be.
fn log_writer(console: Arc<Console>) -> Result<(Arc<Log>, Receiver<()>), Failure> {
    let (lines, waiting) = sync_channel::<String>(LOG_LINES);
    let (all_written, written) = sync_channel(1);
    let (lost, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let (told, held) = (Arc::clone(&lost), Arc::clone(&bytes));
    let write = move || {
        for line in waiting {
            let _unread = console.json_text(&line);
            held.fetch_sub(line.len(), Ordering::Relaxed);
            let count = told.swap(0, Ordering::Relaxed);
            if count > 0 {
                let line = json!({"time": now().to_string(), "event": "log-lost", "detail": count});
                let _unread = console.json_line(&line);
            }
        }
        drop(all_written);
    };
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(write)
        .map_err(|error| {
            Failure::failed(format!("failed to start a thread: {}", io_text(&error)))
        })?;
    let take = move |line: &Value| {
        let text = line.to_string();
        let length = text.len();
        let with = |held: usize| held.checked_add(length).filter(|held| *held <= LOG_BYTES);
        let fits = bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with);
        let taken = fits.is_ok() && lines.try_send(text).is_ok();
        if !taken {
            lost.fetch_add(1, Ordering::Relaxed);
        }
        if fits.is_ok() && !taken {
            bytes.fetch_sub(length, Ordering::Relaxed);
        }
        taken
    };
    Ok((Arc::new(take), written))
}

/// How registries are reached: as by any other command, with this user's credentials.
fn registries(
    args: &ServeArgs,
    dirs: &Dirs,
    context: &Context,
) -> Result<ConnectorOptions, Failure> {
    let mut options = ConnectorOptions::default();
    options.token_services.clone_from(&args.token_services);
    options.insecure_registries = ConfigFile::load(dirs)?.insecure_registries().to_vec();
    options.credentials = Credentials::Store(Arc::new(repository::credential_store(dirs, context)));
    if let Some(path) = &args.ca_file {
        options.client.extra_roots.push(repository::ca_file(path)?);
    }
    options.client.listener = context.listener();
    Ok(options)
}

/// The cluster that this process is a pod of, if it is one.
fn own_cluster() -> Option<ClusterOptions> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the kubelet names the API server in the environment"
    )]
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = variable("KUBERNETES_SERVICE_HOST")?;
    let port = variable("KUBERNETES_SERVICE_PORT")?;
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    let directory = std::path::Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
    // A pod may be without a service account; then nothing is asked.
    directory.join("token").exists().then(|| ClusterOptions {
        url: format!("https://{host}:{port}"),
        ca_file: directory.join("ca.crt"),
        token_file: directory.join("token"),
    })
}

fn failure(error: ServeError) -> Failure {
    let hint = match &error {
        ServeError::Policy(_) => {
            "docs/kubernetes.md shows what the directory of --policy-dir holds"
        }
        ServeError::Certificate(_) => {
            "--cert and --key take PEM files of one key pair, the serving certificate first"
        }
        ServeError::Cluster(_) => {
            "--api-server, --api-ca and --api-token say how it is reached from outside"
        }
        ServeError::Listen { .. } => "--listen takes another address",
        _ => return Failure::of(Exit::Failed, &error),
    };
    Failure::of(Exit::Failed, &error).hint(hint)
}

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the executable reads the clock")]
    Timestamp::now()
}

/// Most verdicts that are kept: about half a kilobyte each.
const VERDICTS: usize = 10_000;
/// Lines of the log that wait to be taken.
const LOG_LINES: usize = 10_000;
/// Bytes of them.
const LOG_BYTES: usize = 8 << 20;
/// How long the end waits for the log to be taken.
const LOG_END: Duration = Duration::from_secs(1);
