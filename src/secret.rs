//! Secrets: values that cannot be printed, and texts from which they are taken out.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

/// A secret value: `Debug` shows nothing of it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: &str) -> Self {
        Self(value.into())
    }

    /// The value itself; whoever calls this keeps it out of every output.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where a secret comes from. Files and credentials are read at each use, so that a rotated one
/// needs no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// Written in the configuration itself; allowed with a warning.
    Literal(Secret),
    /// A file; a trailing newline is not part of the secret.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// A file of this name in `$CREDENTIALS_DIRECTORY`, see systemd's `LoadCredential=`.
    Credential(String),
}

/// A secret that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("cannot read the secret in {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The variable is not set, or not text.
    #[error("cannot read the secret in the environment variable {name}")]
    Env {
        /// The variable.
        name: String,
        /// Why.
        source: std::env::VarError,
    },
    /// There is nothing in it.
    #[error("the secret is empty")]
    Empty,
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// If the file or variable cannot be read, or is empty.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let text = match self {
            Self::Literal(secret) => return Ok(secret.clone()),
            Self::File(path) => file(path.clone())?,
            Self::Env(name) => variable(name)?,
            Self::Credential(name) => {
                let folder = PathBuf::from(variable("CREDENTIALS_DIRECTORY")?);
                file(folder.join(name))?
            }
        };
        match text.trim_end_matches(['\n', '\r']) {
            "" => Err(SecretError::Empty),
            text => Ok(Secret::new(text)),
        }
    }
}

fn variable(name: &str) -> Result<String, SecretError> {
    std::env::var(name).map_err(|source| SecretError::Env {
        name: name.to_owned(),
        source,
    })
}

fn file(path: PathBuf) -> Result<String, SecretError> {
    std::fs::read_to_string(&path).map_err(|source| SecretError::File { path, source })
}

/// Takes secrets out of texts, in the forms in which they travel.
#[derive(Debug, Default, Clone)]
pub struct Redactor {
    needles: Vec<Secret>,
}

/// Shorter ones would tear holes into every text and are not secret anyhow.
const SHORTEST: usize = 4;

/// Where a message breaks off a text that is too long for it.
const CUT: char = '…';

impl Redactor {
    /// Learns a secret, and what base64 makes of it wherever it stands in a longer text.
    pub fn learn(&mut self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        let forms = [secret.to_owned()].into_iter().chain(base64_cores(secret));
        for form in forms {
            let form = Secret::new(&form);
            if !self.needles.contains(&form) {
                self.needles.push(form);
            }
        }
    }

    /// Learns every text and number in a value.
    pub fn learn_value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.learn(text),
            Value::Number(number) => self.learn(&number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.learn_value(item)),
            Value::Object(entries) => entries.values().for_each(|item| self.learn_value(item)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// The text without them.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut redacted = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            // A secret may itself hold what elsewhere is an escape, so both readings are tried.
            let lengths = self.needles.iter().flat_map(|needle| {
                [as_it_is, unescaped].map(|same| found(rest, needle.expose(), same))
            });
            if let Some(length) = lengths.flatten().max() {
                redacted.push_str("[secret]");
                rest = &rest[length..];
            } else {
                redacted.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        redacted
    }
}

/// The characters of base64 that hold nothing but bits of the secret, for each place where it may
/// begin among the three bytes that make four characters.
fn base64_cores(secret: &str) -> impl Iterator<Item = String> {
    [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD]
        .into_iter()
        .flat_map(move |alphabet| {
            (0..3).map(move |before| {
                let bytes = [&[0; 3][..before], secret.as_bytes()].concat();
                let first = (8 * before).div_ceil(6);
                let end = 8 * bytes.len() / 6;
                alphabet.encode(bytes)[first..end].to_owned()
            })
        })
}

/// How much of the beginning of `text` is the secret: as it is, percent-encoded or JSON-escaped,
/// any of its characters or all, white space as a message shows it, or broken off.
fn found(text: &str, secret: &str, same: Same) -> Option<usize> {
    let (mut at, mut known) = (0, 0);
    while known < secret.len() {
        let rest = &text[at..];
        let Some((length, bytes)) = same(rest.as_bytes(), &secret.as_bytes()[known..]) else {
            // An escape may be broken off in the middle.
            let cut = rest.find(CUT)?;
            let is_cut = cut == 0 || (cut < 6 && rest.starts_with(['%', '\\']));
            return (is_cut && known >= SHORTEST).then_some(at + cut);
        };
        at += length;
        known += bytes;
        // The rest of a character that stands as it is.
        if !text.is_char_boundary(at) {
            let more = (at..=text.len()).find(|end| text.is_char_boundary(*end))?;
            let tail = &text.as_bytes()[at..more];
            if !secret.as_bytes()[known..].starts_with(tail) {
                return None;
            }
            known += tail.len();
            at = more;
        }
    }
    Some(at)
}

/// How many bytes at the beginning of the text stand for how many of the secret.
type Same = fn(&[u8], &[u8]) -> Option<(usize, usize)>;

fn as_it_is(text: &[u8], secret: &[u8]) -> Option<(usize, usize)> {
    if text.first()? == secret.first()? && !text[0].is_ascii_whitespace() {
        return Some((1, 1));
    }
    unescaped(text, secret)
}

fn unescaped(text: &[u8], secret: &[u8]) -> Option<(usize, usize)> {
    let first = *secret.first()?;
    let spaces = |bytes: &[u8]| bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let hex = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    match text {
        [byte, ..] if byte.is_ascii_whitespace() && first.is_ascii_whitespace() => {
            Some((spaces(text), spaces(secret)))
        }
        [b'%', a, b, ..] if hex(&[*a, *b]) == Some(first.into()) => Some((3, 1)),
        [b'\\', b'\\', ..] if first == b'\\' => Some((2, 1)),
        [b'\\', ..] if first != b'\\' => {
            // JSON inside JSON has more than one.
            let slashes = text.iter().take_while(|byte| **byte == b'\\').count();
            let (letter, length) = match text[slashes..] {
                [b'u', a, b, c, d, ..] => (char::from_u32(hex(&[a, b, c, d])?)?, slashes + 5),
                [escaped, ..] => (char::from(unescape(escaped)), slashes + 1),
                [] => return None,
            };
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).as_bytes();
            secret.starts_with(bytes).then_some((length, bytes.len()))
        }
        [b'+', ..] if first == b' ' => Some((1, 1)),
        [byte, ..] if *byte == first => Some((1, 1)),
        _ => None,
    }
}

/// What JSON means by a backslash and this.
fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redact(secret: &str, text: &str) -> String {
        let mut redactor = Redactor::default();
        redactor.learn(secret);
        redactor.redact(text)
    }

    #[test]
    fn no_form_of_a_secret_gets_out() {
        let text = "a pa ss\"word/1 b pa%20ss%22word%2F1 c pa ss\\\"word/1 d pa+ss%22word%2f1 e";
        assert_eq!(
            redact("pa ss\"word/1", text),
            "a [secret] b [secret] c [secret] d [secret] e"
        );
        assert_eq!(
            redact("pa  ss", "pa ss, pa\\u0020 ss"),
            "[secret], [secret]"
        );
        assert_eq!(
            redact("größe", "größe gr\\u00f6\\\\u00dfe gr%c3%b6ße"),
            "[secret] [secret] [secret]"
        );
        for own in [
            "a%b\\c",
            "a%25b\\\\",
            "%%%%",
            "\\\\\\\\",
            "++++",
            "a%2",
            "a\\u00",
        ] {
            assert_eq!(
                redact(own, own),
                if own.len() < 4 { own } else { "[secret]" }
            );
            let json = serde_json::Value::from(own).to_string();
            let percent: String = own
                .bytes()
                .map(percent_encoding::percent_encode_byte)
                .collect();
            assert_eq!(redact(own, &json).contains(&json), own.len() < 4);
            assert_eq!(redact(own, &percent).contains(&percent), own.len() < 4);
        }
        assert_eq!(redact("größe", "grö groß grüße"), "grö groß grüße");
        assert_eq!(redact("abc", "abc is too short"), "abc is too short");
        assert_eq!(format!("{:?}", Secret::new("hush")), "[secret]");
    }

    #[test]
    fn what_is_broken_off_is_hidden_too() {
        assert_eq!(redact("pass/word", "it is pass/wo…"), "it is [secret]…");
        assert_eq!(redact("pass/word", "it is pass%2…"), "it is [secret]…");
        assert_eq!(redact("pass/word", "it is pas…"), "it is pas…");
        assert_eq!(redact("pass/word", "it is passing…"), "it is passing…");
    }

    proptest! {
        #[test]
        fn a_secret_is_found_wherever_it_stands(
            before in ".{0,9}", secret in "\\PC{4,12}", after in ".{0,9}",
        ) {
            let mut redactor = Redactor::default();
            redactor.learn(&secret);
            let text = format!("{before}{secret}{after}");
            prop_assert!(!redactor.redact(&text).contains(&secret) || "[secret]".contains(&secret));
            let encoded = BASE64_STANDARD_NO_PAD.encode(&text);
            let core = base64_cores(&secret).nth(before.len() % 3).unwrap();
            prop_assert!(encoded.contains(&core));
            prop_assert!(!redactor.redact(&encoded).contains(&core));
        }
    }
}
