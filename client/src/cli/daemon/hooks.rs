//! Hooks: each event is posted to a URL on this machine, signed, until that says that it has it.
//!
//! ```text
//! POST <path>
//! Sotto-Signature: t=<unix seconds>,v1=<hex HMAC-SHA-256(secret, t ‖ "." ‖ body)>
//! Sotto-Hook: <name>
//! ```
//!
//! A hook has a cursor of its own in the store: what was not taken is posted again, in order, after a pause that doubles
//! up to five minutes. What has failed twenty times is given up, counted, and passed by. URLs are of loopback addresses:
//! mail leaves this machine in no other way than over the network's paths.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::context::clock;
use super::super::{CliError, Exit};
use super::engine::Engine;
use super::events::Gone;
use crate::store::{InboxNumber, Store, StoreError};

/// Where hooks are kept.
const SETTING: &str = "hooks";
/// Hooks of one account.
pub(in super::super) const MOST: usize = 16;
/// How long whoever is posted to may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first pause after a failure, doubled up to the second.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MOST: Duration = Duration::from_secs(300);
/// After so many failures an event is given up.
const ATTEMPTS: u32 = 20;
/// Between two looks whether there are other hooks.
const LOOK: Duration = Duration::from_secs(2);

/// A hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Hook {
    /// Its name.
    pub(in super::super) name: String,
    /// Where events go.
    pub(in super::super) address: SocketAddr,
    /// The path there.
    pub(in super::super) path: String,
    /// What signs them.
    secret: Secret,
    /// Everything up to here was taken, or given up.
    pub(in super::super) cursor: u64,
    /// Failures of the event after it.
    pub(in super::super) failures: u32,
    /// Events that were given up.
    pub(in super::super) given_up: u64,
    /// What went wrong last.
    pub(in super::super) problem: Option<String>,
}

/// A hook's secret: never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Hook {
    /// A hook at a URL, for events after a number.
    pub(in super::super) fn new(name: &str, url: &str, secret: &str, after: InboxNumber) -> Result<Self, CliError> {
        let bad = || {
            CliError::new(Exit::Usage, "hook_url", format!("{url:?} is no URL of this machine"))
                .hint("http://127.0.0.1:PORT/PATH; a forwarder there can pass it on to anywhere")
        };
        let rest = url.strip_prefix("http://").ok_or_else(bad)?;
        let (host, path) = rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, path.to_owned()));
        let host = host.strip_prefix("localhost:").map_or_else(|| host.to_owned(), |port| format!("127.0.0.1:{port}"));
        let address: SocketAddr = host.parse().map_err(|_| bad())?;
        let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic());
        if !address.ip().is_loopback() || !is_plain {
            return Err(bad());
        }
        if secret.len() < 16 {
            return Err(CliError::new(Exit::Failed, "secret", "a secret has 16 bytes at least"));
        }
        Ok(Self {
            name: name.to_owned(),
            address,
            path: format!("/{path}"),
            secret: Secret(secret.to_owned()),
            cursor: after.0,
            failures: 0,
            given_up: 0,
            problem: None,
        })
    }

    /// The header that signs a body.
    fn signature(&self, seconds: u64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.0.as_bytes());
        let signed = [seconds.to_string().as_bytes(), b".", body].concat();
        format!("t={seconds},v1={}", hex::encode(hmac::sign(&key, &signed)))
    }

    /// Posts an event once.
    pub(in super::super) async fn post(&self, event: &Value) -> Result<(), String> {
        match timeout(PATIENCE, self.exchange(event.to_string().into_bytes())).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    async fn exchange(&self, body: Vec<u8>) -> Result<(), String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        let running = tokio::spawn(connection);
        let request = hyper::Request::post(&self.path)
            .header("host", self.address.to_string())
            .header("content-type", "application/json")
            .header("sotto-hook", &self.name)
            .header("sotto-signature", self.signature(clock().seconds().0, &body))
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string());
        running.abort();
        let status = answer?.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
    }
}

/// The hooks of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct Hooks(pub(in super::super) Vec<Hook>);

impl Hooks {
    /// Those of a store.
    pub(in super::super) fn read(store: &Store) -> Result<Self, StoreError> {
        let bytes = store.setting(SETTING)?;
        bytes.map_or_else(
            || Ok(Self::default()),
            |bytes| serde_json::from_slice(&bytes).map_err(|_| StoreError::Damaged("the hooks")),
        )
    }

    /// Keeps them.
    pub(in super::super) fn write(&self, store: &mut Store) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(self).map_err(|_| StoreError::Damaged("the hooks"))?;
        store.set_setting(SETTING, &bytes)
    }
}

/// Posts events to all hooks, as long as the account is at work.
pub(super) async fn run(engine: Arc<Engine>) -> Result<(), Gone> {
    let mut wait = Duration::ZERO;
    loop {
        let mut inbox = engine.inbox();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = engine.stopped() => return Err(Gone),
        }
        wait = round(&engine).await.map_err(|error| {
            tracing::warn!(%error, "hooks are given up");
            Gone
        })?;
        if wait == LOOK {
            tokio::select! {
                changed = inbox.changed() => {
                    changed.map_err(|_| Gone)?;
                    wait = Duration::ZERO;
                }
                () = tokio::time::sleep(LOOK) => wait = Duration::ZERO,
                () = engine.stopped() => return Err(Gone),
            }
        }
    }
}

/// One event to each hook that waits for one. How long to wait for the next.
async fn round(engine: &Arc<Engine>) -> Result<Duration, StoreError> {
    let hooks = Hooks::read(&engine.desk().store)?;
    let mut wait = LOOK;
    for hook in hooks.0 {
        let Some(told) = engine.told_after(Some(InboxNumber(hook.cursor)), 1)?.into_iter().next() else { continue };
        let posted = hook.post(&told.document).await;
        let after = settle(engine, &hook, told.number, posted)?;
        wait = wait.min(after);
    }
    Ok(wait)
}

/// Keeps what became of an event, unless the hook was removed or replaced meanwhile. How long to wait for the next.
fn settle(
    engine: &Engine,
    posted_to: &Hook,
    number: InboxNumber,
    posted: Result<(), String>,
) -> Result<Duration, StoreError> {
    let mut desk = engine.desk();
    let mut hooks = Hooks::read(&desk.store)?;
    let Some(hook) = hooks.0.iter_mut().find(|hook| *hook == posted_to) else { return Ok(Duration::ZERO) };
    let wait = match posted {
        Ok(()) => {
            (hook.cursor, hook.failures, hook.problem) = (number.0, 0, None);
            Duration::ZERO
        }
        Err(problem) => {
            hook.failures += 1;
            hook.problem = Some(problem);
            if hook.failures >= ATTEMPTS {
                (hook.cursor, hook.failures) = (number.0, 0);
                hook.given_up += 1;
            }
            PAUSE.saturating_mul(1 << hook.failures.min(16)).min(PAUSE_MOST)
        }
    };
    hooks.write(&mut desk.store)?;
    Ok(wait)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SECRET: &str = "0123456789abcdef";

    fn hook(url: &str) -> Result<Hook, CliError> {
        Hook::new("bot", url, SECRET, InboxNumber(3))
    }

    #[test]
    fn urls_are_of_this_machine() {
        let made = hook("http://localhost:8080/in?x=1").unwrap();
        assert_eq!((made.address, made.path.as_str()), ("127.0.0.1:8080".parse().unwrap(), "/in?x=1"));
        for bad in ["https://127.0.0.1:1/", "http://example.com/", "http://10.0.0.1:80/", "http://127.0.0.1/", "x"] {
            assert_eq!(hook(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
        assert!(Hook::new("bot", "http://127.0.0.1:1/", "short", InboxNumber(0)).is_err());
        assert!(!format!("{made:?}").contains(SECRET));
    }

    #[test]
    fn a_signature_is_the_hmac_of_time_and_body() {
        // By another implementation: printf '5.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(
            hook("http://127.0.0.1:1/").unwrap().signature(5, b"{}"),
            "t=5,v1=6e2cb7401c2f8e178b2f9c3c1303832994a6ed65f18856dbf5e33aba41e3a683"
        );
    }

    #[tokio::test]
    async fn an_event_is_taken_when_the_answer_says_so() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hook = hook(&format!("http://{}/in", listener.local_addr().unwrap())).unwrap();
        for (answer, is_taken) in [("204 No Content", true), ("500 Internal Server Error", false)] {
            let event = serde_json::json!({"v": 1});
            let (posted, asked) = tokio::join!(hook.post(&event), async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = vec![0; 4096];
                let length = stream.read(&mut asked).await.unwrap();
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8(asked[..length].to_vec()).unwrap()
            });
            assert_eq!(posted.is_ok(), is_taken);
            assert!(asked.starts_with("POST /in HTTP/1.1\r\n") && asked.ends_with("{\"v\":1}"), "{asked}");
            assert!(asked.contains("sotto-signature: t="), "{asked}");
        }
        drop(listener);
        assert!(hook.post(&Value::Null).await.is_err());
    }
}
