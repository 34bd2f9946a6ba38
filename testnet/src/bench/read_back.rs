//! Reading every mailbox at every member of a swarm, as its owner would.

use std::collections::BTreeSet;
use std::sync::Arc;

use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::Tunnel;
use sotto_client::network::paths::hop;
use sotto_proto::envelope::Record;
use sotto_proto::id::{RecordId, SwarmId};
use sotto_proto::limits::RETRIEVE_BYTES;
use sotto_proto::request::{Cursor, Read, Records, Retrieve, SignedRead, SwarmRequest, SwarmResponse};

use super::client::LightClient;
use super::digests::{Ledger, ReadBack};
use super::network::{Network, Person};

/// Pages of one mailbox at one member.
const PAGES: usize = 256;
/// Times a member is asked again, through another path.
const TRIES: usize = 2;

/// Reads the mailboxes of `owners`, which `swarm` keeps, at each of its members.
pub(super) async fn read_back(
    network: &Arc<Network>,
    client: &mut LightClient,
    swarm: SwarmId,
    owners: &[&Person],
    ledger: &Ledger,
) -> ReadBack {
    let stored = ledger.stored(swarm);
    let mut outcome = ReadBack::default();
    for node in network.members(swarm) {
        let to = hop(network.directory.nodes(), &node);
        match read_member(network, client, swarm, owners, to).await {
            Some(found) => {
                outcome.members += 1;
                outcome.missing += stored.difference(&found).count() as u64;
                outcome.strange += found.iter().filter(|id| !ledger.was_sent(swarm, id)).count() as u64;
            }
            None => outcome.silent += 1,
        }
    }
    outcome
}

/// All records that one member has for the owners.
pub(crate) async fn read_member(
    network: &Network,
    client: &mut LightClient,
    swarm: SwarmId,
    owners: &[&Person],
    to: Option<HopInfo>,
) -> Option<BTreeSet<RecordId>> {
    let to = to?;
    for _ in 0..TRIES {
        let Ok(lane) = client.lane(swarm).await else { continue };
        let mut found = BTreeSet::new();
        let mut complete = true;
        for owner in owners {
            match read_mailbox(network, client, &lane.path, to, owner).await {
                Some(ids) => found.extend(ids),
                None => complete = false,
            }
        }
        if complete {
            return Some(found);
        }
        client.leave(swarm);
    }
    None
}

/// The records of one mailbox at one member, asked for through this path.
pub(crate) async fn read_mailbox(
    network: &Network,
    client: &LightClient,
    path: &Path,
    to: HopInfo,
    owner: &Person,
) -> Option<Vec<RecordId>> {
    let question = |cursor| {
        let (time, address) = (client.clock.now().seconds(), owner.account.address());
        let read = Read { node: to.node, address, time, cursor, max_bytes: RETRIEVE_BYTES };
        SwarmRequest::Retrieve(SignedRead::<Retrieve>::sign(read, owner.account.signing_key(), &network.chain))
    };
    let (mut tunnel, answer) = Tunnel::connect(path, to, Some(question(Cursor::default()))).await.ok()?;
    let mut records = records_of(answer?)?;
    let mut ids = Vec::new();
    for _ in 0..PAGES {
        for stored in &records.records {
            ids.push(Record::decode(&stored.record).ok()?.envelope().id(&network.chain));
        }
        if !records.more {
            return Some(ids);
        }
        let cursor = Cursor { epoch: records.epoch, seq: records.next_seq };
        records = records_of(tunnel.request(question(cursor)).await.ok()?)?;
    }
    None
}

fn records_of(answer: SwarmResponse) -> Option<Records> {
    match answer {
        SwarmResponse::Records(records) => Some(records),
        _ => None,
    }
}
