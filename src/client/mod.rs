//! stub to be replaced
use std::fmt;
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
pub struct Client;
pub struct Connections;
