//! `sotto-node rewards`.

use clap::Args;

use super::register::account;
use super::{ANSWER, CliError, Context, Exit, status};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sotto-node rewards
  sotto-node rewards --json | jq -r .balance")]
pub(super) struct Rewards {}

impl Rewards {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        let status = status::fetch(&context.datadir, context.timeout.unwrap_or(ANSWER))?;
        let operator = status.operator.ok_or_else(|| {
            CliError::new(
                Exit::NotFound,
                "no_operator",
                "the node has no operator: it is not registered, and its key is not here",
            )
        })?;
        let key = operator
            .parse()
            .map_err(|_| CliError::new(Exit::Network, "answer", "the node's answer is not understood"))?;
        let (balance, nonce) = account(&context.datadir, &key)?;
        let document = serde_json::json!({
            "v": 1, "type": "node.rewards", "node": status.node, "operator": operator, "earned": status.rewards,
            "staked": status.stake, "balance": balance.to_string(), "nonce": nonce, "height": status.tip,
        });
        let text = format!(
            "{} coins earned by this node, as of block {}\n\n  operator    {operator}\n  balance     {balance} coins\n  \
             staked      {} coins\n",
            status.rewards, status.tip, status.stake
        );
        context.out.result(&document, &text)?;
        Ok(Exit::Done)
    }
}
