//! Readers that stall: they ask for much and read nothing (A4 of the design: no slow reader holds up anybody else).

use std::time::Duration;

use futures::FutureExt as _;
use sotto_behaviours::onion::HopInfo;
use sotto_proto::id::Height;
use sotto_proto::limits::{LIST_HEADERS, REQUESTS_PER_PEER, STREAMS_PER_PATH};
use sotto_proto::request::{ChainRequest, ListRequest, Message as _, SwarmRequest};

use super::super::Attack;
use super::crowd::crowd;
use super::ground::Ground;
use super::mail::Mailbox;
use super::path::RawPath;
use super::requests::framed;
use super::talk::first_flight;
use super::tunnels::meet;
use super::wire::Failed;

/// Clients that read nothing.
const READERS: usize = 48;
/// How long they keep at it before they begin anew.
const HOLD: Duration = Duration::from_secs(20);

pub(super) const REQUESTS: Attack = Attack {
    name: "unread-requests",
    what: "chain ranges and lists asked for directly and not read; every other connection takes nothing at all (A4)",
    start: |scene| crowd(scene, "unread-requests", READERS, |ground| requests(ground).boxed()).boxed(),
};

pub(super) const TUNNELS: Attack = Attack {
    name: "unread-tunnels",
    what: "pages of mail, headers and lists asked for through paths and not read (A4)",
    start: |scene| crowd(scene, "unread-tunnels", READERS, |ground| tunnels(ground).boxed()).boxed(),
};

/// As many requests as one peer may have open.
async fn requests(ground: &mut Ground) -> Result<(), Failed> {
    let peer = ground.stranger().await?;
    let ranges = ChainRequest::Blocks { from: Height(1), max_bytes: u32::MAX }.encode().map_err(Failed::unmade)?;
    let headers = headers().encode().map_err(Failed::unmade)?;
    let mut unread = Vec::new();
    for _ in 0..REQUESTS_PER_PEER {
        for (protocol, question) in [(ground.names.chain(), &ranges), (ground.names.list(), &headers)] {
            let mut wire = peer.open(&protocol).await?;
            wire.send(&framed(question)).await?;
            wire.finish().await?;
            unread.push(wire);
        }
    }
    if ground.index.is_multiple_of(2) {
        peer.freeze();
    }
    tokio::time::sleep(HOLD).await;
    Ok(())
}

const fn headers() -> ListRequest {
    ListRequest::Headers { from: Height(1), count: LIST_HEADERS as u8 }
}

/// As many tunnels as a path has, each with a question whose answer is long.
async fn tunnels(ground: &mut Ground) -> Result<(), Failed> {
    let (victim, to) = meet(ground)?;
    let mailbox = Mailbox::of(ground).await?;
    let (peer, mut path) = RawPath::anew(ground, victim).await?;
    for index in 0..STREAMS_PER_PATH {
        let question = question(ground, &mailbox, &to, index)?;
        let (flight, _) = first_flight(ground, &to, &question)?;
        path.open(&to, &flight).await?;
    }
    if ground.index % 4 < 2 {
        peer.freeze();
    }
    tokio::time::sleep(HOLD).await;
    Ok(())
}

fn question(ground: &Ground, mailbox: &Mailbox, to: &HopInfo, index: usize) -> Result<Vec<u8>, Failed> {
    let to_victim = to.node == ground.scene.victim.node;
    match index % 3 {
        0 if to_victim => mailbox.page(ground),
        1 if to_victim => mailbox.subscription(ground),
        _ => SwarmRequest::List(headers()).encode().map_err(Failed::unmade),
    }
}

const _: () = assert!(LIST_HEADERS <= u8::MAX as usize, "a count is one byte");
