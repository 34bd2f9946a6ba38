//! Lengths that announce far too much, on every protocol and at every layer that has them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt as _;

use super::super::Scene;
use super::crowd::{Attacker, all, within};
use super::frame::{Frame, WINDOW, flag, kind};
use super::layer::{Layer, converse};

/// Attackers.
const CROWD: usize = 32;
/// How often one length is sent on a stream of its own, on one connection.
const STREAMS: u32 = 16;
/// How long the victim may take to refuse.
const LINGER: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(3);

/// Lengths as the protocols write them (`u32`, and the numbers of protobuf for gossip), and a little of a body.
const LENGTHS: [&[u8]; 10] = [
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x40, 0x00, 0x00, 0x00],
    &[0x00, 0x40, 0x00, 0x01],
    &[0x00, 0x11, 0x00, 0x00],
    // 4 GiB, 2^63, and 2^64 - 1.
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    // Longer than a number may be.
    &[0xff; 16],
    // 2 MiB.
    &[0x80, 0x80, 0x80, 0x01],
];

/// Oversize lengths at each layer in turn.
pub(super) async fn run(scene: Arc<Scene>) -> Result<(), String> {
    all(scene, CROWD, announce).await
}

async fn announce(attacker: Attacker) -> io::Result<()> {
    let scene = Arc::clone(&attacker.scene);
    // Bodies are what this is about; every second connection.
    let layer = if attacker.source().is_multiple_of(2) {
        Layer::Body
    } else {
        Layer::ALL[attacker.source() / 2 % Layer::ALL.len()]
    };
    let protocol = attacker.protocol();
    let wire = attacker.reach(layer, &protocol).await?;
    let frames = said(layer, attacker.source(), protocol.as_ref());
    let tally = Arc::clone(&scene.tally);
    let talk = converse(wire, &scene, LINGER, async |mut writing| {
        for sent in frames {
            tally.due().await;
            writing.write_all(&sent).await?;
            writing.flush().await?;
            tally.sent(1, sent.len());
        }
        Ok(writing)
    });
    within(PATIENCE, talk).await
}

/// Whose length is which: every second attacker says it in a body, and those say all of them.
fn length(source: usize) -> &'static [u8] {
    LENGTHS[source / 2 % LENGTHS.len()]
}

/// One length at this layer; as a body, on many streams.
fn said(layer: Layer, source: usize, protocol: &str) -> Vec<Vec<u8>> {
    let bytes = [length(source), &[0; 64][..]].concat();
    match layer {
        Layer::Body => (1..STREAMS)
            .map(super::frame::dialed)
            .flat_map(|stream| {
                let opened = [super::layer::proposal(protocol), bytes.clone()].concat();
                [super::frame::data(stream, flag::SYN, &opened)]
            })
            .chain([layer.wrap(&bytes, true)])
            .collect(),
        Layer::Yamux => [WINDOW + 1, 1 << 20, (1 << 20) + 1, 1 << 30, u32::MAX]
            .map(|length| [&Frame::new(kind::DATA, flag::SYN, 1, length).bytes(), &[0; 512][..]].concat())
            .into_iter()
            .skip(source % 5)
            .collect(),
        _ => vec![layer.wrap(&bytes, true)],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_length_comes_as_a_body() {
        let lengths: BTreeSet<_> = (0..2 * LENGTHS.len()).step_by(2).map(length).collect();
        assert_eq!(lengths.len(), LENGTHS.len());
    }

    #[test]
    fn a_length_is_announced_on_streams_of_their_own() {
        let frames = said(Layer::Body, 0, "/x");
        assert_eq!(frames.len(), STREAMS as usize);
        let streams: Vec<u32> =
            frames.iter().map(|frame| u32::from_be_bytes(frame[4..8].try_into().unwrap())).collect();
        assert_eq!(streams[..2], [3, 5]);
        assert_eq!(streams.last(), Some(&1), "the one that was negotiated already");
        assert!(frames[0].windows(4).any(|window| window == [0xff; 4]));
    }
}
