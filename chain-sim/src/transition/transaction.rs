//! Transactions: each is checked completely before anything of it takes effect.

use std::collections::BTreeSet;
use std::sync::Arc;

use sotto_proto::chain::{NodeRecord, NodeState, Payload, Region, ServiceNode, TestLedger, Transaction, TxBody};
use sotto_proto::id::{Amount, Height, NodeId, PublicKey, X25519Key};
use sotto_proto::limits::ADDRESSES_PER_NODE;
use sotto_proto::net_addr::NodeAddr;
use sotto_proto::proof::Table;
use sotto_proto::sign::Verify;

use super::{TransactionError, Transition};
use crate::state::{WAITING_KEY, epoch_of};

impl Transition {
    /// Checks a transaction and lets it take effect; on an error nothing has changed.
    pub(crate) fn execute(&mut self, tx: &Transaction, verify: &dyn Verify) -> Result<(), TransactionError> {
        self.check(&tx.body)?;
        // Last, because it costs most.
        if !tx.verify(&self.state.chain, verify) {
            return Err(TransactionError::Signature);
        }
        self.take_effect(&tx.body);
        Ok(())
    }

    fn check(&self, body: &TxBody) -> Result<(), TransactionError> {
        let account = self.state.account(&body.signer);
        let expected = if body.payload.bears_nonce() { account.nonce } else { 0 };
        if body.nonce != expected {
            return Err(TransactionError::Nonce { expected, actual: body.nonce });
        }
        if body.fee != Amount(0) && !body.payload.bears_fee() {
            return Err(TransactionError::Fee);
        }
        let spent = match &body.payload {
            Payload::Register { stake, .. } => *stake,
            Payload::Transfer { amount, .. } => *amount,
            _ => Amount(0),
        };
        let needed = spent.checked_add(body.fee).ok_or(TransactionError::Amount(spent))?;
        if needed > account.balance {
            return Err(TransactionError::Balance { needed, available: account.balance });
        }
        let signer = NodeId::from(body.signer);
        match &body.payload {
            Payload::Register { node, x25519, stake, addresses, .. } => {
                self.check_register(body.signer, *node, x25519, *stake, addresses)
            }
            Payload::UpdateAddress { addresses } => {
                let node = self.registered(&signer)?;
                self.check_pause(node.address_changed_at)?;
                self.check_addresses(&signer, addresses)
            }
            Payload::RotateKey { x25519 } => {
                let node = self.registered(&signer)?;
                self.check_pause(node.key_rotated_at)?;
                self.check_x25519(x25519)
            }
            Payload::RequestExit { node } => self.check_exit(body.signer, node),
            Payload::StorageReport { height, swarm, testee, outcome, samples } => {
                self.check_report(&signer, (*height, *swarm, *testee), *outcome, *samples)
            }
            Payload::UptimeProof { epoch, .. } => self.check_uptime(&signer, *epoch),
            Payload::Transfer { to, amount } => self.check_transfer(to, *amount),
            Payload::LoadReport { .. } | Payload::RegisterName { .. } | Payload::UpdateName { .. } => {
                Err(TransactionError::Reserved(body.payload.name()))
            }
        }
    }

    pub(super) fn registered(&self, node: &NodeId) -> Result<&ServiceNode, TransactionError> {
        self.state.service_node(node).ok_or(TransactionError::NodeUnknown(*node))
    }

    fn check_register(
        &self,
        operator: PublicKey,
        node: NodeId,
        x25519: &X25519Key,
        stake: Amount,
        addresses: &[NodeAddr],
    ) -> Result<(), TransactionError> {
        let minimum = Amount(self.state.params().stake);
        if stake < minimum {
            return Err(TransactionError::Stake { minimum, actual: stake });
        }
        if self.state.nodes.contains_key(&node) || self.state.locks.contains_key(&node) {
            return Err(TransactionError::NodeKnown(node));
        }
        if let Some(until) = [operator, node.into()].iter().filter_map(|key| self.state.cooldown(key)).max() {
            return Err(TransactionError::Cooldown(until));
        }
        self.check_x25519(x25519)?;
        self.check_addresses(&node, addresses)
    }

    fn check_x25519(&self, key: &X25519Key) -> Result<(), TransactionError> {
        // Only one encoding of a key counts, else it could be registered twice; zeros mean "no previous key" in a record.
        if !key.is_usable() || self.state.index.by_x25519.contains_key(key) {
            return Err(TransactionError::X25519);
        }
        Ok(())
    }

    fn check_addresses(&self, node: &NodeId, addresses: &[NodeAddr]) -> Result<(), TransactionError> {
        if !ADDRESSES_PER_NODE.contains(&addresses.len()) {
            return Err(TransactionError::AddressCount(addresses.len()));
        }
        let mut seen = BTreeSet::new();
        for address in addresses {
            // A mapped address is another encoding of the IPv4 one, which could else be registered twice.
            if !address.dialable(self.state.params().private_allowed()) || address.is_mapped() {
                return Err(TransactionError::Address(*address));
            }
            let owner = self.state.index.by_address.get(address);
            if owner.is_some_and(|owner| owner != node) || !seen.insert(address) {
                return Err(TransactionError::AddressKnown(*address));
            }
        }
        Ok(())
    }

    /// Addresses and keys change at most once in half an epoch.
    fn check_pause(&self, last: Height) -> Result<(), TransactionError> {
        let next = last.plus(self.state.params().epoch_blocks / 2);
        if last != Height::ZERO && self.state.height < next {
            return Err(TransactionError::TooSoon(next));
        }
        Ok(())
    }

    fn check_exit(&self, signer: PublicKey, node: &NodeId) -> Result<(), TransactionError> {
        let record = &self.registered(node)?.record;
        if record.operator != signer {
            return Err(TransactionError::NotOperator);
        }
        if record.state == NodeState::Exiting {
            return Err(TransactionError::State(record.state));
        }
        Ok(())
    }

    fn check_uptime(&self, node: &NodeId, actual: u64) -> Result<(), TransactionError> {
        let node = self.registered(node)?;
        if node.record.state == NodeState::Exiting {
            return Err(TransactionError::State(node.record.state));
        }
        let expected = epoch_of(self.state.height, self.state.params());
        if actual != expected {
            return Err(TransactionError::Epoch { expected, actual });
        }
        if node.proved_epoch >= actual {
            return Err(TransactionError::AlreadyProved);
        }
        Ok(())
    }

    fn check_transfer(&self, to: &PublicKey, amount: Amount) -> Result<(), TransactionError> {
        if amount == Amount(0) || self.state.account(to).balance.checked_add(amount).is_none() {
            return Err(TransactionError::Amount(amount));
        }
        Ok(())
    }

    fn take_effect(&mut self, body: &TxBody) {
        self.charge(body);
        let signer = NodeId::from(body.signer);
        let height = self.state.height;
        match &body.payload {
            Payload::Register { node, x25519, stake, region, addresses } => {
                self.register(body.signer, *node, *x25519, *stake, region, addresses);
            }
            Payload::UpdateAddress { addresses } => self.change_node(&signer, |node| {
                Arc::make_mut(&mut node.record).addresses.clone_from(addresses);
                node.address_changed_at = height;
            }),
            Payload::RotateKey { x25519 } => self.change_node(&signer, |node| {
                let record = Arc::make_mut(&mut node.record);
                record.previous_x25519 = Some(std::mem::replace(&mut record.x25519, *x25519));
                node.key_rotated_at = height;
            }),
            Payload::RequestExit { node } => self.change_state(node, NodeState::Exiting),
            Payload::StorageReport { height, swarm, testee, outcome, samples } => {
                self.take_report(&signer, (*height, *swarm, *testee), *outcome, *samples);
            }
            Payload::UptimeProof { epoch, version } => {
                self.change_node(&signer, |node| {
                    (node.proved_epoch, node.proved_at, node.version) = (*epoch, height, *version);
                });
                self.recommission_if_due(&signer);
            }
            Payload::Transfer { to, amount } => {
                let from = self.state.account(&body.signer).balance;
                self.set_balance(body.signer, from.checked_sub(*amount).unwrap_or_default());
                let balance = self.state.account(to).balance;
                self.set_balance(*to, balance.checked_add(*amount).unwrap_or(balance));
            }
            // Refused by `check`.
            Payload::LoadReport { .. } | Payload::RegisterName { .. } | Payload::UpdateName { .. } => {}
        }
    }

    /// Counts the nonce and burns the fee.
    fn charge(&mut self, body: &TxBody) {
        if !body.payload.bears_nonce() {
            return;
        }
        let mut account = self.state.account(&body.signer);
        account.nonce = account.nonce.saturating_add(1);
        account.balance = account.balance.checked_sub(body.fee).unwrap_or_default();
        self.state.accounts.insert(body.signer, account);
        self.mark(Table::Account, body.signer);
    }

    fn register(
        &mut self,
        operator: PublicKey,
        node: NodeId,
        x25519: X25519Key,
        stake: Amount,
        region: &Region,
        addresses: &[NodeAddr],
    ) {
        let height = self.state.height;
        let balance = self.state.account(&operator).balance;
        self.set_balance(operator, balance.checked_sub(stake).unwrap_or_default());
        let record = NodeRecord {
            node,
            x25519,
            previous_x25519: None,
            operator,
            state: NodeState::Active,
            swarm: None,
            region: region.clone(),
            addresses: addresses.to_vec(),
        };
        self.put_node(ServiceNode {
            record: Arc::new(record),
            stake,
            registered_at: height,
            since: height,
            credit: self.state.params().credit_at_registration,
            proved_epoch: epoch_of(height, self.state.params()),
            proved_at: height,
            version: 0,
            rewarded_at: height,
            rewards: Amount(0),
            home: None,
            member_since: Height::ZERO,
            address_changed_at: Height::ZERO,
            key_rotated_at: Height::ZERO,
            tests: TestLedger::default(),
        });
        self.state.joining.insert(node, ());
        self.mark(Table::Chain, WAITING_KEY);
    }
}
