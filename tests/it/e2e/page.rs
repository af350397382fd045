//! `/metrics` as a test reads it: the text format 0.0.4, and no more of it than testerd writes.

use std::collections::{BTreeMap, BTreeSet};

/// One line that holds a value.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

impl Sample {
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    pub(super) fn count(&self) -> u64 {
        whole(self.value)
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.label(name) == *value)
    }
}

/// All samples of one scrape.
#[derive(Debug, Clone)]
pub(super) struct Page(Vec<Sample>);

impl Page {
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.map(sample).collect())
    }

    /// All samples of this name that have these labels, among others.
    pub(super) fn select<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let all = self.0.iter();
        all.filter(move |sample| sample.name == name && sample.has(labels))
    }

    /// Their sum, as a count. That there are none is an error of the test.
    pub(super) fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let mut found = self.select(name, labels).peekable();
        assert!(found.peek().is_some(), "there is no {name} with {labels:?}");
        found.map(Sample::count).sum()
    }

    /// The value of the only one there is.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.select(name, labels);
        let value = found.next().map(|sample| sample.value);
        assert!(
            found.next().is_none(),
            "{name} with {labels:?} is not unique"
        );
        value
    }

    /// The names and labels of all series that are wanted.
    pub(super) fn series(&self, wanted: impl Fn(&Sample) -> bool) -> BTreeSet<String> {
        let all = self.0.iter().filter(|sample| wanted(sample));
        all.map(|sample| format!("{} {:?}", sample.name, sample.labels))
            .collect()
    }

    /// How many samples there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What has been counted, for a test that fails.
    pub(super) fn told(&self) -> String {
        let counts = self.0.iter().filter(|sample| {
            sample.value != 0.0 && sample.name.ends_with("_total")
                || sample.name.contains("queue_l")
        });
        let lines = counts.map(|sample| format!("{sample:?}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A count, which Prometheus keeps as a double.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be a whole number that a double holds"
)]
pub(super) fn whole(value: f64) -> u64 {
    let is_count = (0.0..9e15).contains(&value) && value.fract().abs() < f64::EPSILON;
    assert!(is_count, "{value} is no count");
    value as u64
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, parse_labels(labels)),
        None => (series, BTreeMap::new()),
    };
    Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().unwrap_or_else(|_| panic!("no value: {line}")),
    }
}

/// `a="b",c="d"}`, where `\\`, `\"` and `\n` are escapes.
fn parse_labels(mut rest: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut letters = quoted.char_indices();
        let end = loop {
            match letters.next().expect("a label without its end") {
                (end, '"') => break end,
                (_, '\\') => value.push(match letters.next().unwrap().1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, letter) => value.push(letter),
            }
        };
        let before = labels.insert(name.trim_start_matches(',').to_owned(), value);
        assert!(before.is_none(), "the label {name} stands twice");
        rest = &quoted[end + 1..];
    }
    assert_eq!(rest, "}", "labels without their end");
    labels
}

#[test]
fn a_page_is_read() {
    let page = Page::parse("# HELP a b\na{x=\"1,\\\"}\\n\",y=\"\"} 3\na{x=\"2\"} 4e0\nb +Inf\n");
    assert_eq!((page.len(), page.count("a", &[])), (3, 7));
    assert_eq!(page.count("a", &[("x", "1,\"}\n"), ("y", "")]), 3);
    assert_eq!(page.value("b", &[]), Some(f64::INFINITY));
    assert_eq!(page.value("c", &[]), None);
}
