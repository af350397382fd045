//! What a body must be as a whole: JSON Schema of any draft that a schema names itself (2020-12 if it
//! names none). Nothing is ever fetched that a schema refers to.

use std::path::PathBuf;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

use super::content::excerpt;
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
            let (place, why) = (error.instance_path().to_string(), error.to_string());
            let at = if place.is_empty() { "" } else { " at json " };
            let what = format!(
                "{noun} does not follow the schema{at}{place}: {}",
                excerpt(&why)
            );
            Failure::new(Reason::Assertion, what)
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
    jsonschema::validator_for(schema).map_err(|error| format!("is not a schema: {error}"))
}

#[cfg(test)]
mod tests {
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
}
