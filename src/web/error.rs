//! What a client is told when something did not work: always the same shape.
//!
//! ```json
//! {"error": {"code": "not-found", "message": "no call i-0123456789abcdef", "problems": []}}
//! ```

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use switch::Refusal;

/// Why a request failed; the HTTP status follows from it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// 400: the request makes no sense.
    BadRequest,
    /// 401: no credentials, or wrong ones.
    Unauthorized,
    /// 403: not with these credentials.
    Forbidden,
    /// 404: no such thing.
    NotFound,
    /// 405: the thing is there, but not this verb.
    MethodNotAllowed,
    /// 409: not in the present state.
    Conflict,
    /// 422: the configuration has problems.
    BadConfiguration,
    /// 429: too many wrong passwords.
    TooManyFailures,
    /// 503: the switch or the store does not answer.
    Unavailable,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Code::BadRequest => StatusCode::BAD_REQUEST,
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::Conflict => StatusCode::CONFLICT,
            Code::BadConfiguration => StatusCode::UNPROCESSABLE_ENTITY,
            Code::TooManyFailures => StatusCode::TOO_MANY_REQUESTS,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
    /// One line for each problem of a configuration.
    #[serde(default)]
    pub problems: Vec<String>,
}

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> ApiError {
        let (message, problems) = (message.into(), Vec::new());
        ApiError {
            code,
            message,
            problems,
        }
    }

    pub(crate) fn bad(message: impl std::fmt::Display) -> ApiError {
        ApiError::new(Code::BadRequest, message.to_string())
    }

    pub(crate) fn unavailable(what: &str) -> ApiError {
        ApiError::new(Code::Unavailable, format!("{what} does not answer"))
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        match refusal {
            Refusal::NotFound(what) => ApiError::new(Code::NotFound, what),
            Refusal::Conflict(why) => ApiError::new(Code::Conflict, why),
            Refusal::Forbidden(why) => ApiError::new(Code::Forbidden, why),
            Refusal::Unreachable(status) => ApiError::new(Code::Conflict, format!("a call there gets {status}")),
        }
    }
}

impl From<axum::extract::rejection::QueryRejection> for ApiError {
    fn from(rejection: axum::extract::rejection::QueryRejection) -> ApiError {
        ApiError::bad(rejection.body_text())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = self.code;
        let mut response = (code.status(), Json(serde_json::json!({ "error": self }))).into_response();
        let extra = match code {
            Code::Unauthorized => Some((header::WWW_AUTHENTICATE, "Basic realm=\"tandem\", charset=\"UTF-8\"")),
            Code::TooManyFailures => Some((header::RETRY_AFTER, "60")),
            _ => None,
        };
        if let Some((name, value)) = extra {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
