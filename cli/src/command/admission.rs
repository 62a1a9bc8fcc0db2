//! `hardsign admission serve`: from flags and environment to the server of `hardsign-admission`.

use std::net::SocketAddr;
use std::sync::Arc;

use hardsign_admission::{ClusterOptions, EngineOptions, Options, ServeError, serve};
use hardsign_core::config::ConfigFile;
use hardsign_core::dirs::Dirs;
use hardsign_core::oci::auth::Credentials;
use hardsign_core::oci::registry::ConnectorOptions;
use hardsign_core::text::io_text;
use jiff::Timestamp;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::{Context, many, repository};
use crate::args::admission::ServeArgs;
use crate::failure::{Exit, Failure};

pub(super) fn run(args: ServeArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    let console = Arc::clone(&context.console);
    let log = move |line: &Value| {
        // Where nobody takes the log, answers still have to be given.
        let _unread = console.json_line(line);
    };
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
        log: Arc::new(log),
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
    runtime.shutdown_background();
    served
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
