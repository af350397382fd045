//! The forms in which a target says a secret back, and a decoder for all of them that shares
//! nothing with the code under test.

use std::collections::HashSet;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

/// A secret as bytes of an answer.
type Form = fn(&str) -> Vec<u8>;

fn each(text: &str, of: impl Fn(u8) -> String) -> Vec<u8> {
    text.bytes().map(of).collect::<Vec<_>>().concat().into()
}

fn chars(text: &str, of: impl Fn(char) -> String) -> Vec<u8> {
    text.chars().map(of).collect::<Vec<_>>().concat().into()
}

fn units(text: &str, of: impl Fn(u16) -> String) -> Vec<u8> {
    text.encode_utf16()
        .map(of)
        .collect::<Vec<_>>()
        .concat()
        .into()
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let of = |byte: u8| {
        if plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    String::from_utf8(each(text, of)).unwrap()
}

const NAMED: [(char, &str); 10] = [
    ('&', "&amp;"),
    ('<', "&lt;"),
    ('>', "&gt;"),
    ('"', "&quot;"),
    ('\'', "&apos;"),
    ('ö', "&ouml;"),
    ('é', "&eacute;"),
    ('ß', "&szlig;"),
    (' ', "&nbsp;"),
    ('/', "&sol;"),
];

fn named(text: &str) -> Vec<u8> {
    chars(text, |c| {
        let name = NAMED.iter().find(|(of, _)| *of == c);
        name.map_or(c.to_string(), |(_, name)| (*name).to_owned())
    })
}

fn latin_1(text: &str) -> Vec<u8> {
    let byte = |c: char| u8::try_from(u32::from(c)).unwrap_or(b'?');
    text.chars().map(byte).collect()
}

/// All of them.
pub(super) const FORMS: [(&str, Form); 32] = [
    ("plain", |s| s.into()),
    ("upper case", |s| s.to_uppercase().into()),
    ("lower case", |s| s.to_lowercase().into()),
    ("percent", |s| percent(s).into()),
    ("percent, small", |s| percent(s).to_lowercase().into()),
    ("percent, all", |s| each(s, |b| format!("%{b:02X}"))),
    ("percent twice", |s| percent(&percent(s)).into()),
    ("percent of utf-16", |s| units(s, |u| format!("%u{u:04x}"))),
    ("a form", |s| percent(s).replace("%20", "+").into()),
    ("base64", |s| BASE64_STANDARD.encode(s).into()),
    ("base64url", |s| BASE64_URL_SAFE_NO_PAD.encode(s).into()),
    ("base64 of a pair", |s| {
        BASE64_STANDARD.encode(format!("me:{s}!")).into()
    }),
    ("base64 behind a byte", |s| {
        BASE64_STANDARD.encode(format!("x{s}")).into()
    }),
    ("base64 twice", |s| {
        BASE64_STANDARD.encode(BASE64_STANDARD.encode(s)).into()
    }),
    ("json", |s| json(s).into()),
    ("json, all escaped", |s| units(s, |u| format!("\\u{u:04x}"))),
    ("json, slashes escaped", |s| {
        json(s).replace('/', "\\/").into()
    }),
    ("json in json", |s| json(&json(s)).into()),
    ("json in json in json", |s| json(&json(&json(s))).into()),
    ("javascript", |s| {
        chars(s, |c| format!("\\u{{{:x}}}", u32::from(c)))
    }),
    ("entities, named", named),
    ("entities, decimal", |s| {
        chars(s, |c| format!("&#{};", u32::from(c)))
    }),
    ("entities, hex", |s| {
        chars(s, |c| format!("&#x{:x};", u32::from(c)))
    }),
    ("entities of entities", |s| {
        let once = String::from_utf8(named(s)).unwrap();
        once.replace('&', "&amp;").into()
    }),
    ("hex", |s| each(s, |b| format!("{b:02x}"))),
    ("HEX", |s| each(s, |b| format!("{b:02X}"))),
    ("hex with colons", |s| each(s, |b| format!("{b:02x}:"))),
    ("backslash x", |s| each(s, |b| format!("\\x{b:02x}"))),
    ("quoted-printable", |s| each(s, |b| format!("={b:02X}"))),
    ("latin-1", latin_1),
    ("no-break spaces", |s| s.replace(' ', "\u{a0}").into()),
    ("json of base64", |s| {
        json(&BASE64_STANDARD.encode(s)).into()
    }),
];

/// The text in every way in which it can be read, one code inside another.
pub(super) fn readings(text: &[u8], depth: usize) -> HashSet<Vec<u8>> {
    let mut all = HashSet::from([text.to_vec()]);
    let mut last = vec![text.to_vec()];
    for _ in 0..depth {
        let read: Vec<_> = last.iter().flat_map(|text| decoded(text)).collect();
        last = read
            .into_iter()
            .filter(|text| all.insert(text.clone()))
            .collect();
    }
    all
}

/// Takes one code off.
type Code = fn(&[u8]) -> Vec<u8>;

/// One code taken off, whichever it may be.
fn decoded(text: &[u8]) -> Vec<Vec<u8>> {
    let codes: [Code; 9] = [
        |text| escapes(text, b'%', false),
        |text| escapes(text, b'%', true),
        |text| escapes(text, b'\\', false),
        |text| escapes(text, b'&', false),
        |text| escapes(text, b'=', false),
        |text| runs(text, is_base64, base64s),
        |text| runs(text, |b| b.is_ascii_hexdigit() || b == b':', hexes),
        // Bytes that were taken for letters.
        |text| {
            let text = String::from_utf8_lossy(text);
            latin_1(&text)
        },
        |text| {
            text.iter()
                .copied()
                .map(char::from)
                .collect::<String>()
                .into()
        },
    ];
    codes.iter().map(|code| code(text)).collect()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// Everything that long runs of these bytes hold.
fn runs(text: &[u8], of: fn(u8) -> bool, decode: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let runs = text.split(|byte| !of(*byte)).filter(|run| run.len() >= 10);
    runs.flat_map(|run| [decode(run), b"\n".to_vec()].concat())
        .collect()
}

fn base64s(run: &[u8]) -> Vec<u8> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let mut all = Vec::new();
    for alphabet in [&STANDARD, &URL_SAFE] {
        let engine = GeneralPurpose::new(alphabet, config);
        for begin in 0..4 {
            let part = &run[begin..];
            let part = &part[..part.len() - usize::from(part.len() % 4 == 1)];
            all.extend(engine.decode(part).unwrap_or_default());
            all.push(b'\n');
        }
    }
    all
}

fn hexes(run: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = run.iter().copied().filter(|byte| *byte != b':').collect();
    let mut all = Vec::new();
    for begin in 0..2 {
        let pairs = digits[begin..].chunks_exact(2);
        all.extend(
            pairs
                .filter_map(|pair| number(pair, 16))
                .filter_map(|n| u8::try_from(n).ok()),
        );
        all.push(b'\n');
    }
    all
}

fn number(digits: &[u8], base: u32) -> Option<u32> {
    let all = digits.iter().all(|byte| char::from(*byte).is_digit(base));
    all.then(|| u32::from_str_radix(str::from_utf8(digits).ok()?, base).ok())?
}

/// Without the escapes that begin so.
fn escapes(text: &[u8], sign: u8, plus: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut units: Vec<u16> = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let hex = |from: usize, to: usize| rest.get(from..to).and_then(|part| number(part, 16));
        let unit = matches!(rest, [b'%', b'u' | b'U', ..] | [b'\\', b'u', ..]);
        let unit = if unit && rest[0] == sign {
            hex(2, 6)
        } else {
            None
        };
        if let Some(unit) = unit {
            units.push(u16::try_from(unit).unwrap());
            at += 6;
            continue;
        }
        out.extend(String::from_utf16_lossy(&std::mem::take(&mut units)).bytes());
        let (read, length) = match rest[0] {
            b'+' if plus => (vec![b' '], 1),
            byte if byte != sign => (vec![byte], 1),
            b'%' | b'=' => match hex(1, 3) {
                Some(byte) => (vec![u8::try_from(byte).unwrap()], 3),
                None => (vec![rest[0]], 1),
            },
            b'&' => entity(rest).unwrap_or((vec![b'&'], 1)),
            _ => backslash(rest),
        };
        out.extend(read);
        at += length;
    }
    out.extend(String::from_utf16_lossy(&units).bytes());
    out
}

fn letter(code: Option<u32>) -> Vec<u8> {
    let c = code.and_then(char::from_u32);
    c.map(String::from).unwrap_or_default().into()
}

fn entity(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end = rest.iter().take(12).position(|byte| *byte == b';')?;
    let inside = &rest[1..end];
    let c = match inside {
        [b'#', b'x' | b'X', digits @ ..] => letter(number(digits, 16)),
        [b'#', digits @ ..] => letter(number(digits, 10)),
        _ => {
            let name = NAMED
                .iter()
                .find(|(_, name)| name.as_bytes() == &rest[..=end]);
            name?.0.to_string().into()
        }
    };
    Some((c, end + 1))
}

fn backslash(rest: &[u8]) -> (Vec<u8>, usize) {
    match rest {
        [_, b'x', digits @ ..] if digits.len() >= 2 => match number(&digits[..2], 16) {
            Some(byte) => (vec![u8::try_from(byte).unwrap()], 4),
            None => (vec![b'\\'], 1),
        },
        [_, b'u', b'{', ..] => match rest.iter().take(10).position(|byte| *byte == b'}') {
            Some(end) => (letter(number(&rest[3..end], 16)), end + 1),
            None => (vec![b'\\'], 1),
        },
        [_, b'n', ..] => (vec![b'\n'], 2),
        [_, escaped, ..] => (vec![*escaped], 2),
        _ => (vec![b'\\'], 1),
    }
}

#[test]
fn the_decoder_reads_every_form() {
    for secret in [
        "p <a ö/ss'w\"é&rd>+1",
        "🔑 密码 pa%s\\s",
        "0123456789abcdef",
    ] {
        for (name, form) in FORMS {
            let said = form(secret);
            let found = readings(&said, 3).iter().any(|text| {
                let text = String::from_utf8_lossy(text)
                    .to_lowercase()
                    .replace('\u{a0}', " ");
                text.contains(&secret.to_lowercase())
            });
            let lossy = name == "latin-1" || name == "upper case";
            assert!(found || lossy && !secret.is_ascii(), "{name} of {secret}");
        }
    }
}
