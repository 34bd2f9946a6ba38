//! At which member of a swarm sender and recipient of a mailbox meet: whoever stores asks it first, and whoever follows
//! subscribes there, so that what is stored is pushed at once, and not when gossip has brought it.
//!
//! One for each mailbox and day; the others that are asked or followed are drawn, so one that keeps back what it took delays
//! it by a second and no more. All members keep all mail and know when it came; of the tunnels that store and follow, this
//! one sees more than a drawn one would, and the others see fewer. A node can look for a key that is met for one mailbox on
//! one day, and not for one that is met every day.

use sotto_proto::address::Address;
use sotto_proto::domain::Domain;
use sotto_proto::hash::hash;
use sotto_proto::id::{Hash, NodeId};
use sotto_proto::time::UnixSeconds;

const DOMAIN: Domain = Domain::new("sotto/meeting/v1");
const DAY: u64 = 86_400;

/// Puts that one first where a mailbox is met today; the others stay in their order.
pub fn met_first(members: &mut [NodeId], address: &Address, now: UnixSeconds) {
    let found = members.iter().enumerate().min_by_key(|(_, node)| rank(node, address, now.0 / DAY));
    if let Some((found, _)) = found
        && let Some(some) = members.get_mut(..=found)
    {
        some.rotate_right(1);
    }
}

fn rank(node: &NodeId, address: &Address, day: u64) -> Hash {
    hash(DOMAIN, [&address.to_bytes()[..], node.as_bytes(), &day.to_be_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use sotto_proto::id::X25519Key;

    use super::*;

    fn address(byte: u8) -> Address {
        Address::account(&X25519Key::new([byte; 32]))
    }

    fn members() -> Vec<NodeId> {
        (1..=10).map(|byte| NodeId::new([byte; 32])).collect()
    }

    fn order(mut members: Vec<NodeId>, of: u8, day: u64) -> Vec<NodeId> {
        met_first(&mut members, &address(of), UnixSeconds(day * DAY + 5));
        members
    }

    #[test]
    fn both_sides_find_the_same_one_whatever_order_they_had_and_nobody_is_lost() {
        let (one, other) = (order(members(), 1, 20), order(members().into_iter().rev().collect(), 1, 20));
        assert_eq!(one[0], other[0]);
        let (rest, mut reversed) = (&one[1..], other[1..].to_vec());
        reversed.reverse();
        assert_eq!(rest, reversed, "the others stay in their order");
        let mut all = one.clone();
        all.sort_unstable();
        assert_eq!(all, members());
    }

    #[test]
    fn each_day_and_mailbox_has_its_own_and_all_members_have_their_turn() {
        let mut turns = [0; 11];
        for day in 0..100 {
            for of in 1..=10 {
                turns[usize::from(order(members(), of, day)[0].as_bytes()[0])] += 1;
            }
        }
        // A hundred on average.
        assert!(turns[1..].iter().all(|turns| (60..140).contains(turns)), "{turns:?}");
    }

    #[test]
    fn small_swarms_are_no_exception() {
        assert_eq!(order(Vec::new(), 1, 1), []);
        assert_eq!(order(members()[..1].to_vec(), 1, 1), members()[..1]);
    }
}
