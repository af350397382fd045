//! Just enough of Python and of a shell for what the specs run: printing, arithmetic, sleeping,
//! loops over a range, ends with a code. Everything else is an error, as a typing mistake would be.

use std::time::Duration;

/// What a program writes when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) at: Duration,
    pub(super) stream: &'static str,
    pub(super) text: String,
}

/// What becomes of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) written: Vec<Written>,
    pub(super) takes: Duration,
    pub(super) exit_code: i64,
}

/// A program that was begun in a session.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) began: Duration,
    pub(super) outcome: Outcome,
    /// So much of what it wrote was told.
    pub(super) told: usize,
}

impl Query {
    pub(super) fn ends(&self) -> Duration {
        self.began + self.outcome.takes
    }

    /// What it has written since it was asked last, pieces of one stream put together.
    pub(super) fn tell(&mut self, now: Duration) -> Vec<(&'static str, String)> {
        let mut console: Vec<(&'static str, String)> = Vec::new();
        let new = self.outcome.written.iter().skip(self.told);
        for written in new.take_while(|written| self.began + written.at <= now) {
            self.told += 1;
            match console
                .last_mut()
                .filter(|(stream, _)| *stream == written.stream)
            {
                Some((_, text)) => text.push_str(&written.text),
                None => console.push((written.stream, written.text.clone())),
            }
        }
        console
    }

    /// It is told to stop.
    pub(super) fn interrupt(&mut self, now: Duration) {
        let Some(at) = now
            .checked_sub(self.began)
            .filter(|at| *at < self.outcome.takes)
        else {
            return;
        };
        self.outcome.written.retain(|written| written.at <= at);
        self.outcome.takes = at;
        self.outcome.fail(1, "KeyboardInterrupt");
    }
}

impl Outcome {
    fn write(&mut self, stream: &'static str, text: String) {
        let at = self.takes;
        self.written.push(Written { at, stream, text });
    }

    fn fail(&mut self, code: i64, error: &str) {
        self.exit_code = code;
        let text = format!("Traceback (most recent call last):\n{error}\n");
        self.write("stderr", text);
    }
}

/// Runs Python.
pub(super) fn python(code: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let lines: Vec<&str> = code
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let ended = block(&lines, &mut Vec::new(), &mut outcome);
    match ended {
        Err(End::Exit(0)) | Ok(()) => {}
        Err(End::Exit(code)) => outcome.fail(code, &format!("SystemExit: {code}")),
        Err(End::Wrong(why)) => outcome.fail(1, &why),
    }
    outcome
}

enum End {
    Exit(i64),
    Wrong(String),
}

type Variables = Vec<(String, i64)>;

fn wrong(line: &str) -> End {
    End::Wrong(format!("    {line}\nSyntaxError: invalid syntax"))
}

/// Runs lines of the same depth, with what is indented below them.
fn block(lines: &[&str], variables: &mut Variables, outcome: &mut Outcome) -> Result<(), End> {
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let depth = indent(line);
        let inner = lines[at + 1..]
            .iter()
            .take_while(|next| indent(next) > depth);
        let inner = &lines[at + 1..][..inner.count()];
        at += 1 + inner.len();
        if let Some(head) = line.trim().strip_prefix("for ") {
            repeat(head, inner, variables, outcome)?;
        } else if inner.is_empty() {
            let statements: Vec<&str> = line.split(';').map(str::trim).collect();
            for (index, text) in statements.iter().enumerate() {
                let last = at >= lines.len() && index + 1 == statements.len();
                statement(text, last, variables, outcome)?;
            }
        } else {
            return Err(wrong(line));
        }
    }
    Ok(())
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// `i in range(3):`, perhaps with its body behind the colon.
fn repeat(
    head: &str,
    body: &[&str],
    variables: &mut Variables,
    outcome: &mut Outcome,
) -> Result<(), End> {
    let parsed = head.split_once(" in range(").and_then(|(name, rest)| {
        let (range, rest) = rest.split_once("):")?;
        Some((name.trim(), range, rest.trim()))
    });
    let (name, range, rest) = parsed.ok_or_else(|| wrong(head))?;
    let end = number(range, variables).ok_or_else(|| wrong(head))?;
    let behind = [rest];
    let body = if rest.is_empty() { body } else { &behind };
    for value in 0..end.min(100_000) {
        variables.push((name.to_owned(), value));
        block(body, variables, outcome)?;
        variables.pop();
    }
    Ok(())
}

fn statement(
    text: &str,
    is_last: bool,
    variables: &Variables,
    outcome: &mut Outcome,
) -> Result<(), End> {
    if text.is_empty() || text.starts_with('#') {
        return Ok(());
    }
    if let Some(module) = text
        .strip_prefix("import ")
        .or_else(|| text.strip_prefix("from "))
    {
        let known = ["sys", "time", "os"]
            .iter()
            .any(|known| module.starts_with(known));
        return known
            .then_some(())
            .ok_or_else(|| End::Wrong(format!("ModuleNotFoundError: No module named '{module}'")));
    }
    if let Some(argument) = called(text, &["print"]) {
        let argument = argument.trim_end_matches(", flush=True").trim();
        let told = argument.strip_suffix(", file=sys.stderr");
        let stream = told.map_or("stdout", |_| "stderr");
        let shown = value(told.unwrap_or(argument), variables).ok_or_else(|| wrong(text))?;
        outcome.write(stream, format!("{shown}\n"));
        return Ok(());
    }
    if let Some(argument) = called(text, &["time.sleep", "sleep"]) {
        let seconds: f64 = argument.trim().parse().map_err(|_| wrong(text))?;
        outcome.takes += Duration::try_from_secs_f64(seconds).map_err(|_| wrong(text))?;
        return Ok(());
    }
    if let Some(argument) = called(text, &["sys.exit", "exit", "raise SystemExit", "os._exit"]) {
        let code = if argument.is_empty() {
            Some(0)
        } else {
            number(argument, variables)
        };
        return Err(End::Exit(code.ok_or_else(|| wrong(text))?));
    }
    let shown = value(text, variables).ok_or_else(|| wrong(text))?;
    if is_last {
        outcome.write("stdout", shown);
    }
    Ok(())
}

/// The argument of a call of one of these.
fn called<'a>(text: &'a str, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| {
        let inside = text.strip_prefix(name)?.trim_start().strip_prefix('(')?;
        inside.strip_suffix(')')
    })
}

/// A string or a number, as printed.
fn value(text: &str, variables: &Variables) -> Option<String> {
    for quote in ['"', '\''] {
        let inside = text
            .strip_prefix(quote)
            .and_then(|text| text.strip_suffix(quote));
        if let Some(inside) = inside.filter(|inside| !inside.contains(quote)) {
            return Some(inside.replace("\\n", "\n"));
        }
    }
    number(text, variables).map(|number| number.to_string())
}

/// Whole numbers, sums and products.
fn number(text: &str, variables: &Variables) -> Option<i64> {
    let text = text.trim();
    if let Some((left, right)) = text.rsplit_once('+') {
        return number(left, variables)?.checked_add(number(right, variables)?);
    }
    if let Some((left, right)) = text.rsplit_once(" - ") {
        return number(left, variables)?.checked_sub(number(right, variables)?);
    }
    if let Some((left, right)) = text.rsplit_once('*') {
        return number(left, variables)?.checked_mul(number(right, variables)?);
    }
    let known = variables.iter().rev().find(|(name, _)| name == text);
    known.map_or_else(|| text.parse().ok(), |(_, value)| Some(*value))
}

/// Runs a shell's command as a program; it prints what `echo` says.
pub(super) fn batch(command: &str) -> Outcome {
    let (takes, exit_code) = shell(command);
    let mut outcome = Outcome {
        takes,
        exit_code,
        ..Outcome::default()
    };
    let echoed = command
        .split(';')
        .filter_map(|text| text.trim().strip_prefix("echo "));
    for text in echoed {
        outcome.write("stdout", format!("{text}\n"));
    }
    outcome
}

/// Runs a shell's command: how long it takes, and its exit code.
pub(super) fn shell(command: &str) -> (Duration, i64) {
    const KNOWN: [&str; 9] = [
        "cat", "echo", "ls", "mkdir", "printf", "pwd", "python", "touch", "true",
    ];
    let mut takes = Duration::ZERO;
    let mut ended = 0;
    for text in command.split([';', '\n']).flat_map(|line| line.split("&&")) {
        let mut words = text.split_whitespace();
        let (name, argument) = (words.next(), words.next().unwrap_or_default());
        match name {
            None => {}
            Some("sleep") => {
                let seconds = argument.trim_end_matches('s').parse().ok();
                let slept = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                takes += slept.unwrap_or_default();
                ended = 0;
            }
            Some("exit") => return (takes, argument.parse().unwrap_or_default()),
            Some("false") => ended = 1,
            Some(name) if KNOWN.contains(&name) => ended = 0,
            Some(_) => ended = 127,
        }
    }
    (takes, ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(code: &str) -> (Vec<(&'static str, String)>, i64, u64) {
        let outcome = python(code);
        let (exit_code, takes) = (outcome.exit_code, outcome.takes.as_secs());
        let mut query = Query {
            began: Duration::ZERO,
            outcome,
            told: 0,
        };
        (query.tell(Duration::MAX), exit_code, takes)
    }

    #[test]
    fn what_the_specs_run_does_what_python_does() {
        let out = |text: &str| vec![("stdout", text.to_owned())];
        assert_eq!(
            run("print(\"Hello, world!\")"),
            (out("Hello, world!\n"), 0, 0)
        );
        assert_eq!(run("1 + 1"), (out("2"), 0, 0));
        assert_eq!(run("import sys\nprint(1)\n2 * 3 + 1"), (out("1\n7"), 0, 0));
        assert_eq!(run(""), (vec![], 0, 0));
        let slow = "import time\nfor i in range(3):\n  print(i, flush=True)\n  time.sleep(2)";
        assert_eq!(run(slow), (out("0\n1\n2\n"), 0, 6));
        let both = "import sys; print('x', file=sys.stderr); sys.exit(3)";
        let (console, ended, _) = run(both);
        assert!(console[0].1.starts_with("x\nTraceback"), "{console:?}");
        assert_eq!((console.len(), console[0].0, ended), (1, "stderr", 3));
        for (code, exit_code) in [("some wrong command", 1), ("import sys; sys.exit(2)", 2)] {
            let (console, ended, _) = run(code);
            assert_eq!(
                (console.len(), console[0].0, ended),
                (1, "stderr", exit_code),
                "{code}"
            );
        }
    }

    #[test]
    fn a_program_is_told_piece_by_piece_and_can_be_interrupted() {
        let outcome = python("import time\nfor i in range(9):\n  print(i)\n  time.sleep(1)");
        let mut query = Query {
            began: Duration::from_secs(10),
            outcome,
            told: 0,
        };
        let at = |seconds: u64| Duration::from_secs(10 + seconds);
        assert_eq!(query.tell(at(1)), [("stdout", "0\n1\n".to_owned())]);
        assert_eq!(query.tell(at(2)), [("stdout", "2\n".to_owned())]);
        query.interrupt(at(3));
        assert_eq!(query.ends(), at(3));
        assert_eq!(query.tell(at(9))[0], ("stdout", "3\n".to_owned()));
        assert_eq!(query.outcome.exit_code, 1);
    }

    #[test]
    fn commands_of_batch_sessions_end_as_in_a_shell() {
        let ends = |command| {
            let (takes, code) = shell(command);
            (takes.as_secs(), code)
        };
        assert_eq!(ends("echo hi"), (0, 0));
        assert_eq!(ends("sleep 10"), (10, 0));
        assert_eq!(ends("echo hi; sleep 2 && exit 3"), (2, 3));
        assert_eq!(ends("no-such-command"), (0, 127));
        assert_eq!(ends("/no/such"), (0, 127));
    }
}
