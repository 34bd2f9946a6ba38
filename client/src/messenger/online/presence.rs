//! Introduction sets (M1): told to everybody who knows the account's id while it listens, if its owner wants that; and
//! looked up of others.
//!
//! The set goes the way of the listening that it tells of, so whoever sees it stored there learns nothing that it does not
//! say. Messages have another path.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::{self as tunnel, Tunnel};
use sotto_proto::address::Address;
use sotto_proto::content::Listening;
use sotto_proto::envelope::{Envelope, Record, Ttl};
use sotto_proto::id::NodeId;
use sotto_proto::limits::{LISTENING_SECONDS, PUBLIC_TTL_MAX_SECONDS, RETRIEVE_BYTES};
use sotto_proto::request::{Cursor, Read, Records, Retrieve, SignedRead, SwarmRequest};
use sotto_proto::time::{UnixMillis, UnixSeconds};
use tokio::time::{Instant, timeout, timeout_at};

use super::NODE_PATIENCE;
use crate::crypto::{Introduction, introduction_address};
use crate::messenger::asking::{MemberFailure, records_of};
use crate::messenger::expected::Expected;
use crate::messenger::terms::{NoTerms, Terms};
use crate::messenger::{Error, Messenger};
use crate::network::choice::Avoid;
use crate::network::paths::{Purpose, hop};
use crate::network::shuffle;
use crate::network::storing::{self, MemberError};
use crate::store::Switch;

/// Between two introduction sets: each lasts ten minutes.
const INTERVAL: Duration = Duration::from_secs(240);
/// After one could not be stored the next is tried this much later.
const AGAIN: Duration = Duration::from_secs(30);
/// How long it may keep this messenger from what comes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rounds of work: members may ask for more than the least.
const ROUNDS: usize = 2;
/// Members that are asked for somebody's set.
const ASKED: usize = 3;

impl Messenger {
    /// Tells everybody who knows the account's id where it listens, if that is wanted and due; or once that it does not.
    ///
    /// # Errors
    /// [`Error::Store`]; without the network it is tried again.
    pub(super) async fn keep_published(&mut self) -> Result<(), Error> {
        let is_on = self.account.read(|tx| tx.is_on(Switch::PublicPresence))?;
        let is_due = self.online.publish_at <= Instant::now() && (is_on || self.online.is_published);
        if !self.online.listens() || !is_due {
            return Ok(());
        }
        let published = timeout(PATIENCE, Box::pin(self.publish())).await;
        let next = match published {
            Ok(Ok(())) => {
                self.online.is_published = is_on;
                INTERVAL
            }
            Ok(Err(Error::Store(error))) => return Err(error.into()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the introduction set is not stored");
                AGAIN
            }
            Err(_) => AGAIN,
        };
        self.online.publish_at = Instant::now() + next;
        Ok(())
    }

    async fn publish(&mut self) -> Result<(), Error> {
        let (account, now) = (self.address(), self.clock.now().seconds());
        let places = self.account.read(|tx| tx.public_places(&account, now))?;
        // One without places takes back the one before it.
        let until = places.last().map_or(UnixSeconds(u64::MAX), |newest| newest.until);
        let places = places.into_iter().rev().map(|place| (place.node, place.tag));
        let set = Introduction::new(account, now, until, places);
        let ttl = u32::try_from(set.expires().0.saturating_sub(now.0)).unwrap_or(PUBLIC_TTL_MAX_SECONDS);
        let Some(ttl) = Ttl::new(ttl) else { return Ok(()) };
        let data = set.seal(self.account.account().signing_key(), &self.chain, &mut self.rng);
        self.store_public((introduction_address(&account, now), now), ttl, data).await
    }

    /// Stores a record that nobody signs for.
    async fn store_public(
        &mut self,
        (address, timestamp): (Address, UnixSeconds),
        ttl: Ttl,
        data: Vec<u8>,
    ) -> Result<(), Error> {
        let (members, avoid) = self.keepers_of(&address)?;
        let mut path = self.path_without(Purpose::Listen, &avoid).await?;
        let mut open = BTreeMap::new();
        let terms: Terms = match self.known_terms() {
            Some(terms) => terms,
            None => match self.terms((Purpose::Listen, &mut path), &avoid, &members, &mut open).await {
                Ok(terms) => terms,
                Err(NoTerms::Silent(error)) => return Err(error),
                Err(NoTerms::Unbelieved(error)) => return Err(error.into()),
            },
        };
        drop(open);
        let (nodes, chain) = (self.directory.nodes().clone(), self.chain);
        let mut difficulty = self.genesis.genesis.params.min_difficulty;
        let mut last = Error::NoOwner;
        for _ in 0..ROUNDS {
            let envelope = Envelope::new(address, timestamp, ttl, terms.anchor, data.clone());
            let envelope = envelope.map_err(|error| Error::Unsendable(error.to_string()))?;
            let expected = Expected { chain, address, id: envelope.id(&chain), expiry: envelope.expiry() };
            let (record, _) = self.work(envelope, &terms, difficulty, &mut |_| ()).await?;
            let bytes = record.encode();
            let store = |node, publish_order| {
                let request = SwarmRequest::Store { record: bytes.clone(), publish_order };
                let (to, expected, path) = (hop(&nodes, &node), &expected, &path);
                async move {
                    let to = to.ok_or(MemberError::Nonsense("not in the list"))?;
                    let connected = Tunnel::connect(path, to, Some(request)).await;
                    let (_, answer) = connected.map_err(|error| MemberError::Unreachable(error.to_string()))?;
                    expected.receipt(node, answer.ok_or(MemberError::Nonsense("not an answer to a store"))?)
                }
            };
            match storing::store(&members, PATIENCE, store, |_, _| ()).await {
                Ok(_) => return Ok(()),
                Err(error @ storing::StoreError::Work { difficulty: wanted }) => {
                    difficulty = difficulty.max(u64::from(wanted));
                    last = error.into();
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(last)
    }

    /// Where somebody says publicly that it can be reached online now; `None` if it says nothing.
    ///
    /// # Errors
    /// [`Error`] if nobody tells anything.
    pub async fn presence(&mut self, account: &Address) -> Result<Option<Introduction>, Error> {
        self.refresh_if_needed().await?;
        let now = self.clock.now().seconds();
        // Just after midnight the newest may be of the day before.
        let before = UnixSeconds(now.0.saturating_sub(PUBLIC_TTL_MAX_SECONDS.into()));
        let days: BTreeMap<_, _> = [before, now].map(|at| (introduction_address(account, at), at)).into();
        // Of two of one second that which takes back the other.
        let rank = |set: &Introduction| (set.issued(), set.places().is_empty());
        let mut newest: Option<Introduction> = None;
        for (address, at) in days {
            for data in self.public_records(&address).await? {
                match Introduction::open(&data, account, &self.chain, at, now) {
                    Ok(set) if newest.as_ref().is_none_or(|newest| rank(newest) < rank(&set)) => newest = Some(set),
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "no introduction set"),
                }
            }
        }
        Ok(newest.filter(|set| !set.places().is_empty()))
    }

    /// Notes where a contact says publicly that it listens, if it does.
    pub(super) async fn learn_place(&mut self, account: &Address) -> Result<(), Error> {
        let Some(set) = self.presence(account).await? else { return Ok(()) };
        let latest = self.clock.now().seconds().0.saturating_add(LISTENING_SECONDS);
        let until = UnixSeconds(set.expires().0.min(latest));
        let known = set.places().iter().find(|(node, _)| self.directory.nodes().contains_key(node));
        let Some((node, tag)) = known.copied() else { return Ok(()) };
        let said = UnixMillis(set.issued().0.saturating_mul(1000));
        self.account.change(|tx, _| tx.set_place(account, said, &Listening::At { node, tag, until }))?;
        Ok(())
    }

    /// What lies at a public address: the data of each record that any of three members tells.
    async fn public_records(&mut self, address: &Address) -> Result<BTreeSet<Vec<u8>>, Error> {
        let (members, avoid) = self.keepers_of(address)?;
        let path = self.path_without(Purpose::Other, &avoid).await?;
        let time = self.clock.now().seconds();
        let hops = members.iter().filter_map(|node| hop(self.directory.nodes(), node)).take(ASKED);
        let mut pending: FuturesUnordered<_> = hops.map(|to| read(&path, to, *address, time)).collect();
        let (asked, deadline) = (pending.len(), Instant::now() + NODE_PATIENCE);
        let (mut found, mut told, mut last) = (BTreeSet::new(), 0, String::from("nothing came in time"));
        while let Ok(Some(answer)) = timeout_at(deadline, pending.next()).await {
            match answer {
                Ok(records) => {
                    told += 1;
                    let records = records.records.iter().filter_map(|stored| Record::decode(&stored.record).ok());
                    let here = records.filter(|record| record.envelope().address() == *address);
                    found.extend(here.map(|record| record.envelope().data().to_vec()));
                }
                Err(failure) => last = failure.to_string(),
            }
        }
        if told == 0 { Err(Error::NoAnswer { asked, last }) } else { Ok(found) }
    }

    /// Those who keep what lies at an address, in random order, and who may not be a hop of the path to them.
    fn keepers_of(&mut self, address: &Address) -> Result<(Vec<NodeId>, Avoid), Error> {
        let swarm = self.directory.owner(address).ok_or(Error::NoOwner)?;
        let avoid = self.avoid([swarm])?;
        let mut members = self.directory.members(swarm).to_vec();
        shuffle(&mut self.rng, &mut members);
        Ok((self.slow_last(members), avoid))
    }
}

async fn read(path: &Path, to: HopInfo, address: Address, time: UnixSeconds) -> Result<Records, MemberFailure> {
    let read = Read { node: to.node, address, time, cursor: Cursor::default(), max_bytes: RETRIEVE_BYTES };
    let question = SignedRead::<Retrieve>::public(read).map_err(|_| MemberFailure::Nonsense)?;
    let connected: Result<_, tunnel::Error> = Tunnel::connect(path, to, Some(SwarmRequest::Retrieve(question))).await;
    let (_, answer) = connected?;
    records_of(answer.ok_or(MemberFailure::Nonsense)?)
}
