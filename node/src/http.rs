//! What the node shows over HTTP: `/healthz`, `/readyz`, `/status`, `/metrics`. Read-only; what changes something is
//! on the Unix socket ([`crate::admin`]).

pub mod serve;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use sotto_chain::process::serve::refuse_names;
use sotto_proto::chain::Account;
use sotto_proto::id::PublicKey;
use tokio::sync::{mpsc, oneshot};

use crate::metrics::Page;
use crate::service_node::{Command, Refusal};
use crate::status::NodeStatus;
use crate::status::drain::DrainStatus;
use crate::status::peers::PeersStatus;
use crate::status::store::StoreStatus;
use crate::status::survey::SurveyStatus;
use crate::status::swarm::SwarmStatus;

/// Questions that may wait for the event loop.
pub const QUEUE: usize = 32;

/// What is asked of the event loop from outside.
#[derive(Debug)]
pub enum Question {
    /// How the node is.
    Status(oneshot::Sender<NodeStatus>),
    /// How its swarm is.
    Swarm(oneshot::Sender<SwarmStatus>),
    /// Who is connected.
    Peers(oneshot::Sender<PeersStatus>),
    /// What it stores.
    Store(oneshot::Sender<StoreStatus>),
    /// What it would take with it.
    Drain(oneshot::Sender<DrainStatus>),
    /// How so many of its peers see it.
    Survey(u16, oneshot::Sender<Result<SurveyStatus, Refusal>>),
    /// Balance and nonce of an account; `None` before the chain is known.
    Account(PublicKey, oneshot::Sender<Option<Account>>),
    /// Something is to be done.
    Command(Command, oneshot::Sender<Result<(), Refusal>>),
    /// The node is to stop.
    Shutdown,
}

/// The event loop did not take a question, or went away before it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is busy or stopping")]
pub struct Unavailable;

/// Asks the event loop.
#[derive(Clone, Debug)]
pub struct Control(mpsc::Sender<Question>);

impl Control {
    /// A control, and where its questions come out.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Question>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Unavailable`] when too many ask at once or the node stops.
    pub async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Unavailable> {
        let (sender, receiver) = oneshot::channel();
        self.0.try_send(question(sender)).map_err(|_| Unavailable)?;
        receiver.await.map_err(|_| Unavailable)
    }

    /// Asks the node to stop.
    ///
    /// # Errors
    /// [`Unavailable`] when too many ask at once or it is stopping already.
    pub fn shut_down(&self) -> Result<(), Unavailable> {
        self.0.try_send(Question::Shutdown).map_err(|_| Unavailable)
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, self.to_string()).into_response()
    }
}

/// The read-only routes, for the HTTP port.
pub fn router(control: Control, page: Page) -> Router {
    let metrics = Router::new().route("/metrics", get(metrics)).with_state(page);
    status_routes(control).merge(metrics).layer(middleware::from_fn(refuse_names))
}

/// `/healthz`, `/readyz` and `/status`, which the admin socket has as well.
pub(crate) fn status_routes(control: Control) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .with_state(control)
}

async fn status(State(control): State<Control>) -> Result<Json<NodeStatus>, Unavailable> {
    control.ask(Question::Status).await.map(Json)
}

async fn ready(State(control): State<Control>) -> Result<Response, Unavailable> {
    let status = control.ask(Question::Status).await?;
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({ "v": 1, "type": "node.ready", "ready": status.ready, "summary": status.summary });
    Ok((code, Json(body)).into_response())
}

async fn metrics(State(page): State<Page>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.render())
}
