//! `sotto-node peers`.

use clap::{Args, Subcommand};
use sotto_proto::time::UnixMillis;

use super::output::table;
use super::status::{short, span};
use super::{ANSWER, CliError, Context, Exit, running};
use crate::service_node::rfc3339;
use crate::status::peers::{BannedStatus, PeerClass, PeerStatus, PeersStatus};

/// Peers that are shown where nothing is said.
const SHOWN: usize = 100;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node peers
  sotto-node peers list --limit 2000 --json

A member is of the node's swarm, a node another registered one, the chain the producer of blocks, a client anybody else.
In: the peer dialled, so it can reach this node; out: this node did. Whoever gossips what is provably invalid is kept out
for five minutes and named below. Addresses are those the chain has of a node; where a client comes from is not shown.")]
pub(super) struct Peers {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Show at most so many, members and nodes first
    #[arg(long, global = true, value_name = "N", default_value_t = SHOWN)]
    limit: usize,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show who is connected and who is kept out; the same as without a verb
    List,
}

impl Peers {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (None | Some(Verb::List)) = self.verb;
        let mut peers: PeersStatus = running::fetch(&context.datadir, "/peers", context.timeout.unwrap_or(ANSWER))?;
        let summary = summary(&peers);
        peers.peers.truncate(self.limit);
        context.out.result(&peers, &format!("{summary}\n{}{}", render(&peers), banned(&peers)))?;
        Ok(Exit::Done)
    }
}

/// How many there are of each class.
fn summary(peers: &PeersStatus) -> String {
    let count = |class: PeerClass| peers.peers.iter().filter(|peer| peer.class == class).count();
    let classes = [
        ("of its swarm", PeerClass::Member),
        ("other nodes", PeerClass::Node),
        ("producers", PeerClass::Chain),
        ("clients", PeerClass::Client),
    ];
    let counts: Vec<_> = classes.iter().map(|(name, class)| format!("{} {name}", count(*class))).collect();
    format!("{} peers: {}\n", peers.count, counts.join(", "))
}

fn render(peers: &PeersStatus) -> String {
    if peers.peers.is_empty() {
        return String::new();
    }
    let mut rows = vec![["class", "peer", "direction", "connected", "registered address"].map(str::to_owned)];
    rows.extend(peers.peers.iter().map(row));
    let more = match peers.count.saturating_sub(peers.peers.len()) {
        0 => String::new(),
        more => format!("\nand {more} more: --limit {}\n", peers.count),
    };
    format!("{}{more}", table(&rows))
}

fn row(peer: &PeerStatus) -> [String; 5] {
    let not_known = || "not known".to_owned();
    let direction = peer.direction.map_or_else(not_known, |direction| direction.to_string());
    let connected = peer.connected_ms.map_or_else(not_known, span);
    let addresses = peer.registered_addresses.join(" ");
    [peer.class.to_string(), short(&peer.peer).to_owned(), direction, connected, addresses]
}

/// Who is kept out, and until when.
fn banned(peers: &PeersStatus) -> String {
    let row = |banned: &BannedStatus| {
        let until = format!("until {}", rfc3339(UnixMillis(banned.until_ms)));
        ["banned".to_owned(), short(&banned.peer).to_owned(), until]
    };
    let rows: Vec<_> = peers.banned.iter().map(row).collect();
    if rows.is_empty() { String::new() } else { format!("\n{}", table(&rows)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::peers::PeerDirection;

    fn peer(digits: &str, class: PeerClass, address: Option<&str>) -> PeerStatus {
        let direction = match class {
            PeerClass::Member => Some(PeerDirection::Out),
            PeerClass::Client => Some(PeerDirection::In),
            PeerClass::Node | PeerClass::Chain => None,
        };
        PeerStatus {
            peer: digits.repeat(32),
            class,
            direction,
            registered_addresses: address.into_iter().map(str::to_owned).collect(),
            connected_ms: Some(11_520_000),
        }
    }

    #[test]
    fn peers_are_counted_by_class_and_those_left_out_are_named() {
        let all = [
            peer("1a", PeerClass::Member, Some("/ip4/203.0.113.7/tcp/22020")),
            peer("2b", PeerClass::Chain, None),
            peer("3c", PeerClass::Client, None),
        ];
        let mut peers = PeersStatus {
            v: PeersStatus::VERSION,
            kind: PeersStatus::TYPE.into(),
            count: all.len(),
            peers: all.into(),
            banned: vec![BannedStatus { peer: "4d".repeat(32), until_ms: 1_790_000_000_000 }],
        };
        assert_eq!(summary(&peers), "3 peers: 1 of its swarm, 0 other nodes, 1 producers, 1 clients\n");
        let expected = [
            "  class   peer      direction  connected  registered address",
            "  member  1a1a1a1a  out        3h 12m     /ip4/203.0.113.7/tcp/22020",
            "  chain   2b2b2b2b  not known  3h 12m",
            "  client  3c3c3c3c  in         3h 12m",
        ];
        assert_eq!(banned(&peers), "\n  banned  4d4d4d4d  until 2026-09-21T14:13:20Z\n");
        assert_eq!(render(&peers).lines().collect::<Vec<_>>(), expected);
        peers.peers.truncate(1);
        assert!(render(&peers).ends_with("\nand 2 more: --limit 3\n"), "{}", render(&peers));
        peers.banned.clear();
        assert_eq!(banned(&peers), "");
    }
}
