//! Reads the part of GraphQL's query language that clients of a manager use: one operation, with
//! variables put in. Fragments and directives are not read.

use serde_json::{Map, Value};

/// What one field of a query asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    /// What it is called in the answer.
    pub(super) label: String,
    pub(super) arguments: Map<String, Value>,
    pub(super) fields: Vec<Field>,
    /// Where it stands in the text.
    pub(super) at: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    pub(super) is_mutation: bool,
    pub(super) fields: Vec<Field>,
}

/// The text is not a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

type Read<T> = Result<T, Unreadable>;

/// Reads a query with its variables.
pub(super) fn read(text: &str, variables: &Value) -> Read<Operation> {
    let given = variables.as_object();
    let mut reader = Reader {
        text,
        at: 0,
        variables: given.cloned().unwrap_or_default(),
    };
    let operation = reader.operation()?;
    reader.skip();
    let all = reader.at == text.len();
    all.then_some(operation).ok_or(Unreadable)
}

/// The line and the column of a place in a text, both from 1.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before
        .chars()
        .rev()
        .take_while(|letter| *letter != '\n')
        .count()
        + 1;
    (line, column)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    variables: Map<String, Value>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes over blanks, commas and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let blank = |letter: char| letter.is_whitespace() || letter == ',';
            let bare = rest.trim_start_matches(blank);
            self.at += rest.len() - bare.len();
            if !bare.starts_with('#') {
                return;
            }
            self.at += bare.find('\n').unwrap_or(bare.len());
        }
    }

    fn sees(&mut self, mark: char) -> bool {
        self.skip();
        self.rest().starts_with(mark)
    }

    fn takes(&mut self, mark: char) -> bool {
        let seen = self.sees(mark);
        self.at += if seen { mark.len_utf8() } else { 0 };
        seen
    }

    fn wants(&mut self, mark: char) -> Read<()> {
        self.takes(mark).then_some(()).ok_or(Unreadable)
    }

    /// The letters that come next, if there are any.
    fn run(&mut self, is_part: impl Fn(char) -> bool) -> Option<&'a str> {
        self.skip();
        let rest = self.rest();
        let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).filter(|word| !word.is_empty())
    }

    fn name(&mut self) -> Read<&'a str> {
        self.run(|letter| letter == '_' || letter.is_ascii_alphanumeric())
            .ok_or(Unreadable)
    }

    fn operation(&mut self) -> Read<Operation> {
        let kind = if self.sees('{') {
            "query"
        } else {
            self.name()?
        };
        let is_mutation = match kind {
            "query" => false,
            "mutation" => true,
            _ => return Err(Unreadable),
        };
        if !self.sees('{') && !self.sees('(') {
            self.name()?;
        }
        if self.takes('(') {
            while !self.takes(')') {
                self.variable()?;
            }
        }
        let fields = self.fields()?;
        Ok(Operation {
            is_mutation,
            fields,
        })
    }

    /// The declaration of a variable; its default stands in for a value that was not given.
    fn variable(&mut self) -> Read<()> {
        self.wants('$')?;
        let name = self.name()?;
        self.wants(':')?;
        self.run(|letter| "[]!_".contains(letter) || letter.is_ascii_alphanumeric())
            .ok_or(Unreadable)?;
        if self.takes('=') {
            let default = self.value()?;
            self.variables.entry(name).or_insert(default);
        }
        Ok(())
    }

    fn fields(&mut self) -> Read<Vec<Field>> {
        self.wants('{')?;
        let mut fields = Vec::new();
        while !self.takes('}') {
            fields.push(self.field()?);
        }
        Ok(fields)
    }

    fn field(&mut self) -> Read<Field> {
        self.skip();
        let at = self.at;
        let label = self.name()?;
        let name = if self.takes(':') { self.name()? } else { label };
        let mut arguments = Map::new();
        if self.takes('(') {
            while !self.takes(')') {
                let argument = self.name()?;
                self.wants(':')?;
                arguments.insert(argument.into(), self.value()?);
            }
        }
        let fields = if self.sees('{') {
            self.fields()?
        } else {
            Vec::new()
        };
        Ok(Field {
            name: name.into(),
            label: label.into(),
            arguments,
            fields,
            at,
        })
    }

    fn value(&mut self) -> Read<Value> {
        if self.takes('$') {
            let name = self.name()?;
            return Ok(self.variables.get(name).cloned().unwrap_or_default());
        }
        if self.sees('"') {
            return self.string();
        }
        if self.takes('[') {
            let mut all = Vec::new();
            while !self.takes(']') {
                all.push(self.value()?);
            }
            return Ok(all.into());
        }
        if self.takes('{') {
            let mut all = Map::new();
            while !self.takes('}') {
                let key = self.name()?;
                self.wants(':')?;
                all.insert(key.into(), self.value()?);
            }
            return Ok(all.into());
        }
        let word = self.run(|letter| "_.+-".contains(letter) || letter.is_ascii_alphanumeric());
        let word = word.ok_or(Unreadable)?;
        // A word that is neither a number nor a constant is of an enumeration.
        Ok(serde_json::from_str(word).unwrap_or_else(|_| word.into()))
    }

    /// Has the escapes of JSON.
    fn string(&mut self) -> Read<Value> {
        let mut read = serde_json::Deserializer::from_str(self.rest()).into_iter();
        let value = read.next().ok_or(Unreadable)?.map_err(|_| Unreadable)?;
        self.at += read.byte_offset();
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn queries_are_read_with_their_variables() {
        let text = "mutation M($n: String!, $p: [UUID!] = [\"a\"], $m: Int) {\n  made: \
                    modify(name: $n, props: {users: $p, mode: add, many: $m, few: -2.5}) { ok msg } # so\n}";
        let read = read(text, &json!({ "n": "x \"y\"" })).unwrap();
        assert!(read.is_mutation);
        let field = &read.fields[0];
        assert_eq!((&*field.name, &*field.label), ("modify", "made"));
        assert_eq!(
            Value::Object(field.arguments.clone()),
            json!({ "name": "x \"y\"", "props": { "users": ["a"], "mode": "add", "many": null, "few": -2.5 } })
        );
        assert_eq!(field.fields.len(), 2);
        assert_eq!(position(text, field.at), (2, 3));
    }

    #[test]
    fn what_is_no_query_is_not_read() {
        for text in [
            "",
            "query { nope",
            "query { a(b: ) }",
            "subscription { a }",
            "{ a } b",
            "{ a(b: \"c) }",
        ] {
            assert_eq!(read(text, &Value::Null), Err(Unreadable), "{text}");
        }
        let escaped = read("{ a(b: \"c \\\"d\\\"\") { e } }", &Value::Null).unwrap();
        assert_eq!(escaped.fields[0].arguments["b"], "c \"d\"");
    }
}
