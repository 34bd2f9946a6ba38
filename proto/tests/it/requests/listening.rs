//! Listening and pushing: their bytes, their lengths, and what is refused.

use sotto_proto::content::ListeningTag;
use sotto_proto::limits::LISTEN_TAGS;
use sotto_proto::limits::budget::{later_bytes, listen_bytes, push_bytes};
use sotto_proto::request::{ListenTags, Push, PushData, SwarmResponse};

use super::*;

fn tag(byte: u8) -> ListeningTag {
    ListeningTag::new([byte; 16])
}

fn tags(count: usize) -> Vec<ListeningTag> {
    (0..count).map(|n| tag(u8::try_from(n).unwrap())).collect()
}

fn push(size: usize) -> Push {
    Push { tag: tag(4), data: PushData::new(vec![7; size]).unwrap() }
}

#[test]
fn the_bytes_are_those_of_the_schema() {
    let listen = SwarmRequest::Listen(ListenTags::new(vec![tag(3), tag(4)]).unwrap()).encode().unwrap();
    assert_eq!(hex::encode(listen), format!("32220a20{}{}", "03".repeat(16), "04".repeat(16)));
    let data = "07".repeat(1664);
    let bytes = format!("950d0a10{}12800d{data}", "04".repeat(16));
    let (request, pushed) = (SwarmRequest::Push(push(1664)), SwarmResponse::Pushed(push(1664)));
    assert_eq!(hex::encode(request.encode().unwrap()), format!("3a{bytes}"));
    assert_eq!(hex::encode(pushed.encode().unwrap()), format!("3a{bytes}"));
    for (answer, bytes) in [
        (SwarmResponse::Listening, "3200"),
        (SwarmResponse::Delivered, "42020801"),
        (SwarmResponse::NoListener, "4200"),
    ] {
        assert_eq!(hex::encode(answer.encode().unwrap()), bytes);
    }
}

#[test]
fn a_push_takes_as_many_cells_as_its_data_says_and_a_listening_takes_one() {
    for (step, size) in ENVELOPE_DATA_SIZES.into_iter().enumerate() {
        let push = push(size);
        assert_eq!(push.data.cells(), 1 << step);
        let length = SwarmRequest::Push(push.clone()).encode().unwrap().len();
        assert_eq!((length, SwarmResponse::Pushed(push).encode().unwrap().len()), (push_bytes(size), push_bytes(size)));
        assert!(length <= later_bytes(1 << step));
    }
    let listen = SwarmRequest::Listen(ListenTags::new(tags(LISTEN_TAGS)).unwrap()).encode().unwrap();
    assert_eq!(listen.len(), listen_bytes(LISTEN_TAGS));
    assert!(listen.len() <= later_bytes(1));
}

#[test]
fn tags_are_one_to_sixty_four_and_different_and_data_has_the_length_of_an_envelopes() {
    assert!(ListenTags::new(tags(1)).is_ok() && ListenTags::new(tags(64)).is_ok());
    for bad in [tags(0), tags(65), vec![tag(1), tag(2), tag(1)]] {
        assert!(ListenTags::new(bad).is_err());
    }
    let listen = |length| {
        let tags = (0..length).map(|n| u8::try_from(n / 16).unwrap()).collect();
        ListenTags::try_from(wire::ListenRequest { tags })
    };
    assert!(listen(16).is_ok() && listen(64 * 16).is_ok());
    for bad in [0, 15, 17, 65 * 16] {
        assert!(listen(bad).is_err(), "{bad} bytes");
    }
    for bad in [0, 1, 1663, 1665, 63_425] {
        assert!(PushData::new(vec![0; bad]).is_err(), "{bad} bytes");
    }
    let short = wire::PushRequest { tag: vec![1; 15], data: vec![0; 1664] };
    assert!(Push::try_from(short).is_err());
}

#[test]
fn what_would_be_done_twice_is_not_asked_first_and_debug_shows_neither_tag_nor_data() {
    let listen = SwarmRequest::Listen(ListenTags::new(tags(1)).unwrap());
    let push = SwarmRequest::Push(push(1664));
    assert!(!listen.may_be_first() && !push.may_be_first());
    assert!(SwarmRequest::List(ListRequest::Info).may_be_first());
    assert_eq!(format!("{push:?}"), "Push(Push { tag: ListeningTag(secret), data: PushData(1664 bytes) })");
}
