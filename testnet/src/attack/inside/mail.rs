//! Records of the attack's own: what work is anchored at, records that are good, and a mailbox full of them.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use rand_core::Rng as _;
use sotto_proto::account::Account;
use sotto_proto::address::Address;
use sotto_proto::envelope::{Envelope, Record, Ttl};
use sotto_proto::id::{BlockHash, Height};
use sotto_proto::limits::{ENVELOPE_DATA_SIZES, RETRIEVE_BYTES};
use sotto_proto::pow::{self, Difficulty, Nonce, Search, Work};
use sotto_proto::request::{
    Cursor, ListRequest, ListResponse, Message as _, PublishOrder, Read, SignedRead, SwarmRequest, SwarmResponse,
};
use sotto_proto::sign::Signature;
use sotto_proto::time::UnixSeconds;

use super::ground::{Ground, now};
use super::mutation;
use super::path::RawPath;
use super::talk::ask;
use super::wire::Failed;

/// Mailboxes of the attackers: what a node grants the readers of one is granted each of them.
const MAILBOXES: usize = 8;
/// Records of a mailbox: together a page of the largest size.
const RECORDS: usize = 64;
/// Data of each.
const DATA: usize = ENVELOPE_DATA_SIZES[3];
/// How long others wait while it is filled.
const FILLING: Duration = Duration::from_secs(2);
/// How long they live: longer than an attack, and gone soon after.
const TTL: u32 = 600;

/// What nodes take work at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    pub(super) height: Height,
    /// The last final block when it was asked for.
    pub(super) last_final: Height,
    hash: BlockHash,
    difficulty: Difficulty,
}

impl Anchor {
    /// Asks the victim, through a path.
    pub(super) async fn ask(ground: &mut Ground) -> Result<Self, Failed> {
        let (_peer, mut path) = RawPath::anew(ground, None).await?;
        let params = ground.scene.network.genesis.genesis.params.clone();
        let difficulty = u32::try_from(params.min_difficulty).ok().and_then(Difficulty::new);
        let difficulty = difficulty.ok_or_else(|| Failed::unmade("no such difficulty"))?;
        let (victim, chain) = (ground.victim(), *ground.chain());
        let info = ask(ground, &mut path, victim, [SwarmRequest::List(ListRequest::Info)]).await?;
        let Some(SwarmResponse::List(ListResponse::Info(info))) = info.first() else { return Err(says_nothing()) };
        let last_final = info.final_height;
        let height = pow::anchor(last_final, params.epoch_blocks);
        if height == Height::ZERO {
            return Ok(Self { height, last_final, hash: chain.into(), difficulty });
        }
        let header = SwarmRequest::List(ListRequest::Headers { from: height, count: 1 });
        let headers = ask(ground, &mut path, victim, [header]).await?;
        let Some(SwarmResponse::List(ListResponse::Headers(headers))) = headers.first() else {
            return Err(says_nothing());
        };
        let header = headers.first().filter(|header| header.header.height == height).ok_or_else(says_nothing)?;
        Ok(Self { height, last_final, hash: header.hash(&chain), difficulty })
    }

    /// A record of drawn data with work that is good.
    pub(super) fn record(&self, ground: &mut Ground, address: Address, data: usize) -> Result<Record, Failed> {
        let envelope = self.envelope(ground, address, now(), data)?;
        self.stamped(ground, envelope, None)
    }

    /// The envelope with work that is good.
    pub(super) fn stamped(
        &self,
        ground: &mut Ground,
        envelope: Envelope,
        auth: Option<Signature>,
    ) -> Result<Record, Failed> {
        let start = Nonce(ground.rng.next_u64());
        let work = Work::new(&envelope, &self.hash);
        let nonce = work.prove_on(NonZeroUsize::MIN, self.difficulty, start, &Search::new());
        Record::new(envelope, nonce.map_err(Failed::unmade)?, auth).map_err(Failed::unmade)
    }

    /// An envelope of drawn data.
    pub(super) fn envelope(
        &self,
        ground: &mut Ground,
        address: Address,
        timestamp: UnixSeconds,
        data: usize,
    ) -> Result<Envelope, Failed> {
        let ttl = Ttl::new(TTL).ok_or_else(|| Failed::unmade("no such time"))?;
        let data = mutation::bytes(&mut ground.rng, data);
        Envelope::new(address, timestamp, ttl, self.height, data).map_err(Failed::unmade)
    }
}

fn says_nothing() -> Failed {
    Failed::Path("the victim says nothing of its chain".to_owned())
}

/// A mailbox in the victim's swarm with enough in it that a page of it is long.
pub(super) struct Mailbox {
    account: Account,
}

impl Mailbox {
    /// The one that an attacker reads. The first of those who share it fills it in its first round.
    pub(super) async fn of(ground: &mut Ground) -> Result<Arc<Self>, Failed> {
        if let Some(mailbox) = &ground.mailbox {
            return Ok(Arc::clone(mailbox));
        }
        let mut drawn = Ground::new(&ground.scene, "mailbox", ground.index % MAILBOXES);
        let account = drawn.account_in(ground.scene.victim.swarm)?;
        if ground.index >= MAILBOXES {
            // A page may be short for the first of them.
            tokio::time::sleep(FILLING).await;
            let mailbox = Arc::new(Self { account });
            ground.mailbox = Some(Arc::clone(&mailbox));
            return Ok(mailbox);
        }
        let anchor = Anchor::ask(ground).await?;
        let stores = (0..RECORDS)
            .map(|_| {
                let record = anchor.record(ground, account.address(), DATA)?.encode();
                Ok(SwarmRequest::Store { record, publish_order: PublishOrder::First })
            })
            .collect::<Result<Vec<_>, Failed>>()?;
        let (victim, (_peer, mut path)) = (ground.victim(), RawPath::anew(ground, None).await?);
        let answers = ask(ground, &mut path, victim, stores).await?;
        if !answers.iter().any(|answer| matches!(answer, SwarmResponse::Stored { .. })) {
            return Err(Failed::Path("the victim stores nothing".to_owned()));
        }
        let mailbox = Arc::new(Self { account });
        ground.mailbox = Some(Arc::clone(&mailbox));
        Ok(mailbox)
    }

    /// A question for all of it.
    pub(super) fn page(&self, ground: &Ground) -> Result<Vec<u8>, Failed> {
        let signed = SignedRead::sign(self.read(ground), self.account.signing_key(), ground.chain());
        SwarmRequest::Retrieve(signed).encode().map_err(Failed::unmade)
    }

    /// A question for all of it, and for what comes later.
    pub(super) fn subscription(&self, ground: &Ground) -> Result<Vec<u8>, Failed> {
        let signed = SignedRead::sign(self.read(ground), self.account.signing_key(), ground.chain());
        SwarmRequest::Subscribe(signed).encode().map_err(Failed::unmade)
    }

    fn read(&self, ground: &Ground) -> Read {
        Read {
            node: ground.scene.victim.node,
            address: self.account.address(),
            time: now(),
            cursor: Cursor::default(),
            max_bytes: RETRIEVE_BYTES,
        }
    }
}
