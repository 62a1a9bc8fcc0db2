//! `/mutate`: the tag of a pod's image becomes the digest that was verified. Whoever registers it as a mutating
//! webhook has opted in. Only pods are changed: a changed Deployment would differ from what is in Git.

use std::time::Duration;

use serde_json::{Value, json};

use crate::handler::Service;
use crate::images::{self, Image};
use crate::metrics::Endpoint;
use crate::review::{Request, Response};

impl Service {
    pub(crate) async fn mutate(&self, request: &Request, granted: Duration) -> Response {
        if !request.is_pod() || !self.is_tagged(request) {
            return Response::allowed();
        }
        let (response, findings) = self.review(request, granted, Endpoint::Mutate).await;
        let object = request.object.as_ref().filter(|_| response.allowed);
        let Some(found) = object.and_then(|object| images::images(object, true)) else {
            return response;
        };
        let mut operations: Vec<Value> = Vec::new();
        let mut told = Vec::new();
        for finding in findings
            .iter()
            .filter(|finding| finding.kind == crate::metrics::Found::Verified)
        {
            let Some(at) = finding.at.as_ref() else {
                continue;
            };
            let tagged =
                Image::parse(&finding.found.image).is_ok_and(|image| image.digest.is_none());
            for place in found
                .iter()
                .filter(|place| tagged && place.image == finding.found.image)
            {
                // What stands there must still be what was judged.
                operations.push(json!({"op": "test", "path": place.pointer, "value": place.image}));
                operations.push(json!({"op": "replace", "path": place.pointer, "value": at}));
            }
            if tagged {
                told.push(format!("hardsign: {} is now {at}", finding.found.image));
            }
        }
        response.patched(&operations).warning(told)
    }

    /// Whether there is anything to change.
    fn is_tagged(&self, request: &Request) -> bool {
        let found = request
            .object
            .as_ref()
            .and_then(|object| images::images(object, true));
        let mut found = found.into_iter().flatten();
        found.any(|found| Image::parse(&found.image).is_ok_and(|image| image.digest.is_none()))
    }
}
