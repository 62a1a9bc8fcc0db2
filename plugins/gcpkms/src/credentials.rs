//! Application Default Credentials, with an end to the wait and an error that says what was looked for.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::time::Duration;

use google_cloud_auth::credentials::{Builder, Credentials};
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_kms_v1::client::KeyManagementService;
use hardsign_plugin::Error;
use hardsign_plugin_kms::{brief, end_commands, environment, innermost};
use serde_json::Value;
use tokio::time::timeout;

/// How long a credentials file may take to lead to a token: requests to a token service, or a command.
const FILE: Duration = Duration::from_secs(15);

/// How long the metadata server may take to give a token; it is asked twice.
const METADATA: Duration = Duration::from_secs(2);

/// The variable that names a credentials file.
const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// Where the credentials come from, in the order in which they are looked for.
enum Source {
    /// The file that the variable names.
    Named(String),
    /// The file that `gcloud auth application-default login` writes.
    Login(PathBuf),
    /// The metadata server of a virtual machine, a pod or a build; `None`: no home directory is known.
    Metadata(Option<PathBuf>),
}

impl Source {
    fn find() -> Self {
        if let Some(path) = environment(VARIABLE) {
            return Self::Named(path);
        }
        let home = match cfg!(windows) {
            true => environment("APPDATA").map(|root| PathBuf::from(root).join("gcloud")),
            false => environment("HOME").map(|root| PathBuf::from(root).join(".config/gcloud")),
        };
        match home.map(|home| home.join("application_default_credentials.json")) {
            Some(path) if path.exists() => Self::Login(path),
            path => Self::Metadata(path),
        }
    }

    fn limit(&self) -> Duration {
        match self {
            Self::Named(_) | Self::Login(_) => FILE,
            Self::Metadata(_) => METADATA,
        }
    }

    /// The error for credentials that give no token.
    fn refused(&self, why: &str) -> Error {
        match self {
            Self::Named(path) => Error::access_denied(format!(
                "the Google credentials that {VARIABLE} names ({path}) give no access: {why}"
            ))
            .with_hint("check the file, what it refers to, and that the machine's clock is right"),
            Self::Login(path) => Error::access_denied(format!(
                "the Google credentials of gcloud ({}) give no access: {why}",
                path.display()
            ))
            .with_hint("run `gcloud auth application-default login`"),
            Self::Metadata(path) => {
                let file = match path {
                    Some(path) => format!("for {}", path.display()),
                    None => "for no file of gcloud, since there is no home directory".to_owned(),
                };
                Error::access_denied(format!(
                    "no Google credentials are known; looked for {VARIABLE}, then {file}, then for a metadata server: {why}"
                ))
                .with_hint(format!(
                    "set {VARIABLE} to a credentials file, as a build's workload identity federation writes it, or run `gcloud auth application-default login`"
                ))
            }
        }
    }
}

/// A client with its first token.
///
/// # Errors
/// There are no credentials, they are refused, or the wait is over.
pub(crate) async fn client(endpoint: Option<&str>) -> Result<KeyManagementService, Error> {
    let source = Source::find();
    let limit = source.limit();
    let late = || source.refused(&format!("no answer in {} seconds", limit.as_secs()));
    let asked = timeout(limit, first_token(&source)).await;
    if !matches!(asked, Ok(Ok(_))) {
        // A command that a credentials file names may still run.
        end_commands();
    }
    let credentials = asked.map_err(|_| late())??;
    let mut builder = KeyManagementService::builder()
        .with_credentials(credentials)
        .with_retry_policy(NeverRetry);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    // It asks the credentials which universe they are of, which may be another request.
    let built = timeout(limit, builder.build()).await.map_err(|_| late())?;
    built.map_err(|error| source.refused(&reason(&error)))
}

async fn first_token(source: &Source) -> Result<Credentials, Error> {
    let credentials = Builder::default()
        .build()
        .map_err(|error| source.refused(&reason(&error)))?;
    match credentials.headers(Default::default()).await {
        Ok(_) => Ok(credentials),
        Err(error) => Err(source.refused(&reason(&error))),
    }
}

/// Why credentials give no token: what the answer of whoever gives tokens says of it (RFC 6749 §5.2), else the
/// cause of all causes. The rest of an answer is left out, for there may be a token in it.
pub(crate) fn reason(error: &(dyn StdError + 'static)) -> String {
    let mut next = Some(error);
    while let Some(cause) = next {
        next = cause.source();
        let text = cause.to_string();
        let Some((what, rest)) = text.split_once(", body=<") else {
            continue;
        };
        let body = rest.rsplit_once('>').map_or("", |(body, _)| body);
        return match (said(body), cause.source()) {
            (Some(said), _) => brief(&format!("{what}: {said}")),
            (None, Some(source)) => brief(&format!("{what}: {}", innermost(source))),
            (None, None) => brief(what),
        };
    }
    innermost(error)
}

/// `{"error":"invalid_grant","error_description":"…"}`, or `{"error":{"status":"PERMISSION_DENIED","message":"…"}}`.
fn said(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let error = body.get("error")?;
    let code = text(error).or_else(|| text(error.get("status")?));
    let message = body
        .get("error_description")
        .and_then(text)
        .or_else(|| text(error.get("message")?));
    let parts: Vec<String> = [code, message].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_by_its_error_alone() {
        let of = |text: &str| {
            let inner = std::io::Error::other("status 400");
            reason(&google_cloud_gax::error::CredentialsError::new(
                false, text, inner,
            ))
        };
        let oauth = r#"failed to exchange token, body=<{"error":"invalid_grant","error_description":"It is stale.","access_token":"s3cret"}>"#;
        assert_eq!(
            of(oauth),
            "failed to exchange token: invalid_grant: It is stale."
        );
        let api =
            r#"failed, body=<{"error":{"code":403,"status":"PERMISSION_DENIED","message":"No."}}>"#;
        assert_eq!(of(api), "failed: PERMISSION_DENIED: No.");
        assert_eq!(
            of(r#"failed, body=<{"value":"s3cret>"}>"#),
            "failed: status 400"
        );
        assert_eq!(of("failed, body=<s3cret"), "failed: status 400");
        assert_eq!(of("no answer was read"), "status 400");
    }
}
