//! Nothing is left behind, not even after `kill -9`: the real program against the rig, which is
//! another process to it and keeps books of its own.
//!
//! Nothing is judged by the clock. What is waited for is asked for again and again; what lies on
//! the target is read from the rig's books, what is owed from `testerd sweep --list`.

mod accepted;
mod chance;
mod change;
mod kills;
mod lies;
mod site;
mod state_dir;
mod steps;
mod stop;
mod sweep;

use std::time::Duration;

/// How long anything may take on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(40);

/// Two nested resources, a third as a step inside, and time in which to be killed. The name of each
/// begins with the name of the one around it, and the rig's search goes by the beginning.
const SPECS: &str = r#"
[[spec]]
name = "nested"
timeout = "20s"
[[spec.matrix]]
variant = "quick"
pause = "1ms"
[[spec.matrix]]
variant = "steady"
pause = "30ms"
[[spec.matrix]]
variant = "slow"
pause = "120ms"
[[spec.wrap]]
name = "outer"
use = "http.resource"
timeout = "300ms"
teardown_timeout = "2s"
create = { path = "/items", json = { name = "${run.name}" }, expect = { status = 201 }, capture = { id = "json:/id" } }
find = { path = "/items?name=${run.name}", items = "/found", match = { "/name" = "${run.name}" }, capture = { id = "json:/id" } }
delete = { path = "/items/${outer.id}", gone = [404] }
list = { path = "/items", items = "/found", name = "/name", capture = { id = "json:/id" } }
[[spec.wrap]]
name = "inner"
use = "http.resource"
timeout = "300ms"
teardown_timeout = "2s"
create = { path = "/items", json = { name = "${run.name}-in" }, expect = { status = 201 }, capture = { id = "json:/id" } }
find = { path = "/items?name=${run.name}-in", items = "/found", match = { "/name" = "${run.name}-in" }, capture = { id = "json:/id" } }
delete = { path = "/items/${inner.id}", gone = [404] }
[[spec.steps]]
name = "thing"
use = "http.resource"
timeout = "300ms"
teardown_timeout = "2s"
create = { path = "/items", json = { name = "${run.name}-in-step" }, expect = { status = 201 }, capture = { id = "json:/id" } }
find = { path = "/items?name=${run.name}-in-step", items = "/found", match = { "/name" = "${run.name}-in-step" }, capture = { id = "json:/id" } }
delete = { path = "/items/${thing.id}", gone = [404] }
[[spec.steps]]
name = "pause"
use = "sleep"
for = "${pause}"
[[spec.steps]]
name = "read-back"
use = "http"
path = "/items/${thing.id}"

[[spec]]
name = "single"
timeout = "10s"
[[spec.wrap]]
name = "item"
use = "http.resource"
timeout = "2s"
teardown_timeout = "20s"
create = { path = "/items", json = { name = "${run.name}" }, expect = { status = 201 }, capture = { id = "json:/id" } }
find = { path = "/items?name=${run.name}", items = "/found", match = { "/name" = "${run.name}" }, capture = { id = "json:/id" } }
delete = { path = "/items/${item.id}", gone = [404] }
list = { path = "/items", items = "/found", name = "/name", capture = { id = "json:/id" } }
[[spec.steps]]
name = "read-back"
use = "http"
path = "/items/${item.id}"

[[spec]]
name = "idle"
[[spec.steps]]
name = "look"
use = "http"
path = "/ok"
"#;

/// A probe of the rig.
fn probe(spec: &str, interval: &str) -> String {
    format!(
        "[[probe]]\nname = \"{spec}\"\ntarget = \"rig\"\nnames = [\"{spec}\"]\ninterval = \"{interval}\"\n"
    )
}
