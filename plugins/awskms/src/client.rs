//! The client of one region, and one request at a time through it.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use hardsign_plugin::proto::Token;
use hardsign_plugin::{Context, Error, KeyRequest};
use hardsign_plugin_kms::{Pace, environment, number, warn_without_tls};

use crate::SERVICE;
use crate::credentials;
use crate::error::{Asked, failure};
use crate::id::Config;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(15);

/// The service in one region.
pub(crate) struct Kms {
    pub(crate) client: Client,
    pub(crate) config: Config,
    pub(crate) region: String,
    pub(crate) pace: Pace,
}

impl Kms {
    /// Sets the client up. Credentials are looked for at the first request, and kept.
    pub(crate) async fn open(
        request: &KeyRequest<'_>,
        config: Config,
        context: &Context<'_>,
    ) -> Result<Self, Error> {
        let profile = config.profile.as_deref();
        let region = match &config.region {
            Some(region) => Region::new(region.clone()),
            None => credentials::region(profile).await?,
        };
        let endpoint = config
            .endpoint
            .clone()
            .or_else(|| environment("AWS_ENDPOINT_URL_KMS"))
            .or_else(|| environment("AWS_ENDPOINT_URL"));
        if let Some(endpoint) = &endpoint {
            warn_without_tls(endpoint, context);
        }
        let times = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .read_timeout(ANSWER)
            .build();
        let cache = IdentityCache::lazy().load_timeout(credentials::SEARCH);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(region.clone())
            .credentials_provider(credentials::search(profile, &region))
            .identity_cache(cache.build())
            // What is worth repeating is repeated by `Pace`.
            .retry_config(RetryConfig::disabled())
            .timeout_config(times);
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        let shared = loader.load().await;
        let mut own = aws_sdk_kms::config::Builder::from(&shared);
        if let Some(endpoint) = &config.endpoint {
            own = own.endpoint_url(endpoint);
        }
        Ok(Self {
            client: Client::from_conf(own.build()),
            pace: Pace::new(SERVICE, number(request, "rate", 10_000)?),
            region: region.to_string(),
            config,
        })
    }

    /// A key as messages name it.
    pub(crate) fn name(&self, key: &str) -> String {
        format!("key {key} in {}", self.region)
    }

    /// Where a key is, by its ARN.
    pub(crate) fn place(&self, arn: &str) -> Token {
        let account = arn.split(':').nth(4).filter(|account| !account.is_empty());
        Token {
            label: Some(match account {
                Some(account) => format!("{}, account {account}", self.region),
                None => self.region.clone(),
            }),
            manufacturer: Some(SERVICE.to_owned()),
            ..Token::default()
        }
    }

    /// One request, repeated where that helps and does no harm.
    pub(crate) async fn ask<T, E, F>(
        &self,
        what: &str,
        permission: &str,
        context: &Context<'_>,
        request: impl Fn() -> F,
    ) -> Result<T, Error>
    where
        E: StdError + ProvideErrorMetadata + 'static,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        self.find(what, permission, context, request).await?
    }

    /// The same; what the service does not have is the inner error.
    pub(crate) async fn find<T, E, F>(
        &self,
        what: &str,
        permission: &str,
        context: &Context<'_>,
        request: impl Fn() -> F,
    ) -> Result<Result<T, Error>, Error>
    where
        E: StdError + ProvideErrorMetadata + 'static,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        let asked = self.asked(what, permission);
        let tried = || async {
            match request().await {
                Ok(answer) => Ok(Ok(answer)),
                Err(error) => match failure(asked, &error) {
                    failure if failure.is_missing() => Ok(Err(failure.into_error())),
                    failure => Err(failure),
                },
            }
        };
        self.pace.ask(context, tried).await
    }

    /// One request that must not be repeated.
    pub(crate) async fn ask_once<T, E>(
        &self,
        what: &str,
        permission: &str,
        context: &Context<'_>,
        request: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, Error>
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        let answer = self.pace.ask_once(context, request).await?;
        answer.map_err(|error| failure(self.asked(what, permission), &error).into_error())
    }

    fn asked<'a>(&'a self, what: &'a str, permission: &'a str) -> Asked<'a> {
        Asked {
            what,
            permission,
            region: &self.region,
            profile: self.config.profile.as_deref(),
        }
    }
}
