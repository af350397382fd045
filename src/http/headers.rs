//! What request headers ask for, by the rules of RFC 9110: which coding, and under which condition.

use http::header::{ACCEPT_ENCODING, HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};

/// How the metrics are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
}

impl Coding {
    /// The one that a request likes best; none if it takes neither. Sections 12.4.2 and 12.5.3.
    pub(super) fn asked(headers: &HeaderMap) -> Option<Self> {
        let [mut gzip, mut identity, mut any] = [None; 3];
        for (name, weight) in elements(headers, &ACCEPT_ENCODING).filter_map(weighted) {
            let weights: &mut Option<u16> = match &*name.to_ascii_lowercase() {
                "gzip" | "x-gzip" => &mut gzip,
                "identity" => &mut identity,
                "*" => &mut any,
                _ => continue,
            };
            *weights = (*weights).max(Some(weight));
        }
        let gzip = gzip.or(any).unwrap_or(0);
        // Identity is taken unless it is excluded, but what is named comes before it.
        let identity = identity.or(any.filter(|weight| *weight == 0));
        if gzip > 0 && gzip >= identity.unwrap_or(0) {
            Some(Self::Gzip)
        } else {
            (identity != Some(0)).then_some(Self::Identity)
        }
    }
}

/// What answers a reading request instead of 200, if its preconditions say so. What we serve has
/// neither tags nor dates, so no tag matches, `*` always does, and dates are ignored. Section 13.
pub(super) fn precondition(headers: &HeaderMap) -> Option<StatusCode> {
    let any = |name| elements(headers, name).any(|tag| tag == "*");
    if headers.contains_key(IF_MATCH) && !any(&IF_MATCH) {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    any(&IF_NONE_MATCH).then_some(StatusCode::NOT_MODIFIED)
}

/// The elements of a list, which may be spread over several lines.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// An element with its weight in thousandths. What is written wrongly is as if it was not there.
fn weighted(element: &str) -> Option<(&str, u16)> {
    let Some((name, parameter)) = element.split_once(';') else {
        return Some((element, 1000));
    };
    let (key, weight) = parameter.trim().split_once('=')?;
    let (whole, thousandths) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = thousandths.bytes().all(|byte| byte.is_ascii_digit());
    if !key.eq_ignore_ascii_case("q") || thousandths.len() > 3 || !digits {
        return None;
    }
    let part = format!("{thousandths:0<3}").parse().ok()?;
    let weight = match (whole, part) {
        ("0", part) => part,
        ("1", 0) => 1000,
        _ => return None,
    };
    Some((name.trim(), weight))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&HeaderName, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&HeaderName, &'static str)| {
            ((*name).clone(), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn the_coding_is_negotiated() {
        use Coding::{Gzip, Identity};
        for (accept, coding) in [
            (&[] as &[_], Some(Identity)),
            (&[""], Some(Identity)),
            (&["gzip"], Some(Gzip)),
            (&["deflate, GZIP;q=0.5"], Some(Gzip)),
            (&["deflate", "x-gzip"], Some(Gzip)),
            (&["*"], Some(Gzip)),
            (&["gzip;q=0, *"], Some(Identity)),
            (&["gzip ; Q=0.001"], Some(Gzip)),
            (&["gzip;q=0, deflate"], Some(Identity)),
            (&["gzip; q=0.000"], Some(Identity)),
            (&["gzip;q=0.5, identity"], Some(Identity)),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Gzip)),
            (&["identity;q=0"], None),
            (&["*;q=0"], None),
            (&["*;q=0, identity;q=0.1"], Some(Identity)),
            (&["gzip, *;q=0"], Some(Gzip)),
            (&["br;q=1, identity;q=0, gzip;q=0"], None),
            (&["br, identity"], Some(Identity)),
            (&["xgzip"], Some(Identity)),
            // Not weights.
            (&["gzip;q=nan"], Some(Identity)),
            (&["gzip;q=2"], Some(Identity)),
            (&["gzip;q=-1"], Some(Identity)),
            (&["gzip;q=0.1234"], Some(Identity)),
            (&["gzip;level=9"], Some(Identity)),
            (&[",,;q=1,"], Some(Identity)),
        ] {
            let lines: Vec<_> = accept
                .iter()
                .map(|line| (&ACCEPT_ENCODING, *line))
                .collect();
            assert_eq!(Coding::asked(&headers(&lines)), coding, "{accept:?}");
        }
    }

    #[test]
    fn preconditions_hold_without_tags_and_dates() {
        let (fails, unchanged) = (
            Some(StatusCode::PRECONDITION_FAILED),
            Some(StatusCode::NOT_MODIFIED),
        );
        let since = &http::header::IF_MODIFIED_SINCE;
        let until = &http::header::IF_UNMODIFIED_SINCE;
        let day = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (lines, status) in [
            (&[] as &[_], None),
            (&[(&IF_MATCH, "*")], None),
            (&[(&IF_MATCH, "\"a\"")], fails),
            (&[(&IF_MATCH, "\"a\", *")], None),
            (&[(&IF_NONE_MATCH, "*")], unchanged),
            (&[(&IF_NONE_MATCH, "\"a\", W/\"b\"")], None),
            (&[(&IF_MATCH, "\"a\""), (&IF_NONE_MATCH, "*")], fails),
            (&[(&IF_MATCH, "*"), (&IF_NONE_MATCH, "*")], unchanged),
            (&[(since, day), (until, day)], None),
        ] {
            assert_eq!(precondition(&headers(lines)), status, "{lines:?}");
        }
    }
}
