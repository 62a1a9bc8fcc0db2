//! `hardsign admission serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::flags::{self, Reader};
use super::{ArgMatches, Command, Usage, duration};

const EXAMPLES: &str = "\
Examples:
  Serve with a policy from a ConfigMap and a certificate from cert-manager:
    hardsign admission serve --cert /tls/tls.crt --key /tls/tls.key \\
      --policy-dir /policy

  Serve outside the cluster, with a registry that has a private CA:
    hardsign admission serve --cert tls.crt --key tls.key \\
      --ca-file registry-ca.pem --api-server https://10.0.0.1:6443 \\
      --api-ca ca.crt --api-token token";

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
            "Tell a Kubernetes API server which images may run",
            EXAMPLES,
        )
        .arg(flags::value("listen", "ADDRESS", "Address to listen on, <ip>:<port> [default: 0.0.0.0:8443]"))
        .arg(flags::value("cert", "FILE", "Serving certificate with its chain (PEM), reloaded when it changes (required)"))
        .arg(flags::value("key", "FILE", "Key of the serving certificate, PEM (required)"))
        .arg(flags::value(
            "policy-dir",
            "DIR",
            "Directory with the trust policy, trust stores and admission.hardsign.json; changes take effect at once [default: the configuration directory]",
        ))
        .arg(flags::value("ca-file", "FILE", "CA certificates (PEM) to trust for registries in addition to the system's"))
        .arg(flags::list("token-service", "HOST", "Host to accept as the token service of any registry (repeatable)"))
        .arg(flags::value("timeout", "DURATION", "How long a review may take if the request sets no limit [default: 10s]"))
        .arg(flags::value(
            "max-age",
            "DURATION",
            "Maximum age of the revocation data behind a verdict [default: 5m]",
        ))
        .arg(flags::value(
            "drain",
            "DURATION",
            "How long to keep accepting requests after SIGTERM [default: 5s]",
        ))
        .arg(flags::value("api-server", "URL", "URL of the API server, for namespace labels and pull secrets [default: that of the cluster it runs in]"))
        .arg(flags::value("api-ca", "FILE", "CA certificate of the API server (PEM)"))
        .arg(flags::value("api-token", "FILE", "File with a token for the API server"))
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
