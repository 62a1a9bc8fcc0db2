//! Signing a digest: which mechanism, which input, and the login that some keys want each time.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::{Mutex, PoisonError};

use cryptoki::error::RvError;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use cryptoki::session::{Session, UserType};
use cryptoki::types::Ulong;
use hardsign_plugin::algorithm::{HashAlgorithm, KeySpec};
use hardsign_plugin::error::ErrorCode;
use hardsign_plugin::{Context, Error};

use crate::error::{Call, Pkcs11Error};
use crate::login::{Proof, prove};
use crate::module::{Module, Token};
use crate::objects::KeyObject;
use crate::pss;
use crate::raw::RawSign;

/// How a key signs.
pub(crate) struct Signing {
    handle: ObjectHandle,
    key_spec: KeySpec,
    scheme: Scheme,
    each_use: Option<EachUse>,
}

/// What the token does, and what is left to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scheme {
    /// CKM_ECDSA: digest in, r‖s out.
    Ecdsa,
    /// CKM_RSA_PKCS_PSS; `or_raw` if CKM_RSA_X_509 is there as well, since some tokens offer PSS
    /// with SHA-1 only.
    Pss { or_raw: bool },
    /// CKM_RSA_X_509 over a block that is encoded here.
    Raw,
}

/// CKA_ALWAYS_AUTHENTICATE: a login before each signature.
struct EachUse {
    proof: Proof,
    raw: RawSign,
    /// One signature at a time; holds the failure after which no login is tried any more.
    failure: Mutex<Option<Error>>,
}

impl Signing {
    /// Chooses the mechanism; `at_each_use` is given if the key wants a login each time.
    pub(crate) fn new(
        module: &Module,
        token: &Token,
        key: &KeyObject,
        key_spec: KeySpec,
        at_each_use: Option<Proof>,
    ) -> Result<Self, Pkcs11Error> {
        let each_use = match at_each_use {
            None => None,
            Some(proof) => {
                let raw = RawSign::load(module.path());
                let raw = raw.map_err(|source| Pkcs11Error::ModuleFailed {
                    path: module.path().into(),
                    source: source.into(),
                })?;
                Some(EachUse {
                    proof,
                    raw,
                    failure: Mutex::new(None),
                })
            }
        };
        Ok(Self {
            handle: key.handle,
            key_spec,
            scheme: Scheme::choose(module, token, key_spec)?,
            each_use,
        })
    }

    /// Whether a person is asked at each signature.
    pub(crate) fn asks_each_time(&self) -> bool {
        let each_use = self.each_use.as_ref();
        each_use.is_some_and(|each_use| matches!(each_use.proof, Proof::AtTheDevice))
    }

    /// Signs in a session that nobody else uses.
    pub(crate) fn sign(
        &self,
        session: &Session,
        digest: &[u8],
        module: &Module,
        token: &Token,
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        let first = self.attempt(self.scheme, session, digest, module, token, context);
        match (first, self.scheme) {
            (Err(Failure::Mechanism), Scheme::Pss { or_raw: true }) => {
                let second = self.attempt(Scheme::Raw, session, digest, module, token, context);
                second.map_err(|failure| failure.into_error(token, self.key_spec))
            }
            (result, _) => result.map_err(|failure| failure.into_error(token, self.key_spec)),
        }
    }

    fn attempt(
        &self,
        scheme: Scheme,
        session: &Session,
        digest: &[u8],
        module: &Module,
        token: &Token,
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let mechanism = scheme.mechanism(self.key_spec.hash());
        let encoded;
        let data = match scheme {
            Scheme::Raw => {
                encoded = encode(self.key_spec, digest)?;
                encoded.as_slice()
            }
            Scheme::Ecdsa | Scheme::Pss { .. } => digest,
        };
        let Some(each_use) = &self.each_use else {
            let signature = session.sign(&mechanism, self.handle, data);
            return signature.map_err(|error| Failure::new(error.into()));
        };
        let mut failure = each_use
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &*failure {
            return Err(Failure::Final(error.clone()));
        }
        session
            .sign_init(&mechanism, self.handle)
            .map_err(|error| Failure::new(error.into()))?;
        let user = UserType::ContextSpecific;
        if let Err(error) = prove(module, token, session, user, &each_use.proof, context) {
            let error = Error::from(error);
            *failure = Some(error.clone());
            return Err(Failure::Final(error));
        }
        let signature = each_use.raw.finish(session, data);
        signature.map_err(|error| Failure::new(error.into()))
    }
}

impl Scheme {
    fn choose(module: &Module, token: &Token, key_spec: KeySpec) -> Result<Self, Pkcs11Error> {
        if !key_spec.is_rsa() {
            return Ok(Self::Ecdsa);
        }
        let or_raw = module.can_sign(token.slot, MechanismType::RSA_X_509);
        match (
            module.can_sign(token.slot, MechanismType::RSA_PKCS_PSS),
            or_raw,
        ) {
            (true, or_raw) => Ok(Self::Pss { or_raw }),
            (false, true) => Ok(Self::Raw),
            (false, false) => Err(Pkcs11Error::NoMechanism {
                token: token.name(),
                key_spec,
                mechanism: "CKM_RSA_PKCS_PSS and no CKM_RSA_X_509",
            }),
        }
    }

    fn mechanism(self, hash: HashAlgorithm) -> Mechanism<'static> {
        match self {
            Self::Ecdsa => Mechanism::Ecdsa,
            Self::Raw => Mechanism::RsaX509,
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
    random(&mut salt).map_err(|error| {
        let error = Error::from_error(ErrorCode::Error, &error);
        Failure::Final(error)
    })?;
    pss::encode(hash, key_spec.signature_len(), digest, &salt)
        .ok_or_else(|| Failure::Final(Error::other("digest does not fit the key")))
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    File::open("/dev/urandom")?.read_exact(bytes)
}

/// Why a signature was not made.
enum Failure {
    /// The token does not have the mechanism, or not with these parameters. Nothing was tried.
    Mechanism,
    Call(Call),
    Final(Error),
}

impl Failure {
    fn new(call: Call) -> Self {
        match call.value() {
            Some(RvError::MechanismInvalid | RvError::MechanismParamInvalid) => Self::Mechanism,
            _ => Self::Call(call),
        }
    }

    fn into_error(self, token: &Token, key_spec: KeySpec) -> Error {
        let token = token.name();
        match self {
            Self::Final(error) => error,
            Self::Mechanism => Pkcs11Error::NoMechanism {
                token,
                key_spec,
                mechanism: match key_spec.is_rsa() {
                    true => "CKM_RSA_PKCS_PSS for this hash",
                    false => "CKM_ECDSA",
                },
            }
            .into(),
            Self::Call(source) => Pkcs11Error::Token {
                doing: "signing with",
                token,
                source,
            }
            .into(),
        }
    }
}
