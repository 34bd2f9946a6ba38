//! What the running node is asked.

use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{CliError, Exit};
use crate::admin::client;

/// The running node's answer to a question.
pub(super) fn fetch<T: DeserializeOwned>(datadir: &Path, target: &str, timeout: Duration) -> Result<T, CliError> {
    let answer = client::ask(datadir, "GET", target, "", timeout)?;
    if answer.status == 404 {
        let message = "the running node does not know this question: it is of an older version than this program";
        return Err(CliError::new(Exit::Network, "version", message).hint("restart the node with this program"));
    }
    serde_json::from_str(&answer.body).map_err(|_| {
        let message = format!("the node answers {} {:.200}", answer.status, answer.body);
        CliError::new(Exit::Network, "answer", message)
    })
}
