//! No form of a secret gets out, and nothing else is hidden.

#![expect(clippy::format_collect, reason = "a table of short texts")]

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn redact(secret: &str, text: &str) -> String {
    let mut redactor = Redactor::default();
    redactor.learn(secret);
    redactor.redact(text)
}

/// One way in which a text may be written.
type Form = fn(&str) -> String;

fn each(text: &str, of: impl Fn(char) -> String) -> String {
    text.chars().map(of).collect()
}

fn bytes(text: &str, of: impl Fn(u8) -> String) -> String {
    text.bytes().map(of).collect()
}

fn json_text(text: &str) -> String {
    let json = Value::from(text).to_string();
    json[1..json.len() - 1].to_owned()
}

fn in_lines(text: &str, at: usize, end: &str) -> String {
    let chars: Vec<_> = text.chars().collect();
    let lines: Vec<String> = chars.chunks(at).map(|line| line.iter().collect()).collect();
    lines.join(end)
}

/// RFC 4648, 6.
fn base32(text: &str) -> String {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String = text.bytes().map(|byte| format!("{byte:08b}")).collect();
    let groups = bits.as_bytes().chunks(5).map(|group| {
        let group = String::from_utf8_lossy(group);
        char::from(digits[usize::from_str_radix(&format!("{group:0<5}"), 2).unwrap()])
    });
    groups.collect()
}

fn latin_1(text: &str) -> Vec<u8> {
    let byte = |c: char| u8::try_from(u32::from(c)).unwrap_or(b'?');
    text.chars().map(byte).collect()
}

/// Every form, by a name for messages.
const FORMS: &[(&str, Form)] = &[
    ("as it is", str::to_owned),
    ("upper case", |s| s.to_uppercase()),
    ("percent, all", |s| bytes(s, |b| format!("%{b:02X}"))),
    ("percent, small", |s| bytes(s, |b| format!("%{b:02x}"))),
    ("percent, some", |s| {
        let set = percent_encoding::NON_ALPHANUMERIC;
        percent_encoding::utf8_percent_encode(s, set).to_string()
    }),
    ("percent of latin-1", |s| {
        latin_1(s).iter().map(|b| format!("%{b:02x}")).collect()
    }),
    ("percent of utf-16", |s| {
        s.encode_utf16()
            .map(|unit| format!("%u{unit:04x}"))
            .collect()
    }),
    ("a form", |s| {
        url::form_urlencoded::byte_serialize(s.as_bytes()).collect()
    }),
    ("json", json_text),
    ("json, all", |s| {
        s.encode_utf16()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect()
    }),
    ("javascript", |s| {
        each(s, |c| format!("\\u{{{:x}}}", u32::from(c)))
    }),
    ("backslash x", |s| bytes(s, |b| format!("\\x{b:02x}"))),
    ("backslash octal", |s| bytes(s, |b| format!("\\{b:03o}"))),
    ("entities, decimal", |s| {
        each(s, |c| format!("&#{};", u32::from(c)))
    }),
    ("entities, hex", |s| {
        each(s, |c| format!("&#x{:X};", u32::from(c)))
    }),
    ("entities, bare", |s| {
        each(s, |c| format!("&#{}", u32::from(c)))
    }),
    ("entities, named", |s| {
        let named = [
            ('&', "&amp;"),
            ('"', "&quot;"),
            ('<', "&lt;"),
            ('\'', "&apos;"),
            ('/', "&sol;"),
            ('+', "&plus;"),
            ('ö', "&ouml;"),
            (' ', "&nbsp;"),
            ('=', "&equals;"),
        ];
        each(s, |c| {
            let known = named.iter().find(|(of, _)| *of == c);
            known.map_or(c.to_string(), |(_, name)| (*name).to_owned())
        })
    }),
    ("no-break spaces", |s| s.replace(' ', "\u{a0}")),
    ("soft hyphens", |s| each(s, |c| format!("{c}\u{ad}"))),
    ("latin-1", |s| {
        String::from_utf8_lossy(&latin_1(s)).into_owned()
    }),
    ("utf-8 as latin-1", |s| {
        bytes(s, |b| char::from(b).to_string())
    }),
    ("base64", |s| BASE64_STANDARD.encode(s)),
    ("base64 for addresses", |s| BASE64_URL_SAFE_NO_PAD.encode(s)),
    ("base64 of a pair", |s| {
        BASE64_STANDARD.encode(format!("me:{s}!"))
    }),
    ("base64 behind letters", |s| {
        format!("x{}", BASE64_STANDARD.encode(format!("a{s}")))
    }),
    ("base64 in lines", |s| {
        in_lines(&BASE64_STANDARD.encode(s), 8, "\r\n")
    }),
    ("base64 of latin-1", |s| BASE64_STANDARD.encode(latin_1(s))),
    ("hex", |s| bytes(s, |b| format!("{b:02x}"))),
    ("HEX", |s| bytes(s, |b| format!("{b:02X}"))),
    ("hex apart", |s| bytes(s, |b| format!("{b:02x} "))),
    ("hex with colons", |s| bytes(s, |b| format!("{b:02x}:"))),
    ("hex with signs", |s| bytes(s, |b| format!("0x{b:02x}, "))),
    ("numbers", |s| bytes(s, |b| format!("{b},"))),
    ("base32", base32),
    ("utf-16", |s| each(s, |c| format!("\0{c}"))),
    ("invisible letters", |s| {
        each(s, |c| format!("{c}\u{fe0f}\u{202e}\u{34f}"))
    }),
    ("quoted-printable", |s| bytes(s, |b| format!("={b:02X}"))),
    ("quoted lines", |s| {
        let units: Vec<_> = s
            .chars()
            .map(|c| c.to_string().replace('=', "=3D"))
            .collect();
        let lines: Vec<_> = units.chunks(5).map(<[String]>::concat).collect();
        lines.join("=\r\n")
    }),
];

/// Nothing of it that would help anybody is left.
fn is_hidden(secret: &str, shown: &str) -> bool {
    let rest = shown.replace("[secret]", "");
    !FORMS.iter().any(|(_, form)| {
        let form = form(secret);
        rest.contains(&form)
    })
}

/// Whether a form in another one still says what the secret is.
fn is_whole(outer: &str, inner: &str) -> bool {
    let latin = [
        "latin-1",
        "percent of latin-1",
        "base64 of latin-1",
        "utf-8 as latin-1",
    ];
    let is_damaged = ["upper case", "soft hyphens", "invisible letters"].contains(&inner)
        || latin.contains(&inner);
    // Case is lost in what tells cases apart.
    outer != "upper case" && !(latin.contains(&outer) && is_damaged)
}

/// What each form can carry: Latin-1 holds no other letters.
const SECRETS: [&str; 4] = [
    "hush-hush-42",
    "pa ss/w\"ö?rd+1",
    "a%20b\\n&amp;=3D",
    "größere Straße",
];

#[test]
fn no_form_gets_out() {
    for secret in SECRETS {
        for (name, form) in FORMS {
            let text = format!("it is <{}>, as told", form(secret));
            let shown = redact(secret, &text);
            let rest = shown.replace("[secret]", "");
            let rest = rest
                .trim_start_matches("it is <")
                .trim_end_matches(">, as told");
            // Letters before it, and bits that it shares with its neighbours.
            assert!(rest.len() <= 8, "{secret}, {name}: {text}: {shown}");
        }
    }
}

#[test]
fn no_form_in_another_form_gets_out() {
    for secret in SECRETS {
        for (outer_name, outer) in FORMS {
            for (name, form) in FORMS.iter().filter(|(name, _)| is_whole(outer_name, name)) {
                let coded = outer(&form(secret));
                let shown = redact(secret, &format!("it is <{coded}>, as told"));
                let case = format!("{secret}: {name} in {outer_name}: {coded}: {shown}");
                assert!(
                    is_hidden(secret, &shown) && shown.contains("[secret]"),
                    "{case}"
                );
            }
        }
    }
    assert_eq!(redact("hush-hush", "%2568ush%252Dhush"), "[secret]");
}

/// Wherever a message ends, it shows at most three characters of the secret.
#[test]
fn what_is_broken_off_is_hidden_too() {
    for secret in ["hush-hush-42", "pa ss/w\"ö?rd+1"] {
        for (name, form) in FORMS {
            let whole = form(secret);
            for (at, _) in whole.char_indices() {
                let shown = redact(secret, &format!("it is {}…", &whole[..at]));
                let left = shown.replace("[secret]", "");
                let left = left.trim_start_matches("it is ").trim_end_matches('…');
                // An escape has up to eight letters for each of them.
                assert!(left.len() < 32, "{name}: {}… {shown}", &whole[..at]);
            }
        }
    }
    for (text, shown) in [
        ("it is pass/wo…", "it is [secret]…"),
        ("it is pass%2…", "it is [secret]…"),
        ("it is pass\\u00…", "it is [secret]…"),
        ("it is pas…", "it is pas…"),
        ("it is passing…", "it is passing…"),
        ("…/word was it", "…[secret] was it"),
    ] {
        assert_eq!(redact("pass/word", text), shown);
    }
}

#[test]
fn a_long_secret_is_hidden_in_every_part() {
    let secret: String = (0..400).map(|n| format!("{n:x}-")).collect();
    for text in [
        secret.clone(),
        format!("{}…", &secret[..300]),
        secret.to_uppercase(),
    ] {
        let shown = redact(&secret, &format!("<{text}>"));
        assert!(shown.len() < 20, "{shown}");
    }
}

#[test]
fn what_is_no_secret_is_shown() {
    for text in [
        "it is hush, and nothing else",
        "{\"error\":\"no such key\",\"id\":42,\"path\":\"/a%20b\"}",
        "aGVsbG8gd29ybGQ= &amp; \\u00f6 =C3=B6",
        "größe grö groß grüße",
        "…",
        "",
        "a\u{0}b\r\n\tc  d",
    ] {
        assert_eq!(redact("hush-hush-42", text), text);
        assert_eq!(Redactor::default().redact(text), text);
    }
    for word in ["abc", "true", "False", "null", ""] {
        let mut redactor = Redactor::default();
        assert!(!redactor.learn(word), "{word}");
        assert_eq!(
            redactor.redact("abc is true, false, null"),
            "abc is true, false, null"
        );
    }
    assert_eq!(format!("{:?}", Secret::new("hush")), "[secret]");
}

/// The value of a cookie may be any word: it must not blank what we say.
#[test]
fn an_ordinary_value_is_hidden_in_its_place_only() {
    for word in [
        "true",
        "false",
        "accepted",
        "en-US",
        "dark-mode",
        "functional",
        "20261128",
        "Europe",
        "aaaaaaaaaaaaaaaaaaaa",
        "production",
        "yes!",
    ] {
        let mut redactor = Redactor::default();
        redactor.learn_named("consent", word);
        let text = format!("json /ok is {word}, expected not {word}");
        assert_eq!(redactor.redact(&text), text);
        let text = format!("it is `consent={word}; Path=/`, `Consent=\\\"{word}\\\"`");
        let shown = redactor.redact(&text);
        assert_eq!(shown.matches("[secret]").count(), 2, "{shown}");
        assert!(!shown.contains(word), "{shown}");
    }
    for token in [
        "a1b2c3d4",
        "hush-hush-hush-hush",
        "1764302536",
        "AbCdEfGh",
        "s%3Aab12cd34",
    ] {
        let mut redactor = Redactor::default();
        redactor.learn_named("session", token);
        assert_eq!(
            redactor.redact(&format!("it is {token}")),
            "it is [secret]",
            "{token}"
        );
    }
}

#[test]
fn words_in_a_secret_table_stay_words() {
    let mut redactor = Redactor::default();
    let table = json!({ "type": "bearer", "life": 3600, "token": "hunter2", "more": ["s3cr3ts"] });
    assert!(!redactor.learn_value(&table), "not all of it will be found");
    let shown = redactor.redact("a bearer for 3600 s: hunter2, s3cr3ts");
    assert_eq!(shown, "a bearer for 3600 s: [secret], [secret]");
    assert!(Redactor::default().learn_value(&json!({ "a": "hunter2-hunter2", "b": null })));
    assert!(!Redactor::default().learn_value(&json!(7)));
}

/// Texts that are made to be searched for long end soon, without being shown unsearched.
#[test]
fn a_hostile_text_is_searched_within_a_bound() {
    let mut redactor = Redactor::default();
    for n in 0..100 {
        redactor.learn(&format!("{}{n}", "a".repeat(40)));
        redactor.learn(&format!("%25\\\\{}&#{n};", "%".repeat(20)));
    }
    for unit in [
        "a", "%25", "\\", "&#", "=", "%26#x5c;", "YWFh", "…", "a…", "\\u005c", "25",
    ] {
        let text = unit.repeat(8 * 1024 * 1024 / unit.len());
        assert!(redactor.redact(&text).len() <= 65 * 1024, "{unit}");
    }
}

#[test]
fn what_stands_around_a_secret_in_a_file_is_not_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let source = SecretSource::File(path.clone());
    for text in [
        "a b",
        "a b\n",
        "a b\r\n\r\n",
        "\u{feff}a b",
        "  a b\t \n",
        "\n\ta b",
    ] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(source.read().unwrap().expose(), "a b", "{text:?}");
    }
    for text in ["", "\n", "\u{feff}", " \r\n "] {
        std::fs::write(&path, text).unwrap();
        assert!(matches!(source.read(), Err(SecretError::Empty)), "{text:?}");
    }
}

#[test]
fn who_has_no_credentials_is_told_what_to_do() {
    let name = "key".to_owned();
    let told = SecretError::Credential { name }.to_string();
    assert!(told.contains("LoadCredential=key:PATH"), "{told}");
    assert!(told.contains("$CREDENTIALS_DIRECTORY is not set"), "{told}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_secret_is_found_wherever_it_stands(
        before in "\\PC{0,9}", secret in "[!-~]{8,16}", after in "\\PC{0,9}",
        outer in 0..FORMS.len(), inner in 0..FORMS.len(),
    ) {
        prop_assume!(!"truefalsenull".contains(&secret));
        let (outer, inner) = (FORMS[outer], FORMS[inner]);
        prop_assume!(is_whole(outer.0, inner.0));
        let text = format!("{before} {} {after}", inner.1(&secret));
        let shown = redact(&secret, &outer.1(&text));
        prop_assert!(is_hidden(&secret, &shown), "{} in {}: {shown}", inner.0, outer.0);
    }

    #[test]
    fn a_text_without_it_is_shown_as_it_is(text in "\\PC{0,99}") {
        prop_assert_eq!(redact("\u{1}no-text-has-this\u{1}", &text), text);
    }
}
