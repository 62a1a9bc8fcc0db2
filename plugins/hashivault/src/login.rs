//! The token: one that is there already, or one that a login gives.

use std::path::PathBuf;
use std::time::Duration;

use hardsign_plugin::secret::{PinSource, Secret};
use hardsign_plugin::{Context, Error};
use hardsign_plugin_kms::{Pace, environment, file};
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::SERVICE;
use crate::client::Client;
use crate::config::{Config, Login, variable};
use crate::error::Asked;

/// What a JWT is called in messages.
const JWT: &str = "JWT";

/// A token, with the time by which it has to be renewed.
pub(crate) struct Token {
    header: HeaderValue,
    /// When to renew it, for one that a login gave.
    renewal: Mutex<Option<Instant>>,
}

impl Token {
    /// Finds the token, or logs in.
    pub(crate) async fn get(
        config: &Config,
        client: &Client,
        pace: &Pace,
        context: &Context<'_>,
    ) -> Result<Self, Error> {
        let (path, what, body) = match &config.login {
            Login::Token => {
                return Ok(Self {
                    header: present(config)?,
                    renewal: Mutex::new(None),
                });
            }
            Login::AppRole {
                mount,
                role_id,
                secret_id,
            } => {
                let mut body = json!({ "role_id": role_id });
                if let Some(source) = secret_id {
                    body["secret_id"] = secret(source, "secret id", context)?;
                }
                (format!("auth/{mount}/login"), "login by AppRole", body)
            }
            Login::Jwt { mount, role, jwt } => {
                let body = json!({ "role": role, "jwt": secret(jwt, JWT, context)? });
                (format!("auth/{mount}/login"), "login by JWT", body)
            }
        };
        let asked = Asked {
            what,
            capability: "this login: check role, mount and audience",
        };
        // A secret id may be for one use: a login is not repeated.
        let sent = client.send(asked, Method::POST, &path, None, Some(&body));
        let answer = pace
            .ask_once(sent)
            .await?
            .map_err(|failure| failure.into_error())?;
        let token = answer
            .as_ref()
            .and_then(|answer| answer.pointer("/auth/client_token"));
        let token = token
            .and_then(Value::as_str)
            .ok_or_else(|| Error::other(format!("{SERVICE}, {what}: the answer has no token")))?;
        let renewal = answer.as_ref().and_then(renewal);
        Ok(Self {
            header: header(token)?,
            renewal: Mutex::new(renewal),
        })
    }

    /// The token as a header, renewed before it expires.
    pub(crate) async fn header(&self, client: &Client, pace: &Pace) -> &HeaderValue {
        let mut renewal_at = self.renewal.lock().await;
        if renewal_at.is_some_and(|at| at <= Instant::now()) {
            let asked = Asked {
                what: "renewing the token",
                capability: "update on auth/token/renew-self",
            };
            let path = "auth/token/renew-self";
            let sent = client.send(asked, Method::POST, path, Some(&self.header), None);
            // A token that can't be renewed is used until the server refuses it.
            let answer = pace
                .ask_once(sent)
                .await
                .ok()
                .and_then(Result::ok)
                .flatten();
            *renewal_at = answer.as_ref().and_then(renewal);
        }
        &self.header
    }
}

/// When two thirds of the token's life will have passed, if it can be renewed.
fn renewal(answer: &Value) -> Option<Instant> {
    let auth = answer.get("auth")?;
    let seconds = auth
        .get("lease_duration")?
        .as_u64()
        .filter(|seconds| *seconds > 0)?;
    let renewable = auth.get("renewable")?.as_bool()?;
    renewable.then(|| Instant::now() + Duration::from_secs(seconds) * 2 / 3)
}

/// The token of the environment, or of the file that `vault login` writes.
fn present(config: &Config) -> Result<HeaderValue, Error> {
    if let Some(token) = variable("TOKEN", config.openbao) {
        return header(&token);
    }
    let home = environment("HOME").map(PathBuf::from);
    let path = home.map(|home| home.join(".vault-token"));
    if let Some(path) = path.filter(|path| path.exists()) {
        let bytes = Secret::new(file("token file", &path)?);
        let text = std::str::from_utf8(bytes.expose()).unwrap_or_default();
        return header(text.trim());
    }
    Err(Error::access_denied(
        "no token is known; looked in VAULT_TOKEN, BAO_TOKEN and ~/.vault-token, in this order",
    )
    .with_hint("run `vault login`, set VAULT_TOKEN, or choose another way with --plugin-config login=approle"))
}

fn header(token: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(token)
        .map_err(|_| Error::access_denied("the token has characters that no token has"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A secret of a login, as JSON text.
fn secret(source: &PinSource, what: &str, context: &Context<'_>) -> Result<Value, Error> {
    let secret = match source {
        // A mounted service account token may be read by every user of the pod.
        PinSource::File(path) if what == JWT => Secret::new(file("JWT file", path)?),
        source => context.pin(source, what)?,
    };
    let text = std::str::from_utf8(secret.expose())
        .map_err(|_| Error::validation(format!("the {what} is no text")))?;
    Ok(Value::String(text.trim().to_owned()))
}
