//! The tables of an account's database, and how older ones become them.
//!
//! | table | one row for |
//! | --- | --- |
//! | `account` | the account itself (there is one) |
//! | `setting` | a setting of the account |
//! | `outbox`, `receipt` | a message to send or sent; a node that keeps it. `session` and `sealed`: by which session it was encrypted, and what came of it |
//! | `inbox` | a message that came; `message` is its id, or the hash of what a later version wrote, without a sender |
//! | `seen` | a record that was looked at, until it can no longer come back |
//! | `cursor` | how far a node was read |
//! | `header`, `node` | the newest header that was checked (there is one); a node of its list |
//! | `evidence` | proof that a node lied |
//! | `contact`, `request` | somebody who is written to, or blocked; a wish to talk, in either direction |
//! | `mailbox`, `prekey` | where this device reads; what is sealed to it there |
//! | `bundle`, `used_slot` | keys given to somebody; one of them that served |
//! | `session` | a session with a device of somebody |
//! | `message` | what was said, in both directions |
//!
//! Times are Unix milliseconds unless the column says otherwise; unsigned numbers of 64 bits lie in the signed column
//! of the same bits.

use rusqlite::Connection;

use super::StoreError;

/// Each brings the schema from its index to the next. Never changed once released, only added to.
const MIGRATIONS: &[&str] = &[
    "CREATE TABLE account (
         one INTEGER PRIMARY KEY CHECK (one = 1), chain BLOB NOT NULL, name TEXT NOT NULL, entropy BLOB NOT NULL,
         created INTEGER NOT NULL, device_key BLOB NOT NULL) STRICT;
     CREATE TABLE setting (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE outbox (
         number INTEGER PRIMARY KEY AUTOINCREMENT, message BLOB NOT NULL UNIQUE, recipient BLOB NOT NULL,
         content BLOB NOT NULL, ttl_s INTEGER NOT NULL, created INTEGER NOT NULL, state INTEGER NOT NULL,
         record_id BLOB, record BLOB, attempts INTEGER NOT NULL DEFAULT 0, retry_at INTEGER NOT NULL DEFAULT 0,
         failure TEXT) STRICT;
     CREATE INDEX outbox_by_state ON outbox (state, number);
     CREATE TABLE receipt (
         message BLOB NOT NULL REFERENCES outbox (message) ON DELETE CASCADE, node BLOB NOT NULL,
         receipt BLOB NOT NULL, signature BLOB NOT NULL, PRIMARY KEY (message, node)) STRICT, WITHOUT ROWID;
     CREATE TABLE inbox (
         number INTEGER PRIMARY KEY AUTOINCREMENT, record BLOB NOT NULL UNIQUE, sender BLOB, message BLOB,
         received INTEGER NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL, shown INTEGER NOT NULL DEFAULT 0,
         UNIQUE (sender, message)) STRICT;
     CREATE INDEX inbox_by_shown ON inbox (shown, number);
     CREATE TABLE seen (record BLOB PRIMARY KEY, expiry_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE INDEX seen_by_expiry ON seen (expiry_s);
     CREATE TABLE cursor (
         address BLOB NOT NULL, node BLOB NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
         PRIMARY KEY (address, node)) STRICT, WITHOUT ROWID;
     CREATE TABLE header (
         one INTEGER PRIMARY KEY CHECK (one = 1), header BLOB NOT NULL, fetched INTEGER NOT NULL) STRICT;
     CREATE TABLE node (node BLOB PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE evidence (
         number INTEGER PRIMARY KEY AUTOINCREMENT, found INTEGER NOT NULL, kind TEXT NOT NULL,
         bytes BLOB NOT NULL) STRICT;",
    "CREATE TABLE contact (
         account BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, said_name TEXT, state INTEGER NOT NULL,
         created INTEGER NOT NULL, sequence INTEGER NOT NULL DEFAULT 0, verified INTEGER) STRICT, WITHOUT ROWID;
     CREATE TABLE request (
         id BLOB PRIMARY KEY, account BLOB NOT NULL, outgoing INTEGER NOT NULL, name TEXT NOT NULL,
         introduction TEXT NOT NULL, renewal INTEGER NOT NULL, bundles BLOB NOT NULL, state INTEGER NOT NULL,
         created INTEGER NOT NULL, expires_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE INDEX request_by_account ON request (account, outgoing);
     CREATE TABLE mailbox (
         address BLOB PRIMARY KEY, seed BLOB NOT NULL, created_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE prekey (
         number INTEGER PRIMARY KEY AUTOINCREMENT, secret BLOB NOT NULL, created_s INTEGER NOT NULL,
         retired_s INTEGER) STRICT;
     CREATE TABLE bundle (
         epoch INTEGER PRIMARY KEY AUTOINCREMENT, recipient BLOB NOT NULL, prekey INTEGER NOT NULL,
         secrets BLOB NOT NULL, created_s INTEGER NOT NULL, expires_s INTEGER NOT NULL) STRICT;
     CREATE TABLE used_slot (
         epoch INTEGER NOT NULL, slot INTEGER NOT NULL, ephemeral BLOB NOT NULL, tag BLOB NOT NULL,
         PRIMARY KEY (epoch, slot)) STRICT, WITHOUT ROWID;
     CREATE TABLE session (
         tag BLOB PRIMARY KEY, account BLOB NOT NULL, device INTEGER NOT NULL, own_device INTEGER NOT NULL,
         initiator INTEGER NOT NULL, ratchet BLOB NOT NULL, skipped BLOB, initial BLOB, mailbox BLOB NOT NULL,
         seal_key BLOB NOT NULL, peer_epoch INTEGER NOT NULL, created_s INTEGER NOT NULL, received_s INTEGER,
         retired_s INTEGER) STRICT, WITHOUT ROWID;
     CREATE INDEX session_by_account ON session (account);
     CREATE TABLE message (
         number INTEGER PRIMARY KEY AUTOINCREMENT, account BLOB NOT NULL, outgoing INTEGER NOT NULL, id BLOB NOT NULL,
         device INTEGER NOT NULL, sequence INTEGER NOT NULL, sent INTEGER NOT NULL, arrived INTEGER NOT NULL,
         content BLOB NOT NULL, UNIQUE (account, outgoing, id)) STRICT;
     CREATE INDEX message_by_time ON message (account, sent, number);
     ALTER TABLE outbox ADD COLUMN session BLOB;
     ALTER TABLE outbox ADD COLUMN sealed BLOB;
     ALTER TABLE inbox ADD COLUMN session BLOB;
     ALTER TABLE inbox ADD COLUMN device INTEGER NOT NULL DEFAULT 0;",
];

/// Brings the database to this version's schema, each step whole or not at all.
///
/// # Errors
/// [`StoreError::LaterVersion`] when a later program has written it.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::LaterVersion { found, known });
    }
    for (version, migration) in (1_u32..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.execute_batch(&format!("PRAGMA user_version = {version};"))?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_the_first_version_keeps_what_it_has() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection
            .execute_batch(
                "PRAGMA user_version = 1;
                 INSERT INTO outbox (message, recipient, content, ttl_s, created, state) VALUES (x'01', x'05', x'', 60, 1, 0);
                 INSERT INTO inbox (record, sender, message, received, kind, body) VALUES (x'02', x'05', x'03', 1, 1, x'');",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(one("SELECT count(*) FROM outbox WHERE session IS NULL AND sealed IS NULL"), 1);
        assert_eq!(one("SELECT count(*) FROM inbox WHERE session IS NULL AND device = 0"), 1);
    }

    #[test]
    fn a_database_of_a_later_version_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        connection.execute_batch("PRAGMA user_version = 99;").unwrap();
        assert!(matches!(migrate(&mut connection), Err(StoreError::LaterVersion { found: 99, .. })));
    }
}
