//! The keys of `http.resource`, and the tree that they make.

use http::Method;

use super::pages::{PAGES, Pages};
use super::{Find, GONE, HttpResource, List};
use crate::action::capture::{CAPTURE, Captures};
use crate::action::expect::{Expectation, REFUSED, STATUSES, exact_statuses};
use crate::action::kind::{Kind, POINTER, TABLE};
use crate::action::manner::WHOLE;
use crate::action::place::{POINTER_HELP, is_pointer, json_pointers};
use crate::action::poll::EXPECT;
use crate::action::request::{PLACE, RUNNING, RequestTemplate, SENDING};
use crate::action::{Built, Key, Part, Shape};
use crate::spec::Work;
use crate::text::{Fields, Problem, ValueTemplate};

/// Its keys.
pub const KEYS: &[Part] = &[Part::own(&[
    Key::required("create", TABLE, "how it is made").of(&[
        PLACE,
        SENDING,
        RUNNING,
        WHOLE,
        Part::own(&[EXPECT, CAPTURE]),
    ]),
    Key::optional(
        "find",
        TABLE,
        "how it is found by its name: before it is deleted, to see that it is ours, after that, to see that it is gone, and after a lost answer. Without it a delete by a captured id is never repeated",
    )
    .of(&[
        PLACE,
        SENDING,
        Part::own(&[
            ITEMS,
            Key::required(
                "match",
                MATCH,
                "which item is ours: one of its values holds `${run.name}`",
            ),
            CAPTURE,
        ]),
        PAGES,
    ]),
    Key::required("delete", TABLE, "how it is undone").of(&[
        PLACE,
        SENDING,
        Part::own(&[
            Key::optional("gone", STATUSES, "which statuses say that it is not there")
                .default("404, 410"),
        ]),
    ]),
    Key::optional(
        "list",
        TABLE,
        "how leftovers are found by the beginning of their names, by `sweep --orphans`",
    )
    .of(&[
        PLACE,
        SENDING,
        RUNNING,
        WHOLE,
        Part::own(&[
            ITEMS,
            Key::required("name", POINTER, "where an item has its name"),
            CAPTURE,
        ]),
        PAGES,
    ]),
    REFUSED,
])];

const ITEMS: Key = Key::optional("items", POINTER, "where the answer has the array of items")
    .default("the answer itself");

const MATCH: Kind = Kind::new(
    "table: JSON pointer to value",
    "{ '/a' = '${run.name}' }",
    "{ a = 1 }",
);

/// Reads `create`, `find`, `delete`, `list` and `expect_refused`.
pub fn build(fields: &mut Fields<'_, '_>, shape: Shape<'_>) -> Option<Built> {
    let expect_refused = fields.table("expect_refused").map(|mut table| {
        if !table.has("status") {
            table.missing("status", "say how the target refuses, such as status = 400");
        }
        Expectation::read(table)
    });
    let create = read_create(fields, shape);
    let before = fields.notes().reads.len();
    let find = read_find(fields, shape);
    let delete = read_delete(fields);
    let list = read_list(fields);
    let recorded = fields.notes().reads[before..].to_vec();
    let recorded = recorded
        .into_iter()
        .filter(|(read, _)| read.name != shape.own)
        .collect();
    let ((create, expect, captures), (delete, gone)) = (create?, delete?);

    let ids = captures.writes();
    for (key, secret) in &ids {
        if *secret && delete.reads(shape.own, key) {
            let what = format!("reads `{key}`, which is secret, but an undo is written down");
            fields.problem(
                "delete",
                what,
                "name the thing by something that is no secret",
            );
        }
    }
    check_find(fields, (&find, &delete), &ids, shape);
    Some(Built {
        writes: ids,
        recorded,
        work: Work::Acquire {
            resource: Box::new(HttpResource {
                own: shape.own.to_owned(),
                create,
                expect,
                expect_refused,
                captures,
                find,
                delete,
                gone,
                list,
            }),
            teardown_timeout: crate::spec::DEFAULT_TEARDOWN,
        },
    })
}

/// Whether the search can do what it is for; without one, what that means.
fn check_find(
    fields: &mut Fields<'_, '_>,
    (find, delete): (&Option<Find>, &RequestTemplate),
    ids: &[(String, bool)],
    shape: Shape<'_>,
) {
    let needs_ids = ids.iter().any(|(key, _)| delete.reads(shape.own, key));
    match find {
        None if !fields.has("find") => {
            let what = if needs_ids {
                "is missing: after a lost answer nobody can look for the thing, so it stays owed until a person has seen to it, and a delete that may have been carried out is not repeated"
            } else {
                "is missing: nobody can look whether the thing is gone, so the answer to `delete` is believed"
            };
            warn(fields, what, FIND);
        }
        Some(find) => {
            let ours = ["name", "id"].map(|key| find.request.reads("run", key));
            if ours == [false, false] && find.items.is_some() && find.pages.are_usual() {
                let what = "asks for all there is: if the list ever comes in pages, the thing may be behind the first";
                let help = "ask by ${run.name}, or say how the list goes on: next = { address = \"/next\" }, or next = { none = true }";
                warn(fields, what, help);
            }
            let found = find.captures.writes();
            for (key, _) in ids.iter().filter(|(key, _)| delete.reads(shape.own, key)) {
                if !found.iter().any(|(name, _)| name == key) {
                    let what = format!("does not capture `{key}`, which `delete` reads");
                    fields.problem("find", what, format!("capture = {{ {key} = \"json:/…\" }}"));
                }
            }
        }
        None => {}
    }
}

const FIND: &str =
    "find = { path = …, items = …, match = { \"/name\" = \"${run.name}\" }, capture = { … } }";

/// A warning about `find`.
fn warn(fields: &mut Fields<'_, '_>, what: &str, help: &str) {
    let (at, key) = (fields.at(), fields.key("find"));
    let warning = Problem::warning(&at, key, what, help);
    fields.notes().problems.push(warning);
}

fn read_create(
    fields: &mut Fields<'_, '_>,
    shape: Shape<'_>,
) -> Option<(RequestTemplate, Expectation, Captures)> {
    if !fields.has("create") {
        fields.missing(
            "create",
            "say how it is made: create = { method = \"POST\", path = … }",
        );
    }
    let before = fields.notes().reads.len();
    let mut table = fields.table("create")?;
    let request = RequestTemplate::read_create(&mut table, Method::POST);
    let expect = table
        .table("expect")
        .map_or_else(Expectation::success, Expectation::read);
    let captures = table
        .table("capture")
        .map(Captures::read)
        .unwrap_or_default();
    table.finish();
    let own = |(read, _): &(crate::text::Read, _)| read.name == shape.own;
    if fields.notes().reads[before..].iter().any(own) {
        fields.problem(
            "create",
            "reads its own captures",
            "they exist only after it was made",
        );
    }
    Some((request?, expect, captures))
}

fn read_find(fields: &mut Fields<'_, '_>, shape: Shape<'_>) -> Option<Find> {
    let before = fields.notes().reads.len();
    let mut table = fields.table("find")?;
    let request = RequestTemplate::read_recorded(&mut table, Method::GET);
    let items = pointer(&mut table, "items");
    let pages = Pages::read(&mut table);
    if !table.has("match") {
        table.missing(
            "match",
            "say which item is ours: match = { \"/name\" = \"${run.name}\" }",
        );
    }
    let matches = table
        .table("match")
        .map(|mut pointers| json_pointers(&mut pointers))
        .unwrap_or_default();
    let ours = |value: &ValueTemplate| value.reads("run", "name") || value.reads("run", "id");
    if table.has("match") && !matches.iter().any(|(_, value)| ours(value)) {
        table.problem(
            "match",
            "does not tell ours from others'",
            "compare the name with one that holds ${run.name}",
        );
    }
    let captures = table
        .table("capture")
        .map(Captures::read)
        .unwrap_or_default();
    if !captures.only_json() {
        table.problem(
            "capture",
            "is relative to the item found",
            "use \"json:/…\" only",
        );
    }
    table.finish();
    let own = |(read, _): &(crate::text::Read, _)| read.name == shape.own;
    let reads_own = fields.notes().reads[before..].iter().any(own);
    if reads_own {
        fields.problem(
            "find",
            "reads its own captures",
            "find it by its name, ${run.name}",
        );
    }
    Some(Find {
        request: request?,
        items,
        pages,
        matches,
        captures,
    })
}

fn read_delete(fields: &mut Fields<'_, '_>) -> Option<(RequestTemplate, Vec<u16>)> {
    if !fields.has("delete") {
        fields.missing(
            "delete",
            "say how it is undone: delete = { method = \"DELETE\", path = … }",
        );
    }
    let mut table = fields.table("delete")?;
    let request = RequestTemplate::read_recorded(&mut table, Method::DELETE);
    let gone = exact_statuses(&mut table, "gone").unwrap_or_else(|| GONE.to_vec());
    table.finish();
    Some((request?, gone))
}

fn read_list(fields: &mut Fields<'_, '_>) -> Option<List> {
    let mut table = fields.table("list")?;
    let request = RequestTemplate::read_list(&mut table, Method::GET);
    let items = pointer(&mut table, "items");
    let pages = Pages::read(&mut table);
    let name = pointer(&mut table, "name");
    if name.is_none() {
        table.missing("name", "say where an item has its name: name = \"/name\"");
    }
    let captures = table
        .table("capture")
        .map(Captures::read)
        .unwrap_or_default();
    if !captures.only_json() {
        table.problem("capture", "is relative to an item", "use \"json:/…\" only");
    }
    table.finish();
    Some(List {
        request: request?,
        items,
        pages,
        name: name?,
        captures,
    })
}

pub(super) fn pointer(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<String> {
    let text = fields.string(key)?;
    if !is_pointer(&text) {
        fields.problem(key, "is not a JSON pointer", POINTER_HELP);
    }
    Some(text)
}
