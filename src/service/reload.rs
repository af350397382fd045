//! Another configuration without a restart: on SIGHUP everything is read again, and targets files
//! are read again when they have changed.
//!
//! Everything is read and compiled first; only a whole plan takes the place of the running one, so
//! whatever is wrong changes nothing. It is told once, and tried again at the next change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use super::signals::take_hangup;
use super::{accepted, notify, work};
use crate::config::{Keeping, Kept, Overrides, Seen, Settings, Sources, Texts, unreadable};
use crate::event::{Event, Exporters};
use crate::http::{Names, Site};
use crate::plan::{self, Plan};
use crate::spec::Target;
use crate::sweeper::Request;
use crate::tester::Work;
use crate::text::{Problem, Severity};

/// How often targets files are looked at. A change is taken on once they were found the same
/// twice, so that nobody is caught writing.
const LOOK: Duration = Duration::from_secs(2);

/// More problems than this are only counted: a broken generator of files must not flood the log.
const MOST_PROBLEMS: usize = 20;

/// What a plan was made from.
pub struct Origin {
    /// What was read.
    pub texts: Arc<Texts>,
    /// The targets files as they were.
    pub targets: Kept,
    /// What the command line says.
    pub overrides: Overrides,
    /// Whether this is what lies on the disk. If it was refused there, this is what was accepted last.
    pub is_current: bool,
}

/// Where a new plan goes.
pub(super) struct Ways {
    pub(super) sweeper: mpsc::Sender<Request>,
    pub(super) tester: mpsc::Sender<Work>,
    pub(super) exporters: Exporters,
    pub(super) site: Arc<Site>,
}

/// Takes on other configurations.
pub(super) struct Reloader {
    origin: Arc<Origin>,
    running: Settings,
    hangup: Signal,
    ways: Ways,
    /// The targets files of the running configuration when they were last tried, taken on or not.
    tried: Seen,
}

/// What came of reading again.
struct Read {
    origin: Arc<Origin>,
    /// The targets files, if it came to reading them.
    seen: Option<Seen>,
    plan: Result<Plan, Vec<Problem>>,
}

impl Reloader {
    pub(super) fn new(origin: Origin, running: &Settings, hangup: Signal, ways: Ways) -> Self {
        Self {
            origin: Arc::new(origin),
            tried: running.targets_files.clone(),
            running: running.clone(),
            hangup,
            ways,
        }
    }

    /// Looks and listens for ever. It may be dropped at any time: a folder that hangs hangs this too.
    pub(super) async fn serve(mut self) {
        // As they were at the last look.
        let mut last = self.tried.clone();
        let mut next = Instant::now() + LOOK;
        if take_hangup() {
            // It came while this process was starting, perhaps after the files were read.
            self.reload(true).await;
        }
        loop {
            tokio::select! {
                biased;
                Some(()) = self.hangup.recv() => self.reload(true).await,
                () = sleep_until(next) => {
                    let now = self.look().await.unwrap_or_else(|| last.clone());
                    if now != self.tried && now == last {
                        self.follow(&now).await;
                    }
                    last = now;
                    next = Instant::now() + LOOK;
                }
            }
        }
    }

    /// The targets files as they are now.
    async fn look(&self) -> Option<Seen> {
        if self.tried.is_empty() {
            return None;
        }
        let (tried, origin) = (self.tried.clone(), self.origin.clone());
        let look = spawn_blocking(move || tried.again(&origin.texts.folder()));
        look.await.ok()
    }

    /// Takes other targets files on. If the configuration was refused, they may be why.
    async fn follow(&mut self, now: &Seen) {
        if self.origin.is_current {
            return self.reload(false).await;
        }
        self.reload(true).await;
        if !self.origin.is_current {
            self.reload(false).await;
            self.tried = now.clone();
        }
    }

    /// Reads again, everything or only the targets files, and takes it on if nothing is wrong.
    async fn reload(&mut self, everything: bool) {
        let mut states = vec![NotifyState::Reloading];
        states.extend(NotifyState::monotonic_usec_now());
        notify(&states);
        let (origin, running) = (self.origin.clone(), self.running.target_map());
        let read = match spawn_blocking(move || read(origin, &running, everything)).await {
            Ok(read) => read,
            // A bug of ours: what runs is not touched.
            Err(error) => {
                error!(%error, "reading the configuration broke");
                return self.ended(None);
            }
        };
        let plan = read.plan.and_then(|plan| {
            let problems = fixed(&self.running, &plan.settings);
            if problems.is_empty() {
                Ok(plan)
            } else {
                Err(problems)
            }
        });
        // What a refused configuration names is not what runs, and what was wrong may be no targets
        // file: those that run are looked at as if nobody had asked.
        if let Some(seen) = read.seen.filter(|_| plan.is_ok() || !everything) {
            self.tried = seen;
        }
        match plan {
            Ok(plan) => {
                tell(&plan.warnings);
                tell(&unreadable(&plan.files));
                self.origin = read.origin;
                let specs = plan.scheduled.len();
                let (folder, origin) = (plan.settings.state_dir.clone(), self.origin.clone());
                let keep = move || accepted::keep(&folder, &origin);
                if self.origin.is_current && spawn_blocking(keep).await.is_err() {
                    error!("keeping the configuration broke");
                }
                // Whoever is stopping takes nothing on, and nobody asks any more.
                self.take_on(plan).await;
                self.ended(Some(specs));
            }
            Err(problems) => {
                tell(&problems);
                self.ended(None);
            }
        }
    }

    /// The sweeper first: the first run on a new target may leave it something.
    async fn take_on(&mut self, plan: Plan) {
        let renew = Request::Renew(plan.settings.target_map(), plan.settings.patience);
        let _ = self.ways.sweeper.send(renew).await;
        let _ = self.ways.tester.send(work(&plan)).await;
        self.ways.site.rename(Names::of(&plan.settings));
        self.running = plan.settings;
    }

    /// Tells whether it was taken on, and with how many specs.
    fn ended(&self, specs: Option<usize>) {
        self.ways.exporters.export(&Event::ConfigRead {
            accepted: specs.is_some() && self.origin.is_current,
            at: crate::text::wall_clock(),
        });
        let status = match specs {
            Some(specs) if self.origin.is_current => format!("{specs} specs"),
            _ => "the configuration was refused: the one before is running".to_owned(),
        };
        notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }
}

fn read(origin: Arc<Origin>, running: &BTreeMap<String, Arc<Target>>, everything: bool) -> Read {
    let refused = |origin, seen, problems| Read {
        origin,
        seen,
        plan: Err(problems),
    };
    let texts = if everything {
        match Texts::read(origin.texts.path()) {
            Ok(texts) => Arc::new(texts),
            Err(problems) => return refused(origin, None, problems),
        }
    } else {
        Arc::clone(&origin.texts)
    };
    let folder = texts.folder();
    let shelf = Keeping::of(&folder);
    let mut sources = match Sources::on(&texts, &origin.overrides, &shelf) {
        Ok(sources) => sources,
        Err(problems) => return refused(origin, None, problems),
    };
    sources.settings.remember(running);
    let seen = sources.settings.targets_files.clone();
    match plan::compile(sources) {
        Ok(plan) => Read {
            origin: Arc::new(Origin {
                texts,
                targets: shelf.into_kept(),
                overrides: origin.overrides.clone(),
                is_current: everything || origin.is_current,
            }),
            seen: Some(seen),
            plan: Ok(plan),
        },
        Err(problems) => refused(origin, Some(seen), problems),
    }
}

/// What cannot change while the process lives.
fn fixed(running: &Settings, new: &Settings) -> Vec<Problem> {
    let same = [
        ("server.listen", running.listen == new.listen),
        ("tester.instance", running.instance == new.instance),
        ("tester.state_dir", running.state_dir == new.state_dir),
        ("tester.stop_grace", running.stop_grace == new.stop_grace),
        ("cleanup.max_owed", running.max_owed == new.max_owed),
    ];
    let changed = same.into_iter().filter(|(_, same)| !same);
    changed
        .map(|(key, _)| {
            let what = "cannot change while testerd runs";
            let help = "change it back, or restart testerd";
            Problem::error(&new.at, key, what, help)
        })
        .collect()
}

fn tell(problems: &[Problem]) {
    for problem in problems.iter().take(MOST_PROBLEMS) {
        let Problem {
            at,
            key,
            what,
            help,
            ..
        } = problem;
        match problem.severity {
            Severity::Error => error!(%at, key, help, "{what}"),
            Severity::Warning => warn!(%at, key, help, "{what}"),
        }
    }
    if let Some(more) = problems.len().checked_sub(MOST_PROBLEMS).filter(|n| *n > 0) {
        error!(more, "and more problems; `testerd check` tells them all");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const CONFIG: &str = r#"
        [target.shops]
        type = "http"
        targets_file = "shops.yml"
        [target.shops.auth.oauth2]
        token_url = "https://login.example/token"
        client_id = "me"
        client_secret = { env = "SECRET" }

        [target.one]
        type = "backendai"
        endpoint = "http://one.example"
        access_key = "AK"
        secret_key = { env = "SECRET" }

        [target.two]
        type = "backendai"
        endpoint = "http://two.example"
        access_key = "BK"
        secret_key = { env = "SECRET" }

        [[probe]]
        target = "shops"
        tags = ["none"]
        interval = "1m"
        "#;

    const NOTHING: &str = "[[spec]]\nname = \"s\"\ntags = [\"none\"]\n\
         [[spec.steps]]\nname = \"rest\"\nuse = \"sleep\"\nfor = \"1ms\"\n";

    /// The targets of this configuration, as who runs those before takes them on.
    fn reload(
        folder: &Path,
        config: &str,
        shops: &str,
        before: &BTreeMap<String, Arc<Target>>,
    ) -> BTreeMap<String, Arc<Target>> {
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        write("shops.yml", shops);
        write("specs.toml", NOTHING);
        let config = format!("[tester]\nspecs = [\"specs.toml\"]\n{config}");
        let origin = Origin {
            texts: Arc::new(Texts::read(&write("testerd.toml", &config)).unwrap()),
            targets: Kept::default(),
            overrides: Overrides::default(),
            is_current: true,
        };
        let read = read(Arc::new(origin), before, false);
        read.plan
            .map_err(|told| format!("{told:?}"))
            .unwrap()
            .settings
            .target_map()
    }

    #[test]
    fn who_stays_keeps_its_token_and_what_its_manager_said() {
        let folder = tempfile::tempdir().unwrap();
        let first = reload(
            folder.path(),
            CONFIG,
            "- targets: [a:1, b:1]",
            &BTreeMap::new(),
        );
        let same = |now: &BTreeMap<String, Arc<Target>>, name: &str, before: &str| {
            Arc::ptr_eq(&now[name].auth, &first[before].auth)
        };
        let next = reload(folder.path(), CONFIG, "- targets: [b:1, c:1]", &first);
        for (name, before) in [
            ("shops/b:1", "shops/a:1"),
            ("shops/c:1", "shops/b:1"),
            ("one", "one"),
            ("two", "two"),
        ] {
            assert!(same(&next, name, before), "{name}");
        }
        assert!(!same(&next, "one", "two"), "each manager has its own");

        // What is another is asked again.
        let other = CONFIG
            .replace("\"me\"", "\"you\"")
            .replace("one.example", "new.example")
            .replace("\"BK\"", "\"CK\"");
        let other = reload(folder.path(), &other, "- targets: [b:1]", &first);
        for name in ["shops/b:1", "one", "two"] {
            assert!(!same(&other, name, name), "{name}");
        }
    }
}
