use proptest::prelude::*;
use sotto_proto::limits::budget::ANSWER_RECORD;

use super::*;

fn pair(limit: usize) -> (Outbound, Inbound) {
    let inbound = Inbound::new(&[7; 32], limit, RecordBuffer::default(), None).unwrap();
    (Outbound::new(&[7; 32]), inbound)
}

/// Hands a flight over cell by cell; gives the messages.
fn receive(inbound: &mut Inbound, flight: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    for cell in flight.chunks(BODY_DATA) {
        inbound.push(cell).unwrap();
        while let Some(message) = inbound.poll().unwrap() {
            messages.push(message);
        }
    }
    messages
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

#[test]
fn requests_of_every_cell_end_at_a_cell() {
    let (mut outbound, mut inbound) = pair(REQUEST_MAX);
    for cells in 1..=TUNNEL_CELLS {
        let room = cells * BODY_DATA - LATER_RECORD;
        for length in [room - 1, room, room + 1, (room + 1).saturating_sub(BODY_DATA)] {
            if length > REQUEST_MAX {
                continue;
            }
            let flight = outbound.request(&text(length)).unwrap();
            let expected = if length > room { cells + 1 } else { cells };
            assert_eq!(flight.len(), expected * BODY_DATA, "{length} bytes");
            assert_eq!(receive(&mut inbound, &flight), [text(length)]);
        }
    }
    assert_eq!(outbound.request(&[]).unwrap().len(), BODY_DATA);
    assert!(matches!(outbound.request(&text(REQUEST_MAX + 1)), Err(TunnelError::Malformed(_))));
}

#[test]
fn answers_have_ten_sizes() {
    let (mut outbound, mut inbound) = pair(RESPONSE_MAX);
    for cells in ANSWER_CELLS {
        let room = cells * BODY_DATA - overhead(cells * BODY_DATA, LATER_RECORD);
        for length in [room / 2 + 100, room - 1, room] {
            let length = length.min(RESPONSE_MAX);
            let flight = outbound.answer(&text(length)).unwrap();
            assert_eq!(flight.len(), cells * BODY_DATA, "{length} bytes");
            assert!(receive(&mut inbound, &flight) == [text(length)]);
        }
        if room < RESPONSE_MAX {
            let flight = outbound.answer(&text(room + 1)).unwrap();
            assert_eq!(flight.len(), 2 * cells * BODY_DATA);
            assert!(receive(&mut inbound, &flight) == [text(room + 1)]);
        }
    }
    assert!(matches!(outbound.answer(&text(RESPONSE_MAX + 1)), Err(TunnelError::Malformed(_))));
}

#[test]
fn records_fill_a_flight_and_none_is_too_short_or_too_long() {
    for flight in (1..=600 * BODY_DATA).step_by(977).chain((RECORD_BYTES - 40)..(RECORD_BYTES + 40)) {
        let sizes: Vec<_> = records(flight, LATER_RECORD).collect();
        assert_eq!(sizes.iter().sum::<usize>(), flight);
        assert!(sizes.iter().all(|size| *size <= RECORD_BYTES));
        assert!(flight < LATER_RECORD || sizes.iter().all(|size| *size >= LATER_RECORD), "{sizes:?}");
        assert_eq!(sizes.len(), flight.div_ceil(RECORD_BYTES));
    }
    for cells in ANSWER_CELLS {
        let room = cells * BODY_DATA - overhead(cells * BODY_DATA, ANSWER_RECORD);
        assert_eq!(room, sotto_proto::limits::answer_bytes(cells));
    }
}

#[test]
fn a_changed_repeated_or_missing_record_ends_the_tunnel() {
    let (mut outbound, _) = pair(REQUEST_MAX);
    let (first, second) = (outbound.request(b"first").unwrap(), outbound.request(b"second").unwrap());
    for index in [2, 3, 100, BODY_DATA - 1] {
        let (_, mut inbound) = pair(REQUEST_MAX);
        let mut changed = first.clone();
        changed[index] ^= 1;
        inbound.push(&changed).unwrap();
        assert!(matches!(inbound.poll(), Err(TunnelError::Record(_))), "byte {index}");
    }
    let (_, mut inbound) = pair(REQUEST_MAX);
    assert_eq!(receive(&mut inbound, &first), [b"first"]);
    inbound.push(&first).unwrap();
    assert!(matches!(inbound.poll(), Err(TunnelError::Record(_))), "repeated");
    let (_, mut inbound) = pair(REQUEST_MAX);
    inbound.push(&second).unwrap();
    assert!(matches!(inbound.poll(), Err(TunnelError::Record(_))), "missing");
}

/// A record that carries this payload.
fn record(key: &mut Sealer, payload: &[u8]) -> Vec<u8> {
    let mut sealed = [payload, &[0; TAG]].concat();
    key.seal(&mut sealed).unwrap();
    [&record_length(sealed.len()).unwrap()[..], &sealed].concat()
}

#[test]
fn payloads_are_read_strictly() {
    for (payload, name) in [
        (&[2, 0, 0, 0, 0][..], "unknown flags"),
        (&[0, 0, 0, 0, 1], "a length beyond the end"),
        (&[0, 0, 0, 0, 1, 9, 0, 1], "padding that is not zeros"),
        (&[0, 0xff, 0xff, 0xff, 0xff], "a length beyond any"),
        (&[0, 0], "no length"),
        (&[], "nothing"),
    ] {
        let (_, mut inbound) = pair(REQUEST_MAX);
        inbound.push(&record(&mut Sealer::new(&[7; 32]), payload)).unwrap();
        assert!(matches!(inbound.poll(), Err(TunnelError::Malformed(_))), "{name}");
    }
}

#[test]
fn what_is_gathered_is_bounded() {
    let (_, mut inbound) = pair(1000);
    let mut key = Sealer::new(&[7; 32]);
    let part = [&[GOES_ON, 0, 0, 1, 0xf4][..], &[7; 500]].concat();
    for _ in 0..2 {
        inbound.push(&record(&mut key, &part)).unwrap();
        assert_eq!(inbound.poll().unwrap(), None);
    }
    inbound.push(&record(&mut key, &part)).unwrap();
    assert!(matches!(inbound.poll(), Err(TunnelError::Malformed(_))), "a message beyond the limit");

    let (_, mut inbound) = pair(1000);
    inbound.push(&[0xff; 2]).unwrap();
    let cells = (0..1000).take_while(|_| inbound.push(&[0; BODY_DATA]).is_ok()).count();
    assert!(cells * BODY_DATA <= RECORD_BYTES + BODY_DATA);
}

#[test]
fn neither_keys_nor_bytes_are_shown() {
    let (outbound, mut inbound) = pair(1000);
    inbound.push(b"secret").unwrap();
    assert_eq!(
        format!("{outbound:?} {inbound:?}"),
        "Outbound(Sealer(0 sealed)) Inbound(Opener(0 opened), 6 bytes waiting)"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_arrive_whole_and_in_order_however_cells_are_cut(
        messages in prop::collection::vec((0..200_000_usize, any::<bool>()), 1..6),
        pieces in prop::collection::vec(1..=BODY_DATA, 1..10),
    ) {
        let (mut outbound, mut inbound) = pair(RESPONSE_MAX);
        let mut bytes = Vec::new();
        for (length, request) in &messages {
            let flight = if *request {
                outbound.request(&text(*length % (REQUEST_MAX + 1)))
            } else {
                outbound.answer(&text(*length))
            };
            let flight = flight.unwrap();
            prop_assert_eq!(flight.len() % BODY_DATA, 0);
            bytes.extend_from_slice(&flight);
        }
        let (mut left, mut pieces, mut received) = (&bytes[..], pieces.iter().cycle(), Vec::new());
        while !left.is_empty() {
            let (piece, rest) = left.split_at((*pieces.next().unwrap()).min(left.len()));
            left = rest;
            inbound.push(piece).unwrap();
            while let Some(message) = inbound.poll().unwrap() {
                received.push(message);
            }
        }
        prop_assert_eq!(received.len(), messages.len());
        for (message, (length, request)) in received.iter().zip(&messages) {
            let length = if *request { *length % (REQUEST_MAX + 1) } else { *length };
            prop_assert!(*message == text(length));
        }
    }
}
