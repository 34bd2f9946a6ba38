//! Pushing to a contact: to its node, on a path that avoids both swarms and that node.

use std::time::Duration;

use sotto_behaviours::onion::HopInfo;
use sotto_behaviours::onion::client::Path;
use sotto_behaviours::tunnel::client::{Error as TunnelError, Tunnel};
use sotto_proto::address::Address;
use sotto_proto::content::{Body, ListeningTag};
use sotto_proto::request::{Push, PushData, SwarmRequest, SwarmResponse};
use tokio::time::{Instant, timeout};

use super::{NODE_PATIENCE, NotOnline, WORDS};
use crate::conversation::{self, Delivery, Me};
use crate::crypto::{PushContext, seal_push};
use crate::messenger::{Error, Messenger};
use crate::network::paths::{Purpose, hop};
use crate::store::{ListeningPlace, StoreError};

/// How long a tunnel is kept for what is said next.
const KEPT: Duration = Duration::from_secs(10);

/// A tunnel to where a contact listens, kept for what is said to it next: its handshake takes as long as a push.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) tag: ListeningTag,
    pub(super) path: Path,
    pub(super) tunnel: Tunnel,
    pub(super) used: Instant,
}

/// A way to where a contact listens.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) place: ListeningPlace,
    pub(super) to: HopInfo,
    pub(super) path: Path,
}

impl Messenger {
    /// A way to a contact.
    ///
    /// # Errors
    /// [`NotOnline::Unknown`] if it is not known to listen anywhere.
    pub(super) async fn way_to(&mut self, account: &Address) -> Result<Way, Error> {
        let now = self.clock.now().seconds();
        let (place, mailboxes) =
            self.account.read(|tx| Ok::<_, StoreError>((tx.place(account, now)?, tx.sessions_of(account)?)))?;
        let place = place.ok_or(Error::NotOnline(NotOnline::Unknown))?;
        // Contacts name any node they like; one that is not in the list is none.
        let to = hop(self.directory.nodes(), &place.node).ok_or(Error::NotOnline(NotOnline::Unknown))?;
        let swarms: Vec<_> = mailboxes
            .iter()
            .filter(|session| session.retired.is_none())
            .filter_map(|session| self.directory.owner(&session.mailbox))
            .collect();
        let mut avoid = self.avoid(swarms)?;
        avoid.nodes.insert(place.node);
        let path = self.path_without(Purpose::Send, &avoid).await?;
        Ok(Way { place, to, path })
    }

    /// What a session has encrypted, sealed for where a contact listens.
    pub(super) fn seal_for(&mut self, way: &Way, delivery: &Delivery) -> Result<PushData, Error> {
        let inside = delivery.inside.as_ref().ok_or(Error::NotOnline(NotOnline::NoSession))?;
        let context = PushContext { chain: &self.chain, node: way.place.node, tag: way.place.tag };
        let sealed = seal_push(&context, &delivery.seal_key, inside, &mut self.rng);
        sealed.map_err(|error| Error::Unsendable(error.to_string()))
    }

    /// Something that is arranged, sealed for where a contact listens; `None` if it has no session.
    pub(super) fn arranged(&mut self, way: &Way, account: &Address, body: Body) -> Result<Option<PushData>, Error> {
        let now = self.clock.now();
        let arranged = self.account.change(|tx, own| {
            let me = Me { chain: &self.chain, account: own.account, name: own.name, now };
            conversation::arrange(tx, &me, account, body, &mut self.rng)
        });
        match arranged {
            Ok(delivery) => delivery.map(|delivery| self.seal_for(way, &delivery)).transpose(),
            Err(conversation::Error::Store(error)) => Err(error.into()),
            Err(error) => Err(Error::Conversation(error)),
        }
    }

    /// Says something to a contact beside everything else; nobody waits for it. What finds no room is not said.
    pub(super) fn say_beside(&mut self, account: Address, way: Way, words: Vec<PushData>) -> Result<(), Error> {
        self.note_words()?;
        if self.online.words.len() >= WORDS {
            tracing::debug!("too many words to contacts are on their way");
            return Ok(());
        }
        let kept = self.kept_for(&way);
        self.online.words.spawn(async move {
            let said = push_by(kept, &way, words).await;
            (account, way.place.tag, said)
        });
        Ok(())
    }

    /// The tunnel by which something was said last, if it leads there and is good.
    pub(super) fn kept_for(&mut self, way: &Way) -> Option<Kept> {
        let paths = &self.paths;
        let is_good =
            |kept: &mut Kept| kept.tag == way.place.tag && kept.used.elapsed() < KEPT && paths.is_held(&kept.path);
        self.online.kept.take_if(is_good)
    }

    /// Takes note of where nobody listens any more, and of who may have to be told again where it is listened for.
    pub(super) fn note_words(&mut self) -> Result<(), Error> {
        while let Some(said) = self.online.words.try_join_next() {
            let Ok((account, tag, said)) = said else { continue };
            let failure = match said {
                Ok(kept) => {
                    self.online.kept = Some(kept);
                    continue;
                }
                Err(failure) => failure,
            };
            tracing::debug!(%failure, "words to a contact did not arrive");
            self.online.has_missed = true;
            self.account.change(|tx, _| {
                if failure == NotOnline::Gone {
                    tx.drop_place(&account, &tag)?;
                }
                tx.set_places_untold(&account)
            })?;
        }
        Ok(())
    }
}

/// Pushes one after the other in one tunnel, the kept one if that is open, until one is not delivered; the tunnel, for what
/// is said next. None goes along with the handshake, which an exit could repeat.
pub(super) async fn push_by(kept: Option<Kept>, way: &Way, words: Vec<PushData>) -> Result<Kept, NotOnline> {
    let tag = way.place.tag;
    if let Some(Kept { tunnel, path, .. }) = kept {
        match push_through(tunnel, tag, words.clone()).await {
            Ok(tunnel) => return Ok(Kept { tag, path, tunnel, used: Instant::now() }),
            // Only the tunnel may have ended. What comes twice is shown once.
            Err(NotOnline::Silent(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let connected = timeout(NODE_PATIENCE, Tunnel::connect(&way.path, way.to, None)).await;
    let (tunnel, _) = connected.unwrap_or(Err(TunnelError::TimedOut)).map_err(silent)?;
    let tunnel = push_through(tunnel, tag, words).await?;
    Ok(Kept { tag, path: way.path.clone(), tunnel, used: Instant::now() })
}

/// The same in a tunnel that is open.
async fn push_through(mut tunnel: Tunnel, tag: ListeningTag, words: Vec<PushData>) -> Result<Tunnel, NotOnline> {
    for data in words {
        let request = SwarmRequest::Push(Push { tag, data });
        let answer = timeout(NODE_PATIENCE, tunnel.request(request)).await.unwrap_or(Err(TunnelError::TimedOut));
        match answer.map_err(silent)? {
            SwarmResponse::Delivered => {}
            SwarmResponse::NoListener => return Err(NotOnline::Gone),
            SwarmResponse::Error(error) => return Err(NotOnline::Refused(error.to_string())),
            _ => return Err(NotOnline::Refused("its answer is none".to_owned())),
        }
    }
    Ok(tunnel)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn silent(error: TunnelError) -> NotOnline {
    NotOnline::Silent(error.to_string())
}
