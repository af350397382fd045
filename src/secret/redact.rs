//! Takes secrets out of texts, in every form in which they travel: the text is decoded layer by
//! layer (`layers`), and each layer is searched for all secrets at once.
//!
//! What is long or varied enough to be nothing but a secret is taken out wherever it stands. An
//! ordinary word or a small number, such as a cookie `consent=true`, is hidden in its place only.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use aho_corasick::AhoCorasick;
use serde_json::Value;

use super::escapes::Escapes;
use super::layers::{CUT, Codec, Layer, fold, is_unseen};

/// What stands where a secret stood.
const HIDDEN: &str = "[secret]";

/// Said instead of a text that cannot be searched in bounded time.
const UNSEARCHED: &str = "[not shown: it could not be searched for secrets]";

/// Shorter ones would tear holes into every text and are not secret anyhow.
const SHORTEST: usize = 4;

/// From so many bytes on a secret stands nowhere by chance.
const CERTAIN: usize = 12;

/// A longer secret is looked for in pieces of so many bytes.
const PIECE: usize = 64;

/// How often a text may have been encoded, one encoding inside another.
const DEPTH: usize = 3;

/// No more of a text is searched, and shown: messages are excerpts.
const LONGEST: usize = 64 * 1024;

/// So much is searched of one text in all its layers.
const BUDGET: usize = 2 * 1024 * 1024;

/// Takes secrets out of texts.
#[derive(Default, Clone)]
pub struct Redactor {
    needles: Vec<Needle>,
    /// Made of the needles when it is first used.
    search: OnceLock<Option<Arc<AhoCorasick>>>,
}

/// What is looked for.
#[derive(Clone, PartialEq, Eq)]
struct Needle {
    /// As layers are when they are compared.
    text: String,
    /// How much of its beginning is no secret.
    open: usize,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor of {}", self.needles.len())
    }
}

impl Redactor {
    /// Learns a secret: it is taken out wherever it stands. Says whether that is so; a word of JSON
    /// or what is too short is not learned.
    pub fn learn(&mut self, secret: &str) -> bool {
        let folded = folded(secret);
        let is_word = ["true", "false", "null"].contains(&folded.as_str());
        if folded.len() < SHORTEST || is_word {
            return false;
        }
        self.add(&folded, 0);
        // Latin-1 that was read as UTF-8, no-break spaces too.
        if secret.chars().all(|c| c <= '\u{ff}') {
            for blank in [' ', '\u{fffd}'] {
                let lost = |c: char| match c {
                    ' ' => blank,
                    c if c.is_ascii() => c,
                    _ => '\u{fffd}',
                };
                let lost: String = secret.trim().chars().map(lost).collect();
                if lost.chars().filter(char::is_ascii).count() >= SHORTEST {
                    self.add(&self::folded(&lost), 0);
                }
            }
        }
        true
    }

    /// Learns every text and number in a value. Says whether all of them will be found.
    pub fn learn_value(&mut self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.learn(text),
            Value::Number(number) => self.learn(&number.to_string()),
            Value::Array(items) => self.learn_parts(items.iter()),
            Value::Object(entries) => self.learn_parts(entries.values()),
            Value::Null | Value::Bool(_) => true,
        }
    }

    fn learn_parts<'a>(&mut self, parts: impl Iterator<Item = &'a Value>) -> bool {
        let mut all = true;
        for part in parts {
            let is_ordinary = match part {
                Value::String(text) => !is_telling(text, TABLE_BITS),
                Value::Number(number) => !is_telling(&number.to_string(), TABLE_BITS),
                _ => false,
            };
            // Beside a token there are words such as `bearer`, which other texts have too.
            all &= !is_ordinary && self.learn_value(part);
        }
        all
    }

    /// Learns the value of something that has a name, such as a cookie. An ordinary word is only
    /// hidden behind its name.
    pub fn learn_named(&mut self, name: &str, value: &str) {
        if is_telling(value, ANYWHERE_BITS) {
            self.learn(value);
        } else if value.len() >= SHORTEST {
            let open = folded(&format!("{name}=")).len();
            for quote in ["", "\""] {
                let text = folded(&format!("{name}={quote}{value}"));
                self.add(&text, open + quote.len());
            }
        }
    }

    fn add(&mut self, text: &str, open: usize) {
        let mut begin = 0;
        while begin < text.len() {
            // The last piece overlaps the one before, so that none is short.
            let from = begin.min(boundary(text, text.len().saturating_sub(PIECE)));
            let end = boundary(text, (from + PIECE).min(text.len()));
            let needle = Needle {
                text: text[from..end].to_owned(),
                open: open.saturating_sub(from),
            };
            if !self.needles.contains(&needle) {
                self.needles.push(needle);
                self.search = OnceLock::new();
            }
            begin = end;
        }
    }

    /// The text without them.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        if self.needles.is_empty() {
            return text.to_owned();
        }
        let mut shown = text.to_owned();
        if text.len() > LONGEST {
            shown.truncate(boundary(text, LONGEST));
            shown.push(CUT);
        }
        let Some(found) = self.find(&shown) else {
            return UNSEARCHED.to_owned();
        };
        let mut redacted = String::with_capacity(shown.len());
        let mut at = 0;
        for Range { start, end } in found {
            redacted.push_str(&shown[at..start]);
            redacted.push_str(HIDDEN);
            at = end;
        }
        redacted.push_str(&shown[at..]);
        redacted
    }

    /// Whether one of them certainly stands in the text: a short one may do so by chance.
    #[must_use]
    pub fn finds(&self, text: &str) -> bool {
        let long = self
            .needles
            .iter()
            .filter(|needle| needle.text.len() >= CERTAIN);
        let certain = Self {
            needles: long.cloned().collect(),
            search: OnceLock::new(),
        };
        certain.redact(text) != text
    }

    /// Where they stand, in order and apart; `None` if there is too much to search.
    fn find(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let search = self.search.get_or_init(|| {
            let needles = self.needles.iter().map(|needle| &needle.text);
            AhoCorasick::new(needles).ok().map(Arc::new)
        });
        let texts = || self.needles.iter().map(|needle| needle.text.as_bytes());
        let mut looking = Looking {
            needles: &self.needles,
            search: search.as_deref()?,
            firsts: texts().filter_map(|text| text.get(..SHORTEST)).collect(),
            lasts: texts()
                .filter_map(|text| text.get(text.len().checked_sub(SHORTEST)?..))
                .collect(),
            least: texts().map(<[u8]>::len).min()?,
            found: Vec::new(),
            seen: HashSet::new(),
            budget: BUDGET,
        };
        looking.through(&Layer::of(text), DEPTH)?;
        let mut found = looking.found;
        found.sort_by_key(|range| (range.start, range.end));
        let mut apart: Vec<Range<usize>> = Vec::new();
        for range in found {
            match apart.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        Some(apart)
    }
}

/// One search through all layers of a text.
struct Looking<'a> {
    needles: &'a [Needle],
    search: &'a AhoCorasick,
    /// The bytes with which they begin, and end.
    firsts: HashSet<&'a [u8]>,
    lasts: HashSet<&'a [u8]>,
    /// How long the shortest one is.
    least: usize,
    found: Vec<Range<usize>>,
    /// Layers that were searched, by their hashes.
    seen: HashSet<u64>,
    budget: usize,
}

impl Looking<'_> {
    fn through(&mut self, layer: &Layer, depth: usize) -> Option<()> {
        let mut hasher = DefaultHasher::new();
        (&layer.text, &layer.from, depth).hash(&mut hasher);
        if layer.text.len() < self.least.min(SHORTEST) || !self.seen.insert(hasher.finish()) {
            return Some(());
        }
        self.budget = self.budget.checked_sub(layer.text.len())?;
        let folded = layer.folded();
        self.whole(&folded, 0);
        self.cut(&folded);
        if let Some(joined) = folded.joined() {
            // Broken into lines, or written apart.
            self.whole(&joined, CERTAIN);
        }
        if let Some(lost) = layer.lost() {
            let folded = lost.folded();
            self.whole(&folded, 0);
            self.cut(&folded);
        }
        if depth == 0 {
            return Some(());
        }
        for escapes in Escapes::PASSES {
            if let Some(inner) = layer.unescaped(escapes) {
                self.through(&inner, depth - 1)?;
            }
        }
        if let Some(inner) = layer.reread() {
            self.through(&inner, depth - 1)?;
        }
        if let Some(inner) = layer.listed(self.least) {
            self.through(&inner, depth - 1)?;
        }
        for pass in Codec::PASSES {
            if let Some(inner) = layer.decoded(pass, self.least) {
                self.through(&inner, depth - 1)?;
            }
        }
        Some(())
    }

    /// Secrets of at least `shortest` bytes.
    fn whole(&mut self, layer: &Layer, shortest: usize) {
        let mut last = 0..0;
        for found in self.search.find_overlapping_iter(&layer.text) {
            let needle = &self.needles[found.pattern().as_usize()];
            if needle.text.len() < shortest {
                continue;
            }
            let part = found.start() + needle.open..found.end();
            // One inside another adds nothing.
            if part.start < last.start || part.end > last.end {
                last = part.clone();
                self.add(layer, part);
            }
        }
    }

    /// Secrets that a cut ends, or begins.
    fn cut(&mut self, layer: &Layer) {
        let text = layer.text.as_str();
        let mut before = 0;
        for (cut, sign) in text.match_indices(CUT) {
            let after = cut + sign.len();
            let window = boundary(text, cut.saturating_sub(PIECE)).max(before)..cut;
            if let Some(start) = self.broken_off(text, window) {
                let from = layer.from[start].0 as usize;
                self.found
                    .push(from..(layer.from[cut].0 as usize).max(from));
            }
            let end = boundary(text, (after + PIECE).min(text.len()));
            let end = text[after..end].find(CUT).map_or(end, |at| after + at);
            if let Some(end) = self.torn_off(text, after..end) {
                self.add(layer, after..end);
            }
            before = after;
        }
    }

    /// Where in this part a secret begins that goes on behind it.
    fn broken_off(&self, text: &str, part: Range<usize>) -> Option<usize> {
        let end = part.end;
        let starts = text[part.clone()]
            .char_indices()
            .map(|(at, _)| part.start + at);
        let mut starts = starts.filter(|at| {
            let first = text.as_bytes().get(*at..*at + SHORTEST);
            *at + SHORTEST <= end && first.is_some_and(|first| self.firsts.contains(first))
        });
        starts.find_map(|start| {
            let seen = &text[start..end];
            let begun = |needle: &&Needle| {
                seen.len() >= SHORTEST + needle.open && needle.text.starts_with(seen)
            };
            let open = self.needles.iter().filter(begun).map(|needle| needle.open);
            open.min().map(|open| start + open)
        })
    }

    /// Where in this part a secret ends that began before it.
    fn torn_off(&self, text: &str, part: Range<usize>) -> Option<usize> {
        let ends = text[part.clone()].char_indices();
        let ends = ends.map(|(at, c)| part.start + at + c.len_utf8());
        let known = |end: &usize| {
            let seen = &text.as_bytes()[part.start..*end];
            let last = seen.len().checked_sub(SHORTEST).map(|at| &seen[at..]);
            let ended = |needle: &Needle| needle.text.as_bytes().ends_with(seen);
            last.is_some_and(|last| self.lasts.contains(last)) && self.needles.iter().any(ended)
        };
        ends.rev().find(known)
    }

    fn add(&mut self, layer: &Layer, part: Range<usize>) {
        let original = &layer.from[part];
        if let (Some(first), Some(last)) = (original.first(), original.last()) {
            self.found
                .push(first.0 as usize..(last.1 as usize).max(first.0 as usize));
        }
    }
}

/// What is compared of a secret.
fn folded(secret: &str) -> String {
    let seen = secret.chars().filter(|c| !is_unseen(*c));
    let folded: String = seen.flat_map(fold).collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The nearest boundary of a character, not behind `at`.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// From here on a value that somebody else sets is taken for a secret wherever it stands: sixteen
/// letters, ten digits, or eight characters of both.
const ANYWHERE_BITS: usize = 32;

/// The same of what stands in a table that is secret as a whole.
const TABLE_BITS: usize = 24;

/// Whether a value has so many bits that it is no ordinary word or number. Letters of one case are
/// counted as in words, digits as in numbers, and a mixture as if by chance.
fn is_telling(value: &str, bits: usize) -> bool {
    let count = |of: fn(&char) -> bool| value.chars().filter(of).count();
    let (letters, digits) = (count(|c| c.is_alphabetic()), count(|c| c.is_numeric()));
    let different = value.chars().flat_map(fold).collect::<HashSet<_>>().len();
    let mixed_case = value
        .chars()
        .zip(value.chars().skip(1))
        .any(|(one, next)| one.is_lowercase() && next.is_uppercase());
    let tenths = if letters > 0 && digits > 0 || mixed_case {
        45
    } else if digits > letters {
        33
    } else {
        20
    };
    different >= SHORTEST && value.chars().count() * tenths >= 10 * bits
}
