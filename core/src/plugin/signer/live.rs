//! A session together with its process.

use std::sync::Arc;

use hardsign_plugin::algorithm::KeySpec;
use hardsign_plugin::proto::{CONTRACT_VERSION, Command, OPEN, OpenRequest, OpenResponse, Purpose};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OnceCell};

use crate::plugin::command::{Key, Plugin};
use crate::plugin::error::{PluginError, ProcessEnd, SessionEnd};
use crate::plugin::latch::About;
use crate::plugin::observe::Event;
use crate::plugin::session::{Listener, Session, SessionClocks, SessionError, SessionEvent};
use crate::plugin::spawn::SessionProcess;
use crate::plugin::terminal::Terminal;
use crate::plugin::text::without_pin;
use crate::plugin::{Clocks, Host};

/// A running session; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    session: Session,
    process: Mutex<Option<SessionProcess>>,
    end: OnceCell<ProcessEnd>,
    clocks: Clocks,
    terminal: Terminal,
    key_spec: KeySpec,
    chain: Vec<Vec<u8>>,
    max_in_flight: usize,
}

impl Live {
    /// Starts a process and opens a session for the key.
    pub(super) async fn start(plugin: &Plugin, key: Key<'_>) -> Result<Self, PluginError> {
        Self::open(plugin, key).await
    }

    /// Starts it once more, and insists that key and chain are the same.
    pub(super) async fn start_again(
        plugin: &Plugin,
        key: Key<'_>,
        dead: &Self,
    ) -> Result<Self, PluginError> {
        let live = Self::open(plugin, key).await?;
        if live.0.key_spec == dead.0.key_spec && live.0.chain == dead.0.chain {
            return Ok(live);
        }
        live.end().await;
        Err(PluginError::KeyChanged {
            plugin: plugin.file.name.clone(),
        })
    }

    async fn open(plugin: &Plugin, key: Key<'_>) -> Result<Self, PluginError> {
        let command = Command::Session;
        let clocks = plugin.host.clocks;
        let terminal = plugin.host.terminal();
        let request = OpenRequest {
            contract_version: CONTRACT_VERSION.into(),
            key_id: Some(key.id.into()),
            plugin_config: key.config.clone(),
            purpose: Purpose::Sign,
        };
        let latch = plugin.host.latches.of(&plugin.file);
        let about = About::key(OPEN, key.id, key.config);
        let _turn = latch.turn(&about).await;
        latch.check(&plugin.file.name, &about)?;
        let launch = plugin.launch_session().await?;
        plugin.tell_start(command.name());
        let (process, stdout, stdin) =
            SessionProcess::start(launch).map_err(|source| PluginError::Start {
                plugin: plugin.file.name.clone(),
                command: command.name().into(),
                path: plugin.file.path.clone(),
                source,
            })?;
        let session_clocks = SessionClocks {
            request: clocks.request,
            person: clocks.person,
            farewell: clocks.farewell,
        };
        let opened = Session::open(
            stdout,
            stdin,
            &request,
            session_clocks,
            listener(&plugin.host, plugin.file.name.as_str()),
            &plugin.host.interrupt,
        )
        .await;
        let failure = match opened {
            Ok(Ok((session, opened))) => {
                return match checked(plugin, key, opened) {
                    Ok((key_spec, chain, max_in_flight)) => Ok(Self(Arc::new(Inner {
                        session,
                        process: Mutex::new(Some(process)),
                        end: OnceCell::new(),
                        clocks,
                        terminal,
                        key_spec,
                        chain,
                        max_in_flight,
                    }))),
                    Err(error) => {
                        drop(session);
                        process.end(clocks.farewell, clocks.drain).await;
                        Err(error)
                    }
                };
            }
            Ok(Err(refusal)) => {
                latch.note_refusal(&about, &refusal);
                Ok(refusal)
            }
            Err(source) => {
                if let SessionError::Clock { after, .. } = *source {
                    latch.note_silence(&about, after);
                }
                Err(source)
            }
        };
        let end = process.end(clocks.farewell, clocks.drain).await;
        if end.status.is_none_or(|status| !status.success()) {
            terminal.restore();
        }
        Err(match failure {
            Ok(refusal) => PluginError::Refused {
                plugin: plugin.file.name.clone(),
                command: "session open".into(),
                key: Some(without_pin(key.id)),
                error: Box::new(refusal),
            },
            Err(source) => PluginError::Session {
                plugin: plugin.file.name.clone(),
                source,
                end: SessionEnd(end),
            },
        })
    }

    pub(super) fn session(&self) -> &Session {
        &self.0.session
    }

    pub(super) fn key_spec(&self) -> KeySpec {
        self.0.key_spec
    }

    pub(super) fn chain(&self) -> Vec<Vec<u8>> {
        self.0.chain.clone()
    }

    pub(super) fn max_in_flight(&self) -> usize {
        self.0.max_in_flight
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

fn checked(
    plugin: &Plugin,
    key: Key<'_>,
    opened: OpenResponse,
) -> Result<(KeySpec, Vec<Vec<u8>>, usize), PluginError> {
    let answered = opened.key_id.as_deref().unwrap_or_default();
    plugin.check_key("session open", answered, key.id)?;
    let key_spec = opened.key_spec.ok_or_else(|| PluginError::UnknownKeySpec {
        plugin: plugin.file.name.clone(),
        key: without_pin(key.id),
        answered: String::new(),
    })?;
    let chain = plugin.check_chain(opened.certificate_chain)?;
    let max_in_flight = usize::try_from(opened.max_in_flight).unwrap_or(usize::MAX);
    Ok((key_spec, chain, max_in_flight.clamp(1, 256)))
}

/// Passes a session's events on to the host's observer.
fn listener(host: &Host, plugin: &str) -> Listener {
    let told = host.told.clone();
    let plugin = plugin.to_owned();
    Box::new(move |event| match event {
        SessionEvent::Notice { message, wait } => told.tell(Event::Notice {
            plugin: &plugin,
            message: &message,
            wait,
        }),
        SessionEvent::Prompting => told.tell(Event::Prompting { plugin: &plugin }),
        SessionEvent::Prompted => told.tell(Event::Prompted { plugin: &plugin }),
        SessionEvent::Request { command, request } => told.request(command, &request),
        SessionEvent::Line(line) => told.response("session", &line),
    })
}
