//! `/verify`: Gatekeeper's external data (`externaldata.gatekeeper.sh`), for those who run it: the keys are references,
//! and the value of a good one is the reference by digest.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use crate::bounded::{List, short};
use crate::handler::{Case, Service};
use crate::images::{Found, JUDGED, MAX_IMAGES};
use crate::metrics::{Answered, Endpoint};
use crate::review::Reference;
use crate::settings::Mode;

/// A question of Gatekeeper.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProviderRequest {
    #[serde(deserialize_with = "short")]
    api_version: String,
    #[serde(deserialize_with = "short")]
    kind: String,
    request: Keys,
}

#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(default)]
    keys: List<Reference>,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProviderResponse {
    api_version: String,
    kind: &'static str,
    response: Items,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Items {
    idempotent: bool,
    items: Vec<Item>,
    system_error: String,
}

#[derive(Debug, Serialize)]
struct Item {
    key: String,
    value: String,
    error: String,
}

impl ProviderRequest {
    /// Reads a question.
    ///
    /// # Errors
    /// What about it is not understood.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, String> {
        let request: Self =
            serde_json::from_slice(body).map_err(|error| format!("no ProviderRequest: {error}"))?;
        if !VERSIONS.contains(&request.api_version.as_str()) || request.kind != "ProviderRequest" {
            return Err(format!(
                "{} {} is not understood: {} ProviderRequest is",
                request.api_version,
                request.kind,
                VERSIONS.join(" or ")
            ));
        }
        Ok(request)
    }

    /// What it takes while it is answered, in bytes: more or less.
    pub(crate) fn size(&self) -> usize {
        let keys = self.request.keys.elements.len();
        keys.saturating_mul(JUDGED + Reference::MOST)
    }
}

impl Service {
    pub(crate) async fn provide(
        &self,
        asked: ProviderRequest,
        granted: Duration,
    ) -> ProviderResponse {
        let begun = Instant::now();
        let mut response = Items {
            idempotent: true,
            ..Items::default()
        };
        let keys = asked.request.keys;
        let texts = keys.elements.iter().map(|(_, key)| key.whole());
        if keys.more || keys.elements.len() > MAX_IMAGES {
            response.system_error = format!("more than {MAX_IMAGES} keys");
        } else if texts.clone().any(|key| key.is_none()) {
            response.system_error = format!("a key has more than {} bytes", Reference::MOST);
        } else {
            let snapshot = self.policies.get();
            let case = Case {
                effective: snapshot.settings.of(&Default::default()),
                snapshot: Arc::clone(&snapshot),
                namespace: String::new(),
                secrets: Vec::new(),
                read: Default::default(),
                pinned: false,
                deadline: begun + granted,
                granted,
            };
            let mut seen = HashSet::new();
            let keys = texts.flatten().filter(|key| seen.insert(*key));
            let found = keys.map(|key| Found {
                image: key.to_owned(),
                place: "key".to_owned(),
                pointers: Vec::new(),
            });
            let found: Vec<Found> = found.collect();
            for finding in self.judge_all(&case, found).await {
                let good = finding.kind.is_good();
                self.tell(
                    &finding,
                    Mode::Enforce,
                    &snapshot.version,
                    json!({"allowed": good}),
                );
                // What was not verified, and need not be, stays as it is.
                let value = finding.at.as_ref().unwrap_or(&finding.found.image);
                response.items.push(Item {
                    value: if good { value.clone() } else { String::new() },
                    error: if good { String::new() } else { finding.told() },
                    key: finding.found.image,
                });
            }
        }
        let all = response.system_error.is_empty()
            && response.items.iter().all(|item| item.error.is_empty());
        let answered = if all {
            Answered::Allowed
        } else {
            Answered::Refused
        };
        self.metrics
            .answered(Endpoint::Verify, answered, begun.elapsed());
        ProviderResponse {
            api_version: asked.api_version,
            kind: "ProviderResponse",
            response,
        }
    }
}

const VERSIONS: [&str; 3] = [
    "externaldata.gatekeeper.sh/v1",
    "externaldata.gatekeeper.sh/v1beta1",
    "externaldata.gatekeeper.sh/v1alpha1",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_gatekeepers_requests_are_read() {
        let good = r#"{"apiVersion":"externaldata.gatekeeper.sh/v1beta1","kind":"ProviderRequest","request":{"keys":["a"]}}"#;
        let keys = ProviderRequest::parse(good.as_bytes())
            .unwrap()
            .request
            .keys;
        let texts: Vec<_> = keys.elements.iter().map(|(_, key)| key.whole()).collect();
        assert_eq!(texts, [Some("a")]);
        for bad in [
            "",
            "{}",
            r#"{"apiVersion":"v1","kind":"ProviderRequest","request":{}}"#,
        ] {
            assert!(ProviderRequest::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
