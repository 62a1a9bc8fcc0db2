//! Where credentials and region come from: the places that AWS's own tools look at, in their order, each
//! with a limit on its time.

use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::imds;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use hardsign_plugin::Error;
use hardsign_plugin_kms::{end_commands, environment, innermost};
use tokio::time::timeout;

/// All that a metadata server of an instance or a container may take.
const METADATA: Duration = Duration::from_secs(2);

/// One step of it.
const METADATA_STEP: Duration = Duration::from_secs(1);

/// All that a profile's command, or a token service, may take.
const COMMAND: Duration = Duration::from_secs(15);

/// The longest search: longer than each of its parts.
pub(crate) const SEARCH: Duration = Duration::from_secs(18);

/// The region that the environment, a profile or the instance names. A profile that the user chose for
/// this key comes before the environment.
///
/// # Errors
/// None of them does.
pub(crate) async fn region(profile: Option<&str>) -> Result<Region, Error> {
    let mut files = ProfileFileRegionProvider::builder();
    if let Some(profile) = profile {
        files = files.profile_name(profile);
    }
    let (files, variables) = (files.build(), EnvironmentVariableRegionProvider::new());
    let known = match profile {
        Some(_) => RegionProviderChain::first_try(files).or_else(variables),
        None => RegionProviderChain::first_try(variables).or_else(files),
    };
    if let Some(region) = known.region().await {
        return Ok(region);
    }
    let instance = ImdsRegionProvider::builder()
        .imds_client(metadata_server())
        .build();
    if let Ok(Some(region)) = timeout(METADATA, instance.region()).await {
        return Ok(region);
    }
    let variables = "AWS_REGION, AWS_DEFAULT_REGION".to_owned();
    let places = match profile {
        Some(_) => [profile_name(profile), variables],
        None => [variables, profile_name(profile)],
    };
    Err(Error::validation(format!(
        "no AWS region is known; looked in the key id, the setting region, {} and the instance's metadata server, in this order",
        places.join(", ")
    ))
    .with_hint("set AWS_REGION, add --plugin-config region=REGION, or name the key by its ARN"))
}

/// The search for credentials. A profile that the user chose for this key is the only place.
pub(crate) fn search(profile: Option<&str>, region: &Region) -> CredentialsProviderChain {
    let config = ProviderConfig::without_region()
        .with_region(Some(region.clone()))
        .with_behavior_version(Some(BehaviorVersion::latest()));
    let mut files = ProfileFileCredentialsProvider::builder().configure(&config);
    if let Some(profile) = profile {
        files = files.profile_name(profile);
    }
    let files = Timed {
        provider: files.build(),
        limit: COMMAND,
        what: "the profile's command or token service",
        optional: false,
    };
    if profile.is_some() {
        return CredentialsProviderChain::first_try("profile", files);
    }
    let web = Timed {
        provider: WebIdentityTokenCredentialsProvider::builder()
            .configure(&config)
            .build(),
        limit: COMMAND,
        what: "the token service",
        optional: false,
    };
    let container = Timed {
        provider: EcsCredentialsProvider::builder().configure(&config).build(),
        limit: METADATA,
        what: "the container's credential server",
        optional: false,
    };
    let instance = Timed {
        provider: ImdsCredentialsProvider::builder()
            .configure(&config)
            .imds_client(metadata_server())
            .build(),
        limit: METADATA,
        what: "the instance's metadata server",
        optional: true,
    };
    CredentialsProviderChain::first_try(
        "environment",
        EnvironmentVariableCredentialsProvider::new(),
    )
    .or_else("profile", files)
    .or_else("web identity", web)
    .or_else("container", container)
    .or_else("instance", instance)
}

/// The error for credentials that could not be had.
pub(crate) fn refused(what: &str, error: &CredentialsError, profile: Option<&str>) -> Error {
    if let CredentialsError::CredentialsNotLoaded(_) = error {
        let places = match profile {
            Some(_) => format!(
                "looked in {}, since the key names it",
                profile_name(profile)
            ),
            None => format!(
                "looked in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, {}, AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, AWS_CONTAINER_CREDENTIALS_FULL_URI or …_RELATIVE_URI, and the instance's metadata server, in this order",
                profile_name(profile)
            ),
        };
        return Error::access_denied(format!("{what}: no AWS credentials were found; {places}"))
            .with_hint("in CI, let the job take a role (docs/ci.md); at a terminal, run `aws sso login` or set AWS_PROFILE");
    }
    let reason = deepest(error);
    let hint = if reason.contains("SSO") || reason.contains("sso") {
        "run `aws sso login`, then this command again"
    } else if reason.contains("was not defined") {
        "check AWS_PROFILE, and the profiles of ~/.aws/config"
    } else {
        "check that `aws sts get-caller-identity` works in the same environment"
    };
    Error::access_denied(format!(
        "{what}: AWS credentials could not be had: {reason}"
    ))
    .with_hint(hint)
}

/// What an error's last cause says, on one line.
pub(crate) fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    innermost(error).chars().take(300).collect()
}

fn profile_name(profile: Option<&str>) -> String {
    let name = profile
        .map(str::to_owned)
        .or_else(|| environment("AWS_PROFILE"));
    let name = name.unwrap_or_else(|| "default".to_owned());
    format!("profile {name:?} of ~/.aws/config and ~/.aws/credentials")
}

fn metadata_server() -> imds::Client {
    imds::Client::builder()
        .connect_timeout(METADATA_STEP)
        .read_timeout(METADATA_STEP)
        .operation_attempt_timeout(METADATA_STEP)
        .operation_timeout(METADATA_STEP)
        .max_attempts(1)
        .build()
}

/// One place, with a limit on its time.
#[derive(Debug)]
struct Timed<P> {
    provider: P,
    limit: Duration,
    what: &'static str,
    /// Whether a place that does not answer counts as one that has no credentials.
    optional: bool,
}

impl<P: ProvideCredentials> Timed<P> {
    async fn credentials(&self) -> provider::Result {
        match timeout(self.limit, self.provider.provide_credentials()).await {
            Ok(Err(
                error @ (CredentialsError::ProviderError(_)
                | CredentialsError::Unhandled(_)
                | CredentialsError::ProviderTimedOut(_)),
            )) if self.optional => Err(CredentialsError::not_loaded(error)),
            Ok(answer) => answer,
            Err(_) if self.optional => Err(CredentialsError::not_loaded_no_source()),
            Err(_) => {
                // The client does not end the command of a profile.
                end_commands();
                Err(CredentialsError::provider_error(format!(
                    "{} did not answer within {} seconds",
                    self.what,
                    self.limit.as_secs()
                )))
            }
        }
    }
}

impl<P: ProvideCredentials> ProvideCredentials for Timed<P> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A place that never answers.
    #[derive(Debug)]
    struct Silent;

    impl ProvideCredentials for Silent {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_never_answers_is_given_up() {
        for optional in [false, true] {
            let place = Timed {
                provider: Silent,
                limit: METADATA,
                what: "the server",
                optional,
            };
            let start = tokio::time::Instant::now();
            let error = place.provide_credentials().await.unwrap_err();
            assert_eq!(start.elapsed(), METADATA);
            let text = refused("signing", &error, None).to_string();
            if optional {
                let order = [
                    "AWS_ACCESS_KEY_ID",
                    "profile",
                    "AWS_WEB_IDENTITY",
                    "CONTAINER",
                    "metadata",
                ];
                let found: Vec<_> = order
                    .iter()
                    .map(|place| text.find(place).unwrap())
                    .collect();
                assert!(found.is_sorted(), "{text}");
            } else {
                assert!(
                    text.ends_with("the server did not answer within 2 seconds"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_profile_that_the_key_names_is_the_only_place() {
        let error = refused(
            "signing",
            &CredentialsError::not_loaded_no_source(),
            Some("ci"),
        );
        assert!(error.to_string().contains("profile \"ci\""), "{error}");
        assert!(!error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
    }
}
