//! What is asked of a run of attacks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Attack, attacks};
use crate::failure::{Exit, Failure};

/// Which attacks are made, on whom, for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// How long is measured before an attack, and how long it lasts.
    pub seconds: u32,
    /// Names of the attacks to make; all when there are none.
    pub only: Vec<String>,
    /// An attack stops after so many frames.
    pub frames: Option<u64>,
    /// Frames a second that attackers send at most.
    pub pace: Option<u32>,
    /// Number of the node that is attacked; the last one that is in a swarm when there is none.
    pub node: Option<u16>,
    /// Messages a second of all honest clients together.
    pub rate: u32,
    /// Whether only the first attack has a measurement before it, which the others are compared with as well.
    pub once: bool,
    /// What all draws follow from.
    pub seed: u64,
}

/// An attack as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// What it is chosen by.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
}

/// All attacks there are.
#[must_use]
pub fn listed() -> Vec<Listed> {
    attacks().map(|attack| Listed { name: attack.name, what: attack.what }).collect()
}

impl Options {
    /// How long an attack lasts.
    pub(super) fn lasting(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// The attacks to make, in their order.
    ///
    /// # Errors
    /// [`Exit::Usage`] naming what is no attack.
    pub(super) fn chosen(&self) -> Result<Vec<&'static Attack>, Failure> {
        if let Some(unknown) = self.only.iter().find(|name| attacks().all(|attack| attack.name != name.as_str())) {
            let names: Vec<_> = attacks().map(|attack| attack.name).collect();
            let failure = Failure::new(Exit::Usage, format!("there is no attack {unknown:?}"));
            return Err(failure.hint(format!("one of: {}", names.join(", "))));
        }
        let wanted = |attack: &&Attack| self.only.is_empty() || self.only.iter().any(|name| name == attack.name);
        Ok(attacks().filter(wanted).collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Options as the command line has them when nothing is said.
    pub(in super::super) fn usual() -> Options {
        Options { seconds: 10, only: Vec::new(), frames: None, pace: None, node: None, rate: 20, once: false, seed: 1 }
    }

    #[test]
    fn attacks_are_chosen_by_name_and_unknown_names_refused() {
        let all = usual().chosen().unwrap_or_default();
        assert_eq!(all.len(), listed().len());
        let names: BTreeSet<_> = all.iter().map(|attack| attack.name).collect();
        assert_eq!(names.len(), all.len(), "each has a name of its own");
        let one = Options { only: vec![all[0].name.to_owned()], ..usual() };
        assert_eq!(one.chosen().unwrap_or_default().len(), 1);
        let none = Options { only: vec!["nonsense".to_owned()], ..usual() };
        assert_eq!(none.chosen().err().map(|failure| failure.exit), Some(Exit::Usage));
    }
}
