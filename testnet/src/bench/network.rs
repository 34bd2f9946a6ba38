//! The testnet as the bench's clients know it, and the accounts of one run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sotto_behaviours::network::WallClock;
use sotto_client::network::choice::Avoid;
use sotto_client::network::directory::Directory;
use sotto_client::network::fetch;
use sotto_proto::account::{Account, Entropy, test_seed};
use sotto_proto::chain::GenesisFile;
use sotto_proto::id::{ChainId, NodeId, SwarmId};

use crate::failure::{Context as _, Exit, Failure};
use crate::plan::Plan;

/// How long one node may take to tell the node list.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Swarms without which there is no path: no hop is in the sender's or in the recipient's.
const SWARMS_LEAST: usize = 3;

/// The genesis and the node list, fetched once for all clients.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) genesis: Arc<GenesisFile>,
    pub(crate) chain: ChainId,
    pub(crate) directory: Directory,
}

impl Network {
    /// Fetches the list from a bootstrap node and checks it, as a client does on its first launch.
    pub(crate) async fn fetch(plan: &Plan) -> Result<Self, Failure> {
        let genesis = genesis(plan)?;
        let list = fetch(&genesis, PATIENCE, |_| ()).await.map_err(|error| unusable(&error))?;
        let directory = Directory::first(list, WallClock::system().now()).map_err(|error| unusable(&error))?;
        let swarms = directory.swarms().len();
        if swarms < SWARMS_LEAST {
            let message = format!("{swarms} swarms are too few: no path leads past those of sender and recipient");
            return Err(
                Failure::new(Exit::Failed, message).hint("./testnet/up.sh -n 50    # about 21 nodes are enough")
            );
        }
        Ok(Self { chain: genesis.genesis.chain_id(), genesis: Arc::new(genesis), directory })
    }

    /// The ids of the swarms, ascending.
    pub(crate) fn swarms(&self) -> Vec<SwarmId> {
        self.directory.swarms().iter().map(|(swarm, _)| swarm).collect()
    }

    /// The members of a swarm.
    pub(crate) fn members(&self, swarm: SwarmId) -> Vec<NodeId> {
        self.directory.members(swarm).to_vec()
    }

    /// Hops must be in none of these swarms.
    pub(crate) fn avoid(swarms: impl IntoIterator<Item = SwarmId>) -> Avoid {
        Avoid { swarms: swarms.into_iter().collect(), nodes: BTreeSet::new() }
    }
}

/// The genesis file of a testnet.
fn genesis(plan: &Plan) -> Result<GenesisFile, Failure> {
    let path = plan.genesis();
    let json = std::fs::read_to_string(&path).context("read", path.display())?;
    GenesisFile::from_json(&json).map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))
}

fn unusable(error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Network, format!("no node list: {error}")).hint("sotto-testnet status    # are all nodes well?")
}

/// An account of the bench.
pub(crate) struct Person {
    pub(crate) entropy: Entropy,
    pub(crate) account: Account,
    /// Who keeps its mail.
    pub(crate) swarm: SwarmId,
}

/// The accounts of one run. Each run has its own, so that mailboxes are empty at its beginning.
pub(crate) struct People {
    /// Who sends, one for each client.
    pub(crate) senders: Vec<Person>,
    /// Who is written to; the first of them follow, the last one catches up.
    pub(crate) recipients: Vec<Person>,
    /// Who measures paths and echoes.
    pub(crate) probes: Vec<Person>,
}

impl People {
    /// The accounts that follow from `seed` in the run of this name, spread evenly over the swarms.
    pub(crate) fn new(network: &Network, seed: u64, run: &str, counts: [usize; 3]) -> Result<Self, Failure> {
        let [senders, recipients, probes] = counts;
        let swarms = network.swarms();
        let cast = |role: &str, count: usize| -> Result<Vec<Person>, Failure> {
            let wanted = swarms.iter().copied().cycle().take(count);
            let mut seeds = (0..).map(|index| test_seed(seed, &format!("bench {role} {run}"), index));
            wanted.map(|swarm| person_in(network, swarm, &mut seeds)).collect()
        };
        Ok(Self {
            senders: cast("sender", senders)?,
            recipients: cast("recipient", recipients)?,
            probes: cast("probe", probes)?,
        })
    }

    /// Recipients by swarm.
    pub(crate) fn recipients_of(&self) -> BTreeMap<SwarmId, Vec<&Person>> {
        let mut by_swarm: BTreeMap<SwarmId, Vec<&Person>> = BTreeMap::new();
        for person in &self.recipients {
            by_swarm.entry(person.swarm).or_default().push(person);
        }
        by_swarm
    }
}

/// The next account whose mail this swarm keeps.
pub(crate) fn person_in(
    network: &Network,
    swarm: SwarmId,
    seeds: &mut impl Iterator<Item = [u8; 32]>,
) -> Result<Person, Failure> {
    for seed in seeds {
        let mut bytes = [0; Entropy::LEN];
        bytes.copy_from_slice(&seed[..Entropy::LEN]);
        let entropy = Entropy::take(&mut bytes);
        let account = Account::new(&entropy);
        if network.directory.owner(&account.address()) == Some(swarm) {
            return Ok(Person { entropy, account, swarm });
        }
    }
    Err(Failure::new(Exit::Internal, format!("no account belongs to swarm {swarm}")))
}
