//! `sotto-testnet status`: one line that says whether all is well, then a table.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::Globals;
use super::console::Console;
use super::location::{Location, shown};
use super::overview::{Overview, SwarmRow};
use crate::agreement::Agreed;
use crate::control::ChildState;
use crate::failure::{Exit, Failure};
use crate::procfs;
use crate::status::NodeStatus;
use crate::target::Target;

#[derive(Serialize)]
struct Document {
    v: u8,
    r#type: &'static str,
    ok: bool,
    summary: String,
    name: String,
    dir: String,
    running: bool,
    supervisor: Option<u32>,
    tip: Option<u64>,
    agreed: Option<Agreed>,
    swarms: Vec<SwarmRow>,
    nodes: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    i: usize,
    pid: Option<u32>,
    process: String,
    rss_bytes: Option<u64>,
    status: Option<NodeStatus>,
}

/// Prints the table; the exit code says whether all is well.
pub(super) async fn run(globals: &Globals, console: &Console) -> Result<(), Failure> {
    let overview = Overview::look(&Location::new(globals)?).await?;
    let (ok, summary) = overview.summary();
    let running = overview.processes.is_some();
    let verdict = if ok {
        "OK"
    } else if running {
        "PROBLEM"
    } else {
        "DOWN"
    };
    let mut text = format!("{}: {summary}\n{}", console.verdict(ok, verdict), origin(&overview));
    if running {
        text.push_str(&format!("\n{}", table(&overview)));
    } else {
        text.push_str("\nlast logs: sotto-testnet logs N        start again: ./testnet/up.sh");
    }
    console.print(&text, &document(&overview, ok, &summary))?;
    match (ok, running) {
        (true, _) => Ok(()),
        // The summary is printed already: only the exit code is left to tell.
        (false, true) => Err(Failure::new(Exit::Timeout, "")),
        (false, false) => Err(Failure::new(Exit::Network, "")),
    }
}

fn origin(overview: &Overview) -> String {
    let settings = &overview.plan.settings;
    let tip = overview.tip.map_or_else(|| "chain does not answer".to_owned(), |tip| format!("chain at {tip}"));
    let supervisor = overview.processes.as_ref().map_or_else(String::new, |seen| format!(" · pid {}", seen.supervisor));
    format!("testnet {} · seed {} · {tip} · {}{supervisor}", settings.name, settings.seed, shown(&overview.plan.dir))
}

/// The child of the supervisor that a node is.
fn child(overview: &Overview, index: usize) -> Option<&ChildState> {
    let is_node = |child: &&ChildState| matches!(child.target, Target::Node(number) if usize::from(number) == index);
    overview.processes.as_ref()?.children.iter().find(is_node)
}

fn table(overview: &Overview) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["node", "state", "swarm", "tip", "final", "links", "swarm links", "MiB", "pid", "process"]);
    for (index, answer) in overview.answers.iter().enumerate() {
        let child = child(overview, index);
        let process = child.map_or_else(String::new, |child| child.state.clone());
        let pid = child.map(|child| child.pid);
        let memory = pid.and_then(procfs::resident_bytes).map_or_else(String::new, |bytes| format!("{}", bytes >> 20));
        let pid = pid.map_or_else(String::new, |pid| pid.to_string());
        let mut row = vec![format!("{index:02}")];
        row.extend(match answer {
            Some(status) => [
                status.state.clone(),
                status.swarm.clone().unwrap_or_default(),
                status.tip.to_string(),
                status.height.to_string(),
                status.connections.to_string(),
                status.swarm_connected.clone(),
            ],
            None => ["no answer", "", "", "", "", ""].map(str::to_owned),
        });
        row.extend([memory, pid, process]);
        table.add_row(row);
    }
    for column in [3, 4, 5, 6, 7, 8] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn document(overview: &Overview, ok: bool, summary: &str) -> Document {
    let rows = overview.answers.iter().enumerate().map(|(i, status)| {
        let child = child(overview, i);
        Row {
            i,
            pid: child.map(|child| child.pid),
            process: child.map_or_else(|| "down".to_owned(), |child| child.state.clone()),
            rss_bytes: child.and_then(|child| procfs::resident_bytes(child.pid)),
            status: status.clone().map(|status| NodeStatus { finals: Vec::new(), ..status }),
        }
    });
    Document {
        v: 1,
        r#type: "testnet.status",
        ok,
        summary: summary.to_owned(),
        name: overview.plan.settings.name.clone(),
        dir: overview.plan.dir.display().to_string(),
        running: overview.processes.is_some(),
        supervisor: overview.processes.as_ref().map(|seen| seen.supervisor),
        tip: overview.tip,
        agreed: overview.agreed().ok(),
        swarms: overview.swarms(),
        nodes: rows.collect(),
    }
}
