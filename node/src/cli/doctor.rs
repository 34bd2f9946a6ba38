//! `sotto-node doctor`: everything that an operator can get wrong, looked at one by one.
//!
//! | file | what is looked at |
//! | --- | --- |
//! | `machine` | settings, key files, disk, open files, database, ports |
//! | `network` | clock, chain, registration, swarm, records, who has dialled |
//! | `peers` | what peers answer when they are asked how they see the node |

mod machine;
mod network;
mod peers;

use clap::Args;
use serde::Serialize;
use sotto_behaviours::clock;

use super::output::table;
use super::{ANSWER, CliError, Context, Exit, NodeSettings, running, status};
use crate::config::Config;
use crate::keys::{KeyDirectory, Slot};
use crate::lock;
use crate::service_node::SURVEY_PEERS;
use crate::status::NodeStatus;
use crate::status::peers::PeersStatus;
use crate::status::store::StoreStatus;
use crate::status::survey::SurveyStatus;
use crate::status::swarm::SwarmStatus;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node doctor
  sotto-node doctor --ask-peers 7
  sotto-node doctor --json | jq '.checks[] | select(.verdict != \"ok\")'

Each line is OK, WARN or FAIL, and what to do is below it. Peers are asked for their time, their final height and what their
list has of this node; what else they think of it no protocol tells. A peer that has dialled this node can reach it.

Exit codes: 0 nothing has failed · 1 something has")]
pub(super) struct Doctor {
    /// Ask so many connected nodes how they see this one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(SURVEY_PEERS)))]
    ask_peers: Option<u16>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }

    const fn color(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Warn => "33",
            Self::Fail => "31",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// A fixed name for programs.
    check: &'static str,
    verdict: Verdict,
    /// What was found.
    text: String,
    /// What to do.
    advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, text: text.into(), advice: None }
    }

    fn warn(check: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, text: text.into(), advice: Some(advice.into()) }
    }

    fn fail(check: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, text: text.into(), advice: Some(advice.into()) }
    }

    fn failed(check: &'static str, error: CliError) -> Self {
        Self { check, verdict: Verdict::Fail, text: error.message, advice: error.hint }
    }
}

impl Doctor {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        if !KeyDirectory::of(&context.datadir).path(Slot::Node).exists() {
            return Err(CliError::not_set_up(&context.datadir));
        }
        let config = context.config(&NodeSettings::default());
        let mut findings = vec![machine::settings(context, config.as_ref()), machine::keys(&context.datadir)];
        let mut survey = None;
        match status::fetch(&context.datadir, context.timeout.unwrap_or(ANSWER)) {
            Ok(status) => {
                findings.extend(running_node(context, &status, config.as_ref().ok()));
                if let Some(count) = self.ask_peers {
                    let answers = fetch::<SurveyStatus>(context, &format!("/survey/{count}"));
                    findings.push(found("peers", answers.as_ref(), peers::judge));
                    survey = answers.ok();
                }
            }
            Err(error) => {
                findings.push(Finding::failed("node", error));
                findings.extend(stopped_node(context, config.as_ref().ok()));
            }
        }
        let is_ok = findings.iter().all(|finding| finding.verdict < Verdict::Fail);
        let document = serde_json::json!({
            "v": 1, "type": "node.doctor", "ok": is_ok, "checks": findings, "survey": survey,
        });
        context.out.result(&document, &render(&findings, survey.as_ref(), context.out.color))?;
        Ok(if is_ok { Exit::Done } else { Exit::Failed })
    }
}

/// What a running node is asked.
fn running_node(context: &Context, status: &NodeStatus, config: Option<&Config>) -> Vec<Finding> {
    let store = fetch::<StoreStatus>(context, "/store");
    let swarm = fetch::<SwarmStatus>(context, "/swarm");
    let peers = fetch::<PeersStatus>(context, "/peers");
    let last = status::last_block(&context.datadir);
    vec![
        network::node(status),
        machine::open_files(Some(status.pid)),
        machine::disk(&context.datadir, machine::may_take(store.as_ref().ok(), config)),
        found("database", store.as_ref(), machine::store),
        machine::listening(status),
        network::clock(status),
        network::chain(status, last, clock::wall()),
        network::registration(status),
        found("swarm", swarm.as_ref(), |swarm| network::swarm(status, swarm)),
        found("records", swarm.as_ref(), network::records),
        found("reachable", peers.as_ref(), |peers| network::reachable(status, peers)),
    ]
}

/// What can be seen of one that does not answer.
fn stopped_node(context: &Context, config: Option<&Config>) -> Vec<Finding> {
    let datadir = &context.datadir;
    let disk = machine::disk(datadir, machine::may_take(None, config));
    let mut findings = vec![machine::open_files(None), disk, machine::database(datadir)];
    // One that only does not answer has its port.
    let is_held = matches!(lock::holder(datadir), Ok(Some(_)));
    findings.extend(config.filter(|_| !is_held).map(machine::free_port));
    findings
}

fn found<T>(check: &'static str, asked: Result<&T, &CliError>, judge: impl FnOnce(&T) -> Finding) -> Finding {
    asked.map_or_else(|error| Finding::failed(check, error.clone()), judge)
}

fn fetch<T: serde::de::DeserializeOwned>(context: &Context, target: &str) -> Result<T, CliError> {
    running::fetch(&context.datadir, target, context.timeout.unwrap_or(ANSWER))
}

fn render(findings: &[Finding], survey: Option<&SurveyStatus>, color: bool) -> String {
    let mut text = String::new();
    for Finding { check, verdict, text: found, advice } in findings {
        let word = format!("{:<5}", verdict.word());
        let word = if color { format!("\x1b[1;{}m{word}\x1b[0m", verdict.color()) } else { word };
        text.push_str(&format!("{word} {check:<12} {found}\n"));
        if let Some(advice) = advice {
            text.push_str(&format!("      → {advice}\n"));
        }
    }
    if let Some(survey) = survey.filter(|survey| !survey.answers.is_empty()) {
        text.push_str(&format!("\n{}", table(&peers::rows(survey))));
    }
    text.push_str(&format!("\n{}\n", summary(findings)));
    text
}

fn summary(findings: &[Finding]) -> String {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    match (count(Verdict::Fail), count(Verdict::Warn)) {
        (0, 0) => format!("all {} checks are good", findings.len()),
        (failed, warned) => format!("of {} checks {failed} failed and {warned} warn", findings.len()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn each_check_is_a_line_with_what_to_do_below_it() {
        let findings = [
            Finding::ok("settings", "they are good"),
            Finding::warn("reachable", "no node has dialled this one", "open the port"),
            Finding::fail("clock", "75 s behind", "set it"),
        ];
        let expected = "\
OK    settings     they are good
WARN  reachable    no node has dialled this one
      → open the port
FAIL  clock        75 s behind
      → set it

of 3 checks 1 failed and 1 warn
";
        assert_eq!(render(&findings, None, false), expected);
        assert!(render(&findings[..1], None, false).ends_with("\nall 1 checks are good\n"));
        assert!(render(&findings, None, true).contains("\x1b[1;31mFAIL \x1b[0m"));
        let json = serde_json::to_value(&findings[2]).unwrap();
        assert_eq!((json["verdict"].as_str(), json["advice"].as_str()), (Some("fail"), Some("set it")));
    }

    #[test]
    fn at_least_one_peer_is_asked_and_not_too_many() {
        for (count, good) in [("0", false), ("1", true), ("64", true), ("65", false), ("many", false)] {
            let parsed = Cli::try_parse_from(["sotto-node", "doctor", "--ask-peers", count]);
            assert_eq!(parsed.is_ok(), good, "{count}");
        }
    }
}
