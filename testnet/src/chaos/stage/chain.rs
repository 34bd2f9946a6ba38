//! Faults of the chain and of its producer.

use serde_json::{Value, json};

use super::{Stage, Undo};
use crate::chaos::Fault;
use crate::control::{self, Action, Done, Request};
use crate::failure::{Exit, Failure};
use crate::files::ADMIN_SOCKET;
use crate::http;
use crate::plan::Plan;
use crate::target::Target;

/// Blocks that a reorganisation replaces: nodes follow up to three.
const REORG_DEPTH: u64 = 2;

impl Undo {
    /// How a fault of the chain is undone, if it is.
    pub(super) const fn of_chain(fault: Fault) -> Option<Self> {
        match fault {
            Fault::ChainReorg | Fault::ChainTwoHeads => None,
            Fault::ChainKill => Some(Self::StartProducer),
            _ => Some(Self::ClearChain),
        }
    }
}

impl Stage {
    /// Begins a fault of the chain.
    pub(super) async fn apply_to_chain(&mut self, fault: Fault) -> Result<(), Failure> {
        match fault {
            Fault::ChainReorg => self.chain(json!({ "kind": "reorg", "depth": REORG_DEPTH, "deep": false })).await,
            Fault::ChainTwoHeads => self.chain(json!({ "kind": "two_heads", "blocks": 1 })).await,
            Fault::ChainKill => {
                self.producer_is_down = true;
                self.act_on_producer(Action::Kill).await
            }
            Fault::ChainSlow => {
                let every = self.plan.settings.block_time_ms.saturating_mul(3);
                self.chain(json!({ "kind": "slow", "every_ms": every })).await
            }
            _ => self.chain(json!({ "kind": "stall" })).await,
        }
    }

    /// Starts the producer. Returns what was done, for people.
    pub(super) async fn start_producer(&mut self) -> Result<String, Failure> {
        self.act_on_producer(Action::Restart).await?;
        self.producer_is_down = false;
        Ok("producer started".to_owned())
    }

    /// Has blocks made as usual. Returns what was done, for people.
    pub(super) async fn end_on_chain(&self) -> Result<String, Failure> {
        // It starts without a fault.
        if self.producer_is_down {
            return Ok("blocks as usual, once there are any".to_owned());
        }
        self.chain(json!({ "kind": "clear" })).await?;
        Ok("blocks as usual".to_owned())
    }

    pub(in crate::chaos) async fn act_on_producer(&self, action: Action) -> Result<(), Failure> {
        let request = Request::Act { action, targets: vec![Target::Chain] };
        control::ask::<Done>(&self.dir, &request).await.map(drop)
    }

    async fn chain(&self, body: Value) -> Result<(), Failure> {
        ask_chain(&self.plan, &body).await
    }
}

/// Has the producer make blocks as usual again.
///
/// # Errors
/// [`Exit::Network`] if it does not answer.
pub async fn clear_chain(plan: &Plan) -> Result<(), Failure> {
    ask_chain(plan, &json!({ "kind": "clear" })).await
}

async fn ask_chain(plan: &Plan, body: &Value) -> Result<(), Failure> {
    let socket = plan.producer().datadir.join(ADMIN_SOCKET);
    let asked = http::post(&socket, "/fault", body).await;
    asked.map(drop).map_err(|error| Failure::new(Exit::Network, format!("the block producer: {error}")))
}
