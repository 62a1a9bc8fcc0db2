//! One-shot commands: a process for each, its answer checked as far as it can be without a
//! certificate or a signature check (PLG-06, PLG-07, PLG-13 to PLG-20).
//!
//! Signature and chain are proved where the envelope is assembled.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::host::Withheld;
use hardsign_plugin::proto::{
    Base64, CONTRACT_VERSION, Command, ErrorCode, ErrorResponse, GetMetadataRequest, Metadata,
    PluginConfig, VerifySignatureRequest, VerifySignatureResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::error::{AnswerFault, MetadataFault, PluginError, PluginErrorKind, ProcessEnd};
use super::find::Origin;
use super::latch::About;
use super::live::Live;
use super::spawn::{self, Launch, Output, Patience, RunError, Wish};
use super::text::{cut, last_lines, without_pin};
use super::{Host, PluginFile, messages};
use crate::budget::{self, Party};
use crate::envelope::SignerChain;
use crate::event::{Event, Observer as _};
use crate::json::{self, JsonError};

/// A plugin executable and how it is run.
#[derive(Clone, Debug)]
pub struct Plugin {
    pub(super) host: Host,
    pub(super) file: PluginFile,
    pub(super) wish: Wish,
    /// For the session's process alone.
    pub(super) descriptors: Arc<[Withheld]>,
    /// Whether its pin is looked at before it runs.
    pub(super) pinned: bool,
}

impl Plugin {
    /// The executable.
    pub fn file(&self) -> &PluginFile {
        &self.file
    }

    /// Asks the plugin who it is and checks the answer.
    ///
    /// # Errors
    /// If it can't be run, or its metadata is not as the contract asks.
    // PLG-17 to PLG-20
    pub async fn metadata(&self, config: &PluginConfig) -> Result<Metadata, PluginError> {
        let request = GetMetadataRequest {
            plugin_config: config.clone(),
        };
        let clock = self.host.clocks.metadata;
        let metadata: Metadata = self
            .ask(&Command::GetPluginMetadata, &request, clock, None)
            .await?;
        self.believed(metadata)
    }

    /// Metadata that is as the contract asks, of this plugin.
    fn believed(&self, metadata: Metadata) -> Result<Metadata, PluginError> {
        check_metadata(&metadata).map_err(|fault| self.error(PluginErrorKind::Metadata(fault)))?;
        if metadata.name == self.file.name.as_str() {
            Ok(metadata)
        } else {
            Err(self.error(AnswerFault::WrongName {
                answered: cut(&metadata.name),
                file: self.file.name.file_name(),
            }))
        }
    }

    /// Asks the plugin who it is, in the process that will be asked everything else, where that is
    /// known beforehand: a plugin of the box has sessions. Of others it is known from their metadata,
    /// which costs a process of its own.
    ///
    /// # Errors
    /// As [`Self::metadata`].
    pub(super) async fn connect(
        &self,
        config: &PluginConfig,
    ) -> Result<(Metadata, Option<Live>), PluginError> {
        if self.file.origin == Origin::Box {
            let live = Live::start(self).await?;
            match live.metadata(config).await {
                Ok(Ok(metadata)) => match self.believed(metadata) {
                    Ok(metadata) => return Ok((metadata, Some(live))),
                    Err(error) => {
                        live.end().await;
                        return Err(error);
                    }
                },
                // It has no sessions after all, or can't start: its own words follow.
                Ok(Err(_)) => drop(live.end().await),
                Err(source) if source.is_death() => {
                    if live.end().await.was_interrupted() {
                        let command = Command::GetPluginMetadata.name();
                        return Err(self.error_at(command, PluginErrorKind::Interrupted));
                    }
                }
                Err(source) => return Err(live.broken(self, source).await),
            }
        }
        Ok((self.metadata(config).await?, None))
    }

    /// `verify-signature`. What the answer means is decided elsewhere.
    ///
    /// # Errors
    /// If the plugin can't be run, refuses, or breaks the contract.
    // PLG-40 to PLG-46
    pub async fn verify_signature(
        &self,
        request: &VerifySignatureRequest,
    ) -> Result<VerifySignatureResponse, PluginError> {
        let clock = self.host.clocks.request;
        self.ask(&Command::VerifySignature, request, clock, None)
            .await
    }

    /// The echoed key id is that of the request (PLG-24, PLG-29).
    pub(super) fn check_key(
        &self,
        answer: &'static str,
        answered: &str,
        asked: &str,
    ) -> Result<(), PluginError> {
        if answered == asked {
            return Ok(());
        }
        Err(self.error(AnswerFault::WrongKey {
            answer,
            answered: cut(&without_pin(answered)),
            asked: without_pin(asked),
        }))
    }

    pub(super) fn check_signature(
        &self,
        signature: Base64,
        key_spec: KeySpec,
        chain: &SignerChain,
    ) -> Result<Vec<u8>, PluginError> {
        let Base64(signature) = signature;
        if signature.len() == key_spec.signature_len() {
            return Ok(signature);
        }
        let wrong = self.error(AnswerFault::SignatureLength {
            length: signature.len(),
            key: key_spec,
        });
        Err(self.chain_first(wrong, chain))
    }

    /// What a chain says of itself, where it breaks a rule: a root in the leaf's place makes the
    /// algorithm and the length of a signature look wrong, which they are not.
    pub(super) fn chain_first(&self, error: PluginError, chain: &SignerChain) -> PluginError {
        match chain.prove().err() {
            Some(source) => self.error(AnswerFault::Chain(Box::new(source))),
            None => error,
        }
    }

    /// Bounds of a chain; its rules are proved where the envelope is assembled.
    pub(super) fn check_chain(&self, chain: Vec<Base64>) -> Result<Vec<Vec<u8>>, PluginError> {
        let bytes = chain.iter().map(|certificate| certificate.0.len()).sum();
        if chain.len() > MAX_CERTIFICATES || bytes > MAX_CHAIN_BYTES {
            return Err(self.error(AnswerFault::ChainTooLarge {
                count: chain.len(),
                bytes,
            }));
        }
        Ok(chain.into_iter().map(|certificate| certificate.0).collect())
    }

    /// Runs a command and reads its answer; a refusal is an error.
    pub(super) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        command: &Command,
        request: &Q,
        clock: Duration,
        key: Option<&str>,
    ) -> Result<A, PluginError> {
        match self.exchange(command, request, clock).await? {
            Ok(answer) => Ok(answer),
            Err(refusal) if refusal.is_empty() => {
                Err(self.error_at(command.name(), PluginErrorKind::EmptyRefusal))
            }
            Err(refusal) => Err(self.refused(command.name(), key, refusal)),
        }
    }

    /// Runs a command: the outer result is the transport's, the inner one the plugin's.
    async fn exchange<Q: Serialize, A: DeserializeOwned>(
        &self,
        command: &Command,
        request: &Q,
        clock: Duration,
    ) -> Result<Result<A, ErrorResponse>, PluginError> {
        let _waiting = budget::waiting(|| Party::Plugin(self.file.name.to_string()));
        let malformed = |source| self.error_at(command.name(), PluginErrorKind::Malformed(source));
        let request = serde_json::to_value(request).map_err(|e| malformed(JsonError::Data(e)))?;
        let (latch, about) = (
            self.host.latches.of(&self.file),
            About::new(command.name(), &request),
        );
        let _turn = latch.turn(&about).await;
        latch.check(&self.file.name, &about)?;
        messages::request(&self.host.listener, command.name(), &request);
        let begun = Instant::now();
        let output = self.run(command, &request, clock).await;
        let output = output.inspect_err(|error| {
            if let PluginErrorKind::Clock(after) = error.kind {
                latch.note_silence(&about, after);
            }
        })?;
        if output.status.success() {
            messages::response(&self.host.listener, command.name(), &output.stdout);
            return json::from_slice(&output.stdout).map(Ok).map_err(malformed);
        }
        // The contract's error answer is read whatever the exit code is (PLG-07, DIF-13).
        if let Some(refusal) = error_answer(&output.stderr) {
            latch.note_refusal(&about, &refusal);
            let waited = begun.elapsed();
            if *command == Command::VerifySignature
                && refusal.error_code == Some(ErrorCode::Timeout)
                && waited >= clock / LONG
            {
                latch.note_silence(&about, waited);
            }
            return Ok(Err(refusal));
        }
        let end = ProcessEnd {
            status: Some(output.status),
            stderr: last_lines(&output.stderr),
        };
        Err(self.error_at(command.name(), PluginErrorKind::Failed(end)))
    }

    async fn run(
        &self,
        command: &Command,
        request: &serde_json::Value,
        clock: Duration,
    ) -> Result<Output, PluginError> {
        let patience = Patience {
            answer: clock,
            farewell: self.host.clocks.farewell,
            drain: self.host.clocks.drain,
        };
        let request = request.to_string();
        let launch = self.launch(command.name()).await?;
        self.tell_start(command.name());
        let terminal = self.host.terminal();
        let output = spawn::run(launch, request.as_bytes(), patience, &self.host.interrupt).await;
        output.map_err(|error| {
            terminal.restore();
            self.run_error(command.name(), error)
        })
    }

    /// What is needed to start the plugin, which may be started: a pinned one is what it was.
    pub(super) async fn launch<'a>(&'a self, command: &'a str) -> Result<Launch<'a>, PluginError> {
        if self.pinned {
            self.host.pins.check(&self.file).await?;
        }
        Ok(Launch {
            path: &self.file.path,
            command,
            wish: self.wish,
            descriptors: &[],
        })
    }

    /// How a session is started: with the descriptors that the key's settings name.
    pub(super) async fn launch_session(&self) -> Result<Launch<'_>, PluginError> {
        Ok(Launch {
            descriptors: &self.descriptors,
            ..self.launch(Command::Session.name()).await?
        })
    }

    pub(super) fn tell_start(&self, command: &str) {
        self.host.listener.observe(&Event::PluginStarted {
            plugin: self.file.name.as_str(),
            command,
            path: &self.file.path,
        });
    }

    fn run_error(&self, command: &str, error: RunError) -> PluginError {
        let kind = match error {
            RunError::Start(source) => return self.not_started(command, source),
            RunError::Pipe(source) => PluginErrorKind::Pipe(source),
            RunError::TooMuchOutput { stream, limit } => {
                PluginErrorKind::TooMuchOutput { stream, limit }
            }
            RunError::Clock { after } => PluginErrorKind::Clock(after),
            RunError::Interrupted => PluginErrorKind::Interrupted,
        };
        self.error_at(command, kind)
    }

    /// What went wrong with this plugin.
    pub(super) fn error(&self, kind: impl Into<PluginErrorKind>) -> PluginError {
        kind.into().of(&self.file.name)
    }

    /// What went wrong with this plugin at a command.
    pub(super) fn error_at(&self, command: &str, kind: impl Into<PluginErrorKind>) -> PluginError {
        kind.into().at(&self.file.name, command)
    }

    /// The plugin said no; `key` is what it was asked about.
    pub(super) fn refused(
        &self,
        command: &str,
        key: Option<&str>,
        refusal: ErrorResponse,
    ) -> PluginError {
        let kind = PluginErrorKind::Refused {
            key: key.map(without_pin),
            error: Box::new(refusal),
        };
        self.error_at(command, kind)
    }

    pub(super) fn not_started(&self, command: &str, source: io::Error) -> PluginError {
        let path = self.file.path.clone();
        self.error_at(command, PluginErrorKind::Start { path, source })
    }

    /// A key of a kind that isn't known.
    pub(super) fn unknown_key_spec(&self, key: &str, answered: &str) -> PluginError {
        let (key, answered) = (without_pin(key), cut(answered));
        self.error(AnswerFault::UnknownKeySpec { key, answered })
    }
}

/// The error answer on stderr. Many plugins log there as well, before it: such an answer must be known
/// for what it is, `ACCESS_DENIED` above all, so it is looked for at the lines that begin with a
/// brace, and has to name a code.
fn error_answer(stderr: &[u8]) -> Option<ErrorResponse> {
    if let Ok(answer) = json::from_slice(stderr) {
        return Some(answer);
    }
    let mut rest = stderr;
    for _ in 0..MAX_LOG_LINES {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        rest = rest.get(end.saturating_add(1)..)?;
        if rest.trim_ascii_start().starts_with(b"{")
            && let Ok(answer) = json::from_slice::<ErrorResponse>(rest)
            && answer.error_code.is_some()
        {
            return Some(answer);
        }
    }
    None
}

/// Lines of a log before an error answer.
const MAX_LOG_LINES: usize = 200;

/// The members that the contract requires, in the reference's order (PLG-18, PLG-19).
fn check_metadata(metadata: &Metadata) -> Result<(), MetadataFault> {
    let versions = &metadata.supported_contract_versions;
    if metadata.name.is_empty() {
        Err(MetadataFault::Name)
    } else if metadata.description.is_empty() {
        Err(MetadataFault::Description)
    } else if metadata.version.is_empty() {
        Err(MetadataFault::Version)
    } else if metadata.url.is_empty() {
        Err(MetadataFault::Url)
    } else if metadata.capabilities.is_empty() {
        Err(MetadataFault::Capabilities)
    } else if versions.is_empty() {
        Err(MetadataFault::NoContractVersions)
    } else if !versions.iter().any(|version| version == CONTRACT_VERSION) {
        Err(MetadataFault::ContractVersion {
            versions: versions.clone(),
        })
    } else {
        check_settings(metadata)
    }
}

/// The part of its time after which a plugin's own TIMEOUT counts as no answer: the next signature
/// would wait as long.
const LONG: u32 = 6;

/// Names of settings are compared with one another and shown.
fn check_settings(metadata: &Metadata) -> Result<(), MetadataFault> {
    let settings = metadata.settings.as_deref().unwrap_or_default();
    let fits = |name: &str| {
        !name.is_empty()
            && name.len() <= MAX_SETTING_NAME
            && name.chars().all(|c| c.is_ascii_graphic())
    };
    if settings.len() <= MAX_SETTINGS && settings.iter().all(|setting| fits(&setting.name)) {
        Ok(())
    } else {
        Err(MetadataFault::Settings)
    }
}

/// Settings of one plugin.
const MAX_SETTINGS: usize = 200;

/// Bytes of a setting's name.
const MAX_SETTING_NAME: usize = 100;

/// Certificates read of a chain; real ones have two to four.
const MAX_CERTIFICATES: usize = 32;

/// Bytes read of a chain; real ones have a few thousand.
const MAX_CHAIN_BYTES: usize = 512 << 10;

#[cfg(test)]
mod tests {
    use hardsign_test_support::Told;

    use hardsign_plugin::proto::Capability;

    use super::*;

    /// PLG-07: an error answer is known for what it is also below lines of a log; text is none.
    #[test]
    fn plg_07_error_answers_below_a_log() {
        let denied = r#"{"errorCode":"ACCESS_DENIED","errorMessage":"no"}"#;
        let pretty = "{\n  \"errorCode\": \"ACCESS_DENIED\",\n  \"errorMessage\": \"no\"\n}";
        for log in [
            "",
            "WARNING: cache is old\n",
            "{\"level\":\"info\"}\na\n\n",
            "x\r\n  ",
        ] {
            for answer in [denied, pretty] {
                let stderr = format!("{log}{answer}\n");
                let found = error_answer(stderr.as_bytes()).unwrap();
                assert_eq!(found.error_code, Some(ErrorCode::AccessDenied), "{stderr}");
            }
        }
        for none in [
            "",
            "panic: no\n",
            "log\n{}\n",
            "log\n{\"level\":\"info\"}\n",
            "{\"errorCode\":\"ERROR\"} and more\n",
            "log\n{\"errorCode\":\"ERROR\"}\nmore\n",
        ] {
            assert_eq!(error_answer(none.as_bytes()), None, "{none}");
        }
    }

    /// PLG-18, PLG-19: each missing member has its own text.
    #[test]
    fn plg_18_metadata_faults() {
        let good = Metadata {
            name: "n".into(),
            description: "d".into(),
            version: "1".into(),
            url: "u".into(),
            supported_contract_versions: vec!["0.9".into(), "1.0".into()],
            capabilities: vec![Capability::RawSignature],
            settings: None,
        };
        assert_eq!(check_metadata(&good), Ok(()));
        let fault = |change: fn(&mut Metadata)| {
            let mut metadata = good.clone();
            change(&mut metadata);
            check_metadata(&metadata).unwrap_err().told()
        };
        assert_eq!(fault(|m| m.name.clear()), "empty name");
        assert_eq!(fault(|m| m.description.clear()), "empty description");
        assert_eq!(fault(|m| m.version.clear()), "empty version");
        assert_eq!(fault(|m| m.url.clear()), "empty url");
        assert_eq!(fault(|m| m.capabilities.clear()), "empty capabilities");
        assert_eq!(
            fault(|m| m.supported_contract_versions.clear()),
            "supported contract versions not specified"
        );
        assert_eq!(
            fault(|m| m.supported_contract_versions = vec!["1.1".into(), "2.0".into()]),
            "contract version \"1.0\" is not in the list of the plugin supported versions [1.1 2.0]"
        );
    }
}
