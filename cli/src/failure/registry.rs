//! Failures of registries and layouts: what the user can do, and whether the place could be used at
//! all (exit code 3).

use std::error::Error as _;

use hardsign_core::net::NetError;
use hardsign_core::oci::OciError;
use hardsign_core::oci::auth::AuthError;
use hardsign_core::oci::layout::LayoutError;
use hardsign_core::oci::registry::RegistryError;

use super::{Exit, Failure, chain};

impl From<OciError> for Failure {
    fn from(error: OciError) -> Self {
        let (exit, hint) = classify(&error);
        Self {
            hint,
            ..Self::new(exit, chain(&error))
        }
    }
}

/// Whether a credential was sent, and was not good enough.
pub(crate) fn refuses_credential(error: &OciError) -> bool {
    let refused = matches!(
        registry_error(error),
        Some(RegistryError::Auth(AuthError::Refused { .. }))
    );
    refused || status(error) == Some(401)
}

/// The HTTP status that the registry refused with, if it did.
pub(crate) fn status(error: &OciError) -> Option<u16> {
    match registry_error(error)? {
        RegistryError::Status { status, .. } | RegistryError::BlobStatus { status, .. } => {
            Some(*status)
        }
        _ => None,
    }
}

/// The exit code and the hint for a failure.
pub(crate) fn classify(error: &OciError) -> (Exit, Option<String>) {
    let Some(error) = registry_error(error) else {
        return (Exit::Failed, hint_of_content(error));
    };
    let (exit, hint) = match error {
        RegistryError::Net(error) => return (Exit::Unreachable, hint_of_net(error)),
        RegistryError::Auth(error) => return (Exit::Unreachable, Some(hint_of_auth(error))),
        RegistryError::Status {
            status: 400, url, ..
        } if url.starts_with("http://") => (Exit::Failed, PLAIN_HTTP),
        RegistryError::Status { status, .. } | RegistryError::BlobStatus { status, .. } => {
            return hint_of_status(*status);
        }
        RegistryError::Referrers { .. } | RegistryError::Link { .. } => {
            (Exit::Unreachable, REFERRERS)
        }
        RegistryError::Contention { .. } => (Exit::Failed, CONTENTION),
        RegistryError::IndexFull { .. } => (
            Exit::Failed,
            "delete signatures that are no longer needed with `hardsign delete`",
        ),
        RegistryError::MediaType { .. }
        | RegistryError::Location { .. }
        | RegistryError::Downgrade { .. } => (Exit::Unreachable, NO_REGISTRY),
        _ => return (Exit::Failed, None),
    };
    (exit, Some(hint.to_owned()))
}

fn registry_error(error: &OciError) -> Option<&RegistryError> {
    match error {
        OciError::Registry(error) => Some(error),
        _ => None,
    }
}

fn hint_of_content(error: &OciError) -> Option<String> {
    let hint = match error {
        OciError::NotFound { .. } => {
            "check the spelling of repository or layout, tag and digest; some registries answer so where the user may not see the repository"
        }
        OciError::DigestMismatch { .. }
        | OciError::SizeMismatch { .. }
        | OciError::UserDigest { .. } => {
            "what was received is not what was asked for; nothing of it was used"
        }
        OciError::NotAnIndex { .. } => "leave out --platform, or name the index itself",
        OciError::Layout(error) => return hint_of_layout(error),
        _ => return None,
    };
    Some(hint.to_owned())
}

fn hint_of_layout(error: &LayoutError) -> Option<String> {
    let hint = match error {
        LayoutError::NotADirectory { path } => {
            return Some(format!(
                "{} is no directory: --oci-layout takes <path>:<tag> or <path>@<digest> of an OCI image layout",
                path.display()
            ));
        }
        LayoutError::NotALayout { .. } | LayoutError::Version { .. } => {
            "name the directory of an OCI image layout, as `hardsign copy --to-oci-layout` makes it"
        }
        LayoutError::NotEmpty { .. } => "name an empty directory, or one that does not exist",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn hint_of_status(status: u16) -> (Exit, Option<String>) {
    let hint = match status {
        401 => REFUSED,
        403 => {
            "the credential lacks the right; signing, copying and deleting need more than the right to pull"
        }
        429 => "the registry limits requests: try again later, or log in for a higher limit",
        500.. => "the fault lies with the registry: try again, or ask its operator",
        _ => return (Exit::Failed, None),
    };
    (Exit::Unreachable, Some(hint.to_owned()))
}

fn hint_of_auth(error: &AuthError) -> String {
    let hint = match error {
        AuthError::CredentialRequired { .. } => LOG_IN,
        AuthError::Refused { .. } => REFUSED,
        AuthError::Net { source, .. } => {
            return hint_of_net(source).unwrap_or_else(|| UNREACHABLE.to_owned());
        }
        AuthError::Credential { .. } => {
            "the credential helper that the configuration names did not work; NOTATION_USERNAME and NOTATION_PASSWORD take its place"
        }
        AuthError::Realm { .. } => {
            "credentials go to the registry's own token service only; if you trust that host, name it with --token-service"
        }
        _ => NO_REGISTRY,
    };
    hint.to_owned()
}

fn hint_of_net(error: &NetError) -> Option<String> {
    let hint = match error {
        NetError::Transport { cause, .. } => {
            let mut causes = String::new();
            let mut next = cause.source();
            while let Some(cause) = next {
                causes = format!("{causes}: {cause}");
                next = cause.source();
            }
            transport(&causes.to_lowercase())
        }
        NetError::Timeout { .. } | NetError::Wait { .. } => "try again later",
        NetError::Redirect { .. } | NetError::TooManyRedirects { .. } => NO_REGISTRY,
        NetError::Setup(_) => {
            "check SSL_CERT_FILE, SSL_CERT_DIR, --ca-file and the proxy variables"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// A hint by what the TLS and network libraries say; their errors have no kinds.
fn transport(causes: &str) -> &'static str {
    if causes.contains("certificate") {
        "the registry's certificate is not trusted: --ca-file, SSL_CERT_FILE or SSL_CERT_DIR name its CA"
    } else if causes.contains("corrupt message") || causes.contains("invalidcontenttype") {
        "the registry does not speak TLS; for a registry of your own on plain HTTP there is --insecure-registry"
    } else {
        UNREACHABLE
    }
}

const LOG_IN: &str = "log in with `hardsign login`, or set NOTATION_USERNAME and NOTATION_PASSWORD; credentials that docker or podman stored are used too";

const REFUSED: &str = "the registry refused what it was shown: log in again with `hardsign login`, or check --username, --password and their variables";

const UNREACHABLE: &str =
    "check the registry's name and port and the network; HTTPS_PROXY and NO_PROXY are honoured";

const PLAIN_HTTP: &str = "plain HTTP was spoken, as always to localhost with a port and with --insecure-registry; one that speaks TLS here is reached as 127.0.0.1, without that flag";

const NO_REGISTRY: &str =
    "is this the address of an OCI registry? A proxy or a login page may answer in its place";

const CONTENTION: &str = "try again in a moment; fewer signers at once, or a registry with the referrers API, avoid this";

const REFERRERS: &str = "the registry has the referrers API, but does not answer it as the OCI distribution specification says: tell its operator; `hardsign sign --force-referrers-tag` also lists new signatures under the referrers tag";

#[cfg(test)]
mod tests {
    use super::*;

    /// CLI-03: what could not be used is told apart from what is wrong.
    #[test]
    fn cli_03_statuses_have_exit_codes() {
        for (status, exit) in [
            (401, Exit::Unreachable),
            (403, Exit::Unreachable),
            (429, Exit::Unreachable),
            (503, Exit::Unreachable),
            (400, Exit::Failed),
            (405, Exit::Failed),
        ] {
            assert_eq!(hint_of_status(status).0, exit, "{status}");
        }
    }

    #[test]
    fn tls_faults_have_their_own_hints() {
        assert!(transport(": invalid peer certificate: unknownissuer").contains("--ca-file"));
        assert!(transport(": received corrupt message").contains("does not speak TLS"));
        assert_eq!(transport(": connection refused"), UNREACHABLE);
    }
}
