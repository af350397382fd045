//! The sweeper's patience is running time, by a paused clock and an undo without a network.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use testerd::client::Client;
use testerd::config::Patience;
use testerd::event::{Event, Exporter, Exporters, OwedInfo};
use testerd::journal::{Journal, JournalError, MemoryJournal, Note};
use testerd::outcome::{Failure, Reason};
use testerd::runner::{Runner, Searches};
use testerd::spec::{Context, Deleted, Ids, Looked, Record, RecordId, Undoer, Undoing};
use testerd::sweeper::Sweeper;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::record;
use crate::plans::compile;

const SETTLE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The target of one test, on the thread of that test.
#[derive(Default)]
struct World {
    /// The thing that the records are about.
    alive: bool,
    is_down: bool,
    /// How long a look takes; what it sees is how things are when it begins.
    look: Duration,
    tries: usize,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

fn world<T>(change: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(change)
}

fn undoer(kind: &str) -> Option<Undoer> {
    (kind == "http.resource").then_some((|_| Ok(Box::new(OneThing))) as Undoer)
}

struct OneThing;

impl Undoing for OneThing {
    fn search(&self) -> Option<&str> {
        Some("the thing")
    }

    fn may_hit_others(&self) -> bool {
        false
    }

    fn look<'a>(&'a self, _: &'a mut Context<'_>) -> BoxFuture<'a, Result<Looked, Failure>> {
        async {
            let (look, alive, is_down) = world(|world| {
                world.tries += 1;
                (world.look, world.alive, world.is_down)
            });
            sleep(look).await;
            if is_down {
                return Err(Failure::new(Reason::Connect, "down"));
            }
            Ok(if alive {
                Looked::Found(vec![Ids::new()])
            } else {
                Looked::NotListed
            })
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        _: &'a Ids,
        _: &'a mut Context<'_>,
    ) -> BoxFuture<'a, Result<Deleted, Failure>> {
        async {
            let was_there = world(|world| std::mem::take(&mut world.alive));
            Ok(if was_there {
                Deleted::Accepted
            } else {
                Deleted::NotThere
            })
        }
        .boxed()
    }
}

/// What was told of what is owed, and when.
struct Told(Mutex<Vec<(Instant, Vec<OwedInfo>)>>);

impl Exporter for Told {
    fn export(&self, event: &Event) {
        if let Event::OwedChanged { owed } = event {
            self.0.lock().unwrap().push((Instant::now(), owed.clone()));
        }
    }
}

struct Stage {
    journal: Arc<MemoryJournal>,
    told: Arc<Told>,
    /// Held, so that the sweeper waits for requests.
    _ask: mpsc::Sender<testerd::sweeper::Request>,
}

fn stage(max_owed: usize) -> (Stage, Sweeper) {
    let plan = compile(
        "[target.rig]\ntype = \"http\"\nendpoint = \"http://127.0.0.1:1\"\n\
         [[probe]]\nname = \"p\"\ntarget = \"rig\"\ninterval = \"1m\"\nnames = [\"s\"]\n\
         # --- specs.toml\n[[spec]]\nname = \"s\"\n[[spec.steps]]\nname = \"x\"\nuse = \"http\"\npath = \"/\"\n",
    );
    let journal = Arc::new(MemoryJournal::with_max_owed(max_owed));
    let told = Arc::new(Told(Mutex::default()));
    let (ask, requests) = mpsc::channel(1);
    let runner = Runner {
        client: Client::new(),
        journal: journal.clone(),
        exporters: Exporters::new(vec![told.clone()]),
        undoer,
        searches: Searches::default(),
        instance: "here".into(),
    };
    let sweeper = Sweeper {
        runner: Arc::new(runner),
        targets: plan.unwrap().settings.target_map(),
        patience: Patience {
            settle: SETTLE,
            stuck_after: HOUR,
        },
        requests,
    };
    let stage = Stage {
        journal,
        told,
        _ask: ask,
    };
    (stage, sweeper)
}

impl Stage {
    /// Arms a record at some time of the wall, and hands it over.
    async fn owe(&self, armed_at: SystemTime) -> Result<RecordId, JournalError> {
        let record = Record {
            armed_at,
            ..record(1)
        };
        let id = self.journal.arm(record).await?;
        self.journal.release(id);
        Ok(id)
    }

    /// Serves until a moment of running time.
    async fn serve(&self, sweeper: Sweeper, work: impl Future<Output = ()>) {
        let stop = CancellationToken::new();
        let served = async {
            work.await;
            stop.cancel();
        };
        tokio::join!(sweeper.serve(stop.clone()), served);
    }
}

/// Yesterday, now and tomorrow: a clock that was set while the record lay there.
fn times_of_the_wall() -> [SystemTime; 3] {
    let now = testerd::text::wall_clock();
    [now - DAY, now, now + DAY]
}

#[tokio::test(start_paused = true)]
async fn settling_takes_running_time_whatever_the_wall_clock_says() {
    for armed_at in times_of_the_wall() {
        let (stage, sweeper) = stage(5);
        stage.owe(armed_at).await.unwrap();
        let begun = Instant::now();
        assert!(sweeper.finish(HOUR, None).await.is_empty());
        // To the half second at which it looks.
        let took = begun.elapsed();
        assert!(
            (SETTLE..=SETTLE + Duration::from_secs(1)).contains(&took),
            "{took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_late_is_found_within_the_settling() {
    let (stage, sweeper) = stage(5);
    stage.owe(testerd::text::wall_clock()).await.unwrap();
    let late = async {
        sleep(Duration::from_millis(29_999)).await;
        world(|world| world.alive = true);
    };
    let (left, ()) = tokio::join!(sweeper.finish(HOUR, None), late);
    assert!(left.is_empty() && !world(|world| world.alive));
}

#[tokio::test(start_paused = true)]
async fn a_slow_look_counts_from_its_beginning() {
    // The looks begin at 0, about 21 and about 43, and each takes 20 s: the third ends when
    // settling is over, but saw how things were before it.
    world(|world| world.look = Duration::from_secs(20));
    let (stage, sweeper) = stage(5);
    stage.owe(testerd::text::wall_clock()).await.unwrap();
    let late = async {
        sleep(Duration::from_secs(47)).await;
        world(|world| world.alive = true);
    };
    let (left, ()) = tokio::join!(sweeper.finish(HOUR, None), late);
    assert!(left.is_empty() && !world(|world| world.alive));
}

#[tokio::test(start_paused = true)]
async fn what_failed_in_between_is_looked_for_anew() {
    let (stage, sweeper) = stage(5);
    stage.owe(testerd::text::wall_clock()).await.unwrap();
    let down = async {
        sleep(Duration::from_secs(2)).await;
        world(|world| world.is_down = true);
        sleep(SETTLE * 2).await;
        world(|world| world.is_down = false);
        let back = Instant::now();
        // A proxy that knows nothing yet says "not found" before the thing is seen again.
        sleep(SETTLE).await;
        world(|world| world.alive = true);
        back
    };
    let (left, _) = tokio::join!(sweeper.finish(HOUR, None), down);
    assert!(left.is_empty() && !world(|world| world.alive));
}

#[tokio::test(start_paused = true)]
async fn stuck_is_running_time_too() {
    for armed_at in times_of_the_wall() {
        world(|world| world.is_down = true);
        let (stage, sweeper) = stage(5);
        stage.owe(armed_at).await.unwrap();
        let begun = Instant::now();
        stage.serve(sweeper, sleep(HOUR * 2)).await;
        let told = stage.told.0.lock().unwrap();
        let told: Vec<_> = told
            .iter()
            .map(|(at, owed)| (at.duration_since(begun), owed[0].stuck))
            .collect();
        assert_eq!(
            told.iter().map(|(_, stuck)| *stuck).collect::<Vec<_>>(),
            [0, 1]
        );
        let late = told[1].0.checked_sub(HOUR).unwrap();
        assert!(late <= Duration::from_secs(1), "{late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_was_down_for_an_hour_is_swept_when_it_is_back() {
    world(|world| (world.is_down, world.alive) = (true, true));
    let (stage, sweeper) = stage(5);
    stage.owe(testerd::text::wall_clock()).await.unwrap();
    let journal = stage.journal.clone();
    let work = async {
        sleep(HOUR).await;
        assert_eq!(journal.owed().len(), 1);
        assert!(
            world(|world| world.tries) < 100,
            "it hammers a target that is down"
        );
        world(|world| world.is_down = false);
        sleep(Duration::from_secs(62)).await;
        assert!(journal.owed().is_empty());
    };
    stage.serve(sweeper, work).await;
    assert!(!world(|world| world.alive));
}

#[tokio::test(start_paused = true)]
async fn a_broken_delete_stops_setups_until_it_works() {
    world(|world| world.is_down = true);
    let (stage, sweeper) = stage(3);
    for _ in 0..3 {
        let id = stage.owe(testerd::text::wall_clock()).await.unwrap();
        stage
            .journal
            .note(id, Note::Created([].into()))
            .await
            .unwrap();
    }
    let journal = stage.journal.clone();
    let work = async {
        sleep(HOUR).await;
        let refused = stage.owe(testerd::text::wall_clock()).await.unwrap_err();
        assert!(
            matches!(refused, JournalError::Owed { owed: 3, .. }),
            "{refused}"
        );
        // Another kind, or another target, is not concerned.
        let mut other = record(9);
        other.target = "elsewhere".into();
        journal.arm(other).await.unwrap();
        world(|world| world.is_down = false);
        sleep(Duration::from_secs(62)).await;
        stage.owe(testerd::text::wall_clock()).await.unwrap();
    };
    stage.serve(sweeper, work).await;
}
