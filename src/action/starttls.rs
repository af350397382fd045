//! How protocols that begin in the clear are asked to go on in TLS.

use super::wire::{bytes, hear, shown};
use crate::client::Dialog;
use crate::outcome::{Failure, Reason};
use crate::secret::Redactor;
use crate::spec::Context;

/// One protocol: what it is called, and what is said and heard until the handshake begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Protocol {
    pub(super) name: &'static str,
    turns: &'static [Turn],
}

#[derive(Debug, Clone, Copy)]
enum Turn {
    Say(&'static [u8]),
    /// Judges the next line that is an answer: `None` for one that is not.
    Hear(fn(&str) -> Option<bool>),
    Byte(u8),
}

use Turn::{Byte, Hear, Say};

/// Every protocol.
pub(super) const ALL: [Protocol; 5] = [
    Protocol {
        // RFC 3207
        name: "smtp",
        turns: &[
            Hear(|line| numbered(line, "220")),
            Say(b"EHLO testerd\r\n"),
            Hear(|line| numbered(line, "250")),
            Say(b"STARTTLS\r\n"),
            Hear(|line| numbered(line, "220")),
        ],
    },
    Protocol {
        // RFC 9051, 6.2.1
        name: "imap",
        turns: &[
            Hear(|line| worded(line, "* ", "OK")),
            Say(b"a1 STARTTLS\r\n"),
            Hear(|line| worded(line, "a1 ", "OK")),
        ],
    },
    Protocol {
        // RFC 2595, 4
        name: "pop3",
        turns: &[
            Hear(|line| worded(line, "", "+OK")),
            Say(b"STLS\r\n"),
            Hear(|line| worded(line, "", "+OK")),
        ],
    },
    Protocol {
        // RFC 4217, 4
        name: "ftp",
        turns: &[
            Hear(|line| numbered(line, "220")),
            Say(b"AUTH TLS\r\n"),
            Hear(|line| numbered(line, "234")),
        ],
    },
    Protocol {
        // The message SSLRequest: its length, and a number.
        name: "postgres",
        turns: &[Say(&[0, 0, 0, 8, 4, 210, 22, 47]), Byte(b'S')],
    },
];

/// The last line of an answer has a space after its number, the others a hyphen.
fn numbered(line: &str, wanted: &str) -> Option<bool> {
    let (number, rest) = line.split_at_checked(3)?;
    let is_last = rest.is_empty() || rest.starts_with(' ');
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    (is_last && is_number).then_some(number == wanted)
}

/// An answer begins with our tag, and then says how it went.
fn worded(line: &str, tag: &str, wanted: &str) -> Option<bool> {
    let said = line.strip_prefix(tag)?;
    let word = said.split(' ').next()?;
    Some(word.eq_ignore_ascii_case(wanted))
}

impl Protocol {
    /// The protocol of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|protocol| protocol.name == name)
    }

    /// Talks until the other side waits for a handshake.
    pub(super) async fn ask(
        &self,
        dialog: &mut Dialog,
        context: &mut Context<'_>,
    ) -> Result<(), Failure> {
        let hush = Redactor::default();
        let refused = |answer: String| {
            let what = format!("no starttls over {}: the answer is {answer}", self.name);
            Failure::new(Reason::Tls, what)
        };
        for turn in self.turns {
            match turn {
                Say(text) => dialog.send(text).await?,
                Hear(judge) => {
                    let awaited = format!("an answer of {}", self.name);
                    let is_it = |line: &str| judge(line).is_some();
                    let line = hear(dialog, context, &awaited, &hush, is_it).await?;
                    if judge(&line) != Some(true) {
                        return Err(refused(shown(&line, &hush)));
                    }
                }
                Byte(wanted) => {
                    let heard = bytes(dialog, context, 1).await?;
                    if heard != [*wanted] {
                        return Err(refused(shown(&String::from_utf8_lossy(&heard), &hush)));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_what_stands_before_them() {
        for (line, judged) in [
            ("220 mail.example ESMTP", Some(true)),
            ("220", Some(true)),
            ("554 go away", Some(false)),
            ("220-mail.example", None),
            ("2200 mail", None),
            ("hello", None),
            ("ü20 mail", None),
            ("22", None),
        ] {
            assert_eq!(numbered(line, "220"), judged, "{line}");
        }
        for (line, judged) in [
            ("a1 OK begin", Some(true)),
            ("a1 ok", Some(true)),
            ("a1 BAD", Some(false)),
            ("a1 OKAY", Some(false)),
            ("* CAPABILITY", None),
            ("a11 OK", None),
        ] {
            assert_eq!(worded(line, "a1 ", "OK"), judged, "{line}");
        }
    }
}
