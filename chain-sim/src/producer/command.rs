//! What the admin socket and the HTTP listener ask of the event loop.

use std::time::Duration;

use serde::Serialize;
use sotto_proto::id::{Amount, NodeId, PublicKey, TxId};
use tokio::sync::{mpsc, oneshot};

use crate::producer::machine::{Fault, Input, Refusal, Reply, Ticket};
use crate::producer::report::{AccountReport, Stakes, Status, TransactionReport};

/// Commands that wait.
pub(super) const QUEUE: usize = 64;
/// How long a question may wait for the event loop.
const QUESTION_DEADLINE: Duration = Duration::from_secs(2);
/// How long something that needs blocks on disk may take.
pub(super) const ACTION_DEADLINE: Duration = Duration::from_secs(60);

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Submit a transaction.
    Submit(Vec<u8>),
    /// Give coins.
    Faucet {
        /// To whom.
        to: PublicKey,
        /// How many.
        amount: Amount,
    },
    /// Make blocks.
    Produce(u64),
    /// Misbehave.
    Fault(Fault),
}

impl Action {
    /// As an input of the machine.
    #[must_use]
    pub fn input(self, ticket: Ticket) -> Input {
        match self {
            Self::Submit(transaction) => Input::Submit { ticket, transaction },
            Self::Faucet { to, amount } => Input::Faucet { ticket, to, amount },
            Self::Produce(count) => Input::Produce { ticket, count },
            Self::Fault(fault) => Input::Fault { ticket, fault },
        }
    }
}

/// Something to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Everything in short.
    Status,
    /// An account.
    Account(PublicKey),
    /// A transaction.
    Transaction(TxId),
    /// All stakes, or one node's.
    Stakes(Option<NodeId>),
    /// Whether blocks are produced and the network listens; the answer says why not.
    Ready,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To [`Question::Status`].
    Status(Box<Status>),
    /// To [`Question::Account`].
    Account(AccountReport),
    /// To [`Question::Transaction`]; `None` if it is not remembered.
    Transaction(Option<TransactionReport>),
    /// To [`Question::Stakes`].
    Stakes(Stakes),
    /// To [`Question::Ready`]: `None` if it is.
    Ready(Option<String>),
}

/// A command with its return path.
#[derive(Debug)]
pub(super) enum Command {
    Act(Action, oneshot::Sender<Result<Reply, Refusal>>),
    Ask(Question, oneshot::Sender<Answer>),
}

/// The event loop did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Too many commands wait.
    #[error("too many commands wait already")]
    Busy,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// It is shutting down.
    #[error("the producer is shutting down")]
    Closed,
}

/// Sends commands to the event loop.
#[derive(Clone, Debug)]
pub struct Commands(mpsc::Sender<Command>);

impl Commands {
    /// Both ends of the queue.
    pub(super) fn channel() -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Has something done.
    ///
    /// # Errors
    /// [`Unanswered`]; inside, the machine's refusal.
    pub async fn act(&self, action: Action) -> Result<Result<Reply, Refusal>, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Act(action, reply))?;
        within(ACTION_DEADLINE, answer).await
    }

    /// Asks something.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn ask(&self, question: Question) -> Result<Answer, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Ask(question, reply))?;
        within(QUESTION_DEADLINE, answer).await
    }

    fn send(&self, command: Command) -> Result<(), Unanswered> {
        self.0.try_send(command).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Closed,
        })
    }
}

async fn within<T>(deadline: Duration, answer: oneshot::Receiver<T>) -> Result<T, Unanswered> {
    match tokio::time::timeout(deadline, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(Unanswered::Closed),
        Err(_) => Err(Unanswered::Timeout),
    }
}
