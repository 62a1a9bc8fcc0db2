//! Doing what was asked, one file a command. Nothing here decides whether a signature is good.

use std::io::{self, BufRead as _, Read as _};
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, Command};
use hardsign_core::artifact::Kind;
use hardsign_core::dirs::Dirs;
use hardsign_core::event::{Listener, Observer};
use hardsign_core::text::WithCauses;
use jiff::Timestamp;
use tokio::runtime::Builder;

use crate::args;
use crate::failure::Failure;
use crate::output::Console;

#[cfg(target_os = "linux")]
mod admission;
mod attach;
mod blob;
mod build_metadata;
mod certificate;
mod certificate_file;
mod completion;
mod copy;
mod delete;
mod doctor;
mod ends;
mod evidence;
mod explain;
mod inspect;
mod interrupts;
mod key;
mod lines;
mod list;
mod login;
mod logout;
mod man;
mod many;
pub(crate) mod node;
mod permissions;
mod plugin;
mod policy;
mod promote;
mod repository;
mod revocation;
mod selection;
mod sign;
mod signer;
mod tally;
mod token;
mod verify;
mod version;

pub(crate) use interrupts::Interrupts;

/// What every command works with. Clones share it.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) console: Arc<Console>,
    pub(crate) program: &'static str,
    pub(crate) interrupts: Arc<Interrupts>,
}

/// What is told where a question meets the end of standard input.
pub(crate) struct Unanswered {
    /// What was not done, and to what.
    pub(crate) not_done: String,
    /// The flag that agrees without a question.
    pub(crate) flag: &'static str,
}

impl Unanswered {
    pub(crate) fn new(not_done: impl Into<String>, flag: &'static str) -> Self {
        Self {
            not_done: not_done.into(),
            flag,
        }
    }

    fn failure(&self) -> Failure {
        let failure = Failure::failed(format!(
            "{}: standard input ended before the question was answered",
            self.not_done
        ));
        failure.hint(format!("{} agrees without a question", self.flag))
    }
}

impl Context {
    /// The console, for what happens in plugins, servers and checks.
    pub(crate) fn listener(&self) -> Listener {
        let console: Arc<dyn Observer> = self.console.clone();
        Listener::from(console)
    }

    /// The user's directories (CFG-01 to CFG-05).
    pub(crate) fn dirs(&self) -> Result<Dirs, Failure> {
        Dirs::from_environment().map_err(Failure::error)
    }

    /// Asks `question` and reads one line (CLI-13).
    ///
    /// # Errors
    /// There is no line, so that nobody said no: then nothing was done, as `unanswered` says. And a no
    /// where a JSON document is expected, which can't say so.
    pub(crate) fn confirm(
        &self,
        question: &str,
        already: bool,
        unanswered: &Unanswered,
    ) -> Result<bool, Failure> {
        if already {
            return Ok(true);
        }
        self.console.hold_progress(true);
        // Before the question: who sees it may interrupt.
        let attended = self.interrupts.attend(&self.console);
        self.console.question(&format!("{question} [y/N] "))?;
        let answer = self.interrupts.heeding(&self.console, None, || {
            let mut answer = String::new();
            let read = io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer);
            read.map(|read| (read, answer))
        });
        drop(attended);
        if !matches!(answer, Ok(Ok((1.., _)))) {
            // The line of the question ends here.
            self.console.question("\n")?;
        }
        self.console.hold_progress(false);
        let (read, answer) = answer.map_err(Failure::error)?.map_err(|error| {
            Failure::failed(format!("failed to read the answer: {}", WithCauses(&error)))
        })?;
        if read == 0 {
            return Err(unanswered.failure());
        }
        let yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
        if !yes && self.console.prints_json() {
            return Err(Failure::failed("nothing was done: the answer was no"));
        }
        if !yes {
            self.console.line("Operation cancelled.")?;
        }
        Ok(yes)
    }

    /// The time now; everything below takes it as an argument.
    pub(crate) fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the executable reads the clock")]
        Timestamp::now()
    }

    /// Runs work that waits for processes or the network, until it is done or the user interrupts
    /// it (CLI-16); if it takes long, a terminal shows that it goes on. Plugins are told of the interruption and given the time to end.
    pub(crate) fn wait<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.wait_on(threads(many::cores()), work)
    }

    /// [`Self::wait`] for work that mostly waits for servers and for a plugin, on half of the processors: the plugin is
    /// at work too, and the fewer threads there are, the less is handed over from one to another.
    pub(crate) fn wait_for_others<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match many::cores() / 2 {
            0 | 1 => self.wait_for_one(work),
            half => self.wait_on(threads(half), work),
        }
    }

    /// [`Self::wait`] for work on one thing, which gains nothing from other threads: without them nothing is
    /// handed over from one to another.
    pub(crate) fn wait_for_one<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.wait_on(Builder::new_current_thread(), work)
    }

    fn wait_on<T>(
        &self,
        mut runtime: Builder,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let interrupt = self.interrupts.interrupt();
        let attended = self.interrupts.attend(&self.console);
        if interrupt.is_raised() {
            return Err(Failure::error(interrupts::interrupted()));
        }
        let runtime = runtime.enable_all().build().map_err(|error| {
            Failure::failed(format!(
                "failed to start the runtime: {}",
                WithCauses(&error)
            ))
        })?;
        let _busy = self.console.spinner("waiting");
        // It is large, and whoever holds it in itself would be as large.
        let mut work = Box::pin(work);
        let result = runtime.block_on(async {
            tokio::select! {
                biased;
                () = interrupt.raised() => {}
                result = &mut work => {
                    // A plugin at its prompt hears the interrupt as well, and its answer may be
                    // here before the signal is.
                    if result.is_err() && self.console.is_terminal() {
                        let _elapsed = tokio::time::timeout(TOGETHER, interrupt.raised()).await;
                    }
                    return result;
                }
            }
            tokio::select! {
                result = work => result,
                () = tokio::time::sleep(FAREWELL) => Err(Failure::error(interrupts::interrupted())),
            }
        });
        drop(attended);
        runtime.shutdown_background();
        // CLI-16: whatever failed because of it, an interruption is a failure of the ordinary kind.
        result.map_err(|failure| match interrupt.is_raised() {
            true => failure.interrupted(),
            false => failure,
        })
    }
}

/// A runtime with so many threads.
fn threads(count: usize) -> Builder {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(count);
    runtime
}

/// Runs the command that `matches` names.
///
/// # Errors
/// The command's failure, not yet printed.
pub(crate) fn run(
    matches: &ArgMatches,
    definition: &Command,
    context: &Context,
) -> Result<(), Failure> {
    match matches.subcommand() {
        Some(("version", m)) => {
            args::version::check(m)?;
            version::run(context)
        }
        Some(("doctor", m)) => match m.subcommand() {
            Some(("node", m)) => doctor::node(&args::node::DoctorArgs::read(m)?, context),
            _ => doctor::run(&args::doctor::DoctorArgs::read(m)?, context),
        },
        Some(("node", group)) => match group.subcommand() {
            Some(("install", m)) => node::install(&args::node::InstallArgs::read(m)?, context),
            Some(("uninstall", m)) => {
                node::uninstall(&args::node::UninstallArgs::read(m)?, context)
            }
            _ => help(&["node"], definition, context),
        },
        Some(("completion", m)) => completion::script(args::completion::shell(m)?, context),
        Some(("__complete", m)) => {
            completion::candidates(&args::completion::all(m), definition, context)
        }
        Some(("__complete_bash", m)) => {
            completion::for_bash(&args::completion::all(m), definition, context)
        }
        Some(("man", m)) => man::run(&args::completion::all(m), definition, context),
        Some(("sign", m)) => sign::run(args::sign::SignArgs::read(m, context.program)?, context),
        Some(("verify", m)) => {
            verify::run(args::verify::VerifyArgs::read(m, context.program)?, context)
        }
        Some(("attach", m)) => attach::run(&args::attach::AttachArgs::read(m)?, context),
        Some(("list", m)) => list::run(args::list::ListArgs::read(m, context.program)?, context),
        Some(("inspect", m)) => inspect::run(
            args::inspect::InspectArgs::read(m, context.program)?,
            context,
        ),
        Some(("copy", m)) => copy::run(&args::copy::CopyArgs::read(m)?, context),
        Some(("promote", m)) => promote::run(&args::promote::PromoteArgs::read(m)?, context),
        Some(("delete", m)) => delete::run(args::delete::DeleteArgs::read(m)?, context),
        Some(("login", m)) => login::run(args::login::LoginArgs::read(m)?, context),
        Some(("logout", m)) => logout::run(&args::login::LogoutArgs::read(m)?, context),
        Some(("blob", group)) => run_blob(group, definition, context),
        Some(("key", group)) => run_key(group, definition, context),
        Some(("token", group)) => match group.subcommand() {
            Some(("setup", m)) => token::setup(&args::token::SetupArgs::read(m)?, context),
            _ => help(&["token"], definition, context),
        },
        Some(("certificate", group)) => run_certificate(group, definition, context),
        Some(("plugin", group)) => run_plugin(group, definition, context),
        #[cfg(target_os = "linux")]
        Some(("admission", group)) => match group.subcommand() {
            Some(("serve", m)) => admission::run(args::admission::ServeArgs::read(m)?, context),
            _ => help(&["admission"], definition, context),
        },
        Some(("policy", group)) => policy(&policy::OCI, group, &["policy"], definition, context),
        None if matches.get_flag("version") => version::run(context),
        _ => help(&[], definition, context),
    }
}

fn run_blob(group: &ArgMatches, definition: &Command, context: &Context) -> Result<(), Failure> {
    use args::blob as typed;
    match group.subcommand() {
        Some(("sign", m)) => blob::sign(typed::SignArgs::read(m, context.program)?, context),
        Some(("verify", m)) => verify::blob(typed::VerifyArgs::read(m, context.program)?, context),
        Some(("inspect", m)) => {
            blob::inspect(typed::InspectArgs::read(m, context.program)?, context)
        }
        Some(("policy", group)) => policy(
            &policy::BLOB,
            group,
            &["blob", "policy"],
            definition,
            context,
        ),
        _ => help(&["blob"], definition, context),
    }
}

fn run_key(group: &ArgMatches, definition: &Command, context: &Context) -> Result<(), Failure> {
    use args::key as typed;
    match group.subcommand() {
        Some(("add", m)) => key::add(typed::AddArgs::read(m)?, context),
        Some(("update", m)) => key::update(typed::UpdateArgs::read(m)?, context),
        Some(("list", m)) => key::list(typed::ListArgs::read(m)?, context),
        Some(("attest", m)) => key::attest::attest(&typed::attest::AttestArgs::read(m)?, context),
        Some(("delete", m)) => key::delete(typed::DeleteArgs::read(m)?, context),
        Some((name, m)) => run_key_life(name, m, definition, context),
        None => help(&["key"], definition, context),
    }
}

/// What is done with a key on its device.
fn run_key_life(
    name: &str,
    m: &ArgMatches,
    definition: &Command,
    context: &Context,
) -> Result<(), Failure> {
    use args::key::life as typed;
    use key::{certify, device, renew};
    match name {
        "create" => device::create(typed::CreateArgs::read(m)?, context),
        "request" => certify::request(typed::RequestArgs::read(m)?, context),
        "certify" => certify::certify(typed::CertifyArgs::read(m)?, context),
        "renew" => renew::renew(typed::RenewArgs::read(m)?, context),
        "crl" => certify::crl(typed::CrlArgs::read(m)?, context),
        "import-cert" => device::import(typed::ImportArgs::read(m)?, context),
        "export-cert" => device::export(typed::LookArgs::read(m)?, context),
        "show" => device::show(typed::LookArgs::read(m)?, context),
        _ => help(&["key"], definition, context),
    }
}

fn run_plugin(group: &ArgMatches, definition: &Command, context: &Context) -> Result<(), Failure> {
    use args::plugin as typed;
    match group.subcommand() {
        Some(("install", m)) => plugin::install(&typed::InstallArgs::read(m)?, context),
        Some(("list", m)) => plugin::list(&typed::ListArgs::read(m)?, context),
        Some(("inspect", m)) => plugin::inspect(&typed::InspectArgs::read(m)?, context),
        Some(("trust", m)) => plugin::trust(&typed::TrustArgs::read(m)?, context),
        Some(("uninstall", m)) => plugin::uninstall(&typed::UninstallArgs::read(m)?, context),
        _ => help(&["plugin"], definition, context),
    }
}

fn run_certificate(
    group: &ArgMatches,
    definition: &Command,
    context: &Context,
) -> Result<(), Failure> {
    use args::certificate as typed;
    match group.subcommand() {
        Some(("add", m)) => certificate::add(typed::AddArgs::read(m)?, context),
        Some(("list", m)) => certificate::list(typed::ListArgs::read(m)?, context),
        Some(("show", m)) => certificate::show(typed::ShowArgs::read(m)?, context),
        Some(("delete", m)) => certificate::delete(typed::DeleteArgs::read(m)?, context),
        Some(("generate-test", m)) => {
            certificate::generate_test(typed::GenerateTestArgs::read(m)?, context)
        }
        Some(("cleanup-test", m)) => {
            certificate::cleanup_test(typed::CleanupTestArgs::read(m)?, context)
        }
        _ => help(&["certificate"], definition, context),
    }
}

/// `policy` and `blob policy`.
fn policy(
    subject: &policy::Subject,
    group: &ArgMatches,
    path: &[&str],
    definition: &Command,
    context: &Context,
) -> Result<(), Failure> {
    use args::policy as typed;
    let of_files = subject.kind() == Kind::Blob;
    match group.subcommand() {
        Some(("import", m)) => {
            let args = typed::ImportArgs::read(m, context.program, &path.join(" "))?;
            policy::import(subject, args, context)
        }
        Some(("show", m)) => {
            typed::no_arguments(m)?;
            policy::show(subject, context)
        }
        Some(("explain", m)) if of_files => {
            explain::blob(&typed::ExplainArgs::read_blob(m)?, context)
        }
        Some(("explain", m)) => {
            let args = typed::ExplainArgs::read(m, context.program)?;
            explain::artifact(&args, context)
        }
        Some(("init", m)) => {
            let args = match of_files {
                true => typed::InitArgs::read_blob(m),
                false => typed::InitArgs::read(m),
            }?;
            policy::init(subject, &args, context)
        }
        Some(("add-signer", m)) => {
            let args = match of_files {
                true => typed::signer::AddArgs::read_blob(m),
                false => typed::signer::AddArgs::read(m),
            }?;
            policy::signer::add(args, context)
        }
        Some(("remove-signer", m)) => {
            let args = typed::signer::RemoveArgs::read(m)?;
            policy::signer::remove(&args, subject.kind(), context)
        }
        Some(("test", m)) => {
            policy::trial::run(typed::TestArgs::read(m, context.program)?, context)
        }
        Some(("schema", m)) => policy::schema(typed::schema_kind(m)?, context),
        _ => help(path, definition, context),
    }
}

/// A command group without a command prints its help and succeeds (CLI-04, CLI-19).
fn help(path: &[&str], definition: &Command, context: &Context) -> Result<(), Failure> {
    let help = args::help(definition, path);
    Ok(context.console.help(&help)?)
}

/// Longest answer to a question, in bytes.
const MAX_ANSWER: u64 = 1024;

/// How far a signal may come behind what it caused.
const TOGETHER: Duration = Duration::from_millis(100);

/// Time for plugins to log out after an interruption; then they are killed.
const FAREWELL: Duration = Duration::from_secs(3);
