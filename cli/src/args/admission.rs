//! `hardsign admission serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::flags::{self, Reader};
use super::{ArgMatches, Command, Usage, duration};

const EXAMPLES: &str = "\
Examples:
  Serve with the policy of a mounted ConfigMap and a certificate of cert-manager:
    hardsign admission serve --cert /tls/tls.crt --key /tls/tls.key --policy-dir /policy

  The same outside of the cluster, with a registry whose certificate comes from a private CA:
    hardsign admission serve --cert tls.crt --key tls.key --ca-file registry-ca.pem \\
      --api-server https://10.0.0.1:6443 --api-ca ca.crt --api-token token";

const GROUP_EXAMPLES: &str = "\
Examples:
  Show the flags of the server:
    hardsign admission serve --help";

/// `hardsign admission serve`.
#[derive(Debug)]
pub(crate) struct ServeArgs {
    pub(crate) listen: SocketAddr,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The user's configuration directory where it is not given.
    pub(crate) policy: Option<PathBuf>,
    /// A PEM file of CAs trusted for registries, beside the system's.
    pub(crate) ca_file: Option<String>,
    pub(crate) token_services: Vec<String>,
    pub(crate) timeout: Duration,
    pub(crate) max_age: Duration,
    pub(crate) drain: Duration,
    /// Address, CA file and token file.
    pub(crate) cluster: Option<[String; 3]>,
}

pub(super) fn definition() -> Command {
    flags::verb(
        "admission",
        "Keep unverified images out of a Kubernetes cluster",
        GROUP_EXAMPLES,
    )
    .subcommand(
        flags::verb(
            "serve",
            "Answer a Kubernetes API server whether images may run",
            EXAMPLES,
        )
        .arg(flags::value("listen", "ADDRESS", "Where to listen, <ip>:<port> (default 0.0.0.0:8443)"))
        .arg(flags::value("cert", "FILE", "Serving certificate with its chain (PEM); read anew when it changes"))
        .arg(flags::value("key", "FILE", "Key of the serving certificate (PEM)"))
        .arg(flags::value(
            "policy-dir",
            "DIR",
            "Trust policy, trust stores and admission.hardsign.json (default: the configuration directory); changes count at once",
        ))
        .arg(flags::value("ca-file", "FILE", "CAs trusted for registries beside the system's (PEM)"))
        .arg(flags::list("token-service", "HOST", "Host that may be the token service of any registry (repeatable)"))
        .arg(flags::value("timeout", "DURATION", "How long who asks waits, where the request does not say (default 10s)"))
        .arg(flags::value(
            "max-age",
            "DURATION",
            "How old what a verdict knows of revocation may be (default 5m)",
        ))
        .arg(flags::value(
            "drain",
            "DURATION",
            "How long requests are still taken after SIGTERM (default 5s)",
        ))
        .arg(flags::value("api-server", "URL", "API server, for namespace labels and pull secrets (default: that of the cluster we run in)"))
        .arg(flags::value("api-ca", "FILE", "CA of the API server's certificate (PEM)"))
        .arg(flags::value("api-token", "FILE", "Token for the API server"))
        .arg(flags::positional("none", "").hide(true)),
    )
}

impl ServeArgs {
    /// # Errors
    /// [`Usage`], in the order of CLI-06.
    pub(crate) fn read(matches: &ArgMatches) -> Result<Self, Usage> {
        super::policy::no_arguments(matches)?;
        let reader = Reader(matches);
        reader.required(&["cert", "key"])?;
        reader.together(&["api-server", "api-ca", "api-token"])?;
        let path = |flag| PathBuf::from(reader.text(flag).unwrap_or_default());
        let listen = reader.text("listen");
        let listen = listen.as_deref().unwrap_or("0.0.0.0:8443");
        let time = |flag: &'static str, default: Duration| match reader.text(flag) {
            Some(text) => duration::positive(&text, &format!("--{flag}")),
            None => Ok(default),
        };
        let api = ["api-server", "api-ca", "api-token"].map(|flag| reader.text(flag));
        Ok(Self {
            listen: listen.parse().map_err(|_| {
                Usage::new(format!(
                    "invalid argument {listen:?} for \"--listen\" flag: it must be <ip>:<port>, such as 0.0.0.0:8443 or [::]:8443"
                ))
            })?,
            certificate: path("cert"),
            key: path("key"),
            policy: reader.text("policy-dir").map(PathBuf::from),
            ca_file: reader.text("ca-file"),
            token_services: reader.all("token-service"),
            timeout: time("timeout", Duration::from_secs(10))?,
            max_age: time("max-age", Duration::from_secs(300))?,
            drain: time("drain", Duration::from_secs(5))?,
            cluster: match api {
                [Some(url), Some(ca), Some(token)] => Some([url, ca, token]),
                _ => None,
            },
        })
    }
}
