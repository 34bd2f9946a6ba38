//! Who writes to whom, and when: fixed before the run.
//!
//! The load is *open*: a message is due at its time whether those before it are stored or not, and its latency counts
//! from then. A network that stands still for a second is measured with all the messages that came in that second, and
//! not with the one that a patient sender would have waited for.

use std::time::Duration;

use super::draws::{seeded, shuffle};
use super::options::Options;

/// A message that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Its number in the whole bench.
    pub(crate) number: usize,
    /// Which client sends it.
    pub(crate) client: usize,
    /// Which recipient it is for.
    pub(crate) recipient: usize,
    /// When it is due, from the start of the clock.
    pub(crate) due: Duration,
}

/// The load: evenly spaced, the clients in turn, the recipients in an order that is drawn anew each time all had one.
pub(crate) fn load(options: &Options) -> Vec<Planned> {
    let mut rng = seeded(options.seed, "schedule", 0);
    let mut turn: Vec<usize> = (0..options.recipients).collect();
    (0..options.messages())
        .map(|number| {
            let place = number % turn.len().max(1);
            if place == 0 {
                shuffle(&mut turn, &mut rng);
            }
            Planned {
                number,
                client: number % options.clients.max(1),
                recipient: turn.get(place).copied().unwrap_or_default(),
                due: due(number, options.rate),
            }
        })
        .collect()
}

/// `count` messages to one recipient, numbered from `first` on.
pub(crate) fn waiting(count: usize, first: usize, recipient: usize, clients: usize, rate: u32) -> Vec<Planned> {
    let planned = |place: usize| Planned {
        number: first + place,
        client: place % clients.max(1),
        recipient,
        due: due(place, rate),
    };
    (0..count).map(planned).collect()
}

/// When the message at `place` is due at `rate` messages a second.
fn due(place: usize, rate: u32) -> Duration {
    Duration::from_nanos((place as u64).saturating_mul(1_000_000_000) / u64::from(rate.max(1)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::options::tests::usual;
    use super::*;

    #[test]
    fn messages_are_evenly_spaced_whatever_becomes_of_those_before() {
        let options = Options { rate: 250, seconds: 60, ..usual() };
        let planned = load(&options);
        assert_eq!(planned.len(), 15_000);
        for (place, message) in planned.iter().enumerate() {
            assert_eq!(message.number, place);
            assert_eq!(message.due, Duration::from_millis(4) * u32::try_from(place).unwrap());
        }
        assert!(planned.last().unwrap().due < options.lasting());
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        assert_eq!(due(3 * 3600, 3), Duration::from_secs(3600));
        assert_eq!(due(1, 3), Duration::from_nanos(333_333_333));
    }

    #[test]
    fn all_clients_and_recipients_have_their_share_in_every_combination() {
        let planned = load(&usual());
        let mut clients = BTreeMap::<usize, usize>::new();
        let mut recipients = BTreeMap::<usize, usize>::new();
        let mut pairs = BTreeMap::<(usize, usize), usize>::new();
        for message in &planned {
            *clients.entry(message.client).or_default() += 1;
            *recipients.entry(message.recipient).or_default() += 1;
            *pairs.entry((message.client, message.recipient)).or_default() += 1;
        }
        assert_eq!(clients.len(), 8);
        assert_eq!(recipients.len(), 16);
        let even =
            |counts: &BTreeMap<usize, usize>| counts.values().max().unwrap() - counts.values().min().unwrap() <= 1;
        assert!(even(&clients) && even(&recipients));
        assert!(pairs.len() > 8 * 16 * 9 / 10, "clients and recipients take turns together: {}", pairs.len());
    }

    #[test]
    fn the_seed_decides_who_writes_to_whom() {
        assert_eq!(load(&usual()), load(&usual()));
        assert_ne!(load(&usual()), load(&Options { seed: 2, ..usual() }));
    }

    #[test]
    fn what_waits_is_numbered_behind_the_load() {
        let planned = waiting(3, 100, 7, 2, 10);
        let shown: Vec<_> = planned.iter().map(|one| (one.number, one.client, one.recipient)).collect();
        assert_eq!(shown, [(100, 0, 7), (101, 1, 7), (102, 0, 7)]);
        assert_eq!(planned[2].due, Duration::from_millis(200));
    }
}
