//! Loading a module and finding a token.

use hardsign_plugin::pkcs11_uri::Uri;
use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::RvError;
use cryptoki::mechanism::MechanismType;
use cryptoki::session::Session;
use cryptoki::slot::{Limit, Slot, TokenInfo};
use hardsign_plugin::Error;
use hardsign_plugin::proto::Token as TokenDescription;

use crate::config::Config;
use crate::error::{Call, Pkcs11Error};

/// Slots that are looked at.
const MAX_SLOTS: usize = 256;

/// Tokens that an error lists.
const MAX_LISTED: usize = 8;

/// Where modules usually are; for error messages only.
const USUAL_MODULES: [&str; 14] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so",
    "/usr/lib/aarch64-linux-gnu/opensc-pkcs11.so",
    "/usr/lib64/opensc-pkcs11.so",
    "/usr/lib/x86_64-linux-gnu/libykcs11.so",
    "/usr/lib/aarch64-linux-gnu/libykcs11.so",
    "/usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1",
    "/usr/lib/aarch64-linux-gnu/libtpm2_pkcs11.so.1",
    "/opt/cloudhsm/lib/libcloudhsm_pkcs11.so",
    "/usr/safenet/lunaclient/lib/libCryptoki2_64.so",
    "/opt/nfast/toolkits/pkcs11/libcknfast.so",
];

/// A module that is loaded and initialized. Finalized when dropped, after all its sessions.
pub(crate) struct Module {
    path: PathBuf,
    context: Option<Pkcs11>,
    /// Whether several threads may call the module at once.
    parallel: bool,
}

/// A token in a slot.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) slot: Slot,
    pub(crate) info: TokenInfo,
}

impl Token {
    /// The token's name in messages.
    pub(crate) fn name(&self) -> String {
        format!("token {:?}", self.label())
    }

    pub(crate) fn label(&self) -> &str {
        text(self.info.label())
    }

    pub(crate) fn serial(&self) -> &str {
        text(self.info.serial_number())
    }

    /// Whether this is that token, wherever it is plugged in now.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.label(), self.serial()) == (other.label(), other.serial())
    }

    /// Says from which token an error came, so that a host knows where not to try again.
    pub(crate) fn named_in(&self, error: Error) -> Error {
        error.of_token(&self.describe())
    }

    /// The token as the protocol describes it.
    pub(crate) fn describe(&self) -> TokenDescription {
        let said = |said: &str| Some(text(said).to_owned()).filter(|said| !said.is_empty());
        TokenDescription {
            label: said(self.info.label()),
            serial: said(self.info.serial_number()),
            manufacturer: said(self.info.manufacturer_id()),
            model: said(self.info.model()),
        }
    }

    fn listed(&self) -> String {
        format!(
            "{:?} (serial {:?}, slot-id {})",
            self.label(),
            self.serial(),
            self.slot.id()
        )
    }
}

/// The slots of a module, by what is in them.
#[derive(Default)]
struct Slots {
    matching: Vec<Token>,
    others: Vec<Token>,
    /// Slots whose token can't be used, each with the reason.
    unusable: Vec<String>,
}

/// What a module says of a mechanism.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Support {
    Yes,
    No,
    /// It does not say.
    Unknown,
}

/// The text that a module means: tokens pad with blanks, some of them with NUL bytes.
pub(crate) fn text(padded: &str) -> &str {
    let end = padded.find('\0').unwrap_or(padded.len());
    padded.get(..end).unwrap_or(padded).trim_end_matches(' ')
}

impl Module {
    /// Loads and initializes the module of the configuration.
    pub(crate) fn load(config: &Config) -> Result<Self, Pkcs11Error> {
        let Some(path) = config.module.clone() else {
            return Err(Pkcs11Error::NoModule {
                key: config.key_name(),
                found: usual_modules(),
            });
        };
        if !path.is_file() {
            let found = usual_modules();
            return Err(Pkcs11Error::ModuleMissing { path, found });
        }
        let context = Pkcs11::new(&path).map_err(|source| Pkcs11Error::ModuleLoad {
            path: path.clone(),
            source: source.into(),
        })?;
        let parallel = initialize(&context).map_err(|source| Pkcs11Error::ModuleFailed {
            path: path.clone(),
            source,
        })?;
        let module = Self {
            path,
            context: Some(context),
            parallel,
        };
        module.check_library(&config.uri)?;
        Ok(module)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn context(&self) -> Result<&Pkcs11, Call> {
        // Taken by `drop` alone.
        self.context
            .as_ref()
            .ok_or(Call(cryptoki::error::Error::NullFunctionPointer))
    }

    fn failed(&self, source: Call) -> Pkcs11Error {
        Pkcs11Error::ModuleFailed {
            path: self.path.clone(),
            source,
        }
    }

    /// The `library-…` attributes of the URI.
    pub(crate) fn check_library(&self, uri: &Uri) -> Result<(), Pkcs11Error> {
        if uri.library_manufacturer.is_none()
            && uri.library_description.is_none()
            && uri.library_version.is_none()
        {
            return Ok(());
        }
        let info = self.context().and_then(|c| Ok(c.get_library_info()?));
        let info = info.map_err(|source| self.failed(source))?;
        let version = info.library_version();
        let version = format!("{}.{}", version.major(), version.minor());
        for (name, wanted, actual) in [
            (
                "manufacturer",
                &uri.library_manufacturer,
                info.manufacturer_id(),
            ),
            (
                "description",
                &uri.library_description,
                info.library_description(),
            ),
            ("version", &uri.library_version, version.as_str()),
        ] {
            if !agrees(wanted.as_deref(), actual) {
                return Err(Pkcs11Error::OtherLibrary {
                    module: self.path.clone(),
                    what: format!("its {name} is {actual:?}"),
                });
            }
        }
        Ok(())
    }

    /// All initialized tokens that the URI's attributes match.
    pub(crate) fn tokens(&self, uri: &Uri) -> Result<Vec<Token>, Pkcs11Error> {
        Ok(self.slots(uri)?.matching)
    }

    /// The slots whose tokens can't be used, each with the reason.
    pub(crate) fn unusable(&self) -> Result<Vec<String>, Pkcs11Error> {
        Ok(self.slots(&Uri::default())?.unusable)
    }

    /// The one token that the URI's attributes match.
    pub(crate) fn token(&self, uri: &Uri) -> Result<Token, Pkcs11Error> {
        let Slots {
            mut matching,
            others,
            unusable,
        } = self.slots(uri)?;
        let listed = |tokens: &[Token]| tokens.iter().take(MAX_LISTED).map(Token::listed).collect();
        match (matching.len(), matching.pop()) {
            (1, Some(token)) => Ok(token),
            (_, None) => Err(Pkcs11Error::NoToken {
                module: self.path.clone(),
                wanted: wanted(uri),
                seen: listed(&others),
                unusable,
            }),
            (_, Some(last)) => {
                matching.push(last);
                Err(Pkcs11Error::ManyTokens {
                    module: self.path.clone(),
                    wanted: wanted(uri),
                    matching: listed(&matching),
                    advice: tell_apart(uri, &matching),
                })
            }
        }
    }

    /// Looks into every slot.
    fn slots(&self, uri: &Uri) -> Result<Slots, Pkcs11Error> {
        let context = self.context().map_err(|source| self.failed(source))?;
        let ids = context
            .get_slots_with_token()
            .map_err(|source| self.failed(source.into()))?;
        let mut slots = Slots::default();
        for slot in ids.into_iter().take(MAX_SLOTS) {
            let info = match context.get_token_info(slot) {
                Ok(info) if info.token_initialized() => info,
                Ok(_) => {
                    slots.not_usable(slot, "its token is not initialized");
                    continue;
                }
                Err(error) => {
                    slots.not_usable(slot, &Call(error).to_string());
                    continue;
                }
            };
            let token = Token { slot, info };
            if self.matches(uri, &token) {
                slots.matching.push(token);
            } else {
                slots.others.push(token);
            }
        }
        Ok(slots)
    }

    fn matches(&self, uri: &Uri, token: &Token) -> bool {
        let Token { slot, info } = token;
        agrees(uri.token.as_deref(), info.label())
            && agrees(uri.serial.as_deref(), info.serial_number())
            && agrees(uri.manufacturer.as_deref(), info.manufacturer_id())
            && agrees(uri.model.as_deref(), info.model())
            && uri.slot_id.is_none_or(|id| id == slot.id())
            && self.slot_matches(uri, *slot)
    }

    fn slot_matches(&self, uri: &Uri, slot: Slot) -> bool {
        if uri.slot_description.is_none() && uri.slot_manufacturer.is_none() {
            return true;
        }
        self.context()
            .and_then(|context| Ok(context.get_slot_info(slot)?))
            .is_ok_and(|info| {
                agrees(uri.slot_description.as_deref(), info.slot_description())
                    && agrees(uri.slot_manufacturer.as_deref(), info.manufacturer_id())
            })
    }

    /// Opens a read-only session.
    pub(crate) fn open_session(&self, slot: Slot) -> Result<Session, Call> {
        Ok(self.context()?.open_ro_session(slot)?)
    }

    /// Opens a session that may write.
    pub(crate) fn open_rw_session(&self, slot: Slot) -> Result<Session, Call> {
        Ok(self.context()?.open_rw_session(slot)?)
    }

    /// The token's state now, for the count of PIN tries.
    pub(crate) fn token_info(&self, slot: Slot) -> Result<TokenInfo, Call> {
        Ok(self.context()?.get_token_info(slot)?)
    }

    /// Whether the token can sign with this mechanism. Only CKR_MECHANISM_INVALID and an answer
    /// that names other uses say no: there are modules without C_GetMechanismInfo.
    pub(crate) fn can_sign(&self, slot: Slot, mechanism: MechanismType) -> Support {
        let info = self
            .context()
            .and_then(|context| Ok(context.get_mechanism_info(slot, mechanism)?));
        match info {
            Ok(info) if info.sign() => Support::Yes,
            Ok(info) if info.verify() || info.encrypt() || info.decrypt() => Support::No,
            Ok(_) => Support::Unknown,
            Err(call) if call.value() == Some(RvError::MechanismInvalid) => Support::No,
            Err(_) => Support::Unknown,
        }
    }

    /// Ends the module's work and begins it anew, for one that has lost its connection. No session
    /// may be open or in use.
    pub(crate) fn restart(&self) -> Result<(), Call> {
        let context = self.context()?;
        // A module that was never told to begin, or has forgotten it, can't end.
        context.clone().finalize().unwrap_or(());
        initialize(context).map(|_| ())
    }

    /// How many sessions may be open at once, at most `wanted`.
    pub(crate) fn session_limit(&self, info: &TokenInfo, wanted: u32) -> u32 {
        if !self.parallel {
            return 1;
        }
        match info.max_session_count() {
            Limit::Max(most) => u32::try_from(most).unwrap_or(wanted).clamp(1, wanted),
            Limit::Unavailable | Limit::Infinite => wanted,
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Some(context) = self.context.take() {
            // The process is about to end; a module that can't be finalized is left to it.
            context.finalize().unwrap_or(());
        }
    }
}

/// Initializes for several threads, or for one if the module can't lock.
fn initialize(context: &Pkcs11) -> Result<bool, Call> {
    let threads = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    match context.initialize(threads).map_err(Call) {
        Ok(()) => Ok(true),
        Err(error) if error.value() == Some(RvError::CantLock) => {
            context.initialize(CInitializeArgs::new(CInitializeFlags::empty()))?;
            Ok(false)
        }
        // Another library in this process has begun already, and locks as it likes.
        Err(error) if error.value() == Some(RvError::CryptokiAlreadyInitialized) => Ok(true),
        Err(error) => Err(error),
    }
}

fn usual_modules() -> Vec<PathBuf> {
    let usual = USUAL_MODULES.iter().map(PathBuf::from);
    usual.filter(|path| path.is_file()).collect()
}

/// Whether an attribute is absent from the URI or equal, padding apart.
fn agrees(wanted: Option<&str>, actual: &str) -> bool {
    wanted.is_none_or(|wanted| text(wanted) == text(actual))
}

impl Slots {
    fn not_usable(&mut self, slot: Slot, why: &str) {
        if self.unusable.len() < MAX_LISTED {
            self.unusable.push(format!("slot {}: {why}", slot.id()));
        }
    }
}

/// What tells these tokens apart that the URI does not name yet.
fn tell_apart(uri: &Uri, matching: &[Token]) -> &'static str {
    let differ = |text: fn(&Token) -> &str| {
        let mut texts = matching.iter().map(text);
        let first = texts.next();
        texts.any(|text| Some(text) != first)
    };
    if uri.token.is_none() && differ(Token::label) {
        "add token= to the URI"
    } else if uri.serial.is_none() && differ(Token::serial) {
        "add serial= to the URI"
    } else {
        "add slot-id= to the URI"
    }
}

/// The token attributes of a URI, for messages.
fn wanted(uri: &Uri) -> String {
    let texts = [
        ("token", &uri.token),
        ("serial", &uri.serial),
        ("manufacturer", &uri.manufacturer),
        ("model", &uri.model),
        ("slot-description", &uri.slot_description),
        ("slot-manufacturer", &uri.slot_manufacturer),
    ];
    let mut named: Vec<String> = texts
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)))
        .map(|(name, value)| match name {
            "token" => format!("{value:?}"),
            _ => format!("with {name} {value:?}"),
        })
        .collect();
    if let Some(id) = uri.slot_id {
        named.push(format!("in slot {id}"));
    }
    match named.is_empty() {
        true => "(no token was named)".to_owned(),
        false => named.join(" "),
    }
}
