//! What is answered to a review: which images are judged, by which policy, and what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use hardsign_core::artifact::Digest;
use hardsign_core::text::escaped;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::cache::{By, Verdict};
use crate::cluster::{Cluster, PullSecret, PullSecrets};
use crate::engine::{Engine, Question, beforehand};
use crate::images::{Found, Image, Subject};
use crate::metrics::{Answered, Endpoint, Found as Kind, Metrics};
use crate::review::{Request, Response, cut};
use crate::server::Log;
use crate::settings::{Effective, Excepted, Mode};
use crate::snapshot::{Current, Snapshot};

/// Everything that answers are made with.
pub(crate) struct Service {
    pub(crate) policies: Current,
    pub(crate) engine: Engine,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: Arc<Log>,
    pub(crate) now: fn() -> Timestamp,
}

/// What the images of one object are judged by.
pub(crate) struct Case {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) effective: Effective,
    pub(crate) namespace: String,
    /// The names of the pod's pull secrets, where they are read.
    pub(crate) secrets: Vec<String>,
    /// What they hold; read once, when an image is asked about.
    pub(crate) read: OnceCell<Result<PullSecrets, String>>,
    /// Whether the API server will have the pod's images pulled as they stand there.
    pub(crate) pinned: bool,
    pub(crate) deadline: Instant,
    pub(crate) granted: Duration,
}

/// An answer, and how it came to be.
struct Decided {
    response: Response,
    findings: Vec<Finding>,
    mode: Mode,
    /// Why no image was judged, though there are some.
    unjudged: Option<String>,
}

/// What was found about one image.
pub(crate) struct Finding {
    pub(crate) found: Found,
    pub(crate) kind: Kind,
    pub(crate) reason: String,
    /// As it would be verified by hand; none where that would not show the same.
    pub(crate) reference: Option<String>,
    /// What was verified.
    digest: Option<String>,
    /// What the image is by digest, in the words in which it was written.
    pub(crate) at: Option<String>,
    by: Option<By>,
    took: Duration,
}

impl Service {
    /// `/validate`.
    pub(crate) async fn validate(&self, request: Request, granted: Duration) -> Response {
        self.review(request, granted, Endpoint::Validate).await.0
    }

    /// The answer to a review, and what was found on the way.
    pub(crate) async fn review(
        &self,
        mut request: Request,
        granted: Duration,
        endpoint: Endpoint,
    ) -> (Response, Vec<Finding>) {
        let begun = Instant::now();
        let snapshot = self.policies.get();
        let subject = std::mem::replace(&mut request.subject, Subject::Nothing);
        let decide = self.decide(&snapshot, &request, subject, granted, endpoint);
        let decided = decide.await;
        let Decided {
            response,
            findings,
            mode,
            unjudged,
        } = decided;
        let answered = match response.allowed {
            true => Answered::Allowed,
            false => Answered::Refused,
        };
        self.metrics.answered(endpoint, answered, begun.elapsed());
        for finding in &findings {
            let about = json!({
                "uid": request.uid, "namespace": request.namespace, "kind": request.kind.kind, "name": request.name,
                "operation": request.operation, "allowed": response.allowed,
            });
            self.tell(finding, mode, &snapshot.version, about);
        }
        if let Some(why) = unjudged {
            let event = if response.allowed {
                "unjudged"
            } else {
                "refused"
            };
            self.write(&json!({
                "time": (self.now)().to_string(), "event": event, "uid": request.uid, "namespace": request.namespace,
                "kind": request.kind.kind, "name": request.name, "error": why,
            }));
        }
        (response, findings)
    }

    async fn decide(
        &self,
        snapshot: &Arc<Snapshot>,
        request: &Request,
        subject: Subject,
        granted: Duration,
        endpoint: Endpoint,
    ) -> Decided {
        let deadline = Instant::now() + granted;
        let settings = &snapshot.settings;
        let is_pod = request.is_pod();
        let judged = match subject {
            Subject::Images { images, secrets } => Ok((images, secrets)),
            Subject::TooMuch(what) => Err(what),
            Subject::Nothing => return Decided::nothing_to_judge(),
            Subject::NoPod => {
                return Decided::unjudged(
                    settings.mode,
                    format!(
                        "a {} has no images that hardsign knows of: take it out of the rules of this webhook",
                        escaped(&request.kind.kind)
                    ),
                );
            }
        };
        // Where no namespace could have it otherwise, nobody is asked.
        let Some(strictest) = settings.strictest().mode_of(is_pod) else {
            return Decided::nothing_to_judge();
        };
        let effective = match self.effective(snapshot, &request.namespace, deadline).await {
            Ok(effective) => effective,
            Err(reason) => {
                self.metrics
                    .cluster_failures
                    .fetch_add(1, Ordering::Relaxed);
                return Decided::unjudged(
                    strictest,
                    format!("the policy of the namespace is not known: {reason}"),
                );
            }
        };
        let Some(mode) = effective.mode_of(is_pod) else {
            return Decided::nothing_to_judge();
        };
        let (images, mut secrets) = match judged {
            Ok(judged) => judged,
            Err(what) => return Decided::unjudged(mode, what),
        };
        if !settings.pull_secrets {
            secrets.clear();
        }
        let case = Case {
            secrets,
            read: OnceCell::new(),
            effective,
            namespace: request.namespace.clone(),
            pinned: is_pod && mode == Mode::Enforce && matches!(endpoint, Endpoint::Validate),
            deadline,
            granted,
            snapshot: Arc::clone(snapshot),
        };
        let findings = self.judge_all(&case, images).await;
        Decided {
            response: answer(mode, &findings, &[]),
            findings,
            mode,
            unjudged: None,
        }
    }

    /// What holds in a namespace.
    async fn effective(
        &self,
        snapshot: &Snapshot,
        namespace: &str,
        deadline: Instant,
    ) -> Result<Effective, String> {
        let settings = &snapshot.settings;
        if !settings.needs_labels() || namespace.is_empty() {
            return Ok(settings.of(&BTreeMap::new()));
        }
        let cluster = self
            .cluster
            .as_ref()
            .ok_or("this server was not told how to reach the API server")?;
        let labels = cluster.labels(namespace, deadline).await;
        let labels = labels.ok_or("the API server did not answer in time")??;
        Ok(settings.of(&labels))
    }

    /// Judges images, some at a time.
    pub(crate) async fn judge_all(&self, case: &Case, found: Vec<Found>) -> Vec<Finding> {
        let judged = stream::iter(found).map(|found| self.judge(case, found));
        judged.buffered(AT_ONCE).collect().await
    }

    async fn judge(&self, case: &Case, found: Found) -> Finding {
        let begun = Instant::now();
        let mut finding = Finding {
            found,
            kind: Kind::Refused,
            reason: String::new(),
            reference: None,
            digest: None,
            at: None,
            by: None,
            took: Duration::ZERO,
        };
        (finding.kind, finding.reason) = self.find(case, &mut finding).await;
        finding.took = begun.elapsed();
        self.metrics.verdict(finding.kind, finding.by);
        finding
    }

    async fn find(&self, case: &Case, finding: &mut Finding) -> (Kind, String) {
        let image = match Image::parse(&finding.found.image) {
            Ok(image) => image,
            Err(fault) => {
                return (
                    Kind::Refused,
                    format!("it is no reference that can be used: {fault}"),
                );
            }
        };
        let mut note = String::new();
        match case
            .snapshot
            .settings
            .exception(&image, &case.namespace, (self.now)())
        {
            Excepted::Holds(exception) => {
                let why = match exception.reason.is_empty() {
                    true => String::new(),
                    false => format!(": {}", escaped(&exception.reason)),
                };
                let text = format!(
                    "not verified: excepted until {} by {}{why}",
                    exception.until,
                    escaped(&exception.owner)
                );
                return (Kind::Excepted, text);
            }
            Excepted::Ended(exception) => {
                note = format!(
                    "; an exception for it by {} ended ({})",
                    escaped(&exception.owner),
                    exception.until
                );
            }
            Excepted::No => {}
        }
        if image.digest.is_none() && case.pinned {
            let text = "it is named without a digest, so that what is verified need not be what is pulled: write it as <repository>@sha256:<digest>";
            return (Kind::Refused, format!("{text}{note}"));
        }
        let (kind, reason) = self.verify(case, &image, finding).await;
        (kind, format!("{reason}{note}"))
    }

    async fn verify(&self, case: &Case, image: &Image, finding: &mut Finding) -> (Kind, String) {
        let late = || {
            let seconds = case.granted.as_secs_f64();
            (
                Kind::Undecided,
                format!("no verdict within {seconds:.1} s; the verification goes on, so try again"),
            )
        };
        let policy = case.effective.policy.as_deref();
        if let Some(verdict) = beforehand(&case.snapshot, policy, image) {
            finding.reference = Some(image.reference());
            return told(&verdict);
        }
        let secret = self.pull_secret(case, image);
        let secret = match tokio::time::timeout_at(case.deadline, secret).await {
            Ok(Ok(secret)) => secret,
            Ok(Err(reason)) => return (Kind::Undecided, escaped(&reason)),
            Err(_) => return late(),
        };
        finding.reference = Some(image.reference());
        let digest: Digest = match &image.digest {
            Some(digest) => digest.clone(),
            None => {
                let resolved = self.engine.resolve(image, secret.as_ref(), case.deadline);
                let Some((by, resolved)) = resolved.await else {
                    return late();
                };
                self.metrics.tag(by);
                match resolved {
                    Ok(digest) => digest,
                    Err(reason) => return (Kind::Undecided, reason),
                }
            }
        };
        finding.reference = Some(format!("{}@{digest}", image.repository));
        finding.digest = Some(digest.to_string());
        finding.at = Some(image.at(&digest));
        let question = Question {
            snapshot: &case.snapshot,
            policy,
            image,
            digest: &digest,
            secret: secret.as_ref(),
        };
        let Ok(asked) = self.engine.ask(&question) else {
            return (
                Kind::Undecided,
                "too many verifications wait; try again".to_owned(),
            );
        };
        finding.by = Some(asked.by);
        match asked.verdict(case.deadline).await {
            None => late(),
            Some(verdict) => told(&verdict),
        }
    }

    /// What the pod's secrets have for an image.
    async fn pull_secret(&self, case: &Case, image: &Image) -> Result<Option<PullSecret>, String> {
        let Some(cluster) = self.cluster.as_ref().filter(|_| !case.secrets.is_empty()) else {
            return Ok(None);
        };
        let read = || async {
            let read = cluster.pull_secrets(&case.namespace, &case.secrets).await;
            if read.is_err() {
                let failures = &self.metrics.cluster_failures;
                failures.fetch_add(1, Ordering::Relaxed);
            }
            read
        };
        match case.read.get_or_init(read).await {
            Ok(secrets) => secrets.for_image(&image.repository),
            Err(reason) => Err(reason.clone()),
        }
    }

    /// Writes a line of the log.
    pub(crate) fn write(&self, line: &Value) {
        self.metrics.logged((self.log)(line));
    }

    /// One line for one verdict.
    pub(crate) fn tell(&self, finding: &Finding, mode: Mode, policy: &str, about: Value) {
        let mode = match mode {
            Mode::Enforce => "enforce",
            Mode::Warn => "warn",
            Mode::Audit => "audit",
        };
        let mut line = json!({"time": (self.now)().to_string(), "event": "verdict"});
        if let (Value::Object(line), Value::Object(about)) = (&mut line, about) {
            line.extend(about);
            let millis = u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX);
            let good = finding.kind.is_good();
            for (member, value) in [
                ("place", json!(finding.found.place)),
                (
                    "reference",
                    json!(cut(finding.found.image.clone(), MAX_SHOWN)),
                ),
                ("digest", json!(finding.digest)),
                ("outcome", json!(finding.kind.name())),
                ("error", json!((!good).then_some(&finding.reason))),
                ("detail", json!(good.then_some(&finding.reason))),
                ("mode", json!(mode)),
                ("by", json!(finding.by.map(By::name))),
                ("milliseconds", json!(millis)),
                ("policy", json!(policy)),
            ] {
                line.insert(member.to_owned(), value);
            }
        }
        self.write(&line);
    }
}

impl Decided {
    fn nothing_to_judge() -> Self {
        Self {
            response: Response::allowed(),
            findings: Vec::new(),
            mode: Mode::Enforce,
            unjudged: None,
        }
    }

    /// What the mode makes of an object that can't be judged.
    fn unjudged(mode: Mode, why: String) -> Self {
        Self {
            response: answer(mode, &[], std::slice::from_ref(&why)),
            findings: Vec::new(),
            mode,
            unjudged: Some(why),
        }
    }
}

impl Finding {
    /// For people: which image, what is wrong, and how to see it again.
    pub(crate) fn told(&self) -> String {
        let image = cut(escaped(&self.found.image), MAX_SHOWN);
        let again = match (&self.reference, self.kind) {
            (Some(reference), Kind::Refused | Kind::Undecided) => {
                format!(" (`hardsign verify {reference}` shows it again)")
            }
            _ => String::new(),
        };
        format!(
            "{} {image}: {}{again}",
            escaped(&self.found.place),
            self.reason
        )
    }
}

/// What follows from what was found.
fn answer(mode: Mode, findings: &[Finding], faults: &[String]) -> Response {
    let bad = findings.iter().filter(|finding| !finding.kind.is_good());
    let bad: Vec<String> = bad
        .map(Finding::told)
        .chain(faults.iter().cloned())
        .collect();
    let excepted = findings
        .iter()
        .filter(|finding| finding.kind == Kind::Excepted)
        .map(Finding::told);
    let mut response = match (mode, bad.is_empty()) {
        (Mode::Enforce, false) => Response::refused(cut(bad.join("; "), MAX_MESSAGE)),
        (Mode::Warn, false) => Response::allowed().warning(
            bad.iter()
                .map(|text| format!("hardsign would refuse {text}")),
        ),
        _ => Response::allowed(),
    };
    if mode != Mode::Audit {
        response = response.warning(excepted.map(|text| format!("hardsign: {text}")));
    }
    if !findings.is_empty() {
        let each = findings
            .iter()
            .map(|finding| format!("{}: {}", finding.found.image, finding.kind.name()));
        let all = cut(escaped(&each.collect::<Vec<_>>().join("; ")), MAX_SHOWN);
        response.audit_annotations.insert("verdicts", all);
    }
    if !bad.is_empty() {
        response
            .audit_annotations
            .insert("reasons", cut(bad.join("; "), MAX_MESSAGE));
    }
    response
}

/// A verdict in words.
fn told(verdict: &Verdict) -> (Kind, String) {
    match verdict {
        Verdict::Verified { statement } => {
            (Kind::Verified, format!("statement {}", escaped(statement)))
        }
        Verdict::Skipped { statement } => (
            Kind::Skipped,
            format!(
                "not verified: statement {} skips verification",
                escaped(statement)
            ),
        ),
        Verdict::Refused(reason) => (Kind::Refused, reason.clone()),
        Verdict::Undecided(reason) => (Kind::Undecided, reason.clone()),
    }
}

/// Images of one object that are judged at a time: whoever has more holds no more memory.
const AT_ONCE: usize = 32;
/// Longest reference that is shown.
const MAX_SHOWN: usize = 1000;
/// Longest message.
const MAX_MESSAGE: usize = 4000;
