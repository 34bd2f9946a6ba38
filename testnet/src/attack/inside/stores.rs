//! Stores that are none: work that was not done, times that are over, records that are there already (F21).

use futures::FutureExt as _;
use rand_core::Rng as _;
use sotto_proto::address::{Address, AddressKind};
use sotto_proto::envelope::Record;
use sotto_proto::id::SwarmId;
use sotto_proto::limits::{ENVELOPE_DATA_SIZES, STREAMS_PER_PATH, TIMESTAMP_PAST_SECONDS};
use sotto_proto::pow::Nonce;
use sotto_proto::request::{Message as _, PublishOrder, SwarmRequest};
use sotto_proto::sign::Signature;
use sotto_proto::time::UnixSeconds;

use super::super::Attack;
use super::crowd::crowd;
use super::ground::{Ground, now};
use super::mail::Anchor;
use super::mutation::below;
use super::path::RawPath;
use super::talk::{Habit, Questions, talk};
use super::wire::Failed;

/// Clients that store.
const STORERS: usize = 16;
/// Questions in a tunnel before there is a new one.
const QUESTIONS: usize = 500;

pub(super) const FLOOD: Attack = Attack {
    name: "store-flood",
    what: "stores without work, with old stamps, repeated, for another swarm, unsigned (rows 22 to 24, F21)",
    start: |scene| crowd(scene, "store-flood", STORERS, |ground| flood(ground).boxed()).boxed(),
};

async fn flood(ground: &mut Ground) -> Result<(), Failed> {
    let mut bad = BadStores::new(ground).await?;
    let (victim, (_peer, mut path)) = (ground.victim(), RawPath::anew(ground, None).await?);
    let habit = Habit { tunnels: STREAMS_PER_PATH - 1, questions: QUESTIONS };
    talk(ground, &mut path, victim, habit, &mut bad).await
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// Its nonce is drawn.
    Work,
    /// Its time is over.
    Old,
    /// It is not yet time.
    Early,
    /// Its anchor is none.
    Anchor,
    /// It was stored before.
    Replayed,
    /// Another swarm's.
    Swarm,
    /// For a group, signed by nobody.
    Unsigned,
    /// Its bytes are cut off.
    Short,
}

const WRONGS: [Wrong; 8] = [
    Wrong::Work,
    Wrong::Old,
    Wrong::Early,
    Wrong::Anchor,
    Wrong::Replayed,
    Wrong::Swarm,
    Wrong::Unsigned,
    Wrong::Short,
];

/// Records that must not be stored, or not again.
struct BadStores {
    anchor: Anchor,
    own: Address,
    foreign: Option<Address>,
    /// One that is good.
    good: Vec<u8>,
}

impl BadStores {
    async fn new(ground: &mut Ground) -> Result<Self, Failed> {
        let anchor = Anchor::ask(ground).await?;
        let own = ground.account_in(ground.scene.victim.swarm)?.address();
        let foreign = other_swarm(ground).map(|swarm| ground.account_in(swarm)).transpose()?;
        let good = anchor.record(ground, own, smallest())?.encode();
        Ok(Self { anchor, own, foreign: foreign.map(|account| account.address()), good })
    }

    fn record(&self, ground: &mut Ground, wrong: Wrong) -> Result<Vec<u8>, Failed> {
        let mut address = self.own;
        let mut anchor = self.anchor;
        let mut time = now();
        let mut auth = None;
        match wrong {
            Wrong::Replayed => return Ok(self.good.clone()),
            Wrong::Short => {
                let length = below(&mut ground.rng, self.good.len());
                return Ok(self.good[..length].to_vec());
            }
            Wrong::Work => {}
            Wrong::Old => time = UnixSeconds(time.0.saturating_sub(10 * TIMESTAMP_PAST_SECONDS)),
            Wrong::Early => time = UnixSeconds(time.0.saturating_add(10 * TIMESTAMP_PAST_SECONDS)),
            Wrong::Anchor => anchor.height.0 = ground.rng.next_u64(),
            Wrong::Swarm => address = self.foreign.unwrap_or(address),
            Wrong::Unsigned => {
                address = Address::new(AddressKind::GroupEpoch, *address.key());
                auth = Some(Signature::new([7; 64]));
            }
        }
        let envelope = anchor.envelope(ground, address, time, smallest())?;
        if wrong == Wrong::Unsigned {
            // Signatures are looked at after the work.
            return Ok(anchor.stamped(ground, envelope, auth)?.encode());
        }
        let nonce = Nonce(ground.rng.next_u64());
        Ok(Record::new(envelope, nonce, auth).map_err(Failed::unmade)?.encode())
    }
}

impl Questions for BadStores {
    fn next(&mut self, ground: &mut Ground) -> Result<Vec<u8>, Failed> {
        let wrong = WRONGS[below(&mut ground.rng, WRONGS.len())];
        let record = self.record(ground, wrong)?;
        SwarmRequest::Store { record, publish_order: PublishOrder::First }.encode().map_err(Failed::unmade)
    }
}

/// Data of the smallest records: as many as possible in a second.
const fn smallest() -> usize {
    ENVELOPE_DATA_SIZES[0]
}

fn other_swarm(ground: &Ground) -> Option<SwarmId> {
    let victim = ground.scene.victim.swarm;
    ground.scene.network.swarms().into_iter().find(|swarm| *swarm != victim)
}
