//! A session together with its process: what a plugin that has sessions is asked through, from its
//! metadata to the last signature.

use std::sync::Arc;

use hardsign_plugin::proto::{
    Command, ErrorResponse, GetMetadataRequest, Metadata, OPEN, OpenRequest, OpenResponse,
    PluginConfig,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OnceCell};

use super::Clocks;
use super::command::Plugin;
use super::error::{PluginError, PluginErrorKind, ProcessEnd, SessionEnd};
use super::latch::About;
use super::session::{Session, SessionAnswer, SessionClocks, SessionError, SessionListener};
use super::spawn::SessionProcess;
use super::terminal::Terminal;
use crate::budget::{self, Party, Waiting};

/// A running session; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    plugin: String,
    session: Session,
    process: Mutex<Option<SessionProcess>>,
    end: OnceCell<ProcessEnd>,
    clocks: Clocks,
    terminal: Terminal,
}

impl Live {
    /// Starts the process. Nothing is asked yet.
    pub(super) async fn start(plugin: &Plugin) -> Result<Self, PluginError> {
        let command = Command::Session;
        let clocks = plugin.host.clocks;
        let terminal = plugin.host.terminal();
        let launch = plugin.launch_session().await?;
        plugin.tell_start(command.name());
        let (process, stdout, stdin) = SessionProcess::start(launch)
            .map_err(|source| plugin.not_started(command.name(), source))?;
        let session_clocks = SessionClocks {
            request: clocks.request,
            person: clocks.person,
            farewell: clocks.farewell,
        };
        let heard = SessionListener {
            plugin: plugin.file.name.to_string(),
            listener: plugin.host.listener.clone(),
        };
        let interrupt = &plugin.host.interrupt;
        Ok(Self(Arc::new(Inner {
            plugin: plugin.file.name.to_string(),
            session: Session::start(stdout, stdin, session_clocks, heard, interrupt),
            process: Mutex::new(Some(process)),
            end: OnceCell::new(),
            clocks,
            terminal,
        })))
    }

    /// `get-plugin-metadata`; what it says is not checked here.
    pub(super) async fn metadata(
        &self,
        config: &PluginConfig,
    ) -> Result<Result<Metadata, ErrorResponse>, Arc<SessionError>> {
        let request = GetMetadataRequest {
            plugin_config: config.clone(),
        };
        let clock = Some(self.0.clocks.metadata);
        let command = "get-plugin-metadata";
        let _waiting = self.waiting();
        self.0.session.request(command, &request, clock).await
    }

    /// Opens the session for a key, or for the key store.
    pub(super) async fn open(
        &self,
        plugin: &Plugin,
        request: &OpenRequest,
    ) -> Result<OpenResponse, PluginError> {
        let _waiting = self.waiting();
        let key = request.key_id.as_deref();
        let about = About::key(OPEN, key.unwrap_or_default(), &request.plugin_config);
        let opening = async || self.0.session.open(request).await;
        let opened = match key {
            // No PIN is tried for the key store as a whole.
            None => {
                let answer = opening().await;
                self.granted(plugin, "session open", key, answer).await?
            }
            Some(_) => {
                self.latched(plugin, "session open", &about, key, opening)
                    .await?
            }
        };
        plugin.check_key(
            "session open",
            opened.key_id.as_deref().unwrap_or_default(),
            key.unwrap_or_default(),
        )?;
        Ok(opened)
    }

    /// Any other command.
    pub(super) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        plugin: &Plugin,
        command: &'static str,
        request: &Q,
        about: &About,
        key: Option<&str>,
    ) -> Result<A, PluginError> {
        let _waiting = self.waiting();
        let asking = async || self.0.session.request(command, request, None).await;
        self.latched(plugin, command, about, key, asking).await
    }

    /// Asks, unless the plugin refused or kept silent before; and remembers if it does now.
    async fn latched<T>(
        &self,
        plugin: &Plugin,
        command: &str,
        about: &About,
        key: Option<&str>,
        ask: impl AsyncFnOnce() -> SessionAnswer<T>,
    ) -> Result<T, PluginError> {
        let latch = plugin.host.latches.of(&plugin.file);
        let _turn = latch.turn(about).await;
        latch.check(&plugin.file.name, about)?;
        let answer = ask().await;
        match &answer {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => latch.note_refusal(about, refusal),
            Err(source) => {
                if let SessionError::Clock { after, .. } = **source {
                    latch.note_silence(about, after);
                }
            }
        }
        self.granted(plugin, command, key, answer).await
    }

    /// An answer, or why there is none; a session that broke is ended.
    pub(super) async fn granted<T>(
        &self,
        plugin: &Plugin,
        command: &str,
        key: Option<&str>,
        answer: SessionAnswer<T>,
    ) -> Result<T, PluginError> {
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refusal)) => Err(plugin.refused(command, key, refusal)),
            Err(source) => Err(self.broken(plugin, source).await),
        }
    }

    /// Ends a session that broke.
    pub(super) async fn broken(&self, plugin: &Plugin, source: Arc<SessionError>) -> PluginError {
        plugin.error(PluginErrorKind::Session {
            broken: source,
            end: SessionEnd(self.end().await),
        })
    }

    /// Notes that the plugin is waited for.
    pub(super) fn waiting(&self) -> Waiting {
        budget::waiting(|| Party::Plugin(self.0.plugin.clone()))
    }

    pub(super) fn session(&self) -> &Session {
        &self.0.session
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Closes stdin, waits, kills if need be, and reaps; all callers learn the same.
    pub(super) async fn end(&self) -> ProcessEnd {
        let inner = &self.0;
        inner
            .end
            .get_or_init(async || {
                inner.session.close();
                let Some(process) = inner.process.lock().await.take() else {
                    return ProcessEnd::default();
                };
                let end = process.end(inner.clocks.farewell, inner.clocks.drain).await;
                if end.status.is_none_or(|status| !status.success()) {
                    inner.terminal.restore();
                }
                end
            })
            .await
            .clone()
    }
}

/// A session that nobody ended gets the same farewell, if the runtime is still there for it.
impl Drop for Inner {
    fn drop(&mut self) {
        self.session.close();
        if let Some(process) = self.process.get_mut().take()
            && let Ok(runtime) = Handle::try_current()
        {
            let clocks = self.clocks;
            runtime.spawn(async move { process.end(clocks.farewell, clocks.drain).await });
        }
    }
}
