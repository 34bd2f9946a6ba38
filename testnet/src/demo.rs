//! The first messages of a testnet: two accounts, three messages, the last of them while its recipient is offline and
//! two members of the swarm that keeps it are dead.

use std::time::Instant;

use crate::control::Action;
use crate::failure::{Exit, Failure};
use crate::manifest::Manifest;
use crate::supervisor::Supervisor;
use crate::target::Target;
use crate::users::{Received, Stored, User, Users};

/// Swarms without which there may be no path: no hop is in the swarm of the sender or in that of the recipient.
pub const SWARMS: usize = 3;
/// Members of the recipient's swarm that die for the third message.
const DEAD: usize = 2;

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
    let first = deliver(users, &alice, &bob, "hello, swarm").await?;
    say(&format!("alice → bob  “hello, swarm”     {first}"));
    let second = deliver(users, &bob, &alice, "hello yourself").await?;
    say(&format!("bob → alice  “hello yourself”   {second}"));
    let text = "read this when you are back";
    let stored = users.send(&alice.name, &bob, text).await?;
    let dead = members(manifest, &stored, DEAD);
    supervisor.act(Action::Kill, &dead).await?;
    let names: Vec<_> = dead.iter().map(ToString::to_string).collect();
    let began = Instant::now();
    let arrived = exactly_once(users.recv(&bob.name).await?, &stored, text);
    let took = began.elapsed();
    let restarted = supervisor.act(Action::Restart, &dead).await;
    arrived?;
    restarted?;
    say(&format!(
        "alice → bob  “{text}”   {}; bob was offline, {} were killed, and he has it {:.2} s after asking",
        describe(&stored),
        names.join(" and "),
        took.as_secs_f64()
    ));
    Ok(())
}

async fn deliver(users: &Users<'_>, from: &User, to: &User, text: &str) -> Result<String, Failure> {
    let began = Instant::now();
    let stored = users.send(&from.name, to, text).await?;
    exactly_once(users.recv(&to.name).await?, &stored, text)?;
    Ok(format!("{} · read {:.2} s after it was written", describe(&stored), began.elapsed().as_secs_f64()))
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

fn exactly_once(received: Vec<Received>, stored: &Stored, text: &str) -> Result<(), Failure> {
    let copies = received.iter().filter(|message| message.id == stored.id && message.text == text).count();
    if copies == 1 {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("“{text}” arrived {copies} times among {} messages", received.len())))
}

/// Some members of the swarm that keeps a message.
fn members(manifest: &Manifest, stored: &Stored, count: usize) -> Vec<Target> {
    let swarm = manifest.swarms.iter().find(|swarm| swarm.id == stored.swarm);
    swarm.map(|swarm| swarm.nodes.iter().copied().take(count).map(Target::Node).collect()).unwrap_or_default()
}

fn short(user: &User) -> &str {
    user.id.get(..8).unwrap_or(&user.id)
}
