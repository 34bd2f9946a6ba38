//! The node that dies: a real event loop on a real database, told at which passing of which moment to abort.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use sotto_node::event_loop::KillPoint;
use sotto_node::http::{Control, Question};
use sotto_node::run::DATABASE;
use sotto_node::store::rocks::RocksStore;
use sotto_node::store::{Batch, Family, Limit, MetaKey, Row, Store, StoreError, StoredBlock, StoredSnapshot, Write};
use sotto_proto::id::Height;
use sotto_proto::time::UnixMillis;
use tokio_util::sync::CancellationToken;

use super::layout::{Layout, Node};

/// Where the child gets its orders.
pub(super) const ORDERS: &str = "SOTTO_TEST_KILL_NODE";

/// What a write of the storage thread is about; the first that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Records go.
    Deletion,
    /// Records come.
    Records,
    /// A key file was written or destroyed; the batch beside it is empty.
    KeyFile,
    /// The next key became the current one in the files; the batch says since when.
    Promotion,
    /// Whatever else there is.
    Other,
}

/// A moment to die at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The storage thread has a batch and has not written it.
    Unwritten(What),
    /// It has written and not synced it.
    Unsynced(What),
    /// It has synced it and told nobody.
    Synced(What),
    /// A moment of the event loop.
    Loop(KillPoint),
    /// A transaction of the node is in a block, and the node has not heard of it.
    Unheard,
    /// The storage thread has records and has not written them, nor those before: what no node may do. Each batch is
    /// written with the next, by when somebody has receipts for it.
    Late,
    /// None: the life is to last.
    Never,
}

/// What a child is told.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    pub(super) layout: Layout,
    pub(super) datadir: PathBuf,
    pub(super) moment: Moment,
    /// Passings before the one that kills.
    pub(super) left: u64,
}

/// Every moment, so that orders can say its number.
fn moments() -> Vec<Moment> {
    use KillPoint::{Confirmed, Durable, Handed, Published, Publishing, Told};
    use What::{Deletion, KeyFile, Promotion, Records};
    let of_store = [Deletion, Records, KeyFile, Promotion]
        .into_iter()
        .flat_map(|what| [Moment::Unwritten(what), Moment::Unsynced(what), Moment::Synced(what)]);
    let of_loop = [Durable, Told, Publishing, Published, Handed, Confirmed].map(Moment::Loop);
    of_store.chain(of_loop).chain([Moment::Unheard, Moment::Late, Moment::Never]).collect()
}

impl Orders {
    pub(super) fn encode(&self) -> String {
        let Layout { subnet, port, began, ahead } = &self.layout;
        let moment = moments().iter().position(|moment| *moment == self.moment).unwrap();
        let ahead = ahead.load(Ordering::Relaxed);
        format!("{subnet} {port} {} {ahead} {moment} {} {}", began.0, self.left, self.datadir.display())
    }

    pub(super) fn decode(text: &str) -> Self {
        let parts: Vec<_> = text.splitn(7, ' ').collect();
        let number = |at: usize| parts[at].parse::<u64>().unwrap();
        let layout = Layout {
            subnet: number(0) as u8,
            port: number(1) as u16,
            began: UnixMillis(number(2)),
            ahead: Arc::new(number(3).into()),
        };
        let moment = moments()[number(4) as usize];
        Self { layout, datadir: parts[6].into(), moment, left: number(5) }
    }

    pub(super) fn executioner(&self) -> Executioner {
        Executioner { moment: self.moment, left: Arc::new(Mutex::new(self.left)) }
    }
}

/// Ends the process at the ordered passing.
#[derive(Clone)]
pub(super) struct Executioner {
    moment: Moment,
    left: Arc<Mutex<u64>>,
}

impl Executioner {
    pub(super) fn pass(&self, moment: Moment) {
        let is_late = self.moment == Moment::Late && moment == Moment::Unwritten(What::Records);
        if moment == self.moment || is_late {
            let mut left = self.left.lock().unwrap();
            *left = left.checked_sub(1).unwrap_or_else(|| std::process::abort());
        }
    }
}

/// A store that tells when it writes and syncs.
pub(super) struct Probed<S> {
    pub(super) inner: S,
    pub(super) executioner: Executioner,
    last: What,
    /// Written with the next batch.
    late: Batch,
}

impl<S> Probed<S> {
    pub(super) fn new(inner: S, executioner: Executioner) -> Self {
        Self { inner, executioner, last: What::Other, late: Batch::default() }
    }
}

fn what(batch: &Batch) -> What {
    let has = |is: fn(&Write) -> bool| batch.writes.iter().any(is);
    if has(|write| matches!(write, Write::DeleteRecord { .. })) {
        What::Deletion
    } else if has(|write| matches!(write, Write::PutRecord { .. })) {
        What::Records
    } else if has(|write| matches!(write, Write::PutMeta(MetaKey::Rotation, _))) {
        What::Promotion
    } else if batch.writes.is_empty() {
        What::KeyFile
    } else {
        What::Other
    }
}

impl<S: Store> Store for Probed<S> {
    fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.last = what(batch);
        self.executioner.pass(Moment::Unwritten(self.last));
        if self.executioner.moment == Moment::Late && self.last == What::Records {
            let before = std::mem::replace(&mut self.late, batch.clone());
            return self.inner.write(&before);
        }
        self.inner.write(batch)?;
        self.executioner.pass(Moment::Unsynced(self.last));
        Ok(())
    }
    fn sync(&mut self) -> Result<(), StoreError> {
        self.inner.sync()?;
        self.executioner.pass(Moment::Synced(self.last));
        Ok(())
    }
    fn blocks(&self, from: Height, limit: Limit) -> Result<Vec<StoredBlock>, StoreError> {
        self.inner.blocks(from, limit)
    }
    fn block_range(&self) -> Result<Option<RangeInclusive<Height>>, StoreError> {
        self.inner.block_range()
    }
    fn snapshot(&self, at_most: Height) -> Result<Option<StoredSnapshot>, StoreError> {
        self.inner.snapshot(at_most)
    }
    fn meta(&self, key: MetaKey) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.meta(key)
    }
    fn row(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.row(family, key)
    }
    fn rows(&self, family: Family, from: &[u8], until: &[u8], count: usize) -> Result<Vec<Row>, StoreError> {
        self.inner.rows(family, from, until, count)
    }
}

/// Does nothing unless it is the child: then it is node 0 until it dies, or until its standard input ends, and says how
/// it is whenever it is asked.
#[test]
fn child() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders = Orders::decode(&orders);
    let executioner = orders.executioner();
    let store = RocksStore::open(&orders.datadir.join(DATABASE)).unwrap();
    let store = Probed::new(store, executioner.clone());
    let probe = Box::new(move |point| executioner.pass(Moment::Loop(point)));
    let (control, questions) = Control::channel();
    std::thread::spawn(move || answer(&control));
    let Orders { layout, datadir, .. } = orders;
    Node { layout, number: 0, datadir, store, probe }.run(questions, CancellationToken::new());
}

/// A line: how is it? The end: it is to stop.
pub(super) fn answer(control: &Control) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in std::io::stdin().lines() {
        let status = runtime.block_on(control.ask(Question::Status)).unwrap();
        // The harness may have begun the line.
        println!("\nstatus {}", serde_json::to_string(&status).unwrap());
    }
    control.shut_down().unwrap();
}
