//! A key that is ready to sign: its sessions, and what happens when the device goes away.
//!
//! A token that was pulled out and plugged in again, or an HSM that has failed over, is reopened
//! once for each outage: new sessions, one login with the PIN that is known to be right, the same
//! key. An outage that is followed by another before a single signature was made is the last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cryptoki::error::RvError;
use cryptoki::object::ObjectClass;
use cryptoki::session::{Session, UserType};
use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::chain::PublicKey;
use hardsign_plugin::{Context, Error};

use crate::config::Config;
use crate::error::{Call, Pkcs11Error};
use crate::login::{Proof, check_tries, prove};
use crate::module::{Module, Token};
use crate::objects::{self, KeyObject};
use crate::sign::{Failure, Padding, Signing, Site};

/// Sessions that a session of the protocol opens, if the token allows.
const MAX_SESSIONS: u32 = 8;

/// How long a device may be away. A request has 60 seconds.
const AWAY: Duration = Duration::from_secs(25);

/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(250);

/// Outages that one request lives through.
const OUTAGES: u32 = 2;

/// All that was found out about a key, with the session that it was found in.
pub(crate) struct Found {
    pub(crate) config: Config,
    pub(crate) module: Arc<Module>,
    pub(crate) token: Token,
    pub(crate) session: Session,
    pub(crate) proof: Option<Arc<Proof>>,
    pub(crate) key: KeyObject,
    pub(crate) key_spec: KeySpec,
    pub(crate) public: PublicKey,
    /// CKA_ALWAYS_AUTHENTICATE.
    pub(crate) login_each_time: bool,
}

/// An open key with its sessions.
pub(crate) struct Connection {
    /// Dropped before the module is. The error is that of an outage that did not end.
    live: RwLock<Result<Live, Error>>,
    /// Sessions at the start.
    size: u32,
    again: Again,
}

/// What stays when the device goes.
struct Again {
    config: Config,
    module: Arc<Module>,
    token: Token,
    proof: Option<Arc<Proof>>,
    key_spec: KeySpec,
    public: PublicKey,
    login_each_time: bool,
    in_session: bool,
}

/// What goes with it.
struct Live {
    /// Counts outages.
    generation: u32,
    /// A signature was made since.
    proven: AtomicBool,
    pool: Pool,
    signing: Signing,
    token: Token,
}

impl Connection {
    /// Opens the other sessions and puts all together.
    pub(crate) fn new(found: Found, context: &Context<'_>) -> Result<Self, Error> {
        let Found {
            config,
            module,
            token,
            session,
            proof,
            key,
            key_spec,
            public,
            login_each_time,
        } = found;
        let again = Again {
            config,
            module,
            token: token.clone(),
            proof,
            key_spec,
            public,
            login_each_time,
            in_session: context.is_session(),
        };
        let live = again.live(token, session, &key, 0)?;
        Ok(Self {
            size: live.pool.size,
            live: RwLock::new(Ok(live)),
            again,
        })
    }

    /// Signs; waits for a session if all are in use, and for the device if it is away.
    pub(crate) fn sign(
        &self,
        digest: &[u8],
        padding: Padding,
        context: &Context<'_>,
    ) -> Result<Vec<u8>, Error> {
        let mut outages = 0;
        loop {
            let (generation, failure, token) = {
                let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
                let live = live.as_ref().map_err(Clone::clone)?;
                let site = Site {
                    module: &self.again.module,
                    token: &live.token,
                    proof: self.again.proof.as_deref(),
                    context,
                };
                let signed = live
                    .pool
                    .with(|session| live.signing.sign(session, digest, padding, site));
                match signed {
                    Ok(signature) => {
                        live.proven.store(true, Ordering::Relaxed);
                        return Ok(signature);
                    }
                    Err(failure) => (live.generation, failure, live.token.clone()),
                }
            };
            match failure {
                Failure::Lost(call) if self.again.in_session && outages < OUTAGES => {
                    self.reopen(generation, call, context)?;
                    outages = outages.saturating_add(1);
                }
                failure => {
                    let error = failure.into_error(&token, self.again.key_spec);
                    return Err(token.named_in(error));
                }
            }
        }
    }

    /// Whether RSASSA-PKCS1-v1_5 is there as well.
    pub(crate) fn signs_pkcs1(&self) -> bool {
        let live = self.live.read().unwrap_or_else(PoisonError::into_inner);
        live.as_ref().is_ok_and(|live| live.signing.signs_pkcs1())
    }

    pub(crate) fn max_in_flight(&self) -> u32 {
        self.size
    }

    /// Whether a person is asked at each signature.
    pub(crate) fn asks_each_time(&self) -> bool {
        self.again.login_each_time
            && matches!(self.again.proof.as_deref(), Some(Proof::AtTheDevice))
    }

    /// Ends an outage that began in this generation, unless another request has done so.
    fn reopen(&self, generation: u32, lost: Call, context: &Context<'_>) -> Result<(), Error> {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        match &*live {
            Err(error) => return Err(error.clone()),
            Ok(live) if live.generation != generation => return Ok(()),
            Ok(live) if generation > 0 && !live.proven.load(Ordering::Relaxed) => {
                return Err(failed("signing with", &live.token, lost).into());
            }
            Ok(_) => {}
        }
        // What was open is closed first: a token may count sessions. The error stays if this
        // thread does not come back.
        let closed = std::mem::replace(&mut *live, Err(Error::other("the token was lost")));
        drop(closed);
        let next = self
            .again
            .connect(generation.saturating_add(1), lost, context);
        let outcome = next.as_ref().map(|_| ()).map_err(Clone::clone);
        *live = next;
        outcome
    }
}

impl Again {
    /// Waits for the token and opens it anew.
    fn connect(&self, generation: u32, lost: Call, context: &Context<'_>) -> Result<Live, Error> {
        let until = Instant::now().checked_add(AWAY);
        let mut last = lost;
        let mut attempts = 0_u32;
        let (token, session) = loop {
            match self.look() {
                Ok(Some(found)) => break found,
                Ok(None) => {}
                Err(call) => last = call,
            }
            if until.is_none_or(|until| Instant::now() >= until) {
                return Err(Pkcs11Error::Away {
                    token: self.token.name(),
                    seconds: AWAY.as_secs(),
                    source: last,
                }
                .into());
            }
            if attempts == 0 {
                let name = self.token.name();
                context.notice(
                    &format!("{name} is away ({last}); waiting for it"),
                    Some(AWAY),
                );
            }
            // A module may have lost its own connection. No session is open now.
            if attempts % 8 == 1
                && let Err(call) = self.module.restart()
            {
                last = call;
            }
            attempts = attempts.saturating_add(1);
            sleep(LOOK);
        };
        if let Some(proof) = &self.proof {
            check_tries(&self.module, &token)?;
            prove(
                &self.module,
                &token,
                &session,
                UserType::User,
                proof,
                context,
            )?;
        }
        let key = find_key(&session, &token, &self.config, self.proof.is_some())?;
        let public = objects::public_key(&session, &key)
            .map_err(|source| failed("reading", &token, source))?;
        if public.is_some_and(|public| public != self.public) {
            return Err(Pkcs11Error::OtherKey {
                token: token.name(),
                key: self.config.key_name(),
            }
            .into());
        }
        self.live(token, session, &key, generation)
    }

    /// The same token, if it can be used.
    fn look(&self) -> Result<Option<(Token, Session)>, Call> {
        // What goes wrong with the list of slots is no answer yet.
        let tokens = self.module.tokens(&self.config.uri).unwrap_or_default();
        let Some(token) = tokens.into_iter().find(|token| token.is_same(&self.token)) else {
            return Ok(None);
        };
        let session = self.module.open_session(token.slot)?;
        Ok(Some((token, session)))
    }

    /// The sessions beside the first, and how the key signs.
    fn live(
        &self,
        token: Token,
        session: Session,
        key: &KeyObject,
        generation: u32,
    ) -> Result<Live, Error> {
        let logged_in = self.proof.is_some();
        let signing = Signing::new(
            &self.module,
            &token,
            key.handle,
            self.public.clone(),
            self.key_spec,
            self.login_each_time && logged_in,
        );
        let signing = match signing {
            Ok(signing) => signing,
            Err(error) => {
                log_out(&session, logged_in);
                return Err(error.into());
            }
        };
        let wanted = match self.in_session && !(self.login_each_time && logged_in) {
            true => self.module.session_limit(&token.info, MAX_SESSIONS),
            false => 1,
        };
        let mut sessions = vec![session];
        for _ in 1..wanted {
            let opened = self.module.open_session(token.slot);
            match opened.map_err(|call| (call.value(), call)) {
                Ok(session) => sessions.push(session),
                // The token has no more; those that there are will do.
                Err((Some(RvError::SessionCount | RvError::DeviceMemory), _)) => break,
                Err((_, source)) => {
                    return Err(failed("opening a session with", &token, source).into());
                }
            }
        }
        Ok(Live {
            generation,
            proven: AtomicBool::new(false),
            pool: Pool::new(sessions, logged_in),
            signing,
            token,
        })
    }
}

/// The one private key that is meant.
pub(crate) fn find_key(
    session: &Session,
    token: &Token,
    config: &Config,
    logged_in: bool,
) -> Result<KeyObject, Pkcs11Error> {
    let private = ObjectClass::PRIVATE_KEY;
    let found = objects::keys(session, private, &config.uri)
        .map_err(|source| failed("reading", token, source))?;
    let (token, key) = (token.name(), config.key_name());
    let any = !found.is_empty();
    let mut signing: Vec<_> = found.into_iter().filter(|key| key.may_sign).collect();
    match (signing.len(), signing.pop()) {
        (1, Some(found)) => Ok(found),
        (_, Some(last)) => {
            signing.push(last);
            Err(Pkcs11Error::ManyKeys {
                token,
                key,
                matching: objects::listed(&signing),
                advice: objects::tell_apart(&config.uri, &signing),
            })
        }
        (_, None) if any => Err(Pkcs11Error::NotForSigning { token, key }),
        (_, None) => {
            let all = objects::keys(session, private, &Default::default());
            Err(Pkcs11Error::NoKey {
                token,
                key,
                seen: objects::listed(&all.unwrap_or_default()),
                logged_in,
            })
        }
    }
}

pub(crate) fn failed(doing: &'static str, token: &Token, source: Call) -> Pkcs11Error {
    Pkcs11Error::Token {
        doing,
        token: token.name(),
        source,
    }
}

pub(crate) fn log_out(session: &Session, logged_in: bool) {
    if logged_in {
        // Closing the last session logs out as well.
        session.logout().unwrap_or(());
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
