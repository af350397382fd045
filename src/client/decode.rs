//! Content codings (RFC 9110, 8.4.1): what an answer is when it is unpacked, and never more of it
//! than the request allows.

use std::io::{self, Read};

use brotli_decompressor::Decompressor;
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use ruzstd::decoding::StreamingDecoder;

use super::room::{Crowded, Share};
use super::stream::LONGEST_GROWTH;
use crate::offload::{Waited, offload};

/// What we say that we understand.
pub(super) const ACCEPTED: &str = "gzip, br, zstd";

/// The longest window of zstd that a content coding may have (RFC 9659): so much is unpacked before
/// the first byte is seen, whatever the limit.
const ZSTD_WINDOW: u64 = 8 * 1024 * 1024;

/// So much is unpacked at once.
const PIECE: usize = 32 * 1024;

/// Why a body could not be unpacked.
#[derive(Debug)]
pub(super) enum Broken {
    /// The coding is none of ours.
    Unknown(String),
    /// The body is not what the coding says.
    Garbage(io::Error),
    /// It is longer than the limit.
    TooLong,
    /// There is no room for it.
    Crowded,
}

/// So short a body is unpacked at once: it takes a few milliseconds at most, whatever it holds.
const SHORT: usize = 1024;

/// The body without its codings, the outermost of which stands last in the header, and the room
/// that it takes.
pub(super) async fn decode(
    headers: &HeaderMap,
    body: Bytes,
    limit: u64,
    share: Share,
) -> Result<(Bytes, Share), Broken> {
    let codings = headers.get_all(CONTENT_ENCODING);
    let codings: Vec<_> = codings
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(|coding| coding.trim().to_ascii_lowercase())
        .filter(|coding| !coding.is_empty() && coding != "identity")
        .collect();
    // The answer to HEAD, a 204 or a 304 names the coding of what it does not bring.
    if body.is_empty() || codings.is_empty() {
        return Ok((body, share));
    }
    let packed = body.len();
    if packed <= SHORT {
        let mut unpacking = Unpacking::new(limit, share, &Waited::AT_ONCE);
        let body = unpacking.all(&codings, body)?;
        return Ok((body, unpacking.share));
    }
    let (mut unpacked, mut share) = apart(codings.clone(), body.clone(), limit, share).await;
    if let Err(Broken::Crowded) = unpacked {
        // Once more, when there is room for as much as it may be.
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let grown = share.grow(packed.saturating_add(most)).await;
        grown.map_err(|Crowded| Broken::Crowded)?;
        (unpacked, share) = apart(codings, body, limit, share).await;
    }
    unpacked.map(|body| (body, share))
}

async fn apart(
    codings: Vec<String>,
    body: Bytes,
    limit: u64,
    share: Share,
) -> (Result<Bytes, Broken>, Share) {
    offload(move |waited| {
        let mut unpacking = Unpacking::new(limit, share, waited);
        let body = unpacking.all(&codings, body);
        (body, unpacking.share)
    })
    .await
}

/// Unpacks within its bounds.
struct Unpacking<'a> {
    limit: u64,
    share: Share,
    waited: &'a Waited,
}

impl<'a> Unpacking<'a> {
    fn new(limit: u64, share: Share, waited: &'a Waited) -> Self {
        Self {
            limit,
            share,
            waited,
        }
    }

    fn all(&mut self, codings: &[String], mut body: Bytes) -> Result<Bytes, Broken> {
        for coding in codings.iter().rev() {
            let mut content = Vec::new();
            match coding.as_str() {
                "gzip" | "x-gzip" => self.read_gzip(&body, &mut content)?,
                // What stands behind its end is not read.
                "br" => {
                    let packed = Decompressor::new(self.waited.input(&body[..]), 4096);
                    self.read(packed, body.len(), &mut content)?;
                }
                "zstd" => self.read_zstd(&body, &mut content)?,
                _ => return Err(Broken::Unknown(coding.clone())),
            }
            body = content.into();
        }
        self.share.shrink(body.len());
        Ok(body)
    }

    /// Member by member (RFC 1952, 2.2).
    fn read_gzip(&mut self, mut packed: &[u8], content: &mut Vec<u8>) -> Result<(), Broken> {
        let length = packed.len();
        while !packed.is_empty() {
            let member = self.waited.input(GzDecoder::new(&mut packed));
            self.read(member, length, content)?;
            packed = without_padding(packed);
        }
        Ok(())
    }

    /// Frame by frame (RFC 8878, 3); those that are to be skipped are.
    fn read_zstd(&mut self, mut packed: &[u8], content: &mut Vec<u8>) -> Result<(), Broken> {
        let length = packed.len();
        while !packed.is_empty() {
            if let Some(rest) = after_skippable(packed) {
                packed = without_padding(rest);
                continue;
            }
            let input = self.waited.input(&mut packed);
            let frame = StreamingDecoder::new_with_max_window_size(input, ZSTD_WINDOW);
            let frame = frame.map_err(|error| Broken::Garbage(io::Error::other(error)))?;
            self.read(frame, length, content)?;
            packed = without_padding(packed);
        }
        Ok(())
    }

    /// Reads all of it, beside `held` bytes that stay for so long.
    fn read(
        &mut self,
        mut packed: impl Read,
        held: usize,
        content: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let mut piece = vec![0; PIECE];
        loop {
            let read = packed.read(&mut piece).map_err(Broken::Garbage)?;
            if read == 0 {
                return Ok(());
            }
            let length = content.len() + read;
            if length as u64 > self.limit {
                return Err(Broken::TooLong);
            }
            let grown = self.share.try_grow(held + length);
            grown.map_err(|Crowded| Broken::Crowded)?;
            // Not twice as long, as a vector grows by itself.
            if length > content.capacity() {
                content.reserve_exact(read + (length / 2).min(LONGEST_GROWTH));
            }
            content.extend_from_slice(&piece[..read]);
        }
    }
}

/// What comes after a frame for others (RFC 8878, 3.1.2), if this is one.
fn after_skippable(packed: &[u8]) -> Option<&[u8]> {
    let (magic, rest) = packed.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let skippable = u32::from_le_bytes(*magic) & 0xffff_fff0 == 0x184d_2a50;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    rest.get(length..).filter(|_| skippable)
}

/// Zeros behind the end fill up a block of whoever sends; everybody passes over them.
fn without_padding(rest: &[u8]) -> &[u8] {
    let begin = rest.iter().position(|byte| *byte != 0);
    &rest[begin.unwrap_or(rest.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::room::Room;

    /// A frame of one block that is not packed (RFC 8878, 3.1.1).
    fn frame(byte: u8) -> [u8; 10] {
        [0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 0x09, 0, 0, byte]
    }

    #[test]
    fn zstd_may_come_in_several_frames_under_one_limit() {
        let two = [frame(b'a'), frame(b'b')].concat();
        let unpack = |packed: &[u8], limit| {
            let share = Room::default().share();
            let mut unpacking = Unpacking::new(limit, share, &Waited::AT_ONCE);
            unpacking.all(&["zstd".to_owned()], Bytes::copy_from_slice(packed))
        };
        assert_eq!(unpack(&two, 2).unwrap(), "ab");
        let too_long = unpack(&two, 1);
        assert!(matches!(too_long, Err(Broken::TooLong)), "{too_long:?}");
        let cut = unpack(&two[..19], 2);
        assert!(matches!(cut, Err(Broken::Garbage(_))), "{cut:?}");
    }

    /// `a`, packed by each coding.
    const PACKED: [(&str, &[u8]); 3] = [
        (
            "gzip",
            &[
                31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 75, 4, 0, 67, 190, 183, 232, 1, 0, 0, 0,
            ],
        ),
        ("br", &[0x0b, 0, 0x80, b'a', 3]),
        ("zstd", &[0x28, 0xb5, 0x2f, 0xfd, 0x20, 1, 0x09, 0, 0, b'a']),
    ];

    #[test]
    fn what_stands_behind_the_end_is_padding_or_another_frame() {
        let skipped = [0x5f, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
        for (coding, packed) in PACKED {
            let more = |behind: &[u8]| Bytes::from([packed, behind].concat());
            let unpack = |body| {
                let share = Room::default().share();
                Unpacking::new(9, share, &Waited::AT_ONCE).all(&[coding.to_owned()], body)
            };
            assert_eq!(unpack(more(&[])).unwrap(), "a", "{coding}");
            assert_eq!(unpack(more(&[0; 512])).unwrap(), "a", "{coding}");
            if coding != "br" {
                assert!(unpack(more(b"junk")).is_err(), "{coding}");
                assert_eq!(unpack(more(packed)).unwrap(), "aa", "{coding}");
                let both = more(&[&[0; 7], packed].concat());
                assert_eq!(unpack(both).unwrap(), "aa", "{coding}");
            }
            if coding == "zstd" {
                assert_eq!(unpack(more(&skipped)).unwrap(), "a");
                let first = Bytes::from([&skipped, packed].concat());
                assert_eq!(unpack(first).unwrap(), "a");
            }
        }
    }
}
