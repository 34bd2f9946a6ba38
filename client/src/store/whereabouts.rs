//! Whether an account still lies where it lay.
//!
//! A copy of an account's folder, or an earlier state of it that is put back, has ratchets that have served since: by each
//! of its keys two messages would be encrypted. So the store knows where it lies, and what is found elsewhere begins anew
//! with everybody, as a new device would: no session, bundle, prekey or mailbox of the copied state serves again.
//!
//! | what is compared | what shows |
//! | --- | --- |
//! | when the database's file was made | a copy, an archive or a backup that was unpacked |
//! | when file `PLACE` was made, and when it was last touched | the same, and a backup that was written over the files |
//! | the machine's id, hashed | a disk that was cloned for another machine |
//!
//! No number outside the folder is counted: it would lie beside the accounts, be put back with them, and tell how many
//! there are. So a snapshot of the whole disk or machine that is put back on the same machine does not show; it is no
//! backup of an account. Who changes the mode or the owner of `PLACE` has the account begin anew for nothing. What a file
//! system does not tell (when a file was made, on some networks') is not compared.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::UNIX_EPOCH;

use sotto_proto::address::Address;
use sotto_proto::domain::Domain;
use sotto_proto::hash::Hasher;

use super::row::read_address;
use super::{ContactState, Store, StoreError, Transaction, database, files};

/// Name of the file in the account's folder: written once, and then never.
const FILE: &str = "PLACE";
/// Setting: [`Whereabouts`].
const SETTING: &str = "place";
const MACHINE: Domain = Domain::new("sotto/v1/machine");
/// Where a machine's id is found.
const MACHINE_IDS: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
/// Bytes of the shortest.
const MACHINE_ID: usize = 32;
const HASH: usize = 32;

/// Where an account lies: a hash of the machine's id, then nanoseconds since 1970. Zeros are what is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whereabouts {
    machine: [u8; HASH],
    database_made: u64,
    place_made: u64,
    place_touched: u64,
}

impl Whereabouts {
    const BYTES: usize = HASH + 3 * 8;

    /// Those of the account in `folder`, which gets its file `PLACE` if it has none.
    pub(super) fn of(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        if !path.exists() {
            files::write_new(&path, b"\n")?;
            files::sync_folder(folder)?;
        }
        let read = |path: &Path| fs::metadata(path).map_err(StoreError::io("read", path));
        let (database, place) = (read(&folder.join(database::FILE))?, read(&path)?);
        let touched = place.ctime().unsigned_abs().wrapping_mul(1_000_000_000);
        Ok(Self {
            machine: machine(),
            database_made: made(&database),
            place_made: made(&place),
            place_touched: touched.wrapping_add(place.ctime_nsec().unsigned_abs()),
        })
    }

    /// Whether nothing that is known of both differs.
    fn is(&self, other: &Self) -> bool {
        let differ = |one: u64, other: u64| one != other && one != 0 && other != 0;
        let is_known = self.machine != [0; HASH] && other.machine != [0; HASH];
        !((is_known && self.machine != other.machine)
            || differ(self.database_made, other.database_made)
            || differ(self.place_made, other.place_made)
            || differ(self.place_touched, other.place_touched))
    }

    fn encode(&self) -> Vec<u8> {
        let numbers = [self.database_made, self.place_made, self.place_touched].map(u64::to_be_bytes);
        [self.machine.as_slice(), numbers.as_flattened()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (machine, rest) = bytes.split_first_chunk()?;
        let (database_made, rest) = rest.split_first_chunk()?;
        let (place_made, rest) = rest.split_first_chunk()?;
        Some(Self {
            machine: *machine,
            database_made: u64::from_be_bytes(*database_made),
            place_made: u64::from_be_bytes(*place_made),
            place_touched: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

const _: () = assert!(Whereabouts::BYTES == 56);

fn made(metadata: &Metadata) -> u64 {
    let since = metadata.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default()
}

fn machine() -> [u8; HASH] {
    let id = MACHINE_IDS.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    let id = id.trim();
    if id.len() < MACHINE_ID {
        return [0; HASH];
    }
    *Hasher::new(MACHINE).chain(id).finish().as_bytes()
}

impl Store {
    /// Takes note of where the account lies. If that is not where it lay, it begins anew with everybody; says whether.
    pub(super) fn settle_whereabouts(&mut self, now: &Whereabouts) -> Result<bool, StoreError> {
        let before = self.setting(SETTING)?.as_deref().and_then(Whereabouts::decode);
        if before.as_ref() == Some(now) {
            return Ok(false);
        }
        let tx = self.transaction()?;
        let is_copy = before.is_some_and(|before| !before.is(now));
        if is_copy {
            tx.begin_anew()?;
        }
        let sql = "INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)";
        tx.execute(sql, rusqlite::params![SETTING, now.encode()])?;
        tx.commit()?;
        Ok(is_copy)
    }
}

impl Transaction<'_> {
    /// Forgets every key that may have served elsewhere, and notes whom to ask to begin anew. What was said stays, and
    /// what waits to be sent is encrypted again.
    pub(crate) fn begin_anew(&self) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM session",
            "DELETE FROM used_slot",
            "DELETE FROM bundle",
            "DELETE FROM prekey",
            "DELETE FROM mailbox",
            // By those this side began sessions that are gone: no key of them is used a second time.
            "UPDATE request SET bundles = x'' WHERE outgoing = 0 AND state = 1",
        ] {
            self.execute(sql, [])?;
        }
        let sql = "INSERT OR IGNORE INTO renewal SELECT account FROM contact WHERE state <> ?";
        self.execute(sql, [ContactState::Blocked.code()])?;
        Ok(())
    }

    /// Some of those who are yet to be asked to begin anew.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn renewals(&self, limit: usize) -> Result<Vec<Address>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.rows("SELECT account FROM renewal LIMIT ?", [limit], |row| row.get::<_, Vec<u8>>(0))?;
        rows.iter().map(|account| read_address(account)).collect()
    }

    /// One of them was asked, or need not be.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn set_renewed(&self, account: &Address) -> Result<(), StoreError> {
        self.execute("DELETE FROM renewal WHERE account = ?", [account.to_bytes()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Whereabouts = Whereabouts { machine: [7; HASH], database_made: 1, place_made: 2, place_touched: 3 };

    #[test]
    fn what_is_not_known_is_not_compared_and_what_differs_shows() {
        assert_eq!(Whereabouts::decode(&HERE.encode()), Some(HERE));
        assert_eq!(HERE.encode().len(), Whereabouts::BYTES);
        assert!(Whereabouts::decode(&[0; 55]).is_none() && Whereabouts::decode(&[0; 57]).is_none());
        for there in [
            Whereabouts { machine: [8; HASH], ..HERE },
            Whereabouts { database_made: 9, ..HERE },
            Whereabouts { place_made: 9, ..HERE },
            Whereabouts { place_touched: 9, ..HERE },
        ] {
            assert!(!HERE.is(&there) && !there.is(&HERE) && there.is(&there));
        }
        for unknown in
            [Whereabouts { machine: [0; HASH], ..HERE }, Whereabouts { database_made: 0, place_made: 0, ..HERE }]
        {
            assert!(HERE.is(&unknown) && unknown.is(&HERE));
        }
    }
}
