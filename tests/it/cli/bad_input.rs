//! Files that are no configuration: a clear answer in bounded time, whatever they are.

use std::fmt::Write;
use std::path::Path;

use super::{Folder, check, ended, testerd};
use crate::tools::succeed;

/// What `check` says of a file that cannot be a configuration.
fn said(path: &Path) -> String {
    let output = ended(testerd(&["check"], Some(path)));
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    let beginning: String = err.chars().take(2000).collect();
    assert_eq!(
        output.status.code(),
        Some(3),
        "{}: {beginning}",
        path.display()
    );
    assert!(!err.contains("panicked"), "{beginning}");
    assert!(err.len() < 100_000, "{} bytes: {beginning}", err.len());
    err
}

/// What is said of a configuration with this content.
fn said_of(content: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("testerd.toml");
    std::fs::write(&path, content).unwrap();
    said(&path)
}

/// What is said of a spec file with this content.
fn said_of_specs(content: &str) -> String {
    let folder = Folder::new("http://127.0.0.1:9", content);
    let (out, err) = check(&["check"], &folder, 3);
    assert!(out.is_empty());
    assert!(err.len() < 100_000, "{} bytes", err.len());
    err
}

#[test]
fn what_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    assert!(said(folder.path()).contains("is a directory"));
    assert!(said(&folder.path().join("none.toml")).contains("No such file"));
    assert!(said(Path::new("/dev/zero")).contains("is a pipe or a device"));
    assert!(said(Path::new("/dev/null")).contains("is a pipe or a device"));
    let pipe = folder.path().join("pipe");
    succeed("mkfifo", &[pipe.to_str().unwrap()]);
    assert!(said(&pipe).contains("is a pipe or a device"));
}

#[test]
fn what_is_no_text() {
    assert!(said_of(&vec![b'a'; 5 << 20]).contains("is larger than 4 MiB"));
    let latin = said_of(b"[tester]\ninstance = \"k\xf6ln\"\n");
    assert!(
        latin.contains("testerd.toml:2:1: error: is not UTF-8 text"),
        "{latin}"
    );
    assert!(said_of(b"").contains("there is none, so nothing would run"));
    assert!(said_of(b"[tester]\0\n").contains("not valid TOML"));
    assert!(said_of(&[0; 1000]).contains("not valid TOML"));
    assert!(said_of(b"\xef\xbb\xbf").contains("there is none, so nothing would run"));
    said_of("= \"".repeat(100_000).as_bytes());
    said_of("[".repeat(1_000_000).as_bytes());
    said_of("a = {".repeat(100_000).as_bytes());
}

#[test]
fn what_is_nested_too_deep() {
    for depth in [17, 100, 1000, 100_000] {
        said_of(format!("a = {}1{}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
        said_of(format!("a = {}1{}", "{ a = ".repeat(depth), " }".repeat(depth)).as_bytes());
        said_of(format!("{}a = 1", "a.".repeat(depth)).as_bytes());
        said_of(format!("[{}a]", "a.".repeat(depth)).as_bytes());
        said_of(format!("[[{}a]]", "a.".repeat(depth)).as_bytes());
    }
    for depth in [17, 60, 100, 1000] {
        let mut text = "[[spec]]\nname = \"s\"\n".to_owned();
        for level in 1..=depth {
            let list = vec!["steps"; level].join(".");
            writeln!(text, "[[spec.{list}]]\nname = \"s{level}\"").unwrap();
        }
        said_of_specs(&text);
        let mut nested = "use = \"http\", path = \"/\"".to_owned();
        for level in 1..=depth {
            nested = format!("name = \"s{level}\", steps = [{{ {nested} }}]");
        }
        said_of_specs(&format!("spec = [{{ {nested} }}]"));
    }
}

#[test]
fn what_means_very_much() {
    // A large matrix of many long names: the series limit says no.
    let mut rows = String::new();
    for row in 0..20_000 {
        writeln!(rows, "[[spec.matrix]]\nvariant = \"v{row}\"").unwrap();
    }
    let steps = "[[spec.steps]]\nname = \"look\"\nuse = \"http\"\npath = \"/\"\n";
    let many = said_of_specs(&format!("[[spec]]\nname = \"s\"\n{rows}{steps}"));
    assert!(many.contains("metrics.series_limit"), "{many}");
}
