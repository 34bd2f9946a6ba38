//! Comparing two members' sets, when the other one says anything: no message is longer than a frame, a session ends, and
//! what it says we have and the other lacks is ours.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use sotto_behaviours::replication::{Entry, ItemSet, Session, Step, respond};
use sotto_proto::hash::blake2b_256;
use sotto_proto::id::ItemId;
use sotto_proto::limits::{RECONCILE_FRAME, RECONCILE_MESSAGES};
use sotto_proto::request::{Message as _, RepairRequest, RepairResponse};
use sotto_proto::time::UnixSeconds;

use crate::check::whole;
use crate::fixtures::NOW;
use crate::input::Input;
use crate::records::scope;

/// Item number `n`: somewhere in the last day, for four days.
pub(crate) fn entry(n: u64) -> Entry {
    let timestamp = UnixSeconds(NOW.0 - 60 - n * 7919 % 86_400);
    Entry { timestamp, id: ItemId::new(blake2b_256(&n.to_be_bytes())), expiry: UnixSeconds(timestamp.0 + 345_600) }
}

/// The own set, and that of an honest member that differs by some.
pub(crate) static SETS: LazyLock<[ItemSet; 2]> =
    LazyLock::new(|| [(0..300).map(entry).collect(), (40..310).map(entry).collect()]);

pub(crate) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let [own, other] = &*SETS;
    let (own_view, other_view) = (own.view(scope()), other.view(scope()));
    if !input.flag() {
        let message = input.rest();
        if let Ok(answer) = respond(&own_view, message) {
            assert!(!answer.is_empty() && answer.len() <= RECONCILE_FRAME);
        }
        return;
    }
    let (mut session, mut request) = Session::start(&own_view);
    assert_eq!(session.scope(), scope());
    let (mut messages, mut honest) = (0, true);
    loop {
        assert!(request.clone().encode().is_ok(), "a request that cannot be sent");
        let truth = match &request {
            RepairRequest::Summary(summary) => RepairResponse::Summary { equal: *summary == other_view.summary() },
            RepairRequest::Reconcile { message, .. } => {
                messages += 1;
                RepairResponse::Reconcile { message: respond(&other_view, message).expect("our own message") }
            }
            other => unreachable!("a session asks for {other:?}"),
        };
        let said = match (input.u8() % 4, truth.clone()) {
            (1, RepairResponse::Reconcile { mut message }) => {
                input.edit(&mut message);
                RepairResponse::Reconcile { message }
            }
            (2, _) => RepairResponse::Reconcile { message: input.chunk().to_vec() },
            (3, _) => RepairResponse::decode(input.chunk()).unwrap_or(RepairResponse::Taken),
            (_, truth) => truth,
        };
        honest &= said == truth;
        match session.answered(&own_view, said) {
            Ok(Step::Ask(next)) => request = next,
            Ok(Step::Equal) => return assert!(!honest),
            Ok(Step::Different(found)) => {
                let ours: BTreeSet<_> = own.iter().map(|entry| entry.id).collect();
                assert!(found.have.is_subset(&ours), "gives what it does not have");
                let lacking: BTreeSet<_> = (300..310).map(|n| entry(n).id).collect();
                let extra: BTreeSet<_> = (0..40).map(|n| entry(n).id).collect();
                assert!(!honest || (found.complete && found.need == lacking && found.have == extra));
                return;
            }
            Err(_) => return assert!(!honest, "an honest member's answer is refused"),
        }
        assert!(messages <= RECONCILE_MESSAGES, "a session without end");
    }
}

/// What an honest initiator sends first, and an honest responder answers.
fn messages() -> (Vec<u8>, Vec<u8>) {
    let [own, other] = &*SETS;
    let view = own.view(scope());
    let (mut session, _) = Session::start(&view);
    match session.answered(&view, RepairResponse::Summary { equal: false }) {
        Ok(Step::Ask(RepairRequest::Reconcile { message, .. })) => {
            let answer = respond(&other.view(scope()), &message).expect("our own message");
            (message, answer)
        }
        other => unreachable!("a session goes on with {other:?}"),
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (message, answer) = messages();
    let length = u16::try_from(answer.len()).expect("at most a frame").to_be_bytes();
    vec![
        whole(0, &message),
        whole(0, &answer),
        whole(1, &[0, 0, 0, 0]),
        whole(1, &[0, 1, 1, 0, 40, 1]),
        whole(1, &[&[0, 2][..], &length, &answer].concat()),
    ]
}
