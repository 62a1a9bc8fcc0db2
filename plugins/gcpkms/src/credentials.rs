//! Application Default Credentials, with an end to the wait and an error that says what was looked for.

use std::path::PathBuf;
use std::time::Duration;

use google_cloud_auth::credentials::{Builder, Credentials};
use google_cloud_gax::retry_policy::NeverRetry;
use google_cloud_kms_v1::client::KeyManagementService;
use hardsign_plugin::Error;
use hardsign_plugin_kms::{environment, innermost};
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
    let credentials = timeout(limit, first_token(&source))
        .await
        .map_err(|_| late())??;
    let mut builder = KeyManagementService::builder()
        .with_credentials(credentials)
        .with_retry_policy(NeverRetry);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    // It asks the credentials which universe they are of, which may be another request.
    let built = timeout(limit, builder.build()).await.map_err(|_| late())?;
    built.map_err(|error| source.refused(&innermost(&error)))
}

async fn first_token(source: &Source) -> Result<Credentials, Error> {
    let credentials = Builder::default()
        .build()
        .map_err(|error| source.refused(&innermost(&error)))?;
    match credentials.headers(Default::default()).await {
        Ok(_) => Ok(credentials),
        Err(error) => Err(source.refused(&innermost(&error))),
    }
}
