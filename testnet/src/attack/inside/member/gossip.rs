//! What a hostile member says over gossip.

use std::time::{Duration, Instant};

use rand_core::Rng as _;
use sotto_proto::envelope::Record;
use sotto_proto::id::SwarmId;
use sotto_proto::limits::{ENVELOPE_DATA_SIZES, GOSSIP_ID, SWARM_GOSSIP_MAX};
use sotto_proto::pow::Nonce;

use super::Member;
use crate::attack::inside::ground::now;
use crate::attack::inside::mail::Anchor;
use crate::attack::inside::mutation::{self, below};
use crate::attack::inside::peer::Peer;
use crate::attack::inside::rpc;
use crate::attack::inside::wire::{Failed, Wire};

/// How long one connection is used at most before there is a new one.
const ROUND: Duration = Duration::from_secs(10);
/// Topics in one frame: far more than a peer may be subscribed to. No frame may be too long, or its stream is at an end.
const TOPICS: usize = 1000;
/// Ids in one frame.
const IDS: usize = 500;
/// GRAFTs and PRUNEs in one frame.
const TIMES: usize = 1000;
/// Records in one frame.
const RECORDS: usize = 20;
/// First byte of a gossiped record, and of a delete.
const RECORD: u8 = 1;
const DELETE: u8 = 2;

/// Both gossips on one connection, subscribed to as a member is.
struct Gossips {
    _peer: Peer,
    own: String,
    chain: String,
    records: Wire,
    blocks: Wire,
}

async fn subscribed(member: &Member) -> Result<Gossips, Failed> {
    let (peer, names) = (member.connect().await?, &member.ground.names);
    let own = names.swarm_topic(member.ground.scene.victim.swarm).to_string();
    let chain = names.chain_topic().to_string();
    let (mut records, mut blocks) = (peer.open(&names.swarm_gossip()).await?, peer.open(&names.chain_gossip()).await?);
    records.send(&rpc::subscribe(std::slice::from_ref(&own), true)).await?;
    blocks.send(&rpc::subscribe(std::slice::from_ref(&chain), true)).await?;
    Ok(Gossips { _peer: peer, own, chain, records, blocks })
}

/// So short that all of a round comes in the shortest attack, too.
fn round(member: &Member) -> Duration {
    ROUND.min(member.ground.scene.lasting / 2)
}

/// Floods of everything but messages: nothing of it is an offence, so nobody is banned for it.
pub(super) async fn control(mut member: Member) -> (Member, Result<(), Failed>) {
    let ended = control_round(&mut member).await;
    (member, ended)
}

async fn control_round(member: &mut Member) -> Result<(), Failed> {
    let Gossips { own, chain, mut records, mut blocks, .. } = subscribed(member).await?;
    let round = round(member);
    let began = Instant::now();
    while began.elapsed() < round {
        for (wire, topic) in [(&mut records, &own), (&mut blocks, &chain)] {
            let bytes = control_frame(member, topic);
            wire.send(&bytes).await?;
        }
    }
    // A frame that is far too long ends the stream; the next round begins anew.
    too_long(&mut records).await
}

fn control_frame(member: &mut Member, topic: &str) -> Vec<u8> {
    let rng = &mut member.ground.rng;
    match below(rng, 7) {
        0 => rpc::graft(topic, TIMES),
        1 => rpc::prune(topic, u64::MAX, TIMES),
        2 => rpc::prune(topic, 0, TIMES),
        3 => rpc::ihave(topic, &ids(member)),
        4 => rpc::iwant(&ids(member)),
        5 => {
            let names = &member.ground.names;
            let topics: Vec<_> = (0..TOPICS as u64).map(|id| names.swarm_topic(SwarmId(id)).to_string()).collect();
            rpc::subscribe(&topics, true)
        }
        _ => rpc::subscribe(&[topic.to_owned()], below(rng, 2) == 0),
    }
}

fn ids(member: &mut Member) -> Vec<Vec<u8>> {
    (0..IDS).map(|_| mutation::bytes(&mut member.ground.rng, GOSSIP_ID)).collect()
}

async fn too_long(wire: &mut Wire) -> Result<(), Failed> {
    wire.send(&rpc::varint(64 << 20)).await?;
    for _ in 0..64 {
        wire.send(&[0; 16 * 1024]).await?;
    }
    Ok(())
}

/// Messages that nobody should pass on.
pub(super) async fn records(mut member: Member) -> (Member, Result<(), Failed>) {
    let ended = records_round(&mut member).await;
    (member, ended)
}

async fn records_round(member: &mut Member) -> Result<(), Failed> {
    let anchor = Anchor::ask(&mut member.ground).await?;
    let Gossips { own, chain, mut records, mut blocks, .. } = subscribed(member).await?;
    let round = round(member);
    // What was good once, again and again, is no offence; the rest is.
    let account = member.ground.account_in(member.ground.scene.victim.swarm)?;
    let good = anchor.record(&mut member.ground, account.address(), ENVELOPE_DATA_SIZES[0])?.encode();
    let good = [&[RECORD], good.as_slice()].concat();
    let began = Instant::now();
    while began.elapsed() < round {
        let mut messages = vec![good.clone(); RECORDS];
        if began.elapsed() > round / 2 {
            messages = (0..RECORDS).map(|_| bad(member, &anchor)).collect::<Result<_, _>>()?;
        }
        records.send(&rpc::publish(&own, &messages)).await?;
        if began.elapsed() > round / 2 {
            blocks.send(&rpc::publish(&chain, &messages[..RECORDS / 10])).await?;
            records.send(&rpc::publish(&chain, &messages[..RECORDS / 10])).await?;
        }
    }
    Ok(())
}

/// A message that is a record without work, a delete of nobody, or nothing at all.
fn bad(member: &mut Member, anchor: &Anchor) -> Result<Vec<u8>, Failed> {
    let way = below(&mut member.ground.rng, 4);
    let length = 1 + below(&mut member.ground.rng, SWARM_GOSSIP_MAX);
    let junk = mutation::bytes(&mut member.ground.rng, length.min(2000));
    Ok(match way {
        0 => junk,
        1 => [&[RECORD], junk.as_slice()].concat(),
        2 => [&[DELETE], junk.as_slice()].concat(),
        _ => {
            let account = member.ground.account_in(member.ground.scene.victim.swarm)?;
            let envelope = anchor.envelope(&mut member.ground, account.address(), now(), ENVELOPE_DATA_SIZES[0])?;
            let nonce = Nonce(member.ground.rng.next_u64());
            let record = Record::new(envelope, nonce, None).map_err(Failed::unmade)?.encode();
            [&[RECORD], record.as_slice()].concat()
        }
    })
}
