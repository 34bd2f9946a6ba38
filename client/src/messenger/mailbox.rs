//! What the account reads: its inbox, and the mailboxes of this device.
//!
//! The inbox is read through one path and a mailbox through another: whoever stood at the end of a path that carries both
//! could tell which two swarms keep one client's mail.

use std::fmt;

use sotto_proto::address::Address;
use sotto_proto::id::{NodeId, SwarmId};
use sotto_proto::sign::SigningKey;

use super::{Error, Messenger};
use crate::network::choice::Avoid;
use crate::network::paths::Purpose;

/// Nodes that must be left to choose hops from: four paths' worth.
const CHOICE: usize = 12;

/// An address that is read, and the key that reads it.
#[derive(Clone)]
pub(super) struct Mailbox {
    pub(super) address: Address,
    pub(super) key: SigningKey,
    pub(super) purpose: Purpose,
}

impl Mailbox {
    /// Under which setting the times of its polls are kept.
    pub(super) const fn polls(&self) -> &'static str {
        match self.purpose {
            Purpose::Mailbox => "polls of the mailbox",
            Purpose::Receive | Purpose::Send | Purpose::Other | Purpose::Listen => "polls",
        }
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({})", self.address.short())
    }
}

impl Messenger {
    /// The inbox.
    pub(super) fn inbox(&self) -> Mailbox {
        let account = self.account.account();
        Mailbox { address: account.address(), key: account.signing_key().clone(), purpose: Purpose::Receive }
    }

    /// Everything that is read: the inbox, and the mailbox of this device once it has one.
    pub(super) fn mailboxes(&self) -> Result<Vec<Mailbox>, Error> {
        let newest = self.account.store.mailboxes()?.into_iter().next();
        let own = newest.map(|own| Mailbox { address: own.address, key: own.key, purpose: Purpose::Mailbox });
        Ok([self.inbox()].into_iter().chain(own).collect())
    }

    /// Those who keep a mailbox, by the list known.
    pub(super) fn keepers(&self, mailbox: &Mailbox) -> Result<&[NodeId], Error> {
        let swarm = self.directory.owner(&mailbox.address).ok_or(Error::NoOwner)?;
        Ok(self.directory.members(swarm))
    }

    /// No hop of any path may be in a swarm that keeps the account's own mail, nor in those of a path's destinations. A
    /// mailbox's swarm is let in where next to nobody would be left otherwise: its nodes do not know whose it is.
    pub(super) fn avoid(&self, swarms: impl IntoIterator<Item = SwarmId>) -> Result<Avoid, Error> {
        let own = self.directory.owner(&self.address()).ok_or(Error::NoOwner)?;
        let mut avoid = Avoid { swarms: swarms.into_iter().chain([own]).collect(), ..Avoid::default() };
        for mailbox in self.mailboxes()?.into_iter().skip(1) {
            let Some(swarm) = self.directory.owner(&mailbox.address) else { continue };
            let mut more = avoid.swarms.clone();
            more.insert(swarm);
            let nodes = self.directory.nodes().values();
            let left = nodes.filter(|node| node.swarm.is_none_or(|swarm| !more.contains(&swarm))).count();
            if left >= CHOICE {
                avoid.swarms = more;
            }
        }
        Ok(avoid)
    }
}
