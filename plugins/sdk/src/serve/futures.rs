//! A plugin that waits on a network: a runtime, and a future for each signature under way.

use std::io::{Read, Write};

use futures_util::StreamExt as _;
use futures_util::future::poll_immediate;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;

use super::Engine;
use super::session::{QUEUE, Session, read_requests};
use crate::Error;
use crate::asynchronous::AsyncPlugin;
use crate::context::{Channel, Output};
use crate::error::ErrorCode;

/// The most futures under way, whatever a key says; a host allows no more either.
const MAX_FUTURES: u32 = 256;

/// Waits on a runtime.
pub(super) struct Futures {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Futures {
    pub(super) fn new() -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::from_error(ErrorCode::Error, &error))?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }
}

impl Drop for Futures {
    /// Ends without what nobody waits for any more, such as the look-up of a host's name, which can't be
    /// cut short.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Engine for Futures {
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.handle.block_on(work)
    }

    fn session<P: AsyncPlugin>(
        &self,
        plugin: &P,
        input: impl Read + Send + 'static,
        output: &mut (impl Write + Send),
    ) -> u8 {
        let (sender, mut requests) = mpsc::channel(QUEUE);
        read_requests(input, move |incoming| {
            sender.blocking_send(incoming).is_ok()
        });
        let channel = Channel::new(Some(Output::new(output)));
        let session = Session::new(plugin, &channel, MAX_FUTURES);
        self.wait(async {
            let key = loop {
                let Some(request) = session.accept(requests.recv().await) else {
                    return;
                };
                if let Some(opened) = session.before_key(&request).await {
                    break opened;
                }
            };
            let most = usize::try_from(key.in_flight(MAX_FUTURES)).unwrap_or(1);
            let mut under_way = FuturesUnordered::new();
            let mut more = true;
            while more || !under_way.is_empty() {
                tokio::select! {
                    incoming = requests.recv(), if more && under_way.len() < most => {
                        match session.accept(incoming) {
                            Some(request) => {
                                let mut answering = Box::pin(async {
                                    let request = request;
                                    session.with_key(&key, &request).await;
                                });
                                // Begun at once: in the queue it would wait until all that came
                                // back from the key store is answered.
                                if poll_immediate(&mut answering).await.is_none() {
                                    under_way.push(answering);
                                }
                            }
                            None => more = false,
                        }
                    }
                    Some(()) = under_way.next(), if !under_way.is_empty() => {}
                }
            }
        });
        u8::from(session.is_broken())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use serde_json::{Value, json};
    use tokio::sync::Barrier;

    use super::super::{Engine as _, serve_async_on};
    use super::Futures;
    use crate::algorithm::KeySpec;
    use crate::proto::{Base64, ListKeysRequest, ListKeysResponse, Metadata};
    use crate::{AsyncKey, AsyncPlugin, Context, Error, KeyRequest};

    /// A key store that answers only when as many requests are there as it allows.
    struct Remote {
        closed: Arc<AtomicU32>,
    }

    struct RemoteKey {
        together: Barrier,
        closed: Arc<AtomicU32>,
    }

    const TOGETHER: u32 = 200;

    impl AsyncPlugin for Remote {
        type Key = RemoteKey;

        fn metadata(&self) -> Metadata {
            Metadata::new("remote", "d", "1.0.0", "u")
        }

        async fn open(
            &self,
            request: &KeyRequest<'_>,
            _: &Context<'_>,
        ) -> Result<RemoteKey, Error> {
            tokio::task::yield_now().await;
            if request.key_id == "panic" {
                panic!("while opening");
            }
            Ok(RemoteKey {
                together: Barrier::new(200),
                closed: Arc::clone(&self.closed),
            })
        }

        async fn list_keys(
            &self,
            _: &ListKeysRequest,
            _: &Context<'_>,
        ) -> Result<ListKeysResponse, Error> {
            Ok(ListKeysResponse::default())
        }
    }

    impl AsyncKey for RemoteKey {
        fn key_spec(&self) -> KeySpec {
            KeySpec::Ec256
        }

        fn certificate_chain(&self) -> Result<Vec<Vec<u8>>, Error> {
            Ok(vec![vec![1]])
        }

        fn max_in_flight(&self) -> u32 {
            TOGETHER
        }

        async fn sign_digest(&self, digest: &[u8], _: &Context<'_>) -> Result<Vec<u8>, Error> {
            self.together.wait().await;
            match digest.first() {
                Some(13) => panic!("of superstition"),
                _ => Ok([digest, digest].concat()),
            }
        }
    }

    impl Drop for RemoteKey {
        fn drop(&mut self) {
            self.closed.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn session(lines: &[Value]) -> (u8, Vec<Value>, u32) {
        let closed = Arc::new(AtomicU32::new(0));
        let plugin = Remote {
            closed: Arc::clone(&closed),
        };
        let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let (input, mut output) = (std::io::Cursor::new(input), Vec::new());
        let code = serve_async_on(&plugin, "session", input, &mut output, &mut Vec::new());
        let text = String::from_utf8(output).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        (code, lines.collect(), closed.load(Ordering::SeqCst))
    }

    /// Two hundred signatures wait for each other, twice: none is answered unless all are under
    /// way. A panic fails its own request alone, and what the host sent is answered after stdin
    /// ended.
    #[test]
    fn as_many_futures_as_the_key_allows() {
        let request = json!({"contractVersion": "1.0", "keyId": "k"});
        let mut lines = vec![json!({"id": 0, "command": "open", "request": request})];
        for id in 1..=2 * TOGETHER {
            let digest = Base64(vec![u8::try_from(id % 251).unwrap(); 32]);
            let request = json!({"digest": digest, "hashAlgorithm": "SHA-256"});
            lines.push(json!({"id": id, "command": "sign-digest", "request": request}));
        }
        let (code, answers, closed) = session(&lines);
        assert_eq!((code, closed), (0, 1));
        assert_eq!(answers[0]["response"]["maxInFlight"], TOGETHER + 8);
        let failed: Vec<_> = answers
            .iter()
            .filter(|answer| answer["error"] != Value::Null)
            .collect();
        assert_eq!(answers.len(), lines.len());
        assert_eq!(failed.len(), 2);
        for answer in failed {
            assert_eq!(answer["id"].as_u64().unwrap() % 251, 13);
            let text = &answer["error"]["errorMessage"];
            assert_eq!(text, "the plugin panicked: of superstition");
        }
    }

    /// A look-up that hangs is not waited for at the end.
    #[test]
    fn the_end_waits_for_nothing() {
        let start = Instant::now();
        let engine = Futures::new().unwrap();
        engine.wait(async {
            drop(tokio::task::spawn_blocking(|| {
                sleep(Duration::from_secs(20))
            }));
        });
        drop(engine);
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_failed_open_is_latched() {
        let request = json!({"contractVersion": "1.0", "keyId": "panic"});
        let open = json!({"id": 1, "command": "open", "request": request});
        let (code, answers, _) = session(&[open.clone(), open]);
        assert_eq!((code, answers.len()), (0, 2));
        for answer in answers {
            let text = &answer["error"]["errorMessage"];
            assert_eq!(text, "the plugin panicked: while opening");
        }
    }

    #[test]
    fn a_command_of_its_own() {
        let plugin = Remote {
            closed: Arc::default(),
        };
        let request = br#"{"contractVersion":"1.0","keyId":"k"}"#;
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let code = serve_async_on(
            &plugin,
            "describe-key",
            &request[..],
            &mut output,
            &mut errors,
        );
        assert_eq!((code, errors.len()), (0, 0));
        assert_eq!(
            output,
            br#"{"keyId":"k","keySpec":"EC-256","certificateChain":["AQ=="]}"#
        );
    }
}
