//! What a session's home directory shows: what its bootstrap script makes, and the folders mounted
//! in it. Nothing else is ever there, since nothing really runs.

use std::io::Write as _;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State as Here};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use serde_json::{Value, json};

use super::Session;
use crate::demo::backendai::gate::Caller;
use crate::demo::backendai::hall::{Hall, State};
use crate::demo::backendai::refusal::{Refusal, no_session};
use crate::demo::backendai::told;

const HOME: &str = "/home/work";
const BOUNDARY: &str = "a-part-of-the-stand-in";

type Hallway = Here<Arc<Hall>>;
type Answer = Result<Response, Refusal>;

/// Something in a directory: the name, and the content of a file.
type Entry = (String, Option<Bytes>);

/// A path in the session as one below its home.
fn below_home(path: &str) -> String {
    let path = path.strip_prefix(HOME).unwrap_or(path);
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.collect::<Vec<_>>().join("/")
}

/// What a bootstrap script makes: it may be given in base64.
fn made_by(script: &str) -> Vec<Entry> {
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(script.trim())
        .ok();
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let script = decoded.unwrap_or_else(|| script.to_owned());
    let mut made = Vec::new();
    for command in script.split(['\n', ';']) {
        let mut words = command.split_whitespace();
        let content = match words.next() {
            Some("touch") => Some(Bytes::new()),
            Some("mkdir") => None,
            _ => continue,
        };
        let names = words.filter(|word| !word.starts_with('-'));
        made.extend(names.map(|name| (below_home(name), content.clone())));
    }
    made
}

impl State {
    /// What is in a directory of a session; `None` if there is no such directory.
    fn directory(&self, session: &Session, path: &str) -> Option<Vec<Entry>> {
        let path = below_home(path);
        if path.is_empty() {
            let mounted = session
                .mounts
                .iter()
                .map(|mount| (below_home(&mount.path), None));
            let mut all = made_by(&session.bootstrap);
            all.extend(mounted.filter(|(name, _)| !name.contains('/')));
            return Some(all);
        }
        let (tree, rest) = self.mounted(session, &path)?;
        let listed = tree.list(rest).ok()?;
        let entry = |(name, node): (&str, &super::super::folder::Node)| {
            (name.to_owned(), node.content.clone())
        };
        Some(listed.into_iter().map(entry).collect())
    }

    /// The folder in which a path below the home is, and the rest of the path.
    fn mounted<'a>(
        &self,
        session: &Session,
        path: &'a str,
    ) -> Option<(&super::super::folder::Tree, &'a str)> {
        session.mounts.iter().find_map(|mount| {
            let rest = path.strip_prefix(&below_home(&mount.path))?;
            let tree = self.folders.get(&mount.folder)?.tree.as_ref()?;
            let is_inside = rest.is_empty() || rest.starts_with('/');
            is_inside.then(|| (tree, rest.trim_start_matches('/')))
        })
    }

    fn file(&self, session: &Session, path: &str) -> Option<Bytes> {
        let path = below_home(path);
        let made = made_by(&session.bootstrap)
            .into_iter()
            .find(|(name, _)| *name == path);
        if let Some((_, content)) = made {
            return content;
        }
        let (tree, rest) = self.mounted(session, &path)?;
        tree.get(rest)?.content.clone()
    }
}

/// The list is a text, as the real one's is.
pub(super) async fn files(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    Query(query): Query<std::collections::HashMap<String, String>>,
) -> Answer {
    let path = query.get("path").map_or(".", String::as_str);
    let found = hall.look(|state| {
        let id = state.running_session(&caller, &key)?;
        let session = state.sessions.get(&id).ok_or_else(|| no_session(&id))?;
        Ok::<_, Refusal>(state.directory(session, path))
    })?;
    let shown = |(name, content): Entry| {
        let (mode, size) = match content {
            Some(content) => ("-rw-r--r--", content.len()),
            None => ("drwxr-xr-x", 4096),
        };
        json!({ "filename": name, "mode": mode, "size": size, "ctime": 0, "mtime": 0, "atime": 0 })
    };
    let answer = match found {
        Some(entries) => {
            let files: Value = entries.into_iter().map(shown).collect();
            let abspath = format!("{HOME}/{}", below_home(path));
            json!({ "files": files.to_string(), "errors": "", "abspath": abspath })
        }
        None => {
            json!({ "files": "", "errors": format!("{path}: no such directory"), "abspath": "" })
        }
    };
    Ok(told(StatusCode::OK, &answer))
}

/// Each file is an archive of its own in a part of the answer.
pub(super) async fn download(
    Here(hall): Hallway,
    Path(key): Path<String>,
    caller: Caller,
    Query(query): Query<Vec<(String, String)>>,
) -> Answer {
    let wanted = query
        .iter()
        .filter(|(key, _)| key == "files")
        .map(|(_, path)| path);
    let parts = hall.look(|state| {
        let id = state.running_session(&caller, &key)?;
        let session = state.sessions.get(&id).ok_or_else(|| no_session(&id))?;
        let part = |path: &String| {
            state
                .file(session, path)
                .map(|content| archive(path, &content))
        };
        Ok::<_, Refusal>(
            wanted
                .map(part)
                .map(Option::unwrap_or_default)
                .collect::<Vec<_>>(),
        )
    })?;
    let mut body = Vec::new();
    for part in parts {
        let length = part.len();
        let head = format!(
            "--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\n\
             Content-Encoding: identity\r\nContent-Length: {length}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    let kind = format!("multipart/mixed; boundary={BOUNDARY}");
    Ok(([(CONTENT_TYPE, kind)], body).into_response())
}

/// A tar archive of one file.
fn archive(path: &str, content: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 512;
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut head = vec![0_u8; BLOCK];
    let size = format!("{:011o}", content.len());
    for (at, text) in [
        (0, name.get(..99).unwrap_or(name)),
        (100, "0000644"),
        (108, "0000000"),
        (116, "0000000"),
        (124, &size),
        (136, "00000000000"),
        // The sum is taken over blanks in its own place.
        (148, "        "),
        (156, "0"),
        (257, "ustar"),
        (263, "00"),
    ] {
        // Cannot fail: every field ends inside the block.
        let _ = head
            .get_mut(at..)
            .unwrap_or_default()
            .write(text.as_bytes());
    }
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    let _ = head
        .get_mut(148..)
        .unwrap_or_default()
        .write(format!("{sum:06o}\0").as_bytes());
    head.extend_from_slice(content);
    head.resize(head.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_scripts_make_files() {
        let plain = made_by("#!/bin/sh\ntouch test-abc /home/work/b; mkdir -p c\nls");
        let names: Vec<_> = plain
            .iter()
            .map(|(name, file)| (&**name, file.is_some()))
            .collect();
        assert_eq!(names, [("test-abc", true), ("b", true), ("c", false)]);
        assert_eq!(
            made_by("dG91Y2ggdGVzdC1hYmM="),
            [("test-abc".to_owned(), Some(Bytes::new()))]
        );
    }

    #[test]
    fn an_archive_holds_its_file() {
        let archive = archive("a/b.txt", b"hello");
        assert_eq!(archive.len(), 4 * 512);
        assert_eq!(&archive[..6], b"b.txt\0");
        assert_eq!(&archive[124..135], b"00000000005");
        assert_eq!(&archive[512..518], b"hello\0");
        let blank = archive[..512]
            .iter()
            .enumerate()
            .map(|(at, byte)| match at {
                148..=155 => 32,
                _ => u32::from(*byte),
            });
        let told = std::str::from_utf8(&archive[148..154]).unwrap();
        assert_eq!(u32::from_str_radix(told, 8), Ok(blank.sum()));
    }
}
