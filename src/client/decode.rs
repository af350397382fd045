//! Content codings (RFC 9110, 8.4.1): what an answer is when it is unpacked, and never more of it
//! than the request allows.

use std::io::{self, Read};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use ruzstd::decoding::StreamingDecoder;

/// What we say that we understand.
pub(super) const ACCEPTED: &str = "gzip, br, zstd";

/// The longest window of zstd that a content coding may have (RFC 9659): so much is unpacked before
/// the first byte is seen, whatever the limit.
const ZSTD_WINDOW: u64 = 8 * 1024 * 1024;

/// Why a body could not be unpacked.
#[derive(Debug)]
pub(super) enum Broken {
    /// The coding is none of ours.
    Unknown(String),
    /// The body is not what the coding says.
    Garbage(io::Error),
    /// It is longer than the limit.
    TooLong,
}

/// The body without its codings, the outermost of which stands last in the header.
pub(super) fn decode(headers: &HeaderMap, body: Bytes, limit: u64) -> Result<Bytes, Broken> {
    let codings = headers.get_all(CONTENT_ENCODING);
    let codings: Vec<_> = codings
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| !coding.is_empty() && coding != "identity")
        .collect();
    // The answer to HEAD, a 204 or a 304 names the coding of what it does not bring.
    if body.is_empty() {
        return Ok(body);
    }
    let mut body = body;
    for coding in codings.iter().rev() {
        body = match coding.as_str() {
            "gzip" | "x-gzip" => unpack(flate2::read::MultiGzDecoder::new(&body[..]), limit)?,
            "br" => unpack(
                brotli_decompressor::Decompressor::new(&body[..], 4096),
                limit,
            )?,
            "zstd" => {
                let decoder = StreamingDecoder::new_with_max_window_size(&body[..], ZSTD_WINDOW);
                let decoder = decoder.map_err(|error| Broken::Garbage(io::Error::other(error)))?;
                unpack(decoder, limit)?
            }
            _ => return Err(Broken::Unknown(coding.clone())),
        };
    }
    Ok(body)
}

fn unpack(packed: impl Read, limit: u64) -> Result<Bytes, Broken> {
    let mut content = Vec::new();
    let read = packed.take(limit + 1).read_to_end(&mut content);
    read.map_err(Broken::Garbage)?;
    if content.len() as u64 > limit {
        return Err(Broken::TooLong);
    }
    Ok(content.into())
}
