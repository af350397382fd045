//! What the steps of a run have asked its target to change: whether one of them has itself deleted
//! what is to be undone, so that it is not deleted a second time.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::client::{Endpoint, Request};
use crate::outcome::Effect;

/// A request, known again by where it goes and what it says there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestKey(u64);

impl RequestKey {
    /// The key of a request. Headers do not count.
    pub fn of(endpoint: &Endpoint, request: &Request) -> Self {
        let mut hasher = DefaultHasher::new();
        endpoint.to_string().hash(&mut hasher);
        request.method.hash(&mut hasher);
        request.path.hash(&mut hasher);
        request.body.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What is known of a request that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It may have been carried out.
    Perhaps,
    /// The target says that it was.
    Confirmed,
}

/// The requests of a run that may have changed something.
#[derive(Debug, Default)]
pub struct Changes {
    known: HashMap<RequestKey, Change>,
    any_new: bool,
}

/// A request that is being sent, and what was known of it before.
pub(super) struct Begun(RequestKey, Option<Change>);

impl Changes {
    /// What is known of a request; `None` if it has changed nothing.
    pub fn of(&self, key: RequestKey) -> Option<Change> {
        self.known.get(&key).copied()
    }

    /// Whether anything was sent since this was last asked.
    pub fn take_new(&mut self) -> bool {
        std::mem::take(&mut self.any_new)
    }

    /// A request leaves: should it be dropped, it may have been carried out.
    pub(super) fn begin(&mut self, endpoint: &Endpoint, request: &Request) -> Option<Begun> {
        if request.method.is_safe() {
            return None;
        }
        let key = RequestKey::of(endpoint, request);
        let before = self.known.get(&key).copied();
        self.known.entry(key).or_insert(Change::Perhaps);
        self.any_new = true;
        Some(Begun(key, before))
    }

    /// The status that came back, or what a failure has left.
    pub(super) fn end(&mut self, Begun(key, before): Begun, result: Result<u16, Effect>) {
        let now = match result {
            Ok(200..=299) => Some(Change::Confirmed),
            // The first request of a lost pair may have been carried out.
            Ok(408 | 425 | 499) | Err(Effect::Unknown) => before.or(Some(Change::Perhaps)),
            Ok(400..=499) | Err(Effect::Nothing) => before,
            Ok(_) => before.or(Some(Change::Perhaps)),
        };
        match now {
            Some(now) => drop(self.known.insert(key, now)),
            None => drop(self.known.remove(&key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse(text).unwrap()
    }

    #[test]
    fn only_what_may_have_been_carried_out_counts() {
        let (nothing, unknown) = (Err(Effect::Nothing), Err(Effect::Unknown));
        let rows: [(&[Result<u16, Effect>], _); 12] = [
            (&[Ok(204)], Some(Change::Confirmed)),
            (&[Ok(202), Ok(404)], Some(Change::Confirmed)),
            (&[Ok(200), unknown], Some(Change::Confirmed)),
            (&[Ok(500), Ok(204)], Some(Change::Confirmed)),
            (&[unknown], Some(Change::Perhaps)),
            (&[Ok(502), Ok(404)], Some(Change::Perhaps)),
            (&[Ok(302)], Some(Change::Perhaps)),
            (&[Ok(408)], Some(Change::Perhaps)),
            // Somebody else's delete, or one that has to be refused.
            (&[Ok(403)], None),
            (&[Ok(404)], None),
            (&[Ok(409)], None),
            (&[nothing], None),
        ];
        let endpoint = endpoint("http://localhost:1");
        let request = Request::new(Method::DELETE, "/items/7");
        let key = RequestKey::of(&endpoint, &request);
        for (results, known) in rows {
            let mut changes = Changes::default();
            for result in results {
                let begun = changes.begin(&endpoint, &request).unwrap();
                changes.end(begun, *result);
            }
            assert_eq!(changes.of(key), known, "{results:?}");
            assert!(changes.take_new() && !changes.take_new());
        }
    }

    #[test]
    fn a_request_is_known_by_what_it_asks_for() {
        let (endpoint, other) = (
            endpoint("http://localhost:1"),
            endpoint("http://localhost:2"),
        );
        let request = Request::new(Method::DELETE, "/items/7");
        let key = RequestKey::of(&endpoint, &request);
        let mut dressed = request.clone();
        dressed.headers = HeaderMap::from_iter([(http::header::ACCEPT, "a/b".parse().unwrap())]);
        assert_eq!(RequestKey::of(&endpoint, &dressed), key);
        let with_body = Request {
            body: "7".into(),
            ..request.clone()
        };
        let others = [
            RequestKey::of(&other, &request),
            RequestKey::of(&endpoint, &Request::new(Method::POST, "/items/7")),
            RequestKey::of(&endpoint, &Request::new(Method::DELETE, "/items/8")),
            RequestKey::of(&endpoint, &with_body),
        ];
        assert!(others.iter().all(|other| *other != key));
        let get = Request::new(Method::GET, "/items/7");
        assert!(Changes::default().begin(&endpoint, &get).is_none());
    }
}
