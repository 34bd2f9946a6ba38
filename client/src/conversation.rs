//! Who talks with whom: requests, sessions, and what is said in them.
//!
//! ```text
//!   requester (X3DH responder)                      accepter (X3DH initiator)
//!   ask ──── request with a bundle, kind 1 ──▶ inbox
//!                                                   receive: it waits for its user
//!                                                   accept: a session, whose first message is an announcement
//!            mailbox of the bundle ◀── kind 3 ────  repeated with every message until the first answer
//!   receive: a session; its own announcement
//!            kind 2 ──▶ mailbox of the announcement
//!            … and so on in both directions
//! ```
//!
//! All of it is rules over one transaction of the store: what a message changes – the ratchet, what is shown, how far a
//! node was read – is on disk together or not at all, and the ratchet is on disk before what it encrypted leaves (M2,
//! faults 42). No clock, no network, no randomness of its own.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `keys` | this device's mailbox, signed prekeys and bundles |
//! | `asking` | requests sent |
//! | `answering` | requests that came: waiting, accepted, declined, crossing, renewed |
//! | `initial` | the first message of a session that somebody else began |
//! | `speaking` | what is encrypted, and by which session |
//! | `hearing` | what a session decrypts, and what it changes |
//! | `amending` | other words, signs, deletion at both ends |
//! | `disappearing` | messages that disappear |
//! | `receipts` | what came and was read; who is writing |
//! | `questioning` | verification by question and answer |
//! | `notice` | what changed, for programs that show it |
//! | `delivery` | where an encrypted message is sealed to |
//! | `online` | what is pushed instead of stored, and where to |
//! | `names` | what contacts are called here |
//! | `tidying` | what is over and goes |

mod amending;
mod answering;
mod asking;
mod delivery;
mod disappearing;
mod hearing;
mod initial;
mod keys;
mod names;
mod notice;
mod online;
mod questioning;
mod receipts;
mod speaking;
#[cfg(test)]
mod tests;
mod tidying;

use sotto_proto::account::Account;
use sotto_proto::address::Address;
use sotto_proto::id::ChainId;
use sotto_proto::time::UnixMillis;

pub use self::amending::{delete, delete_here, edit, react};
pub use self::answering::{accept, block, decline};
pub use self::asking::{Ask, ask};
pub(crate) use self::delivery::{Delivery, delivery};
pub use self::disappearing::{set_timer, vanish};
pub(crate) use self::hearing::hear;
pub use self::names::{NameError, check_name};
pub use self::notice::{Change, Notice};
pub(crate) use self::online::{arrange, hear_pushed, said, tell_place};
pub use self::questioning::{answer_question, ask_question, open_question, refuse_question};
pub use self::receipts::tell_typing;
pub use self::speaking::{Saying, say, say_for};
pub(crate) use self::tidying::{tend, tidy};
use crate::crypto::{BundleError, EncryptError, X3dhError};
use crate::store::StoreError;

/// The only device of an account, until devices can be linked.
pub const DEVICE: u8 = 0;

/// Who is at work.
#[derive(Clone, Copy, Debug)]
pub struct Me<'a> {
    /// The network.
    pub chain: &'a ChainId,
    /// The account.
    pub account: &'a Account,
    /// What it calls itself to those it talks with.
    pub name: &'a str,
    /// Now, by the network's time.
    pub now: UnixMillis,
}

impl Me<'_> {
    const fn address(&self) -> Address {
        self.account.address()
    }
}

/// Why something cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody of that name or id.
    #[error("{0} is not a contact")]
    NoContact(String),
    /// The request is for oneself.
    #[error("this is the account's own id")]
    Oneself,
    /// A contact by that name is somebody else.
    #[error("another contact is called {0:?}")]
    NameTaken(String),
    /// Not a name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It is a contact already, with a session.
    #[error("{0} is a contact already")]
    Already(String),
    /// Its own request waits to be accepted.
    #[error("{name} has asked you already")]
    Asks {
        /// What it calls itself.
        name: String,
        /// The request.
        id: String,
    },
    /// A request to it waits for an answer.
    #[error("a request to {0} waits for an answer already")]
    Waiting(String),
    /// The account is blocked.
    #[error("{0} is blocked")]
    Blocked(String),
    /// Nothing can be said yet.
    #[error("{0} has not accepted yet")]
    NotAccepted(String),
    /// There is no such request.
    #[error("no request {0} waits")]
    NoRequest(String),
    /// The request's keys are too old.
    #[error("the request of {0} has expired")]
    Expired(String),
    /// There is no such message.
    #[error("no message {0} in this conversation")]
    NoMessage(String),
    /// The message was said by the other side.
    #[error("message {0} is not your own")]
    NotOwn(String),
    /// The message has no words.
    #[error("message {0} is no text")]
    NoText(String),
    /// No question of that contact waits for an answer.
    #[error("{0} has asked nothing that waits for an answer")]
    NoQuestion(String),
    /// There were as many verifications by question as there may be in a day.
    #[error("three questions and answers with {0} within a day are all there may be")]
    TooOften(String),
    /// It was worth something for a while, and that is over.
    #[error("too late to be sent")]
    Late,
    /// What it says may not be said.
    #[error("{0}")]
    Content(String),
    /// A bundle.
    #[error("the request's keys: {0}")]
    Bundle(#[from] BundleError),
    /// The key agreement.
    #[error(transparent)]
    X3dh(#[from] X3dhError),
    /// The ratchet.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
}
