//! Calls at work.

use serde_json::Value;
use tokio::task::JoinSet;

use super::{Call, Client, Error, Failure};

/// A call with its documents, or why there are none.
pub(crate) type Answered = (Call, Result<Vec<Value>, Failure>);

/// Calls that were begun, and a connection to make them over.
#[derive(Debug)]
pub(crate) struct Calls {
    client: Client,
    running: JoinSet<Answered>,
}

impl Calls {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, running: JoinSet::new() }
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, call: Call) {
        let client = self.client.clone();
        self.running.spawn(async move {
            let result = match client.call(call.method(), call.params()).await {
                Ok(Value::Array(documents)) => Ok(documents),
                Ok(Value::Null) => Ok(Vec::new()),
                Ok(document) => Ok(vec![document]),
                Err(Error::Failed(failure)) => Err(failure),
                Err(Error::Gone | Error::Connect(_)) => Err(Failure::gone()),
                Err(error @ Error::TooLong(_)) => Err(Failure { message: error.to_string(), ..Failure::default() }),
            };
            (call, result)
        });
    }

    /// The next answer. Waits for ever while nothing is at work.
    pub(crate) async fn next(&mut self) -> Answered {
        loop {
            match self.running.join_next().await {
                Some(Ok(answered)) => return answered,
                // Whoever panics ends the process.
                Some(Err(_)) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// Whether nothing is at work.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}
