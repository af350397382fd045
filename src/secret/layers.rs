//! Decodes a text, each byte remembering where it came from: what is found in the decoded text can
//! be taken out of the original. What is looked for is the business of `redact`.

use super::escapes::{Escaped, Escapes, escape};

/// Where a message breaks off a text that is too long for it.
pub(super) const CUT: char = '…';

/// Stands between texts that do not belong together; no secret holds it.
const APART: char = '\u{ffff}';

/// A text, decoded or as it came, with the part of the original that each byte stands for.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) text: String,
    /// For each byte of the text: where its original begins and ends.
    pub(super) from: Vec<(u32, u32)>,
}

/// How bytes are written as letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    /// Both alphabets of RFC 4648, with or without line ends.
    Base64,
    /// The capitals and digits of RFC 4648.
    Base32,
    /// Two digits a byte, with or without something between the bytes, and `0x` before them.
    Hex,
}

impl Codec {
    /// Each codec with each place at which a byte may begin.
    pub(super) const PASSES: [(Self, usize); 7] = [
        (Self::Base64, 0),
        (Self::Base64, 1),
        (Self::Base64, 2),
        (Self::Base64, 3),
        (Self::Base32, 0),
        (Self::Hex, 0),
        (Self::Hex, 1),
    ];

    fn bits(self) -> u32 {
        match self {
            Self::Base64 => 6,
            Self::Base32 => 5,
            Self::Hex => 4,
        }
    }

    fn digit(self, c: char) -> Option<u32> {
        match self {
            Self::Hex => c.to_digit(16),
            Self::Base32 => Some(match c {
                'A'..='Z' => c as u32 - 'A' as u32,
                '2'..='7' => c as u32 - '2' as u32 + 26,
                _ => return None,
            }),
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
                Some((at, '0')) if codec == Codec::Hex && self.has_sign(at) => {
                    chars.next();
                    continue;
                }
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

    /// Whether `0x` stands here.
    fn has_sign(&self, at: usize) -> bool {
        let sign = self.text.get(at..at + 2);
        sign.is_some_and(|sign| sign.eq_ignore_ascii_case("0x"))
    }

    /// What is written as a list of numbers, one for each byte; `None` if it is no text of at least
    /// so many bytes.
    pub(super) fn listed(&self, least: usize) -> Option<Self> {
        let mut runs = Self {
            text: String::new(),
            from: Vec::new(),
        };
        let mut bytes = Bytes::default();
        let mut end = |bytes: &mut Bytes, cut: Option<usize>| {
            let bytes = std::mem::take(bytes);
            if bytes.bytes.len() < least.min(4) {
                return;
            }
            let mut layer = bytes.into_layer();
            if let Some(at) = cut {
                layer.push(CUT, self.from[at]);
            }
            layer.keep_text(least, &mut runs);
        };
        let is_digit = |c: char| c.is_ascii_digit();
        let mut at = 0;
        while let Some(c) = self.text[at..].chars().next() {
            let rest = &self.text[at..];
            let digits = rest.len() - rest.trim_start_matches(is_digit).len();
            match rest[..digits].parse::<u8>() {
                // A number that is broken off is another one.
                Ok(byte) if !rest[digits..].starts_with(CUT) => {
                    bytes.push(byte, (self.from[at].0, self.from[at + digits - 1].1));
                }
                _ if digits == 0 && (c == ',' || c.is_whitespace()) => {}
                _ => {
                    let cut = at + digits;
                    end(&mut bytes, rest[digits..].starts_with(CUT).then_some(cut));
                }
            }
            at += if digits > 0 { digits } else { c.len_utf8() };
        }
        end(&mut bytes, None);
        (!runs.text.is_empty()).then_some(runs)
    }

    /// Without blanks; `None` if there are none.
    pub(super) fn joined(&self) -> Option<Self> {
        let mut joined = Self {
            text: String::with_capacity(self.text.len()),
            from: Vec::with_capacity(self.from.len()),
        };
        for (at, c) in self.text.char_indices().filter(|(_, c)| *c != ' ') {
            joined.push(c, self.from[at]);
        }
        (joined.text.len() < self.text.len()).then_some(joined)
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
        // UTF-16 has zeros between its letters.
        let is_text = |c: char| c == '\0' || c.is_whitespace() || !c.is_ascii_control();
        let mut begin = 0;
        let mut keep = |begin: usize, end: usize| {
            if end - begin >= least.min(4) {
                kept.text.push_str(&self.text[begin..end]);
                kept.from.extend_from_slice(&self.from[begin..end]);
                kept.push(APART, (0, 0));
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

/// What takes no room: soft hyphens, joiners, byte order marks, what turns the direction or chooses
/// the look of a letter, and control characters, such as the zeros of UTF-16.
pub(super) fn is_unseen(c: char) -> bool {
    c.is_ascii_control() && !c.is_whitespace()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Texts are no longer than `redact` lets them be.
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
