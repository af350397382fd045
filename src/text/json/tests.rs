//! What is read, to the character; what is not, and why.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Result<String, String> {
    match parse(text.as_bytes()) {
        Ok(json) => Ok(json.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn numbers_keep_the_text_that_they_came_as() {
    for text in [
        "0",
        "-0",
        "18446744073709551615",
        "18446744073709551616",
        "1236546565217899832645",
        "-9223372036854775809",
        "-170141183460469231731687303715884105729",
        "1e3",
        "1E3",
        "1e+3",
        "1.0",
        "1.50",
        "0.1000000000000000055511151231257827",
        "1e400",
        "-1E-999999999999",
    ] {
        assert_eq!(read(text).as_deref(), Ok(text));
        let value = parse_own(text).unwrap();
        assert_eq!(crate::text::plain(&value).as_deref(), Ok(text));
        if text == "-0" {
            // The one that serde hands over as an integer.
            continue;
        }
        // What is written down is read back by `deserialize_with` alone.
        let text = to_value(&vec![&value]).unwrap().to_string();
        let mut reader = serde_json::Deserializer::from_str(&text);
        let read = exact_value(&mut reader).unwrap();
        assert!(equal(&read, &json!([value])));
        assert_eq!(
            exact_value(parse_own(&text).unwrap()).unwrap().to_string(),
            text
        );
    }
}

#[test]
fn what_everybody_else_reads_is_read() {
    for (text, wanted) in [
        ("\u{feff}{\"ok\":true}", r#"{"ok":true}"#),
        (" [ 1 , { \"a\" : null } ] \r\n", r#"[1,{"a":null}]"#),
        (
            r#"["\ud83d\ude00 \u00e9\/\b\f\n\r\t\"\\"]"#,
            "[\"😀 é/\\b\\f\\n\\r\\t\\\"\\\\\"]",
        ),
        (r#"["x\ud83d"]"#, "[\"x\u{fffd}\"]"),
        (r#"["\ude00y"]"#, "[\"\u{fffd}y\"]"),
        (r#"["\ud83d\ud83d\ude00"]"#, "[\"\u{fffd}😀\"]"),
        (r#"["\ud83d\u0041"]"#, "[\"\u{fffd}A\"]"),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
        ("[]", "[]"),
        ("{}", "{}"),
        ("\"\"", "\"\""),
    ] {
        assert_eq!(read(text).as_deref(), Ok(wanted), "{text}");
    }
}

#[test]
fn what_is_not_json_is_told_with_its_place() {
    for (text, told) in [
        ("", "there is nothing at line 1, column 1"),
        ("\u{feff} ", "there is nothing at line 1, column 2"),
        ("<html>", "expected value at line 1, column 1"),
        ("\u{feff}<html>", "expected value at line 1, column 1"),
        ("{\"ä\": }", "expected value at line 1, column 7"),
        ("[1,\n 2,\n]", "expected value at line 3, column 1"),
        ("[1 2]", "expected `,` or `]` at line 1, column 4"),
        ("{\"a\" 1}", "expected `:` at line 1, column 6"),
        ("{a: 1}", "expected a key in quotes at line 1, column 2"),
        ("{\"a\":1,}", "expected a key in quotes at line 1, column 8"),
        ("{\"a\":1", "it ends too early at line 1, column 7"),
        ("\"a", "it ends too early at line 1, column 3"),
        (
            "1 1",
            "there is something after its end at line 1, column 3",
        ),
        ("01", "a number begins with 0 at line 1, column 2"),
        ("1.", "it ends too early at line 1, column 3"),
        ("-x", "expected a digit at line 1, column 2"),
        ("NaN", "expected value at line 1, column 1"),
        ("nul", "it ends too early at line 1, column 4"),
        ("\"\\x\"", "an escape is none at line 1, column 3"),
        (
            "\"a\nb\"",
            "a control character stands in a text at line 1, column 3",
        ),
        (
            "{\"$serde_json::private::Number\":\"x\"}",
            "the key is a reserved one at line 1, column 2",
        ),
    ] {
        assert_eq!(read(text), Err(told.to_owned()), "{text}");
    }
    let latin = parse(b"[\"a\xe9\"]").unwrap_err().to_string();
    assert_eq!(latin, "a text is not UTF-8 at line 1, column 4");
}

#[test]
fn what_is_too_deep_or_too_large_is_told() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(DEEPEST)).is_ok());
    for text in [
        nested(DEEPEST + 1),
        "[".repeat(8 << 20),
        "{\"a\":".repeat(1 << 20),
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap_err(), Unread::Deep);
    }
    for piece in [
        "0,",
        "[0],",
        "{\"\":0},",
        "\"\",",
        "{},[],null,",
        "[[[[]]]],",
    ] {
        let text = format!("[{}0]", piece.repeat((8 << 20) / piece.len()));
        assert_eq!(
            parse(text.as_bytes()).unwrap_err(),
            Unread::Large,
            "{piece}"
        );
    }
    let keys: Vec<_> = (0..400_000).map(|key| format!("\"{key}\":0")).collect();
    let text = format!("{{{}}}", keys.join(","));
    assert_eq!(parse(text.as_bytes()).unwrap_err(), Unread::Large);
    // One long text is worth what it is.
    assert!(parse(format!("\"{}\"", "x".repeat(8 << 20)).as_bytes()).is_ok());
}

#[test]
fn equal_is_by_value_and_exact() {
    for (a, b, same) in [
        ("1", "1.0", true),
        ("1", "1e0", true),
        ("1", "10e-1", true),
        ("1", "0.1E+1", true),
        ("1.00", "1", true),
        ("100", "1e2", true),
        ("0.1", "0.10", true),
        ("0", "-0.0e5", true),
        ("0", "0e99999999999999999999999999999999999999999999", true),
        ("1771234567890123456", "1771234567890123500", false),
        ("9007199254740993", "9007199254740992", false),
        ("9007199254740993", "9007199254740993.0", true),
        ("18446744073709551615", "18446744073709551616", false),
        ("0.1", "0.1000000000000000055511151231257827", false),
        ("1e400", "1e401", false),
        ("1e999999999", "10e999999998", true),
        ("1e999999999", "1e999999998", false),
        ("1e99999999999999999999999999999999999999999999", "1", false),
        ("1", "-1", false),
        ("10", "1", false),
    ] {
        assert_eq!(same_number(a, b), same, "{a} and {b}");
        assert_eq!(same_number(b, a), same, "{b} and {a}");
        let list = |number: &str| parse_own(&format!("{{\"a\":[{number}]}}")).unwrap();
        assert_eq!(equal(&list(a), &list(b)), same, "{a} and {b}");
    }
    assert!(!equal(&json!(1), &json!("1")));
}

proptest! {
    /// Whatever comes is read as serde_json reads it, or not at all.
    #[test]
    fn both_read_the_same(bytes in proptest::collection::vec(
        prop_oneof![Just(b'"'), Just(b'\\'), Just(b'u'), Just(b'['), Just(b']'), Just(b'{'),
            Just(b'}'), Just(b','), Just(b':'), Just(b'0'), Just(b'1'), Just(b'-'), Just(b'.'),
            Just(b'e'), Just(b' '), Just(b'\n'), any::<u8>()], 0..24)) {
        let theirs: Option<Value> = serde_json::from_slice(&bytes).ok();
        match (parse(&bytes), theirs) {
            (Ok(ours), Some(theirs)) => prop_assert!(equal(&ours, &theirs)),
            (Err(_), None) => {}
            (Ok(ours), None) => {
                // Halves of pairs, and the mark at the beginning.
                let is_more = ours.to_string().contains('\u{fffd}') || bytes[0] == 0xef;
                prop_assert!(is_more, "{:?}", bytes);
            }
            (Err(error), Some(_)) => prop_assert!(false, "{:?}: {error}", bytes),
        }
    }

    /// What is written is read as it was.
    #[test]
    fn whole_trees_come_back(value in tree()) {
        let text = value.to_string();
        prop_assert_eq!(read(&text), Ok(text));
    }
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}
