//! CRLs and OCSP responses that keep every rule, or break any one of them (RFC 5280 §5, RFC 6960),
//! and a server for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};

use crate::asn1::{bit_string, integer, oid, sequence, time, tlv};
use crate::certificate::{Issued, now};
use crate::key::X509Scheme;
use crate::registry::{Behaviour, Body, FakeRegistry, Request, Response};

/// cRLNumber
pub const CRL_NUMBER: &str = "2.5.29.20";
/// reasonCode
pub const REASON_CODE: &str = "2.5.29.21";
/// invalidityDate
pub const INVALIDITY_DATE: &str = "2.5.29.24";
/// deltaCRLIndicator
pub const DELTA_CRL_INDICATOR: &str = "2.5.29.27";
/// issuingDistributionPoint
pub const ISSUING_DISTRIBUTION_POINT: &str = "2.5.29.28";
/// cRLDistributionPoints
pub const CRL_DISTRIBUTION_POINTS: &str = "2.5.29.31";
/// freshestCRL
pub const FRESHEST_CRL: &str = "2.5.29.46";
/// id-kp-OCSPSigning
pub const OCSP_SIGNING: &str = "1.3.6.1.5.5.7.3.9";
/// id-pkix-ocsp-nocheck
pub const OCSP_NOCHECK: &str = "1.3.6.1.5.5.7.48.1.5";
/// Type, critical, DER value.
pub type Extension = (&'static str, bool, Vec<u8>);

/// A CRL to be: change what a test needs, then [`Crl::sign`].
#[derive(Clone, Debug)]
pub struct Crl {
    /// DER of the version; empty for v1.
    pub version: Vec<u8>,
    /// DER of the issuer.
    pub issuer: Vec<u8>,
    /// When it was made.
    pub this_update: Timestamp,
    /// When it expires.
    pub next_update: Option<Timestamp>,
    /// DER of the entries.
    pub entries: Vec<Vec<u8>>,
    /// Extensions in their order.
    pub extensions: Vec<Extension>,
    /// How it is signed.
    pub scheme: X509Scheme,
    /// AlgorithmIdentifier inside and outside, if another than the signature's own.
    pub algorithm: Option<Vec<u8>>,
    /// AlgorithmIdentifier outside, if another than inside.
    pub outer_algorithm: Option<Vec<u8>>,
}

impl Crl {
    /// A CRL of this issuer with number 5, an hour old, good for a week, without entries.
    pub fn of(issuer: &Issued) -> Self {
        Self {
            version: integer(1),
            issuer: issuer.subject.clone(),
            this_update: ago(3600),
            next_update: Some(ago(-7 * 24 * 3600)),
            entries: Vec::new(),
            extensions: vec![(CRL_NUMBER, false, integer(5))],
            scheme: X509Scheme::Usual,
            algorithm: None,
            outer_algorithm: None,
        }
    }

    /// A delta with number 6 to the base with number 5.
    pub fn delta_of(issuer: &Issued) -> Self {
        Self::of(issuer).with(CRL_NUMBER, false, integer(6)).with(
            DELTA_CRL_INDICATOR,
            true,
            integer(5),
        )
    }

    /// Lists a serial number (in DER), perhaps for a reason.
    #[must_use]
    pub fn lists(self, serial: &[u8], reason: Option<u8>) -> Self {
        let extensions = reason.map(reason_code);
        self.entry(serial, ago(7200), &Vec::from_iter(extensions))
    }

    /// Lists a serial number with a date and extensions.
    #[must_use]
    pub fn entry(mut self, serial: &[u8], date: Timestamp, extensions: &[Extension]) -> Self {
        let list = if extensions.is_empty() {
            Vec::new()
        } else {
            extension_list(extensions)
        };
        self.entries.push(sequence(&[serial, &time(date), &list]));
        self
    }

    /// Sets an extension, in its old place if it is there already.
    #[must_use]
    pub fn with(mut self, dotted: &'static str, critical: bool, value: Vec<u8>) -> Self {
        let extension = (dotted, critical, value);
        match self.extensions.iter_mut().find(|(d, ..)| *d == dotted) {
            Some(old) => *old = extension,
            None => self.extensions.push(extension),
        }
        self
    }

    /// Removes an extension.
    #[must_use]
    pub fn without(mut self, dotted: &str) -> Self {
        self.extensions.retain(|(d, ..)| *d != dotted);
        self
    }

    /// Any other change.
    #[must_use]
    pub fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The DER, signed by this key.
    pub fn sign(&self, by: &Issued) -> Vec<u8> {
        self.seal(&self.tbs(by), by)
    }

    /// What is signed, for the algorithm of this key.
    pub fn tbs(&self, by: &Issued) -> Vec<u8> {
        let extensions = if self.extensions.is_empty() {
            Vec::new()
        } else {
            tlv(0xa0, &extension_list(&self.extensions))
        };
        let entries = if self.entries.is_empty() {
            Vec::new()
        } else {
            tlv(0x30, &self.entries.concat())
        };
        sequence(&[
            &self.version,
            &self.algorithm_of(by),
            &self.issuer,
            &time(self.this_update),
            &self.next_update.map(time).unwrap_or_default(),
            &entries,
            &extensions,
        ])
    }

    /// Signs anything as if it were the content of this CRL.
    pub fn seal(&self, tbs: &[u8], by: &Issued) -> Vec<u8> {
        let (_, signature) = by.key.sign_x509(tbs, self.scheme);
        let outer = self.outer_algorithm.clone();
        let outer = outer.unwrap_or_else(|| self.algorithm_of(by));
        sequence(&[tbs, &outer, &bit_string(&signature)])
    }

    fn algorithm_of(&self, by: &Issued) -> Vec<u8> {
        let own = || by.key.sign_x509(&[], self.scheme).0;
        self.algorithm.clone().unwrap_or_else(own)
    }
}

/// An OCSP response to be: change what a test needs, then [`Ocsp::sign`].
#[derive(Clone, Debug)]
pub struct Ocsp {
    /// responseStatus.
    pub response_status: u8,
    /// DER of the responderID.
    pub responder_id: Vec<u8>,
    /// producedAt.
    pub produced_at: Timestamp,
    /// The statements.
    pub singles: Vec<Single>,
    /// responseExtensions.
    pub extensions: Vec<Extension>,
    /// DER certificates that come with it.
    pub certificates: Vec<Vec<u8>>,
    /// How it is signed.
    pub scheme: X509Scheme,
    /// AlgorithmIdentifier, if another than the signature's own.
    pub algorithm: Option<Vec<u8>>,
}

/// A statement about one certificate.
#[derive(Clone, Debug)]
pub struct Single {
    /// DER of the hash's AlgorithmIdentifier.
    pub hash: Vec<u8>,
    /// issuerNameHash.
    pub issuer_name: Vec<u8>,
    /// issuerKeyHash.
    pub issuer_key: Vec<u8>,
    /// DER of the serial number.
    pub serial: Vec<u8>,
    /// DER of the status.
    pub status: Vec<u8>,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate.
    pub next_update: Option<Timestamp>,
    /// singleExtensions.
    pub extensions: Vec<Extension>,
}

impl Single {
    /// "good", an hour old, for another day.
    pub fn good(serial: &[u8], issuer: &Issued) -> Self {
        Self {
            hash: sequence(&[&oid("1.3.14.3.2.26"), &tlv(5, &[])]),
            issuer_name: sha1(&issuer.subject),
            issuer_key: sha1(&key_bits(issuer.key.spki)),
            serial: serial.to_vec(),
            status: tlv(0x80, &[]),
            this_update: ago(3600),
            next_update: Some(ago(-24 * 3600)),
            extensions: Vec::new(),
        }
    }

    /// "revoked", perhaps for a reason.
    #[must_use]
    pub fn revoked(mut self, reason: Option<u8>) -> Self {
        let reason = reason.map(|reason| tlv(0xa0, &tlv(0x0a, &[reason])));
        let content = [generalized(ago(7200)), reason.unwrap_or_default()].concat();
        self.status = tlv(0xa1, &content);
        self
    }

    /// "unknown".
    #[must_use]
    pub fn unknown(mut self) -> Self {
        self.status = tlv(0x82, &[]);
        self
    }

    /// Any other change.
    #[must_use]
    pub fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn der(&self) -> Vec<u8> {
        let id = sequence(&[
            &self.hash,
            &tlv(4, &self.issuer_name),
            &tlv(4, &self.issuer_key),
            &self.serial,
        ]);
        let next = self.next_update.map(|t| tlv(0xa0, &generalized(t)));
        let extensions = if self.extensions.is_empty() {
            Vec::new()
        } else {
            tlv(0xa1, &extension_list(&self.extensions))
        };
        sequence(&[
            &id,
            &self.status,
            &generalized(self.this_update),
            &next.unwrap_or_default(),
            &extensions,
        ])
    }
}

impl Ocsp {
    /// A response with these statements, by name of its signer.
    pub fn of(singles: &[Single], responder: &Issued) -> Self {
        Self {
            response_status: 0,
            responder_id: tlv(0xa1, &responder.subject),
            produced_at: ago(60),
            singles: singles.to_vec(),
            extensions: Vec::new(),
            certificates: Vec::new(),
            scheme: X509Scheme::Usual,
            algorithm: None,
        }
    }

    /// Any other change.
    #[must_use]
    pub fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The response with the certificate of its signer.
    #[must_use]
    pub fn carrying(mut self, certificate: &Issued) -> Self {
        self.certificates.push(certificate.der.clone());
        self
    }

    /// The DER, signed by this key.
    pub fn sign(&self, by: &Issued) -> Vec<u8> {
        self.seal(&self.data(), by)
    }

    /// What is signed.
    pub fn data(&self) -> Vec<u8> {
        let singles: Vec<_> = self.singles.iter().map(Single::der).collect();
        let extensions = if self.extensions.is_empty() {
            Vec::new()
        } else {
            tlv(0xa1, &extension_list(&self.extensions))
        };
        sequence(&[
            &self.responder_id,
            &generalized(self.produced_at),
            &tlv(0x30, &singles.concat()),
            &extensions,
        ])
    }

    /// Signs anything as if it were the content of this response.
    pub fn seal(&self, data: &[u8], by: &Issued) -> Vec<u8> {
        let (own_algorithm, signature) = by.key.sign_x509(data, self.scheme);
        let algorithm = self.algorithm.as_ref().unwrap_or(&own_algorithm);
        let certificates = if self.certificates.is_empty() {
            Vec::new()
        } else {
            tlv(0xa0, &tlv(0x30, &self.certificates.concat()))
        };
        let basic = sequence(&[data, algorithm, &bit_string(&signature), &certificates]);
        let bytes = sequence(&[&oid("1.3.6.1.5.5.7.48.1.1"), &tlv(4, &basic)]);
        sequence(&[&tlv(0x0a, &[self.response_status]), &tlv(0xa0, &bytes)])
    }
}

/// A response without content: only a status.
pub fn ocsp_failure(status: u8) -> Vec<u8> {
    sequence(&[&tlv(0x0a, &[status])])
}

/// The moment so many seconds before [`now`], or after it.
pub fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

/// reasonCode
pub fn reason_code(reason: u8) -> Extension {
    (REASON_CODE, false, tlv(0x0a, &[reason]))
}

/// invalidityDate
pub fn invalidity_date(date: Timestamp) -> Extension {
    (INVALIDITY_DATE, false, generalized(date))
}

/// The value of cRLDistributionPoints or freshestCRL: the addresses of each point, and its reasons
/// as a whole `[1]` element, if it is limited to some.
pub fn distribution_points(points: &[(&[&str], Option<Vec<u8>>)]) -> Vec<u8> {
    let points: Vec<_> = points
        .iter()
        .map(|(urls, reasons)| {
            let names: Vec<_> = urls.iter().map(|url| tlv(0x86, url.as_bytes())).collect();
            let name = tlv(0xa0, &tlv(0xa0, &names.concat()));
            sequence(&[&name, reasons.as_deref().unwrap_or_default()])
        })
        .collect();
    tlv(0x30, &points.concat())
}

/// The fields of an issuingDistributionPoint, each a whole element.
pub fn issuing_distribution_point(fields: &[&[u8]]) -> Extension {
    (ISSUING_DISTRIBUTION_POINT, true, sequence(fields))
}

/// `distributionPoint [0]` of an issuingDistributionPoint.
pub fn point_name(url: &str) -> Vec<u8> {
    tlv(0xa0, &tlv(0xa0, &tlv(0x86, url.as_bytes())))
}

/// `GeneralizedTime`
pub fn generalized(time: Timestamp) -> Vec<u8> {
    tlv(0x18, time.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
}

fn extension_list(extensions: &[Extension]) -> Vec<u8> {
    let list: Vec<_> = extensions
        .iter()
        .map(|(dotted, critical, value)| {
            let critical = critical.then(|| tlv(1, &[0xff])).unwrap_or_default();
            sequence(&[&oid(dotted), &critical, &tlv(4, value)])
        })
        .collect();
    tlv(0x30, &list.concat())
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes)
        .as_ref()
        .to_vec()
}

/// The content of the BIT STRING in a SubjectPublicKeyInfo.
fn key_bits(spki: &[u8]) -> Vec<u8> {
    use der::asn1::{AnyRef, BitStringRef};
    use der::{Decode as _, Reader as _, SliceReader};
    let content = AnyRef::try_from(spki).unwrap().value();
    let mut reader = SliceReader::new(content).unwrap();
    reader.tlv_bytes().unwrap();
    let bits = BitStringRef::decode(&mut reader).unwrap();
    bits.raw_bytes().to_vec()
}

/// What is served under a path.
type Page = Box<dyn Fn() -> Response + Send + Sync>;

/// An HTTP server of CRLs and OCSP responses, on a port of its own: its address is known before
/// the certificates that name it. A path also stands for everything below it.
pub struct Publisher {
    server: FakeRegistry,
    pages: Arc<Mutex<HashMap<String, Page>>>,
}

impl Publisher {
    /// Starts a server that has nothing yet.
    pub fn start() -> Self {
        let pages: Arc<Mutex<HashMap<String, Page>>> = Arc::default();
        let served = Arc::clone(&pages);
        let intercept = move |request: &Request| {
            let pages = served.lock().unwrap_or_else(PoisonError::into_inner);
            let first = request.path.split('/').nth(1).unwrap_or_default();
            Some(match pages.get(&format!("/{first}")) {
                Some(page) => page(),
                None => Response::status(404),
            })
        };
        let server = FakeRegistry::start(Behaviour {
            intercept: Some(Box::new(intercept)),
            ..Behaviour::default()
        });
        Self { server, pages }
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url())
    }

    /// Serves these bytes.
    pub fn serve(&self, path: &str, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.answer(path, move || Response::bytes(200, bytes.clone()));
    }

    /// Serves a body of any kind.
    pub fn body(&self, path: &str, body: impl Fn() -> Body + Send + Sync + 'static) {
        self.answer(path, move || Response::status(200).body(body()));
    }

    /// Serves any answer.
    pub fn answer(&self, path: &str, page: impl Fn() -> Response + Send + Sync + 'static) {
        self.pages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path.to_owned(), Box::new(page));
    }

    /// What was asked so far: method and first part of the path.
    pub fn requests(&self) -> Vec<String> {
        let log = self.server.log();
        log.iter()
            .map(|l| {
                let first = l.path.split('/').nth(1).unwrap_or_default();
                format!("{} /{first}", l.method)
            })
            .collect()
    }

    /// Forgets what was asked.
    pub fn clear(&self) {
        self.server.clear_log();
    }
}
