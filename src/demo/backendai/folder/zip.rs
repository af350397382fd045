//! A directory as one archive, in the zip format and not compressed.

use axum::body::Bytes;
use flate2::Crc;

/// A file's name in the archive, and what it holds.
pub(super) type Entry<'a> = (&'a str, &'a Bytes);

/// What both places where an archive tells of a file have in common.
fn described((name, content): Entry<'_>) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(content);
    let mut told = Vec::new();
    // Version 2.0, no flags, not compressed, the first moment that the format knows.
    for number in [20, 0, 0, 0, 0x21] {
        told.extend(u16::to_le_bytes(number));
    }
    let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
    for number in [crc.sum(), size, size] {
        told.extend(number.to_le_bytes());
    }
    // No extra field.
    for length in [name.len(), 0] {
        told.extend(u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
    }
    told
}

/// The archive of these files.
pub(super) fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let (mut files, mut directory) = (Vec::new(), Vec::new());
    let offset = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    for entry in entries {
        let (name, content) = *entry;
        let at = offset(&files);
        let told = described(*entry);
        files.extend(b"PK\x03\x04");
        files.extend(&told);
        files.extend(name.as_bytes());
        files.extend(&content[..]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(told);
        // No comment, on the first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(at);
        directory.extend(name.as_bytes());
    }
    let count = u16::try_from(entries.len())
        .unwrap_or(u16::MAX)
        .to_le_bytes();
    let at = offset(&files);
    let length = offset(&directory);
    files.extend(directory);
    files.extend(b"PK\x05\x06\x00\x00\x00\x00");
    files.extend([count, count].concat());
    files.extend([length, at].concat());
    files.extend([0; 2]);
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Laid out by hand, as the format has it.
    #[test]
    fn an_archive_is_one_that_others_read() {
        let content = Bytes::from("inner");
        let archive = archive(&[("x/inner.txt", &content)]);
        let expected: [&[u8]; 9] = [
            b"PK\x03\x04\x14\x00\x00\x00\x00\x00\x00\x00\x21\x00",
            b"\xc9\x0b1m\x05\x00\x00\x00\x05\x00\x00\x00\x0b\x00\x00\x00",
            b"x/inner.txt",
            b"inner",
            b"PK\x01\x02\x14\x00\x14\x00\x00\x00\x00\x00\x00\x00\x21\x00",
            b"\xc9\x0b1m\x05\x00\x00\x00\x05\x00\x00\x00\x0b\x00\x00\x00",
            b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
            b"x/inner.txt",
            b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00\x39\x00\x00\x00\x2e\x00\x00\x00\x00\x00",
        ];
        assert_eq!(archive, expected.concat());
    }
}
