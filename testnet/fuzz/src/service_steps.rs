//! What may happen to the node of `service`, step by step.

use std::time::Duration;

use sotto_behaviours::network::{Counts, Request, RequestError, Response};
use sotto_node::service_node::{Incoming, Input as Happens, Tunnel};
use sotto_proto::envelope::Record;
use sotto_proto::id::{ItemId, NodeId};
use sotto_proto::request::{
    ChainRequest, ChainResponse, Cursor, Fingerprint, Item, ListRequest, ListResponse, Message as _, OfferRequest,
    OfferResponse, PublishOrder, RepairRequest, RepairResponse, Scope, StatusRequest, Summary, SwarmRequest, Wanted,
};
use sotto_proto::time::UnixSeconds;

use crate::input::Input;
use crate::service::Node;
use crate::service_world::{HEIGHT, MINE, Owner, WORLD, member};

/// All steps of time together, so that no record expires.
const LONGEST: Duration = Duration::from_secs(3600);

fn tunnel(input: &mut Input<'_>) -> Tunnel {
    Tunnel(u64::from(input.u8() % 4))
}

fn choose(input: &mut Input<'_>) -> (&'static Owner, &'static Record) {
    let owner = input.pick(&WORLD.owners).expect("four of them");
    (owner, input.pick(&owner.records).expect("three of them"))
}

/// A record as somebody may send it: as it is, or changed.
fn record(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = choose(input).1.encode();
    if input.u8() % 4 == 3 {
        input.edit(&mut bytes);
    }
    bytes
}

/// A delete as somebody may send it.
fn delete(node: &mut Node, input: &mut Input<'_>) -> Vec<u8> {
    let (owner, record) = choose(input);
    node.deleted.insert(WORLD.id(record));
    let mut bytes = WORLD.delete(owner, record).encode();
    if input.u8() % 4 == 3 {
        input.edit(&mut bytes);
    }
    bytes
}

fn items(node: &mut Node, input: &mut Input<'_>) -> Vec<Item> {
    let count = 1 + usize::from(input.flag());
    let item = |_| if input.u8() % 3 == 2 { Item::Delete(delete(node, input)) } else { Item::Record(record(input)) };
    (0..count).map(item).filter(|item| !item.is_empty()).collect()
}

fn ids(input: &mut Input<'_>) -> Vec<ItemId> {
    let id = |_| {
        let record = choose(input).1;
        match input.u8() % 4 {
            3 => ItemId::new([input.u8(); 32]),
            2 => ItemId::tombstone(&record.envelope().address(), &WORLD.id(record)),
            _ => WORLD.id(record).into(),
        }
    };
    (0..2).map(id).collect()
}

fn scope(node: &Node, input: &mut Input<'_>) -> Scope {
    let now = UnixSeconds(node.now.wall.seconds().0 + u64::from(input.u8() & 1) * 1000);
    sotto_behaviours::replication::scope_at(HEIGHT.minus(u64::from(input.u8() % 20)), MINE, now)
}

fn cursor(node: &Node, tunnel: Tunnel, input: &mut Input<'_>) -> Cursor {
    let epoch = node.pages.get(&tunnel).map_or(0, |page| page.epoch);
    Cursor { epoch, seq: input.number() }
}

pub(crate) fn step(node: &mut Node, input: &mut Input<'_>) {
    match input.u8() % 16 {
        0 | 1 => {
            let (tunnel, record) = (tunnel(input), record(input));
            let publish_order = PublishOrder::try_from(u32::from(input.u8() % 3)).expect("three of them");
            node.tell(Happens::Tunnel { tunnel, request: SwarmRequest::Store { record, publish_order } });
        }
        2 => {
            let (tunnel, owner) = (tunnel(input), choose(input).0);
            let cursor = cursor(node, tunnel, input);
            node.retrieve(tunnel, owner, cursor);
        }
        3 => {
            let (tunnel, owner) = (tunnel(input), choose(input).0);
            let cursor = cursor(node, tunnel, input);
            node.subscribe(tunnel, owner, cursor);
        }
        4 => {
            let (tunnel, (owner, record)) = (tunnel(input), choose(input));
            node.deleted.insert(WORLD.id(record));
            let request = SwarmRequest::Delete(WORLD.delete(owner, record));
            node.tell(Happens::Tunnel { tunnel, request });
        }
        5 => {
            let tunnel = tunnel(input);
            if let Ok(request) = SwarmRequest::decode(input.chunk()) {
                node.tell(Happens::Tunnel { tunnel, request });
            }
        }
        6 => gossip(node, input),
        7 | 8 => ask(node, input),
        9 => answer(node, input),
        10 | 11 => (0..=input.u8() % 16).for_each(|_| node.serve_disk(true)),
        12 => node.serve_disk(false),
        13 => {
            let peer = member(1 + input.u8() % 9);
            node.tell(if input.flag() { Happens::Disconnected(peer) } else { Happens::Connected(peer) });
        }
        14 => {
            let time = Duration::from_millis(input.number().min(1 << 12) * 100);
            if node.now.monotonic.0 + time < LONGEST {
                node.pass(time);
            }
        }
        _ => match input.u8() % 4 {
            0 => node.chain(),
            1 => node.tell(Happens::TunnelReady(tunnel(input))),
            2 => node.tell(Happens::TunnelClosed(tunnel(input))),
            _ => node.tell(Happens::Network { counts: Counts { nodes: 3, ..Counts::default() }, clock: None }),
        },
    }
}

fn gossip(node: &mut Node, input: &mut Input<'_>) {
    let bytes = match input.u8() % 4 {
        0 | 1 => [&[1][..], &record(input)].concat(),
        2 => {
            let delete = delete(node, input);
            let length = u32::try_from(delete.len()).expect("a short delete").to_be_bytes();
            [&[2][..], &length, &delete].concat()
        }
        _ => input.chunk().to_vec(),
    };
    node.gossip(bytes);
}

/// A member of the own swarm asks, or a node of the other one, or anybody.
fn ask(node: &mut Node, input: &mut Input<'_>) {
    let (choice, mate, other) = (input.u8(), member(1 + input.u8() % 4), member(5 + input.u8() % 5));
    let (from, request): (NodeId, _) = match choice % 12 {
        0 => {
            let summary =
                Summary { scope: scope(node, input), count: 1, fingerprint: Fingerprint::from([input.u8(); 16]) };
            (mate, Request::Repair(RepairRequest::Summary(summary)))
        }
        1 => {
            let (scope, message) = (scope(node, input), input.chunk().to_vec());
            (mate, Request::Repair(RepairRequest::Reconcile { scope, message }))
        }
        2 | 3 => {
            let (scope, ids, max_bytes) = (scope(node, input), ids(input), u32::from(input.u16()) * 16);
            (mate, Request::Repair(RepairRequest::Fetch { scope, ids, max_bytes }))
        }
        4 | 5 => {
            let (scope, items) = (scope(node, input), items(node, input));
            (mate, Request::Repair(RepairRequest::Give { scope, items }))
        }
        6 => (other, Request::Offer(OfferRequest::Offer(ids(input)))),
        7 | 8 => (other, Request::Offer(OfferRequest::Hand(items(node, input)))),
        9 => match ChainRequest::decode(input.chunk()) {
            Ok(request) => (other, Request::Chain(request)),
            Err(_) => return,
        },
        10 => match ListRequest::decode(input.chunk()) {
            Ok(request) => (other, Request::List(request)),
            Err(_) => return,
        },
        _ => match StatusRequest::decode(input.chunk()) {
            Ok(request) => (other, Request::Status(request)),
            Err(_) => return,
        },
    };
    let reply = node.reply();
    node.tell(Happens::Received { from, message: Incoming::Request { reply, request } });
}

/// One of its own requests is answered with something, or never will be.
fn answer(node: &mut Node, input: &mut Input<'_>) {
    if node.asked.is_empty() {
        return;
    }
    let (tag, from, request) = node.asked.remove(input.below(node.asked.len()));
    let choice = input.u8() % 4;
    let result = match (choice, request) {
        (0, _) | (_, None) => Err(RequestError::Timeout),
        (1, Some(Request::Repair(RepairRequest::Summary(_)))) => {
            Ok(Response::Repair(RepairResponse::Summary { equal: input.flag() }))
        }
        (1 | 2, Some(Request::Repair(RepairRequest::Fetch { .. }))) => {
            let (items, more) = (items(node, input), input.flag());
            Ok(Response::Repair(RepairResponse::Items { items, more }))
        }
        (1, Some(Request::Offer(OfferRequest::Offer(ids)))) => {
            let mask = input.u8();
            let wanted = (0..ids.len()).map(|n| mask >> (n % 8) & 1 == 1);
            Ok(Response::Offer(OfferResponse::Wanted(Wanted::new(wanted))))
        }
        (2, Some(Request::Offer(_))) => Ok(Response::Offer(OfferResponse::Durable(ids(input)))),
        (_, Some(Request::Repair(_))) => {
            RepairResponse::decode(input.chunk()).map(Response::Repair).map_err(|_| RequestError::Timeout)
        }
        (_, Some(Request::Offer(_))) => {
            OfferResponse::decode(input.chunk()).map(Response::Offer).map_err(|_| RequestError::Timeout)
        }
        (_, Some(Request::List(_))) => {
            ListResponse::decode(input.chunk()).map(Response::List).map_err(|_| RequestError::Timeout)
        }
        (_, Some(Request::Chain(_) | Request::Status(_))) => {
            ChainResponse::decode(input.chunk()).map(Response::Chain).map_err(|_| RequestError::Timeout)
        }
    };
    node.tell(Happens::Received { from, message: Incoming::Response { tag, result } });
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const DISK: [u8; 2] = [10, 15];
    let store = |owner, record| [0, 0, owner, record, 0, 0];
    vec![
        // Stored, read, deleted, read again.
        [&[0][..], &store(0, 0), &store(1, 1), &DISK, &[2, 1, 0, 0, 0], &DISK, &[4, 0, 0, 0], &DISK, &[2, 1, 0, 0, 0]]
            .concat(),
        // Subscribed; records come from clients, gossip and a member's hand.
        [
            &[0, 3, 2, 0, 0, 0][..],
            &DISK,
            &store(0, 1),
            &DISK,
            &[15, 1, 2, 6, 0, 0, 2, 0],
            &DISK,
            &[7, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
        ]
        .concat(),
        // For the other swarm: handed over, and offers taken.
        [&[0, 7, 6, 0, 0, 0, 0, 0, 0, 1, 0][..], &[7, 7, 0, 0, 0, 0, 2, 0], &DISK, &[6, 0, 3, 0, 0], &DISK, &[14, 200]]
            .concat(),
        // Members come, differ, and give and take.
        [
            &[0, 13, 0, 0, 13, 1, 0, 14, 20, 9, 0, 1, 0][..],
            &store(0, 0),
            &DISK,
            &[14, 200, 9, 0, 1, 1, 10, 15, 14, 200],
        ]
        .concat(),
        // A disk that fails, then works; before the mail is loaded.
        [&[0xff][..], &store(0, 0), &[12, 14, 100], &DISK, &store(0, 0), &[12], &store(0, 1), &DISK].concat(),
    ]
}
