//! The grammar of RFC 8259, from bytes to a tree.

use serde_json::{Map, Value};

use super::Unread;
use super::budget::Budget;
use super::exact::{NUMBER, number};

/// Reads all of a text.
pub(super) fn parse(text: &[u8], deepest: usize, budget: &mut Budget) -> Result<Value, Unread> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        deepest,
        budget,
    };
    if text.starts_with(b"\xef\xbb\xbf") {
        parser.at = 3;
    }
    parser.blanks();
    if parser.at == text.len() {
        return Err(parser.wrong("there is nothing"));
    }
    let value = parser.value()?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.wrong("there is something after its end"));
    }
    Ok(value)
}

struct Parser<'a, 'b> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    deepest: usize,
    budget: &'b mut Budget,
}

impl Parser<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// What is wrong here.
    fn wrong(&self, what: &'static str) -> Unread {
        let before = &self.text[..self.at.min(self.text.len())];
        let line = before.split(|byte| *byte == b'\n').count();
        let start = before.iter().rposition(|byte| *byte == b'\n');
        let start = start.map_or(0, |end| end + 1);
        let before = &before[start..];
        let before = before.strip_prefix(b"\xef\xbb\xbf").unwrap_or(before);
        // Counted, not decoded: what is no text may become three times as long.
        let letters = before
            .utf8_chunks()
            .map(|chunk| chunk.valid().chars().count() + usize::from(!chunk.invalid().is_empty()));
        let column = letters.sum::<usize>() + 1;
        Unread::Wrong { what, line, column }
    }

    /// What is wrong where something else should stand.
    fn expected<T>(&self, what: &'static str) -> Result<T, Unread> {
        Err(match self.peek() {
            Some(_) => self.wrong(what),
            None => self.wrong("it ends too early"),
        })
    }

    fn value(&mut self) -> Result<Value, Unread> {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true", Value::Bool(true)),
            Some(b'f') => self.word(b"false", Value::Bool(false)),
            Some(b'n') => self.word(b"null", Value::Null),
            _ => self.expected("expected value"),
        }
    }

    fn nested(&mut self, inside: fn(&mut Self) -> Result<Value, Unread>) -> Result<Value, Unread> {
        if self.depth == self.deepest {
            return Err(Unread::Deep);
        }
        self.depth += 1;
        self.at += 1;
        let value = inside(self);
        self.depth -= 1;
        value
    }

    fn word(&mut self, word: &[u8], value: Value) -> Result<Value, Unread> {
        for byte in word {
            if !self.eat(*byte) {
                return self.expected("expected `true`, `false` or `null`");
            }
        }
        Ok(value)
    }

    fn array(&mut self) -> Result<Value, Unread> {
        let mut items = Vec::new();
        self.blanks();
        if self.eat(b']') {
            return Ok(items.into());
        }
        loop {
            self.blanks();
            self.budget.item(&items)?;
            items.push(self.value()?);
            self.blanks();
            if self.eat(b']') {
                return Ok(items.into());
            }
            if !self.eat(b',') {
                return self.expected("expected `,` or `]`");
            }
        }
    }

    fn object(&mut self) -> Result<Value, Unread> {
        let mut entries = Map::new();
        self.blanks();
        if self.eat(b'}') {
            return Ok(entries.into());
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return self.expected("expected a key in quotes");
            }
            let begun = self.at;
            let key = self.string()?;
            if key == NUMBER {
                // To everybody who reads this tree again it would be a number.
                self.at = begun;
                return Err(self.wrong("the key is a reserved one"));
            }
            self.blanks();
            if !self.eat(b':') {
                return self.expected("expected `:`");
            }
            self.blanks();
            let value = self.value()?;
            self.budget.entry(&entries)?;
            entries.insert(key, value);
            self.blanks();
            if self.eat(b'}') {
                return Ok(entries.into());
            }
            if !self.eat(b',') {
                return self.expected("expected `,` or `}`");
            }
        }
    }

    fn number(&mut self) -> Result<Value, Unread> {
        let begun = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _ = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.wrong("a number begins with 0"));
        }
        let text = &self.text[begun..self.at];
        self.budget.text(text.len())?;
        // Only these bytes were let through.
        Ok(number(String::from_utf8_lossy(text).into_owned()))
    }

    fn digits(&mut self) -> Result<(), Unread> {
        let begun = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if begun == self.at {
            return self.expected("expected a digit");
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String, Unread> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let begun = self.at;
            let rest = &self.text[begun..];
            let ends = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < b' ';
            let plain = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
            self.at += plain.len();
            let plain = std::str::from_utf8(plain).map_err(|error| {
                self.at = begun + error.valid_up_to();
                self.wrong("a text is not UTF-8")
            })?;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    if text.is_empty() {
                        // The most, without escapes: copied once.
                        self.budget.text(plain.len())?;
                        return Ok(plain.to_owned());
                    }
                    text.push_str(plain);
                    self.budget.text(text.capacity())?;
                    return Ok(text);
                }
                Some(b'\\') => {
                    text.push_str(plain);
                    self.at += 1;
                    text.push(self.escape()?);
                }
                Some(_) => return Err(self.wrong("a control character stands in a text")),
                None => return self.expected("a text has no end"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Unread> {
        let escaped = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return self.expected("an escape is none"),
        };
        self.at += 1;
        Ok(escaped)
    }

    /// The character of `\uXXXX`, or of two of them that belong together.
    fn unicode(&mut self) -> Result<char, Unread> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) || !self.text[self.at..].starts_with(b"\\u") {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after_first = self.at;
        self.at += 2;
        let second = self.hex()?;
        if (0xdc00..0xe000).contains(&second) {
            let both = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok(char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        // It stands for itself.
        self.at = after_first;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex(&mut self) -> Result<u32, Unread> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return self.expected("an escape is none");
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}
