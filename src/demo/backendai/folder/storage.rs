//! The storage proxy: files come by the tus protocol and go by download, both with a token that a
//! signed call has given out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State as Here};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, HOST, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, head, post};
use serde_json::json;

use super::calls::tree_of;
use super::{no_folder, zip};
use crate::demo::backendai::gate::{Caller, Sent, missing};
use crate::demo::backendai::hall::{Hall, Id, State};
use crate::demo::backendai::refusal::Refusal;
use crate::demo::backendai::told;

type Hallway = Here<Arc<Hall>>;
type Asked = Query<HashMap<String, String>>;
type Answer = Result<Response, Refusal>;

/// Where unfinished uploads are.
const STAGING: &str = ".upload";
/// The largest piece of an upload that is taken.
const LARGEST: usize = 64 << 20;
/// So many tokens are known; older ones make room.
const KEPT: usize = 1000;

/// What a token allows.
#[derive(Debug, Clone)]
pub(in crate::demo::backendai) enum Pass {
    Download {
        folder: Id,
        path: String,
    },
    Upload {
        folder: Id,
        path: String,
        size: usize,
        /// Nothing more can come once it is complete.
        received: Option<Vec<u8>>,
    },
}

/// Tokens, and how they are kept.
pub(in crate::demo::backendai) type Passes = BTreeMap<String, (Duration, Pass)>;

/// What is asked with a token instead of a signature.
pub(in crate::demo::backendai) fn routes() -> Router<Arc<Hall>> {
    Router::new()
        .route(
            "/storage/upload",
            head(offset).patch(append).options(options),
        )
        .route("/storage/download", get(download).head(no_head))
        .layer(DefaultBodyLimit::max(LARGEST))
}

pub(super) fn signed_routes() -> Router<Arc<Hall>> {
    Router::new()
        .route("/folders/{key}/request-upload", post(request_upload))
        .route("/folders/{key}/request-download", post(request_download))
}

impl State {
    fn give_pass(&mut self, pass: Pass) -> String {
        while self.passes.len() >= KEPT {
            let oldest = self.passes.iter().min_by_key(|(_, (since, _))| *since);
            let Some(oldest) = oldest.map(|(token, _)| token.clone()) else {
                break;
            };
            self.passes.remove(&oldest);
        }
        let token = self.new_word(48);
        self.passes.insert(token.clone(), (self.now, pass));
        token
    }

    /// Whether an upload into this folder is under way.
    fn receives(&self, id: &Id) -> bool {
        self.passes.values().any(|(_, pass)| {
            matches!(pass, Pass::Upload { folder, received: Some(_), .. } if folder == id)
        })
    }
}

/// The address of this server as the caller knows it.
fn address(headers: &HeaderMap, path: &str) -> String {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok());
    format!("http://{}/storage/{path}", host.unwrap_or_default())
}

async fn request_upload(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    headers: HeaderMap,
    sent: Sent,
) -> Answer {
    let path = sent.text(&["path"])?.to_owned();
    let size = sent.number(&["size"]).ok_or_else(|| missing(&["size"]))?;
    let token = hall.enter(|state| {
        let now = state.now;
        let folder = state.folder_to_change(&caller, &key)?;
        tree_of(folder)?.make_directory(STAGING, true, now)?;
        let pass = Pass::Upload {
            folder: folder.id.clone(),
            path,
            size: usize::try_from(size).unwrap_or(usize::MAX),
            received: Some(Vec::new()),
        };
        Ok::<_, Refusal>(state.give_pass(pass))
    })?;
    let url = address(&headers, "upload");
    Ok(told(StatusCode::OK, &json!({ "token": token, "url": url })))
}

async fn request_download(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    headers: HeaderMap,
    sent: Sent,
) -> Answer {
    let path = sent.text(&["path"])?.to_owned();
    let token = hall.enter(|state| {
        let (folder, _) = state.find_folder(&caller, &key, "READ: 1")?;
        let folder = folder.id.clone();
        Ok::<_, Refusal>(state.give_pass(Pass::Download { folder, path }))
    })?;
    let url = address(&headers, "download");
    Ok(told(StatusCode::OK, &json!({ "token": token, "url": url })))
}

fn bad_token() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "storage/invalid-api-params",
        "Invalid API parameters",
        "",
    )
    .with(json!({ "token": "cannot decode the given value" }))
}

fn bad_request(msg: &str) -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        "storage/invalid-api-params",
        "Invalid API parameters",
        "storage-proxy_request_invalid-parameters",
    )
    .said(msg)
}

fn no_upload() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "storage/tus-session-not-found",
        "TUS upload session not found",
        "storage-proxy_read_not-found",
    )
    .said("The upload session has no on-disk staging file")
}

fn no_file() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "storage/file-not-found",
        "File not found",
        "",
    )
}

/// As the tus protocol wants it.
fn tus(status: StatusCode, offset: usize, length: usize) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("Tus-Resumable", HeaderValue::from_static("1.0.0"));
    headers.insert("Upload-Offset", HeaderValue::from(offset));
    headers.insert("Upload-Length", HeaderValue::from(length));
    response
}

async fn options() -> Response {
    let headers = [("Tus-Resumable", "1.0.0"), ("Tus-Version", "1.0.0")];
    (StatusCode::OK, headers).into_response()
}

/// How far an upload has come.
async fn offset(Here(hall): Hallway, Query(query): Asked) -> Answer {
    let token = query.get("token").ok_or_else(bad_token)?;
    hall.look(|state| match state.passes.get(token) {
        Some((
            _,
            Pass::Upload {
                size,
                received: Some(received),
                ..
            },
        )) => Ok(tus(StatusCode::OK, received.len(), *size)),
        Some((_, Pass::Upload { received: None, .. })) => Err(no_upload()),
        Some(_) | None => Err(bad_token()),
    })
}

/// Takes a piece of an upload; with the last one the file comes into its place.
async fn append(
    Here(hall): Hallway,
    Query(query): Asked,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let token = query.get("token").ok_or_else(bad_token)?;
    let at = headers
        .get("Upload-Offset")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    hall.enter(|state| {
        let (folder, path, length, all) = match state.passes.get_mut(token) {
            Some((
                _,
                Pass::Upload {
                    folder,
                    path,
                    size,
                    received: Some(received),
                },
            )) => {
                take_piece(received, at, &body)?;
                if received.len() < *size {
                    return Ok(tus(StatusCode::NO_CONTENT, received.len(), *size));
                }
                (
                    folder.clone(),
                    path.clone(),
                    *size,
                    std::mem::take(received),
                )
            }
            Some((_, Pass::Upload { received: None, .. })) => return Err(no_upload()),
            Some(_) | None => return Err(bad_token()),
        };
        if let Some((_, Pass::Upload { received, .. })) = state.passes.get_mut(token) {
            *received = None;
        }
        let others = state.receives(&folder);
        let now = state.now;
        let tree = tree_of(state.folders.get_mut(&folder).ok_or_else(no_folder)?)?;
        let offset = all.len();
        tree.write(&path, all.into(), now)?;
        if !others {
            tree.remove(STAGING, true)?;
        }
        Ok(tus(StatusCode::NO_CONTENT, offset, length))
    })
}

fn take_piece(received: &mut Vec<u8>, at: Option<usize>, piece: &[u8]) -> Result<(), Refusal> {
    let missing = || bad_request("Missing required Upload-Offset header for TUS PATCH request");
    let at = at.ok_or_else(missing)?;
    if at != received.len() {
        let why = format!(
            "Upload offset mismatch: expected {}, got {at}",
            received.len()
        );
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "storage/upload-offset-mismatch",
            "Upload Offset Mismatch",
            "storage-proxy_update_conflict",
        )
        .said(why));
    }
    received.extend_from_slice(piece);
    Ok(())
}

/// Only GET tells of a file.
async fn no_head() -> Response {
    StatusCode::METHOD_NOT_ALLOWED.into_response()
}

async fn download(Here(hall): Hallway, Query(query): Asked, headers: HeaderMap) -> Answer {
    let token = query.get("token").ok_or_else(bad_token)?;
    let archive = query.get("archive").is_some_and(|text| text == "true");
    let (path, content) = hall.look(|state| {
        let Some((_, Pass::Download { folder, path })) = state.passes.get(token) else {
            return Err(bad_token());
        };
        let tree = state
            .folders
            .get(folder)
            .and_then(|folder| folder.tree.as_ref());
        let tree = tree.ok_or_else(no_file)?;
        if archive {
            let files = tree.files_below(path).ok_or_else(no_file)?;
            return Ok((format!("{path}.zip"), zip::archive(&files).into()));
        }
        let node = tree.get(path).ok_or_else(no_file)?;
        let content = node.content.clone();
        let content = content.ok_or_else(|| bad_request("The file is not a regular file."))?;
        Ok((path.clone(), content))
    })?;
    let mut answer = part(&path, &content, headers.get(RANGE));
    if archive {
        let kind = HeaderValue::from_static("application/zip");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
    }
    Ok(answer)
}

/// The file, or the part of it that is asked for.
fn part(path: &str, content: &Bytes, range: Option<&HeaderValue>) -> Response {
    let length = content.len();
    let asked = range
        .and_then(|value| value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'))
        .and_then(|(first, last)| {
            let first: usize = first.parse().ok()?;
            let last = last
                .parse()
                .map_or(length, |last: usize| last.saturating_add(1));
            Some((first, last.min(length)))
        });
    let (status, content, shown) = match asked {
        None => (StatusCode::OK, content.clone(), None),
        Some((first, last)) if first < last => {
            let shown = format!("bytes {first}-{}/{length}", last - 1);
            (
                StatusCode::PARTIAL_CONTENT,
                content.slice(first..last),
                Some(shown),
            )
        }
        Some(_) => {
            let shown = format!("bytes */{length}");
            (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new(), Some(shown))
        }
    };
    let mut response = Response::new(Body::from(content));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let name = path.rsplit('/').next().unwrap_or(path);
    let disposition = format!("attachment;filename=\"{name}\"");
    for (header, value) in [
        (CONTENT_DISPOSITION, Some(disposition)),
        (CONTENT_RANGE, shown),
    ] {
        if let Some(value) = value.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(header, value);
        }
    }
    response
}
