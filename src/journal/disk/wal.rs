//! Reads SQLite's write-ahead log before SQLite does, and says whether it is damaged.
//!
//! SQLite takes the first frame whose sum is wrong for the end of the log and drops the rest without
//! a word: right after a crash, when that is a commit that never ended, and wrong for an undo that
//! was on disk. A commit begins only when the one before it is synced, so what a crash leaves behind
//! the last good commit is one commit at most: each page once, and nothing after its end. More than
//! that is damage. (The format: sqlite.org/fileformat2.html.)
//!
//! What the log alone cannot tell: damage inside the very last commit looks like a commit that never
//! ended, and a log that was cut off at its end like one that never was longer. `mark` tells that.

use std::collections::BTreeSet;
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Whether the log beside a journal is damaged, and where.
pub(super) fn damage(path: &Path) -> std::io::Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(find(&bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn find(bytes: &[u8]) -> Option<String> {
    if bytes.len() <= HEADER {
        // The header is synced before anything follows it.
        return None;
    }
    let (header, frames) = bytes.split_at(HEADER);
    let Some(mut sum) = Sum::of_header(header) else {
        return Some("the header of its log is unreadable".into());
    };
    let page = match word(header, 8) {
        1 => 65_536,
        size => usize::try_from(size).unwrap_or_default(),
    };
    let salts = &header[16..24];
    let mut good = true;
    let mut since_commit = BTreeSet::new();
    let mut ended = false;
    for (nth, frame) in frames.chunks_exact(FRAME_HEADER + page).enumerate() {
        good = good && sum.matches(frame, salts);
        if &frame[8..16] != salts {
            // Left over from before the log was begun anew, or overwritten.
            continue;
        }
        let is_second_commit = !since_commit.insert(word(frame, 0)) || ended;
        if !good && is_second_commit {
            return Some(format!(
                "its log is unreadable before frame {nth}, and goes on"
            ));
        }
        let is_commit = word(frame, 4) != 0;
        if good && is_commit {
            since_commit.clear();
        }
        ended = !good && is_commit;
    }
    None
}

/// The running sum over header and frames.
struct Sum {
    big_endian: bool,
    a: u32,
    b: u32,
}

impl Sum {
    fn of_header(header: &[u8]) -> Option<Self> {
        let big_endian = match word(header, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let mut sum = Self {
            big_endian,
            a: 0,
            b: 0,
        };
        sum.add(&header[..24]);
        (sum.a == word(header, 24) && sum.b == word(header, 28)).then_some(sum)
    }

    fn matches(&mut self, frame: &[u8], salts: &[u8]) -> bool {
        self.add(&frame[..8]);
        self.add(&frame[FRAME_HEADER..]);
        &frame[8..16] == salts && self.a == word(frame, 16) && self.b == word(frame, 20)
    }

    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks_exact(8) {
            let part = |at: usize| {
                let part = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
                if self.big_endian {
                    u32::from_be_bytes(part)
                } else {
                    u32::from_le_bytes(part)
                }
            };
            let (first, second) = (part(0), part(4));
            self.a = self.a.wrapping_add(first).wrapping_add(self.b);
            self.b = self.b.wrapping_add(second).wrapping_add(self.a);
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
