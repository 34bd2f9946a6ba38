//! The genesis parameters and their two presets.

/// Which kind of network a genesis founds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// 120 s blocks, the paper's figures.
    Mainnet,
    /// 1 s blocks, private addresses, keys that may be public.
    Testnet,
}

impl Preset {
    /// The byte in the canonical genesis.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Mainnet => 1,
            Self::Testnet => 2,
        }
    }

    /// The preset of a byte.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Mainnet),
            2 => Some(Self::Testnet),
            _ => None,
        }
    }

    /// `mainnet` or `testnet`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
        }
    }

    /// The preset of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Mainnet, Self::Testnet].into_iter().find(|preset| preset.name() == name)
    }
}

/// A set of parameters no chain could run on, or a name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// The value is outside what the rules can work with.
    #[error("parameter `{name}` = {value}: must be {expected}")]
    OutOfRange {
        /// The parameter.
        name: &'static str,
        /// The value given.
        value: u64,
        /// What is allowed.
        expected: &'static str,
    },
    /// No parameter has this name.
    #[error("no parameter is called {0:?}; they are: {names}", names = Params::NAMES.join(", "))]
    Unknown(String),
}

const COIN: u64 = crate::id::Amount::COIN;

macro_rules! params {
    ($($(#[$doc:meta])* $name:ident: $mainnet:expr, $testnet:expr;)*) => {
        /// The numbers a chain runs on, fixed by its genesis. All are `u64` in the canonical bytes, in this order.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Params {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Params {
            /// The names, in canonical order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// The values of a preset.
            #[must_use]
            pub const fn preset(preset: Preset) -> Self {
                match preset {
                    Preset::Mainnet => Self { $($name: $mainnet),* },
                    Preset::Testnet => Self { $($name: $testnet),* },
                }
            }

            /// The values, in canonical order.
            #[must_use]
            pub fn values(&self) -> Vec<u64> {
                vec![$(self.$name),*]
            }

            /// Replaces one value by its name.
            ///
            /// # Errors
            /// [`ParamsError::Unknown`] if there is no such parameter.
            pub fn set(&mut self, name: &str, value: u64) -> Result<(), ParamsError> {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => return Err(ParamsError::Unknown(name.chars().take(80).collect())),
                }
                Ok(())
            }
        }
    };
}

params! {
    /// Milliseconds between blocks.
    block_time_ms: 120_000, 1_000;
    /// E: blocks in an epoch; also the anchor period A and the membership age G of storage tests.
    epoch_blocks: 30, 60;
    /// Smallest stake of a service node, in the smallest unit of money.
    stake: 15_000 * COIN, 100 * COIN;
    /// Blocks a stake stays locked after its node has left or was deregistered.
    lock_up_blocks: 21_600, 600;
    /// What a block pays the node that has waited longest, in the smallest unit of money.
    reward: 10 * COIN, 10 * COIN;
    /// Credit, in blocks, that a node starts with.
    credit_at_registration: 60, 300;
    /// Active blocks that earn one block of credit.
    blocks_per_credit: 30, 2;
    /// Most credit a node can have.
    max_credit: 1_440, 1_800;
    /// Whole epochs without an uptime proof after which a node is due for decommission.
    epochs_until_due: 2, 2;
    /// k: distinct testers whose verdict decommissions a node, or brings it back.
    deciding_testers: 3, 3;
    /// Unanswered tests of a node's last 20 that count as missing uptime.
    no_answer_limit: 8, 14;
    /// Unreported duties of a tester's last 20 that count as missing uptime.
    missed_duty_limit: 14, 14;
    /// Smallest difficulty of the proof of work.
    min_difficulty: 600, 1;
    /// T: records an epoch a swarm is meant to take.
    epoch_target: 50_000, 10_000;
    /// Seconds after which a node replaces its X25519 key.
    key_rotation_s: 86_400, 1_800;
    /// First height whose storage tests count; 2^64 − 1 switches them off.
    storage_tests_from: u64::MAX, u64::MAX;
    /// 1: limits per network address are on.
    per_address_limits: 1, 0;
    /// 1: private and loopback addresses may be registered and dialled.
    private_addresses: 0, 1;
    /// Bytes a mailbox may hold before its price rises.
    mailbox_quota: 32 << 20, 32 << 20;
}

impl Params {
    /// Takes the values in canonical order.
    #[must_use]
    pub fn from_values(values: &[u64]) -> Option<Self> {
        let mut params = Self::preset(Preset::Testnet);
        if values.len() != Self::NAMES.len() {
            return None;
        }
        for (name, value) in Self::NAMES.iter().zip(values) {
            params.set(name, *value).ok()?;
        }
        Some(params)
    }

    /// Whether a chain can run on these numbers.
    ///
    /// # Errors
    /// [`ParamsError::OutOfRange`] names the first that cannot be.
    pub fn check(&self) -> Result<(), ParamsError> {
        let range = |name, value: u64, allowed: std::ops::RangeInclusive<u64>, expected| {
            if allowed.contains(&value) { Ok(()) } else { Err(ParamsError::OutOfRange { name, value, expected }) }
        };
        range("block_time_ms", self.block_time_ms, 50..=3_600_000, "50..=3600000")?;
        range("epoch_blocks", self.epoch_blocks, 2..=1_000_000, "2..=1000000")?;
        range("stake", self.stake, 1..=u64::MAX, "at least 1")?;
        range("epoch_target", self.epoch_target, 1..=1 << 40, "1..=2^40")?;
        range("mailbox_quota", self.mailbox_quota, 1..=1 << 40, "1..=2^40")?;
        range("lock_up_blocks", self.lock_up_blocks, 1..=1 << 40, "1..=2^40")?;
        range("blocks_per_credit", self.blocks_per_credit, 1..=1 << 40, "1..=2^40")?;
        range("credit_at_registration", self.credit_at_registration, 1..=self.max_credit, "1..=max_credit")?;
        range("max_credit", self.max_credit, 1..=1 << 40, "1..=2^40")?;
        range("epochs_until_due", self.epochs_until_due, 1..=1000, "1..=1000")?;
        range("deciding_testers", self.deciding_testers, 1..=10, "1..=10")?;
        range("no_answer_limit", self.no_answer_limit, 1..=20, "1..=20")?;
        range("missed_duty_limit", self.missed_duty_limit, 1..=20, "1..=20")?;
        range("min_difficulty", self.min_difficulty, 1..=1 << 20, "1..=2^20")?;
        range("key_rotation_s", self.key_rotation_s, 1..=1 << 32, "1..=2^32")?;
        range("per_address_limits", self.per_address_limits, 0..=1, "0 or 1")?;
        range("private_addresses", self.private_addresses, 0..=1, "0 or 1")
    }

    /// Whether private and loopback addresses may be used.
    #[must_use]
    pub const fn private_allowed(&self) -> bool {
        self.private_addresses == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_presets_are_runnable_and_round_trip() {
        for preset in [Preset::Mainnet, Preset::Testnet] {
            let params = Params::preset(preset);
            params.check().unwrap();
            assert_eq!(Params::from_values(&params.values()), Some(params));
            assert_eq!(Preset::from_code(preset.code()), Some(preset));
            assert_eq!(Preset::from_name(preset.name()), Some(preset));
        }
        assert_eq!(Params::from_values(&[1; 18]), None);
    }

    #[test]
    fn an_unknown_parameter_is_named_with_the_known_ones() {
        let error = Params::preset(Preset::Testnet).set("blocktime", 1).unwrap_err();
        assert!(error.to_string().contains("block_time_ms"));
    }
}
