//! `backendai.upload` and `backendai.download`: files in and out of a folder.
//!
//! The manager gives a token and the address of a storage proxy; the bytes go there, without our
//! signature. Uploads speak tus 1.0.0 and go on where the storage says that it stopped.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api::{Api, accepted, encoded, text};
use super::deed::Deed;
use crate::action::kind::{FLAG, INTEGER, MAP, TEXT};
use crate::action::{Built, CAPTURE, Captures, EXPECT, Expectation, Key, Keys, Part, Reply, Shape};
use crate::client::{Endpoint, Request};
use crate::outcome::{Failure, Fault, Reason};
use crate::spec::{Action, Capture, Context, Done, Work};
use crate::text::Fields;

/// The keys of a download.
pub(super) const DOWNLOAD: &[Part] = &[Part::own(DOWNLOAD_KEYS), Part::own(&[EXPECT, CAPTURE])];

/// Those that are plain values.
const DOWNLOAD_KEYS: &[Key] = &[
    Key::required("folder", TEXT, "the id of the folder"),
    Key::required("path", TEXT, "which file"),
    Key::optional(
        "archive",
        FLAG,
        "whether it is a directory, which comes as a zip file",
    )
    .default("false"),
];

/// What other clients send at once.
const PIECE: usize = 16 << 20;

/// How often a lost connection is made up for before the upload is given up, without any progress.
const LOST: u32 = 3;

const TUS: HeaderName = HeaderName::from_static("tus-resumable");
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct UploadOrder {
    folder: String,
    files: BTreeMap<String, String>,
    piece: Option<usize>,
}

/// Puts files into a folder.
pub(super) struct Upload;

impl Deed for Upload {
    const NAME: &'static str = "backendai.upload";
    const KEYS: &'static [Key] = &[
        Key::required("folder", TEXT, "the id of the folder"),
        Key::required(
            "files",
            MAP,
            "their contents by path: { \"a/b.txt\" = \"…\" }",
        ),
        Key::optional(
            "piece",
            INTEGER,
            "bytes per request; several are sent if a file is longer",
        )
        .default("16 MiB"),
    ];
    const WRITES: &'static [&'static str] = &[];
    type Order = UploadOrder;

    async fn perform(order: &UploadOrder, api: &mut Api<'_, '_>) -> Result<Vec<Capture>, Failure> {
        let piece = order.piece.unwrap_or(PIECE).max(1);
        for (path, content) in &order.files {
            let bytes = Bytes::from(content.clone());
            upload(&order.folder, path, bytes, piece, api.context)
                .await
                .map_err(|mut failure| {
                    failure.message = format!("{path}: {}", failure.message);
                    failure
                })?;
        }
        Ok(Vec::new())
    }
}

async fn upload(
    folder: &str,
    path: &str,
    bytes: Bytes,
    piece: usize,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let mut api = Api::new(context);
    let body = json!({ "path": path, "size": bytes.len() });
    let path = format!("/folders/{}/request-upload", encoded(folder));
    let told = api.change(Method::POST, &path, &body).await?;
    let storage = Storage::told(&told)?;
    let (mut lost, mut perhaps_whole) = (0, false);
    loop {
        let before = storage.offset(context).await?;
        let after = match before {
            Reached::Stored(offset) if offset <= bytes.len() => {
                let end = bytes.len().min(offset + piece);
                let piece = bytes.slice(offset..end);
                perhaps_whole = end == bytes.len();
                storage.append(offset, piece, context).await?
            }
            // The answer to the last piece was lost, and the file is in its place.
            Reached::Gone(_) if perhaps_whole => return Ok(()),
            before => before,
        };
        match after {
            Reached::Stored(offset) if offset == bytes.len() => return Ok(()),
            Reached::Stored(offset) if offset > bytes.len() => {
                let what = format!("the storage has {offset} bytes of {}", bytes.len());
                return Err(Failure::new(Reason::Assertion, what));
            }
            Reached::Stored(_) => lost = 0,
            Reached::Lost(_) if lost < LOST => lost += 1,
            Reached::Lost(failure) | Reached::Gone(failure) => return Err(failure),
        }
    }
}

/// How far an upload is.
enum Reached {
    /// So many bytes are stored.
    Stored(usize),
    /// It is not known: the connection was lost, or somebody else sent something.
    Lost(Failure),
    /// The storage knows of no such upload, or not any more.
    Gone(Failure),
}

/// Where a token is good.
struct Storage {
    endpoint: Endpoint,
    path: String,
}

impl Storage {
    fn told(answer: &Value) -> Result<Self, Failure> {
        let url = text(answer, "/url")?;
        let token = text(answer, "/token")?;
        let (endpoint, path) = Endpoint::split(&url).map_err(|error| {
            let what = format!("the manager tells no address of a storage: {error}");
            Failure::new(Reason::Protocol, what)
        })?;
        let joint = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joint}token={}", encoded(&token));
        Ok(Self { endpoint, path })
    }

    async fn offset(&self, context: &mut Context<'_>) -> Result<Reached, Failure> {
        self.ask(self.request(Method::HEAD), "HEAD", context).await
    }

    async fn append(
        &self,
        offset: usize,
        piece: Bytes,
        context: &mut Context<'_>,
    ) -> Result<Reached, Failure> {
        let mut request = self.request(Method::PATCH);
        let media_type = HeaderValue::from_static("application/offset+octet-stream");
        request.headers.insert(CONTENT_TYPE, media_type);
        request.headers.insert(OFFSET, HeaderValue::from(offset));
        request.body = piece;
        self.ask(request, "PATCH", context).await
    }

    fn request(&self, method: Method) -> Request {
        let mut request = Request::new(method, self.path.as_str());
        request
            .headers
            .insert(TUS, HeaderValue::from_static("1.0.0"));
        request.reuse = true;
        request
    }

    /// Sends a request of tus; every answer says how much is stored.
    async fn ask(
        &self,
        request: Request,
        what: &str,
        context: &mut Context<'_>,
    ) -> Result<Reached, Failure> {
        let place = context.elsewhere(self.endpoint.clone());
        let answer = match context.send_to(&place, request).await {
            Ok(answer) => answer,
            Err(failure) if is_lost(&failure) => return Ok(Reached::Lost(failure)),
            Err(failure) => return Err(failure),
        };
        let reason = Reason::of_status(answer.status);
        let reply = Reply::new(answer, std::time::Duration::ZERO, reason);
        let status = reply.answer.status;
        if !(200..300).contains(&status) {
            let what = format!(
                "{what} at the storage is answered {status}; {}",
                reply.excerpt()
            );
            let failure = Failure::new(reply.reason, what);
            return match status {
                404 | 410 => Ok(Reached::Gone(failure)),
                409 => Ok(Reached::Lost(failure)),
                _ => Err(failure),
            };
        }
        let offset = reply.answer.headers.get(OFFSET);
        let offset = offset.and_then(|offset| offset.to_str().ok()?.parse().ok());
        offset.map(Reached::Stored).ok_or_else(|| {
            let what = format!("the storage does not say how much it has ({what})");
            Failure::new(Reason::Assertion, what)
        })
    }
}

/// Whether the connection went away.
fn is_lost(failure: &Failure) -> bool {
    let lost = [Reason::Connect, Reason::Protocol].map(Fault::Target);
    lost.contains(&failure.fault)
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DownloadOrder {
    folder: String,
    path: String,
    archive: bool,
}

struct Download {
    keys: Keys,
    expect: Expectation,
    captures: Captures,
}

pub(super) fn build_download(fields: &mut Fields<'_, '_>, _: Shape<'_>) -> Option<Built> {
    let keys = Keys::read::<DownloadOrder>(fields, DOWNLOAD_KEYS)?;
    let expect = fields.table("expect").map(Expectation::read);
    let captures = fields.table("capture").map(Captures::read);
    let captures = captures.unwrap_or_default();
    Some(Built {
        writes: captures.writes(),
        recorded: Vec::new(),
        work: Work::Act(Box::new(Download {
            keys,
            expect: expect.unwrap_or_else(Expectation::success),
            captures,
        })),
    })
}

impl Download {
    async fn fetch(&self, context: &mut Context<'_>) -> Result<Done, Failure> {
        let scope = context.scope;
        let order: DownloadOrder = self.keys.render(scope, [])?;
        let mut api = Api::new(context);
        let body = json!({ "path": order.path, "archive": order.archive });
        let path = format!("/folders/{}/request-download", encoded(&order.folder));
        let reply = api.send(Method::POST, &path, Some(&body)).await?;
        let mut storage = Storage::told(&accepted(&reply, "POST …/request-download")?)?;
        if order.archive {
            storage.path += "&archive=true";
        }
        let mut request = Request::new(Method::GET, storage.path);
        request.reuse = true;
        let begun = Instant::now();
        let place = context.elsewhere(storage.endpoint);
        let answer = context.send_to(&place, request).await?;
        let reason = Reason::of_status(answer.status);
        let reply = Reply::new(answer, begun.elapsed(), reason);
        self.expect
            .check(&reply, scope)
            .map_err(|failure| self.captures.hush(&reply, failure))?;
        Ok(Done {
            captures: self.captures.take(&reply)?,
            ..Done::default()
        })
    }
}

impl Action for Download {
    fn perform<'a>(&'a self, context: &'a mut Context<'_>) -> BoxFuture<'a, Result<Done, Failure>> {
        self.fetch(context).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_put_behind_the_address_that_was_told() {
        for (url, origin, path) in [
            (
                "http://s:6021/upload",
                "http://s:6021",
                "/upload?token=a%2Bb",
            ),
            (
                "https://s/x/upload?y=1",
                "https://s",
                "/x/upload?y=1&token=a%2Bb",
            ),
        ] {
            let storage = Storage::told(&json!({ "url": url, "token": "a+b" })).unwrap();
            assert_eq!(storage.endpoint.to_string(), origin);
            assert_eq!(storage.path, path);
        }
        assert!(Storage::told(&json!({ "url": "/upload", "token": "a" })).is_err());
        assert!(Storage::told(&json!({ "url": "http://s/upload" })).is_err());
    }
}
