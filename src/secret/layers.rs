//! Decodes a text, each byte remembering where it came from: what is found in the decoded text can
//! be taken out of the original. What is looked for is the business of `redact`.

/// Where a message breaks off a text that is too long for it.
pub(super) const CUT: char = '…';

/// Longer names of entities are not looked for.
const LONGEST_ENTITY: usize = 10;

/// How many bytes an escape may lack at a cut.
const LONGEST_ESCAPE: usize = 10;

/// A text, decoded or as it came, with the part of the original that each byte stands for.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) text: String,
    /// For each byte of the text: where its original begins and ends.
    pub(super) from: Vec<(u32, u32)>,
}

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

/// How bytes are written as letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// Both alphabets of RFC 4648, with or without line ends.
    Base64,
    /// Two digits a byte, with or without something between the bytes.
    Hex,
}

impl Codec {
    /// Each codec with each place at which a byte may begin.
    pub(super) const PASSES: [(Self, usize); 6] = [
        (Self::Base64, 0),
        (Self::Base64, 1),
        (Self::Base64, 2),
        (Self::Base64, 3),
        (Self::Hex, 0),
        (Self::Hex, 1),
    ];

    fn bits(self) -> u32 {
        match self {
            Self::Base64 => 6,
            Self::Hex => 4,
        }
    }

    fn digit(self, c: char) -> Option<u32> {
        match self {
            Self::Hex => c.to_digit(16),
            Self::Base64 => Some(match c {
                'A'..='Z' => c as u32 - 'A' as u32,
                'a'..='z' => c as u32 - 'a' as u32 + 26,
                '0'..='9' => c as u32 - '0' as u32 + 52,
                '+' | '-' => 62,
                '/' | '_' => 63,
                _ => return None,
            }),
        }
    }

    /// What may stand between two digits.
    fn is_between(self, c: char) -> bool {
        c.is_whitespace() || self == Self::Hex && matches!(c, ':' | '-' | ',')
    }
}

/// Bytes that are not text yet.
#[derive(Default)]
struct Bytes {
    bytes: Vec<u8>,
    from: Vec<(u32, u32)>,
}

impl Bytes {
    fn push(&mut self, byte: u8, from: (u32, u32)) {
        self.bytes.push(byte);
        self.from.push(from);
    }

    fn push_char(&mut self, c: char, from: (u32, u32)) {
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            self.push(byte, from);
        }
    }

    /// As text: what is not UTF-8 is Latin-1.
    fn into_layer(self) -> Layer {
        let mut layer = Layer {
            text: String::with_capacity(self.bytes.len()),
            from: Vec::with_capacity(self.from.len()),
        };
        let mut at = 0;
        for chunk in self.bytes.utf8_chunks() {
            let valid = chunk.valid().len();
            layer.text.push_str(chunk.valid());
            layer.from.extend_from_slice(&self.from[at..at + valid]);
            at += valid;
            let invalid = chunk.invalid();
            let rest = &self.bytes[at + invalid.len()..];
            // A character that a cut has broken is none.
            let is_broken = rest.starts_with(CUT.encode_utf8(&mut [0; 4]).as_bytes());
            for byte in invalid {
                if !is_broken {
                    layer.push(char::from(*byte), self.from[at]);
                }
                at += 1;
            }
        }
        layer
    }
}

impl Layer {
    /// The text as it came, but for what is not seen.
    pub(super) fn of(text: &str) -> Self {
        let mut layer = Self {
            text: String::with_capacity(text.len()),
            from: Vec::with_capacity(text.len()),
        };
        for (at, c) in text.char_indices().filter(|(_, c)| !is_unseen(*c)) {
            let end = at + c.len_utf8();
            layer.push(c, (narrow(at), narrow(end)));
        }
        layer
    }

    fn push(&mut self, c: char, from: (u32, u32)) {
        self.text.push(c);
        self.from.extend(std::iter::repeat_n(from, c.len_utf8()));
    }

    /// What is compared: without differences of case and of blanks, and without what is not seen.
    pub(super) fn folded(&self) -> Self {
        let mut folded = Self {
            text: String::with_capacity(self.text.len()),
            from: Vec::with_capacity(self.from.len()),
        };
        for (at, c) in self.text.char_indices() {
            let is_blank = c.is_whitespace();
            if is_unseen(c) || is_blank && folded.text.ends_with(' ') {
                continue;
            }
            if is_blank {
                folded.push(' ', self.from[at]);
                continue;
            }
            for c in fold(c) {
                folded.push(c, self.from[at]);
            }
        }
        folded
    }

    /// The text without these escapes; `None` if it has none of them.
    pub(super) fn unescaped(&self, escapes: Escapes) -> Option<Self> {
        let text = self.text.as_bytes();
        let mut out = Bytes::default();
        let (mut at, mut changed) = (0, false);
        while at < text.len() {
            let rest = &self.text[at..];
            let Some((what, length)) = escape(rest, escapes) else {
                let length = rest.chars().next().map_or(1, char::len_utf8);
                for byte in &text[at..at + length] {
                    out.push(*byte, self.from[at]);
                }
                at += length;
                continue;
            };
            let from = (self.from[at].0, self.from[at + length - 1].1);
            match what {
                Escaped::Byte(byte) => out.push(byte, from),
                Escaped::Char(c) => out.push_char(c, from),
                Escaped::Nothing => {}
            }
            changed = true;
            at += length;
        }
        changed.then(|| out.into_layer())
    }

    /// With all letters lost that are not ASCII, if some are; `None` if none is.
    pub(super) fn lost(&self) -> Option<Self> {
        const LOST: char = char::REPLACEMENT_CHARACTER;
        if !self.text.contains(LOST) {
            return None;
        }
        let mut layer = Self {
            text: String::with_capacity(self.text.len()),
            from: Vec::with_capacity(self.from.len()),
        };
        for (at, c) in self.text.char_indices() {
            let is_kept = c.is_ascii() || c.is_whitespace() || c == CUT;
            layer.push(if is_kept { c } else { LOST }, self.from[at]);
        }
        Some(layer)
    }

    /// The text as UTF-8 if that was taken for Latin-1; `None` if it cannot be so.
    pub(super) fn reread(&self) -> Option<Self> {
        if self.text.is_ascii() {
            return None;
        }
        let mut bytes = Bytes::default();
        for (at, c) in self.text.char_indices() {
            match u8::try_from(u32::from(c)) {
                Ok(byte) => bytes.push(byte, self.from[at]),
                Err(_) => bytes.push_char(c, self.from[at]),
            }
        }
        let layer = bytes.into_layer();
        (layer.text != self.text).then_some(layer)
    }

    /// What is written in these letters, from this digit of each run of them on; `None` if it is
    /// no text of at least so many bytes.
    pub(super) fn decoded(&self, (codec, skip): (Codec, usize), least: usize) -> Option<Self> {
        let mut runs = Self {
            text: String::new(),
            from: Vec::new(),
        };
        let mut digits: Vec<(u32, usize)> = Vec::new();
        let mut chars = self.text.char_indices().peekable();
        loop {
            let next = chars.next();
            match next {
                Some((_, c)) if codec.is_between(c) && !digits.is_empty() => continue,
                Some((at, c)) => {
                    if let Some(digit) = codec.digit(c) {
                        digits.push((digit, at));
                        continue;
                    }
                    let cut = (c == CUT).then_some(at);
                    self.decode_run(&digits, (codec, skip), least, cut, &mut runs);
                }
                None => self.decode_run(&digits, (codec, skip), least, None, &mut runs),
            }
            digits.clear();
            if next.is_none() {
                break;
            }
        }
        (!runs.text.is_empty()).then_some(runs)
    }

    fn decode_run(
        &self,
        digits: &[(u32, usize)],
        (codec, skip): (Codec, usize),
        least: usize,
        cut: Option<usize>,
        runs: &mut Self,
    ) {
        let bits = codec.bits();
        let mut bytes = Bytes::default();
        let (mut held, mut count, mut begin) = (0_u32, 0, 0);
        for (digit, at) in digits.iter().skip(skip) {
            if count == 0 {
                begin = self.from[*at].0;
            }
            held = held << bits | digit;
            count += bits;
            if count >= 8 {
                count -= 8;
                let byte = u8::try_from(held >> count & 0xff).unwrap_or_default();
                bytes.push(byte, (begin, self.from[*at].1));
                held &= (1 << count) - 1;
                begin = self.from[*at].0;
            }
        }
        if bytes.bytes.len() < least.min(4) {
            return;
        }
        let mut layer = bytes.into_layer();
        if let Some(at) = cut {
            layer.push(CUT, self.from[at]);
        }
        layer.keep_text(least, runs);
    }

    /// Adds the parts that can be text: decoding what was never encoded gives noise.
    fn keep_text(&self, least: usize, kept: &mut Self) {
        let is_text = |c: char| c.is_whitespace() || !c.is_ascii_control();
        let mut begin = 0;
        let mut keep = |begin: usize, end: usize| {
            if end - begin >= least.min(4) {
                kept.text.push_str(&self.text[begin..end]);
                kept.from.extend_from_slice(&self.from[begin..end]);
                kept.push('\0', (0, 0));
            }
        };
        for (at, c) in self.text.char_indices() {
            if !is_text(c) {
                keep(begin, at);
                begin = at + c.len_utf8();
            }
        }
        keep(begin, self.text.len());
    }
}

/// The same for all characters that differ in case only.
pub(super) fn fold(c: char) -> impl Iterator<Item = char> {
    // Its capital form is two letters.
    let sharp = matches!(c, 'ß' | 'ẞ');
    let (two, one) = if sharp {
        ("ss", None)
    } else {
        ("", Some(c.to_lowercase()))
    };
    two.chars().chain(one.into_iter().flatten())
}

/// Soft hyphens, joiners and byte order marks.
pub(super) fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}'
    )
}

/// Texts are no longer than `redact` lets them be.
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// What an escape stands for.
enum Escaped {
    Byte(u8),
    Char(char),
    /// A line that goes on, or an escape that is cut off.
    Nothing,
}

/// The escape at the beginning of a text, and its length.
fn escape(text: &str, escapes: Escapes) -> Option<(Escaped, usize)> {
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
