//! Building a path while somebody changes frames on its links: a hop opens what the client made for it and nothing
//! else, and the client learns from the outermost change who could not go on.

use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::build::{ArrivedBuild, ClientBuild, ClientKeys, HopKeys, HopSecrets, OpenedBuild};
use sotto_proto::cell::{Frame, Minute, Position, Status};
use sotto_proto::limits::{FRAME, HOPS};

use crate::fixtures::{CHAIN, node, rng, secret};
use crate::input::Input;

pub(crate) const MINUTE: Minute = Minute(29_500_000);

fn info(position: Position) -> HopInfo {
    HopInfo { node: node(position.number()), x25519: secret(position.number()).public() }
}

fn client() -> (Frame, ClientBuild) {
    ClientBuild::new(&CHAIN, &Position::ALL.map(info), MINUTE, &mut rng(1)).expect("good keys")
}

/// What a hop that was asked to take `frame` makes of it.
fn open(position: Position, frame: &Frame) -> Option<OpenedBuild> {
    let secrets = HopSecrets::new([secret(position.number())]);
    let arrived = ArrivedBuild::read(&secrets, frame).ok()?;
    let candidates = Position::candidates(position != Position::Guard);
    arrived.open(&CHAIN, &info(position).node, candidates).ok()
}

/// Changes a frame on its link; whether it is another one in its meaningful bytes.
fn change(input: &mut Input<'_>, frame: &Frame, meaningful: usize) -> (Frame, bool) {
    let mut bytes = frame.as_bytes().to_vec();
    input.edit(&mut bytes);
    bytes.resize(FRAME, 0);
    let changed = bytes[..meaningful] != frame.as_bytes()[..meaningful];
    (Frame::new(&bytes).expect("a frame's length"), changed)
}

/// The path without anybody in between, as its two sides hold it.
pub(crate) fn path() -> (ClientKeys, [HopKeys; HOPS]) {
    let (frame, client) = client();
    let (mut next, mut opened) = (frame, Vec::new());
    for position in Position::ALL {
        let build = open(position, &next).expect("an honest build");
        next = build.inner_frame().cloned().unwrap_or_else(Frame::zeroed);
        opened.push(build);
    }
    let (mut inner, mut keys) = (None::<Frame>, Vec::new());
    for (number, build) in (2..).zip(opened.into_iter().rev()) {
        let (reply, hop) = build.reply(Status::Built, MINUTE, inner.as_ref(), &mut rng(number)).expect("a reply");
        inner = Some(reply);
        keys.push(hop.expect("a hop of a path that is built"));
    }
    keys.reverse();
    let keys = keys.try_into().expect("three hops");
    (client.finish(&inner.expect("the guard's reply")).expect("honest replies"), keys)
}

pub(crate) fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let (frame, client) = client();
    let (mut next, mut opened) = (frame, Vec::new());
    for position in Position::ALL {
        let (frame, changed) = change(&mut input, &next, position.build_len());
        let build = open(position, &frame);
        assert_eq!(build.is_none(), changed, "{position}: a changed build opens, or a good one does not");
        let Some(build) = build else { return };
        assert_eq!((build.position(), build.minute(), build.refusal(MINUTE)), (position, MINUTE, None));
        assert_eq!(build.next(), position.next().map(|next| info(next).node));
        next = build.inner_frame().cloned().unwrap_or_else(Frame::zeroed);
        opened.push(build);
    }
    // The exit replies first. `blamed` is what the client must find: the outermost thing that went wrong.
    let (mut inner, mut blamed) = (None::<Frame>, None);
    for (position, build) in Position::ALL.into_iter().zip(opened).rev() {
        let status = Status::from_byte(input.u8() % 16).unwrap_or(Status::Built);
        let (reply, keys) = build.reply(status, MINUTE, inner.as_ref(), &mut rng(9)).expect("a reply");
        assert_eq!(keys.is_some(), status == Status::Built);
        if status != Status::Built {
            blamed = Some((position, Some(status)));
        }
        let (reply, changed) = change(&mut input, &reply, position.reply_len());
        if changed {
            blamed = Some((position, None));
        }
        inner = Some(reply);
    }
    let finished = client.finish(&inner.expect("the guard's reply"));
    let failure = finished.err().map(|failure| (failure.position, failure.status));
    assert_eq!(failure, blamed, "the client blames somebody else");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let untouched = [0; 4];
    let built = [0; 5];
    let whole = [untouched, untouched, untouched].concat();
    let with = |change: [u8; 4]| [&untouched[..], &untouched, &change].concat();
    vec![
        [&whole[..], &built, &built, &built].concat(),
        [&whole[..], &built, &[4, 0, 0, 0, 0], &built].concat(),
        [&whole[..], &[0, 1, 0, 60, 1], &built, &built].concat(),
        [&whole[..], &built, &[0, 1, 0, 7, 1], &[0, 1, 7, 0xff, 1]].concat(),
        with([1, 0, 8, 1]),
        with([1, 7, 0xff, 1]),
        vec![1, 7, 0xf0, 1, 1, 0, 40, 1],
    ]
}
