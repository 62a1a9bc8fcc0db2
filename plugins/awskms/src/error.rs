//! What the service's answers mean for the user.

use std::error::Error as StdError;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use hardsign_plugin::Error;
use hardsign_plugin_kms::{Failure, Skew, caused_by, untrusted};

use crate::SERVICE;
use crate::credentials::{deepest, refused};

/// A difference of clocks from which on the service refuses what was signed.
const SKEW: Duration = Duration::from_secs(4 * 60);

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// What was being done, for instance `signing with key alias/k in eu-west-1`.
    pub(crate) what: &'a str,
    /// What a policy has to allow, for instance `kms:Sign`.
    pub(crate) permission: &'a str,
    /// The region that was asked.
    pub(crate) region: &'a str,
    /// The profile that the user named for this key.
    pub(crate) profile: Option<&'a str>,
}

/// A request that failed.
pub(crate) fn failure<E>(asked: Asked<'_>, error: &SdkError<E>) -> Failure
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    let what = format!("{SERVICE}, {}", asked.what);
    if let Some(credentials) = caused_by::<CredentialsError>(error) {
        return Failure::lasting(refused(&what, credentials, asked.profile));
    }
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = error.code().unwrap_or_default();
            let skew = Skew::of(answer.raw().headers().get("date"));
            let skew = skew.filter(|skew| skew.by() > SKEW);
            answered(asked, status, code, &said(code, error), skew)
        }
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status().as_u16();
            let message =
                format!("{what}: the answer broke off or can't be read (status {status})");
            Failure::passing(
                Error::other(message).with_hint(
                    "try again; if it stays so, check the endpoint and the proxy settings",
                ),
            )
        }
        SdkError::ConstructionFailure(_) => {
            Failure::lasting(Error::validation(format!("{what}: {}", deepest(error))))
        }
        other => {
            let reason = deepest(other);
            let message = format!("{what}: the service can't be reached: {reason}");
            if reason.contains("certificate") {
                return Failure::lasting(Error::other(message).with_hint(untrusted(
                    &reason,
                    "the server's certificate is not trusted: check the endpoint, or name its CA in SSL_CERT_FILE",
                )));
            }
            Failure::unreached(Error::timeout(message).with_hint(format!(
                "check the region ({}), AWS_ENDPOINT_URL_KMS, the network and the proxy settings",
                asked.region
            )))
        }
    }
}

/// An answer of the service that is an error.
fn answered(asked: Asked<'_>, status: u16, code: &str, said: &str, skew: Option<Skew>) -> Failure {
    let message = match (code, said) {
        ("", "") => format!("{SERVICE}, {}: status {status}", asked.what),
        (code, "") => format!("{SERVICE}, {}: {code}", asked.what),
        ("", said) => format!("{SERVICE}, {}: {said}", asked.what),
        (code, said) => format!("{SERVICE}, {}: {code}: {said}", asked.what),
    };
    let lasting = |error: Error, hint: &str| Failure::lasting(error.with_hint(hint));
    let denied = || Error::access_denied(message.clone());
    let invalid = || Error::validation(message.clone());
    match code {
        "ThrottlingException" | "Throttling" | "TooManyRequestsException"
        | "RequestLimitExceeded" | "RequestThrottled" => throttled(message),
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed"
        | "RequestExpired" | "AuthFailure" => match skew {
            // The client has measured the difference, and signs with it from now on.
            Some(skew) => Failure::once_more(denied().with_hint(skew.to_string())),
            None => lasting(
                denied(),
                "the secret key is not that of the access key id, or the clock is wrong: check both",
            ),
        },
        "ExpiredTokenException" | "ExpiredToken" => lasting(
            denied(),
            "the credentials have expired: run `aws sso login`, or take the role again just before signing",
        ),
        "UnrecognizedClientException" | "InvalidClientTokenId" | "IncompleteSignature"
        | "IncompleteSignatureException" | "MissingAuthenticationTokenException"
        | "NotAuthorized" | "OptInRequired" => lasting(
            denied(),
            "these credentials are not known there: check AWS_PROFILE, the account and the partition of the region",
        ),
        "AccessDeniedException" | "AccessDenied" => Failure::lasting(denied().with_hint(format!(
            "the key's policy, or a policy of the role, has to allow {} on the key itself: a permission on an alias has no effect",
            asked.permission
        ))),
        "NotFoundException" => Failure::missing(invalid().with_hint(format!(
            "check the region ({}), the account and the name; an alias is written alias/NAME",
            asked.region
        ))),
        "DisabledException" => lasting(invalid(), "enable the key with `aws kms enable-key`, or use another"),
        "KMSInvalidStateException" => lasting(
            invalid(),
            "a key that waits for its deletion can be had back with `aws kms cancel-key-deletion` until it is gone",
        ),
        "InvalidKeyUsageException" | "UnsupportedOperationException" => lasting(
            invalid(),
            "create a signing key (key usage SIGN_VERIFY) with RSA of 2048, 3072 or 4096 bits, or on P-256, P-384 or P-521",
        ),
        "InvalidArnException" | "ValidationException" => lasting(
            invalid(),
            "check the key id: alias/NAME, a key id or an ARN in the region's own account",
        ),
        "LimitExceededException" => lasting(invalid(), "the account's limit is reached: ask AWS to raise it, or delete what is not needed"),
        "AlreadyExistsException" => lasting(invalid(), "choose another alias"),
        _ if status == 429 => throttled(message),
        _ if status >= 500 => Failure::passing(
            Error::other(message).with_hint("the service has a problem: try later"),
        ),
        _ if status == 401 || status == 403 => lasting(denied(), "check the credentials and the endpoint"),
        _ => Failure::lasting(Error::other(message)),
    }
}

fn throttled(message: String) -> Failure {
    Failure::passing(Error::throttled(message).with_hint(
        "set the plugin config rate=N, or ask AWS for a higher quota of cryptographic operations",
    ))
}

/// What the service says, on one line. Of a refused request signature only the first sentence: the rest
/// quotes the request, with the session's token in it.
fn said<E: ProvideErrorMetadata>(code: &str, error: &SdkError<E>) -> String {
    let text = error.message().unwrap_or_default();
    let text = text.split("anonical").next().unwrap_or_default();
    let text = match code {
        "InvalidSignatureException" | "SignatureDoesNotMatch" => {
            text.split(". ").next().unwrap_or_default()
        }
        _ => text,
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(400).collect()
}
#[cfg(test)]
mod tests {
    use aws_sdk_kms::config::http::HttpResponse;
    use aws_sdk_kms::error::ErrorMetadata;
    use aws_sdk_kms::operation::sign::SignError;
    use hardsign_plugin::error::ErrorCode;

    use super::*;

    const ASKED: Asked<'_> = Asked {
        what: "signing with key alias/k in eu-west-1",
        permission: "kms:Sign",
        region: "eu-west-1",
        profile: None,
    };

    #[test]
    fn answers_are_told_with_the_next_step() {
        for (status, code, kind, hint) in [
            (400, "ThrottlingException", ErrorCode::Throttled, "rate=N"),
            (429, "", ErrorCode::Throttled, "rate=N"),
            (
                400,
                "AccessDeniedException",
                ErrorCode::AccessDenied,
                "kms:Sign",
            ),
            (
                400,
                "NotFoundException",
                ErrorCode::ValidationError,
                "eu-west-1",
            ),
            (
                400,
                "DisabledException",
                ErrorCode::ValidationError,
                "enable-key",
            ),
            (
                400,
                "KMSInvalidStateException",
                ErrorCode::ValidationError,
                "cancel-key-deletion",
            ),
            (
                400,
                "InvalidKeyUsageException",
                ErrorCode::ValidationError,
                "SIGN_VERIFY",
            ),
            (
                400,
                "ExpiredTokenException",
                ErrorCode::AccessDenied,
                "expired",
            ),
            (403, "SomethingNew", ErrorCode::AccessDenied, "credentials"),
            (500, "KMSInternalException", ErrorCode::Error, "try later"),
        ] {
            let error = answered(ASKED, status, code, "said", None).into_error();
            assert_eq!(error.code(), &kind, "{code}");
            assert!(error.hint().unwrap().contains(hint), "{code}: {error:?}");
            assert!(error.to_string().contains("alias/k"), "{code}: {error}");
        }
        let skew = Some(Skew::Ahead(Duration::from_secs(3600)));
        let error = answered(ASKED, 400, "InvalidSignatureException", "", skew).into_error();
        assert!(error.hint().unwrap().contains("60 minutes"), "{error:?}");
    }

    /// The service quotes the request in its answer, the session's token among the headers.
    #[test]
    fn a_quoted_request_is_not_shown() {
        let message = "The request signature we calculated does not match the signature you provided. Check your key.\n\nThe Canonical String for this request should have been\n'POST\nx-amz-security-token:s3cret'";
        let meta = ErrorMetadata::builder()
            .code("InvalidSignatureException")
            .message(message)
            .build();
        let answer = HttpResponse::new(400.try_into().unwrap(), "".into());
        let error = SdkError::service_error(SignError::generic(meta), answer);
        let said = said("InvalidSignatureException", &error);
        assert!(said.starts_with("The request signature"), "{said}");
        assert!(
            !said.contains("s3cret") && !said.contains("security-token"),
            "{said}"
        );
    }
}
