//! When two numbers are the same: by value, as decimals, whatever they were written as.

use serde_json::Value;

/// Whether two JSON values are the same; 1, 1.0 and 1e0 are.
#[must_use]
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => same_number(x.as_str(), y.as_str()),
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y))
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len()
                && x.iter()
                    .all(|(key, x)| y.get(key).is_some_and(|y| equal(x, y)))
        }
        _ => a == b,
    }
}

/// Whether two texts of JSON numbers mean the same number, exactly.
#[must_use]
pub fn same_number(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match (Decimal::read(a), Decimal::read(b)) {
        (Some(a), Some(b)) => a == b,
        // No program has such an exponent but to do harm: only the same text is the same.
        _ => false,
    }
}

/// `0.DIGITS` times ten to the power of `scale`: nothing is ever multiplied out.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// Neither the first nor the last is 0; none at all for zero.
    digits: Vec<u8>,
    scale: i128,
}

impl Decimal {
    fn read(text: &str) -> Option<Self> {
        let negative = text.starts_with('-');
        let text = text.trim_start_matches('-');
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..zeros);
        let end = digits.iter().rposition(|digit| *digit != b'0');
        digits.truncate(end.map_or(0, |last| last + 1));
        if digits.is_empty() {
            return Some(Self {
                negative: false,
                digits,
                scale: 0,
            });
        }
        let exponent: i128 = exponent.parse().ok()?;
        let places = i128::try_from(whole.len()).ok()? - i128::try_from(zeros).ok()?;
        Some(Self {
            negative,
            digits,
            scale: exponent.checked_add(places)?,
        })
    }
}
