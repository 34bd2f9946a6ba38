//! `sotto-node drain`: before a node is stopped for long or leaves, others get what only it has.

use std::time::{Duration, Instant};

use clap::Args;

use super::{ANSWER, CliError, Context, Exit, running};
use crate::lock;
use crate::status::drain::DrainStatus;

/// How long to wait where nothing is said.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node drain && systemctl stop sotto-node
  sotto-node drain --timeout 1h && sotto-node exit --yes
  sotto-node drain --cancel

The node turns new messages away, so that clients go to other members of its swarm, and goes on serving readers. What was
there when it began is left until two other members are known to have it on disk, all if there are fewer. It drains until
it is told to --cancel or stops, also when this command has ended, and when it opens its database anew after an error.
Drain one node of a swarm at a time: two that drain count on each other.

Exit codes: 0 nothing is left · 3 node not running · 8 something is left after --timeout (10 minutes if it is not given) ·
10 the swarm would have too few members, or the draining was ended")]
pub(super) struct Drain {
    /// Also if the swarm is left with fewer members than it needs
    #[arg(long)]
    force: bool,
    /// Take new messages again
    #[arg(long, conflicts_with = "force")]
    cancel: bool,
}

impl Drain {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        if self.cancel {
            running::order(&context.datadir, "DELETE", "/drain", "")?;
            context.out.result(&fetch(context)?, "the node takes new messages again")?;
            return Ok(Exit::Done);
        }
        running::order(&context.datadir, "POST", "/drain", if self.force { "force" } else { "" })?;
        let status = wait(context)?;
        context.out.result(&status, &render(&status))?;
        Ok(Exit::Done)
    }
}

fn fetch(context: &Context) -> Result<DrainStatus, CliError> {
    running::fetch(&context.datadir, "/drain", ANSWER)
}

/// What the node says once nothing is left.
fn wait(context: &Context) -> Result<DrainStatus, CliError> {
    let (start, patience) = (Instant::now(), context.timeout.unwrap_or(PATIENCE));
    let mut told = String::new();
    loop {
        let status = match fetch(context) {
            // It has its data directory still: it opens its database anew, and goes on then.
            Err(error) if error.exit == Exit::Network && is_held(context) => {
                if start.elapsed() >= patience {
                    let message = format!(
                        "after {}: the node is opening its database anew; it goes on draining then",
                        humantime::format_duration(patience)
                    );
                    return Err(CliError::new(Exit::NotReady, "left", message).hint("sotto-node status"));
                }
                std::thread::sleep(PAUSE);
                continue;
            }
            answer => answer?,
        };
        if status.done {
            return Ok(status);
        }
        if !status.draining {
            let message = "somebody has ended the draining, or the node was restarted";
            return Err(CliError::new(Exit::Conflict, "ended", message).hint("sotto-node drain"));
        }
        let progress = progress(&status);
        if start.elapsed() >= patience {
            let message = format!("after {}: {progress}; the node goes on", humantime::format_duration(patience));
            return Err(CliError::new(Exit::NotReady, "left", message).hint("sotto-node swarm show"));
        }
        if progress != told {
            context.out.say(&progress);
            told = progress;
        }
        std::thread::sleep(PAUSE);
    }
}

fn is_held(context: &Context) -> bool {
    matches!(lock::holder(&context.datadir), Ok(Some(_)))
}

/// What is left, and where it must come to.
fn progress(status: &DrainStatus) -> String {
    let own = match status.left {
        None => "counting".to_owned(),
        Some(left) => format!("{left} records and tombstones left, {}", wanted(status)),
    };
    match status.to_hand_over {
        0 => own,
        items => format!("{own}; {items} more of other swarms, until those confirm them"),
    }
}

fn wanted(status: &DrainStatus) -> String {
    match status.members {
        0 => "and no other member to have them".to_owned(),
        members => format!("each until {} of {members} other members have it", status.needed),
    }
}

fn render(status: &DrainStatus) -> String {
    let first = if status.swarm.is_some() {
        format!(
            "nothing is left: what was here is on the disks of {} other members, or has expired\n  → stop the node",
            status.needed
        )
    } else {
        "nothing is left: the node is in no swarm, and the others have what it had\n  → stop the node".to_owned()
    };
    let for_good = match status.state.as_str() {
        "active" | "decommissioned" => "; to leave for good, first: sotto-node exit",
        "exiting" => " once its stake is free: sotto-node status",
        _ => "",
    };
    format!("{first}{for_good}\n  → or take new messages again: sotto-node drain --cancel\n")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn status() -> DrainStatus {
        DrainStatus {
            v: DrainStatus::VERSION,
            kind: DrainStatus::TYPE.into(),
            node: "5d".repeat(32),
            state: "active".into(),
            swarm: Some("0x3fffffffffffffff".into()),
            draining: true,
            done: false,
            left: Some(14),
            to_hand_over: 0,
            records: 1290,
            members: 6,
            needed: 2,
        }
    }

    #[test]
    fn progress_says_what_is_left_and_what_it_waits_for() {
        let own = "14 records and tombstones left, each until 2 of 6 other members have it";
        assert_eq!(progress(&status()), own);
        let both = DrainStatus { to_hand_over: 3, ..status() };
        assert_eq!(progress(&both), format!("{own}; 3 more of other swarms, until those confirm them"));
        assert_eq!(progress(&DrainStatus { left: None, ..status() }), "counting");
        let alone = DrainStatus { members: 0, needed: 1, ..status() };
        assert_eq!(progress(&alone), "14 records and tombstones left, and no other member to have them");
    }

    #[test]
    fn the_end_says_how_to_go_on() {
        let done = DrainStatus { done: true, left: Some(0), ..status() };
        let text = render(&done);
        assert!(text.starts_with("nothing is left: what was here is on the disks of 2 other members"), "{text}");
        assert!(text.contains("sotto-node exit") && text.ends_with("sotto-node drain --cancel\n"), "{text}");
        let leaving = DrainStatus { swarm: None, state: "exiting".into(), ..done };
        assert!(!render(&leaving).contains("sotto-node exit"), "{}", render(&leaving));
    }

    #[test]
    fn force_and_cancel_exclude_each_other() {
        for (arguments, good) in [(&["--force"][..], true), (&["--cancel"], true), (&["--force", "--cancel"], false)] {
            let parsed = Cli::try_parse_from([&["sotto-node", "drain"], arguments].concat());
            assert_eq!(parsed.is_ok(), good, "{arguments:?}");
        }
    }
}
