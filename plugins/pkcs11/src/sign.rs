//! Signing a digest: which mechanism, which input, and the login that some keys want each time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use cryptoki::error::RvError;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::types::Ulong;
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin::error::ErrorCode;
use hardsign_plugin::{Context, Error, ecdsa};

use crate::error::{Call, Pkcs11Error};
use crate::login::{Proof, prove};
use crate::module::{Module, Support, Token};
use crate::pss;
use crate::raw::RawSign;

/// How a key signs.
pub(crate) struct Signing {
    handle: ObjectHandle,
    key_spec: KeySpec,
    public: PublicKey,
    raw: RawSign,
    scheme: Scheme,
    /// What the token says of CKM_RSA_PKCS.
    pkcs1: Support,
    /// PSS of the token was found to be no use: blocks are encoded here.
    encodes_here: AtomicBool,
    /// The token's PSS has the right salt.
    salt_is_right: AtomicBool,
    /// The key wants a login before each signature: it says so, or a signature showed it.
    login_each_time: AtomicBool,
    /// One such login at a time; holds the failure after which none is tried any more.
    login_failure: Mutex<Option<Error>>,
    /// There is such a failure.
    login_failed: AtomicBool,
}

/// What a signature needs beside the session.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) module: &'a Module,
    pub(crate) token: &'a Token,
    /// How the user has logged in, if the token wanted that.
    pub(crate) proof: Option<&'a Proof>,
    pub(crate) context: &'a Context<'a>,
}

/// What the token does, and what is left to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scheme {
    /// CKM_ECDSA: digest in, r‖s out.
    Ecdsa,
    /// CKM_RSA_PKCS_PSS; `or_raw` if CKM_RSA_X_509 may be there as well, since some tokens offer
    /// PSS with SHA-1 only, or with one length of salt.
    Pss { or_raw: bool },
    /// CKM_RSA_X_509 over a block that is encoded here.
    Raw,
    /// CKM_RSA_PKCS over a DigestInfo, for certificates alone.
    Pkcs1,
}

/// How an RSA key signs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Padding {
    /// As Notary Project signatures want it.
    Pss,
    /// RSASSA-PKCS1-v1_5.
    Pkcs1,
}

impl Signing {
    /// Chooses the mechanism; `login_each_time` is what the key says (CKA_ALWAYS_AUTHENTICATE).
    pub(crate) fn new(
        module: &Module,
        token: &Token,
        handle: ObjectHandle,
        public: PublicKey,
        key_spec: KeySpec,
        login_each_time: bool,
    ) -> Result<Self, Pkcs11Error> {
        let raw = RawSign::load(module.path()).map_err(|source| Pkcs11Error::ModuleFailed {
            path: module.path().into(),
            source: source.into(),
        })?;
        Ok(Self {
            handle,
            key_spec,
            public,
            raw,
            scheme: Scheme::choose(module, token, key_spec)?,
            pkcs1: match key_spec.is_rsa() {
                true => module.can_sign(token.slot, MechanismType::RSA_PKCS),
                false => Support::No,
            },
            encodes_here: AtomicBool::new(false),
            salt_is_right: AtomicBool::new(false),
            login_each_time: AtomicBool::new(login_each_time),
            login_failure: Mutex::new(None),
            login_failed: AtomicBool::new(false),
        })
    }

    /// Whether the key may sign RSASSA-PKCS1-v1_5.
    pub(crate) fn signs_pkcs1(&self) -> bool {
        self.pkcs1 != Support::No
    }

    /// Signs in a session that nobody else uses.
    pub(crate) fn sign(
        &self,
        session: &Session,
        digest: &[u8],
        padding: Padding,
        site: Site<'_>,
    ) -> Result<Vec<u8>, Failure> {
        if padding == Padding::Pkcs1 {
            return self.attempt(Scheme::Pkcs1, session, digest, site);
        }
        let Scheme::Pss { or_raw } = self.scheme else {
            return self.attempt(self.scheme, session, digest, site);
        };
        if self.encodes_here.load(Ordering::Relaxed) {
            return self.attempt(Scheme::Raw, session, digest, site);
        }
        let refused = match self.attempt(self.scheme, session, digest, site) {
            Ok(signature) => match self.wrong_salt(digest, &signature) {
                None => return Ok(signature),
                Some(found) => Failure::Salt { found },
            },
            Err(Failure::Mechanism) => Failure::Mechanism,
            Err(failure) => return Err(failure),
        };
        if !or_raw {
            return Err(refused);
        }
        match self.attempt(Scheme::Raw, session, digest, site) {
            Ok(signature) => {
                self.encodes_here.store(true, Ordering::Relaxed);
                Ok(signature)
            }
            Err(Failure::Mechanism) => Err(refused),
            Err(Failure::Call(_)) if matches!(refused, Failure::Salt { .. }) => Err(refused),
            Err(failure) => Err(failure),
        }
    }

    /// The length of the salt, if it is another than the hash's (ENV-35): some devices always take
    /// the longest. The first signature is looked at; the host checks every one.
    fn wrong_salt(&self, digest: &[u8], signature: &[u8]) -> Option<usize> {
        if self.salt_is_right.load(Ordering::Relaxed) {
            return None;
        }
        let hash = self.key_spec.hash();
        let found = pss::salt_length(&self.public, hash, digest, signature)?;
        if found == hash.output_len() {
            self.salt_is_right.store(true, Ordering::Relaxed);
            return None;
        }
        Some(found)
    }

    fn attempt(
        &self,
        scheme: Scheme,
        session: &Session,
        digest: &[u8],
        site: Site<'_>,
    ) -> Result<Vec<u8>, Failure> {
        if self.login_failed.load(Ordering::Acquire) {
            let failed = self.login_failure.lock();
            let failed = failed.unwrap_or_else(PoisonError::into_inner);
            let error = failed
                .clone()
                .unwrap_or_else(|| Error::access_denied("login failed"));
            return Err(Failure::Final(error));
        }
        let mechanism = scheme.mechanism(self.key_spec.hash());
        let encoded;
        let data = match scheme {
            Scheme::Raw => {
                encoded = encode(self.key_spec, digest)?;
                encoded.as_slice()
            }
            Scheme::Pkcs1 => {
                encoded = [digest_info(self.key_spec.hash()), digest].concat();
                encoded.as_slice()
            }
            Scheme::Ecdsa | Scheme::Pss { .. } => digest,
        };
        let signature = match (site.proof, self.login_each_time.load(Ordering::Relaxed)) {
            (Some(proof), true) => {
                self.begin(session, &mechanism)?;
                self.log_in_and_finish(session, data, proof, site)
            }
            (proof, _) => {
                self.begin(session, &mechanism)?;
                match (self.finish(session, data), proof) {
                    (Err(Failure::NotLoggedIn(lost)), Some(proof)) => {
                        self.after_all(session, &mechanism, data, proof, site, lost)
                    }
                    (finished, _) => finished,
                }
            }
        };
        signature.map(|signature| self.in_form(signature))
    }

    /// The key wants a login of its own and did not say so: begins anew, with one.
    fn after_all(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        data: &[u8],
        proof: &Proof,
        site: Site<'_>,
        lost: Call,
    ) -> Result<Vec<u8>, Failure> {
        match self.begin(session, mechanism) {
            // The module keeps what was begun: go on with that.
            Ok(()) => {}
            Err(Failure::Call(call)) if call.value() == Some(RvError::OperationActive) => {}
            Err(failure) => return Err(failure),
        }
        match self.log_in_and_finish(session, data, proof, site) {
            Ok(signature) => {
                self.login_each_time.store(true, Ordering::Relaxed);
                Ok(signature)
            }
            // There is no such login: it is the user's own that was lost.
            Err(Failure::NoSuchLogin) => Err(Failure::Lost(lost)),
            Err(failure) => Err(failure),
        }
    }

    fn begin(&self, session: &Session, mechanism: &Mechanism<'_>) -> Result<(), Failure> {
        let begun = session.sign_init(mechanism, self.handle);
        begun.map_err(|error| match Failure::new(error.into()) {
            // Nothing can have been wanted for this use alone yet.
            Failure::NotLoggedIn(call) => Failure::Lost(call),
            failure => failure,
        })
    }

    fn finish(&self, session: &Session, data: &[u8]) -> Result<Vec<u8>, Failure> {
        let signature = self.raw.finish(session, data);
        signature.map_err(|error| Failure::new(error.into()))
    }

    /// One login for one use of the key, unless one has failed already.
    fn log_in_and_finish(
        &self,
        session: &Session,
        data: &[u8],
        proof: &Proof,
        site: Site<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let turn = self.login_failure.lock();
        let mut failed = turn.unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &*failed {
            return Err(Failure::Final(error.clone()));
        }
        let Site {
            module,
            token,
            context,
            ..
        } = site;
        let user = UserType::ContextSpecific;
        if let Err(error) = prove(module, token, session, user, proof, context) {
            if let Pkcs11Error::Login { source, .. } = &error
                && matches!(
                    source.value(),
                    Some(
                        RvError::UserTypeInvalid
                            | RvError::UserNotLoggedIn
                            | RvError::OperationNotInitialized
                            | RvError::FunctionNotSupported
                    )
                )
                && !self.login_each_time.load(Ordering::Relaxed)
            {
                return Err(Failure::NoSuchLogin);
            }
            let error = Error::from(error);
            *failed = Some(error.clone());
            self.login_failed.store(true, Ordering::Release);
            return Err(Failure::Final(error));
        }
        self.finish(session, data)
    }

    /// Some modules give ECDSA in DER, and numbers of RSA without leading zeros.
    fn in_form(&self, signature: Vec<u8>) -> Vec<u8> {
        let length = self.key_spec.signature_len();
        if signature.len() == length {
            return signature;
        }
        if let Some(found) = ecdsa::from_der(self.key_spec, &signature) {
            return found;
        }
        match length.checked_sub(signature.len()) {
            Some(zeros) if self.key_spec.is_rsa() && !signature.is_empty() => {
                [vec![0; zeros], signature].concat()
            }
            _ => signature,
        }
    }
}

impl Scheme {
    fn choose(module: &Module, token: &Token, key_spec: KeySpec) -> Result<Self, Pkcs11Error> {
        if !key_spec.is_rsa() {
            return Ok(Self::Ecdsa);
        }
        let support = |mechanism| module.can_sign(token.slot, mechanism);
        let raw = support(MechanismType::RSA_X_509);
        match (support(MechanismType::RSA_PKCS_PSS), raw) {
            (Support::No, Support::No) => Err(Pkcs11Error::NoMechanism {
                token: token.name(),
                key_spec,
                mechanism: "CKM_RSA_PKCS_PSS and no CKM_RSA_X_509",
            }),
            (Support::No, _) => Ok(Self::Raw),
            (_, raw) => Ok(Self::Pss {
                or_raw: raw != Support::No,
            }),
        }
    }

    fn mechanism(self, hash: HashAlgorithm) -> Mechanism<'static> {
        match self {
            Self::Ecdsa => Mechanism::Ecdsa,
            Self::Raw => Mechanism::RsaX509,
            Self::Pkcs1 => Mechanism::RsaPkcs,
            Self::Pss { .. } => {
                let (hash_alg, mgf, s_len) = match hash {
                    HashAlgorithm::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32),
                    HashAlgorithm::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48),
                    HashAlgorithm::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64),
                };
                Mechanism::RsaPkcsPss(PkcsPssParams {
                    hash_alg,
                    mgf,
                    s_len: Ulong::from(s_len),
                })
            }
        }
    }
}

/// The EMSA-PSS block for CKM_RSA_X_509.
fn encode(key_spec: KeySpec, digest: &[u8]) -> Result<Vec<u8>, Failure> {
    let hash = key_spec.hash();
    let mut salt = vec![0; hash.output_len()];
    getrandom::fill(&mut salt).map_err(|error| {
        let error = Error::from_error(ErrorCode::Error, &error);
        Failure::Final(error)
    })?;
    hardsign_plugin::pss::encode(hash, key_spec.signature_len(), digest, &salt)
        .ok_or_else(|| Failure::Final(Error::other("digest does not fit the key")))
}

/// What stands before the digest in a DigestInfo (RFC 8017 §9.2, note 1).
fn digest_info(hash: HashAlgorithm) -> &'static [u8] {
    match hash {
        HashAlgorithm::Sha256 => &[
            0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20,
        ],
        HashAlgorithm::Sha384 => &[
            0x30, 0x41, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2, 5, 0, 4, 0x30,
        ],
        HashAlgorithm::Sha512 => &[
            0x30, 0x51, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3, 5, 0, 4, 0x40,
        ],
    }
}

/// Why a signature was not made.
pub(crate) enum Failure {
    /// The token does not have the mechanism, or not with these parameters. Nothing was tried.
    Mechanism,
    /// The token's PSS has a salt of this many bytes, whatever is asked for.
    Salt {
        found: usize,
    },
    /// The token, the session or the login is gone.
    Lost(Call),
    /// `C_Sign` wants a login.
    NotLoggedIn(Call),
    /// The token knows no login for one use of a key.
    NoSuchLogin,
    Call(Call),
    Final(Error),
}

impl Failure {
    fn new(call: Call) -> Self {
        match call.value() {
            Some(
                RvError::MechanismInvalid
                | RvError::MechanismParamInvalid
                | RvError::FunctionNotSupported,
            ) => Self::Mechanism,
            Some(RvError::UserNotLoggedIn) => Self::NotLoggedIn(call),
            _ if call.is_lost() => Self::Lost(call),
            _ => Self::Call(call),
        }
    }

    pub(crate) fn into_error(self, token: &Token, key_spec: KeySpec) -> Error {
        let token = token.name();
        let error = match self {
            Self::Final(error) => return error,
            Self::NoSuchLogin => return Error::access_denied(format!("login to {token} failed")),
            Self::Mechanism => Pkcs11Error::NoMechanism {
                token,
                key_spec,
                mechanism: match key_spec.is_rsa() {
                    true => "CKM_RSA_PKCS_PSS for this hash",
                    false => "CKM_ECDSA",
                },
            },
            Self::Salt { found } => Pkcs11Error::Salt {
                token,
                found,
                wanted: key_spec.hash().output_len(),
            },
            Self::Call(source) | Self::Lost(source) | Self::NotLoggedIn(source) => {
                Pkcs11Error::Token {
                    doing: "signing with",
                    token,
                    source,
                }
            }
        };
        error.into()
    }
}
