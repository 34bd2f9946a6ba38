//! Seeded bugs: each changes what passes between the machine and its world as a mistake in either would. The simulator
//! is trusted only as long as it finds every one of them.

use sotto_behaviours::network::{self, Request};
use sotto_node::service_node::{Outgoing, Output};
use sotto_node::store::check::Verdict;
use sotto_node::store::mail::Found;
use sotto_node::store::records::Source;
use sotto_node::store::{MetaKey, Write};
use sotto_proto::request::SwarmResponse;

/// A mistake that all nodes make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// What is written counts as on disk.
    SkipTheSync,
    /// What is asked to be written counts as on disk.
    AcknowledgeBeforeWriting,
    /// What clients bring is acknowledged and never written.
    AcknowledgeWithoutWriting,
    /// What repair brings is not written.
    LoseRepairedRecords,
    /// What is deleted, or has expired, is not taken off the disk.
    KeepTheDeleted,
    /// A clock that is known to be wrong is trusted.
    ExpireByOwnClock,
    /// Tombstones are not written.
    ForgetTombstones,
    /// Which arrival numbers were given out is not written.
    ReuseArrivals,
    /// A new database has the name of the old one.
    SameEpochAfterWipe,
    /// A flipped bit on disk is not noticed.
    ServeDamage,
    /// The last record of a page is left out.
    OmitRecords,
    /// A page says that more was read than is in it.
    SkipRecords,
    /// A subscriber is told twice.
    RepeatPushes,
    /// Receipts are not signed by whoever gives them.
    ForgeReceipts,
    /// Members are not compared with.
    NeverRepair,
    /// What cannot be judged counts as an offence.
    BlameTheHonest,
    /// The chain is not followed.
    StaleMap,
    /// Nobody is told that what can wait is on disk.
    ForgetTheHeld,
    /// How long a record is to be kept is not what is written.
    ForgetExpiry,
    /// One in eight answers of the disk is not passed on.
    LoseFound,
    /// What is read back counts as good, whatever it is.
    TrustTheDisk,
    /// Former owners offer nothing.
    NeverHandOver,
}

impl Bug {
    /// Those by which a single node lies to others, or is of no use to them: the others must come to no harm. (Who does
    /// not follow the chain is found by the block numbers it says, and left.)
    pub(crate) const LIES: [Self; 12] = [
        Self::AcknowledgeBeforeWriting,
        Self::AcknowledgeWithoutWriting,
        Self::LoseRepairedRecords,
        Self::KeepTheDeleted,
        Self::ForgetTombstones,
        Self::ServeDamage,
        Self::OmitRecords,
        Self::SkipRecords,
        Self::RepeatPushes,
        Self::ForgeReceipts,
        Self::NeverRepair,
        Self::BlameTheHonest,
    ];

    /// Those that show where many swarms are only: elsewhere somebody who brings the records is among the new owners.
    pub(crate) const OF_MANY: [Self; 1] = [Self::NeverHandOver];

    pub(crate) const ALL: [Self; 21] = [
        Self::SkipTheSync,
        Self::AcknowledgeBeforeWriting,
        Self::AcknowledgeWithoutWriting,
        Self::LoseRepairedRecords,
        Self::KeepTheDeleted,
        Self::ExpireByOwnClock,
        Self::ForgetTombstones,
        Self::ReuseArrivals,
        Self::SameEpochAfterWipe,
        Self::ServeDamage,
        Self::OmitRecords,
        Self::SkipRecords,
        Self::RepeatPushes,
        Self::ForgeReceipts,
        Self::NeverRepair,
        Self::BlameTheHonest,
        Self::StaleMap,
        Self::ForgetTheHeld,
        Self::ForgetExpiry,
        Self::LoseFound,
        Self::TrustTheDisk,
    ];

    /// What it says.
    pub(crate) fn output(self, mut output: Output) -> Vec<Output> {
        match (self, &mut output) {
            (Self::AcknowledgeWithoutWriting, Output::Persist { batch, .. }) => {
                batch.batch.writes.retain(|write| !is_record_from(write, Source::Client));
            }
            (Self::LoseRepairedRecords, Output::Persist { batch, .. }) => {
                batch.batch.writes.retain(|write| !is_record_from(write, Source::Repair));
            }
            (Self::KeepTheDeleted, Output::Persist { batch, .. }) => {
                batch.batch.writes.retain(|write| !matches!(write, Write::DeleteRecord { .. }));
            }
            (Self::ForgetTombstones, Output::Persist { batch, .. }) => {
                batch.batch.writes.retain(|write| !matches!(write, Write::PutTombstone(_)));
            }
            (Self::ForgetExpiry, Output::Persist { batch, .. }) => {
                for write in &mut batch.batch.writes {
                    if let Write::PutRecord { entry, .. } = write {
                        entry.ttl = LONG;
                    }
                }
            }
            (Self::ReuseArrivals, Output::Persist { batch, .. }) => {
                batch.batch.writes.retain(|write| !matches!(write, Write::PutMeta(MetaKey::Arrivals, _)));
            }
            (Self::OmitRecords, Output::TunnelAnswer { response: SwarmResponse::Records(records), .. })
                if records.records.len() > 1 =>
            {
                records.records.pop();
            }
            (Self::SkipRecords, Output::TunnelAnswer { response: SwarmResponse::Records(records), .. }) => {
                records.next_seq += u64::from(records.more);
            }
            (Self::ForgeReceipts, Output::TunnelAnswer { response: SwarmResponse::Stored { receipt, .. }, .. }) => {
                receipt.height.0 += 1;
            }
            (Self::BlameTheHonest, Output::Judge { verdict, .. }) if *verdict == network::Verdict::Ignore => {
                *verdict = network::Verdict::Reject;
            }
            (
                Self::NeverRepair,
                Output::Send { message: Outgoing::Request { request: Request::Repair(_), .. }, .. },
            ) => return Vec::new(),
            (
                Self::NeverHandOver,
                Output::Send { message: Outgoing::Request { request: Request::Offer(_), .. }, .. },
            ) => return Vec::new(),
            (
                Self::RepeatPushes,
                Output::TunnelAnswer { response: SwarmResponse::Records(records), more: true, .. },
            ) if !records.records.is_empty() => return vec![output.clone(), output],
            _ => {}
        }
        vec![output]
    }

    /// What it reads.
    pub(crate) fn found(self, mut found: Found) -> Found {
        if self == Self::ServeDamage
            && let Found::Records(records) = &mut found
            && let Some(Some(bytes)) = records.first_mut()
            && let Some(byte) = bytes.get_mut(200)
        {
            // One record in sixteen.
            *byte ^= u8::from(byte.is_multiple_of(16));
        }
        if self == Self::TrustTheDisk
            && let Found::Checked(verdicts) = &mut found
        {
            verdicts.fill(Verdict::Sound);
        }
        found
    }
}

/// Seconds that a record is kept whose time was forgotten.
const LONG: u32 = 86_400;

fn is_record_from(write: &Write, from: Source) -> bool {
    matches!(write, Write::PutRecord { entry, .. } if entry.source == from)
}
