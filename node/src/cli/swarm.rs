//! `sotto-node swarm`.

use clap::{Args, Subcommand};

use super::output::table;
use super::status::{short, size, span};
use super::{ANSWER, CliError, Context, Exit, running};
use crate::status::swarm::{MemberStatus, SwarmStatus};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node swarm show
  sotto-node swarm show --json | jq -r .digest

Exit codes: 0 shown · 3 node not running · 7 the node is in no swarm")]
pub(super) struct Swarm {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the members of the node's swarm, whether they are linked and whether they have the same records
    Show,
}

impl Swarm {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let Verb::Show = self.verb;
        let swarm: SwarmStatus = running::fetch(&context.datadir, "/swarm", context.timeout.unwrap_or(ANSWER))?;
        context.out.result(&swarm, &render(&swarm))?;
        Ok(if swarm.swarm.is_some() { Exit::Done } else { Exit::NotFound })
    }
}

fn render(swarm: &SwarmStatus) -> String {
    let kept = format!("{} records, {}{}", swarm.records, size(swarm.bytes), to_hand_over(swarm));
    let Some(id) = &swarm.swarm else {
        return format!("the node is in no swarm, as of final block {}\n\n  kept        {kept}\n", swarm.height);
    };
    let syncing = if swarm.syncing { ", still taking over" } else { "" };
    let mut rows = vec![["member", "link", "same records", "address"].map(str::to_owned)];
    rows.extend(swarm.members.iter().map(row));
    format!(
        "swarm {id}, {} members, as of final block {}\n\n  own set     {} records and tombstones, digest {}{syncing}\n  \
         kept        {kept}\n\n{}",
        swarm.members.len(),
        swarm.height,
        swarm.items,
        swarm.digest,
        table(&rows)
    )
}

fn to_hand_over(swarm: &SwarmStatus) -> String {
    match swarm.to_hand_over {
        0 => String::new(),
        items => format!("; {items} records and tombstones of other swarms, kept until those confirm them"),
    }
}

fn row(member: &MemberStatus) -> [String; 4] {
    let (link, same) = if member.own { ("this node".to_owned(), String::new()) } else { (link(member), same(member)) };
    [short(&member.node).to_owned(), link, same, member.addresses.join(" ")]
}

fn link(member: &MemberStatus) -> String {
    let link = if member.connected { "linked" } else { "not linked" };
    link.to_owned()
}

fn same(member: &MemberStatus) -> String {
    match (member.agrees, member.compared_ms_ago) {
        (Some(agrees), Some(ago)) => format!("{}, {} ago", if agrees { "yes" } else { "no" }, span(ago)),
        _ => "not compared yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(digits: &str, own: bool, agrees: Option<bool>) -> MemberStatus {
        MemberStatus {
            node: digits.repeat(32),
            own,
            addresses: vec!["/ip4/203.0.113.7/tcp/22020".into()],
            connected: agrees.is_some(),
            compared_ms_ago: agrees.map(|_| 12_300),
            agrees,
        }
    }

    fn swarm() -> SwarmStatus {
        SwarmStatus {
            v: SwarmStatus::VERSION,
            kind: SwarmStatus::TYPE.into(),
            node: "5d".repeat(32),
            swarm: Some("0x3fffffffffffffff".into()),
            height: 809,
            members: vec![
                member("1a", false, Some(true)),
                member("2b", false, Some(false)),
                member("3c", false, None),
                member("5d", true, None),
            ],
            records: 1290,
            bytes: 5 << 20,
            to_hand_over: 0,
            syncing: false,
            items: 1204,
            digest: "c4f2a91b".repeat(4),
        }
    }

    #[test]
    fn members_are_shown_with_their_links_and_whether_they_have_the_same() {
        let expected = "\
swarm 0x3fffffffffffffff, 4 members, as of final block 809

  own set     1204 records and tombstones, digest c4f2a91bc4f2a91bc4f2a91bc4f2a91b
  kept        1290 records, 5 MiB

  member    link        same records      address
  1a1a1a1a  linked      yes, 12s ago      /ip4/203.0.113.7/tcp/22020
  2b2b2b2b  linked      no, 12s ago       /ip4/203.0.113.7/tcp/22020
  3c3c3c3c  not linked  not compared yet  /ip4/203.0.113.7/tcp/22020
  5d5d5d5d  this node                     /ip4/203.0.113.7/tcp/22020
";
        assert_eq!(render(&swarm()), expected);
    }

    #[test]
    fn a_node_outside_says_what_it_still_has_to_hand_over() {
        let outside = SwarmStatus { swarm: None, members: Vec::new(), to_hand_over: 7, ..swarm() };
        let text = render(&outside);
        assert!(text.starts_with("the node is in no swarm, as of final block 809\n"), "{text}");
        assert!(text.contains("7 records and tombstones of other swarms"), "{text}");
    }
}
