//! `hardsign login` (CLI-59 to CLI-63, CFG-25, CFG-26).

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use hardsign_core::artifact::reference::{ReferenceFault, is_registry};
use hardsign_core::budget::Phase;
use hardsign_core::oci::auth::{Credential, LoginError, LoginOutcome, Secret, login};
use hardsign_core::text::WithCauses;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Context, repository};
use crate::args::login::LoginArgs;
use crate::failure::{Failure, registry};

pub(super) fn run(args: LoginArgs, context: &Context) -> Result<(), Failure> {
    let dirs = context.dirs()?;
    if !is_registry(&args.server) {
        let fault = ReferenceFault::Registry(args.server);
        return Err(failure(LoginError::Registry(fault)));
    }
    let outcome = context.wait(async {
        let credential = credential(&args, context).await?;
        let connector = repository::connector(&args.registry, &dirs, context)?;
        let store = repository::credential_store(&dirs, context);
        let login = async {
            let login = login(&connector, &store, &args.server, &credential);
            login.await.map_err(failure)
        };
        args.deadline.budget().run(Phase::LoggingIn, login).await
    })?;
    if outcome == LoginOutcome::AlreadyInPlainText {
        context.console.warning(format_args!(
            "The credentials store is not set up. It is recommended to configure the credentials store to securely store your credentials. See {HOW_TO}."
        ));
        context
            .console
            .line("Authenticated with existing credentials")?;
    }
    context.console.line("Login Succeeded")?;
    Ok(context.console.document(&json!({
        "server": args.server,
        "existingCredential": outcome == LoginOutcome::AlreadyInPlainText,
    }))?)
}

/// A machine without a credential store gets a way that needs none.
fn failure(error: LoginError) -> Failure {
    match error {
        LoginError::Registry(_) => Failure::error(error)
            .hint("give the host, with its port if it has one, for instance registry.example.com"),
        LoginError::Refused { server, source } => {
            let refused = registry::refuses_credential(&source);
            let mut failure = Failure::from(*source);
            if refused {
                failure = failure.hint(WRONG_PASSWORD);
            }
            for message in &mut failure.messages {
                *message = format!("failed to log in to {server}: {message}");
            }
            failure
        }
        LoginError::NoStore { .. } => Failure::error(error).hint(WITHOUT_STORE),
        LoginError::Store { .. } => Failure::error(error).hint(WITHOUT_STORE),
        other => Failure::error(other),
    }
}

/// What the flags and variables don't say is asked for (CLI-60).
async fn credential(args: &LoginArgs, context: &Context) -> Result<Credential, Failure> {
    let mut username = args.registry.username.clone();
    let mut password = args.registry.password.clone();
    if args.password_stdin {
        password = from_stdin()?;
        if password.expose().is_empty() {
            return Err(required(&username));
        }
    }
    if password.expose().is_empty() {
        if username.is_empty() {
            let answer = ask("Username: ", false, context).await.map_err(|error| {
                Failure::failed(format!("error reading username: {}", WithCauses(&error)))
            })?;
            username = answer.expose().trim().to_owned();
        }
        let question = if username.is_empty() {
            "Token: "
        } else {
            "Password: "
        };
        password = ask(question, true, context).await.map_err(|error| {
            Failure::failed(format!("error reading password: {}", WithCauses(&error)))
        })?;
    }
    match Credential::from_user(&username, password.expose()) {
        Some(credential) if !password.expose().is_empty() => Ok(credential),
        _ => Err(required(&username)),
    }
}

/// Nothing was given: at a question, or by `--password-stdin`.
fn required(username: &str) -> Failure {
    let failure = Failure::failed(match username.is_empty() {
        true => "token required",
        false => "password required",
    });
    failure.hint(match username.is_empty() {
        true => WITHOUT_QUESTION,
        false => PASSWORD_WITHOUT_QUESTION,
    })
}

/// All of standard input, less one final newline (CLI-61).
fn from_stdin() -> Result<Secret, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = io::stdin()
        .lock()
        .take(MAX_SECRET)
        .read_to_string(&mut text);
    read.map_err(|error| {
        Failure::failed(format!("error reading password: {}", WithCauses(&error)))
    })?;
    Ok(Secret::new(without_newline(&text)))
}

/// Less one final newline, of either kind.
fn without_newline(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Asks for one line. A secret one is not shown on a terminal, and the terminal's settings are put
/// back however the question ends, by Ctrl-C too.
async fn ask(question: &str, secret: bool, context: &Context) -> io::Result<Secret> {
    let hidden = secret && io::stdin().is_terminal();
    context.console.hold_progress(true);
    // Before the question: who sees it may type.
    let echo = hidden.then(Echo::off).transpose()?;
    context.console.question(question)?;
    let read = tokio::task::spawn_blocking(|| {
        let mut line = Zeroizing::new(String::new());
        let read = io::stdin().lock().take(MAX_SECRET).read_line(&mut line)?;
        Ok((read > 0, Secret::new(without_newline(&line))))
    });
    let answer = tokio::select! {
        answer = read => answer.map_err(io::Error::other)?,
        () = context.interrupts.interrupt().raised() => Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
    };
    drop(echo);
    // The line of the question ends here, unless the user ended it where all can see.
    if hidden || !matches!(answer, Ok((true, _))) {
        context.console.question("\n")?;
    }
    context.console.hold_progress(false);
    answer.map(|(_, secret)| secret)
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Echo {
    #[cfg(unix)]
    before: rustix::termios::Termios,
}

#[cfg(unix)]
impl Echo {
    fn off() -> io::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self { before })
    }
}

#[cfg(unix)]
impl Drop for Echo {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        // A terminal that is gone needs no settings.
        let _gone = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(not(unix))]
impl Echo {
    fn off() -> io::Result<Self> {
        Err(io::Error::other(
            "this terminal can't hide what is typed: use --password-stdin",
        ))
    }
}

/// Longest secret, in bytes.
const MAX_SECRET: u64 = 64 << 10;

const HOW_TO: &str = "https://notaryproject.dev/docs/how-to/registry-authentication/";

const WITHOUT_QUESTION: &str = "--username and --password-stdin log in without a question, --password-stdin alone with a token";

const PASSWORD_WITHOUT_QUESTION: &str = "--password-stdin reads it from standard input";

const WRONG_PASSWORD: &str = "the registry rejected these credentials; many registries require an access token instead of the password";

const WITHOUT_STORE: &str = "set up a credential helper (\"credsStore\" in Docker's config.json, program docker-credential-<name>); or, without one, set NOTATION_USERNAME and NOTATION_PASSWORD for each command, or let `docker login` or `podman login` keep the credential: what they stored is read";

#[cfg(test)]
mod tests {
    use super::*;

    /// CLI-61: one final newline goes, of either kind; nothing else.
    #[test]
    fn cli_61_one_final_newline_is_trimmed() {
        for (typed, meant) in [
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret", "secret"),
            ("secret\n\n", "secret\n"),
            (" secret \n", " secret "),
            ("\n", ""),
        ] {
            assert_eq!(without_newline(typed), meant);
        }
    }
}
