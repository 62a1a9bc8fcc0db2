//! Showing a registry who we are: Basic and Bearer authentication, and where
//! credentials come from.
//!
//! A credential goes to its registry and to that registry's token service, nowhere else.
//! The token service is named by the registry, so its address is checked before
//! anything secret is sent there: HTTPS unless the registry itself is spoken to by plain HTTP, and
//! the same site as the registry unless the user named it. Tokens are fetched once for each scope
//! and reused until they are refused.

// Requirements: REG-04 to REG-08, CFG-22 to CFG-26, REG-05.

mod challenge;
mod child;
pub mod credentials;
mod helper;
mod login;
pub mod provider;
mod realm;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::budget::Lock;
use crate::json::{self, JsonError, go};
use crate::net::{Client, HeaderMap, HeaderName, HeaderValue, Method, NetError, Request, Url};
use challenge::Challenge;
pub use child::ProgramError;
pub use credentials::{CredentialError, CredentialPlaces, CredentialStore, Erased};
pub use login::{LoginError, LoginOutcome, LogoutError, login, logout};

/// Largest answer of a token service, in bytes (REG-12).
const MAX_TOKEN_ANSWER: u64 = 4 * 1024 * 1024;
/// Most scopes of which the token is kept.
const MAX_SCOPES: usize = 1024;
/// `client_id` at token services.
const CLIENT_ID: &str = "notation";

/// A password or token. Zeroed when dropped; `Debug` says `REDACTED`; there is no `Display`.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Zeroizing<String>);

/// What proves to a registry who we are.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Credential {
    /// User name and password.
    Password {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// A token that the token service exchanges for others (OAuth 2 `refresh_token`).
    RefreshToken(Secret),
    /// A token for the registry itself.
    AccessToken(Secret),
}

/// Where the credential for a registry comes from.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// Nowhere: anonymous access.
    #[default]
    None,
    /// The user gave it for this run. It goes to the first registry of the run alone.
    // REG-06
    Given(Credential),
    /// The user's files and helpers.
    Store(Arc<CredentialStore>),
    /// Somewhere else.
    Source(Arc<dyn CredentialSource>),
}

/// Knows credentials for registries. It is asked when a registry wants one, once for each.
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// The credential for the registry that asks, by the name under which it was reached: a mirror's own
    /// where a mirror asks.
    ///
    /// # Errors
    /// [`CredentialError`]; no credential is no error.
    async fn credential(&self, registry: &str) -> Result<Option<Credential>, CredentialError>;
}

/// Why a registry could not be told who we are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The registry wants a password and there is none.
    // REG-07
    #[error("{registry}: credential required for basic auth")]
    CredentialRequired {
        /// The registry.
        registry: String,
    },
    /// The token service said no.
    // REG-07
    #[error("{registry}: unauthorized: the token service {realm} answered with status {status}")]
    Refused {
        /// The registry.
        registry: String,
        /// The token service.
        realm: String,
        /// Its status.
        status: u16,
    },
    /// No challenge that can be answered.
    #[error(
        "{registry}: unauthorized: the registry names no way of authentication that is understood"
    )]
    Challenge {
        /// The registry.
        registry: String,
    },
    /// A token service that gets no credentials.
    #[error("{registry}: refusing to use the token service {realm}: {reason}")]
    Realm {
        /// The registry.
        registry: String,
        /// The token service.
        realm: String,
        /// What makes it unfit to be sent a password.
        reason: &'static str,
    },
    /// An answer without a token.
    #[error("{registry}: the token service {realm} sent no token")]
    NoToken {
        /// The registry.
        registry: String,
        /// The token service.
        realm: String,
    },
    /// An answer that is no JSON.
    #[error("{registry}: the answer of the token service {realm} cannot be read")]
    TokenAnswer {
        /// The registry.
        registry: String,
        /// The token service.
        realm: String,
        /// Which rule of JSON it breaks, and where.
        #[source]
        source: JsonError,
    },
    /// The token service could not be reached.
    #[error("failed to get a token for {registry}")]
    Net {
        /// The registry.
        registry: String,
        /// How the request failed.
        #[source]
        source: NetError,
    },
    /// The credential could not be read.
    #[error("failed to get the credential for {registry}")]
    Credential {
        /// The registry.
        registry: String,
        /// What keeps stored credentials from being used.
        #[source]
        source: CredentialError,
    },
}

/// What one registry host asked for, and the tokens that it accepts.
#[derive(Debug)]
pub(super) struct Authenticator {
    client: Client,
    /// Name as the user wrote it.
    registry: String,
    plain_http: bool,
    credentials: Credentials,
    token_services: Vec<String>,
    /// Held while a token is fetched, so that it is fetched once.
    state: Lock<State>,
}

#[derive(Default)]
struct State {
    headers: HashMap<String, HeaderValue>,
    credential: Option<Option<Credential>>,
}

impl Secret {
    /// Takes over a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text. Don't copy it to where it outlives the secret.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("REDACTED")
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State(REDACTED)")
    }
}

impl Credential {
    /// A credential from a user name and a password as the user gave them: a password alone is a
    /// refresh token; nothing at all is no credential.
    // REG-06
    pub fn from_user(username: &str, password: &str) -> Option<Self> {
        match (username, password) {
            ("", "") => None,
            ("", token) => Some(Self::RefreshToken(Secret::new(token))),
            (username, password) => Some(Self::Password {
                username: username.to_owned(),
                password: Secret::new(password),
            }),
        }
    }
}

impl Authenticator {
    pub(super) fn new(
        client: Client,
        registry: &str,
        plain_http: bool,
        credentials: Credentials,
        token_services: Vec<String>,
    ) -> Self {
        Self {
            client,
            registry: registry.to_owned(),
            plain_http,
            credentials,
            token_services,
            state: Lock::default(),
        }
    }

    /// The header that was accepted for this scope before.
    pub(super) async fn header(&self, scope: &str) -> Option<HeaderValue> {
        let state = self.state.lock().await;
        let basic = || state.headers.get(BASIC);
        state.headers.get(scope).or_else(basic).cloned()
    }

    /// Answers a challenge: the header with which to ask again. `rejected` is what was sent with
    /// the request that was refused.
    pub(super) async fn answer(
        &self,
        scope: &str,
        headers: &HeaderMap,
        rejected: Option<&HeaderValue>,
    ) -> Result<HeaderValue, AuthError> {
        let mut state = self.state.lock().await;
        let known = state
            .headers
            .get(scope)
            .or_else(|| state.headers.get(BASIC));
        if let Some(known) = known
            && Some(known) != rejected
        {
            return Ok(known.clone());
        }
        let challenge = challenge::find(headers).ok_or_else(|| AuthError::Challenge {
            registry: self.registry.clone(),
        })?;
        let credential = self.state.lead(self.credential(&mut state)).await?;
        let (key, value) = match challenge {
            Challenge::Basic => (BASIC, self.basic(credential.as_ref())?),
            Challenge::Bearer {
                realm,
                service,
                scope: asked,
            } => {
                let scopes = scopes(scope, asked.as_deref());
                let token = match &credential {
                    Some(Credential::AccessToken(token)) => token.clone(),
                    other => {
                        let token = self.token(&realm, service.as_deref(), &scopes, other.as_ref());
                        self.state.lead(token).await?
                    }
                };
                (scope, self.bearer(&token, &realm)?)
            }
        };
        if state.headers.len() >= MAX_SCOPES {
            // Tokens for what is still worked on are fetched anew.
            state.headers.clear();
        }
        state.headers.insert(key.to_owned(), value.clone());
        Ok(value)
    }

    /// The credential, looked up once.
    async fn credential(&self, state: &mut State) -> Result<Option<Credential>, AuthError> {
        if let Some(known) = &state.credential {
            return Ok(known.clone());
        }
        let found = match &self.credentials {
            Credentials::None => None,
            Credentials::Given(credential) => Some(credential.clone()),
            Credentials::Store(store) => self.found(store.get(&self.registry).await)?,
            Credentials::Source(source) => self.found(source.credential(&self.registry).await)?,
        };
        state.credential = Some(found.clone());
        Ok(found)
    }

    fn found(
        &self,
        found: Result<Option<Credential>, CredentialError>,
    ) -> Result<Option<Credential>, AuthError> {
        found.map_err(|source| AuthError::Credential {
            registry: self.registry.clone(),
            source,
        })
    }

    fn basic(&self, credential: Option<&Credential>) -> Result<HeaderValue, AuthError> {
        match credential {
            Some(Credential::Password { username, password }) => {
                header("Basic", &basic_value(username, password)).ok_or_else(|| {
                    AuthError::CredentialRequired {
                        registry: self.registry.clone(),
                    }
                })
            }
            _ => Err(AuthError::CredentialRequired {
                registry: self.registry.clone(),
            }),
        }
    }

    fn bearer(&self, token: &Secret, realm: &str) -> Result<HeaderValue, AuthError> {
        header("Bearer", &token.0).ok_or_else(|| AuthError::NoToken {
            registry: self.registry.clone(),
            realm: realm.to_owned(),
        })
    }

    /// Fetches a token: by GET with the password, or by POST with a refresh token (REG-04).
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scopes: &[String],
        credential: Option<&Credential>,
    ) -> Result<Secret, AuthError> {
        let url = realm::check(
            realm,
            &self.registry,
            self.plain_http,
            credential.is_some(),
            &self.token_services,
        )
        .map_err(|reason| AuthError::Realm {
            registry: self.registry.clone(),
            realm: crate::artifact::Quoted(realm).to_string(),
            reason,
        })?;
        let shown = crate::net::shown(&url);
        let request = match credential {
            Some(Credential::RefreshToken(token)) => refresh(url, service, scopes, token),
            Some(Credential::Password { username, password }) => {
                let mut request = token_request(url, service, scopes);
                request.authorization = header("Basic", &basic_value(username, password));
                request
            }
            _ => token_request(url, service, scopes),
        };
        let answer = self
            .client
            .exchange(&request, MAX_TOKEN_ANSWER)
            .await
            .map_err(|source| AuthError::Net {
                registry: self.registry.clone(),
                source,
            })?;
        if !answer.status.is_success() {
            return Err(AuthError::Refused {
                registry: self.registry.clone(),
                realm: shown,
                status: answer.status.as_u16(),
            });
        }
        let body = Zeroizing::new(answer.body);
        let answer: TokenAnswer =
            json::from_slice(&body).map_err(|source| AuthError::TokenAnswer {
                registry: self.registry.clone(),
                realm: shown.clone(),
                source: go::unquoted(source, "an object with a token"),
            })?;
        let token = [answer.token, answer.access_token]
            .into_iter()
            .flatten()
            .find(|token| !token.is_empty());
        token.map(Secret::new).ok_or(AuthError::NoToken {
            registry: self.registry.clone(),
            realm: shown,
        })
    }
}

/// `{"token":"…"}` or, from OAuth 2 services, `{"access_token":"…"}`.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// Key under which a Basic header stands among those for scopes: it serves every scope.
const BASIC: &str = "";

fn token_request(mut url: Url, service: Option<&str>, scopes: &[String]) -> Request {
    {
        let mut query = url.query_pairs_mut();
        query.extend_pairs(service.map(|s| ("service", s)));
        query.extend_pairs(scopes.iter().map(|s| ("scope", s)));
    }
    Request::new(Method::GET, url)
}

fn refresh(url: Url, service: Option<&str>, scopes: &[String], token: &Secret) -> Request {
    // A URL's query and a form are encoded alike.
    let mut form = url.clone();
    form.set_query(None);
    form.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("service", service.unwrap_or_default())
        .append_pair("client_id", CLIENT_ID)
        .append_pair("scope", &scopes.join(" "))
        .append_pair("refresh_token", token.expose());
    let body = form.query().unwrap_or_default().as_bytes().to_vec();
    Request::new(Method::POST, url)
        .header(
            HeaderName::from_static("content-type"),
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        )
        .body(body)
}

/// What is needed, and what the registry says is needed where that is something else.
fn scopes(needed: &str, asked: Option<&str>) -> Vec<String> {
    let mut scopes: Vec<String> = Vec::new();
    for scope in std::iter::once(needed).chain(asked.into_iter().flat_map(str::split_whitespace)) {
        let covered = scopes.iter().any(|s| covers(s, scope));
        if !scope.is_empty() && !covered {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

/// Whether the actions of one scope on a resource include those of another.
fn covers(scope: &str, other: &str) -> bool {
    match (scope.rsplit_once(':'), other.rsplit_once(':')) {
        (Some((resource, has)), Some((same, wants))) if resource == same => {
            wants.split(',').all(|w| has.split(',').any(|h| h == w))
        }
        _ => scope == other,
    }
}

fn basic_value(username: &str, password: &Secret) -> Zeroizing<String> {
    let pair = Zeroizing::new(format!("{username}:{}", password.expose()));
    Zeroizing::new(STANDARD.encode(pair.as_bytes()))
}

fn header(scheme: &str, value: &str) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!("{scheme} {value}"));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        // SEC-20
        let credential = Credential::from_user("alice", "hunter2").unwrap();
        assert!(!format!("{credential:?}").contains("hunter2"));
        let value = header("Basic", "hunter2").unwrap();
        assert!(!format!("{value:?}").contains("hunter2"));
        assert_eq!(header("Bearer", "a\r\nb"), None);
    }

    #[test]
    fn a_password_alone_is_a_refresh_token() {
        // REG-06
        assert_eq!(Credential::from_user("", ""), None);
        assert_eq!(
            Credential::from_user("", "t"),
            Some(Credential::RefreshToken(Secret::new("t")))
        );
    }

    #[test]
    fn scopes_are_joined_and_not_repeated() {
        // REG-13
        let needed = "repository:a:pull,push";
        for (asked, expected) in [
            (None, vec![needed]),
            (Some("repository:a:pull"), vec![needed]),
            (Some("repository:a:push,pull"), vec![needed]),
            (
                Some("repository:b:pull registry:catalog:*"),
                vec![needed, "repository:b:pull", "registry:catalog:*"],
            ),
        ] {
            assert_eq!(scopes(needed, asked), expected);
        }
    }

    #[test]
    fn token_requests() {
        // REG-04
        let url: Url = "https://auth.example/token?x=1".parse().unwrap();
        let scopes = ["repository:a/b:pull,push".to_owned()];
        let request = token_request(url.clone(), Some("r.example"), &scopes);
        assert_eq!(
            request.url.as_str(),
            "https://auth.example/token?x=1&service=r.example&scope=repository%3Aa%2Fb%3Apull%2Cpush"
        );
        let request = refresh(url, Some("r.example"), &scopes, &Secret::new("s&t"));
        assert_eq!(request.method, Method::POST);
        assert_eq!(
            String::from_utf8(request.body).unwrap(),
            "grant_type=refresh_token&service=r.example&client_id=notation&scope=repository%3Aa%2Fb%3Apull%2Cpush&refresh_token=s%26t"
        );
    }
}
