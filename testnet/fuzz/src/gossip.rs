//! How gossiped messages are known: a block by its header's hash, a record by its envelope's, whatever comes behind.

use sotto_behaviours::gossip::{block_message_id, swarm_message_id};
use sotto_behaviours::names::Names;
use sotto_proto::chain::Block;
use sotto_proto::envelope::Record;
use sotto_proto::id::SwarmId;
use sotto_proto::limits::GOSSIP_ID;

use crate::check::whole;
use crate::fixtures::{CHAIN, LEDGER, deletes, records};

const RECORD: u8 = 1;
const DELETE: u8 = 2;

pub(crate) fn run(input: &[u8]) {
    let Some((choice, data)) = input.split_first() else { return };
    match choice % 3 {
        0 => {
            let id = block_message_id(&CHAIN, data);
            assert_eq!(id.0.len(), GOSSIP_ID);
            if let Ok(block) = Block::decode(data) {
                assert_eq!(id.0, block.hash(&CHAIN).as_bytes()[..GOSSIP_ID], "a block under another id than its hash");
            }
        }
        1 => swarm(data),
        _ => {
            let Ok(text) = std::str::from_utf8(data) else { return };
            let names = Names::new(&CHAIN);
            let topic = libp2p::gossipsub::IdentTopic::new(text).hash();
            if let Some(swarm) = names.swarm_of_topic(&topic) {
                assert_eq!(names.swarm_topic(swarm).hash(), topic, "two topics of one swarm");
                assert_ne!(swarm, SwarmId::NONE);
            }
        }
    }
}

fn swarm(data: &[u8]) {
    let id = swarm_message_id(&CHAIN, data);
    assert_eq!(id.0.len(), GOSSIP_ID);
    let Some((&RECORD, record)) = data.split_first() else { return };
    let Ok(record) = Record::decode(record) else { return };
    let envelope = record.envelope().id(&CHAIN);
    assert_eq!(id.0, envelope.as_bytes()[..GOSSIP_ID], "a record under another id than its envelope's");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![whole(0, &LEDGER.blocks[0].encode()), whole(0, &LEDGER.blocks[4].encode())];
    seeds.extend(records().iter().map(|record| whole(1, &whole(RECORD, &record.encode()))));
    seeds.extend(deletes().iter().map(|delete| whole(1, &whole(DELETE, &delete.encode()))));
    let topic = Names::new(&CHAIN).swarm_topic(SwarmId(0x3fff_ffff_ffff_ffff)).hash();
    seeds.push(whole(2, topic.as_str().as_bytes()));
    seeds
}
