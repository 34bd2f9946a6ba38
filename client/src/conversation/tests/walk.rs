//! Three parties in random steps: nothing is shown twice, nothing that nobody said, and in the end all can talk.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::Rng as _;

use super::*;

/// Envelopes that a mailbox keeps.
const KEPT: usize = 60;

struct World {
    parties: Vec<Party>,
    /// What swarms keep, for whom.
    kept: Vec<Vec<Envelope>>,
    rng: ChaCha20Rng,
    said: BTreeMap<(usize, usize), BTreeSet<String>>,
    next: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        recorded::begin();
        let parties = vec![Party::new(1, "alice"), Party::new(2, "bob"), Party::new(3, "carol")];
        let kept = vec![Vec::new(); parties.len()];
        Self { parties, kept, rng: ChaCha20Rng::seed_from_u64(seed), said: BTreeMap::new(), next: 0 }
    }

    fn draw(&mut self, below: usize) -> usize {
        (self.rng.next_u64() % below.max(1) as u64) as usize
    }

    /// Who reads an address.
    fn reader(&mut self, address: &Address) -> Option<usize> {
        self.parties.iter_mut().position(|party| {
            party.id() == *address || party.store.mailboxes().unwrap().iter().any(|own| own.address == *address)
        })
    }

    fn post(&mut self, envelope: Envelope) {
        let Some(reader) = self.reader(&envelope.address()) else { return };
        let kept = &mut self.kept[reader];
        kept.push(envelope);
    }

    fn step(&mut self) {
        let who = self.draw(3);
        let other = (who + 1 + self.draw(2)) % 3;
        let whom = self.parties[other].id();
        match self.draw(100) {
            0..30 => {
                let text = self.next.to_string();
                self.next += 1;
                if self.parties[who].say(whom, &text).is_ok() {
                    self.said.entry((who, other)).or_default().insert(text);
                }
            }
            30..60 => {
                for envelope in self.parties[who].outgoing() {
                    if self.rng.next_u32().is_multiple_of(20) {
                        // Stored twice, as after a death.
                        self.post(envelope.clone());
                    }
                    self.post(envelope);
                }
            }
            60..88 => self.read(who),
            88..90 => {
                let _ = self.parties[who].ask(whom);
            }
            90..92 => {
                for id in self.parties[who].waiting() {
                    let _ = self.parties[who].change(|tx, me, rng| accept(tx, me, &id, None, rng));
                }
            }
            92 => self.parties[who].tidy(),
            93 if self.draw(4) == 0 => {
                let wish = Ask { account: whom, name: None, introduction: "", renew: true };
                let _ = self.parties[who].change(|tx, me, rng| ask(tx, me, &wish, rng));
            }
            94..98 => self.die(who, whom),
            _ => {
                for party in &mut self.parties {
                    party.now = UnixMillis(party.now.0 + 60_000);
                }
            }
        }
    }

    /// Reads one of the envelopes, any of them; it may come again later.
    fn read(&mut self, who: usize) {
        if self.kept[who].is_empty() {
            return;
        }
        // Swarms give what they have in its order, more or less.
        let place = self.draw(self.kept[who].len().min(8));
        let stays = self.rng.next_u32().is_multiple_of(8);
        let envelope = if stays { self.kept[who][place].clone() } else { self.kept[who].remove(place) };
        self.parties[who].hear(&envelope);
        if self.kept[who].len() > KEPT {
            let all = std::mem::take(&mut self.kept[who]);
            self.parties[who].hear_all(&all);
        }
        self.check(who);
    }

    /// A death in the middle: what was not committed did not happen, and nothing of it leaves.
    fn die(&mut self, who: usize, whom: Address) {
        let envelope = self.kept[who].first().cloned();
        let party = &mut self.parties[who];
        let me = Me { chain: &CHAIN, account: &party.account, name: party.name, now: party.now };
        let transaction = party.store.transaction().unwrap();
        if let Some(envelope) = envelope {
            hear(&transaction, &me, &envelope, &mut party.rng).unwrap();
        }
        let body = Body::Text(Text::new("never said".to_owned()).unwrap());
        let _ = say(&transaction, &me, Saying { account: whom, body, ttl: speaking::TTL }, &mut party.rng);
        drop(transaction);
    }

    fn check(&mut self, who: usize) {
        let mut seen = BTreeSet::new();
        for (sender, content) in &self.parties[who].shown {
            let Body::Text(text) = &content.body else { continue };
            let from = self.parties.iter().position(|party| party.id() == *sender).unwrap();
            let said = self.said.get(&(from, who)).is_some_and(|said| said.contains(text.as_str()));
            assert!(said, "{} was never said", text.as_str());
            assert!(seen.insert(text.as_str().to_owned()), "{} was shown twice", text.as_str());
        }
        // What was judged is not judged again.
        if self.parties[who].shown.len() > 2000 {
            self.parties[who].shown.drain(..1000);
        }
    }

    /// Delivers everything that is left.
    fn drain(&mut self) {
        for _ in 0..20 {
            for who in 0..3 {
                let envelopes = self.parties[who].outgoing();
                envelopes.into_iter().for_each(|envelope| self.post(envelope));
                // One answer settles all requests of an account.
                while let Some(id) = self.parties[who].waiting().first() {
                    self.parties[who].change(|tx, me, rng| accept(tx, me, id, None, rng)).unwrap();
                }
            }
            for who in 0..3 {
                let all = std::mem::take(&mut self.kept[who]);
                self.parties[who].hear_all(&all);
                self.check(who);
            }
        }
    }

    /// Everything that was said was shown: nothing was lost for good.
    fn nothing_is_missing(&mut self, seed: u64) {
        for ((from, to), said) in &self.said {
            let sender = self.parties[*from].id();
            let history = self.parties[*to].store.transaction().unwrap().history(&sender, None, usize::MAX).unwrap();
            let shown: BTreeSet<_> = history
                .into_iter()
                .filter(|(_, said)| !said.outgoing)
                .filter_map(|(_, said)| match said.content.body {
                    Body::Text(text) => Some(text.as_str().to_owned()),
                    _ => None,
                })
                .collect();
            let missing: Vec<_> = said.difference(&shown).collect();
            assert!(missing.is_empty(), "seed {seed}: {from} said {missing:?} to {to}, who never saw it");
        }
    }
}

fn walk(seed: u64, steps: usize) -> usize {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.drain();
    world.nothing_is_missing(seed);
    // And they talk.
    for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1), (2, 0), (0, 2)] {
        let whom = world.parties[to].id();
        if world.parties[from].live(whom) > 0 {
            let text = format!("{from} is still here, {to}");
            world.parties[from].say(whom, &text).unwrap();
            world.said.entry((from, to)).or_default().insert(text);
        }
    }
    world.drain();
    world.nothing_is_missing(seed);
    let said: usize = world.said.values().map(BTreeSet::len).sum();
    assert!(recorded::end() > 2 * said, "a header and a body each, no key and nonce twice");
    said
}

#[test]
fn nothing_is_shown_twice_or_lost_in_random_steps() {
    let said: usize = (0..8).map(|seed| walk(seed, 1500)).sum();
    assert!(said > 1000, "{said} messages");
}

#[test]
#[ignore = "a million steps take minutes"]
fn nothing_is_shown_twice_or_lost_in_a_million_random_steps() {
    let said: usize = (1000..1250).map(|seed| walk(seed, 4000)).sum();
    println!("1,000,000 steps, {said} messages, each shown once");
}
