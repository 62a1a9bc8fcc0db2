//! `AdmissionReview` of `admission.k8s.io/v1`: what of it is read, and the answer.
//!
//! Members that are not needed are passed over, since each release of Kubernetes adds some. Texts and lists are bounded while
//! they are read: a webhook is asked before the API server has validated all of an object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bounded::{Counted, List, Start, short};
use crate::images::{Found, Subject};

/// The version that is spoken.
pub(crate) const API_VERSION: &str = "admission.k8s.io/v1";
/// The kind of both question and answer.
pub(crate) const KIND: &str = "AdmissionReview";

/// A question of the API server.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Review {
    #[serde(deserialize_with = "short")]
    api_version: String,
    #[serde(deserialize_with = "short")]
    kind: String,
    request: Option<Asked>,
}

/// What is about to happen, as it was sent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    #[serde(deserialize_with = "short")]
    uid: String,
    kind: Kind,
    #[serde(default)]
    name: Name,
    #[serde(default, deserialize_with = "short")]
    namespace: String,
    #[serde(deserialize_with = "short")]
    operation: String,
    object: Option<Object>,
    old_object: Option<Object>,
}

/// What is about to happen: the part of a question that is kept until it is answered.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) uid: String,
    pub(crate) kind: Kind,
    /// The object's name, or what it will begin with.
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) operation: String,
    pub(crate) subject: Subject,
}

/// The kind of an object.
#[derive(Debug, Deserialize)]
pub(crate) struct Kind {
    #[serde(default, deserialize_with = "short")]
    pub(crate) group: String,
    #[serde(deserialize_with = "short")]
    pub(crate) kind: String,
}

/// The name of an object, a DNS subdomain.
pub(crate) type Name = Start<253>;
/// The name of a container or volume, a DNS label.
pub(crate) type Label = Start<63>;
/// An image as it is written. Kubernetes has no limit; runtimes read 255 bytes of name, 128 of a tag and a digest.
pub(crate) type Reference = Start<1024>;

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
    pub(crate) generate_name: Option<Name>,
}

/// The specification of a pod, of a workload with a template, or of a `CronJob`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) containers: Option<List<Container>>,
    pub(crate) init_containers: Option<List<Container>>,
    pub(crate) ephemeral_containers: Option<List<Container>>,
    pub(crate) volumes: Option<List<Volume>>,
    pub(crate) image_pull_secrets: Option<List<Named>>,
    pub(crate) template: Option<Box<Object>>,
    pub(crate) job_template: Option<Box<Object>>,
}

/// A container of any of the three lists.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    pub(crate) name: Option<Label>,
    pub(crate) image: Option<Reference>,
}

/// A volume; of interest where it is an image.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Volume {
    pub(crate) name: Option<Label>,
    pub(crate) image: Option<VolumeImage>,
}

/// `spec.volumes[].image`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct VolumeImage {
    pub(crate) reference: Option<Reference>,
}

/// A reference to a secret in the namespace.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Named {
    pub(crate) name: Option<Name>,
}

impl Counted for Container {
    fn counts(&self) -> bool {
        self.image.is_some()
    }
}

impl Counted for Volume {
    fn counts(&self) -> bool {
        let image = self.image.as_ref();
        image.is_some_and(|image| image.reference.is_some())
    }
}

impl Counted for Named {
    fn counts(&self) -> bool {
        self.name.is_some()
    }
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
        let asked = review.request.ok_or("the AdmissionReview has no request")?;
        if asked.uid.is_empty() {
            return Err("the request of the AdmissionReview has no usable uid".to_owned());
        }
        Ok(Request::of(asked))
    }
}

impl Request {
    fn of(asked: Asked) -> Self {
        let is_pod = asked.kind.is_pod();
        let generated = asked.object.as_ref().and_then(|object| {
            let metadata = object.metadata.as_ref()?;
            metadata.generate_name.as_ref()
        });
        let name = match (asked.name.is_empty(), generated) {
            (true, Some(generated)) => generated,
            _ => &asked.name,
        };
        let object = asked
            .object
            .as_ref()
            .filter(|_| ["CREATE", "UPDATE"].contains(&asked.operation.as_str()));
        let subject = match object {
            None => Subject::Nothing,
            Some(_) if name.whole().is_none() => {
                Subject::TooMuch(format!("its name has more than {} bytes", Name::MOST))
            }
            Some(object) => Subject::of(object, asked.old_object.as_ref(), is_pod),
        };
        Self {
            name: name.shown(),
            uid: asked.uid,
            kind: asked.kind,
            namespace: asked.namespace,
            operation: asked.operation,
            subject,
        }
    }

    /// Whether it is a pod, and not something that pods are made from.
    pub(crate) fn is_pod(&self) -> bool {
        self.kind.is_pod()
    }

    /// What it takes while it is answered, in bytes: more or less.
    pub(crate) fn size(&self) -> usize {
        match &self.subject {
            Subject::Images { images, .. } => images.iter().map(Found::size).sum(),
            _ => 0,
        }
    }
}

impl Kind {
    fn is_pod(&self) -> bool {
        self.group.is_empty() && self.kind == "Pod"
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

/// Longest warning: the API server cuts longer ones where there are several.
const MAX_WARNING: usize = 1024;
/// All warnings together: the API server drops what is more than 4,096 characters.
const MAX_WARNINGS: usize = 4000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::MAX_PLACES;

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

    fn pod(name: &str, spec: &str) -> Result<Request, String> {
        let review = format!(
            r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"uid":"1","kind":{{"kind":"Pod"}},"name":"{name}","operation":"CREATE","object":{{"spec":{spec}}}}}}}"#
        );
        Review::parse(review.as_bytes())
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let one = r#"{"name":"a","image":"b"}"#;
        let list = |element: &str, count: usize| vec![element; count].join(",");
        let (long, most) = ("x".repeat(2000), "x".repeat(253));
        let containers = |list: &str| format!(r#"{{"containers":[{list}]}}"#);
        // As many as there may be, and those without an image count for nothing.
        let empty = list("{}", 5000);
        let all = containers(&format!("{empty},{}", list(one, MAX_PLACES)));
        let Subject::Images { images, .. } = pod(&most, &all).unwrap().subject else {
            panic!("no images");
        };
        assert_eq!(images.len(), 1);
        assert_eq!(images[0].pointers.len(), MAX_PLACES);
        assert_eq!(
            images[0].pointers[0].to_string(),
            "/spec/containers/5000/image"
        );
        assert!(images[0].place.len() < 300);
        for (name, spec, told) in [
            (
                long.as_str(),
                containers(one),
                "its name has more than 253 bytes",
            ),
            (
                "p",
                containers(&list(one, MAX_PLACES + 1)),
                "more than 1000 images",
            ),
            (
                "p",
                format!(
                    r#"{{"containers":[{}],"initContainers":[{one}]}}"#,
                    list(one, MAX_PLACES)
                ),
                "more than 1000 images",
            ),
            (
                "p",
                containers(&format!(r#"{{"name":"{long}","image":"b"}}"#)),
                "the name of container 0 has more than 63 bytes",
            ),
            (
                "p",
                containers(&format!(r#"{{"name":"a","image":"{long}"}}"#)),
                "the image of container a has more than 1024 bytes",
            ),
            (
                "p",
                format!(r#"{{"volumes":[{{"name":"v","image":{{"reference":"{long}"}}}}]}}"#),
                "the image of image volume v has more than 1024 bytes",
            ),
        ] {
            let request = pod(name, &spec).unwrap();
            assert!(request.name.len() <= 256);
            let Subject::TooMuch(why) = request.subject else {
                panic!("{told}: {:?}", request.subject);
            };
            assert!(why.contains(told), "{why}");
        }
        // What the API server itself makes is short, or it is none of its.
        for member in ["uid", "operation", "namespace"] {
            let review = format!(
                r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"{member}":"{long}"}}}}"#
            );
            let error = Review::parse(review.as_bytes()).unwrap_err();
            assert!(error.contains("more than 253 bytes"), "{member}: {error}");
        }
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
