//! Frames and cells: each layout, at each position of a path.

use sotto_proto::cell::{
    Backward, Body, Build, BuildPayload, Destination, DestroyReason, Direction, Forward, Frame, KeyTag, Minute,
    Position, ReplyPayload, ResetReason, Status, StreamId, read_tunnel_frame, write_tunnel_frame,
};
use sotto_proto::limits::{BODY, BODY_DATA, FRAME};

use crate::check::{canonical, fit, seed};
use crate::fixtures::node;

pub(crate) fn cell(input: &[u8]) {
    let Some((choice, data)) = input.split_first() else { return };
    let position = Position::ALL[usize::from(choice >> 4) % Position::ALL.len()];
    match choice % 6 {
        0 => body(if choice & 0x10 == 0 { Direction::Forward } else { Direction::Backward }, data),
        1 => {
            let read = |bytes: &[u8]| BuildPayload::read(position, bytes).map(|_| bytes.to_vec());
            let write =
                |bytes: &Vec<u8>| BuildPayload::read(position, bytes).and_then(|p| p.to_bytes()).expect("was read");
            canonical(&fit(data, BuildPayload::len(position)), read, write);
            assert!(data.len() == BuildPayload::len(position) || BuildPayload::read(position, data).is_err());
        }
        2 => {
            let read = |bytes: &[u8]| ReplyPayload::read(position, bytes).map(|_| bytes.to_vec());
            let write = |bytes: &Vec<u8>| {
                ReplyPayload::read(position, bytes).and_then(|payload| payload.to_bytes(position)).expect("was read")
            };
            canonical(&fit(data, ReplyPayload::len(position)), read, write);
            assert!(data.len() == ReplyPayload::len(position) || ReplyPayload::read(position, data).is_err());
        }
        3 => commands(position, &fit(data, position.opened_len())),
        4 => tunnel_frame(&fit(data, FRAME)),
        _ => build(position, &fit(data, FRAME)),
    }
}

fn body(direction: Direction, data: &[u8]) {
    assert!(data.len() == BODY || Body::read(direction, data).is_err());
    let bytes = fit(data, BODY);
    let Ok(body) = Body::read(direction, &bytes) else { return };
    let mut out = Vec::new();
    body.write(&mut out).expect("what was read can be written");
    assert_eq!(out, bytes);
    if let Body::Open { destination, first, .. } = body {
        assert!(first.len() <= destination.first_bytes());
        assert_eq!(direction, Direction::Forward);
    }
}

fn commands(position: Position, bytes: &[u8]) {
    let mut out = Vec::new();
    if let Ok(command) = Forward::read(position, bytes) {
        command.write(position, &mut out).expect("what was read can be written");
        assert_eq!(out, bytes);
    }
    out.clear();
    if let Ok(command) = Backward::read(position, bytes) {
        command.write(position, &mut out).expect("what was read can be written");
        assert_eq!(out, bytes);
    }
}

fn tunnel_frame(bytes: &[u8]) {
    let frame = Frame::new(bytes).expect("a frame's length");
    let Ok(data) = read_tunnel_frame(&frame) else { return };
    assert!((1..=BODY_DATA).contains(&data.len()));
    let mut again = Frame::zeroed();
    write_tunnel_frame(&mut again, data).expect("what was read can be written");
    assert!(again == frame);
}

fn build(position: Position, bytes: &[u8]) {
    let frame = Frame::new(bytes).expect("a frame's length");
    let Ok(build) = Build::read(&frame, position) else { return };
    assert_eq!(build.head.layer(build.message), bytes[..position.build_len()]);
    assert_eq!(build.ephemeral(), &build.message[..32]);
}

pub(crate) fn cell_seeds() -> Vec<Vec<u8>> {
    let stream = StreamId::FIRST;
    let server = [4, 127, 0, 0, 1, 6, 15, 160];
    let bodies = [
        Body::Drop,
        Body::Open { stream, destination: Destination::Node(node(1)), first: b"first" },
        Body::Open { stream, destination: Destination::Server(&server), first: b"" },
        Body::Data { stream, data: b"data" },
        Body::End { stream },
        Body::Reset { stream, reason: ResetReason::Busy },
        Body::Window { stream, cells: 32 },
    ];
    let mut seeds = Vec::new();
    for (choice, body) in bodies.iter().flat_map(|body| [(0, body), (0x12, body)]) {
        let mut bytes = Vec::new();
        body.write(&mut bytes).expect("a body");
        seeds.push(seed(choice, &bytes));
    }
    for (position, tens) in Position::ALL.into_iter().zip([0x00_u8, 0x10, 0x20]) {
        // The lower half chooses the layout modulo six.
        let choice = |layout: u8| (0..16).map(|low| tens | low).find(|byte| byte % 6 == layout).unwrap_or(layout);
        let inner = position.next().map(|next| vec![1; next.build_len()]).unwrap_or_default();
        let next = position.next().map(|_| node(2));
        let payload = BuildPayload { minute: Minute(29_500_000), position, next, inner: &inner };
        seeds.push(seed(choice(1), &payload.to_bytes().expect("a payload")));
        for (status, inner) in [
            (Status::Built, position.next().map(|next| vec![2; next.reply_len()]).unwrap_or_default()),
            (Status::TimeRefused, Vec::new()),
        ] {
            let payload = ReplyPayload { status, minute: Minute(29_500_000), inner: &inner };
            seeds.push(seed(choice(2), &payload.to_bytes(position).expect("a payload")));
        }
        let (mut relay, mut destroy) = (Vec::new(), Vec::new());
        Forward::Relay(&vec![3; position.rest_len()]).write(position, &mut relay).expect("a command");
        Backward::Destroy(DestroyReason::Idle).write(position, &mut destroy).expect("a command");
        seeds.extend([seed(choice(3), &relay), seed(choice(3), &destroy)]);
        let head = sotto_proto::cell::BuildHead { key_tag: KeyTag::from([1, 2, 3, 4]) };
        seeds.push(seed(choice(5), &head.layer(&[9; 60])));
    }
    let mut frame = Frame::zeroed();
    write_tunnel_frame(&mut frame, b"a record").expect("a frame");
    seeds.push(seed(4, frame.as_bytes()));
    seeds
}
