//! Which way a message of the outbox goes.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sotto_proto::address::Address;
use sotto_proto::content::MessageId;
use sotto_proto::id::NodeId;
use sotto_proto::request::PushData;
use sotto_proto::time::UnixMillis;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::pushing::{Way, push_by};
use super::{ACKNOWLEDGED_WITHIN, Listener, NODE_PATIENCE};
use crate::conversation;
use crate::messenger::{Error, Messenger, Progress, Sent};

/// How long a message that is to go online is held back from the other way: as long as this one may take, and longer by
/// what [`AGO`] lets pass.
const HELD: Duration = Duration::from_secs(4 * NODE_PATIENCE.as_secs() + ACKNOWLEDGED_WITHIN.as_secs());
/// What has been held since so long need not be held anew, a write that waits for the disk.
const AGO: Duration = Duration::from_millis(NODE_PATIENCE.as_secs() * 500);
/// Between two looks whether a message is acknowledged, besides those after something came.
const LOOK: Duration = Duration::from_millis(50);

/// Which way messages go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Online where the recipient is known to be, otherwise or if it does not acknowledge offline.
    #[default]
    Auto,
    /// Online, or not now.
    Online,
    /// To the swarm that keeps the recipient's mail.
    Offline,
}

/// Not a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected auto, online or offline")]
pub struct ModeError;

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "online" => Ok(Self::Online),
            "offline" => Ok(Self::Offline),
            _ => Err(ModeError),
        }
    }
}

/// Why a message did not go online.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOnline {
    /// There is no session with the recipient.
    #[error("the recipient is no contact with whom there is a session")]
    NoSession,
    /// Nobody said where the recipient listens, or not for now.
    #[error("the recipient is not known to be online")]
    Unknown,
    /// It no longer listens where it said.
    #[error("the recipient is no longer online")]
    Gone,
    /// It did not say that the message came.
    #[error("the recipient did not acknowledge the message within {} s", ACKNOWLEDGED_WITHIN.as_secs())]
    Unacknowledged,
    /// The node does not answer.
    #[error("the node where the recipient listens does not answer: {0}")]
    Silent(String),
    /// The node does not do it.
    #[error("the listening node refuses: {0}")]
    Refused(String),
    /// There is no node that could be listened at.
    #[error("there is no node outside the account's swarms to listen at")]
    Nowhere,
}

/// A message that went online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The message.
    pub id: MessageId,
    /// The path it took.
    pub hops: [NodeId; 3],
    /// From the push to the acknowledgement.
    pub took: Duration,
}

/// How a message went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Went {
    /// The recipient has said that it has it.
    Online(Pushed),
    /// It is stored.
    Offline(Sent),
    /// It was on its way to be stored when the recipient said, late, that it has it.
    Late(MessageId),
}

impl Messenger {
    /// Sends a message of the outbox by this way. Whatever fails, it stays there, and the offline way is tried for it again;
    /// whichever way it goes, it is shown once.
    ///
    /// # Errors
    /// [`Error`]; [`Error::NotOnline`] only where it was to go online and no other way.
    pub async fn send_by(
        &mut self,
        id: &MessageId,
        mode: Mode,
        mut progress: impl FnMut(Progress),
    ) -> Result<Went, Error> {
        if mode != Mode::Offline {
            match Box::pin(self.send_online(id, mode, &mut progress)).await {
                Ok(pushed) => return Ok(Went::Online(pushed)),
                Err(Error::Store(error)) => return Err(error.into()),
                // It was late, and heard by another messenger.
                Err(_) if self.is_acknowledged(id)? => return Ok(Went::Late(*id)),
                Err(error) if mode == Mode::Online => {
                    self.note_failure(id, &error)?;
                    return Err(error);
                }
                Err(error) => tracing::debug!(%error, "a message goes offline"),
            }
        }
        match Box::pin(self.send(id, progress)).await {
            Ok(sent) => Ok(Went::Offline(sent)),
            Err(Error::Acknowledged(id)) => Ok(Went::Late(id)),
            Err(error) => Err(error),
        }
    }

    /// Pushes a message of the outbox and waits until it is acknowledged. Where it is to go no other way, a recipient that has
    /// not said where it listens is looked up.
    async fn send_online(
        &mut self,
        id: &MessageId,
        mode: Mode,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Pushed, Error> {
        // Nobody stores it meanwhile; should this process die, it is stored afterwards.
        self.hold(id)?;
        let held = Instant::now();
        let (message, delivery) = self.addressed(id)??;
        if delivery.inside.is_none() {
            return Err(Error::NotOnline(NotOnline::NoSession));
        }
        let account = message.recipient;
        let way = match self.way_to(&account).await {
            Err(Error::NotOnline(NotOnline::Unknown)) if mode == Mode::Online => {
                self.learn_place(&account).await?;
                self.way_to(&account).await?
            }
            way => way?,
        };
        if matches!(self.online.listener, Listener::Nobody) {
            self.listen_for_a_moment(&account).await?;
        }
        let hops = way.path.hops().map(|hop| hop.node);
        progress(Progress::Path { hops });
        let mut words = Vec::new();
        let untold = self.untold(&account)?;
        if let Some(own) = &untold {
            words.extend(self.arranged(&way, &account, conversation::said(&own.place))?);
        }
        words.push(self.seal_for(&way, &delivery)?);
        // Each change waits for the disk.
        if held.elapsed() > AGO {
            self.hold(id)?;
        }
        let began = Instant::now();
        if let Err(error) = self.push_and_hear(&account, &way, words).await? {
            return Err(Error::NotOnline(error));
        }
        if let Some(own) = untold {
            self.account.change(|tx, _| tx.set_place_told(&own.place.tag))?;
        }
        self.acknowledged(id, Instant::now() + ACKNOWLEDGED_WITHIN).await?;
        Ok(Pushed { id: *id, hops, took: began.elapsed() })
    }

    /// Whether the recipient has said that it has a message.
    pub(in crate::messenger) fn is_acknowledged(&self, id: &MessageId) -> Result<bool, Error> {
        let message = self.account.store.outbox_message(id)?;
        Ok(message.is_some_and(|message| message.state.is_delivered()))
    }

    /// Holds a message back from the other way, if whoever queued it has not done so just now.
    fn hold(&mut self, id: &MessageId) -> Result<(), Error> {
        let until = held_from(self.clock.own().wall);
        let held = self.account.store.outbox_message(id)?;
        let ago = held.map_or(u64::MAX, |held| until.0.saturating_sub(held.retry_at.0));
        if u128::from(ago) <= AGO.as_millis() {
            return Ok(());
        }
        Ok(self.account.change(|tx, _| tx.hold(id, until))?)
    }

    /// Pushes, in the tunnel of what was said before if that is open; a place where nobody listens any more is forgotten.
    async fn push_and_hear(
        &mut self,
        account: &Address,
        way: &Way,
        words: Vec<PushData>,
    ) -> Result<Result<(), NotOnline>, Error> {
        match push_by(self.kept_for(way), way, words).await {
            Ok(kept) => {
                self.online.kept = Some(kept);
                Ok(Ok(()))
            }
            Err(error) => {
                if error == NotOnline::Gone {
                    self.account.change(|tx, _| tx.drop_place(account, &way.place.tag))?;
                }
                Ok(Err(error))
            }
        }
    }

    /// Waits until the recipient has said that it has a message. What is pushed to this messenger meanwhile is taken in.
    async fn acknowledged(&mut self, id: &MessageId, deadline: Instant) -> Result<(), Error> {
        let heard = match &self.online.listener {
            Listener::Another(heard) => Some(Arc::clone(heard)),
            Listener::This | Listener::Nobody => None,
        };
        loop {
            if self.is_acknowledged(id)? {
                return Ok(());
            }
            tokio::select! {
                biased;
                Some(came) = self.online.next() => self.take_pushed(came).await?,
                () = notified(heard.as_deref()) => {}
                () = tokio::time::sleep(LOOK) => {}
                () = tokio::time::sleep_until(deadline) => return Err(Error::NotOnline(NotOnline::Unacknowledged)),
            }
            if Instant::now() >= deadline {
                return Err(Error::NotOnline(NotOnline::Unacknowledged));
            }
        }
    }
}

/// Until when a message is held that is to go online from now on.
#[must_use]
pub fn held_from(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0.saturating_add(u64::try_from(HELD.as_millis()).unwrap_or(u64::MAX)))
}

/// Comes back when another one has taken in what was pushed; never if there is none.
async fn notified(heard: Option<&Notify>) {
    match heard {
        Some(heard) => heard.notified().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_one_of_three_words() {
        assert_eq!("auto".parse(), Ok(Mode::Auto));
        assert_eq!(("online".parse(), "offline".parse()), (Ok(Mode::Online), Ok(Mode::Offline)));
        assert_eq!("sync".parse::<Mode>(), Err(ModeError));
    }
}
