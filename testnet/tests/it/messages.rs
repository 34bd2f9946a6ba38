//! Messages on a real network of thirty nodes in three swarms or more: they arrive exactly once, whoever dies.

mod attack;
mod bench;
mod chaos;
mod conversations;
mod crashes;
mod daemon;
mod delivery;
mod following;
mod guards;
mod hops;
mod members;
mod secrets;
pub(crate) mod session;
mod steps;

use crate::harness::{Figure, Harness};
use crate::testnet::Testnet;

const PORTS: u16 = 24_000;
const NODES: u16 = 30;

type Check = (&'static str, fn(&Testnet) -> Figure);

/// In this order, on one testnet.
const CHECKS: &[Check] = &[
    ("messages between users arrive exactly once", delivery::verify),
    ("a follower has a message at once", following::at_once),
    ("a short bench has figures of everything, and every member holds what was stored", bench::short),
    ("a member that begins with nothing has what its swarm has, by the bench of recovery", bench::recovery),
    ("twenty messages to offline accounts survive the death of two members of each swarm", delivery::twenty),
    ("a node that was down has what it missed", members::missed),
    ("a node that lost its database has all records of its swarm again", members::wiped),
    ("a frozen member costs a sender nothing", members::frozen),
    ("twenty messages arrive past a fifth of the hops that is silent", delivery::silent_hops),
    ("a message that cannot be stored waits and is sent later", delivery::outbox),
    ("a message is sent exactly once though its sender was killed at any step", crashes::sending),
    ("messages are shown though the receiver was killed after each", crashes::receiving),
    ("a path can be shown and tested", guards::path),
    ("another guard stands in for one that is dead", guards::dead),
    ("another guard stands in for one that is silent", guards::silent),
    ("a hop that stands still costs a message half a second, not its patience", hops::frozen),
    ("a follower goes on after the whole network was silent", following::network_frozen),
    ("a follower goes on after its machine slept", following::asleep),
    ("a follower goes on after every node was killed and restarted", following::network_restarted),
    ("after all this the members of each swarm have the same records", members::alike),
    ("faults that are applied by hand are listed and cleared", chaos::cleared),
    ("contents, passphrases and ids are nowhere they do not belong", secrets::kept),
    ("no process dies of a short attack of every kind, and none takes much memory", attack::short),
    ("an attack that is interrupted leaves no attackers, and nobody stopped", attack::interrupted),
    ("the commands about messages in the banner work when pasted", delivery::pasted),
    // Behind the attacks: what "unread-tunnels" takes grows with the mail that the victim has.
    ("two that ask and accept each other talk in sessions, and each message is shown once", conversations::talk),
    ("two that have asked each other are contacts without accepting", conversations::crossing),
    ("who declines, blocks, renames and forgets is told what became of it", conversations::refused),
    ("whatever is typed while the daemon has the account is done by the daemon", daemon::serves),
    ("a daemon that is killed loses nothing and doubles nothing", daemon::killed),
    ("whoever wants that is seen to be online by all who know the id", daemon::presence),
    ("a bot in Python answers, through the daemon and without one", daemon::python),
    ("programs are served over HTTP, by a hook and by a command", daemon::programs_of_others),
    ("no message is lost while nodes die, stand still, lose their databases, are cut off", chaos::slice),
];

pub(crate) fn run(harness: &mut Harness) {
    const UP: &str = "up shows three messages arrive, one of them past two dead nodes";
    const AGAIN: &str = "a testnet that goes on where it was stopped shows the messages again";
    let mut names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    names.extend([UP, AGAIN]);
    if !harness.wants(&names) {
        return;
    }
    let testnet = harness.setup(UP, || {
        let dir = tempfile::tempdir().unwrap();
        let options = ["-n", &NODES.to_string(), "--port-base", &PORTS.to_string()];
        let testnet = Testnet::start_in(dir, &options);
        let users = testnet.json("user list")["users"].as_array().unwrap().len();
        assert_eq!(users, 2, "the demo's");
        let figure = Figure(format!("after {:.1} s", testnet.ready.as_secs_f64()));
        (testnet, figure)
    });
    let Some(testnet) = testnet else {
        for name in names.iter().filter(|name| **name != UP) {
            harness.skip_as_failed(name, "no testnet");
        }
        return;
    };
    for (name, check) in CHECKS {
        harness.check(name, || check(&testnet));
    }
    harness.check(AGAIN, || shown_again(testnet));
}

/// `up` fails when one of its messages does not arrive. The first second after a start is the hardest: links between
/// the nodes are still being made, and there is unread mail.
fn shown_again(testnet: Testnet) -> Figure {
    steps::send(&testnet, "alice", "bob", "unread").ok();
    let (dir, code) = testnet.end_with("INT");
    assert_eq!(code, Some(0));
    let testnet = Testnet::start_in(dir, &[]);
    let ready = testnet.ready;
    // Those that the last message was sent past are back.
    testnet.run("wait --until ready --timeout 60s").ok();
    assert_eq!(testnet.end_with("INT").1, Some(0));
    Figure(format!("after {:.1} s", ready.as_secs_f64()))
}
