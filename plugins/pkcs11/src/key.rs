//! A key of a token, opened: found, logged in, with its certificate chain and its sessions.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use cryptoki::error::RvError;
use cryptoki::object::ObjectClass;
use cryptoki::session::Session;
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin::proto::Interaction;
use hardsign_plugin::{Context, Error, Key, KeyRequest, Purpose};

use crate::certificates::{self, Sources};
use crate::config::Config;
use crate::error::{Call, Pkcs11Error};
use crate::login::{Proof, login};
use crate::module::{Module, Token};
use crate::objects::{self, KeyObject};
use crate::sign::Signing;

/// Sessions that a session of the protocol opens, if the token allows.
const MAX_SESSIONS: u32 = 8;

/// Keys that an error lists.
const MAX_LISTED: usize = 20;

/// An open key.
pub(crate) struct TokenKey {
    key_spec: KeySpec,
    /// Absent if the key was opened only to be described.
    ready: Option<Ready>,
}

/// A key that is ready to sign. The sessions are closed before the module is finalized: fields
/// are dropped in this order.
struct Ready {
    chain: Vec<Vec<u8>>,
    pool: Pool,
    signing: Signing,
    module: Module,
    token: Token,
}

impl TokenKey {
    pub(crate) fn open(request: &KeyRequest<'_>, context: &Context<'_>) -> Result<Self, Error> {
        let config = Config::read(request.key_id, request.config)?;
        let module = Module::load(&config)?;
        let token = module.token(&config.uri)?;
        let session = module
            .open_session(token.slot)
            .map_err(|source| failed("opening a session with", &token, source))?;
        if request.purpose == Purpose::Describe
            && let Some(key_spec) = describe_without_login(&session, &config)
        {
            return Ok(Self {
                key_spec,
                ready: None,
            });
        }
        let source = config.pin_source.as_ref();
        let proof = login(&module, &token, &session, source, context)?;
        let opening = Opening {
            config: &config,
            token: &token,
            session: &session,
            logged_in: proof.is_some(),
        };
        if request.purpose == Purpose::Describe {
            let key_spec = opening.describe();
            log_out(&session, proof.is_some());
            return Ok(Self {
                key_spec: key_spec?,
                ready: None,
            });
        }
        match opening.prepare() {
            Ok(prepared) => prepared.finish(module, token, session, proof, context),
            Err(error) => {
                log_out(&session, proof.is_some());
                Err(error)
            }
        }
    }
}

fn failed(doing: &'static str, token: &Token, source: Call) -> Pkcs11Error {
    Pkcs11Error::Token {
        doing,
        token: token.name(),
        source,
    }
}

fn log_out(session: &Session, logged_in: bool) {
    if logged_in {
        // Closing the last session logs out as well.
        session.logout().unwrap_or(());
    }
}

/// The key spec, if the token shows enough without login.
fn describe_without_login(session: &Session, config: &Config) -> Option<KeySpec> {
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        if let Ok([key]) = objects::keys(session, class, &config.uri).as_deref()
            && let Ok(Some(public)) = objects::public_key(session, key)
        {
            return public.key_spec();
        }
    }
    None
}

/// A key on its way to being open.
struct Opening<'a> {
    config: &'a Config,
    token: &'a Token,
    session: &'a Session,
    logged_in: bool,
}

/// All that was found out about a key.
struct Prepared {
    key: KeyObject,
    key_spec: KeySpec,
    chain: Vec<Vec<u8>>,
    always_authenticate: bool,
}

impl Opening<'_> {
    fn describe(&self) -> Result<KeySpec, Error> {
        let key = self.find()?;
        let (public, _) = self.public_key(&key)?;
        Ok(self.key_spec(&public)?)
    }

    fn prepare(&self) -> Result<Prepared, Error> {
        let key = self.find()?;
        let (public, token_certificates) = self.public_key(&key)?;
        let key_spec = self.key_spec(&public)?;
        let sources = self.sources(&token_certificates)?;
        let chain = sources.chain(&public, &key, &self.config.key_name(), &self.token.name())?;
        let always_authenticate = objects::always_authenticate(self.session, &key);
        Ok(Prepared {
            key,
            key_spec,
            chain,
            always_authenticate,
        })
    }

    /// The one private key that is meant.
    fn find(&self) -> Result<KeyObject, Pkcs11Error> {
        let private = ObjectClass::PRIVATE_KEY;
        let found = self.read(objects::keys(self.session, private, &self.config.uri))?;
        let (token, key) = (self.token.name(), self.config.key_name());
        let any = !found.is_empty();
        let mut signing: Vec<_> = found.into_iter().filter(|key| key.may_sign).collect();
        match (signing.len(), signing.pop()) {
            (1, Some(found)) => Ok(found),
            (_, Some(last)) => {
                signing.push(last);
                Err(Pkcs11Error::ManyKeys {
                    token,
                    key,
                    matching: listed(&signing),
                })
            }
            (_, None) if any => Err(Pkcs11Error::NotForSigning { token, key }),
            (_, None) => {
                let all = objects::keys(self.session, private, &Default::default());
                Err(Pkcs11Error::NoKey {
                    token,
                    key,
                    seen: listed(&all.unwrap_or_default()),
                    logged_in: self.logged_in,
                })
            }
        }
    }

    fn read<T>(&self, result: Result<T, Call>) -> Result<T, Pkcs11Error> {
        result.map_err(|source| failed("reading", self.token, source))
    }

    /// The public half, with the certificates that were read on the way.
    fn public_key(
        &self,
        key: &KeyObject,
    ) -> Result<(PublicKey, Vec<objects::CertificateObject>), Pkcs11Error> {
        let certificates = self.read(objects::certificates(self.session))?;
        if let Some(public) = self.read(objects::public_key(self.session, key))? {
            return Ok((public, certificates));
        }
        let public = self.sources(&certificates)?.public_key(key);
        let public = public.ok_or_else(|| Pkcs11Error::NoPublicKey {
            token: self.token.name(),
            key: self.config.key_name(),
        })?;
        Ok((public, certificates))
    }

    fn sources<'c>(
        &'c self,
        token: &'c [objects::CertificateObject],
    ) -> Result<Sources<'c>, Pkcs11Error> {
        let file = match self.config.cert_chain.as_deref() {
            Some(path) => Some((path, certificates::read_file(path)?)),
            None => None,
        };
        Ok(Sources { token, file })
    }

    fn key_spec(&self, public: &PublicKey) -> Result<KeySpec, Pkcs11Error> {
        public.key_spec().ok_or_else(|| Pkcs11Error::UnusableKey {
            token: self.token.name(),
            key: self.config.key_name(),
            what: public.describe(),
        })
    }
}

fn listed(keys: &[KeyObject]) -> Vec<String> {
    keys.iter()
        .take(MAX_LISTED)
        .map(KeyObject::listed)
        .collect()
}

impl Prepared {
    /// Opens the other sessions and puts all together.
    fn finish(
        self,
        module: Module,
        token: Token,
        session: Session,
        proof: Option<Proof>,
        context: &Context<'_>,
    ) -> Result<TokenKey, Error> {
        let logged_in = proof.is_some();
        let at_each_use = proof.filter(|_| self.always_authenticate);
        let signing = Signing::new(&module, &token, &self.key, self.key_spec, at_each_use);
        let signing = match signing {
            Ok(signing) => signing,
            Err(error) => {
                log_out(&session, logged_in);
                return Err(error.into());
            }
        };
        let wanted = match context.is_session() && !self.always_authenticate {
            true => module.session_limit(&token.info, MAX_SESSIONS),
            false => 1,
        };
        let mut sessions = vec![session];
        for _ in 1..wanted {
            match module.open_session(token.slot).map_err(|e| (e.value(), e)) {
                Ok(session) => sessions.push(session),
                // The token has no more; those that there are will do.
                Err((Some(RvError::SessionCount | RvError::DeviceMemory), _)) => break,
                Err((_, source)) => {
                    return Err(failed("opening a session with", &token, source).into());
                }
            }
        }
        Ok(TokenKey {
            key_spec: self.key_spec,
            ready: Some(Ready {
                chain: self.chain,
                pool: Pool::new(sessions, logged_in),
                signing,
                module,
                token,
            }),
        })
    }
}

impl Key for TokenKey {
    fn key_spec(&self) -> KeySpec {
        self.key_spec
    }

    fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.ready()?.chain.clone())
    }

    fn sign_digest(&self, digest: &[u8], context: &Context<'_>) -> Result<Vec<u8>, Error> {
        let Ready {
            pool,
            signing,
            module,
            token,
            ..
        } = self.ready()?;
        pool.with(|session| signing.sign(session, digest, module, token, context))
    }

    fn max_in_flight(&self) -> u32 {
        self.ready.as_ref().map_or(1, |ready| ready.pool.size)
    }

    fn interaction(&self) -> Interaction {
        match &self.ready {
            Some(ready) if ready.signing.asks_each_time() => Interaction::Pin,
            _ => Interaction::None,
        }
    }
}

impl TokenKey {
    fn ready(&self) -> Result<&Ready, Error> {
        let closed = || Error::other("the key was opened to be described only");
        self.ready.as_ref().ok_or_else(closed)
    }
}

/// Open sessions, each used by one thread at a time. Logs out when dropped.
struct Pool {
    free: Mutex<Vec<Arc<Mutex<Session>>>>,
    returned: Condvar,
    size: u32,
    logged_in: bool,
}

impl Pool {
    fn new(sessions: Vec<Session>, logged_in: bool) -> Self {
        let sessions: Vec<_> = sessions.into_iter().map(Mutex::new).map(Arc::new).collect();
        Self {
            size: u32::try_from(sessions.len()).unwrap_or(u32::MAX),
            free: Mutex::new(sessions),
            returned: Condvar::new(),
            logged_in,
        }
    }

    /// Runs something with a session of its own; waits for one if all are in use.
    fn with<T>(&self, run: impl FnOnce(&Session) -> T) -> T {
        let loan = Loan {
            session: self.take(),
            pool: self,
        };
        let session = lock(&loan.session);
        run(&session)
    }

    fn take(&self) -> Arc<Mutex<Session>> {
        let mut free = lock(&self.free);
        loop {
            match free.pop() {
                Some(session) => return session,
                None => {
                    let waited = self.returned.wait(free);
                    free = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(session) = lock(&self.free).first() {
            log_out(&lock(session), self.logged_in);
        }
    }
}

/// A session in use; goes back also after a panic.
struct Loan<'a> {
    session: Arc<Mutex<Session>>,
    pool: &'a Pool,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        lock(&self.pool.free).push(Arc::clone(&self.session));
        self.pool.returned.notify_one();
    }
}

/// Locks; what a panic left behind is a session like any other.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
