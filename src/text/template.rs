//! `${…}` in texts and values: parsed once, constants put in when the plan is made, captures when
//! the step runs.
//!
//! A string that is only `${x}` keeps the type of x; anything else becomes text. `$${` is the
//! escape. Replacement is one pass: what a value contains is never looked at again.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::fields::{Params, Read};

/// Everything but RFC 3986's unreserved characters.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where a template finds what `${name.key}` stands for while a run goes on.
pub trait Lookup: Sync {
    /// The value of `${name.key}`, if something wrote it.
    fn get(&self, name: &str, key: &str) -> Option<&Value>;
}

/// Why a template has no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing wrote the reference.
    #[error("${{{name}.{key}}} has no value")]
    Missing {
        /// The step or wrapper.
        name: String,
        /// Its capture.
        key: String,
    },
    /// The value cannot be put into a text.
    #[error("{0}")]
    Value(String),
}

/// Turns a value into text for one kind of place.
type Encode = fn(&Value) -> Result<String, Refused>;

#[derive(Debug, Clone, PartialEq)]
enum Segment {
    Literal(String),
    Constant(Value),
    Reference { name: String, key: String },
}

/// A text with references.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    segments: Vec<Segment>,
}

impl Template {
    /// Parses `text`; a dotted name is read at run time and pushed to `reads`, any other must be
    /// in `params`. The error is what is wrong and what to do.
    pub fn parse(
        text: &str,
        params: &Params,
        reads: &mut Vec<(String, String)>,
    ) -> Result<Self, (String, String)> {
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            literal.push_str(&rest[..dollar]);
            rest = &rest[dollar..];
            if let Some(after) = rest.strip_prefix("$${") {
                literal.push_str("${");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let Some(end) = after.find('}') else {
                    return Err((
                        format!("`{rest}` is not closed"),
                        "close it with `}`, or write `$${` for a literal `${`".into(),
                    ));
                };
                if !literal.is_empty() {
                    segments.push(Segment::Literal(std::mem::take(&mut literal)));
                }
                segments.push(segment(&after[..end], params, reads)?);
                rest = &after[end + 1..];
            } else {
                literal.push('$');
                rest = &rest[1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() || segments.is_empty() {
            segments.push(Segment::Literal(literal));
        }
        Ok(Self { segments })
    }

    /// The value, if nothing in it waits for a run.
    #[must_use]
    pub fn constant(&self) -> Option<Result<Value, Refused>> {
        let waits = |segment: &Segment| matches!(segment, Segment::Reference { .. });
        if self.segments.iter().any(waits) {
            return None;
        }
        Some(self.value(&Nothing))
    }

    /// The text, each value put in by `encode`.
    pub fn text(&self, lookup: &dyn Lookup, encode: Encode) -> Result<String, Refused> {
        let mut text = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => text.push_str(literal),
                Segment::Constant(value) => text.push_str(&encode(value)?),
                Segment::Reference { name, key } => {
                    text.push_str(&encode(find(lookup, name, key)?)?);
                }
            }
        }
        Ok(text)
    }

    /// The value: the type of a lone reference is kept.
    pub fn value(&self, lookup: &dyn Lookup) -> Result<Value, Refused> {
        match self.segments.as_slice() {
            [Segment::Constant(value)] => Ok(value.clone()),
            [Segment::Reference { name, key }] => find(lookup, name, key).cloned(),
            _ => self.text(lookup, plain).map(Value::String),
        }
    }

    /// The text of a template in which only references to `own` are still open: what is written
    /// down so that it can be carried out later, without the run.
    pub fn partial(
        &self,
        lookup: &dyn Lookup,
        own: &str,
        encode: Encode,
    ) -> Result<String, Refused> {
        let mut text = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Literal(literal) => text.push_str(&escape(literal)),
                Segment::Constant(value) => text.push_str(&escape(&encode(value)?)),
                Segment::Reference { name, key } if name == own => {
                    text.push_str("${");
                    text.push_str(name);
                    text.push('.');
                    text.push_str(key);
                    text.push('}');
                }
                Segment::Reference { name, key } => {
                    text.push_str(&escape(&encode(find(lookup, name, key)?)?));
                }
            }
        }
        Ok(text)
    }

    /// Whether the template reads `name.key`.
    #[must_use]
    pub fn reads(&self, name: &str, key: &str) -> bool {
        self.segments.iter().any(|segment| {
            matches!(segment, Segment::Reference { name: n, key: k } if n == name && k == key)
        })
    }

    /// The texts between the references.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Constant(_) | Segment::Reference { .. } => None,
        })
    }

    /// Whether the text begins with `prefix` whatever the references stand for.
    #[must_use]
    pub fn begins_with(&self, prefix: &str) -> bool {
        matches!(self.segments.first(), Some(Segment::Literal(text)) if text.starts_with(prefix))
    }

    fn lone_reference(&self) -> Option<&str> {
        match self.segments.as_slice() {
            [Segment::Reference { name, .. }] => Some(name),
            _ => None,
        }
    }
}

fn segment(
    inside: &str,
    params: &Params,
    reads: &mut Vec<(String, String)>,
) -> Result<Segment, (String, String)> {
    let word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if let Some(value) = params.get(inside) {
        return Ok(Segment::Constant(value.clone()));
    }
    match inside.split_once('.') {
        Some((name, key)) if word(name) && word(key) => {
            reads.push((name.to_owned(), key.to_owned()));
            Ok(Segment::Reference {
                name: name.to_owned(),
                key: key.to_owned(),
            })
        }
        None if word(inside) => {
            let help = super::problem::nearest(inside, params.names()).map_or_else(
                || format!("declare it: [spec.params] {inside} = {{ default = … }}"),
                |near| format!("did you mean `${{{near}}}`?"),
            );
            Err((
                format!("`${{{inside}}}` is not a parameter of this spec"),
                help,
            ))
        }
        _ => Err((
            format!("`${{{inside}}}` is not a name"),
            "write ${param} or ${step.capture}, in lower-case letters, digits and `_` (a `-` in a \
             name is written `_`)"
                .into(),
        )),
    }
}

fn find<'a>(lookup: &'a dyn Lookup, name: &str, key: &str) -> Result<&'a Value, Refused> {
    lookup.get(name, key).ok_or_else(|| Refused::Missing {
        name: name.to_owned(),
        key: key.to_owned(),
    })
}

fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

/// A scalar as text; tables, arrays and null are refused.
pub fn plain(value: &Value) -> Result<String, Refused> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(Refused::Value(format!(
            "{} cannot be put into a text",
            kind(value)
        ))),
    }
}

/// A scalar as part of a path or query: percent-encoded; what could name something else (empty,
/// `.`, `..`, not a scalar) is refused.
pub fn encode_path(value: &Value) -> Result<String, Refused> {
    let text = plain(value)
        .map_err(|_| Refused::Value(format!("{} cannot be put into a path", kind(value))))?;
    match text.as_str() {
        "" => Err(Refused::Value(
            "an empty value cannot be put into a path".into(),
        )),
        "." | ".." => Err(Refused::Value(format!(
            "`{text}` cannot be put into a path"
        ))),
        _ => Ok(utf8_percent_encode(&text, PATH).to_string()),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Array(_) => "an array",
        Value::Object(_) => "a table",
        Value::String(_) | Value::Number(_) | Value::Bool(_) => "a scalar",
    }
}

struct Nothing;

impl Lookup for Nothing {
    fn get(&self, _: &str, _: &str) -> Option<&Value> {
        None
    }
}

/// A value with templates anywhere in it.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueTemplate {
    /// Not a string.
    Constant(Value),
    /// A string.
    Text(Template),
    /// An array.
    Array(Vec<Self>),
    /// A table.
    Table(Vec<(String, Self)>),
}

impl ValueTemplate {
    /// Reads a value that [`Self::partial`] made. The error is what is wrong and what to do.
    pub fn from_value(value: &Value) -> Result<Self, (String, String)> {
        let params = Params::default();
        Ok(match value {
            Value::String(text) => Self::Text(Template::parse(text, &params, &mut Vec::new())?),
            Value::Array(items) => Self::Array(
                items
                    .iter()
                    .map(Self::from_value)
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(entries) => Self::Table(
                entries
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), Self::from_value(value)?)))
                    .collect::<Result<_, (String, String)>>()?,
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Constant(value.clone()),
        })
    }

    /// The value.
    pub fn value(&self, lookup: &dyn Lookup) -> Result<Value, Refused> {
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Text(template) => template.value(lookup)?,
            Self::Array(items) => items
                .iter()
                .map(|item| item.value(lookup))
                .collect::<Result<_, _>>()?,
            Self::Table(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), value.value(lookup)?)))
                    .collect::<Result<_, Refused>>()?,
            ),
        })
    }

    /// The value with only references to `own` still open, see [`Template::partial`].
    pub fn partial(&self, lookup: &dyn Lookup, own: &str) -> Result<Value, Refused> {
        Ok(match self {
            Self::Constant(value) => value.clone(),
            Self::Text(template) => match template.lone_reference() {
                Some(name) if name != own => escaped(template.value(lookup)?),
                _ => match template.constant() {
                    Some(value) => escaped(value?),
                    None => Value::String(template.partial(lookup, own, plain)?),
                },
            },
            Self::Array(items) => items
                .iter()
                .map(|item| item.partial(lookup, own))
                .collect::<Result<_, _>>()?,
            Self::Table(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), value.partial(lookup, own)?)))
                    .collect::<Result<_, Refused>>()?,
            ),
        })
    }

    /// The value, if nothing in it waits for a run.
    #[must_use]
    pub fn constant(&self) -> Option<Value> {
        self.value(&Nothing).ok()
    }

    /// Whether `name.key` is read anywhere in it.
    #[must_use]
    pub fn reads(&self, name: &str, key: &str) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Text(template) => template.reads(name, key),
            Self::Array(items) => items.iter().any(|item| item.reads(name, key)),
            Self::Table(entries) => entries.iter().any(|(_, value)| value.reads(name, key)),
        }
    }
}

/// Escapes every string in a value, so that reading it as templates gives it back.
fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(escape(&text)),
        Value::Array(items) => items.into_iter().map(escaped).collect(),
        Value::Object(entries) => Value::Object(
            entries
                .into_iter()
                .map(|(key, value)| (key, escaped(value)))
                .collect(),
        ),
        other => other,
    }
}

impl From<(String, String)> for Read {
    fn from((name, key): (String, String)) -> Self {
        Self { name, key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    struct One(Value);
    impl Lookup for One {
        fn get(&self, name: &str, key: &str) -> Option<&Value> {
            (name == "a" && key == "b").then_some(&self.0)
        }
    }

    fn template(text: &str) -> Template {
        let params = Params::from_iter([
            ("p".to_owned(), json!("${a.b}")),
            ("n".to_owned(), json!(7)),
        ]);
        Template::parse(text, &params, &mut Vec::new()).expect("a good template")
    }

    fn check(text: &str, value: Value, expected: Value) {
        assert_eq!(template(text).value(&One(value)), Ok(expected), "{text}");
    }

    #[test]
    fn a_lone_reference_keeps_its_type_and_one_pass_is_all() {
        check("${a.b}", json!({"x": 1}), json!({"x": 1}));
        check("${n}", json!(0), json!(7));
        check("<${n}>", json!(0), json!("<7>"));
        check("${a.b}!", json!(true), json!("true!"));
        check("${p}", json!(1), json!("${a.b}"));
        check("x${p}", json!(1), json!("x${a.b}"));
        check("$${a.b} costs $5 $", json!(1), json!("${a.b} costs $5 $"));
        check("${a.b}", json!("${n}"), json!("${n}"));
        check("", json!(1), json!(""));
    }

    #[test]
    fn what_could_name_something_else_is_refused_for_a_path() {
        for hostile in [
            json!(""),
            json!(null),
            json!([1]),
            json!({}),
            json!("."),
            json!(".."),
        ] {
            let path = template("/users/${a.b}");
            assert!(
                path.text(&One(hostile.clone()), encode_path).is_err(),
                "{hostile}"
            );
        }
        let path = template("/items/${a.b}?n=${n}");
        let render = |value| path.text(&One(value), encode_path);
        assert_eq!(
            render(json!("1/../../users")).as_deref(),
            Ok("/items/1%2F..%2F..%2Fusers?n=7")
        );
        assert_eq!(
            render(json!("%2e%2e")).as_deref(),
            Ok("/items/%252e%252e?n=7")
        );
        assert_eq!(render(json!(12)).as_deref(), Ok("/items/12?n=7"));
    }

    #[test]
    fn broken_templates_say_what_to_do() {
        let parse = |text| {
            Template::parse(
                text,
                &Params::from_iter([("image".into(), json!(1))]),
                &mut Vec::new(),
            )
        };
        for text in [
            "${", "${}", "${A.b}", "${a.b.c}", "${a-b}", "${imge}", "${ x }",
        ] {
            let (what, help) = parse(text).expect_err(text);
            assert!(!what.is_empty() && !help.is_empty(), "{text}");
        }
        assert!(parse("${imge}").unwrap_err().1.contains("${image}"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = Template::parse(&text, &Params::default(), &mut Vec::new());
        }

        #[test]
        fn what_is_written_down_reads_back_the_same(outer in "[${}.a-z/]{0,12}", own in "[${}.a-z/]{1,12}") {
            let both = |value: &str| One(json!(value));
            let written = template("/x/${a.b}/y$${z}").partial(&both(&outer), "own", plain).unwrap();
            let again = Template::parse(&written, &Params::default(), &mut Vec::new()).unwrap();
            prop_assert_eq!(again.text(&both(&own), plain).unwrap(), format!("/x/{outer}/y${{z}}"));
        }
    }
}
