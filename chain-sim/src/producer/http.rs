//! The two HTTP listeners: one on TCP that only tells, one on a Unix socket that also takes commands.
//!
//! | path | where | what |
//! | --- | --- | --- |
//! | `GET /healthz` | both | 200 while the event loop answers |
//! | `GET /readyz` | both | 200 when blocks are produced and the network listens, else 503 and the reason |
//! | `GET /status` | both | [`Status`](crate::producer::report::Status) |
//! | `GET /metrics` | both | OpenMetrics text |
//! | `GET /account/KEY`, `/tx/ID`, `/stakes`, `/stakes/NODE` | socket | the chain |
//! | `POST /tx` `{"tx": HEX}` | socket | submit a transaction |
//! | `POST /faucet` `{"to": KEY, "amount": COINS}` | socket | coins, on testnets |
//! | `POST /produce` `{"count": N}` | socket | blocks at once |
//! | `POST /fault` `{"kind": …}` | socket | misbehave, on testnets |
//! | `POST /shutdown` | socket | end |

mod admin;
mod error;
mod socket;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{Router, get};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub use self::admin::FaultRequest;
pub use self::error::ApiError;
pub use self::socket::{bind, connect};
use crate::process::serve::refuse_names;
use crate::producer::command::{Answer, Commands, Question};

/// What the handlers work with.
#[derive(Clone)]
pub(super) struct Api {
    pub(super) commands: Commands,
    pub(super) registry: Arc<Registry>,
    pub(super) shutdown: CancellationToken,
    pub(super) block_time_ms: u64,
}

/// The routes that only tell.
pub(super) fn public(api: Api) -> Router {
    routes().with_state(api).layer(middleware::from_fn(refuse_names))
}

/// All routes.
pub(super) fn admin(api: Api) -> Router {
    routes().merge(admin::routes()).with_state(api)
}

fn routes() -> Router<Api> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .fallback(|| async { ApiError::NotFound("path") })
}

async fn healthz(State(api): State<Api>) -> Result<&'static str, ApiError> {
    api.commands.ask(Question::Ready).await?;
    Ok("ok\n")
}

async fn readyz(State(api): State<Api>) -> Result<Response, ApiError> {
    Ok(match api.commands.ask(Question::Ready).await? {
        Answer::Ready(Some(reason)) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "v": 1, "ready": false, "reason": reason }))).into_response()
        }
        _ => Json(json!({ "v": 1, "ready": true })).into_response(),
    })
}

async fn status(State(api): State<Api>) -> Result<Json<Answer>, ApiError> {
    Ok(Json(api.commands.ask(Question::Status).await?))
}

async fn metrics(State(api): State<Api>) -> Result<Response, ApiError> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &api.registry).map_err(|_| ApiError::Internal)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
