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
//! | `session` | a session with a device of somebody. `expires_s`, `epoch`: of the bundle it was begun by; `told`, `told_s`: which prekey of this device the other side was told last, and when; `known`: the latest that it is sure to know |
//! | `message` | what was said, in both directions. `state`: whether it is shown; `target`: which message it is about; `waits`: that one has not come; `edited`, `edited_by`: the time and the id of its present words; `expires`: when it disappears; `read_s`: so many seconds after it is read |
//! | `search` | the words of one of those, by which it is found |
//! | `draft` | what is begun and not sent |
//! | `renewal` | a contact that is yet to be asked to begin anew |
//! | `owed_receipt` | a message whose sender has not been told yet that it came, or was read |
//! | `question` | a verification by question and answer; `asked`: from here; `secret`: what the next step needs |
//! | `place` | where a contact says that it listens online; `said` by its clock |
//! | `own_place` | where this account listens for a contact, or by its own id for everybody, by which tag |
//!
//! Times are Unix milliseconds unless the column says otherwise; unsigned numbers of 64 bits lie in the signed column
//! of the same bits.

use rusqlite::Connection;

use super::{StoreError, search};

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
    // What is asked for often, or by strangers, is found without going through all of a table.
    "CREATE INDEX request_by_state ON request (outgoing, state);
     CREATE INDEX session_by_retired ON session (retired_s) WHERE retired_s IS NOT NULL;
     CREATE INDEX message_by_sequence ON message (account, outgoing, device, sequence);
     CREATE INDEX outbox_by_recipient ON outbox (recipient, number);",
    // In which order sessions serve, and what the other side of each was told.
    "ALTER TABLE session ADD COLUMN expires_s INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE session ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE session ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE session ADD COLUMN told_s INTEGER NOT NULL DEFAULT 0;
     CREATE INDEX session_by_told ON session (told);
     CREATE INDEX session_by_time_told ON session (told_s);
     CREATE INDEX bundle_by_recipient ON bundle (recipient);",
    SEARCH,
    // What becomes of a message after it was said: other words, signs, erasure; receipts; questions.
    "ALTER TABLE message ADD COLUMN state INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE message ADD COLUMN target BLOB;
     ALTER TABLE message ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE message ADD COLUMN edited INTEGER;
     ALTER TABLE message ADD COLUMN edited_by BLOB;
     ALTER TABLE message ADD COLUMN expires INTEGER;
     ALTER TABLE message ADD COLUMN read_s INTEGER;
     CREATE INDEX message_by_id ON message (account, id);
     CREATE INDEX message_by_target ON message (account, target) WHERE target IS NOT NULL;
     CREATE INDEX message_by_waiting ON message (account, number) WHERE waits = 1;
     CREATE INDEX message_by_expiry ON message (expires) WHERE expires IS NOT NULL;
     CREATE INDEX message_by_reading ON message (account, id) WHERE read_s IS NOT NULL;
     ALTER TABLE contact ADD COLUMN timer_start INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE contact ADD COLUMN timer_s INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE contact ADD COLUMN timer_sent INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE contact ADD COLUMN timer_by BLOB NOT NULL DEFAULT x'';
     ALTER TABLE contact ADD COLUMN verified_by INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE contact ADD COLUMN attempts BLOB;
     CREATE TABLE owed_receipt (
         account BLOB NOT NULL, message BLOB NOT NULL, told INTEGER NOT NULL,
         PRIMARY KEY (account, message)) STRICT, WITHOUT ROWID;
     ALTER TABLE outbox ADD COLUMN passing INTEGER NOT NULL DEFAULT 0;
     CREATE INDEX outbox_by_passing ON outbox (created) WHERE passing = 1;
     CREATE TABLE question (
         account BLOB NOT NULL, run BLOB NOT NULL, asked INTEGER NOT NULL, session BLOB NOT NULL, text TEXT NOT NULL,
         share BLOB, secret BLOB, state INTEGER NOT NULL, created INTEGER NOT NULL,
         PRIMARY KEY (account, run, asked)) STRICT, WITHOUT ROWID;
     CREATE INDEX question_by_session ON question (session);",
    // Who is reached online where.
    "CREATE TABLE place (
         account BLOB PRIMARY KEY, said INTEGER NOT NULL, node BLOB NOT NULL, tag BLOB NOT NULL,
         until_s INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE own_place (
         tag BLOB PRIMARY KEY, account BLOB NOT NULL, node BLOB NOT NULL, until_s INTEGER NOT NULL,
         told INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE INDEX own_place_by_account ON own_place (account);",
    // Which prekey of this device the other side knows; of sessions from before, nobody has looked.
    "ALTER TABLE session ADD COLUMN known INTEGER NOT NULL DEFAULT 0;
     UPDATE session SET known = 1;",
];

/// What was said is found by its words; what is begun is kept; who is asked to begin anew.
const SEARCH: &str = "CREATE VIRTUAL TABLE search USING fts5 (words, tokenize = 'ascii', columnsize = 0);
     INSERT INTO search (search, rank) VALUES ('secure-delete', 1);
     CREATE TRIGGER message_erased AFTER DELETE ON message BEGIN DELETE FROM search WHERE rowid = OLD.number; END;
     CREATE TABLE draft (account BLOB PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE renewal (account BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;";

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
        if *migration == SEARCH {
            search::fill(&transaction)?;
        }
        transaction.execute_batch(&format!("PRAGMA user_version = {version};"))?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::ToSql;
    use rusqlite::types::Value;
    use sotto_proto::address::Address;
    use sotto_proto::content::{Body, Content, MessageId, Text};
    use sotto_proto::id::{RecordId, X25519Key};
    use sotto_proto::request::Message as _;
    use sotto_proto::time::UnixMillis;

    use super::*;
    use crate::store::{InboxNumber, Letter, SearchWords, Store};

    /// A database of the first version with a row in each table.
    fn first_version() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        let (sender, content) = (address().to_bytes(), content().encode().unwrap());
        let (message, record) = (content_id(), [9_u8; 32]);
        let insert =
            |sql: &str, parameters: &[&dyn ToSql]| assert_eq!(connection.execute(sql, parameters), Ok(1), "{sql}");
        insert("INSERT INTO account VALUES (1, ?, 'alice', ?, 5, ?)", &[&record, &[1_u8; 16], &record]);
        insert("INSERT INTO setting VALUES ('polls', x'0102')", &[]);
        insert(
            "INSERT INTO outbox (message, recipient, content, ttl_s, created, state, attempts, retry_at, failure)
             VALUES (?, ?, ?, 60, 7, 1, 3, 8, 'no path')",
            &[&message, &sender, &content],
        );
        insert("INSERT INTO receipt VALUES (?, ?, x'01', x'02')", &[&message, &record]);
        insert(
            "INSERT INTO inbox (record, sender, message, received, kind, body, shown) VALUES (?, ?, ?, 6, 1, ?, 1)",
            &[&record, &sender, &message, &content],
        );
        insert("INSERT INTO seen VALUES (?, 50)", &[&record]);
        insert("INSERT INTO cursor VALUES (?, ?, 4, 5)", &[&sender, &record]);
        insert("INSERT INTO header VALUES (1, x'01', 2)", &[]);
        insert("INSERT INTO node VALUES (?, x'02')", &[&record]);
        insert("INSERT INTO evidence (found, kind, bytes) VALUES (1, 'list', x'03')", &[]);
        connection.execute_batch("PRAGMA user_version = 1;").unwrap();
        connection
    }

    fn address() -> Address {
        Address::account(&X25519Key::new([5; 32]))
    }

    fn content_id() -> [u8; 16] {
        [3; 16]
    }

    fn content() -> Content {
        let body = Body::Text(Text::new("before".into()).unwrap());
        Content::new(MessageId::new(content_id()), UnixMillis(5), body)
    }

    /// Every row of every table that is named.
    fn rows(connection: &Connection, tables: &[&str]) -> Vec<String> {
        let mut rows = Vec::new();
        for table in tables {
            let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = statement.column_count();
            let mut found = statement.query([]).unwrap();
            while let Some(row) = found.next().unwrap() {
                rows.push(format!("{table} {:?}", (0..columns).map(|i| row.get::<_, Value>(i)).collect::<Vec<_>>()));
            }
        }
        rows
    }

    #[test]
    fn a_database_of_the_first_version_keeps_what_it_has() {
        const UNCHANGED: [&str; 8] = ["account", "setting", "receipt", "seen", "cursor", "header", "node", "evidence"];
        let mut connection = first_version();
        let before = rows(&connection, &UNCHANGED);
        migrate(&mut connection).unwrap();
        assert_eq!((before.len(), rows(&connection, &UNCHANGED)), (UNCHANGED.len(), before));
        connection.execute("DELETE FROM receipt", []).unwrap();
        let mut store = Store::new(connection);
        let waiting = store.pending(9).unwrap().remove(0);
        assert_eq!((waiting.content, waiting.recipient, waiting.encrypted), (content(), address(), None));
        assert_eq!((waiting.attempts, waiting.failure.as_deref()), (3, Some("no path")));
        let came = store.inbox_after(InboxNumber(0), 9).unwrap().remove(0);
        let letter = Letter::Message { sender: address(), device: 0, session: None, content: content() };
        assert_eq!((came.letter, came.shown), (letter, true));
        // What came before is neither taken in again nor in the way of what comes.
        let tx = store.transaction().unwrap();
        assert!(tx.has_seen(&RecordId::new([9; 32])).unwrap());
        assert_eq!(tx.contacts().unwrap(), []);
        assert_eq!(tx.next_bundle_epoch().unwrap(), 1);
    }

    #[test]
    fn what_was_said_before_there_was_an_index_is_found() {
        let mut connection = Connection::open_in_memory().unwrap();
        let before = MIGRATIONS.iter().position(|migration| *migration == SEARCH).unwrap();
        for migration in &MIGRATIONS[..before] {
            connection.execute_batch(migration).unwrap();
        }
        connection.execute_batch(&format!("PRAGMA user_version = {before};")).unwrap();
        let insert = "INSERT INTO message (account, outgoing, id, device, sequence, sent, arrived, content)
                      VALUES (?, 0, ?, 0, 1, 5, 6, ?)";
        for (id, bytes) in [([1; 16], content().encode().unwrap()), ([2; 16], b"damaged".to_vec())] {
            assert_eq!(connection.execute(insert, (address().to_bytes(), id, bytes)), Ok(1));
        }
        migrate(&mut connection).unwrap();
        let mut store = Store::new(connection);
        let tx = store.transaction().unwrap();
        let found = tx.search(&SearchWords::new("BEFORE").unwrap(), None, None, 9).unwrap();
        assert_eq!(found.into_iter().map(|(_, said)| said.content).collect::<Vec<_>>(), [content()]);
    }

    #[test]
    fn a_migration_that_fails_leaves_the_version_before_it() {
        let mut connection = first_version();
        connection.execute_batch("CREATE TABLE contact (x);").unwrap();
        assert!(migrate(&mut connection).is_err());
        let version: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!((version, connection.prepare("SELECT session FROM outbox").is_err()), (1, true));
        connection.execute_batch("DROP TABLE contact;").unwrap();
        migrate(&mut connection).unwrap();
    }

    #[test]
    fn no_table_that_grows_is_gone_through_for_one_row() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        for sql in [
            "SELECT count(*) FROM request WHERE outgoing = 0 AND state = 0",
            "SELECT id FROM request WHERE account = x'' AND outgoing = 0",
            "SELECT tag FROM session WHERE account = x''",
            "DELETE FROM session WHERE retired_s < 1",
            "SELECT number FROM message WHERE account = x'' AND (sent, number) < (1, 1) ORDER BY sent DESC, number DESC",
            "SELECT device, sequence FROM message WHERE account = x'' AND outgoing = 0 AND sequence <> 0",
            "SELECT message FROM outbox WHERE recipient = x'' AND session IS NOT NULL ORDER BY number",
            "DELETE FROM outbox WHERE recipient = x''",
            "DELETE FROM inbox WHERE sender = x''",
            "DELETE FROM bundle WHERE recipient = x''",
            "SELECT number FROM message WHERE account = x'' AND id BETWEEN x'' AND x'ff'",
            "SELECT number FROM message WHERE account = x'' AND target = x''",
            "SELECT count(*) FROM message WHERE account = x'' AND waits = 1",
            "SELECT number FROM message WHERE expires <= 5",
            "DELETE FROM outbox WHERE passing = 1 AND created < 5",
            "SELECT run FROM question WHERE session = x''",
            "DELETE FROM own_place WHERE account = x''",
        ] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let plan = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
            let plan: Vec<_> = plan.collect::<Result<_, _>>().unwrap();
            let searched = plan.iter().any(|step| step.starts_with("SEARCH"));
            assert!(searched && !plan.iter().any(|step| step.starts_with("SCAN")), "{sql}: {plan:?}");
        }
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
