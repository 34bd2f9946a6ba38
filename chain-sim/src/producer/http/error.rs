//! Errors as HTTP answers: a status code, and the JSON document that the command line prints.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::TransactionError;
use crate::producer::command::Unanswered;
use crate::producer::faucet::FaucetError;
use crate::producer::machine::Refusal;

/// Why a request is not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is no such thing.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// The machine refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The event loop did not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// A defect.
    #[error("internal error")]
    Internal,
}

impl ApiError {
    /// HTTP status, a fixed name, and the exit code of a command that fails with it.
    const fn kind(&self) -> (StatusCode, &'static str, u8) {
        match self {
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", 7),
            Self::Malformed(_) | Self::Refused(Refusal::Malformed(_) | Refusal::Range { .. }) => {
                (StatusCode::BAD_REQUEST, "malformed", 1)
            }
            Self::Refused(Refusal::Invalid(error)) => match error {
                TransactionError::NodeKnown(_)
                | TransactionError::AddressKnown(_)
                | TransactionError::X25519
                | TransactionError::Nonce { .. }
                | TransactionError::Stake { .. } => (StatusCode::CONFLICT, "rejected", 10),
                TransactionError::Signature | TransactionError::NotOperator => (StatusCode::FORBIDDEN, "rejected", 11),
                _ => (StatusCode::CONFLICT, "rejected", 1),
            },
            Self::Refused(Refusal::Faucet(FaucetError::RateLimited { .. })) => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limited", 5)
            }
            Self::Refused(Refusal::Faucet(_) | Refusal::NotTestnet) => (StatusCode::FORBIDDEN, "not_allowed", 11),
            Self::Refused(Refusal::TooDeep { .. }) => (StatusCode::CONFLICT, "too_deep", 1),
            Self::Refused(Refusal::Full(_) | Refusal::Busy) | Self::Unanswered(Unanswered::Busy) => {
                (StatusCode::SERVICE_UNAVAILABLE, "busy", 8)
            }
            Self::Refused(Refusal::Halted(_)) => (StatusCode::SERVICE_UNAVAILABLE, "halted", 1),
            Self::Unanswered(Unanswered::Timeout) => (StatusCode::SERVICE_UNAVAILABLE, "timeout", 8),
            Self::Unanswered(Unanswered::Closed) => (StatusCode::SERVICE_UNAVAILABLE, "closed", 3),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", 70),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, exit) = self.kind();
        let retry_after_ms = match &self {
            Self::Refused(Refusal::Faucet(FaucetError::RateLimited { retry_after })) => {
                u64::try_from(retry_after.as_millis()).ok()
            }
            _ => None,
        };
        let document = json!({
            "v": 1, "type": "error", "code": code, "exit": exit, "message": self.to_string(),
            "retry_after_ms": retry_after_ms,
        });
        (status, Json(document)).into_response()
    }
}
