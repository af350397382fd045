//! How well the demo shop feels: the latency of each answer, the odd failure, and an incident
//! every few minutes.
//!
//! Incidents follow from the time since the shop opened and from nothing else, so that everybody
//! who watches a demo sees the same failures and recoveries in the same order.

use std::time::Duration;

use crate::demo::dice::Dice;

/// The first incident begins so long after the shop opened.
const FIRST: Duration = Duration::from_secs(60);
/// From the beginning of one incident to that of the next.
const PERIOD: Duration = Duration::from_secs(180);
/// How long an incident lasts.
const LASTS: Duration = Duration::from_secs(40);

/// How often a checkout fails for no reason.
const CHECKOUT_FAILS: f64 = 0.02;
/// How often an answer is much slower than its kind.
const TAIL: f64 = 0.015;
/// No answer takes longer, but in an incident.
const LONGEST: Duration = Duration::from_millis(1500);

/// What a request is about: each has its own latency and its own incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Desk {
    Health,
    Catalog,
    Account,
    NewCart,
    Cart,
    Removal,
    Checkout,
    Orders,
}

impl Desk {
    /// Half of the answers are faster, in milliseconds.
    fn median(self) -> f64 {
        match self {
            Self::Health => 5.0,
            Self::Catalog | Self::Cart | Self::Removal => 14.0,
            Self::NewCart | Self::Orders => 18.0,
            Self::Account => 28.0,
            Self::Checkout => 40.0,
        }
    }
}

/// What an incident does to its desk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Answers take seconds.
    Slow,
    /// Nothing is done, and the answer says so.
    Refuses,
    /// It is done, and the answer says it was not.
    LosesAnswers,
    /// Orders are taken but not paid before the incident ends.
    Stalls,
}

/// Something that is wrong for a while.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Incident {
    pub(super) desk: Desk,
    pub(super) trouble: Trouble,
    /// For people.
    pub(super) told: &'static str,
}

const INCIDENTS: [Incident; 6] = [
    Incident {
        desk: Desk::Checkout,
        trouble: Trouble::Refuses,
        told: "checkout answers 503",
    },
    Incident {
        desk: Desk::Catalog,
        trouble: Trouble::Slow,
        told: "the catalog is slow",
    },
    Incident {
        desk: Desk::NewCart,
        trouble: Trouble::LosesAnswers,
        told: "new carts are made, but the answer is 504",
    },
    Incident {
        desk: Desk::Account,
        trouble: Trouble::Refuses,
        told: "login answers 503",
    },
    Incident {
        desk: Desk::Orders,
        trouble: Trouble::Stalls,
        told: "orders stay unpaid",
    },
    Incident {
        desk: Desk::Removal,
        trouble: Trouble::Refuses,
        told: "carts cannot be removed",
    },
];

/// Which period a time since the opening is in, and how far; none before the first incident.
fn period(elapsed: Duration) -> Option<(usize, Duration)> {
    let since = elapsed.checked_sub(FIRST)?;
    let turn = usize::try_from(since.as_secs() / PERIOD.as_secs()).ok()?;
    let into = Duration::new(since.as_secs() % PERIOD.as_secs(), since.subsec_nanos());
    Some((turn, into))
}

/// The incident at a time since the opening, and how long it still lasts.
pub(super) fn incident(elapsed: Duration) -> Option<(&'static Incident, Duration)> {
    let (turn, into) = period(elapsed)?;
    let left = LASTS.checked_sub(into).filter(|left| !left.is_zero())?;
    Some((&INCIDENTS[turn % INCIDENTS.len()], left))
}

/// How long it is until an incident begins or ends.
pub(super) fn next_change(elapsed: Duration) -> Duration {
    match (incident(elapsed), period(elapsed)) {
        (Some((_, left)), _) => left,
        (None, Some((_, into))) => PERIOD.saturating_sub(into),
        (None, None) => FIRST.saturating_sub(elapsed),
    }
}

/// The trouble that `desk` is in.
pub(super) fn trouble(desk: Desk, elapsed: Duration) -> Option<Trouble> {
    let (incident, _) = incident(elapsed)?;
    (incident.desk == desk).then_some(incident.trouble)
}

impl Dice {
    /// Nearly normal, with mean 0 and deviation 1: a sum of twelve, and no need for a library.
    fn normal(&self) -> f64 {
        (0..12).map(|_| self.roll()).sum::<f64>() - 6.0
    }

    /// How long an answer of `desk` takes: log-normal as real ones are, with a slow tail.
    pub(super) fn latency(&self, desk: Desk, trouble: Option<Trouble>) -> Duration {
        if trouble == Some(Trouble::Slow) {
            return Duration::from_millis(1200).mul_f64(1.0 + self.roll());
        }
        let tail = if self.roll() < TAIL { 8.0 } else { 1.0 };
        let millis = desk.median() * (0.45 * self.normal()).exp() * tail;
        Duration::from_secs_f64(millis / 1e3).min(LONGEST)
    }

    /// Whether an answer of `desk` fails although nothing is the matter.
    pub(super) fn bad_luck(&self, desk: Desk) -> bool {
        desk == Desk::Checkout && self.roll() < CHECKOUT_FAILS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_come_and_go_in_turn() {
        let at = |seconds| incident(Duration::from_secs(seconds)).map(|(incident, _)| incident);
        for (seconds, expected) in [
            (0, None),
            (59, None),
            (60, Some(&INCIDENTS[0])),
            (99, Some(&INCIDENTS[0])),
            (100, None),
            (239, None),
            (240, Some(&INCIDENTS[1])),
            (60 + 6 * 180, Some(&INCIDENTS[0])),
        ] {
            assert_eq!(at(seconds), expected, "{seconds} s");
        }
        assert_eq!(
            trouble(Desk::Catalog, Duration::from_secs(250)),
            Some(Trouble::Slow)
        );
        assert_eq!(trouble(Desk::Checkout, Duration::from_secs(250)), None);
    }

    #[test]
    fn changes_are_announced_when_they_happen() {
        let mut now = Duration::ZERO;
        let mut changes = Vec::new();
        while changes.len() < 5 {
            now += next_change(now);
            changes.push(now.as_secs());
        }
        assert_eq!(changes, [60, 100, 240, 280, 420]);
    }

    #[test]
    fn latencies_look_like_those_of_a_shop() {
        let dice = Dice::new(1);
        let mut millis: Vec<_> = (0..10_000)
            .map(|_| dice.latency(Desk::NewCart, None).as_millis())
            .collect();
        millis.sort_unstable();
        let [low, middle, high, most] = [500, 5000, 9500, 9950].map(|rank| millis[rank]);
        assert!((5..=12).contains(&low), "{low}");
        assert!((16..=20).contains(&middle), "{middle}");
        assert!((30..=60).contains(&high), "{high}");
        assert!((100..=500).contains(&most), "{most}");
        let slow = dice.latency(Desk::Catalog, Some(Trouble::Slow));
        assert!(slow >= Duration::from_millis(1200), "{slow:?}");
    }

    #[test]
    fn a_few_checkouts_fail() {
        let dice = Dice::new(1);
        let failed = (0..10_000)
            .filter(|_| dice.bad_luck(Desk::Checkout))
            .count();
        assert!((150..=250).contains(&failed), "{failed}");
        assert!(!(0..10_000).any(|_| dice.bad_luck(Desk::Catalog)));
    }
}
