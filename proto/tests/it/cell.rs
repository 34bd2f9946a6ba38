//! Frames, layers, bodies: what encodes, decodes and is refused. [`golden`] holds them against fixed frames.

mod golden;

use proptest::collection::vec;
use proptest::prelude::*;
use sotto_proto::cell::{
    Backward, Body, Build, BuildHead, BuildPayload, Destination, DestroyReason, Direction, Forward, Frame, KeyTag,
    Minute, Position, ReplyPayload, ResetReason, Status, StreamId, read_tunnel_frame, write_tunnel_frame,
};
use sotto_proto::codec::DecodeError;
use sotto_proto::id::NodeId;
use sotto_proto::limits::{BODY, BODY_DATA, CREDIT_MAX, FRAME, MULTIADDR_MAX};
use sotto_proto::time::UnixSeconds;

fn position() -> impl Strategy<Value = Position> {
    proptest::sample::select(Position::ALL.to_vec())
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Forward), Just(Direction::Backward)]
}

/// Random bytes hardly ever get past the first check, so most of these are valid up to one byte.
fn body_bytes() -> impl Strategy<Value = Vec<u8>> {
    let header = (0..7u8, 0..3u16, prop_oneof![0..50u16, any::<u16>()]);
    (header, vec(any::<u8>(), 0..60), any::<bool>()).prop_map(|((kind, stream, len), data, exact)| {
        let len = if exact { u16::try_from(data.len()).unwrap() } else { len };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&data);
        bytes.resize(BODY, 0);
        bytes
    })
}

fn body(kind: u8, stream: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(data);
    bytes.resize(BODY, 0);
    bytes
}

fn written(body: Body<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    body.write(&mut bytes).unwrap();
    bytes
}

proptest! {
    #[test]
    fn whatever_a_body_decodes_from_it_encodes_to(direction in direction(), bytes in body_bytes()) {
        if let Ok(body) = Body::read(direction, &bytes) {
            prop_assert_eq!(written(body), bytes);
        }
    }

    #[test]
    fn random_bytes_never_panic(position in position(), direction in direction(), bytes in vec(any::<u8>(), FRAME)) {
        let frame = Frame::new(&bytes).unwrap();
        let _ = Build::read(&frame, position);
        let _ = BuildPayload::read(position, &bytes[..BuildPayload::len(position)]);
        let _ = ReplyPayload::read(position, &bytes[..ReplyPayload::len(position)]);
        let _ = Forward::read(position, &bytes[..position.opened_len()]);
        let _ = Backward::read(position, &bytes[..position.opened_len()]);
        let _ = Body::read(direction, &bytes[..BODY]);
        let _ = read_tunnel_frame(&frame);
    }

    #[test]
    fn bytes_of_a_wrong_length_never_panic_and_never_decode(
        position in position(), direction in direction(), bytes in vec(any::<u8>(), 0..64),
    ) {
        prop_assert!(BuildPayload::read(position, &bytes).is_err());
        prop_assert!(ReplyPayload::read(position, &bytes).is_err());
        prop_assert!(Forward::read(position, &bytes).is_err());
        prop_assert!(Backward::read(position, &bytes).is_err());
        prop_assert!(Body::read(direction, &bytes).is_err());
    }

    #[test]
    fn build_payloads_round_trip(
        position in position(), minute in any::<u32>(), next in 1..=u8::MAX, inner in vec(any::<u8>(), FRAME),
    ) {
        let next = position.next().map(|_| NodeId::new([next; 32]));
        let inner = if next.is_some() { &inner[..BuildPayload::inner_len(position)] } else { &[] };
        let payload = BuildPayload { minute: Minute(minute), position, next, inner };
        let bytes = payload.to_bytes().unwrap();
        prop_assert_eq!(BuildPayload::read(position, &bytes), Ok(payload));
    }

    #[test]
    fn replies_round_trip(
        position in position(), status in 0..8u8, minute in any::<u32>(), inner in vec(any::<u8>(), FRAME),
    ) {
        let status = Status::from_byte(status).unwrap();
        let wraps = status == Status::Built && position.next().is_some();
        let inner = if wraps { &inner[..ReplyPayload::inner_len(position)] } else { &[] };
        let reply = ReplyPayload { status, minute: Minute(minute), inner };
        let bytes = reply.to_bytes(position).unwrap();
        prop_assert_eq!(ReplyPayload::read(position, &bytes), Ok(reply));
    }

    #[test]
    fn tunnel_frames_round_trip(data in vec(any::<u8>(), 1..=BODY_DATA)) {
        let mut frame = Frame::new(&[0xff; FRAME]).unwrap();
        write_tunnel_frame(&mut frame, &data).unwrap();
        prop_assert_eq!(read_tunnel_frame(&frame), Ok(&data[..]));
    }

    #[test]
    fn data_of_every_length_round_trips(
        direction in direction(), stream in 1..=u16::MAX, data in vec(any::<u8>(), 1..=BODY_DATA),
    ) {
        let body = Body::Data { stream: StreamId::new(stream).unwrap(), data: &data };
        let bytes = written(body);
        prop_assert_eq!(Body::read(direction, &bytes), Ok(body));
    }
}

#[test]
fn a_body_of_each_kind_has_the_bytes_of_the_specification() {
    let stream = StreamId::FIRST;
    let node = NodeId::new([9; 32]);
    let multiaddr = [4, 127, 0, 0, 1, 6, 0, 80];
    let cases: [(Body<'_>, Vec<u8>); 7] = [
        (Body::Drop, body(0, 0, &[])),
        (
            Body::Open { stream, destination: Destination::Node(node), first: b"x" },
            body(1, 1, &[&[1, 0, 32][..], node.as_ref(), b"x"].concat()),
        ),
        (
            Body::Open { stream, destination: Destination::Server(&multiaddr), first: b"" },
            body(1, 1, &[&[2, 0, 8][..], &multiaddr].concat()),
        ),
        (Body::Data { stream, data: b"world" }, body(2, 1, b"world")),
        (Body::End { stream }, body(3, 1, &[])),
        (Body::Reset { stream, reason: ResetReason::Timeout }, body(4, 1, &[5])),
        (Body::Window { stream, cells: 1024 }, body(5, 1, &[4, 0])),
    ];
    for (value, bytes) in cases {
        assert_eq!(written(value), bytes, "{value:?}");
        assert_eq!(Body::read(Direction::Forward, &bytes), Ok(value));
        let backward = Body::read(Direction::Backward, &bytes);
        assert_eq!(backward.is_ok(), !matches!(value, Body::Open { .. }), "{value:?}");
    }
}

#[test]
fn bodies_that_break_a_rule_are_refused() {
    let long = vec![1; MULTIADDR_MAX + 1];
    let refused: &[(&str, Vec<u8>)] = &[
        ("DROP on a stream", body(0, 1, &[])),
        ("DROP with data", body(0, 0, &[0])),
        ("OPEN of stream 0", body(1, 0, &[&[1, 0, 32][..], &[9; 32]].concat())),
        ("OPEN without a destination", body(1, 1, &[])),
        ("OPEN with half a node key", body(1, 1, &[&[1, 0, 32][..], &[9; 31]].concat())),
        ("OPEN with a node key of 31 bytes", body(1, 1, &[&[1, 0, 31][..], &[9; 31]].concat())),
        ("OPEN with a form that is not known", body(1, 1, &[&[3, 0, 32][..], &[9; 32]].concat())),
        ("OPEN with no multiaddr", body(1, 1, &[2, 0, 0])),
        ("OPEN with a multiaddr of 129 bytes", body(1, 1, &[&[2, 0, 129][..], &long].concat())),
        ("DATA without data", body(2, 1, &[])),
        ("DATA on stream 0", body(2, 0, &[1])),
        ("END with data", body(3, 1, &[1])),
        ("END of stream 0", body(3, 0, &[])),
        ("RESET without a reason", body(4, 1, &[])),
        ("RESET with two", body(4, 1, &[1, 1])),
        ("RESET for reason 0", body(4, 1, &[0])),
        ("RESET for reason 8", body(4, 1, &[8])),
        ("RESET of stream 0", body(4, 0, &[1])),
        ("WINDOW of nothing", body(5, 1, &[0, 0])),
        ("WINDOW of 1,025 cells", body(5, 1, &[4, 1])),
        ("WINDOW of one byte", body(5, 1, &[1])),
        ("WINDOW of stream 0", body(5, 0, &[0, 1])),
        ("kind 6", body(6, 1, &[])),
        ("a length above 1,992", {
            let mut bytes = body(2, 1, &[1; BODY_DATA]);
            bytes[3..5].copy_from_slice(&1993u16.to_be_bytes());
            bytes
        }),
        ("something behind the data", {
            let mut bytes = body(2, 1, &[1]);
            bytes[BODY - 1] = 1;
            bytes
        }),
        ("a byte too few", body(2, 1, &[1])[1..].to_vec()),
    ];
    for (what, bytes) in refused {
        assert!(Body::read(Direction::Forward, bytes).is_err(), "{what}");
    }
}

#[test]
fn bodies_that_would_be_refused_are_not_written() {
    let stream = StreamId::FIRST;
    let refused = [
        Body::Data { stream, data: &[] },
        Body::Data { stream, data: &[0; BODY_DATA + 1] },
        Body::Window { stream, cells: 0 },
        Body::Window { stream, cells: CREDIT_MAX + 1 },
        Body::Open { stream, destination: Destination::Server(&[]), first: &[] },
        Body::Open { stream, destination: Destination::Server(&[1; MULTIADDR_MAX + 1]), first: &[] },
        Body::Open { stream, destination: Destination::Node(NodeId::new([1; 32])), first: &[0; 1958] },
    ];
    for body in refused {
        let mut out = vec![7];
        assert!(body.write(&mut out).is_err(), "{body:?}");
        assert_eq!(out, [7], "{body:?}");
    }
}

#[test]
fn first_bytes_fill_an_open_to_the_last_byte() {
    for destination in [Destination::Node(NodeId::new([1; 32])), Destination::Server(&[1; MULTIADDR_MAX])] {
        let first = vec![5; destination.first_bytes()];
        let body = Body::Open { stream: StreamId::FIRST, destination, first: &first };
        assert_eq!(Body::read(Direction::Forward, &written(body)), Ok(body));
    }
    assert_eq!(Destination::Node(NodeId::new([1; 32])).first_bytes(), 1957);
}

#[test]
fn stream_numbers_end_and_are_never_zero() {
    assert_eq!(StreamId::new(0), None);
    assert_eq!(StreamId::FIRST.number(), 1);
    assert_eq!(StreamId::FIRST.next(), StreamId::new(2));
    assert_eq!(StreamId::new(u16::MAX).unwrap().next(), None);
}

#[test]
fn only_open_and_data_take_credit() {
    let stream = StreamId::FIRST;
    assert!(Body::Data { stream, data: b"x" }.takes_credit());
    assert!(Body::Open { stream, destination: Destination::Server(b"x"), first: b"" }.takes_credit());
    for free in [Body::Drop, Body::End { stream }, Body::Window { stream, cells: 1 }] {
        assert!(!free.takes_credit(), "{free:?}");
    }
}

#[test]
fn layers_pass_on_exactly_what_the_next_link_carries() {
    for position in Position::ALL {
        let rest = vec![3; position.rest_len()];
        for (bytes, relayed) in [
            {
                let mut bytes = Vec::new();
                Forward::Relay(&rest).write(position, &mut bytes).unwrap();
                (bytes.clone(), Forward::read(position, &bytes) == Ok(Forward::Relay(&rest)))
            },
            {
                let mut bytes = Vec::new();
                Backward::Relay(&rest).write(position, &mut bytes).unwrap();
                (bytes.clone(), Backward::read(position, &bytes) == Ok(Backward::Relay(&rest)))
            },
        ] {
            assert!(relayed, "{position}");
            assert_eq!(bytes.len(), position.opened_len());
        }
        let mut out = Vec::new();
        assert!(Forward::Relay(&rest[1..]).write(position, &mut out).is_err());
        assert!(Backward::Relay(&rest[1..]).write(position, &mut out).is_err());
        assert!(out.is_empty());
    }
}

#[test]
fn a_command_counts_in_its_own_direction_only() {
    for position in Position::ALL {
        let mut drop = Vec::new();
        Forward::Drop.write(position, &mut drop).unwrap();
        assert_eq!(Forward::read(position, &drop), Ok(Forward::Drop));
        assert_eq!(Backward::read(position, &drop), Err(DecodeError::Value("command")));

        let mut destroy = Vec::new();
        Backward::Destroy(DestroyReason::Idle).write(position, &mut destroy).unwrap();
        assert_eq!(&destroy[..3], &[2, 2, 0]);
        assert_eq!(Backward::read(position, &destroy), Ok(Backward::Destroy(DestroyReason::Idle)));
        assert_eq!(Forward::read(position, &destroy), Err(DecodeError::Value("command")));

        for unknown in 3..=u8::MAX {
            destroy[0] = unknown;
            assert!(Forward::read(position, &destroy).is_err() && Backward::read(position, &destroy).is_err());
        }
    }
}

#[test]
fn reasons_and_statuses_are_the_numbers_of_the_specification() {
    let destroy = [
        DestroyReason::NextClosed,
        DestroyReason::Idle,
        DestroyReason::TooOld,
        DestroyReason::ShuttingDown,
        DestroyReason::ChainBehind,
    ];
    for (reason, byte) in destroy.into_iter().zip(1..) {
        assert_eq!((reason.byte(), DestroyReason::from_byte(byte)), (byte, Some(reason)));
    }
    let statuses = [
        Status::Built,
        Status::NextUnreachable,
        Status::NextClosed,
        Status::NextTimedOut,
        Status::NextUnknown,
        Status::Busy,
        Status::TimeRefused,
        Status::Refused,
    ];
    for (status, byte) in statuses.into_iter().zip(0..) {
        assert_eq!((status.byte(), Status::from_byte(byte)), (byte, Some(status)));
        assert_eq!(status.blames_next(), (1..=4).contains(&byte));
    }
    let resets = [
        ResetReason::RefusedByPolicy,
        ResetReason::UnknownDestination,
        ResetReason::Unreachable,
        ResetReason::ClosedByDestination,
        ResetReason::Timeout,
        ResetReason::Busy,
        ResetReason::Protocol,
    ];
    for (reason, byte) in resets.into_iter().zip(1..) {
        assert_eq!((reason.byte(), ResetReason::from_byte(byte)), (byte, Some(reason)));
    }
    assert_eq!((DestroyReason::from_byte(0), DestroyReason::from_byte(6)), (None, None));
    assert_eq!((ResetReason::from_byte(0), ResetReason::from_byte(8)), (None, None));
    assert_eq!(Status::from_byte(8), None);
}

#[test]
fn a_build_says_its_version_and_suite_first() {
    let head = BuildHead { key_tag: KeyTag::from([1, 2, 3, 4]) };
    assert_eq!(head.to_bytes(), [1, 1, 1, 2, 3, 4]);
    for position in Position::ALL {
        let message = vec![9; position.build_len() - BuildHead::LEN];
        let frame = Frame::new(&head.layer(&message)).unwrap();
        let build = Build::read(&frame, position).unwrap();
        assert_eq!((build.head, build.message), (head, &message[..]));
        assert_eq!(build.ephemeral(), &[9; 32]);
        for field in [0, 1] {
            let mut other = frame.clone();
            other.as_mut_bytes()[field] ^= 2;
            assert!(Build::read(&other, position).is_err());
        }
    }
}

#[test]
fn a_build_for_another_position_is_refused() {
    let next = Some(NodeId::new([1; 32]));
    let inner = vec![0; BuildPayload::inner_len(Position::Middle)];
    let payload = BuildPayload { minute: Minute(1), position: Position::Middle, next, inner: &inner };
    let bytes = payload.to_bytes().unwrap();
    for said in [0, 1, 3, 4] {
        let mut other = bytes.clone();
        other[4] = said;
        assert_eq!(BuildPayload::read(Position::Middle, &other), Err(DecodeError::Value("position")));
    }
}

#[test]
fn every_hop_but_the_exit_has_a_next_one() {
    let next = Some(NodeId::new([1; 32]));
    for position in Position::ALL {
        let layer = vec![0; BuildPayload::inner_len(position)];
        let is_exit = position == Position::Exit;
        let (inner, wrong) = if is_exit { (&[][..], next) } else { (&layer[..], None) };
        let right = if is_exit { None } else { next };
        let payload = BuildPayload { minute: Minute(1), position, next: right, inner };
        let mut bytes = payload.to_bytes().unwrap();
        assert!(BuildPayload { next: wrong, ..payload }.to_bytes().is_err(), "{position}");
        bytes[8..40].fill(u8::from(is_exit));
        assert_eq!(BuildPayload::read(position, &bytes), Err(DecodeError::Value("next")), "{position}");
    }
}

#[test]
fn reserved_bytes_and_padding_are_zeros() {
    let exit = BuildPayload { minute: Minute(1), position: Position::Exit, next: None, inner: &[] };
    let reply = ReplyPayload { status: Status::Busy, minute: Minute(1), inner: &[] };
    for index in [5, 6, 7, 40, BuildPayload::len(Position::Exit) - 1] {
        let mut bytes = exit.to_bytes().unwrap();
        bytes[index] = 1;
        assert!(BuildPayload::read(Position::Exit, &bytes).is_err(), "{index}");
    }
    for index in [1, 6, 7, 8, ReplyPayload::len(Position::Guard) - 1] {
        let mut bytes = reply.to_bytes(Position::Guard).unwrap();
        bytes[index] = 1;
        assert!(ReplyPayload::read(Position::Guard, &bytes).is_err(), "{index}");
    }
}

#[test]
fn who_a_build_comes_from_says_where_it_may_be_for() {
    assert_eq!(Position::candidates(false), [Position::Guard]);
    assert_eq!(Position::candidates(true), [Position::Middle, Position::Exit]);
}

#[test]
fn a_build_two_minutes_off_is_taken_and_three_is_not() {
    let own = Minute::from(UnixSeconds(29_500_000 * 60 + 59));
    assert_eq!(own, Minute(29_500_000));
    for (distance, near) in [(0, true), (1, true), (2, true), (3, false)] {
        assert_eq!(Minute(own.0 + distance).is_near(own), near);
        assert_eq!(Minute(own.0 - distance).is_near(own), near);
    }
    assert!(!Minute(0).is_near(Minute(u32::MAX)));
}

#[test]
fn what_a_frame_held_before_never_shows() {
    let mut frame = Frame::new(&[0xaa; FRAME]).unwrap();
    frame.set(b"short").unwrap();
    assert_eq!(&frame.as_bytes()[..5], b"short");
    assert!(frame.as_bytes()[5..].iter().all(|&byte| byte == 0));
    write_tunnel_frame(&mut frame, &[0xbb; BODY_DATA]).unwrap();
    write_tunnel_frame(&mut frame, b"x").unwrap();
    assert!(frame.as_bytes()[3..].iter().all(|&byte| byte == 0));
    assert!(frame.set(&[0; FRAME + 1]).is_err());
}

#[test]
fn tunnel_frames_of_other_lengths_are_refused() {
    let mut frame = Frame::zeroed();
    assert!(read_tunnel_frame(&frame).is_err());
    assert!(write_tunnel_frame(&mut frame, &[]).is_err());
    assert!(write_tunnel_frame(&mut frame, &[0; BODY_DATA + 1]).is_err());
    frame.as_mut_bytes()[..2].copy_from_slice(&1993u16.to_be_bytes());
    assert!(read_tunnel_frame(&frame).is_err());
    write_tunnel_frame(&mut frame, b"x").unwrap();
    frame.as_mut_bytes()[FRAME - 1] = 1;
    assert!(read_tunnel_frame(&frame).is_err());
}

#[test]
fn a_frame_does_not_print_its_bytes() {
    assert_eq!(format!("{:?}", Frame::zeroed()), "Frame(2048 bytes)");
}
