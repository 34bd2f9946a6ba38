//! Gossipsub's frames, written by hand.
//!
//! ```text
//! frame    length ‖ RPC            RPC = subscriptions 1 · publish 2 · control 3
//! control  ihave 1 { topic 1, ids 2 } · iwant 2 { ids 1 } · graft 3 { topic 1 } · prune 4 { topic 1, backoff 3 }
//! ```

/// Field numbers.
const SUBSCRIPTIONS: u64 = 1;
const PUBLISH: u64 = 2;
const CONTROL: u64 = 3;

/// Subscribes to all of these, or ends it.
pub(super) fn subscribe(topics: &[String], yes: bool) -> Vec<u8> {
    let one = |topic: &String| field(SUBSCRIPTIONS, &[number(1, yes.into()), field(2, topic.as_bytes())].concat());
    frame(&topics.iter().flat_map(one).collect::<Vec<_>>())
}

/// Messages on a topic.
pub(super) fn publish(topic: &str, messages: &[Vec<u8>]) -> Vec<u8> {
    let one = |data: &Vec<u8>| field(PUBLISH, &[field(2, data), field(4, topic.as_bytes())].concat());
    frame(&messages.iter().flat_map(one).collect::<Vec<_>>())
}

/// Wants to be in the mesh, so many times.
pub(super) fn graft(topic: &str, times: usize) -> Vec<u8> {
    control(&field(3, &field(1, topic.as_bytes())).repeat(times))
}

/// Leaves the mesh, so many times, and names how many seconds it stays away.
pub(super) fn prune(topic: &str, backoff: u64, times: usize) -> Vec<u8> {
    control(&field(4, &[field(1, topic.as_bytes()), number(3, backoff)].concat()).repeat(times))
}

/// Says that it has these.
pub(super) fn ihave(topic: &str, ids: &[Vec<u8>]) -> Vec<u8> {
    let ids = ids.iter().flat_map(|id| field(2, id));
    control(&field(1, &field(1, topic.as_bytes()).into_iter().chain(ids).collect::<Vec<_>>()))
}

/// Wants these.
pub(super) fn iwant(ids: &[Vec<u8>]) -> Vec<u8> {
    control(&field(2, &ids.iter().flat_map(|id| field(1, id)).collect::<Vec<_>>()))
}

fn control(entries: &[u8]) -> Vec<u8> {
    frame(&field(CONTROL, entries))
}

fn field(tag: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(tag << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn number(tag: u64, value: u64) -> Vec<u8> {
    [varint(tag << 3), varint(value)].concat()
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// The length in front of a frame that does not follow.
pub(super) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_gossipsubs() {
        // By protoc: subscriptions { subscribe: true, topic_id: "t" }.
        assert_eq!(subscribe(&["t".to_owned()], true), [7, 0x0a, 5, 8, 1, 0x12, 1, b't']);
        // publish { data: "d", topic: "t" }
        assert_eq!(publish("t", &[b"d".to_vec()]), [8, 0x12, 6, 0x12, 1, b'd', 0x22, 1, b't']);
        // control { graft { topic_id: "t" } graft { topic_id: "t" } }
        assert_eq!(graft("t", 2), [12, 0x1a, 10, 0x1a, 3, 0x0a, 1, b't', 0x1a, 3, 0x0a, 1, b't']);
        // control { prune { topic_id: "t", backoff: 300 } }
        assert_eq!(prune("t", 300, 1), [10, 0x1a, 8, 0x22, 6, 0x0a, 1, b't', 0x18, 0xac, 0x02]);
        // control { ihave { topic_id: "t", message_ids: "i" } }
        assert_eq!(ihave("t", &[b"i".to_vec()]), [10, 0x1a, 8, 0x0a, 6, 0x0a, 1, b't', 0x12, 1, b'i']);
        // control { iwant { message_ids: "i" } }
        assert_eq!(iwant(&[b"i".to_vec()]), [7, 0x1a, 5, 0x12, 3, 0x0a, 1, b'i']);
    }

    #[test]
    fn a_length_takes_seven_bits_a_byte() {
        assert_eq!(varint(0), [0]);
        assert_eq!(varint(127), [0x7f]);
        assert_eq!(varint(300), [0xac, 2]);
        assert_eq!(varint(u64::MAX).len(), 10);
    }
}
