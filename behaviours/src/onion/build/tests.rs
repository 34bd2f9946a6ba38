use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_proto::hash::blake2b_256;
use sotto_proto::id::{Hash, X25519Key};
use sotto_proto::limits::BUILD_MINUTES;

use super::super::test_path::{Hop, MINUTE, Path, Scripted, chain, client_build, hops, seed};
use super::*;

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([3; 32])
}

fn digests(frames: &[Frame]) -> Vec<String> {
    frames.iter().map(|frame| Hash::new(blake2b_256(frame.as_bytes())).to_string()).collect()
}

/// The builds on link 1, 2, 3.
fn builds(hops: &[Hop; 3]) -> [Frame; 3] {
    let first = client_build(hops).0;
    let second = hops[0].open(&first).inner_frame().cloned().unwrap();
    let third = hops[1].open(&second).inner_frame().cloned().unwrap();
    [first, second, third]
}

fn open(hop: &Hop, frame: &Frame, candidates: &[Position]) -> Result<OpenedBuild, BuildError> {
    ArrivedBuild::read(&hop.secrets, frame)?.open(&chain(), &hop.info.node, candidates)
}

#[test]
fn golden_builds_and_replies_hold() {
    let path = Path::build();
    assert_eq!(
        digests(&path.builds),
        [
            "8e77d354d304e0933227da914fa73a2a3eb6bf57976442eeef97380ed1ec6194",
            "432788010622f037b97de04480683b747dc0c92e8ed66abbd718d038210cd401",
            "7a389949e0fff7e8c3fcd0b40b588489296350ec9fdf2629dccd780d8bb7cfaa",
        ]
    );
    assert_eq!(
        digests(&path.replies),
        [
            "1d2153b3f60a2c404738be7601fc373d97216fb53e4a5c19627ffde5d0b0989c",
            "a02c3ffe7899d71cdcef4e86516f5b6fd4861c428a8186d8a67be7acb0972db0",
            "1157d1c477103e41d0310a87dc904521e807b0e4185ea0bcfe74565080413583",
        ]
    );
}

#[test]
fn a_build_opens_at_its_own_hop_and_position_only() {
    let hops = hops();
    for (frame, link) in builds(&hops).iter().zip(Position::ALL) {
        for hop in &hops {
            for candidate in Position::ALL {
                let opens = open(hop, frame, &[candidate]).is_ok();
                assert_eq!(opens, hop.position == link && candidate == link, "{} {link} {candidate}", hop.position);
            }
        }
        // A client reaches guards only, a node middles and exits only.
        let hop = &hops[usize::from(link.number()) - 1];
        assert_eq!(open(hop, frame, Position::candidates(false)).is_ok(), link == Position::Guard);
        assert_eq!(open(hop, frame, Position::candidates(true)).is_ok(), link != Position::Guard);
    }
}

#[test]
fn a_build_is_bound_to_chain_node_and_key() {
    let hops = hops();
    let frame = client_build(&hops).0;
    let guard = &hops[0];
    let arrived = || ArrivedBuild::read(&guard.secrets, &frame).unwrap();
    assert!(arrived().open(&chain(), &guard.info.node, &[Position::Guard]).is_ok());
    assert!(arrived().open(&ChainId::new([1; 32]), &guard.info.node, &[Position::Guard]).is_err());
    assert!(arrived().open(&chain(), &hops[1].info.node, &[Position::Guard]).is_err());
    let error = ArrivedBuild::read(&hops[1].secrets, &frame).unwrap_err();
    assert!(matches!(error, BuildError::UnknownKey(tag) if tag == key_tag(&guard.info.x25519)), "{error}");
}

#[test]
fn the_previous_key_opens_builds_until_it_is_gone() {
    let hops = hops();
    let frame = client_build(&hops).0;
    let old = || Secret::take(&mut seed("node0 x"));
    let rotated = HopSecrets::new([Secret::generate(&mut rng()), old()]);
    assert_eq!(rotated.tags().count(), 2);
    let arrived = ArrivedBuild::read(&rotated, &frame).unwrap();
    assert_eq!(arrived.key_tag(), key_tag(&old().public()));
    assert_eq!(Some(arrived.key_tag()), rotated.tags().nth(1));
    assert!(arrived.open(&chain(), &hops[0].info.node, &[Position::Guard]).is_ok());
    let gone = HopSecrets::new([Secret::generate(&mut rng())]);
    assert!(matches!(ArrivedBuild::read(&gone, &frame), Err(BuildError::UnknownKey(_))));
}

#[test]
fn bytes_of_a_layer_kill_it_and_bytes_behind_it_change_nothing() {
    let hops = hops();
    for (hop, frame) in hops.iter().zip(builds(&hops)) {
        let length = hop.position.build_len();
        let mut plain = Vec::new();
        for index in (0..length).step_by(41).chain([0, 1, 2, 5, 6, 37, 38, length - 1]).chain(length..FRAME) {
            let mut changed = frame.clone();
            changed.as_mut_bytes()[index] ^= 1;
            let opened = open(hop, &changed, &[hop.position]);
            assert_eq!(opened.is_ok(), index >= length, "{} byte {index}", hop.position);
            if let Ok(opened) = opened {
                plain.push(opened.inner_frame().map(|inner| *inner.as_bytes()));
            }
        }
        plain.dedup();
        assert!(plain.len() <= 1, "{}", hop.position);
    }
}

#[test]
fn a_replay_shows_before_anything_is_computed() {
    let hops = hops();
    let frame = client_build(&hops).0;
    let arrived = ArrivedBuild::read(&hops[0].secrets, &frame).unwrap();
    assert_eq!(arrived.ephemeral().as_bytes()[..], frame.as_bytes()[6..22]);
    assert_eq!(arrived.ephemeral(), hops[0].open(&frame).ephemeral());
}

#[test]
fn a_hop_refuses_the_wrong_time_and_says_its_own() {
    let hops = hops();
    let (frame, client) = client_build(&hops);
    let opened = hops[0].open(&frame);
    for (own, refusal) in [
        (MINUTE.0 - BUILD_MINUTES, None),
        (MINUTE.0 + BUILD_MINUTES, None),
        (MINUTE.0 - BUILD_MINUTES - 1, Some(Status::TimeRefused)),
        (MINUTE.0 + BUILD_MINUTES + 1, Some(Status::TimeRefused)),
    ] {
        assert_eq!(opened.refusal(Minute(own)), refusal);
    }
    let own = Minute(MINUTE.0 + 60);
    let (reply, keys) = opened.reply(Status::TimeRefused, own, None, &mut rng()).unwrap();
    assert!(keys.is_none());
    let failure = client.finish(&reply).unwrap_err();
    let expected = BuildFailure { position: Position::Guard, status: Some(Status::TimeRefused), minute: Some(own) };
    assert_eq!(failure, expected);
    assert_eq!(failure.to_string(), "the guard did not build the path: its clock differs");
}

#[test]
fn the_client_learns_which_hop_failed_and_how() {
    for (index, position) in Position::ALL.into_iter().enumerate() {
        for status in [Status::NextTimedOut, Status::Busy, Status::Refused] {
            let hops = hops();
            let (_, client) = client_build(&hops);
            let mut reply: Option<Frame> = None;
            for (hop, frame) in hops[..=index].iter().zip(builds(&hops)).rev() {
                let status = if hop.position == position { status } else { Status::Built };
                let made = hop.open(&frame).reply(status, MINUTE, reply.as_ref(), &mut rng()).unwrap();
                assert_eq!(made.1.is_some(), status == Status::Built);
                reply = Some(made.0);
            }
            let failure = client.finish(&reply.unwrap()).unwrap_err();
            assert_eq!(failure, BuildFailure { position, status: Some(status), minute: Some(MINUTE) });
        }
    }
}

#[test]
fn a_changed_reply_is_blamed_on_the_hop_whose_layer_does_not_open() {
    let hops = hops();
    for index in 0..3 {
        let client = client_build(&hops).1;
        let mut reply: Option<Frame> = None;
        for (hop, frame) in hops.iter().zip(builds(&hops)).rev() {
            let made = hop.open(&frame).reply(Status::Built, MINUTE, reply.as_ref(), &mut rng()).unwrap();
            let mut frame = made.0;
            if hop.position == Position::ALL[index] {
                frame.as_mut_bytes()[40] ^= 1;
            }
            reply = Some(frame);
        }
        let failure = client.finish(&reply.unwrap()).unwrap_err();
        assert_eq!(failure, BuildFailure { position: Position::ALL[index], status: None, minute: None });
    }
}

#[test]
fn a_hop_cannot_say_built_without_the_next_hops_reply() {
    let hops = hops();
    let opened = hops[0].open(&client_build(&hops).0);
    assert!(matches!(opened.reply(Status::Built, MINUTE, None, &mut rng()), Err(BuildError::Malformed(_))));
}

/// A layer for the guard that says something else than the client's code would.
fn forged(hop: &Hop, change: impl FnOnce(&mut Vec<u8>)) -> Frame {
    let head = BuildHead { key_tag: key_tag(&hop.info.x25519) };
    let prologue = prologue(&chain(), &hop.info.node, head);
    let mut handshake = Handshake::initiator(Pattern::Nk, &prologue, None, &hop.info.x25519).unwrap();
    let inner = vec![7; BuildPayload::inner_len(Position::Guard)];
    let payload = BuildPayload { minute: MINUTE, position: Position::Guard, next: Some(hop.info.node), inner: &inner };
    let mut payload = payload.to_bytes().unwrap();
    change(&mut payload);
    let mut message = vec![0; FRAME - BuildHead::LEN];
    handshake.write(&payload, noise::draw(&mut rng()), &mut message).unwrap();
    Frame::new(&head.layer(&message)).unwrap()
}

#[test]
fn a_layer_that_lies_about_its_position_is_refused_with_a_reply() {
    let hops = hops();
    for (byte, value) in [(4, 2), (4, 3), (4, 0), (4, 9), (5, 1)] {
        let frame = forged(&hops[0], |payload| payload[byte] = value);
        let opened = hops[0].open(&frame);
        assert_eq!(opened.refusal(MINUTE), Some(Status::Refused), "byte {byte} = {value}");
        assert_eq!((opened.next(), opened.inner_frame().is_some()), (None, false));
        assert!(opened.reply(Status::Refused, MINUTE, None, &mut rng()).unwrap().1.is_none());
    }
    let frame = forged(&hops[0], |payload| payload[8..40].fill(0));
    assert_eq!(hops[0].open(&frame).refusal(MINUTE), Some(Status::Refused), "a guard without a next hop");
    assert_eq!(hops[0].open(&forged(&hops[0], |_| {})).refusal(MINUTE), None);
}

#[test]
fn a_client_cannot_build_through_a_key_of_small_order() {
    let mut infos = hops().each_ref().map(|hop| hop.info);
    infos[1].x25519 = X25519Key::new([0; 32]);
    assert!(matches!(ClientBuild::new(&chain(), &infos, MINUTE, &mut rng()), Err(BuildError::Noise(_))));
}

#[test]
fn each_handshake_draws_one_key_and_no_more() {
    let hops = hops();
    let draws = Scripted::new([[1; 32], [2; 32], [3; 32]]);
    let (frame, _) = ClientBuild::new(&chain(), &hops.each_ref().map(|hop| hop.info), MINUTE, &mut { draws }).unwrap();
    let opened = hops[0].open(&frame);
    assert!(opened.reply(Status::Busy, MINUTE, None, &mut Scripted::new([[4; 32]])).is_ok());
}

#[test]
fn what_two_tasks_own_can_be_sent_to_them() {
    const fn send<T: Send + 'static>() {}
    send::<OpenedBuild>();
    send::<HopKeys>();
    send::<ClientBuild>();
    send::<ClientKeys>();
    const fn shared<T: Send + Sync>() {}
    shared::<HopSecrets>();
}

#[test]
fn nothing_of_a_path_is_shown() {
    let hops = hops();
    let (frame, client) = client_build(&hops);
    let secret = format!("{:?}", Secret::take(&mut seed("node0 x")));
    let shown = format!("{client:?} {:?} {:?} {:?}", hops[0].secrets, hops[0].open(&frame), Path::build().client);
    assert!(shown.contains(&secret), "{shown}");
    for name in ["node0 x", "client e0", "client e1", "client e2"] {
        let bytes = seed(name);
        assert!(!shown.contains(&format!("{bytes:?}")) && !shown.contains(&Hash::new(bytes).to_string()), "{name}");
        assert!(!shown.contains(&format!("{}, {}, {}", bytes[0], bytes[1], bytes[2])), "{name}");
    }
}

proptest! {
    #[test]
    fn strangers_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), FRAME), tagged: bool) {
        let hops = hops();
        if tagged {
            bytes[..2].copy_from_slice(&[1, 1]);
            bytes[2..6].copy_from_slice(key_tag(&hops[0].info.x25519).as_bytes());
        }
        let frame = Frame::new(&bytes).unwrap();
        prop_assert!(open(&hops[0], &frame, &Position::ALL).is_err());
        prop_assert!(client_build(&hops).1.finish(&frame).is_err());
    }
}
