//! Requests to the server: bounded, without redirects, each with the token.

use std::time::Duration;

use hardsign_plugin::Error;
use hardsign_plugin_kms::{Failure, Skew, file};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Method, Response};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::SERVICE;
use crate::config::Config;
use crate::error::{Asked, answered, unreachable};

/// The largest answer.
const MAX_ANSWER: usize = 1 << 20;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection pool to one server.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(
            HeaderName::from_static("x-vault-request"),
            HeaderValue::from_static("true"),
        );
        if let Some(namespace) = &config.namespace {
            let value = HeaderValue::from_str(namespace)
                .map_err(|_| Error::validation(format!("{namespace:?} is not a namespace")))?;
            headers.insert(HeaderName::from_static("x-vault-namespace"), value);
        }
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT)
            .redirect(Policy::none());
        if let Some(path) = &config.ca_cert {
            let pem = file("CA file", path)?;
            let wrong = |_| {
                Error::validation(format!(
                    "CA file {} is not a PEM certificate",
                    path.display()
                ))
            };
            for certificate in Certificate::from_pem_bundle(&pem).map_err(wrong)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let http = builder
            .build()
            .map_err(|error| Error::other(format!("the HTTP client can't be set up: {error}")))?;
        let base = config.address.as_str().trim_end_matches('/').to_owned();
        Ok(Self { http, base })
    }

    /// One request below `/v1/`. `None` is an answer without a body (204).
    pub(crate) async fn send(
        &self,
        asked: Asked<'_>,
        method: Method,
        path: &str,
        token: Option<&HeaderValue>,
        body: Option<&Value>,
    ) -> Result<Option<Value>, Failure> {
        let mut request = self
            .http
            .request(method, format!("{}/v1/{path}", self.base));
        if let Some(token) = token {
            request = request.header("x-vault-token", token);
        }
        if let Some(body) = body {
            let text = Zeroizing::new(body.to_string());
            request = request
                .header("content-type", "application/json")
                .body(text.as_bytes().to_vec());
        }
        let response = request
            .send()
            .await
            .map_err(|error| unreachable(asked, &error))?;
        let status = response.status();
        let after = retry_after(&response);
        let date = response.headers().get("date");
        let skew = Skew::of(date.and_then(|date| date.to_str().ok()));
        let bytes = read(response).await.map_err(|error| match error {
            Reading::Broken(error) => unreachable(asked, &error),
            Reading::TooLong => Failure::lasting(Error::other(format!(
                "{SERVICE}, {}: the answer is longer than {MAX_ANSWER} bytes",
                asked.what
            ))),
        })?;
        let value: Option<Value> = serde_json::from_slice(&bytes).ok();
        if !status.is_success() {
            let body = value.unwrap_or_default();
            return Err(answered(asked, status, &body, skew).after(after));
        }
        if value.is_none() && !bytes.is_empty() {
            // A page to log in on, for instance.
            return Err(Failure::lasting(
                Error::other(format!(
                    "{SERVICE}, {}: an answer that can't be read",
                    asked.what
                ))
                .with_hint("check VAULT_ADDR and the proxy settings"),
            ));
        }
        Ok(value.filter(|value| !value.is_null()))
    }
}

/// Why an answer could not be read.
enum Reading {
    Broken(reqwest::Error),
    TooLong,
}

async fn read(mut response: Response) -> Result<Vec<u8>, Reading> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Reading::Broken)? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(Reading::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The pause that the server wishes, at most 30 seconds.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get("retry-after")?.to_str().ok()?;
    let seconds: u64 = seconds.parse().ok()?;
    Some(Duration::from_secs(seconds.min(30)))
}
