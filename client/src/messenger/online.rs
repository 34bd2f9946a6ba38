//! The online way (M2): listening at a node of another swarm for contacts, and pushing to where they listen.
//!
//! ```text
//! contact ── push ──▶ node ──▶ listening (task) ── 16 pushes ──▶ take_pushed ──▶ store ──▶ whoever follows
//!    ▲                                                              │
//!    └──── acknowledgement, own place ◀── path "send" (task, 16) ◀──┘
//! message of the outbox ──▶ path "send" ──▶ node of the contact ─ ─ ▶ acknowledged within 3 s, or it is stored as ever
//! ```
//!
//! | file | what |
//! | --- | --- |
//! | `listening` | a tunnel at a listening node, and when the next one is begun |
//! | `hearing` | what comes pushed, and what is said in answer |
//! | `pushing` | to a contact's node and tag |
//! | `presence` | the introduction set, for everybody who knows the account's id |
//! | `mode` | a message of the outbox, by the one way or the other |
//!
//! Nothing is lost between the two ways, and nothing is shown twice: a message stays in the outbox, encrypted once, until it
//! is acknowledged or stored; and by whichever way it comes, its session decrypts it once. Where a message waits for its
//! acknowledgement it is held back from the other way for as long, also if this process dies meanwhile.

mod hearing;
mod listening;
mod mode;
mod presence;
mod pushing;

use std::sync::Arc;
use std::time::Duration;

use sotto_proto::address::Address;
use sotto_proto::content::ListeningTag;
use sotto_proto::id::NodeId;
use sotto_proto::request::Push;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::listening::Listening;
pub use self::mode::{Mode, ModeError, NotOnline, Pushed, Went, held_from};
use self::pushing::Kept;
use super::{Companion, Messenger};

/// How long a message waits to be acknowledged before it goes the other way.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(3);
/// How long a node may take for one push, and to begin a listening.
const NODE_PATIENCE: Duration = Duration::from_secs(3);
/// What was pushed and is not taken in yet. A listening that finds no room is not read on.
const CAME: usize = 16;
/// Words to contacts on their way at once; of more, none is said: whoever waits for it goes the other way.
const WORDS: usize = 16;

/// Who listens for the account.
#[derive(Debug, Default)]
enum Listener {
    /// Nobody: whoever pushes listens for the moment.
    #[default]
    Nobody,
    /// This messenger, as long as it follows.
    This,
    /// Another one of this process, on the same store, which tells when something was pushed and is taken in.
    Another(Arc<Notify>),
}

/// Something that was pushed to a node.
#[derive(Debug)]
pub(super) struct Came {
    node: NodeId,
    push: Push,
}

/// To whom something was said, by which tag, and what came of it.
type Word = (Address, ListeningTag, Result<Kept, NotOnline>);

/// What a messenger does online.
#[derive(Debug)]
pub(super) struct Online {
    listener: Listener,
    /// The newest last. The one before it is kept until it ends: contacts may not have heard of the other yet.
    listenings: Vec<Listening>,
    sender: mpsc::Sender<Came>,
    came: mpsc::Receiver<Came>,
    words: JoinSet<Word>,
    /// The tunnel by which something was said last.
    kept: Option<Kept>,
    /// Whether somebody who was told something was not reached.
    has_missed: bool,
    /// When the next introduction set is due, if there is to be one.
    publish_at: Instant,
    /// Whether the last one told a place.
    is_published: bool,
}

impl Default for Online {
    fn default() -> Self {
        let (sender, came) = mpsc::channel(CAME);
        Self {
            listener: Listener::default(),
            listenings: Vec::new(),
            sender,
            came,
            words: JoinSet::new(),
            kept: None,
            has_missed: false,
            publish_at: Instant::now(),
            is_published: false,
        }
    }
}

impl Online {
    /// Whether this messenger listens while it follows.
    pub(super) fn listens(&self) -> bool {
        matches!(self.listener, Listener::This)
    }

    /// What is pushed next; never comes back while nobody listens. Given up halfway, nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Came> {
        self.came.recv().await
    }
}

impl Messenger {
    /// While it follows, this messenger also listens for contacts, and tells them where.
    pub fn listen_while_following(&mut self) {
        self.online.listener = Listener::This;
    }

    /// Listens no more. Contacts that push find nobody there, and go the other way.
    pub fn stop_listening(&mut self) {
        self.online.listener = Listener::Nobody;
        self.online.listenings.clear();
    }

    /// Another messenger of this process, on the same account, follows and listens. This one does not begin listenings of
    /// its own to hear what it pushes acknowledged.
    pub fn leave_listening_to(&mut self, other: &Companion) {
        self.online.listener = Listener::Another(Arc::clone(&other.heard));
    }
}
