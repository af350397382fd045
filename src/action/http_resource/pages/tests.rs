//! What answers say of the page behind them.

use http::{HeaderMap, HeaderValue};

use super::*;

fn reply(link: &[&'static str], body: &'static str) -> Reply {
    let mut headers = HeaderMap::new();
    for value in link {
        headers.append(LINK, HeaderValue::from_static(value));
    }
    Reply::part("the body", 200, &headers, body)
}

#[test]
fn the_link_header_names_the_next_page() {
    for (link, next) in [
        (
            &["</items?page=2>; rel=\"next\""][..],
            Some("/items?page=2"),
        ),
        (&["<https://a/b>; rel=next"], Some("https://a/b")),
        (&["</1>; rel=\"prev\", </3>; rel=\"next last\""], Some("/3")),
        (&["</1>; rel=prev", "</3>; REL=\"NEXT\""], Some("/3")),
        (
            &["</3?a=1,2>; title=\"a, b; rel=next\"; rel=\"next\""],
            Some("/3?a=1,2"),
        ),
        (&["</3>; title=\"rel=next\"; rel=last"], None),
        (&["</3>; rel=prev; rel=next"], None),
        (&["</3>"], None),
        (&["rel=next"], None),
        (&[], None),
    ] {
        assert_eq!(next_link(&reply(link, "{}")).as_deref(), next, "{link:?}");
    }
}

#[test]
fn a_body_may_say_that_there_is_more() {
    for (body, is_more) in [
        (r#"{"found":[1,2],"next":"/items?page=2"}"#, true),
        (r#"{"found":[1,2],"next_page":3}"#, true),
        (r#"{"found":[1,2],"meta":{"nextCursor":"abc"}}"#, true),
        (r#"{"found":[1,2],"_links":{"next":{"href":"/2"}}}"#, true),
        (r#"{"found":[1,2],"@odata.nextLink":"https://a/b"}"#, true),
        (r#"{"found":[1,2],"metadata":{"continue":"x"}}"#, true),
        (r#"{"found":[1,2],"has_more":true}"#, true),
        (r#"{"found":[1,2],"pageInfo":{"hasNextPage":true}}"#, true),
        (r#"{"found":[1,2],"total":3}"#, true),
        (
            r#"{"found":[1,2],"total":2,"next":null,"has_more":false}"#,
            false,
        ),
        (r#"{"found":[1,2],"next":"","next_cursor":null}"#, false),
        (r#"{"found":[1,2],"price":3,"nextel":"x"}"#, false),
        (r"[1,2]", false),
    ] {
        assert_eq!(more(&reply(&[], body), 2).is_some(), is_more, "{body}");
    }
}

#[test]
fn a_query_parameter_is_put_in_place_of_the_last_one() {
    for (path, parameter, value, put) in [
        ("/items", "page", "2", "/items?page=2"),
        (
            "/items?page=1&name=a%20b",
            "page",
            "2",
            "/items?name=a%20b&page=2",
        ),
        (
            "/items?name=a",
            "page[after]",
            "a/b",
            "/items?name=a&page%5Bafter%5D=a%2Fb",
        ),
        (
            "/items?page%5Bafter%5D=x",
            "page[after]",
            "y",
            "/items?page%5Bafter%5D=y",
        ),
        ("/items?", "c", "a b&c", "/items?c=a%20b%26c"),
    ] {
        assert_eq!(with_parameter(path, parameter, value), put);
    }
}

#[test]
fn a_cursor_is_a_text_or_a_number() {
    for (body, named) in [
        (r#"{"c":"abc"}"#, Some("abc")),
        (r#"{"c":12}"#, Some("12")),
        (r#"{"c":{"href":"/2"}}"#, Some("/2")),
        (r#"{"c":null}"#, None),
        (r#"{"c":""}"#, None),
        (r#"{"c":false}"#, None),
        (r"{}", None),
    ] {
        let told = match super::named(&reply(&[], body), "/c") {
            Named::Text(text) => Some(text),
            Named::Nothing => None,
            Named::Unclear => panic!("{body}"),
        };
        assert_eq!(told.as_deref(), named, "{body}");
    }
    assert!(matches!(
        super::named(&reply(&[], r#"{"c":[1]}"#), "/c"),
        Named::Unclear
    ));
}
