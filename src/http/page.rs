//! The page for people: what is probed, and how it last went.

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

use crate::exporter::brief;
use crate::exporter::history::{BlindSearch, Entry, LastRun};
use crate::outcome::Verdict;
use crate::text::{is_unseen, rfc3339};

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:85rem;margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8884}\
td small{display:block;opacity:.7;overflow-wrap:anywhere}\
/* what is short stays on one line: failed of, when, took */\
td:nth-child(6),td:nth-last-child(-n+2){white-space:nowrap}\
.pass{color:light-dark(#17692e,#63c97e)}\
.fail{color:light-dark(#b3261e,#ff8a80);font-weight:600}\
.error{color:light-dark(#8a5300,#ffb74d);font-weight:600}\
.cancelled,.not_applicable{opacity:.7}";

/// Renders it; without entries no plan is running yet.
pub(super) fn render(
    entries: Option<&[Entry]>,
    blind: &[BlindSearch],
    refused: bool,
    last_scrape: Option<SystemTime>,
    now: SystemTime,
) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut page, entries, (blind, refused), last_scrape, now);
    page
}

fn write(
    page: &mut String,
    entries: Option<&[Entry]>,
    (blind, refused): (&[BlindSearch], bool),
    last_scrape: Option<SystemTime>,
    now: SystemTime,
) -> fmt::Result {
    let version = env!("CARGO_PKG_VERSION");
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>testerd</title><style>{STYLE}</style></head>\n<body>\n\
         <h1>testerd <small>{version}</small></h1>\n\
         <p><a href=\"metrics\">metrics</a>{} · <a href=\"-/healthy\">healthy</a> · \
         <a href=\"-/ready\">ready</a></p>\n",
        last_scrape.map_or_else(String::new, |at| format!(" (scraped {})", ago(at, now))),
    )?;
    if refused {
        page.push_str(
            "<p class=\"error\">The configuration that was read last was refused: the one before is \
             running. The log and <code>testerd check</code> say why.</p>\n",
        );
    }
    for search in blind {
        writeln!(
            page,
            "<p class=\"error\">The search for {} on {} is blind: {} did not find what had just been \
             made. What it does not find is not believed to be gone.</p>",
            Escaped(&search.kind),
            Escaped(&search.target),
            Escaped(&search.search),
        )?;
    }
    match entries {
        None => writeln!(page, "<p>No plan is running yet.</p>")?,
        Some(entries) => table(page, entries, now)?,
    }
    writeln!(page, "</body>\n</html>")
}

fn table(page: &mut String, entries: &[Entry], now: SystemTime) -> fmt::Result {
    page.push_str("<table>\n<thead><tr>");
    for name in [
        "Target", "Spec", "Variant", "Probe", "Every", "Failed", "Last run", "When", "Took",
    ] {
        write!(page, "<th>{name}</th>")?;
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for entry in entries {
        let (spec, identity) = (&entry.spec, &entry.spec.identity);
        write!(
            page,
            "<tr><td>{}</td><td>{}<small>{}</small></td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{} of {}</td>",
            Escaped(&identity.target),
            Escaped(&identity.spec),
            Escaped(&spec.description),
            Escaped(&identity.variant),
            Escaped(&spec.probe),
            humantime::format_duration(spec.interval),
            entry.failures,
            entry.runs,
        )?;
        match &entry.last {
            None => page.push_str("<td>none yet</td><td></td><td></td>"),
            Some(last) => last_run(page, last, now)?,
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
    Ok(())
}

fn last_run(page: &mut String, last: &LastRun, now: SystemTime) -> fmt::Result {
    let verdict = last.verdict.as_str();
    write!(page, "<td><span class=\"{verdict}\">{verdict}</span>")?;
    match last.verdict {
        Verdict::Pass => {}
        Verdict::Fail(reason) => write!(page, " {reason}")?,
        Verdict::Inconclusive(cause) if cause.as_str() == verdict => {}
        Verdict::Inconclusive(cause) => write!(page, " {cause}")?,
    }
    if let Some(failed) = &last.failed {
        write!(
            page,
            " at {}<small>{}</small>",
            Escaped(&failed.step),
            Escaped(&failed.failure.message)
        )?;
    }
    write!(
        page,
        "</td><td><time datetime=\"{}\">{}</time><small>{}</small></td><td>{}</td>",
        rfc3339(last.at),
        ago(last.at, now),
        Escaped(&last.id),
        brief(last.duration),
    )
}

/// A clock that was set back is no reason to fail.
fn ago(at: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(at).unwrap_or_default().as_secs();
    format!(
        "{} ago",
        humantime::format_duration(Duration::from_secs(seconds))
    )
}

/// Text that may stand anywhere in a page, attributes included.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for next in self.0.chars() {
            match next {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ if is_unseen(next) && next != '\n' => write!(f, "\\u{:04x}", u32::from(next))?,
                _ => f.write_char(next)?,
            }
        }
        Ok(())
    }
}
