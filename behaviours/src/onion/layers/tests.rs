use proptest::prelude::*;
use sotto_proto::cell::{Destination, Frame, StreamId};
use sotto_proto::hash::blake2b_256;
use sotto_proto::id::Hash;

use super::super::test_path::{Path, at_exit, buffer, destination, relay, wrap};
use super::*;

const STREAM: StreamId = StreamId::FIRST;

fn body(bytes: &[u8]) -> Body<'_> {
    Body::Data { stream: STREAM, data: bytes }
}

fn digest(frame: &[u8; FRAME]) -> String {
    Hash::new(blake2b_256(frame)).to_string()
}

/// Keys of a path that was not built: one byte for each hop and direction.
fn forward(position: Position) -> HopForward {
    HopForward::new(position, &[position.number(); 32])
}

fn backward(position: Position) -> HopBackward {
    HopBackward::new(position, &[16 + position.number(); 32])
}

fn client() -> (ClientForward, ClientBackward) {
    let forward = Position::ALL.map(|position| Sealer::new(&[position.number(); 32]));
    let backward = Position::ALL.map(|position| Opener::new(&[16 + position.number(); 32]));
    (ClientForward::new(forward), ClientBackward::new(backward))
}

fn sealed(body: &Body<'_>) -> [u8; FRAME] {
    let mut frame = [0x55; FRAME];
    client().0.seal_body(body, &mut frame).unwrap();
    frame
}

/// The frames of one cell on link 1, 2, 3.
fn forward_frames() -> [[u8; FRAME]; HOPS] {
    let first = sealed(&body(b"forward"));
    let second: [u8; FRAME] = relay(&mut forward(Position::Guard), &first).unwrap().try_into().unwrap();
    let third: [u8; FRAME] = relay(&mut forward(Position::Middle), &second).unwrap().try_into().unwrap();
    [first, second, third]
}

fn backward_frames() -> [[u8; FRAME]; HOPS] {
    let mut third = [0x55; FRAME];
    backward(Position::Exit).seal_body(&body(b"backward"), &mut third).unwrap();
    let second = wrap(&mut backward(Position::Middle), &third).unwrap();
    [wrap(&mut backward(Position::Guard), &second).unwrap(), second, third]
}

#[test]
fn golden_cells_hold() {
    let mut path = Path::build();
    let open = Body::Open { stream: STREAM, destination: Destination::Node(destination()), first: b"hello" };
    let (frames, at_exit) = path.forward(open);
    assert_eq!(Body::read(Direction::Forward, &at_exit), Ok(open));
    assert_eq!(
        frames.iter().map(digest).collect::<Vec<_>>(),
        [
            "de135bb90c1371d3f68c133398bc7df8d091a7c9b84c58eef8e595bd18b6af86",
            "66ed71d7c116a9392b9c2f65d4d34e52a7c4c7d160a0b7547dd740fb5fb21b96",
            "b3d142078e1e503992ea3d1ec98b992b87f197b7d1e17ec74c1dfe3be282c88b",
        ]
    );
    let mut frames = path.backward(body(b"world"));
    assert_eq!(
        frames.iter().map(digest).collect::<Vec<_>>(),
        [
            "7ea4297263aa30cdfd59895eadd7e14d8649960f0546576aa6d13b628e816521",
            "6590fe801cbf925bb4e3e191d1335508065be175e24b88a8b930c9d7ec24cdbd",
            "99e741666e1d9f89bc648c77a7ca48740b2f6af11af768dab769404ac75867a7",
        ]
    );
    assert_eq!(path.client.backward.open(&mut frames[0]), Ok(FromPath::Body(body(b"world"))));
}

#[test]
fn no_flipped_bit_of_a_sealed_cell_passes_the_next_hop() {
    for (position, frame) in Position::ALL.into_iter().zip(forward_frames()) {
        for bit in 0..position.sealed_len() * 8 {
            let mut changed = frame;
            changed[bit / 8] ^= 1 << (bit % 8);
            let result = forward(position).open(&mut buffer(&changed));
            assert_eq!(result, Err(CellError::Forged), "{position} bit {bit}");
        }
    }
}

#[test]
fn unsealed_bits_change_nothing_that_is_passed_on() {
    let frames = forward_frames();
    for bit in Position::Middle.sealed_len() * 8..FRAME * 8 {
        let mut changed = frames[1];
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(relay(&mut forward(Position::Middle), &changed).unwrap(), frames[2], "middle bit {bit}");
    }
    let body = at_exit(&mut forward(Position::Exit), &frames[2]).unwrap();
    for bit in Position::Exit.sealed_len() * 8..FRAME * 8 {
        let mut changed = frames[2];
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(at_exit(&mut forward(Position::Exit), &changed).unwrap(), body, "exit bit {bit}");
    }
    let frames = backward_frames();
    for (behind, position) in [(Position::Exit, Position::Middle), (Position::Middle, Position::Guard)] {
        let index = usize::from(position.number()) - 1;
        for bit in behind.sealed_len() * 8..FRAME * 8 {
            let mut changed = frames[index + 1];
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(wrap(&mut backward(position), &changed).unwrap(), frames[index], "{position} bit {bit}");
        }
    }
}

#[test]
fn no_flipped_bit_of_a_backward_cell_passes_the_client() {
    let frames = backward_frames();
    for (link, frame) in frames.iter().enumerate() {
        for bit in 0..Position::ALL[link].sealed_len() * 8 {
            let mut changed = *frame;
            changed[bit / 8] ^= 1 << (bit % 8);
            for position in Position::ALL[..link].iter().rev() {
                changed = wrap(&mut backward(*position), &changed).unwrap();
            }
            assert_eq!(client().1.open(&mut changed), Err(CellError::Forged), "link {} bit {bit}", link + 1);
        }
    }
}

#[test]
fn zeros_follow_what_is_sealed_on_every_link() {
    for (position, frame) in Position::ALL.into_iter().zip(forward_frames()) {
        assert!(frame[position.sealed_len()..].iter().all(|byte| *byte == 0), "{position} forward");
    }
    for (position, frame) in Position::ALL.into_iter().zip(backward_frames()) {
        assert!(frame[position.sealed_len()..].iter().all(|byte| *byte == 0), "{position} backward");
    }
}

#[test]
fn padding_of_a_link_ends_there_and_later_hops_do_not_count_it() {
    for position in Position::ALL {
        let (mut client, _) = client();
        let mut frames = [[0; FRAME]; 2];
        client.drop_at(position, &mut frames[0]).unwrap();
        client.seal_body(&body(b"after it"), &mut frames[1]).unwrap();
        let mut bytes = frames.as_flattened().to_vec();
        for hop in [Position::Guard, Position::Middle] {
            bytes = relay(&mut forward(hop), &bytes).unwrap();
            assert_eq!(bytes.len(), if hop < position { 2 * FRAME } else { FRAME }, "{position} passed {hop}");
        }
        let bodies = at_exit(&mut forward(Position::Exit), &bytes).unwrap();
        assert_eq!(Body::read(Direction::Forward, &bodies), Ok(body(b"after it")));
    }
}

#[test]
fn the_client_knows_which_hop_ended_the_path_and_why() {
    for (index, position) in Position::ALL.into_iter().enumerate() {
        let mut frame = [0x55; FRAME];
        backward(position).destroy(DestroyReason::Idle, &mut frame).unwrap();
        for hop in Position::ALL[..index].iter().rev() {
            frame = wrap(&mut backward(*hop), &frame).unwrap();
        }
        let destroyed = FromPath::Destroy { position, reason: DestroyReason::Idle };
        assert_eq!(client().1.open(&mut frame), Ok(destroyed));
    }
}

#[test]
fn unknown_commands_and_wrong_ends_are_errors() {
    let mut sealer = Sealer::new(&[1; 32]);
    let mut frame = [0; FRAME];
    frame[0] = 2;
    sealer.seal(&mut frame).unwrap();
    let result = forward(Position::Guard).open(&mut buffer(&frame));
    assert!(matches!(result, Err(CellError::Malformed(_))), "{result:?}");

    let mut frame = [0; FRAME];
    assert!(backward(Position::Exit).wrap(&mut buffer(&frame)).is_err());
    assert!(backward(Position::Guard).seal_body(&Body::Drop, &mut frame).is_err());
    let too_long = vec![0; FRAME];
    assert!(client().0.seal_body(&body(&too_long), &mut frame).is_err());
}

#[test]
fn what_is_sealed_unchecked_opens_at_its_hop_and_goes_no_further() {
    for position in Position::ALL {
        let mut opened = vec![0x55; position.opened_len()];
        opened[0] = Forward::Relay(&[]).byte();
        let mut frame = [0; FRAME];
        client().0.seal_unchecked(position, &opened, &mut frame).unwrap();
        let mut bytes = frame.to_vec();
        for hop in [Position::Guard, Position::Middle] {
            let relayed = relay(&mut forward(hop), &bytes);
            assert_eq!(relayed.is_ok(), hop <= position, "{position} at {hop}");
            let Ok(relayed) = relayed else { break };
            bytes = relayed;
        }
        if position == Position::Exit {
            assert_eq!(at_exit(&mut forward(Position::Exit), &bytes).unwrap(), opened[1..]);
        }
        assert!(client().0.seal_unchecked(position, &opened[1..], &mut frame).is_err());
    }
}

#[test]
fn a_hop_out_of_counters_says_so() {
    let mut guard = HopForward { position: Position::Guard, key: Opener::used_up(&[1; 32]) };
    assert_eq!(guard.open(&mut buffer(&sealed(&Body::Drop))), Err(CellError::Exhausted));
}

#[test]
fn a_repeated_or_missing_cell_does_not_open() {
    let (mut client, _) = client();
    let mut frames = [[0; FRAME]; 3];
    for frame in &mut frames {
        client.seal_body(&body(b"cell"), frame).unwrap();
    }
    let mut guard = forward(Position::Guard);
    relay(&mut guard, &frames[0]).unwrap();
    assert_eq!(relay(&mut guard, &frames[0]), Err(CellError::Forged), "repeated");
    let mut guard = forward(Position::Guard);
    relay(&mut guard, &frames[0]).unwrap();
    assert_eq!(relay(&mut guard, &frames[2]), Err(CellError::Forged), "missing");
}

#[test]
fn a_buffer_grows_to_eight_cells_and_no_further() {
    let mut cells = CellBuffer::new();
    let mut sizes = Vec::new();
    for _ in 0..5 {
        sizes.push(cells.space().len() / FRAME);
        cells.grow();
    }
    assert_eq!(sizes, [1, 2, 4, 8, 8]);
    assert!(!cells.is_full());
    cells.filled(usize::MAX);
    assert!(cells.is_full() && cells.space().is_empty());
}

/// What happens to cells in a stream that is read in pieces of any length.
#[derive(Clone, Debug)]
struct Stream {
    /// For each cell, whether it is padding of the guard's or the middle's link.
    cells: Vec<Option<Position>>,
    /// Lengths of the pieces.
    pieces: Vec<usize>,
    grows: bool,
}

fn stream() -> impl Strategy<Value = Stream> {
    let cell = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Position::Guard)),
        1 => Just(Some(Position::Middle)),
    ];
    let pieces = prop::collection::vec(1..5 * FRAME, 1..8);
    (prop::collection::vec(cell, 1..24), pieces, any::<bool>()).prop_map(|(cells, pieces, grows)| Stream {
        cells,
        pieces,
        grows,
    })
}

/// Reads `bytes` in pieces, and hands each batch of whole frames to `work`, which gives what is written.
fn pump(bytes: &[u8], stream: &Stream, mut work: impl FnMut(&mut CellBuffer) -> Vec<u8>) -> Vec<u8> {
    let (mut cells, mut left, mut out) = (CellBuffer::new(), bytes, Vec::new());
    let mut pieces = stream.pieces.iter().cycle();
    while !left.is_empty() {
        let space = cells.space();
        assert!(!space.is_empty());
        let length = (*pieces.next().unwrap()).min(space.len()).min(left.len());
        space[..length].copy_from_slice(&left[..length]);
        left = &left[length..];
        cells.filled(length);
        let full = cells.is_full();
        if cells.whole() > 0 {
            out.extend_from_slice(&work(&mut cells));
            cells.advance();
        }
        if full && stream.grows {
            cells.grow();
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn batches_give_what_single_cells_give_however_they_are_read(stream in stream()) {
        let (mut client, mut receiving) = client();
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (index, drop) in stream.cells.iter().enumerate() {
            let mut frame = [0; FRAME];
            let text = index.to_be_bytes();
            match drop {
                Some(position) => client.drop_at(*position, &mut frame).unwrap(),
                None => {
                    client.seal_body(&body(&text), &mut frame).unwrap();
                    body(&text).write(&mut expected).unwrap();
                }
            }
            bytes.extend_from_slice(&frame);
        }
        for position in [Position::Guard, Position::Middle] {
            let (mut batched, mut single) = (forward(position), forward(position));
            let in_batches = pump(&bytes, &stream, |cells| {
                let opened = batched.open(cells).unwrap();
                cells.relayed(&opened).collect::<Vec<_>>().concat()
            });
            let one_by_one: Vec<u8> =
                bytes.chunks(FRAME).flat_map(|frame| relay(&mut single, frame).unwrap()).collect();
            prop_assert!(in_batches == one_by_one, "{position}");
            bytes = in_batches;
        }
        let mut exit = forward(Position::Exit);
        let bodies = pump(&bytes, &stream, |cells| {
            let opened = exit.open(cells).unwrap();
            cells.bodies(&opened).collect::<Vec<_>>().concat()
        });
        prop_assert!(bodies == expected);

        // And back.
        let mut exit = backward(Position::Exit);
        let mut bytes = Vec::new();
        for text in bodies.chunks(BODY) {
            let mut frame = [0x55; FRAME];
            exit.seal_body(&Body::read(Direction::Forward, text).unwrap(), &mut frame).unwrap();
            bytes.extend_from_slice(&frame);
        }
        for position in [Position::Middle, Position::Guard] {
            let mut keys = backward(position);
            bytes = pump(&bytes, &stream, |cells| keys.wrap(cells).unwrap().to_vec());
        }
        for (frame, text) in bytes.chunks(FRAME).zip(bodies.chunks(BODY)) {
            let mut frame: [u8; FRAME] = frame.try_into().unwrap();
            let expected = Body::read(Direction::Backward, text).unwrap();
            prop_assert_eq!(receiving.open(&mut frame), Ok(FromPath::Body(expected)));
        }
    }

    #[test]
    fn strangers_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), FRAME)) {
        let mut frame = Frame::new(&bytes).unwrap();
        for position in Position::ALL {
            prop_assert_eq!(forward(position).open(&mut buffer(&bytes)), Err(CellError::Forged));
        }
        prop_assert_eq!(client().1.open(frame.as_mut_bytes()), Err(CellError::Forged));
    }
}
