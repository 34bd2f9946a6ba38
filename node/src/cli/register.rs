//! `sotto-node register` and `exit`: what the operator key signs. The transaction goes through the running node.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use sotto_proto::chain::{Payload, Transaction, TxBody};
use sotto_proto::id::{Amount, ChainId, NodeId, PublicKey};
use sotto_proto::sign::SigningKey;

use super::{ANSWER, CliError, Context, Exit, NodeSettings, init, running, status};
use crate::admin::client;
use crate::keys::{KeyDirectory, KeyError, Seed, Slot};
use crate::run::addresses;

/// How long to wait until the chain shows the change.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// A node that is up this long has asked whom it could for the time.
const CLOCK_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node register
  sotto-node register --stake 15000 --announce /ip4/203.0.113.7/tcp/22020
  sotto-node register --operator-key /media/stick/operator.key --dry-run

Needs a running node that has the chain, and a clock within a minute of the other nodes'. The stake leaves the operator's balance and is locked while the node is
registered, and for the lock-up after it leaves.")]
pub(super) struct Register {
    /// The operator's key file, where it is not in the data directory
    #[arg(long, value_name = "FILE")]
    operator_key: Option<PathBuf>,
    /// Show the transaction; send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    settings: NodeSettings,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node exit --dry-run
  sotto-node exit --yes

The node leaves its swarm, hands its records over and goes on serving until they have new owners: keep it running until
`sotto-node status` says that the stake is free. Before, `sotto-node drain` sees to it that nothing is kept here alone.")]
pub(super) struct ExitVerb {
    /// The operator's key file, where it is not in the data directory
    #[arg(long, value_name = "FILE")]
    operator_key: Option<PathBuf>,
    /// Show the transaction; send nothing
    #[arg(long)]
    dry_run: bool,
}

/// The operator with what the chain says of it.
struct Operator {
    key: SigningKey,
    balance: Amount,
    nonce: u64,
}

impl Register {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        let config = context.config(&self.settings)?;
        let genesis = context.genesis(&config)?.genesis;
        let standing = status::fetch(&context.datadir, ANSWER)?;
        if standing.state != "unregistered" {
            let message = format!("the node is {} already", standing.state);
            return Err(CliError::new(Exit::Conflict, "registered", message));
        }
        let addresses = addresses(&config);
        if addresses.is_empty() {
            let error = CliError::new(Exit::Failed, "no_address", "there is no address to register");
            return Err(error.hint("--announce /ip4/203.0.113.7/tcp/22020"));
        }
        let operator = Operator::load(context, self.operator_key.as_deref())?;
        let stake = config.stake.unwrap_or(Amount(genesis.params.stake));
        if operator.balance < stake {
            let message =
                format!("operator {} has {} coins, the stake is {stake}", operator.key.public(), operator.balance);
            return Err(CliError::new(Exit::Conflict, "coins", message));
        }
        let keys = KeyDirectory::of(&context.datadir);
        let node = keys.read(Slot::Node)?.signing_key();
        let x25519 = keys.read(Slot::X25519)?.x25519().public();
        let payload = Payload::Register { node: node.node_id(), x25519, stake, region: config.region, addresses };
        if !self.dry_run {
            check_clock(&context.datadir)?;
        }
        let transaction = operator.sign(payload, Some(&node), &genesis.chain_id());
        let what = format!("stake {stake} coins of {} for node {}", operator.key.public(), node.node_id());
        Change { what: &what, transaction, chain: genesis.chain_id(), until: "unregistered" }
            .make(context, self.dry_run)
    }
}

impl ExitVerb {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        let standing = status::fetch(&context.datadir, ANSWER)?;
        let state = standing.state;
        if state != "active" && state != "decommissioned" {
            return Err(CliError::new(Exit::Conflict, "state", format!("the node is {state}")));
        }
        let node: NodeId = parse(&standing.node, "node")?;
        let chain: ChainId = parse(&standing.chain, "chain")?;
        let operator = Operator::load(context, self.operator_key.as_deref())?;
        let what = format!("take node {node} out of the network; its stake is locked until the lock-up is over");
        if !self.dry_run {
            confirm(context, &what)?;
        }
        let transaction = operator.sign(Payload::RequestExit { node }, None, &chain);
        Change { what: &what, transaction, chain, until: &state }.make(context, self.dry_run)
    }
}

impl Operator {
    fn load(context: &Context, file: Option<&Path>) -> Result<Self, CliError> {
        let seed = match file {
            Some(path) => read_key(path)?,
            None => KeyDirectory::of(&context.datadir).read(Slot::Operator).map_err(|error| match error {
                KeyError::Missing(_) => CliError::from(error).hint("name the operator's key: --operator-key FILE"),
                error => error.into(),
            })?,
        };
        let key = seed.signing_key();
        let (balance, nonce) = account(&context.datadir, &key.public())?;
        Ok(Self { key, balance, nonce })
    }

    fn sign(&self, payload: Payload, node: Option<&SigningKey>, chain: &ChainId) -> Transaction {
        let body = TxBody { signer: self.key.public(), nonce: self.nonce, fee: Amount(0), payload };
        Transaction::sign(body, &self.key, node, chain)
    }
}

/// Refuses if the node's clock is off: it would stake, and then serve nobody.
fn check_clock(datadir: &Path) -> Result<(), CliError> {
    loop {
        let standing = status::fetch(datadir, ANSWER)?;
        if let Some(problem) = standing.problems.into_iter().find(|problem| problem.code == "clock") {
            return Err(CliError::new(Exit::Failed, "clock", problem.text).hint(problem.advice));
        }
        // Where fewer than three others are connected the clock stays unknown, and nobody is to be waited for.
        if standing.clock_offset_ms.is_some() || Duration::from_millis(standing.uptime_ms) >= CLOCK_PATIENCE {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Reads a key file outside the data directory, under the same rules.
fn read_key(path: &Path) -> Result<Seed, CliError> {
    let metadata = std::fs::metadata(path).map_err(|error| CliError::io("read", path, &error))?;
    crate::keys::closed_to_others(path, &metadata)?;
    let text = zeroize::Zeroizing::new(init::read_bounded(path, 128, "key")?);
    Seed::from_hex(text.as_bytes()).ok_or_else(|| KeyError::NotAKey(path.to_owned()).into())
}

/// Balance and nonce of an account, as the running node knows them.
pub(super) fn account(datadir: &Path, key: &PublicKey) -> Result<(Amount, u64), CliError> {
    let answer = client::ask(datadir, "GET", &format!("/account/{key}"), "", ANSWER)?;
    let document = running::answered(&answer)?;
    let balance = document["balance"].as_str().and_then(|text| text.parse().ok());
    balance
        .zip(document["nonce"].as_u64())
        .ok_or_else(|| CliError::new(Exit::Network, "answer", "the node's answer is not understood"))
}

/// A transaction, and how to see that it took effect.
struct Change<'a> {
    what: &'a str,
    transaction: Transaction,
    chain: ChainId,
    /// The node's state until then.
    until: &'a str,
}

impl Change<'_> {
    fn make(self, context: &Context, dry_run: bool) -> Result<Exit, CliError> {
        let wire = hex::encode(self.transaction.encode());
        let id = self.transaction.id(&self.chain).to_string();
        let mut document = serde_json::json!({
            "v": 1, "type": "node.transaction", "txid": id, "kind": self.transaction.body.payload.name(),
            "transaction": wire, "sent": false,
        });
        if dry_run {
            context.out.result(&document, &format!("would {}\n\ntransaction {id}\n{wire}\n", self.what))?;
            return Ok(Exit::Done);
        }
        let patience = context.timeout.unwrap_or(PATIENCE);
        running::answered(&client::ask(&context.datadir, "POST", "/tx", &wire, patience)?)?;
        context.out.say(&format!("sent transaction {id}; waiting for its block"));
        let state = self.wait(context)?;
        document["sent"] = true.into();
        document["state"] = state.clone().into();
        context.out.result(&document, &format!("done: the node is {state}"))?;
        Ok(Exit::Done)
    }

    /// The node's state once it is another.
    fn wait(&self, context: &Context) -> Result<String, CliError> {
        let (start, patience) = (Instant::now(), context.timeout.unwrap_or(PATIENCE));
        loop {
            let state = status::fetch(&context.datadir, ANSWER)?.state;
            if state != self.until {
                return Ok(state);
            }
            if start.elapsed() >= patience {
                let message = format!("sent, but not on the chain after {} s", patience.as_secs());
                return Err(CliError::new(Exit::NotReady, "not_seen", message).hint("sotto-node status"));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn parse<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, CliError> {
    text.parse()
        .map_err(|_| CliError::new(Exit::NotReady, "not_ready", format!("the node does not know its {what} yet")))
}

/// Asks, unless `--yes` has answered.
fn confirm(context: &Context, what: &str) -> Result<(), CliError> {
    use std::io::IsTerminal as _;
    if context.assume_yes {
        return Ok(());
    }
    let refused = CliError::new(Exit::Failed, "not_confirmed", "not confirmed, nothing was done").hint("--yes");
    if context.no_input || !std::io::stdin().is_terminal() {
        return Err(refused);
    }
    context.out.say(&format!("This will {what}.\nType exit to go on:"));
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line) {
        Ok(_) if line.trim() == "exit" => Ok(()),
        _ => Err(refused),
    }
}
