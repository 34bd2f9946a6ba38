//! The same over HTTP, for those who speak nothing else: `POST /api/v1/rpc`, `GET /api/v1/events` (server-sent events),
//! `GET /api/v1/check`, `GET /api/v1/openrpc.json`.
//!
//! On a loopback address only. Every request but the check carries the token, which lies in a file of the user's; and names
//! this server in its Host header, so that no page in a browser can have itself resolved to it (DNS rebinding).

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use axum::{Json, Router};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::super::{CliError, Exit};
use super::call::{self, Failure, PARSE_ERROR};
use super::events::{self, Gone};
use super::{CONNECTIONS, Daemon, LINE, openrpc};

/// Events that wait for a reader.
const WAITING: usize = 64;

#[derive(Clone)]
struct Served {
    daemon: Arc<Daemon>,
    token: Arc<Zeroizing<String>>,
    port: u16,
}

/// Listens at a loopback address.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, CliError> {
    if !address.ip().is_loopback() {
        let message = format!("{address} is no loopback address");
        return Err(CliError::new(Exit::Usage, "not_loopback", message).hint("--http=127.0.0.1:7783"));
    }
    TcpListener::bind(address).await.map_err(|error| CliError::io("listen at", address, &error))
}

/// A listener that holds so many connections at once; others wait in the system's queue.
struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Held { stream, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection, and its place among those that may be open.
struct Held {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves until the daemon stops.
pub(super) async fn serve(daemon: Arc<Daemon>, listener: TcpListener, token: Zeroizing<String>) -> io::Result<()> {
    let port = listener.local_addr()?.port();
    let served = Served { daemon: Arc::clone(&daemon), token: Arc::new(token), port };
    let router = Router::new()
        .route("/api/v1/rpc", post(rpc))
        .route("/api/v1/events", get(listen))
        .route("/api/v1/openrpc.json", get(|| async { Json(openrpc::document()) }))
        .route("/api/v1/check", get(check))
        .layer(DefaultBodyLimit::max(usize::try_from(LINE).unwrap_or(usize::MAX)))
        .layer(middleware::from_fn_with_state(served.clone(), admit))
        .with_state(served);
    let listener = Bounded { listener, places: Arc::new(Semaphore::new(CONNECTIONS)) };
    axum::serve(listener, router).with_graceful_shutdown(async move { daemon.stopped().await }).await
}

/// Lets in who names this server and has the token.
async fn admit(State(served): State<Served>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !is_this_host(headers, served.port) {
        return refused(StatusCode::FORBIDDEN, "this is not the host that you mean");
    }
    // Whether there is a daemon is no secret, and nothing else is said.
    if request.uri().path() != "/api/v1/check" && !has_token(headers, &served.token) {
        return refused(StatusCode::UNAUTHORIZED, "Authorization: Bearer TOKEN, from the file that the daemon names");
    }
    next.run(request).await
}

fn refused(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"v": 1, "type": "error", "message": message}))).into_response()
}

fn is_this_host(headers: &HeaderMap, port: u16) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    ["127.0.0.1", "localhost", "[::1]"].iter().any(|name| host == format!("{name}:{port}"))
}

fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    verify_slices_are_equal(given.as_bytes(), token.as_bytes()).is_ok()
}

async fn check(State(served): State<Served>) -> Json<Value> {
    let locked = served.daemon.engine().is_err();
    Json(json!({"v": 1, "type": "check", "ok": true, "locked": locked}))
}

async fn rpc(State(served): State<Served>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return Json(Failure::new(PARSE_ERROR, "not JSON").answer(&Value::Null)).into_response();
    };
    match call::answer_request(&served.daemon, request).await {
        Some(answer) => Json(answer).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

#[derive(Deserialize)]
struct After {
    after: Option<String>,
}

/// Events, each with its cursor as the id: whoever comes back with `Last-Event-ID` misses nothing.
async fn listen(State(served): State<Served>, headers: HeaderMap, Query(query): Query<After>) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let after = last.or(query.after).map(Value::String);
    let (engine, after) = match (served.daemon.engine(), events::cursor(after.as_ref())) {
        (Ok(engine), Ok(after)) => (engine, after),
        (Err(error), _) => return refused(StatusCode::CONFLICT, &error.message),
        (_, Err(_)) => return refused(StatusCode::BAD_REQUEST, "a cursor is a number"),
    };
    let (events, waiting) = mpsc::channel::<Event>(WAITING);
    // It ends with the stream, however quiet it is until then.
    let mut telling = JoinSet::new();
    telling.spawn(async move {
        let _ = events::run(&engine, after, |told| {
            let mut event = Event::default().data(told.to_string());
            if let Some(kind) = told.get("type").and_then(Value::as_str) {
                event = event.event(kind);
            }
            if let Some(cursor) = told.get("cursor").and_then(Value::as_str) {
                event = event.id(cursor);
            }
            let events = events.clone();
            async move { events.send(event).await.map_err(|_| Gone) }
        })
        .await;
    });
    let stream = stream::unfold((waiting, telling), |(mut waiting, telling)| async move {
        let event = waiting.recv().await?;
        Some((Ok::<_, Infallible>(event), (waiting, telling)))
    });
    Sse::new(stream).keep_alive(KeepAlive::default()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn only_the_servers_own_names_are_hosts_of_it() {
        for host in ["127.0.0.1:7783", "localhost:7783", "[::1]:7783"] {
            assert!(is_this_host(&headers(header::HOST, host), 7783), "{host}");
        }
        for host in ["evil.example:7783", "127.0.0.1:80", "127.0.0.1", "localhost:7783.evil.example"] {
            assert!(!is_this_host(&headers(header::HOST, host), 7783), "{host}");
        }
        assert!(!is_this_host(&HeaderMap::new(), 7783));
    }

    #[test]
    fn the_whole_token_is_needed() {
        assert!(has_token(&headers(header::AUTHORIZATION, "Bearer abc"), "abc"));
        for value in ["Bearer ab", "Bearer abcd", "abc", "Basic abc", "Bearer "] {
            assert!(!has_token(&headers(header::AUTHORIZATION, value), "abc"), "{value}");
        }
        assert!(!has_token(&HeaderMap::new(), "abc"));
    }

    #[tokio::test]
    async fn only_loopback_is_listened_at() {
        assert_eq!(bind("0.0.0.0:0".parse().unwrap()).await.unwrap_err().exit, Exit::Usage);
        bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    }
}
