//! What a body must be as a whole: JSON Schema of any draft that a schema names itself (2020-12 if it
//! names none). Nothing is ever fetched that a schema refers to. A `format` that is known is checked.

use std::path::PathBuf;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

use super::content::shown;
use crate::outcome::{Cause, Failure, Reason};
use crate::text::Fields;

/// Longer schemas are none.
const LARGEST_FILE: u64 = 4 << 20;

/// A schema, ready to be used, or a file that is read when it first is.
pub(super) struct Schema {
    file: Option<PathBuf>,
    validator: OnceLock<Validator>,
}

impl Schema {
    /// Reads `schema`, or `schema_file`.
    pub(super) fn read(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let file = fields.path("schema_file");
        let Some((schema, _)) = fields.constant("schema") else {
            let validator = OnceLock::new();
            return file.map(|file| Self {
                file: Some(file),
                validator,
            });
        };
        if file.is_some() {
            let help = "keep one of the two";
            fields.problem("schema_file", "stands beside `schema`", help);
        }
        let validator = match &schema {
            // As people copy it out of an API's description.
            Value::String(text) => parse(text),
            schema => compile(schema),
        };
        if let Err(what) = &validator {
            let help = "write the schema as a table, or as JSON in '''…'''";
            fields.problem("schema", what, help);
        }
        Some(Self {
            file: None,
            validator: validator.map(OnceLock::from).ok()?,
        })
    }

    /// Says where the body differs first.
    pub(super) fn check(&self, json: &Value, noun: &str) -> Result<(), Failure> {
        let validator = if let Some(validator) = self.validator.get() {
            validator
        } else {
            // What cannot be read now may be there the next time.
            let loaded = self.load()?;
            self.validator.get_or_init(|| loaded)
        };
        validator.validate(json).map_err(|error| {
            let place = error.instance_path().to_string();
            let at = if place.is_empty() { "" } else { " at json " };
            let short = format!("{noun} does not follow the schema");
            let what = format!("{short}{at}{place}: {}", shown(&error));
            Failure::new(Reason::Assertion, what).in_short(short)
        })
    }

    fn load(&self) -> Result<Validator, Failure> {
        let file = self.file.as_deref().unwrap_or("".as_ref());
        let known = std::fs::metadata(file).map_err(|error| error.to_string());
        let validator = known.and_then(|known| {
            if !known.is_file() || known.len() > LARGEST_FILE {
                return Err("is not a file of at most 4 MiB".to_owned());
            }
            let text = std::fs::read_to_string(file).map_err(|error| error.to_string());
            parse(&text?)
        });
        validator.map_err(|what| {
            let what = format!("the schema in {}: {what}", file.display());
            Failure::new(Cause::Input, what)
        })
    }
}

fn parse(text: &str) -> Result<Validator, String> {
    let schema = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    compile(&schema)
}

fn compile(schema: &Value) -> Result<Validator, String> {
    // To the newer drafts a format is a comment; who writes one here wants it checked.
    let options = jsonschema::options().should_validate_formats(true);
    options
        .build(schema)
        .map_err(|error| format!("is not a schema: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_file_that_was_missing_may_come() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("schema.json");
        let schema = Schema {
            file: Some(file.clone()),
            validator: OnceLock::new(),
        };
        let check = |value: Value| schema.check(&value, "the body").map_err(|f| f.fault);
        assert_eq!(check(1.into()), Err(Cause::Input.into()));
        std::fs::write(&file, "{\"type\":").unwrap();
        assert_eq!(check(1.into()), Err(Cause::Input.into()));
        std::fs::write(&file, "{\"type\":\"integer\"}").unwrap();
        assert_eq!(check(1.into()), Ok(()));
        assert_eq!(check("a".into()), Err(Reason::Assertion.into()));
    }

    #[test]
    fn formats_are_checked_in_every_draft() {
        for (format, good, bad) in [
            ("date-time", "2026-11-28T04:00:00Z", "not a date"),
            ("date", "2024-02-29", "2026-02-29"),
            ("email", "a@example.com", "a at b"),
            ("ipv4", "192.0.2.1", "192.0.2.256"),
            ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123e4567"),
            ("uri", "https://example.com/a", "a b"),
            // What no draft knows is a comment.
            ("int64", "x", ""),
        ] {
            for draft in ["draft-07/schema#", "draft/2020-12/schema", ""] {
                let mut schema = json!({ "format": format });
                match draft {
                    "" => {}
                    "draft-07/schema#" => {
                        schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
                    }
                    _ => schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into(),
                }
                // The older of them does not know this one.
                if format == "uuid" && draft == "draft-07/schema#" {
                    continue;
                }
                let validator = compile(&schema).unwrap();
                assert!(validator.is_valid(&good.into()), "{format} {draft}");
                let refused = !validator.is_valid(&bad.into());
                assert_eq!(refused, format != "int64", "{format} {draft}");
            }
        }
    }

    #[test]
    fn numbers_are_compared_as_they_were_written() {
        for (schema, value, good) in [
            (
                r#"{"const":1771234567890123456}"#,
                "1771234567890123456",
                true,
            ),
            (
                r#"{"const":1771234567890123456}"#,
                "1771234567890123500",
                false,
            ),
            (
                r#"{"enum":[18446744073709551615]}"#,
                "18446744073709551614",
                false,
            ),
            (
                r#"{"maximum":18446744073709551614}"#,
                "18446744073709551615",
                false,
            ),
            (r#"{"const":1}"#, "1.0", true),
            (r#"{"type":"integer"}"#, "1e3", true),
            (r#"{"type":"integer"}"#, "36893488147419103232", true),
            (r#"{"type":"integer"}"#, "0.5", false),
            (r#"{"maximum":5}"#, "1e999999999", false),
            (r#"{"minimum":5}"#, "1e999999999", true),
            (r#"{"multipleOf":2}"#, "1e-999999999", false),
        ] {
            let value = crate::text::json::parse_own(value).unwrap();
            assert_eq!(
                parse(schema).unwrap().is_valid(&value),
                good,
                "{schema} {value}"
            );
        }
    }

    #[test]
    fn the_deepest_answer_does_not_exhaust_the_stack() {
        let deepest = crate::text::json::DEEPEST;
        let text = format!("{}{}", "[".repeat(deepest), "]".repeat(deepest));
        let json = crate::text::json::parse(text.as_bytes()).unwrap();
        let schema = parse(r##"{"type":"array","items":{"$ref":"#"}}"##).unwrap();
        assert!(schema.is_valid(&json));
        let path = serde_json_path::JsonPath::parse("$..*").unwrap();
        assert_eq!(path.query(&json).all().len(), deepest - 1);
        assert_eq!(json.to_string(), text);
        assert!(crate::text::json::equal(&json, &json.clone()));
    }
}
