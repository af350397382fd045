//! The text of an answer, by the charset that it is in: what its first bytes, its head or, in HTML
//! and XML, its beginning say, in this order; UTF-8 otherwise. JSON is UTF-8 whatever is said
//! (RFC 8259, 8.1) and read elsewhere.

use std::borrow::Cow;
use std::ops::Deref;

use encoding_rs::{CoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::text::json::{Budget, Unread};

/// How much of a page is searched for what it says of itself, as browsers do.
const SEARCHED: usize = 1024;

/// How much of a body its beginning is.
const BEGINNING: usize = 4096;

/// A text, and its share of the memory that all of them may take if it had to be made.
#[derive(Debug)]
pub(super) struct Text<'a> {
    text: Cow<'a, str>,
    _budget: Option<Budget>,
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// The body as text. What is no text in its charset is replaced.
pub(super) fn text<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Text<'a>, Unread> {
    let (charset, text) = charset(headers, body);
    decode(charset, text)
}

/// The beginning of the body as text.
pub(super) fn beginning(headers: &HeaderMap, body: &[u8]) -> String {
    let (charset, text) = charset(headers, &body[..body.len().min(BEGINNING)]);
    let (begins, _) = charset.decode_without_bom_handling(text);
    begins.into_owned()
}

/// Text that is UTF-8 whatever is said.
pub(super) fn utf8(text: &[u8]) -> Result<Text<'_>, Unread> {
    decode(UTF_8, text)
}

fn decode<'a>(charset: &'static Encoding, bytes: &'a [u8]) -> Result<Text<'a>, Unread> {
    // Nothing has to be made of what is UTF-8 already.
    let is_utf8 = charset == UTF_8 || charset.is_ascii_compatible() && bytes.is_ascii();
    if let Some(text) = is_utf8.then(|| str::from_utf8(bytes).ok()).flatten() {
        return Ok(Text {
            text: text.into(),
            _budget: None,
        });
    }
    // It may be three times as long as it came: counted before memory is taken for it.
    let mut length = 0;
    each_piece(charset, bytes, |piece| length += piece.len());
    let budget = Budget::of_a_text(length)?;
    let mut text = String::with_capacity(length);
    each_piece(charset, bytes, |piece| text.push_str(piece));
    Ok(Text {
        text: text.into(),
        _budget: Some(budget),
    })
}

/// Decodes it piece by piece.
fn each_piece(charset: &'static Encoding, mut bytes: &[u8], mut take: impl FnMut(&str)) {
    let mut decoder = charset.new_decoder_without_bom_handling();
    let mut piece = [0; BEGINNING];
    loop {
        let (end, read, written, _) = decoder.decode_to_utf8(bytes, &mut piece, true);
        take(str::from_utf8(&piece[..written]).unwrap_or_default());
        bytes = &bytes[read..];
        if end == CoderResult::InputEmpty {
            return;
        }
    }
}

/// The charset of a body, and the body without the mark that says it.
fn charset<'a>(headers: &HeaderMap, body: &'a [u8]) -> (&'static Encoding, &'a [u8]) {
    // A mark at the beginning holds over what is said, and is no part of the text.
    if let Some((charset, mark)) = Encoding::for_bom(body) {
        return (charset, &body[mark..]);
    }
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default();
    let said =
        parameter(media_type, "charset").and_then(|label| Encoding::for_label(label.as_bytes()));
    let charset = said.or_else(|| of_markup(media_type, body));
    (charset.unwrap_or(UTF_8), body)
}

/// A parameter of a media type, such as `charset` in `text/html; charset="utf-8"`.
fn parameter<'a>(media_type: &'a str, name: &str) -> Option<&'a str> {
    media_type.split(';').skip(1).find_map(|parameter| {
        let (own, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches(['"', '\'']);
        own.trim().eq_ignore_ascii_case(name).then_some(value)
    })
}

/// What HTML (`<meta charset=…>`, or the same within `content`) and XML (`encoding=…`) say.
fn of_markup(media_type: &str, body: &[u8]) -> Option<&'static Encoding> {
    let essence = media_type.split(';').next()?.trim().to_ascii_lowercase();
    let begins = String::from_utf8_lossy(&body[..body.len().min(SEARCHED)]).to_ascii_lowercase();
    let label = if essence.contains("html") {
        begins
            .split("<meta")
            .skip(1)
            .filter_map(|rest| rest.split('>').next())
            .find_map(|tag| value(tag, "charset"))
            .or_else(|| declared(&begins))?
    } else if essence.contains("xml") {
        declared(&begins)?
    } else {
        return None;
    };
    let charset = Encoding::for_label(label.as_bytes())?;
    // It was read as ASCII, so it cannot be that.
    let wide = [UTF_16LE, UTF_16BE].contains(&charset);
    Some(if wide { UTF_8 } else { charset })
}

/// The encoding of `<?xml … encoding="…"?>`.
fn declared(begins: &str) -> Option<&str> {
    let rest = begins.trim_start().strip_prefix("<?xml")?;
    value(rest.split("?>").next()?, "encoding")
}

/// The value after `NAME=`, with quotes or without.
fn value<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(name)?;
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let rest = rest.trim_start_matches(['"', '\'']);
    let end = rest.find(|letter: char| "\"';> /".contains(letter) || letter.is_whitespace());
    Some(&rest[..end.unwrap_or(rest.len())])
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn text_is_in_the_charset_that_is_said() {
        let (html, plain) = ("text/html", "text/plain");
        let meta = |rest: &[u8]| [b"<meta charset=\"iso-8859-1\"><p>".as_slice(), rest].concat();
        let equiv = b"<META http-equiv=content-type content='text/html; charset=windows-1251'>\xd8";
        let xml = b"<?xml version='1.0' encoding='ISO-8859-15'?>\xa4";
        for (media_type, body, wanted) in [
            ("", b"gr\xc3\xbcn".to_vec(), "grün"),
            (plain, b"gr\xc3\xbcn".to_vec(), "grün"),
            (plain, b"gr\xfcn".to_vec(), "gr\u{fffd}n"),
            ("text/html; charset=iso-8859-1", b"gr\xfcn".to_vec(), "grün"),
            ("text/html;CHARSET=\"Latin1\"", b"gr\xfcn".to_vec(), "grün"),
            ("text/html; charset='windows-1252'", b"\x80".to_vec(), "€"),
            (
                "text/html; charset=shift_jis; x=y",
                b"\x8f\xe1\x8aQ".to_vec(),
                "障害",
            ),
            (
                "text/html; charset=EUC-JP",
                b"\xbe\xe3\xb3\xb2".to_vec(),
                "障害",
            ),
            (
                "text/html; charset=gbk",
                b"\xb9\xca\xd5\xcf".to_vec(),
                "故障",
            ),
            (
                "text/plain; charset=koi8-r",
                b"\xf3\xc2\xcf\xca".to_vec(),
                "Сбой",
            ),
            ("text/plain; charset=utf-16", b"a\0b\0".to_vec(), "ab"),
            ("text/plain; charset=utf-16be", b"\0a\0b".to_vec(), "ab"),
            (plain, b"\xff\xfea\0".to_vec(), "a"),
            (
                "text/plain; charset=iso-8859-1",
                b"\xef\xbb\xbf\xc3\xbc".to_vec(),
                "ü",
            ),
            ("", b"\xef\xbb\xbfa".to_vec(), "a"),
            ("text/plain; charset=nonsense", b"\xc3\xbc".to_vec(), "ü"),
            (html, meta(b"\xfc"), "<meta charset=\"iso-8859-1\"><p>ü"),
            (
                plain,
                meta(b"\xfc"),
                "<meta charset=\"iso-8859-1\"><p>\u{fffd}",
            ),
            (
                html,
                equiv.to_vec(),
                "<META http-equiv=content-type content='text/html; charset=windows-1251'>Ш",
            ),
            (
                "application/xml",
                xml.to_vec(),
                "<?xml version='1.0' encoding='ISO-8859-15'?>€",
            ),
            (
                html,
                b"<meta charset=utf-16>a".to_vec(),
                "<meta charset=utf-16>a",
            ),
        ] {
            let mut headers = HeaderMap::new();
            if !media_type.is_empty() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            }
            assert_eq!(&*text(&headers, &body).unwrap(), wanted, "{media_type}");
            assert_eq!(beginning(&headers, &body), wanted, "{media_type}");
        }
    }

    #[test]
    fn a_long_text_is_made_only_within_its_budget() {
        // What it is repeated a million times, and whether that may be made.
        for (charset, body, wanted) in [
            ("utf-8", &b"\xff"[..], Ok("\u{fffd}")),
            ("utf-8", b"\xe2\x82a", Ok("\u{fffd}a")),
            ("shift_jis", b"\x8f\xe1", Ok("障")),
            ("utf-16le", b"\x9c\x96", Ok("障")),
            ("iso-8859-1", b"\xfc", Ok("ü")),
            ("utf-8", b"\xff\xff\xff\xff\xff\xff", Err(Unread::Large)),
            (
                "iso-8859-1",
                b"\xfc\xfc\xfc\xfc\xfc\xfc\xfc\xfc\xfc",
                Err(Unread::Large),
            ),
            // Borrowed, however long.
            ("utf-8", b"twenty bytes of text", Ok("twenty bytes of text")),
            (
                "shift_jis",
                b"twenty bytes of text",
                Ok("twenty bytes of text"),
            ),
        ] {
            let mut headers = HeaderMap::new();
            let media_type = format!("text/plain; charset={charset}");
            headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
            let body = body.repeat(1_000_000);
            let made = text(&headers, &body);
            let made = made.as_deref();
            match wanted {
                Err(error) => assert_eq!(made, Err(&error), "{charset}"),
                // Not shown: it is long.
                Ok(wanted) => assert!(made == Ok(&wanted.repeat(1_000_000)), "{charset}"),
            }
        }
    }
}
