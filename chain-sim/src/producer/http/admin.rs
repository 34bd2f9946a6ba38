//! The routes that take commands.

use std::str::FromStr;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::routing::{Router, get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sotto_proto::id::Amount;

use super::{Api, ApiError};
use crate::producer::command::{Action, Answer, Question};
use crate::producer::machine::{Fault, Reply};

/// Longest body: a transaction of 1 KiB in hex.
const MAX_BODY: usize = 8 << 10;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/account/{key}", get(account))
        .route("/tx/{id}", get(transaction))
        .route("/stakes", get(stakes))
        .route("/stakes/{node}", get(stake))
        .route("/tx", post(submit))
        .route("/faucet", post(faucet))
        .route("/produce", post(produce))
        .route("/fault", post(fault))
        .route("/shutdown", post(shutdown))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

fn parse<T: FromStr>(what: &'static str, text: &str) -> Result<T, ApiError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| ApiError::Malformed(format!("{what}: {error}")))
}

fn body<'a, T: Deserialize<'a>>(bytes: &'a Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::Malformed(error.to_string()))
}

async fn account(State(api): State<Api>, Path(key): Path<String>) -> Result<Json<Answer>, ApiError> {
    Ok(Json(api.commands.ask(Question::Account(parse("account", &key)?)).await?))
}

async fn transaction(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<Answer>, ApiError> {
    match api.commands.ask(Question::Transaction(parse("transaction id", &id)?)).await? {
        Answer::Transaction(None) => Err(ApiError::NotFound("transaction")),
        answer => Ok(Json(answer)),
    }
}

async fn stakes(State(api): State<Api>) -> Result<Json<Answer>, ApiError> {
    Ok(Json(api.commands.ask(Question::Stakes(None)).await?))
}

async fn stake(State(api): State<Api>, Path(node): Path<String>) -> Result<Json<Answer>, ApiError> {
    match api.commands.ask(Question::Stakes(Some(parse("node", &node)?))).await? {
        Answer::Stakes(stakes) if stakes.nodes.is_empty() && stakes.locked.is_empty() => {
            Err(ApiError::NotFound("service node"))
        }
        answer => Ok(Json(answer)),
    }
}

async fn act(api: &Api, action: Action) -> Result<Json<Value>, ApiError> {
    let mut document = match api.commands.act(action).await?? {
        Reply::Submitted(id) => json!({ "type": "chain.submitted", "id": id.to_string() }),
        Reply::Produced { tip } => json!({ "type": "chain.produced", "tip": tip.0 }),
        Reply::Faulted => json!({ "type": "chain.fault" }),
    };
    document["v"] = 1.into();
    document["ok"] = true.into();
    Ok(Json(document))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitRequest {
    tx: String,
}

async fn submit(State(api): State<Api>, bytes: Bytes) -> Result<Json<Value>, ApiError> {
    let request: SubmitRequest = body(&bytes)?;
    let transaction = hex::decode(&request.tx).map_err(|error| ApiError::Malformed(format!("tx: {error}")))?;
    act(&api, Action::Submit(transaction)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaucetRequest {
    to: String,
    amount: Coins,
}

/// An amount of coins: `12.5` as text, or whole coins as a number (JSON's fractions are not exact).
#[derive(Deserialize)]
#[serde(untagged)]
enum Coins {
    Whole(u64),
    Text(String),
}

async fn faucet(State(api): State<Api>, bytes: Bytes) -> Result<Json<Value>, ApiError> {
    let request: FaucetRequest = body(&bytes)?;
    let amount = match request.amount {
        Coins::Whole(coins) => Amount::coins(coins),
        Coins::Text(text) => parse("amount", &text)?,
    };
    act(&api, Action::Faucet { to: parse("to", &request.to)?, amount }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProduceRequest {
    count: u64,
}

async fn produce(State(api): State<Api>, bytes: Bytes) -> Result<Json<Value>, ApiError> {
    let request: ProduceRequest = body(&bytes)?;
    act(&api, Action::Produce(request.count)).await
}

/// The body of `POST /fault`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultRequest {
    /// No blocks, for some time or until cleared.
    Stall {
        /// How long, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Slower blocks, for some time or until cleared; exactly one of `every_ms` and `factor`.
    Slow {
        /// Milliseconds between blocks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        every_ms: Option<u64>,
        /// How many times slower than the genesis says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        factor: Option<u32>,
        /// How long, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// The last blocks are replaced.
    Reorg {
        /// How many.
        depth: u64,
        /// `false` refuses more than finality allows.
        #[serde(default = "meant")]
        deep: bool,
    },
    /// Two branches, one for each half of the peers.
    TwoHeads {
        /// Blocks in each.
        #[serde(default = "one")]
        blocks: u64,
    },
    /// Two blocks of one height for everybody.
    Equivocate,
    /// Back to normal.
    #[serde(alias = "none")]
    Clear,
}

/// Whoever writes the depth into a request means it; the command line asks twice.
const fn meant() -> bool {
    true
}

const fn one() -> u64 {
    1
}

impl FaultRequest {
    /// As the machine takes it.
    ///
    /// # Errors
    /// When not exactly one of the two ways to say *slow* is used.
    pub(super) fn fault(&self, block_time_ms: u64) -> Result<Fault, ApiError> {
        let lasting = |millis: &Option<u64>| millis.map(Duration::from_millis);
        Ok(match self {
            Self::Stall { for_ms } => Fault::Stall { lasting: lasting(for_ms) },
            Self::Slow { every_ms, factor, for_ms } => {
                let every = match (every_ms, factor) {
                    (Some(millis), None) => *millis,
                    (None, Some(factor)) => block_time_ms.saturating_mul((*factor).into()),
                    _ => return Err(ApiError::Malformed("either every_ms or factor is needed".to_owned())),
                };
                Fault::Slow { every: Duration::from_millis(every), lasting: lasting(for_ms) }
            }
            Self::Reorg { depth, deep } => Fault::Reorg { depth: *depth, deep: *deep },
            Self::TwoHeads { blocks } => Fault::TwoHeads { blocks: *blocks },
            Self::Equivocate => Fault::Equivocate,
            Self::Clear => Fault::Clear,
        })
    }
}

async fn fault(State(api): State<Api>, bytes: Bytes) -> Result<Json<Value>, ApiError> {
    let request: FaultRequest = body(&bytes)?;
    let fault = request.fault(api.block_time_ms)?;
    tracing::warn!(?fault, "a fault was asked for");
    act(&api, Action::Fault(fault)).await
}

async fn shutdown(State(api): State<Api>) -> Json<Value> {
    tracing::info!("shutting down on request");
    api.shutdown.cancel();
    Json(json!({ "v": 1, "type": "chain.shutdown", "ok": true }))
}

#[cfg(test)]
mod tests {
    use sotto_proto::id::TxId;

    use super::*;

    fn fault(json: &str) -> Result<Fault, ApiError> {
        serde_json::from_str::<FaultRequest>(json).map_err(|error| ApiError::Malformed(error.to_string()))?.fault(1000)
    }

    #[test]
    fn faults_are_read_with_their_defaults() {
        let second = Duration::from_secs(1);
        let cases = [
            (r#"{"kind":"stall"}"#, Fault::Stall { lasting: None }),
            (r#"{"kind":"stall","for_ms":1000}"#, Fault::Stall { lasting: Some(second) }),
            (r#"{"kind":"slow","factor":5}"#, Fault::Slow { every: 5 * second, lasting: None }),
            (r#"{"kind":"slow","every_ms":3000}"#, Fault::Slow { every: 3 * second, lasting: None }),
            (r#"{"kind":"reorg","depth":2}"#, Fault::Reorg { depth: 2, deep: true }),
            (r#"{"kind":"two_heads"}"#, Fault::TwoHeads { blocks: 1 }),
            (r#"{"kind":"equivocate"}"#, Fault::Equivocate),
            (r#"{"kind":"clear"}"#, Fault::Clear),
            (r#"{"kind":"none"}"#, Fault::Clear),
        ];
        for (json, expected) in cases {
            assert_eq!(fault(json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_no_fault_is_malformed() {
        for json in [
            "",
            "[]",
            r#"{"kind":"explode"}"#,
            r#"{"kind":"reorg"}"#,
            r#"{"kind":"reorg","depth":-1}"#,
            r#"{"kind":"slow"}"#,
            r#"{"kind":"slow","every_ms":5,"factor":5}"#,
            r#"{"kind":"stall","color":"red"}"#,
        ] {
            assert!(matches!(fault(json), Err(ApiError::Malformed(_))), "{json}");
        }
    }

    #[test]
    fn ids_in_paths_are_64_hex_digits() {
        assert!(parse::<TxId>("transaction id", &"0a".repeat(32)).is_ok());
        assert!(matches!(parse::<TxId>("transaction id", "0a"), Err(ApiError::Malformed(_))));
    }
}
