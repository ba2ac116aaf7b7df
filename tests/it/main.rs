//! What creditgate promises, tested from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod core;
mod harness;

mod addresses;
mod around;
mod claims;
mod crash;
mod demo;
mod dialects;
mod disk;
mod encoded;
mod endings;
mod exact;
mod headers;
mod limits;
mod logs;
mod malformed;
mod operate;
mod outage;
mod persistence;
mod properties;
mod redis;
mod refused;
mod shared;
mod side;
mod sockets;
mod tenancy;
mod trips;
mod units;
mod untouched;
mod upstream;
