//! A host, the rude plugin, and what is watched of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hardsign_core::artifact::{self, Descriptor, Digest};
use hardsign_core::dirs::Dirs;
use hardsign_core::envelope::{Draft, DraftAttributes, Format, Payload, Signature};
use hardsign_core::event::{Event, Listener};
use hardsign_core::plugin::{
    Clocks, Finder, Host, Interrupt, Origin, PluginError, PluginFile, PluginKey, PluginName,
    PluginSigner, RawSigner,
};
use hardsign_core::sign::Signer as _;
use hardsign_core::text::WithCauses;
use hardsign_test_support::schemas::{self, Kind};
use serde_json::Value;

pub(crate) const RUDE: &str = env!("CARGO_BIN_EXE_notation-rude");

/// Long clocks, since the machine may be busy; what ends early ends by the fault itself.
pub(crate) const PATIENT: Clocks = Clocks {
    metadata: Duration::from_secs(60),
    request: Duration::from_secs(60),
    person: Duration::from_secs(60),
    farewell: Duration::from_secs(5),
    drain: Duration::from_millis(200),
    backoff: Duration::from_millis(1),
};

/// For faults that only a clock ends.
pub(crate) const HASTY: Clocks = Clocks {
    request: Duration::from_millis(1500),
    person: Duration::from_millis(1500),
    farewell: Duration::from_millis(300),
    ..PATIENT
};

pub(crate) const ONE_SHOT: &str = "SIGNATURE_GENERATOR.RAW";
pub(crate) const DIGEST: &str = "SIGNATURE_GENERATOR.RAW,HARDSIGN.DIGEST";
pub(crate) const SESSION: &str = "SIGNATURE_GENERATOR.RAW,HARDSIGN.DIGEST,HARDSIGN.SESSION";

pub(crate) struct Stage {
    pub(crate) root: tempfile::TempDir,
    pub(crate) host: Host,
    pub(crate) events: Arc<Mutex<Vec<String>>>,
    pub(crate) interrupt: Interrupt,
    traffic: Arc<Mutex<Traffic>>,
}

/// Every message that goes by, held against the protocol's schemas: what the host says always, what
/// the plugin says if it is the well-behaved one.
#[derive(Default)]
struct Traffic {
    /// Whether the process that was started last behaves well.
    polite: bool,
    /// What was asked of it, in the order of the ids.
    asked: Vec<String>,
    faults: Vec<String>,
}

impl Traffic {
    fn watch(&mut self, event: &Event<'_>) {
        match event {
            Event::PluginStarted { path, .. } => {
                self.polite = path.ends_with("notation-toy");
                self.asked.clear();
            }
            Event::PluginRequest { command, json } => {
                self.asked.push((*command).to_owned());
                self.judge(Kind::Request, command, &message(json));
            }
            Event::PluginResponse { command, json } if self.polite => match *command {
                "session" => self.judge_line(&message(json)),
                command => self.judge(Kind::Answer, command, &message(json)),
            },
            _ => {}
        }
    }

    fn judge_line(&mut self, line: &Value) {
        self.judge(Kind::Line, "session", line);
        let at = line["id"].as_u64().and_then(|id| usize::try_from(id).ok());
        let command = at.and_then(|id| self.asked.get(id.checked_sub(1)?).cloned());
        if let (Some(command), Some(answer)) = (command, line.get("response")) {
            self.judge(Kind::Answer, &command, answer);
        }
    }

    fn judge(&mut self, kind: Kind, command: &str, message: &Value) {
        let faults = schemas::faults(kind, command, message);
        if !faults.is_empty() {
            let fault = format!("{command} {kind:?} {message}: {faults:?}");
            self.faults.push(fault);
        }
    }
}

fn message(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| format!("{json}: {error}").into())
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let faults = &self.traffic.lock().unwrap().faults;
            assert!(faults.is_empty(), "against the schemas: {faults:#?}");
        }
    }
}

impl Stage {
    pub(crate) fn new(clocks: Clocks) -> Self {
        let root = tempfile::tempdir().unwrap();
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let traffic = Arc::new(Mutex::new(Traffic::default()));
        let watched = Arc::clone(&traffic);
        let interrupt = Interrupt::new();
        let host = Host::new(Finder::with_box(&Dirs::below(root.path()), Vec::new()))
            .with_clocks(clocks)
            .with_interrupt(interrupt.clone())
            .with_listener(Listener::new(move |event: &Event<'_>| {
                heard.lock().unwrap().push(event.to_string());
                watched.lock().unwrap().watch(event);
            }));
        Self {
            root,
            host,
            events,
            interrupt,
            traffic,
        }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.path().join("log")
    }

    /// What the plugin did, in order.
    pub(crate) fn done(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.lines()
            .filter(|line| !line.starts_with("env ") && !line.starts_with("pid "))
            .map(str::to_owned)
            .collect()
    }

    /// The names of the variables that the plugin saw.
    pub(crate) fn environment(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap();
        log.lines()
            .filter_map(|line| line.strip_prefix("env "))
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn count(&self, what: &str) -> usize {
        self.done().iter().filter(|done| *done == what).count()
    }

    pub(crate) fn key(&self, settings: &[(&str, &str)]) -> PluginKey {
        let mut config: BTreeMap<String, String> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        config.insert("log".into(), self.log().display().to_string());
        PluginKey::new(rude(), "throw-away", config)
    }

    pub(crate) async fn open(&self, settings: &[(&str, &str)]) -> Result<RawSigner, PluginError> {
        PluginSigner::open(&self.host, self.key(settings), artifact::Kind::Blob)
            .await?
            .raw()
    }

    /// Opens, signs once and assembles.
    pub(crate) async fn sign(&self, settings: &[(&str, &str)]) -> Result<Signature, String> {
        let signer = self
            .open(settings)
            .await
            .map_err(|e| WithCauses(&e).to_string())?;
        let result = sign(&signer).await;
        signer.close().await;
        result
    }
}

pub(crate) fn rude() -> PluginFile {
    PluginFile {
        name: PluginName::new("rude").unwrap(),
        path: RUDE.into(),
        origin: Origin::User,
    }
}

pub(crate) fn draft() -> Draft {
    let target = Descriptor {
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        digest: format!("sha256:{}", "ab".repeat(32))
            .parse::<Digest>()
            .unwrap(),
        size: 7,
        annotations: BTreeMap::new(),
    };
    let attributes = DraftAttributes {
        signing_time: "2026-01-01T00:00:00Z".parse().unwrap(),
        expiry: None,
    };
    Draft::new(
        Format::Jws,
        &Payload::new(target),
        &attributes,
        hardsign_core::algorithm::KeySpec::Ec256,
    )
    .unwrap()
}

pub(crate) async fn sign(signer: &RawSigner) -> Result<Signature, String> {
    let draft = draft();
    let signed = signer
        .sign(draft.to_be_signed())
        .await
        .map_err(|e| WithCauses(&e).to_string())?;
    draft
        .assemble(signed)
        .map_err(|e| WithCauses(&e).to_string())
}
