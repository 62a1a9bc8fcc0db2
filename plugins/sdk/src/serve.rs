//! The plugin's `main`: commands in, answers out, whatever the plugin's code does.
//!
//! One-shot commands and sessions run through the same handler. Implements the plugin's side of
//! contract 1.0 (PLG-01, PLG-02, PLG-07, PLG-13, PLG-14, PLG-49) and of the `HARDSIGN.DIGEST`,
//! `HARDSIGN.SESSION` and `HARDSIGN.KEYS` extensions. It does no cryptography but hashing the
//! payload of `generate-signature`.

use std::ffi::OsString;
use std::io::{IsTerminal as _, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Digest as _;

use crate::Error;
use crate::algorithm::{HashAlgorithm, KeySpec};
use crate::context::{Channel, Context};
use crate::error::{ErrorCode, ErrorResponse};
use crate::frame::{FrameError, MAX_MESSAGE, read_message};
use crate::os::{self, Cancellation, Stray};
use crate::plugin::{Key, KeyRequest, Plugin, Purpose};
use crate::proto::{
    CONTRACT_VERSION, Capability, Command, DescribeKeyRequest, DescribeKeyResponse,
    GenerateSignatureRequest, GenerateSignatureResponse, GetMetadataRequest, ListKeysRequest,
    Metadata, PluginConfig, SignDigestRequest,
};

mod session;

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
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().filter(|_| arguments.next().is_none());
    let metadata = plugin.metadata();
    let code = match command.as_ref().and_then(|name| known(&metadata, name)) {
        Some(Asked::Version) => print_version(&metadata),
        Some(Asked::Command(command)) => run(&plugin, &command),
        None => refuse_command(&metadata),
    };
    drop(plugin);
    ExitCode::from(code)
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
            Capability::Keys => &[Command::ListKeys],
            Capability::TestKeys => &[Command::GenerateTestKey],
            Capability::Unknown(_) => &[],
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
fn run(plugin: &impl Plugin, command: &Command) -> u8 {
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
        session::run(plugin, streams.input, &mut streams.output)
    } else {
        one_shot(
            plugin,
            command,
            streams.input,
            &mut streams.output,
            &mut streams.errors,
        )
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
    let command = Command::from(command);
    if !commands(&plugin.metadata()).contains(&command) {
        let error = Error::validation(format!("{command} is not supported"));
        drop(write_error(errors, error));
        return 1;
    }
    match command {
        Command::Session => session::run(plugin, input, output),
        command => one_shot(plugin, &command, input, output, errors),
    }
}

fn one_shot(
    plugin: &impl Plugin,
    command: &Command,
    input: impl Read,
    output: &mut impl Write,
    errors: &mut impl Write,
) -> u8 {
    let channel = Channel::new(None);
    let answer = read_message(input, MAX_MESSAGE)
        .map_err(|error| malformed(&error))
        .and_then(|request| {
            guarded(|| answer(plugin, command, &request, &Context::new(&channel, None)))
        });
    let written = match answer {
        Ok(answer) => output
            .write_all(&answer)
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

/// The request of a one-shot command to its answer, both JSON.
fn answer<P: Plugin>(
    plugin: &P,
    command: &Command,
    request: &[u8],
    context: &Context<'_>,
) -> Result<Vec<u8>, Error> {
    match command {
        Command::GetPluginMetadata => {
            // A request is optional here: `notation-x get-plugin-metadata </dev/null`.
            if !request.trim_ascii().is_empty() {
                parse::<GetMetadataRequest>(request)?;
            }
            json(&plugin.metadata())
        }
        Command::DescribeKey => {
            let request: DescribeKeyRequest = parse_versioned(request)?;
            let config = &request.plugin_config;
            let key = open(plugin, &request.key_id, config, Purpose::Describe, context)?;
            json(&DescribeKeyResponse {
                key_spec: key.key_spec(),
                key_id: request.key_id,
            })
        }
        Command::GenerateSignature => {
            let request: GenerateSignatureRequest = parse_versioned(request)?;
            let digest = digest(request.hash_algorithm, &request.payload.0);
            let request = SignDigestRequest {
                contract_version: request.contract_version,
                key_id: request.key_id,
                plugin_config: request.plugin_config,
                key_spec: request.key_spec,
                hash_algorithm: request.hash_algorithm,
                digest: digest.into(),
            };
            json(&sign_once(plugin, request, context)?)
        }
        Command::SignDigest => {
            let request: SignDigestRequest = parse_versioned(request)?;
            json(&sign_once(plugin, request, context)?)
        }
        Command::ListKeys => {
            let request: ListKeysRequest = parse_versioned(request)?;
            json(&plugin.list_keys(&request, context)?)
        }
        other => json(&plugin.other_command(other, parse_versioned(request)?, context)?),
    }
}

/// Opens the key, signs, and collects what `generate-signature` and `sign-digest` answer.
fn sign_once(
    plugin: &impl Plugin,
    request: SignDigestRequest,
    context: &Context<'_>,
) -> Result<GenerateSignatureResponse, Error> {
    let config = &request.plugin_config;
    // Wrong input is found before the token is touched.
    check_digest(request.key_spec, request.hash_algorithm, &request.digest.0)?;
    let key = open(plugin, &request.key_id, config, Purpose::Sign, context)?;
    let key_spec = key.key_spec();
    if key_spec != request.key_spec {
        return Err(Error::validation(format!(
            "key {:?} is {key_spec}, the request says {}",
            request.key_id, request.key_spec
        )));
    }
    let chain = certificate_chain(&key)?;
    let signature = sign(&key, request.hash_algorithm, &request.digest.0, context)?;
    Ok(GenerateSignatureResponse {
        key_id: request.key_id,
        signature: signature.into(),
        signing_algorithm: key_spec.signature_algorithm(),
        certificate_chain: chain.into_iter().map(Into::into).collect(),
    })
}

fn open<P: Plugin>(
    plugin: &P,
    key_id: &str,
    config: &PluginConfig,
    purpose: Purpose,
    context: &Context<'_>,
) -> Result<P::Key, Error> {
    if key_id.is_empty() {
        return Err(Error::validation("keyId is empty"));
    }
    plugin.open(&KeyRequest::new(key_id, config, purpose), context)
}

fn certificate_chain(key: &impl Key) -> Result<Vec<Vec<u8>>, Error> {
    let chain = key.certificate_chain()?;
    if chain.is_empty() {
        return Err(Error::validation("the key has no certificate"));
    }
    Ok(chain)
}

/// Signs a digest; what goes in and what comes out is checked for its length.
fn sign(
    key: &impl Key,
    hash: HashAlgorithm,
    digest: &[u8],
    context: &Context<'_>,
) -> Result<Vec<u8>, Error> {
    let key_spec = key.key_spec();
    check_digest(key_spec, hash, digest)?;
    let signature = key.sign_digest(digest, context)?;
    if signature.len() != key_spec.signature_len() {
        return Err(Error::other(format!(
            "the key store made a signature of {} bytes, {key_spec} has {}",
            signature.len(),
            key_spec.signature_len()
        )));
    }
    Ok(signature)
}

fn check_digest(key_spec: KeySpec, hash: HashAlgorithm, digest: &[u8]) -> Result<(), Error> {
    if hash != key_spec.hash() {
        return Err(Error::validation(format!(
            "{key_spec} goes with {}, not with {hash}",
            key_spec.hash()
        )));
    }
    if digest.len() != hash.output_len() {
        return Err(Error::validation(format!(
            "a digest of {} bytes is no {hash} digest",
            digest.len()
        )));
    }
    Ok(())
}

/// Hashes a payload.
fn digest(hash: HashAlgorithm, payload: &[u8]) -> Vec<u8> {
    match hash {
        HashAlgorithm::Sha256 => sha2::Sha256::digest(payload).to_vec(),
        HashAlgorithm::Sha384 => sha2::Sha384::digest(payload).to_vec(),
        HashAlgorithm::Sha512 => sha2::Sha512::digest(payload).to_vec(),
    }
}

/// Runs plugin code; a panic becomes an error answer.
fn guarded<T>(run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        Err(Error::other(format!("the plugin panicked: {text}")))
    })
}

fn malformed(error: &(dyn std::error::Error + 'static)) -> Error {
    let cause = Error::from_error(ErrorCode::ValidationError, error);
    Error::validation(format!("Input is not a valid JSON: {cause}"))
}

fn parse<T: DeserializeOwned>(request: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(request).map_err(|error| malformed(&error))
}

/// Parses a request that carries a contract version, which is looked at first: a request of
/// another version may well have other members (PLG-13).
fn parse_versioned<T: DeserializeOwned>(request: &[u8]) -> Result<T, Error> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned {
        contract_version: String,
    }
    let Versioned { contract_version } = parse(request)?;
    check_version(&contract_version)?;
    parse(request)
}

fn check_version(version: &str) -> Result<(), Error> {
    if version == CONTRACT_VERSION {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::UnsupportedContractVersion,
        format!("{version:?} is not a supported notary plugin contract version"),
    ))
}

fn json<T: Serialize>(answer: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(answer).map_err(|error| Error::from_error(ErrorCode::Error, &error))
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
