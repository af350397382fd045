//! Escapes: what stands in a text for one other character or byte, in URLs, HTML, JSON and mails.

use super::layers::CUT;

/// Longer names of entities are not looked for.
const LONGEST_ENTITY: usize = 10;

/// How many bytes an escape may lack at a cut.
const LONGEST_ESCAPE: usize = 10;

/// Which escapes one pass takes for escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a set of kinds of escapes, any of them"
)]
pub(super) struct Escapes {
    percent: bool,
    /// `+` for a blank, as forms have it.
    plus: bool,
    entity: bool,
    backslash: bool,
    quoted: bool,
}

/// Nothing; each pass adds to it.
const NONE: Escapes = Escapes {
    percent: false,
    plus: false,
    entity: false,
    backslash: false,
    quoted: false,
};

impl Escapes {
    /// One kind at a time, because the secret may hold what elsewhere is an escape; then all at
    /// once, because a text may mix them.
    pub(super) const PASSES: [Self; 7] = [
        Self {
            percent: true,
            ..NONE
        },
        Self {
            percent: true,
            plus: true,
            ..NONE
        },
        Self {
            entity: true,
            ..NONE
        },
        Self {
            backslash: true,
            ..NONE
        },
        Self {
            quoted: true,
            ..NONE
        },
        Self {
            percent: true,
            entity: true,
            backslash: true,
            ..NONE
        },
        Self {
            percent: true,
            plus: true,
            entity: true,
            backslash: true,
            quoted: true,
        },
    ];
}

/// What an escape stands for.
pub(super) enum Escaped {
    Byte(u8),
    Char(char),
    /// A line that goes on, or an escape that is cut off.
    Nothing,
}

/// The escape at the beginning of a text, and its length.
pub(super) fn escape(text: &str, escapes: Escapes) -> Option<(Escaped, usize)> {
    let found = match text.as_bytes().first()? {
        b'%' if escapes.percent => percent(text),
        b'+' if escapes.plus => return Some((Escaped::Byte(b' '), 1)),
        b'&' if escapes.entity => entity(text),
        b'\\' if escapes.backslash => backslash(text),
        b'=' if escapes.quoted => quoted(text),
        _ => return None,
    };
    found.or_else(|| {
        // An escape may be broken off in the middle.
        let end = text.find(CUT).filter(|end| *end < LONGEST_ESCAPE)?;
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"#{".contains(&byte);
        let parts = text.as_bytes()[1..end].iter().all(|byte| is_part(*byte));
        parts.then_some((Escaped::Nothing, end))
    })
}

fn hex(text: &str, from: usize, digits: usize) -> Option<u32> {
    let digits = text.get(from..from + digits)?;
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    all.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

fn byte(value: u32) -> Escaped {
    u8::try_from(value).map_or(Escaped::Nothing, Escaped::Byte)
}

/// A code unit of UTF-16 in four digits behind a sign of two letters, or a pair of them.
fn unit(text: &str) -> Option<(Escaped, usize)> {
    let first = hex(text, 2, 4)?;
    if let Some(c) = char::from_u32(first) {
        return Some((Escaped::Char(c), 6));
    }
    let sign = &text[..2];
    let second = text.get(6..).filter(|rest| rest.starts_with(sign));
    let second = second.and_then(|rest| hex(rest, 2, 4));
    let pair = second.and_then(|second| {
        let (first, second) = (u16::try_from(first).ok()?, u16::try_from(second).ok()?);
        char::decode_utf16([first, second]).next()?.ok()
    });
    Some(match pair {
        Some(c) => (Escaped::Char(c), 12),
        None => (Escaped::Char(char::REPLACEMENT_CHARACTER), 6),
    })
}

fn percent(text: &str) -> Option<(Escaped, usize)> {
    if text.starts_with("%u") {
        return unit(text);
    }
    hex(text, 1, 2).map(|value| (byte(value), 3))
}

/// A byte of quoted-printable (RFC 2045, 6.7), or the end of a line that goes on.
fn quoted(text: &str) -> Option<(Escaped, usize)> {
    let blanks = text[1..].bytes().take_while(|byte| b" \t".contains(byte));
    let blanks = blanks.count();
    let rest = &text[1 + blanks..];
    // A message has blanks for the ends of lines.
    let end = ["\r\n", "\n", ""]
        .into_iter()
        .find(|end| rest.starts_with(end));
    match blanks + end.map_or(0, str::len) {
        0 => hex(text, 1, 2).map(|value| (byte(value), 3)),
        skipped => Some((Escaped::Nothing, 1 + skipped)),
    }
}

/// What JSON, and the languages around it, mean by a backslash.
fn backslash(text: &str) -> Option<(Escaped, usize)> {
    let next = text[1..].chars().next()?;
    let control = |byte| Some((Escaped::Byte(byte), 2));
    match next {
        'u' if text[2..].starts_with('{') => {
            let digits = text[3..].find('}').filter(|digits| *digits <= 6)?;
            let c = char::from_u32(hex(text, 3, digits)?)?;
            Some((Escaped::Char(c), 4 + digits))
        }
        'u' => unit(text),
        'x' => hex(text, 2, 2).map(|value| (byte(value), 4)),
        'n' => control(b'\n'),
        'r' => control(b'\r'),
        't' => control(b'\t'),
        'b' => control(8),
        'f' => control(12),
        '0'..='3' => {
            let digits = text.get(1..4)?;
            let value = u8::from_str_radix(digits, 8).ok()?;
            Some((Escaped::Byte(value), 4))
        }
        CUT => None,
        other => Some((Escaped::Char(other), 1 + other.len_utf8())),
    }
}

/// An entity of HTML: by its name, or a number; browsers do without the `;` of a number.
fn entity(text: &str) -> Option<(Escaped, usize)> {
    let (digits, radix, begin) = match text.get(1..3) {
        Some("#x" | "#X") => (&text[3..], 16, 3),
        Some(two) if two.starts_with('#') => (&text[2..], 10, 2),
        _ => {
            let end = text.bytes().take(LONGEST_ENTITY).position(|b| b == b';')?;
            let c = named(&text[1..end])?;
            return Some((Escaped::Char(c), end + 1));
        }
    };
    let count = digits.chars().take_while(|c| c.is_digit(radix)).count();
    if digits[count..].starts_with(CUT) {
        return None;
    }
    let value = u32::from_str_radix(&digits[..count], radix).ok()?;
    let c = char::from_u32(value)?;
    let end = usize::from(digits[count..].starts_with(';'));
    Some((Escaped::Char(c), begin + count + end))
}

/// The names of the characters from U+00A0 to U+00FF.
const LATIN_1: &str = "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg \
    macr deg plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 \
    iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave \
    Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc \
    Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc \
    euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave \
    uacute ucirc uuml yacute thorn yuml";

/// Other names, each with its character.
const OTHERS: &str = "amp& lt< gt> quot\" apos' excl! num# dollar$ percnt% lpar( rpar) ast* plus+ \
    comma, period. sol/ colon: semi; equals= quest? commat@ lsqb[ lbrack[ bsol\\ rsqb] rbrack] Hat^ \
    lowbar_ UnderBar_ grave` lcub{ lbrace{ verbar| vert| rcub} rbrace} dash‐ \
    hyphen‐ ndash– mdash— euro€ hellip… bull• lsquo‘ rsquo’ ldquo“ rdquo”";

fn named(name: &str) -> Option<char> {
    match name {
        "Tab" => return Some('\t'),
        "NewLine" => return Some('\n'),
        // Old ones that are written in capitals too.
        "AMP" | "LT" | "GT" | "QUOT" => return named(&name.to_ascii_lowercase()),
        _ => {}
    }
    let latin = LATIN_1.split_whitespace().position(|known| known == name);
    if let Some(nth) = latin {
        return char::from_u32(0xa0 + u32::try_from(nth).ok()?);
    }
    let mut others = OTHERS.split_whitespace();
    others.find_map(|known| {
        let c = known.strip_prefix(name)?;
        let mut c = c.chars();
        c.next().filter(|_| c.next().is_none())
    })
}
