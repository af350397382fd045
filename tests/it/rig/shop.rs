//! The demo's shop as the rig serves it: no weather, no dice, and its carts are items of the books,
//! so that every fault and every count applies to them.

use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::answer::{Asked, json, refuse, status};
use super::body::Answer;
use super::books::{Item, Shared};

const LONGEST_NAME: usize = 40;
const PRODUCTS: [(u64, &str); 5] = [
    (1, "kettle"),
    (2, "tea towel"),
    (3, "coffee grinder"),
    (4, "mug"),
    (5, "cake stand"),
];

/// Answers what a shop would; `None` for any other path.
pub(super) fn serve(asked: &Asked, segments: &[&str], shared: &Shared) -> Option<Response<Answer>> {
    let number = |text: &str| text.parse().unwrap_or(0);
    Some(match segments {
        ["health"] => ok(&json!({ "ok": true, "incident": null })),
        ["catalog"] => catalog(&asked.get("q").unwrap_or_default()),
        ["products", id] => product(number(id)),
        ["login"] => ok(&json!({ "token": "a-token-of-the-rig" })),
        ["logout"] => status(204),
        ["coupons"] => match asked.head.headers.get("authorization") {
            Some(_) => ok(&json!({ "coupons": ["TEA-TIME"] })),
            None => refuse(StatusCode::UNAUTHORIZED, "members only"),
        },
        ["carts"] => carts(asked, shared),
        ["carts", id] => cart(asked, number(id), shared),
        ["carts", id, "items"] => fill(asked, number(id), shared),
        ["carts", id, "checkout"] => json(StatusCode::ACCEPTED, &json!({ "order": number(id) })),
        ["orders", id] => order(asked, number(id), shared),
        _ => return None,
    })
}

fn ok(value: &Value) -> Response<Answer> {
    json(StatusCode::OK, value)
}

fn described((id, name): (u64, &str)) -> Value {
    json!({ "id": id, "name": name, "price": 100 * id })
}

fn catalog(words: &str) -> Response<Answer> {
    let found = PRODUCTS
        .into_iter()
        .filter(|(_, name)| name.contains(words));
    let found: Vec<_> = found.map(described).collect();
    ok(&json!({ "count": found.len(), "found": found }))
}

fn product(id: u64) -> Response<Answer> {
    let found = PRODUCTS.into_iter().find(|(known, _)| *known == id);
    found.map_or_else(
        || refuse(StatusCode::NOT_FOUND, "no such product"),
        |product| ok(&described(product)),
    )
}

/// By the full name, as some searches do.
fn carts(asked: &Asked, shared: &Shared) -> Response<Answer> {
    if asked.head.method == Method::GET {
        let name = asked.get("name").unwrap_or_default();
        let found = shared.books().find(&name);
        let found = found.iter().filter(|cart| cart.name == name);
        let found: Vec<_> = found.map(|cart| shown(cart, (0, 0))).collect();
        return ok(&json!({ "found": found }));
    }
    let sent = asked.json().unwrap_or_default();
    match sent["name"].as_str() {
        Some(name) if (1..=LONGEST_NAME).contains(&name.len()) => {
            let made = shared.enter(|books| books.create(name));
            json(StatusCode::CREATED, &shown(&made, (0, 0)))
        }
        _ => refuse(StatusCode::BAD_REQUEST, "a name has 1 to 40 characters"),
    }
}

fn cart(asked: &Asked, id: u64, shared: &Shared) -> Response<Answer> {
    if asked.head.method == Method::DELETE && shared.enter(|books| books.delete(id)) {
        return status(204);
    }
    let books = shared.books();
    let content = books.carts.get(&id).copied().unwrap_or_default();
    match books.item(id) {
        Some(cart) => ok(&shown(&cart, content)),
        None => refuse(StatusCode::NOT_FOUND, "no such cart"),
    }
}

fn fill(asked: &Asked, id: u64, shared: &Shared) -> Response<Answer> {
    let sent = asked.json().unwrap_or_default();
    let (product, quantity) = (&sent["product"], &sent["quantity"]);
    let (product, quantity) = (
        product.as_u64().unwrap_or(1),
        quantity.as_u64().unwrap_or(1),
    );
    let (pieces, total) = shared.enter(|books| {
        let content = books.carts.entry(id).or_default();
        content.0 += quantity;
        content.1 += 100 * product * quantity;
        *content
    });
    json(
        StatusCode::CREATED,
        &json!({ "pieces": pieces, "total": total }),
    )
}

/// Paid when it is looked at for the second time.
fn order(asked: &Asked, id: u64, shared: &Shared) -> Response<Answer> {
    let (_, total) = shared.books().carts.get(&id).copied().unwrap_or_default();
    let status = if asked.nth > 1 { "paid" } else { "pending" };
    ok(&json!({ "id": id, "status": status, "total": total }))
}

fn shown(cart: &Item, (pieces, total): (u64, u64)) -> Value {
    json!({ "id": cart.id, "name": cart.name, "pieces": pieces, "total": total })
}
