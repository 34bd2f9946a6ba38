//! Looking at the node every now and then, because nothing happens at the moment when it stops being ready for want of
//! something: for the log and the metrics, and for the operator's command.

use std::time::{Duration, Instant};

use super::EventLoop;
use crate::on_event::{Alerts, Event, Watch, Watched};

/// Between two looks, and while somebody waits to be told.
const LOOK: Duration = Duration::from_secs(10);
const LOOK_TELLING: Duration = Duration::from_secs(1);

/// Whom to tell, and what was so at the last look.
#[derive(Debug)]
pub(super) struct Telling {
    alerts: Alerts,
    watch: Watch,
}

impl EventLoop {
    /// Has `alerts` told what the operator should know.
    #[must_use]
    pub fn with_alerts(mut self, alerts: Alerts) -> Self {
        self.telling = Some(Telling { alerts, watch: Watch::default() });
        self
    }

    /// Looks at the node, notes how it stands and tells what has happened to it.
    pub(super) fn look(&mut self) {
        self.note_standing();
        self.look_at = Instant::now() + if self.telling.is_some() { LOOK_TELLING } else { LOOK };
        let Some(telling) = &mut self.telling else { return };
        let (machine, now) = (&self.parts.machine, self.parts.clock.now());
        let report = machine.report(now);
        let watched = Watched {
            ready: report.ready,
            state: report.state,
            swarm: machine.swarm(),
            disk_failed: machine.storage_failed(),
            database_damaged: self.parts.about.damage.is_some(),
        };
        for happening in telling.watch.look(watched) {
            let (node, state, summary) = (machine.node_id(), report.state, report.summary.clone());
            telling.alerts.tell(Event { happening, at: now.wall, node, state, summary });
        }
    }
}
