//! Reads the configuration file and the spec files it names: the only I/O before the plan.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::shelf::{Bare, File, Folder, Shelf, read};
use super::{Overrides, Settings};
use crate::secret::SecretSource;
use crate::text::{NamedFile, Notes, Outside, Problem, Table, parse};

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

/// The texts of a configuration: what it says itself, and its spec files. Targets files are not
/// among them, so that a change of those can be taken on alone.
#[derive(Debug, Serialize, Deserialize)]
pub struct Texts {
    #[serde(skip)]
    path: PathBuf,
    config: String,
    specs: Vec<(String, String)>,
    /// What is wrong with the spec files' paths.
    #[serde(skip)]
    problems: Vec<Problem>,
}

impl Texts {
    /// Reads `path` and the spec files it names.
    ///
    /// # Errors
    /// All problems, if the configuration file itself cannot be read or is no TOML.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let name = path.display().to_string();
        let config = read(path).map_err(|problem| vec![problem])?;
        let document = parse(&name, &config)?;
        // Its problems are noted when it is read in earnest.
        let notes = &mut Notes::default();
        let settings = Settings::read(&document, &Overrides::default(), &Bare, notes);
        let mut texts = Self {
            path: path.to_owned(),
            config,
            specs: Vec::new(),
            problems: Vec::new(),
        };
        for (pattern, at) in &settings.specs {
            let found = match Folder::of(path).files(pattern) {
                Ok(found) if found.is_empty() => Err(format!("`{pattern}` names no file")),
                found => found,
            };
            match found {
                Ok(files) => files.into_iter().for_each(|file| texts.add(file)),
                Err(what) => {
                    let help =
                        "write a path relative to this file; *, ? and […] work as in a shell";
                    let problem = Problem::error(at, "tester.specs", what, help);
                    texts.problems.push(problem);
                }
            }
        }
        Ok(texts)
    }

    fn add(&mut self, file: File) {
        match file.text {
            Ok(text) => self.specs.push((file.name, text)),
            Err(problem) => self.problems.push(problem),
        }
    }

    /// The same texts as those of this file, when they were kept without its path.
    #[must_use]
    pub fn at(self, path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            ..self
        }
    }

    /// The configuration file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the configuration's files are.
    #[must_use]
    pub fn folder(&self) -> Folder {
        Folder::of(&self.path)
    }
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
    /// Reads `path` and the files it names.
    ///
    /// # Errors
    /// All problems, if the configuration file itself cannot be read or is no TOML. Anything
    /// less goes to the notes.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, Vec<Problem>> {
        Self::of(&Texts::read(path)?, overrides)
    }

    /// What these texts say, with the targets files as they are now.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn of(texts: &Texts, overrides: &Overrides) -> Result<Self, Vec<Problem>> {
        Self::on(texts, overrides, &texts.folder())
    }

    /// What these texts say, with the targets files of a shelf.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn on(
        texts: &Texts,
        overrides: &Overrides,
        shelf: &dyn Shelf,
    ) -> Result<Self, Vec<Problem>> {
        let name = texts.path.display().to_string();
        let folder = texts.folder();
        let mut sources = Self::from_texts(&name, &texts.config, overrides, shelf)?;
        let state_dir = folder.path(&sources.settings.state_dir);
        sources.settings.state_dir = state_dir;
        sources
            .notes
            .problems
            .extend(texts.problems.iter().cloned());
        for (name, text) in &texts.specs {
            sources.add(name, text, false);
        }
        Ok(sources)
    }

    /// The same from a text, with the built-in specs only.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_text(name: &str, text: &str, overrides: &Overrides) -> Result<Self, Vec<Problem>> {
        Self::from_texts(name, text, overrides, &Bare)
    }

    /// The same from a text, with targets files from a shelf.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_texts(
        name: &str,
        text: &str,
        overrides: &Overrides,
        shelf: &dyn Shelf,
    ) -> Result<Self, Vec<Problem>> {
        let document = parse(name, text)?;
        let mut notes = Notes::default();
        let settings = Settings::read(&document, overrides, shelf, &mut notes);
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
}

/// A warning for each file, variable or credential that cannot be read now: whoever runs later may
/// find it.
#[must_use]
pub fn unreadable(files: &[NamedFile]) -> Vec<Problem> {
    let warning = |file: &NamedFile| {
        let (what, help) = missing(&file.what)?;
        Some(Problem::warning(&file.at, &file.key, what, help))
    };
    files.iter().filter_map(warning).collect()
}

/// What is wrong with it, and the remedy.
fn missing(what: &Outside) -> Option<(String, &'static str)> {
    match what {
        Outside::File(path) => {
            let error = std::fs::File::open(path).err()?;
            let help = "check the path, which is relative to this file, and its permissions";
            Some((format!("cannot read {}: {error}", path.display()), help))
        }
        Outside::Variable(name) => {
            let what = format!("the environment variable {name} is not set");
            let help = "set it for testerd, in its unit by Environment= or EnvironmentFile=";
            std::env::var_os(name).is_none().then_some((what, help))
        }
        Outside::Credential(name) => {
            let source = SecretSource::Credential(name.clone());
            let error = source.read().err()?;
            let help = "write LoadCredential= into the unit, or check it where it is set";
            Some((crate::outcome::chain(&error), help))
        }
    }
}
