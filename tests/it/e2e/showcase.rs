//! A plan in which everything occurs that has series of its own: a matrix, a resource, retries,
//! phases of HTTP, an objective, a limit.

use crate::rig::Rig;

/// Every scheduled spec, with its variant.
pub(super) const IDENTITIES: [(&str, &str); 4] = [
    ("greeting", "morning"),
    ("greeting", "evening"),
    ("item", ""),
    ("refused", ""),
];

/// What the rig counts of the greeting in the evening, to make it fail.
pub(super) const EVENING: &str = "/ok#evening";

pub(super) const SPECS: &str = r#"
[[spec]]
name = "greeting"
tags = ["hall"]
timeout = "2s"
[[spec.matrix]]
variant = "morning"
word = "morning"
[[spec.matrix]]
variant = "evening"
word = "evening"
[[spec.steps]]
name = "greet"
use = "http"
path = "/ok?id=${word}"
retry = { attempts = 2, delay = "5ms" }
[[spec.steps]]
name = "bow"
use = "http"
path = "/ok?id=bow-${word}"

[[spec]]
name = "item"
tags = ["store"]
timeout = "5s"
http_phases = true
uses = { shelf = 1 }
[[spec.wrap]]
name = "thing"
use = "http.resource"
timeout = "2s"
teardown_timeout = "2s"
create = { method = "POST", path = "/items", json = { name = "${run.name}" }, expect = { status = 201 }, capture = { id = "json:/id" } }
find = { path = "/items?name=${run.name}", items = "/found", match = { "/name" = "${run.name}" }, capture = { id = "json:/id" } }
delete = { method = "DELETE", path = "/items/${thing.id}", gone = [404] }
[[spec.steps]]
name = "read"
use = "http"
path = "/items/${thing.id}"
expect = { json = { "/name" = "${run.name}" } }

[[spec]]
name = "refused"
description = "What is <not> there is said to be not there."
tags = ["hall"]
[[spec.steps]]
name = "ask"
use = "http"
path = "/status/404"
expect = { status = 404 }
"#;

/// Targets and probes for these specs.
pub(super) fn config(rig: &Rig) -> String {
    let url = rig.url();
    format!(
        r#"
        [limits]
        shelf = 1
        [target.house]
        type = "http"
        endpoint = "{url}"
        [[probe]]
        name = "hall"
        target = "house"
        tags = ["hall"]
        interval = "200ms"
        objective = 0.99
        [[probe]]
        name = "store"
        target = "house"
        tags = ["store"]
        interval = "300ms"
        objective = 0.5
        "#
    )
}
