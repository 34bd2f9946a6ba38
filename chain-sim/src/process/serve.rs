//! Serving HTTP to strangers on this machine: whatever they send, connections, memory and time are bounded.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How much one listener takes. Defaults are those of production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections at once; further ones are closed.
    pub connections: usize,
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// Life of a connection, however it is used: whoever scrapes connects again.
    pub life: Duration,
    /// Bytes of a request's head, and of the connection's buffer.
    pub buffer: usize,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self { connections: 32, head: Duration::from_secs(5), life: Duration::from_secs(30), buffer: 16 << 10 }
    }
}

/// A listener of streams.
pub trait Accept {
    /// What it accepts.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection. Cancel-safe.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

/// How long answers under way may take when the process stops.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Answers with `router` until `shutdown`; says `refused` for each connection that is one too many.
pub async fn serve(
    listener: impl Accept,
    router: Router,
    limits: ServeLimits,
    refused: impl Fn() + Send,
    shutdown: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(stream) if connections.len() < limits.connections => {
                    connections.spawn(connection(stream, router.clone(), limits));
                }
                Ok(_) => refused(),
                Err(error) => {
                    // Out of file descriptors, most likely: closing connections is what helps.
                    tracing::warn!(%error, "cannot accept HTTP connections");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            },
        }
    }
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, finished).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router, limits: ServeLimits) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.buffer)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(limits.life, connection).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection broke"),
    }
}

/// A web page somewhere can make a browser here ask this port, under a name of its own that resolves to 127.0.0.1, and
/// read the answer. It cannot make the browser ask for an address or `localhost`, so only those are answered.
pub async fn refuse_names(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let authority: Option<Uri> = format!("http://{host}/").parse().ok();
    let name = authority.as_ref().and_then(Uri::host).unwrap_or_default();
    let is_address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
    if is_address || name == "localhost" {
        next.run(request).await
    } else {
        (StatusCode::MISDIRECTED_REQUEST, "ask by IP address or as localhost\n").into_response()
    }
}
