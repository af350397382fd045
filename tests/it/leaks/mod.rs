//! Thirty secrets, planted in every way there is, on a target that says each back in 32 forms:
//! nothing that the program writes, shows or logs holds any of them, in any form.

mod forms;
mod target;

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output};

use aho_corasick::AhoCorasick;
use rustix::process::Signal;

use crate::e2e::child::Child;
use crate::e2e::eventually;
use crate::rig::get;
use forms::{FORMS, readings};

const PROGRAM: &str = env!("CARGO_BIN_EXE_testerd");

/// So many letters of a secret in a row are found.
const TELLING: usize = 8;

/// So many codes are taken off, one inside another.
const DEPTH: usize = 3;

/// Kinds of secrets, as people and programs make them; `@` is another letter or digit each time.
const KINDS: [&str; 10] = [
    "@@@@@@@@@@@@@@@@@@@@@@@@",
    "p@ ss/w\"@ö?rd+@1@ é@",
    "@@<b>@@&am@;'@@\\n@@%41@@",
    "Tr@ub4dor & @@@ 3ß@@@@",
    "eyJ@@@@@@@@@@.eyJ@@@@@@@@@@@@@.@@-@@_@@@@@",
    "🔑@@密码@@ключ@@@@🔑@",
    "@@@@-@@@@-@@@@-@@@@",
    "@@@@@@@@@@+@@@@/@@@@==",
    "{\"k\":\"@@@@@@\",\"n\":@@@@}",
    "sk_live_@@@@@@@@@@@@",
];

fn secrets() -> Vec<String> {
    let letters = b"abcdefghijkmnpqrstuvwxyzACDEFGHJKLMNPQRTUVWXY34679";
    let mut state = 88_172_645_463_325_252_u64;
    let mut letter = |_: &str| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(letters[usize::try_from(state % letters.len() as u64).unwrap()])
    };
    let secret = |nth: usize| {
        let kind = KINDS[nth % KINDS.len()];
        let c = |c: char| if c == '@' { letter("") } else { c };
        kind.chars().map(c).collect()
    };
    (0..30).map(secret).collect()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Secrets that a target has from us, in which source, and those that it makes itself.
const FROM_US: usize = 20;

/// The configuration: a target with twenty secrets, and three that authenticate by others.
fn config(address: &str, secrets: &[String], folder: &Path) -> String {
    let mut text =
        "[tester]\nspecs = [\"specs.toml\"]\nstate_dir = \"state\"\nstop_grace = \"1s\"\n\
         [cleanup]\nsettle = \"1s\"\n"
            .to_owned();
    let source = |nth: usize| match nth % 3 {
        0 => {
            std::fs::write(folder.join(format!("s{nth}")), &secrets[nth]).unwrap();
            format!("{{ file = \"s{nth}\" }}")
        }
        1 => format!("{{ env = \"SECRET_{nth}\" }}"),
        _ => quoted(&secrets[nth]),
    };
    let site = |name: &str, rest: &str| {
        format!("[target.{name}]\ntype = \"http\"\nendpoint = \"http://{address}\"\n{rest}\n")
    };
    let table: Vec<_> = (0..FROM_US - 3)
        .map(|nth| format!("s{nth} = {}", source(nth)))
        .collect();
    text += &site("site", &format!("secrets = {{ {} }}", table.join(", ")));
    let password = format!("auth = {{ username = \"me\", password = {} }}", source(17));
    text += &site("basic", &password);
    text += &site("bearer", &format!("auth = {{ bearer = {} }}", source(18)));
    let oauth = |way: &str| {
        format!(
            "auth = {{ oauth2 = {{ token_url = \"http://{address}{way}\", client_id = \"me\", client_secret = {} }} }}",
            source(19)
        )
    };
    text += &site("oauth", &oauth("/say/20/0/granted"));
    for form in 0..FORMS.len() {
        text += &site(
            &format!("refused-{form}"),
            &oauth(&format!("/say/19/{form}/oauth")),
        );
    }
    let refused = (0..FORMS.len()).map(|form| (format!("refused-{form}"), "idle".to_owned()));
    let targets =
        ["site", "basic", "bearer", "oauth"].map(|name| (name.to_owned(), name.to_owned()));
    for (target, tag) in targets.into_iter().chain(refused) {
        write!(
            text,
            "[[probe]]\ntarget = \"{target}\"\ntags = [\"{tag}\"]\ninterval = \"12s\"\n"
        )
        .unwrap();
    }
    text
}

/// A step that fails, and shows what it has heard.
fn step(nth: usize, form: usize, place: &str, keys: &str) -> String {
    let (word, expect) = match place {
        "sse" => ("sse", "until = { event = \"y\" }"),
        "websocket" => (
            "websocket",
            "exchange = [{ until = { json = { \"/a\" = \"?\" } } }]",
        ),
        "header" => ("http", "expect = { header = { x-echo = \"?\" } }"),
        "redirect" => (
            "http",
            "redirects = 3\nexpect = { text = \"?@?\", url = \"http://x/\" }",
        ),
        "away" => ("http", "redirects = 3"),
        "graphql" => (
            "http",
            "expect = { json = { \"/errors/0/message\" = \"?\" } }",
        ),
        "json" => ("http", "expect = { json = { \"/a\" = \"?\" } }"),
        _ => ("http", "expect = { text = \"?@?\" }"),
    };
    let name = format!("{place}-{form}");
    format!(
        "[[spec.steps]]\nname = \"{name}\"\nuse = \"{word}\"\npath = \"/say/{nth}/{form}/{place}\"\n\
         allow_failure = true\ntimeout = \"2s\"\n{expect}\n{keys}\n"
    )
}

const PLACES: [&str; 10] = [
    "body",
    "cut",
    "status",
    "header",
    "redirect",
    "away",
    "chunks",
    "graphql",
    "sse",
    "websocket",
];

/// Every form of a secret, the places in turn.
fn steps(nth: usize, keys: &str) -> String {
    let forms = (0..FORMS.len()).map(|form| {
        let place = PLACES[(nth + form) % PLACES.len()];
        let sends = !matches!(place, "sse" | "websocket");
        let body = step(nth, form, "body", "");
        let other = step(nth, form, place, if sends { keys } else { "" });
        if place == "body" { body } else { body + &other }
    });
    forms.collect()
}

fn spec(name: &str, tag: &str, steps: &str) -> String {
    format!("[[spec]]\nname = \"{name}\"\ntags = [\"{tag}\"]\ntimeout = \"1m\"\n{steps}")
}

fn specs() -> String {
    let mut text = spec(
        "idle",
        "idle",
        "[[spec.steps]]\nname = \"look\"\nuse = \"http\"\npath = \"/\"\n",
    );
    for nth in 0..FROM_US - 3 {
        let value = format!("${{secret.s{nth}}}");
        let keys = match nth % 4 {
            // No header can have what is not Latin-1.
            0 if KINDS[nth % KINDS.len()].is_ascii() => {
                format!("headers = {{ x-key = \"{value}\" }}")
            }
            1 if KINDS[nth % KINDS.len()].is_ascii() => {
                format!("headers = {{ cookie = \"k={value}\" }}")
            }
            2 => format!("method = \"POST\"\njson = {{ key = \"{value}\" }}"),
            _ => format!("method = \"POST\"\nbody = \"key={value}\""),
        };
        text += &spec(&format!("sent-{nth}"), "site", &steps(nth, &keys));
    }
    text += &spec("by-basic", "basic", &steps(17, ""));
    text += &spec("by-bearer", "bearer", &steps(18, ""));
    text += &spec("by-oauth", "oauth", &steps(19, ""));
    text += &spec("by-token", "oauth", &steps(20, ""));
    let login = |nth: usize, rest: &str| {
        format!(
            "[[spec.steps]]\nname = \"login\"\nuse = \"http\"\npath = \"/say/{nth}/0/token\"\n\
             capture = {{ token = {{ from = \"json:/token\", secret = true }} }}\n{rest}"
        )
    };
    for nth in 21..25 {
        let keys = "method = \"POST\"\njson = { key = \"${login.token}\" }";
        text += &spec(
            &format!("captured-{nth}"),
            "site",
            &(login(nth, "") + &steps(nth, keys)),
        );
    }
    let cookie = "[[spec.steps]]\nname = \"set\"\nuse = \"http\"\npath = \"/say/26/0/cookie\"\n";
    text += &spec("cookie", "site", &(cookie.to_owned() + &steps(26, "")));
    // Nobody knows these: the answers are not what was expected.
    for place in ["broken", "elsewhere", "unkind"] {
        let steps: String = (0..FORMS.len())
            .map(|form| {
                format!(
                    "[[spec.steps]]\nname = \"login-{form}\"\nuse = \"http\"\npath = \"/say/27/{form}/{place}\"\n\
                     allow_failure = true\ncapture = {{ token = {{ from = \"json:/token\", secret = true }} }}\n"
                )
            })
            .collect();
        text += &spec(&format!("login-{place}"), "site", &steps);
    }
    for form in 0..FORMS.len() {
        let nth = 28 + form % 2;
        let made = format!(
            "[[spec.steps]]\nname = \"thing\"\nuse = \"http.resource\"\nteardown_timeout = \"300ms\"\n\
             create = {{ path = \"/say/{nth}/0/token\", capture = {{ id = \"json:/id\", token = {{ from = \"json:/token\", secret = true }} }} }}\n\
             find = {{ path = \"/say/{nth}/{form}/status?name=${{run.name}}\", items = \"/found\", match = {{ \"/name\" = \"${{run.name}}\" }}, capture = {{ id = \"json:/id\" }} }}\n\
             delete = {{ path = \"/say/{nth}/{form}/status\" }}\n"
        );
        text += &spec(&format!("refused-delete-{form}"), "site", &made);
    }
    text
}

/// The labels of a page, each once.
fn labels(page: &str) -> String {
    let sets = page
        .lines()
        .filter_map(|line| line.split_once('{')?.1.split_once("} "));
    let labels = sets.flat_map(|(labels, _)| labels.split("\",").map(str::to_owned));
    labels
        .collect::<HashSet<_>>()
        .into_iter()
        .map(|label| label + "\n")
        .collect()
}

struct Searched {
    search: AhoCorasick,
    of: Vec<String>,
    secrets: Vec<String>,
}

impl Searched {
    /// Every row of letters of each secret, in small letters.
    fn new(secrets: &[String]) -> Self {
        let mut of = Vec::new();
        for secret in secrets {
            let letters: Vec<char> = secret.to_lowercase().chars().collect();
            let telling = letters.windows(TELLING).filter(|part| {
                let plain: String = part.iter().collect();
                // What the kind has itself is no secret.
                !plain.starts_with("sk_live_")
            });
            of.extend(telling.map(|part| part.iter().collect::<String>()));
        }
        let search = AhoCorasick::new(&of).unwrap();
        Self {
            search,
            of,
            secrets: secrets.to_vec(),
        }
    }

    /// What of them a text holds, with what stands around it.
    fn found(&self, text: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for read in readings(text, DEPTH) {
            let read = String::from_utf8_lossy(&read)
                .to_lowercase()
                .replace('\u{a0}', " ");
            for hit in self.search.find_iter(&read) {
                let around = &read.as_bytes()
                    [hit.start().saturating_sub(200)..read.len().min(hit.end() + 60)];
                let part = &self.of[hit.pattern().as_usize()];
                let nth = self
                    .secrets
                    .iter()
                    .position(|secret| secret.to_lowercase().contains(part));
                found.push(format!(
                    "{nth:?} {part:?} in {}",
                    String::from_utf8_lossy(around)
                ));
            }
        }
        found
    }

    fn assert_none(&self, what: &str, text: &[u8]) {
        // Lines are read one by one: what is seen in one is said in one.
        let mut all = Vec::new();
        let lines: HashSet<_> = text.split(|byte| *byte == b'\n').collect();
        for line in lines {
            all.extend(self.found(line));
        }
        assert!(
            all.is_empty(),
            "{what} has {} parts of secrets, such as\n{}",
            all.len(),
            all[..all.len().min(12)].join("\n")
        );
    }
}

fn command(folder: &Path, secrets: &[String], args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(args)
        .arg("--config.file")
        .arg(folder.join("testerd.toml"));
    for (nth, secret) in secrets.iter().enumerate() {
        command.env(format!("SECRET_{nth}"), secret);
    }
    command
}

#[test]
fn no_secret_gets_out_in_any_form() {
    let secrets = secrets();
    let searched = Searched::new(&secrets);
    let address = target::start(secrets.clone());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("testerd.toml"),
        config(&address, &secrets, folder.path()),
    )
    .unwrap();
    std::fs::write(folder.path().join("specs.toml"), specs()).unwrap();
    let said = |args: &[&str]| {
        let Output { stdout, stderr, .. } =
            command(folder.path(), &secrets, args).output().unwrap();
        [stdout, stderr].concat()
    };

    let checked = said(&["check"]);
    let text = String::from_utf8_lossy(&checked);
    assert!(!text.contains("error:"), "{text}");
    let ran = said(&["run"]);
    let text = String::from_utf8_lossy(&ran);
    assert!(text.matches("[secret]").count() > 500, "{text}");

    let mut serve = command(folder.path(), &secrets, &["serve", "--log.level=trace"]);
    serve.args(["--web.listen-address", "127.0.0.1:0"]);
    let mut daemon = Child::start(&mut serve, None);
    let address = daemon.hear("its address", |line| {
        let (_, rest) = line.split_once("addresses=")?;
        Some(rest.split_whitespace().next()?.trim_matches('"').to_owned())
    });
    let page = |path: &str| get(&format!("http://{address}{path}")).text;
    let all = specs().matches("[[spec]]").count() - 1 + FORMS.len();
    eventually("every spec has run", || {
        let metrics = page("/metrics");
        let ran = metrics.lines().filter(|line| {
            let is_run = line.starts_with("testerd_slots_total{") && line.contains("=\"run\"");
            is_run && !line.ends_with(" 0")
        });
        (ran.count() >= all).then_some(())
    });
    let (landing, metrics) = (page("/"), page("/metrics"));
    let files = written(&folder.path().join("state"));
    let listed = said(&["sweep", "--list"]);
    daemon.signal(Signal::TERM);
    daemon.wait_exit();
    let logged = daemon.said().concat();

    for (what, text) in [
        ("check", checked),
        ("run", ran),
        ("run --json", said(&["run", "--json"])),
        ("list", said(&["list"])),
        ("sweep --list", listed),
        ("/", landing.into()),
        // What can say anything is a label, whatever its metric is.
        ("/metrics", labels(&metrics).into()),
        ("the log", logged.into()),
    ] {
        searched.assert_none(what, &text);
    }
    assert!(
        files
            .iter()
            .any(|(name, text)| name == "journal.db" && !text.is_empty())
    );
    // Literals stand where they stood.
    let is_literal = |nth: &usize| nth % 3 == 2 && *nth < FROM_US;
    let others = (0..secrets.len()).filter(|nth| !is_literal(nth));
    let others: Vec<_> = others.map(|nth| secrets[nth].clone()).collect();
    let others = Searched::new(&others);
    for (name, text) in files {
        match &*name {
            "accepted.json" => others.assert_none(&name, &text),
            _ => searched.assert_none(&name, &text),
        }
    }
}

/// All files of a directory, by name.
fn written(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap();
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, std::fs::read(entry.path()).unwrap_or_default())
    };
    entries.map(|entry| file(entry.unwrap())).collect()
}
