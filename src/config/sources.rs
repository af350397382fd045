//! Reads the configuration file and the spec files it names: the only I/O before the plan.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Overrides, Settings};
use crate::text::{At, Notes, Problem, Table, parse};

/// No file of ours comes near; a larger one is something else, given by mistake.
const LARGEST_FILE: u64 = 4 << 20;

/// A file of `config/specs/backendai`, by its name.
macro_rules! built_in {
    ($name:literal) => {
        (
            concat!("builtin:backendai/", $name, ".toml"),
            include_str!(concat!("../../config/specs/backendai/", $name, ".toml")),
        )
    };
}

/// The specs that come with the binary, by file name.
const BUILT_IN: [(&str, &str); 10] = [
    built_in!("session"),
    built_in!("cluster"),
    built_in!("session-failure"),
    built_in!("model-service"),
    built_in!("login"),
    built_in!("lasting"),
    built_in!("vfolder"),
    built_in!("invitation"),
    built_in!("group"),
    built_in!("mount"),
];

/// One parsed spec file.
#[derive(Debug)]
pub struct Source {
    /// Its content.
    pub document: Table,
    /// Whether it came with the binary: a user's spec of the same name replaces it.
    pub built_in: bool,
}

/// Everything that a plan is made from.
#[derive(Debug)]
pub struct Sources {
    /// What the configuration file says.
    pub settings: Settings,
    /// All spec files.
    pub specs: Vec<Source>,
    /// What is wrong so far.
    pub notes: Notes,
}

impl Sources {
    /// Reads `path` and the spec files it names.
    ///
    /// # Errors
    /// All problems, if the configuration file itself cannot be read or is no TOML. Anything
    /// less goes to the notes.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, Vec<Problem>> {
        let name = path.display().to_string();
        let text = read(path).map_err(|problem| vec![problem])?;
        let mut sources = Self::from_text(&name, &text, overrides)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let state_dir = folder.join(&sources.settings.state_dir);
        sources.settings.state_dir = state_dir;
        for (pattern, at) in sources.settings.specs.clone() {
            match files(folder, &pattern) {
                Ok(files) => files.iter().for_each(|file| sources.add_file(file)),
                Err(what) => {
                    let help =
                        "write a path relative to this file; *, ? and […] work as in a shell";
                    let problem = Problem::error(&at, "tester.specs", what, help);
                    sources.notes.problems.push(problem);
                }
            }
        }
        Ok(sources)
    }

    /// The same from a text, with the built-in specs only.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_text(name: &str, text: &str, overrides: &Overrides) -> Result<Self, Vec<Problem>> {
        let document = parse(name, text)?;
        let mut notes = Notes::default();
        let settings = Settings::read(&document, overrides, &mut notes);
        let mut sources = Self {
            settings,
            specs: Vec::new(),
            notes,
        };
        for (name, text) in BUILT_IN {
            sources.add(name, text, true);
        }
        Ok(sources)
    }

    /// Adds the specs in a text.
    pub fn add(&mut self, name: &str, text: &str, built_in: bool) {
        match parse(name, text) {
            Ok(document) => self.specs.push(Source { document, built_in }),
            Err(problems) => self.notes.problems.extend(problems),
        }
    }

    fn add_file(&mut self, path: &Path) {
        match read(path) {
            Ok(text) => self.add(&path.display().to_string(), &text, false),
            Err(problem) => self.notes.problems.push(problem),
        }
    }
}

/// The files that a pattern means, sorted. None at all is a mistake.
fn files(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    // The folder is the user's own and may hold characters that mean something in a pattern.
    let folder = glob::Pattern::escape(&folder.display().to_string());
    let full = Path::new(&folder).join(pattern).display().to_string();
    let paths =
        glob::glob(&full).map_err(|error| format!("`{pattern}` is not a pattern: {error}"))?;
    let mut files = Vec::new();
    for path in paths {
        files.push(path.map_err(|error| format!("cannot read {}", error.path().display()))?);
    }
    if files.is_empty() {
        return Err(format!("`{pattern}` names no file"));
    }
    Ok(files)
}

fn read(path: &Path) -> Result<String, Problem> {
    let name = path.display().to_string();
    let problem = |what: String, help: &str| Problem::error(&At::file(&name), "", what, help);
    let unreadable = |error: std::io::Error| {
        let what = format!("cannot be read: {error}");
        problem(
            what,
            "check the path and its permissions; --config.file names the configuration",
        )
    };
    // Asked before it is opened: that alone would wait for ever for somebody to write to a pipe.
    let kind = std::fs::metadata(path).map_err(unreadable)?;
    if kind.is_dir() {
        return Err(problem("is a directory".into(), "name a file"));
    }
    if !kind.is_file() {
        return Err(problem("is a pipe or a device".into(), "name a file"));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(problem(
            "is larger than 4 MiB".into(),
            "split it, or name the right file",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        let at = At {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: 1,
            ..At::file(&name)
        };
        Problem::error(&at, "", "is not UTF-8 text", "save the file as UTF-8")
    })
}
