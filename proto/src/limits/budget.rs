//! What fits where in a frame of 2,048 bytes, from the wire down to the text of a message.
//!
//! ```text
//!            link 1 (guard)   link 2 (middle)   link 3 (exit)
//! BUILD      2,048            1,954             1,860            94 bytes a layer
//! REPLY      2,048            1,992             1,936            56 bytes a layer
//! SEAL       2,048            2,031             2,014            17 bytes a layer
//!                                               body 1,997 = kind 1 ‖ stream 2 ‖ len 2 ‖ data 1,992
//!
//! cells k    flight C(k)      request           envelope data    spare in the request
//!  1          1,957            1,893             1,664            90
//!  2          3,949            3,885             3,648            98
//!  4          7,933            7,869             7,616           114
//!  8         15,901           15,837            15,616            82
//! 16         31,837           31,773            31,552            80
//! 32         63,709           63,645            63,424            80
//! ```
//!
//! The data sizes are the largest multiples of 64 that leave at least 80 bytes in a flight of 1, 2, 4 … 32 cells which
//! carries the whole store request: a record of the kind with a write signature, its order of publication, and the
//! protobuf around them. The compiler checks every figure below.

pub use super::HOPS;

/// Every frame on every link, both ways.
pub const FRAME: usize = 2048;

// ---- Layers of paths (B5) ----

/// An X25519 key, as ephemeral or static key of a Noise message.
pub const KEY: usize = 32;
/// The tag at the end of everything AES-GCM seals.
pub const TAG: usize = 16;
/// Bytes that a build layer takes: version, suite, key tag, `e`; minute, position, zeros, next; tag.
pub const BUILD_LAYER: usize = 1 + 1 + 4 + KEY + (4 + 1 + 3 + 32) + TAG;
/// Bytes that a reply layer takes: `e`; status, zero, minute, zeros; tag.
pub const REPLY_LAYER: usize = KEY + (1 + 1 + 4 + 2) + TAG;
/// Bytes that a cell layer takes: command, tag.
pub const CELL_LAYER: usize = 1 + TAG;
/// Meaningful bytes of a build frame on link 1, 2, 3.
pub const BUILD: [usize; HOPS] = layers(BUILD_LAYER);
/// Meaningful bytes of a reply frame on link 1, 2, 3.
pub const REPLY: [usize; HOPS] = layers(REPLY_LAYER);
/// Meaningful bytes of a cell on link 1, 2, 3.
pub const SEAL: [usize; HOPS] = layers(CELL_LAYER);
/// The body that client and exit exchange.
pub const BODY: usize = SEAL[HOPS - 1] - CELL_LAYER;
/// Data in a body, and in a frame of a tunnel: kind, stream and length go off.
pub const BODY_DATA: usize = BODY - (1 + 2 + 2);

const fn layers(overhead: usize) -> [usize; HOPS] {
    [FRAME, FRAME - overhead, FRAME - 2 * overhead]
}

// ---- Flights through tunnels (B6) ----

/// What OPEN puts before the first bytes when the destination is a node: form, length, node key.
pub const OPEN_NODE: usize = 1 + 2 + 32;
/// What the first record puts around a request: length, suite, key tag, `e`, flags, minute, length, tag.
pub const FIRST_RECORD: usize = 2 + 1 + 4 + KEY + (1 + 4 + 4) + TAG;
/// What the destination's first record puts around its answer: length, `e`, flags, length, tag.
pub const ANSWER_RECORD: usize = 2 + KEY + (1 + 4) + TAG;
/// What every later record puts around its bytes: length, flags, length, tag.
pub const LATER_RECORD: usize = 2 + (1 + 4) + TAG;
/// The longest record: a `u16` length and what it counts. A Noise message can be no longer.
pub const RECORD_BYTES: usize = 2 + 65_535;
/// Cells of the largest flight that carries a request.
pub const TUNNEL_CELLS: usize = 32;
/// Cells that answers are padded to, so that their number says little.
pub const ANSWER_CELLS: [usize; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// Bytes that a flight of `cells` cells carries to a node, `cells` ≥ 1.
#[must_use]
pub const fn flight_bytes(cells: usize) -> usize {
    cells * BODY_DATA - OPEN_NODE
}

/// The longest request that a flight of `cells` cells carries to a node, `cells` ≥ 1.
#[must_use]
pub const fn request_bytes(cells: usize) -> usize {
    flight_bytes(cells) - FIRST_RECORD
}

/// The longest answer that the first `cells` cells from a node carry, `cells` ≥ 1.
#[must_use]
pub const fn answer_bytes(cells: usize) -> usize {
    let bytes = cells * BODY_DATA;
    bytes - ANSWER_RECORD - (bytes.div_ceil(RECORD_BYTES) - 1) * LATER_RECORD
}

// ---- Envelopes in store requests (B4) ----

/// An envelope's fields before its data: version, address, timestamp, TTL, anchor, length.
pub const ENVELOPE_HEADER: usize = 1 + 33 + 8 + 4 + 8 + 4;
/// What a record puts after them at most: nonce, length of the write signature, write signature.
pub const RECORD_TRAILER: usize = 8 + 1 + 64;
/// The lengths that an envelope's data may have.
pub const ENVELOPE_DATA_SIZES: [usize; 6] = [1664, 3648, 7616, 15_616, 31_552, 63_424];
/// The longest record.
pub const RECORD_MAX: usize = ENVELOPE_HEADER + ENVELOPE_DATA_SIZES[5] + RECORD_TRAILER;
/// Bytes of a store request that must stay free, for fields that later versions add.
pub const STORE_SPARE: usize = 80;

/// Bytes of a length or small number in protobuf.
const fn varint(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        _ => 3,
    }
}

/// Bytes of a `bytes` or message field with a number below 16.
const fn field(length: usize) -> usize {
    1 + varint(length) + length
}

/// The encoded store request whose envelope has `data` bytes: record and order of publication in `StoreRequest`, that
/// in `Request`.
#[must_use]
pub const fn store_request_bytes(data: usize) -> usize {
    field(field(ENVELOPE_HEADER + data + RECORD_TRAILER) + 2)
}

// ---- Records in answers ----

/// The shortest record: the smallest data, no write signature.
pub const SMALLEST_RECORD: usize = ENVELOPE_HEADER + ENVELOPE_DATA_SIZES[0] + 9;
/// Bytes of a `u64` field with a number below 16, at most.
const NUMBER: usize = 1 + 10;
/// Bytes of a `bool` field with a number below 16, at most.
const FLAG: usize = 2;
/// What an answer with records holds beside them at most: epoch, next number, two flags, and the field around it all.
pub const RECORDS_BASE: usize = 1 + 3 + 2 * NUMBER + 2 * FLAG;

/// What a record of `length` bytes adds to an answer at most: its number, its bytes, and the field around both.
#[must_use]
pub const fn stored_record_bytes(length: usize) -> usize {
    field(NUMBER + field(length))
}

// ---- Pushes (M2) ----

/// Bytes of the tag that somebody listens to.
pub const LISTENING_TAG: usize = 16;

/// The encoded push of `data` bytes, as the request and as what the listener gets: tag and data in `PushRequest`, that in
/// the request or answer.
#[must_use]
pub const fn push_bytes(data: usize) -> usize {
    field(field(LISTENING_TAG) + field(data))
}

/// The encoded request to listen to `tags` tags.
#[must_use]
pub const fn listen_bytes(tags: usize) -> usize {
    field(field(tags * LISTENING_TAG))
}

/// The longest message that the next `cells` cells of a tunnel carry after its first record, `cells` from 1 to
/// [`TUNNEL_CELLS`]: one record.
#[must_use]
pub const fn later_bytes(cells: usize) -> usize {
    cells * BODY_DATA - LATER_RECORD
}

// ---- Content (B12) ----

/// What the outer seal takes of the data: `e`, tag, length, kind of content.
pub const SEAL_LAYER: usize = KEY + TAG + 4 + 1;
/// What a plain message takes of the body: `e`, the sender's sealed key, tag.
pub const AUTH_LAYER: usize = KEY + (KEY + TAG) + TAG;
/// What the ratchet adds to a message: nonce, encrypted header (ratchet key, length of the previous chain, number, tag);
/// nonce and tag of the message itself.
pub const RATCHET_LAYER: usize = 12 + (KEY + 4 + 4) + TAG + 12 + TAG;
/// What a session message takes of the body: session tag, and what the ratchet adds.
pub const SESSION_LAYER: usize = 16 + RATCHET_LAYER;
/// What the initial message of a session puts before the session message: version, initiator, its device, epoch of the
/// bundle, ephemeral key.
pub const INITIAL_LAYER: usize = 1 + 33 + 1 + 4 + KEY;

/// Bytes left for the content of a message whose envelope has `data` bytes, of the longest form: an initial message.
#[must_use]
pub const fn content_bytes(data: usize) -> usize {
    data - SEAL_LAYER - INITIAL_LAYER - SESSION_LAYER
}

const _: () = {
    assert!(BUILD_LAYER == 94 && REPLY_LAYER == 56 && CELL_LAYER == 17);
    assert!(BUILD[0] == 2048 && BUILD[1] == 1954 && BUILD[2] == 1860);
    assert!(REPLY[0] == 2048 && REPLY[1] == 1992 && REPLY[2] == 1936);
    assert!(SEAL[0] == 2048 && SEAL[1] == 2031 && SEAL[2] == 2014);
    assert!(BODY == 1997 && BODY_DATA == 1992);
    assert!(BODY_DATA + 2 <= FRAME, "a tunnel's frame holds what a cell holds");
    assert!(OPEN_NODE == 35 && FIRST_RECORD == 64);
    assert!(flight_bytes(1) == 1957 && flight_bytes(2) == 1957 + 1992);
    assert!(2 + 1 + 4 + KEY + 9 + request_bytes(TUNNEL_CELLS) + TAG <= RECORD_BYTES, "one Noise message");
    assert!(answer_bytes(1) == 1937);
    assert!(ENVELOPE_HEADER == 58);
    assert!(store_request_bytes(ENVELOPE_DATA_SIZES[0]) == 1664 + 131 + 8);
    assert!(store_request_bytes(ENVELOPE_DATA_SIZES[5]) == 63_424 + 131 + 10);
    assert!(
        RECORDS_BASE + stored_record_bytes(ENVELOPE_HEADER + ENVELOPE_DATA_SIZES[0] + RECORD_TRAILER)
            <= answer_bytes(1),
        "a record of one cell is handed out in one cell"
    );

    let mut step = 0;
    while step < ENVELOPE_DATA_SIZES.len() {
        let (data, room) = (ENVELOPE_DATA_SIZES[step], request_bytes(1 << step) - STORE_SPARE);
        assert!(data % 64 == 0);
        assert!(store_request_bytes(data) <= room, "the store request fits its cells");
        assert!(store_request_bytes(data + 64) > room, "and no larger multiple of 64 does");
        assert!(push_bytes(data) <= later_bytes(1 << step), "a push takes as many cells as its data says, both ways");
        step += 1;
    }
    assert!(1 << (ENVELOPE_DATA_SIZES.len() - 1) == TUNNEL_CELLS);
    assert!(TUNNEL_CELLS * BODY_DATA <= RECORD_BYTES, "a push is one record");
    assert!(listen_bytes(super::LISTEN_TAGS) <= later_bytes(1), "a request to listen is one cell");
};

#[cfg(test)]
mod tests {
    use super::*;

    /// A text of the length that people call long.
    const TEXT: usize = 1024;
    /// What the content carries beside it: id, exact time, disappearing time, reply, protobuf framing; with room for as
    /// much again.
    const FIELDS: usize = 2 * 96;

    #[test]
    fn a_kibibyte_of_text_is_one_cell_whatever_carries_it() {
        let body = ENVELOPE_DATA_SIZES[0] - SEAL_LAYER;
        for (carrier, layers) in [
            ("a session message", SESSION_LAYER),
            ("the initial message of a session", INITIAL_LAYER + SESSION_LAYER),
            ("a message before sessions", AUTH_LAYER),
        ] {
            assert!(layers + FIELDS + TEXT <= body, "{carrier}");
        }
        assert_eq!(content_bytes(ENVELOPE_DATA_SIZES[0]), 1428);
    }

    #[test]
    fn the_table_in_the_documentation_is_what_is_computed() {
        let rows: Vec<_> = ENVELOPE_DATA_SIZES
            .iter()
            .enumerate()
            .map(|(step, &data)| {
                let cells = 1 << step;
                let spare = request_bytes(cells) - store_request_bytes(data);
                (cells, flight_bytes(cells), request_bytes(cells), data, spare)
            })
            .collect();
        assert_eq!(
            rows,
            [
                (1, 1957, 1893, 1664, 90),
                (2, 3949, 3885, 3648, 98),
                (4, 7933, 7869, 7616, 114),
                (8, 15_901, 15_837, 15_616, 82),
                (16, 31_837, 31_773, 31_552, 80),
                (32, 63_709, 63_645, 63_424, 80),
            ]
        );
    }

    #[test]
    fn answers_of_every_padded_length_fill_their_cells_with_whole_records() {
        for cells in ANSWER_CELLS {
            let bytes = cells * BODY_DATA;
            let records = bytes.div_ceil(RECORD_BYTES);
            assert_eq!(answer_bytes(cells) + ANSWER_RECORD + (records - 1) * LATER_RECORD, bytes);
            // No record is longer than its length field can say.
            assert!(bytes <= records * RECORD_BYTES);
        }
        assert_eq!(answer_bytes(512), 1_019_904 - 55 - 15 * 23);
    }
}
