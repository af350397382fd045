//! Characters that cannot be seen, or change how others are seen, made visible: names and messages
//! come from files and targets, and people read them in terminals, logs and pages.

use std::borrow::Cow;
use std::fmt::Write;

/// Control characters, C1 among them, line separators, and what turns the direction of writing.
#[must_use]
pub fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
                | '\u{feff}'
        )
}

/// The text with each of them written as `\u202e`, which is good JSON too. Line ends and tabs stay.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |character: char| is_unseen(character) && !matches!(character, '\n' | '\t');
    if !text.contains(hidden) {
        return text.into();
    }
    let mut shown = String::new();
    for character in text.chars() {
        if hidden(character) {
            // A string takes all that is written.
            let _ = write!(shown, "\\u{:04x}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_shown() {
        for (text, shown) in [
            (
                "plain\ttext, ümlauts and 😀\n",
                "plain\ttext, ümlauts and 😀\n",
            ),
            ("a\u{1b}[31mred", "a\\u001b[31mred"),
            ("\u{9b}31m", "\\u009b31m"),
            ("\u{202e}txt.exe\u{2069}", "\\u202etxt.exe\\u2069"),
            ("\u{61c}\u{200e}\u{200f}", "\\u061c\\u200e\\u200f"),
            ("one\u{2028}two\rthree", "one\\u2028two\\u000dthree"),
            ("\0\u{7f}", "\\u0000\\u007f"),
        ] {
            assert_eq!(visible(text), shown);
            // In JSON it is the same character.
            let json = format!("\"{}\"", visible("\u{202e}\u{9b}"));
            let read: String = serde_json::from_str(&json).unwrap();
            assert_eq!(read, "\u{202e}\u{9b}");
        }
    }
}
