//! What the requests of one process share: a module is loaded once, and nobody proves themselves to
//! a token twice.

use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::session::{Session, SessionState, UserType};
use hardsign_plugin::secret::PinSource;
use hardsign_plugin::{Context, Error, Once};

use crate::config::Config;
use crate::error::Pkcs11Error;
use crate::login::{Proof, check_tries, proof, prove};
use crate::module::{Module, Token};

/// Modules and logins of this process.
#[derive(Default)]
pub(crate) struct Shared {
    modules: Mutex<Vec<Arc<Module>>>,
    /// By token; a failure stays one.
    logins: Mutex<Vec<(String, Arc<Login>)>>,
}

/// A login to a token, with what was used.
type Login = Once<Arc<Proof>>;

impl Shared {
    /// The module of the configuration, loaded if it is not yet.
    pub(crate) fn module(&self, config: &Config) -> Result<Arc<Module>, Pkcs11Error> {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let known = modules
            .iter()
            .find(|module| config.module.as_deref() == Some(module.path()));
        if let Some(module) = known {
            module.check_library(&config.uri)?;
            return Ok(Arc::clone(module));
        }
        let module = Arc::new(Module::load(config)?);
        modules.push(Arc::clone(&module));
        Ok(module)
    }

    /// Logs in if the token wants that and nobody has; gives what was used, for keys that want it
    /// at each use.
    pub(crate) fn login(
        &self,
        module: &Module,
        token: &Token,
        session: &Session,
        source: Option<&PinSource>,
        context: &Context<'_>,
    ) -> Result<Option<Arc<Proof>>, Error> {
        if !token.info.login_required() {
            return Ok(None);
        }
        let place = format!(
            "{}\0{}\0{}",
            module.path().display(),
            token.label(),
            token.serial()
        );
        let login = self.login_to(&place);
        let mut is_first = false;
        let proof = login.get(|| {
            is_first = true;
            let first = || -> Result<Arc<Proof>, Error> {
                check_tries(module, token)?;
                let proof = proof(token, source, context)?;
                prove(module, token, session, UserType::User, &proof, context)?;
                Ok(Arc::new(proof))
            };
            first().map_err(|error| token.named_in(error))
        })?;
        if !is_first && !is_logged_in(session) {
            check_tries(module, token)?;
            prove(module, token, session, UserType::User, proof, context)?;
        }
        Ok(Some(Arc::clone(proof)))
    }

    fn login_to(&self, place: &str) -> Arc<Login> {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, login)) = logins.iter().find(|(known, _)| known == place) {
            return Arc::clone(login);
        }
        let login = Arc::new(Login::new());
        logins.push((place.to_owned(), Arc::clone(&login)));
        login
    }
}

fn is_logged_in(session: &Session) -> bool {
    session.get_session_info().is_ok_and(|info| {
        matches!(
            info.session_state(),
            SessionState::RoUser | SessionState::RwUser
        )
    })
}
