//! Values in our own records, which serde would read with their numbers written anew.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How `serde_json` hands over a number whose text it kept: as a map with this only key.
pub(super) const NUMBER: &str = "$serde_json::private::Number";

/// A number whose text is one. The only way to one whose exponent keeps its form.
pub(super) fn number(text: String) -> Value {
    Value::Number(Number::from_string_unchecked(text))
}

/// For `deserialize_with`: a value.
pub fn exact_value<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
    Exact::deserialize(from).map(|exact| exact.0)
}

/// For `deserialize_with`: a value that may be left out.
pub fn exact_some<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    exact_value(from).map(Some)
}

/// For `deserialize_with`: a map of values.
pub fn exact_map<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Value>, D::Error> {
    let map = BTreeMap::<String, Exact>::deserialize(from)?;
    Ok(map.into_iter().map(|(key, exact)| (key, exact.0)).collect())
}

struct Exact(Value);

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(flag.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(number(value.to_string()))
    }

    /// Only for a text that is one of those in which Rust itself writes this float.
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Exact(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if key == NUMBER {
                let text: String = entries.next_value()?;
                // It is checked once more: a file may hold anything.
                let checked: Result<Number, _> = text.parse();
                return checked.map(|_| number(text)).map_err(A::Error::custom);
            }
            let Exact(value) = entries.next_value()?;
            object.insert(key, value);
        }
        Ok(object.into())
    }
}
