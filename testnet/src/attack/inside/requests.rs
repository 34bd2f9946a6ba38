//! Questions at full speed: directly, from many keys, and through tunnels.

use std::collections::BTreeSet;

use futures::FutureExt as _;
use futures::future::join_all;
use libp2p::StreamProtocol;
use sotto_proto::account::Account;
use sotto_proto::id::Height;
use sotto_proto::limits::{LIST_HEADERS, REQUESTS_PER_PEER, STREAMS_PER_PATH};
use sotto_proto::request::{
    ChainRequest, Cursor, ListRequest, Message as _, MessageError, Purpose, Read, Retrieve, SignedRead, StatusRequest,
    Subscribe, SwarmRequest,
};
use sotto_proto::time::UnixMillis;

use super::super::Attack;
use super::crowd::crowd;
use super::ground::{Ground, now};
use super::mutation::below;
use super::path::RawPath;
use super::peer::Peer;
use super::talk::{Habit, Questions, talk};
use super::wire::Failed;

/// Clients that ask directly.
const ASKERS: usize = 16;
/// Clients that ask through paths.
const TUNNELLERS: usize = 12;
/// Times a key asks before there is a new one, whose allowance is its own.
const TIMES: usize = 20;
/// Streams of each protocol on one connection of a flood of the log.
const BEYOND: usize = 1000;
/// Those of them that stay: more than are served at once, and together fewer than a connection may have.
const HELD: usize = 2 * REQUESTS_PER_PEER + 4;
/// Questions in a tunnel before there is a new one.
const QUESTIONS: usize = 1000;

pub(super) const DIRECT: Attack = Attack {
    name: "request-flood",
    what: "chain ranges, headers, lists, hashes and status from ever new keys (row 31, A4)",
    start: |scene| crowd(scene, "request-flood", ASKERS, |ground| direct(ground).boxed()).boxed(),
};

pub(super) const TUNNELLED: Attack = Attack {
    name: "request-tunnels",
    what: "lists, headers, hashes, an empty mailbox and somebody else's, asked for through paths",
    start: |scene| crowd(scene, "request-tunnels", TUNNELLERS, |ground| tunnelled(ground).boxed()).boxed(),
};

pub(super) const LOGS: Attack = Attack {
    name: "log-flood",
    what: "more streams of requests at once than are served, each of which libraries find worth a line (row 34)",
    start: |scene| crowd(scene, "log-flood", ASKERS, |ground| beyond(ground).boxed()).boxed(),
};

/// A message as request-response carries it.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), message].concat()
}

/// A new key, which asks for everything, side by side, a few times.
async fn direct(ground: &mut Ground) -> Result<(), Failed> {
    let peer = ground.stranger().await?;
    for _ in 0..TIMES {
        let asked: Vec<_> = (0..REQUESTS_PER_PEER)
            .flat_map(|_| questions(ground))
            .map(|(protocol, question)| (protocol, framed(&question)))
            .collect();
        let ended = join_all(asked.into_iter().map(|(protocol, bytes)| exchange(&peer, protocol, bytes))).await;
        let refused = ended.iter().filter(|ended| ended.is_err()).count();
        for _ in 0..refused {
            ground.scene.tally.refused();
        }
        if peer.is_gone() {
            return Err(Failed::Gone("the victim closed the connection".to_owned()));
        }
    }
    Ok(())
}

/// Streams of both protocols that say nothing, up to what is served at once, and many more that are dropped.
async fn beyond(ground: &mut Ground) -> Result<(), Failed> {
    let peer = ground.stranger().await?;
    let mut held = Vec::new();
    for turn in 0..BEYOND {
        for protocol in [ground.names.chain(), ground.names.list()] {
            let mut wire = peer.open(&protocol).await?;
            // The first byte of a length, which brings the name of the protocol with it.
            wire.send(&[0]).await?;
            if turn < HELD {
                held.push(wire);
            }
        }
        tokio::task::yield_now().await;
    }
    if peer.is_gone() { Err(Failed::Gone("the victim closed the connection".to_owned())) } else { Ok(()) }
}

/// One question of each protocol.
pub(super) fn questions(ground: &mut Ground) -> Vec<(StreamProtocol, Vec<u8>)> {
    let chain = [
        ChainRequest::Blocks { from: Height(1), max_bytes: u32::MAX },
        ChainRequest::Tip,
        ChainRequest::SubmitTransaction(vec![7; 200]),
    ];
    let status = StatusRequest { time: UnixMillis(now().0.saturating_mul(1000)), final_height: Height(1) };
    let list = lists()[below(&mut ground.rng, 4)].clone();
    let asked: [(StreamProtocol, Result<Vec<u8>, MessageError>); 3] = [
        (ground.names.chain(), chain[below(&mut ground.rng, 3)].clone().encode()),
        (ground.names.list(), list.encode()),
        (ground.names.status(), status.encode()),
    ];
    asked.into_iter().filter_map(|(protocol, question)| Some((protocol, question.ok()?))).collect()
}

fn lists() -> [ListRequest; 4] {
    let recent = Height(2);
    [
        ListRequest::Info,
        ListRequest::Headers { from: Height(1), count: u8::try_from(LIST_HEADERS).unwrap_or(u8::MAX) },
        ListRequest::Buckets { height: recent, buckets: (0..=u8::MAX).collect::<BTreeSet<_>>() },
        ListRequest::Hashes { height: recent },
    ]
}

/// Sends bytes and reads what comes.
pub(super) async fn exchange(peer: &Peer, protocol: StreamProtocol, bytes: Vec<u8>) -> Result<usize, Failed> {
    let mut wire = peer.open(&protocol).await?;
    wire.send(&bytes).await?;
    wire.finish().await?;
    wire.drain().await
}

async fn tunnelled(ground: &mut Ground) -> Result<(), Failed> {
    let (victim, (_peer, mut path)) = (ground.victim(), RawPath::anew(ground, None).await?);
    let habit = Habit { tunnels: STREAMS_PER_PATH - 1, questions: QUESTIONS };
    let mut any = AnyOf::new(ground)?;
    talk(ground, &mut path, victim, habit, &mut any).await
}

/// One of everything that may be asked in a tunnel.
pub(super) struct AnyOf {
    account: Account,
    stranger: Account,
}

impl AnyOf {
    pub(super) fn new(ground: &mut Ground) -> Result<Self, Failed> {
        let swarm = ground.scene.victim.swarm;
        Ok(Self { account: ground.account_in(swarm)?, stranger: ground.account_in(swarm)? })
    }

    /// A read in the victim's swarm: of one's own mailbox, which is empty, or of somebody else's, which is refused.
    fn read<P: Purpose>(&self, ground: &mut Ground) -> SignedRead<P> {
        let whose = if below(&mut ground.rng, 2) == 0 { &self.account } else { &self.stranger };
        let read = Read {
            node: ground.scene.victim.node,
            address: whose.address(),
            time: now(),
            cursor: Cursor::default(),
            max_bytes: u32::MAX,
        };
        SignedRead::sign(read, self.account.signing_key(), ground.chain())
    }
}

impl Questions for AnyOf {
    fn next(&mut self, ground: &mut Ground) -> Result<Vec<u8>, Failed> {
        let request = match below(&mut ground.rng, 6) {
            0 => SwarmRequest::Retrieve(self.read::<Retrieve>(ground)),
            1 => SwarmRequest::Subscribe(self.read::<Subscribe>(ground)),
            list => SwarmRequest::List(lists()[list - 2].clone()),
        };
        request.encode().map_err(Failed::unmade)
    }
}
