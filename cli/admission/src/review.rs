//! `AdmissionReview` of `admission.k8s.io/v1`: what of it is read, and the answer.
//!
//! Members that are not needed are passed over, since each release of Kubernetes adds some.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version that is spoken.
pub(crate) const API_VERSION: &str = "admission.k8s.io/v1";
/// The kind of both question and answer.
pub(crate) const KIND: &str = "AdmissionReview";

/// A question of the API server.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Review {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) request: Option<Request>,
}

/// What is about to happen.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub(crate) uid: String,
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) namespace: String,
    pub(crate) operation: String,
    pub(crate) object: Option<Object>,
    pub(crate) old_object: Option<Object>,
}

/// The kind of an object.
#[derive(Debug, Deserialize)]
pub(crate) struct Kind {
    #[serde(default)]
    pub(crate) group: String,
    pub(crate) kind: String,
}

/// A pod, or something that pods are made from.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Object {
    pub(crate) metadata: Option<Metadata>,
    pub(crate) spec: Option<Spec>,
    /// Of a `PodTemplate`.
    pub(crate) template: Option<Box<Object>>,
}

/// The name that pods of one owner begin with, where they have no name yet.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata {
    pub(crate) generate_name: Option<String>,
}

/// The specification of a pod, of a workload with a template, or of a `CronJob`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) containers: Option<Vec<Container>>,
    pub(crate) init_containers: Option<Vec<Container>>,
    pub(crate) ephemeral_containers: Option<Vec<Container>>,
    pub(crate) volumes: Option<Vec<Volume>>,
    pub(crate) image_pull_secrets: Option<Vec<Named>>,
    pub(crate) template: Option<Box<Object>>,
    pub(crate) job_template: Option<Box<Object>>,
}

/// A container of any of the three lists.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    pub(crate) name: Option<String>,
    pub(crate) image: Option<String>,
}

/// A volume; of interest where it is an image.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Volume {
    pub(crate) name: Option<String>,
    pub(crate) image: Option<VolumeImage>,
}

/// `spec.volumes[].image`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VolumeImage {
    pub(crate) reference: Option<String>,
}

/// A reference to a secret in the namespace.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Named {
    pub(crate) name: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) response: Response,
}

/// What is to happen.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Response {
    pub(crate) uid: String,
    pub(crate) allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) audit_annotations: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patch: Option<String>,
}

/// Why something was refused.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Review {
    /// Reads a question.
    ///
    /// # Errors
    /// What about it is not understood.
    pub(crate) fn parse(body: &[u8]) -> Result<Request, String> {
        let review: Self =
            serde_json::from_slice(body).map_err(|error| format!("no AdmissionReview: {error}"))?;
        if review.api_version != API_VERSION || review.kind != KIND {
            return Err(format!(
                "{} {} is not understood: {API_VERSION} {KIND} is",
                review.api_version, review.kind
            ));
        }
        let request = review.request.ok_or("the AdmissionReview has no request")?;
        if request.uid.is_empty() || request.uid.len() > MAX_UID {
            return Err("the request of the AdmissionReview has no usable uid".to_owned());
        }
        Ok(request)
    }
}

impl Request {
    /// Whether it is a pod, and not something that pods are made from.
    pub(crate) fn is_pod(&self) -> bool {
        self.kind.group.is_empty() && self.kind.kind == "Pod"
    }

    /// The object's name, as far as it has one.
    pub(crate) fn object_name(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let object = self.object.as_ref();
        let metadata = object.and_then(|object| object.metadata.as_ref());
        metadata
            .and_then(|metadata| metadata.generate_name.clone())
            .unwrap_or_default()
    }
}

impl Answer {
    /// An answer to the request with this id.
    pub(crate) fn to(uid: &str, response: Response) -> Self {
        Self {
            api_version: API_VERSION,
            kind: KIND,
            response: Response {
                uid: uid.to_owned(),
                ..response
            },
        }
    }
}

impl Response {
    /// It may happen.
    pub(crate) fn allowed() -> Self {
        Self {
            allowed: true,
            ..Self::default()
        }
    }

    /// It may not, and why.
    pub(crate) fn refused(message: String) -> Self {
        Self {
            status: Some(Status {
                code: 403,
                reason: "Forbidden",
                message,
            }),
            ..Self::default()
        }
    }

    /// The same with warnings, as far as the API server passes them on.
    pub(crate) fn warning(self, warnings: impl IntoIterator<Item = String>) -> Self {
        let mut all = self.warnings;
        let mut total: usize = all.iter().map(String::len).sum();
        for warning in warnings {
            let warning = cut(warning, MAX_WARNING);
            total += warning.len();
            if total > MAX_WARNINGS {
                break;
            }
            all.push(warning);
        }
        Self {
            warnings: all,
            ..self
        }
    }

    /// The same with a JSON patch (RFC 6902).
    pub(crate) fn patched(self, operations: &[Value]) -> Self {
        use base64::Engine as _;
        if operations.is_empty() {
            return self;
        }
        let patch = Value::from(operations.to_vec()).to_string();
        Self {
            patch_type: Some("JSONPatch"),
            patch: Some(base64::engine::general_purpose::STANDARD.encode(patch)),
            ..self
        }
    }
}

/// A text of at most `most` bytes.
pub(crate) fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let mut at = most.saturating_sub(3);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        text.truncate(at);
        text.push_str("...");
    }
    text
}

/// Longest id that is sent back.
const MAX_UID: usize = 256;
/// Longest warning: the API server cuts longer ones where there are several.
const MAX_WARNING: usize = 1024;
/// All warnings together: the API server drops what is more than 4,096 characters.
const MAX_WARNINGS: usize = 4000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_documents_are_told() {
        for (body, told) in [
            ("", "no AdmissionReview: EOF"),
            ("[]", "no AdmissionReview: invalid"),
            (
                r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}"#,
                "v1beta1 AdmissionReview is not understood",
            ),
            (
                r#"{"apiVersion":"admission.k8s.io/v1","kind":"Pod"}"#,
                "v1 Pod is not understood",
            ),
            (
                r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#,
                "has no request",
            ),
            (
                r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"","kind":{"kind":"Pod"},"operation":"CREATE"}}"#,
                "no usable uid",
            ),
            (
                r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","uid":"2","kind":{"kind":"Pod"},"operation":"CREATE"}}"#,
                "duplicate field",
            ),
        ] {
            let error = Review::parse(body.as_bytes()).unwrap_err();
            assert!(error.contains(told), "{body}: {error}");
        }
        let deep = format!(
            r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","x":{}"#,
            "[".repeat(100_000)
        );
        assert!(Review::parse(deep.as_bytes()).is_err());
    }

    #[test]
    fn warnings_fit_what_is_passed_on() {
        let long = "ä".repeat(2000);
        let response = Response::allowed().warning(vec![long; 10]);
        let total: usize = response.warnings.iter().map(String::len).sum();
        assert!(
            total <= MAX_WARNINGS && response.warnings.len() == 3,
            "{total}"
        );
    }
}
