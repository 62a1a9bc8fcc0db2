//! The plugin's `main`: commands in, answers out, whatever the plugin's code does.
//!
//! One-shot commands and sessions run through the same handler. Implements the plugin's side of
//! contract 1.0 (PLG-01, PLG-02, PLG-07, PLG-13, PLG-14, PLG-49) and of the `HARDSIGN.*`
//! extensions. It does no cryptography but hashing the payload of `generate-signature`.

use std::ffi::OsString;
use std::future::poll_fn;
use std::io::{IsTerminal as _, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process::ExitCode;
use std::task::Poll;

use crate::Error;
use crate::asynchronous::{AsyncPlugin, Blocking};
use crate::context::{Channel, Context};
use crate::error::{ErrorCode, ErrorResponse};
use crate::frame::{FrameError, MAX_MESSAGE, read_message};
use crate::os::{self, Cancellation, Stray};
use crate::plugin::Plugin;
use crate::proto::{Capability, Command, Metadata};
#[cfg(feature = "tokio")]
use futures::Futures;
use handler::Handler;
use threads::Threads;

#[cfg(feature = "tokio")]
mod futures;
mod handler;
mod session;
mod threads;

/// Serves the command that the host started this process with, then ends the plugin.
///
/// ```no_run
/// # use hardsign_plugin::{Context, Error, Key, KeyRequest, Plugin, proto::Metadata};
/// # struct Mine;
/// # impl Plugin for Mine {
/// #     type Key = MyKey;
/// #     fn metadata(&self) -> Metadata { Metadata::new("mine", "d", "1.0.0", "https://example.com") }
/// #     fn open(&self, _: &KeyRequest<'_>, _: &Context<'_>) -> Result<MyKey, Error> { Ok(MyKey) }
/// # }
/// # struct MyKey;
/// # impl Key for MyKey {
/// #     fn key_spec(&self) -> hardsign_plugin::algorithm::KeySpec { hardsign_plugin::algorithm::KeySpec::Ec256 }
/// #     fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> { Ok(Vec::new()) }
/// #     fn sign_digest(&self, _: &[u8], _: &Context<'_>) -> Result<Vec<u8>, Error> { Ok(Vec::new()) }
/// # }
/// fn main() -> std::process::ExitCode {
///     hardsign_plugin::serve(Mine)
/// }
/// ```
///
/// The only argument is the command; the request comes on stdin. The answer goes to stdout with
/// exit code 0, or an error answer to stderr with exit code 1. Anything that the plugin's code
/// or a library prints goes elsewhere.
pub fn serve(plugin: impl Plugin) -> ExitCode {
    let code = serve_process(&Blocking(&plugin), || Ok(Threads));
    drop(plugin);
    ExitCode::from(code)
}

/// [`serve`] for a plugin that waits on a network: on a runtime of its own, with as many signatures
/// under way as the key allows.
#[cfg(feature = "tokio")]
pub fn serve_async(plugin: impl AsyncPlugin) -> ExitCode {
    let code = serve_process(&plugin, Futures::new);
    drop(plugin);
    ExitCode::from(code)
}

fn serve_process<E: Engine>(
    plugin: &impl AsyncPlugin,
    engine: impl FnOnce() -> Result<E, Error>,
) -> u8 {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().filter(|_| arguments.next().is_none());
    let metadata = plugin.metadata();
    match command.as_ref().and_then(|name| known(&metadata, name)) {
        Some(Asked::Version) => print_version(&metadata),
        Some(Asked::Command(command)) => match engine() {
            Ok(engine) => run(plugin, &command, &engine),
            Err(error) => {
                drop(write_error(&mut std::io::stderr(), error));
                1
            }
        },
        None => refuse_command(&metadata),
    }
}

/// What the argument asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Asked {
    Version,
    Command(Command),
}

fn known(metadata: &Metadata, name: &OsString) -> Option<Asked> {
    let name = name.to_str()?;
    if name == "version" || name == "--version" {
        return Some(Asked::Version);
    }
    let command = Command::from(name);
    commands(metadata)
        .contains(&command)
        .then_some(Asked::Command(command))
}

/// The commands that go with the plugin's capabilities.
fn commands(metadata: &Metadata) -> Vec<Command> {
    let mut commands = vec![Command::GetPluginMetadata];
    for capability in &metadata.capabilities {
        let served: &[Command] = match capability {
            Capability::RawSignature => &[Command::DescribeKey, Command::GenerateSignature],
            Capability::Envelope | Capability::EnvelopeForBlob => &[Command::GenerateEnvelope],
            Capability::TrustedIdentity | Capability::RevocationCheck => {
                &[Command::VerifySignature]
            }
            Capability::Digest => &[Command::SignDigest],
            Capability::Session => &[Command::Session],
            Capability::Keys => &[
                Command::ListKeys,
                Command::CreateKey,
                Command::ImportCertificates,
            ],
            Capability::Attest => &[Command::AttestKey],
            Capability::TestKeys => &[Command::GenerateTestKey],
            Capability::Setup => &[Command::SetUpToken],
            Capability::Versions | Capability::Unknown(_) => &[],
        };
        for command in served {
            if !commands.contains(command) {
                commands.push(command.clone());
            }
        }
    }
    commands
}

/// PLG-49: `version` is for people.
fn print_version(metadata: &Metadata) -> u8 {
    let Metadata {
        name,
        description,
        version,
        ..
    } = metadata;
    let text = format!("{name} - {description}\nVersion: {version}\n");
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

/// PLG-49: anything else lists the commands, as text for a person and as JSON for a host.
fn refuse_command(metadata: &Metadata) -> u8 {
    let mut names: Vec<_> = commands(metadata).iter().map(Command::to_string).collect();
    names.push("version".to_owned());
    let message = format!("Invalid command, valid commands are: {}", names.join(", "));
    let mut stderr = std::io::stderr();
    let written = if stderr.is_terminal() {
        writeln!(stderr, "{message}").map_err(FrameError::Io)
    } else {
        write_error(&mut stderr, Error::validation(message))
    };
    drop(written);
    1
}

/// Serves one command on the process's own streams.
fn run<P: AsyncPlugin>(plugin: &P, command: &Command, engine: &impl Engine) -> u8 {
    let stray = match command {
        Command::Session => Stray::ToStderr,
        _ => Stray::Dropped,
    };
    let mut streams = match os::take_streams(stray) {
        Ok(streams) => streams,
        Err(error) => {
            let error = Error::from_error(ErrorCode::Error, &error);
            drop(write_error(&mut std::io::stderr(), error));
            return 1;
        }
    };
    os::hold_back_interrupt();
    // Where the limit can't be set, PINs are zeroed all the same.
    drop(os::forbid_core_dumps());
    if *command == Command::Session {
        engine.session(plugin, streams.input, &mut streams.output)
    } else {
        engine.wait(one_shot(
            plugin,
            command,
            streams.input,
            &mut streams.output,
            &mut streams.errors,
        ))
    }
}

/// Serves one command on any streams and returns the exit code: for tests of a plugin.
///
/// In contrast to [`serve`] the process's own streams and signals are left alone.
pub fn serve_on(
    plugin: &impl Plugin,
    command: &str,
    input: impl Read + Send + 'static,
    output: &mut (impl Write + Send),
    errors: &mut impl Write,
) -> u8 {
    serve_streams(&Blocking(plugin), command, input, output, errors, &Threads)
}

/// [`serve_on`] for a plugin of futures.
#[cfg(feature = "tokio")]
pub fn serve_async_on(
    plugin: &impl AsyncPlugin,
    command: &str,
    input: impl Read + Send + 'static,
    output: &mut (impl Write + Send),
    errors: &mut impl Write,
) -> u8 {
    match Futures::new() {
        Ok(engine) => serve_streams(plugin, command, input, output, errors, &engine),
        Err(error) => {
            drop(write_error(errors, error));
            1
        }
    }
}

fn serve_streams(
    plugin: &impl AsyncPlugin,
    command: &str,
    input: impl Read + Send + 'static,
    output: &mut (impl Write + Send),
    errors: &mut impl Write,
    engine: &impl Engine,
) -> u8 {
    let command = Command::from(command);
    if !commands(&plugin.metadata()).contains(&command) {
        let error = Error::validation(format!("{command} is not supported"));
        drop(write_error(errors, error));
        return 1;
    }
    match command {
        Command::Session => engine.session(plugin, input, output),
        command => engine.wait(one_shot(plugin, &command, input, output, errors)),
    }
}

/// What drives the futures of a plugin: threads, or a runtime.
trait Engine {
    /// Waits for a future.
    fn wait<T>(&self, work: impl Future<Output = T>) -> T;

    /// Serves a session and returns the exit code.
    fn session<P: AsyncPlugin>(
        &self,
        plugin: &P,
        input: impl Read + Send + 'static,
        output: &mut (impl Write + Send),
    ) -> u8;
}

/// Serves a one-shot command.
async fn one_shot<P: AsyncPlugin>(
    plugin: &P,
    command: &Command,
    input: impl Read,
    output: &mut impl Write,
    errors: &mut impl Write,
) -> u8 {
    let channel = Channel::new(None);
    let answer = match read_message(input, MAX_MESSAGE) {
        Ok(request) => {
            let handler = Handler::new(plugin);
            let context = Context::new(&channel, None);
            guarded(handler.answer(command, &request, None, &context)).await
        }
        Err(error) => Err(malformed(&error)),
    };
    let written = match answer {
        Ok(answer) => output
            .write_all(answer.get().as_bytes())
            .and_then(|()| output.flush())
            .map_err(|error| Error::from_error(ErrorCode::Error, &error)),
        Err(error) => Err(error),
    };
    match written {
        Ok(()) => 0,
        Err(error) => {
            // If stderr has gone as well, the exit code is all that is left.
            drop(write_error(errors, error));
            1
        }
    }
}

/// Runs plugin code; a panic becomes an error answer.
async fn guarded<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut work = pin!(work);
    poll_fn(|waker| {
        // A future that panicked is not polled again.
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(waker))).unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Poll::Ready(Err(Error::other(format!("the plugin panicked: {text}"))))
        })
    })
    .await
}

fn malformed(error: &(dyn std::error::Error + 'static)) -> Error {
    let cause = Error::from_error(ErrorCode::ValidationError, error);
    Error::validation(format!("Input is not a valid JSON: {cause}"))
}

fn write_error(errors: &mut impl Write, error: Error) -> Result<(), FrameError> {
    crate::frame::write_line(errors, &ErrorResponse::from(error))
}

/// Ends the waits for a person: the host has gone.
fn cancel_questions() {
    if let Ok(cancellation) = Cancellation::of_process() {
        cancellation.raise();
    }
}

#[cfg(test)]
mod tests;
