//! Two parties say, reword, delete and mark in random steps, over a network that reorders and repeats, with restarts: once
//! everything has come, both ends show the same.

use std::collections::BTreeSet;

use rand_core::Rng as _;
use sotto_proto::content::Emoji;

use super::*;

struct Pair {
    parties: [Party; 2],
    /// What is under way to each.
    under_way: [Vec<Envelope>; 2],
    ids: Vec<(usize, MessageId)>,
    rng: ChaCha20Rng,
}

/// A message as an end shows it: by whom, its words unless it was deleted, its signs and by whom.
type Shown = (usize, MessageId, Option<String>, BTreeSet<(usize, String)>);

impl Pair {
    fn new(seed: u64) -> Self {
        let (alice, bob) = friends();
        let rng = ChaCha20Rng::seed_from_u64(seed);
        Self { parties: [alice, bob], under_way: Default::default(), ids: Vec::new(), rng }
    }

    fn draw(&mut self, below: usize) -> usize {
        (self.rng.next_u64() % below.max(1) as u64) as usize
    }

    fn step(&mut self) {
        let who = self.draw(2);
        let whom = self.parties[1 - who].id();
        let place = self.draw(self.ids.len());
        let target = self.ids.get(place).map(|(_, id)| *id);
        let word = self.draw(1000).to_string();
        let party = &mut self.parties[who];
        match (self.rng.next_u64() % 100, target) {
            (0..25, _) | (_, None) => {
                let id = party.say(whom, &word).unwrap();
                self.ids.push((who, id));
            }
            // Those that are not allowed are refused.
            (25..45, Some(of)) => {
                let text = Text::new(word).unwrap();
                let _ = party.change(|tx, me, rng| edit(tx, me, (&whom, &of), text, rng));
            }
            (45..52, Some(of)) => {
                let _ = party.change(|tx, me, rng| delete(tx, me, (&whom, &of), rng));
            }
            (52..70, Some(to)) => {
                let emoji = Emoji::new(word).ok().filter(|emoji| emoji.as_str().len() > 1);
                let _ = party.change(|tx, me, rng| react(tx, me, (&whom, &to), emoji, rng));
            }
            (70..80, _) => {
                for envelope in party.outgoing() {
                    if self.rng.next_u32().is_multiple_of(4) {
                        self.under_way[1 - who].push(envelope.clone());
                    }
                    self.under_way[1 - who].push(envelope);
                }
            }
            (80..94, _) => self.deliver(who),
            (94..97, _) => party.store = party.store.copy(),
            _ => {
                // Clocks are off, and set.
                let by = self.rng.next_u64() % 10_000;
                party.now = UnixMillis(party.now.0 + by - 4000);
            }
        }
    }

    fn deliver(&mut self, who: usize) {
        if self.under_way[who].is_empty() {
            return;
        }
        let place = self.draw(self.under_way[who].len());
        let envelope = self.under_way[who].swap_remove(place);
        self.parties[who].hear(&envelope);
    }

    fn drain(&mut self) {
        for _ in 0..4 {
            for who in 0..2 {
                let envelopes = self.parties[who].outgoing();
                self.under_way[1 - who].extend(envelopes);
                while !self.under_way[who].is_empty() {
                    self.deliver(who);
                }
            }
        }
    }

    fn shown(&mut self, who: usize) -> Vec<Shown> {
        let other = self.parties[1 - who].id();
        let side = |outgoing: bool| if outgoing { who } else { 1 - who };
        let tx = self.parties[who].store.transaction().unwrap();
        let mut shown: Vec<_> = tx
            .history(&other, None, usize::MAX)
            .unwrap()
            .into_iter()
            .map(|(_, said)| {
                let words = match &said.content.body {
                    Body::Text(text) => Some(text.as_str().to_owned()),
                    _ => None,
                };
                let signs = tx.reactions(&other, &said.content.id).unwrap().into_iter();
                let signs = signs.map(|(outgoing, emoji)| (side(outgoing), emoji.as_str().to_owned())).collect();
                (side(said.outgoing), said.content.id, words, signs)
            })
            .collect();
        shown.sort();
        shown
    }
}

#[test]
fn both_ends_show_the_same_once_everything_has_come() {
    let (mut edited, mut deleted, mut marked) = (0, 0, 0);
    for seed in 0..40 {
        let mut pair = Pair::new(seed);
        for _ in 0..150 {
            pair.step();
        }
        pair.drain();
        let (one, other) = (pair.shown(0), pair.shown(1));
        assert_eq!(one, other, "seed {seed}");
        assert_eq!(one.len(), pair.ids.len(), "seed {seed}: every message is there, or that it was deleted");
        deleted += one.iter().filter(|(_, _, words, _)| words.is_none()).count();
        marked += one.iter().filter(|(.., signs)| !signs.is_empty()).count();
        for who in 0..2 {
            let notices = &pair.parties[who].notices;
            edited += notices.iter().filter(|notice| matches!(notice.change, Change::Edited(_))).count();
            let numbers = |party: &mut Party, of: Address| party.store.transaction().unwrap().numbers_of(&of).unwrap();
            let sender = pair.parties[1 - who].id();
            let numbers: Vec<_> =
                numbers(&mut pair.parties[who], sender).into_iter().map(|(_, number)| number).collect();
            assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "seed {seed}: no gap is left");
        }
    }
    assert!(edited > 50 && deleted > 20 && marked > 50, "{edited} {deleted} {marked}: too little happened");
}
