//! The storage thread: owns the store and the key files, and makes many small writes into few large ones.
//!
//! | command | told when | queue |
//! | --- | --- | --- |
//! | persist | on disk | one queue of [`QUEUE`] commands for all; a full one refuses the event loop, makes the chain |
//! | write | written: survives the process; on disk at most [`WRITTEN_WITHIN`] later | thread wait |
//! | read | at once, after the writes before it | |
//!
//! After an error no further write is made ([`StoreError::Failed`]): which of them are on disk is unknown then, and a
//! second sync of what the first has failed for proves nothing. Reads go on. Every now and then it is tried whether the
//! disk takes writes again ([`Mending`]); whoever is told then opens the database anew and finds out what is on it.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::mending::Mending;
use super::{Batch, Store, StoreError};
use crate::keys::{KeyDirectory, KeyError, Seed, Slot};
use crate::metrics;

/// Commands that may wait.
pub const QUEUE: usize = 64;
/// Commands that become one write.
const GROUP: usize = 64;
/// What is only written is on disk after this time. Nobody is told anything on the strength of it: what a loss of power
/// takes are the newest blocks, which are fetched again. Fifty nodes on one machine that sync for each block keep its
/// disk busy with nothing.
pub const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// A change of the key files.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// Writes the key that comes next.
    PutNext(Seed),
    /// The next key becomes the current one, the current one the previous.
    Promote,
    /// Overwrites and removes a key.
    Destroy(Slot),
}

/// What one persist does: the key files first, each on disk before the next, then the batch.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Changes of key files, in order.
    pub keys: Vec<KeyChange>,
    /// Changes of the database.
    pub batch: Batch,
}

/// Is told when a persist is on disk, or that it never will be.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Looks at the store.
pub type Read = Box<dyn FnOnce(&dyn Store) + Send>;

enum Command {
    Persist { job: Job, done: Done },
    Write { batch: Batch, done: SyncSender<Result<(), StoreError>> },
    Read(Read),
}

/// The way to the storage thread. When the last one is dropped, the thread syncs and ends.
#[derive(Clone)]
pub struct StoreHandle {
    queue: SyncSender<Command>,
}

impl std::fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreHandle")
    }
}

impl StoreHandle {
    /// Persists `job`; never waits. `done` is called on the storage thread.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when the queue is full, [`StoreError::Closed`] when the thread has ended; `done` is not
    /// called then.
    pub fn try_persist(&self, job: Job, done: Done) -> Result<(), StoreError> {
        self.try_send(Command::Persist { job, done })
    }

    /// Looks at the store, after everything written before; never waits.
    ///
    /// # Errors
    /// As [`Self::try_persist`].
    pub fn try_read(&self, read: Read) -> Result<(), StoreError> {
        self.try_send(Command::Read(read))
    }

    /// Writes `batch` and waits until it survives the end of the process. Not for the event loop.
    ///
    /// # Errors
    /// When it was not written.
    pub fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let (done, written) = sync_channel(1);
        self.queue.send(Command::Write { batch, done }).map_err(|_| StoreError::Closed)?;
        written.recv().map_err(|_| StoreError::Closed)?
    }

    /// Writes `batch` and waits until it, and everything before it, survives the loss of power. Not for the event loop.
    ///
    /// # Errors
    /// When it was not written, or it is not known whether it is on disk.
    pub fn write_durably(&self, batch: Batch) -> Result<(), StoreError> {
        let (tell, told) = sync_channel(1);
        // Whoever gave up waiting does not want to know.
        let done: Done = Box::new(move |result| drop(tell.send(result)));
        let job = Job { keys: Vec::new(), batch };
        self.queue.send(Command::Persist { job, done }).map_err(|_| StoreError::Closed)?;
        told.recv().map_err(|_| StoreError::Closed)?
    }

    fn try_send(&self, command: Command) -> Result<(), StoreError> {
        self.queue.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => {
                metrics::storage_refused();
                StoreError::Busy
            }
            TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }
}

/// Starts the storage thread on `store` and the key files.
///
/// # Errors
/// When the operating system gives no thread.
pub fn spawn(store: impl Store, keys: KeyDirectory) -> io::Result<(StoreHandle, JoinHandle<()>)> {
    spawn_mending(store, keys, None)
}

/// The same; after an error `mending` looks when the disk takes writes again.
///
/// # Errors
/// When the operating system gives no thread.
pub fn spawn_mending(
    store: impl Store,
    keys: KeyDirectory,
    mending: Option<Mending>,
) -> io::Result<(StoreHandle, JoinHandle<()>)> {
    let (queue, commands) = sync_channel(QUEUE);
    let writer = Writer { store, keys, failed: None, sync_at: None, mending };
    let thread = std::thread::Builder::new().name("storage".into()).spawn(move || writer.run(&commands))?;
    Ok((StoreHandle { queue }, thread))
}

struct Writer<S> {
    store: S,
    keys: KeyDirectory,
    failed: Option<StoreError>,
    /// When it is due, if something written waits for it.
    sync_at: Option<Instant>,
    /// Gone when it has told that the disk takes writes again.
    mending: Option<Mending>,
}

/// Commands that become one write.
#[derive(Default)]
struct Group {
    batch: Batch,
    synced: Vec<Done>,
    written: Vec<SyncSender<Result<(), StoreError>>>,
}

impl<S: Store> Writer<S> {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let first = match self.due() {
                None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => commands.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match first {
                Ok(first) => self.handle(std::iter::once(first).chain(commands.try_iter().take(GROUP - 1))),
                Err(RecvTimeoutError::Timeout) if self.failed.is_some() => {}
                Err(RecvTimeoutError::Timeout) => drop(self.sync()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.mend_if_due();
        }
        drop(self.sync());
    }

    /// When something is to be done although nobody asks for it.
    fn due(&self) -> Option<Instant> {
        if self.failed.is_some() { self.mending.as_ref().and_then(Mending::due) } else { self.sync_at }
    }

    /// Reads are looked after meanwhile, so this comes between them too.
    fn mend_if_due(&mut self) {
        let (Some(error), Some(mending)) = (&self.failed, &mut self.mending) else { return };
        if mending.try_if_due(Instant::now(), error) {
            self.mending = None;
        }
    }

    fn handle(&mut self, commands: impl Iterator<Item = Command>) {
        let mut group = Group::default();
        for command in commands {
            match command {
                Command::Persist { job, done } => {
                    if !job.keys.is_empty() {
                        self.write(std::mem::take(&mut group));
                    }
                    match self.change_keys(&job.keys) {
                        Ok(()) => {
                            group.batch.writes.extend(job.batch.writes);
                            group.synced.push(done);
                        }
                        Err(error) => done(Err(error)),
                    }
                }
                Command::Write { batch, done } => {
                    group.batch.writes.extend(batch.writes);
                    group.written.push(done);
                }
                Command::Read(read) => {
                    self.write(std::mem::take(&mut group));
                    read(&self.store);
                }
            }
        }
        self.write(group);
    }

    /// Key files are independent of the database: an error there closes nothing, the machine tries again.
    fn change_keys(&self, changes: &[KeyChange]) -> Result<(), StoreError> {
        let result: Result<(), KeyError> = changes.iter().try_for_each(|change| match change {
            KeyChange::PutNext(seed) => self.keys.put_next(seed),
            KeyChange::Promote => self.keys.promote(),
            KeyChange::Destroy(slot) => self.keys.destroy(*slot),
        });
        result.map_err(|error| StoreError::Engine(error.to_string()))
    }

    fn write(&mut self, group: Group) {
        if group.synced.is_empty() && group.written.is_empty() {
            return;
        }
        let result = self.guarded(|store| store.write(&group.batch));
        for done in group.written {
            // Whoever gave up waiting does not want to know.
            let _ = done.send(result.clone());
        }
        if result.is_ok() {
            self.sync_at.get_or_insert_with(|| Instant::now() + WRITTEN_WITHIN);
        }
        if !group.synced.is_empty() {
            let result = result.and_then(|()| self.sync());
            group.synced.into_iter().for_each(|done| done(result.clone()));
        }
    }

    /// Has everything that was written on disk.
    fn sync(&mut self) -> Result<(), StoreError> {
        if self.sync_at.take().is_none() {
            return Ok(());
        }
        let start = Instant::now();
        let result = self.guarded(S::sync);
        metrics::storage_synced(start.elapsed());
        result
    }

    /// Runs a write unless one failed before; remembers if this one does.
    fn guarded(&mut self, write: impl FnOnce(&mut S) -> Result<(), StoreError>) -> Result<(), StoreError> {
        if let Some(error) = &self.failed {
            return Err(StoreError::Failed(error.to_string()));
        }
        write(&mut self.store).map_err(|error| {
            tracing::error!(%error, "the database takes no more writes; it is opened again when the disk takes some");
            metrics::storage_failed(true);
            if let Some(mending) = &mut self.mending {
                mending.begin(Instant::now());
            }
            let failed = StoreError::Failed(error.to_string());
            self.failed = Some(error);
            failed
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use sotto_proto::id::{BlockHash, Height};

    use super::super::Write;
    use super::super::faulty::FaultyStore;
    use super::super::memory::MemoryStore;
    use super::*;

    fn keys() -> (tempfile::TempDir, KeyDirectory) {
        let datadir = tempfile::tempdir().unwrap();
        let keys = KeyDirectory::of(datadir.path());
        keys.create().unwrap();
        (datadir, keys)
    }

    fn block(height: u64) -> Batch {
        let hash = BlockHash::new([1; 32]);
        Batch::of(Write::PutBlock { height: Height(height), hash, bytes: vec![0; 10] })
    }

    fn job(height: u64) -> Job {
        Job { keys: Vec::new(), batch: block(height) }
    }

    fn done() -> (Done, Receiver<Result<(), StoreError>>) {
        let (tell, told) = sync_channel(1);
        (Box::new(move |result| tell.send(result).unwrap()), told)
    }

    #[test]
    fn commands_that_wait_together_become_one_write_and_one_sync() {
        let (_datadir, keys) = keys();
        let store = FaultyStore::default();
        let log = store.faults.log.clone();
        let (handle, _thread) = spawn(store, keys).unwrap();
        // The thread stands in a read while the commands queue up.
        let (go, gate) = sync_channel::<()>(0);
        handle.try_read(Box::new(move |_| gate.recv().unwrap())).unwrap();
        let waiting: Vec<_> = (1..=10)
            .map(|height| {
                let (tell, told) = done();
                handle.try_persist(job(height), tell).unwrap();
                told
            })
            .collect();
        go.send(()).unwrap();
        for told in waiting {
            told.recv().unwrap().unwrap();
        }
        assert_eq!(*log.lock().unwrap(), ["write", "sync"]);
    }

    #[test]
    fn what_is_only_written_is_synced_with_what_somebody_waits_for_or_at_the_end() {
        let (_datadir, keys) = keys();
        let store = FaultyStore::default();
        let log = store.faults.log.clone();
        let (handle, thread) = spawn(store, keys).unwrap();
        for height in 1..=3 {
            handle.write(block(height)).unwrap();
        }
        std::thread::sleep(Duration::from_millis(200)); // what does not happen cannot be awaited
        assert_eq!(*log.lock().unwrap(), ["write"; 3]);
        let (tell, told) = done();
        handle.try_persist(job(4), tell).unwrap();
        told.recv().unwrap().unwrap();
        assert_eq!(*log.lock().unwrap(), ["write", "write", "write", "write", "sync"]);
        handle.write(block(5)).unwrap();
        handle.write_durably(block(6)).unwrap();
        handle.write(block(7)).unwrap();
        drop(handle);
        thread.join().unwrap();
        assert_eq!(log.lock().unwrap()[5..], ["write", "write", "sync", "write", "sync"]);
    }

    #[test]
    fn reads_see_the_writes_before_them() {
        let (_datadir, keys) = keys();
        let (handle, _thread) = spawn(MemoryStore::default(), keys).unwrap();
        handle.write(block(1)).unwrap();
        let (tell, told) = sync_channel(1);
        handle.try_read(Box::new(move |store| tell.send(store.block_range().unwrap()).unwrap())).unwrap();
        assert_eq!(told.recv().unwrap(), Some(Height(1)..=Height(1)));
    }

    #[test]
    fn after_a_failed_sync_nothing_is_acknowledged_any_more() {
        let (_datadir, keys) = keys();
        let store = FaultyStore::default();
        store.faults.syncs.store(true, Ordering::SeqCst);
        let (faults, (handle, _thread)) = (store.faults.clone(), spawn(store, keys).unwrap());
        for height in 1..=2 {
            let (tell, told) = done();
            handle.try_persist(job(height), tell).unwrap();
            assert!(told.recv().unwrap().is_err());
            faults.syncs.store(false, Ordering::SeqCst);
        }
        assert!(matches!(handle.write(block(3)), Err(StoreError::Failed(_))), "a second sync proves nothing");
        assert_eq!(*faults.log.lock().unwrap(), ["write", "sync"]);
        let (tell, told) = sync_channel(1);
        handle.try_read(Box::new(move |store| tell.send(store.block_range().unwrap()).unwrap())).unwrap();
        assert_eq!(told.recv().unwrap(), Some(Height(1)..=Height(1)), "reads go on");
    }

    #[test]
    fn whoever_opens_it_again_is_told_once_when_the_disk_takes_writes_again() {
        let (_datadir, keys) = keys();
        let store = FaultyStore::default();
        store.faults.writes.store(true, Ordering::SeqCst);
        let tries = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let (tell, told) = sync_channel(2);
        let counted = tries.clone();
        let attempt = move || match counted.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(io::Error::other("no space left")),
            _ => Ok(()),
        };
        let mended = move |error: StoreError| tell.send(error).unwrap();
        let mending = Mending::new(Duration::from_millis(1), Box::new(attempt), Box::new(mended));
        let (handle, thread) = spawn_mending(store, keys, Some(mending)).unwrap();
        assert!(matches!(handle.write(block(1)), Err(StoreError::Failed(_))));
        assert!(matches!(told.recv().unwrap(), StoreError::Engine(_)), "with what had happened");
        assert_eq!(tries.load(Ordering::SeqCst), 3);
        assert!(matches!(handle.write(block(2)), Err(StoreError::Failed(_))), "this thread writes no more");
        drop(handle);
        thread.join().unwrap();
        assert!(told.recv().is_err(), "once");
    }

    #[test]
    fn a_full_queue_refuses_and_an_ended_thread_says_so() {
        let (_datadir, keys) = keys();
        let (handle, thread) = spawn(MemoryStore::default(), keys).unwrap();
        let (go, gate) = sync_channel::<()>(0);
        handle.try_read(Box::new(move |_| gate.recv().unwrap())).unwrap();
        let refused = (0..=2 * QUEUE).find_map(|height| {
            let (tell, _told) = done();
            handle.try_persist(job(height as u64), Box::new(move |_| drop(tell))).err()
        });
        assert!(matches!(refused, Some(StoreError::Busy)));
        go.send(()).unwrap();
        drop(handle);
        thread.join().unwrap();
    }

    #[test]
    fn key_files_change_before_the_batch_and_their_errors_close_nothing() {
        let (_datadir, keys) = keys();
        let (handle, _thread) = spawn(MemoryStore::default(), keys.clone()).unwrap();
        let (tell, told) = done();
        let next = KeyChange::PutNext(Seed::take(&mut [3; 32]));
        handle.try_persist(Job { keys: vec![next], batch: block(1) }, tell).unwrap();
        told.recv().unwrap().unwrap();
        assert_eq!(keys.read(Slot::X25519Next).unwrap().expose()[0], 3);

        std::fs::create_dir(keys.path(Slot::X25519Previous)).unwrap(); // no file: cannot be overwritten
        let (tell, told) = done();
        let destroy = KeyChange::Destroy(Slot::X25519Previous);
        handle.try_persist(Job { keys: vec![destroy], batch: block(2) }, tell).unwrap();
        assert!(told.recv().unwrap().is_err());
        handle.write(block(2)).unwrap();
    }
}
