//! The command line: which command, on which file. How anything is done is said by the file.
//!
//! Flags are the dotted long ones of Prometheus exporters. Every command ends in an [`Exit`].

mod report;

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Parser, Subcommand};

use crate::config::{Keeping, Overrides, Sources, Texts, unreadable};
use crate::exporter::log;
use crate::exporter::report::Form;
use crate::plan::{self, Plan};
use crate::service::{self, Origin};
use crate::spec::{NamePattern, Selection, Target};
use crate::text::visible;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or all passed.
    Done,
    /// A probe failed.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The configuration or a spec is wrong.
    Config,
    /// Our own error, or nothing could be concluded.
    Ours,
    /// A second signal.
    SecondSignal,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Config => 3,
            Exit::Ours => 4,
            Exit::SecondSignal => 130,
        })
    }
}

/// Runs real user scenarios against a live cluster, again and again, and exports what it saw.
#[derive(Debug, Parser)]
#[command(name = "testerd", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What is logged: error, warn, info, debug or trace.
    #[arg(
        long = "log.level",
        global = true,
        default_value = "info",
        value_name = "LEVEL"
    )]
    log_level: String,
    /// How it is logged: logfmt or json.
    #[arg(
        long = "log.format",
        global = true,
        default_value = "logfmt",
        value_name = "FORMAT"
    )]
    log_format: log::Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the probes for ever and serve /metrics.
    Serve {
        #[command(flatten)]
        file: ConfigFile,
        /// Only check the configuration and exit, as `testerd check` does.
        #[arg(long = "config.check")]
        check: bool,
        /// Address to listen on, such as `:10061` for all; may be repeated.
        #[arg(long = "web.listen-address", value_name = "ADDRESS")]
        listen: Vec<String>,
    },
    /// Check configuration and specs, and say what they will cost.
    Check {
        #[command(flatten)]
        file: ConfigFile,
        /// Ask the targets too: what they are like, and which of the selected specs can run there.
        #[arg(long)]
        online: bool,
        /// Ask only this target, or all of this table's; may be repeated.
        #[arg(long = "target", requires = "online")]
        targets: Vec<String>,
    },
    /// List specs, and which probe runs them.
    List {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        filter: Filter,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run the selected specs once, bounded, and report.
    Run {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        filter: Filter,
        /// Print a JSON object for each finished run, on one line.
        #[arg(long)]
        json: bool,
    },
    /// Show or carry out what is still owed to the targets; with --orphans, find leftovers by name.
    Sweep {
        #[command(flatten)]
        file: ConfigFile,
        /// The state directory, instead of that of the configuration.
        #[arg(long = "state-dir", value_name = "PATH")]
        state_dir: Option<PathBuf>,
        #[command(flatten)]
        wish: SweepArgs,
    },
    /// Probe a shop that runs inside this process: nothing else is needed.
    Demo {
        /// Address to listen on.
        #[arg(long = "web.listen-address", value_name = "ADDRESS")]
        listen: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file.
    #[arg(
        long = "config.file",
        value_name = "PATH",
        default_value = "/etc/testerd/testerd.toml"
    )]
    path: PathBuf,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
struct SweepArgs {
    /// Show what is owed.
    #[arg(long, group = "wish")]
    list: bool,
    /// Show what would be done.
    #[arg(long = "dry-run", group = "wish")]
    dry_run: bool,
    /// Try one record now.
    #[arg(long, value_name = "ID", group = "wish")]
    retry: Option<u64>,
    /// Owe one record no more: a person has seen to it.
    #[arg(long, value_name = "ID", group = "wish")]
    forget: Option<u64>,
    /// Find what bears this instance's names and no journal knows of; only shown without --delete.
    #[arg(long, group = "wish")]
    orphans: bool,
    /// Only leftovers older than this.
    #[arg(long = "older-than", value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    older_than: std::time::Duration,
    /// Delete the leftovers found, after showing them and asking.
    #[arg(long, requires = "orphans")]
    delete: bool,
    /// Delete without asking: needed where there is no terminal to ask on.
    #[arg(long, requires = "delete")]
    yes: bool,
    /// Delete also what only perhaps is ours: names without a check, as earlier versions gave.
    #[arg(long, requires = "delete")]
    unchecked: bool,
}

#[derive(Debug, Args)]
struct Filter {
    /// Only specs with one of these tags; may be repeated.
    #[arg(long = "tag")]
    tags: Vec<String>,
    /// Only specs whose name matches; *, ? and […] work as in a shell; may be repeated.
    #[arg(long = "name")]
    names: Vec<NamePattern>,
    /// Only this target, or all of this table's; may be repeated.
    #[arg(long = "target")]
    targets: Vec<String>,
}

impl Filter {
    fn selection(&self) -> Selection {
        Selection {
            tags: self.tags.clone(),
            names: self.names.clone(),
            ..Selection::default()
        }
    }

    /// Keeps what is meant.
    fn apply(&self, plan: &mut Plan) {
        let selection = self.selection();
        let is_called = Target::is_called;
        plan.scheduled.retain(|spec| {
            let identity = &spec.info.identity;
            selection.selects(&identity.spec, &spec.info.tags)
                && (self.targets.is_empty()
                    || self
                        .targets
                        .iter()
                        .any(|by| is_called(&identity.target, by)))
        });
        let scheduled = plan.scheduled.iter();
        let listed: HashSet<_> = scheduled.map(|spec| &spec.info.identity.spec).collect();
        plan.known.retain(|spec| {
            listed.contains(&spec.name)
                || (self.targets.is_empty() && selection.selects(&spec.name, &spec.tags))
        });
    }
}

/// Whether something that was said is lost: a process has one standard output, and all commands say
/// what they do as they do it.
static OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// Reads the arguments and does what they say.
pub fn main() -> Exit {
    // Before anything else: whoever asks for a reload does not know how far the start has come.
    if std::env::args_os().any(|argument| argument == "serve") {
        service::keep_hangups();
    }
    service::survive_file_limits();
    match command() {
        Exit::Done | Exit::Failed if OUTPUT_LOST.load(Ordering::Relaxed) => Exit::Ours,
        exit => exit,
    }
}

fn command() -> Exit {
    // Whatever is made from here on, files, directories and sockets, is for its owner alone.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let printed = error.print();
            if error.use_stderr() {
                return Exit::Usage;
            }
            note_lost(printed.and_then(|()| std::io::stdout().flush()));
            return Exit::Done;
        }
    };
    let logging = Logging {
        level: cli.log_level,
        format: cli.log_format,
    };
    match cli.command {
        Command::Serve {
            file,
            check: false,
            listen,
        } => serve(&file.path, listen, &logging),
        Command::Serve { file, .. } => check(&file.path, None, &logging),
        Command::Check {
            file,
            online,
            targets,
        } => check(&file.path, online.then_some(targets), &logging),
        Command::List { file, filter, json } => match compile(&file.path, &Overrides::default()) {
            Ok(mut plan) => {
                filter.apply(&mut plan);
                print(&if json {
                    report::list_json(&plan)
                } else {
                    report::list(&plan)
                })
            }
            Err(exit) => exit,
        },
        Command::Run { file, filter, json } => {
            let form = if json { Form::Json } else { Form::Lines };
            run(&file.path, &filter, form, &logging)
        }
        Command::Sweep {
            file,
            state_dir,
            wish,
        } => sweep(&file.path, state_dir, &wish, &logging),
        Command::Demo { listen } => demo(listen, &logging),
    }
}

struct Logging {
    level: String,
    format: log::Format,
}

impl Logging {
    fn install(&self) -> Result<(log::Guard, crate::exporter::queue::Dropped), Exit> {
        log::install(&self.level, self.format).map_err(|error| {
            complain(&crate::outcome::chain(&error));
            Exit::Usage
        })
    }
}

fn serve(path: &Path, listen: Vec<String>, logging: &Logging) -> Exit {
    let overrides = Overrides {
        listen,
        ..Overrides::default()
    };
    let (plan, origin) = match compile_texts(path, &overrides) {
        Ok(made) => made,
        // What is owed must not wait for somebody to mend a file.
        Err(exit) => match service::last_accepted(path, &overrides) {
            Some(made) => made,
            None => return exit,
        },
    };
    match logging.install() {
        Ok(log) => service::serve(plan, origin, log),
        Err(exit) => exit,
    }
}

fn demo(listen: Vec<String>, logging: &Logging) -> Exit {
    match logging.install() {
        Ok(log) => service::demo(listen, log),
        Err(exit) => exit,
    }
}

fn run(path: &Path, filter: &Filter, form: Form, logging: &Logging) -> Exit {
    let mut plan = match compile(path, &Overrides::default()) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    filter.apply(&mut plan);
    if plan.scheduled.is_empty() {
        complain(
            "no scheduled spec has these tags, names and targets; `testerd list` shows them all",
        );
        return Exit::Usage;
    }
    // The report is the output; the log would repeat it.
    let level = if logging.level == "info" {
        "error"
    } else {
        &logging.level
    };
    let logging = Logging {
        level: level.to_owned(),
        format: logging.format,
    };
    match logging.install() {
        Ok(log) => service::run(plan, form, log),
        Err(exit) => exit,
    }
}

fn sweep(path: &Path, state_dir: Option<PathBuf>, args: &SweepArgs, logging: &Logging) -> Exit {
    // On the command line a path is relative to where one is, in the file to the file.
    let state_dir = state_dir.map(|path| std::path::absolute(&path).unwrap_or(path));
    let overrides = Overrides {
        state_dir,
        ..Overrides::default()
    };
    if args.orphans {
        let orphans = service::Orphans {
            older_than: args.older_than,
            delete: args.delete,
            yes: args.yes,
            unchecked: args.unchecked,
        };
        return match compile(path, &overrides) {
            Ok(plan) => match logging.install() {
                Ok(log) => service::orphans(&plan, orphans, log),
                Err(exit) => exit,
            },
            Err(exit) => exit,
        };
    }
    let wish = match (args.retry, args.forget) {
        (Some(id), _) => service::Wish::Retry(id),
        (None, Some(id)) => service::Wish::Forget(id),
        (None, None) if args.list => service::Wish::List,
        (None, None) if args.dry_run => service::Wish::DryRun,
        (None, None) => service::Wish::All,
    };
    // Specs may be wrong or gone: what is owed needs only the targets.
    let sources = match Sources::load(path, &overrides) {
        Ok(sources) => sources,
        Err(problems) => {
            for problem in problems {
                complain(&problem.to_string());
            }
            return Exit::Config;
        }
    };
    match logging.install() {
        Ok(log) => service::sweep(&sources.settings, wish, log),
        Err(exit) => exit,
    }
}

fn check(path: &Path, online: Option<Vec<String>>, logging: &Logging) -> Exit {
    let plan = match compile(path, &Overrides::default()) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let exit = print(&report::check(&plan));
    match (online, logging) {
        (None, _) => exit,
        (Some(targets), logging) => match logging.install() {
            Ok(log) => service::online(&plan, &targets, log),
            Err(exit) => exit,
        },
    }
}

/// Reads files and makes the plan; problems and warnings go to standard error.
fn compile(path: &Path, overrides: &Overrides) -> Result<Plan, Exit> {
    compile_texts(path, overrides).map(|(plan, _)| plan)
}

/// The same, with what the plan was made from.
fn compile_texts(path: &Path, overrides: &Overrides) -> Result<(Plan, Origin), Exit> {
    let made = Texts::read(path).and_then(|texts| {
        let folder = texts.folder();
        let shelf = Keeping::of(&folder);
        let mut plan = Sources::on(&texts, overrides, &shelf).and_then(plan::compile)?;
        plan.warnings.extend(unreadable(&plan.files));
        let origin = Origin {
            texts: Arc::new(texts),
            targets: shelf.into_kept(),
            overrides: overrides.clone(),
            is_current: true,
        };
        Ok((plan, origin))
    });
    let (problems, result) = match made {
        Ok(made) => (made.0.warnings.clone(), Ok(made)),
        Err(problems) => (problems, Err(Exit::Config)),
    };
    for problem in &problems {
        complain(&problem.to_string());
    }
    if result.is_err() {
        let file = path.display();
        complain(&match problems.len() {
            1 => format!("{file}: 1 problem, nothing was started"),
            many => format!("{file}: {many} problems, nothing was started"),
        });
    }
    result
}

/// Prints to standard output and is done.
fn print(text: &str) -> Exit {
    say(text);
    Exit::Done
}

/// Prints to standard output; a reader that has gone away is no error.
pub(crate) fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    let written = output.write_all(visible(text).as_bytes());
    note_lost(written.and_then(|()| output.flush()));
}

/// Says once that what was said is lost.
fn note_lost(written: std::io::Result<()>) {
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
        && !OUTPUT_LOST.swap(true, Ordering::Relaxed)
    {
        complain(&format!("cannot write to standard output: {error}"));
    }
}

/// Prints to standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", visible(text));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
