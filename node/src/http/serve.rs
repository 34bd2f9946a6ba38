//! Serving HTTP with the bounds of [`sotto_chain::process::serve`]; what is over them is counted.

use axum::Router;
pub use sotto_chain::process::serve::{Accept, ServeLimits};
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// Answers with `router` until `shutdown`.
pub async fn serve(listener: impl Accept, router: Router, limits: ServeLimits, shutdown: CancellationToken) {
    sotto_chain::process::serve::serve(listener, router, limits, metrics::http_refused, shutdown).await;
}
