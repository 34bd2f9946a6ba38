//! Waiting for a transaction to get into a block.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sotto_chain::producer::report::TransactionReport;

use super::client::Client;
use super::console::Console;
use super::failure::{Exit, Failure};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Reports a submitted transaction: at once, or when it is in a block.
pub(super) fn report(
    client: &Client,
    console: &Console,
    submitted: &Value,
    what: &str,
    wait: bool,
) -> Result<(), Failure> {
    let id = submitted.get("id").and_then(Value::as_str).unwrap_or_default();
    if !wait {
        let document = json!({ "v": 1, "type": "chain.tx", "id": id, "state": "waiting" });
        return console.result(&format!("{what}: waits for a block\ntx {id}"), &document);
    }
    let begin = Instant::now();
    loop {
        let report: TransactionReport = client.get(&format!("/tx/{id}"))?;
        match (report.state.as_str(), report.height) {
            ("included", Some(height)) => {
                return console.result(&format!("{what}: in block {height}\ntx {id}"), &report);
            }
            ("dropped", _) => {
                let reason = report.reason.unwrap_or_default();
                return Err(Failure::new(Exit::Failed, "dropped", format!("the transaction was dropped: {reason}")));
            }
            _ if begin.elapsed() > client.timeout() => {
                let message = format!("the transaction is in no block yet (it may still get into one)\ntx {id}");
                return Err(Failure::new(Exit::Timeout, "waiting", message).hint("sotto-chain status"));
            }
            _ => thread::sleep(PAUSE),
        }
    }
}
