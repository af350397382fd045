//! Answers that say no, as the manager words them. Which call refuses what is in the calls.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// A problem document.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    /// The end of the type's address.
    problem: &'static str,
    title: &'static str,
    msg: Option<String>,
    data: Option<Value>,
}

impl Refusal {
    pub(super) const fn new(
        status: StatusCode,
        problem: &'static str,
        title: &'static str,
        code: &'static str,
    ) -> Self {
        Self {
            status,
            code,
            problem,
            title,
            msg: None,
            data: None,
        }
    }

    /// With a text about this occurrence.
    pub(super) fn said(mut self, msg: impl Into<String>) -> Self {
        self.msg = Some(msg.into());
        self
    }

    /// With something for programs.
    pub(super) fn with(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// As it stands in the `errors` of a GraphQL answer.
    pub(super) fn message(&self) -> String {
        match &self.msg {
            Some(msg) => format!("{} ({msg})", self.title),
            None => self.title.to_owned(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let kind = format!("https://api.backend.ai/probs/{}", self.problem);
        let mut body = Map::new();
        body.insert("type".into(), kind.into());
        body.insert("title".into(), self.title.into());
        // The web server's own refusals have none.
        if !self.code.is_empty() {
            body.insert("error_code".into(), self.code.into());
        }
        if let Some(msg) = self.msg {
            body.insert("msg".into(), msg.into());
        }
        if let Some(data) = self.data {
            body.insert("data".into(), data);
        }
        let kind = [(CONTENT_TYPE, "application/problem+json; charset=utf-8")];
        (self.status, kind, Value::Object(body).to_string()).into_response()
    }
}

pub(super) fn unauthorized(msg: &str) -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        "auth-failed",
        "Credential/signature mismatch.",
        "user_auth_unauthorized",
    )
    .said(msg)
}

pub(super) fn bad_auth(msg: &str) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "invalid-auth-params",
        "Missing or invalid authorization parameters.",
        "user_auth_invalid-parameters",
    )
    .said(msg)
}

pub(super) fn no_privilege() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "generic-forbidden",
        "Forbidden operation.",
        "backendai_generic_forbidden",
    )
    .said("Insufficient privileges")
}

/// `user` may not do `what` to something.
pub(super) fn not_permitted(user: &str, what: &str, kind: &str, id: &str) -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "not-enough-permission",
        "Insufficient permission to perform this operation.",
        "permission_access_forbidden",
    )
    .said(format!(
        "User {user} lacks permission <Permission.{what}> on {kind} {id}"
    ))
}

pub(super) fn malformed() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "generic-bad-request",
        "Malformed request body.",
        "api_parsing_bad-request",
    )
    .said("Malformed body")
}

/// A parameter is missing or has the wrong form.
pub(super) fn schema(key: &str, why: &str) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "generic-bad-request",
        "Invalid or Missing API Parameters.",
        "api_parsing_invalid-parameters",
    )
    .said(format!("Schema validation failed. ({key}: {why})"))
}

/// A parameter that is well formed and still will not do.
pub(super) fn invalid(msg: impl Into<String>) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "invalid-api-params",
        "Missing or invalid API parameters.",
        "api_generic_invalid-parameters",
    )
    .said(msg)
}

pub(super) fn internal() -> Refusal {
    Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal-server-error",
        "Internal server error.",
        "backendai_generic_internal-error",
    )
}

/// Nothing of this kind under that name.
pub(super) fn no_entity(code: &'static str, row: &str) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "entity-not-found",
        "Entity not found.",
        code,
    )
    .said(format!("No {row} matches the given key"))
}

pub(super) fn no_object(title: &'static str, code: &'static str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "object-not-found", title, code)
}

pub(super) fn no_session(id: &str) -> Refusal {
    no_object("No such session.", "session_read_not-found")
        .said(format!("Session (id={id}) does not exist."))
}

pub(super) fn no_project(msg: impl Into<String>) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "project-not-found",
        "Project not found.",
        "project_read_not-found",
    )
    .said(msg)
}

pub(super) fn no_path(path: &str) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "url-not-found",
        "Unknown URL path.",
        "api_read_not-found",
    )
    .with(json!(path))
}

pub(super) fn no_method() -> Refusal {
    Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "HTTP Method Not Allowed.",
        "api_access_forbidden",
    )
}
