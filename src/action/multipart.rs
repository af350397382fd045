//! Bodies that are more than one text: files, and forms of several parts (RFC 7578).

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::HeaderValue;
use tokio::task::spawn_blocking;

use super::keys::{Key, Part};
use super::kind::{FILE, Kind, TEXT, WORD};
use crate::outcome::{Cause, Failure};
use crate::text::{Fields, Lookup, Refused, Template, plain};

/// The largest file that is sent.
const LARGEST_FILE: u64 = 1 << 30;

const MEDIA_TYPE: Kind = Kind::new("media type", "'text/csv'", "'csv'");

/// The keys of one part of a form.
pub(super) const FORM_PART: Part = Part::own(&[
    Key::required("name", WORD, "which field of the form it is"),
    Key::optional("text", TEXT, "what is in it"),
    Key::optional("file", FILE, "the file that is in it, instead of `text`"),
    Key::optional(
        "filename",
        WORD,
        "what the file is called; with `text`, which is then sent as if it were one",
    )
    .default("its own name; of a text none"),
    Key::optional("type", MEDIA_TYPE, "its media type")
        .default("none; of a file `application/octet-stream`"),
]);

/// One part of a form.
pub(super) struct FormPart {
    name: String,
    filename: Option<String>,
    media_type: Option<String>,
    content: Content,
}

enum Content {
    Text(Template),
    File(PathBuf),
}

impl FormPart {
    /// Reads `name`, `text` or `file`, `filename` and `type`.
    pub(super) fn read(mut fields: Fields<'_, '_>) -> Option<Self> {
        let name = fields.required_string("name", "say which field of the form it is");
        let media_type = fields.string("type");
        let is_one = |text: &String| HeaderValue::try_from(text).is_ok() && text.contains('/');
        if media_type.as_ref().is_some_and(|text| !is_one(text)) {
            let help = "write one such as \"text/csv\"";
            fields.problem("type", "is no media type", help);
        }
        let (text, file) = (fields.template("text"), fields.path("file"));
        let mut filename = fields.string("filename");
        let content = match (text, file) {
            (Some(text), None) => Some(Content::Text(text)),
            (None, Some(path)) => {
                let own = || Some(path.file_name()?.to_string_lossy().into_owned());
                filename = filename.or_else(own);
                Some(Content::File(path))
            }
            _ => {
                let help = "give either text = \"…\", or file = \"…\"";
                fields.problem("", "is neither a text nor a file, or both", help);
                None
            }
        };
        fields.finish();
        Some(Self {
            name: name?,
            filename,
            media_type,
            content: content?,
        })
    }

    /// Whether `${name.key}` stands in it.
    pub(super) fn reads(&self, name: &str, key: &str) -> bool {
        matches!(&self.content, Content::Text(text) if text.reads(name, key))
    }

    fn head(&self, boundary: &str) -> String {
        let mut head = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"{}\"",
            quoted(&self.name)
        );
        if let Some(filename) = &self.filename {
            head += "; filename=\"";
            head += &quoted(filename);
            head.push('"');
        }
        let of_file = match self.content {
            Content::File(_) => Some("application/octet-stream"),
            Content::Text(_) => None,
        };
        let media_type = self.media_type.as_deref().or(of_file);
        if let Some(media_type) = media_type {
            head += "\r\ncontent-type: ";
            head += media_type;
        }
        head + "\r\n\r\n"
    }
}

/// A form with everything put in: its texts are known, its files still to be read.
pub(super) struct Form {
    boundary: String,
    pieces: Vec<Piece>,
}

enum Piece {
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Form {
    pub(super) fn of(parts: &[FormPart], lookup: &dyn Lookup) -> Result<Self, Refused> {
        // A text cannot hold it but by design, and then it is somebody's own form.
        let boundary = format!("testerd-{:016x}", RandomState::new().hash_one(0));
        let mut pieces = Vec::new();
        for part in parts {
            pieces.push(Piece::Bytes(part.head(&boundary).into_bytes()));
            pieces.push(match &part.content {
                Content::Text(text) => Piece::Bytes(text.text(lookup, plain)?.into_bytes()),
                Content::File(path) => Piece::File(path.clone()),
            });
            pieces.push(Piece::Bytes(b"\r\n".to_vec()));
        }
        pieces.push(Piece::Bytes(format!("--{boundary}--\r\n").into_bytes()));
        Ok(Self { boundary, pieces })
    }

    pub(super) fn media_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    pub(super) async fn bytes(self) -> Result<Bytes, Failure> {
        let mut body = Vec::new();
        for piece in self.pieces {
            match piece {
                Piece::Bytes(bytes) => body.extend(bytes),
                Piece::File(path) => body.extend(content_of(&path).await?),
            }
        }
        Ok(body.into())
    }
}

/// A file's content. Whatever is wrong with it is no fault of the target's.
pub(super) async fn content_of(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = path.to_owned();
    let read = spawn_blocking(move || {
        let known = fs::metadata(&file)?;
        if !known.is_file() || known.len() > LARGEST_FILE {
            let what = "is not a file of at most 1 GiB";
            return Err(std::io::Error::other(what));
        }
        fs::read(&file)
    });
    let read = read.await.map_err(std::io::Error::other).flatten();
    read.map_err(|error| {
        let what = format!("cannot read {}: {error}", path.display());
        Failure::new(Cause::Input, what).without_effect()
    })
}

/// As browsers write names into a header.
fn quoted(text: &str) -> String {
    let text = text.replace('"', "%22");
    text.replace('\r', "%0D").replace('\n', "%0A")
}
