//! The demo shop, as its customers see it.

use std::time::Duration;

use serde_json::{Value, json};
use testerd::demo::Shop;
use tokio_util::sync::CancellationToken;

use crate::rig::{Told, ask, ask_with, get};

/// Opens a shop, lets `customer` in with its address, and closes it.
pub(crate) fn with_shop(customer: impl FnOnce(&str)) {
    let shop = Shop::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", shop.addr());
    let closing = CancellationToken::new();
    let shutdown = closing.clone();
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(shop.serve(shutdown))
    });
    customer(&url);
    closing.cancel();
    serving.join().unwrap().unwrap();
}

fn post(url: &str, json: &Value) -> Told {
    ask("POST", url, Some(json))
}

#[test]
fn a_cart_is_bought_paid_and_removed_with_its_order() {
    with_shop(|url| {
        let carts = format!("{url}/carts");
        let made = post(&carts, &json!({ "name": "ann-1" }));
        assert_eq!((made.status, &made.json()["name"]), (201, &json!("ann-1")));
        let cart = format!("{carts}/{}", made.json()["id"]);
        let checkout = || post(&format!("{cart}/checkout"), &json!({}));
        assert_ne!(checkout().status, 202, "nothing to buy");
        let put = post(
            &format!("{cart}/items"),
            &json!({ "product": 1, "quantity": 2 }),
        );
        assert_eq!(put.json(), json!({ "pieces": 2, "total": 7800 }));

        // A few fail, as in real shops.
        let sold = std::iter::repeat_with(checkout)
            .take(5)
            .find(|told| told.status == 202);
        let order = format!("{url}/orders/{}", sold.unwrap().json()["order"]);
        assert_eq!(get(&order).json()["status"], "pending");
        let is_paid = || get(&order).json()["status"] == "paid";
        assert!(std::iter::repeat_with(is_paid).take(1000).any(|paid| paid));

        let found = get(&format!("{carts}?name=ann")).json();
        assert_eq!(found["found"], json!([made.json()]));
        assert_eq!(ask("DELETE", &cart, None).status, 204);
        assert_eq!(ask("DELETE", &cart, None).status, 404);
        assert_eq!(get(&order).status, 404);
        assert_eq!(get(&carts).json(), json!({ "found": [] }));
    });
}

#[test]
fn strangers_and_long_names_are_refused() {
    with_shop(|url| {
        let login = |password: &str| {
            let who = json!({ "user": "ann", "password": password });
            post(&format!("{url}/login"), &who)
        };
        assert_eq!(login("guess").status, 401);
        let token = login("demo").json()["token"].as_str().map(str::to_owned);
        let bearer = format!("Bearer {}", token.unwrap());
        let as_ann = |method: &str, path: &str| {
            let headers = [("authorization", bearer.as_str())];
            let url = format!("{url}{path}");
            ask_with(method, &url, &headers, None, Duration::from_secs(10)).unwrap()
        };
        assert_eq!(get(&format!("{url}/coupons")).status, 401);
        assert_eq!(as_ann("GET", "/coupons").status, 200);
        assert_eq!(as_ann("POST", "/logout").status, 204);
        assert_eq!(as_ann("GET", "/coupons").status, 401);

        let named = |length: usize| {
            post(
                &format!("{url}/carts"),
                &json!({ "name": "n".repeat(length) }),
            )
        };
        assert_eq!(
            [named(40).status, named(41).status, named(0).status],
            [201, 400, 400]
        );
    });
}

#[test]
fn the_catalog_is_searched() {
    with_shop(|url| {
        let found = get(&format!("{url}/catalog?q=tea%20towel")).json();
        assert_eq!(
            (&found["count"], &found["found"][0]["id"]),
            (&json!(1), &json!(2))
        );
        assert_eq!(get(&format!("{url}/products/2")).json(), found["found"][0]);
        assert_eq!(get(&format!("{url}/products/99")).status, 404);
        assert_eq!(
            get(&format!("{url}/health")).json(),
            json!({ "ok": true, "incident": null })
        );
    });
}
