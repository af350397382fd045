//! Real servers from Debian's packages, as other people's targets are: what our own servers may have
//! understood in the same wrong way as our client.

mod daemons;
mod names;
mod nginx;
