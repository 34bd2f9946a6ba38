use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sotto_proto::cell::Destination;
use sotto_proto::limits::{ANSWER_CELLS, answer_bytes, flight_bytes, request_bytes};
use sotto_proto::sign::SigningKey;
use sotto_proto::time::UnixSeconds;

use super::*;
use crate::onion::replay::{ReplayGuard, ReplayRefusal};

const CHAIN: ChainId = ChainId::new([1; 32]);
const NODE: NodeId = NodeId::new([2; 32]);
const MINUTE: Minute = Minute(29_500_000);

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::from_seed([3; 32])
}

fn secret() -> Secret {
    Secret::take(&mut [4; 32])
}

fn secrets() -> HopSecrets {
    HopSecrets::new([secret()])
}

fn info() -> HopInfo {
    HopInfo { node: NODE, x25519: secret().public() }
}

fn node_bytes() -> usize {
    Destination::Node(NODE).first_bytes()
}

fn client(request: &[u8]) -> (Vec<u8>, ClientHandshake) {
    ClientHandshake::new(&CHAIN, &info(), node_bytes(), MINUTE, request, &mut rng()).unwrap()
}

/// Hands the client's flight over cell by cell.
fn arrive(flight: &[u8], first_bytes: usize) -> FirstRecord {
    let mut record = FirstRecord::new();
    let (first, rest) = flight.split_at(first_bytes);
    let mut complete = record.push(first).unwrap();
    for cell in rest.chunks(BODY_DATA) {
        assert!(!complete, "cells behind the end of the record");
        assert_eq!(cell.len(), BODY_DATA);
        complete = record.push(cell).unwrap();
    }
    assert!(complete);
    record
}

fn open(record: &FirstRecord) -> OpenedTunnel {
    record.read(&secrets()).unwrap().open(&CHAIN, &NODE).unwrap()
}

/// Hands the destination's flight over cell by cell; gives the client's ends and the answer.
fn finish(mut client: ClientHandshake, flight: &[u8]) -> (Outbound, Inbound, Vec<u8>) {
    let mut cells = flight.chunks(BODY_DATA);
    while !client.push(cells.next().unwrap()).unwrap() {}
    let (outbound, mut inbound) = client.finish().unwrap();
    let mut answer = inbound.poll().unwrap();
    for cell in cells {
        assert_eq!(answer, None, "cells behind the end of the answer");
        inbound.push(cell).unwrap();
        answer = inbound.poll().unwrap();
    }
    (outbound, inbound, answer.unwrap())
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

#[test]
fn first_flights_end_at_a_cell_for_every_size() {
    for cells in 1..=TUNNEL_CELLS {
        let room = request_bytes(cells);
        for length in [room - 1, room] {
            let (flight, _) = client(&text(length));
            assert_eq!(flight.len(), flight_bytes(cells), "{length} bytes");
            assert_eq!(open(&arrive(&flight, node_bytes())).request(), text(length));
        }
    }
    assert_eq!(client(&[]).0.len(), flight_bytes(1));
    let too_long = ClientHandshake::new(&CHAIN, &info(), node_bytes(), MINUTE, &text(REQUEST_MAX + 1), &mut rng());
    assert!(matches!(too_long, Err(TunnelError::Malformed(_))));
}

#[test]
fn answers_end_at_a_cell_for_every_size() {
    for cells in ANSWER_CELLS {
        for length in [0, answer_bytes(cells) / 2 + 50, answer_bytes(cells) - 1, answer_bytes(cells)] {
            let (flight, client) = client(b"request");
            let (answer, ..) = open(&arrive(&flight, node_bytes())).answer(&text(length), &mut rng()).unwrap();
            let expected = if length == 0 { 1 } else { cells };
            assert_eq!(answer.len(), expected * BODY_DATA, "{length} bytes");
            assert!(finish(client, &answer).2 == text(length));
        }
    }
    let (flight, _) = client(b"request");
    let too_long = open(&arrive(&flight, node_bytes())).answer(&text(RESPONSE_MAX + 1), &mut rng());
    assert!(matches!(too_long, Err(TunnelError::Malformed(_))));
}

#[test]
fn requests_and_pushes_follow_on_the_same_tunnel() {
    let (flight, client) = client(b"first");
    let opened = open(&arrive(&flight, node_bytes()));
    assert_eq!((opened.request(), opened.minute()), (&b"first"[..], MINUTE));
    let (answer, mut node_out, mut node_in) = opened.answer(b"answer", &mut rng()).unwrap();
    let (mut client_out, mut client_in, answer) = finish(client, &answer);
    assert_eq!(answer, b"answer");
    for number in 0..10_u8 {
        for cell in client_out.request(&[number; 3000]).unwrap().chunks(BODY_DATA) {
            node_in.push(cell).unwrap();
        }
        assert_eq!(node_in.poll().unwrap(), Some(vec![number; 3000]));
        for push in 0..3 {
            client_in.push(&node_out.answer(&[number, push]).unwrap()).unwrap();
            assert_eq!(client_in.poll().unwrap(), Some(vec![number, push]));
        }
    }
    assert_eq!((node_in.poll().unwrap(), client_in.poll().unwrap()), (None, None));
}

#[test]
fn a_server_is_spoken_to_by_its_converted_key() {
    let seed = [9; 32];
    let node = SigningKey::from_seed(&seed).node_id();
    let info = HopInfo::of_server(node).unwrap();
    let multiaddr = [7; 57];
    let first_bytes = Destination::Server(&multiaddr).first_bytes();
    assert_eq!(first_bytes, 1_989 - multiaddr.len());
    let (flight, client) = ClientHandshake::new(&CHAIN, &info, first_bytes, MINUTE, &[], &mut rng()).unwrap();
    assert_eq!(flight.len(), first_bytes);
    let record = arrive(&flight, first_bytes);
    let secrets = HopSecrets::new([Secret::of_ed25519_seed(&seed)]);
    let opened = record.read(&secrets).unwrap().open(&CHAIN, &node).unwrap();
    assert_eq!(opened.request(), b"");
    let (answer, _, mut server_in) = opened.answer(&[], &mut rng()).unwrap();
    let (mut client_out, _, answer) = finish(client, &answer);
    assert_eq!(answer, b"");
    server_in.push(&client_out.request(b"upload").unwrap()).unwrap();
    assert_eq!(server_in.poll().unwrap(), Some(b"upload".to_vec()));
    assert_eq!(HopInfo::of_server(NodeId::new([0; 32])), None);
}

#[test]
fn another_suite_and_unknown_keys_are_told_apart() {
    let (mut flight, _) = client(b"request");
    let gone = HopSecrets::new([Secret::take(&mut [5; 32])]);
    let record = arrive(&flight, node_bytes());
    assert!(matches!(record.read(&gone), Err(TunnelError::UnknownKey(_))));
    flight[2] = 2;
    let record = arrive(&flight, node_bytes());
    assert!(matches!(record.read(&secrets()), Err(TunnelError::Suite(2))));
}

#[test]
fn the_previous_key_is_accepted() {
    let record = arrive(&client(b"request").0, node_bytes());
    let rotated = HopSecrets::new([Secret::take(&mut [5; 32]), secret()]);
    let arrived = record.read(&rotated).unwrap();
    assert_eq!(Some(arrived.key_tag()), rotated.tags().nth(1));
    assert_eq!(arrived.open(&CHAIN, &NODE).unwrap().request(), b"request");
}

#[test]
fn a_first_message_is_bound_to_chain_node_and_every_byte() {
    let (flight, _) = client(b"request");
    let record = arrive(&flight, node_bytes());
    assert!(record.read(&secrets()).unwrap().open(&ChainId::new([9; 32]), &NODE).is_err());
    assert!(record.read(&secrets()).unwrap().open(&CHAIN, &NodeId::new([9; 32])).is_err());
    for index in (2..flight.len()).step_by(13).chain([2, 3, 6, 7, flight.len() - 1]) {
        let mut changed = flight.clone();
        changed[index] ^= 1;
        let record = arrive(&changed, node_bytes());
        let opened = record.read(&secrets()).and_then(|arrived| arrived.open(&CHAIN, &NODE));
        assert!(opened.is_err(), "byte {index}");
    }
}

#[test]
fn the_minute_is_the_clients_and_judged_by_the_destination() {
    let opened = open(&arrive(&client(b"").0, node_bytes()));
    assert!(opened.minute().is_near(MINUTE) && opened.minute().is_near(Minute(MINUTE.0 + 2)));
    assert!(!opened.minute().is_near(Minute(MINUTE.0 + 3)) && !opened.minute().is_near(Minute(MINUTE.0 - 3)));
}

#[test]
fn ten_thousand_replays_of_a_tunnel_are_refused() {
    let now = UnixSeconds(u64::from(MINUTE.0) * 60);
    let mut guard = ReplayGuard::in_memory();
    let record = arrive(&client(b"request").0, node_bytes());
    let mut accepted = 0;
    for _ in 0..=10_000 {
        let secrets = secrets();
        let arrived = record.read(&secrets).unwrap();
        if guard.contains(&arrived.ephemeral()) {
            continue;
        }
        let opened = arrived.open(&CHAIN, &NODE).unwrap();
        assert!(guard.remember(opened.ephemeral(), opened.minute(), now).is_ok());
        accepted += 1;
    }
    assert_eq!(accepted, 1);
    let ephemeral = record.read(&secrets()).unwrap().ephemeral();
    assert!(matches!(guard.remember(ephemeral, MINUTE, now), Err(ReplayRefusal::Replayed)));
}

#[test]
fn nothing_may_stand_behind_the_first_record_and_it_has_a_least_length() {
    let (flight, _) = client(b"request");
    let mut record = FirstRecord::new();
    assert!(record.push(&[&flight[..], &[0]].concat()).is_err());
    let mut record = FirstRecord::new();
    record.push(&flight).unwrap();
    assert!(record.push(&[0]).is_err());
    let mut record = FirstRecord::new();
    assert!(record.push(&[0, 5, 1, 0, 0, 0, 0]).is_err());
    let mut record = FirstRecord::new();
    assert!(!record.push(&[0xff]).unwrap());
    assert!(matches!(record.read(&secrets()), Err(TunnelError::Incomplete)));
    assert_eq!(record.buffered(), 1);
}

#[test]
fn a_changed_answer_ends_the_tunnel() {
    for index in [2, 33, 34, 1000, BODY_DATA - 1] {
        let (flight, mut client) = client(b"request");
        let (mut answer, ..) = open(&arrive(&flight, node_bytes())).answer(b"answer", &mut rng()).unwrap();
        answer[index] ^= 1;
        assert!(client.push(&answer).unwrap());
        assert!(matches!(client.finish(), Err(TunnelError::Noise(_))), "byte {index}");
    }
    let (_, client) = client(b"request");
    assert!(matches!(client.finish(), Err(TunnelError::Incomplete)));
}

#[test]
fn a_first_message_that_says_it_goes_on_is_refused() {
    let tag = key_tag(&info().x25519);
    let mut handshake = Handshake::initiator(Pattern::Nk, &prologue(&CHAIN, &NODE, tag), None, &info().x25519).unwrap();
    let mut payload = vec![0; 100];
    write_request(&mut payload, MINUTE, b"request").unwrap();
    payload[0] = 1;
    let mut message = vec![0; payload.len() + NOISE];
    handshake.write(&payload, noise::draw(&mut rng()), &mut message).unwrap();
    let head = [&record_length(HEAD + message.len()).unwrap()[..], &[SUITE], tag.as_bytes()].concat();
    let mut record = FirstRecord::new();
    assert!(record.push(&[head, message].concat()).unwrap());
    let opened = record.read(&secrets()).unwrap().open(&CHAIN, &NODE);
    assert!(matches!(opened, Err(TunnelError::Malformed(_))), "{opened:?}");
}

#[test]
fn neither_keys_nor_requests_are_shown() {
    let (flight, client) = client(b"request of somebody");
    let record = arrive(&flight, node_bytes());
    let secrets = secrets();
    let shown = format!("{client:?} {record:?} {:?} {:?}", record.read(&secrets).unwrap(), open(&record));
    assert_eq!(
        shown,
        "ClientHandshake(0 bytes waiting) FirstRecord(1957 bytes) ArrivedTunnel(1950 bytes) \
         OpenedTunnel(19 bytes of request)"
    );
}

proptest! {
    #[test]
    fn strangers_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), tagged: bool) {
        let mut bytes = bytes;
        if tagged && bytes.len() > 7 {
            let length = u16::try_from(bytes.len() - 2).unwrap();
            bytes[..2].copy_from_slice(&length.to_be_bytes());
            bytes[2] = SUITE;
            bytes[3..7].copy_from_slice(key_tag(&info().x25519).as_bytes());
        }
        let mut record = FirstRecord::new();
        if record.push(&bytes).is_ok_and(|complete| complete) {
            let secrets = secrets();
            let opened = record.read(&secrets).and_then(|arrived| arrived.open(&CHAIN, &NODE));
            prop_assert!(opened.is_err());
        }
        let (_, mut handshake) = client(b"request");
        if handshake.push(&bytes).is_ok_and(|complete| complete) {
            prop_assert!(handshake.finish().is_err());
        }
    }
}
