//! Months of three parties in random steps: they write, go away for weeks, lose their devices, ask each other at the same
//! time, begin anew. Whatever is read in its time is shown once, and in the end all can talk.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::Rng as _;

use super::*;

const PARTIES: usize = 3;
/// The longest that somebody is away.
const AWAY_DAYS: usize = 40;

/// What swarms keep.
#[derive(Clone)]
struct Kept {
    envelope: Envelope,
    from: usize,
    to: usize,
    /// What it says, if that is to be shown.
    text: Option<String>,
    /// Of which of the reader's devices it knows, the first, the second, …
    device: usize,
}

struct World {
    seed: u64,
    rng: ChaCha20Rng,
    parties: Vec<Party>,
    kept: Vec<Kept>,
    /// Who said what to whom.
    said: BTreeMap<(usize, usize), BTreeSet<String>>,
    /// What of it was stored, and what was shown, by whichever device.
    stored: BTreeSet<String>,
    shown: BTreeSet<String>,
    next: u64,
    /// How many devices each has lost.
    devices: [usize; PARTIES],
    /// Until when each is away.
    away: [UnixMillis; PARTIES],
    now: UnixMillis,
}

impl World {
    fn new(seed: u64) -> Self {
        recorded::begin();
        let parties = vec![Party::new(1, "alice"), Party::new(2, "bob"), Party::new(3, "carol")];
        Self {
            seed,
            rng: ChaCha20Rng::seed_from_u64(seed),
            parties,
            kept: Vec::new(),
            said: BTreeMap::new(),
            stored: BTreeSet::new(),
            shown: BTreeSet::new(),
            next: 0,
            devices: [0; PARTIES],
            away: [UnixMillis(0); PARTIES],
            now: UnixMillis(BEGIN),
        }
    }

    fn draw(&mut self, below: usize) -> usize {
        usize::try_from(self.rng.next_u64() % below.max(1) as u64).unwrap()
    }

    fn step(&mut self) {
        let who = self.draw(PARTIES);
        let other = (who + 1 + self.draw(PARTIES - 1)) % PARTIES;
        if self.away[who] > self.now {
            return self.pass();
        }
        let whom = self.parties[other].id();
        match self.draw(100) {
            0..30 => self.say(who, other),
            30..55 => self.post(who),
            55..80 => {
                let is_inbox = self.draw(2) == 0;
                self.read(who, Some(is_inbox));
            }
            80..83 => drop(self.parties[who].ask(whom)),
            83..87 => self.accept(who),
            87 if self.draw(3) == 0 => {
                let wish = Ask { account: whom, name: None, introduction: "", renew: true };
                let _ = self.parties[who].change(|tx, me, rng| ask(tx, me, &wish, rng));
            }
            88..91 => self.die(who, whom),
            91 if self.draw(4) == 0 => self.lose_device(who),
            92 if self.draw(2) == 0 => {
                let days = 1 + self.draw(AWAY_DAYS) as u64;
                self.away[who] = UnixMillis(self.now.0 + days * DAY);
            }
            93..95 => self.parties[who].store = self.parties[who].store.copy(),
            _ => self.pass(),
        }
    }

    fn say(&mut self, from: usize, to: usize) {
        let text = self.next.to_string();
        self.next += 1;
        let whom = self.parties[to].id();
        if self.parties[from].say(whom, &text).is_ok() {
            self.said.entry((from, to)).or_default().insert(text);
        }
    }

    /// Stores what waits; some of it twice, as after a death.
    fn post(&mut self, from: usize) {
        for message in self.parties[from].store.pending(usize::MAX).unwrap() {
            let to = self.parties.iter().position(|party| party.id() == message.recipient).unwrap();
            let text = match &message.content.body {
                Body::Text(text) => Some(text.as_str().to_owned()),
                _ => None,
            };
            let device = self.devices[to];
            for _ in 0..1 + usize::from(self.draw(20) == 0) {
                let Ok(envelope) = self.parties[from].try_seal(&message.content.id) else { continue };
                self.stored.extend(text.clone());
                self.kept.push(Kept { envelope, from, to, text: text.clone(), device });
            }
        }
    }

    /// Reads the inbox, the mailbox, or both; everything that is there, in any order. Some of it comes once more.
    fn read(&mut self, who: usize, inbox: Option<bool>) {
        let id = self.parties[who].id();
        let mailboxes = self.parties[who].store.mailboxes().unwrap();
        let is_read = |kept: &Kept| {
            let address = kept.envelope.address();
            let is_own = address == id || mailboxes.iter().any(|own| own.address == address);
            is_own && inbox.is_none_or(|inbox| inbox == (address == id))
        };
        let (mut read, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.kept).into_iter().partition(is_read);
        self.kept = rest;
        for last in (1..read.len()).rev() {
            let place = self.draw(last + 1);
            read.swap(place, last);
        }
        for kept in &read {
            self.parties[who].hear(&kept.envelope);
        }
        self.check(who, &read);
        for kept in read {
            if self.draw(8) == 0 {
                self.kept.push(kept);
            }
        }
    }

    fn accept(&mut self, who: usize) {
        for id in self.parties[who].waiting() {
            let _ = self.parties[who].change(|tx, me, rng| accept(tx, me, &id, None, rng));
        }
    }

    /// Time goes by, a minute or a day; those who are not away read what has come, and send every day.
    fn pass(&mut self) {
        let millis = if self.draw(3) == 0 { DAY } else { 60_000 };
        self.now = UnixMillis(self.now.0 + millis);
        for who in 0..PARTIES {
            if self.away[who] <= self.now {
                self.parties[who].now = self.now;
                self.parties[who].tidy();
                self.read(who, None);
                if millis == DAY {
                    self.post(who);
                }
            }
        }
        let now = self.now.seconds();
        self.kept.retain(|kept| kept.envelope.expiry() > now);
    }

    /// A death in the middle, of one thing or of several: what was not committed did not happen.
    fn die(&mut self, who: usize, whom: Address) {
        let envelope = self.kept.iter().find(|kept| kept.to == who).map(|kept| kept.envelope.clone());
        let (hears, says) = [(true, false), (false, true), (true, true)][self.draw(3)];
        let party = &mut self.parties[who];
        let me = Me { chain: &CHAIN, account: &party.account, name: party.name, now: party.now };
        let transaction = party.store.transaction().unwrap();
        if let Some(envelope) = envelope.filter(|_| hears) {
            hear(&transaction, &me, &envelope, &mut party.rng).unwrap();
        }
        if says {
            let body = Body::Text(Text::new("never said".to_owned()).unwrap());
            let _ = say(&transaction, &me, Saying { account: whom, body, ttl: speaking::TTL }, &mut party.rng);
        } else {
            tidy(&transaction, &me, &mut party.rng).unwrap();
        }
    }

    /// Everything but the phrase is gone; whoever was written to is asked again.
    fn lose_device(&mut self, who: usize) {
        self.devices[who] += 1;
        // A request that the earlier device answered, the next one would answer as well: its slot has served then.
        let id = self.parties[who].id();
        self.kept.retain(|kept| kept.envelope.address() != id);
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let byte = u8::try_from(who + 1).unwrap();
        let (name, now) = (self.parties[who].name, self.now);
        self.parties[who] = Party { rng: ChaCha20Rng::from_seed(seed), now, ..Party::new(byte, name) };
        for other in (0..PARTIES).filter(|other| *other != who) {
            let whom = self.parties[other].id();
            self.parties[who].ask(whom).unwrap();
        }
    }

    /// What is shown was said by that sender, and is shown once; what was read of the own device is shown.
    fn check(&mut self, who: usize, read: &[Kept]) {
        let seed = self.seed;
        let mut seen = BTreeSet::new();
        for (sender, content) in &self.parties[who].shown {
            let Body::Text(text) = &content.body else { continue };
            let from = self.parties.iter().position(|party| party.id() == *sender).unwrap();
            let was_said = self.said.get(&(from, who)).is_some_and(|said| said.contains(text.as_str()));
            assert!(was_said, "seed {seed}: {} was never said", text.as_str());
            assert!(seen.insert(text.as_str().to_owned()), "seed {seed}: {} was shown twice", text.as_str());
        }
        self.shown.extend(seen.iter().cloned());
        for kept in read.iter().filter(|kept| kept.device == self.devices[who]) {
            let Some(text) = &kept.text else { continue };
            assert!(seen.contains(text), "seed {seed}: {text}, of {} to {who}, was read and not shown", kept.from);
        }
    }

    /// All come back, and ask those that they cannot write to.
    fn come_together(&mut self) {
        self.away = [UnixMillis(0); PARTIES];
        // Whoever was away has the time of today before it does anything.
        for party in &mut self.parties {
            party.now = self.now;
            party.tidy();
        }
        for _ in 0..25 {
            for who in 0..PARTIES {
                for other in (0..PARTIES).filter(|other| *other != who) {
                    let whom = self.parties[other].id();
                    if self.parties[who].serving(whom).is_none() {
                        let _ = self.parties[who].ask(whom);
                    }
                }
            }
            for _ in 0..3 {
                for who in 0..PARTIES {
                    self.post(who);
                    self.read(who, None);
                    self.accept(who);
                }
            }
            self.now = UnixMillis(self.now.0 + DAY);
            for party in &mut self.parties {
                party.now = self.now;
                party.tidy();
            }
        }
    }

    fn all_can_talk(&mut self) {
        let seed = self.seed;
        for day in 0..10 {
            for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 1), (2, 0), (0, 2)] {
                let (whom, text) = (self.parties[to].id(), format!("day {day}, {from} to {to}"));
                let said = self.parties[from].say(whom, &text);
                assert!(said.is_ok(), "seed {seed}: {from} to {to}: {said:?}");
                self.said.entry((from, to)).or_default().insert(text.clone());
                self.post(from);
                self.read(to, None);
                let is_shown = self.parties[to].texts().contains(&text);
                assert!(is_shown, "seed {seed}: {text} did not come");
            }
            self.now = UnixMillis(self.now.0 + DAY);
            for party in &mut self.parties {
                party.now = self.now;
                party.tidy();
            }
        }
        for (one, other) in [(0, 1), (1, 2), (2, 0)] {
            let (first, second) = (self.parties[one].id(), self.parties[other].id());
            let sessions = (self.parties[one].serving(second), self.parties[other].serving(first));
            assert_eq!(sessions.0, sessions.1, "seed {seed}: {one} and {other}");
        }
    }
}

/// What became of all that was said in some walks.
#[derive(Debug, Default)]
struct Fates {
    said: usize,
    /// Shown, once by each device.
    shown: usize,
    /// Stored, and not read in its time; or the device that read it was lost before it told.
    unread: usize,
    /// Not stored: its device was lost, or says that it waits.
    waits: usize,
    /// Headers and bodies sealed, none under a key and nonce of another.
    sealed: usize,
}

impl Fates {
    /// Nothing that a device said is gone from it: it was stored, or waits to be.
    fn count(&mut self, world: &World) {
        for ((from, _), said) in &world.said {
            let pending = world.parties[*from].store.pending(usize::MAX).unwrap();
            let waits = |text: &String| {
                pending.iter().any(|message| matches!(&message.content.body, Body::Text(said) if said.as_str() == text))
            };
            for text in said {
                let (stored, shown) = (world.stored.contains(text), world.shown.contains(text));
                assert!(stored || world.devices[*from] > 0 || waits(text), "seed {}: {text} is gone", world.seed);
                self.said += 1;
                self.shown += usize::from(shown);
                self.unread += usize::from(stored && !shown);
                self.waits += usize::from(!stored);
            }
        }
        self.sealed += recorded::end();
    }
}

fn walks(seeds: std::ops::Range<u64>, steps: usize) -> Fates {
    let mut fates = Fates::default();
    for seed in seeds {
        let mut world = World::new(seed);
        for _ in 0..steps {
            world.step();
        }
        world.come_together();
        world.all_can_talk();
        fates.count(&world);
    }
    fates
}

#[test]
fn after_months_of_random_steps_nothing_is_missing_or_doubled_and_all_can_talk() {
    let fates = walks(0..20, 1000);
    assert!(fates.said > 2000 && fates.shown > fates.said / 2 && fates.unread > 0, "{fates:?}");
}

/// A thousand walks of a thousand steps, or those that `SOTTO_SEEDS` says: `7..8`.
#[test]
#[ignore = "a million steps take minutes"]
fn after_a_million_random_steps_nothing_is_missing_or_doubled_and_all_can_talk() {
    let wanted = std::env::var("SOTTO_SEEDS").ok();
    let seeds = wanted.as_deref().map_or(2000..3000, |seeds| {
        let (first, end) = seeds.split_once("..").expect("as in 7..8");
        first.parse().expect("a number")..end.parse().expect("a number")
    });
    let fates = walks(seeds.clone(), 1000);
    println!("seeds {seeds:?}, a thousand steps each: {fates:?}");
}
