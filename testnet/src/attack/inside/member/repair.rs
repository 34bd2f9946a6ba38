//! What a hostile member asks and brings over repair and hand-over.

use std::time::{Duration, Instant};

use futures::future::join_all;
use libp2p::StreamProtocol;
use rand_core::Rng as _;
use sotto_proto::id::ItemId;
use sotto_proto::limits::{
    OFFER_ITEMS, PAGE_BYTES, PAGE_ITEMS, RECONCILE_FRAME, REPAIR_CUTOFF_SECONDS, REPAIR_UNTIL_SECONDS,
    REQUESTS_PER_PEER,
};
use sotto_proto::request::{Item, Message as _, OfferRequest, RepairRequest, Scope, Summary};
use sotto_proto::time::UnixSeconds;

use super::Member;
use crate::attack::inside::ground::now;
use crate::attack::inside::mail::Anchor;
use crate::attack::inside::mutation::{self, below};
use crate::attack::inside::requests::{exchange, framed};
use crate::attack::inside::wire::Failed;

/// How long one connection and one height are used: a height is good for sixteen blocks.
const ROUND: Duration = Duration::from_secs(10);
/// The version byte of negentropy's messages.
const NEGENTROPY: u8 = 0x61;

pub(super) async fn repair(mut member: Member) -> (Member, Result<(), Failed>) {
    let ended = round(&mut member).await;
    (member, ended)
}

async fn round(member: &mut Member) -> Result<(), Failed> {
    let anchor = Anchor::ask(&mut member.ground).await?;
    let peer = member.connect().await?;
    let began = Instant::now();
    while began.elapsed() < ROUND && !peer.is_gone() {
        let scope = scope(member, &anchor);
        let asked = (0..REQUESTS_PER_PEER)
            .flat_map(|_| [repair_request(member, scope), offer_request(member)])
            .collect::<Result<Vec<_>, _>>()?;
        let ended = join_all(asked.into_iter().map(|(protocol, bytes)| exchange(&peer, protocol, bytes))).await;
        for _ in ended.iter().filter(|ended| ended.is_err()) {
            member.ground.scene.tally.refused();
        }
    }
    Ok(())
}

/// The victim's swarm as of now, or something else.
fn scope(member: &mut Member, anchor: &Anchor) -> Scope {
    let swarm = member.ground.scene.victim.swarm;
    let now = now();
    let mut scope = Scope {
        height: anchor.last_final,
        swarm,
        until: UnixSeconds(now.0.saturating_sub(REPAIR_UNTIL_SECONDS)),
        cutoff: UnixSeconds(now.0.saturating_add(REPAIR_CUTOFF_SECONDS)),
    };
    let rng = &mut member.ground.rng;
    match below(rng, 8) {
        0 => scope.height.0 = rng.next_u64(),
        1 => scope.swarm.0 = rng.next_u64(),
        2 => scope.until.0 = rng.next_u64(),
        _ => {}
    }
    scope
}

fn repair_request(member: &mut Member, scope: Scope) -> Result<(StreamProtocol, Vec<u8>), Failed> {
    let rng = &mut member.ground.rng;
    let request = match below(rng, 5) {
        0 => {
            let count = rng.next_u64();
            let mut fingerprint = [0; 16];
            rng.fill_bytes(&mut fingerprint);
            RepairRequest::Summary(Summary { scope, count, fingerprint: fingerprint.into() })
        }
        1 | 2 => {
            let length = 1 + below(rng, RECONCILE_FRAME);
            let mut message = mutation::bytes(rng, length);
            message[0] = NEGENTROPY;
            RepairRequest::Reconcile { scope, message }
        }
        3 => RepairRequest::Fetch { scope, ids: ids(member, PAGE_ITEMS), max_bytes: u32::MAX },
        _ => RepairRequest::Give { scope, items: junk(member) },
    };
    Ok((member.ground.names.repair(), framed(&request.encode().map_err(Failed::unmade)?)))
}

fn offer_request(member: &mut Member) -> Result<(StreamProtocol, Vec<u8>), Failed> {
    let request = match below(&mut member.ground.rng, 2) {
        0 => OfferRequest::Offer(ids(member, OFFER_ITEMS)),
        _ => OfferRequest::Hand(junk(member)),
    };
    Ok((member.ground.names.offer(), framed(&request.encode().map_err(Failed::unmade)?)))
}

fn ids(member: &mut Member, count: usize) -> Vec<ItemId> {
    let id = |_| {
        let mut id = [0; 32];
        member.ground.rng.fill_bytes(&mut id);
        ItemId::new(id)
    };
    (0..count).map(id).collect()
}

/// A page of records and deletes that are none.
fn junk(member: &mut Member) -> Vec<Item> {
    let rng = &mut member.ground.rng;
    let count = 1 + below(rng, 64);
    let each = PAGE_BYTES / count / 2;
    (0..count)
        .map(|index| {
            let length = 1 + below(rng, each.min(2000));
            let bytes = mutation::bytes(rng, length);
            if index % 2 == 0 { Item::Record(bytes) } else { Item::Delete(bytes) }
        })
        .collect()
}
