//! Attacks by strangers below the protocols: whoever has found the port can make them.

mod bodies;
mod connections;
mod crowd;
mod frame;
mod garbage;
mod handshakes;
mod layer;
mod mutated;
mod oversize;
mod slowloris;
mod streams;
mod yamux;

use futures::FutureExt as _;

use super::Attack;

/// All of them.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "connections",
        what: "connects and closes as fast as it goes, from ten thousand addresses (threat 28, fault 23)",
        start: |scene| connections::flood(scene).boxed(),
    },
    Attack {
        name: "half-open",
        what: "connects and stays silent (threat 28, fault 23)",
        start: |scene| connections::half_open(scene).boxed(),
    },
    Attack {
        name: "slowloris",
        what: "one byte at a time in each phase, from the first line to the body of a request (threat 29, fault 22)",
        start: |scene| slowloris::run(scene).boxed(),
    },
    Attack {
        name: "garbage",
        what: "random bytes at each layer (fault 24)",
        start: |scene| garbage::run(scene).boxed(),
    },
    Attack {
        name: "handshakes",
        what: "good handshakes with flipped bits, wrong lengths, or cut off (fault 24)",
        start: |scene| handshakes::run(scene).boxed(),
    },
    Attack {
        name: "oversize",
        what: "lengths that announce far too much, on every protocol (threat 31, fault 24)",
        start: |scene| oversize::run(scene).boxed(),
    },
    Attack {
        name: "yamux",
        what: "Yamux frames of every type, flag, length and stream; storms of those that are allowed (threat 30, fault 25)",
        start: |scene| yamux::run(scene).boxed(),
    },
    Attack {
        name: "streams",
        what: "opens thousands of streams and leaves them (threat 30)",
        start: |scene| streams::run(scene).boxed(),
    },
    Attack {
        name: "bodies",
        what: "Yamux frames of a megabyte, all but the last byte of each (threat 30)",
        start: |scene| bodies::run(scene).boxed(),
    },
];
