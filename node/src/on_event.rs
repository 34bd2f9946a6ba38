//! Telling the operator: a command of theirs is run for what they would want to be told of.
//!
//! ```text
//!  event loop ──▶ queue of 32, the oldest dropped ──▶ task ──▶ sh -c CMD, one at a time, killed after 30 s
//! ```
//!
//! The event is one line of JSON on the command's standard input and nowhere else: arguments and environment are for
//! everybody on the machine to see. What still waits when the node stops is not told.

mod command;
mod watch;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use sotto_proto::id::{NodeId, SwarmId};
use sotto_proto::time::UnixMillis;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::watch::{Happening, Watch, Watched};
use crate::metrics;
use crate::service_node::rfc3339;

/// Events that wait for the command.
const QUEUE: usize = 32;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub happening: Happening,
    /// When.
    pub at: UnixMillis,
    /// To which node.
    pub node: NodeId,
    /// Its state on the chain since then.
    pub state: &'static str,
    /// How it is since then, in one sentence.
    pub summary: String,
}

impl Event {
    /// One line of JSON. `dropped`: how many events before this one were not told.
    fn line(&self, dropped: u64) -> String {
        let swarm = self.happening.swarm().map(|swarm: SwarmId| format!("0x{swarm}"));
        let document = serde_json::json!({
            "v": 1, "type": "node.event", "event": self.happening.name(), "ts": rfc3339(self.at),
            "node": self.node.to_string(), "state": self.state, "swarm": swarm, "summary": self.summary,
            "dropped": dropped,
        });
        format!("{document}\n")
    }
}

#[derive(Debug, Default)]
struct Waiting {
    /// The oldest first; at most [`QUEUE`].
    events: VecDeque<Event>,
    /// Events that were dropped since one was last taken.
    dropped: u64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    came: Notify,
}

impl Queue {
    fn push(&self, event: Event) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.events.len() >= QUEUE {
            waiting.events.pop_front();
            waiting.dropped = waiting.dropped.saturating_add(1);
            metrics::on_event("dropped");
        }
        waiting.events.push_back(event);
        drop(waiting);
        self.came.notify_one();
    }

    /// The oldest event, and how many before it were dropped.
    fn take(&self) -> Option<(Event, u64)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let event = waiting.events.pop_front()?;
        Some((event, std::mem::take(&mut waiting.dropped)))
    }
}

/// The way to the operator's command.
#[derive(Clone, Debug)]
pub struct Alerts {
    queue: Arc<Queue>,
}

impl Alerts {
    /// Runs `command` for each event from now on, until `shutdown`. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(command: String, shutdown: CancellationToken) -> Self {
        let queue = Arc::<Queue>::default();
        let waiting = Arc::clone(&queue);
        tokio::spawn(async move { shutdown.run_until_cancelled(tell_all(&command, &waiting)).await });
        Self { queue }
    }

    /// Has an event told. Never waits.
    pub fn tell(&self, event: Event) {
        self.queue.push(event);
    }
}

async fn tell_all(command: &str, queue: &Queue) {
    loop {
        match queue.take() {
            Some((event, dropped)) => {
                let outcome = command::run(command, &event.line(dropped), command::LIMIT).await;
                metrics::on_event(outcome.label());
            }
            None => queue.came.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn event(happening: Happening) -> Event {
        Event {
            happening,
            at: UnixMillis(1_790_000_000_000),
            node: NodeId::new([0x5d; 32]),
            state: "active",
            summary: "active in swarm 3fffffffffffffff".into(),
        }
    }

    #[test]
    fn an_event_is_one_line_of_json() {
        let line = event(Happening::JoinedSwarm(SwarmId(0x3fff_ffff_ffff_ffff))).line(2);
        assert!(line.ends_with("}\n") && line.matches('\n').count() == 1, "{line}");
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((json["v"].as_u64(), json["type"].as_str()), (Some(1), Some("node.event")));
        assert_eq!(
            (json["event"].as_str(), json["swarm"].as_str()),
            (Some("joined_swarm"), Some("0x3fffffffffffffff"))
        );
        assert_eq!((json["ts"].as_str(), json["dropped"].as_u64()), (Some("2026-09-21T14:13:20Z"), Some(2)));
        let ready: serde_json::Value = serde_json::from_str(&event(Happening::Ready).line(0)).unwrap();
        assert!(ready["swarm"].is_null(), "{ready}");
    }

    #[test]
    fn when_there_are_too_many_the_oldest_go_and_are_counted() {
        let queue = Queue::default();
        for number in 0..QUEUE as u64 + 3 {
            queue.push(Event { at: UnixMillis(number), ..event(Happening::Ready) });
        }
        let (first, dropped) = queue.take().unwrap();
        assert_eq!((first.at, dropped), (UnixMillis(3), 3));
        let (second, dropped) = queue.take().unwrap();
        assert_eq!((second.at, dropped), (UnixMillis(4), 0));
        assert_eq!(std::iter::from_fn(|| queue.take()).count(), QUEUE - 2);
    }

    #[tokio::test]
    async fn each_event_is_told_in_its_turn() {
        let directory = tempfile::tempdir().unwrap();
        let heard = directory.path().join("heard");
        let shutdown = CancellationToken::new();
        let alerts = Alerts::new(format!("cat >> '{}'", heard.display()), shutdown.clone());
        for happening in [Happening::NotReady, Happening::DiskFailure, Happening::Decommissioned] {
            alerts.tell(event(happening));
        }
        let all = async {
            loop {
                let text = std::fs::read_to_string(&heard).unwrap_or_default();
                let events: Vec<_> = text
                    .lines()
                    .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                    .map(|event| event["event"].as_str().unwrap_or_default().to_owned())
                    .collect();
                if events.len() == 3 {
                    return events;
                }
                tokio::time::sleep(Duration::from_millis(10)).await; // between two looks at a condition
            }
        };
        let events = tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
        assert_eq!(events, ["not_ready", "disk_failure", "decommissioned"]);
        shutdown.cancel();
    }
}
