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
use tokio::time::{Instant, timeout};

use crate::SERVICE;
use crate::client::Client;
use crate::config::{Config, Login, names, variable};
use crate::error::Asked;

/// What a JWT is called in messages.
const JWT: &str = "JWT";

/// How long a renewal may hold up the request that comes with it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A longer life of a token is as good as this one.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A token, with the time by which it has to be renewed.
pub(crate) struct Token {
    header: HeaderValue,
    /// For one that a login gave, if it can be renewed.
    renewal: Mutex<Option<Renewal>>,
}

/// When a token is renewed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Renewal {
    at: Instant,
    /// How long it lives, each time.
    life: Duration,
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
        let sent = || client.send(asked, Method::POST, &path, None, Some(&body));
        let answer = match config.login.may_be_for_one_use() {
            true => pace.ask_carefully(context, sent).await?,
            false => pace.ask(context, sent).await?,
        };
        let token = answer
            .as_ref()
            .and_then(|answer| answer.pointer("/auth/client_token"));
        let token = token
            .and_then(Value::as_str)
            .ok_or_else(|| Error::other(format!("{SERVICE}, {what}: the answer has no token")))?;
        let renewal = answer.as_ref().and_then(Renewal::of);
        Ok(Self {
            header: header(token)?,
            renewal: Mutex::new(renewal),
        })
    }

    /// The token as a header, renewed before it expires.
    pub(crate) async fn header(
        &self,
        client: &Client,
        pace: &Pace,
        context: &Context<'_>,
    ) -> &HeaderValue {
        // While one request renews it, the others go on with it.
        let Ok(mut renewal) = self.renewal.try_lock() else {
            return &self.header;
        };
        if let Some(due) = renewal.filter(|due| due.at <= Instant::now()) {
            let asked = Asked {
                what: "renewing the token",
                capability: "update on auth/token/renew-self",
            };
            let path = "auth/token/renew-self";
            let sent = client.send(asked, Method::POST, path, Some(&self.header), None);
            let answer = timeout(PATIENCE, pace.ask_once(context, sent)).await;
            *renewal = match answer {
                Ok(Ok(Ok(answer))) => answer.as_ref().and_then(Renewal::of),
                // It is used until the server refuses it.
                _ => Some(due.again(Instant::now())),
            };
        }
        &self.header
    }
}

impl Renewal {
    /// When two thirds of the token's life will have passed, if it can be renewed.
    fn of(answer: &Value) -> Option<Self> {
        let auth = answer.get("auth")?;
        let seconds = auth
            .get("lease_duration")?
            .as_u64()
            .filter(|seconds| *seconds > 0)?;
        let renewable = auth.get("renewable")?.as_bool()?;
        let life = Duration::from_secs(seconds).min(LONGEST);
        renewable.then(|| Self {
            at: Instant::now() + life * 2 / 3,
            life,
        })
    }

    /// The next try after one that failed: there are some in what is left of the token's life.
    fn again(self, now: Instant) -> Self {
        let pause = (self.life / 12).clamp(Duration::from_secs(1), Duration::from_secs(60));
        Self {
            at: now + pause,
            ..self
        }
    }
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
    let [first, second] = names("TOKEN", config.openbao);
    Err(Error::access_denied(format!(
        "no token is known; looked in {first}, {second} and ~/.vault-token, in this order"
    ))
    .with_hint(format!(
        "run `{} login`, set {first}, or choose another way with --plugin-config login=approle",
        if config.openbao { "bao" } else { "vault" }
    )))
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
        source => context.secret(source, what)?,
    };
    let text = std::str::from_utf8(secret.expose())
        .map_err(|_| Error::validation(format!("the {what} is no text")))?;
    Ok(Value::String(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renewal(seconds: u64, renewable: bool) -> Option<Renewal> {
        let auth = json!({"lease_duration": seconds, "renewable": renewable});
        Renewal::of(&json!({ "auth": auth }))
    }

    /// Whatever number a server names.
    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_after_two_thirds_of_its_life() {
        let now = Instant::now();
        assert_eq!(
            renewal(300, true).unwrap().at,
            now + Duration::from_secs(200)
        );
        assert_eq!(renewal(300, false), None);
        assert_eq!(renewal(0, true), None);
        for endless in [u64::MAX, u64::MAX / 2, 1 << 40] {
            assert_eq!(renewal(endless, true).unwrap().at, now + LONGEST * 2 / 3);
        }
    }

    /// A renewal that fails is tried again while the token lives.
    #[tokio::test(start_paused = true)]
    async fn a_failed_renewal_is_tried_again() {
        let begun = Instant::now();
        for seconds in [30, 300, 3600] {
            let mut renewal = renewal(seconds, true).unwrap();
            let end = begun + Duration::from_secs(seconds);
            let mut tries = 0;
            while renewal.at < end {
                renewal = renewal.again(renewal.at);
                tries += 1;
            }
            assert!((4..=20).contains(&tries), "{seconds}: {tries}");
        }
    }
}
