//! A token that all runs of a target share: one fetch at a time, its result kept as long as it is
//! good. Where a token comes from is the business of whoever fetches it.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::outcome::{Failure, Reason};
use crate::secret::Secret;

/// A token is not used in its last seconds: a request is under way for some time.
const EARLY: Duration = Duration::from_secs(10);

/// Nothing is fetched sooner after a fetch than this, whatever came of it: a thousand specs may
/// meet the same refusal every second.
const PAUSE: Duration = Duration::from_secs(1);

/// No token is trusted for longer.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What a fetch brings.
pub(super) struct Fetched {
    pub(super) token: Secret,
    /// How long it lives, counted from when it was asked for.
    pub(super) life: Duration,
}

/// What is known of a token.
#[derive(Debug)]
pub(super) struct Tokens {
    /// Whose tokens they are, for messages.
    from: String,
    /// How long a fetch may take, and how long somebody else's is waited for.
    patience: Duration,
    known: Mutex<Option<Known>>,
    /// Whoever has it fetches. If he is dropped or panics, the next one does.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Known {
    what: Result<Secret, Failure>,
    since: Instant,
    until: Instant,
}

impl Tokens {
    pub(super) fn new(from: String, patience: Duration) -> Self {
        Self {
            from,
            patience,
            known: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The token, or why there is none; it is fetched if neither is known.
    pub(super) async fn get(
        &self,
        fetch: impl Future<Output = Result<Fetched, Failure>>,
    ) -> Result<Secret, Failure> {
        if let Some(known) = self.fresh() {
            return known;
        }
        let waited = timeout(self.patience, self.turn.lock()).await;
        let _turn = waited.map_err(|_| self.late())?;
        // Whoever had the turn before may have brought it.
        if let Some(known) = self.fresh() {
            return known;
        }
        let begun = Instant::now();
        let fetched = timeout(self.patience, fetch).await;
        let fetched = fetched.unwrap_or_else(|_| Err(self.late()));
        let since = Instant::now();
        let life = fetched.as_ref().map(|fetched| fetched.life.min(LONGEST));
        let life = life.unwrap_or_default();
        let until = begun + life.saturating_sub(EARLY.min(life / 10));
        let what = fetched.map(|fetched| fetched.token);
        *self.known() = Some(Known {
            what: what.clone(),
            since,
            until: until.max(since + PAUSE),
        });
        what
    }

    /// Whether this token is still to be used.
    pub(super) fn is_good(&self, token: &Secret) -> bool {
        matches!(self.fresh(), Some(Ok(known)) if known == *token)
    }

    /// Notes that the target does not take this token.
    pub(super) fn refused(&self, token: &Secret) {
        if let Some(known) = &mut *self.known()
            && known.what.as_ref() == Ok(token)
        {
            known.until = known.until.min(known.since + PAUSE);
        }
    }

    fn fresh(&self) -> Option<Result<Secret, Failure>> {
        let known = self.known();
        let fresh = known.as_ref().filter(|known| Instant::now() < known.until);
        fresh.map(|known| known.what.clone())
    }

    fn late(&self) -> Failure {
        let what = format!("no token from {} within {:?}", self.from, self.patience);
        Failure::new(Reason::Timeout, what).without_effect()
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use tokio::task::JoinSet;
    use tokio::time::{advance, sleep};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A source that numbers its tokens.
    struct Source {
        tokens: Tokens,
        life: Duration,
        takes: Duration,
        fetches: AtomicUsize,
    }

    impl Source {
        fn new(life: u64, takes: u64) -> Arc<Self> {
            Arc::new(Self {
                tokens: Tokens::new("here".into(), PATIENCE),
                life: Duration::from_secs(life),
                takes: Duration::from_secs(takes),
                fetches: AtomicUsize::new(0),
            })
        }

        async fn get(&self) -> Result<Secret, Failure> {
            let token = |nth: usize| Secret::new(&format!("token {nth}"));
            let fetch = async {
                let nth = self.fetches.fetch_add(1, Ordering::SeqCst);
                sleep(self.takes).await;
                let (token, life) = (token(nth), self.life);
                Ok(Fetched { token, life })
            };
            self.tokens.get(fetch).await
        }

        async fn fail(&self) -> Failure {
            let fetch = async {
                self.fetches.fetch_add(1, Ordering::SeqCst);
                Err(Failure::new(Reason::Auth, "no"))
            };
            self.tokens.get(fetch).await.unwrap_err()
        }

        fn fetches(&self) -> usize {
            self.fetches.load(Ordering::SeqCst)
        }
    }

    async fn pass(milliseconds: u64) {
        advance(Duration::from_millis(milliseconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_used_until_shortly_before_its_end() {
        // Life in seconds, and how long it is used in milliseconds.
        for (life, used) in [
            (3600, 3_590_000),
            (50, 45_000),
            (1, 1_000),
            (0, 1_000),
            (u64::MAX, 86_390_000),
        ] {
            let source = Source::new(life, 0);
            let token = source.get().await.unwrap();
            pass(used - 1).await;
            assert!(source.tokens.is_good(&token), "{life}");
            source.get().await.unwrap();
            assert_eq!(source.fetches(), 1, "{life}");
            pass(1).await;
            assert!(!source.tokens.is_good(&token), "{life}");
            source.get().await.unwrap();
            assert_eq!(source.fetches(), 2, "{life}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn life_counts_from_when_it_was_asked_for() {
        let source = Source::new(100, 9);
        let token = source.get().await.unwrap();
        pass(80_999).await;
        assert!(source.tokens.is_good(&token));
        pass(1).await;
        assert!(!source.tokens.is_good(&token));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_wait_for_one_fetch() {
        let source = Source::new(3600, 5);
        let mut all = JoinSet::new();
        for _ in 0..1000 {
            let source = source.clone();
            all.spawn(async move { source.get().await.unwrap() });
        }
        let tokens = all.join_all().await;
        assert!(tokens.iter().all(|token| token.expose() == "token 0"));
        assert_eq!(source.fetches(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_remembered_for_a_second() {
        let source = Source::new(3600, 0);
        source.fail().await;
        pass(999).await;
        assert_eq!(source.get().await, Err(Failure::new(Reason::Auth, "no")));
        assert_eq!(source.fetches(), 1);
        pass(1).await;
        source.get().await.unwrap();
        assert_eq!(source.fetches(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_fetched_anew_but_not_within_a_second() {
        let source = Source::new(3600, 0);
        let first = source.get().await.unwrap();
        source.tokens.refused(&first);
        assert!(source.tokens.is_good(&first));
        pass(1000).await;
        let second = source.get().await.unwrap();
        assert_eq!(second.expose(), "token 1");
        // A run that is late with its refusal says nothing of the new one.
        pass(60_000).await;
        source.tokens.refused(&first);
        assert!(source.tokens.is_good(&second));
        source.tokens.refused(&second);
        assert!(!source.tokens.is_good(&second));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_takes_too_long_fails_once_for_all() {
        let source = Source::new(3600, 11);
        let both = tokio::join!(source.get(), source.get());
        for failure in [both.0.unwrap_err(), both.1.unwrap_err()] {
            assert_eq!(
                failure.to_string(),
                "timeout: no token from here within 10s"
            );
        }
        assert_eq!(source.fetches(), 1);
    }

    /// A run that is cancelled takes its fetch with it; one that panics too.
    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_is_dropped_is_the_next_ones() {
        let source = Source::new(3600, 5);
        let dropped = timeout(Duration::from_secs(1), source.get());
        let (dropped, token) = tokio::join!(dropped, source.get());
        assert!(dropped.is_err());
        assert_eq!(token.unwrap().expose(), "token 1");

        let source = Source::new(3600, 0);
        let fetch = async { panic!("as asked") };
        let panicked = AssertUnwindSafe(source.tokens.get(fetch)).catch_unwind();
        assert!(panicked.await.is_err());
        source.get().await.unwrap();
    }
}
