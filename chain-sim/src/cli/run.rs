//! `sotto-chain run`: the producer process.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;

use sotto_chain::process;
use sotto_chain::producer::datadir::{DataDir, DataDirError};
use sotto_chain::producer::recovery::RecoveryError;
use sotto_chain::producer::run::{Config, Keys, StartError, run as produce};
use sotto_proto::chain::{GenesisFile, Preset};
use sotto_proto::net_addr::NodeAddr;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::console::Console;
use super::failure::{Exit, Failure};
use super::keys::{KeyArguments, Role};
use super::{Globals, genesis, logging};

/// The fewest blocks that can be kept: nodes that were away for a while want them.
const FEWEST_KEPT: u64 = 100;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The genesis file
    #[arg(long, value_name = "FILE", env = "SOTTO_CHAIN_GENESIS")]
    genesis: PathBuf,
    /// Where nodes connect to [default: the producer's first address in the genesis file]
    #[arg(long, value_name = "ADDRESS", env = "SOTTO_CHAIN_LISTEN")]
    listen: Option<NodeAddr>,
    /// Serve /healthz, /readyz, /status and /metrics here, such as 127.0.0.1:27001
    #[arg(long, value_name = "IP:PORT", env = "SOTTO_CHAIN_HTTP")]
    http: Option<SocketAddr>,
    /// Keep only this many blocks [default: all]
    #[arg(long, value_name = "BLOCKS", value_parser = clap::value_parser!(u64).range(FEWEST_KEPT..), env = "SOTTO_CHAIN_PRUNE")]
    prune: Option<u64>,
    #[command(flatten)]
    keys: KeyArguments,
    /// End when standard input ends, for programs that start this one
    #[arg(long)]
    exit_on_stdin_eof: bool,
    /// Give up all blocks from the first damaged one on; a copy of the log is kept
    #[arg(long)]
    cut_damage: bool,
}

pub(super) fn run(globals: &Globals, arguments: Arguments, console: &Console) -> Result<(), Failure> {
    let genesis = genesis::load(&arguments.genesis)?;
    if arguments.cut_damage {
        console.confirm(
            "other nodes know the blocks that would be given up, and blocks of the same heights would be signed again. \
             Go on?",
        )?;
    }
    if arguments.keys.test_seed.is_some() && genesis.genesis.preset != Preset::Testnet {
        let message = "keys that everybody can derive are for testnets only";
        return Err(Failure::new(Exit::Permission, "not_testnet", message));
    }
    let datadir = globals.datadir()?;
    let keys = keys(&arguments, &datadir)?;
    let listen = arguments.listen.or_else(|| genesis.producer_addresses.first().copied()).ok_or_else(|| {
        Failure::new(Exit::Failed, "no_address", "no address to listen on: the genesis file names none")
            .hint("--listen IP:PORT")
    })?;
    let datadir = DataDir::lock(&datadir).map_err(|error| locked(&error))?;
    logging::start(globals)?;
    process::abort_on_panic();
    process::forbid_core_dumps();
    let config = Config {
        datadir,
        genesis,
        keys,
        listen,
        http: arguments.http,
        prune: arguments.prune,
        cut_damage: arguments.cut_damage,
    };
    let (before, files) = process::raise_open_files();
    tracing::info!("open files {before} → {files}");
    announce(&config.genesis, listen, console);
    drive(config, arguments.exit_on_stdin_eof)
}

/// Keys lie in the data directory, or beside the genesis file where `genesis` without a data directory put them.
fn keys(arguments: &Arguments, datadir: &Path) -> Result<Keys, Failure> {
    let beside = arguments.genesis.parent().unwrap_or(Path::new("."));
    let find = |role| arguments.keys.find(role, &[datadir, beside]);
    let need = |role: Role| {
        find(role)?.ok_or_else(|| {
            let message = format!("no {} key: neither in {} nor beside the genesis", role.name(), datadir.display());
            Failure::new(Exit::NotFound, "no_key", message).hint(format!("--{}-key FILE", role.name()))
        })
    };
    Ok(Keys { authority: need(Role::Authority)?, producer: need(Role::Producer)?, faucet: find(Role::Faucet)? })
}

fn locked(error: &DataDirError) -> Failure {
    match error {
        DataDirError::InUse { pid, .. } => Failure::new(Exit::InUse, "in_use", error.to_string())
            .hint(format!("stop process {pid}, or use another --datadir")),
        DataDirError::Io { .. } => Failure::new(Exit::Io, "io", error.to_string()),
    }
}

fn announce(genesis: &GenesisFile, listen: NodeAddr, console: &Console) {
    let chain = genesis.genesis.chain_id();
    console.note(&format!("producing {} chain {} on {listen}", genesis.genesis.preset.name(), chain.short()));
}

fn drive(config: Config, exit_on_stdin_eof: bool) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Io, "io", format!("no runtime: {error}")))?;
    runtime.block_on(async {
        let cancel = CancellationToken::new();
        end_on_signals(&cancel)?;
        if exit_on_stdin_eof {
            end_with_stdin(&cancel)?;
        }
        Box::pin(produce(config, cancel)).await.map_err(|error| stopped(&error))
    })
}

fn end_on_signals(cancel: &CancellationToken) -> Result<(), Failure> {
    let io = |error| Failure::new(Exit::Io, "io", format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(io)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io)?;
    let cancel = cancel.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("interrupted"),
        }
        cancel.cancel();
    });
    Ok(())
}

/// A thread of its own, because reading standard input cannot be given up once begun; the process does not wait for it.
fn end_with_stdin(cancel: &CancellationToken) -> Result<(), Failure> {
    let cancel = cancel.clone();
    let read = move || {
        let mut buffer = [0; 256];
        while std::io::stdin().lock().read(&mut buffer).is_ok_and(|count| count > 0) {}
        tracing::info!("standard input ended");
        cancel.cancel();
    };
    let spawned = thread::Builder::new().name("stdin".to_owned()).spawn(read);
    spawned.map(drop).map_err(|error| Failure::new(Exit::Io, "io", format!("no thread: {error}")))
}

fn stopped(error: &StartError) -> Failure {
    use sotto_chain::producer::RunError;
    use sotto_chain::producer::block_log::OpenError;
    let (exit, code) = match error {
        StartError::OtherKey { .. } => (Exit::Conflict, "other_key"),
        StartError::Recovery(RecoveryError::Log(OpenError::Damaged { .. })) => (Exit::Failed, "damaged"),
        StartError::Recovery(_) => (Exit::Failed, "chain"),
        StartError::Network(_) | StartError::Listen { .. } => (Exit::Io, "listen"),
        StartError::Run(RunError::Defect(_)) => (Exit::Internal, "defect"),
        StartError::Run(_) => (Exit::Io, "io"),
    };
    tracing::error!(%error, "the producer ends");
    let failure = Failure::new(exit, code, error.to_string());
    match code {
        "damaged" => failure.hint("restore blocks.log from a copy; as a last resort: run --cut-damage"),
        "other_key" => failure.hint("the genesis file or the data directory belongs to another chain"),
        _ => failure,
    }
}
