//! The keys that every step has, whatever it does: `use`, `timeout`, `retry`, `poll`, `as`, `uses`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::action::kind::{DURATION, FLAG, INTEGER, Kind, TABLE, WORD};
use crate::action::{Entry, Key, Part, UNTIL};
use crate::catalog;
use crate::event::Phase;
use crate::spec::Retry;
use crate::text::{At, Fields, Raw, ValueTemplate, nearest};

/// The keys that every step has.
pub const STEP: Part = Part::own(&[
    Key::required(
        "name",
        NAME,
        "what it is called: unique in its spec, `-` and `_` counting as the same",
    ),
    Key::required("use", USE, "which action"),
    Key::optional("title", WORD, "the same for people"),
    Key::optional(
        "timeout",
        DURATION,
        "its deadline, retries and waits included",
    )
    .default("what is left of the deadline around it; with `always` 10s"),
    Key::optional("retry", TABLE, "how often it is tried")
        .of(&[RETRY])
        .default("once"),
    Key::optional(
        "always",
        FLAG,
        "whether it runs although a step before it failed",
    )
    .default("false"),
    Key::optional(
        "allow_failure",
        FLAG,
        "whether the run may pass although it fails",
    )
    .default("false"),
    Key::optional("uses", USES, "places of named limits that it takes"),
    Key::optional(
        "as",
        USER,
        "as whom it is done, on targets that can: the keys of a user",
    )
    .default("the target's own user"),
]);

/// What only those have that may be polled.
pub const POLLING: Part = Part::own(&[Key::optional(
    "poll",
    TABLE,
    "it is done again until what it waits for holds; the deadline ends it",
)
.of(&[Part::own(&[
    Key::required("every", DURATION, "how long to wait in between"),
    UNTIL,
])])]);

/// What only resources have.
pub const RESOURCE: Part =
    Part::own(&[
        Key::optional("teardown_timeout", DURATION, "the deadline of its undoing").default("10s"),
    ]);

const RETRY: Part = Part::own(&[
    Key::required("attempts", INTEGER, "how often at most, the first included"),
    Key::optional("delay", DURATION, "how long to wait in between").default("1s"),
]);

const NAME: Kind = Kind::new("lower-case words joined by `-` or `_`", "'a-b'", "'A'");

/// Held to no example of its own: which there are is the catalog's.
const USE: Kind = Kind::new("name of an action", "", "'nothing'");

/// Resources refuse it.
const USER: Kind = Kind::new("captured keys of a user", "", "");

const USES: Kind = Kind::new(
    "table: name of a limit to places",
    "{ gpu = 1 }",
    "{ gpu = 0 }",
);

/// The shortest deadline.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

/// Places of named limits, and where they are asked for.
pub(super) type Uses = BTreeMap<String, (u32, At)>;

pub(super) fn used_action(fields: &mut Fields<'_, '_>, phase: Phase) -> Option<&'static Entry> {
    let fits = |entry: &&Entry| phase != Phase::Setup || entry.is_resource;
    let names: Vec<_> = catalog::all()
        .filter(fits)
        .map(|entry| entry.name)
        .collect();
    let known = format!("there are: {}", names.join(", "));
    let name = fields.required_string("use", &known)?;
    match catalog::find(&name) {
        Some(entry) if fits(&entry) => Some(entry),
        Some(_) => {
            fields.problem(
                "use",
                format!("`{name}` makes nothing, so it cannot wrap"),
                known,
            );
            None
        }
        None => {
            let help = match nearest(&name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => known,
            };
            fields.problem("use", format!("there is no action `{name}`"), help);
            None
        }
    }
}

pub(super) fn read_timeout(fields: &mut Fields<'_, '_>, within: Duration) -> Option<Duration> {
    let timeout = fields.duration("timeout", SHORTEST)?;
    if timeout > within {
        let human = humantime::format_duration;
        fields.problem(
            "timeout",
            format!(
                "{} is longer than the {} of what is around it",
                human(timeout),
                human(within)
            ),
            "shorten it, or give the spec or suite a longer timeout (a spec without one has 1m)",
        );
    }
    Some(timeout)
}

pub(super) fn read_retry(fields: &mut Fields<'_, '_>) -> Retry {
    let Some(mut table) = fields.table("retry") else {
        return Retry::ONCE;
    };
    if !table.has("attempts") {
        table.missing(
            "attempts",
            "say how often it may be tried, such as attempts = 3",
        );
    }
    let attempts = table.integer("attempts", 1..=100).unwrap_or(1);
    let delay = table.duration("delay", Duration::ZERO);
    table.finish();
    Retry {
        attempts: u32::try_from(attempts).unwrap_or(1),
        delay: delay.unwrap_or(Duration::from_secs(1)),
    }
}

pub(super) fn read_poll(fields: &mut Fields<'_, '_>, action: &Entry) -> Option<Duration> {
    let mut table = fields.table("poll")?;
    if !action.polls {
        let what = format!("`{}` cannot be polled", action.name);
        table.problem("", what, "poll with an action that looks at something");
        return None;
    }
    if !table.has("every") {
        table.missing(
            "every",
            "say how long to wait in between, such as every = \"1s\"",
        );
    }
    let every = table.duration("every", SHORTEST);
    // Read by the action, which knows what can be waited for.
    table.entry("until");
    table.finish();
    every
}

/// As whom a step is done: `as = "${user.keys}"`.
pub(super) fn read_acting(fields: &mut Fields<'_, '_>, action: &Entry) -> Option<ValueTemplate> {
    let acting = fields.value("as")?;
    if action.is_resource {
        let help = "an undo is written down and carried out by the target's own user";
        fields.problem("as", "stands at something that is undone", help);
    }
    Some(acting)
}

pub(super) fn read_uses(mut fields: Fields<'_, '_>) -> Uses {
    let mut uses = Uses::new();
    for entry in fields.entries() {
        let places = match &entry.node.raw {
            Raw::Number(places) => places
                .as_u64()
                .and_then(|places| u32::try_from(places).ok()),
            _ => None,
        };
        if let Some(places @ 1..=1_000_000) = places {
            uses.insert(entry.key.clone(), (places, entry.at.clone()));
        } else {
            let what = format!("is {}, not a positive integer", entry.node.kind());
            fields.problem(
                &entry.key,
                what,
                "say how many places it takes, such as gpu = 1",
            );
        }
    }
    uses
}

#[cfg(test)]
mod tests;
