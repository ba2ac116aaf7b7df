//! The way to a provider: its addresses, and the connections to them.

mod connections;
mod fallbacks;
mod http2;
