//! The cookies of one run (RFC 6265), kept from every answer and sent with every request that they
//! belong to. Their values are secrets, as a password is: whoever shows a text lets it be redacted
//! here.

use std::collections::VecDeque;

use cookie_store::{Cookie, CookieStore, RawCookie, StoreAction};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use url::Url;

use super::endpoint::Endpoint;
use crate::secret::{Redactor, Secret};

/// So many values are known as secrets, the latest ones: a server may change them with each answer.
const REMEMBERED: usize = 100;

/// What the values take that are known as secrets, at most.
const LONGEST_REMEMBERED: usize = 128 * 1024;

/// A cookie whose name and value are longer is refused, as browsers do (RFC 6265bis, 5.7). With its
/// attributes it may have twice as much: the jar keeps the whole text.
const LONGEST: usize = 4096;

/// So many are kept of one domain, and so many of all; another one takes the place of the oldest.
const OF_A_DOMAIN: usize = 50;
const OF_ALL: usize = 150;

/// Which cookie it is: domain, path and name.
type Key = (String, String, String);

/// A jar, and what must not be shown of it.
#[derive(Default)]
pub(super) struct Cookies {
    jar: CookieStore,
    /// Those in the jar, the oldest first.
    ages: VecDeque<Key>,
    values: VecDeque<(String, Secret)>,
}

impl Cookies {
    /// Adds what belongs to this request, behind a `cookie` header of its own, whose names win.
    pub(super) fn add(&self, endpoint: &Endpoint, uri: &Uri, headers: &mut HeaderMap) {
        if self.jar.iter_any().next().is_none() {
            return;
        }
        let Some(url) = url(endpoint, uri) else {
            return;
        };
        let mut cookies = self.jar.matches(&url);
        // The more specific first (5.4); by name, so that equal requests are equal.
        cookies.sort_by_key(|cookie| (usize::MAX - cookie.path.len(), cookie.name().to_owned()));
        let own = headers.get_all(COOKIE).iter();
        let own: Vec<_> = own
            .filter_map(|own| own.to_str().ok().map(str::to_owned))
            .collect();
        let is_own = |name: &str| {
            let mut pairs = own.iter().flat_map(|own| own.split(';'));
            pairs.any(|pair| pair.split('=').next().map(str::trim) == Some(name))
        };
        let ours = cookies.iter().filter(|cookie| !is_own(cookie.name()));
        let ours: Vec<_> = ours
            .map(|cookie| format!("{}={}", cookie.name(), cookie.value()))
            .collect();
        let pairs = [own.as_slice(), ours.as_slice()].concat().join("; ");
        if let (false, Ok(mut value)) = (ours.is_empty(), HeaderValue::try_from(pairs)) {
            value.set_sensitive(true);
            headers.insert(COOKIE, value);
        }
    }

    /// Keeps what an answer sets, and forgets what it takes back.
    pub(super) fn keep(&mut self, endpoint: &Endpoint, uri: &Uri, headers: &HeaderMap) {
        for header in headers.get_all(SET_COOKIE) {
            let text = std::str::from_utf8(header.as_bytes()).ok();
            let Some(cookie) = text.and_then(|text| RawCookie::parse(text).ok()) else {
                continue;
            };
            // Also if the jar refuses it: it was somebody's secret all the same.
            self.remember(cookie.name(), cookie.value());
            let pair = cookie.name().len() + cookie.value().len();
            let is_too_long = pair > LONGEST || header.len() > 2 * LONGEST;
            if let (Some(url), false) = (url(endpoint, uri), is_too_long) {
                self.insert(&cookie, &url);
            }
        }
    }

    /// Refused ones are none of our business, as with any browser.
    fn insert(&mut self, cookie: &RawCookie<'_>, url: &Url) {
        let Ok(cookie) = Cookie::try_from_raw_cookie(cookie, url) else {
            return;
        };
        let cookie = cookie.into_owned();
        let key = (
            String::from(&cookie.domain),
            String::from(&cookie.path),
            cookie.name().to_owned(),
        );
        match self.jar.insert(cookie, url) {
            Ok(StoreAction::Inserted) => {
                self.ages.push_back(key);
                self.make_room();
            }
            Ok(StoreAction::ExpiredExisting) => {
                self.jar.remove(&key.0, &key.1, &key.2);
                self.ages.retain(|other| *other != key);
            }
            Ok(StoreAction::UpdatedExisting) | Err(_) => {}
        }
    }

    /// Forgets the oldest where there are too many.
    fn make_room(&mut self) {
        let Some((newest, _, _)) = self.ages.back() else {
            return;
        };
        let of_domain = self.ages.iter().filter(|(domain, _, _)| domain == newest);
        let oldest = if of_domain.count() > OF_A_DOMAIN {
            self.ages.iter().position(|(domain, _, _)| domain == newest)
        } else {
            (self.ages.len() > OF_ALL).then_some(0)
        };
        let oldest = oldest.and_then(|oldest| self.ages.remove(oldest));
        if let Some((domain, path, name)) = oldest {
            self.jar.remove(&domain, &path, &name);
        }
    }

    fn remember(&mut self, name: &str, value: &str) {
        let cookie = (name.to_owned(), Secret::new(value));
        if self.values.contains(&cookie) {
            return;
        }
        self.values.push_back(cookie);
        let length = |values: &VecDeque<(String, Secret)>| -> usize {
            let values = values.iter();
            values
                .map(|(name, value)| name.len() + value.expose().len())
                .sum()
        };
        while self.values.len() > REMEMBERED
            || (self.values.len() > 1 && length(&self.values) > LONGEST_REMEMBERED)
        {
            self.values.pop_front();
        }
    }

    /// What takes their values out of texts.
    pub(super) fn redactor(&self) -> Redactor {
        let mut redactor = Redactor::default();
        for (name, value) in &self.values {
            let value = value.expose().trim_matches('"');
            redactor.learn_named(name, value);
            redactor.learn_named(name, &percent_decode_str(value).decode_utf8_lossy());
        }
        redactor
    }
}

fn url(endpoint: &Endpoint, uri: &Uri) -> Option<Url> {
    let (scheme, authority) = (endpoint.scheme(), endpoint.authority());
    Url::parse(&format!("{scheme}://{authority}{uri}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent to `to` after `from` has set this.
    fn sent(set: &[&str], from: &str, to: &str) -> String {
        let mut cookies = Cookies::default();
        let split = |url: &str| {
            let (origin, path) = url.split_at(url[8..].find('/').unwrap() + 8);
            (
                Endpoint::parse(origin).unwrap(),
                path.parse::<Uri>().unwrap(),
            )
        };
        let set = set
            .iter()
            .map(|text| (SET_COOKIE, HeaderValue::from_str(text).unwrap()));
        let (endpoint, uri) = split(from);
        cookies.keep(&endpoint, &uri, &set.collect());
        let (endpoint, uri) = split(to);
        let mut headers = HeaderMap::new();
        cookies.add(&endpoint, &uri, &mut headers);
        let cookies = headers
            .get(COOKIE)
            .map(|value| value.to_str().unwrap().to_owned());
        cookies.unwrap_or_default()
    }

    #[test]
    fn cookies_are_sent_where_they_belong() {
        let (http, https) = ("http://shop.example/a/b", "https://shop.example/a/b");
        let address = "http://127.0.0.1/";
        let rows: [(&[&str], &str, &str, &str); 25] = [
            (&["a=1"], http, http, "a=1"),
            (&["a=1", "b=2; Path=/"], http, http, "a=1; b=2"),
            (&["a=1; Path=/", "a=2; Path=/a"], http, http, "a=2; a=1"),
            (&["a=1", "a=2"], http, http, "a=2"),
            (&["a=1"], http, "http://shop.example/c", ""),
            (&["a=1; Path=/"], http, "http://shop.example/c?d", "a=1"),
            (&["a=1; Path=/a"], http, "http://shop.example/ab", ""),
            (&["a=1"], http, "http://shop.example:81/a/b", "a=1"),
            (&["a=1"], http, "http://other.example/a/b", ""),
            (
                &["a=1; Domain=shop.example"],
                http,
                "http://x.shop.example/a/b",
                "a=1",
            ),
            (
                &["a=1; Domain=other.example"],
                http,
                "http://other.example/a/b",
                "",
            ),
            (&["a=1; Secure"], https, http, ""),
            (
                &["a=1; Secure; HttpOnly; SameSite=Strict"],
                https,
                https,
                "a=1",
            ),
            (&["a=1", "a=; Max-Age=0"], http, http, ""),
            (
                &["a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
                http,
                http,
                "",
            ),
            (&["a=\"x y\"", "b", "c=d=e"], http, http, "a=\"x y\"; c=d=e"),
            // Ages and dates beyond what can be counted, and none at all.
            (&["a=1; Max-Age=99999999999999999999"], http, http, "a=1"),
            (&["a=1; Max-Age=9223372036854775807"], http, http, "a=1"),
            (&["a=1; Max-Age=-1"], http, http, ""),
            (
                &["a=1; Expires=Fri, 31 Dec 9999 23:59:59 GMT"],
                http,
                http,
                "a=1",
            ),
            (
                &["a=1; Expires=Sun, 06 Nov 9000000000000000000 08:49:37 GMT"],
                http,
                http,
                "a=1",
            ),
            (&["a=1; Expires=0"], http, http, "a=1"),
            (
                &["a=1; Expires=Wed, 21-Oct-2099 07:28:00 GMT"],
                http,
                http,
                "a=1",
            ),
            (&["a=1; Domain=127.0.0.1"], address, address, "a=1"),
            (&["a=1; Domain=127.0.0.2"], address, address, ""),
        ];
        for (set, from, to, expected) in rows {
            assert_eq!(sent(set, from, to), expected, "{set:?} {from} {to}");
        }
    }

    #[test]
    fn a_header_of_its_own_is_sent_beside_them() {
        for (own, sent) in [
            ("b=9", "b=9; a=1"),
            ("a=9", "a=9"),
            ("b=9; c=8", "b=9; c=8; a=1"),
            ("aa=9", "aa=9; a=1"),
        ] {
            let mut cookies = Cookies::default();
            let endpoint = Endpoint::parse("http://shop.example").unwrap();
            let uri = Uri::from_static("/");
            let set = HeaderValue::from_static("a=1");
            cookies.keep(&endpoint, &uri, &HeaderMap::from_iter([(SET_COOKIE, set)]));
            let own = HeaderValue::from_str(own).unwrap();
            let mut headers = HeaderMap::from_iter([(COOKIE, own)]);
            cookies.add(&endpoint, &uri, &mut headers);
            assert_eq!(headers[COOKIE], sent);
            assert_eq!(headers.get_all(COOKIE).iter().count(), 1);
        }
    }

    #[test]
    fn no_value_is_shown_not_even_one_that_is_gone() {
        let mut cookies = Cookies::default();
        let endpoint = Endpoint::parse("http://shop.example").unwrap();
        let uri = Uri::from_static("/");
        for set in [
            "a=hush-42%2Fhush",
            "b=\"so secret 4711\"; Max-Age=0",
            "c=else-0815; Domain=x.example",
            "d=true",
        ] {
            let set = HeaderValue::from_static(set);
            cookies.keep(&endpoint, &uri, &HeaderMap::from_iter([(SET_COOKIE, set)]));
        }
        assert_eq!(
            cookies.redactor().redact(
                "hush-42%2Fhush hush-42/hush so secret 4711 so%20secret%204711 else-0815, true, d=true"
            ),
            "[secret] [secret] [secret] [secret] [secret], true, d=[secret]"
        );
    }

    #[test]
    fn a_jar_keeps_the_latest_of_each_domain() {
        let rows: [(usize, usize, usize); 4] = [
            // Domains, cookies of each, and how many are left in all.
            (1, OF_A_DOMAIN, OF_A_DOMAIN),
            (1, 1000, OF_A_DOMAIN),
            (2, 60, 2 * OF_A_DOMAIN),
            (20, 30, OF_ALL),
        ];
        for (domains, count, left) in rows {
            let mut cookies = Cookies::default();
            let uri = Uri::from_static("/");
            for domain in 0..domains {
                let endpoint = Endpoint::parse(&format!("http://shop-{domain}.example")).unwrap();
                for number in 0..count {
                    let set = HeaderValue::try_from(format!("c{number}=v")).unwrap();
                    cookies.keep(&endpoint, &uri, &HeaderMap::from_iter([(SET_COOKIE, set)]));
                }
                let mut headers = HeaderMap::new();
                cookies.add(&endpoint, &uri, &mut headers);
                let sent = headers[COOKIE].to_str().unwrap();
                let latest = format!("c{}=v", count - 1);
                assert!(sent.split("; ").any(|cookie| cookie == latest), "{sent}");
            }
            assert_eq!(cookies.jar.iter_any().count(), left, "{domains} {count}");
            assert_eq!(cookies.ages.len(), left, "{domains} {count}");
        }
    }

    #[test]
    fn long_cookies_are_refused_and_what_is_taken_back_makes_room() {
        let long = |length: usize| format!("a={}", "x".repeat(length - 1));
        let attribute = |length: usize| format!("a=1; x={}", "y".repeat(length));
        for (set, is_kept) in [
            (long(LONGEST), true),
            (long(LONGEST + 1), false),
            (attribute(LONGEST), true),
            (attribute(2 * LONGEST), false),
        ] {
            let (http, length) = ("http://shop.example/", set.len());
            assert_eq!(!sent(&[&set], http, http).is_empty(), is_kept, "{length}");
        }
        let mut cookies = Cookies::default();
        let endpoint = Endpoint::parse("http://shop.example").unwrap();
        for number in 0..10 * OF_A_DOMAIN {
            for set in [format!("c{number}=v"), format!("c{number}=; Max-Age=0")] {
                let set = HeaderValue::try_from(set).unwrap();
                let headers = HeaderMap::from_iter([(SET_COOKIE, set)]);
                cookies.keep(&endpoint, &Uri::from_static("/"), &headers);
            }
        }
        assert_eq!((cookies.ages.len(), cookies.jar.iter_any().count()), (0, 0));
    }

    #[test]
    fn values_that_are_known_as_secrets_are_bounded_in_bytes_too() {
        let mut cookies = Cookies::default();
        for value in 0..REMEMBERED {
            cookies.remember(
                "a",
                &format!("{value}{}", "x".repeat(LONGEST_REMEMBERED / 4)),
            );
        }
        assert_eq!(cookies.values.len(), 3);
        cookies.remember("a", &"y".repeat(2 * LONGEST_REMEMBERED));
        assert_eq!(cookies.values.len(), 1, "the latest one always");
    }

    #[test]
    fn a_server_that_changes_them_with_each_answer_fills_no_memory() {
        let mut cookies = Cookies::default();
        for value in 0..10 * REMEMBERED {
            cookies.remember("a", &format!("value-{value}"));
            cookies.remember("b", "the same");
        }
        assert_eq!(cookies.values.len(), REMEMBERED);
        assert_eq!(cookies.redactor().redact("value-999"), "[secret]");
    }
}
