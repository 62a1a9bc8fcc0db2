//! `/mutate`: the tag of a pod's image becomes the digest that was verified. Whoever registers it as a mutating
//! webhook has opted in. Only pods are changed: a changed Deployment would differ from what is in Git.

use std::time::Duration;

use serde_json::{Value, json};

use crate::handler::Service;
use crate::images::{Found, Image, Subject};
use crate::metrics::Endpoint;
use crate::review::{Request, Response};

impl Service {
    pub(crate) async fn mutate(&self, request: Request, granted: Duration) -> Response {
        if !request.is_pod() || !is_tagged(&request.subject) {
            return Response::allowed();
        }
        let (response, findings) = self.review(request, granted, Endpoint::Mutate).await;
        if !response.allowed {
            return response;
        }
        let mut operations: Vec<Value> = Vec::new();
        let mut told = Vec::new();
        for finding in findings
            .iter()
            .filter(|finding| finding.kind == crate::metrics::Found::Verified)
        {
            let found = &finding.found;
            let Some(at) = finding.at.as_ref().filter(|_| has_no_digest(found)) else {
                continue;
            };
            for pointer in &found.pointers {
                let path = pointer.to_string();
                // What stands there must still be what was judged.
                operations.push(json!({"op": "test", "path": path, "value": found.image}));
                operations.push(json!({"op": "replace", "path": path, "value": at}));
            }
            told.push(format!("hardsign: {} is now {at}", found.image));
        }
        response.patched(&operations).warning(told)
    }
}

/// Whether there is anything to change, or more than is looked at.
fn is_tagged(subject: &Subject) -> bool {
    match subject {
        Subject::Nothing | Subject::NoPod => false,
        Subject::TooMuch(_) => true,
        Subject::Images { images, .. } => images.iter().any(has_no_digest),
    }
}

fn has_no_digest(found: &Found) -> bool {
    Image::parse(&found.image).is_ok_and(|image| image.digest.is_none())
}
