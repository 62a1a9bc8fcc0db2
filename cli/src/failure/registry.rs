//! Failures of registries and layouts: what the user can do, and whether the place could be used at
//! all (exit code 3).

use std::error::Error as _;

use hardsign_core::artifact::Quoted;
use hardsign_core::http::{Method, NetError};
use hardsign_core::oci::OciError;
use hardsign_core::oci::auth::{AuthError, CredentialError};
use hardsign_core::oci::layout::LayoutError;
use hardsign_core::oci::manifest::is_manifest;
use hardsign_core::oci::registry::{Faults, RegistryError};
use hardsign_core::text::WithCauses;

use super::{Exit, Failure, budget};
use crate::output::own_lines;

impl From<OciError> for Failure {
    fn from(error: OciError) -> Self {
        let (exit, hint) = classify(&error);
        Self {
            hint: hint.as_deref().map(own_lines),
            ..Self::of(exit, &error)
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
    match error {
        OciError::NotListed { source, .. } => {
            let (exit, hint) = classify(source);
            (exit, hint.or_else(|| Some(NOT_LISTED.to_owned())))
        }
        OciError::Child { source, .. } => match &**source {
            source if !source.is_about_content() => classify(source),
            OciError::NotFound { .. } | OciError::Layout(LayoutError::AbsentBlob { .. }) => {
                (Exit::Failed, Some(SPARSE.to_owned()))
            }
            _ => (Exit::Failed, Some(WRONG_CHILD.to_owned())),
        },
        OciError::Registry(error) => classify_registry(error),
        OciError::Budget(overspent) => budget::classify(overspent),
        error => (Exit::Failed, hint_of_content(error)),
    }
}

fn classify_registry(error: &RegistryError) -> (Exit, Option<String>) {
    let (exit, hint) = match error {
        RegistryError::Net(error) => return (Exit::Unreachable, hint_of_net(error)),
        RegistryError::Auth(error) => return (Exit::Unreachable, Some(hint_of_auth(error))),
        RegistryError::Status {
            method,
            url,
            status,
            faults,
        } => match refusal(method, url, *status, faults) {
            Some((exit, hint)) => (exit, hint),
            None => return (Exit::Failed, None),
        },
        RegistryError::BlobStatus { url, status } => {
            match refusal(&Method::GET, url, *status, &Faults::default()) {
                Some((exit, hint)) => (exit, hint),
                None => return (Exit::Failed, None),
            }
        }
        RegistryError::Referrers { .. } | RegistryError::Link { .. } => {
            (Exit::Unreachable, REFERRERS)
        }
        RegistryError::TagOccupied { .. } => (Exit::Failed, TAG_OCCUPIED),
        RegistryError::TagUnchanged { .. } => (Exit::Failed, TAG_UNCHANGED),
        RegistryError::OtherRegistry { .. } => (Exit::Failed, ONE_REGISTRY),
        RegistryError::Contention { .. } => (Exit::Failed, CONTENTION),
        RegistryError::IndexFull { .. } => (
            Exit::Failed,
            "delete signatures that you no longer need with `hardsign delete <reference> <signature-digest>`",
        ),
        RegistryError::OtherType { .. } => (Exit::Failed, WRONG_CONTENT),
        RegistryError::MediaType { found, .. } if is_manifest(found) => {
            (Exit::Failed, WRONG_CONTENT)
        }
        RegistryError::MediaType { .. }
        | RegistryError::Location { .. }
        | RegistryError::Downgrade { .. } => (Exit::Unreachable, NO_REGISTRY),
        _ => return (Exit::Failed, None),
    };
    (exit, Some(hint.to_owned()))
}

/// What stands behind a status: who answered, with what words, and to what. An answer with a list
/// of errors is a registry's; any other may come from something in front of it.
fn refusal(
    method: &Method,
    url: &str,
    status: u16,
    faults: &Faults,
) -> Option<(Exit, &'static str)> {
    let by_registry = faults.is_from_registry();
    let writes = matches!(*method, Method::PUT | Method::POST | Method::PATCH);
    let manifest = url
        .rsplit_once("/manifests/")
        .map(|(_, reference)| reference);
    Some(match status {
        429 => (Exit::Unreachable, LIMITED),
        _ if faults.has("TOOMANYREQUESTS") => (Exit::Unreachable, LIMITED),
        401 if !faults.has("DENIED") => (Exit::Unreachable, REFUSED),
        403 if !by_registry => (Exit::Unreachable, FORBIDDEN_BY_OTHERS),
        _ if writes && is_about_tag(manifest, status, faults) => (Exit::Failed, IMMUTABLE),
        401 | 403 => (Exit::Unreachable, right(method)),
        500.. if by_registry => (Exit::Unreachable, BROKEN),
        500.. => (Exit::Unreachable, BROKEN_OR_PROXY),
        404 if writes => (Exit::Failed, NO_REPOSITORY),
        400 | 405 | 415 | 422
            if writes && by_registry && manifest.is_some_and(|m| m.contains(':')) =>
        {
            (Exit::Failed, NO_SIGNATURES)
        }
        400 if !by_registry && url.starts_with("http://") => (Exit::Failed, PLAIN_HTTP),
        _ => return None,
    })
}

/// Whether a tag, here always that of a list, was not to be changed.
fn is_about_tag(manifest: Option<&str>, status: u16, faults: &Faults) -> bool {
    let tag = manifest.is_some_and(|m| !m.contains(':'));
    let says = faults.to_string().to_lowercase();
    tag && (faults.has("TAG_INVALID") || says.contains("immutable") || matches!(status, 409 | 412))
}

/// What a credential lacks for a request.
fn right(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "this user is not allowed to pull from the repository",
        Method::DELETE => "this user is not allowed to delete in the repository",
        _ => {
            "this user is not allowed to push to the repository, which signing and copying require"
        }
    }
}

fn registry_error(error: &OciError) -> Option<&RegistryError> {
    match error {
        OciError::Registry(error) => Some(error),
        OciError::NotListed { source, .. } | OciError::Child { source, .. } => {
            registry_error(source)
        }
        _ => None,
    }
}

fn hint_of_content(error: &OciError) -> Option<String> {
    let hint = match error {
        OciError::NotFound { .. } => {
            "check the repository or layout, tag and digest; some registries also answer this when the user has no access"
        }
        OciError::DigestMismatch { .. }
        | OciError::SizeMismatch { .. }
        | OciError::UserDigest { .. } => WRONG_CONTENT,
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
                "{} is not a directory: with --oci-layout, give <path>:<tag> or <path>@<digest> of an OCI image layout",
                path.display()
            ));
        }
        LayoutError::NotALayout { .. } | LayoutError::Version { .. } => {
            "give the directory of an OCI image layout, such as `hardsign copy --to-oci-layout <source> <directory>:<tag>` creates"
        }
        LayoutError::NotEmpty { .. } => "name an empty directory, or one that does not exist",
        LayoutError::UnknownTag { tags, .. } => return Some(tags_there_are(tags)),
        LayoutError::Json { .. } | LayoutError::IndexShape { .. } => {
            "the index of the layout is damaged: restore it, or copy the artifacts to a new layout with `hardsign copy --to-oci-layout <source> <directory>:<tag>`"
        }
        LayoutError::Link { .. } => "replace the link with the file that it points to",
        LayoutError::Locked { .. } => {
            "wait until the other program is done, then run the same command again"
        }
        LayoutError::AbsentBlob { .. } => {
            "the layout is incomplete, as after an interrupted copy or a copy of some platforms: copy the artifact to it again"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// A few of the tags that a layout has.
fn tags_there_are(tags: &[String]) -> String {
    const FEW: usize = 5;
    let few: Vec<String> = tags
        .iter()
        .take(FEW)
        .map(|tag| Quoted(tag).to_string())
        .collect();
    match tags.len() {
        0 => "the layout has no tags: name a digest from its index.json".to_owned(),
        1 => format!("the layout has the tag {}", few.concat()),
        all if all <= FEW => format!("the layout has the tags {}", few.join(", ")),
        all => format!("the layout has {all} tags, such as {}", few.join(", ")),
    }
}

fn hint_of_auth(error: &AuthError) -> String {
    let hint = match error {
        AuthError::CredentialRequired { .. } => LOG_IN,
        AuthError::Refused { .. } => REFUSED,
        AuthError::Net { source, .. } => {
            return hint_of_net(source).unwrap_or_else(|| UNREACHABLE.to_owned());
        }
        AuthError::Credential { source, .. } => return hint_of_credential(source).to_owned(),
        AuthError::Realm { .. } => {
            "credentials are sent only to the registry's own token service; if you trust that host, name it with --token-service, with its port if it uses plain HTTP"
        }
        _ => NO_REGISTRY,
    };
    hint.to_owned()
}

/// What to do about a credential that can't be read or kept. A helper is spoken of only where one ran
/// or should have run.
pub(crate) fn hint_of_credential(error: &CredentialError) -> &'static str {
    match error {
        CredentialError::Helper { .. } => {
            "the configured credential helper failed; you can set NOTATION_USERNAME and NOTATION_PASSWORD instead"
        }
        CredentialError::Entry { .. } => {
            "\"auth\" must be the base64 of <user>:<password>: log in again with `docker login`, or fix or remove the entry"
        }
        CredentialError::Config { .. } => {
            "fix the file: it must be a JSON object, such as {\"auths\": {}}"
        }
        _ => LOG_IN,
    }
}

fn hint_of_net(error: &NetError) -> Option<String> {
    if let Some(variable) = error.proxy_variable() {
        return Some(format!(
            "check {variable}; NO_PROXY lists the hosts that are reached without a proxy"
        ));
    }
    let hint = match error {
        NetError::Transport { cause, .. } => {
            let causes = cause.source().map(|cause| WithCauses(cause).to_string());
            transport(&causes.unwrap_or_default().to_lowercase())
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
        "the registry's certificate is not trusted: give its CA with --ca-file, SSL_CERT_FILE or SSL_CERT_DIR"
    } else if causes.contains("corrupt message") || causes.contains("invalidcontenttype") {
        "the registry does not use TLS; for your own registry on plain HTTP, add --insecure-registry"
    } else {
        UNREACHABLE
    }
}

const LOG_IN: &str = "log in with `hardsign login <registry>`, or set NOTATION_USERNAME and NOTATION_PASSWORD; credentials that docker or podman stored are used too";

const REFUSED: &str = "the registry rejected these credentials: log in again with `hardsign login <registry>`, or check --username, --password and their variables";

const UNREACHABLE: &str =
    "check the registry's name and port and the network; HTTPS_PROXY and NO_PROXY are honoured";

const PLAIN_HTTP: &str = "plain HTTP was used, as it always is for localhost with a port and with --insecure-registry; for a TLS registry on this machine, use 127.0.0.1 without that flag";

pub(crate) const ONE_REGISTRY: &str =
    "name artifacts of one registry at a time, or log in to each with `hardsign login <registry>`";

const NO_REGISTRY: &str = "check that this is the address of an OCI registry; a proxy or a login page may be answering instead";

const CONTENTION: &str =
    "try again in a moment; use fewer signers at once, or a registry with the referrers API";

const REFERRERS: &str = "the registry's referrers API does not follow the OCI distribution specification: report it to its operator";

const WRONG_CONTENT: &str = "the content does not match its digest; none of it was used";

const SPARSE: &str = "the index lists artifacts that are missing, as after a copy of some platforms: copy the rest, or name the artifacts that exist by digest";

const WRONG_CHILD: &str =
    "the index describes it wrongly: create the index again, or name the artifact by digest";

const NOT_LISTED: &str = "verifiers can't find it until it is listed: fix the cause and sign again";

const TAG_OCCUPIED: &str = "without the referrers API, this tag must hold the list of signatures: tag its content differently, delete this tag, and try again";

const TAG_UNCHANGED: &str = "the registry supports neither the referrers API nor the referrers tag, so it can't list signatures: ask its operator for the referrers API, or use another registry or a layout";

const IMMUTABLE: &str = "tags can't be changed in this repository, and without the referrers API each signature changes the tag that lists them: exempt tags that begin with \"sha256-\" from immutability, or use a registry with the referrers API";

const NO_SIGNATURES: &str = "the registry rejected the manifest; registries before version 1.1 of the OCI distribution specification may reject manifests with a subject, such as signatures";

const NO_REPOSITORY: &str = "some registries do not create repositories on push: create it first";

const LIMITED: &str =
    "the registry's rate limit was reached: try again later, or log in for a higher limit";

const BROKEN: &str = "the registry failed: try again, or ask its operator";

const BROKEN_OR_PROXY: &str =
    "the registry or a proxy in front of it failed: try again, or ask its operator";

const FORBIDDEN_BY_OTHERS: &str = "the answer did not come from the registry itself: a proxy or firewall may have refused, or this user is not allowed to do this";

#[cfg(test)]
mod tests {
    use super::*;

    /// The hint for a status, with the errors of that code in the answer, if any.
    fn hint(method: Method, path: &str, status: u16, code: &str) -> (Exit, Option<String>) {
        let body = match code {
            "" => "<html>".to_owned(),
            code => format!(r#"{{"errors":[{{"code":"{code}","message":"said the fake"}}]}}"#),
        };
        classify_registry(&RegistryError::Status {
            method,
            url: format!("http://localhost:5000/v2/a/{path}"),
            status,
            faults: Faults::read(status, body.as_bytes()),
        })
    }

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
            for code in ["", "UNKNOWN"] {
                let (found, _) = hint(Method::GET, "manifests/v1", status, code);
                assert_eq!(found, exit, "{status}");
            }
        }
    }

    /// A request, what it was answered with (status, code of the registry's error), and what the hint has; `-` for
    /// none.
    const ANSWERS: &str = "
GET    manifests/v1   400 -                plain HTTP
POST   blobs/uploads/ 400 -                plain HTTP
GET    manifests/v1   400 NAME_INVALID     -
PUT    TAG            400 TAG_INVALID      can't be changed
PUT    TAG            409 CONFLICT         can't be changed
PUT    TAG            412 -                can't be changed
PUT    DIGEST         405 UNSUPPORTED      with a subject
PUT    DIGEST         400 MANIFEST_INVALID with a subject
GET    DIGEST         405 UNSUPPORTED      -
GET    manifests/v1   403 DENIED           allowed to pull
HEAD   manifests/v1   401 DENIED           allowed to pull
GET    REFERRERS      403 DENIED           allowed to pull
POST   blobs/uploads/ 403 DENIED           allowed to push
PUT    DIGEST         401 DENIED           allowed to push
DELETE DIGEST         403 DENIED           allowed to delete
GET    manifests/v1   401 UNAUTHORIZED     log in again
GET    manifests/v1   403 -                proxy or firewall
POST   blobs/uploads/ 404 NAME_UNKNOWN     create it first
GET    manifests/v1   400 TOOMANYREQUESTS  rate limit was reached
GET    REFERRERS      502 -                a proxy in front
GET    REFERRERS      500 UNKNOWN          the registry failed:
";

    /// CLI-03: hints go by who answered, to what, and with what words.
    #[test]
    fn cli_03_hints_go_by_the_cause() {
        let zeros = "0a".repeat(32);
        for row in ANSWERS.lines().filter(|row| !row.is_empty()) {
            let mut columns = row.split_whitespace();
            let mut next = || columns.next().unwrap();
            let (method, path, status, code) = (next(), next(), next(), next());
            let expected = columns.collect::<Vec<_>>().join(" ");
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let path = match path {
                "TAG" => format!("manifests/sha256-{zeros}"),
                "DIGEST" => format!("manifests/sha256:{zeros}"),
                "REFERRERS" => format!("referrers/sha256:{zeros}"),
                path => path.to_owned(),
            };
            let status = status.parse().unwrap();
            let (_, hint) = hint(method.clone(), &path, status, code.trim_matches('-'));
            let fits = match &hint {
                Some(hint) => expected != "-" && hint.contains(&expected),
                None => expected == "-",
            };
            assert!(fits, "{row}: {hint:?}");
            if let (Method::GET | Method::HEAD, Some(hint)) = (method, hint) {
                assert!(
                    !hint.contains("push") && !hint.contains("signing"),
                    "{hint}"
                );
            }
        }
    }

    #[test]
    fn a_few_tags_are_named() {
        let tags: Vec<String> = (0..9).map(|n| format!("v{n}")).collect();
        assert!(tags_there_are(&[]).contains("no tags"));
        assert_eq!(tags_there_are(&tags[..1]), "the layout has the tag \"v0\"");
        assert_eq!(
            tags_there_are(&tags[..2]),
            "the layout has the tags \"v0\", \"v1\""
        );
        let many = tags_there_are(&tags);
        assert!(many.starts_with("the layout has 9 tags") && !many.contains("v5"));
    }

    #[test]
    fn tls_faults_have_their_own_hints() {
        assert!(transport(": invalid peer certificate: unknownissuer").contains("--ca-file"));
        assert!(transport(": received corrupt message").contains("does not use TLS"));
        assert_eq!(transport(": connection refused"), UNREACHABLE);
    }
}
