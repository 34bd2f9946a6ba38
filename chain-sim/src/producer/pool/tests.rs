use proptest::prelude::*;
use sotto_proto::chain::{Payload, TxBody};
use sotto_proto::id::{Amount, ChainId, X25519Key};
use sotto_proto::sign::Signature;

use super::*;

const CHAIN: ChainId = ChainId::new([1; 32]);

fn transaction(signer: u8, nonce: u64, fee: u64, payload: Payload) -> Transaction {
    let body = TxBody { signer: PublicKey::new([signer; 32]), nonce, fee: Amount(fee), payload };
    Transaction { body, signature: Signature::new([0; 64]), node_signature: None }
}

fn transfer(signer: u8, nonce: u64, fee: u64) -> Transaction {
    transaction(signer, nonce, fee, Payload::Transfer { to: PublicKey::new([9; 32]), amount: Amount(1) })
}

fn proof(signer: u8, epoch: u64) -> Transaction {
    transaction(signer, 0, 0, Payload::UptimeProof { epoch, version: 1 })
}

fn rotation(signer: u8, nonce: u64) -> Transaction {
    transaction(signer, nonce, 0, Payload::RotateKey { x25519: X25519Key::new([nonce as u8; 32]) })
}

fn pool_of(transactions: &[Transaction]) -> Pool {
    let mut pool = Pool::new(Limits::default());
    for transaction in transactions {
        pool.insert(transaction.id(&CHAIN), transaction.clone(), Monotonic::default()).unwrap();
    }
    pool
}

fn order(pool: &mut Pool) -> Vec<Transaction> {
    let mut seen = Vec::new();
    pool.select(|transaction| {
        seen.push(transaction.clone());
        Offer::<()>::Taken
    });
    seen
}

#[test]
fn duties_come_first_then_upkeep_then_fees_and_nonces_keep_their_order() {
    let expected = [
        proof(5, 1),
        rotation(6, 0),
        rotation(6, 1),
        transfer(1, 0, 50),
        transfer(2, 0, 7),
        transfer(2, 1, 90),
        transfer(3, 4, 7),
    ];
    let mut pool = pool_of(&expected.iter().rev().cloned().collect::<Vec<_>>());
    // Among equal fees the earlier arrival goes first: signer 3 arrived before signer 2.
    let order = order(&mut pool);
    assert_eq!(order[..4], expected[..4]);
    assert_eq!(order[4..], [transfer(3, 4, 7), transfer(2, 0, 7), transfer(2, 1, 90)]);
}

#[test]
fn a_transaction_that_rests_on_another_of_the_block_is_taken_after_it() {
    // The dearer one is valid only once the cheaper one is in.
    let (poor, rich) = (transfer(1, 0, 90), transfer(2, 0, 1));
    let mut pool = pool_of(&[poor.clone(), rich.clone()]);
    let mut funded = false;
    let selection = pool.select(|transaction| {
        if *transaction == rich {
            funded = true;
        }
        if funded { Offer::Taken } else { Offer::Refused("no coins") }
    });
    assert_eq!(selection.taken, [rich.id(&CHAIN), poor.id(&CHAIN)]);
    assert!(selection.dropped.is_empty());
}

#[test]
fn what_stays_invalid_is_dropped_with_the_reason_but_not_while_the_block_is_full() {
    let (bad, good) = (transfer(1, 0, 9), transfer(2, 0, 1));
    let mut pool = pool_of(&[bad.clone(), good.clone()]);
    let selection = pool.select(|tx| if *tx == bad { Offer::Refused("bad") } else { Offer::NoRoom });
    assert!(selection.taken.is_empty() && selection.dropped.is_empty());
    assert_eq!(pool.len(), 2);
    let selection = pool.select(|tx| if *tx == bad { Offer::Refused("bad") } else { Offer::Taken });
    assert_eq!(selection.dropped, [(bad.id(&CHAIN), "bad")]);
    assert!(!pool.contains(&bad.id(&CHAIN)));
    assert!(pool.contains(&good.id(&CHAIN)), "taken ones stay until their block is on disk");
}

#[test]
fn a_flood_that_pays_leaves_the_nodes_share_free() {
    let limits = Limits { count: 3, ..Limits::default() };
    let mut pool = Pool::new(limits);
    for signer in 0..3 {
        let tx = transfer(signer, 0, 1000);
        pool.insert(tx.id(&CHAIN), tx, Monotonic::default()).unwrap();
    }
    assert_eq!(pool.room(&transfer(9, 0, 9999), 200), Err(Full::Pool));
    assert_eq!(pool.room(&proof(9, 1), 200), Ok(()));
}

#[test]
fn one_signer_has_a_bounded_part() {
    let mut pool = Pool::new(Limits { per_signer: 2, ..Limits::default() });
    for tx in [proof(1, 1), rotation(1, 0)] {
        pool.insert(tx.id(&CHAIN), tx, Monotonic::default()).unwrap();
    }
    assert_eq!(pool.room(&proof(1, 2), 200), Err(Full::Signer(2)));
    assert_eq!(pool.room(&proof(2, 2), 200), Ok(()));
}

#[test]
fn what_waited_too_long_is_forgotten() {
    let mut pool = Pool::new(Limits { lifetime: Duration::from_secs(10), ..Limits::default() });
    let at = |seconds| Monotonic(Duration::from_secs(seconds));
    for (signer, seconds) in [(1, 0), (2, 5)] {
        let tx = transfer(signer, 0, 1);
        pool.insert(tx.id(&CHAIN), tx, at(seconds)).unwrap();
    }
    assert_eq!(pool.expire(at(11)), [transfer(1, 0, 1).id(&CHAIN)]);
    assert_eq!(pool.len(), 1);
}

fn any_transaction() -> impl Strategy<Value = Transaction> {
    (0_u8..6, 0_u64..6, 0_u64..4, 0_u8..3).prop_map(|(signer, nonce, fee, kind)| match kind {
        0 => transfer(signer, nonce, fee),
        1 => proof(signer, nonce),
        _ => rotation(signer, nonce),
    })
}

proptest! {
    #[test]
    fn bounds_and_sums_hold_whatever_comes_and_goes(
        steps in proptest::collection::vec((any_transaction(), any::<bool>()), 0..120),
    ) {
        let limits = Limits { count: 8, bytes: 1500, per_signer: 4, ..Limits::default() };
        let mut pool = Pool::new(limits.clone());
        for (transaction, add) in steps {
            let id = transaction.id(&CHAIN);
            if add {
                let _ = pool.insert(id, transaction, Monotonic::default());
            } else {
                pool.remove(&id);
            }
            prop_assert!(pool.shares.iter().all(|share| share.count <= limits.count && share.bytes <= limits.bytes));
            prop_assert_eq!(pool.shares.iter().map(|share| share.count).sum::<usize>(), pool.len());
            let sum: usize = pool.waiting.values().map(|waiting| waiting.bytes).sum();
            prop_assert_eq!(sum, pool.bytes());
            let queued: usize = pool.signers.values().map(|own| own.ordered.len() + own.free.len()).sum();
            prop_assert_eq!(queued, pool.len());
            prop_assert!(pool.signers.values().all(|own| own.ordered.len() + own.free.len() <= limits.per_signer));
        }
    }

    #[test]
    fn every_transaction_is_offered_once_and_nonces_ascend(
        transactions in proptest::collection::vec(any_transaction(), 0..60),
    ) {
        let mut pool = pool_of(&transactions);
        let order = order(&mut pool);
        let ids: BTreeSet<_> = order.iter().map(|tx| tx.id(&CHAIN)).collect();
        prop_assert_eq!(ids.len(), order.len());
        prop_assert_eq!(ids.len(), pool.len());
        let mut last: BTreeMap<PublicKey, u64> = BTreeMap::new();
        for tx in order.iter().filter(|tx| tx.body.payload.bears_nonce()) {
            let before = last.insert(tx.body.signer, tx.body.nonce);
            prop_assert!(before.is_none_or(|before| before <= tx.body.nonce));
        }
    }

    #[test]
    fn removing_what_was_dropped_or_taken_empties_the_pool(
        transactions in proptest::collection::vec((any_transaction(), any::<bool>()), 0..60),
    ) {
        let good: BTreeMap<TxId, bool> = transactions.iter().map(|(tx, good)| (tx.id(&CHAIN), *good)).collect();
        let mut pool = pool_of(&transactions.iter().map(|(tx, _)| tx.clone()).collect::<Vec<_>>());
        let selection = pool.select(|tx| if good[&tx.id(&CHAIN)] { Offer::Taken } else { Offer::Refused(()) });
        for id in &selection.taken {
            prop_assert!(pool.remove(id).is_some());
        }
        prop_assert!(pool.is_empty() && pool.signers.is_empty() && pool.bytes() == 0);
    }
}
