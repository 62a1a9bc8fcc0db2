//! Certificates that keep every rule, or break any one of them.

use hardsign_plugin::algorithm::KeySpec;
use jiff::Timestamp;

use crate::asn1::{self, bit_string, integer, named_bits, oid, sequence, tlv};
use crate::key::{Key, X509Scheme};

/// A certificate to be: change what a test needs, then [`Builder::issue`].
#[derive(Clone, Debug)]
pub struct Builder {
    /// 0 for v1, 2 for v3.
    pub version: u8,
    /// DER of the serial number.
    pub serial: Vec<u8>,
    /// DER of the subject.
    pub subject: Vec<u8>,
    /// DER of the issuer, if another than the subject of the one who signs.
    pub issuer: Option<Vec<u8>>,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// DER SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
    /// Extensions in their order: type, critical, DER value.
    pub extensions: Vec<(String, bool, Vec<u8>)>,
    /// How the certificate is signed.
    pub scheme: X509Scheme,
    /// AlgorithmIdentifier outside the signed part, if another than inside.
    pub outer_algorithm: Option<Vec<u8>>,
    /// AlgorithmIdentifier inside and outside, if another than the signature's own.
    pub algorithm: Option<Vec<u8>>,
    /// Whether the last byte of the signature is changed.
    pub bad_signature: bool,
}

/// A certificate with its private key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// DER of the certificate.
    pub der: Vec<u8>,
    /// DER of its subject.
    pub subject: Vec<u8>,
    /// Its key.
    pub key: Key,
}

/// A root, an issuing CA and signers of every kind.
#[derive(Clone, Debug)]
pub struct Pki {
    /// The self-signed root.
    pub root: Issued,
    /// The CA below it.
    pub ca: Issued,
}

/// keyUsage: digitalSignature.
pub const DIGITAL_SIGNATURE: u16 = 1;
/// keyUsage: keyCertSign and cRLSign.
pub const CERT_AND_CRL_SIGN: u16 = 1 << 5 | 1 << 6;

/// basicConstraints
pub const BASIC_CONSTRAINTS: &str = "2.5.29.19";
/// keyUsage
pub const KEY_USAGE: &str = "2.5.29.15";
/// extKeyUsage
pub const EXT_KEY_USAGE: &str = "2.5.29.37";
/// id-kp-codeSigning
pub const CODE_SIGNING: &str = "1.3.6.1.5.5.7.3.3";
/// id-kp-timeStamping
pub const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";

/// First second of validity of everything made here: 2020-01-01.
pub fn not_before() -> Timestamp {
    "2020-01-01T00:00:00Z".parse().unwrap()
}

/// Last second of validity of everything made here: 2049-12-31.
pub fn not_after() -> Timestamp {
    "2049-12-31T23:59:59Z".parse().unwrap()
}

/// A moment inside the validity: 2026-01-02T03:04:05Z.
pub fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// `CN=<cn>,O=Hardsign Tests,ST=WA,C=US`
pub fn subject(common_name: &str) -> Vec<u8> {
    asn1::name(&[
        (asn1::attribute("C"), "US"),
        (asn1::attribute("ST"), "WA"),
        (asn1::attribute("O"), "Hardsign Tests"),
        (asn1::attribute("CN"), common_name),
    ])
}

/// Value of basicConstraints.
pub fn basic_constraints(ca: bool, path_len: Option<u32>) -> Vec<u8> {
    let mut content = Vec::new();
    if ca {
        content.extend(tlv(1, &[0xff]));
    }
    content.extend(path_len.map(integer).unwrap_or_default());
    tlv(0x30, &content)
}

/// Value of extKeyUsage.
pub fn purposes(dotted: &[&str]) -> Vec<u8> {
    let oids: Vec<Vec<u8>> = dotted.iter().map(|d| oid(d)).collect();
    tlv(0x30, &oids.concat())
}

impl Builder {
    /// A CA certificate that keeps every rule.
    pub fn ca(common_name: &str, key: &Key) -> Self {
        Self::bare(subject(common_name), key.spki)
            .with(BASIC_CONSTRAINTS, true, basic_constraints(true, None))
            .with(KEY_USAGE, true, named_bits(CERT_AND_CRL_SIGN))
    }

    /// A code-signing leaf that keeps every rule.
    pub fn leaf(common_name: &str, spki: &[u8]) -> Self {
        Self::bare(subject(common_name), spki)
            .with(KEY_USAGE, true, named_bits(DIGITAL_SIGNATURE))
            .with(EXT_KEY_USAGE, false, purposes(&[CODE_SIGNING]))
    }

    /// A timestamping leaf that keeps every rule.
    pub fn timestamping_leaf(common_name: &str, spki: &[u8]) -> Self {
        Self::leaf(common_name, spki).with(EXT_KEY_USAGE, true, purposes(&[TIME_STAMPING]))
    }

    /// A certificate without extensions.
    pub fn bare(subject: Vec<u8>, spki: &[u8]) -> Self {
        Self {
            version: 2,
            serial: tlv(2, &[0x11, 0x22, 0x33]),
            subject,
            issuer: None,
            not_before: not_before(),
            not_after: not_after(),
            spki: spki.to_vec(),
            extensions: Vec::new(),
            scheme: X509Scheme::Usual,
            outer_algorithm: None,
            algorithm: None,
            bad_signature: false,
        }
    }

    /// Sets an extension, in its old place if it is there already.
    #[must_use]
    pub fn with(mut self, dotted: &str, critical: bool, value: Vec<u8>) -> Self {
        let extension = (dotted.to_owned(), critical, value);
        match self.extensions.iter_mut().find(|(d, ..)| d == dotted) {
            Some(old) => *old = extension,
            None => self.extensions.push(extension),
        }
        self
    }

    /// Removes an extension.
    #[must_use]
    pub fn without(mut self, dotted: &str) -> Self {
        self.extensions.retain(|(d, ..)| d != dotted);
        self
    }

    /// Sets the subject.
    #[must_use]
    pub fn named(mut self, subject: Vec<u8>) -> Self {
        self.subject = subject;
        self
    }

    /// Sets the validity.
    #[must_use]
    pub fn valid(mut self, from: &str, to: &str) -> Self {
        self.not_before = from.parse().unwrap();
        self.not_after = to.parse().unwrap();
        self
    }

    /// Names an OCSP responder.
    #[must_use]
    pub fn ocsp(self, url: &str) -> Self {
        let access = sequence(&[&oid("1.3.6.1.5.5.7.48.1"), &tlv(0x86, url.as_bytes())]);
        self.with("1.3.6.1.5.5.7.1.1", false, sequence(&[&access]))
    }

    /// Names a CRL.
    #[must_use]
    pub fn crl(self, url: &str) -> Self {
        let names = tlv(0xa0, &tlv(0x86, url.as_bytes()));
        let point = sequence(&[&tlv(0xa0, &names)]);
        self.with("2.5.29.31", false, sequence(&[&point]))
    }

    /// Any other change.
    #[must_use]
    pub fn change(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Signed with its own key.
    pub fn self_signed(self, key: &Key) -> Issued {
        let issuer = self.subject.clone();
        self.sign(&issuer, key, *key)
    }

    /// Signed by an issuer.
    pub fn issue(self, by: &Issued, key: &Key) -> Issued {
        self.sign(&by.subject, &by.key, *key)
    }

    fn sign(self, issuer: &[u8], by: &Key, key: Key) -> Issued {
        let (own_algorithm, _) = by.sign_x509(&[], self.scheme);
        let algorithm = self.algorithm.clone().unwrap_or(own_algorithm);
        let tbs = self.tbs(self.issuer.as_deref().unwrap_or(issuer), &algorithm);
        let (_, mut signature) = by.sign_x509(&tbs, self.scheme);
        if self.bad_signature {
            *signature.last_mut().unwrap() ^= 1;
        }
        let outer = self.outer_algorithm.as_deref().unwrap_or(&algorithm);
        Issued {
            der: sequence(&[&tbs, outer, &bit_string(&signature)]),
            subject: self.subject,
            key,
        }
    }

    fn tbs(&self, issuer: &[u8], algorithm: &[u8]) -> Vec<u8> {
        let version = match self.version {
            0 => Vec::new(),
            version => tlv(0xa0, &tlv(2, &[version])),
        };
        let validity = sequence(&[&asn1::time(self.not_before), &asn1::time(self.not_after)]);
        let mut extensions = Vec::new();
        for (dotted, critical, value) in &self.extensions {
            let critical = if *critical {
                tlv(1, &[0xff])
            } else {
                Vec::new()
            };
            extensions.push(sequence(&[&oid(dotted), &critical, &tlv(4, value)]));
        }
        let extensions = if extensions.is_empty() {
            Vec::new()
        } else {
            tlv(0xa3, &tlv(0x30, &extensions.concat()))
        };
        sequence(&[
            &version,
            &self.serial,
            algorithm,
            issuer,
            &validity,
            &self.subject,
            &self.spki,
            &extensions,
        ])
    }
}

impl Pki {
    /// A root with a P-256 key and an issuing CA with another.
    pub fn new() -> Self {
        let root = Builder::ca("Root", &Key::P256).self_signed(&Key::P256);
        let ca = Builder::ca("Issuing CA", &Key::P256_B).issue(&root, &Key::P256_B);
        Self { root, ca }
    }

    /// A leaf as built, issued by the CA.
    pub fn issue(&self, leaf: Builder, key: &Key) -> Issued {
        leaf.issue(&self.ca, key)
    }

    /// A code-signing certificate for a key of that spec.
    pub fn signer(&self, spec: KeySpec) -> Issued {
        let key = Key::of(spec);
        self.issue(Builder::leaf(&format!("Signer {spec}"), key.spki), &key)
    }

    /// The chain of a leaf: leaf, issuing CA, root.
    pub fn chain(&self, leaf: &Issued) -> Vec<Vec<u8>> {
        vec![leaf.der.clone(), self.ca.der.clone(), self.root.der.clone()]
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}
