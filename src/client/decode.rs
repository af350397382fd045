//! Content codings (RFC 9110, 8.4.1): what an answer is when it is unpacked, and never more of it
//! than the request allows.

use std::io::{self, Read};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use ruzstd::decoding::StreamingDecoder;

use crate::offload::{Waited, offload};

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

/// So short a body is unpacked at once: it takes a few milliseconds at most, whatever it holds.
const SHORT: usize = 1024;

/// The body without its codings, the outermost of which stands last in the header.
pub(super) async fn decode(headers: &HeaderMap, body: Bytes, limit: u64) -> Result<Bytes, Broken> {
    let codings = headers.get_all(CONTENT_ENCODING);
    let codings: Vec<_> = codings
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| !coding.is_empty() && coding != "identity")
        .collect();
    // The answer to HEAD, a 204 or a 304 names the coding of what it does not bring.
    if body.is_empty() || codings.is_empty() {
        return Ok(body);
    }
    if body.len() <= SHORT {
        return unpack_all(&codings, body, limit, &Waited::AT_ONCE);
    }
    offload(move |waited| unpack_all(&codings, body, limit, waited)).await
}

fn unpack_all(
    codings: &[String],
    mut body: Bytes,
    limit: u64,
    waited: &Waited,
) -> Result<Bytes, Broken> {
    for coding in codings.iter().rev() {
        let packed = waited.input(&body[..]);
        body = match coding.as_str() {
            "gzip" | "x-gzip" => unpack(flate2::read::MultiGzDecoder::new(packed), limit)?,
            "br" => unpack(brotli_decompressor::Decompressor::new(packed, 4096), limit)?,
            "zstd" => unpack_zstd(&body, limit, waited)?,
            _ => return Err(Broken::Unknown(coding.clone())),
        };
    }
    Ok(body)
}

/// Frame by frame (RFC 8878, 3).
fn unpack_zstd(mut packed: &[u8], limit: u64, waited: &Waited) -> Result<Bytes, Broken> {
    let mut content = Vec::new();
    while !packed.is_empty() {
        let input = waited.input(&mut packed);
        let frame = StreamingDecoder::new_with_max_window_size(input, ZSTD_WINDOW);
        let frame = frame.map_err(|error| Broken::Garbage(io::Error::other(error)))?;
        let left = limit - content.len() as u64;
        content.extend(unpack(frame, left)?);
    }
    Ok(content.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of one block that is not packed (RFC 8878, 3.1.1).
    fn frame(byte: u8) -> [u8; 10] {
        [0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 0x09, 0, 0, byte]
    }

    #[test]
    fn zstd_may_come_in_several_frames_under_one_limit() {
        let two = [frame(b'a'), frame(b'b')].concat();
        assert_eq!(unpack_zstd(&two, 2, &Waited::AT_ONCE).unwrap(), "ab");
        let too_long = unpack_zstd(&two, 1, &Waited::AT_ONCE);
        assert!(matches!(too_long, Err(Broken::TooLong)), "{too_long:?}");
        let cut = unpack_zstd(&two[..19], 2, &Waited::AT_ONCE);
        assert!(matches!(cut, Err(Broken::Garbage(_))), "{cut:?}");
    }
}
