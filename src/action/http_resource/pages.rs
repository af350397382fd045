//! A list that comes in pages: where the next one is, and when there is none. A list that was not
//! read to its end never proves that something is not in it.

use std::collections::HashSet;

use http::header::LINK;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::{GONE, pointer};
use crate::action::expect::{Expectation, Reply};
use crate::action::keys::{Key, Part};
use crate::action::kind::{FLAG, INTEGER, POINTER, TABLE, WORD};
use crate::action::manner::place_of;
use crate::action::request::RequestTemplate;
use crate::client::Request;
use crate::outcome::{Failure, Reason};
use crate::spec::{Context, Place};
use crate::text::{Fields, Lookup, plain};

/// The most pages that may be asked for.
const MOST: u64 = 10_000;

/// How many are read where `max_pages` says nothing.
const USUAL: u64 = 100;

/// The keys of a list in pages.
pub(super) const PAGES: Part = Part::shared(
    "a list in pages",
    &[
        Key::optional(
            "next",
            TABLE,
            "where the next page is; without it a `Link` header with `rel=\"next\"` is followed, and an answer that says in its body that there is more is an error",
        )
        .of(&[Part::own(&[
            Key::optional(
                "link",
                FLAG,
                "in the header `Link`, under `rel=\"next\"` (RFC 8288)",
            )
            .default("false"),
            Key::optional(
                "address",
                POINTER,
                "where the body has the next page's address, on the target's own origin",
            ),
            Key::optional(
                "cursor",
                POINTER,
                "where the body has what the next request puts into the query parameter `parameter`",
            ),
            Key::optional("parameter", WORD, "the query parameter that takes the `cursor`"),
            Key::optional(
                "page",
                WORD,
                "the query parameter that takes the page's number; an empty page is behind the last",
            ),
            Key::optional("first", INTEGER, "the number of the first page").default("1"),
            Key::optional(
                "offset",
                WORD,
                "the query parameter that takes how many items came before; an empty page is behind the last",
            ),
            Key::optional(
                "none",
                FLAG,
                "there are no pages, whatever an answer seems to say",
            )
            .default("false"),
        ])]),
        Key::optional(
            "max_pages",
            INTEGER,
            "how many pages are read at most, up to 10000; a list that is longer counts as not read to its end",
        )
        .default("100"),
    ],
);

/// How a list goes on, as specs and undo records say it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pages {
    #[serde(default)]
    next: Following,
    max_pages: u64,
}

/// Where the next page is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Following {
    /// Nothing is said: a `Link` header is believed, and a body that says that there is more.
    #[default]
    Unsaid,
    Link,
    Address(String),
    Cursor {
        at: String,
        parameter: String,
    },
    Page {
        parameter: String,
        first: u64,
    },
    Offset {
        parameter: String,
    },
    None,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            next: Following::default(),
            max_pages: USUAL,
        }
    }
}

/// What came of reading a list.
pub(super) enum Read {
    /// All of it was seen.
    Whole,
    /// Not all of it was: why.
    Unfinished(String),
    /// The target says that there is no such thing.
    Unknown,
}

/// What follows one page.
enum Step {
    End,
    /// It cannot be gone on, though there is more.
    Lost(String),
    /// To this address.
    To(Url),
}

impl Pages {
    /// Whether nothing was said of them.
    pub(super) fn are_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Reads `next` and `max_pages`.
    pub(super) fn read(fields: &mut Fields<'_, '_>) -> Self {
        let max_pages = fields.integer("max_pages", 1..=MOST).unwrap_or(USUAL);
        let Some(mut table) = fields.table("next") else {
            return Self {
                next: Following::Unsaid,
                max_pages,
            };
        };
        let (link, none) = (table.flag("link"), table.flag("none"));
        let address = pointer(&mut table, "address");
        let cursor = pointer(&mut table, "cursor");
        let parameter = table.string("parameter");
        let page = table.string("page");
        let first = table.integer("first", 0..=1_000_000);
        let offset = table.string("offset");
        if cursor.is_some() && parameter.is_none() && !table.has("parameter") {
            let help = "say which query parameter takes the cursor: parameter = \"cursor\"";
            table.missing("parameter", help);
        }
        // Alone they would be without any effect.
        for (there, beside) in [(parameter.is_some(), "cursor"), (first.is_some(), "page")] {
            if there && !table.has(beside) {
                table.missing(beside, WAYS);
            }
        }
        let ways = [
            link.then_some(Following::Link),
            none.then_some(Following::None),
            address.map(Following::Address),
            cursor
                .zip(parameter)
                .map(|(at, parameter)| Following::Cursor { at, parameter }),
            page.map(|parameter| Following::Page {
                parameter,
                first: first.unwrap_or(1),
            }),
            offset.map(|parameter| Following::Offset { parameter }),
        ];
        let mut ways: Vec<_> = ways.into_iter().flatten().collect();
        table.finish();
        if ways.len() > 1 {
            fields.problem("next", "says more than one way to go on", WAYS);
        }
        Self {
            next: ways.pop().unwrap_or_default(),
            max_pages,
        }
    }

    /// Reads a list from its first page to its last, or until nothing more is to be had. Without
    /// `items` the answer itself is the only item.
    pub(super) async fn each(
        &self,
        (request, lookup): (&RequestTemplate, &dyn Lookup),
        (what, items): (&str, Option<&str>),
        context: &mut Context<'_>,
        mut each: impl FnMut(&Value) -> Result<(), Failure>,
    ) -> Result<Read, Failure> {
        let (mut request_now, mut place) = request.render(context, lookup).await?;
        if let Following::Page { parameter, first } = &self.next {
            request_now.path = with_parameter(&request_now.path, parameter, &first.to_string());
        }
        let mut asked = HashSet::new();
        let (mut before, mut count, mut page) = (None, 0, 1);
        loop {
            asked.insert(request_now.path.clone());
            let sent = request.exchange(context, request_now.clone(), place.clone());
            let reply = sent.await?;
            if page == 1 && items.is_none() && GONE.contains(&reply.answer.status) {
                return Ok(Read::Unknown);
            }
            Expectation::success().check(&reply, lookup)?;
            let found = items_of(&reply, items, what)?;
            found.iter().try_for_each(&mut each)?;
            count += found.len();
            let repeats = !found.is_empty() && before.as_deref() == Some(found);
            before = Some(found.to_vec());
            let at = Url::parse(&reply.url).map_err(|error| unclear(what, &error.to_string()))?;
            let to = match self.step(&reply, found, &at, (page, count), items.is_some()) {
                Step::End => return Ok(Read::Whole),
                Step::Lost(why) => return Ok(Read::Unfinished(why)),
                Step::To(_) if repeats => {
                    return Ok(Read::Unfinished(format!(
                        "page {page} is the one before again"
                    )));
                }
                Step::To(_) if page >= self.max_pages => {
                    let why = format!("there is more behind page {page} (max_pages)");
                    return Ok(Read::Unfinished(why));
                }
                Step::To(to) => to,
            };
            match Self::go(context, &request_now, &to) {
                Ok((request, there)) => (request_now, place) = (request, there),
                Err(why) => return Ok(Read::Unfinished(why)),
            }
            page += 1;
            if asked.contains(&request_now.path) {
                let why = format!("page {page} is one that was read before");
                return Ok(Read::Unfinished(why));
            }
        }
    }

    /// What follows a page that came from `at`.
    fn step(
        &self,
        reply: &Reply,
        found: &[Value],
        at: &Url,
        (page, count): (u64, usize),
        is_list: bool,
    ) -> Step {
        let to = |address: &str| match at.join(address) {
            Ok(to) => Step::To(to),
            Err(error) => Step::Lost(format!("the next page's address is none: {error}")),
        };
        let put = |parameter: &str, value: &str| {
            let mut to = at.clone();
            let path = with_parameter(
                &format!("?{}", at.query().unwrap_or_default()),
                parameter,
                value,
            );
            to.set_query(path.strip_prefix('?'));
            Step::To(to)
        };
        match &self.next {
            Following::None => Step::End,
            Following::Unsaid | Following::Link => match next_link(reply) {
                Some(address) => to(&address),
                None if self.next == Following::Unsaid && is_list => {
                    more(reply, found.len()).map_or(Step::End, Step::Lost)
                }
                None => Step::End,
            },
            Following::Address(pointer) => match named(reply, pointer) {
                Named::Nothing => Step::End,
                Named::Text(address) => to(&address),
                Named::Unclear => Step::Lost(format!("json {pointer} is no address")),
            },
            Following::Cursor { at, parameter } => match named(reply, at) {
                Named::Nothing => Step::End,
                Named::Text(cursor) => put(parameter, &cursor),
                Named::Unclear => Step::Lost(format!("json {at} is no cursor")),
            },
            Following::Page { .. } | Following::Offset { .. } if found.is_empty() => Step::End,
            Following::Page { parameter, first } => put(parameter, &(first + page).to_string()),
            Following::Offset { parameter } => put(parameter, &count.to_string()),
        }
    }

    /// The request for the next page. It stays on the target.
    fn go(context: &Context<'_>, request: &Request, to: &Url) -> Result<(Request, Place), String> {
        let (place, path) = place_of(context, true, to.as_str())?;
        if place.endpoint.origin() != context.home().endpoint.origin() {
            return Err("the next page's address leaves the target's origin".to_owned());
        }
        Ok((
            Request {
                path,
                ..request.clone()
            },
            place,
        ))
    }
}

const WAYS: &str = "write one of link = true, address = \"/next\", cursor = \"/cursor\" with parameter = \"cursor\", page = \"page\", offset = \"offset\", none = true";

/// What the body names at a place.
enum Named {
    Nothing,
    Text(String),
    Unclear,
}

fn named(reply: &Reply, pointer: &str) -> Named {
    let json = reply.json(Reason::Protocol).ok();
    match json.and_then(|json| json.pointer(pointer)) {
        None | Some(Value::Null | Value::Bool(false)) => Named::Nothing,
        Some(Value::String(text)) if text.is_empty() => Named::Nothing,
        Some(value @ (Value::String(_) | Value::Number(_))) => {
            plain(value).map_or(Named::Unclear, Named::Text)
        }
        // HAL: { "next": { "href": … } }
        Some(Value::Object(link)) => match link.get("href") {
            Some(Value::String(href)) if !href.is_empty() => Named::Text(href.clone()),
            _ => Named::Unclear,
        },
        Some(_) => Named::Unclear,
    }
}

/// The address under `rel="next"` in the `Link` headers (RFC 8288, 3).
fn next_link(reply: &Reply) -> Option<String> {
    let values = reply.answer.headers.get_all(LINK).iter();
    let mut links = values.flat_map(|value| links(&String::from_utf8_lossy(value.as_bytes())));
    let is_next = |rel: &str| {
        rel.split_ascii_whitespace()
            .any(|rel| rel.eq_ignore_ascii_case("next"))
    };
    links
        .find(|(_, rel)| is_next(rel))
        .map(|(address, _)| address)
}

/// Every link of one header: its address, and its relations.
fn links(header: &str) -> Vec<(String, String)> {
    let mut links = Vec::new();
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((address, parameters)) = after.split_once('>') else {
            break;
        };
        let (parameters, following) = split_unquoted(parameters, ',');
        let mut rel = String::new();
        let mut left = parameters;
        while !left.is_empty() {
            let (parameter, more) = split_unquoted(left, ';');
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("rel")
                && rel.is_empty()
            {
                value.trim().trim_matches('"').clone_into(&mut rel);
            }
            left = more;
        }
        links.push((address.trim().to_owned(), rel));
        rest = following;
    }
    links
}

/// Before and behind the first such character that stands in no quotes.
fn split_unquoted(text: &str, at: char) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (index, next) in text.char_indices() {
        match next {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if next == at && !quoted => {
                return (&text[..index], &text[index + next.len_utf8()..]);
            }
            _ => {}
        }
    }
    (text, "")
}

/// How bodies say that there is more, in lower case and without `_`, `-`, `.` and `@`.
const NEXT: [&str; 14] = [
    "next",
    "nextpage",
    "nexturl",
    "nextlink",
    "nexthref",
    "nexturi",
    "nextcursor",
    "nexttoken",
    "nextpagetoken",
    "nextmarker",
    "odatanextlink",
    "continue",
    "continuation",
    "continuationtoken",
];
const FLAGS: [&str; 8] = [
    "hasmore",
    "hasnext",
    "hasnextpage",
    "more",
    "truncated",
    "istruncated",
    "incompleteresults",
    "moreavailable",
];
const TOTALS: [&str; 6] = [
    "total",
    "totalcount",
    "totalitems",
    "totalresults",
    "totalelements",
    "count",
];
const AROUND: [&str; 10] = [
    "meta",
    "metadata",
    "paging",
    "pagination",
    "page",
    "pageinfo",
    "links",
    "cursor",
    "cursors",
    "responsemetadata",
];

/// Why a body that has so many items is not all there is, if it says so.
fn more(reply: &Reply, items: usize) -> Option<String> {
    let body = reply.json(Reason::Protocol).ok()?.as_object()?;
    let around = |(key, inner): (&String, &'_ Value)| {
        let inner = AROUND.contains(&&*simple(key)).then_some(inner)?;
        Some(inner.as_object()?.clone())
    };
    let inner: Vec<_> = body.iter().filter_map(around).collect();
    let all = std::iter::once(body).chain(&inner).flatten();
    for (key, value) in all {
        let name = simple(key);
        let name = name.as_str();
        let is_more = match value {
            Value::String(text) => NEXT.contains(&name) && !text.is_empty(),
            Value::Bool(is_so) => *is_so && (FLAGS.contains(&name) || NEXT.contains(&name)),
            Value::Object(link) => NEXT.contains(&name) && link.contains_key("href"),
            Value::Number(number) => {
                let more = |total: u64| usize::try_from(total).is_ok_and(|total| total > items);
                NEXT.contains(&name) || TOTALS.contains(&name) && number.as_u64().is_some_and(more)
            }
            Value::Null | Value::Array(_) => false,
        };
        if is_more {
            return Some(format!(
                "the answer says that there is more (`{key}`): say in `next` how it goes on"
            ));
        }
    }
    None
}

fn simple(key: &str) -> String {
    let letters = key.chars().filter(|next| !"_-.@".contains(*next));
    letters.flat_map(char::to_lowercase).collect()
}

/// A path with this value of a query parameter, instead of any other.
fn with_parameter(path: &str, parameter: &str, value: &str) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (bare, query) = path.split_once('?').unwrap_or((path, ""));
    let is_other = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        !pair.is_empty() && name != parameter && name != encoded(parameter)
    };
    let mut pairs: Vec<_> = query
        .split('&')
        .filter(is_other)
        .map(str::to_owned)
        .collect();
    let name = utf8_percent_encode(parameter, PARAMETER);
    pairs.push(format!("{name}={}", encoded(value)));
    format!("{bare}?{}", pairs.join("&"))
}

/// What stands for itself in the name of a parameter, such as `page[after]` does not.
const PARAMETER: &percent_encoding::AsciiSet =
    &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.');

/// The items of an answer, or the answer itself as the only one.
fn items_of<'a>(
    reply: &'a Reply,
    pointer: Option<&str>,
    what: &str,
) -> Result<&'a [Value], Failure> {
    let json = reply.json(Reason::Protocol).map_err(|failure| {
        let message = format!("{what}: {}", failure.message);
        Failure { message, ..failure }
    })?;
    match pointer {
        None => Ok(std::slice::from_ref(json)),
        Some(pointer) => json
            .pointer(pointer)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .ok_or_else(|| unclear(what, &format!("there is no array at json {pointer}"))),
    }
}

fn unclear(what: &str, why: &str) -> Failure {
    Failure::new(Reason::Protocol, format!("{what}: {why}"))
}

/// A list that was not read to its end.
pub(super) fn unfinished(what: &str, why: &str) -> Failure {
    let short = format!("{what}: the search is not finished");
    unclear(what, &format!("the search is not finished: {why}")).in_short(short)
}

#[cfg(test)]
mod tests;
