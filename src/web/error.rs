//! What a client is told when something did not work: always the same shape (RFC 9457, `application/problem+json`).
//!
//! ```json
//! {"type": "urn:tandem:problem:not-found", "title": "no such thing", "status": 404,
//!  "detail": "no call i-0123456789abcdef", "code": "not-found", "problems": []}
//! ```

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use switch::Refusal;

/// Why a request failed; the HTTP status follows from it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// 413: the body is too large.
    TooLarge,
    /// 422: the configuration has problems.
    BadConfiguration,
    /// 429: too many wrong passwords.
    TooManyFailures,
    /// 429: so many of these at one time are too many.
    TooMany,
    /// 503: the switch or the store does not answer.
    Unavailable,
}

impl Code {
    /// The status and what it means, in words that do not change.
    fn meaning(self) -> (StatusCode, &'static str) {
        match self {
            Code::BadRequest => (StatusCode::BAD_REQUEST, "the request makes no sense"),
            Code::Unauthorized => (StatusCode::UNAUTHORIZED, "no credentials, or wrong ones"),
            Code::Forbidden => (StatusCode::FORBIDDEN, "not with these credentials"),
            Code::NotFound => (StatusCode::NOT_FOUND, "no such thing"),
            Code::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "not with this method"),
            Code::Conflict => (StatusCode::CONFLICT, "not in the present state"),
            Code::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
            Code::BadConfiguration => (StatusCode::UNPROCESSABLE_ENTITY, "the configuration has problems"),
            Code::TooManyFailures => (StatusCode::TOO_MANY_REQUESTS, "too many wrong passwords"),
            Code::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too many at one time"),
            Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "no answer now"),
        }
    }

    /// As in JSON.
    fn name(self) -> String {
        let name = serde_json::to_value(self).ok();
        name.and_then(|name| name.as_str().map(ToOwned::to_owned))
            .unwrap_or_default()
    }
}

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// For programs.
    pub code: Code,
    /// For people.
    pub message: String,
    /// One line for each problem of a configuration.
    pub problems: Vec<String>,
    /// Of a transfer: whose mailbox may be offered instead.
    pub voicemail: Option<String>,
}

/// A failed request as it is written (RFC 9457 section 3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// `urn:tandem:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means; the same words for each such failure.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time, for people.
    pub detail: String,
    /// For programs.
    pub code: Code,
    /// One line for each problem of a configuration; empty for all others.
    pub problems: Vec<String>,
    /// Of a transfer whose target cannot be reached: whose mailbox the contact may be sent to instead, if there are mailboxes,
    /// which `/api/v1/me` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voicemail: Option<String>,
}

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> ApiError {
        let (message, problems) = (message.into(), Vec::new());
        ApiError {
            code,
            message,
            problems,
            voicemail: None,
        }
    }

    pub(crate) fn bad(message: impl std::fmt::Display) -> ApiError {
        ApiError::new(Code::BadRequest, message.to_string())
    }

    pub(crate) fn unavailable(what: &str) -> ApiError {
        ApiError::new(Code::Unavailable, format!("{what} does not answer"))
    }

    /// As it is written.
    #[must_use]
    pub fn problem(self) -> Problem {
        let (status, title) = self.code.meaning();
        Problem {
            kind: format!("urn:tandem:problem:{}", self.code.name()),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.message,
            code: self.code,
            problems: self.problems,
            voicemail: self.voicemail,
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        match refusal {
            Refusal::NotFound(what) => ApiError::new(Code::NotFound, what),
            Refusal::Conflict(why) => ApiError::new(Code::Conflict, why),
            Refusal::Forbidden(why) => ApiError::new(Code::Forbidden, why),
            Refusal::Unavailable(why) => ApiError::new(Code::Unavailable, why),
            Refusal::TooLarge(most) => ApiError::new(Code::TooLarge, format!("a message has at most {most} bytes")),
            Refusal::Unreachable(status) => ApiError::new(Code::Conflict, format!("a call there gets {status}")),
            Refusal::NotTransferred { status, voicemail } => ApiError {
                voicemail: Some(voicemail.into()),
                ..Refusal::Unreachable(status).into()
            },
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
        let mut response = (code.meaning().0, Json(self.problem())).into_response();
        let mut set = |name: HeaderName, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
        set(header::CONTENT_TYPE, "application/problem+json");
        match code {
            Code::Unauthorized => set(header::WWW_AUTHENTICATE, "Basic realm=\"tandem\", charset=\"UTF-8\""),
            Code::TooManyFailures => set(header::RETRY_AFTER, "60"),
            _ => None,
        };
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_transfer_that_is_refused_says_whose_mailbox_may_be_offered() {
        let (status, voicemail) = (480, "1008".into());
        let problem = |refusal: Refusal| serde_json::to_value(ApiError::from(refusal).problem()).unwrap();
        let told = problem(Refusal::NotTransferred { status, voicemail });
        assert_eq!(told["voicemail"], json!("1008"));
        let mut plain = told.clone();
        plain.as_object_mut().unwrap().remove("voicemail");
        assert_eq!(problem(Refusal::Unreachable(480)), plain);
    }
}
