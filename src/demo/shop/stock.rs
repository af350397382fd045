//! What the demo shop has: products, and the carts, orders and sessions of its customers. All of it
//! is bounded, and gone with the process.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// So many carts and sessions are kept; older ones make room.
const KEPT: usize = 1000;
/// So many different things fit into a cart.
const CART_HOLDS: usize = 50;

/// Something to buy.
#[derive(Debug)]
pub(super) struct Product {
    pub(super) id: u64,
    pub(super) name: &'static str,
    /// In cents.
    pub(super) price: u64,
}

const fn product(id: u64, name: &'static str, price: u64) -> Product {
    Product { id, name, price }
}

/// All there is to buy.
pub(super) const PRODUCTS: [Product; 7] = [
    product(1, "teapot", 3_900),
    product(2, "tea towel", 900),
    product(3, "coffee grinder", 5_400),
    product(4, "coffee cup", 1_200),
    product(5, "kettle", 4_500),
    product(6, "bread knife", 2_800),
    product(7, "cake stand", 3_300),
];

/// A customer's cart. Its order goes with it.
#[derive(Debug, Default)]
pub(super) struct Cart {
    pub(super) name: String,
    entries: Vec<(&'static Product, u32)>,
    order: Option<Order>,
}

impl Cart {
    /// How many pieces are in it.
    pub(super) fn pieces(&self) -> u64 {
        self.entries
            .iter()
            .map(|(_, pieces)| u64::from(*pieces))
            .sum()
    }

    /// What it costs, in cents.
    pub(super) fn total(&self) -> u64 {
        let costs = self.entries.iter();
        costs
            .map(|(of, pieces)| of.price * u64::from(*pieces))
            .sum()
    }

    /// Puts something in, if there is room.
    pub(super) fn put(&mut self, product: &'static Product, pieces: u32) -> bool {
        let has_room = self.entries.len() < CART_HOLDS;
        if has_room {
            self.entries.push((product, pieces));
        }
        has_room
    }
}

/// A cart that was checked out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) total: u64,
    /// Since the shop opened.
    pub(super) paid_at: Duration,
}

/// Everything that requests change.
#[derive(Debug, Default)]
pub(super) struct Stock {
    last_id: u64,
    carts: BTreeMap<u64, Cart>,
    sessions: VecDeque<String>,
}

impl Stock {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// A new cart.
    pub(super) fn add_cart(&mut self, name: &str) -> u64 {
        while self.carts.len() >= KEPT {
            self.carts.pop_first();
        }
        let id = self.next_id();
        let name = name.to_owned();
        self.carts.insert(
            id,
            Cart {
                name,
                ..Cart::default()
            },
        );
        id
    }

    /// A cart.
    pub(super) fn cart(&mut self, id: u64) -> Option<&mut Cart> {
        self.carts.get_mut(&id)
    }

    /// The carts whose names begin so.
    pub(super) fn carts(&self, prefix: &str) -> impl Iterator<Item = (u64, &str)> {
        let all = self.carts.iter().map(|(&id, cart)| (id, &*cart.name));
        all.filter(move |(_, name)| name.starts_with(prefix))
    }

    /// Whether there was one to remove.
    pub(super) fn remove_cart(&mut self, id: u64) -> bool {
        self.carts.remove(&id).is_some()
    }

    /// Orders what is in a cart, once.
    pub(super) fn order(&mut self, cart: u64, paid_at: Duration) -> Option<Order> {
        let id = self.next_id();
        let cart = self.carts.get_mut(&cart)?;
        let total = cart.total();
        Some(*cart.order.get_or_insert(Order { id, total, paid_at }))
    }

    /// An order.
    pub(super) fn find_order(&self, id: u64) -> Option<Order> {
        let orders = self.carts.values().filter_map(|cart| cart.order);
        orders.into_iter().find(|order| order.id == id)
    }

    /// A customer has logged in.
    pub(super) fn open_session(&mut self, token: String) {
        while self.sessions.len() >= KEPT {
            self.sessions.pop_front();
        }
        self.sessions.push_back(token);
    }

    /// Whether the token is that of a customer who is logged in.
    pub(super) fn has_session(&self, token: &str) -> bool {
        self.sessions.iter().any(|known| known == token)
    }

    /// A customer has logged out.
    pub(super) fn close_session(&mut self, token: &str) {
        self.sessions.retain(|known| known != token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let mut stock = Stock::default();
        for number in 0..=KEPT {
            stock.add_cart(&format!("cart-{number}"));
            stock.open_session(format!("token-{number}"));
        }
        assert_eq!(stock.carts("").count(), KEPT);
        assert_eq!(stock.carts("cart-0").count(), 0);
        assert!(!stock.has_session("token-0") && stock.has_session("token-1"));
    }

    #[test]
    fn an_order_goes_with_its_cart() {
        let mut stock = Stock::default();
        let id = stock.add_cart("a");
        let cart = stock.cart(id).unwrap();
        assert!(cart.put(&PRODUCTS[0], 2));
        assert_eq!((cart.pieces(), cart.total()), (2, 7_800));
        let order = stock.order(id, Duration::ZERO).unwrap();
        assert_eq!(
            stock.order(id, Duration::MAX).map(|order| order.id),
            Some(order.id)
        );
        assert!(stock.find_order(order.id).is_some());
        assert!(stock.remove_cart(id) && !stock.remove_cart(id));
        assert!(stock.find_order(order.id).is_none());
    }
}
