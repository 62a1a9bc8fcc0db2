//! Who asks: the credentials that a build, a pod, a virtual machine or a person has, in the order in which
//! the service's own tools look for them. The crate of the service composes none.
//!
//! 1. a client secret: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET`
//! 2. workload identity: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_FEDERATED_TOKEN_FILE`
//! 3. a managed identity; `AZURE_CLIENT_ID` chooses one of several
//! 4. the login of `az`
//! 5. the login of `azd`
//!
//! What is configured and fails ends the search: another identity than the one that was meant would be
//! worse than none.

use std::ffi::OsStr;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::headers::RETRY_AFTER;
use azure_core::http::policies::{RetryHeaders, RetryPolicy};
use azure_core::http::{ClientOptions, RetryOptions, StatusCode};
use azure_core::time::OffsetDateTime;
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, AzureDeveloperCliCredential,
    AzureDeveloperCliCredentialOptions, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, Executor, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use hardsign_plugin::{Error, KeyRequest};
use hardsign_plugin_kms::{end_commands, environment, innermost};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

/// How long a metadata server may take.
const METADATA: Duration = Duration::from_secs(2);

/// How long a token service or a command may take.
const TOKEN: Duration = Duration::from_secs(15);

/// A token that ends sooner is replaced.
const SOON: Duration = Duration::from_secs(5 * 60);

/// One kind of credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    ClientSecret,
    WorkloadIdentity,
    ManagedIdentity,
    Az,
    Azd,
}

const ORDER: [Kind; 5] = [
    Kind::ClientSecret,
    Kind::WorkloadIdentity,
    Kind::ManagedIdentity,
    Kind::Az,
    Kind::Azd,
];

/// The credential of a session: found once, its token used until it ends.
#[derive(Debug)]
pub(crate) struct Chain {
    kinds: Vec<Kind>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    found: Option<(Kind, Arc<dyn TokenCredential>)>,
    token: Option<(Vec<String>, AccessToken)>,
}

/// Why there is no token, on its way through the client of the service.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Error);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refused {}

impl Kind {
    /// As the setting `credential` names it.
    fn name(self) -> &'static str {
        match self {
            Self::ClientSecret => "client-secret",
            Self::WorkloadIdentity => "workload-identity",
            Self::ManagedIdentity => "managed-identity",
            Self::Az => "az",
            Self::Azd => "azd",
        }
    }

    /// Whether the environment says that this one is meant; `Err` is the variable that is not set.
    fn configured(self) -> Result<bool, &'static str> {
        let all = |names: &[&'static str]| {
            let missing = names.iter().find(|name| environment(name).is_none());
            missing.map_or(Ok(true), |name| Err(*name))
        };
        match self {
            Self::ClientSecret => {
                all(&["AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AZURE_CLIENT_ID"])
            }
            Self::WorkloadIdentity => all(&[
                "AZURE_FEDERATED_TOKEN_FILE",
                "AZURE_TENANT_ID",
                "AZURE_CLIENT_ID",
            ]),
            Self::ManagedIdentity => Ok(environment("IDENTITY_ENDPOINT").is_some()),
            Self::Az | Self::Azd => Ok(false),
        }
    }

    fn limit(self) -> Duration {
        match self {
            // Where it is configured it is no guess, and may take its time.
            Self::ManagedIdentity if self.configured() != Ok(true) => METADATA,
            _ => TOKEN,
        }
    }

    fn build(self) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let text = |name: &str| environment(name).unwrap_or_default();
        Ok(match self {
            Self::ClientSecret => ClientSecretCredential::new(
                &text("AZURE_TENANT_ID"),
                text("AZURE_CLIENT_ID"),
                Secret::new(text("AZURE_CLIENT_SECRET")),
                Some(ClientSecretCredentialOptions {
                    client_options: patiently(),
                }),
            )?,
            Self::WorkloadIdentity => {
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions {
                        client_options: patiently(),
                    },
                    ..WorkloadIdentityCredentialOptions::default()
                }))?
            }
            Self::ManagedIdentity => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: environment("AZURE_CLIENT_ID").map(UserAssignedId::ClientId),
                    // A virtual machine's metadata server has a way of its own.
                    client_options: patiently(),
                }))?
            }
            Self::Az => AzureCliCredential::new(Some(AzureCliCredentialOptions {
                tenant_id: environment("AZURE_TENANT_ID"),
                executor: Some(Arc::new(Tool)),
                ..AzureCliCredentialOptions::default()
            }))?,
            Self::Azd => {
                AzureDeveloperCliCredential::new(Some(AzureDeveloperCliCredentialOptions {
                    tenant_id: environment("AZURE_TENANT_ID"),
                    executor: Some(Arc::new(Tool)),
                }))?
            }
        })
    }
}

/// One layer repeats requests, and it is not the client's.
pub(crate) fn once() -> ClientOptions {
    ClientOptions {
        retry: RetryOptions::none(),
        ..ClientOptions::default()
    }
}

/// For token services, whose answers no other layer waits for.
fn patiently() -> ClientOptions {
    ClientOptions {
        retry: RetryOptions::custom(Arc::new(Briefly::default())),
        ..ClientOptions::default()
    }
}

/// Three repetitions of what failed in passing, within the time that a token service has.
#[derive(Debug)]
struct Briefly(RetryHeaders);

/// The longest pause that a token service may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

impl Default for Briefly {
    fn default() -> Self {
        Self(RetryHeaders {
            retry_headers: vec![RETRY_AFTER],
        })
    }
}

#[async_trait::async_trait]
impl RetryPolicy for Briefly {
    fn is_expired(&self, since: azure_core::time::Duration, count: u32) -> bool {
        count >= 3 || since >= TOKEN / 2
    }

    fn retry_headers(&self) -> Option<&RetryHeaders> {
        Some(&self.0)
    }

    fn retry_status_codes(&self) -> &[StatusCode] {
        &[]
    }

    fn sleep_duration(&self, count: u32) -> azure_core::time::Duration {
        azure_core::time::Duration::milliseconds(250 << count.min(3))
    }

    async fn wait(&self, count: u32, after: Option<azure_core::time::Duration>) {
        let own = self.sleep_duration(count).unsigned_abs();
        let wished = after.map_or(own, azure_core::time::Duration::unsigned_abs);
        sleep(wished.max(own).min(LONGEST_PAUSE)).await;
    }
}

impl Chain {
    /// # Errors
    /// The setting `credential` names none.
    pub(crate) fn read(request: &KeyRequest<'_>) -> Result<Arc<Self>, Error> {
        let kinds = match request.setting("credential") {
            None => ORDER.to_vec(),
            Some(name) => {
                let kind = ORDER.into_iter().find(|kind| kind.name() == name);
                vec![kind.ok_or_else(|| {
                    Error::validation(format!("unknown credential {name:?}")).with_hint(format!(
                        "the credentials are {}",
                        ORDER.map(Kind::name).join(", ")
                    ))
                })?]
            }
        };
        Ok(Arc::new(Self {
            kinds,
            state: Mutex::default(),
        }))
    }

    /// A token for these scopes.
    ///
    /// # Errors
    /// No credential gives one: all that were looked for, in their order.
    pub(crate) async fn token(&self, scopes: &[&str]) -> Result<AccessToken, Error> {
        let mut state = self.state.lock().await;
        let end = OffsetDateTime::now_utc() + SOON;
        if let Some((of, token)) = &state.token
            && of.iter().map(String::as_str).eq(scopes.iter().copied())
            && token.expires_on > end
        {
            return Ok(token.clone());
        }
        let token = match &state.found {
            Some((kind, credential)) => ask(*kind, credential.as_ref(), scopes)
                .await
                .map_err(|why| refused(*kind, &why))?,
            None => {
                let (kind, credential, token) = self.find(scopes).await?;
                state.found = Some((kind, credential));
                token
            }
        };
        let of = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        state.token = Some((of, token.clone()));
        Ok(token)
    }

    async fn find(
        &self,
        scopes: &[&str],
    ) -> Result<(Kind, Arc<dyn TokenCredential>, AccessToken), Error> {
        let mut tried = Vec::new();
        let only = self.kinds.len() == 1;
        for kind in self.kinds.iter().copied() {
            if kind == Kind::WorkloadIdentity
                && environment("AZURE_CLIENT_CERTIFICATE_PATH").is_some()
            {
                return Err(Error::access_denied(
                    "AZURE_CLIENT_CERTIFICATE_PATH is set: client certificates are not supported",
                )
                .with_hint("use workload identity (AZURE_FEDERATED_TOKEN_FILE), a managed identity, or AZURE_CLIENT_SECRET, and unset it"));
            }
            let configured = match kind.configured() {
                Ok(configured) => configured,
                Err(variable) => {
                    tried.push(format!("{} ({variable} is not set)", kind.name()));
                    continue;
                }
            };
            let asked = match kind.build() {
                Ok(credential) => match ask(kind, credential.as_ref(), scopes).await {
                    Ok(token) => return Ok((kind, credential, token)),
                    Err(why) => why,
                },
                Err(error) => innermost(&error),
            };
            if configured && !only {
                return Err(refused(kind, &asked));
            }
            tried.push(format!("{} ({asked})", kind.name()));
        }
        Err(Error::access_denied(format!(
            "no Azure credential gives a token; looked for {}",
            tried.join(", then ")
        ))
        .with_hint("run `az login`; in CI, use workload identity: AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE"))
    }
}

async fn ask(
    kind: Kind,
    credential: &dyn TokenCredential,
    scopes: &[&str],
) -> Result<AccessToken, String> {
    let limit = kind.limit();
    match timeout(limit, credential.get_token(scopes, None)).await {
        Ok(Ok(token)) => Ok(token),
        Ok(Err(error)) => Err(innermost(&error)),
        Err(_) => Err(format!("no answer in {} seconds", limit.as_secs())),
    }
}

/// The error of a credential that was meant and gives no token.
fn refused(kind: Kind, why: &str) -> Error {
    Error::access_denied(format!("the Azure credential {} gives no token: {why}", kind.name()))
        .with_hint(match kind {
            Kind::ClientSecret if why.contains("AADSTS7000222") => "the client secret has expired: make a new one, or use workload identity, which has none",
            Kind::WorkloadIdentity if why.contains("AADSTS700024") => "the token in the file of AZURE_FEDERATED_TOKEN_FILE has expired or is not valid yet: have the job ask for a new one just before signing, and check the clock of this machine and of the token's issuer",
            Kind::ClientSecret => "check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, whether the secret has expired, and the machine's clock",
            Kind::WorkloadIdentity => "check AZURE_TENANT_ID, AZURE_CLIENT_ID, the file of AZURE_FEDERATED_TOKEN_FILE, the federated credential's issuer and subject, and the machine's clock",
            Kind::ManagedIdentity if why.contains("isn't supported") => "use workload identity or AZURE_CLIENT_SECRET, or choose another with --plugin-config credential=az",
            Kind::ManagedIdentity => "check that the identity is assigned; AZURE_CLIENT_ID chooses one of several",
            Kind::Az => "run `az login`",
            Kind::Azd => "run `azd auth login`",
        })
}

#[async_trait::async_trait]
impl TokenCredential for Chain {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let asked = self.token(scopes).await;
        asked.map_err(|error| azure_core::Error::new(ErrorKind::Credential, Refused(error)))
    }
}

/// Runs `az` and `azd`, and ends them with the wait for them.
#[derive(Debug)]
struct Tool;

#[async_trait::async_trait]
impl Executor for Tool {
    async fn run(&self, program: &OsStr, arguments: &[&OsStr]) -> std::io::Result<Output> {
        #[allow(
            clippy::disallowed_methods,
            reason = "the login of the service's own tool is asked for by running it"
        )]
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        let mut patience = Patience { over: true };
        let output = command.output().await;
        patience.over = false;
        output
    }
}

/// Ends the tool if it is dropped before the tool has ended: a shell script in front of the real one, as
/// `az` is, would leave that running if it were ended alone.
struct Patience {
    over: bool,
}

impl Drop for Patience {
    fn drop(&mut self) {
        if self.over {
            end_commands();
        }
    }
}
