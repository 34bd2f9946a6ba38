//! `sotto-testnet user`, `send` and `verify`: accounts that are there to be tried out.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::json;

use super::Globals;
use super::banner::quoted;
use super::console::Console;
use super::location::Location;
use crate::binaries::Binaries;
use crate::demo;
use crate::failure::{Exit, Failure};
use crate::users::{Received, User, Users};

/// What can be done with users.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Verb {
    /// Make an account on a device of its own, or find the one of that name
    Add {
        /// What to call it
        #[arg(value_name = "NAME")]
        user: String,
    },
    /// The accounts there are
    List,
    /// Shell commands that make sotto use this account; as: eval "$(sotto-testnet user env bob)"
    Env {
        /// Which
        #[arg(value_name = "NAME")]
        user: String,
    },
}

/// Options of `send`.
#[derive(Clone, Debug, Args)]
pub(super) struct SendArguments {
    /// Who writes
    from: String,
    /// To whom
    to: String,
    /// What
    text: String,
}

/// Options of `verify`.
#[derive(Clone, Debug, Args)]
pub(super) struct VerifyArguments {
    /// How many messages
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    messages: u16,
}

/// Users that `verify` sends between.
const VERIFIERS: usize = 4;

/// Does what the verb says.
pub(super) async fn run(globals: &Globals, verb: Verb, console: &Console) -> Result<(), Failure> {
    let (plan, binaries) = (Location::new(globals)?.plan()?, Binaries::locate()?);
    let users = Users::new(&plan, &binaries);
    match verb {
        Verb::Add { user } => {
            let user = users.add(&user).await?;
            let text = format!("{}  {}", user.name, user.id);
            console.print(&text, &json!({"v": 1, "type": "testnet.user", "name": user.name, "id": user.id}))
        }
        Verb::List => {
            let all = users.all()?;
            let lines: Vec<_> = all.iter().map(|user| format!("{:<12}  {}", user.name, user.id)).collect();
            let text =
                if lines.is_empty() { "no users yet: sotto-testnet user add NAME".into() } else { lines.join("\n") };
            console.print(&text, &json!({"v": 1, "type": "testnet.users", "users": all}))
        }
        Verb::Env { user } => {
            users.find(&user)?;
            let place = users.place(&user)?;
            let settings = [
                ("SOTTO_DATADIR", quoted(&place.datadir)),
                ("SOTTO_GENESIS", quoted(&place.genesis)),
                ("SOTTO_PASSPHRASE_FILE", quoted(&place.passphrase)),
                ("SOTTO_ACCOUNT", user),
            ];
            let lines: Vec<_> = settings.iter().map(|(key, value)| format!("export {key}={value}")).collect();
            console.line(&lines.join("\n"))
        }
    }
}

/// Sends one message.
pub(super) async fn send(globals: &Globals, arguments: &SendArguments, console: &Console) -> Result<(), Failure> {
    let (plan, binaries) = (Location::new(globals)?.plan()?, Binaries::locate()?);
    let users = Users::new(&plan, &binaries);
    users.find(&arguments.from)?;
    let to = users.find(&arguments.to)?;
    let stored = users.send(&arguments.from, &to, &arguments.text).await?;
    let text = format!(
        "✓ {}  stored {}/3 in swarm {} · work {} ms · {:.2} s in all",
        stored.id,
        stored.receipts,
        stored.swarm,
        stored.work_ms,
        stored.took.as_secs_f64()
    );
    console.print(&text, &json!({"v": 1, "type": "testnet.sent", "message": stored}))
}

/// One message of a verification.
struct Sample {
    id: String,
    from: String,
    to: String,
    text: String,
    stored: Duration,
}

/// Asks until `count` messages are there, or for as long as one may take to arrive. What comes twice is kept twice.
async fn receive(users: &Users<'_>, user: &User, count: usize) -> Result<Vec<Received>, Failure> {
    let until = Instant::now() + demo::ARRIVAL;
    let mut received = users.recv(&user.name).await?;
    while received.len() < count && Instant::now() < until {
        tokio::time::sleep(demo::ASK_AGAIN).await;
        received.extend(users.recv(&user.name).await?);
    }
    Ok(received)
}

/// Sends messages between a few users and checks that each arrives exactly once.
pub(super) async fn verify(globals: &Globals, arguments: &VerifyArguments, console: &Console) -> Result<(), Failure> {
    let (plan, binaries) = (Location::new(globals)?.plan()?, Binaries::locate()?);
    let users = Users::new(&plan, &binaries);
    let mut all = Vec::new();
    for index in 0..VERIFIERS {
        all.push(users.add(&format!("verify{index}")).await?);
    }
    // What waits from an earlier run is not this run's.
    for user in &all {
        users.recv(&user.name).await?;
    }
    let mut samples = Vec::new();
    for number in 0..usize::from(arguments.messages) {
        let (from, to) =
            (&all[number % VERIFIERS], &all[(number + 1 + number / VERIFIERS % (VERIFIERS - 1)) % VERIFIERS]);
        let text = format!("message {number} from {} to {}", from.name, to.name);
        let stored = users.send(&from.name, to, &text).await?;
        console.detail(&format!("{text}: stored {}/3 after {:.2} s", stored.receipts, stored.took.as_secs_f64()));
        samples.push(Sample { id: stored.id, from: from.id.clone(), to: to.name.clone(), text, stored: stored.took });
    }
    let began = Instant::now();
    let mut wrong = Vec::new();
    for user in &all {
        let expected: Vec<_> = samples.iter().filter(|sample| sample.to == user.name).collect();
        let received = receive(&users, user, expected.len()).await?;
        for sample in &expected {
            let copies = received.iter().filter(|message| {
                message.id == sample.id && message.text == sample.text && message.sender == sample.from
            });
            let copies = copies.count();
            if copies != 1 {
                wrong.push(format!("“{}” arrived {copies} times", sample.text));
            }
        }
        if received.len() != expected.len() {
            wrong.push(format!("{} has {} messages, not {}", user.name, received.len(), expected.len()));
        }
    }
    let mut times: Vec<_> = samples.iter().map(|sample| sample.stored).collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let document = json!({
        "v": 1, "type": "testnet.verified", "messages": samples.len(), "wrong": wrong,
        "stored_median_ms": median.as_millis(), "received_ms": began.elapsed().as_millis(),
    });
    if !wrong.is_empty() {
        console.print(&format!("{}\n{}", console.verdict(false, "FAILED"), wrong.join("\n")), &document)?;
        return Err(Failure::new(Exit::Failed, format!("{} of {} messages are wrong", wrong.len(), samples.len())));
    }
    let text = format!(
        "{}  {} messages between {VERIFIERS} accounts arrived exactly once · a whole `sotto send` took {:.2} s (median)",
        console.verdict(true, "OK"),
        samples.len(),
        median.as_secs_f64()
    );
    console.print(&text, &document)
}
