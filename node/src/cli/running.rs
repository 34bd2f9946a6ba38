//! What the running node is asked, and told to do.

use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{ANSWER, CliError, Exit};
use crate::admin::client;

/// The running node's answer to a question.
pub(super) fn fetch<T: DeserializeOwned>(datadir: &Path, target: &str, timeout: Duration) -> Result<T, CliError> {
    let answer = client::ask(datadir, "GET", target, "", timeout)?;
    if answer.status == 404 {
        return Err(older());
    }
    serde_json::from_str(&answer.body).map_err(|_| {
        let message = format!("the node answers {} {:.200}", answer.status, answer.body);
        CliError::new(Exit::Network, "answer", message)
    })
}

/// Has the running node do something.
pub(super) fn order(datadir: &Path, method: &str, target: &str, body: &str) -> Result<(), CliError> {
    let answer = client::ask(datadir, method, target, body, ANSWER)?;
    if answer.status == 404 {
        return Err(older());
    }
    answered(&answer).map(drop)
}

fn older() -> CliError {
    let message = "the running node does not know this question: it is of an older version than this program";
    CliError::new(Exit::Network, "version", message).hint("restart the node with this program")
}

/// The document of a good answer, or the error of a bad one.
pub(super) fn answered(answer: &client::Answer) -> Result<serde_json::Value, CliError> {
    let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    match answer.status {
        200..300 => Ok(document),
        status => {
            let message = document["message"].as_str().unwrap_or(&answer.body).to_owned();
            let exit = match status {
                409 => Exit::Conflict,
                502 | 503 => Exit::Network,
                _ => Exit::Failed,
            };
            Err(CliError::new(exit, "refused", message))
        }
    }
}
