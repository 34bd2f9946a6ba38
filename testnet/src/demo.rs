//! The first messages of a testnet: two accounts, three messages, the last of them sent and fetched while two members of
//! the swarm that keeps it are dead.

use std::time::{Duration, Instant};

use crate::control::Action;
use crate::failure::{Exit, Failure};
use crate::manifest::Manifest;
use crate::supervisor::Supervisor;
use crate::target::Target;
use crate::users::{Stored, User, Users};

/// Swarms without which there may be no path: no hop is in the swarm of the sender or in that of the recipient.
pub const SWARMS: usize = 3;
/// Members of the recipient's swarm that die before the third message.
const DEAD: usize = 2;

/// How long a message may take to arrive. Two members are asked, and those that did not take it from the sender have it
/// a tenth of a second later, or when fresh links between them are made.
pub(crate) const ARRIVAL: Duration = Duration::from_secs(10);
/// How long after an answer without the message the next one is asked for.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Runs the demo. `say` is told each step; nodes that were killed for it are started again.
///
/// # Errors
/// [`Failure`] when a message is not stored or does not arrive exactly once.
pub async fn run(
    supervisor: &mut Supervisor,
    users: &Users<'_>,
    manifest: &Manifest,
    mut say: impl FnMut(&str),
) -> Result<(), Failure> {
    let (alice, bob) = (users.add("alice").await?, users.add("bob").await?);
    say(&format!("alice {}… and bob {}… have accounts", short(&alice), short(&bob)));
    let (first, told) = deliver(users, &alice, &bob, "hello, swarm").await?;
    say(&format!("alice → bob  “hello, swarm”     {told}"));
    let (_, told) = deliver(users, &bob, &alice, "hello yourself").await?;
    say(&format!("bob → alice  “hello yourself”   {told}"));
    let dead = members(manifest, &first, DEAD);
    supervisor.act(Action::Kill, &dead).await?;
    let text = "read this when you are back";
    let delivered = past_the_dead(users, &alice, &bob, text).await;
    supervisor.act(Action::Restart, &dead).await?;
    let names: Vec<_> = dead.iter().map(ToString::to_string).collect();
    let (stored, took) = delivered?;
    say(&format!(
        "alice → bob  “{text}”   {}; bob was offline, {} were dead, and he has it {:.2} s after asking",
        describe(&stored),
        names.join(" and "),
        took.as_secs_f64()
    ));
    Ok(())
}

async fn deliver(users: &Users<'_>, from: &User, to: &User, text: &str) -> Result<(Stored, String), Failure> {
    let began = Instant::now();
    let stored = users.send(&from.name, to, text).await?;
    exactly_once(users, to, &stored, text).await?;
    let told = format!("{} · read {:.2} s after it was written", describe(&stored), began.elapsed().as_secs_f64());
    Ok((stored, told))
}

/// Sends and fetches; tells how long the fetching took.
async fn past_the_dead(users: &Users<'_>, from: &User, to: &User, text: &str) -> Result<(Stored, Duration), Failure> {
    let stored = users.send(&from.name, to, text).await?;
    let began = Instant::now();
    exactly_once(users, to, &stored, text).await?;
    Ok((stored, began.elapsed()))
}

/// Asks until the message is there, which must be once in all the answers together. Other mail may be among them.
async fn exactly_once(users: &Users<'_>, to: &User, stored: &Stored, text: &str) -> Result<(), Failure> {
    let until = Instant::now() + ARRIVAL;
    let (mut copies, mut others) = (0, 0);
    loop {
        for message in users.recv(&to.name).await? {
            let is_it = message.id == stored.id && message.text == text;
            *(if is_it { &mut copies } else { &mut others }) += 1;
        }
        if copies == 1 {
            return Ok(());
        }
        if copies > 1 || Instant::now() >= until {
            let message = format!("“{text}” arrived {copies} times, and {others} other messages did");
            return Err(Failure::new(Exit::Failed, message));
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

fn describe(stored: &Stored) -> String {
    format!(
        "work {} ms · stored {}/3 in swarm {} after {:.2} s",
        stored.work_ms,
        stored.receipts,
        stored.swarm,
        stored.took.as_secs_f64()
    )
}

/// Some members of the swarm that keeps a message.
fn members(manifest: &Manifest, stored: &Stored, count: usize) -> Vec<Target> {
    let swarm = manifest.swarms.iter().find(|swarm| swarm.id == stored.swarm);
    swarm.map(|swarm| swarm.nodes.iter().copied().take(count).map(Target::Node).collect()).unwrap_or_default()
}

fn short(user: &User) -> &str {
    user.id.get(..8).unwrap_or(&user.id)
}
