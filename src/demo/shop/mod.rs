//! A small shop to probe, so that the first run of testerd needs nothing else.
//!
//! It looks alive: answers take as long as real ones, a few fail, and every few minutes something
//! is out of order for a while, so that a dashboard shows failures and recoveries. `config/demo.toml`
//! and the example specs are written for it; nothing else in testerd knows that it is ours.
//!
//! | request | answer |
//! |---|---|
//! | `GET /health` | `{"ok","incident"}`: what is out of order, for people, or null |
//! | `GET /catalog?q=WORDS`, `GET /products/{id}` | what there is to buy |
//! | `POST /login` `{"user","password"}` | `{"token"}`; the password is `demo`, else 401 |
//! | `GET /coupons`, `POST /logout` | with `Authorization: Bearer TOKEN`, else 401 |
//! | `POST /carts` `{"name"}` | 201 `{"id","name"}`; 400 without a name or with one over 40 characters |
//! | `GET /carts?name=PREFIX` | `{"found":[{"id","name"}…]}` |
//! | `GET`, `DELETE /carts/{id}` | 200, 204; 404 once it is gone; its order goes with it |
//! | `POST /carts/{id}/items` `{"product","quantity"}` | 201 `{"pieces","total"}` |
//! | `POST /carts/{id}/checkout` | 202 `{"order"}`; 409 with nothing in it |
//! | `GET /orders/{id}` | `{"id","status","total"}`; `pending` becomes `paid` after a while |

mod stock;
mod weather;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::demo::dice::Dice;
use stock::{PRODUCTS, Product, Stock};
use weather::{Desk, Trouble};

const SEED: u64 = 0x0005_e110_4411_7135;
const PASSWORD: &str = "demo";
const LONGEST_NAME: usize = 40;

/// A shop that has an address but is not open yet.
#[derive(Debug)]
pub struct Shop {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Shop {
    /// Takes the address; port 0 is any free one.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        Ok(Self { listener, addr })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown`, then answers what has been asked and returns.
    pub async fn serve(self, shutdown: CancellationToken) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let floor = Arc::new(Floor::open());
        let served = axum::serve(listener, routes(Arc::clone(&floor)))
            .with_graceful_shutdown(shutdown.cancelled_owned());
        tokio::select! {
            served = served.into_future() => served,
            never = announce(&floor) => match never {},
        }
    }
}

/// Tells people why their probes are about to fail.
async fn announce(floor: &Floor) -> Infallible {
    let mut current = None;
    loop {
        tokio::time::sleep(weather::next_change(floor.elapsed())).await;
        let incident = weather::incident(floor.elapsed()).map(|(incident, _)| incident.told);
        match (current, incident) {
            (None, Some(told)) => tracing::info!(incident = told, "the demo shop has an incident"),
            (Some(told), None) => tracing::info!(incident = told, "the demo shop has recovered"),
            _ => {}
        }
        current = incident;
    }
}

fn routes(floor: Arc<Floor>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/catalog", get(catalog))
        .route("/products/{id}", get(one_product))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/coupons", get(coupons))
        .route("/carts", get(find_carts).post(new_cart))
        .route("/carts/{id}", get(one_cart).delete(remove_cart))
        .route("/carts/{id}/items", post(put_item))
        .route("/carts/{id}/checkout", post(checkout))
        .route("/orders/{id}", get(one_order))
        .with_state(floor)
}

/// What all requests share.
#[derive(Debug)]
struct Floor {
    opened: Instant,
    dice: Dice,
    stock: Mutex<Stock>,
}

impl Floor {
    fn open() -> Self {
        Self {
            opened: Instant::now(),
            dice: Dice::new(SEED),
            stock: Mutex::default(),
        }
    }

    fn elapsed(&self) -> Duration {
        self.opened.elapsed()
    }

    /// A request that panicked has changed nothing by halves: the stock stays good.
    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as an answer takes; the error is what the weather makes of it instead.
    async fn queue(&self, desk: Desk) -> Result<(), Refusal> {
        let trouble = weather::trouble(desk, self.elapsed());
        tokio::time::sleep(self.dice.latency(desk, trouble)).await;
        if trouble == Some(Trouble::Refuses) {
            return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "out of order"));
        }
        if self.dice.bad_luck(desk) {
            return Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, "bad luck"));
        }
        Ok(())
    }

    /// When an order made now is paid.
    fn paid_at(&self) -> Duration {
        let now = self.elapsed();
        let stalled = match weather::incident(now) {
            Some((incident, left)) if incident.trouble == Trouble::Stalls => left,
            _ => Duration::ZERO,
        };
        now + stalled + Duration::from_secs(2).mul_f64(0.3 + self.dice.roll())
    }
}

/// An answer that says no, and why.
#[derive(Debug)]
struct Refusal(StatusCode, &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        told(self.0, &json!({ "error": self.1 }))
    }
}

type Answer = Result<Response, Refusal>;
type Here = State<Arc<Floor>>;

fn told(status: StatusCode, value: &Value) -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    (status, json, value.to_string()).into_response()
}

fn sent(body: &Bytes) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|_| Refusal(StatusCode::BAD_REQUEST, "send JSON"))
}

fn shown(product: &Product) -> Value {
    json!({ "id": product.id, "name": product.name, "price": product.price })
}

fn known(id: Option<u64>) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| Some(product.id) == id)
}

const NO_CART: Refusal = Refusal(StatusCode::NOT_FOUND, "no such cart");
const NO_PRODUCT: Refusal = Refusal(StatusCode::NOT_FOUND, "no such product");

async fn health(State(floor): Here) -> Answer {
    floor.queue(Desk::Health).await?;
    let incident = weather::incident(floor.elapsed()).map(|(incident, _)| incident.told);
    let answer = json!({ "ok": true, "incident": incident });
    Ok(told(StatusCode::OK, &answer))
}

async fn catalog(State(floor): Here, Query(query): Query<HashMap<String, String>>) -> Answer {
    floor.queue(Desk::Catalog).await?;
    let words = query.get("q").map_or("", String::as_str);
    let found = PRODUCTS
        .iter()
        .filter(|product| product.name.contains(words));
    let found: Vec<_> = found.map(shown).collect();
    let answer = json!({ "count": found.len(), "found": found });
    Ok(told(StatusCode::OK, &answer))
}

async fn one_product(State(floor): Here, Path(id): Path<u64>) -> Answer {
    floor.queue(Desk::Catalog).await?;
    let product = known(Some(id)).ok_or(NO_PRODUCT)?;
    Ok(told(StatusCode::OK, &shown(product)))
}

async fn login(State(floor): Here, body: Bytes) -> Answer {
    floor.queue(Desk::Account).await?;
    let sent = sent(&body)?;
    let user = sent["user"].as_str().unwrap_or_default();
    if user.is_empty() || sent["password"] != PASSWORD {
        return Err(Refusal(StatusCode::UNAUTHORIZED, "wrong user or password"));
    }
    let token = format!("{:016x}", floor.dice.number());
    floor.stock().open_session(token.clone());
    Ok(told(StatusCode::OK, &json!({ "token": token })))
}

/// The token of a customer who is logged in.
fn session<'a>(floor: &Floor, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
    headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .filter(|token| floor.stock().has_session(token))
        .ok_or(Refusal(StatusCode::UNAUTHORIZED, "log in first"))
}

async fn logout(State(floor): Here, headers: HeaderMap) -> Answer {
    floor.queue(Desk::Account).await?;
    let token = session(&floor, &headers)?;
    floor.stock().close_session(token);
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn coupons(State(floor): Here, headers: HeaderMap) -> Answer {
    floor.queue(Desk::Catalog).await?;
    session(&floor, &headers)?;
    let answer = json!({ "coupons": [{ "code": "TEA-TIME", "percent": 10 }] });
    Ok(told(StatusCode::OK, &answer))
}

async fn new_cart(State(floor): Here, body: Bytes) -> Answer {
    floor.queue(Desk::NewCart).await?;
    let sent = sent(&body)?;
    let name = sent["name"].as_str().unwrap_or_default();
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        let why = "a cart needs a name of at most 40 characters";
        return Err(Refusal(StatusCode::BAD_REQUEST, why));
    }
    let id = floor.stock().add_cart(name);
    if weather::trouble(Desk::NewCart, floor.elapsed()) == Some(Trouble::LosesAnswers) {
        return Err(Refusal(StatusCode::GATEWAY_TIMEOUT, "no answer in time"));
    }
    Ok(told(
        StatusCode::CREATED,
        &json!({ "id": id, "name": name }),
    ))
}

async fn find_carts(State(floor): Here, Query(query): Query<HashMap<String, String>>) -> Answer {
    floor.queue(Desk::Cart).await?;
    let prefix = query.get("name").map_or("", String::as_str);
    let stock = floor.stock();
    let found = stock
        .carts(prefix)
        .map(|(id, name)| json!({ "id": id, "name": name }));
    let answer = json!({ "found": found.collect::<Value>() });
    Ok(told(StatusCode::OK, &answer))
}

async fn one_cart(State(floor): Here, Path(id): Path<u64>) -> Answer {
    floor.queue(Desk::Cart).await?;
    let mut stock = floor.stock();
    let cart = stock.cart(id).ok_or(NO_CART)?;
    let (pieces, total) = (cart.pieces(), cart.total());
    let answer = json!({ "id": id, "name": cart.name, "pieces": pieces, "total": total });
    Ok(told(StatusCode::OK, &answer))
}

async fn remove_cart(State(floor): Here, Path(id): Path<u64>) -> Answer {
    floor.queue(Desk::Removal).await?;
    let was_there = floor.stock().remove_cart(id);
    was_there
        .then(|| StatusCode::NO_CONTENT.into_response())
        .ok_or(NO_CART)
}

async fn put_item(State(floor): Here, Path(id): Path<u64>, body: Bytes) -> Answer {
    floor.queue(Desk::Cart).await?;
    let sent = sent(&body)?;
    let product = known(sent["product"].as_u64()).ok_or(NO_PRODUCT)?;
    let pieces = sent["quantity"].as_u64().unwrap_or(1);
    let pieces = u32::try_from(pieces).map_err(|_| Refusal(StatusCode::BAD_REQUEST, "too many"))?;
    let mut stock = floor.stock();
    let cart = stock.cart(id).ok_or(NO_CART)?;
    if !cart.put(product, pieces) {
        return Err(Refusal(StatusCode::CONFLICT, "the cart is full"));
    }
    let answer = json!({ "pieces": cart.pieces(), "total": cart.total() });
    Ok(told(StatusCode::CREATED, &answer))
}

async fn checkout(State(floor): Here, Path(id): Path<u64>) -> Answer {
    floor.queue(Desk::Checkout).await?;
    let paid_at = floor.paid_at();
    let mut stock = floor.stock();
    if stock.cart(id).ok_or(NO_CART)?.pieces() == 0 {
        return Err(Refusal(StatusCode::CONFLICT, "nothing in the cart"));
    }
    let order = stock.order(id, paid_at).ok_or(NO_CART)?;
    Ok(told(StatusCode::ACCEPTED, &json!({ "order": order.id })))
}

async fn one_order(State(floor): Here, Path(id): Path<u64>) -> Answer {
    floor.queue(Desk::Orders).await?;
    let no_order = Refusal(StatusCode::NOT_FOUND, "no such order");
    let order = floor.stock().find_order(id).ok_or(no_order)?;
    let is_paid = floor.elapsed() >= order.paid_at;
    let status = if is_paid { "paid" } else { "pending" };
    let answer = json!({ "id": id, "status": status, "total": order.total });
    Ok(told(StatusCode::OK, &answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(floor: &Arc<Floor>) -> Here {
        State(Arc::clone(floor))
    }

    async fn open_a_cart(floor: &Arc<Floor>) -> Result<(), StatusCode> {
        let body = Bytes::from_static(b"{\"name\":\"a\"}");
        let answer = new_cart(here(floor), body).await;
        answer.map(|_| ()).map_err(|refusal| refusal.0)
    }

    async fn until(floor: &Floor, since_opening: Duration) {
        tokio::time::sleep_until(floor.opened + since_opening).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_leaves_a_cart() {
        let floor = Arc::new(Floor::open());
        assert_eq!(open_a_cart(&floor).await, Ok(()));
        until(&floor, Duration::from_secs(60 + 2 * 180)).await;
        let lost = Err(StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(open_a_cart(&floor).await, lost);
        assert_eq!(floor.stock().carts("a").count(), 2);
        until(&floor, Duration::from_secs(100 + 2 * 180)).await;
        assert_eq!(open_a_cart(&floor).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn orders_are_paid_after_a_while_or_after_the_incident() {
        let floor = Arc::new(Floor::open());
        let soon = Duration::from_secs(3);
        assert!(floor.paid_at() > floor.elapsed() && floor.paid_at() < floor.elapsed() + soon);
        until(&floor, Duration::from_secs(70 + 4 * 180)).await;
        let recovers = Duration::from_secs(100 + 4 * 180);
        assert!(floor.paid_at() > recovers && floor.paid_at() < recovers + soon);
    }

    #[tokio::test(start_paused = true)]
    async fn an_incident_is_told_and_ends() {
        let floor = Arc::new(Floor::open());
        until(&floor, Duration::from_secs(61)).await;
        let refused = checkout(here(&floor), Path(1)).await.unwrap_err();
        assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE);
        until(&floor, Duration::from_secs(101)).await;
        let refused = checkout(here(&floor), Path(1)).await.unwrap_err();
        assert_eq!(refused.0, NO_CART.0);
    }
}
