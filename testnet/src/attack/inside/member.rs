//! A member of the victim's swarm that turns against it.
//!
//! Its process is stopped first and goes on afterwards; meanwhile the attack has its key, and speaks gossip, repair and
//! hand-over by hand. Its first connection ends that of the stopped process, because the victim takes it for one that
//! was restarted.

mod gossip;
mod repair;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use libp2p::identity::Keypair;

use self::gossip::{control, records};
use self::repair::repair;
use super::super::{Attack, Scene};
use super::ground::Ground;
use super::peer::Peer;
use super::wire::Failed;

/// Where a node keeps its key, below its directory: 64 hex digits.
const KEY: &str = "keys/node.key";
/// Between two connections: a member that is kept out is refused at once.
const PAUSE: Duration = Duration::from_millis(200);

pub(super) const CONTROL: Attack = Attack {
    name: "member-control",
    what: "a member floods with subscriptions, GRAFT, PRUNE, IHAVE and IWANT, and with frames too long (row 33)",
    start: |scene| Box::pin(turned(scene, 0, control)),
};

pub(super) const RECORDS: Attack = Attack {
    name: "member-records",
    what: "a member publishes records without work, repeated, on foreign topics, and no records (rows 18, 19, 23, 33)",
    start: |scene| Box::pin(turned(scene, 1, records)),
};

pub(super) const REPAIR: Attack = Attack {
    name: "member-repair",
    what: "a member repairs with nonsense, gives junk and hands over what nobody wants (row 14)",
    start: |scene| Box::pin(turned(scene, 2, repair)),
};

/// A member's identity with the ground it stands on.
pub(super) struct Member {
    pub(super) ground: Ground,
    identity: Keypair,
}

impl Member {
    /// A connection with the victim, which takes it for the member that it was.
    pub(super) async fn connect(&self) -> Result<Peer, Failed> {
        let names = &self.ground.names;
        let spoken = [names.chain_gossip(), names.swarm_gossip(), names.chain(), names.status(), names.repair()];
        let victim = &self.ground.scene.victim;
        Peer::connect(&self.ground.scene, self.ground.index, &self.identity, (victim.node, victim.listen), &spoken)
            .await
    }
}

/// Stops a member, lets the attack have its key until the scene stops, and lets it go on.
async fn turned<F, A>(scene: Arc<Scene>, which: usize, attack: A) -> Result<(), String>
where
    A: Fn(Member) -> F + Send,
    F: Future<Output = (Member, Result<(), Failed>)> + Send,
{
    let (index, identity) = member(&scene, which).map_err(|error| error.to_string())?;
    scene.paused.pause(&scene.dir, index).await.map_err(|error| error.to_string())?;
    let mut member = Member { ground: Ground::new(&scene, "member", which), identity };
    let rounds = async {
        loop {
            let (back, ended) = attack(member).await;
            member = back;
            match ended {
                Err(error @ Failed::Unmade(_)) => return error.to_string(),
                Err(_) => scene.tally.refused(),
                Ok(()) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let defect = scene.stop.run_until_cancelled(rounds).await;
    scene.paused.resume(&scene.dir).await.map_err(|error| error.to_string())?;
    defect.map_or(Ok(()), Err)
}

/// One of the other members of the victim's swarm: its number and its key. Each attack has another one, because a key
/// that was banned stays so for minutes.
fn member(scene: &Scene, which: usize) -> io::Result<(u16, Keypair)> {
    let fellows = scene.victim.fellows(&scene.plan, &scene.network);
    let one = fellows.get(which % fellows.len().max(1));
    let (index, node) = *one.ok_or_else(|| io::Error::other("the victim is alone in its swarm"))?;
    let seed = seed(&fs::read_to_string(scene.plan.node(index).datadir.join(KEY))?)?;
    let identity = Keypair::ed25519_from_bytes(seed).map_err(io::Error::other)?;
    if sotto_behaviours::peer::peer_id(&node) != identity.public().to_peer_id() {
        return Err(io::Error::other(format!("node{index:02} has another key than the chain says")));
    }
    Ok((index, identity))
}

/// 64 hex digits, with white space around them.
fn seed(text: &str) -> io::Result<[u8; 32]> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, "not 64 hex digits");
    let (pairs, rest) = text.trim().as_bytes().as_chunks::<2>();
    let mut seed = [0; 32];
    if pairs.len() != seed.len() || !rest.is_empty() {
        return Err(wrong());
    }
    for (byte, pair) in seed.iter_mut().zip(pairs) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_read_and_anything_else_refused() {
        let digits = "00ff".repeat(16);
        let seed_of = seed(&format!("{digits}\n")).unwrap();
        assert_eq!(seed_of[..4], [0, 0xff, 0, 0xff]);
        for wrong in ["", "00ff", &"0g".repeat(32), &digits[1..], &format!("{digits}00")] {
            assert!(seed(wrong).is_err(), "{wrong:?}");
        }
    }
}
