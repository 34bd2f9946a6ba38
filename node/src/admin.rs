//! The operator's way in: HTTP over the Unix socket `admin.sock` in the data directory, which only its owner enters.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `GET /status`, `/healthz`, `/readyz` | | as over TCP |
//! | `GET /swarm` | | the own swarm, its members, whether they have the same |
//! | `GET /peers` | | who is connected |
//! | `GET /store` | | how much is stored |
//! | `GET /drain` | | what the node would take with it |
//! | `POST /drain` | `force` or nothing | 409 if the swarm would be left with too few members |
//! | `DELETE /drain` | | 409 if it does not drain |
//! | `GET /survey/<peers>` | | how so many of its peers see the node, after seconds |
//! | `GET /account/<key>` | | balance and nonce |
//! | `POST /tx` | hex of a signed transaction | its id, once the producer has it |
//! | `POST /keys/rotate` | | |
//! | `POST /shutdown` | | |
//!
//! Errors are `{"v":1,"type":"error","code":…,"message":…}` with a status of 400 (malformed), 409 (refused by the
//! chain), 502 (producer not reached) or 503 (busy).

pub mod client;

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use axum::extract::{DefaultBodyLimit, Path as UrlPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use sotto_proto::chain::Transaction;
use sotto_proto::id::{ChainId, PublicKey};
use sotto_proto::limits::MAX_TX_BYTES;
use tokio::net::UnixListener;

use crate::http::{Control, Question, Unavailable, status_routes};
use crate::service_node::{Command, Refusal};
use crate::status::drain::DrainStatus;
use crate::status::peers::PeersStatus;
use crate::status::store::StoreStatus;
use crate::status::survey::SurveyStatus;
use crate::status::swarm::SwarmStatus;

/// Name of the socket in the data directory.
pub const SOCKET: &str = "admin.sock";
/// Longest path a socket address holds, with room to spare; longer ones go through `/proc`.
const SOCKET_PATH_MAX: usize = 100;
/// Bytes of a request's body: a transaction in hex and a line's end.
const BODY_MAX: usize = 2 * MAX_TX_BYTES + 2;

/// A path by which the socket can be bound or connected to. Holds the directory open while a detour needs it.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    _directory: Option<File>,
}

impl SocketPath {
    /// The socket of the data directory.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub fn of(datadir: &Path) -> io::Result<Self> {
        let path = datadir.join(SOCKET);
        if path.as_os_str().len() <= SOCKET_PATH_MAX {
            return Ok(Self { path, _directory: None });
        }
        let directory = File::open(datadir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()));
        Ok(Self { path, _directory: Some(directory) })
    }

    /// The path; good while this lives.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.path
    }
}

/// Listens on the socket of `datadir`, for its owner only. Must be called by whoever has the lock: a socket that is
/// there is a dead process's and is replaced.
///
/// # Errors
/// When it cannot be bound.
pub fn listen(datadir: &Path) -> io::Result<UnixListener> {
    let path = SocketPath::of(datadir)?;
    match fs::remove_file(path.as_path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path.as_path())?;
    fs::set_permissions(path.as_path(), fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

#[derive(Clone)]
struct Admin {
    control: Control,
    chain: ChainId,
}

/// Everything on the socket.
pub fn router(control: Control, chain: ChainId) -> Router {
    let admin = Router::new()
        .route("/swarm", get(swarm))
        .route("/peers", get(peers))
        .route("/store", get(store))
        .route("/drain", get(drain).post(begin_drain).delete(end_drain))
        .route("/survey/{peers}", get(survey))
        .route("/account/{key}", get(account))
        .route("/tx", post(submit))
        .route("/keys/rotate", post(rotate))
        .route("/shutdown", post(shutdown))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Admin { control: control.clone(), chain });
    status_routes(control).merge(admin)
}

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
enum AdminError {
    #[error("{0}")]
    Malformed(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let (status, code) = match &self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed"),
            Self::Refused(Refusal::Rejected(_)) => (StatusCode::CONFLICT, "rejected"),
            Self::Refused(Refusal::State(_)) => (StatusCode::CONFLICT, "state"),
            Self::Refused(Refusal::Unreachable(_)) => (StatusCode::BAD_GATEWAY, "unreachable"),
            Self::Refused(Refusal::Busy) | Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        };
        let body = serde_json::json!({ "v": 1, "type": "error", "code": code, "message": self.to_string() });
        (status, Json(body)).into_response()
    }
}

async fn swarm(State(admin): State<Admin>) -> Result<Json<SwarmStatus>, AdminError> {
    Ok(Json(admin.control.ask(Question::Swarm).await?))
}

async fn peers(State(admin): State<Admin>) -> Result<Json<PeersStatus>, AdminError> {
    Ok(Json(admin.control.ask(Question::Peers).await?))
}

async fn store(State(admin): State<Admin>) -> Result<Json<StoreStatus>, AdminError> {
    Ok(Json(admin.control.ask(Question::Store).await?))
}

async fn drain(State(admin): State<Admin>) -> Result<Json<DrainStatus>, AdminError> {
    Ok(Json(admin.control.ask(Question::Drain).await?))
}

async fn begin_drain(State(admin): State<Admin>, body: String) -> Result<StatusCode, AdminError> {
    let force = match body.trim() {
        "" => false,
        "force" => true,
        other => return Err(AdminError::Malformed(format!("{other:.20}: nothing or force is expected"))),
    };
    command(&admin, Command::Drain { force }).await
}

async fn end_drain(State(admin): State<Admin>) -> Result<StatusCode, AdminError> {
    command(&admin, Command::EndDrain).await
}

async fn command(admin: &Admin, command: Command) -> Result<StatusCode, AdminError> {
    admin.control.ask(|reply| Question::Command(command, reply)).await??;
    Ok(StatusCode::ACCEPTED)
}

async fn survey(State(admin): State<Admin>, UrlPath(peers): UrlPath<String>) -> Result<Json<SurveyStatus>, AdminError> {
    let peers: u16 = peers.parse().map_err(|error| AdminError::Malformed(format!("number of peers: {error}")))?;
    Ok(Json(admin.control.ask(|reply| Question::Survey(peers, reply)).await??))
}

async fn account(State(admin): State<Admin>, UrlPath(key): UrlPath<String>) -> Result<Response, AdminError> {
    let key: PublicKey = key.parse().map_err(|error| AdminError::Malformed(format!("account: {error}")))?;
    let account = admin.control.ask(|reply| Question::Account(key, reply)).await?.ok_or(Unavailable)?;
    let body = serde_json::json!({
        "v": 1, "type": "account", "account": key.to_string(),
        "balance": account.balance.to_string(), "nonce": account.nonce,
    });
    Ok(Json(body).into_response())
}

async fn submit(State(admin): State<Admin>, body: String) -> Result<Response, AdminError> {
    let bytes = hex::decode(body.trim()).map_err(|error| AdminError::Malformed(format!("not hex: {error}")))?;
    let transaction =
        Transaction::decode(&bytes).map_err(|error| AdminError::Malformed(format!("no transaction: {error}")))?;
    admin.control.ask(|reply| Question::Command(Command::Submit(bytes), reply)).await??;
    let id = transaction.id(&admin.chain).to_string();
    Ok(Json(serde_json::json!({ "v": 1, "type": "submitted", "txid": id })).into_response())
}

async fn rotate(State(admin): State<Admin>) -> Result<StatusCode, AdminError> {
    command(&admin, Command::RotateKey).await
}

async fn shutdown(State(admin): State<Admin>) -> Result<StatusCode, AdminError> {
    admin.control.shut_down()?;
    Ok(StatusCode::ACCEPTED)
}
