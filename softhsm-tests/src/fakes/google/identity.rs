//! Where tokens come from: the security token service that exchanges the token of another issuer, the service
//! that gives tokens of a service account, the metadata server of a virtual machine, and a job's own server
//! of tokens. All are the fake itself, under paths of their own.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::http::{Reply, Request, decoded};
use super::super::{Fault, lock};
use super::{ACCOUNT, FakeCloudKms, State};

/// The provider of the workload identity pool that exchanges tokens.
const PROVIDER: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci/providers/jobs";

/// What a job has to show: its token, and what it gets the token with.
pub const SUBJECT: &str = "subject-token-of-the-tests";
pub const REQUEST: &str = "request-token-of-the-tests";

/// What every token that is given begins with.
pub const TOKEN: &str = "ya29.token-of-the-tests-";

/// A role of AWS that may act as the job.
pub const AWS_ACCESS_KEY: &str = "AKIAROLEOFTHETESTS00";

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const AWS: &str = "urn:ietf:params:aws:token-type:aws4_request";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

impl FakeCloudKms {
    /// Credentials of workload identity federation: the job's token comes from `source`, and is exchanged for
    /// one of the pool; with `impersonates`, that one for one of the service account.
    pub fn federation(&self, name: &str, source: &Value, impersonates: bool) -> PathBuf {
        let kind = match source["environment_id"] == "aws1" {
            true => AWS,
            false => JWT,
        };
        let mut credentials = json!({
            "type": "external_account",
            "audience": PROVIDER,
            "subject_token_type": kind,
            "token_url": format!("{}/sts/v1/token", self.endpoint()),
            "credential_source": source,
        });
        if impersonates {
            credentials["service_account_impersonation_url"] = self.impersonation().into();
        }
        self.write_json(name, &credentials)
    }

    /// Credentials of a service account that another one, by its key, may act as.
    pub fn impersonated(&self, name: &str) -> PathBuf {
        let source = fs::read_to_string(self.credentials()).unwrap();
        let source: Value = serde_json::from_str(&source).unwrap();
        let credentials = json!({
            "type": "impersonated_service_account",
            "service_account_impersonation_url": self.impersonation(),
            "source_credentials": source,
        });
        self.write_json(name, &credentials)
    }

    /// Where a job gets its token, as a source of [`Self::federation`].
    pub fn subject_url(&self) -> Value {
        json!({
            "url": format!("{}/job/token", self.endpoint()),
            "headers": {"Authorization": format!("bearer {REQUEST}")},
            "format": {"type": "json", "subject_token_field_name": "value"},
        })
    }

    /// The environment of a virtual machine, whose metadata server has tokens.
    pub fn virtual_machine(&self) -> Vec<(&'static str, String)> {
        let host = self.endpoint().replace("http://", "");
        vec![("GCE_METADATA_HOST", host)]
    }

    fn impersonation(&self) -> String {
        format!(
            "{}/iam/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken",
            self.endpoint()
        )
    }

    pub(super) fn write_json(&self, name: &str, content: &Value) -> PathBuf {
        let file = self.home.path().join(name);
        fs::write(&file, content.to_string()).unwrap();
        file
    }
}

impl State {
    /// The answer of whoever gives tokens; `None` if the request is for no such one.
    pub(super) fn identity(&self, request: &Request, fault: Option<Fault>) -> Option<Reply> {
        let path = request.path.as_str();
        let bearer = request.header("authorization").unwrap_or_default();
        let reply = match fault {
            Some(Fault::Denied) if path.starts_with("/iam/") => Some(denied()),
            Some(Fault::Denied) => Some(refused(403, "unauthorized_client", "Permission denied.")),
            Some(Fault::Expired) => Some(refused(
                400,
                "invalid_grant",
                "ID Token issued at 1700000000 is stale to sign-in.",
            )),
            _ => None,
        };
        if path.starts_with("/v1/") {
            return None;
        }
        if let Some(reply) = reply {
            return Some(reply);
        }
        if path == "/sts/v1/token" {
            return Some(self.exchange(&String::from_utf8_lossy(&request.body)));
        }
        if path.starts_with("/iam/v1/") && path.ends_with(":generateAccessToken") {
            let known = bearer.strip_prefix("Bearer ").unwrap_or_default();
            let may = self.may(request) || known == POOL;
            return Some(match may && path.contains(ACCOUNT) {
                true => Reply::json(
                    200,
                    &json!({"accessToken": self.give(), "expireTime": "2099-01-01T00:00:00Z"}),
                ),
                false => denied(),
            });
        }
        if path == "/job/token" {
            return Some(match bearer == format!("bearer {REQUEST}") {
                true => Reply::json(200, &json!({ "value": SUBJECT })),
                false => refused(401, "unauthorized", "no request token"),
            });
        }
        let of_machine = path.strip_prefix("/computeMetadata/v1/")?;
        if request.header("metadata-flavor") != Some("Google") {
            return Some(refused(403, "forbidden", "no Metadata-Flavor"));
        }
        Some(match of_machine {
            "instance/service-accounts/default/token" => Reply::json(
                200,
                &json!({"access_token": self.give(), "expires_in": 3599, "token_type": "Bearer"}),
            ),
            "universe/universe-domain" => Reply::text("googleapis.com"),
            "instance/service-accounts/default/email" => Reply::text(ACCOUNT),
            _ => refused(404, "not_found", path),
        })
    }

    /// RFC 8693: a job's token for one of the pool. One with the scope of the account's service alone is good
    /// for no key.
    fn exchange(&self, form: &str) -> Reply {
        let field = |name: &str| {
            let mut pairs = form.split('&').filter_map(|part| part.split_once('='));
            let found = pairs.find(|(known, _)| decoded(known) == name);
            found.map(|(_, value)| decoded(value)).unwrap_or_default()
        };
        let kind = field("subject_token_type");
        let shown = field("subject_token");
        let known = match kind.as_str() {
            AWS => is_of_role(&decoded(&shown)),
            _ => kind == JWT && shown == SUBJECT,
        };
        let right = [
            ("grant_type", field("grant_type") == EXCHANGE),
            ("audience", field("audience") == PROVIDER),
            ("subject_token", known),
            (
                "requested_token_type",
                field("requested_token_type") == ACCESS_TOKEN,
            ),
        ];
        if let Some((name, _)) = right.iter().find(|(_, right)| !right) {
            return refused(400, "invalid_grant", &format!("The {name} is not right."));
        }
        let token = match field("scope").as_str() {
            "https://www.googleapis.com/auth/iam" => POOL.to_owned(),
            _ => self.give(),
        };
        Reply::json(
            200,
            &json!({
                "access_token": token,
                "issued_token_type": ACCESS_TOKEN,
                "token_type": "Bearer",
                "expires_in": 3599,
            }),
        )
    }

    fn give(&self) -> String {
        let mut tokens = lock(&self.tokens);
        let token = format!("{TOKEN}{}", tokens.len());
        tokens.push(token.clone());
        token
    }
}

/// Whether a request to AWS's own token service, which would say whose it is, was signed by the role for this pool.
fn is_of_role(request: &str) -> bool {
    let request: Value = serde_json::from_str(request).unwrap_or_default();
    let headers = request["headers"].as_array();
    let has = |name: &str, part: &str| {
        let mut all = headers.into_iter().flatten();
        all.any(|header| {
            let is_it = header["key"].as_str() == Some(name);
            is_it
                && header["value"]
                    .as_str()
                    .is_some_and(|value| value.contains(part))
        })
    };
    let url = request["url"].as_str().unwrap_or_default();
    url.starts_with("https://sts.eu-west-1.amazonaws.com")
        && has("Authorization", &format!("Credential={AWS_ACCESS_KEY}/"))
        && has("x-goog-cloud-target-resource", PROVIDER)
}

/// The token of the pool, with which the service account's is asked for.
const POOL: &str = "ya29.token-of-the-pool";

/// As Google's services refuse; token services have a form of their own.
fn denied() -> Reply {
    let message = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource.";
    let error = json!({"code": 403, "status": "PERMISSION_DENIED", "message": message});
    Reply::json(403, &json!({ "error": error }))
}

fn refused(status: u16, error: &str, description: &str) -> Reply {
    Reply::json(
        status,
        &json!({"error": error, "error_description": description}),
    )
}
