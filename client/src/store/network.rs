//! What an account knows of the network, and which nodes it has caught lying.

use rusqlite::{OptionalExtension as _, params};
use sotto_proto::chain::{NodeRecord, SignedHeader};
use sotto_proto::time::UnixMillis;

use super::row::{damaged, to_signed, to_unsigned};
use super::{Store, StoreError, Transaction};

/// Evidence that is kept; the oldest goes first, so that a liar cannot fill the disk.
const EVIDENCE: i64 = 256;
/// Bytes of one piece.
const EVIDENCE_BYTES: usize = 64 * 1024;

/// A list of nodes that was checked against a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedNetwork {
    /// The header.
    pub header: SignedHeader,
    /// Every registered node, in the order of their keys.
    pub nodes: Vec<NodeRecord>,
    /// When it was fetched.
    pub fetched: UnixMillis,
}

/// The kind of evidence after which no list is believed any more.
pub const EQUIVOCATION: &str = "two blocks of one height";

/// What contradicts itself, and what a node told that cannot be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// When that showed.
    pub found: UnixMillis,
    /// What it is about: [`EQUIVOCATION`], or what was told.
    pub kind: String,
    /// Two signed headers; of anything else, the key of who told it.
    pub bytes: Vec<u8>,
}

impl Store {
    /// The list that was saved last. It was checked then; nobody but this program has written here since.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn network(&self) -> Result<Option<SavedNetwork>, StoreError> {
        let header = self
            .connection()
            .query_row("SELECT header, fetched FROM header", [], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))
            .optional()?;
        let Some((header, fetched)) = header else { return Ok(None) };
        let connection = self.connection();
        let mut statement = connection.prepare("SELECT record FROM node ORDER BY node")?;
        let records = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
        let nodes = records.map(|record| NodeRecord::decode(&record?).map_err(damaged("a node record")));
        Ok(Some(SavedNetwork {
            header: SignedHeader::decode(&header).map_err(damaged("a header"))?,
            nodes: nodes.collect::<Result<_, _>>()?,
            fetched: UnixMillis(to_unsigned(fetched)),
        }))
    }

    /// Puts a list in the place of the one before, all or nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails; the earlier list is still there then.
    pub fn save_network(&mut self, network: &SavedNetwork) -> Result<(), StoreError> {
        let transaction = self.transaction()?;
        save_network(&transaction, network)?;
        transaction.commit()
    }

    /// Keeps evidence; of more than 256 pieces the oldest go. Bytes beyond 64 KiB are cut off.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn add_evidence(&mut self, evidence: &Evidence) -> Result<(), StoreError> {
        let transaction = self.transaction()?;
        let bytes = &evidence.bytes[..evidence.bytes.len().min(EVIDENCE_BYTES)];
        transaction.execute(
            "INSERT INTO evidence (found, kind, bytes) VALUES (?, ?, ?)",
            params![to_signed(evidence.found.0), evidence.kind, bytes],
        )?;
        let newest = transaction.connection().last_insert_rowid();
        transaction.execute("DELETE FROM evidence WHERE number <= ?", [newest.saturating_sub(EVIDENCE)])?;
        transaction.commit()
    }

    /// Whether the authority is known to have signed two blocks of one height.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn has_equivocation(&self) -> Result<bool, StoreError> {
        Ok(self.connection().query_row(
            "SELECT EXISTS (SELECT 1 FROM evidence WHERE kind = ?)",
            [EQUIVOCATION],
            |row| row.get(0),
        )?)
    }

    /// The evidence at hand, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub fn evidence(&self) -> Result<Vec<Evidence>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare("SELECT found, kind, bytes FROM evidence ORDER BY number DESC")?;
        let rows = statement.query_map([], |row| {
            Ok(Evidence { found: UnixMillis(to_unsigned(row.get(0)?)), kind: row.get(1)?, bytes: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// The part of [`Store::save_network`] inside its transaction.
fn save_network(transaction: &Transaction<'_>, network: &SavedNetwork) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT OR REPLACE INTO header (one, header, fetched) VALUES (1, ?, ?)",
        params![network.header.encode(), to_signed(network.fetched.0)],
    )?;
    transaction.execute("DELETE FROM node", [])?;
    for node in &network.nodes {
        let sql = "INSERT OR REPLACE INTO node (node, record) VALUES (?, ?)";
        transaction.execute(sql, params![node.node.as_bytes(), node.encode()])?;
    }
    Ok(())
}
