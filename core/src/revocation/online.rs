//! The checker that asks: OCSP responders, then CRLs (REV-01 to REV-12, REV-19, REV-28, REV-29,
//! REV-32).
//!
//! Certificates of a chain are checked at once, and each to its end, whatever becomes of the others
//! (REV-09). What the answers mean is decided in [`super::ocsp`] and [`super::crl`].

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::Instant;

use super::attempt::{Attempt, MAX_POINTS, ServerError};
use super::bundles::{Bundles, Wanted};
use super::crl::{CrlError, Verdict};
use super::fetch::Fetcher;
use super::ocsp::{self, OcspAnswer, OcspStatus};
use super::points::{DistributionPoint, Reasons, distribution_points};
use super::shared::{Found, Shared};
use super::{
    Checked, Checker, Inquiry, Method, RevocationServer, Status, Unknown, names_addresses,
};
use crate::budget::apart;
use crate::event::{Event, Observer};
use crate::net::ClientOptions;
use crate::x509::Certificate;

/// Most responders that are asked about one certificate (REV-12).
const MAX_RESPONDERS: usize = 8;
/// Most addresses of one distribution point that are tried (REV-12).
const MAX_URLS: usize = 8;
/// Certificates of which a checker remembers what it knows.
const REMEMBERED: usize = 10_000;

/// Asks OCSP responders and fetches CRLs.
///
/// It remembers each certificate's status until the answer expires, and CRLs too, so that a batch
/// asks once: make a new one for each run. Nothing is asked before it is needed.
// REV-29
pub struct Online {
    total: Duration,
    fetcher: Fetcher,
    bundles: Bundles,
    known: Shared<OutcomeKey, Arc<Outcome>>,
}

/// How to make an [`Online`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OnlineOptions {
    /// The client. Its limits apply beside those here.
    pub client: ClientOptions,
    /// The directory of the CRL cache; none for no cache on disk.
    // REV-47
    pub cache: Option<PathBuf>,
    /// Time for one OCSP request.
    // REV-14
    pub ocsp_timeout: Duration,
    /// Time for one CRL.
    // REV-31
    pub crl_timeout: Duration,
    /// Time for all certificates of a chain together.
    // REV-12
    pub total: Duration,
}

/// A certificate, its issuer, and the time that a signing authority vouches for.
type OutcomeKey = ([u8; 32], [u8; 32], Option<Timestamp>);

/// What is known about a certificate, and how that came to be.
struct Outcome {
    checked: Checked,
    attempts: Vec<Attempt>,
    fell_back: bool,
}

/// A good answer.
struct Known {
    revoked: bool,
    revoked_at: Option<Timestamp>,
    source: RevocationServer,
    valid_until: Timestamp,
}

/// What one check works with.
#[derive(Clone, Copy)]
struct Question<'a> {
    certificate: &'a Certificate,
    issuer: &'a Certificate,
    authentic_signing_time: Option<Timestamp>,
    now: Timestamp,
    observer: &'a dyn Observer,
}

impl Default for OnlineOptions {
    fn default() -> Self {
        Self {
            client: ClientOptions::default(),
            cache: None,
            ocsp_timeout: Duration::from_secs(2),
            crl_timeout: Duration::from_secs(5),
            total: Duration::from_secs(30),
        }
    }
}

impl Online {
    /// A checker that has asked nobody yet.
    pub fn new(options: OnlineOptions) -> Self {
        Self {
            total: options.total,
            fetcher: Fetcher::new(options.client, options.ocsp_timeout, options.crl_timeout),
            bundles: Bundles::new(options.cache),
            known: Shared::new(REMEMBERED),
        }
    }

    async fn outcome(&self, question: Question<'_>) -> Arc<Outcome> {
        let key = (
            question.certificate.thumbprint(),
            question.issuer.thumbprint(),
            question.authentic_signing_time,
        );
        self.known.get(key, question.now, self.find(question)).await
    }

    /// OCSP, and CRLs where no responder knows (REV-03).
    async fn find(&self, question: Question<'_>) -> Found<Arc<Outcome>> {
        let mut attempts = Vec::new();
        let mut known = None;
        let mut fell_back = false;
        if !question.certificate.ocsp_urls().is_empty() {
            known = self.by_ocsp(question, &mut attempts).await;
            fell_back = known.is_none() && !question.certificate.crl_urls().is_empty();
        }
        if known.is_none() && !question.certificate.crl_urls().is_empty() {
            known = self.by_crl(question, &mut attempts).await;
        }
        let until = known.as_ref().map(|known| known.valid_until);
        let checked = match known {
            Some(known) => Checked {
                status: if known.revoked {
                    Status::Revoked
                } else {
                    Status::Good
                },
                source: Some(known.source),
                revoked_at: known.revoked_at,
            },
            None => Status::Unknown(Unknown::NoAnswer {
                attempts: attempts.clone(),
            })
            .into(),
        };
        Found {
            value: Arc::new(Outcome {
                checked,
                attempts,
                fell_back,
            }),
            until,
            weight: 1,
        }
    }

    /// Asks the responders in order; the first that gives a valid answer is the last (REV-19).
    async fn by_ocsp(&self, question: Question<'_>, attempts: &mut Vec<Attempt>) -> Option<Known> {
        for url in question.certificate.ocsp_urls().iter().take(MAX_RESPONDERS) {
            let source = RevocationServer {
                method: Method::Ocsp,
                url: url.clone(),
            };
            let error = match self.ask(url, question).await {
                Ok(answer) => {
                    let error = match answer.status {
                        OcspStatus::Good => None,
                        OcspStatus::Unknown => Some(ServerError::UnknownStatus),
                        OcspStatus::Revoked => Some(ServerError::Revoked {
                            method: source.method,
                        }),
                    };
                    attempts.extend(error.map(|error| Attempt {
                        source: source.clone(),
                        error: Arc::new(error),
                    }));
                    return (answer.status != OcspStatus::Unknown).then_some(Known {
                        revoked: answer.status == OcspStatus::Revoked,
                        revoked_at: answer.revoked_at,
                        source,
                        valid_until: answer.valid_until,
                    });
                }
                Err(error) => Arc::new(error),
            };
            attempts.push(Attempt { source, error });
        }
        None
    }

    /// Asks one responder. Where its own certificate has to be checked, that is done by CRL alone,
    /// so that no responder vouches for another (REV-28).
    async fn ask(&self, url: &str, question: Question<'_>) -> Result<OcspAnswer, ServerError> {
        let Question {
            certificate,
            issuer,
            ..
        } = question;
        let request = ocsp::request(certificate, issuer)?;
        let response = self.fetcher.ocsp(url, &request).await?;
        let signed = question.authentic_signing_time;
        let mut answer = ocsp::judge(&response, certificate, issuer, signed, question.now)?;
        let Some(responder) = answer.to_check.take() else {
            return Ok(answer);
        };
        let mut attempts = Vec::new();
        let question = Question {
            certificate: &responder,
            authentic_signing_time: None,
            ..question
        };
        let subject = responder.subject().quoted();
        match self.by_crl(question, &mut attempts).await {
            Some(known) if known.revoked => {
                Err(ServerError::ResponderRevoked { responder: subject })
            }
            Some(known) => {
                answer.valid_until = answer.valid_until.min(known.valid_until);
                Ok(answer)
            }
            None => Err(ServerError::ResponderUnknown {
                responder: subject,
                attempts,
            }),
        }
    }

    /// Looks the certificate up at all of its distribution points, at each under the first address
    /// that works (REV-32). One that lists it is enough, the others must all say that they don't.
    async fn by_crl(&self, question: Question<'_>, attempts: &mut Vec<Attempt>) -> Option<Known> {
        let first = question.certificate.crl_urls().first()?;
        let source = |url: &str| RevocationServer {
            method: Method::Crl,
            url: url.to_owned(),
        };
        let mut fail = |url: &str, error| {
            attempts.push(Attempt {
                source: source(url),
                error,
            });
        };
        // The certificate was parsed, and its addresses with it; and yet.
        let points = match distribution_points(question.certificate).map_err(CrlError::from) {
            Ok(points) if points.len() > MAX_POINTS => Err(ServerError::TooManyPoints),
            Ok(points) => Ok(points),
            Err(error) => Err(error.into()),
        };
        let points = points.map_err(|error| fail(first, Arc::new(error))).ok()?;
        let mut reasons = Reasons::NONE;
        let mut valid_until = Timestamp::MAX;
        let mut unanswered = false;
        for point in &points {
            let mut answered = false;
            for url in point.urls().iter().take(MAX_URLS) {
                match self.look_up(url, point, question).await {
                    Ok(verdict) if verdict.revoked => {
                        let method = Method::Crl;
                        fail(url, Arc::new(ServerError::Revoked { method }));
                        return Some(Known {
                            revoked: true,
                            revoked_at: verdict.revoked_at,
                            source: source(url),
                            valid_until: verdict.valid_until,
                        });
                    }
                    Ok(verdict) => {
                        reasons = reasons.or(verdict.reasons);
                        valid_until = valid_until.min(verdict.valid_until);
                        answered = true;
                        break;
                    }
                    Err(error) => fail(url, error),
                }
            }
            unanswered |= !answered;
        }
        if unanswered {
            return None;
        }
        if reasons != Reasons::ALL {
            fail(first, Arc::new(ServerError::ReasonsLeftOut));
            return None;
        }
        Some(Known {
            revoked: false,
            revoked_at: None,
            source: source(first),
            valid_until,
        })
    }

    async fn look_up(
        &self,
        url: &str,
        point: &DistributionPoint,
        question: Question<'_>,
    ) -> Result<Verdict, Arc<ServerError>> {
        let Question {
            certificate,
            issuer,
            authentic_signing_time,
            now,
            observer,
        } = question;
        let wanted = Wanted {
            fetcher: &self.fetcher,
            url,
            issuer,
            certificate,
            point,
            now,
            observer,
        };
        let bundle = self.bundles.get(wanted).await?;
        let (certificate, point) = (certificate.clone(), point.clone());
        apart(move || bundle.judge(&certificate, &point, authentic_signing_time, now))
            .await
            .map_err(|error| Arc::new(error.into()))
    }
}

#[async_trait]
impl Checker for Online {
    async fn check(&self, inquiry: Inquiry<'_>) -> Vec<Checked> {
        let Inquiry {
            certificates,
            authentic_signing_time,
            now,
            observer,
        } = inquiry;
        let deadline = Instant::now() + self.total;
        let checks = certificates.windows(2).map(async |pair| {
            let [certificate, issuer] = pair else {
                return None;
            };
            if !names_addresses(certificate) {
                return None;
            }
            let question = Question {
                certificate,
                issuer,
                authentic_signing_time,
                now,
                observer,
            };
            let outcome = tokio::time::timeout_at(deadline, self.outcome(question)).await;
            Some(outcome.unwrap_or_else(|_| Arc::new(Outcome::too_late(self.total))))
        });
        let mut outcomes = join_all(checks).await;
        // The root can't be revoked (REV-01).
        outcomes.push(None);
        let last = certificates.len().saturating_sub(1);
        // Told in the order of the reference, from the root on.
        for (i, (certificate, outcome)) in certificates.iter().zip(&outcomes).enumerate().rev() {
            let (position, subject) = (i.saturating_add(1), certificate.subject().to_string());
            let subject = subject.as_str();
            match outcome {
                Some(outcome) => outcome.tell(position, subject, observer),
                None if i != last => observer.observe(&Event::NotRevocable { position, subject }),
                None => {}
            }
        }
        let checked = |outcome: Option<Arc<Outcome>>| match outcome {
            Some(outcome) => outcome.checked.clone(),
            None => Status::NotRevocable.into(),
        };
        outcomes.into_iter().map(checked).collect()
    }
}

impl Outcome {
    fn too_late(after: Duration) -> Self {
        Self {
            checked: Status::Unknown(Unknown::TimeLimit { after }).into(),
            attempts: Vec::new(),
            fell_back: false,
        }
    }

    fn tell(&self, position: usize, subject: &str, observer: &dyn Observer) {
        if self.fell_back {
            observer.observe(&Event::CrlFallback { position, subject });
        }
        let good = matches!(self.checked.status, Status::Good);
        for attempt in &self.attempts {
            let ocsp = attempt.source.method == Method::Ocsp;
            observer.observe(&Event::RevocationServer {
                position,
                subject,
                method: attempt.source.method.name(),
                url: &attempt.source.url,
                error: &attempt.error,
                made_up_for: good || (self.fell_back && ocsp),
            });
        }
    }
}

impl fmt::Debug for Online {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Online")
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}
