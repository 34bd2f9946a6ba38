//! What comes back from the disk, and to which part of the mail it goes.

use super::env::Env;
use super::{Asked, Mail, Wait};
use crate::service_node::message::{Output, Token};
use crate::store::mail::Found;

impl Mail {
    /// Something is on disk, or never will be.
    pub(in crate::service_node) fn on_written(
        &mut self,
        token: Token,
        written: bool,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) {
        if let Some(wait) = self.waits.remove(&token) {
            self.settle(wait, written, env, out);
        }
    }

    fn settle(&mut self, wait: Wait, written: bool, env: &Env<'_>, out: &mut Vec<Output>) {
        match wait {
            Wait::Epoch => self.on_epoch(written),
            Wait::Record(arrival) => self.on_stored(arrival, written, env, out),
            Wait::Delete(deleting) => self.on_deleted(*deleting, written, out),
            Wait::Retrieve(unread) => self.answer_from_index(unread, env, out),
            Wait::Sweep => self.sweeping = false,
            Wait::All(all) => all.into_iter().for_each(|wait| self.settle(wait, written, env, out)),
            Wait::Repaired(taken) => self.on_repaired(written.then_some(taken), env, out),
            Wait::Handed { asker, items } => self.on_handed(asker, &items, env, out),
            Wait::Strays => self.on_strays_settled(written),
            Wait::Nothing => {}
        }
    }

    /// Something was read.
    pub(in crate::service_node) fn on_found(
        &mut self,
        token: Token,
        found: Found,
        env: &Env<'_>,
        out: &mut Vec<Output>,
    ) {
        match (self.lookups.remove(&token), found) {
            (Some(Asked::Load), found) => self.on_loaded(found, out),
            (Some(Asked::Anchors(asked)), Found::BlockHashes(found)) => {
                self.anchors.found(&asked, &found, env.view.tip);
            }
            (Some(Asked::Anchors(_)), _) => self.anchors.failed(),
            (Some(Asked::Read(reading)), Found::Records(records)) => self.on_read(reading, records, env, out),
            (Some(Asked::Read(reading)), _) => self.on_unread(&reading, env, out),
            (Some(Asked::Fetch(asker, page)), Found::Places(found)) => {
                self.drop_damaged(&page.damaged(&found), env, out);
                Self::on_fetched(asker, &page, page.items(found), out);
            }
            (Some(Asked::Fetch(asker, _)), _) => Self::on_unfetched(asker, out),
            (Some(Asked::Give(page)), Found::Places(found)) => {
                self.drop_damaged(&page.damaged(&found), env, out);
                let items = page.items(found);
                self.on_to_give(&page, items, env, out);
            }
            (Some(Asked::Give(page)), _) => self.on_to_give(&page, Vec::new(), env, out),
            (Some(Asked::Recall), Found::Confirmations(found)) => self.on_recalled(found, env, out),
            (Some(Asked::Recall), _) => self.on_recalled(Vec::new(), env, out),
            (Some(Asked::Hand(page)), Found::Places(found)) => {
                self.drop_damaged(&page.damaged(&found), env, out);
                let items = page.items(found);
                self.on_to_hand(&page, items, env, out);
            }
            (Some(Asked::Hand(page)), _) => self.on_to_hand(&page, Vec::new(), env, out),
            (Some(Asked::Check(suspects)), Found::Checked(verdicts)) => {
                self.on_checked(&suspects, verdicts, env, out);
            }
            (Some(Asked::Keys), Found::Keys(keys)) => self.on_keys(keys, env, out),
            (Some(Asked::Strays(keys)), Found::Records(found)) => self.on_strays(&keys, found, env, out),
            (Some(Asked::Check(_) | Asked::Keys | Asked::Strays(_)), _) => self.on_unchecked(env),
            (None, _) => {}
        }
    }
}
